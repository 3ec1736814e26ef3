//! Cells and objects, and the two steps that change them: an item becomes live, an item ends.
//!
//! Cells lie in a slab, objects in another. A cell is found by the [`Lookup`] or by the [`Order`] of its object; both
//! hold its place and no path. A cell whose last item ended is *hollow* until its event is done, since mostly the same
//! event writes it again; outside of an event there are none.

use super::fullest::Size;
use super::order::{Order, Paths};
use super::{CellIx, Gone, Store, lookup};
use crate::cell::{CellId, Item, ObjectId, Path};
use crate::id::Dot;

/// An object's place. Reused after the object is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ObjectIx(pub(super) u32);

impl ObjectIx {
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// What lives in a cell: mostly one item.
#[derive(Clone, Debug, Default)]
pub(super) enum Items {
    #[default]
    None,
    One(Item),
    /// At least two, ascending by dot.
    Many(Vec<Item>),
}

impl Items {
    #[inline]
    pub(super) fn as_slice(&self) -> &[Item] {
        match self {
            Self::None => &[],
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }

    #[cfg(feature = "faults")]
    pub(super) fn as_mut_slice(&mut self) -> &mut [Item] {
        match self {
            Self::None => &mut [],
            Self::One(item) => std::slice::from_mut(item),
            Self::Many(items) => items,
        }
    }

    fn insert(&mut self, item: Item) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(item),
            Self::One(held) if held.dot < item.dot => Self::Many(vec![held, item]),
            Self::One(held) => Self::Many(vec![item, held]),
            Self::Many(mut items) => {
                let at = items.partition_point(|held| held.dot < item.dot);
                items.insert(at, item);
                Self::Many(items)
            }
        };
    }

    fn remove(&mut self, dot: Dot) -> Item {
        const HELD: &str = "a live dot has an item in its cell";
        let (rest, item) = match std::mem::take(self) {
            Self::None => (Self::None, None),
            Self::One(item) => (Self::None, Some(item)),
            Self::Many(mut items) => {
                let at = items.iter().position(|item| item.dot == dot).expect(HELD);
                let item = items.remove(at);
                match items.pop() {
                    Some(last) if items.is_empty() => (Self::One(last), Some(item)),
                    last => {
                        items.extend(last);
                        (Self::Many(items), Some(item))
                    }
                }
            }
        };
        *self = rest;
        item.expect(HELD)
    }
}

#[derive(Clone, Debug)]
pub(super) struct CellSlot {
    pub(super) path: Path,
    pub(super) items: Items,
    pub(super) object: ObjectIx,
    /// The second half of its address in the trie, once it is there.
    pub(super) half: Option<[u8; 8]>,
    /// True while it waits in the dirty list.
    pub(super) dirty: bool,
}

impl CellSlot {
    fn free() -> Self {
        Self { path: Path::default(), items: Items::None, object: ObjectIx::NONE, half: None, dirty: false }
    }

    /// True if a cell is in this place.
    pub(super) fn is_held(&self) -> bool {
        self.object != ObjectIx::NONE
    }
}

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) order: Order,
    pub(super) cells: u64,
    /// Cells that make the object present; see [`crate::cell::TypeTag::is_presence`].
    pub(super) present: u64,
    pub(super) bytes: u64,
    /// Of these, what cells take that are not presence.
    pub(super) floor_bytes: u64,
    /// The first half of the addresses of its cells, once one is in the trie.
    pub(super) half: Option<[u8; 8]>,
}

impl Object {
    fn new(id: ObjectId) -> Self {
        Self { id, order: Order::default(), cells: 0, present: 0, bytes: 0, floor_bytes: 0, half: None }
    }

    /// What it takes of the bounds of one CRDT.
    pub(super) fn size(&self) -> Size {
        Size { cells: self.present, bytes: self.bytes - self.floor_bytes }
    }

    /// True if its cell at `path` is a floor. While it has none, no path is looked at.
    fn is_floor(&self, path: &Path) -> bool {
        self.cells != self.present && !self.id.ty.is_presence(path.as_bytes())
    }
}

/// The cells of a slab, as the order of an object sees them.
pub(super) struct Slots<'a>(pub(super) &'a [CellSlot]);

impl Paths for Slots<'_> {
    #[inline]
    fn path(&self, ix: CellIx) -> &Path {
        &self.0[ix.0 as usize].path
    }
}

impl Store {
    /// Makes `item` live in `cell`. Its dot must not be live.
    pub(super) fn put(&mut self, cell: &CellId, item: Item) {
        let ix = self.place_of(cell);
        self.put_at(ix, item);
    }

    /// Makes `item` live in the cell at `ix`; true if it stands beside others there. Its dot must not be live.
    pub(super) fn put_at(&mut self, ix: CellIx, item: Item) -> bool {
        self.note_place(ix);
        self.note_item(item.dot);
        let was_live = self.live.insert(item.dot, ix);
        debug_assert!(!was_live, "a dot lives in exactly one cell");
        self.sketch.toggle(item.dot, &self.live);
        if item.expires.0 != 0 {
            self.expiring.insert((item.expires, item.dot));
        }
        let slot = &mut self.slots[ix.0 as usize];
        let object = &mut self.objects[slot.object.0 as usize];
        let bytes = Self::accounted(&object.id, &slot.path, &item.payload);
        slot.items.insert(item);
        let beside = matches!(slot.items, Items::Many(_));
        object.bytes += bytes;
        self.bytes += bytes;
        if object.is_floor(&slot.path) {
            object.floor_bytes += bytes;
            self.floor_bytes += bytes;
        } else {
            self.fullest.grew(slot.object, object.size());
        }
        self.mark_dirty(ix);
        beside
    }

    /// The place of `cell`, which is made if it is not there; an item must follow.
    pub(super) fn place_of(&mut self, cell: &CellId) -> CellIx {
        // What ended last is mostly what is written next.
        if let Some(ix) = self.hollow.last().copied().filter(|ix| !self.cell_id_is_not(*ix, cell)) {
            return ix;
        }
        let seek = self.seek(cell.object.key.as_str(), cell.object.ty, cell.path.as_bytes());
        seek.ix.unwrap_or_else(|| self.new_cell(cell, seek.hash))
    }

    /// Makes `cell`, which is not there and has `hash` if there is a table; an item must follow.
    pub(super) fn new_cell(&mut self, cell: &CellId, hash: Option<u32>) -> CellIx {
        let object = self.object_of(&cell.object);
        let slot = CellSlot { path: cell.path.clone(), items: Items::None, object, half: None, dirty: false };
        let ix = match self.free.pop() {
            Some(ix) => {
                self.slots[ix.0 as usize] = slot;
                ix
            }
            None => {
                self.slots.push(slot);
                CellIx(u32::try_from(self.slots.len() - 1).expect("2^32 cells exceed every byte limit"))
            }
        };
        match hash {
            Some(hash) => self.lookup.insert(hash, ix),
            // Only what was looked for before there was a table comes without a hash.
            None if self.lookup.is_kept() => self.lookup.insert(self.hash_of(ix), ix),
            None if self.slots.len() >= lookup::CELLS_MIN => self.begin_lookup(),
            None => {}
        }
        let Self { objects, slots, .. } = self;
        let object = &mut objects[object.0 as usize];
        object.order.insert(&cell.path, ix, &Slots(slots));
        object.cells += 1;
        if cell.object.ty.is_presence(cell.path.as_bytes()) {
            object.present += 1;
            if object.present == 1 {
                self.crdts += 1;
                if self.keys.get(cell.object.key.as_str()).is_some_and(|types| types.len() > 1) {
                    self.types_met.push(cell.object.key.clone());
                }
            }
        }
        ix
    }

    /// Makes room for so many more cells.
    pub(super) fn reserve(&mut self, cells: usize) {
        self.slots.reserve(cells);
        let will_be_kept = self.slots.is_empty() && cells >= lookup::CELLS_MIN;
        if self.lookup.is_kept() || will_be_kept {
            self.lookup.reserve(cells);
        }
    }

    fn begin_lookup(&mut self) {
        self.lookup.reserve(self.slots.len());
        let held = (0..).map(CellIx).zip(&self.slots).filter(|(_, slot)| slot.is_held()).map(|(ix, _)| ix);
        for ix in held.collect::<Vec<_>>() {
            let hash = self.hash_of(ix);
            self.lookup.insert(hash, ix);
        }
    }

    pub(super) fn hash_of(&self, ix: CellIx) -> u32 {
        let slot = self.slot(ix);
        let ObjectId { key, ty } = &self.objects[slot.object.0 as usize].id;
        lookup::hash(self.lookup_key, key.as_str().as_bytes(), ty.0, slot.path.as_bytes())
    }

    /// The object's place; it is made if there is none.
    fn object_of(&mut self, id: &ObjectId) -> ObjectIx {
        if let Some(ix) = self.find_object(id.key.as_str(), id.ty) {
            self.recent = ix;
            return ix;
        }
        let object = Object::new(id.clone());
        let ix = match self.objects_free.pop() {
            Some(ix) => {
                self.objects[ix.0 as usize] = object;
                ix
            }
            None => {
                self.objects.push(object);
                ObjectIx(u32::try_from(self.objects.len() - 1).expect("an object has a cell"))
            }
        };
        let types = self.keys.entry(id.key.clone()).or_insert_with(|| Vec::with_capacity(1));
        let at = types.partition_point(|(ty, _)| *ty < id.ty);
        types.insert(at, (id.ty, ix));
        self.recent = ix;
        ix
    }

    /// Makes `dot` dead; gives back its cell and item, or `None` if it was not live.
    pub(super) fn kill(&mut self, dot: Dot) -> Option<(CellId, Item)> {
        let (ix, item) = self.end(dot)?;
        let cell = self.cell_id(ix);
        self.drop_hollow();
        Some((cell, item))
    }

    /// Makes `dot` dead and leaves its cell hollow if that was the last item there: [`Self::drop_hollow`] must follow.
    pub(super) fn end(&mut self, dot: Dot) -> Option<(CellIx, Item)> {
        self.note_dot(dot);
        let ix = self.live.remove(dot)?;
        self.note_item(dot);
        self.sketch.toggle(dot, &self.live);
        let slot = &mut self.slots[ix.0 as usize];
        let item = slot.items.remove(dot);
        let object = &mut self.objects[slot.object.0 as usize];
        let bytes = Self::accounted(&object.id, &slot.path, &item.payload);
        if object.is_floor(&slot.path) {
            object.floor_bytes -= bytes;
            self.floor_bytes -= bytes;
        } else {
            self.fullest.shrinks(slot.object, object.size());
        }
        object.bytes -= bytes;
        self.bytes -= bytes;
        if matches!(slot.items, Items::None) {
            self.hollow.push(ix);
        }
        if item.expires.0 != 0 {
            self.expiring.remove(&(item.expires, dot));
        }
        if !self.answers.is_empty() {
            let cell = self.cell_id(ix);
            self.answers.pin(&cell, &item, self.limits.pinned_bytes_max);
        }
        self.mark_dirty(ix);
        Some((ix, item))
    }

    /// The event is done: cells that it left without an item go.
    pub(super) fn drop_hollow(&mut self) {
        while let Some(ix) = self.hollow.pop() {
            let slot = self.slot(ix);
            // A cell can be in the list twice, and its place free by now.
            if matches!(slot.items, Items::None) && slot.is_held() {
                self.drop_cell(ix);
            }
        }
    }

    fn drop_cell(&mut self, ix: CellIx) {
        if let Some(address) = self.address(ix) {
            self.gone.push(Gone { address, ix });
        }
        if self.lookup.is_kept() {
            let hash = self.hash_of(ix);
            self.lookup.remove(hash, ix);
        }
        let Self { slots, objects, .. } = self;
        let slot = &slots[ix.0 as usize];
        let at = slot.object;
        let object = &mut objects[at.0 as usize];
        object.order.remove(slot.path.as_bytes(), ix, &Slots(slots));
        object.cells -= 1;
        let mut present = true;
        if object.id.ty.is_presence(slot.path.as_bytes()) {
            self.fullest.shrinks(at, object.size());
            object.present -= 1;
            present = object.present > 0;
        }
        let empty = object.order.is_empty();
        let slot = &mut self.slots[ix.0 as usize];
        *slot = CellSlot::free();
        self.free.push(ix);
        if !present {
            self.crdts -= 1;
        }
        if empty {
            self.drop_object(at);
        }
    }

    fn drop_object(&mut self, ix: ObjectIx) {
        let object = &mut self.objects[ix.0 as usize];
        object.order = Order::default();
        let ObjectId { key, ty } = object.id.clone();
        self.objects_free.push(ix);
        self.recent = ObjectIx::NONE;
        let types = self.keys.get_mut(key.as_str()).expect("an object stands under its key");
        types.retain(|(other, _)| *other != ty);
        if types.is_empty() {
            self.keys.remove(key.as_str());
        }
    }

    pub(super) fn mark_dirty(&mut self, ix: CellIx) {
        let slot = &mut self.slots[ix.0 as usize];
        if slot.dirty {
            return;
        }
        slot.dirty = true;
        self.dirty.push(ix);
        if self.dirty.len() > 2 * self.slots.len() + 64 {
            self.compact_dirty();
        }
    }

    /// A cell that is dropped leaves its entry in the dirty list, and its place in the slab may be taken
    /// by another cell with an entry of its own: such entries go when they outnumber the cells.
    fn compact_dirty(&mut self) {
        self.dirty.sort_unstable();
        self.dirty.dedup();
        let slots = &self.slots;
        self.dirty.retain(|ix| slots[ix.0 as usize].dirty);
    }
}
