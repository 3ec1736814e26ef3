//! What the max and the min register share: a write carries the extremum that it saw.
//!
//! The payload is the number in eight bytes whose order is the numbers' order.

use super::Spot;
use crate::error::WriteError;
use crate::store::{Group, Store};

const SIGN: u64 = 1 << 63;

/// The payload of `number`.
pub(crate) fn encode(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ SIGN).to_be_bytes()
}

/// The number of a payload; `None` for bytes that are none. A member may write anything.
pub fn decode(bytes: &[u8]) -> Option<i64> {
    let bytes: [u8; 8] = bytes.try_into().ok()?;
    Some((u64::from_be_bytes(bytes) ^ SIGN).cast_signed())
}

/// The numbers that are live.
fn numbers<'s>(store: &'s Store, cells: &Spot<'_>) -> impl Iterator<Item = i64> + use<'s> {
    cells.items(store, &[]).iter().filter_map(|item| decode(item.payload.as_bytes()))
}

pub(super) fn raise(group: &mut Group<'_>, cells: &Spot<'_>, number: i64) -> Result<(), WriteError> {
    let carried = numbers(group.store(), cells).max().map_or(number, |seen| seen.max(number));
    cells.put(group, &[], &encode(carried)).map(drop)
}

pub(super) fn lower(group: &mut Group<'_>, cells: &Spot<'_>, number: i64) -> Result<(), WriteError> {
    let carried = numbers(group.store(), cells).min().map_or(number, |seen| seen.min(number));
    cells.put(group, &[], &encode(carried)).map(drop)
}

pub(super) fn largest(store: &Store, cells: &Spot<'_>) -> Option<i64> {
    numbers(store, cells).max()
}

pub(super) fn smallest(store: &Store, cells: &Spot<'_>) -> Option<i64> {
    numbers(store, cells).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_ordered_as_their_numbers_and_other_bytes_are_none() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(numbers.windows(2).all(|pair| encode(pair[0]) < encode(pair[1])));
        assert!(numbers.iter().all(|number| decode(&encode(*number)) == Some(*number)));
        assert_eq!(decode(&[1, 2]), None);
    }
}
