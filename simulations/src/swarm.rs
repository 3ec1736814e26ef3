//! Campaigns: many seeds, each a world of its own, and what they amounted to together.
//!
//! Threads stand only between seeds: a world has none, and every figure is a sum or a sorted list, so a
//! report depends on the seeds alone but for its seconds. A campaign can append its report to a file and
//! go on where the last one there ended.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::faults::{self, FaultKind};
use crate::run::{Outcome, run};

/// The arguments of `swarm`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed; without it the campaign goes on where the result file ends, or begins at 1.
    #[arg(long)]
    from: Option<u64>,
    /// Threads; by default one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Append the report to this file, one line of JSON for each campaign.
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
    /// Run every seed twice and compare the trace hashes.
    #[arg(long)]
    twice: bool,
}

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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// How long it took.
    pub seconds: f64,
    /// Seeds over seconds.
    pub seeds_per_second: f64,
    /// Threads.
    pub jobs: usize,
}

/// Most failures whose text a report keeps.
pub const FAILURES_KEPT: usize = 100;

/// What the threads add up.
#[derive(Debug, Default)]
struct Sum {
    report: Report,
    ops: Vec<u64>,
    converged: Vec<u64>,
    struck: BTreeMap<&'static str, u64>,
    rare: BTreeMap<&'static str, u64>,
}

/// A rare thing and how often it happened in a run.
type Rare = (&'static str, fn(&Outcome) -> u64);

/// What each share of [`Report::shares`] looks at.
const RARE: &[Rare] = &[
    ("concurrent-kills", |outcome| outcome.counts.concurrent_kills),
    ("resets-seen-by-others", |outcome| outcome.counts.resets_seen),
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
];

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let counts = &outcome.counts;
        if let Some(violation) = &outcome.violation {
            self.report.violations += 1;
            self.report.failing_seeds.push(outcome.seed);
            let property = violation.property.to_owned();
            let what = format!("node {}: {}", violation.node, violation.what);
            self.report.failures.push(Failure { seed: outcome.seed, property, what });
        }
        self.ops.push(counts.ops);
        self.converged.extend(counts.converged_us.map(|us| us / 1_000));
        (self.report.ops, self.report.steps) =
            (self.report.ops + counts.ops, self.report.steps + counts.steps);
        self.report.frames += counts.frames;
        self.report.bytes += counts.bytes;
        for (name, times) in &counts.faults {
            *self.report.faults.entry((*name).to_owned()).or_default() += times;
            *self.struck.entry(name).or_default() += 1;
        }
        for (name, count) in RARE {
            *self.rare.entry(name).or_default() += u64::from(count(outcome) > 0);
        }
    }

    fn finish(mut self, from: u64, seeds: u64, jobs: usize, seconds: f64) -> Report {
        let share = |part: u64| part as f64 / seeds.max(1) as f64;
        self.ops.sort_unstable();
        self.converged.sort_unstable();
        self.report.failing_seeds.sort_unstable();
        self.report.failures.sort_unstable();
        self.report.failures.truncate(FAILURES_KEPT);
        for name in FaultKind::NAMES {
            self.report.faults.entry((*name).to_owned()).or_default();
            self.struck.entry(name).or_default();
        }
        let shares = |counts: BTreeMap<&'static str, u64>| {
            counts.into_iter().map(|(name, times)| (name.to_owned(), share(times))).collect()
        };
        let at = |sorted: &[u64], percent: usize| {
            sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0)
        };
        Report {
            from,
            seeds,
            fault_shares: shares(self.struck),
            shares: shares(self.rare),
            ops_median: at(&self.ops, 50),
            converged_ms: (at(&self.converged, 50), at(&self.converged, 99), at(&self.converged, 100)),
            seconds,
            seeds_per_second: seeds as f64 / seconds.max(1e-9),
            jobs,
            ..self.report
        }
    }
}

/// Seeds that a thread takes at once.
const CHUNK: u64 = 16;

/// Runs the seeds `from..from + seeds` on `jobs` threads; `twice` compares two runs of each.
pub fn campaign(from: u64, seeds: u64, jobs: usize, twice: bool) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let chunk = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if chunk >= seeds {
                        break;
                    }
                    for seed in from + chunk..from + seeds.min(chunk + CHUNK) {
                        let outcome = run(&faults::draw(seed));
                        let differs = twice && run(&faults::draw(seed)).trace_hash != outcome.trace_hash;
                        let mut sum = sum.lock().expect("a run catches its panics");
                        sum.report.hash_pairs += u64::from(twice);
                        sum.report.hash_differ += u64::from(differs);
                        sum.add(&outcome);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().expect("a run catches its panics");
    sum.finish(from, seeds, jobs, started.elapsed().as_secs_f64())
}

/// The seed after the last one in the result file; 1 if there is none.
fn next_seed(args: &Args) -> u64 {
    let text = args.append.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let reports = text.lines().filter_map(|line| serde_json::from_str::<Report>(line).ok());
    reports.map(|report| report.from + report.seeds).max().unwrap_or(1)
}

/// `swarm`: fails if a seed does.
pub fn command(args: &Args) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let from = args.from.unwrap_or_else(|| next_seed(args));
    // A panic of the engine is reported as a violation of its seed, not on the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    let report = campaign(from, args.seeds, args.jobs.unwrap_or(cores), args.twice);
    let line = serde_json::to_string(&report).expect("a report is plain data");
    if let Some(path) = &args.append {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
            eprintln!("cannot append to {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if args.json {
        println!("{line}");
    } else {
        print(&report);
    }
    if report.violations + report.hash_differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report) {
    let last = report.from + report.seeds.saturating_sub(1);
    println!("seeds {}..={last} on {} threads: {} violations", report.from, report.jobs, report.violations);
    println!("{:.1} seeds/s, {:.1} s", report.seeds_per_second, report.seconds);
    let per_seed = |sum: u64| sum / report.seeds.max(1);
    println!(
        "a seed: {} operations (median), {} inputs, {} frames, {} bytes",
        report.ops_median,
        per_seed(report.steps),
        per_seed(report.frames),
        per_seed(report.bytes)
    );
    let (median, p99, longest) = report.converged_ms;
    println!("agreed {median} ms after the heal (median), {p99} ms (p99), {longest} ms at most");
    if report.hash_pairs > 0 {
        println!("{} seeds run twice, {} gave two trace hashes", report.hash_pairs, report.hash_differ);
    }
    println!("\n{:<24}{:>12}{:>12}", "fault", "struck", "of seeds");
    for (name, times) in &report.faults {
        println!("{name:<24}{times:>12}{:>11.1}%", 100.0 * report.fault_shares.get(name).unwrap_or(&0.0));
    }
    println!("\n{:<36}{:>12}", "happened at least once", "of seeds");
    for (name, share) in &report.shares {
        println!("{name:<36}{:>11.1}%", 100.0 * share);
    }
    for failure in report.failures.iter().take(20) {
        println!("\nFAILED seed {}: {}: {}", failure.seed, failure.property, failure.what);
        println!("  cargo run --release -p simulations -- replay {}", failure.seed);
        println!("  cargo run --release -p simulations -- shrink {}", failure.seed);
    }
}
