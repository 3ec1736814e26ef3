//! Random histories against the `crdts` crate: its `Orswot`, `PNCounter`, `GCounter`, `GSet`, `MVReg` and `LWWReg`
//! are the oracles.
//!
//! Three real nodes exchange frames over wires that lose, repeat and reorder them. Beside each node lives
//! an oracle replica to which the same operations are applied. Every transfer of ours has the effect of a
//! full-state join, so each frame carries a snapshot of the sender's oracle, and a receiver whose context
//! came to cover the sender's merges that snapshot. Where the two disagree, one of them is wrong.

use std::collections::{BTreeMap, BTreeSet};

use crdts::{CmRDT, CvRDT, GCounter, GSet, LWWReg, MVReg, Orswot, PNCounter, ResetRemove, VClock};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sync_core::causal::CausalContext;
use sync_core::cell::Hlc;
use sync_core::id::Dot;
use sync_core::limits::Limits;
use sync_core::time::Span;
use sync_core::types::{g_counter, grow_set, lww_register, mv_register, or_set, pn_counter};
use sync_tests::Cluster;

const NODES: u8 = 3;
const SEEDS: u64 = 400;
const ELEMENTS: u8 = 5;

/// A frame under way, with what its sender knew and held when it was sent.
struct InFlight<O> {
    from: u8,
    to: u8,
    bytes: Vec<u8>,
    context: CausalContext,
    oracle: O,
}

/// A cluster on bad wires, with an oracle replica beside each node.
struct Trial<O> {
    cluster: Cluster,
    oracles: Vec<O>,
    under_way: Vec<InFlight<O>>,
    rng: Xoshiro256PlusPlus,
    joins: u64,
}

impl<O: CvRDT + Clone + Default> Trial<O> {
    fn new(seed: u64) -> Self {
        let limits =
            Limits { records_max: if seed.is_multiple_of(4) { 2 } else { 1_000 }, ..Limits::default() };
        Self {
            cluster: Cluster::new(NODES, &limits),
            oracles: vec![O::default(); usize::from(NODES)],
            under_way: Vec::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            joins: 0,
        }
    }

    fn ends(&mut self) -> (u8, u8) {
        let from = self.rng.random_range(0..NODES);
        (from, (from + self.rng.random_range(1..NODES)) % NODES)
    }

    /// Moves what the nodes have sent onto the bad wires, with the state that it shows.
    fn collect(&mut self) {
        for (from, to) in (0..NODES).flat_map(|a| (0..NODES).map(move |b| (a, b))) {
            for bytes in self.cluster.take(from, to) {
                let context = self.cluster.store(from).context().clone();
                let oracle = self.oracles[usize::from(from)].clone();
                self.under_way.push(InFlight { from, to, bytes, context, oracle });
            }
        }
    }

    /// Loses, repeats or delivers a frame drawn from all under way.
    fn wire_step(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.under_way.len());
        let dice = self.rng.random_range(0..100);
        if dice < 20 {
            self.under_way.swap_remove(at);
            return;
        }
        let frame = &self.under_way[at];
        let (from, to, bytes) = (frame.from, frame.to, frame.bytes.clone());
        let (context, oracle) = (frame.context.clone(), frame.oracle.clone());
        if dice < 85 {
            self.under_way.swap_remove(at);
        }
        let before = self.cluster.store(to).context().clone();
        self.cluster.deliver(from, to, &bytes);
        if self.cluster.store(to).context().covers(&context) {
            self.joins += u64::from(!before.covers(&context));
            self.oracles[usize::from(to)].merge(oracle);
        }
        // Only now: an answer built after the join shows a state that holds what was joined.
        self.collect();
    }

    /// Runs the history, then lets every node catch up on good wires; `compare` judges each step.
    fn run(&mut self, mut operate: impl FnMut(&mut Self, u8), compare: impl Fn(&Self, u8)) {
        for _ in 0..400 {
            let (node, _) = self.ends();
            match self.rng.random_range(0..10) {
                0..3 => operate(self, node),
                3..9 => self.wire_step(),
                _ => {
                    self.cluster.sleep(Span::from_millis(400));
                    self.cluster.input(node, sync_core::node::Input::SyncNow);
                }
            }
            self.collect();
            (0..NODES).for_each(|node| compare(self, node));
        }
        self.under_way.clear();
        for _ in 0..3 {
            for node in 0..NODES {
                self.cluster.sleep(Span::from_secs(6));
                self.cluster.input(node, sync_core::node::Input::SyncNow);
            }
            self.cluster.advance(Span::from_secs(12));
        }
        let all = self.oracles.iter().cloned().reduce(|mut sum, next| {
            sum.merge(next);
            sum
        });
        self.oracles.fill(all.expect("there are nodes"));
        assert!(self.cluster.is_converged(), "good wires bring all nodes together");
        (0..NODES).for_each(|node| compare(self, node));
    }
}

#[test]
fn the_set_agrees_with_orswot_under_loss_duplication_and_reordering() {
    let mut joins = 0;
    for seed in 0..SEEDS {
        let mut trial: Trial<Orswot<u8, u8>> = Trial::new(seed);
        let operate = |trial: &mut Trial<Orswot<u8, u8>>, node: u8| {
            let element = trial.rng.random_range(0..ELEMENTS);
            let oracle = &mut trial.oracles[usize::from(node)];
            if trial.rng.random_bool(0.6) {
                let context = oracle.read_ctx().derive_add_ctx(node);
                let add = oracle.add(element, context);
                oracle.apply(add);
                trial.cluster.write(node, |group| or_set::add(group, "set", &[element]));
            } else {
                let read = oracle.contains(&element);
                let present = read.val;
                let remove = oracle.rm(element, read.derive_rm_ctx());
                oracle.apply(remove);
                let removed = trial.cluster.write(node, |group| or_set::remove(group, "set", &[element]));
                assert_eq!(removed, present, "seed {seed}");
            }
        };
        trial.run(operate, |trial, node| {
            let store = trial.cluster.store(node);
            let ours: BTreeSet<u8> = or_set::elements(store, "set").map(|element| element[0]).collect();
            let theirs: BTreeSet<u8> = trial.oracles[usize::from(node)].read().val.into_iter().collect();
            assert_eq!(ours, theirs, "seed {seed}, node {node}");
        });
        joins += trial.joins;
    }
    println!("{SEEDS} histories, {joins} joins that taught something");
    assert!(joins > SEEDS * 10, "histories without joins say nothing");
}

#[test]
fn the_counter_agrees_with_pncounter_under_loss_duplication_and_reordering() {
    for seed in 0..SEEDS {
        let mut trial: Trial<PNCounter<u8>> = Trial::new(seed);
        let operate = |trial: &mut Trial<PNCounter<u8>>, node: u8| {
            let by = trial.rng.random_range(1..=9);
            let down = trial.rng.random_bool(0.4);
            let oracle = &mut trial.oracles[usize::from(node)];
            let step = if down { oracle.dec_many(node, by) } else { oracle.inc_many(node, by) };
            oracle.apply(step);
            let by = i64::try_from(by).unwrap() * if down { -1 } else { 1 };
            trial.cluster.write(node, |group| pn_counter::add(group, "counter", by));
        };
        trial.run(operate, |trial, node| {
            let ours = pn_counter::value(trial.cluster.store(node), "counter").unwrap_or(0);
            let theirs = trial.oracles[usize::from(node)].read();
            assert_eq!(ours.to_string(), theirs.to_string(), "seed {seed}, node {node}");
        });
    }
}

#[test]
fn the_growing_counter_agrees_with_gcounter() {
    for seed in 0..SEEDS {
        let mut trial: Trial<GCounter<u8>> = Trial::new(seed);
        let operate = |trial: &mut Trial<GCounter<u8>>, node: u8| {
            let by = trial.rng.random_range(1..=9);
            let oracle = &mut trial.oracles[usize::from(node)];
            let step = oracle.inc_many(node, by);
            oracle.apply(step);
            trial.cluster.write(node, |group| g_counter::add(group, "counter", by));
        };
        trial.run(operate, |trial, node| {
            let ours = g_counter::value(trial.cluster.store(node), "counter").unwrap_or(0);
            let theirs = trial.oracles[usize::from(node)].read();
            assert_eq!(ours.to_string(), theirs.to_string(), "seed {seed}, node {node}");
        });
    }
}

#[test]
fn the_growing_set_agrees_with_gset() {
    for seed in 0..SEEDS {
        let mut trial: Trial<GSet<u8>> = Trial::new(seed);
        let operate = |trial: &mut Trial<GSet<u8>>, node: u8| {
            let element = trial.rng.random();
            trial.oracles[usize::from(node)].insert(element);
            trial.cluster.write(node, |group| grow_set::add(group, "set", &[element]));
        };
        trial.run(operate, |trial, node| {
            let store = trial.cluster.store(node);
            let ours: BTreeSet<u8> = grow_set::elements(store, "set").map(|element| element[0]).collect();
            assert_eq!(ours, trial.oracles[usize::from(node)].read(), "seed {seed}, node {node}");
        });
    }
}

#[test]
fn the_register_of_all_concurrent_values_agrees_with_mvreg() {
    let mut conflicts = 0;
    for seed in 0..SEEDS {
        let mut trial: Trial<MVReg<u16, u8>> = Trial::new(seed);
        let operate = |trial: &mut Trial<MVReg<u16, u8>>, node: u8| {
            let value: u16 = trial.rng.random();
            let oracle = &mut trial.oracles[usize::from(node)];
            let context = oracle.read_ctx().derive_add_ctx(node);
            let write = oracle.write(value, context);
            oracle.apply(write);
            trial.cluster.write(node, |group| mv_register::set(group, "reg", &value.to_be_bytes()));
            let shown = mv_register::values(trial.cluster.store(node), "reg");
            assert_eq!(shown, [value.to_be_bytes()], "a write ends what it saw");
        };
        let shown = std::cell::Cell::new(0);
        trial.run(operate, |trial, node| {
            let ours: Vec<Vec<u8>> = mv_register::values(trial.cluster.store(node), "reg")
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            let read = trial.oracles[usize::from(node)].read().val;
            let theirs: BTreeSet<u16> = read.into_iter().collect();
            let theirs: Vec<Vec<u8>> = theirs.iter().map(|value| value.to_be_bytes().to_vec()).collect();
            shown.set(shown.get().max(ours.len()));
            assert_eq!(ours, theirs, "seed {seed}, node {node}");
        });
        conflicts += u64::from(shown.get() > 1);
    }
    assert!(conflicts > SEEDS / 2, "most histories must show concurrent values at some time");
}

/// `LWWReg` asks for a marker that grows with causality and is never used twice: the reading of the hybrid clock
/// and the dot of the write are one.
type Marker = (u64, Option<Dot>);

#[test]
fn the_register_of_the_last_write_agrees_with_lwwreg() {
    for seed in 0..SEEDS {
        let mut trial: Trial<LWWReg<u16, Marker>> = Trial::new(seed);
        let operate = |trial: &mut Trial<LWWReg<u16, Marker>>, node: u8| {
            let value: u16 = trial.rng.random();
            let marker = trial.cluster.write(node, |group| {
                let marker = (group.hlc().0, Some(group.next_dot()));
                lww_register::set(group, "reg", &value.to_be_bytes()).map(|()| marker)
            });
            trial.oracles[usize::from(node)].update(value, marker);
        };
        trial.run(operate, |trial, node| {
            let ours = lww_register::get(trial.cluster.store(node), "reg").map(<[u8]>::to_vec);
            let theirs = &trial.oracles[usize::from(node)];
            let theirs = theirs.marker.1.map(|_| theirs.val.to_be_bytes().to_vec());
            assert_eq!(ours, theirs, "seed {seed}, node {node}");
        });
    }
}

#[test]
fn a_reset_counter_of_the_oracle_comes_back_and_ours_does_not() {
    let mut theirs = [GCounter::<u8>::new(), GCounter::new()];
    let step = theirs[0].inc_many(0, 5);
    theirs[0].apply(step);
    theirs[1].merge(theirs[0].clone());
    theirs[1].reset_remove(&VClock::from(crdts::Dot::new(0, 5)));
    assert_eq!(theirs[1].read().to_string(), "0");
    let step = theirs[0].inc_many(0, 2);
    theirs[0].apply(step);
    theirs[1].merge(theirs[0].clone());
    assert_eq!(theirs[1].read().to_string(), "7", "the counts that were reset came back");

    let mut ours = Cluster::new(2, &Limits::default());
    ours.write(0, |group| g_counter::add(group, "c", 5));
    ours.settle();
    ours.write(1, |group| g_counter::reset(group, "c"));
    ours.write(0, |group| g_counter::add(group, "c", 2));
    ours.settle();
    assert_eq!([0, 1].map(|node| g_counter::value(ours.store(node), "c")), [Some(2); 2]);
}

#[test]
fn a_clock_that_is_ahead_wins_for_ever_in_the_oracle_and_only_against_the_unseen_here() {
    let mut theirs = LWWReg { val: "far ahead", marker: 1_000 };
    theirs.update("after it", 10);
    assert_eq!(theirs.val, "far ahead");
    let mut twin = LWWReg { val: "twin", marker: 1_000 };
    twin.merge(theirs.clone());
    theirs.merge(LWWReg { val: "twin", marker: 1_000 });
    assert_ne!(twin.val, theirs.val, "equal markers: each keeps its own");

    let mut store = sync_core::store::Store::new(sync_tests::namespace(), Limits::default());
    let owner = sync_core::id::OwnerId([1; 16]);
    for (life, clock, value) in [(0, 1_000, "far ahead"), (1, 10, "after it")] {
        let mut group = store.group(sync_tests::replica(life, 0), owner, 1, Hlc(clock));
        lww_register::set(&mut group, "r", value.as_bytes()).expect("there is room");
        group.commit();
    }
    assert_eq!(lww_register::get(&store, "r"), Some(&b"after it"[..]));
}

/// A counter with observed reset by its definition: a sum over all increments known, less those that a
/// known reset had seen. `PNCounter` has no reset, so this oracle is our own, and says it in four lines.
#[derive(Clone, Debug, Default)]
struct Increments {
    made: BTreeMap<(u8, u64), i64>,
    reset: BTreeSet<(u8, u64)>,
}

impl Increments {
    fn value(&self) -> i64 {
        self.made.iter().filter(|(id, _)| !self.reset.contains(id)).map(|(_, by)| by).sum()
    }
}

impl CvRDT for Increments {
    type Validation = std::convert::Infallible;

    fn validate_merge(&self, _other: &Self) -> Result<(), Self::Validation> {
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.made.extend(other.made);
        self.reset.extend(other.reset);
    }
}

#[test]
fn a_reset_takes_back_exactly_the_increments_it_saw() {
    let mut concurrent = 0;
    for seed in 0..SEEDS {
        let mut trial: Trial<Increments> = Trial::new(seed);
        let mut made = 0;
        let operate = |trial: &mut Trial<Increments>, node: u8| {
            made += 1;
            let oracle = &mut trial.oracles[usize::from(node)];
            if trial.rng.random_bool(0.75) {
                let by = trial.rng.random_range(-9..=9);
                oracle.made.insert((node, made), by);
                trial.cluster.write(node, |group| pn_counter::add(group, "counter", by));
            } else {
                oracle.reset.extend(oracle.made.keys().copied().collect::<Vec<_>>());
                trial.cluster.write(node, |group| pn_counter::reset(group, "counter"));
            }
        };
        trial.run(operate, |trial, node| {
            let ours = pn_counter::value(trial.cluster.store(node), "counter").unwrap_or(0);
            assert_eq!(
                ours,
                i128::from(trial.oracles[usize::from(node)].value()),
                "seed {seed}, node {node}"
            );
        });
        let oracle = &trial.oracles[0];
        concurrent +=
            u64::from(oracle.made.keys().any(|id| !oracle.reset.contains(id)) && !oracle.reset.is_empty());
    }
    assert!(concurrent > SEEDS / 2, "most histories must hold increments that some reset had not seen");
}
