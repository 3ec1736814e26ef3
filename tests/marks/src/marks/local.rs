//! What one replica pays for a write and a read, beside a floor and beside its peers.
//!
//! The floor of a write is what no engine can leave out: a hash map updated, an entry appended to a log, the delta
//! encoded by postcard. All engines take turns in each pass, so that a busy machine slows all of them, and a ratio is
//! the median of the ratios of the passes. Every write is a transaction or a commit of its own. Ours is a group of the
//! store; `node` is the whole way through [`Node::write`], clocks and deadlines included.
//!
//! [`Node::write`]: sync_core::node::Node::write

mod docs;
mod floor;
mod ours;
mod sets;

use std::time::Instant;

use super::Settings;
use crate::data::key;
use crate::report::{Report, Row};

/// One engine under one operation: does it for the `at`-th time.
type Step<'a> = Box<dyn FnMut(usize) + 'a>;

/// Someone who takes part in a race.
struct Runner<'a> {
    name: &'static str,
    /// Operations in a pass: fewer where one takes long.
    ops: usize,
    step: Step<'a>,
}

impl<'a> Runner<'a> {
    fn new(name: &'static str, ops: usize, step: impl FnMut(usize) + 'a) -> Self {
        Self { name, ops, step: Box::new(step) }
    }
}

/// Lets all take turns; nanoseconds an operation, by pass.
fn race(runners: &mut [Runner<'_>], passes: usize) -> Vec<Vec<f64>> {
    let mut spans = vec![Vec::with_capacity(passes); runners.len()];
    for pass in 0..passes {
        for (runner, spans) in runners.iter_mut().zip(&mut spans) {
            let start = Instant::now();
            (0..runner.ops).for_each(|at| (runner.step)(pass * runner.ops + at));
            spans.push(start.elapsed().as_secs_f64() * 1e9 / runner.ops as f64);
        }
    }
    spans
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A row for each peer behind the first runner, which is ours; `goals` are the highest ratios, by name.
fn add_rows(
    report: &mut Report,
    mark: &str,
    mut runners: Vec<Runner<'_>>,
    passes: usize,
    goals: &[(&str, f64)],
) {
    let spans = race(&mut runners, passes);
    let ours = median(spans[0].clone());
    for (runner, theirs) in runners.iter().zip(&spans).skip(1) {
        let ratio = median(spans[0].iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
        let mut row = Row::new(mark, ours, "ns").beside(runner.name, median(theirs.clone()));
        row.ratio = Some(ratio);
        let goal = goals.iter().find(|(name, _)| *name == runner.name);
        report.add(goal.map_or(row.clone(), |(_, max)| row.ratio_at_most(*max)));
    }
}

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let (passes, ops) = if settings.quick { (7, 1_000) } else { (15, 2_000) };
    let sizes: &[usize] = if settings.quick { &[10_000] } else { &[10_000, 100_000] };
    for n in settings.sizes(sizes) {
        // Which of the first `n` are touched again; from `n` on every index is new.
        let order: Vec<usize> = (0..passes * ops).map(|at| (at * 7_919 + 13) % n).collect();
        let size = format!("{}k", n / 1_000);
        set_add(report, n, passes, ops, &size);
        map_put(report, n, passes, ops, &order, &size);
        reads(report, n, passes, ops, &order, &size);
    }
    counter_add(report, passes, ops);
    report.table("local: writes and reads of one replica");
}

fn set_add(report: &mut Report, n: usize, passes: usize, ops: usize, size: &str) {
    let (mut ours, mut node) = (ours::Set::of(n), ours::NodeSet::of(n));
    let mut floor = floor::Floor::of(n, b"");
    let mut crdts = sets::CrdtsSet::of(n);
    let (mut yrs, mut loro, mut automerge) = (docs::Yrs::of(n), docs::Loro::of(n), docs::Automerge::of(n));
    let slow = (ops / 20).max(1);
    let runners = vec![
        Runner::new("ours", ops, |at| ours.add(&key(n + at))),
        Runner::new("floor", ops, |at| floor.write(key(n + at), b"")),
        Runner::new("ours, by Node::write", ops, |at| node.add(&key(n + at))),
        Runner::new("crdts Orswot", ops, |at| crdts.add(key(n + at))),
        Runner::new("yrs map", ops, |at| yrs.put(n + at, 1)),
        Runner::new("loro map", ops, |at| loro.put(n + at, 1)),
        Runner::new("automerge map", slow, |at| automerge.put(n + at, 1)),
    ];
    let crdts_goal = if n >= 100_000 { 1.0 } else { 1.5 };
    let goals = [("floor", 2.0), ("crdts Orswot", crdts_goal), ("yrs map", 0.6), ("loro map", 0.25)];
    add_rows(report, &format!("local/set add/{size}"), runners, passes, &goals);
}

fn map_put(report: &mut Report, n: usize, passes: usize, ops: usize, order: &[usize], size: &str) {
    let mut ours = ours::Map::of(n);
    let mut floor = floor::Floor::of(n, &crate::data::value(0, 0));
    let (mut yrs, mut loro, mut automerge) = (docs::Yrs::of(n), docs::Loro::of(n), docs::Automerge::of(n));
    let slow = (ops / 20).max(1);
    let runners = vec![
        Runner::new("ours", ops, |at| ours.put(order[at], 1 + at as u64)),
        Runner::new("floor", ops, |at| {
            floor.write(key(order[at]), &crate::data::value(order[at], 1 + at as u64))
        }),
        Runner::new("yrs map", ops, |at| yrs.put(order[at], 1 + at as u64)),
        Runner::new("loro map", ops, |at| loro.put(order[at], 1 + at as u64)),
        Runner::new("automerge map", slow, |at| automerge.put(order[at], 1 + at as u64)),
    ];
    add_rows(report, &format!("local/map put/{size}"), runners, passes, &[("floor", 2.0)]);
}

fn reads(report: &mut Report, n: usize, passes: usize, ops: usize, order: &[usize], size: &str) {
    let (set, map) = (ours::Set::of(n), ours::Map::of(n));
    let floor = floor::Floor::of(n, &crate::data::value(0, 0));
    let crdts = sets::CrdtsSet::of(n);
    let runners = vec![
        Runner::new("ours", ops, |at| set.contains(&key(order[at]))),
        Runner::new("bare lookup", ops, |at| floor.contains(&key(order[at]))),
        Runner::new("crdts Orswot", ops, |at| crdts.contains(&key(order[at]))),
    ];
    add_rows(report, &format!("local/contains/{size}"), runners, passes, &[("bare lookup", 2.0)]);
    let runners = vec![
        Runner::new("ours", ops, |at| map.read(order[at])),
        Runner::new("lookup and decode", ops, |at| floor.read(&key(order[at]))),
    ];
    add_rows(report, &format!("local/typed read/{size}"), runners, passes, &[("lookup and decode", 1.5)]);
}

fn counter_add(report: &mut Report, passes: usize, ops: usize) {
    let mut ours = ours::Counters::new();
    let mut floor = floor::Floor::of(ours::COUNTERS, &[0; 32]);
    let mut crdts = sets::CrdtsCounters::new();
    let runners = vec![
        Runner::new("ours", ops, |at| ours.add(at)),
        Runner::new("floor", ops, |at| floor.write(key(at % ours::COUNTERS), &[1; 32])),
        Runner::new("crdts PNCounter", ops, |at| crdts.add(at)),
    ];
    add_rows(report, "local/counter add", runners, passes, &[("floor", 2.0)]);
}
