//! What the parts of a frame take in memory: charged by who reads it, counted by who builds it.
//!
//! A reader charges each list before it makes room for it ([`Reader::charge`](crate::codec::Reader::charge)), and a
//! builder adds up the same sizes, rounded up where it does not know all that a reader will do. So what a builder finds
//! to fit is read. Allocations are counted as they are asked for; what the allocator adds is not.

use std::mem::size_of;

use crate::causal::{DotSet, Interval};
use crate::cell::{CellId, Item, ObjectId, PathRange};
use crate::fragment::{CellPart, Record};
use crate::id::{Dot, ReplicaId};
use crate::small::INLINE_MAX;

/// What any frame takes: itself, and what is too small to be counted.
pub(crate) const FRAME: usize = 2 << 10;

/// An entry of a replica table.
pub(crate) const REPLICA: usize = size_of::<ReplicaId>();

/// A dot by itself.
pub(crate) const DOT: usize = size_of::<Dot>();

/// A column of a context: read into a list and then into a B-tree, whose nodes are half full.
pub(crate) const CONTEXT_COLUMN: usize = size_of::<(ReplicaId, u64)>() + 64;

/// A floor.
pub(crate) const FLOOR: usize = size_of::<(ReplicaId, u64)>();

/// A cell with what [`reserve`] takes while it makes room: the old list, and the new one with a quarter to spare.
pub(crate) const CELL: usize = size_of::<CellPart>() * 9 / 4;

/// An item of a cell, and its place in the order of dots.
pub(crate) const ITEM: usize = size_of::<Item>() + size_of::<&Item>();

/// A live dot of a cell besides its items, with a column of a replica that nothing else names.
pub(crate) const OTHER: usize = DOT + REPLICA;

/// A dot that is an interval by itself, of a replica that nothing else names.
pub(crate) const LONE_DOT: usize = size_of::<Interval>() + DotSet::COLUMN_BYTES + REPLICA;

/// A record without the names of its cells.
pub(crate) const RECORD: usize = size_of::<(Dot, Record)>();

/// A record that is kept, without its cells and names: in a B-tree whose nodes are half full, its dot in a list that
/// doubles.
pub(crate) const KEPT_RECORD: usize = 2 * (RECORD + DOT);

/// A cell of a record, without its names.
pub(crate) const RECORD_CELL: usize = size_of::<CellId>();

/// A record of a range, without its names.
pub(crate) const RECORD_RANGE: usize = size_of::<PathRange>();

/// An item of a large answer, without its names.
pub(crate) const STAGED_ITEM: usize = size_of::<(CellId, Item)>();

/// An object that a frame of items spells out, without its key: a list that doubles, and a B-tree half full.
pub(crate) const STAGED_OBJECT: usize = 3 * size_of::<ObjectId>() + 80;

/// Counters of an allocation that is shared.
const SHARED: usize = 2 * size_of::<usize>();

/// A key of `len` bytes.
#[inline]
pub(crate) const fn text(len: usize) -> usize {
    SHARED + len.next_multiple_of(size_of::<usize>())
}

/// A path or payload of `len` bytes, besides its place.
#[inline]
pub(crate) const fn small(len: usize) -> usize {
    if len <= INLINE_MAX { 0 } else { text(len) }
}

/// A cell of an object of its own, its items apart.
pub(crate) const fn cell(key: usize, path: usize) -> usize {
    CELL + text(key) + small(path)
}

/// An item of a cell with a payload of `len` bytes.
pub(crate) const fn item(len: usize) -> usize {
    ITEM + small(len)
}

/// Least room for a name that is put together from the one before it.
const NAME_ROOM: usize = 64;

/// Room for a name of `len` bytes where there is some for `room`: twice that at least, so that all that was ever charged
/// for names is at most [`names`].
#[inline]
pub(crate) const fn name_room(room: usize, len: usize) -> usize {
    let least = if room * 2 > NAME_ROOM { room * 2 } else { NAME_ROOM };
    if len > least { len } else { least }
}

/// Names put together one after the other, the longest of them of `longest` bytes.
pub(crate) const fn names(longest: usize) -> usize {
    2 * NAME_ROOM + 4 * longest
}

/// Makes room for `more` entries, which [`CELL`] has been charged for.
///
/// Not as the list would by itself, which doubles: a frame of one object takes what it needs and no more.
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize) {
    let needed = list.len() + more;
    if needed > list.capacity() {
        let room = needed.max(list.capacity() + list.capacity() / 4);
        list.reserve_exact(room - list.len());
    }
}
