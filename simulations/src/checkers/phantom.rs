//! No phantom removal (I1, I3): a write that a replica knows is live there unless an operation that it
//! also knows had seen that write and ended it.
//!
//! An item that damage took from a node is not judged there until it is healed, nor where an operation is
//! known that covers it and was blind to it ([`crate::history::Damaged`] says why).
//!
//! Convergence does not show this one: a removal that nobody asked for spreads, and all replicas agree.

use sync_core::id::Dot;

use super::{Checker, Step, Violation};
use crate::history::{Kind, OpId};

const NAME: &str = "no phantom removal";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Phantom;

impl Phantom {
    fn check(step: &Step<'_>, writes: &[OpId]) -> Result<(), Violation> {
        let dot = |id: &OpId| step.history.op(*id).dots.map(|(_, last)| last);
        let excused = |dot| {
            step.history.damage_at(step.node, dot).is_some()
                || step.history.may_be_dead(step.model.seen(), dot)
        };
        let dead = |dot: &Dot| !step.store().is_live(*dot) && !excused(*dot);
        match writes.iter().filter_map(dot).find(dead) {
            None => Ok(()),
            Some(dot) => {
                let act = step.history.by_dot(dot).map(|op| &op.act);
                step.violation(NAME, format!("{dot:?} ({act:?}) is dead, and no known operation ended it"))
            }
        }
    }
}

impl Checker for Phantom {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        if step.look {
            let sets = step.model.sets.iter().flat_map(|(_, adds)| adds.values());
            let maps = step.model.maps.iter().flat_map(|(_, fields)| fields.values());
            let typed = step.model.typed.iter().filter(|(on, _, _)| !on.counts());
            let typed = typed.flat_map(|(_, _, places)| places.values());
            return sets.chain(maps).chain(typed).try_for_each(|writes| Self::check(step, writes));
        }
        for act in step.fresh.iter().map(|id| &step.history.op(*id).act) {
            let Some(place) = act.place() else { continue };
            let writes = match act.kind() {
                Kind::Set => step.model.sets.get(act.key()).and_then(|adds| adds.get(place)),
                Kind::Map => step.model.maps.get(act.key()).and_then(|fields| fields.get(place)),
                Kind::Counter | Kind::Typed(_) => None,
            };
            Self::check(step, writes.map_or(&[], Vec::as_slice))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_removal_that_nobody_asked_for_is_caught() {
        let mut bench = Bench::new(Phantom);
        bench.add("s", "x").expect("it is there");
        bench.unrecorded(|group| sync_core::types::or_set::remove(group, "s", b"x").map(drop));
        assert!(bench.look().is_err());
    }
    #[test]
    fn an_item_that_damage_took_is_excused_until_the_damage_counts_as_healed() {
        let mut bench = Bench::new(Phantom);
        bench.add("s", "x").expect("it is there");
        bench.lose_newest();
        bench.look().expect("the damage is open");
        bench.close_damage();
        assert!(bench.look().is_err());
    }
}
