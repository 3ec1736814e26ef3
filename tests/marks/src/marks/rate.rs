//! The highest rate of writes that three nodes hold, over 100,000 cells, each pushing to both others.
//!
//! Each node has a writer that never waits for the network but for one thing: while a peer is more than
//! [`BACKLOG_MAX`] entries behind, or off the log, it pauses. So the rate is what all three can join for as
//! long as it lasts, and what waits is bounded. At the end the nodes must show one root.

use std::time::{Duration, Instant};

use sync_net::Node;

use super::Settings;
use crate::cluster;
use crate::data::{key, value};
use crate::measure::memory;
use crate::report::{Report, Row};

const CELLS: usize = 100_000;
/// Entries of a node's log that a peer may lack before the writer pauses: half of the log.
const BACKLOG_MAX: u64 = 32_768;
/// Writes between two looks at the backlog.
const BATCH: usize = 64;

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let span = Duration::from_secs(if settings.quick { 5 } else { 60 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let held = runtime.expect("a runtime").block_on(measure(span));
    let row = Row::new("rate/writes a second on each of three", held.slowest, "writes/s");
    report.add(row.at_least(30_000.0));
    report.add(Row::new("rate/share of time that writers paused", held.paused, "of 1"));
    report.add(Row::new("rate/one root after the last write", held.settled.as_secs_f64(), "s"));
    let row = Row::new("rate/resident memory at the end", held.end, "bytes");
    report.add(row.beside("after a third of the time", held.third).ratio_at_most(1.5));
    report.add(Row::new("rate/sessions", held.sessions as f64, "sessions"));
    report.table(&format!("rate: three nodes for {} s", span.as_secs()));
}

struct Held {
    slowest: f64,
    paused: f64,
    settled: Duration,
    third: f64,
    end: f64,
    /// Repairs while it lasted: a peer that fell off a log.
    sessions: u64,
}

async fn measure(span: Duration) -> Held {
    let ca = cluster::ca();
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["1", "2", "3"] {
        let builder = cluster::builder(&ca, name);
        let builder = nodes.iter().fold(builder, |builder, other| builder.peer(cluster::peer(other)));
        nodes.push(builder.start().await.expect("it starts"));
    }
    for node in &nodes {
        cluster::linked(node, 2).await;
    }
    cluster::fill(&nodes[0], 0..CELLS);
    for node in &nodes {
        node.converge(cluster::PATIENCE).await.expect("all are there");
    }
    let sessions = |nodes: &[Node]| nodes.iter().map(|node| node.status().totals.sessions).sum::<u64>();
    let before = sessions(&nodes);

    let begun = Instant::now();
    let writers: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| tokio::spawn(write(node.clone(), index, begun + span)))
        .collect();
    tokio::time::sleep(span / 3).await;
    let third = memory("VmRSS") as f64;
    let (mut slowest, mut paused) = (f64::INFINITY, 0.0);
    for writer in writers {
        let wrote = writer.await.expect("a writer does not panic");
        slowest = f64::min(slowest, wrote.count as f64 / wrote.took.as_secs_f64());
        paused += wrote.paused.as_secs_f64() / wrote.took.as_secs_f64() / 3.0;
    }
    let end = memory("VmRSS") as f64;
    let stopped = Instant::now();
    cluster::until("all know the same", || {
        let contexts: Vec<_> = nodes.iter().map(cluster::context).collect();
        contexts.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await;
    let settled = stopped.elapsed();
    cluster::assert_one_state(&nodes.iter().collect::<Vec<_>>());
    let sessions = sessions(&nodes) - before;
    for node in &nodes {
        node.shutdown().await;
    }
    Held { slowest, paused, settled, third, end, sessions }
}

struct Wrote {
    count: u64,
    took: Duration,
    paused: Duration,
}

/// Writes until `end`.
async fn write(node: Node, index: usize, end: Instant) -> Wrote {
    let (begun, map) = (Instant::now(), cluster::map(&node));
    let (mut count, mut paused) = (0, Duration::ZERO);
    // A step that is coprime to the cells goes through all of them; each node begins elsewhere.
    let mut at = index * CELLS / 3;
    while Instant::now() < end {
        let late = node.peers().iter().any(|peer| {
            let lacking = peer.head.saturating_sub(peer.acked.unwrap_or(0));
            peer.behind || lacking > BACKLOG_MAX
        });
        if late {
            let pause = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            paused += pause.elapsed();
            continue;
        }
        for _ in 0..BATCH {
            at = (at + 7_919) % CELLS;
            count += 1;
            map.put(&key(at), &value(at, count)).expect("the limits leave room");
        }
        tokio::task::yield_now().await;
    }
    Wrote { count, took: begun.elapsed(), paused }
}
