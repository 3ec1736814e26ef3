//! An item takes the place of the one in its cell: most of all writes to a cell that is there.
//!
//! To end the old item and then put the new one would look at the cell, its object and the live dots twice, and make the
//! cell hollow in between. The effect is the same; where something has to see the two steps apart, they are taken apart.

use super::{CellIx, ItemRef, Store};
use crate::id::Dot;
use crate::mutant::{self, Mutant};

impl Store {
    /// True if the cell at `ix` has one item, and one that expires at no time may take its place in one step.
    #[inline]
    pub(super) fn is_replaceable(&self, ix: CellIx) -> bool {
        self.capture.is_none() && self.answers.is_empty() && self.slots.has_one_for_good(ix)
    }

    /// Ends `old`, which is [`Self::is_replaceable`], and makes `item`, which does not expire, live in the same cell. The
    /// dot of `item` must not be live.
    pub(super) fn replace(&mut self, ix: CellIx, old: Dot, item: &ItemRef<'_>) {
        self.leave_place(ix, old);
        self.take_place(ix, item);
    }

    /// The dot `old` ends, which is [`Self::is_replaceable`] in the cell at `ix`; [`Self::take_place`] must follow.
    #[inline]
    pub(super) fn leave_place(&mut self, ix: CellIx, old: Dot) {
        self.note_item(old);
        let was = self.live.remove(old);
        debug_assert_eq!(was, Some(ix), "what is replaced is live");
        self.sketch.toggle(old, &self.live);
    }

    /// Makes `item`, which does not expire, live in the place of the item of the cell at `ix`, whose dot has ended.
    #[inline]
    pub(super) fn take_place(&mut self, ix: CellIx, item: &ItemRef<'_>) {
        self.note_item(item.dot);
        let (packed, was_live) = self.live.insert(item.dot, ix);
        debug_assert!(!was_live, "a dot lives in exactly one cell");
        self.sketch.toggle(item.dot, &self.live);
        let (before, after) = (self.slots.only_len(ix), item.payload.len());
        if before != after {
            self.resize(ix, before as u64, after as u64);
        }
        self.slots.replace(ix, item, packed, &self.live);
        self.mark_dirty(ix);
    }

    /// Puts `old` back into the place that the write of `by` took.
    pub(super) fn take_back(&mut self, by: Dot, old: &ItemRef<'_>) {
        let ix = self.live.get(by).expect("what the group wrote and did not kill is live");
        if !mutant::is(Mutant::RollBackLeavesWrites) {
            self.end(by);
        }
        if !mutant::is(Mutant::RollBackLeavesKills) {
            self.put_at(ix, old);
        }
        self.drop_hollow();
    }

    /// The payload of the cell at `ix` takes `after` bytes instead of `before`.
    fn resize(&mut self, ix: CellIx, before: u64, after: u64) {
        let slot = self.slots.at(ix);
        let object = &mut self.objects[slot.object.0 as usize];
        let is_floor = object.is_floor(self.slots.path(slot));
        if !is_floor && after < before {
            self.fullest.shrinks(slot.object, object.size());
        }
        let resized = |bytes: u64| bytes + after - before;
        (object.bytes, self.bytes) = (resized(object.bytes), resized(self.bytes));
        if is_floor {
            object.floor_bytes = resized(object.floor_bytes);
            self.floor_bytes = resized(self.floor_bytes);
        } else if after > before {
            self.fullest.grew(slot.object, object.size());
        }
    }
}
