//! The heal: every fault is over, at one moment.

use super::World;
use super::machine::Comeback;
use super::trace::Mark;

impl World {
    /// Ends every fault: links are whole, machines are up, running and reading, clocks run.
    ///
    /// A store at its ceiling is stuck by design until somebody removes data or raises it; here an operator
    /// raises it, which takes a restart.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.at, Mark::Phase, 0, &[], || "HEALED: from now on nothing goes wrong".to_owned());
        self.healed = true;
        self.net.heal(self.at);
        self.picture_healed();
        let raise = self.scenario.bounds.store_bytes_ceiling.take().is_some();
        for at in 0..self.machines.len() {
            self.resume(at);
            self.read_again(at);
            self.machines[at].clock.thaw(self.at);
            if self.scenario.workload.expiring > 0.0 {
                // Nothing dies in time by a wrong clock; with as many wrong as there are, not everything converges.
                self.suite.clock(at, self.machines[at].now(self.at).wall.0);
                self.machines[at].clock.correct();
                self.suite.clock(at, self.machines[at].now(self.at).wall.0);
            }
            if raise && self.machines[at].node.is_some() {
                self.stop(at, Comeback::Durable { keep_owner: true });
            }
            if self.machines[at].node.is_none() {
                self.start(at);
            }
        }
        self.heal_lanes();
        self.take_pending();
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.healed
    }

    pub(crate) fn trace_hash(&self) -> String {
        self.trace.hash()
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take_lines()
    }

    /// Adds what the network did to the figures.
    pub(crate) fn count_network(&mut self) {
        let counts = self.net.counts;
        (self.counts.frames, self.counts.bytes) = (counts.frames, counts.bytes);
        let kinds = [
            ("loss", counts.lost),
            ("duplicate", counts.duplicated),
            ("reorder", counts.reordered),
            ("queue-overflow", counts.overflowed),
            ("bandwidth", counts.throttled),
        ];
        kinds.into_iter().for_each(|(name, times)| self.counts.faults_by(name, times));
    }
}
