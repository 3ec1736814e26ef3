//! The beginning of an address, in nibbles.

use std::fmt;

use super::{Address, NIBBLES};
use crate::codec::{Reader, Writer};
use crate::error::FrameError;

/// From none to all nibbles of an [`Address`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Zero beyond the length.
    nibbles: Address,
    len: u8,
}

impl Default for Prefix {
    /// The empty prefix, which every address has.
    fn default() -> Self {
        Self { nibbles: Address([0; 16]), len: 0 }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.len()).try_for_each(|at| write!(f, "{:x}", self.nibbles.nibble(at)))
    }
}

impl Prefix {
    /// Most bytes of a prefix on the wire.
    pub const BYTES_MAX: usize = 17;

    /// The prefix that is the whole of `address`.
    pub fn of(address: Address) -> Self {
        Self { nibbles: address, len: 32 }
    }

    /// The first `len` nibbles of `address`, at most 32.
    pub fn first(address: Address, len: usize) -> Self {
        let len = len.min(NIBBLES);
        let behind = u128::MAX.checked_shr(shift(len)).unwrap_or(0);
        Self::from_bits(address.bits() & !behind, len)
    }

    /// Number of nibbles.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// True if it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest address with this prefix.
    pub fn address(&self) -> Address {
        self.nibbles
    }

    /// The nibble at `at`, which must be below the length.
    pub fn nibble(&self, at: usize) -> usize {
        self.nibbles.nibble(at)
    }

    /// Number of leading nibbles that both share.
    pub fn common(&self, other: &Self) -> usize {
        self.nibbles.common(&other.nibbles).min(self.len()).min(other.len())
    }

    /// True if `other` begins with this prefix.
    pub fn covers(&self, other: &Self) -> bool {
        self.common(other) == self.len()
    }

    /// This prefix and `levels` nibbles more: the digits of `index`, which is below `16^levels`. `None`
    /// if an address is not that long.
    pub fn child(&self, levels: u8, index: usize) -> Option<Self> {
        if self.len() + usize::from(levels) > NIBBLES {
            return None;
        }
        let mut child = *self;
        (0..levels).rev().for_each(|level| child.push((index >> (4 * u32::from(level))) & 15));
        Some(child)
    }

    /// This prefix and then `suffix`; `None` if an address is not that long.
    pub fn join(&self, suffix: &Self) -> Option<Self> {
        if self.len() + suffix.len() > NIBBLES {
            return None;
        }
        let behind = suffix.nibbles.bits().checked_shr(shift(self.len())).unwrap_or(0);
        Some(Self::from_bits(self.nibbles.bits() | behind, self.len() + suffix.len()))
    }

    /// What follows the first `len` nibbles.
    #[must_use]
    pub fn after(&self, len: usize) -> Self {
        let rest = self.nibbles.bits().checked_shl(shift(len)).unwrap_or(0);
        Self::from_bits(rest, self.len().saturating_sub(len))
    }

    fn from_bits(bits: u128, len: usize) -> Self {
        Self { nibbles: Address(bits.to_be_bytes()), len: len.to_le_bytes()[0] }
    }

    fn push(&mut self, nibble: usize) {
        let (at, nibble) = (self.len(), (nibble & 15).to_le_bytes()[0]);
        self.nibbles.0[at / 2] |= if at.is_multiple_of(2) { nibble << 4 } else { nibble };
        self.len += 1;
    }

    /// Writes the length and the bytes that hold the nibbles.
    pub fn write(&self, out: &mut Writer) {
        out.byte(self.len);
        out.fixed(&self.nibbles.0[..self.len().div_ceil(2)]);
    }

    /// Reads what [`Self::write`] wrote: at most 32 nibbles, and an unused half byte is zero.
    pub fn read(field: &'static str, input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let len = input.byte(field)?;
        if usize::from(len) > NIBBLES {
            return Err(FrameError::Field { field, value: u64::from(len) });
        }
        let mut nibbles = Address([0; 16]);
        for byte in &mut nibbles.0[..usize::from(len).div_ceil(2)] {
            *byte = input.byte(field)?;
        }
        if len % 2 == 1 && nibbles.nibble(usize::from(len)) != 0 {
            return Err(FrameError::Field { field, value: u64::from(len) });
        }
        Ok(Self { nibbles, len })
    }
}

/// Bits of `nibbles` nibbles, at most those of an address.
fn shift(nibbles: usize) -> u32 {
    4 * u32::from(nibbles.min(NIBBLES).to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_grow_and_are_cut_nibble_by_nibble() {
        let address = Address(std::array::from_fn(|at| (at * 37).to_le_bytes()[0]));
        let whole = Prefix::of(address);
        for len in 0..=NIBBLES {
            let prefix = Prefix::first(address, len);
            assert!(
                prefix.covers(&whole) && prefix.len() == len && (len == NIBBLES || !whole.covers(&prefix))
            );
            assert_eq!(prefix.join(&whole.after(len)), Some(whole));
            let mut out = Writer::default();
            prefix.write(&mut out);
            assert_eq!(Prefix::read("prefix", &mut Reader::new(&out.finish())), Ok(prefix));
        }
        let parent = Prefix::first(address, 4);
        let two = parent.child(2, (whole.nibble(4) << 4) | whole.nibble(5));
        assert_eq!(two, Some(Prefix::first(address, 6)));
        assert_eq!(whole.child(1, 0), None);
        assert_eq!(Prefix::first(address, 31).child(2, 0), None);
    }

    #[test]
    fn a_prefix_has_one_encoding() {
        assert!(Prefix::read("prefix", &mut Reader::new(&[33; 34])).is_err(), "longer than an address");
        assert!(Prefix::read("prefix", &mut Reader::new(&[1, 0x1f])).is_err(), "a half byte in use");
    }
}
