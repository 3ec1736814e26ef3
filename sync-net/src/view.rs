//! Reads of one state: everything that one [`View`] answers is true at the same moment.
//!
//! [`crate::Node::read`] gives a view to a closure under the node's lock, [`crate::Tx::view`] gives one
//! with the effects of a transaction so far. The handles' own readers are one-line views.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::causal::CausalContext;
use sync_core::store::Store;
use sync_core::types::{lww_map, or_set, pn_counter};

use crate::error::ReadError;
use crate::value::{decode, encode_for_lookup};

/// One state of the store, to read several things from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    store: &'a Store,
}

impl<'a> View<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The add-wins set of `T` at `key`.
    pub fn or_set<T>(&self, key: &'a str) -> OrSetView<'a, T> {
        OrSetView { store: self.store, key, element: PhantomData }
    }

    /// The last-writer-wins map from `K` to `V` at `key`.
    pub fn lww_map<K, V>(&self, key: &'a str) -> LwwMapView<'a, K, V> {
        LwwMapView { store: self.store, key, entry: PhantomData }
    }

    /// The value of the counter at `key`; 0 if nothing was ever added.
    pub fn pn_counter(&self, key: &str) -> i128 {
        pn_counter::value(self.store, key).unwrap_or(0)
    }

    /// The events that this state includes.
    pub fn context(&self) -> &'a CausalContext {
        self.store.context()
    }
}

/// An add-wins set in one state.
pub struct OrSetView<'a, T> {
    store: &'a Store,
    key: &'a str,
    element: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> OrSetView<'_, T> {
    /// True if `element` is in the set. One that cannot be encoded was never added.
    pub fn contains(&self, element: &T) -> bool {
        encode_for_lookup(element).is_some_and(|bytes| or_set::contains(self.store, self.key, &bytes))
    }

    /// Every element, ordered by its encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn elements(&self) -> Result<Vec<T>, ReadError> {
        or_set::elements(self.store, self.key).map(|bytes| decode(self.key, "an element", bytes)).collect()
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        or_set::len(self.store, self.key)
    }

    /// True if the set has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A last-writer-wins map in one state.
pub struct LwwMapView<'a, K, V> {
    store: &'a Store,
    key: &'a str,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Serialize + DeserializeOwned, V: DeserializeOwned> LwwMapView<'_, K, V> {
    /// The value of `field`, if there is one. Of concurrent writes the later by hybrid clock counts.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if the value is no `V`.
    pub fn get(&self, field: &K) -> Result<Option<V>, ReadError> {
        encode_for_lookup(field)
            .and_then(|field| lww_map::get(self.store, self.key, &field))
            .map(|bytes| decode(self.key, "a value", bytes))
            .transpose()
    }

    /// Every field with its value, ordered by the field's encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if a field is no `K` or a value no `V`.
    pub fn entries(&self) -> Result<Vec<(K, V)>, ReadError> {
        lww_map::entries(self.store, self.key)
            .map(|(field, value)| {
                Ok((decode(self.key, "a field", field)?, decode(self.key, "a value", value)?))
            })
            .collect()
    }
}
