//! Writes: one operation, or several as one atomic group.
//!
//! Every write of the API becomes an [`Op`], a plain value with encoded bytes, and [`apply`] is the one
//! place where it meets the core. A [`Tx`] strings several together inside one core group: each sees
//! the effects of those before it, and all of them are committed or none. Typed access goes by key:
//! `tx.or_set::<String>("cart/7").add(&line)?`.

use std::marker::PhantomData;

use serde::Serialize;
use sync_core::causal::CausalContext;
use sync_core::error::WriteError;
use sync_core::store::{Group, Store};
use sync_core::types::{lww_map, or_set, pn_counter};

use crate::error::Error;
use crate::value::encode;
use crate::view::View;

/// One operation, its values encoded.
#[derive(Debug)]
pub(crate) enum Op<'a> {
    SetAdd { key: &'a str, element: &'a [u8] },
    SetRemove { key: &'a str, element: &'a [u8] },
    SetClear { key: &'a str },
    MapPut { key: &'a str, field: &'a [u8], value: &'a [u8] },
    MapRemove { key: &'a str, field: &'a [u8] },
    MapClear { key: &'a str },
    CounterAdd { key: &'a str, by: i64 },
    CounterReset { key: &'a str },
}

/// Applies `op` to the group. The answer counts what was there to remove; 0 where nothing is removed.
pub(crate) fn apply(group: &mut Group<'_>, op: &Op<'_>) -> Result<u64, WriteError> {
    match *op {
        Op::SetAdd { key, element } => or_set::add(group, key, element).map(|()| 0),
        Op::SetRemove { key, element } => or_set::remove(group, key, element).map(u64::from),
        Op::SetClear { key } => or_set::clear(group, key),
        Op::MapPut { key, field, value } => lww_map::put(group, key, field, value).map(|()| 0),
        Op::MapRemove { key, field } => lww_map::remove(group, key, field).map(u64::from),
        Op::MapClear { key } => lww_map::clear(group, key),
        Op::CounterAdd { key, by } => pn_counter::add(group, key, by).map(|()| 0),
        Op::CounterReset { key } => pn_counter::reset(group, key).map(u64::from),
    }
}

/// What a transaction needs of the core's group; hides the group's lifetime from the API.
trait Grouped {
    fn store(&self) -> &Store;
    fn apply(&mut self, op: &Op<'_>) -> Result<u64, WriteError>;
}

impl Grouped for Group<'_> {
    fn store(&self) -> &Store {
        Group::store(self)
    }

    fn apply(&mut self, op: &Op<'_>) -> Result<u64, WriteError> {
        apply(self, op)
    }
}

/// A transaction in the making, given to the closure of [`crate::Node::transaction`].
///
/// It holds the node's lock: keep it short, and do not call the node from inside, only the `Tx`.
/// Once an operation has failed every further one fails with the same error, and so does the
/// transaction, even if the closure goes on and returns `Ok`.
pub struct Tx<'a> {
    group: &'a mut (dyn Grouped + 'a),
    failed: Option<Error>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(group: &'a mut Group<'_>) -> Self {
        Self { group, failed: None }
    }

    /// The error of the first operation that failed.
    pub(crate) fn into_failure(self) -> Option<Error> {
        self.failed
    }

    /// The add-wins set of `T` at `key`.
    pub fn or_set<'t, T>(&'t mut self, key: &'t str) -> TxOrSet<'t, T> {
        TxOrSet { steps: self.steps(), key, element: PhantomData }
    }

    /// The last-writer-wins map from `K` to `V` at `key`.
    pub fn lww_map<'t, K, V>(&'t mut self, key: &'t str) -> TxLwwMap<'t, K, V> {
        TxLwwMap { steps: self.steps(), key, entry: PhantomData }
    }

    /// The counter at `key`.
    pub fn pn_counter<'t>(&'t mut self, key: &'t str) -> TxPnCounter<'t> {
        TxPnCounter { steps: self.steps(), key }
    }

    /// What this replica knew before this transaction: the events that all of its operations have seen.
    /// The transaction's own events are not in it; they come with [`crate::Written`].
    pub fn seen(&self) -> &CausalContext {
        self.group.store().context()
    }

    /// Reads, with the effects of this transaction's operations so far.
    pub fn view(&self) -> View<'_> {
        View::new(self.group.store())
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps { group: &mut *self.group, failed: &mut self.failed }
    }
}

/// The part of a transaction that a typed handle borrows.
struct Steps<'t> {
    group: &'t mut (dyn Grouped + 't),
    failed: &'t mut Option<Error>,
}

impl Steps<'_> {
    fn run(&mut self, op: Result<Op<'_>, Error>) -> Result<u64, Error> {
        if let Some(error) = self.failed.as_ref() {
            return Err(error.clone());
        }
        let done = op.and_then(|op| self.group.apply(&op).map_err(Error::Write));
        if let Err(error) = &done {
            *self.failed = Some(error.clone());
        }
        done
    }
}

/// An add-wins set inside a transaction.
pub struct TxOrSet<'t, T> {
    steps: Steps<'t>,
    key: &'t str,
    element: PhantomData<fn() -> T>,
}

impl<T: Serialize> TxOrSet<'_, T> {
    /// Adds `element`. Adding a present one renews it against concurrent removes.
    ///
    /// # Errors
    /// [`Error::Encode`], or [`Error::Write`] for a limit; the transaction is then lost.
    pub fn add(&mut self, element: &T) -> Result<(), Error> {
        let bytes = encode(self.key, element);
        let key = self.key;
        self.steps.run(as_op(&bytes, |element| Op::SetAdd { key, element })).map(drop)
    }

    /// Removes `element`; false if it was not there, and then nothing is minted for it.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn remove(&mut self, element: &T) -> Result<bool, Error> {
        let bytes = encode(self.key, element);
        let key = self.key;
        self.steps.run(as_op(&bytes, |element| Op::SetRemove { key, element })).map(|count| count > 0)
    }

    /// Removes every element seen here, as one event; returns how many.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn clear(&mut self) -> Result<u64, Error> {
        self.steps.run(Ok(Op::SetClear { key: self.key }))
    }
}

/// A last-writer-wins map inside a transaction.
pub struct TxLwwMap<'t, K, V> {
    steps: Steps<'t>,
    key: &'t str,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Serialize, V: Serialize> TxLwwMap<'_, K, V> {
    /// Sets `field` to `value`.
    ///
    /// # Errors
    /// [`Error::Encode`], or [`Error::Write`] for a limit; the transaction is then lost.
    pub fn put(&mut self, field: &K, value: &V) -> Result<(), Error> {
        let key = self.key;
        let bytes = encode(key, field).and_then(|field| Ok((field, encode(key, value)?)));
        let op = as_op(&bytes, |(field, value)| Op::MapPut { key, field, value });
        self.steps.run(op).map(drop)
    }

    /// Removes `field`; false if it was not there, and then nothing is minted for it.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn remove(&mut self, field: &K) -> Result<bool, Error> {
        let bytes = encode(self.key, field);
        let key = self.key;
        self.steps.run(as_op(&bytes, |field| Op::MapRemove { key, field })).map(|count| count > 0)
    }

    /// Removes every field seen here, as one event; returns how many.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn clear(&mut self) -> Result<u64, Error> {
        self.steps.run(Ok(Op::MapClear { key: self.key }))
    }
}

/// A counter inside a transaction.
pub struct TxPnCounter<'t> {
    steps: Steps<'t>,
    key: &'t str,
}

impl TxPnCounter<'_> {
    /// Adds `by`, which may be negative; 0 mints nothing.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit; the transaction is then lost.
    pub fn add(&mut self, by: i64) -> Result<(), Error> {
        self.steps.run(Ok(Op::CounterAdd { key: self.key, by })).map(drop)
    }

    /// Sets the counter back to 0 as far as it is seen here: increments that this replica has not seen
    /// survive. False if there was nothing to reset.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn reset(&mut self) -> Result<bool, Error> {
        self.steps.run(Ok(Op::CounterReset { key: self.key })).map(|count| count > 0)
    }
}

/// The operation made of encoded values, or the encoder's error.
fn as_op<'a, B, F>(bytes: &'a Result<B, Error>, op: F) -> Result<Op<'a>, Error>
where
    F: FnOnce(&'a B) -> Op<'a>,
{
    bytes.as_ref().map(op).map_err(Clone::clone)
}
