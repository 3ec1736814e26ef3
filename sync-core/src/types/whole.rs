//! Whole CRDTs, whatever their type: what a key or a field holds, and how it is removed.
//!
//! For who does not know the type, as a tool does not. Each type is removed in its own way: counters are reset,
//! a bounded counter only where no right can be stranded, everything else by one event that ends what is
//! seen. All of it is observed remove: concurrent writes survive. A grow-only set knows no remove, so an add of what it
//! holds mints nothing and does not survive one of these; that is for operators, not for its users.
//!
//! ```
//! use sync_core::types::{or_set, pn_counter, whole};
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! or_set::add(&mut group, "tea", b"green")?;
//! pn_counter::add(&mut group, "tea", 5)?;
//! assert_eq!(whole::types(group.store(), "tea").len(), 2);
//! assert_eq!(whole::remove_all(&mut group, "tea")?, 2);
//! group.commit();
//! assert!(whole::types(&store, "tea").is_empty());
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::or_map::{self, Map};
use super::{At, bounded_counter, conflict, g_counter, pn_counter};
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::store::{Group, Store};

/// The types of what lies at `at`, ascending by tag; none if nothing does.
pub fn types<'k>(store: &Store, at: impl Into<At<'k>>) -> Vec<TypeTag> {
    let at = at.into();
    match at.in_map() {
        None => conflict::types(store, at.as_key()),
        Some((map, name)) => {
            let fields = or_map::fields(store, &map).into_iter();
            fields.filter(|field| field.name == name).map(|field| field.ty).collect()
        }
    }
}

/// Removes the CRDT of type `ty` at `at`, as far as this replica has seen it; false if there was nothing.
///
/// # Errors
/// A limit, or [`WriteError::RightsOut`] for a bounded counter; nothing changed then.
pub fn remove<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, ty: TypeTag) -> Result<bool, WriteError> {
    let at = at.into();
    match ty {
        TypeTag::PN_COUNTER => pn_counter::reset(group, at),
        TypeTag::G_COUNTER => g_counter::reset(group, at),
        TypeTag::BOUNDED_COUNTER => bounded_counter::remove(group, at),
        TypeTag::OR_MAP => or_map::clear(group, &Map::at_place(at)).map(|cells| cells > 0),
        ty => at.cells_of(ty).clear(group).map(|cells| cells > 0),
    }
}

/// Removes every CRDT at `at`, of whatever type; returns how many.
///
/// # Errors
/// As for [`remove`]; what was removed before is undone with the group.
pub fn remove_all<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    let at = at.into();
    let mut count = 0;
    for ty in types(group.store(), at) {
        count += u64::from(remove(group, at, ty)?);
    }
    Ok(count)
}
