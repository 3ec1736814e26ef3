//! The cells of one object in the order of their paths.
//!
//! A sorted list of places, cut into chunks: the paths stay with the cells, so an entry is 4 bytes. Finding a place
//! reads the first paths of chunks, which stand together, and then some paths of one chunk, each a cache miss in a
//! large object. Nobody who writes needs that place, so new cells of a large object wait, up to [`WAIT_MAX`] of them,
//! and are put in all at once, their places looked for side by side; whoever reads in order meanwhile sorts them once.

use std::sync::OnceLock;

use super::CellIx;
use crate::cell::Path;
use crate::small::{cmp_bytes, prefix};

/// Most cells of a chunk. Longer ones are cut, but behind the last a new one begins: what comes in order fills them.
const CHUNK: usize = 256;

/// Most cells that wait for their place, which bounds what a write or a read in order may have to do at once; 4 KiB.
const WAIT_MAX: usize = 1_024;

/// Cells whose places are looked for side by side.
const SIDE_BY_SIDE: usize = 16;

/// Who keeps the paths.
pub(super) trait Paths {
    fn path(&self, ix: CellIx) -> &[u8];
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// At most [`CHUNK`] cells.
    Few(Vec<CellIx>),
    /// Most objects are small, and pay for no more than a list.
    Many(Box<Many>),
}

/// More cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    /// None of them empty.
    chunks: Vec<Chunk>,
    /// Cells that wait for their place, at most [`WAIT_MAX`].
    waiting: Vec<CellIx>,
    /// These in order, once somebody asked for it.
    sorted: OnceLock<Vec<CellIx>>,
}

/// Where the place of a cell can still be, in a chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    chunk: usize,
    low: usize,
    high: usize,
    /// Of the path of the cell.
    prefix: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// At most the path of the first cell, and above all paths of the chunk before.
    from: Path,
    cells: Vec<CellIx>,
}

impl Default for Order {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// Where `path` is in `cells`, or would be.
fn search(cells: &[CellIx], path: &[u8], paths: &impl Paths) -> Result<usize, usize> {
    let prefix = prefix(path);
    match cells.last() {
        // Mostly paths that come in order come behind all others.
        Some(last) if cmp_bytes(paths.path(*last), path, prefix).is_lt() => Err(cells.len()),
        Some(_) | None => cells.binary_search_by(|ix| cmp_bytes(paths.path(*ix), path, prefix)),
    }
}

/// The chunk in which `path` is or would be.
fn chunk_of(chunks: &[Chunk], path: &[u8]) -> usize {
    let prefix = prefix(path);
    chunks.partition_point(|chunk| chunk.from.cmp_bytes(path, prefix).is_le()).saturating_sub(1)
}

/// Gives capacity back that is four times what is needed.
fn trim<T>(list: &mut Vec<T>) {
    if list.capacity() > 16 && list.capacity() / 4 >= list.len() {
        list.shrink_to(list.len() * 2);
    }
}

/// The chunk at `chunk` has few cells left: it goes if it is empty, and joins a neighbour if both leave half a chunk free.
fn close(chunks: &mut Vec<Chunk>, chunk: usize) {
    let len = |at: usize| chunks.get(at).map_or(CHUNK, |chunk| chunk.cells.len());
    if chunks[chunk].cells.is_empty() {
        chunks.remove(chunk);
    } else if len(chunk) + len(chunk + 1) <= CHUNK / 2 {
        let next = chunks.remove(chunk + 1);
        chunks[chunk].cells.extend(next.cells);
    } else if chunk > 0 && len(chunk - 1) + len(chunk) <= CHUNK / 2 {
        let last = chunks.remove(chunk);
        chunks[chunk - 1].cells.extend(last.cells);
    }
    trim(chunks);
}

impl Many {
    /// The cells that wait, in order.
    fn sorted(&self, paths: &impl Paths) -> &[CellIx] {
        if self.waiting.is_empty() {
            return &[];
        }
        self.sorted.get_or_init(|| {
            // Each path is read once, and most are told apart by how they begin: a number, and behind it the place.
            let begin = |ix: &CellIx| u128::from(prefix(paths.path(*ix))) << 32 | u128::from(ix.0);
            let mut begins: Vec<u128> = self.waiting.iter().map(begin).collect();
            begins.sort_unstable();
            let place =
                |begin: &u128| CellIx(u32::try_from(begin & u128::from(u32::MAX)).expect("it was one"));
            let mut sorted: Vec<CellIx> = begins.iter().map(place).collect();
            let mut from = 0;
            for alike in begins.chunk_by(|one, other| one >> 32 == other >> 32) {
                let until = from + alike.len();
                if alike.len() > 1 {
                    sorted[from..until].sort_unstable_by(|ix, iy| paths.path(*ix).cmp(paths.path(*iy)));
                }
                from = until;
            }
            sorted
        })
    }

    fn insert(&mut self, path: &Path, ix: CellIx, paths: &impl Paths) {
        // What comes in order needs no search.
        if let Some(Chunk { cells, .. }) = self.chunks.last_mut()
            && let Some(last) = cells.last().map(|last| paths.path(*last))
            && path.cmp_bytes(last, prefix(last)).is_gt()
        {
            if cells.len() < CHUNK {
                cells.push(ix);
            } else {
                self.chunks.push(Chunk { from: path.clone(), cells: vec![ix] });
            }
            return;
        }
        // They were read in order and may be again: sorting the same ones each time would cost more than their places.
        if self.waiting.len() == WAIT_MAX || self.sorted.get().is_some() {
            self.settle(paths);
        }
        self.waiting.push(ix);
    }

    /// Puts the cells that wait where they belong.
    fn settle(&mut self, paths: &impl Paths) {
        self.sorted(paths);
        self.waiting.clear();
        let waiting = self.sorted.take().unwrap_or_default();
        let Some(first) = waiting.first() else { return };
        if self.chunks.is_empty() {
            self.chunks.push(Chunk { from: Path::from(paths.path(*first)), cells: Vec::new() });
        }
        let places = self.places(&waiting, paths);
        // From the last chunk on: what is cut moves no chunk that is still to be filled.
        let mut left = (waiting.as_slice(), places.as_slice());
        while let Some((chunk, _)) = left.1.last() {
            let begin = left.1.partition_point(|(other, _)| other < chunk);
            self.fill(*chunk, &left.0[begin..], &left.1[begin..], paths);
            left = (&left.0[..begin], &left.1[..begin]);
        }
    }

    /// The chunk and the place in it where each of `waiting` goes, which ascend; places are those before any has come.
    fn places(&self, waiting: &[CellIx], paths: &impl Paths) -> Vec<(usize, usize)> {
        let mut places = Vec::with_capacity(waiting.len());
        let mut begin = 0;
        for block in waiting.chunks(SIDE_BY_SIDE) {
            let mut spans = [Span::default(); SIDE_BY_SIDE];
            for (span, ix) in spans.iter_mut().zip(block) {
                let path = paths.path(*ix);
                let prefix = prefix(path);
                begin = self.chunk_from(begin, path, prefix);
                *span = Span { chunk: begin, low: 0, high: self.chunks[begin].cells.len(), prefix };
            }
            let spans = &mut spans[..block.len()];
            // Each step reads a path of a cell that is in no cache. They are read before any is looked at, so that none
            // waits for another.
            while spans.iter().any(|span| span.low < span.high) {
                let mut middles = [0; SIDE_BY_SIDE];
                for (middle, span) in middles.iter_mut().zip(&*spans).filter(|(_, span)| span.low < span.high)
                {
                    *middle = prefix(paths.path(self.middle(span)));
                }
                let open =
                    spans.iter_mut().zip(middles).zip(block).filter(|((span, _), _)| span.low < span.high);
                for ((span, middle), ix) in open {
                    let is_behind = middle < span.prefix
                        || middle == span.prefix && paths.path(self.middle(span)) < paths.path(*ix);
                    let at = usize::midpoint(span.low, span.high);
                    if is_behind { span.low = at + 1 } else { span.high = at }
                }
            }
            places.extend(spans.iter().map(|span| (span.chunk, span.low)));
        }
        places
    }

    /// As [`chunk_of`], and it is known that it is not before `begin`; mostly it is not far behind.
    fn chunk_from(&self, begin: usize, path: &[u8], prefix: u64) -> usize {
        let is_behind =
            |at: usize| self.chunks.get(at).is_some_and(|chunk| chunk.from.cmp_bytes(path, prefix).is_le());
        let (mut low, mut step) = (begin, 1);
        while is_behind(low + step) {
            low += step;
            step *= 2;
        }
        // It is `low` or behind it, and before `low + step`.
        while step > 1 {
            step /= 2;
            if is_behind(low + step) {
                low += step;
            }
        }
        low
    }

    /// The cell in the middle of what is left of a span.
    fn middle(&self, span: &Span) -> CellIx {
        self.chunks[span.chunk].cells[usize::midpoint(span.low, span.high)]
    }

    /// Puts `new` at `places` of one chunk, which is cut into equal ones if it gets too long.
    fn fill(&mut self, chunk: usize, new: &[CellIx], places: &[(usize, usize)], paths: &impl Paths) {
        let Chunk { from, cells } = &mut self.chunks[chunk];
        let placed = new.iter().zip(places).map(|(ix, (_, at))| (*ix, *at));
        if new.len() <= 2 && cells.len() + new.len() <= CHUNK {
            placed.rev().for_each(|(ix, at)| cells.insert(at, ix));
        } else {
            let mut all = Vec::with_capacity(cells.len() + new.len());
            let mut done = 0;
            for (ix, at) in placed {
                all.extend_from_slice(&cells[done..at]);
                all.push(ix);
                done = at;
            }
            all.extend_from_slice(&cells[done..]);
            *cells = all;
        }
        let first = paths.path(cells[0]);
        if first < from.as_bytes() {
            *from = Path::from(first);
        }
        if cells.len() > CHUNK {
            let each = cells.len().div_ceil(cells.len().div_ceil(CHUNK));
            let rest = cells.split_off(each);
            cells.shrink_to_fit();
            let cut = |cells: &[CellIx]| Chunk { from: paths.path(cells[0]).into(), cells: cells.to_vec() };
            self.chunks.splice(chunk + 1..chunk + 1, rest.chunks(each).map(cut));
        }
    }

    fn remove(&mut self, path: &[u8], ix: CellIx, paths: &impl Paths) {
        if let Some(at) = self.waiting.iter().rposition(|waiting| *waiting == ix) {
            self.waiting.swap_remove(at);
            self.sorted = OnceLock::new();
            return;
        }
        let chunk = chunk_of(&self.chunks, path);
        let cells = &mut self.chunks[chunk].cells;
        let at = search(cells, path, paths).expect(HELD);
        cells.remove(at);
        trim(cells);
        if cells.len() <= CHUNK / 8 {
            close(&mut self.chunks, chunk);
        }
    }

    /// All cells in order, if they are few by now; what is left here is nothing then.
    fn few(&mut self, paths: &impl Paths) -> Option<Vec<CellIx>> {
        let placed = match self.chunks.as_slice() {
            [] => 0,
            [only] => only.cells.len(),
            [_, ..] => return None,
        };
        if placed + self.waiting.len() > CHUNK / 2 {
            return None;
        }
        self.settle(paths);
        Some(self.chunks.pop().map(|chunk| chunk.cells).unwrap_or_default())
    }
}

const HELD: &str = "a cell is in the order of its object";

impl Order {
    /// The order of `cells`, whose paths ascend.
    pub(super) fn of_sorted(cells: &[CellIx], paths: &impl Paths) -> Self {
        if cells.len() <= CHUNK {
            return Self::Few(cells.to_vec());
        }
        let chunk = |cells: &[CellIx]| Chunk { from: paths.path(cells[0]).into(), cells: cells.to_vec() };
        let chunks = cells.chunks(CHUNK).map(chunk).collect();
        Self::Many(Box::new(Many { chunks, ..Many::default() }))
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(cells) => cells.is_empty(),
            Self::Many(many) => many.chunks.is_empty() && many.waiting.is_empty(),
        }
    }

    /// The cell at `path`.
    pub(super) fn find(&self, path: &[u8], paths: &impl Paths) -> Option<CellIx> {
        let find = |cells: &[CellIx]| search(cells, path, paths).ok().map(|at| cells[at]);
        match self {
            Self::Few(cells) => find(cells),
            Self::Many(many) => {
                let chunk = many.chunks.get(chunk_of(&many.chunks, path));
                chunk.and_then(|chunk| find(&chunk.cells)).or_else(|| find(many.sorted(paths)))
            }
        }
    }

    /// Adds the cell `ix` at `path`, where none is.
    pub(super) fn insert(&mut self, path: &Path, ix: CellIx, paths: &impl Paths) {
        if let Self::Few(cells) = self
            && cells.len() == CHUNK
        {
            let from = Path::from(paths.path(cells[0]));
            let chunks = vec![Chunk { from, cells: std::mem::take(cells) }];
            *self = Self::Many(Box::new(Many { chunks, ..Many::default() }));
        }
        match self {
            Self::Few(cells) => {
                let at = search(cells, path.as_bytes(), paths).unwrap_or_else(|at| at);
                cells.insert(at, ix);
            }
            Self::Many(many) => many.insert(path, ix, paths),
        }
    }

    /// Takes out the cell `ix` at `path`, which is there.
    pub(super) fn remove(&mut self, path: &[u8], ix: CellIx, paths: &impl Paths) {
        match self {
            Self::Few(cells) => {
                let at = search(cells, path, paths).expect(HELD);
                cells.remove(at);
                trim(cells);
            }
            Self::Many(many) => {
                many.remove(path, ix, paths);
                if let Some(cells) = many.few(paths) {
                    *self = Self::Few(cells);
                }
            }
        }
    }

    /// Puts the cell `ix` in the place of the one at `path`, which is there.
    pub(super) fn replace(&mut self, path: &[u8], ix: CellIx, paths: &impl Paths) {
        let cells = match self {
            Self::Few(cells) => cells,
            Self::Many(many) => {
                many.settle(paths);
                let chunk = chunk_of(&many.chunks, path);
                &mut many.chunks[chunk].cells
            }
        };
        let at = search(cells, path, paths).expect(HELD);
        cells[at] = ix;
    }

    /// The cells from `from` on, ascending.
    pub(super) fn range<'a, P: Paths + 'a>(
        &'a self,
        from: &[u8],
        paths: P,
    ) -> impl Iterator<Item = CellIx> + use<'a, P> {
        let (few, chunks, waiting) = match self {
            Self::Few(cells) => (cells.as_slice(), &[][..], &[][..]),
            Self::Many(many) if many.chunks.is_empty() => (&[][..], &[][..], many.sorted(&paths)),
            Self::Many(many) => {
                let chunk = chunk_of(&many.chunks, from);
                (many.chunks[chunk].cells.as_slice(), &many.chunks[chunk + 1..], many.sorted(&paths))
            }
        };
        let behind = |cells: &'a [CellIx]| {
            let at = if from.is_empty() { 0 } else { search(cells, from, &paths).unwrap_or_else(|at| at) };
            &cells[at..]
        };
        let placed = behind(few).iter().chain(chunks.iter().flat_map(|chunk| &chunk.cells)).copied();
        let (mut placed, mut waiting) = (placed.peekable(), behind(waiting).iter().copied().peekable());
        std::iter::from_fn(move || match (placed.peek(), waiting.peek()) {
            (Some(one), Some(other)) if paths.path(*other) < paths.path(*one) => waiting.next(),
            (Some(_), _) => placed.next(),
            (None, _) => waiting.next(),
        })
    }

    /// Every cell, ascending.
    pub(super) fn iter<'a, P: Paths + 'a>(&'a self, paths: P) -> impl Iterator<Item = CellIx> + use<'a, P> {
        self.range(&[], paths)
    }

    /// Every cell, in no order.
    pub(super) fn unordered(&self) -> impl Iterator<Item = CellIx> + '_ {
        let (few, chunks, waiting) = match self {
            Self::Few(cells) => (cells.as_slice(), &[][..], &[][..]),
            Self::Many(many) => (&[][..], many.chunks.as_slice(), many.waiting.as_slice()),
        };
        few.iter().chain(chunks.iter().flat_map(|chunk| &chunk.cells)).chain(waiting).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    impl Paths for &Vec<Path> {
        fn path(&self, ix: CellIx) -> &[u8] {
            self[ix.0 as usize].as_bytes()
        }
    }

    #[test]
    fn cells_stand_in_the_order_of_their_paths_whatever_the_history() {
        for seed in 0..12 {
            let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
            let (mut order, mut plain, mut paths) = (Order::default(), BTreeMap::new(), Vec::new());
            let (ascending, growing) = (rng.random_bool(0.3), rng.random_range(0.4..0.9));
            let looking = [0.0, 0.001, 0.02][rng.random_range(0..3)];
            for step in 0..3_000u32 {
                if plain.is_empty() || rng.random_bool(growing) {
                    let number = if ascending { step } else { rng.random_range(0..20_000) };
                    let path = Path::from(&number.to_be_bytes()[..]);
                    let ix = CellIx(u32::try_from(paths.len()).unwrap());
                    if plain.contains_key(&path) {
                        continue;
                    }
                    paths.push(path.clone());
                    order.insert(&path, ix, &&paths);
                    plain.insert(path, ix);
                } else {
                    let at = rng.random_range(0..plain.len());
                    let path = plain.keys().nth(at).unwrap().clone();
                    let ix = plain.remove(&path).unwrap();
                    order.remove(path.as_bytes(), ix, &&paths);
                }
                let probe = rng.random_range(0..20_000u32).to_be_bytes();
                assert_eq!(order.find(&probe, &&paths), plain.get(&probe[..]).copied());
                if rng.random_bool(looking) {
                    assert!(order.iter(&paths).eq(plain.values().copied()));
                    let from = plain.range(Path::from(&probe[..])..).map(|(_, ix)| *ix);
                    assert!(order.range(&probe, &paths).eq(from));
                    let mut all: Vec<CellIx> = order.unordered().collect();
                    all.sort_unstable();
                    let mut held: Vec<CellIx> = plain.values().copied().collect();
                    held.sort_unstable();
                    assert_eq!(all, held);
                }
            }
            assert_eq!(order.is_empty(), plain.is_empty());
        }
    }
}
