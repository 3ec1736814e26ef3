//! Three nodes that write while links break and a node starts again and again: nothing may be lost.
//!
//! The counts of what was written stand outside of the engine, and what must hold in the end is plain:
//! every element added and never removed is there, every counter is the exact sum, all roots are equal.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{PATIENCE, assert_one_state, builder, ca, cluster, converge, eventually, peer};
use sync_net::Node;

/// Writes until told to stop; returns how many times.
async fn write(node: Node, own: u32, stop: tokio::sync::watch::Receiver<bool>) -> u32 {
    let mut written = 0;
    while !*stop.borrow() {
        node.transaction(|tx| {
            let n = own * 1_000_000 + written;
            tx.or_set::<u32>(&format!("set/{}", n % 7)).add(&n)?;
            tx.lww_map::<u32, u32>("last").put(&own, &n)?;
            tx.pn_counter("count").add(3)?;
            tx.pn_counter("count").add(-2)
        })
        .expect("there is room");
        written += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    written
}

fn assert_nothing_lost(nodes: &[Node], written: &[u32]) {
    for node in nodes {
        let mut held = BTreeSet::new();
        for key in 0..7 {
            held.extend(node.or_set::<u32>(&format!("set/{key}")).elements().expect("numbers"));
        }
        let all =
            (0_u32..).zip(written).flat_map(|(own, count)| (0..*count).map(move |n| own * 1_000_000 + n));
        assert_eq!(held, all.collect::<BTreeSet<u32>>());
        assert_eq!(node.pn_counter("count").value(), written.iter().map(|count| i128::from(*count)).sum());
        for (own, count) in (0_u32..).zip(written) {
            let last = node.lww_map::<u32, u32>("last").get(&own).expect("a number");
            assert_eq!(last, count.checked_sub(1).map(|n| own * 1_000_000 + n), "the last write of {own}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_links_break_and_come_back() {
    let nodes = cluster(3).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> =
        (0..).zip(&nodes).map(|(own, n)| tokio::spawn(write(n.clone(), own, stopped.clone()))).collect();

    for round in 0..12 {
        let (one, other) = (&nodes[round % 3], &nodes[(round + 1) % 3]);
        one.block_peers(BTreeSet::from([other.id()]));
        if round % 2 == 0 {
            other.block_peers(BTreeSet::from([one.id()]));
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        common::heal(&nodes);
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    stop.send_replace(true);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.expect("the writer ends"));
    }

    converge(&nodes).await;
    converge(&nodes).await; // what one asked for first may have lacked what another brought later
    assert_one_state(&nodes);
    assert_nothing_lost(&nodes, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_a_node_starts_again_and_again() {
    let ca = ca();
    let first = builder(&ca, "first").start().await.expect("starts");
    let second = builder(&ca, "second").peer(peer(&first)).start().await.expect("starts");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let steady = tokio::spawn(write(first.clone(), 0, stopped.clone()));

    let identity = ca.issue("third").expect("a certificate");
    let mut lives = 0;
    for _ in 0..5 {
        let third = Node::builder().identity(identity.clone()).cluster("test");
        let third = third.peer(peer(&first)).peer(peer(&second)).start().await.expect("starts");
        third.or_set::<u32>("lives").add(&lives).expect("there is room");
        third.pn_counter("lives").add(1).expect("there is room");
        lives += 1;
        eventually("it is linked", || third.status().peers_connected == 2).await;
        third.shutdown().await;
    }
    stop.send_replace(true);
    let written = steady.await.expect("the writer ends");

    let nodes = [first, second];
    converge(&nodes).await;
    assert_one_state(&nodes);
    assert_nothing_lost(&nodes, &[written]);
    for node in &nodes {
        assert_eq!(
            node.or_set::<u32>("lives").len(),
            u64::from(lives),
            "a clean stop hands over its last writes"
        );
        assert_eq!(node.pn_counter("lives").value(), i128::from(lives));
    }
    eventually("the links of lives that ended are gone", || {
        nodes.iter().all(|node| node.status().peers_connected == 1)
    })
    .await;
    nodes[1].converge(PATIENCE).await.expect("nobody waits for a guest that left");
}
