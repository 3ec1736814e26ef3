//! What an answer would carry, counted and not built.
//!
//! The figures are those of the fragment that [`Store::answer`] would give at this moment, so that a
//! survey tells what the repair after it moves.

use std::collections::BTreeSet;

use super::Store;
use crate::causal::CausalContext;
use crate::cell::ObjectId;
use crate::fragment::{Fragment, Record};

/// What one fragment carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Events named: writes that are live, and what was removed or overwritten meanwhile.
    pub events: u64,
    /// Keys touched, of each type: those of the items, and those that a record of a remove names.
    pub objects: u64,
    /// Live items.
    pub items: u64,
    /// Bytes of the items' keys, paths and payloads; the key counts for each item.
    pub bytes: u64,
    /// True if counting ended at its limit: objects, items and bytes are at least this.
    pub is_partial: bool,
}

impl Load {
    /// What `fragment` carries.
    pub fn of(fragment: &Fragment) -> Self {
        let mut load = Self { events: fragment.dots.len(), ..Self::default() };
        let mut objects: BTreeSet<&ObjectId> = fragment.cells.iter().map(|part| &part.cell.object).collect();
        fragment.records.iter().for_each(|(_, record)| objects.extend(objects_of(record)));
        for part in &fragment.cells {
            let names = part.cell.object.key.as_str().len() + part.cell.path.as_bytes().len();
            load.items += part.items.len() as u64;
            load.bytes += part.items.iter().map(|item| (names + item.payload.len()) as u64).sum::<u64>();
        }
        load.objects = objects.len() as u64;
        load
    }
}

impl Store {
    /// What [`Self::answer`] to a replica that knows `theirs` would carry, counting at most `items_max`
    /// items. Builds nothing, so it costs less than that answer.
    ///
    /// ```
    /// # use sync_core::{causal::CausalContext, id::*, limits::Limits, store::{Load, Store}};
    /// # let store = Store::new(NamespaceId::named("default"), Limits::default());
    /// let theirs = CausalContext::default();
    /// assert_eq!(store.load_for(&theirs, 1_000), Load::of(&store.answer(&theirs)));
    /// ```
    pub fn load_for(&self, theirs: &CausalContext, items_max: u64) -> Load {
        let dots = self.context.minus(theirs);
        let mut load = Load { events: dots.len(), ..Load::default() };
        let mut objects: BTreeSet<&ObjectId> = BTreeSet::new();
        let mut last = None;
        for (dot, ix) in self.live_in(&dots) {
            if load.items >= items_max {
                load.is_partial = true;
                break;
            }
            let object = self.object_id(self.slot(ix));
            load.items += 1;
            let payload = self.item_in(ix, dot).payload.len();
            load.bytes += (object.key.as_str().len() + self.path(ix).len() + payload) as u64;
            if last != Some(object) {
                last = Some(object);
                objects.insert(object);
            }
        }
        if !self.needs_fallback(&dots, theirs) {
            self.records.of(&dots).for_each(|(_, record)| objects.extend(objects_of(record)));
        }
        load.objects = objects.len() as u64;
        load
    }
}

fn objects_of(record: &Record) -> impl Iterator<Item = &ObjectId> {
    let (cells, range) = match record {
        Record::Cells(cells) => (&**cells, None),
        Record::Range(range) => (&[][..], Some(&range.object)),
    };
    cells.iter().map(|cell| &cell.object).chain(range)
}
