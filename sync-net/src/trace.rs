//! Requests that bring a trace: what this node does for them is told under it, here and at its peers.

use sync_core::trace::TraceContext;

use crate::node::Shared;

/// Holds the node under a trace; dropped, also when the request is given up, it ends the trace if no other has followed.
pub(crate) struct Traced<'a> {
    shared: &'a Shared,
    trace: TraceContext,
}

impl<'a> Traced<'a> {
    /// From here on: peers are told of a span of ours below the caller's.
    pub(crate) fn begin(shared: &'a Shared, parent: TraceContext) -> Self {
        let mut id = [0; 8];
        // Without randomness the caller's own span is passed on.
        let drawn = getrandom::fill(&mut id);
        let trace = if drawn.is_ok() { parent.below(id) } else { parent };
        let (node, trace_id) = (shared.name.as_str(), trace.trace_id());
        let (span_id, parent_id) = (trace.span_id(), parent.span_id());
        tracing::info!(node, trace_id, span_id, parent_id, "a request brings a trace");
        shared.core().set_trace(Some(trace));
        shared.work.notify_one();
        Self { shared, trace }
    }
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        let mut core = self.shared.core();
        if core.trace() == Some(self.trace) {
            core.set_trace(None);
            drop(core);
            self.shared.work.notify_one();
        }
    }
}
