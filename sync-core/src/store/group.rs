//! Groups: local events, minted together, committed as one step or not at all.
//!
//! Each event takes the next dot, may write one cell, and kills dots that are live here (DESIGN section
//! 3). Events take effect as they are minted, so a later one of the group sees the earlier ones; an
//! error rolls all of them back. Admission is checked before an event is minted, never at a join.

use super::fullest::Size;
use super::slab::Object;
use super::undo::{Scratch, Undo};
use super::{CellIx, ItemRef, PayloadRef, Seek, Store};
use crate::causal::DotSet;
use crate::cell::{CellId, Hlc, ObjectId, Path, PathRange, Payload, TypeTag};
use crate::error::WriteError;
use crate::fragment::Record;
use crate::id::{Dot, OwnerId, ReplicaId};
use crate::limits::Limits;
use crate::mutant::{self, Mutant};
use crate::nested;
use crate::time::WallMillis;

/// A group of events in the making. The data types in [`crate::types`] fill it.
#[derive(Debug)]
pub struct Group<'a> {
    pub(super) store: &'a mut Store,
    replica: ReplicaId,
    owner: OwnerId,
    hlc: Hlc,
    /// What expiry times are taken from and compared with, beside the horizon.
    pub(super) wall: WallMillis,
    /// When what is written now expires; 0 for never.
    pub(super) expires: WallMillis,
    first: u64,
    next: u64,
    /// Bytes of keys, paths and payloads so far.
    bytes: usize,
    pub(super) undo: Vec<Undo>,
    /// Payloads of what the group has ended, one behind the other.
    pub(super) kept: Vec<u8>,
    /// Where the last event ended something.
    ended: Vec<CellIx>,
    /// Space for a payload in the making.
    spare: Vec<u8>,
    changed: DotSet,
}

/// The cell that a write goes to.
#[derive(Debug)]
enum Target {
    /// It is there.
    Held(CellIx),
    /// It is not; the hash of its name, if there is a table.
    New(CellId, Option<u32>),
}

impl Store {
    /// Opens a group that mints from `next` on for `replica`, at clock `hlc`.
    ///
    /// `next` must be one above what the context holds of `replica`: dots are never minted twice.
    pub fn group(&mut self, replica: ReplicaId, owner: OwnerId, next: u64, hlc: Hlc) -> Group<'_> {
        debug_assert_eq!(next, self.context.get(replica) + 1, "own events are known as they are minted");
        let Scratch { undo, kept, ended, spare } = std::mem::take(&mut self.scratch);
        Group {
            store: self,
            replica,
            owner,
            hlc,
            wall: hlc.wall(),
            expires: WallMillis::default(),
            first: next,
            next,
            bytes: 0,
            undo,
            kept,
            ended,
            spare,
            changed: DotSet::default(),
        }
    }
}

impl Group<'_> {
    /// The state as the group has made it so far. Its context does not hold the group's own dots yet.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// Who owns the counter contributions that this group writes.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The clock reading that every event of this group takes.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// Space for a payload in the making, empty or not; [`Self::give_spare`] gives it back.
    pub(crate) fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Gives the space back, so that the next payload allocates none.
    pub(crate) fn give_spare(&mut self, spare: Vec<u8>) {
        self.spare = spare;
    }

    /// The dot that the next event will take.
    pub fn next_dot(&self) -> Dot {
        Dot::new(self.replica, self.next)
    }

    /// Mints a write of `payload` to `cell` that ends `kills`, all of them live here.
    ///
    /// Dots killed in other cells leave a record: no claim about the written cell would tell of them. So do dots
    /// killed by a write that expires: once it has, no live item makes a claim about its cell.
    ///
    /// # Errors
    /// A limit, the sequence range, or [`WriteError::NeverExpires`]; nothing of this event has happened then.
    pub fn write(&mut self, cell: CellId, payload: Payload, kills: &[Dot]) -> Result<Dot, WriteError> {
        let seek = self.store.seek(cell.object.key.as_str(), cell.object.ty, cell.path.as_bytes());
        let target = seek.ix.map_or_else(|| Target::New(cell, seek.hash), Target::Held);
        self.write_to(target, PayloadRef::held(&payload), kills)
    }

    /// As [`Self::write`] to the cell at `path`, and ends what is seen there and `kills`, which are in other cells.
    ///
    /// `seek` is what looking for that cell gave, so it is looked for once; nothing is allocated for its name if it is
    /// there.
    pub(crate) fn put(
        &mut self,
        seek: Seek,
        (key, ty, path): (&str, TypeTag, &[u8]),
        payload: &[u8],
        kills: &[Dot],
    ) -> Result<Dot, WriteError> {
        let payload = PayloadRef::bytes(payload);
        let Some(ix) = seek.ix else {
            let held = self.store.object(key, ty).map(|held| held.id.clone());
            let object = held.unwrap_or_else(|| ObjectId::new(key, ty));
            let cell = CellId { object, path: Path::from(path) };
            return self.write_to(Target::New(cell, seek.hash), payload, kills);
        };
        let items = self.store.items_in(ix);
        match (items.only(), kills) {
            (Some(item), []) if self.expires.0 == 0 && self.store.is_replaceable(ix) => {
                self.overwrite(ix, item.dot, payload)
            }
            (Some(item), []) => self.write_to(Target::Held(ix), payload, &[item.dot]),
            (_, kills) => {
                let seen = items.iter().map(|item| item.dot).chain(kills.iter().copied());
                let seen: Vec<Dot> = seen.collect();
                self.write_to(Target::Held(ix), payload, &seen)
            }
        }
    }

    fn write_to(
        &mut self,
        target: Target,
        payload: PayloadRef<'_>,
        kills: &[Dot],
    ) -> Result<Dot, WriteError> {
        let (object, path) = match &target {
            Target::Held(ix) => {
                let object = self.store.object_id(self.store.slot(*ix));
                (object, self.store.path(*ix))
            }
            Target::New(cell, _) => (&cell.object, cell.path.as_bytes()),
        };
        let (expires, bytes) = self.check_write(object, path, payload.len(), kills)?;
        self.count_bytes(bytes)?;
        if mutant::is(Mutant::OneDotTwoCells) && self.next > self.first {
            self.next -= 1;
        }
        let dot = self.next_dot();
        let item = ItemRef { dot, hlc: self.hlc, expires, payload };
        self.mint(kills)?;
        let is_other = |ended: &CellIx| !matches!(target, Target::Held(ix) if ix == *ended);
        let cross_cell = self.ended.iter().any(is_other) && !mutant::is(Mutant::CrossCellUnrecorded);
        if cross_cell || self.kills_for_a_time(expires) {
            let cells = self.ended_cells();
            self.record(dot, Record::Cells(cells.into()));
        }
        let ix = match target {
            Target::Held(ix) => ix,
            Target::New(cell, hash) => self.store.new_cell(&cell, hash),
        };
        self.wrote(ix, &item);
        Ok(dot)
    }

    /// Mints a write of `payload` to the cell at `ix` that takes the place of `old`, the one item there.
    fn overwrite(&mut self, ix: CellIx, old: Dot, payload: PayloadRef<'_>) -> Result<Dot, WriteError> {
        let object = self.store.object_id(self.store.slot(ix));
        let (expires, bytes) = self.check_write(object, self.store.path(ix), payload.len(), &[old])?;
        self.count_bytes(bytes)?;
        if mutant::is(Mutant::OneDotTwoCells) && self.next > self.first {
            self.next -= 1;
        }
        let dot = self.take_dot()?;
        let Self { store, undo, kept, changed, .. } = self;
        let held = store.items_in(ix).only().expect("what is replaced is alone in its cell");
        kept.extend_from_slice(held.payload.as_bytes());
        undo.push(Undo::Replaced { by: dot, dot: old, hlc: held.hlc, payload: held.payload.len() });
        if !mutant::is(Mutant::KillsNotLogged) {
            changed.insert(old);
        }
        store.replace(ix, old, &ItemRef { dot, hlc: self.hlc, expires, payload });
        Ok(dot)
    }

    /// When a write of `payload` bytes to that cell expires, and the bytes that the group grows by.
    fn check_write(
        &self,
        object: &ObjectId,
        path: &[u8],
        payload: usize,
        kills: &[Dot],
    ) -> Result<(WallMillis, usize), WriteError> {
        self.check_lengths(object, path, payload)?;
        let expires = self.expires_in_cell(object, path)?;
        self.admit(object, path, payload, kills)?;
        Ok((expires, object.key.as_str().len() + path.len() + payload))
    }

    /// Takes the next dot for an event.
    #[inline]
    fn take_dot(&mut self) -> Result<Dot, WriteError> {
        if self.next > Dot::SEQ_MAX {
            return Err(WriteError::SequencesUsed { replica: self.replica });
        }
        let dot = self.next_dot();
        self.changed.insert(dot);
        self.next += 1;
        Ok(dot)
    }

    /// The event just minted writes `item` to the cell at `ix`.
    fn wrote(&mut self, ix: CellIx, item: &ItemRef<'_>) {
        self.undo.push(Undo::Wrote(item.dot));
        self.store.put_at(ix, item);
        self.store.drop_hollow();
    }

    /// The event just minted writes `item` to `cell`.
    pub(super) fn rewrote(&mut self, cell: &CellId, item: &ItemRef<'_>) {
        let ix = self.store.place_of(cell);
        self.wrote(ix, item);
    }

    /// Mints a remove that ends `kills`, all of them live here; its record names their cells.
    ///
    /// # Errors
    /// A limit or the sequence range; nothing of this event has happened then.
    pub fn remove(&mut self, kills: &[Dot]) -> Result<Dot, WriteError> {
        let names = |(cell, _): (CellId, _)| cell.object.key.as_str().len() + cell.path.as_bytes().len();
        let bytes = kills.iter().filter_map(|dot| self.store.item(*dot)).map(names).sum();
        self.count_bytes(bytes)?;
        let dot = self.next_dot();
        self.mint(kills)?;
        let cells = self.ended_cells();
        self.store.drop_hollow();
        if mutant::is(Mutant::RemoveMintsNothing) {
            self.next -= 1;
            return Ok(dot);
        }
        if !mutant::is(Mutant::RemovesUnrecorded) {
            self.record(dot, Record::Cells(cells.into()));
        }
        Ok(dot)
    }

    /// Mints a remove that ends everything live here in `range`: one dot, one record, any number of
    /// kills. `None` if nothing is live there.
    ///
    /// The range must hold no counter cells: those are reset, never killed by a prefix (DESIGN section
    /// 4; checked, 3,084 of 6,000 runs break).
    ///
    /// # Errors
    /// A limit or the sequence range; nothing of this event has happened then.
    pub fn remove_range(&mut self, range: PathRange) -> Result<Option<Dot>, WriteError> {
        let items = self.store.cells_in(&range).flat_map(|(_, items)| items);
        let kills: Vec<Dot> = items.map(|item| item.dot).collect();
        if kills.is_empty() {
            return Ok(None);
        }
        self.count_bytes(range.object.key.as_str().len() + range.from.as_bytes().len())?;
        let dot = self.next_dot();
        self.mint(&kills)?;
        self.store.drop_hollow();
        self.record(dot, Record::Range(Box::new(range)));
        Ok(Some(dot))
    }

    /// Takes a sequence number and ends `kills`. Cells without an item are left hollow, for the write that may follow.
    pub(super) fn mint(&mut self, kills: &[Dot]) -> Result<(), WriteError> {
        self.take_dot()?;
        self.ended.clear();
        for dot in kills {
            let (cell, item) = self.store.item(*dot).expect("a type kills only dots it saw live");
            let ItemRef { dot, hlc, expires, payload } = item;
            let payload = payload.as_bytes();
            self.kept.extend_from_slice(payload);
            self.undo.push(Undo::Killed { cell, dot, hlc, expires, payload: payload.len() });
            self.ended.extend(self.store.end(dot).map(|(ix, _)| ix));
            if !mutant::is(Mutant::KillsNotLogged) {
                self.changed.insert(dot);
            }
        }
        Ok(())
    }

    /// The cells that the last event ended something in, ascending.
    pub(super) fn ended_cells(&self) -> Vec<CellId> {
        let mut cells: Vec<CellId> = self.ended.iter().map(|ix| self.store.cell_id(*ix)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }

    /// True if something ended, and all that tells of it is an item that will be dead from `expires` on.
    pub(super) fn kills_for_a_time(&self, expires: WallMillis) -> bool {
        expires.0 != 0 && !self.ended.is_empty() && !mutant::is(Mutant::ExpiringUnrecorded)
    }

    pub(super) fn record(&mut self, dot: Dot, record: Record) {
        self.undo.push(Undo::Recorded(dot));
        let Store { records, limits, .. } = &mut *self.store;
        records.insert(dot, record, limits);
    }

    fn check_lengths(&self, object: &ObjectId, path: &[u8], payload: usize) -> Result<(), WriteError> {
        let Limits { key_bytes_max, path_bytes_max, value_bytes_max, .. } = self.store.limits;
        let (key, len) = (object.key.as_str().len(), path.len());
        if key > key_bytes_max {
            return Err(WriteError::KeyTooLong { len: key, max: key_bytes_max });
        }
        if len > path_bytes_max {
            return Err(WriteError::PathTooLong { len, max: path_bytes_max });
        }
        if object.ty == TypeTag::OR_MAP {
            self.check_place(path)?;
        }
        if payload > value_bytes_max {
            return Err(WriteError::ValueTooLong { len: payload, max: value_bytes_max });
        }
        Ok(())
    }

    /// A nested map takes leaves down to a depth, and no bounded counters: their rows outlive no removal.
    fn check_place(&self, path: &[u8]) -> Result<(), WriteError> {
        let max = self.store.limits.map_depth_max;
        let parts = nested::parse(path).ok_or(WriteError::NoPlace)?;
        if parts.names.len() > max {
            return Err(WriteError::TooDeep { depth: parts.names.len(), max });
        }
        if parts.ty == TypeTag::BOUNDED_COUNTER {
            return Err(WriteError::NotNested { ty: parts.ty });
        }
        Ok(())
    }

    /// The soft limits: they refuse local creation, and local writes that grow a full store.
    fn admit(&self, object: &ObjectId, path: &[u8], payload: usize, kills: &[Dot]) -> Result<(), WriteError> {
        let (store, max) = (&*self.store, self.store.limits.crdts_max);
        let presence = object.ty.is_presence(path);
        let full = store.crdts >= max && !mutant::is(Mutant::SoftLimitUnchecked);
        if presence && full && !store.is_present(object.key.as_str(), object.ty) {
            return Err(WriteError::Full { count: store.crdts, max });
        }
        // What is no presence (a counter's floor) is part of a remove, and removes always pass.
        if !presence {
            return Ok(());
        }
        let more = Store::accounted(object, path.len(), payload);
        let bytes = store.bytes - store.floor_bytes;
        let Limits { store_bytes_max: max, crdt_cells_max, crdt_bytes_max, .. } = store.limits;
        // While the fullest CRDT has room, nobody's own size is looked for.
        let fullest = store.fullest.at_most();
        let crdt_has_room =
            fullest.cells < crdt_cells_max && fullest.bytes.saturating_add(more) <= crdt_bytes_max;
        if bytes.saturating_add(more) <= max && crdt_has_room && !store.no_growth {
            return Ok(());
        }
        let freed: u64 = kills.iter().filter_map(|dot| store.bytes_of(*dot)).sum();
        let more = more.saturating_sub(freed);
        if store.no_growth && more > 0 {
            return Err(WriteError::NoGrowth { more });
        }
        if more > 0 && bytes + more > max {
            return Err(WriteError::StoreBytes { bytes, more, max });
        }
        if crdt_has_room || mutant::is(Mutant::SoftLimitUnchecked) {
            return Ok(());
        }
        self.admit_to_crdt(object, path, more)
    }

    /// The soft limits of one CRDT.
    fn admit_to_crdt(&self, object: &ObjectId, path: &[u8], more: u64) -> Result<(), WriteError> {
        let (store, ObjectId { key, ty }) = (&*self.store, object);
        let Limits { crdt_cells_max, crdt_bytes_max, .. } = store.limits;
        let Size { cells, bytes } = store.object(key.as_str(), *ty).map(Object::size).unwrap_or_default();
        if cells >= crdt_cells_max && store.items(key.as_str(), *ty, path).is_empty() {
            return Err(WriteError::CrdtCells { key: key.clone(), cells, max: crdt_cells_max });
        }
        if more > 0 && bytes + more > crdt_bytes_max {
            return Err(WriteError::CrdtBytes { key: key.clone(), bytes, more, max: crdt_bytes_max });
        }
        Ok(())
    }

    fn count_bytes(&mut self, more: usize) -> Result<(), WriteError> {
        let (len, max) = (self.bytes + more, self.store.limits.group_bytes_max);
        if len > max {
            return Err(WriteError::GroupTooLarge { len, max });
        }
        self.bytes = len;
        Ok(())
    }

    /// Makes the group's events known and logs them as one step. Its first and last dot; `None` if nothing needed
    /// minting.
    pub fn commit(self) -> Option<(Dot, Dot)> {
        let Self { store, replica, first, next, changed, undo, kept, ended, spare, .. } = self;
        store.scratch.give(Scratch { undo, kept, ended, spare });
        if next == first {
            return None;
        }
        store.context.advance(replica, next - 1);
        store.note_column(replica);
        store.log.append(changed, None, &store.limits);
        Some((Dot::new(replica, first), Dot::new(replica, next - 1)))
    }
}
