//! What a sick peer costs its neighbours, and what a crowd that heals at once costs the network.
//!
//! Three scenarios of the library have one peer that reads nothing, is a thousand times slower or flaps, and each runs a
//! second time without its fault: how long the writes of the healthy nodes take to reach the healthy nodes is compared,
//! write for write the same workload. Two more heal 64 nodes at one instant, when the writes end and while they go on, each
//! with paced catch-up and without.

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

/// The longest that a crowd may take to one root, and until what was written before is everywhere, in virtual
/// microseconds.
const CROWD_US_MAX: u64 = 10_000_000;

/// What the busiest second of a crowd may carry, in percent of a steady second.
const PEAK_PERCENT_MAX: u64 = 200;

/// Writes made so soon after the heal are those that catch-up may hold up, in virtual microseconds.
const FRESH_US: u64 = 3_000_000;

/// The arguments of `neighbours`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The seed of the small choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this case alone.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
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
    /// Whether catch-up was paced.
    pub paced: bool,
    /// Bytes a second of all nodes in the ten seconds before the cut.
    pub steady: u64,
    /// In the busiest second after the heal.
    pub peak: u64,
    /// From the heal to the end of the run.
    pub heal: u64,
    /// What would have been sent meanwhile without the cut: its time at the steady rate.
    pub spared: u64,
    /// Virtual microseconds from the end of the writes to one root.
    pub one_root_us: Option<u64>,
    /// Virtual microseconds from the heal until all that was written before was everywhere; `None` if the scenario does
    /// not measure how writes spread.
    pub level_us: Option<u64>,
    /// Virtual microseconds until a write of the ten seconds before the cut was everywhere: median and 99th percentile.
    pub before_us: (u64, u64),
    /// The same of the three seconds after the heal.
    pub fresh_us: (u64, u64),
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

/// Runs a crowd.
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
    let took = |from: u64, until: u64| {
        let within = timeline.spreads.iter().filter(|(at, _)| (from..until).contains(at));
        let mut took: Vec<u64> = within.map(|(_, took)| *took).collect();
        took.sort_unstable();
        let percentile =
            |percent: usize| took.get(took.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0);
        (percentile(50), percentile(99))
    };
    let old = timeline.spreads.iter().filter(|(at, _)| *at < cut.until);
    let level_us = old.map(|(at, took)| (at + took).saturating_sub(cut.until)).max();
    let late = |us: u64| us > CROWD_US_MAX;
    let broken = if let Some(violation) = &outcome.violation {
        Some(violation.to_string())
    } else if one_root_us.is_none_or(late) || level_us.is_some_and(late) {
        Some("no one root within ten seconds".to_owned())
    } else if peak * 100 > steady * PEAK_PERCENT_MAX {
        Some(format!("the busiest second carries more than {PEAK_PERCENT_MAX} % of a steady one"))
    } else {
        None
    };
    let told = Crowd {
        case: scenario.name.clone(),
        paced: scenario.periods.catch_up_spread_ms != Some(0),
        steady,
        peak,
        heal: between(cut.until, u64::MAX),
        spared: steady * (cut.until - cut.from) / 1_000_000,
        one_root_us,
        level_us,
        // Of a write of the last second the cut may have come first.
        before_us: took(cut.from.saturating_sub(10_000_000), cut.from.saturating_sub(1_000_000)),
        fresh_us: took(cut.until, cut.until + FRESH_US),
        broken,
    };
    (told, outcome)
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
    let chosen = |name: &&str| args.case.as_ref().is_none_or(|case| case == name);
    for name in ["stopped-peer", "slow-peer", "flapping-peer"].into_iter().filter(chosen) {
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
    for name in ["healing-crowd", "healing-crowd-writing"].into_iter().filter(chosen) {
        let paced = find(name);
        let mut unpaced = paced.clone();
        unpaced.periods.catch_up_spread_ms = Some(0);
        let (without, _) = crowd(&unpaced);
        let (with, outcome) = crowd(&paced);
        draw(&outcome);
        failed |= with.broken.is_some();
        [without, with].iter().for_each(|told| tell_crowd(told, args.json));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell_crowd(told: &Crowd, json: bool) {
    if json {
        return println!("{}", serde_json::to_string(told).expect("it is plain data"));
    }
    let Crowd { case, paced, steady, peak, heal, spared, one_root_us, level_us, before_us, fresh_us, broken } =
        told;
    let seconds = |us: &u64| format!("after {:.2} s", *us as f64 / 1e6);
    let millis = |us: u64| us as f64 / 1e3;
    let how = if *paced { "paced" } else { "not paced" };
    println!(
        "{case}, {how}: {steady} bytes a second before, {peak} in the busiest second of the heal ({:.2} times); one root {}",
        *peak as f64 / *steady as f64,
        one_root_us.as_ref().map_or_else(|| "never".to_owned(), seconds)
    );
    println!("  the whole heal {heal} bytes, where the cut spared {spared}");
    if let Some(level) = level_us {
        println!("  what was written before the heal was everywhere {}", seconds(level));
        println!("  a write was everywhere, median and p99:");
        println!(
            "    before the cut           {:>8.2} ms {:>8.2} ms",
            millis(before_us.0),
            millis(before_us.1)
        );
        println!(
            "    3 s and less after it    {:>8.2} ms {:>8.2} ms",
            millis(fresh_us.0),
            millis(fresh_us.1)
        );
    }
    println!("  {}", broken.as_deref().unwrap_or("holds"));
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
    fn sixty_four_nodes_that_heal_at_once_soon_show_one_root_in_twice_the_steady_rate() {
        let (told, _) = crowd(&library::find("healing-crowd").expect("the library has it"));
        assert_eq!(told.broken, None, "{told:?}");
        assert!(told.heal < told.spared && told.steady > 100_000, "{told:?}");
    }
}
