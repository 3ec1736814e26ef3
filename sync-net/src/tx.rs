//! Transactions: several writes as one atomic group.
//!
//! A [`Tx`] strings operations together inside one core group: each sees the effects of those before it, and
//! all of them are committed or none. It opens the same handles as a node:
//! `tx.or_set::<String>("cart/7").add(&line)?`.

use std::cell::RefCell;

use sync_core::causal::CausalContext;
use sync_core::store::Group;
use sync_core::types::whole;

use crate::access::{InTx, Place, Steps, Writes as _};
use crate::error::Error;
use crate::handles::opens;
use crate::view::View;

/// A transaction in the making, given to the closure of [`crate::Node::transaction`].
///
/// It holds the node's lock: keep it short, and do not call the node from inside, only the `Tx`.
/// Once an operation has failed every further one fails with the same error, and so does the
/// transaction, even if the closure goes on and returns `Ok`.
pub struct Tx<'a> {
    steps: RefCell<Steps<'a>>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(group: &'a mut Group<'_>) -> Self {
        Self { steps: RefCell::new(Steps::new(group)) }
    }

    /// The error of the first operation that failed.
    pub(crate) fn into_failure(self) -> Option<Error> {
        self.steps.into_inner().into_failure()
    }

    /// What this replica knew before this transaction: the events that all of its operations have seen.
    /// The transaction's own events are not in it; they come with [`crate::Written`].
    pub fn seen(&mut self) -> &CausalContext {
        self.steps.get_mut().seen()
    }

    /// Removes every CRDT at `key`, as [`crate::Node::remove`] does; counts them.
    ///
    /// # Errors
    /// [`Error::Write`]; the transaction is lost then.
    pub fn remove(&self, key: &str) -> Result<u64, Error> {
        InTx::new(&self.steps).run(&mut |group| whole::remove_all(group, key))
    }

    /// Reads, with the effects of this transaction's operations so far.
    pub fn view(&mut self) -> View<'_> {
        View::new(self.steps.get_mut().store())
    }

    fn open(&self, key: &str) -> (InTx<'_>, Place) {
        (InTx::new(&self.steps), Place::key(key))
    }
}

opens!(impl<'a> Tx<'a>, InTx<'_>);
