//! Write guarantees over real links: where a write is visible, and reads after one on another node.

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, builder, ca, cluster, cut, eventually, heal, peer, text};
use sync_core::id::NamespaceId;
use sync_net::{Node, Span, Timing, Token, Visibility, VisibleError, WaitError};

/// How long is waited for what must not come.
const SHORT: Duration = Duration::from_millis(300);

fn add(node: &Node, element: &str) -> Token {
    node.or_set::<String>("set").add(&text(element)).expect("there is room").token()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_visible_everywhere_with_the_acknowledgement_and_not_with_a_round() {
    let nodes = cluster(3).await;
    common::converge(&nodes).await;
    let mut took = Vec::new();
    for at in 0..100 {
        let begun = Instant::now();
        let token = add(&nodes[0], &at.to_string());
        let visible = nodes[0].visible(&token, Visibility::All, PATIENCE).await.expect("all are there");
        took.push(begun.elapsed());
        assert_eq!((visible.holders.len(), visible.lacking.len()), (2, 0));
        for other in &nodes[1..] {
            assert!(other.or_set::<String>("set").contains(&at.to_string()), "visible means readable");
        }
    }
    took.sort_unstable();
    println!("visible at all of three: median {:?}, p90 {:?}, p99 {:?}", took[50], took[90], took[99]);
    // Nodes tell what they have learned after 25 ms, and who waits asks and looks again after 20; an acknowledgement waits
    // for nothing, and wakes who waits for it.
    assert!(took[50] < Duration::from_millis(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_does_without_a_member_that_is_cut_off_and_the_timeout_names_it() {
    let nodes = cluster(3).await;
    cut(&nodes[2], &nodes[..2]);
    eventually("node 3 is cut off", || nodes[0].status().peers_connected == 1).await;
    let token = add(&nodes[0], "x");
    let most = nodes[0].visible(&token, Visibility::Majority, PATIENCE).await.expect("two of three");
    assert_eq!(most.holders.iter().map(|peer| peer.name.as_deref()).collect::<Vec<_>>(), [Some("node-2")]);
    nodes[0].visible(&token, Visibility::Peers(1), PATIENCE).await.expect("one peer has it");

    let error = nodes[0].visible(&token, Visibility::All, SHORT).await.expect_err("one is cut off");
    let VisibleError::TimedOut { needed, here, holders, lacking, .. } = &error else { panic!("{error}") };
    assert_eq!((*needed, *here, holders.len(), lacking.len()), (2, true, 1, 1));
    assert_eq!(lacking[0].peer.as_deref(), Some(nodes[2].id().to_hex().as_str()));
    assert!(error.to_string().starts_with("visible at 1 of the 2 peers needed (all) after 0."), "{error}");
    assert!(error.to_string().contains("held by node-2; lacking: "), "{error}");

    let waiting = nodes[0].clone();
    let all = tokio::spawn(async move { waiting.visible(&token, Visibility::All, PATIENCE).await });
    heal(&nodes);
    assert_eq!(all.await.expect("no panic").expect("it came back").holders.len(), 2);
}

#[tokio::test]
async fn alone_a_majority_and_all_are_this_node_and_a_peer_is_waited_for() {
    let node = builder(&ca(), "alone").start().await.expect("starts");
    let token = add(&node, "x");
    for wanted in [Visibility::Local, Visibility::Majority, Visibility::All] {
        node.visible(&token, wanted, Duration::ZERO).await.expect("it is here");
    }
    let error = node.visible(&token, Visibility::Peers(1), SHORT).await.expect_err("nobody is there");
    assert!(error.to_string().ends_with("lacking: nobody else is a member"), "{error}");

    let other = Token::of(NamespaceId::named("other"), None);
    assert!(matches!(
        node.visible(&other, Visibility::Local, SHORT).await,
        Err(VisibleError::NoNamespace { .. })
    ));
    assert!(matches!(node.wait_for(&other, SHORT).await, Err(WaitError::NoNamespace { .. })));
    node.shutdown().await;
    assert_eq!(node.visible(&token, Visibility::Peers(1), PATIENCE).await, Err(VisibleError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reads_its_own_writes_on_another_node_also_after_a_cut() {
    let nodes = cluster(2).await;
    common::converge(&nodes).await;
    let mut took = Vec::new();
    for at in 0..50 {
        let begun = Instant::now();
        // The token goes to the other node as text, in a header or a cookie.
        let session: Token = add(&nodes[0], &at.to_string()).to_string().parse().expect("a token");
        let contains = |view: &sync_net::View<'_>| view.or_set::<String>("set").contains(&at.to_string());
        assert!(nodes[1].read_after(&session, PATIENCE, contains).await.expect("it comes"));
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    // It is woken by the frame that brings the write, and does not look again by the clock, which it does after 20 ms.
    assert!(took[25] < Duration::from_millis(15), "{took:?}");
    cut(&nodes[1], &nodes[..1]);
    eventually("cut", || nodes[1].status().peers_connected == 0).await;
    let mut session = add(&nodes[0], "here");
    session.join(&add(&nodes[1], "there")).expect("one namespace");
    let error = nodes[1].read_after(&session, SHORT, |_| panic!("read too early")).await;
    let error = error.expect_err("it is cut off");
    assert!(matches!(error, WaitError::TimedOut { lacking: 1, links: 0, .. }), "{error}");
    assert!(error.to_string().ends_with("no peer is connected"), "{error}");
    let there = nodes[1].clone();
    let read = tokio::spawn(async move {
        there.read_after(&session, PATIENCE, |view| view.or_set::<String>("set").elements()).await
    });
    heal(&nodes);
    let elements = read.await.expect("no panic").expect("the cut is healed").expect("text");
    assert!(elements.contains(&text("here")) && elements.contains(&text("there")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_forgotten_is_waited_for_no_more() {
    let ca = ca();
    let host = builder(&ca, "host").start().await.expect("starts");
    let guest = builder(&ca, "guest").peer(peer(&host)).start().await.expect("starts");
    eventually("linked", || host.status().peers_connected == 1).await;
    assert!(!host.forget_peer(guest.id()), "it is linked");
    guest.shutdown().await;
    eventually("gone", || host.status().peers_connected == 0).await;
    let token = add(&host, "x");
    let error = host.visible(&token, Visibility::All, SHORT).await.expect_err("it may come back");
    assert!(error.to_string().contains("it dialled this node before"), "{error}");
    let waiting = host.clone();
    let all = tokio::spawn(async move { waiting.visible(&token, Visibility::All, PATIENCE).await });
    tokio::task::yield_now().await;
    assert!(host.forget_peer(guest.id()) && !host.forget_peer(guest.id()));
    assert_eq!(all.await.expect("no panic").expect("there is nobody else").holders, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_are_ended_once_the_configured_peers_know_of_them() {
    let ca = ca();
    let timing = Timing {
        sync_interval: Span::from_millis(100),
        cleanup_interval: Span::from_millis(150),
        ..Timing::default()
    };
    let late = builder(&ca, "late").timing(timing);
    // An address at which nobody answers yet: who that will be is not known, and every node has to know of it.
    let reserved = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let addr = reserved.local_addr().expect("bound");
    let to_be = sync_net::PeerAddr { addr: addr.to_string(), id: None };
    let first = builder(&ca, "first").timing(timing).peer(to_be.clone()).start().await.expect("starts");
    let second = builder(&ca, "second").timing(timing).peer(peer(&first)).peer(to_be).start().await;
    let second = second.expect("starts");
    eventually("linked", || first.status().peers_connected == 1).await;
    let set = second.rw_set::<String>("allowed");
    set.add(&text("ada")).expect("there is room");
    set.remove(&text("ada")).expect("there is room");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(second.keys("").len(), 1, "the third may hold an add that nobody has seen");

    drop(reserved);
    let third = late.listen(addr).peer(peer(&first)).start().await.expect("the port is free");
    let nodes = [first, second, third];
    eventually("the mark is gone everywhere", || nodes.iter().all(|node| node.keys("").is_empty())).await;
    nodes[2].rw_set::<String>("allowed").add(&text("ada")).expect("there is room");
    eventually("it can be added again", || {
        nodes.iter().all(|node| node.rw_set::<String>("allowed").contains(&text("ada")))
    })
    .await;
}
