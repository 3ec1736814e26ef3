//! Frames that say as much as can be said in few bytes: what a hostile member makes a node take in memory.
//!
//! [`Dense::frame`] builds them by hand, as long as asked and far denser than a node takes, or as dense as it just takes. The
//! scripts send them over and over; what a node takes only as an answer they send when it asks.

use sync_core::causal::{CausalContext, DotSet};
use sync_core::codec::Writer;
use sync_core::dictionary::{Dictionary, Route, RouteTag, Version};
use sync_core::fragment::{Claims, Fragment};
use sync_core::id::{ReplicaId, StateId};
use sync_core::limits::Limits;
use sync_core::merkle::Fingerprint;
use sync_core::message::{Dialect, Frame, FrameKind, Root, Skeleton};
use sync_core::time::WallMillis;

use super::client::{Attacker, framed};

/// The longest frame that a node takes by default.
const LONGEST: usize = 1_000_000;

/// Bytes of a frame before what is dense in it, at most.
const HEAD: usize = 100;

/// What stands densely in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dense {
    /// Cells of a push whose paths of 4 KiB each share all but their ends with the one before.
    Paths,
    /// Cells of a push that hold nothing.
    Cells,
    /// Items of a large answer, with paths as in [`Self::Paths`].
    Items,
    /// Records of a give that name no cell.
    Records,
    /// Every other dot live, as bits, in a give.
    Bits,
    /// The same in a skeleton.
    Skeleton,
    /// Dots of a push, every other one.
    Intervals,
    /// Answers of which each says of sixteen children that nothing is there.
    Nodes,
    /// Children of a node that all but two are not there.
    Children,
}

impl Dense {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Paths,
        Self::Cells,
        Self::Items,
        Self::Records,
        Self::Bits,
        Self::Skeleton,
        Self::Intervals,
        Self::Nodes,
        Self::Children,
    ];

    /// A frame of this with `count` pieces, a multiple of four.
    pub fn frame(self, route: &Route, count: u64) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Paths | Self::Cells => {
                head(FrameKind::Push, route, &mut out);
                [0, 0].into_iter().for_each(|position| out.varint(position));
                fragment_head(count, &mut out);
                out.varint(1);
                name(0, b"k", &mut out);
                out.byte(1);
                out.varint(count);
                names(self == Self::Paths, count, &mut out, |out| out.byte(0));
                // No clock, claim, record or floor.
                out.fixed(&[0; 4]);
            }
            Self::Items => {
                head(FrameKind::Payloads, route, &mut out);
                out.varint(1);
                out.byte(0);
                // The dots 1 to count of the sender.
                [1, 1, 1, 1, 0].into_iter().for_each(|field| out.varint(field));
                out.varint(count - 1);
                let mut first = true;
                names_with(
                    true,
                    count,
                    &mut out,
                    |out| {
                        out.varint(0);
                        if std::mem::take(&mut first) {
                            name(0, b"k", out);
                            out.byte(1);
                        }
                    },
                    |out| out.fixed(&[0, 0]),
                );
            }
            Self::Records => {
                head(FrameKind::Give, route, &mut out);
                out.varint(0);
                out.fixed(&[7; 32]);
                fragment_head(count, &mut out);
                // No objects, nothing expires, claims of cells, the sender's events and no range.
                out.fixed(&[0, 0, 1, 1, 0]);
                out.signed(count.cast_signed());
                out.byte(0);
                out.varint(count);
                for at in 0..count {
                    out.varint(at);
                    out.fixed(&[0, 0]);
                }
                out.byte(0);
            }
            Self::Bits => {
                head(FrameKind::Give, route, &mut out);
                out.varint(0);
                out.fixed(&[7; 32]);
                // The first dot is dead, and of the others every other one is live.
                fragment_head(1, &mut out);
                out.fixed(&[0, 0]);
                listing(count, &mut out);
                out.fixed(&[0, 0]);
            }
            Self::Skeleton => {
                let (live, context) = every_other(route.from, count);
                let mut dots = DotSet::default();
                dots.insert_range(route.from, 1, 2 * count);
                let claims = Claims::Whole { context, live: live.clone() };
                let fragment = Fragment { dots, claims, ..Fragment::default() };
                let answer = u64::from(rand::random::<u32>());
                let skeleton = Skeleton { answer, head: 0, root: Fingerprint([7; 32]), live, fragment };
                let frame = Frame::Skeleton(*route, Box::new(skeleton));
                return frame.encode(&Dialect::default());
            }
            Self::Intervals => {
                let (dots, _) = every_other(route.from, count);
                let fragment = Fragment { dots, ..Fragment::default() };
                let push = sync_core::message::Push { lo: 0, hi: 1, fragment };
                return Frame::Push(*route, push).encode(&Dialect::default());
            }
            Self::Nodes => {
                head(FrameKind::NodesFound, route, &mut out);
                out.varint(count);
                (0..count).for_each(|_| {
                    out.fixed(&[6, 0xff, 0xff]);
                    out.fixed(&[0; 16]);
                });
            }
            Self::Children => {
                head(FrameKind::NodesFound, route, &mut out);
                out.varint(count);
                (0..count).for_each(|_| {
                    out.fixed(&[6, 0xff, 0xff]);
                    (0..16).for_each(|_| {
                        out.fixed(&[1, 0, 3, 0]);
                        out.fixed(&[7; 16]);
                    });
                });
            }
        }
        out.finish()
    }

    /// Pieces that fit into `bytes` bytes, about; what no decoder takes more of than some is that many.
    pub fn fitting(self, bytes: usize) -> u64 {
        let room = bytes.saturating_sub(HEAD) as u64;
        match self {
            Self::Paths => room.saturating_sub(4_096) / 9,
            Self::Cells => room / 6,
            Self::Items => room.saturating_sub(4_096) / 10,
            Self::Records => room / 5,
            Self::Bits | Self::Skeleton => room * 4,
            Self::Intervals => room / 2,
            Self::Nodes => (room / 19).min(2_048),
            Self::Children => (room / 323).min(2_048),
        }
    }
}

fn head(kind: FrameKind, route: &Route, out: &mut Writer) {
    out.byte(Version::DIFFERENCES.0);
    out.byte(kind as u8 + 1);
    out.fixed(&RouteTag::of(route.namespace, route.from, route.to).0);
    out.varint(route.known);
}

/// No base, one replica, no horizon, the dots 1 to `dots` of the sender.
fn fragment_head(dots: u64, out: &mut Writer) {
    out.fixed(&[0, 1, 1, 0, 1]);
    out.varint(1);
    out.varint(0);
    out.varint(dots - 1);
}

/// Whole claims: a context, and from the second dot on every other of `2 * count`, as bits.
fn listing(count: u64, out: &mut Writer) {
    out.fixed(&[2, 1, 0]);
    out.signed((2 * count + 1).cast_signed());
    out.fixed(&[1, 0]);
    out.signed(1);
    let bytes = usize::try_from(count / 4).expect("a frame is short");
    out.bytes(&vec![0x55; bytes]);
}

fn every_other(of: ReplicaId, count: u64) -> (DotSet, CausalContext) {
    let dots = (0..count).map(|at| sync_core::id::Dot::new(of, 2 * at + 1)).collect();
    (dots, CausalContext::from_iter([(of, 2 * count)]))
}

fn name(shared: usize, rest: &[u8], out: &mut Writer) {
    out.count(shared);
    out.bytes(rest);
}

fn names(long: bool, count: u64, out: &mut Writer, behind: impl FnMut(&mut Writer)) {
    names_with(long, count, out, |_| {}, behind);
}

/// `count` paths that ascend, each told by its end, with something before and behind each.
fn names_with(
    long: bool,
    count: u64,
    out: &mut Writer,
    mut before: impl FnMut(&mut Writer),
    mut behind: impl FnMut(&mut Writer),
) {
    let mut last: Vec<u8> = Vec::new();
    for at in 0..count {
        let mut path = if long { vec![b'p'; 4_092] } else { Vec::new() };
        path.extend_from_slice(&u32::try_from(at).expect("a frame is short").to_be_bytes());
        before(out);
        let shared = last.iter().zip(&path).take_while(|(one, other)| one == other).count();
        name(shared, &path[shared..], out);
        behind(out);
        last = path;
    }
}

/// The largest count of which a node takes the frame, of those that are multiples of four.
fn fullest(dense: Dense, route: &Route) -> u64 {
    let dictionary = Dictionary::default().with(route.namespace, (route.from, route.to), Vec::new());
    let is_taken = |count| Frame::decode(&dense.frame(route, count), &dictionary, &Limits::default()).is_ok();
    let (mut low, mut high) = (1, dense.fitting(LONGEST) / 4 + 1);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if is_taken(4 * middle) { low = middle } else { high = middle }
    }
    4 * low
}

pub(super) async fn run(script: &str, attacker: &Attacker) {
    let kinds: &[Dense] = match script {
        "dense-give" => &[Dense::Bits, Dense::Cells, Dense::Paths, Dense::Items, Dense::Records],
        "dense-skeleton" => &[Dense::Skeleton],
        _ => &[Dense::Nodes, Dense::Children],
    };
    loop {
        one_link(kinds, attacker).await;
    }
}

async fn one_link(kinds: &[Dense], attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    // A state that is not the node's: it asks for what it lacks.
    let root = Root {
        state: StateId(rand::random()),
        head: 1,
        clock: None,
        behind: true,
        neighbour: true,
        wants_reply: true,
        wants_whole: true,
    };
    let root = framed(&Frame::Root(route, root).encode(&Dialect::default()));
    let mut frames = link.listen();
    let reading = async {
        while let Some(frames) = &mut frames
            && frames.next().await.is_some()
        {}
        std::future::pending::<()>().await;
    };
    let writing = async {
        // What it just takes costs most: it is read to its end, and no link is closed for it. At last as much as can be
        // said is sent too: three of these, and the node has had enough.
        let fullest =
            |dense: &Dense| [root.clone(), framed(&dense.frame(&route, fullest(*dense, &route)))].concat();
        let round: Vec<Vec<u8>> = kinds.iter().map(fullest).collect();
        for _ in 0..200 {
            for frames in &round {
                if !link.write(frames).await {
                    return;
                }
            }
        }
        for dense in kinds {
            if !link.write(&framed(&dense.frame(&route, dense.fitting(LONGEST)))).await {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}
