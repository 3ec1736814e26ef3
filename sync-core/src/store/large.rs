//! Large answers: what a store keeps of one while its items are read frame by frame.
//!
//! Nothing is encoded ahead. An answer is the list of the dots that its snapshot held live and that are still to
//! be sent; their items are read from the store when a frame has room for them. An item never changes, so the
//! only thing that a later write can take away from the snapshot is the item that it ends: that one is
//! *pinned* until it is sent, up to [`Limits::pinned_bytes_max`](crate::limits::Limits). A store with no
//! answer under way pays one test a kill (DESIGN section 3, rules of transport).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{CellIx, Store};
use crate::causal::{CausalContext, DotSet, Interval};
use crate::cell::{CellId, Item};
use crate::fragment::{CellPart, Claims, Fragment, ItemsWriter};
use crate::id::{Dot, ReplicaId};
use crate::memory;

/// The large answers under way, by number. At most one a peer; the node drops those that nobody reads on.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    open: BTreeMap<u64, Answer>,
    /// Accounted bytes of all pinned items.
    pinned_bytes: u64,
}

/// One of them.
#[derive(Clone, Debug, Default)]
struct Answer {
    /// The dots still to send, ascending.
    left: VecDeque<(ReplicaId, Interval)>,
    /// Items of those that are dead here by now.
    pinned: BTreeMap<Dot, (CellId, Item)>,
    /// An item that is still to be sent could not be pinned.
    gone: bool,
}

impl Answer {
    fn needs(&self, dot: Dot) -> bool {
        let behind =
            |(replica, interval): &(ReplicaId, Interval)| (*replica, interval.last) < (dot.replica, dot.seq);
        let at = self.left.partition_point(behind);
        self.left.get(at).is_some_and(|(replica, i)| *replica == dot.replica && i.first <= dot.seq)
    }
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes
    }

    /// `item` dies: keeps it for the answers that still have to send it.
    pub(super) fn pin(&mut self, cell: &CellId, item: &Item, bytes_max: u64) {
        let bytes = Store::item_bytes(cell, item);
        for answer in self.open.values_mut().filter(|answer| answer.needs(item.dot)) {
            if self.pinned_bytes + bytes > bytes_max {
                answer.gone = true;
            } else if answer.pinned.insert(item.dot, (cell.clone(), item.clone())).is_none() {
                self.pinned_bytes += bytes;
            }
        }
    }

    fn close(&mut self, number: u64) {
        let answer = self.open.remove(&number).unwrap_or_default();
        self.pinned_bytes -=
            answer.pinned.values().map(|(cell, item)| Store::item_bytes(cell, item)).sum::<u64>();
    }
}

/// What a large answer has to say next.
#[derive(Clone, Debug)]
pub(crate) enum NextItems {
    /// These items, written.
    Items(Box<ItemsWriter>),
    /// An item is lost to it; the answer is closed.
    Gone,
    /// All is said; the answer is closed.
    Done,
}

impl Store {
    /// True if the items of an answer to a replica that knows `theirs` have more than `bytes_max` bytes of keys,
    /// paths and payloads, or would take more memory than a frame may. Costs what fits, not what there is.
    pub fn is_large(&self, theirs: &CausalContext, bytes_max: usize) -> bool {
        let dots = self.context.minus(theirs);
        let memory_max = self.limits.decode_bytes_max();
        let (mut bytes, mut memory) = (0, 0);
        self.live_in(&dots).any(|(dot, ix)| {
            let (path, payload) = (self.path(ix).len(), self.item_in(ix, dot).payload.len());
            bytes += self.object_id(self.slot(ix)).key.as_str().len() + path + payload;
            memory += memory::ITEM + memory::small(path) + memory::small(payload);
            bytes > bytes_max || memory > memory_max
        })
    }

    /// Begins a large answer of this number to a replica that knows `theirs` and has the items of `have`: its
    /// fragment without items, and which of the dots are live. `next_items` gives the rest.
    pub fn open_answer(&mut self, number: u64, theirs: &CausalContext, have: &DotSet) -> (Fragment, DotSet) {
        let fragment = self.outline(theirs);
        let live: DotSet = match &fragment.claims {
            Claims::Whole { live, .. } => live.intersection(&fragment.dots),
            Claims::None | Claims::Cells { .. } | Claims::Sketch { .. } => {
                self.live_in(&fragment.dots).map(|(dot, _)| dot).collect()
            }
        };
        let left = live.minus(have);
        let left = left.intervals().collect();
        self.answers.close(number);
        self.answers.open.insert(number, Answer { left, ..Answer::default() });
        (fragment, live)
    }

    /// The next items of a large answer: as many as are sure to fit into `bytes_max` bytes of a frame, at least
    /// one. [`NextItems::Done`] if no such answer is open.
    pub(crate) fn next_items(&mut self, number: u64, bytes_max: usize) -> NextItems {
        let Some(mut answer) = self.answers.open.remove(&number) else { return NextItems::Done };
        if answer.gone || answer.left.is_empty() {
            let end = if answer.gone { NextItems::Gone } else { NextItems::Done };
            self.answers.open.insert(number, answer);
            self.answers.close(number);
            return end;
        }
        let items = self.fill_items(&mut answer, bytes_max);
        self.answers.open.insert(number, answer);
        NextItems::Items(Box::new(items))
    }

    fn fill_items(&mut self, answer: &mut Answer, bytes_max: usize) -> ItemsWriter {
        let mut items = ItemsWriter::new(bytes_max, self.limits.decode_bytes_max());
        while let Some((replica, interval)) = answer.left.pop_front() {
            let mut live = self.live.range(replica, interval.first, interval.last).peekable();
            for seq in interval.first..=interval.last {
                let dot = Dot::new(replica, seq);
                let here = live.next_if(|(next, _)| *next == dot).map(|(_, ix)| ix);
                let taken = match here {
                    Some(ix) => {
                        let slot = self.slots.at(ix);
                        let object = &self.objects[slot.object.0 as usize].id;
                        items.take(object, self.slots.path(slot), &self.item_in(ix, dot).to_take())
                    }
                    None => {
                        let (cell, item) = answer.pinned.get(&dot).expect(
                            "what a snapshot held live lives on, or is pinned as it dies, or the answer is gone",
                        );
                        let planted = self.planted_read_live(cell, item);
                        let item = planted.as_ref().unwrap_or(item);
                        items.take(&cell.object, cell.path.as_bytes(), &item.into())
                    }
                };
                if !taken {
                    answer.left.push_front((replica, Interval { first: seq, last: interval.last }));
                    return items;
                }
                if let Some((cell, item)) = answer.pinned.remove(&dot) {
                    self.answers.pinned_bytes -= Self::item_bytes(&cell, &item);
                }
            }
        }
        items
    }

    /// Drops the large answers whose number is not wanted.
    pub(crate) fn keep_answers(&mut self, is_open: impl Fn(u64) -> bool) {
        let closed: Vec<u64> = self.answers.open.keys().copied().filter(|number| !is_open(*number)).collect();
        closed.into_iter().for_each(|number| self.answers.close(number));
    }

    /// True while a large answer is under way.
    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Of each large answer its number, what is left to send, what of it is pinned, and if it is gone.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (u64, DotSet, DotSet, bool)> + '_ {
        self.answers.open.iter().map(|(number, answer)| {
            let mut left = DotSet::default();
            for (replica, interval) in &answer.left {
                left.insert_range(*replica, interval.first, interval.last);
            }
            (*number, left, answer.pinned.keys().copied().collect(), answer.gone)
        })
    }

    /// The cells among whose live items `dots` stand beside others, each with those others: what the items of
    /// `dots` do not tell of their cells.
    pub(super) fn shared_cells(&self, dots: &DotSet) -> BTreeMap<CellId, CellPart> {
        let mut parts = BTreeMap::new();
        let mut seen: BTreeSet<CellIx> = BTreeSet::new();
        for (_, ix) in self.live_in(dots) {
            let mut items = self.items_in(ix).iter();
            if items.any(|item| !dots.contains(item.dot)) && seen.insert(ix) {
                let cell = self.cell_id(ix);
                parts.insert(cell.clone(), CellPart { cell, items: Vec::new(), others: Vec::new() });
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Hlc;
    use crate::id::{NamespaceId, OwnerId};
    use crate::limits::Limits;
    use crate::types::or_set;

    fn store(pinned_bytes_max: u64) -> Store {
        let mut store =
            Store::new(NamespaceId::named("default"), Limits { pinned_bytes_max, ..Limits::default() });
        for element in 0..20u8 {
            write(&mut store, |group| or_set::add(group, "s", &[element]));
        }
        store
    }

    fn write<T>(
        store: &mut Store,
        fill: impl FnOnce(&mut crate::store::Group<'_>) -> Result<T, crate::error::WriteError>,
    ) {
        let replica = ReplicaId([1; 16]);
        let next = store.context().get(replica) + 1;
        let mut group = store.group(replica, OwnerId([1; 16]), next, Hlc(1));
        fill(&mut group).expect("there is room");
        group.commit();
    }

    fn read(store: &mut Store, bytes_max: usize) -> (DotSet, bool) {
        let mut dots = DotSet::default();
        loop {
            match store.next_items(1, bytes_max) {
                NextItems::Items(items) => {
                    assert_eq!(dots.overlap(items.dots()), 0, "no item twice");
                    dots.union(items.dots());
                }
                NextItems::Gone => return (dots, true),
                NextItems::Done => return (dots, false),
            }
        }
    }

    #[test]
    fn items_ended_before_they_are_sent_are_pinned_and_sent() {
        let mut store = store(1 << 20);
        let (_, live) = store.open_answer(1, &CausalContext::default(), &DotSet::default());
        store.next_items(1, 80);
        write(&mut store, |group| or_set::clear(group, "s"));
        assert!(store.answers.pinned_bytes > 0);
        let (dots, gone) = read(&mut store, 200);
        assert!(!gone && dots.len() >= 15 && dots.overlap(&live) == dots.len());
        assert_eq!(store.answers.pinned_bytes, 0);
        assert!(!store.has_answers());
    }

    #[test]
    fn an_answer_that_needs_more_than_may_be_pinned_is_gone() {
        let mut store = store(3 * 98);
        store.open_answer(1, &CausalContext::default(), &DotSet::default());
        write(&mut store, |group| or_set::clear(group, "s"));
        assert_eq!(read(&mut store, 200), (DotSet::default(), true));
        assert_eq!(store.answers.pinned_bytes, 0);
    }

    #[test]
    fn what_the_asker_has_is_not_sent() {
        let mut store = store(0);
        let mut have = DotSet::default();
        have.insert_range(ReplicaId([1; 16]), 3, 17);
        let (_, live) = store.open_answer(1, &CausalContext::default(), &have);
        assert_eq!(live.len(), 20);
        assert_eq!(read(&mut store, 100), (live.minus(&have), false));
    }
}
