//! A large answer in two kinds of frames: the skeleton, all of a fragment but its items, and the items.
//!
//! A skeleton says which of the dots are live instead of carrying their items. Of the cells it lists those that
//! its items do not tell: cells with further live dots, and cells that a record names. Items travel apart, so
//! that no frame and no buffer is larger than [`Limits::message_bytes_max`], whatever the state's size
//! (DESIGN section 3, rules of transport).

use std::collections::BTreeSet;

use super::{CellPart, Claims, Fragment, Words, cells};
use crate::causal::DotSet;
use crate::cell::{CellId, Hlc, Item, ObjectId};
use crate::codec::{Reader, ReplicaTable, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::id::{Dot, ReplicaId};
use crate::limits::Limits;

impl Fragment {
    /// Appends a skeleton; [`Self::read_skeleton`] reads it. A fallback names all live dots already.
    pub(crate) fn write_skeleton(&self, live: &DotSet, names: &Names, out: &mut Writer) {
        self.write_with(lists_live(&self.claims).then_some(live), names, out);
    }

    /// Reads a skeleton and its live dots, with the checks that need no store.
    pub(crate) fn read_skeleton(
        input: &mut Reader<'_>,
        names: &Names,
        limits: &Limits,
    ) -> Result<(Self, DotSet), FrameError> {
        let (fragment, mut live) = Self::read_with(input, names, limits, lists_live)?;
        if let Claims::Whole { live: all, .. } = &fragment.claims {
            live = all.intersection(&fragment.dots);
        }
        fragment.check_skeleton(&live)?;
        Ok((fragment, live))
    }

    fn check_skeleton(&self, live: &DotSet) -> Result<(), FrameError> {
        match &self.claims {
            Claims::Cells { .. } | Claims::Whole { .. } => {}
            Claims::None => return Err(FrameError::Field { field: "claims", value: 0 }),
            Claims::Sketch { .. } => return Err(FrameError::Field { field: "claims", value: 3 }),
        }
        if let Some(item) = self.check_cells()?.first() {
            return Err(FrameError::OutsideDots { dot: *item, field: "skeleton" });
        }
        self.check_claims()?;
        let (count, max) = (live.len(), live.overlap(&self.dots));
        if count == max { Ok(()) } else { Err(FrameError::Count { field: "live dots", count, max }) }
    }
}

fn lists_live(claims: &Claims) -> bool {
    !matches!(claims, Claims::Whole { .. })
}

/// Most bytes that a frame of items spends on one more replica: its id and where its dots begin.
const REPLICA_BYTES_MAX: usize = 40;

/// Most bytes that a frame of items spends on numbers of objects and columns, and on the flag of expiry.
const COUNTS_BYTES_MAX: usize = 16;

/// Room in a frame of items that come in order of their dots: what they take at most, nearly what they take.
/// Only what paths share with one another is not foreseen.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    /// Replicas that the frame may name.
    replicas: u64,
    /// The column of the item before, and its first dot in the frame.
    column: Option<Dot>,
    object: Option<ObjectId>,
    hlc: Hlc,
}

impl Room {
    /// An empty frame of `bytes` bytes that names at most `replicas` replicas.
    pub(crate) fn new(bytes: usize, replicas: u64) -> Self {
        let bytes = bytes.saturating_sub(COUNTS_BYTES_MAX);
        Self { bytes, replicas, column: None, object: None, hlc: Hlc::default() }
    }

    /// Takes an item in; false if there may be no room for it, and then there is none for any other.
    pub(crate) fn take(&mut self, cell: &CellId, item: &Item) -> bool {
        let Item { dot, hlc, expires, payload } = item;
        let (key, path) = (cell.object.key.as_str().len(), cell.path.as_bytes().len());
        let mut bytes = 2 * varint_len(path as u64) + path + 1;
        // Items of one object stand together, whatever comes between them here.
        if self.object.as_ref() != Some(&cell.object) {
            bytes += 2 * varint_len(key as u64) + key + 1 + 4;
        }
        let first = match self.column {
            Some(first) if first.replica == dot.replica => first,
            Some(_) | None => {
                bytes += REPLICA_BYTES_MAX;
                *dot
            }
        };
        bytes +=
            varint_len(dot.seq.saturating_sub(first.seq).saturating_add(1).saturating_mul(self.replicas));
        bytes += varint_len(payload.len() as u64) + payload.len();
        bytes += varint_len(hlc.wall().0.abs_diff(self.hlc.wall().0) << 2 | 3) + 3 + varint_len(expires.0);
        let Some(left) = self.bytes.checked_sub(bytes) else {
            self.bytes = 0;
            return false;
        };
        (self.bytes, self.column, self.hlc) = (left, Some(first), *hlc);
        if self.object.as_ref() != Some(&cell.object) {
            self.object = Some(cell.object.clone());
        }
        true
    }
}

/// Bytes of `value` as a varint.
fn varint_len(value: u64) -> usize {
    ((64 - (value | 1).leading_zeros()).div_ceil(7)) as usize
}

/// Appends items by cell; `parts` ascend and hold nothing else.
pub(crate) fn write_items(parts: &[CellPart], names: &Names, out: &mut Writer) {
    let items = parts.iter().flat_map(|part| &part.items);
    let mut bottoms: Vec<Dot> = items.map(|item| item.dot).collect();
    bottoms.sort_unstable();
    bottoms.dedup_by_key(|dot| dot.replica);
    let replicas: BTreeSet<ReplicaId> = bottoms.iter().map(|dot| dot.replica).collect();
    let table = ReplicaTable::new(replicas);
    table.write(names, out);
    let bottoms: DotSet = bottoms.into_iter().collect();
    let words = Words { table: &table, names, dots: &bottoms };
    words.write_dots(&bottoms, out);
    cells::write(parts, &words, out);
}

/// Reads what [`write_items`] wrote.
pub(crate) fn read_items(
    input: &mut Reader<'_>,
    names: &Names,
    limits: &Limits,
) -> Result<Vec<CellPart>, FrameError> {
    let table = ReplicaTable::read(names, input)?;
    let nothing = DotSet::default();
    let bottoms = Words { table: &table, names, dots: &nothing }.read_dots("first dots", input)?;
    let parts = cells::read(&Words { table: &table, names, dots: &bottoms }, input, limits)?;
    if let Some(part) = parts.iter().find(|part| part.items.is_empty() || !part.others.is_empty()) {
        let count = part.items.len() as u64;
        return Err(FrameError::Count { field: "items of a cell", count, max: 0 });
    }
    let mut dots: Vec<Dot> = parts.iter().flat_map(|part| &part.items).map(|item| item.dot).collect();
    dots.sort_unstable();
    match dots.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(FrameError::DotTwice { dot: pair[0] }),
        None => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{ObjectId, Payload, TypeTag};
    use crate::time::WallMillis;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    /// Fills a frame of `bytes_max` bytes with `items`, which ascend by dot; gives back what it took and holds.
    fn frame(items: &[(CellId, Item)], replicas: u64, bytes_max: usize) -> (usize, usize) {
        let mut room = Room::new(bytes_max, replicas);
        let mut taken: Vec<_> =
            items.iter().take_while(|(cell, item)| room.take(cell, item)).cloned().collect();
        let count = taken.len();
        taken.sort_by(|one, other| one.0.cmp(&other.0));
        let part = |items: &[(CellId, Item)]| CellPart {
            cell: items[0].0.clone(),
            items: items.iter().map(|(_, item)| item.clone()).collect(),
            others: Vec::new(),
        };
        let parts: Vec<CellPart> = taken.chunk_by(|one, other| one.0 == other.0).map(part).collect();
        let mut out = Writer::default();
        let nobody = ReplicaId([0; 16]);
        write_items(&parts, &Names { from: nobody, to: nobody, base: None }, &mut out);
        (out.len(), count)
    }

    #[test]
    fn a_frame_takes_no_more_than_its_room_whatever_the_items() {
        for seed in 0..300 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let (replicas, objects) = (rng.random_range(1..40u8), rng.random_range(1..30usize));
            let spread = 1u64 << rng.random_range(1..40);
            let mut items = Vec::new();
            for replica in 1..=replicas {
                let mut seq = rng.random_range(1..spread);
                for _ in 0..rng.random_range(1..20) {
                    seq += rng.random_range(1..spread);
                    let object = ObjectId::new("k".repeat(rng.random_range(0..objects)).as_str(), TypeTag(9));
                    let path = vec![rng.random_range(0..3u8); rng.random_range(0..300)];
                    let item = Item {
                        dot: Dot::new(ReplicaId([replica; 16]), seq),
                        hlc: Hlc(rng.random::<u64>() >> rng.random_range(0..64)),
                        expires: WallMillis(rng.random::<u64>() >> rng.random_range(0..64)),
                        payload: Payload::from(vec![7u8; rng.random_range(0..300)].as_slice()),
                    };
                    items.push((CellId::new(object, path.as_slice()), item));
                }
            }
            let bytes_max = rng.random_range(200..20_000);
            let (len, _) = frame(&items, replicas.into(), bytes_max);
            assert!(len <= bytes_max, "{len} bytes in {bytes_max}, seed {seed}");
        }
    }

    #[test]
    fn a_frame_of_like_items_is_nearly_full() {
        let object = ObjectId::new("map", TypeTag::LWW_MAP);
        let item = |seq: u64| {
            let hlc = Hlc(1_750_000_000_000 << 16 | seq);
            let dot = Dot::new(ReplicaId([1; 16]), seq);
            let item = Item { dot, hlc, expires: WallMillis(0), payload: Payload::from(&[7u8; 32][..]) };
            (CellId::new(object.clone(), &blake3::hash(&seq.to_le_bytes()).as_bytes()[..16]), item)
        };
        let items: Vec<_> = (1..=30_000).map(item).collect();
        let (len, count) = frame(&items, 1, 1_000_000);
        assert!(count < items.len() && len > 900_000, "{len} bytes of 1,000,000");
    }
}
