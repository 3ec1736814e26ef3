//! Waiting until peers hold what this node holds, and saying who does not.
//!
//! The core remembers what was known at the start and tells for each peer whether it has reached that
//! (DESIGN section 5, converged). This file decides whom to wait for, every configured and every
//! connected peer, and puts what it waits for into words.

pub(crate) mod cluster;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sync_core::id::NodeId;
use sync_core::node::{Convergence, Input, PeerStatus};

use crate::namespace::{Namespace, NamespaceClosed};
use crate::node::Phase;
use crate::transport::LinkStatus;

/// While waiting, roots are exchanged again after this pause, then after twice as long, and so on up to
/// the longest: an exchange may meet a peer on its way to the state, and at rest the next one would come
/// only after the sync interval. One exchange costs about a hundred bytes a peer.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(20);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// While waiting, the state of the links is looked at this often even if no frame arrives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Every peer holds what this node held when it asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvergeReport {
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// This node's Merkle root at the end, in hex.
    pub root: String,
    /// This node's state id at the end, in hex: equal ids, identical stores.
    pub state_id: String,
    /// The peers that were waited for.
    pub peers: Vec<ConvergedPeer>,
    /// Nodes that were linked before, are not now, and are not configured here: nobody waited for them.
    pub away: Vec<String>,
    /// Connected nodes that do not have the namespace open: nobody waited for them.
    #[serde(default)]
    pub without: Vec<String>,
}

/// One peer that holds what this node held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvergedPeer {
    /// Its node id, in hex.
    pub peer: String,
    /// The name in its certificate.
    pub name: Option<String>,
    /// Where it is.
    pub address: String,
}

/// Why not every peer holds what this node holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvergeError {
    /// The time is over and these peers are not there yet.
    #[error("not converged after {:.1} s: {}", after.as_secs_f64(), list(pending))]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// Each peer that is not there yet, at least one.
        pending: Vec<PendingPeer>,
    },
    /// Caller: the namespace is closed on this node.
    #[error(transparent)]
    NamespaceClosed(#[from] NamespaceClosed),
    /// Caller: the node is shutting down or has shut down.
    #[error("the node is shut down and talks to no peer; start another")]
    Closed,
}

/// One peer that does not hold what this node held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPeer {
    /// Its node id, in hex; `None` if it was never reached.
    pub peer: Option<String>,
    /// Where it is, or should be.
    pub address: String,
    /// Why it is not there, in words.
    pub reason: String,
}

impl std::fmt::Display for PendingPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(peer) = &self.peer {
            write!(f, "{} at ", peer.get(..8).unwrap_or(peer))?;
        }
        write!(f, "{} ({})", self.address, self.reason)
    }
}

pub(crate) fn list(pending: &[PendingPeer]) -> String {
    pending.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// When to exchange roots again while waiting.
#[derive(Debug)]
pub(crate) struct AskAgain {
    at: Instant,
    pause: Duration,
}

impl AskAgain {
    /// Roots are being exchanged now.
    pub(crate) fn after(now: Instant) -> Self {
        Self { at: now + ASK_AGAIN_MIN, pause: ASK_AGAIN_MIN }
    }

    /// True if it is time to exchange roots again; counts as done then.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.at {
            return false;
        }
        self.pause = (2 * self.pause).min(ASK_AGAIN_MAX);
        self.at = now + self.pause;
        true
    }

    /// How long until it is time.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
    }
}

/// Waits, see [`crate::Node::converge`].
pub(crate) async fn converge(
    namespace: &Namespace,
    timeout: Duration,
) -> Result<ConvergeReport, ConvergeError> {
    let begun = Instant::now();
    let shared = namespace.shared();
    let goal = {
        let mut core = shared.core();
        let goal = core.converge_begin(shared.clock.now(), namespace.id());
        // The only thing that it refuses.
        goal.map_err(|_| namespace.closed())?
    };
    shared.work.notify_one();
    let mut again = AskAgain::after(begun);
    loop {
        // Armed before the look, so that progress in between is not missed.
        let mut progress = std::pin::pin!(shared.progress.notified());
        progress.as_mut().enable();

        let (verdicts, statuses) = {
            let core = shared.core();
            if core.store(namespace.id()).is_none() {
                return Err(namespace.closed().into());
            }
            (core.converge_check(&goal), core.peers(namespace.id()))
        };
        let assessed = assess(&shared.links(), &verdicts, &statuses);
        if *shared.phase.borrow() >= Phase::Closing {
            return Err(ConvergeError::Closed);
        }
        if assessed.pending.is_empty() {
            return report(namespace, begun, assessed);
        }
        let elapsed = begun.elapsed();
        if elapsed >= timeout {
            return Err(ConvergeError::TimedOut { after: elapsed, pending: assessed.pending });
        }
        let now = Instant::now();
        if again.is_due(now) {
            shared.core().handle(shared.clock.now(), Input::SyncNow);
            shared.work.notify_one();
        }
        // Over in any case: then we look again.
        let _ = tokio::time::timeout(LOOK_AGAIN.min(timeout - elapsed).min(again.pause(now)), progress).await;
    }
}

/// The Merkle root and the state id of an open namespace, in hex.
fn state(namespace: &Namespace) -> Result<(String, String), ConvergeError> {
    let mut core = namespace.shared().core();
    let (root, state_id) = (core.root(namespace.id()), core.state_id(namespace.id()));
    let state = root.zip(state_id).ok_or_else(|| namespace.closed())?;
    Ok((crate::inspect::hex(&state.0.0), state.1.to_hex()))
}

fn report(
    namespace: &Namespace,
    begun: Instant,
    assessed: Assessed,
) -> Result<ConvergeReport, ConvergeError> {
    let (root, state_id) = state(namespace)?;
    Ok(ConvergeReport {
        elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        root,
        state_id,
        peers: assessed.done,
        away: assessed.away,
        without: assessed.without,
    })
}

/// The connected nodes that have introduced themselves and do not have the namespace open.
pub(crate) fn without(statuses: &[PeerStatus]) -> BTreeSet<NodeId> {
    let without = |status: &&PeerStatus| status.connected && status.incarnation.is_some() && !status.shared;
    statuses.iter().filter(without).map(|status| status.node).collect()
}

/// Who is there, who is not, and who does not count.
#[derive(Debug, Default, PartialEq, Eq)]
struct Assessed {
    done: Vec<ConvergedPeer>,
    pending: Vec<PendingPeer>,
    away: Vec<String>,
    without: Vec<String>,
}

fn assess(links: &[LinkStatus], verdicts: &[(NodeId, Convergence)], statuses: &[PeerStatus]) -> Assessed {
    let without = without(statuses);
    let mut assessed = Assessed::default();
    let counts = |link: &&LinkStatus| {
        (link.configured || link.connected) && link.id.is_none_or(|id| !without.contains(&id))
    };
    for link in links.iter().filter(counts) {
        let verdict = verdicts.iter().find(|(node, _)| Some(*node) == link.id).map(|(_, verdict)| *verdict);
        match (link.connected, link.id, verdict) {
            (true, Some(id), Some(Convergence::Done)) => assessed.done.push(ConvergedPeer {
                peer: id.to_hex(),
                name: link.name.clone(),
                address: link.addr.clone(),
            }),
            (connected, id, verdict) => assessed.pending.push(PendingPeer {
                peer: id.map(|id| id.to_hex()),
                address: link.addr.clone(),
                reason: if connected { why_pending(id, verdict, statuses) } else { why_not_connected(link) },
            }),
        }
    }
    let known = |node: &NodeId| links.iter().any(|link| link.id == Some(*node));
    assessed.without = without.iter().map(NodeId::to_hex).collect();
    assessed.away = verdicts.iter().filter(|(node, _)| !known(node)).map(|(node, _)| node.to_hex()).collect();
    assessed
}

pub(crate) fn why_not_connected(link: &LinkStatus) -> String {
    match (&link.failure, link.blocked) {
        (_, true) => "cut off from here by block_peers".to_owned(),
        (Some(failure), false) => format!("not connected: {failure}"),
        (None, false) => format!("not connected after {} attempts", link.attempts),
    }
}

fn why_pending(id: Option<NodeId>, verdict: Option<Convergence>, statuses: &[PeerStatus]) -> String {
    let status = statuses.iter().find(|status| Some(status.node) == id);
    match (verdict, status) {
        (Some(Convergence::Pending | Convergence::Done), Some(PeerStatus { behind: true, .. })) => {
            "connected, fell behind our log and is pulling".to_owned()
        }
        (
            Some(Convergence::Pending | Convergence::Done),
            Some(PeerStatus { acked: Some(acked), head, .. }),
        ) => {
            format!("connected, has acknowledged {acked} of {head} log entries and has not shown our root")
        }
        (Some(Convergence::Pending | Convergence::Done), Some(_) | None) => {
            "connected, has acknowledged nothing yet".to_owned()
        }
        (Some(Convergence::Unreachable) | None, _) => "connected, has not introduced itself yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(n: u8, configured: bool, connected: bool) -> LinkStatus {
        LinkStatus {
            addr: format!("10.0.0.{n}:7000"),
            id: Some(NodeId([n; 32])),
            name: None,
            configured,
            removed: false,
            connected,
            blocked: false,
            failure: None,
            attempts: 3,
            queued_frames: 0,
        }
    }

    #[test]
    fn a_configured_peer_that_is_not_connected_is_waited_for_and_named_with_its_failure() {
        let mut silent = link(2, true, false);
        silent.id = None;
        silent.failure = Some("timed out".to_owned());
        let verdicts = [(NodeId([1; 32]), Convergence::Done)];
        let assessed = assess(&[link(1, true, true), silent], &verdicts, &[]);
        assert_eq!(assessed.done.len(), 1);
        assert_eq!(assessed.pending[0].to_string(), "10.0.0.2:7000 (not connected: timed out)");
    }

    #[test]
    fn a_guest_that_left_is_reported_and_not_waited_for() {
        let verdicts = [(NodeId([1; 32]), Convergence::Done), (NodeId([9; 32]), Convergence::Unreachable)];
        let assessed = assess(&[link(1, false, true)], &verdicts, &[]);
        assert!(assessed.pending.is_empty());
        assert_eq!(assessed.away, [NodeId([9; 32]).to_hex()]);
    }

    #[test]
    fn a_peer_that_was_done_and_is_cut_off_now_is_waited_for() {
        let mut cut = link(1, true, false);
        cut.blocked = true;
        let assessed = assess(&[cut], &[(NodeId([1; 32]), Convergence::Done)], &[]);
        assert_eq!(assessed.pending[0].reason, "cut off from here by block_peers");
    }

    #[test]
    fn a_connected_peer_that_has_not_introduced_itself_is_pending() {
        let assessed = assess(&[link(1, false, true)], &[], &[]);
        assert_eq!(assessed.pending[0].reason, "connected, has not introduced itself yet");
    }

    #[test]
    fn roots_are_asked_for_again_soon_and_then_ever_less_often() {
        let start = Instant::now();
        let mut again = AskAgain::after(start);
        let asked = (0..10_000).filter(|ms| again.is_due(start + Duration::from_millis(*ms))).count();
        assert_eq!(asked, 14, "20, 60, 140, 300, 620 and 1260 ms, then each second");
    }

    #[test]
    fn a_node_without_peers_has_converged() {
        assert_eq!(assess(&[], &[], &[]), Assessed::default());
    }
}
