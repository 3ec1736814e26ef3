//! Cells of all forms give back what was put in.

use super::*;
use crate::cell::Hlc;
use crate::id::ReplicaId;
use crate::store::wide::Entry;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

#[test]
fn a_cell_of_any_form_gives_back_what_was_put_in() {
    assert_eq!((size_of::<CellSlot>(), size_of::<Entry>()), (48, 64));
    for seed in 0..60 {
        let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
        let path =
            Path::from(vec![7; [0, 3, 16, 22, 23, 25, 60, 64, 300][rng.random_range(0..9)]].as_slice());
        let (mut slots, mut live, mut plain) = (Slots::default(), Live::default(), BTreeMap::new());
        let ix = slots.add(ObjectIx(0), &path);
        for seq in 1..200u64 {
            if plain.len() < rng.random_range(1..4) {
                let len = [0, 1, 3, 9, 10, 22, 23, 26, 40, 47, 48, 63, 64, 200][rng.random_range(0..14)];
                let expires = WallMillis(if rng.random_bool(0.2) { seq } else { 0 });
                let dot = Dot::new(ReplicaId([rng.random_range(1..3); 16]), seq);
                let payload = Payload::from(vec![rng.random(); len].as_slice());
                let item = Item { dot, hlc: Hlc(seq * 3), expires, payload };
                let (packed, _) = live.insert(dot, ix);
                let beside = slots.insert(ix, &ItemRef::from(&item), packed, &live);
                assert_eq!(beside, !plain.is_empty());
                plain.insert(dot, item);
            } else {
                let dot = *plain.keys().nth(rng.random_range(0..plain.len())).unwrap();
                plain.remove(&dot);
                live.remove(dot);
                slots.end(ix, dot, &live);
            }
            let slot = slots.at(ix);
            assert_eq!((slots.path(slot), slots.to_path(slot)), (path.as_bytes(), path.clone()));
            let items = slots.items(slot, &live);
            assert_eq!((items.len(), items.is_empty()), (plain.len(), plain.is_empty()));
            assert!(items.to_vec().iter().eq(plain.values()));
            assert_eq!(items.last().map(|item| item.to_item()).as_ref(), plain.values().next_back());
        }
        slots.remove(ix);
        assert_eq!(slots.wide.places(), 0, "the last one gives all back");
    }
}

#[test]
fn places_of_wide_cells_are_given_back_and_the_cells_stay() {
    let (mut slots, mut live) = (Slots::default(), Live::default());
    let payload = |at: u32| Payload::from([at.to_le_bytes().as_slice(), &[7; 40]].concat().as_slice());
    let mut cells = Vec::new();
    for at in 0..8_000u32 {
        let ix = slots.add(ObjectIx(0), &Path::from(&at.to_be_bytes()[..]));
        let dot = Dot::new(ReplicaId([1; 16]), u64::from(at) + 1);
        let item = Item { dot, hlc: Hlc(1), expires: WallMillis(0), payload: payload(at) };
        let (packed, _) = live.insert(dot, ix);
        slots.insert(ix, &ItemRef::from(&item), packed, &live);
        cells.push((at, ix));
    }
    cells.iter().filter(|(at, _)| at % 8 != 3).for_each(|(_, ix)| slots.remove(*ix));
    for _ in 0..8 {
        slots.shrink();
    }
    assert!(slots.wide.places() <= 1_024, "{} places for 1,000 cells", slots.wide.places());
    for (at, ix) in cells.iter().filter(|(at, _)| at % 8 == 3) {
        let slot = slots.at(*ix);
        assert_eq!(slots.path(slot), at.to_be_bytes());
        assert_eq!(slots.one(slot, &live).map(|item| item.payload.to_payload()), Some(payload(*at)));
    }
}
