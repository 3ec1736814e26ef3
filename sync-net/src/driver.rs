//! The one task that moves a node: what the transport reports goes into the core, what the core wants
//! done is done, and its deadline is kept.
//!
//! Each turn of the loop waits for one reason to act, then takes in a bounded number of transport
//! events, wakes the core if its deadline has come, and acts on a bounded number of outputs. So no
//! source can starve another: writers, peers and timers all get their part of each turn. The most urgent event
//! comes first, what it brings goes out before a less urgent one is looked at, and of bulk frames a turn takes a few:
//! an urgent frame waits for one join at most. The core is locked for one step at a time; frames are decoded, and
//! sent, outside of the lock.

mod gates;
mod sessions;
mod storing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_core::breaker::{Failure, Shift};
use sync_core::class::Class;
use sync_core::id::{NamespaceId, NodeId};
use sync_core::message::Frame;
use sync_core::node::{Bound, ConvergeGoal, Convergence, Event, Healed, Input, Level, Members, Output};
use tokio::sync::mpsc;

use self::sessions::Sessions;
use self::storing::Storing;
use crate::converge::{self, AskAgain};
use crate::events::wall_ms;
use crate::node::{Phase, Shared};
use crate::storage::{Report, Writer};
use crate::transport::{Inbox, LinkId, Transport, TransportEvent, budget};
use crate::visible;
use crate::watchdog::{BEAT, Watchdog};

/// Transport events taken in one turn, at most.
const EVENTS_PER_TURN: usize = 64;

/// Bulk frames taken in one turn, at most: a write of the application waits for as many joins at most.
const BULK_PER_TURN: usize = 4;

/// Outputs acted on in one turn, at most.
const OUTPUTS_PER_TURN: usize = 256;

/// Outputs taken under one lock, at most: a writer and the driver do not meet at the lock for each of them, and
/// none waits for long.
const OUTPUTS_PER_LOCK: usize = 32;

/// The shortest wait for a deadline; what is due at once comes with a notification. Whatever deadline the
/// core names, the loop does not spin.
const TICK: Duration = Duration::from_millis(1);

/// How long a shutdown tries to hand over what connected peers lack.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Most lines a second of one kind that a peer can cause: it must not fill the log.
const LINES_PER_SECOND: u32 = 10;

/// Starts the driver, and a supervisor that closes the links if the driver breaks.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    inbox: Inbox,
    watchdog: Watchdog,
    storage: Option<(Writer, mpsc::Receiver<Report>)>,
) {
    let transport = shared.transport().expect("a node starts with its links");
    tell_members(&shared, &transport);
    let driver = Driver {
        links: BTreeMap::new(),
        refusals: LogGate::default(),
        alarms: LogGate::default(),
        breakers: LogGate::default(),
        sessions: Sessions::default(),
        gates: 0,
        hand_over: None,
        taken: Vec::with_capacity(OUTPUTS_PER_LOCK),
        storing: storage.map(|(writer, reports)| Storing::new(writer, reports)),
        shared: shared.clone(),
        transport: transport.clone(),
        inbox,
        watchdog,
    };
    let end = End(shared.clone());
    tokio::spawn(async move {
        if let Err(error) = tokio::spawn(driver.run()).await {
            tracing::error!(node = shared.name, %error, "the node broke and closes its links: restart the process");
            shared.enter(Phase::Closing);
            transport.shutdown().await;
        }
        drop(transport);
        drop(end);
    });
}

/// Tells the core who is configured: peers that have not been met yet are members all the same.
pub(crate) fn tell_members(shared: &Shared, transport: &Transport) {
    let (named, unnamed): (Vec<_>, Vec<_>) = transport
        .links()
        .into_iter()
        .filter(|link| link.configured || link.removed)
        .partition(|link| link.id.is_some());
    let nodes = named.into_iter().filter_map(|link| link.id).collect();
    shared.core().set_members(Members { nodes, unnamed: unnamed.len() });
}

/// The end of a node, also when its runtime is dropped under it: nobody must wait for ever.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.forget_transport();
        self.0.watchers.close();
        self.0.events.close();
        if let Some(storage) = &self.0.storage {
            storage.reached.send_modify(|reached| reached.closed = true);
        }
        self.0.enter(Phase::Stopped);
    }
}

struct Driver {
    shared: Arc<Shared>,
    transport: Arc<Transport>,
    inbox: Inbox,
    watchdog: Watchdog,
    /// The link of each connected peer that the core knows of; at most `peers_max`.
    links: BTreeMap<NodeId, LinkId>,
    refusals: LogGate,
    /// Apart from refusals, so that these cannot hide one.
    alarms: LogGate,
    breakers: LogGate,
    sessions: Sessions,
    /// How far the transport knows of the steps of breakers.
    gates: u64,
    hand_over: Option<HandOver>,
    /// Outputs taken and not yet acted on; empty between turns.
    taken: Vec<Output>,
    /// Steps on their way to the disk, where there is one.
    storing: Option<Storing>,
}

/// A shutdown that waits for peers to hold what we hold.
struct HandOver {
    until: Instant,
    /// One for each open namespace.
    goals: Vec<(NamespaceId, ConvergeGoal)>,
    again: AskAgain,
}

impl Driver {
    async fn run(mut self) {
        let mut phase = self.shared.phase.subscribe();
        loop {
            let due = self.due();
            let event = tokio::select! {
                biased;
                _ = phase.changed() => None,
                Some(report) = storing::report(&mut self.storing) => {
                    self.on_report(report);
                    None
                }
                Some(event) = self.inbox.recv() => Some(event),
                () = self.shared.work.notified() => None,
                () = tokio::time::sleep(due) => None,
            };
            self.watchdog.turned();
            let now = *phase.borrow_and_update();
            let goes_on = match now {
                Phase::Running => true,
                Phase::HandingOver => !self.handed_over(),
                Phase::Closing | Phase::Stopped => false,
            };
            if !goes_on {
                break;
            }
            self.turn(event);
        }
        self.close().await;
    }

    /// How long the loop may wait.
    fn due(&self) -> Duration {
        let deadline = self.shared.core().poll_timeout();
        let core = deadline.map_or(BEAT, |at| self.shared.clock.until(at));
        let hand_over = self.hand_over.as_ref().map_or(BEAT, |begun| begun.again.pause(Instant::now()));
        core.min(hand_over).min(self.step_due().unwrap_or(BEAT)).clamp(TICK, BEAT)
    }

    fn turn(&mut self, first: Option<TransportEvent>) {
        let (mut taken, mut bulk) = (0, 0);
        let mut next = first;
        while let Some(event) = next {
            let class = event.class();
            self.on_transport(event);
            taken += 1;
            bulk += usize::from(class == Class::Bulk);
            let goes_on = taken < EVENTS_PER_TURN && bulk < BULK_PER_TURN;
            next = if goes_on { self.inbox.try_recv() } else { None };
            let is_less_urgent = next.as_ref().is_some_and(|next| next.class() > class);
            if class == Class::Urgent && is_less_urgent {
                self.wake_if_due();
                self.drain();
            }
        }
        self.wake_if_due();
        let drained = self.drain();
        self.store_if_due();
        if !drained {
            self.shared.work.notify_one();
        }
        if taken > 0 || !drained {
            self.shared.progress.notify_waiters();
        }
    }

    fn wake_if_due(&self) {
        let mut core = self.shared.core();
        let now = self.shared.clock.now();
        if core.poll_timeout().is_some_and(|at| at <= now.mono) {
            core.handle(now, Input::Wake);
        }
    }

    /// Acts on what the core wants done; false if there is more than one turn may do.
    fn drain(&mut self) -> bool {
        for _ in 0..OUTPUTS_PER_TURN / OUTPUTS_PER_LOCK {
            let mut taken = std::mem::take(&mut self.taken);
            let gates = {
                let mut core = self.shared.core();
                taken.extend(std::iter::from_fn(|| core.poll_output()).take(OUTPUTS_PER_LOCK));
                gates::news(&core, &mut self.gates)
            };
            if let Some(gates) = gates {
                self.transport.set_gates(gates);
                self.shared.waits.wake_all();
            }
            let drained = taken.len() < OUTPUTS_PER_LOCK;
            taken.drain(..).for_each(|output| self.act(output));
            self.taken = taken;
            if drained {
                return true;
            }
        }
        false
    }

    fn handle(&self, input: Input) {
        let mut core = self.shared.core();
        // Read under the lock: readings must not go back from one input to the next.
        core.handle(self.shared.clock.now(), input);
    }

    /// Takes in a frame of `len` bytes that takes `memory`, and wakes who has waited for just that.
    fn received(&self, peer: NodeId, frame: Frame, len: usize, memory: usize) {
        let Shared { waits, id, clock, .. } = &*self.shared;
        let namespace = frame.route().map(|route| route.namespace);
        let mut core = self.shared.core();
        self.transport.weighed(&peer, budget::excess(len, memory, core.awaits(peer, &frame)));
        core.handle(clock.now(), Input::Received { peer, frame, len });
        // A greeting says who is there, and with what open.
        let Some(namespace) = namespace else { return waits.wake_all() };
        for node in [peer, *id] {
            waits.heard(namespace, node, |column| visible::level(&core, *id, namespace, node, column));
        }
    }

    fn on_transport(&mut self, event: TransportEvent) {
        let node = self.shared.name.as_str();
        self.shared.events.transport(&event);
        let counts = !matches!(event, TransportEvent::Frame { .. } | TransportEvent::Written { .. });
        match event {
            TransportEvent::Up { peer, link, addr, name } => {
                tracing::info!(node, ?peer, name, %addr, "link up");
                self.links.insert(peer, link);
                self.handle(Input::Connected { peer });
                tell_members(&self.shared, &self.transport);
            }
            TransportEvent::Frame { peer, bytes, .. } => {
                let dictionary = self.shared.core().reads(peer);
                match Frame::decode_weighed(&bytes, &dictionary, &self.shared.limits()) {
                    Ok((frame, memory)) => {
                        if let Some(route) = frame.route() {
                            self.sessions.received(node, (peer, route.namespace), frame.kind(), bytes.len());
                        }
                        self.received(peer, frame, bytes.len(), memory);
                    }
                    Err(error) => {
                        if let Some(failure) = Failure::of(&error) {
                            self.note(peer, failure, &error.to_string(), Some(&bytes));
                        }
                        self.handle(Input::Malformed { peer, error });
                    }
                }
            }
            TransportEvent::Written { peer, class, frames, bytes } => {
                self.handle(Input::Written { peer, class, frames, bytes });
            }
            TransportEvent::Down { peer, reason, failure } => {
                tracing::info!(node, ?peer, reason, "link down");
                self.links.remove(&peer);
                self.sessions.cut(node, peer);
                self.handle(Input::Disconnected { peer });
                if let Some(failure) = failure {
                    self.note(peer, failure, &reason, None);
                    self.handle(Input::Failed { peer, failure });
                }
            }
            // The transport has logged both, and `peers` shows them. An address may have turned out to be ours.
            TransportEvent::DialFailed { peer, failure, .. } => {
                tell_members(&self.shared, &self.transport);
                if let Some(peer) = peer {
                    self.handle(Input::Failed { peer, failure });
                }
            }
            TransportEvent::Refused { .. } => {}
        }
        if counts {
            self.shared.waits.wake_all();
        }
    }

    /// Keeps for people what a peer did against the protocol.
    fn note(&self, peer: NodeId, failure: Failure, reason: &str, frame: Option<&[u8]>) {
        let noted = self.shared.evidence.note(wall_ms(), peer, failure, reason, frame);
        if let Some(evidence) = noted {
            self.shared.events.misbehaved(peer, &evidence);
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Send { to, class, bytes } => {
                let len = bytes.len();
                if sessions::is_on() {
                    self.tell_of_session(to, &bytes);
                }
                let sent =
                    self.links.get(&to).is_some_and(|link| self.transport.send(&to, *link, class, bytes));
                if !sent {
                    // The link is gone and `Down` is on its way, or the frame is lost like any other:
                    // the core must not count it as waiting for ever.
                    self.handle(Input::Written { peer: to, class, frames: 1, bytes: len });
                }
            }
            Output::Disconnect { peer, reason } => {
                tracing::warn!(node = self.shared.name, ?peer, %reason, "the link is closed by this node");
                self.transport.disconnect(&peer, &reason.to_string());
            }
            Output::Dial { peer } => self.transport.probe(peer),
            Output::Persist { n } => self.want_stored(n),
            Output::Event(event) => self.on_event(event),
        }
    }

    fn tell_of_session(&mut self, to: NodeId, bytes: &[u8]) {
        let core = self.shared.core();
        let (namespace, own) = (core.writes(to).namespace_of(bytes), core.trace());
        if let Some(namespace) = namespace {
            let name = || self.shared.name_of(&core, namespace);
            self.sessions.sent(&self.shared.name, (to, namespace), name, bytes, own);
        }
    }

    fn on_event(&mut self, event: Event) {
        let node = self.shared.name.as_str();
        self.shared.events.core(&event, |namespace| self.shared.name_of(&self.shared.core(), namespace));
        match event {
            Event::Changed(changed) => {
                self.shared.watchers.changed(&changed);
                if self.shared.watchers.is_idle() {
                    self.shared.unwatch_if_unwatched();
                }
            }
            Event::Conflicts { .. } if self.shared.watchers.is_without_conflicts() => {
                self.shared.unwatch_if_unwatched();
            }
            Event::Conflicts { conflicts, .. } => self.shared.watchers.conflicts(&conflicts),
            Event::TypesMet { key, ty, others, .. } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let text = "a key holds several types; opened without a type it reads as the first";
                    tracing::warn!(node, key = key.as_str(), ?ty, ?others, silenced, "{text}");
                }
            }
            Event::NamespaceOpened { namespace, class } => {
                let name = self.shared.name_of(&self.shared.core(), namespace);
                tracing::info!(node, name, ?namespace, %class, "a namespace was opened");
            }
            Event::NamespaceClosed { namespace } => {
                let name = self.shared.name_of(&self.shared.core(), namespace);
                tracing::info!(node, name, ?namespace, "a namespace was closed; its state stays");
            }
            Event::PeerUp { peer, incarnation } => {
                tracing::debug!(node, ?peer, ?incarnation, "peer introduced itself")
            }
            Event::PeerDown { peer } => {
                self.shared.bootstrap.over(peer);
                tracing::debug!(node, ?peer, "peer gone");
            }
            Event::Breaker { peer, from, to, reason } => {
                gates::log(&mut self.breakers, node, peer, Shift { from, to, reason });
            }
            Event::Traced { peer, trace } => self.sessions.traced(node, peer, trace),
            Event::SessionDone { peer, namespace, items, by } => {
                self.shared.bootstrap.over(peer);
                self.sessions.joined(node, (peer, namespace), items);
                tracing::debug!(node, ?peer, ?namespace, items, ?by, "repaired by a session");
            }
            Event::Bootstrap { peer, items, items_total, .. } => {
                self.shared.bootstrap.advanced(peer, items, items_total);
                tracing::trace!(node, ?peer, items, items_total, "a large answer comes in");
            }
            Event::FrameRefused { peer, error } => {
                if let Some(silenced) = self.refusals.pass(Instant::now()) {
                    tracing::warn!(node, ?peer, %error, silenced, "a frame was refused whole; the state is as before");
                }
            }
            Event::Pressure { bound, level, used, max, .. } => self.on_pressure(bound, level, used, max),
            Event::Degraded { bytes, after, max, .. } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let text = "a join was refused: the store is at its ceiling; remove data";
                    tracing::error!(node, bytes, after, max, silenced, "{text}");
                }
            }
            Event::Fenced { peer, old, new, owner, claimed, minted } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let text = "another node lives under this replica's id: new ids were taken; look for a copied key";
                    tracing::error!(node, ?peer, ?old, ?new, ?owner, claimed, minted, silenced, "{text}");
                }
            }
            Event::OwnerDoubled { peer, object, own, other, old, new, .. } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let counter = object.key.as_str();
                    let text = "another life counts under this node's counter owner: a new owner was taken; the data \
                                folder was copied or set back, so look for a second process with this certificate";
                    tracing::error!(node, ?peer, counter, ?own, ?other, ?old, ?new, silenced, "{text}");
                }
            }
            Event::Diverged { peer, .. } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let text =
                        "this node and a peer know the same events and hold different state: damage or a bug";
                    tracing::error!(node, ?peer, silenced, "{text}");
                }
            }
            Event::Corrupt { cells, .. } => {
                let names: Vec<&str> = cells.iter().map(|(object, _)| object.key.as_str()).collect();
                let text =
                    "bytes in this node's memory are not those that were hashed: peers are asked for them";
                tracing::error!(node, ?names, "{text}; check the machine's memory");
            }
            Event::Healed { peer, healed, cells, .. } => {
                let names: Vec<&str> = cells.iter().map(|(object, _)| object.key.as_str()).collect();
                let Healed { mended, buried, restored, rewritten } = healed;
                let text = "damaged state was healed; what was written again may have been removed before";
                tracing::warn!(node, ?peer, mended, buried, restored, rewritten, ?names, "{text}");
            }
            Event::Replayed { items } => {
                let text = "of the damaged store, these items were this node's own and no peer had them: \
                            they were written again";
                tracing::warn!(node, items, "{text}");
            }
            Event::MarksEnded { object, marks, .. } => {
                tracing::debug!(
                    node,
                    key = object.key.as_str(),
                    marks,
                    "marks that all members know were ended"
                );
            }
            Event::ClockOff { ahead_ms, members } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let text = match ahead_ms {
                        ..0 => "this node's clock is slow by most of its members' clocks; set it right",
                        0.. => "this node's clock is fast by most of its members' clocks; set it right",
                    };
                    tracing::error!(node, ahead_ms, members, silenced, "{text}");
                }
            }
            Event::ClockJumped { by_ms } => {
                let text =
                    "the wall clock was set: nothing expires by it until members' clocks agree with it";
                tracing::warn!(node, by_ms, "{text}");
            }
            Event::HorizonAhead { ahead_ms, .. } => {
                let text = "a wrong clock let writes expire before their time: nothing is sent of this store \
                            until the clocks have come that far";
                tracing::error!(node, ahead_ms, "{text}; start the node again with an empty store");
            }
            Event::EventsLost { count } => {
                tracing::warn!(node, count, "events were dropped before they were read");
                self.shared.watchers.lost();
            }
        }
    }

    /// A bound that an operator can raise or relieve is a warning; full rings are how they work.
    fn on_pressure(&self, bound: Bound, level: Level, used: u64, max: u64) {
        let (node, edge, bound_name) = (self.shared.name.as_str(), bound.edge(), bound.name());
        if bound.is_ring() {
            tracing::debug!(node, bound = bound_name, used, max, edge, "a bound is at {level}");
        } else {
            tracing::warn!(node, bound = bound_name, used, max, edge, "a bound is at {level}");
        }
    }

    /// True once every connected peer holds what this node held when it began to shut down, or the time
    /// for that is over.
    fn handed_over(&mut self) -> bool {
        let mut core = self.shared.core();
        let now = Instant::now();
        let mut begun = match self.hand_over.take() {
            Some(begun) => begun,
            None => {
                let open: Vec<NamespaceId> = core.namespaces().collect();
                let begin = |id| Some((id, core.converge_begin(self.shared.clock.now(), id).ok()?));
                let goals = open.into_iter().filter_map(begin).collect();
                HandOver { until: now + HAND_OVER, goals, again: AskAgain::after(now) }
            }
        };
        let pending = |(id, goal): &(NamespaceId, ConvergeGoal)| {
            let without = converge::without(&core.peers(*id));
            let verdicts = core.converge_check(goal);
            let done =
                |node: &NodeId| without.contains(node) || verdicts.contains(&(*node, Convergence::Done));
            let linked = self.transport.links().into_iter().filter(|link| link.connected);
            linked.filter_map(|link| link.id).any(|node| !done(&node))
        };
        let is_pending = begun.goals.iter().any(pending);
        if begun.again.is_due(now) {
            core.handle(self.shared.clock.now(), Input::SyncNow);
        }
        drop(core);
        let over = now >= begun.until;
        self.hand_over = Some(begun);
        over || !is_pending
    }

    /// Closes the links, and keeps the inbox moving meanwhile: a transport task may wait for room in it.
    async fn close(mut self) {
        // The last writes still reach the watches, and as frames the links. It ends: only finished steps
        // give outputs, and each peer's frames are bounded.
        self.wake_if_due();
        while !self.drain() {}
        self.store_the_rest().await;
        let transport = self.transport.clone();
        let mut closing = std::pin::pin!(transport.shutdown());
        loop {
            tokio::select! {
                biased;
                () = &mut closing => break,
                Some(_) = self.inbox.recv() => {}
                () = tokio::time::sleep(BEAT) => self.watchdog.turned(),
            }
        }
    }
}

/// Lets a bounded number of lines a second through, and counts the others.
#[derive(Debug, Default)]
struct LogGate {
    since: Option<Instant>,
    passed: u32,
    silenced: u64,
}

impl LogGate {
    /// How many lines were held back before this one, if this one may pass.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.passed) = (Some(now), 0);
        }
        if self.passed == LINES_PER_SECOND {
            self.silenced += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.silenced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterCa, Error, Node, PeerAddr};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_core_that_broke_is_cut_off_from_its_peers_and_takes_no_more_writes() {
        let ca = ClusterCa::create("test").expect("a CA can be made");
        let identity = |name| ca.issue(name).expect("a certificate can be issued");
        let peer = Node::builder().identity(identity("peer")).start().await.expect("starts");
        let addr = PeerAddr { addr: peer.listen_addr().to_string(), id: Some(peer.id()) };
        let node = Node::builder().identity(identity("node")).peer(addr).start().await.expect("starts");
        while peer.status().peers_connected == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        let breaking = node.clone();
        let broken = std::thread::spawn(move || {
            let _core = breaking.shared().core();
            panic!("as if an invariant of the core broke");
        });
        assert!(broken.join().is_err());
        node.shutdown().await;
        assert_eq!(node.pn_counter("count").add(1), Err(Error::Closed));
        while peer.status().peers_connected > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn a_flood_of_refusals_costs_a_bounded_number_of_lines_and_is_counted() {
        let start = Instant::now();
        let mut gate = LogGate::default();
        let passed = (0..1_000).filter(|_| gate.pass(start).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(gate.pass(start + Duration::from_secs(1)), Some(990));
        assert_eq!(gate.pass(start + Duration::from_secs(1)), Some(0));
    }
}
