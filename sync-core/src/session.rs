//! The session machine: roots first, contexts next, then only what the other side lacks.
//!
//! One [`Session`] a peer and namespace. It decides *when* a root, a pull or an answer is due and keeps
//! what an exchange needs between frames; building and joining fragments is the store's. A round:
//!
//! ```text
//! A  -- Root(state, head) ------------------> B    equal: B confirms A's log up to head, done
//! A  <------------------- Pull(context) ----- B    unequal: B asks for what it lacks
//! A  -- Give(head, D, claims) --------------> B    one snapshot; B joins, acknowledges head
//! A  -- Pull(context) ----------------------> B    only if B's context held what A lacks
//! ```
//!
//! On a new connection both ends begin with an open, which is a root and a pull in one (`node/round.rs`).

use std::sync::Arc;

use crate::causal::{CausalContext, DotSet};
use crate::id::StateHalf;
use crate::limits::Limits;
use crate::merkle::sketch::Symbol;
use crate::message::{Give, More, Part};
use crate::mutant::{self, Mutant};
use crate::time::{Span, Timestamp};

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// A root is to be sent; the value says whether the peer shall confirm if the states are equal.
    pub root_due: Option<bool>,
    /// The next root asks the peer to state contexts whole.
    pub whole_due: bool,
    /// When the next root goes by itself.
    pub root_at: Option<Timestamp>,
    /// A pull is to be sent, or sent again.
    pull_due: bool,
    /// A pull is unanswered until then; each part that arrives moves it.
    pull_until: Option<Timestamp>,
    /// The connection is new: an open is to be sent, if it can be.
    pub open_due: bool,
    /// The state that this end has opened the connection with.
    opened: Option<StateHalf>,
    /// The unanswered pull is that open.
    opening: bool,
    /// When the peer was asked, by a pull, an open or a root, for what it has not answered yet; for people alone.
    asked_at: Option<Timestamp>,
    /// The peer's latest pull, not yet answered.
    pub give_due: Option<Asked>,
    /// True if the peer's latest pull wants all live dots listed.
    pub listing_wanted: bool,
    /// The next pull wants all live dots listed.
    pub listing_due: bool,
    /// An answer by sketch that the peer may want more symbols of.
    pub sketched: Option<Sketched>,
    /// The peer wants symbols of an answer; of one that is forgotten it is told so.
    pub symbols_due: Option<More>,
    /// An answer by sketch on its way in, whose symbols do not suffice yet.
    pub sketching: Option<Sketching>,
    /// More symbols of it are to be asked for.
    pub more_due: bool,
    /// A long frame of which parts are still to be sent.
    pub giving: Option<Giving>,
    /// The number of a large answer of which items are still to be sent; they go behind `giving`.
    pub giving_items: Option<u64>,
    /// Nothing of a long answer could be built until then: it is given up.
    giving_until: Option<Timestamp>,
    /// What the peer will know when it acknowledges our last answer.
    pub given: Option<Given>,
    /// An answer of ours is not acknowledged yet.
    pub answered: bool,
    /// The outcome of the last exchange of roots.
    pub roots_equal: Option<bool>,
    /// The number, among all exchanges of this node, of the last one after which all that the peer then
    /// knew was known here.
    pub exchange: u64,
}

/// What a pull asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What the asker knows.
    pub context: CausalContext,
    /// Dots whose items it does not need.
    pub have: DotSet,
}

/// An answer's snapshot: who acknowledges its head knows its context, and need not say so column by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The log head.
    pub head: u64,
    /// What was known there.
    pub context: CausalContext,
}

/// A long frame on its way out, sent slice by slice: an answer to a peer of version 1, or a long skeleton.
///
/// Bounded by the size of the state; one a peer, dropped when the peer pulls again or disconnects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Giving {
    /// Counted per sender.
    pub answer: u64,
    /// The encoded frame.
    pub bytes: Vec<u8>,
    /// Sent so far.
    pub at: usize,
    /// The log head of its snapshot's state, kept for the trace.
    pub head: u64,
}

/// The symbols behind an answer by sketch: those of its snapshot. One a peer, 96 KiB at most, dropped when the
/// answer is acknowledged, the peer pulls again or disconnects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketched {
    /// Counted per sender.
    pub answer: u64,
    /// The log head of its snapshot: who acknowledges it is done.
    pub head: u64,
    /// All symbols kept at the snapshot.
    pub symbols: Arc<Vec<Symbol>>,
}

/// An answer by sketch on its way in. One a peer: a frame, and at most 96 KiB of symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketching {
    /// Names the giver's snapshot.
    pub answer: u64,
    /// The answer.
    pub give: Give,
    /// The symbols so far.
    pub symbols: Vec<Symbol>,
    /// How often more of them were asked for in vain.
    pub tries: u8,
    /// Bytes of memory that the answer takes, at most.
    pub memory: usize,
}

/// Requests for more symbols that go unanswered so often end in a pull for the list.
const MORE_TRIES_MAX: u8 = 4;

impl Giving {
    /// The next slice of at most `len` bytes; `None` when all are sent.
    pub fn next_part(&mut self, len: usize) -> Option<Part> {
        let slice = &self.bytes[self.at..self.bytes.len().min(self.at + len)];
        if slice.is_empty() {
            return None;
        }
        let (at, total) = (self.at as u64, self.bytes.len() as u64);
        self.at += slice.len();
        Some(Part { answer: self.answer, total, at, bytes: slice.to_vec() })
    }
}

impl Session {
    /// Forgets what was under way: the connection broke.
    pub fn reset(&mut self) {
        *self = Self { exchange: self.exchange, ..Self::default() };
    }

    /// True if nothing is to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        let roots = !self.open_due && self.root_due.is_none() && !self.pull_due && self.give_due.is_none();
        let answers = self.giving.is_none() && self.giving_items.is_none();
        roots && answers && self.symbols_due.is_none() && !self.more_due
    }

    /// Asks for a root to be sent; reasons add up.
    pub fn want_root(&mut self, wants_reply: bool) {
        *self.root_due.get_or_insert(wants_reply) |= wants_reply;
    }

    /// Asks for a pull, unless one is unanswered.
    pub fn want_pull(&mut self) {
        if self.pull_until.is_none() && !self.pull_due {
            (self.pull_due, self.asked_at) = (true, None);
        }
    }

    /// True if a pull is to be sent.
    pub fn is_pull_due(&self) -> bool {
        self.pull_due
    }

    /// True if a pull is unanswered.
    pub fn is_pulling(&self) -> bool {
        self.pull_until.is_some()
    }

    /// A pull was sent.
    pub fn pulled(&mut self, now: Timestamp, timeout: Span) {
        self.pull_due = false;
        self.opening = false;
        self.pull_until = Some(now + timeout);
        self.asked_at.get_or_insert(now);
    }

    /// A root was sent that the peer shall confirm if it is in the same state.
    pub(crate) fn asked_by_root(&mut self, now: Timestamp) {
        if self.pull_until.is_none() {
            self.asked_at = Some(now);
        }
    }

    /// The peer has answered: how long that took since it was first asked.
    pub(crate) fn answered_after(&mut self, now: Timestamp) -> Option<Span> {
        Some(now.since(self.asked_at.take()?))
    }

    /// An open was sent, which is a pull as well.
    pub fn opened(&mut self, state: StateHalf, now: Timestamp, timeout: Span) {
        self.pulled(now, timeout);
        (self.opened, self.opening) = (Some(state), true);
    }

    /// The state that this end has opened the connection with, if it has.
    pub fn has_opened(&self) -> Option<StateHalf> {
        self.opened
    }

    /// True if the unanswered pull is an open.
    pub fn is_opening(&self) -> bool {
        self.opening
    }

    /// True if the unanswered pull is an open of this state.
    pub fn is_open_in(&self, state: StateHalf) -> bool {
        self.opening && self.opened == Some(state)
    }

    /// The answer makes progress.
    pub fn progressed(&mut self, now: Timestamp, timeout: Span) {
        if self.pull_until.is_some() {
            self.pull_until = Some(now + timeout);
        }
    }

    /// The pull is answered, or given up.
    pub fn pull_done(&mut self) {
        self.pull_until = None;
        self.opening = false;
        self.sketching = None;
        self.more_due = false;
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Timestamp> {
        [self.root_at, self.pull_until, self.giving_until].into_iter().flatten().min()
    }

    /// A frame of an answer was built. The peer asks again after `timeout`, so twice that is long enough.
    pub fn gave(&mut self, now: Timestamp, timeout: Span) {
        let is_long = self.giving.is_some() || self.giving_items.is_some();
        self.giving_until = is_long.then(|| now + timeout + timeout);
    }

    /// Gives up a long answer of which nothing could be built in its time; true if there was one. The peer does not
    /// read: what is kept for it would be kept for ever.
    pub fn wake_answer(&mut self, now: Timestamp) -> bool {
        let is_late = self.giving_until.take_if(|until| *until <= now).is_some();
        let had = self.giving.is_some() || self.giving_items.is_some();
        if is_late {
            (self.giving, self.giving_items) = (None, None);
        }
        is_late && had
    }

    /// Until when the next frame of a long answer may take.
    pub(crate) fn giving_until(&self) -> Option<Timestamp> {
        self.giving_until
    }

    /// Keeps an answer by sketch that needs more symbols, and asks for them: the pull is not over.
    pub fn needs_more(&mut self, sketching: Sketching, now: Timestamp, timeout: Span) {
        self.sketching = Some(sketching);
        self.more_due = true;
        self.pull_until = Some(now + timeout);
    }

    /// Turns deadlines that have passed into what is due: an unanswered pull is asked again. True if one is.
    pub fn wake(&mut self, now: Timestamp, timeout: Span) -> bool {
        let mut overdue = self.pull_until.is_some_and(|until| until <= now);
        if overdue && let Some(sketching) = &mut self.sketching {
            sketching.tries += 1;
            if sketching.tries <= MORE_TRIES_MAX {
                self.more_due = true;
                self.pull_until = Some(now + timeout);
                overdue = false;
            } else {
                self.sketching = None;
                self.listing_due = true;
            }
        }
        if overdue {
            self.pull_until = None;
            self.opening = false;
            self.pull_due = true;
        }
        if self.root_at.is_some_and(|at| at <= now) {
            self.root_at = None;
            self.want_root(true);
        }
        overdue
    }

    /// Until when a pull may go unanswered.
    pub(crate) fn pull_until(&self) -> Option<Timestamp> {
        self.pull_until
    }
}

/// A long frame on its way in: staged until its last byte.
///
/// Bounded by [`Limits::staging_bytes_max`]; one a node, so a second long answer waits its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staging {
    answer: u64,
    total: usize,
    bytes: Vec<u8>,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Staged {
    /// More parts are to come.
    More,
    /// The answer is complete: its bytes.
    Complete(Vec<u8>),
    /// The part does not continue what is staged, or the answer is too long. Nothing is staged now.
    Broken,
}

impl Staging {
    /// Begins with the first part of an answer; `None` if it is no first part or the answer is too long.
    pub fn begin(part: &Part, limits: &Limits) -> Option<Self> {
        let total = usize::try_from(part.total).ok()?;
        let fits = part.at == 0 && total <= limits.staging_bytes_max;
        fits.then(|| Self { answer: part.answer, total, bytes: Vec::new() })
    }

    /// Bytes staged.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True if `part` is the next one of the answer staged.
    pub fn continues(&self, part: &Part) -> bool {
        (part.answer == self.answer || mutant::is(Mutant::PartsMixed)) && part.at == self.bytes.len() as u64
    }

    /// True if `part` belongs to the answer staged and was staged before.
    pub fn repeats(&self, part: &Part) -> bool {
        part.answer == self.answer && part.at < self.bytes.len() as u64
    }

    /// Adds a part that [`Self::continues`]. Memory grows as bytes arrive, not as they are announced.
    pub fn add(&mut self, part: Part) -> Staged {
        if part.bytes.is_empty() || self.bytes.len() + part.bytes.len() > self.total {
            return Staged::Broken;
        }
        self.bytes.extend_from_slice(&part.bytes);
        if self.bytes.len() < self.total {
            return Staged::More;
        }
        Staged::Complete(std::mem::take(&mut self.bytes))
    }
}
