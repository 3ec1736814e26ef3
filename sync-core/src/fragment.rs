//! The part of a state that one frame carries.
//!
//! A fragment names a set of dots `D` and carries the payload of every one of them that is live at the
//! sender: `(D, L n D)` of one snapshot. Joining it never does what a full merge would not (DESIGN
//! section 3, T1). Three strengths, by what it says beyond `D`: a push says nothing, a session's answer
//! claims the live dots of each cell it touches (T6), a fallback claims all live dots (T7).

use std::collections::BTreeSet;

use crate::causal::{CausalContext, DotSet, Interval};
use crate::cell::{CellId, Hlc, Item, Key, ObjectId, Path, PathRange, Payload, TypeTag};
use crate::codec::{Reader, ReplicaTable, Writer, read_seq};
use crate::error::FrameError;
use crate::id::{Dot, ReplicaId};
use crate::limits::Limits;
use crate::time::WallMillis;

/// Which cells an event touched by killing: full cell ids or one path range, never a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// These cells, ascending.
    Cells(Vec<CellId>),
    /// Every cell of a range.
    Range(PathRange),
}

impl Record {
    /// Accounted bytes: names, and 64 for what holds them.
    pub fn bytes(&self) -> usize {
        let cell = |cell: &CellId| cell.object.key.as_str().len() + cell.path.as_bytes().len() + 16;
        64 + match self {
            Self::Cells(cells) => cells.iter().map(cell).sum::<usize>(),
            Self::Range(range) => {
                let until = range.until.as_ref().map_or(0, |path| path.as_bytes().len());
                range.object.key.as_str().len() + range.from.as_bytes().len() + until
            }
        }
    }
}

/// What a fragment says of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellPart {
    /// The cell.
    pub cell: CellId,
    /// Its live items inside the fragment's dots, ascending by dot.
    pub items: Vec<Item>,
    /// Its other live dots at the sender, ascending: with the items, all of them. Meant only where the
    /// fragment claims cells.
    pub others: Vec<Dot>,
}

/// What a fragment says beyond its dots: which further dots are dead at the sender.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Claims {
    /// Nothing: a push.
    #[default]
    None,
    /// Every cell part lists all live dots of its cell, and each range all live dots of its cells. What
    /// is not listed and known to [`Self::Cells::context`] is dead.
    Cells {
        /// All that the sender knows.
        context: CausalContext,
        /// The ranges that records in this fragment name, with the live dots in each.
        ranges: Vec<(PathRange, DotSet)>,
    },
    /// All live dots of the sender's store. What is not listed and known to the context is dead. Used
    /// when records were lost; carries no records.
    Whole {
        /// All that the sender knows.
        context: CausalContext,
        /// All that is live at the sender.
        live: DotSet,
    },
}

/// A fragment: what one frame says of a store. See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Fragment {
    /// The events named.
    pub dots: DotSet,
    /// Cells with live items among the dots, and in a session's answer every cell claimed; ascending.
    pub cells: Vec<CellPart>,
    /// What is said beyond the dots.
    pub claims: Claims,
    /// The records of the events named, ascending by dot.
    pub records: Vec<(Dot, Record)>,
    /// Per column of the dots, the highest sequence whose record the sender may lack, ascending.
    pub floors: Vec<(ReplicaId, u64)>,
    /// The sender's expiry horizon.
    pub horizon: WallMillis,
}

impl Fragment {
    /// Number of items carried.
    pub fn item_count(&self) -> usize {
        self.cells.iter().map(|part| part.items.len()).sum()
    }

    /// What the sender knows, where the fragment says so.
    pub fn context(&self) -> Option<&CausalContext> {
        match &self.claims {
            Claims::None => None,
            Claims::Cells { context, .. } | Claims::Whole { context, .. } => Some(context),
        }
    }

    /// True if the fragment names nothing.
    pub fn is_empty(&self) -> bool {
        self.dots.is_empty()
    }

    fn replicas(&self) -> BTreeSet<ReplicaId> {
        let mut ids: BTreeSet<ReplicaId> = self.dots.columns().map(|(replica, _)| replica).collect();
        ids.extend(self.cells.iter().flat_map(|part| part.others.iter().map(|dot| dot.replica)));
        ids.extend(self.context().into_iter().flat_map(|context| context.columns().map(|(id, _)| id)));
        match &self.claims {
            Claims::None => {}
            Claims::Cells { ranges, .. } => {
                ids.extend(ranges.iter().flat_map(|(_, live)| live.columns().map(|(id, _)| id)));
            }
            Claims::Whole { live, .. } => ids.extend(live.columns().map(|(id, _)| id)),
        }
        ids.extend(self.floors.iter().map(|(replica, _)| *replica));
        ids
    }

    /// Appends the fragment; [`Self::read`] reads it. `docs/protocol.md` has the fields.
    pub fn write(&self, out: &mut Writer) {
        let table = ReplicaTable::new(self.replicas());
        table.write(out);
        out.varint(self.horizon.0);
        write_dots(&self.dots, &table, out);
        let newest = self.cells.iter().flat_map(|part| &part.items).map(|item| item.hlc.0).max();
        let newest = newest.unwrap_or(0);
        out.varint(newest);
        write_cells(&self.cells, &table, newest, out);
        match &self.claims {
            Claims::None => out.byte(0),
            Claims::Cells { context, ranges } => {
                out.byte(1);
                write_context(context, &table, out);
                out.count(ranges.len());
                for (range, live) in ranges {
                    write_range(range, out);
                    write_dots(live, &table, out);
                }
            }
            Claims::Whole { context, live } => {
                out.byte(2);
                write_context(context, &table, out);
                write_dots(live, &table, out);
            }
        }
        out.count(self.records.len());
        for (dot, record) in &self.records {
            table.write_dot(*dot, out);
            write_record(record, out);
        }
        out.count(self.floors.len());
        for (replica, seq) in &self.floors {
            table.write_replica(*replica, out);
            out.varint(*seq);
        }
    }

    /// Reads what [`Self::write`] wrote. Checks every rule that needs no store: canonical order, no dot
    /// named twice, no item, claim or record outside the dots.
    pub fn read(input: &mut Reader<'_>, limits: &Limits) -> Result<Self, FrameError> {
        let table = ReplicaTable::read(input)?;
        let horizon = WallMillis(input.varint("horizon")?);
        let dots = read_dots("dots", &table, input)?;
        let newest = input.varint("newest clock")?;
        let cells = read_cells(&table, newest, input, limits)?;
        let claims = match input.byte("claims")? {
            0 => Claims::None,
            1 => {
                let context = read_context(&table, input)?;
                let count = input.count("claimed ranges", 4)?;
                let mut ranges = Vec::with_capacity(count);
                for _ in 0..count {
                    ranges.push((read_range(input, limits)?, read_dots("live in range", &table, input)?));
                }
                Claims::Cells { context, ranges }
            }
            2 => {
                let context = read_context(&table, input)?;
                Claims::Whole { context, live: read_dots("live dots", &table, input)? }
            }
            value => return Err(FrameError::Field { field: "claims", value: u64::from(value) }),
        };
        let count = input.count("records", 5)?;
        let mut records: Vec<(Dot, Record)> = Vec::with_capacity(count);
        for _ in 0..count {
            let dot = table.read_dot("records", input)?;
            if records.last().is_some_and(|(last, _)| *last >= dot) {
                return Err(FrameError::Order { field: "records" });
            }
            records.push((dot, read_record(input, limits)?));
        }
        let count = input.count("floors", 2)?;
        let mut floors: Vec<(ReplicaId, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let replica = table.read_replica("floors", input)?;
            if floors.last().is_some_and(|(last, _)| *last >= replica) {
                return Err(FrameError::Order { field: "floors" });
            }
            floors.push((replica, read_seq("floors", input)?));
        }
        let fragment = Self { dots, cells, claims, records, floors, horizon };
        fragment.check()?;
        Ok(fragment)
    }

    /// The rules of a fragment that need no store; see [`Self::read`].
    pub fn check(&self) -> Result<(), FrameError> {
        let mut items = BTreeSet::new();
        for part in &self.cells {
            for item in &part.items {
                if !self.dots.contains(item.dot) {
                    return Err(FrameError::OutsideDots { dot: item.dot, field: "items" });
                }
                if !items.insert(item.dot) {
                    return Err(FrameError::DotTwice { dot: item.dot });
                }
            }
            // A dot of D without an item is dead; listing it among the other live dots says it is not.
            if let Some(dot) = part.others.iter().find(|dot| self.dots.contains(**dot)) {
                return Err(FrameError::DotTwice { dot: *dot });
            }
        }
        if let Some((dot, _)) = self.records.iter().find(|(dot, _)| !self.dots.contains(*dot)) {
            return Err(FrameError::OutsideDots { dot: *dot, field: "records" });
        }
        let Some(context) = self.context() else { return Ok(()) };
        let unknown = |dots: &DotSet| dots.tops().find(|(replica, seq)| *seq > context.get(*replica));
        let outside = |(replica, seq), field| FrameError::OutsideDots { dot: Dot { replica, seq }, field };
        if let Some(top) = unknown(&self.dots) {
            return Err(outside(top, "dots beyond the context"));
        }
        let others = self.cells.iter().flat_map(|part| &part.others);
        if let Some(dot) = others.into_iter().find(|dot| !context.contains(**dot)) {
            return Err(FrameError::OutsideDots { dot: *dot, field: "claims" });
        }
        match &self.claims {
            Claims::None => Ok(()),
            Claims::Cells { ranges, .. } => match ranges.iter().find_map(|(_, live)| unknown(live)) {
                Some(top) => Err(outside(top, "claimed ranges")),
                None => Ok(()),
            },
            Claims::Whole { live, .. } => match unknown(live) {
                Some(top) => Err(outside(top, "live dots")),
                None => check_whole(&items, live, &self.dots),
            },
        }
    }
}

/// In a fallback the items are exactly the live dots among the dots named (T1).
fn check_whole(items: &BTreeSet<Dot>, live: &DotSet, dots: &DotSet) -> Result<(), FrameError> {
    if let Some(dot) = items.iter().find(|dot| !live.contains(**dot)) {
        return Err(FrameError::OutsideDots { dot: *dot, field: "live dots" });
    }
    let (count, max) = (live.overlap(dots), items.len() as u64);
    if count == max { Ok(()) } else { Err(FrameError::Count { field: "live dots", count, max }) }
}

fn write_dots(dots: &DotSet, table: &ReplicaTable, out: &mut Writer) {
    out.count(dots.columns().count());
    for (replica, intervals) in dots.columns() {
        table.write_replica(replica, out);
        out.count(intervals.len());
        let mut end = 0;
        for Interval { first, last } in intervals {
            out.varint(first - end);
            out.varint(last - first);
            end = *last;
        }
    }
}

fn read_dots(
    field: &'static str,
    table: &ReplicaTable,
    input: &mut Reader<'_>,
) -> Result<DotSet, FrameError> {
    let columns = input.count(field, 4)?;
    let (mut dots, mut last_replica) = (DotSet::default(), None);
    for _ in 0..columns {
        let replica = table.read_replica(field, input)?;
        let intervals = input.count(field, 2)?;
        if last_replica.replace(replica).is_some_and(|last| last >= replica) || intervals == 0 {
            return Err(FrameError::Order { field });
        }
        let mut end = 0u64;
        for at in 0..intervals {
            // A gap of one between two intervals would make them adjacent: that set has one interval.
            let gap = read_seq(field, input)?;
            if at > 0 && gap == 1 {
                return Err(FrameError::Order { field });
            }
            let first = end + gap;
            let last = first + input.varint_max(field, Dot::SEQ_MAX)?;
            if last > Dot::SEQ_MAX {
                return Err(FrameError::Field { field, value: last });
            }
            dots.insert_range(replica, first, last);
            end = last;
        }
    }
    Ok(dots)
}

/// Writes a context against `table`, which must hold all its replicas.
pub(crate) fn write_context(context: &CausalContext, table: &ReplicaTable, out: &mut Writer) {
    out.count(context.len());
    for (replica, seq) in context.columns() {
        table.write_replica(replica, out);
        out.varint(seq);
    }
}

/// Reads a context against `table`.
pub(crate) fn read_context(
    table: &ReplicaTable,
    input: &mut Reader<'_>,
) -> Result<CausalContext, FrameError> {
    let count = input.count("context", 2)?;
    let (mut context, mut last_replica) = (CausalContext::default(), None);
    for _ in 0..count {
        let replica = table.read_replica("context", input)?;
        if last_replica.replace(replica).is_some_and(|last| last >= replica) {
            return Err(FrameError::Order { field: "context" });
        }
        context.advance(replica, read_seq("context", input)?);
    }
    Ok(context)
}

fn write_object(object: &ObjectId, out: &mut Writer) {
    out.bytes(object.key.as_str().as_bytes());
    out.byte(object.ty.0);
}

fn read_object(input: &mut Reader<'_>, limits: &Limits) -> Result<ObjectId, FrameError> {
    let key = input.bytes("key", limits.key_bytes_max)?;
    let key = std::str::from_utf8(key).map_err(|_| FrameError::KeyEncoding)?;
    Ok(ObjectId { key: Key::from(key), ty: TypeTag(input.byte("type")?) })
}

fn read_path(input: &mut Reader<'_>, limits: &Limits) -> Result<Path, FrameError> {
    Ok(Path::from(input.bytes("path", limits.path_bytes_max)?))
}

/// Cells grouped by object, so that a key travels once.
fn write_cells(cells: &[CellPart], table: &ReplicaTable, newest: u64, out: &mut Writer) {
    let objects: Vec<&[CellPart]> = cells.chunk_by(|a, b| a.cell.object == b.cell.object).collect();
    out.count(objects.len());
    for parts in objects {
        write_object(&parts[0].cell.object, out);
        out.count(parts.len());
        for part in parts {
            out.bytes(part.cell.path.as_bytes());
            out.count(part.items.len());
            for item in &part.items {
                table.write_dot(item.dot, out);
                out.varint(newest - item.hlc.0);
                out.varint(item.expires.0);
                out.bytes(item.payload.as_bytes());
            }
            out.count(part.others.len());
            part.others.iter().for_each(|dot| table.write_dot(*dot, out));
        }
    }
}

fn read_cells(
    table: &ReplicaTable,
    newest: u64,
    input: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Vec<CellPart>, FrameError> {
    let objects = input.count("objects", 6)?;
    let mut cells: Vec<CellPart> = Vec::new();
    for _ in 0..objects {
        let object = read_object(input, limits)?;
        if cells.last().is_some_and(|last| last.cell.object >= object) {
            return Err(FrameError::Order { field: "objects" });
        }
        let parts = input.count("cells", 3)?;
        if parts == 0 {
            return Err(FrameError::Count { field: "cells", count: 0, max: 0 });
        }
        for at in 0..parts {
            let path = read_path(input, limits)?;
            if at > 0 && cells.last().is_some_and(|last| last.cell.path >= path) {
                return Err(FrameError::Order { field: "cells" });
            }
            let cell = CellId { object: object.clone(), path };
            cells.push(read_part(cell, table, newest, input, limits)?);
        }
    }
    Ok(cells)
}

fn read_part(
    cell: CellId,
    table: &ReplicaTable,
    newest: u64,
    input: &mut Reader<'_>,
    limits: &Limits,
) -> Result<CellPart, FrameError> {
    let mut items: Vec<Item> = Vec::new();
    for _ in 0..input.count("items", 5)? {
        let dot = table.read_dot("items", input)?;
        if items.last().is_some_and(|last| last.dot >= dot) {
            return Err(FrameError::Order { field: "items" });
        }
        let age = input.varint_max("item clock", newest)?;
        let expires = WallMillis(input.varint("expires")?);
        let payload = Payload::from(input.bytes("payload", limits.value_bytes_max)?);
        items.push(Item { dot, hlc: Hlc(newest - age), expires, payload });
    }
    let mut others: Vec<Dot> = Vec::new();
    for _ in 0..input.count("claims", 2)? {
        let dot = table.read_dot("claims", input)?;
        if others.last().is_some_and(|last| *last >= dot) {
            return Err(FrameError::Order { field: "claims" });
        }
        others.push(dot);
    }
    Ok(CellPart { cell, items, others })
}

fn write_range(range: &PathRange, out: &mut Writer) {
    write_object(&range.object, out);
    out.bytes(range.from.as_bytes());
    match &range.until {
        None => out.byte(0),
        Some(until) => {
            out.byte(1);
            out.bytes(until.as_bytes());
        }
    }
}

fn read_range(input: &mut Reader<'_>, limits: &Limits) -> Result<PathRange, FrameError> {
    let object = read_object(input, limits)?;
    let from = read_path(input, limits)?;
    let until = match input.byte("range end")? {
        0 => None,
        1 => Some(read_path(input, limits)?),
        value => return Err(FrameError::Field { field: "range end", value: u64::from(value) }),
    };
    Ok(PathRange { object, from, until })
}

fn write_record(record: &Record, out: &mut Writer) {
    match record {
        Record::Cells(cells) => {
            out.byte(0);
            out.count(cells.len());
            for cell in cells {
                write_object(&cell.object, out);
                out.bytes(cell.path.as_bytes());
            }
        }
        Record::Range(range) => {
            out.byte(1);
            write_range(range, out);
        }
    }
}

fn read_record(input: &mut Reader<'_>, limits: &Limits) -> Result<Record, FrameError> {
    match input.byte("record")? {
        0 => {
            let mut cells: Vec<CellId> = Vec::new();
            for _ in 0..input.count("record cells", 3)? {
                let object = read_object(input, limits)?;
                let cell = CellId { object, path: read_path(input, limits)? };
                if cells.last().is_some_and(|last| *last >= cell) {
                    return Err(FrameError::Order { field: "record cells" });
                }
                cells.push(cell);
            }
            Ok(Record::Cells(cells))
        }
        1 => Ok(Record::Range(read_range(input, limits)?)),
        value => Err(FrameError::Field { field: "record", value: u64::from(value) }),
    }
}
