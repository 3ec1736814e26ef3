//! How much work one identity may make us do: frames, questions and links, each by a token bucket.
//!
//! A bucket that is empty delays the reading of that peer's stream and nothing else: QUIC then stops the peer, and no
//! other peer waits. So a limit that an honest peer meets costs it a pause and no frame. Who asks at the full rate for
//! long is no honest peer, and its link is closed for a breach. Budgets outlive links: to connect anew refills nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sync_core::id::NodeId;
use sync_core::message::FrameKind;

/// Frames a second that a peer may send for long, and at once. Above it its stream is read later, and its writes come
/// with more in each frame. One frame carries many writes, so this is far above what honest peers send.
const FRAMES: Rate = Rate { per_second: 20_000, burst: 40_000 };

/// Questions a second (greetings, roots, and what asks for an answer), which make us build frames. At the edge as above.
/// An honest peer asks some in a round and a few for each large answer.
const QUESTIONS: Rate = Rate { per_second: 500, burst: 2_000 };

/// Greetings a second. At the edge as above. An honest peer greets when it links, opens a namespace or begins to act for
/// another request, and once for each batch of frames that were for its former life.
const GREETINGS: Rate = Rate { per_second: 50, burst: 200 };

/// Requests for state a second, the dearest of questions. At the edge as above. An honest peer pulls once in a round, and
/// again when a pull has failed.
const PULLS: Rate = Rate { per_second: 20, burst: 200 };

/// Bytes of memory a second that frames may take beyond [`USUAL`]. Above it the peer's streams are read later. To read a
/// frame costs as much time as what it says takes memory, so that short frames which say much cost most by the byte. An
/// honest peer that adds elements of four bytes meets it at 350,000 a second (8 bytes each, which take 288). What was read
/// ahead of the engine is weighed too: the wait that a peer can bring on itself is some 15 s.
const EXCESS: Rate = Rate { per_second: 32 << 20, burst: 64 << 20 };

/// So many bytes of memory for each of its own a frame may take for nothing. Rows of 16 bytes take 18 times
/// theirs (`what_honest_nodes_push_takes_little_memory_for_its_bytes`).
const USUAL: usize = 24;

/// So many times an answer that nobody asked for counts: 4 MiB of them a second, and 8 at once.
const UNASKED: usize = 8;

/// A peer that has had no question left for so long is flooding: its link is closed for a breach of the protocol.
const FLOOD: Duration = Duration::from_secs(10);

/// Links a second that a peer may make, and at once. One more is refused, and may be tried again.
const LINKS: Rate = Rate { per_second: 1, burst: 20 };

/// Handshakes a second that all strangers together may begin. One more packet is ignored: an honest dialler sends it
/// again some hundred milliseconds later. A handshake costs about a millisecond, so this bounds what a flood takes.
pub(super) const HANDSHAKES: Rate = Rate { per_second: 100, burst: 256 };

/// How fast a bucket fills, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

/// Tokens that come back with time.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: f64::from(rate.burst), at: now }
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        let tokens = self.tokens + since * f64::from(self.rate.per_second);
        (self.tokens, self.at) = (tokens.min(f64::from(self.rate.burst)), now.max(self.at));
    }

    /// Takes a token if there is one.
    pub(super) fn takes(&mut self, now: Instant) -> bool {
        self.refill(now);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// Takes a token that may come later; how long until then.
    fn owes(&mut self, now: Instant) -> Duration {
        self.take(now, 1);
        self.wait()
    }

    /// Takes `tokens` that may come later.
    fn take(&mut self, now: Instant, tokens: u32) {
        self.refill(now);
        self.tokens -= f64::from(tokens);
    }

    /// How long until no token is owed, as of the last look.
    fn wait(&self) -> Duration {
        Duration::from_secs_f64((-self.tokens).max(0.0) / f64::from(self.rate.per_second))
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= f64::from(self.rate.burst)
    }
}

/// What one identity may still do.
#[derive(Debug)]
pub(super) struct Budget {
    frames: Bucket,
    questions: Bucket,
    greetings: Bucket,
    pulls: Bucket,
    links: Bucket,
    excess: Bucket,
    /// Since when each question had to wait.
    starved: Option<Instant>,
}

/// What comes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// It may be handed on after this time.
    After(Duration),
    /// It is one of a flood, in words.
    Flood(String),
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            frames: Bucket::new(FRAMES, now),
            questions: Bucket::new(QUESTIONS, now),
            greetings: Bucket::new(GREETINGS, now),
            pulls: Bucket::new(PULLS, now),
            links: Bucket::new(LINKS, now),
            excess: Bucket::new(EXCESS, now),
            starved: None,
        }
    }

    /// Charges for one frame.
    pub(super) fn charge(&mut self, now: Instant, kind: Option<FrameKind>) -> Charge {
        self.excess.refill(now);
        let mut wait = self.frames.owes(now).max(self.excess.wait());
        let Some(question) = kind.and_then(Question::of) else { return Charge::After(wait) };
        let asked = match question {
            Question::Pull => self.questions.owes(now).max(self.pulls.owes(now)),
            Question::Greeting => self.questions.owes(now).max(self.greetings.owes(now)),
            Question::Other => self.questions.owes(now),
        };
        wait = wait.max(asked);
        if asked.is_zero() {
            self.starved = None;
            return Charge::After(wait);
        }
        let starved = now.saturating_duration_since(*self.starved.get_or_insert(now));
        if starved < FLOOD {
            return Charge::After(wait);
        }
        self.starved = None;
        Charge::Flood(format!(
            "it asked more than {} questions, {} greetings or {} pulls a second for {FLOOD:?}",
            QUESTIONS.per_second, GREETINGS.per_second, PULLS.per_second
        ))
    }

    /// A frame took so many bytes of memory in [`excess`].
    pub(super) fn weigh(&mut self, now: Instant, excess: u32) {
        self.excess.take(now, excess);
    }

    /// True if it may make one more link now.
    pub(super) fn links(&mut self, now: Instant) -> bool {
        self.links.takes(now)
    }

    fn is_untouched(&mut self, now: Instant) -> bool {
        self.starved.is_none()
            && [
                &mut self.frames,
                &mut self.questions,
                &mut self.greetings,
                &mut self.pulls,
                &mut self.links,
                &mut self.excess,
            ]
            .into_iter()
            .all(|bucket| bucket.is_full(now))
    }
}

/// What a frame of `len` bytes that takes `memory` takes beyond what is usual. Of an answer that nobody asked for nothing
/// is.
pub(crate) fn excess(len: usize, memory: usize, asked: bool) -> u32 {
    let excess = if asked {
        memory.saturating_sub(len.saturating_mul(USUAL))
    } else {
        memory.max(len).saturating_mul(UNASKED)
    };
    u32::try_from(excess).unwrap_or(u32::MAX)
}

/// What asks for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// For state.
    Pull,
    /// For a greeting.
    Greeting,
    Other,
}

impl Question {
    fn of(kind: FrameKind) -> Option<Self> {
        match kind {
            FrameKind::Pull | FrameKind::Open => Some(Self::Pull),
            FrameKind::Hello => Some(Self::Greeting),
            FrameKind::Root | FrameKind::Survey | FrameKind::More | FrameKind::Nodes | FrameKind::Inspect => {
                Some(Self::Other)
            }
            FrameKind::Push
            | FrameKind::Ack
            | FrameKind::Give
            | FrameKind::Part
            | FrameKind::Quote
            | FrameKind::Skeleton
            | FrameKind::Payloads
            | FrameKind::Symbols
            | FrameKind::NodesFound
            | FrameKind::Inspected => None,
        }
    }
}

/// The budgets of all identities that have done something lately.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    by_peer: BTreeMap<NodeId, Arc<Mutex<Budget>>>,
}

impl Budgets {
    /// That of `peer`. At most `max` are kept beside those in use; when full, those go that are full again, and then the
    /// first that no link uses.
    pub(super) fn of(&mut self, peer: NodeId, now: Instant, max: usize) -> Arc<Mutex<Budget>> {
        if !self.by_peer.contains_key(&peer) && self.by_peer.len() >= max {
            self.by_peer.retain(|_, budget| Arc::strong_count(budget) > 1 || !lock(budget).is_untouched(now));
            let unused = |(_, budget): &(&NodeId, &Arc<Mutex<Budget>>)| Arc::strong_count(budget) == 1;
            if self.by_peer.len() >= max
                && let Some(first) = self.by_peer.iter().find(unused).map(|(peer, _)| *peer)
            {
                self.by_peer.remove(&first);
            }
        }
        Arc::clone(self.by_peer.entry(peer).or_insert_with(|| Arc::new(Mutex::new(Budget::new(now)))))
    }
}

pub(super) fn lock(budget: &Mutex<Budget>) -> std::sync::MutexGuard<'_, Budget> {
    // Each update is one assignment after the other, none of which can panic.
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_honest_peer_at_full_speed_never_waits() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        // A minute of 15,000 pushes and acknowledgements a second, a round each second, and a cold start's questions.
        for ms in 0..60_000u32 {
            let now = start + Duration::from_millis(u64::from(ms));
            let mut free =
                |kind| assert_eq!(budget.charge(now, Some(kind)), Charge::After(Duration::ZERO), "{ms}");
            (0..15).for_each(|_| free(FrameKind::Push));
            if ms % 1_000 == 0 {
                [FrameKind::Root, FrameKind::Hello, FrameKind::Pull].into_iter().for_each(&mut free);
            }
            if ms < 10_000 && ms % 5 == 0 {
                free(FrameKind::More);
            }
        }
    }

    #[test]
    fn a_flood_of_questions_is_slowed_and_then_a_breach_and_a_new_link_refills_nothing() {
        let start = Instant::now();
        let (mut budgets, peer) = (Budgets::default(), NodeId([1; 32]));
        let budget = budgets.of(peer, start, 1);
        let (mut now, mut asked) = (start, 0u32);
        let why = loop {
            match lock(&budget).charge(now, Some(FrameKind::Pull)) {
                // The stream is read that much later.
                Charge::After(wait) => (now, asked) = (now + wait, asked + 1),
                Charge::Flood(why) => break why,
            }
        };
        assert!(why.contains("20 pulls a second"), "{why}");
        let took = now - start;
        assert!(took >= FLOOD && took < FLOOD + SECOND, "{took:?}");
        assert!(asked <= PULLS.burst + 11 * PULLS.per_second, "{asked}");
        drop(budget);
        let again = budgets.of(peer, now, 1);
        assert_ne!(lock(&again).charge(now, Some(FrameKind::Pull)), Charge::After(Duration::ZERO));
        assert_eq!(
            lock(&again).charge(now + 60 * SECOND, Some(FrameKind::Pull)),
            Charge::After(Duration::ZERO)
        );
    }

    #[test]
    fn greetings_are_slowed_long_before_other_questions_are() {
        let start = Instant::now();
        let asks = |kind| {
            let mut budget = Budget::new(start);
            let mut at = |ms| budget.charge(start + Duration::from_millis(ms), Some(kind));
            (0..1_000).filter(|ms| at(*ms) == Charge::After(Duration::ZERO)).count()
        };
        let greetings = asks(FrameKind::Hello);
        assert!((200..260).contains(&greetings), "one in each millisecond, {greetings} at once");
        assert_eq!(asks(FrameKind::Root), 1_000);
    }

    #[test]
    fn frames_that_take_much_memory_for_their_bytes_are_read_later_and_others_are_not() {
        let start = Instant::now();
        let read = |len, memory, asked| {
            let (mut budget, mut now, mut frames) = (Budget::new(start), start, 0u32);
            while now < start + 10 * SECOND {
                budget.weigh(now, excess(len, memory, asked));
                let Charge::After(wait) = budget.charge(now, Some(FrameKind::Give)) else {
                    panic!("no question")
                };
                now += wait + Duration::from_millis(1);
                frames += 1;
            }
            frames
        };
        let dense = read(50_000, 3_000_000, true);
        assert!(
            (180..250).contains(&dense),
            "{dense} frames of 1.8 MB of excess, 32 MiB a second and 64 at once"
        );
        assert_eq!(read(250_000, 3_000_000, true), 10_000, "what writes take is not counted");
        let unasked = read(600_000, 600_000, false);
        assert!((70..100).contains(&unasked), "{unasked} answers of 600 KB that nobody asked for");
        assert_eq!(excess(100, 2_400, true), 0);
        assert_eq!(excess(100, 2_500, true), 100);
    }

    #[test]
    fn links_are_bounded_and_budgets_too() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert_eq!((0..1_000).filter(|_| budget.links(start)).count(), 20);
        assert_eq!((0..1_000).filter(|_| budget.links(start + 3 * SECOND)).count(), 3);
        let mut budgets = Budgets::default();
        for n in 0..100 {
            let budget = budgets.of(NodeId([n; 32]), start, 10);
            assert!(lock(&budget).links(start));
        }
        assert_eq!(budgets.by_peer.len(), 10);
    }
}
