//! The add-wins set: an element is present while an add of it is that no remove, no clear and no later
//! add had seen.

use std::collections::BTreeMap;

use super::{end_seen, write_again};
use crate::history::{Act, History, Op, OpId};

/// The visible adds of one set, by element.
pub type Adds = BTreeMap<Vec<u8>, Vec<OpId>>;

/// Every set, with its visible adds; absent elements have no entry.
#[derive(Clone, Debug, Default)]
pub struct Sets(BTreeMap<String, Adds>);

impl Sets {
    /// The visible adds of the set at `key`.
    pub fn get(&self, key: &str) -> Option<&Adds> {
        self.0.get(key)
    }

    /// Every set with a visible add, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Adds)> {
        self.0.iter().map(|(key, adds)| (key.as_str(), adds))
    }

    /// Forgets the writes that `is_gone` names.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&OpId) -> bool) {
        self.0.retain(|_, adds| {
            adds.retain(|_, writes| {
                writes.retain(|id| !is_gone(id));
                !writes.is_empty()
            });
            !adds.is_empty()
        });
    }

    /// Takes an operation in; all that it had seen was taken in before.
    pub fn apply(&mut self, history: &History, op: &Op) {
        let adds = self.0.entry(op.act.key().to_owned()).or_default();
        match (&op.act, op.act.place()) {
            (Act::Add { element, .. }, _) => {
                let writes = adds.entry(element.clone()).or_default();
                end_seen(history, writes, op);
                writes.push(op.id);
            }
            (Act::Again { place, of, .. }, _) => {
                write_again(history, adds.entry(place.clone()).or_default(), op, *of)
            }
            (_, Some(element)) => {
                if let Some(writes) = adds.get_mut(element) {
                    end_seen(history, writes, op);
                }
            }
            (_, None) => adds.values_mut().for_each(|writes| end_seen(history, writes, op)),
        }
        adds.retain(|_, writes| !writes.is_empty());
        if adds.is_empty() {
            self.0.remove(op.act.key());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::tests::Story;
    use crate::oracle::Model;

    #[test]
    fn a_remove_ends_only_the_adds_that_it_saw() {
        let mut story = Story::default();
        let add = story.add(1, &[], "s", "x");
        let renewed = story.add(2, &[add], "s", "x");
        let remove = story.remove(1, &[add], "s", "x");
        let known = story.seen(&[renewed, remove]);
        let model = Model::at(&story.history, &known);
        assert_eq!(model.sets.get("s").map(|adds| adds[b"x".as_slice()].clone()), Some(vec![renewed]));
        let alone = story.seen(&[remove]);
        assert!(Model::at(&story.history, &alone).sets.get("s").is_none(), "the first add is gone");
    }

    #[test]
    fn an_expired_add_has_ended_what_it_saw_and_is_not_there() {
        let mut story = Story::default();
        let forever = story.add(1, &[], "s", "x");
        let again = story.add(2, &[forever], "s", "x");
        let for_a_while = story.expiring(again, 50, 0);
        let known = story.seen(&[for_a_while]);
        let at = |horizon| Model::at_horizon(&story.history, &known, horizon);
        assert_eq!(at(49).sets.get("s").map(|adds| adds[b"x".as_slice()].clone()), Some(vec![for_a_while]));
        assert!(at(50).sets.get("s").is_none(), "neither of the two");
    }

    #[test]
    fn a_clear_ends_what_it_saw_of_every_element() {
        let mut story = Story::default();
        let (x, y) = (story.add(1, &[], "s", "x"), story.add(2, &[], "s", "y"));
        let clear = story.clear(3, &[x], "s");
        let known = story.seen(&[y, clear]);
        let model = Model::at(&story.history, &known);
        assert_eq!(model.sets.get("s").map(|adds| adds.keys().cloned().collect()), Some(vec![b"y".to_vec()]));
    }
}
