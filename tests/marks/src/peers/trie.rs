//! Our own reference: a 16-ary hash trie, at most 40 entries a leaf, hashes and entry ids cut to 8 bytes.
//!
//! One level a message. A message is a bitmap of children for each node that differs, then 8 bytes a
//! child; where one side has a leaf it lists 8-byte ids of its entries. This is what the engine must never
//! be worse than when its sketch is too small.

use super::{Outcome, Peer};
use crate::data::{Key, Scenario, Value};
use crate::measure::{median_lap, timed};

/// Most entries of a leaf.
const LEAF: usize = 40;
/// Bytes of a hash or an id on the wire.
const HASH: u64 = 8;
/// Bytes of the bitmap that says which children follow.
const BITMAP: u64 = 2;

/// A key's hash, and the id of the entry.
type Entry = ([u8; 16], [u8; 8]);

pub struct Trie16;

impl Peer for Trie16 {
    fn name(&self) -> &'static str {
        "own 16-ary trie, cap 40, 8-byte hashes"
    }

    fn carries_values(&self) -> bool {
        false
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let [a, b] = scenario.sides().map(|entries| build(&mut hashed(&entries), 0));
        let mut laps = Vec::new();
        let mut counted = Counted::default();
        for _ in 0..runs {
            let (outcome, lap) = timed(|| exchange([&a, &b]));
            counted = outcome;
            laps.push(lap);
        }
        assert_eq!(counted.found, scenario.set_difference());
        Outcome { bytes: counted.bytes, messages: counted.messages, lap: median_lap(&laps) }
    }
}

struct Node {
    hash: [u8; 8],
    kind: Kind,
}

enum Kind {
    /// Ids, sorted.
    Leaf(Vec<[u8; 8]>),
    Branch(Vec<Option<Node>>),
}

#[derive(Default)]
struct Counted {
    bytes: u64,
    messages: u32,
    found: usize,
}

fn hashed(entries: &[(Key, Value)]) -> Vec<Entry> {
    let entry = |(key, value): &(Key, Value)| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(key).update(value);
        let id = hasher.finalize().as_bytes()[..8].try_into().expect("8 bytes of 32");
        (blake3::hash(key).as_bytes()[..16].try_into().expect("16 bytes of 32"), id)
    };
    let mut entries: Vec<Entry> = entries.iter().map(entry).collect();
    entries.sort_unstable();
    entries
}

fn nibble(address: &[u8; 16], depth: usize) -> usize {
    let byte = address[depth / 2];
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
}

/// The subtree of `entries`, sorted, that share `depth` nibbles.
fn build(entries: &mut [Entry], depth: usize) -> Node {
    let mut hasher = blake3::Hasher::new();
    let kind = if entries.len() <= LEAF || depth == 32 {
        let mut ids: Vec<_> = entries.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        for id in &ids {
            hasher.update(id);
        }
        Kind::Leaf(ids)
    } else {
        let mut children = Vec::with_capacity(16);
        let mut rest = entries;
        for digit in 0..16 {
            let end = rest.partition_point(|(address, _)| nibble(address, depth) <= digit);
            let (own, after) = rest.split_at_mut(end);
            rest = after;
            let child = (!own.is_empty()).then(|| build(own, depth + 1));
            hasher.update(&child.as_ref().map_or([0; 8], |child| child.hash));
            children.push(child);
        }
        Kind::Branch(children)
    };
    let hash = hasher.finalize().as_bytes()[..8].try_into().expect("8 bytes of 32");
    Node { hash, kind }
}

fn ids(node: Option<&Node>, out: &mut Vec<[u8; 8]>) {
    match node.map(|node| &node.kind) {
        None => {}
        Some(Kind::Leaf(own)) => out.extend(own),
        Some(Kind::Branch(children)) => children.iter().for_each(|child| ids(child.as_ref(), out)),
    }
}

/// How many ids of two subtrees stand in one only.
fn differing(a: Option<&Node>, b: Option<&Node>) -> usize {
    let mut sides = [Vec::new(), Vec::new()];
    ids(a, &mut sides[0]);
    ids(b, &mut sides[1]);
    sides.iter_mut().for_each(|side| side.sort_unstable());
    let [a, b] = &sides;
    let common = a.iter().filter(|id| b.binary_search(id).is_ok()).count();
    a.len() + b.len() - 2 * common
}

fn exchange([a, b]: [&Node; 2]) -> Counted {
    // The root, and a byte that says what follows.
    let mut counted = Counted { bytes: HASH + 1, messages: 1, found: 0 };
    // Nodes known to differ by the side that speaks next: its own node first.
    let mut open: Vec<(Option<&Node>, Option<&Node>)> = Vec::new();
    if a.hash != b.hash {
        open.push((Some(b), Some(a)));
    }
    while !open.is_empty() {
        counted.messages += 1;
        counted.bytes += 1;
        let mut next = Vec::new();
        for (own, theirs) in open.drain(..) {
            match (own.map(|node| &node.kind), theirs.map(|node| &node.kind)) {
                (Some(Kind::Branch(children)), Some(Kind::Branch(others))) => {
                    counted.bytes += BITMAP;
                    for (child, other) in children.iter().zip(others) {
                        counted.bytes += if child.is_some() { HASH } else { 0 };
                        let hashes = [child, other].map(|node| node.as_ref().map(|node| node.hash));
                        if hashes[0] != hashes[1] {
                            next.push((other.as_ref(), child.as_ref()));
                        }
                    }
                }
                (Some(Kind::Branch(children)), Some(Kind::Leaf(_)) | None) => {
                    // The other's leaf is smaller than this subtree: it will list it once it sees this.
                    counted.bytes += BITMAP;
                    counted.bytes += HASH * children.iter().flatten().count() as u64;
                    next.push((theirs, own));
                }
                (Some(Kind::Leaf(_)) | None, _) => {
                    let mut listed = Vec::new();
                    ids(own, &mut listed);
                    counted.bytes += 1 + HASH * listed.len() as u64;
                    counted.found += differing(own, theirs);
                }
            }
        }
        open = next;
    }
    if counted.messages == 1 {
        counted.messages = 2;
    }
    counted
}
