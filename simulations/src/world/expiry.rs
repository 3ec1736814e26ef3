//! Expiry against the time itself, which only the world knows: nothing dies early, and what expires does die.

use sync_core::time::Span;

use super::World;
use super::clock::WALL_START_MS;

/// Readings are some milliseconds old when they count, and grow older at a monotonic clock that is a little off.
const SLACK_MS: u64 = 250;

impl World {
    fn expires(&self) -> bool {
        self.scenario.workload.expiring > 0.0
    }

    /// What a right clock shows.
    fn wall_ms(&self) -> u64 {
        WALL_START_MS.unsigned_abs() + self.at / 1_000
    }

    /// Nothing dies before a clock that is off by as much as right clocks are here says so: the median of the
    /// clocks is one of these, or between two, as long as fewer than half are wrong.
    pub(super) fn look_at_horizon(&mut self, at: usize) {
        if !self.expires() {
            return;
        }
        let Some(store) = self.machines[at].node.as_ref().and_then(|node| node.store(self.namespace)) else {
            return;
        };
        let horizon = store.horizon().0;
        let before = std::mem::replace(&mut self.machines[at].horizon, horizon);
        self.counts.horizons += u64::from(horizon > before);
        let grace = self.scenario.periods.timing().expiry_grace.as_millis();
        let most = self.wall_ms() + self.scenario.clocks.skew_ms + SLACK_MS;
        if horizon > 0 && horizon + grace > most {
            let early = horizon + grace - most;
            self.fail(
                "nothing-expires-early",
                at,
                format!("what expires at {horizon} is dead, {early} ms early"),
            );
        }
    }

    /// Waits until all that was written to expire must be dead, everywhere, and looks whether it is.
    pub(crate) fn outlive(&mut self) {
        if !self.expires() {
            return;
        }
        let timing = self.scenario.periods.timing();
        let most = self.scenario.workload.expires_ms.map_or(0, |(_, most)| most);
        // Until a slow clock lets it die; a clock that was just set right waits for a word from its members.
        let late = self.scenario.clocks.skew_ms
            + timing.expiry_grace.as_millis()
            + 2 * timing.expiry_step.as_millis()
            + 3 * timing.sync_interval.as_millis()
            + timing.sync_timeout.as_millis()
            + SLACK_MS;
        let begun = self.wall_ms();
        // The last one was written before, by a clock that may have been ahead.
        let wait = Span::from_millis(self.scenario.clocks.skew_ms + most + late);
        self.advance(self.at + wait.as_micros());
        let last = begun + self.scenario.clocks.skew_ms + most;
        for at in 0..self.machines.len() {
            let Some(store) = self.machines[at].node.as_ref().and_then(|node| node.store(self.namespace))
            else {
                continue;
            };
            let first = store.expires_first().map_or(u64::MAX, |expires| expires.0);
            if first <= last {
                let now = self.wall_ms();
                self.fail(
                    "what-expires-dies",
                    at,
                    format!("at {now} something lives that expires at {first}"),
                );
            }
        }
        // The last horizon may still be on its way, and what a clock that was ahead wrote dies later still: another
        // state is a fault once no horizon has moved for as long as one needs to reach everybody.
        while self.violation.is_none() && !self.agrees() {
            let moved = self.counts.horizons;
            self.advance(self.at + 3 * timing.sync_interval.as_micros());
            if self.counts.horizons == moved && !self.agrees() {
                self.fail(
                    "convergence",
                    0,
                    "all that expires has, and the nodes are not in one state".to_owned(),
                );
            }
        }
    }
}
