//! A rateless sketch of the live dots: few differences in few bytes, whatever the number of dots.
//!
//! Yang, Gilad, Alizadeh: *Practical Rateless Set Reconciliation* (SIGCOMM 2024), sections 4 and 5. Each
//! dot is toggled into the coded symbols that a keyed sequence of its own names, the i-th with
//! probability 1/(1 + i/2). XOR of the symbols of two sets is the symbols of their difference; about
//! 1.35 to 1.72 symbols a difference are enough to peel it. A [`Sketch`] keeps the first
//! [`SYMBOLS_KEPT`] symbols up to date, so a session copies them and encodes nothing.
//!
//! Departures from the paper: no count (a symbol is pure if its checksum is that of its sum; whose dot it
//! is, the store knows), and the kept prefix ends: who needs more takes the trie. The arithmetic is
//! integers and correctly rounded IEEE operations, so every platform gives the same symbols.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::cut::{CutKey, cut, halves};
use crate::id::{Dot, ReplicaId};

/// Symbols kept: 96 KiB a store, enough for some 2,900 differences. More differences than they decode
/// take the trie.
pub const SYMBOLS_KEPT: usize = 4_096;

/// Dots that may wait to be toggled in. At this number they are all settled at once, so memory is bounded
/// and the cost of a change amortised; 16 KiB.
pub const PENDING_MAX: usize = 1_024;

/// Walks that go on side by side.
const WALKS: usize = 8;

/// Most dots that a decoder may be told to leave out. More are refused: the caller takes the trie.
pub const LEFT_OUT_MAX: usize = 65_536;

/// Most symbols that peeling touches, for each symbol received. An honest difference touches at most 17
/// on average; beyond it the symbols are refused ([`SketchError::Work`]).
const TOUCHES_PER_SYMBOL: usize = 64;

/// A dot as the sketch knows it: the first half of its replica, and its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Element {
    /// The first eight bytes of the [`ReplicaId`], little-endian.
    replica: u64,
    seq: u64,
}

impl From<Dot> for Element {
    fn from(dot: Dot) -> Self {
        Self { replica: halves(&dot.replica.0).0, seq: dot.seq }
    }
}

/// What an [`Element`] stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// This dot.
    Dot(Dot),
    /// No known replica begins like that, or no event has that number.
    Unknown,
    /// Two known replicas begin like that: the caller takes another way.
    Ambiguous,
}

/// The known replicas by their first eight bytes.
///
/// ```
/// use sync_core::id::{Dot, ReplicaId};
/// use sync_core::merkle::sketch::{Element, ReplicaHalves, Resolved};
/// let (a, b) = (ReplicaId([1; 16]), ReplicaId([2; 16]));
/// let halves = ReplicaHalves::from_iter([a]);
/// assert_eq!(halves.resolve(Dot::new(a, 7).into()), Resolved::Dot(Dot::new(a, 7)));
/// assert_eq!(halves.resolve(Dot::new(b, 7).into()), Resolved::Unknown);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReplicaHalves {
    /// `None` where two replicas share the half.
    ids: BTreeMap<u64, Option<ReplicaId>>,
}

impl FromIterator<ReplicaId> for ReplicaHalves {
    fn from_iter<I: IntoIterator<Item = ReplicaId>>(replicas: I) -> Self {
        let mut ids: BTreeMap<u64, Option<ReplicaId>> = BTreeMap::new();
        for replica in replicas {
            let entry = ids.entry(halves(&replica.0).0).or_insert(Some(replica));
            if *entry != Some(replica) {
                *entry = None;
            }
        }
        Self { ids }
    }
}

impl ReplicaHalves {
    /// The dot that `element` stands for.
    pub fn resolve(&self, element: Element) -> Resolved {
        match self.ids.get(&element.replica) {
            Some(Some(replica)) if (1..=Dot::SEQ_MAX).contains(&element.seq) => {
                Resolved::Dot(Dot::new(*replica, element.seq))
            }
            Some(None) => Resolved::Ambiguous,
            Some(Some(_)) | None => Resolved::Unknown,
        }
    }
}

/// One coded symbol: the XOR of the elements in it and the XOR of their checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Symbol {
    replica: u64,
    seq: u64,
    check: u64,
}

impl Symbol {
    /// Bytes of a symbol on the wire, at most.
    pub const BYTES: usize = 24;

    /// XORs of the first halves of the replica ids, of the sequences, and of the checksums.
    pub fn to_words(self) -> [u64; 3] {
        [self.replica, self.seq, self.check]
    }

    /// Reads what [`Self::to_words`] wrote; any words are a symbol.
    pub fn from_words([replica, seq, check]: [u64; 3]) -> Self {
        Self { replica, seq, check }
    }

    fn toggle(&mut self, other: Self) {
        self.replica ^= other.replica;
        self.seq ^= other.seq;
        self.check ^= other.check;
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The symbol that holds `element` alone.
    fn of(element: Element, key: &CutKey) -> Self {
        let Element { replica, seq } = element;
        Self { replica, seq, check: cut(key, [replica, seq]) }
    }

    /// The one element in it, if it holds one alone.
    fn pure(self, key: &CutKey) -> Option<Element> {
        let element = Element { replica: self.replica, seq: self.seq };
        (!self.is_empty() && Self::of(element, key) == self).then_some(element)
    }
}

/// The symbols that one element is in: its first is number 0, then ever rarer.
///
/// The paper's section 4.2 with alpha 1/2: a gap with the right distribution from one random number.
#[derive(Clone, Copy, Debug)]
struct Walk {
    next: u64,
    state: u64,
}

impl Walk {
    /// The checksum seeds the sequence: it is keyed, and uniform.
    fn new(check: u64) -> Self {
        Self { next: 0, state: check }
    }

    /// Steps to the next symbol of the element; below 2^31, where every number here is exact or correctly rounded.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "non-negative and below 2^63"
    )]
    fn step(&mut self) {
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        let uniform = f64::from((self.state >> 32) as u32) + 1.0;
        let gap = (self.next.cast_signed() as f64 + 1.5) * (65_536.0 / uniform.sqrt() - 1.0);
        // Rounded up by hand: not every processor has an instruction for it.
        let down = gap as i64;
        let up = down + i64::from((down as f64) < gap);
        self.next = self.next.saturating_add(up.max(1) as u64);
    }
}

/// The kept symbols over a set of dots.
///
/// ```
/// use sync_core::id::{Dot, ReplicaId};
/// use sync_core::merkle::sketch::{Decoded, Decoder, Sketch};
/// let (key, a) = ([9; 16], ReplicaId([1; 16]));
/// let (mut ours, mut theirs) = (Sketch::new(key), Sketch::new(key));
/// (1..=1_000).for_each(|seq| { ours.toggle(Dot::new(a, seq)); theirs.toggle(Dot::new(a, seq)); });
/// theirs.toggle(Dot::new(a, 17));
/// let mut decoder = Decoder::new(key, [])?;
/// let decoded = decoder.add(ours.symbols(0..1), theirs.symbols(0..1))?;
/// assert_eq!(decoded, Decoded::Done(vec![Dot::new(a, 17).into()]));
/// # Ok::<(), sync_core::merkle::sketch::SketchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sketch {
    key: CutKey,
    /// Empty until the first settling, then [`SYMBOLS_KEPT`]. Shared with copies until one is changed.
    symbols: Arc<Vec<Symbol>>,
    /// Dots toggled since the symbols were settled, at most [`PENDING_MAX`].
    pending: Vec<Element>,
    /// Dots from here on are in no symbol yet; whoever holds the set says which they are.
    owed: Option<Dot>,
}

impl Sketch {
    /// The sketch of the empty set. Sketches compare only under one `key`.
    pub fn new(key: CutKey) -> Self {
        Self { key, symbols: Arc::default(), pending: Vec::new(), owed: None }
    }

    /// Takes `dot` in if it was out, out if it was in.
    pub fn toggle(&mut self, dot: Dot) {
        if self.owed.is_some_and(|from| from <= dot) {
            return;
        }
        self.pending.push(dot.into());
        if self.pending.len() == PENDING_MAX {
            self.settle();
        }
    }

    /// The sketch of a set whose dots are counted later, by [`Self::pay`].
    pub(crate) fn owing(key: CutKey) -> Self {
        Self { owed: Some(Dot::new(ReplicaId([0; 16]), 0)), ..Self::new(key) }
    }

    /// The first dot that may be missing in the symbols; `None` if none is.
    pub(crate) fn owed(&self) -> Option<Dot> {
        self.owed
    }

    /// Counts at most `most` of the dots that are owed; `dots` are those of the set from [`Self::owed`] on,
    /// ascending. True if none is left.
    pub(crate) fn pay(&mut self, mut dots: impl Iterator<Item = Dot>, most: usize) -> bool {
        if self.owed.take().is_some() {
            dots.by_ref().take(most).for_each(|dot| self.toggle(dot));
            self.owed = dots.next();
        }
        self.owed.is_none()
    }

    /// The symbols of `range`, cut off at [`SYMBOLS_KEPT`].
    pub fn symbols(&mut self, range: Range<usize>) -> &[Symbol] {
        self.settle();
        let end = range.end.min(self.symbols.len());
        &self.symbols[range.start.min(end)..end]
    }

    /// All kept symbols as they are now, for a session that outlives the next write. Costs nothing until
    /// one of both copies changes.
    pub fn snapshot(&mut self) -> Arc<Vec<Symbol>> {
        self.settle();
        Arc::clone(&self.symbols)
    }

    fn settle(&mut self) {
        if self.symbols.is_empty() {
            self.symbols = Arc::new(vec![Symbol::default(); SYMBOLS_KEPT]);
        }
        if self.pending.is_empty() {
            return;
        }
        let symbols = Arc::make_mut(&mut self.symbols);
        // A step waits for the one before it in its walk, so several walks go on side by side.
        for elements in self.pending.chunks(WALKS) {
            let mut walks = [(Symbol::default(), Walk { next: u64::MAX, state: 0 }); WALKS];
            for (place, element) in walks.iter_mut().zip(elements) {
                let single = Symbol::of(*element, &self.key);
                *place = (single, Walk::new(single.check));
            }
            let mut going = true;
            while std::mem::take(&mut going) {
                for (single, walk) in &mut walks {
                    if let Some(symbol) = usize::try_from(walk.next).ok().and_then(|at| symbols.get_mut(at)) {
                        symbol.toggle(*single);
                        walk.step();
                        going = true;
                    }
                }
            }
        }
        self.pending.clear();
    }
}

/// Why symbols could not be used. The peer is wrong or hostile, or the bound of the sketch is reached: in
/// every case the trie is the other way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SketchError {
    /// The runs of both sides differ in length, or a run is empty.
    #[error("{ours} symbols of ours stand against {theirs} of the peer's")]
    Lengths {
        /// Our symbols.
        ours: usize,
        /// The peer's.
        theirs: usize,
    },
    /// Limit reached: more symbols than are kept.
    #[error("{symbols} symbols exceed the {SYMBOLS_KEPT} that are kept")]
    TooMany {
        /// Symbols with this run.
        symbols: usize,
    },
    /// Limit reached: more dots to leave out than are taken.
    #[error("more than {LEFT_OUT_MAX} dots to leave out")]
    LeftOut,
    /// The symbols are of no two sets: a dot peeled twice, or from a symbol that it is not in, or the rest
    /// is not empty when the first symbol is.
    #[error("the symbols are of no set of dots")]
    Inconsistent,
    /// Limit reached: peeling touched more symbols than any honest difference.
    #[error("peeling took too much work")]
    Work,
}

/// What the symbols so far give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// More symbols are needed.
    More,
    /// The whole difference, ascending, without what was left out.
    Done(Vec<Element>),
}

/// Peels the difference of two sets from their symbols, taken one run at a time.
///
/// Work is bounded by the symbols received and the dots left out, whatever the symbols hold: an element
/// is peeled once, and only from a symbol of its own sequence.
#[derive(Clone, Debug)]
pub struct Decoder {
    key: CutKey,
    /// What is left in each symbol.
    symbols: Vec<Symbol>,
    /// Dots left out and dots peeled, each with the first symbol of its own not received yet.
    known: Vec<(Symbol, Walk)>,
    peeled: BTreeSet<Element>,
    touches_left: usize,
}

impl Decoder {
    /// A decoder that toggles `left_out` out first: dots that are known to be on one side only.
    ///
    /// # Errors
    /// [`SketchError::LeftOut`] beyond [`LEFT_OUT_MAX`].
    pub fn new(key: CutKey, left_out: impl IntoIterator<Item = Dot>) -> Result<Self, SketchError> {
        let mut known = Vec::new();
        for dot in left_out {
            if known.len() == LEFT_OUT_MAX {
                return Err(SketchError::LeftOut);
            }
            let single = Symbol::of(dot.into(), &key);
            known.push((single, Walk::new(single.check)));
        }
        Ok(Self { key, symbols: Vec::new(), known, peeled: BTreeSet::new(), touches_left: 0 })
    }

    /// Number of symbols taken: the next run begins there.
    pub fn symbols(&self) -> usize {
        self.symbols.len()
    }

    /// Takes the next run of both sides' symbols.
    ///
    /// # Errors
    /// [`SketchError`]; the decoder is of no use then.
    pub fn add(&mut self, ours: &[Symbol], theirs: &[Symbol]) -> Result<Decoded, SketchError> {
        if ours.len() != theirs.len() || ours.is_empty() {
            return Err(SketchError::Lengths { ours: ours.len(), theirs: theirs.len() });
        }
        let (from, symbols) = (self.symbols.len(), self.symbols.len() + ours.len());
        if symbols > SYMBOLS_KEPT {
            return Err(SketchError::TooMany { symbols });
        }
        self.touches_left += ours.len() * TOUCHES_PER_SYMBOL;
        self.symbols.extend(ours.iter().zip(theirs).map(|(ours, theirs)| {
            let mut symbol = *ours;
            symbol.toggle(*theirs);
            symbol
        }));
        for (single, walk) in &mut self.known {
            while let Some(symbol) = usize::try_from(walk.next).ok().and_then(|at| self.symbols.get_mut(at)) {
                symbol.toggle(*single);
                walk.step();
            }
        }
        self.peel((from..symbols).collect())?;
        if !self.symbols[0].is_empty() {
            return Ok(Decoded::More);
        }
        if self.symbols.iter().any(|symbol| !symbol.is_empty()) {
            return Err(SketchError::Inconsistent);
        }
        Ok(Decoded::Done(self.peeled.iter().copied().collect()))
    }

    /// Takes pure symbols out of all others until none is left; `changed` are those that may be pure.
    fn peel(&mut self, mut changed: Vec<usize>) -> Result<(), SketchError> {
        while let Some(at) = changed.pop() {
            let Some(element) = self.symbols[at].pure(&self.key) else { continue };
            if !self.peeled.insert(element) {
                return Err(SketchError::Inconsistent);
            }
            let single = self.symbols[at];
            let mut walk = Walk::new(single.check);
            let mut own = false;
            while let Some(index) = usize::try_from(walk.next).ok().filter(|at| *at < self.symbols.len()) {
                self.touches_left = self.touches_left.checked_sub(1).ok_or(SketchError::Work)?;
                self.symbols[index].toggle(single);
                own |= index == at;
                changed.push(index);
                walk.step();
            }
            if !own {
                return Err(SketchError::Inconsistent);
            }
            self.known.push((single, walk));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    const KEY: CutKey = *b"key of the tests";

    fn dot(replica: u8, seq: u64) -> Dot {
        Dot::new(ReplicaId([replica; 16]), seq)
    }

    fn sketch(dots: impl IntoIterator<Item = Dot>) -> Sketch {
        let mut sketch = Sketch::new(KEY);
        dots.into_iter().for_each(|dot| sketch.toggle(dot));
        sketch
    }

    /// Adds runs of `run` symbols until the difference is there.
    fn decode(a: &mut Sketch, b: &mut Sketch, mut decoder: Decoder, run: usize) -> (Vec<Element>, usize) {
        loop {
            let range = decoder.symbols()..decoder.symbols() + run;
            match decoder.add(a.symbols(range.clone()), b.symbols(range)).unwrap() {
                Decoded::Done(elements) => return (elements, decoder.symbols()),
                Decoded::More => {}
            }
        }
    }

    #[test]
    fn the_difference_comes_out_whatever_the_runs_and_the_history() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        for _ in 0..150 {
            let differences = rng.random_range(0..60);
            let (mut a, mut b) = (sketch([]), sketch([]));
            for seq in 1..rng.random_range(2..3_000) {
                [&mut a, &mut b].into_iter().for_each(|sketch| sketch.toggle(dot(1, seq)));
                if rng.random_bool(0.2) {
                    [&mut a, &mut b].into_iter().for_each(|sketch| sketch.toggle(dot(1, seq)));
                }
            }
            let only: BTreeSet<Dot> =
                (0..differences).map(|_| dot(rng.random_range(2..5), rng.random_range(1..1_000))).collect();
            only.iter().for_each(|dot| if rng.random() { a.toggle(*dot) } else { b.toggle(*dot) });
            let decoder = Decoder::new(KEY, []).unwrap();
            let (elements, _) = decode(&mut a, &mut b, decoder, rng.random_range(1..40));
            let mut expected: Vec<Element> = only.into_iter().map(Element::from).collect();
            expected.sort();
            assert_eq!(elements, expected);
        }
    }

    #[test]
    fn what_is_left_out_costs_no_symbol() {
        let known: Vec<Dot> = (1..=500).map(|seq| dot(2, seq)).collect();
        let (mut a, mut b) = (sketch(known.iter().copied().chain([dot(3, 1)])), sketch([]));
        let decoder = Decoder::new(KEY, known).unwrap();
        assert_eq!(decode(&mut a, &mut b, decoder, 1), (vec![dot(3, 1).into()], 1));
    }

    /// The paper's figure is 1.35 to 1.72 on average; single runs spread.
    #[test]
    fn a_thousand_differences_take_at_most_1500_symbols() {
        for seed in 0..20u64 {
            let (mut a, mut b) = (sketch([]), sketch((1..=1_000).map(|seq| dot(7, (seed << 20) + seq))));
            let (elements, symbols) = decode(&mut a, &mut b, Decoder::new(KEY, []).unwrap(), 1);
            assert_eq!(elements.len(), 1_000);
            assert!((1_200..1_500).contains(&symbols), "{symbols} symbols");
        }
    }

    #[test]
    fn differences_beyond_the_kept_symbols_end_in_an_error_and_not_in_a_wrong_answer() {
        let (mut a, mut b) = (sketch([]), sketch((1..=4_000).map(|seq| dot(1, seq))));
        let mut decoder = Decoder::new(KEY, []).unwrap();
        let all = 0..SYMBOLS_KEPT;
        assert_eq!(decoder.add(a.symbols(all.clone()), b.symbols(all)), Ok(Decoded::More));
        let more = decoder.add(&[Symbol::default()], &[Symbol::default()]);
        assert_eq!(more, Err(SketchError::TooMany { symbols: SYMBOLS_KEPT + 1 }));
        assert_eq!(a.symbols(SYMBOLS_KEPT..SYMBOLS_KEPT + 1), []);
    }

    #[test]
    fn hostile_symbols_neither_loop_nor_panic_nor_give_dots_that_are_in_no_symbol() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
        let planted = Symbol::of(dot(9, 9).into(), &KEY);
        let mut refused = 0;
        for _ in 0..2_000 {
            let len = rng.random_range(1..64);
            let theirs: Vec<Symbol> = (0..len)
                .map(|_| match rng.random_range(0..4) {
                    0 => Symbol::default(),
                    1 => planted,
                    2 => Symbol::of(dot(8, rng.random_range(1..6)).into(), &KEY),
                    _ => Symbol::from_words(rng.random()),
                })
                .collect();
            let mut decoder = Decoder::new(KEY, []).unwrap();
            match decoder.add(&vec![Symbol::default(); len], &theirs) {
                Ok(Decoded::Done(elements)) => assert!(elements.len() <= len),
                Ok(Decoded::More) => {}
                Err(error) => {
                    assert_eq!(error, SketchError::Inconsistent);
                    refused += 1;
                }
            }
        }
        assert!(refused > 500, "the planted symbols were not tried: {refused}");
    }

    #[test]
    fn symbols_of_unequal_runs_are_refused() {
        let mut decoder = Decoder::new(KEY, []).unwrap();
        let one = [Symbol::default()];
        assert_eq!(decoder.add(&one, &[]), Err(SketchError::Lengths { ours: 1, theirs: 0 }));
        assert_eq!(decoder.add(&[], &[]), Err(SketchError::Lengths { ours: 0, theirs: 0 }));
        let too_many = (1..=LEFT_OUT_MAX as u64 + 1).map(|seq| dot(1, seq));
        assert_eq!(Decoder::new(KEY, too_many).unwrap_err(), SketchError::LeftOut);
    }

    #[test]
    fn replicas_that_share_a_half_are_reported_and_not_mixed_up() {
        let (mut a, mut b) = ([5; 16], [5; 16]);
        (a[15], b[15]) = (1, 2);
        let halves = ReplicaHalves::from_iter([ReplicaId(a), ReplicaId(b), ReplicaId(a), ReplicaId([6; 16])]);
        assert_eq!(halves.resolve(Dot::new(ReplicaId(a), 1).into()), Resolved::Ambiguous);
        assert_eq!(halves.resolve(dot(6, 3).into()), Resolved::Dot(dot(6, 3)));
        assert_eq!(halves.resolve(dot(6, 0).into()), Resolved::Unknown, "no event has number 0");
        assert_eq!(halves.resolve(dot(6, Dot::SEQ_MAX + 1).into()), Resolved::Unknown);
    }

    /// Peers on different platforms must agree on every symbol: a change of these bytes is a change of
    /// the protocol.
    #[test]
    fn the_kept_symbols_of_a_fixed_set_are_these_bytes() {
        let mut fixed = sketch((1..=2_000).map(|seq| dot(3, seq)));
        let mut hasher = blake3::Hasher::new();
        for symbol in fixed.symbols(0..SYMBOLS_KEPT) {
            for word in symbol.to_words() {
                hasher.update(&word.to_le_bytes());
            }
            assert_eq!(Symbol::from_words(symbol.to_words()), *symbol);
        }
        assert_eq!(
            hasher.finalize().to_hex().as_str(),
            "188b091a03b8129ba0fafc6d82e6c33118953f721173670aaf0cacd1f8815db0"
        );
    }

    #[test]
    fn a_snapshot_keeps_what_the_set_was() {
        let mut a = sketch([dot(1, 1)]);
        let before = a.snapshot();
        a.toggle(dot(1, 2));
        assert_eq!(before[0], Symbol::of(dot(1, 1).into(), &KEY));
        assert_ne!(a.symbols(0..1)[0], before[0]);
    }
}
