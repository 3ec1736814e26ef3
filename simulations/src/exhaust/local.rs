//! One node of the search: the real [`Node`] with a disk and a coarse clock, and what can be done to it.

use std::collections::VecDeque;

use sync_core::error::WriteError;
use sync_core::id::{Dot, NamespaceId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Event, Input, Node, Output, PersistStep};
use sync_core::store::Store;
use sync_core::time::{Now, Timestamp, WallMillis};
use sync_core::types::{lww_map, or_set, pn_counter};

use super::locals::Locals;
use super::scope::{KEY, TICK, column, config, node_id};
use crate::deed;
use crate::history::{Act, Op, OpId, Seen};

/// What can be done to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// It receives a frame.
    Receive(u16),
    /// The application writes: the choice of [`Scope::act`].
    Write(u8),
    /// The driver wakes it after a write.
    Wake,
    /// Every period passes once.
    Tick,
    /// Its disk stops: nothing more becomes durable, and every frame that shows state is held.
    Wedge,
    /// It ends counter floors that nothing can meet any more, as it does by itself once a minute.
    Collect,
    /// It crashes, starts again on its disk under a new incarnation, and is linked to every other node.
    Crash,
    /// A peer has done that: the link breaks and stands again.
    Relinked(u8),
    /// The link to a peer breaks.
    Cut(u8),
    /// The link to a peer stands again.
    Linked(u8),
}

impl Step {
    /// Tells it from every other step of the same node.
    pub(super) fn number(self) -> u32 {
        let (kind, which) = match self {
            Self::Receive(letter) => (0, u32::from(letter)),
            Self::Write(choice) => (1, u32::from(choice)),
            Self::Wake => (2, 0),
            Self::Tick => (4, 0),
            Self::Wedge => (5, 0),
            Self::Collect => (6, 0),
            Self::Crash => (7, 0),
            Self::Relinked(peer) => (8, u32::from(peer)),
            Self::Cut(peer) => (9, u32::from(peer)),
            Self::Linked(peer) => (10, u32::from(peer)),
        };
        which << 4 | kind
    }
}

/// A frame on the network.
pub(super) struct Letter {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) frame: Frame,
    bytes: Vec<u8>,
    pub(super) key: [u8; 16],
}

/// A node state.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) node: Node,
    pub(super) index: usize,
    pub(super) life: usize,
    pub(super) clock: Timestamp,
    /// Its disk, if it has stopped; `None` while all is durable at once.
    pub(super) wedged: Option<Wedged>,
}

/// A disk that has stopped.
#[derive(Clone, Copy)]
pub(super) struct Wedged {
    /// What it holds, for ever.
    pub(super) image: u32,
    /// The node's state is another by now, so frames that show it are held.
    behind: bool,
}

impl Local {
    /// Equal keys behave alike.
    pub(super) fn key(&self) -> [u8; 16] {
        let Self { node, index, life, clock, wedged } = self;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&node.state_key(now(*clock)));
        hasher.update(&[narrow(*index), narrow(*life)]);
        if let Some(Wedged { image, behind }) = wedged {
            hasher.update(&image.to_le_bytes()).update(&[u8::from(*behind)]);
        }
        short(hasher)
    }

    pub(super) fn store(&self, namespace: NamespaceId) -> &Store {
        self.node.store(namespace).expect("the default namespace is open")
    }

    pub(super) fn now(&self) -> Now {
        now(self.clock)
    }

    /// Moves every deadline into the past.
    pub(super) fn pass(&mut self) {
        self.clock = self.clock + TICK;
    }

    /// Takes in a frame from the network.
    pub(super) fn receive(&mut self, letter: &Letter) {
        let input = letter.input(&self.node);
        self.handle(input);
    }

    pub(super) fn handle(&mut self, input: Input) {
        let now = self.now();
        self.node.handle(now, input);
    }

    /// Takes in `step`; gives back the operation that it was.
    pub(super) fn take(&mut self, all: &mut Locals, step: Step) -> Result<Option<u16>, String> {
        match step {
            Step::Receive(letter) => self.receive(&all.letters[usize::from(letter)]),
            Step::Write(choice) => return Ok(self.write(all, choice)),
            Step::Wake => self.handle(Input::Wake),
            Step::Tick => {
                self.pass();
                self.handle(Input::Wake);
            }
            Step::Wedge => self.wedged = Some(Wedged { image: all.image(self.node.image()), behind: false }),
            Step::Collect => {
                let collect =
                    |group: &mut sync_core::store::Group<'_>| pn_counter::collect_floors(group, KEY);
                let collected = self.node.write(self.now(), all.namespace, collect);
                collected.map_err(|error| format!("collecting floors was refused: {error}"))?;
            }
            Step::Crash => {
                let disk = self.wedged.take().expect("a node crashes after its disk has stopped");
                let (image, _) = all.images[disk.image as usize].clone();
                self.life += 1;
                let mut config = config(&all.scope, self.index, self.life);
                config.owner = image.owner();
                self.node = Node::restart(config, image, self.now());
                let index = self.index;
                for peer in (0..all.scope.replicas).filter(|peer| *peer != index) {
                    self.handle(Input::Connected { peer: node_id(peer) });
                }
            }
            Step::Relinked(peer) => {
                self.handle(Input::Disconnected { peer: node_id(peer.into()) });
                self.handle(Input::Connected { peer: node_id(peer.into()) });
            }
            Step::Cut(peer) => self.handle(Input::Disconnected { peer: node_id(peer.into()) }),
            Step::Linked(peer) => self.handle(Input::Connected { peer: node_id(peer.into()) }),
        }
        Ok(None)
    }

    fn write(&mut self, all: &mut Locals, choice: u8) -> Option<u16> {
        let store = self.store(all.namespace);
        let life = self.node.replica();
        let seen = Seen::from(store.context());
        let act = all.scope.act(choice, self.index, self.life, store.context().get(life) + 1);
        let written = self.node.write(self.now(), all.namespace, |group| match &act {
            Act::Add { key, element } => or_set::add(group, key, element),
            Act::Remove { key, element } => or_set::remove(group, key, element).map(drop),
            Act::Clear { key } => or_set::clear(group, key).map(drop),
            Act::Put { key, field, value } => lww_map::put(group, key, field, value),
            Act::RemoveField { key, field } => lww_map::remove(group, key, field).map(drop),
            Act::ClearMap { key } => lww_map::clear(group, key).map(drop),
            Act::Count { key, by } => pn_counter::add(group, key, *by),
            Act::Reset { key } => pn_counter::reset(group, key).map(drop),
            Act::Again { .. } => unreachable!("no plan damages a store"),
            // Rights that are not held are an answer: nothing is minted.
            Act::Typed(deed) => match deed::run(group, deed) {
                Err(WriteError::Rights { .. } | WriteError::RightsOut { .. }) => Ok(()),
                done => done,
            },
        });
        let ((), written) = written.expect("a small scope meets no limit");
        let dots = written.first.zip(written.last)?;
        let hlc = self.hlc(all.namespace, dots.1);
        let owner = self.node.owner();
        let (id, node, group, step, at) = (OpId(0), self.index, 0, 0, 0);
        Some(all.op(Op {
            id,
            node,
            life,
            owner,
            act,
            dots: Some(dots),
            seen,
            hlc,
            group,
            expires: 0,
            horizon: 0,
            step,
            at,
            blind: Vec::new(),
        }))
    }

    /// The hybrid clock of the item that `dot` wrote; 0 if it is a remove, whose clock nothing reads.
    fn hlc(&self, namespace: NamespaceId, dot: Dot) -> u64 {
        self.store(namespace).item(dot).map_or(0, |(_, item)| item.hlc.0)
    }

    /// Its disk goes on, if it had stopped.
    pub(super) fn mend(&mut self) {
        self.wedged = None;
    }

    /// Takes out everything that the node wants done, and makes durable what it asks for. Gives back the
    /// frames that it sends.
    ///
    /// # Errors
    /// A frame that shows state left before that state was durable, or an alarm sounded.
    pub(super) fn drain(&mut self) -> Result<Vec<Letter>, String> {
        let (mut letters, asked) = self.outputs()?;
        if let Some(n) = asked {
            if let Some(early) = letters.iter().find(|letter| letter.shows_state()) {
                return Err(format!(
                    "node {} sends {:?} before its state is durable",
                    self.index, early.frame
                ));
            }
            self.handle(Input::Persisted { n });
            let (held, more) = self.outputs()?;
            if more.is_some() {
                return Err(format!("node {} asks for durability again though nothing happened", self.index));
            }
            letters.extend(held);
        }
        if let Some(disk) = &mut self.wedged {
            disk.behind |= asked.is_some();
            if disk.behind {
                letters.retain(|letter| !letter.shows_state());
            }
        }
        Ok(letters)
    }

    /// The frames that leave at once, and the step that the driver is asked to make durable.
    fn outputs(&mut self) -> Result<(Vec<Letter>, Option<PersistStep>), String> {
        let (mut letters, mut asked) = (Vec::new(), None);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, class, bytes } => {
                    let len = bytes.len();
                    letters.push(Letter::new(&self.node, self.index, usize::from(to.0[0]) - 1, bytes)?);
                    self.handle(Input::Written { peer: to, class, frames: 1, bytes: len });
                }
                Output::Persist { n } => asked = Some(n),
                Output::Disconnect { peer, reason } => {
                    return Err(format!("node {} shuts node {peer:?} out: {reason}", self.index));
                }
                Output::Dial { peer } => return Err(format!("node {} probes {peer:?}", self.index)),
                Output::Event(event) => alarm(self.index, &event)?,
            }
        }
        Ok((letters, asked))
    }
}

impl Letter {
    fn new(sender: &Node, from: usize, to: usize, bytes: Vec<u8>) -> Result<Self, String> {
        let frame = Frame::decode(&bytes, &sender.writes(node_id(to)), &Limits::default())
            .map_err(|error| format!("node {from} sends a frame that cannot be read: {error}"))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[narrow(from), narrow(to)]).update(&bytes);
        Ok(Self { from, to, frame, bytes, key: short(hasher) })
    }

    /// What its receiver makes of it.
    fn input(&self, receiver: &Node) -> Input {
        let peer = node_id(self.from);
        match Frame::decode(&self.bytes, &receiver.reads(peer), &Limits::default()) {
            Ok(frame) => Input::Received { peer, frame, len: self.bytes.len() },
            Err(error) => Input::Malformed { peer, error },
        }
    }

    /// True if a receiver relies on what the frame says of its sender's state.
    fn shows_state(&self) -> bool {
        match self.frame {
            Frame::Root(..)
            | Frame::Open(..)
            | Frame::Push(..)
            | Frame::Ack(..)
            | Frame::Give(..)
            | Frame::Part(..)
            | Frame::Skeleton(..)
            | Frame::Payloads(..)
            | Frame::Symbols(..)
            | Frame::NodesFound(..)
            | Frame::Inspected(..)
            | Frame::Quote(..) => true,
            Frame::Hello(_)
            | Frame::Pull(..)
            | Frame::More(..)
            | Frame::Nodes(..)
            | Frame::Inspect(..)
            | Frame::Survey(..) => false,
        }
    }
}

/// Among honest replicas without clones nothing may be refused and no alarm may sound.
fn alarm(node: usize, event: &Event) -> Result<(), String> {
    match event {
        Event::Changed(_)
        | Event::Conflicts { .. }
        | Event::TypesMet { .. }
        | Event::PeerUp { .. }
        | Event::Traced { .. }
        | Event::PeerDown { .. }
        | Event::SessionDone { .. }
        | Event::Bootstrap { .. }
        | Event::MarksEnded { .. }
        | Event::Replayed { .. }
        | Event::Pressure { .. } => Ok(()),
        Event::FrameRefused { .. }
        | Event::Breaker { .. }
        | Event::Degraded { .. }
        | Event::Fenced { .. }
        | Event::OwnerDoubled { .. }
        | Event::Diverged { .. }
        | Event::Corrupt { .. }
        | Event::Healed { .. }
        | Event::ClockOff { .. }
        | Event::ClockJumped { .. }
        | Event::HorizonAhead { .. }
        | Event::NamespaceOpened { .. }
        | Event::NamespaceClosed { .. }
        | Event::EventsLost { .. } => Err(format!("node {node} raises an alarm: {event:?}")),
    }
}

/// Links all nodes and delivers every frame in order, until all is quiet.
pub(super) fn meet(nodes: &mut [Local]) -> Result<(), String> {
    for node in 0..nodes.len() {
        for peer in (0..nodes.len()).filter(|peer| *peer != node) {
            nodes[node].handle(Input::Connected { peer: node_id(peer) });
        }
    }
    exchange(nodes).map(drop)
}

/// Delivers every frame in order until none is left; gives back those that were delivered.
pub(super) fn exchange(nodes: &mut [Local]) -> Result<Vec<Letter>, String> {
    /// Far above what any scope needs: reached only by frames that breed frames.
    const FRAMES_MAX: usize = 10_000;
    let (mut delivered, mut queue) = (Vec::new(), VecDeque::new());
    loop {
        for local in &mut *nodes {
            queue.extend(local.drain()?);
        }
        let Some(letter) = queue.pop_front() else { return Ok(delivered) };
        nodes[letter.to].receive(&letter);
        delivered.push(letter);
        if delivered.len() > FRAMES_MAX {
            return Err(format!("after {FRAMES_MAX} frames without a fault the nodes are still talking"));
        }
    }
}

pub(super) fn now(clock: Timestamp) -> Now {
    Now { mono: clock, wall: WallMillis(1_700_000_000_000) }
}

pub(super) fn narrow(value: usize) -> u8 {
    u8::try_from(value).expect("a small scope stays below 256 of anything")
}

/// Sixteen bytes of a hash.
pub(super) fn short(hasher: blake3::Hasher) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

/// True if `column` is a life of `node`.
pub(super) fn is_life_of(node: usize, at: usize) -> bool {
    (column(node, 0)..column(node + 1, 0)).contains(&at)
}
