//! Claims about the breaker alone: time and failures come in by hand.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::*;
use crate::limits::{Limits, Timing};

/// A breaker with its bounds, its randomness and a clock that the test moves.
struct Bench {
    breaker: Breaker,
    timing: Timing,
    limits: Limits,
    rng: Xoshiro256PlusPlus,
    now: Timestamp,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            breaker: Breaker::default(),
            timing: Timing::default(),
            limits: Limits::default(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            now: Timestamp::from_micros(1_000_000_000),
        }
    }

    fn sleep(&mut self, millis: u64) {
        self.now = self.now + Span::from_millis(millis);
    }

    fn fails(&mut self, failure: Failure) -> Option<Shift> {
        self.breaker.failed(self.now, failure, (&self.timing, &self.limits), &mut self.rng)
    }

    fn dial_fails(&mut self) -> Option<Shift> {
        self.breaker.unreached(self.now, Failure::Refused, (&self.timing, &self.limits), &mut self.rng)
    }

    fn wakes(&mut self) -> Option<Shift> {
        self.breaker.wake(self.now, true, (&self.timing, &self.limits), &mut self.rng)
    }

    /// Begins and sends a probe; false if none may go.
    fn probes(&mut self) -> bool {
        self.breaker.begin_probe(self.now, (&self.timing, &self.limits)) && self.breaker.send_probe()
    }

    fn answers(&mut self) -> Option<Shift> {
        self.breaker.answered(self.now, (&self.timing, &self.limits))
    }

    fn progresses(&mut self) {
        self.breaker.progressed(self.now, (&self.timing, &self.limits));
    }

    fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// How long until it does something by itself, in milliseconds.
    fn waits(&self) -> u64 {
        self.breaker.deadline(true).expect("it waits for time").since(self.now).as_millis()
    }

    fn opens_by_silence(&mut self) {
        let shifts: Vec<_> = (0..3).filter_map(|_| self.dial_fails()).collect();
        assert_eq!(shifts.len(), 1);
    }

    fn is_shut_by_violations(&mut self) {
        let shifts: Vec<_> = (0..3).filter_map(|_| self.fails(Failure::Violation)).collect();
        assert_eq!(shifts.len(), 1);
        assert!(self.breaker.is_shut());
    }

    /// Goes on until the wait is over.
    fn waits_it_out(&mut self) -> Option<Shift> {
        self.now = self.breaker.deadline(true).expect("it waits for time");
        self.wakes()
    }

    /// Answers probes until it closes; gives back how many it took.
    fn recovers(&mut self) -> u32 {
        let mut probes = 0;
        while self.state() != BreakerState::Closed {
            if !self.probes() {
                self.waits_it_out();
                continue;
            }
            probes += 1;
            self.answers();
        }
        probes
    }
}

use BreakerState::{Closed, HalfOpen, Open, Removed};

#[test]
fn the_third_failure_in_a_row_opens_and_an_answer_in_between_begins_the_row_anew() {
    let mut bench = Bench::new(1);
    assert_eq!((bench.dial_fails(), bench.dial_fails()), (None, None));
    bench.progresses();
    assert_eq!((bench.dial_fails(), bench.dial_fails()), (None, None));
    let shift = bench.dial_fails();
    let reason = BreakerReason::Failed(Failure::Refused);
    assert_eq!(shift, Some(Shift { from: Closed, to: Open, reason }));
    assert_eq!((bench.breaker.opens(), bench.breaker.failures().refused), (1, 5));
    assert!(!bench.breaker.is_shut(), "the link may stand");
}

#[test]
fn time_outs_within_one_sync_timeout_count_as_one() {
    let mut bench = Bench::new(1);
    for _ in 0..10 {
        assert_eq!(bench.fails(Failure::TimedOut), None);
    }
    bench.sleep(5_000);
    assert_eq!(bench.fails(Failure::TimedOut), None);
    bench.sleep(4_999);
    assert_eq!(bench.fails(Failure::TimedOut), None);
    bench.sleep(1);
    assert!(bench.fails(Failure::TimedOut).is_some());
    assert_eq!(bench.breaker.failures().timed_out, 13, "each is counted");
}

#[test]
fn an_unreachable_peer_is_probed_after_one_to_five_seconds_and_the_waits_grow() {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        bench.opens_by_silence();
        first.push(bench.waits());
        for _ in 0..5 {
            assert_eq!(bench.waits_it_out().map(|shift| shift.to), Some(HalfOpen));
            assert!(bench.probes());
            assert_eq!(bench.dial_fails().map(|shift| shift.to), Some(Open));
            assert!((1_000..=5_000).contains(&bench.waits()), "{}", bench.waits());
        }
        later.push(bench.waits());
        assert_eq!(bench.breaker.opens(), 1, "a failed probe is no new opening");
    }
    assert!(first.iter().all(|wait| (1_000..=2_000).contains(wait)));
    let mean = |waits: &[u64]| waits.iter().sum::<u64>() / waits.len() as u64;
    assert!(mean(&later) > 2_600 && later.iter().any(|wait| *wait > 4_500), "{later:?}");
    first.sort_unstable();
    first.dedup();
    assert!(first.len() > 100, "the waits are drawn: nodes that lost a peer together do not probe together");
}

#[test]
fn whatever_comes_from_an_unreachable_peer_has_it_probed_at_once_and_once() {
    let mut bench = Bench::new(1);
    bench.opens_by_silence();
    assert!(!bench.probes(), "not yet");
    let shift = bench.breaker.heard(bench.now);
    assert_eq!(shift, Some(Shift { from: Open, to: HalfOpen, reason: BreakerReason::Heard }));
    assert!(bench.probes());
    for _ in 0..10 {
        assert_eq!(bench.breaker.heard(bench.now), None);
        assert!(!bench.probes(), "one probe is under way");
    }
    assert_eq!(bench.answers().map(|shift| shift.to), Some(Closed));
}

#[test]
fn a_probe_that_nobody_answers_has_failed_when_its_time_is_over() {
    let mut bench = Bench::new(1);
    bench.opens_by_silence();
    bench.waits_it_out();
    assert!(bench.probes());
    assert_eq!(bench.waits(), 5_000);
    bench.sleep(4_999);
    assert_eq!(bench.wakes(), None);
    bench.sleep(1);
    let reason = BreakerReason::Failed(Failure::TimedOut);
    assert_eq!(bench.wakes(), Some(Shift { from: HalfOpen, to: Open, reason }));
}

#[test]
fn a_link_that_breaks_takes_the_probe_with_it() {
    let mut bench = Bench::new(1);
    bench.opens_by_silence();
    bench.breaker.heard(bench.now);
    assert!(bench.probes());
    let shift = bench.breaker.lost(bench.now, (&bench.timing, &bench.limits), &mut bench.rng);
    assert_eq!(shift.map(|shift| (shift.to, shift.reason)), Some((Open, BreakerReason::LinkLost)));
}

#[test]
fn a_misbehaving_peer_is_shut_out_for_the_whole_time_whatever_arrives() {
    let mut bench = Bench::new(1);
    bench.is_shut_by_violations();
    assert!((60_000..=75_000).contains(&bench.waits()), "{}", bench.waits());
    for _ in 0..59 {
        bench.sleep(1_000);
        assert_eq!((bench.breaker.heard(bench.now), bench.wakes(), bench.answers()), (None, None, None));
        assert!(bench.breaker.is_shut() && !bench.probes());
    }
    assert_eq!(bench.waits_it_out().map(|shift| shift.to), Some(HalfOpen));
    assert_eq!(bench.recovers(), 1);
}

#[test]
fn one_breach_of_a_peer_that_was_just_let_in_shuts_it_out_for_twice_as_long_up_to_a_bound() {
    let mut bench = Bench::new(1);
    bench.is_shut_by_violations();
    for least in [120_000, 240_000, 480_000, 600_000, 600_000] {
        bench.waits_it_out();
        assert!(bench.fails(Failure::Oversize).is_some(), "one is enough");
        assert!((least..=least * 5 / 4).contains(&bench.waits()), "{}", bench.waits());
    }
    let Failures { violations, oversized, .. } = bench.breaker.failures();
    assert_eq!((violations, oversized, bench.breaker.opens()), (3, 5, 6));
}

#[test]
fn answers_do_not_forgive_breaches_but_time_does() {
    let mut bench = Bench::new(1);
    for _ in 0..10 {
        assert_eq!(bench.fails(Failure::Violation), None);
        bench.progresses();
        bench.sleep(60_001);
    }
    bench.is_shut_by_violations();
    let mut bench = Bench::new(1);
    for _ in 0..2 {
        assert_eq!(bench.fails(Failure::Violation), None);
        bench.sleep(59_000);
        bench.progresses();
    }
    assert!(bench.fails(Failure::Violation).is_some());
}

#[test]
fn a_breaker_that_opens_again_needs_more_probes_answered_with_a_pause_between_them() {
    let mut bench = Bench::new(1);
    for needed in [1, 2, 3, 4, 4, 4] {
        bench.opens_by_silence();
        assert_eq!(bench.recovers(), needed, "opened again before any exchange was answered");
    }
    bench.progresses();
    bench.opens_by_silence();
    assert_eq!(bench.recovers(), 1, "an exchange was answered in between");

    bench.opens_by_silence();
    bench.waits_it_out();
    assert!(bench.probes());
    assert_eq!(bench.answers(), None);
    assert!(!bench.probes(), "the next one waits");
    assert_eq!(bench.waits(), 1_000);
}

#[test]
fn a_peer_that_nobody_can_dial_is_not_probed_before_it_comes_itself() {
    let mut bench = Bench::new(1);
    bench.opens_by_silence();
    assert_eq!(bench.breaker.deadline(false), None);
    bench.sleep(3_600_000);
    let bounds = (&bench.timing, &bench.limits);
    assert_eq!(bench.breaker.wake(bench.now, false, bounds, &mut bench.rng), None);
    assert!(bench.breaker.heard(bench.now).is_some());
    bench.breaker.linked(bench.now, bounds);
    assert!(bench.breaker.send_probe(), "its greeting is the probe");
}

#[test]
fn an_operator_trips_resets_removes_and_adds() {
    let mut bench = Bench::new(1);
    let shift = bench.breaker.trip(bench.now, (&bench.timing, &bench.limits));
    assert_eq!(shift, Some(Shift { from: Closed, to: Open, reason: BreakerReason::Operator }));
    assert!(bench.breaker.is_shut());
    assert_eq!((bench.waits(), bench.breaker.heard(bench.now)), (60_000, None));
    assert_eq!(bench.breaker.reset().map(|shift| shift.to), Some(Closed));
    assert_eq!(bench.breaker.reset(), None);

    bench.opens_by_silence();
    assert_eq!(bench.breaker.remove().map(|shift| shift.to), Some(Removed));
    assert!(bench.breaker.is_shut());
    bench.sleep(3_600_000);
    let bounds = (&bench.timing, &bench.limits);
    assert_eq!((bench.breaker.heard(bench.now), bench.breaker.reset()), (None, None));
    assert_eq!((bench.breaker.trip(bench.now, bounds), bench.breaker.deadline(true)), (None, None));
    assert_eq!(bench.breaker.add().map(|shift| shift.to), Some(Closed));
    bench.opens_by_silence();
    assert_eq!(bench.recovers(), 1, "nothing is held against it");
}

#[test]
fn a_peer_that_opens_as_often_in_a_row_as_configured_is_removed_and_by_default_never() {
    let mut bench = Bench::new(1);
    bench.limits.breaker_opens_max = 3;
    for _ in 0..2 {
        bench.opens_by_silence();
        bench.recovers();
    }
    bench.opens_by_silence();
    assert_eq!((bench.state(), bench.breaker.reason()), (Removed, Some(BreakerReason::Opened(3))));

    let mut bench = Bench::new(1);
    for _ in 0..50 {
        bench.opens_by_silence();
        bench.recovers();
    }
    assert_eq!(bench.state(), Closed);
}

#[test]
fn a_breaker_that_may_never_open_counts_all_the_same() {
    let mut bench = Bench::new(1);
    bench.limits.breaker_failures_max = 0;
    for failure in [Failure::TimedOut, Failure::Refused, Failure::Violation, Failure::Oversize] {
        (0..10).for_each(|_| assert_eq!(bench.fails(failure), None));
    }
    let counted = Failures { timed_out: 10, refused: 10, violations: 10, oversized: 10 };
    assert_eq!((bench.state(), bench.breaker.failures()), (Closed, counted));
}

/// Every history of six steps of nine kinds: whatever happens, in whatever order.
#[test]
fn no_history_has_two_probes_under_way_or_one_while_it_is_closed_or_shut() {
    const STEPS: u32 = 6;
    const KINDS: u64 = 9;
    for history in 0..KINDS.pow(STEPS) {
        let mut bench = Bench::new(history);
        bench.limits.breaker_failures_max = 1;
        let (mut rest, mut under_way) = (history, false);
        for _ in 0..STEPS {
            match rest % KINDS {
                0 => drop(bench.dial_fails()),
                1 => drop(bench.fails(Failure::Violation)),
                2 => drop(bench.breaker.heard(bench.now)),
                3 => {
                    bench.answers();
                    under_way = false;
                }
                4 => drop(bench.wakes()),
                5 if bench.probes() => {
                    assert!(!under_way, "history {history}: a second probe");
                    assert_eq!(bench.state(), HalfOpen, "history {history}");
                    under_way = true;
                }
                5 => {}
                6 => drop(bench.breaker.lost(bench.now, (&bench.timing, &bench.limits), &mut bench.rng)),
                7 => drop(bench.breaker.trip(bench.now, (&bench.timing, &bench.limits))),
                _ => bench.sleep(6_000),
            }
            under_way &= bench.state() == HalfOpen;
            let goes_on = bench.breaker.deadline(true).is_some();
            assert_eq!(goes_on, bench.state() != Closed, "history {history}: it goes on by itself");
            rest /= KINDS;
        }
    }
}
