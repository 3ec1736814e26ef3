//! What a sick peer costs its neighbours, and what a crowd that heals at once costs the network.
//!
//! Three scenarios of the library have one peer that reads nothing, is a thousand times slower or flaps, and each runs a
//! second time without its fault: how long the writes of the healthy nodes take to reach the healthy nodes is compared,
//! write for write the same workload. The fourth heals 64 nodes at one instant.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::library;
use crate::run::{Outcome, run_world};
use crate::scenario::Scenario;
use crate::svg;
use crate::timeline::Sample;
use crate::world::World;

/// Most that a neighbour's writes may be slower than without the fault, in percent.
const SLOWER_PERCENT_MAX: u64 = 10;

/// The longest that a crowd may take to one root, in virtual microseconds.
const CROWD_US_MAX: u64 = 10_000_000;

/// The arguments of `neighbours`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The seed of the small choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object a case.
    #[arg(long)]
    json: bool,
    /// Draw each case into this folder, which is made if need be.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

/// What one sick peer cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// The scenario.
    pub case: String,
    /// Writes of the healthy nodes.
    pub writes: u64,
    /// Virtual microseconds until a write had reached the healthy nodes: median and 99th percentile, without the fault.
    pub without_us: (u64, u64),
    /// The same with it.
    pub with_us: (u64, u64),
    /// Most frames that waited for one peer, without the fault and with it.
    pub queued_frames: (u64, u64),
    /// Most bytes of them.
    pub queued_bytes: (u64, u64),
    /// Virtual microseconds from the end of the run to one root of all.
    pub agreed_us: Option<u64>,
    /// What did not hold.
    pub broken: Option<String>,
}

/// What a crowd that healed at once cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Crowd {
    /// The scenario.
    pub case: String,
    /// Bytes a second of all nodes in the ten seconds before the cut.
    pub steady: u64,
    /// In the busiest second after the heal.
    pub peak: u64,
    /// From the heal to the end of the run.
    pub heal: u64,
    /// What would have been sent meanwhile without the cut: its time at the steady rate.
    pub spared: u64,
    /// Virtual microseconds from the heal, when the writes end, to one root.
    pub one_root_us: Option<u64>,
    /// What did not hold.
    pub broken: Option<String>,
}

fn tell(scenario: &Scenario) -> Outcome {
    run_world(|| World::new(scenario).with_timeline(), scenario)
}

fn samples(outcome: &Outcome) -> &[Sample] {
    outcome.timeline.as_ref().map_or(&[], |timeline| &timeline.samples)
}

/// Runs a scenario with its fault and without.
pub fn compare(scenario: &Scenario) -> (Neighbours, Outcome) {
    let without = tell(&Scenario { faults: Vec::new(), ..scenario.clone() });
    let with = tell(scenario);
    let us = |outcome: &Outcome| {
        let spread = outcome.spread.unwrap_or_default();
        (spread.all_us_p50, spread.all_us_p99)
    };
    let most = |of: fn(&Sample) -> u64| {
        [&without, &with].map(|outcome| samples(outcome).iter().map(of).max().unwrap_or(0)).into()
    };
    let (without_us, with_us) = (us(&without), us(&with));
    let slower = |before: u64, after: u64| after * 100 > before * (100 + SLOWER_PERCENT_MAX);
    let spread = with.spread.unwrap_or_default();
    let broken =
        if let Some(violation) = [&without, &with].iter().find_map(|outcome| outcome.violation.clone()) {
            Some(violation.to_string())
        } else if spread.unfinished > 0 {
            Some(format!("{} writes never reached all healthy nodes", spread.unfinished))
        } else if slower(without_us.0, with_us.0) || slower(without_us.1, with_us.1) {
            Some(format!("healthy nodes are more than {SLOWER_PERCENT_MAX} % slower"))
        } else {
            None
        };
    let told = Neighbours {
        case: scenario.name.clone(),
        writes: spread.writes,
        without_us,
        with_us,
        queued_frames: most(|sample| sample.queued),
        queued_bytes: most(|sample| sample.queued_bytes),
        agreed_us: with.counts.converged_us,
        broken,
    };
    (told, with)
}

/// Runs the crowd.
///
/// # Panics
/// If the scenario has no cut.
pub fn crowd(scenario: &Scenario) -> (Crowd, Outcome) {
    let outcome = tell(scenario);
    let timeline = outcome.timeline.clone().unwrap_or_default();
    let cut = timeline.cuts.first().expect("a crowd is cut apart before it heals");
    let between = |from: u64, until: u64| -> u64 {
        let within = timeline.samples.iter().filter(|sample| (from..until).contains(&sample.at));
        within.map(|sample| sample.bytes).sum()
    };
    let steady = between(cut.from.saturating_sub(10_000_000), cut.from) / 10;
    let after = timeline.samples.iter().map(|sample| sample.at).filter(|at| *at >= cut.until);
    let peak = after.map(|at| between(at, at + 1_000_000)).max().unwrap_or(0);
    let one_root_us = outcome.counts.converged_us;
    let broken = if let Some(violation) = &outcome.violation {
        Some(violation.to_string())
    } else if one_root_us.is_none_or(|us| us > CROWD_US_MAX) {
        Some("no one root within ten seconds".to_owned())
    } else {
        None
    };
    let (heal, spared) = (between(cut.until, u64::MAX), steady * (cut.until - cut.from) / 1_000_000);
    (Crowd { case: scenario.name.clone(), steady, peak, heal, spared, one_root_us, broken }, outcome)
}

/// `neighbours`: fails if a goal is missed.
pub fn command(args: &Args) -> ExitCode {
    let mut failed = false;
    let draw = |outcome: &Outcome| {
        let (Some(folder), Some(timeline)) = (&args.svg, &outcome.timeline) else { return };
        let path = folder.join(format!("{}.svg", outcome.scenario));
        let made = std::fs::create_dir_all(folder).map_err(|error| error.to_string());
        let drawn = made.and_then(|()| svg::draw(timeline, &path).map_err(|error| error.to_string()));
        if let Err(error) = drawn {
            eprintln!("{error}");
        }
    };
    let find = |name: &str| {
        let scenario = library::find(name).expect("the library has it");
        Scenario { seed: args.seed, ..scenario }
    };
    for name in ["stopped-peer", "slow-peer", "flapping-peer"] {
        let (told, outcome) = compare(&find(name));
        draw(&outcome);
        failed |= told.broken.is_some();
        if args.json {
            println!("{}", serde_json::to_string(&told).expect("it is plain data"));
            continue;
        }
        let Neighbours { case, writes, without_us, with_us, queued_frames, queued_bytes, agreed_us, broken } =
            told;
        let millis = |us: u64| us as f64 / 1e3;
        println!(
            "{case}: {writes} writes of healthy nodes; until all healthy nodes had them, median and p99:"
        );
        println!("  without the fault {:>8.2} ms {:>8.2} ms", millis(without_us.0), millis(without_us.1));
        println!("  with it           {:>8.2} ms {:>8.2} ms", millis(with_us.0), millis(with_us.1));
        println!(
            "  at most {} frames and {} bytes waited for a peer ({} and {} without); one root {} ms after the run",
            queued_frames.1,
            queued_bytes.1,
            queued_frames.0,
            queued_bytes.0,
            agreed_us.map_or_else(|| "never".to_owned(), |us| format!("{:.0}", millis(us)))
        );
        println!("  {}", broken.unwrap_or_else(|| "holds".to_owned()));
    }
    let (told, outcome) = crowd(&find("healing-crowd"));
    draw(&outcome);
    failed |= told.broken.is_some();
    if args.json {
        println!("{}", serde_json::to_string(&told).expect("it is plain data"));
    } else {
        let Crowd { case, steady, peak, heal, spared, one_root_us, broken } = told;
        let took =
            one_root_us.map_or_else(|| "never".to_owned(), |us| format!("after {:.2} s", us as f64 / 1e6));
        println!(
            "{case}: {steady} bytes a second before, {peak} in the busiest second of the heal; one root {took}"
        );
        println!("  the whole heal {heal} bytes, where the cut spared {spared}");
        println!("  {}", broken.unwrap_or_else(|| "holds".to_owned()));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sick_peer_costs_its_neighbours_nothing() {
        for name in ["stopped-peer", "slow-peer", "flapping-peer"] {
            let (told, _) = compare(&library::find(name).expect("the library has it"));
            assert_eq!(told.broken, None, "{told:?}");
            assert!(told.writes > 3_000, "{told:?}");
        }
    }

    #[test]
    fn sixty_four_nodes_that_heal_at_once_soon_show_one_root_and_send_less_than_the_cut_spared() {
        let (told, _) = crowd(&library::find("healing-crowd").expect("the library has it"));
        assert_eq!(told.broken, None, "{told:?}");
        assert!(told.heal < told.spared && told.steady > 100_000, "{told:?}");
    }
}
