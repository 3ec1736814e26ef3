//! Connections: how they come up, how each end finds out that the other is gone.

use rand::RngExt;

use super::{Net, Wire};
use crate::scenario::Mode;

impl Net {
    /// Somebody tries to connect; it works if `reachable` (both are up and running) and nothing is in
    /// the way. Otherwise it is tried again, and the answer is false.
    pub(crate) fn dial(&mut self, at: u64, a: usize, b: usize, reachable: bool) -> bool {
        let pair = self.pair(a, b);
        pair.dialing = false;
        let up = pair.ends == [Some(pair.connection); 2];
        if up || pair.opening_until > at {
            return true;
        }
        let mut works = reachable && !self.is_blocked(a, b) && !self.is_blocked(b, a);
        if works && self.setup.mode == Mode::Datagram && self.setup.loss > 0.0 {
            works = !self.random.random_bool(self.setup.loss);
        }
        if !works {
            self.redial(at, a, b);
            return false;
        }
        let ready = [self.delay(), self.delay()].map(|delay| at + delay);
        let pair = self.pair(a, b);
        pair.connection += 1;
        pair.opening_until = ready[0].max(ready[1]);
        let connection = pair.connection;
        for ((node, peer), ready) in [(a, b), (b, a)].into_iter().zip(ready) {
            let link = self.link(node, peer);
            link.clear();
            self.pending.push((ready, Wire::Opened { node, peer, connection }));
        }
        // Nothing arrives at an end that does not know the connection yet.
        self.link(a, b).begin(ready[1]);
        self.link(b, a).begin(ready[0]);
        true
    }

    /// Nobody may try now.
    pub(crate) fn dial_later(&mut self, at: u64, a: usize, b: usize) {
        self.pair(a, b).dialing = false;
        self.redial(at, a, b);
    }

    /// Nobody tries any more: one of the two is down. When it starts it dials again.
    pub(crate) fn dial_given_up(&mut self, a: usize, b: usize) {
        self.pair(a, b).dialing = false;
    }

    /// Tries to connect in a while, unless somebody does already.
    pub(crate) fn redial(&mut self, at: u64, a: usize, b: usize) {
        let base = self.setup.redial_ms * 1_000;
        let wait = base + self.random.random_range(0..=base);
        let pair = self.pair(a, b);
        if !pair.dialing {
            pair.dialing = true;
            self.pending.push((at + wait, Wire::Dial { a, b }));
        }
    }

    /// `node` learns that connection number `connection` is up. False if there is a later one.
    pub(crate) fn opened(&mut self, at: u64, node: usize, peer: usize, connection: u64) -> bool {
        if self.pair(node, peer).connection != connection {
            return false;
        }
        self.set_end(node, peer, Some(connection));
        // If the other end never comes up, this one finds out.
        self.watch(at, node, peer);
        true
    }

    /// `node` looks after the idle limit whether `peer` is still there.
    pub(crate) fn watch(&mut self, at: u64, node: usize, peer: usize) {
        if let Some(connection) = self.end(node, peer) {
            self.pending.push((at + self.idle_us(), Wire::Idle { node, peer, connection }));
        }
    }

    /// True if `node` has heard nothing from `peer` on `connection` for too long. `peer_still_since` says
    /// since when the peer's process stands still.
    pub(crate) fn is_silent(
        &self,
        at: u64,
        node: usize,
        peer: usize,
        connection: u64,
        peer_still_since: Option<u64>,
    ) -> bool {
        let long = |since: u64| at.saturating_sub(since) >= self.idle_us();
        self.end(node, peer) == Some(connection)
            && (self.end(peer, node) != Some(connection)
                || self.links[peer * self.nodes + node].blocked_since.is_some_and(long)
                || peer_still_since.is_some_and(long))
    }

    /// The end of `node` is closed. With `tell`, the other end hears of it if it can.
    pub(crate) fn close(&mut self, at: u64, node: usize, peer: usize, tell: bool) {
        let Some(connection) = self.end(node, peer) else { return };
        self.set_end(node, peer, None);
        self.link(node, peer).clear();
        if self.end(peer, node) == Some(connection) {
            if tell && !self.is_blocked(node, peer) {
                let arrival = at + self.delay();
                self.pending.push((arrival, Wire::Closed { node: peer, peer: node, connection }));
            } else {
                self.watch(at, peer, node);
            }
        }
        self.redial(at, node, peer);
    }

    /// The process of `node` is gone: every end of it is.
    pub(crate) fn drop_ends(&mut self, at: u64, node: usize, tell: bool) {
        for peer in (0..self.nodes).filter(|peer| *peer != node) {
            self.close(at, node, peer, tell);
        }
    }
}
