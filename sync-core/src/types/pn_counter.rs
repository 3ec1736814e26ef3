//! PN-counter with observed reset: a reset takes back the increments it saw and no other.
//!
//! The rows and floors, and why they are needed, are in [`super::counter`]; Shapiro et al. 2011 have the
//! counter without a reset.
//!
//! ```
//! use sync_core::types::pn_counter;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! pn_counter::add(&mut group, "stock/tea", 5)?;
//! pn_counter::add(&mut group, "stock/tea", -2)?;
//! group.commit();
//! assert_eq!(pn_counter::value(&store, "stock/tea"), Some(3));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::{At, counter};
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

pub use super::counter::{Contribution, Floor};

const TYPE: TypeTag = TypeTag::PN_COUNTER;

/// Adds `by`, which may be negative; 0 mints nothing.
///
/// # Errors
/// A limit was reached, or this owner's own contribution would leave 64 bits; nothing changed then.
pub fn add<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, by: i64) -> Result<(), WriteError> {
    let (p, n) = if by > 0 { (by.unsigned_abs(), 0) } else { (0, by.unsigned_abs()) };
    counter::add(group, &at.into().cells_of(TYPE), p, n)
}

/// Takes back every increment and decrement that this replica has seen, by all owners, in one group;
/// false if there were none. Concurrent ones survive, exactly.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn reset<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    counter::reset(group, &at.into().cells_of(TYPE))
}

/// Ends the own floors that no live own contribution can meet any more; returns how many. The node does it by
/// itself.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn collect_floors<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    let owner = group.owner();
    counter::collect(group, &at.into().cells_of(TYPE), owner, |_| true)
}

/// The counter's value; `None` if no owner has a live contribution.
pub fn value<'k>(store: &Store, at: impl Into<At<'k>>) -> Option<i128> {
    counter::value(store, &at.into().cells_of(TYPE))
}
