//! Other bounds and times for a node that runs.
//!
//! They come in from outside like every input, and nothing on the wire or in the state depends on them. A lowered bound
//! takes nothing away: what is there stays, and nothing more is let in; of the log and the records the oldest go with the
//! next entry. A shortened period counts from now on, a lengthened one from its next turn.

use super::{DEFAULT_NAMESPACE, Node};
use crate::id::NamespaceId;
use crate::limits::{Limits, Timing};
use crate::time::{Now, Span};

impl Node {
    /// Other bounds from now on, of the node and of the store of [`DEFAULT_NAMESPACE`]; other namespaces keep those that
    /// they were opened with. The driver follows it with [`super::Input::Wake`].
    pub fn set_limits(&mut self, limits: Limits) {
        if let Some(space) = self.spaces.get_mut(&NamespaceId::named(DEFAULT_NAMESPACE)) {
            space.store.rebound(limits.clone());
        }
        self.config.limits = limits;
        // A peer whose queue was full may have room now.
        self.fill_due = true;
        self.tell_pressure();
    }

    /// Other periods and deadlines from now on. What waits for an answer, or is shut out, waits as long as it was to; the
    /// driver asks for the next deadline again.
    pub fn set_timing(&mut self, now: Now, timing: Timing) {
        self.config.timing = timing;
        let namespaces: Vec<_> = self.spaces.keys().copied().collect();
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            for namespace in &namespaces {
                let next = now.mono + self.jittered(timing.sync_interval);
                if let Some(link) = self.peers.get_mut(&peer).and_then(|peer| peer.links.get_mut(namespace)) {
                    link.session.root_at = link.session.root_at.map(|at| at.min(next));
                }
            }
        }
        self.cleanup_at = self.cleanup_at.min(now.mono + self.jittered(timing.cleanup_interval));
        self.scrub_at = self.scrub_at.min(now.mono + self.scrub_step());
    }

    /// The time between two steps of the scrub.
    pub(super) fn scrub_step(&self) -> Span {
        let period = self.config.timing.scrub_period;
        Span::from_micros(period.as_micros() / super::heal::SCRUB_STEPS as u64)
    }
}
