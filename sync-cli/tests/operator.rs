//! What an operator asks of several nodes at once: what would move, whether all hold the same, and what they
//! hold differently.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Finished, PATIENCE, Place, Running};
use sync_net::local::{LocalServer, serve};
use sync_net::{ClusterCa, Node, PeerAddr};

fn lines(finished: &Finished) -> Vec<Value> {
    finished.out.lines().map(|line| serde_json::from_str(line).expect("a JSON value a line")).collect()
}

#[test]
fn a_dry_run_shows_both_directions_of_each_peer_and_names_one_that_cannot_tell() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let mut b = place.run("b", &[&a.listen]);
    b.has_links(1);
    b.done(&["set", "add", "s", "x"]);
    b.done(&["converge", "--timeout", "10"]);

    let table = b.done(&["converge", "--dry-run"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |direction| vec![&a.id[..8], "a", direction, "0", "0", "0", "0", "equal"];
    assert_eq!(rows[1..], [row("receive"), row("send")], "{table}");
    let report = b.sync(&["converge", "--dry-run", "--json"]).json();
    let told = &report["peers"][0]["told"];
    assert_eq!((&told["roots_equal"], &told["same_events"]), (&json!(true), &json!(true)));
    let nothing = json!({"events": 0, "keys": 0, "items": 0, "bytes": 0, "at_least": false});
    assert_eq!((&told["receive"], &told["send"]), (&nothing, &nothing));

    b.process.signal("STOP");
    let silent = a.sync(&["converge", "--dry-run", "--timeout", "1"]);
    b.process.signal("CONT");
    assert_eq!(silent.code, 3, "{silent:?}");
    assert!(silent.complaint().contains("has not answered yet"), "{silent:?}");
    assert!(silent.out.contains("unknown"), "{silent:?}");
    b.process.signal("KILL");
    b.process.wait();
}

#[test]
fn all_nodes_converge_with_each_other_and_one_that_is_stopped_is_named() {
    let place = Place::with(&["a", "b", "c"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    let mut c = place.run("c", &[&a.listen, &b.listen]);
    for node in [&a, &b, &c] {
        node.has_links(2);
        node.done(&["counter", "add", "sum", "1"]);
    }
    let text = a.done(&["converge", "--all"]);
    assert!(text.starts_with("3 nodes converged with each other"), "{text}");
    for node in [&a, &b, &c] {
        assert_eq!(node.done(&["counter", "get", "sum"]), "3", "no waiting: all hold what any held");
    }
    let report = c.sync(&["converge", "--all", "--json"]).json();
    assert_eq!((report["peers"].as_array().unwrap().len(), &report["links_elsewhere"]), (2, &json!([])));

    c.process.signal("STOP");
    a.done(&["counter", "add", "sum", "1"]);
    let late = b.sync(&["converge", "--all", "--timeout", "2"]);
    assert_eq!(late.code, 3, "{late:?}");
    assert!(late.complaint().contains(&c.id[..8]), "{late:?}");
    assert!(!late.complaint().contains(&a.id[..8]), "only who is late is named: {late:?}");
    c.process.signal("CONT");
    assert_eq!(b.sync(&["converge", "--all"]).code, 0, "it came back");

    c.process.signal("KILL");
    c.process.wait();
    let gone = c.sync(&["converge", "--all"]);
    assert_eq!(gone.code, 1, "nobody answers at its socket: {gone:?}");
}

#[test]
fn a_node_that_is_configured_and_gone_keeps_all_from_having_converged() {
    let place = Place::with(&["a", "b"]);
    let mut a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    a.process.signal("KILL");
    a.process.wait();
    let gone = b.sync(&["converge", "--all", "--timeout", "1", "--json"]);
    assert_eq!(gone.code, 3);
    assert_eq!(gone.json()["pending"][0]["address"], json!(a.listen));
    assert!(gone.complaint().contains(&a.listen), "{gone:?}");
}

#[test]
fn nodes_that_are_not_asked_because_no_link_leads_there_are_told_of() {
    let place = Place::with(&["a", "b", "c"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    let c = place.run("c", &[&b.listen]);
    b.has_links(2);
    c.has_links(1);
    let report = a.sync(&["converge", "--all", "--json"]).json();
    assert_eq!(report["links_elsewhere"], json!([b.id]));
    assert!(a.done(&["converge", "--all"]).contains("ask there too"));
}

fn diff(place: &Place, a: &Running<'_>, b: &Running<'_>, more: &[&str]) -> Finished {
    place.sync(&[&["diff", &a.socket, &b.socket], more].concat())
}

#[test]
fn diff_of_equal_nodes_says_so_and_exits_with_0() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    a.done(&["set", "add", "s", "x"]);
    b.done(&["counter", "add", "n", "2"]);
    b.done(&["counter", "reset", "n"]);
    a.done(&["converge", "--all"]);
    let equal = diff(&place, &a, &b, &[]);
    assert_eq!((equal.code, equal.err.as_str()), (0, ""), "{equal:?}");
    assert!(equal.out.starts_with("equal: ") && equal.out.contains("both know the same events"), "{equal:?}");
    let json = diff(&place, &a, &b, &["--json"]).json();
    assert_eq!((&json["equal"], &json["tally"]["keys_differ"]), (&json!(true), &json!(0)));
}

#[test]
fn diff_names_each_element_field_and_counter_row_with_both_readings_and_why() {
    let place = Place::with(&["a", "b"]);
    // Neither knows of the other.
    let (a, b) = (place.run("a", &[]), place.run("b", &[]));
    a.done(&["set", "add", "both", "x"]);
    a.done(&["set", "add", "both", "a-only\u{1b}[31m"]);
    b.done(&["set", "add", "both", "x"]);
    a.done(&["map", "put", "m", "country", "Portugal"]);
    b.done(&["map", "put", "m", "country", "Spain"]);
    b.done(&["counter", "add", "n", "5"]);
    let found = diff(&place, &a, &b, &[]);
    assert_eq!(found.code, 1, "{found:?}");
    let text: Vec<&str> = found.out.lines().collect();
    let has =
        |start: &str, rest: &str| text.iter().any(|line| line.starts_with(start) && line.contains(rest));
    assert!(text.contains(&"both (set)") && text.contains(&"m (map)") && text.contains(&"n (counter)"));
    assert!(has("  only in A  a-only\\u{1b}[31m", "B has not received it"), "{found:?}");
    assert!(has("  differs    country  A: Portugal", "B: Spain"), "{found:?}");
    assert!(has("  differs    x", "A has not received it; B has not received it"), "{found:?}");
    assert!(has("  only in B", ": +5 -0"), "{found:?}");
    assert!(found.complaint().contains("3 of 3 keys differ: 1 cells only in A, 1 only in B, 2 in both"));
    assert!(found.complaint().contains("A lacks 3 events of B, B lacks 3 of A"), "{found:?}");
    assert!(!found.complaint().contains("ALARM"), "{found:?}");

    let found = diff(&place, &a, &b, &["--json"]);
    let values = lines(&found);
    assert_eq!((found.code, values.len()), (1, 5), "four cells and the sum");
    assert_eq!((&values[0]["key"], &values[0]["explained"]), (&json!("both"), &json!(true)));
    assert_eq!(values.last().unwrap()["equal"], json!(false));

    let same = place.sync(&["diff", &a.socket, &a.socket]);
    assert_eq!(same.code, 1);
    assert!(same.complaint().contains("are both node"), "{same:?}");
    let nobody = place.sync(&["diff", &a.socket, &place.at("nothing")]);
    assert!(nobody.complaint().contains("no node answers at"), "{nobody:?}");
}

/// Two linked nodes in this process, with their sockets.
struct Here {
    nodes: [Node; 2],
    servers: [LocalServer; 2],
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn two_here(place: &Place) -> Here {
    let ca = ClusterCa::create("test").unwrap();
    let builder = |name| Node::builder().identity(ca.issue(name).unwrap());
    let a = builder("a").start().await.unwrap();
    let addr = PeerAddr { addr: a.listen_addr().to_string(), id: Some(a.id()) };
    let b = builder("b").peer(addr).start().await.unwrap();
    eventually("they are linked", || b.status().peers_connected == 1).await;
    let serve = |node: &Node, name: &str| {
        let (node, path) = (node.clone(), place.path().join(name));
        async move { serve(node, &path).await.unwrap() }
    };
    let servers = [serve(&a, "a").await, serve(&b, "b").await];
    Here { nodes: [a, b], servers }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_element_among_many_thousands_is_found_and_explained_by_the_event_that_removed_it() {
    let place = Place::new();
    let here = two_here(&place).await;
    let [a, b] = &here.nodes;
    let element = |n: u32| format!("element {n:06}");
    // More than one range, more than one page, and too many to be hashed at once.
    for group in 0..40u32 {
        a.transaction(|tx| {
            let set = tx.or_set::<String>("large");
            (0..500).try_for_each(|n| set.add(&element(group * 500 + n)))
        })
        .unwrap();
    }
    a.or_set::<String>("untouched").add(&"x".to_owned()).unwrap();
    a.converge(PATIENCE).await.unwrap();
    a.block_peers(BTreeSet::from([b.id()]));
    eventually("they are cut", || b.status().peers_connected == 0).await;
    b.or_set::<String>("large").remove(&element(17_777)).unwrap();
    b.or_set::<String>("large").add(&"new".to_owned()).unwrap();

    let sockets = here.servers.each_ref().map(|server| server.path().to_str().unwrap().to_owned());
    let args = ["diff", &sockets[0], &sockets[1]].map(str::to_owned);
    let (place, found) = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let found = place.sync(&args);
        (place, found)
    })
    .await
    .unwrap();
    assert_eq!(found.code, 1, "{found:?}");
    let text: Vec<&str> = found.out.lines().collect();
    assert_eq!(text.len(), 3, "{found:?}");
    assert_eq!(text[0], "large (set)");
    assert!(text.iter().any(|line| line.starts_with("  only in A  element 017777 ")
        && line.contains("A lacks the event that ended it")));
    assert!(
        text.iter()
            .any(|line| line.starts_with("  only in B  new ") && line.contains("A has not received it"))
    );
    assert!(found.complaint().contains("1 of 2 keys differ: 1 cells only in A, 1 only in B"), "{found:?}");
    assert!(found.complaint().contains("A lacks 2 events of B, B lacks 0 of A"), "{found:?}");
    drop(place);
}
