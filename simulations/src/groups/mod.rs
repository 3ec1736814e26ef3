//! Groups are seen whole: many interleavings of a few nodes, and a reader at every node after every step.
//!
//! A group writes 100 fields over 20 keys with one number; up to three such groups are written, at any nodes, while
//! frames are lost, doubled and overtaken, links break and mend, logs and records are cut short, and frames are so
//! small that a group takes many. Whoever reads anywhere at any moment must find one number in all 100 fields, or
//! nothing in any; a watcher must be told of all 100 in one batch or of none. At the end every node must show
//! the same group. An interleaving is decided by its seed.
//!
//! ```text
//! cargo run --release -p simulations -- groups --seeds 100000
//! ```

mod stage;

use std::collections::BTreeSet;
use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seeds that a thread takes at once.
const CHUNK: u64 = 64;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many interleavings.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed; a campaign that was broken off goes on from where it said.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
}

/// What some interleavings add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Interleavings.
    pub interleavings: u64,
    /// Reads of all 100 fields, each after something had changed at the node.
    pub looks: u64,
    /// Of these, how many found nothing, and how many a group.
    pub empty: u64,
    /// See [`Self::empty`].
    pub whole: u64,
    /// Batches that told a watcher of a group, from a peer.
    pub batches: u64,
    /// Groups written, and how many of them without knowing of an earlier one.
    pub groups: u64,
    /// See [`Self::groups`].
    pub concurrent: u64,
    /// Repairs by session, and large answers joined.
    pub sessions: u64,
    /// See [`Self::sessions`].
    pub large: u64,
    /// A hash of everything that was done, of each.
    stories: BTreeSet<u64>,
}

impl Tally {
    /// How many of the interleavings differ from each other.
    pub fn distinct(&self) -> usize {
        self.stories.len()
    }

    fn add(&mut self, other: Self) {
        let Self {
            interleavings,
            looks,
            empty,
            whole,
            batches,
            groups,
            concurrent,
            sessions,
            large,
            stories,
        } = other;
        self.interleavings += interleavings;
        self.looks += looks;
        self.empty += empty;
        self.whole += whole;
        self.batches += batches;
        self.groups += groups;
        self.concurrent += concurrent;
        self.sessions += sessions;
        self.large += large;
        self.stories.extend(stories);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} interleavings, {} of them distinct", self.interleavings, self.distinct())?;
        writeln!(
            f,
            "{} groups of 100 writes over 20 keys, {} concurrent with another",
            self.groups, self.concurrent
        )?;
        writeln!(f, "{} reads: {} found nothing, {} a whole group", self.looks, self.empty, self.whole)?;
        writeln!(f, "{} batches from peers told a watcher of a group", self.batches)?;
        write!(f, "{} repairs by session, {} of them by a large answer", self.sessions, self.large)
    }
}

/// A group was seen in part, or the nodes did not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The seed that shows it.
    pub seed: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// The interleaving of `seed`.
///
/// # Errors
/// [`Torn`].
///
/// ```
/// let tally = simulations::groups::interleaving(1)?;
/// assert_eq!(tally.looks, tally.empty + tally.whole);
/// # Ok::<(), simulations::groups::Torn>(())
/// ```
pub fn interleaving(seed: u64) -> Result<Tally, Torn> {
    let (mut tally, story) = stage::play(seed).map_err(|what| Torn { seed, what })?;
    tally.interleavings = 1;
    tally.stories.insert(story);
    Ok(tally)
}

/// The interleavings of the seeds from `from` on, on `jobs` threads; `tell` hears how many are done.
///
/// # Errors
/// The failure with the smallest seed of those that were run. What is found first stops the campaign.
pub fn run(from: u64, seeds: u64, jobs: u64, tell: impl Fn(u64) + Sync) -> Result<Tally, Torn> {
    let (next, done) = (AtomicU64::new(from), AtomicU64::new(0));
    let sum: Mutex<Result<Tally, Torn>> = Mutex::new(Ok(Tally::default()));
    let end = from.saturating_add(seeds);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= end {
                        break;
                    }
                    let played: Result<Vec<Tally>, Torn> =
                        (first..end.min(first + CHUNK)).map(interleaving).collect();
                    let mut sum = sum.lock().expect("no thread panics while it holds the lock");
                    match (played, sum.as_mut()) {
                        (Ok(tallies), Ok(sum)) => tallies.into_iter().for_each(|tally| sum.add(tally)),
                        (Err(torn), Err(earlier)) if torn.seed < earlier.seed => *earlier = torn,
                        (Err(torn), Ok(_)) => {
                            next.store(end, Ordering::Relaxed);
                            *sum = Err(torn);
                        }
                        (Ok(_) | Err(_), Err(_)) => {}
                    }
                    drop(sum);
                    tell(done.fetch_add(CHUNK, Ordering::Relaxed) + CHUNK);
                }
            });
        }
    });
    sum.into_inner().expect("no thread panics while it holds the lock")
}

/// The command.
pub fn command(args: &Args) -> ExitCode {
    let begun = Instant::now();
    let Args { seeds, from, jobs } = *args;
    let told = Mutex::new(Instant::now());
    let ran = run(from, seeds, jobs, |done| {
        let mut told = told.lock().expect("nobody panics while it holds the lock");
        if told.elapsed().as_secs() >= 5 {
            *told = Instant::now();
            // What is behind is done for certain: each thread may have one chunk under way.
            let behind = from + done.saturating_sub(jobs * CHUNK);
            eprintln!(
                "{} of {seeds} interleavings; if broken off, go on with --from {behind}",
                done.min(seeds)
            );
        }
    });
    match ran {
        Ok(tally) => {
            println!(
                "seeds {from}..={}: 0 groups torn, {:.1} s",
                from + seeds - 1,
                begun.elapsed().as_secs_f64()
            );
            println!("{tally}");
            ExitCode::SUCCESS
        }
        Err(torn) => {
            println!("{torn}\nreplay it with: groups --seeds 1 --from {}", torn.seed);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_seen_whole_in_every_interleaving() {
        let tally = run(1, 300, 2, |_| {}).unwrap_or_else(|torn| panic!("{torn}"));
        assert!(tally.distinct() >= 299, "{tally}");
        assert!(tally.concurrent > 0 && tally.large > 0 && tally.sessions > tally.large, "{tally}");
        assert!(tally.empty > 300 && tally.whole > 300 && tally.batches > 300, "{tally}");
    }

    #[test]
    fn one_seed_tells_one_story() {
        assert_eq!(interleaving(7), interleaving(7));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_group_that_is_torn_is_noticed() {
        use sync_core::mutant::{Mutant, with};
        for mutant in [Mutant::ContextBeforeCells, Mutant::CellsBeforeContext, Mutant::LargeJoinedEarly] {
            let torn = (1..=400).any(|seed| with(Some(mutant), || interleaving(seed)).is_err());
            assert!(torn, "{} tears no group", mutant.name());
        }
    }
}
