//! The node that an application holds: one core state machine behind one lock.
//!
//! Application calls lock the core for one step and return at once; a write then wakes the driver,
//! which sends what there is to send. Nothing here waits for the network but [`Node::converge`] and
//! [`Node::shutdown`], and neither holds the lock while it waits.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sync_core::class::Class;
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::node::{NamespaceError, Node as Core, Written};
use sync_core::store::Store;
use sync_core::token::Token;
use sync_core::trace::TraceContext;
use sync_core::types::user::Registry;
use sync_disk::DiskError;
use tokio::sync::{Notify, watch};

use crate::access::Place;
use crate::bootstrap::{Bootstrap, Bootstraps, Progress};
use crate::builder::NodeBuilder;
use crate::certs::Revoked;
use crate::clock::Clock;
use crate::converge::cluster::ClusterReport;
use crate::converge::{ConvergeError, ConvergeReport};
use crate::error::Error;
use crate::events::{EventHub, Events};
use crate::evidence::EvidenceLog;
use crate::handles::opens;
use crate::health::{self, Health};
use crate::identity::Identity;
use crate::inspect::{self, Inspection, KeyInfo, Knowledge, NodeStatus, PeerInfo};
use crate::metrics::{self, Divergence};
use crate::namespace::{self, Namespace, NamespaceInfo, NoNamespace, Space};
use crate::peers::{self, PeerError, PeerMoved, PeerRetired};
use crate::reload;
use crate::renewal::{self, Renewal, Renewed};
use crate::settings::{Mistakes, Reloaded, Settings};
use crate::storage::{self, Backup, Damage, Durability, DurableError, Storage};
use crate::survey::SurveyReport;
use crate::transport::{LinkStatus, ReloadError, Transport};
use crate::tx::Tx;
use crate::view::View;
use crate::visible::waits::Waits;
use crate::visible::{self, Prompt, Visibility, Visible, VisibleError, WaitError};
use crate::watch::{Conflicts, Policy, Start, Watch, Watchers};

/// A running node. Cloning is cheap and gives another name for the same node.
///
/// When the last clone, handle and local endpoint of a node are dropped, its links are closed without
/// a hand-over; [`Self::shutdown`] first hands over what peers lack.
#[derive(Clone)]
pub struct Node {
    owned: Arc<Owned>,
}

/// What all clones of a node share; dropping the last stops the driver, which holds only [`Shared`].
struct Owned {
    shared: Arc<Shared>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.shared.enter(Phase::Closing);
    }
}

/// What the driver and the application share.
pub(crate) struct Shared {
    /// Locked for one step, never across an await.
    pub(crate) core: Mutex<Core>,
    pub(crate) id: NodeId,
    /// The name in our certificate.
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) listen: SocketAddr,
    /// The namespace that is meant where none is named.
    pub(crate) default: Arc<Space>,
    /// The core's limits, to decode frames without its lock.
    pub(crate) limits: Mutex<Arc<Limits>>,
    /// What is in force, but for what the application told the core itself.
    pub(crate) settings: Mutex<Settings>,
    pub(crate) clock: Clock,
    /// Turns of the driver's loop.
    pub(crate) turns: Arc<AtomicU64>,
    /// Gone once the node has stopped, and with it the socket: the port is free again.
    pub(crate) transport: Mutex<Option<Arc<Transport>>>,
    /// The application did something that the driver must act on.
    pub(crate) work: Notify,
    /// The driver took in something that a waiting `converge` may want to look at.
    pub(crate) progress: Notify,
    /// Who waits for writes, and for what exactly.
    pub(crate) waits: Waits,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) watchers: Arc<Watchers>,
    /// The names of the application's own types.
    pub(crate) types: Registry,
    /// The large answer on its way in.
    pub(crate) bootstrap: Progress,
    /// Who follows what happens, and how often alarms were raised.
    pub(crate) events: Arc<EventHub>,
    /// What the last survey of each peer found.
    pub(crate) divergence: Divergence,
    /// When roots of a namespace were last exchanged for somebody who waits for a write.
    pub(crate) prompted: Prompt,
    /// Who waits for the disk, where there is one.
    pub(crate) storage: Option<Storage>,
    /// Why this node may only be read, if so.
    pub(crate) damage: Option<Damage>,
    /// What peers did against the protocol.
    pub(crate) evidence: EvidenceLog,
    /// Where its certificate is read again.
    pub(crate) renewal: Renewal,
}

/// The life of a node; it only ever goes forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// Reads and writes.
    Running,
    /// No more writes; what peers lack is handed over.
    HandingOver,
    /// Links are being closed.
    Closing,
    /// The driver has ended.
    Stopped,
}

impl Shared {
    /// The core, for one step.
    ///
    /// Closures of the application never run unguarded under this lock, so it is poisoned only when an
    /// invariant of the core broke. Its state cannot be trusted then, nor shown to a peer.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("the core has not panicked: see the first panic of this process")
    }

    /// The limits that frames are decoded with.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.limits.lock().expect("nothing panics while the limits are copied or replaced").clone()
    }

    /// The links to peers; `None` once the node has stopped.
    pub(crate) fn transport(&self) -> Option<Arc<Transport>> {
        self.transport.lock().expect("nothing panics while the transport is taken or cloned").clone()
    }

    /// Lets go of the links; what holds them still lets go soon, and then the socket is closed.
    pub(crate) fn forget_transport(&self) {
        self.transport.lock().expect("nothing panics while the transport is taken or cloned").take();
    }

    /// Every configured and every linked peer; none once the node has stopped.
    pub(crate) fn links(&self) -> Vec<LinkStatus> {
        self.transport().map(|transport| transport.links()).unwrap_or_default()
    }

    /// Moves on to `phase`, never back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let forward = *current < phase;
            *current = phase.max(*current);
            forward
        });
    }

    /// Who waits for other nodes looks again: who counts has changed, or what it waits in was closed.
    pub(crate) fn look_again(&self) {
        self.progress.notify_waiters();
        self.waits.wake_all();
    }

    /// Spares writers the report of changes that nobody reads.
    pub(crate) fn unwatch_if_unwatched(&self) {
        // Under the lock, like whoever begins to follow and turns reports on.
        let mut core = self.core();
        if self.watchers.is_without_conflicts() {
            core.set_conflicts(false);
        }
        if self.watchers.is_idle() {
            core.set_changes(false);
        }
    }

    /// The store of a namespace that is kept here, open or closed.
    pub(crate) fn store<'a>(&self, core: &'a Core, namespace: NamespaceId) -> &'a Store {
        core.kept_store(namespace).expect("a namespace that a handle names is kept")
    }

    /// The name of a namespace that is kept here; else its id.
    pub(crate) fn name_of(&self, core: &Core, namespace: NamespaceId) -> String {
        let kept = core.namespace_statuses().into_iter().find(|status| status.id == namespace);
        let named = kept.map(|status| status.name).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| namespace.to_hex())
    }
}

impl Node {
    /// What a node needs to know to start.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { owned: Arc::new(Owned { shared }) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.owned.shared
    }

    pub(crate) fn shared_arc(&self) -> Arc<Shared> {
        self.owned.shared.clone()
    }

    /// Who this node is, over all its starts: the hash of its certificate's public key.
    pub fn id(&self) -> NodeId {
        self.shared().id
    }

    /// The actor of this node's events in this life. It changes if the node finds its id in use by
    /// another and takes a new one.
    pub fn replica(&self) -> ReplicaId {
        self.shared().core().replica()
    }

    /// Where this node listens for peers.
    pub fn listen_addr(&self) -> SocketAddr {
        self.shared().listen
    }

    /// Whose contributions to counters this node's are, and whose rights of bounded counters.
    pub fn owner(&self) -> OwnerId {
        self.shared().core().owner()
    }

    fn open(&self, key: &str) -> (Namespace, Place) {
        (self.default_namespace(), Place::key(key))
    }

    /// The namespace that this node's own methods mean. It is called `"default"`, is of class normal, and is always open.
    pub fn default_namespace(&self) -> Namespace {
        Namespace::new(self.clone(), self.shared().default.clone())
    }

    /// The namespace called `name`, if this node keeps it, open or closed.
    ///
    /// # Errors
    /// [`NoNamespace`]: it was never opened here.
    pub fn namespace(&self, name: &str) -> Result<Namespace, NoNamespace> {
        namespace::find(self, name)
    }

    /// Opens a namespace while the node runs, with the node's own limits: it is shared with every peer that has it open
    /// too. What it held when it was closed, or on the disk, is there. [`NodeBuilder::namespace`] opens one at the start.
    ///
    /// A namespace is a store of its own: its keys, its limits, its own order of events. Nothing in one waits for
    /// another, so what must not wait goes into one of its own class:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sync_net::{Class, ClusterCa, Node, Visibility};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// # let node = Node::builder().identity(identity).start().await?;
    /// let alarms = node.open_namespace("alarms", Class::Urgent)?;
    /// let written = alarms.or_set::<String>("raised").add(&"smoke".to_owned())?;
    /// // Confirmed by all members:
    /// alarms.visible(&written.token(), Visibility::All, Duration::from_secs(10)).await?;
    /// assert!(!node.or_set::<String>("raised").contains(&"smoke".to_owned()), "another store");
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NamespaceError`]: it is open already, the name is too long, or there is no room for one more; nothing changed.
    pub fn open_namespace(&self, name: &str, class: Class) -> Result<Namespace, NamespaceError> {
        self.open_namespace_with(name, class, self.shared().limits().as_ref().clone())
    }

    /// As [`Self::open_namespace`], with limits of its own. Of them those count that are of a namespace:
    /// [`Limits::crdts_max`] to [`Limits::group_bytes_max`], records and log.
    ///
    /// # Errors
    /// As [`Self::open_namespace`].
    pub fn open_namespace_with(
        &self,
        name: &str,
        class: Class,
        limits: Limits,
    ) -> Result<Namespace, NamespaceError> {
        namespace::open(self, name, class, limits)
    }

    /// Closes a namespace: it is shared with nobody any more, and takes no writes. What it holds stays, here and on the
    /// disk, and can be read; opening it again goes on with it. Peers go on among themselves.
    ///
    /// # Errors
    /// [`NamespaceError`]: it is not open, or is the default one; nothing changed.
    pub fn close_namespace(&self, name: &str) -> Result<(), NamespaceError> {
        namespace::close(self, name)
    }

    /// Every namespace that is kept here, open and closed, by name. Brings the Merkle trees up to date first.
    pub fn namespaces(&self) -> Vec<NamespaceInfo> {
        inspect::namespaces(self.shared())
    }

    /// Several writes as one atomic group: every replica sees all of them or none.
    ///
    /// If the closure or one of its operations fails, or the closure panics, nothing is written. The
    /// closure runs under the node's lock: it must be short and must not call this node, only its `Tx`.
    ///
    /// ```
    /// # use sync_net::{ClusterCa, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// # let node = Node::builder().identity(identity).start().await?;
    /// node.transaction(|tx| {
    ///     tx.or_set::<String>("cart/7").add(&"tea".to_owned())?;
    ///     tx.pn_counter("stock/tea").add(-1)
    /// })?;
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first [`Error`] of an operation, or what the closure returned; [`Error::Closed`] after
    /// [`Self::shutdown`].
    pub fn transaction<T>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
    ) -> Result<(T, Written), Error> {
        self.default_namespace().transaction(f)
    }

    /// Removes every CRDT at `key`, whatever its type, as far as it is seen here; counts them. Concurrent writes
    /// survive, and the key can be used again at once. [`crate::OrMap::remove`] does so in a nested map.
    ///
    /// # Errors
    /// [`Error::Write`] for a limit, or [`WriteError::RightsOut`](sync_core::error::WriteError::RightsOut) if others may hold rights of a bounded counter;
    /// [`Error::Closed`]. Nothing changed then.
    pub fn remove(&self, key: &str) -> Result<(u64, Written), Error> {
        self.default_namespace().remove(key)
    }

    pub(crate) fn running(&self) -> Result<(), Error> {
        match *self.shared().phase.borrow() {
            Phase::Running => Ok(()),
            Phase::HandingOver | Phase::Closing | Phase::Stopped => Err(Error::Closed),
        }
    }

    /// Several reads of one state. The closure runs under the node's lock: it must be short and must
    /// not call this node, only its view.
    pub fn read<T>(&self, f: impl FnOnce(&View<'_>) -> T) -> T {
        self.default_namespace().read(f)
    }

    /// Waits until a write is on the disk, as the node's [`Durability`] asks for: with [`Durability::None`] not at all.
    /// A node without a disk has nothing to wait for.
    ///
    /// ```
    /// # use sync_net::{ClusterCa, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// # let dir = tempfile::tempdir()?;
    /// let node = Node::builder().identity(identity).data(dir.path()).start().await?;
    /// let written = node.pn_counter("stock/tea").add(-1)?;
    /// node.durable(&written).await?;
    /// # node.shutdown().await;
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`DurableError`]: the write stays in memory, and no other node sees it before it is on the disk.
    pub async fn durable(&self, written: &Written) -> Result<(), DurableError> {
        storage::durable(self.shared(), written.step, None).await
    }

    /// As [`Self::durable`], by a level of the write's own.
    ///
    /// # Errors
    /// As [`Self::durable`].
    pub async fn durable_as(&self, written: &Written, level: Durability) -> Result<(), DurableError> {
        storage::durable(self.shared(), written.step, Some(level)).await
    }

    /// Why this node may only be read: its store was damaged on the disk, and no peer is configured to fetch it from.
    /// Writes fail with [`WriteError::Damaged`](sync_core::error::WriteError::Damaged), and no peer is let in.
    pub fn damage(&self) -> Option<&Damage> {
        self.shared().damage.as_ref()
    }

    /// Writes all that this node holds now to a new file at `path`, for [`crate::data::restore`]. The node goes on
    /// meanwhile; writes that come during it are not in it.
    ///
    /// # Errors
    /// [`DiskError`]: there is a file of that name, which is kept, the disk fails, or the node is
    /// [damaged](Self::damage). No part of a file is left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn backup(&self, path: impl Into<PathBuf>) -> Result<Backup, DiskError> {
        let (path, id) = (path.into(), self.id());
        if let Some(Damage { file, .. }) = self.damage() {
            let reason = "the store is damaged, and a backup would hide it; copy the file, export what is readable, or \
                          accept the loss first"
                .to_owned();
            return Err(DiskError::Io { doing: "backing up", path: file.into(), reason });
        }
        let image = self.shared().core().image();
        let written = tokio::task::spawn_blocking(move || {
            let step = image.into_rows(id);
            let bytes = sync_disk::write_backup(&path, &step)?;
            Ok(Backup { path: path.display().to_string(), bytes, rows: step.rows.len() as u64 })
        });
        written.await.expect("writing a file does not panic")
    }

    /// As [`Self::durable_as`], for all that has happened on this node so far.
    pub(crate) async fn durable_so_far(&self, level: Option<Durability>) -> Result<(), DurableError> {
        let step = self.shared().core().step();
        storage::durable(self.shared(), step, level).await
    }

    /// Waits until the writes of `token`, of whatever namespace, are visible at so many nodes: until their readers see
    /// them. Says who they are, and who is not known to have them. A write of an urgent namespace goes to every peer
    /// directly and before all else: with [`Visibility::All`], this is its confirmation by all.
    ///
    /// It says nothing of disks. What a peer confirmed once counts for as long as that peer lives, also while it is
    /// away. Waiting costs no traffic for the first 20 ms; on a local network a peer confirms within one round trip.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sync_net::{ClusterCa, Node, PeerAddr, Visibility};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let ca = ClusterCa::create("example")?;
    /// # let peer = Node::builder().identity(ca.issue("node-2")?).start().await?;
    /// # let addr = PeerAddr { addr: peer.listen_addr().to_string(), id: None };
    /// # let node = Node::builder().identity(ca.issue("node-1")?).peer(addr).start().await?;
    /// let written = node.or_set::<String>("cart/7").add(&"tea".to_owned())?;
    /// let visible = node.visible(&written.token(), Visibility::All, Duration::from_secs(10)).await?;
    /// assert_eq!(visible.holders.len(), 1);
    /// assert!(peer.or_set::<String>("cart/7").contains(&"tea".to_owned()));
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`VisibleError::TimedOut`] names the members that have it and those that do not, and why. The write stays
    /// and goes on spreading; an empty token is visible everywhere at once.
    pub async fn visible(
        &self,
        token: &Token,
        wanted: Visibility,
        timeout: Duration,
    ) -> Result<Visible, VisibleError> {
        visible::visible(self.shared(), token, wanted, timeout).await
    }

    /// Waits until this node has all writes of `token`, of whatever namespace, whoever took them.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] says how many events are lacking.
    pub async fn wait_for(&self, token: &Token, timeout: Duration) -> Result<(), WaitError> {
        visible::wait_for(self.shared(), token, timeout).await
    }

    /// Reads a state that has all writes of `token`: one's own writes, on another node. See [`Self::read`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sync_net::{ClusterCa, Node, PeerAddr, Token};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let ca = ClusterCa::create("example")?;
    /// # let other = Node::builder().identity(ca.issue("node-2")?).start().await?;
    /// # let addr = PeerAddr { addr: other.listen_addr().to_string(), id: None };
    /// # let node = Node::builder().identity(ca.issue("node-1")?).peer(addr).start().await?;
    /// // Where the client wrote:
    /// let token = node.pn_counter("stock/tea").add(-1)?.token().to_string();
    /// // Where it reads, with the token in a header or a cookie:
    /// let token: Token = token.parse()?;
    /// let read = other.read_after(&token, Duration::from_secs(10), |view| view.pn_counter("stock/tea").value());
    /// assert_eq!(read.await?, -1);
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::wait_for`]; nothing was read then.
    pub async fn read_after<T>(
        &self,
        token: &Token,
        timeout: Duration,
        f: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, WaitError> {
        self.default_namespace().read_after(token, timeout, f).await
    }

    /// Forgets a peer that is gone for good: no write waits for it any more, and marks of remove-wins sets that it
    /// has not confirmed can be ended. False if it is linked, configured, or was never met. If it comes back all
    /// the same it is met anew.
    pub fn forget_peer(&self, peer: NodeId) -> bool {
        let configured = |link: &LinkStatus| link.id == Some(peer) && (link.configured || link.connected);
        if self.shared().links().iter().any(configured) {
            return false;
        }
        let known = self.shared().core().forget(peer);
        self.shared().work.notify_one();
        self.shared().look_again();
        known
    }

    /// Changes from now on below the keys that start with `prefix`; `""` watches all. The node never
    /// waits for a watcher, see [`crate::WatchEvent::Lagged`].
    ///
    /// ```
    /// # use sync_net::{ClusterCa, Node, WatchEvent};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// # let node = Node::builder().identity(identity).start().await?;
    /// let mut watch = node.watch("cart/");
    /// node.or_set::<String>("cart/7").add(&"tea".to_owned())?;
    /// if let Some(WatchEvent::Batch { changes }) = watch.next().await {
    ///     assert_eq!((changes[0].key(), changes[0].decode_path::<String>()?), ("cart/7", "tea".to_owned()));
    /// }
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn watch(&self, prefix: &str) -> Watch {
        self.watch_from(prefix, Start::Now, Policy::Steps)
    }

    /// As [`Self::watch`], from `start` on, keeping what is not read by `policy`.
    pub fn watch_from(&self, prefix: &str, start: Start, policy: Policy) -> Watch {
        self.default_namespace().watch_from(prefix, start, policy)
    }

    /// Tells from now on of writes of this node that lose to concurrent ones.
    pub fn conflicts(&self) -> Conflicts {
        Conflicts::new(self.shared_arc())
    }

    /// Waits until every configured and every connected peer holds what this node holds now, and a
    /// comparison of roots has shown it.
    ///
    /// Later writes, here or there, do not delay it. A peer that is not connected is waited for until
    /// the time is over, because it may come back.
    ///
    /// # Errors
    /// [`ConvergeError::TimedOut`] names each peer that is not there yet and why.
    pub async fn converge(&self, timeout: Duration) -> Result<ConvergeReport, ConvergeError> {
        self.default_namespace().converge(timeout).await
    }

    /// [`Self::converge`] for a request that brings a trace: log lines of it, here and at the peers, name the trace.
    ///
    /// One trace at a time holds for a node; a later one takes its place.
    ///
    /// # Errors
    /// As [`Self::converge`].
    pub async fn converge_traced(
        &self,
        timeout: Duration,
        trace: TraceContext,
    ) -> Result<ConvergeReport, ConvergeError> {
        self.default_namespace().converge_traced(timeout, trace).await
    }

    /// Waits until every configured and every linked node, and this one, holds what any of them held when it
    /// was first asked: [`Self::converge`] for all of them at once.
    ///
    /// Nodes that this one has no link with are not asked, see [`ClusterReport::links_elsewhere`].
    ///
    /// # Errors
    /// [`ConvergeError::TimedOut`] names each node that is not there yet and why, also one that speaks a
    /// version without surveys, and one that holds another state though it knows the same events.
    pub async fn converge_cluster(&self, timeout: Duration) -> Result<ClusterReport, ConvergeError> {
        self.default_namespace().converge_cluster(timeout).await
    }

    /// Asks every linked peer what a repair between it and this node would move. Nothing moves.
    ///
    /// Returns when all have answered; after `timeout` with a reason for each that has not.
    ///
    /// # Errors
    /// [`ConvergeError::Closed`].
    pub async fn survey(&self, timeout: Duration) -> Result<SurveyReport, ConvergeError> {
        self.default_namespace().survey(timeout).await
    }

    /// Shuts a peer out for [`crate::Timing::breaker_open`]: its link is closed and none is made until then, whoever
    /// dials. `peer` is its configured address or the first digits of its id.
    ///
    /// # Errors
    /// [`PeerError`]: nothing changed.
    pub fn trip_peer(&self, peer: &str) -> Result<PeerMoved, PeerError> {
        peers::trip(self.shared(), peer)
    }

    /// Closes the breaker of a peer and forgets what counted against it. `peer` as above.
    ///
    /// # Errors
    /// [`PeerError`]: nothing changed.
    pub fn reset_peer(&self, peer: &str) -> Result<PeerMoved, PeerError> {
        peers::reset(self.shared(), peer)
    }

    /// Dials one more peer from now on, `host:port` or `id@host:port`, or lets in again one that was removed. It is
    /// forgotten at the end of this process, like all that the builder was given.
    ///
    /// # Errors
    /// [`PeerError`]: nothing changed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn add_peer(&self, peer: &str) -> Result<PeerMoved, PeerError> {
        peers::add(self.shared(), peer)
    }

    /// Takes a peer off the list: its link is closed and none is made, whoever dials, until it is added again or this
    /// process ends. Converging does not wait for it. `peer` as above.
    ///
    /// # Errors
    /// [`PeerError`]: nothing changed.
    pub fn remove_peer(&self, peer: &str) -> Result<PeerMoved, PeerError> {
        peers::remove(self.shared(), peer)
    }

    /// Ends a member that will not return: it is removed as by [`Self::remove_peer`], nothing waits for it any more, and
    /// what its counter owners left behind goes once all who are left know of it. `owners` names those that this node
    /// cannot know to be its, by the first digits of their ids. To be done at every node that it was a member for. `peer` as above, or a whole id.
    ///
    /// **A promise**: one that is retired and comes back all the same may bring back increments that were reset.
    ///
    /// # Errors
    /// [`PeerError`]: it is linked, not known, or an owner is this node's own; nothing changed.
    pub fn retire_peer(&self, peer: &str, owners: &[String]) -> Result<PeerRetired, PeerError> {
        peers::retire(self.shared(), peer, owners)
    }

    /// Takes over what another configuration changes and can change at run time, and tells of it in the log and as an
    /// event `reloaded`; says also what waits for the next start. What a lowered bound no longer admits is kept, and
    /// nothing more is let in.
    ///
    /// ```
    /// # use sync_net::{ClusterCa, Node, settings::Layers};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let identity = ClusterCa::create("example")?.issue("node-1")?;
    /// let node = Node::builder().identity(identity).start().await?;
    /// let flags = vec![("max_crdts", vec!["1".to_owned()])];
    /// let wanted = Layers { flags, ..Layers::default() }.resolve()?;
    /// assert_eq!(node.reload(&wanted.settings).to_string(), "max_crdts 10000 -> 1");
    /// node.or_set::<String>("a").add(&"x".to_owned())?;
    /// assert!(node.or_set::<String>("b").add(&"x".to_owned()).is_err());
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime, if there are peers to dial.
    pub fn reload(&self, wanted: &Settings) -> Reloaded {
        reload::reload(self.shared(), wanted)
    }

    /// Tells, in the log and as an event `reload_refused`, of another configuration that was not taken over because of its
    /// mistakes. Nothing changes.
    pub fn reload_refused(&self, mistakes: &Mistakes) {
        reload::refused(self.shared(), mistakes);
    }

    /// Every configured and every known peer, as seen in the default namespace.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.default_namespace().peers()
    }

    /// Every CRDT whose key starts with `prefix`, ordered by key and type; `""` lists all.
    pub fn keys(&self, prefix: &str) -> Vec<KeyInfo> {
        self.default_namespace().keys(prefix)
    }

    /// What the store holds under the hood: of one key with its cells and dots, or of all keys without.
    pub fn inspect(&self, key: Option<&str>) -> Inspection {
        self.default_namespace().inspect(key)
    }

    /// What this node knows, for comparing it with another.
    pub fn knowledge(&self) -> Knowledge {
        self.default_namespace().knowledge()
    }

    /// The node's figures; those of a state are of the default namespace, [`NodeStatus::namespaces`] has all. Brings the
    /// Merkle trees up to date first.
    pub fn status(&self) -> NodeStatus {
        inspect::status(self.shared())
    }

    /// How the node is, and what to do about what is not well. Never waits longer than a second, also if the node is
    /// stuck or broken.
    pub fn health(&self) -> Health {
        health::health(self.shared())
    }

    /// The node's figures in the text format of OpenMetrics, as `docs/metrics.md` lists them.
    ///
    /// # Errors
    /// The reason in words if the node broke or is stuck and has no figures.
    pub fn metrics(&self) -> Result<String, String> {
        metrics::render(self.shared())
    }

    /// Follows what happens on this node from now on: links, alarms, repairs, the disk. Who reads too slowly is told how
    /// many events it missed; the node never waits.
    pub fn events(&self) -> Events {
        Events::of(&self.shared().events)
    }

    /// How far a large answer has come in, the whole store for a newcomer; `None` if none is on its way.
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        self.shared().bootstrap.now()
    }

    /// Follows how large answers come in, from now on.
    pub fn bootstraps(&self) -> Bootstraps {
        self.shared().bootstrap.follow()
    }

    /// Cuts this node off from `peers`, and from nobody else, until the next call: open links are
    /// closed, new ones refused, both ways. For operators and tests; an empty set heals the cut.
    pub fn block_peers(&self, peers: BTreeSet<NodeId>) {
        if let Some(transport) = self.shared().transport() {
            transport.set_blocked(peers);
        }
    }

    /// Shows another certificate of this node to peers from now on, and accepts what its CAs vouch for. No link is
    /// closed, but for those to peers whom the new CAs do not vouch for.
    ///
    /// ```
    /// # use sync_net::{ClusterCa, Identity, Node};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let (ca, dir) = (ClusterCa::create("example")?, tempfile::tempdir()?);
    /// # ca.issue("node-1")?.save(dir.path())?;
    /// let node = Node::builder().identity(Identity::load(dir.path())?).start().await?;
    /// let renewed = ca.renew(&std::fs::read_to_string(dir.path().join("node.pem"))?)?;
    /// std::fs::write(dir.path().join("node.pem"), renewed)?;
    /// assert!(node.reload_identity(Identity::load(dir.path())?)?.changed);
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReloadError`]: it is another node's certificate, or cannot be used; all is as before.
    pub fn reload_identity(&self, identity: Identity) -> Result<Renewed, ReloadError> {
        renewal::reload_identity(self.shared(), identity)
    }

    /// Replaces the list of the revoked: links to those on it are closed at once, and none of them is let in. How many
    /// links were closed.
    ///
    /// # Errors
    /// [`ReloadError::Closed`].
    pub fn set_revoked(&self, revoked: Revoked) -> Result<usize, ReloadError> {
        renewal::set_revoked(self.shared(), revoked)
    }

    /// Reads the folder of [`NodeBuilder::watch_certificates`] now, and not at the next look. May block on the disk.
    ///
    /// # Errors
    /// [`ReloadError`]: what cannot be used is as before; the list of the revoked and the certificate do not wait for
    /// each other.
    pub fn reload_certificates(&self) -> Result<Renewed, ReloadError> {
        renewal::reload_folder(self.shared())
    }

    /// Stops the node: refuses further writes, hands connected peers what they lack for at most two
    /// seconds, closes the links, frees the port and ends the tasks. Reads still work afterwards.
    ///
    /// May be called from several places at once; each returns when the node has stopped.
    pub async fn shutdown(&self) {
        let shared = self.shared();
        shared.enter(Phase::HandingOver);
        let mut phase = shared.phase.subscribe();
        // An error would mean that the sender is gone, and we hold it.
        let _stopped = phase.wait_for(|phase| *phase == Phase::Stopped).await;
    }
}

opens!(impl Node, Namespace);

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("listen", &self.listen_addr())
            .finish_non_exhaustive()
    }
}
