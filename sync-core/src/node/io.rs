//! What goes into a node and what comes out of it.
//!
//! [`Input`] is what the world did, [`Output`] is what the node wants done, [`Event`] is what the
//! application or an operator may want to know.

use crate::breaker::{BreakerReason, BreakerState, Failure};
use crate::cell::{Key, ObjectId, Path, TypeTag};
use crate::class::Class;
use crate::dictionary::Versions;
use crate::error::FrameError;
use crate::id::{Dot, NamespaceId, NodeId, OwnerId, ReplicaId};
use crate::message::Frame;
use crate::node::{Bound, Changed, Healed, Level};
use crate::store::Conflict;
use crate::trace::TraceContext;

/// Numbers the states that the driver is asked to make durable, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PersistStep(pub u64);

/// What the world did.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, and is handed over at once")]
pub enum Input {
    /// An authenticated connection to `peer` is up.
    ///
    /// If one was up already, this one replaces it: frames still unwritten on the old one are lost.
    Connected {
        /// Who is at the other end.
        peer: NodeId,
    },
    /// The connection to `peer` is gone. Frames not yet written are lost.
    Disconnected {
        /// Who was at the other end.
        peer: NodeId,
    },
    /// A frame came from `peer`; [`Frame::decode`] made it from the bytes.
    Received {
        /// Who sent it.
        peer: NodeId,
        /// The frame.
        frame: Frame,
        /// How many bytes it came in.
        len: usize,
    },
    /// Bytes came from `peer` that are no frame.
    Malformed {
        /// Who sent them.
        peer: NodeId,
        /// Why they are none.
        error: FrameError,
    },
    /// Frames given out by [`Output::Send`] have been written to the connection (or dropped with it). They may be
    /// told of late: only a peer whose queue is full waits for it.
    Written {
        /// To whom.
        peer: NodeId,
        /// Their class.
        class: Class,
        /// How many.
        frames: usize,
        /// Their length in all.
        bytes: usize,
    },
    /// What the driver saw go wrong with `peer` outside of its frames: a dial, or the framing.
    Failed {
        /// Who.
        peer: NodeId,
        /// How.
        failure: Failure,
    },
    /// Everything up to persist step `n` is durable.
    Persisted {
        /// The step, from [`Output::Persist`].
        n: PersistStep,
    },
    /// The deadline of [`super::Node::poll_timeout`] has come.
    Wake,
    /// Exchange roots with every connected peer now, whatever the interval says.
    SyncNow,
}

/// What the node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send `bytes`, one frame, to `to`. Answer with [`Input::Written`] once it is written.
    Send {
        /// To whom.
        to: NodeId,
        /// The class of its namespace. Frames of one class must arrive in order or not at all; those of another need
        /// not wait for them. A `Hello` is urgent, and no frame of a connection may be taken in before its `Hello`.
        class: Class,
        /// One frame.
        bytes: Vec<u8>,
    },
    /// Dial `peer` now, once: it is a probe. Answer with [`Input::Connected`] or [`Input::Failed`]; without either the
    /// probe fails when its time is over.
    Dial {
        /// Whom.
        peer: NodeId,
    },
    /// Close the connection to `peer`.
    Disconnect {
        /// Whose.
        peer: NodeId,
        /// Why, for both sides' logs.
        reason: DisconnectReason,
    },
    /// Make the state as it is now durable and answer with [`Input::Persisted`]. Steps come in order; a
    /// later one includes the earlier ones.
    Persist {
        /// The step.
        n: PersistStep,
    },
    /// Tell the application.
    Event(Event),
}

/// Why a connection is closed by the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// Limit reached: no more peers are admitted.
    #[error("this node already knows {max} peers, its limit; remove one or raise peers_max")]
    PeersFull {
        /// The limit.
        max: usize,
    },
    /// The peer belongs to another cluster.
    #[error("the peer's cluster label is {theirs:?}, ours is {ours:?}; give both the same label")]
    ClusterLabel {
        /// What the peer said.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// No protocol version is spoken by both.
    #[error("the peer speaks protocol versions {theirs}, this node {ours}; update the older of the two")]
    NoCommonVersion {
        /// What the peer said.
        theirs: Versions,
        /// Ours.
        ours: Versions,
    },
    /// The peer's `Hello` names another node than its certificate.
    #[error("the peer calls itself {claimed}, its certificate says {proven}")]
    Impostor {
        /// From the frame.
        claimed: NodeId,
        /// From the certificate.
        proven: NodeId,
    },
    /// The peer's breaker has opened for misbehaviour, or by an operator.
    #[error("the breaker of the node that closes is open for the other: {}; it is tried again by itself", why.map_or("unknown".to_owned(), |why| why.to_string()))]
    Shut {
        /// What opened it.
        why: Option<BreakerReason>,
    },
    /// The peer was taken off the list.
    #[error("the node that closes has taken the other off its list of peers; `peers add` there puts it back")]
    Removed,
    /// The peer runs with our own node id.
    #[error("the peer presents this node's own certificate: the key was copied")]
    OwnIdentity,
    /// Operator: nothing of a damaged store may leave; see [`super::Node::set_damaged`].
    #[error(
        "this node's store was damaged on the disk; it speaks to nobody until an operator accepts the loss"
    )]
    Damaged,
}

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A write on this node.
    Local,
    /// The repair of damage to this node's own memory.
    Repair,
    /// The horizon reached the time at which writes expire, whether this node raised it or a peer.
    Expired,
    /// A join of what `peer` sent.
    Remote {
        /// Who sent it.
        peer: NodeId,
    },
}

/// How a repair knew which dots are dead: the steps of the ladder, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairedBy {
    /// Every record was at hand.
    Records,
    /// Records were lost; a sketch of the live dots showed the difference.
    Sketch,
    /// Records were lost; all live dots were listed.
    Listing,
}

/// What the application or an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// One step of a store while somebody watches: the writes of a group, or what one join brought, are in one of
    /// these. See [`super::Node::set_changes`].
    Changed(Changed),
    /// Writes of this life of the node met concurrent ones. See [`super::Node::set_conflicts`].
    Conflicts {
        /// The namespace.
        namespace: NamespaceId,
        /// The step in which they came to stand beside each other.
        cause: Cause,
        /// The conflicts, ascending by place.
        conflicts: Vec<Conflict>,
    },
    /// A type appeared on a key that holds another: both live on, see [`crate::types::conflict`].
    TypesMet {
        /// The namespace.
        namespace: NamespaceId,
        /// The key.
        key: Key,
        /// The type that the key reads as.
        ty: TypeTag,
        /// The other types on it.
        others: Vec<TypeTag>,
    },
    /// A peer has introduced itself on a new connection.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// Its life.
        incarnation: ReplicaId,
    },
    /// The connection to a peer is gone.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// What a peer says from here on it says because of this request, or of none that is told.
    Traced {
        /// Who.
        peer: NodeId,
        /// The request, as the peer passes it on.
        trace: Option<TraceContext>,
    },
    /// The breaker of a peer went from one state to another.
    Breaker {
        /// Whose.
        peer: NodeId,
        /// Before.
        from: BreakerState,
        /// After.
        to: BreakerState,
        /// Why.
        reason: BreakerReason,
    },
    /// A repair by session is complete.
    SessionDone {
        /// With whom.
        peer: NodeId,
        /// The namespace.
        namespace: NamespaceId,
        /// Items received that were new here.
        items: u64,
        /// How what is dead was known.
        by: RepairedBy,
    },
    /// A large answer comes in, a frame at a time. Nothing of it is visible before all of it is; then
    /// [`Self::SessionDone`] follows. After a cut it goes on from the items that are staged.
    Bootstrap {
        /// From whom.
        peer: NodeId,
        /// The namespace.
        namespace: NamespaceId,
        /// Items staged.
        items: u64,
        /// Items in all, by what the peer says.
        items_total: u64,
    },
    /// A frame was refused whole; the state is as before.
    FrameRefused {
        /// Who sent it.
        peer: NodeId,
        /// Why it was refused.
        error: FrameError,
    },
    /// A bound has come to 80 % or 100 %. It sounds again only after it has fallen below 70 %. A step that takes it
    /// past both tells of the higher one.
    Pressure {
        /// The namespace; `None` for a bound of the node itself.
        namespace: Option<NamespaceId>,
        /// Which bound.
        bound: Bound,
        /// How far it is used.
        level: Level,
        /// What is used of it; more than `max` where joins overshoot.
        used: u64,
        /// The bound.
        max: u64,
    },
    /// A fragment was refused whole because the store is at its ceiling. Removing data heals it.
    Degraded {
        /// The namespace.
        namespace: NamespaceId,
        /// Accounted bytes now.
        bytes: u64,
        /// What the join would have made of them.
        after: u64,
        /// The ceiling.
        max: u64,
    },
    /// Alarm: somebody else lives under this replica's id. This node has taken new ids and goes on.
    Fenced {
        /// Who showed it.
        peer: NodeId,
        /// The id given up.
        old: ReplicaId,
        /// The id taken.
        new: ReplicaId,
        /// The counter owner taken.
        owner: OwnerId,
        /// The highest sequence seen under the old id.
        claimed: u64,
        /// The highest that this node had minted.
        minted: u64,
    },
    /// Alarm: another life counts under this node's counter owner, so its data folder was copied, or set back to an
    /// older state. This node has taken a new owner and goes on; of what both counted under the old one meanwhile the
    /// larger is read.
    OwnerDoubled {
        /// Who showed it.
        peer: NodeId,
        /// The namespace.
        namespace: NamespaceId,
        /// The counter, or the map around it, in which it was seen.
        object: ObjectId,
        /// The cell.
        path: Path,
        /// This life.
        own: ReplicaId,
        /// The life that counts in the other place.
        other: ReplicaId,
        /// The owner given up.
        old: OwnerId,
        /// The owner taken.
        new: OwnerId,
    },
    /// Alarm: two replicas know the same events and hold different state: corruption, a clone or a bug.
    Diverged {
        /// With whom.
        peer: NodeId,
        /// The namespace.
        namespace: NamespaceId,
    },
    /// Alarm: bytes of these cells are not those that were hashed: memory was damaged. The peers are asked for
    /// them; no fragment leaves before they have answered.
    Corrupt {
        /// The namespace.
        namespace: NamespaceId,
        /// The cells.
        cells: Vec<(ObjectId, Path)>,
    },
    /// Damage was healed here; follows [`Self::Diverged`] or [`Self::Corrupt`].
    Healed {
        /// Whose root differed; `None` if this node found the damage itself.
        peer: Option<NodeId>,
        /// The namespace.
        namespace: NamespaceId,
        /// What was done.
        healed: Healed,
        /// The cells, ascending.
        cells: Vec<(ObjectId, Path)>,
    },
    /// The store on the disk had been damaged, and all that could be read of this node's own items has been seen to:
    /// what no member knew was written again. Where a member was away for long, an item that it knows to be removed
    /// may be among them.
    Replayed {
        /// How many were written again in this life.
        items: u64,
    },
    /// Marks of a remove-wins set, and the adds beside them, were ended by this node: they were stable.
    MarksEnded {
        /// The namespace.
        namespace: NamespaceId,
        /// The event that ended them.
        dot: Dot,
        /// The set, or the map around it.
        object: ObjectId,
        /// The cells, ascending.
        paths: Vec<Path>,
        /// How many marks.
        marks: u64,
    },
    /// Alarm: this node's wall clock differs from the median of its members' by more than
    /// [`crate::limits::Timing::drift_max`]: this clock is the wrong one, unless most of the others are. Told once,
    /// until it agrees again. While it is slow, fragments of others may be refused as
    /// [`FrameError::ClockAhead`]; while it is fast, nothing expires early by it.
    ClockOff {
        /// Own clock minus median, in milliseconds: below zero if this clock is slow.
        ahead_ms: i64,
        /// Members whose clocks were heard.
        members: usize,
    },
    /// This node's wall clock was set by more than [`crate::limits::Timing::drift_max`]. Nothing expires by it until
    /// it agrees with the median of the members' clocks.
    ClockJumped {
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// Alarm: the horizon of this store is ahead of every clock heard, so this node let writes expire before their
    /// time while its clock was wrong. No fragment of it leaves until the clocks have come within
    /// [`crate::limits::Timing::drift_max`] of the horizon; members refuse it as [`FrameError::ClockAhead`].
    HorizonAhead {
        /// The namespace.
        namespace: NamespaceId,
        /// Horizon minus clock, in milliseconds.
        ahead_ms: u64,
    },
    /// A namespace was opened here.
    NamespaceOpened {
        /// Which.
        namespace: NamespaceId,
        /// Its class.
        class: Class,
    },
    /// A namespace was closed here: its state stays, and is not exchanged.
    NamespaceClosed {
        /// Which.
        namespace: NamespaceId,
    },
    /// The application did not read its events; this many were dropped, oldest first.
    EventsLost {
        /// How many.
        count: u64,
    },
}

impl Event {
    /// The namespace in which it happened; `None` if it is of the node itself or of a link.
    pub fn namespace(&self) -> Option<NamespaceId> {
        match self {
            Self::Changed(Changed { namespace, .. })
            | Self::Conflicts { namespace, .. }
            | Self::TypesMet { namespace, .. }
            | Self::SessionDone { namespace, .. }
            | Self::Bootstrap { namespace, .. }
            | Self::Degraded { namespace, .. }
            | Self::OwnerDoubled { namespace, .. }
            | Self::Diverged { namespace, .. }
            | Self::Corrupt { namespace, .. }
            | Self::Healed { namespace, .. }
            | Self::MarksEnded { namespace, .. }
            | Self::HorizonAhead { namespace, .. }
            | Self::NamespaceOpened { namespace, .. }
            | Self::NamespaceClosed { namespace } => Some(*namespace),
            Self::Pressure { namespace, .. } => *namespace,
            Self::PeerUp { .. }
            | Self::PeerDown { .. }
            | Self::Traced { .. }
            | Self::Breaker { .. }
            | Self::FrameRefused { .. }
            | Self::Fenced { .. }
            | Self::Replayed { .. }
            | Self::ClockOff { .. }
            | Self::ClockJumped { .. }
            | Self::EventsLost { .. } => None,
        }
    }
}
