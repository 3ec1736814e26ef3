//! Typed handles: a place, a type, and how to get there.
//!
//! A handle is a name, not the data: making one stores nothing, and two handles of one key are the same
//! CRDT. From a [`crate::Node`] or a [`crate::Namespace`] each operation locks the node for one step; from a [`crate::Tx`] it belongs to the
//! transaction; from a [`crate::View`] it only reads. Values are encoded with postcard (see [`crate::value`]):
//! elements and fields must have one encoding only, so no hash maps inside.

mod counters;
mod custom;
mod flags;
mod logs;
mod maps;
mod nested;
mod registers;
mod sets;
mod watched;

pub use counters::{BoundedCounter, GCounter, PnCounter};
pub use custom::{Custom, CustomType};
pub use flags::{DisableFlag, EnableFlag};
pub use logs::{Log, LogEntry};
pub use maps::{LwwMap, Multimap};
pub use nested::{MapField, OrMap};
pub use registers::{LwwRegister, MaxRegister, MinRegister, MvRegister};
pub use sets::{GrowSet, OrSet, RwSet};

/// A handle's definition: its fields, how it is made, its key, and cloning it.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident $(<$($param:ident),+>)?) => {
        $(#[$doc])*
        pub struct $name<$($($param,)+)? A = crate::namespace::Namespace> {
            pub(super) access: A,
            pub(super) place: crate::access::Place,
            types: std::marker::PhantomData<fn() -> ($($($param,)+)?)>,
        }

        impl<$($($param,)+)? A> $name<$($($param,)+)? A> {
            pub(crate) fn new((access, place): (A, crate::access::Place)) -> Self {
                Self { access, place, types: std::marker::PhantomData }
            }

            /// The key; for a field of a nested map, the outermost map's.
            pub fn key(&self) -> &str {
                self.place.as_key()
            }
        }

        // By hand: a derive would ask for `Clone` of the values' types.
        impl<$($($param,)+)? A: Clone> Clone for $name<$($($param,)+)? A> {
            fn clone(&self) -> Self {
                Self::new((self.access.clone(), self.place.clone()))
            }
        }
    };
}

/// Handles whose writes expire.
macro_rules! expires {
    ($name:ident $(<$($param:ident),+>)?) => {
        impl<$($($param,)+)? A: Clone> $name<$($($param,)+)? A> {
            /// This handle, with everything that is written through it expiring at `at`: each write by itself, and
            /// nothing that others wrote. Removals stay. A write replaces what it saw, whenever that expired.
            ///
            /// A write is readable until `at` and some seconds more ([`crate::Timing::expiry_grace`] and
            /// [`crate::Timing::expiry_step`]), everywhere until the same moment of the state's history, whatever
            /// a node's own clock says; watches then see [`crate::Cause::Expired`]. Writes from `at` on are refused:
            /// [`crate::WriteError::AlreadyExpired`].
            #[must_use = "it is this handle's writes that expire"]
            pub fn expires_at(&self, at: std::time::SystemTime) -> Self {
                let mut handle = self.clone();
                handle.place.expires = Some(crate::access::Expires::at(at));
                handle
            }

            /// As [`Self::expires_at`], `after` from each write on, by this node's clock or the store's horizon,
            /// whichever is later. In whole milliseconds.
            #[must_use = "it is this handle's writes that expire"]
            pub fn expires_in(&self, after: std::time::Duration) -> Self {
                let mut handle = self.clone();
                handle.place.expires = Some(crate::access::Expires::after(after));
                handle
            }
        }
    };
}

/// What can be opened by name, at whatever has `open(&self, name)`.
macro_rules! opens {
    (impl<$life:lifetime> $on:ty, $access:ty) => {
        impl<$life> $on { $crate::handles::opens!(@methods $access); }
    };
    (impl<$param:ident: $bound:path> $on:ty, $access:ty) => {
        impl<$param: $bound> $on { $crate::handles::opens!(@methods $access); }
    };
    (impl $on:ty, $access:ty) => {
        impl $on { $crate::handles::opens!(@methods $access); }
    };
    (@methods $access:ty) => {
        /// The add-wins set of `T` here. `T` must have one encoding only: no hash maps inside.
        pub fn or_set<T>(&self, key: &str) -> $crate::handles::OrSet<T, $access> {
            $crate::handles::OrSet::new(self.open(key))
        }

        /// The set of `T` here that only grows. `T` as for [`Self::or_set`].
        pub fn grow_set<T>(&self, key: &str) -> $crate::handles::GrowSet<T, $access> {
            $crate::handles::GrowSet::new(self.open(key))
        }

        /// The remove-wins set of `T` here. `T` as for [`Self::or_set`].
        pub fn rw_set<T>(&self, key: &str) -> $crate::handles::RwSet<T, $access> {
            $crate::handles::RwSet::new(self.open(key))
        }

        /// The last-writer-wins map from `K` to `V` here. `K` must have one encoding only: no hash maps inside.
        pub fn lww_map<K, V>(&self, key: &str) -> $crate::handles::LwwMap<K, V, $access> {
            $crate::handles::LwwMap::new(self.open(key))
        }

        /// The map from `K` to add-wins sets of `V` here. Both as for [`Self::or_set`].
        pub fn multimap<K, V>(&self, key: &str) -> $crate::handles::Multimap<K, V, $access> {
            $crate::handles::Multimap::new(self.open(key))
        }

        /// The map here whose fields hold CRDTs of any type.
        pub fn or_map(&self, key: &str) -> $crate::handles::OrMap<$access> {
            $crate::handles::OrMap::new(self.open(key))
        }

        /// The register here that keeps the last `T` written.
        pub fn lww_register<T>(&self, key: &str) -> $crate::handles::LwwRegister<T, $access> {
            $crate::handles::LwwRegister::new(self.open(key))
        }

        /// The register here that keeps every concurrently written `T`.
        pub fn mv_register<T>(&self, key: &str) -> $crate::handles::MvRegister<T, $access> {
            $crate::handles::MvRegister::new(self.open(key))
        }

        /// The register here of the largest number written.
        pub fn max_register(&self, key: &str) -> $crate::handles::MaxRegister<$access> {
            $crate::handles::MaxRegister::new(self.open(key))
        }

        /// The register here of the smallest number written.
        pub fn min_register(&self, key: &str) -> $crate::handles::MinRegister<$access> {
            $crate::handles::MinRegister::new(self.open(key))
        }

        /// The flag here that concurrent enabling turns on.
        pub fn enable_flag(&self, key: &str) -> $crate::handles::EnableFlag<$access> {
            $crate::handles::EnableFlag::new(self.open(key))
        }

        /// The flag here that concurrent disabling turns off.
        pub fn disable_flag(&self, key: &str) -> $crate::handles::DisableFlag<$access> {
            $crate::handles::DisableFlag::new(self.open(key))
        }

        /// The counter here.
        pub fn pn_counter(&self, key: &str) -> $crate::handles::PnCounter<$access> {
            $crate::handles::PnCounter::new(self.open(key))
        }

        /// The counter here that only grows.
        pub fn g_counter(&self, key: &str) -> $crate::handles::GCounter<$access> {
            $crate::handles::GCounter::new(self.open(key))
        }

        /// The counter here that never goes below 0. Not in a nested map: writing it there is refused.
        pub fn bounded_counter(&self, key: &str) -> $crate::handles::BoundedCounter<$access> {
            $crate::handles::BoundedCounter::new(self.open(key))
        }

        /// The log of `T` here, of which the newest entries within `bound` are kept. Every node must use the
        /// same bound for a key.
        pub fn log<T>(&self, key: &str, bound: sync_core::types::log::Bound) -> $crate::handles::Log<T, $access> {
            $crate::handles::Log::bounded(self.open(key), bound)
        }

        /// The CRDT of the application's own type `T` here.
        pub fn custom<T>(&self, key: &str) -> $crate::handles::Custom<T, $access> {
            $crate::handles::Custom::new(self.open(key))
        }
    };
}

pub(crate) use {expires, handle, opens};
