//! Finds a cell by key, type and path: a table of hashes, which nothing goes through in their order.
//!
//! The hash is keyed by the store's owner, so nobody else can choose names that meet in one place. Open addressing; the
//! place of a hash is monotone in it, and an entry holds it, so growing and closing a gap read no cell. A store of few
//! cells has no table and searches its lists.

#![expect(
    clippy::cast_possible_truncation,
    reason = "halves of words are meant; a place is below the table's length"
)]

use super::CellIx;

/// Cells from which on there is a table.
pub(super) const CELLS_MIN: usize = 64;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookup {
    /// 0, or one more than the cell's place in the low half and the hash in the high one.
    table: Vec<u64>,
    len: usize,
}

/// What keys the hash of a store.
pub(super) type LookupKey = [u64; 2];

/// The hash of a name under `key`.
#[inline]
pub(super) fn hash(key: LookupKey, object: &[u8], ty: u8, path: &[u8]) -> u32 {
    Hashed::new(key, object, ty).path(path)
}

/// The part of a hash that cells of one object share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed {
    key: LookupKey,
    state: u64,
}

impl Hashed {
    #[inline]
    pub(super) fn new(key: LookupKey, object: &[u8], ty: u8) -> Self {
        let state = fold(key[0] ^ u64::from(ty), key[1] ^ object.len() as u64);
        Self { key, state: fold_name(key, state, object) }
    }

    /// The hash of the cell at `path`.
    #[inline]
    pub(super) fn path(self, path: &[u8]) -> u32 {
        let Self { key, state } = self;
        (fold(fold_name(key, state, path) ^ key[0], key[1]) >> 32) as u32
    }
}

#[inline]
fn fold_name(key: LookupKey, mut state: u64, name: &[u8]) -> u64 {
    let (pairs, rest) = name.as_chunks::<16>();
    for pair in pairs {
        state = fold(word(&pair[..8]) ^ state, word(&pair[8..]) ^ key[1]);
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    fold(word(low) ^ state, word(high) ^ key[1] ^ (name.len() as u64) << 56)
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Both halves of a product, folded.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}

impl Lookup {
    /// True if there is a table.
    pub(super) fn is_kept(&self) -> bool {
        !self.table.is_empty()
    }

    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.table.len() as u64) >> 32) as usize
    }

    /// The first cell of this hash that `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(CellIx) -> bool) -> Option<CellIx> {
        let mut at = self.home(hash);
        loop {
            let entry = self.table[at];
            if entry == 0 {
                return None;
            }
            let ix = CellIx(entry as u32 - 1);
            if (entry >> 32) as u32 == hash && is_it(ix) {
                return Some(ix);
            }
            at = if at + 1 == self.table.len() { 0 } else { at + 1 };
        }
    }

    /// Reads where the cells of these hashes are, so that looking for one by one does not wait for far memory.
    pub(super) fn touch(&self, hashes: impl Iterator<Item = u32>) {
        let read = hashes.fold(0, |read, hash| read ^ self.table[self.home(hash)]);
        std::hint::black_box(read);
    }

    /// The first cell of this hash, mostly the one of that name; or the place where one would go.
    #[inline]
    pub(super) fn first(&self, hash: u32) -> Result<CellIx, usize> {
        let mut at = self.home(hash);
        loop {
            let entry = self.table[at];
            if entry == 0 {
                return Err(at);
            }
            if (entry >> 32) as u32 == hash {
                return Ok(CellIx(entry as u32 - 1));
            }
            at = if at + 1 == self.table.len() { 0 } else { at + 1 };
        }
    }

    /// Adds a cell.
    pub(super) fn insert(&mut self, hash: u32, ix: CellIx) {
        self.make_room(1);
        self.insert_from(self.home(hash), hash, ix);
    }

    /// As [`Self::insert`], where room was made and [`Self::first`] gave `place`; since then no cell went.
    #[inline]
    pub(super) fn insert_from(&mut self, place: usize, hash: u32, ix: CellIx) {
        self.len += 1;
        self.place(place, u64::from(hash) << 32 | u64::from(ix.0 + 1));
    }

    /// Makes room for so many more cells, and mostly for more than that: a table that grows is built again.
    pub(super) fn make_room(&mut self, more: usize) {
        if (self.len + more) * 5 > self.table.len() * 4 {
            self.reserve(more.max(self.len / 2 + CELLS_MIN));
        }
    }

    /// Makes room for so many more cells.
    pub(super) fn reserve(&mut self, more: usize) {
        let room = (self.len + more + 1) * 5 / 4 + 1;
        if room > self.table.len() {
            let entries = std::mem::replace(&mut self.table, vec![0; room]);
            entries.into_iter().filter(|entry| *entry != 0).for_each(|entry| self.place_home(entry));
        }
    }

    fn place_home(&mut self, entry: u64) {
        self.place(self.home((entry >> 32) as u32), entry);
    }

    #[inline]
    fn place(&mut self, mut at: usize, entry: u64) {
        while self.table[at] != 0 {
            at = if at + 1 == self.table.len() { 0 } else { at + 1 };
        }
        self.table[at] = entry;
    }

    /// Gives places back when seven in eight are free.
    pub(super) fn shrink(&mut self) {
        if self.table.len() > 1_024 && self.len * 8 < self.table.len() {
            let room = (self.len * 2).max(CELLS_MIN * 2);
            let entries = std::mem::replace(&mut self.table, vec![0; room]);
            entries.into_iter().filter(|entry| *entry != 0).for_each(|entry| self.place_home(entry));
        }
    }

    /// Cells in it.
    #[cfg(any(test, feature = "faults"))]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Places, free ones too.
    #[cfg(any(test, feature = "faults"))]
    pub(super) fn places(&self) -> usize {
        self.table.len()
    }

    /// Takes a cell out, which is there; what stands behind it moves up.
    pub(super) fn remove(&mut self, hash: u32, ix: CellIx) {
        let len = self.table.len();
        let entry = u64::from(hash) << 32 | u64::from(ix.0 + 1);
        let mut gap = self.home(hash);
        while self.table[gap] != entry {
            assert_ne!(self.table[gap], 0, "a cell is in the table from its first item to its last");
            gap = if gap + 1 == len { 0 } else { gap + 1 };
        }
        let mut at = gap;
        loop {
            at = if at + 1 == len { 0 } else { at + 1 };
            let entry = self.table[at];
            if entry == 0 {
                break;
            }
            // It may move to the gap unless its home lies behind the gap.
            let home = self.home((entry >> 32) as u32);
            let from_home = (at + len - home) % len;
            let from_gap = (at + len - gap) % len;
            if from_home >= from_gap {
                self.table[gap] = entry;
                gap = at;
            }
        }
        self.table[gap] = 0;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        for seed in 0..20 {
            let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
            let spread: u32 = [u32::MAX, 0xff00_0000, 0xf000_0003][rng.random_range(0..3)];
            let (mut lookup, mut plain) = (Lookup::default(), BTreeMap::new());
            lookup.reserve(0);
            for step in 0..2_000 {
                if rng.random_bool(0.6) {
                    let hash = rng.random::<u32>() & spread;
                    lookup.insert(hash, CellIx(step));
                    plain.insert(CellIx(step), hash);
                } else if let Some(ix) = plain.keys().nth(rng.random_range(0..plain.len().max(1))).copied() {
                    lookup.remove(plain.remove(&ix).unwrap(), ix);
                    assert_eq!(lookup.find(rng.random::<u32>() & spread, |other| other == ix), None);
                }
                if step % 50 == 0 {
                    for (ix, hash) in &plain {
                        assert_eq!(lookup.find(*hash, |other| other == *ix), Some(*ix));
                    }
                }
            }
            assert_eq!(lookup.len, plain.len());
        }
    }

    #[test]
    fn names_that_differ_anywhere_differ_in_their_hash_and_the_key_counts() {
        let names = [("a", 1, "b"), ("ab", 1, ""), ("", 1, "ab"), ("a", 2, "b"), ("a", 1, "b\0")];
        let long = "a name of more than sixteen bytes";
        let names = names.into_iter().chain([(long, 1, long), (long, 1, &long[1..]), (&long[1..], 1, long)]);
        let hashes = |key| -> Vec<u32> {
            let hash =
                |(object, ty, path): (&str, u8, &str)| hash(key, object.as_bytes(), ty, path.as_bytes());
            names.clone().map(hash).collect()
        };
        let (one, other) = (hashes([1 << 40 | 77, 99 << 33 | 5]), hashes([5 << 50 | 3, 7 << 40 | 11]));
        let mut distinct = one.clone();
        distinct.extend(&other);
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 2 * one.len());
    }
}
