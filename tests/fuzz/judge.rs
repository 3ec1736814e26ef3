//! What an input led to: a failure, something new, or nothing of interest.
//!
//! Without instrumentation nothing tells which branches an input took. What stands for it is all that a decoder shows:
//! the words of its refusal and where it stopped, how much it read, and how often and how much it allocated. An input
//! that differs in these from all before it is kept, and others are made from it.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::targets::{Run, Target};

/// Heap that any input may take, however short it is.
const HEAP_FREE_BYTES: u64 = 64 << 10;

/// Most heap of what is sound, the corpus, as a multiple of its length.
const HEAP_FACTOR_SOUND: u64 = 2;

/// Allocations that any input may cost.
const ALLOCATIONS_FREE: u64 = 2_000;

/// Allocations that each byte of an input may cost: no decoder makes more than this of a byte.
const ALLOCATIONS_EACH: u64 = 4;

/// Tries to make a failing input shorter.
const SHORTEN_MAX: usize = 3_000;

/// What a decoder took from the heap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heap {
    /// Bytes at the moment at which it held most, what it gave back included.
    pub(crate) peak: u64,
    /// Allocations.
    pub(crate) count: u64,
    /// The most that is allowed beyond [`HEAP_FREE_BYTES`], as a multiple of the input.
    factor: u64,
}

/// Runs a decoder and counts what it takes from the heap, of which `factor` times the input is allowed.
pub(crate) fn measured<T>(factor: u64, read: impl FnOnce() -> T) -> (T, Heap) {
    let mut value = None;
    let told = allocation_counter::measure(|| value = Some(read()));
    let heap = Heap { peak: told.bytes_max, count: told.count_total, factor };
    (value.expect("it was run"), heap)
}

/// What a decoder made of an input.
#[derive(Debug)]
pub(crate) struct Seen {
    /// True if it was read, false if it was refused.
    pub(crate) accepted: bool,
    /// The refusal, or what was read in a word.
    pub(crate) words: String,
    /// How much was read, of whatever is counted.
    pub(crate) size: usize,
    /// Where a peer or stranger sends such bytes.
    pub(crate) heap: Option<Heap>,
}

impl Seen {
    /// What was refused for a reason, which must be words on one line.
    pub(crate) fn refused(error: &dyn fmt::Display) -> Result<Self, String> {
        let words = error.to_string();
        if words.trim().len() < 8 || words.contains('\n') {
            return Err(format!("a refusal without words, or of several lines: {words:?}"));
        }
        Ok(Self { accepted: false, words, size: 0, heap: None })
    }

    /// What was read.
    pub(crate) fn read(words: impl Into<String>, size: usize) -> Self {
        Self { accepted: true, words: words.into(), size, heap: None }
    }

    /// With what it took.
    pub(crate) fn with(self, heap: Heap) -> Self {
        Self { heap: Some(heap), ..self }
    }

    /// Numbers and names in words say where, how much and whose: what counts is how long they are.
    fn signature(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.accepted.hash(&mut hasher);
        for (at, part) in self.words.splitn(9, '"').enumerate() {
            if at % 2 == 1 {
                continue;
            }
            for word in part.split(|c: char| !c.is_alphanumeric()).take(40) {
                if word.bytes().any(|byte| byte.is_ascii_digit()) {
                    word.len().div_ceil(4).hash(&mut hasher);
                } else {
                    word.hash(&mut hasher);
                }
            }
        }
        let Heap { peak, count, .. } = self.heap.unwrap_or_default();
        [self.size as u64, peak / 64, count].map(log).hash(&mut hasher);
        hasher.finish()
    }
}

/// Few values of many.
fn log(value: u64) -> u32 {
    value.checked_ilog2().map_or(0, |log| log + 1)
}

/// What may not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It panicked: where, and with what words.
    Panic(String),
    /// Something that was promised does not hold.
    Broken(String),
    /// It took more heap than it may.
    Heap { peak: u64, max: u64 },
    /// It allocated more often than the input can need.
    Allocations { count: u64, max: u64 },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(words) => write!(f, "panicked: {words}"),
            Self::Broken(words) => f.write_str(words),
            Self::Heap { peak, max } => write!(f, "{peak} bytes of heap, at most {max} are allowed"),
            Self::Allocations { count, max } => write!(f, "{count} allocations, at most {max} are allowed"),
        }
    }
}

impl Failure {
    fn is_like(&self, other: &Self) -> bool {
        let start = |words: &str| words.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>();
        match (self, other) {
            (Self::Panic(one), Self::Panic(other)) | (Self::Broken(one), Self::Broken(other)) => {
                start(one) == start(other)
            }
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }
}

/// What came of the inputs so far.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) runs: u64,
    pub(crate) accepted: u64,
    /// Heap and length of the input that took most for its length, and what came of it.
    pub(crate) heap_most: Option<(u64, usize, String)>,
}

impl Stats {
    /// The heap beyond what is free, as a multiple of the input; 0 if none took so much.
    pub(crate) fn heap_ratio(&self) -> f64 {
        self.heap_most.as_ref().map_or(0.0, |(peak, len, _)| ratio(*peak, *len))
    }
}

fn ratio(peak: u64, len: usize) -> f64 {
    peak.saturating_sub(HEAP_FREE_BYTES) as f64 / len.max(1) as f64
}

/// Runs a target, and knows what it has shown so far.
pub(crate) struct Judge {
    target: &'static Target,
    run: Run,
    seen: BTreeSet<u64>,
    stats: Stats,
}

impl Judge {
    pub(crate) fn new(target: &'static Target) -> Self {
        Self { target, run: (target.begin)(), seen: BTreeSet::new(), stats: Stats::default() }
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Runs an input of the corpus, which is sound.
    pub(crate) fn run_sound(&mut self, input: &[u8]) -> Result<bool, Failure> {
        self.run_within(input, Some(HEAP_FACTOR_SOUND))
    }

    /// Runs any input; true if it showed something new.
    pub(crate) fn run(&mut self, input: &[u8]) -> Result<bool, Failure> {
        self.run_within(input, None)
    }

    fn run_within(&mut self, input: &[u8], heap_factor: Option<u64>) -> Result<bool, Failure> {
        let run = &mut self.run;
        let caught = panic::catch_unwind(AssertUnwindSafe(|| run(input)));
        let seen = match caught {
            Ok(seen) => seen.map_err(Failure::Broken)?,
            Err(panic) => {
                // Nothing that a panic has passed through is trusted.
                self.run = (self.target.begin)();
                return Err(Failure::Panic(last_panic().unwrap_or_else(|| words_of(&*panic))));
            }
        };
        self.stats.runs += 1;
        self.stats.accepted += u64::from(seen.accepted);
        if let Some(Heap { peak, count, factor }) = seen.heap {
            let len = input.len() as u64;
            let max = heap_factor.unwrap_or(factor) * len + HEAP_FREE_BYTES;
            if peak > max {
                return Err(Failure::Heap { peak, max });
            }
            let max = ALLOCATIONS_EACH * len + ALLOCATIONS_FREE;
            if count > max {
                return Err(Failure::Allocations { count, max });
            }
            if self.stats.heap_most.is_none() || ratio(peak, input.len()) > self.stats.heap_ratio() {
                self.stats.heap_most = Some((peak, input.len(), seen.words.clone()));
            }
        }
        Ok(self.seen.insert(seen.signature()))
    }

    /// The shortest input found that fails alike.
    pub(crate) fn shorten(&mut self, input: &[u8], failure: &Failure) -> Vec<u8> {
        let mut short = input.to_vec();
        let mut tries = SHORTEN_MAX;
        let mut step = short.len().div_ceil(2);
        while step > 0 && tries > 0 {
            let mut at = 0;
            while at < short.len() && tries > 0 {
                tries -= 1;
                let mut less = short.clone();
                less.drain(at..(at + step).min(less.len()));
                if self.run(&less).is_err_and(|other| other.is_like(failure)) {
                    short = less;
                } else {
                    at += step;
                }
            }
            step /= 2;
        }
        short
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}

thread_local! {
    static PANIC: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

fn strays() -> &'static Mutex<Vec<String>> {
    static STRAYS: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    STRAYS.get_or_init(Mutex::default)
}

/// From here on panics are noted instead of printed.
pub(crate) fn catch_panics() {
    panic::set_hook(Box::new(|panic| {
        let words = panic.to_string().replace('\n', " ");
        let ours = std::thread::current()
            .name()
            .is_some_and(|name| crate::targets::TARGETS.iter().any(|target| target.name == name));
        if ours {
            PANIC.with(|last| *last.borrow_mut() = Some(words));
        } else {
            strays().lock().expect("nothing panics while it is held").push(words);
        }
    }));
}

/// Takes what this thread panicked with last.
pub(crate) fn last_panic() -> Option<String> {
    PANIC.with(|last| last.borrow_mut().take())
}

/// Panics of threads that are no target's.
pub(crate) fn stray_panics() -> Vec<String> {
    strays().lock().expect("nothing panics while it is held").clone()
}

/// The time that this thread has had a core for; where the system does not say it, time on the wall.
pub(crate) fn work_done() -> Duration {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let begun = BEGUN.get_or_init(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next().and_then(|word| word.parse().ok()));
    nanos.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}
