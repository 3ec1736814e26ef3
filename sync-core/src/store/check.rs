//! A walk over the whole structure: what is kept beside the cells is what the cells say. For tests and simulations.

use std::collections::BTreeSet;

use super::fullest::Size;
use super::slab::{Object, ObjectIx};
use super::{CellIx, ItemRef, Store};
use crate::causal::DotSet;
use crate::id::Dot;

/// How many places each part of a store takes; see [`Store::places`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Places for cells.
    pub cells: usize,
    /// Places for objects.
    pub objects: usize,
    /// Keys.
    pub keys: usize,
    /// Places of the table that finds cells by name.
    pub lookup: usize,
    /// Cells that the trie holds.
    pub trie: usize,
    /// Cells that wait for the trie to be settled.
    pub dirty: usize,
    /// Live items.
    pub live: u64,
    /// Live items that expire.
    pub expiring: usize,
    /// Entries of the status log.
    pub log: usize,
    /// Records.
    pub records: usize,
    /// Columns of the context.
    pub context: usize,
}

impl Store {
    /// How many places each part takes, free ones too.
    pub fn places(&self) -> Places {
        Places {
            cells: self.slots.len(),
            objects: self.objects.len(),
            keys: self.keys.len(),
            lookup: self.lookup.places(),
            trie: self.trie.len(),
            dirty: self.dirty.len() + self.gone.len(),
            live: self.live.len(),
            expiring: self.expiring.len(),
            log: self.log.len(),
            records: self.records.len(),
            context: self.context.len(),
        }
    }

    /// Walks everything.
    ///
    /// # Errors
    /// The first part that contradicts the cells, in words.
    pub fn check(&self) -> Result<(), String> {
        let held = self.check_cells()?;
        self.check_objects(held)?;
        self.check_live()?;
        is("hollow cells outside of an event", self.hollow.len(), 0)?;
        self.records.check()?;
        self.log.check()
    }

    fn check_cells(&self) -> Result<usize, String> {
        let free: BTreeSet<usize> = self.slots.free().iter().map(|ix| ix.0 as usize).collect();
        is("entries of the free list, each once", free.len(), self.slots.free().len())?;
        let dirty: BTreeSet<CellIx> = self.dirty.iter().copied().collect();
        let (mut held, mut addressed) = (0, 0);
        for (ix, slot) in self.slots.iter() {
            is("a place is free", !slot.is_held(), free.contains(&(ix.0 as usize)))?;
            if !slot.is_held() {
                continue;
            }
            held += 1;
            let cell = self.cell_id(ix);
            is("cell found by its name", self.find(&cell), Some(ix))?;
            let object = &self.objects[slot.object.0 as usize];
            let ordered = object.order.find(self.slots.path(slot), &&self.slots);
            is("cell found by its path", ordered, Some(ix))?;
            is("a dirty cell is in the list", slot.is_dirty() && !dirty.contains(&ix), false)?;
            let in_trie = slot.is_settled();
            is("a cell is in the trie or waits for it", in_trie || slot.is_dirty(), true)?;
            addressed += usize::from(in_trie);
            let items = self.items_in(ix);
            is("a cell without items", items.is_empty(), false)?;
            is("items ascend", items.iter().is_sorted_by(|one, other| one.dot < other.dot), true)?;
            for item in items {
                is("the place of a live dot", self.live.get(item.dot), Some(ix))?;
                is("a live dot is known", self.context.contains(item.dot), true)?;
                let expires = item.expires.0 != 0;
                is("it expires", self.expiring.contains(&(item.expires, item.dot)), expires)?;
            }
        }
        is("places held and free", held + free.len(), self.slots.len())?;
        if self.lookup.is_kept() {
            is("cells found by name", self.lookup.len(), held)?;
        }
        is("cells of the trie", self.trie.len(), addressed + self.gone.len())?;
        Ok(held)
    }

    fn check_objects(&self, held: usize) -> Result<(), String> {
        let (mut cells, mut crdts, mut bytes, mut floors) = (0, 0, 0, 0);
        let (mut most, mut named) = (Size::default(), 0);
        for (key, types) in &self.keys {
            is("types of a key ascend", types.is_sorted_by(|(one, _), (other, _)| one < other), true)?;
            for (ty, ix) in types {
                let object = &self.objects[ix.0 as usize];
                is("an object's name", (&object.id.key, object.id.ty), (key, *ty))?;
                self.check_object(*ix, object)?;
                (cells, crdts) = (cells + object.cells, crdts + u64::from(object.present > 0));
                (bytes, floors) = (bytes + object.bytes, floors + object.floor_bytes);
                let Size { cells, bytes } = object.size();
                most = Size { cells: most.cells.max(cells), bytes: most.bytes.max(bytes) };
                named += 1;
            }
        }
        is("places of objects named and free", named + self.objects_free.len(), self.objects.len())?;
        is("cells of objects", cells, held as u64)?;
        is("CRDTs", self.crdts, crdts)?;
        is("bytes and floor bytes", (self.bytes, self.floor_bytes), (bytes, floors))?;
        let bound = self.fullest.at_most();
        is("the fullest are bounded", bound.cells >= most.cells && bound.bytes >= most.bytes, true)?;
        is("the fullest", self.fullest.clone().settle(&self.objects), most)
    }

    fn check_object(&self, at: ObjectIx, object: &Object) -> Result<(), String> {
        let (mut cells, mut present, mut bytes, mut floors) = (0, 0, 0, 0);
        let mut before = None;
        for ix in object.order.iter(&self.slots) {
            let slot = self.slot(ix);
            is("the object of a cell", slot.object, at)?;
            let path = self.path(ix);
            is("paths ascend", before.is_some_and(|before| before >= path), false)?;
            before = Some(path);
            let accounted = |item: ItemRef<'_>| Self::accounted(&object.id, path.len(), item.payload.len());
            let more: u64 = self.items_in(ix).iter().map(accounted).sum();
            let presence = object.id.ty.is_presence(path);
            (cells, present) = (cells + 1, present + u64::from(presence));
            (bytes, floors) = (bytes + more, floors + if presence { 0 } else { more });
        }
        is("cells of an object", (object.cells, object.present), (cells, present))?;
        is("bytes of an object", (object.bytes, object.floor_bytes), (bytes, floors))
    }

    fn check_live(&self) -> Result<(), String> {
        let held = || self.slots.held().flat_map(|(ix, _)| self.items_in(ix));
        let items = held().count();
        let dots: Vec<Dot> = self.live.dots().collect();
        is("live dots", (dots.len(), self.live.len()), (items, items as u64))?;
        let intervals = dots.into_iter().collect::<DotSet>().intervals().count();
        is("intervals of live dots", self.live.intervals(), intervals as u64)?;
        let expiring = held().filter(|item| item.expires.0 != 0).count();
        is("items that expire", self.expiring.len(), expiring)
    }
}

pub(super) fn is<T: PartialEq + std::fmt::Debug>(what: &str, kept: T, counted: T) -> Result<(), String> {
    if kept == counted { Ok(()) } else { Err(format!("{what}: {kept:?} is kept, {counted:?} is right")) }
}
