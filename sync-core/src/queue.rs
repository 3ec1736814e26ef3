//! Bounded queues between the machines and the world: frames per peer, and frames held for durability.
//!
//! No delta waits in a queue; only frames do, already built, and few of them. An [`Outbox`] counts the
//! frames built for a peer and not yet written; when it is full no further frame is built. [`Held`]
//! keeps frames that show state until that state is durable (DESIGN section 3, held frames).

use std::collections::VecDeque;

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

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
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

/// Frames that wait until the state they show is durable, in order. Bounded by the outboxes, which
/// count held frames too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    frames: VecDeque<(PersistStep, NodeId, Vec<u8>)>,
}

impl Held {
    /// Holds a frame for `to` until step `n` is durable.
    pub fn push(&mut self, n: PersistStep, to: NodeId, bytes: Vec<u8>) {
        self.frames.push_back((n, to, bytes));
    }

    /// The next frame whose state is durable at step `persisted`.
    ///
    /// Steps only grow along the queue, so what comes out is never older than what stays.
    pub fn release(&mut self, persisted: PersistStep) -> Option<Output> {
        self.frames.front().filter(|(n, ..)| *n <= persisted)?;
        self.frames.pop_front().map(|(_, to, bytes)| Output::Send { to, bytes })
    }

    /// Drops the frames for a peer whose connection is gone.
    pub fn drop_for(&mut self, peer: NodeId) {
        self.frames.retain(|(_, to, _)| *to != peer);
    }

    /// Frames held.
    pub fn iter(&self) -> impl Iterator<Item = &(PersistStep, NodeId, Vec<u8>)> {
        self.frames.iter()
    }
}
