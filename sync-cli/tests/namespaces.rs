//! Namespaces from the command line: opened, written, looked at, carried to another node.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Place, Running, eventually};

fn listed(node: &Running<'_>) -> Vec<(String, String, bool, u64)> {
    let infos = node.sync(&["namespaces", "--json"]).json();
    let row = |info: &Value| {
        let text = |field: &str| info[field].as_str().expect("text").to_owned();
        (text("name"), text("class"), info["open"] == true, info["crdts"].as_u64().expect("a number"))
    };
    infos.as_array().expect("a list").iter().map(row).collect()
}

fn row(name: &str, class: &str, open: bool, crdts: u64) -> (String, String, bool, u64) {
    (name.to_owned(), class.to_owned(), open, crdts)
}

#[test]
fn namespaces_are_opened_written_listed_closed_and_carried_to_another_node() {
    let place = Place::with(&["a", "b"]);
    let a = place.run_with("a", &[], &["--namespace", "history=bulk"]);
    assert_eq!(listed(&a), [row("default", "normal", true, 0), row("history", "bulk", true, 0)]);
    a.done(&["namespaces", "open", "alarms", "--class", "urgent"]);
    a.done(&["set", "add", "raised", "smoke", "--namespace", "alarms", "--visible", "all"]);
    a.done(&["counter", "add", "n", "5", "--namespace", "history"]);
    a.done(&["counter", "add", "n", "7"]);
    assert_eq!(a.sync(&["counter", "get", "n", "--namespace", "history"]).out, "5\n");
    assert_eq!(a.sync(&["get", "n"]).out, "7\n");
    assert_eq!(a.sync(&["set", "ls", "raised", "--namespace", "alarms"]).out, "smoke\n");
    assert_eq!(a.sync(&["set", "ls", "raised"]).out, "");
    let of_alarms = a.sync(&["keys", "--namespace", "alarms", "--json"]).json();
    assert_eq!(of_alarms.as_array().map(Vec::len), Some(1));
    let expected = [
        row("alarms", "urgent", true, 1),
        row("default", "normal", true, 1),
        row("history", "bulk", true, 1),
    ];
    assert_eq!(listed(&a), expected);
    let shown = a.sync(&["namespaces"]).out;
    assert!(shown.lines().next().is_some_and(|line| line.starts_with("Namespace  Class")), "{shown}");
    let inspected = a.sync(&["inspect", "--namespace", "alarms"]).out;
    let figure = |name: &str| inspected.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!((figure("CRDTs"), figure("live items")), (Some("1"), Some("1")), "{inspected}");
    let top = a.sync(&["top", "--once"]).out;
    assert!(top.lines().any(|line| line.starts_with("alarms ") && line.contains("urgent")), "{top}");

    // Out of one namespace, into another of another node; the file says where from.
    let file = place.at("alarms.jsonl");
    a.done(&["export", &file, "--namespace", "alarms"]);
    let lines = fs::read_to_string(&file).expect("it was written");
    assert_eq!(lines.lines().next(), Some(r#"{"namespace":"alarms"}"#));
    let b = place.run_with("b", &[], &["--namespace", "copy=normal"]);
    b.done(&["import", &file, "--namespace", "copy"]);
    assert_eq!(b.sync(&["set", "ls", "raised", "--namespace", "copy"]).out, "smoke\n");
    assert_eq!(b.sync(&["keys", "--json"]).json(), json!([]));

    a.done(&["namespaces", "close", "alarms"]);
    let refused = a.sync(&["set", "add", "raised", "fire", "--namespace", "alarms"]);
    assert_eq!(refused.code, 1);
    assert!(refused.complaint().contains("\"alarms\" is closed"), "{refused:?}");
    let unknown = a.sync(&["keys", "--namespace", "nowhere"]);
    assert!(unknown.code == 1 && unknown.complaint().contains("no namespace \"nowhere\""), "{unknown:?}");
    assert_eq!(listed(&a)[0], row("alarms", "urgent", false, 1));
}

#[test]
fn two_nodes_share_what_both_have_open_and_a_restart_keeps_the_rest() {
    let place = Place::with(&["a", "b"]);
    let a = place.run_with("a", &[], &["--namespace", "alarms=urgent"]);
    let both = ["--namespace", "alarms=urgent", "--namespace", "own=bulk"];
    let b = place.run_with("b", &[&a.listen], &both);
    a.done(&["register", "set", "r", "v", "--namespace", "alarms", "--visible", "1"]);
    b.done(&["register", "set", "r", "mine", "--namespace", "own"]);
    assert_eq!(b.sync(&["register", "get", "r", "--namespace", "alarms"]).out, "v\n");
    b.done(&["converge", "--namespace", "alarms"]);
    b.done(&["converge", "--namespace", "own"]);
    let same = place.sync(&["diff", &a.socket, &b.socket, "--namespace", "alarms"]);
    assert_eq!(same.code, 0, "{same:?}");
    drop(b);

    let b = place.run_with("b", &[&a.listen], &["--namespace", "alarms=urgent"]);
    let own = |infos: Vec<(String, String, bool, u64)>| infos.into_iter().find(|info| info.0 == "own");
    assert_eq!(own(listed(&b)).map(|info| (info.2, info.3)), Some((false, 1)), "kept, and closed");
    assert_eq!(b.sync(&["register", "get", "r", "--namespace", "own"]).out, "mine\n");
    b.done(&["namespaces", "open", "own", "--class", "bulk"]);
    eventually("it is shared again", || {
        (b.sync(&["register", "get", "r", "--namespace", "alarms"]).out == "v\n").then_some(())
    });
    b.done(&["register", "set", "r", "again", "--namespace", "own"]);
}
