//! Where a node is, and what its disk and its links make of it: real nodes on loopback.

use std::time::{Duration, Instant};

use sync_core::node::StepRows;
use sync_disk::{Disk, DiskError, EachRow, LastStop};
use sync_net::{ClusterCa, DurableError, Identity, Node, NodeBuilder};

use super::settings;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn issued(ca: &ClusterCa, name: &str) -> Identity {
    ca.issue(name).expect("a certificate can be issued")
}

pub(super) fn builder(identity: &Identity, text: &str) -> NodeBuilder {
    Node::builder().settings(&settings(text)).identity(identity.clone())
}

pub(super) async fn started(identity: &Identity, text: &str) -> Node {
    builder(identity, text).start().await.expect("it starts")
}

fn ca() -> ClusterCa {
    ClusterCa::create("test").expect("a CA can be made")
}

#[tokio::test]
async fn the_data_folder_keeps_the_state_and_memory_does_not() {
    let (place, identity) = (tempfile::tempdir().expect("there is room"), issued(&ca(), "a"));
    let folder = place.path().join("deep/data");
    let lives = [(format!("data = {folder:?}"), true), ("memory = true".to_owned(), false)];
    for (text, keeps) in lives {
        let node = started(&identity, &text).await;
        node.or_set::<String>("s").add(&"x".to_owned()).expect("there is room");
        assert_eq!(node.status().storage.is_some(), keeps);
        node.shutdown().await;
        let node = started(&identity, &text).await;
        assert_eq!(node.or_set::<String>("s").contains(&"x".to_owned()), keeps, "{text}");
        node.shutdown().await;
    }
    assert!(folder.is_dir());
}

/// A disk on which nothing is ever written.
struct Failing;

impl Disk for Failing {
    fn load(&mut self, _: &mut EachRow<'_>) -> Result<LastStop, DiskError> {
        Ok(LastStop::Never)
    }

    fn commit(&mut self, _: &StepRows) -> Result<(), DiskError> {
        Err(DiskError::Io { doing: "writing", path: "nowhere".into(), reason: "it is a test".to_owned() })
    }

    fn stop(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn set_aside(&mut self) -> Result<String, DiskError> {
        Ok("nowhere".to_owned())
    }

    fn bytes(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn on_a_disk_that_fails_a_write_is_answered_only_where_nothing_durable_is_asked_for() {
    let identity = issued(&ca(), "a");
    for (text, answered) in
        [("durability = \"none\"", true), ("durability = \"grouped\"", false), ("", false)]
    {
        let node = builder(&identity, text).disk(Box::new(Failing)).start().await.expect("it starts");
        let written = node.or_set::<String>("s").add(&"x".to_owned()).expect("there is room");
        let done = tokio::time::timeout(PATIENCE, node.durable(&written)).await.expect("it is known soon");
        assert_eq!(done.is_ok(), answered, "{text}: {done:?}");
        assert!(answered || matches!(done, Err(DurableError::Failing { .. })), "{text}: {done:?}");
    }
}

#[tokio::test]
async fn a_node_listens_where_it_is_told_to_and_dials_the_peers_it_is_given() {
    let ca = ca();
    let (a, b) = (issued(&ca, "a"), issued(&ca, "b"));
    let first = started(&a, "listen = \"127.0.0.9:0\"").await;
    let listen = first.listen_addr();
    assert_eq!(listen.ip().to_string(), "127.0.0.9");
    let second =
        started(&b, &format!("listen = \"127.0.0.9:0\"\npeers = [\"{}@{listen}\"]", first.id())).await;
    eventually("the two are linked", || second.status().peers_connected == 1).await;
    let stranger = started(&issued(&ca, "c"), "").await;
    assert!(stranger.peers().is_empty(), "who lists nobody dials nobody");
    assert_eq!(stranger.listen_addr().ip().to_string(), "127.0.0.1");
    for node in [first, second, stranger] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn nodes_of_another_cluster_label_are_refused() {
    let ca = ca();
    let first = started(&issued(&ca, "a"), "cluster = \"shop\"").await;
    let dials = |label: &str| format!("cluster = \"{label}\"\npeers = [\"{}\"]", first.listen_addr());
    let other = started(&issued(&ca, "b"), &dials("till")).await;
    let refused = || {
        first
            .peers()
            .iter()
            .chain(&other.peers())
            .any(|peer| peer.failure.as_ref().is_some_and(|failure| failure.contains("cluster")))
    };
    eventually("the label is refused", refused).await;
    let same = started(&issued(&ca, "c"), &dials("shop")).await;
    same.or_set::<String>("s").add(&"x".to_owned()).expect("there is room");
    let here = first.or_set::<String>("s");
    eventually("the same label is let in", || here.contains(&"x".to_owned())).await;
    assert!(!other.or_set::<String>("s").contains(&"x".to_owned()));
    for node in [first, other, same] {
        node.shutdown().await;
    }
}
