//! What can go wrong in the embedding API, sorted by who must act.
//!
//! [`StartError`] stops a node or a local endpoint from starting: the operator must act, nothing was
//! left behind. [`Error`] stops a write: nothing was minted and no state changed. [`ReadError`] says
//! that stored bytes are not what the caller's type can hold. None of them reports a peer's mistake:
//! those are logged and counted, and never reach a caller.

use std::io;
use std::path::PathBuf;

use sync_core::error::WriteError;
use sync_core::node::NamespaceError;
use sync_core::types::user::RegistryError;

use crate::namespace::NamespaceClosed;
use crate::storage::StorageError;
use crate::transport::TransportError;

/// Why a node or a local endpoint did not start. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Operator: the builder was not given something that a node cannot do without.
    #[error("no {what} was given to the builder; call NodeBuilder::{method}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The builder's method that sets it.
        method: &'static str,
    },
    /// Operator: the address or the identity cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Operator: the list of the revoked beside the certificate cannot be read. Without it nobody can be let in.
    #[error(transparent)]
    Certificates(#[from] crate::certs::CertError),
    /// Caller: two types of the application cannot be told apart.
    #[error(transparent)]
    Types(#[from] RegistryError),
    /// Operator: two limits contradict each other.
    #[error("limits contradict each other: {reason}")]
    Limits {
        /// Which, and what to change.
        reason: String,
    },
    /// Operator: a namespace cannot be opened.
    #[error("the namespace {name:?} cannot be opened: {error}")]
    Namespace {
        /// Its name.
        name: String,
        /// Why.
        error: NamespaceError,
    },
    /// Operator: the cluster label is too long for a `Hello`.
    #[error("a cluster label of {len} bytes exceeds the limit of {max}; choose a shorter one")]
    ClusterLabel {
        /// Bytes given.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Environment: the operating system gave no random bytes, without which ids could repeat.
    #[error("the operating system gives no random bytes: {reason}")]
    Randomness {
        /// What it said.
        reason: String,
    },
    /// Operator or environment: the disk cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Environment: a thread could not be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What the operating system said.
        source: io::Error,
    },
    /// Operator: another process answers on the socket.
    #[error("{} is in use by a running process; stop it or choose another socket path", path.display())]
    SocketInUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Operator: something that is no socket lies at the socket's path. It was left alone.
    #[error("{} exists and is no socket; move it away or choose another socket path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Operator: the socket cannot be made.
    #[error("cannot make the socket {}: {source}; check that the directory exists, is yours, and that the path is below 90 bytes", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why a write did not happen. In every case nothing was minted and no state changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Caller or limit: the store refused the write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Caller: the value's `Serialize` failed, so it has no bytes to store.
    #[error("a value for {key:?} cannot be encoded: {reason}; see its Serialize implementation")]
    Encode {
        /// The key written to.
        key: String,
        /// What the encoder said.
        reason: String,
    },
    /// Caller: a read inside the transaction failed, and the transaction gave up for it.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Caller: the transaction's closure gave up on its own account.
    #[error("the transaction was given up: {reason}")]
    Aborted {
        /// The closure's own words.
        reason: String,
    },
    /// Caller: the namespace is closed on this node.
    #[error(transparent)]
    NamespaceClosed(#[from] NamespaceClosed),
    /// Caller: the node is shutting down or has shut down.
    #[error("the node is shut down and takes no more writes; start another")]
    Closed,
}

impl Error {
    /// Gives up a transaction for a reason of the application's own.
    pub fn aborted(reason: impl Into<String>) -> Self {
        Self::Aborted { reason: reason.into() }
    }
}

/// Why stored bytes could not be read as the caller's type. The state is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Caller: the bytes are no value of the type asked for. Another program, or another version of
    /// this one, wrote them under the same key with another type.
    #[error("{what} of {key:?} is no {wanted}: {reason}; read it with the type it was written with")]
    Decode {
        /// The key read from.
        key: String,
        /// Which part: an element, a field or a value.
        what: &'static str,
        /// The Rust type asked for.
        wanted: &'static str,
        /// What the decoder said.
        reason: String,
    },
}
