//! Registers: last write, all concurrent writes, extrema.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::types::{lww_register, max_register, min_register, mv_register};

use super::{expires, handle};
use crate::access::{Reads, Writes};
use crate::error::{Error, ReadError};
use crate::value::{decode, encode};

handle! {
    /// One value: of concurrent writes the later by hybrid clock is read.
    LwwRegister<T>
}

expires!(LwwRegister<T>);

impl<T: Serialize + DeserializeOwned, A: Writes> LwwRegister<T, A> {
    /// Writes `value` and ends every write seen here.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn set(&self, value: &T) -> Result<A::Plain, Error> {
        let bytes = self.access.checked(encode(self.key(), value))?;
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| lww_register::set(group, at, &bytes).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Ends every write seen here; false if there is none. Concurrent writes survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| lww_register::clear(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<T: Serialize + DeserializeOwned, A: Reads> LwwRegister<T, A> {
    /// The value, if there is one.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if it is no `T`.
    pub fn get(&self) -> Result<Option<T>, ReadError> {
        self.access.look(|store| {
            let value = self.place.at(|at| lww_register::get(store, at));
            value.map(|bytes| decode(self.key(), "a value", bytes)).transpose()
        })
    }
}

handle! {
    /// Every value that no other write has seen: the application sees each conflict, and its next write settles it.
    MvRegister<T>
}

expires!(MvRegister<T>);

impl<T: Serialize + DeserializeOwned, A: Writes> MvRegister<T, A> {
    /// Writes `value` and ends every write seen here.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn set(&self, value: &T) -> Result<A::Plain, Error> {
        let bytes = self.access.checked(encode(self.key(), value))?;
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| mv_register::set(group, at, &bytes).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Ends every write seen here; false if there is none. Concurrent writes survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| mv_register::clear(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<T: Serialize + DeserializeOwned, A: Reads> MvRegister<T, A> {
    /// The concurrent values, ordered by their encoded bytes, each once; none if nothing was written.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn values(&self) -> Result<Vec<T>, ReadError> {
        let value = |bytes: &[u8]| decode(self.key(), "a value", bytes);
        self.access
            .look(|store| self.place.at(|at| mv_register::values(store, at).into_iter().map(value).collect()))
    }
}

handle! {
    /// The largest number written; a write carries the largest that it saw.
    MaxRegister
}

impl<A: Writes> MaxRegister<A> {
    /// Writes `number`; what is shown becomes the largest of both.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn write(&self, number: i64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| max_register::write(group, at, number).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Ends every write seen here; false if there is none. Concurrent writes survive, with what they saw.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| max_register::clear(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> MaxRegister<A> {
    /// The largest number; `None` if nothing was written.
    pub fn get(&self) -> Option<i64> {
        self.access.look(|store| self.place.at(|at| max_register::get(store, at)))
    }
}

handle! {
    /// The smallest number written; a write carries the smallest that it saw.
    MinRegister
}

impl<A: Writes> MinRegister<A> {
    /// Writes `number`; what is shown becomes the smallest of both.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn write(&self, number: i64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| min_register::write(group, at, number).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Ends every write seen here; false if there is none. Concurrent writes survive, with what they saw.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| min_register::clear(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> MinRegister<A> {
    /// The smallest number; `None` if nothing was written.
    pub fn get(&self) -> Option<i64> {
        self.access.look(|store| self.place.at(|at| min_register::get(store, at)))
    }
}
