//! Conflicts: whose write lost, and to which.
//!
//! Told is a write of this life of this node that was read here and met, in one step, a write that had not seen
//! it: the other wins by its later clock (map, register), by its being a remove or an off (remove-wins set,
//! disable-wins flag), or both stand side by side (multi-register). That they are concurrent is known because
//! both are live: who had seen the other would have ended it. So what cannot be told is a conflict that somebody
//! else settled before it came here, by a write that saw both; and a remove of ours that a concurrent add
//! survived, because a remove leaves nothing to compare with.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use sync_core::store::Conflict;
use tokio::sync::Notify;

use crate::node::Shared;

/// Most conflicts that one reader leaves unread. When full the oldest goes and is counted as missed: they are for
/// people and logs, and nothing has to be brought up to date.
const CONFLICTS_MAX: usize = 1_024;

/// What [`Conflicts`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictEvent {
    /// A write of this node met a concurrent one.
    Conflict(Conflict),
    /// Conflicts went by untold: this many that this reader left unread, 0 if the node itself could not keep up and
    /// does not know how many.
    Missed {
        /// How many.
        count: u64,
    },
}

/// A stream of conflicts, from [`crate::Node::conflicts`]. Dropping it ends it.
pub struct Conflicts {
    feed: Arc<ConflictFeed>,
    shared: Arc<Shared>,
}

impl Conflicts {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let feed = Arc::new(ConflictFeed::default());
        let mut core = shared.core();
        shared.watchers.join_conflicts(&feed);
        core.set_changes(true);
        core.set_conflicts(true);
        drop(core);
        Self { feed, shared }
    }

    /// The next event; `None` once the node is shut down and everything kept has been read. Cancel safe.
    pub async fn next(&mut self) -> Option<ConflictEvent> {
        loop {
            match self.feed.take() {
                (Some(event), _) => return Some(event),
                (None, true) => return None,
                (None, false) => self.feed.news.notified().await,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<ConflictEvent> {
        self.feed.take().0
    }
}

impl Drop for Conflicts {
    fn drop(&mut self) {
        self.shared.watchers.leave_conflicts(&self.feed);
    }
}

impl std::fmt::Debug for Conflicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conflicts").finish_non_exhaustive()
    }
}

/// The buffer of one reader.
#[derive(Debug, Default)]
pub(super) struct ConflictFeed {
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    conflicts: VecDeque<Conflict>,
    missed: Option<u64>,
    ended: bool,
}

impl ConflictFeed {
    pub(super) fn push(&self, conflicts: &[Conflict]) {
        let mut kept = self.kept();
        for conflict in conflicts {
            if kept.conflicts.len() == CONFLICTS_MAX {
                kept.conflicts.pop_front();
                *kept.missed.get_or_insert(0) += 1;
            }
            kept.conflicts.push_back(conflict.clone());
        }
        drop(kept);
        self.news.notify_one();
    }

    pub(super) fn lost(&self) {
        self.kept().missed.get_or_insert(0);
        self.news.notify_one();
    }

    pub(super) fn close(&self) {
        self.kept().ended = true;
        self.news.notify_one();
    }

    fn take(&self) -> (Option<ConflictEvent>, bool) {
        let mut kept = self.kept();
        let missed = kept.missed.take().map(|count| ConflictEvent::Missed { count });
        let event = missed.or_else(|| kept.conflicts.pop_front().map(ConflictEvent::Conflict));
        (event, kept.ended)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while a reader's buffer is locked")
    }
}
