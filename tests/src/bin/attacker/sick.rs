//! What a sick peer costs a node: one that reads nothing, one that stands still, one that is a thousand times slower, one
//! whose link breaks ten times a second.
//!
//! `simulations neighbours` shows in virtual time that healthy nodes are no slower for it. This shows over real QUIC that
//! the node beside the sick one needs no more memory: the peer is well for a while, then sick, then well again, while the
//! honest pair writes all the time. In the end the sick one must hold what the others hold.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sync_net::{Identity, Namespace, Node, PeerAddr};
use sync_tests::attack::Alpn;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::scene::Scene;
use super::usage::resident;
use super::{PATIENCE, words};

/// What may be set.
#[derive(Debug, Args)]
pub(crate) struct SickArgs {
    /// The tool to start nodes with [default: `sync-cli` beside this binary].
    #[arg(long)]
    cli: Option<PathBuf>,
    /// Only this kind; may be given many times [default: all].
    #[arg(long = "kind")]
    kinds: Vec<Kind>,
    /// Seconds of sickness; before it the peer is well for half as long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// It takes part in the connection and reads no stream.
    ReadsNothing,
    /// Its process is stopped, and goes on later.
    Stopped,
    /// Packets to and from it take a thousand times as long as on this machine, at 100 KB a second.
    Slow,
    /// Its links are cut and allowed again, ten times a second.
    Flapping,
}

/// More memory than before, in KiB: what a hostile member may cost.
const GROWTH_MAX_KIB: i64 = 8 << 10;

/// Places that honest writes go to.
const ROWS: u64 = 5_000;

/// Writes of one transaction, one every [`PACE`].
const AT_ONCE: u64 = 20;

const PACE: Duration = Duration::from_millis(10);

/// How often the link of a flapping peer is cut and allowed: ten times a second each.
const FLAP: Duration = Duration::from_millis(50);

/// One way over the link of a slow peer. Between two processes of one machine a packet takes some 50 microseconds.
const SLOW_DELAY: Duration = Duration::from_millis(50);

/// What the link of a slow peer carries.
const SLOW_BYTES_PER_SECOND: u64 = 100_000;

/// Packets that wait in the link of a slow peer, as in any router; more are dropped.
const SLOW_PACKETS_MAX: usize = 256;

/// How long a peer may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

const UNPOISONED: &str = "nothing panics while it is held";

pub(crate) async fn sick(args: SickArgs) -> Result<(), String> {
    let beside = || std::env::current_exe().map(|path| path.with_file_name("sync-cli"));
    let cli = args.cli.clone().map_or_else(beside, Ok).map_err(words)?;
    let mut failed = Vec::new();
    for kind in Kind::value_variants() {
        if args.kinds.is_empty() || args.kinds.contains(kind) {
            let told = one(&cli, *kind, Duration::from_secs(args.seconds)).await?;
            println!("{told}");
            if told["ok"] != true {
                failed.push(format!("{kind:?}"));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("beyond a bound: {}", failed.join(", "))) }
}

async fn one(cli: &Path, kind: Kind, time: Duration) -> Result<Value, String> {
    let scene = Scene::start(cli, 1, 1, (Alpn::default(), 10)).await?;
    let load = Load::start(scene.pair());
    let mut peer = Peer::start(kind, &scene, cli).await?;
    let well = watch(&scene, time / 2).await?;
    let mark = load.seen();
    peer.fall_sick(&scene, time)?;
    let thirds =
        [watch(&scene, time / 3).await?, watch(&scene, time / 3).await?, watch(&scene, time / 3).await?];
    let behind = load.written.load(Ordering::Relaxed);
    let begun = Instant::now();
    peer.recover()?;
    let after = watch(&scene, Duration::from_secs(2)).await?;
    let (probes, writes) = load.end().await?;
    let caught_up = peer.catch_up(&scene, cli).await?.then(|| begun.elapsed().as_secs_f64());
    peer.end().await;
    scene.end().await?;
    let (before, during) = probes.split_at(mark);
    let most = thirds.into_iter().max().unwrap_or(0);
    let flat = most - well <= GROWTH_MAX_KIB && thirds[2] - thirds[0] <= GROWTH_MAX_KIB / 4;
    let has_caught_up = kind == Kind::ReadsNothing || caught_up.is_some();
    Ok(json!({
        "kind": kind.to_possible_value().map(|value| value.get_name().to_owned()),
        "ok": flat && has_caught_up,
        "resident_kib_well": well, "resident_kib_thirds": thirds, "resident_kib_after": after,
        "growth_kib": most - well, "growth_kib_max": GROWTH_MAX_KIB,
        "writes": writes, "writes_while_sick": behind,
        "honest_ms_well": percentiles(before), "honest_ms_sick": percentiles(during),
        "caught_up_s": caught_up,
    }))
}

/// The most that the node in the middle held in this time, in KiB.
async fn watch(scene: &Scene, time: Duration) -> Result<i64, String> {
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < time {
        most = most.max(resident(scene.pid())?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(most)
}

/// Half and ninety-nine hundredths of the delays, in milliseconds.
fn percentiles(delays: &[Duration]) -> [f64; 2] {
    let mut delays = delays.to_vec();
    delays.sort_unstable();
    [50, 99].map(|percent| {
        let at = (delays.len() * percent / 100).min(delays.len().saturating_sub(1));
        delays.get(at).map_or(0.0, |delay| delay.as_secs_f64() * 1e3)
    })
}

/// The honest pair at work: one writes, and the other looks how long it takes.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    probes: Arc<Mutex<Vec<Duration>>>,
    writer: JoinHandle<Result<(), String>>,
    prober: JoinHandle<Result<(), String>>,
}

impl Load {
    fn start(pair: &[Node; 2]) -> Self {
        let (stop, written, probes) = (
            Arc::<AtomicBool>::default(),
            Arc::<AtomicU64>::default(),
            Arc::<Mutex<Vec<Duration>>>::default(),
        );
        let [node, reader] = pair.each_ref().map(Node::default_namespace);
        let writer = tokio::spawn(write(node.clone(), Arc::clone(&stop), Arc::clone(&written)));
        let prober = tokio::spawn(probe(node, reader, Arc::clone(&stop), Arc::clone(&probes)));
        Self { stop, written, probes, writer, prober }
    }

    /// Delays that were seen.
    fn seen(&self) -> usize {
        self.probes.lock().expect(UNPOISONED).len()
    }

    /// Stops; the delays that were seen and the writes.
    async fn end(self) -> Result<(Vec<Duration>, u64), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await.map_err(words)??;
        self.prober.await.map_err(words)??;
        let probes = std::mem::take(&mut *self.probes.lock().expect(UNPOISONED));
        Ok((probes, self.written.load(Ordering::Relaxed)))
    }
}

async fn write(node: Namespace, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) {
        let from = written.fetch_add(AT_ONCE, Ordering::Relaxed);
        let group = node.transaction(|tx| {
            let rows = tx.lww_map::<u64, u64>("rows");
            (from..from + AT_ONCE).try_for_each(|n| rows.put(&(n % ROWS), &n))
        });
        group.map_err(words)?;
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

async fn probe(
    writer: Namespace,
    reader: Namespace,
    stop: Arc<AtomicBool>,
    probes: Arc<Mutex<Vec<Duration>>>,
) -> Result<(), String> {
    let [writes, reads] = [&writer, &reader].map(|node| node.lww_register::<u64>("probe"));
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        writes.set(&n).map_err(words)?;
        while reads.get().map_err(words)? != Some(n) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("a write was not seen on the other side in {PATIENCE:?}"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        probes.lock().expect(UNPOISONED).push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The peer that falls sick.
enum Peer {
    /// Plays a script of the attackers, while it is sick.
    Script(Option<Child>),
    /// In a process of its own.
    Process(Child),
    /// Behind a link that can be slow.
    Slow(Node, Arc<Relay>),
    /// Cuts its own links, while it is sick.
    Flapping(Node, Arc<AtomicBool>),
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Self::Script(Some(child)) | Self::Process(child) = self {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Peer {
    async fn start(kind: Kind, scene: &Scene, cli: &Path) -> Result<Self, String> {
        let dir = scene.at("attacker-0");
        let node = async |addr: SocketAddr| {
            let identity = Identity::load(&dir).map_err(words)?;
            let peer = PeerAddr { addr: addr.to_string(), id: None };
            Node::builder().identity(identity).peer(peer).start().await.map_err(words)
        };
        let target = scene.target();
        match kind {
            Kind::ReadsNothing => Ok(Self::Script(None)),
            Kind::Stopped => {
                let mut command = Command::new(cli);
                command.args(["run", "--json", "--memory", "--listen", "127.0.0.1:0"]);
                command.args(["--peer", &target.to_string()]).arg("--dir").arg(&dir);
                command.arg("--socket").arg(scene.at("sick.sock"));
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                Ok(Self::Process(command.spawn().map_err(words)?))
            }
            Kind::Slow => {
                let relay = Relay::start(target).await?;
                Ok(Self::Slow(node(relay.addr).await?, relay))
            }
            Kind::Flapping => Ok(Self::Flapping(node(target).await?, Arc::default())),
        }
    }

    fn fall_sick(&mut self, scene: &Scene, time: Duration) -> Result<(), String> {
        match self {
            Self::Script(script) => *script = Some(scene.attack("reads-nothing", 0..1, time)?),
            Self::Process(child) => signal(child, "STOP")?,
            Self::Slow(_, relay) => relay.is_slow.store(true, Ordering::Relaxed),
            Self::Flapping(node, flaps) => {
                flaps.store(true, Ordering::Relaxed);
                let (node, flaps, middle) = (node.clone(), Arc::clone(flaps), scene.middle()?);
                tokio::spawn(async move {
                    while flaps.load(Ordering::Relaxed) {
                        node.block_peers(BTreeSet::from([middle]));
                        tokio::time::sleep(FLAP).await;
                        node.block_peers(BTreeSet::new());
                        tokio::time::sleep(FLAP).await;
                    }
                });
            }
        }
        Ok(())
    }

    fn recover(&mut self) -> Result<(), String> {
        match self {
            Self::Script(script) => {
                if let Some(mut child) = script.take() {
                    let _ = child.kill();
                    child.wait().map_err(words)?;
                }
            }
            Self::Process(child) => signal(child, "CONT")?,
            Self::Slow(_, relay) => relay.is_slow.store(false, Ordering::Relaxed),
            Self::Flapping(_, flaps) => flaps.store(false, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Waits until it holds what the honest ones hold; false if it does not come to that, or is no node.
    async fn catch_up(&self, scene: &Scene, cli: &Path) -> Result<bool, String> {
        let begun = Instant::now();
        while begun.elapsed() < CATCH_UP {
            let wanted = scene.pair()[0].status().root.to_string();
            let held = match self {
                Self::Script(_) => return Ok(false),
                Self::Slow(node, _) | Self::Flapping(node, _) => Some(node.status().root.to_string()),
                Self::Process(_) => {
                    let mut command = Command::new(cli);
                    command.args(["inspect", "--json", "--socket"]).arg(scene.at("sick.sock"));
                    let asked = tokio::task::spawn_blocking(move || command.output()).await.map_err(words)?;
                    let told = serde_json::from_slice::<Value>(&asked.map_err(words)?.stdout).ok();
                    told.and_then(|told| Some(told["status"]["root"].as_str()?.to_owned()))
                }
            };
            if held == Some(wanted) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(false)
    }

    async fn end(mut self) {
        if let Self::Slow(node, _) | Self::Flapping(node, _) = &mut self {
            node.shutdown().await;
        }
    }
}

fn signal(child: &Child, name: &str) -> Result<(), String> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    let status = status.map_err(words)?;
    if status.success() { Ok(()) } else { Err(format!("kill -{name}: {status}")) }
}

/// A link over UDP that can be made slow: each packet waits, and only so many go a second.
struct Relay {
    addr: SocketAddr,
    is_slow: AtomicBool,
}

impl Relay {
    async fn start(target: SocketAddr) -> Result<Arc<Self>, String> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let near = Arc::new(UdpSocket::bind(any).await.map_err(words)?);
        let far = Arc::new(UdpSocket::bind(any).await.map_err(words)?);
        far.connect(target).await.map_err(words)?;
        let addr = near.local_addr().map_err(words)?;
        let relay = Arc::new(Self { addr, is_slow: AtomicBool::new(false) });
        let client = Client::default();
        let (out, back) = (mpsc::channel(SLOW_PACKETS_MAX), mpsc::channel(SLOW_PACKETS_MAX));
        let take = |socket: Arc<UdpSocket>, queue: mpsc::Sender<_>, client: Option<Client>| async move {
            let mut packet = vec![0; 65_536];
            while let Ok((len, from)) = socket.recv_from(&mut packet).await {
                if let Some(client) = &client {
                    *client.lock().expect(UNPOISONED) = Some(from);
                }
                // A full queue drops what comes, as a router does.
                let _ = queue.try_send((Instant::now(), packet[..len].to_vec()));
            }
        };
        tokio::spawn(take(Arc::clone(&near), out.0, Some(Arc::clone(&client))));
        tokio::spawn(take(Arc::clone(&far), back.0, None));
        tokio::spawn(give(Arc::clone(&relay), out.1, far, None));
        tokio::spawn(give(Arc::clone(&relay), back.1, near, Some(client)));
        Ok(relay)
    }
}

/// Who dialled last: where packets from the target go.
type Client = Arc<Mutex<Option<SocketAddr>>>;

async fn give(
    relay: Arc<Relay>,
    mut queue: mpsc::Receiver<(Instant, Vec<u8>)>,
    socket: Arc<UdpSocket>,
    client: Option<Client>,
) {
    while let Some((came, packet)) = queue.recv().await {
        if relay.is_slow.load(Ordering::Relaxed) {
            tokio::time::sleep(SLOW_DELAY.saturating_sub(came.elapsed())).await;
            let bytes = u64::try_from(packet.len()).unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_micros(bytes * 1_000_000 / SLOW_BYTES_PER_SECOND)).await;
        }
        // A packet that the system refuses is one that was lost.
        let _ = match &client {
            None => socket.send(&packet).await,
            Some(client) => {
                let to = *client.lock().expect(UNPOISONED);
                match to {
                    Some(to) => socket.send_to(&packet, to).await,
                    None => continue,
                }
            }
        };
    }
}
