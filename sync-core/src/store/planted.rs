//! What planted bugs do inside a store where a switch alone does not do it; see [`crate::mutant`].

use super::{ItemRef, Store};
use crate::causal::DotSet;
use crate::cell::{CellId, Item, TypeTag};
use crate::fragment::{Fragment, Record};
use crate::id::Dot;
use crate::mutant::{self, Mutant};
use crate::time::WallMillis;

impl Store {
    /// Every item of the cells that the records name, but for those that the fragment carries.
    pub(super) fn planted_kills(&self, fragment: &Fragment, named: &[Dot]) -> Vec<Dot> {
        let mut dots = Vec::new();
        for (_, record) in &fragment.records {
            match record {
                Record::Cells(cells) => {
                    dots.extend(cells.iter().flat_map(|cell| self.items_of(cell)).map(|i| i.dot))
                }
                Record::Range(range) => {
                    dots.extend(self.cells_in(range).flat_map(|(_, items)| items).map(|i| i.dot))
                }
            }
        }
        dots.retain(|dot| named.binary_search(dot).is_err());
        dots
    }

    /// True for an item that a planted bug refuses inside a join.
    pub(super) fn planted_drop(&self, cell: &CellId, item: &Item) -> bool {
        let newer = |held: ItemRef<'_>| (held.hlc, held.dot) > (item.hlc, item.dot);
        let loses = || cell.object.ty == TypeTag::LWW_MAP && self.items_of(cell).iter().any(newer);
        (mutant::is(Mutant::LwwLoserDropped) && loses())
            || (mutant::is(Mutant::CapDropsItems) && self.is_beyond_cap(cell))
    }

    /// The newest item of a pinned item's cell, under the pinned item's dot.
    pub(super) fn planted_read_live(&self, cell: &CellId, pinned: &Item) -> Option<Item> {
        let newest = self.items_of(cell).last().filter(|_| mutant::is(Mutant::PinnedReadLive))?;
        Some(Item { dot: pinned.dot, ..newest.to_item() })
    }

    /// True if the cell's object is not here and there is no room for it.
    pub(super) fn is_beyond_cap(&self, cell: &CellId) -> bool {
        self.crdts >= self.limits.crdts_max && !self.is_present(cell.object.key.as_str(), cell.object.ty)
    }

    /// `dots` without the newest events of the last step.
    pub(super) fn before_newest(&self, dots: &DotSet) -> DotSet {
        let mut older = dots.clone();
        let newest = self.log.entries().last().into_iter().flat_map(|entry| entry.dots.intervals());
        for (replica, interval) in newest.filter(|(replica, i)| i.last == self.context.get(*replica)) {
            for seq in interval.first..=interval.last {
                older.remove(Dot::new(replica, seq));
            }
        }
        older
    }

    /// The items of the newest step are not in the image.
    pub(crate) fn planted_lose_newest(&mut self) {
        let newest = self.log.entries().last().map(|entry| entry.dots.clone()).unwrap_or_default();
        newest.dots().for_each(|dot| drop(self.kill(dot)));
    }

    /// The items of the newest step that its rows do not have.
    pub(super) fn planted_lost(&self) -> DotSet {
        let newest = self.log.entries().last().filter(|_| mutant::is(Mutant::ContextDurableBeforeItems));
        newest.map(|entry| entry.dots.clone()).unwrap_or_default()
    }

    /// What a durable image loses.
    pub(super) fn planted_image(&mut self) {
        if mutant::is(Mutant::HorizonNotPersisted) {
            self.horizon = WallMillis::default();
        }
        if mutant::is(Mutant::RecordsNotPersisted) {
            self.records.planted_forget();
        }
        if mutant::is(Mutant::FloorsNotPersisted) {
            self.records.planted_sink();
        }
    }
}
