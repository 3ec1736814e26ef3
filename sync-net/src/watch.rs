//! Watches: an application is told which cells changed, one batch for each step of the store.
//!
//! In flow the core's `Changed` events, by way of the driver; out flow [`WatchEvent`]s, one bounded
//! buffer for each [`Watch`]. The driver never waits for a watcher: when a buffer is full its oldest
//! batches go, and the watcher reads how many it has missed before it reads on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::de::DeserializeOwned;
use sync_core::cell::{ObjectId, Path};
use sync_core::node::Cause;
use tokio::sync::Notify;

use crate::error::ReadError;
use crate::value::decode;

/// Most batches that one watch keeps. When full the oldest goes and is counted as missed.
pub(crate) const BATCHES_MAX: usize = 256;

/// Most changes in all batches that one watch keeps; edge as above. One join can change every cell of
/// the store, so batches alone would not bound memory. A guess: about 10 MiB a watch.
pub(crate) const CHANGES_MAX: usize = 65_536;

/// What a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// One step of the store: the writes of a group, or what one join brought, are in one batch.
    Batch {
        /// Who changed the cells.
        cause: Cause,
        /// The cells that changed below the watched prefix, ordered by key, type and path.
        changes: Vec<Change>,
    },
    /// The watch was read too slowly: this many batches were dropped. Read again what you watch.
    Lagged {
        /// Batches dropped since the last event read from this watch.
        missed: u64,
    },
}

/// One cell that changed: read it to see how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    object: ObjectId,
    path: Path,
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        self.object.key.as_str()
    }

    /// `"set"`, `"map"`, `"counter"` and so on, or `"unknown"` for a type that this build does not know.
    pub fn type_name(&self) -> &'static str {
        self.object.ty.name().unwrap_or("unknown")
    }

    /// The place inside the object: an encoded element or field, or a counter's owner.
    pub fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    /// The path as the element of a set of `T`, or the field of a map from `T`.
    ///
    /// # Errors
    /// [`ReadError::Decode`] if it is no `T`.
    pub fn decode_path<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        decode(self.key(), "an element or field", self.path())
    }
}

/// A stream of changes below a key prefix, from [`crate::Node::watch`]. Dropping it ends it.
///
/// What was written in the instant before the watch was made may still be reported by it: a change says
/// that a cell is worth reading again, never that it must look different.
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    watchers: Arc<Watchers>,
}

impl Watch {
    /// The next event; `None` once the node is shut down and everything kept has been read.
    ///
    /// Cancel safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            match self.feed.take() {
                Taken::Event(event) => return Some(event),
                Taken::Ended => return None,
                Taken::Nothing => self.feed.news.notified().await,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        match self.feed.take() {
            Taken::Event(event) => Some(event),
            Taken::Ended | Taken::Nothing => None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.leave(&self.feed);
    }
}

/// Every watch of a node. How many there are is the application's own affair: no peer can make one.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    feeds: Mutex<Feeds>,
    /// Number of feeds, read without the lock: most nodes are not watched.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Feeds {
    list: Vec<Arc<Feed>>,
    closed: bool,
}

impl Watchers {
    pub(crate) fn watch(self: &Arc<Self>, prefix: &str) -> Watch {
        let feed = Arc::new(Feed { prefix: prefix.into(), kept: Mutex::default(), news: Notify::new() });
        let mut feeds = self.feeds();
        if feeds.closed {
            feed.close();
        }
        feeds.list.push(feed.clone());
        self.count.store(feeds.list.len(), Ordering::Release);
        drop(feeds);
        Watch { feed, watchers: self.clone() }
    }

    /// Tells every watch whose prefix one of `cells` has. Never waits for a reader.
    pub(crate) fn changed(&self, cause: Cause, cells: &[(ObjectId, Path)]) {
        for feed in &self.feeds().list {
            feed.push(cause, cells);
        }
    }

    /// Tells every watch that the core dropped `count` events before anybody could see them.
    pub(crate) fn lost(&self, count: u64) {
        for feed in &self.feeds().list {
            feed.lost(count);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Ends every watch, those made later too.
    pub(crate) fn close(&self) {
        let mut feeds = self.feeds();
        feeds.closed = true;
        feeds.list.iter().for_each(|feed| feed.close());
    }

    fn leave(&self, gone: &Arc<Feed>) {
        let mut feeds = self.feeds();
        feeds.list.retain(|feed| !Arc::ptr_eq(feed, gone));
        self.count.store(feeds.list.len(), Ordering::Release);
    }

    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        self.feeds.lock().expect("nothing panics while the list of watches is locked")
    }
}

/// The buffer of one watch.
#[derive(Debug)]
struct Feed {
    prefix: Box<str>,
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<(Cause, Vec<Change>)>,
    /// Changes in all batches kept.
    changes: usize,
    /// Batches dropped since the reader was last told.
    missed: u64,
    ended: bool,
}

enum Taken {
    Event(WatchEvent),
    Nothing,
    Ended,
}

impl Feed {
    fn push(&self, cause: Cause, cells: &[(ObjectId, Path)]) {
        let changes: Vec<Change> = cells
            .iter()
            .filter(|(object, _)| object.key.as_str().starts_with(&*self.prefix))
            .map(|(object, path)| Change { object: object.clone(), path: path.clone() })
            .collect();
        if changes.is_empty() {
            return;
        }
        let mut kept = self.kept();
        kept.changes += changes.len();
        kept.batches.push_back((cause, changes));
        while kept.batches.len() > BATCHES_MAX || kept.changes > CHANGES_MAX {
            let Some((_, dropped)) = kept.batches.pop_front() else { break };
            kept.changes -= dropped.len();
            kept.missed += 1;
        }
        drop(kept);
        self.news.notify_one();
    }

    fn lost(&self, count: u64) {
        self.kept().missed += count;
        self.news.notify_one();
    }

    fn close(&self) {
        self.kept().ended = true;
        self.news.notify_one();
    }

    fn take(&self) -> Taken {
        let mut kept = self.kept();
        if kept.missed > 0 {
            return Taken::Event(WatchEvent::Lagged { missed: std::mem::take(&mut kept.missed) });
        }
        match kept.batches.pop_front() {
            Some((cause, changes)) => {
                kept.changes -= changes.len();
                Taken::Event(WatchEvent::Batch { cause, changes })
            }
            None if kept.ended => Taken::Ended,
            None => Taken::Nothing,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while a watch's buffer is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::cell::TypeTag;

    fn cell(key: &str, path: u8) -> (ObjectId, Path) {
        (ObjectId::new(key, TypeTag::OR_SET), Path::from([path].as_slice()))
    }

    fn keys(event: WatchEvent) -> Vec<String> {
        match event {
            WatchEvent::Batch { changes, .. } => {
                changes.iter().map(|change| change.key().to_owned()).collect()
            }
            WatchEvent::Lagged { missed } => panic!("{missed} batches were missed"),
        }
    }

    #[test]
    fn a_step_is_one_batch_and_only_the_watched_prefix_is_in_it() {
        let watchers = Arc::new(Watchers::default());
        let (mut carts, mut all) = (watchers.watch("cart/"), watchers.watch(""));
        watchers.changed(Cause::Local, &[cell("cart/1", 0), cell("cart/2", 0), cell("stock/1", 0)]);
        watchers.changed(Cause::Local, &[cell("stock/2", 0)]);
        assert_eq!(keys(carts.try_next().expect("a batch")), ["cart/1", "cart/2"]);
        assert_eq!(carts.try_next(), None, "a step that does not concern it is no batch");
        assert_eq!(keys(all.try_next().expect("a batch")), ["cart/1", "cart/2", "stock/1"]);
        assert_eq!(keys(all.try_next().expect("a batch")), ["stock/2"]);
    }

    #[test]
    fn a_watcher_that_does_not_read_loses_the_oldest_batches_and_is_told_how_many() {
        let watchers = Arc::new(Watchers::default());
        let mut watch = watchers.watch("");
        for step in 0..BATCHES_MAX + 3 {
            watchers.changed(Cause::Local, &[cell(&format!("{step:04}"), 0)]);
        }
        assert_eq!(watch.try_next(), Some(WatchEvent::Lagged { missed: 3 }));
        assert_eq!(keys(watch.try_next().expect("a batch")), ["0003"]);
        assert_eq!(std::iter::from_fn(|| watch.try_next()).count(), BATCHES_MAX - 1);
    }

    #[test]
    fn many_changes_in_few_batches_are_bounded_too() {
        let watchers = Arc::new(Watchers::default());
        let mut watch = watchers.watch("");
        let half = vec![cell("k", 0); CHANGES_MAX / 2];
        (0..3).for_each(|_| watchers.changed(Cause::Local, &half));
        assert_eq!(watch.try_next(), Some(WatchEvent::Lagged { missed: 1 }));
        watchers.changed(Cause::Local, &vec![cell("k", 0); CHANGES_MAX + 1]);
        assert_eq!(
            watch.try_next(),
            Some(WatchEvent::Lagged { missed: 3 }),
            "one batch alone may be too much"
        );
        assert_eq!(watch.try_next(), None);
        assert_eq!(watch.feed.kept().changes, 0);
    }

    #[tokio::test]
    async fn a_closed_hub_ends_watches_after_what_they_kept() {
        let watchers = Arc::new(Watchers::default());
        let mut watch = watchers.watch("");
        watchers.changed(Cause::Local, &[cell("k", 0)]);
        watchers.close();
        assert!(watch.next().await.is_some());
        assert_eq!(watch.next().await, None);
        assert_eq!(watchers.watch("").next().await, None, "a watch made too late ends at once");
    }

    #[test]
    fn a_dropped_watch_costs_nothing_any_more() {
        let watchers = Arc::new(Watchers::default());
        drop(watchers.watch(""));
        assert_eq!(watchers.count.load(Ordering::Acquire), 0);
        assert!(watchers.feeds().list.is_empty());
    }
}
