//! Records: which cells an event touched by killing, for the sessions of those who missed it.
//!
//! Kept only for removes, for writes that kill dots of another cell, and for expiring writes; for any
//! other write its own cell tells (DESIGN section 3, T6). Bounded: when the oldest goes, the *floor* of
//! its column rises to it, and a peer that needs a record at or below a floor comes by the fallback.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::persist::{floor_row, record_row};
use crate::causal::{DotSet, Interval};
use crate::fragment::Record;
use crate::id::{Dot, NamespaceId, ReplicaId};
use crate::limits::Limits;
use crate::mutant::{self, Mutant};
use crate::rows::Row;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    by_dot: BTreeMap<Dot, Record>,
    /// Dots in the order in which their records came, oldest first.
    order: VecDeque<Dot>,
    bytes: usize,
    /// Per column, the highest sequence whose record may be lacking here.
    floors: BTreeMap<ReplicaId, u64>,
    /// How many records went before the first in order: with its place there, a record's number on disk.
    base: u64,
    /// The numbers that the last persist step left on disk.
    taken: std::ops::Range<u64>,
    /// Floors raised since then, once a step was taken. At most one a column.
    raised: Option<BTreeSet<ReplicaId>>,
}

impl Records {
    /// Keeps the record of `dot`, dropping the oldest beyond the limits.
    pub(crate) fn insert(&mut self, dot: Dot, record: Record, limits: &Limits) {
        self.bytes += record.bytes();
        if let Some(old) = self.by_dot.insert(dot, record) {
            self.bytes -= old.bytes();
            // Its row is another now, and which of them it is nobody knows: all are written again.
            self.taken.end = self.taken.start;
        } else {
            self.order.push_back(dot);
        }
        while !mutant::is(Mutant::RecordsUnbounded)
            && (self.by_dot.len() > limits.records_max || self.bytes > limits.records_bytes_max)
        {
            let Some(oldest) = self.order.pop_front() else { break };
            self.base += 1;
            self.forget(oldest);
            if !mutant::is(Mutant::TruncationIgnored) {
                self.raise_floor(oldest.replica, oldest.seq);
            }
        }
    }

    /// Takes back the newest record: its event was rolled back.
    pub(crate) fn take_back(&mut self, dot: Dot) {
        if self.order.back() == Some(&dot) {
            self.order.pop_back();
        }
        self.forget(dot);
    }

    fn forget(&mut self, dot: Dot) {
        if let Some(record) = self.by_dot.remove(&dot) {
            self.bytes -= record.bytes();
        }
    }

    /// Records up to `seq` of `replica` may be lacking here.
    pub(crate) fn raise_floor(&mut self, replica: ReplicaId, seq: u64) {
        let floor = self.floors.entry(replica).or_default();
        *floor = seq.max(*floor);
        if let Some(raised) = &mut self.raised {
            raised.insert(replica);
        }
    }

    /// The disk holds all of it: the next step writes only what is new.
    pub(super) fn begin_notes(&mut self) {
        self.taken = self.numbers();
        self.raised = Some(BTreeSet::new());
    }

    fn numbers(&self) -> std::ops::Range<u64> {
        self.base..self.base + self.order.len() as u64
    }

    /// Appends the rows that changed since the last step, or all if `whole`.
    pub(super) fn take_rows(&mut self, whole: bool, namespace: NamespaceId, rows: &mut Vec<Row>) {
        let (numbers, taken) = (self.numbers(), self.taken.clone());
        let raised = self.raised.replace(BTreeSet::new()).unwrap_or_default();
        let from = if whole { numbers.start } else { taken.end.max(numbers.start) };
        if !whole {
            let gone = taken.start..taken.end.min(numbers.start);
            rows.extend(gone.map(|number| record_row(namespace, number, None)));
        }
        let skip = usize::try_from(from - numbers.start).expect("it counts records in memory");
        let new = (from..).zip(self.order.iter().skip(skip));
        rows.extend(new.map(|(number, dot)| record_row(namespace, number, Some((*dot, &self.by_dot[dot])))));
        let floors = self.floors.iter().filter(|(replica, _)| whole || raised.contains(replica));
        rows.extend(floors.map(|(replica, seq)| floor_row(namespace, *replica, *seq)));
        self.taken = numbers;
    }

    /// Takes in the record that came as number `number`; they come in order. False if there is a gap, or the event
    /// has a record already.
    pub(super) fn restore(&mut self, number: u64, dot: Dot, record: Record) -> bool {
        if self.order.is_empty() {
            self.base = number;
        }
        let is_next = number == self.numbers().end;
        self.bytes += record.bytes();
        self.order.push_back(dot);
        self.by_dot.insert(dot, record).is_none() && is_next
    }

    /// The floor of `replica`; 0 if no record of it is lacking.
    pub(crate) fn floor(&self, replica: ReplicaId) -> u64 {
        self.floors.get(&replica).copied().unwrap_or(0)
    }

    /// All floors, ascending by replica.
    pub(crate) fn floors(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.floors.iter().map(|(replica, seq)| (*replica, *seq))
    }

    /// The records of the events in `dots`, ascending by dot.
    pub(crate) fn of(&self, dots: &DotSet) -> impl Iterator<Item = (Dot, &Record)> {
        dots.intervals().flat_map(|(replica, Interval { first, last })| {
            let range = Dot::new(replica, first)..=Dot::new(replica, last);
            self.by_dot.range(range).map(|(dot, record)| (*dot, record))
        })
    }

    /// Every record kept, ascending by dot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &Record)> {
        self.by_dot.iter().map(|(dot, record)| (*dot, record))
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets every record and says nothing of it; their numbers on disk are used up.
    pub(super) fn planted_forget(&mut self) {
        self.base = self.numbers().end;
        self.order.clear();
        self.by_dot.clear();
        self.bytes = 0;
    }

    /// Forgets every floor.
    pub(super) fn planted_sink(&mut self) {
        self.floors.clear();
    }

    /// Walks all records: count, bytes and order are theirs.
    #[cfg(any(test, feature = "faults"))]
    pub(super) fn check(&self) -> Result<(), String> {
        use super::check::is;
        is("bytes of records", self.bytes, self.by_dot.values().map(Record::bytes).sum())?;
        is("records in order", self.order.len(), self.by_dot.len())?;
        let ordered: std::collections::BTreeSet<&Dot> = self.order.iter().collect();
        is("records by dot", true, ordered.into_iter().eq(self.by_dot.keys()))
    }

    /// Number of records kept.
    pub(crate) fn len(&self) -> usize {
        self.by_dot.len()
    }
}
