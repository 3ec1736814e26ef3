//! Effects are complete (I2): what an operation ended is not live at any replica that knows it; and what
//! is live was written, and is known.

use super::{Checker, Step, Violation};
use crate::history::{Kind, Op};

const NAME: &str = "effects are complete";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Effects;

fn is_visible(step: &Step<'_>, op: &Op) -> bool {
    let place = op.act.place().unwrap_or_default();
    let writes = match op.act.kind() {
        Kind::Set => step.model.sets.get(op.act.key()).and_then(|adds| adds.get(place)),
        Kind::Map => step.model.maps.get(op.act.key()).and_then(|fields| fields.get(place)),
        // Rows are cumulative: their totals are compared by `values`.
        Kind::Counter => return true,
    };
    writes.is_some_and(|writes| writes.contains(&op.id))
}

impl Checker for Effects {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        if !step.look {
            return Ok(());
        }
        for dot in step.store().live_dots() {
            if !step.model.seen().contains(dot) {
                return step.violation(NAME, format!("{dot:?} is live and outside the context"));
            }
            if let Some(op) = step.history.by_dot(dot).filter(|op| !is_visible(step, op)) {
                return step.violation(
                    NAME,
                    format!("{dot:?} ({:?}) is live, and a known operation ended it", op.act),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;
    use crate::history::Act;

    #[test]
    fn a_removed_element_that_stays_is_caught() {
        let mut bench = Bench::new(Effects);
        bench.add("s", "x").expect("it is there");
        bench.unrecorded(|group| sync_core::types::or_set::add(group, "t", b"z"));
        bench.look().expect("an event without an operation is none of its business");
        bench.record_last_dot_as(Act::Remove { key: "s".to_owned(), element: b"x".to_vec() });
        assert!(bench.look().is_err(), "by its dot the element was removed, and it is still there");
    }
}
