//! Disable-wins flag: off if someone turned it off and nobody who saw that turned it on.
//!
//! One cell with `on` or `off`; on iff a write is live and all live ones say `on`. Both are writes, so a
//! turning off wins against a concurrent turning on. Untouched it is off (Shapiro et al. 2011, the remove-wins
//! dual of the enable-wins flag).
//!
//! ```
//! use sync_core::types::disable_flag;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! disable_flag::enable(&mut group, "sharing")?;
//! group.commit();
//! assert!(disable_flag::is_on(&store, "sharing"));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::At;
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::mutant::{self, Mutant};
use crate::store::{Group, ItemRef, Store};

const TYPE: TypeTag = TypeTag::DISABLE_FLAG;
/// The payload of turning off.
pub const OFF: &[u8] = &[0];
/// The payload of turning on.
pub const ON: &[u8] = &[1];

/// Turns the flag on, unless someone turns it off concurrently.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn enable<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<(), WriteError> {
    at.into().cells_of(TYPE).put(group, &[], ON).map(drop)
}

/// Turns the flag off, also where it is off: that ends what others turn on concurrently.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn disable<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<(), WriteError> {
    let cells = at.into().cells_of(TYPE);
    group.lasting(|group| cells.put(group, &[], OFF)).map(drop)
}

/// Forgets all that this replica has seen of the flag, which frees its key; false if there is nothing.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    at.into().cells_of(TYPE).end(group, &[])
}

/// True if the flag is on; untouched it is off.
pub fn is_on<'k>(store: &Store, at: impl Into<At<'k>>) -> bool {
    let items = at.into().cells_of(TYPE).items(store, &[]);
    let says_on = |item: ItemRef<'_>| item.payload.as_bytes() == ON;
    if mutant::is(Mutant::DisableLoses) {
        return items.iter().any(says_on);
    }
    !items.is_empty() && items.iter().all(says_on)
}
