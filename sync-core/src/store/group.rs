//! Groups: local events, minted together, committed as one step or not at all.
//!
//! Each event takes the next dot, may write one cell, and kills dots that are live here (DESIGN section
//! 3). Events take effect as they are minted, so a later one of the group sees the earlier ones; an
//! error rolls all of them back. Admission is checked before an event is minted, never at a join.

use super::fullest::Size;
use super::slab::Object;
use super::{CellIx, Seek, Store};
use crate::causal::DotSet;
use crate::cell::{CellId, Hlc, Item, ObjectId, Path, PathRange, Payload, TypeTag};
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
    store: &'a mut Store,
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
    undo: Vec<Undo>,
    /// Where the last event ended something.
    ended: Vec<CellIx>,
    changed: DotSet,
}

/// What takes one step of an event back.
#[derive(Debug)]
enum Undo {
    Wrote(Dot),
    /// Its cell, and what was there.
    Killed(CellId, Item),
    Recorded(Dot),
}

/// The cell that a write goes to.
#[derive(Debug)]
enum Target {
    /// It is there.
    Held(CellIx),
    /// It is not; the hash of its name, if there is a table.
    New(CellId, Option<u32>),
}

/// The lists of a group, kept for the next one where they are short.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    undo: Vec<Undo>,
    ended: Vec<CellIx>,
}

/// Longest list that is kept.
const SCRATCH_MAX: usize = 64;

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Scratch {
    fn take(&mut self) -> (Vec<Undo>, Vec<CellIx>) {
        (std::mem::take(&mut self.undo), std::mem::take(&mut self.ended))
    }

    fn give(&mut self, mut undo: Vec<Undo>, mut ended: Vec<CellIx>) {
        undo.clear();
        ended.clear();
        if undo.capacity().max(ended.capacity()) <= SCRATCH_MAX {
            *self = Self { undo, ended };
        }
    }
}

impl Store {
    /// Opens a group that mints from `next` on for `replica`, at clock `hlc`.
    ///
    /// `next` must be one above what the context holds of `replica`: dots are never minted twice.
    pub fn group(&mut self, replica: ReplicaId, owner: OwnerId, next: u64, hlc: Hlc) -> Group<'_> {
        debug_assert_eq!(next, self.context.get(replica) + 1, "own events are known as they are minted");
        let (undo, ended) = self.scratch.take();
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
            ended,
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
        self.write_to(target, payload, kills)
    }

    /// As [`Self::write`] to the cell at `path`, and ends what is seen there and `kills`, which are in other cells.
    ///
    /// `seek` is what looking for that cell gave, so it is looked for once; nothing is allocated for its name if it is
    /// there.
    pub(crate) fn put(
        &mut self,
        seek: Seek,
        (key, ty, path): (&str, TypeTag, &[u8]),
        payload: Payload,
        kills: &[Dot],
    ) -> Result<Dot, WriteError> {
        let Some(ix) = seek.ix else {
            let held = self.store.object(key, ty).map(|held| held.id.clone());
            let object = held.unwrap_or_else(|| ObjectId::new(key, ty));
            let cell = CellId { object, path: Path::from(path) };
            return self.write_to(Target::New(cell, seek.hash), payload, kills);
        };
        match (self.store.slot(ix).items.as_slice(), kills) {
            ([item], []) => {
                let seen = item.dot;
                self.write_to(Target::Held(ix), payload, &[seen])
            }
            (items, kills) => {
                let seen = items.iter().map(|item| item.dot).chain(kills.iter().copied());
                let seen: Vec<Dot> = seen.collect();
                self.write_to(Target::Held(ix), payload, &seen)
            }
        }
    }

    fn write_to(&mut self, target: Target, payload: Payload, kills: &[Dot]) -> Result<Dot, WriteError> {
        let (object, path) = match &target {
            Target::Held(ix) => {
                let slot = self.store.slot(*ix);
                (self.store.object_id(slot), &slot.path)
            }
            Target::New(cell, _) => (&cell.object, &cell.path),
        };
        self.check_lengths(object, path, &payload)?;
        let expires = self.expires_in_cell(object, path)?;
        self.admit(object, path, &payload, kills)?;
        let bytes = object.key.as_str().len() + path.as_bytes().len() + payload.len();
        self.count_bytes(bytes)?;
        if mutant::is(Mutant::OneDotTwoCells) && self.next > self.first {
            self.next -= 1;
        }
        let dot = self.next_dot();
        let item = Item { dot, hlc: self.hlc, expires, payload };
        self.mint(kills)?;
        let is_other = |ended: &CellIx| !matches!(target, Target::Held(ix) if ix == *ended);
        let cross_cell = self.ended.iter().any(is_other) && !mutant::is(Mutant::CrossCellUnrecorded);
        if cross_cell || self.kills_for_a_time(expires) {
            let cells = self.ended_cells();
            self.record(dot, Record::Cells(cells));
        }
        let ix = match target {
            Target::Held(ix) => ix,
            Target::New(cell, hash) => self.store.new_cell(&cell, hash),
        };
        self.wrote(ix, item);
        Ok(dot)
    }

    /// The event just minted writes `item` to the cell at `ix`.
    fn wrote(&mut self, ix: CellIx, item: Item) {
        self.undo.push(Undo::Wrote(item.dot));
        self.store.put_at(ix, item);
        self.store.drop_hollow();
    }

    /// The event just minted writes `item` to `cell`.
    pub(super) fn rewrote(&mut self, cell: &CellId, item: Item) {
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
            self.record(dot, Record::Cells(cells));
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
        self.record(dot, Record::Range(range));
        Ok(Some(dot))
    }

    /// Takes a sequence number and ends `kills`. Cells without an item are left hollow, for the write that may follow.
    pub(super) fn mint(&mut self, kills: &[Dot]) -> Result<(), WriteError> {
        if self.next > Dot::SEQ_MAX {
            return Err(WriteError::SequencesUsed { replica: self.replica });
        }
        self.changed.insert(self.next_dot());
        self.next += 1;
        self.ended.clear();
        for dot in kills {
            let (ix, item) = self.store.end(*dot).expect("a type kills only dots it saw live");
            if !mutant::is(Mutant::KillsNotLogged) {
                self.changed.insert(*dot);
            }
            let cell = self.store.cell_id(ix);
            self.undo.push(Undo::Killed(cell, item));
            self.ended.push(ix);
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

    fn check_lengths(&self, object: &ObjectId, path: &Path, payload: &Payload) -> Result<(), WriteError> {
        let Limits { key_bytes_max, path_bytes_max, value_bytes_max, .. } = self.store.limits;
        let (key, len) = (object.key.as_str().len(), path.as_bytes().len());
        if key > key_bytes_max {
            return Err(WriteError::KeyTooLong { len: key, max: key_bytes_max });
        }
        if len > path_bytes_max {
            return Err(WriteError::PathTooLong { len, max: path_bytes_max });
        }
        if object.ty == TypeTag::OR_MAP {
            self.check_place(path.as_bytes())?;
        }
        if payload.len() > value_bytes_max {
            return Err(WriteError::ValueTooLong { len: payload.len(), max: value_bytes_max });
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
    fn admit(
        &self,
        object: &ObjectId,
        path: &Path,
        payload: &Payload,
        kills: &[Dot],
    ) -> Result<(), WriteError> {
        let (store, max) = (&*self.store, self.store.limits.crdts_max);
        let presence = object.ty.is_presence(path.as_bytes());
        let full = store.crdts >= max && !mutant::is(Mutant::SoftLimitUnchecked);
        if presence && full && !store.is_present(object.key.as_str(), object.ty) {
            return Err(WriteError::Full { count: store.crdts, max });
        }
        // What is no presence (a counter's floor) is part of a remove, and removes always pass.
        if !presence {
            return Ok(());
        }
        let (more, bytes) = (Store::accounted(object, path, payload), store.bytes - store.floor_bytes);
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
    fn admit_to_crdt(&self, object: &ObjectId, path: &Path, more: u64) -> Result<(), WriteError> {
        let (store, ObjectId { key, ty }) = (&*self.store, object);
        let Limits { crdt_cells_max, crdt_bytes_max, .. } = store.limits;
        let Size { cells, bytes } = store.object(key.as_str(), *ty).map(Object::size).unwrap_or_default();
        if cells >= crdt_cells_max && store.items(key.as_str(), *ty, path.as_bytes()).is_empty() {
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
        let Self { store, replica, first, next, changed, undo, ended, .. } = self;
        store.scratch.give(undo, ended);
        if next == first {
            return None;
        }
        store.context.advance(replica, next - 1);
        store.note_column(replica);
        store.log.append(changed, None, &store.limits);
        Some((Dot::new(replica, first), Dot::new(replica, next - 1)))
    }

    /// Takes every event of the group back.
    ///
    /// A record that was dropped to make room for the group's own stays dropped: its floor says so, and
    /// a floor may only rise.
    pub fn roll_back(self) {
        let Self { store, undo, .. } = self;
        for step in undo.into_iter().rev() {
            match step {
                Undo::Wrote(_) if mutant::is(Mutant::RollBackLeavesWrites) => {}
                Undo::Killed(..) if mutant::is(Mutant::RollBackLeavesKills) => {}
                Undo::Wrote(dot) => {
                    store.kill(dot).expect("what the group wrote and did not kill is live");
                }
                Undo::Killed(cell, item) => {
                    store.put(&cell, item);
                }
                Undo::Recorded(dot) => store.records.take_back(dot),
            }
        }
        store.forget_changes();
    }
}
