//! Sets: add-wins, grow-only, remove-wins.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::types::{grow_set, or_set, rw_set};

use super::{expires, handle};
use crate::access::{Reads, Writes};
use crate::error::{Error, ReadError};
use crate::value::{decode, encode, encode_for_lookup};

handle! {
    /// An add-wins, observed-remove set: a remove ends exactly the adds that it saw.
    OrSet<T>
}

expires!(OrSet<T>);

impl<T: Serialize + DeserializeOwned, A: Writes> OrSet<T, A> {
    /// Adds `element`. Adding a present one mints an event too: it renews the element against
    /// concurrent removes.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn add(&self, element: &T) -> Result<A::Plain, Error> {
        let bytes = self.access.checked(encode(self.key(), element))?;
        self.access
            .run(&mut |group| self.place.write(group, |group, at| or_set::add(group, at, &bytes).map(|()| 0)))
            .map(A::plain)
    }

    /// Removes `element`; false if it was not there, and then nothing is minted.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn remove(&self, element: &T) -> Result<A::Found, Error> {
        let bytes = self.access.checked(encode(self.key(), element))?;
        self.access
            .run(&mut |group| self.place.at(|at| or_set::remove(group, at, &bytes).map(u64::from)))
            .map(A::found)
    }

    /// Removes every element seen here, as one event; returns how many. Concurrent adds survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Count, Error> {
        self.access.run(&mut |group| self.place.at(|at| or_set::clear(group, at)))
    }
}

impl<T: Serialize + DeserializeOwned, A: Reads> OrSet<T, A> {
    /// True if `element` is in the set. One that cannot be encoded was never added.
    pub fn contains(&self, element: &T) -> bool {
        let Some(bytes) = encode_for_lookup(element) else { return false };
        self.access.look(|store| self.place.at(|at| or_set::contains(store, at, &bytes)))
    }

    /// Every element, ordered by its encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn elements(&self) -> Result<Vec<T>, ReadError> {
        self.access.look(|store| {
            self.place.at(|at| {
                or_set::elements(store, at).map(|bytes| decode(self.key(), "an element", bytes)).collect()
            })
        })
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.access.look(|store| self.place.at(|at| or_set::len(store, at)))
    }

    /// True if the set has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

handle! {
    /// A set that only grows.
    GrowSet<T>
}

expires!(GrowSet<T>);

impl<T: Serialize + DeserializeOwned, A: Writes> GrowSet<T, A> {
    /// Adds `element`; false if it is present, and then nothing is minted.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn add(&self, element: &T) -> Result<A::Found, Error> {
        let bytes = self.access.checked(encode(self.key(), element))?;
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| grow_set::add(group, at, &bytes).map(u64::from))
            })
            .map(A::found)
    }
}

impl<T: Serialize + DeserializeOwned, A: Reads> GrowSet<T, A> {
    /// True if `element` is in the set. One that cannot be encoded was never added.
    pub fn contains(&self, element: &T) -> bool {
        let Some(bytes) = encode_for_lookup(element) else { return false };
        self.access.look(|store| self.place.at(|at| grow_set::contains(store, at, &bytes)))
    }

    /// Every element, ordered by its encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn elements(&self) -> Result<Vec<T>, ReadError> {
        self.access.look(|store| {
            self.place.at(|at| {
                grow_set::elements(store, at).map(|bytes| decode(self.key(), "an element", bytes)).collect()
            })
        })
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.access.look(|store| self.place.at(|at| grow_set::len(store, at)))
    }

    /// True if the set has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

handle! {
    /// A remove-wins set: an element that is added and removed concurrently is absent.
    ///
    /// Each remove leaves a mark that wins against adds it has not seen, until an add that has seen it ends it.
    RwSet<T>
}

expires!(RwSet<T>);

impl<T: Serialize + DeserializeOwned, A: Writes> RwSet<T, A> {
    /// Adds `element`, unless someone removes it concurrently.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn add(&self, element: &T) -> Result<A::Plain, Error> {
        let bytes = self.access.checked(encode(self.key(), element))?;
        self.access
            .run(&mut |group| self.place.write(group, |group, at| rw_set::add(group, at, &bytes).map(|()| 0)))
            .map(A::plain)
    }

    /// Removes `element`; false if it was not there, and then too it wins against concurrent adds.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn remove(&self, element: &T) -> Result<A::Found, Error> {
        let bytes = self.access.checked(encode(self.key(), element))?;
        self.access
            .run(&mut |group| self.place.at(|at| rw_set::remove(group, at, &bytes).map(u64::from)))
            .map(A::found)
    }

    /// Forgets all that is seen of the set, marks too, as one event; returns how many elements it had or had
    /// marked. Concurrent adds survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Count, Error> {
        self.access.run(&mut |group| self.place.at(|at| rw_set::clear(group, at)))
    }
}

impl<T: Serialize + DeserializeOwned, A: Reads> RwSet<T, A> {
    /// True if `element` is in the set. One that cannot be encoded was never added.
    pub fn contains(&self, element: &T) -> bool {
        let Some(bytes) = encode_for_lookup(element) else { return false };
        self.access.look(|store| self.place.at(|at| rw_set::contains(store, at, &bytes)))
    }

    /// Every element, ordered by its encoded bytes.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn elements(&self) -> Result<Vec<T>, ReadError> {
        self.access.look(|store| {
            self.place.at(|at| {
                rw_set::elements(store, at).map(|bytes| decode(self.key(), "an element", bytes)).collect()
            })
        })
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.access.look(|store| self.place.at(|at| rw_set::len(store, at)))
    }

    /// True if the set has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
