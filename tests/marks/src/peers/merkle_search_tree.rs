//! merkle-search-tree: the crate's protocol ships the ranges of all pages.
//!
//! A sends its root; B, if it differs, all its page ranges; A answers with the key ranges that differ; B
//! sends its entries in those. A page range is counted as two keys and a 16-byte hash. The crate's key
//! ranges are far wider than the changes (seen and not traced), so most of the entries are equal: that is
//! what its protocol costs, because nothing finer says which differ.

use merkle_search_tree::MerkleSearchTree as Tree;
use merkle_search_tree::diff::diff;

use super::{Outcome, Peer};
use crate::data::{Key, Scenario, Value, key, value};
use crate::measure::{Lap, median_lap, timed};

const HASH: u64 = 16;
const RANGE: u64 = 2 * 16;
const ENTRY: u64 = 16 + 32;

pub struct MerkleSearchTree;

impl Peer for MerkleSearchTree {
    fn name(&self) -> &'static str {
        "merkle-search-tree 0.8.0"
    }

    fn carries_values(&self) -> bool {
        true
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let mut sides = scenario.sides();
        sides[1].sort_unstable();
        let [mut a, mut b] = sides.each_ref().map(|entries| tree(entries));
        let roots = [a.root_hash().clone(), b.root_hash().clone()];
        let theirs = &sides[1];
        let mut laps = Vec::new();
        let mut counted = (HASH + 1, 2);
        for _ in 0..runs {
            let (found, lap) = timed(|| {
                if roots[0] == roots[1] {
                    return None;
                }
                let pages = b.serialise_page_ranges().expect("the root was just made");
                let count = pages.len() as u64;
                let ours = a.serialise_page_ranges().expect("the root was just made");
                let differing = diff(ours, pages);
                let within = differing.iter().map(|range| {
                    let from = theirs.partition_point(|(key, _)| key < range.start());
                    theirs.partition_point(|(key, _)| key <= range.end()) - from
                });
                Some((count, differing.len() as u64, within.sum::<usize>() as u64))
            });
            assert_eq!(found.is_some(), scenario.d > 0);
            if let Some((pages, ranges, entries)) = found {
                // What A changed goes the other way, and nothing else does.
                let back = scenario.by_a().len() as u64;
                let bytes = pages * (RANGE + HASH) + ranges * RANGE + (entries + back) * ENTRY;
                counted = (HASH + 1 + bytes, 4);
            }
            laps.push(lap);
        }
        Outcome { bytes: counted.0, messages: counted.1, lap: median_lap(&laps) }
    }
}

fn tree(entries: &[(Key, Value)]) -> Tree<Key, Value> {
    let mut tree = Tree::default();
    entries.iter().for_each(|(key, value)| tree.upsert(*key, value));
    tree.root_hash();
    tree
}

/// What an update and a root take in a tree of `n`: of one, and a piece of `batch` with one root.
pub fn update_cost(n: usize, batch: usize) -> [Lap; 2] {
    let entries: Vec<_> = (0..n).map(|index| (key(index), value(index, 0))).collect();
    let mut tree = tree(&entries);
    let mut next = 0..n;
    let mut one = Vec::new();
    for _ in 0..101 {
        let index = next.next().expect("n is large");
        let (key, value) = (key(index), value(index, 1));
        one.push(
            timed(|| {
                tree.upsert(key, &value);
                tree.root_hash();
            })
            .1,
        );
    }
    let mut many = Vec::new();
    for _ in 0..5 {
        let changes: Vec<_> = next.by_ref().take(batch).map(|index| (key(index), value(index, 1))).collect();
        many.push(
            timed(|| {
                changes.iter().for_each(|(key, value)| tree.upsert(*key, value));
                tree.root_hash();
            })
            .1,
        );
    }
    let many = median_lap(&many);
    let share = |span: std::time::Duration| span / u32::try_from(batch).expect("a small number");
    [median_lap(&one), Lap { time: share(many.time), cpu: share(many.cpu) }]
}
