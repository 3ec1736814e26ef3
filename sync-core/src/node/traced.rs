//! The trace that this node acts under, and those of its peers.
//!
//! One at a time: it holds for all that is said on the links until another one, or none, is set, since frames of
//! several requests are not told apart. Each change is one more `Hello` to every peer that reads it.

use super::{Event, Node};
use crate::id::NodeId;
use crate::trace::TraceContext;

impl Node {
    /// What is done from here on is done because of `trace`, until the next call: peers are told, and say so in
    /// [`Event::Traced`]. Changes nothing else. Wants an [`Input::Wake`](super::Input::Wake).
    pub fn set_trace(&mut self, trace: Option<TraceContext>) {
        if self.trace == trace {
            return;
        }
        self.trace = trace;
        for peer in self.peers.values_mut().filter(|peer| peer.is_up() && peer.reads_traces()) {
            peer.hello_due.get_or_insert(false);
        }
        self.fill_due = true;
    }

    /// The trace that this node acts under.
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// What a `Hello` of `peer` says of its trace; `fresh` if it is the first on a connection.
    pub(super) fn note_trace(&mut self, peer: NodeId, trace: Option<TraceContext>, fresh: bool) {
        let own = self.trace.is_some();
        let state = self.peer_mut(peer);
        // Ours went before its version was known, so without the trace.
        if fresh && own && state.reads_traces() {
            state.hello_due.get_or_insert(false);
        }
        if state.trace != trace {
            state.trace = trace;
            self.event(Event::Traced { peer, trace });
        }
    }
}
