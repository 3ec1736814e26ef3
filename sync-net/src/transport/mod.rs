//! Links to peers: QUIC with mutual TLS, one link to each peer, frames in order.
//!
//! In flow the configured peers and the frames to send; out flow [`TransportEvent`]s, in one bounded
//! queue for each class. The engine behind it sees no socket, certificate or address book. What the transport
//! promises (DESIGN section 6):
//!
//! - a link exists only to a holder of a certificate of our cluster CA; the peer's [`NodeId`] is the
//!   hash of the key it proved, never something that it said;
//! - for each peer the events are `Up, (Frame | Written)*, Down`, again and again: a link that replaces
//!   another is announced after the other's `Down`;
//! - nothing here waits without a bound, and a peer that stops reading costs its own queue only;
//! - a class whose frames are not read or not taken holds up no more urgent one.
//!
//! `budget` says how much one peer may ask, `tls` builds the two TLS configurations, `trust` changes them while it runs,
//! `endpoint` the socket and its limits and lets peers in,
//! `dial` calls the configured ones, `gates` says when, `table` decides which link of two stays, `link` lives through one
//! link, whose frames `reading` and `writing` move on the streams of `streams`, `inbox` is the way to the engine, `status` and `refusal` say how links are and what went wrong, in words.

mod addr;
pub(crate) mod budget;
mod dial;
mod endpoint;
mod gates;
mod inbox;
mod link;
mod outbox;
mod reading;
mod refusal;
mod status;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod trust;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quinn::Endpoint;
use sync_core::breaker::Failure;
use sync_core::class::Class;
use sync_core::id::NodeId;
use sync_core::limits::Limits;
use tokio::sync::{OwnedSemaphorePermit, watch};

pub use self::addr::{PeerAddr, PeerAddrError};
use self::gates::{Added, DialId};
pub(crate) use self::inbox::{Inbox, Queues, queues};
use self::refusal::{Close, Refusal};
use self::table::{Life, Shared};
use crate::certs::{CertError, Revoked};
use crate::identity::Identity;

/// What the transport needs to know to start.
#[derive(Debug)]
pub(crate) struct TransportConfig {
    /// Who we are, and whose certificates we accept.
    pub(crate) identity: Identity,
    /// Who is accepted no more, from the first handshake on.
    pub(crate) revoked: Revoked,
    /// Where to listen; port 0 takes a free one, see [`Transport::local_addr`].
    pub(crate) listen: SocketAddr,
    /// The peers to dial, and to dial again whenever no link to them exists.
    pub(crate) peers: Vec<PeerAddr>,
    /// Longest frame, in bytes, either way. A peer that announces a longer one is disconnected before
    /// anything is allocated for it; [`Transport::send`] refuses it. Default 1 MB, the product's figure.
    pub(crate) message_bytes_max: usize,
    /// What can change while links are up.
    pub(crate) bounds: LinkBounds,
    /// Bytes of frames of one peer that were read and not yet dropped by the engine; the frame being read
    /// counts from its announcement. Half of it is for normal frames, a quarter each for urgent and bulk ones, so that
    /// none takes another's. When full, that stream of that peer is not read and QUIC pushes back.
    /// If a part is below `message_bytes_max`, one longest frame has room all the same, so that it is three longest frames
    /// at least. Default 2 MiB: with 4 MiB one peer that replayed large answers cost 8.8 MiB in all, above the 8 that it
    /// may.
    pub(crate) inbox_bytes_max: usize,
    /// Longest time from a peer's first packet (or our dialling one address) to an admitted link.
    /// Over it the attempt is given up. Default 5 s.
    pub(crate) handshake_timeout: Duration,
    /// A link without a packet for this long is down. Default 30 s.
    pub(crate) idle_timeout: Duration,
    /// A quiet link sends a keep-alive this often; below half of the idle time-out, so that one lost
    /// packet does not cost the link. Default 10 s.
    pub(crate) keep_alive: Duration,
    /// A frame that has begun to arrive must bring another byte within this time, else the link is
    /// closed. Default 10 s.
    pub(crate) frame_stall: Duration,
    /// Shortest pause before a peer is dialled again. Default 100 ms.
    pub(crate) redial_min: Duration,
    /// Longest pause before a peer is dialled again. Default 5 s.
    pub(crate) redial_max: Duration,
}

impl TransportConfig {
    /// The defaults that the fields state.
    pub(crate) fn new(identity: Identity, listen: SocketAddr, peers: Vec<PeerAddr>) -> Self {
        Self {
            identity,
            revoked: Revoked::default(),
            listen,
            peers,
            message_bytes_max: 1_000_000,
            bounds: LinkBounds::default(),
            inbox_bytes_max: 2 << 20,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            frame_stall: Duration::from_secs(10),
            redial_min: Duration::from_millis(100),
            redial_max: Duration::from_secs(5),
        }
    }

    fn check(&self) -> Result<(), TransportError> {
        let fail = |why| Err(TransportError::Config(why));
        if u32::try_from(self.message_bytes_max).is_err() || self.message_bytes_max == 0 {
            return fail("message_bytes_max must be from 1 to 4,294,967,295");
        }
        if self.keep_alive >= self.idle_timeout {
            return fail("keep_alive must be shorter than idle_timeout");
        }
        if self.redial_min.is_zero() || self.redial_min > self.redial_max {
            return fail("redial_min must be above zero and not above redial_max");
        }
        Ok(())
    }
}

/// Bounds of the links that can change while they are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkBounds {
    /// Distinct peers linked at a time. The next is refused with `PeersFull` and both sides say so.
    /// Default 100, the product's figure.
    pub(crate) peers_max: usize,
    /// Frames that wait for one peer, those being written included. When full, [`Transport::send`]
    /// returns false. Default 1,000, the product's queue size.
    pub(crate) outbox_frames_max: usize,
    /// Bytes that wait for one peer; edge as above. Default 4 MiB (DESIGN section 5).
    pub(crate) outbox_bytes_max: usize,
}

impl Default for LinkBounds {
    fn default() -> Self {
        Self { peers_max: 100, outbox_frames_max: 1_000, outbox_bytes_max: 4 << 20 }
    }
}

impl LinkBounds {
    /// Those that follow the core's. The queue for a peer is the looser one, by what the core may overshoot: the core
    /// stops building frames before the transport has to refuse one.
    pub(crate) fn of(limits: &Limits) -> Self {
        let overshoot = limits.message_bytes_max.saturating_mul(4);
        Self {
            peers_max: limits.peers_max,
            outbox_frames_max: limits.outbox_frames_max.saturating_mul(2),
            outbox_bytes_max: limits.outbox_bytes_max.saturating_add(overshoot),
        }
    }

    /// The wider of the two, bound by bound.
    pub(crate) fn wider(self, other: Self) -> Self {
        Self {
            peers_max: self.peers_max.max(other.peers_max),
            outbox_frames_max: self.outbox_frames_max.max(other.outbox_frames_max),
            outbox_bytes_max: self.outbox_bytes_max.max(other.outbox_bytes_max),
        }
    }
}

/// Which link of a peer is meant; numbers are never used twice by one transport.
///
/// It ties a frame to the `Up` that its sender saw: when a link is replaced, what was built for the old
/// one must not go out on the new one ahead of the greeting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LinkId(pub(crate) u64);

/// The bytes of a frame that came, with the room that they take in the peer's share of memory.
#[derive(Debug)]
pub(crate) struct Inbound {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl std::ops::Deref for Inbound {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What happened on the links.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// A link to `peer` is up.
    Up {
        /// The peer, by the key that it proved to hold.
        peer: NodeId,
        /// The link, for [`Transport::send`].
        link: LinkId,
        /// The peer's address on this link.
        addr: SocketAddr,
        /// The name in its certificate, free of control characters.
        name: String,
    },
    /// One frame came from `peer`: 1 to `message_bytes_max` bytes.
    Frame {
        /// Who sent it.
        peer: NodeId,
        /// Whose stream it came on; normal where the peer has one stream for all.
        class: Class,
        /// The frame. Until it is dropped it counts against `inbox_bytes_max`.
        bytes: Inbound,
    },
    /// Frames given to [`Transport::send`] were handed to QUIC, in order. Told of before the next frame of the
    /// peer and class, once they are an eighth of what may wait, or when none has come for a while; those not told of
    /// when `Down` comes may be lost.
    Written {
        /// To whom.
        peer: NodeId,
        /// Of which class.
        class: Class,
        /// How many.
        frames: usize,
        /// Their length in all, in bytes.
        bytes: usize,
    },
    /// The link to `peer` is gone.
    Down {
        /// Who was at the other end.
        peer: NodeId,
        /// Why, in words, safe to log.
        reason: String,
        /// What the peer did wrong, if that ended the link.
        failure: Option<Failure>,
    },
    /// An inbound attempt was refused. Dropped when the event channel is full, and rare by a limit:
    /// whoever can reach the port can cause them.
    #[allow(dead_code, reason = "the engine shows failures from `links`; the tests read these")]
    Refused {
        /// Where it came from.
        addr: SocketAddr,
        /// Why, in words, safe to log.
        reason: String,
    },
    /// A configured peer could not be reached or refused us. Dropped when the event channel is full.
    DialFailed {
        /// The configured address.
        addr: String,
        /// Who answered there last, or was to answer.
        peer: Option<NodeId>,
        /// How it failed.
        failure: Failure,
        /// Why, in words, safe to log.
        reason: String,
    },
}

impl TransportEvent {
    /// With what class of frames it comes; what belongs to a link or a dial as a whole is urgent.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Frame { class, .. } | Self::Written { class, .. } => *class,
            Self::Up { .. } | Self::Down { .. } | Self::Refused { .. } | Self::DialFailed { .. } => {
                Class::Urgent
            }
        }
    }
}

/// What a breaker that is not closed says of links. Peers without a gate are dialled whenever there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Dialled once for each [`Transport::probe`]; welcome if it dials.
    Held,
    /// No link either way.
    Shut,
    /// The same for good, and not waited for.
    Removed,
}

/// What is known about one peer, configured or linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkStatus {
    /// The configured address, or the remote address of a peer that dialled us.
    pub(crate) addr: String,
    /// The node, once a link proved it (or pinned in the configuration).
    pub(crate) id: Option<NodeId>,
    /// The name in its certificate, if it is linked.
    pub(crate) name: Option<String>,
    /// True if [`PeerAddr`] lists it, and it is not removed: converging waits for it.
    pub(crate) configured: bool,
    /// True if its breaker took it off the list.
    pub(crate) removed: bool,
    /// True if a link is up.
    pub(crate) connected: bool,
    /// True if [`Transport::set_blocked`] names it.
    pub(crate) blocked: bool,
    /// Why the last attempt failed or the last link went down; `None` once a link is up.
    pub(crate) failure: Option<String>,
    /// Dials of the configured address since the start.
    pub(crate) attempts: u64,
    /// Frames that wait to be written, those being written included.
    pub(crate) queued_frames: usize,
}

/// Why the transport did not start. Nothing was left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be bound.
    #[error("cannot listen on UDP {addr}: {error}; choose another --listen address or stop what uses it")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The identity is not usable for TLS.
    #[error("the identity cannot be used for TLS: {0}; issue it again from the cluster CA")]
    Tls(String),
    /// A duration or size in the configuration is out of range.
    #[error("transport configuration: {0}")]
    Config(&'static str),
}

/// Why the certificate, the CAs or the list of the revoked of a running node stay as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Operator: the new key is another, and a node is its key.
    #[error(
        "the new certificate is of node {}, this is node {}: a renewed certificate keeps its key; for another key stop \
         the node and start it with a new data folder", new.short(), own.short()
    )]
    OtherNode {
        /// This node.
        own: NodeId,
        /// Whose certificate it is.
        new: NodeId,
    },
    /// Operator: TLS cannot be set up with it.
    #[error("the new certificate cannot be used for TLS: {0}; issue it again from the cluster CA")]
    Unusable(String),
    /// Operator: the files cannot be read, or do not fit each other.
    #[error(transparent)]
    Files(#[from] CertError),
    /// Caller: the node was started without [`NodeBuilder::watch_certificates`](crate::NodeBuilder::watch_certificates).
    #[error("this node was not told in which folder its certificate lies")]
    NoFolder,
    /// Caller: the node is shutting down or has shut down.
    #[error("the node is shut down; start another")]
    Closed,
}

/// All links of this node. Dropping it closes them at once; [`Self::shutdown`] does so in good order.
#[derive(Debug)]
pub(crate) struct Transport {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    local_addr: SocketAddr,
    /// True once this node stops. Each task holds a receiver until it ends.
    stop: watch::Sender<bool>,
}

impl Transport {
    /// Binds the socket, lets peers in and starts to dial. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError`] as its variants say; then nothing was left running.
    pub(crate) async fn bind(config: TransportConfig, events: Queues) -> Result<Self, TransportError> {
        config.check()?;
        let mut life = Life::default();
        getrandom::fill(&mut life)
            .map_err(|_| TransportError::Config("the operating system gave no randomness"))?;
        let (endpoint, tls) = endpoint::open(&config)?;
        let listen = config.listen;
        let local_addr =
            endpoint.local_addr().map_err(|error| TransportError::Bind { addr: listen, error })?;
        let shared = Arc::new(Shared::new(config, tls, life, events));
        let stop = watch::Sender::new(false);
        tokio::spawn(endpoint::accept(Arc::clone(&shared), endpoint.clone(), stop.subscribe()));
        let dials = shared.dial_ids();
        let transport = Self { shared, endpoint, local_addr, stop };
        dials.into_iter().for_each(|dial| transport.keep_dialling(dial));
        Ok(transport)
    }

    fn keep_dialling(&self, dial: DialId) {
        let (shared, endpoint) = (Arc::clone(&self.shared), self.endpoint.clone());
        tokio::spawn(dial::keep(shared, dial, endpoint, self.stop.subscribe()));
    }

    /// Dials one more peer from now on; nothing changes if it is dialled already. Must be called inside a tokio
    /// runtime. False if as many peers are dialled as there may be.
    pub(crate) fn add_peer(&self, to: PeerAddr) -> bool {
        match self.shared.add_dial(to) {
            Added::New(dial) => self.keep_dialling(dial),
            Added::Known => {}
            Added::Full => return false,
        }
        true
    }

    /// Other bounds from now on. Links and frames that are there already stay.
    pub(crate) fn set_bounds(&self, bounds: LinkBounds) {
        self.shared.set_bounds(bounds);
    }

    /// Dials `addr` no more; false if it was not dialled. A link that is up stays.
    pub(crate) fn remove_peer(&self, addr: &str) -> bool {
        self.shared.remove_dial(addr)
    }

    /// Who was found at an address that was removed.
    pub(crate) fn formerly_at(&self, addr: &str) -> Option<NodeId> {
        self.shared.formerly_at(addr)
    }

    /// What the breakers say of links, in place of what they said before. Links to peers that are shut out are closed by
    /// who decided that; here new ones are refused.
    pub(crate) fn set_gates(&self, gates: BTreeMap<NodeId, Gate>) {
        self.shared.set_gates(gates);
    }

    /// Dials a held peer once, at once.
    pub(crate) fn probe(&self, peer: NodeId) {
        self.shared.permit(peer);
    }

    /// Where we listen.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Queues `frame` for `peer` on the link that `Up` announced, with those of `class`. Never blocks.
    ///
    /// False if that link is gone, its queue is full, or the frame is empty or too long; then no
    /// `Written` follows for it.
    pub(crate) fn send(&self, peer: &NodeId, link: LinkId, class: Class, frame: Vec<u8>) -> bool {
        self.shared.send(peer, link, class, frame)
    }

    /// A frame from `peer` cost so much more than is usual ([`budget::excess`]). Who sends many such is read later.
    pub(crate) fn weighed(&self, peer: &NodeId, excess: u32) {
        if excess > 0
            && let Some(link) = self.shared.current(peer)
        {
            budget::lock(&link.budget).weigh(Instant::now(), excess);
        }
    }

    /// Closes the link to `peer`, if there is one; the peer is told `reason` (cut to 200 characters). It
    /// may be dialled, or dial us, again.
    pub(crate) fn disconnect(&self, peer: &NodeId, reason: &str) {
        if let Some(link) = self.shared.current(peer) {
            link.cut(Refusal::new(Close::Disconnected, refusal::told(reason)));
        }
    }

    /// From now on has no link to any of `peers`: closes those that exist and refuses new ones both ways,
    /// until the next call. Replaces the set of the call before.
    pub(crate) fn set_blocked(&self, peers: BTreeSet<NodeId>) {
        self.shared.set_blocked(peers);
    }

    /// Every configured and every linked peer, configured ones first and in the configured order.
    pub(crate) fn links(&self) -> Vec<LinkStatus> {
        self.shared.links()
    }

    /// When the validity of this node's own certificate ends.
    pub(crate) fn certificate_ends(&self) -> SystemTime {
        self.shared.trust.own_ends()
    }

    /// Closes all links with a reason, and waits (at most two seconds) until peers have been told and
    /// our tasks have ended.
    ///
    /// What was queued is still written, for at most one second. `Down` events that find no room in the
    /// channel are dropped. A second call returns at once.
    pub(crate) async fn shutdown(&self) {
        let deadline = tokio::time::Instant::now() + SHUTDOWN_MAX;
        self.stop.send_replace(true);
        let _ = tokio::time::timeout_at(deadline, self.stop.closed()).await;
        self.endpoint.close(Close::ShuttingDown.code(), SHUTDOWN_REASON);
        let _ = tokio::time::timeout_at(deadline, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.endpoint.close(Close::ShuttingDown.code(), SHUTDOWN_REASON);
    }
}

/// Longest time that [`Transport::shutdown`] takes.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

const SHUTDOWN_REASON: &[u8] = b"the node that closes is shutting down";
