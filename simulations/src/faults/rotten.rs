//! Rotten disks in the drawing: a share of the seeds have a row of a disk damaged.

use rand::RngExt;

use super::draw::rest_ms;
use super::{Fault, FaultKind};
use crate::random::Random;
use crate::scenario::{Scenario, Topology};

/// Share of the seeds in which a disk rots, of those whose memory is not damaged.
const SHARE: f64 = 0.1;

/// Longer than a run: what was salvaged waits for every member.
const WAIT_MS: u64 = 3_600_000;

/// Sometimes, a disk rots; a scenario in which it does keeps to what [`FaultKind::RottenDisk`] needs. Has a random stream
/// of its own, so that all other seeds stay what they were.
pub(super) fn draw(random: &mut Random, scenario: &mut Scenario) {
    let is_damaged = scenario.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Damage { .. }));
    if !random.random_bool(SHARE) || is_damaged {
        return;
    }
    scenario.faults.retain(|fault| !fault.kind.makes_forget());
    scenario.disk.durable = true;
    let load = &mut scenario.workload;
    load.types.2 = 0;
    if load.types == (0, 0, 0) {
        load.types = (1, 1, 0);
    }
    load.typed.clear();
    // What is written again passes every limit.
    scenario.bounds.crdts_max = None;
    (scenario.bounds.store_bytes_max, scenario.bounds.store_bytes_ceiling) = (None, None);
    // In a fifth of them nobody waits for members that are away, and some are where links are missing.
    let waits = scenario.topology == Topology::Mesh && random.random_bool(0.8);
    let wait_ms = if waits { WAIT_MS } else { random.random_range(1..=3_000) };
    let periods = &mut scenario.periods;
    periods.replay_wait_ms = Some(wait_ms);
    // Two that wait for each other take some rounds, and these have to be over when all must agree.
    periods.sync_interval_ms = Some(random.random_range(300..=1_500));
    periods.sync_timeout_ms = Some(random.random_range(200..=1_000));
    if scenario.rest_ms > 0 {
        scenario.rest_ms = rest_ms(&scenario.periods);
    }
    for _ in 0..random.random_range(1..=3) {
        let at_ms = random.random_range(scenario.run_ms / 4..scenario.run_ms);
        let node = random.random_range(0..scenario.nodes);
        let (down_ms, pick) = (random.random_range(1..=2_000), u64::from(random.random::<u32>()));
        scenario.faults.push(Fault { at_ms, kind: FaultKind::RottenDisk { node, down_ms, pick } });
        // What waits, or waited, must outlive this too.
        let at_ms = at_ms + down_ms + random.random_range(200..=5_000);
        let torn = random.random_bool(0.5);
        scenario.faults.push(Fault {
            at_ms: at_ms.min(scenario.run_ms - 1),
            kind: FaultKind::Crash { node, down_ms: random.random_range(1..=1_000), torn, keep_owner: true },
        });
    }
    scenario.faults.sort_by_key(|fault| fault.at_ms);
}
