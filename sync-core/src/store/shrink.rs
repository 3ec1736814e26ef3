//! Gives back what a store took while it was larger.
//!
//! Places of cells and objects are reused, so a store that only turns over never needs this. One that was much larger
//! has places for what is gone: when three in four are free, what stands behind moves to the front, a bounded number at
//! a time, and the rest goes. It runs where the trie is settled, so no write pays for it, and a cell that moves takes
//! its fingerprint along: bytes damaged meanwhile are still found by the scrub.

use super::fullest::Fullest;
use super::slab::ObjectIx;
use super::slot::CellSlot;
use super::{CellIx, Store};

/// Slabs up to this length are left alone.
const PLACES_MIN: usize = 1_024;

/// Cells that move at most when the trie is settled: about a millisecond. What is left moves at the next time.
pub(super) const MOVES_MAX: usize = 1_024;

/// Three in four places are free.
pub(super) fn is_sparse(places: usize, free: usize) -> bool {
    places > PLACES_MIN && free >= places / 4 * 3
}

/// Gives capacity back that is four times what is needed.
pub(super) fn trim<T>(list: &mut Vec<T>) {
    if list.capacity() > PLACES_MIN && list.capacity() / 4 >= list.len() {
        list.shrink_to(list.len() * 2);
    }
}

impl Store {
    /// To be called when all cells have settled.
    pub(super) fn shrink(&mut self) {
        if is_sparse(self.slots.len(), self.slots.free().len()) {
            self.shrink_cells();
        }
        if is_sparse(self.objects.len(), self.objects_free.len()) {
            self.shrink_objects();
        }
        self.slots.shrink();
        self.lookup.shrink();
    }

    fn shrink_cells(&mut self) {
        let len = (self.slots.len() - self.slots.free().len()).max(PLACES_MIN / 2);
        let mut places = std::mem::take(self.slots.free_mut());
        places.sort_unstable();
        let mut front = places.iter().copied().take_while(|ix| (ix.0 as usize) < len);
        let mut moves = 0;
        while self.slots.len() > len {
            if self.slots.last().is_some_and(CellSlot::is_held) {
                moves += 1;
                let Some(to) = front.next().filter(|_| moves <= MOVES_MAX) else { break };
                self.move_last_cell(to);
            } else {
                self.slots.pop();
            }
        }
        let held = |ix: &CellIx| self.slots.get(*ix).is_none_or(CellSlot::is_held);
        let free = places.iter().copied().filter(|ix| !held(ix)).collect();
        *self.slots.free_mut() = free;
        self.prints.truncate(self.slots.len());
        trim(&mut self.prints);
    }

    fn move_last_cell(&mut self, to: CellIx) {
        let last = self.slots.len() - 1;
        let from = CellIx(u32::try_from(last).expect("places are numbered by 32 bits"));
        self.trie.remove(self.address(from), from);
        if self.lookup.is_kept() {
            let hash = self.hash_of(from);
            self.lookup.remove(hash, from);
            self.lookup.insert(hash, to);
        }
        let Self { slots, objects, live, .. } = self;
        let slot = slots.at(from);
        objects[slot.object.0 as usize].order.replace(slots.path(slot), to, &&*slots);
        for dot in slots.items(slot, live).iter().map(|item| item.dot).collect::<Vec<_>>() {
            live.insert(dot, to);
        }
        slots.move_last(to);
        self.prints[to.0 as usize] = self.prints[last];
        self.trie_insert(to);
    }

    fn shrink_objects(&mut self) {
        let mut moves = 0;
        self.recent = ObjectIx::NONE;
        while let Some(last) = self.objects.pop() {
            if last.cells == 0 {
                continue;
            }
            let to = self.objects_free.iter().position(|ix| (ix.0 as usize) < self.objects.len());
            moves += usize::try_from(last.cells).unwrap_or(usize::MAX);
            let Some(to) = to.filter(|_| moves <= MOVES_MAX) else {
                self.objects.push(last);
                break;
            };
            let to = self.objects_free.swap_remove(to);
            let types = self.keys.get_mut(last.id.key.as_str()).expect("an object stands under its key");
            let place = types.iter_mut().find(|(ty, _)| *ty == last.id.ty);
            place.expect("an object stands under its type").1 = to;
            last.order.unordered().for_each(|ix| self.slots.at_mut(ix).object = to);
            self.objects[to.0 as usize] = last;
        }
        let len = self.objects.len();
        self.objects_free.retain(|ix| (ix.0 as usize) < len);
        trim(&mut self.objects);
        trim(&mut self.objects_free);
        self.fullest = Fullest::default();
        for (ix, object) in (0..).map(ObjectIx).zip(&self.objects) {
            self.fullest.grew(ix, object.size());
        }
    }
}
