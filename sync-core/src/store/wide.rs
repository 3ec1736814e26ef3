//! What slots have no room for: a second slab, an entry a line of the cache; see [`super::slots`].

use super::CellIx;
use super::shrink::{MOVES_MAX, is_sparse, trim};
use crate::cell::{Item, Path, Payload};
use crate::time::WallMillis;

/// Bytes of path and payload in an entry.
pub(super) const MEDIUM_BYTES: usize = 63;

#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Entry(pub(super) Rest);

#[derive(Clone, Debug)]
pub(super) enum Rest {
    /// The path and behind it the payload of at most one item; their lengths stand in the slot, as do its dot and clock.
    Medium([u8; MEDIUM_BYTES]),
    /// At most one item, whose dot and clock stand in the slot.
    One { path: Path, expires: WallMillis, payload: Payload },
    /// At least two, ascending by dot.
    Many { path: Path, items: Vec<Item> },
}

const FREE: Entry = Entry(Rest::Medium([0; MEDIUM_BYTES]));

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Wide {
    entries: Vec<Entry>,
    /// Whose each entry is.
    cells: Vec<CellIx>,
    free: Vec<u32>,
}

/// Whose a free entry is.
const NOBODY: CellIx = CellIx(u32::MAX);

impl Wide {
    #[inline]
    pub(super) fn at(&self, at: usize) -> &Rest {
        &self.entries[at].0
    }

    #[inline]
    pub(super) fn at_mut(&mut self, at: usize) -> &mut Rest {
        &mut self.entries[at].0
    }

    /// A place for `rest` of `cell`.
    pub(super) fn add(&mut self, cell: CellIx, rest: Rest) -> u32 {
        if let Some(at) = self.free.pop() {
            (self.entries[at as usize], self.cells[at as usize]) = (Entry(rest), cell);
            return at;
        }
        self.entries.push(Entry(rest));
        self.cells.push(cell);
        u32::try_from(self.entries.len() - 1).expect("there are no more of them than cells")
    }

    /// Frees an entry; the last one gives all back.
    pub(super) fn remove(&mut self, at: usize) {
        (self.entries[at], self.cells[at]) = (FREE, NOBODY);
        self.free.push(u32::try_from(at).expect("places have 32 bits"));
        if self.free.len() == self.entries.len() {
            *self = Self::default();
        }
    }

    /// The cell of an entry has moved to `cell`.
    pub(super) fn set_cell(&mut self, at: usize, cell: CellIx) {
        self.cells[at] = cell;
    }

    /// Gives places back when three in four are free, as [`super::Store::shrink`] does with those of cells; `moved` is
    /// told of each cell whose entry has moved, and where to.
    pub(super) fn shrink(&mut self, mut moved: impl FnMut(CellIx, u32)) {
        if !is_sparse(self.entries.len(), self.free.len()) {
            return;
        }
        let len = self.entries.len() - self.free.len();
        let mut places = std::mem::take(&mut self.free);
        places.sort_unstable();
        let mut front = places.iter().copied().filter(|at| (*at as usize) < len).take(MOVES_MAX);
        while self.entries.len() > len {
            let last = self.entries.len() - 1;
            let cell = self.cells[last];
            if cell != NOBODY {
                let Some(to) = front.next() else { break };
                self.entries.swap(last, to as usize);
                self.cells[to as usize] = cell;
                moved(cell, to);
            }
            self.entries.pop();
            self.cells.pop();
        }
        let cells = &self.cells;
        places.retain(|at| cells.get(*at as usize) == Some(&NOBODY));
        self.free = places;
        trim(&mut self.entries);
        trim(&mut self.cells);
    }

    /// Entries, free ones too.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }
}
