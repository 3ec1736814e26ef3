//! Acting on what the core wants done: frames go to links, events to watches and to the log.
//!
//! Whoever holds the hands moves the node: puts inputs into the core and acts on all that comes out, in order. Mostly
//! that is the driver, which takes in much at a time. A writer, and the task that reads a link, do it themselves when
//! the node is quiet and nobody else is at it: then a write goes out, and can be read at the peer, without another
//! task being woken. Locked before the core, for one turn, never across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sync_core::id::NodeId;
use sync_core::message::Frame;
use sync_core::node::{Bound, Event, Healed, Input, Level, Node as Core, Output};
use sync_core::time::Now;

use crate::node::{Phase, Shared};
use crate::transport::{FirstHand, LinkId, Transport, Written};

/// Outputs acted on in one turn, at most.
const OUTPUTS_PER_TURN: usize = 256;

/// Outputs taken from the core under one lock, at most.
const OUTPUTS_PER_LOCK: usize = 64;

/// Longest frame that the task that reads it takes in itself: longer ones are decoded by the driver while it reads on.
const FIRST_HAND_BYTES: usize = 4 << 10;

/// Most lines a second of one kind that a peer can cause: it must not fill the log.
const LINES_PER_SECOND: u32 = 10;

/// See the module's documentation.
pub(crate) struct Hands {
    /// Gone once the node has stopped.
    transport: Option<Arc<Transport>>,
    /// The link of each connected peer that the core knows of; at most `peers_max`.
    links: BTreeMap<NodeId, LinkId>,
    refusals: LogGate,
    /// Apart from refusals, so that these cannot hide one.
    alarms: LogGate,
    /// Empty between two turns.
    outputs: Vec<Output>,
}

impl Hands {
    pub(crate) fn new(transport: Arc<Transport>) -> Self {
        let (refusals, alarms) = Default::default();
        Self { transport: Some(transport), links: BTreeMap::new(), refusals, alarms, outputs: Vec::new() }
    }

    /// Lets go of the links.
    pub(crate) fn forget_transport(&mut self) {
        self.transport = None;
    }

    /// A link to `peer` is up.
    pub(crate) fn linked(&mut self, peer: NodeId, link: LinkId) {
        self.links.insert(peer, link);
    }

    /// The link to `peer` is gone.
    pub(crate) fn unlinked(&mut self, peer: NodeId) {
        self.links.remove(&peer);
    }

    /// Acts on what the core wants done; false if there is more than one turn may do.
    pub(crate) fn drain(&mut self, shared: &Shared) -> bool {
        self.step(shared, false, |_, _| {})
    }

    /// Puts `inputs` into the core and acts on what comes out; false if there is more than one turn may do. With
    /// `at_once`, a frame that is alone is written by the caller if its link is idle.
    fn step(&mut self, shared: &Shared, at_once: bool, inputs: impl FnOnce(&mut Core, Now)) -> bool {
        let (mut inputs, mut outputs) = (Some(inputs), std::mem::take(&mut self.outputs));
        let mut left = OUTPUTS_PER_TURN;
        let drained = loop {
            let mut core = shared.core();
            if let Some(inputs) = inputs.take() {
                // Read under the lock: readings must not go back from one input to the next.
                inputs(&mut core, shared.clock.now());
            }
            let more = std::iter::from_fn(|| core.poll_output());
            outputs.extend(more.take(OUTPUTS_PER_LOCK.min(left)));
            shared.alarm.tell(&shared.work, core.poll_timeout());
            drop(core);
            if outputs.is_empty() {
                break true;
            }
            left -= outputs.len();
            let alone = at_once && outputs.iter().filter(|output| matches!(output, Output::Send { .. })).count() == 1;
            outputs.drain(..).for_each(|output| self.act(shared, output, alone));
            if left == 0 {
                break false;
            }
        };
        self.outputs = outputs;
        drained
    }

    fn act(&mut self, shared: &Shared, output: Output, alone: bool) {
        match output {
            Output::Send { to, bytes } => {
                let len = bytes.len();
                let link = self.links.get(&to).copied().zip(self.transport.as_ref());
                let sent = link.is_some_and(|(link, transport)| transport.send(&to, link, bytes, alone));
                if !sent {
                    // The link is gone and `Down` is on its way, or the frame is lost like any other:
                    // the core must not count it as waiting for ever.
                    shared.handle(Input::Written { peer: to, frames: 1, bytes: len });
                }
            }
            Output::Disconnect { peer, reason } => {
                tracing::warn!(node = shared.name, ?peer, %reason, "the link is closed by this node");
                if let Some(transport) = &self.transport {
                    transport.disconnect(&peer, &reason.to_string());
                }
            }
            // Memory mode: what is in memory is all the durability there is.
            Output::Persist { n } => shared.handle(Input::Persisted { n }),
            Output::Event(event) => self.on_event(shared, event),
        }
    }

    fn on_event(&mut self, shared: &Shared, event: Event) {
        let node = shared.name.as_str();
        match event {
            Event::Changed(changed) => {
                shared.watchers.changed(&changed);
                if shared.watchers.is_idle() {
                    shared.unwatch_if_unwatched();
                }
            }
            Event::Conflicts { .. } if shared.watchers.is_without_conflicts() => {
                shared.unwatch_if_unwatched();
            }
            Event::Conflicts { conflicts, .. } => shared.watchers.conflicts(&conflicts),
            Event::TypesMet { key, ty, others, .. } => {
                if let Some(silenced) = self.alarms.pass(Instant::now()) {
                    let text = "a key holds several types; opened without a type it reads as the first";
                    tracing::warn!(node, key = key.as_str(), ?ty, ?others, silenced, "{text}");
                }
            }
            Event::PeerUp { peer, incarnation } => {
                tracing::debug!(node, ?peer, ?incarnation, "peer introduced itself")
            }
            Event::PeerDown { peer } => {
                shared.bootstrap.over(peer);
                tracing::debug!(node, ?peer, "peer gone");
            }
            Event::SessionDone { peer, items, by, .. } => {
                shared.bootstrap.over(peer);
                tracing::debug!(node, ?peer, items, ?by, "repaired by a session");
            }
            Event::Bootstrap { peer, items, items_total, .. } => {
                shared.bootstrap.advanced(peer, items, items_total);
                tracing::trace!(node, ?peer, items, items_total, "a large answer comes in");
            }
            Event::FrameRefused { peer, error } => {
                if let Some(silenced) = self.refusals.pass(Instant::now()) {
                    tracing::warn!(node, ?peer, %error, silenced, "a frame was refused whole; the state is as before");
                }
            }
            Event::Pressure { bound, level, used, max, .. } => shared.on_pressure(bound, level, used, max),
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
                shared.watchers.lost();
            }
        }
    }
}

impl Shared {
    /// The hands, once whoever holds them has done its turn.
    pub(crate) fn hands(&self) -> MutexGuard<'_, Hands> {
        // What they hold is whole between any two outputs; if the core broke, its own lock says so.
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, input: Input) {
        let mut core = self.core();
        core.handle(self.clock.now(), input);
    }

    /// A bound that an operator can raise or relieve is a warning; full rings are how they work.
    fn on_pressure(&self, bound: Bound, level: Level, used: u64, max: u64) {
        let (node, edge, bound_name) = (self.name.as_str(), bound.edge(), bound.name());
        if bound.is_ring() {
            tracing::debug!(node, bound = bound_name, used, max, edge, "a bound is at {level}");
        } else {
            tracing::warn!(node, bound = bound_name, used, max, edge, "a bound is at {level}");
        }
    }

    /// The application has written: sends it, or has the driver do so if there is more at hand than this.
    pub(crate) fn written(&self) {
        let quiet = self.hands.try_lock().ok().filter(|_| self.core().is_quiet());
        let sent = quiet.is_some_and(|mut hands| hands.step(self, true, |core, now| core.handle(now, Input::Wake)));
        if !sent {
            self.work.notify_one();
        }
    }
}

/// Takes short frames in on the task that has read them.
impl FirstHand for Weak<Shared> {
    fn take(&self, peer: NodeId, written: Option<Written>, frame: &[u8]) -> bool {
        let Some(shared) = self.upgrade().filter(|_| frame.len() <= FIRST_HAND_BYTES) else { return false };
        let Ok(mut hands) = shared.hands.try_lock() else { return false };
        if *shared.phase.borrow() != Phase::Running {
            return false;
        }
        let len = frame.len();
        // What it answers is an acknowledgement, which nobody waits for: first whoever watches.
        let drained = hands.step(&shared, false, |core, now| {
            if let Some(Written { frames, bytes }) = written {
                core.handle(now, Input::Written { peer, frames, bytes });
            }
            let input = match Frame::decode(frame, &core.reads(peer), &shared.limits) {
                Ok(frame) => Input::Received { peer, frame, len },
                Err(error) => Input::Malformed { peer, error },
            };
            core.handle(now, input);
        });
        drop(hands);
        if !drained {
            shared.work.notify_one();
        }
        shared.progress.notify_waiters();
        true
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
