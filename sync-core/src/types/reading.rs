//! What a reader sees at one place, by the rule of its type: the unit of watches.
//!
//! A [`Place`] is the smallest thing that a type reads on its own: an element of a set, a field of a map, a
//! register, a flag, a counter as a whole with all its rows. [`read`] applies the type's own rule there, so a
//! watcher never sees siblings, marks or floors, only what the typed handle would answer.
//!
//! ```
//! use sync_core::types::{lww_map, reading};
//! # use sync_core::{cell::*, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! lww_map::put(&mut group, "user/7", b"name", b"Ada")?;
//! group.commit();
//! let place = reading::Place::of(&ObjectId::new("user/7", TypeTag::LWW_MAP), b"name");
//! assert_eq!(reading::read(&store, &place), reading::Reading::Value(b"Ada"[..].into()));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::{
    At, bounded_counter, disable_flag, enable_flag, g_counter, lww_map, lww_register, max_register,
    min_register, pn_counter, rw_set,
};
use crate::cell::{ObjectId, Path, Payload, TypeTag};
use crate::nested;
use crate::store::{Items, Store};

/// Bytes that a place, its readings and what holds them cost besides names and values, about.
pub const PLACE_OVERHEAD_BYTES: usize = 160;

/// The smallest thing of an object that is read on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The key and type.
    pub object: ObjectId,
    /// The element, field or pair; empty for what is one value; in a nested map behind the steps to the leaf.
    pub path: Path,
}

impl Place {
    /// The place that the cell at `path` of `object` is part of.
    pub fn of(object: &ObjectId, path: &[u8]) -> Self {
        let reach = reach(object.ty, path);
        Self { object: object.clone(), path: Path::from(&path[..reach]) }
    }

    /// True if more cells than one make up the place.
    pub(crate) fn is_shared(&self) -> bool {
        let of_rows = |ty: TypeTag| ty.has_rows() || ty == TypeTag::BOUNDED_COUNTER;
        match self.object.ty {
            TypeTag::OR_MAP => nested::parse(self.path.as_bytes()).is_some_and(|leaf| of_rows(leaf.ty)),
            ty => of_rows(ty),
        }
    }

    /// The type that reads the place: of an object in a nested map, the leaf's.
    pub fn reads_as(&self) -> TypeTag {
        match self.object.ty {
            TypeTag::OR_MAP => nested::parse(self.path.as_bytes()).map_or(TypeTag::OR_MAP, |leaf| leaf.ty),
            ty => ty,
        }
    }
}

/// How much of a cell's path names the place.
fn reach(ty: TypeTag, path: &[u8]) -> usize {
    match ty {
        ty if ty.has_rows() || ty == TypeTag::BOUNDED_COUNTER => 0,
        TypeTag::OR_MAP => nested::parse(path)
            .map_or(path.len(), |leaf| path.len() - leaf.rest.len() + reach(leaf.ty, leaf.rest)),
        TypeTag(_) => path.len(),
    }
}

/// What is read at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Nothing is there.
    #[default]
    Absent,
    /// The element or pair is in the set.
    Present,
    /// The value of a field, a register or a log's entry: of concurrent ones the winner.
    Value(Payload),
    /// Every concurrent value, ascending, each once: of a multi-register, or of a type that this build cannot read.
    Values(Vec<Payload>),
    /// The extremum of a max or min register.
    Number(i64),
    /// The value of a counter.
    Count(i128),
    /// A flag that was touched.
    Flag(bool),
}

impl Reading {
    /// True if nothing is there.
    pub fn is_absent(&self) -> bool {
        *self == Self::Absent
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Value(value) => value.len(),
            Self::Values(values) => values.iter().map(|value| value.len() + size_of::<Payload>()).sum(),
            Self::Absent | Self::Present | Self::Number(_) | Self::Count(_) | Self::Flag(_) => 0,
        }
    }
}

/// What is read at `place`. Costs a look; for a counter a walk over its rows.
pub fn read(store: &Store, place: &Place) -> Reading {
    let Place { object: ObjectId { key, ty }, path } = place;
    let (key, path) = (key.as_str(), path.as_bytes());
    if *ty != TypeTag::OR_MAP {
        return read_at(store, At::from(key), *ty, path);
    }
    let Some(leaf) = nested::parse(path) else { return raw(store.items(key, *ty, path)) };
    let name = leaf.names.last().copied().unwrap_or_default();
    let step = nested::step(&[], name, leaf.ty).len();
    let map = &path[..path.len() - leaf.rest.len() - step];
    read_at(store, At::field(key, map, name), leaf.ty, leaf.rest)
}

fn read_at(store: &Store, at: At<'_>, ty: TypeTag, path: &[u8]) -> Reading {
    let present = |there: bool| if there { Reading::Present } else { Reading::Absent };
    let value = |value: Option<&[u8]>| value.map_or(Reading::Absent, |bytes| Reading::Value(bytes.into()));
    let number = |number: Option<i64>| number.map_or(Reading::Absent, Reading::Number);
    let count = |count: Option<i128>| count.map_or(Reading::Absent, Reading::Count);
    let flag = |on: bool| {
        let is_touched = !at.cells_of(ty).items(store, path).is_empty();
        if is_touched { Reading::Flag(on) } else { Reading::Absent }
    };
    match (ty, path) {
        (TypeTag::OR_SET | TypeTag::GROW_SET | TypeTag::MULTIMAP, _) => {
            present(!at.cells_of(ty).items(store, path).is_empty())
        }
        (TypeTag::RW_SET, _) => present(rw_set::contains(store, at, path)),
        (TypeTag::LWW_MAP, _) => value(lww_map::get(store, at, path)),
        (TypeTag::LWW_REGISTER, []) => value(lww_register::get(store, at)),
        (TypeTag::MV_REGISTER, []) => raw(at.cells_of(ty).items(store, path)),
        (TypeTag::MAX_REGISTER, []) => number(max_register::get(store, at)),
        (TypeTag::MIN_REGISTER, []) => number(min_register::get(store, at)),
        (TypeTag::ENABLE_FLAG, []) => flag(enable_flag::is_on(store, at)),
        (TypeTag::DISABLE_FLAG, []) => flag(disable_flag::is_on(store, at)),
        (TypeTag::PN_COUNTER, []) => count(pn_counter::value(store, at)),
        (TypeTag::G_COUNTER, []) => count(g_counter::value(store, at)),
        (TypeTag::BOUNDED_COUNTER, []) => count(bounded_counter::value(store, at)),
        (TypeTag::LOG, _) => {
            value(at.cells_of(ty).items(store, path).last().map(|item| item.payload.as_bytes()))
        }
        (TypeTag(_), _) => raw(at.cells_of(ty).items(store, path)),
    }
}

fn raw(items: Items<'_>) -> Reading {
    if items.is_empty() {
        return Reading::Absent;
    }
    let mut values: Vec<Payload> = items.iter().map(|item| item.payload.to_payload()).collect();
    values.sort_unstable();
    values.dedup();
    Reading::Values(values)
}
