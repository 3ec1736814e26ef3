//! Hybrid clocks respect time and causality: a write reads later than every write that was visible at its
//! origin, and no clock runs further ahead of its own wall clock than the drift that is allowed.
//!
//! A write stamped further ahead than that wins only over writes concurrent with it; whoever saw it need
//! not follow it there. Nor need it follow one that was dead when it was learned of: only items carry
//! clock readings, and nothing is compared with the dead.

use std::collections::BTreeMap;

use super::{Checker, Origin, Step, Violation};
use crate::history::OpId;

const NAME: &str = "clocks respect causality";
/// The drift that the nodes of a simulation allow, in milliseconds: the default of the product.
const DRIFT_MILLIS: u64 = 60_000;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Of each node, the lowest and highest reading that its wall clock had.
    wall: BTreeMap<usize, (u64, u64)>,
}

impl Checker for Clocks {
    fn name(&self) -> &'static str {
        NAME
    }

    fn clock(&mut self, node: usize, wall: u64) {
        let (low, high) = self.wall.entry(node).or_insert((wall, wall));
        (*low, *high) = (wall.min(*low), wall.max(*high));
    }

    fn started(&mut self, step: &mut Step<'_>, origin: Origin) -> Result<(), Violation> {
        if origin == Origin::Backup {
            // The image may be of a node whose clock stood elsewhere.
            let all = self.wall.values().copied().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            if let Some(range) = all {
                self.wall.insert(step.node, range);
            }
        }
        Ok(())
    }

    fn wrote(&mut self, step: &mut Step<'_>, ops: &[OpId]) -> Result<(), Violation> {
        let Some((low, high)) = self.wall.get(&step.node).copied() else { return Ok(()) };
        let fastest = (high + DRIFT_MILLIS + 1) << 16;
        let Some(op) = ops.iter().map(|id| step.history.op(*id)).find(|op| op.hlc != 0) else {
            return Ok(());
        };
        if op.hlc > fastest {
            let what = format!(
                "{:?} reads {} ms; its wall clock never showed more than {high}",
                op.dots,
                op.hlc >> 16
            );
            return step.violation(NAME, what);
        }
        let followed = (low + DRIFT_MILLIS) << 16;
        let sets = step.model.sets.iter().flat_map(|(_, adds)| adds.values());
        let maps = step.model.maps.iter().flat_map(|(_, fields)| fields.values());
        let visible = sets.chain(maps).flatten().map(|id| step.history.op(*id));
        let visible = visible.filter(|other| other.group != op.group && other.hlc <= followed);
        if let Some(later) = visible.filter(|other| other.hlc >= op.hlc).max_by_key(|other| other.hlc) {
            let what =
                format!("{:?} reads {}, not later than {:?}, which it saw", op.dots, op.hlc, later.dots);
            return step.violation(NAME, what);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_clock_that_goes_back_and_one_that_runs_away_are_caught() {
        let mut bench = Bench::new(Clocks::default());
        bench.suite.clock(0, 1_000);
        bench.record_with_clock("s", "x", 2_000 << 16).expect("within the drift");
        assert!(bench.record_with_clock("s", "y", 1_999 << 16).is_err(), "it saw a later reading");
        assert!(bench.record_with_clock("s", "z", 70_000 << 16).is_err(), "69 seconds ahead");
    }
}
