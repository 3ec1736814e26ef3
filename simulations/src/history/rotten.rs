//! Rotten disks in the abstract execution: which items a node still had in hand when it lost the rest.

use sync_core::cell::{CellId, Item};
use sync_core::id::Dot;

use super::{Act, History, Seen};

/// An item of a node's own that could be read on its rotten disk.
#[derive(Clone, Debug)]
pub struct Rotten {
    /// Whose.
    pub node: usize,
    /// Its dot.
    pub dot: Dot,
    /// Its cell.
    pub cell: CellId,
    /// The item.
    pub item: Item,
}

impl History {
    /// A disk has rotted, and this could be read.
    pub fn rot(&mut self, rotten: impl IntoIterator<Item = Rotten>) {
        self.rotten.extend(rotten);
    }

    /// The row of the item `dot` has rotted on the disk of `node`: what only it had of that is lost.
    pub fn rotted(&mut self, node: usize, dot: Dot) {
        self.rotted.insert((node, dot));
    }

    /// True if a disk of `node` has rotted.
    pub fn has_rotten(&self, node: usize) -> bool {
        self.rotten.iter().any(|rotten| rotten.node == node)
    }

    /// The dot of the item salvaged at `node` that says the same as `item` in `cell`.
    pub fn rotten_at(&self, node: usize, cell: &CellId, item: &Item) -> Option<Dot> {
        let same = |rotten: &&Rotten| {
            let there = &rotten.item;
            rotten.node == node
                && rotten.cell == *cell
                && (there.hlc, there.expires) == (item.hlc, item.expires)
                && there.payload == item.payload
        };
        self.rotten.iter().rev().find(same).map(|rotten| rotten.dot)
    }

    /// True if whoever knows `seen` knows that the event `dot` was written again.
    pub fn was_written_again(&self, dot: Dot, seen: &Seen) -> bool {
        self.ops.iter().any(|op| matches!(op.act, Act::Again { of, .. } if of == dot) && op.is_in(seen))
    }

    /// An item that was salvaged and that whoever knows `seen` neither knows nor has been written anew.
    pub fn unsaved(&self, seen: &Seen, horizon: u64) -> Option<&Rotten> {
        let expired = |rotten: &Rotten| rotten.item.expires.0 != 0 && rotten.item.expires.0 <= horizon;
        self.rotten.iter().find(|rotten| !expired(rotten) && !self.is_saved(rotten.node, rotten.dot, seen))
    }

    /// True if the event `dot` of `node` is known, or was written again by one that is saved in its turn, or its own row
    /// was the one that rotted.
    fn is_saved(&self, node: usize, dot: Dot, seen: &Seen) -> bool {
        let again = |op: &&super::Op| matches!(op.act, Act::Again { of, .. } if of == dot);
        seen.contains(dot)
            || self.rotted.contains(&(node, dot))
            || self
                .ops
                .iter()
                .filter(again)
                .filter_map(|op| op.dots)
                .any(|(_, last)| self.is_saved(node, last, seen))
    }
}
