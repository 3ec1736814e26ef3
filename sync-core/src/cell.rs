//! Addresses and contents: keys, types, paths, cells, items.
//!
//! Every data type is flattened into cells (DESIGN section 4). An [`ObjectId`] is a key and a type; a
//! [`CellId`] is a path inside an object; an [`Item`] is what one event wrote to a cell. An item never
//! changes: another write is another dot.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::id::Dot;
use crate::mutant::{self, Mutant};
use crate::nested;
use crate::small::Small;
use crate::time::WallMillis;

/// A key of the store: UTF-8 text, ordered by its bytes, cheap to clone.
#[derive(Clone)]
pub struct Key(Arc<str>);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// Most keys that are compared are one key: copies of one of them share its text.

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Which data type an object is: a number on the wire, open for types that this build does not know.
///
/// Objects of an unknown type are stored, relayed and fingerprinted like any other; only reading them
/// needs the type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeTag(pub u8);

impl TypeTag {
    /// Add-wins, observed-remove set.
    pub const OR_SET: Self = Self(1);
    /// Last-writer-wins map that keeps concurrent siblings until the next write.
    pub const LWW_MAP: Self = Self(2);
    /// Counter with increments, decrements and observed reset.
    pub const PN_COUNTER: Self = Self(3);
    /// Register that shows the last write.
    pub const LWW_REGISTER: Self = Self(4);
    /// Register that shows every concurrent write.
    pub const MV_REGISTER: Self = Self(5);
    /// Flag that is on if anyone turned it on and nobody who saw that turned it off.
    pub const ENABLE_FLAG: Self = Self(6);
    /// Flag that is off if anyone turned it off and nobody who saw that turned it on.
    pub const DISABLE_FLAG: Self = Self(7);
    /// Set that only grows.
    pub const GROW_SET: Self = Self(8);
    /// Counter that only grows, but for observed reset.
    pub const G_COUNTER: Self = Self(9);
    /// Register that shows the largest number written.
    pub const MAX_REGISTER: Self = Self(10);
    /// Register that shows the smallest number written.
    pub const MIN_REGISTER: Self = Self(11);
    /// Set whose removes win against concurrent adds.
    pub const RW_SET: Self = Self(12);
    /// Map from fields to add-wins sets.
    pub const MULTIMAP: Self = Self(13);
    /// Counter that never goes below its floor.
    pub const BOUNDED_COUNTER: Self = Self(14);
    /// Map whose fields hold CRDTs of any type, maps too.
    pub const OR_MAP: Self = Self(15);
    /// Log that keeps its newest entries.
    pub const LOG: Self = Self(16);
    /// The first tag for types of applications; those below are for this crate.
    pub const USER_FIRST: u8 = 128;

    /// The type's name for people; `None` for a type that this build does not know.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::OR_SET => Some("set"),
            Self::LWW_MAP => Some("map"),
            Self::PN_COUNTER => Some("counter"),
            Self::LWW_REGISTER => Some("register"),
            Self::MV_REGISTER => Some("multi-register"),
            Self::ENABLE_FLAG => Some("flag"),
            Self::DISABLE_FLAG => Some("disable-flag"),
            Self::GROW_SET => Some("grow-set"),
            Self::G_COUNTER => Some("grow-counter"),
            Self::MAX_REGISTER => Some("max-register"),
            Self::MIN_REGISTER => Some("min-register"),
            Self::RW_SET => Some("remove-wins-set"),
            Self::MULTIMAP => Some("multimap"),
            Self::BOUNDED_COUNTER => Some("bounded-counter"),
            Self::OR_MAP => Some("nested-map"),
            Self::LOG => Some("log"),
            Self(_) => None,
        }
    }

    /// True for the counters that are reset and never killed by a prefix: their cells are rows and floors.
    pub const fn has_rows(self) -> bool {
        matches!(self, Self::PN_COUNTER | Self::G_COUNTER)
    }

    /// True if concurrent writes to one cell contradict each other, so that a reader sees one of them, or all as
    /// alternatives: registers and fields, and elements and flags that a remove or an off wins.
    pub fn has_conflicts(self, path: &[u8]) -> bool {
        match self {
            Self::LWW_MAP | Self::LWW_REGISTER | Self::MV_REGISTER | Self::RW_SET | Self::DISABLE_FLAG => {
                true
            }
            Self::OR_MAP => nested::parse(path).is_some_and(|leaf| leaf.ty.has_conflicts(leaf.rest)),
            Self(_) => false,
        }
    }

    /// True if writes of this type take no expiry: each carries what others wrote, which would go with it.
    pub const fn never_expires(self) -> bool {
        self.has_rows() || matches!(self, Self::BOUNDED_COUNTER | Self::MAX_REGISTER | Self::MIN_REGISTER)
    }

    /// True if a live item at `path` makes an object of this type present.
    ///
    /// Counter floors are not presence: what is left of a reset counter is no counter (DESIGN section
    /// 4), so they do not count against the cap and a key of nothing but floors is absent.
    pub fn is_presence(self, path: &[u8]) -> bool {
        match self {
            ty if ty.has_rows() => path.len() == 16,
            Self::OR_MAP => nested::parse(path).is_none_or(|leaf| leaf.ty.is_presence(leaf.rest)),
            Self(_) => true,
        }
    }
}

impl fmt::Debug for TypeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type{}", self.0),
        }
    }
}

/// A CRDT of a namespace: a key and a type. Two types on one key are two objects and cannot conflict.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId {
    /// The key.
    pub key: Key,
    /// The type, part of the identity.
    pub ty: TypeTag,
}

impl ObjectId {
    /// The object of type `ty` at `key`.
    pub fn new(key: impl Into<Key>, ty: TypeTag) -> Self {
        Self { key: key.into(), ty }
    }
}

/// Where a cell lies inside its object: an element, a field, an owner. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Small);

impl Path {
    /// The path's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Path {
    /// The order of this path and `other`, whose [`prefix`](crate::small::prefix) is `prefix`.
    #[inline]
    pub(crate) fn cmp_bytes(&self, other: &[u8], prefix: u64) -> Ordering {
        self.0.cmp_bytes(other, prefix)
    }
}

impl std::borrow::Borrow<[u8]> for Path {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&[u8]> for Path {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self(Small::from(bytes))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// The full id of a cell. Frames and records carry full ids, never a hash of one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CellId {
    /// The object.
    pub object: ObjectId,
    /// The place inside it.
    pub path: Path,
}

impl CellId {
    /// The cell at `path` of `object`.
    pub fn new(object: ObjectId, path: impl Into<Path>) -> Self {
        Self { object, path: path.into() }
    }
}

/// A half-open range of paths of one object: `from <= path < until`, or up to the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PathRange {
    /// The object.
    pub object: ObjectId,
    /// The first path in the range.
    pub from: Path,
    /// The first path behind the range; `None` reaches to the object's last cell.
    pub until: Option<Path>,
}

impl PathRange {
    /// Every path of `object`.
    pub fn whole(object: ObjectId) -> Self {
        Self { object, from: Path::default(), until: None }
    }

    /// True if `path` lies in the range.
    pub fn contains(&self, path: &Path) -> bool {
        *path >= self.from && self.until.as_ref().is_none_or(|until| path < until)
    }
}

/// The bytes that a write stored: a value in canonical encoding, or nothing (a set element).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Payload(Small);

impl Payload {
    /// The payload's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// True if the write stored nothing but its cell.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl From<&[u8]> for Payload {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self(Small::from(bytes))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// A hybrid logical clock reading in one integer: 48 bits of wall milliseconds, 16 bits of counter.
///
/// A full counter carries into the milliseconds. Kulkarni et al., *Logical Physical Clocks* (2014); we
/// keep the later of both clocks and count on from there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The reading that a wall clock at `wall` gives, with a counter of 0.
    pub const fn from_wall(wall: WallMillis) -> Self {
        Self(wall.0 << 16)
    }

    /// The wall part, in milliseconds since the Unix epoch.
    pub const fn wall(self) -> WallMillis {
        WallMillis(self.0 >> 16)
    }

    /// The reading for a local write at `wall`: after this one, and not before the wall clock.
    #[must_use]
    pub fn tick(self, wall: WallMillis) -> Self {
        if mutant::is(Mutant::ClockStepsBack) {
            return Self::from_wall(wall);
        }
        Self(self.0.saturating_add(1).max(Self::from_wall(wall).0))
    }

    /// This clock after it saw `remote`, pulled ahead of the own wall clock by no more than `drift_ms`.
    ///
    /// A remote reading is never refused: a far-future clock wins only over writes concurrent with it,
    /// since every write that saw it supersedes it (DESIGN section 4).
    #[must_use]
    pub fn observe(self, remote: Self, wall: WallMillis, drift_ms: u64) -> Self {
        if mutant::is(Mutant::ClockUnbounded) {
            return self.max(remote);
        }
        let bound = Self::from_wall(WallMillis(wall.0.saturating_add(drift_ms)));
        self.max(remote.min(bound))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms+{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// What one event wrote to a cell. Immutable: the dot names the content for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The event.
    pub dot: Dot,
    /// When it was written, by the writer's hybrid clock.
    pub hlc: Hlc,
    /// Wall milliseconds at which it dies; 0 means never. Dead once the horizon reaches it.
    pub expires: WallMillis,
    /// The value.
    pub payload: Payload,
}

impl Item {
    /// True if the item is dead at horizon `horizon`.
    pub fn is_expired(&self, horizon: WallMillis) -> bool {
        self.expires.0 != 0 && self.expires <= horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_clock_never_goes_back_and_never_runs_ahead_of_a_poisoned_peer() {
        let wall = WallMillis(1_000);
        let clock = Hlc::default().tick(wall);
        assert_eq!(clock.wall(), wall);
        assert!(clock.tick(WallMillis(5)) > clock, "a wall clock stepped back does not step the clock back");
        let poisoned = clock.observe(Hlc(u64::MAX), wall, 60_000);
        assert_eq!(poisoned.wall(), WallMillis(61_000));
        let full = Hlc((7 << 16) | 0xffff);
        assert_eq!(full.tick(WallMillis(0)), Hlc(8 << 16), "a full counter carries into the milliseconds");
    }
}
