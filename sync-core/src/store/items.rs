//! What a reader sees of a cell: its live items, read in place.
//!
//! A store keeps items in a compact form (`slots.rs`); [`Items`] and [`ItemRef`] are views that build what is asked for.

use super::live::Live;
use super::slot::CellSlot;
use super::slots::Slots;
use crate::cell::{Hlc, Item, Payload};
use crate::fragment::Taken;
use crate::id::Dot;
use crate::time::WallMillis;

/// The live items of one cell, ascending by dot; a view that is cheap to copy.
#[derive(Clone, Copy)]
pub struct Items<'a>(Option<Cell<'a>>);

#[derive(Clone, Copy)]
struct Cell<'a> {
    slots: &'a Slots,
    slot: &'a CellSlot,
    live: &'a Live,
}

/// One live item; see [`Item`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemRef<'a> {
    /// The event.
    pub dot: Dot,
    /// When it was written, by the writer's hybrid clock.
    pub hlc: Hlc,
    /// Wall milliseconds at which it dies; 0 means never. Dead once the horizon reaches it.
    pub expires: WallMillis,
    /// The value.
    pub payload: PayloadRef<'a>,
}

/// The bytes of a live item; see [`Payload`].
#[derive(Clone, Copy)]
pub struct PayloadRef<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Bytes(&'a [u8]),
    /// Long ones are shared and not copied.
    Held(&'a Payload),
}

impl<'a> Items<'a> {
    /// Those of a cell that is not there.
    pub(crate) const NONE: Self = Self(None);

    #[inline]
    pub(super) fn new(slots: &'a Slots, slot: &'a CellSlot, live: &'a Live) -> Self {
        Self(Some(Cell { slots, slot, live }))
    }

    /// True if nothing is live in the cell.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_none_or(|cell| cell.slot.is_hollow())
    }

    /// Number of items.
    #[inline]
    pub fn len(self) -> usize {
        match self.0 {
            Some(cell) if !cell.slot.is_hollow() => cell.slots.many(cell.slot).map_or(1, <[Item]>::len),
            Some(_) | None => 0,
        }
    }

    /// The item, if there is exactly one.
    #[inline]
    pub fn only(self) -> Option<ItemRef<'a>> {
        self.0.and_then(|cell| cell.slots.one(cell.slot, cell.live))
    }

    /// The items, ascending by dot.
    #[inline]
    pub fn iter(self) -> ItemsIter<'a> {
        let many = self.0.and_then(|cell| cell.slots.many(cell.slot)).unwrap_or_default();
        ItemsIter { one: self.only(), many: many.iter() }
    }

    /// The item of the highest dot.
    pub fn last(self) -> Option<ItemRef<'a>> {
        self.iter().next_back()
    }

    /// The item of `dot`.
    #[inline]
    pub(crate) fn find(self, dot: Dot) -> Option<ItemRef<'a>> {
        self.iter().find(|item| item.dot == dot)
    }

    /// The items, for keeps.
    pub fn to_vec(self) -> Vec<Item> {
        self.iter().map(|item| item.to_item()).collect()
    }
}

impl std::fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Items<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Items<'_> {}

impl<'a> IntoIterator for Items<'a> {
    type Item = ItemRef<'a>;
    type IntoIter = ItemsIter<'a>;

    #[inline]
    fn into_iter(self) -> ItemsIter<'a> {
        self.iter()
    }
}

/// See [`Items::iter`].
#[derive(Clone, Debug)]
pub struct ItemsIter<'a> {
    one: Option<ItemRef<'a>>,
    many: std::slice::Iter<'a, Item>,
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = ItemRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ItemRef<'a>> {
        self.one.take().or_else(|| self.many.next().map(ItemRef::from))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = usize::from(self.one.is_some()) + self.many.len();
        (len, Some(len))
    }
}

impl DoubleEndedIterator for ItemsIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.many.next_back().map(ItemRef::from).or_else(|| self.one.take())
    }
}

impl ExactSizeIterator for ItemsIter<'_> {}

impl<'a> ItemRef<'a> {
    /// The item, for keeps. Long payloads are shared, not copied.
    #[inline]
    pub fn to_item(&self) -> Item {
        let Self { dot, hlc, expires, payload } = *self;
        Item { dot, hlc, expires, payload: payload.to_payload() }
    }

    /// The item as a frame takes it in.
    #[inline]
    pub(super) fn to_take(self) -> Taken<'a> {
        let Self { dot, hlc, expires, payload } = self;
        Taken { dot, hlc, expires, payload: payload.as_bytes() }
    }

    /// True if the item is dead at horizon `horizon`.
    pub fn is_expired(&self, horizon: WallMillis) -> bool {
        self.expires.0 != 0 && self.expires <= horizon
    }
}

impl<'a> From<&'a Item> for ItemRef<'a> {
    #[inline]
    fn from(item: &'a Item) -> Self {
        let Item { dot, hlc, expires, payload } = item;
        Self { dot: *dot, hlc: *hlc, expires: *expires, payload: PayloadRef::held(payload) }
    }
}

impl PartialEq<Item> for ItemRef<'_> {
    fn eq(&self, other: &Item) -> bool {
        *self == ItemRef::from(other)
    }
}

impl<'a> PayloadRef<'a> {
    #[inline]
    pub(super) fn bytes(bytes: &'a [u8]) -> Self {
        Self(Form::Bytes(bytes))
    }

    #[inline]
    pub(super) fn held(payload: &'a Payload) -> Self {
        Self(Form::Held(payload))
    }

    /// The payload's bytes.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        match self.0 {
            Form::Bytes(bytes) => bytes,
            Form::Held(payload) => payload.as_bytes(),
        }
    }

    /// Number of bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// True if the write stored nothing but its cell.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The payload, for keeps. A long one is shared, not copied.
    #[inline]
    pub fn to_payload(self) -> Payload {
        match self.0 {
            Form::Bytes(bytes) => Payload::from(bytes),
            Form::Held(payload) => payload.clone(),
        }
    }
}

impl PartialEq for PayloadRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PayloadRef<'_> {}

impl std::fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}
