//! What takes a group back: a step for each thing that its events did.
//!
//! The lists are the store's, so that a small group allocates none.

use super::{CellIx, Group, ItemRef, PayloadRef};
use crate::cell::{CellId, Hlc};
use crate::id::Dot;
use crate::mutant::{self, Mutant};
use crate::time::WallMillis;

/// What takes one step of an event back.
#[derive(Debug)]
pub(super) enum Undo {
    Wrote(Dot),
    /// Its cell, and what was there but for the payload, which takes so many bytes at the end of those kept.
    Killed {
        cell: CellId,
        dot: Dot,
        hlc: Hlc,
        expires: WallMillis,
        payload: usize,
    },
    /// The write of `by` took the place of this one.
    Replaced {
        by: Dot,
        dot: Dot,
        hlc: Hlc,
        payload: usize,
    },
    Recorded(Dot),
}

/// The lists of a group, kept for the next one where they are short.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) undo: Vec<Undo>,
    pub(super) kept: Vec<u8>,
    pub(super) ended: Vec<CellIx>,
    pub(super) spare: Vec<u8>,
}

/// Longest list that is kept, and most bytes of payloads for each entry.
const SCRATCH_MAX: usize = 64;

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Scratch {
    pub(super) fn give(&mut self, mut lists: Self) {
        let Self { undo, kept, ended, spare } = &mut lists;
        undo.clear();
        kept.clear();
        ended.clear();
        let bytes = kept.capacity().max(spare.capacity());
        if undo.capacity().max(ended.capacity()).max(bytes / SCRATCH_MAX) <= SCRATCH_MAX {
            *self = lists;
        }
    }
}

impl Group<'_> {
    /// Takes every event of the group back.
    ///
    /// A record that was dropped to make room for the group's own stays dropped: its floor says so, and
    /// a floor may only rise.
    pub fn roll_back(self) {
        let Self { store, undo, kept, .. } = self;
        let mut kept = kept.as_slice();
        for step in undo.into_iter().rev() {
            match step {
                Undo::Wrote(_) if mutant::is(Mutant::RollBackLeavesWrites) => {}
                Undo::Wrote(dot) => {
                    store.kill(dot).expect("what the group wrote and did not kill is live");
                }
                Undo::Killed { cell, dot, hlc, expires, payload } => {
                    let (rest, payload) = kept.split_at(kept.len() - payload);
                    kept = rest;
                    if !mutant::is(Mutant::RollBackLeavesKills) {
                        store.put(&cell, &ItemRef { dot, hlc, expires, payload: PayloadRef::bytes(payload) });
                    }
                }
                Undo::Replaced { by, dot, hlc, payload } => {
                    let (rest, payload) = kept.split_at(kept.len() - payload);
                    kept = rest;
                    store.take_back(
                        by,
                        &ItemRef {
                            dot,
                            hlc,
                            expires: WallMillis::default(),
                            payload: PayloadRef::bytes(payload),
                        },
                    );
                }
                Undo::Recorded(dot) => store.records.take_back(dot),
            }
        }
        store.forget_changes();
    }
}
