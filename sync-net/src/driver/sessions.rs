//! Spans of sessions: from the frame that asks a peer for a repair to the join of its answer, for who reads traces.
//!
//! All of it is off unless somebody wants `sync_net::session` at `debug`: then it costs a look at one byte of a frame.
//! What is told names the trace under which this node acts, or under which the peer does (docs/tracing.md).

use std::collections::BTreeMap;
use std::time::Instant;

use sync_core::id::{NamespaceId, NodeId};
use sync_core::message::FrameKind;
use sync_core::trace::TraceContext;
use tracing::Span;

/// What is told of sessions has this target, so that it can be asked for by itself.
const TARGET: &str = "sync_net::session";

/// The sessions under way, one a peer and namespace, and the traces of peers: of `peers_max` peers and
/// `namespaces_max` namespaces at most.
#[derive(Default)]
pub(super) struct Sessions {
    open: BTreeMap<With, Session>,
    traces: BTreeMap<NodeId, TraceContext>,
}

/// With whom a session is, and of what.
type With = (NodeId, NamespaceId);

struct Session {
    span: Span,
    /// What people call its namespace.
    namespace: String,
    begun: Instant,
    /// It began with an `Open`, which need not be answered.
    opened: bool,
    bytes_out: usize,
    bytes_in: usize,
    frames_in: u64,
    trace: Option<TraceContext>,
}

/// True if somebody reads what is told of sessions.
pub(super) fn is_on() -> bool {
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

    /// A frame of the namespace called `name` goes to a peer; `own` is the trace under which this node acts. To be
    /// called while [`is_on`].
    pub(super) fn sent(
        &mut self,
        node: &str,
        with: With,
        name: impl FnOnce() -> String,
        bytes: &[u8],
        own: Option<TraceContext>,
    ) {
        let (peer, _) = with;
        let trace_of = |sessions: &Self| own.or_else(|| sessions.traces.get(&peer).copied());
        match FrameKind::of_bytes(bytes) {
            Some(kind @ (FrameKind::Pull | FrameKind::Open)) => {
                self.end_with(node, with, "asked again", 0);
                let (trace, namespace) = (trace_of(self), name());
                let trace_id = id_of(trace);
                let span = tracing::debug_span!(target: TARGET, "session", node, ?peer, namespace, trace_id);
                let opened = kind == FrameKind::Open;
                let session = Session {
                    span,
                    namespace,
                    begun: Instant::now(),
                    opened,
                    bytes_out: bytes.len(),
                    bytes_in: 0,
                    frames_in: 0,
                    trace,
                };
                self.open.insert(with, session);
            }
            Some(FrameKind::Give | FrameKind::Skeleton) => {
                let (trace_id, namespace) = (id_of(trace_of(self)), name());
                tracing::debug!(target: TARGET, node, ?peer, namespace, trace_id, bytes = bytes.len(), "a peer is answered");
            }
            Some(_) => {
                if let Some(session) = self.open.get_mut(&with) {
                    session.bytes_out += bytes.len();
                }
            }
            None => {}
        }
    }

    /// A frame came from a peer.
    pub(super) fn received(&mut self, node: &str, with: With, kind: FrameKind, len: usize) {
        let Some(session) = self.open.get_mut(&with) else { return };
        session.bytes_in += len;
        session.frames_in += 1;
        let says_level = matches!(kind, FrameKind::Root | FrameKind::Ack | FrameKind::Open | FrameKind::Push);
        if session.opened && says_level {
            self.end_with(node, with, "nothing to ask", 0);
        }
    }

    /// An answer was joined, with so many new items.
    pub(super) fn joined(&mut self, node: &str, with: With, items: u64) {
        self.end_with(node, with, "joined", items);
    }

    fn end_with(&mut self, node: &str, with: With, outcome: &str, items: u64) {
        let Some(session) = self.open.remove(&with) else { return };
        let Session { span, namespace, begun, bytes_out, bytes_in, frames_in, trace, .. } = session;
        let (peer, _) = with;
        let (trace_id, elapsed_us) =
            (id_of(trace), u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        tracing::debug!(
            target: TARGET, parent: &span, node, ?peer, namespace, trace_id, outcome, items, bytes_in, bytes_out,
            frames_in, elapsed_us,
            "a session is over"
        );
    }

    /// The link to a peer is gone.
    pub(super) fn cut(&mut self, node: &str, peer: NodeId) {
        let open = self
            .open
            .range((peer, NamespaceId([0; 8]))..)
            .map_while(|(with, _)| (with.0 == peer).then_some(*with));
        for with in open.collect::<Vec<_>>() {
            self.end_with(node, with, "cut", 0);
        }
        self.traces.remove(&peer);
    }
}
