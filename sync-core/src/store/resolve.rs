//! Where the new items of a fragment go, and which of them take the place of what ends.
//!
//! Each step is done for all items before the next one: a step is a read of far memory, and reads that wait for nothing
//! go on side by side. An item in whose cell something ends needs no look into the table of all cells: the cell is known
//! by what ends there, and only its name is looked for, among those of the fragment.

use super::join::{By, End};
use super::lookup::Hashed;
use super::slab::ObjectIx;
use super::{CellIx, Store};
use crate::cell::{CellId, Item, ObjectId};

/// A new item of a fragment, and its cell.
pub(super) type Fresh<'a> = (&'a CellId, &'a Item);

/// Where the name of a new cell goes in the table of all cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) hash: u32,
    /// As [`Lookup::first`](super::lookup::Lookup::first) gave it.
    pub(super) place: usize,
}

/// Where a new item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// To a cell that is there.
    Cell(CellIx),
    /// To the place of the one item of a cell, which ends.
    Place(CellIx),
    /// To a cell that is not there; where its name goes, if there is a table.
    New(Option<Spot>),
    /// To the cell of the item before.
    Same,
    /// Nobody has looked for the cell.
    Unknown,
}

/// The cells of a fragment by the hashes of their names: open addressing, and so empty that few
/// names are in each other's way.
struct Names {
    /// 0, or one more than where the first item of the cell is.
    table: Vec<u32>,
}

impl Names {
    fn new(hashes: &[u32], to: &[To]) -> Self {
        let mut names = Self { table: vec![0; hashes.len() * 4] };
        for (at, (hash, to)) in (1..).zip(hashes.iter().zip(to)) {
            if *to != To::Same {
                let place = names.places(*hash).find(|place| names.table[*place] == 0);
                names.table[place.expect("a quarter is full at most")] = at;
            }
        }
        names
    }

    fn places(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let len = self.table.len();
        let home = usize::try_from((u64::from(hash) * len as u64) >> 32).expect("it is below the length");
        (home..len).chain(0..home)
    }

    fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let held = self.places(hash).map(|place| self.table[place] as usize).take_while(|at| *at != 0);
        held.map(|at| at - 1).find(|at| is_it(*at))
    }
}

impl Store {
    /// Looks for the cells of `fresh`, in which items of one cell stand side by side, and says of what is `dead` if such
    /// items are in its cell.
    pub(super) fn resolve(&self, dead: &mut [End], fresh: &[Fresh<'_>]) -> Vec<To> {
        let hashes = self.hashes(fresh);
        let mut before: Option<&CellId> = None;
        let to = fresh.iter().map(|(cell, _)| match before.replace(cell) {
            Some(before) if before == *cell => To::Same,
            Some(_) | None => To::New(None),
        });
        let mut to: Vec<To> = to.collect();
        self.meet(dead, fresh, &hashes, &mut to);
        self.look_up(fresh, &hashes, &mut to);
        to
    }

    fn hashes<'a>(&self, fresh: &[Fresh<'a>]) -> Vec<u32> {
        let mut shared: Option<(&ObjectId, Hashed)> = None;
        let hash = |(cell, _): &Fresh<'a>| {
            let (_, hashed) = match shared.filter(|(object, _)| **object == cell.object) {
                Some(same) => same,
                None => *shared.insert((&cell.object, self.hashed(&cell.object))),
            };
            hashed.path(cell.path.as_bytes())
        };
        fresh.iter().map(hash).collect()
    }

    fn hashed(&self, object: &ObjectId) -> Hashed {
        Hashed::new(self.lookup_key, object.key.as_str().as_bytes(), object.ty.0)
    }

    /// Finds the items in whose cells something ends.
    fn meet(&self, dead: &mut [End], fresh: &[Fresh<'_>], hashes: &[u32], to: &mut [To]) {
        if dead.is_empty() || fresh.is_empty() {
            return;
        }
        self.slots.touch(dead.iter().map(|end| end.ix));
        let names = Names::new(hashes, to);
        let mut shared: Option<(ObjectIx, Hashed)> = None;
        for end in dead {
            let slot = self.slots.at(end.ix);
            let (object, path) = (self.object_id(slot), self.slots.path(slot));
            let (_, hashed) = match shared.filter(|(ix, _)| *ix == slot.object) {
                Some(same) => same,
                None => *shared.insert((slot.object, self.hashed(object))),
            };
            let is_it = |at: usize| {
                let (cell, _) = fresh[at];
                cell.path.as_bytes() == path && cell.object == *object
            };
            let Some(at) = names.find(hashed.path(path), is_it) else { continue };
            if fresh[at].1.expires.0 == 0 && self.is_replaceable(end.ix) {
                (end.by, to[at]) = (By::Replaced, To::Place(end.ix));
            } else {
                (end.by, to[at]) = (By::Item, To::Cell(end.ix));
            }
        }
    }

    /// Looks for the other cells.
    fn look_up(&self, fresh: &[Fresh<'_>], hashes: &[u32], to: &mut [To]) {
        let open = to.iter_mut().zip(fresh.iter().zip(hashes)).filter(|(to, _)| matches!(to, To::New(_)));
        let open = open.map(|(to, ((cell, _), hash))| (to, *cell, *hash));
        if !self.lookup.is_kept() {
            open.for_each(|(to, cell, _)| *to = self.find(cell).map_or(To::New(None), To::Cell));
            return;
        }
        let open: Vec<(&mut To, &CellId, u32)> = open.collect();
        self.lookup.touch(open.iter().map(|(.., hash)| *hash));
        let first: Vec<Result<CellIx, usize>> =
            open.iter().map(|(.., hash)| self.lookup.first(*hash)).collect();
        self.slots.touch(first.iter().flatten().copied());
        for ((to, cell, hash), first) in open.into_iter().zip(first) {
            *to = match first {
                Ok(ix) if !self.cell_id_is_not(ix, cell) => To::Cell(ix),
                // Two names of one hash.
                Ok(_) => self.find(cell).map_or(To::Unknown, To::Cell),
                Err(place) => To::New(Some(Spot { hash, place })),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::DotSet;
    use crate::cell::Hlc;
    use crate::id::{Dot, NamespaceId, OwnerId, ReplicaId};
    use crate::limits::Limits;
    use crate::store::Group;
    use crate::time::WallMillis;
    use crate::types::{lww_map, or_set};
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    fn write(store: &mut Store, replica: ReplicaId, fill: impl FnOnce(&mut Group<'_>)) {
        let next = store.context().get(replica) + 1;
        let mut group = store.group(replica, OwnerId(replica.0), next, Hlc(next));
        fill(&mut group);
        group.commit();
    }

    #[test]
    fn items_go_where_looking_for_each_cell_alone_leads() {
        let (ours, theirs) = (ReplicaId([1; 16]), ReplicaId([2; 16]));
        let mut seen = [0; 4];
        for seed in 0..60 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut here = Store::new(NamespaceId::named("default"), Limits::default());
            let names: u16 = [5, 40, 300][rng.random_range(0..3)];
            let some = |store: &mut Store, rng: &mut Xoshiro256PlusPlus, replica: ReplicaId| {
                let (key, name) = (["a", "b"][rng.random_range(0..2)], rng.random_range(0..names));
                let expires = WallMillis(1_000 * rng.random_range(1..9u64));
                let (long, is_map) = ([7; 70], rng.random_bool(0.5));
                write(store, replica, |group| {
                    let fill = |group: &mut Group<'_>| match is_map {
                        true => {
                            lww_map::put(group, key, &name.to_be_bytes(), &long[usize::from(name % 70)..])
                        }
                        false => or_set::add(group, key, &name.to_be_bytes()),
                    };
                    if name % 7 == 0 { group.expiring(expires, fill) } else { fill(group) }.unwrap();
                });
            };
            (0..names).for_each(|_| some(&mut here, &mut rng, ours));
            let mut there = here.clone();
            (0..rng.random_range(1..80)).for_each(|_| some(&mut there, &mut rng, theirs));
            // Some of it is concurrent with what was overwritten there.
            (0..rng.random_range(0..9)).for_each(|_| some(&mut here, &mut rng, ours));
            let mut dots = DotSet::default();
            dots.insert_range(theirs, 1, there.context().get(theirs));
            let ended = here.live_dots().filter(|dot| there.context().contains(*dot) && !there.is_live(*dot));
            ended.collect::<Vec<Dot>>().into_iter().for_each(|dot| dots.insert(dot));
            let fragment = there.push_fragment(dots);
            let (mut plan, fresh) = here.plan(&fragment);
            let to = here.resolve(&mut plan.dead, &fresh);
            for (at, ((cell, _), to)) in fresh.iter().zip(&to).enumerate() {
                let ix = here.find(cell);
                match to {
                    To::Cell(found) => assert_eq!(ix, Some(*found)),
                    To::Place(found) => {
                        assert_eq!(ix, Some(*found));
                        let ends = plan.dead.iter().filter(|end| end.ix == *found);
                        assert!(ends.map(|end| end.by).eq([By::Replaced]));
                    }
                    To::New(_) | To::Unknown => assert_eq!(ix, None),
                    To::Same => assert_eq!(fresh[at - 1].0, *cell),
                }
                let kind = match to {
                    To::Cell(_) => 0,
                    To::Place(_) => 1,
                    To::New(_) | To::Unknown => 2,
                    To::Same => 3,
                };
                seen[kind] += 1;
            }
            for end in &plan.dead {
                let is_written = fresh.iter().any(|(cell, _)| here.find(cell) == Some(end.ix));
                assert_eq!(end.is_overwritten(), is_written, "seed {seed}");
            }
        }
        assert!(seen[..3].iter().all(|count| *count > 100), "{seen:?}");
    }
}
