//! What a campaign amounts to: the tally that its seeds add up to, and the report made of it.
//!
//! A [`Tally`] of some seeds and one of others join into that of all of them, whatever the order, so a campaign
//! can be cut into chunks, run on threads, written down and taken up again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::FaultKind;
use crate::run::Outcome;

/// Most failures whose text a report keeps.
pub const FAILURES_KEPT: usize = 100;

/// A seed that failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The property that broke.
    pub property: String,
    /// What was seen.
    pub what: String,
}

/// What a campaign amounted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The first seed.
    pub from: u64,
    /// Number of seeds.
    pub seeds: u64,
    /// Seeds that broke a property.
    pub violations: u64,
    /// Which ones, ascending.
    pub failing_seeds: Vec<u64>,
    /// Why, ascending by seed; at most [`FAILURES_KEPT`].
    pub failures: Vec<Failure>,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// In what share of the seeds it struck at all.
    pub fault_shares: BTreeMap<String, f64>,
    /// In what share of the seeds something rare happened.
    pub shares: BTreeMap<String, f64>,
    /// Median of the operations a seed.
    pub ops_median: u64,
    /// All operations.
    pub ops: u64,
    /// Inputs that nodes handled.
    pub steps: u64,
    /// Frames sent, and their bytes.
    pub frames: u64,
    /// See [`Self::frames`].
    pub bytes: u64,
    /// Milliseconds from the heal to agreement: median, 99th percentile, longest.
    pub converged_ms: (u64, u64, u64),
    /// Seeds that were run twice, and how many gave two trace hashes.
    pub hash_pairs: u64,
    /// See [`Self::hash_pairs`].
    pub hash_differ: u64,
    /// How long it took, all runs of a resumed campaign together.
    pub seconds: f64,
    /// Seeds over seconds.
    pub seeds_per_second: f64,
    /// Threads.
    pub jobs: usize,
}

/// A rare thing and how often it happened in a run.
type Rare = (&'static str, fn(&Outcome) -> u64);

/// What each share of [`Report::shares`] looks at.
const RARE: &[Rare] = &[
    ("concurrent-kills", |outcome| outcome.counts.concurrent_kills),
    ("resets-seen-by-others", |outcome| outcome.counts.resets_seen),
    ("expiring-writes", |outcome| outcome.counts.expiring),
    ("horizons-raised", |outcome| outcome.counts.horizons),
    ("sessions", |outcome| outcome.counts.sessions),
    ("fallback-sessions", |outcome| outcome.counts.fallbacks),
    ("fallbacks-by-sketch", |outcome| outcome.counts.sketches),
    ("sketches-asked-for-more", |outcome| outcome.counts.sketches_more),
    ("log-truncations", |outcome| outcome.counts.log_truncations),
    ("record-truncations", |outcome| outcome.counts.record_truncations),
    ("large-answers", |outcome| outcome.counts.large_answers),
    ("large-answers-resumed", |outcome| outcome.counts.resumed),
    ("large-answers-called-off", |outcome| outcome.counts.called_off),
    ("groups", |outcome| outcome.counts.groups),
    ("writes-refused", |outcome| outcome.counts.refused),
    ("fences", |outcome| outcome.counts.fences),
    ("damage-found-by-scrub", |outcome| outcome.counts.corrupt),
    ("damage-found-by-roots", |outcome| outcome.counts.alarms),
    ("damage-healed", |outcome| outcome.counts.healed),
    ("damage-healed-by-a-rewrite", |outcome| outcome.counts.rewritten),
    ("breaker-opens", |outcome| outcome.counts.breaker_opens),
    ("breaker-opens-for-misbehaviour", |outcome| outcome.counts.breaker_shuts),
    ("breaker-probes-failed", |outcome| outcome.counts.probes_failed),
    ("marks-ended", |outcome| outcome.counts.marks_ended),
    ("side-lane-writes", |outcome| outcome.counts.lane_writes),
    ("side-lanes-opened-or-closed", |outcome| outcome.counts.lanes_turned),
    ("storage-faults", storage_faults),
    ("items-salvaged", |outcome| outcome.counts.salvaged),
    ("items-salvaged-and-written-again", |outcome| outcome.counts.replayed),
];

/// What a disk did to a run: writes that failed, were lost or torn, a disk that was set back, copied, damaged or gone.
fn storage_faults(outcome: &Outcome) -> u64 {
    const STORAGE: [&str; 8] =
        ["cloned-disk", "crash-torn", "disk-error", "lost-tail", "restore", "revert", "rotten-disk", "wipe"];
    STORAGE.iter().filter_map(|name| outcome.counts.faults.get(name)).sum()
}

/// How often each value was seen.
type Histogram = BTreeMap<u64, u64>;

/// What some seeds add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    seeds: u64,
    failing_seeds: Vec<u64>,
    failures: Vec<Failure>,
    faults: BTreeMap<String, u64>,
    /// In how many seeds each kind of fault struck.
    struck: BTreeMap<String, u64>,
    rare: BTreeMap<String, u64>,
    ops: Histogram,
    converged_ms: Histogram,
    steps: u64,
    frames: u64,
    bytes: u64,
    hash_pairs: u64,
    hash_differ: u64,
}

fn add_all<K: Ord>(sums: &mut BTreeMap<K, u64>, more: impl IntoIterator<Item = (K, u64)>) {
    more.into_iter().for_each(|(key, count)| *sums.entry(key).or_default() += count);
}

/// The value at `percent` of the way from the least to the largest; 0 if there are none.
fn percentile(histogram: &Histogram, percent: u64) -> u64 {
    let count: u64 = histogram.values().sum();
    let mut left = count.saturating_sub(1) * percent / 100;
    let reached = histogram.iter().find(|(_, times)| {
        let here = left < **times;
        left = left.saturating_sub(**times);
        here
    });
    reached.map_or(0, |(value, _)| *value)
}

impl Tally {
    /// Takes in one run. `differs` says whether a second one gave another trace hash, if there was one.
    pub fn add(&mut self, outcome: &Outcome, differs: Option<bool>) {
        let counts = &outcome.counts;
        self.seeds += 1;
        if let Some(violation) = &outcome.violation {
            self.failing_seeds.push(outcome.seed);
            let property = violation.property.to_owned();
            let what = format!("node {}: {}", violation.node, violation.what);
            self.failures.push(Failure { seed: outcome.seed, property, what });
        }
        add_all(&mut self.ops, [(counts.ops, 1)]);
        add_all(&mut self.converged_ms, counts.converged_us.map(|us| (us / 1_000, 1)));
        self.steps += counts.steps;
        self.frames += counts.frames;
        self.bytes += counts.bytes;
        add_all(&mut self.faults, counts.faults.iter().map(|(name, times)| ((*name).to_owned(), *times)));
        add_all(&mut self.struck, counts.faults.keys().map(|name| ((*name).to_owned(), 1)));
        let happened = RARE.iter().map(|(name, count)| ((*name).to_owned(), u64::from(count(outcome) > 0)));
        add_all(&mut self.rare, happened);
        self.hash_pairs += u64::from(differs.is_some());
        self.hash_differ += u64::from(differs == Some(true));
    }

    /// Takes in what other seeds add up to.
    pub fn join(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.failing_seeds.extend(other.failing_seeds);
        self.failing_seeds.sort_unstable();
        self.failures.extend(other.failures);
        self.failures.sort_unstable();
        self.failures.truncate(FAILURES_KEPT);
        add_all(&mut self.faults, other.faults);
        add_all(&mut self.struck, other.struck);
        add_all(&mut self.rare, other.rare);
        add_all(&mut self.ops, other.ops);
        add_all(&mut self.converged_ms, other.converged_ms);
        self.steps += other.steps;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.hash_pairs += other.hash_pairs;
        self.hash_differ += other.hash_differ;
    }

    /// How many seeds it is of.
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// How many of them failed.
    pub fn violations(&self) -> u64 {
        self.failing_seeds.len() as u64
    }

    /// The report of a campaign that began with seed `from` and took `seconds` on `jobs` threads.
    pub fn report(&self, from: u64, jobs: usize, seconds: f64) -> Report {
        let share = |part: u64| part as f64 / self.seeds.max(1) as f64;
        let shares = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(name, times)| (name.clone(), share(*times))).collect()
        };
        let every = || FaultKind::NAMES.iter().map(|name| ((*name).to_owned(), 0));
        let (mut faults, mut struck) = (self.faults.clone(), self.struck.clone());
        add_all(&mut faults, every());
        add_all(&mut struck, every());
        let converged = |percent| percentile(&self.converged_ms, percent);
        Report {
            from,
            seeds: self.seeds,
            violations: self.violations(),
            failing_seeds: self.failing_seeds.clone(),
            failures: self.failures.clone(),
            faults,
            fault_shares: shares(&struck),
            shares: shares(&self.rare),
            ops_median: percentile(&self.ops, 50),
            ops: self.ops.iter().map(|(ops, seeds)| ops * seeds).sum(),
            steps: self.steps,
            frames: self.frames,
            bytes: self.bytes,
            converged_ms: (converged(50), converged(99), converged(100)),
            hash_pairs: self.hash_pairs,
            hash_differ: self.hash_differ,
            seconds,
            seeds_per_second: self.seeds as f64 / seconds.max(1e-9),
            jobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_of_a_histogram_is_that_of_the_sorted_list() {
        let values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
        let mut histogram = Histogram::new();
        add_all(&mut histogram, values.map(|value| (value, 1)));
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        for percent in 0..=100 {
            let at = (sorted.len() - 1) * usize::try_from(percent).unwrap() / 100;
            assert_eq!(percentile(&histogram, percent), sorted[at], "{percent}");
        }
        assert_eq!(percentile(&Histogram::new(), 50), 0);
    }
}
