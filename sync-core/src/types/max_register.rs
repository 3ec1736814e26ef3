//! Max register: the largest number written.
//!
//! One cell. A write ends the writes that it saw and carries the largest of them, so that nothing is forgotten
//! by overwriting; concurrent ones stand side by side and the read takes the largest. It takes no expiry. A
//! clear ends what it saw; a write concurrent with the clear brings back what *it* had seen.
//!
//! ```
//! use sync_core::types::max_register;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! for number in [3, 9, 5] {
//!     max_register::write(&mut group, "seen", number)?;
//! }
//! group.commit();
//! assert_eq!(max_register::get(&store, "seen"), Some(9));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::{At, extremum};
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::MAX_REGISTER;

/// Writes `number`. One that is smaller than what is shown changes nothing that can be read, and is an event all
/// the same: a concurrent clear does not end it.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn write<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, number: i64) -> Result<(), WriteError> {
    extremum::raise(group, &at.into().cells_of(TYPE), number)
}

/// Ends every write seen here; false if there is none.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, &[])
}

/// The largest number; `None` if nothing was written or all was cleared.
pub fn get<'k>(store: &Store, at: impl Into<At<'k>>) -> Option<i64> {
    extremum::largest(store, &at.into().cells_of(TYPE))
}
