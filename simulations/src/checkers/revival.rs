//! No resurrection: a dot that a life knew and that was dead there is dead there for ever. A dot that was lost
//! without being ended may be given back.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::id::Dot;

use super::{Checker, Origin, Step, Violation};
use crate::history::Seen;

const NAME: &str = "no resurrection";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Revival {
    before: BTreeMap<usize, (Seen, BTreeSet<Dot>)>,
}

impl Checker for Revival {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, _origin: Origin) -> Result<(), Violation> {
        self.before.remove(&step.node);
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        if !step.look {
            return Ok(());
        }
        let live: BTreeSet<Dot> = step.store().live_dots().collect();
        let was_damaged = |dot: Dot| step.history.damages().iter().any(|damaged| damaged.dot == dot);
        let was_dead = |dot: &&Dot| {
            !was_damaged(**dot)
                && self
                    .before
                    .get(&step.node)
                    .is_some_and(|(seen, before)| seen.contains(**dot) && !before.contains(dot))
        };
        if let Some(dot) = live.iter().find(was_dead) {
            return step.violation(NAME, format!("{dot:?} was dead here and is live again"));
        }
        self.before.insert(step.node, (step.model.seen().clone(), live));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_dead_dot_that_lives_again_is_caught() {
        let mut bench = Bench::new(Revival::default());
        bench.add("s", "x").expect("it is there");
        let alive = bench.node.clone();
        bench.remove("s", "x").expect("it is gone");
        bench.node = alive;
        assert!(bench.look().is_err());
    }
}
