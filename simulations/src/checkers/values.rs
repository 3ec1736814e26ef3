//! Reads equal the oracle's: members of sets, winners of maps, totals of counters, and how many objects
//! there are. A place that damage has touched is not judged where [`crate::history::Damaged`] says so.

use sync_core::types::{lww_map, or_set, pn_counter};

use super::{Checker, Step, Violation};
use crate::deed::{Typed, shown};
use crate::history::{Act, Kind};
use crate::oracle::lww_map::winner;

const NAME: &str = "reads equal the oracle";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Values;

impl Values {
    fn set(step: &Step<'_>, key: &str) -> Result<(), Violation> {
        let settled = |place: &&[u8]| !Self::is_unsettled(step, Kind::Set, key, Some(place));
        let shown: Vec<&[u8]> = or_set::elements(step.store(), key).filter(settled).collect();
        let right = step.model.sets.get(key).into_iter().flatten().map(|(e, _)| e.as_slice());
        let right: Vec<&[u8]> = right.filter(settled).collect();
        Self::compare(step, &format!("set {key}"), &shown, &right)
    }

    fn map(step: &Step<'_>, key: &str) -> Result<(), Violation> {
        let settled = |place: &[u8]| !Self::is_unsettled(step, Kind::Map, key, Some(place));
        let shown: Vec<(&[u8], &[u8])> =
            lww_map::entries(step.store(), key).filter(|(field, _)| settled(field)).collect();
        let fields = step.model.maps.get(key).into_iter().flatten().filter(|(field, _)| settled(field));
        let entry = |(field, writes): (&'_ Vec<u8>, &'_ Vec<_>)| {
            winner(step.history, writes).map(|value| (field.clone(), value.to_vec()))
        };
        let right: Vec<(Vec<u8>, Vec<u8>)> = fields.filter_map(entry).collect();
        let right: Vec<(&[u8], &[u8])> = right.iter().map(|(f, v)| (f.as_slice(), v.as_slice())).collect();
        Self::compare(step, &format!("map {key}"), &shown, &right)
    }

    /// True if damage excuses what this node shows at a place, or anywhere in an object.
    fn is_unsettled(step: &Step<'_>, kind: Kind, key: &str, place: Option<&[u8]>) -> bool {
        let is_at = |act: &Act| {
            act.kind() == kind && act.key() == key && place.is_none_or(|place| act.place() == Some(place))
        };
        step.history.is_unsettled(step.node, step.model, step.store(), is_at)
    }

    /// An owner that was copied with its disk counts twice under one name; then no total is promised.
    fn is_exempt(step: &Step<'_>, key: &str) -> bool {
        let mut counts =
            step.history.on_object(Kind::Counter, key).filter(|op| matches!(op.act, Act::Count { .. }));
        counts.any(|op| step.history.is_doubled(op.owner))
    }

    fn counter(step: &Step<'_>, key: &str) -> Result<(), Violation> {
        if Self::is_exempt(step, key) {
            return Ok(());
        }
        let shown = pn_counter::value(step.store(), key);
        Self::compare(step, &format!("counter {key}"), &shown, &step.model.counters.value(step.history, key))
    }

    fn is_doubled(step: &Step<'_>, on: Typed, key: &str) -> bool {
        on.counts()
            && step.history.on_object(Kind::Typed(on), key).any(|op| step.history.is_doubled(op.owner))
    }

    fn typed(step: &Step<'_>, on: Typed, key: &str) -> Result<(), Violation> {
        if Self::is_doubled(step, on, key) {
            return Ok(());
        }
        let text = |shown: Vec<Vec<u8>>| -> Vec<String> {
            shown.iter().map(|bytes| bytes.escape_ascii().to_string()).collect()
        };
        let shown = text(shown(step.store(), on, key));
        Self::compare(
            step,
            &format!("{} {key}", on.name()),
            &shown,
            &text(step.model.typed.shown(step.history, on, key)),
        )
    }

    fn compare<T: PartialEq + std::fmt::Debug>(
        step: &Step<'_>,
        what: &str,
        shown: &T,
        right: &T,
    ) -> Result<(), Violation> {
        if shown == right {
            return Ok(());
        }
        step.violation(NAME, format!("{what} shows {shown:?}; it should show {right:?}"))
    }
}

impl Checker for Values {
    fn name(&self) -> &'static str {
        NAME
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        if !step.look {
            return Ok(());
        }
        let mut exempt = false;
        for (kind, key) in step.history.objects() {
            match kind {
                Kind::Set => Self::set(step, key)?,
                Kind::Map => Self::map(step, key)?,
                Kind::Counter => Self::counter(step, key)?,
                Kind::Typed(on) => Self::typed(step, on, key)?,
            }
            exempt |= match kind {
                Kind::Set | Kind::Map => false,
                Kind::Counter => Self::is_exempt(step, key),
                Kind::Typed(on) => Self::is_doubled(step, on, key),
            };
            exempt |= Self::is_unsettled(step, kind, key, None);
        }
        if exempt {
            return Ok(());
        }
        let model = step.model;
        let objects = model.sets.iter().count()
            + model.maps.iter().count()
            + model.counters.iter().count()
            + model.typed.iter().count();
        Self::compare(step, "the count of objects", &step.store().crdt_count(), &(objects as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;

    #[test]
    fn a_counter_that_lost_an_increment_is_caught() {
        let mut bench = Bench::new(Values);
        bench
            .act(Act::Count { key: "c".to_owned(), by: 5 }, |group| pn_counter::add(group, "c", 5))
            .expect("five is five");
        let four =
            bench.act(Act::Count { key: "c".to_owned(), by: 5 }, |group| pn_counter::add(group, "c", 4));
        assert!(four.is_err());
    }

    #[test]
    fn a_map_that_shows_the_loser_is_caught() {
        let mut bench = Bench::new(Values);
        let put = Act::Put { key: "m".to_owned(), field: b"f".to_vec(), value: b"right".to_vec() };
        assert!(bench.act(put, |group| lww_map::put(group, "m", b"f", b"wrong")).is_err());
    }
    #[test]
    fn a_place_that_damage_has_touched_is_excused_and_no_other() {
        let mut bench = Bench::new(Values);
        bench.add("s", "x").expect("it is there");
        bench.lose_newest();
        bench.look().expect("the damage is open");
        bench.unrecorded(|group| or_set::add(group, "s", b"y"));
        assert!(bench.look().is_err(), "nobody recorded the other element");
    }
}
