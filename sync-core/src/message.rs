//! The frames that nodes exchange, and their bytes.
//!
//! A frame is a version byte, a kind byte and the kind's fields; `docs/protocol.md` lists them. Every
//! frame but [`Hello`] names its namespace and both incarnations. Each is idempotent: loss, duplication
//! and reordering cost only time.

mod hello;
mod inspect;
mod kind;
mod open;
mod survey;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, Item};
use crate::codec::{Reader, ReplicaTable, Writer};
use crate::dictionary::{Base, Dictionary, Names, RouteTag, Version, Versions};
use crate::error::FrameError;
use crate::fragment::{
    Fragment, ItemsWriter, changed, read_columns, read_context, read_dots, read_dots_within, read_items,
    read_symbols, write_columns, write_context, write_dots, write_items, write_symbols,
};
use crate::id::{NodeId, ReplicaId, StateId};
use crate::limits::Limits;
use crate::memory;
use crate::merkle::Fingerprint;
use crate::merkle::nodes::{Answer, Question};
use crate::merkle::sketch::Symbol;
use crate::time::WallMillis;
use crate::trace::TraceContext;

pub use self::hello::{NAMESPACES_TOLD_MAX, Namespaces, NamespacesDigest};
use self::hello::{read_hello, write_hello};
pub use self::inspect::{INSPECTED_MAX, Inspect, Inspected};
use self::inspect::{read_inspect, write_inspect};
pub use self::kind::FrameKind;
pub use self::open::Open;
pub use self::survey::{Quote, Survey};
pub use crate::dictionary::Route;

/// Longest cluster label, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

/// How a frame is put into bytes: what the two ends have agreed on.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// The protocol version.
    pub version: Version,
    /// A context that the reader holds, for frames that name replicas.
    pub base: Option<Arc<Base>>,
}

impl Default for Dialect {
    /// The newest version, without a base.
    fn default() -> Self {
        Self { version: Versions::default().max, base: None }
    }
}

/// The first frame of a connection, and the answer to a frame for another incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Feature bits; none are defined yet, unknown ones are ignored.
    pub features: u32,
    /// The protocol versions that the sender speaks.
    pub versions: Versions,
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
    /// What the sender keeps besides the default namespace.
    pub namespaces: Namespaces,
    /// The request because of which the sender talks now.
    pub trace: Option<TraceContext>,
    /// Which of the receiver's lists the sender has: who told of others says so again.
    pub heard: NamespacesDigest,
}

/// State id and log head of one snapshot: the first frame of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Hash over namespace, horizon, context and root.
    pub state: StateId,
    /// The sender's log head at that state.
    pub head: u64,
    /// The sender's wall clock; `None` where it was just said or need not be: in the first of a
    /// connection, and in an answer. Never so in version 1.
    pub clock: Option<WallMillis>,
    /// True if the sender has no push cursor for the receiver, who must pull, or acknowledge if the states
    /// are equal.
    pub behind: bool,
    /// True if the sender has chosen the receiver as a neighbour in the overlay: pushes go both ways.
    pub neighbour: bool,
    /// True if the sender wants to be told when the states are equal.
    pub wants_reply: bool,
    /// True if the sender could not resolve a base: the receiver states contexts whole from here on.
    pub wants_whole: bool,
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
    /// True if the answer shall list all live dots: no sketch of them could be read.
    pub listing: bool,
    /// Dots whose items the sender has staged, or that it knows to be dead at the receiver: a large answer need
    /// not carry them. Not said in version 1.
    pub have: DotSet,
}

/// Answers a pull: what its context lacked, of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Give {
    /// The sender's log head at that snapshot.
    pub head: u64,
    /// The Merkle root at that snapshot: who then knows the same events and has another root is damaged, or the
    /// sender is.
    pub root: Fingerprint,
    /// What the receiver lacked, with claims.
    pub fragment: Fragment,
}

/// The first frame of a large answer: all of one snapshot but the items, which follow in [`Payloads`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Tells large answers apart; counted by the sender.
    pub answer: u64,
    /// The sender's log head at that snapshot.
    pub head: u64,
    /// The Merkle root at that snapshot, as in [`Give`].
    pub root: Fingerprint,
    /// Which of the fragment's dots are live.
    pub live: DotSet,
    /// What the receiver lacked, without items. Its cells are those that the items do not tell.
    pub fragment: Fragment,
}

/// Items of a large answer. Each frame is read alone; in which order they come does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payloads {
    /// The answer's number.
    pub answer: u64,
    /// True if the sender could not keep an item that was ended before it was sent: this answer will not be
    /// completed, and the receiver pulls again.
    pub gone: bool,
    /// Live items with their cells, ascending by dot, each dot once.
    pub items: Vec<(CellId, Item)>,
}

impl Payloads {
    /// Number of items carried.
    pub fn item_count(&self) -> usize {
        self.items.len()
    }
}

/// A slice of a `Give` or `Skeleton` too long for one frame. All parts are cut from one encoded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Tells the parts of one answer from those of another; counted by the sender.
    pub answer: u64,
    /// Bytes of the whole encoded frame.
    pub total: u64,
    /// Where this slice begins.
    pub at: u64,
    /// The slice.
    pub bytes: Vec<u8>,
}

/// Asks for more symbols of the sketch in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    /// The answer.
    pub answer: u64,
    /// Symbols held; as many again would be welcome.
    pub from: u64,
}

/// More symbols of the sketch in an answer, of the same snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// The answer.
    pub answer: u64,
    /// The number of the first.
    pub from: u64,
    /// The symbols; none if the answer is forgotten, and its asker shall pull again.
    pub symbols: Vec<Symbol>,
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
    /// Slices of a frame that repairs.
    Part(Route, Part),
    /// Asks what a repair would carry. From version 2 on.
    Survey(Route, Survey),
    /// Tells it. From version 2 on.
    Quote(Route, Box<Quote>),
    /// Begins a large repair.
    Skeleton(Route, Box<Skeleton>),
    /// Goes on with a large repair.
    Payloads(Route, Payloads),
    /// Asks for more of a sketch.
    More(Route, More),
    /// More of a sketch.
    Symbols(Route, Symbols),
    /// Asks where two tries differ.
    Nodes(Route, Question),
    /// Says where.
    NodesFound(Route, Answer),
    /// Asks what is held somewhere.
    Inspect(Route, Inspect),
    /// Says what.
    Inspected(Route, Inspected),
    /// Opens a round and asks for a repair. From version 2 on.
    Open(Route, Box<Open>),
}

const HELLO: u8 = 1;
const ROOT: u8 = 2;
const PUSH: u8 = 3;
const ACK: u8 = 4;
const PULL: u8 = 5;
const GIVE: u8 = 6;
const PART: u8 = 7;
const SURVEY: u8 = 8;
const QUOTE: u8 = 9;
const SKELETON: u8 = 10;
const PAYLOADS: u8 = 11;
const OPEN: u8 = 12;
const MORE: u8 = 13;
const SYMBOLS: u8 = 14;
const NODES: u8 = 15;
const NODES_FOUND: u8 = 16;
const INSPECT: u8 = 17;
const INSPECTED: u8 = 18;

/// The highest position of a log that a frame may name. No log comes near it, and what is acknowledged is one more.
pub(crate) const POSITION_MAX: u64 = 1 << 62;

/// Most bytes that an interval of [`Pull::have`] takes, its column and replica included: a pull says no more of them than
/// fit at that size, and more are refused.
pub(crate) const HAVE_INTERVAL_BYTES_MAX: usize = 48;

/// Bytes of a [`Part`] frame besides its slice, at most.
pub(crate) const PART_OVERHEAD: usize = 2 + 8 + 10 + 10 + 10 + 10 + 10;

/// Bytes of a [`Payloads`] frame besides its replicas and items, at most: the frame's head and route, number,
/// flags, five counts.
pub(crate) const PAYLOADS_OVERHEAD: usize = 2 + 8 + 10 + 10 + 1 + 5 * 4;

impl Frame {
    /// Its namespace and the two lives; `None` for a [`Hello`], which is of all.
    pub fn route(&self) -> Option<&Route> {
        match self {
            Self::Hello(_) => None,
            Self::Root(route, _)
            | Self::Push(route, _)
            | Self::Ack(route, _)
            | Self::Pull(route, _)
            | Self::Give(route, _)
            | Self::Part(route, _)
            | Self::Survey(route, _)
            | Self::Quote(route, _)
            | Self::Skeleton(route, _)
            | Self::Payloads(route, _)
            | Self::More(route, _)
            | Self::Symbols(route, _)
            | Self::Nodes(route, _)
            | Self::NodesFound(route, _)
            | Self::Inspect(route, _)
            | Self::Inspected(route, _)
            | Self::Open(route, _) => Some(route),
        }
    }

    /// The frame's bytes. [`Hello`] is the same in every version, so that any two nodes can agree on one.
    pub fn encode(&self, dialect: &Dialect) -> Vec<u8> {
        let mut out = Writer::default();
        let hello = matches!(self, Self::Hello(_));
        out.byte(if hello { Version::WHOLE.0 } else { dialect.version.0 });
        match self {
            Self::Hello(hello) => write_hello(hello, &mut out),
            Self::Root(route, root) => {
                write_route(ROOT, route, &mut out);
                out.fixed(&root.state.0);
                out.varint(root.head);
                out.varint(root.clock.map_or(0, |clock| clock.0));
                let flags = [root.behind, root.wants_reply, root.wants_whole, root.neighbour];
                out.byte(flags.into_iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(flag)));
            }
            Self::Push(route, push) => {
                write_route(PUSH, route, &mut out);
                out.varint(push.lo);
                out.varint(push.hi - push.lo);
                write_fragment(route, &push.fragment, dialect, &mut out);
            }
            Self::Ack(route, ack) => {
                write_route(ACK, route, &mut out);
                out.varint(ack.hi.map_or(0, |hi| hi + 1));
                // Who names no replica names no base.
                let base = dialect.base.clone().filter(|_| !ack.known.is_empty());
                let names = Names::new(route, base);
                names.write_base(&mut out);
                let table = ReplicaTable::new(ack.known.columns().map(|(id, _)| id).collect());
                table.write(&names, &mut out);
                write_columns(&ack.known, &table, &names, &mut out);
            }
            Self::Pull(route, pull) => {
                write_route(PULL, route, &mut out);
                out.varint(pull.horizon.0);
                out.byte(u8::from(pull.listing));
                let names = write_names(route, dialect, &mut out);
                let mut ids: BTreeSet<ReplicaId> = changed(&pull.context, &names).map(|(id, _)| id).collect();
                let says_have = !pull.have.is_empty() && dialect.version >= Version::DIFFERENCES;
                if says_have {
                    ids.extend(pull.have.columns().map(|(id, _)| id));
                }
                let table = ReplicaTable::new(ids);
                table.write(&names, &mut out);
                write_context(&pull.context, &table, &names, &mut out);
                if says_have {
                    write_dots(&pull.have, &table, &names, &mut out);
                }
            }
            Self::Give(route, give) => {
                write_route(GIVE, route, &mut out);
                out.varint(give.head);
                out.fixed(&give.root.0);
                write_fragment(route, &give.fragment, dialect, &mut out);
            }
            Self::Part(route, part) => {
                write_route(PART, route, &mut out);
                out.varint(part.answer);
                out.varint(part.total);
                out.varint(part.at);
                out.bytes(&part.bytes);
            }
            Self::More(route, more) => {
                write_route(MORE, route, &mut out);
                out.varint(more.answer);
                out.varint(more.from);
            }
            Self::Nodes(route, question) => {
                write_route(NODES, route, &mut out);
                question.write(&mut out);
            }
            Self::NodesFound(route, answer) => {
                write_route(NODES_FOUND, route, &mut out);
                answer.write(&mut out);
            }
            Self::Inspect(route, inspect) => {
                write_route(INSPECT, route, &mut out);
                write_inspect(inspect, &mut out);
                write_fragment(route, &inspect.fragment, dialect, &mut out);
            }
            Self::Inspected(route, inspected) => {
                write_route(INSPECTED, route, &mut out);
                out.byte(u8::from(inspected.same));
                out.varint(inspected.covered);
                write_fragment(route, &inspected.fragment, dialect, &mut out);
                write_dot_set(route, &inspected.killed, &mut out);
            }
            Self::Symbols(route, symbols) => {
                write_route(SYMBOLS, route, &mut out);
                out.varint(symbols.answer);
                out.varint(symbols.from);
                write_symbols(&symbols.symbols, &mut out);
            }
            Self::Survey(route, survey) => {
                write_route(SURVEY, route, &mut out);
                survey::write_survey(survey, &Names::new(route, dialect.base.clone()), &mut out);
            }
            Self::Quote(route, quote) => {
                write_route(QUOTE, route, &mut out);
                survey::write_quote(quote, &Names::new(route, dialect.base.clone()), &mut out);
            }
            Self::Open(route, open) => {
                write_route(OPEN, route, &mut out);
                open::write_open(open, &Names::new(route, dialect.base.clone()), &mut out);
            }
            Self::Skeleton(route, skeleton) => {
                write_route(SKELETON, route, &mut out);
                out.varint(skeleton.answer);
                out.varint(skeleton.head);
                out.fixed(&skeleton.root.0);
                let names = write_names(route, dialect, &mut out);
                skeleton.fragment.write_skeleton(&skeleton.live, &names, &mut out);
            }
            Self::Payloads(route, payloads) => {
                write_route(PAYLOADS, route, &mut out);
                out.varint(payloads.answer);
                out.byte(u8::from(payloads.gone));
                write_items(&payloads.items, &Names::new(route, None), &mut out);
            }
        }
        out.finish()
    }

    /// The bytes of a [`Payloads`] frame whose items were written as they were read.
    pub(crate) fn encode_items(route: &Route, version: Version, answer: u64, items: &ItemsWriter) -> Vec<u8> {
        let mut out = Writer::default();
        out.byte(version.0);
        write_route(PAYLOADS, route, &mut out);
        out.varint(answer);
        out.byte(0);
        items.finish(&Names::new(route, None), &mut out);
        out.finish()
    }

    /// Reads one frame of at most [`Limits::message_bytes_max`]; `dictionary` says what its sender need not
    /// spell out ([`crate::node::Node::reads`]).
    ///
    /// # Errors
    /// What is wrong with the bytes, and where. Nothing is allocated before its length is checked, and all of it takes
    /// at most [`Limits::decode_bytes_max`].
    ///
    /// ```
    /// use sync_core::dictionary::{Dictionary, Versions};
    /// use sync_core::{error::FrameError, limits::Limits, message::Frame};
    /// let refused = Frame::decode(&[9, 2], &Dictionary::default(), &Limits::default());
    /// assert_eq!(refused, Err(FrameError::Version { version: 9, ours: Versions::default() }));
    /// ```
    pub fn decode(bytes: &[u8], dictionary: &Dictionary, limits: &Limits) -> Result<Self, FrameError> {
        Self::decode_weighed(bytes, dictionary, limits).map(|(frame, _)| frame)
    }

    /// As [`Self::decode`], and tells what the frame takes in memory, in bytes: what it was charged.
    ///
    /// # Errors
    /// As [`Self::decode`].
    ///
    /// ```
    /// use sync_core::dictionary::{Dictionary, Versions};
    /// use sync_core::{error::FrameError, limits::Limits, message::Frame};
    /// let refused = Frame::decode_weighed(&[9, 2], &Dictionary::default(), &Limits::default());
    /// assert_eq!(refused, Err(FrameError::Version { version: 9, ours: Versions::default() }));
    /// ```
    pub fn decode_weighed(
        bytes: &[u8],
        dictionary: &Dictionary,
        limits: &Limits,
    ) -> Result<(Self, usize), FrameError> {
        if bytes.len() > limits.message_bytes_max {
            return Err(FrameError::Oversize { len: bytes.len(), max: limits.message_bytes_max });
        }
        Self::decode_within(limits.decode_bytes_max(), bytes, dictionary, limits)
    }

    /// Reads one frame put together from parts: with its bytes it takes at most [`Limits::staging_bytes_max`].
    pub(crate) fn decode_staged(
        bytes: &[u8],
        dictionary: &Dictionary,
        limits: &Limits,
    ) -> Result<Self, FrameError> {
        let max = limits.staging_bytes_max;
        let read = Self::decode_within(max.saturating_sub(bytes.len()), bytes, dictionary, limits);
        read.map(|(frame, _)| frame).map_err(|error| {
            if let FrameError::Memory { field, bytes: taken, .. } = error {
                let count = taken.saturating_add(bytes.len() as u64);
                return FrameError::Staging { field, count, max: max as u64 };
            }
            error
        })
    }

    fn decode_within(
        memory_max: usize,
        bytes: &[u8],
        dictionary: &Dictionary,
        limits: &Limits,
    ) -> Result<(Self, usize), FrameError> {
        let mut input = Reader::within(bytes, memory_max);
        input.charge("frame", 1, memory::FRAME)?;
        let (version, ours) = (input.byte("version")?, dictionary.versions());
        let kind = input.byte("kind")?;
        let hello = kind == HELLO && version == Version::WHOLE.0;
        if !hello && !ours.contains(Version(version)) {
            return Err(FrameError::Version { version, ours });
        }
        let input = &mut input;
        let large = version >= Version::DIFFERENCES.0;
        let frame = if kind == HELLO {
            Self::Hello(read_hello(input)?)
        } else if (ROOT..=PART).contains(&kind) || is_newer(kind, version) {
            let route = dictionary.read_route(input)?;
            let names = |input: &mut Reader<'_>| {
                dictionary.read_base(&route, matches!(kind, GIVE | SKELETON), input).and_then(|names| {
                    let whole = names.base.is_none() || version >= Version::DIFFERENCES.0;
                    if whole { Ok(names) } else { Err(FrameError::Field { field: "base", value: 1 }) }
                })
            };
            match kind {
                ROOT => Self::Root(route, read_root(input)?),
                PUSH => {
                    let lo = input.varint("lo")?;
                    let len = input.varint("hi")?;
                    let hi = lo.checked_add(len).filter(|hi| *hi <= POSITION_MAX);
                    let hi = hi.ok_or(FrameError::Field { field: "hi", value: len })?;
                    let names = names(input)?;
                    Self::Push(route, Push { lo, hi, fragment: Fragment::read(input, &names, limits)? })
                }
                ACK => {
                    let hi = input.varint("cursor")?.checked_sub(1);
                    let names = names(input)?;
                    let table = ReplicaTable::read(&names, input)?;
                    let known = read_columns(&table, &names, input)?;
                    if known.iter().any(|(_, seq)| *seq == 0) {
                        return Err(FrameError::Field { field: "context", value: 0 });
                    }
                    let known = known.into_iter().collect();
                    Self::Ack(route, Ack { hi, known })
                }
                PULL => {
                    let horizon = WallMillis(input.varint("horizon")?);
                    let listing = read_flags("listing", 1, input)? == 1;
                    let names = names(input)?;
                    let table = ReplicaTable::read(&names, input)?;
                    let context = read_context(&table, &names, input)?;
                    let mut have = DotSet::default();
                    if large && input.remaining() > 0 {
                        let intervals_max = limits.message_bytes_max / HAVE_INTERVAL_BYTES_MAX;
                        have = read_dots_within("have", intervals_max, &table, &names, input)?;
                        if have.is_empty() {
                            return Err(FrameError::Count { field: "have", count: 0, max: 0 });
                        }
                    }
                    Self::Pull(route, Pull { context, horizon, listing, have })
                }
                GIVE => {
                    let head = input.varint_max("head", POSITION_MAX)?;
                    let root = Fingerprint(input.fixed("root")?);
                    let names = names(input)?;
                    Self::Give(route, Give { head, root, fragment: Fragment::read(input, &names, limits)? })
                }
                MORE => {
                    let answer = input.varint("answer")?;
                    Self::More(route, More { answer, from: input.varint("symbols held")? })
                }
                NODES => Self::Nodes(route, Question::read(input)?),
                NODES_FOUND => Self::NodesFound(route, Answer::read(input)?),
                INSPECT => {
                    let inspect = read_inspect(input)?;
                    let names = names(input)?;
                    let fragment = Fragment::read(input, &names, limits)?;
                    Self::Inspect(route, Inspect { fragment, ..inspect })
                }
                INSPECTED => {
                    let same = read_flags("same", 1, input)? == 1;
                    let covered = input.varint_max("covered", INSPECTED_MAX as u64)?;
                    let names = names(input)?;
                    let fragment = Fragment::read(input, &names, limits)?;
                    let killed = read_dot_set(&route, input)?;
                    Self::Inspected(route, Inspected { same, covered, killed, fragment })
                }
                SYMBOLS => {
                    let answer = input.varint("answer")?;
                    let from = input.varint("first symbol")?;
                    Self::Symbols(route, Symbols { answer, from, symbols: read_symbols(0, input)? })
                }
                SURVEY => Self::Survey(route, survey::read_survey(input, names)?),
                QUOTE => Self::Quote(route, Box::new(survey::read_quote(input, names)?)),
                OPEN => Self::Open(route, Box::new(open::read_open(input, names)?)),
                SKELETON => {
                    let answer = input.varint("answer")?;
                    let head = input.varint_max("head", POSITION_MAX)?;
                    let root = Fingerprint(input.fixed("root")?);
                    let names = names(input)?;
                    let (fragment, live) = Fragment::read_skeleton(input, &names, limits)?;
                    Self::Skeleton(route, Box::new(Skeleton { answer, head, root, live, fragment }))
                }
                PAYLOADS => {
                    let answer = input.varint("answer")?;
                    let gone = read_flags("payload flags", 1, input)? == 1;
                    let items = read_items(input, &Names::new(&route, None), limits)?;
                    Self::Payloads(route, Payloads { answer, gone, items })
                }
                _ => {
                    let answer = input.varint("answer")?;
                    let total = input.varint("total")?;
                    let at = input.varint("at")?;
                    let bytes = input.bytes("slice", limits.message_bytes_max)?;
                    input.charge("slice", 1, bytes.len())?;
                    Self::Part(route, Part { answer, total, at, bytes: bytes.to_vec() })
                }
            }
        } else {
            return Err(FrameError::Kind { kind });
        };
        input.finish()?;
        Ok((frame, input.taken()))
    }

    /// What a frame of this kind byte is called in logs.
    pub fn name_of(kind: u8) -> &'static str {
        match kind {
            HELLO => "Hello",
            ROOT => "Root",
            PUSH => "Push",
            ACK => "Ack",
            PULL => "Pull",
            GIVE => "Give",
            PART => "Part",
            SURVEY => "Survey",
            QUOTE => "Quote",
            SKELETON => "Skeleton",
            PAYLOADS => "Payloads",
            OPEN => "Open",
            MORE => "More",
            SYMBOLS => "Symbols",
            NODES => "Nodes",
            NODES_FOUND => "NodesFound",
            INSPECT => "Inspect",
            INSPECTED => "Inspected",
            _ => "no frame",
        }
    }

    /// What the frame is called in logs.
    pub fn name(&self) -> &'static str {
        Self::name_of(self.kind().byte())
    }
}

/// True if `kind` is none of version 1 and `version` has it.
fn is_newer(kind: u8, version: u8) -> bool {
    (SURVEY..=INSPECTED).contains(&kind) && version >= Version::DIFFERENCES.0
}

fn write_route(kind: u8, route: &Route, out: &mut Writer) {
    out.byte(kind);
    out.fixed(&RouteTag::of(route.namespace, route.from, route.to).0);
    out.varint(route.known);
}

fn write_names(route: &Route, dialect: &Dialect, out: &mut Writer) -> Names {
    let names = Names::new(route, dialect.base.clone());
    names.write_base(out);
    names
}

/// A context with the base that it builds on and the replicas that it names.
fn write_known(context: &CausalContext, names: &Names, out: &mut Writer) {
    names.write_base(out);
    let ids: BTreeSet<ReplicaId> = changed(context, names).map(|(id, _)| id).collect();
    let table = ReplicaTable::new(ids);
    table.write(names, out);
    write_context(context, &table, names, out);
}

fn read_known(
    names: impl FnOnce(&mut Reader<'_>) -> Result<Names, FrameError>,
    input: &mut Reader<'_>,
) -> Result<CausalContext, FrameError> {
    let names = names(input)?;
    let table = ReplicaTable::read(&names, input)?;
    read_context(&table, &names, input)
}

fn write_fragment(route: &Route, fragment: &Fragment, dialect: &Dialect, out: &mut Writer) {
    let names = write_names(route, dialect, out);
    fragment.write(&names, out);
}

/// Dots with a table of their own.
fn write_dot_set(route: &Route, dots: &DotSet, out: &mut Writer) {
    let names = Names::new(route, None);
    let table = ReplicaTable::new(dots.columns().map(|(id, _)| id).collect());
    table.write(&names, out);
    write_dots(dots, &table, &names, out);
}

fn read_dot_set(route: &Route, input: &mut Reader<'_>) -> Result<DotSet, FrameError> {
    let names = Names::new(route, None);
    let table = ReplicaTable::read(&names, input)?;
    read_dots("dots", &table, &names, input)
}

fn read_flags(field: &'static str, max: u8, input: &mut Reader<'_>) -> Result<u8, FrameError> {
    match input.byte(field)? {
        flags if flags <= max => Ok(flags),
        flags => Err(FrameError::Field { field, value: u64::from(flags) }),
    }
}

fn read_root(input: &mut Reader<'_>) -> Result<Root, FrameError> {
    let state = StateId(input.fixed("state id")?);
    let head = input.varint_max("head", POSITION_MAX)?;
    let clock = Some(WallMillis(input.varint("clock")?)).filter(|clock| clock.0 != 0);
    let flags = read_flags("root flags", 15, input)?;
    let [behind, wants_reply, wants_whole, neighbour] = [1, 2, 4, 8].map(|bit| flags & bit == bit);
    Ok(Root { state, head, clock, behind, neighbour, wants_reply, wants_whole })
}
