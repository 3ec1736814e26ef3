//! A machine's clocks: one that only goes forward, at nearly the right pace, and one that may jump.

use sync_core::time::{Now, Timestamp, WallMillis};

/// Wall time when a world begins: somewhere in 2023. Far enough from zero for a clock set back by years.
pub(super) const WALL_START_MS: i64 = 1_700_000_000_000;

/// The two clocks of one machine, as functions of virtual time.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// What the wall clock is off by.
    offset_ms: i64,
    /// What it was off by when the world began.
    skew_ms: i64,
    /// What the monotonic clock runs fast by, in millionths.
    ppm: i64,
    /// Where a frozen wall clock stands.
    frozen: Option<i64>,
}

impl Clock {
    pub(crate) fn new(offset_ms: i64, ppm: i64) -> Self {
        Self { offset_ms, skew_ms: offset_ms, ppm, frozen: None }
    }

    /// What a node of this machine reads at virtual microsecond `at`.
    pub(crate) fn read(&self, at: u64) -> Now {
        let running = self.running(at);
        let wall = self.frozen.unwrap_or(running);
        Now {
            mono: Timestamp::from_micros(self.mono(at)),
            wall: WallMillis(u64::try_from(wall).unwrap_or(0)),
        }
    }

    fn running(&self, at: u64) -> i64 {
        WALL_START_MS + i64::try_from(at / 1_000).unwrap_or(i64::MAX / 2) + self.offset_ms
    }

    fn mono(&self, at: u64) -> u64 {
        let gain = i128::from(at) * i128::from(self.ppm) / 1_000_000;
        u64::try_from(i128::from(at) + gain).unwrap_or(0)
    }

    /// The first virtual microsecond at which the monotonic clock shows `deadline` or later.
    pub(crate) fn when(&self, deadline: Timestamp) -> u64 {
        let wanted = deadline.as_micros();
        let guess = i128::from(wanted) * 1_000_000 / (1_000_000 + i128::from(self.ppm));
        let mut at = u64::try_from(guess).unwrap_or(0).saturating_sub(1);
        while self.mono(at) < wanted {
            at += 1;
        }
        at
    }

    /// Sets the wall clock by `by_ms`.
    pub(crate) fn step(&mut self, by_ms: i64) {
        self.offset_ms = self.offset_ms.saturating_add(by_ms);
        if let Some(stands) = &mut self.frozen {
            *stands = stands.saturating_add(by_ms);
        }
    }

    /// Sets the wall clock back to what it was off by in the beginning.
    pub(crate) fn correct(&mut self) {
        self.offset_ms = self.skew_ms;
    }

    /// Stops the wall clock where it is.
    pub(crate) fn freeze(&mut self, at: u64) {
        self.frozen = self.frozen.or(Some(self.running(at)));
    }

    /// Lets it run on from where it stands: it stays behind by the time it stood.
    pub(crate) fn thaw(&mut self, at: u64) {
        if let Some(stands) = self.frozen.take() {
            self.offset_ms -= self.running(at) - stands;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_microsecond_that_shows_it() {
        for ppm in [-500, -1, 0, 3, 250_000] {
            let clock = Clock::new(0, ppm);
            for wanted in [0, 1, 999, 1_000_001, 86_400_000_000] {
                let at = clock.when(Timestamp::from_micros(wanted));
                assert!(clock.mono(at) >= wanted);
                assert!(at == 0 || clock.mono(at - 1) < wanted, "{ppm} {wanted}");
            }
        }
    }

    #[test]
    fn a_frozen_clock_stands_and_then_stays_behind() {
        let mut clock = Clock::new(0, 0);
        clock.freeze(1_000_000);
        assert_eq!(clock.read(1_000_000).wall, clock.read(9_000_000).wall);
        clock.thaw(9_000_000);
        assert_eq!(clock.read(10_000_000).wall.0 - clock.read(9_000_000).wall.0, 1_000);
    }
}
