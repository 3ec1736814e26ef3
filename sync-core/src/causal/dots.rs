//! Sets of dots: what frames name, what a log entry says, what is staged.
//!
//! Most sets are the dots of one event: a new one and one that it ended. Such a set takes no allocation.

use std::fmt;

use super::CausalContext;
use crate::id::{Dot, ReplicaId};

/// An inclusive range of sequence numbers of one replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interval {
    /// The first, at least 1.
    pub first: u64,
    /// The last, at least [`Self::first`].
    pub last: u64,
}

/// A set of dots, as sorted, disjoint, non-adjacent intervals per replica.
///
/// The form is canonical: equal sets have equal intervals, so they encode to equal bytes.
#[derive(Clone, Default)]
pub struct DotSet(Form);

/// Intervals of one column that stand in place.
const INLINE_MAX: usize = 2;

#[derive(Clone)]
enum Form {
    /// One column of at most [`INLINE_MAX`] intervals; nothing if `len` is 0. Behind `len` all is 0.
    Few { len: u8, replica: ReplicaId, intervals: [Interval; INLINE_MAX] },
    /// Any columns, ascending, none of them empty.
    Many(Vec<(ReplicaId, Vec<Interval>)>),
}

impl Default for Form {
    fn default() -> Self {
        let intervals = [Interval { first: 0, last: 0 }; INLINE_MAX];
        Self::Few { len: 0, replica: ReplicaId([0; 16]), intervals }
    }
}

impl DotSet {
    /// The set of one dot.
    pub fn of(dot: Dot) -> Self {
        let mut set = Self::default();
        set.insert(dot);
        set
    }

    /// The set of dots that ascend.
    pub(crate) fn of_sorted(dots: &[Dot]) -> Self {
        let mut set = Self::default();
        for column in dots.chunk_by(|one, next| one.replica == next.replica) {
            // Here it is known how many intervals come, so the list need not grow step by step.
            let gaps = column.windows(2).filter(|pair| pair[0].seq + 1 < pair[1].seq).count();
            if gaps >= INLINE_MAX {
                set.columns_mut().push((column[0].replica, Vec::with_capacity(gaps + 1)));
            }
            column.iter().for_each(|dot| set.insert(*dot));
        }
        set
    }

    /// Adds one dot.
    pub fn insert(&mut self, dot: Dot) {
        self.insert_range(dot.replica, dot.seq, dot.seq);
    }

    /// Adds `first..=last` of `replica`; nothing if the range is empty.
    pub fn insert_range(&mut self, replica: ReplicaId, first: u64, last: u64) {
        if first > last {
            return;
        }
        if self.insert_in_place(replica, first, last) {
            return;
        }
        let columns = self.columns_mut();
        let at = match columns.last() {
            // Mostly sets are filled in order.
            Some((highest, _)) if *highest == replica => columns.len() - 1,
            Some(_) | None => columns.partition_point(|(other, _)| *other < replica),
        };
        if columns.get(at).is_none_or(|(other, _)| *other != replica) {
            columns.insert(at, (replica, Vec::new()));
        }
        let intervals = &mut columns[at].1;
        match intervals.last_mut() {
            None => intervals.push(Interval { first, last }),
            Some(end) if end.last + 1 < first => intervals.push(Interval { first, last }),
            Some(end) if end.first <= first => end.last = end.last.max(last),
            Some(_) => {
                let start = intervals.partition_point(|interval| interval.last + 1 < first);
                let touching = intervals[start..].iter().take_while(|i| i.first <= last + 1).count();
                let mut merged = Interval { first, last };
                for interval in &intervals[start..start + touching] {
                    merged.first = merged.first.min(interval.first);
                    merged.last = merged.last.max(interval.last);
                }
                intervals.splice(start..start + touching, [merged]);
            }
        }
    }

    /// An empty set with room for `columns` columns.
    pub(crate) fn with_columns(columns: usize) -> Self {
        if columns > 1 { Self(Form::Many(Vec::with_capacity(columns))) } else { Self::default() }
    }

    /// Adds a column above all others, of intervals that ascend and do not touch; none adds nothing.
    pub(crate) fn push_column(&mut self, replica: ReplicaId, intervals: Vec<Interval>) {
        match &mut self.0 {
            Form::Few { len: 0, .. } if intervals.len() > INLINE_MAX => {
                self.0 = Form::Many(vec![(replica, intervals)]);
            }
            Form::Many(columns) => columns.extend((!intervals.is_empty()).then_some((replica, intervals))),
            Form::Few { .. } => {
                intervals
                    .iter()
                    .for_each(|interval| self.insert_range(replica, interval.first, interval.last));
            }
        }
    }

    /// Bytes of memory, if no list has room to spare.
    pub(crate) fn memory(&self) -> usize {
        self.columns().map(|(_, intervals)| Self::COLUMN_BYTES + size_of_val(intervals)).sum()
    }

    /// Bytes of a column, without its intervals.
    pub(crate) const COLUMN_BYTES: usize = size_of::<(ReplicaId, Vec<Interval>)>();

    /// Adds a range to a set that stays in place; false, and nothing changed, if it does not.
    fn insert_in_place(&mut self, replica: ReplicaId, first: u64, last: u64) -> bool {
        let Form::Few { len, replica: column, intervals } = &mut self.0 else { return false };
        match (*len, intervals.as_mut_slice()) {
            (0, [one, _]) => {
                (*len, *column, *one) = (1, replica, Interval { first, last });
                true
            }
            (1, [one, two]) if *column == replica => {
                if one.last + 1 < first {
                    (*len, *two) = (2, Interval { first, last });
                } else if last + 1 < one.first {
                    (*len, *two, *one) = (2, *one, Interval { first, last });
                } else {
                    *one = Interval { first: one.first.min(first), last: one.last.max(last) };
                }
                true
            }
            (2, [_, two]) if *column == replica && two.first <= first && first <= two.last + 1 => {
                two.last = two.last.max(last);
                true
            }
            (_, _) => false,
        }
    }

    fn columns_mut(&mut self) -> &mut Vec<(ReplicaId, Vec<Interval>)> {
        if let Form::Few { .. } = &self.0 {
            let columns = self.columns().map(|(replica, intervals)| (replica, intervals.to_vec()));
            self.0 = Form::Many(columns.collect());
        }
        match &mut self.0 {
            Form::Many(columns) => columns,
            Form::Few { .. } => unreachable!("it was just made the other form"),
        }
    }

    /// The intervals of one column.
    pub(crate) fn of_column(&self, replica: ReplicaId) -> &[Interval] {
        match &self.0 {
            Form::Few { len, replica: column, intervals } if *column == replica => {
                &intervals[..usize::from(*len)]
            }
            Form::Few { .. } => &[],
            Form::Many(columns) => {
                let at = columns.binary_search_by_key(&replica, |(column, _)| *column);
                at.map_or(&[], |at| columns[at].1.as_slice())
            }
        }
    }

    /// Adds every dot of `other`.
    pub fn union(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for (replica, interval) in other.intervals() {
            self.insert_range(replica, interval.first, interval.last);
        }
    }

    /// True if `dot` is in the set.
    pub fn contains(&self, dot: Dot) -> bool {
        let intervals = self.of_column(dot.replica);
        let at = intervals.partition_point(|interval| interval.last < dot.seq);
        intervals.get(at).is_some_and(|interval| interval.first <= dot.seq)
    }

    /// The dots of this set that `context` does not hold.
    pub fn minus_context(&self, context: &CausalContext) -> Self {
        let mut rest = Self::with_columns(self.columns().count());
        for (replica, intervals) in self.columns() {
            let known = context.get(replica);
            let start = intervals.partition_point(|interval| interval.last <= known);
            if let [first, more @ ..] = &intervals[start..] {
                let mut list = Vec::with_capacity(1 + more.len());
                list.push(Interval { first: first.first.max(known + 1), last: first.last });
                list.extend_from_slice(more);
                rest.push_column(replica, list);
            }
        }
        rest
    }

    /// The dots of this set that `other` does not name.
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (replica, interval) in self.intervals() {
            let mut first = interval.first;
            for taken in other.overlapping(replica, interval) {
                if taken.first > first {
                    rest.insert_range(replica, first, taken.first - 1);
                }
                first = taken.last + 1;
            }
            rest.insert_range(replica, first, interval.last);
        }
        rest
    }

    /// The dots that both sets name.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (replica, interval) in self.intervals() {
            for theirs in other.overlapping(replica, interval) {
                let (first, last) = (interval.first.max(theirs.first), interval.last.min(theirs.last));
                both.insert_range(replica, first, last);
            }
        }
        both
    }

    /// [`Self::intersection`] in lists that are made as long as they need to be.
    pub(crate) fn intersection_exact(&self, other: &Self) -> Self {
        let mut both = Self::with_columns(self.columns().count());
        for (replica, intervals) in self.columns() {
            let shared = |interval: &Interval| {
                let Interval { first, last } = *interval;
                let cut = move |theirs: Interval| (first.max(theirs.first), last.min(theirs.last));
                other.overlapping(replica, *interval).map(cut)
            };
            let count = intervals.iter().map(|interval| shared(interval).count()).sum();
            let mut list = Vec::with_capacity(count);
            list.extend(intervals.iter().flat_map(shared).map(|(first, last)| Interval { first, last }));
            both.push_column(replica, list);
        }
        both
    }

    /// The intervals of `replica` that share a dot with `interval`.
    fn overlapping(&self, replica: ReplicaId, interval: Interval) -> impl Iterator<Item = Interval> + '_ {
        let intervals = self.of_column(replica);
        let start = intervals.partition_point(|theirs| theirs.last < interval.first);
        intervals[start..].iter().take_while(move |theirs| theirs.first <= interval.last).copied()
    }

    /// This set and what lies between two of its neighbouring intervals, where `other` names nothing there.
    pub fn bridged(&self, other: &Self) -> Self {
        let mut bridged = Self::default();
        for (replica, intervals) in self.columns() {
            let mut before: Option<Interval> = None;
            for interval in intervals {
                let gap = before.map(|before| Interval { first: before.last + 1, last: interval.first - 1 });
                let gap = gap.filter(|gap| other.overlapping(replica, *gap).next().is_none());
                bridged.insert_range(replica, gap.map_or(interval.first, |gap| gap.first), interval.last);
                before = Some(*interval);
            }
        }
        bridged
    }

    /// The first `count` intervals.
    pub fn first_intervals(&self, count: usize) -> Self {
        let mut some = Self::default();
        for (replica, interval) in self.intervals().take(count) {
            some.insert_range(replica, interval.first, interval.last);
        }
        some
    }

    /// Takes `dot` out; true if it was there.
    pub fn remove(&mut self, dot: Dot) -> bool {
        if !self.contains(dot) {
            return false;
        }
        if *self == Self::of(dot) {
            *self = Self::default();
            return true;
        }
        let columns = self.columns_mut();
        let column = columns.partition_point(|(replica, _)| *replica < dot.replica);
        let intervals = &mut columns[column].1;
        let at = intervals.partition_point(|interval| interval.last < dot.seq);
        let Interval { first, last } = intervals[at];
        let left = (first < dot.seq).then(|| Interval { first, last: dot.seq - 1 });
        let right = (dot.seq < last).then(|| Interval { first: dot.seq + 1, last });
        intervals.splice(at..=at, left.into_iter().chain(right));
        if intervals.is_empty() {
            columns.remove(column);
        }
        true
    }

    /// Every interval, in ascending order of replica and sequence.
    pub fn intervals(&self) -> impl Iterator<Item = (ReplicaId, Interval)> + '_ {
        self.columns().flat_map(|(replica, list)| list.iter().map(move |interval| (replica, *interval)))
    }

    /// The columns that are not empty, each with its intervals.
    pub fn columns(&self) -> impl Iterator<Item = (ReplicaId, &[Interval])> + '_ {
        let (few, many) = match &self.0 {
            Form::Few { len, replica, intervals } => {
                let few = Some((*replica, &intervals[..usize::from(*len)]));
                (few.filter(|(_, intervals)| !intervals.is_empty()), &[][..])
            }
            Form::Many(columns) => (None, columns.as_slice()),
        };
        few.into_iter().chain(many.iter().map(|(replica, list)| (*replica, list.as_slice())))
    }

    /// The highest sequence named of each column.
    pub fn tops(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.columns().filter_map(|(replica, list)| list.last().map(|interval| (replica, interval.last)))
    }

    /// The highest sequence named of `replica`; 0 if none.
    pub fn top(&self, replica: ReplicaId) -> u64 {
        self.of_column(replica).last().map_or(0, |interval| interval.last)
    }

    /// The lowest sequence named of `replica`; 0 if none.
    pub fn bottom(&self, replica: ReplicaId) -> u64 {
        self.of_column(replica).first().map_or(0, |interval| interval.first)
    }

    /// Every dot. The caller has bounded the set: a hostile interval can name 2^40 of them.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.intervals().flat_map(|(replica, interval)| {
            (interval.first..=interval.last).map(move |seq| Dot::new(replica, seq))
        })
    }

    /// Number of dots, saturating.
    pub fn len(&self) -> u64 {
        self.intervals().fold(0, |sum: u64, (_, i)| sum.saturating_add(i.last - i.first + 1))
    }

    /// Number of dots that are also in `other`, saturating.
    pub fn overlap(&self, other: &Self) -> u64 {
        let mut shared = 0u64;
        for (replica, ours) in self.intervals() {
            for theirs in other.overlapping(replica, ours) {
                let (first, last) = (ours.first.max(theirs.first), ours.last.min(theirs.last));
                shared = shared.saturating_add(last - first + 1);
            }
        }
        shared
    }

    /// True if no dot is in the set.
    pub fn is_empty(&self) -> bool {
        self.columns().next().is_none()
    }
}

// Two forms of one set are equal, and print alike: the state key of a node hashes the text.

impl PartialEq for DotSet {
    fn eq(&self, other: &Self) -> bool {
        self.columns().eq(other.columns())
    }
}

impl Eq for DotSet {}

impl fmt::Debug for DotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.columns()).finish()
    }
}

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut set = Self::default();
        for dot in dots {
            set.insert(dot);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeSet;

    fn replica(n: u8) -> ReplicaId {
        ReplicaId([n; 16])
    }

    #[test]
    fn intervals_behave_like_a_plain_set_of_dots() {
        let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
        for _ in 0..500 {
            let (mut set, mut plain) = (DotSet::default(), BTreeSet::new());
            for _ in 0..40 {
                let dot = Dot::new(replica(rng.random_range(0..2)), rng.random_range(1..12));
                if rng.random_bool(0.7) {
                    set.insert(dot);
                    plain.insert(dot);
                } else {
                    assert_eq!(set.remove(dot), plain.remove(&dot));
                }
                assert_eq!(set.dots().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
                assert_eq!(set, plain.iter().copied().collect::<DotSet>(), "the form is canonical");
                assert_eq!(set.len(), plain.len() as u64);
                let window: DotSet = (3..8).map(|seq| Dot::new(replica(0), seq)).collect();
                let inside: BTreeSet<Dot> =
                    plain.iter().copied().filter(|dot| window.contains(*dot)).collect();
                assert_eq!(set.overlap(&window), inside.len() as u64);
                assert_eq!(set.intersection(&window), inside.iter().copied().collect::<DotSet>());
                assert_eq!(set.intersection_exact(&window), set.intersection(&window));
                let known = CausalContext::from_iter([(replica(0), 4)]);
                let unknown = plain.iter().copied().filter(|dot| !known.contains(*dot));
                assert_eq!(set.minus_context(&known), unknown.collect::<DotSet>());
                assert_eq!(set.minus(&window), plain.difference(&inside).copied().collect::<DotSet>());
                assert!((1..12).all(|seq| {
                    let dot = Dot::new(replica(0), seq);
                    set.contains(dot) == plain.contains(&dot)
                }));
            }
        }
    }

    #[test]
    fn gaps_are_bridged_only_where_the_other_set_names_nothing() {
        let set: DotSet = [1, 2, 5, 9].map(|seq| Dot::new(replica(1), seq)).into_iter().collect();
        let mut bridged = DotSet::default();
        bridged.insert_range(replica(1), 1, 5);
        bridged.insert(Dot::new(replica(1), 9));
        let other = [2, 7].map(|seq| Dot::new(replica(1), seq)).into_iter().collect();
        assert_eq!(set.bridged(&other), bridged);
        assert_eq!(set.first_intervals(1).len(), 2);
    }
}
