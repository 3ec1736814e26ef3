//! Every live dot and its cell: per replica a column of pages by sequence number.
//!
//! Sequences are dense where nothing was overwritten, so a page of [`PAGE`] places costs 4 bytes a dot there and
//! nothing beyond it; a page goes with its last live dot, and is a line of the cache. Up to 64 pages stand together in a
//! block, found by counting bits, so that a column of a million dots is a list of a thousand blocks, in which the place
//! of one is mostly reckoned and not searched for. A lone live dot costs a page and a place in that list, about 150
//! bytes. A column stays when its last dot goes, until another replica takes its number.

use super::CellIx;
use super::join::End;
use super::names::{Names, Packed, ReplicaIx};
use crate::causal::Interval;
use crate::id::{Dot, ReplicaId};

/// Places of a page.
const PLACES: usize = 16;
const PAGE: u64 = PLACES as u64;

/// Sequences of a block: a bit of a word for each of its pages.
const BLOCK: u64 = 64 * PAGE;

/// 0 where the dot is dead, else one more than the cell's place.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Page([u32; PLACES]);

const EMPTY: Page = Page([0; PLACES]);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    names: Names,
    /// By the number of their replica.
    columns: Vec<Column>,
    /// Columns without a live dot, whose numbers may be given again.
    unused: usize,
    len: u64,
    /// Maximal runs of consecutive live dots.
    intervals: u64,
}

#[derive(Clone, Debug, Default)]
struct Column {
    /// Below the tail, ascending.
    blocks: Vec<(u64, Block)>,
    /// How many of them are empty: at most half, or each block that goes would move those behind it.
    hollow: usize,
    /// The block that was the last one when it was taken up: new events go there.
    tail: Block,
    tail_at: u64,
    len: u64,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// Which of its pages there are.
    held: u64,
    /// These, ascending, none of them empty.
    pages: Vec<Page>,
}

impl Block {
    fn page(&self, at: u32) -> Option<&Page> {
        (self.held >> at & 1 == 1).then(|| &self.pages[self.rank(at)])
    }

    /// How many pages stand before page `at`.
    #[inline]
    fn rank(&self, at: u32) -> usize {
        let before = (1 << at) - 1;
        // Mostly none is missing, and counting bits is many steps where the processor has none for it.
        if self.held & before == before { at as usize } else { (self.held & before).count_ones() as usize }
    }

    fn get(&self, seq: u64) -> u32 {
        self.page(page_of(seq)).map_or(0, |page| page.0[place(seq)])
    }

    /// Puts `ix` at `seq`; gives back what was there, and how many of its neighbours in this block are live.
    #[inline]
    fn swap(&mut self, seq: u64, ix: u32) -> (u32, u64) {
        let (at, here) = (page_of(seq), place(seq));
        let rank = self.rank(at);
        if self.held >> at & 1 == 0 {
            if ix == 0 {
                return (0, 0);
            }
            self.held |= 1 << at;
            self.pages.insert(rank, EMPTY);
        }
        let page = &mut self.pages[rank].0;
        // Before the write: to read a line as it was written in part would wait for the write.
        let live = if ix == 0 { page.iter().filter(|place| **place != 0).count() } else { PLACES };
        let old = std::mem::replace(&mut page[here], ix);
        let neighbours = match page.get(here.wrapping_sub(1)..here + 2) {
            Some([before, _, after]) => u64::from(*before != 0) + u64::from(*after != 0),
            Some(_) | None => self.far_neighbours(seq),
        };
        if live == 1 && old != 0 {
            self.drop_page(at, rank);
        }
        (old, neighbours)
    }

    fn drop_page(&mut self, at: u32, rank: usize) {
        self.held &= !(1 << at);
        self.pages.remove(rank);
        if self.pages.len() < self.pages.capacity() / 2 {
            self.pages.shrink_to_fit();
        }
    }

    /// How many neighbours in this block are live of `seq`, which is at an end of its page.
    fn far_neighbours(&self, seq: u64) -> u64 {
        let before = !seq.is_multiple_of(BLOCK) && self.get(seq - 1) != 0;
        let after = seq % BLOCK != BLOCK - 1 && self.get(seq + 1) != 0;
        u64::from(before) + u64::from(after)
    }

    /// The pages that overlap `first..=last`, ascending, with their sequences; the block begins at `base`.
    fn range(&self, base: u64, first: u64, last: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let held = self.held;
        let ats = (0..64).filter(move |at| held >> at & 1 == 1).map(move |at| base + at * PAGE);
        let pages = ats.zip(&self.pages).filter(move |(at, _)| at + PAGE > first && *at <= last);
        pages.flat_map(|(at, page)| (at..).zip(page.0.iter().copied()))
    }
}

impl Column {
    /// Where the block `at` is in the list, or would be.
    #[inline]
    fn find(&self, at: u64) -> Result<usize, usize> {
        // Mostly none is missing between the first one and it.
        let first = self.blocks.first().map_or(at, |(first, _)| *first);
        match usize::try_from(at.wrapping_sub(first)) {
            Ok(reckoned) if self.blocks.get(reckoned).is_some_and(|(other, _)| *other == at) => Ok(reckoned),
            Ok(_) | Err(_) => self.blocks.binary_search_by_key(&at, |(at, _)| *at),
        }
    }

    #[inline]
    fn block(&self, at: u64) -> Option<&Block> {
        if at == self.tail_at { Some(&self.tail) } else { self.find(at).ok().map(|at| &self.blocks[at].1) }
    }

    fn get(&self, seq: u64) -> u32 {
        self.block(seq / BLOCK).map_or(0, |block| block.get(seq))
    }

    /// Puts `ix` at `seq`; gives back what was there, and how many of its neighbours are live.
    #[inline]
    fn swap(&mut self, seq: u64, ix: u32) -> (u32, u64) {
        let at = seq / BLOCK;
        if at > self.tail_at && ix != 0 {
            self.begin_tail(at);
        }
        let (old, near) =
            if at == self.tail_at { self.tail.swap(seq, ix) } else { self.swap_below(at, seq, ix) };
        let is_inside = (seq % BLOCK).wrapping_sub(1) < BLOCK - 2;
        (old, if is_inside { near } else { near + self.neighbours_beyond(seq) })
    }

    /// How many neighbours of `seq`, which is at an end of its block, are live in another one.
    #[cold]
    fn neighbours_beyond(&self, seq: u64) -> u64 {
        let beyond = if seq.is_multiple_of(BLOCK) { seq - 1 } else { seq + 1 };
        u64::from(self.get(beyond) != 0)
    }

    #[cold]
    fn begin_tail(&mut self, at: u64) {
        let mut tail = std::mem::take(&mut self.tail);
        if tail.held != 0 {
            tail.pages.shrink_to_fit();
            self.blocks.push((self.tail_at, tail));
        }
        self.tail_at = at;
    }

    /// As [`Self::swap`], of the block `at` below the tail.
    #[inline]
    fn swap_below(&mut self, at: u64, seq: u64, ix: u32) -> (u32, u64) {
        let place = match self.find(at) {
            Ok(place) => place,
            Err(_) if ix == 0 => return (0, 0),
            Err(place) => {
                self.blocks.insert(place, (at, Block::default()));
                self.hollow += 1;
                place
            }
        };
        let block = &mut self.blocks[place].1;
        let was_hollow = block.held == 0;
        let swapped = block.swap(seq, ix);
        match (was_hollow, block.held == 0) {
            (true, false) => self.hollow -= 1,
            (false, true) => self.hollowed(),
            (true, true) | (false, false) => {}
        }
        swapped
    }

    /// One more block is empty.
    #[cold]
    fn hollowed(&mut self) {
        self.hollow += 1;
        if self.hollow * 2 > self.blocks.len() {
            self.blocks.retain(|(_, block)| block.held != 0);
            self.blocks.shrink_to(self.blocks.len() * 2);
            self.hollow = 0;
        }
    }

    /// The live sequences from `first` to `last`, ascending.
    fn range(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, CellIx)> + '_ {
        // Mostly what is asked for is one dot.
        let one = (first == last).then(|| (first, self.get(first)));
        let (from, until) = (first / BLOCK, last / BLOCK);
        let blocks = if first < last {
            let from = self.find(from).unwrap_or_else(|place| place);
            let below = self.blocks[from..].iter().take_while(move |(at, _)| *at <= until);
            Some(below.map(|(at, block)| (*at, block)))
        } else {
            None
        };
        let tail =
            (first < last && (from..=until).contains(&self.tail_at)).then_some((self.tail_at, &self.tail));
        let blocks = blocks.into_iter().flatten().chain(tail);
        let many = blocks.flat_map(move |(at, block)| block.range(at * BLOCK, first, last));
        let many = many.filter(move |(seq, _)| (first..=last).contains(seq));
        one.into_iter().chain(many).filter(|(_, ix)| *ix != 0).map(|(seq, ix)| (seq, CellIx(ix - 1)))
    }
}

fn place(seq: u64) -> usize {
    usize::try_from(seq % PAGE).expect("it is below the places of a page")
}

fn page_of(seq: u64) -> u32 {
    u32::try_from(seq / PAGE % 64).expect("it is below the pages of a block")
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

    /// The dot that was packed here, while it is live.
    #[inline]
    pub(super) fn unpack(&self, packed: Packed) -> Dot {
        Dot { replica: self.names.id(packed.replica()), seq: packed.seq() }
    }

    /// A live dot in eight bytes.
    #[inline]
    pub(super) fn pack(&self, dot: Dot) -> Packed {
        let replica = self.names.find(dot.replica).expect("a replica with a live dot has a number");
        Packed::new(replica, dot.seq)
    }

    /// Numbers of replicas, of those without live dots too.
    pub(super) fn replicas(&self) -> usize {
        self.names.len()
    }

    fn column(&self, replica: ReplicaId) -> Option<&Column> {
        Some(&self.columns[self.names.find(replica)?.0 as usize])
    }

    /// Where `dot` lives; `None` if it is dead.
    #[inline]
    pub(super) fn get(&self, dot: Dot) -> Option<CellIx> {
        self.column(dot.replica)?.get(dot.seq).checked_sub(1).map(CellIx)
    }

    /// The number of `replica`, which gets one if it has none.
    #[inline]
    fn intern(&mut self, replica: ReplicaId) -> ReplicaIx {
        let Self { names, columns, unused, .. } = self;
        if let Some(ix) = names.recent(replica)
            && columns[ix.0 as usize].len != 0
        {
            return ix;
        }
        let ix = names.intern(replica, || {
            let at = if *unused == 0 { None } else { columns.iter().position(|column| column.len == 0) };
            at.map(|at| ReplicaIx(u32::try_from(at).expect("numbers have 24 bits")))
        });
        match columns.get_mut(ix.0 as usize) {
            None => {
                columns.push(Column::default());
                *unused += 1;
            }
            // It may have been another's, whose events lay elsewhere.
            Some(column) if column.len == 0 && column.tail.held == 0 => column.tail_at = 0,
            Some(_) => {}
        }
        ix
    }

    /// Makes `dot` live in `ix`; gives it in eight bytes, and true if it was live already.
    #[inline]
    pub(super) fn insert(&mut self, dot: Dot, ix: CellIx) -> (Packed, bool) {
        let replica = self.intern(dot.replica);
        let column = &mut self.columns[replica.0 as usize];
        let (old, neighbours) = column.swap(dot.seq, ix.0 + 1);
        if old == 0 {
            self.intervals = self.intervals + 1 - neighbours;
            self.unused -= usize::from(column.len == 0);
            column.len += 1;
            self.len += 1;
        }
        (Packed::new(replica, dot.seq), old != 0)
    }

    /// Makes `dot` dead; gives back where it lived.
    #[inline]
    pub(super) fn remove(&mut self, dot: Dot) -> Option<CellIx> {
        let at = self.names.find_again(dot.replica)?.0 as usize;
        let column = &mut self.columns[at];
        let (old, neighbours) = column.swap(dot.seq, 0);
        let ix = old.checked_sub(1).map(CellIx)?;
        self.intervals = self.intervals + neighbours - 1;
        column.len -= 1;
        self.len -= 1;
        self.unused += usize::from(column.len == 0);
        Some(ix)
    }

    /// The live dots of `replica` from `first` to `last`, ascending, with their cells.
    pub(super) fn range(
        &self,
        replica: ReplicaId,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = (Dot, CellIx)> + '_ {
        let live = self.column(replica).into_iter().flat_map(move |column| column.range(first, last));
        live.map(move |(seq, ix)| (Dot::new(replica, seq), ix))
    }

    /// Appends the live dots of `replica` in `intervals`, which ascend, to `live`; none is above `known`.
    pub(super) fn among(&self, replica: ReplicaId, intervals: &[Interval], known: u64, live: &mut Vec<End>) {
        let Some(column) = self.column(replica) else { return };
        let known = intervals.iter().take_while(|interval| interval.first <= known).map(|interval| {
            let Interval { first, last } = *interval;
            Interval { first, last: last.min(known) }
        });
        // Single dots lie in pages far apart. First all blocks are found and then all pages are read, so that these
        // reads of far memory go on side by side.
        let mut singles: Vec<(u64, &Block)> = Vec::with_capacity(intervals.len());
        live.reserve(intervals.len());
        let mut block: Option<(u64, Option<&Block>)> = None;
        let here = |(seq, block): (u64, &Block)| {
            block.get(seq).checked_sub(1).map(|ix| End::new(Dot::new(replica, seq), CellIx(ix)))
        };
        for Interval { first, last } in known {
            if first == last {
                let at = first / BLOCK;
                let found = block.filter(|(last, _)| *last == at).unwrap_or_else(|| (at, column.block(at)));
                block = Some(found);
                singles.extend(found.1.map(|block| (first, block)));
            } else {
                live.extend(singles.drain(..).filter_map(here));
                let range = column.range(first, last);
                live.extend(range.map(|(seq, ix)| End::new(Dot::new(replica, seq), ix)));
            }
        }
        live.extend(singles.drain(..).filter_map(here));
    }

    /// The live dots from `from` on, ascending.
    pub(super) fn dots_from(&self, from: Dot) -> impl Iterator<Item = Dot> + '_ {
        let behind = self.names.sorted().skip_while(move |ix| self.names.id(*ix) < from.replica);
        behind.flat_map(move |ix| {
            let (replica, column) = (self.names.id(ix), &self.columns[ix.0 as usize]);
            let first = if replica == from.replica { from.seq } else { 0 };
            column.range(first, Dot::SEQ_MAX).map(move |(seq, _)| Dot::new(replica, seq))
        })
    }

    /// Every live dot, ascending.
    pub(super) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.names.sorted().flat_map(|ix| {
            let (replica, column) = (self.names.id(ix), &self.columns[ix.0 as usize]);
            column.range(0, Dot::SEQ_MAX).map(move |(seq, _)| Dot::new(replica, seq))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::DotSet;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn columns_of_pages_behave_like_a_map() {
        for seed in 0..40 {
            let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
            let (mut live, mut plain) = (Live::default(), BTreeMap::new());
            let span = [20, 100, 9_000, Dot::SEQ_MAX][rng.random_range(0..4)];
            for step in 0..400u32 {
                let near = rng.random_range(1..=span.min(100));
                let seq = if rng.random_bool(0.5) { near } else { rng.random_range(1..=span) };
                let dot = Dot::new(ReplicaId([rng.random_range(1..4) + u8::from(step > 200); 16]), seq);
                if rng.random_bool(0.6) {
                    let was_live = plain.insert(dot, CellIx(step)).is_some();
                    let (packed, live_already) = live.insert(dot, CellIx(step));
                    assert_eq!((live.unpack(packed), live_already), (dot, was_live));
                } else {
                    assert_eq!(live.remove(dot), plain.remove(&dot));
                }
                assert_eq!(live.get(dot), plain.get(&dot).copied());
                let dots: DotSet = plain.keys().copied().collect();
                assert_eq!(live.intervals(), dots.intervals().count() as u64);
                for column in &live.columns {
                    let hollow = column.blocks.iter().filter(|(_, block)| block.held == 0).count();
                    assert!(hollow == column.hollow && hollow * 2 <= column.blocks.len());
                    assert!(column.blocks.is_sorted_by(|(one, _), (next, _)| one < next));
                }
            }
            assert_eq!(live.len(), plain.len() as u64);
            assert!(live.dots().eq(plain.keys().copied()));
            let (first, last) = (rng.random_range(0..span), rng.random_range(0..span));
            let replica = ReplicaId([2; 16]);
            let inside = plain.iter().filter(|(dot, _)| dot.replica == replica);
            let inside = inside.filter(|(dot, _)| (first..=last).contains(&dot.seq));
            let inside: Vec<(Dot, CellIx)> = inside.map(|(dot, ix)| (*dot, *ix)).collect();
            assert!(live.range(replica, first, last).eq(inside.iter().copied()));
            let (mut named, mut among) = (DotSet::default(), Vec::new());
            (0..40).for_each(|_| named.insert(Dot::new(replica, rng.random_range(1..=span))));
            named.insert_range(replica, first.max(1), last);
            let column = named.columns().next().expect("there are dots");
            live.among(replica, column.1, last.max(first), &mut among);
            let is_among = |dot: &Dot| named.contains(*dot) && dot.seq <= last.max(first);
            let expected = plain.iter().filter(|(dot, _)| dot.replica == replica && is_among(dot));
            assert!(among.into_iter().eq(expected.map(|(dot, ix)| End::new(*dot, *ix))));
            plain.keys().for_each(|dot| assert!(live.remove(*dot).is_some()));
            assert!(live.is_empty() && live.unused == live.columns.len() && live.intervals() == 0);
        }
    }
}
