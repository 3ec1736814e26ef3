//! The one place where metrics, health and tools read the circuit breakers of the core.
//!
//! The core has none yet: [`read`] answers that none is open and none ever was. Whoever adds them fills in that one
//! function, and everything that an operator watches shows them.

use serde::{Deserialize, Serialize};
use sync_core::id::NodeId;
use sync_core::node::Node as Core;

/// How the circuit breaker of a peer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerInfo {
    /// `closed`: all goes. `open`: of ours nothing goes. `half-open`: one probe at a time goes.
    pub state: String,
    /// Why it stands so; `None` if it never was another.
    pub reason: Option<String>,
    /// How long it stays so at most, in milliseconds; `None` if that is for good.
    pub for_ms: Option<u64>,
    /// How often it has opened.
    pub opens: u64,
}

impl Default for BreakerInfo {
    /// That of a peer which never failed.
    fn default() -> Self {
        Self { state: "closed".to_owned(), reason: None, for_ms: None, opens: 0 }
    }
}

/// What is known of all breakers. At most one a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breakers {
    /// Times that one opened since the start, over all peers, gone ones too.
    pub(crate) opens: u64,
    /// Those that are not closed, ascending by node.
    pub(crate) open: Vec<(NodeId, BreakerInfo)>,
}

impl Breakers {
    /// That of `peer`, if it is not closed.
    pub(crate) fn of(&self, peer: NodeId) -> Option<&BreakerInfo> {
        self.open.iter().find(|(node, _)| *node == peer).map(|(_, breaker)| breaker)
    }
}

/// Reads them.
pub(crate) fn read(_core: &Core) -> Breakers {
    Breakers::default()
}
