//! The command `exhaust`: which searches run, and how their results are printed.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args as ClapArgs;

use super::search::{Level, Search};
use super::{Alphabet, REPLICAS_MAX, Report, Scope};
use crate::history::Kind;

/// What to search. Without options: the whole plan, every type.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Only this data type.
    #[arg(long = "type", value_enum)]
    kind: Option<KindArg>,
    /// Only searches with so many replicas, 2 or 3.
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=REPLICAS_MAX as u64))]
    replicas: Option<u64>,
    /// Stop a search once it has seen so many states.
    #[arg(long)]
    max_states: Option<usize>,
    /// Heal one in so many states; 1 heals all and takes about five times as long.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    heal_every: Option<u64>,
    /// Searches that run at a time. Each may need 4 GB.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum KindArg {
    /// Add-wins set.
    #[value(alias = "set")]
    OrSet,
    /// Last-writer-wins map.
    #[value(alias = "map")]
    LwwMap,
    /// Counter with observed reset.
    #[value(alias = "counter")]
    PnCounter,
}

impl KindArg {
    fn kind(self) -> Kind {
        match self {
            Self::OrSet => Kind::Set,
            Self::LwwMap => Kind::Map,
            Self::PnCounter => Kind::Counter,
        }
    }
}

/// Runs the searches and prints what they found; fails if a property does not hold.
pub fn command(args: &Args) -> ExitCode {
    let scopes = plan(args);
    if scopes.is_empty() {
        eprintln!("no search of the plan fits these options; drop --type or --replicas");
        return ExitCode::FAILURE;
    }
    let jobs = usize::try_from(args.jobs).unwrap_or(1);
    if !args.json {
        println!(
            "{:<10} {:<74} {:>9} {:>5}  {:<15} {:>10} {:>7}",
            "type", "scope", "states", "depth", "", "violations", "seconds"
        );
    }
    let reports = run(&scopes, jobs, &|report| {
        if !args.json {
            print_row(report);
        }
    });
    if args.json {
        println!("{}", json(&reports));
    }
    let broken = reports.iter().any(|report| report.violation.is_some());
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The searches of the plan that the options leave, the long ones first.
fn plan(args: &Args) -> Vec<Scope> {
    let kinds = [Kind::Set, Kind::Map, Kind::Counter];
    let shapes: [fn(Kind) -> Scope; 5] = [
        Scope::pair,
        Scope::trio,
        Scope::pair_without_crash,
        Scope::pair_with_cuts,
        Scope::pair_with_short_memory,
    ];
    let all = shapes.iter().flat_map(|shape| kinds.map(shape));
    all.filter(|scope| args.kind.is_none_or(|only| only.kind() == scope.kind))
        .filter(|scope| args.replicas.is_none_or(|only| only == scope.replicas as u64))
        .map(|scope| Scope {
            states_max: args.max_states.unwrap_or(scope.states_max),
            heal_every: args.heal_every.unwrap_or(scope.heal_every),
            ..scope
        })
        .collect()
}

/// Runs `scopes`, `jobs` at a time. Each search is alone in its thread, so the results do not depend on
/// how many run at once; they come back in the order of `scopes`.
fn run(scopes: &[Scope], jobs: usize, done: &(dyn Fn(&Report) + Sync)) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports: Vec<Mutex<Option<Report>>> = scopes.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|threads| {
        for _ in 0..jobs.min(scopes.len()) {
            threads.spawn(|| {
                while let Some((scope, place)) = {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    scopes.get(nth).zip(reports.get(nth))
                } {
                    let report = Search::new(*scope).run(&|level| progress(scope, level));
                    done(&report);
                    *place.lock().expect("no thread panics while it holds the lock") = Some(report);
                }
            });
        }
    });
    let taken =
        |place: Mutex<Option<Report>>| place.into_inner().expect("no thread panics while it holds the lock");
    reports.into_iter().filter_map(taken).collect()
}

/// Tells whoever waits at a terminal how far a search has come.
fn progress(scope: &Scope, level: &Level) {
    let Level { depth, states, waiting } = level;
    eprintln!(
        "{}, {}: depth {depth}, {states} states, {waiting} to search",
        type_name(scope.kind),
        describe(scope)
    );
}

fn print_row(report: &Report) {
    let Report { scope, states, depth, seconds, .. } = report;
    let outcome = outcome(report);
    let violations = usize::from(report.violation.is_some());
    let (name, text) = (type_name(scope.kind), describe(scope));
    println!("{name:<10} {text:<74} {states:>9} {depth:>5}  {outcome:<15} {violations:>10} {seconds:>7.1}");
    if let Some(violation) = &report.violation {
        println!("  violation: {}", violation.what);
        for (nth, line) in violation.story.iter().enumerate() {
            println!("  {:>3}. {line}", nth + 1);
        }
    }
}

fn outcome(report: &Report) -> String {
    match (&report.violation, report.exhausted) {
        (Some(_), _) => "violated".to_owned(),
        (None, true) => "exhausted".to_owned(),
        (None, false) => format!("cut at depth {}", report.depth),
    }
}

fn describe(scope: &Scope) -> String {
    let Scope { replicas, operations, crashes, cuts, sends, .. } = scope;
    let kinds = match scope.alphabet {
        Alphabet::Two => "two kinds",
        Alphabet::All => "all kinds",
    };
    let faults = match (crashes, cuts) {
        (0, false) => "no crash",
        (0, true) => "links cut at will",
        (_, false) => "1 crash",
        (_, true) => "1 crash, links cut at will",
    };
    let memory = if scope.short_memory { ", logs and records of 1" } else { "" };
    format!("{replicas} replicas, {operations} operations of {kinds}, {sends} sends, {faults}{memory}")
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Set => "or_set",
        Kind::Map => "lww_map",
        Kind::Counter => "pn_counter",
        Kind::Typed(on) => on.name(),
    }
}

fn json(reports: &[Report]) -> serde_json::Value {
    let row = |report: &Report| {
        serde_json::json!({
            "type": type_name(report.scope.kind),
            "scope": describe(&report.scope),
            "replicas": report.scope.replicas,
            "operations": report.scope.operations,
            "crashes": report.scope.crashes,
            "sends": report.scope.sends,
            "cuts": report.scope.cuts,
            "states": report.states,
            "transitions": report.transitions,
            "depth": report.depth,
            "outcome": outcome(report),
            "exhausted": report.exhausted,
            "node_states": report.node_states,
            "frames": report.frames,
            "histories": report.histories,
            "healed": report.healed,
            "heal_rounds_max": report.heal_rounds_max,
            "violations": usize::from(report.violation.is_some()),
            "violation": report.violation.as_ref().map(|violation| &violation.what),
            "story": report.violation.as_ref().map(|violation| &violation.story),
            "seconds": report.seconds,
        })
    };
    let violations = reports.iter().filter(|report| report.violation.is_some()).count();
    serde_json::json!({
        "searches": reports.iter().map(row).collect::<Vec<_>>(),
        "violations": violations,
        "seconds": reports.iter().map(|report| report.seconds).sum::<f64>(),
    })
}
