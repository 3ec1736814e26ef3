//! What a node may hold.

use sync_core::error::{FrameError, WriteError};
use sync_core::node::{Bound, Event};
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set};
use sync_tests::Cluster;

use super::{node, pair, reading, told};

fn alone(text: &str) -> Cluster {
    Cluster::apart([node(0, text)])
}

#[test]
fn a_fourth_crdt_is_refused_where_three_may_be() {
    let mut cluster = alone("max_crdts = 3");
    ["a", "b", "c"].iter().for_each(|key| cluster.write(0, |group| or_set::add(group, key, b"x")));
    let refused = cluster.try_write(0, |group| or_set::add(group, "d", b"x")).expect_err("there are three");
    assert_eq!(
        refused.to_string(),
        "the store is full: 3 CRDTs of at most 3; remove some, or raise crdts_max"
    );
    let mut cluster = alone("");
    ["a", "b", "c", "d"].iter().for_each(|key| cluster.write(0, |group| or_set::add(group, key, b"x")));
}

#[test]
fn a_write_that_grows_a_full_store_is_refused() {
    let mut cluster = alone("max_bytes = \"1kB\"\nmax_crdt_bytes = \"1kB\"");
    cluster.write(0, |group| lww_map::put(group, "m", b"f", &[1; 500]));
    let refused = cluster.try_write(0, |group| lww_map::put(group, "m", b"g", &[1; 500]));
    let refused = refused.expect_err("it is full").to_string();
    assert!(refused.starts_with("the store is full: 598 bytes and 598 more exceed 1000;"), "{refused}");
    cluster.write(0, |group| lww_map::remove(group, "m", b"f"));
}

#[test]
fn what_comes_from_a_peer_is_refused_above_the_ceiling() {
    let ceiling = |text: &str| {
        let mut cluster = Cluster::apart([node(0, text), node(1, "")]);
        cluster.connect(0, 1);
        cluster.settle();
        cluster.write(1, |group| lww_map::put(group, "m", b"f", &[1; 4_000]));
        cluster.settle();
        let degraded = told(&mut cluster, |event| {
            let Event::Degraded { max, .. } = event else { return None };
            Some(max)
        });
        (degraded, cluster.is_converged())
    };
    assert_eq!(ceiling("max_bytes = 1000\nmax_bytes_ceiling = 3000"), (vec![3_000], false));
    assert_eq!(ceiling("max_bytes = 1000\nmax_bytes_ceiling = 6000"), (vec![], true));
}

#[test]
fn a_crdt_that_has_its_bytes_grows_no_more() {
    let mut cluster = alone("max_crdt_bytes = 300");
    cluster.write(0, |group| lww_map::put(group, "m", b"f", &[1; 100]));
    let refused = cluster.try_write(0, |group| lww_map::put(group, "m", b"g", &[1; 100]));
    assert!(matches!(refused, Err(WriteError::CrdtBytes { bytes: 198, max: 300, .. })), "{refused:?}");
    cluster.write(0, |group| lww_map::put(group, "n", b"f", &[1; 100]));
}

#[test]
fn a_set_that_has_its_cells_takes_no_more_elements() {
    let mut cluster = alone("max_crdt_cells = 3");
    (0..3).for_each(|at| cluster.write(0, |group| or_set::add(group, "s", &[at])));
    let refused = cluster.try_write(0, |group| or_set::add(group, "s", b"x"));
    assert!(matches!(refused, Err(WriteError::CrdtCells { cells: 3, max: 3, .. })), "{refused:?}");
    cluster.write(0, |group| or_set::add(group, "t", b"x"));
}

#[test]
fn a_group_longer_than_it_may_be_is_refused_whole() {
    let two_long_values = |text: &str| {
        let mut cluster = alone(text);
        let written = cluster.try_write(0, |group| {
            lww_map::put(group, "m", b"f", &[1; 60_000])?;
            lww_map::put(group, "m", b"g", &[1; 60_000])
        });
        assert_eq!(cluster.store(0).crdt_count(), u64::from(written.is_ok()));
        written.map_err(|refused| refused.to_string())
    };
    let refused = two_long_values("max_group_size = \"100KiB\"").expect_err("it is too long");
    assert!(refused.ends_with("bytes exceeds the limit of 102400; split it"), "{refused}");
    two_long_values("").expect("it fits the default");
}

#[test]
fn a_short_log_forgets_what_a_peer_missed_and_it_is_repaired() {
    let falls_behind = |text: &str| {
        let mut cluster = pair(text);
        cluster.write(0, |group| or_set::add(group, "s", b"x"));
        cluster.advance(Span::from_secs(1));
        // Missed on a link that stays up: the cursor of the peer waits.
        for at in 0..10 {
            cluster.write(0, |group| or_set::add(group, "s", &[at]));
            cluster.take(0, 1);
        }
        let entries = reading(&mut cluster, 0, Bound::LogEntries);
        cluster.advance(Span::from_secs(60));
        assert!(cluster.is_converged());
        (entries.used, entries.max, cluster.node(0).stats().fell_behind > 0)
    };
    assert_eq!(falls_behind("max_log_entries = 4"), (4, 4, true));
    assert_eq!(falls_behind("max_log_entries = 100"), (11, 100, false));
}

/// Five removes that each leave a record.
fn removed(text: &str) -> Cluster {
    let mut cluster = alone(text);
    for at in 0..5 {
        cluster.write(0, |group| or_set::add(group, "s", &[at]));
        cluster.write(0, |group| or_set::remove(group, "s", &[at]));
    }
    cluster
}

#[test]
fn no_more_records_are_kept_than_may_be() {
    assert_eq!(removed("max_records = 2").store(0).record_count(), 2);
    assert_eq!(removed("").store(0).record_count(), 5);
}

#[test]
fn no_more_bytes_of_records_are_kept_than_may_be() {
    let all = reading(&mut removed(""), 0, Bound::RecordsBytes).used;
    let few = reading(&mut removed(&format!("max_records_bytes = {}", all / 2)), 0, Bound::RecordsBytes);
    assert!(few.used > 0 && few.used <= all / 2 && few.max == all / 2, "{few:?} of {all}");
}

#[test]
fn a_large_answer_is_dropped_where_too_little_may_be_staged() {
    let newcomer = |text: &str| {
        let mut cluster = Cluster::apart([node(0, text), node(1, "")]);
        for at in 0..30 {
            cluster.write(1, |group| lww_map::put(group, "m", &[at], &[at; 60_000]));
        }
        cluster.connect(0, 1);
        cluster.advance(Span::from_secs(10));
        let refused = told(&mut cluster, |event| {
            let Event::FrameRefused { error: FrameError::Staging { max, .. }, .. } = event else {
                return None;
            };
            Some(max)
        });
        (refused.first().copied(), cluster.is_converged())
    };
    assert_eq!(newcomer("max_staging_bytes = \"500kB\""), (Some(500_000), false));
    assert_eq!(newcomer("max_staging_bytes = \"5MB\""), (None, true));
}
