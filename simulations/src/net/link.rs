//! One direction between two nodes: what is under way, and what waits.

use std::collections::VecDeque;

/// One direction of a pair. What it holds belongs to the connection that is up, and goes with it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// When the wire is free for the next frame (bandwidth).
    pub(crate) free_at: u64,
    /// When the last frame of the stream arrives; nothing overtakes it.
    pub(crate) last_arrival: u64,
    /// Frames of a stream that wait for a cut to end.
    pub(crate) stalled: VecDeque<Vec<u8>>,
    /// Bytes sent and not yet read at the other end.
    pub(crate) unread_bytes: usize,
    /// Frames under way.
    pub(crate) under_way: usize,
    /// Lengths of frames beyond the window, of which the sender has not been told that they are written.
    pub(crate) unwritten: VecDeque<usize>,
    /// Since when nothing passes; `None` while frames pass.
    pub(crate) blocked_since: Option<u64>,
    /// What a rule adds to the delay.
    pub(crate) extra_us: u64,
}

impl Link {
    /// The connection is gone, and what was under way with it.
    pub(crate) fn clear(&mut self) {
        self.stalled.clear();
        self.unwritten.clear();
        (self.unread_bytes, self.under_way) = (0, 0);
    }

    /// A frame of `bytes` was read; gives back the lengths of frames that count as written now.
    pub(crate) fn read(&mut self, bytes: usize, window: usize) -> Vec<usize> {
        self.unread_bytes = self.unread_bytes.saturating_sub(bytes);
        if self.unread_bytes > window {
            return Vec::new();
        }
        self.unwritten.drain(..).collect()
    }
}
