//! A write on A until it can be read on B, over QUIC with mutual TLS, beside the bare reference.
//!
//! Each side is a thread with a runtime of its own, both tied to one core: free to use two, the wake-up of
//! an idle core is most of what is measured. Isolated writes, one of ours and one bare in turn, with a
//! pause before each. Ours ends when a task that watches the map on B has read the value; the bare one
//! ends right after the insert at B, without any hand-over to a reader.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use sync_net::{ClusterCa, Node, PeerAddr, WatchEvent};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Settings;
use crate::bare::{self, Trust};
use crate::cluster::{self, MAP};
use crate::data::{Key, Value, key, value};
use crate::measure::{micros, pin, quantile};
use crate::report::{Report, Row};

/// Entries that both hold before the clock starts, and that the writes go round.
const ENTRIES: usize = 10_000;
/// Passes; the report has the median over them.
const PASSES: usize = 5;
/// Before each write.
const PAUSE: Duration = Duration::from_millis(1);

/// When the write with this number could be read.
type Seen = (u64, Instant);

/// What A needs to know to reach B.
struct Doors {
    ours: PeerAddr,
    bare: SocketAddr,
}

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let writes = if settings.quick { 400 } else { 4_000 };
    let (ca, trust) = (cluster::ca(), Trust::new());
    let (door, doors) = std_mpsc::channel();
    let (ours_seen, ours) = unbounded_channel();
    let (bare_seen, bare) = unbounded_channel();
    let samples = std::thread::scope(|scope| {
        let (ca, trust) = (&ca, &trust);
        let (done, ends) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(move || {
            pin(settings.core);
            runtime().block_on(async {
                let reading = read(ca, trust, door, ours_seen, bare_seen);
                tokio::select! {
                    () = reading => {}
                    _ = ends => {}
                }
            });
        });
        let writer = scope.spawn(move || {
            pin(settings.core);
            let doors = doors.recv().expect("B comes up");
            let samples = runtime().block_on(write(ca, trust, doors, ours, bare, writes));
            drop(done);
            samples
        });
        writer.join().expect("A does not panic")
    });
    let [ours, bare] = samples.map(|spans| passes(&spans));
    let name = "bare map-postcard-quinn-map";
    let p50 = Row::new("latency/p50", ours[0], "us").beside(name, bare[0]);
    report.add(p50.ratio_at_most(1.5));
    let p99 = Row::new("latency/p99", ours[1], "us").beside(name, bare[1]);
    report.add(p99.ratio_at_most(2.0));
    report.table("latency: a write readable on the peer");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Median over the passes of p50 and p99, in microseconds.
fn passes(spans: &[Duration]) -> [f64; 2] {
    [0.5, 0.99].map(|q| {
        let of_pass = |pass: &[Duration]| quantile(&mut pass.to_vec(), q);
        let mut all: Vec<Duration> = spans.chunks(spans.len() / PASSES).map(of_pass).collect();
        micros(quantile(&mut all, 0.5))
    })
}

/// B: holds the peer's end of both, and tells when something can be read.
async fn read(
    ca: &ClusterCa,
    trust: &Trust,
    door: std_mpsc::Sender<Doors>,
    ours_seen: UnboundedSender<Seen>,
    bare_seen: UnboundedSender<Seen>,
) {
    let node = cluster::builder(ca, "b").start().await.expect("it starts");
    let (endpoint, addr) = trust.listen();
    door.send(Doors { ours: cluster::peer(&node), bare: addr }).expect("A waits");
    tokio::join!(read_ours(&node, ours_seen), async {
        let connection = bare::accept(&endpoint).await;
        let mut stream = connection.accept_uni().await.expect("A opens one");
        let mut map: HashMap<Key, Value> = HashMap::new();
        while let Some(entries) = bare::receive(&mut stream).await {
            for (key, value) in entries {
                map.insert(key, value);
                let _ = bare_seen.send((number(&value), Instant::now()));
            }
        }
    });
}

async fn read_ours(node: &Node, seen: UnboundedSender<Seen>) {
    let (mut watch, map) = (node.watch(MAP), cluster::map(node));
    while let Some(event) = watch.next().await {
        let WatchEvent::Batch { changes, .. } = event else { continue };
        // A single change is a write under the clock; more are the entries from before.
        if let [change] = &changes[..] {
            let field = change.decode_path::<Key>().expect("a key");
            if let Ok(Some(value)) = map.get(&field) {
                let _ = seen.send((number(&value), Instant::now()));
            }
        }
    }
}

/// A: writes, one of ours and one bare in turn.
async fn write(
    ca: &ClusterCa,
    trust: &Trust,
    doors: Doors,
    mut ours: UnboundedReceiver<Seen>,
    mut bare: UnboundedReceiver<Seen>,
    writes: usize,
) -> [Vec<Duration>; 2] {
    let node = cluster::builder(ca, "a").peer(doors.ours).start().await.expect("it starts");
    cluster::fill(&node, 0..ENTRIES);
    cluster::linked(&node, 1).await;
    node.converge(cluster::PATIENCE).await.expect("B is there");
    let (_endpoint, connection) = trust.connect(doors.bare).await;
    let mut stream = connection.open_uni().await.expect("B allows streams");
    let mut own: HashMap<Key, Value> = (0..ENTRIES).map(|at| (key(at), value(at, 0))).collect();
    let map = cluster::map(&node);
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..writes as u64 {
        let field = key(round as usize % ENTRIES);
        let written = numbered(round);
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        map.put(&field, &written).expect("the limits leave room");
        samples[0].push(wait(&mut ours, round).await - begun);

        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        own.insert(field, written);
        bare::send(&mut stream, (field, written)).await;
        samples[1].push(wait(&mut bare, round).await - begun);
    }
    samples
}

async fn wait(seen: &mut UnboundedReceiver<Seen>, round: u64) -> Instant {
    let patience = tokio::time::sleep(cluster::PATIENCE);
    tokio::pin!(patience);
    loop {
        tokio::select! {
            biased;
            next = seen.recv() => match next {
                Some((number, at)) if number == round => return at,
                Some(_) => {}
                None => panic!("B is gone"),
            },
            () = &mut patience => panic!("write {round} was never seen"),
        }
    }
}

/// A value that carries its number.
fn numbered(round: u64) -> Value {
    let mut value = value(0, round + 1);
    value[..8].copy_from_slice(&round.to_le_bytes());
    value
}

fn number(value: &Value) -> u64 {
    u64::from_le_bytes(value[..8].try_into().expect("8 bytes of 32"))
}
