//! Who is shut out, when and for how long.

use sync_core::breaker::{BreakerState, Failure};
use sync_core::error::FrameError;
use sync_core::node::{Input, Members};
use sync_core::time::Span;
use sync_tests::{Cluster, node_id};

use super::{node, pair};

/// Two linked nodes that are members for each other.
fn members(text: &str) -> Cluster {
    let mut cluster = pair(text);
    cluster.node(0).set_members(Members { nodes: [node_id(0), node_id(1)].into(), unnamed: 0 });
    cluster
}

/// Node 1 breaks the protocol that often; gives how its breaker stands then.
fn breaches(cluster: &mut Cluster, times: usize) -> BreakerState {
    let malformed = Input::Malformed { peer: node_id(1), error: FrameError::Trailing { extra: 1 } };
    (0..times).for_each(|_| cluster.input(0, malformed.clone()));
    cluster.node(0).breaker_state(node_id(1))
}

/// Tenths of a second until node 0 wants node 1 dialled.
fn until_dialled(cluster: &mut Cluster) -> usize {
    let dialled = |_: &usize| {
        cluster.advance(Span::from_millis(100));
        !cluster.dials().is_empty()
    };
    (1..10_000).find(dialled).expect("it is dialled some time")
}

#[test]
fn one_breach_opens_where_one_may() {
    assert_eq!(breaches(&mut members("breaker_failures = 1"), 1), BreakerState::Open);
    assert_eq!(breaches(&mut members(""), 1), BreakerState::Closed);
    assert_eq!(breaches(&mut members("breaker_failures = 0"), 50), BreakerState::Closed);
}

#[test]
fn a_peer_that_misbehaved_is_shut_out_for_as_long_as_is_set() {
    let shut_out = |text: &str| {
        let mut cluster = members(text);
        assert_eq!(breaches(&mut cluster, 3), BreakerState::Open);
        until_dialled(&mut cluster)
    };
    let (short, default) = (shut_out("breaker_open = \"5s\""), shut_out(""));
    assert!((50..=80).contains(&short) && (600..=800).contains(&default), "{short} and {default}");
}

/// Node 1 was shut out, let in again, and shut out again.
fn shut_out_twice(text: &str) -> (Cluster, usize) {
    let mut cluster = members(text);
    breaches(&mut cluster, 3);
    until_dialled(&mut cluster);
    cluster.connect(0, 1);
    cluster.settle();
    breaches(&mut cluster, 3);
    let waited = if cluster.node(0).breaker_state(node_id(1)) == BreakerState::Removed {
        0
    } else {
        until_dialled(&mut cluster)
    };
    (cluster, waited)
}

#[test]
fn the_time_out_is_doubled_no_further_than_is_set() {
    let (_, capped) = shut_out_twice("breaker_open = \"5s\"\nbreaker_open_max = \"5s\"");
    let (_, doubled) = shut_out_twice("breaker_open = \"5s\"");
    assert!((50..=80).contains(&capped) && (100..=140).contains(&doubled), "{capped} and {doubled}");
}

#[test]
fn one_answer_closes_a_breaker_where_one_may() {
    let let_in = |text: &str| {
        let (mut cluster, _) = shut_out_twice(text);
        cluster.connect(0, 1);
        cluster.settle();
        let at_once = cluster.node(0).breaker_state(node_id(1));
        cluster.advance(Span::from_secs(20));
        assert_eq!(cluster.node(0).breaker_state(node_id(1)), BreakerState::Closed);
        at_once
    };
    assert_eq!(let_in("breaker_open = \"5s\"\nbreaker_successes = 1"), BreakerState::Closed);
    assert_eq!(let_in("breaker_open = \"5s\""), BreakerState::HalfOpen);
}

#[test]
fn a_peer_that_opens_as_often_as_is_set_is_removed() {
    let (mut cluster, _) = shut_out_twice("breaker_open = \"5s\"\nbreaker_removal = 2");
    assert_eq!(cluster.node(0).breaker_state(node_id(1)), BreakerState::Removed);
    let (mut cluster, _) = shut_out_twice("breaker_open = \"5s\"");
    assert_ne!(cluster.node(0).breaker_state(node_id(1)), BreakerState::Removed);
}

#[test]
fn probes_wait_at_least_and_at_most_as_long_as_is_set() {
    let waits = |text: &str| {
        let mut cluster = Cluster::apart([node(0, text)]);
        let failed = Input::Failed { peer: node_id(1), failure: Failure::Refused };
        cluster.node(0).set_members(Members { nodes: [node_id(1)].into(), unnamed: 0 });
        (0..3).for_each(|_| cluster.input(0, failed.clone()));
        let waits: Vec<usize> = (0..20)
            .map(|_| {
                let waited = until_dialled(&mut cluster);
                cluster.input(0, failed.clone());
                waited
            })
            .collect();
        (
            waits.iter().copied().min().expect("there are some"),
            waits.into_iter().max().expect("there are some"),
        )
    };
    let (least, most) = waits("breaker_probe_min = \"4s\"\nbreaker_probe_max = \"8s\"");
    assert!(least >= 40 && (51..=81).contains(&most), "{least} to {most}");
    let (least, most) = waits("");
    assert!((10..40).contains(&least) && most <= 51, "{least} to {most}");
    let (_, most) = waits("breaker_probe_max = \"2s\"");
    assert!(most <= 21, "{most}");
}
