//! One run, told in full: the commands `run`, `replay` and `list`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::library;
use crate::run::{Outcome, run_world};
use crate::scenario::Scenario;
use crate::svg;
use crate::world::World;

/// The arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// A scenario of `list`, or a TOML file.
    scenario: String,
    /// The seed of its small choices, in place of the scenario's own.
    #[arg(long)]
    seed: Option<u64>,
    /// The number of nodes, in place of the scenario's own.
    #[arg(long)]
    nodes: Option<usize>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
    /// Draw the run to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the last N lines of the event trace.
    #[arg(long, value_name = "N", default_value_t = 0)]
    trace: usize,
}

/// The arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// A seed of `swarm`.
    seed: u64,
    /// Print only the last N lines of the trace.
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Print the scenario that the seed draws, as TOML, and run nothing.
    #[arg(long)]
    scenario: bool,
    /// Draw the run to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// `list`: the scenarios that `run` knows by name.
pub fn list() -> ExitCode {
    for scenario in library::all() {
        println!("{:<22}{:>4} nodes  {}", scenario.name, scenario.nodes, scenario.about);
    }
    ExitCode::SUCCESS
}

/// `run`: fails if a property does not hold.
pub fn run_command(args: &RunArgs) -> ExitCode {
    let mut scenario = match library::find(&args.scenario) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    if let Some(nodes) = args.nodes {
        scenario = scenario.with_nodes(nodes);
    }
    if let Err(error) = scenario.check() {
        eprintln!("{}: {error}", args.scenario);
        return ExitCode::FAILURE;
    }
    let outcome = tell(&scenario, args.trace, args.svg.as_deref());
    outcome.trace.iter().for_each(|line| eprintln!("{line}"));
    if args.json {
        println!("{}", outcome.to_json());
    } else {
        print!("{}", outcome.summary());
    }
    outcome.exit_code()
}

/// `replay`: fails if a property does not hold.
pub fn replay_command(args: &ReplayArgs) -> ExitCode {
    let scenario = crate::faults::draw(args.seed);
    if args.scenario {
        print!("{}", scenario.to_toml());
        return ExitCode::SUCCESS;
    }
    let outcome = tell(&scenario, args.tail.unwrap_or(usize::MAX), args.svg.as_deref());
    outcome.trace.iter().for_each(|line| println!("{line}"));
    print!("{}", outcome.summary());
    outcome.exit_code()
}

fn tell(scenario: &Scenario, lines: usize, svg: Option<&Path>) -> Outcome {
    let build = || {
        let world = World::new(scenario).with_trace(lines);
        if svg.is_some() { world.with_timeline() } else { world }
    };
    let outcome = run_world(build, scenario);
    if let (Some(path), Some(timeline)) = (svg, &outcome.timeline)
        && let Err(error) = svg::draw(timeline, path)
    {
        eprintln!("cannot draw to {}: {error}", path.display());
    }
    outcome
}

impl Outcome {
    fn exit_code(&self) -> ExitCode {
        if self.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The outcome for people.
    pub fn summary(&self) -> String {
        use std::fmt::Write as _;
        let Self { scenario, seed, counts, .. } = self;
        let mut text = String::new();
        let mut line = |args: std::fmt::Arguments<'_>| {
            writeln!(text, "{args}").expect("writing to a String cannot fail");
        };
        line(format_args!("{scenario}, seed {seed}: {:.3} s of virtual time", self.ended_at as f64 / 1e6));
        line(format_args!(
            "  {} operations ({} groups, {} refused, {} turns passed), {} inputs",
            counts.ops, counts.groups, counts.refused, counts.passed, counts.steps
        ));
        line(format_args!(
            "  {} frames, {} bytes; {} items arrived new, {} known already",
            counts.frames, counts.bytes, counts.items_new, counts.items_known
        ));
        line(format_args!(
            "  {} sessions ({} fallbacks), {} roots of peers behind a truncated log, {} lives with truncated records",
            counts.sessions, counts.fallbacks, counts.log_truncations, counts.record_truncations
        ));
        line(format_args!(
            "  {} writes ended twice concurrently, {} resets counted on by others, {} fences",
            counts.concurrent_kills, counts.resets_seen, counts.fences
        ));
        let faults: Vec<String> =
            counts.faults.iter().map(|(name, times)| format!("{name} {times}")).collect();
        line(format_args!(
            "  faults: {}",
            if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }
        ));
        if let Some(spread) = &self.spread {
            line(format_args!(
                "  {} writes reached all in {:.1} ms (median), {:.1} ms (p99); {} did not; {} bytes a write, \
                 {:.2} copies a useful delivery",
                spread.writes,
                spread.all_us_p50 as f64 / 1e3,
                spread.all_us_p99 as f64 / 1e3,
                spread.unfinished,
                spread.bytes_per_write,
                spread.copies_percent as f64 / 100.0
            ));
        }
        line(format_args!("  trace hash {}", self.trace_hash));
        match (&self.violation, counts.converged_us) {
            (Some(violation), _) => line(format_args!("  VIOLATION: {violation}")),
            (None, Some(us)) => {
                line(format_args!("  every node holds one state, {} ms after the heal", us / 1_000));
            }
            (None, None) => line(format_args!("  the run was not asked to agree")),
        }
        text
    }

    /// The outcome as one line of JSON.
    pub fn to_json(&self) -> String {
        let Self { scenario, seed, trace_hash, violation, ended_at, counts, .. } = self;
        let violation = violation.as_ref().map(|violation| {
            serde_json::json!({
                "property": violation.property,
                "node": violation.node,
                "what": violation.what,
            })
        });
        let value = serde_json::json!({
            "scenario": scenario,
            "seed": seed,
            "trace_hash": trace_hash,
            "violation": violation,
            "ended_us": ended_at,
            "converged_us": counts.converged_us,
            "faults": counts.faults,
            "ops": counts.ops,
            "groups": counts.groups,
            "refused": counts.refused,
            "concurrent_kills": counts.concurrent_kills,
            "resets_seen": counts.resets_seen,
            "sessions": counts.sessions,
            "fallbacks": counts.fallbacks,
            "log_truncations": counts.log_truncations,
            "record_truncations": counts.record_truncations,
            "large_answers": counts.large_answers,
            "resumed": counts.resumed,
            "called_off": counts.called_off,
            "fences": counts.fences,
            "steps": counts.steps,
            "frames": counts.frames,
            "bytes": counts.bytes,
            "items_new": counts.items_new,
            "items_known": counts.items_known,
            "spread": self.spread,
        });
        value.to_string()
    }
}
