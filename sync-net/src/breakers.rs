//! The one place where metrics, health and tools read the circuit breakers of the core.
//!
//! The core has none yet: [`read`] answers that none is open and none ever was. Whoever adds them fills in that one
//! function, and everything that an operator watches shows them.

use serde::{Deserialize, Serialize};
use sync_core::id::NodeId;
use sync_core::node::Node as Core;

/// A circuit breaker that lets nothing, or only a probe, through to its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBreaker {
    /// The peer's node id, in hex.
    pub peer: String,
    /// `"open"`, or `"half-open"` while a probe is under way.
    pub state: String,
    /// What opened it, in words.
    pub cause: String,
    /// Failures in a row that opened it.
    pub failures: u64,
    /// When the next probe may go, in milliseconds from now; 0 if one is under way.
    pub probe_in_ms: u64,
}

/// What is known of all breakers. At most one a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breakers {
    /// Times that one opened since the start, over all peers, gone ones too.
    pub(crate) opens: u64,
    /// Those that are not closed.
    pub(crate) open: Vec<OpenBreaker>,
}

impl Breakers {
    /// That of `peer`, if it is not closed.
    pub(crate) fn of(&self, peer: &NodeId) -> Option<&OpenBreaker> {
        let peer = peer.to_hex();
        self.open.iter().find(|open| open.peer == peer)
    }
}

/// Reads them.
pub(crate) fn read(_core: &Core) -> Breakers {
    Breakers::default()
}
