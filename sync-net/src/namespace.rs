//! Namespaces: the stores of a node, and the handle by which an application uses one.
//!
//! All that [`Node`] does for data is done here, for any namespace; the node's own methods mean the default one. A handle
//! stays good when its namespace is closed: it reads what is kept, and everything else says [`NamespaceClosed`].

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sync_core::causal::CausalContext;
use sync_core::class::Class;
use sync_core::error::WriteError;
use sync_core::id::NamespaceId;
use sync_core::limits::Limits;
use sync_core::node::{NamespaceConfig, NamespaceError, Written};
use sync_core::token::Token;
use sync_core::trace::TraceContext;
use sync_core::types::whole;

use crate::access::{Place, Step};
use crate::converge::cluster::{self, ClusterReport};
use crate::converge::{self, ConvergeError, ConvergeReport};
use crate::error::Error;
use crate::handles::opens;
use crate::inspect::{self, BoundPressure, Inspection, KeyInfo, Knowledge, PeerInfo, compare};
use crate::node::{Node, Shared};
use crate::storage::{Durability, DurableError};
use crate::survey::{self, SurveyReport};
use crate::trace::Traced;
use crate::tx::Tx;
use crate::view::View;
use crate::visible::{self, Visibility, Visible, VisibleError, WaitError};
use crate::watch::{Covers, Policy, Start, Watch};

/// What a namespace is called.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: NamespaceId,
    pub(crate) name: Box<str>,
}

impl Space {
    pub(crate) fn named(name: &str) -> Arc<Self> {
        Arc::new(Self { id: NamespaceId::named(name), name: name.into() })
    }
}

/// Caller: the namespace was never opened on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node has no namespace {name:?}; open it first, on every node that is to share it")]
pub struct NoNamespace {
    /// What was asked for.
    pub name: String,
}

/// Caller: the namespace is closed on this node. What it holds is kept and can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the namespace {name:?} is closed on this node: what it holds can be read; open it again for the rest"
)]
pub struct NamespaceClosed {
    /// Its name.
    pub name: String,
}

/// A namespace, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamespaceInfo {
    /// What it is called; its id if that is all that is known.
    pub name: String,
    /// Its id, in hex.
    pub id: String,
    /// `urgent`, `normal` or `bulk`.
    pub class: String,
    /// True if it is shared and takes writes.
    pub open: bool,
    /// Connected peers that have it open too.
    pub peers: u64,
    /// CRDTs present.
    pub crdts: u64,
    /// Live items.
    pub items: u64,
    /// Accounted bytes, as the limits count them.
    pub bytes: u64,
    /// Position of the newest entry of its log.
    pub log_head: u64,
    /// The Merkle root over its live cells, in hex; `None` while it is closed.
    pub root: Option<String>,
    /// Its state id, in hex: equal ids, identical stores; `None` while it is closed.
    pub state_id: Option<String>,
    /// How close each of its bounds is; none while it is closed.
    pub pressure: Vec<BoundPressure>,
}

/// One namespace of a node: a store of its own, with its own limits and its own order of events. Cloning is cheap.
///
/// Everything that a [`Node`] does for data: handles, groups, reads, watches, waiting. A group is of one namespace by its
/// making: its [`Tx`] opens nothing of another. The node stops when its last clone and the last of these are dropped.
#[derive(Clone)]
pub struct Namespace {
    node: Node,
    space: Arc<Space>,
}

impl Namespace {
    pub(crate) fn new(node: Node, space: Arc<Space>) -> Self {
        Self { node, space }
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.node.shared()
    }

    pub(crate) fn shared_arc(&self) -> Arc<Shared> {
        self.node.shared_arc()
    }

    pub(crate) fn id(&self) -> NamespaceId {
        self.space.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// True if it is open on this node.
    pub fn is_open(&self) -> bool {
        self.shared().core().store(self.id()).is_some()
    }

    pub(crate) fn closed(&self) -> NamespaceClosed {
        NamespaceClosed { name: self.name().to_owned() }
    }

    fn open(&self, key: &str) -> (Self, Place) {
        (self.clone(), Place::key(key))
    }

    /// As [`Node::transaction`].
    ///
    /// # Errors
    /// As there; [`Error::NamespaceClosed`].
    pub fn transaction<T>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
    ) -> Result<(T, Written), Error> {
        self.node.running()?;
        let shared = self.shared();
        let mut core = shared.core();
        let done = core.try_write(shared.clock.now(), self.id(), |group| {
            let mut tx = Tx::new(group);
            // A panic passes through the core as an error, so that the group is undone.
            let result = catch_unwind(AssertUnwindSafe(|| f(&mut tx))).map_err(Unwritten::Panicked)?;
            match (result, tx.into_failure()) {
                (Ok(value), None) => Ok(value),
                (Ok(_), Some(error)) | (Err(error), _) => Err(Unwritten::Failed(error)),
            }
        });
        drop(core);
        self.finish(done)
    }

    /// One operation. A panic of a step, which may be an application's, undoes the group.
    pub(crate) fn step(&self, step: Step<'_>) -> Result<(u64, Written), Error> {
        self.node.running()?;
        let shared = self.shared();
        let mut core = shared.core();
        let done = core.try_write(shared.clock.now(), self.id(), |group| {
            catch_unwind(AssertUnwindSafe(|| step(group)))
                .map_err(Unwritten::Panicked)?
                .map_err(Unwritten::from)
        });
        drop(core);
        self.finish(done)
    }

    /// Wakes the driver for what was written, or says why nothing was.
    fn finish<T>(&self, done: Result<T, Unwritten>) -> Result<T, Error> {
        match done {
            Ok(written) => {
                self.shared().work.notify_one();
                Ok(written)
            }
            Err(Unwritten::Failed(Error::Write(WriteError::NoNamespace { .. }))) => Err(self.closed().into()),
            Err(Unwritten::Failed(error)) => Err(error),
            Err(Unwritten::Panicked(panic)) => resume_unwind(panic),
        }
    }

    /// As [`Node::remove`].
    ///
    /// # Errors
    /// As there; [`Error::NamespaceClosed`].
    pub fn remove(&self, key: &str) -> Result<(u64, Written), Error> {
        self.step(&mut |group| whole::remove_all(group, key))
    }

    /// As [`Node::read`].
    pub fn read<T>(&self, f: impl FnOnce(&View<'_>) -> T) -> T {
        let read = read_if(self.shared(), self.id(), |_| true, &mut Some(f));
        read.expect("it was asked for whatever the state is")
    }

    /// As [`Node::durable`]: one disk has the writes of all namespaces.
    ///
    /// # Errors
    /// As there.
    pub async fn durable(&self, written: &Written) -> Result<(), DurableError> {
        self.node.durable(written).await
    }

    /// As [`Node::durable_as`].
    ///
    /// # Errors
    /// As there.
    pub async fn durable_as(&self, written: &Written, level: Durability) -> Result<(), DurableError> {
        self.node.durable_as(written, level).await
    }

    /// As [`Node::visible`]; of a namespace those peers are members that have it open.
    ///
    /// # Errors
    /// As there.
    pub async fn visible(
        &self,
        token: &Token,
        wanted: Visibility,
        timeout: Duration,
    ) -> Result<Visible, VisibleError> {
        visible::visible(self.shared(), token, wanted, timeout).await
    }

    /// As [`Node::wait_for`].
    ///
    /// # Errors
    /// As there.
    pub async fn wait_for(&self, token: &Token, timeout: Duration) -> Result<(), WaitError> {
        visible::wait_for(self.shared(), token, timeout).await
    }

    /// As [`Node::read_after`], for a token of this namespace.
    ///
    /// # Errors
    /// As there; [`WaitError::OtherNamespace`].
    pub async fn read_after<T>(
        &self,
        token: &Token,
        timeout: Duration,
        f: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, WaitError> {
        visible::read_after(self, token, timeout, f).await
    }

    /// As [`Node::watch`].
    pub fn watch(&self, prefix: &str) -> Watch {
        self.watch_from(prefix, Start::Now, Policy::Steps)
    }

    /// As [`Node::watch_from`].
    pub fn watch_from(&self, prefix: &str, start: Start, policy: Policy) -> Watch {
        Watch::new(self.shared_arc(), self.id(), Covers::Prefix(prefix.into()), start, policy)
    }

    /// As [`Node::converge`], with every configured and every connected peer that has it open.
    ///
    /// # Errors
    /// As there; [`ConvergeError::NamespaceClosed`].
    pub async fn converge(&self, timeout: Duration) -> Result<ConvergeReport, ConvergeError> {
        converge::converge(self, timeout).await
    }

    /// As [`Node::converge_traced`].
    ///
    /// # Errors
    /// As [`Self::converge`].
    pub async fn converge_traced(
        &self,
        timeout: Duration,
        trace: TraceContext,
    ) -> Result<ConvergeReport, ConvergeError> {
        let _traced = Traced::begin(self.shared(), trace);
        self.converge(timeout).await
    }

    /// As [`Node::converge_cluster`].
    ///
    /// # Errors
    /// As there; [`ConvergeError::NamespaceClosed`].
    pub async fn converge_cluster(&self, timeout: Duration) -> Result<ClusterReport, ConvergeError> {
        cluster::converge(self, timeout).await
    }

    /// As [`Node::survey`].
    ///
    /// # Errors
    /// As there; [`ConvergeError::NamespaceClosed`].
    pub async fn survey(&self, timeout: Duration) -> Result<SurveyReport, ConvergeError> {
        survey::survey(self, timeout).await
    }

    /// As [`Node::peers`], as seen in this namespace.
    pub fn peers(&self) -> Vec<PeerInfo> {
        inspect::peers(self.shared(), self.id())
    }

    /// As [`Node::keys`].
    pub fn keys(&self, prefix: &str) -> Vec<KeyInfo> {
        inspect::keys(self.shared(), self.id(), prefix)
    }

    /// As [`Node::inspect`].
    pub fn inspect(&self, key: Option<&str>) -> Inspection {
        inspect::inspect(self.shared(), self.id(), key)
    }

    /// As [`Node::knowledge`].
    pub fn knowledge(&self) -> Knowledge {
        compare::knowledge(self.shared(), self.id())
    }
}

opens!(impl Namespace, Namespace);

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name())
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Why a transaction's group was undone.
enum Unwritten {
    Failed(Error),
    Panicked(Box<dyn Any + Send>),
}

impl From<WriteError> for Unwritten {
    fn from(error: WriteError) -> Self {
        Self::Failed(error.into())
    }
}

/// Calls the read and takes it out, under the lock, if the state is one that `wanted` wants.
pub(crate) fn read_if<T, F: FnOnce(&View<'_>) -> T>(
    shared: &Shared,
    namespace: NamespaceId,
    wanted: impl FnOnce(&CausalContext) -> bool,
    read: &mut Option<F>,
) -> Option<T> {
    let core = shared.core();
    let store = shared.store(&core, namespace);
    let read = read.take_if(|_| wanted(store.context()))?;
    let view = View::new(store);
    // A panic of the closure must not poison the lock: it changed nothing.
    let result = catch_unwind(AssertUnwindSafe(|| read(&view)));
    drop(core);
    Some(result.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// See [`Node::namespace`].
pub(crate) fn find(node: &Node, name: &str) -> Result<Namespace, NoNamespace> {
    let shared = node.shared();
    if name == &*shared.default.name {
        return Ok(node.default_namespace());
    }
    let space = Space::named(name);
    let kept = shared.core().kept_store(space.id).is_some();
    if kept { Ok(Namespace::new(node.clone(), space)) } else { Err(NoNamespace { name: name.to_owned() }) }
}

/// See [`Node::open_namespace`].
pub(crate) fn open(
    node: &Node,
    name: &str,
    class: Class,
    limits: Limits,
) -> Result<Namespace, NamespaceError> {
    let shared = node.shared();
    let mut core = shared.core();
    core.open_namespace(shared.clock.now(), name, NamespaceConfig { class, limits })?;
    drop(core);
    shared.work.notify_one();
    Ok(Namespace::new(node.clone(), Space::named(name)))
}

/// See [`Node::close_namespace`].
pub(crate) fn close(node: &Node, name: &str) -> Result<(), NamespaceError> {
    let shared = node.shared();
    let mut core = shared.core();
    core.close_namespace(shared.clock.now(), NamespaceId::named(name))?;
    drop(core);
    shared.work.notify_one();
    // Who waits for something in it is told.
    shared.look_again();
    Ok(())
}
