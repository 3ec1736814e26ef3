//! The join: taking in a fragment, whole or not at all.
//!
//! `C = C1 u C2; L = (L1 n L2) u (L1 \ C2) u (L2 \ C1); H = max` (DESIGN section 3), computed from a
//! fragment instead of a full state. First every check, then the change: an error leaves the store as it
//! was. Inside the join nothing is refused, cut or reordered.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use super::{CellIx, Seek, Store};
use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, Item};
use crate::error::FrameError;
use crate::fragment::{CellPart, Claims, Fragment};
use crate::id::{Dot, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::time::WallMillis;

/// What a join changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Dots learned or killed: the log's entry.
    pub changed: DotSet,
    /// Items that became live.
    pub items_new: u64,
    /// Items whose dot was known already.
    pub items_known: u64,
    /// Live items that the fragment says are dead and shows nothing that could have ended: they stay
    /// live, for its sender may be damaged.
    pub spared: u64,
    /// Items that came to stand beside concurrent ones in a cell of which a reader sees one side, or both as
    /// alternatives: see [`crate::cell::TypeTag::has_conflicts`].
    pub conflicts: u64,
    /// True if the state changed in any way, the horizon included.
    pub state_changed: bool,
}

/// From whom a join learns, for the log's mark and the incarnation guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// This replica's incarnation.
    pub own: ReplicaId,
    /// The highest sequence that it has minted.
    pub own_minted: u64,
    /// The sender's incarnation; its entries need not be pushed back to it.
    pub from: Option<ReplicaId>,
}

/// What a join will do but for the items themselves.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ascending, each once.
    pub(super) dead: Vec<Dot>,
    /// Accounted bytes of the items that will live.
    pub(super) grows: u64,
    pub(super) items_new: u64,
    pub(super) items_known: u64,
    pub(super) new: DotSet,
    pub(super) horizon: WallMillis,
    /// Ends taken back: nothing in the fragment could have caused them.
    pub(super) spared: u64,
}

impl Plan {
    /// Puts what is to die in order.
    pub(super) fn settle(&mut self) {
        self.dead.sort_unstable();
        self.dead.dedup();
    }
}

impl Store {
    /// Joins `fragment`. The caller has run [`Fragment::check`] (decoding does).
    ///
    /// # Errors
    /// [`FrameError::OwnDots`], [`FrameError::Gap`] or [`FrameError::Ceiling`]; the state is unchanged.
    pub fn join(&mut self, fragment: &Fragment, learned: Learned) -> Result<Joined, FrameError> {
        if matches!(fragment.claims, Claims::Sketch { .. }) {
            return Err(FrameError::Field { field: "claims", value: 3 });
        }
        self.join_judged(fragment, BTreeSet::new(), learned)
    }

    /// As [`Self::join`], and what `dead` names dies: live dots that the sender of the fragment knows and does
    /// not hold live, found by a sketch.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub(crate) fn join_judged(
        &mut self,
        fragment: &Fragment,
        dead: BTreeSet<Dot>,
        learned: Learned,
    ) -> Result<Joined, FrameError> {
        self.guard(fragment, learned)?;
        let (mut plan, mut fresh) = self.plan(fragment);
        if mutant::is(Mutant::CapRefusesJoins) && fresh.iter().any(|(cell, _)| self.is_beyond_cap(cell)) {
            let bytes = self.bytes;
            return Err(FrameError::Ceiling { bytes, after: bytes, max: bytes });
        }
        plan.dead.extend(dead);
        plan.settle();
        let items: BTreeSet<Dot> = match &fragment.claims {
            Claims::None | Claims::Cells { .. } => BTreeSet::new(),
            Claims::Whole { .. } | Claims::Sketch { .. } => {
                fragment.cells.iter().flat_map(|part| part.items.iter().map(|item| item.dot)).collect()
            }
        };
        let mut found = self.seek_all(fresh.iter().map(|(cell, _)| *cell));
        let mut written: Vec<CellIx> = found.iter().filter_map(|seek| seek.ix).collect();
        written.sort_unstable();
        // An item that is dead here as it arrives, for this horizon is later, has ended what it ended.
        let is_new = |part: &&CellPart| part.items.iter().any(|item| !self.context.contains(item.dot));
        let told = fragment.cells.iter().filter(is_new).map(|part| &part.cell);
        self.spare_unproven(&mut plan, fragment, &written, told, |dot| items.contains(&dot));
        match self.check_ceiling(&plan) {
            Err(_) if mutant::is(Mutant::CeilingDropsItems) => {
                fresh.clear();
                found.clear();
                plan.items_new = 0;
            }
            checked => checked?,
        }
        let fresh = fresh.into_iter().zip(found).map(|((cell, item), seek)| (cell, item.clone(), Some(seek)));
        Ok(self.apply(fragment, plan, fresh, learned.from))
    }

    /// Refuses own dots never minted here, and a fragment that would leave a gap in a column.
    pub(super) fn guard(&self, fragment: &Fragment, learned: Learned) -> Result<(), FrameError> {
        let known_of_us = fragment.context().map_or(0, |context| context.get(learned.own));
        let claimed = fragment.dots.top(learned.own).max(known_of_us);
        if claimed > learned.own_minted && !mutant::is(Mutant::NeverFenced) {
            return Err(FrameError::OwnDots { claimed, minted: learned.own_minted });
        }
        for (replica, intervals) in fragment.dots.columns() {
            let mut known = self.context.get(replica);
            for interval in intervals {
                if interval.first > known + 1 && !mutant::is(Mutant::DeltasInAnyOrder) {
                    return Err(FrameError::Gap { replica, first: interval.first, known });
                }
                known = known.max(interval.last);
            }
        }
        Ok(())
    }

    fn plan<'a>(&self, fragment: &'a Fragment) -> (Plan, Vec<(&'a CellId, &'a Item)>) {
        let horizon = self.horizon.max(fragment.horizon);
        let mut dead: Vec<Dot> = self.expired(horizon).collect();
        let items = || fragment.cells.iter().flat_map(|part| part.items.iter().map(move |item| (part, item)));
        // Of the dots named by items only known ones can be live here, and mostly there are none.
        let mut known: Vec<Dot> = Vec::new();
        let mut fresh: Vec<(&CellId, &Item)> = Vec::with_capacity(fragment.cells.len());
        let (mut items_known, mut grows) = (0, 0);
        for (part, item) in items() {
            let is_known = self.context.contains(item.dot);
            if is_known {
                known.push(item.dot);
            }
            let revived = mutant::is(Mutant::DeadRevived) && !self.is_live(item.dot);
            if is_known && !revived {
                items_known += 1;
            } else if self.planted_drop(&part.cell, item) {
                // A planted bug refuses single items inside the join.
            } else if !item.is_expired(horizon) {
                grows += Self::item_bytes(&part.cell, item);
                fresh.push((&part.cell, item));
            }
        }
        known.sort_unstable();
        if !mutant::is(Mutant::NamedDeadStayLive) {
            let live = self.live_among(&fragment.dots).into_iter().map(|(dot, _)| dot);
            dead.extend(live.filter(|dot| known.binary_search(dot).is_err()));
        }
        if mutant::is(Mutant::RemovesKillConcurrent) {
            let mut named: Vec<Dot> = items().map(|(_, item)| item.dot).collect();
            named.sort_unstable();
            dead.extend(self.planted_kills(fragment, &named));
        }
        if let Claims::Cells { context, .. } = &fragment.claims
            && !mutant::is(Mutant::CellClaimsIgnored)
        {
            for part in &fragment.cells {
                dead.extend(self.dead_in_cell(part, context));
            }
        }
        self.judge_claims(&fragment.claims, &mut dead);
        let (items_new, new) = (fresh.len() as u64, fragment.dots.minus_context(&self.context));
        let mut plan = Plan { dead, grows, items_new, items_known, new, horizon, spared: 0 };
        plan.settle();
        (plan, fresh)
    }

    /// Adds to `dead` what claims beyond single cells say: ranges and the fallback.
    pub(super) fn judge_claims(&self, claims: &Claims, dead: &mut Vec<Dot>) {
        match claims {
            Claims::None | Claims::Sketch { .. } => {}
            Claims::Cells { .. } if mutant::is(Mutant::CellClaimsIgnored) => {}
            Claims::Cells { context, ranges } => {
                for (range, live) in ranges {
                    let dots = self.cells_in(range).flat_map(|(_, items)| items.iter().map(|item| item.dot));
                    dead.extend(dots.filter(|dot| context.contains(*dot) && !live.contains(*dot)));
                }
            }
            Claims::Whole { context, live } => {
                let judge =
                    if mutant::is(Mutant::FallbackJudgedByReceiver) { &self.context } else { context };
                let known = judge.to_dots();
                dead.extend(self.live_in(&known).map(|(dot, _)| dot).filter(|dot| !live.contains(*dot)));
            }
        }
    }

    /// A cell claim: what is live here, known to the sender and not listed, is dead.
    pub(super) fn dead_in_cell<'a>(
        &'a self,
        part: &'a CellPart,
        context: &'a CausalContext,
    ) -> impl Iterator<Item = Dot> + 'a {
        let listed = |dot: Dot| {
            part.items.binary_search_by_key(&dot, |item| item.dot).is_ok()
                || part.others.binary_search(&dot).is_ok()
        };
        let live = self.items_of(&part.cell).iter().map(|item| item.dot);
        let judged = |dot: Dot| context.contains(dot) || mutant::is(Mutant::ClaimsJudgedByReceiver);
        live.filter(move |dot| judged(*dot) && !listed(*dot))
    }

    pub(super) fn expired(&self, horizon: WallMillis) -> impl Iterator<Item = Dot> + '_ {
        self.expiring.iter().take_while(move |(expires, _)| *expires <= horizon).map(|(_, dot)| *dot)
    }

    /// Above the ceiling and larger than now is refused; a fragment that shrinks the store passes.
    pub(super) fn check_ceiling(&self, plan: &Plan) -> Result<(), FrameError> {
        let max = self.limits.store_bytes_ceiling;
        if self.bytes.saturating_add(plan.grows) <= max {
            return Ok(());
        }
        let shrinks: u64 = plan.dead.iter().filter_map(|dot| self.bytes_of(*dot)).sum();
        let after = self.bytes + plan.grows - shrinks;
        if after > max && after > self.bytes && !mutant::is(Mutant::CeilingUnchecked) {
            return Err(FrameError::Ceiling { bytes: self.bytes, after, max });
        }
        Ok(())
    }

    /// Does what was planned; `fresh` are the items that will live, with what looking for their cells gave where that
    /// was done.
    pub(super) fn apply(
        &mut self,
        fragment: &Fragment,
        plan: Plan,
        fresh: impl Iterator<Item = (impl Borrow<CellId>, Item, Option<Seek>)>,
        from: Option<ReplicaId>,
    ) -> Joined {
        let Plan { dead, grows: _, items_new, items_known, new, horizon, spared } = plan;
        let mut joined = Joined { items_known, items_new, spared, ..Joined::default() };
        joined.state_changed = !new.is_empty() || !dead.is_empty() || horizon > self.horizon;
        let mut changed = new;
        let expired_before = self.horizon;
        for dot in dead {
            let (ix, item) = self.end(dot).expect("the plan names live dots only");
            // What the horizon kills needs no log entry: every fragment carries the horizon.
            let by_horizon = item.is_expired(horizon) && !item.is_expired(expired_before);
            if by_horizon {
                self.note_expired(ix);
            } else if !mutant::is(Mutant::JoinedKillsNotLogged) {
                changed.insert(dot);
            }
        }
        let whole = !mutant::is(Mutant::ContextBeforeCells) || matches!(fragment.claims, Claims::None);
        let apply = if whole { items_new } else { items_new / 2 };
        let apply = usize::try_from(apply).expect("it counts items in memory");
        let mut last = None;
        for (cell, item, seek) in fresh.take(apply) {
            let (ix, beside) = self.put_found(cell.borrow(), item, seek, last);
            let CellId { object, path } = cell.borrow();
            joined.conflicts += u64::from(beside && object.ty.has_conflicts(path.as_bytes()));
            last = Some(ix);
        }
        self.drop_hollow();
        self.horizon = horizon;
        self.inherit(fragment);
        for (replica, mut top) in fragment.dots.tops() {
            if mutant::is(Mutant::DeadDotsNotLearned) {
                let items = fragment.cells.iter().flat_map(|part| &part.items);
                top = items.filter(|i| i.dot.replica == replica).map(|i| i.dot.seq).max().unwrap_or(0);
            }
            let session = !matches!(fragment.claims, Claims::None);
            if mutant::is(Mutant::CellsBeforeContext)
                && session
                && fragment.dots.tops().last() == Some((replica, top))
            {
                continue;
            }
            self.context.advance(replica, top);
            self.note_column(replica);
        }
        self.log.append(changed.clone(), from, &self.limits);
        joined.changed = changed;
        joined
    }

    /// Makes `item` live in `cell`, for which `seek` looked before anything changed; `last` is the cell written last.
    /// Gives its place, and true if it stands beside others there.
    fn put_found(
        &mut self,
        cell: &CellId,
        item: Item,
        seek: Option<Seek>,
        last: Option<CellIx>,
    ) -> (CellIx, bool) {
        let last = || last.filter(|ix| !self.cell_id_is_not(*ix, cell));
        let ix = match seek {
            Some(Seek { ix: Some(ix), .. }) => ix,
            // The item before it may have made the cell.
            Some(Seek { ix: None, hash }) => last().unwrap_or_else(|| self.new_cell(cell, hash)),
            None => self.place_of(cell),
        };
        (ix, self.put_at(ix, item))
    }

    /// Takes over the records of what is new here, and what the sender may lack of it.
    ///
    /// `floor[r] = max(floor[r], min(sender's floor[r], highest dot of r just learned))`; a fallback
    /// carries no records, so its floor is the highest dot learned (DESIGN section 3, rules of transport).
    fn inherit(&mut self, fragment: &Fragment) {
        for (dot, record) in &fragment.records {
            if !self.context.contains(*dot) && !mutant::is(Mutant::RecordsNotInherited) {
                self.records.insert(*dot, record.clone(), &self.limits);
            }
        }
        let whole = matches!(fragment.claims, Claims::Whole { .. } | Claims::Sketch { .. });
        for (replica, top) in fragment.dots.tops() {
            if top <= self.context.get(replica) {
                continue;
            }
            let sender = fragment.floors.iter().find(|(column, _)| *column == replica).map_or(0, |f| f.1);
            let whole = whole && !mutant::is(Mutant::FallbackRaisesNoFloor);
            let sender = if mutant::is(Mutant::FloorsNotInherited) { 0 } else { sender };
            let floor = if whole { top } else { sender.min(top) };
            if floor > 0 {
                self.records.raise_floor(replica, floor);
            }
        }
    }
}
