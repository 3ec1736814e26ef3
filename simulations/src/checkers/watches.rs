//! What a node tells of changes gives its readings at every step: a watcher that applies them holds what a reader
//! sees, and a context tells what it has missed.
//!
//! Of each node a copy of all readings is kept by its changes alone. Each change must begin at what is held, each
//! batch must tell of events that were not told before, and once all are taken the copy must be the store's own
//! readings. Where the node leaves a batch out, the copy catches up by its context like any watcher; and at every
//! look a copy from an earlier look, of any node, does so too.
//!
//! Damage changes state without an event, and a twin's events contradict its own: after either no context tells
//! what has changed, and copies are read anew.

use std::collections::BTreeMap;

use sync_core::causal::CausalContext;
use sync_core::node::Changed;
use sync_core::store::Store;
use sync_core::time::WallMillis;
use sync_core::types::reading::{Place, Reading};

use super::{Checker, Origin, Step, Violation};

const NAME: &str = "watches show the state";

/// A copy of what is read.
#[derive(Clone, Debug, Default)]
struct Copy {
    context: CausalContext,
    horizon: WallMillis,
    readings: BTreeMap<Place, Reading>,
}

impl Copy {
    fn of(store: &Store) -> Self {
        let readings = store.readings("").collect();
        Self { context: store.context().clone(), horizon: store.horizon(), readings }
    }

    /// Brings the copy up to `store` by what its context tells; false if that tells nothing.
    fn catch_up(&mut self, store: &Store) -> bool {
        let Ok(touched) = store.touched_since(&self.context, self.horizon) else { return false };
        let within = |place: &Place| {
            let in_range = |range: &sync_core::cell::PathRange| {
                range.object == place.object && range.contains(&place.path)
            };
            touched.places.contains(place) || touched.ranges.iter().any(in_range)
        };
        self.readings.retain(|place, _| !within(place));
        let fresh = store.readings("").filter(|(place, _)| within(place));
        self.readings.extend(fresh);
        (self.context, self.horizon) = (store.context().clone(), store.horizon());
        true
    }

    /// The first place that reads otherwise.
    fn differs(&self, store: &Store) -> Option<String> {
        let now: BTreeMap<Place, Reading> = store.readings("").collect();
        let places = self.readings.keys().chain(now.keys());
        let place = places.into_iter().find(|place| self.readings.get(place) != now.get(place))?;
        Some(format!("{place:?} is held as {:?} and reads {:?}", self.readings.get(place), now.get(place)))
    }
}

#[derive(Clone, Debug, Default)]
struct Watcher {
    copy: Copy,
    /// The last batch that was applied.
    number: u64,
    lagged: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watchers: BTreeMap<usize, Watcher>,
    /// A copy as it was at the last look at some node.
    earlier: Option<Copy>,
    /// Somebody was set back: contexts do not tell any more.
    untold: bool,
}

impl Watches {
    fn begin(&mut self, step: &Step<'_>) {
        let number = step.state.changes_told();
        let watcher = Watcher { copy: Copy::of(step.store()), number, lagged: false };
        self.watchers.insert(step.node, watcher);
    }
}

impl Checker for Watches {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, origin: Origin) -> Result<(), Violation> {
        self.untold |= origin == Origin::Backup;
        step.state.set_changes(true);
        self.begin(step);
        Ok(())
    }

    fn told(&mut self, node: usize, changed: &Changed) -> Result<(), Violation> {
        let Some(watcher) = self.watchers.get_mut(&node) else { return Ok(()) };
        if changed.number <= watcher.number || watcher.lagged {
            return Ok(());
        }
        if changed.number != watcher.number + 1 {
            watcher.lagged = true;
            return Ok(());
        }
        watcher.number = changed.number;
        let violation = |what: String| Err(Violation { property: NAME, node, what });
        let copy = &mut watcher.copy;
        let is_news = |(replica, seq): &(_, u64)| *seq > copy.context.get(*replica);
        if !changed.learned.is_empty() && !changed.learned.iter().any(is_news) {
            return violation(format!("batch {} tells of events told before: a step in two", changed.number));
        }
        changed.learned.iter().for_each(|(replica, seq)| copy.context.advance(*replica, *seq));
        copy.horizon = changed.horizon;
        for change in &changed.changes {
            let held = copy.readings.remove(&change.place).unwrap_or_default();
            if held != change.old || change.old == change.new {
                return violation(format!("{change:?}, and {held:?} was told before"));
            }
            if !change.new.is_absent() {
                copy.readings.insert(change.place.clone(), change.new.clone());
            }
        }
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        let sound = step.history.damages().is_empty() && !self.untold;
        if !sound {
            self.earlier = None;
        }
        let told = step.state.changes_told();
        let Some(watcher) = self.watchers.get_mut(&step.node) else { return Ok(()) };
        if !step.history.damages().is_empty() {
            self.begin(step);
            return Ok(());
        }
        if watcher.lagged {
            (watcher.lagged, watcher.number) = (false, told);
            if self.untold || !watcher.copy.catch_up(step.store()) {
                watcher.copy = Copy::of(step.store());
            }
        }
        // What waits in the node's queue is told at its next turn.
        if !step.look || watcher.number != told {
            return Ok(());
        }
        if let Some(what) = watcher.copy.differs(step.store()) {
            return step.violation(NAME, what);
        }
        if let Some(mut earlier) = self.earlier.take()
            && earlier.catch_up(step.store())
            && let Some(what) = earlier.differs(step.store())
        {
            return step.violation(NAME, format!("after catching up by a context: {what}"));
        }
        if sound {
            self.earlier = Some(watcher.copy.clone());
        }
        Ok(())
    }

    fn damaged(&mut self, step: &mut Step<'_>) {
        self.begin(step);
    }

    fn crashed(&mut self, node: usize) {
        self.watchers.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_change_that_is_not_told_is_caught() {
        let mut bench = Bench::new(Watches::default());
        bench.started(Origin::Fresh).expect("nothing is there");
        bench.add("s", "x").expect("what waits is not judged");
        bench.tell_changes(|_| {}).expect("it begins at what is held");
        bench.look().expect("the copy is the state");
        bench.add("s", "y").expect("what waits is not judged");
        bench.tell_changes(|changed| changed.changes.clear()).expect("nobody sees it yet");
        assert!(bench.look().is_err());
    }

    #[test]
    fn a_step_in_two_is_caught() {
        let mut bench = Bench::new(Watches::default());
        bench.started(Origin::Fresh).expect("nothing is there");
        bench.add("s", "x").expect("what waits is not judged");
        bench.tell_changes(|changed| changed.changes.clear()).expect("half of it");
        let again = bench.tell_again(|changed| changed.number += 1);
        assert!(again.expect_err("the events are known").what.contains("in two"));
    }
}
