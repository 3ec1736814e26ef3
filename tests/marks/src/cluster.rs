//! Nodes of ours on loopback, by the public API: QUIC, mutual TLS, no files.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sync_net::{CausalContext, ClusterCa, Limits, LwwMap, Node, NodeBuilder, PeerAddr};

use crate::data::{Key, Value, key, value};

/// Longer than any step of a mark takes.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The one map that holds the entries.
pub const MAP: &str = "m";

/// Puts of one transaction while a store is filled.
const GROUP: usize = 1_000;

/// Limits for a million entries.
pub fn limits() -> Limits {
    Limits::default().with_room(10_000, 4 << 30)
}

/// The CA of the cluster under measurement.
pub fn ca() -> ClusterCa {
    ClusterCa::create("marks").expect("a CA can be made")
}

/// A node to be.
pub fn builder(ca: &ClusterCa, name: &str) -> NodeBuilder {
    let identity = ca.issue(name).expect("a certificate can be issued");
    Node::builder().identity(identity).cluster("marks").limits(limits())
}

/// How to dial `node`.
pub fn peer(node: &Node) -> PeerAddr {
    via(node, node.listen_addr())
}

/// How to dial `node` by way of `addr`.
pub fn via(node: &Node, addr: SocketAddr) -> PeerAddr {
    PeerAddr { addr: addr.to_string(), id: Some(node.id()) }
}

/// The map of entries on `node`.
pub fn map(node: &Node) -> LwwMap<Key, Value> {
    node.lww_map(MAP)
}

/// Writes entries of `range` on `node`.
pub fn fill(node: &Node, range: std::ops::Range<usize>) {
    let indices: Vec<usize> = range.collect();
    for group in indices.chunks(GROUP) {
        let written = node.transaction(|tx| {
            let map = tx.lww_map::<Key, Value>(MAP);
            group.iter().try_for_each(|index| map.put(&key(*index), &value(*index, 0)))
        });
        written.expect("the limits leave room");
    }
}

/// What `node` knows. Cheap, unlike a look at its root.
pub fn context(node: &Node) -> CausalContext {
    node.read(|view| view.context().clone())
}

/// Waits until both know the same.
pub async fn equal(a: &Node, b: &Node) {
    until("both know the same", || context(a) == context(b)).await;
}

/// Waits until `holds`, looking each millisecond.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until `node` has `count` links.
pub async fn linked(node: &Node, count: usize) {
    until("linked", || node.peers().iter().filter(|peer| peer.connected).count() == count).await;
}

/// Asserts that all nodes show one state.
pub fn assert_one_state(nodes: &[&Node]) {
    let mut states = nodes.iter().map(|node| node.status().state_id);
    let first = states.next();
    assert!(states.all(|state| Some(state) == first), "all nodes show one root");
}
