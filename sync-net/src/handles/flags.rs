//! Flags: enabling wins, or disabling does.

use sync_core::types::{disable_flag, enable_flag};

use super::{expires, handle};
use crate::access::{Reads, Writes};
use crate::error::Error;

handle! {
    /// A flag that is on if it is turned on and off concurrently.
    EnableFlag
}

expires!(EnableFlag);

impl<A: Writes> EnableFlag<A> {
    /// Turns the flag on. Doing so again renews it against concurrent turning off.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn enable(&self) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.write(group, |group, at| enable_flag::enable(group, at).map(|()| 0)))
            .map(A::plain)
    }

    /// Turns the flag off as far as it is seen turned on; false if it was off, and then nothing is minted.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn disable(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| enable_flag::disable(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> EnableFlag<A> {
    /// True if the flag is on; untouched it is off.
    pub fn is_on(&self) -> bool {
        self.access.look(|store| self.place.at(|at| enable_flag::is_on(store, at)))
    }
}

handle! {
    /// A flag that is off if it is turned on and off concurrently.
    DisableFlag
}

expires!(DisableFlag);

impl<A: Writes> DisableFlag<A> {
    /// Turns the flag on, unless someone turns it off concurrently.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn enable(&self) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| {
                self.place.write(group, |group, at| disable_flag::enable(group, at).map(|()| 0))
            })
            .map(A::plain)
    }

    /// Turns the flag off, also where it is off: that ends what others turn on concurrently.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn disable(&self) -> Result<A::Plain, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| disable_flag::disable(group, at).map(|()| 0)))
            .map(A::plain)
    }

    /// Forgets all that is seen of the flag, which frees its key; false if there is nothing.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, [`Error::Closed`]; nothing changed then, and a transaction is lost.
    pub fn clear(&self) -> Result<A::Found, Error> {
        self.access
            .run(&mut |group| self.place.at(|at| disable_flag::clear(group, at).map(u64::from)))
            .map(A::found)
    }
}

impl<A: Reads> DisableFlag<A> {
    /// True if the flag is on; untouched it is off.
    pub fn is_on(&self) -> bool {
        self.access.look(|store| self.place.at(|at| disable_flag::is_on(store, at)))
    }
}
