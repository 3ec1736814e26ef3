//! The trace of a run: a hash that two runs of one seed share, and lines for people when asked.

use std::collections::{BTreeMap, VecDeque};

use sync_core::id::NodeId;
use sync_core::message::Frame;
use sync_core::node::Input;

/// What kind of thing happened. The numbers go into the trace hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Handled = 1,
    Sent = 2,
    Wrote = 3,
    Refused = 4,
    Started = 6,
    Ended = 7,
    Fault = 8,
    Phase = 9,
    Event = 10,
    Ids = 11,
}

/// Everything that happened, as a hash, and as lines if they are wanted.
#[derive(Debug)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    /// The last lines; `None` if nobody reads them.
    lines: Option<VecDeque<String>>,
    /// Most lines kept.
    keep: usize,
}

impl Trace {
    /// A trace that keeps the last `keep` lines; 0 keeps none and costs nothing.
    pub(crate) fn new(keep: usize) -> Self {
        Self { hasher: blake3::Hasher::new(), lines: (keep > 0).then(VecDeque::new), keep }
    }

    /// Takes in that `mark` happened at `node`; `line` is only called if somebody reads it.
    pub(crate) fn note(
        &mut self,
        at: u64,
        mark: Mark,
        node: usize,
        bytes: &[u8],
        line: impl FnOnce() -> String,
    ) {
        let mut head = [0; 24];
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..16].copy_from_slice(&(node as u64).to_le_bytes());
        head[16..].copy_from_slice(&((bytes.len() as u64) << 8 | mark as u64).to_le_bytes());
        self.hasher.update(&head).update(bytes);
        if let Some(lines) = &mut self.lines {
            if lines.len() == self.keep {
                lines.pop_front();
            }
            lines.push_back(format!("{:>4}.{:06}  n{node:<3} {}", at / 1_000_000, at % 1_000_000, line()));
        }
    }

    /// The first 16 bytes of the hash of everything so far, in hex.
    pub(crate) fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Takes the lines kept.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(|lines| lines.drain(..).collect()).unwrap_or_default()
    }
}

/// An input in a few words.
pub(crate) fn describe(input: &Input, places: &BTreeMap<NodeId, usize>) -> String {
    let name =
        |peer: &NodeId| places.get(peer).map_or_else(|| format!("{peer:?}"), |place| format!("n{place}"));
    match input {
        Input::Connected { peer } => format!("connected to {}", name(peer)),
        Input::Disconnected { peer } => format!("disconnected from {}", name(peer)),
        Input::Received { peer, frame, len } => {
            format!("gets {} from {} ({len} bytes)", detail(frame), name(peer))
        }
        Input::Malformed { peer, error } => format!("gets no frame from {}: {error}", name(peer)),
        Input::Written { peer, bytes, .. } => format!("has written {bytes} bytes to {}", name(peer)),
        Input::Failed { peer, failure } => format!("fails at {}: {}", name(peer), failure.name()),
        Input::Persisted { n } => format!("step {} is durable", n.0),
        Input::Wake => "wakes".to_owned(),
        Input::SyncNow => "is told to sync".to_owned(),
    }
}

fn detail(frame: &Frame) -> String {
    match frame {
        Frame::Hello(hello) => format!("Hello of {:?}", hello.incarnation),
        Frame::Root(_, root) => {
            let behind = if root.behind { " behind" } else { "" };
            format!("Root {}{behind}, head {}", root.state.short(), root.head)
        }
        Frame::Open(_, open) => {
            let (behind, columns) = (if open.behind { " behind" } else { "" }, open.context.len());
            format!("Open {}{behind}, head {}, knows {columns} columns", open.state.short(), open.head)
        }
        Frame::Push(_, push) => {
            let dots = push.fragment.dots.len();
            format!("Push {}..{} of {dots} dots, {} items", push.lo, push.hi, push.fragment.item_count())
        }
        Frame::Ack(_, ack) => format!("Ack {:?}, {} columns", ack.hi, ack.known.len()),
        Frame::Pull(_, pull) => format!("Pull, knows {} columns", pull.context.len()),
        Frame::Give(_, give) => {
            let dots = give.fragment.dots.len();
            format!("Give {} of {dots} dots, {} items", give.head, give.fragment.item_count())
        }
        Frame::More(_, more) => format!("More of sketch {} from {}", more.answer, more.from),
        Frame::Symbols(_, more) => {
            format!("Symbols of sketch {}, {} from {}", more.answer, more.symbols.len(), more.from)
        }
        Frame::Nodes(_, question) => format!("Nodes, {} probes", question.probes.len()),
        Frame::NodesFound(_, answer) => format!("NodesFound, {} parts", answer.parts.len()),
        Frame::Inspect(_, inspect) => format!("Inspect {} addresses", inspect.addresses.len()),
        Frame::Inspected(_, inspected) => {
            format!("Inspected {} addresses, same {}", inspected.covered, inspected.same)
        }
        Frame::Part(_, part) => {
            format!("Part {}..{} of {}", part.at, part.at + part.bytes.len() as u64, part.total)
        }
        Frame::Survey(_, survey) => format!("Survey, knows {} columns", survey.context.len()),
        Frame::Quote(_, quote) => format!("Quote {:?}, knows {} columns", quote.load, quote.context.len()),
        Frame::Skeleton(_, skeleton) => {
            let (dots, live) = (skeleton.fragment.dots.len(), skeleton.live.len());
            format!("Skeleton {} of {dots} dots, {live} live, head {}", skeleton.answer, skeleton.head)
        }
        Frame::Payloads(_, payloads) => {
            let gone = if payloads.gone { ", gone" } else { "" };
            format!("Payloads {} of {} items{gone}", payloads.answer, payloads.item_count())
        }
    }
}

/// The name of a frame by its bytes.
pub(crate) fn frame_name(bytes: &[u8]) -> &'static str {
    bytes.get(1).map_or("?", |kind| Frame::name_of(*kind))
}
