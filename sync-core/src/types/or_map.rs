//! OR-map: fields that hold CRDTs of any type, maps too, with observed remove.
//!
//! A map has no cells of its own: its fields' cells lie below paths of names and types ([`crate::nested`]), and
//! a field or a sub-map is there iff one of them is live. So an inner write makes the way to it, a remove ends
//! what it saw below and no more, concurrent inner writes survive alone, and what was removed can be made
//! again at once. Two types under one name are two fields (Baquero et al. 2016, delta-state maps; the flat
//! layout is ours, DESIGN section 4).
//!
//! Counters below a removed field are reset, never killed: increments that the remove had not seen survive
//! exactly. Bounded counters cannot be nested. How deep fields may lie is
//! [`Limits::map_depth_max`](crate::limits::Limits::map_depth_max).
//!
//! ```
//! use sync_core::types::{lww_register, or_map::{self, Map}, pn_counter};
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! let user = Map::at_key("user/7");
//! let address = user.map(b"address");
//! lww_register::set(&mut group, address.at(b"city"), b"London")?;
//! pn_counter::add(&mut group, user.at(b"logins"), 1)?;
//! group.commit();
//! assert_eq!(lww_register::get(&store, address.at(b"city")), Some(&b"London"[..]));
//! assert_eq!(or_map::fields(&store, &user).len(), 2);
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use std::collections::BTreeSet;

use super::{At, Spot, counter};
use crate::cell::TypeTag;
use crate::error::WriteError;
use crate::mutant::{self, Mutant};
use crate::nested;
use crate::store::{Group, Store};

const TYPE: TypeTag = TypeTag::OR_MAP;

/// A map: at a key, or in another map. A name only: it is there once something lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<'a> {
    key: &'a str,
    prefix: Vec<u8>,
}

impl<'a> Map<'a> {
    /// The map at `key`.
    pub fn at_key(key: &'a str) -> Self {
        Self { key, prefix: Vec::new() }
    }

    /// The map at a place of any kind.
    pub fn at_place(at: At<'a>) -> Self {
        let (key, prefix) = at.map_prefix();
        Self { key, prefix }
    }

    pub(super) fn under(key: &'a str, prefix: &[u8]) -> Self {
        Self { key, prefix: prefix.to_vec() }
    }

    /// The map in the field `name`.
    #[must_use]
    pub fn map(&self, name: &[u8]) -> Self {
        Self { key: self.key, prefix: nested::step(&self.prefix, name, TYPE) }
    }

    /// The place of a CRDT in the field `name`, for the functions of its type.
    pub fn at<'m>(&'m self, name: &'m [u8]) -> At<'m> {
        At::field(self.key, &self.prefix, name)
    }

    fn below(&self, prefix: Vec<u8>) -> Spot<'a> {
        Spot::under(self.key, TYPE, prefix)
    }
}

/// A field of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field<'s> {
    /// Its name.
    pub name: &'s [u8],
    /// What it holds; [`TypeTag::OR_MAP`] for a map.
    pub ty: TypeTag,
}

/// The fields of `map`, by length of the name, name and type. Costs a walk over all that lies below.
pub fn fields<'s>(store: &'s Store, map: &Map<'_>) -> Vec<Field<'s>> {
    let mut fields: Vec<Field<'s>> = Vec::new();
    for (path, _) in map.below(map.prefix.clone()).cells(store) {
        let Some((name, ty, _)) = nested::first(path) else { continue };
        let there = !ty.has_rows() || nested::parse(path).is_some_and(|leaf| ty.is_presence(leaf.rest));
        let there = there && (ty != TYPE || TYPE.is_presence(path));
        let field = Field { name, ty };
        if there && fields.last() != Some(&field) {
            fields.push(field);
        }
    }
    fields
}

/// True if `map` has a field `name` of any type.
pub fn contains(store: &Store, map: &Map<'_>, name: &[u8]) -> bool {
    let below = map.below(nested::field(&map.prefix, name));
    below.cells(store).any(|(rest, _)| {
        // The path begins with the type here: an empty name in front makes it one of a map's again.
        TYPE.is_presence(&[&[0], rest].concat())
    })
}

/// Removes the field `name`, whatever its types, as far as this replica has seen it; returns how many cells
/// that ended. Concurrent writes inside survive.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn remove(group: &mut Group<'_>, map: &Map<'_>, name: &[u8]) -> Result<u64, WriteError> {
    end(group, map.key, &nested::field(&map.prefix, name))
}

/// Removes every field of `map` as far as this replica has seen them; returns how many cells that ended.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear(group: &mut Group<'_>, map: &Map<'_>) -> Result<u64, WriteError> {
    end(group, map.key, &map.prefix)
}

/// Ends all that is seen below `prefix`: by one event if no counter lies there; else counters are reset, and
/// the runs of cells between them end by an event each.
fn end(group: &mut Group<'_>, key: &str, prefix: &[u8]) -> Result<u64, WriteError> {
    let all = Spot::under(key, TYPE, prefix.to_vec());
    let mut counters: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut runs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let (mut ended, mut in_run) = (0, false);
    for (path, _) in group.store().cells_under(key, TYPE, prefix) {
        let leaf = nested::parse(path).filter(|leaf| leaf.ty.has_rows());
        match leaf.filter(|_| !mutant::is(Mutant::MapRemoveKillsCounters)) {
            Some(leaf) => {
                ended += u64::from(leaf.ty.is_presence(leaf.rest));
                counters.insert(path[..path.len() - leaf.rest.len()].to_vec());
                in_run = false;
            }
            None => {
                ended += 1;
                match runs.last_mut().filter(|_| in_run) {
                    Some((_, last)) => *last = path.to_vec(),
                    None => runs.push((path.to_vec(), path.to_vec())),
                }
                in_run = true;
            }
        }
    }
    if counters.is_empty() {
        group.remove_range(all.range(&[]))?;
        return Ok(ended);
    }
    let whole = Spot::under(key, TYPE, Vec::new());
    for (first, mut last) in runs {
        // The first path behind the run's last one.
        last.push(0);
        group.remove_range(whole.range_between(&first, &last))?;
    }
    for counter in counters {
        counter::reset(group, &Spot::under(key, TYPE, counter))?;
    }
    Ok(ended)
}
