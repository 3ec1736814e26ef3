//! The Merkle trie: one 32-byte root over all live cells.
//!
//! A canonical radix-16 trie over 16-byte addresses. Its shape depends on the addresses alone: a node
//! is a leaf iff it holds at most [`LEAF_CELLS_MAX`] cells (or cells of one single address), and a
//! branch sits at the first nibble in which its addresses differ, so no branch has one child. Hashes
//! are settled lazily: a write marks its path, [`Trie::root`] rehashes what is marked.
//!
//! Depth is at most 32 whatever addresses a writer mines; a leaf of many equal addresses costs bytes,
//! never depth. Hash inputs begin with a domain byte and carry the skipped nibbles.

use super::descent::{Subtree as Below, Tree};
use super::prefix::Prefix;
use super::{Address, Fingerprint, NIBBLES};

/// Most cells of a leaf whose addresses differ. Default 16: to be measured with the descent protocol.
pub const LEAF_CELLS_MAX: usize = 16;

const DOMAIN_LEAF: u8 = 1;
const DOMAIN_BRANCH: u8 = 2;

/// A cell as the trie knows it: its address and the caller's handle to it.
type Entry<H> = (Address, H);

/// The trie. `H` is the caller's handle of a cell; the trie keeps no cell content.
///
/// ```
/// use sync_core::merkle::{Address, Fingerprint, Trie};
/// let mut trie = Trie::default();
/// let empty = trie.root(|_: u32| unreachable!("no cell is held"));
/// trie.insert(Address([7; 16]), 0);
/// let one = trie.root(|_| Fingerprint([1; 32]));
/// assert_ne!(empty, one);
/// trie.remove(Address([7; 16]), 0);
/// assert_eq!(trie.root(|_| unreachable!("no cell is held")), empty);
/// ```
#[derive(Clone, Debug)]
pub struct Trie<H> {
    top: Subtree<H>,
}

impl<H> Default for Trie<H> {
    fn default() -> Self {
        Self { top: Subtree::Leaf(Leaf { entries: Vec::new(), hash: None }) }
    }
}

#[derive(Clone, Debug)]
enum Subtree<H> {
    Leaf(Leaf<H>),
    Branch(Box<Branch<H>>),
}

#[derive(Clone, Debug)]
struct Leaf<H> {
    /// Sorted by address.
    entries: Vec<Entry<H>>,
    hash: Option<Fingerprint>,
}

#[derive(Clone, Debug)]
struct Branch<H> {
    /// Any address below; its first `depth` nibbles are shared by all of them.
    prefix: Address,
    depth: usize,
    cells: usize,
    children: [Option<Subtree<H>>; 16],
    hash: Option<Fingerprint>,
}

impl<H: Copy + Eq> Trie<H> {
    /// Adds the cell `handle` at `address`. It must not be there yet.
    pub fn insert(&mut self, address: Address, handle: H) {
        insert(&mut self.top, (address, handle));
    }

    /// Takes the cell `handle` at `address` out. It must be there.
    pub fn remove(&mut self, address: Address, handle: H) {
        remove(&mut self.top, (address, handle));
    }

    /// Notes that the content of the cell at `address` is another than at the last [`Self::root`].
    pub fn mark(&mut self, address: Address) {
        let mut node = &mut self.top;
        loop {
            match node {
                Subtree::Leaf(leaf) => {
                    leaf.hash = None;
                    return;
                }
                Subtree::Branch(branch) => {
                    branch.hash = None;
                    let child = branch.children[address.nibble(branch.depth)].as_mut();
                    node = child.expect("a marked cell is in the trie");
                }
            }
        }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.top.cells()
    }

    /// True if no cell is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The root, rehashing what changed; `fingerprint` gives the content hash of a cell.
    pub fn root(&mut self, fingerprint: impl Fn(H) -> Fingerprint) -> Fingerprint {
        settle(&mut self.top, &fingerprint)
    }
}

/// A trie whose hashes are those of its content, for a descent.
#[derive(Debug)]
pub struct Settled<'a, H, F> {
    trie: &'a Trie<H>,
    fingerprint: F,
}

impl<H: Copy + Eq> Trie<H> {
    /// The trie for a descent, rehashing what changed as [`Self::root`] does.
    pub fn settled<F: Fn(H) -> Fingerprint>(&mut self, fingerprint: F) -> Settled<'_, H, F> {
        settle(&mut self.top, &fingerprint);
        Settled { trie: self, fingerprint }
    }

    /// The handles of the cells at `address`.
    pub fn at(&self, address: Address) -> impl Iterator<Item = H> + '_ {
        let entries = match self.find(&Prefix::of(address)) {
            Some(Found::Entries(entries)) => entries,
            Some(Found::Branch(_)) | None => &[],
        };
        entries.iter().map(|(_, handle)| *handle)
    }

    fn find(&self, prefix: &Prefix) -> Option<Found<'_, H>> {
        let mut node = &self.top;
        loop {
            match node {
                Subtree::Leaf(leaf) => {
                    let start = leaf.entries.partition_point(|(address, _)| *address < prefix.address());
                    let below = |entry: &&Entry<H>| prefix.covers(&Prefix::of(entry.0));
                    let len = leaf.entries[start..].iter().take_while(below).count();
                    return (len > 0).then(|| Found::Entries(&leaf.entries[start..start + len]));
                }
                Subtree::Branch(branch) => {
                    let own = Prefix::first(branch.prefix, branch.depth);
                    if prefix.covers(&own) {
                        return Some(Found::Branch(branch));
                    }
                    if !own.covers(prefix) {
                        return None;
                    }
                    node = branch.children[prefix.nibble(branch.depth)].as_ref()?;
                }
            }
        }
    }
}

/// The cells below a prefix: a whole branch, or some entries of a leaf.
enum Found<'a, H> {
    Entries(&'a [Entry<H>]),
    Branch(&'a Branch<H>),
}

impl<H: Copy + Eq, F: Fn(H) -> Fingerprint> Tree for Settled<'_, H, F> {
    fn below(&self, prefix: &Prefix) -> Option<Below> {
        Some(match self.trie.find(prefix)? {
            Found::Branch(branch) => {
                Below { cells: branch.cells, common: Prefix::first(branch.prefix, branch.depth) }
            }
            Found::Entries(entries) => {
                let (first, last) = (entries[0].0, entries[entries.len() - 1].0);
                Below { cells: entries.len(), common: Prefix::first(first, first.common(&last)) }
            }
        })
    }

    fn children(&self, prefix: &Prefix) -> [Option<Fingerprint>; 16] {
        let mut hashes = [None; 16];
        match self.trie.find(prefix) {
            None => {}
            Some(Found::Branch(branch)) if branch.depth > prefix.len() => {
                hashes[branch.prefix.nibble(prefix.len())] = branch.hash;
            }
            Some(Found::Branch(branch)) => {
                for (hash, child) in hashes.iter_mut().zip(&branch.children) {
                    *hash = child.as_ref().and_then(|child| match child {
                        Subtree::Leaf(leaf) => leaf.hash,
                        Subtree::Branch(branch) => branch.hash,
                    });
                }
            }
            Some(Found::Entries(entries)) => {
                for group in entries.chunk_by(|a, b| a.0.nibble(prefix.len()) == b.0.nibble(prefix.len())) {
                    hashes[group[0].0.nibble(prefix.len())] = Some(leaf_hash(group, &self.fingerprint));
                }
            }
        }
        hashes
    }

    fn visit(&self, prefix: &Prefix, visit: &mut dyn FnMut(Address, Fingerprint)) {
        match self.trie.find(prefix) {
            None => {}
            Some(Found::Entries(entries)) => {
                entries.iter().for_each(|(address, handle)| visit(*address, (self.fingerprint)(*handle)));
            }
            Some(Found::Branch(branch)) => branch.visit(&mut |(address, handle)| {
                visit(address, (self.fingerprint)(handle));
            }),
        }
    }
}

impl<H: Copy + Eq> Branch<H> {
    fn visit(&self, visit: &mut dyn FnMut(Entry<H>)) {
        for child in self.children.iter().flatten() {
            match child {
                Subtree::Leaf(leaf) => leaf.entries.iter().for_each(|entry| visit(*entry)),
                Subtree::Branch(branch) => branch.visit(visit),
            }
        }
    }
}

fn leaf_hash<H: Copy + Eq>(entries: &[Entry<H>], fingerprint: &impl Fn(H) -> Fingerprint) -> Fingerprint {
    let mut cells: Vec<(Address, Fingerprint)> =
        entries.iter().map(|(address, handle)| (*address, fingerprint(*handle))).collect();
    cells.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[DOMAIN_LEAF]);
    for (address, cell) in cells {
        hasher.update(&address.0).update(&cell.0);
    }
    Fingerprint(*hasher.finalize().as_bytes())
}

impl<H: Copy + Eq> Subtree<H> {
    fn cells(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Branch(branch) => branch.cells,
        }
    }

    fn collect(self, entries: &mut Vec<Entry<H>>) {
        match self {
            Self::Leaf(leaf) => entries.extend(leaf.entries),
            Self::Branch(branch) => {
                branch.children.into_iter().flatten().for_each(|child| child.collect(entries));
            }
        }
    }
}

/// The one subtree that `entries`, sorted by address, can have.
fn build<H: Copy + Eq>(entries: Vec<Entry<H>>) -> Subtree<H> {
    let common = match (entries.first(), entries.last()) {
        (Some((first, _)), Some((last, _))) => first.common(last),
        (None, _) | (_, None) => NIBBLES,
    };
    if entries.len() <= LEAF_CELLS_MAX || common == NIBBLES {
        return Subtree::Leaf(Leaf { entries, hash: None });
    }
    let (prefix, cells) = (entries[0].0, entries.len());
    let mut groups: [Vec<Entry<H>>; 16] = Default::default();
    for entry in entries {
        groups[entry.0.nibble(common)].push(entry);
    }
    let children = groups.map(|group| (!group.is_empty()).then(|| build(group)));
    Subtree::Branch(Box::new(Branch { prefix, depth: common, cells, children, hash: None }))
}

fn insert<H: Copy + Eq>(node: &mut Subtree<H>, entry: Entry<H>) {
    match node {
        Subtree::Leaf(leaf) => {
            let at = leaf.entries.partition_point(|(address, _)| *address <= entry.0);
            leaf.entries.insert(at, entry);
            leaf.hash = None;
            if leaf.entries.len() > LEAF_CELLS_MAX {
                *node = build(std::mem::take(&mut leaf.entries));
            }
        }
        Subtree::Branch(branch) => {
            let common = branch.prefix.common(&entry.0).min(branch.depth);
            if common < branch.depth {
                let (prefix, cells) = (branch.prefix, branch.cells + 1);
                let fresh = Subtree::Leaf(Leaf { entries: vec![entry], hash: None });
                let old = std::mem::replace(node, Subtree::Leaf(Leaf { entries: Vec::new(), hash: None }));
                let mut children: [Option<Subtree<H>>; 16] = Default::default();
                children[prefix.nibble(common)] = Some(old);
                children[entry.0.nibble(common)] = Some(fresh);
                *node =
                    Subtree::Branch(Box::new(Branch { prefix, depth: common, cells, children, hash: None }));
                return;
            }
            branch.cells += 1;
            branch.hash = None;
            match &mut branch.children[entry.0.nibble(branch.depth)] {
                Some(child) => insert(child, entry),
                empty => *empty = Some(Subtree::Leaf(Leaf { entries: vec![entry], hash: None })),
            }
        }
    }
}

fn remove<H: Copy + Eq>(node: &mut Subtree<H>, entry: Entry<H>) {
    match node {
        Subtree::Leaf(leaf) => {
            let at = leaf.entries.iter().position(|held| *held == entry);
            leaf.entries.remove(at.expect("a removed cell is in the trie"));
            leaf.hash = None;
        }
        Subtree::Branch(branch) => {
            branch.cells -= 1;
            branch.hash = None;
            let slot = &mut branch.children[entry.0.nibble(branch.depth)];
            let child = slot.as_mut().expect("a removed cell is in the trie");
            remove(child, entry);
            if child.cells() == 0 {
                *slot = None;
            }
            let only = branch.children.iter().flatten().count() == 1;
            if branch.cells <= LEAF_CELLS_MAX || only {
                let mut rest = Vec::with_capacity(branch.cells.min(LEAF_CELLS_MAX));
                let kept = branch.children.iter_mut().find_map(Option::take);
                let others = branch.children.iter_mut().filter_map(Option::take).collect::<Vec<_>>();
                let kept = kept.expect("a branch holds more cells than the one removed");
                if only {
                    *node = kept;
                } else {
                    kept.collect(&mut rest);
                    others.into_iter().for_each(|child| child.collect(&mut rest));
                    *node = Subtree::Leaf(Leaf { entries: rest, hash: None });
                }
            }
        }
    }
}

fn settle<H: Copy + Eq>(node: &mut Subtree<H>, fingerprint: &impl Fn(H) -> Fingerprint) -> Fingerprint {
    match node {
        Subtree::Leaf(leaf) => *leaf.hash.get_or_insert_with(|| leaf_hash(&leaf.entries, fingerprint)),
        Subtree::Branch(branch) => {
            if let Some(hash) = branch.hash {
                return hash;
            }
            let mut present = 0u16;
            let mut hashes = Vec::with_capacity(16 * 32);
            for (nibble, child) in branch.children.iter_mut().enumerate() {
                if let Some(child) = child {
                    present |= 1 << nibble;
                    hashes.extend_from_slice(&settle(child, fingerprint).0);
                }
            }
            let nibbles: Vec<u8> =
                (0..branch.depth).map(|at| branch.prefix.nibble(at).to_le_bytes()[0]).collect();
            let mut hasher = blake3::Hasher::new();
            hasher.update(&[DOMAIN_BRANCH, branch.depth.to_le_bytes()[0]]);
            hasher.update(&nibbles).update(&present.to_le_bytes()).update(&hashes);
            let hash = Fingerprint(*hasher.finalize().as_bytes());
            branch.hash = Some(hash);
            hash
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    fn content(handle: u32) -> Fingerprint {
        Fingerprint(*blake3::hash(&handle.to_le_bytes()).as_bytes())
    }

    /// Walks the real structure and checks every rule of its shape.
    fn check_shape(node: &Subtree<u32>, above: usize) -> usize {
        match node {
            Subtree::Leaf(leaf) => {
                assert!(leaf.entries.is_sorted_by_key(|(address, _)| *address));
                let one_address = leaf.entries.windows(2).all(|pair| pair[0].0 == pair[1].0);
                assert!(leaf.entries.len() <= LEAF_CELLS_MAX || one_address);
                leaf.entries.len()
            }
            Subtree::Branch(branch) => {
                assert!(branch.depth >= above && branch.depth < NIBBLES);
                assert!(branch.children.iter().flatten().count() >= 2, "no branch has one child");
                let cells: usize =
                    branch.children.iter().flatten().map(|child| check_shape(child, branch.depth + 1)).sum();
                assert_eq!(cells, branch.cells);
                assert!(cells > LEAF_CELLS_MAX);
                cells
            }
        }
    }

    #[test]
    fn shape_and_root_depend_on_content_alone_whatever_the_history() {
        for seed in 0..60 {
            let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
            let spread = [0u8, 1, 3, 255][rng.random_range(0..4)];
            let (mut trie, mut held) = (Trie::default(), BTreeMap::new());
            for handle in 0..400u32 {
                let mut address = [0u8; 16];
                address.iter_mut().for_each(|byte| *byte = rng.random::<u8>() & spread);
                trie.insert(Address(address), handle);
                held.insert(handle, Address(address));
                if rng.random_bool(0.45) {
                    let victim = *held.keys().nth(rng.random_range(0..held.len())).unwrap();
                    trie.remove(held.remove(&victim).unwrap(), victim);
                }
                if rng.random_bool(0.1) {
                    trie.root(content);
                }
                check_shape(&trie.top, 0);
            }
            let mut fresh = Trie::default();
            held.iter().rev().for_each(|(handle, address)| fresh.insert(*address, *handle));
            assert_eq!(trie.len(), held.len());
            assert_eq!(trie.root(content), fresh.root(content));
        }
    }

    #[test]
    fn a_marked_cell_is_hashed_again_and_an_unmarked_one_is_not() {
        let mut trie = Trie::default();
        for handle in 0..100u32 {
            trie.insert(
                Address(blake3::hash(&handle.to_le_bytes()).as_bytes()[..16].try_into().unwrap()),
                handle,
            );
        }
        let before = trie.root(content);
        let other = |handle| if handle == 42 { content(1_000) } else { content(handle) };
        assert_eq!(trie.root(other), before, "nothing is marked, so nothing is read");
        let address = Address(blake3::hash(&42u32.to_le_bytes()).as_bytes()[..16].try_into().unwrap());
        trie.mark(address);
        assert_ne!(trie.root(other), before);
    }
}
