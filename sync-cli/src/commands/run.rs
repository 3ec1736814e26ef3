//! `run`: a node with its local endpoint, until SIGINT or SIGTERM. At SIGHUP it reads its configuration again.
//!
//! Standard output tells once where the node is; the log goes to standard error.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use sync_net::settings::Settings;
use sync_net::{Identity, Node, local};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{self, ConfigArgs};
use crate::commands::progress::Progress;
use crate::failure::Failure;
use crate::log::Log;
use crate::{config, output};

/// Runs a node. A failure before it runs leaves nothing behind.
pub(super) async fn run(args: ConfigArgs, json: bool) -> Result<(), Failure> {
    let settings = config::read(&args)?.settings;
    let (dir, _) = required(&settings)?;
    let log = Log::start(&settings);
    let mut signals = Signals::listen().map_err(Failure::failed)?;

    let identity = Identity::load(dir).map_err(Failure::failed)?;
    let name = identity.name().to_owned();
    let node = Node::builder()
        .settings(&settings)
        .identity(identity)
        .watch_certificates(dir)
        .start()
        .await
        .map_err(Failure::failed)?;

    let socket = settings.socket.clone().unwrap_or_else(args::default_socket);
    let endpoint = match local::serve(node.clone(), &socket).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            node.shutdown().await;
            return Err(Failure::failed(error));
        }
    };
    let said = say(&node, &name, (&settings, &socket), json);
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
            () = reloading(&mut signals.hangup, &node, &args, &log) => {}
            _ = signals.interrupted.recv() => tracing::info!("interrupted, shutting down"),
            _ = signals.terminated.recv() => tracing::info!("terminated, shutting down"),
        }
    }
    tokio::join!(endpoint.shutdown(), node.shutdown());
    said
}

/// What a node cannot do without and nobody else can choose.
fn required(settings: &Settings) -> Result<(&Path, SocketAddr), Failure> {
    match (&settings.dir, settings.listen) {
        (Some(dir), Some(listen)) => Ok((dir, listen)),
        (dir, listen) => {
            let lacking = [("--dir", dir.is_none()), ("--listen", listen.is_none())];
            let lacking: Vec<&str> =
                lacking.into_iter().filter(|(_, lacks)| *lacks).map(|(flag, _)| flag).collect();
            Err(Failure::Usage(format!(
                "{} must be set: by the flag, its variable, or in the configuration file; `sync-cli config default` says how",
                lacking.join(" and ")
            )))
        }
    }
}

struct Signals {
    interrupted: Signal,
    terminated: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// At each SIGHUP takes over what has changed in the file. With a mistake in it everything stays as it is.
async fn reloading(hangup: &mut Signal, node: &Node, args: &ConfigArgs, log: &Log) {
    while hangup.recv().await.is_some() {
        let read = {
            let args = args.clone();
            // The file may lie on a disk that takes its time.
            tokio::task::spawn_blocking(move || config::read(&args))
                .await
                .expect("reading a file does not panic")
        };
        match read {
            Ok(resolved) => {
                // First, so that the line about the reload is among what is wanted from now on.
                log.reload(&resolved.settings);
                node.reload(&resolved.settings);
            }
            Err(mistakes) => node.reload_refused(&mistakes),
        }
    }
}

/// Tells where the node is. Paths are shown so that they hold from any folder.
fn say(node: &Node, name: &str, (settings, socket): (&Settings, &Path), json: bool) -> Result<(), Failure> {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let (socket, data) = (absolute(socket.to_owned()), settings.data_folder().map(absolute));
    let (id, listen) = (node.id(), node.listen_addr());
    match json {
        true => output::json(&json!({
            "node": id.to_hex(), "name": name, "cluster": settings.cluster, "listen": listen, "socket": socket, "data": data
        })),
        false => output::line(&format!(
            "node    {id}\nname    {}\nlisten  {listen}\nsocket  {}\ndata    {}",
            output::shown(name),
            socket.display(),
            data.as_ref().map_or("in memory".to_owned(), |data| data.display().to_string())
        )),
    }
}
