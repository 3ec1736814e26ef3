//! What a fragment may end here: only what something in it could have ended.
//!
//! A damaged sender that lost an item, but not its dot, tells of a dead dot like any other; joined as it stands, the
//! loss would spread before two roots were compared (DESIGN section 3, T8). But whoever says that a dot is dead has
//! the event that ended it, and whoever holds that dot live has not (I2, I3). So the fragment that ends it names that
//! event as new, and shows its trace: a live item in the same cell, which ended it or stands at the end of a chain of
//! overwrites; or a record that covers the cell; or an event whose record was dropped. A dot without any of these is
//! *spared*: it stays live, the contexts grow equal, and the next roots raise the alarm that decides.
//!
//! Between undamaged replicas nothing is ever spared, or T5 would not hold. The reverse is not promised: a new item
//! in the very cell passes for the end of a lost one that it never saw.

use std::collections::BTreeSet;

use super::Store;
use super::join::{End, Plan};
use crate::cell::{CellId, ObjectId};
use crate::fragment::{Claims, Fragment, Record};
use crate::id::{Dot, ReplicaId};
use crate::mutant::{self, Mutant};

impl Store {
    /// Takes back from `plan`, which is settled, the ends that nothing in `fragment` could have caused. `fresh` are
    /// the cells of new items that are live at the sender; `is_item` is true for the dots named that are live at the sender.
    pub(super) fn spare_unproven<'a>(
        &self,
        plan: &mut Plan,
        fragment: &Fragment,
        fresh: impl Iterator<Item = &'a CellId>,
        is_item: impl Fn(Dot) -> bool,
    ) {
        if plan.dead.is_empty()
            || mutant::is(Mutant::UnprovenEndsDone)
            || self.proves_any(plan, fragment, is_item)
        {
            return;
        }
        // Mostly everything that ends was overwritten, and then there is nothing to look into.
        if plan.dead.iter().all(End::is_overwritten) {
            return;
        }
        let cells: BTreeSet<&CellId> = fresh.collect();
        let objects: BTreeSet<&ObjectId> = if has_records(fragment) {
            BTreeSet::new()
        } else {
            cells.iter().map(|cell| &cell.object).collect()
        };
        let records = || fragment.records.iter().filter(|(dot, _)| !self.context.contains(*dot));
        let is_proved = |end: &End| {
            let cell = self.cell_id(end.ix);
            let covers = |(_, record): &(Dot, Record)| record.covers(&cell);
            self.item_in(end.ix, end.dot).is_expired(plan.horizon)
                || cells.contains(&cell)
                || objects.contains(&cell.object)
                || records().any(covers)
        };
        let before = plan.dead.len();
        plan.dead.retain(is_proved);
        plan.spared = (before - plan.dead.len()) as u64;
    }

    /// True if a new event of `fragment` may have ended anything: its record does not come with it.
    fn proves_any(&self, plan: &Plan, fragment: &Fragment, is_item: impl Fn(Dot) -> bool) -> bool {
        if has_records(fragment) {
            let floor = |replica: ReplicaId| {
                fragment.floors.iter().find(|(column, _)| *column == replica).map_or(0, |(_, seq)| *seq)
            };
            plan.new.columns().any(|(replica, _)| plan.new.bottom(replica) <= floor(replica))
        } else {
            // Of a live one its cell shows what it ended; a remove is dead and shows nothing.
            plan.new.dots().any(|dot| !is_item(dot))
        }
    }
}

/// True if the fragment carries the records of its events, but for those at or below its floors.
fn has_records(fragment: &Fragment) -> bool {
    match &fragment.claims {
        Claims::None | Claims::Cells { .. } => true,
        Claims::Whole { .. } | Claims::Sketch { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{CausalContext, DotSet};
    use crate::cell::Hlc;
    use crate::error::WriteError;
    use crate::id::{NamespaceId, OwnerId};
    use crate::limits::Limits;
    use crate::store::{Group, Joined, Learned};
    use crate::types::or_set;

    const WRITER: ReplicaId = ReplicaId([1; 16]);

    fn store(records_max: usize) -> Store {
        Store::new(NamespaceId::named("default"), Limits { records_max, ..Limits::default() })
    }

    fn write<T>(store: &mut Store, fill: impl FnOnce(&mut Group<'_>) -> Result<T, WriteError>) {
        let next = store.context().get(WRITER) + 1;
        let mut group = store.group(WRITER, OwnerId([1; 16]), next, Hlc(next));
        fill(&mut group).expect("there is room");
        group.commit();
    }

    fn join(store: &mut Store, fragment: &Fragment) -> Joined {
        let learned = Learned { own: ReplicaId([2; 16]), own_minted: 0, from: Some(WRITER) };
        store.join(fragment, learned).expect("nothing is refused")
    }

    /// A writer with a hundred elements, and a reader that holds the same.
    fn pair(records_max: usize) -> (Store, Store) {
        let (mut writer, mut reader) = (store(records_max), store(records_max));
        for element in 0..100u8 {
            write(&mut writer, |group| or_set::add(group, "s", &[element]));
        }
        join(&mut reader, &writer.answer(&CausalContext::default()));
        (writer, reader)
    }

    fn pushed(writer: &Store) -> Fragment {
        let mut dots = DotSet::default();
        dots.insert_range(WRITER, 1, writer.context().get(WRITER));
        writer.push_fragment(dots)
    }

    const LOST: Dot = Dot { replica: WRITER, seq: 7 };

    #[test]
    fn an_item_that_the_sender_lost_is_spared_whatever_says_that_it_is_dead() {
        for records_max in [100, 0] {
            let (mut writer, reader) = pair(records_max);
            writer.kill(LOST);
            write(&mut writer, |group| or_set::add(group, "other", b"x"));
            let whole = Fragment {
                dots: writer.context().minus(reader.context()),
                cells: writer.answer(reader.context()).cells,
                claims: Claims::Whole {
                    context: writer.context().clone(),
                    live: writer.live_dots().collect(),
                },
                ..Fragment::default()
            };
            for fragment in [pushed(&writer), whole] {
                let mut reader = reader.clone();
                let joined = join(&mut reader, &fragment);
                assert_eq!((joined.spared, joined.items_new), (1, 1));
                assert!(reader.is_live(LOST));
                assert_eq!(reader.context(), writer.context());
                assert_ne!(reader.root(), writer.root(), "the next roots raise the alarm");
            }
        }
    }

    #[test]
    fn what_an_event_of_the_fragment_ended_ends() {
        for records_max in [100, 0] {
            for removes in [false, true] {
                let (mut writer, reader) = pair(records_max);
                write(&mut writer, |group| match removes {
                    true => or_set::remove(group, "s", &[6]).map(drop),
                    false => or_set::add(group, "s", &[6]),
                });
                for fragment in [pushed(&writer), writer.answer(reader.context())] {
                    let mut reader = reader.clone();
                    let joined = join(&mut reader, &fragment);
                    assert_eq!(joined.spared, 0);
                    assert!(!reader.is_live(LOST));
                    assert_eq!(reader.root(), writer.root());
                }
            }
        }
    }
}
