//! rbsr over rsos: what `reconcile` 0.5 runs, without its sockets.
//!
//! Range fingerprints of 256 bits over a tree map, refined with the crate's default policy. Messages are
//! counted as postcard of the ranges. For a range that is to be enumerated, `reconcile` sends all its
//! entries; here a 32-byte id an entry is charged, and the report adds the entries that differ.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rbsr::{EnumerationRange, RangeAggregate, initial_ranges, protocol_round};
use rsos::FingerprintTreeMap as Map;

use super::{Outcome, Peer};
use crate::data::{Key, Scenario, Value, key, value};
use crate::measure::{Lap, median_lap, timed};

const ID: u64 = 32;

pub struct Rbsr;

impl Peer for Rbsr {
    fn name(&self) -> &'static str {
        "reconcile 0.5 (rbsr 0.2.3 over rsos 0.5.3)"
    }

    fn carries_values(&self) -> bool {
        false
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let [a, b] = scenario.sides().map(map);
        let mut laps = Vec::new();
        let mut counted = (0, 0);
        for _ in 0..runs {
            let (outcome, lap) = timed(|| exchange([&a, &b]));
            counted = outcome;
            laps.push(lap);
        }
        Outcome { bytes: counted.0, messages: counted.1, lap: median_lap(&laps) }
    }
}

fn map(mut entries: Vec<(Key, Value)>) -> Map<Key, Value> {
    entries.sort_unstable();
    Map::from_sorted_iter(entries)
}

fn exchange(sides: [&Map<Key, Value>; 2]) -> (u64, u32) {
    let mut rng = StdRng::seed_from_u64(7);
    let mut message = initial_ranges(sides[0]);
    let (mut bytes, mut messages) = (size(&message), 1);
    for turn in 1.. {
        let local = sides[turn % 2];
        let (mut children, mut listed) = (Vec::new(), Vec::new());
        protocol_round(local, message, &mut children, &mut listed, &mut rng);
        let ids: u64 = listed.iter().map(|range| count(local, range) * ID).sum();
        if children.is_empty() && ids == 0 {
            // The answer that says "equal": one empty list.
            return (bytes + 1, messages + 1);
        }
        bytes += size(&children) + ids;
        messages += 1;
        if children.is_empty() {
            return (bytes, messages);
        }
        message = children;
    }
    unreachable!("an exchange ends")
}

fn size(message: &[RangeAggregate<Key>]) -> u64 {
    postcard::to_stdvec(message).expect("ranges have bytes").len() as u64
}

fn count(map: &Map<Key, Value>, range: &EnumerationRange<Key>) -> u64 {
    map.aggregate(*range).size() as u64
}

/// What an update of a map of `n` takes; its root is always ready.
pub fn update_cost(n: usize) -> Lap {
    let mut map = map((0..n).map(|index| (key(index), value(index, 0))).collect());
    let mut laps = Vec::new();
    for index in 0..1_001.min(n) {
        let (key, value) = (key(index), value(index, 1));
        laps.push(
            timed(|| {
                map.insert(key, value);
                std::hint::black_box(map.aggregate(..));
            })
            .1,
        );
    }
    median_lap(&laps)
}
