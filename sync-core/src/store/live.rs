//! Every live dot and its cell: per replica a column of pages by sequence number.
//!
//! Sequences are dense where nothing was overwritten, so a page of [`PAGE`] places costs 4 bytes a dot there and
//! nothing beyond it; a page goes with its last live dot. A lone live dot costs a page, about 80 bytes.

use std::collections::BTreeMap;

use super::CellIx;
use crate::id::{Dot, ReplicaId};

/// Places of a page.
const PLACES: usize = 16;
const PAGE: u64 = PLACES as u64;

/// 0 where the dot is dead, else one more than the cell's place.
type Page = [u32; PLACES];

const EMPTY: Page = [0; PLACES];

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// Ascending by replica, none of them empty.
    columns: Vec<Column>,
    len: u64,
    /// Maximal runs of consecutive live dots.
    intervals: u64,
}

#[derive(Clone, Debug)]
struct Column {
    replica: ReplicaId,
    /// Below the tail, none of them empty.
    pages: BTreeMap<u64, Page>,
    /// The page that was the last one when it was taken up: new events go there.
    tail: Page,
    tail_at: u64,
    len: u64,
}

impl Column {
    fn page(&self, at: u64) -> Option<&Page> {
        if at == self.tail_at { Some(&self.tail) } else { self.pages.get(&at) }
    }

    fn get(&self, seq: u64) -> u32 {
        self.page(seq / PAGE).map_or(0, |page| page[place(seq)])
    }

    /// How many of the neighbours of `seq` are live.
    fn neighbours(&self, seq: u64) -> u64 {
        let here = place(seq);
        if let (Some(page), 1..15) = (self.page(seq / PAGE), here) {
            return u64::from(page[here - 1] != 0) + u64::from(page[here + 1] != 0);
        }
        u64::from(self.get(seq - 1) != 0) + u64::from(self.get(seq + 1) != 0)
    }

    fn set(&mut self, seq: u64, ix: u32) {
        let at = seq / PAGE;
        if at > self.tail_at {
            let tail = std::mem::replace(&mut self.tail, EMPTY);
            if tail != EMPTY {
                self.pages.insert(self.tail_at, tail);
            }
            self.tail_at = at;
        }
        let page = if at == self.tail_at { &mut self.tail } else { self.pages.entry(at).or_insert(EMPTY) };
        page[place(seq)] = ix;
    }

    fn clear(&mut self, seq: u64) {
        let at = seq / PAGE;
        if at == self.tail_at {
            self.tail[place(seq)] = 0;
        } else if let Some(page) = self.pages.get_mut(&at) {
            page[place(seq)] = 0;
            if *page == EMPTY {
                self.pages.remove(&at);
            }
        }
    }

    /// The live sequences from `first` to `last`, ascending.
    fn range(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, CellIx)> + '_ {
        let (from, until) = (first / PAGE, last / PAGE);
        let pages = (from <= until).then(|| self.pages.range(from..=until));
        let tail = Some((&self.tail_at, &self.tail)).filter(|(at, _)| (from..=until).contains(*at));
        pages.into_iter().flatten().chain(tail).flat_map(move |(at, page)| {
            let seqs = at * PAGE..;
            let live = seqs.zip(page).filter(move |(seq, ix)| **ix != 0 && (first..=last).contains(seq));
            live.map(|(seq, ix)| (seq, CellIx(*ix - 1)))
        })
    }
}

fn place(seq: u64) -> usize {
    usize::try_from(seq % PAGE).expect("it is below the places of a page")
}

impl Live {
    /// Number of live dots.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Maximal runs of consecutive live dots of one replica.
    pub(super) fn intervals(&self) -> u64 {
        self.intervals
    }

    fn find(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.columns.binary_search_by_key(&replica, |column| column.replica)
    }

    /// Where `dot` lives; `None` if it is dead.
    pub(super) fn get(&self, dot: Dot) -> Option<CellIx> {
        let column = &self.columns[self.find(dot.replica).ok()?];
        column.get(dot.seq).checked_sub(1).map(CellIx)
    }

    /// Makes `dot` live in `ix`; true if it was live already.
    pub(super) fn insert(&mut self, dot: Dot, ix: CellIx) -> bool {
        let at = self.find(dot.replica).unwrap_or_else(|at| {
            let replica = dot.replica;
            let column = Column { replica, pages: BTreeMap::new(), tail: EMPTY, tail_at: 0, len: 0 };
            self.columns.insert(at, column);
            at
        });
        let column = &mut self.columns[at];
        let was_live = column.get(dot.seq) != 0;
        column.set(dot.seq, ix.0 + 1);
        if !was_live {
            self.intervals = self.intervals + 1 - column.neighbours(dot.seq);
            column.len += 1;
            self.len += 1;
        }
        was_live
    }

    /// Makes `dot` dead; gives back where it lived.
    pub(super) fn remove(&mut self, dot: Dot) -> Option<CellIx> {
        let at = self.find(dot.replica).ok()?;
        let column = &mut self.columns[at];
        let ix = column.get(dot.seq).checked_sub(1).map(CellIx)?;
        column.clear(dot.seq);
        self.intervals = self.intervals + column.neighbours(dot.seq) - 1;
        column.len -= 1;
        self.len -= 1;
        if column.len == 0 {
            self.columns.remove(at);
        }
        Some(ix)
    }

    /// The live dots of `replica` from `first` to `last`, ascending, with their cells.
    pub(super) fn range(
        &self,
        replica: ReplicaId,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = (Dot, CellIx)> + '_ {
        let column = self.find(replica).ok().map(|at| &self.columns[at]);
        let live = column.into_iter().flat_map(move |column| column.range(first, last));
        live.map(move |(seq, ix)| (Dot::new(replica, seq), ix))
    }

    /// Every live dot, ascending.
    pub(super) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.columns
            .iter()
            .flat_map(|column| column.range(0, Dot::SEQ_MAX).map(|(seq, _)| Dot::new(column.replica, seq)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::DotSet;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn columns_of_pages_behave_like_a_map() {
        for seed in 0..40 {
            let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
            let (mut live, mut plain) = (Live::default(), BTreeMap::new());
            let span = [20, 100, 3_000, Dot::SEQ_MAX][rng.random_range(0..4)];
            for step in 0..400u32 {
                let near = rng.random_range(1..=span.min(100));
                let seq = if rng.random_bool(0.5) { near } else { rng.random_range(1..=span) };
                let dot = Dot::new(ReplicaId([rng.random_range(1..4); 16]), seq);
                if rng.random_bool(0.6) {
                    let was_live = plain.insert(dot, CellIx(step)).is_some();
                    assert_eq!(live.insert(dot, CellIx(step)), was_live);
                } else {
                    assert_eq!(live.remove(dot), plain.remove(&dot));
                }
                assert_eq!(live.get(dot), plain.get(&dot).copied());
                let dots: DotSet = plain.keys().copied().collect();
                assert_eq!(live.intervals(), dots.intervals().count() as u64);
            }
            assert_eq!(live.len(), plain.len() as u64);
            assert!(live.dots().eq(plain.keys().copied()));
            let (first, last) = (rng.random_range(0..span), rng.random_range(0..span));
            let replica = ReplicaId([2; 16]);
            let inside = plain.iter().filter(|(dot, _)| dot.replica == replica);
            let inside = inside.filter(|(dot, _)| (first..=last).contains(&dot.seq));
            assert!(live.range(replica, first, last).eq(inside.map(|(dot, ix)| (*dot, *ix))));
            plain.keys().for_each(|dot| assert!(live.remove(*dot).is_some()));
            assert!(live.is_empty() && live.columns.is_empty() && live.intervals() == 0);
        }
    }
}
