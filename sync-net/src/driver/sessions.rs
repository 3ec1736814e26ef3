//! Spans of sessions: from the frame that asks a peer for a repair to the join of its answer, for who reads traces.
//!
//! All of it is off unless somebody wants `sync_net::session` at `debug`: then it costs a look at one byte of a frame.
//! What is told names the trace under which this node acts, or under which the peer does (docs/tracing.md).

use std::collections::BTreeMap;
use std::time::Instant;

use sync_core::id::NodeId;
use sync_core::message::FrameKind;
use sync_core::trace::TraceContext;
use tracing::Span;

/// What is told of sessions has this target, so that it can be asked for by itself.
const TARGET: &str = "sync_net::session";

/// The sessions under way and the traces of peers: one of each a peer, at most `peers_max`.
#[derive(Default)]
pub(super) struct Sessions {
    open: BTreeMap<NodeId, Session>,
    traces: BTreeMap<NodeId, TraceContext>,
}

struct Session {
    span: Span,
    begun: Instant,
    /// It began with an `Open`, which need not be answered.
    opened: bool,
    bytes_out: usize,
    bytes_in: usize,
    frames_in: u64,
    trace: Option<TraceContext>,
}

fn is_on() -> bool {
    tracing::enabled!(target: "sync_net::session", tracing::Level::DEBUG)
}

fn id_of(trace: Option<TraceContext>) -> String {
    trace.map_or_else(String::new, |trace| trace.trace_id())
}

impl Sessions {
    /// A peer goes on with a trace, or has ended it.
    pub(super) fn traced(&mut self, node: &str, peer: NodeId, trace: Option<TraceContext>) {
        match trace {
            Some(trace) => {
                let (trace_id, parent_id) = (trace.trace_id(), trace.span_id());
                tracing::debug!(target: TARGET, node, ?peer, trace_id, parent_id, "a peer goes on with a trace");
                self.traces.insert(peer, trace);
            }
            None => drop(self.traces.remove(&peer)),
        }
    }

    /// A frame goes to a peer; `own` is the trace under which this node acts.
    pub(super) fn sent(
        &mut self,
        node: &str,
        peer: NodeId,
        bytes: &[u8],
        own: impl FnOnce() -> Option<TraceContext>,
    ) {
        if !is_on() {
            return;
        }
        let trace_of = |sessions: &Self| own().or_else(|| sessions.traces.get(&peer).copied());
        match FrameKind::of_bytes(bytes) {
            Some(kind @ (FrameKind::Pull | FrameKind::Open)) => {
                self.end(node, peer, "asked again");
                let trace = trace_of(self);
                let trace_id = id_of(trace);
                let span = tracing::debug_span!(target: TARGET, "session", node, ?peer, trace_id);
                let opened = kind == FrameKind::Open;
                let session = Session {
                    span,
                    begun: Instant::now(),
                    opened,
                    bytes_out: bytes.len(),
                    bytes_in: 0,
                    frames_in: 0,
                    trace,
                };
                self.open.insert(peer, session);
            }
            Some(FrameKind::Give | FrameKind::Skeleton) => {
                let trace_id = id_of(trace_of(self));
                tracing::debug!(target: TARGET, node, ?peer, trace_id, bytes = bytes.len(), "a peer is answered");
            }
            Some(_) => {
                if let Some(session) = self.open.get_mut(&peer) {
                    session.bytes_out += bytes.len();
                }
            }
            None => {}
        }
    }

    /// A frame came from a peer.
    pub(super) fn received(&mut self, node: &str, peer: NodeId, bytes: &[u8]) {
        let Some(session) = self.open.get_mut(&peer) else { return };
        session.bytes_in += bytes.len();
        session.frames_in += 1;
        let says_level = matches!(
            FrameKind::of_bytes(bytes),
            Some(FrameKind::Root | FrameKind::Ack | FrameKind::Open | FrameKind::Push)
        );
        if session.opened && says_level {
            self.end(node, peer, "nothing to ask");
        }
    }

    /// A session with a peer is over.
    pub(super) fn end(&mut self, node: &str, peer: NodeId, outcome: &str) {
        self.end_with(node, peer, outcome, 0);
    }

    /// An answer was joined, with so many new items.
    pub(super) fn joined(&mut self, node: &str, peer: NodeId, items: u64) {
        self.end_with(node, peer, "joined", items);
    }

    fn end_with(&mut self, node: &str, peer: NodeId, outcome: &str, items: u64) {
        let Some(Session { span, begun, bytes_out, bytes_in, frames_in, trace, .. }) =
            self.open.remove(&peer)
        else {
            return;
        };
        let (trace_id, elapsed_us) =
            (id_of(trace), u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        tracing::debug!(
            target: TARGET, parent: &span, node, ?peer, trace_id, outcome, items, bytes_in, bytes_out, frames_in, elapsed_us,
            "a session is over"
        );
    }

    /// The link to a peer is gone.
    pub(super) fn cut(&mut self, node: &str, peer: NodeId) {
        self.end(node, peer, "cut");
        self.traces.remove(&peer);
    }
}
