//! What a rotten disk still gave: handed to the new life, and watched until the node has seen to it.

use sync_core::node::{Node, Salvaged};

use super::World;
use super::disk::Whose;
use super::trace::Mark;
use crate::history::Rotten;

impl World {
    /// Hands `node`, about to begin at `at`, what its disk still gave of its own items.
    pub(super) fn salvage(&mut self, at: usize, node: &mut Node, salvaged: Vec<Salvaged>) {
        if salvaged.is_empty() {
            return;
        }
        self.trace.note(self.at, Mark::Started, at, &[], || {
            format!("finds its disk rotten; {} of its own items can be read", salvaged.len())
        });
        self.counts.salvaged += salvaged.len() as u64;
        let known = salvaged.iter().map(|one| (one.item.dot, one.cell.clone(), one.item.clone()));
        self.history.rot(known.map(|(dot, cell, item)| Rotten { node: at, dot, cell, item }));
        node.salvage(salvaged);
        // Before the old file is set aside: a crash loses nothing that could be read.
        let step = node.take_step();
        self.machines[at].disk.stop(step, Whose::of(node));
    }

    /// True if nothing is written again before every member was heard: then nobody may know it.
    pub(super) fn waits_for_all(&self) -> bool {
        let timing = self.scenario.periods.timing();
        timing.replay_wait.as_millis()
            > self.scenario.run_ms + self.scenario.converge_ms + self.scenario.rest_ms
    }
}
