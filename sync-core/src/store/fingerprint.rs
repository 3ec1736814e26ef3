//! Fingerprints of one object, whole or in ranges of paths: what a comparison of two nodes asks first.
//!
//! They are computed from the bytes stored now and from nothing kept, so that damage behind a kept hash
//! shows too. What is hashed: the trie's fingerprint of each cell, in path order.

use super::Store;
use super::root::fingerprint_of;
use crate::cell::{ObjectId, Path, TypeTag};
use crate::merkle::Fingerprint;

const DOMAIN_RANGE: u8 = 16;

/// The cells of one object between two paths, as one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeFingerprint {
    /// Over the cells counted.
    pub fingerprint: Fingerprint,
    /// How many these are.
    pub cells: u64,
    /// The last of them; `None` if the range is empty.
    pub last: Option<Path>,
    /// True if the range holds more cells than were allowed: the hash ends at [`Self::last`].
    pub is_cut: bool,
}

impl Store {
    /// The cells of one object with `after < path <= until`, at most `cells_max` of them, which bounds the
    /// work; no bound on a side where it is `None`.
    pub fn range_fingerprint(
        &self,
        object: &ObjectId,
        after: Option<&[u8]>,
        until: Option<&[u8]>,
        cells_max: u64,
    ) -> RangeFingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[DOMAIN_RANGE]);
        let mut range =
            RangeFingerprint { fingerprint: Fingerprint([0; 32]), cells: 0, last: None, is_cut: false };
        let mut image = Vec::new();
        for (slot, object) in self.slots_between(object, after, until) {
            if range.cells == cells_max {
                range.is_cut = true;
                break;
            }
            let print = fingerprint_of(&self.slots, slot, &self.live, object, &mut image);
            hasher.update(&print.0);
            range.cells += 1;
            range.last = Some(self.slots.to_path(slot));
        }
        range.fingerprint = Fingerprint(*hasher.finalize().as_bytes());
        range
    }

    /// The fingerprint of one object: equal ones hold the same cells with the same items. Costs a hash of
    /// each of its cells. An absent object has that of no cells.
    ///
    /// ```
    /// # use sync_core::{cell::TypeTag, id::*, limits::Limits, store::Store};
    /// # let store = Store::new(NamespaceId::named("default"), Limits::default());
    /// let absent = store.object_fingerprint("cart/7", TypeTag::OR_SET);
    /// assert_eq!(absent, store.object_fingerprint("cart/8", TypeTag::OR_SET));
    /// ```
    pub fn object_fingerprint(&self, key: &str, ty: TypeTag) -> Fingerprint {
        self.range_fingerprint(&ObjectId::new(key, ty), None, None, u64::MAX).fingerprint
    }
}
