//! T8: damage to a replica's memory is found, named and healed, and no undamaged replica loses an item.

use sync_core::cell::TypeTag;
use sync_core::id::Dot;
use sync_core::limits::{Limits, Timing};
use sync_core::node::{Event, Healed, Input};
use sync_core::store::Damage;
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set};
use sync_tests::{Cluster, config, namespace, replica};

const SCRUB: Span = Span::from_secs(600);

/// `count` nodes, each linked to each, that agree on a map of ten fields and a set of three elements, one of which was removed.
fn agreed(count: u8) -> Cluster {
    agreed_over(count, |_, _| true)
}

/// The same, with a link between `a` and `b` where `links(a, b)`.
fn agreed_over(count: u8, links: impl Fn(u8, u8) -> bool) -> Cluster {
    let configs = (0..count).map(|index| {
        let mut config = config(index, 0);
        config.timing = Timing { scrub_period: SCRUB, ..Timing::default() };
        config
    });
    let mut cluster = Cluster::apart(configs);
    for a in 0..count {
        (a + 1..count).filter(|b| links(a, *b)).for_each(|b| cluster.connect(a, b));
    }
    cluster.settle();
    for field in 0..10u8 {
        cluster.write(0, |group| lww_map::put(group, "map", &[field], b"value"));
    }
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "set", element));
    }
    cluster.write(0, |group| or_set::remove(group, "set", b"b"));
    cluster.advance(Span::from_secs(60));
    assert!(cluster.is_converged());
    cluster.events();
    cluster
}

/// What was healed, by which node.
fn healed(cluster: &mut Cluster) -> Vec<(u8, Healed)> {
    let events = cluster.events().into_iter();
    let healed = events.filter_map(|(node, event)| {
        let Event::Healed { healed, cells, .. } = event else { return None };
        assert!(!cells.is_empty() || healed.rewritten > 0, "what was healed is named");
        Some((node, healed))
    });
    healed.collect()
}

fn exchange(cluster: &mut Cluster) {
    (0..2).for_each(|_| {
        cluster.input(1, Input::SyncNow);
        cluster.advance(Span::from_secs(1));
    });
}

fn assert_as_it_was(cluster: &mut Cluster, count: u8) {
    cluster.advance(Span::from_secs(1));
    assert!(cluster.is_converged());
    for node in 0..count {
        assert_eq!(lww_map::entries(cluster.store(node), "map").count(), 10);
        assert!(lww_map::entries(cluster.store(node), "map").all(|(_, value)| value == b"value"));
    }
}

#[test]
fn a_flipped_bit_is_found_by_the_scrub_within_its_period_and_mended_from_a_peer() {
    let mut cluster = agreed(2);
    assert!(cluster.node(1).damage(namespace(), Damage::FlipBit(Dot::new(replica(0, 0), 4))));
    assert!(cluster.is_converged(), "roots do not show it: the fingerprints are those of before");
    cluster.advance(SCRUB);
    let events = cluster.events();
    let corrupt = events.iter().filter(|(node, event)| {
        *node == 1 && matches!(event, Event::Corrupt { cells, .. } if cells[0].0.key.as_str() == "map")
    });
    assert_eq!(corrupt.count(), 1, "{events:?}");
    let mended = Healed { mended: 1, ..Healed::default() };
    assert!(events.iter().any(|(node, event)| {
        *node == 1 && matches!(event, Event::Healed { healed, peer: None, .. } if *healed == mended)
    }));
    assert_as_it_was(&mut cluster, 2);
}

#[test]
fn no_fragment_of_a_store_with_known_damage_leaves_it() {
    let mut cluster = agreed(2);
    cluster.disconnect(0, 1);
    cluster.write(1, |group| lww_map::put(group, "map", &[77], b"new"));
    let damaged = Dot::new(replica(1, 0), 1);
    assert!(cluster.node(1).damage(namespace(), Damage::FlipBit(damaged)));
    cluster.connect(0, 1);
    // Nobody else has that item, so nobody can mend it: both contents of nothing else are harmed.
    cluster.advance(SCRUB);
    assert!(cluster.is_converged());
    assert_eq!(lww_map::entries(cluster.store(0), "map").count(), 11);
}

#[test]
fn an_item_lost_without_its_dot_is_brought_back_by_the_next_exchange_of_roots() {
    for count in [2, 4] {
        let mut cluster = agreed(count);
        assert!(cluster.node(1).damage(namespace(), Damage::LoseItem(Dot::new(replica(0, 0), 4))));
        exchange(&mut cluster);
        let healed = healed(&mut cluster);
        if count == 2 {
            assert!(healed.iter().any(|(node, healed)| *node == 0 && healed.rewritten == 1), "{healed:?}");
        } else {
            assert!(healed.iter().any(|(node, healed)| *node == 1 && healed.restored == 1), "{healed:?}");
            assert!(healed.iter().all(|(_, healed)| healed.rewritten == 0), "three hold it: {healed:?}");
        }
        assert_as_it_was(&mut cluster, count);
    }
}

#[test]
fn a_dead_item_that_lives_again_is_buried_where_a_record_proves_it_dead() {
    let mut cluster = agreed(2);
    revive(&mut cluster, b"b");
    exchange(&mut cluster);
    let healed = healed(&mut cluster);
    assert_eq!(healed, [(1, Healed { buried: 1, ..Healed::default() })]);
    assert_eq!(or_set::len(cluster.store(0), "set"), 2);
    assert_as_it_was(&mut cluster, 2);
}

/// Brings the element back to life on node 1, under the dot that it had.
fn revive(cluster: &mut Cluster, element: &[u8]) {
    // The adds took the dots after the ten fields.
    let dot = Dot::new(replica(0, 0), 12);
    let mut twin = Cluster::new(1, &Limits::default());
    twin.write(0, |group| or_set::add(group, "set", element));
    let (cell, item) = twin.store(0).item(Dot::new(replica(0, 0), 1)).expect("it was just added");
    let mut item = item.to_item();
    item.dot = dot;
    assert!(cluster.node(1).damage(namespace(), Damage::Revive(cell, item)));
    assert_eq!(or_set::len(cluster.store(1), "set"), 3);
}

#[test]
fn an_overwritten_value_that_lives_again_is_buried_where_three_members_lack_it() {
    for count in [2, 4] {
        let mut cluster = agreed(count);
        let old = Dot::new(replica(0, 0), 4);
        let (cell, item) = cluster.store(0).item(old).map(|(cell, item)| (cell, item.to_item())).unwrap();
        cluster.write(0, |group| lww_map::put(group, "map", &[3], b"value"));
        cluster.advance(Span::from_secs(60));
        cluster.events();
        assert!(cluster.node(1).damage(namespace(), Damage::Revive(cell, item)));
        exchange(&mut cluster);
        let healed = healed(&mut cluster);
        let (buried, rewritten) = if count == 2 { (0, 1) } else { (1, 0) };
        let expected = Healed { buried, rewritten, ..Healed::default() };
        assert!(healed.contains(&(1, expected)), "{count} nodes: {healed:?}");
        assert_as_it_was(&mut cluster, count);
    }
}

#[test]
fn a_dot_with_two_contents_is_decided_by_the_members_or_kept_as_both() {
    for count in [2, 4] {
        let mut cluster = agreed(count);
        let dot = Dot::new(replica(0, 0), 4);
        assert!(cluster.node(1).damage(namespace(), Damage::FlipBit(dot)));
        // The damaged cell is written beside: its fingerprint is taken anew, of the damaged bytes.
        let (cell, mut item) = cluster.store(1).item(dot).map(|(cell, item)| (cell, item.to_item())).unwrap();
        item.dot = dot;
        assert!(cluster.node(1).damage(namespace(), Damage::LoseItem(dot)));
        assert!(cluster.node(1).damage(namespace(), Damage::Revive(cell, item)));
        exchange(&mut cluster);
        let healed = healed(&mut cluster);
        if count == 2 {
            assert_eq!(
                healed,
                [(0, Healed { rewritten: 2, ..Healed::default() })],
                "one side writes both again"
            );
            cluster.advance(Span::from_secs(60));
            assert!(cluster.is_converged());
            for node in [0, 1] {
                assert!(!cluster.store(node).is_live(dot));
                assert_eq!(
                    cluster.store(node).items("map", TypeTag::LWW_MAP, &[3]).len(),
                    2,
                    "both contents stand"
                );
            }
        } else {
            assert!(healed.contains(&(1, Healed { restored: 1, ..Healed::default() })), "{healed:?}");
            assert_as_it_was(&mut cluster, count);
        }
    }
}

#[test]
fn what_a_leaf_of_a_star_lost_or_holds_otherwise_is_written_again_by_the_middle_in_the_end() {
    // The leaf hears one member that holds the item, and may not decide; the middle hears three, and leaves it to
    // the leaf until that has come to nothing twice.
    for (leaf, flips) in [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)] {
        let mut cluster = agreed_over(4, |a, _| a == 0);
        let dot = Dot::new(replica(0, 0), 4);
        let (cell, mut item) =
            cluster.store(leaf).item(dot).map(|(cell, item)| (cell, item.to_item())).unwrap();
        assert!(cluster.node(leaf).damage(namespace(), Damage::LoseItem(dot)));
        if flips {
            item.payload = b"walue".as_slice().into();
            assert!(cluster.node(leaf).damage(namespace(), Damage::Revive(cell, item)));
        }
        cluster.advance(Span::from_secs(150));
        assert!(cluster.is_converged(), "leaf {leaf}, flips {flips}");
        let rewritten = 1 + u64::from(flips);
        let healed = healed(&mut cluster);
        assert!(!healed.is_empty() && healed.iter().all(|(_, healed)| healed.rewritten == rewritten));
        assert!(flips || healed[0].0 == 0, "the leaf holds nothing to write: {healed:?}");
        for node in 0..4 {
            assert!(!cluster.store(node).is_live(dot));
            let held = cluster.store(node).items("map", TypeTag::LWW_MAP, &[3]);
            assert!(held.iter().any(|item| item.payload.as_bytes() == b"value"));
        }
    }
}
