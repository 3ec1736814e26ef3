//! Exhaustive search in small scopes: everything that a few real nodes can do, and every state checked.
//!
//! The nodes are [`sync_core::node::Node`] itself, cloned and run; nothing of the protocol is modelled.
//! The search goes level by level from replicas that are linked and empty. In each state a node may
//! write, be woken after a write, let its timers pass, receive any frame, or lose its disk and crash; what
//! can differ is tried, what cannot is left out. These are the reductions, and why none of them loses a
//! violation:
//!
//! - **The network only grows.** A frame that was ever sent can be received at any later time, any number
//!   of times, or never, by whatever life its receiver is in. So loss, duplication and reordering need no
//!   moves of their own, and there are more of each than any budget would allow.
//! - **Frames are pooled.** States that differ in frames alone are one, with the frames of all of them. That
//!   allows more than can happen (a frame sent along one path is received on another that leads to the same
//!   node states by the same operations), never less; a story marks such a frame. Of
//!   states that differ in how often somebody has spoken, the one with the fewest sends stands for all.
//! - **Sends are bounded.** Nodes say something in at most [`Scope::sends`] steps, answers included; what they are
//!   told may come any number of times. What a restart makes them say is not counted.
//! - **Version 1.** Contexts kept to build on would multiply the states by what they were when; the swarm has them.
//! - **A node is a function** of its state and input, so each step of each node state is run once and
//!   looked up ever after. Node states count as one if [`sync_core::node::Node::state_key`] says so.
//! - **Time stands still** but for one coarse tick, at which every deadline of one node passes. The wall
//!   clock does not move, so hybrid clocks differ by their counters and concurrent writes tie.
//! - **The disk keeps up until it stops.** A crash loses what came after some durable step; until that step
//!   a slow disk cannot be told from a slow network, since frames are held as long as their state is not
//!   durable. So a disk stops at once and for good, then its node alone goes on (what others do meanwhile,
//!   they can do before or after; only answers to what it says in that time wait for its restart), and what
//!   it would hold is dropped, since it will never be sent. That nothing leaves before it is durable is
//!   checked in every step of every node.
//! - **Outputs are taken out at once**: they only move to the network.
//!
//! What is checked: see `check.rs` and `heal.rs`. Visited states are named by 16 bytes, the exact numbers of
//! their nodes and their history.

mod check;
pub mod cli;
mod heal;
mod local;
mod locals;
mod scope;
mod search;
mod state;
mod story;
#[cfg(test)]
mod tests;
mod visited;

pub use scope::{Alphabet, REPLICAS_MAX, Scope};

/// A property that does not hold, and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What does not hold.
    pub what: String,
    /// The moves from the start, one line each; no search finds it in fewer levels.
    pub story: Vec<String>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its bounds.
    pub scope: Scope,
    /// Distinct states: joint states of the nodes, each with its abstract execution.
    pub states: usize,
    /// Moves made, those that led nowhere new included.
    pub transitions: u64,
    /// Levels searched: every execution of so many moves is covered.
    pub depth: usize,
    /// True if every state within the bounds was seen; false if the search was cut at [`Self::depth`].
    pub exhausted: bool,
    /// Distinct states of single nodes.
    pub node_states: usize,
    /// Distinct frames.
    pub frames: usize,
    /// Distinct abstract executions.
    pub histories: usize,
    /// Distinct states that were healed and converged.
    pub healed: usize,
    /// Most ticks that convergence took.
    pub heal_rounds_max: usize,
    /// The violation that ended the search.
    pub violation: Option<Violation>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    fn of(scope: Scope) -> Self {
        Self {
            scope,
            states: 0,
            transitions: 0,
            depth: 0,
            exhausted: false,
            node_states: 0,
            frames: 0,
            histories: 0,
            healed: 0,
            heal_rounds_max: 0,
            violation: None,
            seconds: 0.0,
        }
    }
}

/// Searches all of `scope`, or up to its bound on states.
///
/// ```
/// use simulations::exhaust::{Scope, explore};
/// use simulations::history::Kind;
///
/// let report = explore(Scope { operations: 1, ..Scope::pair(Kind::Set) });
/// assert!(report.exhausted && report.violation.is_none(), "{report:?}");
/// ```
pub fn explore(scope: Scope) -> Report {
    search::Search::new(scope).run(&|_| {})
}
