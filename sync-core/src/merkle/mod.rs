//! What proves that two stores are equal, and what finds where they are not.
//!
//! - [`trie`]: the Merkle trie, one 32-byte root over all live cells;
//! - [`sketch`]: coded symbols over all live dots, for few differences in one message;
//! - [`descent`]: the addresses at which two tries differ, two levels a round trip; [`nodes`] and
//!   [`prefix`] are its messages;
//! - [`cut`]: the keyed 64-bit hash that shortens what travels.

mod bush;
pub mod cut;
pub mod descent;
mod handles;
pub mod nodes;
pub mod prefix;
mod settled;
pub mod sketch;
pub mod trie;

use std::fmt;

pub use trie::{Cells, LEAF_CELLS_MAX, Trie};

/// Length of an [`Address`] in nibbles: the depth that no trie exceeds.
pub(crate) const NIBBLES: usize = 32;

/// Where a cell sits in the trie: half a hash of its object, half a hash of its path.
///
/// A key's cells are neighbours, so each CRDT has a subtree of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 16]);

impl Address {
    pub(crate) fn nibble(&self, at: usize) -> usize {
        let byte = self.0[at / 2];
        usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
    }

    /// Number of leading nibbles that `self` and `other` share.
    pub(crate) fn common(&self, other: &Self) -> usize {
        ((self.bits() ^ other.bits()).leading_zeros() / 4) as usize
    }

    /// The nibbles as one number, the first in the highest bits.
    pub(crate) fn bits(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash of one cell, leaf or subtree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
