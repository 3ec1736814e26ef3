//! LWW map: each field holds the value written last by hybrid clock.
//!
//! One cell a field, the value as payload. A write ends the values it saw; concurrent ones stand side
//! by side and the read takes the largest `(hlc, replica, seq)`. The next write ends all of them. A
//! clock in the far future therefore wins only over writes concurrent with it (DESIGN section 4).

use super::dots_of;
use crate::cell::{CellId, Item, ObjectId, PathRange, Payload, TypeTag};
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::LWW_MAP;

fn cell(key: &str, field: &[u8]) -> CellId {
    CellId::new(ObjectId::new(key, TYPE), field)
}

/// Sets `field` to `value`.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn put(group: &mut Group<'_>, key: &str, field: &[u8], value: &[u8]) -> Result<(), WriteError> {
    let seen = dots_of(group.store().items(key, TYPE, field));
    group.write(cell(key, field), Payload::from(value), &seen).map(drop)
}

/// Removes `field` as far as this replica has seen it written; false if it is absent.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove(group: &mut Group<'_>, key: &str, field: &[u8]) -> Result<bool, WriteError> {
    let seen = dots_of(group.store().items(key, TYPE, field));
    if seen.is_empty() {
        return Ok(false);
    }
    group.remove(&seen).map(|_| true)
}

/// Removes every field that this replica sees, by one event; returns how many.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear(group: &mut Group<'_>, key: &str) -> Result<u64, WriteError> {
    let count = group.store().cell_count(key, TYPE);
    group.remove_range(PathRange::whole(ObjectId::new(key, TYPE))).map(|_| count)
}

/// The value of `field`; `None` if it is absent.
pub fn get<'a>(store: &'a Store, key: &str, field: &[u8]) -> Option<&'a [u8]> {
    winner(store.items(key, TYPE, field)).map(|item| item.payload.as_bytes())
}

/// All fields with their values, ascending by field.
pub fn entries<'a>(store: &'a Store, key: &str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
    let entry = |(path, items): (&'a crate::cell::Path, &'a [Item])| {
        Some((path.as_bytes(), winner(items)?.payload.as_bytes()))
    };
    store.cells(key, TYPE).filter_map(entry)
}

/// Among concurrent writes, the one that is read: the largest `(hlc, replica, seq)`.
pub fn winner(items: &[Item]) -> Option<&Item> {
    items.iter().max_by_key(|item| (item.hlc, item.dot))
}
