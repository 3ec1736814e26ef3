//! The node: every machine composed, and nothing else.
//!
//! ```text
//! node.handle(now, Input::Received { peer, frame, len }); what the world did
//! while let Some(output) = node.poll_output() { .. }      what the node wants done
//! let wake_at = node.poll_timeout();                      when it wants to be woken
//! ```
//!
//! Methods come in families: [`Node::handle`] takes in what the world did; `poll_*` give out what is
//! wanted; [`Node::write`], `converge_*` and `survey_*` are what the application asks; the rest reads. After
//! `handle`, poll outputs until there are none, then read the deadline. A write only marks what is due;
//! the driver follows it with [`Input::Wake`], so the writer pays for no frame.

mod bases;
mod breakers;
mod changes;
mod condition;
mod config;
mod converge;
mod crowd;
mod effort;
mod exchange;
mod expiry;
mod fill;
mod heal;
mod image;
mod io;
mod key;
mod lanes;
mod large;
mod meter;
mod overlay;
mod owner;
mod peer;
mod persist;
mod pressure;
mod reload;
mod replay;
mod retire;
mod round;
mod settle;
mod sketch;
mod space;
mod stable;
mod status;
mod survey;
mod traced;
mod visible;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

use crate::breaker::Failure;
use crate::class::Class;
use crate::error::{FrameError, WriteError};
use crate::id::{Dot, NamespaceId, NodeId, OwnerId, ReplicaId, StateId};
use crate::large::Inbound;
use crate::limits::Limits;
use crate::merkle::Fingerprint;
use crate::queue::Held;
use crate::session::Staging;
use crate::store::{Group, Store};
use crate::time::{Now, Span, Timestamp};
use crate::token::Token;
use crate::trace::TraceContext;

pub use breakers::BreakerStatus;
pub use changes::Changed;
pub use condition::Condition;
pub use config::{Config, Persistence};
pub use converge::ConvergeGoal;
pub use heal::Healed;
pub use image::Image;
pub use io::{Cause, DisconnectReason, Event, Input, Output, PersistStep, RepairedBy};
pub use lanes::{NAMESPACE_NAME_BYTES_MAX, NamespaceConfig, NamespaceError, NamespaceStatus};
pub use meter::{Latency, Meter, PeerLag, Traffic};
pub use persist::{ImageRows, StepRows};
pub use pressure::{Bound, Level, Pressure, Reading};
pub use replay::Salvaged;
pub use retire::{RETIRED_OWNERS_MAX, RetireError, Retired};
pub use stable::Members;
pub use status::{Convergence, PeerStatus, Stats};
pub use survey::{Prospect, SurveyGoal, Surveyed};
pub use visible::{Heard, Holders, VisibleGoal};

use breakers::Breakers;
use expiry::WallClock;
use fill::Touched;
use overlay::Overlay;
use peer::{Link, Peer};
use space::Space;
use stable::Cleaned;

/// The name of the namespace that every node opens.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A node of the engine, without the world around it. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Node {
    config: Config,
    replica: ReplicaId,
    owner: OwnerId,
    /// Every life of this node that its state is known to have had, this one among them. Grows by one a start, like
    /// the context.
    lives: BTreeSet<ReplicaId>,
    rng: Xoshiro256PlusPlus,
    spaces: BTreeMap<NamespaceId, Space>,
    peers: BTreeMap<NodeId, Peer>,
    breakers: Breakers,
    held: Held,
    outputs: VecDeque<Output>,
    /// Events among the outputs; at most [`Limits::events_max`].
    events: usize,
    events_lost: u64,
    /// The state as it is now is this step's.
    step: PersistStep,
    /// The last step that the driver was asked for.
    asked: PersistStep,
    /// The last step that is durable.
    persisted: PersistStep,
    /// A long frame on its way in.
    staging: Option<(NodeId, NamespaceId, Staging)>,
    /// A large answer on its way in, or what is left of one.
    inbound: Option<Inbound>,
    /// Counts answers out.
    answers: u64,
    /// Counts exchanges after which all that a peer then knew was known here.
    exchanges: u64,
    /// Counts surveys of this node.
    surveys: u64,
    /// Something may be due that no deadline announces: a write, for one.
    fill_due: bool,
    /// Sum of the log heads at the last look at all peers.
    filled: u64,
    /// Damage that is being healed.
    healing: Option<heal::Healing>,
    /// A healing that found nothing to do here is not begun again before.
    heal_at: Timestamp,
    /// When the next part of the stores is scrubbed.
    scrub_at: Timestamp,
    overlay: Overlay,
    crowd: crowd::Crowd,
    /// Whether the own wall clock can be trusted, and when something expires.
    wall_clock: WallClock,
    /// When stale counter floors and stable marks are looked for.
    cleanup_at: Timestamp,
    /// Of each namespace, how things stood at the last look.
    cleaned: BTreeMap<NamespaceId, Cleaned>,
    /// Who has to know of a mark before it is ended.
    members: Members,
    /// A peer that was met has been forgotten for lack of room: members are missing.
    forgotten: bool,
    /// Counter owners that count no more; at most [`RETIRED_OWNERS_MAX`].
    retired: BTreeSet<OwnerId>,
    /// How many of them are among the rows of the last step; none is ever taken back.
    retired_noted: usize,
    /// Counts changes of what makes a mark stable.
    stated: u64,
    /// Counts of peers that are no longer kept.
    stats_gone: Stats,
    /// The request because of which this node acts now; peers are told.
    trace: Option<TraceContext>,
    /// What a damaged disk gave, until it is written again.
    salvage: replay::Salvage,
    /// Only to be read: the disk was damaged, and nobody has accepted the loss.
    damaged: bool,
    /// Changes on their way to who watches.
    telling: changes::Telling,
    /// Of which bounds the events have told.
    levels: pressure::Levels,
    /// Counted for people.
    meter: Meter,
}

/// What a write minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub namespace: NamespaceId,
    /// The first dot; `None` if nothing needed minting (removing what is absent).
    pub first: Option<Dot>,
    /// The last dot of the group.
    pub last: Option<Dot>,
    /// Durable once [`Input::Persisted`] reaches it.
    pub step: PersistStep,
}

impl Written {
    /// What a client carries to another node to read its own write there. Empty if nothing needed minting: that
    /// something was absent already does not say that it is absent elsewhere.
    pub fn token(&self) -> Token {
        Token::of(self.namespace, self.last)
    }
}

impl Node {
    /// A node with an empty store in the namespace [`DEFAULT_NAMESPACE`].
    pub fn new(config: Config, now: Now) -> Self {
        let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
        let store = Store::new(namespace, config.limits.clone()).keyed(config.lookup_key());
        let hlc = crate::cell::Hlc::default();
        let space = Space::new(store, hlc);
        Self::with_spaces(config, now, BTreeMap::from([(namespace, space)]))
    }

    fn with_spaces(config: Config, now: Now, mut spaces: BTreeMap<NamespaceId, Space>) -> Self {
        let default = NamespaceId::named(DEFAULT_NAMESPACE);
        for (namespace, space) in &mut spaces {
            space.is_open = *namespace == default;
            if space.is_open {
                space.name = DEFAULT_NAMESPACE.into();
            }
        }
        let cleanup_interval = config.timing.cleanup_interval;
        let mut node = Self {
            replica: config.replica,
            owner: config.owner,
            lives: BTreeSet::from([config.replica]),
            rng: Xoshiro256PlusPlus::from_seed(config.seed),
            config,
            spaces,
            peers: BTreeMap::new(),
            breakers: Breakers::default(),
            held: Held::default(),
            outputs: VecDeque::new(),
            events: 0,
            events_lost: 0,
            step: PersistStep::default(),
            asked: PersistStep::default(),
            persisted: PersistStep::default(),
            staging: None,
            inbound: None,
            answers: 0,
            exchanges: 0,
            surveys: 0,
            fill_due: false,
            filled: 0,
            healing: None,
            heal_at: Timestamp::ZERO,
            scrub_at: now.mono,
            overlay: Overlay::default(),
            crowd: crowd::Crowd::default(),
            wall_clock: WallClock::started(now),
            cleanup_at: now.mono + cleanup_interval,
            cleaned: BTreeMap::new(),
            members: Members::default(),
            forgotten: false,
            stated: 0,
            stats_gone: Stats::default(),
            trace: None,
            salvage: replay::Salvage::default(),
            levels: pressure::Levels::default(),
            damaged: false,
            retired: BTreeSet::new(),
            retired_noted: 0,
            telling: changes::Telling::default(),
            meter: Meter::default(),
        };
        node.capture();
        node
    }

    // What the world did.

    /// Takes in what the world did. `now.mono` must not go back from one call to the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        let touched = match input {
            Input::Connected { peer } => {
                self.on_connected(now, peer);
                Touched::Peer(peer)
            }
            Input::Disconnected { peer } => {
                self.on_disconnected(now, peer);
                Touched::Nobody
            }
            Input::Received { peer, frame, len } => {
                self.on_frame(now, peer, frame, len);
                Touched::Peer(peer)
            }
            Input::Malformed { peer, error } => {
                self.on_malformed(now, peer, error);
                Touched::Peer(peer)
            }
            Input::Written { peer, class, frames, bytes } => {
                self.on_written(peer, class, frames, bytes);
                Touched::Peer(peer)
            }
            Input::Failed { peer, failure } => {
                self.on_failed(now, peer, failure);
                Touched::Peer(peer)
            }
            Input::Persisted { n } => {
                self.persisted = self.persisted.max(n.min(self.asked));
                Touched::Nobody
            }
            Input::Wake => Touched::Due,
            Input::SyncNow => {
                self.want_roots();
                Touched::Nobody
            }
        };
        self.cleanup(now);
        self.wake_breakers(now);
        self.wake_heal(now);
        self.wake_expiry(now);
        self.wake_settling(now);
        self.wake_replay(now);
        self.fill(now, touched);
        self.tell_pressure();
    }

    fn on_written(&mut self, peer: NodeId, class: Class, frames: usize, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.outboxes.of_mut(class).written(frames, bytes);
        }
    }

    // What the node wants done.

    /// The next thing to do; `None` when there is nothing until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            if let Output::Event(event) = &output {
                self.event_gone(event);
            }
            return Some(output);
        }
        if let Some(lost) = self.take_lost() {
            return Some(Output::Event(lost));
        }
        self.held.release(self.persisted)
    }

    /// When [`Input::Wake`] is wanted, at the latest; `None` if nothing is waiting for time.
    ///
    /// A time that has passed means at once: a write has made something due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.fill_due {
            return Some(Timestamp::ZERO);
        }
        let peers = self.peers.values().filter(|peer| peer.connected).filter_map(Peer::deadline).min();
        let cleanup = self.needs_cleanup().then_some(self.cleanup_at);
        let overlay = self.overlay.session_at;
        let breakers = self.breaker_deadline();
        let own =
            [self.heal_deadline(), self.expiry_deadline(), self.settling_deadline(), self.replay_deadline()];
        own.into_iter().chain([peers, cleanup, overlay, breakers, self.crowd.deadline()]).flatten().min()
    }

    // What the application asks.

    /// Makes a group of writes in `namespace`: all of it happens, or nothing.
    ///
    /// # Errors
    /// What `fill` returns, or a limit that it met; no state changed then.
    pub fn write<T>(
        &mut self,
        now: Now,
        namespace: NamespaceId,
        fill: impl FnOnce(&mut Group<'_>) -> Result<T, WriteError>,
    ) -> Result<(T, Written), WriteError> {
        self.try_write(now, namespace, fill)
    }

    /// [`Self::write`] for closures with errors of their own, such as a value that cannot be encoded.
    ///
    /// # Errors
    /// As [`Self::write`]; no state changed then.
    pub fn try_write<T, E: From<WriteError>>(
        &mut self,
        now: Now,
        namespace: NamespaceId,
        fill: impl FnOnce(&mut Group<'_>) -> Result<T, E>,
    ) -> Result<(T, Written), E> {
        if self.damaged {
            return Err(WriteError::Damaged.into());
        }
        let space = self.spaces.get_mut(&namespace).filter(|space| space.is_open);
        let space = space.ok_or(WriteError::NoNamespace { namespace })?;
        let next = space.store.context().get(self.replica) + 1;
        let hlc = space.hlc.tick(now.wall);
        let mut group = space.store.group(self.replica, self.owner, next, hlc).at_wall(now.wall);
        let value = match fill(&mut group) {
            Ok(value) => value,
            Err(error) => {
                group.roll_back();
                return Err(error);
            }
        };
        let minted = group.commit();
        if let Some((_, last)) = minted {
            space.hlc = hlc;
            self.step_on();
            self.fill_due = true;
            self.changed(namespace, Cause::Local, [(last.replica, last.seq)].into_iter());
        }
        let (first, last) = minted.unzip();
        Ok((value, Written { namespace, first, last, step: self.step }))
    }

    // Reading.

    /// This node.
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// This life. Changes when the node is fenced.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Who owns the counter contributions made here. Changes when the node is fenced, and when another life is seen
    /// to count under it.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The open namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceId> + '_ {
        self.spaces.iter().filter(|(_, space)| space.is_open).map(|(namespace, _)| *namespace)
    }

    /// The state of a namespace; `None` if it is not open here.
    pub fn store(&self, namespace: NamespaceId) -> Option<&Store> {
        self.open_space(namespace).map(|space| &space.store)
    }

    /// The state of a namespace that is kept, open or closed; `None` if there is none.
    pub fn kept_store(&self, namespace: NamespaceId) -> Option<&Store> {
        self.spaces.get(&namespace).map(|space| &space.store)
    }

    fn open_space(&self, namespace: NamespaceId) -> Option<&Space> {
        self.spaces.get(&namespace).filter(|space| space.is_open)
    }

    fn open_store(&mut self, namespace: NamespaceId) -> Option<&mut Store> {
        self.spaces.get_mut(&namespace).filter(|space| space.is_open).map(|space| &mut space.store)
    }

    /// The Merkle root of a namespace, settling its trie; `None` if it is not open here.
    pub fn root(&mut self, namespace: NamespaceId) -> Option<Fingerprint> {
        self.open_store(namespace).map(Store::root)
    }

    /// The state id of a namespace, settling its trie; `None` if it is not open here.
    pub fn state_id(&mut self, namespace: NamespaceId) -> Option<StateId> {
        self.open_store(namespace).map(Store::state_id)
    }

    /// Every peer kept, as seen in `namespace`, ascending by node.
    pub fn peers(&self, namespace: NamespaceId) -> Vec<PeerStatus> {
        let head = self.store(namespace).map_or(0, Store::log_head);
        let class = self.spaces.get(&namespace).map_or(Class::Normal, |space| space.class);
        let status = |(node, peer): (&NodeId, &Peer)| {
            let link = peer.links.get(&namespace);
            let acked = link.and_then(|link| link.cursor.acked());
            PeerStatus {
                node: *node,
                connected: peer.connected,
                incarnation: peer.incarnation,
                version: peer.incarnation.map(|_| peer.version),
                shared: link.is_some(),
                behind: link.is_some() && peer.is_pushed_to(class) && acked.is_none(),
                neighbour: peer.is_pushed_to(class),
                acked,
                head,
                roots_equal: link.and_then(|link| link.session.roots_equal),
                exchange: link.map_or(0, |link| link.session.exchange),
                queued_frames: peer.outboxes.frames(),
                queued_bytes: peer.outboxes.bytes(),
                arrival_lag_ms: peer.arrival_lag_ms,
                clock_ahead_ms: peer.clock_ahead_ms,
                stats: peer.stats,
            }
        };
        self.peers.iter().map(status).collect()
    }

    /// Counts over all peers since the start.
    pub fn stats(&self) -> Stats {
        let mut sum = self.stats_gone;
        self.peers.values().for_each(|peer| sum += peer.stats);
        sum
    }

    // Shared by the parts.

    fn step_on(&mut self) {
        self.step.0 += 1;
        if self.config.persistence == Persistence::Memory {
            (self.asked, self.persisted) = (self.step, self.step);
        }
    }

    fn event(&mut self, event: Event) {
        if self.events >= self.config.limits.events_max {
            let oldest = self.outputs.iter().position(|output| matches!(output, Output::Event(_)));
            let oldest = self.outputs.remove(oldest.expect("events are counted as they are queued"));
            if let Some(Output::Event(oldest)) = oldest {
                self.event_gone(&oldest);
            }
            self.events_lost += 1;
        }
        self.events += 1;
        self.outputs.push_back(Output::Event(event));
    }

    fn refuse(&mut self, now: Now, peer: NodeId, error: FrameError) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.stats.frames_refused += 1;
        }
        let failure = Failure::of(&error);
        self.event(Event::FrameRefused { peer, error });
        if let Some(failure) = failure {
            self.peer_failed(now, peer, failure);
        }
    }

    /// A span of `base` and up to a quarter more, so that nodes do not march in step.
    fn jittered(&mut self, base: Span) -> Span {
        let quarter = base.as_micros() / 4;
        Span::from_micros(base.as_micros() + self.rng.random_range(0..=quarter))
    }

    /// Takes new ids: somebody else lives under the old ones (DESIGN section 4, incarnations).
    fn fence(&mut self, peer: NodeId, claimed: u64, minted: u64) {
        let old = self.replica;
        let (mut replica, mut owner) = ([0; 16], [0; 16]);
        self.rng.fill_bytes(&mut replica);
        self.rng.fill_bytes(&mut owner);
        (self.replica, self.owner) = (ReplicaId(replica), OwnerId(owner));
        self.lives.insert(self.replica);
        for peer in self.peers.values_mut() {
            // The log goes on, but for peers it is another incarnation's: they hold no cursor of it.
            peer.links.clear();
            peer.hello_due = peer.connected.then_some(true);
        }
        (self.staging, self.inbound) = (None, None);
        self.capture();
        self.fill_due = true;
        self.step_on();
        let (new, owner) = (self.replica, self.owner);
        self.event(Event::Fenced { peer, old, new, owner, claimed, minted });
        let default = NamespaceId::named(DEFAULT_NAMESPACE);
        let open: Vec<NamespaceId> = self.namespaces().collect();
        for peer in self.peers.values_mut() {
            let shared = open.iter().filter(|id| **id == default || peer.namespaces.open.contains(*id));
            let links: Vec<_> = shared
                .map(|namespace| {
                    let mut link = Link::default();
                    link.session.want_root(true);
                    (*namespace, link)
                })
                .collect();
            peer.links.extend(links);
        }
    }
}
