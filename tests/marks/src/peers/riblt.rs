//! riblt: rateless invertible Bloom lookup tables.
//!
//! Items are 24 bytes of hash over key and value; a coded symbol is counted as 24 bytes of sum, 8 of hash
//! and 2 of count. B streams symbols, A tries to decode each time their number has grown by an eighth: the
//! crate peels from the start each time. Only the last, successful decode is in the times, and so is the
//! encoding of the symbols used; the crate encodes its first 1,024 in `new`.

use riblt::{RatelessIBLT, Symbol, UnmanagedRatelessIBLT};

use super::{Outcome, Peer};
use crate::data::Scenario;
use crate::measure::{Lap, median_lap, timed};

/// Bytes of one item.
const ITEM: usize = 24;
/// Bytes of one coded symbol on the wire.
const SYMBOL: u64 = ITEM as u64 + 8 + 2;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item([u8; ITEM]);

impl Symbol for Item {
    const BYTE_ARRAY_LENGTH: usize = ITEM;

    fn encode_to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn decode_from_bytes(bytes: &Vec<u8>) -> Self {
        Self(bytes[..].try_into().expect("the crate keeps the length"))
    }

    /// The item is a hash already.
    fn hash_(&self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("8 bytes of 24")).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

pub struct Riblt;

impl Peer for Riblt {
    fn name(&self) -> &'static str {
        "riblt 0.1.1"
    }

    fn carries_values(&self) -> bool {
        false
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let [a, b] = items(scenario);
        let mut laps = Vec::new();
        let mut symbols = 0;
        // Peeling is quadratic in this crate: at 20,000 items one run is enough.
        for _ in 0..if scenario.d > 1_000 { 1 } else { runs } {
            let (used, lap) = decode(&a, &b, scenario.set_difference());
            symbols = used;
            laps.push(lap);
        }
        Outcome { bytes: symbols as u64 * SYMBOL, messages: 2, lap: median_lap(&laps) }
    }
}

fn items(scenario: &Scenario) -> [Vec<Item>; 2] {
    scenario.sides().map(|entries| {
        let item = |(key, value): &([u8; 16], [u8; 32])| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(key).update(value);
            Item(hasher.finalize().as_bytes()[..ITEM].try_into().expect("24 bytes of 32"))
        };
        entries.iter().map(item).collect()
    })
}

/// Symbols used, and what encoding and decoding those took.
fn decode(a: &[Item], b: &[Item], differences: usize) -> (usize, Lap) {
    let (mut tables, encoding) = timed(|| {
        [a, b].map(|items| {
            let mut table = RatelessIBLT::new(items.iter().cloned());
            table.extend_coded_symbols(2 * differences.max(1));
            table
        })
    });
    let mut used = (differences + differences / 4).max(1);
    loop {
        let (peeled, decoding) = timed(|| {
            let [ours, theirs] = tables.each_mut().map(|table| {
                let mut stream = UnmanagedRatelessIBLT::new();
                (0..used).for_each(|index| stream.add_coded_symbol(&table.get_coded_symbol(index)));
                stream
            });
            let mut difference = ours.collapse(&theirs);
            let found = difference.peel_all_symbols().len();
            difference.is_empty().then_some(found)
        });
        if let Some(found) = peeled {
            assert_eq!(found, differences);
            let lap = Lap { time: encoding.time + decoding.time, cpu: encoding.cpu + decoding.cpu };
            return (used, lap);
        }
        used += (used / 16).max(1);
    }
}
