//! What a persist step writes of a store: the rows that changed since the step before, or all of them.
//!
//! A store that is persisted keeps [`Notes`]: the dots that came or went, and the columns that grew. What they say is
//! resolved when a step is taken, against the state as it is then, so a dot noted twice costs a place in a list and
//! nothing else. Rows are by dot and not by cell: an item never changes, new dots of a replica lie side by side on
//! the disk, and a row that is damaged names the event that is in doubt. Records need no notes: they come and go in
//! order. Floors are noted by [`super::records`].

use std::collections::BTreeSet;

use super::Store;
use crate::causal::CausalContext;
use crate::cell::{CellId, Hlc, Item, Key, ObjectId, Path, Payload, TypeTag};
use crate::codec::{Reader, Writer};
use crate::error::FrameError;
use crate::fragment::{Record, read_record, write_record};
use crate::id::{Dot, NamespaceId, ReplicaId};
use crate::limits::Limits;
use crate::mutant::{self, Mutant};
use crate::node::NAMESPACE_NAME_BYTES_MAX;
use crate::rows::{Row, RowError, Table, hex};
use crate::time::WallMillis;

/// What changed since the last step was taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Dots whose item came or went, in any order, some twice.
    dots: Vec<Dot>,
    columns: BTreeSet<ReplicaId>,
    /// More changed than is listed.
    whole: bool,
}

impl Notes {
    #[inline]
    fn dot(&mut self, dot: Dot, max: usize) {
        if self.dots.len() >= max {
            self.compact(max);
        }
        if !self.whole {
            self.dots.push(dot);
        }
    }

    /// Makes room in the list, or gives it up.
    #[cold]
    fn compact(&mut self, max: usize) {
        self.dots.sort_unstable();
        self.dots.dedup();
        if self.dots.len() > max / 4 * 3 {
            self.whole = true;
            self.dots = Vec::new();
        }
    }
}

impl Store {
    /// The disk holds what is here now: notes from here on what changes.
    pub(crate) fn begin_notes(&mut self) {
        self.notes = Some(Box::default());
        self.records.begin_notes();
    }

    /// The next step lists every row: more changed than is noted, or nothing was noted yet.
    pub(crate) fn is_step_whole(&self) -> bool {
        self.notes.as_ref().is_none_or(|notes| notes.whole)
    }

    /// The item of `dot` came or went.
    #[inline]
    pub(super) fn note_item(&mut self, dot: Dot) {
        if let Some(notes) = &mut self.notes {
            notes.dot(dot, self.limits.step_changes_max);
        }
    }

    /// The column of `replica` grew.
    #[inline]
    pub(super) fn note_column(&mut self, replica: ReplicaId) {
        if let Some(notes) = &mut self.notes {
            notes.columns.insert(replica);
        }
    }

    /// Appends the rows that changed since the last call, or every row if `whole`, and begins new notes.
    pub(crate) fn take_rows(&mut self, whole: bool, name: &str, hlc: Hlc, rows: &mut Vec<Row>) {
        let notes = self.notes.replace(Box::default()).unwrap_or_default();
        let namespace = self.namespace;
        let mut space = Writer::default();
        space.varint(self.horizon.0);
        space.varint(if mutant::is(Mutant::ClockNotPersisted) { 0 } else { hlc.0 });
        space.bytes(name.as_bytes());
        rows.push(Row { table: Table::Space, key: namespace.0.to_vec(), value: Some(space.finish()) });
        let lost = self.planted_lost();
        let is_lost = |dot: &Dot| lost.contains(*dot);
        if whole {
            rows.extend(self.context.columns().map(|(replica, seq)| column_row(namespace, replica, seq)));
            let dots = self.live.dots().filter(|dot| !is_lost(dot));
            rows.extend(dots.map(|dot| self.item_row(dot)));
        } else {
            let columns = notes.columns.iter();
            rows.extend(columns.map(|id| column_row(namespace, *id, self.context.get(*id))));
            let mut dots = notes.dots;
            dots.sort_unstable();
            dots.dedup();
            dots.retain(|dot| !is_lost(dot));
            let stays = |row: &Row| row.value.is_none() && mutant::is(Mutant::DeadRowsStay);
            rows.extend(dots.into_iter().map(|dot| self.item_row(dot)).filter(|row| !stays(row)));
        }
        self.records.take_rows(whole, namespace, rows);
    }

    fn item_row(&self, dot: Dot) -> Row {
        let value = self.item(dot).map(|(cell, item)| item_value(&cell, item));
        Row { table: Table::Item, key: dot_key(self.namespace, dot), value }
    }
}

/// The value of the row of `item` in `cell`; see [`read_item`].
pub(crate) fn item_value(cell: &CellId, item: super::ItemRef<'_>) -> Vec<u8> {
    let (path, payload) = (cell.path.as_bytes(), item.payload.as_bytes());
    let key = cell.object.key.as_str().as_bytes();
    let mut out = Writer::with_capacity(key.len() + path.len() + payload.len() + 32);
    out.bytes(key);
    out.byte(cell.object.ty.0);
    out.bytes(path);
    out.varint(item.hlc.0);
    out.varint(item.expires.0);
    out.fixed(payload);
    out.finish()
}

fn column_row(namespace: NamespaceId, replica: ReplicaId, seq: u64) -> Row {
    let mut out = Writer::default();
    out.varint(seq);
    Row { table: Table::Column, key: column_key(namespace, replica), value: Some(out.finish()) }
}

/// The key of a row of the context or of the floors.
pub(super) fn column_key(namespace: NamespaceId, replica: ReplicaId) -> Vec<u8> {
    [&namespace.0[..], &replica.0].concat()
}

pub(crate) fn dot_key(namespace: NamespaceId, dot: Dot) -> Vec<u8> {
    [&namespace.0[..], &dot.replica.0, &dot.seq.to_be_bytes()].concat()
}

/// The row of a record that came as number `number`.
pub(super) fn record_row(namespace: NamespaceId, number: u64, of: Option<(Dot, &Record)>) -> Row {
    let value = of.map(|(dot, record)| {
        let mut out = Writer::default();
        out.fixed(&dot.replica.0);
        out.varint(dot.seq);
        write_record(record, &mut out);
        out.finish()
    });
    Row { table: Table::Record, key: [&namespace.0[..], &number.to_be_bytes()].concat(), value }
}

/// The row of a floor.
pub(super) fn floor_row(namespace: NamespaceId, replica: ReplicaId, seq: u64) -> Row {
    Row { table: Table::Floor, ..column_row(namespace, replica, seq) }
}

/// A store in the making, from its rows: those of one table after the other, ascending by key.
#[derive(Debug)]
pub(crate) struct StoreRows {
    namespace: NamespaceId,
    limits: Limits,
    lookup_key: super::LookupKey,
    context: CausalContext,
    horizon: WallMillis,
    items: Vec<(CellId, Item)>,
    records: super::Records,
    last_key: Option<Key>,
}

/// The longest name or value that is read from a row: rows have their checksum, and what peers wrote counts too.
const FIELD_BYTES_MAX: usize = 64 << 20;

impl StoreRows {
    /// Begins with the row of [`Table::Space`].
    pub(crate) fn begin(
        key: &[u8],
        value: &[u8],
        limits: &Limits,
        lookup_key: super::LookupKey,
    ) -> Result<(Self, Hlc, Box<str>), RowError> {
        let malformed = |error| RowError::Malformed { table: Table::Space, key: hex(key), error };
        let mut input = Reader::new(value);
        let read = (|| {
            let namespace = NamespaceId(Reader::new(key).fixed("namespace")?);
            let (horizon, hlc) = (input.varint("horizon")?, input.varint("clock")?);
            // Rows of version 1 end here.
            let mut name = "";
            if input.remaining() > 0 {
                let given = input.bytes("name", NAMESPACE_NAME_BYTES_MAX)?;
                name = std::str::from_utf8(given).map_err(|_| FrameError::KeyEncoding)?;
            }
            input.finish()?;
            Ok((namespace, WallMillis(horizon), Hlc(hlc), name))
        })();
        let (namespace, horizon, hlc, name) = read.map_err(malformed)?;
        let rows = Self {
            namespace,
            limits: limits.clone(),
            lookup_key,
            context: CausalContext::default(),
            horizon,
            items: Vec::new(),
            records: super::Records::default(),
            last_key: None,
        };
        Ok((rows, hlc, name.into()))
    }

    /// Which namespace it is.
    pub(crate) fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// Takes in a row; `key` is what follows the namespace.
    pub(crate) fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let malformed = |error| RowError::Malformed { table, key: hex(key), error };
        let contradicts = |reason| RowError::Contradicts { table, key: hex(key), reason };
        let (mut key_in, mut input) = (Reader::new(key), Reader::new(value));
        match table {
            Table::Column | Table::Floor => {
                let (replica, seq) = read_column(key_in, input).map_err(malformed)?;
                if table == Table::Column {
                    self.context.advance(replica, seq);
                } else {
                    // It may be above its column: a group that dropped its own records and was taken back leaves it.
                    self.records.raise_floor(replica, seq);
                }
            }
            Table::Item => {
                let (cell, item) = read_item(key_in, input, &mut self.last_key).map_err(malformed)?;
                if !self.context.contains(item.dot) {
                    return Err(contradicts("a live item that the context does not know"));
                }
                if item.is_expired(self.horizon) {
                    return Err(contradicts("a live item that had expired"));
                }
                self.items.push((cell, item));
            }
            Table::Record => {
                let wide = Limits {
                    key_bytes_max: FIELD_BYTES_MAX,
                    path_bytes_max: FIELD_BYTES_MAX,
                    ..self.limits.clone()
                };
                let read = (|| {
                    let number = u64::from_be_bytes(key_in.fixed("number")?);
                    key_in.finish()?;
                    let dot = read_dot(&mut input)?;
                    let record = read_record(&mut input, &wide)?;
                    input.finish()?;
                    Ok((number, dot, record))
                })();
                let (number, dot, record) = read.map_err(malformed)?;
                if !self.context.contains(dot) {
                    return Err(contradicts("a record of an event that the context does not know"));
                }
                if !self.records.restore(number, dot, record) {
                    return Err(contradicts("records with a gap, or two of one event"));
                }
            }
            Table::Node | Table::Life | Table::Space | Table::Inbound | Table::Salvaged | Table::Retired => {
                return Err(contradicts("a row of the node among those of a store"));
            }
        }
        Ok(())
    }

    /// The store of all rows; its log is empty.
    pub(crate) fn finish(self) -> Store {
        let Self { namespace, limits, lookup_key, context, horizon, items, records, .. } = self;
        let mut store = Store::new(namespace, limits).keyed(lookup_key);
        (store.context, store.horizon, store.records) = (context, horizon, records);
        let count = items.len();
        store.fill(items.into_iter(), count);
        store.types_met.clear();
        store
    }
}

/// Reads a row of an item; `last_key` is the name of the object of the one before.
pub(crate) fn read_item(
    mut key: Reader<'_>,
    mut input: Reader<'_>,
    last_key: &mut Option<Key>,
) -> Result<(CellId, Item), FrameError> {
    let replica = ReplicaId(key.fixed("replica")?);
    let seq = u64::from_be_bytes(key.fixed("sequence")?);
    key.finish()?;
    let dot = checked(Dot::new(replica, seq))?;
    let name =
        std::str::from_utf8(input.bytes("key", FIELD_BYTES_MAX)?).map_err(|_| FrameError::KeyEncoding)?;
    // Neighbours mostly lie in one object: then they share its name.
    let key = match &*last_key {
        Some(last) if last.as_str() == name => last.clone(),
        Some(_) | None => last_key.insert(Key::from(name)).clone(),
    };
    let object = ObjectId { key, ty: TypeTag(input.byte("type")?) };
    let path = Path::from(input.bytes("path", FIELD_BYTES_MAX)?);
    let hlc = Hlc(input.varint("clock")?);
    let expires = WallMillis(input.varint("expires")?);
    let payload = Payload::from(input.rest());
    Ok((CellId { object, path }, Item { dot, hlc, expires, payload }))
}

fn checked(dot: Dot) -> Result<Dot, FrameError> {
    let in_range = (1..=Dot::SEQ_MAX).contains(&dot.seq);
    if in_range { Ok(dot) } else { Err(FrameError::Field { field: "sequence", value: dot.seq }) }
}

fn read_dot(input: &mut Reader<'_>) -> Result<Dot, FrameError> {
    let replica = ReplicaId(input.fixed("replica")?);
    checked(Dot::new(replica, input.varint("sequence")?))
}

fn read_column(mut key: Reader<'_>, mut input: Reader<'_>) -> Result<(ReplicaId, u64), FrameError> {
    let replica = ReplicaId(key.fixed("replica")?);
    key.finish()?;
    let dot = checked(Dot::new(replica, input.varint("sequence")?))?;
    input.finish()?;
    Ok((dot.replica, dot.seq))
}
