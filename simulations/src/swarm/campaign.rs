//! Running the seeds of a campaign on threads.
//!
//! Threads stand only between seeds: a world has none. They take chunks of seeds and give tallies back; what is
//! done without a gap from the first seed on is the campaign's [`Progress`], which can be kept in a file.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::report::{Report, Tally};
use crate::faults;
use crate::run::run;

/// Seeds that a thread takes at once.
const CHUNK: u64 = 16;

/// How often whoever watches hears of a campaign at least.
const TICK: Duration = Duration::from_secs(1);

/// Which seeds, and what is done with each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Each is run twice, and the trace hashes compared.
    pub twice: bool,
}

/// How far a campaign has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// What is to be done.
    pub plan: Plan,
    /// The first seed that is not done.
    pub next: u64,
    /// How long it has taken so far.
    pub seconds: f64,
    /// What the seeds before [`Self::next`] add up to.
    pub tally: Tally,
}

impl Progress {
    /// Nothing of `plan` is done.
    pub fn begin(plan: Plan) -> Self {
        Self { next: plan.from, plan, seconds: 0.0, tally: Tally::default() }
    }

    /// Seeds still to be run.
    pub fn seeds_left(&self) -> u64 {
        (self.plan.from + self.plan.seeds).saturating_sub(self.next)
    }

    /// The report of what is done.
    pub fn report(&self, jobs: usize) -> Report {
        self.tally.report(self.plan.from, jobs, self.seconds)
    }
}

fn run_chunk(from: u64, until: u64, twice: bool) -> Tally {
    let mut tally = Tally::default();
    for seed in from..until {
        let outcome = run(&faults::draw(seed));
        let differs = twice.then(|| run(&faults::draw(seed)).trace_hash != outcome.trace_hash);
        tally.add(&outcome, differs);
    }
    tally
}

/// Goes on from `progress` on `jobs` threads until all is done or `watch` breaks off; gives back how far it came.
///
/// `watch` hears of every chunk that is done without a gap, and once a second at least.
pub fn advance(
    progress: Progress,
    jobs: usize,
    mut watch: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Progress {
    let (mut progress, started) = (progress, Instant::now());
    let (before, until) = (progress.seconds, progress.plan.from + progress.plan.seeds);
    let (next, stop) = (AtomicU64::new(progress.next), AtomicBool::new(false));
    let twice = progress.plan.twice;
    let jobs = jobs.max(1);
    let (sender, receiver) = sync_channel::<(u64, Tally)>(jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if from >= until {
                        break;
                    }
                    let tally = run_chunk(from, until.min(from + CHUNK), twice);
                    if sender.send((from, tally)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // Chunks that were done before one that begins earlier.
        let mut ahead: BTreeMap<u64, Tally> = BTreeMap::new();
        loop {
            match receiver.recv_timeout(TICK) {
                Ok((from, tally)) => {
                    ahead.insert(from, tally);
                    while let Some(tally) = ahead.remove(&progress.next) {
                        progress.next += tally.seeds();
                        progress.tally.join(tally);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress.seconds = before + started.elapsed().as_secs_f64();
            if watch(&progress).is_break() {
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        drop(receiver);
    });
    progress
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_that_was_broken_off_and_resumed_reports_what_one_without_a_break_does() {
        let plan = Plan { from: 3, seeds: 50, twice: false };
        let go_on = |_: &Progress| ControlFlow::Continue(());
        let whole = advance(Progress::begin(plan.clone()), 2, go_on);
        let mut progress = Progress::begin(plan);
        let mut breaks = 0;
        while progress.seeds_left() > 0 {
            let before = progress.next;
            progress = advance(progress, 1 + breaks % 2, |progress| {
                if progress.next > before { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            breaks += 1;
        }
        assert!(breaks > 1, "it was broken off");
        let (one, other) = (whole.tally.report(3, 1, 1.0), progress.tally.report(3, 1, 1.0));
        assert_eq!(one.seeds, 50);
        assert_eq!(one, other);
    }
}
