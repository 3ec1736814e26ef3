//! The circuit breaker of one peer: whether we talk to it, and when it is tried again.
//!
//! In flow what failed, what was answered and what was heard, with the time of each; out flow [`Shift`]s from one
//! state to the next. It sends nothing itself: the node asks it before it builds a frame (`node/breakers.rs`).
//!
//! ```text
//!            3 failures                        its time, or something is heard
//! Closed -----------------> Open (unreachable) --------------------------------> HalfOpen --> Closed
//!    |                       ^    a probe fails, or the link breaks                |  | answered
//!    |                       +-----------------------------------------------------+  |
//!    +-------------------> Open (shut) -- its whole time, whatever is heard ----------^
//!       3 breaches, or an operator
//! ```
//!
//! **Unreachable** (time-outs, refused dials): the link may stand and frames are taken in; of ours only probes go, one
//! at a time, each after a jittered wait that grows with those that failed. **Shut** (violations, oversize, an
//! operator): no link at all until the time is over. A probe is a greeting, over a link that is dialled for it if
//! none is up. One answered greeting closes a breaker that opened once; one that opens again before any exchange was
//! answered needs as many as it has opened, at most [`Limits::breaker_successes_max`].

mod kinds;
#[cfg(test)]
mod tests;

use rand::{Rng, RngExt};

use crate::limits::{Limits, Timing};
use crate::mutant::{self, Mutant};
use crate::time::{Span, Timestamp};

pub use kinds::{BreakerReason, BreakerState, Failure, Failures, Shift};

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    phase: Phase,
    /// Time-outs and refusals since an exchange was last answered.
    silences: u32,
    /// When a time-out was last among them: those within one `sync_timeout` have one cause.
    silent_at: Option<Timestamp>,
    /// Breaches, each within `breaker_open` of the one before.
    breaches: u32,
    breached_at: Option<Timestamp>,
    /// It was shut for breaches and has not closed since: one more is enough.
    is_wary: bool,
    /// Opened so often in a row.
    row: u32,
    failures: Failures,
    opens: u64,
    reason: Option<BreakerReason>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open {
        /// No link: the time has to pass, whatever is heard.
        is_shut: bool,
        /// Then it is tried.
        until: Timestamp,
        /// Probes that failed since it opened.
        tries: u32,
    },
    HalfOpen {
        probe: Probe,
        /// Probes answered.
        answered: u32,
        tries: u32,
    },
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Not before then.
    Due(Timestamp),
    /// Under way; without an answer by then it has failed.
    Out {
        until: Timestamp,
        /// Its greeting, or its dial, is no longer to be sent.
        is_sent: bool,
    },
}

/// The bounds that a breaker keeps to.
pub type Bounds<'a> = (&'a Timing, &'a Limits);

impl Breaker {
    // What went wrong.

    /// An exchange failed. In half-open only a breach shifts: time-outs are of exchanges that began before.
    pub fn failed(
        &mut self,
        now: Timestamp,
        failure: Failure,
        bounds: Bounds<'_>,
        rng: &mut impl Rng,
    ) -> Option<Shift> {
        self.failures.count(failure);
        if failure.is_breach() {
            return self.breached(now, failure, bounds, rng);
        }
        if self.phase != Phase::Closed {
            return None;
        }
        let same = |at: Timestamp| now < at + bounds.0.sync_timeout;
        if self.silences > 0 && self.silent_at.is_some_and(same) {
            return None;
        }
        self.silent_at = Some(now);
        self.silent(now, failure, bounds, rng)
    }

    /// A dial failed, or the peer refused the link: in half-open that was the probe.
    pub fn unreached(
        &mut self,
        now: Timestamp,
        failure: Failure,
        bounds: Bounds<'_>,
        rng: &mut impl Rng,
    ) -> Option<Shift> {
        self.failures.count(failure);
        match self.phase {
            Phase::Closed => self.silent(now, failure, bounds, rng),
            Phase::HalfOpen { .. } => self.fall(now, BreakerReason::Failed(failure), bounds, rng),
            Phase::Open { .. } | Phase::Removed => None,
        }
    }

    /// The link is gone, and with it a probe that was under way.
    pub fn lost(&mut self, now: Timestamp, bounds: Bounds<'_>, rng: &mut impl Rng) -> Option<Shift> {
        match self.phase {
            Phase::HalfOpen { probe: Probe::Out { .. }, .. } => {
                self.fall(now, BreakerReason::LinkLost, bounds, rng)
            }
            Phase::HalfOpen { probe: Probe::Due(_), .. }
            | Phase::Closed
            | Phase::Open { .. }
            | Phase::Removed => None,
        }
    }

    fn silent(
        &mut self,
        now: Timestamp,
        failure: Failure,
        bounds: Bounds<'_>,
        rng: &mut impl Rng,
    ) -> Option<Shift> {
        let max = bounds.1.breaker_failures_max;
        if self.phase != Phase::Closed || max == 0 {
            return None;
        }
        self.silences += 1;
        (self.silences >= max).then(|| self.open(now, failure, bounds, rng))
    }

    fn breached(
        &mut self,
        now: Timestamp,
        failure: Failure,
        bounds: Bounds<'_>,
        rng: &mut impl Rng,
    ) -> Option<Shift> {
        let max = bounds.1.breaker_failures_max;
        if self.is_shut() || max == 0 {
            return None;
        }
        if self.breached_at.is_none_or(|at| now > at + bounds.0.breaker_open) {
            self.breaches = 0;
        }
        self.breaches += 1;
        self.breached_at = Some(now);
        (self.breaches >= max || self.is_wary).then(|| self.open(now, failure, bounds, rng))
    }

    fn open(&mut self, now: Timestamp, failure: Failure, bounds: Bounds<'_>, rng: &mut impl Rng) -> Shift {
        let (timing, limits) = bounds;
        let is_shut = failure.is_breach();
        self.opens += 1;
        self.row = self.row.saturating_add(1);
        (self.silences, self.silent_at) = (0, None);
        if is_shut {
            (self.breaches, self.is_wary) = (0, true);
        }
        if limits.breaker_opens_max > 0 && self.row >= limits.breaker_opens_max {
            return self.shift(Phase::Removed, BreakerReason::Opened(self.row));
        }
        let wait = if is_shut { self.shut_for(timing, rng) } else { self.probe_wait(0, timing, rng) };
        let phase = Phase::Open { is_shut, until: now + wait, tries: 0 };
        self.shift(phase, BreakerReason::Failed(failure))
    }

    /// A probe has failed: on to the next wait.
    fn fall(
        &mut self,
        now: Timestamp,
        reason: BreakerReason,
        (timing, _): Bounds<'_>,
        rng: &mut impl Rng,
    ) -> Option<Shift> {
        let Phase::HalfOpen { tries, .. } = self.phase else { return None };
        let tries = tries.saturating_add(1);
        let until = now + self.probe_wait(tries, timing, rng);
        Some(self.shift(Phase::Open { is_shut: false, until, tries }, reason))
    }

    /// `breaker_open`, doubled for each time that it opened before, up to `breaker_open_max`, and up to a quarter more.
    fn shut_for(&self, timing: &Timing, rng: &mut impl Rng) -> Span {
        let (least, most) = (timing.breaker_open.as_micros(), timing.breaker_open_max.as_micros());
        let span = doubled(least, self.row.saturating_sub(1)).min(most.max(least));
        Span::from_micros(span + rng.random_range(0..=span / 4))
    }

    /// Drawn from `breaker_probe_min` up to the double of it, and of that for each probe that failed and each time that
    /// it opened before, at most `breaker_probe_max`.
    fn probe_wait(&self, tries: u32, timing: &Timing, rng: &mut impl Rng) -> Span {
        let (least, most) = (timing.breaker_probe_min.as_micros(), timing.breaker_probe_max.as_micros());
        let longest = doubled(least, self.row.max(1).saturating_add(tries)).min(most.max(least));
        Span::from_micros(rng.random_range(least..=longest))
    }

    // What went well.

    /// An exchange was answered, or made progress.
    pub fn progressed(&mut self, now: Timestamp, (timing, _): Bounds<'_>) {
        if self.phase != Phase::Closed {
            return;
        }
        (self.silences, self.silent_at) = (0, None);
        if self.breached_at.is_none_or(|at| now >= at + timing.breaker_open_max) {
            self.row = 0;
        }
    }

    /// An authenticated frame came from the peer, or a link to it is up.
    pub fn heard(&mut self, now: Timestamp) -> Option<Shift> {
        match self.phase {
            Phase::Open { is_shut, tries, .. } if !is_shut || mutant::is(Mutant::MisbehaviourForgiven) => {
                let phase = Phase::HalfOpen { probe: Probe::Due(now), answered: 0, tries };
                Some(self.shift(phase, BreakerReason::Heard))
            }
            Phase::HalfOpen { ref mut probe, .. } => {
                if mutant::is(Mutant::TwoProbesAtOnce) {
                    *probe = Probe::Due(now);
                }
                None
            }
            Phase::Open { .. } | Phase::Closed | Phase::Removed => None,
        }
    }

    /// The peer has answered a greeting.
    pub fn answered(&mut self, now: Timestamp, (timing, limits): Bounds<'_>) -> Option<Shift> {
        let Phase::HalfOpen { probe, answered, .. } = &mut self.phase else { return None };
        *answered += 1;
        *probe = Probe::Due(now + timing.breaker_probe_min);
        let answered = *answered;
        let enough = answered >= self.row.min(limits.breaker_successes_max);
        enough.then(|| self.close(BreakerReason::Answered(answered)))
    }

    fn close(&mut self, reason: BreakerReason) -> Shift {
        (self.silences, self.silent_at) = (0, None);
        self.is_wary = false;
        self.shift(Phase::Closed, reason)
    }

    fn shift(&mut self, phase: Phase, reason: BreakerReason) -> Shift {
        let from = self.state();
        self.phase = phase;
        self.reason = Some(reason);
        Shift { from, to: self.state(), reason }
    }

    // Time and probes.

    /// When [`Self::wake`] has something to do. `can_probe` says whether a link is up or can be dialled.
    pub fn deadline(&self, can_probe: bool) -> Option<Timestamp> {
        match self.phase {
            Phase::Open { is_shut: true, until, .. } => Some(until),
            Phase::Open { is_shut: false, until, .. } => {
                Some(until).filter(|_| can_probe && !mutant::is(Mutant::ProbeNeverDue))
            }
            Phase::HalfOpen { probe: Probe::Out { until, .. }, .. } => Some(until),
            Phase::HalfOpen { probe: Probe::Due(at), .. } => Some(at).filter(|_| can_probe),
            Phase::Closed | Phase::Removed => None,
        }
    }

    /// Does what time has brought: an open breaker is tried, an unanswered probe has failed.
    pub fn wake(
        &mut self,
        now: Timestamp,
        can_probe: bool,
        bounds: Bounds<'_>,
        rng: &mut impl Rng,
    ) -> Option<Shift> {
        self.deadline(can_probe).filter(|at| *at <= now)?;
        match self.phase {
            Phase::Open { tries, .. } => {
                let phase = Phase::HalfOpen { probe: Probe::Due(now), answered: 0, tries };
                Some(self.shift(phase, BreakerReason::Due))
            }
            Phase::HalfOpen { probe: Probe::Out { .. }, .. } => {
                self.failures.count(Failure::TimedOut);
                self.fall(now, BreakerReason::Failed(Failure::TimedOut), bounds, rng)
            }
            Phase::HalfOpen { probe: Probe::Due(_), .. } | Phase::Closed | Phase::Removed => None,
        }
    }

    /// Begins the probe, if one is due; then the caller sends it, or has it sent as soon as there is room.
    pub fn begin_probe(&mut self, now: Timestamp, (timing, _): Bounds<'_>) -> bool {
        let Phase::HalfOpen { probe, .. } = &mut self.phase else { return false };
        let is_due = matches!(probe, Probe::Due(at) if *at <= now);
        if is_due {
            *probe = Probe::Out { until: now + timing.breaker_probe_max, is_sent: false };
        }
        is_due
    }

    /// True if the probe under way has yet to be sent; it counts as sent then.
    pub fn send_probe(&mut self) -> bool {
        let Phase::HalfOpen { probe: Probe::Out { is_sent, .. }, .. } = &mut self.phase else { return false };
        !std::mem::replace(is_sent, true)
    }

    /// A link is up. If it was dialled for the probe, the greeting is the rest of it.
    pub fn linked(&mut self, now: Timestamp, (timing, _): Bounds<'_>) {
        if let Phase::HalfOpen { probe, .. } = &mut self.phase {
            *probe = Probe::Out { until: now + timing.breaker_probe_max, is_sent: false };
        }
    }

    // What an operator asks.

    /// Shuts it for `breaker_open`, whatever it was but removed.
    pub fn trip(&mut self, now: Timestamp, (timing, _): Bounds<'_>) -> Option<Shift> {
        if self.phase == Phase::Removed {
            return None;
        }
        self.opens += 1;
        let phase = Phase::Open { is_shut: true, until: now + timing.breaker_open, tries: 0 };
        Some(self.shift(phase, BreakerReason::Operator))
    }

    /// Closes it and forgets what counted against the peer, unless it is removed.
    pub fn reset(&mut self) -> Option<Shift> {
        match self.phase {
            Phase::Removed => None,
            Phase::Closed => {
                self.forgive();
                None
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                self.forgive();
                Some(self.close(BreakerReason::Operator))
            }
        }
    }

    /// Takes the peer off the list.
    pub fn remove(&mut self) -> Option<Shift> {
        (self.phase != Phase::Removed).then(|| self.shift(Phase::Removed, BreakerReason::Operator))
    }

    /// Puts it on the list again, with nothing against it.
    pub fn add(&mut self) -> Option<Shift> {
        self.forgive();
        (self.phase == Phase::Removed).then(|| self.close(BreakerReason::Operator))
    }

    fn forgive(&mut self) {
        let Self { silences, silent_at, breaches, breached_at, is_wary, row, .. } = self;
        (*silences, *silent_at, *breaches, *breached_at, *is_wary, *row) = (0, None, 0, None, false, 0);
    }

    // Reading.

    /// How it stands.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
            Phase::Removed => BreakerState::Removed,
        }
    }

    /// True if there may be no link: it opened for misbehaviour or by an operator, or the peer is removed.
    pub fn is_shut(&self) -> bool {
        match self.phase {
            Phase::Open { is_shut, .. } => is_shut,
            Phase::Removed => true,
            Phase::Closed | Phase::HalfOpen { .. } => false,
        }
    }

    /// True if nothing would be forgotten with it but counts.
    pub fn is_blank(&self) -> bool {
        self.phase == Phase::Closed && self.row == 0
    }

    /// True if anything but counts tells it from a new one.
    pub(crate) fn weighs(&self) -> bool {
        let Self { silences, breaches, is_wary, row, .. } = self;
        self.phase != Phase::Closed || *is_wary || [*silences, *breaches, *row].iter().any(|count| *count > 0)
    }

    /// Until when it stays as it is, unless something happens; `None` if that is for good.
    pub fn until(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Open { until, .. } => Some(until),
            Phase::HalfOpen { probe: Probe::Due(at) | Probe::Out { until: at, .. }, .. } => Some(at),
            Phase::Closed | Phase::Removed => None,
        }
    }

    /// Why it stands so; `None` if it never shifted.
    pub fn reason(&self) -> Option<BreakerReason> {
        self.reason
    }

    /// What went wrong since the peer was first seen.
    pub fn failures(&self) -> Failures {
        self.failures
    }

    /// How often it has opened. A probe that fails is no new opening.
    pub fn opens(&self) -> u64 {
        self.opens
    }

    /// Feeds what decides its next steps to `sink`, times as they are, for the node's state key.
    pub(crate) fn key(&self, sink: &mut dyn FnMut(u64), deadline: &mut dyn FnMut(Option<Timestamp>)) {
        let (kind, tries, answered, is_sent) = match self.phase {
            Phase::Closed => (0, 0, 0, false),
            Phase::Open { is_shut, tries, .. } => (1 + u64::from(is_shut), tries, 0, false),
            Phase::HalfOpen { probe: Probe::Due(_), tries, answered } => (3, tries, answered, false),
            Phase::HalfOpen { probe: Probe::Out { is_sent, .. }, tries, answered } => {
                (4, tries, answered, is_sent)
            }
            Phase::Removed => (5, 0, 0, false),
        };
        sink(kind);
        [tries, answered, self.silences, self.breaches, self.row]
            .iter()
            .for_each(|count| sink(u64::from(*count)));
        [is_sent, self.is_wary].iter().for_each(|flag| sink(u64::from(*flag)));
        [self.until(), self.silent_at, self.breached_at].into_iter().for_each(deadline);
    }
}

/// `span` doubled so many times; saturates.
fn doubled(span: u64, times: u32) -> u64 {
    span.saturating_mul(1u64.checked_shl(times).unwrap_or(u64::MAX))
}
