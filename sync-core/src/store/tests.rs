//! What the store keeps beside its state is what the state says.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::{SKETCH_KEY, Store};
use crate::causal::DotSet;
use crate::cell::{CellId, Hlc, ObjectId, Payload, TypeTag};
use crate::id::{Dot, NamespaceId, OwnerId, ReplicaId};
use crate::limits::Limits;
use crate::merkle::descent::{Descent, Holder};
use crate::merkle::sketch::{SYMBOLS_KEPT, Sketch};

#[test]
fn intervals_and_sketch_are_those_of_the_live_dots_after_writes_removes_and_rollbacks() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut store = Store::new(NamespaceId([1; 8]), Limits::default());
    for step in 0..600u64 {
        let replica = ReplicaId([rng.random_range(1..3); 16]);
        let next = store.context().get(replica) + 1;
        let mut group = store.group(replica, OwnerId([0; 16]), next, Hlc(step));
        for _ in 0..rng.random_range(1..4) {
            let live: Vec<Dot> = group.store().live_dots().collect();
            let kill = (!live.is_empty()).then(|| live[rng.random_range(0..live.len())]);
            if rng.random_bool(0.75) {
                let cell = CellId::new(ObjectId::new("set", TypeTag::OR_SET), &step.to_le_bytes()[..]);
                let kills: Vec<Dot> = kill.into_iter().filter(|_| rng.random_bool(0.3)).collect();
                group.write(cell, Payload::default(), &kills).unwrap();
            } else {
                kill.into_iter().for_each(|dot| drop(group.remove(&[dot])));
            }
        }
        if rng.random_bool(0.7) {
            group.commit();
        } else {
            group.roll_back();
        }
        let live: DotSet = store.live_dots().collect();
        assert_eq!(store.live_intervals(), live.intervals().count() as u64);
        store.check().unwrap();
    }
    assert!(store.live_intervals() > 50, "the runs were not cut up: {}", store.live_intervals());
    let mut fresh = Sketch::new(SKETCH_KEY);
    store.live_dots().for_each(|dot| fresh.toggle(dot));
    assert_eq!(store.sketch_symbols(0..SYMBOLS_KEPT), fresh.symbols(0..SYMBOLS_KEPT));
}

#[test]
fn a_descent_between_stores_names_the_cells_that_differ() {
    let replica = ReplicaId([1; 16]);
    let mut store = Store::new(NamespaceId([1; 8]), Limits::default());
    let cell = |n: u64| CellId::new(ObjectId::new("set", TypeTag::OR_SET), &n.to_le_bytes()[..]);
    let write = |store: &mut Store, cells: std::ops::Range<u64>, payload: &[u8]| {
        let next = store.context().get(replica) + 1;
        let mut group = store.group(replica, OwnerId([0; 16]), next, Hlc(next));
        for n in cells {
            group.write(cell(n), Payload::from(payload), &[]).unwrap();
        }
        group.commit();
    };
    write(&mut store, 0..2_000, b"");
    let mut other = store.clone();
    write(&mut store, 3_000..3_002, b"");
    write(&mut other, 5..6, b"other");
    let mut descent = Descent::new([3; 16]);
    while let Some(question) = store.descent_question(&mut descent, 10_000) {
        let answer = other.answer_nodes(&question, 10_000);
        store.descent_answer(&mut descent, &answer).unwrap();
    }
    let mut found: Vec<(CellId, Holder)> =
        descent.differences().map(|(address, holder)| (store.cells_at(address).remove(0), holder)).collect();
    found.sort();
    assert_eq!(found, [(cell(5), Holder::Both), (cell(3_000), Holder::Ours), (cell(3_001), Holder::Ours)]);
}

#[test]
fn a_root_asked_for_in_between_is_the_root_of_the_same_writes_without() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    let replica = ReplicaId([1; 16]);
    let fresh = || Store::new(NamespaceId([1; 8]), Limits::default());
    let (mut often, mut once) = (fresh(), fresh());
    for step in 0..3_000u64 {
        let cells: Vec<u64> = (0..rng.random_range(1..4)).map(|_| rng.random_range(0..60)).collect();
        let removes = rng.random_bool(0.3);
        for store in [&mut often, &mut once] {
            let next = store.context().get(replica) + 1;
            let mut group = store.group(replica, OwnerId([0; 16]), next, Hlc(step));
            for cell in &cells {
                let cell = CellId::new(ObjectId::new("set", TypeTag::OR_SET), &cell.to_le_bytes()[..]);
                let kills: Vec<Dot> = group.store().items_of(&cell).iter().map(|item| item.dot).collect();
                if removes {
                    group.remove(&kills).unwrap();
                } else {
                    group.write(cell, Payload::default(), &kills).unwrap();
                }
            }
            group.commit();
        }
        if rng.random_bool(0.3) {
            often.root();
        }
        if step % 50 == 49 {
            often.check().unwrap();
            once.check().unwrap();
        }
        if step % 100 == 99 {
            assert_eq!(often.root(), once.clone().root(), "step {step}");
        }
    }
}

#[test]
fn the_walk_notices_every_part_that_lies() {
    type Lie = fn(&mut Store);
    let replica = ReplicaId([1; 16]);
    let mut sound = Store::new(NamespaceId([1; 8]), Limits::default());
    let mut group = sound.group(replica, OwnerId([0; 16]), 1, Hlc(1));
    for n in 0..100u8 {
        let cell = CellId::new(ObjectId::new(["a", "b"][usize::from(n % 2)], TypeTag::OR_SET), &[n][..]);
        group.write(cell, Payload::default(), &[]).unwrap();
    }
    let kills = [Dot::new(replica, 3)];
    group.remove(&kills).unwrap();
    group.commit();
    sound.root();
    sound.check().unwrap();
    let lies: [(&str, Lie); 14] = [
        ("bytes", |store| store.bytes += 1),
        ("floor bytes", |store| store.floor_bytes += 1),
        ("CRDTs", |store| store.crdts += 1),
        ("free list", |store| store.slots.free_mut().clear()),
        ("free list twice", |store| {
            let free = store.slots.free()[0];
            store.slots.free_mut().push(free);
        }),
        ("cells of an object", |store| store.objects[0].cells += 1),
        ("presence of an object", |store| store.objects[0].present -= 1),
        ("bytes of an object", |store| store.objects[0].bytes += 1),
        ("keys", |store| drop(store.keys.pop_last())),
        ("live dots", |store| assert!(store.live.remove(Dot::new(ReplicaId([1; 16]), 5)).is_some())),
        ("order", |store| store.objects[0].order = super::order::Order::default()),
        ("dirty flag", |store| assert!(!store.slots.at_mut(super::CellIx(0)).set_dirty(true))),
        ("trie", |store| store.trie = crate::merkle::Trie::default()),
        ("expiry", |store| {
            assert!(store.expiring.insert((crate::time::WallMillis(1), Dot::new(ReplicaId([1; 16]), 5))))
        }),
    ];
    for (part, lie) in lies {
        let mut store = sound.clone();
        lie(&mut store);
        assert!(store.check().is_err(), "{part}");
    }
}
