//! A simulated disk: the rows that are durable, a step that is on its way, and old copies.
//!
//! The driver writes one step at a time: while one is on its way the node notes what changes, and the next step brings
//! all of it. A step is one atomic unit, as the real file makes it one (`simulations images` judges that): a crash
//! loses what is on its way, or, when it is *torn*, only the confirmation. A disk with errors fails some steps, which
//! are written again after a pause; of a step that failed all is there or nothing, and nobody knows which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_core::id::{NodeId, OwnerId, ReplicaId};
use sync_core::node::{Config, Image, ImageRows, Node, PersistStep, Salvaged, StepRows};
use sync_core::rows::{RowError, Table};

/// Stored bytes by table and key.
type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// What a disk holds at one moment. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    rows: Arc<Rows>,
    node: NodeId,
    replica: ReplicaId,
    owner: OwnerId,
}

impl Held {
    /// The owner at that moment.
    pub(crate) fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The life at that moment.
    pub(crate) fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// What a node of `config` finds on it; the node may be another than the one that wrote it, with a copied key.
    ///
    /// # Errors
    /// [`RowError`]: a row has rotted.
    pub(crate) fn image(&self, config: &Config) -> Result<Image, RowError> {
        let mut rows = ImageRows::new(&Config { node: self.node, ..config.clone() });
        for ((table, key), stored) in &*self.rows {
            rows.stored(*table, key, stored)?;
        }
        rows.finish()
    }

    /// What can be read of its node's own items.
    pub(crate) fn salvage(&self) -> Vec<Salvaged> {
        let rows =
            || self.rows.iter().map(|((table, key), stored)| (*table, key.as_slice(), stored.as_slice()));
        let lives: BTreeSet<ReplicaId> =
            rows().filter_map(|(table, key, stored)| Salvaged::life_in(table, key, stored)).collect();
        let items =
            rows().filter_map(|(table, key, stored)| Salvaged::read(table, key, stored).ok().flatten());
        items.filter(|item| item.is_of(&lives)).collect()
    }
}

/// Whose step it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose {
    pub(crate) node: NodeId,
    pub(crate) replica: ReplicaId,
    pub(crate) owner: OwnerId,
}

impl Whose {
    pub(crate) fn of(node: &Node) -> Self {
        Self { node: node.id(), replica: node.replica(), owner: node.owner() }
    }
}

/// The disk of one machine.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    durable: Option<Held>,
    writing: Option<(StepRows, Whose)>,
    /// The last step asked for since the write under way began.
    waiting: Option<PersistStep>,
    /// Copies made, by when.
    backups: BTreeMap<u64, Option<Held>>,
    /// Told apart from writes of lives before.
    writes: u64,
}

impl Disk {
    /// Begins to write `step`; gives back the number of the write.
    pub(crate) fn write(&mut self, step: StepRows, whose: Whose) -> u64 {
        self.writing = Some((step, whose));
        self.writes += 1;
        self.writes
    }

    /// True if a step is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Remembers that the driver was asked for step `n` while busy.
    pub(crate) fn wait(&mut self, n: PersistStep) {
        self.waiting = Some(n);
    }

    /// The write number `write` is durable; gives back its step. `None` if a crash came before.
    pub(crate) fn written(&mut self, write: u64) -> Option<PersistStep> {
        if write != self.writes {
            return None;
        }
        let (step, whose) = self.writing.take()?;
        Some(self.keep(step, whose))
    }

    /// The write number `write` has failed, and all of it is there or nothing, as `there` says; it is written again as
    /// the number given back. `None` if a crash came before.
    pub(crate) fn failed(&mut self, write: u64, there: bool) -> Option<u64> {
        if write != self.writes {
            return None;
        }
        let (step, whose) = self.writing.clone()?;
        if there {
            self.keep(step, whose);
        }
        self.writes += 1;
        Some(self.writes)
    }

    fn keep(&mut self, step: StepRows, whose: Whose) -> PersistStep {
        let before = self.durable.take().filter(|_| !step.whole);
        let mut rows = before.map(|held| held.rows).unwrap_or_default();
        let held = Arc::make_mut(&mut rows);
        for row in &step.rows {
            let key = (row.table, row.key.clone());
            match row.sealed() {
                Some(stored) => held.insert(key, stored),
                None => held.remove(&key),
            };
        }
        let Whose { node, replica, owner } = whose;
        self.durable = Some(Held { rows, node, replica, owner });
        step.step
    }

    /// Takes the step that waits for the next write.
    pub(crate) fn take_waiting(&mut self) -> Option<PersistStep> {
        self.waiting.take()
    }

    /// The process dies. Of a write under way the data is kept if it was `torn`. True if something that
    /// was on its way is lost.
    pub(crate) fn crash(&mut self, torn: bool) -> bool {
        let writing = self.writing.take();
        let lost = (writing.is_some() && !torn) || self.waiting.take().is_some();
        if let Some((step, whose)) = writing.filter(|_| torn) {
            self.keep(step, whose);
        }
        self.writes += 1;
        lost
    }

    /// A clean stop: what is on its way and then `step` are durable at once.
    pub(crate) fn stop(&mut self, step: StepRows, whose: Whose) {
        if let Some((step, whose)) = self.writing.take() {
            self.keep(step, whose);
        }
        self.keep(step, whose);
        self.waiting = None;
        self.writes += 1;
    }

    /// A bit of what is durable flips, in the row that `pick` chooses.
    pub(crate) fn rot(&mut self, pick: u64) {
        let Some(held) = &mut self.durable else { return };
        let rows = Arc::make_mut(&mut held.rows);
        let count = rows.len().max(1) as u64;
        let at = usize::try_from(pick % count).expect("it counts rows in memory");
        if let Some(byte) = rows.values_mut().nth(at).and_then(|stored| stored.first_mut()) {
            *byte ^= 1;
        }
    }

    /// Another disk takes its place.
    pub(crate) fn set(&mut self, held: Option<Held>) {
        self.durable = held;
        (self.writing, self.waiting) = (None, None);
        self.writes += 1;
    }

    /// What is durable.
    pub(crate) fn durable(&self) -> Option<&Held> {
        self.durable.as_ref()
    }

    /// Keeps a copy of what is durable now.
    pub(crate) fn back_up(&mut self, at: u64) {
        self.backups.insert(at, self.durable.clone());
    }

    /// The copy made at `at`; `None` if none was made then.
    pub(crate) fn backup(&self, at: u64) -> Option<Option<Held>> {
        self.backups.get(&at).cloned()
    }
}
