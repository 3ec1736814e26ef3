//! Telling of changes: one event for each step of a store, while somebody watches.
//!
//! The store notes what a step changed (`store/changes.rs`); here that becomes [`Event::Changed`], numbered
//! without gaps. What does not fit into [`Limits::changes_bytes_max`](crate::limits::Limits::changes_bytes_max)
//! is not told and its number is left out: a reader that sees a gap, or [`Event::EventsLost`], reads again what
//! it watches. So neither a large join nor a driver that is late makes the node keep more than that.
//!
//! When [`Limits::changes_waiting_max`](crate::limits::Limits::changes_waiting_max) steps wait, the stores stop
//! noting: looking for changes costs as much as making them, and whoever reads must read again anyway. They
//! begin anew when [`Event::EventsLost`] is taken, which comes after all that waits.

use super::{Cause, Event, Node};
use crate::id::{NamespaceId, ReplicaId};
use crate::limits::Limits;
use crate::mutant::{self, Mutant};
use crate::store::{Captured, PlaceChange};
use crate::time::WallMillis;
use crate::types::conflict::{self, Opened};

/// One step of a store, as its readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The namespace.
    pub namespace: NamespaceId,
    /// Counts these events, over all namespaces, without a gap but where one was too large to keep.
    pub number: u64,
    /// Who changed it. A change that is [`PlaceChange::expired`] was made by the horizon that came along.
    pub cause: Cause,
    /// Every place that reads otherwise than before the step, ascending; none if it changed nothing to be seen.
    pub changes: Vec<PlaceChange>,
    /// The events that became known by the step, as the highest of each column.
    pub learned: Vec<(ReplicaId, u64)>,
    /// The horizon after the step.
    pub horizon: WallMillis,
}

impl Changed {
    /// About what keeping it costs, in bytes.
    pub fn bytes(&self) -> usize {
        let learned = self.learned.len() * size_of::<(ReplicaId, u64)>();
        size_of::<Self>() + learned + self.changes.iter().map(PlaceChange::bytes).sum::<usize>()
    }
}

/// What is kept for telling of changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Telling {
    /// Number of the last step told, or left out.
    told: u64,
    /// Events that wait to be taken, and their bytes.
    waiting: usize,
    bytes: usize,
    /// Too many waited: nothing is noted until [`Event::EventsLost`] is taken.
    paused: bool,
    /// Tell of conflicts too.
    conflicts: bool,
    /// Times that damage was healed here.
    healed: u64,
}

impl Node {
    /// Turns [`Event::Changed`] on or off. While it is off, writes and joins pay nothing for it.
    pub fn set_changes(&mut self, on: bool) {
        if self.config.changes != on {
            self.config.changes = on;
            self.capture();
        }
    }

    /// Turns [`Event::Conflicts`] on or off; they come only while [`Event::Changed`] does.
    pub fn set_conflicts(&mut self, on: bool) {
        if self.telling.conflicts != on {
            self.telling.conflicts = on;
            self.capture();
        }
    }

    /// The number of the last [`Event::Changed`], whether it was taken yet or not: what is read under the same lock
    /// includes that step and none after it.
    pub fn changes_told(&self) -> u64 {
        self.telling.told
    }

    /// How often damage was healed here in this life. What healing changes is no event, so what was read before it
    /// cannot be brought up to date by a context.
    pub fn healings(&self) -> u64 {
        self.telling.healed
    }

    /// Brings the stores in line with what is to be told.
    pub(super) fn capture(&mut self) {
        let own = self.telling.conflicts.then_some(self.replica);
        let noting = self.config.changes && !self.telling.paused;
        let on = noting.then_some((self.config.limits.changes_bytes_max, own));
        self.spaces.values_mut().for_each(|space| space.store.capture(on));
    }

    /// A step is done: tells of it whoever wants to know.
    pub(super) fn changed(
        &mut self,
        namespace: NamespaceId,
        cause: Cause,
        learned: impl Iterator<Item = (ReplicaId, u64)>,
    ) {
        self.telling.healed += u64::from(cause == Cause::Repair);
        let Some(space) = self.spaces.get_mut(&namespace) else { return };
        if let Some(Captured { changes, conflicts }) = space.store.take_changes() {
            let horizon = space.store.horizon();
            if !conflicts.is_empty() {
                self.event(Event::Conflicts { namespace, cause, conflicts });
            }
            match changes {
                Some(changes) => {
                    let learned: Vec<(ReplicaId, u64)> = learned.collect();
                    self.tell(Changed { namespace, number: 0, cause, changes, learned, horizon });
                }
                None => self.leave_out(),
            }
        } else if self.config.changes {
            self.leave_out();
        }
        let Some(space) = self.spaces.get_mut(&namespace) else { return };
        for key in space.store.take_types_met() {
            let opened = conflict::open(&self.spaces[&namespace].store, key.as_str());
            if let Some(Opened { ty, others }) = opened.filter(|opened| !opened.others.is_empty()) {
                self.event(Event::TypesMet { namespace, key, ty, others });
            }
        }
    }

    fn tell(&mut self, mut changed: Changed) {
        if changed.changes.is_empty() && changed.learned.is_empty() {
            return;
        }
        if mutant::is(Mutant::BatchSplit) && changed.changes.len() > 1 {
            let rest = changed.changes.split_off(1);
            let first = changed.clone();
            changed.changes = rest;
            self.tell(first);
        }
        let bytes = changed.bytes();
        let Limits { changes_bytes_max, changes_waiting_max, .. } = self.config.limits;
        if self.telling.bytes + bytes > changes_bytes_max {
            return self.leave_out();
        }
        if self.telling.waiting >= changes_waiting_max {
            self.telling.paused = true;
            self.capture();
            return self.leave_out();
        }
        self.telling.told += 1;
        self.telling.waiting += 1;
        self.telling.bytes += bytes;
        changed.number = self.telling.told;
        self.event(Event::Changed(changed));
    }

    fn leave_out(&mut self) {
        self.telling.told += 1;
        self.events_lost += 1;
    }

    /// What was left out, if anything was: then it is told from here on again.
    pub(super) fn take_lost(&mut self) -> Option<Event> {
        let count = std::mem::take(&mut self.events_lost);
        if std::mem::take(&mut self.telling.paused) {
            self.capture();
        }
        (count > 0).then_some(Event::EventsLost { count })
    }

    /// An event has left the queue.
    pub(super) fn event_gone(&mut self, event: &Event) {
        self.events -= 1;
        if let Event::Changed(changed) = event {
            self.telling.waiting -= 1;
            self.telling.bytes -= changed.bytes();
        }
    }
}
