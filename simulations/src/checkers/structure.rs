//! What a store keeps beside its cells is what the cells say: places, orders, tables, counts and maxima.
//!
//! The walk is the store's own ([`sync_core::store::Store::check`]), because only it sees its parts; its tests show that it
//! notices when one of them lies.

use super::{Checker, Step, Violation};

const NAME: &str = "the structure is sound";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Structure;

impl Checker for Structure {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        if !step.look {
            return Ok(());
        }
        match step.store().check() {
            Ok(()) => Ok(()),
            Err(what) => step.violation(NAME, what),
        }
    }
}
