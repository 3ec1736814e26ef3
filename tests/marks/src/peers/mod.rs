//! The peers of `reconcile`: published crates, each driven as its documentation shows, and one
//! reference of our own.
//!
//! A run ends when every difference is known to one side at least. Schemes that only find differences
//! do not carry values; the report adds the bytes of the entries that have to move, so that all rows
//! say what it takes until both sides hold all.

mod automerge;
mod chitchat;
#[cfg(feature = "iroh-docs")]
mod iroh_docs;
mod merkle_search_tree;
mod negentropy;
mod rbsr;
mod riblt;
pub mod trie;

pub use self::merkle_search_tree::update_cost as merkle_search_tree_update;
pub use self::rbsr::update_cost as rsos_update;

use crate::data::Scenario;
use crate::measure::Lap;

/// What it took.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Both ways.
    pub bytes: u64,
    /// Both ways; two are a round trip.
    pub messages: u32,
    /// Both sides together.
    pub lap: Lap,
}

/// A scheme that brings two replicas to know how they differ.
pub trait Peer {
    /// Crate and version.
    fn name(&self) -> &'static str;
    /// True if the entries themselves travel in what is counted.
    fn carries_values(&self) -> bool;
    /// The most entries it is tried with.
    fn n_max(&self) -> usize {
        1_000_000
    }
    /// The most differences it is tried with.
    fn d_max(&self) -> usize {
        10_000
    }
    /// One reconciliation; the median of `runs` for the times.
    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome;
}

/// All of them, our own trie first.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(trie::Trie16),
        Box::new(negentropy::Negentropy),
        Box::new(riblt::Riblt),
        Box::new(merkle_search_tree::MerkleSearchTree),
        Box::new(rbsr::Rbsr),
        #[cfg(feature = "iroh-docs")]
        Box::new(iroh_docs::IrohDocs::default()),
        Box::new(chitchat::Chitchat::default()),
        Box::new(automerge::Automerge::new(true)),
        Box::new(automerge::Automerge::new(false)),
    ]
}
