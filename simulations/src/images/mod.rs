//! Crash images of the real file: whatever a crash leaves on a disk must open and hold what was acknowledged.
//!
//! The simulated world takes a persist step for one atomic unit. Here that is judged: the product's own file of rows
//! runs on a disk that records each write and sync, and images are built from prefixes of the record with unsynced
//! writes lost, reordered and torn at sectors. `docs/storage.md` has the promise.

mod crash;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use story::{Told, tell};

/// How often progress is told and kept, in stories.
const TELL_EVERY: u64 = 200;

/// The arguments of `images`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many stories; each gives some fifty images.
    #[arg(long, default_value_t = 200)]
    stories: u64,
    /// The first story's seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads; by default one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Keep the progress in this file, and go on from what is kept there: of the same arguments only.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

/// How far a campaign has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    from: u64,
    stories: u64,
    next: u64,
    images: u64,
    again: u64,
    in_recovery: u64,
    seconds: f64,
}

/// Runs `images`.
pub fn command(args: &Args) -> ExitCode {
    match run(args) {
        Ok(progress) => {
            let Progress { stories, images, again, in_recovery, seconds, .. } = progress;
            println!(
                "{images} images of {stories} stories, {again} of a second crash, {in_recovery} of these in recovery; \
                 {:.0} a second; 0 violations",
                images as f64 / seconds.max(1e-9)
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Progress, String> {
    let fresh = Progress { from: args.from, stories: args.stories, next: args.from, ..Progress::default() };
    let mut progress = match &args.resume {
        Some(path) if path.exists() => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let kept: Progress =
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            if (kept.from, kept.stories) != (args.from, args.stories) {
                return Err(format!(
                    "{} is of another campaign; give its arguments, or another file",
                    path.display()
                ));
            }
            kept
        }
        Some(_) | None => fresh,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).max(1);
    let until = args.from + args.stories;
    let (started, before) = (Instant::now(), progress.seconds);
    while progress.next < until {
        let end = until.min(progress.next + TELL_EVERY);
        for told in stories(progress.next, end, jobs)? {
            progress.images += told.images;
            progress.again += told.again;
            progress.in_recovery += told.in_recovery;
        }
        progress.next = end;
        progress.seconds = before + started.elapsed().as_secs_f64();
        keep(args, &progress)?;
        let rate = progress.images as f64 / progress.seconds.max(1e-9);
        eprintln!(
            "{} of {} stories, {} images, {rate:.0} a second",
            end - args.from,
            args.stories,
            progress.images
        );
    }
    Ok(progress)
}

/// Written beside and renamed: a crash leaves the file before or the file after.
fn keep(args: &Args, progress: &Progress) -> Result<(), String> {
    let Some(path) = &args.resume else { return Ok(()) };
    let part = path.with_extension("part");
    let text = serde_json::to_string(progress).map_err(|error| error.to_string())?;
    let kept = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    kept.map_err(|error| format!("{}: {error}", path.display()))
}

/// The stories from `from` on; the first that found something wrong ends all.
fn stories(from: u64, until: u64, jobs: usize) -> Result<Vec<Told>, String> {
    let next = AtomicU64::new(from);
    let (sender, receiver) = sync_channel(jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= until || sender.send(tell(seed)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let told: Result<Vec<Told>, String> = receiver.iter().collect();
        drop(receiver);
        told
    })
}
