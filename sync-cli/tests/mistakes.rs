//! Wrong command lines and wrong surroundings: the exit code, and one line that says what to do.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::Place;

#[test]
fn a_wrong_command_line_exits_with_2() {
    let place = Place::new();
    for args in [
        &["fly"][..],
        &[],
        &["set", "add", "key"],
        &["counter", "add", "key", "ten"],
        &["run", "--dir", "d"],
        &["run", "--dir", "d", "--listen", "127.0.0.1:0", "--peer", "here"],
        &["demo", "--nodes", "0"],
        &["converge", "--timeout", "0"],
    ] {
        let finished = place.sync(args);
        assert_eq!((finished.code, finished.out.as_str()), (2, ""), "{args:?}: {finished:?}");
        assert!(finished.complaint().starts_with("sync-cli: "));
    }
}

#[test]
fn help_and_version_exit_with_0_and_help_lists_the_exit_codes() {
    let place = Place::new();
    assert!(place.done(&["--help"]).contains("3  not converged in time"));
    assert!(place.done(&["converge", "--help"]).contains("Exit codes:"));
    assert!(place.done(&["--version"]).starts_with("sync-cli "));
}

#[test]
fn a_missing_node_exits_with_1_and_says_how_to_name_one() {
    let place = Place::new();
    for json in [&[][..], &["--json"]] {
        let socket = place.at("none.sock");
        let finished = place.sync(&[&["set", "ls", "k", "--socket", &socket][..], json].concat());
        assert_eq!((finished.code, finished.out.as_str()), (1, ""));
        let said = finished.complaint();
        assert!(said.contains(&socket) && said.contains("--socket"), "{said}");
    }
}

#[test]
fn a_second_node_on_one_socket_is_refused() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let dir = place.at("b");
    let second = place.sync(&["run", "--dir", &dir, "--listen", "127.0.0.1:0", "--socket", &a.socket]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains("is in use by a running process"), "{second:?}");
    assert_eq!(a.done(&["counter", "get", "n"]), "0");
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::with(&["a", "b"]);
    let a = place.run("a", &[]);
    let (dir, socket) = (place.at("b"), place.at("second.sock"));
    let second = place.sync(&["run", "--dir", &dir, "--listen", &a.listen, "--socket", &socket]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains(&a.listen), "{second:?}");
    assert!(!fs::exists(&socket).unwrap());
}

#[test]
fn certificates_are_never_overwritten_and_keys_are_private() {
    let place = Place::with(&["a"]);
    for key in ["ca/ca.key", "a/node.key"] {
        assert_eq!(fs::metadata(place.at(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    let before = fs::read(place.at("ca/ca.key")).unwrap();
    let again = place.sync(&["certs", "ca", "--dir", &place.at("ca")]);
    assert_eq!(again.code, 1);
    assert!(again.complaint().contains("ca."), "{again:?}");
    assert_eq!(fs::read(place.at("ca/ca.key")).unwrap(), before);
    let issued =
        place.sync(&["certs", "issue", "--ca", &place.at("ca"), "--name", "a", "--dir", &place.at("a")]);
    assert_eq!(issued.code, 1);
}

#[test]
fn certificates_are_told_in_json() {
    let place = Place::new();
    let ca = place.sync(&["certs", "ca", "--dir", &place.at("ca"), "--label", "shop", "--json"]);
    assert_eq!(ca.json()["label"], "shop");
    let issued = place.sync(&[
        "certs",
        "issue",
        "--ca",
        &place.at("ca"),
        "--name",
        "a",
        "--dir",
        &place.at("a"),
        "--json",
    ]);
    assert_eq!(issued.json()["node"].as_str().unwrap().len(), 64);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_chmod_to_run() {
    let place = Place::with(&["a"]);
    let key = place.at("a/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (dir, socket) = (place.at("a"), place.at("a.sock"));
    let refused = place.sync(&["run", "--dir", &dir, "--listen", "127.0.0.1:0", "--socket", &socket]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("chmod"), "{refused:?}");
}
