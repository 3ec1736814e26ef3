//! iroh-docs: range-based set reconciliation of signed entries, without its network.
//!
//! An entry is a key, the 32-byte hash of its content, a time and two signatures; the hash stands for our
//! value, so entries carry all that we carry. Writing costs a signature and a database entry, so a pair of
//! stores is built once for each `n` and goes on from scenario to scenario: `new` makes it grow.

use iroh_docs::sync::{ProtocolMessage, SyncOutcome};
use iroh_docs::{Author, NamespaceSecret, store::Store};

use super::{Outcome, Peer};
use crate::data::{Scenario, key, value};
use crate::measure::{median_lap, timed};

/// The most messages of one reconciliation, against an exchange that does not end.
const MESSAGES_MAX: u32 = 1_000;

#[derive(Default)]
pub struct IrohDocs {
    pair: Option<Pair>,
}

struct Pair {
    n: usize,
    /// Every change writes what no change has written before.
    version: u64,
    grown: usize,
    stores: [Store; 2],
    namespace: NamespaceSecret,
    author: Author,
    runtime: tokio::runtime::Runtime,
}

impl Peer for IrohDocs {
    fn name(&self) -> &'static str {
        "iroh-docs 0.101"
    }

    fn carries_values(&self) -> bool {
        true
    }

    fn n_max(&self) -> usize {
        100_000
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let pair = match self.pair.take() {
            Some(pair) if pair.n == scenario.n => pair,
            Some(_) | None => Pair::new(scenario.n),
        };
        let pair = self.pair.insert(pair);
        let mut laps = Vec::new();
        let mut counted = (0, 0);
        // Each run needs changes of its own, and each change a signature.
        for _ in 0..if scenario.d > 100 { 1 } else { runs } {
            pair.change(scenario);
            let (outcome, lap) = timed(|| pair.exchange());
            counted = outcome;
            laps.push(lap);
        }
        Outcome { bytes: counted.0, messages: counted.1, lap: median_lap(&laps) }
    }
}

impl Pair {
    fn new(n: usize) -> Self {
        let (namespace, author) = (NamespaceSecret::from_bytes(&[3; 32]), Author::from_bytes(&[4; 32]));
        let stores = [(), ()].map(|()| {
            let mut store = Store::memory();
            store.import_author(author.clone()).expect("a store in memory");
            drop(store.new_replica(namespace.clone()).expect("a store in memory"));
            store
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut pair = Self { n, version: 0, grown: n, stores, namespace, author, runtime };
        pair.write(0, 0..n, 0);
        pair.exchange();
        pair
    }

    fn change(&mut self, scenario: &Scenario) {
        self.version += 1;
        let shift = self.grown - self.n;
        for (side, range) in [scenario.by_a(), scenario.by_b()].into_iter().enumerate() {
            let new = range.start >= scenario.n;
            let range = if new { range.start + shift..range.end + shift } else { range };
            self.write(side, range.clone(), self.version);
            if new {
                self.grown = self.grown.max(range.end);
            }
        }
    }

    fn write(&mut self, side: usize, range: std::ops::Range<usize>, version: u64) {
        let mut replica = self.stores[side].open_replica(&self.namespace.id()).expect("it was made");
        for index in range {
            let insert = replica.hash_and_insert(key(index), &self.author, value(index, version));
            self.runtime.block_on(insert).expect("a newer entry");
        }
        drop(replica);
        self.stores[side].close_replica(self.namespace.id());
    }

    fn exchange(&mut self) -> (u64, u32) {
        let id = self.namespace.id();
        let mut replicas = self.stores.each_mut().map(|store| store.open_replica(&id).expect("it was made"));
        let mut outcomes = [SyncOutcome::default(), SyncOutcome::default()];
        let mut wire = encode(&replicas[0].sync_initial_message().expect("a message"));
        let (mut bytes, mut messages) = (wire.len() as u64, 1);
        while messages < MESSAGES_MAX {
            let side = (messages % 2) as usize;
            let message: ProtocolMessage = postcard::from_bytes(&wire).expect("the peer's own bytes");
            let answer = replicas[side].sync_process_message(message, [9; 32], &mut outcomes[side]);
            match self.runtime.block_on(answer).expect("the peer's own message") {
                Some(answer) => wire = encode(&answer),
                None => break,
            }
            bytes += wire.len() as u64;
            messages += 1;
        }
        assert!(messages < MESSAGES_MAX, "iroh-docs does not come to an end");
        drop(replicas);
        self.stores.iter_mut().for_each(|store| store.close_replica(id));
        (bytes, messages)
    }
}

fn encode(message: &ProtocolMessage) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages have bytes")
}
