//! The push machine: which part of the log a peer still needs, and when it goes.
//!
//! One [`Cursor`] a peer and namespace, for one incarnation of the peer. It holds positions in the
//! status log, never deltas: what waits for a slow peer is a cursor (DESIGN section 5). `acked` is what
//! the peer has confirmed; `sent` runs ahead of it while pushes are in flight and falls back when the
//! connection breaks or an acknowledgement is overdue. The receiver's check of `lo` makes that sound.

use std::collections::VecDeque;

use crate::causal::{CausalContext, DotSet};
use crate::id::ReplicaId;
use crate::limits::{Limits, Timing};
use crate::mutant::{self, Mutant};
use crate::store::Store;
use crate::time::{Span, Timestamp};

/// How far a peer has our log. See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The peer holds the log up to here; `None` until a session has set the cursor.
    acked: Option<u64>,
    /// The pushes in flight end here; at least `acked`.
    sent: u64,
    /// Entries from `sent` up to here hold nothing that the peer needs.
    scanned: u64,
    /// Ends of the pushes in flight, oldest first; at most [`Limits::pushes_in_flight_max`].
    in_flight: VecDeque<u64>,
    /// When the oldest of them is overdue.
    overdue_at: Option<Timestamp>,
    /// When what was learned from others is relayed.
    relay_at: Option<Timestamp>,
    /// That time has come.
    relay_due: bool,
}

/// What the cursor wants done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, or nothing before a deadline.
    Wait,
    /// Push these dots as entries `lo..hi`.
    Push {
        /// What the peer must hold.
        lo: u64,
        /// The log head.
        hi: u64,
        /// The dots to name; empty if only the cursor moves.
        dots: DotSet,
    },
    /// The cursor fell off the log: the peer must pull.
    Behind,
}

impl Cursor {
    /// What the peer has confirmed; `None` if no cursor stands.
    pub fn acked(&self) -> Option<u64> {
        self.acked
    }

    /// True if a push is on its way, on the connection that is up.
    pub fn is_pushing(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The next deadline: an overdue acknowledgement or a relay.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadlines().into_iter().flatten().min()
    }

    /// When an acknowledgement is overdue, and when a relay is due.
    pub(crate) fn deadlines(&self) -> [Option<Timestamp>; 2] {
        [self.overdue_at, self.relay_at]
    }

    /// Turns deadlines that have passed into what is due, so that none stays in the past. True if an acknowledgement
    /// is overdue.
    pub fn wake(&mut self, now: Timestamp) -> bool {
        let is_overdue = self.overdue_at.is_some_and(|at| at <= now);
        if is_overdue {
            if mutant::is(Mutant::PushNotRepeated) {
                self.overdue_at = None;
            } else {
                self.fall_back();
            }
        }
        if self.relay_at.is_some_and(|at| at <= now) {
            (self.relay_at, self.relay_due) = (None, true);
        }
        is_overdue
    }

    /// Decides the next push to incarnation `peer`, which is known to hold `known`.
    ///
    /// Local entries go at once; entries learned from others wait for `relay_delay`, since most of them
    /// reach the peer by themselves and it says so meanwhile.
    pub fn next(
        &mut self,
        now: Timestamp,
        store: &Store,
        peer: ReplicaId,
        known: &CausalContext,
        (timing, limits): (&Timing, &Limits),
        relay_delay: impl FnOnce() -> Span,
    ) -> Step {
        let Some(acked) = self.acked else { return Step::Wait };
        let mut head = store.log_head();
        if self.in_flight.len() as u64 >= limits.pushes_in_flight_max || self.sent.max(self.scanned) >= head {
            return Step::Wait;
        }
        let mut from = self.sent.max(self.scanned);
        let fallen = acked < store.log().base() && !mutant::is(Mutant::LogTruncationIgnored);
        if mutant::is(Mutant::LogTruncationIgnored) {
            from = from.max(store.log().base());
        }
        if mutant::is(Mutant::PushCutBeforeHead) {
            head = from + 1;
        }
        let Some(entries) = store.log().since(from) else {
            return self.fall_off();
        };
        if fallen {
            return self.fall_off();
        }
        let mut foreign = entries.filter(|(end, entry)| *end <= head && entry.from != Some(peer)).peekable();
        let at_once = store.log().local_head() > from || self.relay_due || mutant::is(Mutant::RelayedAtOnce);
        if !at_once && foreign.peek().is_some() {
            if mutant::is(Mutant::RelaysNeverSent) {
                return Step::Wait;
            }
            self.relay_at.get_or_insert_with(|| now + relay_delay());
            return Step::Wait;
        }
        let mut dots = DotSet::default();
        foreign.for_each(|(_, entry)| dots.union(&entry.dots));
        let dots = store.needed_by(dots, known);
        if dots.is_empty() {
            self.scanned = head;
            (self.relay_at, self.relay_due) = (None, false);
            if head - self.sent <= limits.skipped_entries_max {
                return Step::Wait;
            }
        }
        let lo = self.sent;
        self.sent = head;
        self.scanned = head;
        (self.relay_at, self.relay_due) = (None, false);
        if mutant::is(Mutant::CursorMovedAtSend) {
            self.acked = Some(head);
        }
        self.in_flight.push_back(head);
        self.overdue_at.get_or_insert(now + timing.sync_timeout);
        Step::Push { lo, hi: head, dots }
    }

    fn fall_off(&mut self) -> Step {
        *self = Self::default();
        Step::Behind
    }

    /// The peer has confirmed the log up to `hi`, which is at most the log head.
    pub fn on_ack(&mut self, now: Timestamp, hi: u64, timing: &Timing) {
        if self.acked.is_some_and(|acked| hi <= acked) {
            return;
        }
        self.acked = Some(hi);
        self.sent = self.sent.max(hi);
        self.scanned = self.scanned.max(hi);
        while self.in_flight.front().is_some_and(|end| *end <= hi) {
            self.in_flight.pop_front();
        }
        self.overdue_at = (!self.in_flight.is_empty()).then(|| now + timing.sync_timeout);
    }

    /// Feeds every position to `sink`, for the node's state key.
    pub(crate) fn key(&self, sink: &mut dyn FnMut(Option<u64>)) {
        [self.acked, Some(self.sent), Some(self.scanned)].into_iter().for_each(&mut *sink);
        self.in_flight.iter().for_each(|end| sink(Some(*end)));
        sink(self.relay_due.then_some(0));
    }

    /// Takes back what was sent and not confirmed: the connection broke, or the peer does not answer.
    pub fn fall_back(&mut self) {
        self.sent = self.acked.unwrap_or(0);
        self.scanned = self.sent;
        self.in_flight.clear();
        self.overdue_at = None;
        (self.relay_at, self.relay_due) = (None, false);
    }
}
