//! The local endpoint: a node's API over HTTP/1.1 on a Unix socket, for tools on the same machine.
//!
//! Who may open the socket may do everything, so it is its owner's alone (mode 0600, see `socket`);
//! there is no other authentication and no TCP. `routes` lists the calls, `any` those for every type,
//! `operator` those that look at several nodes, `peers` those that move single ones, `namespaces` those that open and close
//! them, `space` says which one a request means, `bulk` those for all of a store, `watch`
//! the one that streams changes, `watchtower` what an operator watches, `reply` is how they answer;
//! this file accepts connections and bounds them in number, size and time.

mod any;
mod bulk;
mod durable;
mod namespaces;
mod operator;
mod peers;
mod reply;
mod routes;
mod socket;
mod space;
mod watch;
mod watchtower;

use std::path::Path;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};

use self::socket::SocketFile;
use crate::error::StartError;
use crate::node::Node;

/// Connections served at a time. The next one waits in the socket's backlog until one ends.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head may take to arrive, and a connection may idle between requests.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Longest request head, in bytes. Longer is refused with 431.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection older than this is closed, after the answer being written or five seconds: a client
/// that does not read must not hold its place for ever. Longer than the longest wait for convergence.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(900);

/// How long a connection may still finish the answer it is at when it is to be closed.
const FINISH_TIME: Duration = Duration::from_secs(5);

/// A pause after `accept` failed: the process is out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A running local endpoint. Dropping it ends it at once; either way the socket is removed.
#[derive(Debug)]
#[must_use = "dropping it ends the endpoint"]
pub struct LocalServer {
    socket: SocketFile,
    stop: Sender<bool>,
    task: JoinHandle<()>,
}

/// Serves `node` on a Unix socket at `socket_path`, which nobody but this user can open.
///
/// A socket left over by a process that died is replaced. The endpoint keeps the node alive.
///
/// # Errors
/// [`StartError::SocketInUse`] if a process answers there, [`StartError::NotASocket`] if something else
/// lies there, [`StartError::Socket`] if the socket cannot be made.
pub async fn serve(node: Node, socket_path: &Path) -> Result<LocalServer, StartError> {
    let (listener, socket) = socket::bind(socket_path).await?;
    let (stop, stopped) = channel(false);
    let router = routes::router(node).layer(Extension(stopped.clone()));
    let task = tokio::spawn(accept(listener, router, stopped));
    Ok(LocalServer { socket, stop, task })
}

impl LocalServer {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Stops accepting, lets the requests being answered finish for at most five seconds, and removes
    /// the socket.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // An error would be a panic of the accept loop, already reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: UnixListener, router: Router, mut stopped: Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the local endpoint cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until the client ends it, or its time or the endpoint's is over.
async fn connection(stream: UnixStream, router: Router, mut stopped: Receiver<bool>) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stopped.changed() => finish(served).await,
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => finish(served).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local connection ended early");
    }
}

type Served = http1::Connection<TokioIo<UnixStream>, TowerToHyperService<Router>>;

async fn finish(mut served: std::pin::Pin<&mut Served>) -> hyper::Result<()> {
    served.as_mut().graceful_shutdown();
    tokio::time::timeout(FINISH_TIME, served).await.unwrap_or(Ok(()))
}
