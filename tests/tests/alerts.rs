//! Each alert of `docs/alerts.yml` fires through its cause, in nodes that run, and is quiet without it.
//!
//! The figures are scraped from real nodes; the times of the scrapes are given, so that minutes and hours pass in
//! milliseconds. Only the breaker's counter is written by hand, and the threshold of a gigabyte is scaled down.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use sync_net::{ClusterCa, Limits, Node, NodeBuilder, PeerAddr, Span, Timing};
use sync_tests::alerts::{Expr, Rule, Scrapes, State};

const FILE: &str = include_str!("../../docs/alerts.yml");

/// Longer than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn rules() -> Vec<Rule> {
    Rule::all(FILE).expect("the file is read")
}

fn rule(alert: &str) -> Rule {
    rules().into_iter().find(|rule| rule.alert == alert).unwrap_or_else(|| panic!("no alert {alert}"))
}

fn builder(ca: &ClusterCa, name: &str) -> NodeBuilder {
    // Peers that do not answer are asked again soon, so that failures come quickly.
    let timing = Timing { sync_timeout: Span::from_millis(100), ..Timing::default() };
    Node::builder().identity(ca.issue(name).expect("a certificate can be issued")).timing(timing)
}

fn ca() -> ClusterCa {
    ClusterCa::create("alerts").expect("a CA can be made")
}

fn addr(node: &Node) -> PeerAddr {
    PeerAddr { addr: node.listen_addr().to_string(), id: Some(node.id()) }
}

async fn alone(limits: Limits) -> Node {
    builder(&ca(), "alone").limits(limits).start().await.expect("starts")
}

/// Two linked nodes; the second has `limits`.
async fn pair(limits: [Limits; 2]) -> [Node; 2] {
    let ca = ca();
    let [first, second] = limits;
    let a = builder(&ca, "a").limits(first).start().await.expect("starts");
    let b = builder(&ca, "b").limits(second).peer(addr(&a)).start().await.expect("starts");
    eventually("they are linked", || b.status().peers_connected == 1 && a.status().peers_connected == 1)
        .await;
    a.converge(PATIENCE).await.expect("both are empty");
    [a, b]
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn scrape(node: &Node) -> String {
    node.metrics().expect("the node is well")
}

fn value(node: &Node, series: &str) -> f64 {
    let text = scrape(node);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    lines.next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}"))
}

fn write(node: &Node, key: &str, bytes: usize) {
    node.lww_register::<String>(key).set(&"x".repeat(bytes)).expect("there is room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_seven_alerts_and_they_look_at_figures_that_exist() {
    let names: Vec<String> = rules().into_iter().map(|rule| rule.alert).collect();
    let seven = [
        "SyncFailing",
        "PeersUnreachable",
        "BackpressureDrops",
        "BreakerOpens",
        "MemoryNearLimit",
        "StateGrowth",
        "MemoryHigh",
    ];
    assert_eq!(names, seven);
    let mut scrapes = Scrapes::default();
    scrapes.add(0.0, &scrape(&alone(Limits::default()).await));
    for rule in rules() {
        for name in rule.expr.names() {
            assert!(scrapes.knows(name), "{} looks at {name}, which nobody exports", rule.alert);
        }
        assert!(["warning", "critical"].contains(&rule.labels["severity"].as_str()), "{}", rule.alert);
        for said in ["summary", "next"] {
            assert!(rule.annotations.get(said).is_some_and(|text| text.len() > 20), "{}: {said}", rule.alert);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_failing_fires_on_both_sides_of_a_store_that_refuses_what_it_gets() {
    let rule = rule("SyncFailing");
    let small = Limits { store_bytes_max: 1_000, store_bytes_ceiling: 2_000, ..Limits::default() };
    for (second, expected) in [(Limits::default(), State::Quiet), (small, State::Firing)] {
        let nodes = pair([Limits::default(), second]).await;
        let mut scrapes = [Scrapes::default(), Scrapes::default()];
        let times = [0.0, 30.0, 60.0, 90.0, 120.0];
        for (n, at) in times.into_iter().enumerate() {
            for (node, scrapes) in nodes.iter().zip(&mut scrapes) {
                scrapes.add(at, &scrape(node));
            }
            write(&nodes[0], &format!("k/{n}"), 2_500);
            // As long as some questions take to be overdue, or an exchange to be done.
            if expected == State::Quiet {
                nodes[0].converge(PATIENCE).await.expect("there is room");
            } else {
                let failed = || value(&nodes[0], "crdt_sync_failures_total");
                let before = failed();
                eventually("the first is not answered", || failed() >= before + 2.0).await;
            }
        }
        for scrapes in &scrapes {
            assert_eq!(rule.state(scrapes, &times), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_unreachable_fires_if_one_of_three_answers_and_not_if_two_do() {
    let rule = rule("PeersUnreachable");
    // Addresses where nobody listens: taken, and given back.
    let dead = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        PeerAddr { addr: socket.local_addr().expect("it has one").to_string(), id: None }
    };
    for (alive, expected) in [(1, State::Firing), (2, State::Quiet)] {
        let ca = ca();
        let mut others = Vec::new();
        let mut node = builder(&ca, "node");
        for n in 0..3 {
            if n < alive {
                others.push(builder(&ca, &format!("other-{n}")).start().await.expect("starts"));
                node = node.peer(addr(&others[n]));
            } else {
                node = node.peer(dead());
            }
        }
        let node = node.start().await.expect("starts");
        eventually("those that live are linked", || node.status().peers_connected == alive as u64).await;
        let mut scrapes = Scrapes::default();
        let times = [0.0, 30.0, 60.0];
        times.into_iter().for_each(|at| scrapes.add(at, &scrape(&node)));
        assert_eq!(rule.state(&scrapes, &times), expected, "{alive} of 3");
        let pending = if expected == State::Firing { State::Pending } else { State::Quiet };
        assert_eq!(rule.state(&scrapes, &times[..2]), pending, "a minute is waited for");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backpressure_drops_fires_if_a_peer_falls_off_a_short_log_again_and_again() {
    let rule = rule("BackpressureDrops");
    for (burst, expected) in [(1, State::Quiet), (20, State::Firing)] {
        let short = Limits { log_entries_max: 8, ..Limits::default() };
        let [node, _peer] = pair([short, Limits::default()]).await;
        let drops = || value(&node, "crdt_backpressure_drops_total");
        let level = || {
            let peers = node.peers();
            peers.iter().any(|peer| !peer.behind && peer.acked == Some(peer.head))
        };
        let mut scrapes = Scrapes::default();
        let mut times = Vec::new();
        for n in 0..=8 {
            times.push(15.0 * f64::from(n));
            scrapes.add(15.0 * f64::from(n), &scrape(&node));
            // 35 in 15 seconds are 140 in a minute.
            let before = drops();
            let mut bursts = 0;
            while if burst == 1 { bursts < 35 } else { drops() < before + 35.0 } {
                assert!(bursts < 5_000, "no peer falls behind: {} drops", drops());
                for _ in 0..burst {
                    node.pn_counter("c").add(1).expect("there is room");
                }
                bursts += 1;
                eventually("the peer has caught up", level).await;
            }
        }
        assert_eq!(rule.state(&scrapes, &times), expected, "bursts of {burst}: {} drops", drops());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaker_opens_fires_from_its_counter_above_five_a_minute() {
    let rule = rule("BreakerOpens");
    let text = scrape(&alone(Limits::default()).await);
    let zero = "crdt_circuit_breaker_opens_total 0\n";
    assert!(text.contains(zero), "{text}");
    for (per_scrape, expected) in [(1, State::Quiet), (2, State::Firing)] {
        let mut scrapes = Scrapes::default();
        let times = [0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 105.0, 120.0];
        for (n, at) in times.into_iter().enumerate() {
            let opens = format!("crdt_circuit_breaker_opens_total {}\n", n * per_scrape);
            scrapes.add(at, &text.replace(zero, &opens));
        }
        assert_eq!(rule.state(&scrapes, &times), expected, "{per_scrape} in 15 s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_near_limit_fires_above_eighty_percent_of_a_bound_in_bytes_and_not_for_full_rings() {
    let rule = rule("MemoryNearLimit");
    let limits = Limits { store_bytes_max: 100_000, log_entries_max: 2, records_max: 1, ..Limits::default() };
    let node = alone(limits).await;
    let state = |node: &Node| {
        let mut scrapes = Scrapes::default();
        let times = [0.0, 30.0, 60.0];
        times.into_iter().for_each(|at| scrapes.add(at, &scrape(node)));
        rule.state(&scrapes, &times)
    };
    for n in 0..7 {
        write(&node, &format!("k/{n}"), 10_000);
    }
    assert!(value(&node, "crdt_bound_pressure{bound=\"log_entries_max\",kind=\"ring\"}") >= 1.0);
    assert_eq!(state(&node), State::Quiet, "70 percent");
    write(&node, "k/7", 10_000);
    assert_eq!(state(&node), State::Firing, "above 80 percent");
    node.remove("k/7").expect("removes pass");
    assert_eq!(state(&node), State::Quiet, "room was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_growth_fires_above_a_megabyte_within_the_hour() {
    let rule = rule("StateGrowth");
    for (writes, expected) in [(1, State::Quiet), (4, State::Firing)] {
        let node = alone(Limits::default()).await;
        let mut scrapes = Scrapes::default();
        let times: Vec<f64> = (0..=12).map(|n| 300.0 * f64::from(n)).collect();
        for (n, at) in times.iter().enumerate() {
            scrapes.add(*at, &scrape(&node));
            for key in 0..writes {
                write(&node, &format!("k/{n}/{key}"), 30_000);
            }
        }
        assert_eq!(rule.state(&scrapes, &times), expected, "12 x {writes} x 30 kB in an hour");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_high_fires_once_the_process_holds_more_than_it_says() {
    let node = alone(Limits::default()).await;
    let resident = || value(&node, "process_resident_memory_bytes");
    // A gigabyte is not taken for a test: the threshold is what is held now and 256 MiB.
    let threshold = resident() + f64::from(1 << 28);
    let mut rule = rule("MemoryHigh");
    rule.expr = Expr::scaled(&rule.expr, 1e9, threshold.round());
    let state = || {
        let mut scrapes = Scrapes::default();
        let times = [0.0, 30.0, 60.0];
        times.into_iter().for_each(|at| scrapes.add(at, &scrape(&node)));
        rule.state(&scrapes, &times)
    };
    assert_eq!(state(), State::Quiet);
    let held = vec![1_u8; 3 << 27];
    assert_eq!(state(), State::Firing, "{} of {threshold}", resident());
    assert_eq!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 3 << 27);
}
