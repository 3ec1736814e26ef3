//! Groups are whole everywhere: a replica knows all operations of a group or none.

use super::{Checker, Step, Violation};

const NAME: &str = "groups are whole";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Groups;

impl Checker for Groups {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        for op in step.fresh.iter().map(|id| step.history.op(*id)) {
            if let Some(lacking) =
                step.history.of_group(op.group).find(|other| !other.is_in(step.model.seen()))
            {
                let what = format!("knows {:?} and not {:?} of the same group", op.dots, lacking.dots);
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
    fn half_a_group_is_caught() {
        let mut bench = Bench::new(Groups);
        bench.record_unknown_in_next_group("s", "y");
        assert!(bench.add("s", "x").is_err());
    }
}
