//! By how many keys peers differ, as far as anybody has asked: a survey says it, later equal roots make it nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sync_core::id::{NamespaceId, NodeId};
use sync_core::node::{PeerStatus, Surveyed};
use sync_core::store::Load;

use crate::survey::Answers;

/// What the last survey of each namespace found of each peer. At most one entry a peer that answered it; the next survey
/// of that namespace replaces all.
#[derive(Debug, Default)]
pub(crate) struct Divergence(Mutex<BTreeMap<(NamespaceId, NodeId), Found>>);

#[derive(Clone, Copy, Debug)]
struct Found {
    receive: u64,
    send: u64,
    /// The last exchange with the peer before.
    exchange: u64,
}

impl Divergence {
    /// Takes a survey of `namespace` in that counted; `peers` is how they are now.
    pub(crate) fn note(&self, namespace: NamespaceId, answers: &Answers, peers: &[PeerStatus]) {
        let found = answers.iter().filter_map(|(node, answer)| match answer {
            Surveyed::Told(told) => {
                let keys = |load: Option<Load>| load.map_or(0, |load| load.objects);
                let exchange = peers.iter().find(|peer| peer.node == *node)?.exchange;
                Some((
                    (namespace, *node),
                    Found { receive: keys(told.incoming), send: keys(told.outgoing), exchange },
                ))
            }
            Surveyed::Pending | Surveyed::Speaks(_) | Surveyed::Unreachable => None,
        });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _), _| *of != namespace);
        kept.extend(found);
    }

    /// Keys that a repair would bring here and there; `None` if roots differ, or were never compared, and no survey
    /// has counted.
    pub(crate) fn keys(&self, namespace: NamespaceId, peer: &PeerStatus) -> Option<(u64, u64)> {
        let found =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(namespace, peer.node)).copied();
        let found = found.filter(|found| peer.roots_equal != Some(true) || peer.exchange == found.exchange);
        match found {
            Some(Found { receive, send, .. }) => Some((receive, send)),
            None if peer.roots_equal == Some(true) => Some((0, 0)),
            None => None,
        }
    }
}
