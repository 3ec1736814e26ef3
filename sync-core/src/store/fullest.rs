//! The fullest CRDT: the most cells and the most bytes that one object has, without a walk over all.
//!
//! Objects stand in blocks of [`BLOCK`]; each block knows its maxima. What grows raises them at once; what shrinks from
//! a maximum leaves it as an upper bound and marks its block, and only marked blocks are looked at again, when somebody
//! asks. So a write pays two comparisons, and a reading pays for what shrank since the last one.

use super::slab::{Object, ObjectIx};

/// Objects of a block.
const BLOCK: usize = 256;

/// What one object takes of its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Cells that make it present: counter floors are not counted.
    pub(super) cells: u64,
    /// Their accounted bytes.
    pub(super) bytes: u64,
}

impl Size {
    fn max(self, other: Self) -> Self {
        Self { cells: self.cells.max(other.cells), bytes: self.bytes.max(other.bytes) }
    }

    /// True if it may be why `max` is what it is.
    fn touches(self, max: Self) -> bool {
        self.cells >= max.cells || self.bytes >= max.bytes
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// At least what any object of the block has; exactly the most unless it is stale.
    max: Size,
    stale: bool,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Fullest {
    blocks: Vec<Block>,
    /// At least the maxima of all blocks; exactly these unless one of them is stale that touched it.
    max: Size,
    stale: bool,
}

impl Fullest {
    /// An upper bound of what any object has.
    #[inline]
    pub(super) fn at_most(&self) -> Size {
        self.max
    }

    /// The object at `ix` has grown to `size`.
    #[inline]
    pub(super) fn grew(&mut self, ix: ObjectIx, size: Size) {
        let at = ix.0 as usize / BLOCK;
        if at >= self.blocks.len() {
            self.blocks.resize(at + 1, Block::default());
        }
        let block = &mut self.blocks[at];
        block.max = block.max.max(size);
        self.max = self.max.max(size);
    }

    /// The object at `ix` had `size` and has less now.
    #[inline]
    pub(super) fn shrinks(&mut self, ix: ObjectIx, size: Size) {
        let block = &mut self.blocks[ix.0 as usize / BLOCK];
        block.stale |= size.touches(block.max);
        self.stale |= size.touches(self.max);
    }

    /// The most cells and the most bytes that one of `objects` has.
    pub(super) fn settle(&mut self, objects: &[Object]) -> Size {
        if !std::mem::take(&mut self.stale) {
            return self.max;
        }
        self.blocks.truncate(objects.len().div_ceil(BLOCK));
        for (block, objects) in self.blocks.iter_mut().zip(objects.chunks(BLOCK)) {
            if std::mem::take(&mut block.stale) {
                block.max = objects.iter().map(Object::size).fold(Size::default(), Size::max);
            }
        }
        self.max = self.blocks.iter().map(|block| block.max).fold(Size::default(), Size::max);
        self.max
    }
}
