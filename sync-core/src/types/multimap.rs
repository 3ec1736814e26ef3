//! OR-multimap: each field holds an add-wins set of values.
//!
//! One cell for each pair of field and value, no payload; the path is the field's length, the field, the value,
//! so that a field's cells lie side by side and no two pairs share a path. A pair is an element of an
//! [OR-set](super::or_set): a remove, of a pair or of a field, ends the adds that it saw and no other.
//!
//! ```
//! use sync_core::types::multimap;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! multimap::add(&mut group, "tags", b"tea", b"green")?;
//! multimap::add(&mut group, "tags", b"tea", b"loose")?;
//! group.commit();
//! assert!(multimap::values(&store, "tags", b"tea").eq([&b"green"[..], b"loose"]));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::codec::{Reader, Writer};
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::MULTIMAP;

/// The start of every path of `field`.
fn start(field: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(field);
    out.finish()
}

/// The path of a pair.
pub fn path(field: &[u8], value: &[u8]) -> Vec<u8> {
    [&start(field), value].concat()
}

/// The pair of a path; `None` for bytes that are none. A member may write anything.
pub fn pair(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut input = Reader::new(path);
    let field = input.bytes("field", path.len()).ok()?;
    Some((field, input.rest()))
}

/// Adds `value` to `field`. Adding a present one renews it: a concurrent remove does not end it then.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn add<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    field: &[u8],
    value: &[u8],
) -> Result<(), WriteError> {
    at.into().cells_of(TYPE).put(group, &path(field, value), &[]).map(drop)
}

/// Removes `value` of `field` as far as this replica has seen it added; false if it is absent.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    field: &[u8],
    value: &[u8],
) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, &path(field, value))
}

/// Removes every value of `field` that this replica sees, by one event; returns how many.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove_field<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    field: &[u8],
) -> Result<u64, WriteError> {
    let at = at.into();
    let count = values(group.store(), at, field).count() as u64;
    group.remove_range(at.cells_of(TYPE).range(&start(field))).map(|_| count)
}

/// Removes everything that this replica sees, by one event; returns how many pairs.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    at.into().cells_of(TYPE).clear(group)
}

/// True if `value` of `field` is present.
pub fn contains<'k>(store: &Store, at: impl Into<At<'k>>, field: &[u8], value: &[u8]) -> bool {
    !at.into().cells_of(TYPE).items(store, &path(field, value)).is_empty()
}

/// The values of `field`, ascending by their bytes.
pub fn values<'s, 'k>(
    store: &'s Store,
    at: impl Into<At<'k>>,
    field: &[u8],
) -> impl Iterator<Item = &'s [u8]> {
    let start = start(field);
    let below = at.into().cells_of(TYPE).below(&start);
    let cells: Vec<&'s [u8]> = below.cells(store).map(|(value, _)| value).collect();
    cells.into_iter()
}

/// All pairs, by field's length, field and value.
pub fn entries<'s, 'k>(
    store: &'s Store,
    at: impl Into<At<'k>>,
) -> impl Iterator<Item = (&'s [u8], &'s [u8])> {
    at.into().cells_of(TYPE).cells(store).filter_map(|(path, _)| pair(path))
}
