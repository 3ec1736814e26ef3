//! The arguments of `bench`.

use std::path::PathBuf;

use clap::Args;

use super::Target;

/// How a cluster is loaded. Weights say how often an operation comes among the others.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Weight of reads: one field of a map.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) reads: u32,
    /// Weight of adds: one element to a set.
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub(crate) adds: u32,
    /// Weight of puts: one field of a map.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) puts: u32,
    /// Keys that are written, each a set and a map.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(0..=65_000))]
    pub(crate) value_bytes: u64,
    /// Clients, each with a connection of its own; a node serves 64 connections.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) clients: u16,
    /// How long.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Operations a second, of all clients together; times count from when each was meant to begin [default: as many as
    /// are answered].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// When a write is answered: immediate, grouped or none [default: as the node was started].
    #[arg(long, value_name = "LEVEL", value_parser = ["immediate", "grouped", "none"])]
    pub(crate) durability: Option<String>,
    /// Every so many milliseconds a write is followed until every member has it; 0: never.
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) visible_every: u64,
    /// The socket of one more node to load; may be given many times.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) also: Vec<PathBuf>,
    /// Leave what was written where it is.
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}
