//! LWW register: one value, the last one written by hybrid clock.
//!
//! One cell, the value as payload. As in the [LWW map](super::lww_map): a write ends the writes that it saw,
//! concurrent ones stand side by side, and the read takes the largest `(hlc, replica, seq)` (Shapiro et al.
//! 2011, LWW-register; the siblings are our addition, so that a join loses nothing). A clock in the far future
//! wins only over writes concurrent with it.
//!
//! ```
//! use sync_core::types::lww_register;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! lww_register::set(&mut group, "title", b"Tea")?;
//! lww_register::set(&mut group, "title", b"Black tea")?;
//! group.commit();
//! assert_eq!(lww_register::get(&store, "title"), Some(&b"Black tea"[..]));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use super::lww_map::winner;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::LWW_REGISTER;

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

/// The value; `None` if nothing was written or all was cleared.
pub fn get<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>) -> Option<&'s [u8]> {
    winner(at.into().cells_of(TYPE).items(store, &[])).map(|item| item.payload.as_bytes())
}
