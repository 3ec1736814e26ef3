//! The Merkle trie: one 32-byte root over all live cells.
//!
//! A canonical radix-16 trie over 16-byte addresses. Its shape depends on the addresses alone: a node
//! is a leaf iff it holds at most [`LEAF_CELLS_MAX`] cells (or cells of one single address), and a
//! branch sits at the first nibble in which its addresses differ, so no branch has one child. The hash
//! of a node depends on the cells below it alone, not on where it hangs.
//!
//! The trie keeps handles; addresses and fingerprints stay with the keeper of the cells ([`Cells`]).
//! A branch keeps the hashes of its children, so that hashing it reads one block of memory. Hashes are
//! settled lazily: a write marks its path, [`Trie::root`] rehashes what is marked.
//!
//! Depth is at most 32 whatever addresses a writer mines; a leaf of many equal addresses costs bytes,
//! never depth.

use super::bush::{BUSH_CELLS_MAX, Bush};
use super::handles::Handles;
use super::prefix::Prefix;
pub use super::settled::Settled;
use super::{Address, Fingerprint, NIBBLES};

/// Most cells of a leaf whose addresses differ. Measured: `docs/decisions/0006-leaf-size.md`.
pub const LEAF_CELLS_MAX: usize = 16;

/// The keys keep leaves and branches apart: no list of cells hashes like a node.
const LEAF_KEY: &[u8; 32] = b"sync 2026-11 merkle trie, leaf  ";
const BRANCH_KEY: &[u8; 32] = b"sync 2026-11 merkle trie, branch";

/// Who keeps the cells that a trie has handles of.
pub trait Cells<H> {
    /// Where the cell sits. It never changes while the trie holds the handle.
    fn address(&self, handle: H) -> Address;

    /// The hash of its full id and content: what binds both into the root.
    fn fingerprint(&self, handle: H) -> Fingerprint;
}

/// The trie. `H` is the caller's handle of a cell; the trie keeps no cell content.
///
/// ```
/// use sync_core::merkle::{Address, Cells, Fingerprint, Trie};
/// struct One(Fingerprint);
/// impl Cells<u32> for One {
///     fn address(&self, _: u32) -> Address { Address([7; 16]) }
///     fn fingerprint(&self, _: u32) -> Fingerprint { self.0 }
/// }
/// let (mut trie, one) = (Trie::default(), One(Fingerprint([1; 32])));
/// let empty = trie.root(&one);
/// trie.insert(0, &one);
/// assert_ne!(trie.root(&one), empty);
/// trie.remove(Address([7; 16]), 0);
/// assert_eq!(trie.root(&one), empty);
/// ```
#[derive(Clone, Debug)]
pub struct Trie<H> {
    top: Subtree<H>,
    /// `None` while anything below is marked.
    root: Option<Fingerprint>,
}

impl<H: Copy + Default> Default for Trie<H> {
    fn default() -> Self {
        Self { top: Subtree::Leaf(Handles::default()), root: None }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Subtree<H> {
    /// Handles in the order of their fingerprints when they were last hashed.
    Leaf(Handles<H>),
    /// A branch of few cells; in all that is hashed it is a branch like any other.
    Bush(Box<Bush<H>>),
    Branch(Box<Branch<H>>),
}

/// In this order what every step down reads stands together.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Branch<H> {
    pub(super) cells: usize,
    /// What all addresses below share, and no more.
    pub(super) prefix: Prefix,
    /// A bit for each child whose hash below is out of date.
    stale: u16,
    pub(super) children: [Option<Subtree<H>>; 16],
    /// Of the children, where there is one.
    pub(super) hashes: [Fingerprint; 16],
}

impl<H: Copy + Eq + Default> Trie<H> {
    /// Adds the cell `handle`. It must not be there yet.
    pub fn insert(&mut self, handle: H, cells: &impl Cells<H>) {
        self.root = None;
        insert(&mut self.top, cells.address(handle), handle, cells);
    }

    /// Fills an empty trie with all of `handles` at once: what inserting each of them gives, without the walks.
    pub fn fill(&mut self, handles: &[H], cells: &impl Cells<H>) {
        debug_assert!(self.is_empty(), "what is there would be lost");
        self.root = None;
        self.top = build(&sorted(handles, cells));
    }

    /// Takes the cell `handle` at `address` out. It must be there.
    pub fn remove(&mut self, address: Address, handle: H) {
        self.root = None;
        remove(&mut self.top, address, handle);
    }

    /// Notes that the fingerprint of a cell at `address` is another than at the last [`Self::root`].
    pub fn mark(&mut self, address: Address) {
        self.root = None;
        let mut node = &mut self.top;
        while let Subtree::Branch(branch) = node {
            let nibble = address.nibble(branch.prefix.len());
            branch.stale |= 1 << nibble;
            node = branch.children[nibble].as_mut().expect("a marked cell is in the trie");
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

    /// The root, rehashing what changed.
    pub fn root(&mut self, cells: &impl Cells<H>) -> Fingerprint {
        let Self { top, root } = self;
        *root.get_or_insert_with(|| settle(top, cells, &mut Vec::new()))
    }

    /// The trie for a descent, rehashing what changed.
    pub fn settled<C: Cells<H>>(&mut self, cells: C) -> Settled<'_, H, C> {
        let root = self.root(&cells);
        Settled { top: &self.top, root, cells }
    }
}

impl<H: Copy + Eq + Default> Branch<H> {
    fn new(prefix: Prefix, cells: usize, children: [Option<Subtree<H>>; 16]) -> Box<Self> {
        Box::new(Self { prefix, cells, stale: u16::MAX, children, hashes: [Fingerprint([0; 32]); 16] })
    }

    fn hash(&self) -> Fingerprint {
        let mut children = Children::default();
        for (nibble, child) in self.children.iter().enumerate() {
            if child.is_some() {
                children.add(nibble, self.hashes[nibble]);
            }
        }
        children.hash(&self.prefix)
    }

    /// Its handles by child, if all children are leaves.
    fn leaves(&self) -> Option<Vec<(usize, &[H])>> {
        let mut leaves = Vec::new();
        for (nibble, child) in self.children.iter().enumerate() {
            match child {
                None => {}
                Some(Subtree::Leaf(handles)) if handles.len() <= LEAF_CELLS_MAX => {
                    leaves.push((nibble, handles.as_slice()));
                }
                Some(Subtree::Leaf(_) | Subtree::Bush(_) | Subtree::Branch(_)) => return None,
            }
        }
        Some(leaves)
    }
}

/// The image of a branch in the making.
pub(super) struct Children {
    image: [u8; 16 * 32 + 19],
    len: usize,
    present: u16,
}

impl Default for Children {
    fn default() -> Self {
        Self { image: [0; 16 * 32 + 19], len: 0, present: 0 }
    }
}

impl Children {
    /// Adds the child at `nibble`, behind all others.
    pub(super) fn add(&mut self, nibble: usize, hash: Fingerprint) {
        self.present |= 1 << nibble;
        self.image[self.len..self.len + 32].copy_from_slice(&hash.0);
        self.len += 32;
    }

    /// The hash of a branch of these children.
    pub(super) fn hash(mut self, prefix: &Prefix) -> Fingerprint {
        let (image, len) = (&mut self.image, self.len);
        image[len..len + 16].copy_from_slice(&prefix.address().0);
        image[len + 16] = prefix.len().to_le_bytes()[0];
        image[len + 17..len + 19].copy_from_slice(&self.present.to_le_bytes());
        Fingerprint(*blake3::keyed_hash(BRANCH_KEY, &image[..len + 19]).as_bytes())
    }
}

impl<H: Copy + Eq + Default> Subtree<H> {
    fn cells(&self) -> usize {
        match self {
            Self::Leaf(handles) => handles.len(),
            Self::Bush(bush) => bush.cells(),
            Self::Branch(branch) => branch.cells,
        }
    }

    pub(super) fn visit(&self, visit: &mut impl FnMut(H)) {
        match self {
            Self::Leaf(handles) => handles.as_slice().iter().for_each(|handle| visit(*handle)),
            Self::Bush(bush) => bush.handles().iter().for_each(|handle| visit(*handle)),
            Self::Branch(branch) => branch.children.iter().flatten().for_each(|child| child.visit(visit)),
        }
    }
}

/// The one subtree that `entries`, sorted by address, can have.
fn build<H: Copy + Eq + Default>(entries: &[(Address, H)]) -> Subtree<H> {
    let shared = shared(entries);
    if entries.len() <= LEAF_CELLS_MAX || shared.len() == NIBBLES {
        return Subtree::Leaf(entries.iter().map(|(_, handle)| *handle).collect());
    }
    let groups = || entries.chunk_by(|a, b| a.0.nibble(shared.len()) == b.0.nibble(shared.len()));
    if entries.len() <= BUSH_CELLS_MAX && groups().all(|group| group.len() <= LEAF_CELLS_MAX) {
        let handles: Vec<H> = entries.iter().map(|(_, handle)| *handle).collect();
        let mut rest = handles.as_slice();
        let child = |group: &[(Address, H)]| {
            let (child, behind) = rest.split_at(group.len());
            rest = behind;
            (group[0].0.nibble(shared.len()), child)
        };
        return Subtree::Bush(Bush::new(shared, groups().map(child)));
    }
    let mut children = [const { None }; 16];
    for group in groups() {
        children[group[0].0.nibble(shared.len())] = Some(build(group));
    }
    Subtree::Branch(Branch::new(shared, entries.len(), children))
}

/// The longest prefix of all `entries`, which are sorted by address; the whole address if there are none.
pub(super) fn shared<H>(entries: &[(Address, H)]) -> Prefix {
    match (entries.first(), entries.last()) {
        (Some((first, _)), Some((last, _))) => Prefix::first(*first, first.common(last)),
        (None, _) | (_, None) => Prefix::of(Address([0; 16])),
    }
}

pub(super) fn sorted<H: Copy + Eq>(handles: &[H], cells: &impl Cells<H>) -> Vec<(Address, H)> {
    let mut entries: Vec<(Address, H)> = handles.iter().map(|at| (cells.address(*at), *at)).collect();
    entries.sort_by_key(|(address, _)| *address);
    entries
}

fn insert<H: Copy + Eq + Default>(node: &mut Subtree<H>, address: Address, handle: H, cells: &impl Cells<H>) {
    let branch = match node {
        Subtree::Leaf(handles) => {
            handles.push(handle);
            if handles.len() > LEAF_CELLS_MAX {
                *node = build(&sorted(handles.as_slice(), cells));
            }
            return;
        }
        Subtree::Bush(bush) => {
            let common = bush.prefix.common(&Prefix::of(address));
            let inserted = common == bush.prefix.len() && bush.insert(address.nibble(common), handle);
            if !inserted {
                let mut handles = bush.handles().to_vec();
                handles.push(handle);
                *node = build(&sorted(&handles, cells));
            }
            return;
        }
        Subtree::Branch(branch) => branch,
    };
    let common = branch.prefix.common(&Prefix::of(address));
    let nibble = address.nibble(common);
    if common == branch.prefix.len() {
        branch.cells += 1;
        branch.stale |= 1 << nibble;
        match &mut branch.children[nibble] {
            Some(child) => insert(child, address, handle, cells),
            empty => *empty = Some(Subtree::Leaf(Handles::from_iter([handle]))),
        }
    } else {
        let (old, count) = (branch.prefix.nibble(common), branch.cells + 1);
        let mut children = [const { None }; 16];
        children[old] = Some(std::mem::replace(node, Subtree::Leaf(Handles::default())));
        children[nibble] = Some(Subtree::Leaf(Handles::from_iter([handle])));
        *node = Subtree::Branch(Branch::new(Prefix::first(address, common), count, children));
    }
}

fn remove<H: Copy + Eq + Default>(node: &mut Subtree<H>, address: Address, handle: H) {
    let branch = match node {
        Subtree::Leaf(handles) => {
            let at = handles.as_slice().iter().position(|held| *held == handle);
            handles.swap_remove(at.expect("a removed cell is in the trie"));
            return;
        }
        Subtree::Bush(bush) => {
            bush.remove(address.nibble(bush.prefix.len()), handle);
            if bush.cells() <= LEAF_CELLS_MAX {
                *node = Subtree::Leaf(bush.handles().iter().copied().collect());
            }
            return;
        }
        Subtree::Branch(branch) => branch,
    };
    let nibble = address.nibble(branch.prefix.len());
    branch.cells -= 1;
    branch.stale |= 1 << nibble;
    let slot = &mut branch.children[nibble];
    let child = slot.as_mut().expect("a removed cell is in the trie");
    remove(child, address, handle);
    if child.cells() == 0 {
        *slot = None;
    }
    if branch.cells <= LEAF_CELLS_MAX {
        let mut handles = Vec::with_capacity(branch.cells);
        node.visit(&mut |handle| handles.push(handle));
        *node = Subtree::Leaf(handles.into_iter().collect());
    } else if branch.children.iter().flatten().count() == 1 {
        let only = branch.children.iter_mut().find_map(Option::take);
        *node = only.expect("a branch holds more cells than the one removed");
    } else if branch.cells == BUSH_CELLS_MAX / 4 * 3
        && let Some(leaves) = branch.leaves()
    {
        // Well below the most of a bush, so that one cell that comes and goes does not build this again and again.
        *node = Subtree::Bush(Bush::new(branch.prefix, leaves.into_iter()));
    }
}

/// The hash of `node`, after those of its children that are out of date.
///
/// `scratch` saves each leaf an allocation.
fn settle<H: Copy + Eq + Default>(
    node: &mut Subtree<H>,
    cells: &impl Cells<H>,
    scratch: &mut Scratch<H>,
) -> Fingerprint {
    match node {
        Subtree::Leaf(handles) => leaf_hash(handles.as_mut_slice(), cells, scratch),
        Subtree::Bush(bush) => bush.hash(cells, scratch),
        Subtree::Branch(branch) => {
            for nibble in (0..16).filter(|nibble| branch.stale >> nibble & 1 == 1) {
                if let Some(child) = &mut branch.children[nibble] {
                    branch.hashes[nibble] = settle(child, cells, scratch);
                }
            }
            branch.stale = 0;
            branch.hash()
        }
    }
}

/// What a leaf is sorted in.
pub(super) type Scratch<H> = Vec<(Fingerprint, H)>;

/// Sorts `handles` by fingerprint, the canonical order of a leaf, and hashes them in it.
pub(super) fn leaf_hash<H: Copy + Eq>(
    handles: &mut [H],
    cells: &impl Cells<H>,
    scratch: &mut Scratch<H>,
) -> Fingerprint {
    if let [only] = handles {
        return Fingerprint(*blake3::keyed_hash(LEAF_KEY, &cells.fingerprint(*only).0).as_bytes());
    }
    scratch.clear();
    scratch.extend(handles.iter().map(|handle| (cells.fingerprint(*handle), *handle)));
    scratch.sort_unstable_by_key(|(fingerprint, _)| *fingerprint);
    handles.iter_mut().zip(scratch.iter()).for_each(|(place, (_, handle))| *place = *handle);
    // A leaf is longer than this only where a writer mined cells of one address.
    let mut image = [0; LEAF_CELLS_MAX * 32];
    match image.get_mut(..scratch.len() * 32) {
        Some(image) => {
            for (place, (fingerprint, _)) in image.chunks_exact_mut(32).zip(scratch.iter()) {
                place.copy_from_slice(&fingerprint.0);
            }
            Fingerprint(*blake3::keyed_hash(LEAF_KEY, image).as_bytes())
        }
        None => {
            let image: Vec<u8> = scratch.iter().flat_map(|(fingerprint, _)| fingerprint.0).collect();
            Fingerprint(*blake3::keyed_hash(LEAF_KEY, &image).as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    /// Cells by number, at any address; the content of one of them can be another.
    #[derive(Default)]
    struct Held {
        addresses: BTreeMap<u32, Address>,
        changed: Option<u32>,
    }

    impl Cells<u32> for Held {
        fn address(&self, handle: u32) -> Address {
            self.addresses[&handle]
        }

        fn fingerprint(&self, handle: u32) -> Fingerprint {
            let content = if self.changed == Some(handle) { handle + 1_000_000 } else { handle };
            Fingerprint(*blake3::hash(&content.to_le_bytes()).as_bytes())
        }
    }

    /// Walks the real structure and checks every rule of its shape.
    fn check_shape(node: &Subtree<u32>, above: &Prefix, held: &Held) -> usize {
        match node {
            Subtree::Leaf(handles) => {
                let addresses: Vec<Address> =
                    handles.as_slice().iter().map(|handle| held.address(*handle)).collect();
                assert!(addresses.iter().all(|address| above.covers(&Prefix::of(*address))));
                let one_address = addresses.windows(2).all(|pair| pair[0] == pair[1]);
                assert!(handles.len() <= LEAF_CELLS_MAX || one_address);
                handles.len()
            }
            Subtree::Bush(bush) => {
                assert!(above.covers(&bush.prefix) && bush.prefix.len() < NIBBLES);
                assert!(bush.count() >= 2, "no branch has one child");
                for nibble in 0..16 {
                    let prefix = bush.prefix.child(1, nibble).unwrap();
                    let child = bush.child(nibble);
                    assert!(child.len() <= LEAF_CELLS_MAX);
                    assert!(child.iter().all(|handle| prefix.covers(&Prefix::of(held.address(*handle)))));
                }
                assert!((LEAF_CELLS_MAX + 1..=BUSH_CELLS_MAX).contains(&bush.cells()));
                bush.cells()
            }
            Subtree::Branch(branch) => {
                assert!(above.covers(&branch.prefix) && branch.prefix.len() < NIBBLES);
                assert!(branch.children.iter().flatten().count() >= 2, "no branch has one child");
                let children = branch.children.iter().enumerate();
                let below = |(nibble, child): (usize, &Option<Subtree<u32>>)| {
                    let prefix = branch.prefix.child(1, nibble).unwrap();
                    child.as_ref().map_or(0, |child| check_shape(child, &prefix, held))
                };
                let cells: usize = children.map(below).sum();
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
            let (mut trie, mut held) = (Trie::default(), Held::default());
            for handle in 0..400u32 {
                let mut address = [0u8; 16];
                address.iter_mut().for_each(|byte| *byte = rng.random::<u8>() & spread);
                held.addresses.insert(handle, Address(address));
                trie.insert(handle, &held);
                if rng.random_bool(0.45) {
                    let victim =
                        *held.addresses.keys().nth(rng.random_range(0..held.addresses.len())).unwrap();
                    trie.remove(held.addresses.remove(&victim).unwrap(), victim);
                }
                if rng.random_bool(0.1) {
                    trie.root(&held);
                }
                check_shape(&trie.top, &Prefix::default(), &held);
            }
            let mut fresh = Trie::default();
            held.addresses.keys().rev().for_each(|handle| fresh.insert(*handle, &held));
            assert_eq!(trie.len(), held.addresses.len());
            assert_eq!(trie.root(&held), fresh.root(&held));
            let mut filled = Trie::default();
            filled.fill(&held.addresses.keys().copied().collect::<Vec<_>>(), &held);
            check_shape(&filled.top, &Prefix::default(), &held);
            assert_eq!(trie.root(&held), filled.root(&held));
        }
    }

    #[test]
    fn a_marked_cell_is_hashed_again_and_an_unmarked_one_is_not() {
        let (mut trie, mut held) = (Trie::default(), Held::default());
        for handle in 0..1_000u32 {
            let hash = blake3::hash(&handle.to_le_bytes());
            held.addresses.insert(handle, Address(std::array::from_fn(|at| hash.as_bytes()[at])));
            trie.insert(handle, &held);
        }
        let before = trie.root(&held);
        held.changed = Some(42);
        assert_eq!(trie.root(&held), before, "nothing is marked, so nothing is read");
        trie.mark(held.address(42));
        let after = trie.root(&held);
        assert_ne!(after, before);
        held.changed = None;
        trie.mark(held.address(42));
        assert_eq!(trie.root(&held), before, "every node on the path was hashed again");
    }
}
