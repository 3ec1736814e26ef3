//! Every type and every operation from the command line, written on one node and read on another.

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use support::{Place, Running};
use sync_net::ops::TYPES;

fn two_nodes(place: &Place) -> (Running<'_>, Running<'_>) {
    place.authority("ca");
    place.issue("ca", "a");
    place.issue("ca", "b");
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    (a, b)
}

/// What was done, to see that nothing was left out.
#[derive(Default)]
struct Done(BTreeSet<(String, String)>);

impl Done {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (ty, op) = (words.next().expect("a type"), words.next().expect("an operation"));
        self.0.insert((ty.to_owned(), op.to_owned()));
    }

    fn changes(&mut self, node: &Running<'_>, line: &str) {
        self.note(line);
        assert_eq!(node.done(&line.split(' ').collect::<Vec<_>>()), "changed", "{line}");
    }

    fn shows(&mut self, node: &Running<'_>, line: &str, expected: &str) {
        self.note(line);
        node.shows(&line.split(' ').collect::<Vec<_>>(), expected);
    }
}

/// Writes on the first node, then what the other shows.
type Step = (&'static [&'static str], &'static [(&'static str, &'static str)]);

const STEPS: &[Step] = &[
    (&["set add s tea", "set add s 5", "set add s 5 --as json"], &[("set ls s", "5\n5\ntea")]),
    (&["set rm s 5 --as json"], &[("set ls s", "5\ntea")]),
    (
        &["map put m f v", "map put m g {\"a\":[1,null]} --as json"],
        &[("map get m f", "v"), ("map ls m", "f\tv\ng\t{\"a\":[1,null]}")],
    ),
    (&["map put m 7 0.1 --as json --field-as json"], &[("map get m 7 --field-as json", "0.1")]),
    (&["map rm m f", "map rm m 7 --field-as json"], &[("map ls m", "g\t{\"a\":[1,null]}")]),
    (&["counter add c -5"], &[("counter get c", "-5")]),
    (&["register set r tea"], &[("register get r", "tea")]),
    (&["multi-register set mr green"], &[("multi-register ls mr", "green")]),
    (&["flag enable f"], &[("flag get f", "true")]),
    (&["disable-flag enable df"], &[("disable-flag get df", "true")]),
    (&["grow-set add gs ada"], &[("grow-set ls gs", "ada")]),
    (&["grow-counter add gc 18446744073709551615"], &[("grow-counter get gc", "18446744073709551615")]),
    (&["max-register write max -7", "max-register write max -9"], &[("max-register get max", "-7")]),
    (&["min-register write min -7", "min-register write min -9"], &[("min-register get min", "-9")]),
    (
        &["remove-wins-set add rs ada", "remove-wins-set add rs bob", "remove-wins-set rm rs ada"],
        &[("remove-wins-set ls rs", "bob")],
    ),
    (
        &[
            "multimap add mm tea green",
            "multimap add mm tea black",
            "multimap rm mm tea green",
            "multimap add mm milk oat",
        ],
        &[("multimap get mm tea", "black"), ("multimap ls mm", "milk\t[\"oat\"]\ntea\t[\"black\"]")],
    ),
    (&["multimap rm-field mm milk"], &[("multimap ls mm", "tea\t[\"black\"]")]),
    (&["bounded-counter gain bc 10", "bounded-counter spend bc 4"], &[("bounded-counter get bc", "6")]),
    (
        &[
            "register set nm London --at address --at city",
            "counter add nm 2 --at logins",
            "set add nm tea --at tags",
            "nested-map rm nm tags",
        ],
        &[
            ("nested-map get nm", "{\n  \"logins\": 2,\n  \"address\": {\n    \"city\": \"London\"\n  }\n}"),
            ("nested-map ls nm", "address\t[\"nested-map\"]\nlogins\t[\"counter\"]"),
            ("register get nm --at address --at city", "London"),
        ],
    ),
];

/// What is left is removed by its own operation.
const CLEARS: &[&str] = &[
    "set clear s",
    "map clear m",
    "counter reset c",
    "register clear r",
    "multi-register clear mr",
    "flag disable f",
    "disable-flag disable df",
    "disable-flag clear df",
    "grow-counter reset gc",
    "max-register clear max",
    "min-register clear min",
    "remove-wins-set clear rs",
    "multimap clear mm",
    "nested-map clear nm",
    "log clear l",
];

#[test]
fn every_operation_of_every_type_is_done_on_one_node_and_seen_on_the_other() {
    let place = Place::new();
    let (a, b) = two_nodes(&place);
    let mut done = Done::default();
    for (writes, reads) in STEPS {
        for write in *writes {
            done.changes(&a, write);
        }
        for (read, expected) in *reads {
            done.shows(&b, read, expected);
        }
    }

    // Rights wander: b may spend what it was sent, and no more.
    let rights = b.sync(&["bounded-counter", "rights", "bc", "--json"]).json();
    let own = rights["rights"].as_array().expect("a list").iter().find(|holder| holder["own"] == true);
    let owner = own.expect("it is in the list without rights too")["owner"].as_str().expect("hex");
    done.changes(&a, &format!("bounded-counter send bc {owner} 2"));
    done.shows(&b, "bounded-counter rights bc", &a_rights(&a, owner));
    done.changes(&b, "bounded-counter spend bc 2");
    let refused = b.sync(&["bounded-counter", "spend", "bc", "1"]);
    assert_eq!(refused.code, 1);
    assert!(refused.complaint().contains("holds 0 rights and needs 1"), "{refused:?}");
    a.shows(&["bounded-counter", "get", "bc"], "4");

    for entry in ["one", "two", "three"] {
        done.changes(&a, &format!("log append l {entry}"));
    }
    done.note("log ls l");
    let entries = || b.sync(&["log", "ls", "l", "--keep", "2", "--json"]).json()["entries"].clone();
    let values = support::eventually("both nodes have the entries", || {
        let entries = entries();
        let values: Vec<_> = entries.as_array()?.iter().map(|entry| entry["value"].clone()).collect();
        (values.len() == 2 && values[1] == "three").then_some(values)
    });
    assert_eq!(values, [json!("two"), json!("three")]);
    assert!(b.done(&["log", "ls", "l"]).ends_with("\tthree"));

    let keys = b.sync(&["keys", "--json"]).json();
    let types: BTreeSet<_> =
        keys.as_array().expect("a list").iter().filter_map(|key| key["type"].as_str()).collect();
    assert_eq!(types, TYPES.iter().map(|ty| ty.name()).collect(), "a key of each type");
    for ty in TYPES {
        let key =
            keys.as_array().expect("a list").iter().find(|key| key["type"] == ty.name()).expect("a key");
        let key = key["key"].as_str().expect("text");
        let shown = b.sync(&["get", key, "--json"]).json();
        assert_eq!((&shown["type"], &shown["key"]), (&json!(ty.name()), &json!(key)));
        assert_ne!(shown["value"], json!(null));
    }

    for clear in CLEARS {
        done.changes(&a, clear);
    }
    let every: BTreeSet<_> = TYPES
        .iter()
        .flat_map(|ty| ty.ops.iter().map(|op| (ty.name().to_owned(), op.name.to_owned())))
        .collect();
    assert_eq!(done.0, every, "no operation was left out");
    b.shows(&["keys"], &a.done(&["keys"]));
    let left = a.sync(&["keys", "--json"]).json();
    let left: Vec<_> = left.as_array().expect("a list").iter().map(|key| key["key"].clone()).collect();
    assert_eq!(left, [json!("bc"), json!("gs")], "only these cannot be cleared");
}

/// The rights as `a` shows them, but for whose they are.
fn a_rights(a: &Running<'_>, other: &str) -> String {
    let shown = a.done(&["bounded-counter", "rights", "bc"]);
    let lines = shown.lines().map(|line| match line.strip_suffix("\tthis node") {
        Some(line) => line.to_owned(),
        None => format!("{line}\tthis node"),
    });
    assert!(shown.contains(&format!("{other}\t2")), "{shown}");
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_token_is_waited_for_by_every_read() {
    let place = Place::new();
    let (a, b) = two_nodes(&place);
    for round in 0..5 {
        let element = round.to_string();
        let written = a.sync(&["set", "add", "s", &element, "--json"]).json();
        let token = written["token"].as_str().expect("a write gives one");
        assert!(b.done(&["set", "ls", "s", "--after", token]).contains(&element));
        let removed = b.sync(&["rm", "s", "--json"]).json();
        let token = removed["token"].as_str().expect("a write gives one");
        let gone = a.sync(&["get", "s", "--after", token]);
        assert!(gone.complaint().contains("nothing is stored at s here"), "{gone:?}");
    }
    let refused = a.sync(&["get", "s", "--after", "xyz"]);
    assert_eq!(refused.code, 1);
}

#[test]
fn get_shows_and_rm_removes_a_key_of_any_type() {
    let place = Place::with(&["a"]);
    let a = place.run("a", &[]);
    for line in [
        "set add k tea",
        "counter add k 3",
        "flag enable f",
        "grow-set add g x",
        "log append l one",
        "bounded-counter gain b 2",
        "map put n f v --at inner",
        "counter add n 1 --at hits",
        "max-register write x 4",
        "remove-wins-set rm w gone",
    ] {
        a.done(&line.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(a.done(&["get", "k"]), "tea\n(read as set; also there, see --type: counter)");
    assert_eq!(a.done(&["get", "k", "--type", "counter"]).lines().next(), Some("3"));
    assert_eq!(a.done(&["get", "f"]), "true");
    assert_eq!(a.done(&["get", "n", "--at", "inner"]), "f\tv");
    assert_eq!(
        a.sync(&["get", "n", "--json"]).json(),
        json!({"key": "n", "type": "nested-map", "value": {"hits": 1, "inner": {"f": "v"}}})
    );
    assert_eq!(a.done(&["rm", "n", "--at", "inner"]), "changed");
    assert_eq!(a.done(&["get", "n"]), "{\n  \"hits\": 1\n}");
    assert_eq!(a.done(&["rm", "k", "--type", "set"]), "changed");
    assert_eq!(a.done(&["get", "k"]), "3");
    for key in ["k", "f", "g", "l", "b", "n", "x", "w"] {
        assert_eq!(a.done(&["rm", key]), "changed", "{key}");
        assert_eq!(a.done(&["rm", key]), "unchanged", "{key}");
    }
    assert_eq!(a.sync(&["keys", "--json"]).json(), json!([]));
    let nothing = a.sync(&["get", "k"]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.complaint().contains("nothing is stored at k here"), "{nothing:?}");
}

#[test]
fn what_json_shows_can_be_written_back() {
    let place = Place::with(&["a"]);
    let a = place.run("a", &[]);
    let values = [
        r#"null"#,
        r#"true"#,
        r#"5"#,
        r#"[-5]"#,
        r#"5.0"#,
        r#"18446744073709551615"#,
        r#"0.30000000000000004"#,
        r#""5""#,
        r#""\u001b[2J""#,
        r#"{"$bytes":"AAH/"}"#,
        r#"{"$f64":"NaN"}"#,
        r#"{"$raw":"rAI="}"#,
        r#"{"$$bytes":"x","a":[[],{}]}"#,
    ];
    for value in values {
        assert_eq!(a.done(&["set", "add", "s", value, "--as", "json"]), "changed", "{value}");
    }
    let shown = a.done(&["set", "ls", "s", "--json"]);
    for value in values {
        assert!(shown.contains(value), "{value} is not in {shown}");
        assert_eq!(a.done(&["set", "rm", "s", value, "--as", "json"]), "changed", "{value}");
    }
    assert_eq!(a.done(&["set", "ls", "s"]), "");
    for (wrong, said) in
        [("tea", "needs double quotes"), ("{\"$what\":1}", "means nothing"), ("1e999", "out of range")]
    {
        let refused = a.sync(&["register", "set", "r", wrong, "--as", "json"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.complaint().contains(said), "{refused:?}");
    }
}
