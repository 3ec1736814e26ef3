//! One namespace's state: causal context, live cells, horizon, records, status log, Merkle trie.
//!
//! The state proper is `(C, L, H)`: context, live items, expiry horizon. Beside it stand the records and
//! the log, which say *how* it came about to peers that missed it. There are no tombstones: a dot in the
//! context that is not live is dead, for ever (DESIGN sections 1 and 3).
//!
//! - [`Group`] mints local events (`group.rs`);
//! - [`Store::join`] takes in a fragment (`join.rs`);
//! - [`Store::push_fragment`], [`Store::answer`] build fragments (`offer.rs`);
//! - [`Store::open_answer`], [`Store::next_items`] give an answer too long for a frame (`large.rs`);
//! - [`Store::load_for`] counts what one would carry (`load.rs`);
//! - [`Store::root`], [`Store::state_id`] settle the trie (`root.rs`);
//! - [`Store::range_fingerprint`] is for comparing two nodes part by part (`fingerprint.rs`).

mod compare;
mod fingerprint;
mod group;
mod join;
mod large;
mod lattice;
mod load;
mod log;
mod offer;
mod planted;
mod records;
mod root;
mod scrub;
mod staged;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::causal::{CausalContext, DotSet, Interval};
use crate::cell::{CellId, Item, Key, ObjectId, Path, PathRange, TypeTag};
use crate::id::{Dot, NamespaceId};
use crate::limits::Limits;
use crate::merkle::cut::CutKey;
use crate::merkle::sketch::{Sketch, Symbol};
use crate::merkle::{Address, Fingerprint, Trie};
use crate::mutant::{self, Mutant};
use crate::time::WallMillis;

pub(crate) use compare::Compared;
pub use fingerprint::RangeFingerprint;
pub use group::{Group, Minted};
pub use join::{Joined, Learned};
pub use large::NextItems;
pub use lattice::NotMergeable;
pub use load::Load;
pub(crate) use log::StatusLog;
pub(crate) use records::Records;
#[cfg(feature = "faults")]
pub use scrub::Damage;
pub(crate) use staged::Runs;

pub use crate::limits::ITEM_OVERHEAD_BYTES;
/// Keys the checksums of every store's sketch: peers compare symbols, so all use one key.
pub const SKETCH_KEY: CutKey = *b"sync sketch dots";

/// A cell's place in the slab. Reused after the cell is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct CellIx(u32);

#[derive(Clone, Debug)]
struct CellSlot {
    id: CellId,
    /// Live items, ascending by dot; never empty while the cell exists.
    items: Vec<Item>,
    /// Where the trie holds it; `None` until the trie is settled.
    address: Option<Address>,
    /// True while it waits in the dirty list.
    dirty: bool,
}

/// A cell that is no more, and still in the trie.
#[derive(Clone, Debug)]
struct Gone {
    address: Address,
    ix: CellIx,
    id: CellId,
}

#[derive(Clone, Debug, Default)]
struct Object {
    cells: BTreeMap<Path, CellIx>,
    /// Cells that make the object present; see [`TypeTag::is_presence`].
    present: u64,
    bytes: u64,
}

/// What the tools show of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key and type.
    pub object: ObjectId,
    /// Live cells.
    pub cells: u64,
    /// Live items: more than cells where concurrent writes stand side by side.
    pub items: u64,
    /// Accounted bytes.
    pub bytes: u64,
}

/// The state of one namespace; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Store {
    namespace: NamespaceId,
    limits: Limits,
    context: CausalContext,
    horizon: WallMillis,
    objects: BTreeMap<Key, Vec<(TypeTag, Object)>>,
    slots: Vec<Option<CellSlot>>,
    /// The fingerprint of each cell in `slots` as it was when the trie was last settled.
    prints: Vec<Fingerprint>,
    free: Vec<CellIx>,
    /// Every live dot and its cell.
    live: BTreeMap<Dot, CellIx>,
    /// Maximal runs of consecutive live dots.
    live_intervals: u64,
    sketch: Sketch,
    /// Live items that expire, by when.
    expiring: BTreeSet<(WallMillis, Dot)>,
    records: Records,
    /// Large answers under way.
    answers: large::Answers,
    log: StatusLog,
    trie: Trie<CellIx>,
    /// Cells whose items changed since the trie was settled, at most about two entries a cell.
    dirty: Vec<CellIx>,
    /// Cells gone since then that the trie still holds. At most one entry a cell of the trie.
    gone: Vec<Gone>,
    crdts: u64,
    bytes: u64,
}

impl Store {
    /// An empty store.
    pub fn new(namespace: NamespaceId, limits: Limits) -> Self {
        Self {
            namespace,
            limits,
            context: CausalContext::default(),
            horizon: WallMillis::default(),
            objects: BTreeMap::new(),
            slots: Vec::new(),
            prints: Vec::new(),
            free: Vec::new(),
            live: BTreeMap::new(),
            live_intervals: 0,
            sketch: Sketch::new(SKETCH_KEY),
            expiring: BTreeSet::new(),
            records: Records::default(),
            answers: large::Answers::default(),
            log: StatusLog::default(),
            trie: Trie::default(),
            dirty: Vec::new(),
            gone: Vec::new(),
            crdts: 0,
            bytes: 0,
        }
    }

    /// Which causal domain this is.
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// All events known here.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// The expiry horizon: what expires at or before it is dead.
    pub fn horizon(&self) -> WallMillis {
        self.horizon
    }

    /// CRDTs present. A counter of which only floors are left is not.
    pub fn crdt_count(&self) -> u64 {
        self.crdts
    }

    /// Live items.
    pub fn item_count(&self) -> u64 {
        self.live.len() as u64
    }

    /// Accounted bytes: keys, paths, payloads and [`ITEM_OVERHEAD_BYTES`] for each live item.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records kept.
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Position behind the newest entry of the status log.
    pub fn log_head(&self) -> u64 {
        self.log.head()
    }

    /// Per column, the highest sequence whose record may be lacking here.
    pub fn floors(&self) -> impl Iterator<Item = (crate::id::ReplicaId, u64)> + '_ {
        self.records.floors()
    }

    /// Begins a new, empty log: this state goes into another life.
    pub(crate) fn forget_log(&mut self) {
        self.log = StatusLog::default();
        self.answers = large::Answers::default();
        self.planted_image();
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        if mutant::is(Mutant::DeadColumnsPruned) {
            let alive: BTreeSet<_> = self.live.keys().map(|dot| dot.replica).collect();
            self.context = self.context.columns().filter(|(replica, _)| alive.contains(replica)).collect();
        }
        if mutant::is(Mutant::DamagedCellDropped) {
            let damaged = self.live.keys().next().copied();
            damaged.into_iter().for_each(|dot| drop(self.kill(dot)));
        }
    }

    /// Every record kept, ascending by dot.
    pub fn records(&self) -> impl Iterator<Item = (Dot, &crate::fragment::Record)> {
        self.records.iter()
    }

    pub(crate) fn log(&self) -> &StatusLog {
        &self.log
    }

    /// True if `dot` is live.
    pub fn is_live(&self, dot: Dot) -> bool {
        self.live.contains_key(&dot)
    }

    /// Every live dot, ascending.
    pub fn live_dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.live.keys().copied()
    }

    /// Maximal runs of consecutive live dots of one replica: what a listing of all live dots costs is
    /// some bytes a run, whatever their number. Kept with every change.
    pub fn live_intervals(&self) -> u64 {
        self.live_intervals
    }

    /// The symbols of `range` of the sketch over the live dots, settling what changed since it was last
    /// asked for; cut off at [`SYMBOLS_KEPT`](crate::merkle::sketch::SYMBOLS_KEPT).
    pub fn sketch_symbols(&mut self, range: Range<usize>) -> &[Symbol] {
        self.sketch.symbols(range)
    }

    /// All kept symbols as they are now: a session compares against these while writes go on.
    pub fn sketch_snapshot(&mut self) -> Arc<Vec<Symbol>> {
        self.sketch.snapshot()
    }

    /// The live item of `dot` and its cell; `None` if it is dead or unknown.
    pub fn item(&self, dot: Dot) -> Option<(&CellId, &Item)> {
        let slot = self.slot(*self.live.get(&dot)?);
        let item =
            slot.items.iter().find(|item| item.dot == dot).expect("a live dot has an item in its cell");
        Some((&slot.id, item))
    }

    /// The objects that hold a cell, with keys that start with `prefix`, ascending by key and type.
    pub fn objects<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = ObjectInfo> + 'a {
        self.objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .flat_map(|(key, types)| types.iter().map(move |(ty, object)| (key, *ty, object)))
            .map(|(key, ty, object)| ObjectInfo {
                object: ObjectId { key: key.clone(), ty },
                cells: object.cells.len() as u64,
                items: object.cells.values().map(|ix| self.slot(*ix).items.len() as u64).sum(),
                bytes: object.bytes,
            })
    }

    /// True if the CRDT is present here.
    pub fn is_present(&self, key: &str, ty: TypeTag) -> bool {
        self.object(key, ty).is_some_and(|object| object.present > 0)
    }

    /// The cells of one object in path order, each with its live items by dot.
    pub fn cells<'a>(&'a self, key: &str, ty: TypeTag) -> impl Iterator<Item = (&'a Path, &'a [Item])> + 'a {
        let cells = self.object(key, ty).map(|object| object.cells.iter());
        cells.into_iter().flatten().map(|(path, ix)| (path, self.slot(*ix).items.as_slice()))
    }

    /// Number of cells of one object.
    pub fn cell_count(&self, key: &str, ty: TypeTag) -> u64 {
        self.object(key, ty).map_or(0, |object| object.cells.len() as u64)
    }

    /// The live items of one cell, by dot; empty if there are none.
    pub fn items(&self, key: &str, ty: TypeTag, path: &[u8]) -> &[Item] {
        let ix = self.object(key, ty).and_then(|object| object.cells.get(path));
        ix.map_or(&[], |ix| self.slot(*ix).items.as_slice())
    }

    /// The live items of one cell, by dot; empty if there are none.
    pub fn items_of(&self, cell: &CellId) -> &[Item] {
        self.items(cell.object.key.as_str(), cell.object.ty, cell.path.as_bytes())
    }

    /// The cells of `range` in path order, each with its live items.
    pub(crate) fn cells_in<'a>(
        &'a self,
        range: &PathRange,
    ) -> impl Iterator<Item = (&'a Path, &'a [Item])> + 'a {
        let from = Bound::Included(range.from.clone());
        let until = range.until.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let ordered = range.until.as_ref().is_none_or(|until| range.from < *until);
        let object = self.object(range.object.key.as_str(), range.object.ty).filter(|_| ordered);
        let cells = object.map(|object| object.cells.range((from, until)));
        cells.into_iter().flatten().map(|(path, ix)| (path, self.slot(*ix).items.as_slice()))
    }

    /// The live dots among `dots`, ascending, with their cells. Costs what it finds, not what is named.
    fn live_in<'a>(&'a self, dots: &'a DotSet) -> impl Iterator<Item = (Dot, CellIx)> + 'a {
        dots.intervals().flat_map(|(replica, Interval { first, last })| {
            let range = Dot::new(replica, first)..=Dot::new(replica, last);
            self.live.range(range).map(|(dot, ix)| (*dot, *ix))
        })
    }

    fn object(&self, key: &str, ty: TypeTag) -> Option<&Object> {
        let types = self.objects.get(key)?;
        types.iter().find(|(tag, _)| *tag == ty).map(|(_, object)| object)
    }

    fn find(&self, cell: &CellId) -> Option<CellIx> {
        let object = self.object(cell.object.key.as_str(), cell.object.ty)?;
        object.cells.get(&cell.path).copied()
    }

    fn slot(&self, ix: CellIx) -> &CellSlot {
        self.slots[ix.0 as usize].as_ref().expect("an index into the slab is dropped with its cell")
    }

    fn slot_mut(&mut self, ix: CellIx) -> &mut CellSlot {
        self.slots[ix.0 as usize].as_mut().expect("an index into the slab is dropped with its cell")
    }

    pub(crate) fn item_bytes(cell: &CellId, item: &Item) -> u64 {
        let names = cell.object.key.as_str().len() + cell.path.as_bytes().len();
        (names + item.payload.len()) as u64 + ITEM_OVERHEAD_BYTES
    }

    fn object_mut(&mut self, id: &ObjectId) -> &mut Object {
        let types = self.objects.entry(id.key.clone()).or_default();
        let at = types.iter().position(|(tag, _)| *tag >= id.ty).unwrap_or(types.len());
        if types.get(at).is_none_or(|(tag, _)| *tag != id.ty) {
            types.insert(at, (id.ty, Object::default()));
        }
        &mut types[at].1
    }

    /// Makes `item` live in `cell`. Its dot must not be live.
    fn put(&mut self, cell: &CellId, item: Item) {
        let bytes = Self::item_bytes(cell, &item);
        let ix = match self.object(cell.object.key.as_str(), cell.object.ty) {
            Some(object) => object.cells.get(&cell.path).copied(),
            None => None,
        };
        let ix = ix.unwrap_or_else(|| self.new_cell(cell));
        let was_live = self.live.insert(item.dot, ix);
        debug_assert!(was_live.is_none(), "a dot lives in exactly one cell");
        self.live_intervals = self.live_intervals + 1 - self.live_neighbours(item.dot);
        self.sketch.toggle(item.dot);
        if item.expires.0 != 0 {
            self.expiring.insert((item.expires, item.dot));
        }
        let slot = self.slot_mut(ix);
        let at = slot.items.partition_point(|held| held.dot < item.dot);
        slot.items.insert(at, item);
        self.mark_dirty(ix);
        self.object_mut(&cell.object).bytes += bytes;
        self.bytes += bytes;
    }

    fn new_cell(&mut self, cell: &CellId) -> CellIx {
        let mut slot = CellSlot { id: cell.clone(), items: Vec::new(), address: None, dirty: false };
        // An overwrite ends what it saw before it writes: the cell comes back to the place that it left
        // just now, and the trie need not hear of it.
        let is_back = |gone: &mut Gone| self.free.last() == Some(&gone.ix) && gone.id == *cell;
        if let Some(gone) = self.gone.pop_if(is_back) {
            slot.address = Some(gone.address);
        }
        let ix = match self.free.pop() {
            Some(ix) => {
                self.slots[ix.0 as usize] = Some(slot);
                ix
            }
            None => {
                self.slots.push(Some(slot));
                CellIx(u32::try_from(self.slots.len() - 1).expect("2^32 cells exceed every byte limit"))
            }
        };
        let object = self.object_mut(&cell.object);
        object.cells.insert(cell.path.clone(), ix);
        if cell.object.ty.is_presence(cell.path.as_bytes()) {
            object.present += 1;
            if object.present == 1 {
                self.crdts += 1;
            }
        }
        ix
    }

    /// How many of the dots next to `dot` in its column are live: 0, 1 or 2.
    fn live_neighbours(&self, dot: Dot) -> u64 {
        let is_live = |seq| self.is_live(Dot::new(dot.replica, seq));
        u64::from(is_live(dot.seq - 1)) + u64::from(is_live(dot.seq + 1))
    }

    /// Makes `dot` dead; gives back its cell and item, or `None` if it was not live.
    fn kill(&mut self, dot: Dot) -> Option<(CellId, Item)> {
        let ix = self.live.remove(&dot)?;
        self.live_intervals = self.live_intervals + self.live_neighbours(dot) - 1;
        self.sketch.toggle(dot);
        let slot = self.slot_mut(ix);
        let at = slot.items.iter().position(|item| item.dot == dot);
        let item = slot.items.remove(at.expect("a live dot has an item in its cell"));
        let (cell, empty) = (slot.id.clone(), slot.items.is_empty());
        if item.expires.0 != 0 {
            self.expiring.remove(&(item.expires, dot));
        }
        if !self.answers.is_empty() {
            self.answers.pin(&cell, &item, self.limits.pinned_bytes_max);
        }
        let bytes = Self::item_bytes(&cell, &item);
        self.object_mut(&cell.object).bytes -= bytes;
        self.bytes -= bytes;
        if empty {
            self.drop_cell(ix, &cell);
        } else {
            self.mark_dirty(ix);
        }
        Some((cell, item))
    }

    fn drop_cell(&mut self, ix: CellIx, cell: &CellId) {
        let slot = self.slots[ix.0 as usize].take().expect("an index into the slab is dropped with its cell");
        if let Some(address) = slot.address {
            self.gone.push(Gone { address, ix, id: slot.id });
        }
        self.free.push(ix);
        let object = self.object_mut(&cell.object);
        object.cells.remove(&cell.path);
        let mut present = true;
        if cell.object.ty.is_presence(cell.path.as_bytes()) {
            object.present -= 1;
            present = object.present > 0;
        }
        let empty = object.cells.is_empty();
        if !present {
            self.crdts -= 1;
        }
        if empty {
            let types = self.objects.get_mut(cell.object.key.as_str()).expect("the object was just there");
            types.retain(|(ty, _)| *ty != cell.object.ty);
            if types.is_empty() {
                self.objects.remove(cell.object.key.as_str());
            }
        }
    }

    fn mark_dirty(&mut self, ix: CellIx) {
        let slot = self.slot_mut(ix);
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
        self.dirty.retain(|ix| slots[ix.0 as usize].as_ref().is_some_and(|slot| slot.dirty));
    }
}
