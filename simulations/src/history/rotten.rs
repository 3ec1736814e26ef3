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
    /// A disk of `node` has rotted, and this could be read. It takes the place of what could be read there before: what
    /// was saved since is among it, and what was ended since, or rotted itself, went with the file.
    pub fn rot(&mut self, node: usize, rotten: impl IntoIterator<Item = Rotten>) {
        self.rotten.retain(|before| before.node != node);
        self.rotten.extend(rotten);
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
        let is_saved = |dot: Dot| seen.contains(dot) || self.was_written_again(dot, seen);
        self.rotten.iter().find(|rotten| !expired(rotten) && !is_saved(rotten.dot))
    }
}
