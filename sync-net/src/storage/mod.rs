//! State that outlives the process: when it reaches the disk, who waits for that, what happens if it does not.
//!
//! The core asks for persist steps; `writer` makes them durable on a thread of its own, one at a time, and while it
//! does, later steps become one. Frames that show a state leave once it is durable, whatever the level: a level only
//! says how long a *caller* waits. `open` begins a life on what a disk holds. The rows and the file are
//! [`sync_disk`]'s.

mod open;
mod writer;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sync_core::node::PersistStep;
use sync_disk::{Disk, DiskError};
use tokio::sync::watch;

use crate::node::Shared;

pub use open::Damage;
pub(crate) use open::{Begun, OnDisk, begin};
pub(crate) use writer::{Report, Writer};

/// The longest that a step waits for others to go to the disk with it.
pub(crate) const GROUP_DELAY: Duration = Duration::from_millis(10);

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// When it is on the disk, which is asked for at once.
    #[default]
    Immediate,
    /// When it is on the disk; it may wait up to 10 ms for others to go there with it.
    Grouped,
    /// At once. It goes to the disk like a grouped one, and no other node sees it before it is there.
    None,
}

impl Durability {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Grouped => "grouped",
            Self::None => "none",
        }
    }
}

impl FromStr for Durability {
    type Err = DurabilityError;

    fn from_str(text: &str) -> Result<Self, DurabilityError> {
        match text {
            "immediate" => Ok(Self::Immediate),
            "grouped" => Ok(Self::Grouped),
            "none" => Ok(Self::None),
            _ => Err(DurabilityError { text: text.to_owned() }),
        }
    }
}

/// Caller: the text names no [`Durability`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no durability; those are immediate, grouped and none")]
pub struct DurabilityError {
    /// What was given.
    pub text: String,
}

/// Why a write is not known to be on the disk. It stays in memory, is read here, and no other node has seen it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurableError {
    /// Environment: the disk fails. The write goes there when it recovers.
    #[error("written in memory and not on the disk: {reason}; it goes there when the disk recovers")]
    Failing {
        /// What the disk said.
        reason: String,
    },
    /// Caller: the node has stopped before the write was on the disk.
    #[error("the node stopped before the write was on the disk")]
    Closed,
}

/// What a node's storage is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// Where the data lies.
    pub place: String,
    /// Bytes taken there.
    pub bytes: u64,
    /// Steps of this life that are on the disk.
    pub persisted: u64,
    /// Steps of this life in all.
    pub steps: u64,
    /// Commits of this life: a step is one, however many writes went into it.
    pub commits: u64,
    /// Tries of this life that failed; each was or will be repeated.
    #[serde(default)]
    pub failures: u64,
    /// How long the last one took, in microseconds.
    pub last_commit_us: u64,
    /// Why nothing reaches the disk; `None` while it does.
    pub failing: Option<String>,
    /// For how long nothing has, in milliseconds.
    pub failing_ms: Option<u64>,
    /// True if room is kept back for a full disk. While it is not, writes that grow the store are refused.
    pub reserve: bool,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The file.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
}

/// Where a builder puts a node's state.
pub(crate) enum Place {
    Folder(PathBuf),
    Given(Box<dyn Disk>),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "Folder({})", path.display()),
            Self::Given(_) => write!(f, "Given"),
        }
    }
}

/// What waiting writers look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) persisted: PersistStep,
    pub(crate) commits: u64,
    /// Tries that failed.
    pub(crate) failures: u64,
    /// How long the last one took, those that failed before it left out.
    pub(crate) last_commit: Duration,
    pub(crate) failing: Option<String>,
    pub(crate) failing_since: Option<Instant>,
    pub(crate) reserve: bool,
    pub(crate) bytes: u64,
    pub(crate) closed: bool,
}

/// The part of the storage that the application's side shares with the driver.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) place: String,
    /// For writes that name no level of their own.
    pub(crate) level: Durability,
    pub(crate) reached: watch::Sender<Reached>,
    /// The highest step that somebody wants on the disk at once.
    urgent: AtomicU64,
}

impl Storage {
    pub(crate) fn new(place: String, level: Durability, reserve: bool) -> Self {
        let reached = Reached { reserve, ..Reached::default() };
        Self { place, level, reached: watch::Sender::new(reached), urgent: AtomicU64::new(0) }
    }

    /// How long step `n` may wait for others.
    pub(crate) fn delay(&self, n: PersistStep) -> Duration {
        let urgent = self.level == Durability::Immediate || self.urgent.load(Ordering::Relaxed) >= n.0;
        if urgent { Duration::ZERO } else { GROUP_DELAY }
    }

    pub(crate) fn status(&self, steps: PersistStep) -> StorageStatus {
        let reached = self.reached.borrow().clone();
        let Reached {
            persisted, commits, failures, last_commit, failing, failing_since, reserve, bytes, ..
        } = reached;
        let whole = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        StorageStatus {
            place: self.place.clone(),
            bytes,
            persisted: persisted.0,
            steps: steps.0,
            commits,
            failures,
            last_commit_us: whole(last_commit.as_micros()),
            failing,
            failing_ms: failing_since.map(|since| whole(since.elapsed().as_millis())),
            reserve,
        }
    }
}

/// Waits until `step` is as durable as `level`, or the node's own level, asks for. At once in a node without a disk.
pub(crate) async fn durable(
    shared: &Shared,
    step: PersistStep,
    level: Option<Durability>,
) -> Result<(), DurableError> {
    let Some(storage) = &shared.storage else { return Ok(()) };
    match level.unwrap_or(storage.level) {
        Durability::None => return Ok(()),
        Durability::Grouped => {}
        Durability::Immediate => {
            if storage.urgent.fetch_max(step.0, Ordering::Relaxed) < step.0 {
                shared.work.notify_one();
            }
        }
    }
    let mut reached = storage.reached.subscribe();
    let is_over =
        |reached: &Reached| reached.persisted >= step || reached.failing.is_some() || reached.closed;
    let reached = reached.wait_for(is_over).await.map_err(|_| DurableError::Closed)?;
    match &reached.failing {
        _ if reached.persisted >= step => Ok(()),
        Some(reason) => Err(DurableError::Failing { reason: reason.clone() }),
        None => Err(DurableError::Closed),
    }
}

/// Why a node did not begin on a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Operator or environment: see the disk's own words.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Operator: what was on a disk of the application's making is damaged, and no peer is configured that could have
    /// it. It lies where it lay. Of a data folder, what is sound can be read instead: see [`Damage`].
    #[error("{error}; no peer is configured to fetch it from")]
    Alone {
        /// What is wrong with it.
        error: DiskError,
    },
}
