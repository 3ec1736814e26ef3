//! What breakers do, on its way from the core to the transport and to the log.
//!
//! The core alone decides when a peer whose breaker is not closed is dialled; the transport keeps a copy, taken under
//! the lock that the driver holds anyway, each time that a breaker has moved.

use std::collections::BTreeMap;
use std::time::Instant;

use sync_core::breaker::{BreakerReason, BreakerState, Shift};
use sync_core::id::NodeId;
use sync_core::node::Node as Core;

use super::LogGate;
use crate::transport::Gate;

/// The gates of all peers whose breakers are not closed, if any breaker has moved since `seen`, which is brought up to
/// date.
pub(super) fn news(core: &Core, seen: &mut u64) -> Option<BTreeMap<NodeId, Gate>> {
    let shifts = core.breaker_shifts();
    if std::mem::replace(seen, shifts) == shifts {
        return None;
    }
    let gate = |state, is_shut| match state {
        BreakerState::Closed => None,
        BreakerState::Removed => Some(Gate::Removed),
        BreakerState::Open | BreakerState::HalfOpen if is_shut => Some(Gate::Shut),
        BreakerState::Open | BreakerState::HalfOpen => Some(Gate::Held),
    };
    Some(
        core.breakers()
            .filter_map(|status| Some((status.node, gate(status.state, status.is_shut)?)))
            .collect(),
    )
}

/// A line about a step. What an operator may want to act on is a warning; that a peer is still away, and is tried, is
/// for debugging.
pub(super) fn log(lines: &mut LogGate, node: &str, peer: NodeId, shift: Shift) {
    let Shift { from, to, reason } = shift;
    let is_retry = match reason {
        BreakerReason::Failed(failure) => from == BreakerState::HalfOpen && !failure.is_breach(),
        BreakerReason::LinkLost => true,
        BreakerReason::Due | BreakerReason::Heard => to == BreakerState::HalfOpen,
        BreakerReason::Answered(_)
        | BreakerReason::Opened(_)
        | BreakerReason::Operator
        | BreakerReason::Forgotten => false,
    };
    let (from, name) = (from.name(), to.name());
    let text = "the breaker of a peer has moved";
    if is_retry {
        tracing::debug!(node, ?peer, from, to = name, %reason, "{text}");
    } else if let Some(silenced) = lines.pass(Instant::now()) {
        if to == BreakerState::Closed {
            tracing::info!(node, ?peer, from, to = name, %reason, silenced, "{text}");
        } else {
            tracing::warn!(node, ?peer, from, to = name, %reason, silenced, "{text}");
        }
    }
}
