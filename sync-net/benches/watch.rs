//! What a watcher that does not read costs the writers: 100,000 changes without a watcher, with one that has
//! stopped, and with one that has stopped and coalesces, in turn, fresh nodes each, medians over the rounds.
//!
//! Each watcher then reads on: it must be told that it has lagged (or get one batch), and hold what a reader sees.
//! Time is the writing thread's own on the processor, so that other processes do not count. Prints JSON.
//!
//! ```text
//! cargo bench -p sync-net --bench watch -- [ROUNDS]
//! ```

use std::time::Instant;

use serde_json::json;
use sync_net::{ClusterCa, Mirror, Node, Policy, Start, WatchEvent};

const CHANGES: u64 = 100_000;
const FIELDS: u64 = 1_000;

/// Nanoseconds that the calling thread has been on a processor.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn is_bench_run() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

struct Round {
    cpu_ns: f64,
    wall_ns: f64,
    lagged: u64,
    entries: u64,
}

async fn round(policy: Option<Policy>, changes: u64) -> Round {
    let identity = ClusterCa::create("bench").and_then(|ca| ca.issue("node")).expect("a certificate");
    let node = Node::builder().identity(identity).start().await.expect("it starts");
    let map = node.lww_map::<u64, u64>("map");
    let mut watched = policy.map(|policy| (node.watch_from("", Start::Snapshot, policy), Mirror::default()));
    if let Some((watch, mirror)) = &mut watched {
        mirror.apply(&watch.next().await.expect("a snapshot"));
    }
    let (cpu, wall) = (on_cpu(), Instant::now());
    for n in 0..changes {
        map.put(&(n % FIELDS), &n).expect("there is room");
    }
    let (cpu_ns, wall_ns) = (on_cpu() - cpu, wall.elapsed().as_nanos());
    node.shutdown().await;
    let (mut lagged, mut entries) = (0, 0);
    if let Some((watch, mirror)) = &mut watched {
        while let Some(event) = watch.next().await {
            lagged += u64::from(event == WatchEvent::Lagged);
            mirror.apply(&event);
        }
        let mut fresh = Mirror::default();
        let snapshot = node.watch_from("", Start::Snapshot, Policy::Steps).try_next();
        fresh.apply(&snapshot.expect("a snapshot is read at once"));
        assert_eq!(*mirror, fresh, "a watcher that has read on holds what a reader sees");
        entries = mirror.len() as u64;
    }
    let per = |ns: f64| ns / changes as f64;
    Round { cpu_ns: per(cpu_ns as f64), wall_ns: per(wall_ns as f64), lagged, entries }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    // `cargo test --benches` only looks whether it runs.
    let (rounds, changes) = if is_bench_run() { (11, CHANGES) } else { (1, 4_000) };
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(rounds);
    let modes = [("alone", None), ("stopped", Some(Policy::Steps)), ("coalescing", Some(Policy::Coalesce))];
    let mut seen: Vec<Vec<Round>> = modes.iter().map(|_| Vec::new()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for _ in 0..rounds {
        for ((_, policy), seen) in modes.iter().zip(&mut seen) {
            seen.push(runtime.block_on(round(*policy, changes)));
        }
    }
    let of = |mode: usize, figure: fn(&Round) -> f64| median(seen[mode].iter().map(figure).collect());
    // Pairs of one round ran next to each other.
    let ratio = |mode: usize, figure: fn(&Round) -> f64| {
        median(
            seen[mode].iter().zip(&seen[0]).map(|(with, without)| figure(with) / figure(without)).collect(),
        )
    };
    let shown: Vec<_> = modes
        .iter()
        .enumerate()
        .map(|(mode, (name, _))| {
            json!({
                "mode": name,
                "write_cpu_ns": of(mode, |round| round.cpu_ns).round(),
                "write_wall_ns": of(mode, |round| round.wall_ns).round(),
                "cpu_ratio": ratio(mode, |round| round.cpu_ns),
                "wall_ratio": ratio(mode, |round| round.wall_ns),
                "lagged_per_round": of(mode, |round| round.lagged as f64),
                "entries_read": of(mode, |round| round.entries as f64),
            })
        })
        .collect();
    println!("{}", json!({ "mark": "watch", "changes": changes, "rounds": rounds, "modes": shown }));
}
