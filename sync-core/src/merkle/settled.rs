//! A trie whose hashes are those of its content, as a descent reads it.

use super::bush::Bush;
use super::descent::{Subtree as Below, Tree};
use super::prefix::Prefix;
use super::trie::{Branch, Cells, Subtree, leaf_hash, shared, sorted};
use super::{Address, Fingerprint};

/// A trie whose hashes are those of its content, for a descent.
#[derive(Debug)]
pub struct Settled<'a, H, C> {
    pub(super) top: &'a Subtree<H>,
    pub(super) root: Fingerprint,
    pub(super) cells: C,
}

/// The cells below a prefix: a whole branch and its hash, or some cells of a leaf, by address.
enum Found<'a, H> {
    Entries(Vec<(Address, H)>),
    Bush(&'a Bush<H>, Fingerprint),
    Branch(&'a Branch<H>, Fingerprint),
}

impl<'a, H: Copy + Eq + Default, C: Cells<H>> Settled<'a, H, C> {
    /// The handles of the cells at `address`.
    pub fn at(&self, address: Address) -> Vec<H> {
        match self.find(&Prefix::of(address)) {
            Found::Entries(entries) => entries.into_iter().map(|(_, handle)| handle).collect(),
            Found::Bush(..) | Found::Branch(..) => Vec::new(),
        }
    }

    /// Those of `handles` that lie below `prefix`, by address.
    fn lying_below(&self, handles: &[H], prefix: &Prefix) -> Vec<(Address, H)> {
        let mut entries = sorted(handles, &self.cells);
        entries.retain(|(address, _)| prefix.covers(&Prefix::of(*address)));
        entries
    }

    fn find(&self, prefix: &Prefix) -> Found<'a, H> {
        let (mut node, mut hash) = (self.top, self.root);
        loop {
            let branch = match node {
                Subtree::Leaf(handles) => {
                    return Found::Entries(self.lying_below(handles.as_slice(), prefix));
                }
                Subtree::Bush(bush) if prefix.covers(&bush.prefix) => return Found::Bush(bush, hash),
                Subtree::Bush(bush) if bush.prefix.covers(prefix) => {
                    let child = bush.child(prefix.nibble(bush.prefix.len()));
                    return Found::Entries(self.lying_below(child, prefix));
                }
                Subtree::Bush(_) => return Found::Entries(Vec::new()),
                Subtree::Branch(branch) => branch,
            };
            if prefix.covers(&branch.prefix) {
                return Found::Branch(branch, hash);
            }
            let nibble = prefix.nibble(branch.prefix.len().min(prefix.len() - 1));
            match &branch.children[nibble] {
                Some(child) if branch.prefix.covers(prefix) => {
                    (node, hash) = (child, branch.hashes[nibble]);
                }
                Some(_) | None => return Found::Entries(Vec::new()),
            }
        }
    }
}

impl<H: Copy + Eq + Default, C: Cells<H>> Tree for Settled<'_, H, C> {
    fn below(&self, prefix: &Prefix) -> Option<Below> {
        match self.find(prefix) {
            Found::Branch(branch, _) => Some(Below { cells: branch.cells, common: branch.prefix }),
            Found::Bush(bush, _) => Some(Below { cells: bush.cells(), common: bush.prefix }),
            Found::Entries(entries) if entries.is_empty() => None,
            Found::Entries(entries) => Some(Below { cells: entries.len(), common: shared(&entries) }),
        }
    }

    fn children(&self, prefix: &Prefix) -> [Option<Fingerprint>; 16] {
        let depth = prefix.len();
        let mut hashes = [None; 16];
        match self.find(prefix) {
            Found::Bush(bush, hash) if bush.prefix.len() > depth => {
                hashes[bush.prefix.nibble(depth)] = Some(hash);
            }
            Found::Bush(bush, _) => hashes = bush.hashes(&self.cells),
            Found::Branch(branch, hash) if branch.prefix.len() > depth => {
                hashes[branch.prefix.nibble(depth)] = Some(hash);
            }
            Found::Branch(branch, _) => {
                for (nibble, child) in branch.children.iter().enumerate() {
                    hashes[nibble] = child.as_ref().map(|_| branch.hashes[nibble]);
                }
            }
            Found::Entries(entries) => {
                for group in entries.chunk_by(|a, b| a.0.nibble(depth) == b.0.nibble(depth)) {
                    let mut handles: Vec<H> = group.iter().map(|(_, handle)| *handle).collect();
                    hashes[group[0].0.nibble(depth)] =
                        Some(leaf_hash(&mut handles, &self.cells, &mut Vec::new()));
                }
            }
        }
        hashes
    }

    fn visit(&self, prefix: &Prefix, visit: &mut dyn FnMut(Address, Fingerprint)) {
        let mut visit = |handle| visit(self.cells.address(handle), self.cells.fingerprint(handle));
        match self.find(prefix) {
            Found::Entries(entries) => entries.into_iter().for_each(|(_, handle)| visit(handle)),
            Found::Bush(bush, _) => bush.handles().iter().for_each(|handle| visit(*handle)),
            Found::Branch(branch, _) => {
                branch.children.iter().flatten().for_each(|child| child.visit(&mut visit));
            }
        }
    }
}
