//! Fingerprints: of a cell, of all live cells (the root), of the whole state (the state id).
//!
//! All are over our own canonical encoding, fixed-width and little-endian, never over the wire bytes.
//! Nothing is hashed on the write path: writes mark cells, asking for the root settles them.

use super::{CellIx, CellSlot, Gone, Store};
use crate::causal::CausalContext;
use crate::cell::CellId;
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
        let Self { trie, slots, prints, .. } = self;
        trie.root(&Kept { slots, prints })
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
        let Self { trie, slots, prints, .. } = self;
        trie.settled(Kept { slots, prints })
    }

    /// The cells at `address`: one, but for a collision of hashes. None if nothing is live there.
    pub fn cells_at(&mut self, address: Address) -> Vec<CellId> {
        let cells = self.settled_trie().at(address);
        cells.into_iter().map(|ix| self.slot(ix).id.clone()).collect()
    }

    /// Brings the fingerprints of changed cells and the trie's shape up to date, and marks what is to be
    /// hashed again.
    pub(super) fn settle(&mut self) {
        for Gone { address, ix, .. } in std::mem::take(&mut self.gone) {
            self.trie.remove(address, ix);
        }
        self.prints.resize(self.slots.len(), Fingerprint([0; 32]));
        let Self { trie, slots, prints, .. } = self;
        let mut image = Vec::new();
        for ix in std::mem::take(&mut self.dirty) {
            let at = ix.0 as usize;
            let Some(slot) = slots[at].as_mut().filter(|slot| slot.dirty) else { continue };
            slot.dirty = false;
            match slot.address {
                Some(_) if mutant::is(Mutant::RootNotRehashed) => {}
                Some(address) => {
                    prints[at] = fingerprint_of(slot, &mut image);
                    trie.mark(address);
                }
                None => {
                    slot.address = Some(address_of(&slot.id));
                    prints[at] = fingerprint_of(slot, &mut image);
                    trie.insert(ix, &Kept { slots, prints });
                }
            }
        }
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

/// The settled cells, as the trie sees them.
struct Kept<'a> {
    slots: &'a [Option<CellSlot>],
    prints: &'a [Fingerprint],
}

impl Cells<CellIx> for Kept<'_> {
    fn address(&self, ix: CellIx) -> Address {
        let slot = self.slots[ix.0 as usize].as_ref();
        let slot = slot.expect("cells that are gone were just taken out of the trie");
        slot.address.expect("a cell gets its address before it goes into the trie")
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

fn address_of(cell: &CellId) -> Address {
    let mut object = blake3::Hasher::new();
    object.update(&[DOMAIN_OBJECT, cell.object.ty.0]).update(cell.object.key.as_str().as_bytes());
    let mut path = blake3::Hasher::new();
    path.update(&[DOMAIN_PATH]).update(cell.path.as_bytes());
    let mut address = [0; 16];
    address[..8].copy_from_slice(&object.finalize().as_bytes()[..8]);
    address[8..].copy_from_slice(&path.finalize().as_bytes()[..8]);
    Address(address)
}

/// The hash of a cell; `image` is scratch.
pub(super) fn fingerprint_of(slot: &CellSlot, image: &mut Vec<u8>) -> Fingerprint {
    let CellId { object, path } = &slot.id;
    let (key, path) = (object.key.as_str().as_bytes(), path.as_bytes());
    image.clear();
    image.extend_from_slice(&[DOMAIN_CELL, object.ty.0]);
    for name in [key, path] {
        image.extend_from_slice(&(name.len() as u64).to_le_bytes());
        image.extend_from_slice(name);
    }
    for item in &slot.items {
        image.extend_from_slice(&item.dot.replica.0);
        for word in [item.dot.seq, item.hlc.0, item.expires.0] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        image.extend_from_slice(blake3::hash(item.payload.as_bytes()).as_bytes());
    }
    Fingerprint(*blake3::hash(image).as_bytes())
}
