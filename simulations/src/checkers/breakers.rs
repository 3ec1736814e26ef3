//! Breakers: at most one probe a peer is under way, nothing else goes to it meanwhile, who misbehaved stays out for its
//! whole time, and every step is told; at every step.
//!
//! What a breaker does is read off its events, the frames and the dials; only which frames were built for a peer is
//! taken from the node's own count.

use std::collections::BTreeMap;

use sync_core::breaker::{BreakerReason, BreakerState, Failure, Shift};
use sync_core::id::{NamespaceId, NodeId};
use sync_core::limits::Timing;
use sync_core::node::Node;
use sync_core::time::Timestamp;

use super::{Checker, OnLink, Violation};

const NAME: &str = "breakers hold";

/// What was seen of one breaker.
#[derive(Debug, Default)]
struct Watched {
    state: BreakerState,
    /// Until then it must stay open, unless an operator says otherwise.
    shut_until: Option<Timestamp>,
    /// A dial for a probe is under way.
    dials: bool,
    /// A greeting for a probe is under way.
    greets: bool,
    /// Greetings and answers to greetings in this step.
    hellos: u64,
    /// Frames built for the peer at the last step, while it was not closed.
    frames: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    watched: BTreeMap<(usize, NodeId), Watched>,
}

impl Watched {
    fn shifted(&mut self, shift: Shift, now: Timestamp, timing: &Timing) -> Result<(), String> {
        let Shift { from, to, reason } = shift;
        // Who could not be reached and then misbehaves is shut out: open it was, and open it stays.
        let is_breach = matches!(reason, BreakerReason::Failed(Failure::Violation | Failure::Oversize));
        let is_shut_now = to == BreakerState::Open && is_breach && self.shut_until.is_none();
        if from != self.state || (from == to && !is_shut_now) {
            return Err(format!("went from {from:?} to {to:?}, and was {:?}", self.state));
        }
        let until = self.shut_until.take();
        let is_early = |until: &Timestamp| now < *until;
        let is_told = matches!(reason, BreakerReason::Operator | BreakerReason::Forgotten);
        if let Some(until) = until.filter(is_early).filter(|_| !is_told) {
            return Err(format!("is {to:?} by {reason:?} at {now:?}, and was shut until {until:?}"));
        }
        let is_shut = match reason {
            BreakerReason::Failed(Failure::Violation | Failure::Oversize) => true,
            BreakerReason::Failed(Failure::TimedOut | Failure::Refused)
            | BreakerReason::LinkLost
            | BreakerReason::Due
            | BreakerReason::Heard
            | BreakerReason::Answered(_)
            | BreakerReason::Opened(_)
            | BreakerReason::Operator
            | BreakerReason::Forgotten => false,
        };
        self.shut_until = (to == BreakerState::Open && is_shut).then(|| now + timing.breaker_open);
        self.state = to;
        (self.dials, self.greets) = (false, false);
        Ok(())
    }

    fn dials(&mut self) -> Result<(), String> {
        if self.state != BreakerState::HalfOpen {
            return Err(format!("is dialled while it is {:?}", self.state));
        }
        if self.dials || self.greets {
            return Err("is dialled while a probe is under way".to_owned());
        }
        self.dials = true;
        Ok(())
    }

    fn greets(&mut self, wants_reply: bool) -> Result<(), String> {
        self.hellos += 1;
        if self.state == BreakerState::Closed || !wants_reply {
            return Ok(());
        }
        if self.state != BreakerState::HalfOpen {
            return Err(format!("is greeted while it is {:?}", self.state));
        }
        if std::mem::replace(&mut self.greets, true) {
            return Err("is greeted while a probe is under way".to_owned());
        }
        Ok(())
    }

    fn built(&mut self, frames: Option<u64>) -> Result<(), String> {
        let hellos = std::mem::take(&mut self.hellos);
        let frames = frames.filter(|_| self.state != BreakerState::Closed);
        let before = std::mem::replace(&mut self.frames, frames);
        let built = frames.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        if built > hellos {
            let state = self.state;
            return Err(format!("is {state:?}, and of {built} frames built for it {hellos} are greetings"));
        }
        Ok(())
    }
}

impl Checker for Breakers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on_link(&mut self, node: usize, peer: NodeId, what: &OnLink<'_>) -> Result<(), Violation> {
        let watched = self.watched.entry((node, peer)).or_default();
        let checked = match what {
            OnLink::Shifted { shift, now, timing } => watched.shifted(*shift, *now, timing),
            OnLink::Dials => watched.dials(),
            OnLink::Greets { wants_reply } => watched.greets(*wants_reply),
            OnLink::Answered => {
                (watched.dials, watched.greets) = (false, false);
                Ok(())
            }
        };
        checked.map_err(|what| Violation { property: NAME, node, what: format!("{peer:?} {what}") })
    }

    fn stepped(&mut self, node: usize, state: &Node, namespace: NamespaceId) -> Result<(), Violation> {
        let fail = |peer: &NodeId, what: String| Violation {
            property: NAME,
            node,
            what: format!("{peer:?} {what}"),
        };
        let is_ajar = |watched: &Watched| watched.state != BreakerState::Closed || watched.frames.is_some();
        let of_node = (node, NodeId([0; 32]))..=(node, NodeId([255; 32]));
        if !self.watched.range(of_node.clone()).any(|(_, watched)| is_ajar(watched)) {
            // Whatever a breaker of it does is told.
            let untold = state.breakers().find(|status| status.state != BreakerState::Closed);
            self.watched.range_mut(of_node).for_each(|(_, watched)| watched.hellos = 0);
            return untold
                .map_or(Ok(()), |status| Err(fail(&status.node, format!("is {:?} untold", status.state))));
        }
        let frames: BTreeMap<NodeId, u64> =
            state.peers(namespace).into_iter().map(|peer| (peer.node, peer.stats.frames_sent)).collect();
        for ((_, peer), watched) in self.watched.range_mut(of_node) {
            if state.breaker_state(*peer) != watched.state {
                let (told, is) = (watched.state, state.breaker_state(*peer));
                return Err(fail(peer, format!("is {is:?}, and what was told makes it {told:?}")));
            }
            watched.built(frames.get(peer).copied()).map_err(|what| fail(peer, what))?;
        }
        Ok(())
    }

    fn crashed(&mut self, node: usize) {
        self.watched.retain(|(at, _), _| *at != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId([2; 32]);

    fn shift(from: BreakerState, to: BreakerState, reason: BreakerReason) -> Shift {
        Shift { from, to, reason }
    }

    fn tell(checker: &mut Breakers, at_secs: u64, shift: Shift) -> Result<(), Violation> {
        let now = Timestamp::from_micros(at_secs * 1_000_000);
        checker.on_link(0, PEER, &OnLink::Shifted { shift, now, timing: &Timing::default() })
    }

    fn half_open() -> Breakers {
        let mut checker = Breakers::default();
        let reason = BreakerReason::Failed(Failure::TimedOut);
        tell(&mut checker, 0, shift(BreakerState::Closed, BreakerState::Open, reason)).expect("it may open");
        let heard = shift(BreakerState::Open, BreakerState::HalfOpen, BreakerReason::Heard);
        tell(&mut checker, 1, heard).expect("who was away is tried at once");
        checker
    }

    #[test]
    fn a_second_probe_is_caught_and_one_after_an_answer_is_not() {
        let mut checker = half_open();
        let greets = OnLink::Greets { wants_reply: true };
        checker.on_link(0, PEER, &OnLink::Dials).expect("the probe");
        assert!(checker.on_link(0, PEER, &OnLink::Dials).is_err());
        checker.on_link(0, PEER, &greets).expect("the rest of it");
        assert!(checker.on_link(0, PEER, &greets).is_err());
        checker.on_link(0, PEER, &OnLink::Greets { wants_reply: false }).expect("answers are none");
        checker.on_link(0, PEER, &OnLink::Answered).expect("it was answered");
        checker.on_link(0, PEER, &greets).expect("the next one");
    }

    #[test]
    fn who_misbehaved_and_is_let_in_before_its_time_is_caught() {
        for (at, ok) in [(59, false), (60, true)] {
            let mut checker = Breakers::default();
            let reason = BreakerReason::Failed(Failure::Oversize);
            tell(&mut checker, 0, shift(BreakerState::Closed, BreakerState::Open, reason))
                .expect("it may open");
            let heard = shift(BreakerState::Open, BreakerState::HalfOpen, BreakerReason::Heard);
            assert_eq!(tell(&mut checker, at, heard).is_ok(), ok);
        }
    }

    #[test]
    fn frames_that_are_no_greetings_are_caught_while_a_breaker_is_open() {
        let mut checker = half_open();
        let watched = checker.watched.values_mut().next().expect("one peer");
        watched.built(Some(5)).expect("those before it opened");
        watched.greets(true).expect("the probe");
        watched.built(Some(6)).expect("the probe");
        assert!(watched.built(Some(7)).is_err());
    }
}
