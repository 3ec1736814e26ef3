//! A large answer in two kinds of frames: the skeleton, all of a fragment but its items, and the items.
//!
//! A skeleton says which of the dots are live instead of carrying their items. Of the cells it lists those that
//! its items do not tell: cells with further live dots, and cells that a record names. Items travel apart, so
//! that no frame and no buffer is larger than [`Limits::message_bytes_max`], whatever the state's size
//! (DESIGN section 3, rules of transport).

use std::collections::BTreeSet;

use super::{CellPart, Claims, Fragment, Words, cells};
use crate::causal::DotSet;
use crate::cell::{CellId, Item};
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

/// Most bytes that a frame spends on one item beside its key, path and payload: twice a shared length
/// and a length (4 each, 8), type, counts and shape (6), own dot (10), payload length (3), clock and expiry (17).
const ITEM_BYTES_MAX: usize = 44;

/// Most bytes that a frame spends on one more replica: its id and where its dots begin.
pub(crate) const REPLICA_BYTES_MAX: usize = 40;

/// An upper bound of what an item takes in a frame of items.
pub(crate) fn item_bytes_max(cell: &CellId, item: &Item) -> usize {
    cell.object.key.as_str().len() + cell.path.as_bytes().len() + item.payload.len() + ITEM_BYTES_MAX
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
