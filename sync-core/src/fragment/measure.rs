//! What a fragment takes in memory at who reads it, for who builds it: never less than a reader charges.
//!
//! Sizes are those of `memory.rs`. A frame that would take more than
//! [`Limits::decode_bytes_max`](crate::limits::Limits::decode_bytes_max) is not sent.

use super::{CellPart, Claims, Fragment, Record};
use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, ObjectId, PathRange};
use crate::memory;

impl Fragment {
    /// Bytes of memory that a reader of a frame with the fragment needs, at most.
    ///
    /// ```
    /// use sync_core::{fragment::Fragment, limits::Limits};
    /// let limits = Limits::default();
    /// assert!(Fragment::default().memory() <= limits.decode_bytes_max());
    /// ```
    pub fn memory(&self) -> usize {
        let parts: usize = self.cells.iter().map(part).sum();
        let keys: usize = self
            .cells
            .chunk_by(|one, next| one.cell.object == next.cell.object)
            .map(|parts| key(&parts[0].cell.object))
            .sum();
        let records: usize = self.records.iter().map(|(_, record)| memory::RECORD + of_record(record)).sum();
        let claims = match &self.claims {
            Claims::None => 0,
            Claims::Cells { context, ranges } => {
                let claimed = |(range, live): &(PathRange, DotSet)| {
                    size_of::<(PathRange, DotSet)>() + range_names(range) + dots(live)
                };
                known(context) + ranges.iter().map(claimed).sum::<usize>()
            }
            Claims::Whole { context, live } => known(context) + dots(live),
            Claims::Sketch { context, symbols, .. } => known(context) + size_of_val(symbols.as_slice()),
        };
        let floors = self.floors.len() * (memory::FLOOR + memory::REPLICA);
        let longest = |bytes: fn(&CellId) -> usize| self.cells.iter().map(|part| bytes(&part.cell)).max();
        let key = longest(|cell| cell.object.key.as_str().len()).map_or(0, memory::names);
        let path = longest(|cell| cell.path.as_bytes().len()).map_or(0, memory::names);
        memory::FRAME + dots(&self.dots) + parts + key + path + keys + records + claims + floors
    }

    /// [`Self::memory`] of a skeleton with these live dots.
    pub(crate) fn skeleton_memory(&self, live: &DotSet) -> usize {
        let cut = match &self.claims {
            Claims::Whole { live: all, .. } => all.memory() + self.dots.memory(),
            Claims::None | Claims::Cells { .. } | Claims::Sketch { .. } => 0,
        };
        self.memory() + cut + 2 * dots(live)
    }
}

/// With an entry of the replica table for each column.
fn dots(dots: &DotSet) -> usize {
    dots.memory() + dots.columns().count() * memory::REPLICA
}

fn known(context: &CausalContext) -> usize {
    context.len() * (memory::CONTEXT_COLUMN + memory::REPLICA)
}

fn part(part: &CellPart) -> usize {
    let items: usize = part.items.iter().map(|item| memory::item(item.payload.len())).sum();
    let others = part.others.len() * memory::OTHER;
    memory::CELL + memory::small(part.cell.path.as_bytes().len()) + items + others
}

fn key(object: &ObjectId) -> usize {
    memory::text(object.key.as_str().len())
}

/// What a record takes besides its place.
pub(super) fn of_record(record: &Record) -> usize {
    let cell =
        |cell: &CellId| memory::RECORD_CELL + key(&cell.object) + memory::small(cell.path.as_bytes().len());
    match record {
        Record::Cells(cells) => cells.iter().map(cell).sum(),
        Record::Range(range) => memory::RECORD_RANGE + range_names(range),
    }
}

fn range_names(range: &PathRange) -> usize {
    let until = range.until.as_ref().map_or(0, |until| memory::small(until.as_bytes().len()));
    key(&range.object) + memory::small(range.from.as_bytes().len()) + until
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::cell::{Hlc, Item, Path, Payload, TypeTag};
    use crate::codec::{Reader, Writer};
    use crate::dictionary::Names;
    use crate::error::FrameError;
    use crate::id::{Dot, ReplicaId};
    use crate::limits::Limits;
    use crate::merkle::sketch::Symbol;
    use crate::time::WallMillis;

    fn names() -> Names {
        Names { from: ReplicaId([0; 16]), to: ReplicaId([255; 16]), base: None }
    }

    fn some_cell(rng: &mut Xoshiro256PlusPlus) -> CellId {
        let object =
            ObjectId::new("k".repeat(rng.random_range(0..400)).as_str(), TypeTag(rng.random_range(1..4)));
        let mut path = vec![7u8; rng.random_range(0..1_000) * rng.random_range(0..2)];
        path.push(rng.random());
        CellId::new(object, path.as_slice())
    }

    fn some_dots(rng: &mut Xoshiro256PlusPlus, from: u64) -> DotSet {
        let mut dots = DotSet::default();
        for replica in 1..=rng.random_range(1..9u8) {
            for _ in 0..rng.random_range(1..40) {
                let first = from + 1_000 * u64::from(replica % 2) + rng.random_range(0..500);
                dots.insert_range(ReplicaId([replica; 16]), first, first + rng.random_range(0..3));
            }
        }
        dots
    }

    /// A fragment that holds together, and its items' dots.
    fn some_fragment(rng: &mut Xoshiro256PlusPlus) -> (Fragment, DotSet) {
        let (dots, others) = (some_dots(rng, 1), some_dots(rng, 5_000));
        let context: CausalContext = (0..12u8).map(|n| (ReplicaId([n; 16]), 9_000)).collect();
        let mut free: Vec<Dot> = dots.dots().collect();
        let mut other_dots: Vec<Dot> = others.dots().collect();
        let (mut live, mut cells) = (DotSet::default(), Vec::new());
        let mut ids: BTreeSet<CellId> = BTreeSet::new();
        (0..rng.random_range(0..60)).for_each(|_| _ = ids.insert(some_cell(rng)));
        for cell in ids {
            let take = |list: &mut Vec<Dot>, rng: &mut Xoshiro256PlusPlus| {
                let left = list.len() - rng.random_range(0..4).min(list.len());
                let mut taken = list.split_off(left);
                taken.sort_unstable();
                taken
            };
            let item = |(dot, len): (Dot, usize)| Item {
                dot,
                hlc: Hlc(dot.seq),
                expires: WallMillis(0),
                payload: Payload::from(vec![1u8; len].as_slice()),
            };
            let taken = take(&mut free, rng);
            taken.iter().for_each(|dot| live.insert(*dot));
            let items = taken.into_iter().map(|dot| item((dot, rng.random_range(0..60)))).collect();
            cells.push(CellPart { cell, items, others: take(&mut other_dots, rng) });
        }
        let range = |cell: CellId, until: bool| PathRange {
            object: cell.object,
            from: cell.path,
            until: until.then(|| Path::from(&[255u8; 30][..])),
        };
        let claims = match rng.random_range(0..4) {
            0 => Claims::None,
            1 => {
                let ranges = (0..rng.random_range(0..4))
                    .map(|at| (range(some_cell(rng), at % 2 == 0), some_dots(rng, 1)))
                    .collect();
                Claims::Cells { context, ranges }
            }
            2 => {
                let mut all = live.clone();
                all.union(&others);
                Claims::Whole { context, live: all }
            }
            _ => {
                let symbols =
                    (0..rng.random_range(1..50)).map(|at| Symbol::from_words([at, at, at])).collect();
                Claims::Sketch { context, answer: 1, symbols }
            }
        };
        let record = |rng: &mut Xoshiro256PlusPlus| match rng.random_range(0..3) {
            0 => Record::Range(Box::new(range(some_cell(rng), true))),
            _ => {
                let cells: BTreeSet<CellId> = (0..rng.random_range(0..5)).map(|_| some_cell(rng)).collect();
                Record::Cells(cells.into_iter().collect())
            }
        };
        let records = dots.dots().take(rng.random_range(0..30)).map(|dot| (dot, record(rng))).collect();
        let floors = dots.columns().map(|(replica, _)| (replica, 1)).collect();
        (Fragment { dots, cells, claims, records, floors, horizon: WallMillis(0) }, live)
    }

    #[test]
    fn a_reader_is_charged_no_more_than_was_measured_and_not_much_less() {
        let (mut measured, mut charged) = (0, 0);
        for seed in 0..300 {
            let (fragment, _) = some_fragment(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
            let mut out = Writer::default();
            fragment.write(&names(), &mut out);
            let bytes = out.finish();
            let memory = fragment.memory();
            let mut input = Reader::within(&bytes, memory);
            assert_eq!(
                Fragment::read(&mut input, &names(), &Limits::default()).as_ref(),
                Ok(&fragment),
                "{seed}"
            );
            let taken = input.taken();
            let mut input = Reader::within(&bytes, taken - 1);
            let refused = Fragment::read(&mut input, &names(), &Limits::default());
            assert!(matches!(refused, Err(FrameError::Memory { .. })), "seed {seed}: {refused:?}");
            (measured, charged) = (measured + memory, charged + taken);
        }
        assert!(measured < charged * 4 / 3, "{measured} measured, {charged} charged");
    }

    #[test]
    fn a_skeleton_is_charged_no_more_than_was_measured() {
        for seed in 0..300 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let (mut fragment, live) = some_fragment(&mut rng);
            fragment.cells.iter_mut().for_each(|part| part.items.clear());
            if matches!(fragment.claims, Claims::None | Claims::Sketch { .. }) {
                let context = (0..12u8).map(|n| (ReplicaId([n; 16]), 9_000)).collect();
                fragment.claims = Claims::Cells { context, ranges: Vec::new() };
            }
            let mut out = Writer::default();
            fragment.write_skeleton(&live, &names(), &mut out);
            let bytes = out.finish();
            let mut input = Reader::within(&bytes, fragment.skeleton_memory(&live));
            let read = Fragment::read_skeleton(&mut input, &names(), &Limits::default());
            assert_eq!(read, Ok((fragment, live)), "seed {seed}");
        }
    }
}
