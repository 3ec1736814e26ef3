//! What is known: the causal context of a store, and sets of dots in frames, records and log.
//!
//! Causal closure holds at every replica (DESIGN section 3, CC), so the events known of a replica are
//! always a prefix `1..=n` and the context is a version vector, [`crdts::VClock`]. Dots named by a
//! frame have no such shape; [`DotSet`] keeps them as intervals.

use std::collections::BTreeMap;

use crdts::{CmRDT, CvRDT, VClock};

use crate::id::{Dot, ReplicaId};

/// The events a store knows: for each incarnation, the prefix `1..=n`.
///
/// ```
/// use sync_core::causal::CausalContext;
/// use sync_core::id::{Dot, ReplicaId};
/// let a = ReplicaId([1; 16]);
/// let mut context = CausalContext::default();
/// context.advance(a, 3);
/// assert!(context.contains(Dot::new(a, 2)));
/// assert!(!context.contains(Dot::new(a, 4)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalContext(VClock<ReplicaId>);

impl CausalContext {
    /// The highest event known of `replica`; 0 if none.
    pub fn get(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica)
    }

    /// True if `dot` is known.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.seq <= self.get(dot.replica)
    }

    /// Raises the prefix of `replica` to `seq`; a lower or equal `seq` changes nothing.
    pub fn advance(&mut self, replica: ReplicaId, seq: u64) {
        self.0.apply(crdts::Dot::new(replica, seq));
    }

    /// The union with `other`.
    pub fn join(&mut self, other: &Self) {
        self.0.merge(other.0.clone());
    }

    /// True if every event of `other` is known here.
    pub fn covers(&self, other: &Self) -> bool {
        other.columns().all(|(replica, seq)| seq <= self.get(replica))
    }

    /// The columns in ascending order of replica, with the highest event known of each.
    pub fn columns(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.0.dots.iter().map(|(replica, seq)| (*replica, *seq))
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.0.dots.len()
    }

    /// True if no event is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The events known here and not in `other`.
    pub fn minus(&self, other: &Self) -> DotSet {
        let mut set = DotSet::default();
        for (replica, seq) in self.columns() {
            set.insert_range(replica, other.get(replica) + 1, seq);
        }
        set
    }

    /// All events known here.
    pub fn to_dots(&self) -> DotSet {
        self.minus(&Self::default())
    }

    /// This context as the `crdts` crate's type, for its oracles and traits.
    pub fn as_vclock(&self) -> &VClock<ReplicaId> {
        &self.0
    }
}

impl FromIterator<(ReplicaId, u64)> for CausalContext {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(columns: I) -> Self {
        let mut context = Self::default();
        for (replica, seq) in columns {
            context.advance(replica, seq);
        }
        context
    }
}

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
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DotSet(BTreeMap<ReplicaId, Vec<Interval>>);

impl DotSet {
    /// The set of one dot.
    pub fn of(dot: Dot) -> Self {
        Self(BTreeMap::from([(dot.replica, vec![Interval { first: dot.seq, last: dot.seq }])]))
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
        let intervals = self.0.entry(replica).or_default();
        let start = intervals.partition_point(|interval| interval.last + 1 < first);
        let touching = intervals[start..].iter().take_while(|interval| interval.first <= last + 1).count();
        let mut merged = Interval { first, last };
        for interval in &intervals[start..start + touching] {
            merged.first = merged.first.min(interval.first);
            merged.last = merged.last.max(interval.last);
        }
        intervals.splice(start..start + touching, [merged]);
    }

    /// Adds every dot of `other`.
    pub fn union(&mut self, other: &Self) {
        for (replica, interval) in other.intervals() {
            self.insert_range(replica, interval.first, interval.last);
        }
    }

    /// True if `dot` is in the set.
    pub fn contains(&self, dot: Dot) -> bool {
        self.0.get(&dot.replica).is_some_and(|intervals| {
            let at = intervals.partition_point(|interval| interval.last < dot.seq);
            intervals.get(at).is_some_and(|interval| interval.first <= dot.seq)
        })
    }

    /// The dots of this set that `context` does not hold.
    pub fn minus_context(&self, context: &CausalContext) -> Self {
        let mut rest = Self::default();
        for (replica, interval) in self.intervals() {
            rest.insert_range(replica, interval.first.max(context.get(replica) + 1), interval.last);
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

    /// The intervals of `replica` that share a dot with `interval`.
    fn overlapping(&self, replica: ReplicaId, interval: Interval) -> impl Iterator<Item = Interval> + '_ {
        let intervals = self.0.get(&replica).map_or(&[][..], Vec::as_slice);
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
        let Some(intervals) = self.0.get_mut(&dot.replica) else { return false };
        let at = intervals.partition_point(|interval| interval.last < dot.seq);
        let Some(&Interval { first, last }) = intervals.get(at).filter(|i| i.first <= dot.seq) else {
            return false;
        };
        let left = (first < dot.seq).then(|| Interval { first, last: dot.seq - 1 });
        let right = (dot.seq < last).then(|| Interval { first: dot.seq + 1, last });
        intervals.splice(at..=at, left.into_iter().chain(right));
        if intervals.is_empty() {
            self.0.remove(&dot.replica);
        }
        true
    }

    /// Every interval, in ascending order of replica and sequence.
    pub fn intervals(&self) -> impl Iterator<Item = (ReplicaId, Interval)> + '_ {
        self.0.iter().flat_map(|(replica, list)| list.iter().map(|interval| (*replica, *interval)))
    }

    /// The columns that are not empty, each with its intervals.
    pub fn columns(&self) -> impl Iterator<Item = (ReplicaId, &[Interval])> + '_ {
        self.0.iter().map(|(replica, list)| (*replica, list.as_slice()))
    }

    /// The highest sequence named of each column.
    pub fn tops(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.0.iter().filter_map(|(replica, list)| list.last().map(|interval| (*replica, interval.last)))
    }

    /// The highest sequence named of `replica`; 0 if none.
    pub fn top(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica).and_then(|list| list.last()).map_or(0, |interval| interval.last)
    }

    /// The lowest sequence named of `replica`; 0 if none.
    pub fn bottom(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica).and_then(|list| list.first()).map_or(0, |interval| interval.first)
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
        self.0.is_empty()
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

    #[test]
    fn what_a_context_lacks_is_named_exactly() {
        let ours = CausalContext::from_iter([(replica(1), 5), (replica(2), 2)]);
        let theirs = CausalContext::from_iter([(replica(1), 3), (replica(3), 9)]);
        let lacking = ours.minus(&theirs);
        let dots: Vec<Dot> = lacking.dots().collect();
        assert_eq!(dots, [(1, 4), (1, 5), (2, 1), (2, 2)].map(|(r, s)| Dot::new(replica(r), s)));
        assert!(!ours.covers(&theirs) && !theirs.covers(&ours));
    }
}
