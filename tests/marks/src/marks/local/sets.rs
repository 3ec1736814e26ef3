//! The `crdts` crate: its types as values, written by their operations.

use std::hint::black_box;

use crdts::{CmRDT, Orswot, PNCounter};

use super::ours::COUNTERS;
use crate::data::{Key, key};

const ACTOR: u64 = 7;

/// A set of keys.
pub struct CrdtsSet(Orswot<Key, u64>);

impl CrdtsSet {
    pub fn of(n: usize) -> Self {
        let mut set = Self(Orswot::new());
        (0..n).for_each(|index| set.add(key(index)));
        set
    }

    /// With a context that does not clone the set, as [`Orswot::read`] does.
    pub fn add(&mut self, element: Key) {
        let context = self.0.read_ctx().derive_add_ctx(ACTOR);
        let op = self.0.add(element, context);
        self.0.apply(op);
    }

    pub fn contains(&self, element: &Key) {
        black_box(self.0.contains(element).val);
    }
}

/// As many counters as ours.
pub struct CrdtsCounters(Vec<PNCounter<u64>>);

impl CrdtsCounters {
    pub fn new() -> Self {
        Self(vec![PNCounter::new(); COUNTERS])
    }

    pub fn add(&mut self, at: usize) {
        let counter = &mut self.0[at % COUNTERS];
        let op = counter.inc(ACTOR);
        counter.apply(op);
    }
}
