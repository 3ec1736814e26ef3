//! The checkers: what must hold at every step of every run, one property a file.
//!
//! The world feeds a [`Suite`] with everything that happens; each [`Checker`] looks at what it needs and
//! says which property broke, where, and what it saw. A checker reads the node through its public
//! interface and compares with the abstract execution ([`History`]) and what it implies ([`Model`]); it
//! keeps its own notes and trusts nothing that the engine says of itself.
//!
//! What touches only what a step brought is checked at every step. What walks the whole state is checked
//! at every n-th change of a node, n drawn from the seed, and at the end ([`Step::look`]).

mod bounds;
mod breakers;
mod clocks;
mod closure;
mod contents;
mod durability;
mod effects;
mod floor;
mod groups;
mod growth;
mod held;
mod horizon;
mod minted;
mod owner;
mod phantom;
mod proof;
mod rest;
mod revival;
mod roots;
mod salvaged;
mod stable;
mod structure;
mod values;
mod watches;

#[cfg(test)]
mod bench;

use std::collections::BTreeMap;
use std::fmt;

use sync_core::breaker::Shift;
use sync_core::dictionary::Dictionary;
use sync_core::id::{NamespaceId, NodeId, ReplicaId};
use sync_core::limits::Timing;
use sync_core::node::{Changed, DEFAULT_NAMESPACE, Node};
use sync_core::store::Store;
use sync_core::time::Timestamp;

use crate::history::{History, OpId, Seen};
use crate::oracle::Model;

pub use rest::REST_INTERVALS;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which property: the name of its checker.
    pub property: &'static str,
    /// The node at which it was seen.
    pub node: usize,
    /// What was seen, for people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at node {}: {}", self.property, self.node, self.what)
    }
}

impl std::error::Error for Violation {}

/// How a life of a node began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// With an empty store.
    Fresh,
    /// On the newest image that was durable when its last life ended.
    Durable,
    /// On an older image (a backup), or on a copy of another node's: what it knew may be gone.
    Backup,
}

/// One look at a node, just after something happened to it.
#[derive(Debug)]
pub struct Step<'a> {
    /// Every operation so far.
    pub history: &'a History,
    /// Which node.
    pub node: usize,
    /// The node.
    pub state: &'a mut Node,
    /// What the operations that it knows make visible.
    pub model: &'a Model,
    /// The operations that it did not know at the step before, ascending.
    pub fresh: &'a [OpId],
    /// True when the whole state is to be walked.
    pub look: bool,
    /// The namespace that the simulations use.
    pub namespace: NamespaceId,
}

impl Step<'_> {
    /// The node's store.
    pub fn store(&self) -> &Store {
        self.state.store(self.namespace).expect("the default namespace is always open")
    }

    /// A violation of `property` at this node.
    fn violation<T>(&self, property: &'static str, what: String) -> Result<T, Violation> {
        Err(Violation { property, node: self.node, what })
    }
}

/// A frame that a node gave out.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The node, by place.
    pub node: usize,
    /// For whom, by place.
    pub to: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What its bytes need not spell out.
    pub dictionary: &'a Dictionary,
    /// True in the last stretch of a run, when every node has converged and nothing is left to say:
    /// [`REST_INTERVALS`] long.
    pub resting: bool,
}

/// What a node does about the link to a peer, or the peer about it.
#[derive(Clone, Copy, Debug)]
pub enum OnLink<'a> {
    /// The breaker of the peer took a step, at `now` of the node's own clock.
    Shifted {
        /// Which.
        shift: Shift,
        /// When.
        now: Timestamp,
        /// The node's.
        timing: &'a Timing,
    },
    /// The peer is dialled for a probe.
    Dials,
    /// It is greeted.
    Greets {
        /// True if it is to answer.
        wants_reply: bool,
    },
    /// Its answer to a greeting arrives.
    Answered,
}

/// One property. Each method is told of one kind of thing that happened; most checkers need few.
///
/// # Errors
/// Every method that can fail returns the violation it found.
pub trait Checker {
    /// The property's name, as a violation and the tables show it.
    fn name(&self) -> &'static str;

    /// A life of the node begins, as `origin` says.
    fn started(&mut self, _step: &mut Step<'_>, _origin: Origin) -> Result<(), Violation> {
        Ok(())
    }

    /// The application wrote at the node: `ops`, one group. [`Self::changed`] follows.
    fn wrote(&mut self, _step: &mut Step<'_>, _ops: &[OpId]) -> Result<(), Violation> {
        Ok(())
    }

    /// The node's state is another than at the step before, or the run is over.
    fn changed(&mut self, _step: &mut Step<'_>) -> Result<(), Violation> {
        Ok(())
    }

    /// A node told of a change, before [`Self::changed`] of the step in which it was told.
    fn told(&mut self, _node: usize, _changed: &Changed) -> Result<(), Violation> {
        Ok(())
    }

    /// A node gave out a frame.
    fn sent(&mut self, _sent: &Sent<'_>) -> Result<(), Violation> {
        Ok(())
    }

    /// Something happened on the link of `node` to `peer`.
    fn on_link(&mut self, _node: usize, _peer: NodeId, _what: &OnLink<'_>) -> Result<(), Violation> {
        Ok(())
    }

    /// The node has handled an input, whether its state is another or not.
    fn stepped(&mut self, _node: usize, _state: &Node, _namespace: NamespaceId) -> Result<(), Violation> {
        Ok(())
    }

    /// The node's memory was damaged: its state is another, and no event tells of it.
    fn damaged(&mut self, _step: &mut Step<'_>) {}

    /// The wall clock of `node` shows `wall` milliseconds.
    fn clock(&mut self, _node: usize, _wall: u64) {}

    /// The disk of `node` holds everything up to persist step `step` of its life.
    fn durable(&mut self, _node: usize, _step: u64) {}

    /// The life of `node` ends, and with it all that is not durable.
    fn crashed(&mut self, _node: usize) {}

    /// The run is over; [`Self::changed`] was called for each node that lives. `converged` is true if the
    /// world healed everything and the nodes agreed.
    fn at_end(
        &mut self,
        _history: &History,
        _nodes: &mut [(usize, &mut Node)],
        _converged: bool,
    ) -> Result<(), Violation> {
        Ok(())
    }
}

/// Every checker.
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(growth::Growth::default()),
        Box::new(closure::Closure),
        Box::new(groups::Groups),
        Box::new(minted::Minted),
        Box::new(contents::Contents::default()),
        Box::new(phantom::Phantom),
        Box::new(proof::Proof),
        Box::new(effects::Effects),
        Box::new(revival::Revival::default()),
        Box::new(stable::Stable::default()),
        Box::new(values::Values),
        Box::new(floor::Floor),
        Box::new(roots::Roots::default()),
        Box::new(bounds::Bounds::default()),
        Box::new(breakers::Breakers::default()),
        Box::new(clocks::Clocks::default()),
        Box::new(durability::Durability::default()),
        Box::new(held::Held::default()),
        Box::new(rest::Rest::default()),
        Box::new(watches::Watches::default()),
        Box::new(structure::Structure),
        Box::new(horizon::Horizon::default()),
        Box::new(salvaged::Salvaged),
        Box::new(owner::Owner),
    ]
}

/// What is kept of a node to see whether a step changed it.
#[derive(Debug, Default)]
struct Watch {
    model: Model,
    mark: Option<(ReplicaId, [u64; 4])>,
    /// Operations that it knows and [`Checker::changed`] was not told of.
    fresh: Vec<OpId>,
    changes: u32,
}

impl Watch {
    fn mark_of(state: &Node, store: &Store) -> (ReplicaId, [u64; 4]) {
        (state.replica(), [store.log_head(), store.item_count(), store.bytes(), store.horizon().0])
    }
}

/// Every checker, fed together; the first violation is reported.
pub struct Suite {
    checkers: Vec<Box<dyn Checker>>,
    watches: BTreeMap<usize, Watch>,
    every: u32,
    namespace: NamespaceId,
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checkers.iter().map(|checker| checker.name())).finish()
    }
}

impl Suite {
    /// [`all`] of them; the dear ones look at every `every`-th change of a node, and at the end.
    pub fn new(every: u32) -> Self {
        Self::of(all(), every)
    }

    /// These, for a test of one property.
    pub fn of(checkers: Vec<Box<dyn Checker>>, every: u32) -> Self {
        let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
        Self { checkers, watches: BTreeMap::new(), every: every.max(1), namespace }
    }

    /// Looks at this namespace, in place of the default one.
    #[must_use]
    pub fn within(self, namespace: NamespaceId) -> Self {
        Self { namespace, ..self }
    }

    /// A life of `node` begins, as `origin` says.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn started(
        &mut self,
        history: &History,
        node: usize,
        origin: Origin,
        state: &mut Node,
    ) -> Result<(), Violation> {
        self.watches.insert(node, Watch::default());
        self.feed(history, node, state, false, |checker, step| checker.started(step, origin))?;
        self.after_step(history, node, state)
    }

    /// The application wrote at `node`: `ops`, one group, recorded before. Includes [`Self::after_step`].
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn wrote(
        &mut self,
        history: &History,
        ops: &[OpId],
        node: usize,
        state: &mut Node,
    ) -> Result<(), Violation> {
        self.feed(history, node, state, false, |checker, step| checker.wrote(step, ops))?;
        self.after_step(history, node, state)
    }

    /// The memory of `node` was damaged. [`Self::after_step`] follows.
    pub fn damaged(&mut self, history: &History, node: usize, state: &mut Node) {
        let told = self.feed(history, node, state, false, |checker, step| {
            checker.damaged(step);
            Ok(())
        });
        told.expect("damage itself is no violation");
    }

    /// `node` has handled an input.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn after_step(&mut self, history: &History, node: usize, state: &mut Node) -> Result<(), Violation> {
        let store = state.store(self.namespace).expect("the default namespace is always open");
        let mark = Watch::mark_of(state, store);
        let watch = self.watches.entry(node).or_default();
        if watch.mark == Some(mark) {
            return Ok(());
        }
        watch.mark = Some(mark);
        watch.changes += 1;
        let look = watch.changes.is_multiple_of(self.every);
        self.feed(history, node, state, look, Self::changed)?;
        self.watches.entry(node).or_default().fresh.clear();
        Ok(())
    }

    fn changed(checker: &mut dyn Checker, step: &mut Step<'_>) -> Result<(), Violation> {
        checker.changed(step)
    }

    fn feed(
        &mut self,
        history: &History,
        node: usize,
        state: &mut Node,
        look: bool,
        mut tell: impl FnMut(&mut dyn Checker, &mut Step<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Self { checkers, watches, namespace, .. } = self;
        let store = state.store(*namespace).expect("the default namespace is always open");
        let watch = watches.entry(node).or_default();
        let seen = Seen::from(store.context());
        let horizon = store.horizon().0;
        if *watch.model.seen() != seen || watch.model.horizon() != horizon {
            watch.fresh.extend(watch.model.advance(history, &seen, horizon));
        }
        let (model, fresh, namespace) = (&watch.model, &watch.fresh, *namespace);
        let mut step = Step { history, node, state, model, fresh, look, namespace };
        checkers.iter_mut().try_for_each(|checker| tell(checker.as_mut(), &mut step))
    }

    /// A node told of a change.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn told(&mut self, node: usize, changed: &Changed) -> Result<(), Violation> {
        if changed.namespace != self.namespace {
            return Ok(());
        }
        self.checkers.iter_mut().try_for_each(|checker| checker.told(node, changed))
    }

    /// A node gave out a frame.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn sent(&mut self, sent: &Sent<'_>) -> Result<(), Violation> {
        self.checkers.iter_mut().try_for_each(|checker| checker.sent(sent))
    }

    /// Something happened on the link of `node` to `peer`.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn on_link(&mut self, node: usize, peer: NodeId, what: &OnLink<'_>) -> Result<(), Violation> {
        self.checkers.iter_mut().try_for_each(|checker| checker.on_link(node, peer, what))
    }

    /// `node` has handled an input, and what it wanted done is done.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn stepped(&mut self, node: usize, state: &Node) -> Result<(), Violation> {
        let namespace = self.namespace;
        self.checkers.iter_mut().try_for_each(|checker| checker.stepped(node, state, namespace))
    }

    /// The wall clock of `node` shows `wall` milliseconds. To be told at the start of each life, before
    /// each write, and on both sides of a step of the clock.
    pub fn clock(&mut self, node: usize, wall: u64) {
        self.checkers.iter_mut().for_each(|checker| checker.clock(node, wall));
    }

    /// The disk of `node` holds everything up to persist step `step` of its life.
    pub fn durable(&mut self, node: usize, step: u64) {
        self.checkers.iter_mut().for_each(|checker| checker.durable(node, step));
    }

    /// The life of `node` ends, and with it all that is not durable.
    pub fn crashed(&mut self, node: usize) {
        self.watches.remove(&node);
        self.checkers.iter_mut().for_each(|checker| checker.crashed(node));
    }

    /// The run is over. `nodes` are the ones that live, ascending; `converged` is true if the world healed
    /// everything and the nodes agreed.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn at_end(
        &mut self,
        history: &History,
        nodes: &mut [(usize, &mut Node)],
        converged: bool,
    ) -> Result<(), Violation> {
        for (node, state) in nodes.iter_mut() {
            self.feed(history, *node, state, true, Self::changed)?;
        }
        self.checkers.iter_mut().try_for_each(|checker| checker.at_end(history, nodes, converged))
    }
}
