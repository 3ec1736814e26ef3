//! What is read of a CRDT, in the shape of JSON.
//!
//! Elements, fields and values are [`Stored`]. A name of a JSON object that stands for a field is
//! [`Stored::to_name`]. A nested map may be deeper than a stack: what a member nests deeper than [`NAMES_MAX`] is
//! named and not shown.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sync_core::cell::TypeTag;
use sync_core::id::OwnerId;
use sync_core::store::Store;
use sync_core::types::At;
use sync_core::types::log::{Bound, Entry};
use sync_core::types::or_map::{self, Map};

use super::TYPES;
use crate::inspect::hex;
use crate::value::{Stored, Value};

/// Most names below the place asked for that are shown of a nested map.
pub(crate) const NAMES_MAX: usize = 64;

/// All of a log.
pub(super) const ALL: Bound = Bound { entries: u64::MAX, age_ms: u64::MAX };

/// What is read, in the shape of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing is there.
    Nothing,
    /// A value, an element, an entry.
    Stored(Stored),
    /// Our own word for something.
    Word(String),
    /// True or false.
    Flag(bool),
    /// A number, of a counter mostly.
    Count(i128),
    /// Several, in their order.
    List(Vec<Reading>),
    /// Several by name, in their order.
    Map(Vec<(String, Reading)>),
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_unit(),
            Self::Stored(stored) => stored.serialize(serializer),
            Self::Word(word) => serializer.serialize_str(word),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Count(count) => serializer.serialize_i128(*count),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (name, reading) in map {
                    out.serialize_entry(name, reading)?;
                }
                out.end()
            }
        }
    }
}

impl Reading {
    pub(super) fn value(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Nothing, |bytes| Self::Stored(Stored::of(bytes)))
    }

    pub(super) fn number(number: Option<i64>) -> Self {
        number.map_or(Self::Nothing, |number| Self::Count(number.into()))
    }

    pub(super) fn word(word: impl Into<String>) -> Self {
        Self::Word(word.into())
    }
}

/// How the CRDT of type `ty` at `at` reads; of a type that is not the engine's, its cells.
pub(crate) fn whole(store: &Store, at: At<'_>, ty: TypeTag) -> Reading {
    whole_below(store, at, ty, NAMES_MAX)
}

fn whole_below(store: &Store, at: At<'_>, ty: TypeTag, left: usize) -> Reading {
    if ty == TypeTag::OR_MAP {
        return nested_below(store, at, left);
    }
    match TYPES.iter().find(|known| known.tag == ty) {
        Some(known) => (known.read)(store, at),
        None => cells(store, at, ty),
    }
}

pub(super) fn elements<'s>(elements: impl IntoIterator<Item = &'s [u8]>) -> Reading {
    Reading::List(elements.into_iter().map(|bytes| Reading::value(Some(bytes))).collect())
}

fn name(field: &[u8]) -> String {
    Stored::of(field).to_name()
}

pub(super) fn fields<'s>(entries: impl Iterator<Item = (&'s [u8], &'s [u8])>) -> Reading {
    Reading::Map(entries.map(|(field, value)| (name(field), Reading::value(Some(value)))).collect())
}

/// Pairs, those of a field side by side.
pub(super) fn pairs<'s>(entries: impl Iterator<Item = (&'s [u8], &'s [u8])>) -> Reading {
    let mut fields: Vec<(&[u8], Vec<Reading>)> = Vec::new();
    for (field, value) in entries {
        let value = Reading::value(Some(value));
        match fields.last_mut() {
            Some((last, values)) if *last == field => values.push(value),
            Some(_) | None => fields.push((field, vec![value])),
        }
    }
    Reading::Map(fields.into_iter().map(|(field, values)| (name(field), Reading::List(values))).collect())
}

/// `own` is in it also without rights: others need its id to send it some.
pub(super) fn rights(mut holders: Vec<(OwnerId, u64)>, own: OwnerId) -> Reading {
    if holders.iter().all(|(owner, _)| *owner != own) {
        holders.push((own, 0));
    }
    let holder = |(owner, rights): (OwnerId, u64)| {
        Reading::Map(vec![
            ("owner".into(), Reading::word(hex(&owner.0))),
            ("rights".into(), Reading::Count(rights.into())),
            ("own".into(), Reading::Flag(owner == own)),
        ])
    };
    Reading::List(holders.into_iter().map(holder).collect())
}

pub(super) fn entries(entries: Vec<Entry<'_>>) -> Reading {
    let entry = |entry: Entry<'_>| {
        Reading::Map(vec![
            ("written_ms".into(), Reading::Count(entry.hlc.wall().0.into())),
            ("replica".into(), Reading::word(entry.dot.replica.to_hex())),
            ("seq".into(), Reading::Count(entry.dot.seq.into())),
            ("value".into(), Reading::value(Some(entry.value))),
        ])
    };
    Reading::List(entries.into_iter().map(entry).collect())
}

/// The name of a nested map's field; one that is not UTF-8 stands as `$` and its bytes.
fn field_name(name: &[u8]) -> String {
    let text = std::str::from_utf8(name).map(|text| Stored::Value(Value::from(text)));
    text.unwrap_or_else(|_| Stored::Value(Value::Bytes(name.to_vec()))).to_name()
}

fn type_name(ty: TypeTag) -> String {
    format!("{ty:?}")
}

pub(super) fn nested(store: &Store, at: At<'_>) -> Reading {
    nested_below(store, at, NAMES_MAX)
}

/// Names with what they hold; a name with several types has `{"$types": {type: reading}}`.
fn nested_below(store: &Store, at: At<'_>, left: usize) -> Reading {
    let map = Map::at_place(at);
    let fields = or_map::fields(store, &map);
    let read = |field: &or_map::Field<'_>| match left.checked_sub(1) {
        Some(left) => whole_below(store, map.at(field.name), field.ty, left),
        None => Reading::Map(vec![("$deeper".into(), Reading::word(type_name(field.ty)))]),
    };
    let names = fields.chunk_by(|one, other| one.name == other.name);
    let shown = names.map(|types| {
        let reading = match types {
            [only] => read(only),
            several => {
                let types = several.iter().map(|field| (type_name(field.ty), read(field))).collect();
                Reading::Map(vec![("$types".into(), Reading::Map(types))])
            }
        };
        (field_name(types[0].name), reading)
    });
    Reading::Map(shown.collect())
}

pub(super) fn field_types(store: &Store, at: At<'_>) -> Reading {
    let map = Map::at_place(at);
    let fields = or_map::fields(store, &map);
    let names = fields.chunk_by(|one, other| one.name == other.name);
    let types = |types: &[or_map::Field<'_>]| {
        let list = types.iter().map(|field| Reading::word(type_name(field.ty))).collect();
        (field_name(types[0].name), Reading::List(list))
    };
    Reading::Map(names.map(types).collect())
}

/// The cells of a type that only its application knows.
fn cells(store: &Store, at: At<'_>, ty: TypeTag) -> Reading {
    let cells = at.cells_of(ty);
    let cell = |(path, items): (&[u8], sync_core::store::Items<'_>)| {
        let writes = items.iter().map(|item| Reading::value(Some(item.payload.as_bytes()))).collect();
        Reading::Map(vec![
            ("path".into(), Reading::value(Some(path))),
            ("writes".into(), Reading::List(writes)),
        ])
    };
    Reading::List(cells.cells(store).map(cell).collect())
}
