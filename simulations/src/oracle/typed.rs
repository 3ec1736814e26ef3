//! The types beyond set, map and counter: what is visible of each, and what a reader makes of it.
//!
//! Visible at a place are the writes and counts that no known operation has ended. What ends what is one rule:
//! a write ends the writes at its place that it had seen, but counts end nothing; [`What::End`] ends all that it
//! had seen at places that begin so; and an append to a log that had seen too many ends the oldest of them.

use std::collections::{BTreeMap, BTreeSet};

use super::end_seen;
use crate::deed::{Deed, LOG_BOUND, Place, Typed, What, number};
use crate::history::{Act, History, Kind, Op, OpId};

/// The visible operations of one object, by place; empty places have no entry.
pub type Places = BTreeMap<Place, Vec<OpId>>;

/// Every object.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    of: BTreeMap<(Typed, String), Places>,
    /// The extremum that each write of an extremum carries: its own number, or one that it had seen.
    carried: BTreeMap<OpId, i64>,
    /// What each append ended.
    trimmed: BTreeMap<OpId, BTreeSet<OpId>>,
}

fn deed(op: &Op) -> Option<&Deed> {
    match &op.act {
        Act::Typed(deed) => Some(deed),
        Act::Add { .. }
        | Act::Remove { .. }
        | Act::Clear { .. }
        | Act::Put { .. }
        | Act::RemoveField { .. }
        | Act::ClearMap { .. }
        | Act::Count { .. }
        | Act::Reset { .. }
        | Act::Again { .. } => None,
    }
}

fn count_of(op: &Op) -> i128 {
    match deed(op).map(|deed| (deed.on, &deed.what)) {
        Some((Typed::GrowCounter, What::Count(by))) => i128::from(by.unsigned_abs()),
        Some((_, What::Count(by))) => i128::from(*by),
        Some((_, What::Write(_) | What::Send { .. } | What::End | What::Collect(_))) | None => 0,
    }
}

fn written(op: &Op) -> &[u8] {
    match deed(op).map(|deed| &deed.what) {
        Some(What::Write(value)) => value,
        Some(What::Count(_) | What::Send { .. } | What::End | What::Collect(_)) | None => &[],
    }
}

/// The order of clocks, then of dots.
fn order(op: &Op) -> (u64, Option<sync_core::id::Dot>) {
    (op.hlc, op.dots.map(|(_, last)| last))
}

impl Objects {
    /// The visible operations of the object at `key`.
    pub fn get(&self, on: Typed, key: &str) -> Option<&Places> {
        self.of.get(&(on, key.to_owned()))
    }

    /// Every object of which something is visible.
    pub fn iter(&self) -> impl Iterator<Item = (Typed, &str, &Places)> {
        self.of.iter().map(|((on, key), places)| (*on, key.as_str(), places))
    }

    /// Takes an operation in; all that it had seen was taken in before.
    pub fn apply(&mut self, history: &History, op: &Op) {
        let Some(Deed { on, key, place, what }) = deed(op) else { return };
        match (on, what) {
            (Typed::Log, What::Write(_)) => {
                let ended = self.trims(history, op, key);
                self.trimmed.insert(op.id, ended);
            }
            (Typed::MaxRegister, What::Write(value)) => {
                let seen = self.extrema(history, op, *on, key).into_iter().max();
                self.carried.insert(op.id, seen.map_or(number(value), |seen| seen.max(number(value))));
            }
            (Typed::MinRegister, What::Write(value)) => {
                let seen = self.extrema(history, op, *on, key).into_iter().min();
                self.carried.insert(op.id, seen.map_or(number(value), |seen| seen.min(number(value))));
            }
            _ => {}
        }
        let places = self.of.entry((*on, key.clone())).or_default();
        match what {
            What::Write(_) if *on == Typed::Log => {
                let ended = &self.trimmed[&op.id];
                places.values_mut().for_each(|appends| appends.retain(|append| !ended.contains(append)));
                places.entry(place.clone()).or_default().push(op.id);
            }
            What::Write(_) => {
                let writes = places.entry(place.clone()).or_default();
                end_seen(history, writes, op);
                writes.push(op.id);
            }
            What::Count(_) | What::Send { .. } => places.entry(place.clone()).or_default().push(op.id),
            What::End => {
                for (_, writes) in places.iter_mut().filter(|(at, _)| at.starts_with(place)) {
                    end_seen(history, writes, op);
                }
            }
            What::Collect(at) => {
                for (_, writes) in places.iter_mut().filter(|(place, _)| at.contains(place)) {
                    end_seen(history, writes, op);
                }
            }
        }
        places.retain(|_, writes| !writes.is_empty());
        if places.is_empty() {
            self.of.remove(&(*on, key.clone()));
        }
    }

    /// Forgets the writes that `is_gone` names.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&OpId) -> bool) {
        self.of.retain(|_, places| {
            places.retain(|_, writes| {
                writes.retain(|id| !is_gone(id));
                !writes.is_empty()
            });
            !places.is_empty()
        });
    }

    /// The writes of an object of one place that were visible where `op` was made.
    fn visible_to<'a>(&'a self, history: &'a History, op: &'a Op, on: Typed, key: &str) -> Vec<&'a Op> {
        let known: Vec<&Op> = history.on_object(Kind::Typed(on), key).filter(|seen| op.saw(seen)).collect();
        let ends = |later: &Op, write: &Op| match (on, deed(later).map(|deed| &deed.what)) {
            (Typed::Log, Some(What::Write(_))) => {
                self.trimmed.get(&later.id).is_some_and(|ended| ended.contains(&write.id))
            }
            _ => later.saw(write),
        };
        let is_write = |op: &&&Op| matches!(deed(op).map(|deed| &deed.what), Some(What::Write(_)));
        let stands = |write: &&&Op| !known.iter().any(|later| ends(later, write));
        let known_live = known.iter().filter(is_write).filter(|write| !write.is_expired(op.horizon));
        known_live.filter(stands).copied().collect()
    }

    fn extrema(&self, history: &History, op: &Op, on: Typed, key: &str) -> Vec<i64> {
        let seen = self.visible_to(history, op, on, key);
        seen.iter().filter_map(|write| self.carried.get(&write.id).copied()).collect()
    }

    /// What the append `op` ended: of the entries that it saw and its own, those beyond the bound, if they are
    /// more than a tenth too many.
    fn trims(&self, history: &History, op: &Op, key: &str) -> BTreeSet<OpId> {
        let mut entries = self.visible_to(history, op, Typed::Log, key);
        entries.push(op);
        entries.sort_by_key(|entry| order(entry));
        let beyond = beyond(&entries);
        if beyond as u64 <= LOG_BOUND.entries / 10 {
            return BTreeSet::new();
        }
        entries[..beyond].iter().map(|entry| entry.id).filter(|id| *id != op.id).collect()
    }

    /// What a reader sees of the object, as [`crate::deed::shown`] lists it.
    pub fn shown(&self, history: &History, on: Typed, key: &str) -> Vec<Vec<u8>> {
        let Some(places) = self.get(on, key) else { return Vec::new() };
        let ops: Vec<&Op> = places.values().flatten().map(|id| history.op(*id)).collect();
        let text = |number: i128| vec![number.to_string().into_bytes()];
        let first = |place: &Place| place.first().cloned().unwrap_or_default();
        match on {
            Typed::LwwRegister => last(&ops).map(|op| written(op).to_vec()).into_iter().collect(),
            Typed::MvRegister => {
                let values: BTreeSet<&[u8]> = ops.iter().map(|op| written(op)).collect();
                values.into_iter().map(<[u8]>::to_vec).collect()
            }
            Typed::EnableFlag => vec![b"on".to_vec()],
            Typed::DisableFlag if ops.iter().any(|op| written(op) == b"off") => Vec::new(),
            Typed::DisableFlag => vec![b"on".to_vec()],
            Typed::GrowSet => places.keys().map(first).collect(),
            Typed::GrowCounter | Typed::BoundedCounter => text(ops.iter().map(|op| count_of(op)).sum()),
            Typed::MaxRegister => {
                ops.iter().map(|op| self.carried[&op.id]).max().map(|n| text(n.into())).unwrap_or_default()
            }
            Typed::MinRegister => {
                ops.iter().map(|op| self.carried[&op.id]).min().map(|n| text(n.into())).unwrap_or_default()
            }
            Typed::RemoveWinsSet => {
                let present = |writes: &[OpId]| writes.iter().all(|id| written(history.op(*id)) == b"add");
                places.iter().filter(|(_, writes)| present(writes)).map(|(place, _)| first(place)).collect()
            }
            Typed::Multimap => {
                let mut pairs: Vec<Vec<u8>> = places.keys().map(|place| place.join(&b'=')).collect();
                pairs.sort_unstable();
                pairs
            }
            Typed::NestedMap => {
                let mut leaves: Vec<_> =
                    places.iter().map(|(place, ids)| leaf(history, place, ids)).collect();
                leaves.sort_unstable();
                leaves
            }
            Typed::Log => {
                let mut entries = ops;
                entries.sort_by_key(|entry| order(entry));
                entries[beyond(&entries)..].iter().map(|entry| written(entry).to_vec()).collect()
            }
        }
    }

    /// The rights of a bounded counter that the origin of `op` held just before.
    pub fn rights_before(history: &History, op: &Op, key: &str) -> i128 {
        let known: Vec<&Op> =
            history.on_object(Kind::Typed(Typed::BoundedCounter), key).filter(|seen| op.saw(seen)).collect();
        let is_end = |op: &&&Op| deed(op).is_some_and(|deed| deed.what == What::End);
        let ended = |op: &Op| known.iter().filter(is_end).any(|end| end.saw(op));
        let right = |seen: &Op| match deed(seen).map(|deed| &deed.what) {
            Some(What::Count(by)) if seen.owner == op.owner => i128::from(*by),
            Some(What::Send { count, .. }) if seen.owner == op.owner => -i128::from(*count),
            Some(What::Send { to, count }) if *to == op.owner => i128::from(*count),
            Some(What::Write(_) | What::Count(_) | What::Send { .. } | What::End | What::Collect(_))
            | None => 0,
        };
        known.iter().filter(|seen| !ended(seen)).map(|seen| right(seen)).sum()
    }
}

fn last<'a>(ops: &[&'a Op]) -> Option<&'a Op> {
    ops.iter().copied().max_by_key(|op| order(op))
}

/// How many of `entries`, oldest first, a reader of a log does not see.
fn beyond(entries: &[&Op]) -> usize {
    let newest = entries.last().map_or(0, |entry| entry.hlc >> 16);
    let too_old = entries.iter().filter(|entry| (entry.hlc >> 16) + LOG_BOUND.age_ms < newest).count();
    let most = usize::try_from(LOG_BOUND.entries).expect("a small bound");
    too_old.max(entries.len().saturating_sub(most))
}

/// A leaf of a nested map as text: the names on the way, then what it shows.
fn leaf(history: &History, place: &Place, ids: &[OpId]) -> Vec<u8> {
    let mut way = Vec::new();
    let mut steps = place.as_slice();
    while let [name, kind, rest @ ..] = steps {
        way.extend_from_slice(&[name, &b"/"[..]].concat());
        let ops: Vec<&Op> = ids.iter().map(|id| history.op(*id)).collect();
        match kind.as_slice() {
            b"set" => way.extend_from_slice(&rest[0]),
            b"register" => way.extend_from_slice(last(&ops).map(written).unwrap_or_default()),
            b"counter" => {
                let sum: i128 = ops.iter().map(|op| count_of(op)).sum();
                way.extend_from_slice(sum.to_string().as_bytes());
            }
            _ => {}
        }
        steps = if kind == b"map" { rest } else { &[] };
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::Story;
    use crate::oracle::Model;

    fn act(on: Typed, place: &[&str], what: What) -> Act {
        let place = place.iter().map(|name| name.as_bytes().to_vec()).collect();
        Act::Typed(Deed { on, key: "k".to_owned(), place, what })
    }

    fn write(value: &str) -> What {
        What::Write(value.into())
    }

    fn shows(story: &Story, on: Typed, known: &[OpId]) -> Vec<String> {
        let model = Model::at(&story.history, &story.seen(known));
        let shown = model.typed.shown(&story.history, on, "k");
        shown.into_iter().map(|bytes| String::from_utf8(bytes).expect("text")).collect()
    }

    #[test]
    fn a_concurrent_remove_wins_and_an_add_that_saw_it_wins_again() {
        let on = Typed::RemoveWinsSet;
        let mut story = Story::default();
        let add = story.act(1, &[], act(on, &["x"], write("add")), 0);
        let remove = story.act(2, &[], act(on, &["x"], write("remove")), 0);
        assert_eq!(shows(&story, on, &[add]), ["x"]);
        assert!(shows(&story, on, &[add, remove]).is_empty());
        let again = story.act(1, &[add, remove], act(on, &["x"], write("add")), 0);
        assert_eq!(shows(&story, on, &[again]), ["x"]);
    }

    #[test]
    fn an_extremum_carries_what_it_saw_and_nothing_else() {
        let on = Typed::MaxRegister;
        let mut story = Story::default();
        let nine = story.act(1, &[], act(on, &[], write("9")), 0);
        let clear = story.act(1, &[nine], act(on, &[], What::End), 0);
        let three = story.act(2, &[nine], act(on, &[], write("3")), 0);
        let five = story.act(1, &[clear], act(on, &[], write("5")), 0);
        assert_eq!(shows(&story, on, &[five]), ["5"]);
        assert_eq!(shows(&story, on, &[clear, three]), ["9"]);
    }

    #[test]
    fn an_append_that_saw_too_many_ends_the_oldest() {
        let on = Typed::Log;
        let mut story = Story::default();
        let appends: Vec<OpId> =
            (0..12u64).map(|at| story.act(1, &[], act(on, &[], write(&at.to_string())), at << 16)).collect();
        assert_eq!(shows(&story, on, &appends[..11])[0], "1", "ten are shown, eleven stand");
        let known = story.seen(&appends);
        let model = Model::at(&story.history, &known);
        assert_eq!(model.typed.get(on, "k").map(|places| places[&Vec::new()].len()), Some(10));
    }

    #[test]
    fn a_removed_map_ends_what_was_seen_below_it() {
        let on = Typed::NestedMap;
        let mut story = Story::default();
        let inner = story.act(1, &[], act(on, &["m", "map", "c", "counter"], What::Count(5)), 0);
        let later = story.act(1, &[inner], act(on, &["m", "map", "c", "counter"], What::Count(2)), 0);
        let other = story.act(2, &[inner], act(on, &["s", "set", "x"], write("")), 0);
        let remove = story.act(2, &[inner, other], act(on, &["m"], What::End), 0);
        assert_eq!(shows(&story, on, &[later, remove]), ["m/c/2", "s/x"]);
    }

    #[test]
    fn rights_are_gained_and_received_less_spent_and_sent() {
        let on = Typed::BoundedCounter;
        let mut story = Story::default();
        let gain = story.act(1, &[], act(on, &[], What::Count(9)), 0);
        let to = sync_core::id::OwnerId([2; 16]);
        let send = story.act(1, &[gain], act(on, &[], What::Send { to, count: 4 }), 0);
        let spend = story.act(2, &[send], act(on, &[], What::Count(-3)), 0);
        let rights = |id| Objects::rights_before(&story.history, story.history.op(id), "k");
        assert_eq!((rights(gain), rights(send), rights(spend)), (0, 9, 4));
        assert_eq!(shows(&story, on, &[spend]), ["6"]);
    }
}
