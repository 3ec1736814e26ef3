//! The operator's tool: a demo, certificates, a node to run, and commands to a running node.
//!
//! In goes a command line; out come text or JSON on standard output, one line about a failure, or about
//! each mistake of a configuration, on standard error, and an exit code ([`failure::Failure::exit_code`]).

#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod config;
mod demo;
mod failure;
mod log;
mod output;

use std::process::ExitCode;

use args::Parsed;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args_os()) {
        Ok(Parsed::Run(cli)) => commands::dispatch(cli),
        Ok(Parsed::Text(text)) => output::line(text.trim_end()),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.lines().iter().for_each(|line| log::complain(line));
            failure.exit_code()
        }
    }
}
