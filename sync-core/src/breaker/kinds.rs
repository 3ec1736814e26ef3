//! The words of the breaker: what can go wrong, how it stands, and why it moved.

use crate::error::FrameError;

/// What can go wrong with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// An exchange, a dial or a frame that had begun made no progress in its time.
    TimedOut,
    /// The peer, or the way to it, refused a dial.
    Refused,
    /// It broke the protocol.
    Violation,
    /// It sent or announced a frame longer than one may be.
    Oversize,
}

impl Failure {
    /// True if it is the peer's own doing, not that of the way to it.
    pub fn is_breach(self) -> bool {
        match self {
            Self::TimedOut | Self::Refused => false,
            Self::Violation | Self::Oversize => true,
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "time-out",
            Self::Refused => "refused",
            Self::Violation => "protocol violation",
            Self::Oversize => "oversize",
        }
    }

    /// What a refused frame says of its sender. `None` if an honest peer can send such: frames overtake each other,
    /// clocks and limits differ, lives are confused.
    pub fn of(error: &FrameError) -> Option<Self> {
        match error {
            FrameError::Oversize { .. } | FrameError::Memory { .. } => Some(Self::Oversize),
            FrameError::Truncated { .. }
            | FrameError::Trailing { .. }
            | FrameError::Version { .. }
            | FrameError::Kind { .. }
            | FrameError::Field { .. }
            | FrameError::Count { .. }
            | FrameError::Order { .. }
            | FrameError::KeyEncoding
            | FrameError::DotTwice { .. }
            | FrameError::OutsideDots { .. }
            | FrameError::Lives { .. } => Some(Self::Violation),
            FrameError::Staging { .. }
            | FrameError::Gap { .. }
            | FrameError::UnknownRoute
            | FrameError::UnknownBase { .. }
            | FrameError::OwnDots { .. }
            | FrameError::ClockAhead { .. }
            | FrameError::Ceiling { .. } => None,
        }
    }
}

/// Failures of one peer since it was first seen, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// See [`Failure::TimedOut`].
    pub timed_out: u64,
    /// See [`Failure::Refused`].
    pub refused: u64,
    /// See [`Failure::Violation`].
    pub violations: u64,
    /// See [`Failure::Oversize`].
    pub oversized: u64,
}

impl Failures {
    pub(super) fn count(&mut self, failure: Failure) {
        let count = match failure {
            Failure::TimedOut => &mut self.timed_out,
            Failure::Refused => &mut self.refused,
            Failure::Violation => &mut self.violations,
            Failure::Oversize => &mut self.oversized,
        };
        *count += 1;
    }
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreakerState {
    /// All goes.
    #[default]
    Closed,
    /// Nothing of ours goes.
    Open,
    /// One probe at a time goes.
    HalfOpen,
    /// Off the list of peers: no link until it is added again.
    Removed,
}

impl BreakerState {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Removed => "removed",
        }
    }
}

/// Why a breaker went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerReason {
    /// This failure was one too many, or that of a probe.
    Failed(Failure),
    /// The link broke before a probe was answered.
    LinkLost,
    /// Its time has come.
    Due,
    /// Something came from the peer.
    Heard,
    /// So many probes in a row were answered.
    Answered(u32),
    /// It has opened so often without an exchange in between that the peer goes off the list.
    Opened(u32),
    /// An operator asked for it.
    Operator,
    /// The peer is gone for good, or there is no room to remember it: nothing is held against it any more.
    Forgotten,
}

impl std::fmt::Display for BreakerReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(failure) => f.write_str(failure.name()),
            Self::LinkLost => f.write_str("the link broke before a probe was answered"),
            Self::Due => f.write_str("its time has come"),
            Self::Heard => f.write_str("the peer was heard"),
            Self::Answered(1) => f.write_str("a probe was answered"),
            Self::Answered(probes) => write!(f, "{probes} probes were answered"),
            Self::Opened(times) => write!(f, "opened {times} times in a row"),
            Self::Operator => f.write_str("an operator asked for it"),
            Self::Forgotten => f.write_str("the peer was forgotten"),
        }
    }
}

/// A step from one state to another. A failed probe is one too: from half-open back to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Before.
    pub from: BreakerState,
    /// After.
    pub to: BreakerState,
    /// Why.
    pub reason: BreakerReason,
}
