//! Campaigns: many seeds, each a world of its own, and what they amounted to together.
//!
//! Every figure is a sum or comes from sorted values, so a report depends on the seeds alone but for its seconds.
//! A campaign can append its report to a file and go on where the last one there ended, and it can keep its
//! progress in a file and be resumed from there.

mod campaign;
mod report;
mod resume;

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub use campaign::{Plan, Progress, advance};
pub use report::{FAILURES_KEPT, Failure, Report, Tally};
pub use resume::{ResumeError, ResumeFile};

/// How often progress is written to its file.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// How often progress is told where nobody sits at a terminal.
const TELL_EVERY: Duration = Duration::from_secs(30);

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
    /// Keep the progress in this file, and go on from what is kept there: of the same build and arguments only.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Run every seed twice and compare the trace hashes.
    #[arg(long)]
    twice: bool,
}

/// Tells on standard error how far a campaign has come, and keeps it.
struct Watch {
    file: Option<ResumeFile>,
    started: Instant,
    /// Seeds done when this run of the campaign began.
    done_before: u64,
    saved_at: Instant,
    told_at: Instant,
    is_terminal: bool,
    error: Option<ResumeError>,
}

impl Watch {
    fn new(file: Option<ResumeFile>, progress: &Progress) -> Self {
        let now = Instant::now();
        let (done_before, is_terminal) = (progress.tally.seeds(), std::io::stderr().is_terminal());
        Self { file, started: now, done_before, saved_at: now, told_at: now, is_terminal, error: None }
    }

    fn save(&mut self, progress: &Progress) {
        self.saved_at = Instant::now();
        self.error = self.file.as_ref().and_then(|file| file.save(progress).err());
    }

    fn look(&mut self, progress: &Progress) -> ControlFlow<()> {
        if self.saved_at.elapsed() >= SAVE_EVERY {
            self.save(progress);
        }
        let every = if self.is_terminal { Duration::from_secs(1) } else { TELL_EVERY };
        if self.told_at.elapsed() >= every {
            self.told_at = Instant::now();
            let line = line(progress, self.done_before, self.started.elapsed());
            if self.is_terminal {
                eprint!("\r{line:<100}");
            } else {
                eprintln!("{line}");
            }
        }
        if self.error.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// How far `progress` has come; this run began with `done_before` seeds done, `elapsed` ago.
fn line(progress: &Progress, done_before: u64, elapsed: Duration) -> String {
    let done = progress.tally.seeds();
    let rate = done.saturating_sub(done_before) as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = match rate {
        rate if rate > 0.0 => span(progress.seeds_left() as f64 / rate),
        _ => "?".to_owned(),
    };
    let (seeds, violations) = (progress.plan.seeds, progress.tally.violations());
    format!("{done} of {seeds} seeds, {rate:.1} seeds/s, {left} left, {violations} violations")
}

/// So many seconds, for people.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 100.0 => format!("{seconds:.0} s"),
        seconds if seconds < 6_000.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// The seed after the last one in the result file; 1 if there is none.
fn next_seed(args: &Args) -> u64 {
    let text = args.append.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let reports = text.lines().filter_map(|line| serde_json::from_str::<Report>(line).ok());
    reports.map(|report| report.from + report.seeds).max().unwrap_or(1)
}

/// Runs the campaign, or what is left of it.
///
/// # Errors
/// Its progress cannot be taken from its file, or not be kept there.
fn campaign(args: &Args, jobs: usize) -> Result<(Progress, bool), ResumeError> {
    let file = args.resume.as_deref().map(ResumeFile::new).transpose()?;
    let kept = match &file {
        Some(file) => file.load(args.from, args.seeds, args.twice)?,
        None => None,
    };
    let begin = || {
        let from = args.from.unwrap_or_else(|| next_seed(args));
        Progress::begin(Plan { from, seeds: args.seeds, twice: args.twice })
    };
    let progress = kept.unwrap_or_else(begin);
    let went_on = progress.seeds_left() > 0;
    let mut watch = Watch::new(file, &progress);
    // Better now than after an hour.
    watch.save(&progress);
    let progress = if watch.error.is_none() {
        advance(progress, jobs, |progress| watch.look(progress))
    } else {
        progress
    };
    if watch.error.is_none() {
        watch.save(&progress);
    }
    if watch.is_terminal {
        eprint!("\r{:<100}\r", "");
    }
    match watch.error {
        None => Ok((progress, went_on)),
        Some(error) => Err(error),
    }
}

/// `swarm`: fails if a seed does.
pub fn command(args: &Args) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores);
    // A panic of the engine is reported as a violation of its seed, not on the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    let (report, went_on) = match campaign(args, jobs) {
        Ok((progress, went_on)) => (progress.report(jobs), went_on),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let line = serde_json::to_string(&report).expect("a report is plain data");
    // A campaign that was complete before has its line already.
    if let Some(path) = args.append.as_ref().filter(|_| went_on) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_progress_says_what_is_left_at_the_rate_of_this_run() {
        let mut progress = Progress::begin(Plan { from: 1, seeds: 1_000, twice: false });
        let before = line(&progress, 0, Duration::from_secs(5));
        assert_eq!(before, "0 of 1000 seeds, 0.0 seeds/s, ? left, 0 violations");
        for seed in 1..=4 {
            progress.tally.add(&crate::run(&crate::faults::draw(seed)), None);
        }
        progress.next = 5;
        let line = line(&progress, 2, Duration::from_secs(4));
        assert_eq!(line, "4 of 1000 seeds, 0.5 seeds/s, 33 min left, 0 violations");
    }
}
