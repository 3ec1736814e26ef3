//! One interleaving: nodes driven by hand, in an order that the seed decides.

use std::collections::BTreeSet;

use rand::RngExt;
use sync_core::dictionary::Version;
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{
    Cause, Changed, Config, DEFAULT_NAMESPACE, Event, Input, Node, Output, PersistStep, Persistence,
};
use sync_core::store::{PlaceChange, Store};
use sync_core::time::{Now, Span, Timestamp, WallMillis};
use sync_core::types::lww_map;

use super::Tally;
use crate::random::{Random, fork};

const KEYS: usize = 20;
const FIELDS: usize = 5;
const WRITES: usize = KEYS * FIELDS;

/// What happens between the first write and the heal.
const ACTIONS: usize = 160;

/// Rounds that healed nodes may take to agree.
const ROUNDS: usize = 400;

/// A frame on its way.
struct Flight {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

struct Stage {
    nodes: Vec<Node>,
    random: Random,
    /// Frames arrive in order, and are lost only with their link.
    ordered: bool,
    flights: Vec<Flight>,
    links: BTreeSet<(usize, usize)>,
    persists: Vec<Option<PersistStep>>,
    /// What each node showed last, and its log head then.
    shown: Vec<(u64, Option<u32>)>,
    now: Timestamp,
    namespace: NamespaceId,
    limits: Limits,
    groups: u32,
    /// Everything that was done.
    story: blake3::Hasher,
    tally: Tally,
}

/// Plays the interleaving of `seed`; what it came to, and a hash of everything that was done.
pub(super) fn play(seed: u64) -> Result<(Tally, u64), String> {
    let mut stage = Stage::new(seed);
    stage.link_all()?;
    if stage.random.random_bool(0.7) {
        // Cursors stand, so that the groups go by pushes.
        stage.settle(60)?;
    }
    let groups = stage.random.random_range(1..=3);
    let mut due: Vec<usize> = (0..groups).map(|_| stage.random.random_range(0..ACTIONS / 2)).collect();
    due[0] = 0;
    for action in 0..ACTIONS {
        for _ in due.iter().filter(|at| **at == action) {
            stage.write_group()?;
        }
        stage.act()?;
    }
    stage.link_all()?;
    stage.agree()?;
    let story: [u8; 8] = stage.story.finalize().as_bytes()[..8].try_into().expect("eight of 32 bytes");
    Ok((stage.tally, u64::from_le_bytes(story)))
}

fn key(at: usize) -> String {
    format!("group/{at}")
}

/// The number in all fields; `None` if there is none in any.
fn read(store: &Store) -> Result<Option<u32>, String> {
    let mut first: Option<Option<u32>> = None;
    for at in 0..KEYS {
        let key = key(at);
        for field in 0..FIELDS {
            let value = lww_map::get(store, &key, &[u8::try_from(field).unwrap_or(u8::MAX)]);
            let number = value.and_then(|bytes| bytes.get(..4)?.try_into().ok()).map(u32::from_le_bytes);
            let first = *first.get_or_insert(number);
            if first != number {
                return Err(format!("{key}/{field} shows group {number:?}, the first field {first:?}"));
            }
        }
    }
    Ok(first.flatten())
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut random = fork(seed, "groups");
        let count: usize = random.random_range(2..=4);
        let small = random.random_bool(0.35);
        let limits = Limits {
            message_bytes_max: if small { random.random_range(800..=2_500) } else { 1_000_000 },
            log_entries_max: if random.random_bool(0.3) { random.random_range(1..=4) } else { 65_536 },
            records_max: if random.random_bool(0.3) { random.random_range(0..=4) } else { 65_536 },
            outbox_frames_max: if random.random_bool(0.2) { random.random_range(1..=3) } else { 1_000 },
            full_mesh_peers_max: if random.random_bool(0.2) { 1 } else { 8 },
            ..Limits::default()
        };
        let now = Timestamp::ZERO;
        let nodes: Vec<Node> = (0..count)
            .map(|at| {
                let id = u8::try_from(at + 1).expect("there are four nodes at most");
                let mut config =
                    Config::new(NodeId([id; 32]), ReplicaId([id; 16]), OwnerId([id; 16]), random.random());
                config.limits = limits.clone();
                config.changes = true;
                if random.random_bool(0.3) {
                    config.persistence = Persistence::Driver;
                }
                if random.random_bool(0.15) {
                    config.versions.max = Version::WHOLE;
                }
                Node::new(config, Self::clock(now))
            })
            .collect();
        Self {
            ordered: random.random_bool(0.5),
            shown: vec![(0, None); count],
            persists: vec![None; count],
            nodes,
            random,
            flights: Vec::new(),
            links: BTreeSet::new(),
            now,
            namespace: NamespaceId::named(DEFAULT_NAMESPACE),
            limits,
            groups: 0,
            story: blake3::Hasher::new(),
            tally: Tally::default(),
        }
    }

    fn clock(now: Timestamp) -> Now {
        Now::at(now, WallMillis(1_700_000_000_000 + now.as_micros() / 1_000))
    }

    /// Something happens to a node; then somebody reads there.
    fn handle(&mut self, at: usize, input: Input) -> Result<(), String> {
        self.story.update(&[u8::try_from(at).unwrap_or(u8::MAX)]);
        self.nodes[at].handle(Self::clock(self.now), input);
        let mut large = false;
        while let Some(output) = self.nodes[at].poll_output() {
            match output {
                Output::Send { to, class, bytes } => {
                    let to = usize::from(to.0[0]) - 1;
                    self.story.update(&bytes);
                    let len = bytes.len();
                    if self.links.contains(&(at.min(to), at.max(to))) {
                        self.flights.push(Flight { from: at, to, bytes });
                    }
                    let peer = self.nodes[to].id();
                    self.nodes[at]
                        .handle(Self::clock(self.now), Input::Written { peer, class, frames: 1, bytes: len });
                }
                Output::Persist { n } => self.persists[at] = Some(n),
                Output::Disconnect { .. } => return Err(format!("node {at} breaks a link by itself")),
                Output::Dial { peer } => {
                    return Err(format!("node {at} probes {peer:?}, which is no member"));
                }
                Output::Event(event) => self.on_event(at, &event, &mut large)?,
            }
        }
        self.look(at)
    }

    fn on_event(&mut self, at: usize, event: &Event, large: &mut bool) -> Result<(), String> {
        if let Event::Changed(Changed { cause, changes, .. }) = event {
            let is_of_group = |change: &&PlaceChange| change.place.object.key.as_str().starts_with("group/");
            let told = changes.iter().filter(is_of_group).count();
            if told != 0 && told != WRITES {
                return Err(format!("a watcher at node {at} is told of {told} of {WRITES} fields at once"));
            }
            self.tally.batches += u64::from(told > 0 && *cause != Cause::Local);
        }
        *large |= matches!(event, Event::Bootstrap { .. });
        if matches!(event, Event::SessionDone { .. }) {
            self.tally.sessions += 1;
            self.tally.large += u64::from(std::mem::take(large));
        }
        Ok(())
    }

    fn store(&self, at: usize) -> &Store {
        self.nodes[at].store(self.namespace).expect("the default namespace is always open")
    }

    /// A reader at the node, if anything has changed since the last one.
    fn look(&mut self, at: usize) -> Result<(), String> {
        let head = self.store(at).log_head();
        if head == self.shown[at].0 {
            return Ok(());
        }
        let seen = read(self.store(at)).map_err(|what| format!("node {at}: {what}"))?;
        if seen.is_none() && self.shown[at].1.is_some() {
            return Err(format!("node {at} shows nothing where it had shown group {:?}", self.shown[at].1));
        }
        self.shown[at] = (head, seen);
        self.tally.looks += 1;
        self.tally.empty += u64::from(seen.is_none());
        self.tally.whole += u64::from(seen.is_some());
        Ok(())
    }

    fn link_all(&mut self) -> Result<(), String> {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                self.link(a, b)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, a: usize, b: usize) -> Result<(), String> {
        if self.links.insert((a, b)) {
            let (of_a, of_b) = (self.nodes[a].id(), self.nodes[b].id());
            self.handle(a, Input::Connected { peer: of_b })?;
            self.handle(b, Input::Connected { peer: of_a })?;
        }
        Ok(())
    }

    fn cut(&mut self, a: usize, b: usize) -> Result<(), String> {
        if self.links.remove(&(a, b)) {
            self.flights.retain(|flight| (flight.from.min(flight.to), flight.from.max(flight.to)) != (a, b));
            let (of_a, of_b) = (self.nodes[a].id(), self.nodes[b].id());
            self.handle(a, Input::Disconnected { peer: of_b })?;
            self.handle(b, Input::Disconnected { peer: of_a })?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), String> {
        let at = self.random.random_range(0..self.nodes.len());
        self.groups += 1;
        let number = self.groups.to_le_bytes();
        self.tally.groups += 1;
        self.tally.concurrent +=
            u64::from(self.groups > 1 && self.shown[at].1.is_none_or(|shown| shown + 1 < self.groups));
        let now = Self::clock(self.now);
        let written = self.nodes[at].write(now, self.namespace, |group| {
            for place in 0..WRITES {
                let field = [u8::try_from(place % FIELDS).unwrap_or(u8::MAX)];
                lww_map::put(group, &key(place / FIELDS), &field, &number)?;
            }
            Ok(())
        });
        written.map_err(|error| format!("node {at} refuses a group: {error}"))?;
        self.handle(at, Input::Wake)
    }

    fn write_alone(&mut self, at: usize) -> Result<(), String> {
        let (now, number) = (Self::clock(self.now), self.random.random::<u8>() % 4);
        let written =
            self.nodes[at].write(now, self.namespace, |group| lww_map::put(group, "alone", &[number], b"x"));
        written.map_err(|error| format!("node {at} refuses a write: {error}"))?;
        self.handle(at, Input::Wake)
    }

    fn act(&mut self) -> Result<(), String> {
        self.now = self.now + Span::from_micros(self.random.random_range(0..2_000));
        let at = self.random.random_range(0..self.nodes.len());
        let other = (at + self.random.random_range(1..self.nodes.len())) % self.nodes.len();
        let (a, b) = (at.min(other), at.max(other));
        match self.random.random_range(0..100) {
            0..60 => self.deliver_one(false),
            60..66 if !self.ordered => self.deliver_one(true),
            66..72 if !self.ordered => {
                self.lose_one();
                Ok(())
            }
            72..76 => self.cut(a, b),
            76..84 => self.link(a, b),
            84..90 => self.persist(at),
            90..94 => self.write_alone(at),
            _ => self.wake(),
        }
    }

    fn pick(&mut self) -> Option<usize> {
        if self.flights.is_empty() {
            return None;
        }
        let picked = self.random.random_range(0..self.flights.len());
        let ends = |flight: &Flight| (flight.from, flight.to);
        let of = ends(&self.flights[picked]);
        // In order: the first that is under way between the same two.
        if self.ordered { self.flights.iter().position(|flight| ends(flight) == of) } else { Some(picked) }
    }

    fn lose_one(&mut self) {
        if let Some(picked) = self.pick() {
            self.flights.remove(picked);
        }
    }

    fn deliver_one(&mut self, again: bool) -> Result<(), String> {
        let Some(picked) = self.pick() else { return self.wake() };
        let flight = self.flights.remove(picked);
        let (from, to) = (flight.from, flight.to);
        self.story.update(&[u8::try_from(from).unwrap_or(u8::MAX)]);
        self.deliver(&flight)?;
        if again && self.links.contains(&(from.min(to), from.max(to))) {
            self.flights.push(flight);
        }
        Ok(())
    }

    fn deliver(&mut self, flight: &Flight) -> Result<(), String> {
        let peer = self.nodes[flight.from].id();
        let dictionary = self.nodes[flight.to].reads(peer);
        let len = flight.bytes.len();
        let input = match Frame::decode(&flight.bytes, &dictionary, &self.limits) {
            Ok(frame) => Input::Received { peer, frame, len },
            Err(error) => Input::Malformed { peer, error },
        };
        self.handle(flight.to, input)
    }

    fn persist(&mut self, at: usize) -> Result<(), String> {
        let Some(n) = self.persists[at].take() else { return Ok(()) };
        self.handle(at, Input::Persisted { n })
    }

    /// Time goes on to the next deadline of any node, and all are woken that have one then.
    fn wake(&mut self) -> Result<(), String> {
        let Some(next) = self.nodes.iter().filter_map(Node::poll_timeout).min() else { return Ok(()) };
        self.now = self.now.max(next);
        for at in 0..self.nodes.len() {
            if self.nodes[at].poll_timeout().is_some_and(|due| due <= self.now) {
                self.handle(at, Input::Wake)?;
            }
        }
        Ok(())
    }

    /// Everything arrives, is made durable and woken, so many times.
    fn settle(&mut self, rounds: usize) -> Result<(), String> {
        for _ in 0..rounds {
            while !self.flights.is_empty() {
                let flight = self.flights.remove(0);
                self.deliver(&flight)?;
            }
            (0..self.nodes.len()).try_for_each(|at| self.persist(at))?;
            if self.flights.is_empty() {
                self.wake()?;
            }
        }
        Ok(())
    }

    fn agree(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            self.settle(1)?;
            let namespace = self.namespace;
            let states: BTreeSet<_> = self.nodes.iter_mut().map(|node| node.state_id(namespace)).collect();
            if states.len() == 1 && self.shown.iter().all(|(_, shown)| shown.is_some()) {
                return Ok(());
            }
        }
        Err(format!("not one state {ROUNDS} rounds after the heal; the nodes show {:?}", self.shown))
    }
}
