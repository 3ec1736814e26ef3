//! A newcomer gets everything, over QUIC with mutual TLS, beside a bare stream of the same entries.
//!
//! The clock starts before the newcomer binds its socket and stops when it knows all; connecting is in
//! both. Memory is taken in a process of its own, so that nothing else is in it: what is resident with the
//! full node alone is one state, the peak while the newcomer fills is held against two states. The cut
//! goes through a [`Relay`] that stops at half of the bytes.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use sync_net::{ClusterCa, Node};

use super::Settings;
use crate::bare::{self, Trust};
use crate::cluster;
use crate::data::{Key, Value, key, value};
use crate::measure::{memory, quantile, reset_peak};
use crate::relay::Relay;
use crate::report::{Report, Row};

/// Entries of a frame of the bare stream: about 48 kB.
const FRAME: usize = 1_000;

/// Memory that a bootstrap may take besides one and a half states.
const ROOM: f64 = (32 << 20) as f64;

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let sizes: &[usize] = if settings.quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
    let runtime = runtime();
    for n in settings.sizes(sizes) {
        let runs = if n >= 1_000_000 { 3 } else { 5 };
        let [mut ours, mut bare] = runtime.block_on(times(n, runs));
        let [ours, bare] = [&mut ours, &mut bare].map(|spans| quantile(spans, 0.5).as_secs_f64() * 1e3);
        let row = Row::new(format!("bootstrap/n={n}/time"), ours, "ms").beside("bare stream", bare);
        report.add(row.ratio_at_most(2.0));
        let Memory { state, peak } = in_a_process_of_its_own(n);
        let row = Row::new(format!("bootstrap/n={n}/peak memory of both"), peak, "bytes");
        report.add(row.beside("two states at rest", 2.0 * state).at_most(3.0 * state + ROOM));
    }
    let n = 100_000;
    let [cut, whole] = runtime.block_on(resumed(n));
    let row = Row::new(format!("bootstrap/n={n}/UDP bytes with a cut at half"), cut, "bytes");
    report.add(row.beside("uncut", whole).ratio_at_most(1.1));
    report.table("bootstrap: a newcomer gets everything");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn full(ca: &ClusterCa, n: usize) -> Node {
    let full = cluster::builder(ca, "full").start().await.expect("it starts");
    cluster::fill(&full, 0..n);
    // The trie is settled once, as it is in a node that has been up for a while.
    full.status();
    full
}

/// Ours and the bare stream, in turn.
async fn times(n: usize, runs: usize) -> [Vec<Duration>; 2] {
    let ca = cluster::ca();
    let full = full(&ca, n).await;
    let entries: Vec<(Key, Value)> = (0..n).map(|index| (key(index), value(index, 0))).collect();
    let mut spans = [Vec::new(), Vec::new()];
    for run in 0..runs {
        let builder = cluster::builder(&ca, &format!("newcomer-{run}")).peer(cluster::peer(&full));
        let begun = Instant::now();
        let newcomer = builder.start().await.expect("it starts");
        cluster::equal(&full, &newcomer).await;
        spans[0].push(begun.elapsed());
        cluster::assert_one_state(&[&full, &newcomer]);
        newcomer.shutdown().await;
        drop(newcomer);
        spans[1].push(stream(&entries).await);
    }
    full.shutdown().await;
    spans
}

/// The same entries over one stream, from a list into a map.
async fn stream(entries: &[(Key, Value)]) -> Duration {
    let trust = Trust::new();
    let (listening, addr) = trust.listen();
    let count = entries.len();
    let sending = async {
        let connection = bare::accept(&listening).await;
        let mut stream = connection.open_uni().await.expect("the newcomer allows streams");
        let mut bytes = Vec::new();
        for frame in entries.chunks(FRAME) {
            bytes.clear();
            bare::encode(frame, &mut bytes);
            stream.write_all(&bytes).await.expect("the newcomer reads");
        }
        stream.finish().expect("it is open");
        connection.closed().await;
    };
    let receiving = async {
        let begun = Instant::now();
        let (_endpoint, connection) = trust.connect(addr).await;
        let mut stream = connection.accept_uni().await.expect("the other opens one");
        let mut map: HashMap<Key, Value> = HashMap::new();
        while let Some(frame) = bare::receive(&mut stream).await {
            map.extend(frame);
        }
        assert_eq!(map.len(), count);
        let span = begun.elapsed();
        connection.close(0u32.into(), b"done");
        span
    };
    tokio::join!(sending, receiving).1
}

/// UDP bytes to a newcomer whose link is cut at half, and to one whose link is not.
async fn resumed(n: usize) -> [f64; 2] {
    let ca = cluster::ca();
    let full = full(&ca, n).await;
    let whole = {
        let relay = Relay::start(full.listen_addr()).await;
        let newcomer = cluster::builder(&ca, "whole").peer(cluster::via(&full, relay.addr()));
        let newcomer = newcomer.start().await.expect("it starts");
        cluster::equal(&full, &newcomer).await;
        newcomer.shutdown().await;
        relay.bytes()[1]
    };
    let relay = Relay::start(full.listen_addr()).await;
    relay.stop_at(whole / 2);
    let newcomer = cluster::builder(&ca, "cut").peer(cluster::via(&full, relay.addr()));
    let newcomer = newcomer.start().await.expect("it starts");
    cluster::until("half has come", || relay.bytes()[1] >= whole / 2).await;
    full.block_peers(BTreeSet::from([newcomer.id()]));
    newcomer.block_peers(BTreeSet::from([full.id()]));
    cluster::linked(&newcomer, 0).await;
    relay.stop_at(u64::MAX);
    full.block_peers(BTreeSet::new());
    newcomer.block_peers(BTreeSet::new());
    cluster::equal(&full, &newcomer).await;
    let cut = relay.bytes()[1];
    newcomer.shutdown().await;
    full.shutdown().await;
    [cut as f64, whole as f64]
}

struct Memory {
    /// Of one node at rest.
    state: f64,
    /// Of both while the newcomer fills.
    peak: f64,
}

/// Starts this program again as [`child`].
fn in_a_process_of_its_own(n: usize) -> Memory {
    let program = std::env::current_exe().expect("this program has a file");
    let output = std::process::Command::new(program)
        .args(["--memory-of-bootstrap", &n.to_string()])
        .output()
        .expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(state), Some(peak)) => Memory { state, peak },
        _ => panic!("the child said {text:?} {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Prints the bytes of one state and the peak of both, above what the program takes empty.
pub fn child(n: usize) {
    runtime().block_on(async {
        let ca = cluster::ca();
        let empty = memory("VmRSS");
        let full = full(&ca, n).await;
        let state = memory("VmRSS").saturating_sub(empty);
        reset_peak();
        let newcomer = cluster::builder(&ca, "newcomer").peer(cluster::peer(&full));
        let newcomer = newcomer.start().await.expect("it starts");
        cluster::equal(&full, &newcomer).await;
        // What is hashed after the newcomer can be read is part of its state, as it is of the full node's.
        newcomer.status();
        println!("{state} {}", memory("VmHWM").saturating_sub(empty));
    });
}
