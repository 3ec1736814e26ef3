//! The network: connections between pairs of nodes, and what becomes of frames.
//!
//! A connection has two ends, which learn of its beginning and its end at different times; each has a
//! number, and what was sent on one never arrives on another. In [`Mode::Stream`] frames arrive in order
//! and a loss costs time, as over QUIC; a direction that is cut stalls, and the end that hears nothing for
//! [`Network::idle_ms`] gives up. In [`Mode::Datagram`] every frame is lost, doubled and overtaken for
//! itself. What is to happen goes to [`Net::pending`]; the world puts it into its queue.

mod connect;
mod link;
mod rules;

use std::collections::BTreeMap;

use rand::RngExt;
use sync_core::class::Class;

use crate::random::{Random, fork};
use crate::scenario::{Mode, Network, Scenario};

pub(crate) use rules::{NodeSet, Rule, Verdict};

use link::Link;

/// What happens on the network at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A frame arrives.
    Arrive { way: Way, bytes: Vec<u8> },
    /// A frame counts as written at its sender.
    Written { way: Way, bytes: usize },
    /// `node` learns that its connection to `peer` is up.
    Opened { node: usize, peer: usize, connection: u64 },
    /// `node` learns that its connection to `peer` is closed.
    Closed { node: usize, peer: usize, connection: u64 },
    /// `node` looks whether `peer` is still there.
    Idle { node: usize, peer: usize, connection: u64 },
    /// One of the two tries to connect.
    Dial { a: usize, b: usize },
}

/// Where a frame goes: from whom to whom, in which stream of which connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) class: Class,
    pub(crate) connection: u64,
}

impl Way {
    fn arrive(self, bytes: Vec<u8>) -> Wire {
        Wire::Arrive { way: self, bytes }
    }

    fn written(self, bytes: usize) -> Wire {
        Wire::Written { way: self, bytes }
    }
}

/// The two ends of a pair.
#[derive(Debug, Default)]
struct Pair {
    /// The number of the latest connection.
    connection: u64,
    /// Which connection each end holds to be up: the lower node's, the higher node's.
    ends: [Option<u64>; 2],
    /// Until when a handshake is under way.
    opening_until: u64,
    /// True while a [`Wire::Dial`] is under way.
    dialing: bool,
}

/// What the network did, for the tables.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetCounts {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) overflowed: u64,
    pub(crate) throttled: u64,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Net {
    setup: Network,
    nodes: usize,
    random: Random,
    rules: BTreeMap<u64, Rule>,
    rules_made: u64,
    /// Datagrams do not overtake each other: the network is healed.
    in_order: bool,
    links: Vec<Link>,
    pairs: Vec<Pair>,
    pub(crate) counts: NetCounts,
    /// What is to happen, and when; the world takes it.
    pub(crate) pending: Vec<(u64, Wire)>,
}

impl Net {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let nodes = scenario.nodes;
        Self {
            setup: scenario.network.clone(),
            nodes,
            random: fork(scenario.seed, "network"),
            rules: BTreeMap::new(),
            rules_made: 0,
            in_order: false,
            links: std::iter::repeat_with(Link::default).take(nodes * nodes).collect(),
            pairs: std::iter::repeat_with(Pair::default).take(nodes * nodes).collect(),
            counts: NetCounts::default(),
            pending: Vec::new(),
        }
    }

    fn pair(&mut self, a: usize, b: usize) -> &mut Pair {
        &mut self.pairs[a.min(b) * self.nodes + a.max(b)]
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.nodes + to]
    }

    fn idle_us(&self) -> u64 {
        self.setup.idle_ms * 1_000
    }

    fn delay(&mut self) -> u64 {
        let (least, most) = self.setup.delay_us;
        self.random.random_range(least..=most)
    }

    /// The connection that `node` holds to be up to `peer`.
    pub(crate) fn end(&self, node: usize, peer: usize) -> Option<u64> {
        self.pairs[node.min(peer) * self.nodes + node.max(peer)].ends[usize::from(node > peer)]
    }

    fn set_end(&mut self, node: usize, peer: usize, connection: Option<u64>) {
        self.pair(node, peer).ends[usize::from(node > peer)] = connection;
    }

    /// True if nothing passes from `from` to `to`.
    pub(crate) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.links[from * self.nodes + to].blocked_since.is_some()
    }

    // Frames.

    /// Sends a frame on the connection that `from` holds to be up; without one it is lost.
    pub(crate) fn send(&mut self, at: u64, from: usize, to: usize, class: Class, bytes: Vec<u8>) {
        let Some(connection) = self.end(from, to) else { return };
        let way = Way { from, to, class, connection };
        self.counts.frames += 1;
        self.counts.bytes += bytes.len() as u64;
        match self.setup.mode {
            Mode::Stream => self.send_stream(at, way, bytes),
            Mode::Datagram => self.send_datagram(at, way, bytes),
        }
    }

    /// When a frame of `bytes` has left the wire of its sender.
    fn departure(&mut self, at: u64, way: Way, bytes: usize) -> u64 {
        let bandwidth = self.setup.bandwidth;
        if bandwidth == 0 {
            return at;
        }
        let link = &mut self.links[way.from * self.nodes + way.to];
        self.counts.throttled += u64::from(link.lane(way.class).free_at > at);
        link.depart(at, way.class, bytes as u64 * 1_000_000 / bandwidth)
    }

    fn send_stream(&mut self, at: u64, way: Way, bytes: Vec<u8>) {
        let (window, len) = (self.setup.window_bytes, bytes.len());
        let link = self.link(way.from, way.to);
        let is_blocked = link.blocked_since.is_some();
        let lane = link.lane(way.class);
        lane.unread_bytes += len;
        let waits = lane.unread_bytes > window;
        if waits {
            lane.unwritten.push_back(len);
        }
        let mut departure = at;
        if is_blocked {
            lane.stalled.push_back(bytes);
        } else {
            departure = self.transmit(at, way, bytes);
        }
        if !waits {
            self.pending.push((departure + 1, way.written(len)));
        }
    }

    /// Puts a frame of a stream on the wire; each loss costs a retransmission.
    fn transmit(&mut self, at: u64, way: Way, bytes: Vec<u8>) -> u64 {
        let departure = self.departure(at, way, bytes.len());
        let mut travel = self.delay();
        while self.setup.loss > 0.0 && self.random.random_bool(self.setup.loss) {
            self.counts.lost += 1;
            travel += 2 * self.delay() + 10_000;
        }
        let link = self.link(way.from, way.to);
        link.under_way += 1;
        let slowed = departure + travel + link.extra_us;
        let arrival = link.arrive(way.class, slowed);
        self.pending.push((arrival, way.arrive(bytes)));
        departure
    }

    fn send_datagram(&mut self, at: u64, way: Way, bytes: Vec<u8>) {
        let len = bytes.len();
        let departure = self.departure(at, way, len);
        self.pending.push((departure + 1, way.written(len)));
        let link = &self.links[way.from * self.nodes + way.to];
        if link.blocked_since.is_some() {
            return;
        }
        if self.setup.queue_frames > 0 && link.under_way >= self.setup.queue_frames {
            self.counts.overflowed += 1;
            return;
        }
        if self.setup.loss > 0.0 && self.random.random_bool(self.setup.loss) {
            self.counts.lost += 1;
            return;
        }
        if self.setup.duplicate > 0.0 && self.random.random_bool(self.setup.duplicate) {
            self.counts.duplicated += 1;
            self.fly(departure, way, bytes.clone());
        }
        self.fly(departure, way, bytes);
    }

    fn fly(&mut self, departure: u64, way: Way, bytes: Vec<u8>) {
        let mut travel = self.delay();
        if self.setup.reorder > 0.0 && self.random.random_bool(self.setup.reorder) {
            self.counts.reordered += 1;
            travel += self.random.random_range(0..=10 * self.setup.delay_us.1);
        }
        let in_order = self.in_order;
        let link = self.link(way.from, way.to);
        link.under_way += 1;
        let mut arrival = departure + travel + link.extra_us;
        if in_order {
            arrival = link.arrive(way.class, arrival);
        }
        self.pending.push((arrival, way.arrive(bytes)));
    }

    /// A frame has come to the end of its way. True if the connection is still the one it was sent on.
    pub(crate) fn arrived(&mut self, way: Way) -> bool {
        let Way { from, to, connection, .. } = way;
        let current = self.pair(from, to).connection == connection;
        if current {
            let link = self.link(from, to);
            link.under_way = link.under_way.saturating_sub(1);
        }
        current && self.end(to, from) == Some(connection)
    }

    /// The receiver has read a frame: the sender's window opens.
    pub(crate) fn read(&mut self, at: u64, way: Way, bytes: usize) {
        if self.pair(way.from, way.to).connection != way.connection {
            return;
        }
        let window = self.setup.window_bytes;
        for bytes in self.link(way.from, way.to).lane(way.class).read(bytes, window) {
            self.pending.push((at + 1, way.written(bytes)));
        }
    }

    // Rules.

    /// Puts `rule` before the others; gives back its number.
    pub(crate) fn add_rule(&mut self, at: u64, rule: Rule) -> u64 {
        self.rules_made += 1;
        self.rules.insert(self.rules_made, rule);
        self.judge_all(at);
        self.rules_made
    }

    /// Takes rule `number` away.
    pub(crate) fn remove_rule(&mut self, at: u64, number: u64) {
        self.rules.remove(&number);
        self.judge_all(at);
    }

    /// Takes every rule away, and every fault of the links: from now on nothing is lost or overtaken.
    pub(crate) fn heal(&mut self, at: u64) {
        self.in_order = true;
        self.rules.clear();
        let Network { loss, duplicate, reorder, queue_frames, .. } = &mut self.setup;
        (*loss, *duplicate, *reorder, *queue_frames) = (0.0, 0.0, 0.0, 0);
        self.judge_all(at);
    }

    fn judge_all(&mut self, at: u64) {
        for from in 0..self.nodes {
            for to in (0..self.nodes).filter(|to| *to != from) {
                let verdict = self.rules.values().rev().find_map(|rule| rule.judge(from, to));
                self.apply(at, from, to, verdict.unwrap_or(Verdict::Pass));
            }
        }
    }

    fn apply(&mut self, at: u64, from: usize, to: usize, verdict: Verdict) {
        let blocked = verdict == Verdict::Block;
        let link = self.link(from, to);
        let was_blocked = link.blocked_since.is_some();
        link.extra_us = if let Verdict::Delay(extra) = verdict { extra } else { 0 };
        if blocked && !was_blocked {
            link.blocked_since = Some(at);
            return self.watch(at, to, from);
        }
        if !blocked && was_blocked {
            link.blocked_since = None;
            let stalled = link.take_stalled();
            let Some(connection) = self.end(from, to) else { return };
            for (class, bytes) in stalled {
                self.transmit(at, Way { from, to, class, connection }, bytes);
            }
        }
    }
}
