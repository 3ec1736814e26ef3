//! The marks of sync: the engine and its peers, measured side by side in one run.
//!
//! ```text
//! cargo run --release --manifest-path tests/marks/Cargo.toml -- [--json] [--only NAME] [--quick]
//! ```
//!
//! A workspace of its own with its own lock file, so that the peers' trees never touch the engine's.
//! `marks` has a module a mark, `peers` a module a peer; `pair` wires two cores in process, `cluster`
//! starts nodes over QUIC, `bare` is the reference without an engine, `relay` counts UDP bytes,
//! `data` makes the entries, `measure` holds the clocks, `report` prints. `docs/marks.md` says what
//! each mark measures and how far to trust it.

#![forbid(unsafe_code)]

mod bare;
mod cluster;
mod data;
mod marks;
mod measure;
mod pair;
mod peers;
mod relay;
mod report;

use std::time::Instant;

use clap::{Parser, ValueEnum};

use crate::marks::Settings;
use crate::report::Report;

/// Measures the engine and its peers side by side.
#[derive(Parser)]
struct Args {
    /// Print a JSON line a mark instead of Markdown tables.
    #[arg(long)]
    json: bool,
    /// Measure only these; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Mark>,
    /// Smaller sizes and fewer runs: all marks in about two minutes.
    #[arg(long)]
    quick: bool,
    /// Only this number of entries, in the marks that have several.
    #[arg(long)]
    n: Option<usize>,
    /// The core that the mark of latency is tied to.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Internal: measures the memory of one bootstrap in this process.
    #[arg(long, hide = true)]
    memory_of_bootstrap: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mark {
    Reconcile,
    ReconcileUdp,
    Latency,
    Bootstrap,
    Rate,
    Joins,
    Idle,
    Root,
    Mined,
    Local,
    Durable,
}

fn main() {
    let args = Args::parse();
    if let Some(n) = args.memory_of_bootstrap {
        return marks::bootstrap::child(n);
    }
    let settings = Settings { quick: args.quick, core: args.core, n: args.n };
    let mut report = Report::new(args.json);
    for mark in Mark::value_variants() {
        if !args.only.is_empty() && !args.only.contains(mark) {
            continue;
        }
        let begun = Instant::now();
        match mark {
            Mark::Reconcile => marks::reconcile::run(&mut report, settings),
            Mark::ReconcileUdp => marks::reconcile_udp::run(&mut report, settings),
            Mark::Latency => marks::latency::run(&mut report, settings),
            Mark::Bootstrap => marks::bootstrap::run(&mut report, settings),
            Mark::Rate => marks::rate::run(&mut report, settings),
            Mark::Joins => marks::joins::run(&mut report, settings),
            Mark::Idle => marks::idle::run(&mut report, settings),
            Mark::Root => marks::root::run(&mut report, settings),
            Mark::Mined => marks::mined::run(&mut report, settings),
            Mark::Local => marks::local::run(&mut report, settings),
            Mark::Durable => marks::durable::run(&mut report, settings),
        }
        eprintln!("{mark:?}: {:.1} s", begun.elapsed().as_secs_f64());
    }
}
