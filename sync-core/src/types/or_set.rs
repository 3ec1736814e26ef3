//! OR-set: a set whose adds win against concurrent removes.
//!
//! One cell an element, no payload; an element is present iff a dot of it is live. A remove ends the
//! adds that it saw and no other (Shapiro et al. 2011, observed-remove set, without tombstones as in
//! Bieniusa et al. 2012).
//!
//! ```
//! use sync_core::types::or_set;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! or_set::add(&mut group, "cart/7", b"tea")?;
//! or_set::add(&mut group, "cart/7", b"milk")?;
//! or_set::remove(&mut group, "cart/7", b"milk")?;
//! group.commit();
//! assert!(or_set::elements(&store, "cart/7").eq([b"tea"]));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::mutant::{self, Mutant};
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::OR_SET;

/// Adds `element`. Adding a present element renews it: a concurrent remove does not end it then.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn add<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, element: &[u8]) -> Result<(), WriteError> {
    let cells = at.into().cells_of(TYPE);
    if mutant::is(Mutant::PresentNotRenewed) && !cells.items(group.store(), element).is_empty() {
        return Ok(());
    }
    cells.put(group, element, &[]).map(drop)
}

/// Removes `element` as far as this replica has seen it added; false if it is absent (nothing is minted).
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, element: &[u8]) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, element)
}

/// Removes every element that this replica sees, by one event; returns how many.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    at.into().cells_of(TYPE).clear(group)
}

/// True if `element` is present.
pub fn contains<'k>(store: &Store, at: impl Into<At<'k>>, element: &[u8]) -> bool {
    !at.into().cells_of(TYPE).items(store, element).is_empty()
}

/// The elements present, ascending by their bytes.
pub fn elements<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>) -> impl Iterator<Item = &'s [u8]> {
    at.into().cells_of(TYPE).cells(store).map(|(path, _)| path)
}

/// Number of elements present.
pub fn len<'k>(store: &Store, at: impl Into<At<'k>>) -> u64 {
    at.into().cells_of(TYPE).cell_count(store)
}
