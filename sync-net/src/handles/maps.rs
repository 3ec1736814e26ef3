//! Maps of plain values: last writer wins, and many values a field.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::types::{lww_map, multimap};

use super::{expires, handle};
use crate::access::{Reads, Writes};
use crate::error::{Error, ReadError};
use crate::value::{decode, encode, encode_for_lookup};

handle! {
    /// A map whose fields each keep their last written value.
    ///
    /// A write beats the writes that it saw; of concurrent writes the later by hybrid clock is read, and
    /// the others stay until the next write of the field.
    LwwMap<K, V>
}

expires!(LwwMap<K, V>);

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned, A: Writes> LwwMap<K, V, A> {
    /// Sets `field` to `value`.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn put(&self, field: &K, value: &V) -> Result<A::Plain, Error> {
        let made = encode(self.key(), field).and_then(|field| Ok((field, encode(self.key(), value)?)));
        let (field, value) = self.access.checked(made)?;
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| lww_map::put(group, at, &field, &value).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Removes `field`; false if it was not there, and then nothing is minted.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn remove(&self, field: &K) -> Result<A::Found, Error> {
        let field = self.access.checked(encode(self.key(), field))?;
        self.access
            .run(&mut |group| self.place.at(|at| lww_map::remove(group, at, &field).map(u64::from)))
            .map(A::found)
    }

    /// Removes every field seen here, as one event; returns how many. Concurrent writes survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Count, Error> {
        self.access.run(&mut |group| self.place.at(|at| lww_map::clear(group, at)))
    }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned, A: Reads> LwwMap<K, V, A> {
    /// The value of `field`, if there is one. Of concurrent writes the later by hybrid clock counts.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if the value is no `V`.
    pub fn get(&self, field: &K) -> Result<Option<V>, ReadError> {
        let Some(field) = encode_for_lookup(field) else { return Ok(None) };
        self.access.look(|store| {
            let value = self.place.at(|at| lww_map::get(store, at, &field));
            value.map(|bytes| decode(self.key(), "a value", bytes)).transpose()
        })
    }

    /// Every field with its value, ordered by the field's encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if a field is no `K` or a value no `V`.
    pub fn entries(&self) -> Result<Vec<(K, V)>, ReadError> {
        let entry = |(field, value): (&[u8], &[u8])| {
            Ok((decode(self.key(), "a field", field)?, decode(self.key(), "a value", value)?))
        };
        self.access.look(|store| self.place.at(|at| lww_map::entries(store, at).map(entry).collect()))
    }
}

handle! {
    /// A map whose fields each hold an add-wins set of values.
    Multimap<K, V>
}

expires!(Multimap<K, V>);

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned, A: Writes> Multimap<K, V, A> {
    /// Adds `value` to `field`. Adding a present one renews it against concurrent removes.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn add(&self, field: &K, value: &V) -> Result<A::Plain, Error> {
        let made = encode(self.key(), field).and_then(|field| Ok((field, encode(self.key(), value)?)));
        let (field, value) = self.access.checked(made)?;
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| multimap::add(group, at, &field, &value).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Removes `value` of `field`; false if it was not there, and then nothing is minted.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn remove(&self, field: &K, value: &V) -> Result<A::Found, Error> {
        let made = encode(self.key(), field).and_then(|field| Ok((field, encode(self.key(), value)?)));
        let (field, value) = self.access.checked(made)?;
        self.access
            .run(&mut |group| self.place.at(|at| multimap::remove(group, at, &field, &value).map(u64::from)))
            .map(A::found)
    }

    /// Removes every value of `field` seen here, as one event; returns how many. Concurrent adds survive.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn remove_field(&self, field: &K) -> Result<A::Count, Error> {
        let field = self.access.checked(encode(self.key(), field))?;
        self.access.run(&mut |group| self.place.at(|at| multimap::remove_field(group, at, &field)))
    }

    /// Removes every pair seen here, as one event; returns how many. Concurrent adds survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Count, Error> {
        self.access.run(&mut |group| self.place.at(|at| multimap::clear(group, at)))
    }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned, A: Reads> Multimap<K, V, A> {
    /// True if `value` of `field` is there. What cannot be encoded was never added.
    pub fn contains(&self, field: &K, value: &V) -> bool {
        let (Some(field), Some(value)) = (encode_for_lookup(field), encode_for_lookup(value)) else {
            return false;
        };
        self.access.look(|store| self.place.at(|at| multimap::contains(store, at, &field, &value)))
    }

    /// Every value of `field`, ordered by its encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `V`.
    pub fn values(&self, field: &K) -> Result<Vec<V>, ReadError> {
        let Some(field) = encode_for_lookup(field) else { return Ok(Vec::new()) };
        let value = |bytes: &[u8]| decode(self.key(), "a value", bytes);
        self.access.look(|store| self.place.at(|at| multimap::values(store, at, &field).map(value).collect()))
    }

    /// Every pair of field and value.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if a field is no `K` or a value no `V`.
    pub fn entries(&self) -> Result<Vec<(K, V)>, ReadError> {
        let entry = |(field, value): (&[u8], &[u8])| {
            Ok((decode(self.key(), "a field", field)?, decode(self.key(), "a value", value)?))
        };
        self.access.look(|store| self.place.at(|at| multimap::entries(store, at).map(entry).collect()))
    }
}
