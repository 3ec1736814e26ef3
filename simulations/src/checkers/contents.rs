//! One content per dot for ever: a dot names one operation, and its item is the same wherever and whenever
//! it is live: cell, clock, expiry and payload, as the operation wrote them. One flipped payload may stand
//! where a bit was flipped, and nowhere else.

use std::collections::BTreeMap;

use sync_core::cell::{CellId, Item};
use sync_core::id::{Dot, ReplicaId};

use super::{Checker, Step, Violation};
use crate::history::{Act, OpId};

const NAME: &str = "one content per dot";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Contents {
    of: BTreeMap<Dot, (CellId, Item)>,
    /// Of each life, the highest sequence that an operation took.
    minted: BTreeMap<ReplicaId, u64>,
}

/// What an operation must have written: path and payload; `None` for counters, whose rows are cumulative, and for
/// types whose paths are encoded: their reads are compared.
fn written(act: &Act) -> Option<(&[u8], &[u8])> {
    match act {
        Act::Add { element, .. } => Some((element, &[])),
        Act::Put { field, value, .. } => Some((field, value)),
        Act::Again { place, value, .. } => Some((place, value)),
        Act::Remove { .. }
        | Act::Clear { .. }
        | Act::RemoveField { .. }
        | Act::ClearMap { .. }
        | Act::Count { .. }
        | Act::Reset { .. }
        | Act::Typed(_) => None,
    }
}

impl Checker for Contents {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wrote(&mut self, step: &mut Step<'_>, ops: &[OpId]) -> Result<(), Violation> {
        for (first, last) in ops.iter().filter_map(|id| step.history.op(*id).dots) {
            let minted = self.minted.entry(first.replica).or_default();
            if first.seq <= *minted {
                return step.violation(NAME, format!("{first:?} was minted twice"));
            }
            *minted = last.seq;
        }
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        if !step.look {
            return Ok(());
        }
        for (cell, item) in step.store().live_dots().filter_map(|dot| step.store().item(dot)) {
            let damaged = step.history.damage_at(step.node, item.dot);
            if damaged.is_some_and(|damaged| damaged.flipped == item.payload.as_bytes()) {
                continue;
            }
            let Some((first_cell, first_item)) = self.of.get(&item.dot) else {
                let op = step.history.by_dot(item.dot);
                if let Some(op) = op.filter(|op| op.dots.is_some_and(|(_, last)| last == item.dot)) {
                    let expires = op.expires;
                    if expires != item.expires.0 {
                        let what = format!("{cell:?} holds {item:?}, written to expire at {expires}");
                        return step.violation(NAME, what);
                    }
                }
                let written = op.and_then(|op| written(&op.act));
                let held = (cell.path.as_bytes(), item.payload.as_bytes());
                if let Some(written) = written.filter(|written| *written != held) {
                    return step.violation(NAME, format!("{cell:?} holds {item:?}, written as {written:?}"));
                }
                self.of.insert(item.dot, (cell.clone(), item.to_item()));
                continue;
            };
            if first_cell != &cell || item != *first_item {
                let what = format!("{cell:?} holds {item:?}; elsewhere {first_cell:?} held {first_item:?}");
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
    fn two_contents_under_one_dot_are_caught() {
        let mut bench = Bench::new(Contents::default());
        let twin = bench.node.clone();
        bench.add("s", "x").expect("the first content");
        bench.node = twin;
        assert!(bench.add("s", "y").is_err(), "the same life again mints the same dot");
    }
}
