//! Where a write is visible: which peers are known to hold it.
//!
//! Nothing is sent for it. A peer says what it holds by acknowledging the log, by its pulls and answers, and by
//! roots that are equal; this only compares. A peer that is no neighbour in the overlay says so at the next round
//! or random session; who cannot wait for that asks for one ([`super::Input::SyncNow`]).

use super::{Node, Peer};
use crate::causal::CausalContext;
use crate::id::{NamespaceId, NodeId};

/// What somebody waits for, from [`Node::visible_begin`].
#[derive(Clone, Debug)]
pub struct VisibleGoal {
    namespace: NamespaceId,
    context: CausalContext,
    /// Our log head when all of it was first known here: who holds our log up to there holds it.
    head: Option<u64>,
}

/// Who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    /// This node does.
    pub here: bool,
    /// Every peer met, ascending, and whether it is known to. What a peer held once it holds for this life, also
    /// while it is away.
    pub peers: Vec<(NodeId, bool)>,
}

impl Node {
    /// Begins to watch who knows all events of `context`.
    pub fn visible_begin(&self, namespace: NamespaceId, context: CausalContext) -> VisibleGoal {
        VisibleGoal { namespace, context, head: None }
    }

    /// Who knows them now, as far as this node has heard. Costs a look at each peer.
    pub fn visible_check(&self, goal: &mut VisibleGoal) -> Holders {
        let space = self.open_space(goal.namespace);
        let here = space.is_some_and(|space| space.store.context().covers(&goal.context));
        if let Some(space) = space.filter(|_| here) {
            goal.head.get_or_insert(space.store.log_head());
        }
        let holds = |peer: &Peer| {
            peer.links.get(&goal.namespace).is_some_and(|link| {
                // A cursor begins with a session, so who holds the log up to a point knows all that was known then.
                let acked =
                    goal.head.is_some_and(|head| link.cursor.acked().is_some_and(|acked| acked >= head));
                acked || link.known.covers(&goal.context)
            })
        };
        let peers = self.peers.iter().filter(|(_, peer)| peer.incarnation.is_some());
        Holders { here, peers: peers.map(|(node, peer)| (*node, holds(peer))).collect() }
    }
}
