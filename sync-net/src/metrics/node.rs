//! Figures of the whole node.

use std::time::SystemTime;

use sync_core::node::{Bound, Latency, Meter};

use super::family::{Family, Labels};
use super::{SpaceTaken, Taken, float, process};
use crate::events::Alarm;
use crate::health;
use crate::node::Shared;

pub(super) fn families(shared: &Shared, taken: &Taken) -> Vec<Family> {
    let mut families = exchange(shared, taken);
    families.extend(state(taken));
    families.extend(frames(&taken.meter));
    families.extend(bounds(taken));
    families.extend(surroundings(shared, taken));
    families
}

/// How the exchange with peers goes.
fn exchange(shared: &Shared, taken: &Taken) -> Vec<Family> {
    let Taken { meter, stats, .. } = taken;
    vec![
        latency(&meter.latency),
        Family::counter(
            "crdt_sync_timeouts",
            "Exchanges, dials and probes that made no progress in their time; each is repeated",
            stats.timeouts,
        ),
        Family::counter(
            "crdt_sync_failures",
            "Exchanges that failed: timeouts, and frames that were refused whole",
            stats.timeouts + stats.frames_refused,
        ),
        Family::counter(
            "crdt_merge_conflicts",
            "Items received that came to stand beside a concurrent write that they contradict; readers pick one",
            stats.conflicts,
        ),
        Family::counter(
            "crdt_backpressure_drops",
            "Times that a peer fell behind the log, or a push to it was too long: it had to pull; no data is lost",
            stats.fell_behind,
        ),
        Family::counter(
            "crdt_circuit_breaker_opens",
            "Times that the circuit breaker of a peer opened",
            stats.breaker_opens,
        ),
        Family::counter(
            "crdt_oversized_messages",
            "Frames above message_bytes_max: announced by a peer and not read, or not sent by this node",
            stats.pushes_too_long + stats.oversized,
        ),
        Family::gauge(
            "crdt_peer_reachability",
            "Configured peers that are connected, as a share of those configured; 1 if none is configured",
            health::reachability(&shared.links(), shared.id).share(),
        ),
        Family::counter("crdt_sessions", "Repairs by session that were completed here", stats.sessions),
        Family::counter(
            "crdt_session_fallbacks",
            "Repairs that had to compare all live dots, because records were lacking",
            stats.fallbacks,
        ),
        Family::counters(
            "crdt_items_received",
            "Items received, by whether they were new here",
            vec![
                (vec![("known", "false".to_owned())], stats.items_new),
                (vec![("known", "true".to_owned())], stats.items_known),
            ],
        ),
    ]
}

fn latency(latency: &Latency) -> Family {
    let seconds = |us: u64| float(us) / 1e6;
    let buckets = latency.buckets().map(|(upper, count)| (upper.map_or(f64::MAX, seconds), count));
    Family::histogram(
        "crdt_sync_latency_seconds",
        "From asking a peer for a repair, or to confirm a root, to its answer being joined or the states found equal",
        (seconds(latency.sum_us()), latency.count()),
        buckets.collect(),
    )
}

/// What the store holds.
fn state(taken: &Taken) -> Vec<Family> {
    let of = |figure: fn(&SpaceTaken) -> f64| {
        taken.spaces.iter().map(|space| (space.labelled(Labels::new()), figure(space))).collect::<Vec<_>>()
    };
    vec![
        Family::gauges(
            "crdt_state_size_bytes",
            "Accounted bytes of the store, as store_bytes_max counts them, counter floors too",
            of(|space| float(space.bytes)),
        ),
        Family::gauges("crdt_state_crdts", "CRDTs present", of(|space| float(space.crdts))),
        Family::gauges("crdt_state_items", "Live items", of(|space| float(space.items))),
        Family::gauges(
            "crdt_scrub_progress",
            "How far the scrub of the store has come in its present pass, 0 to 1",
            of(|space| space.scrubbed),
        ),
        Family::counter("crdt_scrubs", "Passes of the scrub over the whole store", taken.meter.scrubs),
    ]
}

/// What travelled, and what for.
fn frames(meter: &Meter) -> Vec<Family> {
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    let sent = meter.sent().map(|(kind, traffic)| ("out", kind, traffic));
    let received = meter.received().map(|(kind, traffic)| ("in", kind, traffic));
    for (direction, kind, traffic) in sent.chain(received) {
        let labels: Labels = vec![("kind", kind.name().to_owned()), ("direction", direction.to_owned())];
        frames.push((labels.clone(), traffic.frames));
        bytes.push((labels, traffic.bytes));
    }
    vec![
        Family::counters("crdt_frames", "Frames exchanged with peers, by what they are for", frames),
        Family::counters(
            "crdt_frame_bytes",
            "Bytes of frames exchanged with peers, by what they are for",
            bytes,
        ),
    ]
}

/// What kind of a bound it is: `memory` if it is in bytes, `count` if not, `ring` if full is its usual state.
fn kind_of(bound: Bound) -> &'static str {
    match bound {
        Bound::StoreBytes
        | Bound::Ceiling
        | Bound::CrdtBytes
        | Bound::PinnedBytes
        | Bound::OutboxBytes
        | Bound::StagingBytes => "memory",
        Bound::Crdts | Bound::CrdtCells | Bound::Peers | Bound::OutboxFrames | Bound::Events => "count",
        Bound::Records | Bound::RecordsBytes | Bound::LogEntries | Bound::LogIntervals => "ring",
    }
}

/// How full the bounds are.
fn bounds(taken: &Taken) -> Vec<Family> {
    let (mut used, mut max, mut pressure) = (Vec::new(), Vec::new(), Vec::new());
    for space in &taken.spaces {
        // Each reading has the node's own bounds too.
        let counts = |bound: Bound| bound.is_of_namespace() || space.label.is_none();
        for (bound, reading) in space.pressure.readings().filter(|(bound, _)| counts(*bound)) {
            let labels = vec![("bound", bound.name().to_owned()), ("kind", kind_of(bound).to_owned())];
            let labels = space.labelled(labels);
            used.push((labels.clone(), float(reading.used)));
            max.push((labels.clone(), float(reading.max)));
            pressure.push((labels, reading.pressure()));
        }
    }
    vec![
        Family::gauges("crdt_bound_used", "What is used of a bound, in its own unit", used),
        Family::gauges("crdt_bound_max", "The bound", max),
        Family::gauges("crdt_bound_pressure", "The share of a bound that is used, 0 to 1", pressure),
    ]
}

/// Alarms, the disk, the certificate, the process.
fn surroundings(shared: &Shared, taken: &Taken) -> Vec<Family> {
    let alarms = Alarm::ALL.into_iter();
    let alarms = alarms.map(|alarm| (vec![("alarm", alarm.name().to_owned())], shared.events.raised(alarm)));
    let storage = shared.storage.as_ref().map(|storage| storage.status(taken.step));
    let seconds = |left: std::time::Duration| left.as_secs_f64();
    let left = |ends: SystemTime| {
        let now = SystemTime::now();
        ends.duration_since(now).map_or_else(|ended| -seconds(ended.duration()), seconds)
    };
    let days = shared.transport().map(|transport| left(transport.certificate_ends()) / 86_400.0);
    vec![
        Family::counters(
            "crdt_alarms",
            "Alarms raised, by kind; docs/troubleshooting.md says what to do",
            alarms.collect(),
        ),
        Family::counter(
            "crdt_disk_commits",
            "Commits to the disk; 0 in a node that keeps its state in memory",
            storage.as_ref().map_or(0, |storage| storage.commits),
        ),
        Family::counter(
            "crdt_disk_failures",
            "Commits that the disk failed; each is tried again",
            storage.as_ref().map_or(0, |storage| storage.failures),
        ),
        Family::gauge(
            "crdt_disk_failing_seconds",
            "For how long the disk has been failing, 0 while it works; nothing new is shown to peers meanwhile",
            storage.as_ref().map_or(0.0, |storage| float(storage.failing_ms.unwrap_or(0)) / 1e3),
        ),
        Family::gauge(
            "crdt_certificate_days_left",
            "Days until this node's certificate ends; below 0 if it has",
            days,
        ),
        Family::counter(
            "crdt_driver_turns",
            "Turns of the node's loop; at least four a second in a node that is not stuck",
            shared.turns.load(std::sync::atomic::Ordering::Relaxed),
        ),
        Family::gauge(
            "process_resident_memory_bytes",
            "Resident memory of the process, which may hold more than this node; absent where the system does not tell",
            process::resident_bytes().map(float),
        ),
    ]
}
