//! Watches: an application is told what changed, with what was read before and after, one batch for each step
//! of the store.
//!
//! In flow the core's `Changed` events, by way of the driver; out flow [`WatchEvent`]s, from one bounded buffer
//! for each [`Watch`] (`feed.rs`). The driver never waits for a watcher, and a watch whose buffer is full costs
//! nothing more until it is read: its buffer is dropped, and if nobody else watches the core stops telling. A
//! state is read only when the watcher asks for it, under the node's lock, together with the number of the last
//! step that it includes: so nothing is lost or doubled between a state and the changes behind it. `typed.rs`
//! gives the changes of one CRDT their types, `cursor.rs` is where a watch stands, `conflicts.rs` tells whose
//! write lost.

mod conflicts;
mod cursor;
mod feed;
mod mirror;
mod typed;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use sync_core::cell::PathRange;
use sync_core::id::NamespaceId;
use sync_core::node::Cause;
use sync_core::store::{Store, TouchedSince};
use sync_core::types::reading::{Place, Reading, read};

use crate::error::ReadError;
use crate::node::Shared;
use crate::value::decode;

pub use conflicts::{ConflictEvent, Conflicts};
pub use cursor::{Cursor, CursorError};
pub(crate) use feed::{Covers, Watchers};
use feed::{Due, Feed, Seen, Taken};
pub use mirror::Mirror;
pub use typed::{
    CountChange, ElementChange, EntryChange, FlagChange, FromReading, LogChange, NumberChange, PairChange,
    TypedEvent, TypedWatch, ValueChange, ValuesChange,
};

/// What a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// What is there now: forget all that you hold within the scope, and take up the entries. Comes first if it
    /// was asked for, and after [`Self::Lagged`].
    Snapshot {
        /// What it tells of.
        scope: Scope,
        /// Everything there that can be read, ascending by place.
        entries: Vec<Entry>,
    },
    /// One step of the store: the writes of a group, or what one join brought, are in one batch. With
    /// [`Policy::Coalesce`] several steps, none of them in part.
    Batch {
        /// What reads otherwise than before, ascending by place, each place once.
        changes: Vec<Change>,
    },
    /// The watch was read too slowly and its buffer was dropped: a snapshot of what changed since the last event
    /// follows.
    Lagged,
}

/// What a snapshot tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that is watched.
    All,
    /// These places and ranges; everything else that is watched reads as before.
    Parts(TouchedSince),
}

impl Scope {
    /// True if what is held at `place` is to be forgotten.
    pub fn contains(&self, place: &Place) -> bool {
        match self {
            Self::All => true,
            Self::Parts(parts) => {
                let within = |range: &PathRange| range.object == place.object && range.contains(&place.path);
                parts.places.contains(place) || parts.ranges.iter().any(within)
            }
        }
    }
}

/// What is read at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub place: Place,
    /// What; never [`Reading::Absent`].
    pub reading: Reading,
}

/// One place that reads otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// What was read before the batch.
    pub old: Reading,
    /// What is read after it.
    pub new: Reading,
    /// Who changed it; of several steps in one batch, the last that did.
    pub cause: Cause,
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        self.place.object.key.as_str()
    }

    /// `"set"`, `"map"`, `"counter"` and so on, or `"unknown"` for a type that this build does not know.
    pub fn type_name(&self) -> &'static str {
        self.place.object.ty.name().unwrap_or("unknown")
    }

    /// The place inside the object: an encoded element or field; empty for what is one value.
    pub fn path(&self) -> &[u8] {
        self.place.path.as_bytes()
    }

    /// The path as the element of a set of `T`, or the field of a map from `T`.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if it is no `T`.
    pub fn decode_path<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        decode(self.key(), "an element or field", self.path())
    }
}

/// Where a watch begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next change.
    #[default]
    Now,
    /// With a snapshot of all that is watched.
    Snapshot,
    /// Behind what another watch of the same namespace and prefix had read, on this node or another: with a snapshot of what
    /// may read otherwise since then. It is one of everything if that cannot be told: if this node lacks events
    /// that the other had seen (then it may be older; [`crate::Node::converge`] first to avoid that), if
    /// something has expired since, if the records of removes since then are gone, or if damage was healed.
    Cursor(Cursor),
}

/// What is kept for a watcher that does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every step, as far as there is room; then nothing, and [`WatchEvent::Lagged`].
    #[default]
    Steps,
    /// Of each place the latest change, with the value from before the first: who reads slowly sees fewer states,
    /// and falls behind only where more places change than there is room for.
    Coalesce,
}

/// A stream of changes below a key prefix, from [`crate::Node::watch`]. Dropping it ends it.
pub struct Watch {
    feed: Arc<Feed>,
    shared: Arc<Shared>,
}

impl Watch {
    pub(crate) fn new(
        shared: Arc<Shared>,
        namespace: NamespaceId,
        covers: Covers,
        start: Start,
        policy: Policy,
    ) -> Self {
        let feed = Arc::new(Feed::new(namespace, covers, policy));
        shared.watchers.join(&feed);
        match start {
            Start::Now => shared.follow(&feed, |(store, healings)| Seen::of(store, healings)),
            Start::Snapshot => {}
            Start::Cursor(cursor) => {
                let seen = cursor.seen(namespace, feed.covers(), &shared.core());
                feed.begin_behind(seen);
            }
        }
        Self { feed, shared }
    }

    /// The next event; `None` once the node is shut down and everything kept has been read.
    ///
    /// A snapshot is read under the node's lock, at once. Cancel safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            match self.take() {
                Taken::Event(event) => return Some(event),
                Taken::Ended => return None,
                Taken::Nothing | Taken::Due(_) => self.feed.news().await,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        match self.take() {
            Taken::Event(event) => Some(event),
            Taken::Ended | Taken::Nothing | Taken::Due(_) => None,
        }
    }

    /// Where this watch stands: behind the last event that it returned. `None` before the first snapshot.
    pub fn cursor(&self) -> Option<Cursor> {
        let Covers::Prefix(prefix) = self.feed.covers() else { return None };
        let seen = self.feed.seen()?;
        Some(Cursor::new(self.feed.namespace(), prefix.clone(), self.shared.core().replica(), seen))
    }

    fn take(&mut self) -> Taken {
        match self.feed.take() {
            Taken::Due(due) => Taken::Event(self.read_up(due)),
            other @ (Taken::Event(_) | Taken::Nothing | Taken::Ended) => other,
        }
    }

    /// Reads the state that is due and goes on from it.
    fn read_up(&self, due: Due) -> WatchEvent {
        let mut event = WatchEvent::Lagged;
        self.shared.follow(&self.feed, |(store, healings)| {
            let now = Seen::of(store, healings);
            let since = self.feed.seen().filter(|seen| due == Due::Since && seen.healings == healings);
            let since = since.filter(|_| matches!(self.feed.covers(), Covers::Prefix(_)));
            let parts = since.and_then(|seen| store.touched_since(&seen.context, seen.horizon).ok());
            event = snapshot(store, self.feed.covers(), parts);
            now
        });
        event
    }
}

impl Shared {
    /// Lets `feed` follow from the state that `read` reads.
    fn follow(&self, feed: &Feed, read: impl FnOnce((&Store, u64)) -> Seen) {
        let mut core = self.core();
        let seen = read((self.store(&core, feed.namespace()), core.healings()));
        core.set_changes(true);
        self.watchers.follow(feed, core.changes_told(), seen);
    }
}

/// What is watched of `store`: all of it, or what is in `parts`.
fn snapshot(store: &Store, covers: &Covers, parts: Option<TouchedSince>) -> WatchEvent {
    let entry = |(place, reading)| Entry { place, reading };
    let Some(mut parts) = parts else {
        let entries = match covers {
            Covers::Prefix(prefix) => store.readings(prefix).map(entry).collect(),
            Covers::Crdt(range) => store.readings_in(range.clone()).map(entry).collect(),
        };
        return WatchEvent::Snapshot { scope: Scope::All, entries };
    };
    parts.places.retain(|place| covers.contains(place));
    parts.ranges.retain(|range| covers.contains_object(&range.object));
    let single = parts.places.iter().map(|place| (place.clone(), read(store, place)));
    let mut entries: Vec<Entry> = single.filter(|(_, reading)| !reading.is_absent()).map(entry).collect();
    for range in &parts.ranges {
        entries.extend(store.readings_in(range.clone()).map(entry));
    }
    entries.sort_by(|one, other| one.place.cmp(&other.place));
    entries.dedup_by(|one, other| one.place == other.place);
    WatchEvent::Snapshot { scope: Scope::Parts(parts), entries }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.watchers.leave(&self.feed);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("covers", self.feed.covers()).finish_non_exhaustive()
    }
}
