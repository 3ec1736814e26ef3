//! A large answer in two kinds of frames: the skeleton, all of a fragment but its items, and the items (`items.rs`).
//!
//! A skeleton says which of the dots are live instead of carrying their items. Of the cells it lists those that
//! its items do not tell: cells with further live dots, and cells that a record names. Items travel apart, so
//! that no frame and no buffer is larger than [`Limits::message_bytes_max`], whatever the state's size
//! (DESIGN section 3, rules of transport).

use super::{Claims, Fragment};
use crate::causal::DotSet;
use crate::codec::{Reader, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::limits::Limits;

impl Fragment {
    /// Appends a skeleton; [`Self::read_skeleton`] reads it. A fallback names all live dots already.
    pub(crate) fn write_skeleton(&self, live: &DotSet, names: &Names, out: &mut Writer) {
        self.write_with(lists_live(&self.claims).then_some(live), names, out);
    }

    /// Reads a skeleton and its live dots, with the checks that need no store.
    pub(crate) fn read_skeleton(
        input: &mut Reader<'_>,
        names: &Names,
        limits: &Limits,
    ) -> Result<(Self, DotSet), FrameError> {
        let (fragment, mut live) = Self::read_with(input, names, limits, lists_live)?;
        if let Claims::Whole { live: all, .. } = &fragment.claims {
            input.charge("live dots", 1, all.memory() + fragment.dots.memory())?;
            live = all.intersection_exact(&fragment.dots);
        }
        fragment.check_skeleton(&live)?;
        // Once more, for those that are waited for.
        input.charge("live dots", 1, live.memory())?;
        Ok((fragment, live))
    }

    fn check_skeleton(&self, live: &DotSet) -> Result<(), FrameError> {
        match &self.claims {
            Claims::Cells { .. } | Claims::Whole { .. } => {}
            Claims::None => return Err(FrameError::Field { field: "claims", value: 0 }),
            Claims::Sketch { .. } => return Err(FrameError::Field { field: "claims", value: 3 }),
        }
        self.check_cells()?;
        if let Some(dot) = self.item_dots().next() {
            return Err(FrameError::OutsideDots { dot, field: "skeleton" });
        }
        self.check_claims()?;
        let (count, max) = (live.len(), live.overlap(&self.dots));
        if count == max { Ok(()) } else { Err(FrameError::Count { field: "live dots", count, max }) }
    }
}

fn lists_live(claims: &Claims) -> bool {
    !matches!(claims, Claims::Whole { .. })
}
