//! The buffer of one watch, and all buffers of a node.
//!
//! A feed *follows* the store from a numbered step on, or it waits until its watcher asks for the state and then
//! follows from there. The driver fills feeds that follow; one that has no room left drops what it holds and
//! waits. Its place is kept as a context, so that only what changed since must be read again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sync_core::causal::CausalContext;
use sync_core::cell::{ObjectId, PathRange};
use sync_core::id::{NamespaceId, ReplicaId};
use sync_core::node::{Cause, Changed};
use sync_core::store::{Conflict, PlaceChange, Store};
use sync_core::time::WallMillis;
use sync_core::types::reading::Place;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::conflicts::ConflictFeed;
use super::{Change, Policy, WatchEvent};

/// Most batches that one watch keeps. When full all are dropped and the watch has lagged.
pub(crate) const BATCHES_MAX: usize = 1_024;

/// Most changes in all batches that one watch keeps; with [`Policy::Coalesce`], most places. Edge as above.
pub(crate) const CHANGES_MAX: usize = 65_536;

/// Most bytes of the changes that one watch keeps, old and new values included. Edge as above. The three together
/// are a guess; a step that takes more than [`sync_core::limits::Limits::changes_bytes_max`] is not told at all.
pub(crate) const BYTES_MAX: usize = 8 << 20;

/// What a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Covers {
    /// Every key that starts with it.
    Prefix(Box<str>),
    /// One CRDT.
    Crdt(PathRange),
}

impl Covers {
    pub(super) fn contains_object(&self, object: &ObjectId) -> bool {
        match self {
            Self::Prefix(prefix) => object.key.as_str().starts_with(&**prefix),
            Self::Crdt(range) => range.object == *object,
        }
    }

    pub(super) fn contains(&self, place: &Place) -> bool {
        let inside = match self {
            Self::Prefix(_) => true,
            Self::Crdt(range) => range.contains(&place.path),
        };
        inside && self.contains_object(&place.object)
    }
}

/// A state that a watcher has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) context: CausalContext,
    pub(super) horizon: WallMillis,
    pub(super) healings: u64,
}

impl Seen {
    pub(super) fn of(store: &Store, healings: u64) -> Self {
        Self { context: store.context().clone(), horizon: store.horizon(), healings }
    }

    fn advance(&mut self, steps: Steps) {
        steps.learned.into_iter().for_each(|(replica, seq)| self.context.advance(replica, seq));
        self.horizon = self.horizon.max(steps.horizon);
        self.healings += steps.healings;
    }
}

/// What some steps of the store add to a state; at most one entry a column.
#[derive(Debug, Default)]
struct Steps {
    /// Ascending.
    learned: Vec<(ReplicaId, u64)>,
    horizon: WallMillis,
    healings: u64,
}

impl Steps {
    fn add(&mut self, changed: &Changed) {
        for (replica, seq) in &changed.learned {
            match self.learned.binary_search_by_key(replica, |(column, _)| *column) {
                Ok(at) => self.learned[at].1 = self.learned[at].1.max(*seq),
                Err(at) => self.learned.insert(at, (*replica, *seq)),
            }
        }
        self.horizon = changed.horizon;
        self.add_elsewhere(changed);
    }

    /// Of a step of another namespace: healings are counted over all of them.
    fn add_elsewhere(&mut self, changed: &Changed) {
        self.healings += u64::from(changed.cause == Cause::Repair);
    }
}

/// What a waiting feed reads when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// All that is watched.
    Whole,
    /// What may read otherwise than when it was last seen.
    Since,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting(Due),
    /// Has taken up all steps up to this number.
    Following(u64),
}

pub(super) enum Taken {
    Event(WatchEvent),
    Due(Due),
    Nothing,
    Ended,
}

#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    bytes: usize,
    /// This step and those before it that changed nothing that is watched.
    steps: Steps,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Feed {
    namespace: NamespaceId,
    covers: Covers,
    policy: Policy,
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug)]
struct Kept {
    phase: Phase,
    /// The watcher is to be told that it has lagged.
    lagged: bool,
    batches: VecDeque<Batch>,
    /// With [`Policy::Coalesce`], instead of batches.
    merged: BTreeMap<Place, Change>,
    changes: usize,
    bytes: usize,
    /// What was seen with the last event taken; `None` before the first snapshot.
    seen: Option<Seen>,
    /// Steps behind the last batch.
    tail: Steps,
    ended: bool,
}

impl Feed {
    pub(super) fn new(namespace: NamespaceId, covers: Covers, policy: Policy) -> Self {
        let kept = Kept {
            phase: Phase::Waiting(Due::Whole),
            lagged: false,
            batches: VecDeque::new(),
            merged: BTreeMap::new(),
            changes: 0,
            bytes: 0,
            seen: None,
            tail: Steps::default(),
            ended: false,
        };
        Self { namespace, covers, policy, kept: Mutex::new(kept), news: Notify::new() }
    }

    pub(super) fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    pub(super) fn covers(&self) -> &Covers {
        &self.covers
    }

    /// Waits at `seen`, if that says anything here.
    pub(super) fn begin_behind(&self, seen: Option<Seen>) {
        let mut kept = self.kept();
        kept.phase = Phase::Waiting(if seen.is_some() { Due::Since } else { Due::Whole });
        kept.seen = seen;
    }

    /// The state up to the last event taken.
    pub(super) fn seen(&self) -> Option<Seen> {
        let mut kept = self.kept();
        if kept.batches.is_empty() && kept.merged.is_empty() {
            kept.settle();
        }
        kept.seen.clone()
    }

    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    pub(super) fn take(&self) -> Taken {
        let mut kept = self.kept();
        if std::mem::take(&mut kept.lagged) {
            return Taken::Event(WatchEvent::Lagged);
        }
        if let Phase::Waiting(due) = kept.phase {
            return Taken::Due(due);
        }
        if let Some(changes) = kept.take_batch() {
            return Taken::Event(WatchEvent::Batch { changes });
        }
        if kept.ended { Taken::Ended } else { Taken::Nothing }
    }

    /// Takes up one step; false if there was no room for it.
    fn push(&self, changed: &Changed) -> bool {
        let mut kept = self.kept();
        let Phase::Following(at) = kept.phase else { return true };
        if changed.number <= at {
            return true;
        }
        if changed.number != at + 1 {
            return self.lag(kept);
        }
        kept.phase = Phase::Following(changed.number);
        if changed.namespace != self.namespace {
            kept.tail.add_elsewhere(changed);
            return true;
        }
        kept.tail.add(changed);
        let watched = changed.changes.iter().filter(|change| self.covers.contains(&change.place));
        let mut changes = watched.map(|change| from_core(change, changed.cause)).peekable();
        if changes.peek().is_none() {
            return true;
        }
        match self.policy {
            Policy::Steps => kept.push(changes.collect()),
            Policy::Coalesce => changes.for_each(|change| kept.merge(change)),
        }
        if kept.batches.len() > BATCHES_MAX || kept.changes > CHANGES_MAX || kept.bytes > BYTES_MAX {
            return self.lag(kept);
        }
        drop(kept);
        self.news.notify_one();
        true
    }

    /// Drops what is kept, until the watcher reads the state anew.
    fn lag(&self, mut kept: MutexGuard<'_, Kept>) -> bool {
        kept.lagged = true;
        kept.phase = Phase::Waiting(Due::Since);
        (kept.batches, kept.merged, kept.tail) = Default::default();
        (kept.changes, kept.bytes) = (0, 0);
        drop(kept);
        self.news.notify_one();
        false
    }

    /// Steps were dropped before anybody could see them; false if that concerns this feed.
    fn lost(&self) -> bool {
        let kept = self.kept();
        match kept.phase {
            Phase::Waiting(_) => true,
            Phase::Following(_) => self.lag(kept),
        }
    }

    fn close(&self) {
        self.kept().ended = true;
        self.news.notify_one();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while a watch's buffer is locked")
    }
}

fn from_core(change: &PlaceChange, cause: Cause) -> Change {
    let PlaceChange { place, old, new, expired } = change.clone();
    Change { place, old, new, cause: if expired { Cause::Expired } else { cause } }
}

fn bytes_of(change: &Change) -> usize {
    let Change { place, old, new, cause: _ } = change;
    PlaceChange::bytes_for(place, old, new)
}

impl Kept {
    fn push(&mut self, changes: Vec<Change>) {
        let bytes = changes.iter().map(bytes_of).sum();
        self.changes += changes.len();
        self.bytes += bytes;
        let steps = std::mem::take(&mut self.tail);
        self.batches.push_back(Batch { changes, bytes, steps });
    }

    fn merge(&mut self, mut change: Change) {
        if let Some(earlier) = self.merged.remove(&change.place) {
            self.bytes -= bytes_of(&earlier);
            change.old = earlier.old;
        }
        if change.old != change.new {
            self.bytes += bytes_of(&change);
            self.merged.insert(change.place.clone(), change);
        }
        self.changes = self.merged.len();
    }

    fn take_batch(&mut self) -> Option<Vec<Change>> {
        if !self.merged.is_empty() {
            self.settle();
            (self.changes, self.bytes) = (0, 0);
            return Some(std::mem::take(&mut self.merged).into_values().collect());
        }
        let Batch { changes, bytes, steps } = self.batches.pop_front()?;
        self.changes -= changes.len();
        self.bytes -= bytes;
        if let Some(seen) = &mut self.seen {
            seen.advance(steps);
        }
        Some(changes)
    }

    /// The steps behind the last batch count as seen.
    fn settle(&mut self) {
        let steps = std::mem::take(&mut self.tail);
        if let Some(seen) = &mut self.seen {
            seen.advance(steps);
        }
    }
}

/// Every watch of a node. How many there are is the application's own affair: no peer can make one.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    feeds: Mutex<Feeds>,
    /// Watches that follow, read without the lock: on most nodes there are none.
    following: AtomicUsize,
}

#[derive(Debug, Default)]
struct Feeds {
    list: Vec<Arc<Feed>>,
    conflicts: Vec<Arc<ConflictFeed>>,
    closed: bool,
}

impl Watchers {
    pub(super) fn join(&self, feed: &Arc<Feed>) {
        let mut feeds = self.feeds();
        if feeds.closed {
            feed.close();
        }
        feeds.list.push(feed.clone());
    }

    /// Lets `feed` follow behind step `number`, of which it has `seen` all. To be called under the core's lock.
    pub(super) fn follow(&self, feed: &Feed, number: u64, seen: Seen) {
        let mut kept = feed.kept();
        kept.phase = Phase::Following(number);
        kept.tail = Steps::default();
        kept.seen = Some(seen);
        self.following.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells every watch of a step. Never waits for a reader.
    pub(crate) fn changed(&self, changed: &Changed) {
        for feed in &self.feeds().list {
            self.count_lag(feed.push(changed));
        }
    }

    /// Tells every watch that the core dropped events before anybody could see them.
    pub(crate) fn lost(&self) {
        let feeds = self.feeds();
        feeds.list.iter().for_each(|feed| self.count_lag(feed.lost()));
        feeds.conflicts.iter().for_each(|feed| feed.lost());
    }

    /// Tells who wants to know of conflicts.
    pub(crate) fn conflicts(&self, conflicts: &[Conflict]) {
        self.feeds().conflicts.iter().for_each(|feed| feed.push(conflicts));
    }

    fn count_lag(&self, follows: bool) {
        if !follows {
            self.following.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// True if nobody wants to be told of changes.
    pub(crate) fn is_idle(&self) -> bool {
        self.following.load(Ordering::Acquire) == 0
    }

    /// True if nobody wants to be told of conflicts.
    pub(crate) fn is_without_conflicts(&self) -> bool {
        self.feeds().conflicts.is_empty()
    }

    /// Ends every watch, those made later too.
    pub(crate) fn close(&self) {
        let mut feeds = self.feeds();
        feeds.closed = true;
        feeds.list.iter().for_each(|feed| feed.close());
        feeds.conflicts.iter().for_each(|feed| feed.close());
    }

    pub(super) fn leave(&self, gone: &Arc<Feed>) {
        let mut feeds = self.feeds();
        feeds.list.retain(|feed| !Arc::ptr_eq(feed, gone));
        let follows = matches!(gone.kept().phase, Phase::Following(_));
        self.count_lag(!follows);
    }

    pub(super) fn join_conflicts(&self, feed: &Arc<ConflictFeed>) {
        let mut feeds = self.feeds();
        if feeds.closed {
            feed.close();
        }
        feeds.conflicts.push(feed.clone());
        self.following.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave_conflicts(&self, gone: &Arc<ConflictFeed>) {
        self.feeds().conflicts.retain(|feed| !Arc::ptr_eq(feed, gone));
        self.following.fetch_sub(1, Ordering::AcqRel);
    }

    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        self.feeds.lock().expect("nothing panics while the list of watches is locked")
    }
}
