//! The states seen, one for each joint state of the nodes and history, and which are to be searched.
//!
//! Frames stay on the network for ever, so a state with more of them can do whatever one with fewer can.
//! Of the states that differ in frames alone one is kept, with the frames of all of them; it is searched
//! again whenever it gets more.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::state::{After, Key, Move, State};

/// Numbers given out in order: a multiplication each spreads them well enough.
#[derive(Default)]
pub(super) struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(4) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u32(u32::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let spread = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

/// A map from such numbers. Nothing iterates it.
pub(super) type PlainMap<K, V> = HashMap<K, V, BuildHasherDefault<Plain>>;

/// One state seen.
struct Entry {
    state: State,
    /// The state that it was first reached from, and how; the start names itself.
    from: (u32, Option<Move>),
    /// Waits to be searched, again or for the first time.
    queued: bool,
}

/// What became of a state taken in.
pub(super) enum Found {
    /// It was not seen before: check it and queue it.
    New(u32),
    /// It was, with fewer frames: queue it again.
    Grown(u32),
    /// It was, or it is queued already.
    Known,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Visited {
    entries: Vec<Entry>,
    by_key: PlainMap<Key, u32>,
}

impl Visited {
    /// States seen.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes in the start.
    pub(super) fn start(&mut self, state: State) {
        self.by_key.insert(state.key(), 0);
        self.entries.push(Entry { state, from: (0, None), queued: true });
    }

    /// Takes in what comes after the state number `from`, which is `before`, by `made`.
    pub(super) fn insert(&mut self, after: &After, before: &State, (from, made): (u32, Move)) -> Found {
        let next = u32::try_from(self.entries.len()).expect("memory ends before 2^32 states");
        let index = *self.by_key.entry(after.key()).or_insert(next);
        if index == next {
            self.entries.push(Entry { state: after.state(before), from: (from, Some(made)), queued: true });
            return Found::New(index);
        }
        let entry = &mut self.entries[index as usize];
        let earlier = after.sends < entry.state.sends;
        entry.state.sends = entry.state.sends.min(after.sends);
        let grew = entry.state.send(&before.frames) | entry.state.send(&after.frames) | earlier;
        if !grew || entry.queued {
            return Found::Known;
        }
        entry.queued = true;
        Found::Grown(index)
    }

    /// Takes a state from the queue.
    pub(super) fn take(&mut self, index: u32) -> State {
        let entry = &mut self.entries[index as usize];
        entry.queued = false;
        entry.state.clone()
    }

    /// The moves that led to a state first, from the start.
    pub(super) fn path(&self, mut index: u32) -> Vec<Move> {
        let mut path = Vec::new();
        while let (from, Some(made)) = self.entries[index as usize].from {
            path.push(made);
            index = from;
        }
        path.reverse();
        path
    }
}
