//! Faults: what goes wrong, when, and with whom.
//!
//! A [`Fault`] is a line of a scenario: a time and a [`FaultKind`]. Nothing about it is left to chance
//! when it strikes, so a scenario can be read, edited and shrunk line by line. [`draw`] makes the faults
//! of a seed, swarm style (Groce et al. 2012): each kind is on or off for the whole seed, so that some
//! seeds have only crashes and some have everything but crashes.

mod damage;
mod draw;
mod expiry;
mod rotten;

use serde::{Deserialize, Serialize};

pub use draw::draw;

/// One fault of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it strikes, in virtual milliseconds.
    pub at_ms: u64,
    /// What it is.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// What can go wrong. Nodes are named by index; a fault that cannot strike (the node is down already)
/// is skipped and not counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultKind {
    /// The process dies. What was not durable is lost; with `torn`, of a write under way to the disk the
    /// data arrived and the confirmation did not. Restarts after `down_ms`.
    Crash {
        /// Who.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
        /// The write under way became durable.
        #[serde(default)]
        torn: bool,
        /// The counter owner is kept. Allowed since every frame ever sent was durable.
        #[serde(default)]
        keep_owner: bool,
    },
    /// A clean stop: everything is durable before it. Restarts after `down_ms`.
    Restart {
        /// Who.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// The process dies and comes back on a copy of its disk made at `from_ms`.
    Restore {
        /// Who.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
        /// When the backup was made, in virtual milliseconds.
        from_ms: u64,
    },
    /// `onto` dies and comes back on a copy of the disk of `node`, which lives on.
    ClonedDisk {
        /// Whose disk is copied.
        node: usize,
        /// Who comes up on the copy.
        onto: usize,
        /// For how long `onto` is down.
        down_ms: u64,
        /// `onto` counts under the same owner. Two live owners make counters inexact by design: the larger
        /// of the two is read.
        #[serde(default)]
        keep_owner: bool,
    },
    /// The machine, memory and all, is set back to a snapshot made at `from_ms`, as when a virtual machine is
    /// reverted: it goes on under an incarnation whose later events others may know. Its application
    /// writes nothing until the node has been fenced or has caught up with itself.
    Revert {
        /// Who.
        node: usize,
        /// When the snapshot was made, in virtual milliseconds.
        from_ms: u64,
    },
    /// The process dies, and of a row on its disk a bit flips, chosen by `pick`: the store there is set aside, the node
    /// begins empty under new ids, and what can be read of its own items is written again unless a member knows it.
    ///
    /// What a removal of its own did that no other had seen goes with the file, and so does the one row; [`draw`] keeps
    /// such seeds to sets and maps, and to faults that make no other node forget.
    RottenDisk {
        /// Who.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
        /// Chooses the row.
        pick: u64,
    },
    /// The disk is lost: the node comes back empty.
    Wipe {
        /// Who.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// The machine is replaced: a new node, with a new id, takes its place. The old one never returns.
    Replace {
        /// Whose place.
        node: usize,
        /// For how long the place is empty.
        down_ms: u64,
    },
    /// The process stands still: it handles nothing and then finds everything waiting.
    Pause {
        /// Who.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// The node does not read what arrives; it goes on sending.
    StopReading {
        /// Who.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// The wall clock is set by `by_ms`, at most some years either way.
    ClockStep {
        /// Whose.
        node: usize,
        /// By how much; negative sets it back.
        by_ms: i64,
    },
    /// The wall clock stands still.
    ClockFreeze {
        /// Whose.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// No frame passes between nodes of different `sides`; a node on no side reaches everyone.
    Cut {
        /// The sides.
        sides: Vec<Vec<usize>>,
        /// For how long.
        for_ms: u64,
    },
    /// Some single links are cut, both ways.
    PartialCut {
        /// The links, as pairs of nodes.
        links: Vec<(usize, usize)>,
        /// For how long.
        for_ms: u64,
    },
    /// No frame passes from a node of `from` to a node of `to`; the other direction works.
    OneWay {
        /// The side that is not heard.
        from: Vec<usize>,
        /// The side that does not hear.
        to: Vec<usize>,
        /// For how long.
        for_ms: u64,
    },
    /// A cut that comes and goes: down for `down_ms` at the beginning of each `period_ms`.
    Flapping {
        /// The sides.
        sides: Vec<Vec<usize>>,
        /// For how long in all.
        for_ms: u64,
        /// How often it goes down.
        period_ms: u64,
        /// How long it stays down each time.
        down_ms: u64,
    },
    /// Frames to and from `node` take `extra_ms` longer.
    SlowLink {
        /// Whose links.
        node: usize,
        /// How much longer.
        extra_ms: u64,
        /// For how long.
        for_ms: u64,
    },
    /// Every connection of `node` breaks at once; it may reconnect at once.
    ConnectionReset {
        /// Whose.
        node: usize,
    },
    /// Every connection of every node breaks at once.
    ResetAll,
    /// `count` frames that are no frames reach `node`: bytes cut short or at random.
    Garbage {
        /// Who gets them.
        node: usize,
        /// How many.
        count: u64,
    },
    /// The application of `node` creates keys until the node refuses or `count` are created.
    Flood {
        /// Who.
        node: usize,
        /// How many.
        count: u64,
    },
    /// The state in the memory of `node` is damaged: one dot of a set or a map, chosen by `pick`. Nobody is told.
    ///
    /// It strikes at the first moment from its time on when all nodes are up, know the same and hold the same on
    /// their disks, and no frame is under way; if there is none before the faults end, never. What T8 (DESIGN
    /// section 3) promises needs that much: bytes are mended from a peer that holds them, and who names a
    /// lost item's dot to a peer that does not hold the item yet, or compares all live dots with it, tells
    /// it that the item is dead, as an honest replica would. `draw` therefore leaves faults that make a node
    /// forget, and truncated records, out of such seeds. Counters are spared: the next count reads the row and
    /// writes what it makes of it, so the error would be an event.
    Damage {
        /// Whose.
        node: usize,
        /// In what way.
        harm: Harm,
        /// Chooses the dot.
        pick: u64,
    },
}

/// How a state can be damaged; see [`sync_core::store::Damage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// A bit of a value in a map flips.
    FlipBit,
    /// A live item goes, and its dot stays known.
    LoseItem,
    /// A dead item is live again.
    Revive,
}

impl FaultKind {
    /// What it is called in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { torn: false, .. } => "crash",
            Self::Crash { torn: true, .. } => "crash-torn",
            Self::Restart { .. } => "restart",
            Self::Restore { .. } => "restore",
            Self::ClonedDisk { .. } => "cloned-disk",
            Self::Revert { .. } => "revert",
            Self::Wipe { .. } => "wipe",
            Self::RottenDisk { .. } => "rotten-disk",
            Self::Replace { .. } => "replace",
            Self::Pause { .. } => "pause",
            Self::StopReading { .. } => "stop-reading",
            Self::ClockStep { .. } => "clock-step",
            Self::ClockFreeze { .. } => "clock-freeze",
            Self::Cut { .. } => "cut",
            Self::PartialCut { .. } => "partial-cut",
            Self::OneWay { .. } => "one-way",
            Self::Flapping { .. } => "flapping",
            Self::SlowLink { .. } => "slow-link",
            Self::ConnectionReset { .. } => "connection-reset",
            Self::ResetAll => "reset-all",
            Self::Garbage { .. } => "garbage",
            Self::Flood { .. } => "flood",
            Self::Damage { .. } => "damage",
        }
    }

    /// Every name, in the order of tables. `lost-tail`, `loss`, `duplicate`, `reorder`, `bandwidth`,
    /// `queue-overflow`, `full`, `disk-error` and `ceiling` are counted where they happen: they are properties of a
    /// disk, a link or a limit, not lines of a scenario.
    pub const NAMES: &'static [&'static str] = &[
        "bandwidth",
        "ceiling",
        "clock-freeze",
        "clock-step",
        "cloned-disk",
        "connection-reset",
        "crash",
        "crash-torn",
        "cut",
        "damage",
        "disk-error",
        "duplicate",
        "flapping",
        "flood",
        "full",
        "garbage",
        "loss",
        "lost-tail",
        "one-way",
        "partial-cut",
        "pause",
        "queue-overflow",
        "reorder",
        "replace",
        "reset-all",
        "restart",
        "restore",
        "revert",
        "rotten-disk",
        "slow-link",
        "stop-reading",
        "wipe",
    ];

    /// True if a node that it strikes comes back without something that it knew, or not as itself.
    pub(crate) fn makes_forget(&self) -> bool {
        matches!(
            self,
            Self::Restore { .. }
                | Self::ClonedDisk { .. }
                | Self::Revert { .. }
                | Self::Wipe { .. }
                | Self::RottenDisk { .. }
                | Self::Replace { .. }
        )
    }

    /// Every node that it names.
    pub fn nodes(&self) -> Vec<usize> {
        match self {
            Self::Crash { node, .. }
            | Self::Restart { node, .. }
            | Self::Restore { node, .. }
            | Self::Revert { node, .. }
            | Self::Wipe { node, .. }
            | Self::RottenDisk { node, .. }
            | Self::Replace { node, .. }
            | Self::Pause { node, .. }
            | Self::StopReading { node, .. }
            | Self::ClockStep { node, .. }
            | Self::ClockFreeze { node, .. }
            | Self::SlowLink { node, .. }
            | Self::ConnectionReset { node }
            | Self::Garbage { node, .. }
            | Self::Flood { node, .. }
            | Self::Damage { node, .. } => vec![*node],
            Self::ClonedDisk { node, onto, .. } => vec![*node, *onto],
            Self::Cut { sides, .. } | Self::Flapping { sides, .. } => {
                sides.iter().flatten().copied().collect()
            }
            Self::PartialCut { links, .. } => links.iter().flat_map(|(a, b)| [*a, *b]).collect(),
            Self::OneWay { from, to, .. } => from.iter().chain(to).copied().collect(),
            Self::ResetAll => Vec::new(),
        }
    }
}
