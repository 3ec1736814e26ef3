//! Two replicas that held the same entries and were apart for `d` changes: what it takes until they are
//! equal again.
//!
//! Ours are two core nodes wired in process ([`Pair`]), one LWW map of `n` cells with 16-byte paths and
//! 32-byte values, written by eight incarnations, half of them twice. Three cases of ours:
//!
//! - `push`: the link was cut and comes back. Cursors stand, so pushes do it.
//! - `context`: the same, but what changed has left their logs, which hold one entry. Context first.
//! - `lost`: as `context`, no records are kept, and one change of each writing side is a remove: whose
//!   context lacks it cannot be told what it killed, and the fallback has to find out.
//! - `restart`: both processes start again on their state, and know nothing of each other.
//!
//! Bytes are all frames of both sides but greetings (`Hello`), which are paid once a connection. In the
//! tables, `(1.2x)` is bytes to payload: key, path and value of what had to move.
//!
//! Roots are settled before the clock starts, ours and the peers': upkeep is the mark `root`.

use sync_core::types::lww_map;

use super::Settings;
use crate::data::{Mode, Scenario, key, value};
use crate::measure::{Lap, median_lap, micros, timed};
use crate::pair::{self, Pair, Traffic};
use crate::peers::{self, Outcome, Peer};
use crate::report::{Report, Row, bytes, span};

/// The one map that holds the entries.
const MAP: &str = "m";
/// Incarnations that wrote the base.
const WRITERS: u8 = 8;
/// Writes of a group while the base is built.
const GROUP: usize = 1_000;

/// A case of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Push,
    Context,
    Lost,
    Restart,
}

impl Case {
    const ALL: [Self; 4] = [Self::Push, Self::Context, Self::Lost, Self::Restart];

    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Context => "context",
            Self::Lost => "lost",
            Self::Restart => "restart",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Push => "**ours**, link mended: pushes",
            Self::Context => "**ours**, log lost: context first",
            Self::Lost => "**ours**, log and records lost",
            Self::Restart => "**ours**, both restarted",
        }
    }
}

/// Two nodes that hold the same and know that of each other, with their link cut.
struct Bases {
    /// With the log that nodes have.
    logged: Pair,
    /// With a log of one entry.
    unlogged: Pair,
}

impl Bases {
    fn of(&self, case: Case) -> &Pair {
        match case {
            Case::Push | Case::Restart => &self.logged,
            Case::Context | Case::Lost => &self.unlogged,
        }
    }
}

/// What one case took.
struct Ours {
    traffic: Traffic,
    lap: Lap,
    /// Key, path and value of all that had to move.
    payload: u64,
}

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let sizes: &[usize] = if settings.quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
    let differences: &[usize] =
        if settings.quick { &[0, 1, 10, 100, 1_000] } else { &[0, 1, 10, 100, 1_000, 10_000] };
    let mut flat = Vec::new();
    for n in settings.sizes(sizes) {
        let bases = bases(n);
        let mut peers = peers::all();
        // Inserts cost what updates cost; a quick run looks at both only where it is cheap.
        let modes = if settings.quick && n > 10_000 { &Mode::ALL[..1] } else { &Mode::ALL };
        for &mode in modes {
            let mut rows: Vec<(String, Vec<String>)> =
                Case::ALL.iter().map(|case| (case.title().to_owned(), Vec::new())).collect();
            rows.extend(peers.iter().map(|peer| (peer.name().to_owned(), Vec::new())));
            for &d in differences {
                let scenario = Scenario { n, d, mode };
                let runs = if n > 100_000 { 1 } else { 3 };
                let ours = Case::ALL.map(|case| measure(bases.of(case), &scenario, case, runs));
                if (mode, d) == (Mode::Upd, 100) {
                    flat.push((n, ours[1].traffic.total()));
                }
                let theirs: Vec<_> = peers
                    .iter_mut()
                    .map(|peer| {
                        // What takes long to fill is left out above 10,000 of a quick run.
                        let slow = peer.n_max() < 1_000_000;
                        let n_max = if settings.quick && slow { 10_000 } else { peer.n_max() };
                        let fits = n <= n_max && d <= peer.d_max();
                        fits.then(|| peer.run(&scenario, runs))
                    })
                    .collect();
                for (cells, ours) in rows.iter_mut().zip(&ours) {
                    cells.1.push(cell_of_ours(ours));
                }
                for ((cells, peer), outcome) in rows[Case::ALL.len()..].iter_mut().zip(&peers).zip(&theirs) {
                    let cell = outcome.map(|outcome| cell_of_peer(peer.as_ref(), &outcome, &scenario));
                    cells.1.push(cell.unwrap_or_else(|| "-".to_owned()));
                }
                // The trie is the first of them.
                let trie = theirs[0].map(|outcome| with_payload(peers[0].as_ref(), &outcome, &scenario));
                for (case, ours) in Case::ALL.into_iter().zip(&ours) {
                    goals(report, &scenario, case, ours, trie);
                    for (peer, outcome) in peers.iter().zip(&theirs) {
                        if let Some(outcome) = outcome {
                            beside(report, &scenario, case, ours, peer.as_ref(), outcome);
                        }
                    }
                }
            }
            let head: Vec<String> = differences.iter().map(|d| format!("d = {d}")).collect();
            let title =
                format!("`{}`, n = {n}: bytes with payload, CPU of both sides, round trips", mode.name());
            report.matrix(&title, &head, &rows);
        }
    }
    if let [(few, before), .., (many, after)] = flat[..] {
        let mark = format!("reconcile/context/upd/d=100/n={many} beside n={few}");
        let row = Row::new(mark, after as f64, "bytes").beside("ours at the smaller n", before as f64);
        report.add(row.ratio_at_most(1.05));
    }
    report.misses("reconcile");
}

fn bases(n: usize) -> Bases {
    let logged = base(n);
    let mut unlogged = logged.clone();
    unlogged.restart(1, 1);
    unlogged.reconcile();
    unlogged.disconnect();
    Bases { logged, unlogged }
}

/// Two nodes that hold `n` entries.
fn base(n: usize) -> Pair {
    let mut all = Pair::fresh(0);
    let mut last = None;
    for writer in (0..WRITERS).rev() {
        let node = if writer == 0 { all.clone() } else { Pair::fresh(writer) };
        let mut pair = Pair::new(all, node);
        let own: Vec<usize> =
            (0..n).filter(|index| index % usize::from(WRITERS) == usize::from(writer)).collect();
        // Half of the entries are written again, so the live dots have gaps, as in a store that is used.
        let churned: Vec<usize> =
            own.iter().copied().filter(|index| key(*index)[0].is_multiple_of(2)).collect();
        for indices in [&own, &churned] {
            for group in indices.chunks(GROUP) {
                pair.write(usize::from(writer > 0), |batch| {
                    let entry = |index: &usize| (key(*index), value(*index, 0));
                    group
                        .iter()
                        .map(entry)
                        .try_for_each(|(key, value)| lww_map::put(batch, MAP, &key, &value))
                });
            }
        }
        if writer > 0 {
            pair.reconcile();
            pair.disconnect();
        }
        let [first, second] = pair.into_nodes();
        all = first;
        if writer == 1 {
            last = Some(second);
        }
    }
    let mut pair = Pair::new(all, last.expect("writer 1 is one of eight"));
    pair.reconcile();
    pair.disconnect();
    assert!(pair.roots_equal());
    pair
}

fn measure(base: &Pair, scenario: &Scenario, case: Case, runs: usize) -> Ours {
    let mut laps = Vec::new();
    let mut traffic = Traffic::default();
    let mut payload = 0;
    for _ in 0..runs {
        let mut pair = base.clone();
        payload = change(&mut pair, scenario, case);
        if case == Case::Restart {
            pair.restart(2, pair::limits().log_entries_max);
        }
        assert_eq!(pair.roots_equal(), scenario.d == 0, "the roots are settled, and differ if anything does");
        let fallbacks = pair.fallbacks();
        let (crossed, lap) = timed(|| pair.reconcile());
        if (case == Case::Lost && scenario.d > 0) != (pair.fallbacks() > fallbacks) {
            eprintln!("{scenario:?}: {} did not take the step of the ladder that it is for", case.name());
        }
        assert!(pair.roots_equal(), "equal contexts, equal stores");
        traffic = crossed;
        laps.push(lap);
    }
    Ours { traffic, lap: median_lap(&laps), payload }
}

/// Makes the changes; the bytes of what has to move.
fn change(pair: &mut Pair, scenario: &Scenario, case: Case) -> u64 {
    let mut payload = 0;
    for (side, changed) in [scenario.by_a(), scenario.by_b()].into_iter().enumerate() {
        let last = changed.end.saturating_sub(1);
        for index in changed {
            payload += (MAP.len() + 16) as u64;
            if index == last && matches!(case, Case::Context | Case::Lost) {
                // Of two writes at the least one has left the log.
                pair.write(side, |group| lww_map::put(group, MAP, &key(index), &value(index, 2)));
            }
            if case == Case::Lost && index == last {
                // An entry that no scenario changes.
                pair.write(side, |group| lww_map::remove(group, MAP, &key(scenario.n - 1 - side)).map(drop));
            } else {
                payload += 32;
                pair.write(side, |group| lww_map::put(group, MAP, &key(index), &value(index, 1)));
            }
        }
    }
    payload
}

/// The bytes of a peer, with the entries that have to move if it does not carry them itself.
fn with_payload(peer: &dyn Peer, outcome: &Outcome, scenario: &Scenario) -> u64 {
    let moved = if peer.carries_values() { 0 } else { scenario.d as u64 * (16 + 32) };
    outcome.bytes + moved
}

fn mark(scenario: &Scenario, case: Case, what: &str) -> String {
    let Scenario { n, d, mode } = scenario;
    format!("reconcile/{}/{}/n={n}/d={d}/{what}", case.name(), mode.name())
}

fn goals(report: &mut Report, scenario: &Scenario, case: Case, ours: &Ours, trie: Option<u64>) {
    let total = ours.traffic.total() as f64;
    let known = 1.3 * ours.payload as f64 + 300.0;
    let symbols = (2 * 24 * scenario.set_difference()) as f64;
    let (most, round_trips) = match (case, scenario.d) {
        (Case::Restart, _) => (None, None),
        (_, 0) => (Some(100.0), Some(1.0)),
        (Case::Push | Case::Context, _) => (Some(known), Some(1.0)),
        (Case::Lost, 1..=1_000) => (Some(known + symbols), Some(2.0)),
        (Case::Lost, _) => (trie.map(|trie| trie as f64), None),
    };
    let rows = [
        (Row::new(mark(scenario, case, "bytes"), total, "bytes"), most),
        (Row::new(mark(scenario, case, "round trips"), ours.traffic.round_trips, "round trips"), round_trips),
    ];
    for (row, most) in rows {
        report.add(if let Some(most) = most { row.at_most(most) } else { row });
    }
    if report.is_json() {
        for (name, count) in &ours.traffic.bytes {
            let what = format!("bytes of {name}");
            report.add(Row::new(mark(scenario, case, &what), *count as f64, "bytes"));
        }
    }
    if scenario.d > 0 && report.is_json() {
        let share = total / ours.payload as f64;
        report.add(Row::new(mark(scenario, case, "bytes a payload byte"), share, "ratio"));
    }
}

fn beside(
    report: &mut Report,
    scenario: &Scenario,
    case: Case,
    ours: &Ours,
    peer: &dyn Peer,
    outcome: &Outcome,
) {
    if !report.is_json() {
        // For people the tables above say the same.
        return;
    }
    let theirs = with_payload(peer, outcome, scenario) as f64;
    let round_trips = f64::from(outcome.messages) / 2.0;
    let rows = [
        ("bytes", ours.traffic.total() as f64, theirs, "bytes"),
        ("round trips", ours.traffic.round_trips, round_trips, "round trips"),
        ("cpu", micros(ours.lap.cpu), micros(outcome.lap.cpu), "us"),
        ("time", micros(ours.lap.time), micros(outcome.lap.time), "us"),
    ];
    for (what, ours, theirs, unit) in rows {
        report.add(Row::new(mark(scenario, case, what), ours, unit).beside(peer.name(), theirs));
    }
}

fn cell_of_ours(ours: &Ours) -> String {
    let Ours { traffic, lap, payload } = ours;
    let total = traffic.total();
    let share =
        if *payload == 0 { String::new() } else { format!(" ({:.2}x)", total as f64 / *payload as f64) };
    format!("{}{share}, {}, {:.1}", bytes(total), span(micros(lap.cpu)), traffic.round_trips)
}

fn cell_of_peer(peer: &dyn Peer, outcome: &Outcome, scenario: &Scenario) -> String {
    let total = with_payload(peer, outcome, scenario);
    format!("{}, {}, {:.1}", bytes(total), span(micros(outcome.lap.cpu)), f64::from(outcome.messages) / 2.0)
}
