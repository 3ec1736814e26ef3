//! What no engine can leave out: a map, a log, postcard.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;

use crate::data::{Key, Value, key};

const LOG_MAX: usize = 65_536;
const REPLICA: [u8; 16] = [7; 16];

/// A hash map, a log and an encoded delta.
pub struct Floor {
    map: HashMap<Key, (u64, u64, Value)>,
    log: VecDeque<([u8; 16], u64)>,
    seq: u64,
    bytes: Vec<u8>,
}

impl Floor {
    /// With the first `n` entries, each with `value`.
    pub fn of(n: usize, value: &[u8]) -> Self {
        let mut floor = Self { map: HashMap::new(), log: VecDeque::new(), seq: 0, bytes: Vec::new() };
        (0..n).for_each(|index| floor.write(key(index), value));
        floor
    }

    pub fn write(&mut self, key: Key, value: &[u8]) {
        self.seq += 1;
        let mut stored = [0; 32];
        stored[..value.len()].copy_from_slice(value);
        self.map.insert(key, (self.seq, self.seq, stored));
        self.log.push_back((REPLICA, self.seq));
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
        self.bytes.clear();
        let delta = (REPLICA, self.seq, self.seq, &key[..], value);
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = black_box(postcard::to_extend(&delta, bytes).expect("it has bytes"));
    }

    pub fn contains(&self, key: &Key) {
        black_box(self.map.contains_key(key));
    }

    pub fn read(&self, key: &Key) {
        black_box(self.map.get(key).map(|(.., value)| decode(value)));
    }
}

/// What a typed read makes of the bytes of a value.
pub fn decode(bytes: &[u8]) -> Value {
    postcard::from_bytes(bytes).expect("it was written as 32 bytes")
}
