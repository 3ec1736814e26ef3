//! Bounds refuse the local writer with numbers, before anything is minted, and never a join below the
//! ceiling.

use sync_core::error::WriteError;
use sync_core::limits::Limits;
use sync_core::node::Event;
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_tests::Cluster;

fn fill(cluster: &mut Cluster, node: u8, count: u8) {
    for index in 0..count {
        cluster.write(node, |group| or_set::add(group, &format!("set/{index}"), b"x"));
    }
}

#[test]
fn a_full_store_refuses_a_ninth_crdt_still_joins_and_converges() {
    let limits = Limits { crdts_max: 8, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    cluster.disconnect(0, 1);
    fill(&mut cluster, 0, 8);
    let before = cluster.store(0).context().clone();
    let ninth = cluster.try_write(0, |group| or_set::add(group, "set/8", b"x"));
    assert_eq!(ninth.unwrap_err(), WriteError::Full { count: 8, max: 8 });
    assert_eq!(*cluster.store(0).context(), before, "nothing was minted");
    cluster.write(0, |group| or_set::add(group, "set/7", b"more"));
    // Three others are created on the other side of a cut: joins always apply, so both overshoot.
    for key in ["map/1", "map/2", "map/3"] {
        cluster.write(1, |group| lww_map::put(group, key, b"f", b"v"));
    }
    cluster.connect(0, 1);
    cluster.settle();
    assert!(cluster.is_converged());
    assert_eq!(cluster.store(0).crdt_count(), 11);
    let refused = cluster.try_write(1, |group| pn_counter::add(group, "counter", 1));
    assert_eq!(refused.unwrap_err(), WriteError::Full { count: 11, max: 8 });
    for index in 0..4u8 {
        cluster.write(0, |group| or_set::clear(group, &format!("set/{index}")));
    }
    cluster.write(0, |group| pn_counter::add(group, "counter", 1));
    cluster.settle();
    assert!(cluster.is_converged());
    assert_eq!(cluster.store(1).crdt_count(), 8);
}

#[test]
fn a_group_is_admitted_whole_or_not_at_all() {
    let limits = Limits { crdts_max: 2, ..Limits::default() };
    let mut cluster = Cluster::new(1, &limits);
    cluster.write(0, |group| or_set::add(group, "a", b"1"));
    let before = cluster.store(0).clone();
    let root = cluster.node(0).root(sync_tests::namespace());
    let refused = cluster.try_write(0, |group| {
        or_set::remove(group, "a", b"1")?;
        or_set::add(group, "a", b"2")?;
        pn_counter::add(group, "b", 5)?;
        pn_counter::add(group, "b", -2)?;
        lww_map::put(group, "c", b"f", b"v")
    });
    assert_eq!(refused.unwrap_err(), WriteError::Full { count: 2, max: 2 });
    assert!(cluster.store(0).same_state(&before));
    assert_eq!(cluster.store(0).bytes(), before.bytes());
    assert_eq!(cluster.store(0).log_head(), before.log_head());
    assert_eq!(cluster.store(0).record_count(), before.record_count());
    assert_eq!(cluster.node(0).root(sync_tests::namespace()), root);
}

#[test]
fn lengths_and_counter_ranges_are_refused_with_their_numbers() {
    let limits = Limits { group_bytes_max: 200, value_bytes_max: 100, ..Limits::default() };
    let mut cluster = Cluster::new(1, &limits);
    let long = "k".repeat(513);
    let refused = cluster.try_write(0, |group| or_set::add(group, &long, b"x")).unwrap_err();
    assert_eq!(refused, WriteError::KeyTooLong { len: 513, max: 512 });
    let refused = cluster.try_write(0, |group| or_set::add(group, "k", &[0; 4_097])).unwrap_err();
    assert_eq!(refused, WriteError::PathTooLong { len: 4_097, max: 4_096 });
    let refused = cluster.try_write(0, |group| lww_map::put(group, "k", b"f", &[0; 101])).unwrap_err();
    assert_eq!(refused, WriteError::ValueTooLong { len: 101, max: 100 });
    let refused = cluster.try_write(0, |group| {
        lww_map::put(group, "k", b"f", &[0; 99])?;
        lww_map::put(group, "k", b"g", &[0; 99])
    });
    assert_eq!(refused.unwrap_err(), WriteError::GroupTooLarge { len: 202, max: 200 });
    for _ in 0..2 {
        cluster.write(0, |group| pn_counter::add(group, "c", i64::MAX));
    }
    let refused = cluster.try_write(0, |group| pn_counter::add(group, "c", i64::MAX)).unwrap_err();
    assert_eq!(refused, WriteError::CounterRange { from: u64::MAX - 1, by: i64::MAX as u64 });
    assert_eq!(pn_counter::value(cluster.store(0), "c"), Some(2 * i128::from(i64::MAX)));
    cluster.write(0, |group| pn_counter::add(group, "c", i64::MIN));
    assert_eq!(pn_counter::value(cluster.store(0), "c"), Some(i128::from(i64::MAX) - 1));
}

#[test]
fn a_store_at_its_bytes_refuses_growth_and_lets_every_remove_pass() {
    let limits = Limits { store_bytes_max: 1_000, ..Limits::default() };
    let mut cluster = Cluster::new(1, &limits);
    let refused = loop {
        let field = cluster.store(0).item_count().to_le_bytes();
        match cluster.try_write(0, |group| lww_map::put(group, "map", &field, &[7; 40])) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let bytes = cluster.store(0).bytes();
    assert_eq!(refused, WriteError::StoreBytes { bytes, more: 3 + 8 + 40 + 96, max: 1_000 });
    cluster.write(0, |group| lww_map::put(group, "map", &0u64.to_le_bytes(), &[8; 40]));
    assert_eq!(cluster.store(0).bytes(), bytes, "an overwrite that does not grow the store passes");
    assert!(cluster.write(0, |group| lww_map::clear(group, "map")) > 0);
    assert_eq!(cluster.store(0).bytes(), 0);
}

#[test]
fn a_fragment_above_the_ceiling_is_refused_whole_and_heals_when_data_is_removed() {
    let mut small = sync_tests::config(1, 0);
    small.limits.store_bytes_ceiling = 2_000;
    let mut cluster = Cluster::apart([sync_tests::config(0, 0), small]);
    for index in 0..40u8 {
        cluster.write(0, |group| or_set::add(group, "set", &[index]));
    }
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert_eq!(cluster.store(1).item_count(), 0, "refused whole, not in part");
    let degraded = cluster.events().into_iter().any(|(node, event)| {
        matches!(event, Event::Degraded { max: 2_000, bytes: 0, after, .. } if node == 1 && after > 2_000)
    });
    assert!(degraded, "an event says so, with the numbers");
    assert!(cluster.store(1).context().is_empty(), "no dot is learned without its payload");
    for index in 10..40u8 {
        cluster.write(0, |group| or_set::remove(group, "set", &[index]));
    }
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
    assert_eq!(or_set::len(cluster.store(1), "set"), 10);
}
