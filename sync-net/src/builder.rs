//! From a configuration to a running node: checks it, mints the ids of this life, binds, starts tasks.
//!
//! Every start draws a new replica id and seed from the operating system, clean stop or not: an id that comes back
//! could name two different events (DESIGN section 4, incarnations). The counter owner is new too, unless a disk
//! holds one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use sync_core::class::Class;
use sync_core::id::{OwnerId, ReplicaId};
use sync_core::limits::{Limits, Timing};
use sync_core::message::LABEL_BYTES_MAX;
use sync_core::node::{Config, DEFAULT_NAMESPACE, NamespaceConfig};
use sync_core::types::user::{Registry, UserTag};
use sync_disk::Disk;
use tokio::sync::{Notify, watch};

use crate::bootstrap::Progress;
use crate::certs::{REVOKED_FILE, Revoked};
use crate::clock::Clock;
use crate::driver;
use crate::error::StartError;
use crate::evidence::EvidenceLog;
use crate::handles::CustomType;
use crate::identity::Identity;
use crate::metrics::Divergence;
use crate::namespace::Space;
use crate::node::{Node, Phase, Shared};
use crate::renewal::{self, Renewal};
use crate::settings::Settings;
use crate::storage::{self, Begun, Durability, OnDisk, Place, Storage};
use crate::transport::{self, LinkBounds, PeerAddr, Transport, TransportConfig};
use crate::visible::Prompt;
use crate::visible::waits::Waits;
use crate::watch::Watchers;
use crate::watchdog::Watchdog;

/// Transport events of one class that wait for the driver. When full the transport stops reading the streams of that
/// class and QUIC pushes back on the peers. 1,000 received frames are the product's queue size.
const TRANSPORT_EVENTS_MAX: usize = 1_000;

/// What a node needs to know to start; from [`Node::builder`].
#[derive(Debug)]
#[must_use]
pub struct NodeBuilder {
    identity: Option<Identity>,
    certificates: Option<PathBuf>,
    settings: Settings,
    types: Vec<(UserTag, &'static str)>,
    namespaces: Vec<(String, NamespaceConfig)>,
    place: Option<Place>,
}

impl NodeBuilder {
    pub(crate) fn new() -> Self {
        Self {
            identity: None,
            certificates: None,
            settings: Settings::default(),
            types: Vec::new(),
            namespaces: Vec::new(),
            place: None,
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

    /// All that a configuration says of a node but its certificate, in place of what the builder was told before: bounds,
    /// times, where to listen, whom to dial, where the data lie. See [`crate::settings`] and [`Node::reload`].
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.settings = settings.clone();
        self.place = settings.data_folder().map(Place::Folder);
        self
    }

    /// The cluster's label, at most 64 bytes. Nodes with different labels refuse each other: a guard
    /// against mixing two clusters of one CA, not a secret. Default `"default"`.
    pub fn cluster(mut self, label: &str) -> Self {
        label.clone_into(&mut self.settings.cluster);
        self
    }

    /// Where to listen for peers (UDP), and where this node dials from. Port 0 takes a free one, see
    /// [`Node::listen_addr`]. Default `127.0.0.1:0`, which no other machine can reach.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.settings.listen = Some(addr);
        self
    }

    /// One more peer to dial and to keep dialling. Peers that dial this node need no entry.
    pub fn peer(mut self, peer: PeerAddr) -> Self {
        self.settings.peers.push(peer);
        self
    }

    /// The bounds of the store, the frames and the queues. Default [`Limits::default`]; [`Limits::with_room`] raises
    /// together what belongs together.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Periods and deadlines of the protocol. Default [`Timing::default`].
    pub fn timing(mut self, timing: Timing) -> Self {
        self.settings.timing = timing;
        self
    }

    /// One more namespace that is open from the start, with the node's limits ([`Self::limits`], called before). The one
    /// called `default` is open anyway. See [`Node::open_namespace`].
    ///
    /// ```
    /// # use sync_net::{Class, ClusterCa, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// let node = Node::builder()
    ///     .identity(identity)
    ///     .namespace("alarms", Class::Urgent)
    ///     .namespace("history", Class::Bulk)
    ///     .start()
    ///     .await?;
    /// node.namespace("history")?.log::<String>("2026-11", sync_net::Bound { entries: 100, age_ms: u64::MAX });
    /// assert_eq!(node.namespaces().len(), 3);
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn namespace(mut self, name: &str, class: Class) -> Self {
        self.settings.namespaces.push((name.to_owned(), class));
        self
    }

    /// As [`Self::namespace`], with limits of its own; see [`Node::open_namespace_with`].
    pub fn namespace_with(mut self, name: &str, class: Class, limits: Limits) -> Self {
        self.namespaces.push((name.to_owned(), NamespaceConfig { class, limits }));
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
        self.settings.durability = level;
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
            cluster: self.settings.cluster.clone(),
            limits: self.settings.limits.clone(),
            timing: self.settings.timing,
            ..Config::new(id, ReplicaId(random()?), OwnerId(random()?), random()?)
        };

        let has_peers = !self.settings.peers.is_empty();
        let Begun { mut core, disk, damage } = match self.place {
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
        let limits = &self.settings.limits;
        let of_settings =
            self.settings.namespaces.iter().map(|(name, class)| {
                (name.clone(), NamespaceConfig { class: *class, limits: limits.clone() })
            });
        for (name, config) in of_settings.chain(self.namespaces) {
            let opened = core.open_namespace(clock.now(), &name, config);
            opened.map_err(|error| StartError::Namespace { name, error })?;
        }
        let (storage, writer) = match disk {
            None => (None, None),
            Some(OnDisk { disk, place, reserve }) => {
                let storage = Storage::new(place, self.settings.durability, reserve);
                let writer = storage::Writer::start(disk, reserve, storage.reached.clone());
                let writer = writer.map_err(|source| StartError::Thread { source })?;
                (Some(storage), Some(writer))
            }
        };
        let (events, inbox) = transport::queues(TRANSPORT_EVENTS_MAX);
        let mut transport = transport_config(identity, &self.settings);
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
            cluster: self.settings.cluster.clone(),
            listen: transport.local_addr(),
            default: Space::named(DEFAULT_NAMESPACE),
            limits: Mutex::new(Arc::new(self.settings.limits.clone())),
            settings: Mutex::new(self.settings),
            clock,
            turns,
            transport: Mutex::new(Some(Arc::new(transport))),
            work: Notify::new(),
            progress: Notify::new(),
            waits: Waits::default(),
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
        let Settings { limits, cluster, .. } = &self.settings;
        let Limits { group_bytes_max, message_bytes_max, value_bytes_max, path_bytes_max, .. } = *limits;
        let Limits { store_bytes_max, store_bytes_ceiling, .. } = *limits;
        if cluster.len() > LABEL_BYTES_MAX {
            return Err(StartError::ClusterLabel { len: cluster.len(), max: LABEL_BYTES_MAX });
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

fn transport_config(identity: Identity, settings: &Settings) -> TransportConfig {
    let listen = settings.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    TransportConfig {
        message_bytes_max: settings.limits.message_bytes_max,
        bounds: LinkBounds::of(&settings.limits),
        ..TransportConfig::new(identity, listen, settings.peers.clone())
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Randomness { reason: error.to_string() })?;
    Ok(bytes)
}
