//! Where a CRDT lies: at a key of its own, or at a field of a nested map.
//!
//! Every function of the data types takes an [`At`]. Below it the types know only the paths of their own
//! cells; what comes before these paths in a nested map is added here.

use super::dots_of;
use super::or_map::Map;
use crate::cell::{CellId, ObjectId, Path, PathRange, TypeTag};
use crate::error::WriteError;
use crate::id::Dot;
use crate::nested;
use crate::store::{Group, Items, Seek, Store};

/// A place for a CRDT of any type. A key is one; so is [`Map::at`](super::or_map::Map::at).
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    key: &'a str,
    /// The path of the map around it and the name there.
    field: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> At<'a> {
    pub(crate) fn field(key: &'a str, map: &'a [u8], name: &'a [u8]) -> Self {
        Self { key, field: Some((map, name)) }
    }

    /// The key, and what comes before the paths of a nested map here.
    pub(crate) fn map_prefix(self) -> (&'a str, Vec<u8>) {
        let prefix = self.field.map(|(map, name)| nested::step(map, name, TypeTag::OR_MAP));
        (self.key, prefix.unwrap_or_default())
    }

    pub(super) fn as_key(self) -> &'a str {
        self.key
    }

    /// The map around this place and the name there; `None` at a key of its own.
    pub(super) fn in_map(self) -> Option<(Map<'a>, &'a [u8])> {
        self.field.map(|(map, name)| (Map::under(self.key, map), name))
    }

    /// The cells of the CRDT of type `ty` here.
    pub fn cells_of(self, ty: TypeTag) -> Spot<'a> {
        match self.field {
            None => Spot { key: self.key, ty, prefix: Vec::new() },
            Some((map, name)) => {
                Spot { key: self.key, ty: TypeTag::OR_MAP, prefix: nested::step(map, name, ty) }
            }
        }
    }
}

impl<'a> From<&'a str> for At<'a> {
    fn from(key: &'a str) -> Self {
        Self { key, field: None }
    }
}

impl<'a> From<&'a String> for At<'a> {
    fn from(key: &'a String) -> Self {
        Self { key, field: None }
    }
}

impl<'a> From<&'a Box<str>> for At<'a> {
    fn from(key: &'a Box<str>) -> Self {
        Self { key, field: None }
    }
}

impl<'a> From<&&'a str> for At<'a> {
    fn from(key: &&'a str) -> Self {
        Self { key, field: None }
    }
}

/// The cells of one CRDT. Paths are those of its type, wherever it lies.
#[derive(Clone, Debug)]
pub struct Spot<'a> {
    key: &'a str,
    ty: TypeTag,
    /// What comes before the type's own paths; empty at a key of its own.
    prefix: Vec<u8>,
}

impl<'a> Spot<'a> {
    pub(crate) fn under(key: &'a str, ty: TypeTag, prefix: Vec<u8>) -> Self {
        Self { key, ty, prefix }
    }

    fn path(&self, path: &[u8]) -> Path {
        Path::from([&self.prefix, path].concat().as_slice())
    }

    /// The full id of the cell at `path`.
    pub fn cell(&self, path: &[u8]) -> CellId {
        let path = if self.prefix.is_empty() { Path::from(path) } else { self.path(path) };
        CellId::new(ObjectId::new(self.key, self.ty), path)
    }

    /// The live items of the cell at `path`, ascending by dot; empty if there are none.
    pub fn items<'s>(&self, store: &'s Store, path: &[u8]) -> Items<'s> {
        if self.prefix.is_empty() {
            return store.items(self.key, self.ty, path);
        }
        store.items(self.key, self.ty, &[&self.prefix, path].concat())
    }

    /// The live cells, ascending by path, each with its live items, ascending by dot.
    pub fn cells<'s>(&self, store: &'s Store) -> impl Iterator<Item = (&'s [u8], Items<'s>)> + use<'s> {
        let skipped = self.prefix.len();
        let cells = store.cells_under(self.key, self.ty, &self.prefix);
        cells.map(move |(path, items)| (&path[skipped..], items))
    }

    /// Number of live cells. Costs a look at a key of its own, and a walk in a nested map.
    pub fn cell_count(&self, store: &Store) -> u64 {
        if self.prefix.is_empty() {
            return store.cell_count(self.key, self.ty);
        }
        self.cells(store).count() as u64
    }

    /// True if no cell is live.
    pub fn is_empty(&self, store: &Store) -> bool {
        self.cells(store).next().is_none()
    }

    /// All paths below `path`, to be removed by one event.
    pub fn range(&self, path: &[u8]) -> PathRange {
        let from = self.path(path);
        let until = behind(from.as_bytes()).map(|until| Path::from(until.as_slice()));
        PathRange { object: ObjectId::new(self.key, self.ty), from, until }
    }

    /// The cells whose paths start with `path`; their own paths begin behind it.
    pub fn below(&self, path: &[u8]) -> Self {
        Self { prefix: [&self.prefix, path].concat(), ..self.clone() }
    }

    /// The paths from `from` up to and without `until`, to be removed by one event.
    pub fn range_between(&self, from: &[u8], until: &[u8]) -> PathRange {
        let object = ObjectId::new(self.key, self.ty);
        PathRange { object, from: self.path(from), until: Some(self.path(until)) }
    }

    /// All paths up to and without `until`, to be removed by one event.
    pub fn range_until(&self, until: &[u8]) -> PathRange {
        self.range_between(&[], until)
    }

    /// Writes `payload` to the cell at `path` and ends the writes seen there.
    ///
    /// # Errors
    /// A limit was reached or a length is too large; nothing changed then.
    pub fn put(&self, group: &mut Group<'_>, path: &[u8], payload: &[u8]) -> Result<Dot, WriteError> {
        let seek = self.seek(group.store(), path);
        self.put_at(seek, group, path, payload, &[])
    }

    /// Looks for the cell at `path`.
    pub(crate) fn seek(&self, store: &Store, path: &[u8]) -> Seek {
        if self.prefix.is_empty() {
            return store.seek(self.key, self.ty, path);
        }
        store.seek(self.key, self.ty, &[&self.prefix, path].concat())
    }

    /// As [`Self::put`] to the cell that `seek` looked for, and ends `kills`, which are seen in other cells.
    pub(crate) fn put_at(
        &self,
        seek: Seek,
        group: &mut Group<'_>,
        path: &[u8],
        payload: &[u8],
        kills: &[Dot],
    ) -> Result<Dot, WriteError> {
        if self.prefix.is_empty() {
            return group.put(seek, (self.key, self.ty, path), payload, kills);
        }
        group.put(seek, (self.key, self.ty, &[&self.prefix, path].concat()), payload, kills)
    }

    /// Ends the writes seen at `path`; false if there are none, and then nothing is minted.
    ///
    /// # Errors
    /// A limit was reached; nothing changed then.
    pub fn end(&self, group: &mut Group<'_>, path: &[u8]) -> Result<bool, WriteError> {
        let seen = dots_of(self.items(group.store(), path));
        if seen.is_empty() {
            return Ok(false);
        }
        group.remove(&seen).map(|_| true)
    }

    /// Ends everything seen, by one event; returns how many cells that were. Not for counters.
    ///
    /// # Errors
    /// A limit was reached; nothing changed then.
    pub fn clear(&self, group: &mut Group<'_>) -> Result<u64, WriteError> {
        let count = self.cell_count(group.store());
        group.remove_range(self.range(&[])).map(|_| count)
    }
}

/// The first bytes behind all that start with `prefix`; `None` if nothing is.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut until = prefix[..=last].to_vec();
    until[last] += 1;
    Some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_the_prefix_does() {
        let range = At::from("k").cells_of(TypeTag::OR_SET).range(&[7, 0xff]);
        for (path, inside) in [(&[7, 0xff][..], true), (&[7, 0xff, 0xff], true), (&[8], false), (&[7], false)]
        {
            assert_eq!(range.contains(&Path::from(path)), inside, "{path:?}");
        }
        assert_eq!(behind(&[0xff, 0xff]), None, "nothing is behind the last bytes");
    }
}
