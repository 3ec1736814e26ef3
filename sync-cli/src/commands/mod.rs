//! One file for each family of commands; this one says which belongs to which.
//!
//! Certificates and `run` work on this machine's files. All the others ask a running node over its
//! local socket and print what it answers.

mod bench;
mod bulk;
mod certs;
mod config;
mod converge;
mod data;
mod diff;
mod events;
mod follow;
mod health;
mod look;
mod namespaces;
mod ops;
mod peers;
mod progress;
mod run;
mod top;
mod visible;
mod watch;

use std::future::Future;

use crate::args::{CertsCommand, Cli, Command, DataTarget, Target};
use crate::client::Client;
use crate::demo;
use crate::failure::Failure;

/// Does what the command line asks.
pub(crate) fn dispatch(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    match cli.command {
        Command::Demo(args) => on_all_cores(demo::run(&args, json)),
        Command::Certs(CertsCommand::Reload { target }) => {
            on_this_thread(async move { certs::reload(&client(&target), json).await })
        }
        Command::Certs(command) => certs::certs(&command, json),
        Command::Run(args) => on_all_cores(run::run(args, json)),
        Command::Config(command) => config::config(command, json),
        Command::Backup { file, target } => {
            on_this_thread(async move { data::backup(&client(&target), &file, json).await })
        }
        Command::Restore { file, folder } => data::restore(&file, &folder, json),
        Command::Doctor { accept_loss, folder } => data::doctor(&folder, accept_loss, json),
        Command::Op(command) => on_this_thread(ops::run(command, json)),
        Command::Get { place, after } => on_this_thread(ops::get(place, after, json)),
        Command::Rm { place, visible } => on_this_thread(ops::rm(place, visible.wanted(), json)),
        Command::Visible { token, wanted, target } => {
            on_this_thread(async move { visible::visible(&client(&target), &token, &wanted, json).await })
        }
        Command::Keys { prefix, target } => on_this_thread(look::keys(&in_namespace(&target), &prefix, json)),
        Command::Inspect { key, target } => {
            on_this_thread(look::inspect(&in_namespace(&target), key.as_deref(), json))
        }
        Command::Watch { prefix, cursor, snapshot, target } => on_this_thread(async move {
            watch::watch(&in_namespace(&target), watch::Watched { prefix, cursor, snapshot }, json).await
        }),
        Command::Namespaces { command: None, target } => {
            on_this_thread(namespaces::list(&client(&target), json))
        }
        Command::Namespaces { command: Some(command), .. } => {
            on_this_thread(namespaces::namespaces(command, json))
        }
        Command::Peers { command: None, target } => on_this_thread(look::peers(&in_namespace(&target), json)),
        Command::Peers { command: Some(command), .. } => on_this_thread(peers::peers(command, json)),
        Command::Health { target } => {
            on_this_thread(async move { health::health(&client(&target), json).await })
        }
        Command::Events { target } => {
            on_this_thread(async move { events::events(&client(&target), json).await })
        }
        Command::Top { once, interval, target } => {
            on_this_thread(async move { top::top(&client(&target), once, interval, json).await })
        }
        Command::Bench(args) => on_all_cores(bench::bench(args, json)),
        Command::Converge { dry_run, all, timeout, target } => on_this_thread(async move {
            let node = in_namespace(&target);
            match (dry_run, all) {
                (true, _) => converge::dry_run(&node, timeout, json).await,
                (false, true) => converge::all(&node, timeout, json).await,
                (false, false) => converge::converge(&node, timeout, json).await,
            }
        }),
        Command::Export { file, prefix, target } => on_this_thread(async move {
            bulk::export(&in_namespace(&target), file.as_deref(), &prefix, json).await
        }),
        Command::Import { file, merge, target } => {
            on_this_thread(
                async move { bulk::import(&in_namespace(&target), file.as_deref(), merge, json).await },
            )
        }
        Command::Diff { a, b, namespace } => on_this_thread(diff::diff(&a, &b, namespace, json)),
    }
}

fn client(target: &Target) -> Client {
    Client::new(target.socket_path())
}

fn in_namespace(DataTarget { target, namespace }: &DataTarget) -> Client {
    client(target).in_namespace(namespace.clone())
}

fn on_this_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    start(tokio::runtime::Builder::new_current_thread())?.block_on(work)
}

fn on_all_cores(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    start(tokio::runtime::Builder::new_multi_thread())?.block_on(work)
}

fn start(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| {
        Failure::Failed(format!("cannot start a runtime: {error}; check the process limits"))
    })
}
