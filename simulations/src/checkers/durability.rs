//! Nothing durable is lost: a write whose persist step is durable is known to every later life on that
//! disk, and to all once they have converged.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::id::NamespaceId;
use sync_core::node::Node;

use super::{Checker, Origin, Step, Violation};
use crate::history::{History, OpId, Seen};

const NAME: &str = "nothing durable is lost";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// That of the application.
    namespace: Option<NamespaceId>,
    /// Operations of each node's life that are not durable yet, with their steps.
    pending: BTreeMap<usize, Vec<(u64, OpId)>>,
    /// Operations that the disk of each node holds.
    safe: BTreeMap<usize, BTreeSet<OpId>>,
}

impl Durability {
    fn lost(&self, history: &History, node: usize, seen: &Seen) -> Option<OpId> {
        let minted = |id: &&OpId| history.op(**id).dots.is_some();
        self.safe.get(&node)?.iter().filter(minted).find(|id| !history.op(**id).is_in(seen)).copied()
    }
}

impl Checker for Durability {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wrote(&mut self, step: &mut Step<'_>, ops: &[OpId]) -> Result<(), Violation> {
        self.namespace = Some(step.namespace);
        let steps = ops.iter().map(|id| (step.history.op(*id).step, *id));
        self.pending.entry(step.node).or_default().extend(steps);
        Ok(())
    }

    fn durable(&mut self, node: usize, step: u64) {
        let Some(pending) = self.pending.get_mut(&node) else { return };
        let safe = self.safe.entry(node).or_default();
        pending.retain(|(at, id)| *at > step || !safe.insert(*id));
    }

    fn crashed(&mut self, node: usize) {
        self.pending.remove(&node);
    }

    fn started(&mut self, step: &mut Step<'_>, origin: Origin) -> Result<(), Violation> {
        self.namespace = Some(step.namespace);
        self.pending.remove(&step.node);
        if origin != Origin::Durable {
            self.safe.remove(&step.node);
            return Ok(());
        }
        match self.lost(step.history, step.node, step.model.seen()) {
            None => Ok(()),
            Some(id) => step.violation(NAME, format!("{:?} was durable here", step.history.op(id))),
        }
    }

    fn at_end(
        &mut self,
        history: &History,
        nodes: &mut [(usize, &mut Node)],
        _converged: bool,
    ) -> Result<(), Violation> {
        let Some(namespace) = self.namespace else { return Ok(()) };
        for (node, state) in nodes {
            let seen = state.store(namespace).map(|store| Seen::from(store.context())).unwrap_or_default();
            if let Some(id) = self.lost(history, *node, &seen) {
                let what = format!("{:?} was durable here", history.op(id));
                return Err(Violation { property: NAME, node: *node, what });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_life_that_forgets_what_its_disk_held_is_caught() {
        let mut bench = Bench::new(Durability::default());
        let empty = bench.node.clone();
        bench.add("s", "x").expect("it is there");
        bench.suite.durable(0, u64::MAX);
        bench.suite.crashed(0);
        bench.node = empty;
        assert!(bench.started(Origin::Durable).is_err());
        bench.started(Origin::Backup).expect("a backup may be older");
    }
}
