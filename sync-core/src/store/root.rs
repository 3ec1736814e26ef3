//! Fingerprints: of a cell, of all live cells (the root), of the whole state (the state id).
//!
//! All are over our own canonical encoding, fixed-width and little-endian, never over the wire bytes.
//! Nothing is hashed on the write path: writes mark cells, asking for the root settles them.

use super::items::ItemRef;
use super::live::Live;
use super::slab::Object;
use super::slot::CellSlot;
use super::slots::Slots;
use super::{CellIx, Gone, Store};
use crate::causal::CausalContext;
use crate::cell::{CellId, ObjectId};
use crate::id::StateId;
use crate::merkle::descent::{self, Descent, DescentError};
use crate::merkle::nodes::{Answer, Question};
use crate::merkle::trie::Settled;
use crate::merkle::{Address, Cells, Fingerprint};
use crate::mutant::{self, Mutant};

const DOMAIN_CELL: u8 = 3;
const DOMAIN_STATE: u8 = 4;
const DOMAIN_CONTEXT: u8 = 5;
const DOMAIN_OBJECT: u8 = 6;
const DOMAIN_PATH: u8 = 7;

impl Store {
    /// The Merkle root over the live cells, settling what changed since it was last asked for.
    pub fn root(&mut self) -> Fingerprint {
        self.settle();
        let Self { trie, slots, objects, prints, .. } = self;
        trie.root(&Kept { slots, objects, prints })
    }

    /// The next question of a descent that goes on here; see [`Descent::question`].
    ///
    /// ```
    /// # use sync_core::{id::NamespaceId, limits::Limits, merkle::descent::Descent, store::Store};
    /// # let mut ours = Store::new(NamespaceId([1; 8]), Limits::default());
    /// # let mut theirs = ours.clone();
    /// let mut descent = Descent::new([9; 16]);
    /// while let Some(question) = ours.descent_question(&mut descent, 1_000_000) {
    ///     let answer = theirs.answer_nodes(&question, 1_000_000);
    ///     ours.descent_answer(&mut descent, &answer)?;
    /// }
    /// for (address, holder) in descent.differences() {
    ///     println!("{holder:?} {:?}", ours.cells_at(address));
    /// }
    /// # Ok::<(), sync_core::merkle::descent::DescentError>(())
    /// ```
    pub fn descent_question(&mut self, descent: &mut Descent, bytes_max: usize) -> Option<Question> {
        descent.question(&self.settled_trie(), bytes_max)
    }

    /// Takes the answer to the last question.
    ///
    /// # Errors
    /// [`DescentError`]; the descent is of no use then, the store is unchanged.
    pub fn descent_answer(&mut self, descent: &mut Descent, answer: &Answer) -> Result<(), DescentError> {
        descent.answer(&self.settled_trie(), answer)
    }

    /// Answers a peer's question; see [`descent::answer`].
    pub fn answer_nodes(&mut self, question: &Question, bytes_max: usize) -> Answer {
        descent::answer(&self.settled_trie(), question, bytes_max)
    }

    fn settled_trie(&mut self) -> Settled<'_, CellIx, Kept<'_>> {
        self.settle();
        let Self { trie, slots, objects, prints, .. } = self;
        trie.settled(Kept { slots, objects, prints })
    }

    /// The cells at `address`: one, but for a collision of hashes. None if nothing is live there.
    pub fn cells_at(&mut self, address: Address) -> Vec<CellId> {
        let cells = self.settled_trie().at(address);
        cells.into_iter().map(|ix| self.cell_id(ix)).collect()
    }

    /// Brings the fingerprints of changed cells and the trie's shape up to date, and marks what is to be
    /// hashed again.
    pub(super) fn settle(&mut self) {
        self.settle_last(usize::MAX);
    }

    /// Does so for at most `most` of the changed cells, and counts as many dots for the sketch; true if none is left.
    pub(crate) fn settle_some(&mut self, most: usize) -> bool {
        self.settle_last(most);
        self.sketch.pay(&self.live, most) && self.dirty.is_empty()
    }

    /// Changed cells that [`Self::root`] would settle, at least.
    pub(crate) fn unsettled(&self) -> usize {
        self.dirty.len()
    }

    fn settle_last(&mut self, most: usize) {
        for Gone { object, path, ix } in std::mem::take(&mut self.gone) {
            self.trie.remove(address_of([object, half_of_path(path.as_bytes())]), ix);
        }
        self.prints.resize(self.slots.len(), Fingerprint([0; 32]));
        let left = self.dirty.len().saturating_sub(most);
        let Self { trie, slots, objects, prints, dirty, live, .. } = self;
        let (mut image, mut new) = (Vec::new(), Vec::new());
        let is_filled = trie.is_empty();
        for ix in dirty.drain(left..) {
            if slots.get(ix).is_none_or(|slot| !slot.is_dirty()) {
                continue;
            }
            let slot = slots.at_mut(ix);
            slot.set_dirty(false);
            let was_settled = slot.set_settled(true);
            if was_settled && mutant::is(Mutant::RootNotRehashed) {
                continue;
            }
            let slot = slots.at(ix);
            let object = &mut objects[slot.object.0 as usize];
            let half = *object.half.get_or_insert_with(|| half_of_object(&object.id));
            prints[ix.0 as usize] = fingerprint_of(slots, slot, live, &object.id, &mut image);
            if was_settled {
                trie.mark(address_of([half, half_of_path(slots.path(slot))]));
            } else if is_filled {
                new.push(ix);
            } else {
                trie.insert(ix, &Kept { slots, objects, prints });
            }
        }
        if is_filled {
            trie.fill(&new, &Kept { slots, objects, prints });
        }
        if left == 0 {
            self.dirty = Vec::new();
            self.shrink();
        }
    }

    /// Puts a settled cell into the trie.
    pub(super) fn trie_insert(&mut self, ix: CellIx) {
        let Self { trie, slots, objects, prints, .. } = self;
        trie.insert(ix, &Kept { slots, objects, prints });
    }

    /// Where the trie holds a settled cell.
    pub(super) fn address(&self, ix: CellIx) -> Address {
        let Self { slots, objects, prints, .. } = self;
        Kept { slots, objects, prints }.address(ix)
    }

    /// The first half of the address of a settled cell.
    pub(super) fn half_of(&self, ix: CellIx) -> [u8; 8] {
        self.objects[self.slot(ix).object.0 as usize].half.expect(SETTLED)
    }

    /// Hash over namespace, horizon, context and root: equal ids mean identical stores.
    pub fn state_id(&mut self) -> StateId {
        let root = self.root();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[DOMAIN_STATE]).update(&self.namespace.0).update(&self.horizon.0.to_le_bytes());
        if !mutant::is(Mutant::StateIdIgnoresContext) {
            hasher.update(context_digest(&self.context).as_bytes());
        }
        hasher.update(&root.0);
        StateId(*hasher.finalize().as_bytes())
    }
}

const SETTLED: &str = "an object has its half of the address before a cell of it goes into the trie";

/// The settled cells, as the trie sees them. The half of an address that a path gives is computed when it is asked
/// for, which is one block of BLAKE3: to keep it would take 8 bytes a cell.
struct Kept<'a> {
    slots: &'a Slots,
    objects: &'a [Object],
    prints: &'a [Fingerprint],
}

impl Cells<CellIx> for Kept<'_> {
    fn address(&self, ix: CellIx) -> Address {
        let slot = self.slots.at(ix);
        let object = self.objects[slot.object.0 as usize].half.expect(SETTLED);
        address_of([object, half_of_path(self.slots.path(slot))])
    }

    fn fingerprint(&self, ix: CellIx) -> Fingerprint {
        self.prints[ix.0 as usize]
    }
}

/// Hash of a context: its columns, ascending.
fn context_digest(context: &CausalContext) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[DOMAIN_CONTEXT]);
    for (replica, seq) in context.columns() {
        hasher.update(&replica.0).update(&seq.to_le_bytes());
    }
    hasher.finalize()
}

fn address_of([object, path]: [[u8; 8]; 2]) -> Address {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&object);
    address[8..].copy_from_slice(&path);
    Address(address)
}

fn half_of_object(object: &ObjectId) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[DOMAIN_OBJECT, object.ty.0]).update(object.key.as_str().as_bytes());
    first_half(&hasher.finalize())
}

fn half_of_path(path: &[u8]) -> [u8; 8] {
    let mut image = [DOMAIN_PATH; 64];
    match image.get_mut(1..=path.len()) {
        Some(place) => {
            place.copy_from_slice(path);
            first_half(&blake3::hash(&image[..=path.len()]))
        }
        None => first_half(&blake3::Hasher::new().update(&[DOMAIN_PATH]).update(path).finalize()),
    }
}

fn first_half(hash: &blake3::Hash) -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&hash.as_bytes()[..8]);
    half
}

/// The hash of a cell; `image` is scratch.
pub(super) fn fingerprint_of(
    slots: &Slots,
    slot: &CellSlot,
    live: &Live,
    object: &ObjectId,
    image: &mut Vec<u8>,
) -> Fingerprint {
    fingerprint(object, slots.path(slot), slots.items(slot, live).iter(), image)
}

/// The hash of a cell that holds `items`; `image` is scratch.
pub(super) fn fingerprint<'a>(
    object: &ObjectId,
    path: &[u8],
    items: impl Iterator<Item = ItemRef<'a>>,
    image: &mut Vec<u8>,
) -> Fingerprint {
    image.clear();
    image.extend_from_slice(&[DOMAIN_CELL, object.ty.0]);
    for name in [object.key.as_str().as_bytes(), path] {
        image.extend_from_slice(&(name.len() as u64).to_le_bytes());
        image.extend_from_slice(name);
    }
    for item in items {
        image.extend_from_slice(&item.dot.replica.0);
        for word in [item.dot.seq, item.hlc.0, item.expires.0] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        let payload = item.payload.as_bytes();
        if payload.is_empty() {
            image.extend_from_slice(&HASH_OF_NOTHING);
        } else {
            image.extend_from_slice(blake3::hash(payload).as_bytes());
        }
    }
    Fingerprint(*blake3::hash(image).as_bytes())
}

/// BLAKE3 of no bytes: what a set's elements hold.
const HASH_OF_NOTHING: [u8; 32] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b,
    0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_of_hashing_give_what_hashing_gives() {
        assert_eq!(HASH_OF_NOTHING, *blake3::hash(b"").as_bytes());
        for len in 0..200 {
            let path = vec![7; len];
            let whole = blake3::Hasher::new().update(&[DOMAIN_PATH]).update(&path).finalize();
            assert_eq!(half_of_path(&path), first_half(&whole));
        }
    }
}
