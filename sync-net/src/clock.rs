//! The two clocks that the core is told: monotonic for deadlines, wall for hybrid timestamps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sync_core::time::{Now, Timestamp, WallMillis};

/// Reads both clocks; the epoch of the monotonic one is the clock's making.
///
/// A reading that goes into the core is taken while the core is locked, so that readings never go back
/// from one input to the next.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// Both readings. A wall clock set before 1970 reads 0.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall: WallMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// The monotonic reading.
    pub(crate) fn mono(&self) -> Timestamp {
        Timestamp::from_micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// How long until `at`; zero if it has passed.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        Duration::from_micros(at.since(self.mono()).as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_is_due_now() {
        let clock = Clock::start();
        assert_eq!(clock.until(Timestamp::ZERO), Duration::ZERO);
        let later = Timestamp::from_micros(clock.mono().as_micros() + 60_000_000);
        assert!(clock.until(later) > Duration::from_secs(50));
    }
}
