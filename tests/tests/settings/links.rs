//! Peers, messages, and how often they go.

use sync_core::error::FrameError;
use sync_core::message::{Frame, FrameKind};
use sync_core::node::{Event, Input, Node, Output};
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, rw_set};
use sync_tests::{Cluster, namespace};

use super::{node, pair, told};

#[test]
fn a_peer_more_than_there_may_be_is_refused() {
    let third = |text: &str| {
        let mut cluster = Cluster::apart((0..4).map(|index| node(index, text)));
        (1..4).for_each(|other| cluster.connect(0, other));
        cluster.parted().to_vec()
    };
    let text = "this node already knows 2 peers, its limit; remove one or raise peers_max";
    assert_eq!(third("max_peers = 2"), [text]);
    assert!(third("max_peers = 3").is_empty());
}

#[test]
fn a_message_longer_than_it_may_be_is_refused() {
    let refused = |text: &str| {
        let mut cluster = pair(text);
        cluster.deliver(1, 0, &vec![0; 80_000]);
        told(&mut cluster, |event| {
            let Event::FrameRefused { error, .. } = event else { return None };
            Some(error)
        })
    };
    let refused_short = refused("max_message_size = \"72KiB\"\nmax_group_size = \"68KiB\"");
    assert_eq!(refused_short, [FrameError::Oversize { len: 80_000, max: 73_728 }]);
    let otherwise = refused("");
    assert!(!matches!(otherwise[..], [FrameError::Oversize { .. }]), "{otherwise:?}");
}

/// Messages that a node builds for a peer which reads none of them, and their bytes.
fn built(text: &str) -> (usize, usize) {
    let mut cluster = Cluster::apart([node(0, text), node(1, "")]);
    cluster.connect(0, 1);
    cluster.settle();
    let now = cluster.now();
    let node: &mut Node = cluster.node(0);
    let (mut frames, mut bytes_sent) = (0, 0);
    for at in 0..100u8 {
        let written = node.write(now, namespace(), |group| lww_map::put(group, "m", &[at], &[7; 500]));
        written.expect("there is room");
        node.handle(now, Input::Wake);
        node.handle(now, Input::SyncNow);
        while let Some(output) = node.poll_output() {
            if let Output::Send { bytes, .. } = output {
                (frames, bytes_sent) = (frames + 1, bytes_sent + bytes.len());
            }
        }
    }
    (frames, bytes_sent)
}

#[test]
fn no_more_messages_are_built_for_a_peer_that_does_not_read() {
    assert_eq!(built("max_queue_size = 3").0, 3);
    assert!(built("max_queue_size = 1000").0 > 3);
}

#[test]
fn no_more_bytes_are_built_for_a_peer_that_does_not_read() {
    // The last message is built while there is room.
    let (few, more) = (built("max_queue_bytes = \"1kB\"").1, built("max_queue_bytes = \"1MB\"").1);
    assert!((1_000..2_000).contains(&few) && more > 2 * few, "{few} and {more}");
}

#[test]
fn a_shorter_interval_sends_more_roots() {
    let roots = |text: &str| {
        let mut cluster = pair(text);
        cluster.advance(Span::from_secs(120));
        let sent = cluster.node(0).meter().sent().find(|(kind, _)| *kind == FrameKind::Root);
        sent.map_or(0, |(_, traffic)| traffic.frames)
    };
    let (often, seldom) = (roots("sync_interval = \"2s\""), roots(""));
    assert!(often >= 40 && (2..=8).contains(&seldom), "{often} and {seldom}");
}

#[test]
fn a_shorter_timeout_sends_again_sooner() {
    let pushed_again = |text: &str| {
        let mut cluster = pair(text);
        cluster.advance(Span::from_secs(10));
        cluster.write(0, |group| or_set::add(group, "s", b"x"));
        assert!(!cluster.take(0, 1).is_empty(), "it is lost");
        cluster.sleep(Span::from_millis(1_500));
        cluster.input(0, Input::Wake);
        cluster.take_frames(0, 1).iter().any(|frame| matches!(frame, Frame::Push(..)))
    };
    assert!(pushed_again("sync_timeout = \"1s\""));
    assert!(!pushed_again(""));
}

#[test]
fn a_crowd_is_brought_forward_over_as_long_as_is_set() {
    let pushed_at_once = |text: &str| {
        let mut cluster = Cluster::apart((0..12).map(|index| node(index, text)));
        (1..12).for_each(|other| cluster.connect(0, other));
        cluster.advance(Span::from_secs(10));
        (2..12).for_each(|other| cluster.disconnect(0, other));
        (0..100).for_each(|at| cluster.write(0, |group| or_set::add(group, "s", &[at])));
        cluster.settle();
        let before = cluster.node(0).stats().pushes_sent;
        (2..12).for_each(|other| cluster.connect(0, other));
        cluster.settle();
        cluster.node(0).stats().pushes_sent - before
    };
    assert_eq!(pushed_at_once("catch_up_spread = \"5s\""), 0);
    assert!(pushed_at_once("catch_up_spread = \"0s\"") > 0);
}

#[test]
fn a_shorter_cleanup_ends_marks_sooner() {
    let marks = |text: &str| {
        let mut cluster = pair(text);
        cluster.advance(Span::from_secs(1));
        cluster.write(0, |group| rw_set::add(group, "s", b"x"));
        cluster.write(0, |group| rw_set::remove(group, "s", b"x"));
        cluster.advance(Span::from_secs(45));
        rw_set::marks(cluster.store(0), "s")
    };
    assert_eq!((marks("cleanup_interval = \"2s\""), marks("")), (0, 1));
}

#[test]
fn a_shorter_period_looks_at_the_whole_store_sooner() {
    let scrubs = |text: &str| {
        let mut cluster = pair(text);
        (0..200).for_each(|at| cluster.write(0, |group| or_set::add(group, "s", &[at])));
        cluster.advance(Span::from_secs(15));
        cluster.node(0).meter().scrubs
    };
    assert!(scrubs("scrub_period = \"5s\"") >= 2);
    assert_eq!(scrubs(""), 0);
}
