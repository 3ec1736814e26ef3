//! Writes are events: what changes something mints dots, and each dot belongs to one operation.
//!
//! An add or a put mints even if it changes nothing that can be read, since it renews what it saw against
//! concurrent removes; a remove, a clear or a reset mints exactly when its origin saw something to end.

use super::{Checker, Step, Violation};
use crate::deed::{Deed, Place, Typed, What};
use crate::history::{Act, History, Op, OpId};
use crate::oracle::Model;

const NAME: &str = "writes are events";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Minted;

fn must_mint(history: &History, op: &Op) -> bool {
    let seen = || Model::at_horizon(history, &op.seen, op.horizon);
    // What damage hid from the origin was not there to be ended.
    let shown = |writes: &Vec<OpId>| writes.iter().any(|id| op.saw(history.op(*id)));
    match &op.act {
        Act::Add { .. } | Act::Put { .. } | Act::Again { .. } => true,
        Act::Count { by, .. } => *by != 0,
        Act::Remove { key, element } => {
            seen().sets.get(key).and_then(|adds| adds.get(element)).is_some_and(shown)
        }
        Act::Clear { key } => seen().sets.get(key).is_some_and(|adds| adds.values().any(shown)),
        Act::RemoveField { key, field } => {
            seen().maps.get(key).and_then(|fields| fields.get(field)).is_some_and(shown)
        }
        Act::ClearMap { key } => seen().maps.get(key).is_some_and(|fields| fields.values().any(shown)),
        Act::Reset { key } => seen().counters.value(history, key).is_some(),
        Act::Typed(Deed { on, key, place, what }) => {
            let stands = |at: &Place| {
                let model = seen();
                let places = model.typed.get(*on, key);
                places.is_some_and(|places| places.keys().any(|held| held.starts_with(at)))
            };
            match what {
                // What is present and stays as long is not added again.
                What::Write(_) if *on == Typed::GrowSet => {
                    let end = |expires: u64| expires.wrapping_sub(1);
                    let model = seen();
                    let writes = model.typed.get(*on, key).and_then(|places| places.get(place));
                    let stays = |id: &OpId| end(history.op(*id).expires) >= end(op.expires);
                    !writes.is_some_and(|writes| writes.iter().any(stays))
                }
                What::Write(_) => true,
                What::Count(by) => *by != 0,
                What::Send { to, count } => *count > 0 && *to != op.owner,
                What::End => stands(place),
                What::Collect(_) => true,
            }
        }
    }
}

impl Checker for Minted {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wrote(&mut self, step: &mut Step<'_>, ops: &[OpId]) -> Result<(), Violation> {
        for op in ops.iter().map(|id| step.history.op(*id)) {
            // To ask what a remove saw costs the whole past: only where it minted nothing.
            if op.dots.is_none() && must_mint(step.history, op) {
                return step.violation(NAME, format!("{:?} minted nothing", op.act));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn an_add_without_an_event_is_caught_and_a_remove_of_nothing_is_not() {
        let mut bench = Bench::new(Minted);
        let nothing = Act::Remove { key: "s".to_owned(), element: b"x".to_vec() };
        bench.record_unminted(nothing.clone()).expect("there is nothing to remove");
        bench.add("s", "x").expect("an add mints");
        assert!(bench.record_unminted(nothing).is_err());
        assert!(bench.record_unminted(Act::Add { key: "s".to_owned(), element: b"x".to_vec() }).is_err());
    }
}
