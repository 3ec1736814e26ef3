//! Convergence on request, by the definition of DESIGN section 5: every reachable peer's context covers
//! what was known here at the beginning, and one exchange since then left nothing of its state unknown.

use super::fill::Touched;
use super::{Convergence, Node};
use crate::causal::CausalContext;
use crate::error::WriteError;
use crate::id::{NamespaceId, NodeId};
use crate::time::Now;

/// What [`Node::converge_begin`] remembers.
#[derive(Clone, Debug)]
pub struct ConvergeGoal {
    namespace: NamespaceId,
    context: CausalContext,
    /// Exchanges of this node, with whomever, before the beginning.
    exchanges: u64,
}

impl Node {
    /// Remembers what is known now and exchanges roots with every connected peer.
    ///
    /// # Errors
    /// [`WriteError::NoNamespace`].
    pub fn converge_begin(&mut self, now: Now, namespace: NamespaceId) -> Result<ConvergeGoal, WriteError> {
        let space = self.open_space(namespace).ok_or(WriteError::NoNamespace { namespace })?;
        let context = space.store.context().clone();
        let goal = ConvergeGoal { namespace, context, exchanges: self.exchanges };
        self.want_roots();
        self.fill(now, Touched::Nobody);
        Ok(goal)
    }

    /// How far each peer kept has come, ascending by node.
    pub fn converge_check(&self, goal: &ConvergeGoal) -> Vec<(NodeId, Convergence)> {
        let state = |(node, peer): (&NodeId, &super::Peer)| {
            let done = peer.links.get(&goal.namespace).is_some_and(|link| {
                link.session.exchange > goal.exchanges && link.known.covers(&goal.context)
            });
            let state = match (peer.is_up(), done) {
                (false, _) => Convergence::Unreachable,
                (true, true) => Convergence::Done,
                (true, false) => Convergence::Pending,
            };
            (*node, state)
        };
        self.peers.iter().map(state).collect()
    }

    /// A root exchange with every peer, as soon as it is up.
    pub(super) fn want_roots(&mut self) {
        for link in self.peers.values_mut().filter(|peer| peer.connected).flat_map(|p| p.links.values_mut()) {
            link.session.want_root(true);
        }
        self.fill_due = true;
    }
}
