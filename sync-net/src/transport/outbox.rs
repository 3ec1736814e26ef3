//! The frames of one class that wait for one peer.
//!
//! Bounded by number and by bytes, those being written included. When full the newest is refused: nothing
//! that was accepted is dropped, and whoever sends decides what to do, at once and without waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Frames are packed into one write until it holds this many bytes; a longer frame is a write alone. Many
/// small frames then cost one call into QUIC (DESIGN section 6), and a packed write stays well below the
/// stream window.
const PACK_BYTES: usize = 64 << 10;

/// Bytes written of which the engine is told at once: it builds the items of a large answer some frames ahead.
const TOLD_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Frames have come; shared by the outboxes of one stream.
    more: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    frames_max: usize,
    bytes_max: usize,
    frames: VecDeque<Vec<u8>>,
    /// Waiting and being written.
    frames_used: usize,
    bytes_used: usize,
    /// Written, and the engine does not know it yet.
    untold: Written,
}

/// Frames that were handed to QUIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl Outbox {
    pub(super) fn new(frames_max: usize, bytes_max: usize, more: Arc<Notify>) -> Self {
        let queue = Queue { frames_max, bytes_max, ..Queue::default() };
        Self { queue: Mutex::new(queue), more }
    }

    /// Other bounds from now on; what waits already stays.
    pub(super) fn set_max(&self, frames_max: usize, bytes_max: usize) {
        let mut queue = self.lock();
        (queue.frames_max, queue.bytes_max) = (frames_max, bytes_max);
    }

    /// Queues `frame`, or returns false if it does not fit. A frame above the byte limit fits an empty
    /// queue.
    pub(super) fn push(&self, frame: Vec<u8>) -> bool {
        let mut queue = self.lock();
        let bytes = queue.bytes_used.saturating_add(frame.len());
        if queue.frames_used >= queue.frames_max || (queue.frames_used > 0 && bytes > queue.bytes_max) {
            return false;
        }
        queue.frames_used += 1;
        queue.bytes_used = bytes;
        queue.frames.push_back(frame);
        drop(queue);
        self.more.notify_one();
        true
    }

    /// Waits until frames may have come.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// Takes as many frames as make one write; none if none wait.
    pub(super) fn try_take(&self) -> Vec<Vec<u8>> {
        let mut queue = self.lock();
        let mut bytes = 0;
        let mut frames = Vec::new();
        while let Some(frame) = queue.frames.front() {
            bytes += frame.len();
            if bytes > PACK_BYTES && !frames.is_empty() {
                break;
            }
            frames.extend(queue.frames.pop_front());
        }
        frames
    }

    /// Gives back the room of frames that were taken. What the engine is to be told at once, if it is many bytes or
    /// an eighth of what may wait: it builds frames as long as it knows of room, and need not be woken for each.
    pub(super) fn written(&self, frames: usize, bytes: usize) -> Option<Written> {
        let mut queue = self.lock();
        queue.frames_used -= frames;
        queue.bytes_used -= bytes;
        queue.untold.frames += frames;
        queue.untold.bytes += bytes;
        let bytes_many = TOLD_BYTES.min(queue.bytes_max / 8);
        let many = queue.untold.frames >= queue.frames_max / 8 || queue.untold.bytes >= bytes_many;
        many.then(|| std::mem::take(&mut queue.untold))
    }

    /// True if something was written and not yet told of.
    pub(super) fn is_untold(&self) -> bool {
        self.lock().untold.frames > 0
    }

    /// What was written and not yet told of.
    pub(super) fn take_untold(&self) -> Option<Written> {
        Some(std::mem::take(&mut self.lock().untold)).filter(|written| written.frames > 0)
    }

    /// Frames that wait or are being written.
    pub(super) fn frames_used(&self) -> usize {
        self.lock().frames_used
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every update above is complete or has not begun, so a poisoned queue is a sound one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_counts_until_it_is_written() {
        let outbox = Outbox::new(2, 100, Arc::default());
        assert!(outbox.push(vec![1; 60]) && !outbox.push(vec![2; 41]) && outbox.push(vec![3; 40]));
        assert!(!outbox.push(Vec::new()), "two frames are the limit");
        assert_eq!(outbox.try_take().len(), 2);
        assert!(!outbox.push(vec![4; 1]));
        assert_eq!(
            outbox.written(1, 60),
            Some(Written { frames: 1, bytes: 60 }),
            "of two frames each is told of"
        );
        assert!(outbox.push(vec![4; 60]));
    }

    #[test]
    fn a_lower_bound_keeps_what_waits_and_refuses_more_until_there_is_room() {
        let outbox = Outbox::new(4, 100, Arc::default());
        assert!(outbox.push(vec![1; 10]) && outbox.push(vec![2; 10]));
        outbox.set_max(1, 100);
        assert!(!outbox.push(vec![3; 10]));
        assert_eq!((outbox.frames_used(), outbox.try_take().len()), (2, 2));
        let _ = outbox.written(2, 20);
        assert!(outbox.push(vec![3; 10]) && !outbox.push(vec![4; 10]));
        outbox.set_max(2, 100);
        assert!(outbox.push(vec![4; 10]));
    }

    #[test]
    fn few_written_frames_are_told_of_with_the_next_news_and_many_at_once() {
        let outbox = Outbox::new(24, 1 << 20, Arc::default());
        for _ in 0..5 {
            assert!(outbox.push(vec![0; 10]));
        }
        assert_eq!(outbox.try_take().len(), 5);
        assert_eq!(outbox.written(2, 20), None);
        assert_eq!(outbox.take_untold(), Some(Written { frames: 2, bytes: 20 }));
        assert_eq!(outbox.take_untold(), None);
        assert_eq!(outbox.written(3, 30), Some(Written { frames: 3, bytes: 30 }));
        assert_eq!((outbox.take_untold(), outbox.frames_used()), (None, 0));
    }

    #[test]
    fn a_frame_above_the_byte_limit_goes_alone() {
        let outbox = Outbox::new(10, 100, Arc::default());
        assert!(outbox.push(vec![0; 1_000]) && !outbox.push(vec![0; 1]));
    }

    #[test]
    fn small_frames_are_packed_and_large_ones_go_alone() {
        let outbox = Outbox::new(100, 10 << 20, Arc::default());
        for len in [10, 20, PACK_BYTES, 5] {
            assert!(outbox.push(vec![0; len]));
        }
        let writes: Vec<usize> =
            std::iter::repeat_with(|| outbox.try_take().len()).take_while(|n| *n > 0).collect();
        assert_eq!(writes, [2, 1, 1]);
    }
}
