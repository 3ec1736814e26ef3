//! Several types on one key: all of them live on, and the key reads as one of them.
//!
//! The type is part of a CRDT's identity, so two replicas that make a set and a counter of one key apart have two
//! CRDTs, and neither can harm the other. Who opens the key without saying a type gets the type with the smallest
//! tag of those present: a function of the state, so the same on every replica, whatever came first.
//! [`Event::TypesMet`](crate::node::Event::TypesMet) tells of the others when a key becomes two.

use crate::cell::TypeTag;
use crate::store::Store;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The type that the key reads as.
    pub ty: TypeTag,
    /// The other types present on the key, ascending by tag; mostly none. Remove what is not wanted.
    pub others: Vec<TypeTag>,
}

/// The types on `key`; `None` if none is present.
///
/// ```
/// use sync_core::cell::TypeTag;
/// use sync_core::types::{conflict, or_set, pn_counter};
/// # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
/// # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
/// # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
/// let mut group = store.group(replica, owner, 1, Hlc(1));
/// pn_counter::add(&mut group, "tea", 1)?;
/// or_set::add(&mut group, "tea", b"green")?;
/// group.commit();
/// let opened = conflict::open(&store, "tea").expect("two types are there");
/// assert_eq!((opened.ty, opened.others), (TypeTag::OR_SET, vec![TypeTag::PN_COUNTER]));
/// # Ok::<(), sync_core::error::WriteError>(())
/// ```
pub fn open(store: &Store, key: &str) -> Option<Opened> {
    let mut types = types(store, key);
    let ty = *types.first()?;
    Some(Opened { ty, others: types.split_off(1) })
}

/// The types present on `key`, ascending by tag.
pub(super) fn types(store: &Store, key: &str) -> Vec<TypeTag> {
    // A key sorts before all others that begin with it.
    let objects = store.objects(key).map(|info| info.object).take_while(|object| object.key.as_str() == key);
    let mut types: Vec<TypeTag> =
        objects.map(|object| object.ty).filter(|ty| store.is_present(key, *ty)).collect();
    types.sort_unstable();
    types
}
