//! Cells in their compact form: one of few bytes and one item takes 48 bytes, and no allocation.
//!
//! Path and payload share [`SHORT_BYTES`] bytes in the slot, the dot takes eight. What does not fit is *wide*: several
//! items, one that expires, a long path or payload. Its slot refers to an entry of a second slab, and gets its short
//! form back when it is written again and fits. Readers see neither form, but [`Items`].

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

/// What a slot has no room for.
#[derive(Clone, Debug)]
struct Wide {
    path: Path,
    rest: Rest,
}

#[derive(Clone, Debug)]
enum Rest {
    /// At most one item, whose dot and clock stand in the slot.
    One { expires: WallMillis, payload: Payload },
    /// At least two, ascending by dot.
    Many(Vec<Item>),
}

impl Rest {
    fn none() -> Self {
        Self::One { expires: WallMillis::default(), payload: Payload::default() }
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

    /// True if a path of `path` bytes and a payload of `payload` bytes have room in a slot. Neither is so long that
    /// reading it would allocate.
    #[inline]
    fn has_room(path: usize, payload: usize) -> bool {
        path + payload <= SHORT_BYTES && path.max(payload) <= INLINE_MAX
    }

    fn short_path(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.path_len)).unwrap_or_default()
    }

    fn short_payload(&self) -> &[u8] {
        let from = usize::from(self.path_len);
        self.bytes.get(from..from + usize::from(self.payload_len)).unwrap_or_default()
    }

    fn set_short_path(&mut self, path: &[u8]) {
        self.bytes[..path.len()].copy_from_slice(path);
        self.path_len = u8::try_from(path.len()).expect("there is room");
        self.payload_len = 0;
    }

    fn set_short_payload(&mut self, payload: &[u8]) {
        let from = usize::from(self.path_len);
        self.bytes[from..from + payload.len()].copy_from_slice(payload);
        self.payload_len = u8::try_from(payload.len()).expect("there is room");
    }
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
        if CellSlot::has_room(path.as_bytes().len(), 0) {
            slot.set_short_path(path.as_bytes());
        } else {
            self.widen(&mut slot, path.clone(), Rest::none());
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
        self.take(ix);
        self.free.push(ix);
    }

    fn take(&mut self, ix: CellIx) {
        let slot = std::mem::replace(&mut self.slots[ix.0 as usize], CellSlot::free());
        if slot.is_wide() {
            self.free_wide(&slot);
        }
    }

    fn free_wide(&mut self, slot: &CellSlot) {
        self.wide[slot.wide_ix()] = Wide { path: Path::default(), rest: Rest::none() };
        self.wide_free.push(u32::try_from(slot.wide_ix()).expect("it is kept in 32 bits"));
        if self.wide_free.len() == self.wide.len() {
            self.wide = Vec::new();
            self.wide_free = Vec::new();
        }
    }

    /// Gives `slot` an entry in the second slab.
    fn widen(&mut self, slot: &mut CellSlot, path: Path, rest: Rest) {
        let wide = Wide { path, rest };
        let at = match self.wide_free.pop() {
            Some(at) => {
                self.wide[at as usize] = wide;
                at
            }
            None => {
                self.wide.push(wide);
                u32::try_from(self.wide.len() - 1).expect("there are no more of them than cells")
            }
        };
        slot.flags |= WIDE;
        slot.bytes[..4].copy_from_slice(&at.to_le_bytes());
        (slot.path_len, slot.payload_len) = (0, 0);
    }

    /// The path of a cell.
    #[inline]
    pub(super) fn path<'a>(&'a self, slot: &'a CellSlot) -> &'a [u8] {
        if slot.is_wide() { self.wide[slot.wide_ix()].path.as_bytes() } else { slot.short_path() }
    }

    /// The path of a cell, for keeps. Allocates nothing.
    #[inline]
    pub(super) fn to_path(&self, slot: &CellSlot) -> Path {
        if slot.is_wide() { self.wide[slot.wide_ix()].path.clone() } else { Path::from(slot.short_path()) }
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
        match &self.wide[slot.wide_ix()].rest {
            Rest::Many(items) => Some(items),
            Rest::One { .. } => None,
        }
    }

    /// The item of a cell that has one.
    #[inline]
    pub(super) fn one<'a>(&'a self, slot: &'a CellSlot, live: &Live) -> Option<ItemRef<'a>> {
        if slot.flags & (LIVE | MANY) != LIVE {
            return None;
        }
        let (expires, payload) = if slot.is_wide() {
            self.wide_item(slot)
        } else {
            (WallMillis::default(), PayloadRef::bytes(slot.short_payload()))
        };
        Some(ItemRef { dot: live.unpack(slot.dot), hlc: slot.hlc, expires, payload })
    }

    fn wide_item(&self, slot: &CellSlot) -> (WallMillis, PayloadRef<'_>) {
        match &self.wide[slot.wide_ix()].rest {
            Rest::One { expires, payload } => (*expires, PayloadRef::held(payload)),
            Rest::Many(_) => unreachable!("a cell of one item has it in its slot"),
        }
    }

    /// Adds `item`, whose dot in eight bytes is `dot`. True if it stands beside others now.
    #[inline]
    pub(super) fn insert(&mut self, ix: CellIx, item: Item, dot: Packed, live: &Live) -> bool {
        let slot = &mut self.slots[ix.0 as usize];
        let payload = item.payload.as_bytes();
        // What it had before has ended, and it has a short path: mostly.
        if slot.flags & (LIVE | WIDE) == 0
            && item.expires.0 == 0
            && CellSlot::has_room(usize::from(slot.path_len), payload.len())
        {
            slot.set_short_payload(payload);
            (slot.dot, slot.hlc) = (dot, item.hlc);
            slot.flags |= LIVE;
            return false;
        }
        self.insert_wide(ix, item, dot, live)
    }

    fn insert_wide(&mut self, ix: CellIx, item: Item, dot: Packed, live: &Live) -> bool {
        let mut slot = self.slots[ix.0 as usize];
        if slot.is_hollow() {
            self.insert_first(&mut slot, item, dot);
        } else {
            self.insert_beside(&mut slot, item, live);
        }
        self.slots[ix.0 as usize] = slot;
        slot.is_shared()
    }

    fn insert_first(&mut self, slot: &mut CellSlot, item: Item, dot: Packed) {
        let Item { dot: _, hlc, expires, payload } = item;
        let path = self.path(slot).len();
        if expires.0 == 0 && CellSlot::has_room(path, payload.len()) {
            // It was wide, and need not be any more.
            let path = self.to_path(slot);
            self.free_wide(slot);
            slot.flags &= !WIDE;
            slot.set_short_path(path.as_bytes());
            slot.set_short_payload(payload.as_bytes());
        } else if slot.is_wide() {
            self.wide[slot.wide_ix()].rest = Rest::One { expires, payload };
        } else {
            let path = self.to_path(slot);
            self.widen(slot, path, Rest::One { expires, payload });
        }
        (slot.dot, slot.hlc) = (dot, hlc);
        slot.flags |= LIVE;
    }

    fn insert_beside(&mut self, slot: &mut CellSlot, item: Item, live: &Live) {
        if let Some(held) = self.one(slot, live).map(|held| held.to_item()) {
            let items = Rest::Many(if held.dot < item.dot { vec![held, item] } else { vec![item, held] });
            if slot.is_wide() {
                self.wide[slot.wide_ix()].rest = items;
            } else {
                let path = self.to_path(slot);
                self.widen(slot, path, items);
            }
            slot.flags |= MANY;
        } else if let Rest::Many(items) = &mut self.wide[slot.wide_ix()].rest {
            let at = items.partition_point(|held| held.dot < item.dot);
            items.insert(at, item);
        }
    }

    /// Takes out the item of `dot`, which is there. Another that is left is live, so that `live` knows its replica.
    #[inline]
    pub(super) fn take_item(&mut self, ix: CellIx, dot: Dot, live: &Live) -> Item {
        let slot = &mut self.slots[ix.0 as usize];
        if slot.flags & (LIVE | WIDE) == LIVE {
            let item = Item {
                dot,
                hlc: slot.hlc,
                expires: WallMillis::default(),
                payload: Payload::from(slot.short_payload()),
            };
            slot.flags &= !LIVE;
            slot.payload_len = 0;
            return item;
        }
        self.take_wide_item(ix, dot, live)
    }

    fn take_wide_item(&mut self, ix: CellIx, dot: Dot, live: &Live) -> Item {
        let slot = &mut self.slots[ix.0 as usize];
        let rest = &mut self.wide[slot.wide_ix()].rest;
        let items = match rest {
            Rest::One { expires, payload } => {
                debug_assert!(slot.flags & LIVE != 0, "{HELD}");
                slot.flags &= !LIVE;
                let (expires, payload) = (std::mem::take(expires), std::mem::take(payload));
                return Item { dot, hlc: slot.hlc, expires, payload };
            }
            Rest::Many(items) => items,
        };
        let item = items.remove(items.iter().position(|item| item.dot == dot).expect(HELD));
        if items.len() == 1
            && let Some(Item { dot, hlc, expires, payload }) = items.pop()
        {
            (slot.dot, slot.hlc) = (live.pack(dot), hlc);
            slot.flags &= !MANY;
            *rest = Rest::One { expires, payload };
        }
        item
    }

    /// Damages the payload of a live item.
    #[cfg(feature = "faults")]
    pub(super) fn set_payload(&mut self, ix: CellIx, dot: Dot, bytes: &[u8]) {
        let slot = &mut self.slots[ix.0 as usize];
        if !slot.is_wide() {
            return slot.set_short_payload(bytes);
        }
        match &mut self.wide[slot.wide_ix()].rest {
            Rest::One { payload, .. } => *payload = bytes.into(),
            Rest::Many(items) => {
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
