//! `run`: a node with its local endpoint, until SIGINT or SIGTERM.
//!
//! Standard output tells once where the node is; the log goes to standard error.

use serde_json::json;
use sync_net::{Identity, Limits, Node, local};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::RunArgs;
use crate::commands::progress::Progress;
use crate::failure::Failure;
use crate::{log, output};

/// Runs a node. A failure before it runs leaves nothing behind.
pub(super) async fn run(args: RunArgs, json: bool) -> Result<(), Failure> {
    log::to_stderr("info");
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::failed)?;

    let identity = Identity::load(&args.folder.dir).map_err(Failure::failed)?;
    let name = identity.name().to_owned();
    let limits = Limits::default();
    let (crdts, bytes) = (limits.crdts_max, limits.store_bytes_max);
    let limits = limits.with_room(args.max_crdts.unwrap_or(crdts), args.max_bytes.unwrap_or(bytes));
    let builder = Node::builder()
        .identity(identity)
        .watch_certificates(&args.folder.dir)
        .cluster(&args.cluster)
        .listen(args.listen)
        .limits(limits);
    let data = args.folder.data();
    let builder = if args.memory { builder } else { builder.data(&data).durability(args.durability) };
    let builder = args.peers.into_iter().fold(builder, |builder, peer| builder.peer(peer));
    let node = builder.start().await.map_err(Failure::failed)?;

    let socket = args.target.socket_path();
    let endpoint = match local::serve(node.clone(), &socket).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            node.shutdown().await;
            return Err(Failure::failed(error));
        }
    };
    let data = (!args.memory).then(|| std::path::absolute(&data).unwrap_or(data));
    let (id, listen) = (node.id(), node.listen_addr());
    let socket = std::path::absolute(&socket).unwrap_or(socket); // to be named from any directory
    let said = match json {
        true => output::json(
            &json!({"node": id.to_hex(), "name": name, "cluster": args.cluster, "listen": listen, "socket": socket, "data": data}),
        ),
        false => output::line(&format!(
            "node    {id}\nname    {}\nlisten  {listen}\nsocket  {}\ndata    {}",
            output::shown(&name),
            socket.display(),
            data.as_ref().map_or("in memory".to_owned(), |data| data.display().to_string())
        )),
    };
    if said.is_ok() {
        let (mut bootstraps, mut progress) = (node.bootstraps(), Progress::default());
        let following = async {
            while let Some(bootstrap) = bootstraps.next().await {
                progress.shows(bootstrap);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = following => {}
            _ = interrupted.recv() => tracing::info!("interrupted, shutting down"),
            _ = terminated.recv() => tracing::info!("terminated, shutting down"),
        }
    }
    tokio::join!(endpoint.shutdown(), node.shutdown());
    said
}
