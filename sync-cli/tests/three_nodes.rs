//! Nodes started by hand, as an operator does, with commands against their sockets.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use support::{Place, eventually};

#[test]
fn a_write_on_one_node_is_read_on_the_others() {
    let place = Place::with(&["a", "b", "c"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    let c = place.run("c", &[&a.listen, &format!("{}@{}", b.id, b.listen)]);
    for node in [&a, &b, &c] {
        node.has_links(2);
    }

    assert_eq!(a.done(&["set", "add", "cart/7", "tea"]), "changed");
    assert_eq!(b.done(&["map", "put", "profile/7", "country", "Portugal"]), "changed");
    assert_eq!(c.done(&["counter", "add", "stock/tea", "-5"]), "changed");
    assert_eq!(a.done(&["counter", "add", "stock/tea", "3"]), "changed");
    for node in [&a, &b, &c] {
        node.shows(&["set", "ls", "cart/7"], "tea");
        node.shows(&["map", "get", "profile/7", "country"], "Portugal");
        node.shows(&["counter", "get", "stock/tea"], "-2");
        assert_eq!(node.sync(&["converge"]).code, 0);
    }

    assert_eq!(b.done(&["set", "rm", "cart/7", "tea"]), "changed");
    assert_eq!(b.done(&["set", "rm", "cart/7", "tea"]), "unchanged");
    assert_eq!(c.done(&["counter", "reset", "stock/tea"]), "changed");
    assert_eq!(c.done(&["map", "rm", "profile/7", "country"]), "changed");
    for node in [&a, &b, &c] {
        node.shows(&["set", "ls", "cart/7"], "");
        node.shows(&["counter", "get", "stock/tea"], "0");
        node.shows(&["map", "ls", "profile/7"], "");
    }
    let missing = a.sync(&["map", "get", "profile/7", "country"]);
    assert_eq!(missing.code, 1);
    assert!(missing.complaint().contains("has no value here"), "{missing:?}");
}

#[test]
fn a_write_can_wait_until_others_have_it_and_says_who_lacks_it() {
    let place = Place::with(&["a", "b", "c"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    a.has_links(1);
    let told = a.done(&["set", "add", "cart/7", "tea", "--visible", "all"]);
    assert!(told.starts_with("changed, visible here and at b after "), "{told}");
    let told: serde_json::Value =
        serde_json::from_str(&a.done(&["rm", "cart/7", "--visible", "1", "--json"])).expect("it is JSON");
    assert_eq!(told["changed"], true);
    assert_eq!(told["visible"]["holders"][0]["name"], "b", "{told}");
    let token = told["token"].as_str().expect("a write has a token");
    assert!(b.done(&["visible", token, "--to", "majority"]).starts_with("visible here and at a after "));

    let late = a.sync(&["counter", "add", "c", "1", "--visible", "2", "--timeout", "1"]);
    assert_eq!((late.code, late.out.trim()), (3, "changed"), "{late:?}");
    assert!(
        late.complaint().contains("the write stays") && late.complaint().contains("1 of the 2"),
        "{late:?}"
    );
    b.shows(&["counter", "get", "c"], "1");
    assert_eq!(a.sync(&["visible", "nonsense"]).code, 1);
}

#[test]
fn what_expires_is_shown_with_its_time_and_goes_everywhere() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    a.has_links(1);
    a.done(&["set", "add", "online", "ada", "--expires-in", "1s"]);
    a.done(&["set", "add", "online", "bob"]);
    a.done(&["map", "put", "page", "title", "Tea", "--expires-in", "1500ms"]);
    a.done(&["register", "set", "motd", "hello", "--expires-in", "30d"]);
    b.shows(&["register", "get", "motd"], "hello");
    let inspected = b.done(&["inspect", "online"]);
    assert!(inspected.contains("Expires (UTC)") && inspected.contains("never"), "{inspected}");
    for node in [&a, &b] {
        node.shows(&["set", "ls", "online"], "bob");
        node.shows(&["map", "ls", "page"], "");
        node.shows(&["register", "get", "motd"], "hello");
    }
    assert!(!b.done(&["inspect", "online"]).contains("Expires"));
}

#[test]
fn after_converge_the_roots_are_equal() {
    let place = Place::with(&["a", "b", "c"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    let c = place.run("c", &[&a.listen, &b.listen]);
    let nodes = [&a, &b, &c];
    for node in nodes {
        node.has_links(2);
    }
    for round in 0..10 {
        for (node, name) in nodes.iter().zip(["a", "b", "c"]) {
            node.done(&["set", "add", "all", &format!("{name}{round}")]);
            node.done(&["map", "put", "last", "writer", name]);
            node.done(&["counter", "add", "sum", "1"]);
        }
    }
    for node in nodes {
        node.done(&["converge"]);
    }
    let roots = nodes.map(|node| node.sync(&["inspect", "--json"]).json()["status"]["root"].to_string());
    assert_eq!((&roots[0], &roots[0]), (&roots[1], &roots[2]));
    for node in nodes {
        assert_eq!(node.done(&["set", "ls", "all"]).lines().count(), 30);
        assert_eq!(node.done(&["counter", "get", "sum"]), "30");
        assert_eq!(node.done(&["map", "get", "last", "writer"]), "c");
    }
}

#[test]
fn every_command_speaks_json() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    for (args, expected) in [
        (vec!["set", "add", "s", "x\u{1b}[31m"], json!({"changed": true})),
        (vec!["set", "ls", "s"], json!({"key": "s", "elements": ["x\u{1b}[31m"]})),
        (vec!["set", "rm", "s", "nothing"], json!({"changed": false})),
        (vec!["map", "put", "m", "f", "v"], json!({"changed": true})),
        (vec!["map", "get", "m", "f"], json!({"key": "m", "field": "f", "value": "v"})),
        (vec!["map", "ls", "m"], json!({"key": "m", "entries": {"f": "v"}})),
        (vec!["map", "rm", "m", "f"], json!({"changed": true})),
        (vec!["counter", "add", "n", "5"], json!({"changed": true})),
        (vec!["counter", "get", "n"], json!({"key": "n", "value": 5})),
        (vec!["counter", "reset", "n"], json!({"changed": true})),
        (vec!["register", "set", "r", "v"], json!({"changed": true})),
        (vec!["register", "get", "r"], json!({"key": "r", "value": "v"})),
        (vec!["register", "clear", "r"], json!({"changed": true})),
        (vec!["register", "clear", "r"], json!({"changed": false})),
    ] {
        let finished = a.sync(&[&args[..], &["--json"]].concat());
        let mut answer = finished.json();
        // A write answers with a token too, which is never twice the same.
        let token = answer.as_object_mut().and_then(|fields| fields.remove("token"));
        assert_eq!(token.is_some(), answer.get("changed").is_some(), "{args:?}");
        assert_eq!((finished.code, answer), (0, expected), "{args:?}");
    }
    assert_eq!(a.done(&["set", "ls", "s"]), "x\\u{1b}[31m", "text is safe for a terminal");

    let keys = a.sync(&["keys", "--json"]).json();
    assert_eq!((&keys[0]["key"], &keys[0]["type"]), (&json!("s"), &json!("set")));
    assert_eq!(a.sync(&["keys", "no-such", "--json"]).json(), json!([]));
    let peers = b.sync(&["peers", "--json"]).json();
    assert_eq!((&peers[0]["peer"], &peers[0]["name"]), (&json!(a.id), &json!("a")));
    let node = a.sync(&["inspect", "--json"]).json();
    assert_eq!(node["status"]["node"], json!(a.id));
    assert!(!node["inspection"]["context"].as_array().unwrap().is_empty());
    let cell = &a.sync(&["inspect", "s", "--json"]).json()["objects"][0]["shown"][0];
    assert_eq!(cell["path"]["text"], "x\u{1b}[31m");
    let converged = a.sync(&["converge", "--json"]);
    assert_eq!((converged.code, &converged.json()["peers"][0]["peer"]), (0, &json!(b.id)));
}

#[test]
fn text_shows_keys_peers_and_cells() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    a.done(&["set", "add", "cart/7", "tea"]);
    a.done(&["counter", "add", "stock/tea", "1"]);
    assert!(a.done(&["keys", "cart/"]).lines().last().unwrap().starts_with("cart/7  set"));
    assert!(a.done(&["inspect", "cart/7"]).contains("tea"));
    assert!(a.done(&["inspect"]).contains(&a.id));
    let peers = b.done(&["peers"]);
    assert!(peers.contains(&a.listen) && peers.contains("up"), "{peers}");
    let nothing = a.sync(&["inspect", "nothing"]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.complaint().contains("nothing is stored at nothing"));
}

#[test]
fn a_node_of_another_authority_is_refused_and_both_logs_say_so() {
    let place = Place::with(&["a"]);
    place.authority("other-ca");
    place.issue("other-ca", "stranger");
    let a = place.run("a", &[]);
    let stranger = place.run("stranger", &[&a.listen]);
    let warned =
        |log: String, named: &str| log.lines().any(|line| line.contains("WARN") && line.contains(named));
    eventually("the dialler says that the peer is not of its cluster", || {
        warned(stranger.process.stderr(), &a.listen).then_some(())
    });
    eventually("the acceptor says whom it refused", || {
        warned(a.process.stderr(), "127.0.0.1:").then_some(())
    });
    for log in [a.process.stderr(), stranger.process.stderr()] {
        assert!(log.contains("cluster CA"), "{log}");
    }
    let converge = stranger.sync(&["converge", "--timeout", "1"]);
    assert_eq!(converge.code, 3);
    assert!(converge.complaint().contains(&a.listen), "{converge:?}");
    assert_eq!(a.sync(&["peers", "--json"]).json(), json!([]));
}

#[test]
fn converge_exits_with_3_and_names_the_peer_that_is_gone() {
    let place = Place::with(&["a", "b"]);
    let mut a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    assert_eq!(b.sync(&["converge", "--timeout", "10"]).code, 0);
    a.process.signal("KILL");
    a.process.wait();
    b.done(&["set", "add", "s", "x"]);
    let gone = b.sync(&["converge", "--timeout", "1"]);
    assert_eq!(gone.code, 3);
    assert!(gone.complaint().contains(&a.listen), "{gone:?}");
    let gone = b.sync(&["converge", "--timeout", "1", "--json"]);
    assert_eq!(gone.code, 3);
    assert_eq!(gone.json()["pending"][0]["address"], json!(a.listen));
}

#[test]
fn a_node_killed_and_started_again_gets_everything_back() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let mut b = place.run("b", &[&a.listen]);
    b.done(&["set", "add", "s", "from-b"]);
    a.shows(&["set", "ls", "s"], "from-b");
    b.process.signal("KILL");
    b.process.wait();
    a.done(&["set", "rm", "s", "from-b"]);
    a.done(&["set", "add", "s", "from-a"]);
    // The dead process left its socket behind; the new one replaces it.
    assert!(fs::exists(&b.socket).unwrap());
    let again = place.run("b", &[&a.listen]);
    assert_eq!(again.id, b.id);
    again.shows(&["set", "ls", "s"], "from-a");
}

#[test]
fn sigterm_and_sigint_hand_over_and_leave_nothing() {
    for name in ["TERM", "INT"] {
        let place = Place::with(&["a", "b"]);
        let a = place.run("a", &[]);
        let mut b = place.run("b", &[&a.listen]);
        b.has_links(1);
        assert_eq!(fs::metadata(&b.socket).unwrap().permissions().mode() & 0o777, 0o600);
        b.done(&["set", "add", "s", "last words"]);
        b.process.signal(name);
        assert_eq!(b.process.wait().code(), Some(0), "{}", b.process.stderr());
        assert!(!fs::exists(&b.socket).unwrap());
        a.shows(&["set", "ls", "s"], "last words");
    }
}

#[test]
fn a_full_node_refuses_a_new_key_and_says_what_to_do() {
    let place = Place::with(&["a"]);
    let a = place.run_with("a", &[], &["--max-crdts", "1"]);
    a.done(&["set", "add", "one", "x"]);
    a.done(&["set", "add", "one", "y"]);
    let full = a.sync(&["set", "add", "two", "x"]);
    assert_eq!(full.code, 1);
    assert!(full.complaint().contains("1 CRDTs of at most 1"), "{full:?}");
    a.done(&["set", "rm", "one", "x"]);
}

#[test]
fn the_socket_may_come_from_the_environment() {
    let place = Place::with(&["a"]);
    let a = place.run("a", &[]);
    let mut process = support::Process::spawn_with(place.path(), &["counter", "get", "n"], |command| {
        command.env("SYNC_SOCKET", &a.socket);
    });
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(process.stdout(), "0\n");
}
