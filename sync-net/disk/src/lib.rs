//! The durable store: where the rows of a persist step go, and where a node comes back from.
//!
//! [`Disk`] is what a driver needs of a disk: read all rows once, commit a step as one atomic unit, and open again
//! after an error. [`RowFile`] is the one that is used: a single file in a folder, made by redb, with two-phase
//! commits. [`Folder`] knows what lies beside it: the reserve, and what was set aside as damaged.
//!
//! Nothing here knows of sockets, tasks or clocks, so the simulator drives the very same file through a recorded
//! disk. `docs/storage.md` has the layout.

#![forbid(unsafe_code)]

mod backup;
mod error;
mod file;
mod folder;
#[cfg(feature = "faults")]
pub mod planted;
mod salvage;

use sync_core::node::StepRows;
use sync_core::rows::Table;

pub use backup::{BACKUP_BYTES_MAX, read_backup, write_backup};
pub use error::DiskError;
pub use file::{FILE_VERSION, RowFile};
pub use folder::{Folder, RESERVE_BYTES};
pub use salvage::{Copy, salvage};

/// How the process that wrote last has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastStop {
    /// Nothing was ever written.
    Never,
    /// It said so: everything that it knew is here.
    Clean,
    /// It did not: what was not committed is gone, and no other node has seen any of it.
    Crash,
}

/// What a driver needs of a disk. One thread at a time uses it; every call may block.
pub trait Disk: Send {
    /// Gives every row to `each`, table after table in the order of [`Table::ALL`], ascending by key, and says how
    /// the last process has ended. The rows are those that were committed, no more and no fewer.
    ///
    /// # Errors
    /// What `each` returns, and [`DiskError`]; the rows given so far are of no use then.
    fn load(&mut self, each: &mut EachRow<'_>) -> Result<LastStop, DiskError>;

    /// Makes a step durable: after a crash all of it is there or nothing.
    ///
    /// # Errors
    /// [`DiskError`]: the step may be there or not, and nothing more is committed before [`Self::reopen`].
    fn commit(&mut self, step: &StepRows) -> Result<(), DiskError>;

    /// Notes that all is committed and the process ends.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn stop(&mut self) -> Result<(), DiskError>;

    /// Lets go of everything and opens anew: after an error nothing that was held open is trusted.
    ///
    /// # Errors
    /// [`DiskError`]; it may be tried again.
    fn reopen(&mut self) -> Result<(), DiskError>;

    /// Keeps room back for a full disk, if it is not kept already. A disk that has no reserve does nothing.
    ///
    /// # Errors
    /// [`DiskError::Full`] if there is none.
    fn take_reserve(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    /// Gives that room up, for what has to be written.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn give_reserve(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    /// Puts everything aside, for people to look at, and begins empty; says where it lies now.
    ///
    /// # Errors
    /// [`DiskError`]; it may be tried again.
    fn set_aside(&mut self) -> Result<String, DiskError>;

    /// Bytes taken on the disk.
    fn bytes(&self) -> u64;
}

/// Takes in a row as it was stored.
pub type EachRow<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), DiskError> + 'a;
