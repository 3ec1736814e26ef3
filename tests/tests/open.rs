//! How a connection begins: both ends open at once, each item crosses once, and what cannot open begins by a root.

use std::sync::Arc;

use sync_core::causal::CausalContext;
use sync_core::dictionary::{Base, Version};
use sync_core::id::{Dot, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::{Dialect, Frame, Open, Route};
use sync_core::node::{Event, Node};
use sync_core::store::Damage;
use sync_core::time::Span;
use sync_core::types::or_set;
use sync_tests::{Cluster, config, namespace, replica};

/// Two nodes that agree on two elements, cut off from each other.
fn parted(limits: &Limits) -> Cluster {
    let mut cluster = Cluster::new(2, limits);
    for node in [0, 1u8] {
        cluster.write(node, |group| or_set::add(group, "s", &[node]));
    }
    cluster.advance(Span::from_secs(60));
    assert!(cluster.is_converged());
    cluster.disconnect(0, 1);
    cluster.events();
    cluster
}

/// Nothing stays in the log: news go by answers.
fn short_log() -> Limits {
    Limits { log_entries_max: 1, ..Limits::default() }
}

/// Adds elements on a node, more than the short log holds.
fn add(cluster: &mut Cluster, node: u8) {
    for element in 10..13 {
        cluster.write(node, |group| or_set::add(group, "s", &[node, element]));
    }
}

/// Connects both and delivers the greetings; what each then says first.
fn greet(cluster: &mut Cluster) -> [Vec<Vec<u8>>; 2] {
    cluster.connect(0, 1);
    let mut first = [Vec::new(), Vec::new()];
    loop {
        let sent = [(0, 1), (1, 0u8)].map(|(from, to)| (from, to, cluster.take(from, to)));
        if sent.iter().all(|(.., frames)| frames.is_empty()) {
            return first;
        }
        for (from, to, frames) in sent {
            for bytes in frames {
                if matches!(cluster.read_sent(from, to, &bytes), Frame::Hello(_)) {
                    cluster.deliver(from, to, &bytes);
                } else {
                    first[usize::from(from)].push(bytes);
                }
            }
        }
    }
}

fn names(cluster: &mut Cluster, from: u8, frames: &[Vec<u8>]) -> Vec<&'static str> {
    frames.iter().map(|bytes| cluster.read_sent(from, 1 - from, bytes).name()).collect()
}

fn items_known(cluster: &mut Cluster) -> u64 {
    [0, 1].map(|node| cluster.node(node).stats().items_known).iter().sum()
}

fn answers(cluster: &mut Cluster) -> [u64; 2] {
    [0, 1].map(|node| cluster.node(node).stats().answers)
}

#[test]
fn both_ends_open_at_once_and_each_gets_what_it_lacks_in_one_round_trip() {
    let mut cluster = parted(&short_log());
    [0, 1].into_iter().for_each(|node| add(&mut cluster, node));
    let first = greet(&mut cluster);
    for node in [0, 1u8] {
        assert_eq!(names(&mut cluster, node, &first[usize::from(node)]), ["Open"]);
    }
    for node in [0, 1u8] {
        first[usize::from(node)].iter().for_each(|bytes| cluster.deliver(node, 1 - node, bytes));
    }
    let gives = [0, 1u8].map(|node| cluster.take(node, 1 - node));
    for node in [0, 1u8] {
        let sent = &gives[usize::from(node)];
        assert_eq!(names(&mut cluster, node, sent), ["Give"]);
        sent.iter().for_each(|bytes| cluster.deliver(node, 1 - node, bytes));
    }
    assert!(cluster.is_converged());
    assert_eq!(items_known(&mut cluster), 0, "nothing crossed that was known");
    cluster.settle();
    assert_eq!(cluster.store(0).context().columns().count(), 2);
}

#[test]
fn who_has_no_news_gives_no_answer_and_the_other_does_not_wait_for_one() {
    for writer in [0, 1u8] {
        let mut cluster = parted(&short_log());
        let before = answers(&mut cluster);
        add(&mut cluster, writer);
        cluster.connect(0, 1);
        cluster.settle();
        assert!(cluster.is_converged());
        let after = answers(&mut cluster);
        let given: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(given[usize::from(writer)], 1);
        assert_eq!(given[usize::from(1 - writer)], 0);
        // Nobody pulls when the time for an answer is over.
        cluster.advance(Span::from_secs(20));
        assert_eq!(answers(&mut cluster), after);
    }
}

#[test]
fn what_pushes_carry_is_not_given_as_well() {
    for writers in [&[0u8][..], &[1], &[0, 1]] {
        let mut cluster = parted(&Limits::default());
        let before = answers(&mut cluster);
        writers.iter().for_each(|writer| add(&mut cluster, *writer));
        cluster.connect(0, 1);
        cluster.settle();
        assert!(cluster.is_converged());
        cluster.advance(Span::from_secs(20));
        assert_eq!(answers(&mut cluster), before, "pushes do it: {writers:?}");
        assert_eq!(items_known(&mut cluster), 0, "{writers:?}");
        for node in [0, 1] {
            assert_eq!(cluster.node(node).peers(namespace())[0].roots_equal, Some(true));
        }
    }
}

#[test]
fn an_open_that_is_lost_is_asked_again_as_a_pull() {
    let mut cluster = parted(&short_log());
    [0, 1].into_iter().for_each(|node| add(&mut cluster, node));
    // Both opens are lost.
    greet(&mut cluster);
    cluster.settle();
    assert!(!cluster.is_converged());
    cluster.advance(Span::from_secs(10));
    assert!(cluster.is_converged());
}

#[test]
fn an_open_is_for_the_life_that_it_was_sent_to() {
    let mut cluster = parted(&short_log());
    add(&mut cluster, 1);
    let [open, _] = greet(&mut cluster);
    let (now, image) = (cluster.now(), cluster.node(1).image());
    cluster.replace(1, Node::restart(config(1, 1), image, now));
    let greeting = cluster.take(0, 1);
    greeting.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
    cluster.take(1, 0);
    let stale = cluster.node(1).stats().frames_stale;
    open.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
    assert_eq!(cluster.node(1).stats().frames_stale, stale + 1);
    let sent = cluster.take_frames(1, 0);
    assert!(sent.iter().all(|frame| matches!(frame, Frame::Hello(_))), "{sent:?}");
    cluster.advance(Span::from_secs(20));
    assert!(cluster.is_converged());
}

#[test]
fn a_node_that_knows_nothing_begins_by_a_root_and_is_given_the_store_once() {
    let configs = (0..3).map(|index| config(index, 0));
    let mut cluster = Cluster::apart(configs);
    cluster.connect(0, 1);
    cluster.settle();
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(60));
    for peer in [0, 1] {
        cluster.connect(peer, 2);
    }
    let mut quiet = false;
    while !quiet {
        quiet = true;
        for (from, to) in [(0, 2), (1, 2), (2, 0), (2, 1u8)] {
            for bytes in cluster.take(from, to) {
                let frame = cluster.read_sent(from, to, &bytes);
                assert!(from != 2 || !matches!(frame, Frame::Open(..)), "an open would pull from both");
                cluster.deliver(from, to, &bytes);
                quiet = false;
            }
        }
    }
    assert!(cluster.is_converged());
    assert_eq!(cluster.node(2).stats().items_known, 0);
}

#[test]
fn a_node_with_staged_items_begins_by_a_root_so_that_its_pull_says_what_it_has() {
    let mut cluster = parted(&Limits { message_bytes_max: 700, ..short_log() });
    for element in 0..200u8 {
        cluster.write(0, |group| or_set::add(group, "s", &[2, element]));
    }
    cluster.connect(0, 1);
    while cluster.deliver_next(1, 0) | cluster.deliver_next(0, 1) {
        let staged = cluster
            .events()
            .into_iter()
            .any(|(node, event)| node == 1 && matches!(event, Event::Bootstrap { items: 1.., .. }));
        if staged {
            break;
        }
    }
    assert_eq!(cluster.store(1).context().get(replica(0, 0)), 1, "the answer is not complete");
    cluster.disconnect(0, 1);
    let [_, first] = greet(&mut cluster);
    assert!(!names(&mut cluster, 1, &first).contains(&"Open"), "an open cannot say what is staged");
    cluster.advance(Span::from_secs(20));
    assert!(cluster.is_converged());
    assert!(cluster.node(1).stats().items_resumed > 0);
}

fn route() -> Route {
    Route { namespace: namespace(), from: replica(0, 0), to: replica(1, 0), known: 0 }
}

/// An open of node 0 in a state of its own.
fn open_of(cluster: &mut Cluster, context: CausalContext) -> Open {
    let state = cluster.node(0).state_id(namespace()).expect("it is open").half();
    let (head, horizon) = (cluster.store(0).log_head(), cluster.store(0).horizon());
    Open { state, head, horizon, behind: true, neighbour: true, context }
}

#[test]
fn an_open_that_knows_events_never_minted_fences_before_anything_is_given() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(1, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(1));
    cluster.events();
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.take(0, 1);
    let mut context = cluster.store(0).context().clone();
    context.advance(replica(1, 0), 9);
    let open = open_of(&mut cluster, context);
    cluster.deliver(0, 1, &Frame::Open(route(), Box::new(open)).encode(&Dialect::default()));
    let fenced =
        |(node, event): &(u8, Event)| *node == 1 && matches!(event, Event::Fenced { claimed: 9, .. });
    assert!(cluster.events().iter().any(fenced));
    assert!(cluster.take_frames(1, 0).iter().all(|frame| !matches!(frame, Frame::Give(..))));
}

#[test]
fn an_open_over_a_forgotten_base_is_asked_for_whole_at_once() {
    let mut cluster = parted(&short_log());
    add(&mut cluster, 0);
    greet(&mut cluster);
    let lost = Base::of(&CausalContext::from_iter([(ReplicaId([9; 16]), 4)]));
    let context = cluster.store(0).context().clone();
    let open = open_of(&mut cluster, context);
    let dialect = Dialect { version: Version(2), base: Some(Arc::new(lost)) };
    cluster.deliver(0, 1, &Frame::Open(route(), Box::new(open)).encode(&dialect));
    let sent = cluster.take(1, 0);
    let frames: Vec<Frame> = sent.iter().map(|bytes| cluster.read_sent(1, 0, bytes)).collect();
    assert!(matches!(&frames[..], [Frame::Root(_, root)] if root.wants_whole), "{frames:?}");
    sent.iter().for_each(|bytes| cluster.deliver(1, 0, bytes));
    assert!(
        cluster.take_frames(0, 1).iter().any(|frame| matches!(frame, Frame::Pull(..))),
        "without waiting"
    );
    cluster.advance(Span::from_secs(20));
    assert!(cluster.is_converged());
}

#[test]
fn equal_contexts_in_unequal_states_raise_the_alarm_as_soon_as_two_meet() {
    let mut cluster = parted(&Limits::default());
    assert!(cluster.node(1).damage(namespace(), Damage::LoseItem(Dot::new(replica(0, 0), 1))));
    cluster.connect(0, 1);
    cluster.settle();
    let events = cluster.events();
    for node in [0, 1] {
        let diverged = |(at, event): &(u8, Event)| *at == node && matches!(event, Event::Diverged { .. });
        assert!(events.iter().any(diverged), "node {node}: {events:?}");
    }
    cluster.advance(Span::from_secs(60));
    assert!(cluster.is_converged());
    assert_eq!(or_set::len(cluster.store(1), "s"), 2);
}

#[test]
fn a_context_that_is_long_is_left_to_a_pull() {
    let mut cluster = Cluster::new(14, &short_log());
    (0..14).for_each(|node| cluster.write(node, |group| or_set::add(group, "s", &[node])));
    cluster.advance(Span::from_secs(90));
    assert!(cluster.is_converged());
    // A new life of node 1 shares no base with node 0, and knows fourteen incarnations.
    let (now, image) = (cluster.now(), cluster.node(1).image());
    (2..14).for_each(|other| cluster.disconnect(1, other));
    cluster.disconnect(0, 1);
    cluster.replace(1, Node::restart(config(1, 1), image, now));
    let first = greet(&mut cluster);
    for node in [0, 1u8] {
        let names = names(&mut cluster, node, &first[usize::from(node)]);
        assert!(!names.contains(&"Open"), "{names:?}");
    }
}
