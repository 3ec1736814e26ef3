//! What a node tells of itself: counters and the state of its peers.

use std::ops::AddAssign;

use crate::dictionary::Version;
use crate::id::{NodeId, ReplicaId};

/// Counts since the start, for one peer or summed over all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames given out for sending.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames taken in.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Pushes built.
    pub pushes_sent: u64,
    /// Items carried by pushes and answers.
    pub deltas_sent: u64,
    /// Repairs by session completed here: an answer was joined.
    pub sessions: u64,
    /// Of these, how many compared all live dots because records were lacking.
    pub fallbacks: u64,
    /// Of these, how many found the difference by a sketch; the others were given a list.
    pub sketches: u64,
    /// Answers given to pulls.
    pub answers: u64,
    /// Of these, how many were too large for a frame and went as skeleton and payloads.
    pub large_answers: u64,
    /// Frames of items of large answers built.
    pub payload_frames: u64,
    /// Items of large answers that were staged before a cut and not sent again.
    pub items_resumed: u64,
    /// Items received that were new.
    pub items_new: u64,
    /// Items received that were known already.
    pub items_known: u64,
    /// Live items that it said are dead, with nothing that could have ended them: they stayed live here.
    pub ends_spared: u64,
    /// Of the new ones, how many came to stand beside a concurrent write that they contradict, whoever wrote that:
    /// see [`crate::cell::TypeTag::has_conflicts`].
    pub conflicts: u64,
    /// Frames dropped because they were for another incarnation, or from one not known.
    pub frames_stale: u64,
    /// Frames refused whole.
    pub frames_refused: u64,
    /// Times that it fell off our log, or that a push to it would have been too long: it had to pull.
    pub fell_behind: u64,
    /// Pushes not sent because they were longer than [`crate::limits::Limits::message_bytes_max`].
    pub pushes_too_long: u64,
    /// Times that a breaker opened, by itself or by an operator. A probe that fails is no new opening.
    pub breaker_opens: u64,
    /// Exchanges, dials and probes that made no progress in their time, and frames that stopped on their way.
    pub timeouts: u64,
    /// Frames longer than one may be, received or announced.
    pub oversized: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        let Self {
            frames_sent,
            bytes_sent,
            frames_received,
            bytes_received,
            pushes_sent,
            deltas_sent,
            sessions,
            fallbacks,
            sketches,
            answers,
            large_answers,
            payload_frames,
            items_resumed,
            items_new,
            items_known,
            ends_spared,
            conflicts,
            frames_stale,
            frames_refused,
            fell_behind,
            pushes_too_long,
            breaker_opens,
            timeouts,
            oversized,
        } = other;
        self.frames_sent += frames_sent;
        self.bytes_sent += bytes_sent;
        self.frames_received += frames_received;
        self.bytes_received += bytes_received;
        self.pushes_sent += pushes_sent;
        self.deltas_sent += deltas_sent;
        self.sessions += sessions;
        self.fallbacks += fallbacks;
        self.sketches += sketches;
        self.answers += answers;
        self.large_answers += large_answers;
        self.payload_frames += payload_frames;
        self.items_resumed += items_resumed;
        self.items_new += items_new;
        self.items_known += items_known;
        self.ends_spared += ends_spared;
        self.conflicts += conflicts;
        self.frames_stale += frames_stale;
        self.frames_refused += frames_refused;
        self.fell_behind += fell_behind;
        self.pushes_too_long += pushes_too_long;
        self.breaker_opens += breaker_opens;
        self.timeouts += timeouts;
        self.oversized += oversized;
    }
}

/// One peer as this node sees it, for one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub node: NodeId,
    /// True while a connection is up.
    pub connected: bool,
    /// The protocol version that we talk in; `None` before its first `Hello`.
    pub version: Option<Version>,
    /// Its life, once it has introduced itself.
    pub incarnation: Option<ReplicaId>,
    /// It has the namespace open too.
    pub shared: bool,
    /// True if pushes go to it; above [`crate::limits::Limits::full_mesh_peers_max`] peers not all are.
    pub neighbour: bool,
    /// True if pushes should go to it and no cursor stands: it catches up by a session.
    pub behind: bool,
    /// The peer holds our log up to here.
    pub acked: Option<u64>,
    /// Our log head.
    pub head: u64,
    /// The outcome of the last exchange of roots; `None` before the first.
    pub roots_equal: Option<bool>,
    /// The number, among all exchanges of this node, of the last one after which all that it then knew was known
    /// here: another number, another exchange.
    pub exchange: u64,
    /// Frames built for it and not yet written, those that wait for the disk included.
    pub queued_frames: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// How old the newest write was that it last taught us, by the writer's clock and ours, in milliseconds; `None`
    /// before the first.
    pub arrival_lag_ms: Option<u64>,
    /// Its wall clock minus ours at its last reading, in milliseconds, transit included.
    pub clock_ahead_ms: Option<i64>,
    /// Counts since it was first seen.
    pub stats: Stats,
}

/// How far a peer has come toward a goal of [`super::Node::converge_begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convergence {
    /// Its context covers what was known here at the beginning, and an exchange since then left nothing
    /// of its state unknown here.
    Done,
    /// Not yet.
    Pending,
    /// No connection is up.
    Unreachable,
}
