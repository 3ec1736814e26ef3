//! What every replica must show, from the abstract execution alone.
//!
//! A [`Model`] is told which operations a replica knows and works out what is visible there: a write is,
//! until an operation that had seen it ends it. Each type's rule is a file of its own, written from the
//! documentation of the types and sharing no code with the engine: no cells, no joins, no records.

pub mod lww_map;
pub mod or_set;
pub mod pn_counter;
pub mod typed;

use sync_core::id::Dot;

use crate::deed::Typed;
use crate::history::{History, Kind, Op, OpId, Seen};

/// What is visible to a replica that knows a given set of operations.
#[derive(Clone, Debug, Default)]
pub struct Model {
    seen: Seen,
    horizon: u64,
    /// Sets.
    pub sets: or_set::Sets,
    /// Maps.
    pub maps: lww_map::Maps,
    /// Counters.
    pub counters: pn_counter::Counters,
    /// All other types.
    pub typed: typed::Objects,
}

impl Model {
    /// The model of a replica that knows `seen`, with nothing expired.
    pub fn at(history: &History, seen: &Seen) -> Self {
        Self::at_horizon(history, seen, 0)
    }

    /// The model of a replica that knows `seen`, at this horizon.
    pub fn at_horizon(history: &History, seen: &Seen, horizon: u64) -> Self {
        let mut model = Self::default();
        model.advance(history, seen, horizon);
        model
    }

    /// The horizon.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// What the replica knows.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The replica has come to know `seen`, which covers what it knew, and what expires up to `horizon` is dead;
    /// gives back what is new, ascending. What expired ends what it had seen like any other write.
    ///
    /// The numbers of operations extend the order in which they saw each other, so in their order each
    /// one meets all that it had seen.
    pub fn advance(&mut self, history: &History, seen: &Seen, horizon: u64) -> Vec<OpId> {
        let mut fresh: Vec<OpId> = Vec::new();
        for (life, count) in seen.columns() {
            let known = self.seen.get(life);
            if count > known {
                let ops = history.of_life(life, known + 1, count);
                fresh.extend(ops.filter(|op| op.is_in(seen) && !op.is_in(&self.seen)).map(|op| op.id));
            }
        }
        fresh.sort_unstable();
        for id in &fresh {
            self.apply(history, history.op(*id));
        }
        self.seen = seen.clone();
        self.horizon = horizon;
        if history.has_expiries() {
            let expired = |id: &OpId| history.op(*id).is_expired(horizon);
            self.sets.forget(expired);
            self.maps.forget(expired);
            self.typed.forget(expired);
        }
        fresh
    }

    /// True if `op`, which wrote to one place of a set or a map, is visible; counters are taken to be.
    pub fn shows(&self, op: &Op) -> bool {
        let place = op.act.place().unwrap_or_default();
        let writes = match op.act.kind() {
            Kind::Set => self.sets.get(op.act.key()).and_then(|adds| adds.get(place)),
            Kind::Map => self.maps.get(op.act.key()).and_then(|fields| fields.get(place)),
            // Rows are cumulative: their totals are compared.
            Kind::Counter => return true,
            Kind::Typed(on) => return self.shows_typed(op, on),
        };
        writes.is_some_and(|writes| writes.contains(&op.id))
    }

    /// As above: where counts are among the operations, rows are cumulative.
    fn shows_typed(&self, op: &Op, on: Typed) -> bool {
        let places = self.typed.get(on, op.act.key());
        on.counts() || places.is_some_and(|places| places.values().any(|writes| writes.contains(&op.id)))
    }

    fn apply(&mut self, history: &History, op: &Op) {
        match op.act.kind() {
            Kind::Set => self.sets.apply(history, op),
            Kind::Map => self.maps.apply(history, op),
            Kind::Counter => self.counters.apply(history, op),
            Kind::Typed(_) => self.typed.apply(history, op),
        }
    }
}

/// Forgets the writes that `op` had seen.
fn end_seen(history: &History, writes: &mut Vec<OpId>, op: &Op) {
    writes.retain(|write| !op.saw(history.op(*write)));
}

/// Forgets the write of the dot `of`, if `op` had seen it, and takes in `op`, which stands for it.
fn write_again(history: &History, writes: &mut Vec<OpId>, op: &Op, of: Dot) {
    writes
        .retain(|write| !op.seen.contains(of) || history.op(*write).dots.is_none_or(|(_, last)| last != of));
    writes.push(op.id);
}
