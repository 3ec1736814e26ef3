//! One direction between two nodes: what is under way, and what waits.

use std::collections::VecDeque;

use sync_core::class::Class;

/// One direction of a pair. What it holds belongs to the connection that is up, and goes with it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The stream of each class.
    lanes: [Lane; Class::ALL.len()],
    /// The connection's first frame, a `Hello`, is under way or has arrived.
    greeted: bool,
    /// Frames under way.
    pub(crate) under_way: usize,
    /// Since when nothing passes; `None` while frames pass.
    pub(crate) blocked_since: Option<u64>,
    /// What a rule adds to the delay.
    pub(crate) extra_us: u64,
}

/// The stream of one class: nothing overtakes within it, and it waits for no other.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// When the wire is free for the next frame (bandwidth).
    pub(crate) free_at: u64,
    /// When the last frame of the stream arrives.
    pub(crate) last_arrival: u64,
    /// Frames that wait for a cut to end.
    pub(crate) stalled: VecDeque<Vec<u8>>,
    /// Bytes sent and not yet read at the other end.
    pub(crate) unread_bytes: usize,
    /// Lengths of frames beyond the window, of which the sender has not been told that they are written.
    pub(crate) unwritten: VecDeque<usize>,
}

impl Link {
    /// The connection is gone, and what was under way with it.
    pub(crate) fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.stalled.clear();
            lane.unwritten.clear();
            lane.unread_bytes = 0;
        }
        (self.under_way, self.greeted) = (0, false);
    }

    /// A connection begins, and nothing arrives before `at`.
    pub(crate) fn begin(&mut self, at: u64) {
        self.lanes.iter_mut().for_each(|lane| lane.last_arrival = at);
    }

    pub(crate) fn lane(&mut self, class: Class) -> &mut Lane {
        &mut self.lanes[class as usize]
    }

    /// When a frame that takes the wire for `takes` has left it. What goes first takes the wire from what is behind
    /// it, as QUIC does between its streams.
    pub(crate) fn depart(&mut self, at: u64, class: Class, takes: u64) -> u64 {
        for lane in &mut self.lanes[class as usize..] {
            lane.free_at = lane.free_at.max(at) + takes;
        }
        self.lane(class).free_at
    }

    /// When a frame of a stream that has come so far by `at` arrives. No stream is read before the `Hello`.
    pub(crate) fn arrive(&mut self, class: Class, at: u64) -> u64 {
        let lane = self.lane(class);
        let arrival = at.max(lane.last_arrival + 1);
        lane.last_arrival = arrival;
        if !std::mem::replace(&mut self.greeted, true) {
            for lane in &mut self.lanes {
                lane.last_arrival = lane.last_arrival.max(arrival);
            }
        }
        arrival
    }

    /// All that waits for a cut to end, in the order in which it goes on.
    pub(crate) fn take_stalled(&mut self) -> Vec<(Class, Vec<u8>)> {
        let of = |(class, lane): (Class, &mut Lane)| -> Vec<_> {
            lane.stalled.drain(..).map(|bytes| (class, bytes)).collect()
        };
        Class::ALL.into_iter().zip(&mut self.lanes).flat_map(of).collect()
    }
}

impl Lane {
    /// A frame of `bytes` was read; gives back the lengths of frames that count as written now.
    pub(crate) fn read(&mut self, bytes: usize, window: usize) -> Vec<usize> {
        self.unread_bytes = self.unread_bytes.saturating_sub(bytes);
        if self.unread_bytes > window {
            return Vec::new();
        }
        self.unwritten.drain(..).collect()
    }
}
