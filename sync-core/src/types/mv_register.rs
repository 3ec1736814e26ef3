//! MV register: every value that no other write has seen.
//!
//! One cell, the value as payload. A write ends the writes that it saw; the read gives all that are left, so
//! the application sees each conflict and settles it by its next write (Shapiro et al. 2011, MV-register;
//! DeCandia et al. 2007, Dynamo).
//!
//! ```
//! use sync_core::types::mv_register;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! mv_register::set(&mut group, "shipping", b"post")?;
//! group.commit();
//! assert_eq!(mv_register::values(&store, "shipping"), [b"post"]);
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::MV_REGISTER;

/// Writes `value` and ends every write seen here.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn set<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, value: &[u8]) -> Result<(), WriteError> {
    at.into().cells_of(TYPE).put(group, &[], value).map(drop)
}

/// Ends every write seen here; false if there is none. Concurrent writes survive.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, &[])
}

/// The concurrent values, ascending by their bytes, each once; none if nothing was written.
pub fn values<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>) -> Vec<&'s [u8]> {
    let items = at.into().cells_of(TYPE).items(store, &[]);
    let mut values: Vec<&[u8]> = items.iter().map(|item| item.payload.as_bytes()).collect();
    values.sort_unstable();
    values.dedup();
    values
}
