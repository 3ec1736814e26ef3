//! What one replica pays for a write, a read and a small join, beside a floor: JSON, one line a figure.
//!
//! `cargo bench -p sync-core --bench local -- [writes] [joins] [counters] [cells..]`; without a name, all of them. The floor of a write is what no engine can leave out: a hash
//! map updated, an entry appended to a log, the delta encoded by postcard. Figures are medians of several passes;
//! floor and engine take turns in each.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a bench measures wall time")]

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::time::Instant;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sync_core::causal::{CausalContext, DotSet};
use sync_core::cell::{Hlc, TypeTag};
use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Learned, Store};
use sync_core::types::{lww_map, or_set, pn_counter};

const OURS: ReplicaId = ReplicaId([7; 16]);
const THEIRS: ReplicaId = ReplicaId([9; 16]);
const PASSES: usize = 9;
const OPS: usize = 4_000;
const LOG_MAX: usize = 65_536;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let chosen: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let is_any = args.len() == chosen.len();
    let wanted = |name: &str| is_any || args.iter().any(|arg| arg == name);
    let sizes = if chosen.is_empty() { vec![10_000, 100_000, 1_000_000] } else { chosen };
    for n in sizes {
        if wanted("writes") {
            writes_and_reads(n);
        }
        if wanted("joins") {
            joins(n);
        }
    }
    if wanted("counters") {
        counters();
    }
}

fn line(mark: &str, n: usize, value: f64, unit: &str) {
    println!(r#"{{"mark":"{mark}","n":{n},"value":{value:.2},"unit":"{unit}"}}"#);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn store() -> Store {
    let max = u64::MAX;
    let limits = Limits::default().with_room(max, max);
    Store::new(NamespaceId([1; 8]), limits)
}

fn write(store: &mut Store, replica: ReplicaId, fill: impl FnOnce(&mut Group<'_>)) {
    let next = store.context().get(replica) + 1;
    let mut group = store.group(replica, OwnerId(replica.0), next, Hlc(next));
    fill(&mut group);
    black_box(group.commit());
}

fn element(index: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

const VALUE: [u8; 32] = [3; 32];

/// The floor: a map, a log, postcard.
#[derive(Default)]
struct Floor {
    map: HashMap<[u8; 16], (u64, u64, [u8; 32])>,
    log: VecDeque<([u8; 16], u64)>,
    seq: u64,
    bytes: Vec<u8>,
}

impl Floor {
    fn write(&mut self, element: [u8; 16], value: &[u8]) {
        self.seq += 1;
        let mut stored = [0; 32];
        stored[..value.len()].copy_from_slice(value);
        self.map.insert(element, (self.seq, self.seq, stored));
        self.log.push_back((OURS.0, self.seq));
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
        self.bytes.clear();
        let delta = (OURS.0, self.seq, self.seq, &element[..], value);
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = black_box(postcard::to_extend(&delta, bytes).expect("it has bytes"));
    }
}

/// Runs all `steps` in each pass and gives the median of each in ns an operation.
fn timed<const N: usize>(mut steps: [&mut dyn FnMut(usize); N]) -> [f64; N] {
    let mut spans = [const { Vec::new() }; N];
    for pass in 0..PASSES {
        for (step, spans) in steps.iter_mut().zip(&mut spans) {
            let start = Instant::now();
            (0..OPS).for_each(|at| step(pass * OPS + at));
            spans.push(start.elapsed().as_secs_f64() * 1e9 / OPS as f64);
        }
    }
    spans.map(|mut spans| median(&mut spans))
}

fn beside(mark: &str, n: usize, [floor, ours]: [f64; 2]) {
    line(&format!("{mark}, floor"), n, floor, "ns");
    line(mark, n, ours, "ns");
    line(&format!("{mark}, ratio"), n, ours / floor, "of 1");
}

fn writes_and_reads(n: usize) {
    let (mut set, mut map, mut floor) = (store(), store(), Floor::default());
    for index in 0..n {
        write(&mut set, OURS, |group| or_set::add(group, "s", &element(index)).expect("room"));
        write(&mut map, OURS, |group| lww_map::put(group, "m", &element(index), &VALUE).expect("room"));
        floor.write(element(index), &VALUE);
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let order: Vec<usize> = (0..PASSES * OPS).map(|_| rng.random_range(0..n)).collect();

    let mut lookup = |at: usize| _ = black_box(floor.map.contains_key(&element(order[at])));
    let mut contains = |at: usize| _ = black_box(or_set::contains(&set, "s", &element(order[at])));
    beside("contains", n, timed([&mut lookup, &mut contains]));
    let mut decoded =
        |at: usize| _ = black_box(floor.map.get(&element(order[at])).map(|(.., value)| decode(value)));
    let mut read = |at: usize| _ = black_box(lww_map::get(&map, "m", &element(order[at])).map(decode));
    beside("typed read", n, timed([&mut decoded, &mut read]));

    let mut other = Floor { map: floor.map.clone(), ..Floor::default() };
    let mut bare = |at: usize| other.write(element(n + at), &[]);
    let mut add = |at: usize| {
        write(&mut set, OURS, |group| or_set::add(group, "s", &element(n + at)).expect("room"));
    };
    beside("add of a new element", n, timed([&mut bare, &mut add]));
    let mut bare = |at: usize| other.write(element(order[at]), &[]);
    let mut add = |at: usize| {
        write(&mut set, OURS, |group| or_set::add(group, "s", &element(order[at])).expect("room"));
    };
    beside("add of a present element", n, timed([&mut bare, &mut add]));
    let mut bare = |at: usize| floor.write(element(order[at]), &VALUE);
    let mut put = |at: usize| {
        write(&mut map, OURS, |group| lww_map::put(group, "m", &element(order[at]), &VALUE).expect("room"));
    };
    beside("put of a present field", n, timed([&mut bare, &mut put]));
}

fn decode(bytes: &[u8]) -> u64 {
    let word = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    word ^ bytes.len() as u64
}

fn counters() {
    let mut store = store();
    let mut floor = Floor::default();
    let key = |at: usize| format!("counter/{}", at % 64);
    let mut bare = |at: usize| floor.write(element(at % 64), &VALUE);
    let mut add = |at: usize| {
        let key = key(at);
        write(&mut store, OURS, |group| pn_counter::add(group, &key, 1).expect("room"));
    };
    beside("counter add", 64, timed([&mut bare, &mut add]));
}

/// A delta of 100 entries of another replica into `n` cells, half of them overwrites.
fn joins(n: usize) {
    let mut ours = store();
    for index in 0..n {
        write(&mut ours, OURS, |group| or_set::add(group, "s", &element(index)).expect("room"));
    }
    let mut theirs = ours.clone();
    let mut spans = Vec::new();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    for round in 0..200 {
        let known: CausalContext = theirs.context().clone();
        let mut dots = DotSet::default();
        for at in 0..100 {
            let index = if at % 2 == 0 { rng.random_range(0..n) } else { n + round * 100 + at };
            let seen = theirs.items("s", TypeTag::OR_SET, &element(index));
            seen.iter().for_each(|item| dots.insert(item.dot));
            write(&mut theirs, THEIRS, |group| or_set::add(group, "s", &element(index)).expect("room"));
        }
        dots.union(&theirs.context().minus(&known));
        let fragment = theirs.push_fragment(dots);
        let learned = Learned { own: OURS, own_minted: n as u64, from: Some(THEIRS) };
        let start = Instant::now();
        black_box(ours.join(&fragment, learned).expect("it follows"));
        spans.push(start.elapsed().as_secs_f64() * 1e6);
    }
    line("join of 100 entries", n, median(&mut spans), "us");
}
