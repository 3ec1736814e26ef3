//! One place counts under one owner: whoever holds a contribution of its own owner that it has not written itself has
//! left that owner.

use super::{Checker, Step, Violation};

const NAME: &str = "one place an owner";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Owner;

impl Checker for Owner {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        let elsewhere = step.look.then(|| step.state.counted_elsewhere(step.namespace)).flatten();
        let Some((object, other)) = elsewhere else { return Ok(()) };
        let owner = step.state.owner();
        let what = format!("{other} counts in {object:?} under the owner of this node, {owner}");
        step.violation(NAME, what)
    }
}
