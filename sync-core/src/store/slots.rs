//! Cells in their compact form: one of few bytes and one item takes 48 bytes, and no allocation.
//!
//! Path and payload share [`SHORT_BYTES`] bytes in the slot, the dot takes eight. What does not fit is *wide*, and its slot
//! refers to an entry of a second slab: a line of [`MEDIUM_BYTES`] for path and payload; or, for long ones, for an item that
//! expires and for several items, what the API knows. A cell takes the least form that fits whenever it is written
//! again. Readers see no form, but [`Items`].

use super::CellIx;
use super::items::{ItemRef, Items, PayloadRef};
use super::live::Live;
use super::names::Packed;
use super::slab::ObjectIx;
use crate::cell::{Hlc, Item, Path, Payload};
use crate::id::Dot;
use crate::small::INLINE_MAX;
use crate::time::WallMillis;

/// Bytes of path and payload in a slot.
const SHORT_BYTES: usize = 25;

/// Bytes of path and payload in an entry of the second slab.
const MEDIUM_BYTES: usize = 63;

/// Waits in the dirty list.
const DIRTY: u8 = 1;
/// The trie holds it.
const SETTLED: u8 = 2;
/// Has an entry in the slab of wide cells.
const WIDE: u8 = 4;
/// Has an item.
const LIVE: u8 = 8;
/// Has more than one, which stand in its wide entry.
const MANY: u8 = 16;

/// A place for a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellSlot {
    /// Of its one item, if it has one.
    dot: Packed,
    hlc: Hlc,
    /// [`ObjectIx::NONE`] if the place is free.
    pub(super) object: ObjectIx,
    flags: u8,
    path_len: u8,
    payload_len: u8,
    /// The path and behind it the payload; or the place in the slab of wide cells.
    bytes: [u8; SHORT_BYTES],
}

/// What a slot has no room for: a line of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Wide(Rest);

#[derive(Clone, Debug)]
enum Rest {
    /// The path and behind it the payload of at most one item; their lengths stand in the slot, as do its dot and clock.
    Medium([u8; MEDIUM_BYTES]),
    /// At most one item, whose dot and clock stand in the slot.
    One { path: Path, expires: WallMillis, payload: Payload },
    /// At least two, ascending by dot.
    Many { path: Path, items: Vec<Item> },
}

const FREE: Wide = Wide(Rest::Medium([0; MEDIUM_BYTES]));

/// How a cell of at most one item stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Short,
    Medium,
    One,
}

impl Form {
    /// The least form for a path and a payload of these lengths, and that expiry.
    #[inline]
    fn of(path: usize, payload: usize, expires: WallMillis) -> Self {
        match path + payload {
            _ if expires.0 != 0 => Self::One,
            // To read a path for keeps allocates nothing: a longer one is shared.
            _ if path > INLINE_MAX => Self::One,
            sum if sum <= SHORT_BYTES => Self::Short,
            sum if sum <= MEDIUM_BYTES => Self::Medium,
            _ => Self::One,
        }
    }
}

impl CellSlot {
    fn free() -> Self {
        Self {
            dot: Packed::default(),
            hlc: Hlc::default(),
            object: ObjectIx::NONE,
            flags: 0,
            path_len: 0,
            payload_len: 0,
            bytes: [0; SHORT_BYTES],
        }
    }

    /// True if a cell is in this place.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.object != ObjectIx::NONE
    }

    /// True if it has no item.
    #[inline]
    pub(super) fn is_hollow(&self) -> bool {
        self.flags & LIVE == 0
    }

    /// True if it has more than one item.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.flags & MANY != 0
    }

    /// True while it waits in the dirty list.
    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        self.flags & DIRTY != 0
    }

    /// Says if it waits in the dirty list; gives what was said before.
    #[inline]
    pub(super) fn set_dirty(&mut self, dirty: bool) -> bool {
        self.set(DIRTY, dirty)
    }

    /// True while the trie holds it.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.flags & SETTLED != 0
    }

    /// Says if the trie holds it; gives what was said before.
    #[inline]
    pub(super) fn set_settled(&mut self, settled: bool) -> bool {
        self.set(SETTLED, settled)
    }

    #[inline]
    fn set(&mut self, flag: u8, on: bool) -> bool {
        let before = self.flags & flag != 0;
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        before
    }

    #[inline]
    fn is_wide(&self) -> bool {
        self.flags & WIDE != 0
    }

    #[inline]
    fn wide_ix(&self) -> usize {
        let [a, b, c, d, ..] = self.bytes;
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    /// The path, of a cell whose path and payload stand in `bytes`.
    #[inline]
    fn path_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(..usize::from(self.path_len)).unwrap_or_default()
    }

    /// The payload, of a cell whose path and payload stand in `bytes`.
    #[inline]
    fn payload_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let from = usize::from(self.path_len);
        bytes.get(from..from + usize::from(self.payload_len)).unwrap_or_default()
    }
}

/// Puts `payload` behind the path in `bytes`; gives its length.
#[inline]
fn write_behind(path_len: u8, payload: &[u8], bytes: &mut [u8]) -> u8 {
    let from = usize::from(path_len);
    bytes[from..from + payload.len()].copy_from_slice(payload);
    u8::try_from(payload.len()).expect("there is room")
}

/// The slab of cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    slots: Vec<CellSlot>,
    free: Vec<CellIx>,
    wide: Vec<Wide>,
    wide_free: Vec<u32>,
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
        let mut slot = CellSlot { object, ..CellSlot::free() };
        let bytes = path.as_bytes();
        match Form::of(bytes.len(), 0, WallMillis::default()) {
            Form::Short => slot.path_len = write_behind(0, bytes, &mut slot.bytes),
            Form::Medium | Form::One => {
                let (expires, payload) = (WallMillis::default(), Payload::default());
                self.widen(&mut slot, Rest::One { path: path.clone(), expires, payload });
            }
        }
        if let Some(ix) = self.free.pop() {
            self.slots[ix.0 as usize] = slot;
            return ix;
        }
        self.slots.push(slot);
        CellIx(u32::try_from(self.slots.len() - 1).expect("2^32 cells exceed every byte limit"))
    }

    /// Frees the place of a cell.
    pub(super) fn remove(&mut self, ix: CellIx) {
        let slot = std::mem::replace(&mut self.slots[ix.0 as usize], CellSlot::free());
        if slot.is_wide() {
            self.free_wide(slot.wide_ix());
        }
        self.free.push(ix);
    }

    fn free_wide(&mut self, at: usize) {
        self.wide[at] = FREE;
        self.wide_free.push(u32::try_from(at).expect("it is kept in 32 bits"));
        if self.wide_free.len() == self.wide.len() {
            (self.wide, self.wide_free) = (Vec::new(), Vec::new());
        }
    }

    /// Puts `rest` into the entry of `slot`, which gets one if it has none.
    fn widen(&mut self, slot: &mut CellSlot, rest: Rest) {
        if slot.is_wide() {
            self.wide[slot.wide_ix()] = Wide(rest);
            return;
        }
        let at = match self.wide_free.pop() {
            Some(at) => {
                self.wide[at as usize] = Wide(rest);
                at
            }
            None => {
                self.wide.push(Wide(rest));
                u32::try_from(self.wide.len() - 1).expect("there are no more of them than cells")
            }
        };
        slot.flags |= WIDE;
        slot.bytes[..4].copy_from_slice(&at.to_le_bytes());
    }

    #[inline]
    fn rest(&self, slot: &CellSlot) -> &Rest {
        &self.wide[slot.wide_ix()].0
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
            self.insert_first(&mut slot, item);
            (slot.dot, slot.hlc) = (dot, item.hlc);
            slot.flags |= LIVE;
        } else {
            self.insert_beside(&mut slot, item, live);
        }
        self.slots[ix.0 as usize] = slot;
        slot.is_shared()
    }

    fn insert_first(&mut self, slot: &mut CellSlot, item: &ItemRef<'_>) {
        let payload = item.payload.as_bytes();
        let form = Form::of(self.path(slot).len(), payload.len(), item.expires);
        if slot.is_wide()
            && form == Form::Medium
            && let Rest::Medium(bytes) = &mut self.wide[slot.wide_ix()].0
        {
            slot.payload_len = write_behind(slot.path_len, payload, bytes);
            return;
        }
        let path = self.to_path(slot);
        match form {
            Form::Short => {
                // It was wide, and need not be any more.
                self.free_wide(slot.wide_ix());
                slot.flags &= !WIDE;
                slot.path_len = write_behind(0, path.as_bytes(), &mut slot.bytes);
                slot.payload_len = write_behind(slot.path_len, payload, &mut slot.bytes);
            }
            Form::Medium => {
                let mut bytes = [0; MEDIUM_BYTES];
                slot.path_len = write_behind(0, path.as_bytes(), &mut bytes);
                slot.payload_len = write_behind(slot.path_len, payload, &mut bytes);
                self.widen(slot, Rest::Medium(bytes));
            }
            Form::One => {
                let rest = Rest::One { path, expires: item.expires, payload: item.payload.to_payload() };
                self.widen(slot, rest);
            }
        }
    }

    fn insert_beside(&mut self, slot: &mut CellSlot, item: &ItemRef<'_>, live: &Live) {
        let item = item.to_item();
        if let Some(held) = self.one(slot, live).map(|held| held.to_item()) {
            let items = if held.dot < item.dot { vec![held, item] } else { vec![item, held] };
            let path = self.to_path(slot);
            self.widen(slot, Rest::Many { path, items });
            slot.flags |= MANY;
        } else if let Rest::Many { items, .. } = &mut self.wide[slot.wide_ix()].0 {
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
        let rest = &mut self.wide[slot.wide_ix()].0;
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
        match &mut self.wide[slot.wide_ix()].0 {
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
        self.slots[to.0 as usize] = last;
    }

    /// Drops the last place, which is free.
    pub(super) fn pop(&mut self) {
        self.slots.pop();
    }

    /// Gives capacity back with `trim`.
    pub(super) fn trim(&mut self, trim: impl Fn(&mut Vec<CellSlot>)) {
        trim(&mut self.slots);
    }
}

const HELD: &str = "a live dot has an item in its cell";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn a_cell_of_any_form_gives_back_what_was_put_in() {
        assert_eq!((size_of::<CellSlot>(), size_of::<Wide>()), (48, 64));
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
            assert_eq!(slots.wide.len(), 0, "the last one gives all back");
        }
    }
}
