//! G-counter: a sum that only grows, but for observed reset, which is how it is removed.
//!
//! The same rows as the [PN-counter](super::pn_counter)'s, of which only increments are used, under a tag of
//! its own: a reader may rely on it that nobody counts down (Shapiro et al. 2011).
//!
//! ```
//! use sync_core::types::g_counter;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! g_counter::add(&mut group, "visits", 2)?;
//! g_counter::add(&mut group, "visits", 1)?;
//! group.commit();
//! assert_eq!(g_counter::value(&store, "visits"), Some(3));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::{At, counter};
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::G_COUNTER;

/// Adds `by`; 0 mints nothing.
///
/// # Errors
/// A limit was reached, or this owner's own contribution would leave 64 bits; nothing changed then.
pub fn add<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, by: u64) -> Result<(), WriteError> {
    counter::add(group, &at.into().cells_of(TYPE), by, 0)
}

/// Takes back every increment that this replica has seen, by all owners, in one group; false if there were
/// none. Concurrent ones survive, exactly.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn reset<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    counter::reset(group, &at.into().cells_of(TYPE))
}

/// The sum; `None` if no owner has a live contribution. What a member wrote as a decrement, which this type has
/// not, is read as a PN-counter's.
pub fn value<'k>(store: &Store, at: impl Into<At<'k>>) -> Option<i128> {
    counter::value(store, &at.into().cells_of(TYPE))
}
