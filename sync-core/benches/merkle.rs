//! What the trie and the sketch cost: JSON, one line a figure.
//!
//! `cargo bench -p sync-core --bench merkle -- [sketch] [descent] [speed] [cells..]`; without a name, all of them.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a bench measures wall time")]

use std::time::Instant;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sync_core::cell::{CellId, Hlc, ObjectId, Payload, TypeTag};
use sync_core::codec::Writer;
use sync_core::id::{Dot, NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::merkle::descent::{self, Descent};
use sync_core::merkle::sketch::{Decoded, Decoder, SYMBOLS_KEPT, Sketch};
use sync_core::merkle::{Address, Cells, Fingerprint, Trie};
use sync_core::store::Store;

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
const REPLICA: ReplicaId = ReplicaId([7; 16]);

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|arg| arg == name);
    if wanted("sketch") {
        sketch_symbols();
        sketch_upkeep();
    }
    if wanted("descent") {
        for n in [10_000, 100_000, 1_000_000] {
            [1, 10, 100, 1_000, 10_000].into_iter().for_each(|d| descent_bytes(n, d));
        }
    }
    if wanted("speed") {
        let sizes: Vec<u64> = chosen.iter().filter_map(|arg| arg.parse().ok()).collect();
        let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
        sizes.into_iter().for_each(store_speed);
    }
}

fn line(mark: &str, n: u64, value: f64, unit: &str) {
    println!(r#"{{"mark":"{mark}","n":{n},"value":{value:.2},"unit":"{unit}"}}"#);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Symbols for each of `d` differences, one symbol at a time: mean and 99th percentile over the runs.
fn sketch_symbols() {
    let key = *b"key of the bench";
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    for d in [1u64, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 2_500, 2_800, 2_900, 3_000] {
        let runs = if d < 100 { 2_000 } else { 100 };
        let (mut ratios, mut decode_us, mut failed) = (Vec::new(), Vec::new(), 0);
        for _ in 0..runs {
            let (mut ours, mut theirs) = (Sketch::new(key), Sketch::new(key));
            (0..d).for_each(|_| theirs.toggle(Dot::new(REPLICA, rng.random_range(1..Dot::SEQ_MAX))));
            let (ours, theirs) = (ours.snapshot(), theirs.snapshot());
            let mut decoder = Decoder::new(key, []).expect("nothing is left out");
            let start = Instant::now();
            let decoded = ours.chunks(1).zip(theirs.chunks(1)).find_map(|(ours, theirs)| {
                match decoder.add(ours, theirs).expect("the symbols are honest") {
                    Decoded::Done(_) => Some(decoder.symbols()),
                    Decoded::More => None,
                }
            });
            match decoded {
                Some(symbols) => ratios.push(symbols as f64 / d as f64),
                None => failed += 1,
            }
            decode_us.push(start.elapsed().as_secs_f64() * 1e6);
        }
        ratios.sort_by(f64::total_cmp);
        let mean = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
        let p99 = ratios.get((ratios.len() * 99 / 100).min(ratios.len().saturating_sub(1)));
        line("symbols per difference, mean", d, mean, "symbols");
        line("symbols per difference, p99", d, p99.copied().unwrap_or(f64::NAN), "symbols");
        line("not decoded by the kept symbols", d, f64::from(failed) * 100.0 / f64::from(runs), "%");
        line("decoding, one symbol a run", d, median(decode_us), "us");
    }
}

/// One dot toggled, settled by the bounded list; and one toggled and settled at once.
fn sketch_upkeep() {
    let mut sketch = Sketch::new(*b"key of the bench");
    let start = Instant::now();
    (1..=1_000_000).for_each(|seq| sketch.toggle(Dot::new(REPLICA, seq)));
    sketch.symbols(0..1);
    line("sketch: a change, amortised", 1_000_000, start.elapsed().as_secs_f64() * 1e3, "ns");
    let start = Instant::now();
    for seq in 1..=10_000 {
        sketch.toggle(Dot::new(REPLICA, seq));
        sketch.symbols(0..SYMBOLS_KEPT);
    }
    line("sketch: a change, settled at once", 1_000_000, start.elapsed().as_secs_f64() * 1e5, "ns");
}

struct Bench(Vec<(Address, Fingerprint)>);

impl Cells<u32> for &Bench {
    fn address(&self, cell: u32) -> Address {
        self.0[cell as usize].0
    }

    fn fingerprint(&self, cell: u32) -> Fingerprint {
        self.0[cell as usize].1
    }
}

/// `d` of `n` cells are others on the other side: bytes of all messages, their number, and CPU time.
fn descent_bytes(n: u32, d: u32) {
    let stride = n / d;
    let hash = |word: u32| *blake3::hash(&word.to_le_bytes()).as_bytes();
    let address = |cell: u32| Address(std::array::from_fn(|at| hash(cell)[at]));
    let cells = |version: u32| -> Vec<(Address, Fingerprint)> {
        let differs = |cell: u32| cell.is_multiple_of(stride) && cell / stride < d;
        let content = |cell: u32| if differs(cell) { n * (1 + version) + cell } else { n + cell };
        (0..n).map(|cell| (address(cell), Fingerprint(hash(content(cell))))).collect()
    };
    let (old, new) = (Bench(cells(0)), Bench(cells(1)));
    let (mut ours, mut theirs) = (Trie::default(), Trie::default());
    let before = resident_bytes();
    (0..n).for_each(|cell| ours.insert(cell, &&old));
    if d == 1 {
        line("trie, memory a cell", n.into(), (resident_bytes() - before) / f64::from(n), "bytes");
    }
    (0..n).for_each(|cell| theirs.insert(cell, &&new));
    let (ours, theirs) = (ours.settled(&old), theirs.settled(&new));
    let (mut bytes, mut messages) = (0, 0);
    let mut descent = Descent::new(*b"salt of a bench!");
    let start = Instant::now();
    while let Some(question) = descent.question(&ours, 1_000_000) {
        let mut out = Writer::default();
        question.write(&mut out);
        bytes += out.len();
        let answer = descent::answer(&theirs, &question, 1_000_000);
        let mut out = Writer::default();
        answer.write(&mut out);
        bytes += out.len();
        messages += 2;
        descent.answer(&ours, &answer).expect("the answers are honest");
    }
    let us = start.elapsed().as_secs_f64() * 1e6;
    assert_eq!(descent.differences().count(), d as usize);
    line(&format!("descent, {d} updates, bytes"), n.into(), bytes as f64, "bytes");
    line(&format!("descent, {d} updates, messages"), n.into(), f64::from(messages), "messages");
    line(&format!("descent, {d} updates, both sides"), n.into(), us, "us");
}

/// A set of `n` elements in 100 objects, then writes to random elements.
fn store_speed(n: u64) {
    let limits = Limits::default().with_room(u64::MAX, u64::MAX);
    let mut store = Store::new(NamespaceId([1; 8]), limits);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(n);
    let start = Instant::now();
    (0..n).for_each(|element| write(&mut store, element));
    line("build: a new cell, root not asked for", n, start.elapsed().as_secs_f64() * 1e9 / n as f64, "ns");
    let start = Instant::now();
    store.root();
    line("first root, a cell", n, start.elapsed().as_secs_f64() * 1e9 / n as f64, "ns");

    let (mut writes, mut roots) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let element = rng.random_range(0..n);
        let start = Instant::now();
        write(&mut store, element);
        writes.push(start.elapsed().as_secs_f64() * 1e9);
        let start = Instant::now();
        std::hint::black_box(store.root());
        roots.push(start.elapsed().as_secs_f64() * 1e9);
    }
    line("a write, root not asked for", n, median(writes), "ns");
    line("root after one write", n, median(roots), "ns");

    let (mut amortised, mut cpu) = (Vec::new(), 0.0);
    for _ in 0..60 {
        (0..1_000).for_each(|_| write(&mut store, rng.random_range(0..n)));
        let (start, start_cpu) = (Instant::now(), cpu_ns());
        std::hint::black_box(store.root());
        amortised.push(start.elapsed().as_secs_f64() * 1e9 / 1_000.0);
        cpu += (cpu_ns() - start_cpu) / 60_000.0;
    }
    let least = amortised.iter().copied().fold(f64::MAX, f64::min);
    line("root after 1,000 writes, a write, least", n, least, "ns");
    line("root after 1,000 writes, a write, median", n, median(amortised), "ns");
    line("root after 1,000 writes, a write, thread time", n, cpu, "ns");
}

/// Resident memory of the process; 0 where the system does not tell.
fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4_096.0
}

/// Time that this thread has run, in ns; a tick coarse, so only sums mean something. 0 where the system
/// does not tell.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn write(store: &mut Store, element: u64) {
    let object = ObjectId::new(format!("set/{:03}", element % 100).as_str(), TypeTag::OR_SET);
    let cell = CellId::new(object, format!("element {element:08}").as_bytes());
    let kills: Vec<Dot> = store.items_of(&cell).iter().map(|item| item.dot).collect();
    let next = store.context().get(REPLICA) + 1;
    let mut group = store.group(REPLICA, OwnerId([0; 16]), next, Hlc(next));
    group.write(cell, Payload::from(&b"a value of 16 by"[..]), &kills).expect("the limits are off");
    group.commit();
}
