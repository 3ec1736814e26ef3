//! The types beyond set, map and counter: what an application can ask of them, in one form for all.
//!
//! A [`Deed`] writes, counts or sends at a *place*, a list of names, or ends what its origin saw at every place
//! that begins so. What that means is said twice, by the engine ([`run`], [`shown`]) and by the oracle
//! ([`crate::oracle::typed`]), which share nothing but this form.

use serde::{Deserialize, Serialize};
use sync_core::cell::TypeTag;
use sync_core::error::WriteError;
use sync_core::id::OwnerId;
use sync_core::store::{Group, Store};
use sync_core::types::log::Bound;
use sync_core::types::or_map::{self, Map};
use sync_core::types::{
    bounded_counter, disable_flag, enable_flag, g_counter, grow_set, log, lww_register, max_register,
    min_register, multimap, mv_register, or_set, pn_counter, rw_set,
};

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Typed {
    /// Last-writer-wins register.
    LwwRegister,
    /// Register of all concurrent values.
    MvRegister,
    /// Enable-wins flag.
    EnableFlag,
    /// Disable-wins flag.
    DisableFlag,
    /// Grow-only set.
    GrowSet,
    /// Grow-only counter, but for resets.
    GrowCounter,
    /// Largest number.
    MaxRegister,
    /// Smallest number.
    MinRegister,
    /// Remove-wins set.
    RemoveWinsSet,
    /// Map of sets.
    Multimap,
    /// Counter with rights.
    BoundedCounter,
    /// Map of sets, registers, counters and maps.
    NestedMap,
    /// Log of the newest entries.
    Log,
}

impl Typed {
    /// Every type.
    pub const ALL: [Self; 13] = [
        Self::LwwRegister,
        Self::MvRegister,
        Self::EnableFlag,
        Self::DisableFlag,
        Self::GrowSet,
        Self::GrowCounter,
        Self::MaxRegister,
        Self::MinRegister,
        Self::RemoveWinsSet,
        Self::Multimap,
        Self::BoundedCounter,
        Self::NestedMap,
        Self::Log,
    ];

    /// Its name, as a scenario has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LwwRegister => "lww-register",
            Self::MvRegister => "mv-register",
            Self::EnableFlag => "enable-flag",
            Self::DisableFlag => "disable-flag",
            Self::GrowSet => "grow-set",
            Self::GrowCounter => "grow-counter",
            Self::MaxRegister => "max-register",
            Self::MinRegister => "min-register",
            Self::RemoveWinsSet => "remove-wins-set",
            Self::Multimap => "multimap",
            Self::BoundedCounter => "bounded-counter",
            Self::NestedMap => "nested-map",
            Self::Log => "log",
        }
    }

    /// The engine's tag.
    pub const fn tag(self) -> TypeTag {
        match self {
            Self::LwwRegister => TypeTag::LWW_REGISTER,
            Self::MvRegister => TypeTag::MV_REGISTER,
            Self::EnableFlag => TypeTag::ENABLE_FLAG,
            Self::DisableFlag => TypeTag::DISABLE_FLAG,
            Self::GrowSet => TypeTag::GROW_SET,
            Self::GrowCounter => TypeTag::G_COUNTER,
            Self::MaxRegister => TypeTag::MAX_REGISTER,
            Self::MinRegister => TypeTag::MIN_REGISTER,
            Self::RemoveWinsSet => TypeTag::RW_SET,
            Self::Multimap => TypeTag::MULTIMAP,
            Self::BoundedCounter => TypeTag::BOUNDED_COUNTER,
            Self::NestedMap => TypeTag::OR_MAP,
            Self::Log => TypeTag::LOG,
        }
    }

    /// True if rows of owners may be in it: an owner that two disks have is promised no exact total.
    pub const fn counts(self) -> bool {
        matches!(self, Self::GrowCounter | Self::BoundedCounter | Self::NestedMap)
    }
}

/// A list of names: an element; field and value; in a nested map, name and type for each step (`map`, or
/// `set`, `register`, `counter` for a leaf), then the element of a set.
pub type Place = Vec<Vec<u8>>;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Writes this at the place; flags take `on` and `off`, the remove-wins set `add` and `remove`, extrema a
    /// number as text.
    Write(Vec<u8>),
    /// Counts; below zero, a bounded counter spends.
    Count(i64),
    /// Sends rights of a bounded counter.
    Send {
        /// To whom.
        to: OwnerId,
        /// How many.
        count: u64,
    },
    /// Ends what is seen at every place that begins with this one.
    End,
    /// Of a remove-wins set: a node ended the marks at these places, and the adds beside them, by itself.
    Collect(Vec<Place>),
}

/// One operation.
#[derive(Clone, PartialEq, Eq)]
pub struct Deed {
    /// The type.
    pub on: Typed,
    /// The key.
    pub key: String,
    /// Where.
    pub place: Place,
    /// What.
    pub what: What,
}

impl Deed {
    /// See [`crate::history::Act::may_expire`].
    pub fn may_expire(&self) -> bool {
        match (self.on, &self.what) {
            (Typed::MaxRegister | Typed::MinRegister, _) => false,
            (Typed::RemoveWinsSet, What::Write(value)) => value == b"add",
            (Typed::DisableFlag, What::Write(value)) => value == b"on",
            (_, What::Write(_)) => true,
            (_, What::Count(_) | What::Send { .. } | What::Collect(_) | What::End) => false,
        }
    }
}

impl std::fmt::Debug for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { on, key, place, what } = self;
        let place: Vec<String> = place.iter().map(|name| name.escape_ascii().to_string()).collect();
        write!(f, "{} {key} {}: ", on.name(), place.join("/"))?;
        match what {
            What::Write(value) => write!(f, "write {}", value.escape_ascii()),
            What::Count(by) => write!(f, "count {by}"),
            What::Send { to, count } => write!(f, "send {count} to {to:?}"),
            What::End => write!(f, "end"),
            What::Collect(places) => write!(f, "collect marks at {} places", places.len()),
        }
    }
}

/// The bound of every log.
pub const LOG_BOUND: Bound = Bound { entries: 10, age_ms: 4_000 };

/// The number that `text` says; 0 for other text.
pub fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Asks the engine.
///
/// # Errors
/// A limit was reached, or the rights of a bounded counter do not suffice.
pub fn run(group: &mut Group<'_>, deed: &Deed) -> Result<(), WriteError> {
    let Deed { on, key, place, what } = deed;
    let first = place.first().map_or(&[][..], Vec::as_slice);
    match (on, what) {
        (Typed::LwwRegister, What::Write(value)) => lww_register::set(group, key, value),
        (Typed::LwwRegister, _) => lww_register::clear(group, key).map(drop),
        (Typed::MvRegister, What::Write(value)) => mv_register::set(group, key, value),
        (Typed::MvRegister, _) => mv_register::clear(group, key).map(drop),
        (Typed::EnableFlag, What::Write(_)) => enable_flag::enable(group, key),
        (Typed::EnableFlag, _) => enable_flag::disable(group, key).map(drop),
        (Typed::DisableFlag, What::Write(value)) if value == b"on" => disable_flag::enable(group, key),
        (Typed::DisableFlag, What::Write(_)) => disable_flag::disable(group, key),
        (Typed::DisableFlag, _) => disable_flag::clear(group, key).map(drop),
        (Typed::GrowSet, _) => grow_set::add(group, key, first).map(drop),
        (Typed::GrowCounter, What::Count(by)) => g_counter::add(group, key, by.unsigned_abs()),
        (Typed::GrowCounter, _) => g_counter::reset(group, key).map(drop),
        (Typed::MaxRegister, What::Write(value)) => max_register::write(group, key, number(value)),
        (Typed::MaxRegister, _) => max_register::clear(group, key).map(drop),
        (Typed::MinRegister, What::Write(value)) => min_register::write(group, key, number(value)),
        (Typed::MinRegister, _) => min_register::clear(group, key).map(drop),
        (Typed::RemoveWinsSet, What::Write(value)) if value == b"add" => rw_set::add(group, key, first),
        (Typed::RemoveWinsSet, What::Write(_)) => rw_set::remove(group, key, first).map(drop),
        // Nobody asks for it: nodes do it by themselves.
        (_, What::Collect(_)) => Ok(()),
        (Typed::RemoveWinsSet, _) => rw_set::clear(group, key).map(drop),
        (Typed::Multimap, What::Write(_)) => multimap::add(group, key, first, &place[1]),
        (Typed::Multimap, _) => match place.as_slice() {
            [] => multimap::clear(group, key).map(drop),
            [field] => multimap::remove_field(group, key, field).map(drop),
            [field, value, ..] => multimap::remove(group, key, field, value).map(drop),
        },
        (Typed::BoundedCounter, What::Count(by)) if *by < 0 => {
            bounded_counter::spend(group, key, by.unsigned_abs())
        }
        (Typed::BoundedCounter, What::Count(by)) => bounded_counter::gain(group, key, by.unsigned_abs()),
        (Typed::BoundedCounter, What::Send { to, count }) => bounded_counter::send(group, key, *to, *count),
        (Typed::BoundedCounter, _) => bounded_counter::remove(group, key).map(drop),
        (Typed::NestedMap, what) => nested(group, &Map::at_key(key), place, what),
        (Typed::Log, What::Write(value)) => log::append(group, key, value, LOG_BOUND),
        (Typed::Log, _) => log::clear(group, key).map(drop),
    }
}

fn nested(group: &mut Group<'_>, map: &Map<'_>, place: &[Vec<u8>], what: &What) -> Result<(), WriteError> {
    let [name, rest @ ..] = place else {
        return or_map::clear(group, map).map(drop);
    };
    let Some((kind, rest)) = rest.split_first() else {
        return or_map::remove(group, map, name).map(drop);
    };
    match (kind.as_slice(), what) {
        (b"map", what) => nested(group, &map.map(name), rest, what),
        (b"set", What::Write(_)) => or_set::add(group, map.at(name), &rest[0]),
        (b"register", What::Write(value)) => lww_register::set(group, map.at(name), value),
        (_, What::Count(by)) => pn_counter::add(group, map.at(name), *by),
        _ => Ok(()),
    }
}

/// What the engine shows of the object at `key`, as a list; empty if it shows nothing.
pub fn shown(store: &Store, on: Typed, key: &str) -> Vec<Vec<u8>> {
    let text = |number: Option<i128>| number.map(|number| number.to_string().into_bytes());
    let flag = |on: bool| on.then(|| b"on".to_vec());
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    match on {
        Typed::LwwRegister => owned(lww_register::get(store, key)).into_iter().collect(),
        Typed::MvRegister => mv_register::values(store, key).into_iter().map(<[u8]>::to_vec).collect(),
        Typed::EnableFlag => flag(enable_flag::is_on(store, key)).into_iter().collect(),
        Typed::DisableFlag => flag(disable_flag::is_on(store, key)).into_iter().collect(),
        Typed::GrowSet => grow_set::elements(store, key).map(<[u8]>::to_vec).collect(),
        Typed::GrowCounter => text(g_counter::value(store, key)).into_iter().collect(),
        Typed::MaxRegister => text(max_register::get(store, key).map(i128::from)).into_iter().collect(),
        Typed::MinRegister => text(min_register::get(store, key).map(i128::from)).into_iter().collect(),
        Typed::RemoveWinsSet => rw_set::elements(store, key).map(<[u8]>::to_vec).collect(),
        Typed::Multimap => {
            let mut pairs: Vec<Vec<u8>> =
                multimap::entries(store, key).map(|(field, value)| [field, b"=", value].concat()).collect();
            pairs.sort_unstable();
            pairs
        }
        Typed::BoundedCounter => text(bounded_counter::value(store, key)).into_iter().collect(),
        Typed::NestedMap => {
            let mut leaves = Vec::new();
            shown_map(store, &Map::at_key(key), &[], &mut leaves);
            leaves.sort_unstable();
            leaves
        }
        Typed::Log => {
            let entries = log::entries(store, key, LOG_BOUND);
            entries.into_iter().map(|entry| entry.value.to_vec()).collect()
        }
    }
}

fn shown_map(store: &Store, map: &Map<'_>, before: &[u8], leaves: &mut Vec<Vec<u8>>) {
    for field in or_map::fields(store, map) {
        let way = [before, field.name, b"/"].concat();
        let mut leaf = |text: &[u8]| leaves.push([&way, text].concat());
        match field.ty {
            TypeTag::OR_MAP => shown_map(store, &map.map(field.name), &way, leaves),
            TypeTag::OR_SET => or_set::elements(store, map.at(field.name)).for_each(leaf),
            TypeTag::LWW_REGISTER => leaf(lww_register::get(store, map.at(field.name)).unwrap_or_default()),
            TypeTag::PN_COUNTER => {
                let value = pn_counter::value(store, map.at(field.name));
                leaf(value.unwrap_or_default().to_string().as_bytes());
            }
            _ => leaf(b"a type that nobody wrote"),
        }
    }
}
