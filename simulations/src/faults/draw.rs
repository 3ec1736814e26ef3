//! The faults of a seed, swarm style: each kind is on or off for the whole seed.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Fault, FaultKind, damage, expiry, rotten};
use crate::deed::Typed;
use crate::random::{Random, fork};
use crate::scenario::{
    Bounds, Clocks, Disk, Lane, Lanes, Load, Mode, Network, Periods, Protocol, Scenario, Topology,
};

/// Ten years in milliseconds: how far a clock is set at most, either way.
const TEN_YEARS_MS: i64 = 10 * 365 * 86_400_000;

/// The scenario of `seed`: its size, its links, its bounds, what its application does, what goes wrong.
pub fn draw(seed: u64) -> Scenario {
    let mut random = fork(seed, "scenario");
    let nodes = draw_nodes(&mut random);
    let run_ms = random.random_range(2_000..=15_000);
    let mode = if random.random_bool(0.5) { Mode::Stream } else { Mode::Datagram };
    let bounds = draw_overlay(seed, draw_bounds(&mut random, nodes));
    let mut scenario = Scenario {
        name: "swarm".to_owned(),
        about: format!("Drawn from seed {seed}."),
        seed,
        nodes,
        run_ms,
        converge_ms: 10_000,
        rest_ms: 0,
        check_every: random.random_range(8..=40),
        measure: false,
        measured: Vec::new(),
        topology: draw_topology(&mut random, nodes),
        network: draw_network(&mut random, mode),
        disk: draw_disk(seed, &mut random),
        clocks: draw_clocks(&mut random),
        periods: draw_periods(&mut random, mode),
        workload: draw_load(&mut random, nodes),
        lanes: Lanes::default(),
        bounds,
        protocol: draw_protocol(&mut random, nodes),
        faults: Vec::new(),
        turns: Vec::new(),
    };
    draw_large(&mut fork(seed, "large answers"), &mut scenario);
    draw_typed(&mut fork(seed, "types"), &mut scenario.workload);
    draw_cleanup(&mut fork(seed, "cleanup"), &mut scenario);
    draw_breakers(&mut fork(seed, "breakers"), &mut scenario);
    if random.random_bool(0.2) {
        scenario.rest_ms = rest_ms(&scenario.periods);
    }
    scenario.faults = draw_faults(&mut random, &scenario);
    let mut scenario = scenario.with_turns();
    damage::draw(&mut fork(seed, "damage"), &mut scenario);
    expiry::draw(&mut fork(seed, "expiry"), &mut scenario);
    rotten::draw(&mut fork(seed, "rotten disk"), &mut scenario);
    draw_lanes(&mut fork(seed, "lanes"), &mut scenario);
    scenario
}

/// In a quarter of the seeds there are other namespaces: the application's own, or some beside it.
///
/// Not where what is damaged or set back belongs to one of them: the world tells of that in one namespace alone.
fn draw_lanes(random: &mut Random, scenario: &mut Scenario) {
    let of_one = |fault: &Fault| {
        matches!(
            fault.kind,
            FaultKind::Damage { .. } | FaultKind::RottenDisk { .. } | FaultKind::Revert { .. }
        )
    };
    if !random.random_bool(0.25) || scenario.faults.iter().any(of_one) {
        return;
    }
    let lane = |random: &mut Random| [Lane::Urgent, Lane::Normal, Lane::Bulk][random.random_range(0..3)];
    scenario.lanes.main = random.random_bool(0.6).then(|| lane(random));
    let sides = random.random_range(usize::from(scenario.lanes.main.is_none())..=2);
    scenario.lanes.side = std::iter::repeat_with(|| lane(random)).take(sides).collect();
    if random.random_bool(0.3) {
        scenario.bounds.bulk_rate_max = Some(random.random_range(20_000..=200_000));
    }
}

/// How long nodes are watched at rest.
pub(super) fn rest_ms(periods: &Periods) -> u64 {
    7 * periods.timing().sync_interval.as_millis() / 3
}

fn draw_nodes(random: &mut Random) -> usize {
    match random.random_range(0..100) {
        0..30 => 3,
        30..50 => 2,
        50..75 => 4,
        75..90 => 5,
        90..98 => random.random_range(6..=8),
        _ => random.random_range(9..=14),
    }
}

fn draw_topology(random: &mut Random, nodes: usize) -> Topology {
    match random.random_range(0..10) {
        0 if nodes <= 6 => Topology::Line,
        1 => Topology::Ring,
        2 => Topology::Star,
        _ => Topology::Mesh,
    }
}

fn sometimes<T>(random: &mut Random, share: f64, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    random.random_bool(share).then(|| value(random))
}

fn draw_network(random: &mut Random, mode: Mode) -> Network {
    let least = *[50, 200, 1_000, 10_000].get(random.random_range(0..4)).expect("four delays");
    let most = least * random.random_range(1..=20);
    Network {
        mode,
        delay_us: (least, most),
        loss: sometimes(random, 0.5, |random| random.random_range(0.01..=0.5)).unwrap_or(0.0),
        duplicate: sometimes(random, 0.4, |random| random.random_range(0.01..=0.5)).unwrap_or(0.0),
        reorder: sometimes(random, 0.4, |random| random.random_range(0.01..=0.6)).unwrap_or(0.0),
        bandwidth: sometimes(random, 0.15, |random| random.random_range(20_000..=500_000)).unwrap_or(0),
        queue_frames: sometimes(random, 0.25, |random| random.random_range(1..=12)).unwrap_or(0),
        window_bytes: sometimes(random, 0.3, |random| random.random_range(500..=8_000)).unwrap_or(1 << 20),
        idle_ms: random.random_range(200..=3_000),
        redial_ms: random.random_range(20..=500),
    }
}

fn draw_disk(seed: u64, random: &mut Random) -> Disk {
    // Of its own, so that seeds drawn before there were errors keep all else.
    let errors = sometimes(&mut fork(seed, "errors of disks"), 0.1, |random| random.random_range(2..=30));
    let slowest = *[500, 5_000, 50_000, 300_000].get(random.random_range(0..4)).expect("four disks");
    Disk {
        durable: random.random_bool(0.75),
        sync_us: (slowest / 10, slowest),
        errors_percent: errors.unwrap_or(0),
        wake_us: (0, sometimes(random, 0.4, |random| random.random_range(1_000..=50_000)).unwrap_or(100)),
    }
}

fn draw_clocks(random: &mut Random) -> Clocks {
    Clocks {
        skew_ms: sometimes(random, 0.5, |random| random.random_range(1..=120_000)).unwrap_or(0),
        drift_ppm: sometimes(random, 0.3, |random| random.random_range(1..=2_000)).unwrap_or(0),
    }
}

/// Small bounds make rare paths common: truncated logs and records, parts, refusals.
fn draw_bounds(random: &mut Random, nodes: usize) -> Bounds {
    let least_frame = least_frame(nodes);
    let mut bounds = Bounds {
        crdts_max: sometimes(random, 0.15, |random| random.random_range(2..=8)),
        store_bytes_max: sometimes(random, 0.2, |random| random.random_range(600..=4_000)),
        store_bytes_ceiling: None,
        pinned_bytes_max: None,
        message_bytes_max: sometimes(random, 0.25, |random| least_frame + random.random_range(0..=1_200)),
        log_entries_max: sometimes(random, 0.35, |random| random.random_range(1..=20)),
        records_max: sometimes(random, 0.35, |random| random.random_range(0..=10)),
        outbox_frames_max: sometimes(random, 0.1, |random| random.random_range(1..=4)),
        bulk_rate_max: None,
        pushes_in_flight_max: sometimes(random, 0.2, |random| random.random_range(1..=3)),
        skipped_entries_max: sometimes(random, 0.2, |random| random.random_range(0..=8)),
        full_mesh_peers_max: None,
        overlay_degree: None,
        pulls_at_once_max: None,
        crowd_peers_max: None,
        fresh_events_max: None,
        catch_up_rate_min: None,
    };
    if let Some(max) = bounds.store_bytes_max {
        bounds.store_bytes_ceiling = Some(max * random.random_range(10..=15) / 10);
    }
    bounds
}

/// Clusters of two versions, and repairs by sketch where a list would do.
fn draw_protocol(random: &mut Random, nodes: usize) -> Protocol {
    let old = sometimes(random, 0.2, |random| random.random_range(0.1..=0.9)).unwrap_or(0.0);
    let old = (0..nodes).filter(|_| random.random_bool(old)).collect();
    Protocol { old, sketches: sometimes(random, 0.5, |random| random.random_range(1..=24)) }
}

/// Few nodes have an overlay too, in some seeds. From a generator of its own, so that the rest of a seed
/// is what it was.
fn draw_overlay(seed: u64, bounds: Bounds) -> Bounds {
    let mut random = fork(seed, "overlay");
    Bounds {
        full_mesh_peers_max: sometimes(&mut random, 0.3, |random| random.random_range(0..=3)),
        overlay_degree: sometimes(&mut random, 0.5, |_| 2),
        ..bounds
    }
}

/// A pull carries a whole context, 18 bytes for each incarnation there ever was, and is never cut.
fn least_frame(nodes: usize) -> usize {
    250 + 90 * nodes
}

/// Sometimes, frames so small and values so long that most answers are large ones, sent while writes go on. Has
/// a random stream of its own, so that all else of a seed stays what it was.
fn draw_large(random: &mut Random, scenario: &mut Scenario) {
    if !random.random_bool(0.15) {
        return;
    }
    let Scenario { bounds, workload, network, nodes, .. } = scenario;
    bounds.message_bytes_max = Some(least_frame(*nodes) + random.random_range(0..=200));
    bounds.outbox_frames_max = Some(random.random_range(1..=3));
    bounds.pinned_bytes_max = sometimes(random, 0.6, |random| random.random_range(0..=900));
    network.window_bytes =
        sometimes(random, 0.7, |random| random.random_range(500..=2_000)).unwrap_or(1 << 20);
    workload.places = random.random_range(4..=24);
    workload.value_bytes = random.random_range(20..=150);
}

/// In half of the seeds, a few of the other types take part. From a generator of its own, so that all else of a
/// seed stays what it was.
fn draw_typed(random: &mut Random, load: &mut Load) {
    if random.random_bool(0.5) {
        return;
    }
    let mut all = Typed::ALL;
    all.shuffle(random);
    load.typed = all[..random.random_range(1..=4)].to_vec();
}

/// Cleanups that come often, and in some seeds an application that does little but fill and empty remove-wins
/// sets, at all nodes at once. Has a random stream of its own, as above.
fn draw_cleanup(random: &mut Random, scenario: &mut Scenario) {
    if !random.random_bool(0.3) {
        return;
    }
    let Scenario { workload, periods, topology, .. } = scenario;
    periods.cleanup_interval_ms = Some(random.random_range(20..=1_500));
    if random.random_bool(0.5) {
        return;
    }
    // Members that have no link with each other state nothing to each other: only the middle of a star could end
    // a mark then.
    *topology = Topology::Mesh;
    workload.typed = vec![Typed::RemoveWinsSet];
    workload.types = (0, u32::from(random.random_bool(0.3)), 0);
    workload.remove = random.random_range(0.2..=0.6);
    periods.sync_interval_ms = Some(random.random_range(100..=1_000));
    periods.sync_timeout_ms = periods.sync_timeout_ms.or(Some(random.random_range(200..=1_000)));
}

/// Datagrams are lost without notice, so their periods must be short for healed nodes to agree in time;
/// streams do with the product's own.
fn draw_periods(random: &mut Random, mode: Mode) -> Periods {
    if mode == Mode::Stream && random.random_bool(0.5) {
        return Periods::default();
    }
    let timeout = random.random_range(200..=1_000);
    let relay = random.random_range(20..=200);
    Periods {
        sync_interval_ms: Some(random.random_range(500..=2_000)),
        sync_timeout_ms: Some(timeout),
        hello_retry_ms: Some(random.random_range(100..=500)),
        relay_delay_ms: Some(relay),
        tell_delay_ms: Some(relay / 2),
        random_session_ms: None,
        scrub_period_ms: None,
        cleanup_interval_ms: None,
        ..Periods::default()
    }
}

/// Breakers whose times are a part of what healed nodes have to agree in: the product's own would take a peer that
/// misbehaved out for six times as long. Sometimes few pulls at once, where they are soon asked again. From a generator
/// of its own, so that all else of a seed stays what it was.
fn draw_breakers(random: &mut Random, scenario: &mut Scenario) {
    let Scenario { bounds, periods, .. } = scenario;
    let open = random.random_range(300..=1_200);
    let probe_min = random.random_range(50..=300);
    periods.breaker_open_ms = Some(open);
    periods.breaker_open_max_ms = Some(open * random.random_range(1..=2));
    periods.breaker_probe_min_ms = Some(probe_min);
    // Longer than a greeting takes there and back.
    periods.breaker_probe_max_ms = Some(random.random_range(600..=1_200));
    if periods.sync_timeout_ms.is_some() {
        bounds.pulls_at_once_max = sometimes(random, 0.2, |random| random.random_range(1..=4));
    }
    draw_crowds(random, scenario);
}

/// Two or three that come back are a crowd in some seeds, and a few events are much.
fn draw_crowds(random: &mut Random, scenario: &mut Scenario) {
    let Scenario { bounds, periods, .. } = scenario;
    if random.random_bool(0.6) {
        return;
    }
    bounds.crowd_peers_max = Some(random.random_range(0..=2));
    bounds.fresh_events_max = Some(random.random_range(0..=6));
    bounds.catch_up_rate_min = Some(random.random_range(1..=2_000));
    periods.catch_up_spread_ms = Some(random.random_range(50..=2_000));
}

fn draw_load(random: &mut Random, nodes: usize) -> Load {
    let most = if nodes > 8 { 120 } else { 250 };
    Load {
        turns: random.random_range(60..=most),
        keys: random.random_range(1..=4),
        places: random.random_range(1..=6),
        types: draw_types(random),
        typed: Vec::new(),
        remove: random.random_range(0.0..=0.4),
        clear: random.random_range(0.0..=0.15),
        group: random.random_range(1..=4),
        value_bytes: sometimes(random, 0.1, |random| random.random_range(50..=400)).unwrap_or(12),
        expiring: 0.0,
        expires_ms: None,
    }
}

/// Any of the three types may be missing, but not all.
fn draw_types(random: &mut Random) -> (u32, u32, u32) {
    let types = (random.random_range(0..=3), random.random_range(0..=3), random.random_range(0..=3));
    if types == (0, 0, 0) { (1, 1, 1) } else { types }
}

/// One kind of fault, drawn for `scenario` at `at_ms`.
type Drawn = fn(&mut Random, &Scenario, u64) -> FaultKind;

fn node(random: &mut Random, scenario: &Scenario) -> usize {
    random.random_range(0..scenario.nodes)
}

fn outage(random: &mut Random) -> u64 {
    *[0, 10, 200, 1_000, 3_000].get(random.random_range(0..5)).expect("five outages")
}

/// The nodes in two sides, in a random order; both sides have somebody if there are two nodes.
fn sides(random: &mut Random, scenario: &Scenario) -> [Vec<usize>; 2] {
    let mut all: Vec<usize> = (0..scenario.nodes).collect();
    all.shuffle(random);
    let split = random.random_range(1..scenario.nodes.max(2));
    let right = all.split_off(split.min(all.len()));
    [all, right].map(|mut side| {
        side.sort_unstable();
        side
    })
}

/// Every kind, and the share of seeds that have it.
///
/// [`FaultKind::Revert`] is not among them. It rolls an incarnation back behind its own back; the fence
/// catches that at the first frame of a peer that knows more, but what the node said before, and what
/// nobody heard of, is outside of what the engine promises (`scenarios/machine-revert.toml` shows the
/// fence).
const KINDS: &[(Drawn, f64)] = &[
    (|random, s, _| crash(random, s), 0.35),
    (|random, s, _| FaultKind::Restart { node: node(random, s), down_ms: outage(random) }, 0.25),
    (
        |random, s, at_ms| {
            let from_ms = random.random_range(0..=at_ms);
            FaultKind::Restore { node: node(random, s), down_ms: outage(random), from_ms }
        },
        0.2,
    ),
    (
        |random, s, _| {
            let from = node(random, s);
            let onto = (from + random.random_range(1..s.nodes.max(2))) % s.nodes;
            // Where nobody counts nothing is lost to the checkers by it.
            let counts = s.workload.types.2 > 0 || s.workload.typed.iter().any(|on| on.counts());
            let keep_owner = !counts || random.random_bool(0.4);
            FaultKind::ClonedDisk { node: from, onto, down_ms: outage(random), keep_owner }
        },
        0.15,
    ),
    (|random, s, _| FaultKind::Wipe { node: node(random, s), down_ms: outage(random) }, 0.15),
    (|random, s, _| FaultKind::Replace { node: node(random, s), down_ms: outage(random) }, 0.15),
    (|random, s, _| FaultKind::Pause { node: node(random, s), for_ms: random.random_range(1..=4_000) }, 0.2),
    (
        |random, s, _| FaultKind::StopReading {
            node: node(random, s),
            for_ms: random.random_range(1..=4_000),
        },
        0.2,
    ),
    (
        |random, s, _| {
            let by_ms = if random.random_bool(0.5) {
                random.random_range(-TEN_YEARS_MS..=TEN_YEARS_MS)
            } else {
                random.random_range(-90_000..=90_000)
            };
            FaultKind::ClockStep { node: node(random, s), by_ms }
        },
        0.25,
    ),
    (
        |random, s, _| FaultKind::ClockFreeze {
            node: node(random, s),
            for_ms: random.random_range(1..=4_000),
        },
        0.1,
    ),
    (
        |random, s, _| FaultKind::Cut {
            sides: sides(random, s).to_vec(),
            for_ms: random.random_range(1..=6_000),
        },
        0.35,
    ),
    (
        |random, s, _| {
            let links = (0..random.random_range(1..=s.nodes)).map(|_| (node(random, s), node(random, s)));
            FaultKind::PartialCut { links: links.collect(), for_ms: random.random_range(1..=6_000) }
        },
        0.2,
    ),
    (
        |random, s, _| {
            let [from, to] = sides(random, s);
            FaultKind::OneWay { from, to, for_ms: random.random_range(1..=6_000) }
        },
        0.2,
    ),
    (
        |random, s, _| {
            let period_ms = random.random_range(50..=1_500);
            let down_ms = random.random_range(1..=period_ms);
            let for_ms = random.random_range(500..=5_000);
            FaultKind::Flapping { sides: sides(random, s).to_vec(), for_ms, period_ms, down_ms }
        },
        0.2,
    ),
    (
        |random, s, _| {
            let extra_ms = random.random_range(1..=1_500);
            FaultKind::SlowLink { node: node(random, s), extra_ms, for_ms: random.random_range(1..=5_000) }
        },
        0.15,
    ),
    (|random, s, _| FaultKind::ConnectionReset { node: node(random, s) }, 0.2),
    (|_, _, _| FaultKind::ResetAll, 0.12),
    (|random, s, _| FaultKind::Garbage { node: node(random, s), count: random.random_range(1..=5) }, 0.1),
    (|random, s, _| FaultKind::Flood { node: node(random, s), count: random.random_range(1..=30) }, 0.1),
];

fn crash(random: &mut Random, scenario: &Scenario) -> FaultKind {
    let (torn, keep_owner) = (random.random_bool(0.3), random.random_bool(0.5));
    FaultKind::Crash { node: node(random, scenario), down_ms: outage(random), torn, keep_owner }
}

fn draw_faults(random: &mut Random, scenario: &Scenario) -> Vec<Fault> {
    let mut faults = Vec::new();
    // One seed in twelve is left in peace: what breaks there is no fault's doing.
    if random.random_bool(1.0 / 12.0) {
        return faults;
    }
    for (kind, share) in KINDS {
        if !random.random_bool(*share) {
            continue;
        }
        for _ in 0..random.random_range(1..=3) {
            let at_ms = random.random_range(1..scenario.run_ms);
            faults.push(Fault { at_ms, kind: kind(random, scenario, at_ms) });
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}
