//! Bounds hold: no local creation beyond the soft bound, no state above the ceiling, and no more records,
//! frames or peers than the limits say, at any step.

use std::collections::BTreeMap;

use sync_core::class::Class;
use sync_core::id::NamespaceId;
use sync_core::node::{Node, PeerStatus};

use super::{Checker, Origin, Step, Violation};
use crate::history::OpId;

const NAME: &str = "bounds hold";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Objects and bytes at the last step of each node.
    before: BTreeMap<usize, (u64, u64)>,
}

impl Bounds {
    fn note(&mut self, step: &Step<'_>) {
        self.before.insert(step.node, (step.store().crdt_count(), step.store().bytes()));
    }
}

impl Checker for Bounds {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, _origin: Origin) -> Result<(), Violation> {
        self.note(step);
        Ok(())
    }

    fn wrote(&mut self, step: &mut Step<'_>, _ops: &[OpId]) -> Result<(), Violation> {
        let (objects, _) = self.before.get(&step.node).copied().unwrap_or_default();
        let (now, max) = (step.store().crdt_count(), step.state.limits().crdts_max);
        if now > max && now > objects {
            return step.violation(
                NAME,
                format!("a local write made {now} objects of {objects}; the soft limit is {max}"),
            );
        }
        // Removing may write floors, which pass every limit: what a write adds is not judged below.
        self.note(step);
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        let limits = step.state.limits();
        let (_, before) = self.before.get(&step.node).copied().unwrap_or_default();
        let (bytes, ceiling) = (step.store().bytes(), limits.store_bytes_ceiling);
        if bytes > ceiling && bytes > before {
            return step.violation(
                NAME,
                format!("a join left {bytes} bytes, before {before}; the ceiling is {ceiling}"),
            );
        }
        let (records, max) = (step.store().record_count(), limits.records_max);
        if records > max {
            return step.violation(NAME, format!("{records} records are kept; the limit is {max}"));
        }
        if step.look {
            let peers = step.state.peers(step.namespace);
            if peers.len() > limits.peers_max {
                return step.violation(
                    NAME,
                    format!("{} peers are kept; the limit is {}", peers.len(), limits.peers_max),
                );
            }
        }
        self.note(step);
        Ok(())
    }

    fn stepped(&mut self, node: usize, state: &Node, namespace: NamespaceId) -> Result<(), Violation> {
        let max = state.limits().outbox_frames_max;
        let queued = |peer: &PeerStatus| Class::ALL.map(|class| state.queued(peer.node, class).0);
        let frames = state.peers(namespace).iter().flat_map(queued).max().unwrap_or(0);
        if frames > max {
            let what = format!("{frames} frames wait for one peer; the limit is {max}");
            return Err(Violation { property: NAME, node, what });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_creation_beyond_the_soft_limit_is_caught() {
        let mut bench = Bench::new(Bounds::default());
        bench.add("s", "x").expect("the first object fits");
        bench.unrecorded(|group| sync_core::types::or_set::add(group, "t", b"x"));
        bench.relimit(|limits| limits.crdts_max = 1);
        assert!(bench.tell_of_write().is_err());
    }

    #[test]
    fn a_state_above_the_ceiling_is_caught() {
        let mut bench = Bench::with_limits(Bounds::default(), |limits| limits.store_bytes_ceiling = 10);
        bench.unrecorded(|group| sync_core::types::or_set::add(group, "t", b"x"));
        assert!(bench.look().is_err());
    }
}
