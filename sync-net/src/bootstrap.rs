//! How far a large answer has come in: for a newcomer, the whole store.
//!
//! The driver says what the core tells of it; tools look with [`crate::Node::bootstrap`] or follow with
//! [`Bootstraps`]. Nothing of the answer can be read before all of it is there, so this is all there is to see.

use serde::{Deserialize, Serialize};
use sync_core::id::NodeId;
use tokio::sync::watch;

/// A large answer on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The node id of the peer that gives it, in hex.
    pub peer: String,
    /// Items that have come.
    pub items: u64,
    /// Items in all, by what the peer says.
    pub items_total: u64,
}

/// Follows a node's large answers; see [`crate::Node::bootstraps`].
#[derive(Debug)]
pub struct Bootstraps {
    news: watch::Receiver<Option<Bootstrap>>,
}

impl Bootstraps {
    /// Waits for news and returns how it stands: `Some(None)` when none is on its way (any more), `None` once the
    /// node has stopped. Who looks seldom misses steps and never the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Option<Bootstrap>> {
        self.news.changed().await.ok()?;
        Some(self.news.borrow_and_update().clone())
    }
}

/// The one at most that a node takes in, told to who follows it.
#[derive(Debug)]
pub(crate) struct Progress {
    now: watch::Sender<Option<Bootstrap>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { now: watch::Sender::new(None) }
    }
}

impl Progress {
    pub(crate) fn now(&self) -> Option<Bootstrap> {
        self.now.borrow().clone()
    }

    pub(crate) fn follow(&self) -> Bootstraps {
        Bootstraps { news: self.now.subscribe() }
    }

    pub(crate) fn advanced(&self, peer: NodeId, items: u64, items_total: u64) {
        self.now.send_replace(Some(Bootstrap { peer: peer.to_hex(), items, items_total }));
    }

    /// What came from `peer` is joined, or the link to it is gone: the staged items wait for the next one.
    pub(crate) fn over(&self, peer: NodeId) {
        self.now.send_if_modified(|now| now.take_if(|now| now.peer == peer.to_hex()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_follows_sees_the_latest_step_and_the_end() {
        let progress = Progress::default();
        let mut followed = progress.follow();
        let (giver, other) = (NodeId([1; 32]), NodeId([2; 32]));
        progress.advanced(giver, 10, 100);
        progress.advanced(giver, 20, 100);
        let seen = followed.next().await.expect("the node runs").expect("one is on its way");
        assert_eq!((seen.items, seen.items_total), (20, 100));
        progress.over(other);
        assert_eq!(progress.now(), Some(seen));
        progress.over(giver);
        assert_eq!(followed.next().await, Some(None));
        drop(progress);
        assert_eq!(followed.next().await, None);
    }
}
