//! OR-set: a set whose adds win against concurrent removes.
//!
//! One cell an element, no payload; an element is present iff a dot of it is live. A remove ends the
//! adds that it saw and no other (Shapiro et al. 2011, observed-remove set, without tombstones as in
//! Bieniusa et al. 2012).

use super::dots_of;
use crate::cell::{CellId, ObjectId, PathRange, Payload, TypeTag};
use crate::error::WriteError;
use crate::mutant::{self, Mutant};
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::OR_SET;

fn cell(key: &str, element: &[u8]) -> CellId {
    CellId::new(ObjectId::new(key, TYPE), element)
}

/// Adds `element`. Adding a present element renews it: a concurrent remove does not end it then.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn add(group: &mut Group<'_>, key: &str, element: &[u8]) -> Result<(), WriteError> {
    let seen = dots_of(group.store().items(key, TYPE, element));
    if mutant::is(Mutant::PresentNotRenewed) && !seen.is_empty() {
        return Ok(());
    }
    group.write(cell(key, element), Payload::default(), &seen).map(drop)
}

/// Removes `element` as far as this replica has seen it added; false if it is absent (nothing is minted).
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove(group: &mut Group<'_>, key: &str, element: &[u8]) -> Result<bool, WriteError> {
    let seen = dots_of(group.store().items(key, TYPE, element));
    if seen.is_empty() {
        return Ok(false);
    }
    group.remove(&seen).map(|_| true)
}

/// Removes every element that this replica sees, by one event; returns how many.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear(group: &mut Group<'_>, key: &str) -> Result<u64, WriteError> {
    let count = len(group.store(), key);
    group.remove_range(PathRange::whole(ObjectId::new(key, TYPE))).map(|_| count)
}

/// True if `element` is present.
pub fn contains(store: &Store, key: &str, element: &[u8]) -> bool {
    !store.items(key, TYPE, element).is_empty()
}

/// The elements present, ascending by their bytes.
pub fn elements<'a>(store: &'a Store, key: &str) -> impl Iterator<Item = &'a [u8]> + 'a {
    store.cells(key, TYPE).map(|(path, _)| path.as_bytes())
}

/// Number of elements present.
pub fn len(store: &Store, key: &str) -> u64 {
    store.cell_count(key, TYPE)
}
