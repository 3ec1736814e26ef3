//! Watches against what a reader sees: at every step of random histories of every type, the changes applied to
//! the snapshot are the state, and a context alone tells what may read otherwise since it.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sync_core::causal::CausalContext;
use sync_core::cell::PathRange;
use sync_core::limits::Limits;
use sync_core::node::{Cause, Changed, Event, Node, Output};
use sync_core::store::{Conflict, Store, Untold};
use sync_core::time::WallMillis;
use sync_core::types::reading::{Place, Reading};
use sync_core::types::{disable_flag, lww_map, lww_register, mv_register, or_set, rw_set};
use sync_tests::lab::{Lab, Mix, TYPES};
use sync_tests::{Cluster, namespace, node_id};

type Readings = BTreeMap<Place, Reading>;

fn readings(store: &Store) -> Readings {
    store.readings("").collect()
}

/// What a watcher holds that has seen `context`.
#[derive(Clone)]
struct Seen {
    context: CausalContext,
    horizon: WallMillis,
    held: Readings,
}

impl Seen {
    fn of(store: &Store) -> Self {
        Self { context: store.context().clone(), horizon: store.horizon(), held: readings(store) }
    }

    /// Goes on at `store`, by what the context tells there.
    fn go_on(&mut self, store: &Store) -> Result<(), Untold> {
        let touched = store.touched_since(&self.context, self.horizon)?;
        let in_range =
            |range: &PathRange, place: &Place| range.object == place.object && range.contains(&place.path);
        let within = |place: &Place| {
            touched.places.contains(place) || touched.ranges.iter().any(|range| in_range(range, place))
        };
        self.held.retain(|place, _| !within(place));
        self.held.extend(readings(store).into_iter().filter(|(place, _)| within(place)));
        (self.context, self.horizon) = (store.context().clone(), store.horizon());
        Ok(())
    }
}

#[test]
fn a_context_tells_on_any_replica_what_may_read_otherwise_since_it() {
    let (mut resumed, mut behind, mut dropped) = (0, 0, 0);
    for (seed, ty) in (0..600).zip(TYPES.into_iter().cycle()) {
        let mix = if seed % 3 == 0 { Mix::All } else { Mix::Only(ty) };
        let mut lab = Lab::with_history(seed, mix, 20);
        let mut seen = Seen::of(&lab.replicas[0].store);
        for step in 0..25 {
            lab.step();
            if step % 5 < 4 {
                continue;
            }
            let at = lab.rng.random_range(0..lab.replicas.len());
            let store = &lab.replicas[at].store;
            match seen.go_on(store) {
                Ok(()) => {
                    assert_eq!(seen.held, readings(store), "seed {seed}, replica {at}");
                    resumed += 1;
                }
                Err(Untold::Behind) => behind += 1,
                Err(Untold::Dropped) => {
                    seen = Seen::of(store);
                    dropped += 1;
                }
                Err(Untold::Expired) => unreachable!("nothing expires here"),
            }
        }
    }
    assert!(resumed > 500 && behind > 100 && dropped > 50, "{resumed} {behind} {dropped}");
}

/// A watcher of one node that loses no event or some.
struct Watcher {
    seen: Seen,
    number: u64,
    lags: u64,
    batches: u64,
}

impl Watcher {
    fn new(node: &mut Node) -> Self {
        node.set_changes(true);
        let seen = Seen::of(node.store(namespace()).expect("open"));
        Self { seen, number: node.changes_told(), lags: 0, batches: 0 }
    }

    fn take(&mut self, changed: &Changed) {
        if changed.number <= self.number {
            return;
        }
        self.batches += 1;
        assert_eq!(changed.number, self.number + 1, "batches are numbered without a gap");
        self.number = changed.number;
        for change in &changed.changes {
            let held = self.seen.held.remove(&change.place).unwrap_or_default();
            assert_eq!(held, change.old, "{:?}", change.place);
            assert_ne!(change.old, change.new);
            if !change.new.is_absent() {
                self.seen.held.insert(change.place.clone(), change.new.clone());
            }
        }
        for (replica, seq) in &changed.learned {
            self.seen.context.advance(*replica, *seq);
        }
        self.seen.horizon = changed.horizon;
    }

    /// The changes that wait are lost, and the watcher reads what it has missed.
    fn lag(&mut self, node: &Node) {
        let store = node.store(namespace()).expect("open");
        if self.seen.go_on(store).is_err() {
            self.seen = Seen::of(store);
        }
        self.number = node.changes_told();
        self.lags += 1;
    }
}

#[test]
fn changes_applied_to_a_snapshot_are_the_state_at_every_step_also_after_lagging() {
    let (mut batches, mut lags) = (0, 0);
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let limits = Limits { records_max: if seed % 2 == 0 { 3 } else { 64 }, ..Limits::default() };
        let mut cluster = Cluster::new(3, &limits);
        let mut watchers: Vec<Watcher> = (0..3).map(|at| Watcher::new(cluster.node(at))).collect();
        for _ in 0..60 {
            let at = rng.random_range(0..3);
            let (key, path) = (["k", "l"][rng.random_range(0..2)], [rng.random_range(0..4u8)]);
            let (choice, value) = (rng.random_range(0..8), [rng.random_range(0..9u8)]);
            cluster.write(at, |group| match choice {
                0..2 => or_set::add(group, key, &path),
                2 => or_set::clear(group, key).map(drop),
                3..5 => lww_map::put(group, key, &path, &value),
                5 => lww_map::remove(group, key, &path).map(drop),
                6 => sync_core::types::pn_counter::add(group, key, i64::from(value[0])),
                _ => {
                    or_set::add(group, key, &value)?;
                    mv_register::set(group, key, &value)
                }
            });
            if rng.random_bool(0.4) {
                cluster.settle();
            }
            for (at, event) in cluster.events() {
                if let Event::Changed(changed) = event {
                    watchers[usize::from(at)].take(&changed);
                }
            }
            for at in 0..3u8 {
                let watcher = &mut watchers[usize::from(at)];
                if rng.random_bool(0.1) {
                    watcher.lag(cluster.node(at));
                }
                assert_eq!(watcher.number, cluster.node(at).changes_told(), "every event was taken");
                let store = cluster.store(at);
                assert_eq!(watcher.seen.held, readings(store), "seed {seed}, node {at}");
                assert_eq!(watcher.seen.context, *store.context());
            }
        }
        batches += watchers.iter().map(|watcher| watcher.batches).sum::<u64>();
        lags += watchers.iter().map(|watcher| watcher.lags).sum::<u64>();
    }
    assert!(batches > 5_000 && lags > 500, "{batches} batches, {lags} lags");
}

#[test]
fn a_group_and_a_join_are_one_batch_each() {
    let mut cluster = Cluster::new(2, &Limits::default());
    (0..2).for_each(|at| cluster.node(at).set_changes(true));
    cluster.write(0, |group| {
        (0..20).try_for_each(|n| or_set::add(group, &format!("key/{}", n % 4), &[n]))?;
        lww_register::set(group, "total", b"20")
    });
    cluster.settle();
    let events = cluster.events();
    for (at, cause) in [(0, Cause::Local), (1, Cause::Remote { peer: node_id(0) })] {
        let batches: Vec<&Changed> = events
            .iter()
            .filter(|(node, _)| *node == at)
            .filter_map(|(_, event)| if let Event::Changed(changed) = event { Some(changed) } else { None })
            .collect();
        assert_eq!(batches.len(), 1);
        assert_eq!((batches[0].cause, batches[0].changes.len()), (cause, 21));
    }
}

#[test]
fn changes_that_take_more_bytes_than_allowed_are_left_out_and_counted() {
    let limits = Limits { changes_bytes_max: 20_000, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    cluster.node(1).set_changes(true);
    // One step of some 100 places, told to a peer as one join.
    cluster.write(0, |group| (0..200u8).try_for_each(|n| or_set::add(group, "set", &[n])));
    cluster.settle();
    cluster.write(0, |group| or_set::add(group, "set", b"one more"));
    cluster.settle();
    let events: Vec<Event> =
        cluster.events().into_iter().filter(|(at, _)| *at == 1).map(|(_, e)| e).collect();
    let told = events.iter().filter_map(|event| {
        let Event::Changed(changed) = event else { return None };
        Some((changed.number, changed.changes.len()))
    });
    assert_eq!(told.collect::<Vec<_>>(), [(2, 1)], "the first step has a number and is not told");
    assert!(events.contains(&Event::EventsLost { count: 1 }));
}

#[test]
fn beyond_the_changes_that_may_wait_none_are_looked_for_until_they_are_taken() {
    let limits = Limits { changes_waiting_max: 3, ..Limits::default() };
    let mut cluster = Cluster::new(1, &limits);
    // As a driver that is late: nothing is taken between the writes.
    let add = |cluster: &mut Cluster, name: &[u8]| {
        let now = cluster.now_at(0);
        let written = cluster.node(0).write(now, namespace(), |group| or_set::add(group, "set", name));
        written.expect("there is room");
    };
    let taken = |cluster: &mut Cluster| {
        let outputs = std::iter::from_fn(|| cluster.node(0).poll_output());
        let (mut numbers, mut lost) = (Vec::new(), 0);
        for output in outputs {
            if let Output::Event(Event::Changed(changed)) = &output {
                numbers.push(changed.number);
            }
            if let Output::Event(Event::EventsLost { count }) = output {
                lost += count;
            }
        }
        (numbers, lost)
    };
    cluster.node(0).set_changes(true);
    for name in [b"1", b"2", b"3", b"4", b"5"] {
        add(&mut cluster, name);
    }
    assert_eq!(cluster.node(0).changes_told(), 5, "a step that is not told has a number");
    // Who begins to read here is told of a gap later, not of less than there was.
    assert_eq!(taken(&mut cluster), (vec![1, 2, 3], 2));
    add(&mut cluster, b"6");
    assert_eq!(taken(&mut cluster), (vec![6], 0), "once taken, changes are told again");
}

/// Two nodes write apart, then meet; what node 0 is told of conflicts.
fn conflicts_of(
    first: impl Fn(&mut Cluster),
    ours: impl Fn(&mut Cluster),
    theirs: impl Fn(&mut Cluster),
) -> (Vec<Conflict>, u64) {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.node(0).set_changes(true);
    cluster.node(0).set_conflicts(true);
    first(&mut cluster);
    cluster.settle();
    ours(&mut cluster);
    theirs(&mut cluster);
    cluster.settle();
    // Whoever writes now has seen both.
    let met = cluster.node(0).stats().conflicts;
    let mut told = Vec::new();
    for (at, event) in cluster.events() {
        if let (0, Event::Conflicts { conflicts, .. }) = (at, event) {
            told.extend(conflicts);
        }
    }
    ours(&mut cluster);
    cluster.settle();
    let later = cluster.events().into_iter().filter(|(_, event)| matches!(event, Event::Conflicts { .. }));
    assert_eq!(later.count(), 0, "a write that saw both is no conflict");
    (told, met)
}

#[test]
fn a_write_that_loses_to_a_concurrent_one_is_told_with_both_sides() {
    // Equal clocks: the larger replica wins, and that is node 1.
    let put = |at: u8, value: &'static [u8]| {
        move |cluster: &mut Cluster| cluster.write(at, |group| lww_map::put(group, "map", b"field", value))
    };
    let (told, met) = conflicts_of(|_| (), put(0, b"ours"), put(1, b"theirs"));
    let [conflict] = told.as_slice() else { panic!("one write lost: {told:?}") };
    assert!(conflict.lost);
    assert_eq!(conflict.place.path.as_bytes(), b"field");
    assert_eq!(
        (conflict.ours.value.as_bytes(), conflict.theirs.value.as_bytes()),
        (&b"ours"[..], &b"theirs"[..])
    );
    assert_eq!(conflict.theirs.dot.replica, sync_tests::replica(1, 0));
    assert!(conflict.ours.hlc <= conflict.theirs.hlc);
    assert_eq!(met, 1);
}

#[test]
fn who_wins_or_was_seen_has_not_lost() {
    let set = |at: u8, value: &'static [u8]| {
        move |cluster: &mut Cluster| cluster.write(at, |group| lww_register::set(group, "reg", value))
    };
    let nothing = |_: &mut Cluster| ();
    // Node 0 writes twice, so its clock is ahead: it wins.
    let twice = |cluster: &mut Cluster| (0..2).for_each(|_| set(0, b"ours")(cluster));
    let (told, met) = conflicts_of(nothing, twice, set(1, b"theirs"));
    assert_eq!((told, met), (vec![], 1), "it met a concurrent write, and is read");
    // Node 1 overwrites what it has seen.
    let (told, met) = conflicts_of(set(0, b"ours"), nothing, set(1, b"theirs"));
    assert_eq!((told, met), (vec![], 0));
    // Both wrote the same.
    let (told, _) = conflicts_of(nothing, set(0, b"same"), set(1, b"same"));
    assert_eq!(told, []);
}

#[test]
fn siblings_and_removes_that_win_are_conflicts_of_their_own_kind() {
    let nothing = |_: &mut Cluster| ();
    let sibling = |at: u8, value: &'static [u8]| {
        move |cluster: &mut Cluster| cluster.write(at, |group| mv_register::set(group, "reg", value))
    };
    let (told, met) = conflicts_of(nothing, sibling(0, b"a"), sibling(1, b"b"));
    assert_eq!((told.len(), told[0].lost, met), (1, false, 1), "both are read");

    let add = |cluster: &mut Cluster| cluster.write(0, |group| rw_set::add(group, "set", b"e"));
    let remove = |cluster: &mut Cluster| {
        cluster.write(1, |group| rw_set::remove(group, "set", b"e"));
    };
    let (told, met) = conflicts_of(add, add, remove);
    assert_eq!((told.len(), told[0].lost, met), (1, true, 1));
    assert_eq!(told[0].theirs.value.as_bytes(), rw_set::REMOVED);

    let on = |cluster: &mut Cluster| cluster.write(0, |group| disable_flag::enable(group, "flag"));
    let off = |cluster: &mut Cluster| cluster.write(1, |group| disable_flag::disable(group, "flag"));
    let (told, _) = conflicts_of(nothing, on, off);
    assert_eq!((told.len(), told[0].lost), (1, true));

    let add = |cluster: &mut Cluster| cluster.write(0, |group| or_set::add(group, "or", b"e"));
    let remove = |cluster: &mut Cluster| {
        cluster.write(1, |group| or_set::remove(group, "or", b"e"));
    };
    let (told, met) = conflicts_of(add, add, remove);
    assert_eq!((told, met), (vec![], 0), "an add wins: nothing is lost");
}
