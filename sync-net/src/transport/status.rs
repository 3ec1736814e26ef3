//! What people are told of links: the configured addresses, failures, and refusals.
//!
//! In flow the outcomes of dials and of inbound attempts, out flow [`LinkStatus`] rows, log lines and the
//! two events that name a failure. The rows are read from the same table that admits links, so they never
//! disagree with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use sync_core::breaker::Failure;
use sync_core::id::NodeId;

use super::gates::DialId;
use super::table::Shared;
use super::{Gate, LinkStatus, PeerAddr, TransportEvent};

/// What is known of one configured address.
#[derive(Debug)]
pub(super) struct Dial {
    to: PeerAddr,
    /// Who answered there last.
    found: Option<NodeId>,
    pub(super) failure: Option<String>,
    attempts: u64,
}

impl Dial {
    pub(super) fn new(to: PeerAddr) -> Self {
        Self { to, found: None, failure: None, attempts: 0 }
    }

    /// What was configured.
    pub(super) fn to(&self) -> &PeerAddr {
        &self.to
    }

    /// Who lives there, as far as we know.
    pub(super) fn id(&self) -> Option<NodeId> {
        self.to.id.or(self.found)
    }
}

impl Shared {
    /// Every configured address, then every linked peer that is none of them.
    pub(super) fn links(&self) -> Vec<LinkStatus> {
        let table = self.lock();
        let link_of = |id: &NodeId| table.peers.get(id).and_then(|entry| entry.current.as_ref());
        let mut rows: Vec<_> = table
            .dials
            .values()
            .map(|dial| {
                let removed = dial.id().is_some_and(|id| table.gates.get(&id) == Some(&Gate::Removed));
                let link = dial.id().as_ref().and_then(link_of);
                LinkStatus {
                    addr: dial.to.addr.clone(),
                    id: dial.id(),
                    name: link.map(|link| link.proven.name.clone()),
                    configured: !removed,
                    removed,
                    connected: link.is_some(),
                    blocked: dial.id().is_some_and(|id| table.blocked.contains(&id)),
                    failure: dial.failure.clone().filter(|_| link.is_none()),
                    attempts: dial.attempts,
                    queued_frames: link.map_or(0, |link| link.frames_used()),
                }
            })
            .collect();
        let configured: BTreeSet<_> = table.dials.values().filter_map(Dial::id).collect();
        rows.extend(table.peers.iter().filter(|(id, _)| !configured.contains(id)).filter_map(
            |(id, entry)| {
                let link = entry.current.as_ref()?;
                Some(LinkStatus {
                    addr: link.addr.to_string(),
                    id: Some(*id),
                    name: Some(link.proven.name.clone()),
                    configured: false,
                    removed: false,
                    connected: true,
                    blocked: table.blocked.contains(id),
                    failure: None,
                    attempts: 0,
                    queued_frames: link.frames_used(),
                })
            },
        ));
        rows
    }

    /// Tells people of an inbound attempt that came to nothing.
    pub(super) fn refused(&self, addr: SocketAddr, reason: String) {
        if !self.lock().refusals.admits(Instant::now(), addr.ip(), &reason) {
            tracing::debug!(%addr, reason, "refused an inbound link, again");
            return;
        }
        tracing::warn!(%addr, reason, "refused an inbound link");
        // Dropped when full: a stranger must not be able to hold up a node by failing to get in.
        self.events.try_tell(TransportEvent::Refused { addr, reason });
    }

    /// What is configured at `dial`; `None` once it is no more.
    pub(super) fn dial_to(&self, dial: DialId) -> Option<PeerAddr> {
        self.lock().dials.get(&dial).map(|dial| dial.to.clone())
    }

    /// Notes that the configured address `dial` is being dialled.
    pub(super) fn dial_began(&self, dial: DialId) {
        if let Some(dial) = self.lock().dials.get_mut(&dial) {
            dial.attempts += 1;
        }
    }

    /// Notes who answers at the configured address `dial`.
    pub(super) fn dial_found(&self, dial: DialId, peer: NodeId) {
        if let Some(dial) = self.lock().dials.get_mut(&dial) {
            dial.found = Some(peer);
        }
    }

    /// Notes and tells why there is no link to the configured address `dial`. It is a failure of who is known to live
    /// there, unless it is `None`.
    pub(super) fn dial_failed(&self, dial: DialId, failure: Option<Failure>, reason: String) {
        let mut table = self.lock();
        let Some(dial) = table.dials.get_mut(&dial) else { return };
        let (addr, peer) = (dial.to.addr.clone(), dial.id());
        let news = dial.failure.as_ref() != Some(&reason);
        dial.failure = Some(reason.clone());
        drop(table);
        // One line for each change: a peer that is away for a day is dialled 17,000 times.
        if news {
            tracing::warn!(address = addr, reason, "cannot link to a peer");
        } else {
            tracing::debug!(address = addr, reason, "cannot link to a peer, again");
        }
        let peer = peer.filter(|_| failure.is_some());
        let failure = failure.unwrap_or(Failure::Refused);
        self.events.try_tell(TransportEvent::DialFailed { addr, peer, failure, reason });
    }
}
