//! Fingerprints: of a cell, of all live cells (the root), of the whole state (the state id).
//!
//! All are over our own canonical encoding, fixed-width and little-endian, never over the wire bytes.
//! Nothing is hashed on the write path: writes mark cells, asking for the root settles them.

use super::{CellIx, CellSlot, Store};
use crate::causal::CausalContext;
use crate::cell::CellId;
use crate::id::StateId;
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
        let slots = &self.slots;
        self.trie.root(|ix: CellIx| {
            let slot = slots[ix.0 as usize].as_ref();
            fingerprint_of(slot.expect("cells that are gone were just taken out of the trie"))
        })
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
