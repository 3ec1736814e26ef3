//! What a step changed, as a reader sees it: for watches, and nothing else depends on it.
//!
//! While somebody watches, a [`Capture`] notes what is read at each place just before the first change of a
//! step touches it; [`Store::take_changes`] reads there again and gives the differences. Whoever does not watch
//! pays one look at an empty option for each item that comes or goes.
//!
//! What changed since an earlier state is found from its context alone ([`Store::touched_since`]): the live
//! items of the events that it lacks, and the records of those that only removed. That is what an answer to a
//! peer with that context would carry (DESIGN section 3, T6), so it holds on any node that knows as much.

use std::collections::BTreeSet;

use super::{CellIx, ItemRef, Store};
use crate::causal::CausalContext;
use crate::cell::{CellId, Hlc, ObjectId, Path, PathRange, Payload, TypeTag};
use crate::fragment::Record;
use crate::id::{Dot, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::time::WallMillis;
use crate::types::lww_map::winner;
use crate::types::reading::{PLACE_OVERHEAD_BYTES, Place, Reading, read};
use crate::types::rw_set;

/// A place that reads otherwise than before a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceChange {
    /// Where.
    pub place: Place,
    /// What was read before.
    pub old: Reading,
    /// What is read now.
    pub new: Reading,
    /// True if nothing touched the place but the horizon.
    pub expired: bool,
}

impl PlaceChange {
    /// About what keeping it costs, in bytes.
    pub fn bytes(&self) -> usize {
        Self::bytes_for(&self.place, &self.old, &self.new)
    }

    /// As [`Self::bytes`], of a change in the making.
    pub fn bytes_for(place: &Place, old: &Reading, new: &Reading) -> usize {
        names(place) + old.bytes() + new.bytes()
    }
}

fn names(place: &Place) -> usize {
    place.object.key.as_str().len() + place.path.as_bytes().len() + PLACE_OVERHEAD_BYTES
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The write.
    pub dot: Dot,
    /// When it was written, by the writer's hybrid clock.
    pub hlc: Hlc,
    /// What it wrote; of a set or flag that may be nothing.
    pub value: Payload,
}

impl From<ItemRef<'_>> for Side {
    fn from(item: ItemRef<'_>) -> Self {
        Self { dot: item.dot, hlc: item.hlc, value: item.payload.to_payload() }
    }
}

/// A write of this node and a concurrent one that is read instead of it, or beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub place: Place,
    /// The write of this node.
    pub ours: Side,
    /// The concurrent one.
    pub theirs: Side,
    /// True if ours is not read any more; false if both are, as siblings of a multi-register.
    pub lost: bool,
}

/// What a step changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Ascending by place; `None` if keeping them would take more bytes than allowed.
    pub(crate) changes: Option<Vec<PlaceChange>>,
    /// Writes of this node that met a concurrent one.
    pub(crate) conflicts: Vec<Conflict>,
}

/// Readings from before the step under way.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    touched: Vec<Touched>,
    /// Places of several cells that are in `touched`.
    shared: BTreeSet<Place>,
    bytes: usize,
    bytes_max: usize,
    /// Whose writes are looked after, if any.
    own: Option<ReplicaId>,
}

#[derive(Clone, Debug)]
struct Touched {
    place: Place,
    old: Reading,
    /// Touched by something else than the horizon.
    written: bool,
    held: Option<Box<Held>>,
}

/// A write that is looked after and was read before the step.
#[derive(Clone, Debug)]
struct Held {
    cell: CellId,
    dot: Dot,
    /// What stood in the cell then.
    beside: Vec<Dot>,
}

impl Capture {
    fn is_full(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

/// What may read otherwise than at an earlier state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedSince {
    /// Single places.
    pub places: BTreeSet<Place>,
    /// Everything in these ranges.
    pub ranges: BTreeSet<PathRange>,
}

/// Why nobody can tell here what has changed since an earlier state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// This replica lacks events that the earlier state holds.
    Behind,
    /// Items have expired since, and those leave nothing behind.
    Expired,
    /// Records of events since then were dropped to keep within limits.
    Dropped,
}

impl Store {
    /// Notes from now on what each step changes, within `bytes_max` bytes a step, and what becomes of the writes of
    /// `own`; or stops it.
    pub(crate) fn capture(&mut self, on: Option<(usize, Option<ReplicaId>)>) {
        self.capture = on.map(|(bytes_max, own)| {
            Box::new(Capture { touched: Vec::new(), shared: BTreeSet::new(), bytes: 0, bytes_max, own })
        });
    }

    /// What the steps since the last call changed; `None` if nothing is noted.
    pub(crate) fn take_changes(&mut self) -> Option<Captured> {
        let capture = self.capture.as_mut()?;
        let full = capture.is_full();
        let mut touched = std::mem::take(&mut capture.touched);
        let bytes_max = capture.bytes_max;
        capture.shared.clear();
        capture.bytes = 0;
        if full {
            return Some(Captured::default());
        }
        // Stable: of several notes of one place the oldest stays.
        touched.sort_by(|one, other| one.place.cmp(&other.place));
        touched.dedup_by(|later, first| {
            let same = later.place == first.place;
            first.written |= same && later.written;
            same
        });
        let (mut bytes, mut conflicts) = (0, Vec::new());
        let mut changes = Vec::with_capacity(touched.len());
        for Touched { place, old, written, held } in touched {
            let new = read(self, &place);
            conflicts.extend(held.and_then(|held| self.conflict(&place, &held)));
            if old != new {
                let change = PlaceChange { place, old, new, expired: !written };
                bytes += change.bytes();
                if bytes > bytes_max {
                    return Some(Captured { changes: None, conflicts });
                }
                changes.push(change);
            }
        }
        if mutant::is(Mutant::ChangeLeftOut) && changes.len() > 1 {
            changes.pop();
        }
        Some(Captured { changes: Some(changes), conflicts })
    }

    /// Forgets what was noted: the step is taken back.
    pub(super) fn forget_changes(&mut self) {
        if let Some(capture) = &mut self.capture {
            capture.touched.clear();
            capture.shared.clear();
            capture.bytes = 0;
        }
    }

    /// To be told before an item comes to the cell at `ix`.
    #[inline]
    pub(super) fn note_place(&mut self, ix: CellIx) {
        if self.capture.is_some() {
            let CellId { object, path } = self.cell_id(ix);
            self.note(&object, &path);
        }
    }

    /// To be told before the item of `dot` goes.
    #[inline]
    pub(super) fn note_dot(&mut self, dot: Dot) {
        if self.capture.is_some()
            && let Some(ix) = self.live.get(dot)
        {
            self.note_place(ix);
        }
    }

    /// What was noted last was touched by the horizon, as far as this touch goes.
    pub(super) fn note_expired(&mut self, ix: CellIx) {
        if self.capture.is_some() {
            let cell = self.cell_id(ix);
            let place = Place::of(&cell.object, cell.path.as_bytes());
            let touched = self.capture.as_mut().and_then(|capture| capture.touched.last_mut());
            if let Some(last) = touched.filter(|last| last.place == place) {
                last.written = false;
            }
        }
    }

    fn note(&mut self, object: &ObjectId, path: &Path) {
        // Taken out, so that the store can be read meanwhile; it is a pointer.
        let Some(mut capture) = self.capture.take() else { return };
        if !capture.is_full() {
            self.note_in(&mut capture, object, path);
        }
        self.capture = Some(capture);
    }

    fn note_in(&self, capture: &mut Capture, object: &ObjectId, path: &Path) {
        let place = Place::of(object, path.as_bytes());
        let known = place.is_shared() && !capture.shared.insert(place.clone());
        if known {
            return;
        }
        let held = capture.own.and_then(|own| self.held(&place, own));
        let old = read(self, &place);
        capture.bytes += names(&place) + old.bytes();
        capture.touched.push(Touched { place, old, written: true, held });
        if capture.is_full() {
            capture.touched = Vec::new();
        }
    }

    /// The write of `own` that is read at `place`, if concurrent writes could be read instead.
    fn held(&self, place: &Place, own: ReplicaId) -> Option<Box<Held>> {
        // Of these types a place is a cell.
        let cell = CellId { object: place.object.clone(), path: place.path.clone() };
        let items = self.items_of(&cell);
        let of_own = |item: &ItemRef<'_>| item.dot.replica == own;
        let read = match place.reads_as() {
            TypeTag::LWW_MAP | TypeTag::LWW_REGISTER => winner(items).filter(of_own),
            TypeTag::MV_REGISTER => items.iter().find(of_own),
            TypeTag::RW_SET | TypeTag::DISABLE_FLAG if !items.iter().any(|item| refuses(&item)) => {
                items.iter().find(of_own)
            }
            TypeTag(_) => None,
        };
        let dot = read?.dot;
        Some(Box::new(Held { dot, beside: items.iter().map(|item| item.dot).collect(), cell }))
    }

    /// What the write that was read met in the step. An item that has ended was seen by whoever ended it; those
    /// that stand beside it have not seen it, nor it them.
    fn conflict(&self, place: &Place, held: &Held) -> Option<Conflict> {
        let items = self.items_of(&held.cell);
        let ours = items.iter().find(|item| item.dot == held.dot)?;
        let mut new = items.iter().filter(|item| !held.beside.contains(&item.dot));
        let by_age = |item: &ItemRef<'_>| (item.hlc, item.dot);
        let ty = place.reads_as();
        let theirs = match ty {
            TypeTag::LWW_MAP | TypeTag::LWW_REGISTER => {
                winner(items).filter(|item| !held.beside.contains(&item.dot))
            }
            TypeTag::MV_REGISTER => new.max_by_key(by_age),
            TypeTag(_) => new.find(refuses),
        };
        // Who wrote the same has lost nothing.
        let theirs = theirs.filter(|item| item.payload != ours.payload)?;
        let lost = ty != TypeTag::MV_REGISTER;
        Some(Conflict { ours: ours.into(), theirs: theirs.into(), lost, place: place.clone() })
    }

    /// What may read otherwise here than at a state that knew `context` and had the horizon `horizon`: every place
    /// that does is in it.
    ///
    /// An event that killed something is a write to the same cell, live or ended by such another, or has a
    /// record; and a record that was dropped raised a floor. It does not tell of what healing did
    /// ([`crate::node::Event::Healed`]), which makes no events.
    ///
    /// # Errors
    /// [`Untold`]: nobody can tell here.
    pub fn touched_since(
        &self,
        context: &CausalContext,
        horizon: WallMillis,
    ) -> Result<TouchedSince, Untold> {
        if !self.context().covers(context) || self.horizon < horizon {
            return Err(Untold::Behind);
        }
        if self.horizon != horizon {
            return Err(Untold::Expired);
        }
        let dots = self.context().minus(context);
        if self.needs_fallback(&dots, context) {
            return Err(Untold::Dropped);
        }
        let mut touched = TouchedSince::default();
        for (_, ix) in self.live_in(&dots) {
            let cell = self.cell_id(ix);
            touched.places.insert(Place::of(&cell.object, cell.path.as_bytes()));
        }
        for (_, record) in self.records.of(&dots).filter(|_| !mutant::is(Mutant::CatchUpWithoutRecords)) {
            match record {
                Record::Cells(cells) => {
                    touched
                        .places
                        .extend(cells.iter().map(|cell| Place::of(&cell.object, cell.path.as_bytes())));
                }
                Record::Range(range) => {
                    touched.ranges.insert((**range).clone());
                }
            }
        }
        Ok(touched)
    }

    /// Every place with something to read below the keys that start with `prefix`, in order, and what is read.
    pub fn readings<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (Place, Reading)> + 'a {
        self.objects(prefix).flat_map(|info| self.readings_in(PathRange::whole(info.object)))
    }

    /// Every place of `range` with something to read, in order, and what is read.
    pub fn readings_in(&self, range: PathRange) -> impl Iterator<Item = (Place, Reading)> + '_ {
        let mut places: Vec<Place> =
            self.cells_in(&range).map(|(path, _)| Place::of(&range.object, path)).collect();
        // The cells of one place lie side by side.
        places.dedup();
        let readings = places.into_iter().map(|place| {
            let reading = read(self, &place);
            (place, reading)
        });
        readings.filter(|(_, reading)| !reading.is_absent())
    }
}

/// True for what makes an element of a remove-wins set absent, or a disable-wins flag off.
fn refuses(item: &ItemRef<'_>) -> bool {
    item.payload.as_bytes() != rw_set::ADDED
}
