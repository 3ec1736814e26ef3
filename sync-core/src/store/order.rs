//! The cells of one object in the order of their paths.
//!
//! A sorted list of places, cut into chunks: the paths stay with the cells, so an entry is 4 bytes. Finding a place
//! reads the first paths of chunks, which stand together, and then some paths of one chunk.

use super::CellIx;
use crate::cell::Path;
use crate::small::prefix;

/// Most cells of a chunk. Full chunks are cut in half, but for the last, behind which a new one begins: what comes in
/// order fills them.
const CHUNK: usize = 256;

/// Who keeps the paths.
pub(super) trait Paths {
    fn path(&self, ix: CellIx) -> &Path;
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// At most [`CHUNK`] cells.
    Few(Vec<CellIx>),
    /// Chunks, none of them empty.
    Many(Vec<Chunk>),
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
        Some(last) if paths.path(*last).cmp_bytes(path, prefix).is_lt() => Err(cells.len()),
        Some(_) | None => cells.binary_search_by(|ix| paths.path(*ix).cmp_bytes(path, prefix)),
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

impl Order {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(cells) => cells.is_empty(),
            Self::Many(chunks) => chunks.is_empty(),
        }
    }

    /// The cell at `path`.
    pub(super) fn find(&self, path: &[u8], paths: &impl Paths) -> Option<CellIx> {
        let cells = match self {
            Self::Few(cells) => cells,
            Self::Many(chunks) => &chunks.get(chunk_of(chunks, path))?.cells,
        };
        search(cells, path, paths).ok().map(|at| cells[at])
    }

    /// Adds the cell `ix` at `path`, where none is.
    pub(super) fn insert(&mut self, path: &Path, ix: CellIx, paths: &impl Paths) {
        if let Self::Few(cells) = self
            && cells.len() == CHUNK
        {
            let from = paths.path(cells[0]).clone();
            *self = Self::Many(vec![Chunk { from, cells: std::mem::take(cells) }]);
        }
        let chunks = match self {
            Self::Few(cells) => {
                let at = search(cells, path.as_bytes(), paths).unwrap_or_else(|at| at);
                cells.insert(at, ix);
                return;
            }
            Self::Many(chunks) => chunks,
        };
        if let Some(Chunk { cells, .. }) = chunks.last_mut()
            && cells.len() < CHUNK
            && cells.last().is_some_and(|last| paths.path(*last) < path)
        {
            cells.push(ix);
            return;
        }
        let mut chunk = chunk_of(chunks, path.as_bytes());
        if chunks.is_empty() {
            chunks.push(Chunk { from: path.clone(), cells: Vec::new() });
        }
        let mut at = search(&chunks[chunk].cells, path.as_bytes(), paths).unwrap_or_else(|at| at);
        if chunks[chunk].cells.len() == CHUNK {
            let last = chunk + 1 == chunks.len() && at == CHUNK;
            let cut = if last { CHUNK } else { CHUNK / 2 };
            let cells = chunks[chunk].cells.split_off(cut);
            chunks[chunk].cells.shrink_to_fit();
            let from = cells.first().map_or(path, |first| paths.path(*first)).clone();
            chunks.insert(chunk + 1, Chunk { from, cells });
            if at > cut || last {
                (chunk, at) = (chunk + 1, at - cut);
            }
        }
        let chunk = &mut chunks[chunk];
        if at == 0 && *path < chunk.from {
            chunk.from = path.clone();
        }
        chunk.cells.insert(at, ix);
    }

    /// Takes out the cell at `path`, which is there.
    pub(super) fn remove(&mut self, path: &[u8], paths: &impl Paths) {
        const HELD: &str = "a cell is in the order of its object";
        match self {
            Self::Few(cells) => {
                let at = search(cells, path, paths).expect(HELD);
                cells.remove(at);
                trim(cells);
            }
            Self::Many(chunks) => {
                let chunk = chunk_of(chunks, path);
                let cells = &mut chunks[chunk].cells;
                let at = search(cells, path, paths).expect(HELD);
                cells.remove(at);
                trim(cells);
                if cells.len() <= CHUNK / 8 {
                    close(chunks, chunk);
                }
                if let [Chunk { cells, .. }] = chunks.as_mut_slice()
                    && cells.len() <= CHUNK / 2
                {
                    *self = Self::Few(std::mem::take(cells));
                }
            }
        }
    }

    /// Puts the cell `ix` in the place of the one at `path`, which is there.
    pub(super) fn replace(&mut self, path: &[u8], ix: CellIx, paths: &impl Paths) {
        let cells = match self {
            Self::Few(cells) => cells,
            Self::Many(chunks) => {
                let chunk = chunk_of(chunks, path);
                &mut chunks[chunk].cells
            }
        };
        let at = search(cells, path, paths).expect("a cell is in the order of its object");
        cells[at] = ix;
    }

    /// The cells from `from` on, ascending.
    pub(super) fn range<'a, P: Paths>(
        &'a self,
        from: &[u8],
        paths: &P,
    ) -> impl Iterator<Item = CellIx> + use<'a, P> {
        let (few, chunks) = match self {
            Self::Few(cells) => (cells.as_slice(), &[][..]),
            Self::Many(chunks) => {
                let chunk = chunk_of(chunks, from);
                let cells = chunks.get(chunk).map_or(&[][..], |chunk| chunk.cells.as_slice());
                (cells, chunks.get(chunk + 1..).unwrap_or_default())
            }
        };
        let at = if from.is_empty() { 0 } else { search(few, from, paths).unwrap_or_else(|at| at) };
        few[at..].iter().chain(chunks.iter().flat_map(|chunk| &chunk.cells)).copied()
    }

    /// Every cell, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = CellIx> + '_ {
        let (few, chunks) = match self {
            Self::Few(cells) => (cells.as_slice(), &[][..]),
            Self::Many(chunks) => (&[][..], chunks.as_slice()),
        };
        few.iter().chain(chunks.iter().flat_map(|chunk| &chunk.cells)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    impl Paths for Vec<Path> {
        fn path(&self, ix: CellIx) -> &Path {
            &self[ix.0 as usize]
        }
    }

    #[test]
    fn cells_stand_in_the_order_of_their_paths_whatever_the_history() {
        for seed in 0..12 {
            let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
            let (mut order, mut plain, mut paths) = (Order::default(), BTreeMap::new(), Vec::new());
            let (ascending, growing) = (rng.random_bool(0.3), rng.random_range(0.4..0.9));
            for step in 0..3_000u32 {
                if plain.is_empty() || rng.random_bool(growing) {
                    let number = if ascending { step } else { rng.random_range(0..20_000) };
                    let path = Path::from(&number.to_be_bytes()[..]);
                    let ix = CellIx(u32::try_from(paths.len()).unwrap());
                    if plain.contains_key(&path) {
                        continue;
                    }
                    paths.push(path.clone());
                    order.insert(&path, ix, &paths);
                    plain.insert(path, ix);
                } else {
                    let at = rng.random_range(0..plain.len());
                    let path = plain.keys().nth(at).unwrap().clone();
                    order.remove(path.as_bytes(), &paths);
                    plain.remove(&path);
                }
                let probe = rng.random_range(0..20_000u32).to_be_bytes();
                assert_eq!(order.find(&probe, &paths), plain.get(&probe[..]).copied());
                if step % 100 == 0 {
                    assert!(order.iter().eq(plain.values().copied()));
                    let from = plain.range(Path::from(&probe[..])..).map(|(_, ix)| *ix);
                    assert!(order.range(&probe, &paths).eq(from));
                }
            }
            assert_eq!(order.is_empty(), plain.is_empty());
        }
    }
}
