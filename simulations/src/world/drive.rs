//! Driving a node: one input in, everything it wants done, the next deadline.
//!
//! This is what `sync-net` does around a real socket, disk and clock, here around simulated ones.

use rand::RngExt;
use sync_core::breaker::Shift;
use sync_core::class::Class;
use sync_core::error::FrameError;
use sync_core::id::NodeId;
use sync_core::node::{Event as NodeEvent, Input, Output, RepairedBy};

use super::disk::Whose;
use super::trace::{self, Mark};
use super::{Event, World};
use crate::checkers::Sent;

impl World {
    /// Hands `input` to a node that is up, and does what it wants done. `bytes` tell one input from
    /// another in the trace hash.
    pub(crate) fn feed(&mut self, at: usize, input: Input, bytes: &[u8]) {
        let machine = &mut self.machines[at];
        let now = machine.now(self.at);
        let Some(node) = &mut machine.node else { return };
        self.trace.note(self.at, Mark::Handled, at, bytes, || trace::describe(&input, &self.places));
        self.counts.steps += 1;
        let life = node.replica();
        let minted = node.store(self.namespace).map(|store| store.context().get(life));
        node.handle(now, input);
        if self.resting {
            // What a node mints by itself (ended counter floors) is news, and news travel.
            let now = node.store(self.namespace).map(|store| store.context().get(node.replica()));
            self.resting = minted == now;
        }
        self.note_rewrites(at, life, minted.unwrap_or(0));
        self.drain(at);
        self.look_at_damage(at, None);
        self.spread_reached(at);
        if let Some(node) = &mut self.machines[at].node {
            let checked = self.suite.stepped(at, node);
            let checked = checked.and_then(|()| self.suite.after_step(&self.history, at, node));
            self.judge(checked);
            self.check_application(at);
            self.look_at_horizon(at);
        }
    }

    /// Does everything that a node wants done, and notes when it wants to be woken.
    fn drain(&mut self, at: usize) {
        while let Some(output) = self.machines[at].node.as_mut().and_then(|node| node.poll_output()) {
            match output {
                Output::Send { to, class, bytes } => self.send(at, to, class, bytes),
                Output::Disconnect { peer, reason } => {
                    self.trace.note(self.at, Mark::Event, at, &peer.0, || format!("disconnects: {reason}"));
                    if let Some(place) = self.place_of(at, peer) {
                        self.net.close(self.at, at, place, true);
                        self.disconnected(at, place);
                    }
                }
                Output::Persist { n } => {
                    if self.machines[at].disk.is_busy() {
                        self.machines[at].disk.wait(n);
                    } else {
                        self.write_disk(at);
                    }
                }
                Output::Dial { peer } => self.on_probe(at, peer),
                Output::Event(event) => self.on_event(at, event),
            }
        }
        self.schedule_wake(at);
    }

    /// The machine to which `node` has a connection to `peer`.
    fn place_of(&self, node: usize, peer: NodeId) -> Option<usize> {
        let place = *self.places.get(&peer)?;
        (self.machines[node].peers[place] == Some(peer)).then_some(place)
    }

    fn send(&mut self, from: usize, peer: NodeId, class: Class, bytes: Vec<u8>) {
        let Some(to) = self.place_of(from, peer) else { return };
        self.trace.note(self.at, Mark::Sent, from, &bytes, || {
            format!("sends {} to n{to} ({} bytes)", trace::frame_name(&bytes), bytes.len())
        });
        let dictionary = self.machines[from].node.as_ref().map(|node| node.writes(peer)).unwrap_or_default();
        let resting = self.resting;
        let sent = Sent { node: from, to, bytes: &bytes, dictionary: &dictionary, resting };
        if self.is_of_application(&bytes, &dictionary) {
            let checked = self.suite.sent(&sent);
            self.judge(checked);
        }
        self.check_mending(from, &bytes, &dictionary);
        if trace::frame_name(&bytes) == "Hello" {
            self.on_greeting(from, peer, &bytes);
        }
        self.net.send(self.at, from, to, class, bytes);
    }

    pub(super) fn write_disk(&mut self, at: usize) {
        let (least, most) = self.scenario.disk.sync_us;
        let takes = self.disk_random.random_range(least..=most);
        let machine = &mut self.machines[at];
        let Some(node) = &mut machine.node else { return };
        let write = machine.disk.write(node.take_step(), Whose::of(node));
        self.queue.push(self.at + takes, Event::Synced { node: at, write });
    }

    pub(super) fn on_synced(&mut self, at: usize, write: u64) {
        if self.disk_fails(at, write) {
            return;
        }
        let Some(n) = self.machines[at].disk.written(write) else { return };
        if let Some(node) = &mut self.machines[at].node {
            node.set_growth(true);
        }
        self.suite.durable(at, n.0);
        self.feed(at, Input::Persisted { n }, &n.0.to_le_bytes());
        if self.machines[at].disk.take_waiting().is_some() && !self.machines[at].disk.is_busy() {
            self.write_disk(at);
        }
    }

    /// A write fails: all of it is there or nothing, the node may not grow, and the driver tries again.
    fn disk_fails(&mut self, at: usize, write: u64) -> bool {
        let percent = self.scenario.disk.errors_percent;
        if percent == 0 || self.errors_random.random_range(0..100) >= percent {
            return false;
        }
        let there = self.errors_random.random_bool(0.5);
        let Some(again) = self.machines[at].disk.failed(write, there) else { return false };
        self.counts.fault("disk-error");
        if let Some(node) = &mut self.machines[at].node {
            node.set_growth(false);
        }
        let pause = self.errors_random.random_range(1_000..=200_000);
        self.queue.push(self.at + pause, Event::Synced { node: at, write: again });
        true
    }

    fn schedule_wake(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(deadline) = machine.node.as_ref().and_then(|node| node.poll_timeout()) else { return };
        let when = machine.clock.when(deadline).max(self.at + 1);
        if machine.wake_at.is_none_or(|earlier| when < earlier) {
            machine.wake_at = Some(when);
            self.queue.push(when, Event::Wake { node: at, at: when });
        }
    }

    fn on_event(&mut self, at: usize, event: NodeEvent) {
        if let NodeEvent::Changed(changed) = event {
            let checked = self.suite.told(at, &changed);
            return self.judge(checked);
        }
        self.trace.note(self.at, Mark::Event, at, &[], || format!("reports {event:?}"));
        match event {
            NodeEvent::SessionDone { by, .. } => {
                self.counts.sessions += 1;
                self.counts.fallbacks += u64::from(by != RepairedBy::Records);
                self.counts.sketches += u64::from(by == RepairedBy::Sketch);
            }
            NodeEvent::Breaker { peer, from, to, reason } => {
                self.on_breaker(at, peer, Shift { from, to, reason });
            }
            NodeEvent::Degraded { .. } => self.counts.fault("ceiling"),
            NodeEvent::Fenced { new, .. } => {
                self.counts.fences += 1;
                self.fenced(at, new);
            }
            NodeEvent::OwnerDoubled { other, .. } => {
                // A copied disk may keep its owner; else nothing lets two lives count under one.
                let copied = self.counts.faults.contains_key("cloned-disk");
                self.alarmed(copied || self.reverted(), at, || {
                    format!("says that {other:?} counts under its owner")
                });
            }
            NodeEvent::Diverged { peer, .. } => {
                let accounted = self.on_diverged(at);
                self.alarmed(accounted, at, || format!("says that it has diverged from {peer:?}"));
            }
            NodeEvent::Corrupt { cells, .. } => {
                let accounted = self.on_corrupt(at, &cells);
                self.alarmed(accounted, at, || format!("says that {cells:?} are damaged"));
            }
            NodeEvent::Healed { healed, cells, .. } => {
                let accounted = self.on_healed(at, &cells);
                self.alarmed(accounted, at, || format!("says that {cells:?} are healed: {healed:?}"));
            }
            NodeEvent::FrameRefused { peer, error } => self.on_refused(at, peer, &error),
            NodeEvent::MarksEnded { dot, object, paths, marks, .. } => {
                self.counts.marks_ended += marks;
                self.note_collection(at, dot, &object, &paths);
            }
            // One clock is wrong at a time. Of two that is no minority: who has just started may believe it.
            NodeEvent::HorizonAhead { ahead_ms, .. } => {
                let accounted = self.machines.len() < 3;
                self.alarmed(accounted, at, || format!("says that its horizon is {ahead_ms} ms ahead"));
            }
            NodeEvent::Changed(_)
            | NodeEvent::Conflicts { .. }
            | NodeEvent::ClockOff { .. }
            | NodeEvent::ClockJumped { .. }
            | NodeEvent::Bootstrap { .. }
            | NodeEvent::TypesMet { .. }
            | NodeEvent::Replayed { .. }
            | NodeEvent::PeerUp { .. }
            | NodeEvent::Traced { .. }
            | NodeEvent::PeerDown { .. }
            | NodeEvent::Pressure { .. }
            | NodeEvent::NamespaceOpened { .. }
            | NodeEvent::NamespaceClosed { .. }
            | NodeEvent::EventsLost { .. } => {}
        }
    }

    /// An alarm is right only where something was damaged.
    fn alarmed(&mut self, accounted: bool, at: usize, what: impl FnOnce() -> String) {
        if !accounted {
            self.fail("no-false-alarm", at, what());
        }
    }

    /// In this world every peer is honest: what it sends may be refused for a limit, a clock or an order
    /// of arrival, never as a breach of the protocol. Garbage comes from a fault, and so does what a
    /// machine that was set back says until it is fenced.
    fn on_refused(&mut self, at: usize, peer: NodeId, error: &FrameError) {
        let out_of_order = matches!(error, FrameError::Gap { .. });
        if error.is_violation() && !out_of_order && !self.machines[at].garbage && !self.reverted() {
            self.fail("honest-frames-pass", at, format!("refuses a frame of {peer:?}: {error}"));
        }
    }

    fn reverted(&self) -> bool {
        self.counts.faults.contains_key("revert")
    }
}
