//! How far a search goes: which type, how many replicas, and how much of everything may happen.

use sync_core::dictionary::Version;
use sync_core::id::{NodeId, OwnerId, ReplicaId};
use sync_core::limits::{Limits, Timing};
use sync_core::node::{Config, Persistence};
use sync_core::time::Span;

use crate::deed::{Deed, Typed, What};
use crate::history::{Act, Kind};

/// Most replicas that a search can hold.
pub const REPLICAS_MAX: usize = 3;
/// Most lives of one replica: one, and one after each crash.
pub(super) const LIVES_MAX: usize = 2;
/// Columns of a context: one a life.
pub(super) const COLUMNS: usize = REPLICAS_MAX * LIVES_MAX;
/// The object that every operation is about.
pub(super) const KEY: &str = "k";

/// Which operations a replica may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Two: add and remove one element, put and remove one field, count up and reset.
    Two,
    /// Another element or field and the clear of all beside them; for a counter, counting down.
    All,
}

/// The bounds of one search. Within them it is exhaustive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The data type under test. All operations are on one object of it.
    pub kind: Kind,
    /// What an operation can be.
    pub alphabet: Alphabet,
    /// Replicas, 2 or 3, all linked to each other.
    pub replicas: usize,
    /// Operations, by whichever replica. Removes of what is absent are not counted: they mint nothing.
    pub operations: usize,
    /// Crashes, each with a restart under a new incarnation; 0 or 1. What was not durable is lost.
    pub crashes: usize,
    /// True if owners may end their stale counter floors, at any time.
    pub collects: bool,
    /// In how many steps in all nodes may say something, answers included. What the restart after a crash makes
    /// them say is not counted.
    pub sends: u8,
    /// True if links may break and stand again, any number of times.
    pub cuts: bool,
    /// True if a node keeps one entry of its log and one record, so that most repairs go by the fallback.
    pub short_memory: bool,
    /// The search stops once this many states were seen.
    pub states_max: usize,
    /// One in so many states is healed, chosen by its hash; 1 heals all.
    pub heal_every: u64,
}

impl Scope {
    /// Two replicas, three operations of two kinds, one crash.
    pub fn pair(kind: Kind) -> Self {
        Self {
            kind,
            alphabet: Alphabet::Two,
            replicas: 2,
            operations: 3,
            crashes: 1,
            sends: 4,
            // With crashes and collections at will, counters would need five times the states of sets.
            collects: false,
            cuts: false,
            short_memory: false,
            states_max: usize::MAX,
            heal_every: 64,
        }
    }

    /// Two replicas, three operations of all kinds, no crash.
    pub fn pair_without_crash(kind: Kind) -> Self {
        Self { alphabet: Alphabet::All, crashes: 0, collects: true, ..Self::pair(kind) }
    }

    /// Two replicas, two operations of two kinds, links that break and stand again at will.
    pub fn pair_with_cuts(kind: Kind) -> Self {
        Self { operations: 2, crashes: 0, collects: true, cuts: true, ..Self::pair(kind) }
    }

    /// Two replicas, three operations of two kinds, logs and records of one entry.
    pub fn pair_with_short_memory(kind: Kind) -> Self {
        Self { crashes: 0, collects: true, short_memory: true, ..Self::pair(kind) }
    }

    /// Three replicas, three operations of two kinds, one crash, cut at five million states.
    pub fn trio(kind: Kind) -> Self {
        Self { replicas: 3, collects: true, states_max: 5_000_000, ..Self::pair(kind) }
    }

    /// How many operations a replica may choose from.
    pub(super) fn choices(&self) -> u8 {
        match (self.alphabet, self.kind) {
            (Alphabet::Two, _) => 2,
            (Alphabet::All, Kind::Set | Kind::Map) => 4,
            (Alphabet::All, Kind::Counter | Kind::Typed(_)) => 3,
        }
    }

    /// The operation `choice` of `node`, if it took the sequence `seq` of life `life`.
    ///
    /// Written values and increments tell whose they are and which, so that no two executions with
    /// different meanings read the same.
    pub(super) fn act(&self, choice: u8, node: usize, life: usize, seq: u64) -> Act {
        let (key, first, second) = (KEY.to_owned(), b"a".to_vec(), b"b".to_vec());
        let mark = column(node, life) as u64 * 4 + (seq - 1).min(3);
        let value = mark.to_le_bytes().to_vec();
        match (self.kind, choice) {
            (Kind::Set, 0) => Act::Add { key, element: first },
            (Kind::Set, 1) => Act::Remove { key, element: first },
            (Kind::Set, 2) => Act::Add { key, element: second },
            (Kind::Set, _) => Act::Clear { key },
            (Kind::Map, 0) => Act::Put { key, field: first, value },
            (Kind::Map, 1) => Act::RemoveField { key, field: first },
            (Kind::Map, 2) => Act::Put { key, field: second, value },
            (Kind::Map, _) => Act::ClearMap { key },
            (Kind::Counter, 0) => Act::Count { key, by: 1 << mark },
            (Kind::Counter, 1) => Act::Reset { key },
            (Kind::Counter, _) => Act::Count { key, by: -(1 << mark) },
            (Kind::Typed(on), choice) => Act::Typed(typed(on, choice, key, mark)),
        }
    }
}

/// What a replica may do with the other types: two writes at one place, of which the second is the opposite of
/// the first where there is one, and ending all that is seen.
fn typed(on: Typed, choice: u8, key: String, mark: u64) -> Deed {
    let mark = i64::try_from(mark).expect("a scope has few lives");
    let (write, opposite) = match on {
        Typed::DisableFlag => (What::Write(b"on".to_vec()), What::Write(b"off".to_vec())),
        Typed::RemoveWinsSet => (What::Write(b"add".to_vec()), What::Write(b"remove".to_vec())),
        Typed::GrowCounter | Typed::NestedMap => (What::Count(1 << mark), What::Count(1 << mark)),
        Typed::BoundedCounter => (What::Count(1), What::Count(-1)),
        Typed::LwwRegister
        | Typed::MvRegister
        | Typed::EnableFlag
        | Typed::GrowSet
        | Typed::MaxRegister
        | Typed::MinRegister
        | Typed::Multimap
        | Typed::Log => {
            let value = What::Write(mark.to_string().into_bytes());
            (value.clone(), value)
        }
    };
    let place: &[&[u8]] = match on {
        Typed::Multimap => &[b"a", b"b"],
        Typed::NestedMap => &[b"a", b"map", b"b", b"counter"],
        Typed::GrowSet | Typed::RemoveWinsSet => &[b"a"],
        Typed::LwwRegister
        | Typed::MvRegister
        | Typed::EnableFlag
        | Typed::DisableFlag
        | Typed::GrowCounter
        | Typed::MaxRegister
        | Typed::MinRegister
        | Typed::BoundedCounter
        | Typed::Log => &[],
    };
    let place: Vec<Vec<u8>> = place.iter().map(|name| name.to_vec()).collect();
    match choice {
        0 => Deed { on, key, place, what: write },
        1 => Deed { on, key, place, what: opposite },
        _ => Deed { on, key, place: place.into_iter().take(1).collect(), what: What::End },
    }
}

/// The number of a life in contexts of the search.
pub(super) fn column(node: usize, life: usize) -> usize {
    node * LIVES_MAX + life
}

/// The incarnation of that number.
pub(super) fn replica(column: usize) -> ReplicaId {
    ReplicaId([u8::try_from(column + 1).expect("there are six columns at most"); 16])
}

/// The node of index `node`.
pub(super) fn node_id(node: usize) -> NodeId {
    NodeId([u8::try_from(node + 1).expect("there are three nodes at most"); 32])
}

/// How `node` is set up in its life `life`.
///
/// Periods are a few microseconds, so that jitter, a quarter of them, rounds to nothing and one tick
/// passes all of them. The clock stands still between ticks, so states differ by what was done and not
/// by when.
pub(super) fn config(scope: &Scope, node: usize, life: usize) -> Config {
    let owner = OwnerId([u8::try_from(node + 1).expect("there are three nodes at most"); 16]);
    let mut config = Config::new(node_id(node), replica(column(node, life)), owner, [7; 32]);
    config.persistence = Persistence::Driver;
    // Contexts kept to build on would multiply the states by what they were when.
    config.versions.max = Version::WHOLE;
    if scope.short_memory {
        config.limits = Limits { log_entries_max: 1, records_max: 1, ..Limits::default() };
    }
    // The breaker has a search of its own (`sync-core/src/breaker/tests.rs`); here it would be one more clock.
    config.limits.breaker_failures_max = 0;
    config.timing = Timing {
        sync_interval: Span::from_micros(2),
        sync_timeout: Span::from_micros(2),
        hello_retry: Span::from_micros(2),
        relay_delay: Span::from_micros(1),
        tell_delay: Span::from_micros(1),
        // Nothing is damaged here, and looking for damage would be one more clock.
        scrub_period: Span::from_secs(1 << 30),
        // No operation of a scope leaves anything to clean up.
        cleanup_interval: Span::from_secs(1 << 30),
        random_session: Span::from_micros(2),
        survey_pause: Span::from_micros(1),
        drift_max: Span::from_secs(60),
        // Nothing expires in these scopes.
        ..Timing::default()
    };
    config
}

/// Longer than every period of [`config`].
pub(super) const TICK: Span = Span::from_micros(4);
