//! Fingerprints: of a cell, of all live cells (the root), of the whole state (the state id).
//!
//! All are over our own canonical encoding, fixed-width and little-endian, never over the wire bytes.
//! Nothing is hashed on the write path: writes mark cells, asking for the root settles them.

use super::{CellIx, CellSlot, Store};
use crate::causal::CausalContext;
use crate::cell::CellId;
use crate::id::StateId;
use crate::merkle::descent::{self, Descent, DescentError, Tree};
use crate::merkle::nodes::{Answer, Question};
use crate::merkle::{Address, Fingerprint};
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
        let slots = &self.slots;
        self.trie.root(|ix| fingerprint_in(slots, ix))
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

    fn settled_trie(&mut self) -> impl Tree + '_ {
        self.settle();
        let slots = &self.slots;
        self.trie.settled(move |ix| fingerprint_in(slots, ix))
    }

    /// The cells at `address`: one, but for a collision of hashes. None if nothing is live there.
    pub fn cells_at(&mut self, address: Address) -> Vec<CellId> {
        self.settle();
        self.trie.at(address).map(|ix| self.slot(ix).id.clone()).collect()
    }

    /// Brings the trie's shape up to date, and marks what is to be hashed again.
    fn settle(&mut self) {
        for (address, ix) in std::mem::take(&mut self.gone) {
            self.trie.remove(address, ix);
        }
        for ix in std::mem::take(&mut self.dirty) {
            let Some(slot) = self.slots[ix.0 as usize].as_mut().filter(|slot| slot.dirty) else { continue };
            slot.dirty = false;
            match slot.address {
                Some(_) if mutant::is(Mutant::RootNotRehashed) => {}
                Some(address) => self.trie.mark(address),
                None => {
                    let address = address_of(&slot.id);
                    slot.address = Some(address);
                    self.trie.insert(address, ix);
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

fn fingerprint_in(slots: &[Option<CellSlot>], ix: CellIx) -> Fingerprint {
    let slot = slots[ix.0 as usize].as_ref();
    fingerprint_of(slot.expect("cells that are gone were just taken out of the trie"))
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

fn fingerprint_of(slot: &CellSlot) -> Fingerprint {
    let CellId { object, path } = &slot.id;
    let mut hasher = blake3::Hasher::new();
    let key = object.key.as_str().as_bytes();
    hasher.update(&[DOMAIN_CELL, object.ty.0]);
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
    hasher.update(&(path.as_bytes().len() as u64).to_le_bytes()).update(path.as_bytes());
    for item in &slot.items {
        hasher.update(&item.dot.replica.0).update(&item.dot.seq.to_le_bytes());
        hasher.update(&item.hlc.0.to_le_bytes()).update(&item.expires.0.to_le_bytes());
        hasher.update(blake3::hash(item.payload.as_bytes()).as_bytes());
    }
    Fingerprint(*hasher.finalize().as_bytes())
}
