//! Persist steps as rows: what a driver with a disk writes, and how a node comes back from it.
//!
//! ```text
//! Output::Persist { n }      the state has moved on to step n
//! node.take_step()           rows: what changed since the last call, or all of it
//! disk commits them          as one atomic unit
//! Input::Persisted { n }     what shows that state may leave
//! ```
//!
//! Rows say what is to be there and never how it changes, so a step may be written twice, and two steps merge by
//! taking the later row of each key. Before the first call, and when more changed than is noted, a step is *whole*:
//! the disk drops what it has, in the same unit.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Salvage;
use super::space::Space;
use super::{Config, Image, Node, PersistStep, Salvaged};
use crate::codec::{Reader, Writer};
use crate::error::FrameError;
use crate::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use crate::limits::Limits;
use crate::mutant::{self, Mutant};
use crate::rows::{ROWS_VERSION, Row, RowError, Table, hex, open};
use crate::store::{Store, StoreRows};

/// What makes one persist step durable: one atomic unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRows {
    /// The step, for [`super::Input::Persisted`].
    pub step: PersistStep,
    /// All that was on the disk goes first.
    pub whole: bool,
    /// Each key once, in no order that matters.
    pub rows: Vec<Row>,
}

impl StepRows {
    /// Adds a later step: both become durable together.
    pub fn merge(&mut self, later: Self) {
        self.step = later.step;
        if later.whole {
            *self = later;
            return;
        }
        let mut rows: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>> = BTreeMap::new();
        let all = self.rows.drain(..).chain(later.rows);
        rows.extend(all.map(|row| ((row.table, row.key), row.value)));
        self.rows.extend(rows.into_iter().map(|((table, key), value)| Row { table, key, value }));
    }
}

impl Node {
    /// The rows of the state as it is now: what changed since the last call, or since
    /// [`Self::continue_rows`]; all of them if neither was called in this life.
    ///
    /// The caller makes them durable in the order in which it took them, each call's as one atomic unit.
    pub fn take_step(&mut self) -> StepRows {
        let whole = self.spaces.values().any(|space| space.store.is_step_whole() || space.moved.is_none());
        let mut rows = vec![node_row(self.config.node, self.replica, self.owner, self.step)];
        rows.extend(self.lives.iter().filter(|life| whole || **life == self.replica).map(life_row));
        for (namespace, space) in &mut self.spaces {
            space.store.take_rows(whole, &space.name, space.hlc, &mut rows);
            let moved = space.moved.replace(BTreeSet::new()).unwrap_or_default();
            if whole {
                rows.extend(space.inbound.keys().map(|peer| inbound_row(*namespace, *peer, space)));
            } else {
                rows.extend(moved.into_iter().map(|peer| inbound_row(*namespace, peer, space)));
            }
        }
        self.salvage.take_rows(whole, &mut rows);
        let noted = std::mem::replace(&mut self.retired_noted, self.retired.len());
        if whole || noted != self.retired.len() {
            rows.extend(self.retired.iter().map(retired_row));
        }
        StepRows { step: self.step, whole, rows }
    }

    /// To be called on a node just started from an [`Image`] that [`ImageRows`] read: the disk holds exactly that, so
    /// steps say only what changes from here on.
    pub fn continue_rows(&mut self) {
        for space in self.spaces.values_mut() {
            space.store.begin_notes();
            space.moved = Some(BTreeSet::new());
        }
    }

    /// Makes the next step a whole one: what the disk holds is not what was written to it.
    pub fn forget_rows(&mut self) {
        self.spaces.values_mut().for_each(|space| space.moved = None);
    }

    /// Whether local writes may grow the store. False while a disk takes no more: removes pass, joins apply.
    pub fn set_growth(&mut self, allowed: bool) {
        self.spaces.values_mut().for_each(|space| space.store.set_growth(allowed));
    }

    /// The state as it is now is this step's.
    pub fn step(&self) -> PersistStep {
        self.step
    }

    /// The last step that is durable.
    pub fn persisted(&self) -> PersistStep {
        self.persisted
    }
}

impl Image {
    /// All rows of the image, as a whole step of node `node`: a copy of its disk.
    pub fn into_rows(self, node: NodeId) -> StepRows {
        let mut rows = vec![node_row(node, self.replica, self.owner, self.step)];
        rows.extend(self.lives.iter().map(life_row));
        for (namespace, mut space) in self.spaces {
            space.store.take_rows(true, &space.name, space.hlc, &mut rows);
            rows.extend(space.inbound.keys().map(|peer| inbound_row(namespace, *peer, &space)));
        }
        Salvage::of(self.salvaged).take_rows(true, &mut rows);
        rows.extend(self.retired.iter().map(retired_row));
        StepRows { step: self.step, whole: true, rows }
    }

    /// What the store of `namespace` holds; `None` if it is not in the image.
    pub fn store(&self, namespace: NamespaceId) -> Option<&Store> {
        self.spaces.get(&namespace).map(|space| &space.store)
    }
}

fn node_row(node: NodeId, replica: ReplicaId, owner: OwnerId, step: PersistStep) -> Row {
    let mut out = Writer::default();
    out.varint(ROWS_VERSION);
    out.fixed(&node.0);
    out.fixed(&replica.0);
    out.fixed(&owner.0);
    out.varint(step.0);
    Row { table: Table::Node, key: Vec::new(), value: Some(out.finish()) }
}

fn life_row(life: &ReplicaId) -> Row {
    Row { table: Table::Life, key: life.0.to_vec(), value: Some(Vec::new()) }
}

fn retired_row(owner: &OwnerId) -> Row {
    Row { table: Table::Retired, key: owner.0.to_vec(), value: Some(Vec::new()) }
}

fn inbound_row(namespace: NamespaceId, peer: NodeId, space: &Space) -> Row {
    let value = space.inbound.get(&peer).map(|(incarnation, position)| {
        let mut out = Writer::default();
        out.fixed(&incarnation.0);
        out.varint(position + u64::from(mutant::is(Mutant::InboundAheadOfState)));
        out.finish()
    });
    Row { table: Table::Inbound, key: [&namespace.0[..], &peer.0].concat(), value }
}

/// An [`Image`] in the making, from the rows of a disk: table after table in the order of [`Table::ALL`], each
/// ascending by key.
#[derive(Debug)]
pub struct ImageRows {
    limits: Limits,
    lookup_key: [u64; 2],
    of: NodeId,
    node: Option<(NodeId, ReplicaId, OwnerId, PersistStep)>,
    lives: BTreeSet<ReplicaId>,
    stores: Vec<(StoreRows, Space)>,
    salvaged: Vec<Salvaged>,
    retired: BTreeSet<OwnerId>,
}

impl ImageRows {
    /// Nothing yet; it will be an image of the node of `config`, its stores held to the limits there.
    pub fn new(config: &Config) -> Self {
        let (limits, lookup_key) = (config.limits.clone(), config.lookup_key());
        Self {
            limits,
            lookup_key,
            of: config.node,
            node: None,
            lives: BTreeSet::new(),
            stores: Vec::new(),
            salvaged: Vec::new(),
            retired: BTreeSet::new(),
        }
    }

    /// Takes in what was stored under `key` in `table`.
    ///
    /// # Errors
    /// [`RowError`]: the rows so far are of no use, but for salvage.
    pub fn stored(&mut self, table: Table, key: &[u8], stored: &[u8]) -> Result<(), RowError> {
        self.row(table, key, open(table, key, stored)?)
    }

    fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let malformed = |error| RowError::Malformed { table, key: hex(key), error };
        let contradicts = |reason| RowError::Contradicts { table, key: hex(key), reason };
        match table {
            Table::Node => {
                let version = Reader::new(value).varint("layout").map_err(malformed)?;
                if version > ROWS_VERSION {
                    return Err(RowError::Version { found: version, max: ROWS_VERSION });
                }
                self.node = Some(read_node(Reader::new(value)).map_err(malformed)?);
            }
            Table::Life => {
                let mut id = Reader::new(key);
                self.lives.insert(ReplicaId(id.fixed("replica").map_err(malformed)?));
            }
            Table::Space => {
                let (rows, hlc, name) = StoreRows::begin(key, value, &self.limits, self.lookup_key)?;
                let empty = crate::store::Store::new(rows.namespace(), self.limits.clone());
                self.stores.push((rows, Space { name, ..Space::new(empty, hlc) }));
            }
            Table::Salvaged => self.salvaged.push(Salvaged::parse(table, key, value)?),
            Table::Retired => {
                let mut id = Reader::new(key);
                self.retired.insert(OwnerId(id.fixed("owner").map_err(malformed)?));
            }
            Table::Column | Table::Item | Table::Record | Table::Floor | Table::Inbound => {
                let Some((namespace, rest)) = key.split_first_chunk::<8>() else {
                    return Err(malformed(FrameError::Truncated { at: key.len(), field: "namespace" }));
                };
                let of = self.stores.iter_mut().find(|(rows, _)| rows.namespace().0 == *namespace);
                let (rows, space) = of.ok_or_else(|| contradicts("its namespace is not open"))?;
                if table == Table::Inbound {
                    let (peer, cursor) = read_inbound(rest, value).map_err(malformed)?;
                    space.inbound.insert(peer, cursor);
                } else {
                    rows.row(table, rest, value)?;
                }
            }
        }
        Ok(())
    }

    /// The image of all rows.
    ///
    /// # Errors
    /// [`RowError::Missing`]; [`RowError::OtherNode`].
    pub fn finish(self) -> Result<Image, RowError> {
        let Some((of, replica, owner, step)) = self.node else {
            return Err(RowError::Missing { table: Table::Node });
        };
        if of != self.of {
            return Err(RowError::OtherNode { found: of, own: self.of });
        }
        let spaces = self.stores.into_iter().map(|(rows, space)| {
            let (namespace, store) = (rows.namespace(), rows.finish());
            (namespace, Space { store, ..space })
        });
        let spaces: BTreeMap<NamespaceId, Space> = spaces.collect();
        if spaces.is_empty() {
            return Err(RowError::Missing { table: Table::Space });
        }
        let Self { lives, salvaged, retired, .. } = self;
        Ok(Image { step, replica, owner, lives, spaces, salvaged, retired })
    }
}

type NodeRow = (NodeId, ReplicaId, OwnerId, PersistStep);

pub(super) fn read_node(mut input: Reader<'_>) -> Result<NodeRow, FrameError> {
    input.varint("layout")?;
    let node = NodeId(input.fixed("node")?);
    let (replica, owner) = (ReplicaId(input.fixed("replica")?), OwnerId(input.fixed("owner")?));
    let step = PersistStep(input.varint("step")?);
    input.finish()?;
    Ok((node, replica, owner, step))
}

fn read_inbound(key: &[u8], value: &[u8]) -> Result<(NodeId, (ReplicaId, u64)), FrameError> {
    let (mut key, mut input) = (Reader::new(key), Reader::new(value));
    let peer = NodeId(key.fixed("peer")?);
    key.finish()?;
    let cursor = (ReplicaId(input.fixed("incarnation")?), input.varint("position")?);
    input.finish()?;
    Ok((peer, cursor))
}
