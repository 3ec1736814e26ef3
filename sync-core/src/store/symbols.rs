//! The sketch of the live dots, kept only while it is of use.
//!
//! To keep it costs a tenth of a microsecond for each dot that becomes live or dead, as much as all else that a small
//! write does, and only the repair of a peer for which records are lost asks for it. So it is built when somebody asks,
//! kept from then on, and let go when building it again would cost no more than it has cost since. A large store always
//! keeps it: to build it would hold up the repair.

use std::ops::Range;
use std::sync::Arc;

use super::live::Live;
use super::{SKETCH_KEY, Store};
use crate::id::Dot;
use crate::merkle::sketch::{PENDING_MAX, Sketch, Symbol};

/// Most live dots of a store that may be without its sketch; to build it for so many takes some 7 ms.
const UNKEPT_MAX: u64 = 65_536;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveSketch {
    kept: Option<Sketch>,
    /// Dots toggled since it was last asked for.
    toggled: u64,
}

impl LiveSketch {
    /// Notes that `dot` is live now and was not, or the other way; `live` is as it is now.
    #[inline]
    pub(super) fn toggle(&mut self, dot: Dot, live: &Live) {
        match &mut self.kept {
            Some(sketch) => {
                sketch.toggle(dot);
                self.toggled += 1;
                // Well below the bound, so that a store which hovers about it does not build it again and again.
                if self.toggled > live.len().max(PENDING_MAX as u64) && live.len() <= UNKEPT_MAX / 2 {
                    self.kept = None;
                }
            }
            None if live.len() > UNKEPT_MAX => _ = self.ask(live),
            None => {}
        }
    }

    fn ask(&mut self, live: &Live) -> &mut Sketch {
        self.toggled = 0;
        let sketch = self.kept.get_or_insert_with(|| Sketch::owing(SKETCH_KEY));
        pay(sketch, live, usize::MAX);
        sketch
    }

    /// About `count` dots come to a set that is empty: of many the sketch is owed, and [`Self::pay`] counts them.
    pub(super) fn fills(&mut self, count: usize) {
        self.toggled = 0;
        self.kept = (count as u64 > UNKEPT_MAX).then(|| Sketch::owing(SKETCH_KEY));
    }

    /// Counts at most `most` of the dots that are owed; true if none is left.
    pub(super) fn pay(&mut self, live: &Live, most: usize) -> bool {
        self.kept.as_mut().is_none_or(|sketch| pay(sketch, live, most))
    }
}

fn pay(sketch: &mut Sketch, live: &Live, most: usize) -> bool {
    sketch.owed().is_none_or(|from| sketch.pay(live.dots_from(from), most))
}

impl Store {
    /// The symbols of `range` of the sketch over the live dots, settling what changed since it was last
    /// asked for, or building it if it was not kept; cut off at [`SYMBOLS_KEPT`](crate::merkle::sketch::SYMBOLS_KEPT).
    pub fn sketch_symbols(&mut self, range: Range<usize>) -> &[Symbol] {
        self.sketch.ask(&self.live).symbols(range)
    }

    /// All kept symbols as they are now: a session compares against these while writes go on.
    pub fn sketch_snapshot(&mut self) -> Arc<Vec<Symbol>> {
        self.sketch.ask(&self.live).snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;
    use crate::merkle::sketch::SYMBOLS_KEPT;
    use crate::store::CellIx;

    fn plain(live: &Live) -> Vec<Symbol> {
        let mut sketch = Sketch::new(SKETCH_KEY);
        live.dots().for_each(|dot| sketch.toggle(dot));
        sketch.symbols(0..SYMBOLS_KEPT).to_vec()
    }

    #[test]
    fn symbols_are_those_of_the_live_dots_whether_the_sketch_was_kept_let_go_or_never_built() {
        let (mut sketch, mut live) = (LiveSketch::default(), Live::default());
        let dot = |seq| Dot::new(ReplicaId([3; 16]), seq);
        let (mut was_kept, mut was_not) = (false, false);
        for seq in 1..=9_000 {
            live.insert(dot(seq), CellIx(0));
            sketch.toggle(dot(seq), &live);
            if seq > 300 {
                live.remove(dot(seq - 300));
                sketch.toggle(dot(seq - 300), &live);
            }
            if [1, 2, 700, 1_200, 4_000, 9_000].contains(&seq) {
                (was_kept, was_not) = (was_kept | sketch.kept.is_some(), was_not | sketch.kept.is_none());
                assert_eq!(sketch.ask(&live).symbols(0..SYMBOLS_KEPT), plain(&live));
            }
        }
        assert!(was_kept && was_not);
    }

    #[test]
    fn a_large_store_keeps_its_sketch_unasked() {
        let (mut sketch, mut live) = (LiveSketch::default(), Live::default());
        for seq in 1..=UNKEPT_MAX + 1 {
            assert!(sketch.kept.is_none());
            let dot = Dot::new(ReplicaId([3; 16]), seq);
            live.insert(dot, CellIx(0));
            sketch.toggle(dot, &live);
        }
        assert!(sketch.kept.is_some());
        assert_eq!(sketch.ask(&live).symbols(0..SYMBOLS_KEPT), plain(&live));
    }
}
