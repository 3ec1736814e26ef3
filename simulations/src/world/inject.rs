//! Faults strike: what a line of a scenario does to the world.
//!
//! A fault that cannot strike (its node is down already) does nothing and is not counted. Whatever it
//! breaks comes back by an event of its own, or when the world is healed.

use rand::RngExt;
use sync_core::node::Input;

use super::machine::Comeback;
use super::trace::Mark;
use super::{Event, World};
use crate::faults::FaultKind;
use crate::net::{NodeSet, Rule};
use crate::random::fork;
use crate::timeline::{CutKind, MarkKind};

/// What must happen before the fault, and when: a copy is made before it can be brought back.
pub(crate) fn ahead_of(fault: &FaultKind) -> Option<(u64, Event)> {
    match fault {
        FaultKind::Restore { node, from_ms, .. } => Some((*from_ms, Event::BackUp { node: *node })),
        FaultKind::Revert { node, from_ms } => Some((*from_ms, Event::Snapshot { node: *node })),
        FaultKind::Crash { .. }
        | FaultKind::Restart { .. }
        | FaultKind::ClonedDisk { .. }
        | FaultKind::Wipe { .. }
        | FaultKind::RottenDisk { .. }
        | FaultKind::Replace { .. }
        | FaultKind::Pause { .. }
        | FaultKind::StopReading { .. }
        | FaultKind::ClockStep { .. }
        | FaultKind::ClockFreeze { .. }
        | FaultKind::Cut { .. }
        | FaultKind::PartialCut { .. }
        | FaultKind::OneWay { .. }
        | FaultKind::Flapping { .. }
        | FaultKind::SlowLink { .. }
        | FaultKind::ConnectionReset { .. }
        | FaultKind::ResetAll
        | FaultKind::Garbage { .. }
        | FaultKind::Flood { .. }
        | FaultKind::Damage { .. } => None,
    }
}

impl World {
    /// Fault `number` of the scenario strikes.
    pub(crate) fn inject(&mut self, number: usize) {
        if self.is_healed() {
            return;
        }
        let fault = self.scenario.faults[number].kind.clone();
        if let FaultKind::Damage { node, harm, pick } = fault {
            // It waits for its moment: the line in the trace is its own.
            if self.damage(number, node, harm, pick) {
                self.counts.fault(fault.name());
            }
            return;
        }
        self.trace
            .note(self.at, Mark::Fault, 0, &(number as u64).to_le_bytes(), || format!("FAULT {fault:?}"));
        if self.strike(&fault) {
            self.counts.fault(fault.name());
        }
    }

    fn strike(&mut self, fault: &FaultKind) -> bool {
        match fault {
            FaultKind::Crash { node, down_ms, torn, keep_owner } => {
                let keep_owner = *keep_owner;
                self.take_down(*node, *down_ms, |world, at| {
                    world.crash(at, *torn, Comeback::Durable { keep_owner });
                })
            }
            FaultKind::Restart { node, down_ms } => self.take_down(*node, *down_ms, |world, at| {
                world.stop(at, Comeback::Durable { keep_owner: true });
            }),
            FaultKind::Restore { node, down_ms, from_ms } => {
                let Some(held) = self.machines[*node].disk.backup(from_ms * 1_000) else { return false };
                self.take_down(*node, *down_ms, |world, at| {
                    world.crash(at, false, Comeback::Copy { held, keep_owner: false });
                })
            }
            FaultKind::ClonedDisk { node, onto, down_ms, keep_owner } => {
                let keep_owner = *keep_owner;
                let held = self.machines[*node].disk.durable().cloned();
                if held.is_none() || node == onto {
                    return false;
                }
                self.take_down(*onto, *down_ms, |world, at| {
                    world.crash(at, false, Comeback::Copy { held, keep_owner });
                })
            }
            FaultKind::Revert { node, from_ms } => {
                self.machines[*node].runs() && self.revert(*node, from_ms * 1_000)
            }
            FaultKind::RottenDisk { node, down_ms, pick } => {
                let pick = *pick;
                self.take_down(*node, *down_ms, |world, at| {
                    world.crash(at, false, Comeback::Durable { keep_owner: false });
                    world.machines[at].disk.rot(pick);
                })
            }
            FaultKind::Wipe { node, down_ms } => self.take_down(*node, *down_ms, |world, at| {
                world.crash(at, false, Comeback::Empty { replaced: false });
            }),
            FaultKind::Replace { node, down_ms } => self.take_down(*node, *down_ms, |world, at| {
                world.crash(at, false, Comeback::Empty { replaced: true });
            }),
            FaultKind::Pause { node, for_ms } => {
                let runs = self.machines[*node].runs();
                if runs {
                    self.pause(*node);
                    self.queue.push(self.at + for_ms * 1_000, Event::Resume { node: *node });
                }
                runs
            }
            FaultKind::StopReading { node, for_ms } => {
                let runs = self.machines[*node].runs() && !self.machines[*node].deaf;
                if runs {
                    self.machines[*node].deaf = true;
                    self.queue.push(self.at + for_ms * 1_000, Event::Read { node: *node });
                }
                runs
            }
            FaultKind::ClockStep { node, by_ms } => {
                self.suite.clock(*node, self.machines[*node].now(self.at).wall.0);
                self.machines[*node].clock.step(*by_ms);
                self.suite.clock(*node, self.machines[*node].now(self.at).wall.0);
                self.picture_mark(*node, MarkKind::ClockStep);
                true
            }
            FaultKind::ClockFreeze { node, for_ms } => {
                self.machines[*node].clock.freeze(self.at);
                self.queue.push(self.at + for_ms * 1_000, Event::Thaw { node: *node });
                true
            }
            FaultKind::Cut { sides, for_ms } => {
                let rule = Rule::Sides(sides.iter().map(|side| side.iter().copied().collect()).collect());
                self.picture_cut(CutKind::Full, sides.clone(), *for_ms);
                self.cut(rule, *for_ms)
            }
            FaultKind::PartialCut { links, for_ms } => {
                let sides =
                    [links.iter().map(|(a, _)| *a).collect(), links.iter().map(|(_, b)| *b).collect()];
                self.picture_cut(CutKind::Partial, sides.to_vec(), *for_ms);
                self.cut(Rule::Links(links.clone()), *for_ms)
            }
            FaultKind::OneWay { from, to, for_ms } => {
                self.picture_cut(CutKind::OneWay, vec![from.clone(), to.clone()], *for_ms);
                let [from, to] = [from, to].map(|nodes| nodes.iter().copied().collect::<NodeSet>());
                self.cut(Rule::OneWay(from, to), *for_ms)
            }
            FaultKind::Flapping { sides, for_ms, period_ms, down_ms } => {
                self.picture_cut(CutKind::Flapping, sides.clone(), *for_ms);
                let rule = Rule::Sides(sides.iter().map(|side| side.iter().copied().collect()).collect());
                let period = (*period_ms).max(1);
                for turn in 0..for_ms.div_ceil(period) {
                    let begins = self.at + turn * period * 1_000;
                    self.queue.push(begins, Event::Rule { rule: rule.clone(), for_us: down_ms * 1_000 });
                }
                true
            }
            FaultKind::SlowLink { node, extra_ms, for_ms } => {
                self.cut(Rule::Slow(*node, extra_ms * 1_000), *for_ms)
            }
            FaultKind::ConnectionReset { node } => {
                self.reset_connections(*node);
                true
            }
            FaultKind::ResetAll => {
                (0..self.machines.len()).for_each(|node| self.reset_connections(node));
                true
            }
            FaultKind::Garbage { node, count } => self.send_garbage(*node, *count),
            FaultKind::Flood { node, count } => self.flood(*node, *count),
            FaultKind::Damage { .. } => unreachable!("it is injected by itself"),
        }
    }

    /// Takes a machine that is up down, for `down_ms`.
    fn take_down(&mut self, at: usize, down_ms: u64, how: impl FnOnce(&mut Self, usize)) -> bool {
        if self.machines[at].node.is_none() {
            return false;
        }
        how(self, at);
        let life = self.machines[at].life;
        self.queue.push(self.at + down_ms * 1_000, Event::Start { node: at, life });
        true
    }

    fn cut(&mut self, rule: Rule, for_ms: u64) -> bool {
        let rule = self.net.add_rule(self.at, rule);
        self.queue.push(self.at + for_ms * 1_000, Event::Lift { rule });
        true
    }

    /// Breaks every connection of `at`, on both sides, without a word.
    fn reset_connections(&mut self, at: usize) {
        for peer in (0..self.machines.len()).filter(|peer| *peer != at) {
            for (node, other) in [(at, peer), (peer, at)] {
                if self.net.end(node, other).is_some() && self.machines[node].runs() {
                    self.net.close(self.at, node, other, true);
                    self.disconnected(node, other);
                }
            }
        }
    }

    fn send_garbage(&mut self, at: usize, count: u64) -> bool {
        let peers = &self.machines[at].peers;
        let Some(peer) = peers.iter().flatten().next().copied().filter(|_| self.machines[at].runs()) else {
            return false;
        };
        self.machines[at].garbage = true;
        let mut random = fork(self.scenario.seed, &format!("garbage {}", self.at));
        for _ in 0..count {
            let mut bytes: Vec<u8> = (0..random.random_range(0..60)).map(|_| random.random()).collect();
            // Half of it begins like a frame.
            if random.random_bool(0.5) && bytes.len() > 1 {
                (bytes[0], bytes[1]) = (1, random.random_range(2..=8));
            }
            let limits = self.scenario.bounds.limits();
            let node = self.machines[at].node.as_ref();
            let dictionary = node.map(|node| node.reads(peer)).unwrap_or_default();
            if let Err(error) = sync_core::message::Frame::decode(&bytes, &dictionary, &limits) {
                self.feed(at, Input::Malformed { peer, error }, &bytes);
            }
        }
        true
    }

    fn flood(&mut self, at: usize, count: u64) -> bool {
        if !self.may_write(at) {
            return false;
        }
        for number in 0..count {
            let key = format!("flood/{at}/{number}");
            if self.write(at, |writer| writer.add(&key, b"drop")).is_err() {
                break;
            }
        }
        true
    }
}
