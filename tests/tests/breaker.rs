//! The circuit breaker of a peer, in the node: what opens it, what goes while it is open, and that nothing is lost.

use std::collections::VecDeque;

use sync_core::breaker::{BreakerReason, BreakerState, Failure};
use sync_core::class::Class;
use sync_core::error::FrameError;
use sync_core::id::NodeId;
use sync_core::limits::{Limits, Timing};
use sync_core::message::Frame;
use sync_core::node::{Event, Input, Members, Node, Output};
use sync_core::time::{Now, Span, Timestamp};
use sync_core::types::or_set;
use sync_tests::{Cluster, WALL_START, config, namespace, node_id};

use BreakerState::{Closed, HalfOpen, Open, Removed};

/// The steps of breakers that nodes told of since the last call.
fn shifts(cluster: &mut Cluster) -> Vec<(u8, BreakerState, BreakerReason)> {
    let events = cluster.events().into_iter();
    let shifts = events.filter_map(|(node, event)| {
        let Event::Breaker { to, reason, .. } = event else { return None };
        Some((node, to, reason))
    });
    shifts.collect()
}

fn names(frames: &[Frame]) -> Vec<&'static str> {
    frames.iter().map(|frame| Frame::name_of(frame.encode(&Default::default())[1])).collect()
}

/// Time passes at node 0; what it sends to node 1 is lost. Gives back what that was.
fn passes_in_vain(cluster: &mut Cluster, span: Span) -> Vec<Frame> {
    cluster.sleep(span);
    cluster.input(0, Input::Wake);
    cluster.take_frames(0, 1)
}

/// Two linked nodes, of which the second answers nothing until the first has given up.
fn given_up() -> Cluster {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.advance(Span::from_secs(10));
    cluster.events();
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.take(0, 1);
    for _ in 0..3 {
        passes_in_vain(&mut cluster, Timing::default().sync_timeout);
    }
    let failed = BreakerReason::Failed(Failure::TimedOut);
    assert_eq!(shifts(&mut cluster), [(0, Open, failed)]);
    cluster
}

fn malformed(cluster: &mut Cluster, times: usize) {
    let error = FrameError::Trailing { extra: 1 };
    (0..times).for_each(|_| cluster.input(0, Input::Malformed { peer: node_id(1), error: error.clone() }));
}

#[test]
fn a_peer_that_answers_nothing_gets_only_greetings_until_it_answers_one_and_then_all_that_waited() {
    let mut cluster = given_up();
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    assert!(cluster.take(0, 1).is_empty(), "the cursor waits");
    cluster.input(0, Input::SyncNow);
    assert!(cluster.take(0, 1).is_empty(), "and so does a root");
    assert_eq!(names(&passes_in_vain(&mut cluster, Span::from_secs(2))), ["Hello"], "a probe");
    assert!(passes_in_vain(&mut cluster, Span::from_secs(4)).is_empty(), "one at a time");
    assert!(passes_in_vain(&mut cluster, Span::from_secs(1)).is_empty(), "it has failed, and the next waits");
    let probe = passes_in_vain(&mut cluster, Span::from_secs(4));
    assert_eq!(names(&probe), ["Hello"]);
    assert_eq!(cluster.node(0).stats().breaker_opens, 1);
    shifts(&mut cluster);

    // The next one arrives.
    passes_in_vain(&mut cluster, Span::from_secs(5));
    cluster.advance(Span::from_secs(5));
    assert!(cluster.is_converged(), "nothing is lost");
    let shifts = shifts(&mut cluster);
    assert_eq!(shifts.last(), Some(&(0, Closed, BreakerReason::Answered(1))), "{shifts:?}");
}

#[test]
fn a_frame_of_a_peer_that_was_given_up_has_it_probed_at_once() {
    let mut cluster = given_up();
    cluster.write(1, |group| or_set::add(group, "s", b"z"));
    assert!(cluster.deliver_next(1, 0));
    assert_eq!(names(&cluster.take_frames(0, 1)), ["Hello"]);
    assert!(or_set::contains(cluster.store(0), "s", b"z"), "what it sends is taken in");
    assert_eq!(shifts(&mut cluster), [(0, HalfOpen, BreakerReason::Heard)]);
    cluster.write(1, |group| or_set::add(group, "s", b"w"));
    assert!(cluster.deliver_next(1, 0));
    assert!(cluster.take(0, 1).is_empty(), "one probe is under way");
}

#[test]
fn a_peer_that_breaks_the_protocol_is_shut_out_for_its_whole_time_and_catches_up_after_it() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let nodes = [node_id(0), node_id(1)].into();
    cluster.node(0).set_members(Members { nodes, unnamed: 0 });
    cluster.events();
    malformed(&mut cluster, 2);
    assert_eq!(cluster.node(0).breaker_state(node_id(1)), Closed);
    malformed(&mut cluster, 1);
    assert_eq!(shifts(&mut cluster), [(0, Open, BreakerReason::Failed(Failure::Violation))]);
    assert!(cluster.parted()[0].contains("protocol violation"), "{:?}", cluster.parted());

    cluster.write(1, |group| or_set::add(group, "s", b"x"));
    cluster.sleep(Span::from_secs(59));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(cluster.parted().len(), 2, "its link is closed again");
    assert!(cluster.store(0).context().is_empty(), "and nothing was taken in");
    assert!(cluster.dials().is_empty());

    let tried = (0..17).any(|_| {
        cluster.advance(Span::from_secs(1));
        !cluster.dials().is_empty()
    });
    assert!(tried, "then it is tried");
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert!(cluster.is_converged());
    assert_eq!(cluster.node(0).breaker_state(node_id(1)), Closed);
}

#[test]
fn refused_dials_open_and_the_node_alone_says_when_the_next_one_is_due() {
    let mut cluster = Cluster::apart([config(0, 0)]);
    let peer = node_id(1);
    let failed = Input::Failed { peer, failure: Failure::Refused };
    cluster.node(0).set_members(Members { nodes: [peer].into(), unnamed: 0 });
    (0..3).for_each(|_| cluster.input(0, failed.clone()));
    assert_eq!(shifts(&mut cluster), [(0, Open, BreakerReason::Failed(Failure::Refused))]);
    let Timing { breaker_probe_min, breaker_probe_max, .. } = Timing::default();
    for _ in 0..10 {
        cluster.advance(Span::from_micros(breaker_probe_min.as_micros() - 1));
        assert!(cluster.dials().is_empty(), "not before its shortest wait");
        cluster.advance(breaker_probe_max);
        assert_eq!(cluster.dials(), [(0, 1)]);
        cluster.input(0, failed.clone());
    }
    let status = cluster.node(0).breaker_of(peer).expect("it failed");
    assert_eq!((status.opens, status.failures.refused, status.is_shut), (1, 13, false));

    cluster.node(0).set_members(Members::default());
    cluster.advance(Span::from_secs(3_600));
    assert!(cluster.dials().is_empty(), "who is not configured is not dialled");
}

#[test]
fn a_dial_that_fails_while_the_link_is_up_says_nothing_of_the_peer() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let failed = Input::Failed { peer: node_id(1), failure: Failure::Refused };
    (0..5).for_each(|_| cluster.input(0, failed.clone()));
    assert_eq!(cluster.node(0).breakers().count(), 0);
    cluster.input(0, Input::Failed { peer: node_id(1), failure: Failure::Oversize });
    assert_eq!(cluster.node(0).stats().oversized, 1, "what the framing found counts all the same");
}

#[test]
fn frames_that_an_honest_peer_may_send_are_refused_and_held_against_nobody() {
    let mut cluster = Cluster::new(2, &Limits::default());
    for error in [
        FrameError::Gap { replica: cluster.node(1).replica(), first: 3, known: 1 },
        FrameError::ClockAhead { ahead_ms: 61_000, max_ms: 60_000 },
        FrameError::Staging { field: "answer", count: 2, max: 1 },
        FrameError::Ceiling { bytes: 1, after: 3, max: 2 },
    ] {
        (0..5).for_each(|_| cluster.input(0, Input::Malformed { peer: node_id(1), error: error.clone() }));
    }
    assert_eq!(cluster.node(0).breaker_state(node_id(1)), Closed);
    assert_eq!(cluster.node(0).stats().frames_refused, 20);
}

#[test]
fn what_an_operator_asks_is_done_and_undone() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let peer = node_id(1);
    let now = cluster.now();
    assert!(!cluster.node(0).trip_peer(now, node_id(9)), "nobody knows it");
    assert!(!cluster.node(0).trip_peer(now, node_id(0)), "that is the node itself");
    assert!(cluster.node(0).trip_peer(now, peer));
    cluster.input(0, Input::Wake);
    assert_eq!(cluster.parted().len(), 1);
    assert!(cluster.node(0).breaker_of(peer).is_some_and(|status| status.is_shut));
    assert!(cluster.node(0).reset_peer(now, peer));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(cluster.parted().len(), 1, "it is let in again");

    assert!(cluster.node(0).remove_peer(now, peer));
    cluster.input(0, Input::Wake);
    cluster.advance(Span::from_secs(3_600));
    cluster.connect(0, 1);
    assert_eq!((cluster.parted().len(), cluster.node(0).breaker_state(peer)), (3, Removed));
    assert!(!cluster.node(0).reset_peer(now, peer), "only adding brings it back");
    let now = cluster.now();
    cluster.node(0).add_peer(now, peer);
    cluster.connect(0, 1);
    cluster.write(1, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(10));
    assert!(cluster.is_converged() && cluster.parted().len() == 3);
}

#[test]
fn breakers_are_kept_for_twice_as_many_peers_as_there_may_be_and_removed_ones_stay() {
    let mut first = config(0, 0);
    first.limits.peers_max = 4;
    let mut cluster = Cluster::apart([first]);
    let now = cluster.now();
    let peer = |at: u16| {
        let mut id = [7; 32];
        id[..2].copy_from_slice(&at.to_be_bytes());
        NodeId(id)
    };
    assert!(cluster.node(0).remove_peer(now, peer(1)));
    for at in 2..200 {
        for _ in 0..3 {
            cluster.input(0, Input::Failed { peer: peer(at), failure: Failure::Refused });
        }
    }
    assert_eq!(cluster.node(0).breakers().count(), 8);
    assert_eq!(cluster.node(0).breaker_state(peer(1)), Removed);
    for at in 300..307 {
        cluster.node(0).remove_peer(now, peer(at));
    }
    assert!(!cluster.node(0).remove_peer(now, peer(400)), "no room to remember it");
    assert_eq!(cluster.node(0).stats().breaker_opens, 198, "counted for who is no longer kept");
}

#[test]
fn no_more_pulls_are_unanswered_at_a_time_than_may_be_and_all_nodes_agree_all_the_same() {
    let limits = Limits { pulls_at_once_max: 2, ..Limits::default() };
    let mut cluster = Cluster::new(7, &limits);
    (1..7).for_each(|other| cluster.disconnect(0, other));
    for node in 0..7 {
        cluster.write(node, |group| or_set::add(group, "s", &[node]));
    }
    cluster.settle();
    (1..7).for_each(|other| cluster.connect(0, other));
    (1..7).for_each(|other| while cluster.deliver_next(other, 0) {});
    let asks = |frame: &Frame| matches!(frame, Frame::Pull(..) | Frame::Open(..));
    let asked: usize =
        (1..7).map(|other| cluster.take_frames(0, other).iter().filter(|frame| asks(frame)).count()).sum();
    assert_eq!(asked, 2, "the others wait");
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
}

/// Gives an input to a node; gives back the frames that it sends, which nobody has written yet.
fn given(node: &mut Node, at: Timestamp, input: Input) -> Vec<(Class, Vec<u8>)> {
    node.handle(Now::at(at, WALL_START), input);
    let sent = std::iter::from_fn(|| node.poll_output());
    let sent = sent.filter_map(|output| match output {
        Output::Send { class, bytes, .. } => Some((class, bytes)),
        Output::Persist { .. } | Output::Dial { .. } | Output::Disconnect { .. } | Output::Event(_) => None,
    });
    sent.collect()
}

#[test]
fn a_long_answer_that_is_not_read_is_given_up_after_a_while_and_what_was_kept_for_it_with_it() {
    let (mut at, mut wires) = (Timestamp::ZERO, [VecDeque::new(), VecDeque::new()]);
    let mut nodes = [0, 1].map(|index| {
        let mut config = config(index, 0);
        config.limits.message_bytes_max = 2_000;
        config.limits.outbox_frames_max = 1;
        Node::new(config, Now::at(at, WALL_START))
    });
    for element in 0..100u8 {
        let now = Now::at(at, WALL_START);
        let written = nodes[0].write(now, namespace(), |group| or_set::add(group, "s", &[element; 60]));
        written.expect("there is room");
    }
    for side in [0, 1] {
        let peer = node_id(1 - u8::try_from(side).expect("two nodes"));
        let sent = given(&mut nodes[side], at, Input::Connected { peer });
        wires[side].extend(sent);
    }
    // All that is sent is written and read, until the answer begins.
    'talk: loop {
        for side in [0, 1] {
            let Some((class, bytes)) = wires[side].pop_front() else { continue };
            let peers = [node_id(0), node_id(1)];
            let (from, to) = (peers[side], peers[1 - side]);
            let dictionary = nodes[1 - side].reads(from);
            let frame = Frame::decode(&bytes, &dictionary, &Limits::default()).expect("nodes send frames");
            if matches!(frame, Frame::Skeleton(..) | Frame::Part(..)) {
                break 'talk;
            }
            let len = bytes.len();
            let sent = given(&mut nodes[side], at, Input::Written { peer: to, class, frames: 1, bytes: len });
            wires[side].extend(sent);
            let sent = given(&mut nodes[1 - side], at, Input::Received { peer: from, frame, len });
            wires[1 - side].extend(sent);
        }
        assert!(wires.iter().any(|wire| !wire.is_empty()), "an empty node asks for all");
    }
    let timeouts = nodes[0].stats().timeouts;
    at = at + Timing::default().sync_timeout + Timing::default().sync_timeout;
    assert!(given(&mut nodes[0], at, Input::Wake).is_empty());
    assert!(nodes[0].stats().timeouts > timeouts, "the answer made no progress");
    let written = Input::Written { peer: node_id(1), class: Class::Normal, frames: 1, bytes: 2_000 };
    let sent = given(&mut nodes[0], at, written);
    let items = sent.iter().filter(|(_, bytes)| ["Part", "Payloads"].contains(&Frame::name_of(bytes[1])));
    assert_eq!(items.count(), 0, "nothing of it is left");
}
