//! The join of a large answer: its skeleton, and items that came apart from it.
//!
//! The effect is that of [`Store::join`] with the fragment put together; but it is never put together. Items
//! move from where they were staged into the store, so that the peak is the state and what is still staged.

use std::collections::BTreeMap;

use super::join::Plan;
use super::resolve::To;
use super::{Joined, Learned, Store};
use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, Item};
use crate::error::FrameError;
use crate::fragment::{Claims, Fragment};
use crate::id::Dot;
use crate::mutant::{self, Mutant};

/// Items of a large answer as they came: in runs, each dot once.
pub(crate) type Runs = Vec<Vec<(CellId, Item)>>;

impl Store {
    /// Joins a large answer: `fragment` without items, `live` of its dots, and in `runs` the item of every live
    /// dot that is not known here. Items of dots that are not in `live` are not used.
    ///
    /// # Errors
    /// As [`Store::join`]; the state is unchanged, the items are lost.
    pub(crate) fn join_staged(
        &mut self,
        fragment: &Fragment,
        live: &DotSet,
        runs: Runs,
        learned: Learned,
    ) -> Result<Joined, FrameError> {
        self.guard(fragment, learned)?;
        let mut plan = Plan {
            new: fragment.dots.minus_context(&self.context),
            horizon: self.horizon.max(fragment.horizon),
            ..Plan::default()
        };
        let mut dead: Vec<Dot> = self.expired(plan.horizon).collect();
        if !self.live.is_empty() {
            self.judge_cells(fragment, live, &runs, &mut dead);
        }
        self.judge_claims(&fragment.claims, &mut dead);
        plan.dead.extend(self.ends(dead.into_iter()));
        plan.settle();
        let horizon = plan.horizon;
        // An item that is dead here as it arrives, for this horizon is later, has ended what it ended.
        let told = runs
            .iter()
            .flatten()
            .filter(|(_, item)| !self.context.contains(item.dot) && is_used(live, item.dot));
        self.spare_unproven(&mut plan, fragment, told.map(|(cell, _)| cell), |dot| live.contains(dot));
        for (cell, item) in runs.iter().flatten() {
            if self.context.contains(item.dot) {
                plan.items_known += 1;
            } else if is_used(live, item.dot) && !item.is_expired(horizon) {
                plan.items_new += 1;
                plan.grows += Self::item_bytes(cell, item);
            }
        }
        self.check_ceiling(&plan)?;
        let known = self.context.clone();
        let is_fresh =
            |item: &Item| !known.contains(item.dot) && is_used(live, item.dot) && !item.is_expired(horizon);
        let fresh = runs.into_iter().flatten().filter(|(_, item)| is_fresh(item));
        let dead = plan.dead.len() as u64;
        let fresh = fresh.map(|(cell, item)| (cell, item, To::Unknown));
        if self.live.len() > dead {
            return Ok(self.apply(fragment, plan, fresh, learned.from));
        }
        Ok(self.apply_by(fragment, plan, learned.from, |store, count| {
            store.drop_hollow();
            store.fill(fresh.map(|(cell, item, _)| (cell, item)).take(count), count)
        }))
    }

    /// Of the dots named: what is not live is dead. Of each cell that a part, an item or a known live dot of the
    /// answer touches: what the sender knows and does not list is dead.
    fn judge_cells(&self, fragment: &Fragment, live: &DotSet, runs: &Runs, dead: &mut Vec<Dot>) {
        let named = self.live_in(&fragment.dots).map(|(dot, _)| dot);
        dead.extend(named.filter(|dot| !live.contains(*dot)));
        let Claims::Cells { context, .. } = &fragment.claims else { return };
        let others: BTreeMap<&CellId, &[Dot]> =
            fragment.cells.iter().map(|part| (&part.cell, part.others.as_slice())).collect();
        for (cell, others) in &others {
            dead.extend(self.unlisted(cell, context, &fragment.dots, others));
        }
        let known = self.live_in(live).map(|(_, ix)| self.cell_id(ix));
        for cell in known.filter(|cell| !others.contains_key(cell)) {
            dead.extend(self.unlisted(&cell, context, &fragment.dots, &[]));
        }
        let told = runs.iter().flatten().filter(|(_, item)| is_used(live, item.dot)).map(|(cell, _)| cell);
        for cell in told.filter(|cell| !others.contains_key(cell)) {
            dead.extend(self.unlisted(cell, context, &fragment.dots, &[]));
        }
    }

    /// What is live in `cell`, known to `context`, and neither among `dots`, which are judged by themselves, nor
    /// among `others`.
    fn unlisted<'a>(
        &'a self,
        cell: &CellId,
        context: &'a CausalContext,
        dots: &'a DotSet,
        others: &'a [Dot],
    ) -> impl Iterator<Item = Dot> + 'a {
        let listed = move |dot: Dot| dots.contains(dot) || others.binary_search(&dot).is_ok();
        let here = self.items_of(cell).iter().map(|item| item.dot);
        here.filter(move |dot| context.contains(*dot) && !listed(*dot))
    }
}

/// True if the item of a staged dot is used: if the answer says that it is live.
fn is_used(live: &DotSet, dot: Dot) -> bool {
    live.contains(dot) || mutant::is(Mutant::StagedDeadUsed)
}
