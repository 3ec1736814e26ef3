//! What can go wrong, sorted by who must act.
//!
//! [`WriteError`] is for the caller of a write: its own mistake, or a limit that it reached.
//! [`FrameError`] is about bytes from a peer. A broken invariant of ours is a panic whose message says
//! why it was thought to hold; it is never one of these.

use crate::cell::{Key, TypeTag};
use crate::dictionary::{BaseId, Versions};
use crate::id::{Dot, NamespaceId, OwnerId, ReplicaId};

/// Why a local write did not happen. In every case nothing was minted and no state changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Limit reached: the namespace already holds as many CRDTs as it may.
    #[error("the store is full: {count} CRDTs of at most {max}; remove some, or raise crdts_max")]
    Full {
        /// CRDTs held now.
        count: u64,
        /// The limit.
        max: u64,
    },
    /// Limit reached: the write would grow the namespace beyond its bytes.
    #[error(
        "the store is full: {bytes} bytes and {more} more exceed {max}; remove data, or raise store_bytes_max"
    )]
    StoreBytes {
        /// Accounted bytes held now.
        bytes: u64,
        /// What the write would add.
        more: u64,
        /// The limit.
        max: u64,
    },
    /// Environment: the disk takes no more, so writes that grow the store are refused. Removes pass.
    #[error(
        "the disk takes no more: {more} bytes would be added; removes pass, and all else once the disk has room and works"
    )]
    NoGrowth {
        /// What the write would add.
        more: u64,
    },
    /// Operator: the state came from a damaged disk, and what is missing is not known; see
    /// [`Node::set_damaged`](crate::node::Node::set_damaged).
    #[error(
        "this node's store was damaged on the disk and can only be read; an operator must accept the loss first"
    )]
    Damaged,
    /// Limit reached: the CRDT already has as many cells as one may.
    #[error(
        "{key:?} is full: {cells} elements or fields of at most {max}; remove some, spread them over more keys, or \
         raise crdt_cells_max", key = key.as_str()
    )]
    CrdtCells {
        /// The key.
        key: Key,
        /// Cells it has now.
        cells: u64,
        /// The limit.
        max: u64,
    },
    /// Limit reached: the write would grow the CRDT beyond its bytes.
    #[error(
        "{key:?} is full: {bytes} bytes and {more} more exceed {max}; remove data, spread it over more keys, or \
         raise crdt_bytes_max", key = key.as_str()
    )]
    CrdtBytes {
        /// The key.
        key: Key,
        /// Accounted bytes it has now.
        bytes: u64,
        /// What the write would add.
        more: u64,
        /// The limit.
        max: u64,
    },
    /// Caller: the key is longer than a key may be.
    #[error("a key of {len} bytes exceeds the limit of {max}")]
    KeyTooLong {
        /// Bytes given.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Caller: the element or field is longer than a path may be.
    #[error("an element or field of {len} bytes exceeds the limit of {max}")]
    PathTooLong {
        /// Bytes given.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Caller: the value is longer than a value may be.
    #[error("a value of {len} bytes exceeds the limit of {max}")]
    ValueTooLong {
        /// Bytes given.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Caller: the group holds more bytes than one group may.
    #[error("a group of {len} bytes exceeds the limit of {max}; split it")]
    GroupTooLarge {
        /// Bytes of keys, paths and payloads in the group.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Caller: the counter's own contribution would leave the range of a 64-bit count.
    #[error("adding {by} to a contribution of {from} leaves the range of a 64-bit counter")]
    CounterRange {
        /// The contribution before.
        from: u64,
        /// What was to be added.
        by: u64,
    },
    /// Caller: the place in a nested map has more names than it may.
    #[error("a place {depth} names deep in a nested map exceeds the limit of {max}")]
    TooDeep {
        /// Names on the way, the leaf's among them.
        depth: usize,
        /// The limit.
        max: usize,
    },
    /// Caller: the path is none of a nested map.
    #[error("the path is none of a nested map; use or_map::Map::at")]
    NoPlace,
    /// Caller: this type has no place in a nested map.
    #[error("a {ty:?} cannot lie in a nested map; give it a key of its own")]
    NotNested {
        /// The type.
        ty: TypeTag,
    },
    /// Caller: this owner holds fewer rights of a bounded counter than it wants to spend or send.
    #[error("owner {owner:?} holds {held} rights and needs {needed}; ask others to send some")]
    Rights {
        /// The owner.
        owner: OwnerId,
        /// Rights held, as far as this replica knows.
        held: u64,
        /// Rights needed.
        needed: u64,
    },
    /// Caller: others hold or may hold rights of the bounded counter, so that removing it could bring it
    /// below its floor.
    #[error("the bounded counter cannot be removed: {rows} rows of others, {sent} rights sent away")]
    RightsOut {
        /// Rows of other owners.
        rows: u64,
        /// Rights that this owner has sent to others.
        sent: u64,
    },
    /// Caller: the write would be dead already. Times are compared with the later of this node's wall clock and
    /// the horizon, which has killed what expires up to it.
    #[error(
        "a write that expires at {expires_ms} ms is dead already: it is {now_ms} ms; choose a later time"
    )]
    AlreadyExpired {
        /// When it was to expire, in milliseconds since 1970.
        expires_ms: u64,
        /// The later of clock and horizon.
        now_ms: u64,
    },
    /// Caller: what this type holds is the sum or the extremum of all writes, which none can leave.
    #[error("a {ty:?} cannot expire; remove or reset it when its time has come")]
    NeverExpires {
        /// The type.
        ty: TypeTag,
    },
    /// Caller: no such namespace is open here.
    #[error("namespace {namespace:?} is not open on this node")]
    NoNamespace {
        /// What was asked for.
        namespace: NamespaceId,
    },
    /// Limit reached: this incarnation has used all its sequence numbers.
    #[error("incarnation {replica:?} has used all {max} sequence numbers; restart the node", max = Dot::SEQ_MAX)]
    SequencesUsed {
        /// The incarnation.
        replica: ReplicaId,
    },
}

/// Why bytes from a peer were refused. The frame is refused whole; the node's state did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than a frame may be.
    #[error("a frame of {len} bytes exceeds the limit of {max}")]
    Oversize {
        /// Bytes received or announced.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The frame ends inside a field.
    #[error("the frame ends at byte {at}, inside {field}")]
    Truncated {
        /// Where it ends.
        at: usize,
        /// What was being read.
        field: &'static str,
    },
    /// The frame goes on after its last field.
    #[error("{extra} bytes follow the end of the frame")]
    Trailing {
        /// Bytes left over.
        extra: usize,
    },
    /// The frame speaks a protocol version that this node does not.
    #[error("protocol version {version} is not spoken here (this node speaks {ours})")]
    Version {
        /// The frame's version.
        version: u8,
        /// Ours.
        ours: Versions,
    },
    /// The frame is for another incarnation, from one that has not introduced itself, or of a namespace that is
    /// not open here. The node introduces itself again.
    #[error(
        "the frame's route is none of this link's: it is of another life, or of a namespace that is not open"
    )]
    UnknownRoute,
    /// The frame states a context as the difference from one that is not held here. The node asks for the whole;
    /// an answer to a pull long done is dropped.
    #[error("the frame builds on context {base:?}, which is not held here")]
    UnknownBase {
        /// The frame's namespace.
        namespace: NamespaceId,
        /// What it builds on.
        base: BaseId,
        /// True if the frame answers a pull.
        answer: bool,
    },
    /// The frame is of a kind that this version does not have.
    #[error("no frame of kind {kind} exists in this version")]
    Kind {
        /// The frame's kind byte.
        kind: u8,
    },
    /// A field holds a value that it may not hold.
    #[error("{field} holds {value}, which is not valid there")]
    Field {
        /// The field.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// A field announces more entries or bytes than the rest of the frame can hold, or than is allowed.
    #[error("{field} announces {count}, at most {max} are possible")]
    Count {
        /// The field.
        field: &'static str,
        /// What it announced.
        count: u64,
        /// What the rest of the frame or the limit allows.
        max: u64,
    },
    /// The answer is longer than what is staged may be. An honest peer with a larger store sends such.
    #[error("{field} announces {count}, at most {max} are possible; raise staging_bytes_max")]
    Staging {
        /// What is too long.
        field: &'static str,
        /// Its bytes.
        count: u64,
        /// The limit.
        max: u64,
    },
    /// What the frame says would take more memory than that of one frame may. An honest peer cuts its frames by the
    /// same measure, with the same `message_bytes_max`.
    #[error(
        "the frame would take {bytes} bytes of memory at its {field}, at most {max} are allowed; set the same \
         message_bytes_max on both nodes"
    )]
    Memory {
        /// What was being read.
        field: &'static str,
        /// What it would take so far.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A list that must be strictly ascending is not: an entry is named twice or the encoding is not
    /// the canonical one.
    #[error("{field} is not strictly ascending")]
    Order {
        /// The list.
        field: &'static str,
    },
    /// A key is not UTF-8.
    #[error("a key is not UTF-8")]
    KeyEncoding,
    /// The fragment names events of a column beyond a gap: some before them are neither known here nor
    /// in the fragment.
    #[error("the fragment starts {replica:?} at {first}, but only {known} of it are known here")]
    Gap {
        /// The column.
        replica: ReplicaId,
        /// The first new event named.
        first: u64,
        /// The last event known here.
        known: u64,
    },
    /// One dot is named by two items.
    #[error("{dot:?} is named twice")]
    DotTwice {
        /// The dot.
        dot: Dot,
    },
    /// An item, claim or record names a dot that the fragment does not cover.
    #[error("{dot:?} in {field} lies outside the fragment's dots")]
    OutsideDots {
        /// The dot.
        dot: Dot,
        /// Where it was named.
        field: &'static str,
    },
    /// The fragment names dots of this very incarnation that it never minted: somebody else lives
    /// under our id.
    #[error("the frame names event {claimed} of this incarnation, which has minted {minted}")]
    OwnDots {
        /// The highest own sequence in the frame.
        claimed: u64,
        /// The highest minted here.
        minted: u64,
    },
    /// A peer greets as one life after the other on one connection. An honest one does so if it found another node under
    /// its id, once.
    #[error("the peer greets as life {lives} on one connection, at most {max} are taken")]
    Lives {
        /// Lives so far, this one too.
        lives: u32,
        /// The limit.
        max: u32,
    },
    /// The fragment's expiry horizon is further ahead than the clock may be.
    #[error(
        "the horizon is {ahead_ms} ms ahead of this clock, more than {max_ms}; one of the two clocks is wrong"
    )]
    ClockAhead {
        /// How far ahead.
        ahead_ms: u64,
        /// How far is allowed.
        max_ms: u64,
    },
    /// The result would be above the ceiling of the store and larger than now.
    #[error("joining would take the store from {bytes} to {after} bytes, above the ceiling of {max}")]
    Ceiling {
        /// Accounted bytes now.
        bytes: u64,
        /// Accounted bytes after the join.
        after: u64,
        /// The ceiling.
        max: u64,
    },
}

impl FrameError {
    /// True if the peer broke the protocol; false if the frame was well formed and refused for a limit
    /// or a clock.
    pub fn is_violation(&self) -> bool {
        match self {
            Self::Oversize { .. }
            | Self::Truncated { .. }
            | Self::Trailing { .. }
            | Self::Version { .. }
            | Self::Kind { .. }
            | Self::Field { .. }
            | Self::Count { .. }
            | Self::Memory { .. }
            | Self::Order { .. }
            | Self::KeyEncoding
            | Self::Gap { .. }
            | Self::DotTwice { .. }
            | Self::OutsideDots { .. }
            | Self::Lives { .. } => true,
            Self::Staging { .. }
            | Self::UnknownRoute
            | Self::UnknownBase { .. }
            | Self::OwnDots { .. }
            | Self::ClockAhead { .. }
            | Self::Ceiling { .. } => false,
        }
    }
}
