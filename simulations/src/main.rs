//! The command line of the simulator: one subcommand for each thing that it does.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A simulated world that judges the sync engine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the scenarios.
    List,
    /// Run a scenario.
    Run(simulations::replay::RunArgs),
    /// Run many seeds, each with its own world and faults.
    Swarm(simulations::swarm::Args),
    /// Run one seed of the swarm again, with a trace of every event.
    Replay(simulations::replay::ReplayArgs),
    /// Plant every known protocol bug in the core and show what kills it.
    Mutants(simulations::plant::Args),
    /// Interleave groups of writes with everything else, and read after every step.
    Groups(simulations::groups::Args),
    /// Crash the real file of rows along recorded writes, and check every image.
    Images(simulations::images::Args),
    /// Search everything that two or three nodes can do in a small scope.
    Exhaust(simulations::exhaust::cli::Args),
    /// Show what a sick peer costs its neighbours, and a crowd that heals at once.
    Neighbours(simulations::neighbours::Args),
    /// Reduce a failing seed to a small scenario.
    Shrink(simulations::shrink::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => simulations::replay::list(),
        Command::Run(args) => simulations::replay::run_command(&args),
        Command::Swarm(args) => simulations::swarm::command(&args),
        Command::Replay(args) => simulations::replay::replay_command(&args),
        Command::Mutants(args) => simulations::plant::command(&args),
        Command::Groups(args) => simulations::groups::command(&args),
        Command::Images(args) => simulations::images::command(&args),
        Command::Exhaust(args) => simulations::exhaust::cli::command(&args),
        Command::Neighbours(args) => simulations::neighbours::command(&args),
        Command::Shrink(args) => simulations::shrink::command(&args),
    }
}
