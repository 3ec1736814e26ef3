//! Grow-only set: what was added stays.
//!
//! One cell an element, no payload. There is no remove, so adding what is present mints nothing (Shapiro et
//! al. 2011, G-Set). It never frees its key: choose an [OR-set](super::or_set) where it should. An element that
//! expires stays until the latest time that it was added for.
//!
//! ```
//! use sync_core::types::grow_set;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! grow_set::add(&mut group, "visitors", b"ada")?;
//! assert!(!grow_set::add(&mut group, "visitors", b"ada")?, "she is in it already");
//! group.commit();
//! assert!(grow_set::contains(&store, "visitors", b"ada"));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, ItemRef, Store};
use crate::time::WallMillis;

const TYPE: TypeTag = TypeTag::GROW_SET;

/// Adds `element`; false if it is present and stays as long, and then nothing is minted.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn add<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, element: &[u8]) -> Result<bool, WriteError> {
    let cells = at.into().cells_of(TYPE);
    // 0 is never: the end of all times.
    let end = |expires: WallMillis| expires.0.wrapping_sub(1);
    let stays = |item: ItemRef<'_>| end(item.expires) >= end(group.expires());
    if cells.items(group.store(), element).iter().any(stays) {
        return Ok(false);
    }
    cells.put(group, element, &[]).map(|_| true)
}

/// True if `element` is present.
pub fn contains<'k>(store: &Store, at: impl Into<At<'k>>, element: &[u8]) -> bool {
    !at.into().cells_of(TYPE).items(store, element).is_empty()
}

/// The elements, ascending by their bytes.
pub fn elements<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>) -> impl Iterator<Item = &'s [u8]> {
    at.into().cells_of(TYPE).cells(store).map(|(path, _)| path)
}

/// Number of elements.
pub fn len<'k>(store: &Store, at: impl Into<At<'k>>) -> u64 {
    at.into().cells_of(TYPE).cell_count(store)
}
