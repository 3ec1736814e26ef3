//! Causal closure (CC): who knows an operation knows all that it had seen.

use super::{Checker, Step, Violation};

const NAME: &str = "causal closure";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Closure;

impl Checker for Closure {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        for op in step.fresh.iter().map(|id| step.history.op(*id)) {
            let lacking = op.seen.columns().find(|(life, seq)| *seq > step.model.seen().get(*life));
            if let Some((life, seq)) = lacking {
                let known = step.model.seen().get(life);
                let what = format!(
                    "knows {:?}, which had seen {life:?} up to {seq}; it is known up to {known}",
                    op.dots
                );
                return step.violation(NAME, what);
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
    fn knowing_an_effect_without_its_cause_is_caught() {
        let mut bench = Bench::new(Closure);
        bench.add("s", "x").expect("nothing was seen");
        bench.record_as_if_seen("s", "y", 9);
        assert!(bench.look().is_err());
    }
}
