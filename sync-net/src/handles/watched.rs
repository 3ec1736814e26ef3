//! `watch` on the handles of a namespace: the changes of one CRDT, typed.

use serde::de::DeserializeOwned;
use sync_core::cell::TypeTag;

use super::{
    BoundedCounter, DisableFlag, EnableFlag, GCounter, GrowSet, Log, LwwMap, LwwRegister, MaxRegister,
    MinRegister, Multimap, MvRegister, OrSet, PnCounter, RwSet,
};
use crate::namespace::Namespace;
use crate::watch::{
    CountChange, ElementChange, EntryChange, FlagChange, LogChange, NumberChange, PairChange, Policy,
    TypedWatch, ValueChange, ValuesChange,
};

/// The watches of a handle: its type parameters, the handle, its tag, and what a change of it is.
macro_rules! watched {
    ($([$($param:ident),*] $handle:ty, $tag:ident, $change:ty;)+) => {
        $(impl<$($param: DeserializeOwned),*> $handle {
            /// What is there now, then every change, of this CRDT alone. The node never waits for a watcher.
            pub fn watch(&self) -> TypedWatch<$change> {
                self.watch_by(Policy::default())
            }

            /// As [`Self::watch`], keeping what is not read by `policy`.
            pub fn watch_by(&self, policy: Policy) -> TypedWatch<$change> {
                let range = self.place.at(|at| at.cells_of(TypeTag::$tag).range(&[]));
                TypedWatch::new(&self.access, range, policy)
            }
        })+
    };
}

watched! {
    [T] OrSet<T, Namespace>, OR_SET, ElementChange<T>;
    [T] GrowSet<T, Namespace>, GROW_SET, ElementChange<T>;
    [T] RwSet<T, Namespace>, RW_SET, ElementChange<T>;
    [K, V] LwwMap<K, V, Namespace>, LWW_MAP, EntryChange<K, V>;
    [K, V] Multimap<K, V, Namespace>, MULTIMAP, PairChange<K, V>;
    [T] LwwRegister<T, Namespace>, LWW_REGISTER, ValueChange<T>;
    [T] MvRegister<T, Namespace>, MV_REGISTER, ValuesChange<T>;
    [] MaxRegister<Namespace>, MAX_REGISTER, NumberChange;
    [] MinRegister<Namespace>, MIN_REGISTER, NumberChange;
    [] EnableFlag<Namespace>, ENABLE_FLAG, FlagChange;
    [] DisableFlag<Namespace>, DISABLE_FLAG, FlagChange;
    [] PnCounter<Namespace>, PN_COUNTER, CountChange;
    [] GCounter<Namespace>, G_COUNTER, CountChange;
    [] BoundedCounter<Namespace>, BOUNDED_COUNTER, CountChange;
    [T] Log<T, Namespace>, LOG, LogChange<T>;
}
