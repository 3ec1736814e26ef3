//! Where a write is visible: which peers are known to hold it.
//!
//! Nothing is sent for it. A peer says what it holds by acknowledging the log, by its pulls and answers, and by
//! roots that are equal; this only compares. A peer that is no neighbour in the overlay says so at the next round
//! or random session; who cannot wait for that asks for one ([`Node::visible_ask`]). Who waits for many writes looks
//! not at all peers for each of them, but at one peer when it has been heard ([`Node::heard`]).

use super::peer::Link;
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

impl VisibleGoal {
    /// The events.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Who holds this node's log up to there knows them; `None` before [`Node::visible_check`] has found them here.
    pub fn head(&self) -> Option<u64> {
        self.head
    }
}

/// What a peer has told of itself in a namespace: lower bounds, which only grow as long as it lives.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// How far it holds this node's log; `None` if it has not said so.
    pub acked: Option<u64>,
    /// What it knows.
    pub known: &'a CausalContext,
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

    /// What `peer` has told of itself; `None` if nothing is exchanged with it in `namespace`.
    pub fn heard(&self, peer: NodeId, namespace: NamespaceId) -> Option<Heard<'_>> {
        let link = self.peers.get(&peer)?.links.get(&namespace)?;
        Some(Heard { acked: link.cursor.acked(), known: &link.known })
    }

    /// Exchanges roots for somebody who waits in `namespace`: with every peer that is connected if the events are not
    /// known here, else with those that are not known to hold all that is known here.
    ///
    /// One that is being pushed to is not asked: its acknowledgement is on its way, and says as much.
    pub fn visible_ask(&mut self, namespace: NamespaceId, is_known_here: bool) {
        let Some(space) = self.spaces.get(&namespace).filter(|space| space.is_open) else { return };
        let context = space.store.context();
        let peers = self.peers.values_mut().filter(|peer| peer.connected);
        let links = peers.filter_map(|peer| peer.links.get_mut(&namespace));
        let says_so = |link: &Link| link.known.covers(context) || link.cursor.is_pushing();
        for link in links.filter(|link| !is_known_here || !says_so(link)) {
            link.session.want_root(true);
            self.fill_due = true;
        }
    }
}
