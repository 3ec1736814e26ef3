//! The scenarios that `run` knows by name: `scenarios/*.toml`, compiled in.

use std::path::Path;

use serde::Deserialize;

use crate::scenario::{Scenario, ScenarioError};

/// The files, in the order of `list`.
const TEXTS: &[&str] = &[
    include_str!("../scenarios/split-brain.toml"),
    include_str!("../scenarios/rolling-restart.toml"),
    include_str!("../scenarios/one-way-link.toml"),
    include_str!("../scenarios/flapping-link.toml"),
    include_str!("../scenarios/slow-reader.toml"),
    include_str!("../scenarios/backup-restore.toml"),
    include_str!("../scenarios/cloned-node.toml"),
    include_str!("../scenarios/clock-poison.toml"),
    include_str!("../scenarios/hundred-nodes.toml"),
    include_str!("../scenarios/steady-writing.toml"),
    include_str!("../scenarios/thundering-reconnect.toml"),
    include_str!("../scenarios/cap-exhaustion.toml"),
    include_str!("../scenarios/ceiling.toml"),
    include_str!("../scenarios/long-absence.toml"),
    include_str!("../scenarios/machine-revert.toml"),
    include_str!("../scenarios/mixed-versions.toml"),
    include_str!("../scenarios/damaged-memory.toml"),
    include_str!("../scenarios/lossy.toml"),
    include_str!("../scenarios/bounded-rights.toml"),
    include_str!("../scenarios/stopped-peer.toml"),
    include_str!("../scenarios/slow-peer.toml"),
    include_str!("../scenarios/flapping-peer.toml"),
    include_str!("../scenarios/healing-crowd.toml"),
    include_str!("../scenarios/healing-crowd-writing.toml"),
];

/// The scenarios of `seeds/regressions.toml` that are not of the library.
const SEEDS: &[&str] = &[
    include_str!("../seeds/no-cursor-after-restart.toml"),
    include_str!("../seeds/owner-after-restore.toml"),
    include_str!("../seeds/stuck-staging.toml"),
    include_str!("../seeds/sketch-asked-anew.toml"),
    include_str!("../seeds/symbols-too-long.toml"),
    include_str!("../seeds/leaf-lost-an-item.toml"),
    include_str!("../seeds/sketch-forgotten.toml"),
    include_str!("../seeds/stale-inspection.toml"),
    include_str!("../seeds/two-pulls-one-stock.toml"),
    include_str!("../seeds/second-damage.toml"),
    include_str!("../seeds/damaged-under-alarm.toml"),
    include_str!("../seeds/alone-with-a-fast-clock.toml"),
    include_str!("../seeds/answers-at-once.toml"),
    include_str!("../seeds/small-ceiling.toml"),
    include_str!("../seeds/clock-under-two-names.toml"),
    include_str!("../seeds/heard-before-it-mattered.toml"),
    include_str!("../seeds/written-ahead-of-time.toml"),
    include_str!("../seeds/lost-and-pushed.toml"),
    include_str!("../seeds/told-of-once.toml"),
];

/// Every scenario of the library.
///
/// # Panics
/// If a file of the library is broken; a test reads them all.
pub fn all() -> Vec<Scenario> {
    TEXTS.iter().map(|text| read(text)).collect()
}

fn read(text: &str) -> Scenario {
    Scenario::parse(text).expect("a test reads every scenario that is compiled in")
}

/// The scenario called `name`, or in the file of that name.
///
/// # Errors
/// There is neither, or the file is no scenario.
pub fn find(name: &str) -> Result<Scenario, ScenarioError> {
    let known = TEXTS.iter().chain(SEEDS).map(|text| read(text));
    if let Some(scenario) = known.into_iter().find(|scenario| scenario.name == name) {
        return Ok(scenario);
    }
    let text = std::fs::read_to_string(Path::new(name)).map_err(|error| {
        ScenarioError::new(format!("{name} is no scenario of `list` and no file that can be read: {error}"))
    })?;
    Scenario::parse(&text).map_err(|error| ScenarioError::new(format!("{name}: {error}")))
}

/// A seed that once broke a property.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// A scenario of the library or of `seeds/`.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// What went wrong, and what was done about it.
    pub story: String,
}

#[derive(Deserialize)]
struct Regressions {
    regression: Vec<Regression>,
}

/// The list of `seeds/regressions.toml`.
///
/// # Panics
/// If the list is broken; a test reads it.
pub fn regressions() -> Vec<Regression> {
    let list: Regressions =
        toml::from_str(include_str!("../seeds/regressions.toml")).expect("a test reads the list");
    list.regression
}

impl Regression {
    /// What to run.
    ///
    /// # Errors
    /// The list names a scenario that does not exist.
    pub fn load(&self) -> Result<Scenario, ScenarioError> {
        find(&self.scenario).map(|scenario| Scenario { seed: self.seed, ..scenario })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_library_reads_back_as_it_was_written() {
        for scenario in all() {
            let again = Scenario::parse(&scenario.to_toml()).expect("what is written can be read");
            assert_eq!(again, scenario);
        }
    }

    #[test]
    fn what_broke_once_holds_now() {
        for regression in regressions() {
            let scenario = regression.load().expect("the scenario exists");
            let violation = crate::run(&scenario).violation;
            assert!(violation.is_none(), "{} seed {}: {violation:?}", regression.scenario, regression.seed);
        }
    }
}
