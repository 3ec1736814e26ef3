//! Two and three nodes over real QUIC: what one writes the others read, through cuts and heals.

mod common;

use common::{
    PATIENCE, assert_one_state, builder, ca, cluster, cluster_with, converge, cut, eventually, heal, peer,
    text,
};
use sync_net::{Limits, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_one_node_is_read_on_the_other() {
    let nodes = cluster(2).await;
    nodes[0].or_set::<String>("cart/7").add(&text("tea")).expect("there is room");
    nodes[1].lww_map("profile/7").put(&text("country"), &text("France")).expect("there is room");
    nodes[0].pn_counter("stock/tea").add(-3).expect("there is room");
    nodes[1].pn_counter("stock/tea").add(10).expect("there is room");

    eventually("both hold all of it", || {
        nodes.iter().all(|node| {
            node.or_set("cart/7").contains(&text("tea"))
                && node.lww_map("profile/7").get(&text("country")) == Ok(Some(text("France")))
                && node.pn_counter("stock/tea").value() == 7
        })
    })
    .await;
    converge(&nodes).await;
    assert_one_state(&nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_three_nodes_meet_in_one_state() {
    let nodes = cluster(3).await;
    for (own, node) in (0_u32..).zip(&nodes) {
        for n in 0..50 {
            node.or_set::<u32>("numbers").add(&(n * 3 + own)).expect("there is room");
            node.pn_counter("count").add(1).expect("there is room");
        }
    }
    let reports = converge(&nodes).await;
    assert!(reports.iter().all(|report| report.peers.len() == 2 && report.away.is_empty()));
    assert_one_state(&nodes);
    for node in &nodes {
        let mut numbers = node.or_set::<u32>("numbers").elements().expect("numbers");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..150).collect::<Vec<_>>());
        assert_eq!(node.pn_counter("count").value(), 150);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_add_survives_a_concurrent_remove_and_a_seen_add_does_not() {
    let nodes = cluster(3).await;
    let carts: Vec<_> = nodes.iter().map(|node| node.or_set::<String>("cart")).collect();
    for line in ["tea", "milk"] {
        carts[0].add(&text(line)).expect("there is room");
    }
    converge(&nodes).await;

    cut(&nodes[2], &nodes[..2]);
    eventually("the third is alone", || nodes[2].status().peers_connected == 0).await;
    assert!(carts[0].remove(&text("tea")).expect("open").0);
    assert!(carts[0].remove(&text("milk")).expect("open").0);
    carts[2].add(&text("tea")).expect("there is room");
    heal(&nodes);

    converge(&nodes).await;
    assert_one_state(&nodes);
    for cart in &carts {
        assert_eq!(cart.elements().expect("text"), ["tea"], "the add that the remove had not seen wins");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_keeps_writes_apart_and_a_heal_brings_them_together() {
    let nodes = cluster(3).await;
    converge(&nodes).await;
    cut(&nodes[2], &nodes[..2]);
    eventually("the third is alone", || nodes[2].status().peers_connected == 0).await;

    for n in 0..300_u32 {
        nodes[(n % 3) as usize].or_set::<u32>(&format!("set/{}", n % 20)).add(&n).expect("there is room");
    }
    converge(&nodes[..2]).await;
    assert_one_state(&nodes[..2]);
    assert_ne!(nodes[0].status().root, nodes[2].status().root, "nothing crosses a cut");
    heal(&nodes);
    eventually("the third is back", || nodes[2].status().peers_connected == 2).await;

    converge(&nodes).await;
    assert_one_state(&nodes);
    let total: u64 = (0..20).map(|key| nodes[2].or_set::<u32>(&format!("set/{key}")).len()).sum();
    assert_eq!(total, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_again_is_another_replica_and_gets_everything_back() {
    let ca = ca();
    let first = builder(&ca, "first").start().await.expect("starts");
    let identity = ca.issue("second").expect("a certificate");
    let start = || Node::builder().identity(identity.clone()).cluster("test").peer(peer(&first)).start();

    let before = start().await.expect("starts");
    before.or_set::<u32>("set").add(&1).expect("there is room");
    before.converge(common::PATIENCE).await.expect("the first is there");
    let (node, replica) = (before.id(), before.replica());
    before.shutdown().await;
    first.or_set::<u32>("set").add(&2).expect("there is room");

    let after = start().await.expect("starts");
    assert_eq!(after.id(), node);
    assert_ne!(after.replica(), replica, "no life shares its events' names with another");
    eventually("all is back", || after.or_set::<u32>("set").len() == 2).await;
    after.or_set::<u32>("set").remove(&1).expect("open");
    eventually("the new life writes on", || !first.or_set::<u32>("set").contains(&1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_thousands_of_items_and_the_bounds_stay_in_force() {
    let ca = ca();
    let first = builder(&ca, "first").start().await.expect("starts");
    for n in 0..3_000_u32 {
        first.lww_map(&format!("map/{}", n % 300)).put(&n, &vec![7_u8; 400]).expect("there is room");
    }
    let second = builder(&ca, "second").peer(peer(&first)).start().await.expect("starts");
    let nodes = [first, second];
    eventually("linked", || nodes[1].status().peers_connected == 1).await;
    converge(&nodes).await;
    assert_one_state(&nodes);
    assert_eq!(nodes[1].status().crdts, 300);
    assert_eq!(nodes[1].keys("map/29").len(), 11, "map/29 and map/290 to map/299");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_the_local_writer_and_still_takes_what_peers_wrote() {
    let nodes = cluster_with(2, Limits { crdts_max: 3, ..Limits::default() }).await;
    cut(&nodes[1], &nodes[..1]);
    eventually("apart", || nodes[1].status().peers_connected == 0).await;
    for n in 0..3 {
        nodes[0].pn_counter(&format!("a/{n}")).add(1).expect("there is room");
        nodes[1].pn_counter(&format!("b/{n}")).add(1).expect("there is room");
    }
    let refused = nodes[0].pn_counter("a/3").add(1).expect_err("the store is full");
    assert!(refused.to_string().contains("3 CRDTs of at most 3"), "{refused}");
    heal(&nodes);
    eventually("linked again", || nodes[1].status().peers_connected == 1).await;
    converge(&nodes).await;
    assert_one_state(&nodes);
    assert_eq!(nodes[0].status().crdts, 6, "concurrent creation overshoots, nothing is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_different_cluster_labels_do_not_exchange_data() {
    let ca = ca();
    let ours = builder(&ca, "ours").start().await.expect("starts");
    ours.pn_counter("secret").add(1).expect("there is room");
    let theirs = builder(&ca, "theirs").cluster("other").peer(peer(&ours)).start().await.expect("starts");
    eventually("the link was refused with the reason", || {
        theirs.peers().iter().any(|peer| peer.failure.as_deref().is_some_and(|why| why.contains("label")))
    })
    .await;
    assert_eq!(theirs.pn_counter("secret").value(), 0);
}

#[tokio::test]
async fn a_newcomer_tells_how_far_its_first_state_has_come_and_when_it_is_there() {
    let limits = Limits {
        message_bytes_max: 20_000,
        group_bytes_max: 10_000,
        value_bytes_max: 4_000,
        ..Limits::default()
    };
    let ca = ca();
    let full = builder(&ca, "full").limits(limits.clone()).start().await.expect("starts");
    for number in 0..5_000 {
        full.or_set::<u64>("numbers").add(&number).expect("there is room");
    }
    let newcomer = builder(&ca, "newcomer").limits(limits).peer(peer(&full)).start().await.expect("starts");
    let mut bootstraps = newcomer.bootstraps();
    let (mut steps, mut last) = (0, 0);
    let ended = tokio::time::timeout(PATIENCE, async {
        while let Some(bootstrap) = bootstraps.next().await {
            let Some(bootstrap) = bootstrap else { return true };
            assert_eq!((bootstrap.items_total, bootstrap.peer.as_str()), (5_000, &*full.id().to_hex()));
            assert!((last..=5_000).contains(&bootstrap.items));
            (steps, last) = (steps + 1, bootstrap.items);
        }
        false
    });
    assert!(ended.await.expect("it ends"));
    assert!(steps > 0, "something was told on the way");
    assert_eq!(newcomer.bootstrap(), None);
    assert_eq!(newcomer.read(|view| view.or_set::<u64>("numbers").len()), 5_000);
}
