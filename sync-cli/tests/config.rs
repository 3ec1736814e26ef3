//! Configurations of real processes: `config check`, `config show`, and a running node at SIGHUP.

mod support;

use std::fs;

use serde_json::Value;
use support::{Finished, Place, Process, Running, eventually};

/// Writes a configuration file, whole for whoever reads it meanwhile, and gives its path.
fn write(place: &Place, name: &str, text: &str) -> String {
    let (path, new) = (place.at(name), place.at("new"));
    fs::write(&new, text).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

/// Runs a command with a variable set.
fn with_variable(place: &Place, args: &[&str], name: &str, value: &str) -> Finished {
    let mut process = Process::spawn_with(place.path(), args, |command| {
        command.env(name, value);
    });
    let code = process.wait().code().expect("it was not killed");
    Finished { code, out: process.stdout(), err: process.stderr() }
}

/// Starts a node of nothing but a configuration file, and waits until it says where it is.
fn run(place: &Place, file: &str) -> (Process, Value) {
    let mut process = Process::spawn(place.path(), &["run", "--json", "--config", file]);
    let info = eventually("the node says where it is", || {
        assert!(process.is_running(), "{}", process.stderr());
        serde_json::from_str(&process.stdout()).ok()
    });
    (process, info)
}

/// Follows the events of a node; nothing that happens from now on is missed.
fn follow(running: &Running<'_>, place: &Place) -> Process {
    let follower = Process::spawn(place.path(), &["events", "--json", "--socket", &running.socket]);
    eventually("the follower follows", || {
        running.process.signal("HUP");
        follower.stdout().contains("nothing has changed").then_some(())
    });
    follower
}

#[test]
fn check_tells_every_mistake_with_its_line_and_exits_with_2() {
    let place = Place::new();
    let wrong =
        write(&place, "wrong.toml", "max_crdt = 1\nsync_interval = 30\n\nmax_message_size = \"100kB\"\n");
    let refused = place.sync(&["config", "check", &wrong]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    let lines: Vec<&str> = refused.err.lines().collect();
    assert_eq!(lines.len(), 3, "{refused:?}");
    assert_eq!(
        lines[0],
        format!("sync-cli: {wrong}:1: no setting is named \"max_crdt\"; did you mean max_crdts?")
    );
    assert!(lines[1].contains(":2: sync_interval is 30, and must be a time from 100ms to 1d"), "{refused:?}");
    assert!(
        lines[2].contains("max_group_size (512KiB, default) must be below max_message_size (100kB, "),
        "{refused:?}"
    );
    let json = place.sync(&["config", "check", &wrong, "--json"]);
    let told: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, told["mistakes"].as_array().map(Vec::len)), (2, Some(3)));

    let sound = write(&place, "sound.toml", "max_crdts = 5\n");
    let said = place.done(&["config", "check", &sound]);
    assert_eq!(said, format!("{sound}: no mistakes, 1 settings are not the default"));
    let refused = place.sync(&["config", "check", &place.at("none.toml")]);
    assert_eq!(refused.code, 2);
    assert!(refused.complaint().contains("cannot be read"), "{refused:?}");
    let variable = with_variable(&place, &["config", "check", &sound], "SYNC_MAX_PEER", "5");
    assert_eq!(variable.code, 2);
    assert!(
        variable
            .complaint()
            .ends_with("SYNC_MAX_PEER: no setting has this variable; did you mean SYNC_MAX_PEERS?")
    );
}

#[test]
fn show_tells_each_value_and_where_it_came_from() {
    let place = Place::new();
    let file = write(&place, "sync.toml", "max_crdts = 5\nmax_peers = 5\nmax_queue_size = 5\n");
    let args = ["config", "show", "--config", &file, "--max-queue-size", "7", "--json"];
    let row = |shown: &Value, key: &str| {
        let all = shown.as_array().unwrap();
        let one = all.iter().find(|one| one["key"] == key).unwrap();
        (one["value"].to_string(), one["origin"].as_str().unwrap().to_owned())
    };
    let flagged = with_variable(&place, &args, "SYNC_MAX_QUEUE_SIZE", "6");
    assert_eq!(row(&flagged.json(), "max_queue_size"), ("7".to_owned(), "--max-queue-size".to_owned()));
    let shown = with_variable(&place, &args, "SYNC_MAX_PEERS", "6");
    assert_eq!(shown.code, 0, "{shown:?}");
    let shown = shown.json();
    let of = |key: &str| row(&shown, key);
    assert_eq!(of("max_crdts"), ("5".to_owned(), format!("{file}:1")));
    assert_eq!(of("max_peers"), ("6".to_owned(), "SYNC_MAX_PEERS".to_owned()));
    assert_eq!(of("max_queue_size"), ("7".to_owned(), "--max-queue-size".to_owned()));
    assert_eq!(of("sync_interval"), ("\"30s\"".to_owned(), "default".to_owned()));
    // The file that the variable names, and the one that lies in the working folder.
    let named = with_variable(&place, &["config", "show"], "SYNC_CONFIG", &file);
    assert!(
        named.out.lines().any(|line| line.starts_with("max_crdts ") && line.ends_with("sync.toml:1")),
        "{named:?}"
    );
    let here = Process::spawn_with(place.path(), &["config", "show"], |command| {
        command.current_dir(place.path());
    });
    eventually("the file in the working folder is read", || {
        here.stdout().lines().any(|line| line.ends_with(" sync.toml:2")).then_some(())
    });
}

#[test]
fn the_default_file_is_printed_and_has_no_mistakes() {
    let place = Place::new();
    let printed = place.done(&["config", "default"]);
    assert!(printed.contains("\n#max_crdts = 10000\n"), "{printed}");
    let file = write(&place, "sync.toml", &printed);
    assert!(place.done(&["config", "check", &file]).ends_with("0 settings are not the default"));
}

#[test]
fn a_node_does_not_start_on_a_mistake_and_leaves_nothing_behind() {
    let place = Place::with(&["a"]);
    let file = write(&place, "sync.toml", "max_crdts = 0\n");
    let (dir, socket) = (place.at("a"), place.at("a.sock"));
    let args = ["run", "--dir", &dir, "--listen", "127.0.0.1:0", "--socket", &socket, "--config", &file];
    let refused = place.sync(&args);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(
        refused.complaint().contains("max_crdts is 0, and must be a whole number from 1 to"),
        "{refused:?}"
    );
    assert!(!fs::exists(&socket).unwrap() && !fs::exists(place.at("a/data")).unwrap());
    let both =
        place.sync(&["run", "--dir", &dir, "--listen", "127.0.0.1:0", "--memory", "--durability", "none"]);
    assert_eq!(both.code, 2);
    assert!(
        both.complaint().contains("memory (true, --memory) and durability (none, --durability)"),
        "{both:?}"
    );
}

#[test]
fn the_folder_of_certificates_says_who_a_node_is() {
    let place = Place::with(&["a", "b"]);
    for name in ["a", "b"] {
        let text = format!(
            "dir = {:?}\nlisten = \"127.0.0.1:0\"\nsocket = {:?}\n",
            place.at(name),
            place.at("node.sock")
        );
        let (_process, info) = run(&place, &write(&place, "sync.toml", &text));
        assert_eq!(info["name"], name);
        assert_eq!(info["data"], place.at(&format!("{name}/data")));
    }
}

#[test]
fn the_socket_is_where_the_file_says() {
    let place = Place::with(&["a"]);
    let socket = place.at("elsewhere.sock");
    let text =
        format!("dir = {:?}\nlisten = \"127.0.0.1:0\"\nmemory = true\nsocket = {socket:?}\n", place.at("a"));
    let (_process, info) = run(&place, &write(&place, "sync.toml", &text));
    assert_eq!(info["socket"], socket);
    assert_eq!(place.done(&["counter", "get", "n", "--socket", &socket]), "0");
}

#[test]
fn a_log_of_json_is_an_object_a_line() {
    let place = Place::with(&["a", "b"]);
    let a = place.run_with("a", &[], &["--log-format", "json", "--log", "debug"]);
    a.process.signal("HUP");
    let line = eventually("a line of the log tells of the reload", || {
        let log = a.process.stderr();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines
            .into_iter()
            .find(|line| line["message"].as_str().is_some_and(|text| text.contains("read again")))
    });
    assert_eq!((&line["level"], &line["fields"]["node"]), (&"info".into(), &"a".into()));
    assert!(line["at_ms"].is_u64() && line["target"].is_string(), "{line}");
    let text = place.run_with("b", &[], &["--log-format", "text", "--memory"]);
    text.process.signal("HUP");
    eventually("it is text otherwise", || text.process.stderr().contains("INFO").then_some(()));
}

#[test]
fn the_log_tells_more_when_it_is_asked_to_also_while_the_node_runs() {
    let place = Place::with(&["a", "b", "c"]);
    let file = write(&place, "a.toml", "log = \"warn\"\n");
    let a = place.run_with("a", &[], &["--config", &file]);
    let b = place.run("b", &[&a.listen]);
    a.has_links(1);
    assert!(!a.process.stderr().contains("link up"), "{}", a.process.stderr());
    write(&place, "a.toml", "log = \"info\"\n");
    a.process.signal("HUP");
    eventually("the reload is told of", || a.process.stderr().contains("log warn -> info").then_some(()));
    let _c = place.run("c", &[&a.listen]);
    eventually("and so is a link", || a.process.stderr().contains("link up").then_some(()));
    drop(b);
}

#[test]
fn at_sighup_a_node_takes_over_what_can_change_and_keeps_on_when_there_is_a_mistake() {
    let place = Place::with(&["a"]);
    let file = write(&place, "a.toml", "max_crdts = 1\n");
    let a = place.run_with("a", &[], &["--config", &file]);
    let follower = follow(&a, &place);
    a.done(&["counter", "add", "one", "1"]);
    let refused = a.sync(&["counter", "add", "two", "1"]);
    assert!(refused.err.contains("1 CRDTs of at most 1"), "{refused:?}");

    write(&place, "a.toml", "max_crdts = 2\nmax_message_size = \"2MB\"\n");
    let reloaded = "max_crdts 1 -> 2; needs a restart: max_message_size 1MB -> 2MB";
    a.process.signal("HUP");
    eventually("an event tells what changed and what did not", || {
        follower.stdout().contains(reloaded).then_some(())
    });
    assert!(a.process.stderr().contains(reloaded), "{}", a.process.stderr());
    a.done(&["counter", "add", "two", "1"]);

    write(&place, "a.toml", "max_crdts = 3\nmax_peers = \"few\"\n");
    a.process.signal("HUP");
    let mistake = "a.toml:2: max_peers is \"few\"";
    eventually("the mistake is told of", || {
        let told = follower.stdout().contains("reload_refused") && a.process.stderr().contains(mistake);
        told.then_some(())
    });
    assert!(
        a.sync(&["counter", "add", "three", "1"]).err.contains("2 CRDTs of at most 2"),
        "nothing was taken over"
    );
    fs::remove_file(&file).unwrap();
    a.process.signal("HUP");
    eventually("a file that is gone is a mistake", || {
        a.process.stderr().contains("cannot be read").then_some(())
    });
    a.done(&["counter", "add", "two", "1"]);

    write(&place, "a.toml", "max_crdts = 3\n");
    a.process.signal("HUP");
    eventually("it is read once it is right", || {
        (a.sync(&["counter", "add", "three", "1"]).code == 0).then_some(())
    });
}
