//! The status log: which dots changed their status, in order.
//!
//! The log holds no deltas. Entry `i` is the set of dots that step `i` learned or killed; what a push
//! carries is resolved against the state at sending (DESIGN section 3, T4), so the log compacts itself.
//! Positions only grow; a cursor is a position. Cut at its old end when full: a cursor that pointed
//! there is off the log, and its peer catches up by a session.

use std::collections::VecDeque;

use crate::causal::DotSet;
use crate::id::ReplicaId;
use crate::limits::Limits;
use crate::mutant::{self, Mutant};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// The dots learned or killed.
    pub(crate) dots: DotSet,
    /// The peer incarnation that taught us; `None` for a local write.
    pub(crate) from: Option<ReplicaId>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusLog {
    entries: VecDeque<LogEntry>,
    /// Position of the oldest entry kept.
    base: u64,
    /// Intervals in all entries.
    intervals: usize,
    /// Position behind the newest entry of a local write; 0 before the first.
    local: u64,
}

impl StatusLog {
    /// Position behind the newest entry.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Position behind the newest entry of a local write; 0 before the first.
    pub(crate) fn local_head(&self) -> u64 {
        self.local
    }

    /// Position of the oldest entry kept.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Appends a step, unless nothing changed in it; drops the oldest beyond the limits.
    pub(crate) fn append(&mut self, dots: DotSet, from: Option<ReplicaId>, limits: &Limits) {
        if dots.is_empty() {
            return;
        }
        if mutant::is(Mutant::LogClearedByJoin) && from.is_some() {
            self.entries.iter_mut().for_each(|entry| entry.dots = DotSet::default());
            self.intervals = 0;
        }
        self.intervals += dots.intervals().count();
        self.entries.push_back(LogEntry { dots, from });
        if from.is_none() {
            self.local = self.head();
        }
        while self.entries.len() > limits.log_entries_max || self.intervals > limits.log_intervals_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.intervals -= oldest.dots.intervals().count();
            self.base += 1;
        }
    }

    /// The entries from position `from` on, with the position behind each; `None` if some are gone.
    pub(crate) fn since(&self, from: u64) -> Option<impl Iterator<Item = (u64, &LogEntry)>> {
        let skip = usize::try_from(from.checked_sub(self.base)?).ok()?;
        let ends = from + 1..;
        Some(ends.zip(self.entries.iter().skip(skip)))
    }

    /// Walks all entries: the intervals are theirs.
    #[cfg(any(test, feature = "faults"))]
    pub(super) fn check(&self) -> Result<(), String> {
        let intervals = self.entries.iter().map(|entry| entry.dots.intervals().count()).sum();
        super::check::is("intervals of the log", self.intervals, intervals)
    }

    /// Number of entries kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Dot intervals in all of them.
    pub(crate) fn intervals(&self) -> usize {
        self.intervals
    }

    /// Every entry kept, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter()
    }
}
