//! Contexts only grow: within a life, no event that a replica knew is ever unknown to it again.

use std::collections::BTreeMap;

use super::{Checker, Origin, Step, Violation};
use crate::history::Seen;

const NAME: &str = "contexts only grow";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Growth {
    known: BTreeMap<usize, Seen>,
}

impl Checker for Growth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, _origin: Origin) -> Result<(), Violation> {
        self.known.remove(&step.node);
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        let now = Seen::from(step.store().context());
        let before = self.known.get(&step.node);
        let lost = before.and_then(|before| before.columns().find(|(life, seq)| *seq > now.get(*life)));
        if let Some((life, seq)) = lost {
            return step.violation(NAME, format!("knew {life:?} up to {seq}, now up to {}", now.get(life)));
        }
        self.known.insert(step.node, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_store_that_goes_back_within_a_life_is_caught() {
        let mut bench = Bench::new(Growth::default());
        let earlier = bench.node.clone();
        bench.add("s", "x").expect("growing is right");
        bench.node = earlier;
        assert!(bench.look().is_err());
    }
}
