//! Hashing after a large answer: in slices, once its items can be read.
//!
//! A newcomer can be read when its items are joined. Their fingerprints, the trie and the sketch are for comparing
//! with peers: they are made a slice a step, so that nobody waits long for the node, and only then the root is compared
//! with the giver's and shown. Whatever needs all of it before, such as a peer that asks, makes the rest at once.

use super::Node;
use crate::causal::CausalContext;
use crate::id::{NamespaceId, NodeId};
use crate::merkle::Fingerprint;
use crate::message::Give;
use crate::time::{Now, Span, Timestamp, WallMillis};

/// Cells hashed, and dots counted, in one step: about two milliseconds.
const SLICE: usize = 2_048;

/// Cells that are hashed at once; more are hashed in slices.
const AT_ONCE: usize = 2 * SLICE;

/// Between two slices, for whoever waits for the node.
const PAUSE: Span = Span::from_millis(1);

/// A namespace that is being hashed in slices.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    /// When the next slice is due.
    pub(crate) at: Timestamp,
    /// What the root is compared with at the end.
    with: Giver,
}

/// What a giver knew and held at its snapshot.
#[derive(Clone, Debug)]
pub(super) struct Giver {
    pub(super) peer: NodeId,
    pub(super) context: CausalContext,
    pub(super) horizon: WallMillis,
    pub(super) root: Fingerprint,
}

impl Node {
    /// An answer from `peer` is joined: compares roots, at once or when the slices are done.
    pub(super) fn compare_with(&mut self, now: Now, peer: NodeId, namespace: NamespaceId, give: &Give) {
        let Some(context) = give.fragment.context().cloned() else { return };
        let with = Giver { peer, context, horizon: give.fragment.horizon, root: give.root };
        let space = self.spaces.get_mut(&namespace).expect("routed frames are of open namespaces");
        if space.store.unsettled() > AT_ONCE {
            space.settling = Some(Settling { at: now.mono + PAUSE, with });
        } else {
            self.compare(now, namespace, &with);
        }
    }

    /// True while a namespace is hashed in slices: its root is not shown yet.
    pub(super) fn is_settling(&self, namespace: NamespaceId) -> bool {
        self.spaces.get(&namespace).is_some_and(|space| space.settling.is_some())
    }

    pub(super) fn settling_deadline(&self) -> Option<Timestamp> {
        self.spaces.values().filter_map(|space| space.settling.as_ref()).map(|settling| settling.at).min()
    }

    /// Makes the slices that are due.
    pub(super) fn wake_settling(&mut self, now: Now) {
        let mut done = Vec::new();
        for (namespace, space) in &mut self.spaces {
            let Some(settling) = space.settling.as_mut().filter(|settling| settling.at <= now.mono) else {
                continue;
            };
            settling.at = now.mono + PAUSE;
            if space.store.settle_some(SLICE) {
                done.extend(space.settling.take().map(|settling| (*namespace, settling.with)));
            }
        }
        for (namespace, with) in done {
            // Roots that are due may be shown now.
            self.fill_due = true;
            if self.peers.get(&with.peer).is_some_and(|peer| peer.connected) {
                self.compare(now, namespace, &with);
            }
        }
    }
}
