//! What a repair costs on the wire: UDP payload of a link that was cut and comes back.
//!
//! Two nodes by the public API, their link through a [`Relay`]. The cut is [`Node::block_peers`], so the
//! figure has a QUIC handshake with mutual TLS in it: the row of no difference says how much that is.
//! Beside it stand the bytes of the frames inside, as the nodes count them.
//!
//! [`Node::block_peers`]: sync_net::Node::block_peers

use std::collections::BTreeSet;
use std::time::Duration;

use sync_net::Node;

use super::Settings;
use crate::cluster;
use crate::data::{key, value};
use crate::relay::Relay;
use crate::report::{Report, Row};

/// Acknowledgements are held back for less.
const FOLLOW_UP: Duration = Duration::from_millis(500);

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let (n, differences): (usize, &[usize]) =
        if settings.quick { (10_000, &[0, 100]) } else { (100_000, &[0, 1, 10, 100, 1_000, 10_000]) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure(report, n, differences));
    report.table("reconcile-udp: a cut link comes back, over QUIC");
}

async fn measure(report: &mut Report, n: usize, differences: &[usize]) {
    let ca = cluster::ca();
    let a = cluster::builder(&ca, "a").start().await.expect("it starts");
    cluster::fill(&a, 0..n);
    let relay = Relay::start(a.listen_addr()).await;
    let b = cluster::builder(&ca, "b").peer(cluster::via(&a, relay.addr()));
    let b = b.start().await.expect("it starts");
    cluster::equal(&a, &b).await;
    for (version, &d) in (1..).zip(differences) {
        a.block_peers(BTreeSet::from([b.id()]));
        b.block_peers(BTreeSet::from([a.id()]));
        for node in [&a, &b] {
            cluster::linked(node, 0).await;
        }
        let map = cluster::map(&b);
        for index in 0..d {
            map.put(&key(index), &value(index, version)).expect("the limits leave room");
        }
        // The links' last packets are on their way still.
        tokio::time::sleep(FOLLOW_UP).await;
        let before = (relay.total(), frames(&a, &b));
        a.block_peers(BTreeSet::new());
        b.block_peers(BTreeSet::new());
        for node in [&a, &b] {
            cluster::linked(node, 1).await;
        }
        cluster::equal(&a, &b).await;
        tokio::time::sleep(FOLLOW_UP).await;
        let (udp, inside) = (relay.total() - before.0, frames(&a, &b) - before.1);
        let row = Row::new(format!("reconcile-udp/upd/n={n}/d={d}"), udp as f64, "bytes of UDP payload");
        report.add(row.beside("its frames", inside as f64));
    }
    cluster::assert_one_state(&[&a, &b]);
    a.shutdown().await;
    b.shutdown().await;
}

/// Bytes of frames that both have sent.
fn frames(a: &Node, b: &Node) -> u64 {
    [a, b].iter().map(|node| node.status().totals.bytes_sent).sum()
}
