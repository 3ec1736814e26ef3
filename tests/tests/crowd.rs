//! Paced catch-up: who comes back alone is brought forward at once, a crowd over some seconds.

use sync_core::class::Class;
use sync_core::limits::{Limits, Timing};
use sync_core::node::{Input, NamespaceConfig};
use sync_core::time::Span;
use sync_core::types::or_set;
use sync_tests::{Cluster, config};

/// Nodes in a full mesh that was cut: the first has no link, or where `all` is cut each is left with one other, if there
/// are more than two.
fn cut(nodes: u8, all: bool, limits: &Limits, timing: Timing) -> Cluster {
    let mut cluster = Cluster::apart((0..nodes).map(|index| {
        let mut config = config(index, 0);
        (config.limits, config.timing) = (limits.clone(), timing);
        config
    }));
    let pairs = || (0..nodes).flat_map(move |a| (a + 1..nodes).map(move |b| (a, b)));
    pairs().for_each(|(a, b)| cluster.connect(a, b));
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
    cut_links(nodes, all).for_each(|(a, b)| cluster.disconnect(a, b));
    cluster
}

fn cut_links(nodes: u8, all: bool) -> impl Iterator<Item = (u8, u8)> {
    let pairs = (0..nodes).flat_map(move |a| (a + 1..nodes).map(move |b| (a, b)));
    let is_cut = move |(a, b): &(u8, u8)| if all { nodes == 2 || a / 2 != b / 2 } else { *a == 0 };
    pairs.filter(is_cut)
}

/// Every cut link comes back, and all that can be said in no time is said.
fn heal(cluster: &mut Cluster, nodes: u8, all: bool) {
    cut_links(nodes, all).for_each(|(a, b)| cluster.connect(a, b));
    cluster.settle();
}

/// More events than a push may name and be fresh.
fn write_much(cluster: &mut Cluster, node: u8) {
    for element in 0..50 {
        cluster.write(node, |group| or_set::add(group, "s", &[node, element]));
    }
}

fn pushes(cluster: &mut Cluster, node: u8) -> u64 {
    cluster.node(node).stats().pushes_sent
}

#[test]
fn in_a_crowd_one_link_after_another_is_brought_forward_and_all_agree_in_the_end() {
    let mut cluster = cut(12, true, &Limits::default(), Timing::default());
    (0..12).for_each(|node| write_much(&mut cluster, node));
    cluster.settle();
    let before = pushes(&mut cluster, 0);
    heal(&mut cluster, 12, true);
    assert_eq!(pushes(&mut cluster, 0), before, "the first turn has not come");
    cluster.advance(Span::from_secs(12));
    assert!(cluster.is_converged());
    assert!(
        (0..12).all(|node| cluster.node(node).stats().timeouts == 0),
        "who waits for a turn has not failed"
    );
}

#[test]
fn no_link_waits_longer_than_a_crowd_lasts() {
    let limits = Limits { catch_up_rate_min: 1, ..Limits::default() };
    let mut cluster = cut(12, true, &limits, Timing::default());
    cluster.advance(Span::from_secs(60));
    (0..12).for_each(|node| write_much(&mut cluster, node));
    heal(&mut cluster, 12, true);
    cluster.advance(Span::from_secs(7));
    assert!(!cluster.is_converged(), "a byte a second pays for no turn");
    cluster.advance(Span::from_secs(2));
    assert!(cluster.is_converged());
}

#[test]
fn two_nodes_that_heal_alone_and_nine_that_all_push_to_each_other_are_not_paced() {
    for nodes in [2, 9] {
        let mut cluster = cut(nodes, true, &Limits::default(), Timing::default());
        (0..nodes).for_each(|node| write_much(&mut cluster, node));
        heal(&mut cluster, nodes, true);
        assert!(cluster.is_converged(), "{nodes} nodes agree without a moment's wait");
    }
}

#[test]
fn a_single_peer_that_comes_back_is_pushed_what_it_missed_at_once() {
    let mut cluster = cut(12, false, &Limits::default(), Timing::default());
    write_much(&mut cluster, 1);
    cluster.advance(Span::from_secs(5));
    heal(&mut cluster, 12, false);
    let (there, here) = (cluster.store(1).context().clone(), cluster.store(0).context().clone());
    assert!(here.covers(&there), "to the others it is one, and no crowd");
}

#[test]
fn a_few_events_and_urgent_ones_do_not_wait_for_a_turn_in_a_crowd() {
    let mut cluster = cut(12, true, &Limits::default(), Timing::default());
    let now = cluster.now();
    let urgent = NamespaceConfig { class: Class::Urgent, ..NamespaceConfig::default() };
    let open = |cluster: &mut Cluster, node: u8| {
        cluster.node(node).open_namespace(now, "alarms", urgent.clone()).expect("there is room")
    };
    let alarms = open(&mut cluster, 0);
    for node in 1..12 {
        open(&mut cluster, node);
    }
    write_much(&mut cluster, 0);
    cluster.write(2, |group| or_set::add(group, "s", b"few"));
    heal(&mut cluster, 12, true);
    assert!(cluster.store(4).context().covers(cluster.store(2).context()), "one event is no catch-up");
    assert!(!cluster.store(4).context().covers(cluster.store(0).context()), "fifty are");
    for element in 0..50u8 {
        let now = cluster.now();
        let written = cluster.node(0).write(now, alarms, |group| or_set::add(group, "a", &[element]));
        written.expect("there is room");
    }
    cluster.input(0, Input::Wake);
    cluster.settle();
    let rung = |cluster: &mut Cluster, node: u8| {
        let store = cluster.node(node).store(alarms).expect("it is open");
        or_set::elements(store, "a").count()
    };
    assert!((1..12).all(|node| rung(&mut cluster, node) == 50));
}
