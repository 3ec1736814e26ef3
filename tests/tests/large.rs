//! Large answers: all at once, resumed without sending anything twice, of one snapshot whatever is written
//! meanwhile.

use std::collections::VecDeque;

use sync_core::class::Class;
use sync_core::dictionary::{Version, Versions};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Event, Input, Node, Output, Stats};
use sync_core::time::{Now, Span, Timestamp};
use sync_core::types::{lww_map, or_set};
use sync_tests::{Cluster, WALL_START, config, namespace, node_id};

const ENTRIES: u32 = 1_000;

/// Small frames, and few of them at once: a giver has most of its answer before it.
fn limits() -> Limits {
    Limits { message_bytes_max: 350, outbox_frames_max: 2, ..Limits::default() }
}

/// Two nodes and the frames between them; a sender knows that a frame is written when it is delivered.
struct Pair {
    nodes: [Node; 2],
    now: Timestamp,
    wire: VecDeque<(usize, Class, Vec<u8>)>,
    events: Vec<Event>,
    /// Items delivered in payloads.
    items: u64,
    frames: u64,
}

impl Pair {
    fn new(limits: &Limits, versions: [Versions; 2]) -> Self {
        let nodes = [0u8, 1].map(|index| {
            let mut config = config(index, 0);
            config.limits = limits.clone();
            config.versions = versions[usize::from(index)];
            Node::new(config, Now::at(Timestamp::ZERO, WALL_START))
        });
        let (wire, events) = (VecDeque::new(), Vec::new());
        Self { nodes, now: Timestamp::ZERO, wire, events, items: 0, frames: 0 }
    }

    /// Node 0 holds [`ENTRIES`] elements and node 1 nothing; they are not connected.
    fn filled(limits: &Limits) -> Self {
        let mut pair = Self::new(limits, [Versions::default(); 2]);
        pair.fill();
        pair
    }

    fn fill(&mut self) {
        for index in 0..ENTRIES {
            self.write(|group| or_set::add(group, "s", &index.to_be_bytes()));
        }
    }

    fn write<T>(
        &mut self,
        fill: impl FnOnce(&mut sync_core::store::Group<'_>) -> Result<T, sync_core::error::WriteError>,
    ) {
        let now = self.now();
        self.nodes[0].write(now, namespace(), fill).map(drop).expect("there is room");
        self.input(0, Input::Wake);
    }

    fn now(&self) -> Now {
        Now::at(self.now, WALL_START)
    }

    fn input(&mut self, at: usize, input: Input) {
        let now = self.now();
        self.nodes[at].handle(now, input);
        while let Some(output) = self.nodes[at].poll_output() {
            match output {
                Output::Send { class, bytes, .. } => self.wire.push_back((at, class, bytes)),
                Output::Event(event) => self.events.push(event),
                Output::Persist { .. } | Output::Dial { .. } => {}
                Output::Disconnect { reason, .. } => panic!("{reason}"),
            }
        }
    }

    fn connect(&mut self) {
        self.input(0, Input::Connected { peer: node_id(1) });
        self.input(1, Input::Connected { peer: node_id(0) });
    }

    fn cut(&mut self) {
        self.wire.clear();
        self.input(0, Input::Disconnected { peer: node_id(1) });
        self.input(1, Input::Disconnected { peer: node_id(0) });
    }

    fn peer(at: usize) -> sync_core::id::NodeId {
        node_id(u8::try_from(1 - at).expect("two nodes"))
    }

    fn decode(&self, to: usize, bytes: &[u8]) -> Result<Frame, sync_core::error::FrameError> {
        Frame::decode(bytes, &self.nodes[to].reads(Self::peer(to)), self.nodes[to].limits())
    }

    /// Tells the sender that the frame is written, and takes it off the wire.
    fn take(&mut self) -> Option<(usize, Vec<u8>)> {
        let (from, class, bytes) = self.wire.pop_front()?;
        self.input(from, Input::Written { peer: Self::peer(from), class, frames: 1, bytes: bytes.len() });
        Some((from, bytes))
    }

    fn deliver(&mut self, from: usize, bytes: &[u8]) {
        let to = 1 - from;
        let (peer, len) = (Self::peer(to), bytes.len());
        assert!(len <= self.nodes[to].limits().message_bytes_max);
        let input = match self.decode(to, bytes) {
            Ok(frame) => {
                if let Frame::Payloads(_, payloads) = &frame {
                    self.items += payloads.item_count() as u64;
                    self.frames += 1;
                }
                Input::Received { peer, frame, len }
            }
            Err(error) => Input::Malformed { peer, error },
        };
        self.input(to, input);
    }

    fn step(&mut self) -> bool {
        let Some((from, bytes)) = self.take() else { return false };
        self.deliver(from, &bytes);
        true
    }

    fn settle(&mut self) {
        while self.step() {}
    }

    /// Delivers until `items` have come, or all is quiet.
    fn settle_until_items(&mut self, items: u64) {
        while self.items < items && self.step() {}
    }

    /// Lets time pass to the next deadlines, delivering everything.
    fn advance(&mut self, span: Span) {
        let end = self.now + span;
        self.settle();
        while let Some(at) = self.nodes.iter().filter_map(Node::poll_timeout).min().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            (0..2).for_each(|at| self.input(at, Input::Wake));
            self.settle();
        }
        self.now = end;
    }

    fn len(&self) -> u64 {
        or_set::len(self.nodes[1].store(namespace()).expect("it is open"), "s")
    }

    fn stats(&self) -> [Stats; 2] {
        [0, 1].map(|at: usize| self.nodes[at].stats())
    }

    #[track_caller]
    fn assert_equal(&mut self) {
        let [a, b] = &mut self.nodes;
        assert_eq!(a.state_id(namespace()), b.state_id(namespace()));
        let refused = self.events.iter().find(|event| matches!(event, Event::FrameRefused { .. }));
        assert_eq!(refused, None);
    }
}

#[test]
fn a_large_answer_comes_in_small_frames_and_is_visible_all_at_once() {
    let mut pair = Pair::filled(&limits());
    pair.connect();
    while pair.step() {
        assert!([0, u64::from(ENTRIES)].contains(&pair.len()), "all at once: {}", pair.len());
    }
    pair.assert_equal();
    let [giver, taker] = pair.stats();
    assert_eq!((giver.large_answers, giver.deltas_sent), (1, u64::from(ENTRIES)));
    assert_eq!(giver.payload_frames, pair.frames);
    assert!(pair.frames > 10, "{} frames", pair.frames);
    assert_eq!((taker.sessions, taker.items_new, taker.items_resumed), (1, u64::from(ENTRIES), 0));
    let told: Vec<u64> = pair
        .events
        .iter()
        .filter_map(|event| {
            let Event::Bootstrap { items, items_total: 1_000, .. } = event else { return None };
            Some(*items)
        })
        .collect();
    assert!(
        told.is_sorted() && told.len() as u64 == pair.frames + 1 && told.last() == Some(&1_000),
        "{told:?}"
    );
}

#[test]
fn after_a_cut_at_half_no_item_travels_twice() {
    let mut pair = Pair::filled(&limits());
    pair.connect();
    pair.settle_until_items(500);
    assert_eq!(pair.len(), 0);
    let staged = pair.items;
    pair.cut();
    pair.connect();
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.items, u64::from(ENTRIES));
    assert_eq!(pair.stats()[1].items_resumed, staged);
}

#[test]
fn what_was_ended_during_the_cut_is_not_taken_from_what_is_staged() {
    let mut pair = Pair::filled(&limits());
    pair.connect();
    pair.settle_until_items(500);
    pair.cut();
    for index in (0..ENTRIES).step_by(3) {
        pair.write(|group| or_set::remove(group, "s", &index.to_be_bytes()));
    }
    pair.connect();
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.len(), u64::from(ENTRIES) - 334);
}

#[test]
fn items_ended_before_they_are_sent_come_all_the_same_and_then_their_end() {
    let mut pair = Pair::filled(&limits());
    pair.connect();
    pair.settle_until_items(300);
    pair.write(|group| or_set::clear(group, "s"));
    pair.settle_until_items(u64::from(ENTRIES));
    assert_eq!(pair.items, u64::from(ENTRIES), "the snapshot is sent to its last item");
    assert_eq!(pair.len(), u64::from(ENTRIES), "and joined as it was");
    pair.advance(Span::from_secs(1));
    assert_eq!(pair.len(), 0);
    pair.assert_equal();
}

#[test]
fn values_of_the_snapshot_come_and_not_what_stands_in_their_place_now() {
    let mut pair = Pair::new(&limits(), [Versions::default(); 2]);
    for index in 0..ENTRIES {
        pair.write(|group| lww_map::put(group, "m", &index.to_be_bytes(), b"old"));
    }
    pair.connect();
    pair.settle_until_items(300);
    for index in 0..ENTRIES {
        pair.write(|group| lww_map::put(group, "m", &index.to_be_bytes(), b"new"));
    }
    pair.settle_until_items(u64::from(ENTRIES));
    let store = pair.nodes[1].store(namespace()).expect("it is open");
    let values: Vec<&[u8]> = store
        .cells("m", sync_core::cell::TypeTag::LWW_MAP)
        .flat_map(|(_, items)| items.iter().map(|item| item.payload.as_bytes()))
        .collect();
    assert!(values.len() == 1_000 && values.iter().all(|value| *value == b"old"));
    pair.advance(Span::from_secs(60));
    pair.assert_equal();
}

#[test]
fn an_answer_that_may_not_pin_enough_is_called_off_and_asked_for_again() {
    let mut pair = Pair::filled(&Limits { pinned_bytes_max: 5_000, ..limits() });
    pair.connect();
    pair.settle_until_items(300);
    let before = pair.items;
    pair.write(|group| or_set::clear(group, "s"));
    pair.write(|group| or_set::add(group, "s", b"after"));
    pair.advance(Span::from_secs(1));
    pair.assert_equal();
    assert_eq!(pair.len(), 1);
    assert!(pair.items < before + 100, "{} items for {before}", pair.items);
    assert!(pair.stats()[0].answers >= 2);
}

#[test]
fn lost_doubled_and_overtaken_frames_cost_time_only() {
    let mut pair = Pair::filled(&limits());
    pair.connect();
    let (mut turn, mut lost) = (0u32, 0);
    let mut late: Option<(usize, Vec<u8>)> = None;
    while let Some((from, bytes)) = pair.take() {
        turn += 1;
        match turn % 7 {
            3 if from == 0 && matches!(pair.decode(1, &bytes), Ok(Frame::Payloads(..))) => lost += 1,
            4 if late.is_none() => late = Some((from, bytes)),
            5 => (0..2).for_each(|_| pair.deliver(from, &bytes)),
            _ => {
                pair.deliver(from, &bytes);
                late.take().into_iter().for_each(|(from, bytes)| pair.deliver(from, &bytes));
            }
        }
    }
    assert!(lost > 3 && pair.len() == 0, "{lost} frames lost");
    let delivered = pair.items;
    pair.advance(Span::from_secs(20));
    pair.assert_equal();
    assert_eq!(pair.len(), u64::from(ENTRIES));
    assert!(pair.items - delivered < 500, "only what was lost is sent again: {}", pair.items - delivered);
}

#[test]
fn a_peer_of_version_1_is_given_parts() {
    let old = Versions { min: Version(1), max: Version(1) };
    for versions in [[old, Versions::default()], [Versions::default(), old]] {
        let mut pair = Pair::new(&limits(), versions);
        pair.fill();
        pair.connect();
        let mut parts = 0;
        while let Some((from, bytes)) = pair.take() {
            let frame = pair.decode(1 - from, &bytes);
            assert!(!matches!(frame, Ok(Frame::Skeleton(..) | Frame::Payloads(..))));
            parts += u32::from(matches!(frame, Ok(Frame::Part(..))));
            pair.deliver(from, &bytes);
        }
        assert!(parts > 3, "{parts} parts");
        pair.assert_equal();
    }
}

#[test]
fn a_skeleton_longer_than_a_frame_travels_in_parts() {
    let mut pair = Pair::new(&limits(), [Versions::default(); 2]);
    // A thousand records, and two dead dots behind each live one.
    for index in 0..ENTRIES {
        pair.write(|group| or_set::add(group, "s", &index.to_be_bytes()));
        pair.write(|group| or_set::add(group, "gone", &index.to_be_bytes()));
        pair.write(|group| or_set::remove(group, "gone", &index.to_be_bytes()));
    }
    pair.connect();
    let mut parts = 0;
    while let Some((from, bytes)) = pair.take() {
        parts += u32::from(matches!(pair.decode(1 - from, &bytes), Ok(Frame::Part(..))));
        pair.deliver(from, &bytes);
    }
    assert!(parts > 1, "{parts} parts");
    pair.assert_equal();
    // Cut at half, the gaps between what is staged are known to be dead: one interval says it all.
    let mut pair = Pair { nodes: [pair.nodes[0].clone(), Pair::filled(&limits()).nodes[1].clone()], ..pair };
    (pair.items, pair.wire) = (0, VecDeque::new());
    pair.cut();
    pair.connect();
    pair.settle_until_items(500);
    pair.cut();
    pair.connect();
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.items, u64::from(ENTRIES));
}

#[test]
fn what_one_peer_began_another_completes() {
    let mut cluster = Cluster::new(3, &Limits { message_bytes_max: 350, ..Limits::default() });
    cluster.disconnect(0, 1);
    cluster.disconnect(1, 2);
    for index in 0..ENTRIES {
        cluster.write(0, |group| or_set::add(group, "s", &index.to_be_bytes()));
    }
    cluster.advance(Span::from_secs(40));
    cluster.connect(0, 1);
    for _ in 0..200 {
        if cluster.node(1).stats().frames_received > 25 {
            break;
        }
        cluster.deliver_next(1, 0);
        cluster.deliver_next(0, 1);
    }
    assert_eq!(or_set::len(cluster.store(1), "s"), 0);
    cluster.disconnect(0, 1);
    let before = cluster.node(2).stats().deltas_sent;
    cluster.connect(1, 2);
    cluster.advance(Span::from_secs(40));
    assert_eq!(or_set::len(cluster.store(1), "s"), u64::from(ENTRIES));
    let (given, resumed) =
        (cluster.node(2).stats().deltas_sent - before, cluster.node(1).stats().items_resumed);
    assert!(resumed > 100, "{resumed} items resumed");
    assert_eq!(given + resumed, u64::from(ENTRIES));
}

#[test]
fn a_node_that_is_searched_has_another_key_for_every_step_of_a_large_answer() {
    let mut pair = Pair::filled(&limits());
    pair.connect();
    let mut keys = std::collections::BTreeSet::new();
    let (mut items, mut steps) = (0, 0);
    while pair.step() {
        if pair.items > items {
            (items, steps) = (pair.items, steps + 1);
            assert!(keys.insert(pair.nodes[1].state_key(pair.now())), "{items} items");
        }
    }
    assert!(steps > 10);
}
