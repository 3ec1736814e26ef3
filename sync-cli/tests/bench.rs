//! `bench` against real nodes: what it does is counted, what it wrote is removed, and a node that stalls is charged.

mod support;

use serde_json::{Value, json};
use support::{Place, Process};

const KINDS: [&str; 4] = ["read", "add", "put", "visible"];

#[test]
fn two_nodes_are_loaded_and_what_was_written_is_removed_from_both() {
    let place = Place::with(&["a", "b"]);
    let a = place.run_with("a", &[], &["--memory"]);
    let b = place.run_with("b", &[&a.listen], &["--memory"]);
    b.has_links(1);
    a.done(&["set", "add", "mine", "x"]);
    let args = [
        "bench",
        "--seconds",
        "1",
        "--clients",
        "4",
        "--keys",
        "5",
        "--also",
        &b.socket,
        "--durability",
        "none",
    ];
    let report = a.sync(&[&args[..], &["--json"]].concat()).json();
    assert_eq!((&report["nodes"], &report["first_error"]), (&json!(2), &Value::Null), "{report}");
    for kind in KINDS {
        let told = &report["kinds"][kind];
        let number = |field: &str| told[field].as_u64().unwrap_or_else(|| panic!("{kind} {field}: {report}"));
        assert!(number("operations") > 0 && number("errors") == 0, "{kind}: {report}");
        let quantiles = ["p50_us", "p90_us", "p99_us", "max_us"].map(number);
        assert!(quantiles[0] > 0 && quantiles.is_sorted(), "{kind}: {report}");
    }
    a.done(&["converge"]);
    for node in [&a, &b] {
        assert_eq!(
            node.sync(&["keys", "--json"]).json().as_array().map(Vec::len),
            Some(1),
            "only what was there before"
        );
    }

    let table =
        a.done(&["bench", "--seconds", "1", "--reads", "0", "--puts", "0", "--visible-every", "0", "--keep"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].contains("p99 ms") && rows[1].starts_with("add"), "{table}");
    assert!(table.contains("were kept"), "{table}");
    assert!(a.sync(&["keys", "bench-", "--json"]).json().as_array().is_some_and(|keys| !keys.is_empty()));
}

#[test]
fn with_a_rate_a_stall_is_charged_to_all_that_had_to_wait_for_it() {
    let place = Place::with(&["a"]);
    let a = place.run_with("a", &[], &["--memory"]);
    let args = [
        "--reads",
        "1",
        "--adds",
        "0",
        "--puts",
        "0",
        "--visible-every",
        "0",
        "--clients",
        "1",
        "--rate",
        "100",
    ];
    let load = [&["bench", "--json", "--seconds", "4", "--socket", &a.socket][..], &args].concat();
    let mut bench = Process::spawn(place.path(), &load);
    std::thread::sleep(std::time::Duration::from_secs(1));
    a.process.signal("STOP");
    std::thread::sleep(std::time::Duration::from_secs(2));
    a.process.signal("CONT");
    assert!(bench.wait().success(), "{}", bench.stderr());
    let report: Value = serde_json::from_str(&bench.stdout()).unwrap();
    let read = &report["kinds"]["read"];
    let number = |field: &str| read[field].as_u64().unwrap_or_else(|| panic!("{report}"));
    // Of 400 reads some 200 were due while the node stood still: without their wait p90 would be that of a quick read.
    assert!(number("operations") > 250, "{report}");
    assert!(number("p90_us") > 500_000, "{report}");
}

#[test]
fn a_node_that_is_not_there_and_a_mix_of_nothing_are_told_before_anything_is_written() {
    let place = Place::with(&["a"]);
    let a = place.run_with("a", &[], &["--memory"]);
    let nobody = a.sync(&["bench", "--also", &place.at("nobody.sock")]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.complaint().contains("nobody.sock"), "{nobody:?}");
    let nothing = a.sync(&["bench", "--reads", "0", "--adds", "0", "--puts", "0"]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert_eq!(a.sync(&["keys", "--json"]).json(), json!([]));
}
