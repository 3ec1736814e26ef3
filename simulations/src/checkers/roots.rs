//! Roots tell states apart: two replicas have one state id exactly when context, live items and horizon
//! are equal, at whatever times they had them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use sync_core::id::StateId;
use sync_core::store::Store;

use super::{Checker, Step, Violation};
use crate::faults::Harm;

const NAME: &str = "roots tell states apart";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Roots {
    contents: BTreeMap<StateId, u64>,
    ids: BTreeMap<u64, StateId>,
}

/// A hash of the whole state that shares no code with the engine's.
fn contents_of(store: &Store) -> u64 {
    let mut hasher = DefaultHasher::new();
    store.horizon().hash(&mut hasher);
    store.context().columns().for_each(|column| column.hash(&mut hasher));
    for (cell, item) in store.live_dots().filter_map(|dot| store.item(dot)) {
        (cell, item.dot, item.hlc, item.expires, item.payload.as_bytes()).hash(&mut hasher);
    }
    hasher.finish()
}

impl Checker for Roots {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        // A flipped bit does not show in the root: that is what the scrub is for.
        let mut damages = step.history.damages().iter();
        let flipped = damages.any(|d| d.open && d.node == step.node && d.harm == Harm::FlipBit);
        if !step.look || flipped {
            return Ok(());
        }
        let contents = contents_of(step.store());
        let id = step.state.state_id(step.namespace).expect("the default namespace is always open");
        if *self.contents.entry(id).or_insert(contents) != contents {
            return step.violation(NAME, format!("state id {id:?} stands for two states"));
        }
        let other = *self.ids.entry(contents).or_insert(id);
        if other != id {
            return step.violation(NAME, format!("one state has the ids {id:?} and {other:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn one_id_for_two_states_and_two_ids_for_one_are_caught() {
        let mut bench = Bench::new(Roots::default());
        bench.add("s", "x").expect("the first state");
        let contents = contents_of(bench.store());
        let id = bench.node.state_id(bench.namespace()).expect("the default namespace is open");
        let mut twice =
            Bench::new(Roots { contents: BTreeMap::from([(id, !contents)]), ids: BTreeMap::new() });
        assert!(twice.add("s", "x").is_err());
        let mut other = Bench::new(Roots {
            contents: BTreeMap::new(),
            ids: BTreeMap::from([(contents, StateId([0; 32]))]),
        });
        assert!(other.add("s", "x").is_err());
    }
}
