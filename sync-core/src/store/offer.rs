//! Building fragments: what a push, a session's answer and a fallback say of this store.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{CellIx, ItemRef, Store};
use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, PathRange};
use crate::fragment::{CellPart, Claims, Fragment, Record};
use crate::id::{Dot, ReplicaId};
use crate::limits::Repair;
use crate::merkle::sketch::{SYMBOLS_KEPT, Symbol};
use crate::mutant::{self, Mutant};

/// About what an interval of live dots costs in a list.
const LISTED_INTERVAL_BYTES: u64 = 3;

/// Symbols of a first answer that shall show `ended` dots: one and a half for each, and two because few may
/// lie badly. If they do not suffice, more are asked for: half a round trip lost, and few bytes.
fn first_symbols(ended: u64) -> u64 {
    match ended {
        0 | 1 => 1,
        _ => ended.saturating_add(ended / 2).saturating_add(2),
    }
}

impl Store {
    /// The fragment of `dots` for a push: what is live of them, the records of their events, floors.
    ///
    /// A push carries records like every other fragment. Without them the receiver could not serve a
    /// session to a third replica that missed these events (checked: 2,197 of 6,000 runs break).
    pub fn push_fragment(&self, dots: DotSet) -> Fragment {
        let records = self.records.of(&dots).filter(|_| !mutant::is(Mutant::PushWithoutRecords));
        let records = records.map(|(dot, record)| (dot, record.clone())).collect();
        if mutant::is(Mutant::ContextNewerThanCells) {
            let cells = self.parts_of(&self.before_newest(&dots));
            return Fragment { cells, records, dots, horizon: self.horizon, ..Fragment::default() };
        }
        Fragment {
            cells: self.parts_of(&dots),
            claims: Claims::None,
            records,
            floors: self.floors_of(&dots),
            horizon: self.horizon,
            dots: if mutant::is(Mutant::PushNamesWholeContext) { self.context.to_dots() } else { dots },
        }
    }

    /// What a replica lacks that knows `theirs`: by claims if every record is at hand, else with a list of
    /// all live dots.
    pub fn answer(&self, theirs: &CausalContext) -> Fragment {
        let dots = self.lacking(theirs);
        if self.needs_fallback(&dots, theirs) {
            return Fragment { cells: self.parts_of(&dots), ..self.fallback(dots) };
        }
        let parts = self.parts_of(&dots).into_iter().map(|part| (part.cell.clone(), part)).collect();
        self.closed(dots, parts)
    }

    /// [`Self::answer`] without items, and without the cells that they tell all of.
    pub(super) fn outline(&self, theirs: &CausalContext) -> Fragment {
        let dots = self.lacking(theirs);
        if self.needs_fallback(&dots, theirs) {
            return self.fallback(dots);
        }
        let parts = self.shared_cells(&dots);
        self.closed(dots, parts)
    }

    fn lacking(&self, theirs: &CausalContext) -> DotSet {
        let dots = self.context.minus(theirs);
        if mutant::is(Mutant::AnswerReadsCellsLive) { self.before_newest(&dots) } else { dots }
    }

    /// What a replica lacks that knows `theirs`, with symbols of a sketch of the live dots instead of their
    /// list; `None` if records are enough, or the list is shorter by `prefer`.
    pub(crate) fn answer_by_sketch(
        &mut self,
        theirs: &CausalContext,
        answer: u64,
        prefer: Repair,
    ) -> Option<Fragment> {
        let dots = self.lacking(theirs);
        if theirs.is_empty() || !self.needs_fallback(&dots, theirs) {
            return None;
        }
        // Cells of the items are claimed, so that what these ended needs no symbols. What else an event ended
        // does: mostly one dot.
        let unclaimed = dots.len() - self.live_in(&dots).count() as u64;
        let ended = unclaimed.saturating_add(theirs.minus(&self.context).len());
        let symbols = usize::try_from(first_symbols(ended)).ok().filter(|symbols| *symbols <= SYMBOLS_KEPT);
        let bits = self.context.columns().map(|(_, events)| events / 8 + 8).sum();
        let listing = self.live_intervals().saturating_mul(LISTED_INTERVAL_BYTES).min(bits);
        let symbols = match (prefer, symbols) {
            (Repair::Listing, _) | (Repair::Shortest, None) => return None,
            (Repair::Shortest, Some(symbols)) if (symbols * Symbol::BYTES) as u64 >= listing => return None,
            (Repair::Shortest, Some(symbols)) => symbols,
            (Repair::Sketch { first }, _) => first.clamp(1, SYMBOLS_KEPT),
        };
        let context = self.context.clone();
        let symbols = self.sketch_symbols(0..symbols).to_vec();
        let mut cells = self.parts_of(&dots);
        self.claim(&mut cells, &dots);
        let fallback = Fragment { cells, ..self.fallback(dots) };
        Some(Fragment { claims: Claims::Sketch { context, answer, symbols }, ..fallback })
    }

    /// True if the record of some event in `dots` that `theirs` lacks may be missing here.
    pub(super) fn needs_fallback(&self, dots: &DotSet, theirs: &CausalContext) -> bool {
        !mutant::is(Mutant::FloorsIgnored)
            && dots.columns().any(|(replica, _)| theirs.get(replica) < self.records.floor(replica))
    }

    /// T6: the dots, and a claim for every cell of `parts` or touched by a record.
    fn closed(&self, dots: DotSet, mut parts: BTreeMap<CellId, CellPart>) -> Fragment {
        let dots = if mutant::is(Mutant::AnswerNamesWholeContext) { self.context.to_dots() } else { dots };
        let mut ranges: BTreeSet<&PathRange> = BTreeSet::new();
        let mut records = Vec::new();
        for (dot, record) in self.records.of(&dots) {
            match record {
                Record::Cells(cells) => {
                    for cell in cells.iter().filter(|_| !mutant::is(Mutant::RecordCellsNotClaimed)) {
                        parts.entry(cell.clone()).or_insert_with(|| CellPart {
                            cell: cell.clone(),
                            items: Vec::new(),
                            others: Vec::new(),
                        });
                    }
                }
                Record::Range(_) if mutant::is(Mutant::RecordRangesNotClaimed) => {}
                Record::Range(range) => {
                    ranges.insert(range);
                }
            }
            records.push((dot, record.clone()));
        }
        self.claim(parts.values_mut(), &dots);
        let ranges = ranges.into_iter().map(|range| (range.clone(), self.live_in_range(range))).collect();
        Fragment {
            cells: parts.into_values().collect(),
            claims: Claims::Cells { context: self.context.clone(), ranges },
            records,
            floors: self.floors_of(&dots),
            horizon: self.horizon,
            dots,
        }
    }

    /// Says of each cell what is live there besides the items of `dots`.
    fn claim<'a>(&self, parts: impl IntoIterator<Item = &'a mut CellPart>, dots: &DotSet) {
        for part in parts {
            let live = self.items_of(&part.cell).iter().map(|item| item.dot);
            part.others =
                live.filter(|dot| !dots.contains(*dot) && !mutant::is(Mutant::ClaimsOmitOthers)).collect();
        }
    }

    /// T7: the dots, and all that is live here. A dot live only at the receiver is dead if this context
    /// holds it; of a dot live only here the receiver needs the payload only if it lacks the dot. So the
    /// effect is that of the full state, for the bytes of the difference and of the live intervals.
    fn fallback(&self, dots: DotSet) -> Fragment {
        Fragment {
            cells: Vec::new(),
            claims: Claims::Whole { context: self.context.clone(), live: self.live_dots().collect() },
            records: Vec::new(),
            floors: Vec::new(),
            horizon: self.horizon,
            dots,
        }
    }

    fn parts_of(&self, dots: &DotSet) -> Vec<CellPart> {
        let live = self.live_in(dots).map(|(dot, ix)| (ix, self.item_in(ix, dot)));
        let mut live: Vec<(CellIx, ItemRef<'_>)> = live.collect();
        // Within a cell the items stay in the order of their dots: the sort is stable.
        live.sort_by(|(one, _), (other, _)| self.cell_order(*one, *other));
        let part = |items: &[(CellIx, ItemRef<'_>)]| CellPart {
            cell: self.cell_id(items[0].0),
            items: items.iter().map(|(_, item)| item.to_item()).collect(),
            others: Vec::new(),
        };
        live.chunk_by(|(one, _), (other, _)| one == other).map(part).collect()
    }

    /// The order of two cells' ids.
    fn cell_order(&self, one: CellIx, other: CellIx) -> Ordering {
        let (one, other) = (self.slot(one), self.slot(other));
        let objects = if one.object == other.object {
            Ordering::Equal
        } else {
            self.object_id(one).cmp(self.object_id(other))
        };
        objects.then_with(|| self.slots.path(one).cmp(self.slots.path(other)))
    }

    fn live_in_range(&self, range: &PathRange) -> DotSet {
        self.cells_in(range).flat_map(|(_, items)| items.iter().map(|item| item.dot)).collect()
    }

    /// Per column of `dots`, the floor that their learner inherits.
    fn floors_of(&self, dots: &DotSet) -> Vec<(ReplicaId, u64)> {
        let floor = |(replica, _)| Some((replica, self.records.floor(replica))).filter(|(_, seq)| *seq > 0);
        dots.columns().filter_map(floor).collect()
    }

    /// The dots of `dots` that a push to a replica known to hold `known` must name.
    ///
    /// A dot that the receiver holds *and that is live here* may be left out; a dot dead here stays in,
    /// or the receiver would keep it (checked: leaving out all known dots breaks 3,758 of 6,000 runs).
    pub(crate) fn needed_by(&self, dots: DotSet, known: &CausalContext) -> DotSet {
        if mutant::is(Mutant::KnownIsPushed) {
            return dots;
        }
        if mutant::is(Mutant::KnownDeadLeftOut) {
            return dots.minus_context(known);
        }
        let spared: Vec<Dot> =
            self.live_in(&dots).map(|(dot, _)| dot).filter(|dot| known.contains(*dot)).collect();
        let mut needed = dots;
        for dot in spared {
            needed.remove(dot);
        }
        needed
    }
}
