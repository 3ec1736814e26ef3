//! Everything out as lines, and into another node.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Place, Running};

const WRITES: &[&str] = &[
    "set add s tea",
    "set add s 5 --as json",
    "set add s {\"$raw\":\"rAI=\"} --as json",
    "set add online ada --expires-in 30d",
    "map put m f v",
    "map put m 7 0.30000000000000004 --as json --field-as json",
    "counter add c -5",
    "register set r {\"a\":[1,null]} --as json",
    "multi-register set mr green",
    "flag enable f",
    "disable-flag enable df",
    "disable-flag disable off",
    "grow-set add gs ada",
    "grow-counter add gc 18446744073709551615",
    "max-register write max -7",
    "min-register write min -9",
    "remove-wins-set add rs bob",
    "remove-wins-set rm rs ada",
    "multimap add mm tea green",
    "multimap add mm tea black",
    "bounded-counter gain bc 10",
    "register set nm London --at address --at city",
    "counter add nm 2 --at logins",
    "log append l one",
    "log append l two",
];

fn node<'a>(place: &'a Place, name: &str) -> Running<'a> {
    place.authority(&format!("ca-{name}"));
    place.issue(&format!("ca-{name}"), name);
    place.run(name, &[])
}

fn filled<'a>(place: &'a Place, name: &str) -> Running<'a> {
    let filled = node(place, name);
    for line in WRITES {
        filled.done(&line.split(' ').collect::<Vec<_>>());
    }
    filled
}

/// What each key reads as; of log entries only their values, since they are written anew.
fn read(node: &Running<'_>) -> Vec<Value> {
    let keys = node.sync(&["keys", "--json"]).json();
    let read = |key: &Value| {
        let key = key["key"].as_str().expect("text");
        let mut shown = node.sync(&["get", key, "--json"]).json();
        if shown["type"] == "log" {
            let entries = shown["value"].as_array().expect("entries").iter();
            shown["value"] = entries.map(|entry| entry["value"].clone()).collect();
        }
        shown
    };
    keys.as_array().expect("a list").iter().map(read).collect()
}

#[test]
fn an_export_makes_every_type_anew_on_another_node() {
    let place = Place::new();
    let (a, b) = (filled(&place, "a"), node(&place, "b"));
    let file = place.at("all.jsonl");
    let told = a.sync(&["export", &file, "--json"]).json();
    assert_eq!(
        (&told["keys"], &told["left_out"], &told["settled"]),
        (&json!(18), &json!(0), &json!(0)),
        "{told}"
    );
    let lines = fs::read_to_string(&file).expect("it was written");
    assert_eq!(lines.lines().count() as u64, told["ops"].as_u64().expect("a number") + 2);
    assert!(lines.contains("expires_ms"), "when it expires goes along");

    assert_eq!(b.done(&["import", &file]), format!("{} operations taken in", told["ops"]));
    assert_eq!(read(&a), read(&b));
    let expiry = |node: &Running<'_>| {
        let shown = node.done(&["inspect", "online"]);
        let line = shown.lines().find(|line| line.contains("ada")).expect("the element").to_owned();
        line.split_whitespace().filter(|word| word.contains('-')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(expiry(&a).last(), expiry(&b).last());

    let again = b.sync(&["import", &file]);
    assert_eq!(again.code, 1);
    assert!(again.complaint().contains("--merge"), "{again:?}");
    let one = place.at("c.jsonl");
    a.done(&["export", &one, "--prefix", "c"]);
    b.done(&["import", &one, "--merge"]);
    assert_eq!(b.done(&["counter", "get", "c"]), "-10", "counters count once more");
    assert_eq!(a.sync(&["export", &file]).code, 1, "a file that is there is not overwritten");
    assert!(a.done(&["export", "--prefix", "mm"]).lines().count() == 4);
}

#[test]
fn a_cut_or_changed_export_is_refused_by_line() {
    let place = Place::new();
    let a = filled(&place, "a");
    let lines = a.done(&["export"]);
    let file = place.at("some.jsonl");
    let import = |name: &str, text: String| {
        fs::write(&file, text).expect("the folder is writable");
        let b = node(&place, name);
        let refused = b.sync(&["import", &file]);
        assert_eq!(refused.code, 1, "{refused:?}");
        refused.complaint().to_owned()
    };
    let half: Vec<&str> = lines.lines().take(5).collect();
    assert!(import("b", half.join("\n")).contains("it was cut"));
    let broken = lines.replacen("\"op\":\"add\"", "\"op\":\"ad\"", 1);
    let said = import("c", broken);
    assert!(said.contains("line ") && said.contains("nothing to do with a"), "{said}");
    assert!(import("d", format!("{lines}\n{{}}")).contains("behind the end"));
    let past = lines.replacen("\"expires_ms\":1", "\"expires_ms\":", 1);
    fs::write(&file, past).expect("the folder is writable");
    assert!(node(&place, "e").done(&["import", &file]).ends_with("1 had expired"));
}
