//! Another configuration for a node that runs.

use sync_core::error::WriteError;
use sync_core::message::FrameKind;
use sync_core::node::{Bound, Input, Output};
use sync_core::time::Span;
use sync_core::types::or_set;
use sync_net::settings::{File, Layers};
use sync_net::{ClusterCa, Followed, Node, Severity};
use sync_tests::{Cluster, namespace, node_id};

use super::net::{eventually, issued, started};
use super::{node, pair, reading, settings};

/// Gives a node other settings, as a reload does.
fn reload(cluster: &mut Cluster, index: u8, text: &str) {
    let (settings, now) = (settings(text), cluster.now());
    cluster.node(index).set_limits(settings.limits);
    cluster.node(index).set_timing(now, settings.timing);
    cluster.input(index, Input::Wake);
}

#[test]
fn a_lowered_bound_keeps_what_is_held_and_refuses_more_until_it_is_raised() {
    let mut cluster = pair("");
    ["a", "b", "c"].iter().for_each(|key| cluster.write(0, |group| or_set::add(group, key, b"x")));
    reload(&mut cluster, 0, "max_crdts = 2\nmax_crdt_cells = 1");
    let held = reading(&mut cluster, 0, Bound::Crdts);
    assert_eq!((held.used, held.max), (3, 2), "all of it is kept");
    let refused = cluster.try_write(0, |group| or_set::add(group, "d", b"x"));
    assert!(matches!(refused, Err(WriteError::Full { .. })), "{refused:?}");
    let refused = cluster.try_write(0, |group| or_set::add(group, "a", b"y"));
    assert!(matches!(refused, Err(WriteError::CrdtCells { .. })), "{refused:?}");
    cluster.write(1, |group| or_set::add(group, "d", b"x"));
    cluster.settle();
    assert!(cluster.is_converged(), "joins apply");
    for key in ["a", "b", "c"] {
        cluster.write(0, |group| or_set::remove(group, key, b"x"));
    }
    cluster.write(0, |group| or_set::add(group, "e", b"x"));
    reload(&mut cluster, 0, "");
    ["f", "g", "h"].iter().for_each(|key| cluster.write(0, |group| or_set::add(group, key, b"x")));
}

#[test]
fn a_shortened_log_and_fewer_records_lose_the_oldest_with_the_next_entry() {
    let mut cluster = pair("");
    for at in 0..5 {
        cluster.write(0, |group| or_set::add(group, "s", &[at]));
        cluster.write(0, |group| or_set::remove(group, "s", &[at]));
    }
    cluster.settle();
    reload(&mut cluster, 0, "max_log_entries = 3\nmax_records = 2");
    assert_eq!((reading(&mut cluster, 0, Bound::LogEntries).used, cluster.store(0).record_count()), (10, 5));
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    assert_eq!((reading(&mut cluster, 0, Bound::LogEntries).used, cluster.store(0).record_count()), (3, 2));
    cluster.advance(Span::from_secs(60));
    assert!(cluster.is_converged());
    cluster.store(0).check().expect("the structure is sound");
}

#[test]
fn fewer_peers_keep_who_is_linked_and_let_nobody_else_in() {
    let mut cluster = Cluster::apart((0..4).map(|index| node(index, "")));
    (1..3).for_each(|other| cluster.connect(0, other));
    cluster.settle();
    reload(&mut cluster, 0, "max_peers = 1");
    cluster.advance(Span::from_secs(60));
    assert!(cluster.parted().is_empty(), "{:?}", cluster.parted());
    cluster.connect(0, 3);
    assert_eq!(
        cluster.parted(),
        ["this node already knows 1 peers, its limit; remove one or raise peers_max"]
    );
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    assert!(or_set::contains(cluster.store(2), "s", b"x"), "they go on");
}

#[test]
fn a_shortened_interval_counts_from_now_and_a_lengthened_one_from_its_next_turn() {
    let mut cluster = pair("sync_interval = \"1h\"");
    let roots = |cluster: &mut Cluster| {
        let sent = cluster.node(0).meter().sent().find(|(kind, _)| *kind == FrameKind::Root);
        sent.map_or(0, |(_, traffic)| traffic.frames)
    };
    cluster.advance(Span::from_secs(60));
    let before = roots(&mut cluster);
    reload(&mut cluster, 0, "sync_interval = \"2s\"");
    cluster.advance(Span::from_secs(60));
    let often = roots(&mut cluster) - before;
    assert!(often >= 20, "{often}");
    reload(&mut cluster, 0, "sync_interval = \"1h\"");
    cluster.advance(Span::from_secs(60));
    assert!(roots(&mut cluster) - before - often <= 2);
}

#[test]
fn room_in_a_queue_that_was_full_is_used_at_once() {
    let mut cluster = Cluster::apart([node(0, "max_queue_size = 1"), node(1, "")]);
    let now = cluster.now();
    let first = cluster.node(0);
    first.handle(now, Input::Connected { peer: node_id(1) });
    let sent = |node: &mut sync_core::node::Node| {
        let outputs = std::iter::from_fn(|| node.poll_output());
        outputs.filter(|output| matches!(output, Output::Send { .. })).count()
    };
    assert_eq!(sent(first), 1, "a greeting that nobody takes");
    first.write(now, namespace(), |group| or_set::add(group, "s", b"x")).expect("there is room");
    first.handle(now, Input::SyncNow);
    assert_eq!(sent(first), 0);
    first.set_limits(settings("").limits);
    assert_eq!(first.poll_timeout(), Some(sync_core::time::Timestamp::ZERO), "the driver is to wake it");
}

async fn next_event(events: &mut sync_net::Events, name: &str) -> std::sync::Arc<sync_net::NodeEvent> {
    loop {
        match events.next().await {
            Some(Followed::Event(event)) if event.event == name => return event,
            Some(_) => {}
            None => panic!("the node ended"),
        }
    }
}

#[tokio::test]
async fn a_running_node_takes_over_bounds_and_peers_and_says_what_waits_for_a_restart() {
    let ca = ClusterCa::create("test").expect("a CA can be made");
    let (first, second) = (started(&issued(&ca, "a"), "").await, started(&issued(&ca, "b"), "").await);
    let mut events = first.events();
    let listed = format!("peers = [\"{}\"]\nmax_crdts = 1\n", second.listen_addr());
    let reloaded = first.reload(&settings(&format!("{listed}cluster = \"shop\"")));
    let said = reloaded.to_string();
    assert!(said.ends_with("max_crdts 10000 -> 1; needs a restart: cluster default -> shop"), "{said}");
    let event = next_event(&mut events, "reloaded").await;
    assert_eq!((event.severity, &event.fields["changed"][1]["to"]), (Severity::Warning, &"1".into()));
    assert_eq!(event.fields["restart"][0]["setting"], "cluster");

    eventually("who is new is dialled", || first.status().peers_connected == 1).await;
    let key = |node: &Node, key: &str| node.or_set::<String>(key).add(&"x".to_owned());
    key(&first, "a").expect("one may be");
    assert!(key(&first, "b").is_err());

    let reloaded = first.reload(&settings("max_crdts = 2"));
    assert_eq!(reloaded.changed.len(), 2, "{reloaded}");
    eventually("who is gone is dialled no more", || first.peers().iter().all(|peer| !peer.connected)).await;
    assert!(first.peers().iter().all(|peer| !peer.configured), "{:?}", first.peers());
    key(&first, "b").expect("two may be");
    assert_eq!(first.reload(&settings("max_crdts = 2")).to_string(), "nothing has changed");
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn a_configuration_with_a_mistake_changes_nothing_and_is_told_of() {
    let ca = ClusterCa::create("test").expect("a CA can be made");
    let node = started(&issued(&ca, "a"), "").await;
    let mut events = node.events();
    let file = Some(File { name: "sync.toml", bytes: b"max_crdts = 1\nmax_pears = 2\n" });
    let mistakes = Layers { file, ..Layers::default() }.resolve().expect_err("there are no pears");
    node.reload_refused(&mistakes);
    let event = next_event(&mut events, "reload_refused").await;
    assert_eq!(event.severity, Severity::Warning);
    assert!(
        event.text.contains("sync.toml:2: no setting is named \"max_pears\"; did you mean max_peers?"),
        "{}",
        event.text
    );
    for key in ["a", "b"] {
        node.or_set::<String>(key).add(&"x".to_owned()).expect("the bound is the default");
    }
    node.shutdown().await;
}
