//! How one input is made from others: edits of bits and bytes, of numbers and lengths, of whole sections.

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use crate::corpus::Pool;

/// Longest input that is made: a little more than the longest frame.
const INPUT_BYTES_MAX: usize = 1_000_100;

/// Numbers at which something changes: bits of a varint, sequences, lengths.
const BOUNDARIES: [u64; 24] = [
    0,
    1,
    2,
    3,
    15,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    1_023,
    1_024,
    16_383,
    16_384,
    65_535,
    1_000_000,
    u32::MAX as u64,
    (1 << 40) - 1,
    1 << 40,
    (1 << 40) + 1,
    i64::MAX as u64,
    u64::MAX,
];

/// What the bytes of a target's inputs are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Numbers, lengths, ids.
    Binary,
    /// Text with these words.
    Text(&'static [&'static str]),
}

/// Makes inputs of one form.
pub(crate) struct Mutator {
    form: Form,
}

impl Mutator {
    pub(crate) fn new(form: Form) -> Self {
        Self { form }
    }

    /// Another input, made of one or two of the pool.
    pub(crate) fn next(&self, pool: &Pool, rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
        let mut input = pool.draw(rng).to_vec();
        // Mostly one edit: two edits of a sound input are seldom both reached.
        let edits = match rng.random_range(0..10) {
            0..6 => 1,
            6..9 => rng.random_range(2..4),
            _ => rng.random_range(4..12),
        };
        for _ in 0..edits {
            match self.form {
                Form::Text(words) if rng.random_bool(0.5) => insert_word(&mut input, words, rng),
                Form::Text(_) | Form::Binary => edit(&mut input, pool, rng),
            }
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }
}

fn place(input: &[u8], rng: &mut Xoshiro256PlusPlus) -> usize {
    rng.random_range(0..=input.len())
}

/// A part of the input, mostly a short one.
fn section(input: &[u8], rng: &mut Xoshiro256PlusPlus) -> (usize, usize) {
    let from = place(input, rng);
    let left = input.len() - from;
    let most = if rng.random_bool(0.8) { left.min(24) } else { left };
    (from, from + rng.random_range(0..=most))
}

fn edit(input: &mut Vec<u8>, pool: &Pool, rng: &mut Xoshiro256PlusPlus) {
    match rng.random_range(0..12) {
        0 | 1 => {
            if let Some(at) = at(input, rng) {
                input[at] ^= 1 << rng.random_range(0..8);
            }
        }
        2 => {
            if let Some(at) = at(input, rng) {
                input[at] = rng.random();
            }
        }
        3 | 4 => replace_varint(input, rng),
        5 => replace_fixed(input, rng),
        6 => {
            let (from, to) = section(input, rng);
            input.drain(from..to);
        }
        7 => repeat(input, rng),
        8 => {
            let at = place(input, rng);
            let more: Vec<u8> = (0..rng.random_range(1..9)).map(|_| rng.random()).collect();
            input.splice(at..at, more);
        }
        9 => {
            let other = pool.draw(rng);
            let (from, to) = section(other, rng);
            let (begin, end) = section(input, rng);
            input.splice(begin..end, other[from..to].iter().copied());
        }
        10 => {
            let other = pool.draw(rng);
            let (cut, on) = (place(input, rng), place(other, rng));
            input.truncate(cut);
            input.extend_from_slice(&other[on..]);
        }
        _ => {
            let len = place(input, rng);
            input.truncate(len);
        }
    }
}

fn at(input: &[u8], rng: &mut Xoshiro256PlusPlus) -> Option<usize> {
    (!input.is_empty()).then(|| rng.random_range(0..input.len()))
}

/// Reads what stands somewhere as a varint and puts another there, of its own length.
fn replace_varint(input: &mut Vec<u8>, rng: &mut Xoshiro256PlusPlus) {
    let Some(from) = at(input, rng) else { return };
    let len = input[from..].iter().take(10).take_while(|byte| **byte >= 0x80).count() + 1;
    let to = (from + len).min(input.len());
    let was = input[from..to].iter().rev().fold(0u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    let value = match rng.random_range(0..6) {
        0 => was.wrapping_add(1),
        1 => was.wrapping_sub(1),
        2 => was.wrapping_mul(2),
        3 => rng.random::<u64>() >> rng.random_range(0..64),
        _ => BOUNDARIES[rng.random_range(0..BOUNDARIES.len())],
    };
    let mut out = sync_core::codec::Writer::default();
    out.varint(value);
    input.splice(from..to, out.finish());
}

/// Four bytes, as a length before a section is written.
fn replace_fixed(input: &mut [u8], rng: &mut Xoshiro256PlusPlus) {
    let Some(from) = at(input, rng) else { return };
    let value = BOUNDARIES[rng.random_range(0..BOUNDARIES.len())].to_be_bytes();
    let mut four = [value[4], value[5], value[6], value[7]];
    if rng.random_bool(0.5) {
        four.reverse();
    }
    input[from..].iter_mut().zip(four).for_each(|(byte, new)| *byte = new);
}

/// A section again and again: lists grow, and nesting.
fn repeat(input: &mut Vec<u8>, rng: &mut Xoshiro256PlusPlus) {
    let (from, to) = section(input, rng);
    let part = input[from..to].to_vec();
    let times = match rng.random_range(0..40) {
        0 => rng.random_range(1_000..200_000),
        1..8 => rng.random_range(10..1_000),
        _ => rng.random_range(1..10),
    };
    let times = times.min(INPUT_BYTES_MAX.saturating_sub(input.len()) / part.len().max(1));
    input.splice(to..to, part.repeat(times));
}

fn insert_word(input: &mut Vec<u8>, words: &[&str], rng: &mut Xoshiro256PlusPlus) {
    let (from, to) = section(input, rng);
    let to = if rng.random_bool(0.5) { from } else { to };
    let word = words[rng.random_range(0..words.len())];
    input.splice(from..to, word.bytes());
}
