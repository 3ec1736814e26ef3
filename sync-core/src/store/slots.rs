//! Cells in their compact form: one of few bytes and one item takes 48 bytes, and no allocation.
//!
//! Path and payload share [`SHORT_BYTES`](super::slot::SHORT_BYTES) bytes in the slot, the dot takes eight. What does not fit is *wide*, and its slot
//! refers to an entry of a second slab (`wide.rs`): a line of the cache for path and payload; or, for long ones, for an item that
//! expires and for several items, what the API knows. A cell takes the least form that fits whenever it is written
//! again. Readers see no form, but [`Items`].

use super::CellIx;
use super::items::{ItemRef, Items, PayloadRef};
use super::live::Live;
use super::names::Packed;
use super::shrink::trim;
use super::slab::ObjectIx;
use super::slot::{CellSlot, Form, LIVE, MANY, SHORT_BYTES, WIDE, write_behind};
use super::wide::{MEDIUM_BYTES, Rest, Wide};
use crate::cell::{Item, Path, Payload};
use crate::id::Dot;
use crate::time::WallMillis;

/// The slab of cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    slots: Vec<CellSlot>,
    free: Vec<CellIx>,
    wide: Wide,
}

impl Slots {
    /// Places, free ones too.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// True if there is no place.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The free places.
    pub(super) fn free(&self) -> &[CellIx] {
        &self.free
    }

    /// For the shrinking of the slab, and for tests.
    pub(super) fn free_mut(&mut self) -> &mut Vec<CellIx> {
        &mut self.free
    }

    #[inline]
    pub(super) fn at(&self, ix: CellIx) -> &CellSlot {
        &self.slots[ix.0 as usize]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, ix: CellIx) -> &mut CellSlot {
        &mut self.slots[ix.0 as usize]
    }

    /// The slot at a place that may lie behind the last one.
    pub(super) fn get(&self, ix: CellIx) -> Option<&CellSlot> {
        self.slots.get(ix.0 as usize)
    }

    /// Reads these cells, so that looking at one by one does not wait for far memory.
    pub(super) fn touch(&self, cells: impl Iterator<Item = CellIx>) {
        let ends = |slot: &CellSlot| slot.flags ^ slot.bytes[SHORT_BYTES - 1];
        let read = cells.fold(0, |read, ix| read ^ ends(self.at(ix)));
        std::hint::black_box(read);
    }

    /// The slot at the last place.
    pub(super) fn last(&self) -> Option<&CellSlot> {
        self.slots.last()
    }

    /// Every place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CellIx, &CellSlot)> {
        (0..).map(CellIx).zip(&self.slots)
    }

    /// Every place with a cell.
    pub(super) fn held(&self) -> impl Iterator<Item = (CellIx, &CellSlot)> {
        self.iter().filter(|(_, slot)| slot.is_held())
    }

    pub(super) fn reserve(&mut self, cells: usize) {
        self.slots.reserve(cells);
    }

    /// A place for a cell of `object` at `path`, without an item.
    pub(super) fn add(&mut self, object: ObjectIx, path: &Path) -> CellIx {
        let ix = self.free.pop().unwrap_or_else(|| {
            self.slots.push(CellSlot::free());
            CellIx(u32::try_from(self.slots.len() - 1).expect("2^32 cells exceed every byte limit"))
        });
        let mut slot = CellSlot { object, ..CellSlot::free() };
        let bytes = path.as_bytes();
        match Form::of(bytes.len(), 0, WallMillis::default()) {
            Form::Short => slot.path_len = write_behind(0, bytes, &mut slot.bytes),
            Form::Medium | Form::One => {
                let (expires, payload) = (WallMillis::default(), Payload::default());
                self.widen(ix, &mut slot, Rest::One { path: path.clone(), expires, payload });
            }
        }
        self.slots[ix.0 as usize] = slot;
        ix
    }

    /// Frees the place of a cell.
    pub(super) fn remove(&mut self, ix: CellIx) {
        let slot = std::mem::replace(&mut self.slots[ix.0 as usize], CellSlot::free());
        if slot.is_wide() {
            self.wide.remove(slot.wide_ix());
        }
        self.free.push(ix);
    }

    /// Puts `rest` into the entry of `slot`, which gets one if it has none; `ix` is its place.
    fn widen(&mut self, ix: CellIx, slot: &mut CellSlot, rest: Rest) {
        if slot.is_wide() {
            *self.wide.at_mut(slot.wide_ix()) = rest;
        } else {
            slot.set_wide_ix(self.wide.add(ix, rest));
        }
    }

    #[inline]
    fn rest(&self, slot: &CellSlot) -> &Rest {
        self.wide.at(slot.wide_ix())
    }

    /// The path of a cell.
    #[inline]
    pub(super) fn path<'a>(&'a self, slot: &'a CellSlot) -> &'a [u8] {
        if !slot.is_wide() {
            return slot.path_in(&slot.bytes);
        }
        match self.rest(slot) {
            Rest::Medium(bytes) => slot.path_in(bytes),
            Rest::One { path, .. } | Rest::Many { path, .. } => path.as_bytes(),
        }
    }

    /// The path of a cell, for keeps. Allocates nothing.
    #[inline]
    pub(super) fn to_path(&self, slot: &CellSlot) -> Path {
        if !slot.is_wide() {
            return Path::from(slot.path_in(&slot.bytes));
        }
        match self.rest(slot) {
            Rest::Medium(bytes) => Path::from(slot.path_in(bytes)),
            Rest::One { path, .. } | Rest::Many { path, .. } => path.clone(),
        }
    }

    /// The items of a cell.
    #[inline]
    pub(super) fn items<'a>(&'a self, slot: &'a CellSlot, live: &'a Live) -> Items<'a> {
        Items::new(self, slot, live)
    }

    /// All items of a cell that has more than one.
    #[inline]
    pub(super) fn many(&self, slot: &CellSlot) -> Option<&[Item]> {
        if !slot.is_shared() {
            return None;
        }
        match self.rest(slot) {
            Rest::Many { items, .. } => Some(items),
            Rest::One { .. } | Rest::Medium(_) => None,
        }
    }

    /// The item of a cell that has one.
    #[inline]
    pub(super) fn one<'a>(&'a self, slot: &'a CellSlot, live: &Live) -> Option<ItemRef<'a>> {
        if slot.flags & (LIVE | MANY) != LIVE {
            return None;
        }
        let (expires, payload) = if slot.is_wide() {
            match self.rest(slot) {
                Rest::Medium(bytes) => (WallMillis::default(), PayloadRef::bytes(slot.payload_in(bytes))),
                Rest::One { expires, payload, .. } => (*expires, PayloadRef::held(payload)),
                Rest::Many { .. } => return None,
            }
        } else {
            (WallMillis::default(), PayloadRef::bytes(slot.payload_in(&slot.bytes)))
        };
        Some(ItemRef { dot: live.unpack(slot.dot), hlc: slot.hlc, expires, payload })
    }

    /// True if a cell has one item, which does not expire.
    #[inline]
    pub(super) fn has_one_for_good(&self, ix: CellIx) -> bool {
        let slot = self.at(ix);
        let is_for_good = || match self.rest(slot) {
            Rest::One { expires, .. } => expires.0 == 0,
            Rest::Medium(_) => true,
            Rest::Many { .. } => false,
        };
        slot.flags & (LIVE | MANY) == LIVE && (!slot.is_wide() || is_for_good())
    }

    /// Bytes of the payload of the one item of a cell.
    #[inline]
    pub(super) fn only_len(&self, ix: CellIx) -> usize {
        let slot = &self.slots[ix.0 as usize];
        match slot.is_wide().then(|| self.rest(slot)) {
            Some(Rest::One { payload, .. }) => payload.len(),
            Some(Rest::Many { .. }) => unreachable!("a cell of one item has it in its slot"),
            Some(Rest::Medium(_)) | None => usize::from(slot.payload_len),
        }
    }

    /// Puts `item` in the place of the one item of a cell.
    #[inline]
    pub(super) fn replace(&mut self, ix: CellIx, item: &ItemRef<'_>, dot: Packed, live: &Live) {
        self.slots[ix.0 as usize].flags &= !LIVE;
        self.insert(ix, item, dot, live);
    }

    /// Adds `item`, whose dot in eight bytes is `dot`. True if it stands beside others now.
    #[inline]
    pub(super) fn insert(&mut self, ix: CellIx, item: &ItemRef<'_>, dot: Packed, live: &Live) -> bool {
        let slot = &mut self.slots[ix.0 as usize];
        let payload = item.payload.as_bytes();
        // What it had before has ended, and it has a short path: mostly.
        if slot.flags & (LIVE | WIDE) == 0
            && Form::of(usize::from(slot.path_len), payload.len(), item.expires) == Form::Short
        {
            slot.payload_len = write_behind(slot.path_len, payload, &mut slot.bytes);
            (slot.dot, slot.hlc) = (dot, item.hlc);
            slot.flags |= LIVE;
            return false;
        }
        self.insert_wide(ix, item, dot, live)
    }

    fn insert_wide(&mut self, ix: CellIx, item: &ItemRef<'_>, dot: Packed, live: &Live) -> bool {
        let mut slot = self.slots[ix.0 as usize];
        if slot.is_hollow() {
            self.insert_first(ix, &mut slot, item);
            (slot.dot, slot.hlc) = (dot, item.hlc);
            slot.flags |= LIVE;
        } else {
            self.insert_beside(ix, &mut slot, item, live);
        }
        self.slots[ix.0 as usize] = slot;
        slot.is_shared()
    }

    fn insert_first(&mut self, ix: CellIx, slot: &mut CellSlot, item: &ItemRef<'_>) {
        let payload = item.payload.as_bytes();
        let form = Form::of(self.path(slot).len(), payload.len(), item.expires);
        if slot.is_wide()
            && form == Form::Medium
            && let Rest::Medium(bytes) = self.wide.at_mut(slot.wide_ix())
        {
            slot.payload_len = write_behind(slot.path_len, payload, bytes);
            return;
        }
        let path = self.to_path(slot);
        match form {
            Form::Short => {
                // It was wide, and need not be any more.
                self.wide.remove(slot.wide_ix());
                slot.flags &= !WIDE;
                slot.path_len = write_behind(0, path.as_bytes(), &mut slot.bytes);
                slot.payload_len = write_behind(slot.path_len, payload, &mut slot.bytes);
            }
            Form::Medium => {
                let mut bytes = [0; MEDIUM_BYTES];
                slot.path_len = write_behind(0, path.as_bytes(), &mut bytes);
                slot.payload_len = write_behind(slot.path_len, payload, &mut bytes);
                self.widen(ix, slot, Rest::Medium(bytes));
            }
            Form::One => {
                let rest = Rest::One { path, expires: item.expires, payload: item.payload.to_payload() };
                self.widen(ix, slot, rest);
            }
        }
    }

    fn insert_beside(&mut self, ix: CellIx, slot: &mut CellSlot, item: &ItemRef<'_>, live: &Live) {
        let item = item.to_item();
        if let Some(held) = self.one(slot, live).map(|held| held.to_item()) {
            let items = if held.dot < item.dot { vec![held, item] } else { vec![item, held] };
            let path = self.to_path(slot);
            self.widen(ix, slot, Rest::Many { path, items });
            slot.flags |= MANY;
        } else if let Rest::Many { items, .. } = self.wide.at_mut(slot.wide_ix()) {
            let at = items.partition_point(|held| held.dot < item.dot);
            items.insert(at, item);
        }
    }

    /// Takes out the item of `dot`, which is there. Another that is left is live, so that `live` knows its replica.
    #[inline]
    pub(super) fn end(&mut self, ix: CellIx, dot: Dot, live: &Live) {
        let slot = &mut self.slots[ix.0 as usize];
        if slot.is_shared() {
            return self.end_one_of_many(ix, dot, live);
        }
        debug_assert!(slot.flags & LIVE != 0, "{HELD}");
        slot.flags &= !LIVE;
    }

    fn end_one_of_many(&mut self, ix: CellIx, dot: Dot, live: &Live) {
        let slot = &mut self.slots[ix.0 as usize];
        let rest = self.wide.at_mut(slot.wide_ix());
        let Rest::Many { path, items } = rest else { unreachable!("what is shared has many items") };
        items.remove(items.iter().position(|item| item.dot == dot).expect(HELD));
        if items.len() == 1
            && let Some(Item { dot, hlc, expires, payload }) = items.pop()
        {
            (slot.dot, slot.hlc) = (live.pack(dot), hlc);
            slot.flags &= !MANY;
            let path = std::mem::take(path);
            *rest = Rest::One { path, expires, payload };
        }
    }

    /// Damages the payload of a live item; its length stays.
    #[cfg(feature = "faults")]
    pub(super) fn set_payload(&mut self, ix: CellIx, dot: Dot, bytes: &[u8]) {
        let slot = &mut self.slots[ix.0 as usize];
        if !slot.is_wide() {
            slot.payload_len = write_behind(slot.path_len, bytes, &mut slot.bytes);
            return;
        }
        match self.wide.at_mut(slot.wide_ix()) {
            Rest::Medium(held) => slot.payload_len = write_behind(slot.path_len, bytes, held),
            Rest::One { payload, .. } => *payload = bytes.into(),
            Rest::Many { items, .. } => {
                let item = items.iter_mut().find(|item| item.dot == dot).expect(HELD);
                item.payload = bytes.into();
            }
        }
    }

    /// Puts what is at the last place, which goes, to `to`; what is there goes too.
    pub(super) fn move_last(&mut self, to: CellIx) {
        let last = self.slots.pop().expect("there is a place behind the one that is free");
        if last.is_wide() {
            self.wide.set_cell(last.wide_ix(), to);
        }
        self.slots[to.0 as usize] = last;
    }

    /// Drops the last place, which is free.
    pub(super) fn pop(&mut self) {
        self.slots.pop();
    }

    /// Gives capacity back, and places of the second slab.
    pub(super) fn shrink(&mut self) {
        trim(&mut self.slots);
        let Self { slots, wide, .. } = self;
        wide.shrink(|cell, at| slots[cell.0 as usize].set_wide_ix(at));
    }
}

const HELD: &str = "a live dot has an item in its cell";

#[cfg(test)]
mod tests;
