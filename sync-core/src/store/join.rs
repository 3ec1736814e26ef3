//! The join: taking in a fragment, whole or not at all.
//!
//! `C = C1 u C2; L = (L1 n L2) u (L1 \ C2) u (L2 \ C1); H = max` (DESIGN section 3), computed from a
//! fragment instead of a full state. First every check, then the change: an error leaves the store as it
//! was. Inside the join nothing is refused, cut or reordered.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use super::names::REPLICAS_MAX;
use super::resolve::{Fresh, To};
use super::{CellIx, ItemRef, Store};
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

/// A live dot that is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    pub(super) dot: Dot,
    /// Its cell.
    pub(super) ix: CellIx,
    pub(super) by: By,
}

/// What the new items of a fragment have to do with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// None is in its cell.
    Other,
    /// One is in its cell.
    Item,
    /// It is the one item of its cell, and the first new one there takes its place.
    Replaced,
}

impl End {
    pub(super) fn new(dot: Dot, ix: CellIx) -> Self {
        Self { dot, ix, by: By::Other }
    }

    /// True if new items are in its cell.
    pub(super) fn is_overwritten(&self) -> bool {
        self.by != By::Other
    }
}

/// What a join will do but for the items themselves.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ascending, each once.
    pub(super) dead: Vec<End>,
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

    /// No new item takes a place.
    fn replace_nothing(&mut self, to: &mut [To]) {
        self.dead.iter_mut().for_each(|end| end.by = end.by.min(By::Item));
        for to in to {
            if let To::Place(ix) = *to {
                *to = To::Cell(ix);
            }
        }
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
        if !dead.is_empty() {
            plan.dead.extend(self.ends(dead.into_iter()));
            plan.settle();
        }
        let items: BTreeSet<Dot> = match &fragment.claims {
            Claims::None | Claims::Cells { .. } => BTreeSet::new(),
            Claims::Whole { .. } | Claims::Sketch { .. } => {
                fragment.cells.iter().flat_map(|part| part.items.iter().map(|item| item.dot)).collect()
            }
        };
        if self.lookup.is_kept() {
            self.lookup.make_room(fresh.len());
        }
        let mut to = self.resolve(&mut plan.dead, &fresh);
        // An item that is dead here as it arrives, for this horizon is later, has ended what it ended.
        let is_new = |part: &&CellPart| part.items.iter().any(|item| !self.context.contains(item.dot));
        let told = fragment.cells.iter().filter(is_new).map(|part| &part.cell);
        self.spare_unproven(&mut plan, fragment, told, |dot| items.contains(&dot));
        match self.check_ceiling(&plan) {
            Err(_) if mutant::is(Mutant::CeilingDropsItems) => {
                fresh.clear();
                plan.replace_nothing(&mut to);
                plan.items_new = 0;
            }
            checked => checked?,
        }
        if mutant::is(Mutant::ContextBeforeCells) {
            plan.replace_nothing(&mut to);
        }
        let fresh = fresh.into_iter().zip(to).map(|((cell, item), to)| (cell, item, to));
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

    pub(super) fn plan<'a>(&self, fragment: &'a Fragment) -> (Plan, Vec<Fresh<'a>>) {
        let horizon = self.horizon.max(fragment.horizon);
        let items = || fragment.cells.iter().flat_map(|part| part.items.iter().map(move |item| (part, item)));
        // Of the dots named by items only known ones can be live here, and mostly there are none.
        let mut known: Vec<Dot> = Vec::new();
        let mut fresh: Vec<Fresh<'_>> = Vec::with_capacity(fragment.cells.len());
        let (mut items_known, mut grows) = (0, 0);
        // Mostly one item after the other is of one replica.
        let mut column: Option<(ReplicaId, u64)> = None;
        for (part, item) in items() {
            let (_, top) = match column.filter(|(replica, _)| *replica == item.dot.replica) {
                Some(same) => same,
                None => *column.insert((item.dot.replica, self.context.get(item.dot.replica))),
            };
            let is_known = item.dot.seq <= top;
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
        let mut dead: Vec<End> = Vec::new();
        if !mutant::is(Mutant::NamedDeadStayLive) {
            self.live_among(&fragment.dots, &mut dead);
            if !known.is_empty() {
                dead.retain(|end| known.binary_search(&end.dot).is_err());
            }
        }
        let mut others: Vec<Dot> = self.expired(horizon).collect();
        if mutant::is(Mutant::RemovesKillConcurrent) {
            let mut named: Vec<Dot> = items().map(|(_, item)| item.dot).collect();
            named.sort_unstable();
            others.extend(self.planted_kills(fragment, &named));
        }
        if let Claims::Cells { context, .. } = &fragment.claims
            && !mutant::is(Mutant::CellClaimsIgnored)
        {
            for part in &fragment.cells {
                others.extend(self.dead_in_cell(part, context));
            }
        }
        self.judge_claims(&fragment.claims, &mut others);
        let (items_new, new) = (fresh.len() as u64, fragment.dots.minus_context(&self.context));
        let mut plan = Plan { dead, grows, items_new, items_known, new, horizon, spared: 0 };
        // What is named is in order.
        if !others.is_empty() {
            plan.dead.extend(self.ends(others.into_iter()));
            plan.settle();
        }
        (plan, fresh)
    }

    /// Of `dots` those that are live, to die.
    pub(super) fn ends(&self, dots: impl Iterator<Item = Dot>) -> impl Iterator<Item = End> {
        dots.filter_map(|dot| Some(End::new(dot, self.live.get(dot)?)))
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

    /// Above the ceiling and larger than now is refused, and more writers than have numbers; a fragment that shrinks the
    /// store passes.
    pub(super) fn check_ceiling(&self, plan: &Plan) -> Result<(), FrameError> {
        let max = self.limits.store_bytes_ceiling;
        // So many writers do not fit below any ceiling but one that was set far above what is usual.
        if self.live.replicas() + plan.new.columns().count() > REPLICAS_MAX {
            let after = self.bytes.saturating_add(plan.grows);
            return Err(FrameError::Ceiling { bytes: self.bytes, after, max });
        }
        if self.bytes.saturating_add(plan.grows) <= max {
            return Ok(());
        }
        let shrinks: u64 = plan.dead.iter().filter_map(|end| self.bytes_of(end.dot)).sum();
        let after = self.bytes + plan.grows - shrinks;
        if after > max && after > self.bytes && !mutant::is(Mutant::CeilingUnchecked) {
            return Err(FrameError::Ceiling { bytes: self.bytes, after, max });
        }
        Ok(())
    }

    /// Does what was planned; `fresh` are the items that will live, and where they go.
    pub(super) fn apply(
        &mut self,
        fragment: &Fragment,
        plan: Plan,
        fresh: impl Iterator<Item = (impl Borrow<CellId>, impl Borrow<Item>, To)>,
        from: Option<ReplicaId>,
    ) -> Joined {
        self.apply_by(fragment, plan, from, |store, count| {
            let (mut last, mut conflicts) = (None, 0);
            for (cell, item, to) in fresh.take(count) {
                let (cell, item) = (cell.borrow(), &ItemRef::from(item.borrow()));
                let ix = match to {
                    To::Place(ix) => {
                        store.take_place(ix, item);
                        last = Some(ix);
                        continue;
                    }
                    To::Cell(ix) => ix,
                    To::Same => last.expect("an item before it is in its cell"),
                    To::New(Some(spot)) => store.new_cell_at(cell, spot),
                    To::New(None) => store.new_cell(cell, None),
                    To::Unknown => store.place_of(cell),
                };
                let beside = store.put_at(ix, item);
                conflicts += u64::from(beside && cell.object.ty.has_conflicts(cell.path.as_bytes()));
                last = Some(ix);
            }
            conflicts
        })
    }

    /// As [`Self::apply`]; `put` makes so many of the items live, and counts those that stand beside others in conflict.
    pub(super) fn apply_by(
        &mut self,
        fragment: &Fragment,
        plan: Plan,
        from: Option<ReplicaId>,
        put: impl FnOnce(&mut Self, usize) -> u64,
    ) -> Joined {
        let Plan { dead, grows: _, items_new, items_known, new, horizon, spared } = plan;
        let mut joined = Joined { items_known, items_new, spared, ..Joined::default() };
        joined.state_changed = !new.is_empty() || !dead.is_empty() || horizon > self.horizon;
        let mut logged: Vec<Dot> = Vec::with_capacity(dead.len());
        let expired_before = self.horizon;
        // Dots of one replica after the other.
        for End { dot, ix, by } in dead {
            if by == By::Replaced {
                self.leave_place(ix, dot);
                logged.push(dot);
                continue;
            }
            let (ix, expires) = self.end(dot).expect("the plan names live dots only");
            // What the horizon kills needs no log entry: every fragment carries the horizon.
            let by_horizon = expires.0 != 0 && expires <= horizon && expires > expired_before;
            if by_horizon {
                self.note_expired(ix);
            } else {
                logged.push(dot);
            }
        }
        if mutant::is(Mutant::JoinedKillsNotLogged) {
            logged.clear();
        }
        let mut changed = DotSet::of_sorted(&logged);
        changed.union(&new);
        let whole = !mutant::is(Mutant::ContextBeforeCells) || matches!(fragment.claims, Claims::None);
        let apply = if whole { items_new } else { items_new / 2 };
        let apply = usize::try_from(apply).expect("it counts items in memory");
        joined.conflicts = put(self, apply);
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
