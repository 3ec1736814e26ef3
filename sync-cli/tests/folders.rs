//! Folders that people copy, restore and set back, under real processes: nothing is lost but what no disk and no peer
//! holds, all nodes show one root, and whoever counts in two places is told so.

mod support;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use support::http::Http;
use support::{Place, Running, eventually};

/// Two processes with one certificate take a peer's link from each other until both have heard all: seconds.
const CLONES_PATIENCE: Duration = Duration::from_secs(120);

fn place() -> Place {
    Place::with(&["a", "c"])
}

fn copy(place: &Place, from: &str, to: &str) {
    let done = Command::new("cp").args(["-a", &place.at(from), &place.at(to)]).status().unwrap();
    assert!(done.success());
}

fn http(node: &Running<'_>) -> Http {
    Http::connect(&node.socket).unwrap()
}

fn root(node: &Running<'_>) -> String {
    http(node).get("/v1/status").unwrap()["state_id"].to_string()
}

fn add(node: &Running<'_>, element: &str, by: u64) {
    let mut http = http(node);
    for (path, body) in [
        ("/v1/set/add", json!({"key": "set", "element": element})),
        ("/v1/counter/add", json!({"key": "count", "by": by})),
    ] {
        let answer = http.post(path, "immediate", &body).unwrap();
        assert_eq!(answer.0, 200, "{answer:?}");
    }
}

fn elements(node: &Running<'_>) -> usize {
    http(node).get("/v1/set?key=set").unwrap()["elements"].as_array().unwrap().len()
}

fn count(node: &Running<'_>) -> i64 {
    http(node).get("/v1/counter?key=count").unwrap()["value"].as_i64().unwrap()
}

/// Waits until all show one root and `elements` elements.
fn agree(nodes: &[&Running<'_>], expected: usize) {
    let begun = Instant::now();
    loop {
        let roots: Vec<String> = nodes.iter().map(|node| root(node)).collect();
        if roots.iter().all(|root| *root == roots[0]) && elements(nodes[0]) == expected {
            return;
        }
        let found: Vec<usize> = nodes.iter().map(|node| elements(node)).collect();
        assert!(begun.elapsed() < CLONES_PATIENCE, "{found:?} of {expected} elements; roots {roots:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a node has said of another place that counts under its owner.
fn alarm(node: &Running<'_>) -> Option<String> {
    let log = node.process.stderr();
    log.lines().find(|line| line.contains("counts under this node's counter owner")).map(str::to_owned)
}

fn is_alarmed(node: &Running<'_>) {
    let line = eventually("the alarm is raised", || alarm(node));
    assert!(line.contains("count") && line.contains("own=") && line.contains("other="), "{line}");
}

/// Two processes on copies of one folder, both with a peer.
fn clones(stopped: bool) {
    let place = place();
    let c = place.run("c", &[]);
    let mut a = place.run("a", &[&c.listen]);
    add(&a, "before", 10);
    agree(&[&a, &c], 1);
    if stopped {
        a.process.signal("TERM");
        a.process.wait();
    }
    copy(&place, "a", "b");
    let a = if stopped { place.run("a", &[]) } else { a };
    let b = place.run("b", &[]);
    // Neither has heard of the other when it counts on.
    let alone = |node: &Running<'_>, element: &str, by: u64| add(node, element, by);
    alone(&b, "of b", 5);
    alone(&a, "of a", 3);
    drop(b);
    let b = place.run("b", &[&c.listen]);
    let a = if stopped {
        drop(a);
        place.run("a", &[&c.listen])
    } else {
        a
    };
    agree(&[&a, &b, &c], 3);
    assert_eq!(count(&c), 15, "of 3 and 5 counted under one owner the larger is read");
    is_alarmed(&a);
    is_alarmed(&b);
    let replaced =
        |node: &Running<'_>| node.process.stderr().contains("a newer process with the same certificate");
    eventually("one is told of the other process", || (replaced(&a) || replaced(&b)).then_some(()));
    add(&a, "more of a", 1);
    add(&b, "more of b", 1);
    agree(&[&a, &b, &c], 5);
    assert_eq!(count(&c), 17, "from here on each counts for itself");
}

#[test]
fn a_copy_of_a_running_folder_is_alarmed_and_loses_nothing_but_the_smaller_count() {
    clones(false);
}

#[test]
fn a_copy_of_a_stopped_folder_is_alarmed_and_loses_nothing_but_the_smaller_count() {
    clones(true);
}

#[test]
fn a_folder_set_back_by_1_10_and_1000_writes_fetches_what_it_forgot_and_counts_on() {
    let (mut written, mut counted) = (0, 0);
    let place = place();
    let c = place.run("c", &[]);
    for (writes, name) in [(1, "by 1"), (10, "by 10"), (1_000, "by 1000")] {
        let mut a = place.run("a", &[&c.listen]);
        add(&a, &format!("{name}: before"), 1);
        (written, counted) = (written + 1, counted + 1);
        agree(&[&a, &c], written);
        a.process.signal("TERM");
        a.process.wait();
        drop(a);
        copy(&place, "a/data", &format!("kept {writes}"));
        let a = place.run("a", &[&c.listen]);
        for n in 0..writes {
            add(&a, &format!("{name}: {n}"), 1);
        }
        (written, counted) = (written + writes, counted + i64::try_from(writes).unwrap());
        agree(&[&a, &c], written);
        a.process.signal("KILL");
        drop(a);
        fs::remove_dir_all(place.path().join("a/data")).unwrap();
        copy(&place, &format!("kept {writes}"), "a/data");
        // What it has forgotten its peer still holds. It writes before it has heard of any of that.
        let a = place.run("a", &[]);
        assert_eq!(elements(&a), written - writes, "the folder is the old one");
        let answer =
            http(&a).post("/v1/set/add", "immediate", &json!({"key": "set", "element": name})).unwrap();
        assert_eq!(answer.0, 200);
        drop(a);
        let mut a = place.run("a", &[&c.listen]);
        written += 1;
        agree(&[&a, &c], written);
        assert_eq!(count(&c), counted, "nothing was counted twice, nothing is missing");
        is_alarmed(&a);
        add(&a, &format!("{name}: after"), 1);
        (written, counted) = (written + 1, counted + 1);
        agree(&[&a, &c], written);
        assert_eq!(count(&c), counted);
        a.process.signal("TERM");
        a.process.wait();
    }
}

#[test]
fn an_old_backup_that_is_restored_fetches_what_came_after_it() {
    let place = place();
    let (dir, file) = (place.at("a"), place.at("backup"));
    let c = place.run("c", &[]);
    let a = place.run("a", &[&c.listen]);
    add(&a, "before", 10);
    a.done(&["backup", &file]);
    for n in 0..200 {
        add(&a, &n.to_string(), 1);
    }
    agree(&[&a, &c], 201);
    // Nobody but the disk holds this one.
    let (listen, mut peer) = (c.listen.clone(), c);
    peer.process.signal("TERM");
    peer.process.wait();
    drop(peer);
    add(&a, "unseen", 1);
    a.process.signal("KILL");
    drop(a);
    fs::rename(place.path().join("a/data"), place.path().join("a/old")).unwrap();
    place.done(&["restore", &file, "--dir", &dir]);
    let c = place.run("c", &[]);
    assert_ne!(c.listen, listen, "it comes back elsewhere");
    let a = place.run("a", &[&c.listen]);
    agree(&[&a, &c], 201);
    assert_eq!(count(&a), 210, "the one that nobody else had seen is lost, and no other");
    assert_eq!(alarm(&a), None, "a restore takes a new owner by itself");
    add(&a, "after", 1);
    agree(&[&a, &c], 202);
    assert_eq!(count(&c), 211);
}
