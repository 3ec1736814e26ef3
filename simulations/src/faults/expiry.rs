//! Expiry in the drawing: in a share of the seeds, writes expire.

use rand::RngExt;

use super::{Fault, FaultKind};
use crate::random::Random;
use crate::scenario::Scenario;

/// Share of the seeds.
const SHARE: f64 = 0.3;

/// Sometimes, writes expire; a scenario in which they do keeps to what expiry promises anything for: most clocks are
/// right, so that faults of clocks strike one machine only. No damage strikes then, since what comes of an item
/// that is lost and expires is told by no rule. Has a random stream of its own, so that all other seeds stay
/// what they were.
pub(super) fn draw(random: &mut Random, scenario: &mut Scenario) {
    let damaged = scenario.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Damage { .. }));
    if !random.random_bool(SHARE) || damaged {
        return;
    }
    let load = &mut scenario.workload;
    load.expiring = random.random_range(0.1..=0.7);
    let least = random.random_range(1..=1_000);
    load.expires_ms = Some((least, least + random.random_range(0..=3_000)));
    let wrong = random.random_range(0..scenario.nodes);
    for fault in &mut scenario.faults {
        if let FaultKind::ClockStep { node, .. } | FaultKind::ClockFreeze { node, .. } = &mut fault.kind {
            *node = wrong;
        }
    }
    if random.random_bool(0.4) {
        // Too small for a jump: only the other clocks tell that this one is wrong.
        let by_ms = random.random_range(-50_000..=50_000);
        let at_ms = random.random_range(1..scenario.run_ms);
        scenario.faults.push(Fault { at_ms, kind: FaultKind::ClockStep { node: wrong, by_ms } });
        scenario.faults.sort_by_key(|fault| fault.at_ms);
    }
    // Right clocks differ by less than the drift, or they could not live together.
    scenario.clocks.skew_ms = if random.random_bool(0.5) { 0 } else { random.random_range(1..=4_000) };
    // A horizon that one node has raised and another has not is noticed by the next root.
    let periods = &mut scenario.periods;
    periods.sync_interval_ms = Some(random.random_range(300..=1_500));
    periods.sync_timeout_ms = Some(random.random_range(200..=1_000));
    periods.expiry_grace_ms = Some(random.random_range(0..=400));
    periods.expiry_step_ms = Some(random.random_range(1..=400));
    // A machine that starts with a wrong clock must hear its members first.
    periods.clock_wait_ms = Some(60_000);
    scenario.rest_ms = 0;
}
