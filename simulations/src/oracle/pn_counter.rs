//! The counter with observed reset: its value is the sum of the counts that no reset had seen. It is
//! present while there is one.

use std::collections::BTreeMap;

use super::end_seen;
use crate::history::{Act, History, Op, OpId};

/// Every counter, with the counts that no reset has taken.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<String, Vec<OpId>>);

impl Counters {
    /// Every counter with a count left, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[OpId])> {
        self.0.iter().map(|(key, counts)| (key.as_str(), counts.as_slice()))
    }

    /// The value of the counter at `key`; `None` if it is absent.
    pub fn value(&self, history: &History, key: &str) -> Option<i128> {
        let by = |id: &OpId| match history.op(*id).act {
            Act::Count { by, .. } => i128::from(by),
            Act::Add { .. }
            | Act::Remove { .. }
            | Act::Clear { .. }
            | Act::Put { .. }
            | Act::RemoveField { .. }
            | Act::ClearMap { .. }
            | Act::Reset { .. }
            | Act::Again { .. }
            | Act::Typed(_) => 0,
        };
        self.0.get(key).map(|counts| counts.iter().map(by).sum())
    }

    /// Takes an operation in; all that it had seen was taken in before.
    pub fn apply(&mut self, history: &History, op: &Op) {
        let counts = self.0.entry(op.act.key().to_owned()).or_default();
        if matches!(op.act, Act::Count { .. }) {
            counts.push(op.id);
        } else {
            end_seen(history, counts, op);
        }
        if counts.is_empty() {
            self.0.remove(op.act.key());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::tests::Story;
    use crate::oracle::Model;

    #[test]
    fn a_reset_takes_what_it_saw_and_nothing_else() {
        let mut story = Story::default();
        let first = story.count(1, &[], "c", 5);
        let later = story.count(1, &[first], "c", 2);
        let reset = story.reset(2, &[first], "c");
        let value = |story: &Story, known: &[crate::history::OpId]| {
            Model::at(&story.history, &story.seen(known)).counters.value(&story.history, "c")
        };
        assert_eq!(value(&story, &[later, reset]), Some(2));
        assert_eq!(value(&story, &[reset]), None, "a counter of which all is taken is absent");
        assert_eq!(value(&story, &[first]), Some(5));
    }
}
