//! What a store does about damage: it finds its own, and takes part in the healing of T8 (DESIGN section 3).
//!
//! The fingerprint of a cell is taken when it changes and kept. Bytes that no longer give it were damaged since:
//! [`Store::scrub`] goes over all cells and names such. Nothing here mints an event; what must become one is
//! [`Group::rewrite`]'s.

use super::root::{fingerprint, fingerprint_of};
use super::{CellIx, Group, ItemRef, Store};
use crate::cell::{CellId, Item};
use crate::error::WriteError;
use crate::fragment::Record;
use crate::id::Dot;
use crate::merkle::Address;
use crate::mutant::{self, Mutant};

/// What a step of the scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    /// Where the next step begins; 0 after the last cell.
    pub(crate) next: usize,
    /// Where cells lie whose bytes are not those that were hashed.
    pub(crate) failed: Vec<Address>,
}

impl Store {
    /// Recomputes the fingerprints of up to `cells` cells from place `from` on.
    pub(crate) fn scrub(&mut self, from: usize, cells: usize) -> Scrubbed {
        self.settle();
        let end = from.saturating_add(cells).min(self.slots.len());
        let mut image = Vec::new();
        let failed = (from.min(end)..end).filter_map(|at| {
            if at % 2 == 1 && mutant::is(Mutant::ScrubSkipsCells) {
                return None;
            }
            let ix = CellIx(u32::try_from(at).ok()?);
            let is_held = self.slot(ix).is_held();
            (is_held && !self.is_sound_at(ix, &mut image)).then(|| self.address(ix))
        });
        Scrubbed { failed: failed.collect(), next: if end == self.slots.len() { 0 } else { end } }
    }

    /// Number of places that a scrub goes over.
    pub(crate) fn scrub_places(&self) -> usize {
        self.slots.len()
    }

    /// True if the bytes of `cell` give the fingerprint that was taken of them.
    pub(crate) fn is_sound(&mut self, cell: &CellId) -> bool {
        self.settle();
        self.find(cell).is_none_or(|ix| self.is_sound_at(ix, &mut Vec::new()))
    }

    fn is_sound_at(&self, ix: CellIx, image: &mut Vec<u8>) -> bool {
        let slot = self.slot(ix);
        let print = fingerprint_of(&self.slots, slot, &self.live, self.object_id(slot), image);
        print == self.prints[ix.0 as usize]
    }

    /// Puts a peer's items in place of the damaged ones of `cell` with the same dots, if the cell then has the
    /// fingerprint that was taken of it; false, and nothing changed, if not.
    pub(crate) fn mend(&mut self, cell: &CellId, theirs: &[Item]) -> bool {
        let Some(ix) = self.find(cell) else { return false };
        let mut whole = self.items_in(ix).to_vec();
        for item in &mut whole {
            if let Some(other) = theirs.iter().find(|other| other.dot == item.dot) {
                *item = other.clone();
            }
        }
        let items = whole.iter().map(ItemRef::from);
        let print = fingerprint(&cell.object, cell.path.as_bytes(), items, &mut Vec::new());
        if print != self.prints[ix.0 as usize] {
            return false;
        }
        whole.into_iter().for_each(|item| self.adopt(cell, item));
        true
    }

    /// Takes the bytes of `cell` as they are for right: its fingerprint is taken anew.
    pub(crate) fn resign(&mut self, cell: &CellId) {
        if let Some(ix) = self.find(cell) {
            self.mark_dirty(ix);
        }
    }

    /// Makes `dot`, live here by damage, dead; it was killed by an event that is known here.
    pub(crate) fn bury(&mut self, dot: Dot) {
        self.kill(dot);
    }

    /// Makes `item`, dead here by damage, live with what an undamaged replica holds; or puts it in place of what
    /// is held under its dot.
    pub(crate) fn adopt(&mut self, cell: &CellId, item: Item) {
        self.end(item.dot);
        self.put(cell, &ItemRef::from(&item));
        self.drop_hollow();
    }

    /// True if a record here proves that `dot` of `cell` is dead: a later event of the same replica removed what
    /// it saw in that cell, and it had seen `dot`. Of another replica's event nobody knows what it had seen.
    pub(crate) fn shows_killed(&self, cell: &CellId, dot: Dot) -> bool {
        let later = |other: Dot| other.replica == dot.replica && other.seq > dot.seq;
        self.records.iter().any(|(other, record)| later(other) && record.covers(cell))
    }
}

impl Group<'_> {
    /// Mints a write of what `item` holds, with its old clock, that ends `item`'s own dot if it is live here, and those
    /// of `also`, which are of the same cell.
    ///
    /// It repairs, so no limit but the range of sequences refuses it.
    ///
    /// # Errors
    /// [`WriteError::SequencesUsed`]; nothing of this event has happened then.
    pub(crate) fn rewrite(&mut self, cell: CellId, item: &Item, also: &[Dot]) -> Result<Dot, WriteError> {
        let dot = self.next_dot();
        let own = Some(item.dot).filter(|dot| self.store().is_live(*dot));
        let kills: Vec<Dot> = own.into_iter().chain(also.iter().copied()).collect();
        self.mint(&kills)?;
        if self.kills_for_a_time(item.expires) {
            let cells = self.ended_cells();
            self.record(dot, Record::Cells(cells.into()));
        }
        self.rewrote(&cell, &ItemRef { dot, ..ItemRef::from(item) });
        Ok(dot)
    }
}

/// Damage as faults of memory and disks do it, for tests and simulations.
#[cfg(feature = "faults")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit of the payload of this live dot flips, and nothing else.
    FlipBit(Dot),
    /// This live item goes; its dot stays known.
    LoseItem(Dot),
    /// An item that is dead is live again.
    Revive(CellId, Item),
}

#[cfg(feature = "faults")]
impl Store {
    /// Damages the state; false if there is nothing to damage in that way.
    pub fn damage(&mut self, damage: Damage) -> bool {
        let done = self.strike(damage);
        // Damage is no step: nobody is told of it.
        self.forget_changes();
        done
    }

    fn strike(&mut self, damage: Damage) -> bool {
        match damage {
            Damage::FlipBit(dot) => {
                self.settle();
                let Some(ix) = self.live.get(dot) else { return false };
                let mut bytes = self.item_in(ix, dot).payload.as_bytes().to_vec();
                let Some(byte) = bytes.first_mut() else { return false };
                *byte ^= 1;
                self.slots.set_payload(ix, dot, &bytes);
                true
            }
            Damage::LoseItem(dot) => self.kill(dot).is_some(),
            Damage::Revive(cell, item) => {
                let dead = self.context.contains(item.dot) && !self.is_live(item.dot);
                if dead {
                    self.put(&cell, &ItemRef::from(&item));
                }
                dead
            }
        }
    }
}
