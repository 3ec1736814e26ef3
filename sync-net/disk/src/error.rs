//! What can go wrong with a disk, sorted by who must act.

use std::io;
use std::path::PathBuf;

use sync_core::rows::RowError;

/// Why the disk did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// Operator: another process uses the folder.
    #[error("{} is in use by another process; a data folder serves one node", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Operator: no room is left.
    #[error("the disk of {} is full: {reason}; make room there, removes in the store pass meanwhile", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// Environment: the disk, or the way to it, failed.
    #[error("{doing} {} failed: {reason}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// Environment: what is in the file is not what was written there.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// Operator: a later version of the program wrote the file.
    #[error("{} has layout {found}, this program knows up to {max}; start the program that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What is on the disk.
        found: u64,
        /// The latest known here.
        max: u64,
    },
    /// Environment: a row is not what was written, or contradicts others.
    #[error(transparent)]
    Row(#[from] RowError),
}

impl DiskError {
    /// True if what lies on the disk cannot be used; false if the disk may come back, or somebody has to act first.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Row(error) => match error {
                RowError::Checksum { .. }
                | RowError::Malformed { .. }
                | RowError::Contradicts { .. }
                | RowError::Missing { .. }
                | RowError::Tally { .. } => true,
                RowError::OtherNode { .. } | RowError::Version { .. } => false,
            },
            Self::InUse { .. } | Self::Full { .. } | Self::Io { .. } | Self::Version { .. } => false,
        }
    }

    /// True if no room is left.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Sorts an error of the operating system.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what has no meaning of its own is just an error")]
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, error: &io::Error) -> Self {
        let (path, reason) = (path.into(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, reason }
            }
            // What is said of a file that is none of redb's, and of one that is cut off.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged { path, reason },
            _ => Self::Io { doing, path, reason },
        }
    }
}
