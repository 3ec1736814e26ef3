//! The proof that the checkers bite: every planted protocol bug must be killed.
//!
//! Each [`Mutant`] of the core is planted in turn and the swarm is run, seed after seed, until a checker
//! finds a violation. The seed that kills must pass without the mutant, or it proves nothing. What random
//! runs reach too rarely is shown by a directed scenario ([`directed`]); what harms no property but costs
//! too much, by a cost checker ([`cost`]). At most eight mutants may need one of these two.
//!
//! ```text
//! cargo run --release -p simulations --features mutants -- mutants --seeds 2000
//! ```

pub mod cost;
pub mod directed;

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use sync_core::mutant::{self, Mutant};

use crate::checkers::Violation;
use crate::{Scenario, faults};

/// How many seeds a mutant may survive before it counts as a survivor.
pub const SEEDS_MAX: u64 = 2_000;

/// Most mutants that may be killed by something else than a seed of the swarm.
pub const SPECIAL_MAX: usize = 8;

/// What killed a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Killer {
    /// A seed of the swarm.
    Seed {
        /// The seed.
        seed: u64,
        /// The property that broke.
        property: &'static str,
        /// What was seen.
        what: String,
    },
    /// A directed scenario.
    Scenario {
        /// Its name.
        name: &'static str,
        /// The property that broke.
        property: &'static str,
        /// What was seen.
        what: String,
    },
    /// A cost checker.
    Cost {
        /// Its name.
        name: &'static str,
        /// What was too dear.
        what: String,
    },
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed { seed, property, .. } => write!(f, "seed {seed}: {property}"),
            Self::Scenario { name, property, .. } => write!(f, "scenario {name}: {property}"),
            Self::Cost { name, what } => write!(f, "cost {name}: {what}"),
        }
    }
}

/// What became of one mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Fate {
    /// Its name.
    pub mutant: &'static str,
    /// The rule that it breaks.
    pub row: &'static str,
    /// What it does instead of the rule.
    pub does: &'static str,
    /// What killed it; `None` if it survived.
    pub killer: Option<Killer>,
}

/// What became of all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Mutants planted.
    pub total: usize,
    /// Mutants killed.
    pub killed: usize,
    /// Of these, by a directed scenario or a cost checker.
    pub special: usize,
    /// Names of the mutants that nothing killed.
    pub survivors: Vec<&'static str>,
    /// Each mutant.
    pub mutants: Vec<Fate>,
}

impl Report {
    fn new(mutants: Vec<Fate>) -> Self {
        let is_special =
            |fate: &&Fate| matches!(fate.killer, Some(Killer::Scenario { .. } | Killer::Cost { .. }));
        let survivors: Vec<_> =
            mutants.iter().filter(|fate| fate.killer.is_none()).map(|fate| fate.mutant).collect();
        let total = mutants.len();
        let special = mutants.iter().filter(is_special).count();
        Self { total, killed: total - survivors.len(), special, survivors, mutants }
    }

    /// True if every mutant was killed, few enough of them by special means.
    pub fn is_good(&self) -> bool {
        self.survivors.is_empty() && self.special <= SPECIAL_MAX
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Fate { mutant, row, killer, .. } in &self.mutants {
            let killer = killer.as_ref().map_or_else(|| "SURVIVES".to_owned(), Killer::to_string);
            writeln!(f, "{mutant:<26} {killer:<48} {row}")?;
        }
        let Self { total, killed, special, survivors, .. } = self;
        write!(f, "{killed} of {total} killed, {special} of them by a directed scenario or a cost checker")?;
        if survivors.is_empty() { Ok(()) } else { write!(f, "; survivors: {}", survivors.join(", ")) }
    }
}

/// Runs `scenario` with `mutant` planted; the violation, if there was one.
fn violation(mutant: Option<Mutant>, scenario: &Scenario) -> Option<Violation> {
    mutant::with(mutant, || crate::run(scenario).violation)
}

fn hunt(mutant: Mutant, seeds: u64) -> Option<Killer> {
    let by_seed = (1..=seeds.min(SEEDS_MAX)).find_map(|seed| {
        let scenario = faults::draw(seed);
        let Violation { property, what, .. } = violation(Some(mutant), &scenario)?;
        let passes = violation(None, &scenario).is_none();
        passes.then_some(Killer::Seed { seed, property, what })
    });
    let by_scenario = || {
        let (name, Violation { property, what, .. }) = directed::kill(mutant)?;
        Some(Killer::Scenario { name, property, what })
    };
    let by_cost = || cost::kill(mutant).map(|(name, what)| Killer::Cost { name, what });
    by_seed.or_else(by_cost).or_else(by_scenario)
}

/// Plants each of `mutants` and hunts it over seeds 1 to `seeds`, on `jobs` threads. The outcome does not
/// depend on the number of threads.
pub fn run(mutants: &[Mutant], seeds: u64, jobs: usize) -> Report {
    let next = AtomicUsize::new(0);
    let fates: Mutex<Vec<(usize, Fate)>> = Mutex::new(Vec::new());
    // A mutant that breaks an assumption of the core panics: that is a kill, not news for the terminal.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = mutants.get(at).copied() else { break };
                    let killer = hunt(mutant, seeds);
                    let fate = Fate { mutant: mutant.name(), row: mutant.row(), does: mutant.what(), killer };
                    fates.lock().expect("no thread panics while it holds the lock").push((at, fate));
                }
            });
        }
    });
    std::panic::set_hook(hook);
    let mut fates = fates.into_inner().expect("no thread panics while it holds the lock");
    fates.sort_by_key(|(at, _)| *at);
    Report::new(fates.into_iter().map(|(_, fate)| fate).collect())
}
