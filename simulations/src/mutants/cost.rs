//! Cost checkers, for mutants that break no property and waste the network.
//!
//! A calm mesh of six nodes, nothing lost and nothing cut: there the engine's own economy is all that
//! decides how often an item travels. One copy would be perfect; a push covers the log up to its head, so
//! a local write takes along what the node has just learned and the peer has not yet said that it knows.

use sync_core::mutant::{self, Mutant};

use crate::Scenario;
use crate::world::Counts;

/// Most items received for each that was new. In the calm mesh the engine needs 2.3, and with either
/// mutant more than 4.
const COPIES_MAX: f64 = 3.0;

/// The figures of the calm mesh with `mutant` planted.
pub fn calm(mutant: Option<Mutant>) -> Counts {
    let scenario =
        Scenario { name: "calm".to_owned(), seed: 1, nodes: 6, run_ms: 10_000, ..Scenario::default() };
    mutant::with(mutant, || crate::run(&scenario).counts)
}

/// Most items received for each that was new in a calm overlay.
const OVERLAY_COPIES_MAX: f64 = 1.7;

/// The figures of thirty nodes that write now and then, with `mutant` planted.
pub fn calm_overlay(mutant: Option<Mutant>) -> Counts {
    let mut scenario = Scenario {
        name: "calm overlay".to_owned(),
        seed: 1,
        nodes: 30,
        run_ms: 10_000,
        ..Scenario::default()
    };
    scenario.disk.durable = false;
    scenario.check_every = 1_000;
    (scenario.workload.turns, scenario.workload.group) = (60, 1);
    mutant::with(mutant, || crate::run(&scenario).counts)
}

/// Items received for each that was new.
pub fn copies(counts: &Counts) -> f64 {
    let as_f64 = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    as_f64(counts.items_new + counts.items_known) / as_f64(counts.items_new.max(1))
}

/// Runs the cost checker of `mutant`, if it has one; its name and what was too dear.
pub fn kill(mutant: Mutant) -> Option<(&'static str, String)> {
    let (world, most): (fn(Option<Mutant>) -> Counts, f64) =
        if [Mutant::KnownIsPushed, Mutant::RelayedAtOnce].contains(&mutant) {
            (calm, COPIES_MAX)
        } else if mutant == Mutant::ToldOnlyWhatIsLacked {
            (calm_overlay, OVERLAY_COPIES_MAX)
        } else {
            return None;
        };
    let (with, without) = (copies(&world(Some(mutant))), copies(&world(None)));
    let dear = with > most && without <= most;
    dear.then(|| {
        ("copies", format!("{with:.2} copies of each item, {without:.2} without it; {most} is the most"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calm_mesh_sends_few_items_twice() {
        let counts = calm(None);
        assert!(counts.items_new > 100, "{counts:?}");
        assert!(copies(&counts) <= COPIES_MAX, "{counts:?}");
    }

    #[test]
    fn a_calm_overlay_sends_few_items_twice() {
        let [with, without] = [Some(Mutant::ToldOnlyWhatIsLacked), None].map(calm_overlay);
        assert!(without.items_new > 500, "{without:?}");
        assert!(copies(&without) <= OVERLAY_COPIES_MAX, "{}", copies(&without));
        assert!(copies(&with) > OVERLAY_COPIES_MAX, "{}", copies(&with));
    }
}
