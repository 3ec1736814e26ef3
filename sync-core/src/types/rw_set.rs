//! Remove-wins set: a remove wins against the adds that are concurrent with it.
//!
//! One cell an element; adds and removes are both writes, `add` and `removed`. An element is present iff a write
//! is live and none says `removed`. An add ends the marks that it saw, so who knows of a remove can add again at
//! once (Baquero et al. 2017, remove-wins set; Bieniusa et al. 2012).
//!
//! A mark is a tombstone and stays until it is *stable*: until every member is known to know it, and all that
//! each of them knew then is known here. After that no add concurrent with it is on its way, and the node ends
//! it with the adds beside it (docs/crdt.md). An element that is only marked counts as a cell of the set.
//!
//! ```
//! use sync_core::types::rw_set;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! rw_set::add(&mut group, "allowed", b"ada")?;
//! rw_set::remove(&mut group, "allowed", b"ada")?;
//! group.commit();
//! assert!(!rw_set::contains(&store, "allowed", b"ada"));
//! assert_eq!(rw_set::marks(&store, "allowed"), 1);
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::{At, Spot, dots_of};
use crate::cell::{ObjectId, Path, TypeTag};
use crate::error::WriteError;
use crate::id::Dot;
use crate::mutant::{self, Mutant};
use crate::nested;
use crate::store::{Group, ItemRef, Items, Store};

const TYPE: TypeTag = TypeTag::RW_SET;
/// The payload of a remove.
pub const REMOVED: &[u8] = &[0];
/// The payload of an add.
pub const ADDED: &[u8] = &[1];

fn is_mark(item: ItemRef<'_>) -> bool {
    item.payload.as_bytes() != ADDED
}

fn is_present(items: Items<'_>) -> bool {
    if mutant::is(Mutant::RemoveLoses) {
        return items.iter().any(|item| !is_mark(item));
    }
    !items.is_empty() && !items.iter().any(is_mark)
}

/// Adds `element`, unless someone removes it concurrently.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn add<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, element: &[u8]) -> Result<(), WriteError> {
    at.into().cells_of(TYPE).put(group, element, ADDED).map(drop)
}

/// Removes `element`; false if it was absent, and then too a mark is written, which wins against adds that this
/// replica has not seen.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn remove<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, element: &[u8]) -> Result<bool, WriteError> {
    let cells = at.into().cells_of(TYPE);
    let present = is_present(cells.items(group.store(), element));
    // A mark that expired would let adds through that it has won against.
    group.lasting(|group| cells.put(group, element, REMOVED)).map(|_| present)
}

/// Forgets all that this replica has seen of the set, marks too, by one event; returns how many elements it
/// had or had marked. Adds concurrent with it survive: to win against them, remove each element.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    at.into().cells_of(TYPE).clear(group)
}

/// Ends the marks for which `is_stable` says so, with every add beside them, by one event; returns how many.
///
/// A node does this by itself, once in a while (`node::stable`). `is_stable(dot)` must hold only if for each member
/// a context of that member is known which holds `dot`, and all of that context is known here. If it says so too
/// early, an add that had not seen the remove comes back.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn collect<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    is_stable: impl Fn(Dot) -> bool,
) -> Result<u64, WriteError> {
    collect_in(group, &at.into().cells_of(TYPE), usize::MAX, is_stable).map(|ended| ended.marks)
}

/// What [`MarkedSet::collect`] ended, all by one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many marks.
    pub marks: u64,
    /// The cells in which they were, ascending.
    pub paths: Vec<Path>,
}

/// A set that holds marks, wherever it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedSet {
    object: ObjectId,
    /// Where the set's own paths begin.
    prefix: Vec<u8>,
}

impl MarkedSet {
    /// The key and type below which it lies: its own, or those of the map around it.
    pub fn object(&self) -> &ObjectId {
        &self.object
    }

    /// [`collect`], in at most `cells_max` cells, so that one event stays small.
    ///
    /// # Errors
    /// A limit was reached; nothing changed then.
    pub fn collect(
        &self,
        group: &mut Group<'_>,
        cells_max: usize,
        is_stable: impl Fn(Dot) -> bool,
    ) -> Result<Collected, WriteError> {
        let cells = Spot::under(self.object.key.as_str(), self.object.ty, self.prefix.clone());
        collect_in(group, &cells, cells_max, is_stable)
    }
}

/// Every set that holds marks, ascending. Costs a walk over all remove-wins sets and nested maps.
pub fn marked_sets(store: &Store) -> Vec<MarkedSet> {
    let mut found: Vec<MarkedSet> = Vec::new();
    for object in store.objects("").map(|info| info.object) {
        if object.ty != TYPE && object.ty != TypeTag::OR_MAP {
            continue;
        }
        for (path, items) in store.cells(object.key.as_str(), object.ty) {
            let prefix = if object.ty == TYPE { Some(&[][..]) } else { leaf_prefix(path) };
            let Some(prefix) = prefix.filter(|_| items.iter().any(is_mark)) else { continue };
            let known = found.last().is_some_and(|last| last.object == object && last.prefix == prefix);
            if !known {
                found.push(MarkedSet { object: object.clone(), prefix: prefix.to_vec() });
            }
        }
    }
    found
}

/// The part of a nested map's path that leads to a set of this type; `None` if it leads elsewhere.
fn leaf_prefix(path: &[u8]) -> Option<&[u8]> {
    let parts = nested::parse(path).filter(|parts| parts.ty == TYPE)?;
    Some(&path[..path.len() - parts.rest.len()])
}

fn collect_in(
    group: &mut Group<'_>,
    cells: &Spot<'_>,
    cells_max: usize,
    is_stable: impl Fn(Dot) -> bool,
) -> Result<Collected, WriteError> {
    let (mut ended, mut collected) = (Vec::new(), Collected::default());
    for (path, items) in cells.cells(group.store()) {
        if collected.paths.len() == cells_max {
            break;
        }
        let marked = items.iter().filter(|item| is_mark(*item)).count();
        if marked > 0 && items.iter().filter(|item| is_mark(*item)).all(|item| is_stable(item.dot)) {
            ended.extend(dots_of(items));
            collected.marks += marked as u64;
            collected.paths.push(cells.cell(path).path);
        }
    }
    if !ended.is_empty() {
        group.remove(&ended)?;
    }
    Ok(collected)
}

/// True if `element` is present.
pub fn contains<'k>(store: &Store, at: impl Into<At<'k>>, element: &[u8]) -> bool {
    is_present(at.into().cells_of(TYPE).items(store, element))
}

/// The elements present, ascending by their bytes.
pub fn elements<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>) -> impl Iterator<Item = &'s [u8]> {
    let cells = at.into().cells_of(TYPE).cells(store);
    cells.filter(|(_, items)| is_present(*items)).map(|(path, _)| path)
}

/// Number of elements present. Costs a walk, since marked ones are cells too.
pub fn len<'k>(store: &Store, at: impl Into<At<'k>>) -> u64 {
    elements(store, at).count() as u64
}

/// Number of marks that are kept.
pub fn marks<'k>(store: &Store, at: impl Into<At<'k>>) -> u64 {
    let cells = at.into().cells_of(TYPE).cells(store);
    cells.map(|(_, items)| items.iter().filter(|item| is_mark(*item)).count() as u64).sum()
}
