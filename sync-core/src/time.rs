//! Time as plain integers that come in from outside.
//!
//! The core never reads a clock. Whoever drives it passes a [`Now`] with every input: a monotonic
//! reading for deadlines and a wall reading for hybrid clocks. Both are integers of our own, so a test
//! can build them and a trace can print them.

use std::fmt;
use std::ops::Add;

/// A point on the driver's monotonic clock, in microseconds since an epoch of the driver's choice.
///
/// Only differences mean anything. Every deadline of the core is one of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The driver's epoch.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    /// Saturates at the end of time, 584,000 years after the epoch.
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A length of time in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// `secs` seconds; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// This length in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This length in whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// A wall clock reading: milliseconds since the Unix epoch, as far as this machine knows.
///
/// It may be wrong and it may jump. It feeds hybrid clocks and expiry, never a deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct WallMillis(pub u64);

/// The two readings that accompany each input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// The monotonic reading, for deadlines. Must not go back from one input to the next.
    pub mono: Timestamp,
    /// The wall reading, for hybrid clocks. May jump either way.
    pub wall: WallMillis,
}

impl Now {
    /// A reading whose wall clock stands `mono` after `wall_start`, for tests and examples.
    ///
    /// ```
    /// use sync_core::time::{Now, Timestamp, WallMillis};
    /// let now = Now::at(Timestamp::from_micros(5_000), WallMillis(1_000));
    /// assert_eq!(now.wall, WallMillis(1_005));
    /// ```
    pub const fn at(mono: Timestamp, wall_start: WallMillis) -> Self {
        Self { mono, wall: WallMillis(wall_start.0.saturating_add(mono.0 / 1_000)) }
    }
}
