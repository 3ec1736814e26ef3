//! negentropy: range fingerprints over sorted ids, as nostr relays use it.
//!
//! Ids are 32 bytes of hash over key and value, all with timestamp 0: a store of keys has no order in time
//! that would put changes last. Sealing (sorting) is not in the times.

use negentropy::{Id, NegentropyStorageVector};

use super::{Outcome, Peer};
use crate::data::{Key, Scenario, Value};
use crate::measure::{median_lap, timed};

pub struct Negentropy;

impl Peer for Negentropy {
    fn name(&self) -> &'static str {
        "negentropy 0.5.3"
    }

    fn carries_values(&self) -> bool {
        false
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let [a, b] = scenario.sides().map(|entries| storage(&entries));
        let mut laps = Vec::new();
        let mut counted = (0, 0);
        for _ in 0..runs {
            let (outcome, lap) = timed(|| exchange(&a, &b));
            let (bytes, messages, found) = outcome;
            assert_eq!(found, scenario.set_difference());
            counted = (bytes, messages);
            laps.push(lap);
        }
        Outcome { bytes: counted.0, messages: counted.1, lap: median_lap(&laps) }
    }
}

fn storage(entries: &[(Key, Value)]) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity(entries.len());
    for (key, value) in entries {
        let mut hasher = blake3::Hasher::new();
        hasher.update(key).update(value);
        storage.insert(0, Id::from_byte_array(*hasher.finalize().as_bytes())).expect("not sealed yet");
    }
    storage.seal().expect("sealed once");
    storage
}

fn exchange(a: &NegentropyStorageVector, b: &NegentropyStorageVector) -> (u64, u32, usize) {
    let mut a = negentropy::Negentropy::borrowed(a, 0).expect("no frame limit");
    let mut b = negentropy::Negentropy::borrowed(b, 0).expect("no frame limit");
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut query = a.initiate().expect("a sealed storage");
    let (mut bytes, mut messages) = (query.len() as u64, 1);
    loop {
        let answer = b.reconcile(&query).expect("the peer's own message");
        bytes += answer.len() as u64;
        messages += 1;
        match a.reconcile_with_ids(&answer, &mut have, &mut need).expect("the peer's own message") {
            Some(next) => query = next,
            None => return (bytes, messages, have.len() + need.len()),
        }
        bytes += query.len() as u64;
        messages += 1;
    }
}
