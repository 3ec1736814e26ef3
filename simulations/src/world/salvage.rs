//! What a rotten disk still gave: handed to the new life, and watched until the node has seen to it.

use sync_core::node::{Node, Salvaged};

use super::World;
use super::disk::Whose;
use super::trace::Mark;
use crate::history::Rotten;

impl World {
    /// Hands `node`, about to begin at `at` on a disk that has rotted, what that still gave of its own items.
    pub(super) fn salvage(&mut self, at: usize, node: &mut Node, salvaged: Vec<Salvaged>) {
        self.trace.note(self.at, Mark::Started, at, &[], || {
            format!("finds its disk rotten; {} of its own items can be read", salvaged.len())
        });
        self.counts.salvaged += salvaged.len() as u64;
        let of = |one: &Salvaged| Rotten {
            node: at,
            dot: one.item.dot,
            cell: one.cell.clone(),
            item: one.item.clone(),
        };
        self.history.rot(at, salvaged.iter().map(of).collect::<Vec<_>>());
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
