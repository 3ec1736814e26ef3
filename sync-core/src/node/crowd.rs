//! Paced catch-up: what a crowd missed is pushed over some seconds and not at once.
//!
//! One peer that comes back is pushed everything at once, as ever. When a cut between halves of a large cluster ends, every
//! node would do so for every peer, in the same instant. So a peer that comes back in the life in which it was met, while
//! more than [`Limits::crowd_peers_max`](crate::limits::Limits) others are still away, begins a *crowd*, which lasts for
//! [`Timing::catch_up_spread`](crate::limits::Timing). The first peer of a node that had none begins none: that node may be
//! the only one that was cut off, and has to ask somebody. While a crowd lasts:
//!
//! - a push that names few events goes at once, as do urgent ones, acknowledgements, roots and answers;
//! - a longer one is catch-up. It waits for its turn: one link is brought up to the head in one go, then, once the node's
//!   bucket has paid for it, the next, drawn among those that wait. By then others have often brought it forward,
//!   and it says so;
//! - nobody is asked for what will be pushed: a root that differs is looked at again after the crowd.
//!
//! The bucket pays for all frames, fresh ones too, and fills at a share of what this node sent a second while nobody was
//! missing ([`Limits::catch_up_rate_min`](crate::limits::Limits) at least). What waits is a cursor, so that nothing is
//! cut and nothing overtakes; a push that waits is not overdue, since it was not sent. When the crowd is over whatever
//! still waits goes at once: no link waits longer than it lasts (docs/decisions/0020-paced-catch-up.md).

use std::collections::{BTreeSet, VecDeque};

use rand::{Rng, RngExt};

use super::Node;
use crate::id::{NamespaceId, NodeId};
use crate::pacing::{Bucket, Rate};
use crate::time::{Now, Span, Timestamp};

/// What was sent is counted over so long.
const WINDOW: Span = Span::from_secs(2);

/// So many windows in which no crowd was away are kept; the middle one of them is the steady rate.
const WINDOWS: usize = 15;

/// The bucket fills at so many hundredths of the steady rate.
const RATE_PERCENT: u64 = 180;

/// Up to so long the bucket is in debt when a crowd begins; drawn, so that nodes do not take turns in step.
const BEGIN_MAX: Span = Span::from_secs(1);

/// Who is away for longer will not come back with the others: it was taken out of the cluster.
const AWAITED_MAX: Span = Span::from_secs(3_600);

/// A turn that came and was not taken, the peer's queue being full for one, goes to another link after this.
const PASSED_ON_AFTER: Span = Span::from_millis(20);

/// A peer in a namespace.
type Way = (NodeId, NamespaceId);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    /// Bytes in the window under way.
    sent: u64,
    /// When it began.
    window_at: Timestamp,
    /// What was sent in windows past; at most [`WINDOWS`].
    windows: VecDeque<u64>,
    /// When the last crowd began.
    since: Timestamp,
    /// A crowd is coming back; until then.
    until: Option<Timestamp>,
    rate: u64,
    /// A push that names so many events goes at once.
    fresh: u64,
    bucket: Bucket,
    /// Links with catch-up that waits; at most one a peer and namespace.
    waiting: BTreeSet<Way>,
    /// Those of them that have said meanwhile what they know: they may need little by now.
    heard: BTreeSet<Way>,
    /// Whose turn is next.
    turn: Option<Way>,
    /// When that is, at the earliest.
    turn_at: Timestamp,
}

impl Crowd {
    /// Until when catch-up is paced; `None` if it is not.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Counts a frame.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
        if self.until.is_some() {
            self.bucket.built(bytes);
        }
    }

    /// Bytes a second that this node sends while nobody is missing.
    fn steady_rate(&self) -> u64 {
        let mut sent: Vec<u64> = self.windows.iter().copied().collect();
        sent.sort_unstable();
        let middle = sent.get(sent.len() / 2).copied().unwrap_or(0);
        middle.saturating_mul(1_000_000) / WINDOW.as_micros()
    }

    fn rate(&self) -> Rate {
        Rate { bytes_per_second: self.rate, burst: 0 }
    }

    /// True if `way` need not be looked at: it waits, it is not its turn, and nothing was heard of it.
    pub(super) fn must_wait(&mut self, now: Timestamp, way: Way) -> bool {
        let heard = self.heard.remove(&way);
        let is_turn = self.turn == Some(way) && self.turn_at <= now;
        self.waiting.contains(&way) && !is_turn && !heard
    }

    /// Whether a push that names `dots` events may go to `way`; if not, it waits for its turn.
    pub(super) fn may_push(&mut self, now: Timestamp, way: Way, dots: u64) -> bool {
        if self.until.is_none() || dots <= self.fresh {
            self.has_come_forward(way);
            return true;
        }
        let rate = self.rate();
        let first = self.turn == Some(way) || self.waiting.is_empty();
        if first && self.bucket.may_build(now, rate) {
            self.has_come_forward(way);
            return true;
        }
        self.waiting.insert(way);
        false
    }

    /// `way` needs no catch-up now.
    pub(super) fn has_come_forward(&mut self, way: Way) {
        self.waiting.remove(&way);
        self.heard.remove(&way);
        self.turn.take_if(|turn| *turn == way);
    }

    /// `way` has said that it knows more.
    pub(super) fn heard(&mut self, way: Way) {
        if self.waiting.contains(&way) {
            self.heard.insert(way);
        }
    }

    /// The connection broke.
    pub(super) fn gone(&mut self, peer: NodeId) {
        self.waiting.retain(|(node, _)| *node != peer);
        self.heard.retain(|(node, _)| *node != peer);
        self.turn.take_if(|turn| turn.0 == peer);
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let until = self.until?;
        Some(self.turn.map_or(until, |_| self.turn_at.min(until)))
    }

    /// Draws whose turn is next, if nobody's is.
    fn draw(&mut self, now: Timestamp, rng: &mut impl Rng) {
        if self.turn.is_some() || self.waiting.is_empty() {
            return;
        }
        let nth = rng.random_range(0..self.waiting.len());
        self.turn = self.waiting.iter().nth(nth).copied();
        let rate = self.rate();
        let due = if self.bucket.may_build(now, rate) { None } else { self.bucket.deadline(rate) };
        self.turn_at = self.turn_at.max(due.unwrap_or(now));
    }
}

impl Node {
    /// A peer comes back in the life in which it was met.
    pub(super) fn crowd_returns(&mut self, now: Now) {
        let spread = self.config.timing.catch_up_spread;
        let limits = &self.config.limits;
        let alone = !self.peers.values().any(|peer| peer.introduced);
        if self.crowd.until.is_some()
            || spread == Span::ZERO
            || alone
            || self.missing(now) <= limits.crowd_peers_max
        {
            return;
        }
        let rate = self.crowd.steady_rate().saturating_mul(RATE_PERCENT) / 100;
        let rate = rate.max(limits.catch_up_rate_min).max(1);
        let fresh = limits.fresh_events_max;
        let owed = Span::from_micros(self.rng.random_range(0..=BEGIN_MAX.as_micros()));
        let crowd = &mut self.crowd;
        (crowd.until, crowd.rate, crowd.fresh) = (Some(now.mono + spread), rate, fresh);
        crowd.since = now.mono;
        (crowd.bucket, crowd.turn, crowd.turn_at) = (Bucket::owing(owed, rate, now.mono), None, now.mono);
    }

    /// Peers that were met, are not up, and may come back together.
    fn missing(&self, now: Now) -> usize {
        let away = self.peers.iter().filter(|(_, peer)| !peer.introduced && peer.incarnation.is_some());
        let awaited = away
            .filter(|(node, peer)| now.mono.since(peer.seen_at) <= AWAITED_MAX && !self.is_shut_out(**node));
        awaited.count()
    }

    /// Counts time, and ends a crowd whose time is over: what still waits goes at once.
    pub(super) fn wake_crowd(&mut self, now: Now) {
        if self.crowd.until.is_some_and(|until| until <= now.mono) {
            let crowd = &mut self.crowd;
            (crowd.until, crowd.turn) = (None, None);
            crowd.waiting.clear();
            crowd.heard.clear();
            self.fill_due = true;
        }
        let past = now.mono.since(self.crowd.window_at);
        if past < WINDOW {
            return;
        }
        let is_whole = self.crowd.until.is_none() && self.missing(now) <= self.config.limits.crowd_peers_max;
        let crowd = &mut self.crowd;
        crowd.window_at = now.mono;
        let sent = std::mem::take(&mut crowd.sent);
        // A node that nothing reached for long sent this much in all that time.
        let sent = u128::from(sent) * u128::from(WINDOW.as_micros()) / u128::from(past.as_micros());
        if is_whole {
            crowd.windows.truncate(WINDOWS - 1);
            crowd.windows.push_front(u64::try_from(sent).unwrap_or(u64::MAX));
        }
    }

    /// Whose turn it is, if it has come.
    pub(super) fn crowd_turn(&mut self, now: Now) -> Option<NodeId> {
        self.crowd.until?;
        self.draw_turn(now);
        self.crowd.turn.filter(|_| self.crowd.turn_at <= now.mono).map(|(peer, _)| peer)
    }

    /// The turn that had come was looked at. Draws the next one, for its deadline.
    pub(super) fn crowd_looked(&mut self, now: Now, turn: Option<NodeId>) {
        if self.crowd.until.is_none() {
            return;
        }
        let crowd = &mut self.crowd;
        let is_left = |at: &mut Way| Some(at.0) == turn;
        if crowd.turn_at <= now.mono && crowd.turn.take_if(is_left).is_some() {
            crowd.turn_at = now.mono + PASSED_ON_AFTER;
        }
        self.draw_turn(now);
    }

    /// Draws whose turn is next among the links that are still pushed to, if nobody's is.
    fn draw_turn(&mut self, now: Now) {
        let Self { crowd, peers, spaces, rng, .. } = self;
        if crowd.turn.is_none() {
            // Who is no neighbour any more, or has closed the namespace, needs no turn.
            crowd.waiting.retain(|(peer, of)| {
                let peer = &peers[peer];
                peer.links.contains_key(of) && peer.is_pushed_to(spaces[of].class)
            });
            crowd.draw(now.mono, rng);
        }
    }

    /// When a root that differs is looked at again, in a crowd and of a life met before it: what the peer has more is
    /// pushed, or reaches this node by others. After the crowd, and drawn, so that not all are looked at together.
    pub(super) fn root_after_crowd(&mut self, peer: NodeId) -> Option<Timestamp> {
        let until = self.crowd.until.filter(|_| self.peers[&peer].met_at < self.crowd.since)?;
        let later = self.rng.random_range(0..=self.config.timing.sync_interval.as_micros());
        Some(until + Span::from_micros(later))
    }
}
