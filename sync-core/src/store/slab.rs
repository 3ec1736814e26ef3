//! Cells and objects, and the two steps that change them: an item becomes live, an item ends.
//!
//! Cells lie in a slab, objects in another. A cell is found by the [`Lookup`] or by the [`Order`] of its object; both
//! hold its place and no path. A cell whose last item ended is *hollow* until its event is done, since mostly the same
//! event writes it again; outside of an event there are none.

use super::fullest::Size;
use super::order::{Order, Paths};
use super::resolve::Spot;
use super::slots::Slots;
use super::{CellIx, Gone, ItemRef, Store, lookup};
use crate::cell::{CellId, Item, ObjectId};
use crate::id::Dot;
use crate::time::WallMillis;

/// An object's place. Reused after the object is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ObjectIx(pub(super) u32);

impl ObjectIx {
    pub(super) const NONE: Self = Self(u32::MAX);
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
    #[inline]
    pub(super) fn is_floor(&self, path: &[u8]) -> bool {
        self.cells != self.present && !self.id.ty.is_presence(path)
    }
}

impl Paths for &Slots {
    #[inline]
    fn path(&self, ix: CellIx) -> &[u8] {
        Slots::path(self, self.at(ix))
    }
}

impl Store {
    /// Makes `item` live in `cell`. Its dot must not be live.
    pub(super) fn put(&mut self, cell: &CellId, item: &ItemRef<'_>) {
        let ix = self.place_of(cell);
        self.put_at(ix, item);
    }

    /// Makes `item` live in the cell at `ix`; true if it stands beside others there. Its dot must not be live.
    pub(super) fn put_at(&mut self, ix: CellIx, item: &ItemRef<'_>) -> bool {
        self.note_place(ix);
        self.note_item(item.dot);
        let (packed, was_live) = self.live.insert(item.dot, ix);
        debug_assert!(!was_live, "a dot lives in exactly one cell");
        self.sketch.toggle(item.dot, &self.live);
        if item.expires.0 != 0 {
            self.expiring.insert((item.expires, item.dot));
        }
        let slot = self.slots.at(ix);
        let (at, path) = (slot.object, self.slots.path(slot));
        let object = &mut self.objects[at.0 as usize];
        let bytes = Self::accounted(&object.id, path.len(), item.payload.len());
        object.bytes += bytes;
        self.bytes += bytes;
        if object.is_floor(path) {
            object.floor_bytes += bytes;
            self.floor_bytes += bytes;
        } else {
            self.fullest.grew(at, object.size());
        }
        let beside = self.slots.insert(ix, item, packed, &self.live);
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
        let ix = self.add_cell(cell);
        match hash {
            Some(hash) => self.lookup.insert(hash, ix),
            // Only what was looked for before there was a table comes without a hash.
            None if self.lookup.is_kept() => self.lookup.insert(self.hash_of(ix), ix),
            None if self.slots.len() >= lookup::CELLS_MIN => self.begin_lookup(),
            None => {}
        }
        ix
    }

    /// As [`Self::new_cell`], where a place in the table was found.
    pub(super) fn new_cell_at(&mut self, cell: &CellId, Spot { hash, place }: Spot) -> CellIx {
        let ix = self.add_cell(cell);
        self.lookup.insert_from(place, hash, ix);
        ix
    }

    /// Makes `cell`, and leaves it to the caller to put it into the table.
    #[inline]
    fn add_cell(&mut self, cell: &CellId) -> CellIx {
        let object = self.object_of(&cell.object);
        let ix = self.slots.add(object, &cell.path);
        let Self { objects, slots, .. } = self;
        let object = &mut objects[object.0 as usize];
        object.order.insert(&cell.path, ix, &&*slots);
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

    fn begin_lookup(&mut self) {
        self.lookup.reserve(self.slots.len());
        for ix in self.slots.held().map(|(ix, _)| ix).collect::<Vec<_>>() {
            let hash = self.hash_of(ix);
            self.lookup.insert(hash, ix);
        }
    }

    pub(super) fn hash_of(&self, ix: CellIx) -> u32 {
        let slot = self.slot(ix);
        let ObjectId { key, ty } = &self.objects[slot.object.0 as usize].id;
        lookup::hash(self.lookup_key, key.as_str().as_bytes(), ty.0, self.slots.path(slot))
    }

    /// The object's place; it is made if there is none.
    pub(super) fn object_of(&mut self, id: &ObjectId) -> ObjectIx {
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
        let killed = self.item(dot).map(|(cell, item)| (cell, item.to_item()))?;
        self.end(dot);
        self.drop_hollow();
        Some(killed)
    }

    /// Makes `dot` dead and leaves its cell hollow if that was the last item there: [`Self::drop_hollow`] must follow.
    /// Gives its cell, and when it would have expired; `None` if it was not live.
    pub(super) fn end(&mut self, dot: Dot) -> Option<(CellIx, WallMillis)> {
        self.note_dot(dot);
        let ix = self.live.get(dot)?;
        self.note_item(dot);
        let slot = self.slots.at(ix);
        let item = self.slots.items(slot, &self.live).find(dot).expect("a live dot has an item in its cell");
        let path = self.slots.path(slot);
        let (expires, object) = (item.expires, &mut self.objects[slot.object.0 as usize]);
        let bytes = Self::accounted(&object.id, path.len(), item.payload.len());
        if !self.answers.is_empty() {
            let cell = CellId { object: object.id.clone(), path: self.slots.to_path(slot) };
            self.answers.pin(&cell, &item.to_item(), self.limits.pinned_bytes_max);
        }
        if object.is_floor(path) {
            object.floor_bytes -= bytes;
            self.floor_bytes -= bytes;
        } else {
            self.fullest.shrinks(slot.object, object.size());
        }
        object.bytes -= bytes;
        self.bytes -= bytes;
        self.live.remove(dot);
        self.sketch.toggle(dot, &self.live);
        self.slots.end(ix, dot, &self.live);
        if self.slots.at(ix).is_hollow() {
            self.hollow.push(ix);
        }
        if expires.0 != 0 {
            self.expiring.remove(&(expires, dot));
        }
        self.mark_dirty(ix);
        Some((ix, expires))
    }

    /// The event is done: cells that it left without an item go.
    pub(super) fn drop_hollow(&mut self) {
        while let Some(ix) = self.hollow.pop() {
            let slot = self.slot(ix);
            // A cell can be in the list twice, and its place free by now.
            if slot.is_hollow() && slot.is_held() {
                self.drop_cell(ix);
            }
        }
    }

    fn drop_cell(&mut self, ix: CellIx) {
        if self.slot(ix).is_settled() {
            let path = self.slots.to_path(self.slot(ix));
            self.gone.push(Gone { object: self.half_of(ix), path, ix });
        }
        if self.lookup.is_kept() {
            let hash = self.hash_of(ix);
            self.lookup.remove(hash, ix);
        }
        let Self { slots, objects, .. } = self;
        let slot = slots.at(ix);
        let (at, path) = (slot.object, slots.path(slot));
        let object = &mut objects[at.0 as usize];
        object.order.remove(path, ix, &&*slots);
        object.cells -= 1;
        let mut present = true;
        if object.id.ty.is_presence(path) {
            self.fullest.shrinks(at, object.size());
            object.present -= 1;
            present = object.present > 0;
        }
        let empty = object.order.is_empty();
        self.slots.remove(ix);
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
        if self.slots.at_mut(ix).set_dirty(true) {
            return;
        }
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
        self.dirty.retain(|ix| slots.at(*ix).is_dirty());
    }
}
