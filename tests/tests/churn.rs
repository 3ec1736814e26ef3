//! What turns over leaves nothing behind: every part of a store is as large after as before, and what a store took
//! while it was large it gives back. The full counts, with resident memory: `cargo bench -p sync-core --bench churn`.

use sync_core::cell::Hlc;
use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Places, Store};
use sync_core::time::Span;
use sync_core::types::or_map::Map;
use sync_core::types::{lww_map, lww_register, multimap, or_map, or_set, pn_counter};
use sync_tests::Cluster;

/// Short rings, so that they are full before the counting begins.
fn store() -> Store {
    let limits = Limits { log_entries_max: 100, records_max: 100, ..Limits::default() };
    Store::new(NamespaceId([1; 8]), limits.with_room(1_000_000, 1 << 30))
}

fn write(store: &mut Store, fill: impl FnOnce(&mut Group<'_>)) {
    let replica = ReplicaId([7; 16]);
    let next = store.context().get(replica) + 1;
    let mut group = store.group(replica, OwnerId([1; 16]), next, Hlc(next));
    fill(&mut group);
    group.commit();
}

/// Does `step` often; every part of the store must be as large as after the first few times.
fn churn(times: u32, step: impl Fn(&mut Store, u32)) {
    let mut store = store();
    let settled = |store: &mut Store| -> (Places, u64) {
        store.root();
        store.check().expect("the structure is sound");
        (store.places(), store.bytes())
    };
    (0..200).for_each(|at| step(&mut store, at));
    let before = settled(&mut store);
    for at in 0..times {
        step(&mut store, at);
        if at % 97 == 0 {
            store.root();
        }
    }
    assert_eq!(settled(&mut store), before);
}

#[test]
fn twenty_thousand_adds_and_removes_leave_nothing() {
    churn(20_000, |store, at| {
        let element = at.to_be_bytes();
        write(store, |group| or_set::add(group, "s", &element).expect("there is room"));
        write(store, |group| assert!(or_set::remove(group, "s", &element).expect("a remove passes")));
    });
}

#[test]
fn keys_deleted_and_made_again_leave_nothing() {
    churn(2_000, |store, at| {
        let key = format!("key/{}", at % 50);
        let map = Map::at_key(&key);
        write(store, |group| {
            or_set::add(group, &key, b"element").expect("there is room");
            lww_map::put(group, &key, b"field", b"value").expect("there is room");
            multimap::add(group, &key, b"field", b"value").expect("there is room");
            lww_register::set(group, map.at(b"inner"), b"value").expect("there is room");
        });
        write(store, |group| {
            or_set::clear(group, &key).expect("a remove passes");
            lww_map::clear(group, &key).expect("a remove passes");
            multimap::clear(group, &key).expect("a remove passes");
            or_map::clear(group, &map).expect("a remove passes");
        });
    });
}

#[test]
fn counters_reset_and_counted_again_leave_nothing() {
    churn(5_000, |store, _| {
        write(store, |group| pn_counter::add(group, "c", 3).expect("there is room"));
        write(store, |group| assert!(pn_counter::reset(group, "c").expect("a reset passes")));
    });
}

#[test]
fn a_counter_of_two_owners_that_reset_each_other_keeps_at_most_a_row_and_a_floor_each() {
    let mut cluster = Cluster::new(2, &Limits::default());
    for round in 0..500u32 {
        for node in [0, 1] {
            cluster.write(node, |group| pn_counter::add(group, "c", 1));
        }
        if round % 3 == 0 {
            cluster.settle();
        }
        cluster.write((round % 2) as u8, |group| pn_counter::reset(group, "c"));
    }
    cluster.advance(Span::from_secs(130));
    assert!(cluster.is_converged());
    for node in [0, 1] {
        let cells = cluster.store(node).cell_count("c", sync_core::cell::TypeTag::PN_COUNTER);
        assert!(cells <= 4, "{cells} cells are left of 500 resets");
        cluster.store(node).check().expect("the structure is sound");
    }
}

#[test]
fn what_a_large_store_took_it_gives_back_when_little_is_left_of_it() {
    let mut store = store();
    let key = |at: u32| format!("key/{}", at % 5_000);
    for from in (0..40_000u32).step_by(100) {
        write(&mut store, |group| {
            for at in from..from + 100 {
                or_set::add(group, "one", &at.wrapping_mul(2_654_435_761).to_be_bytes())
                    .expect("there is room");
                or_set::add(group, &key(at), &at.to_be_bytes()).expect("there is room");
            }
        });
    }
    store.root();
    assert_eq!((store.places().cells, store.places().objects), (80_000, 5_001));
    // Of each some are left, all over the slabs.
    for at in 0..40_000u32 {
        write(&mut store, |group| {
            if at % 40 != 39 {
                or_set::remove(group, "one", &at.wrapping_mul(2_654_435_761).to_be_bytes())
                    .expect("it passes");
                or_set::remove(group, &key(at), &at.to_be_bytes()).expect("it passes");
            }
        });
    }
    store.check().expect("the structure is sound");
    let mut other = self::store();
    let live: Vec<_> = store.live_dots().filter_map(|dot| store.item(dot)).map(|(cell, _)| cell).collect();
    assert_eq!(live.len(), 2_000);
    for _ in 0..8 {
        // Written again, so that both stores hold the same events and only one of them was ever large.
        store.root();
        store.check().expect("the structure is sound while it shrinks");
    }
    let places = store.places();
    assert!(places.cells <= 8_000, "{} places for 2,000 cells", places.cells);
    assert!(places.objects <= 1_024, "{} places for 126 objects", places.objects);
    assert!(places.lookup <= 16_000, "{} places to find 2,000 cells", places.lookup);
    let learned = sync_core::store::Learned { own: ReplicaId([9; 16]), own_minted: 0, from: None };
    let whole = store.answer(other.context());
    other.join(&whole, learned).expect("there is room");
    assert_eq!(other.state_id(), store.state_id(), "cells that moved are where they were");
    for cell in &live {
        assert_eq!(store.items_of(cell), other.items_of(cell));
    }
    write(&mut store, |group| {
        or_set::clear(group, "one").expect("it passes");
    });
    for at in 0..5_000 {
        write(&mut store, |group| {
            or_set::clear(group, &key(at)).expect("it passes");
        });
    }
    for _ in 0..8 {
        store.root();
    }
    store.check().expect("the structure is sound");
    let Places { cells, objects, keys, lookup, trie, live, .. } = store.places();
    assert!(cells <= 1_024 && objects <= 1_024 && lookup <= 1_024, "{cells} {objects} {lookup}");
    assert_eq!((keys, trie, live, store.bytes()), (0, 0, 0, 0));
}
