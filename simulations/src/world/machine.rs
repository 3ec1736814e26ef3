//! A machine: a place for one node after another, with the clock and the disk that outlive them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync_core::id::{NodeId, ReplicaId};
use sync_core::node::Node;
use sync_core::time::Now;

use super::Event;
use super::clock::Clock;
use super::disk::{Disk, Held};
use crate::net::Way;

/// One machine of the world.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The node that lives here; another one after [`crate::faults::FaultKind::Replace`].
    pub(crate) id: NodeId,
    /// The running node; `None` while it is down.
    pub(crate) node: Option<Node>,
    /// Counts lives: an event of an earlier one is dropped.
    pub(crate) life: u64,
    /// How the next life begins.
    pub(crate) comeback: Comeback,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// For when a wake is on its way.
    pub(crate) wake_at: Option<u64>,
    /// Since when the process stands still.
    pub(crate) still_since: Option<u64>,
    /// What happened while it stood still.
    pub(crate) deferred: VecDeque<Event>,
    /// True while it does not read.
    pub(crate) deaf: bool,
    /// Frames that wait until it reads again: from whom, on which connection, what.
    pub(crate) unread: VecDeque<(Way, Vec<u8>)>,
    /// Under which id each peer is connected.
    pub(crate) peers: Vec<Option<NodeId>>,
    /// Whom the node wants dialled, once each: its probes.
    pub(crate) probes: BTreeSet<usize>,
    /// Snapshots of the running node, by when.
    pub(crate) snapshots: BTreeMap<u64, Snapshot>,
    /// Of each incarnation that was set back, how many events it had minted. The application waits while
    /// the node lives under such an incarnation and knows fewer: it would mint them again.
    pub(crate) minted: BTreeMap<ReplicaId, u64>,
    /// True once garbage was sent to it, and for good.
    pub(crate) garbage: bool,
    /// True once its process stood still, and for good.
    pub(crate) was_paused: bool,
    /// Until when it surely waits for the bytes of damaged cells.
    pub(crate) mending_until: Option<u64>,
    /// True from the alarm that it raised until it says that something is healed.
    pub(crate) alarm_stands: bool,
    /// Where the horizon of its node stood.
    pub(crate) horizon: u64,
}

/// A machine's memory and disk at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) node: Box<Node>,
    pub(crate) durable: Option<Held>,
}

/// How a machine comes back.
#[derive(Clone, Debug)]
pub(crate) enum Comeback {
    /// On its own disk.
    Durable { keep_owner: bool },
    /// With nothing; as a new node if `replaced`.
    Empty { replaced: bool },
    /// On this copy of a disk.
    Copy { held: Option<Held>, keep_owner: bool },
}

impl Comeback {
    /// What it comes to where nothing outlives a process.
    pub(crate) fn without_disk(self) -> Self {
        match self {
            Self::Empty { replaced } => Self::Empty { replaced },
            Self::Durable { .. } | Self::Copy { .. } => Self::Empty { replaced: false },
        }
    }
}

impl std::fmt::Display for Comeback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Durable { keep_owner: true } => "on its disk, as the same counter owner",
            Self::Durable { keep_owner: false } => "on its disk",
            Self::Empty { replaced: false } => "empty",
            Self::Empty { replaced: true } => "as a new node",
            Self::Copy { keep_owner: false, .. } => "on a copy of a disk",
            Self::Copy { keep_owner: true, .. } => "on a copy of a disk, as the same counter owner",
        })
    }
}

impl Machine {
    pub(crate) fn new(id: NodeId, clock: Clock, nodes: usize) -> Self {
        Self {
            id,
            node: None,
            life: 0,
            comeback: Comeback::Empty { replaced: false },
            clock,
            disk: Disk::default(),
            wake_at: None,
            still_since: None,
            deferred: VecDeque::new(),
            deaf: false,
            unread: VecDeque::new(),
            peers: vec![None; nodes],
            probes: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            minted: BTreeMap::new(),
            garbage: false,
            was_paused: false,
            mending_until: None,
            alarm_stands: false,
            horizon: 0,
        }
    }

    /// What its clocks show.
    pub(crate) fn now(&self, at: u64) -> Now {
        self.clock.read(at)
    }

    /// True if its process runs.
    pub(crate) fn runs(&self) -> bool {
        self.node.is_some() && self.still_since.is_none()
    }

    /// The process is gone, and everything that was in its memory.
    pub(crate) fn end(&mut self) -> Option<Node> {
        self.life += 1;
        self.wake_at = None;
        self.still_since = None;
        self.deaf = false;
        self.mending_until = None;
        self.alarm_stands = false;
        self.deferred.clear();
        self.unread.clear();
        self.snapshots.clear();
        self.peers.fill(None);
        self.probes.clear();
        self.node.take()
    }
}
