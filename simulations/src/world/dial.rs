//! Dialling, as the breakers of both ends let it, and what the checkers are told of it.
//!
//! Both ends of a pair dial. Who finds the other's breaker open does so once for each probe that its node asks for;
//! who has shut the other out does not, and lets nobody in.

use sync_core::breaker::{BreakerReason, BreakerState, Failure, Shift};
use sync_core::dictionary::Dictionary;
use sync_core::id::NodeId;
use sync_core::message::Frame;
use sync_core::node::Input;

use super::World;
use crate::checkers::OnLink;

/// What a breaker says of a dial.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Free,
    Held,
    Shut,
}

impl World {
    /// The pair dials, unless there is nobody who may.
    pub(super) fn on_dial(&mut self, a: usize, b: usize) {
        let ends = [(a, b), (b, a)];
        if self.machines[a].node.is_none() || self.machines[b].node.is_none() {
            // A pair of which one is down is dialled again when it starts.
            self.net.dial_given_up(a, b);
            let tried: Vec<_> =
                ends.into_iter().filter(|(node, peer)| self.takes_dial(*node, *peer)).collect();
            return tried.into_iter().for_each(|end| self.dial_failed(end, Failure::Refused));
        }
        let is_shut = ends.into_iter().any(|(node, peer)| self.gate(node, peer) == Gate::Shut);
        let dials: Vec<_> = ends.into_iter().filter(|(node, peer)| self.takes_dial(*node, *peer)).collect();
        if dials.is_empty() {
            return self.net.dial_later(self.at, a, b);
        }
        let reachable = self.machines[a].runs() && self.machines[b].runs() && !is_shut;
        if !self.net.dial(self.at, a, b, reachable) {
            let failure = if is_shut { Failure::Refused } else { Failure::TimedOut };
            dials.into_iter().for_each(|end| self.dial_failed(end, failure));
        }
    }

    fn gate(&self, node: usize, peer: usize) -> Gate {
        let id = self.machines[peer].id;
        let status = self.machines[node].node.as_ref().and_then(|node| node.breaker_of(id));
        match status.map(|status| (status.state, status.is_shut)) {
            None | Some((BreakerState::Closed, _)) => Gate::Free,
            Some((BreakerState::Open | BreakerState::HalfOpen, false)) => Gate::Held,
            Some((BreakerState::Open | BreakerState::HalfOpen, true) | (BreakerState::Removed, _)) => {
                Gate::Shut
            }
        }
    }

    /// True if `node` dials `peer` now; a permit is used up.
    fn takes_dial(&mut self, node: usize, peer: usize) -> bool {
        let gate = self.gate(node, peer);
        let permit = self.machines[node].probes.remove(&peer);
        self.machines[node].runs()
            && match gate {
                Gate::Free => true,
                Gate::Held => permit,
                Gate::Shut => false,
            }
    }

    fn dial_failed(&mut self, (node, peer): (usize, usize), failure: Failure) {
        let peer = self.machines[peer].id;
        self.feed(node, Input::Failed { peer, failure }, &peer.0);
    }

    /// A node wants `peer` dialled once.
    pub(super) fn on_probe(&mut self, at: usize, peer: NodeId) {
        let checked = self.suite.on_link(at, peer, &OnLink::Dials);
        self.judge(checked);
        let place = self.places.get(&peer).copied().filter(|place| self.machines[*place].id == peer);
        if let Some(place) = place {
            self.machines[at].probes.insert(place);
            self.net.redial(self.at, at, place);
        }
    }

    /// A node greets `peer`, or answers its greeting.
    pub(super) fn on_greeting(&mut self, at: usize, peer: NodeId, bytes: &[u8]) {
        let limits = self.scenario.bounds.limits();
        let Ok(Frame::Hello(hello)) = Frame::decode(bytes, &Dictionary::default(), &limits) else { return };
        let checked = self.suite.on_link(at, peer, &OnLink::Greets { wants_reply: hello.wants_reply });
        self.judge(checked);
    }

    /// The breaker that a node has for `peer` took a step.
    pub(super) fn on_breaker(&mut self, at: usize, peer: NodeId, shift: Shift) {
        let (timing, now) = (self.scenario.periods.timing(), self.machines[at].now(self.at).mono);
        let checked = self.suite.on_link(at, peer, &OnLink::Shifted { shift, now, timing: &timing });
        self.judge(checked);
        let breach = matches!(shift.reason, BreakerReason::Failed(failure) if failure.is_breach());
        match (shift.from, shift.to) {
            (_, BreakerState::Open) if breach => self.counts.breaker_shuts += 1,
            (BreakerState::Closed, BreakerState::Open) => self.counts.breaker_opens += 1,
            (BreakerState::HalfOpen, BreakerState::Open) => self.counts.probes_failed += 1,
            _ => {}
        }
    }
}
