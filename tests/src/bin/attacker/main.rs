//! A hostile peer, and the campaign that measures what hostile peers cost.
//!
//! `attacker run` plays one script against a node. `attacker campaign` starts nodes with `sync-cli run`, plays every
//! script against them with one and with many attackers, and prints for each what it cost in memory, throughput and
//! processor time, as one JSON value a line.

mod campaign;
mod load;
mod scene;
mod sick;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Parser};
use serde_json::json;
use sync_tests::attack::{Alpn, Counts, Credentials, SCRIPTS, attack};

/// A hostile peer, for tests.
#[derive(Debug, Parser)]
enum Command {
    /// Play one script against a node.
    Run(RunArgs),
    /// Start nodes, play every script against them, and measure.
    Campaign(campaign::CampaignArgs),
    /// Start nodes, let a peer fall sick beside them, and measure.
    Sick(sick::SickArgs),
    /// List the scripts.
    Scripts,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Which script, see `scripts`.
    #[arg(long)]
    script: String,
    /// The node's UDP address.
    #[arg(long)]
    target: SocketAddr,
    /// Folders of members, as `sync-cli certs issue` writes them: one attacker each.
    #[arg(long = "dir", required = true)]
    dirs: Vec<PathBuf>,
    /// How frames are spread over streams: sync/1 or sync/2.
    #[arg(long, default_value_t)]
    alpn: Alpn,
    /// For how long.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// How long honest nodes may take for what should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn main() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    match Command::parse() {
        Command::Run(args) => runtime.block_on(run(args)),
        Command::Campaign(args) => runtime.block_on(campaign::campaign(args)),
        Command::Sick(args) => runtime.block_on(sick::sick(args)),
        Command::Scripts => {
            SCRIPTS.iter().for_each(|(name, what)| println!("{name:20} {what}"));
            Ok(())
        }
    }
}

async fn run(RunArgs { script, target, dirs, alpn, seconds }: RunArgs) -> Result<(), String> {
    let members = dirs.iter().map(|dir| Credentials::load(dir)).collect::<Result<Vec<_>, _>>()?;
    let counts = Arc::new(Counts::default());
    let time = Duration::from_secs(seconds);
    if !attack(&script, members, target, alpn, time, Arc::clone(&counts)).await {
        return Err(format!("there is no script {script:?}; `attacker scripts` lists them"));
    }
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let told = json!({
        "script": script, "alpn": alpn.name(), "connections": read(&counts.connections), "links": read(&counts.links),
        "sent": read(&counts.sent), "reasons": counts.reasons(),
    });
    println!("{told}");
    Ok(())
}
