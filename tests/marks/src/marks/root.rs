//! What the Merkle root and the sketch cost for each write.
//!
//! One core node with a map of a million cells. `one` is the time that [`Node::root`] takes after a single
//! write; `amortised` that of one root after a thousand writes, for each. The write itself is a row of its
//! own, and it is in the rows beside peers, whose update and root cannot be parted.
//!
//! [`Node::root`]: sync_core::node::Node::root

use std::time::Duration;

use sync_core::node::Node;
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
    let (one_write, one_root) = (micros(median_lap(&writes).time), micros(median_lap(&roots).time));

    let (mut writes, mut roots) = (Vec::new(), Vec::new());
    for _ in 0..runs / 20 {
        let batch: Vec<usize> = changed.by_ref().take(BATCH).collect();
        writes.push(timed(|| batch.iter().for_each(|at| write(&mut node, *at..*at + 1, 2))).1);
        roots.push(timed(|| node.root(namespace())).1);
    }
    let share = |span: Duration| micros(span) / BATCH as f64;
    let (many_writes, many_roots) = (share(median_lap(&writes).time), share(median_lap(&roots).time));
    drop(node);

    report.add(Row::new("root/one write", one_write, "us"));
    report.add(Row::new("root/root after one write", one_root, "us").at_most(6.0));
    report.add(Row::new("root/root amortised over 1,000 writes", many_roots, "us").at_most(3.0));
    let [tree_one, tree_many] = peers::merkle_search_tree_update(CELLS, BATCH);
    let (one, many) = (one_write + one_root, many_writes + many_roots);
    let tree = "merkle-search-tree 0.8.0";
    report.add(Row::new("root/write and root", one, "us").beside(tree, micros(tree_one.time)));
    report.add(Row::new("root/write and root, amortised", many, "us").beside(tree, micros(tree_many.time)));
    let rsos = micros(peers::rsos_update(CELLS).time);
    report.add(Row::new("root/write and root", one, "us").beside("rsos 0.5.3", rsos));
    // The kept sketch joins here, as `root/sketch upkeep, amortised` with `at_most(0.5)` us: updates of it
    // and one settling, on the same node, once `sync_core::merkle` gives it out.
    report.table("root: upkeep of the digest at 1,000,000 cells");
}

fn write(node: &mut Node, range: std::ops::Range<usize>, version: u64) {
    let now = Now::at(Timestamp::ZERO, WallMillis(1_750_000_000_000));
    let written = node.write(now, namespace(), |group| {
        range.into_iter().try_for_each(|at| lww_map::put(group, MAP, &key(at), &value(at, version)))
    });
    written.expect("the limits leave room");
}
