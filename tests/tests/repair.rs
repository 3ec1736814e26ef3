//! Repairs whose records were lost: by sketch or by list, whichever is shorter, with the same result.

use sync_core::limits::{Limits, Repair};
use sync_core::message::Frame;
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set};
use sync_tests::{Cluster, config};

/// Two nodes that agree on `elements`, many of them removed since, so that the live dots lie in scattered pieces;
/// node 0 keeps no records, so that it repairs by what is live.
fn scattered(elements: u32, repair: Repair) -> Cluster {
    let configs = (0..2).map(|index| {
        let mut config = config(index, 0);
        config.limits =
            Limits { records_max: 0, log_entries_max: 2, crdts_max: 1 << 20, ..Limits::default() };
        config.repair = repair;
        config
    });
    let mut cluster = Cluster::apart(configs);
    cluster.connect(0, 1);
    cluster.settle();
    for element in 0..elements {
        cluster.write(0, |group| or_set::add(group, "s", &element.to_le_bytes()));
        if element % 500 == 499 {
            cluster.advance(Span::from_millis(10));
        }
    }
    for element in (0..elements).filter(|element| element % 3 == 1) {
        cluster.write(0, |group| or_set::remove(group, "s", &element.to_le_bytes()));
    }
    cluster.advance(Span::from_secs(60));
    assert!(cluster.is_converged());
    cluster.disconnect(0, 1);
    cluster
}

/// How a cut was mended.
#[derive(Debug)]
struct Mended {
    /// Bytes of every frame but `Hello`.
    bytes: usize,
    /// Those frames.
    kinds: Vec<&'static str>,
    /// Repairs of node 1 by sketch, and without records at all.
    sketches: u64,
    fallbacks: u64,
}

impl Mended {
    fn count(&self, kind: &str) -> usize {
        self.kinds.iter().filter(|other| **other == kind).count()
    }
}

fn mend(cluster: &mut Cluster) -> Mended {
    let before = cluster.node(1).stats();
    cluster.connect(0, 1);
    let (mut bytes, mut kinds) = (0, Vec::new());
    loop {
        let frames = [(0, 1), (1, 0)].map(|(from, to)| (from, to, cluster.take(from, to)));
        if frames.iter().all(|(.., sent)| sent.is_empty()) {
            let now = cluster.node(1).stats();
            let (sketches, fallbacks) = (now.sketches - before.sketches, now.fallbacks - before.fallbacks);
            return Mended { bytes, kinds, sketches, fallbacks };
        }
        for (from, to, sent) in frames {
            for frame in sent {
                let decoded = cluster.read_sent(from, to, &frame);
                if !matches!(decoded, Frame::Hello(_)) {
                    bytes += frame.len();
                    kinds.push(decoded.name());
                }
                cluster.deliver(from, to, &frame);
            }
        }
    }
}

fn remove_some(cluster: &mut Cluster, count: u32) {
    for element in 0..count {
        cluster.write(0, |group| or_set::remove(group, "s", &(element * 3).to_le_bytes()));
        cluster.write(1, |group| or_set::remove(group, "s", &(element * 3 + 9_002).to_le_bytes()));
    }
}

#[test]
fn removes_whose_records_were_lost_are_found_by_a_sketch_and_by_a_list_alike() {
    let mut bytes = Vec::new();
    for repair in [Repair::Sketch { first: 24 }, Repair::Sketch { first: 1 }, Repair::Listing] {
        let mut cluster = scattered(12_000, repair);
        remove_some(&mut cluster, 5);
        cluster.write(1, |group| or_set::add(group, "s", b"meanwhile"));
        let mended = mend(&mut cluster);
        assert!(cluster.is_converged());
        assert_eq!(or_set::len(cluster.store(0), "s"), 8_000 - 10 + 1);
        let by_sketch = matches!(repair, Repair::Sketch { .. });
        assert_eq!((mended.sketches, mended.fallbacks), (u64::from(by_sketch), 1), "{repair:?}: {mended:?}");
        println!("{repair:?}: {mended:?}");
        bytes.push(mended.bytes);
    }
    assert!(bytes[0] * 2 < bytes[2], "a few differences in many pieces: {bytes:?}");
}

#[test]
fn whichever_is_shorter_is_taken() {
    for (elements, sketches) in [(12_000, 1), (60, 0)] {
        let mut cluster = scattered(elements, Repair::Shortest);
        (0..6u32).for_each(|element| {
            cluster.write(0, |group| or_set::remove(group, "s", &(element * 3).to_le_bytes()));
        });
        let mended = mend(&mut cluster);
        assert!(cluster.is_converged());
        assert_eq!((mended.sketches, mended.fallbacks), (sketches, 1), "of {elements}: {mended:?}");
        assert_eq!(mended.count("Open"), 2, "both ends: {mended:?}");
        assert_eq!(mended.count("Pull") + mended.count("More"), 0, "one round trip: {mended:?}");
    }
}

#[test]
fn more_differences_than_a_sketch_can_show_end_in_a_list() {
    let mut cluster = scattered(30_000, Repair::Sketch { first: 4_096 });
    remove_some(&mut cluster, 3_000);
    let mended = mend(&mut cluster);
    assert!(cluster.is_converged());
    assert_eq!((mended.sketches, mended.fallbacks), (0, 1), "{mended:?}");
}

#[test]
fn overwrites_on_both_sides_are_found_by_a_sketch_without_asking_for_the_list() {
    let mut cluster = scattered(12_000, Repair::Shortest);
    for element in 0..10u32 {
        for node in [0, 1u8] {
            let (key, field) = ("m", (element * 2 + u32::from(node)).to_le_bytes());
            cluster.write(node, |group| lww_map::put(group, key, &field, b"value"));
        }
        cluster.write(0, |group| or_set::add(group, "s", &(element * 30).to_le_bytes()));
        cluster.write(1, |group| or_set::add(group, "s", &(element * 30 + 3).to_le_bytes()));
    }
    cluster.write(0, |group| or_set::remove(group, "s", &900u32.to_le_bytes()));
    let mended = mend(&mut cluster);
    assert!(cluster.is_converged());
    println!("{mended:?}");
    assert_eq!((mended.sketches, mended.fallbacks), (1, 1), "{mended:?}");
    assert_eq!((mended.count("Open"), mended.count("Pull")), (2, 0), "one a side: {mended:?}");
}

#[test]
fn who_asks_for_more_of_a_forgotten_sketch_is_told_so_and_pulls_at_once() {
    let mut cluster = scattered(3_000, Repair::Sketch { first: 1 });
    for element in 0..20u32 {
        cluster.write(0, |group| or_set::remove(group, "s", &(element * 3).to_le_bytes()));
    }
    cluster.connect(0, 1);
    // An open is a pull.
    let mut pull = Vec::new();
    while pull.is_empty() {
        for (from, to) in [(0, 1), (1, 0)] {
            for bytes in cluster.take(from, to) {
                if from == 1 && matches!(cluster.read_sent(from, to, &bytes), Frame::Open(..)) {
                    pull.clone_from(&bytes);
                }
                cluster.deliver(from, to, &bytes);
            }
        }
    }
    let give = cluster.take(0, 1);
    give.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
    let more = cluster.take(1, 0);
    assert!(more.iter().any(|bytes| matches!(cluster.read_sent(1, 0, bytes), Frame::More(..))));
    // The same pull once more, late: the sketch of its first answer is forgotten, and its second answer lost.
    cluster.deliver(1, 0, &pull);
    cluster.take(0, 1);
    more.iter().for_each(|bytes| cluster.deliver(1, 0, bytes));
    let now = cluster.now().mono;
    cluster.settle();
    assert_eq!(cluster.now().mono, now, "nobody waited for a deadline");
    assert!(cluster.is_converged());
}
