//! The network reaches a node: connections come and go, frames arrive.

use sync_core::message::Frame;
use sync_core::node::Input;

use super::World;
use crate::checkers::OnLink;
use crate::net::{Way, Wire};
use crate::scenario::Mode;

/// Frames that wait for a node that does not read, when nothing holds their senders back (datagrams).
const UNREAD_DATAGRAMS_MAX: usize = 256;

impl World {
    pub(super) fn on_wire(&mut self, wire: Wire) {
        match wire {
            Wire::Arrive { way, bytes } => {
                if self.net.arrived(way) {
                    self.on_arrival(way, bytes);
                }
            }
            Wire::Written { way: Way { from, to, class, connection }, bytes } => {
                if self.net.end(from, to) == Some(connection)
                    && let Some(peer) = self.machines[from].peers[to]
                {
                    self.feed(from, Input::Written { peer, class, frames: 1, bytes }, &[]);
                }
            }
            Wire::Opened { node, peer, connection } => {
                if self.machines[node].node.is_some() && self.net.opened(self.at, node, peer, connection) {
                    self.connected(node, peer);
                }
            }
            Wire::Closed { node, peer, connection } => {
                if self.net.end(node, peer) == Some(connection) {
                    self.net.close(self.at, node, peer, false);
                    self.disconnected(node, peer);
                }
            }
            Wire::Idle { node, peer, connection } => {
                let still = self.machines[peer].still_since;
                if self.net.is_silent(self.at, node, peer, connection, still) {
                    self.net.close(self.at, node, peer, true);
                    self.disconnected(node, peer);
                }
            }
            Wire::Dial { a, b } => self.on_dial(a, b),
        }
    }

    fn connected(&mut self, node: usize, peer: usize) {
        let id = self.machines[peer].id;
        if self.machines[node].peers[peer].is_some_and(|known| known != id) {
            self.disconnected(node, peer);
        }
        self.machines[node].peers[peer] = Some(id);
        self.feed(node, Input::Connected { peer: id }, &id.0);
    }

    pub(super) fn disconnected(&mut self, node: usize, peer: usize) {
        if let Some(peer) = self.machines[node].peers[peer].take() {
            self.feed(node, Input::Disconnected { peer }, &peer.0);
        }
    }

    fn on_arrival(&mut self, way: Way, bytes: Vec<u8>) {
        let machine = &mut self.machines[way.to];
        if machine.deaf {
            let bounded = self.scenario.network.mode == Mode::Datagram;
            if !bounded || machine.unread.len() < UNREAD_DATAGRAMS_MAX {
                machine.unread.push_back((way, bytes));
            }
            return;
        }
        self.net.read(self.at, way, bytes.len());
        self.receive(way.from, way.to, &bytes);
    }

    /// Hands a frame to the node that it came to.
    pub(super) fn receive(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let machine = &self.machines[to];
        let (Some(peer), Some(node)) = (machine.peers[from], &machine.node) else { return };
        let mut mended = false;
        let (dictionary, limits) = (node.reads(peer), node.limits().clone());
        let input = match Frame::decode(bytes, &dictionary, &limits) {
            Ok(frame) => {
                mended = matches!(frame, Frame::Inspected(..));
                if let Frame::Hello(hello) = &frame
                    && !hello.wants_reply
                {
                    let checked = self.suite.on_link(to, peer, &OnLink::Answered);
                    self.judge(checked);
                }
                match &frame {
                    // Its sender has no cursor for this node, and a log that no longer begins at the
                    // beginning: only a session helps.
                    Frame::Root(_, root) if root.head > limits.log_entries_max as u64 => {
                        self.counts.log_truncations += u64::from(root.behind);
                    }
                    Frame::Open(_, open) if open.head > limits.log_entries_max as u64 => {
                        self.counts.log_truncations += u64::from(open.behind);
                    }
                    Frame::Skeleton(..) => self.counts.large_answers += 1,
                    Frame::Part(_, part) => self.counts.large_answers += u64::from(part.at == 0),
                    Frame::Pull(_, pull) => self.counts.resumed += u64::from(!pull.have.is_empty()),
                    Frame::Payloads(_, payloads) => self.counts.called_off += u64::from(payloads.gone),
                    Frame::More(..) => self.counts.sketches_more += 1,
                    Frame::Hello(_)
                    | Frame::Root(..)
                    | Frame::Open(..)
                    | Frame::Push(..)
                    | Frame::Ack(..)
                    | Frame::Give(..)
                    | Frame::Symbols(..)
                    | Frame::Nodes(..)
                    | Frame::NodesFound(..)
                    | Frame::Inspect(..)
                    | Frame::Inspected(..)
                    | Frame::Survey(..)
                    | Frame::Quote(..) => {}
                }
                Input::Received { peer, frame, len: bytes.len() }
            }
            Err(error) => Input::Malformed { peer, error },
        };
        if mended {
            self.machines[to].mending_until = None;
        }
        self.feed(to, input, bytes);
    }
}
