//! One namespace's state: causal context, live cells, horizon, records, status log, Merkle trie.
//!
//! The state proper is `(C, L, H)`: context, live items, expiry horizon. Beside it stand the records and
//! the log, which say *how* it came about to peers that missed it. There are no tombstones: a dot in the
//! context that is not live is dead, for ever (DESIGN sections 1 and 3).
//!
//! - [`Group`] mints local events (`group.rs`);
//! - [`Group::expiring`] gives writes a time to die, [`Store::expire`] raises the horizon (`expiry.rs`);
//! - [`Store::join`] takes in a fragment (`join.rs`), whose cells are looked for all together (`resolve.rs`);
//! - [`Store::push_fragment`], [`Store::answer`] build fragments (`offer.rs`);
//! - `bulk.rs` fills an empty store with what such an answer brought;
//! - [`Store::open_answer`], `next_items` give an answer too long for a frame (`large.rs`);
//! - [`Store::load_for`] counts what one would carry (`load.rs`);
//! - [`Store::touched_since`], [`Store::readings`] are for watches (`changes.rs`);
//! - [`Store::items`], [`Store::cells`] read (`read.rs`), from what `slab.rs` keeps: `live.rs` finds a cell by a dot,
//!   `lookup.rs` by its name, `order.rs` in the order of paths;
//! - what a persist step writes of it is in `persist.rs`;
//! - [`Store::root`], [`Store::state_id`] settle the trie (`root.rs`), [`Store::sketch_symbols`] the sketch (`symbols.rs`);
//! - [`Store::range_fingerprint`] is for comparing two nodes part by part (`fingerprint.rs`).

mod bulk;
mod changes;
#[cfg(any(test, feature = "faults"))]
mod check;
mod compare;
mod expiry;
mod fingerprint;
mod fullest;
mod group;
mod items;
mod join;
mod large;
mod lattice;
mod live;
mod load;
mod log;
mod lookup;
mod names;
mod offer;
mod order;
mod overwrite;
mod persist;
mod planted;
mod proof;
mod read;
mod records;
mod resolve;
mod root;
mod scrub;
mod shrink;
mod slab;
mod slot;
mod slots;
mod staged;
mod symbols;
#[cfg(test)]
mod tests;
mod undo;
mod wide;

use std::collections::{BTreeMap, BTreeSet};

use self::fullest::Fullest;
use self::live::Live;
use self::lookup::{Lookup, LookupKey};
use self::slab::{Object, ObjectIx};
use self::slots::Slots;
use crate::causal::CausalContext;
use crate::cell::{Key, ObjectId, Path, TypeTag};
use crate::id::{Dot, NamespaceId};
use crate::limits::Limits;
use crate::merkle::cut::CutKey;
use crate::merkle::{Fingerprint, Trie};
use crate::mutant::{self, Mutant};
use crate::time::WallMillis;

pub(crate) use changes::Captured;
pub use changes::{Conflict, PlaceChange, Side, TouchedSince, Untold};
#[cfg(any(test, feature = "faults"))]
pub use check::Places;
pub(crate) use compare::Compared;
pub use fingerprint::RangeFingerprint;
pub use group::Group;
pub use items::{ItemRef, Items, ItemsIter, PayloadRef};
pub use join::{Joined, Learned};
pub(crate) use large::NextItems;
pub use lattice::NotMergeable;
pub use load::Load;
pub(crate) use log::StatusLog;
pub(crate) use persist::{StoreRows, dot_key, item_value, read_item};
pub(crate) use read::Seek;
pub(crate) use records::Records;
#[cfg(feature = "faults")]
pub use scrub::Damage;
pub(crate) use staged::Runs;

pub use crate::limits::ITEM_OVERHEAD_BYTES;
/// Keys the checksums of every store's sketch: peers compare symbols, so all use one key.
pub const SKETCH_KEY: CutKey = *b"sync sketch dots";

/// A cell's place in the slab. Reused after the cell is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct CellIx(u32);

/// A cell that is no more, and still in the trie.
#[derive(Clone, Debug)]
struct Gone {
    /// The first half of its address.
    object: [u8; 8],
    path: Path,
    ix: CellIx,
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
    keys: BTreeMap<Key, Vec<(TypeTag, ObjectIx)>>,
    objects: Vec<Object>,
    objects_free: Vec<ObjectIx>,
    /// The object written to last, which mostly is the next one too; [`ObjectIx::NONE`] if it went.
    recent: ObjectIx,
    slots: Slots,
    /// The fingerprint of each cell in `slots` as it was when the trie was last settled.
    prints: Vec<Fingerprint>,
    /// Cells that the event under way left without an item.
    hollow: Vec<CellIx>,
    /// Every cell by its name, once they are many.
    lookup: Lookup,
    lookup_key: LookupKey,
    /// Every live dot and its cell.
    live: Live,
    sketch: symbols::LiveSketch,
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
    /// Of these, what cells take that are not presence: no soft limit counts them.
    floor_bytes: u64,
    fullest: Fullest,
    scratch: undo::Scratch,
    /// Keys on which a type appeared beside another since it was last asked for. At most one entry a creation
    /// of the step under way.
    types_met: Vec<Key>,
    /// What was read before the step under way, while somebody watches.
    capture: Option<Box<changes::Capture>>,
    /// What changed since the last persist step, while steps are taken.
    notes: Option<Box<persist::Notes>>,
    /// Local writes that grow the store are refused: the disk takes no more.
    no_growth: bool,
}

impl Store {
    /// An empty store.
    pub fn new(namespace: NamespaceId, limits: Limits) -> Self {
        Self {
            namespace,
            limits,
            context: CausalContext::default(),
            horizon: WallMillis::default(),
            keys: BTreeMap::new(),
            objects: Vec::new(),
            objects_free: Vec::new(),
            recent: ObjectIx::NONE,
            slots: Slots::default(),
            prints: Vec::new(),
            hollow: Vec::new(),
            lookup: Lookup::default(),
            lookup_key: [u64::from_le_bytes(namespace.0), 0x9e37_79b9_7f4a_7c15],
            live: Live::default(),
            sketch: symbols::LiveSketch::default(),
            expiring: BTreeSet::new(),
            records: Records::default(),
            answers: large::Answers::default(),
            log: StatusLog::default(),
            trie: Trie::default(),
            dirty: Vec::new(),
            gone: Vec::new(),
            crdts: 0,
            bytes: 0,
            floor_bytes: 0,
            fullest: Fullest::default(),
            scratch: undo::Scratch::default(),
            types_met: Vec::new(),
            capture: None,
            notes: None,
            no_growth: false,
        }
    }

    /// Keys the table that finds cells by name: whoever does not know `key` cannot choose names that meet in one
    /// place of it. Nothing else depends on it. For a store that is empty still.
    pub(crate) fn keyed(mut self, key: [u64; 2]) -> Self {
        debug_assert!(self.slots.is_empty(), "the table of a store is kept under one key");
        self.lookup_key = key;
        self
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
        self.live.len()
    }

    /// Accounted bytes: keys, paths, payloads and [`ITEM_OVERHEAD_BYTES`] for each live item.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Accounted bytes as [`Limits::store_bytes_max`] counts them: without counter floors.
    pub fn soft_bytes(&self) -> u64 {
        self.bytes - self.floor_bytes
    }

    /// The most cells that one CRDT has, and the most accounted bytes that one has, counter floors left out. Looks only
    /// at what has shrunk since it was last asked for.
    pub fn fullest(&mut self) -> (u64, u64) {
        let size = self.fullest.settle(&self.objects);
        (size.cells, size.bytes)
    }

    /// Accounted bytes of the items kept for large answers under way.
    pub fn pinned_bytes(&self) -> u64 {
        self.answers.pinned_bytes()
    }

    /// Records kept, and their bytes.
    pub fn record_sizes(&self) -> (usize, usize) {
        (self.records.len(), self.records.bytes())
    }

    /// Entries of the status log, and the dot intervals in all of them.
    pub fn log_sizes(&self) -> (usize, usize) {
        (self.log.len(), self.log.intervals())
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
        self.capture = None;
        self.notes = None;
        self.planted_image();
    }

    pub(crate) fn set_growth(&mut self, allowed: bool) {
        self.no_growth = !allowed;
    }

    /// The bounds in force here.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Puts other bounds in force. What is beyond a lower one stays; only what comes is held to it.
    pub(crate) fn rebound(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        if mutant::is(Mutant::DeadColumnsPruned) {
            let alive: BTreeSet<_> = self.live.dots().map(|dot| dot.replica).collect();
            self.context = self.context.columns().filter(|(replica, _)| alive.contains(replica)).collect();
        }
        if mutant::is(Mutant::DamagedCellDropped) {
            let damaged = self.live.dots().next();
            damaged.into_iter().for_each(|dot| drop(self.kill(dot)));
        }
    }

    /// Every record kept, ascending by dot.
    pub fn records(&self) -> impl Iterator<Item = (Dot, &crate::fragment::Record)> {
        self.records.iter()
    }

    /// The keys on which a type has appeared beside another since this was last asked for; some may be alone
    /// again.
    pub(crate) fn take_types_met(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.types_met)
    }

    pub(crate) fn log(&self) -> &StatusLog {
        &self.log
    }

    /// True if `dot` is live.
    pub fn is_live(&self, dot: Dot) -> bool {
        self.live.get(dot).is_some()
    }

    /// Every live dot, ascending.
    pub fn live_dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.live.dots()
    }

    /// Maximal runs of consecutive live dots of one replica: what a listing of all live dots costs is
    /// some bytes a run, whatever their number. Kept with every change.
    pub fn live_intervals(&self) -> u64 {
        self.live.intervals()
    }
}
