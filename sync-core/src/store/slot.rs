//! A place for a cell, in 48 bytes; see [`super::slots`].

use super::names::Packed;
use super::slab::ObjectIx;
use super::wide::MEDIUM_BYTES;
use crate::cell::Hlc;
use crate::small::INLINE_MAX;
use crate::time::WallMillis;

/// Bytes of path and payload in a slot.
pub(super) const SHORT_BYTES: usize = 25;

/// Waits in the dirty list.
const DIRTY: u8 = 1;
/// The trie holds it.
const SETTLED: u8 = 2;
/// Has an entry in the slab of wide cells.
pub(super) const WIDE: u8 = 4;
/// Has an item.
pub(super) const LIVE: u8 = 8;
/// Has more than one, which stand in its wide entry.
pub(super) const MANY: u8 = 16;

/// A place for a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellSlot {
    /// Of its one item, if it has one.
    pub(super) dot: Packed,
    pub(super) hlc: Hlc,
    /// [`ObjectIx::NONE`] if the place is free.
    pub(super) object: ObjectIx,
    pub(super) flags: u8,
    pub(super) path_len: u8,
    pub(super) payload_len: u8,
    /// The path and behind it the payload; or the place in the slab of wide cells.
    pub(super) bytes: [u8; SHORT_BYTES],
}

/// How a cell of at most one item stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Short,
    Medium,
    One,
}

impl Form {
    /// The least form for a path and a payload of these lengths, and that expiry.
    #[inline]
    pub(super) fn of(path: usize, payload: usize, expires: WallMillis) -> Self {
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
    pub(super) fn free() -> Self {
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
    pub(super) fn is_wide(&self) -> bool {
        self.flags & WIDE != 0
    }

    #[inline]
    pub(super) fn wide_ix(&self) -> usize {
        let [a, b, c, d, ..] = self.bytes;
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    /// Says where its entry in the slab of wide cells is.
    pub(super) fn set_wide_ix(&mut self, at: u32) {
        self.flags |= WIDE;
        self.bytes[..4].copy_from_slice(&at.to_le_bytes());
    }

    /// The path, of a cell whose path and payload stand in `bytes`.
    #[inline]
    pub(super) fn path_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(..usize::from(self.path_len)).unwrap_or_default()
    }

    /// The payload, of a cell whose path and payload stand in `bytes`.
    #[inline]
    pub(super) fn payload_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let from = usize::from(self.path_len);
        bytes.get(from..from + usize::from(self.payload_len)).unwrap_or_default()
    }
}

/// Puts `payload` behind the path in `bytes`; gives its length.
#[inline]
pub(super) fn write_behind(path_len: u8, payload: &[u8], bytes: &mut [u8]) -> u8 {
    let from = usize::from(path_len);
    bytes[from..from + payload.len()].copy_from_slice(payload);
    u8::try_from(payload.len()).expect("there is room")
}
