//! The part of a state that one frame carries.
//!
//! A fragment names a set of dots `D` and carries the payload of every one of them that is live at the
//! sender: `(D, L n D)` of one snapshot. Joining it never does what a full merge would not (DESIGN
//! section 3, T1). Three strengths, by what it says beyond `D`: a push says nothing, a session's answer
//! claims the live dots of each cell it touches (T6), a fallback claims all live dots (T7).

mod cells;
mod items;
mod large;
mod measure;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, Item, Key, ObjectId, Path, PathRange, TypeTag};
use crate::codec::{Reader, ReplicaTable, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::id::{Dot, ReplicaId};
use crate::limits::{ITEM_OVERHEAD_BYTES, Limits};
use crate::memory;
use crate::merkle::sketch::{SYMBOLS_KEPT, Symbol};
use crate::time::WallMillis;

use words::{Words, checked_seq, distance};

pub(crate) use items::{ItemsWriter, Taken, read_items, write_items};

/// Which cells an event touched by killing: full cell ids or one path range, never a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// These cells, ascending.
    Cells(Box<[CellId]>),
    /// Every cell of a range.
    Range(Box<PathRange>),
}

impl Record {
    /// True if the event may have ended dots of `cell`.
    pub fn covers(&self, cell: &CellId) -> bool {
        match self {
            Self::Cells(cells) => cells.binary_search(cell).is_ok(),
            Self::Range(range) => range.object == cell.object && range.contains(&cell.path),
        }
    }

    /// Accounted bytes: all that it takes where it is kept, at most. A name counts as this record's alone.
    pub fn bytes(&self) -> usize {
        memory::KEPT_RECORD + measure::of_record(self)
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
    /// As [`Self::Whole`], with the first symbols of a sketch of the live dots instead of their list: the
    /// receiver finds those that differ from its own. Carries no records.
    Sketch {
        /// All that the sender knows.
        context: CausalContext,
        /// Names the sender's snapshot, for asking it for more symbols.
        answer: u64,
        /// The first symbols of the sketch of all that is live at the sender.
        symbols: Vec<Symbol>,
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
            Claims::Cells { context, .. }
            | Claims::Whole { context, .. }
            | Claims::Sketch { context, .. } => Some(context),
        }
    }

    /// True if the fragment names nothing.
    pub fn is_empty(&self) -> bool {
        self.dots.is_empty()
    }

    /// The replicas that the fragment's bytes must name, over the base of `names`.
    fn replicas(&self, names: &Names) -> BTreeSet<ReplicaId> {
        let mut ids: BTreeSet<ReplicaId> = self.dots.columns().map(|(replica, _)| replica).collect();
        ids.extend(self.cells.iter().flat_map(|part| part.others.iter().map(|dot| dot.replica)));
        ids.extend(self.context().into_iter().flat_map(|context| changed(context, names).map(|(id, _)| id)));
        match &self.claims {
            Claims::None | Claims::Sketch { .. } => {}
            Claims::Cells { ranges, .. } => {
                ids.extend(ranges.iter().flat_map(|(_, live)| live.columns().map(|(id, _)| id)));
            }
            Claims::Whole { live, .. } => ids.extend(live.columns().map(|(id, _)| id)),
        }
        ids.extend(self.floors.iter().map(|(replica, _)| *replica));
        ids
    }

    /// Appends the fragment; [`Self::read`] reads it. `docs/protocol.md` has the fields.
    pub fn write(&self, names: &Names, out: &mut Writer) {
        self.write_with(None, names, out);
    }

    /// [`Self::write`], and which of the dots are live where no item says it.
    fn write_with(&self, live: Option<&DotSet>, names: &Names, out: &mut Writer) {
        let table = ReplicaTable::new(self.replicas(names));
        let words = Words { table: &table, names, dots: &self.dots };
        table.write(names, out);
        out.varint(self.horizon.0);
        words.write_dots(&self.dots, out);
        cells::write(&self.cells, &words, out);
        match &self.claims {
            Claims::None => out.byte(0),
            Claims::Cells { context, ranges } => {
                out.byte(1);
                write_context(context, &table, names, out);
                out.count(ranges.len());
                for (range, live) in ranges {
                    write_range(range, out);
                    words.write_dots(live, out);
                }
            }
            Claims::Whole { context, live } => {
                out.byte(2);
                write_context(context, &table, names, out);
                words.write_listing(live, out);
            }
            Claims::Sketch { context, answer, symbols } => {
                out.byte(3);
                write_context(context, &table, names, out);
                out.varint(*answer);
                write_symbols(symbols, out);
            }
        }
        out.count(self.records.len());
        for (dot, record) in &self.records {
            words.write_own(*dot, out);
            write_record(record, out);
        }
        out.count(self.floors.len());
        for (replica, seq) in &self.floors {
            table.write_pair(*replica, *seq, out);
        }
        if let Some(live) = live {
            words.write_listing(live, out);
        }
    }

    /// Reads what [`Self::write`] wrote. Checks every rule that needs no store: canonical order, no dot
    /// named twice, no item, claim or record outside the dots.
    pub fn read(input: &mut Reader<'_>, names: &Names, limits: &Limits) -> Result<Self, FrameError> {
        let (fragment, _) = Self::read_with(input, names, limits, |_| false)?;
        fragment.check_read()?;
        Ok(fragment)
    }

    /// Reads what [`Self::write_with`] wrote, with the live dots if `has_live`. Checked is only that no dot has two items.
    fn read_with(
        input: &mut Reader<'_>,
        names: &Names,
        limits: &Limits,
        has_live: fn(&Claims) -> bool,
    ) -> Result<(Self, DotSet), FrameError> {
        let table = ReplicaTable::read(names, input)?;
        let horizon = WallMillis(input.varint("horizon")?);
        let nothing = DotSet::default();
        let dots = Words { table: &table, names, dots: &nothing }.read_dots("dots", input)?;
        let words = Words { table: &table, names, dots: &dots };
        let cells = cells::read(&words, input, limits)?;
        let claims = match input.byte("claims")? {
            0 => Claims::None,
            1 => {
                let context = read_context(&table, names, input)?;
                let count = input.count("claimed ranges", 4)?;
                input.charge("claimed ranges", count, size_of::<(PathRange, DotSet)>())?;
                let mut ranges = Vec::with_capacity(count);
                for _ in 0..count {
                    ranges.push((read_range(input, limits)?, words.read_dots("live in range", input)?));
                }
                Claims::Cells { context, ranges }
            }
            2 => {
                let context = read_context(&table, names, input)?;
                Claims::Whole { context, live: words.read_listing("live dots", listed_max(limits), input)? }
            }
            3 => {
                let context = read_context(&table, names, input)?;
                let answer = input.varint("answer")?;
                Claims::Sketch { context, answer, symbols: read_symbols(1, input)? }
            }
            value => return Err(FrameError::Field { field: "claims", value: u64::from(value) }),
        };
        let count = input.count("records", 3)?;
        input.charge("records", count, memory::RECORD)?;
        let mut records: Vec<(Dot, Record)> = Vec::with_capacity(count);
        for _ in 0..count {
            let dot = words.read_own("records", input)?;
            if records.last().is_some_and(|(last, _)| *last >= dot) {
                return Err(FrameError::Order { field: "records" });
            }
            records.push((dot, read_record(input, limits)?));
        }
        let count = input.count("floors", 1)?;
        if count > table.len() {
            return Err(FrameError::Count { field: "floors", count: count as u64, max: table.len() as u64 });
        }
        input.charge("floors", count, memory::FLOOR)?;
        let mut floors: Vec<(ReplicaId, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let (replica, seq) = table.read_pair("floors", input)?;
            if floors.last().is_some_and(|(last, _)| *last >= replica) {
                return Err(FrameError::Order { field: "floors" });
            }
            floors.push((replica, checked_seq("floors", seq)?));
        }
        let live = has_live(&claims)
            .then(|| words.read_listing("live dots", listed_max(limits), input))
            .transpose()?;
        Ok((Self { dots, cells, claims, records, floors, horizon }, live.unwrap_or_default()))
    }

    /// The rules of a fragment that need no store; see [`Self::read`].
    pub fn check(&self) -> Result<(), FrameError> {
        let mut items: Vec<Dot> = self.item_dots().collect();
        items.sort_unstable();
        if let Some(pair) = items.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(FrameError::DotTwice { dot: pair[0] });
        }
        self.check_read()
    }

    /// [`Self::check`] where no dot has two items.
    fn check_read(&self) -> Result<(), FrameError> {
        self.check_cells()?;
        self.check_claims()?;
        match &self.claims {
            Claims::None | Claims::Cells { .. } | Claims::Sketch { .. } => Ok(()),
            Claims::Whole { live, .. } => self.check_whole(live),
        }
    }

    fn item_dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.cells.iter().flat_map(|part| &part.items).map(|item| item.dot)
    }

    /// No item or record outside the dots, and none of these among other live dots.
    fn check_cells(&self) -> Result<(), FrameError> {
        for part in &self.cells {
            if let Some(item) = part.items.iter().find(|item| !self.dots.contains(item.dot)) {
                return Err(FrameError::OutsideDots { dot: item.dot, field: "items" });
            }
            // A dot of D without an item is dead; listing it among the other live dots says it is not.
            if let Some(dot) = part.others.iter().find(|dot| self.dots.contains(**dot)) {
                return Err(FrameError::DotTwice { dot: *dot });
            }
        }
        if let Some((dot, _)) = self.records.iter().find(|(dot, _)| !self.dots.contains(*dot)) {
            return Err(FrameError::OutsideDots { dot: *dot, field: "records" });
        }
        Ok(())
    }

    /// Nothing named or claimed beyond the sender's own context.
    fn check_claims(&self) -> Result<(), FrameError> {
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
            Claims::None | Claims::Sketch { .. } => Ok(()),
            Claims::Cells { ranges, .. } => match ranges.iter().find_map(|(_, live)| unknown(live)) {
                Some(top) => Err(outside(top, "claimed ranges")),
                None => Ok(()),
            },
            Claims::Whole { live, .. } => match unknown(live) {
                Some(top) => Err(outside(top, "live dots")),
                None => Ok(()),
            },
        }
    }

    /// In a fallback the items are exactly the live dots among the dots named (T1).
    fn check_whole(&self, live: &DotSet) -> Result<(), FrameError> {
        if let Some(dot) = self.item_dots().find(|dot| !live.contains(*dot)) {
            return Err(FrameError::OutsideDots { dot, field: "live dots" });
        }
        let (count, max) = (live.overlap(&self.dots), self.item_count() as u64);
        if count == max { Ok(()) } else { Err(FrameError::Count { field: "live dots", count, max }) }
    }
}

/// As many are always read: what a peer wrote before its ceiling was met may be above a small one.
const LISTED_LEAST: u64 = 1_024;

/// Most intervals in a list of live dots: a store within its ceiling has no more live items.
fn listed_max(limits: &Limits) -> u64 {
    (limits.store_bytes_ceiling / ITEM_OVERHEAD_BYTES).max(LISTED_LEAST)
}

/// A symbol of one byte of sequences.
const SYMBOL_BYTES_MIN: usize = 17;

/// No XOR of sequences is above this.
const SEQ_BITS_MAX: u64 = 2 * Dot::SEQ_MAX - 1;

/// A number of symbols and the symbols. Sequences are short numbers, and so is their XOR.
pub(crate) fn write_symbols(symbols: &[Symbol], out: &mut Writer) {
    out.count(symbols.len());
    for symbol in symbols {
        let [replica, seq, check] = symbol.to_words();
        out.fixed(&replica.to_le_bytes());
        out.varint(seq);
        out.fixed(&check.to_le_bytes());
    }
}

/// Reads what [`write_symbols`] wrote, at least `least`.
pub(crate) fn read_symbols(least: usize, input: &mut Reader<'_>) -> Result<Vec<Symbol>, FrameError> {
    let count = input.count("symbols", SYMBOL_BYTES_MIN)?;
    if !(least..=SYMBOLS_KEPT).contains(&count) {
        return Err(FrameError::Count { field: "symbols", count: count as u64, max: SYMBOLS_KEPT as u64 });
    }
    input.charge("symbols", count, size_of::<Symbol>())?;
    let mut symbols = Vec::with_capacity(count);
    for _ in 0..count {
        let replica = u64::from_le_bytes(input.fixed("symbols")?);
        let seq = input.varint_max("symbols", SEQ_BITS_MAX)?;
        symbols.push(Symbol::from_words([replica, seq, u64::from_le_bytes(input.fixed("symbols")?)]));
    }
    Ok(symbols)
}

/// Writes dots against a table that holds their replicas.
pub(crate) fn write_dots(dots: &DotSet, table: &ReplicaTable, names: &Names, out: &mut Writer) {
    Words { table, names, dots }.write_dots(dots, out);
}

/// Reads what [`write_dots`] wrote.
pub(crate) fn read_dots(
    field: &'static str,
    table: &ReplicaTable,
    names: &Names,
    input: &mut Reader<'_>,
) -> Result<DotSet, FrameError> {
    Words { table, names, dots: &DotSet::default() }.read_dots(field, input)
}

/// [`read_dots`], of at most `intervals_max` intervals.
pub(crate) fn read_dots_within(
    field: &'static str,
    intervals_max: usize,
    table: &ReplicaTable,
    names: &Names,
    input: &mut Reader<'_>,
) -> Result<DotSet, FrameError> {
    let words = Words { table, names, dots: &DotSet::default() };
    words.read_dots_within(field, intervals_max as u64, input)
}

/// The columns in which `context` is another than the base of `names`, with its events there; 0 for none.
pub(crate) fn changed<'a>(
    context: &'a CausalContext,
    names: &'a Names,
) -> impl Iterator<Item = (ReplicaId, u64)> + 'a {
    let grown = context.columns().filter(|(id, seq)| *seq != names.based(*id));
    let columns = names.base.as_ref().map_or(&[][..], |base| base.columns());
    let gone = columns.iter().filter(|(id, _)| context.get(*id) == 0).map(|(id, _)| (*id, 0));
    grown.chain(gone)
}

/// Writes a context as its difference from the base. `table` must hold the replicas of [`changed`].
pub(crate) fn write_context(context: &CausalContext, table: &ReplicaTable, names: &Names, out: &mut Writer) {
    let changed: BTreeMap<ReplicaId, u64> = changed(context, names).collect();
    out.count(changed.len());
    for (replica, seq) in changed {
        table.write_replica(replica, out);
        out.signed(distance(names.based(replica), seq));
    }
}

/// Reads what [`write_context`] wrote.
pub(crate) fn read_context(
    table: &ReplicaTable,
    names: &Names,
    input: &mut Reader<'_>,
) -> Result<CausalContext, FrameError> {
    let columns = names.base.as_ref().map_or(&[][..], |base| base.columns());
    let mut context: BTreeMap<ReplicaId, u64> = columns.iter().copied().collect();
    for (replica, seq) in read_columns(table, names, input)? {
        match seq {
            _ if seq == names.based(replica) => return Err(FrameError::Order { field: "context" }),
            0 => context.remove(&replica),
            seq => context.insert(replica, seq),
        };
    }
    Ok(CausalContext::of_columns(context))
}

/// Writes columns, each by its distance from the base. `table` must hold their replicas.
pub(crate) fn write_columns(columns: &CausalContext, table: &ReplicaTable, names: &Names, out: &mut Writer) {
    out.count(columns.len());
    for (replica, seq) in columns.columns() {
        table.write_replica(replica, out);
        out.signed(distance(names.based(replica), seq));
    }
}

/// Reads what [`write_columns`] wrote, ascending by replica.
pub(crate) fn read_columns(
    table: &ReplicaTable,
    names: &Names,
    input: &mut Reader<'_>,
) -> Result<Vec<(ReplicaId, u64)>, FrameError> {
    let count = input.count("context", 2)?;
    // They ascend, so that none comes twice.
    if count > table.len() {
        return Err(FrameError::Count { field: "context", count: count as u64, max: table.len() as u64 });
    }
    input.charge("context", count, memory::CONTEXT_COLUMN)?;
    let mut columns: Vec<(ReplicaId, u64)> = Vec::with_capacity(count);
    for _ in 0..count {
        let replica = table.read_replica("context", input)?;
        if columns.last().is_some_and(|(last, _)| *last >= replica) {
            return Err(FrameError::Order { field: "context" });
        }
        let by = input.signed("context")?;
        let seq = names.based(replica).checked_add_signed(by).filter(|seq| *seq <= Dot::SEQ_MAX);
        columns.push((replica, seq.ok_or(FrameError::Field { field: "context", value: by.unsigned_abs() })?));
    }
    Ok(columns)
}

fn write_object(object: &ObjectId, out: &mut Writer) {
    out.bytes(object.key.as_str().as_bytes());
    out.byte(object.ty.0);
}

fn read_object(input: &mut Reader<'_>, limits: &Limits) -> Result<ObjectId, FrameError> {
    let key = input.bytes("key", limits.key_bytes_max)?;
    let key = std::str::from_utf8(key).map_err(|_| FrameError::KeyEncoding)?;
    input.charge("key", 1, memory::text(key.len()))?;
    Ok(ObjectId { key: Key::from(key), ty: TypeTag(input.byte("type")?) })
}

fn read_path(input: &mut Reader<'_>, limits: &Limits) -> Result<Path, FrameError> {
    let path = input.bytes("path", limits.path_bytes_max)?;
    input.charge("path", 1, memory::small(path.len()))?;
    Ok(Path::from(path))
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

pub(crate) fn write_record(record: &Record, out: &mut Writer) {
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

pub(crate) fn read_record(input: &mut Reader<'_>, limits: &Limits) -> Result<Record, FrameError> {
    match input.byte("record")? {
        0 => {
            let count = input.count("record cells", 3)?;
            input.charge("record cells", count, memory::RECORD_CELL)?;
            let mut cells: Vec<CellId> = Vec::with_capacity(count);
            for _ in 0..count {
                let object = read_object(input, limits)?;
                let cell = CellId { object, path: read_path(input, limits)? };
                if cells.last().is_some_and(|last| *last >= cell) {
                    return Err(FrameError::Order { field: "record cells" });
                }
                cells.push(cell);
            }
            Ok(Record::Cells(cells.into()))
        }
        1 => {
            input.charge("record range", 1, memory::RECORD_RANGE)?;
            Ok(Record::Range(Box::new(read_range(input, limits)?)))
        }
        value => Err(FrameError::Field { field: "record", value: u64::from(value) }),
    }
}
