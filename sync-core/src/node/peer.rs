//! What a node keeps of a peer.

use std::collections::BTreeMap;

use crate::causal::{CausalContext, DotSet};
use crate::class::Class;
use crate::dictionary::Version;
use crate::id::{NamespaceId, ReplicaId};
use crate::merkle::nodes::Question;
use crate::message::{Inspect, Namespaces};
use crate::mutant::{self, Mutant};
use crate::node::Stats;
use crate::node::bases::Bases;
use crate::node::stable::Stated;
use crate::node::survey::Surveying;
use crate::pacing::Bucket;
use crate::push::Cursor;
use crate::queue::Outboxes;
use crate::session::Session;
use crate::time::{Timestamp, WallMillis};
use crate::trace::TraceContext;

/// A member known besides this node. At most [`crate::limits::Limits::peers_max`] are kept.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) connected: bool,
    /// Its life; `None` until its `Hello`.
    pub(crate) incarnation: Option<ReplicaId>,
    /// The protocol version that we talk in.
    pub(crate) version: Version,
    /// True once its `Hello` came on the connection that is up.
    pub(crate) introduced: bool,
    /// When this life of it was met.
    pub(crate) met_at: Timestamp,
    /// A `Hello` is to be sent; the value says whether it wants a reply.
    pub(crate) hello_due: Option<bool>,
    /// It wants an answer to its `Hello`: one that wants none itself, or it cannot be told from a question.
    pub(crate) hello_owed: bool,
    /// It has not heard which namespaces this node keeps.
    pub(crate) untold: bool,
    /// When the `Hello` is sent again.
    pub(crate) hello_at: Option<Timestamp>,
    /// Because of what it talks, by its last `Hello`; for people alone.
    pub(crate) trace: Option<TraceContext>,
    /// When it was last connected, for choosing whom to forget.
    pub(crate) seen_at: Timestamp,
    /// This node has chosen it as a neighbour in the overlay.
    pub(crate) is_chosen: bool,
    /// It has chosen this node.
    pub(crate) has_chosen_us: bool,
    /// Pushes go to it, because either has chosen the other.
    pub(crate) is_linked: bool,
    pub(crate) clock_ahead_ms: Option<i64>,
    /// Its wall clock when it was last told, and when that was.
    pub(crate) clock: Option<(Timestamp, WallMillis)>,
    /// Age of the newest write that it last taught us, by the writer's clock; for people alone.
    pub(crate) arrival_lag_ms: Option<u64>,
    pub(crate) outboxes: Outboxes,
    /// How fast frames are built for it.
    pub(crate) buckets: [Bucket; Class::ALL.len()],
    /// How many cells and items it may have worked on.
    pub(crate) effort: Bucket,
    /// Lives that it has greeted with on the connection that is up.
    pub(crate) lives: u32,
    /// Something is due that waits for tokens until then.
    pub(crate) paced_until: Option<Timestamp>,
    pub(crate) stats: Stats,
    /// What it keeps besides the default namespace, by its last `Hello`.
    pub(crate) namespaces: Namespaces,
    pub(crate) links: BTreeMap<NamespaceId, Link>,
    /// What it ever had staged: only a planted bug heeds it.
    pub(crate) had: DotSet,
}

impl Default for Peer {
    /// Of a peer never met.
    fn default() -> Self {
        Self {
            connected: false,
            incarnation: None,
            version: Version::WHOLE,
            introduced: false,
            met_at: Timestamp::ZERO,
            hello_due: None,
            hello_owed: false,
            untold: false,
            hello_at: None,
            trace: None,
            seen_at: Timestamp::ZERO,
            is_chosen: true,
            has_chosen_us: true,
            is_linked: false,
            clock_ahead_ms: None,
            clock: None,
            arrival_lag_ms: None,
            outboxes: Outboxes::default(),
            buckets: [Bucket::default(); Class::ALL.len()],
            effort: Bucket::default(),
            lives: 0,
            paced_until: None,
            stats: Stats::default(),
            namespaces: Namespaces::default(),
            links: BTreeMap::new(),
            had: DotSet::default(),
        }
    }
}

/// The machines of one peer in one namespace, all for one incarnation of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) cursor: Cursor,
    pub(crate) session: Session,
    /// A lower bound of what the peer knows.
    pub(crate) known: CausalContext,
    /// What the peer has been told that we know.
    pub(crate) told: CausalContext,
    /// When it is told of what we have learned since.
    pub(crate) tell_at: Option<Timestamp>,
    /// The log head at which there was nothing to tell it: it holds, or was told, all that is known.
    pub(crate) told_at: Option<u64>,
    /// Contexts that both ends hold.
    pub(crate) bases: Bases,
    /// The whole of what the peer knew at a moment past, for stability.
    pub(crate) stated: Stated,
    /// A question about our trie, not answered yet, with the memory that it takes; the latest.
    pub(crate) nodes_due: Option<(Question, usize)>,
    /// A question about our cells, not answered yet, with the memory that it takes; the latest.
    pub(crate) inspect_due: Option<(Inspect, usize)>,
    /// Surveys of it and by it.
    pub(crate) surveying: Surveying,
    /// An acknowledgement is to be sent.
    pub(crate) ack_due: bool,
    /// True after a `Diverged` alarm, until roots are equal again: one alarm, no loop.
    pub(crate) diverged: bool,
    /// Healings since then that found nothing to do here.
    pub(crate) fruitless: u8,
}

/// Replicas unknown here of which it is kept what a peer says that it knows, at most. What is left out costs a push that
/// was not needed: no honest cluster has so many lives that a member has yet to hear of.
const FOREIGN_MAX: usize = 4_096;

/// Raises what a peer knows, or was told, to `theirs`, at a node that knows `ours`.
fn raise(context: &mut CausalContext, theirs: &CausalContext, ours: &CausalContext) {
    let mut room = (ours.len() + FOREIGN_MAX).saturating_sub(context.len());
    for (replica, seq) in theirs.columns() {
        if context.get(replica) == 0 {
            if room == 0 && ours.get(replica) == 0 {
                continue;
            }
            room = room.saturating_sub(1);
        }
        context.advance(replica, seq);
    }
}

impl Link {
    /// The peer says that it knows `theirs`, to a node that knows `ours`.
    pub(crate) fn knows(&mut self, theirs: &CausalContext, ours: &CausalContext) {
        raise(&mut self.known, theirs, ours);
    }

    /// The peer need not be told that `theirs` is known, by a node that knows `ours`.
    pub(crate) fn needs_not_hear(&mut self, theirs: &CausalContext, ours: &CausalContext) {
        raise(&mut self.told, theirs, ours);
    }

    /// Memory of its questions that wait for an answer.
    pub(crate) fn questions_memory(&self) -> usize {
        let nodes = self.nodes_due.as_ref().map_or(0, |(_, memory)| *memory);
        nodes + self.inspect_due.as_ref().map_or(0, |(_, memory)| *memory)
    }

    /// True if the peer has yet to hear that `seq` of `replica` is known here.
    ///
    /// A peer that knows it is told as well: it would relay it to us otherwise.
    pub(crate) fn is_untold(&self, replica: ReplicaId, seq: u64) -> bool {
        let lacks = seq > self.known.get(replica) || !mutant::is(Mutant::ToldOnlyWhatIsLacked);
        lacks && seq > self.told.get(replica)
    }

    /// True if nothing is to be sent but what its cursor wants and what heals.
    pub(crate) fn is_idle(&self) -> bool {
        let heals = self.nodes_due.is_some() || self.inspect_due.is_some();
        !self.ack_due && !heals && self.session.is_idle() && self.surveying.is_idle()
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let machines = [self.cursor.deadline(), self.session.deadline(), self.surveying.deadline()];
        machines.into_iter().chain([self.tell_at]).flatten().min()
    }

    /// The connection broke: what was in flight is lost, what is due waits for the next one.
    pub(crate) fn disconnected(&mut self) {
        self.cursor.fall_back();
        self.session.reset();
        // What was told may be lost with the connection.
        self.told = CausalContext::default();
        (self.tell_at, self.told_at) = (None, None);
        self.ack_due = false;
        (self.nodes_due, self.inspect_due) = (None, None);
        self.surveying = Surveying::default();
    }
}

impl Peer {
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let links = self.links.values().filter_map(Link::deadline).min();
        [self.hello_at, links.filter(|_| self.introduced), self.paced_until].into_iter().flatten().min()
    }

    /// Traces are told to who is known to speak the version in which `Hello` can be longer.
    pub(crate) fn reads_traces(&self) -> bool {
        self.introduced && self.version >= Version::DIFFERENCES
    }

    /// True while frames other than `Hello` may go.
    pub(crate) fn is_up(&self) -> bool {
        self.connected && self.introduced && self.incarnation.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_a_peer_makes_up_are_not_kept_without_end_and_those_known_here_always_are() {
        let replica =
            |n: u32| ReplicaId([&n.to_be_bytes()[..], &[1; 12]].concat().try_into().expect("16 bytes"));
        let ours = CausalContext::from_iter([(replica(9_000), 7)]);
        let mut link = Link::default();
        for at in 0..10 {
            let made_up = (at * 1_000..at * 1_000 + 900).map(|n| (replica(n), 1)).collect();
            link.knows(&made_up, &ours);
            link.needs_not_hear(&made_up, &ours);
        }
        assert_eq!((link.known.len(), link.told.len()), (FOREIGN_MAX + 2, FOREIGN_MAX + 2));
        link.knows(&CausalContext::from_iter([(replica(9_000), 7), (replica(1), 5)]), &ours);
        assert_eq!((link.known.get(replica(9_000)), link.known.get(replica(1))), (7, 5));
    }
}
