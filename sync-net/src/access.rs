//! How a handle reaches its CRDT: through a namespace of the node, inside a transaction, or in one view.
//!
//! Each handle is written once, for any access. [`Reads`] gives it a store, [`Writes`] a group; what a write
//! gives back is the access's own: a token from a namespace, nothing more in a transaction.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sync_core::causal::CausalContext;
use sync_core::error::WriteError;
use sync_core::node::Written;
use sync_core::store::{Group, Store};
use sync_core::time::{Span, WallMillis};
use sync_core::types::At;
use sync_core::types::or_map::Map;

use crate::error::Error;
use crate::namespace::Namespace;

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::namespace::Namespace {}
    impl Sealed for super::InTx<'_> {}
    impl Sealed for crate::view::View<'_> {}
}

/// One step of a group; the answer counts what was there to remove, 0 where nothing is removed.
pub(crate) type Step<'s> = &'s mut dyn FnMut(&mut Group<'_>) -> Result<u64, WriteError>;

/// An access that can read: [`Namespace`], [`InTx`], [`crate::View`].
pub trait Reads: Clone + sealed::Sealed {
    /// Looks at the store once.
    #[doc(hidden)]
    fn look<R>(&self, look: impl FnOnce(&Store) -> R) -> R;
}

/// An access that can write: [`Namespace`], [`InTx`].
pub trait Writes: Reads {
    /// What a write gives back: [`Written`] from a namespace, nothing in a transaction.
    type Plain;
    /// What a remove gives back: whether there was something to remove, and as above.
    type Found;
    /// What a remove of many gives back: how many there were, and as above.
    type Count;
    /// Does one step.
    #[doc(hidden)]
    fn run(&self, step: Step<'_>) -> Result<Self::Count, Error>;
    /// Passes on what was made for a step, or the failure to make it.
    #[doc(hidden)]
    fn checked<T>(&self, made: Result<T, Error>) -> Result<T, Error>;
    #[doc(hidden)]
    fn plain(count: Self::Count) -> Self::Plain;
    #[doc(hidden)]
    fn found(count: Self::Count) -> Self::Found;
}

impl Reads for Namespace {
    fn look<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        self.read(|view| view.look(look))
    }
}

impl Writes for Namespace {
    type Plain = Written;
    type Found = (bool, Written);
    type Count = (u64, Written);

    fn run(&self, step: Step<'_>) -> Result<Self::Count, Error> {
        self.step(step)
    }

    fn checked<T>(&self, made: Result<T, Error>) -> Result<T, Error> {
        made
    }

    fn plain((_, written): Self::Count) -> Written {
        written
    }

    fn found((count, written): Self::Count) -> Self::Found {
        (count > 0, written)
    }
}

/// What a transaction needs of the core's group; hides the group's lifetime from the API.
trait Grouped {
    fn store(&self) -> &Store;
    fn run(&mut self, step: Step<'_>) -> Result<u64, WriteError>;
}

impl Grouped for Group<'_> {
    fn store(&self) -> &Store {
        Group::store(self)
    }

    fn run(&mut self, step: Step<'_>) -> Result<u64, WriteError> {
        step(self)
    }
}

/// A group in the making and the error of the first operation that failed.
pub(crate) struct Steps<'a> {
    group: &'a mut (dyn Grouped + 'a),
    failed: Option<Error>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(group: &'a mut Group<'_>) -> Self {
        Self { group, failed: None }
    }

    pub(crate) fn into_failure(self) -> Option<Error> {
        self.failed
    }

    pub(crate) fn store(&self) -> &Store {
        self.group.store()
    }

    pub(crate) fn seen(&self) -> &CausalContext {
        self.group.store().context()
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed.get_or_insert(error).clone()
    }
}

/// The steps of a transaction, borrowed by its handles; hides a lifetime.
trait Stepping {
    fn look(&self, look: &mut dyn FnMut(&Store));
    fn run(&self, step: Step<'_>) -> Result<u64, Error>;
    fn fail(&self, error: Error) -> Error;
}

impl Stepping for RefCell<Steps<'_>> {
    fn look(&self, look: &mut dyn FnMut(&Store)) {
        look(self.borrow().store());
    }

    fn run(&self, step: Step<'_>) -> Result<u64, Error> {
        let mut steps = self.borrow_mut();
        if let Some(error) = &steps.failed {
            return Err(error.clone());
        }
        let done = steps.group.run(step);
        done.map_err(|error| steps.fail(Error::Write(error)))
    }

    fn fail(&self, error: Error) -> Error {
        self.borrow_mut().fail(error)
    }
}

/// The access of a handle that was opened inside a [`crate::Tx`]: it reads with the effects of the
/// transaction's operations so far, and its writes belong to the transaction.
#[derive(Clone, Copy)]
pub struct InTx<'t> {
    steps: &'t (dyn Stepping + 't),
}

impl<'t> InTx<'t> {
    pub(crate) fn new(steps: &'t RefCell<Steps<'_>>) -> Self {
        Self { steps }
    }
}

impl Reads for InTx<'_> {
    fn look<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        let (mut look, mut seen) = (Some(look), None);
        self.steps.look(&mut |store| seen = look.take().map(|look| look(store)));
        seen.expect("a look calls the closure, once")
    }
}

impl Writes for InTx<'_> {
    type Plain = ();
    type Found = bool;
    type Count = u64;

    fn run(&self, step: Step<'_>) -> Result<u64, Error> {
        self.steps.run(step)
    }

    fn checked<T>(&self, made: Result<T, Error>) -> Result<T, Error> {
        made.map_err(|error| self.steps.fail(error))
    }

    fn plain(_: u64) {}

    fn found(count: u64) -> bool {
        count > 0
    }
}

/// Where a CRDT lies: at a key, or in a field of a nested map.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    key: Box<str>,
    /// The names of the maps on the way.
    maps: Vec<Box<str>>,
    field: Option<Box<str>>,
    /// When what is written here expires.
    pub(crate) expires: Option<Expires>,
}

/// When writes expire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expires {
    At(WallMillis),
    After(Span),
}

impl Expires {
    /// A time before 1970 has passed like any other.
    pub(crate) fn at(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::At(WallMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn after(after: Duration) -> Self {
        Self::After(Span::from_micros(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Place {
    pub(crate) fn key(key: &str) -> Self {
        Self { key: key.into(), maps: Vec::new(), field: None, expires: None }
    }

    pub(crate) fn as_key(&self) -> &str {
        &self.key
    }

    /// The field `name` of the map here.
    pub(crate) fn field(&self, name: &str) -> Self {
        let mut place = self.clone();
        place.maps.extend(place.field.take());
        place.field = Some(name.into());
        place
    }

    /// As the place of a CRDT.
    pub(crate) fn at<R>(&self, with: impl FnOnce(At<'_>) -> R) -> R {
        match &self.field {
            None => with(At::from(&self.key)),
            Some(name) => with(self.maps().at(name.as_bytes())),
        }
    }

    /// Writes to the CRDT here, with the place's expiry.
    pub(crate) fn write<T>(
        &self,
        group: &mut Group<'_>,
        write: impl FnOnce(&mut Group<'_>, At<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        match self.expires {
            None => self.at(|at| write(group, at)),
            Some(Expires::At(at)) => group.expiring(at, |group| self.at(|at| write(group, at))),
            Some(Expires::After(after)) => {
                group.expiring_after(after, |group| self.at(|at| write(group, at)))
            }
        }
    }

    /// As a map.
    pub(crate) fn map(&self) -> Map<'_> {
        let map = self.maps();
        self.field.as_ref().map_or_else(|| map.clone(), |name| map.map(name.as_bytes()))
    }

    fn maps(&self) -> Map<'_> {
        self.maps.iter().fold(Map::at_key(&self.key), |map, name| map.map(name.as_bytes()))
    }
}
