//! The lattice laws, once, applied to every type and to whole stores.
//!
//! Commutative, associative, idempotent; a delta does what the full state does; a restricted fragment
//! never removes outside what it names. Each law is tried on 10,000 random histories for each mix, and
//! the shares of interesting cases are printed and demanded, so that no law passes on trivial states.

use crdts::CvRDT;
use sync_core::store::Store;
use sync_tests::lab::{Lab, Mix, TYPES, concurrent_kills, random_part};

const CASES: u64 = 10_000;

/// Tries `law` on the three states of [`CASES`] random histories of every mix.
fn for_all_states(name: &str, law: impl Fn(&mut Lab)) {
    for mix in TYPES.map(Mix::Only).into_iter().chain([Mix::All]) {
        let (mut concurrent, mut truncated) = (0, 0);
        for seed in 0..CASES {
            let mut lab = Lab::with_history(seed, mix, 24);
            let [x, y, z] = [0, 1, 2].map(|at| &lab.replicas[at].store);
            concurrent += u64::from(concurrent_kills(x, y) + concurrent_kills(y, z) > 0);
            truncated += u64::from([x, y, z].iter().any(|store| store.floors().next().is_some()));
            law(&mut lab);
        }
        let share = |count: u64| count * 100 / CASES;
        println!(
            "{name}, {mix:?}: {CASES} cases, {} % with concurrent kills, {} % with truncated records",
            share(concurrent),
            share(truncated)
        );
        if !mix.removes() {
            continue;
        }
        assert!(share(concurrent) >= 20, "too few cases with concurrent kills to mean anything");
        assert!(share(truncated) >= 10, "too few cases with truncated records to mean anything");
    }
}

fn states(lab: &Lab) -> [Store; 3] {
    [0, 1, 2].map(|at| lab.replicas[at].store.clone())
}

fn merged(a: &Store, b: &Store) -> Store {
    let mut sum = a.clone();
    sum.validate_merge(b).expect("states of one history are mergeable");
    sum.merge(b.clone());
    sum
}

#[track_caller]
fn assert_same(a: &mut Store, b: &mut Store) {
    assert!(a.same_state(b), "states differ:\n{a:#?}\n{b:#?}");
    assert_eq!(a.root(), b.root(), "equal states have equal roots");
    assert_eq!(a.state_id(), b.state_id());
}

#[test]
fn joining_is_commutative() {
    for_all_states("commutative", |lab| {
        let [x, y, _] = states(lab);
        assert_same(&mut merged(&x, &y), &mut merged(&y, &x));
    });
}

#[test]
fn joining_is_associative() {
    for_all_states("associative", |lab| {
        let [x, y, z] = states(lab);
        assert_same(&mut merged(&merged(&x, &y), &z), &mut merged(&x, &merged(&y, &z)));
    });
}

#[test]
fn joining_is_idempotent() {
    for_all_states("idempotent", |lab| {
        let [x, y, _] = states(lab);
        let once = merged(&x, &y);
        assert_same(&mut merged(&once, &y), &mut once.clone());
        assert_same(&mut merged(&once, &once), &mut once.clone());
    });
}

#[test]
fn a_delta_does_what_the_full_state_does() {
    for_all_states("delta = full state", |lab| {
        let [_, y, _] = states(lab);
        let mut full = lab.replicas[0].clone();
        full.join(&y.full_fragment());
        for _ in 0..2 {
            let delta = lab.fragment(1, 0);
            let mut by_delta = lab.replicas[0].clone();
            by_delta.join(&delta);
            assert_same(&mut by_delta.store, &mut full.store);
        }
    });
}

#[test]
fn a_restricted_fragment_never_removes_outside_what_it_names() {
    for_all_states("restriction", |lab| {
        let [_, y, _] = states(lab);
        let part = random_part(&mut lab.rng, &y, &lab.replicas[0].store);
        let fragment = y.push_fragment(part.clone());
        for dot in part.dots().filter(|dot| y.is_live(*dot)) {
            let carried = fragment.cells.iter().flat_map(|cell| &cell.items).any(|item| item.dot == dot);
            assert!(
                carried,
                "{dot:?} is named and live at the sender, so its payload must be in the fragment"
            );
        }
        let before = lab.replicas[0].store.clone();
        lab.join(0, &fragment);
        let after = &lab.replicas[0].store;
        for dot in before.live_dots().filter(|dot| !part.contains(*dot)) {
            assert!(after.is_live(dot), "{dot:?} was removed by a fragment that does not name it");
        }
        for dot in after.live_dots().filter(|dot| !part.contains(*dot)) {
            assert!(before.is_live(dot), "{dot:?} was added by a fragment that does not name it");
        }
    });
}

#[test]
fn equal_contexts_mean_equal_stores() {
    for_all_states("state is a function of the context", |lab| {
        // Two replicas that meet both ways, by whatever fragments, know the same and hold the same.
        lab.transfer(0, 1);
        lab.transfer(1, 0);
        lab.transfer(2, 0);
        lab.transfer(2, 1);
        let [mut x, mut y, _] = states(lab);
        assert_eq!(x.context(), y.context());
        assert_same(&mut x, &mut y);
    });
}
