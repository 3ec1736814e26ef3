//! How a node is set up.

use crate::dictionary::Versions;
use crate::id::{NodeId, OwnerId, ReplicaId};
use crate::limits::{Limits, Repair, Timing};

/// Whether a driver makes state durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing outlives the process: each step counts as durable at once.
    Memory,
    /// The driver answers [`super::Output::Persist`] with [`super::Input::Persisted`]. Frames that show
    /// state are held until then.
    Driver,
}

/// How a node is set up. [`Config::new`] fills in the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node, stable over restarts.
    pub node: NodeId,
    /// This life. **Must be new at every start, clean or not**: 128 random bits. A copied or rolled-back
    /// folder cannot be told from the original by any mark in it.
    pub replica: ReplicaId,
    /// Who owns this node's counter contributions.
    pub owner: OwnerId,
    /// Nodes of another cluster label are refused. At most [`crate::message::LABEL_BYTES_MAX`] bytes.
    pub cluster: String,
    /// The protocol versions to speak: all that this build can, unless a cluster is to be held at an older
    /// one while its nodes are replaced.
    pub versions: Versions,
    /// Seeds jitter and the ids taken when this node is fenced. In production: operating system
    /// randomness. In a simulation: whatever the seed says.
    pub seed: [u8; 32],
    /// Bounds.
    pub limits: Limits,
    /// Periods and deadlines.
    pub timing: Timing,
    /// Whether a driver makes state durable.
    pub persistence: Persistence,
    /// How repairs go whose records were lost.
    pub repair: Repair,
    /// Emit [`super::Event::Changed`]. Costs an allocation a write, so off unless somebody watches.
    pub changes: bool,
}

impl Config {
    /// The defaults of [`Limits`] and [`Timing`], the cluster label `default`, in memory.
    pub fn new(node: NodeId, replica: ReplicaId, owner: OwnerId, seed: [u8; 32]) -> Self {
        Self {
            node,
            replica,
            owner,
            cluster: "default".to_owned(),
            versions: Versions::default(),
            seed,
            limits: Limits::default(),
            timing: Timing::default(),
            persistence: Persistence::Memory,
            repair: Repair::default(),
            changes: false,
        }
    }

    /// Keys the tables by which stores find cells; says nothing of the seed.
    pub(super) fn lookup_key(&self) -> [u64; 2] {
        let key = blake3::derive_key("sync 2026-11 lookup of cells", &self.seed);
        let word = |at: usize| std::array::from_fn(|byte| key[8 * at + byte]);
        [u64::from_le_bytes(word(0)), u64::from_le_bytes(word(1))]
    }
}
