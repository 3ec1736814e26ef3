//! Marks of remove-wins sets are ended in time: when a node ends one, no add that was concurrent with the remove can
//! become present any more. So every add at its place that the node had not seen then must have seen the remove.
//!
//! Excused is what the rule does not promise (docs/crdt.md): adds of a machine that had come back without what it
//! knew, empty, replaced or on an old disk, before the mark was ended or the add made. Nobody could know of them.

use std::collections::BTreeMap;

use super::{Checker, Origin, Step, Violation};
use crate::deed::{Deed, Place, Typed, What};
use crate::history::{Act, History, Kind, Op, OpId};

const NAME: &str = "a remove wins for ever";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Stable {
    /// Of each machine, how many operations there were when it came back without what it knew; the first time.
    forgot: BTreeMap<usize, Option<usize>>,
    /// The marks that a collection ended, by place.
    ended: BTreeMap<OpId, BTreeMap<Place, Vec<OpId>>>,
}

fn deed(op: &Op) -> Option<&Deed> {
    let Act::Typed(deed) = &op.act else { return None };
    (deed.on == Typed::RemoveWinsSet).then_some(deed)
}

fn is_write(op: &Op, place: &Place, word: &[u8]) -> bool {
    deed(op).is_some_and(|deed| deed.place == *place && deed.what == What::Write(word.to_vec()))
}

/// True if `later`, which saw the write at `place`, ended it.
fn ends(later: &Op, place: &Place) -> bool {
    deed(later).is_some_and(|deed| match &deed.what {
        What::Write(_) => deed.place == *place,
        What::End => place.starts_with(&deed.place),
        What::Collect(places) => places.contains(place),
        What::Count(_) | What::Send { .. } => false,
    })
}

impl Stable {
    /// The marks at the places of the collection `op` that stood where it was made.
    fn ended(
        &mut self,
        history: &History,
        op: &Op,
        key: &str,
        places: &[Place],
    ) -> &BTreeMap<Place, Vec<OpId>> {
        self.ended.entry(op.id).or_insert_with(|| {
            let known: Vec<&Op> = history
                .on_object(Kind::Typed(Typed::RemoveWinsSet), key)
                .filter(|seen| op.saw(seen))
                .collect();
            let stands =
                |place: &Place, mark: &Op| !known.iter().any(|later| later.saw(mark) && ends(later, place));
            let marks = |place: &Place| {
                let marks = known.iter().filter(|seen| is_write(seen, place, b"remove"));
                marks.filter(|mark| stands(place, mark)).map(|mark| mark.id).collect()
            };
            places.iter().map(|place| (place.clone(), marks(place))).collect()
        })
    }

    /// What is wrong if both operations are known somewhere; `None` if nothing is.
    fn wrong(&mut self, history: &History, collection: &Op, add: &Op) -> Option<String> {
        let (deed, what) = (deed(add)?, deed(collection)?);
        let What::Collect(places) = &what.what else { return None };
        let before = collection.id.max(add.id);
        let forgot = self.forgot.get(&add.node).copied().flatten().is_some_and(|at| at <= before.0);
        if forgot || collection.saw(add) || !places.contains(&deed.place) {
            return None;
        }
        let ended = self.ended(history, collection, &what.key, places);
        let unseen = ended[&deed.place].iter().map(|id| history.op(*id)).find(|mark| !add.saw(mark))?;
        Some(format!(
            "the add {:?} had not seen the remove {:?}, and {:?} had ended its mark without the add",
            add.dots, unseen.dots, collection.dots
        ))
    }

    fn judge(&mut self, step: &Step<'_>, collection: &Op, add: &Op) -> Result<(), Violation> {
        self.wrong(step.history, collection, add).map_or(Ok(()), |what| step.violation(NAME, what))
    }
}

impl Checker for Stable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, origin: Origin) -> Result<(), Violation> {
        let is_first = !self.forgot.contains_key(&step.node);
        let forgot = self.forgot.entry(step.node).or_default();
        if forgot.is_none() && !is_first && origin != Origin::Durable {
            *forgot = Some(step.history.len());
        }
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        for op in step.fresh.iter().map(|id| step.history.op(*id)) {
            let Some(Deed { key, place, what, .. }) = deed(op) else { continue };
            let object = step.history.on_object(Kind::Typed(Typed::RemoveWinsSet), key);
            let known: Vec<&Op> = object.filter(|other| other.is_in(step.model.seen())).collect();
            match what {
                What::Collect(places) => {
                    let adds =
                        known.into_iter().filter(|add| places.iter().any(|at| is_write(add, at, b"add")));
                    for add in adds {
                        self.judge(step, op, add)?;
                    }
                }
                What::Write(word) if word == b"add" => {
                    for collection in known.into_iter().filter(|other| ends(other, place)) {
                        self.judge(step, collection, op)?;
                    }
                }
                What::Write(_) | What::Count(_) | What::Send { .. } | What::End => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::Story;

    fn act(place: &[&str], what: What) -> Act {
        let place = place.iter().map(|name| name.as_bytes().to_vec()).collect();
        Act::Typed(Deed { on: Typed::RemoveWinsSet, key: "s".to_owned(), place, what })
    }

    /// A remove, its collection by a node that knew `beside` too, and the checker's word on `add` of machine 3.
    fn verdict(saw_the_remove: bool, beside: bool, checker: &mut Stable) -> Option<String> {
        let mut story = Story::default();
        let mut write =
            |life, saw: &[OpId], word: &str| story.act(life, saw, act(&["x"], What::Write(word.into())), 0);
        let remove = write(1, &[], "remove");
        let saw = if saw_the_remove { vec![remove] } else { Vec::new() };
        let add = write(3, &saw, "add");
        let knew = if beside { vec![remove, add] } else { vec![remove] };
        let collection = story.act(2, &knew, act(&[], What::Collect(vec![vec![b"x".to_vec()]])), 0);
        checker.wrong(&story.history, story.history.op(collection), story.history.op(add))
    }

    #[test]
    fn an_add_that_saw_neither_the_mark_nor_its_end_is_caught() {
        assert!(verdict(false, false, &mut Stable::default()).is_some());
        assert!(verdict(true, false, &mut Stable::default()).is_none(), "it had seen the remove");
        assert!(verdict(false, true, &mut Stable::default()).is_none(), "it went with the mark");
    }

    #[test]
    fn an_add_of_a_machine_that_had_forgotten_is_excused() {
        let mut checker = Stable { forgot: BTreeMap::from([(3, Some(0)), (1, None)]), ..Stable::default() };
        assert!(verdict(false, false, &mut checker).is_none());
    }
}
