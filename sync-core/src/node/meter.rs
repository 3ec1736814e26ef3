//! What a node counts for people beside [`super::Stats`]: how long repairs take, what frames cost by their kind, and
//! how far peers lag by the writers' clocks.
//!
//! Nothing here decides anything, and all of it is of a fixed size. Counting costs an addition where a frame is built
//! or taken in; lags are worked out when somebody asks.

use super::peer::Link;
use super::{Node, PeerStatus};
use crate::id::{Dot, NamespaceId, NodeId, ReplicaId};
use crate::message::FrameKind;
use crate::store::Store;
use crate::time::{Now, Span, WallMillis};

/// Frames of one kind, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts since the start, over all peers and namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    sent: [Traffic; FrameKind::ALL.len()],
    received: [Traffic; FrameKind::ALL.len()],
    /// How long peers took to answer.
    pub latency: Latency,
    /// Times that the scrub has looked at a whole store.
    pub scrubs: u64,
}

impl Meter {
    /// Frames given out for sending, by kind.
    pub fn sent(&self) -> impl Iterator<Item = (FrameKind, Traffic)> {
        FrameKind::ALL.into_iter().zip(self.sent)
    }

    /// Frames taken in, by kind.
    pub fn received(&self) -> impl Iterator<Item = (FrameKind, Traffic)> {
        FrameKind::ALL.into_iter().zip(self.received)
    }

    pub(super) fn count_sent(&mut self, bytes: &[u8]) {
        if let Some(kind) = FrameKind::of_bytes(bytes) {
            add(&mut self.sent[kind as usize], bytes.len());
        }
    }

    pub(super) fn count_received(&mut self, kind: FrameKind, len: usize) {
        add(&mut self.received[kind as usize], len);
    }
}

fn add(traffic: &mut Traffic, len: usize) {
    traffic.frames += 1;
    traffic.bytes += len as u64;
}

/// How long it took from asking a peer to its answer being joined, or to the states being found equal.
///
/// A question that was repeated counts from the first time; one that nobody answered is not here but in
/// [`super::Stats::timeouts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; Self::UPPER_US.len() + 1],
    sum_us: u64,
}

impl Latency {
    /// The upper ends of the buckets, in microseconds; one more has no end. From a loopback's round trip to twice the
    /// default time limit of a session, and what lies beyond.
    pub const UPPER_US: [u64; 14] = [
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000,
    ];

    pub(super) fn observe(&mut self, took: Span) {
        let us = took.as_micros();
        self.counts[Self::UPPER_US.partition_point(|upper| *upper < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Each bucket's upper end in microseconds, `None` for the last, and what fell into it alone.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        Self::UPPER_US.into_iter().map(Some).chain([None]).zip(self.counts)
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

/// What a peer is not known to hold of what is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLag {
    /// Who.
    pub node: NodeId,
    /// Entries of our log that it has not confirmed; `None` if no cursor stands and it catches up by a session.
    pub entries: Option<u64>,
    /// How old the oldest live write is that it is not known to hold, by the writer's clock and ours, in
    /// milliseconds; 0 if it is known to hold all, or what it lacks is no longer live.
    pub oldest_ms: u64,
}

/// Dots, and log entries, looked at for one peer's lag, at most: a peer that lacks more and all of it dead shows none.
/// With 100 peers that lag so the node is held up for some milliseconds.
const LOOKED_AT_MAX: usize = 1_024;

impl Node {
    /// A peer has answered what it was asked, if it was asked anything.
    pub(super) fn note_latency(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) {
        if let Some(took) = self.link_mut(peer, namespace).session.answered_after(now.mono) {
            self.meter.latency.observe(took);
        }
    }

    /// What was counted since the start.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How far the scrub of a store has come, from 0.0 to 1.0; 1.0 of an empty one. `None` if it is not open here.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub fn scrub_progress(&self, namespace: NamespaceId) -> Option<f64> {
        let space = self.open_space(namespace)?;
        let places = space.store.scrub_places();
        Some(if places == 0 { 1.0 } else { space.scrubbed.min(places) as f64 / places as f64 })
    }

    /// What each peer is not known to hold, ascending by node; those that have not introduced themselves in this life
    /// are left out.
    ///
    /// Costs a look at up to 1,024 events of each peer that lags, so it is for people, not for each frame.
    pub fn lags(&self, now: Now, namespace: NamespaceId) -> Vec<PeerLag> {
        let Some(space) = self.open_space(namespace) else { return Vec::new() };
        let store = &space.store;
        let met = self.peers.iter().filter_map(|(node, peer)| {
            let link = peer.links.get(&namespace)?;
            Some((*node, peer.incarnation?, link))
        });
        met.map(|(node, life, link)| {
            let oldest = oldest_lacking(store, life, link);
            let oldest_ms = oldest.map_or(0, |written| now.wall.0.saturating_sub(written.0));
            let entries = link.cursor.acked().map(|acked| store.log_head().saturating_sub(acked));
            PeerLag { node, entries, oldest_ms }
        })
        .collect()
    }
}

/// When the oldest live write was made that the peer is not known to hold, in the order of our log; if no cursor
/// stands, of all columns.
fn oldest_lacking(store: &Store, life: ReplicaId, link: &Link) -> Option<WallMillis> {
    let lacks = |dot: &Dot| dot.seq > link.known.get(dot.replica);
    let written = |dot: Dot| store.hlc_of(dot).map(|hlc| hlc.wall());
    let since = link.cursor.acked().and_then(|acked| store.log().since(acked));
    let Some(entries) = since else {
        let columns = store.context().columns();
        let lacking = columns.flat_map(|(replica, known)| {
            let from = link.known.get(replica) + 1;
            (from..=known).map(move |seq| Dot { replica, seq })
        });
        return lacking.take(LOOKED_AT_MAX).filter_map(written).min();
    };
    let taught_by_others = entries.take(LOOKED_AT_MAX).filter(|(_, entry)| entry.from != Some(life));
    let dots = taught_by_others.flat_map(|(_, entry)| {
        let intervals = entry.dots.intervals();
        intervals.flat_map(|(replica, interval)| {
            (interval.first..=interval.last).map(move |seq| Dot { replica, seq })
        })
    });
    dots.take(LOOKED_AT_MAX).filter(lacks).find_map(written)
}

impl PeerStatus {
    /// True if the last exchange of roots found another state there.
    pub fn differs(&self) -> bool {
        self.roots_equal == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let mut latency = Latency::default();
        for us in [0, 500, 501, 10_000_000, 10_000_001] {
            latency.observe(Span::from_micros(us));
        }
        let filled: Vec<_> = latency.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(500), 2), (Some(1_000), 1), (Some(10_000_000), 1), (None, 1)]);
        assert_eq!((latency.count(), latency.sum_us()), (5, 20_001_002));
    }
}
