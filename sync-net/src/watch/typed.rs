//! The changes of one CRDT, in the types of its handle.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use sync_core::cell::PathRange;
use sync_core::node::Cause;
use sync_core::types::reading::{Place, Reading};
use sync_core::types::{log, multimap};

use super::feed::Covers;
use super::{Change, Entry, Policy, Start, Watch, WatchEvent};
use crate::error::ReadError;
use crate::handles::LogEntry;
use crate::namespace::Namespace;
use crate::value::decode;

/// What a [`TypedWatch`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypedEvent<C> {
    /// All that is there now, as changes from nothing: forget what you hold. Comes first, and after
    /// [`Self::Lagged`].
    Reset(Vec<C>),
    /// One step of the store, or several with [`Policy::Coalesce`]: who made each change, and the change.
    Changes(Vec<(Cause, C)>),
    /// The watch was read too slowly and its buffer was dropped; a [`Self::Reset`] follows.
    Lagged,
}

/// A stream of the changes of one CRDT, from the `watch` of its handle. Dropping it ends it.
#[derive(Debug)]
pub struct TypedWatch<C> {
    watch: Watch,
    key: Box<str>,
    /// Where the type's own paths begin.
    skipped: usize,
    types: PhantomData<fn() -> C>,
}

impl<C: FromReading> TypedWatch<C> {
    pub(crate) fn new(namespace: &Namespace, range: PathRange, policy: Policy) -> Self {
        let (key, skipped) = (range.object.key.as_str().into(), range.from.as_bytes().len());
        let covers = Covers::Crdt(range);
        let watch = Watch::new(namespace.shared_arc(), namespace.id(), covers, Start::Snapshot, policy);
        Self { watch, key, skipped, types: PhantomData }
    }

    /// The next event; `None` once the node is shut down and everything kept has been read. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if what was written is not of the handle's types. The event is lost with it, and the
    /// watch goes on.
    pub async fn next(&mut self) -> Option<Result<TypedEvent<C>, ReadError>> {
        let event = self.watch.next().await?;
        Some(self.typed(event))
    }

    /// The next event if there is one now.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Option<Result<TypedEvent<C>, ReadError>> {
        let event = self.watch.try_next()?;
        Some(self.typed(event))
    }

    fn typed(&self, event: WatchEvent) -> Result<TypedEvent<C>, ReadError> {
        Ok(match event {
            WatchEvent::Lagged => TypedEvent::Lagged,
            WatchEvent::Snapshot { entries, .. } => {
                let there = |Entry { place, reading }| self.change(&place, &Reading::Absent, &reading);
                TypedEvent::Reset(
                    entries
                        .into_iter()
                        .filter_map(|entry| there(entry).transpose())
                        .collect::<Result<_, _>>()?,
                )
            }
            WatchEvent::Batch { changes } => {
                let change = |Change { place, old, new, cause }| {
                    Ok(self.change(&place, &old, &new)?.map(|change| (cause, change)))
                };
                let changes = changes.into_iter().filter_map(|each| change(each).transpose());
                TypedEvent::Changes(changes.collect::<Result<_, _>>()?)
            }
        })
    }

    fn change(&self, place: &Place, old: &Reading, new: &Reading) -> Result<Option<C>, ReadError> {
        C::from_reading(&self.key, &place.path.as_bytes()[self.skipped..], old, new)
    }
}

/// A change that can be made of what is read; `None` if the types' own reading shows none.
pub trait FromReading: Sized {
    #[doc(hidden)]
    fn from_reading(key: &str, path: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError>;
}

/// An element came to a set or left it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElementChange<T> {
    /// It is in the set now: an element, of a multimap a pair, of a log an entry.
    Added(T),
    /// It is not in the set any more.
    Removed(T),
}

impl<T> ElementChange<T> {
    fn of(element: T, new: &Reading) -> Self {
        if new.is_absent() { Self::Removed(element) } else { Self::Added(element) }
    }
}

/// The element of a set.
impl<T: DeserializeOwned> FromReading for ElementChange<T> {
    fn from_reading(key: &str, path: &[u8], _: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        decode(key, "an element", path).map(|element| Some(Self::of(element, new)))
    }
}

/// A pair came to a multimap or left it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairChange<K, V>(pub ElementChange<(K, V)>);

impl<K: DeserializeOwned, V: DeserializeOwned> FromReading for PairChange<K, V> {
    fn from_reading(key: &str, path: &[u8], _: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let Some((field, value)) = multimap::pair(path) else { return Ok(None) };
        let pair = (decode(key, "a field", field)?, decode(key, "a value", value)?);
        Ok(Some(Self(ElementChange::of(pair, new))))
    }
}

/// An entry came to a log or was ended. The log's bound is not applied: an entry is ended when a writer ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChange<T>(pub ElementChange<LogEntry<T>>);

impl<T: DeserializeOwned> FromReading for LogChange<T> {
    fn from_reading(key: &str, path: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let Some((hlc, dot)) = log::parse(path) else { return Ok(None) };
        let Some(value) = value(key, "an entry", if new.is_absent() { old } else { new })? else {
            return Ok(None);
        };
        let entry = LogEntry { written_ms: hlc.wall().0, dot, value };
        Ok(Some(Self(ElementChange::of(entry, new))))
    }
}

/// A field of a map has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange<K, V> {
    /// The field.
    pub field: K,
    /// Its value before; `None` if it was absent.
    pub old: Option<V>,
    /// Its value now; `None` if it is absent.
    pub new: Option<V>,
}

impl<K: DeserializeOwned, V: DeserializeOwned> FromReading for EntryChange<K, V> {
    fn from_reading(key: &str, path: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let field = decode(key, "a field", path)?;
        Ok(Some(Self { field, old: value(key, "a value", old)?, new: value(key, "a value", new)? }))
    }
}

/// A register shows another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueChange<T> {
    /// What it showed; `None` if nothing.
    pub old: Option<T>,
    /// What it shows; `None` if nothing.
    pub new: Option<T>,
}

impl<T: DeserializeOwned> FromReading for ValueChange<T> {
    fn from_reading(key: &str, _: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        Ok(Some(Self { old: value(key, "a value", old)?, new: value(key, "a value", new)? }))
    }
}

/// A multi-register shows other values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuesChange<T> {
    /// The concurrent values before, ordered by their encoded bytes.
    pub old: Vec<T>,
    /// Those now.
    pub new: Vec<T>,
}

impl<T: DeserializeOwned> FromReading for ValuesChange<T> {
    fn from_reading(key: &str, _: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let values = |reading: &Reading| match reading {
            Reading::Values(values) => {
                values.iter().map(|value| decode(key, "a value", value.as_bytes())).collect()
            }
            Reading::Absent
            | Reading::Present
            | Reading::Value(_)
            | Reading::Number(_)
            | Reading::Count(_)
            | Reading::Flag(_) => Ok(Vec::new()),
        };
        Ok(Some(Self { old: values(old)?, new: values(new)? }))
    }
}

/// A max or min register shows another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberChange {
    /// What it showed; `None` if nothing.
    pub old: Option<i64>,
    /// What it shows; `None` if nothing.
    pub new: Option<i64>,
}

impl FromReading for NumberChange {
    fn from_reading(_: &str, _: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let number =
            |reading: &Reading| if let Reading::Number(number) = reading { Some(*number) } else { None };
        Ok(Some(Self { old: number(old), new: number(new) }))
    }
}

/// A counter shows another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountChange {
    /// Its value before, 0 if there was none.
    pub old: i128,
    /// Its value now, 0 if there is none.
    pub new: i128,
}

impl FromReading for CountChange {
    fn from_reading(_: &str, _: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let count = |reading: &Reading| if let Reading::Count(count) = reading { *count } else { 0 };
        let change = Self { old: count(old), new: count(new) };
        Ok(Some(change).filter(|change| change.old != change.new))
    }
}

/// A flag was turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagChange {
    /// True if it was on; untouched it is off.
    pub old: bool,
    /// True if it is on.
    pub new: bool,
}

impl FromReading for FlagChange {
    fn from_reading(_: &str, _: &[u8], old: &Reading, new: &Reading) -> Result<Option<Self>, ReadError> {
        let change = Self { old: *old == Reading::Flag(true), new: *new == Reading::Flag(true) };
        Ok(Some(change).filter(|change| change.old != change.new))
    }
}

fn value<T: DeserializeOwned>(
    key: &str,
    what: &'static str,
    reading: &Reading,
) -> Result<Option<T>, ReadError> {
    match reading {
        Reading::Value(value) => decode(key, what, value.as_bytes()).map(Some),
        Reading::Absent
        | Reading::Present
        | Reading::Values(_)
        | Reading::Number(_)
        | Reading::Count(_)
        | Reading::Flag(_) => Ok(None),
    }
}
