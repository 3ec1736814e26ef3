//! Damage: how it strikes, and what must come of it (DESIGN section 3, T8).
//!
//! The checkers judge what nodes show ([`crate::history::Damaged`] says what they excuse); here stands what
//! damage itself promises: it is *found and named*, and what is *written again* stands for something that was
//! damaged, in one of its contents, and was not proved dead.

use sync_core::cell::{CellId, Hlc, Item, ObjectId, Path, Payload, TypeTag};
use sync_core::dictionary::Dictionary;
use sync_core::id::{Dot, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::Node;
use sync_core::store::{Damage, Store};
use sync_core::time::WallMillis;

use super::machine::Machine;
use super::trace::Mark;
use super::{Event, World};
use crate::faults::Harm;
use crate::history::{Act, Damaged, Kind, Op, OpId, Seen};
use crate::net::Wire;

/// An item that a node wrote by itself: its dot, what it is, and what the node knew.
type Again = (Dot, Kind, CellId, Item, Seen);

/// How often damage looks for a moment to strike.
const RETRY_US: u64 = 10_000;

fn type_of(kind: Kind) -> TypeTag {
    match kind {
        Kind::Set => TypeTag::OR_SET,
        Kind::Map => TypeTag::LWW_MAP,
        Kind::Counter => TypeTag::PN_COUNTER,
        Kind::Typed(on) => on.tag(),
    }
}

fn kind_of(ty: TypeTag) -> Option<Kind> {
    [Kind::Set, Kind::Map].into_iter().find(|kind| type_of(*kind) == ty)
}

/// The value that an operation wrote to one place of a set or a map; `None` if it wrote none.
fn value_of(act: &Act) -> Option<&[u8]> {
    match act {
        Act::Add { .. } => Some(&[]),
        Act::Put { value, .. } | Act::Again { value, .. } => Some(value),
        Act::Remove { .. }
        | Act::Clear { .. }
        | Act::RemoveField { .. }
        | Act::ClearMap { .. }
        | Act::Count { .. }
        | Act::Reset { .. }
        | Act::Typed(_) => None,
    }
}

fn cell_of(act: &Act) -> CellId {
    let object = ObjectId::new(act.key(), type_of(act.kind()));
    CellId::new(object, act.place().expect("it wrote to one place"))
}

impl World {
    /// Damages a dot of the node at `at`; true if it was done. Otherwise fault `number` is tried again soon.
    pub(super) fn damage(&mut self, number: usize, at: usize, harm: Harm, pick: u64) -> bool {
        let may_strike = if harm == Harm::LoseItem { self.all_hold_one() } else { self.is_quiet() };
        let struck = may_strike && self.strike_dot(at, harm, pick);
        if !struck && !self.is_healed() {
            self.queue.push(self.at + RETRY_US, Event::Fault(number));
        }
        struck
    }

    /// True if all nodes are up, know and hold the same, in memory and on disk. Acknowledgements may be lacking: who
    /// loses an item then may push its dot once more.
    fn all_hold_one(&self) -> bool {
        let calm = self.machines.iter().all(|machine| {
            machine.runs() && !machine.deaf && machine.unread.is_empty() && !machine.disk.is_busy()
        });
        calm && self.contents_agree()
    }

    /// The same, and nothing is under way or unacknowledged.
    fn is_quiet(&self) -> bool {
        let settled = |node: &Node| {
            let peers = node.peers(self.namespace);
            let acked = |acked: Option<u64>, head| acked.is_none_or(|acked| acked == head);
            peers.iter().all(|peer| peer.queued_frames == 0 && acked(peer.acked, peer.head))
        };
        let under_way = |event: &Event| matches!(event, Event::Wire(Wire::Arrive { .. }));
        let settled = |machine: &super::Machine| machine.node.as_ref().is_some_and(settled);
        self.all_hold_one() && self.machines.iter().all(settled) && !self.queue.any(under_way)
    }

    fn store(&self, at: usize) -> Option<&Store> {
        self.machines[at].node.as_ref().and_then(|node| node.store(self.namespace))
    }

    /// True if all nodes are up, know the same and hold the same bytes; compared without any fingerprint.
    pub(crate) fn contents_agree(&self) -> bool {
        let items = |store: &Store| -> Vec<(CellId, Item)> {
            let item = |dot| store.item(dot).map(|(cell, item)| (cell, item.to_item()));
            let mut items: Vec<_> = store.live_dots().filter_map(item).collect();
            items.sort_by_key(|(_, item)| item.dot);
            items
        };
        let Some(first) = self.store(0) else { return false };
        let held = items(first);
        (1..self.machines.len()).all(|at| {
            self.store(at).is_some_and(|store| store.context() == first.context() && items(store) == held)
        })
    }

    fn strike_dot(&mut self, at: usize, harm: Harm, pick: u64) -> bool {
        let Some(store) = self.store(at) else { return false };
        let dot_of = |op: &Op| op.dots.map(|(_, last)| last).filter(|_| value_of(&op.act).is_some());
        let seen = Seen::from(store.context());
        let fits = |op: &&Op| {
            let Some(dot) = dot_of(op).filter(|dot| store.context().contains(*dot)) else { return false };
            let before = self.history.damages().iter().any(|damaged| damaged.dot == dot);
            let has_bytes = value_of(&op.act).is_some_and(|value| !value.is_empty());
            !before && (store.is_live(dot) != (harm == Harm::Revive)) && (harm != Harm::FlipBit || has_bytes)
        };
        let mut candidates: Vec<&Op> = self.history.ops().iter().filter(fits).collect();
        if harm == Harm::Revive && pick.is_multiple_of(2) {
            // Half of the time one that a record proves dead, if there is any.
            let proved = |op: &&Op| {
                dot_of(op).is_some_and(|dot| self.history.proof_of_death(&seen, dot, &op.act).is_some())
            };
            let all_proved: Vec<&Op> = candidates.iter().copied().filter(|op| proved(op)).collect();
            candidates = if all_proved.is_empty() { candidates } else { all_proved };
        }
        if candidates.is_empty() {
            return false;
        }
        let chosen = candidates[usize::try_from(pick / 2).unwrap_or(0) % candidates.len()];
        let dot = dot_of(chosen).expect("candidates wrote something");
        let value = value_of(&chosen.act).expect("candidates wrote something");
        let mut flipped = value.to_vec();
        if let Some(byte) = flipped.first_mut().filter(|_| harm == Harm::FlipBit) {
            *byte ^= 1;
        }
        let damage = match harm {
            Harm::FlipBit => Damage::FlipBit(dot),
            Harm::LoseItem => Damage::LoseItem(dot),
            Harm::Revive => {
                let payload: Payload = value.into();
                let item = Item { dot, hlc: Hlc(chosen.hlc), expires: WallMillis::default(), payload };
                Damage::Revive(cell_of(&chosen.act), item)
            }
        };
        let damaged =
            Damaged { flipped, at: self.at, ..Damaged::new(at, harm, chosen.id, dot, self.history.len()) };
        let namespace = self.namespace;
        let node = self.machines[at].node.as_mut().expect("its store was just read");
        if !node.damage(namespace, damage) {
            return false;
        }
        self.trace.note(self.at, Mark::Fault, at, &dot.seq.to_le_bytes(), || format!("DAMAGED: {damaged:?}"));
        self.history.damage(damaged);
        let node = self.machines[at].node.as_mut().expect("it was just damaged");
        self.suite.damaged(&self.history, at, node);
        let checked = self.suite.after_step(&self.history, at, node);
        self.judge(checked);
        true
    }

    /// Looks whether damage at `at` shows; after a restart it may show again, on an older image.
    pub(super) fn look_at_damage(&mut self, at: usize, started: Option<&Node>) {
        let namespace = self.namespace;
        let node = started.or(self.machines[at].node.as_ref());
        let Some(store) = node.and_then(|node| node.store(namespace)) else { return };
        for damaged in self.history.damages_mut().iter_mut().filter(|damaged| damaged.node == at) {
            damaged.restarted |= started.is_some();
            damaged.open = (damaged.open || started.is_some()) && damaged.shows(store);
        }
    }

    /// Records what `at` has written again by itself since `life` had minted `before` events there.
    pub(super) fn note_rewrites(&mut self, at: usize, life: ReplicaId, before: u64) {
        let Some(node) = &self.machines[at].node else { return };
        let (before, life) = (if node.replica() == life { before } else { 0 }, node.replica());
        let Some(store) = node.store(self.namespace) else { return };
        let context = store.context();
        let mut again = Vec::new();
        let by_salvage = self.history.has_rotten(at);
        for seq in before + 1..=context.get(life) {
            let dot = Dot::new(life, seq);
            let Some((cell, item)) = store.item(dot) else { continue };
            let Some(kind) = kind_of(cell.object.ty) else { continue };
            let mut seen = Seen::default();
            context.columns().filter(|(replica, _)| *replica != life).for_each(|(replica, seq)| {
                seen.raise(Dot::new(replica, seq));
            });
            seen.raise(Dot::new(life, seq - 1));
            again.push((dot, kind, cell, item.to_item(), seen));
        }
        let floors = store.floors().next().is_some();
        for (dot, kind, cell, item, seen) in again {
            if let Some(of) = self.history.rotten_at(at, &cell, &item).filter(|_| by_salvage) {
                if let Some(knows) = self.who_knows(of).filter(|_| self.waits_for_all()) {
                    let what = format!("writes {of:?} again, which node {knows} knows");
                    return self.fail("salvage-asks-first", at, what);
                }
                if self.history.was_written_again(of, &seen) {
                    return self.fail("salvaged-once", at, format!("writes {of:?} again, a second time"));
                }
                self.counts.replayed += 1;
                self.record_again(at, (dot, kind, cell, item, seen), of);
                continue;
            }
            // All agreed when the last one struck: whatever was damaged before is healed.
            let of = self.history.damages().iter().rev().find(|damaged| {
                let op = self.history.op(damaged.op);
                let payload = item.payload.as_bytes();
                cell_of(&op.act) == cell && (Some(payload) == value_of(&op.act) || payload == damaged.flipped)
            });
            let Some(of) = of.cloned() else {
                let what = format!("writes {item:?} to {cell:?} by itself, and nothing was damaged there");
                return self.fail("heals-the-damaged-only", at, what);
            };
            let act = &self.history.op(of.op).act;
            let proof = self.history.proof_of_death(&seen, of.dot, act).filter(|_| !floors);
            if let Some(proof) = proof {
                let what = format!("writes {:?} again, and {:?} had removed it", of.dot, proof.dots);
                return self.fail("heals-the-damaged-only", at, what);
            }
            self.counts.rewritten += 1;
            self.record_again(at, (dot, kind, cell, item, seen), of.dot);
        }
    }

    /// Another running node that knows the event `dot`.
    fn who_knows(&self, dot: Dot) -> Option<usize> {
        let knows = |machine: &Machine| {
            let store = machine.node.as_ref().and_then(|node| node.store(self.namespace));
            store.is_some_and(|store| store.context().contains(dot))
        };
        self.machines.iter().position(knows)
    }

    /// Records that `at` has written again, by itself, what `of` wrote.
    fn record_again(&mut self, at: usize, again: Again, of: Dot) {
        let (dot, kind, cell, item, seen) = again;
        let Some(owner) = self.machines[at].node.as_ref().map(Node::owner) else { return };
        self.groups += 1;
        let (key, place) = (cell.object.key.as_str().to_owned(), cell.path.as_bytes().to_vec());
        let value = item.payload.as_bytes().to_vec();
        self.history.record(Op {
            id: OpId(0),
            node: at,
            life: dot.replica,
            owner,
            act: Act::Again { kind, key, place, value, of },
            dots: Some((dot, dot)),
            seen,
            hlc: item.hlc.0,
            group: self.groups,
            expires: item.expires.0,
            horizon: 0,
            step: 0,
            at: self.at,
            blind: Vec::new(),
        });
    }

    /// `at` says that it has diverged from a peer: true if damage that has struck accounts for it.
    pub(super) fn on_diverged(&mut self, at: usize) -> bool {
        self.counts.alarms += 1;
        self.machines[at].alarm_stands = true;
        self.history.damages_mut().iter_mut().for_each(|damaged| damaged.diverged = true);
        !self.history.damages().is_empty()
    }

    /// `at` says that the bytes of `cells` are damaged: true if a bit has flipped there.
    pub(super) fn on_corrupt(&mut self, at: usize, cells: &[(ObjectId, Path)]) -> bool {
        self.counts.corrupt += 1;
        let timeout = self.scenario.periods.timing().sync_timeout.as_micros();
        // Frames that were built before may wait for the disk; then nothing is said of what leaves.
        let watched = !self.machines[at].disk.is_busy();
        self.machines[at].mending_until = watched.then_some(self.at + timeout * 9 / 10);
        let (now, named) = (self.at, self.named(cells));
        let mut accounted = false;
        for (damaged, named) in self.history.damages_mut().iter_mut().zip(named) {
            if named && damaged.node == at && damaged.harm == Harm::FlipBit {
                damaged.corrupt.get_or_insert(now);
                accounted = true;
            }
        }
        accounted
    }

    /// `at` says that it has healed `cells`: true if something was damaged there. What strikes while an alarm of
    /// that node stands is found under that alarm: there is no second one to raise.
    pub(super) fn on_healed(&mut self, at: usize, cells: &[(ObjectId, Path)]) -> bool {
        self.counts.healed += 1;
        self.machines[at].mending_until = None;
        let named = self.named(cells);
        let accounted = named.contains(&true);
        let alarmed = std::mem::take(&mut self.machines[at].alarm_stands);
        for (damaged, named) in self.history.damages_mut().iter_mut().zip(named) {
            damaged.healed |= named;
            damaged.diverged |= named && alarmed;
        }
        accounted
    }

    /// Of each damage, whether its cell is among `cells`.
    fn named(&self, cells: &[(ObjectId, Path)]) -> Vec<bool> {
        let named = |damaged: &Damaged| {
            let cell = cell_of(&self.history.op(damaged.op).act);
            cells.iter().any(|(object, path)| (object, path) == (&cell.object, &cell.path))
        };
        self.history.damages().iter().map(named).collect()
    }

    /// No fragment of a state leaves a node that waits for the bytes of damaged cells.
    pub(super) fn check_mending(&mut self, at: usize, bytes: &[u8], dictionary: &Dictionary) {
        if self.machines[at].mending_until.is_none_or(|until| until <= self.at) {
            return;
        }
        let Ok(frame) = Frame::decode(bytes, dictionary, &Limits::default()) else { return };
        if matches!(frame, Frame::Push(..) | Frame::Give(..) | Frame::Skeleton(..) | Frame::Payloads(..)) {
            let what = format!("knows that its bytes are damaged, and sends {frame:?}");
            self.fail("damaged-bytes-stay", at, what);
        }
    }

    /// What damage came to, once all agree: it was found in time, named and healed, unless a later
    /// operation or a restart had taken it away before.
    pub(crate) fn check_damage(&mut self) {
        let period = self.scenario.periods.timing().scrub_period.as_micros();
        let slack = period / 4 + 4 * self.scenario.periods.timing().sync_timeout.as_micros();
        for number in 0..self.history.damages().len() {
            let damaged = self.history.damages()[number].clone();
            let act = &self.history.op(damaged.op).act;
            let later = &self.history.ops()[damaged.ops_before..];
            let touched = later.iter().any(|op| !matches!(op.act, Act::Again { .. }) && op.act.covers(act));
            if touched || damaged.restarted {
                continue;
            }
            let paused = self.machines[damaged.node].was_paused;
            let late = damaged.corrupt.is_none_or(|at| at > damaged.at + period + slack);
            let unnamed = match damaged.harm {
                Harm::FlipBit => (late && !paused).then_some("was not found within one scrub"),
                Harm::LoseItem | Harm::Revive => (!damaged.diverged).then_some("raised no alarm"),
            };
            let unhealed = (!damaged.healed).then_some("was not healed by name");
            if let Some(broken) = unnamed.or(unhealed) {
                return self.fail("damage-is-named", damaged.node, format!("{damaged:?} {broken}"));
            }
        }
    }
}
