//! The search itself: level by level, so the first violation found is one of the shortest.

use std::time::Instant;

use super::Report;
use super::check::{Checks, Histories};
use super::heal::Heals;
use super::locals::Locals;
use super::scope::{REPLICAS_MAX, Scope};
use super::state::{Move, State};
use super::story;
use super::visited::{Found, Visited};

/// How far a search has come at the end of a level.
pub(super) struct Level {
    /// Moves from the start.
    pub(super) depth: usize,
    /// Distinct states seen.
    pub(super) states: usize,
    /// States of the next level, to be searched for the first time or again.
    pub(super) waiting: usize,
}

/// A search under way.
pub(super) struct Search {
    pub(super) scope: Scope,
    pub(super) locals: Locals,
    pub(super) histories: Histories,
    checks: Checks,
    heals: Heals,
    visited: Visited,
    transitions: u64,
}

impl Search {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            locals: Locals::new(scope),
            histories: Histories::new(),
            checks: Checks::new(&scope),
            heals: Heals::default(),
            visited: Visited::default(),
            transitions: 0,
        }
    }

    pub(super) fn start(&mut self) -> Result<State, String> {
        let started = self.locals.start()?;
        let mut nodes = [0; REPLICAS_MAX];
        nodes[..started.len()].copy_from_slice(&started);
        Ok(State { nodes, history: 0, sends: 0, frames: Box::default() })
    }

    pub(super) fn run(mut self, level_done: &dyn Fn(&Level)) -> Report {
        let began = Instant::now();
        let mut report = Report::of(self.scope);
        let start = match self.start() {
            Ok(start) => start,
            Err(what) => {
                report.violation = Some(super::Violation { what, story: Vec::new() });
                return report;
            }
        };
        self.visited.start(start);
        let mut level = vec![0];
        while !level.is_empty() && report.violation.is_none() && self.visited.len() < self.scope.states_max {
            let mut next = Vec::new();
            for index in std::mem::take(&mut level) {
                if self.visited.len() >= self.scope.states_max {
                    break;
                }
                let state = self.visited.take(index);
                if let Err((path, what)) = self.expand(index, &state, &mut next) {
                    let story = story::tell(&mut self, &path);
                    report.violation = Some(super::Violation { what, story });
                    break;
                }
            }
            // A level that was cut is not covered.
            let cut = self.visited.len() >= self.scope.states_max;
            report.depth += usize::from(!next.is_empty() && !cut);
            level = next;
            level_done(&Level { depth: report.depth, states: self.visited.len(), waiting: level.len() });
        }
        let cut = self.visited.len() >= self.scope.states_max;
        report.exhausted = level.is_empty() && !cut && report.violation.is_none();
        report.states = self.visited.len();
        report.transitions = self.transitions;
        report.node_states = self.locals.len();
        report.frames = self.locals.letters.len();
        report.histories = self.histories.len();
        report.healed = self.heals.len();
        report.heal_rounds_max = self.heals.rounds;
        report.seconds = began.elapsed().as_secs_f64();
        report
    }

    /// Adds to `next` what is to be searched one move from `state`. An error names the path to it.
    fn expand(&mut self, index: u32, state: &State, next: &mut Vec<u32>) -> Result<(), (Vec<Move>, String)> {
        let with = (&self.checks, &self.histories);
        if let Err(what) =
            self.heals.heal(state, &mut self.locals, with, (self.scope.replicas, self.scope.heal_every))
        {
            return Err((self.visited.path(index), what));
        }
        let mut moves = Vec::new();
        state.moves(&self.scope, &self.locals, &self.histories, &mut moves);
        for made in moves {
            self.transitions += 1;
            match self.take(index, state, made) {
                Ok(None) => {}
                Ok(Some(child)) => next.push(child),
                Err(what) => {
                    let mut path = self.visited.path(index);
                    path.push(made);
                    return Err((path, what));
                }
            }
        }
        Ok(())
    }

    /// The number of the state after `made`, if it is to be searched.
    fn take(&mut self, index: u32, state: &State, made: Move) -> Result<Option<u32>, String> {
        let histories = &mut self.histories;
        let after = state
            .after(made, &self.scope, &mut self.locals, &mut |history, op| histories.with(history, op))?;
        let Some(after) = after else { return Ok(None) };
        match self.visited.insert(&after, state, (index, made)) {
            Found::New(child) => {
                self.histories.settle(&self.locals.ops);
                let after = after.state(state);
                self.checks.state(&after, made, self.scope.replicas, &mut self.locals, &self.histories)?;
                Ok(Some(child))
            }
            Found::Grown(child) => Ok(Some(child)),
            Found::Known => Ok(None),
        }
    }
}
