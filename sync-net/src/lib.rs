//! The sync engine in the world: an embeddable node, its links to peers, and a local endpoint.
//!
//! A [`Node`] holds one replica of a store of CRDTs and keeps it equal with its peers over QUIC with
//! mutual TLS. Applications write and read through typed handles and never wait for the network;
//! `sync-core` decides what is sent, this crate does the sending, the clocks and the locks.
//!
//! ```
//! use sync_net::{ClusterCa, Node};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let identity = ClusterCa::create("example")?.issue("node-1")?;
//! let node = Node::builder().identity(identity).cluster("example").start().await?;
//!
//! let cart = node.or_set::<String>("cart/7");
//! cart.add(&"tea".to_owned())?;
//! node.pn_counter("stock/tea").add(-1)?;
//!
//! assert!(cart.contains(&"tea".to_owned()));
//! assert_eq!(node.pn_counter("stock/tea").value(), -1);
//! node.shutdown().await;
//! # Ok(()) })
//! # }
//! ```
//!
//! Where things are: `builder` starts a node, [`Node`] is what the application holds, `driver` is the
//! one task that moves frames, a [`Namespace`] is one store of the node, `handles` are the types, [`Value`] is data of any shape for them, [`ops`] has the
//! types' operations as a table for tools, [`Tx`] and [`View`] open handles for groups and for reads, [`Watch`] tells of
//! changes, `converge` waits for peers, `visible` for one write to reach them, `survey` tells what
//! they would exchange, `storage` puts the state on a disk, `inspect` shows the state to people, `metrics`, `health` and
//! `events` are what an operator watches, [`local`] serves it all over a Unix socket; `transport` is QUIC, `renewal` reads certificates again, [`certs`] and [`identity`] are who we are.

#![forbid(unsafe_code)]

mod access;
mod bootstrap;
mod breakers;
mod builder;
pub mod certs;
mod clock;
mod converge;
pub mod data;
mod driver;
mod error;
mod events;
mod evidence;
mod handles;
mod health;
pub mod identity;
mod inspect;
pub mod local;
mod metrics;
mod namespace;
mod node;
pub mod ops;
mod peers;
mod reload;
mod renewal;
pub mod settings;
mod storage;
mod survey;
mod trace;
mod transport;
mod tx;
mod value;
mod view;
mod visible;
mod watch;
mod watchdog;

pub use sync_core::causal::CausalContext;
pub use sync_core::class::{Class, NoClass};
pub use sync_core::error::WriteError;
pub use sync_core::id::{Dot, NodeId, OwnerId, ReplicaId};
pub use sync_core::limits::{Limits, Timing};
pub use sync_core::node::{Cause, NAMESPACE_NAME_BYTES_MAX, NamespaceError, Written};
pub use sync_core::store::{Conflict, Side, TouchedSince};
pub use sync_core::time::Span;
pub use sync_core::token::{TOKEN_REPLICAS_MAX, Token, TokenError};
pub use sync_core::trace::{TraceContext, TraceError};
pub use sync_core::types::log::Bound;
pub use sync_core::types::reading::{Place, Reading};
pub use sync_disk::{Disk, DiskError};

pub use crate::access::{InTx, Reads, Writes};
pub use crate::bootstrap::{Bootstrap, Bootstraps};
pub use crate::breakers::BreakerInfo;
pub use crate::builder::NodeBuilder;
pub use crate::certs::{CertError, ClusterCa};
pub use crate::converge::cluster::ClusterReport;
pub use crate::converge::{ConvergeError, ConvergeReport, ConvergedPeer, PendingPeer};
pub use crate::error::{Error, ReadError, StartError};
pub use crate::events::{Events, FOLLOWER_EVENTS_MAX, Followed, NodeEvent, Severity};
pub use crate::evidence::Evidence;
pub use crate::handles::{
    BoundedCounter, Custom, CustomType, DisableFlag, EnableFlag, GCounter, GrowSet, Log, LogEntry, LwwMap,
    LwwRegister, MapField, MaxRegister, MinRegister, Multimap, MvRegister, OrMap, OrSet, PnCounter, RwSet,
};
pub use crate::health::{Health, HealthReason, HealthState};
pub use crate::identity::Identity;
pub use crate::inspect::{
    BoundPressure, CellInspection, Column, Inspection, ItemInspection, KeyInfo, NodeStatus, ObjectInspection,
    PeerInfo, Shown, Totals,
};
pub use crate::inspect::{
    CellDigest, CellPage, ItemDigest, Knowledge, Moment, ObjectDigest, ObjectName, ObjectPage, RangeDigest,
};
pub use crate::namespace::{Namespace, NamespaceClosed, NamespaceInfo, NoNamespace};
pub use crate::node::Node;
pub use crate::peers::{PeerError, PeerMoved, PeerRetired, RightsLost};
pub use crate::renewal::Renewed;
pub use crate::storage::{
    Backup, Damage, Durability, DurabilityError, DurableError, StorageError, StorageStatus,
};
pub use crate::survey::{Amount, Movement, PeerSurvey, SurveyReport};
pub use crate::transport::{PeerAddr, PeerAddrError, ReloadError, TransportError};
pub use crate::tx::Tx;
pub use crate::value::{Float, Int, Stored, Value, ValueError};
pub use crate::view::View;
pub use crate::visible::{Visibility, VisibilityError, Visible, VisibleError, WaitError};
pub use crate::watch::{
    Change, ConflictEvent, Conflicts, CountChange, Cursor, CursorError, ElementChange, Entry, EntryChange,
    FlagChange, FromReading, LogChange, Mirror, NumberChange, PairChange, Policy, Scope, Start, TypedEvent,
    TypedWatch, ValueChange, ValuesChange, Watch, WatchEvent,
};
