//! Filling an empty store: what a newcomer is given, all at once.
//!
//! The effect is that of [`Store::put`] item by item. But cells take their places as the items come, which is the
//! order of dots, so that nothing is looked up; the order of paths is made once, from prefixes; and what only a
//! comparison with a peer needs, the sketch, is owed if the items are many.

use super::order::Order;
use super::slab::ObjectIx;
use super::{CellIx, ItemRef, Store, lookup};
use crate::cell::{CellId, Item, ObjectId};
use crate::small::prefix;

/// A cell by what it is sorted by.
struct Sorted {
    object: ObjectIx,
    prefix: u64,
    ix: CellIx,
}

impl Store {
    /// Makes `items`, about `count` of them, live in a store without cells; each dot comes once. Counts those that
    /// come to stand beside others in conflict.
    pub(super) fn fill(&mut self, items: impl Iterator<Item = (CellId, Item)>, count: usize) -> u64 {
        debug_assert!(self.live.is_empty() && self.hollow.is_empty(), "an empty store is filled");
        self.sketch.fills(count);
        self.slots.reserve(count);
        self.dirty.reserve(count);
        let mut places = Vec::with_capacity(count);
        let mut last: Option<(ObjectId, ObjectIx)> = None;
        for (cell, item) in items {
            let object = match &last {
                Some((id, ix)) if *id == cell.object => *ix,
                Some(_) | None => {
                    let ix = self.object_of(&cell.object);
                    last = Some((cell.object.clone(), ix));
                    ix
                }
            };
            places.push(self.fill_one(&cell, object, &ItemRef::from(&item)));
        }
        let mut sorted = self.sorted(&places);
        let conflicts = self.merge_twins(&mut sorted);
        for cells in sorted.chunk_by(|one, other| one.object == other.object) {
            self.fill_object(cells);
        }
        self.fill_lookup(&places);
        conflicts
    }

    /// A cell for the item alone, wherever the cells of its name are.
    fn fill_one(&mut self, cell: &CellId, object: ObjectIx, item: &ItemRef<'_>) -> CellIx {
        let bytes = Self::accounted(&cell.object, cell.path.as_bytes().len(), item.payload.len());
        self.bytes += bytes;
        let held = &mut self.objects[object.0 as usize];
        held.bytes += bytes;
        if cell.object.ty.is_presence(cell.path.as_bytes()) {
            held.present += 1;
        } else {
            held.floor_bytes += bytes;
        }
        if item.expires.0 != 0 {
            self.expiring.insert((item.expires, item.dot));
        }
        let ix = self.slots.add(object, &cell.path);
        self.note_place(ix);
        self.note_item(item.dot);
        let (packed, was_live) = self.live.insert(item.dot, ix);
        debug_assert!(!was_live, "a dot lives in exactly one cell");
        self.sketch.toggle(item.dot, &self.live);
        self.slots.insert(ix, item, packed, &self.live);
        self.slots.at_mut(ix).set_dirty(true);
        self.dirty.push(ix);
        ix
    }

    /// The cells at `places`, by object and path.
    fn sorted(&self, places: &[CellIx]) -> Vec<Sorted> {
        let path = |ix: CellIx| self.slots.path(self.slot(ix));
        let cell = |ix: &CellIx| Sorted { object: self.slot(*ix).object, prefix: prefix(path(*ix)), ix: *ix };
        let mut sorted: Vec<Sorted> = places.iter().map(cell).collect();
        // Sorting keeps the order in which cells of one name came.
        sorted.sort_by(|one, other| {
            let by_prefix = (one.object.0, one.prefix).cmp(&(other.object.0, other.prefix));
            by_prefix.then_with(|| path(one.ix).cmp(path(other.ix)))
        });
        sorted
    }

    /// Items of one cell came apart: they move to the place of the first. Counts those in conflict.
    fn merge_twins(&mut self, sorted: &mut Vec<Sorted>) -> u64 {
        let mut conflicts = 0;
        sorted.dedup_by(|twin, first| {
            if first.object != twin.object || first.prefix != twin.prefix {
                return false;
            }
            let Self { slots, objects, .. } = self;
            let path = slots.path(slots.at(first.ix));
            let same = path == slots.path(slots.at(twin.ix));
            if same {
                let object = &mut objects[first.object.0 as usize];
                conflicts += u64::from(object.id.ty.has_conflicts(path));
                object.present -= u64::from(object.id.ty.is_presence(path));
                for item in self.items_in(twin.ix).to_vec() {
                    let (packed, _) = self.live.insert(item.dot, first.ix);
                    self.slots.insert(first.ix, &ItemRef::from(&item), packed, &self.live);
                }
                self.slots.remove(twin.ix);
            }
            same
        });
        conflicts
    }

    /// Gives an object its cells, all it has.
    fn fill_object(&mut self, sorted: &[Sorted]) {
        let cells: Vec<CellIx> = sorted.iter().map(|cell| cell.ix).collect();
        let at = sorted[0].object;
        let Self { objects, slots, .. } = self;
        let object = &mut objects[at.0 as usize];
        object.order = Order::of_sorted(&cells, &&*slots);
        object.cells = cells.len() as u64;
        self.floor_bytes += object.floor_bytes;
        if object.present == 0 {
            return;
        }
        self.crdts += 1;
        self.fullest.grew(at, object.size());
        let key = object.id.key.clone();
        let types = self.keys.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let is_other = |ix: &ObjectIx| *ix != at && self.objects[ix.0 as usize].present > 0;
        if types.iter().any(|(_, ix)| is_other(ix)) {
            self.types_met.push(key);
        }
    }

    /// In the order of places, in which cells are read one behind the other.
    fn fill_lookup(&mut self, places: &[CellIx]) {
        if !self.lookup.is_kept() && self.slots.len() < lookup::CELLS_MIN {
            return;
        }
        self.lookup.reserve(places.len());
        for ix in places.iter().copied() {
            if self.slot(ix).is_held() {
                let hash = self.hash_of(ix);
                self.lookup.insert(hash, ix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Hlc, Payload, TypeTag};
    use crate::id::{Dot, NamespaceId, ReplicaId};
    use crate::limits::Limits;
    use crate::time::WallMillis;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    fn some_items(rng: &mut Xoshiro256PlusPlus) -> Vec<(CellId, Item)> {
        let types = [TypeTag::OR_SET, TypeTag::LWW_MAP, TypeTag::PN_COUNTER];
        let (count, spread) = (rng.random_range(1..2_500u64), rng.random_range(1..4_000u16));
        let item = |seq: u64| {
            let key = ["a", "b", "counter"][rng.random_range(0..3)];
            let path = vec![rng.random_range(0..3u8); rng.random_range(14..20)];
            let path = [path.as_slice(), &rng.random_range(0..spread).to_le_bytes()].concat();
            let cell = CellId::new(ObjectId::new(key, types[rng.random_range(0..3)]), path.as_slice());
            let dot = Dot::new(ReplicaId([rng.random_range(1..4); 16]), seq);
            let expires = WallMillis(rng.random_range(0..2u64) * 9);
            (cell, Item { dot, hlc: Hlc(seq), expires, payload: Payload::from(&b"value"[..]) })
        };
        (1..=count).map(item).collect()
    }

    fn listed(store: &Store) -> Vec<(CellId, Item)> {
        let cells = store.objects("").flat_map(|info| {
            let object = info.object.clone();
            let cells = store.cells(info.object.key.as_str(), info.object.ty);
            let of = move |path: &[u8]| CellId { object: object.clone(), path: path.into() };
            cells
                .flat_map(move |(path, items)| {
                    items.iter().map(|item| (of(path), item.to_item())).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        });
        cells.collect()
    }

    #[test]
    fn a_store_that_is_filled_is_one_whose_items_were_put_one_by_one() {
        for seed in 0..60 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let empty = Store::new(NamespaceId::named("default"), Limits::default());
            let (items, mut filled, mut put) = (some_items(&mut rng), empty.clone(), empty);
            if rng.random_bool(0.3) {
                // What was there before has left places that are free.
                for store in [&mut filled, &mut put] {
                    let old = some_items(&mut Xoshiro256PlusPlus::seed_from_u64(seed + 1_000));
                    old.iter().for_each(|(cell, item)| store.put(cell, &item.into()));
                    store.root();
                    old.iter().for_each(|(_, item)| drop(store.kill(item.dot)));
                }
            }
            filled.fill(items.iter().cloned(), items.len());
            items.iter().for_each(|(cell, item)| put.put(cell, &item.into()));
            for step in 0..3 {
                assert_eq!(listed(&filled), listed(&put), "seed {seed}");
                assert!(filled.objects("").eq(put.objects("")) && filled.live.dots().eq(put.live.dots()));
                assert_eq!((filled.bytes, filled.crdts), (put.bytes, put.crdts));
                assert_eq!(filled.live.intervals(), put.live.intervals());
                assert_eq!(filled.expiring, put.expiring);
                for (cell, _) in &items {
                    assert_eq!(filled.items_of(cell), put.items_of(cell));
                }
                filled.sketch.pay(&filled.live, rng.random_range(0..400));
                if step == 1 {
                    assert_eq!(filled.root(), put.root());
                }
                // Some die and some come, also while the sketch is owed in part.
                for store in [&mut filled, &mut put] {
                    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed * 10 + step);
                    let some: Vec<_> = items.iter().filter(|_| rng.random_bool(0.3)).collect();
                    for (cell, item) in some {
                        match store.kill(item.dot) {
                            Some(_) => {}
                            None => store.put(cell, &item.into()),
                        }
                    }
                }
            }
            assert_eq!(filled.sketch_symbols(0..4_096), put.sketch_symbols(0..4_096));
            assert_eq!(filled.root(), put.root());
        }
    }
}
