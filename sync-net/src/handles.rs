//! Typed handles: a key, a type, and the node that holds them.
//!
//! A handle is a name, not the data: making one stores nothing, and two handles of one key are the same
//! CRDT. Each operation locks the node for one step. Values are encoded with postcard (see
//! [`crate::value`]): elements and fields must have one encoding only, so no hash maps inside.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::node::Written;

use crate::error::{Error, ReadError};
use crate::node::Node;
use crate::tx::Op;
use crate::value::encode;

/// An add-wins, observed-remove set: a remove ends exactly the adds that it saw.
pub struct OrSet<T> {
    node: Node,
    key: Box<str>,
    element: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> OrSet<T> {
    pub(crate) fn new(node: Node, key: &str) -> Self {
        Self { node, key: key.into(), element: PhantomData }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Adds `element`. Adding a present one mints an event too: it renews the element against
    /// concurrent removes.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing is added then.
    pub fn add(&self, element: &T) -> Result<Written, Error> {
        let bytes = encode(&self.key, element)?;
        self.node.apply(&Op::SetAdd { key: &self.key, element: &bytes }).map(|(_, written)| written)
    }

    /// Removes `element`; false if it was not there, and then nothing is minted.
    ///
    /// # Errors
    /// As [`Self::add`]; nothing is removed then.
    pub fn remove(&self, element: &T) -> Result<(bool, Written), Error> {
        let bytes = encode(&self.key, element)?;
        let (count, written) = self.node.apply(&Op::SetRemove { key: &self.key, element: &bytes })?;
        Ok((count > 0, written))
    }

    /// Removes every element seen here, as one event; returns how many. Concurrent adds survive.
    ///
    /// # Errors
    /// As [`Self::add`]; nothing is removed then.
    pub fn clear(&self) -> Result<(u64, Written), Error> {
        self.node.apply(&Op::SetClear { key: &self.key })
    }

    /// True if `element` is in the set. One that cannot be encoded was never added.
    pub fn contains(&self, element: &T) -> bool {
        self.node.read(|view| view.or_set::<T>(&self.key).contains(element))
    }

    /// Every element, ordered by its encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn elements(&self) -> Result<Vec<T>, ReadError> {
        self.node.read(|view| view.or_set::<T>(&self.key).elements())
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.node.read(|view| view.or_set::<T>(&self.key).len())
    }

    /// True if the set has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A map whose fields each keep their last written value.
///
/// A write beats the writes that it saw; of concurrent writes the later by hybrid clock is read, and
/// the others stay until the next write of the field.
pub struct LwwMap<K, V> {
    node: Node,
    key: Box<str>,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K, V> LwwMap<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    pub(crate) fn new(node: Node, key: &str) -> Self {
        Self { node, key: key.into(), entry: PhantomData }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Sets `field` to `value`.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing is set then.
    pub fn put(&self, field: &K, value: &V) -> Result<Written, Error> {
        let (field, value) = (encode(&self.key, field)?, encode(&self.key, value)?);
        let op = Op::MapPut { key: &self.key, field: &field, value: &value };
        self.node.apply(&op).map(|(_, written)| written)
    }

    /// Removes `field`; false if it was not there, and then nothing is minted.
    ///
    /// # Errors
    /// As [`Self::put`]; nothing is removed then.
    pub fn remove(&self, field: &K) -> Result<(bool, Written), Error> {
        let field = encode(&self.key, field)?;
        let (count, written) = self.node.apply(&Op::MapRemove { key: &self.key, field: &field })?;
        Ok((count > 0, written))
    }

    /// Removes every field seen here, as one event; returns how many. Concurrent writes survive.
    ///
    /// # Errors
    /// As [`Self::put`]; nothing is removed then.
    pub fn clear(&self) -> Result<(u64, Written), Error> {
        self.node.apply(&Op::MapClear { key: &self.key })
    }

    /// The value of `field`, if there is one.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if the value is no `V`.
    pub fn get(&self, field: &K) -> Result<Option<V>, ReadError> {
        self.node.read(|view| view.lww_map::<K, V>(&self.key).get(field))
    }

    /// Every field with its value, ordered by the field's encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if a field is no `K` or a value no `V`.
    pub fn entries(&self) -> Result<Vec<(K, V)>, ReadError> {
        self.node.read(|view| view.lww_map::<K, V>(&self.key).entries())
    }
}

/// A counter that every node may add to and take from, also while cut off.
pub struct PnCounter {
    node: Node,
    key: Box<str>,
}

impl PnCounter {
    pub(crate) fn new(node: Node, key: &str) -> Self {
        Self { node, key: key.into() }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Adds `by`, which may be negative; 0 mints nothing.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing is added then.
    pub fn add(&self, by: i64) -> Result<Written, Error> {
        self.node.apply(&Op::CounterAdd { key: &self.key, by }).map(|(_, written)| written)
    }

    /// The sum of what was added; 0 if nothing was. Wider than `i64`, because each node's part may
    /// fill one.
    pub fn value(&self) -> i128 {
        self.node.read(|view| view.pn_counter(&self.key))
    }

    /// Sets the counter back to 0 as far as it is seen here: increments that this node has not seen
    /// survive. False if there was nothing to reset.
    ///
    /// # Errors
    /// As [`Self::add`]; nothing is reset then.
    pub fn reset(&self) -> Result<(bool, Written), Error> {
        let (count, written) = self.node.apply(&Op::CounterReset { key: &self.key })?;
        Ok((count > 0, written))
    }
}

// By hand: a derive would ask for `T: Clone`.
impl<T> Clone for OrSet<T> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), key: self.key.clone(), element: PhantomData }
    }
}

impl<K, V> Clone for LwwMap<K, V> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), key: self.key.clone(), entry: PhantomData }
    }
}

impl Clone for PnCounter {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), key: self.key.clone() }
    }
}
