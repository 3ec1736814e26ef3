//! Shrinking: the smallest scenario that still breaks the same property.
//!
//! Delta debugging (Zeller, Hildebrandt 2002) over the lines of a scenario: faults, then turns, then
//! nodes, then everything that makes a link, a bound or a clock special. A smaller scenario counts if a
//! run of it breaks the *same property*; what exactly it shows may change on the way.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::run::run;
use crate::scenario::{Bounds, Clocks, Disk, Mode, Network, Periods, Scenario, Topology};

/// The arguments of `shrink`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A failing seed of `swarm`, or a scenario file.
    what: String,
    /// Most runs to spend.
    #[arg(long, default_value_t = 2_000)]
    runs: u32,
    /// Write the scenario to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A scenario that fails, getting smaller.
#[derive(Debug)]
struct Shrinker {
    best: Scenario,
    property: &'static str,
    runs_left: u32,
}

impl Shrinker {
    /// Takes `candidate` if it still breaks the property.
    fn try_one(&mut self, candidate: Scenario) -> bool {
        if self.runs_left == 0 || candidate == self.best || candidate.check().is_err() {
            return false;
        }
        self.runs_left -= 1;
        let fails = run(&candidate).violation.is_some_and(|violation| violation.property == self.property);
        if fails {
            self.best = candidate;
        }
        fails
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        edit(&mut candidate);
        self.try_one(candidate)
    }

    /// Leaves out lines of a list, in pieces of half of it first and of one line at last.
    fn thin<T: Clone>(&mut self, list: fn(&mut Scenario) -> &mut Vec<T>) {
        let mut piece = list(&mut self.best).len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < list(&mut self.best).len() {
                let until = (at + piece).min(list(&mut self.best).len());
                let left_out = self.edit(|scenario| {
                    list(scenario).drain(at..until);
                    scenario.workload.turns = scenario.turns.len();
                });
                at = if left_out { at } else { until };
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
    }

    /// One pass over everything; true if something got smaller.
    fn pass(&mut self) -> bool {
        let before = self.best.clone();
        self.thin(|scenario| &mut scenario.faults);
        self.thin(|scenario| &mut scenario.turns);
        while self.best.nodes > 1 && self.edit(|s| *s = s.clone().with_nodes(s.nodes - 1)) {}
        self.edit(|s| s.network = Network::default());
        self.edit(|s| s.network.mode = Mode::Stream);
        self.edit(|s| s.network.loss = 0.0);
        self.edit(|s| s.network.duplicate = 0.0);
        self.edit(|s| s.network.reorder = 0.0);
        self.edit(|s| (s.network.bandwidth, s.network.queue_frames) = (0, 0));
        self.edit(|s| s.disk = Disk::default());
        self.edit(|s| s.clocks = Clocks::default());
        self.edit(|s| s.topology = Topology::Mesh);
        self.edit(|s| s.bounds = Bounds::default());
        for clear in [
            (|bounds| bounds.crdts_max = None) as fn(&mut Bounds),
            |bounds| (bounds.store_bytes_max, bounds.store_bytes_ceiling) = (None, None),
            |bounds| bounds.message_bytes_max = None,
            |bounds| bounds.pinned_bytes_max = None,
            |bounds| bounds.log_entries_max = None,
            |bounds| bounds.records_max = None,
            |bounds| bounds.outbox_frames_max = None,
            |bounds| bounds.pushes_in_flight_max = None,
            |bounds| bounds.skipped_entries_max = None,
        ] {
            self.edit(|s| clear(&mut s.bounds));
        }
        self.edit(|s| s.protocol.old.clear());
        self.edit(|s| s.protocol.sketches = None);
        self.edit(|s| s.periods = Periods::default());
        self.edit(|s| s.workload.group = 1);
        self.edit(|s| s.rest_ms = 0);
        self.edit(|s| s.run_ms = last_line_ms(s) + 1);
        self.best != before
    }
}

/// When the last line of a scenario happens.
fn last_line_ms(scenario: &Scenario) -> u64 {
    let turns = scenario.turns.iter().map(|turn| turn.at_us / 1_000);
    turns.chain(scenario.faults.iter().map(|fault| fault.at_ms)).max().unwrap_or(0)
}

/// The smallest scenario found, in at most `runs` runs, that breaks the property that `scenario` breaks;
/// `None` if it breaks none.
pub fn shrink(scenario: &Scenario, runs: u32) -> Option<Scenario> {
    let best = scenario.clone().with_turns();
    let violation = run(&best).violation?;
    let mut shrinker = Shrinker { best, property: violation.property, runs_left: runs };
    while shrinker.pass() && shrinker.runs_left > 0 {}
    let mut best = shrinker.best;
    best.name = format!("{}-{}-small", scenario.name, scenario.seed);
    best.about =
        format!("Breaks \"{}\". Shrunk from {} seed {}.", violation.property, scenario.name, scenario.seed);
    Some(best)
}

/// `shrink`: prints the scenario.
pub fn command(args: &Args) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let scenario = match args.what.parse() {
        Ok(seed) => crate::faults::draw(seed),
        Err(_) => match crate::library::find(&args.what) {
            Ok(scenario) => scenario,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let Some(small) = shrink(&scenario, args.runs) else {
        eprintln!("{} breaks nothing: there is nothing to shrink", args.what);
        return ExitCode::FAILURE;
    };
    let text = small.to_toml();
    let written = match &args.out {
        Some(path) => std::fs::write(path, &text),
        None => {
            print!("{text}");
            Ok(())
        }
    };
    if let Err(error) = written {
        eprintln!("cannot write the scenario: {error}");
        return ExitCode::FAILURE;
    }
    eprintln!(
        "{} nodes, {} turns and {} faults are left; run it with: cargo run --release -p simulations -- run FILE",
        small.nodes,
        small.turns.len(),
        small.faults.len()
    );
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, FaultKind};

    #[test]
    fn what_has_nothing_to_do_with_the_failure_goes() {
        let fault = |at_ms, kind| Fault { at_ms, kind };
        let faults = vec![
            fault(500, FaultKind::ClockStep { node: 1, by_ms: 7 }),
            fault(1_000, FaultKind::Cut { sides: vec![vec![0], vec![1, 2]], for_ms: 60_000 }),
            fault(2_000, FaultKind::ResetAll),
        ];
        let scenario = Scenario { nodes: 3, faults, converge_ms: 0, ..Scenario::default() };
        let small = shrink(&scenario, 300).expect("nobody agrees in no time");
        assert!(small.turns.len() <= 1 && small.faults.len() <= 1, "{small:?}");
        assert_eq!(Scenario::parse(&small.to_toml()).expect("it can be run").turns, small.turns);
    }
}
