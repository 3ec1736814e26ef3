//! The log of the newest entries.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::id::Dot;
use sync_core::types::log::{self, Bound};

use super::expires;
use crate::access::{Place, Reads, Writes};
use crate::error::{Error, ReadError};
use crate::node::Node;
use crate::value::{decode, encode};

/// A log that keeps its newest entries, in one order on all nodes.
pub struct Log<T, A = Node> {
    pub(super) access: A,
    pub(super) place: Place,
    bound: Bound,
    entry: PhantomData<fn() -> T>,
}

/// One entry of a [`Log`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry<T> {
    /// When it was appended, in milliseconds since the Unix epoch by the writer's hybrid clock.
    pub written_ms: u64,
    /// The append.
    pub dot: Dot,
    /// What was appended.
    pub value: T,
}

impl<T, A> Log<T, A> {
    pub(crate) fn bounded((access, place): (A, Place), bound: Bound) -> Self {
        Self { access, place, bound, entry: PhantomData }
    }

    /// The key; for a field of a nested map, the outermost map's.
    pub fn key(&self) -> &str {
        self.place.as_key()
    }
}

// By hand: a derive would ask for `T: Clone`.
impl<T, A: Clone> Clone for Log<T, A> {
    fn clone(&self) -> Self {
        Self::bounded((self.access.clone(), self.place.clone()), self.bound)
    }
}

expires!(Log<T>);

impl<T: Serialize + DeserializeOwned, A: Writes> Log<T, A> {
    /// Appends `value`; ends the oldest entries if more than a tenth too many are seen.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction
    /// is lost.
    pub fn append(&self, value: &T) -> Result<A::Plain, Error> {
        let bytes = self.access.checked(encode(self.key(), value))?;
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| log::append(group, at, &bytes, self.bound).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Ends every entry seen here, as one event; returns how many. Concurrent appends survive.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Count, Error> {
        self.access.run(&mut |group| self.place.at(|at| log::clear(group, at)))
    }
}

impl<T: Serialize + DeserializeOwned, A: Reads> Log<T, A> {
    /// The entries within the bound, oldest first.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if one of them is no `T`.
    pub fn entries(&self) -> Result<Vec<LogEntry<T>>, ReadError> {
        let entry = |entry: log::Entry<'_>| {
            let value = decode(self.key(), "an entry", entry.value)?;
            Ok(LogEntry { written_ms: entry.hlc.wall().0, dot: entry.dot, value })
        };
        self.access.look(|store| {
            self.place.at(|at| log::entries(store, at, self.bound).into_iter().map(entry).collect())
        })
    }
}
