//! Damage in the drawing: a share of the seeds have their memory harmed.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::draw::rest_ms;
use super::{Fault, FaultKind, Harm};
use crate::random::Random;
use crate::scenario::Scenario;

/// Share of the seeds in which damage is drawn.
const SHARE: f64 = 0.15;

/// Longest delay of a frame: with longer ones there is hardly ever none under way.
const DELAY_US_MAX: u64 = 10_000;

/// How long the application pauses around the drawn time, so that damage finds a moment at which all agree.
const LULL_MS: u64 = 1_200;

/// Sometimes, damage strikes; a scenario in which it does keeps to what [`FaultKind::Damage`] needs. Has a random
/// stream of its own, so that all other seeds stay what they were.
pub(super) fn draw(random: &mut Random, scenario: &mut Scenario) {
    if !random.random_bool(SHARE) {
        return;
    }
    // What makes a node forget, or slows frames down so far that there is never none under way.
    let slows = |kind: &FaultKind| matches!(kind, FaultKind::SlowLink { .. });
    scenario.faults.retain(|fault| !fault.kind.makes_forget() && !slows(&fault.kind));
    scenario.disk.durable = true;
    scenario.network.bandwidth = 0;
    let (least, most) = scenario.network.delay_us;
    scenario.network.delay_us = (least.min(DELAY_US_MAX), most.min(DELAY_US_MAX));
    // The first protocol version knows no healing.
    scenario.protocol.old.clear();
    // A truncated record lets a comparison of all live dots judge a lost item; and what is written again passes
    // every limit, so that of bytes is no longer the checkers' to hold it to.
    scenario.bounds.records_max = None;
    (scenario.bounds.store_bytes_max, scenario.bounds.store_bytes_ceiling) = (None, None);
    let periods = &mut scenario.periods;
    periods.scrub_period_ms = Some(random.random_range(600..=4_000));
    periods.sync_interval_ms = Some(random.random_range(300..=1_500));
    periods.sync_timeout_ms = Some(random.random_range(200..=1_000));
    if scenario.rest_ms > 0 {
        scenario.rest_ms = rest_ms(&scenario.periods);
    }
    let turns = scenario.turns.clone();
    for _ in 0..random.random_range(1..=2) {
        let at_ms = random.random_range(scenario.run_ms / 4..scenario.run_ms.max(2) - 1);
        // A flipped bit asks for maps, and for no write beside it before the scrub comes: it is drawn more often.
        let harms = [Harm::FlipBit, Harm::FlipBit, Harm::LoseItem, Harm::Revive];
        let harm = *harms.choose(random).expect("there are harms");
        let node = random.random_range(0..scenario.nodes);
        let kind = FaultKind::Damage { node, harm, pick: u64::from(random.random::<u32>()) };
        scenario.faults.push(Fault { at_ms, kind });
        let lull = at_ms.saturating_sub(LULL_MS / 2) * 1_000..(at_ms + LULL_MS / 2) * 1_000;
        scenario.turns.retain(|turn| !lull.contains(&turn.at_us));
    }
    if scenario.turns.is_empty() {
        scenario.turns = turns;
    }
    scenario.faults.sort_by_key(|fault| fault.at_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;
    use crate::scenario::Periods;

    #[test]
    fn each_harm_strikes_is_found_and_healed_and_all_agree_again() {
        for harm in [Harm::FlipBit, Harm::LoseItem, Harm::Revive] {
            for nodes in 2..=5 {
                let periods = Periods {
                    scrub_period_ms: Some(1_000),
                    sync_interval_ms: Some(500),
                    sync_timeout_ms: Some(300),
                    ..Periods::default()
                };
                let kind = FaultKind::Damage { node: nodes - 1, harm, pick: 7 };
                let faults = vec![Fault { at_ms: 5_000, kind }];
                let mut scenario = Scenario { nodes, periods, faults, ..Scenario::default() }.with_turns();
                scenario.turns.retain(|turn| turn.at_us < 5_000_000);
                let outcome = run(&scenario);
                assert!(outcome.violation.is_none(), "{harm:?} at one of {nodes}: {outcome:?}");
                let counts = outcome.counts;
                assert_eq!(counts.faults.get("damage"), Some(&1), "{harm:?} at one of {nodes}");
                assert!(counts.healed > 0, "{harm:?} at one of {nodes}");
                assert_eq!(counts.corrupt > 0, harm == Harm::FlipBit, "{harm:?} at one of {nodes}");
                assert_eq!(counts.alarms > 0, harm != Harm::FlipBit, "{harm:?} at one of {nodes}");
            }
        }
    }

    #[test]
    fn a_twentieth_of_the_seeds_or_more_are_damaged_and_none_of_these_forgets() {
        let drawn: Vec<Scenario> = (1..=400).map(crate::faults::draw).collect();
        let damaged = drawn.iter().filter(|scenario| {
            scenario.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Damage { .. }))
        });
        let damaged: Vec<&Scenario> = damaged.collect();
        assert!((20..=100).contains(&damaged.len()), "{}", damaged.len());
        for scenario in damaged {
            assert!(scenario.disk.durable && scenario.bounds.records_max.is_none(), "seed {}", scenario.seed);
            assert!(
                scenario.faults.iter().all(|fault| fault.kind.name() != "wipe"),
                "seed {}",
                scenario.seed
            );
        }
    }
}
