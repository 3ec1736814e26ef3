//! `health`, `events` and `top` against nodes that run.

mod support;

use serde_json::Value;
use support::{Place, Process, eventually};

#[test]
fn health_is_an_exit_code_and_a_line_that_says_what_to_do() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    assert_eq!(a.done(&["health"]), "healthy, ready");
    let json = a.sync(&["health", "--json"]).json();
    assert_eq!((&json["state"], &json["ready"]), (&"healthy".into(), &true.into()));

    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    assert_eq!(b.sync(&["health"]).code, 0);
    a.process.signal("TERM");
    eventually("the peer is missed", || (b.sync(&["health"]).code == 5).then_some(()));
    let isolated = b.sync(&["health"]);
    assert!(
        isolated.out.starts_with("isolated, ready\nisolated  isolated: none of the 1 configured"),
        "{isolated:?}"
    );
    assert!(isolated.out.contains("\n          next: check the network"), "{isolated:?}");
    let complaint = isolated.complaint();
    assert!(
        complaint.contains("the node is isolated: none of the 1") && complaint.contains("; check"),
        "{complaint}"
    );
    assert_eq!(b.sync(&["health", "--json"]).json()["reasons"][0]["kind"], "isolated");

    drop(a);
    let full = place.run_with("a", &[], &["--max-crdts", "1"]);
    full.done(&["set", "add", "k", "e"]);
    let degraded = full.sync(&["health"]);
    assert_eq!(degraded.code, 4);
    assert!(degraded.out.contains("crdts_max is used up: 1 of 1"), "{degraded:?}");
}

#[test]
fn events_are_followed_as_text_and_as_json_lines_until_interrupted() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let follow = |more: &[&str]| {
        let args: Vec<&str> = ["events", "--socket", &a.socket].iter().chain(more).copied().collect();
        Process::spawn(place.path(), &args)
    };
    let (mut text, mut json) = (follow(&[]), follow(&["--json"]));
    // Both are there before something happens: each holds a connection of the endpoint.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    eventually("a line tells of the link", || {
        text.stdout()
            .lines()
            .any(|line| line.contains("  info   link_up: link to ") && line.contains("(b)"))
            .then_some(())
    });
    eventually("a JSON line tells of it", || {
        let lines: Vec<Value> =
            json.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines
            .iter()
            .any(|line| line["event"] == "peer_up" && line["fields"]["peer"] == b.id.as_str())
            .then_some(())
    });
    b.process.signal("TERM");
    eventually("the end of the link is told with its reason", || {
        text.stdout().lines().any(|line| line.contains("  WARN   link_down: ")).then_some(())
    });
    for process in [&mut text, &mut json] {
        process.signal("INT");
        assert!(process.wait().success(), "{}", process.stderr());
    }
}

#[test]
fn one_picture_shows_health_peers_and_bounds_as_text() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    b.done(&["set", "add", "k", "e", "--visible", "all"]);
    let picture = eventually("the roots are compared", || {
        let picture = b.done(&["top", "--once"]);
        picture.contains("equal").then_some(picture)
    });
    let line = |start: &str| {
        picture
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start}: {picture}"))
    };
    assert!(line("node    b  ").contains("cluster default"), "{picture}");
    assert_eq!(line("health"), "health  healthy, ready");
    assert!(line("state").contains("1 CRDTs, 1 items"), "{picture}");
    assert!(line("disk").contains(" commits, 0 failed, "), "{picture}");
    assert!(line("traffic").contains("frames/s") && line("merges").contains("timeouts/s"), "{picture}");
    let peer = line(&a.id[..8]);
    for part in [" a  ", " up ", " equal ", " closed"] {
        assert!(peer.contains(part), "{part:?} in {peer:?}");
    }
    assert!(line("crdts_max").contains("10,000"), "{picture}");
    assert!(!picture.contains('\u{1b}'), "plain text");
    let json = b.sync(&["top", "--json"]).json();
    assert_eq!((&json["health"]["state"], &json["status"]["name"]), (&"healthy".into(), &"b".into()));
    assert_eq!(json["peers"][0]["name"], "a");
}
