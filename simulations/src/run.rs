//! A run: faults while the application writes, then a healed world that must agree.
//!
//! The first phase demands safety: every checker, at every step. Then everything is healed (cuts, losses,
//! outages, pauses) and the nodes have [`crate::Scenario::converge_ms`] of virtual time to reach one
//! state; a node that does not is reported with what it lacks. At last the nodes are watched at rest.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sync_core::breaker::BreakerState;
use sync_core::node::Node;
use sync_core::store::Store;

use crate::checkers::Violation;
use crate::scenario::Scenario;
use crate::timeline::RunTimeline;
use crate::world::{Counts, Spread, World};

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// The hash over everything that happened: equal for two runs of one scenario and seed.
    pub trace_hash: String,
    /// The property that broke; the run ended there.
    pub violation: Option<Violation>,
    /// When the run ended, in virtual microseconds.
    pub ended_at: u64,
    /// The figures.
    pub counts: Counts,
    /// The last lines of the trace, if they were asked for.
    pub trace: Vec<String>,
    /// What there is to draw, if it was asked for.
    pub timeline: Option<RunTimeline>,
    /// How writes spread, if the scenario asked for it.
    pub spread: Option<Spread>,
}

/// How often the healed nodes are compared.
const LOOK_US: u64 = 50_000;

/// How long after agreement acknowledgements and late answers may still be under way.
const SETTLE_US: u64 = 1_000_000;

/// How often the nodes are given that time until nothing new comes up.
const ROUNDS_MAX: u32 = 4;

impl World {
    /// Runs the whole scenario, or up to the first violation.
    pub fn run(&mut self) -> Outcome {
        self.start_all();
        self.advance(self.scenario.run_ms * 1_000);
        self.heal();
        self.converge();
        let converged = self.counts.converged_us.is_some();
        if converged && self.violation.is_none() {
            self.outlive();
            self.rest();
        }
        if self.violation.is_none() {
            self.check_damage();
        }
        if self.violation.is_none() {
            self.check_end(converged);
        }
        if self.violation.is_none() && converged {
            self.check_lanes();
        }
        self.outcome()
    }

    fn converge(&mut self) {
        let (healed, until) = (self.at, self.at + self.scenario.converge_ms * 1_000);
        while self.violation.is_none() {
            if self.agrees()
                && self.lanes_agree()
                && (self.history.damages().is_empty() || self.contents_agree())
            {
                self.counts.converged_us = Some(self.at - healed);
                return self.picture_converged(self.at);
            }
            if self.at >= until {
                let (node, pending) = self.pending();
                return self.fail("convergence", node, pending);
            }
            self.advance((self.at + LOOK_US).min(until));
        }
    }

    fn rest(&mut self) {
        if self.scenario.rest_ms == 0 {
            return;
        }
        let timing = self.scenario.periods.timing();
        // The first round of equal roots may still raise a cursor, which is acknowledged once.
        let round = timing.sync_interval.as_micros() * 5 / 4 + 2 * timing.sync_timeout.as_micros();
        for _ in 0..ROUNDS_MAX {
            let before = self.known();
            self.advance(self.at + SETTLE_US + round);
            // A node may mint by itself (counter floors that it ends once a minute): that is news, and news
            // are told.
            if self.known() == before && self.agrees() && self.is_at_peace() {
                self.resting = true;
                return self.advance(self.at + self.scenario.rest_ms * 1_000);
            }
        }
    }

    /// True if no node has yet to greet one of the others: its breaker for it is closed.
    fn is_at_peace(&self) -> bool {
        let nodes = || self.machines.iter().filter_map(|machine| machine.node.as_ref());
        let closed = |node: &Node| {
            self.machines.iter().all(|other| node.breaker_state(other.id) == BreakerState::Closed)
        };
        nodes().all(closed)
    }

    /// What the first node knows.
    fn known(&self) -> Option<sync_core::causal::CausalContext> {
        let node = self.machines.first()?.node.as_ref()?;
        node.store(self.namespace).map(|store| store.context().clone())
    }

    fn check_end(&mut self, converged: bool) {
        let mut nodes: Vec<(usize, &mut Node)> = self
            .machines
            .iter_mut()
            .enumerate()
            .filter_map(|(at, machine)| machine.node.as_mut().map(|node| (at, node)))
            .collect();
        let checked = self.suite.at_end(&self.history, &mut nodes, converged);
        self.judge(checked);
        let stores: Vec<&Store> = self
            .machines
            .iter()
            .filter_map(|machine| machine.node.as_ref().and_then(|node| node.store(self.namespace)))
            .collect();
        let resting = self.workload.as_mut().map(|workload| workload.at_rest(&stores));
        if let Some(Err(what)) = resting {
            self.fail("application-invariant", 0, what);
        }
    }

    fn outcome(&mut self) -> Outcome {
        let lives: Vec<Node> = self.machines.iter_mut().filter_map(|machine| machine.node.take()).collect();
        lives.iter().for_each(|node| self.count_life(node));
        self.count_network();
        Outcome {
            scenario: self.scenario.name.clone(),
            seed: self.scenario.seed,
            trace_hash: self.trace_hash(),
            violation: self.violation.clone(),
            ended_at: self.at,
            counts: self.counts.clone(),
            trace: self.take_trace(),
            timeline: self.take_timeline(),
            spread: self.take_spread(),
        }
    }

    /// True if every machine is up, none has something to write again, and all hold one state.
    pub(crate) fn agrees(&mut self) -> bool {
        let namespace = self.namespace;
        if self.machines.iter().any(|machine| machine.node.as_ref().is_some_and(|node| node.salvaged() > 0)) {
            return false;
        }
        let mut contexts = self
            .machines
            .iter()
            .map(|machine| machine.node.as_ref().and_then(|node| node.store(namespace)).map(Store::context));
        let Some(Some(first)) = contexts.next() else { return false };
        if !contexts.all(|context| context == Some(first)) {
            return false;
        }
        let mut states = self
            .machines
            .iter_mut()
            .map(|machine| machine.node.as_mut().and_then(|node| node.state_id(namespace)));
        let first = states.next();
        states.all(|state| Some(state) == first)
    }

    /// Who lacks what, once the time to agree is over.
    fn pending(&mut self) -> (usize, String) {
        let namespace = self.namespace;
        let mut union = sync_core::causal::CausalContext::default();
        for store in self.machines.iter().filter_map(|m| m.node.as_ref()?.store(namespace)) {
            union.join(store.context());
        }
        let places = self.places.clone();
        let mut lacking = Vec::new();
        for (at, machine) in self.machines.iter_mut().enumerate() {
            let Some(node) = &mut machine.node else { continue };
            let root = node.state_id(namespace).map(|id| id.short()).unwrap_or_default();
            let Some(store) = node.store(namespace) else { continue };
            let lacks = union.minus(store.context());
            let peers: Vec<String> = node
                .peers(namespace)
                .iter()
                .filter_map(|peer| {
                    let place = places.get(&peer.node)?;
                    let state = match (peer.connected, peer.incarnation) {
                        (false, _) => "away".to_owned(),
                        (true, None) => "unknown".to_owned(),
                        (true, Some(_)) => {
                            format!("acked {:?}/{} queued {}", peer.acked, peer.head, peer.queued_frames)
                        }
                    };
                    Some(format!("n{place} {state}"))
                })
                .collect();
            lacking.push((
                at,
                lacks.len(),
                format!("n{at} has state {root}, lacks {:?}; peers: {}", lacks, peers.join(", ")),
            ));
        }
        let worst = lacking.iter().max_by_key(|(_, lacks, _)| *lacks).map_or(0, |(at, ..)| *at);
        let report: Vec<String> = lacking.into_iter().map(|(.., line)| line).collect();
        let ms = self.scenario.converge_ms;
        (worst, format!("not one state {ms} ms after everything was healed:\n  {}", report.join("\n  ")))
    }
}

/// Runs `scenario` with the random workload; a panic of the engine is a violation like any other.
pub fn run(scenario: &Scenario) -> Outcome {
    run_world(|| World::new(scenario), scenario)
}

/// Runs the world that `build` makes for `scenario`; a panic in it is a violation.
pub fn run_world(build: impl FnOnce() -> World, scenario: &Scenario) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| build().run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "a panic without a message".to_owned());
        Outcome {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            trace_hash: String::new(),
            violation: Some(Violation { property: "no-panic", node: 0, what }),
            ended_at: 0,
            counts: Counts::default(),
            trace: Vec::new(),
            timeline: None,
            spread: None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{self, Fault, FaultKind};

    #[test]
    fn one_seed_tells_one_story() {
        for seed in 1..=6 {
            let [first, second] = [(); 2].map(|()| run(&faults::draw(seed)));
            assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
            assert_eq!(first.counts, second.counts, "seed {seed}");
            assert!(first.violation.is_none(), "seed {seed}: {:?}", first.violation);
        }
    }

    #[test]
    fn a_trace_and_a_picture_change_nothing() {
        let scenario = faults::draw(3);
        let watched = World::new(&scenario).with_trace(10).with_timeline().run();
        assert_eq!(watched.trace_hash, run(&scenario).trace_hash);
        assert_eq!(watched.trace.len(), 10);
        assert!(!watched.timeline.expect("it was asked for").samples.is_empty());
    }

    #[test]
    fn a_cut_parts_the_nodes_and_the_heal_joins_them() {
        let cut = FaultKind::Cut { sides: vec![vec![0], vec![1]], for_ms: 10_000 };
        let faults = vec![Fault { at_ms: 1, kind: cut }];
        let scenario = Scenario { nodes: 2, faults, ..Scenario::default() };
        let mut world = World::new(&scenario);
        world.start_all();
        world.advance(9_000_000);
        assert!(!world.agrees(), "both sides have written for nine seconds");
        let outcome = run(&scenario);
        assert!(outcome.violation.is_none(), "{outcome:?}");
        assert!(outcome.counts.converged_us.is_some());
    }

    #[test]
    fn nodes_that_cannot_agree_in_time_are_reported_with_what_they_lack() {
        let cut = FaultKind::Cut { sides: vec![vec![0], vec![1]], for_ms: 10_000 };
        let faults = vec![Fault { at_ms: 1, kind: cut }];
        let scenario = Scenario { nodes: 2, faults, converge_ms: 0, ..Scenario::default() };
        let violation = run(&scenario).violation.expect("nobody agrees in no time");
        assert_eq!(violation.property, "convergence");
        assert!(violation.what.contains("lacks"), "{violation}");
    }
}
