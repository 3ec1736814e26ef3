//! What a finished run looked like over virtual time: the input of [`crate::svg::draw`].
//!
//! The world fills a [`RunTimeline`] while it runs, and only when a picture was asked for. Times are
//! virtual microseconds since the run began; nodes are named by their index in [`RunTimeline::lanes`].
//! Nothing here decides anything: two runs of one seed fill equal timelines, drawn to equal bytes.

/// A finished run, ready to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTimeline {
    /// What ran: the scenario and its seed. The picture's headline.
    pub title: String,
    /// The command that repeats the run. Stands small under the headline.
    pub command: String,
    /// When the run ended.
    pub end: u64,
    /// When the last fault was lifted and the run began to demand convergence; `None` if it never did.
    pub healed_at: Option<u64>,
    /// When every node's root was equal for good; `None` if that never happened.
    pub converged_at: Option<u64>,
    /// One lane a node, in order.
    pub lanes: Vec<Lane>,
    /// Cuts of the network, in any order. Those that overlap are shaded one over the other.
    pub cuts: Vec<Cut>,
    /// Readings in ascending order of time.
    ///
    /// One every `end / 1000` is plenty; a run of an hour needs no more than one of ten seconds.
    pub samples: Vec<Sample>,
    /// When each write was made that has reached every node, and how long that took; only if the scenario measures it.
    pub spreads: Vec<(u64, u64)>,
}

/// One node over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// What stands beside the lane.
    pub label: String,
    /// Its incarnations, ascending and without overlap. Between two of them the node is down.
    pub lives: Vec<Life>,
    /// While the process stood still: it ran, and handled nothing.
    pub pauses: Vec<(u64, u64)>,
    /// What befell it at one moment.
    pub marks: Vec<Mark>,
    /// When it wrote. A thousand of them are drawn as well as ten.
    pub writes: Vec<u64>,
}

/// One incarnation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it started.
    pub from: u64,
    /// When it ended; the run's end if it was still up.
    pub until: u64,
}

/// A moment in a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: u64,
    /// What.
    pub kind: MarkKind,
}

/// What can befall a node at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// It crashed: what was not durable is gone.
    Crash,
    /// It was stopped cleanly.
    Stop,
    /// It came back on its own disk.
    Restart,
    /// It came back on an old backup.
    Restore,
    /// It was started from a copy of another node's disk.
    Clone,
    /// Its wall clock was moved.
    ClockStep,
    /// It found a second life under its id and took new ids.
    Fenced,
}

/// A cut of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// When it began.
    pub from: u64,
    /// When it was healed; the run's end if it never was.
    pub until: u64,
    /// How it cut.
    pub kind: CutKind,
    /// The nodes on each side. A node on no side reaches everyone.
    ///
    /// For [`CutKind::OneWay`], frames from the first side to the second are lost.
    pub sides: Vec<Vec<usize>>,
}

/// How a cut separates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutKind {
    /// Nobody on one side reaches anybody on another, in neither direction.
    Full,
    /// Some links between the sides still work.
    Partial,
    /// One direction only.
    OneWay,
    /// Down and up in turns.
    Flapping,
}

/// The cluster at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: u64,
    /// Distinct roots among the nodes that are up; 1 means that all agree.
    pub roots: u64,
    /// Keys whose state is not the same on all nodes that are up.
    pub keys_differing: u64,
    /// Bytes handed to the network since the sample before.
    pub bytes: u64,
    /// Frames that wait for one peer, of the node and peer with the most.
    pub queued: u64,
    /// Bytes of them, of the node and peer with the most.
    pub queued_bytes: u64,
}
