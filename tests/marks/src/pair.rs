//! Two core nodes wired in process, on virtual time: every frame is counted, and none is lost.
//!
//! One way takes [`ONE_WAY`] whatever the size, so round trips can be read from the virtual clock: a
//! frame that waits for a timer shows as time, as it would on a network. CPU is that of both sides
//! together, encoding and decoding included.

use std::collections::{BTreeMap, VecDeque};

use sync_core::error::WriteError;
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Config, DEFAULT_NAMESPACE, Input, Node, Output};
use sync_core::store::{Group, Store};
use sync_core::time::{Now, Span, Timestamp, WallMillis};

/// How long a frame is under way.
pub const ONE_WAY: Span = Span::from_millis(10);

/// Where the wall clocks of all nodes stand at the beginning.
const WALL_START: WallMillis = WallMillis(1_750_000_000_000);

/// Virtual time after which two nodes that still differ have failed.
const PATIENCE: Span = Span::from_secs(600);

/// Longest silence within one exchange: acknowledgements are held back for less.
const FOLLOW_UP: Span = Span::from_secs(1);

/// The namespace in use.
pub fn namespace() -> NamespaceId {
    NamespaceId::named(DEFAULT_NAMESPACE)
}

/// Limits for a million entries. Records are not kept at all: who misses a remove comes by the fallback.
pub fn limits() -> Limits {
    Limits { records_max: 0, ..Limits::default().with_room(10_000, 4 << 30) }
}

/// The `life`-th life of node `index`.
pub fn config(index: u8, life: u8) -> Config {
    let mut replica = [0; 16];
    replica.copy_from_slice(&blake3::hash(&[index, life]).as_bytes()[..16]);
    let config = Config::new(NodeId([index + 1; 32]), ReplicaId(replica), OwnerId(replica), [index; 32]);
    Config { limits: limits(), ..config }
}

/// What crossed the wires in one exchange.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Bytes by the name of the frame.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Frames, greetings left out.
    pub frames: u64,
    /// From the first frame that is no greeting until both knew the same.
    pub round_trips: f64,
}

impl Traffic {
    /// All bytes but those of greetings, which are paid once a connection.
    pub fn total(&self) -> u64 {
        self.bytes.iter().filter(|(name, _)| **name != "Hello").map(|(_, bytes)| bytes).sum()
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Pair {
    nodes: [Node; 2],
    ids: [NodeId; 2],
    now: Timestamp,
    connected: bool,
    /// Frames under way, with the time of their arrival and the receiver.
    wires: VecDeque<(Timestamp, usize, Vec<u8>)>,
    traffic: Traffic,
    began: Option<Timestamp>,
}

impl Pair {
    /// Two nodes, not connected.
    pub fn new(a: Node, b: Node) -> Self {
        let ids = [a.id(), b.id()];
        Self {
            nodes: [a, b],
            ids,
            now: Timestamp::ZERO,
            connected: false,
            wires: VecDeque::new(),
            traffic: Traffic::default(),
            began: None,
        }
    }

    /// A node with nothing in it.
    pub fn fresh(index: u8) -> Node {
        Node::new(config(index, 0), Now::at(Timestamp::ZERO, WALL_START))
    }

    /// The nodes, given back.
    pub fn into_nodes(self) -> [Node; 2] {
        self.nodes
    }

    /// Repairs in which one side had to compare all live dots, since the lives began.
    pub fn fallbacks(&self) -> u64 {
        self.nodes.iter().map(|node| node.stats().fallbacks).sum()
    }

    /// The state of one side.
    pub fn store(&self, side: usize) -> &Store {
        self.nodes[side].store(namespace()).expect("every node opens the default namespace")
    }

    /// Settles both tries; true if the roots are equal.
    pub fn roots_equal(&mut self) -> bool {
        let [a, b] = self.nodes.each_mut().map(|node| node.state_id(namespace()));
        a == b
    }

    /// A group of writes on one side. Nothing is sent until time moves on.
    pub fn write(&mut self, side: usize, fill: impl FnOnce(&mut Group<'_>) -> Result<(), WriteError>) {
        let now = self.at();
        self.nodes[side].write(now, namespace(), fill).expect("the limits leave room");
    }

    /// Cuts the link; what is under way is lost.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.wires.clear();
        for side in 0..2 {
            self.input(side, Input::Disconnected { peer: self.ids[1 - side] });
        }
    }

    /// Puts a new life in the place of both nodes, on the durable state of the old: no log, no cursors. The
    /// new ones keep `log_entries_max` entries of theirs.
    pub fn restart(&mut self, life: u8, log_entries_max: usize) {
        assert!(!self.connected, "a life ends with its links");
        let now = self.at();
        for (index, node) in (0u8..).zip(&mut self.nodes) {
            let mut config = config(index, life);
            config.limits.log_entries_max = log_entries_max;
            *node = Node::restart(config, node.image(), now);
        }
    }

    /// Connects both and lets them talk until they know the same and fall silent; what it took.
    pub fn reconcile(&mut self) -> Traffic {
        self.traffic = Traffic::default();
        self.began = None;
        self.connected = true;
        for side in 0..2 {
            self.input(side, Input::Connected { peer: self.ids[1 - side] });
        }
        let begun = self.now;
        let mut equal_at = None;
        loop {
            if equal_at.is_none() && self.traffic.frames > 0 && self.contexts_equal() {
                equal_at = Some(self.now);
            }
            let next = self.next();
            match equal_at {
                Some(at) if self.wires.is_empty() && next.is_none_or(|next| next > at + FOLLOW_UP) => break,
                None if next.is_none_or(|next| next > begun + PATIENCE) => panic!("the nodes never agree"),
                Some(_) | None => self.step(),
            }
        }
        let (from, to) = (self.began.expect("frames crossed"), equal_at.expect("the loop ends so"));
        let both_ways = 2 * ONE_WAY.as_micros();
        self.traffic.round_trips = to.since(from).as_micros() as f64 / both_ways as f64;
        std::mem::take(&mut self.traffic)
    }

    fn contexts_equal(&self) -> bool {
        self.store(0).context() == self.store(1).context()
    }

    fn at(&self) -> Now {
        Now::at(self.now, WALL_START)
    }

    /// When something happens next.
    fn next(&self) -> Option<Timestamp> {
        let arrival = self.wires.front().map(|(at, ..)| *at);
        let deadlines = self.nodes.iter().filter_map(Node::poll_timeout);
        deadlines.chain(arrival).min().map(|at| at.max(self.now))
    }

    fn step(&mut self) {
        let Some(next) = self.next() else { return };
        self.now = next;
        while self.wires.front().is_some_and(|(at, ..)| *at <= next) {
            let (_, side, bytes) = self.wires.pop_front().expect("it was just seen");
            self.deliver(side, &bytes);
        }
        for side in 0..2 {
            if self.nodes[side].poll_timeout().is_some_and(|at| at <= next) {
                self.input(side, Input::Wake);
                let again = self.nodes[side].poll_timeout();
                assert!(again.is_none_or(|at| at > next), "a deadline stays in the past");
            }
        }
    }

    fn deliver(&mut self, side: usize, bytes: &[u8]) {
        let peer = self.ids[1 - side];
        let dictionary = self.nodes[side].reads(peer);
        let frame = Frame::decode(bytes, &dictionary, self.nodes[side].limits()).expect("nodes send frames");
        let name = frame.name();
        *self.traffic.bytes.entry(name).or_default() += bytes.len() as u64;
        if name != "Hello" {
            self.traffic.frames += 1;
            let sent = self.now.as_micros() - ONE_WAY.as_micros();
            self.began.get_or_insert(Timestamp::from_micros(sent));
        }
        self.input(side, Input::Received { peer, frame, len: bytes.len() });
    }

    fn input(&mut self, side: usize, input: Input) {
        let now = self.at();
        self.nodes[side].handle(now, input);
        while let Some(output) = self.nodes[side].poll_output() {
            match output {
                Output::Send { to, class, bytes } => {
                    let len = bytes.len();
                    self.wires.push_back((self.now + ONE_WAY, 1 - side, bytes));
                    self.nodes[side].handle(now, Input::Written { peer: to, class, frames: 1, bytes: len });
                }
                Output::Persist { n } => self.nodes[side].handle(now, Input::Persisted { n }),
                Output::Disconnect { reason, .. } => panic!("the nodes part: {reason}"),
                Output::Dial { .. } | Output::Event(_) => {}
            }
        }
    }
}
