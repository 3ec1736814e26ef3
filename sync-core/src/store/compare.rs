//! Finding by a sketch which live dots two stores do not share, when records were lost (DESIGN section 5, ladder step 3).
//!
//! Between two honest states whose contexts are known, the symmetric difference of the live dots is enough (T7):
//! a dot live only here is dead if the other side knows it; a dot live only there comes as an item if it is new
//! here, and is dead there as soon as it learns of our kill. The answer's cells are claimed as they are with records
//! (T6), so that the sketch has to show only what no item of the answer has ended.

use std::collections::BTreeSet;

use super::{SKETCH_KEY, Store};
use crate::causal::CausalContext;
use crate::fragment::Fragment;
use crate::id::Dot;
use crate::merkle::sketch::{Decoded, Decoder, ReplicaHalves, Resolved, SketchError, Symbol};
use crate::mutant::{self, Mutant};

/// What symbols say of the live dots of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// More symbols are needed.
    More,
    /// These dots, live here, are dead at the other side.
    Dead(BTreeSet<Dot>),
    /// The symbols lead nowhere: the live dots are to be listed.
    Useless,
}

impl Store {
    /// Compares the live dots here with those of the sender of `fragment`, who knows `theirs` and has given the
    /// first `symbols` of its sketch.
    pub(crate) fn compare_live(
        &mut self,
        fragment: &Fragment,
        theirs: &CausalContext,
        symbols: &[Symbol],
    ) -> Compared {
        match self.differing(fragment, theirs, symbols) {
            Ok(Decoded::More) if mutant::is(Mutant::SketchCutShort) => Compared::Dead(BTreeSet::new()),
            Ok(Decoded::More) => Compared::More,
            Ok(Decoded::Done(elements)) => {
                let known = theirs.columns().chain(self.context.columns()).map(|(replica, _)| replica);
                let halves = ReplicaHalves::from_iter(known);
                let mut dead: BTreeSet<Dot> = self.claimed_dead(fragment, theirs).collect();
                for element in elements {
                    let Resolved::Dot(dot) = halves.resolve(element) else { return Compared::Useless };
                    if self.is_live(dot) && theirs.contains(dot) {
                        if !mutant::is(Mutant::SketchDeadKept) {
                            dead.insert(dot);
                        }
                    } else if !self.context.contains(dot) {
                        // Live there, unknown here, and not among the items: these are not its live dots.
                        return Compared::Useless;
                    }
                }
                Compared::Dead(dead)
            }
            Err(_) => Compared::Useless,
        }
    }

    /// What is live here and dead at the sender by the claims of its cells.
    fn claimed_dead<'a>(
        &'a self,
        fragment: &'a Fragment,
        theirs: &'a CausalContext,
    ) -> impl Iterator<Item = Dot> + 'a {
        fragment.cells.iter().flat_map(|part| self.dead_in_cell(part, theirs))
    }

    fn differing(
        &mut self,
        fragment: &Fragment,
        theirs: &CausalContext,
        symbols: &[Symbol],
    ) -> Result<Decoded, SketchError> {
        // Dots known to be on one side only need not be found.
        let items = fragment.cells.iter().flat_map(|part| &part.items).map(|item| item.dot);
        let new_there = items.filter(|dot| !self.is_live(*dot));
        let new_here = self.context.minus(theirs);
        let new_here = self.live_in(&new_here).map(|(dot, _)| dot);
        let claimed = self.claimed_dead(fragment, theirs);
        let mut decoder = Decoder::new(SKETCH_KEY, new_there.chain(new_here).chain(claimed))?;
        let ours = self.sketch_symbols(0..symbols.len());
        decoder.add(ours, symbols)
    }
}
