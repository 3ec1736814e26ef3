//! The breaker of a peer as an operator sees and moves it.

mod support;

use serde_json::{Value, json};
use support::{Place, Running, eventually};

/// The breaker of the first peer that the node lists.
fn breaker(node: &Running<'_>) -> Value {
    node.sync(&["peers", "--json"]).json()[0]["breaker"].clone()
}

#[test]
fn a_peer_that_is_gone_opens_its_breaker_and_is_found_again_when_it_is_back() {
    let place = Place::with(&["a", "b"]);
    let mut a = place.run("a", &[]);
    let listen = a.listen.clone();
    let b = place.run("b", &[&listen]);
    b.has_links(1);
    assert_eq!(
        breaker(&b),
        json!({"state": "closed", "shut": false, "reason": null, "for_ms": null, "timed_out": 0,
        "refused": 0, "violations": 0, "oversized": 0, "opens": 0})
    );
    a.process.signal("TERM");
    a.process.wait();
    eventually("the breaker opens", || (breaker(&b)["state"] != "closed").then_some(()));
    let open = breaker(&b);
    assert_eq!((&open["shut"], &open["opens"]), (&json!(false), &json!(1)), "{open}");
    let table = b.done(&["peers"]);
    assert!(table.contains("open") && table.contains("1 openings"), "{table}");
    let figures = b.done(&["inspect"]);
    assert!(figures.contains("1 not closed; 1 openings"), "{figures}");
    b.done(&["set", "add", "s", "x"]);

    let dir = place.at("a");
    let socket = place.at("a.sock");
    let args = ["run", "--json", "--dir", &dir, "--listen", &listen, "--socket", &socket];
    let _again = support::Process::spawn(place.path(), &args);
    b.has_links(1);
    eventually("the breaker closes", || (breaker(&b)["state"] == "closed").then_some(()));
    eventually("what was written meanwhile is there", || {
        (place.sync(&["set", "ls", "s", "--socket", &socket]).out.trim_end() == "x").then_some(())
    });
}

#[test]
fn an_operator_trips_resets_removes_and_adds_a_peer() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);

    let told = b.done(&["peers", "trip", &a.id[..8]]);
    assert_eq!(told, format!("{} at {}: open", &a.id[..8], a.listen));
    b.has_links(0);
    let open = breaker(&b);
    assert_eq!((&open["shut"], &open["reason"]), (&json!(true), &json!("an operator asked for it")));
    assert_eq!(b.sync(&["peers", "reset", &a.listen, "--json"]).json()["breaker"], "closed");
    b.has_links(1);

    assert!(b.done(&["peers", "remove", &a.listen]).ends_with(": removed"));
    b.has_links(0);
    assert_eq!(breaker(&b)["state"], "removed");
    b.done(&["set", "add", "s", "x"]);
    assert_eq!(b.sync(&["converge", "--timeout", "5"]).code, 0, "nobody is waited for");
    assert_eq!(a.sync(&["set", "ls", "s"]).out, "");
    let refused = b.sync(&["peers", "reset", &a.id[..8]]);
    assert_eq!(refused.code, 1);
    assert!(refused.complaint().contains("`peers add` puts it back"), "{refused:?}");
    b.done(&["peers", "add", &a.listen]);
    b.has_links(1);
    // Who was shut out has a breaker too, which may need some probes.
    b.done(&["converge", "--timeout", "30"]);
    assert_eq!(a.done(&["set", "ls", "s"]), "x");

    let unknown = b.sync(&["peers", "trip", "ffffffff"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.complaint().contains("no peer is named"), "{unknown:?}");
    let wrong = b.sync(&["peers", "add", "nowhere"]);
    assert!(wrong.complaint().contains("host:port"), "{wrong:?}");
}

#[test]
fn a_member_that_will_not_return_is_retired_and_the_rights_lost_with_it_are_shown() {
    let place = Place::with(&["a", "b"]);
    let mut a = place.run("a", &[]);
    let listen = a.listen.clone();
    let b = place.run("b", &[&listen]);
    b.has_links(1);
    a.done(&["bounded-counter", "gain", "seats", "7"]);
    let id = b.sync(&["peers", "--json"]).json()[0]["peer"].as_str().expect("it is known").to_owned();
    eventually("b has it", || b.sync(&["bounded-counter", "get", "seats"]).out.contains('7').then_some(()));
    let refused = b.sync(&["peers", "retire", &listen]);
    assert!(refused.code == 1 && refused.err.contains("stop it first"), "{refused:?}");
    a.process.signal("TERM");
    a.process.wait();
    eventually("the link is down", || {
        (b.sync(&["peers", "--json"]).json()[0]["connected"] == false).then_some(())
    });
    let retired = b.done(&["peers", "retire", &id]);
    assert!(retired.contains("7 rights of seats"), "{retired}");
    assert_eq!(breaker(&b)["state"], "removed");
}
