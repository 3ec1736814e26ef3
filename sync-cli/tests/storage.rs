//! A node's data as files: what outlives the process, and the commands for its folder.

mod support;

use std::fs;

use support::{Place, Running};

fn place() -> Place {
    Place::with(&["a"])
}

/// The life of a running node.
fn replica(node: &Running<'_>) -> String {
    let said = node.sync(&["inspect", "--json"]).json();
    said["status"]["replica"].as_str().expect("a node says who it is").to_owned()
}

#[test]
fn what_was_answered_is_there_after_the_process_was_killed() {
    let place = place();
    let mut replicas = Vec::new();
    for life in 1..=3 {
        let a = place.run("a", &[]);
        assert_eq!(a.done(&["counter", "add", "visits", "5"]), "changed");
        assert_eq!(a.done(&["set", "add", "lives", &life.to_string()]), "changed");
        assert_eq!(a.done(&["counter", "get", "visits"]), (5 * life).to_string());
        replicas.push(replica(&a));
        let said = a.done(&["inspect"]);
        let disk = said.lines().find(|line| line.starts_with("disk ")).expect("it has a line for its disk");
        assert!(disk.contains(" commits, the last in ") && !disk.contains("FAILING"), "{disk}");
        a.process.signal("KILL");
    }
    replicas.sort();
    replicas.dedup();
    assert_eq!(replicas.len(), 3, "every start is a new incarnation");
    let memory = place.run_with("a", &[], &["--memory"]);
    assert_eq!(memory.done(&["set", "ls", "lives"]), "", "it was asked to look at no disk");
}

#[test]
fn the_doctor_looks_at_a_folder_and_changes_nothing() {
    let place = place();
    let (dir, file) = (place.at("a"), place.path().join("a/data/state.redb"));
    let a = place.run("a", &[]);
    a.done(&["map", "put", "prices", "tea", "nineteen"]);
    let busy = place.sync(&["doctor", "--dir", &dir]);
    assert!(busy.code == 1 && busy.complaint().contains("in use by another process"), "{busy:?}");
    a.process.signal("KILL");
    drop(a);
    let before = fs::read(&file).unwrap();
    let sound = place.done(&["doctor", "--dir", &dir]);
    assert!(sound.contains("did not stop cleanly") && sound.contains("crdts       1"), "{sound}");
    assert!(fs::read(&file).unwrap() == before, "looking changed the file");
    let refused = place.sync(&["doctor", "--dir", &dir, "--accept-loss"]);
    assert!(refused.complaint().contains("nothing has to be given up"), "{refused:?}");

    let mut damaged = before;
    for at in 0..damaged.len() - 8 {
        if damaged[at..].starts_with(b"nineteen") {
            damaged[at] ^= 1;
        }
    }
    fs::write(&file, &damaged).unwrap();
    let found = place.sync(&["doctor", "--dir", &dir]);
    assert!(found.code == 1 && found.out.contains("damaged"), "{found:?}");
    assert!(fs::read(&file).unwrap() == damaged, "looking changed the file");
}

#[test]
fn a_damaged_node_without_peers_is_only_read_until_the_loss_is_accepted() {
    let place = place();
    let (dir, file) = (place.at("a"), place.path().join("a/data/state.redb"));
    let mut a = place.run("a", &[]);
    for (name, value) in [("tea", "nineteen"), ("rum", "twenty"), ("jam", "thirty")] {
        a.done(&["map", "put", "prices", name, value]);
    }
    a.process.signal("TERM");
    a.process.wait();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).rposition(|found| found == b"nineteen").unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut a = place.run("a", &[]);
    assert_eq!(a.done(&["map", "ls", "prices"]).lines().count(), 2, "what is sound can be read");
    let refused = a.sync(&["map", "put", "prices", "tea", "20"]);
    assert!(refused.code == 1 && refused.err.contains("only be read"), "{refused:?}");
    assert!(a.done(&["inspect"]).contains("DAMAGED"));
    a.process.signal("TERM");
    a.process.wait();
    let kept = place.done(&["doctor", "--dir", &dir, "--accept-loss"]);
    assert!(kept.contains("2 items") && kept.contains("damaged-1"), "{kept}");
    let a = place.run("a", &[]);
    assert_eq!(a.done(&["map", "ls", "prices"]).lines().count(), 2);
    assert_eq!(a.done(&["map", "get", "prices", "rum"]), "twenty");
}

#[test]
fn a_backup_of_a_running_node_is_restored_as_a_new_incarnation_with_a_new_owner() {
    let place = place();
    let (dir, file) = (place.at("a"), place.at("backup"));
    let a = place.run("a", &[]);
    a.done(&["counter", "add", "stock", "7"]);
    let said = a.done(&["backup", &file]);
    assert!(said.contains("rows"), "{said}");
    assert!(a.sync(&["backup", &file]).complaint().contains("it is kept"));
    let before = replica(&a);
    a.done(&["counter", "add", "stock", "1"]);
    a.process.signal("KILL");
    drop(a);
    let kept = place.sync(&["restore", &file, "--dir", &dir]);
    assert!(kept.code == 1 && kept.complaint().contains("it is kept"), "{kept:?}");
    fs::rename(place.path().join("a/data"), place.path().join("a/old")).unwrap();
    let restored = place.done(&["restore", &file, "--dir", &dir]);
    assert!(restored.contains("a new incarnation"), "{restored}");
    let a = place.run("a", &[]);
    assert_eq!(a.done(&["counter", "get", "stock"]), "7");
    assert_ne!(replica(&a), before);
    a.done(&["counter", "add", "stock", "1"]);
    assert_eq!(a.done(&["counter", "get", "stock"]), "8");
    let rows = a.sync(&["inspect", "stock", "--json"]).json().to_string();
    assert_eq!(rows.matches("\"seq\"").count(), 2, "two owners count: {rows}");
}
