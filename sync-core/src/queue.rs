//! Bounded queues between the machines and the world: frames per peer, and frames held for durability.
//!
//! No delta waits in a queue; only frames do, already built, and few of them. An [`Outbox`] counts the
//! frames built for a peer and not yet written; when it is full no further frame is built. [`Held`]
//! keeps frames that show state until that state is durable (DESIGN section 3, held frames).

use std::collections::VecDeque;

use crate::class::Class;
use crate::id::NodeId;
use crate::limits::Limits;
use crate::node::{Output, PersistStep};

/// Frames built for one peer and not yet written: how many, how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    frames: usize,
    bytes: usize,
}

impl Outbox {
    /// True if another frame may be built.
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.frames < limits.outbox_frames_max && self.bytes < limits.outbox_bytes_max
    }

    /// Counts a frame built.
    pub fn built(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    /// Counts frames written.
    pub fn written(&mut self, frames: usize, bytes: usize) {
        self.frames = self.frames.saturating_sub(frames);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Frames waiting.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The outboxes of one peer: each class has its own, so that a full one stops no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outboxes([Outbox; Class::ALL.len()]);

impl Outboxes {
    /// That of `class`.
    pub fn of(&self, class: Class) -> &Outbox {
        &self.0[class as usize]
    }

    /// That of `class`, to be changed.
    pub fn of_mut(&mut self, class: Class) -> &mut Outbox {
        &mut self.0[class as usize]
    }

    /// Frames waiting, in all of them.
    pub fn frames(&self) -> usize {
        self.0.iter().map(Outbox::frames).sum()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Outbox::bytes).sum()
    }

    /// Each of them, by class.
    pub fn iter(&self) -> impl Iterator<Item = (Class, &Outbox)> {
        Class::ALL.into_iter().zip(&self.0)
    }
}

/// A frame that waits until the state it shows is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFrame {
    /// The step whose state it shows.
    pub step: PersistStep,
    /// For whom.
    pub to: NodeId,
    /// The class of its namespace.
    pub class: Class,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// Frames that wait until the state they show is durable, in order. Bounded by the outboxes, which
/// count held frames too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    frames: VecDeque<HeldFrame>,
}

impl Held {
    /// Holds a frame.
    pub fn push(&mut self, frame: HeldFrame) {
        self.frames.push_back(frame);
    }

    /// The next frame whose state is durable at step `persisted`.
    ///
    /// Steps only grow along the queue, so what comes out is never older than what stays.
    pub fn release(&mut self, persisted: PersistStep) -> Option<Output> {
        self.frames.front().filter(|frame| frame.step <= persisted)?;
        self.frames.pop_front().map(|HeldFrame { to, class, bytes, .. }| Output::Send { to, class, bytes })
    }

    /// Drops the frames for a peer whose connection is gone.
    pub fn drop_for(&mut self, peer: NodeId) {
        self.frames.retain(|frame| frame.to != peer);
    }

    /// Frames held.
    pub fn iter(&self) -> impl Iterator<Item = &HeldFrame> {
        self.frames.iter()
    }
}
