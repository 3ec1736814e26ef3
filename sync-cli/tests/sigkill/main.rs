//! Kills of real processes: every write that was acknowledged outlives them, and all nodes show one root again.
//!
//! Three `sync-cli run` with clients at all levels of durability; one node, mostly the one under load, is killed at a
//! random moment and started again, now and then killed once more while it starts. `docs/storage.md` has the promise.
//!
//! ```text
//! cargo test --release -p sync-cli --test sigkill                                  a short one, as in every test run
//! cargo test --release -p sync-cli --test sigkill -- --kills 300 --resume FILE     a campaign, to be gone on with
//! ```

mod load;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use clap::Parser as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use load::Client;
use support::http::Http;
use support::{Place, Process};

/// Kills between two lines of progress, and between two times that it is kept.
const TELL_EVERY: u64 = 25;

/// Longest wait for a node to start, and for all to show one root.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Parser)]
struct Args {
    /// Kills in all, those of a resumed campaign among them.
    #[arg(long, default_value_t = 8)]
    kills: u64,
    /// Keep the progress in this file, and go on from what is kept there.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Decides when and who. What the nodes do meanwhile no seed decides.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What `cargo test` hands to every test: names to run, and how.
    #[arg(hide = true, allow_hyphen_values = true)]
    others: Vec<String>,
}

/// What a campaign has come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    kills: u64,
    /// Of these, kills of a node that was starting.
    in_start: u64,
    /// Of these, kills of a node that others write to less.
    of_peers: u64,
    /// Starts without any peer, to see what the disk alone holds.
    alone: u64,
    writes: u64,
    acknowledged: u64,
    lost: u64,
    seconds: f64,
    start_ms_max: u64,
    kill_ms_max: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let asks_for_others =
        args.others.iter().any(|other| !other.starts_with('-') && !"sigkill".contains(other));
    if asks_for_others || args.others.iter().any(|other| other == "--list") {
        return ExitCode::SUCCESS;
    }
    let place = Place::new();
    match campaign(&args, &place) {
        Ok(told) => {
            println!("{}", serde_json::to_string(&told).expect("numbers can be written"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}\nseed {}; the folder is kept: {}", args.seed, place.keep().display());
            ExitCode::FAILURE
        }
    }
}

fn campaign(args: &Args, place: &Place) -> Result<Told, String> {
    let mut told = resumed(args)?;
    let (started, before) = (Instant::now(), told.seconds);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(args.seed.wrapping_add(told.kills));
    let mut cluster = Cluster::start(place)?;
    while told.kills < args.kills {
        let begun = Instant::now();
        cluster.one_kill(&mut random, &mut told)?;
        told.kill_ms_max = told.kill_ms_max.max(millis(begun.elapsed()));
        told.seconds = before + started.elapsed().as_secs_f64();
        if told.kills.is_multiple_of(TELL_EVERY) || told.kills == args.kills {
            let Told { kills, acknowledged, in_start, of_peers, .. } = told;
            eprintln!(
                "{kills} of {} kills, {in_start} in a start, {of_peers} of peers; {acknowledged} acknowledged writes, 0 lost; \
                 {:.2} s a kill",
                args.kills,
                told.seconds / kills as f64
            );
            keep(args, &told)?;
        }
    }
    Ok(told)
}

fn resumed(args: &Args) -> Result<Told, String> {
    let Some(path) = args.resume.as_ref().filter(|path| path.exists()) else { return Ok(Told::default()) };
    let about = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| about(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| about(error.to_string()))
}

fn keep(args: &Args, told: &Told) -> Result<(), String> {
    let Some(path) = &args.resume else { return Ok(()) };
    let (part, text) = (path.with_extension("part"), serde_json::to_string(told).map_err(|e| e.to_string())?);
    let kept = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    kept.map_err(|error| format!("{}: {error}", path.display()))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// One node: its process, and who writes to it.
struct Node {
    name: &'static str,
    process: Option<Process>,
    /// The address that it keeps from life to life.
    listen: String,
    socket: String,
    clients: Vec<Client>,
}

struct Cluster<'a> {
    place: &'a Place,
    nodes: Vec<Node>,
}

impl<'a> Cluster<'a> {
    fn start(place: &'a Place) -> Result<Self, String> {
        place.authority("ca");
        let levels: [&[&'static str]; 3] =
            [&["immediate", "immediate", "grouped", "grouped", "none"], &["grouped"], &["immediate"]];
        let mut cluster = Self { place, nodes: Vec::new() };
        for (name, levels) in ["a", "b", "c"].into_iter().zip(levels) {
            place.issue("ca", name);
            let client = |(at, level): (usize, &&'static str)| Client::new(&format!("{name}{at}"), level);
            cluster.nodes.push(Node {
                name,
                process: None,
                listen: "127.0.0.1:0".to_owned(),
                socket: place.at(&format!("{name}.sock")),
                clients: levels.iter().enumerate().map(client).collect(),
            });
            cluster.spawn(cluster.nodes.len() - 1, true);
            cluster.serving(cluster.nodes.len() - 1)?;
        }
        Ok(cluster)
    }

    /// Starts a process; where it listens is known once it serves.
    fn spawn(&mut self, at: usize, with_peers: bool) {
        let node = &self.nodes[at];
        let dir = self.place.at(node.name);
        let listen = if with_peers { node.listen.as_str() } else { "127.0.0.1:0" };
        let mut args = vec!["run", "--json", "--dir", &dir, "--socket", &node.socket, "--listen", listen];
        for other in self.nodes.iter().filter(|other| with_peers && other.name != node.name) {
            args.extend(["--peer", &other.listen]);
        }
        let process = Process::spawn(self.place.path(), &args);
        self.nodes[at].process = Some(process);
    }

    fn serving(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let process = node.process.as_mut().expect("it was just started");
        let begun = Instant::now();
        let said: Value = loop {
            if let Ok(said) = serde_json::from_str(&process.stdout()) {
                break said;
            }
            if !process.is_running() || begun.elapsed() > PATIENCE {
                return Err(format!("{} does not start: {}", node.name, process.stderr()));
            }
            sleep(Duration::from_millis(5));
        };
        if node.listen.ends_with(":0") {
            said["listen"].as_str().unwrap_or_default().clone_into(&mut node.listen);
        }
        Ok(())
    }

    fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.nodes[at].process.take() {
            process.kill();
        }
    }

    /// Load, a kill in it, a start, and a look at everything.
    fn one_kill(&mut self, random: &mut Xoshiro256PlusPlus, told: &mut Told) -> Result<(), String> {
        let victim = if random.random_bool(0.8) { 0 } else { random.random_range(1..self.nodes.len()) };
        let moment = Duration::from_micros(random.random_range(20_000..300_000));
        let (stop, sockets) = (AtomicBool::new(false), self.sockets());
        let mut clients: Vec<Vec<Client>> =
            self.nodes.iter_mut().map(|node| std::mem::take(&mut node.clients)).collect();
        let done = scope(|scope| {
            for (socket, clients) in sockets.iter().zip(&mut clients) {
                for client in clients {
                    let stop = &stop;
                    scope.spawn(move || client.write(socket, stop));
                }
            }
            sleep(moment);
            self.kill(victim);
            (told.kills, told.of_peers) = (told.kills + 1, told.of_peers + u64::from(victim != 0));
            let begun = Instant::now();
            let done = self.come_back(victim, random, told);
            told.start_ms_max = told.start_ms_max.max(millis(begun.elapsed()));
            stop.store(true, Ordering::Relaxed);
            done
        });
        for (node, clients) in self.nodes.iter_mut().zip(clients) {
            node.clients = clients;
        }
        let sum = |count: fn(&Client) -> u64| {
            self.nodes.iter().flat_map(|node| &node.clients).map(count).sum::<u64>()
        };
        let sums = (sum(|client| client.asked), sum(|client| client.answered));
        done?;
        if random.random_bool(0.2) {
            self.look_alone(told)?;
        }
        self.one_root()?;
        self.check(0)?;
        let after = &mut self.nodes;
        after.iter_mut().flat_map(|node| &mut node.clients).for_each(|client| {
            (client.asked, client.answered) = (0, 0);
        });
        (told.writes, told.acknowledged) = (told.writes + sums.0, told.acknowledged + sums.1);
        Ok(())
    }

    /// Starts the victim again; now and then it is killed once more before it is there.
    fn come_back(
        &mut self,
        victim: usize,
        random: &mut Xoshiro256PlusPlus,
        told: &mut Told,
    ) -> Result<(), String> {
        while random.random_bool(0.15) {
            self.spawn(victim, true);
            sleep(Duration::from_micros(random.random_range(0..60_000)));
            self.kill(victim);
            (told.kills, told.in_start) = (told.kills + 1, told.in_start + 1);
        }
        self.spawn(victim, true);
        self.serving(victim)
    }

    /// What the first node's disk holds by itself: nobody fills in what it might have lost.
    fn look_alone(&mut self, told: &mut Told) -> Result<(), String> {
        self.kill(0);
        self.spawn(0, false);
        self.serving(0)?;
        told.alone += 1;
        let mut http = Http::connect(&self.nodes[0].socket).map_err(|error| error.to_string())?;
        for client in &mut self.nodes[0].clients {
            client.check(&mut http).map_err(|error| format!("on a alone: {error}"))?;
        }
        self.kill(0);
        self.spawn(0, true);
        self.serving(0)
    }

    fn sockets(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.socket.clone()).collect()
    }

    fn one_root(&self) -> Result<(), String> {
        let begun = Instant::now();
        let roots = || -> std::io::Result<Vec<String>> {
            let status = |node: &Node| Http::connect(&node.socket)?.get("/v1/status");
            self.nodes.iter().map(|node| Ok(status(node)?["state_id"].to_string())).collect()
        };
        loop {
            let roots = roots().map_err(|error| format!("a node does not answer: {error}"))?;
            if roots.iter().all(|root| *root == roots[0]) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("after {PATIENCE:?} the roots still differ: {roots:?}"));
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Looks at everything on one node, for all show one root.
    fn check(&mut self, at: usize) -> Result<(), String> {
        let mut http = Http::connect(&self.nodes[at].socket).map_err(|error| error.to_string())?;
        let mut clients = self.nodes.iter_mut().flat_map(|node| &mut node.clients);
        clients.try_for_each(|client| client.check(&mut http))
    }
}
