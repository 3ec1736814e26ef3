//! Enable-wins flag: on if someone turned it on and nobody who saw that turned it off.
//!
//! One cell without payload; on iff a dot of it is live. Turning off ends what it saw, so a concurrent turning
//! on wins (an [OR-set](super::or_set) of one element; Shapiro et al. 2011).
//!
//! ```
//! use sync_core::types::enable_flag;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! enable_flag::enable(&mut group, "dark")?;
//! group.commit();
//! assert!(enable_flag::is_on(&store, "dark"));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::ENABLE_FLAG;

/// Turns the flag on. Doing so again renews it: a concurrent turning off does not end it then.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn enable<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<(), WriteError> {
    at.into().cells_of(TYPE).put(group, &[], &[]).map(drop)
}

/// Turns the flag off as far as this replica has seen it turned on; false if it is off (nothing is minted).
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn disable<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, &[])
}

/// True if the flag is on; untouched it is off.
pub fn is_on<'k>(store: &Store, at: impl Into<At<'k>>) -> bool {
    !at.into().cells_of(TYPE).items(store, &[]).is_empty()
}
