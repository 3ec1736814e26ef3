//! The frames that nodes exchange, and their bytes.
//!
//! A frame is a version byte, a kind byte and the kind's fields; `docs/protocol.md` lists them. Every
//! frame but [`Hello`] and [`Part`] names its namespace and both incarnations. Each is idempotent: loss,
//! duplication and reordering cost only time.

use std::collections::BTreeSet;

use crate::causal::CausalContext;
use crate::codec::{Reader, ReplicaTable, Writer};
use crate::error::FrameError;
use crate::fragment::{Fragment, read_context, write_context};
use crate::id::{Dot, NamespaceId, NodeId, ReplicaId, StateId};
use crate::limits::Limits;
use crate::merkle::Fingerprint;
use crate::time::WallMillis;

/// The version byte of every frame that this build writes and reads.
pub const PROTOCOL_VERSION: u8 = 1;

/// Longest cluster label, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

/// Whose frame it is: the namespace and the two incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The causal domain.
    pub namespace: NamespaceId,
    /// The sender's incarnation.
    pub from: ReplicaId,
    /// The incarnation that the sender means. Another one drops the frame and answers `Hello`.
    pub to: ReplicaId,
    /// How many events of `to` the sender knows. A life that has minted fewer was set back (a copied
    /// disk, a machine put back to an earlier image of its memory): it learns so before it joins anything.
    pub known: u64,
}

/// The first frame of a connection, and the answer to a frame for another incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Feature bits; none are defined in version 1, unknown ones are ignored.
    pub features: u32,
    /// The cluster's label; nodes of different labels do not talk.
    pub cluster: String,
    /// The sender; must be the node that the connection's certificate names.
    pub node: NodeId,
    /// The sender's incarnation.
    pub incarnation: ReplicaId,
    /// The sender's wall clock.
    pub clock: WallMillis,
    /// True if the sender does not know the receiver's incarnation yet and wants its `Hello`.
    pub wants_reply: bool,
}

/// State id and log head of one snapshot: the first frame of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Hash over namespace, horizon, context and root.
    pub state: StateId,
    /// The sender's log head at that state.
    pub head: u64,
    /// The sender's wall clock.
    pub clock: WallMillis,
    /// True if the sender has no push cursor for the receiver, who must pull, or acknowledge if the states
    /// are equal.
    pub behind: bool,
    /// True if the sender wants to be told when the states are equal.
    pub wants_reply: bool,
}

/// Entries `lo..hi` of the sender's log, resolved at sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The receiver must hold everything up to here.
    pub lo: u64,
    /// The sender's log head; the receiver holds everything up to it after the join.
    pub hi: u64,
    /// The dots whose status changed, with the payload of those that are live.
    pub fragment: Fragment,
}

/// How far the sender holds the receiver's log, and what it has come to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Everything up to here of the receiver's log is held; `None` if no cursor stands.
    pub hi: Option<u64>,
    /// Columns of the sender's context that grew since it last said so. Lower bounds for ever: a context
    /// only grows, so a lost one costs at most a needless push.
    pub known: CausalContext,
}

/// Asks for what the sender lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// All that the sender knows.
    pub context: CausalContext,
    /// Its horizon.
    pub horizon: WallMillis,
    /// Its root: with equal context and horizon, another root proves damage.
    pub root: Fingerprint,
}

/// Answers a pull: what its context lacked, of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Give {
    /// The sender's log head at that snapshot.
    pub head: u64,
    /// What the receiver lacked, with claims.
    pub fragment: Fragment,
}

/// A slice of a `Give` too long for one frame. All parts are cut from one encoded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Tells the parts of one answer from those of another; counted by the sender.
    pub answer: u64,
    /// Bytes of the whole encoded `Give` frame.
    pub total: u64,
    /// Where this slice begins.
    pub at: u64,
    /// The slice.
    pub bytes: Vec<u8>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Introduces the sender's incarnation.
    Hello(Hello),
    /// Opens a round.
    Root(Route, Root),
    /// Fresh deltas.
    Push(Route, Push),
    /// Acknowledges pushes.
    Ack(Route, Ack),
    /// Asks for a repair.
    Pull(Route, Pull),
    /// Repairs.
    Give(Route, Give),
    /// Repairs, in parts.
    Part(Route, Part),
}

const HELLO: u8 = 1;
const ROOT: u8 = 2;
const PUSH: u8 = 3;
const ACK: u8 = 4;
const PULL: u8 = 5;
const GIVE: u8 = 6;
const PART: u8 = 7;

/// Bytes of a [`Part`] frame besides its slice, at most.
pub(crate) const PART_OVERHEAD: usize = 2 + 8 + 16 + 16 + 10 + 10 + 10 + 10 + 10;

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.byte(PROTOCOL_VERSION);
        match self {
            Self::Hello(hello) => {
                out.byte(HELLO);
                out.fixed(&hello.features.to_le_bytes());
                out.bytes(hello.cluster.as_bytes());
                out.fixed(&hello.node.0);
                out.fixed(&hello.incarnation.0);
                out.varint(hello.clock.0);
                out.byte(u8::from(hello.wants_reply));
            }
            Self::Root(route, root) => {
                write_route(ROOT, route, &mut out);
                out.fixed(&root.state.0);
                out.varint(root.head);
                out.varint(root.clock.0);
                out.byte(u8::from(root.behind) | u8::from(root.wants_reply) << 1);
            }
            Self::Push(route, push) => {
                write_route(PUSH, route, &mut out);
                out.varint(push.lo);
                out.varint(push.hi);
                push.fragment.write(&mut out);
            }
            Self::Ack(route, ack) => {
                write_route(ACK, route, &mut out);
                match ack.hi {
                    None => out.byte(0),
                    Some(hi) => {
                        out.byte(1);
                        out.varint(hi);
                    }
                }
                write_table_and_context(&ack.known, &mut out);
            }
            Self::Pull(route, pull) => {
                write_route(PULL, route, &mut out);
                out.varint(pull.horizon.0);
                out.fixed(&pull.root.0);
                write_table_and_context(&pull.context, &mut out);
            }
            Self::Give(route, give) => {
                write_route(GIVE, route, &mut out);
                out.varint(give.head);
                give.fragment.write(&mut out);
            }
            Self::Part(route, part) => {
                write_route(PART, route, &mut out);
                out.varint(part.answer);
                out.varint(part.total);
                out.varint(part.at);
                out.bytes(&part.bytes);
            }
        }
        out.finish()
    }

    /// Reads one frame of at most [`Limits::message_bytes_max`].
    ///
    /// # Errors
    /// What is wrong with the bytes, and where. Nothing is allocated before its length is checked.
    ///
    /// ```
    /// use sync_core::{error::FrameError, limits::Limits, message::Frame};
    /// let refused = Frame::decode(&[9, 2], &Limits::default());
    /// assert_eq!(refused, Err(FrameError::Version { version: 9, ours: 1 }));
    /// ```
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, FrameError> {
        if bytes.len() > limits.message_bytes_max {
            return Err(FrameError::Oversize { len: bytes.len(), max: limits.message_bytes_max });
        }
        Self::decode_unbounded(bytes, limits)
    }

    /// Reads one frame whose length the caller has bounded: an answer put together from parts.
    pub(crate) fn decode_unbounded(bytes: &[u8], limits: &Limits) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let version = input.byte("version")?;
        if version != PROTOCOL_VERSION {
            return Err(FrameError::Version { version, ours: PROTOCOL_VERSION });
        }
        let frame = match input.byte("kind")? {
            HELLO => Self::Hello(read_hello(&mut input)?),
            ROOT => Self::Root(read_route(&mut input)?, read_root(&mut input)?),
            PUSH => {
                let route = read_route(&mut input)?;
                let lo = input.varint("lo")?;
                let hi = input.varint("hi")?;
                if hi < lo {
                    return Err(FrameError::Field { field: "hi", value: hi });
                }
                Self::Push(route, Push { lo, hi, fragment: Fragment::read(&mut input, limits)? })
            }
            ACK => {
                let route = read_route(&mut input)?;
                let hi = match read_flags("cursor", 1, &mut input)? {
                    0 => None,
                    _ => Some(input.varint("cursor")?),
                };
                Self::Ack(route, Ack { hi, known: read_table_and_context(&mut input)? })
            }
            PULL => {
                let route = read_route(&mut input)?;
                let horizon = WallMillis(input.varint("horizon")?);
                let root = Fingerprint(input.fixed("root")?);
                Self::Pull(route, Pull { context: read_table_and_context(&mut input)?, horizon, root })
            }
            GIVE => {
                let route = read_route(&mut input)?;
                let head = input.varint("head")?;
                Self::Give(route, Give { head, fragment: Fragment::read(&mut input, limits)? })
            }
            PART => {
                let route = read_route(&mut input)?;
                let answer = input.varint("answer")?;
                let total = input.varint("total")?;
                let at = input.varint("at")?;
                let bytes = input.bytes("slice", limits.message_bytes_max)?.to_vec();
                Self::Part(route, Part { answer, total, at, bytes })
            }
            kind => return Err(FrameError::Kind { kind }),
        };
        input.finish()?;
        Ok(frame)
    }

    /// What the frame is called in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Root(..) => "Root",
            Self::Push(..) => "Push",
            Self::Ack(..) => "Ack",
            Self::Pull(..) => "Pull",
            Self::Give(..) => "Give",
            Self::Part(..) => "Part",
        }
    }
}

fn write_route(kind: u8, route: &Route, out: &mut Writer) {
    out.byte(kind);
    out.fixed(&route.namespace.0);
    out.fixed(&route.from.0);
    out.fixed(&route.to.0);
    out.varint(route.known);
}

fn read_route(input: &mut Reader<'_>) -> Result<Route, FrameError> {
    Ok(Route {
        namespace: NamespaceId(input.fixed("namespace")?),
        from: ReplicaId(input.fixed("from")?),
        to: ReplicaId(input.fixed("to")?),
        known: input.varint_max("known of the receiver", Dot::SEQ_MAX)?,
    })
}

fn read_flags(field: &'static str, max: u8, input: &mut Reader<'_>) -> Result<u8, FrameError> {
    match input.byte(field)? {
        flags if flags <= max => Ok(flags),
        flags => Err(FrameError::Field { field, value: u64::from(flags) }),
    }
}

fn read_hello(input: &mut Reader<'_>) -> Result<Hello, FrameError> {
    let features = u32::from_le_bytes(input.fixed("features")?);
    let label = input.bytes("cluster label", LABEL_BYTES_MAX)?;
    let cluster = String::from_utf8(label.to_vec()).map_err(|_| FrameError::KeyEncoding)?;
    Ok(Hello {
        features,
        cluster,
        node: NodeId(input.fixed("node")?),
        incarnation: ReplicaId(input.fixed("incarnation")?),
        clock: WallMillis(input.varint("clock")?),
        wants_reply: read_flags("wants reply", 1, input)? == 1,
    })
}

fn read_root(input: &mut Reader<'_>) -> Result<Root, FrameError> {
    let state = StateId(input.fixed("state id")?);
    let head = input.varint("head")?;
    let clock = WallMillis(input.varint("clock")?);
    let flags = read_flags("root flags", 3, input)?;
    Ok(Root { state, head, clock, behind: flags & 1 == 1, wants_reply: flags & 2 == 2 })
}

fn write_table_and_context(context: &CausalContext, out: &mut Writer) {
    let table = ReplicaTable::new(context.columns().map(|(id, _)| id).collect::<BTreeSet<_>>());
    table.write(out);
    write_context(context, &table, out);
}

fn read_table_and_context(input: &mut Reader<'_>) -> Result<CausalContext, FrameError> {
    let table = ReplicaTable::read(input)?;
    read_context(&table, input)
}
