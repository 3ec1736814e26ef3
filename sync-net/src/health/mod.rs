//! How a node is: one judgement, with reasons, for probes, tools and metrics.
//!
//! [`health`] collects the [`Facts`] under one short lock, `judge` turns them into a [`Health`]. Every reason has
//! numbers and says what to do next. The worst reason decides: damage, then isolation, then whatever else is not well.

mod judge;

use std::collections::BTreeSet;
use std::sync::{MutexGuard, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sync_core::id::NodeId;
use sync_core::node::{Bound, Condition, NamespaceStatus, Node as Core, Reading};

use crate::bootstrap::Bootstrap;
use crate::breakers::{self, BreakerInfo};
use crate::events::Refused;
use crate::node::{Phase, Shared};
use crate::storage::{Damage, StorageStatus};
use crate::transport::LinkStatus;

/// How long the core is waited for before the node counts as stuck.
const CORE_WAIT: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const CORE_RETRY: Duration = Duration::from_millis(2);

/// For how long a join that was refused at the ceiling makes the node degraded: peers try again at least this often
/// with the default times.
const CEILING_MEMORY: Duration = Duration::from_secs(90);

/// How a node is, from well to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Nothing is wrong.
    Healthy,
    /// It works, and somebody should look: the reasons say why.
    Degraded,
    /// Peers are configured and none is connected: it reads and writes, alone.
    Isolated,
    /// Its state, or the process, cannot be trusted.
    Damaged,
}

impl HealthState {
    /// Its name, as tools show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Isolated => "isolated",
            Self::Damaged => "damaged",
        }
    }
}

/// One thing that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReason {
    /// How bad it is by itself.
    pub state: HealthState,
    /// Which kind, such as `"disk_failing"`.
    pub kind: String,
    /// What is the matter, with its numbers.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// How a node is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The worst of the reasons; healthy if there is none.
    pub state: HealthState,
    /// True if it should be asked: it runs, its state can be trusted, and it is not still fetching its first state.
    pub ready: bool,
    /// Why it is not ready; `None` if it is.
    pub not_ready: Option<String>,
    /// The worst first.
    pub reasons: Vec<HealthReason>,
}

/// Why the core could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCore {
    /// An invariant of the core broke.
    #[error("the node broke: see the first panic in its log, and restart the process")]
    Broken,
    /// Somebody holds its lock.
    #[error(
        "the node did not answer for {CORE_WAIT:?}: something blocks its lock; look at its log, or restart it"
    )]
    Stuck,
}

/// The core for one step, or why it cannot be had; waits a second at most.
pub(crate) fn core(shared: &Shared) -> Result<MutexGuard<'_, Core>, NoCore> {
    let begun = Instant::now();
    loop {
        match shared.core.try_lock() {
            Ok(core) => return Ok(core),
            Err(TryLockError::Poisoned(_)) => return Err(NoCore::Broken),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= CORE_WAIT => return Err(NoCore::Stuck),
            Err(TryLockError::WouldBlock) => std::thread::sleep(CORE_RETRY),
        }
    }
}

/// Configured peers, this node itself left out if the list names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reachability {
    pub(crate) configured: usize,
    pub(crate) connected: usize,
    /// Links to nodes that are not configured.
    pub(crate) guests: usize,
    /// The configured ones that are not connected, each with why, in words; the first [`AWAY_NAMED_MAX`].
    pub(crate) away: Vec<String>,
}

/// Peers that a reason names, at most.
const AWAY_NAMED_MAX: usize = 5;

impl Reachability {
    /// The connected share of the configured ones; 1.0 if there are none.
    #[expect(clippy::cast_precision_loss, reason = "peers are few")]
    pub(crate) fn share(&self) -> f64 {
        if self.configured == 0 { 1.0 } else { self.connected as f64 / self.configured as f64 }
    }
}

/// How many of the configured peers are connected.
pub(crate) fn reachability(links: &[LinkStatus], own: NodeId) -> Reachability {
    let mut reached = Reachability::default();
    // Two addresses may lead to one node, and a list of all nodes names the own one.
    let mut named = BTreeSet::from([own]);
    for link in links.iter().filter(|link| link.id.is_none_or(|id| named.insert(id))) {
        match (link.configured, link.connected) {
            (true, true) => {
                (reached.configured, reached.connected) = (reached.configured + 1, reached.connected + 1)
            }
            (true, false) => {
                reached.configured += 1;
                if reached.away.len() < AWAY_NAMED_MAX {
                    reached.away.push(format!(
                        "{} ({})",
                        link.addr,
                        crate::converge::why_not_connected(link)
                    ));
                }
            }
            (false, true) => reached.guests += 1,
            (false, false) => {}
        }
    }
    reached
}

/// All that the judgement looks at.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    phase: Phase,
    reached: Reachability,
    /// Time until the certificate ends; `None` if it has, or the node has stopped.
    certificate: Option<Duration>,
    /// Why changed certificate files are not in force, if they are not.
    certificate_refused: Option<String>,
    storage: Option<StorageStatus>,
    damage: Option<Damage>,
    bootstrap: Option<Bootstrap>,
    at_ceiling: Option<Refused>,
    core: Result<CoreFacts, NoCore>,
}

/// A bound that is used up, or nearly so, of a namespace or of the node.
#[derive(Clone, Debug)]
pub(super) struct FullBound {
    namespace: Option<String>,
    bound: Bound,
    reading: Reading,
}

/// What only the core knows.
#[derive(Clone, Debug, Default)]
pub(super) struct CoreFacts {
    condition: Condition,
    full: Vec<FullBound>,
    /// Breakers that are not closed, by peer.
    open: Vec<(NodeId, BreakerInfo)>,
    /// Peers' wall clocks minus this node's, in milliseconds, ascending.
    clocks_ahead_ms: Vec<i64>,
    /// It knows no event at all.
    is_empty: bool,
}

fn core_facts(shared: &Shared) -> Result<CoreFacts, NoCore> {
    let mut core = core(shared)?;
    let spaces: Vec<NamespaceStatus> =
        core.namespace_statuses().into_iter().filter(|space| space.is_open).collect();
    let connected = |peer: sync_core::node::PeerStatus| peer.clock_ahead_ms.filter(|_| peer.connected);
    let mut clocks_ahead_ms: Vec<i64> =
        core.peers(shared.default.id).into_iter().filter_map(connected).collect();
    clocks_ahead_ms.sort_unstable();
    let mut conditions = spaces.iter().filter_map(|space| core.condition(space.id));
    let condition = conditions.by_ref().reduce(worse).unwrap_or_default();
    Ok(CoreFacts {
        condition,
        full: full(&mut core, &spaces),
        open: breakers::read(&core, shared.clock.mono())
            .open()
            .map(|(node, open)| (node, open.clone()))
            .collect(),
        clocks_ahead_ms,
        is_empty: shared.store(&core, shared.default.id).context().is_empty(),
    })
}

/// What is wrong with either of two namespaces.
fn worse(mut one: Condition, other: Condition) -> Condition {
    let Condition { is_mending, diverged, is_horizon_ahead, is_clock_off, salvaged } = other;
    one.is_mending |= is_mending;
    one.is_horizon_ahead |= is_horizon_ahead;
    one.is_clock_off |= is_clock_off;
    one.salvaged = one.salvaged.max(salvaged);
    one.diverged.extend(diverged);
    one.diverged.sort_unstable();
    one.diverged.dedup();
    one
}

/// The bounds that are full or soon will be, rings left out: those of each namespace, then the node's.
fn full(core: &mut Core, spaces: &[NamespaceStatus]) -> Vec<FullBound> {
    let mut full = Vec::new();
    for (at, space) in spaces.iter().enumerate() {
        let Some(pressure) = core.pressure(space.id) else { continue };
        // Each reading has the node's own bounds too.
        let counts = |(bound, reading): &(Bound, Reading)| {
            let is_full = !bound.is_ring() && reading.used >= reading.max;
            let of = bound.is_of_namespace().then_some(space.id);
            let will_be = bound.is_kept() && core.is_nearly_full(of, *bound);
            (is_full || will_be) && (bound.is_of_namespace() || at == 0)
        };
        full.extend(pressure.readings().filter(counts).map(|(bound, reading)| {
            let namespace = bound.is_of_namespace().then(|| space.name.clone());
            FullBound { namespace, bound, reading }
        }));
    }
    full
}

/// See [`crate::Node::health`].
pub(crate) fn health(shared: &Shared) -> Health {
    let certificate_ends = shared.transport().map(|transport| transport.certificate_ends());
    judge::judge(&Facts {
        phase: *shared.phase.borrow(),
        reached: reachability(&shared.links(), shared.id),
        certificate: certificate_ends.and_then(|ends| ends.duration_since(SystemTime::now()).ok()),
        certificate_refused: shared.renewal.refused(),
        storage: shared.storage.as_ref().map(|storage| storage.status(Default::default())),
        damage: shared.damage.clone(),
        bootstrap: shared.bootstrap.now(),
        at_ceiling: shared.events.refused_at_ceiling(CEILING_MEMORY),
        core: core_facts(shared),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterCa, Node};

    async fn node() -> Node {
        let identity =
            ClusterCa::create("test").expect("a CA can be made").issue("node").expect("one is issued");
        Node::builder().identity(identity).start().await.expect("starts")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_broke_is_damaged_and_answers() {
        let node = node().await;
        let breaking = node.clone();
        let broken = std::thread::spawn(move || {
            let _core = breaking.shared().core();
            panic!("as if an invariant of the core broke");
        });
        assert!(broken.join().is_err());
        let health = node.health();
        assert_eq!(
            (health.state, health.ready, &*health.reasons[0].kind),
            (HealthState::Damaged, false, "broken")
        );
        assert!(node.metrics().is_err_and(|why| why.contains("restart the process")));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_whose_lock_is_held_is_stuck_for_that_long_and_answers_within_a_second_or_so() {
        let node = node().await;
        let (holding, held) = (node.clone(), std::sync::Arc::new(std::sync::Barrier::new(2)));
        let (there, done) = (held.clone(), std::sync::mpsc::sync_channel::<()>(1));
        let holder = std::thread::spawn(move || {
            let _core = holding.shared().core();
            there.wait();
            // Until the test has looked.
            let _ = done.1.recv();
        });
        held.wait();
        let begun = Instant::now();
        let health = node.health();
        assert_eq!((health.state, &*health.reasons[0].kind), (HealthState::Damaged, "stuck"), "{health:?}");
        assert!(begun.elapsed() < 5 * CORE_WAIT);
        drop(done.0);
        holder.join().expect("it only waits");
        assert_eq!(node.health().state, HealthState::Healthy);
    }

    fn link(id: u8, configured: bool, connected: bool) -> LinkStatus {
        LinkStatus {
            addr: format!("10.0.0.{id}:7000"),
            id: Some(NodeId([id; 32])),
            name: None,
            configured,
            connected,
            blocked: false,
            removed: false,
            failure: Some("timed out".to_owned()),
            attempts: 3,
            queued_frames: 0,
        }
    }

    #[test]
    fn each_configured_peer_counts_once_and_the_own_address_not_at_all() {
        let links = [
            link(1, true, true),
            link(1, true, true),
            link(2, true, false),
            link(9, true, false),
            link(3, false, true),
        ];
        let reached = reachability(&links, NodeId([9; 32]));
        assert_eq!((reached.configured, reached.connected, reached.guests), (2, 1, 1));
        assert_eq!(reached.away, ["10.0.0.2:7000 (not connected: timed out)"]);
        assert!(
            (reached.share() - 0.5).abs() < 1e-9
                && (reachability(&[], NodeId([9; 32])).share() - 1.0).abs() < 1e-9
        );
    }
}
