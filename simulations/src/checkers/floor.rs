//! A bounded counter is never below its floor, at any replica, at any step; and nobody spends or sends rights
//! that it does not hold.

use sync_core::types::bounded_counter;

use super::{Checker, Step, Violation};
use crate::deed::{Deed, Typed, What};
use crate::history::{Act, Kind, OpId};
use crate::oracle::typed::Objects;

const NAME: &str = "never below the floor";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Floor;

/// The deed, if it is about a bounded counter.
fn bounded(act: &Act) -> Option<&Deed> {
    match act {
        Act::Typed(deed) if deed.on == Typed::BoundedCounter => Some(deed),
        Act::Typed(_)
        | Act::Add { .. }
        | Act::Remove { .. }
        | Act::Clear { .. }
        | Act::Put { .. }
        | Act::RemoveField { .. }
        | Act::ClearMap { .. }
        | Act::Count { .. }
        | Act::Reset { .. }
        | Act::Again { .. } => None,
    }
}

/// An owner that was copied with its disk may spend twice.
fn is_doubled(step: &Step<'_>, key: &str) -> bool {
    let mut ops = step.history.on_object(Kind::Typed(Typed::BoundedCounter), key);
    ops.any(|op| step.history.is_doubled(op.owner))
}

impl Checker for Floor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wrote(&mut self, step: &mut Step<'_>, ops: &[OpId]) -> Result<(), Violation> {
        for op in ops.iter().map(|id| step.history.op(*id)) {
            let Some(Deed { key, what, .. }) = bounded(&op.act).filter(|_| op.dots.is_some()) else {
                continue;
            };
            let needed = match what {
                What::Count(by) if *by < 0 => -i128::from(*by),
                What::Send { count, .. } => i128::from(*count),
                What::Count(_) | What::Write(_) | What::End | What::Collect(_) => 0,
            };
            let held = Objects::rights_before(step.history, op, key);
            if needed > held.max(0) && !is_doubled(step, key) {
                let what =
                    format!("{:?} of {key} spends or sends {needed} rights and holds {held}", op.owner);
                return step.violation(NAME, what);
            }
        }
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        for op in step.fresh.iter().map(|id| step.history.op(*id)) {
            let Some(Deed { key, .. }) = bounded(&op.act) else { continue };
            let value = bounded_counter::value(step.store(), key);
            if value.is_some_and(|value| value < 0) && !is_doubled(step, key) {
                return step.violation(NAME, format!("{key} shows {value:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    fn count(by: i64) -> Act {
        let (on, key) = (Typed::BoundedCounter, "seats".to_owned());
        Act::Typed(Deed { on, key, place: Vec::new(), what: What::Count(by) })
    }

    #[test]
    fn spending_what_is_not_held_is_caught() {
        let mut bench = Bench::new(Floor);
        bench.act(count(5), |group| bounded_counter::gain(group, "seats", 5)).expect("five are held");
        bench.act(count(-5), |group| bounded_counter::spend(group, "seats", 5)).expect("all are spent");
        let more = bench.act(count(-1), |group| bounded_counter::gain(group, "seats", 1));
        assert!(more.is_err(), "by what was recorded, one right too many was spent");
    }

    #[test]
    fn a_value_below_the_floor_is_caught() {
        use sync_core::cell::{CellId, ObjectId, TypeTag};
        let mut bench = Bench::new(Floor);
        let cell = CellId::new(ObjectId::new("seats", TypeTag::BOUNDED_COUNTER), &[1u8; 16][..]);
        // A row that gained nothing and spent one.
        let row = [0u8, 1, 0];
        let below = bench.act(count(0), |group| group.write(cell, row.as_slice().into(), &[]).map(drop));
        assert!(below.is_err());
    }
}
