//! All node states, frames, images and operations met so far, by small numbers.
//!
//! A node is a function of its own state and its input, so what it does is worked out once and looked up
//! ever after: the search itself handles numbers. Nodes with equal [`Node::state_key`], equal images on
//! disk and equal lives count as one.

use std::collections::{HashMap, VecDeque};

use sync_core::id::{NamespaceId, ReplicaId};
use sync_core::node::{DEFAULT_NAMESPACE, Image, Node};
use sync_core::store::Store;
use sync_core::time::Timestamp;
use sync_core::types::counter;

use super::local::{Letter, Local, Step, meet, narrow, now, short};
use super::scope::{COLUMNS, Scope, config, replica};
use super::visited::PlainMap;
use crate::history::Op;

/// What a step comes to.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    /// The node's state after it.
    pub(super) to: u32,
    /// The frames it sent.
    pub(super) frames: Box<[u16]>,
    /// The operation it was, if it minted anything.
    pub(super) op: Option<u16>,
}

/// What the checks ask of a node state, worked out once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Which of its lives this is, from 0.
    pub(super) life: u8,
    /// Events known, by column.
    pub(super) known: [u8; COLUMNS],
    /// Events known to the state on disk.
    pub(super) durable: [u8; COLUMNS],
    /// Equal numbers, equal state ids.
    pub(super) state: u32,
    /// A write waits for its wake.
    pub(super) wants_wake: bool,
    /// Its disk has stopped.
    pub(super) is_wedged: bool,
    /// Counter floors can be collected.
    pub(super) can_collect: bool,
    /// Peers whose link is down, one bit each.
    pub(super) unlinked: u8,
}

/// Most nodes kept at hand, about 18 KB each. The others are run again when they are needed.
const NODES_MAX: usize = 60_000;

/// Where a node state is.
struct Slot {
    #[cfg(test)]
    index: usize,
    held: Option<Box<Local>>,
    /// The state that it was first reached from, and how; `None` at the start.
    from: Option<(u32, Step)>,
}

/// Every node state, frame and operation met so far, and what is known of them.
pub(super) struct Locals {
    pub(super) scope: Scope,
    pub(super) namespace: NamespaceId,
    slots: Vec<Slot>,
    /// Slots that hold their node, oldest first; at most [`NODES_MAX`].
    held: VecDeque<u32>,
    facts: Vec<Facts>,
    /// Of each node state, the frames that it takes in without change or answer, ascending.
    deaf_to: Vec<Vec<u16>>,
    by_key: HashMap<[u8; 16], u32>,
    effects: Vec<Effect>,
    effect_of: PlainMap<u64, u32>,
    pub(super) images: Vec<(Image, [u8; COLUMNS])>,
    image_by_key: HashMap<[u8; 16], u32>,
    pub(super) letters: Vec<Letter>,
    letter_by_key: HashMap<[u8; 16], u16>,
    pub(super) ops: Vec<Op>,
    op_by_key: HashMap<Vec<u8>, u16>,
    states: HashMap<[u8; 32], u32>,
}

impl Locals {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            namespace: NamespaceId::named(DEFAULT_NAMESPACE),
            slots: Vec::new(),
            held: VecDeque::new(),
            facts: Vec::new(),
            deaf_to: Vec::new(),
            by_key: HashMap::new(),
            effects: Vec::new(),
            effect_of: PlainMap::default(),
            images: Vec::new(),
            image_by_key: HashMap::new(),
            letters: Vec::new(),
            letter_by_key: HashMap::new(),
            ops: Vec::new(),
            op_by_key: HashMap::new(),
            states: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The node state `local`, run again from the one that it came from if it is not at hand.
    pub(super) fn get(&mut self, local: u32) -> Result<Local, String> {
        let slot = &self.slots[local as usize];
        if let Some(held) = &slot.held {
            return Ok(Local::clone(held));
        }
        let (from, step) = slot.from.expect("only a state that came from another one is ever let go");
        let mut again = self.get(from)?;
        again.take(self, step)?;
        again.drain()?;
        self.hold(local, again.clone());
        Ok(again)
    }

    /// Keeps a node at hand, and lets go of the one held longest if there are too many.
    fn hold(&mut self, index: u32, local: Local) {
        self.slots[index as usize].held = Some(Box::new(local));
        if self.slots[index as usize].from.is_none() {
            return;
        }
        self.held.push_back(index);
        if self.held.len() > NODES_MAX
            && let Some(oldest) = self.held.pop_front()
        {
            self.slots[oldest as usize].held = None;
        }
    }

    pub(super) fn facts(&self, local: u32) -> &Facts {
        &self.facts[local as usize]
    }

    /// The nodes at the start: linked, introduced, and agreed that all are empty.
    pub(super) fn start(&mut self) -> Result<Vec<u32>, String> {
        let scope = self.scope;
        let fresh = |index| Local {
            node: Node::new(config(&scope, index, 0), now(Timestamp::ZERO)),
            index,
            life: 0,
            clock: Timestamp::ZERO,
            wedged: None,
        };
        let mut nodes: Vec<Local> = (0..self.scope.replicas).map(fresh).collect();
        meet(&mut nodes)?;
        Ok(nodes.into_iter().map(|local| self.intern(local, None)).collect())
    }

    /// The node whose state `local` is.
    #[cfg(test)]
    pub(super) fn index(&self, local: u32) -> usize {
        self.slots[local as usize].index
    }

    /// The first of `then` after which the node that `step` leads to from `from`, run anew, is another
    /// than the node that was kept for its key; `None` if there is none.
    #[cfg(test)]
    pub(super) fn differ(&mut self, from: u32, step: Step, then: &[Step]) -> Result<Option<Step>, String> {
        let kept = self.step(from, step)?.to;
        let (mut again, kept) = (self.get(from)?, self.get(kept)?);
        again.take(self, step)?;
        again.drain()?;
        for next in then {
            let mut ends = Vec::new();
            for mut local in [again.clone(), kept.clone()] {
                local.take(self, *next)?;
                let mut said: Vec<[u8; 16]> = local.drain()?.iter().map(|letter| letter.key).collect();
                said.sort_unstable();
                ends.push((local.key(), said));
            }
            if ends[0] != ends[1] {
                return Ok(Some(*next));
            }
        }
        Ok(None)
    }

    /// Frames that `local` is known to take in without change or answer, ascending.
    pub(super) fn deaf_to(&self, local: u32) -> &[u16] {
        &self.deaf_to[local as usize]
    }

    /// What `step` does to `local`.
    ///
    /// # Errors
    /// The node raised an alarm or refused a frame: among honest replicas that is a violation.
    pub(super) fn step(&mut self, local: u32, step: Step) -> Result<&Effect, String> {
        let key = u64::from(local) << 32 | u64::from(step.number());
        let known = self.effect_of.get(&key).copied();
        let index = match known {
            Some(index) => index,
            None => {
                let effect = self.work_out(local, step)?;
                let index = number(self.effects.len());
                self.effects.push(effect);
                self.effect_of.insert(key, index);
                index
            }
        };
        Ok(&self.effects[index as usize])
    }

    fn work_out(&mut self, from: u32, step: Step) -> Result<Effect, String> {
        let mut local = self.get(from)?;
        let op = local.take(self, step)?;
        let letters = local.drain()?;
        let mut frames: Vec<u16> = letters.into_iter().map(|letter| self.letter(letter)).collect();
        frames.sort_unstable();
        frames.dedup();
        let to = self.intern(local, Some((from, step)));
        if let (Step::Receive(letter), true) = (step, to == from && frames.is_empty()) {
            let deaf_to = &mut self.deaf_to[from as usize];
            deaf_to.insert(deaf_to.partition_point(|other| *other < letter), letter);
        }
        Ok(Effect { to, frames: frames.into(), op })
    }

    fn intern(&mut self, local: Local, from: Option<(u32, Step)>) -> u32 {
        let next = number(self.slots.len());
        let index = *self.by_key.entry(local.key()).or_insert(next);
        if index == next {
            let facts = self.facts_of(&local);
            self.facts.push(facts);
            self.deaf_to.push(Vec::new());
            self.slots.push(Slot {
                #[cfg(test)]
                index: local.index,
                held: None,
                from,
            });
            self.hold(index, local);
        }
        index
    }

    fn facts_of(&mut self, local: &Local) -> Facts {
        let mut node = local.node.clone();
        let next = number(self.states.len());
        let id = node.state_id(self.namespace).expect("the default namespace is open");
        let state = *self.states.entry(id.0).or_insert(next);
        let store = local.store(self.namespace);
        let peers = node.peers(self.namespace);
        let linked = peers.iter().filter(|peer| peer.connected).map(|peer| usize::from(peer.node.0[0]) - 1);
        let linked: u8 = linked.map(|peer| 1 << peer).sum();
        Facts {
            life: narrow(local.life),
            known: columns(store),
            durable: local.wedged.map_or(columns(store), |disk| self.images[disk.image as usize].1),
            state,
            wants_wake: local.node.poll_timeout() == Some(Timestamp::ZERO),
            is_wedged: local.wedged.is_some(),
            can_collect: !counter::stale_floors(store, local.node.owner()).is_empty(),
            unlinked: !(linked | 1 << local.index) & ((1 << self.scope.replicas) - 1),
        }
    }

    pub(super) fn image(&mut self, image: Image) -> u32 {
        let disk = Node::restart(probe(&self.scope), image.clone(), now(Timestamp::ZERO));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&disk.state_key(now(Timestamp::ZERO))).update(&image.owner().0);
        let next = number(self.images.len());
        let index = *self.image_by_key.entry(short(hasher)).or_insert(next);
        if index == next {
            let known = columns(disk.store(self.namespace).expect("the default namespace is open"));
            self.images.push((image, known));
        }
        index
    }

    fn letter(&mut self, letter: Letter) -> u16 {
        let next = u16::try_from(self.letters.len()).expect("a small scope has fewer than 65,536 frames");
        let index = *self.letter_by_key.entry(letter.key).or_insert(next);
        if index == next {
            self.letters.push(letter);
        }
        index
    }

    /// Names an operation. Equal ones, done along different paths, are one.
    pub(super) fn op(&mut self, op: Op) -> u16 {
        let key = format!("{:?}{:?}{:?}{}", op.dots, op.act, op.seen, op.hlc).into_bytes();
        let next = u16::try_from(self.ops.len()).expect("a small scope has fewer than 65,536 operations");
        let index = *self.op_by_key.entry(key).or_insert(next);
        if index == next {
            self.ops.push(op);
        }
        index
    }
}

/// A life that never writes, to look at what an image holds.
fn probe(scope: &Scope) -> sync_core::node::Config {
    let mut config = config(scope, 0, 0);
    config.replica = ReplicaId([0xee; 16]);
    config
}

fn columns(store: &Store) -> [u8; COLUMNS] {
    std::array::from_fn(|column| {
        narrow(usize::try_from(store.context().get(replica(column))).unwrap_or(usize::MAX))
    })
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("memory ends before 2^32 of them")
}
