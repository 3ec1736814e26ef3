//! What is wrong with a node's state or clock now, for people; how full its bounds are is `pressure.rs`'s.

use super::Node;
use crate::id::{NamespaceId, NodeId};

/// What is wrong now; nothing, by default. From [`Node::condition`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Bytes in this node's memory were found damaged, and no peer has yet given them again. Until then nothing of
    /// the namespace is sent.
    pub is_mending: bool,
    /// Peers that know the same events and were last seen to hold another state, ascending: one side is damaged.
    pub diverged: Vec<NodeId>,
    /// The horizon is ahead of every clock heard: nothing of the namespace is sent.
    pub is_horizon_ahead: bool,
    /// This node's wall clock differs from its members' by more than [`crate::limits::Timing::drift_max`].
    pub is_clock_off: bool,
    /// Items of an earlier, damaged disk that wait to be written again.
    pub salvaged: usize,
}

impl Node {
    /// What is wrong with `namespace` now; `None` if it is not open here.
    pub fn condition(&self, namespace: NamespaceId) -> Option<Condition> {
        self.open_space(namespace)?;
        let diverged = |peer: &super::Peer| peer.links.get(&namespace).is_some_and(|link| link.diverged);
        Some(Condition {
            is_mending: self.is_mending(namespace),
            diverged: self.peers.iter().filter(|(_, peer)| diverged(peer)).map(|(node, _)| *node).collect(),
            is_horizon_ahead: self.wall_clock.is_behind_horizon(namespace),
            is_clock_off: self.wall_clock.is_off(),
            salvaged: self.salvaged(),
        })
    }
}
