//! What the PN- and the G-counter share: a reset takes back the increments it saw and no other.
//!
//! Each owner has one live *contribution* `(gen, p, n, fp, fn)`: its increments and decrements since
//! `gen`, and how much of them resets have taken. A reset of a contribution writes a *floor* `(gen, p,
//! n)` beside it and ends it; if the owner counted on concurrently, its later contribution meets the
//! floor and only what came after is read. Killing the contribution alone would bring the reset
//! increments back (model-checked, DESIGN section 4, counters). The value is the sum over owners of
//! `(p - F_p) - (n - F_n)`, F the larger of the embedded floor and the live floors of the same `gen`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Spot, dots_of};
use crate::cell::{CellId, Item, TypeTag};
use crate::codec::{Reader, Writer, read_seq};
use crate::error::{FrameError, WriteError};
use crate::id::{Dot, OwnerId, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::nested;
use crate::store::{Group, ItemRef, Items, Store};

/// Follows the owner in the path of a floor cell, so that it sorts just behind the contribution.
const FLOOR: u8 = b'F';

/// What an owner has counted; see the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The dot of the first contribution of this row. A fresh row after a full reset has another.
    pub gen_dot: Dot,
    /// Sum of the increments.
    pub p: u64,
    /// Sum of the decrements.
    pub n: u64,
    /// Increments that a reset has taken, as far as the owner had seen.
    pub fp: u64,
    /// Decrements that a reset has taken, as far as the owner had seen.
    pub fn_: u64,
}

/// What a reset has taken of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The row.
    pub gen_dot: Dot,
    /// Increments taken.
    pub p: u64,
    /// Decrements taken.
    pub n: u64,
}

impl Contribution {
    /// Its payload, in the space of `bytes`.
    fn encode(&self, bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Writer::in_space_of(bytes);
        write_gen(self.gen_dot, &mut out);
        [self.p, self.n, self.fp, self.fn_].into_iter().for_each(|count| out.varint(count));
        out.finish()
    }

    /// Reads a contribution's payload. A member may write anything, so this may fail.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let gen_dot = read_gen(&mut input)?;
        let (p, n) = (input.varint("p")?, input.varint("n")?);
        let (fp, fn_) = (input.varint("fp")?, input.varint("fn")?);
        input.finish()?;
        Ok(Self { gen_dot, p, n, fp, fn_ })
    }
}

impl Floor {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        write_gen(self.gen_dot, &mut out);
        [self.p, self.n].into_iter().for_each(|count| out.varint(count));
        out.finish()
    }

    /// Reads a floor's payload. A member may write anything, so this may fail.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let gen_dot = read_gen(&mut input)?;
        let (p, n) = (input.varint("p")?, input.varint("n")?);
        input.finish()?;
        Ok(Self { gen_dot, p, n })
    }
}

fn write_gen(dot: Dot, out: &mut Writer) {
    out.fixed(&dot.replica.0);
    out.varint(dot.seq);
}

fn read_gen(input: &mut Reader<'_>) -> Result<Dot, FrameError> {
    Ok(Dot { replica: ReplicaId(input.fixed("gen")?), seq: read_seq("gen", input)? })
}

fn row_path(owner: OwnerId) -> [u8; 16] {
    owner.0
}

fn floor_path(owner: OwnerId) -> [u8; 17] {
    let mut path = [FLOOR; 17];
    path[..16].copy_from_slice(&owner.0);
    path
}

fn contribution(item: ItemRef<'_>) -> Option<(Dot, Contribution)> {
    Some((item.dot, Contribution::decode(item.payload.as_bytes()).ok()?))
}

fn floor(item: ItemRef<'_>) -> Option<(Dot, Floor)> {
    Some((item.dot, Floor::decode(item.payload.as_bytes()).ok()?))
}

/// The live contributions of `item`'s cell that `item`, a contribution of the same row, has counted on from: all that
/// an owner counted in a row is in its latest. Of any other type's cell, none.
pub(crate) fn covered_by(store: &Store, cell: &CellId, item: &Item) -> Vec<Dot> {
    let whole = cell.path.as_bytes();
    let parts = nested::parse(whole).filter(|_| cell.object.ty == TypeTag::OR_MAP);
    let (ty, path) = parts.map_or((cell.object.ty, whole), |parts| (parts.ty, parts.rest));
    let is_row = ty.has_rows() && path.len() == size_of::<OwnerId>();
    let Some((_, last)) = contribution(item.into()).filter(|_| is_row) else { return Vec::new() };
    let rows = store.items_of(cell).iter().filter_map(contribution);
    let earlier = rows.filter(|(_, row)| row.gen_dot == last.gen_dot && row.p <= last.p && row.n <= last.n);
    earlier.map(|(dot, _)| dot).collect()
}

/// What resets have taken of the row `gen_dot`.
fn taken(floors: impl Iterator<Item = (Dot, Floor)>, gen_dot: Dot) -> (u64, u64) {
    let same = floors.filter(|(_, floor)| floor.gen_dot == gen_dot);
    same.fold((0, 0), |(p, n), (_, floor)| (p.max(floor.p), n.max(floor.n)))
}

/// One owner's live cells.
#[derive(Debug, Default)]
struct Row {
    /// Live contributions. Two of them with one `gen` prove that the owner was copied; the larger `p`
    /// and the larger `n` count then.
    contributions: Vec<(Dot, Contribution)>,
    floors: Vec<(Dot, Floor)>,
}

impl Row {
    fn read(store: &Store, cells: &Spot<'_>, owner: OwnerId) -> Self {
        let mut row = Self::default();
        row.add_contributions(cells.items(store, &row_path(owner)));
        row.add_floors(cells.items(store, &floor_path(owner)));
        row
    }

    /// The floors that no live contribution of their row can meet any more.
    fn stale(&self) -> impl Iterator<Item = Dot> {
        let current: BTreeSet<Dot> = self.contributions.iter().map(|(_, row)| row.gen_dot).collect();
        let met = move |floor: &Floor| {
            current.contains(&floor.gen_dot) && !mutant::is(Mutant::CleanupEndsLiveFloors)
        };
        self.floors.iter().filter(move |(_, floor)| !met(floor)).map(|(dot, _)| *dot)
    }

    fn add_contributions(&mut self, items: Items<'_>) {
        self.contributions.extend(items.iter().filter_map(contribution));
    }

    fn add_floors(&mut self, items: Items<'_>) {
        self.floors.extend(items.iter().filter_map(floor));
    }

    /// F of the row `gen_dot`: what resets have taken, by the live floors.
    fn floor_of(&self, gen_dot: Dot) -> (u64, u64) {
        taken(self.floors.iter().copied(), gen_dot)
    }

    fn value(&self) -> i128 {
        let mut rows: BTreeMap<Dot, Contribution> = BTreeMap::new();
        for (_, next) in &self.contributions {
            let row = rows.entry(next.gen_dot).or_insert(*next);
            (row.p, row.n) = (row.p.max(next.p), row.n.max(next.n));
            (row.fp, row.fn_) = (row.fp.max(next.fp), row.fn_.max(next.fn_));
        }
        let part = |count: u64, floor: u64| i128::from(count.saturating_sub(floor));
        rows.values()
            .map(|row| {
                let (p, n) = self.floor_of(row.gen_dot);
                part(row.p, p.max(row.fp)) - part(row.n, n.max(row.fn_))
            })
            .sum()
    }
}

/// Counts `p` up and `n` down; nothing mints nothing.
pub(super) fn add(group: &mut Group<'_>, cells: &Spot<'_>, p: u64, n: u64) -> Result<(), WriteError> {
    if (p, n) == (0, 0) {
        return Ok(());
    }
    let owner = group.owner();
    let seek = cells.seek(group.store(), &row_path(owner));
    let rows = group.store().items_at(seek);
    // Mostly there is one contribution, and nobody has reset the counter.
    let floors = if group.store().may_have_floors(seek) {
        cells.items(group.store(), &floor_path(owner))
    } else {
        Items::NONE
    };
    let floor_dots = dots_of(floors);
    let only = rows.only().map(contribution);
    let contributions = || rows.iter().filter_map(contribution);
    let held = only.unwrap_or_else(|| contributions().max_by_key(|(dot, _)| *dot)).map(|(_, held)| held);
    let mut next = match held {
        Some(held) => {
            let (mut fp, mut fn_) = taken(floors.iter().filter_map(floor), held.gen_dot);
            if mutant::is(Mutant::FloorNotEmbedded) {
                (fp, fn_) = (0, 0);
            }
            Contribution { fp: held.fp.max(fp), fn_: held.fn_.max(fn_), ..held }
        }
        None => {
            let reused = floors.iter().find_map(floor).filter(|_| mutant::is(Mutant::GenerationReused));
            let gen_dot = reused.map_or(group.next_dot(), |(_, floor)| floor.gen_dot);
            Contribution { gen_dot, p: 0, n: 0, fp: 0, fn_: 0 }
        }
    };
    if only.is_none() {
        for (_, twin) in contributions().filter(|(_, twin)| twin.gen_dot == next.gen_dot) {
            (next.p, next.n) = (next.p.max(twin.p), next.n.max(twin.n));
        }
    }
    let added = |from: u64, by: u64| match from.checked_add(by) {
        None if mutant::is(Mutant::CounterWraps) => Some(from.wrapping_add(by)),
        sum => sum,
    };
    let grown = |from: u64, by: u64| added(from, by).ok_or(WriteError::CounterRange { from, by });
    (next.p, next.n) = (grown(next.p, p)?, grown(next.n, n)?);
    let payload = next.encode(group.take_spare());
    let put = cells.put_at(seek, group, &row_path(owner), &payload, &floor_dots);
    group.give_spare(payload);
    put.map(drop)
}

/// Takes back what this replica has seen counted, by all owners; false if there is nothing.
pub(super) fn reset(group: &mut Group<'_>, cells: &Spot<'_>) -> Result<bool, WriteError> {
    if mutant::is(Mutant::ResetKillsLikeCells) {
        return group.remove_range(cells.range(&[])).map(|dot| dot.is_some());
    }
    let owner = |(path, _): (&[u8], _)| <[u8; 16]>::try_from(path).ok().map(OwnerId);
    let owners: BTreeSet<OwnerId> = cells.cells(group.store()).filter_map(owner).collect();
    let mut reset = false;
    for owner in owners {
        let row = Row::read(group.store(), cells, owner);
        for (dot, seen) in &row.contributions {
            reset_one(group, cells, owner, *dot, *seen)?;
            reset = true;
        }
    }
    Ok(reset)
}

/// Ends one contribution; what it counted beyond its floor is remembered as a floor.
fn reset_one(
    group: &mut Group<'_>,
    cells: &Spot<'_>,
    owner: OwnerId,
    dot: Dot,
    seen: Contribution,
) -> Result<(), WriteError> {
    let row = Row::read(group.store(), cells, owner);
    let same: Vec<(Dot, Floor)> =
        row.floors.iter().copied().filter(|(_, floor)| floor.gen_dot == seen.gen_dot).collect();
    let mut kills = vec![dot];
    kills.extend(same.iter().map(|(dot, _)| *dot));
    if (seen.p, seen.n) == (seen.fp, seen.fn_) || mutant::is(Mutant::ResetWritesNoFloor) {
        return group.remove(&kills).map(drop);
    }
    let (p, n) = row.floor_of(seen.gen_dot);
    let floor = Floor { gen_dot: seen.gen_dot, p: p.max(seen.p), n: n.max(seen.n) };
    group.write(cells.cell(&floor_path(owner)), floor.encode().as_slice().into(), &kills).map(drop)
}

/// A counter that holds floors of an owner which nothing can meet any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleFloors {
    key: String,
    ty: TypeTag,
    /// Where the counter's own paths begin.
    prefix: Vec<u8>,
    owner: OwnerId,
    /// How many.
    count: u64,
}

/// The counters that hold floors of `owner` for [`collect_floors`] to end. Costs a walk over all counters and
/// nested maps.
pub fn stale_floors(store: &Store, owner: OwnerId) -> Vec<StaleFloors> {
    let mut found = Vec::new();
    for object in store.objects("").map(|info| info.object) {
        let key = object.key.as_str();
        if object.ty.has_rows() {
            found.push(StaleFloors {
                key: key.to_owned(),
                ty: object.ty,
                prefix: Vec::new(),
                owner,
                count: 0,
            });
        } else if object.ty == TypeTag::OR_MAP {
            found.extend(store.cells(key, object.ty).filter_map(|(path, _)| {
                let parts = nested::parse(path).filter(|parts| parts.ty.has_rows())?;
                let prefix = path.len() - parts.rest.len();
                let prefix = path[..prefix].to_vec();
                (parts.rest == floor_path(owner)).then(|| StaleFloors {
                    key: key.to_owned(),
                    ty: object.ty,
                    prefix,
                    owner,
                    count: 0,
                })
            }));
        }
    }
    found.retain_mut(|at| {
        at.count = Row::read(store, &at.cells(), owner).stale().count() as u64;
        at.count > 0
    });
    found
}

impl StaleFloors {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn cells(&self) -> Spot<'_> {
        Spot::under(&self.key, self.ty, self.prefix.clone())
    }
}

/// Ends those floors of a counter that no live contribution of their owner can meet any more, as far as they are
/// `endable`; returns how many.
///
/// The owner may end all: nobody else knows that no later contribution of that row is on its way. Of an owner that
/// counts no more, anyone may end those that are stable.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn collect_floors(
    group: &mut Group<'_>,
    at: &StaleFloors,
    endable: impl Fn(Dot) -> bool,
) -> Result<u64, WriteError> {
    collect(group, &at.cells(), at.owner, endable)
}

pub(super) fn collect(
    group: &mut Group<'_>,
    cells: &Spot<'_>,
    owner: OwnerId,
    endable: impl Fn(Dot) -> bool,
) -> Result<u64, WriteError> {
    let row = Row::read(group.store(), cells, owner);
    let stale: Vec<Dot> = row.stale().filter(|dot| endable(*dot)).collect();
    if !stale.is_empty() {
        group.remove(&stale)?;
    }
    Ok(stale.len() as u64)
}

/// The counter's value; `None` if no owner has a live contribution.
pub(super) fn value(store: &Store, cells: &Spot<'_>) -> Option<i128> {
    let mut rows: BTreeMap<OwnerId, Row> = BTreeMap::new();
    for (path, items) in cells.cells(store) {
        let Some((owner, rest)) = path.split_first_chunk::<16>() else { continue };
        let row = rows.entry(OwnerId(*owner)).or_default();
        match rest {
            [] => row.add_contributions(items),
            [FLOOR] => row.add_floors(items),
            _ => {}
        }
    }
    let present = rows.values().any(|row| !row.contributions.is_empty());
    present.then(|| rows.values().map(Row::value).sum())
}
