//! The last-writer-wins map: a field shows, of the writes that no other operation on it had seen, the one
//! with the largest clock reading; equal readings go by dot.

use std::collections::BTreeMap;

use super::{end_seen, write_again};
use crate::history::{Act, History, Op, OpId};

/// The visible writes of one map, by field.
pub type Fields = BTreeMap<Vec<u8>, Vec<OpId>>;

/// Every map, with its visible writes; absent fields have no entry.
#[derive(Clone, Debug, Default)]
pub struct Maps(BTreeMap<String, Fields>);

impl Maps {
    /// The visible writes of the map at `key`.
    pub fn get(&self, key: &str) -> Option<&Fields> {
        self.0.get(key)
    }

    /// Every map with a visible write, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fields)> {
        self.0.iter().map(|(key, fields)| (key.as_str(), fields))
    }

    /// Forgets the writes that `is_gone` names.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&OpId) -> bool) {
        self.0.retain(|_, fields| {
            fields.retain(|_, writes| {
                writes.retain(|id| !is_gone(id));
                !writes.is_empty()
            });
            !fields.is_empty()
        });
    }

    /// Takes an operation in; all that it had seen was taken in before.
    pub fn apply(&mut self, history: &History, op: &Op) {
        let fields = self.0.entry(op.act.key().to_owned()).or_default();
        match (&op.act, op.act.place()) {
            (Act::Put { field, .. }, _) => {
                let writes = fields.entry(field.clone()).or_default();
                end_seen(history, writes, op);
                writes.push(op.id);
            }
            (Act::Again { place, of, .. }, _) => {
                write_again(history, fields.entry(place.clone()).or_default(), op, *of)
            }
            (_, Some(field)) => {
                if let Some(writes) = fields.get_mut(field) {
                    end_seen(history, writes, op);
                }
            }
            (_, None) => fields.values_mut().for_each(|writes| end_seen(history, writes, op)),
        }
        fields.retain(|_, writes| !writes.is_empty());
        if fields.is_empty() {
            self.0.remove(op.act.key());
        }
    }
}

/// The value that a reader sees among the visible `writes` of a field.
pub fn winner<'a>(history: &'a History, writes: &[OpId]) -> Option<&'a [u8]> {
    let last =
        writes.iter().map(|id| history.op(*id)).max_by_key(|op| (op.hlc, op.dots.map(|(_, last)| last)))?;
    match &last.act {
        Act::Put { value, .. } | Act::Again { value, .. } => Some(value),
        Act::Add { .. }
        | Act::Remove { .. }
        | Act::Clear { .. }
        | Act::RemoveField { .. }
        | Act::ClearMap { .. }
        | Act::Count { .. }
        | Act::Reset { .. }
        | Act::Typed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::winner;
    use crate::history::tests::Story;
    use crate::oracle::Model;

    #[test]
    fn the_larger_clock_wins_among_concurrent_writes_and_loses_to_one_that_saw_it() {
        let mut story = Story::default();
        let poisoned = story.put(1, &[], "m", "f", "poison", 1_000_000);
        let honest = story.put(2, &[], "m", "f", "honest", 10);
        let known = story.seen(&[poisoned, honest]);
        let both = Model::at(&story.history, &known);
        let writes = &both.maps.get("m").expect("two writes are visible")[b"f".as_slice()];
        assert_eq!(winner(&story.history, writes), Some(b"poison".as_slice()));
        let healed = story.put(2, &[poisoned, honest], "m", "f", "healed", 11);
        let known = story.seen(&[healed]);
        let after = Model::at(&story.history, &known);
        let writes = &after.maps.get("m").expect("a write is visible")[b"f".as_slice()];
        assert_eq!(winner(&story.history, writes), Some(b"healed".as_slice()));
    }
}
