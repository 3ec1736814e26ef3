//! The breakers of all peers: what feeds them, and what follows from their steps.
//!
//! [`Breaker`] decides; here its failures come from exchanges and from the driver, a probe becomes a greeting or a
//! dial, and a peer that is shut out loses its link. A breaker is made by the first failure, so that a node whose
//! peers are well keeps none. What is due while one is open stays due: cursors wait, and the peer heals by a session.

use std::collections::{BTreeMap, BTreeSet};

use super::{DisconnectReason, Event, Node, Output, Peer};
use crate::breaker::{Bounds, Breaker, BreakerReason, BreakerState, Failure, Failures, Shift};
use crate::id::NodeId;
use crate::message::{Frame, Route};
use crate::mutant::{self, Mutant};
use crate::time::{Now, Timestamp};

/// Breakers kept for each peer that there may be: they outlive the peer's place, and configured peers that nobody
/// has met have one too. Beyond it the ones that hold least against a peer go first; of one more failing peer
/// nothing is kept then.
const BREAKERS_PER_PEER: usize = 2;

/// What a node keeps of all breakers.
#[derive(Clone, Debug, Default)]
pub(super) struct Breakers {
    by_peer: BTreeMap<NodeId, Breaker>,
    /// Those that are not closed.
    not_closed: BTreeSet<NodeId>,
    /// Counts steps of any of them.
    shifts: u64,
}

/// The breaker of one peer, for people and for whoever dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerStatus {
    /// Whose.
    pub node: NodeId,
    /// How it stands.
    pub state: BreakerState,
    /// True if there may be no link to the peer, whoever dials. Otherwise one that is not closed is dialled when
    /// [`Output::Dial`] says so, and not before.
    pub is_shut: bool,
    /// Why it stands so; `None` if it never was another.
    pub reason: Option<BreakerReason>,
    /// Until when it stays so at the latest; `None` if that is for good.
    pub until: Option<Timestamp>,
    /// What went wrong, by kind.
    pub failures: Failures,
    /// How often it has opened.
    pub opens: u64,
}

fn status(node: NodeId, breaker: &Breaker) -> BreakerStatus {
    BreakerStatus {
        node,
        state: breaker.state(),
        is_shut: breaker.is_shut(),
        reason: breaker.reason(),
        until: breaker.until(),
        failures: breaker.failures(),
        opens: breaker.opens(),
    }
}

impl Node {
    // Reading.

    /// Every breaker kept, ascending by node; a peer that has none never failed.
    pub fn breakers(&self) -> impl Iterator<Item = BreakerStatus> + '_ {
        self.breakers.by_peer.iter().map(|(node, breaker)| status(*node, breaker))
    }

    /// The breaker of `peer`; `None` if it never failed.
    pub fn breaker_of(&self, peer: NodeId) -> Option<BreakerStatus> {
        self.breakers.by_peer.get(&peer).map(|breaker| status(peer, breaker))
    }

    /// Counts steps of all breakers: while it stands, [`Self::breakers`] says of states what it said.
    pub fn breaker_shifts(&self) -> u64 {
        self.breakers.shifts
    }

    /// How the breaker of `peer` stands.
    pub fn breaker_state(&self, peer: NodeId) -> BreakerState {
        self.breakers.by_peer.get(&peer).map_or(BreakerState::Closed, Breaker::state)
    }

    pub(super) fn breaker_deadline(&self) -> Option<Timestamp> {
        self.breakers.not_closed.iter().filter_map(|peer| self.breaker_wants(*peer)).min()
    }

    fn breaker_wants(&self, peer: NodeId) -> Option<Timestamp> {
        self.breakers.by_peer.get(&peer)?.deadline(self.can_probe(peer))
    }

    /// True if a greeting can reach the peer: over the link, or over one that is dialled.
    fn can_probe(&self, peer: NodeId) -> bool {
        self.is_connected(peer) || self.members.nodes.contains(&peer)
    }

    fn is_connected(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.connected)
    }

    /// True if frames of ours may go to `peer`, not only a probe.
    pub(super) fn may_send(&self, peer: NodeId) -> bool {
        !self.breakers.not_closed.contains(&peer) || mutant::is(Mutant::OpenBreakerSends)
    }

    /// True if nothing is taken in from `peer`, and no link to it stays.
    pub(super) fn is_shut_out(&self, peer: NodeId) -> bool {
        let is_shut = || self.breakers.by_peer.get(&peer).is_some_and(Breaker::is_shut);
        self.breakers.not_closed.contains(&peer) && is_shut() && !mutant::is(Mutant::MisbehaviourForgiven)
    }

    /// Why a peer that is shut out has no link.
    pub(super) fn why_shut_out(&self, peer: NodeId) -> DisconnectReason {
        let breaker = self.breakers.by_peer.get(&peer);
        match breaker.map_or(BreakerState::Closed, Breaker::state) {
            BreakerState::Removed => DisconnectReason::Removed,
            BreakerState::Closed | BreakerState::Open | BreakerState::HalfOpen => {
                DisconnectReason::Shut { why: breaker.and_then(Breaker::reason) }
            }
        }
    }

    // What feeds them.

    /// An exchange with `peer` failed.
    pub(super) fn peer_failed(&mut self, now: Now, peer: NodeId, failure: Failure) {
        self.keep_breaker(peer);
        self.breaker(now, peer, |breaker, bounds, rng| breaker.failed(now.mono, failure, bounds, rng));
    }

    /// No link to `peer` came about, or it was refused.
    pub(super) fn peer_unreached(&mut self, now: Now, peer: NodeId, failure: Failure) {
        self.keep_breaker(peer);
        self.breaker(now, peer, |breaker, bounds, rng| breaker.unreached(now.mono, failure, bounds, rng));
    }

    /// What the driver saw go wrong. While a link is up, a dial that fails says nothing of the peer.
    pub(super) fn on_failed(&mut self, now: Now, peer: NodeId, failure: Failure) {
        let (is_own, connected) = (peer == self.config.node, self.is_connected(peer));
        match (failure.is_breach(), connected) {
            _ if is_own => {}
            (true, _) => self.peer_failed(now, peer, failure),
            (false, false) => self.peer_unreached(now, peer, failure),
            (false, true) => {}
        }
    }

    /// The link to `peer` is gone.
    pub(super) fn peer_lost(&mut self, now: Now, peer: NodeId) {
        self.breaker(now, peer, |breaker, bounds, rng| breaker.lost(now.mono, bounds, rng));
    }

    /// A link to `peer` is up, and its greeting is due.
    pub(super) fn peer_linked(&mut self, now: Now, peer: NodeId) {
        self.peer_heard(now, peer);
        self.breaker(now, peer, |breaker, bounds, _| {
            breaker.linked(now.mono, bounds);
            None
        });
    }

    /// An authenticated frame came from `peer`.
    pub(super) fn peer_heard(&mut self, now: Now, peer: NodeId) {
        if self.breakers.not_closed.contains(&peer) {
            self.breaker(now, peer, |breaker, _, _| breaker.heard(now.mono));
            self.probe(now, peer);
        }
    }

    /// `peer` has answered a greeting.
    pub(super) fn peer_answered(&mut self, now: Now, peer: NodeId) {
        self.breaker(now, peer, |breaker, bounds, _| breaker.answered(now.mono, bounds));
    }

    /// Tells the breaker of a frame that answers something of ours. An acknowledgement does if it moves a cursor:
    /// others tell news, and a peer that does not read sends them too.
    pub(super) fn note_answer(&mut self, now: Now, peer: NodeId, frame: &Frame) {
        if !self.breakers.by_peer.contains_key(&peer) {
            return;
        }
        let acked = |route: &Route| {
            let link = self.peers.get(&peer).and_then(|peer| peer.links.get(&route.namespace));
            link.and_then(|link| link.cursor.acked())
        };
        let answers = match frame {
            Frame::Ack(route, ack) => ack.hi > acked(route),
            Frame::Root(_, root) => !root.wants_reply,
            Frame::Give(..)
            | Frame::Part(..)
            | Frame::Symbols(..)
            | Frame::NodesFound(..)
            | Frame::Inspected(..)
            | Frame::Quote(..)
            | Frame::Skeleton(..)
            | Frame::Payloads(..) => true,
            Frame::Hello(_)
            | Frame::Open(..)
            | Frame::Push(..)
            | Frame::Pull(..)
            | Frame::More(..)
            | Frame::Nodes(..)
            | Frame::Inspect(..)
            | Frame::Survey(..) => false,
        };
        if answers {
            self.breaker(now, peer, |breaker, bounds, _| {
                breaker.progressed(now.mono, bounds);
                None
            });
        }
    }

    /// Does what time has brought.
    pub(super) fn wake_breakers(&mut self, now: Now) {
        let is_due = |peer: &NodeId| self.breaker_wants(*peer).is_some_and(|at| at <= now.mono);
        let due: Vec<NodeId> = self.breakers.not_closed.iter().copied().filter(is_due).collect();
        for peer in due {
            let can_probe = self.can_probe(peer);
            self.breaker(now, peer, |breaker, bounds, rng| breaker.wake(now.mono, can_probe, bounds, rng));
            self.probe(now, peer);
        }
    }

    /// Begins the probe of `peer` that is due: a greeting, if need be over a link that is dialled for it.
    fn probe(&mut self, now: Now, peer: NodeId) {
        let (connected, can_probe) = (self.is_connected(peer), self.can_probe(peer));
        let bounds = (&self.config.timing, &self.config.limits);
        let Some(breaker) = self.breakers.by_peer.get_mut(&peer) else { return };
        if !can_probe || !breaker.begin_probe(now.mono, bounds) {
            return;
        }
        if connected {
            self.peer_mut(peer).hello_due = Some(true);
            self.fill_due = true;
        } else if breaker.send_probe() {
            self.outputs.push_back(Output::Dial { peer });
        }
    }

    /// True if a greeting that wants an answer may go to `peer`: always, or as its probe.
    pub(super) fn may_greet(&mut self, peer: NodeId) -> bool {
        !self.breakers.not_closed.contains(&peer)
            || self.breakers.by_peer.get_mut(&peer).is_some_and(Breaker::send_probe)
    }

    // What an operator asks.

    /// Opens the breaker of `peer` for [`crate::limits::Timing::breaker_open`]: no link to it until then. False if the
    /// peer is not known, or removed.
    pub fn trip_peer(&mut self, now: Now, peer: NodeId) -> bool {
        let known = self.is_known(peer) && self.keep_breaker(peer);
        known && self.breaker(now, peer, |breaker, bounds, _| breaker.trip(now.mono, bounds)).is_some()
    }

    /// Closes the breaker of `peer` and forgets what counted against it. False if the peer is not known, or removed.
    pub fn reset_peer(&mut self, now: Now, peer: NodeId) -> bool {
        self.breaker(now, peer, |breaker, _, _| breaker.reset());
        self.is_known(peer) && self.breaker_state(peer) != BreakerState::Removed
    }

    /// Takes `peer` off the list: no link to it, whoever dials, until it is added again or the node restarts. As a
    /// member it goes on to count, see [`super::Members`]. False if there is no room to remember it.
    pub fn remove_peer(&mut self, now: Now, peer: NodeId) -> bool {
        if peer == self.config.node || !self.keep_breaker(peer) {
            return false;
        }
        self.breaker(now, peer, |breaker, _, _| breaker.remove());
        true
    }

    /// Puts `peer` on the list again, with nothing against it.
    pub fn add_peer(&mut self, now: Now, peer: NodeId) {
        self.breaker(now, peer, |breaker, _, _| breaker.add());
    }

    fn is_known(&self, peer: NodeId) -> bool {
        let met = self.peers.contains_key(&peer) || self.breakers.by_peer.contains_key(&peer);
        peer != self.config.node && (met || self.members.nodes.contains(&peer))
    }

    // Keeping them.

    /// Makes a breaker for `peer` if it has none; false if there is no room.
    fn keep_breaker(&mut self, peer: NodeId) -> bool {
        if self.breakers.by_peer.contains_key(&peer) {
            return true;
        }
        let max = self.config.limits.peers_max.saturating_mul(BREAKERS_PER_PEER);
        if self.breakers.by_peer.len() >= max {
            let away = || self.breakers.by_peer.iter().filter(|(node, _)| !self.is_connected(**node));
            let blank = away().find(|(_, breaker)| breaker.is_blank());
            let gone = blank.or_else(|| away().find(|(_, breaker)| !breaker.is_shut()));
            let Some(gone) = gone.map(|(node, _)| *node) else { return false };
            self.forget_breaker(gone);
        }
        self.breakers.by_peer.insert(peer, Breaker::default());
        true
    }

    /// Forgets the breaker of a peer that is gone for good, or that gives its place to another.
    pub(super) fn forget_breaker(&mut self, peer: NodeId) {
        let from =
            self.breakers.by_peer.remove(&peer).map_or(BreakerState::Closed, |breaker| breaker.state());
        if self.breakers.not_closed.remove(&peer) {
            self.breakers.shifts += 1;
            let (to, reason) = (BreakerState::Closed, BreakerReason::Forgotten);
            self.event(Event::Breaker { peer, from, to, reason });
        }
    }

    /// Lets the breaker of `peer` take a step, if it has one; counts and tells of it.
    fn breaker(
        &mut self,
        now: Now,
        peer: NodeId,
        step: impl FnOnce(&mut Breaker, Bounds<'_>, &mut rand::rngs::Xoshiro256PlusPlus) -> Option<Shift>,
    ) -> Option<Shift> {
        let Self { breakers, config, rng, peers, stats_gone, .. } = self;
        let breaker = breakers.by_peer.get_mut(&peer)?;
        let (failures, opens) = (breaker.failures(), breaker.opens());
        let shift = step(breaker, (&config.timing, &config.limits), rng);
        let stats = peers.get_mut(&peer).map_or(stats_gone, |peer| &mut peer.stats);
        stats.breaker_opens += breaker.opens() - opens;
        stats.timeouts += breaker.failures().timed_out - failures.timed_out;
        stats.oversized += breaker.failures().oversized - failures.oversized;
        let Shift { from, to, reason } = shift?;
        breakers.shifts += 1;
        if to == BreakerState::Closed {
            breakers.not_closed.remove(&peer);
        } else {
            breakers.not_closed.insert(peer);
        }
        self.event(Event::Breaker { peer, from, to, reason });
        self.shifted(now, peer, to);
        shift
    }

    fn shifted(&mut self, now: Now, peer: NodeId, to: BreakerState) {
        if self.is_shut_out(peer) {
            if self.is_connected(peer) {
                let why = self.why_shut_out(peer);
                self.disconnect(peer, why);
            }
            return;
        }
        match to {
            BreakerState::Closed => {
                if let Some(peer) = self
                    .peers
                    .get_mut(&peer)
                    .filter(|peer| peer.connected && (peer.untold || !peer.introduced))
                {
                    peer.hello_due = Some(true);
                }
                // What was due for it may go, and pulls that waited for others may go to it.
                self.fill_due = true;
            }
            BreakerState::HalfOpen => self.probe(now, peer),
            BreakerState::Open | BreakerState::Removed => {}
        }
    }

    /// Feeds what decides the next steps of every breaker to the sinks, for the node's state key.
    pub(super) fn breakers_key(
        &self,
        sink: &mut dyn FnMut(u64),
        deadline: &mut dyn FnMut(Option<Timestamp>),
        id: &mut dyn FnMut(&NodeId),
    ) {
        for (node, breaker) in self.breakers.by_peer.iter().filter(|(_, breaker)| breaker.weighs()) {
            id(node);
            breaker.key(sink, deadline);
        }
    }

    /// True if as many pulls are unanswered as may be.
    pub(super) fn pulls_are_full(&self) -> bool {
        let links = self.peers.values().flat_map(|peer: &Peer| peer.links.values());
        links.filter(|link| link.session.is_pulling()).count() >= self.config.limits.pulls_at_once_max.max(1)
    }
}
