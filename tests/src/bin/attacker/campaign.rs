//! What hostile peers cost a node: resident memory, and the throughput of honest peers through it.
//!
//! For each script a fresh process of `sync-cli run` is the node in the middle, with two honest nodes of this process on
//! its two sides, so that all that one writes reaches the other through it. First memory, with the honest ones at rest;
//! then throughput, with attack and no attack in turns. Attackers run in a process of their own with the lowest priority:
//! what is measured is what the node in the middle spends on them, not what they spend themselves.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use sync_net::{ClusterCa, Identity, Node, PeerAddr};
use sync_tests::attack::SCRIPTS;
use tempfile::TempDir;

/// What may be set.
#[derive(Debug, Args)]
pub(crate) struct CampaignArgs {
    /// The tool to start nodes with [default: `sync-cli` beside this binary].
    #[arg(long)]
    cli: Option<PathBuf>,
    /// Only this script; may be given many times [default: all].
    #[arg(long = "script")]
    scripts: Vec<String>,
    /// Seconds of each attack.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Attackers in the second part of the memory measurement.
    #[arg(long, default_value_t = 64)]
    many: usize,
    /// Turns of throughput, each with and without attack; 0 leaves throughput out.
    #[arg(long, default_value_t = 4)]
    turns: u32,
}

/// Megabytes that the node in the middle holds, so that there is something to pull.
const STATE_MB: usize = 2;

/// Writes of the one honest node that the other has not seen, at most.
const AHEAD_MAX: i128 = 20_000;

/// Places that honest writes go to, in turns.
const ROWS: i128 = 5_000;

/// How long honest nodes may take for what should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn campaign(args: CampaignArgs) -> Result<(), String> {
    let beside = || std::env::current_exe().map(|path| path.with_file_name("sync-cli"));
    let cli = args.cli.clone().map_or_else(beside, Ok).map_err(|error| error.to_string())?;
    let known = |name: &String| SCRIPTS.iter().any(|(script, _)| script == name);
    if let Some(unknown) = args.scripts.iter().find(|name| !known(name)) {
        return Err(format!("there is no script {unknown:?}"));
    }
    let chosen = |name: &str| args.scripts.is_empty() || args.scripts.iter().any(|script| script == name);
    let mut failed = Vec::new();
    for (script, _) in SCRIPTS.iter().filter(|(name, _)| chosen(name)) {
        let told = one(&cli, script, &args).await?;
        println!("{told}");
        if told["ok"] != true {
            failed.push(*script);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("beyond a bound: {}", failed.join(", "))) }
}

/// All figures of one script.
async fn one(cli: &Path, script: &str, args: &CampaignArgs) -> Result<Value, String> {
    let time = Duration::from_secs(args.seconds);
    let is_stranger = matches!(script, "half-open" | "initial-flood" | "no-certificate");
    let single = Scene::start(cli, args.many).await?;
    let one_costs = single.memory(script, 1, time).await?;
    let (ratio, rates) = match args.turns {
        0 => (None, Vec::new()),
        turns => {
            let (ratio, rates) = single.throughput(script, turns, time).await?;
            (Some(ratio), rates)
        }
    };
    single.end().await?;
    let crowd = Scene::start(cli, args.many).await?;
    let many_cost = crowd.memory(script, args.many, time).await?;
    crowd.end().await?;
    let (one_max, many_max) = if is_stranger { (64 << 10, 64 << 10) } else { (8 << 10, 256 << 10) };
    let ok = one_costs <= one_max
        && many_cost <= many_max
        && ratio.is_none_or(|ratio| is_stranger || ratio >= 0.8);
    Ok(json!({
        "script": script, "ok": ok,
        "one_kib": one_costs, "one_kib_max": one_max,
        "many": args.many, "many_kib": many_cost, "many_kib_max": many_max,
        "honest_ratio": ratio, "writes_per_s_off_on": rates,
    }))
}

/// A node in the middle, and two honest ones.
struct Scene {
    place: TempDir,
    process: Child,
    target: SocketAddr,
    honest: [Node; 2],
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Scene {
    async fn start(cli: &Path, attackers: usize) -> Result<Self, String> {
        let place = tempfile::tempdir().map_err(words)?;
        let at = |name: &str| place.path().join(name);
        let ca = ClusterCa::create("campaign").map_err(words)?;
        ca.issue("middle").and_then(|identity| identity.save(&at("middle"))).map_err(words)?;
        for n in 0..attackers {
            let name = format!("attacker-{n}");
            ca.issue(&name).and_then(|identity| identity.save(&at(&name))).map_err(words)?;
        }
        let log = fs::File::create(at("middle.err")).map_err(words)?;
        let out = fs::File::create(at("middle.out")).map_err(words)?;
        let process = Command::new(cli)
            .args(["run", "--json", "--memory", "--listen", "127.0.0.1:0"])
            .args(["--dir".as_ref(), at("middle").as_os_str()])
            .args(["--socket".as_ref(), at("middle.sock").as_os_str()])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}; build sync-cli with the same profile", cli.display()))?;
        let said = eventually("the node says where it is", || {
            serde_json::from_str::<Value>(&fs::read_to_string(at("middle.out")).ok()?).ok()
        })
        .await?;
        let listen = said["listen"].as_str().unwrap_or_default();
        let target: SocketAddr = listen.parse().map_err(words)?;
        let start = async |identity: Identity| {
            let peer = PeerAddr { addr: listen.to_owned(), id: None };
            Node::builder().identity(identity).peer(peer).start().await.map_err(words)
        };
        let honest =
            [start(ca.issue("left").map_err(words)?).await?, start(ca.issue("right").map_err(words)?).await?];
        let scene = Self { place, process, target, honest };
        let set = scene.honest[0].or_set::<String>("state");
        for n in 0..STATE_MB * 1_024 {
            set.add(&format!("{n:01024}")).map_err(words)?;
        }
        scene.settle().await?;
        Ok(scene)
    }

    /// Waits until all three hold the same.
    async fn settle(&self) -> Result<(), String> {
        for node in &self.honest {
            node.converge(PATIENCE).await.map_err(words)?;
        }
        let [left, right] = &self.honest;
        eventually("both sides hold the same", || (left.status().root == right.status().root).then_some(()))
            .await
    }

    fn attack(&self, script: &str, attackers: usize, time: Duration) -> Result<Child, String> {
        let own = std::env::current_exe().map_err(words)?;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(own).args(["run", "--script", script]);
        command.args(["--target", &self.target.to_string(), "--seconds", &time.as_secs().to_string()]);
        for n in 0..attackers {
            command.arg("--dir").arg(self.place.path().join(format!("attacker-{n}")));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(words)
    }

    /// Resident memory of the node in the middle, in KiB.
    fn resident(&self) -> Result<i64, String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).map_err(words)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| "the node in the middle is gone".to_owned())
    }

    /// How much more memory it took than before, at most, in KiB.
    async fn memory(&self, script: &str, attackers: usize, time: Duration) -> Result<i64, String> {
        let before = self.resident()?;
        let mut attack = self.attack(script, attackers, time)?;
        let mut most = before;
        while attack.try_wait().map_err(words)?.is_none() {
            most = most.max(self.resident()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(most - before)
    }

    /// Writes through the node in the middle with attack, divided by those without, and both for each turn.
    async fn throughput(
        &self,
        script: &str,
        turns: u32,
        time: Duration,
    ) -> Result<(f64, Vec<(f64, f64)>), String> {
        let mut rates = Vec::new();
        let slice = time.mul_f64(0.5);
        // Warm up.
        self.writes(slice).await?;
        for _ in 0..turns {
            let off = self.writes(slice).await?;
            let mut attack = self.attack(script, 1, slice + Duration::from_secs(2))?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let on = self.writes(slice).await?;
            let _ = attack.kill();
            attack.wait().map_err(words)?;
            rates.push((off, on));
        }
        let sum = |pick: fn(&(f64, f64)) -> f64| rates.iter().map(pick).sum::<f64>();
        Ok((sum(|rates| rates.1) / sum(|rates| rates.0).max(1.0), rates))
    }

    /// Writes a second that the one honest node makes and the other one sees, as many as go through: the clock stops
    /// when the last one is seen.
    async fn writes(&self, time: Duration) -> Result<f64, String> {
        let [left, right] = &self.honest;
        let (writer, reader) = (left.pn_counter("count"), right.pn_counter("count"));
        let rows = left.lww_map::<String, String>("rows");
        let (before, begun) = (writer.value(), Instant::now());
        let mut written = before;
        loop {
            let ahead = written - reader.value();
            let writes = begun.elapsed() < time;
            if !writes && ahead <= 0 {
                break;
            }
            if writes && ahead < AHEAD_MAX {
                // Writes to many places: those to one would travel as one. The count comes after them, and a node that
                // has it has them.
                for n in 0..100 {
                    let field = format!("{}", (written + n) % ROWS);
                    rows.put(&field, &format!("{written}")).map_err(words)?;
                }
                writer.add(100).map_err(words)?;
                written += 100;
                tokio::task::yield_now().await;
            } else if begun.elapsed() > time + PATIENCE {
                return Err(format!("{ahead} writes did not come through in {PATIENCE:?}"));
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let came = u32::try_from(written - before).unwrap_or(0);
        Ok(f64::from(came) / begun.elapsed().as_secs_f64())
    }

    /// Looks whether all is well after the attack, and ends it.
    async fn end(mut self) -> Result<(), String> {
        self.settle().await.map_err(|error| format!("after the attack: {error}"))?;
        if let Some(status) = self.process.try_wait().map_err(words)? {
            return Err(format!("the node in the middle ended: {status}"));
        }
        let log = fs::read_to_string(self.place.path().join("middle.err")).map_err(words)?;
        match log.lines().find(|line| line.contains("panicked")) {
            Some(panic) => Err(format!("the node in the middle panicked: {panic}")),
            None => Ok(()),
        }
    }
}

async fn eventually<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> Result<T, String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(value) = reached() {
            return Ok(value);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("waited {PATIENCE:?} in vain until {what}"))
}
