//! What the Merkle root and the sketch cost for each write.
//!
//! One core node with a map of a million cells. `one` is what [`Node::root`] takes after a single write,
//! `amortised` one root after a thousand writes, for each; all in CPU time. The write is a row of its own,
//! and it is in the rows beside peers, whose update and root cannot be parted. The sketch is measured by
//! itself, on a million dots: an insert toggles one dot, an overwrite the new one and the old.
//!
//! [`Node::root`]: sync_core::node::Node::root

use std::time::Duration;

use sync_core::id::{Dot, ReplicaId};
use sync_core::merkle::sketch::{SYMBOLS_KEPT, Sketch};
use sync_core::node::Node;
use sync_core::store::SKETCH_KEY;
use sync_core::time::{Now, Timestamp, WallMillis};
use sync_core::types::lww_map;

use super::Settings;
use crate::data::{key, value};
use crate::measure::{median_lap, micros, timed};
use crate::pair::{Pair, namespace};
use crate::peers;
use crate::report::{Report, Row};

const CELLS: usize = 1_000_000;
const BATCH: usize = 1_000;
const MAP: &str = "m";

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let runs = if settings.quick { 100 } else { 1_000 };
    let mut node = Pair::fresh(0);
    for first in (0..CELLS).step_by(BATCH) {
        write(&mut node, first..first + BATCH, 0);
    }
    node.root(namespace());

    let mut changed = (0..CELLS).map(|at| at * 7_919 % CELLS);
    let (mut writes, mut roots) = (Vec::new(), Vec::new());
    for index in changed.by_ref().take(runs) {
        writes.push(timed(|| write(&mut node, index..index + 1, 1)).1);
        roots.push(timed(|| node.root(namespace())).1);
    }
    let (one_write, one_root) = (micros(median_lap(&writes).cpu), micros(median_lap(&roots).cpu));

    let (mut writes, mut roots) = (Vec::new(), Vec::new());
    for _ in 0..runs / 20 {
        let batch: Vec<usize> = changed.by_ref().take(BATCH).collect();
        writes.push(timed(|| batch.iter().for_each(|at| write(&mut node, *at..*at + 1, 2))).1);
        roots.push(timed(|| node.root(namespace())).1);
    }
    let share = |span: Duration| micros(span) / BATCH as f64;
    let (many_writes, many_roots) = (share(median_lap(&writes).cpu), share(median_lap(&roots).cpu));
    drop(node);

    report.add(Row::new("root/one write", one_write, "us"));
    report.add(Row::new("root/root after one write", one_root, "us").at_most(6.0));
    report.add(Row::new("root/root amortised over 1,000 writes", many_roots, "us").at_most(3.0));
    let [tree_one, tree_many] = peers::merkle_search_tree_update(CELLS, BATCH);
    let (one, many) = (one_write + one_root, many_writes + many_roots);
    let tree = "merkle-search-tree 0.8.0";
    report.add(Row::new("root/write and root", one, "us").beside(tree, micros(tree_one.cpu)));
    report.add(Row::new("root/write and root, amortised", many, "us").beside(tree, micros(tree_many.cpu)));
    let rsos = micros(peers::rsos_update(CELLS).cpu);
    report.add(Row::new("root/write and root", one, "us").beside("rsos 0.5.3", rsos));
    for (what, toggles) in [("an insert", 1), ("an overwrite", 2)] {
        let row =
            Row::new(format!("root/sketch upkeep of {what}, amortised"), sketch(toggles, runs / 20), "us");
        report.add(row.at_most(0.5));
    }
    report.table("root: upkeep of the digest at 1,000,000 cells");
}

/// Microseconds that a write with `toggles` changed dots costs the kept sketch of a million dots, with one
/// settling for each thousand writes.
fn sketch(toggles: u64, runs: usize) -> f64 {
    let mut sketch = Sketch::new(SKETCH_KEY);
    let replica = ReplicaId([7; 16]);
    let mut next = 1;
    let mut toggle = |sketch: &mut Sketch, count: u64| {
        (next..next + count).for_each(|seq| sketch.toggle(Dot::new(replica, seq)));
        next += count;
    };
    toggle(&mut sketch, CELLS as u64);
    std::hint::black_box(sketch.symbols(0..SYMBOLS_KEPT));
    let laps: Vec<_> = (0..runs)
        .map(|_| {
            timed(|| {
                toggle(&mut sketch, toggles * BATCH as u64);
                std::hint::black_box(sketch.symbols(0..SYMBOLS_KEPT));
            })
            .1
        })
        .collect();
    micros(median_lap(&laps).cpu) / BATCH as f64
}

fn write(node: &mut Node, range: std::ops::Range<usize>, version: u64) {
    let now = Now::at(Timestamp::ZERO, WallMillis(1_750_000_000_000));
    let written = node.write(now, namespace(), |group| {
        range.into_iter().try_for_each(|at| lww_map::put(group, MAP, &key(at), &value(at, version)))
    });
    written.expect("the limits leave room");
}
