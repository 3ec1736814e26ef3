//! Effects are complete (I2): what an operation ended is not live at any replica that knows it; and what
//! is live was written, and is known. Where damage brought an item back it is not judged until that is healed,
//! nor is an item that damage took from a node ([`crate::history::Damaged`] says why).

use super::{Checker, Step, Violation};

const NAME: &str = "effects are complete";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Effects;

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
            let revived = step.history.damage_at(step.node, dot).is_some() || step.history.may_live_on(dot);
            if let Some(op) = step.history.by_dot(dot).filter(|op| !revived && !step.model.shows(op)) {
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
