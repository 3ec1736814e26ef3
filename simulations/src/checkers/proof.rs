//! Between undamaged replicas every end that a fragment tells of has its cause in that fragment.
//!
//! The core spares what nothing in a fragment could have ended (`sync_core`, the store's `proof`). Where no memory
//! was damaged it must never come to that, or the rule would keep what is dead.

use super::{Checker, Step, Violation};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Proof;

impl Checker for Proof {
    fn name(&self) -> &'static str {
        "every end has its cause"
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        let spared = step.state.stats().ends_spared;
        if spared > 0 && step.history.damages().is_empty() {
            let what = format!("{spared} ends were spared, and no memory was damaged");
            return step.violation(self.name(), what);
        }
        Ok(())
    }
}
