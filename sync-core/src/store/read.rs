//! Reading a store: items, cells and objects.

use std::ops::Bound;

use super::items::{ItemRef, Items};
use super::join::End;
use super::slab::{Object, ObjectIx};
use super::slot::CellSlot;
use super::{CellIx, ITEM_OVERHEAD_BYTES, ObjectInfo, Store, lookup};
use crate::causal::{DotSet, Interval};
use crate::cell::{CellId, Hlc, Item, ObjectId, PathRange, TypeTag};
use crate::id::Dot;

/// What looking for a cell gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seek {
    /// Where it is; `None` if it is not there.
    pub(super) ix: Option<CellIx>,
    /// The hash of its name, if there is a table.
    pub(super) hash: Option<u32>,
}

impl Store {
    /// The live item of `dot` and its cell; `None` if it is dead or unknown.
    pub fn item(&self, dot: Dot) -> Option<(CellId, ItemRef<'_>)> {
        let ix = self.live.get(dot)?;
        Some((self.cell_id(ix), self.item_in(ix, dot)))
    }

    /// The objects that hold a cell, with keys that start with `prefix`, ascending by key and type.
    pub fn objects<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = ObjectInfo> + 'a {
        self.keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .flat_map(|(_, types)| types)
            .map(|(_, ix)| &self.objects[ix.0 as usize])
            .map(|object| ObjectInfo {
                object: object.id.clone(),
                cells: object.cells,
                items: object.order.unordered().map(|ix| self.items_in(ix).len() as u64).sum(),
                bytes: object.bytes,
            })
    }

    /// The objects behind `after`, or all, ascending by key and type.
    pub fn objects_after<'a>(&'a self, after: Option<&'a ObjectId>) -> impl Iterator<Item = ObjectId> + 'a {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Included(after.key.as_str()));
        self.keys
            .range::<str, _>((from, Bound::Unbounded))
            .flat_map(|(key, types)| types.iter().map(move |(ty, _)| ObjectId { key: key.clone(), ty: *ty }))
            .filter(move |object| after.is_none_or(|after| object > after))
    }

    /// True if the CRDT is present here.
    pub fn is_present(&self, key: &str, ty: TypeTag) -> bool {
        self.object(key, ty).is_some_and(|object| object.present > 0)
    }

    /// The cells of one object in path order, each with its live items by dot.
    pub fn cells<'a>(&'a self, key: &str, ty: TypeTag) -> impl Iterator<Item = (&'a [u8], Items<'a>)> + 'a {
        let cells = self.object(key, ty).map(|object| object.order.iter(&self.slots));
        cells.into_iter().flatten().map(|ix| self.cell_at(ix))
    }

    /// The path of a cell, and its live items.
    #[inline]
    fn cell_at(&self, ix: CellIx) -> (&[u8], Items<'_>) {
        (self.path(ix), self.items_in(ix))
    }

    #[inline]
    pub(super) fn path(&self, ix: CellIx) -> &[u8] {
        self.slots.path(self.slot(ix))
    }

    #[inline]
    pub(super) fn items_in(&self, ix: CellIx) -> Items<'_> {
        self.slots.items(self.slot(ix), &self.live)
    }

    /// Number of cells of one object.
    pub fn cell_count(&self, key: &str, ty: TypeTag) -> u64 {
        self.object(key, ty).map_or(0, |object| object.cells)
    }

    /// The live items of one cell, by dot; empty if there are none.
    #[inline]
    pub fn items(&self, key: &str, ty: TypeTag, path: &[u8]) -> Items<'_> {
        self.items_at(self.seek(key, ty, path))
    }

    /// The live items of one cell, by dot; empty if there are none.
    pub fn items_of(&self, cell: &CellId) -> Items<'_> {
        self.items(cell.object.key.as_str(), cell.object.ty, cell.path.as_bytes())
    }

    /// The cells of one object with `after < path <= until`, in path order, each with its live items.
    pub fn cells_between<'a>(
        &'a self,
        object: &ObjectId,
        after: Option<&'a [u8]>,
        until: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], Items<'a>)> + 'a {
        let cells = self.slots_between(object, after, until);
        cells.map(|(slot, _)| (self.slots.path(slot), self.slots.items(slot, &self.live)))
    }

    /// As [`Self::cells_between`], each with its object.
    pub(super) fn slots_between<'a>(
        &'a self,
        object: &ObjectId,
        after: Option<&'a [u8]>,
        until: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a CellSlot, &'a ObjectId)> + 'a {
        let object = self.object(object.key.as_str(), object.ty);
        let from = after.unwrap_or_default();
        let cells = object.map(|object| object.order.range(from, &self.slots));
        cells
            .into_iter()
            .flatten()
            .map(|ix| self.slot(ix))
            .skip_while(move |slot| after == Some(self.slots.path(slot)))
            .take_while(move |slot| until.is_none_or(|until| self.slots.path(slot) <= until))
            .map(|slot| (slot, &self.objects[slot.object.0 as usize].id))
    }

    /// The cells of `range` in path order, each with its live items.
    pub(crate) fn cells_in<'a>(
        &'a self,
        range: &'a PathRange,
    ) -> impl Iterator<Item = (&'a [u8], Items<'a>)> + 'a {
        let object = self.object(range.object.key.as_str(), range.object.ty);
        let cells = object.map(|object| object.order.range(range.from.as_bytes(), &self.slots));
        cells
            .into_iter()
            .flatten()
            .map(|ix| self.cell_at(ix))
            .take_while(|(path, _)| range.until.as_ref().is_none_or(|until| *path < until.as_bytes()))
    }

    /// The cells of one object whose paths start with `prefix`, in path order, each with its live items.
    pub fn cells_under<'a>(
        &'a self,
        key: &str,
        ty: TypeTag,
        prefix: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], Items<'a>)> + use<'a> {
        let object = self.object(key, ty);
        let cells = object.map(|object| object.order.range(prefix, &self.slots));
        let cells = cells.into_iter().flatten().map(|ix| self.cell_at(ix));
        let prefix = prefix.to_vec();
        cells.take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Appends the live dots among `dots` to `live`, ascending: as [`Self::live_in`], and faster where they are single ones.
    pub(super) fn live_among(&self, dots: &DotSet, live: &mut Vec<End>) {
        for (replica, intervals) in dots.columns() {
            self.live.among(replica, intervals, self.context.get(replica), live);
        }
    }

    /// The live dots among `dots`, ascending, with their cells. Costs what it finds, not what is named.
    pub(super) fn live_in<'a>(&'a self, dots: &'a DotSet) -> impl Iterator<Item = (Dot, CellIx)> + 'a {
        dots.intervals().flat_map(|(replica, Interval { first, last })| self.live.range(replica, first, last))
    }

    pub(super) fn find_object(&self, key: &str, ty: TypeTag) -> Option<ObjectIx> {
        let recent = self.objects.get(self.recent.0 as usize);
        if recent.is_some_and(|object| object.id.ty == ty && object.id.key.as_str() == key) {
            return Some(self.recent);
        }
        let types = self.keys.get(key)?;
        types.iter().find(|(tag, _)| *tag == ty).map(|(_, ix)| *ix)
    }

    pub(super) fn object(&self, key: &str, ty: TypeTag) -> Option<&Object> {
        self.find_object(key, ty).map(|ix| &self.objects[ix.0 as usize])
    }

    pub(super) fn find(&self, cell: &CellId) -> Option<CellIx> {
        self.seek(cell.object.key.as_str(), cell.object.ty, cell.path.as_bytes()).ix
    }

    /// The live items of a cell that was looked for; nothing may have changed since.
    #[inline]
    pub(crate) fn items_at(&self, seek: Seek) -> Items<'_> {
        seek.ix.map_or(Items::NONE, |ix| self.items_in(ix))
    }

    /// True unless the cell that was looked for is there and none of its object's cells is a counter's floor.
    #[inline]
    pub(crate) fn may_have_floors(&self, seek: Seek) -> bool {
        let object = seek.ix.map(|ix| &self.objects[self.slot(ix).object.0 as usize]);
        object.is_none_or(|object| object.cells != object.present)
    }

    /// Looks for a cell by its name.
    #[inline]
    pub(crate) fn seek(&self, key: &str, ty: TypeTag, path: &[u8]) -> Seek {
        if self.lookup.is_kept() {
            let hash = lookup::hash(self.lookup_key, key.as_bytes(), ty.0, path);
            return Seek { ix: self.lookup.find(hash, |ix| self.is_at(ix, key, ty, path)), hash: Some(hash) };
        }
        let order = self.object(key, ty).map(|object| &object.order);
        Seek { ix: order.and_then(|order| order.find(path, &&self.slots)), hash: None }
    }

    /// True if `ix` is the cell of this name.
    #[inline]
    pub(super) fn is_at(&self, ix: CellIx, key: &str, ty: TypeTag, path: &[u8]) -> bool {
        let slot = self.slots.at(ix);
        let id = &self.objects[slot.object.0 as usize].id;
        self.slots.path(slot) == path && id.ty == ty && id.key.as_str() == key
    }

    #[inline]
    pub(super) fn slot(&self, ix: CellIx) -> &CellSlot {
        self.slots.at(ix)
    }

    #[inline]
    pub(super) fn object_id(&self, slot: &CellSlot) -> &ObjectId {
        &self.objects[slot.object.0 as usize].id
    }

    pub(super) fn cell_id(&self, ix: CellIx) -> CellId {
        let slot = self.slot(ix);
        CellId { object: self.object_id(slot).clone(), path: self.slots.to_path(slot) }
    }

    pub(super) fn item_in(&self, ix: CellIx, dot: Dot) -> ItemRef<'_> {
        self.items_in(ix).find(dot).expect("a live dot has an item in its cell")
    }

    /// The writer's clock at a live dot; `None` if it is not live.
    pub(crate) fn hlc_of(&self, dot: Dot) -> Option<Hlc> {
        let ix = self.live.get(dot)?;
        Some(self.item_in(ix, dot).hlc)
    }

    /// Accounted bytes of a live dot; `None` if it is not.
    pub(super) fn bytes_of(&self, dot: Dot) -> Option<u64> {
        let ix = self.live.get(dot)?;
        let object = self.object_id(self.slot(ix));
        Some(Self::accounted(object, self.path(ix).len(), self.item_in(ix, dot).payload.len()))
    }

    /// True if `cell` is another than the one at `ix`.
    pub(super) fn cell_id_is_not(&self, ix: CellIx, cell: &CellId) -> bool {
        !self.is_at(ix, cell.object.key.as_str(), cell.object.ty, cell.path.as_bytes())
    }

    pub(crate) fn item_bytes(cell: &CellId, item: &Item) -> u64 {
        Self::accounted(&cell.object, cell.path.as_bytes().len(), item.payload.len())
    }

    /// Accounted bytes of an item with a path and a payload of these lengths.
    #[inline]
    pub(super) fn accounted(object: &ObjectId, path: usize, payload: usize) -> u64 {
        (object.key.as_str().len() + path + payload) as u64 + ITEM_OVERHEAD_BYTES
    }
}
