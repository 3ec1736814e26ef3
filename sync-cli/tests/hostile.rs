//! Hostile peers against a real process: what all of them together may cost, and that nobody else notices.
//!
//! A short slice; `attacker campaign` measures each script alone, with many attackers, and its throughput.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::Place;
use sync_tests::attack::{Alpn, Counts, Credentials, SCRIPTS, attack, is_stranger};

const TIME: Duration = Duration::from_secs(5);

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Plays `scripts` at once, one attacker each; how much more memory the process took at most, in KiB.
fn costs(
    pid: u32,
    target: &str,
    alpn: Alpn,
    scripts: &[&'static str],
    dirs: &[String],
) -> (u64, Vec<Arc<Counts>>) {
    let over = Arc::new(AtomicBool::new(false));
    let before = resident(pid);
    let watching = {
        let over = over.clone();
        std::thread::spawn(move || {
            let mut most = before;
            while !over.load(Ordering::Relaxed) {
                most = most.max(resident(pid));
                std::thread::sleep(Duration::from_millis(10));
            }
            most
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let target = target.parse().unwrap();
    let all: Vec<Arc<Counts>> = scripts.iter().map(|_| Arc::default()).collect();
    runtime.block_on(async {
        let mut attackers = tokio::task::JoinSet::new();
        for ((script, dir), counts) in scripts.iter().zip(dirs).zip(&all) {
            let me = Credentials::load(Path::new(dir)).unwrap();
            attackers.spawn(attack(script, vec![me], target, alpn, TIME, counts.clone()));
        }
        while let Some(known) = attackers.join_next().await {
            assert!(known.unwrap());
        }
    });
    over.store(true, Ordering::Relaxed);
    (watching.join().unwrap().saturating_sub(before), all)
}

/// Plays all scripts over one layout of streams.
fn all_scripts_are_borne(alpn: Alpn) {
    let (strangers, members): (Vec<&str>, Vec<&str>) =
        SCRIPTS.iter().map(|(name, _)| *name).partition(|name| is_stranger(name));
    assert!(members.len() >= 12 && !strangers.is_empty());
    let place = Place::with(&["middle", "left", "right"]);
    let dirs: Vec<String> = members
        .iter()
        .map(|name| {
            place.issue("ca", name);
            place.at(name)
        })
        .collect();
    let middle = place.run_with(
        "middle",
        &[],
        &["--memory", "--namespace", "alarms=urgent", "--namespace", "archive=bulk"],
    );
    let left = place.run("left", &[&middle.listen]);
    let right = place.run("right", &[&middle.listen]);
    middle.has_links(2);
    left.done(&["set", "add", "before", "x"]);
    left.done(&["converge", "--all"]);

    let pid = middle.process.id();
    let (kib, counts) = costs(pid, &middle.listen, alpn, &members, &dirs);
    let most = 8 * 1_024 * u64::try_from(members.len()).unwrap();
    assert!(kib <= most, "{} attackers cost {kib} KiB, {most} are allowed", members.len());
    for (script, counts) in members.iter().zip(&counts) {
        let tried = counts.links.load(Ordering::Relaxed) + counts.connections.load(Ordering::Relaxed);
        assert!(tried > 0, "{script} did nothing");
    }
    let (kib, counts) = costs(pid, &middle.listen, alpn, &strangers, &dirs);
    assert!(kib <= 64 * 1_024, "strangers cost {kib} KiB");
    assert!(
        counts.iter().all(|counts| counts.sent.load(Ordering::Relaxed)
            + counts.connections.load(Ordering::Relaxed)
            > 0)
    );

    // What went wrong is kept, and who did it is shut out.
    let peers = middle.sync(&["peers", "--json"]).json();
    let of = |what: &str| {
        peers.as_array().unwrap().iter().filter(|peer| peer["evidence"].to_string().contains(what)).count()
    };
    assert!(of("was announced") >= 2, "huge lengths and oversize are kept: {peers}");
    assert!(of("\"bytes\":\"") >= 1, "the bytes of malformed frames are kept: {peers}");
    let shut = peers.as_array().unwrap().iter().filter(|peer| peer["breaker"]["shut"] == true).count();
    assert!(shut >= 2, "{peers}");

    // Honest peers go on, with nothing of it in their state.
    right.done(&["set", "add", "after", "y"]);
    right.done(&["converge"]);
    middle.shows(&["set", "ls", "after"], "y");
    left.shows(&["set", "ls", "after"], "y");
    assert_eq!(left.done(&["keys"]), right.done(&["keys"]));
    assert!(!middle.process.stderr().contains("panicked"), "{}", middle.process.stderr());
}

#[test]
fn all_scripts_at_once_cost_a_bounded_amount_of_memory_and_honest_peers_stay_right() {
    all_scripts_are_borne(Alpn::Sync2);
}

#[test]
fn so_they_do_on_the_one_stream_of_the_first_release() {
    all_scripts_are_borne(Alpn::Sync1);
}
