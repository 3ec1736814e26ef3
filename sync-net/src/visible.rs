//! Write guarantees: waiting until a write is visible on other nodes, and reading one's own writes on any node.
//!
//! A write gives back a [`Written`](crate::Written), whose [`Token`] a client can carry anywhere. On the node that
//! took the write, [`Node::visible`](crate::Node::visible) waits until others hold it; on any other,
//! [`Node::read_after`](crate::Node::read_after) waits until that node does. The core knows who holds what from the
//! traffic that there is anyway; only while somebody waits, and has waited for 20 ms, roots are exchanged on top. Who
//! waits looks again when the last thing that it waits for has come, see `waits`, and now and then in any case.

mod wait;
pub(crate) mod waits;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sync_core::causal::CausalContext;
use sync_core::id::{NamespaceId, NodeId};
use sync_core::node::Holders;
use sync_core::token::Token;

use crate::converge::{self, ConvergedPeer, PendingPeer, list, why_not_connected};
use crate::namespace::{Namespace, read_if};
use crate::node::Shared;
use crate::transport::LinkStatus;
use crate::view::View;

pub(crate) use self::wait::{Prompt, level};
use self::wait::{log_level, wait};
use self::waits::Wanted;

/// How many nodes have to hold a write. As text: `local`, `majority`, `all`, or a number of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// This node.
    Local,
    /// This node and so many peers. More than there are is waited for: one may come.
    Peers(usize),
    /// More than half of the members, this node counted: of one, one; of two, two; of three, two. Members are the
    /// configured peers and all that were met since the start and not forgotten ([`crate::Node::forget_peer`]).
    Majority,
    /// Every member. One that is away is waited for.
    All,
}

impl Visibility {
    /// How many of `others`, the members besides this node, have to hold it.
    fn peers_needed(self, others: usize) -> usize {
        match self {
            Self::Local => 0,
            Self::Peers(count) => count,
            Self::Majority => others.div_ceil(2),
            Self::All => others,
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Peers(count) => write!(f, "{count}"),
            Self::Majority => f.write_str("majority"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Caller: a text names no [`Visibility`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of local, majority, all, or a number of peers")]
pub struct VisibilityError {
    text: String,
}

impl FromStr for Visibility {
    type Err = VisibilityError;

    fn from_str(text: &str) -> Result<Self, VisibilityError> {
        match text {
            "local" => Ok(Self::Local),
            "majority" => Ok(Self::Majority),
            "all" => Ok(Self::All),
            number => match number.parse() {
                Ok(count) => Ok(Self::Peers(count)),
                Err(_) => Err(VisibilityError { text: number.chars().take(40).collect() }),
            },
        }
    }
}

/// A write is visible where it was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visible {
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// The peers that are known to hold it; there may be more than were asked for.
    pub holders: Vec<ConvergedPeer>,
    /// The members that are not, and why.
    pub lacking: Vec<PendingPeer>,
    /// Connected nodes that do not have the namespace open, by their ids: they are no members of it.
    #[serde(default)]
    pub without: Vec<String>,
}

/// Why a write is not known to be visible where it was to be. It stays, and goes on spreading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VisibleError {
    /// The time is over.
    #[error("{}", timed_out(*after, *wanted, *needed, *here, holders, lacking))]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// What for.
        wanted: Visibility,
        /// How many peers that were at the end.
        needed: usize,
        /// Whether this node holds it.
        here: bool,
        /// The peers that are known to hold it.
        holders: Vec<ConvergedPeer>,
        /// The members that are not, and why.
        lacking: Vec<PendingPeer>,
    },
    /// Caller: the token is of a namespace that is not open here.
    #[error(
        "the token is of namespace {name:?}, which is not open here; open it, or ask a node that has it open"
    )]
    NoNamespace {
        /// What that namespace is called here; its id, in hex, where it never was.
        name: String,
    },
    /// Caller: the node is shutting down or has shut down.
    #[error("the node is shut down and hears of no peer; start another")]
    Closed,
}

fn timed_out(
    after: Duration,
    wanted: Visibility,
    needed: usize,
    here: bool,
    holders: &[ConvergedPeer],
    lacking: &[PendingPeer],
) -> String {
    let seconds = after.as_secs_f64();
    if !here {
        return format!("not known on this node after {seconds:.1} s");
    }
    let names: Vec<&str> = holders.iter().map(|peer| peer.name.as_deref().unwrap_or(&peer.peer)).collect();
    let held = if names.is_empty() { String::new() } else { format!(", held by {}", names.join(", ")) };
    let lacking = if lacking.is_empty() { "nobody else is a member".to_owned() } else { list(lacking) };
    format!(
        "visible at {} of the {needed} peers needed ({wanted}) after {seconds:.1} s{held}; lacking: {lacking}",
        holders.len()
    )
}

/// Why a read after a token did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is over, and this node does not know all of it.
    #[error("this node lacks {lacking} of {events} events after {:.1} s: {}", after.as_secs_f64(), hint(links))]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// Events asked for that this node does not know. Those that were lost with the node that took them, before
        /// anybody had them, never come.
        lacking: u64,
        /// Events asked for, all that came before them included.
        events: u64,
        /// Links that are up.
        links: usize,
    },
    /// Caller: the token is of a namespace that is not open here.
    #[error(
        "the token is of namespace {name:?}, which is not open here; open it, or ask a node that has it open"
    )]
    NoNamespace {
        /// What that namespace is called here; its id, in hex, where it never was.
        name: String,
    },
    /// Caller: the token is of another namespace than the one that was to be read.
    #[error(
        "the token is of namespace {of:?}, and {name:?} was to be read; read the one that was written to"
    )]
    OtherNamespace {
        /// What was to be read.
        name: String,
        /// Whose token it is.
        of: String,
    },
    /// Caller: the node is shutting down or has shut down.
    #[error("the node is shut down and learns nothing more; start another")]
    Closed,
}

fn hint(links: &usize) -> String {
    match links {
        0 => "no peer is connected".to_owned(),
        1 => "1 peer is connected, and has not brought them".to_owned(),
        links => format!("{links} peers are connected, and have not brought them"),
    }
}

/// Waits, see [`crate::Node::visible`].
pub(crate) async fn visible(
    shared: &Shared,
    token: &Token,
    wanted: Visibility,
    timeout: Duration,
) -> Result<Visible, VisibleError> {
    let namespace = token.namespace();
    check_open(shared, namespace).map_err(|name| VisibleError::NoNamespace { name })?;
    let mut goal = shared.core().visible_begin(namespace, token.context().clone());
    let waited = wait(shared, namespace, timeout, |begun, waiting| {
        let links = shared.links();
        let core = shared.core();
        let (held, without) = (core.visible_check(&mut goal), converge::without(&core.peers(namespace)));
        let seen = Seen::of(&links, &held, &without, shared.id);
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let needed = wanted.peers_needed(seen.holders.len() + seen.lacking.len());
        let Seen { holders, lacking } = seen;
        if held.here && holders.len() >= needed {
            let without = without.iter().map(NodeId::to_hex).collect();
            return Ok(Visible { elapsed_ms, holders, lacking, without });
        }
        let of = |node, column| level(&core, shared.id, namespace, node, column);
        let (context, head) = (goal.context().clone(), goal.head().map(log_level));
        let lacks = if held.here {
            // Who counts and has not introduced itself yet is heard of when it does.
            let lacks = held.peers.iter().filter(|(node, holds)| !holds && !without.contains(node));
            let lacking = lacks.map(|(node, _)| *node).collect();
            Wanted { context, head, lacking, needed: needed.saturating_sub(holders.len()) }
        } else {
            Wanted { context, head, lacking: BTreeSet::from([shared.id]), needed: 1 }
        };
        waiting.wants(namespace, lacks, of);
        let (after, here) = (begun.elapsed(), held.here);
        Err((VisibleError::TimedOut { after, wanted, needed, here, holders, lacking }, here))
    });
    waited.await.map_err(|short| short.unwrap_or(VisibleError::Closed))
}

/// Waits, see [`crate::Node::wait_for`].
pub(crate) async fn wait_for(shared: &Shared, token: &Token, timeout: Duration) -> Result<(), WaitError> {
    read_when(shared, token, timeout, |_| ()).await
}

/// The name of a namespace that is not open here.
fn check_open(shared: &Shared, namespace: NamespaceId) -> Result<(), String> {
    let core = shared.core();
    match core.store(namespace) {
        Some(_) => Ok(()),
        None => Err(shared.name_of(&core, namespace)),
    }
}

/// Waits, see [`crate::Namespace::read_after`].
pub(crate) async fn read_after<T>(
    namespace: &Namespace,
    token: &Token,
    timeout: Duration,
    read: impl FnOnce(&View<'_>) -> T,
) -> Result<T, WaitError> {
    if token.namespace() != namespace.id() {
        let shared = namespace.shared();
        let of = shared.name_of(&shared.core(), token.namespace());
        return Err(WaitError::OtherNamespace { name: namespace.name().to_owned(), of });
    }
    read_when(namespace.shared(), token, timeout, read).await
}

/// Waits, then reads under the same lock that showed that everything is there.
async fn read_when<T>(
    shared: &Shared,
    token: &Token,
    timeout: Duration,
    read: impl FnOnce(&View<'_>) -> T,
) -> Result<T, WaitError> {
    let namespace = token.namespace();
    check_open(shared, namespace).map_err(|name| WaitError::NoNamespace { name })?;
    let wanted = token.context();
    let mut read = Some(read);
    let waited = wait(shared, namespace, timeout, |begun, waiting| {
        let known = |context: &CausalContext| context.covers(wanted);
        let done = read_if(shared, namespace, known, &mut read);
        done.ok_or_else(|| {
            let core = shared.core();
            let lacking = wanted.minus(shared.store(&core, namespace).context()).len();
            let lacks =
                Wanted { context: wanted.clone(), lacking: [shared.id].into(), needed: 1, head: None };
            waiting.wants(namespace, lacks, |node, column| level(&core, shared.id, namespace, node, column));
            drop(core);
            if lacking == 0 {
                // It came between the two looks.
                waiting.wake();
            }
            let links = shared.links().iter().filter(|link| link.connected).count();
            let events = wanted.columns().map(|(_, seq)| seq).sum();
            (WaitError::TimedOut { after: begun.elapsed(), lacking, events, links }, false)
        })
    });
    waited.await.map_err(|short| short.unwrap_or(WaitError::Closed))
}

/// The members besides this node: who is known to hold something, and who is not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    holders: Vec<ConvergedPeer>,
    lacking: Vec<PendingPeer>,
}

impl Seen {
    /// Those in `without` are no members.
    fn of(links: &[LinkStatus], held: &Holders, without: &BTreeSet<NodeId>, own: NodeId) -> Self {
        let mut seen = Self::default();
        let mut named = without.clone();
        named.insert(own);
        for link in links.iter().filter(|link| link.configured || link.connected) {
            // Two addresses may lead to one node, and a list of all nodes names the own one.
            if link.id.is_some_and(|id| !named.insert(id)) {
                continue;
            }
            let holds = held.peers.iter().find(|(node, _)| Some(*node) == link.id).map(|(_, holds)| *holds);
            match (link.id, holds) {
                (Some(id), Some(true)) => {
                    seen.holders.push(ConvergedPeer {
                        peer: id.to_hex(),
                        name: link.name.clone(),
                        address: link.addr.clone(),
                    });
                }
                (id, holds) => {
                    let reason = match (link.connected, holds) {
                        (true, Some(_)) => "connected, has not confirmed it".to_owned(),
                        (true, None) => "connected, has not introduced itself yet".to_owned(),
                        (false, _) => why_not_connected(link),
                    };
                    let (peer, address) = (id.map(|id| id.to_hex()), link.addr.clone());
                    seen.lacking.push(PendingPeer { peer, address, reason });
                }
            }
        }
        for (node, holds) in held.peers.iter().filter(|(node, _)| !named.contains(node)) {
            let (peer, address) = (node.to_hex(), "an address that is not configured here".to_owned());
            if *holds {
                seen.holders.push(ConvergedPeer { peer, name: None, address });
            } else {
                let reason = "not connected; it dialled this node before".to_owned();
                seen.lacking.push(PendingPeer { peer: Some(peer), address, reason });
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(n: u8, configured: bool, connected: bool) -> LinkStatus {
        LinkStatus {
            addr: format!("10.0.0.{n}:7000"),
            id: Some(NodeId([n; 32])),
            name: Some(format!("node-{n}")),
            configured,
            removed: false,
            connected,
            blocked: false,
            failure: Some("timed out".to_owned()),
            attempts: 3,
            queued_frames: 0,
        }
    }

    #[test]
    fn a_majority_counts_this_node_and_is_more_than_half() {
        let majorities: Vec<usize> =
            (0..=6).map(|others| 1 + Visibility::Majority.peers_needed(others)).collect();
        assert_eq!(majorities, [1, 2, 2, 3, 3, 4, 4], "of one to seven members");
        assert_eq!(Visibility::All.peers_needed(0), 0, "alone, all is this node");
    }

    #[test]
    fn every_configured_and_every_met_peer_is_counted_once() {
        let (own, met) = (NodeId([9; 32]), |n: u8, holds| (NodeId([n; 32]), holds));
        let mut silent = link(4, true, false);
        silent.id = None;
        let links =
            [link(1, true, true), link(1, true, true), link(2, true, false), silent, link(9, true, false)];
        let held = Holders { here: true, peers: vec![met(1, true), met(2, false), met(3, false)] };
        let seen = Seen::of(&links, &held, &BTreeSet::new(), own);
        assert_eq!(
            seen.holders.iter().map(|peer| peer.name.as_deref()).collect::<Vec<_>>(),
            [Some("node-1")]
        );
        assert_eq!(seen.lacking.len(), 3, "2 is away, 3 was a guest, 4 was never reached: {seen:?}");
        assert!(seen.lacking[1].to_string().contains("10.0.0.4:7000 (not connected: timed out)"), "{seen:?}");
        let without = BTreeSet::from([NodeId([1; 32]), NodeId([3; 32])]);
        let seen = Seen::of(&links, &held, &without, own);
        assert_eq!(
            (seen.holders.len(), seen.lacking.len()),
            (0, 2),
            "who does not have it open is no member"
        );
    }

    #[test]
    fn visibilities_are_read_as_they_are_shown() {
        for wanted in [Visibility::Local, Visibility::Peers(3), Visibility::Majority, Visibility::All] {
            assert_eq!(wanted.to_string().parse(), Ok(wanted));
        }
        assert!("most".parse::<Visibility>().is_err() && "-1".parse::<Visibility>().is_err());
    }
}
