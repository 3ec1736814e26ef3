//! Lives come and go: what stays of each, in frames, in memory, at rest and in a counter.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use sync_core::causal::CausalContext;
use sync_core::id::{NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Config, Input, Node, Output};
use sync_core::time::Span;
use sync_core::types::{or_set, pn_counter};
use sync_tests::{Cluster, config, namespace};

/// What an incarnation may cost in a frame: its id, and its highest event.
const ENCODED_MAX: f64 = 24.0;

/// What it may cost in the memory of a context.
const IN_MEMORY_MAX: f64 = 48.0;

/// A replica id as one that was drawn, of the `life`-th life of somebody.
fn drawn(somebody: u8, life: u32) -> ReplicaId {
    let mut id = [0; 16];
    let words = [u64::from(life) << 8 | u64::from(somebody), u64::from(life)];
    for (half, word) in id.chunks_mut(8).zip(words) {
        half.copy_from_slice(&word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    ReplicaId(id)
}

/// The `life`-th life of node `index`, after a crash: what it holds is what was durable.
fn restarted(cluster: &mut Cluster, index: u8, life: u32) -> Node {
    let image = cluster.node(index).image();
    let next = Config { replica: drawn(index, life), owner: image.owner(), ..config(index, 0) };
    Node::restart(next, image, cluster.now())
}

/// Frames and bytes that nodes 0 and 1 send each other in ten minutes without a write, less the bytes of log positions,
/// which grow with what was written.
fn at_rest(cluster: &mut Cluster) -> (u64, u64) {
    cluster.advance(Span::from_secs(120));
    let sent = |cluster: &mut Cluster| {
        let stats = [0, 1].map(|node| cluster.node(node).stats());
        (stats.iter().map(|s| s.frames_sent).sum::<u64>(), stats.iter().map(|s| s.bytes_sent).sum::<u64>())
    };
    let before = sent(cluster);
    cluster.advance(Span::from_secs(600));
    let after = sent(cluster);
    (after.0 - before.0, after.1 - before.1)
}

/// As often, but for what is drawn of when, and no longer than the varint of a log position grows.
fn assert_unchanged(before: (u64, u64), after: (u64, u64)) {
    let each = |(frames, bytes)| bytes as f64 / frames as f64;
    println!(
        "at rest: {before:?}, then {after:?} frames and bytes, {:.1} and {:.1} each",
        each(before),
        each(after)
    );
    assert!(after.0.abs_diff(before.0) * 10 <= before.0, "{before:?}, then {after:?}");
    assert!(each(after) <= each(before) + 3.0, "{before:?}, then {after:?}");
}

/// Bytes for each column of the frame in which node `from` states its whole context to one who knows nothing of it.
fn stated_to_a_stranger(cluster: &mut Cluster, from: u8, stranger: u8) -> f64 {
    let new = Node::new(config(stranger, 1), cluster.now());
    cluster.replace(stranger, new);
    cluster.write(stranger, |group| or_set::add(group, "set", b"something to ask for"));
    let columns = cluster.store(from).context().len();
    cluster.connect(from, stranger);
    let (mut longest, mut pulled) = (BTreeMap::new(), 0);
    loop {
        let both = [(from, stranger), (stranger, from)].map(|(a, b)| (a, b, cluster.take(a, b)));
        if both.iter().all(|(.., sent)| sent.is_empty()) {
            break;
        }
        for (a, b, sent) in both {
            for bytes in sent {
                let frame = cluster.read_sent(a, b, &bytes);
                let most = longest.entry(frame.name()).or_insert(0);
                *most = bytes.len().max(*most);
                if a == from && matches!(frame, Frame::Pull(..)) {
                    pulled = pulled.max(bytes.len());
                }
                cluster.deliver(a, b, &bytes);
            }
        }
    }
    assert_eq!(cluster.store(stranger).context(), cluster.store(from).context(), "the stranger knows all");
    let each = pulled as f64 / columns as f64;
    println!("{columns} columns, {each:.1} bytes each in a pull; longest frames: {longest:?}");
    each
}

fn in_memory(context: &CausalContext) -> f64 {
    let mut columns: Vec<_> = context.columns().collect();
    // Ids are drawn, so they come in any order.
    columns.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(1));
    let mut grown = CausalContext::default();
    let taken = allocation_counter::measure(|| {
        columns.iter().for_each(|(id, seq)| grown.advance(*id, *seq));
    });
    let each = taken.bytes_current as f64 / columns.len() as f64;
    println!("{} columns in memory: {each:.1} bytes each", columns.len());
    each
}

/// `lives` unclean restarts, and what they have cost.
fn restart_uncleanly(lives: u32) {
    let mut cluster = Cluster::new(4, &Limits::default());
    cluster.write(2, |group| or_set::add(group, "set", b"once"));
    (0..4).for_each(|a| (a + 1..4).for_each(|b| cluster.disconnect(a, b)));
    cluster.connect(0, 1);
    let before = at_rest(&mut cluster);
    cluster.connect(1, 2);
    for life in 1..=lives {
        let node = restarted(&mut cluster, 2, life);
        cluster.replace(2, node);
        cluster.write(2, |group| or_set::add(group, "set", b"once"));
        cluster.settle();
    }
    cluster.disconnect(1, 2);
    let after = at_rest(&mut cluster);
    assert!(cluster.store(0).context().len() > lives as usize);
    assert_eq!(cluster.store(0).context(), cluster.store(1).context());
    assert_eq!(cluster.store(0).item_count(), 1);
    assert_unchanged(before, after);
    assert!(in_memory(cluster.store(0).context()) <= IN_MEMORY_MAX);
    assert!(stated_to_a_stranger(&mut cluster, 0, 3) <= ENCODED_MAX);
}

/// Lives in a plain run. `SYNC_LIVES=10000` makes a campaign of it: a quarter of an hour in a release build, since the
/// work grows with the square of them.
fn lives() -> u32 {
    let asked = std::env::var("SYNC_LIVES").ok();
    asked.map_or(1_000, |lives| lives.parse().expect("SYNC_LIVES is a number of lives"))
}

#[test]
fn unclean_restarts_cost_24_bytes_each_in_a_frame_48_in_memory_and_nothing_at_rest() {
    restart_uncleanly(lives());
}

/// A frame of one to the other, for each that is under way, until both are silent.
fn talk(cluster: &Cluster, nodes: &mut [&mut Node; 2]) {
    let now = cluster.now();
    loop {
        let mut spoken = false;
        for at in 0..2 {
            let mut sent = Vec::new();
            while let Some(output) = nodes[at].poll_output() {
                if let Output::Send { to, class, bytes } = output {
                    nodes[at].handle(now, Input::Written { peer: to, class, frames: 1, bytes: bytes.len() });
                    sent.push(bytes);
                }
            }
            let from = nodes[at].id();
            let other = &mut *nodes[1 - at];
            for bytes in sent {
                let frame =
                    Frame::decode(&bytes, &other.reads(from), &Limits::default()).expect("nodes send frames");
                other.handle(now, Input::Received { peer: from, frame, len: bytes.len() });
                spoken = true;
            }
        }
        if !spoken {
            return;
        }
    }
}

#[test]
fn a_thousand_replicas_that_come_and_go_cost_the_same_and_nothing_at_rest() {
    let mut cluster = Cluster::new(3, &Limits::default());
    (0..2).for_each(|a| cluster.disconnect(a, 2));
    let before = at_rest(&mut cluster);
    for number in 0..1_000u32 {
        let mut id = [0xf0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let id = NodeId(id);
        let mut guest =
            Node::new(Config::new(id, drawn(9, number), OwnerId(drawn(8, number).0), [7; 32]), cluster.now());
        guest
            .write(cluster.now(), namespace(), |group| or_set::add(group, "guests", &number.to_be_bytes()))
            .expect("there is room");
        let (now, host) = (cluster.now(), cluster.node(0).id());
        cluster.node(0).handle(now, Input::Connected { peer: id });
        guest.handle(now, Input::Connected { peer: host });
        let mut node = cluster.node(0).clone();
        talk(&cluster, &mut [&mut node, &mut guest]);
        let learned = guest.store(namespace()).map_or(0, |store| store.context().len());
        assert!(learned > number as usize, "guest {number} learned {learned} columns");
        node.handle(now, Input::Disconnected { peer: id });
        *cluster.node(0) = node;
        cluster.input(0, Input::Wake);
        cluster.settle();
        cluster.write(0, |group| or_set::remove(group, "guests", &number.to_be_bytes()).map(drop));
        cluster.settle();
    }
    let after = at_rest(&mut cluster);
    assert!(cluster.is_converged() || cluster.store(0).context() == cluster.store(1).context());
    assert!(cluster.store(0).context().len() > 1_000);
    assert_unchanged(before, after);
    assert!(in_memory(cluster.store(0).context()) <= IN_MEMORY_MAX);
    assert!(stated_to_a_stranger(&mut cluster, 0, 2) <= ENCODED_MAX);
}

#[test]
fn a_node_that_restarts_a_thousand_times_and_counts_the_same_counters_keeps_as_many_cells_as_after_the_first()
{
    const COUNTERS: i128 = 1_000;
    let mut cluster = Cluster::new(1, &Limits::default());
    let count = |cluster: &mut Cluster| {
        cluster.write(0, |group| {
            (0..COUNTERS).try_for_each(|counter| pn_counter::add(group, &*format!("counter/{counter}"), 1))
        });
    };
    count(&mut cluster);
    let cells = |cluster: &Cluster| {
        (cluster.store(0).crdt_count(), cluster.store(0).item_count(), cluster.store(0).bytes())
    };
    let first = cells(&cluster);
    for life in 1..=1_000 {
        let node = restarted(&mut cluster, 0, life);
        cluster.replace(0, node);
        count(&mut cluster);
    }
    let last = cells(&cluster);
    println!("CRDTs, items and bytes: {first:?}, then {last:?}");
    assert_eq!((first.0, first.1), (last.0, last.1));
    assert!(
        last.2 <= first.2 + 2 * first.1,
        "two bytes a counter, for larger counts: {first:?}, then {last:?}"
    );
    let values =
        (0..COUNTERS).map(|counter| pn_counter::value(cluster.store(0), &*format!("counter/{counter}")));
    assert!(values.into_iter().all(|value| value == Some(1_001)));
}
