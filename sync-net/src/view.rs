//! Reads of one state: everything that one [`View`] answers is true at the same moment.
//!
//! [`crate::Node::read`] gives a view to a closure under the node's lock, [`crate::Tx::view`] gives one
//! with the effects of a transaction so far. A view opens the same handles as a node, to read only.

use sync_core::causal::CausalContext;
use sync_core::store::Store;

use crate::access::{Place, Reads};
use crate::handles::opens;

/// One state of the store, to read several things from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    store: &'a Store,
}

impl<'a> View<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The events that this state includes.
    pub fn context(&self) -> &'a CausalContext {
        self.store.context()
    }

    fn open(&self, key: &str) -> (Self, Place) {
        (*self, Place::key(key))
    }
}

impl Reads for View<'_> {
    fn look<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(self.store)
    }
}

opens!(impl<'a> View<'a>, View<'a>);
