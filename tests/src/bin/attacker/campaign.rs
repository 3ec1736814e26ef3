//! What hostile peers cost a node: resident memory, and the throughput of honest peers through it.
//!
//! For each script a fresh process of `sync-cli run` is the node in the middle, with honest nodes of this process on its
//! two sides (`scene`), so that all that one writes reaches the other through it. First memory, with the honest ones at
//! rest; then throughput, with attack and no attack in turns while the load (`load`) goes on; then memory under many
//! attackers. A throughput says something only if the node in the middle limits it: it has one thread for all links, and
//! each figure comes with the share of time in which that thread had work (`usage`).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use sync_core::limits::Limits;
use sync_core::node::Reading;
use sync_tests::attack::{Alpn, SCRIPTS, is_stranger};

use super::load::Load;
use super::scene::Scene;
use super::usage::{Usage, resident, shares_autogroup};
use super::words;

/// What may be set.
#[derive(Debug, Args)]
pub(crate) struct CampaignArgs {
    /// The tool to start nodes with [default: `sync-cli` beside this binary].
    #[arg(long)]
    cli: Option<PathBuf>,
    /// Only this script; may be given many times [default: all].
    #[arg(long = "script")]
    scripts: Vec<String>,
    /// How attackers spread frames over streams: sync/1 or sync/2.
    #[arg(long, default_value_t)]
    alpn: Alpn,
    /// Seconds of each attack; of a turn of throughput half of it with attack and half without.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Attackers in the second part of the memory measurement.
    #[arg(long, default_value_t = 64)]
    many: usize,
    /// Turns of throughput, each with and without attack; 0 leaves throughput out.
    #[arg(long, default_value_t = 4)]
    turns: u32,
    /// Pairs of honest nodes that load the node in the middle.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pairs: u8,
    /// The nice value of attackers. They have to be seen to attack under load too (`attack`, of a throughput), and what they
    /// use of the processors themselves is not to be the node's fault: the cost in processor time does not have it.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=19))]
    nice: u8,
    /// A file of results, one a line: scripts that it has with the same settings are left out, and the others are added
    /// as they are done. So a campaign can be cut and gone on with.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

/// The least share of the throughput without attack that honest peers keep.
const RATIO_MIN: f64 = 0.8;

/// From this share of busy time on a node counts as saturated.
const BUSY_MIN: f64 = 0.85;

/// How long the load runs before anything is measured: each place is written once, and links have settled.
const WARM_UP: Duration = Duration::from_secs(5);

/// What an attack left behind has this long to go before the next turn.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn campaign(args: CampaignArgs) -> Result<(), String> {
    let beside = || std::env::current_exe().map(|path| path.with_file_name("sync-cli"));
    let cli = args.cli.clone().map_or_else(beside, Ok).map_err(words)?;
    let known = |name: &String| SCRIPTS.iter().any(|(script, _)| script == name);
    if let Some(unknown) = args.scripts.iter().find(|name| !known(name)) {
        return Err(format!("there is no script {unknown:?}"));
    }
    let settings = json!({
        "alpn": args.alpn.name(), "seconds": args.seconds, "many": args.many, "turns": args.turns, "pairs": args.pairs,
        "nice": args.nice,
    });
    let mut results = Results::open(args.resume.clone(), &settings)?;
    let chosen = |name: &str| args.scripts.is_empty() || args.scripts.iter().any(|script| script == name);
    for (script, _) in SCRIPTS.iter().filter(|(name, _)| chosen(name)) {
        if !results.has(script) {
            // A script that could not be measured is no result, and ends the campaign: something is wrong with it.
            let told = one(&cli, script, &args, &settings).await.map_err(|why| format!("{script}: {why}"))?;
            results.add(told)?;
        }
    }
    let failed: Vec<&str> =
        results.lines.iter().filter(|told| told["ok"] != true).filter_map(name_of).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("beyond a bound: {}", failed.join(", "))) }
}

fn name_of(told: &Value) -> Option<&str> {
    told["script"].as_str()
}

/// What is known so far, also in a file if there is one.
struct Results {
    file: Option<PathBuf>,
    lines: Vec<Value>,
}

impl Results {
    /// Keeps what the file has with these settings; a line that was cut is none.
    fn open(file: Option<PathBuf>, settings: &Value) -> Result<Self, String> {
        let kept = match &file {
            Some(path) if path.exists() => fs::read_to_string(path).map_err(words)?,
            Some(_) | None => String::new(),
        };
        let lines = kept.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<Value> = lines.filter(|told| told["settings"] == *settings).collect();
        if let Some(path) = &file {
            let text: String = lines.iter().map(|told| format!("{told}\n")).collect();
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        lines.iter().for_each(|told| println!("{told}"));
        Ok(Self { file, lines })
    }

    fn has(&self, script: &str) -> bool {
        self.lines.iter().any(|told| name_of(told) == Some(script))
    }

    fn add(&mut self, told: Value) -> Result<(), String> {
        println!("{told}");
        if let Some(path) = &self.file {
            let mut file = fs::OpenOptions::new().append(true).open(path).map_err(words)?;
            writeln!(file, "{told}").map_err(words)?;
        }
        self.lines.push(told);
        Ok(())
    }
}

/// All figures of one script.
async fn one(cli: &Path, script: &str, args: &CampaignArgs, settings: &Value) -> Result<Value, String> {
    let time = Duration::from_secs(args.seconds);
    // Each turn has a certificate of its own: what was shut out in one turn attacks again in the next.
    let certificates = args.many.max(args.turns as usize + 1);
    let single = Scene::start(cli, usize::from(args.pairs), certificates, (args.alpn, args.nice)).await?;
    let (one_costs, attack) = single.memory(script, 1, time).await?;
    let compared = match args.turns {
        0 => None,
        turns => Some(throughput(&single, cli, script, turns, time).await?),
    };
    single.end().await?;
    let crowd = Scene::start(cli, 1, certificates, (args.alpn, args.nice)).await?;
    let (many_cost, attack_many) = crowd.memory(script, args.many, time).await?;
    crowd.end().await?;
    let (one_max, many_max) = if is_stranger(script) { (64 << 10, 64 << 10) } else { (8 << 10, 256 << 10) };
    let keeps =
        compared.as_ref().is_none_or(|compared| compared.ratio >= RATIO_MIN && compared.off.busy >= BUSY_MIN);
    let ok = one_costs <= one_max && many_cost <= many_max && keeps;
    Ok(json!({
        "script": script, "settings": settings, "ok": ok,
        "one_kib": one_costs, "one_kib_max": one_max, "attack": attack, "attack_many": attack_many,
        "many": args.many, "many_kib": many_cost, "many_kib_max": many_max,
        "throughput": compared.map(|compared| compared.told()),
    }))
}

/// What happened in one stretch of time, or in several.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    seconds: f64,
    /// Writes that went through the node in the middle, and those that it took in itself.
    through: f64,
    confirmed: f64,
    middle_cpu: f64,
    honest_cpu: f64,
    attacker_cpu: f64,
    /// Busy time of the middle's busiest thread, as a share.
    busy: f64,
    /// Time that writers waited for the middle, as a share.
    waited: f64,
    /// Bytes in the fullest queue of a writer to the middle, and of the middle to a peer.
    writer_queue: u64,
    middle_queue: u64,
    resident_kib: i64,
}

impl Stretch {
    /// Both, one after the other: sums, shares by their time, and the larger of queues and memory.
    fn and(self, other: Self) -> Self {
        let seconds = self.seconds + other.seconds;
        let share = |a: f64, b: f64| (a * self.seconds + b * other.seconds) / seconds;
        Self {
            seconds,
            through: self.through + other.through,
            confirmed: self.confirmed + other.confirmed,
            middle_cpu: self.middle_cpu + other.middle_cpu,
            honest_cpu: self.honest_cpu + other.honest_cpu,
            attacker_cpu: self.attacker_cpu + other.attacker_cpu,
            busy: share(self.busy, other.busy),
            waited: share(self.waited, other.waited),
            writer_queue: self.writer_queue.max(other.writer_queue),
            middle_queue: self.middle_queue.max(other.middle_queue),
            resident_kib: self.resident_kib.max(other.resident_kib),
        }
    }

    fn writes(&self) -> f64 {
        self.through + self.confirmed
    }

    fn rate(&self) -> f64 {
        self.writes() / self.seconds
    }

    fn per_cpu_second(&self) -> f64 {
        self.writes() / self.middle_cpu.max(f64::MIN_POSITIVE)
    }

    fn told(&self) -> Value {
        let share = |share: f64| (share * 1e3).round() / 1e3;
        let max = Limits::default().outbox_bytes_max as u64;
        let pressure = |used| share(Reading { used, max }.pressure());
        json!({
            "writes_per_s": self.rate().round(),
            "through_per_s": (self.through / self.seconds).round(),
            "writes_per_middle_cpu_s": self.per_cpu_second().round(),
            "middle_cores": share(self.middle_cpu / self.seconds),
            "middle_busy": share(self.busy),
            "honest_cores": share(self.honest_cpu / self.seconds),
            "attacker_cores": share(self.attacker_cpu / self.seconds),
            "writers_waited": share(self.waited),
            "writer_queue_pressure": pressure(self.writer_queue),
            "middle_queue_pressure": pressure(self.middle_queue),
            "resident_kib": self.resident_kib,
        })
    }
}

/// With attack and without.
#[derive(Debug)]
struct Compared {
    off: Stretch,
    on: Stretch,
    ratio: f64,
    /// Of each turn, writes a second without and with attack.
    turns: Vec<(f64, f64)>,
    one_autogroup: bool,
    /// What the attackers did in each turn.
    attacks: Vec<Value>,
}

impl Compared {
    fn told(&self) -> Value {
        let rounded: Vec<_> = self.turns.iter().map(|(off, on)| (off.round(), on.round())).collect();
        json!({
            "ratio": self.ratio, "ratio_min": RATIO_MIN,
            "cpu_cost_ratio": self.on.per_cpu_second() / self.off.per_cpu_second(),
            "saturated": self.off.busy >= BUSY_MIN, "busy_min": BUSY_MIN,
            "off": self.off.told(), "on": self.on.told(),
            "writes_per_s_off_on": rounded,
            "nice_counts": self.one_autogroup,
            "attacks": self.attacks,
        })
    }
}

/// Runs the load, with attack and without in turns, each for half of `time`.
async fn throughput(
    scene: &Scene,
    cli: &Path,
    script: &str,
    turns: u32,
    time: Duration,
) -> Result<Compared, String> {
    // Attackers take whole seconds.
    let slice = Duration::from_secs(time.as_secs() / 2);
    let mut attacks = Vec::new();
    let load = Load::start(&scene.lanes);
    tokio::time::sleep(WARM_UP).await;
    let (mut off, mut on): (Option<Stretch>, Option<Stretch>) = (None, None);
    let (mut rates, mut one_autogroup) = (Vec::new(), true);
    for turn in 0..turns as usize {
        let quiet = stretch(scene, cli, &load, slice, None).await?;
        let mut attack = scene.attack(script, turn + 1..turn + 2, slice + Duration::from_secs(1))?;
        one_autogroup &= shares_autogroup(attack.id());
        let attacked = stretch(scene, cli, &load, slice, Some(attack.id())).await;
        let ended = tokio::task::spawn_blocking(move || attack.wait()).await.map_err(words)?;
        let (attacked, ended) = (attacked?, ended.map_err(words)?);
        if !ended.success() {
            return Err(format!("the attackers ended badly: {ended}"));
        }
        attacks.push(scene.attacked()?);
        rates.push((quiet.rate(), attacked.rate()));
        off = Some(off.map_or(quiet, |off| off.and(quiet)));
        on = Some(on.map_or(attacked, |on| on.and(attacked)));
        tokio::time::sleep(PAUSE).await;
    }
    load.end().await?;
    let (off, on) = (off.unwrap_or_default(), on.unwrap_or_default());
    Ok(Compared { off, on, ratio: on.rate() / off.rate().max(1.0), turns: rates, one_autogroup, attacks })
}

/// One stretch of the load, under the attack of process `attacker` if there is one.
async fn stretch(
    scene: &Scene,
    cli: &Path,
    load: &Load,
    time: Duration,
    attacker: Option<u32>,
) -> Result<Stretch, String> {
    let (middle, honest) = (Usage::of(scene.pid())?, Usage::of(std::process::id())?);
    let hostile = attacker.map(Usage::of).transpose()?;
    let mark = load.mark();
    let mut result = Stretch::default();
    let until = tokio::time::Instant::now() + time;
    // One look at the middle's queues, half way; it costs the same with attack and without.
    tokio::time::sleep(time / 2).await;
    result.middle_queue = scene.queued(cli).await?;
    loop {
        result.writer_queue = result.writer_queue.max(load.queued());
        result.resident_kib = result.resident_kib.max(resident(scene.pid())?);
        let next = tokio::time::Instant::now() + Duration::from_millis(50);
        tokio::time::sleep_until(next.min(until)).await;
        if next >= until {
            break;
        }
    }
    let (done, used) = (load.since(mark), middle.since(scene.pid())?);
    if let (Some(before), Some(pid)) = (hostile, attacker) {
        result.attacker_cpu = before.since(pid)?.cpu;
    }
    Ok(Stretch {
        seconds: used.time,
        through: done.through,
        confirmed: done.confirmed,
        middle_cpu: used.cpu,
        honest_cpu: honest.since(std::process::id())?.cpu,
        busy: used.busy,
        waited: done.waited / used.time,
        ..result
    })
}
