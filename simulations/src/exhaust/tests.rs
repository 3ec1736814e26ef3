//! Tests of the search: it is deterministic, and what it counts as one state behaves as one.

use super::local::Step;
use super::locals::Locals;
use super::{Scope, explore};
use crate::history::Kind;

const KINDS: [Kind; 3] = [Kind::Set, Kind::Map, Kind::Counter];

#[test]
fn one_operation_and_one_crash_is_exhausted_without_a_violation_and_twice_alike() {
    for kind in KINDS {
        let scope = Scope { operations: 1, heal_every: 1, ..Scope::pair(kind) };
        let [one, two] = [explore(scope), explore(scope)];
        assert_eq!(one.violation, None);
        assert!(one.exhausted);
        assert_eq!((one.states, one.transitions, one.depth), (two.states, two.transitions, two.depth));
    }
}

#[test]
fn three_replicas_are_searched_up_to_their_bound() {
    let report = explore(Scope { states_max: 2_000, ..Scope::trio(Kind::Set) });
    assert_eq!(report.violation, None);
    assert!(!report.exhausted && report.states >= 2_000 && report.depth > 2);
}

/// The search stands on `Node::state_key`: nodes with one key must do the same with every input.
#[test]
fn nodes_with_equal_keys_behave_alike() {
    for kind in KINDS {
        let mut locals = Locals::new(Scope::pair(kind));
        let mut level = locals.start().expect("the nodes meet");
        for _ in 0..4 {
            let mut next = Vec::new();
            for from in level {
                for step in steps(&locals, from) {
                    let Ok(effect) = locals.step(from, step) else { panic!("{step:?} breaks a property") };
                    let to = effect.to;
                    next.push(to);
                    let differ = locals.differ(from, step, &steps(&locals, to));
                    assert_eq!(differ, Ok(None), "after {step:?}");
                }
            }
            next.sort_unstable();
            next.dedup();
            level = next.into_iter().step_by(3).collect();
        }
    }
}

fn steps(locals: &Locals, local: u32) -> Vec<Step> {
    let node = locals.index(local);
    let frames = (0..u16::MAX).zip(&locals.letters).filter(|(_, letter)| letter.to == node);
    let frames = frames.map(|(frame, _)| Step::Receive(frame));
    [Step::Write(0), Step::Write(1), Step::Wake, Step::Tick].into_iter().chain(frames).collect()
}
