//! Counters: up and down, up only, and never below zero.

use sync_core::id::OwnerId;
use sync_core::types::{bounded_counter, g_counter, pn_counter};

use super::handle;
use crate::access::{Reads, Writes};
use crate::error::Error;

handle! {
    /// A counter that every node may add to and take from, also while cut off.
    PnCounter
}

impl<A: Writes> PnCounter<A> {
    /// Adds `by`, which may be negative; 0 mints nothing.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn add(&self, by: i64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.write(group, |group, at| pn_counter::add(group, at, by).map(|()| 0)))
            .map(A::plain)
    }

    /// Sets the counter back to 0 as far as it is seen here: increments that this node has not seen
    /// survive. False if there was nothing to reset.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn reset(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| pn_counter::reset(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> PnCounter<A> {
    /// The sum of what was added; 0 if nothing was. Wider than `i64`, because each node's part may
    /// fill one.
    pub fn value(&self) -> i128 {
        self.access.look(|store| self.place.at(|at| pn_counter::value(store, at))).unwrap_or(0)
    }
}

handle! {
    /// A counter that every node may add to, and nobody takes from.
    GCounter
}

impl<A: Writes> GCounter<A> {
    /// Adds `by`; 0 mints nothing.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn add(&self, by: u64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.write(group, |group, at| g_counter::add(group, at, by).map(|()| 0)))
            .map(A::plain)
    }

    /// Removes the counter as far as it is seen here: increments that this node has not seen survive. False if
    /// there was nothing.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn reset(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| g_counter::reset(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> GCounter<A> {
    /// The sum of what was added; 0 if nothing was.
    pub fn value(&self) -> i128 {
        self.access.look(|store| self.place.at(|at| g_counter::value(store, at))).unwrap_or(0)
    }
}

handle! {
    /// A counter that never shows less than 0, at any node, at any time, and asks nobody before it is spent.
    ///
    /// Each node spends from rights that it holds: those that it gained, and those that others sent to it.
    BoundedCounter
}

impl<A: Writes> BoundedCounter<A> {
    /// Counts up by `by`; this node holds the rights to spend them.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn gain(&self, by: u64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| bounded_counter::gain(group, at, by).map(|()| 0)))
            .map(A::plain)
    }

    /// Counts down by `by`, which takes as many rights.
    ///
    /// # Errors
    /// [`Error::Write`] with [`crate::WriteError::Rights`] if this node holds too few, or for a limit;
    /// [`Error::Closed`]. Nothing changed then, and a transaction is lost.
    pub fn spend(&self, by: u64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| bounded_counter::spend(group, at, by).map(|()| 0)))
            .map(A::plain)
    }

    /// Gives `count` of this node's rights to `to`; see [`crate::Node::owner`] and [`Self::holders`].
    ///
    /// # Errors
    /// [`Error::Write`] with [`crate::WriteError::Rights`] if this node holds too few, or for a limit;
    /// [`Error::Closed`]. Nothing changed then, and a transaction is lost.
    pub fn send(&self, to: OwnerId, count: u64) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| bounded_counter::send(group, at, to, count).map(|()| 0)))
            .map(A::plain)
    }

    /// Removes the counter; false if there is none. Only where no other node has rights or may have.
    ///
    /// # Errors
    /// [`Error::Write`] with [`crate::WriteError::RightsOut`] if another may hold rights, or for a limit;
    /// [`Error::Closed`]. Nothing changed then, and a transaction is lost.
    pub fn remove(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| bounded_counter::remove(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> BoundedCounter<A> {
    /// What was gained and not spent; 0 if nothing was.
    pub fn value(&self) -> i128 {
        self.access.look(|store| self.place.at(|at| bounded_counter::value(store, at))).unwrap_or(0)
    }

    /// The rights that `owner` holds as far as is known here.
    pub fn rights(&self, owner: OwnerId) -> u64 {
        self.access.look(|store| self.place.at(|at| bounded_counter::rights(store, at, owner)))
    }

    /// Every owner that has a row or was sent rights, with the rights that it holds. Those of an owner that never
    /// comes back are lost.
    pub fn holders(&self) -> Vec<(OwnerId, u64)> {
        self.access.look(|store| self.place.at(|at| bounded_counter::holders(store, at)))
    }
}
