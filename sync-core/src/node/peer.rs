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
    /// A question about our trie, not answered yet; the latest.
    pub(crate) nodes_due: Option<Question>,
    /// A question about our cells, not answered yet; the latest.
    pub(crate) inspect_due: Option<Inspect>,
    /// Surveys of it and by it.
    pub(crate) surveying: Surveying,
    /// An acknowledgement is to be sent.
    pub(crate) ack_due: bool,
    /// True after a `Diverged` alarm, until roots are equal again: one alarm, no loop.
    pub(crate) diverged: bool,
    /// Healings since then that found nothing to do here.
    pub(crate) fruitless: u8,
}

impl Link {
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
