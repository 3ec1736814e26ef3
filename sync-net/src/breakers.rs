//! The one place where metrics, health and tools read the circuit breakers of the core.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sync_core::breaker::BreakerState;
use sync_core::id::NodeId;
use sync_core::node::{BreakerStatus, Node as Core};
use sync_core::time::Timestamp;

/// How the circuit breaker of a peer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerInfo {
    /// `closed`: all goes. `open`: of ours nothing goes. `half-open`: one probe at a time goes. `removed`: no link until
    /// the peer is added again.
    pub state: String,
    /// True if there is no link whoever dials: it opened for misbehaviour or by an operator, or the peer is removed.
    pub shut: bool,
    /// Why it stands so; `None` if it never was another.
    pub reason: Option<String>,
    /// How long it stays so at most, in milliseconds; `None` if that is for good.
    pub for_ms: Option<u64>,
    /// Exchanges, dials and probes that made no progress in their time.
    pub timed_out: u64,
    /// Dials that were refused.
    pub refused: u64,
    /// Breaches of the protocol.
    pub violations: u64,
    /// Frames longer than one may be.
    pub oversized: u64,
    /// How often it has opened.
    pub opens: u64,
}

impl Default for BreakerInfo {
    /// That of a peer which never failed.
    fn default() -> Self {
        Self {
            state: "closed".to_owned(),
            shut: false,
            reason: None,
            for_ms: None,
            timed_out: 0,
            refused: 0,
            violations: 0,
            oversized: 0,
            opens: 0,
        }
    }
}

/// What is known of all breakers. As many as the core keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breakers(BTreeMap<NodeId, (BreakerState, BreakerInfo)>);

impl Breakers {
    /// That of `peer`, if it ever failed.
    pub(crate) fn of(&self, peer: NodeId) -> Option<&BreakerInfo> {
        self.0.get(&peer).map(|(_, breaker)| breaker)
    }

    /// Those that are open or half open, ascending by node. Who was removed is no peer.
    pub(crate) fn open(&self) -> impl Iterator<Item = (NodeId, &BreakerInfo)> {
        let is_open = |state| matches!(state, BreakerState::Open | BreakerState::HalfOpen);
        let open = self.0.iter().filter(move |(_, (state, _))| is_open(*state));
        open.map(|(node, (_, breaker))| (*node, breaker))
    }

    /// Peers that were taken off the list.
    pub(crate) fn removed(&self) -> impl Iterator<Item = NodeId> {
        let removed = self.0.iter().filter(|(_, (state, _))| *state == BreakerState::Removed);
        removed.map(|(node, _)| *node)
    }
}

/// Reads them at `now`, by the node's own clock.
pub(crate) fn read(core: &Core, now: Timestamp) -> Breakers {
    Breakers(core.breakers().map(|breaker| (breaker.node, (breaker.state, shown(&breaker, now)))).collect())
}

fn shown(breaker: &BreakerStatus, now: Timestamp) -> BreakerInfo {
    BreakerInfo {
        state: breaker.state.name().to_owned(),
        shut: breaker.is_shut,
        reason: breaker.reason.map(|reason| reason.to_string()),
        for_ms: breaker.until.map(|until| until.since(now).as_millis()),
        timed_out: breaker.failures.timed_out,
        refused: breaker.failures.refused,
        violations: breaker.failures.violations,
        oversized: breaker.failures.oversized,
        opens: breaker.opens,
    }
}
