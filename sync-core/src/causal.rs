//! What is known: the causal context of a store, and sets of dots in frames, records and log.
//!
//! Causal closure holds at every replica (DESIGN section 3, CC), so the events known of a replica are
//! always a prefix `1..=n` and the context is a version vector, [`crdts::VClock`]. Dots named by a
//! frame have no such shape; [`DotSet`] keeps them as intervals.

mod dots;

use std::collections::BTreeMap;

use crdts::{CmRDT, CvRDT, VClock};

pub use dots::{DotSet, Interval};

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
        // As `VClock::apply`, which looks twice.
        match self.0.dots.get_mut(&replica) {
            Some(known) => *known = seq.max(*known),
            None => self.0.apply(crdts::Dot::new(replica, seq)),
        }
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

    /// The context of these columns, none of which is 0.
    pub(crate) fn of_columns(columns: BTreeMap<ReplicaId, u64>) -> Self {
        Self(VClock { dots: columns })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(n: u8) -> ReplicaId {
        ReplicaId([n; 16])
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
