//! What a comparison of two nodes asks of each: pages of objects with their fingerprints, then ranges of
//! cells, then the cells.
//!
//! Every page is one step under the lock and bounded in cells and bytes, whatever is stored. Pages of a node
//! that takes writes are of different moments; each tells its [`Moment`], and who compares asks for
//! the causal context before and after.

use serde::{Deserialize, Serialize};
use sync_core::cell::{Key, ObjectId, TypeTag};
use sync_core::id::NamespaceId;
use sync_core::store::{ItemRef, Items};

use super::shown::{shown_path, shown_payload};
use super::{Column, Shown, hex, type_name};
use crate::node::Shared;

/// Most objects of one page.
pub(crate) const OBJECTS_MAX: usize = 1_000;

/// Most cells hashed for one page or range; an object with more has no fingerprint of its own and is compared
/// by ranges. A few milliseconds of hashing.
pub(crate) const HASHED_MAX: u64 = 16_384;

/// Most cells, and about the most bytes of keys and payloads, of one page of cells. The first cell always
/// fits.
pub(crate) const CELLS_MAX: usize = 1_000;
const CELL_BYTES_MAX: usize = 256 << 10;

/// Most bytes of a payload that are shown; its digest tells the rest.
const PAYLOAD_SHOWN_MAX: usize = 256;

/// When something was read: a log that has not moved on is a context that has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The replica id of the node's life, in hex.
    pub replica: String,
    /// Position of the newest entry of its log.
    pub log_head: u64,
}

/// What a node knows, by its own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knowledge {
    /// The node id, in hex.
    pub node: String,
    /// The name in its certificate.
    pub name: String,
    /// The cluster label.
    pub cluster: String,
    /// When this was read.
    pub at: Moment,
    /// The expiry horizon in milliseconds since 1970; 0 if nothing ever expired.
    pub horizon_ms: u64,
    /// The causal context.
    pub context: Vec<Column>,
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// The key.
    pub key: String,
    /// The type's number on the wire.
    pub tag: u8,
}

impl From<&ObjectName> for ObjectId {
    fn from(name: &ObjectName) -> Self {
        Self { key: Key::from(name.key.as_str()), ty: TypeTag(name.tag) }
    }
}

/// One object and what it holds, as a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDigest {
    /// Key and type.
    #[serde(flatten)]
    pub name: ObjectName,
    /// The type's name.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its cells.
    pub cells: u64,
    /// Hash of its cells and their items, in hex; `None` if there are too many to hash at once.
    pub fingerprint: Option<String>,
}

/// Objects in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPage {
    /// When it was read.
    pub at: Moment,
    /// The objects.
    pub objects: Vec<ObjectDigest>,
    /// True if more follow behind the last.
    pub more: bool,
}

/// Some cells of one object as a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeDigest {
    /// When it was read.
    pub at: Moment,
    /// Hash of the cells and their items, in hex.
    pub fingerprint: String,
    /// How many cells these are.
    pub cells: u64,
    /// The path of the last of them, in hex.
    pub last: Option<String>,
    /// True if the range was too long: the hash ends at `last`.
    pub cut: bool,
}

/// Cells in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellPage {
    /// When it was read.
    pub at: Moment,
    /// The cells.
    pub cells: Vec<CellDigest>,
    /// True if more of the range follow behind the last.
    pub more: bool,
}

/// One cell with its live items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellDigest {
    /// Its path, in hex: the order of cells.
    pub path: String,
    /// The element, the field, or the short id of the counter's owner.
    pub shown: Shown,
    /// Its live items by event; several are concurrent writes.
    pub items: Vec<ItemDigest>,
}

/// One live item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemDigest {
    /// The replica that wrote it, in hex.
    pub replica: String,
    /// The number of the event there.
    pub seq: u64,
    /// The writer's hybrid clock: milliseconds since 1970 times 65,536, plus a counter.
    pub hlc: u64,
    /// When it expires, in milliseconds since 1970; 0 means never.
    pub expires_ms: u64,
    /// BLAKE3 of the payload, in hex.
    pub digest: String,
    /// The value; of a long one the beginning.
    pub payload: Shown,
}

/// A stretch of one object's paths: `after < path <= until`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) until: Option<Vec<u8>>,
}

/// See [`crate::Node::knowledge`].
pub(crate) fn knowledge(shared: &Shared, namespace: NamespaceId) -> Knowledge {
    let core = shared.core();
    let store = shared.store(&core, namespace);
    Knowledge {
        node: shared.id.to_hex(),
        name: shared.name.clone(),
        cluster: shared.cluster.clone(),
        at: moment(shared, &core, namespace),
        horizon_ms: store.horizon().0,
        context: store
            .context()
            .columns()
            .map(|(id, known)| Column { replica: id.to_hex(), known })
            .collect(),
    }
}

fn moment(shared: &Shared, core: &sync_core::node::Node, namespace: NamespaceId) -> Moment {
    Moment { replica: core.replica().to_hex(), log_head: shared.store(core, namespace).log_head() }
}

/// One page of objects behind `after`.
pub(crate) fn objects(shared: &Shared, namespace: NamespaceId, after: Option<&ObjectName>) -> ObjectPage {
    let core = shared.core();
    let store = shared.store(&core, namespace);
    let after = after.map(ObjectId::from);
    let (mut page, mut hashed) = (Vec::new(), 0);
    let mut rest = store.objects_after(after.as_ref()).peekable();
    while let Some(object) = rest.next_if(|_| page.len() < OBJECTS_MAX && hashed < HASHED_MAX) {
        let cells = store.cell_count(object.key.as_str(), object.ty);
        let range = store.range_fingerprint(&object, None, None, HASHED_MAX);
        hashed += range.cells;
        page.push(ObjectDigest {
            ty: type_name(shared, object.ty),
            name: ObjectName { key: object.key.as_str().to_owned(), tag: object.ty.0 },
            cells,
            fingerprint: (!range.is_cut).then(|| hex(&range.fingerprint.0)),
        });
    }
    ObjectPage { at: moment(shared, &core, namespace), more: rest.peek().is_some(), objects: page }
}

/// The fingerprint of a stretch of one object, cut after `cells_max` cells.
pub(crate) fn range(
    shared: &Shared,
    namespace: NamespaceId,
    name: &ObjectName,
    stretch: &Stretch,
    cells_max: u64,
) -> RangeDigest {
    let core = shared.core();
    let (after, until) = (stretch.after.as_deref(), stretch.until.as_deref());
    let range = shared.store(&core, namespace).range_fingerprint(
        &ObjectId::from(name),
        after,
        until,
        cells_max.clamp(1, HASHED_MAX),
    );
    RangeDigest {
        at: moment(shared, &core, namespace),
        fingerprint: hex(&range.fingerprint.0),
        cells: range.cells,
        last: range.last.map(|path| hex(path.as_bytes())),
        cut: range.is_cut,
    }
}

/// One page of the cells of a stretch.
pub(crate) fn cells(
    shared: &Shared,
    namespace: NamespaceId,
    name: &ObjectName,
    stretch: &Stretch,
) -> CellPage {
    let core = shared.core();
    let (object, mut bytes) = (ObjectId::from(name), 0);
    let (after, until) = (stretch.after.as_deref(), stretch.until.as_deref());
    let mut rest = shared.store(&core, namespace).cells_between(&object, after, until).peekable();
    let mut page = Vec::new();
    while let Some((path, items)) = rest.next_if(|_| page.len() < CELLS_MAX && bytes < CELL_BYTES_MAX) {
        let cell = cell(object.ty, path, items);
        bytes += path.len() + items.len() * PAYLOAD_SHOWN_MAX;
        page.push(cell);
    }
    CellPage { at: moment(shared, &core, namespace), more: rest.peek().is_some(), cells: page }
}

fn cell(ty: TypeTag, path: &[u8], items: Items<'_>) -> CellDigest {
    let item = |item: ItemRef<'_>| {
        let payload = item.payload.as_bytes();
        ItemDigest {
            replica: item.dot.replica.to_hex(),
            seq: item.dot.seq,
            hlc: item.hlc.0,
            expires_ms: item.expires.0,
            digest: blake3::hash(payload).to_hex().to_string(),
            payload: shorten(shown_payload(ty, path, payload)),
        }
    };
    CellDigest { path: hex(path), shown: shown_path(ty, path), items: items.iter().map(item).collect() }
}

fn shorten(shown: Shown) -> Shown {
    let cut = |mut text: String, max: usize| {
        if text.len() > max {
            text.truncate(text.floor_char_boundary(max));
            text.push('…');
        }
        text
    };
    match shown {
        Shown::Text(text) => Shown::Text(cut(text, PAYLOAD_SHOWN_MAX)),
        Shown::Hex(digits) => Shown::Hex(cut(digits, 2 * PAYLOAD_SHOWN_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_shown_by_its_beginning_and_cut_between_characters() {
        assert_eq!(shorten(Shown::Text("tea".to_owned())), Shown::Text("tea".to_owned()));
        let Shown::Text(cut) = shorten(Shown::Text("é".repeat(200))) else { panic!("text stays text") };
        assert_eq!(cut.chars().count(), 129);
        let Shown::Hex(cut) = shorten(Shown::Hex("ab".repeat(300))) else { panic!("hex stays hex") };
        assert_eq!(cut, format!("{}…", "ab".repeat(256)));
    }
}
