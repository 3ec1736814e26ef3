//! Urgent writes under a saturated bulk lane: ten nodes over QUIC on loopback, in one process.
//!
//! One node keeps the bulk lane full: it writes as fast as the peers that it pushes to confirm. In turn there is nothing
//! else, or urgent writes come at a fixed rate, each on the next node, whether those before are done or not; of each is
//! taken how long it is, from when it was due, until all nodes have confirmed it. Two phases that ran next to each other
//! make a pair; what bulk keeps is the median of their ratios. Where the system tells how much of its processors the
//! process has used, all ten nodes together, it prints that for each bulk write alone, and for each urgent one what a
//! phase used above that: these say the same on a busy machine. Prints JSON.
//!
//! ```text
//! cargo bench -p sync-net --bench lanes -- [ROUNDS]
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sync_net::{Class, ClusterCa, Namespace, Node, PeerAddr, Visibility};

/// Between two urgent writes.
const URGENT_EVERY: Duration = Duration::from_millis(20);

/// Bytes of a value in the bulk lane.
const BULK_BYTES: usize = 4_096;

/// Fields that are overwritten in turn.
const BULK_FIELDS: u64 = 2_000;

/// Bulk writes that a neighbour has not confirmed, at most: enough that the lane is never empty.
const BULK_AHEAD: u64 = 256;

/// What the goals are: of the product's issue 7.
const P99_MS_MAX: f64 = 100.0;
const KEPT_MIN: f64 = 0.8;

struct Scale {
    nodes: usize,
    rounds: usize,
    phase: Duration,
}

/// `nodes` nodes, each linked with each, both namespaces open and shared by all.
async fn cluster(nodes: usize) -> Vec<Node> {
    let ca = ClusterCa::create("bench").expect("a CA");
    let mut cluster: Vec<Node> = Vec::new();
    for n in 0..nodes {
        let identity = ca.issue(&format!("node-{n}")).expect("a certificate");
        let builder = Node::builder().identity(identity);
        let builder = builder.namespace("alarms", Class::Urgent).namespace("history", Class::Bulk);
        let builder = cluster.iter().fold(builder, |builder, other| {
            builder.peer(PeerAddr { addr: other.listen_addr().to_string(), id: Some(other.id()) })
        });
        cluster.push(builder.start().await.expect("it starts"));
    }
    let others = nodes as u64 - 1;
    let begun = Instant::now();
    while !cluster.iter().all(|node| node.namespaces().iter().all(|info| info.peers == others)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "all share all");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster
}

fn namespace(node: &Node, name: &str) -> Namespace {
    node.namespace(name).expect("it is open")
}

/// Keeps the bulk lane full until told to stop, and counts.
async fn bulk(history: Namespace, written: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let map = history.lww_map::<u64, String>("m");
    let value = "x".repeat(BULK_BYTES);
    while !stop.load(Ordering::Relaxed) {
        // Those that it pushes to; with many peers these are few, and the others learn from them.
        let behind = |peer: &sync_net::PeerInfo| peer.acked.map(|acked| peer.head.saturating_sub(acked));
        let least = history.peers().iter().filter_map(behind).min().unwrap_or(0);
        if least >= BULK_AHEAD {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        for _ in 0..16 {
            let n = written.fetch_add(1, Ordering::Relaxed);
            map.put(&(n % BULK_FIELDS), &value).expect("there is room");
        }
        tokio::task::yield_now().await;
    }
}

/// Urgent writes for as long as a phase; milliseconds that each took until all had confirmed it.
async fn urgent(nodes: &[Node], phase: Duration) -> Vec<f64> {
    let begun = Instant::now();
    let mut waits = Vec::new();
    for n in 0_u32.. {
        let due = URGENT_EVERY * n;
        if due >= phase {
            break;
        }
        tokio::time::sleep_until((begun + due).into()).await;
        let alarms = namespace(&nodes[n as usize % nodes.len()], "alarms");
        waits.push(tokio::spawn(async move {
            let written = alarms.lww_map("raised").put(&(n % 100), &n).expect("there is room");
            let visible = alarms.visible(&written.token(), Visibility::All, Duration::from_secs(30)).await;
            visible.expect("confirmed by all");
            (begun + due).elapsed().as_secs_f64() * 1e3
        }));
    }
    let mut took = Vec::new();
    for wait in waits {
        took.push(wait.await.expect("nothing panics"));
    }
    took
}

fn quantile(figures: &mut [f64], of: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    // The first whose rank is that share of all.
    let rank = |at: usize| (at + 1) as f64 / figures.len() as f64;
    let at = (0..figures.len()).find(|at| rank(*at) >= of).unwrap_or(figures.len() - 1);
    figures[at]
}

/// Processor time of this process so far; `None` where there is no `/proc`.
fn cpu() -> Option<Duration> {
    /// A clock tick of `/proc`: 10 ms on every Linux.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold spaces; user and system time are the 14th and 15th field.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

async fn measure(scale: &Scale) -> serde_json::Value {
    let nodes = cluster(scale.nodes).await;
    let (written, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn(bulk(namespace(&nodes[0], "history"), written.clone(), stop.clone()));
    // Full before it counts.
    tokio::time::sleep(scale.phase).await;
    let (mut alone, mut beside, mut kept, mut took) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut cpu_bulk, mut cpu_urgent) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let now = || (written.load(Ordering::Relaxed), Instant::now(), cpu());
        // Bulk writes, how many a second, and what the processors did meanwhile.
        let since = |begun: (u64, Instant, Option<Duration>)| {
            let (writes, used) = (written.load(Ordering::Relaxed) - begun.0, cpu().zip(begun.2));
            let rate = writes as f64 / begun.1.elapsed().as_secs_f64();
            (writes as f64, rate, used.map(|(after, before)| us(after - before)))
        };
        let begun = now();
        tokio::time::sleep(scale.phase).await;
        let (writes_alone, rate_alone, used_alone) = since(begun);
        let begun = now();
        let waits = urgent(&nodes, scale.phase).await;
        let (writes_beside, rate_beside, used_beside) = since(begun);
        if let Some((alone, beside)) = used_alone.zip(used_beside) {
            let each = alone / writes_alone;
            cpu_bulk.push(each);
            cpu_urgent.push((beside - each * writes_beside) / waits.len() as f64);
        }
        took.extend(waits);
        alone.push(rate_alone);
        beside.push(rate_beside);
        kept.push(rate_beside / rate_alone);
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("nothing panics");
    let count = took.len();
    let (p50, p99) = (quantile(&mut took, 0.5), quantile(&mut took, 0.99));
    let median = |figures: &mut Vec<f64>| quantile(figures, 0.5);
    let cpu_us = |figures: &mut Vec<f64>| (!figures.is_empty()).then(|| median(figures).round());
    let kept = median(&mut kept);
    for node in &nodes {
        node.shutdown().await;
    }
    json!({
        "mark": "lanes",
        "nodes": scale.nodes,
        "rounds": scale.rounds,
        "phase_ms": ms(scale.phase),
        "urgent": {
            "writes": count,
            "every_ms": ms(URGENT_EVERY),
            "confirmed_by_all_ms": { "p50": p50, "p99": p99, "max": took[count - 1] },
            "cpu_us_per_write": cpu_us(&mut cpu_urgent),
        },
        "bulk": {
            "value_bytes": BULK_BYTES,
            "alone_per_s": median(&mut alone).round(),
            "beside_urgent_per_s": median(&mut beside).round(),
            "kept": kept,
            "cpu_us_per_write": cpu_us(&mut cpu_bulk),
        },
        "goal": { "p99_ms": P99_MS_MAX, "kept": KEPT_MIN, "met": p99 < P99_MS_MAX && kept >= KEPT_MIN },
    })
}

fn main() {
    // `cargo test --benches` only looks whether it runs.
    let is_bench_run = std::env::args().any(|arg| arg == "--bench");
    let (nodes, rounds, phase) = if is_bench_run { (10, 10, 3_000) } else { (3, 1, 300) };
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(rounds);
    let scale = Scale { nodes, rounds, phase: Duration::from_millis(phase) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{}", runtime.block_on(measure(&scale)));
}
