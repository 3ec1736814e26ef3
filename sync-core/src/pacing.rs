//! Pacing: how fast the frames of a class may be built for a peer.
//!
//! A token bucket over virtual time. A frame is built while there are tokens and takes its bytes, below zero if it is
//! longer than what is left: a frame is never cut for the rate, and the debt is waited for. No frame waits anywhere: what
//! waits is a cursor.

use crate::class::Class;
use crate::limits::Limits;
use crate::queue::Outboxes;
use crate::time::{Span, Timestamp};

/// Tokens of one class for one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes that were taken beyond what there was, and those that were not taken, below zero.
    debt: i64,
    /// Up to when it has been filled; `None` before the first frame, or without a rate.
    filled: Option<Timestamp>,
}

/// A rate, in bytes a second, and the bytes that may go at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second; 0 for as fast as it goes.
    pub bytes_per_second: u64,
    /// Bytes at once.
    pub burst: u64,
}

impl Rate {
    /// That of `class` by the limits, and by how full the queues of the classes before it are: bulk gives way, down to a
    /// sixteenth, while what goes first to the same peer waits.
    ///
    /// ```
    /// use sync_core::{class::Class, limits::Limits, pacing::Rate, queue::Outboxes};
    /// let limits = Limits { bulk_rate_max: 1 << 20, outbox_frames_max: 4, ..Limits::default() };
    /// let mut outboxes = Outboxes::default();
    /// assert_eq!(Rate::of(Class::Bulk, &limits, &outboxes).bytes_per_second, 1 << 20);
    /// (0..2).for_each(|_| outboxes.of_mut(Class::Urgent).built(100));
    /// assert_eq!(Rate::of(Class::Bulk, &limits, &outboxes).bytes_per_second, 1 << 19);
    /// ```
    pub fn of(class: Class, limits: &Limits, outboxes: &Outboxes) -> Self {
        let burst = limits.rate_burst_bytes;
        let max = match class {
            Class::Urgent => limits.urgent_rate_max,
            Class::Normal => limits.normal_rate_max,
            Class::Bulk => limits.bulk_rate_max,
        };
        if class != Class::Bulk || max == 0 {
            return Self { bytes_per_second: max, burst };
        }
        let sixteenths = |used: usize, max: usize| (used as u64).saturating_mul(16) / (max as u64).max(1);
        let before = Class::ALL.into_iter().filter(|other| *other < class).map(|other| outboxes.of(other));
        let pressure = before.map(|outbox| {
            let frames = sixteenths(outbox.frames(), limits.outbox_frames_max);
            frames.max(sixteenths(outbox.bytes(), limits.outbox_bytes_max))
        });
        let left = 16 - pressure.max().unwrap_or_default().min(15);
        Self { bytes_per_second: (max / 16).max(1).saturating_mul(left), burst }
    }
}

impl Bucket {
    /// One that owes what comes in at `bytes_per_second` in `time`.
    pub(crate) fn owing(time: Span, bytes_per_second: u64, now: Timestamp) -> Self {
        let owed = u128::from(time.as_micros()) * u128::from(bytes_per_second) / 1_000_000;
        Self { debt: i64::try_from(owed).unwrap_or(i64::MAX), filled: Some(now) }
    }

    /// True if a frame may be built at `now`.
    pub fn may_build(&mut self, now: Timestamp, rate: Rate) -> bool {
        self.fill(now, rate);
        self.debt <= 0
    }

    /// A frame of `bytes` was built.
    pub fn built(&mut self, bytes: usize) {
        if self.filled.is_some() {
            self.debt = self.debt.saturating_add(signed(bytes as u64));
        }
    }

    /// When a frame may be built again; `None` if one may be now.
    pub fn deadline(&self, rate: Rate) -> Option<Timestamp> {
        let debt = u64::try_from(self.debt).ok().filter(|debt| *debt > 0 && rate.bytes_per_second > 0)?;
        let micros = u128::from(debt).saturating_mul(1_000_000).div_ceil(u128::from(rate.bytes_per_second));
        Some(self.filled? + Span::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// What decides how it goes on.
    pub(crate) fn key(&self) -> (i64, Option<Timestamp>) {
        (self.debt, self.filled)
    }

    fn fill(&mut self, now: Timestamp, rate: Rate) {
        if rate.bytes_per_second == 0 {
            *self = Self::default();
            return;
        }
        let Some(filled) = self.filled else {
            (self.debt, self.filled) = (-signed(rate.burst), Some(now));
            return;
        };
        let micros = u128::from(now.since(filled).as_micros());
        let tokens = micros.saturating_mul(u128::from(rate.bytes_per_second)) / 1_000_000;
        // Too little to count goes on being owed.
        if tokens > 0 {
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
            self.debt = self.debt.saturating_sub(tokens).max(-signed(rate.burst));
            self.filled = Some(now);
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes_per_second: 1_000, burst: 500 };

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let (mut bucket, mut sent) = (Bucket::default(), 0);
        for now in 0..=10_000 {
            while bucket.may_build(at(now), RATE) {
                bucket.built(100);
                sent += 100;
            }
        }
        assert!((10_400..=10_700).contains(&sent), "{sent} bytes in ten seconds");
    }

    #[test]
    fn the_deadline_is_when_the_next_frame_may_be_built_and_not_before() {
        let mut bucket = Bucket::default();
        assert!(bucket.may_build(at(0), RATE));
        bucket.built(1_500);
        let due = bucket.deadline(RATE).expect("a thousand bytes are owed");
        assert_eq!(due, at(1_000));
        assert!(!bucket.may_build(at(999), RATE) && bucket.may_build(due, RATE));
        assert_eq!(bucket.deadline(RATE), None);
    }

    #[test]
    fn time_looked_at_often_counts_as_time_looked_at_once() {
        let mut bucket = Bucket::default();
        assert!(bucket.may_build(at(0), RATE));
        bucket.built(1_500);
        // A tenth of a byte each time.
        let often = (1..=10_000).map(|step| Timestamp::ZERO + Span::from_micros(step * 100));
        let first = often.into_iter().find(|now| bucket.may_build(*now, RATE));
        assert_eq!(first, Some(at(1_000)));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let (mut bucket, none) = (Bucket::default(), Rate { bytes_per_second: 0, burst: 0 });
        for _ in 0..2 {
            assert!(bucket.may_build(at(0), none) && bucket.deadline(none).is_none());
            bucket.built(usize::MAX);
        }
    }
}
