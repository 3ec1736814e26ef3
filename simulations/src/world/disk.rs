//! A simulated disk: what is durable, what is on its way, and old copies.
//!
//! The driver writes one image at a time, as a group commit does: while one is on its way, later steps
//! wait and go together. A crash loses what is on its way, or, when it is *torn*, only the confirmation.

use std::collections::BTreeMap;

use sync_core::node::{Image, PersistStep};

/// The disk of one machine.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    durable: Option<Image>,
    writing: Option<Image>,
    /// The last step asked for since the write under way began.
    waiting: Option<PersistStep>,
    /// Copies made, by when.
    backups: BTreeMap<u64, Option<Image>>,
    /// Told apart from writes of lives before.
    writes: u64,
}

impl Disk {
    /// Begins to write `image`; gives back the number of the write.
    pub(crate) fn write(&mut self, image: Image) -> u64 {
        self.writing = Some(image);
        self.writes += 1;
        self.writes
    }

    /// True if an image is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Remembers that the driver was asked for step `n` while busy.
    pub(crate) fn wait(&mut self, n: PersistStep) {
        self.waiting = Some(n);
    }

    /// The write number `write` is durable; gives back its step. `None` if a crash came before.
    pub(crate) fn written(&mut self, write: u64) -> Option<PersistStep> {
        if write != self.writes {
            return None;
        }
        self.durable = Some(self.writing.take()?);
        self.durable.as_ref().map(Image::step)
    }

    /// Takes the step that waits for the next write.
    pub(crate) fn take_waiting(&mut self) -> Option<PersistStep> {
        self.waiting.take()
    }

    /// The process dies. Of a write under way the data is kept if it was `torn`. True if something that
    /// was on its way is lost.
    pub(crate) fn crash(&mut self, torn: bool) -> bool {
        let writing = self.writing.take();
        let lost = (writing.is_some() && !torn) || self.waiting.take().is_some();
        if let Some(image) = writing.filter(|_| torn) {
            self.durable = Some(image);
        }
        self.writes += 1;
        lost
    }

    /// Makes `image` durable at once: a clean stop, or a copied disk.
    pub(crate) fn set(&mut self, image: Option<Image>) {
        self.durable = image;
        (self.writing, self.waiting) = (None, None);
        self.writes += 1;
    }

    /// What is durable.
    pub(crate) fn durable(&self) -> Option<&Image> {
        self.durable.as_ref()
    }

    /// Keeps a copy of what is durable now.
    pub(crate) fn back_up(&mut self, at: u64) {
        self.backups.insert(at, self.durable.clone());
    }

    /// The copy made at `at`; `None` if none was made then.
    pub(crate) fn backup(&self, at: u64) -> Option<Option<Image>> {
        self.backups.get(&at).cloned()
    }
}
