//! Which peers are linked, which of two links to one peer stays, and who is let in at all.
//!
//! In flow connections whose TLS handshake is done, out flow [`Registered`] links or a [`Refusal`]. Two
//! nodes that dial each other at the same moment must keep the same one of the two links, so **the node
//! with the lower id decides**: it closes its own dial if a link from the other is registered already, and
//! refuses the other's dial while its own is under way. The higher one follows. A link of the same
//! direction, or of another life of the peer, replaces the older link: the peer knows that that one is
//! dead before we do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use quinn::Connection;
use rustls_pki_types::CertificateDer;
use sync_core::class::Class;
use sync_core::id::NodeId;
use tokio::sync::{Notify, Semaphore, watch};

use super::budget::{self, Budget, Budgets};
use super::endpoint::Tls;
use super::gates::DialId;
use super::outbox::Outbox;
use super::refusal::{Close, Refusal, RefusalLimit};
use super::status::Dial;
use super::streams::{Layout, PerClass};
use super::trust::Trust;
use super::{Gate, LinkBounds, LinkId, Queues, TransportConfig};

/// One life of a transport: 16 random bytes, told in the preface of each connection.
pub(super) type Life = [u8; 16];

/// A connection whose peer has proved who it is.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) connection: Connection,
    pub(super) peer: NodeId,
    pub(super) name: String,
    pub(super) leaf: Box<CertificateDer<'static>>,
    pub(super) not_after: SystemTime,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) proven: Proven,
    pub(super) addr: SocketAddr,
    pub(super) outbox: PerClass<Outbox>,
    /// What this peer may still make us do.
    pub(super) budget: Arc<Mutex<Budget>>,
    /// Free bytes for frames that this peer sends, see [`TransportConfig::inbox_bytes_max`].
    pub(super) inbox: PerClass<Arc<Semaphore>>,
    /// Set once, when this node decides to close the link.
    pub(super) cut: watch::Sender<Option<Refusal>>,
    dialled_here: bool,
    life: Life,
}

impl Link {
    /// Frames of all classes that wait or are being written.
    pub(super) fn frames_used(&self) -> usize {
        Class::ALL.into_iter().map(|class| self.outbox.of(class).frames_used()).sum()
    }

    /// Closes the link; the first reason given is the one that both sides log.
    pub(super) fn cut(&self, refusal: Refusal) {
        let first = self.cut.send_if_modified(|cut| {
            let first = cut.is_none();
            if first {
                *cut = Some(refusal.clone());
            }
            first
        });
        if first {
            refusal.tell(&self.proven.connection);
        }
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) current: Option<Arc<Link>>,
    /// A dial of ours has come as far as knowing that it is this peer.
    dialling: bool,
    /// Links that are registered and have not been forgotten: `current` and those it replaced.
    links: usize,
    /// Inbound connections whose handshake is done and which are not admitted yet.
    greeting: usize,
    /// Held by the link whose events are in flow, from `Up` to `Down`.
    turn: Arc<Semaphore>,
}

impl Peer {
    fn new() -> Self {
        Self { current: None, dialling: false, links: 0, greeting: 0, turn: Arc::new(Semaphore::new(1)) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    /// Bounded by the admission of `peers_max`, and a few whose last link is ending.
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// In the order in which they were configured or added; at most `peers_max` are added.
    pub(super) dials: BTreeMap<DialId, Dial>,
    pub(super) dials_made: u64,
    /// Who was found at addresses that were taken off the list; at most `peers_max`, the first in order goes.
    pub(super) formerly: BTreeMap<String, NodeId>,
    pub(super) blocked: BTreeSet<NodeId>,
    /// At most as many as the core keeps breakers.
    pub(super) gates: BTreeMap<NodeId, Gate>,
    /// Held peers that may be dialled once.
    pub(super) permits: BTreeSet<NodeId>,
    links_made: u64,
    pub(super) refusals: RefusalLimit,
    pub(super) bounds: LinkBounds,
    budgets: Budgets,
}

/// What all tasks of a transport share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: TransportConfig,
    pub(super) trust: Trust,
    pub(super) own: NodeId,
    pub(super) life: Life,
    pub(super) events: Queues,
    /// Counts changes of the table that a waiting dial may care for.
    pub(super) changed: watch::Sender<u64>,
    table: Mutex<Table>,
}

impl Shared {
    pub(super) fn new(config: TransportConfig, tls: Tls, life: Life, events: Queues) -> Self {
        let mut table = Table { bounds: config.bounds, ..Table::default() };
        for to in &config.peers {
            table.add_dial(to.clone());
        }
        Self {
            trust: Trust::new(config.identity.clone(), tls),
            own: config.identity.node_id(),
            life,
            events,
            changed: watch::Sender::new(0),
            table: Mutex::new(table),
            config,
        }
    }

    /// Reserves the right to dial `peer`, which has just proved who it is; dropped when the dial is over.
    pub(super) fn claim(self: &Arc<Self>, peer: NodeId) -> Result<Claim, Refusal> {
        let mut table = self.lock();
        self.check(&table, peer)?;
        let entry = table.peers.entry(peer).or_insert_with(Peer::new);
        if entry.current.is_some() || entry.dialling {
            return Err(Refusal::new(Close::Duplicate, "another link between the two nodes stays"));
        }
        entry.dialling = true;
        Ok(Claim { shared: Arc::clone(self), peer })
    }

    /// Counts an inbound connection of `peer` until it is admitted or given up; refuses one too many.
    pub(super) fn greets(self: &Arc<Self>, peer: NodeId) -> Result<Greeting, Refusal> {
        let mut table = self.lock();
        let entry = table.peers.entry(peer).or_insert_with(Peer::new);
        if usize::from(entry.current.is_some()) + entry.greeting >= CONNECTIONS_PER_PEER_MAX {
            let reason =
                format!("a node may have {CONNECTIONS_PER_PEER_MAX} connections, one of them a link");
            return Err(Refusal::new(Close::TooMany, reason));
        }
        entry.greeting += 1;
        Ok(Greeting { shared: Arc::clone(self), peer })
    }

    /// Registers a connection as the link to its peer, or says why not. `dialled_here`: the caller holds
    /// the [`Claim`].
    pub(super) fn admit(
        self: &Arc<Self>,
        proven: Proven,
        life: Life,
        dialled_here: bool,
    ) -> Result<Registered, (Proven, Refusal)> {
        let mut table = self.lock();
        let peer = proven.peer;
        // The trust may have changed since the handshake. Looked at under the lock: who changes it looks at the links
        // in the table afterwards.
        let untrusted = self.trust.refuses(&proven.leaf);
        if let Some(refusal) = untrusted.or_else(|| self.check(&table, peer).err()) {
            return Err((proven, refusal));
        }
        let now = Instant::now();
        let most = table.bounds.peers_max.saturating_mul(2).max(1);
        let budget = table.budgets.of(peer, now, most);
        let ending = table.peers.get(&peer).map_or(0, |entry| entry.links);
        // What we dial is not the peer's doing.
        if !dialled_here && (ending >= LINKS_PER_PEER_MAX || !budget::lock(&budget).links(now)) {
            let reason = "the node that is refused makes links too often; it may try again later";
            return Err((proven, Refusal::new(Close::TooMany, reason)));
        }
        let we_decide = self.own < peer;
        let entry = table.peers.entry(peer).or_insert_with(Peer::new);
        let ours_stays = match &entry.current {
            Some(old) if old.life == life && old.dialled_here != dialled_here => {
                we_decide == old.dialled_here
            }
            Some(_) => false,
            None => !dialled_here && entry.dialling && we_decide,
        };
        if ours_stays {
            let refusal = Refusal::new(Close::Duplicate, "another link between the two nodes stays");
            return Err((proven, refusal));
        }
        if let Some(old) = entry.current.take() {
            let same = old.life == life;
            old.cut(if same {
                Refusal::new(Close::Duplicate, "a newer link between the two nodes takes its place")
            } else {
                // Said to a process that may be alive: then two run with one key.
                Refusal::new(
                    Close::Replaced,
                    "a newer process with the same certificate has taken the link over",
                )
            });
        }
        let turn = Arc::clone(&entry.turn);
        entry.links += 1;
        table.links_made += 1;
        let mut addr = proven.connection.remote_address();
        addr.set_ip(addr.ip().to_canonical());
        let link = Arc::new(Link {
            id: LinkId(table.links_made),
            addr,
            outbox: outboxes(Layout::of(&proven.connection), table.bounds),
            inbox: PerClass::new(|class| Arc::new(Semaphore::new(self.inbox_bytes(class)))),
            proven,
            budget,
            cut: watch::Sender::new(None),
            dialled_here,
            life,
        });
        if let Some(entry) = table.peers.get_mut(&peer) {
            entry.current = Some(Arc::clone(&link));
        }
        drop(table);
        self.wake_dials();
        Ok(Registered { shared: Arc::clone(self), link, turn })
    }

    /// Room for frames of one peer and class: half of it for normal ones, a quarter for each of the others, and never
    /// less than for the longest one, or it could not be read.
    fn inbox_bytes(&self, class: Class) -> usize {
        let share = match class {
            Class::Normal => self.config.inbox_bytes_max / 2,
            Class::Urgent | Class::Bulk => self.config.inbox_bytes_max / 4,
        };
        share.max(self.config.message_bytes_max).min(Semaphore::MAX_PERMITS)
    }

    /// The rules that hold for every link, whoever dialled.
    fn check(&self, table: &Table, peer: NodeId) -> Result<(), Refusal> {
        if peer == self.own {
            let reason = "both ends have one node id: the address is the node's own, or its key was copied";
            return Err(Refusal::new(Close::OwnNode, reason));
        }
        if table.blocked.contains(&peer) {
            return Err(Refusal::new(
                Close::Blocked,
                "the two nodes are cut off from each other by an operator",
            ));
        }
        if matches!(table.gates.get(&peer), Some(Gate::Shut | Gate::Removed)) {
            let reason =
                "the node that refuses has shut the other out for a while, or taken it off its list of peers";
            return Err(Refusal::new(Close::Shut, reason));
        }
        let in_use = |entry: &Peer| entry.current.is_some() || entry.dialling;
        let others = table.peers.iter().filter(|(id, entry)| **id != peer && in_use(entry)).count();
        let max = table.bounds.peers_max;
        if others >= max {
            let reason =
                format!("PeersFull: a node has {max} peers, its limit; remove one or raise peers_max");
            return Err(Refusal::new(Close::PeersFull, reason));
        }
        Ok(())
    }

    /// Queues a frame of `class` on the link `link` of `peer`.
    pub(super) fn send(&self, peer: &NodeId, link: LinkId, class: Class, frame: Vec<u8>) -> bool {
        if frame.is_empty() || frame.len() > self.config.message_bytes_max {
            return false;
        }
        match self.current(peer) {
            Some(current) if current.id == link && current.cut.borrow().is_none() => {
                current.outbox.of(class).push(frame)
            }
            Some(_) | None => false,
        }
    }

    /// Other bounds from now on, for links that are up too.
    pub(super) fn set_bounds(&self, bounds: LinkBounds) {
        let mut table = self.lock();
        table.bounds = bounds;
        for link in table.peers.values().filter_map(|entry| entry.current.as_ref()) {
            for class in Class::ALL {
                link.outbox.of(class).set_max(bounds.outbox_frames_max, bounds.outbox_bytes_max);
            }
        }
        drop(table);
        self.wake_dials();
    }

    /// The link to `peer`.
    pub(super) fn current(&self, peer: &NodeId) -> Option<Arc<Link>> {
        self.lock().peers.get(peer)?.current.clone()
    }

    /// Replaces the set of blocked peers and closes links to them.
    pub(super) fn set_blocked(&self, blocked: BTreeSet<NodeId>) {
        let mut table = self.lock();
        table.blocked = blocked;
        let cut: Vec<_> = table
            .peers
            .iter()
            .filter(|(peer, _)| table.blocked.contains(peer))
            .filter_map(|(_, entry)| entry.current.clone())
            .collect();
        drop(table);
        for link in cut {
            link.cut(Refusal::new(
                Close::Blocked,
                "the two nodes are cut off from each other by an operator",
            ));
        }
        self.wake_dials();
    }

    pub(super) fn wake_dials(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        // Each update leaves the table whole; a panic between two of them spoils no invariant.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that one identity may have, the link among them. One more is refused.
const CONNECTIONS_PER_PEER_MAX: usize = 2;

/// Links of one identity that may be ending, each in the place of the one before, while another is admitted.
const LINKS_PER_PEER_MAX: usize = 4;

/// An inbound connection on its way to be a link.
#[derive(Debug)]
pub(super) struct Greeting {
    shared: Arc<Shared>,
    peer: NodeId,
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut table = self.shared.lock();
        if let Some(entry) = table.peers.get_mut(&self.peer) {
            entry.greeting -= 1;
            if entry.links == 0 && entry.greeting == 0 && !entry.dialling {
                table.peers.remove(&self.peer);
            }
        }
    }
}

/// The right to dial one peer.
#[derive(Debug)]
pub(super) struct Claim {
    shared: Arc<Shared>,
    peer: NodeId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.shared.lock();
        if let Some(entry) = table.peers.get_mut(&self.peer) {
            entry.dialling = false;
            if entry.links == 0 && entry.greeting == 0 {
                table.peers.remove(&self.peer);
            }
        }
        drop(table);
        self.shared.wake_dials();
    }
}

/// A link in the table. Dropping it takes it out.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) turn: Arc<Semaphore>,
}

impl Registered {
    /// Ends the link for senders, dials and the count of peers. Its turn goes on until it is dropped.
    pub(super) fn retire(&self, reason: &str) {
        let peer = self.link.proven.peer;
        let mut table = self.shared.lock();
        if let Some(entry) = table.peers.get_mut(&peer)
            && entry.current.as_ref().is_some_and(|current| current.id == self.link.id)
        {
            entry.current = None;
            for dial in table.dials.values_mut().filter(|dial| dial.id() == Some(peer)) {
                dial.failure = Some(reason.to_owned());
            }
        }
        drop(table);
        self.shared.wake_dials();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.retire("the link's task ended");
        let mut table = self.shared.lock();
        if let Some(entry) = table.peers.get_mut(&self.link.proven.peer) {
            entry.links -= 1;
            if entry.links == 0 && entry.greeting == 0 && !entry.dialling {
                table.peers.remove(&self.link.proven.peer);
            }
        }
    }
}

/// Outboxes of a link; those of one stream share the notice that there is something to write.
fn outboxes(layout: Layout, bounds: LinkBounds) -> PerClass<Outbox> {
    let shared = Arc::new(Notify::new());
    PerClass::new(|_| {
        let more = match layout {
            Layout::Single => Arc::clone(&shared),
            Layout::Classes => Arc::default(),
        };
        Outbox::new(bounds.outbox_frames_max, bounds.outbox_bytes_max, more)
    })
}
