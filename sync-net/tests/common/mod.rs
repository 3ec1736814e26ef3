//! A small cluster on loopback for the tests of this crate: real QUIC, real certificates, no files.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sync_net::{ClusterCa, ConvergeReport, Limits, Node, NodeBuilder, PeerAddr};

/// Longer than anything takes on a slow machine: a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The CA of the cluster under test.
pub(crate) fn ca() -> ClusterCa {
    ClusterCa::create("test").expect("a CA can be made")
}

/// A node to be, with a certificate of `ca`.
pub(crate) fn builder(ca: &ClusterCa, name: &str) -> NodeBuilder {
    Node::builder().identity(ca.issue(name).expect("a certificate can be issued")).cluster("test")
}

/// A node without peers.
pub(crate) async fn alone() -> Node {
    builder(&ca(), "alone").start().await.expect("starts")
}

/// How to dial `node`, and nobody else.
pub(crate) fn peer(node: &Node) -> PeerAddr {
    PeerAddr { addr: node.listen_addr().to_string(), id: Some(node.id()) }
}

/// `n` nodes in full mesh: each dials those before it.
pub(crate) async fn cluster(n: usize) -> Vec<Node> {
    cluster_with(n, Limits::default()).await
}

/// As [`cluster`], with limits.
pub(crate) async fn cluster_with(n: usize, limits: Limits) -> Vec<Node> {
    let ca = ca();
    let mut nodes: Vec<Node> = Vec::new();
    for index in 1..=n {
        let builder = builder(&ca, &format!("node-{index}")).limits(limits.clone());
        let builder = nodes.iter().fold(builder, |builder, other| builder.peer(peer(other)));
        nodes.push(builder.start().await.expect("a node starts on a free port"));
    }
    for node in &nodes {
        let name = format!("{node:?} is linked with all others");
        eventually(&name, || node.status().peers_connected == n as u64 - 1).await;
    }
    nodes
}

/// Waits until `holds`.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Cuts `node` off from the others, on both sides.
pub(crate) fn cut(node: &Node, others: &[Node]) {
    node.block_peers(others.iter().map(Node::id).collect());
    for other in others {
        other.block_peers(BTreeSet::from([node.id()]));
    }
}

/// Heals every cut.
pub(crate) fn heal(nodes: &[Node]) {
    nodes.iter().for_each(|node| node.block_peers(BTreeSet::new()));
}

/// Converges `nodes`: each asks, so that afterwards each holds what any held.
pub(crate) async fn converge(nodes: &[Node]) -> Vec<ConvergeReport> {
    let mut reports = Vec::new();
    for node in nodes {
        reports.push(node.converge(PATIENCE).await.expect("the cluster is whole"));
    }
    reports
}

/// Asserts that all nodes show one state id and one root.
pub(crate) fn assert_one_state(nodes: &[Node]) {
    let ids: BTreeSet<_> = nodes.iter().map(|node| node.status()).map(|s| (s.root, s.state_id)).collect();
    assert_eq!(ids.len(), 1, "all nodes hold one state");
}

/// Owned text, for the typed handles.
pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}
