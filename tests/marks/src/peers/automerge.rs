//! automerge: its sync protocol between two documents.
//!
//! One map in the root of a document, each entry and each difference a change of its own: with all entries
//! in one change, that whole change travels again for a single difference (seen, 468 kB of 10,000
//! entries). Two rows: `fresh` begins with new sync states on both sides, as a process that lost them, and
//! `known` with those of the sync before.

use automerge::sync::{Message, State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT};

use super::{Outcome, Peer};
use crate::data::{Scenario, key, text, value};
use crate::measure::{median_lap, timed};

pub struct Automerge {
    known: bool,
    base: Option<(usize, AutoCommit)>,
}

impl Automerge {
    /// With the sync states of the sync before, or with new ones.
    pub fn new(known: bool) -> Self {
        Self { known, base: None }
    }
}

impl Peer for Automerge {
    fn name(&self) -> &'static str {
        if self.known { "automerge 0.12, known" } else { "automerge 0.12, fresh" }
    }

    fn carries_values(&self) -> bool {
        true
    }

    fn n_max(&self) -> usize {
        100_000
    }

    fn d_max(&self) -> usize {
        1_000
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let base = match self.base.take() {
            Some((n, base)) if n == scenario.n => base,
            Some(_) | None => base(scenario.n),
        };
        let (_, base) = self.base.insert((scenario.n, base));
        let mut laps = Vec::new();
        let mut counted = (0, 0);
        for _ in 0..if scenario.n > 10_000 { 1 } else { runs } {
            let mut sides = [base.fork(), base.fork()];
            let mut states = [State::new(), State::new()];
            if self.known {
                exchange(&mut sides, &mut states);
            }
            for (side, changed) in sides.iter_mut().zip([scenario.by_a(), scenario.by_b()]) {
                changed.for_each(|index| put(side, index, 1));
            }
            let (outcome, lap) = timed(|| exchange(&mut sides, &mut states));
            let [a, b] = &mut sides;
            assert_eq!(a.get_heads(), b.get_heads(), "automerge is in sync");
            counted = outcome;
            laps.push(lap);
        }
        Outcome { bytes: counted.0, messages: counted.1, lap: median_lap(&laps) }
    }
}

fn base(n: usize) -> AutoCommit {
    let mut document = AutoCommit::new();
    (0..n).for_each(|index| put(&mut document, index, 0));
    document
}

/// One change.
fn put(document: &mut AutoCommit, index: usize, version: u64) {
    document.put(ROOT, text(&key(index)), value(index, version).to_vec()).expect("a map");
    document.commit();
}

fn exchange(sides: &mut [AutoCommit; 2], states: &mut [State; 2]) -> (u64, u32) {
    let (mut bytes, mut messages, mut silent, mut from) = (0, 0, 0, 0);
    while silent < 2 {
        let message = sides[from].sync().generate_sync_message(&mut states[from]);
        match message {
            None => silent += 1,
            Some(message) => {
                silent = 0;
                let wire = message.encode();
                bytes += wire.len() as u64;
                messages += 1;
                let message = Message::decode(&wire).expect("the peer's own bytes");
                let to = 1 - from;
                sides[to].sync().receive_sync_message(&mut states[to], message).expect("a valid message");
            }
        }
        from = 1 - from;
    }
    (bytes, messages)
}
