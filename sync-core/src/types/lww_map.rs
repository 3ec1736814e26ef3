//! LWW map: each field holds the value written last by hybrid clock.
//!
//! One cell a field, the value as payload. A write ends the values it saw; concurrent ones stand side
//! by side and the read takes the largest `(hlc, replica, seq)`. The next write ends all of them. A
//! clock in the far future therefore wins only over writes concurrent with it (DESIGN section 4).
//!
//! ```
//! use sync_core::types::lww_map;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! lww_map::put(&mut group, "user/7", b"name", b"Ada")?;
//! group.commit();
//! assert_eq!(lww_map::get(&store, "user/7", b"name"), Some(&b"Ada"[..]));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, ItemRef, Items, Store};

const TYPE: TypeTag = TypeTag::LWW_MAP;

/// Sets `field` to `value`.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn put<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    field: &[u8],
    value: &[u8],
) -> Result<(), WriteError> {
    at.into().cells_of(TYPE).put(group, field, value).map(drop)
}

/// Removes `field` as far as this replica has seen it written; false if it is absent.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, field: &[u8]) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, field)
}

/// Removes every field that this replica sees, by one event; returns how many.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    at.into().cells_of(TYPE).clear(group)
}

/// The value of `field`; `None` if it is absent.
pub fn get<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>, field: &[u8]) -> Option<&'s [u8]> {
    winner(at.into().cells_of(TYPE).items(store, field)).map(|item| item.payload.as_bytes())
}

/// All fields with their values, ascending by field.
pub fn entries<'s, 'k>(
    store: &'s Store,
    at: impl Into<At<'k>>,
) -> impl Iterator<Item = (&'s [u8], &'s [u8])> {
    let cells = at.into().cells_of(TYPE).cells(store);
    cells.filter_map(|(path, items)| Some((path, winner(items)?.payload.as_bytes())))
}

/// Among concurrent writes, the one that is read: the largest `(hlc, replica, seq)`.
#[inline]
pub fn winner(items: Items<'_>) -> Option<ItemRef<'_>> {
    items.only().or_else(|| items.iter().max_by_key(|item| (item.hlc, item.dot)))
}
