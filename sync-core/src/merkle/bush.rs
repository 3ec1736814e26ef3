//! The smallest branches: all of their children are leaves, and few cells are below.
//!
//! Such a branch keeps no hash of a child: one change below hashes all of its leaves again, which are a block each
//! mostly. At a million cells every third node of the last level is one, and with the hashes of their children these took
//! more than all else in the trie. What it hashes to is what any branch of these cells does.

use super::Fingerprint;
use super::prefix::Prefix;
use super::trie::{Cells, Children, LEAF_CELLS_MAX, Scratch, leaf_hash};

/// Most cells of a bush.
pub(super) const BUSH_CELLS_MAX: usize = 2 * LEAF_CELLS_MAX;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Bush<H> {
    /// What all addresses below share, and no more.
    pub(super) prefix: Prefix,
    /// Where the handles of each child end.
    ends: [u8; 16],
    handles: Vec<H>,
}

impl<H: Copy + Eq> Bush<H> {
    /// A bush of these children, by nibble; none has more than a leaf may have.
    pub(super) fn new<'a>(prefix: Prefix, children: impl Iterator<Item = (usize, &'a [H])>) -> Box<Self>
    where
        H: 'a,
    {
        let mut bush = Self { prefix, ends: [0; 16], handles: Vec::with_capacity(BUSH_CELLS_MAX / 2) };
        for (nibble, child) in children {
            bush.handles.extend_from_slice(child);
            let end = bush.end();
            bush.ends[nibble..].fill(end);
        }
        bush.handles.shrink_to_fit();
        Box::new(bush)
    }

    fn end(&self) -> u8 {
        u8::try_from(self.handles.len()).expect("a bush has few cells")
    }

    /// Number of cells.
    pub(super) fn cells(&self) -> usize {
        self.handles.len()
    }

    /// All handles.
    pub(super) fn handles(&self) -> &[H] {
        &self.handles
    }

    fn range(&self, nibble: usize) -> std::ops::Range<usize> {
        let from = if nibble == 0 { 0 } else { self.ends[nibble - 1] };
        usize::from(from)..usize::from(self.ends[nibble])
    }

    /// The handles of one child; none if there is no such child.
    pub(super) fn child(&self, nibble: usize) -> &[H] {
        &self.handles[self.range(nibble)]
    }

    /// Adds a cell to a child; false, and nothing changed, if it would be no bush any more.
    pub(super) fn insert(&mut self, nibble: usize, handle: H) -> bool {
        let range = self.range(nibble);
        if self.handles.len() == BUSH_CELLS_MAX || range.len() == LEAF_CELLS_MAX {
            return false;
        }
        self.handles.insert(range.end, handle);
        self.ends[nibble..].iter_mut().for_each(|end| *end += 1);
        true
    }

    /// Takes a cell out of a child, where it is.
    pub(super) fn remove(&mut self, nibble: usize, handle: H) {
        let range = self.range(nibble);
        let at = self.handles[range.clone()].iter().position(|held| *held == handle);
        self.handles.remove(range.start + at.expect("a removed cell is in the trie"));
        self.ends[nibble..].iter_mut().for_each(|end| *end -= 1);
    }

    /// Number of children.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        (0..16).filter(|nibble| !self.range(*nibble).is_empty()).count()
    }

    /// Its hash, of all that is below.
    pub(super) fn hash(&mut self, cells: &impl Cells<H>, scratch: &mut Scratch<H>) -> Fingerprint {
        let mut children = Children::default();
        for nibble in 0..16 {
            let range = self.range(nibble);
            if !range.is_empty() {
                children.add(nibble, leaf_hash(&mut self.handles[range], cells, scratch));
            }
        }
        children.hash(&self.prefix)
    }

    /// The hashes of its children.
    pub(super) fn hashes(&self, cells: &impl Cells<H>) -> [Option<Fingerprint>; 16] {
        let mut scratch = Scratch::new();
        std::array::from_fn(|nibble| {
            let mut child = self.child(nibble).to_vec();
            (!child.is_empty()).then(|| leaf_hash(&mut child, cells, &mut scratch))
        })
    }
}
