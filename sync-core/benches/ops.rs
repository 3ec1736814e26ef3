//! One operation each, by criterion: statistics over many runs, and a comparison with the run before.
//!
//! `cargo bench -p sync-core --bench ops -- [FILTER]`; figures are kept as JSON below `target/criterion`. Ratios to a floor are in
//! `local`, those to other engines in `tests/marks`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use sync_core::causal::DotSet;
use sync_core::cell::Hlc;
use sync_core::fragment::Fragment;
use sync_core::id::{Dot, NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Learned, Store};
use sync_core::types::{lww_map, or_set, pn_counter};

const OURS: ReplicaId = ReplicaId([7; 16]);
const THEIRS: ReplicaId = ReplicaId([9; 16]);
const SIZES: [u64; 2] = [10_000, 100_000];
const VALUE: [u8; 32] = [3; 32];

fn write(store: &mut Store, replica: ReplicaId, fill: impl FnOnce(&mut Group<'_>)) {
    let next = store.context().get(replica) + 1;
    let mut group = store.group(replica, OwnerId(replica.0), next, Hlc(next));
    fill(&mut group);
    black_box(group.commit());
}

fn element(index: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// A set and a map of `n` entries, and a counter.
fn filled(n: u64) -> Store {
    let mut store = Store::new(NamespaceId([1; 8]), Limits::default().with_room(u64::MAX, u64::MAX));
    for index in 0..n {
        write(&mut store, OURS, |group| {
            or_set::add(group, "s", &element(index)).expect("room");
            lww_map::put(group, "m", &element(index), &VALUE).expect("room");
        });
    }
    write(&mut store, OURS, |group| pn_counter::add(group, "c", 1).expect("room"));
    store
}

fn writes(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    for n in SIZES {
        let (mut store, mut at) = (filled(n), n);
        group.bench_function(BenchmarkId::new("add a new element", n), |b| {
            b.iter(|| {
                at += 1;
                write(&mut store, OURS, |group| or_set::add(group, "s", &element(at)).expect("room"));
            });
        });
        group.bench_function(BenchmarkId::new("put a present field", n), |b| {
            b.iter(|| {
                at += 1;
                let field = element(at % n);
                write(&mut store, OURS, |group| lww_map::put(group, "m", &field, &VALUE).expect("room"));
            });
        });
        group.bench_function(BenchmarkId::new("count", n), |b| {
            b.iter(|| write(&mut store, OURS, |group| pn_counter::add(group, "c", 1).expect("room")));
        });
        group.bench_function(BenchmarkId::new("put a present field, and the root", n), |b| {
            b.iter(|| {
                at += 1;
                let field = element(at % n);
                write(&mut store, OURS, |group| lww_map::put(group, "m", &field, &VALUE).expect("room"));
                black_box(store.root())
            });
        });
    }
}

fn reads(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    for n in SIZES {
        let (store, mut at) = (filled(n), 0);
        let mut next = move || {
            at += 7_919;
            element(at % n)
        };
        group.bench_function(BenchmarkId::new("contains", n), |b| {
            b.iter(|| black_box(or_set::contains(&store, "s", &next())));
        });
        group.bench_function(BenchmarkId::new("get", n), |b| {
            b.iter(|| black_box(lww_map::get(&store, "m", &next()).map(|value| value.len())));
        });
        group.bench_function(BenchmarkId::new("counter", n), |b| {
            b.iter(|| black_box(pn_counter::value(&store, "c")));
        });
    }
}

/// What another replica wrote on top of `base`: 100 entries, half of them there before.
fn delta(base: &Store, n: u64) -> Fragment {
    let mut theirs = base.clone();
    for at in 0..100 {
        let element = element(if at % 2 == 0 { at * (n / 100) } else { n + at });
        write(&mut theirs, THEIRS, |group| or_set::add(group, "s", &element).expect("room"));
    }
    let dots: DotSet = (1..=100).map(|seq| Dot::new(THEIRS, seq)).collect();
    theirs.push_fragment(dots)
}

fn joins(c: &mut Criterion) {
    let mut group = c.benchmark_group("join");
    group.sample_size(20);
    for n in [1_000, 10_000] {
        let store = filled(n);
        let fragment = delta(&store, n);
        let learned = Learned { own: OURS, own_minted: n + 1, from: Some(THEIRS) };
        group.bench_function(BenchmarkId::new("100 entries", n), |b| {
            let join = |mut store: Store| {
                black_box(store.join(&fragment, learned).expect("it follows"));
                store
            };
            b.iter_batched(|| store.clone(), join, BatchSize::LargeInput);
        });
    }
}

criterion_group!(ops, writes, reads, joins);
criterion_main!(ops);
