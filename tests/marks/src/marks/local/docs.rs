//! Documents: yrs, loro, automerge. One map each, a transaction or a commit for each write.

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT};
use loro::LoroDoc;
use yrs::{Map, MapRef, Transact};

use crate::data::{key, text, value};

/// A map of yrs.
pub struct Yrs {
    doc: yrs::Doc,
    map: MapRef,
}

impl Yrs {
    pub fn of(n: usize) -> Self {
        let doc = yrs::Doc::new();
        let map = doc.get_or_insert_map("m");
        let mut yrs = Self { doc, map };
        (0..n).for_each(|index| yrs.put(index, 0));
        yrs
    }

    pub fn put(&mut self, index: usize, version: u64) {
        let mut transaction = self.doc.transact_mut();
        self.map.insert(&mut transaction, text(&key(index)), text(&value(index, version)));
    }
}

/// A map of loro.
pub struct Loro {
    doc: LoroDoc,
    map: loro::LoroMap,
}

impl Loro {
    pub fn of(n: usize) -> Self {
        let doc = LoroDoc::new();
        let map = doc.get_map("m");
        let mut loro = Self { doc, map };
        (0..n).for_each(|index| loro.put(index, 0));
        loro
    }

    pub fn put(&mut self, index: usize, version: u64) {
        let value = text(&value(index, version));
        self.map.insert(&text(&key(index)), value).expect("a map takes any text");
        self.doc.commit();
    }
}

/// A map of automerge.
pub struct Automerge(AutoCommit);

impl Automerge {
    /// The entries come in one change: a change each would take minutes.
    pub fn of(n: usize) -> Self {
        let mut doc = AutoCommit::new();
        for index in 0..n {
            doc.put(ROOT, text(&key(index)), text(&value(index, 0))).expect("a map takes any text");
        }
        doc.commit();
        Self(doc)
    }

    pub fn put(&mut self, index: usize, version: u64) {
        self.0.put(ROOT, text(&key(index)), text(&value(index, version))).expect("a map takes any text");
        self.0.commit();
    }
}
