//! The demo's nodes: each a real node with its own certificate and QUIC socket on the loopback.
//!
//! All of them live in this process and nothing touches the disk, so killing the process leaves nothing
//! behind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sync_net::{ClusterCa, Limits, Node, NodeStatus, PeerAddr};
use tokio::time::{sleep, timeout};

use crate::failure::Failure;

/// How long links, one root, or convergence are waited for before the demo gives up. On an idle machine
/// each takes well below a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the nodes are looked at while waiting: the resolution of the time to one root.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Nodes that all know each other.
pub(super) struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `count` nodes that may hold `crdts_max` CRDTs each, and waits until all are linked.
    pub(super) async fn start(count: u8, crdts_max: u64) -> Result<Self, Failure> {
        let ca = ClusterCa::create("demo").map_err(Failure::failed)?;
        let limits = Limits { crdts_max, ..Limits::default() };
        let mut cluster = Self { nodes: Vec::new() };
        for number in 1..=count {
            let identity = ca.issue(&format!("node-{number}")).map_err(Failure::failed)?;
            let builder = Node::builder().identity(identity).cluster("demo").limits(limits.clone());
            // A node dials those that started before it: one link for each pair.
            let builder = cluster.nodes.iter().fold(builder, |builder, other| {
                let addr = other.listen_addr().to_string();
                builder.peer(PeerAddr { addr, id: Some(other.id()) })
            });
            cluster.nodes.push(builder.start().await.map_err(Failure::failed)?);
        }
        match cluster.eventually(Self::is_linked).await {
            Some(_) => Ok(cluster),
            None => Err(Failure::Failed(format!(
                "the nodes did not link within {} s; is UDP on the loopback allowed here?",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// The nodes, in the order they were started.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Cuts the last node off from all others, both ways.
    pub(super) fn cut_last(&self) {
        let Some((last, others)) = self.nodes.split_last() else { return };
        last.block_peers(others.iter().map(Node::id).collect());
        for other in others {
            other.block_peers(BTreeSet::from([last.id()]));
        }
    }

    /// Ends the cut and waits, with no writes going on, until all nodes have one root. Returns how long
    /// that took, redialling included; `None` if it took too long.
    pub(super) async fn heal(&self) -> Option<Duration> {
        for node in &self.nodes {
            node.block_peers(BTreeSet::new());
        }
        self.eventually(|cluster| cluster.root().is_some()).await
    }

    /// Has every node converge. Fails with the words of the first that does not.
    pub(super) async fn converge(&self) -> Result<(), Failure> {
        self.eventually(Self::is_linked).await;
        for (node, number) in self.nodes.iter().zip(1..) {
            let done = node.converge(PATIENCE).await;
            done.map_err(|error| Failure::NotConverged(format!("node {number}: {error}")))?;
        }
        Ok(())
    }

    /// The root that all nodes have, if they have one.
    pub(super) fn root(&self) -> Option<String> {
        let roots: BTreeSet<String> = self.status().into_iter().map(|status| status.root).collect();
        (roots.len() == 1).then(|| roots.into_iter().next()).flatten()
    }

    /// Every node's figures.
    pub(super) fn status(&self) -> Vec<NodeStatus> {
        self.nodes.iter().map(Node::status).collect()
    }

    /// Stops all nodes at once.
    pub(super) async fn shutdown(self) {
        let mut stopping = tokio::task::JoinSet::new();
        for node in self.nodes {
            stopping.spawn(async move { node.shutdown().await });
        }
        stopping.join_all().await;
    }

    fn is_linked(&self) -> bool {
        let others = self.nodes.len() - 1;
        self.nodes.iter().all(|node| node.peers().iter().filter(|peer| peer.connected).count() == others)
    }

    /// How long it took until `reached` held; `None` if it did not in time.
    async fn eventually(&self, reached: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begun = Instant::now();
        let waiting = async {
            while !reached(self) {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, waiting).await.ok().map(|()| begun.elapsed())
    }
}
