//! From a configuration to a running node: checks it, mints the ids of this life, binds, starts tasks.
//!
//! Every start draws a new replica id and seed from the operating system, clean stop or not: an id that comes back
//! could name two different events (DESIGN section 4, incarnations). The counter owner is new too, unless a disk
//! holds one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::{Limits, Timing};
use sync_core::message::LABEL_BYTES_MAX;
use sync_core::node::{Config, DEFAULT_NAMESPACE};
use sync_core::types::user::{Registry, UserTag};
use sync_disk::Disk;
use tokio::sync::{Notify, mpsc, watch};

use crate::bootstrap::Progress;
use crate::certs::{REVOKED_FILE, Revoked};
use crate::clock::Clock;
use crate::driver;
use crate::error::StartError;
use crate::evidence::EvidenceLog;
use crate::handles::CustomType;
use crate::identity::Identity;
use crate::metrics::Divergence;
use crate::node::{Node, Phase, Shared};
use crate::renewal::{self, Renewal};
use crate::storage::{self, Begun, Durability, OnDisk, Place, Storage};
use crate::transport::{PeerAddr, Transport, TransportConfig};
use crate::visible::Prompt;
use crate::watch::Watchers;
use crate::watchdog::Watchdog;

/// Transport events that wait for the driver. When full the transport stops reading its streams and
/// QUIC pushes back on the peers. 1,000 received frames are the product's queue size.
const TRANSPORT_EVENTS_MAX: usize = 1_000;

/// What a node needs to know to start; from [`Node::builder`].
#[derive(Debug)]
#[must_use]
pub struct NodeBuilder {
    identity: Option<Identity>,
    certificates: Option<PathBuf>,
    cluster: String,
    listen: SocketAddr,
    peers: Vec<PeerAddr>,
    limits: Limits,
    timing: Timing,
    types: Vec<(UserTag, &'static str)>,
    place: Option<Place>,
    durability: Durability,
}

impl NodeBuilder {
    pub(crate) fn new() -> Self {
        Self {
            identity: None,
            certificates: None,
            cluster: "default".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            peers: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            types: Vec::new(),
            place: None,
            durability: Durability::default(),
        }
    }

    /// The node's certificate and key, and the CA whose nodes it talks to. There is no default.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The folder with `ca.pem`, `node.pem` and `node.key`, and `revoked` if there is one, is looked at every second from
    /// now on: a renewed certificate, other CAs and a changed list of the revoked are in force within two seconds. What
    /// cannot be used changes nothing, see [`Node::health`]. Without it [`Node::reload_identity`] and
    /// [`Node::set_revoked`] do the same.
    pub fn watch_certificates(mut self, folder: impl Into<PathBuf>) -> Self {
        self.certificates = Some(folder.into());
        self
    }

    /// The cluster's label, at most 64 bytes. Nodes with different labels refuse each other: a guard
    /// against mixing two clusters of one CA, not a secret. Default `"default"`.
    pub fn cluster(mut self, label: &str) -> Self {
        label.clone_into(&mut self.cluster);
        self
    }

    /// Where to listen for peers (UDP), and where this node dials from. Port 0 takes a free one, see
    /// [`Node::listen_addr`]. Default `127.0.0.1:0`, which no other machine can reach.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// One more peer to dial and to keep dialling. Peers that dial this node need no entry.
    pub fn peer(mut self, peer: PeerAddr) -> Self {
        self.peers.push(peer);
        self
    }

    /// The bounds of the store, the frames and the queues. Default [`Limits::default`]; [`Limits::with_room`] raises
    /// together what belongs together.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Periods and deadlines of the protocol. Default [`Timing::default`].
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// One more type of the application, whose name the tools shall show. Types work without it.
    pub fn custom_type<T: CustomType>(mut self) -> Self {
        self.types.push((T::TAG, T::NAME));
        self
    }

    /// Keeps the state in this folder, which is made if need be and serves one node. Without it the state is in
    /// memory alone.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Folder(folder.into()));
        self
    }

    /// Keeps the state on a disk of the application's making.
    pub fn disk(mut self, disk: Box<dyn Disk>) -> Self {
        self.place = Some(Place::Given(disk));
        self
    }

    /// When writes are acknowledged by [`Node::durable`] that name no level of their own. Default
    /// [`Durability::Immediate`].
    pub fn durability(mut self, level: Durability) -> Self {
        self.durability = level;
        self
    }

    /// Starts the node: binds the address and starts its tasks. Returns before any peer is reached.
    ///
    /// # Errors
    /// [`StartError`]: something is missing or contradictory, the address cannot be bound, or the
    /// operating system gives no randomness. Nothing is left running then.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn start(self) -> Result<Node, StartError> {
        self.check()?;
        let clock = Clock::start();
        let identity = self.identity.ok_or(StartError::Missing { what: "identity", method: "identity" })?;
        let mut types = Registry::default();
        self.types.iter().try_for_each(|(tag, name)| types.register(*tag, name))?;
        let (id, name) = (identity.node_id(), identity.name().to_owned());
        let config = Config {
            cluster: self.cluster.clone(),
            limits: self.limits.clone(),
            timing: self.timing,
            ..Config::new(id, ReplicaId(random()?), OwnerId(random()?), random()?)
        };

        let has_peers = !self.peers.is_empty();
        let Begun { core, disk, damage } = match self.place {
            None => {
                let core = sync_core::node::Node::new(config, clock.now());
                Begun { core, disk: None, damage: None }
            }
            Some(place) => {
                let now = clock.now();
                let begun =
                    tokio::task::spawn_blocking(move || storage::begin(place, config, now, has_peers));
                begun.await.map_err(|broke| StartError::Thread { source: broke.into() })??
            }
        };
        let (storage, writer) = match disk {
            None => (None, None),
            Some(OnDisk { disk, place, reserve }) => {
                let storage = Storage::new(place, self.durability, reserve);
                let writer = storage::Writer::start(disk, reserve, storage.reached.clone());
                let writer = writer.map_err(|source| StartError::Thread { source })?;
                (Some(storage), Some(writer))
            }
        };
        let (events, inbox) = mpsc::channel(TRANSPORT_EVENTS_MAX);
        let mut transport = transport_config(identity, self.listen, self.peers, &self.limits);
        // Before the first peer is let in. Without the list nobody could be: a node that cannot read it does not start.
        if let Some(folder) = &self.certificates {
            transport.revoked = Revoked::load(&folder.join(REVOKED_FILE))?.unwrap_or_default();
        }
        let transport = Transport::bind(transport, events).await?;
        let turns = Arc::new(AtomicU64::new(0));
        let watchdog =
            Watchdog::start(&name, turns.clone()).map_err(|source| StartError::Thread { source })?;
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            id,
            name,
            cluster: self.cluster,
            listen: transport.local_addr(),
            namespace: NamespaceId::named(DEFAULT_NAMESPACE),
            limits: self.limits,
            clock,
            turns,
            transport: Mutex::new(Some(Arc::new(transport))),
            work: Notify::new(),
            progress: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            watchers: Arc::new(Watchers::default()),
            types,
            bootstrap: Progress::default(),
            events: Arc::default(),
            divergence: Divergence::default(),
            prompted: Prompt::default(),
            storage,
            damage,
            evidence: EvidenceLog::default(),
            renewal: Renewal::of(self.certificates),
        });
        driver::spawn(shared.clone(), inbox, watchdog, writer);
        tokio::spawn(renewal::keep(shared.clone()));
        Ok(Node::new(shared))
    }

    fn check(&self) -> Result<(), StartError> {
        let Limits { group_bytes_max, message_bytes_max, value_bytes_max, path_bytes_max, .. } = self.limits;
        let Limits { store_bytes_max, store_bytes_ceiling, .. } = self.limits;
        if self.cluster.len() > LABEL_BYTES_MAX {
            return Err(StartError::ClusterLabel { len: self.cluster.len(), max: LABEL_BYTES_MAX });
        }
        let contradiction = if group_bytes_max >= message_bytes_max {
            format!(
                "group_bytes_max ({group_bytes_max}) must stay below message_bytes_max ({message_bytes_max})"
            )
        } else if value_bytes_max.saturating_add(path_bytes_max) > group_bytes_max {
            format!(
                "one value ({value_bytes_max}) and its path ({path_bytes_max}) must fit into \
                 group_bytes_max ({group_bytes_max})"
            )
        } else if store_bytes_ceiling < store_bytes_max {
            format!(
                "store_bytes_ceiling ({store_bytes_ceiling}) must not be below store_bytes_max \
                 ({store_bytes_max}), or peers refuse what is written here; Limits::with_room sets both"
            )
        } else {
            return Ok(());
        };
        Err(StartError::Limits { reason: contradiction })
    }
}

/// The transport's bounds follow the core's. Its queue for a peer is the looser one, by what the core may
/// overshoot: the core stops building frames before the transport has to refuse one.
fn transport_config(
    identity: Identity,
    listen: SocketAddr,
    peers: Vec<PeerAddr>,
    limits: &Limits,
) -> TransportConfig {
    TransportConfig {
        message_bytes_max: limits.message_bytes_max,
        peers_max: limits.peers_max,
        outbox_frames_max: limits.outbox_frames_max.saturating_mul(2),
        outbox_bytes_max: limits.outbox_bytes_max.saturating_add(limits.message_bytes_max.saturating_mul(4)),
        ..TransportConfig::new(identity, listen, peers)
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Randomness { reason: error.to_string() })?;
    Ok(bytes)
}
