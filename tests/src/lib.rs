//! A small cluster in one thread, for tests that name every frame.
//!
//! Nodes are the real [`Node`]; the wires between them are queues that a test can read, drop, repeat and
//! reorder. Time moves only when the test says so. For random faults over virtual time there is the
//! `simulations` crate; here a test tells one story. `alerts` judges alert rules over what real nodes export,
//! `attack` has peers that keep no rule.

#![forbid(unsafe_code)]

pub mod alerts;
pub mod attack;
pub mod lab;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync_core::error::WriteError;
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Config, DEFAULT_NAMESPACE, Event, Input, Node, Output, PersistStep, Written};
use sync_core::store::{Group, Store};
use sync_core::time::{Now, Span, Timestamp, WallMillis};

/// Milliseconds since the Unix epoch at which every test begins.
pub const WALL_START: WallMillis = WallMillis(1_750_000_000_000);

/// The namespace that every node opens.
pub fn namespace() -> NamespaceId {
    NamespaceId::named(DEFAULT_NAMESPACE)
}

/// The identity of the `index`-th node.
pub fn node_id(index: u8) -> NodeId {
    NodeId([index + 1; 32])
}

/// The `life`-th incarnation of the `index`-th node.
pub fn replica(index: u8, life: u8) -> ReplicaId {
    let mut id = [index + 1; 16];
    id[15] = life;
    ReplicaId(id)
}

/// The defaults for the `index`-th node in its `life`-th life.
pub fn config(index: u8, life: u8) -> Config {
    let mut owner = [index + 1; 16];
    owner[0] = life;
    Config::new(node_id(index), replica(index, life), OwnerId(owner), [index; 32])
}

/// Nodes and the wires between them. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    now: Timestamp,
    /// Frames under way, by sender and receiver.
    wires: BTreeMap<(u8, u8), VecDeque<Vec<u8>>>,
    events: Vec<(u8, Event)>,
    parted: Vec<String>,
    /// Whom nodes wanted to have dialled.
    dials: Vec<(u8, u8)>,
    /// Persist steps asked for and not yet granted, by node.
    unpersisted: BTreeMap<u8, PersistStep>,
    connected: BTreeSet<(u8, u8)>,
    /// What wall clocks are off by, in milliseconds.
    off_ms: BTreeMap<u8, i64>,
}

impl Cluster {
    /// `count` nodes with `limits`, all connected and introduced, nothing under way.
    pub fn new(count: u8, limits: &Limits) -> Self {
        let mut cluster = Self::apart((0..count).map(|index| {
            let mut config = config(index, 0);
            config.limits = limits.clone();
            config
        }));
        for a in 0..count {
            for b in a + 1..count {
                cluster.connect(a, b);
            }
        }
        cluster.settle();
        cluster
    }

    /// Nodes of these configurations, not connected.
    pub fn apart(configs: impl IntoIterator<Item = Config>) -> Self {
        let now = Timestamp::ZERO;
        let nodes = configs.into_iter().map(|config| Node::new(config, Now::at(now, WALL_START))).collect();
        Self {
            nodes,
            now,
            wires: BTreeMap::new(),
            events: Vec::new(),
            parted: Vec::new(),
            dials: Vec::new(),
            unpersisted: BTreeMap::new(),
            connected: BTreeSet::new(),
            off_ms: BTreeMap::new(),
        }
    }

    /// The time that a node sees.
    pub fn now_at(&self, index: u8) -> Now {
        let now = self.now();
        let off_ms = self.off_ms.get(&index).copied().unwrap_or(0);
        Now { wall: WallMillis(now.wall.0.saturating_add_signed(off_ms)), ..now }
    }

    /// From now on the wall clock of a node is off by this much.
    pub fn set_clock(&mut self, index: u8, off_ms: i64) {
        self.off_ms.insert(index, off_ms);
    }

    /// The time that every node sees whose clock is right.
    pub fn now(&self) -> Now {
        Now::at(self.now, WALL_START)
    }

    /// The node itself.
    pub fn node(&mut self, index: u8) -> &mut Node {
        &mut self.nodes[usize::from(index)]
    }

    /// The store of the default namespace of a node.
    pub fn store(&self, index: u8) -> &Store {
        self.nodes[usize::from(index)].store(namespace()).expect("every node opens the default namespace")
    }

    /// True if all nodes hold the same state.
    pub fn is_converged(&mut self) -> bool {
        let ids: BTreeSet<_> = self.nodes.iter_mut().map(|node| node.state_id(namespace())).collect();
        ids.len() == 1
    }

    /// Connects two nodes.
    pub fn connect(&mut self, a: u8, b: u8) {
        self.connected.insert((a.min(b), a.max(b)));
        self.input(a, Input::Connected { peer: node_id(b) });
        self.input(b, Input::Connected { peer: node_id(a) });
    }

    /// Breaks the connection of two nodes; what was under way is lost.
    pub fn disconnect(&mut self, a: u8, b: u8) {
        self.connected.remove(&(a.min(b), a.max(b)));
        self.wires.remove(&(a, b));
        self.wires.remove(&(b, a));
        self.input(a, Input::Disconnected { peer: node_id(b) });
        self.input(b, Input::Disconnected { peer: node_id(a) });
    }

    /// Replaces a node by another life of it and connects it as before.
    pub fn replace(&mut self, index: u8, node: Node) {
        let links: Vec<_> =
            self.connected.iter().copied().filter(|(a, b)| *a == index || *b == index).collect();
        for (a, b) in &links {
            self.disconnect(*a, *b);
        }
        self.nodes[usize::from(index)] = node;
        for (a, b) in links {
            self.connect(a, b);
        }
    }

    /// Writes a group on a node and lets it send; frames stay on the wires.
    ///
    /// # Errors
    /// What the closure or a limit refuses.
    pub fn try_write<T>(
        &mut self,
        index: u8,
        fill: impl FnOnce(&mut Group<'_>) -> Result<T, WriteError>,
    ) -> Result<(T, Written), WriteError> {
        let now = self.now_at(index);
        let written = self.node(index).write(now, namespace(), fill)?;
        self.input(index, Input::Wake);
        Ok(written)
    }

    /// [`Self::try_write`] where no refusal is expected.
    pub fn write<T>(&mut self, index: u8, fill: impl FnOnce(&mut Group<'_>) -> Result<T, WriteError>) -> T {
        self.try_write(index, fill).expect("the test expects this write to be admitted").0
    }

    /// Gives an input to a node and moves what it sends onto the wires.
    pub fn input(&mut self, index: u8, input: Input) {
        let now = self.now_at(index);
        self.node(index).handle(now, input);
        self.drain(index);
    }

    fn drain(&mut self, index: u8) {
        while let Some(output) = self.node(index).poll_output() {
            match output {
                Output::Send { to, class, bytes } => {
                    let to = to.0[0] - 1;
                    let len = bytes.len();
                    self.wires.entry((index, to)).or_default().push_back(bytes);
                    let now = self.now_at(index);
                    self.node(index)
                        .handle(now, Input::Written { peer: node_id(to), class, frames: 1, bytes: len });
                }
                Output::Persist { n } => {
                    self.unpersisted.insert(index, n);
                }
                Output::Event(event) => self.events.push((index, event)),
                Output::Dial { peer } => self.dials.push((index, peer.0[0] - 1)),
                Output::Disconnect { peer, reason } => {
                    self.parted.push(reason.to_string());
                    self.disconnect(index, peer.0[0] - 1);
                }
            }
        }
    }

    /// Tells a node that everything it asked for is durable.
    pub fn persist(&mut self, index: u8) {
        if let Some(n) = self.unpersisted.remove(&index) {
            self.input(index, Input::Persisted { n });
        }
    }

    /// Takes the frames under way from `from` to `to` off the wire.
    pub fn take(&mut self, from: u8, to: u8) -> Vec<Vec<u8>> {
        self.wires.remove(&(from, to)).unwrap_or_default().into()
    }

    /// Takes the frames under way, decoded.
    pub fn take_frames(&mut self, from: u8, to: u8) -> Vec<Frame> {
        let frames = self.take(from, to);
        frames.iter().map(|bytes| self.read_sent(from, to, bytes)).collect()
    }

    /// Decodes a frame that `from` has sent to `to`.
    pub fn read_sent(&mut self, from: u8, to: u8, bytes: &[u8]) -> Frame {
        let dictionary = self.node(from).writes(node_id(to));
        Frame::decode(bytes, &dictionary, &Limits::default()).expect("nodes send frames")
    }

    /// Gives bytes to `to` as if `from` had sent them.
    pub fn deliver(&mut self, from: u8, to: u8, bytes: &[u8]) {
        let limits = self.node(to).limits().clone();
        let (peer, len) = (node_id(from), bytes.len());
        let dictionary = self.node(to).reads(peer);
        let input = match Frame::decode(bytes, &dictionary, &limits) {
            Ok(frame) => Input::Received { peer, frame, len },
            Err(error) => Input::Malformed { peer, error },
        };
        self.input(to, input);
    }

    /// Delivers the next frame from `from` to `to`; false if none is under way.
    pub fn deliver_next(&mut self, from: u8, to: u8) -> bool {
        let Some(bytes) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return false };
        self.deliver(from, to, &bytes);
        true
    }

    /// Delivers until nothing is under way. Time stands still.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some((from, to)) =
                self.wires.iter().find(|(_, wire)| !wire.is_empty()).map(|(ends, _)| *ends)
            else {
                return;
            };
            self.deliver_next(from, to);
        }
        panic!("the nodes do not stop talking");
    }

    /// Moves time on in steps to each node's deadlines, delivering everything as it is sent.
    pub fn advance(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            self.settle();
            let next = self.nodes.iter().filter_map(Node::poll_timeout).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            for index in 0..self.nodes.len() {
                let node = u8::try_from(index).expect("a test has few nodes");
                self.input(node, Input::Wake);
                let mut next = self.nodes[index].poll_timeout();
                // What ended in that wake may have held something up that is due since long: a driver wakes again.
                if next.is_some_and(|at| at <= self.now) {
                    self.input(node, Input::Wake);
                    next = self.nodes[index].poll_timeout();
                }
                assert!(
                    next.is_none_or(|at| at > self.now),
                    "node {index} stays due at {next:?}, which is past at {:?}: the driver would spin",
                    self.now
                );
            }
        }
        self.now = end;
        self.settle();
    }

    /// Moves time on without waking anybody or delivering anything.
    pub fn sleep(&mut self, span: Span) {
        self.now = self.now + span;
    }

    /// Takes the dials that nodes wanted since the last call: who, whom.
    pub fn dials(&mut self) -> Vec<(u8, u8)> {
        std::mem::take(&mut self.dials)
    }

    /// Why nodes have closed connections.
    pub fn parted(&self) -> &[String] {
        &self.parted
    }

    /// Takes the events that came since the last call.
    pub fn events(&mut self) -> Vec<(u8, Event)> {
        std::mem::take(&mut self.events)
    }
}
