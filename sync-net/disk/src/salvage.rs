//! Looking at a file of rows without touching it: a copy of it in memory is opened instead.
//!
//! A damaged file is kept for people to look at, and opening one repairs it, so neither `doctor` nor a salvage opens
//! the file itself. Salvage goes over the rows from both ends until the file breaks: each row stands for itself then,
//! by its checksum, and what lies between the breaks is lost.

use std::fs::{self, File};
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{ReadOnlyDatabase, StorageBackend as _};

use crate::file::{self, RowFile, fenced, of_open};
use crate::{Disk as _, DiskError, EachRow, LastStop};

/// A file of rows, copied into memory.
#[derive(Debug)]
pub struct Copy {
    bytes: Vec<u8>,
}

impl Copy {
    /// Copies the file at `path`.
    ///
    /// # Errors
    /// [`DiskError::InUse`] while a node runs on it, and [`DiskError::Io`].
    pub fn of(path: &Path) -> Result<Self, DiskError> {
        // Only the lock is wanted: what else can be wrong shows in the copy. A node writes under its lock, so a copy
        // made beside it could be half of two commits.
        File::open(path).map_err(|error| DiskError::io("opening", path, &error))?;
        let locked = fenced(path, || ReadOnlyDatabase::open(path).map_err(|error| of_open(path, error)));
        if let Err(DiskError::InUse { path }) = locked {
            return Err(DiskError::InUse { path });
        }
        let bytes = fs::read(path).map_err(|error| DiskError::io("reading", path, &error))?;
        drop(locked);
        Ok(Self { bytes })
    }

    fn backend(&self) -> InMemoryBackend {
        let backend = InMemoryBackend::new();
        let filled = backend.set_len(self.bytes.len() as u64).and_then(|()| backend.write(0, &self.bytes));
        filled.expect("memory takes what was just made as long");
        backend
    }

    /// Reads it like a node that starts on it.
    ///
    /// # Errors
    /// As [`crate::Disk::load`].
    pub fn load(&self, each: &mut EachRow<'_>) -> Result<LastStop, DiskError> {
        let (copy, mut given) = (self.backend(), None);
        given.replace(copy);
        let mut file = RowFile::on(move || given.take().unwrap_or_default())?;
        file.load(each)
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Gives every row of a damaged file that can be reached to `each`, in any order, some twice and some not as they
/// were written. Says how many rows it had when it was sound, if that can be read.
pub fn salvage(copy: &Copy, each: &mut EachRow<'_>) -> Option<u64> {
    file::reachable(copy.backend(), each)
}
