//! The contexts that both ends of a link hold, so that frames state differences from them.
//!
//! What I build on is a context that the peer holds for certain: one in which it found, or I found, our states
//! equal, or one that I stated in a pull which it has answered. Each end keeps what the other may
//! build on: the contexts of its own last roots, of the other's last pulls, and of its own unanswered pull. When
//! one is lost all the same, the frame is refused and the whole asked for: one round trip.

use std::sync::Arc;

use crate::dictionary::{Base, Dictionary, Version};
use crate::id::{NamespaceId, NodeId};
use crate::node::Node;

/// Contexts of so many roots sent, and pulls received, are kept: those of the exchange under way and of the
/// one before it.
const KEPT: usize = 2;

/// See the module's documentation. At most six contexts a link, most of them shared with the other links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bases {
    /// What my frames build on.
    out: Option<Arc<Base>>,
    /// What I stated in the pull that is not answered yet: the answer builds on it.
    asked: Option<Arc<Base>>,
    /// What I knew at my last roots, newest first: the peer may have found us equal there.
    rooted: [Option<Arc<Base>>; KEPT],
    /// What the peer stated in its last pulls, newest first.
    pulled: [Option<Arc<Base>>; KEPT],
}

impl Bases {
    /// What my frames build on.
    pub(crate) fn out(&self) -> Option<Arc<Base>> {
        self.out.clone()
    }

    /// What an answer to the peer's last pull builds on.
    pub(crate) fn of_answer(&self) -> Option<Arc<Base>> {
        self.pulled[0].clone()
    }

    /// The peer knows exactly this, and I too.
    pub(crate) fn equal(&mut self, base: Arc<Base>) {
        self.out = Some(base);
    }

    /// I have sent a root of this context.
    pub(crate) fn rooted(&mut self, base: Arc<Base>) {
        keep(&mut self.rooted, base);
    }

    /// I have stated this in a pull.
    pub(crate) fn asked(&mut self, base: Arc<Base>) {
        self.asked = Some(base);
    }

    /// That pull is answered: the peer holds what I stated.
    pub(crate) fn answered(&mut self) {
        if let Some(base) = self.asked.take() {
            self.out = Some(base);
        }
    }

    /// The peer has stated this in a pull.
    pub(crate) fn pulled(&mut self, base: Arc<Base>) {
        keep(&mut self.pulled, base);
    }

    /// The peer could not resolve what I built on.
    pub(crate) fn forget_out(&mut self) {
        self.out = None;
    }

    /// Every base kept, in a fixed order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Option<Arc<Base>>> {
        [&self.out, &self.asked].into_iter().chain(&self.rooted).chain(&self.pulled)
    }

    fn readable(&self) -> Vec<Arc<Base>> {
        let kept = [&self.asked].into_iter().chain(&self.rooted).chain(&self.pulled);
        kept.flatten().cloned().collect()
    }

    fn writable(&self) -> Vec<Arc<Base>> {
        self.all().flatten().cloned().collect()
    }
}

fn keep(kept: &mut [Option<Arc<Base>>; KEPT], base: Arc<Base>) {
    if kept[0].as_ref() != Some(&base) {
        kept.rotate_right(1);
        kept[0] = Some(base);
    }
}

impl Node {
    /// What frames from `peer` need not spell out, for [`crate::message::Frame::decode`]. Decoding can happen
    /// anywhere: a dictionary that is out of date makes it refuse a frame, which costs time only.
    pub fn reads(&self, peer: NodeId) -> Dictionary {
        self.dictionary(peer, true)
    }

    /// What frames to `peer` do not spell out, for those who listen to what this node sends.
    pub fn writes(&self, peer: NodeId) -> Dictionary {
        self.dictionary(peer, false)
    }

    fn dictionary(&self, peer: NodeId, reads: bool) -> Dictionary {
        let dictionary = Dictionary::new(self.config.versions);
        let Some(state) = self.peers.get(&peer) else { return dictionary };
        let Some(theirs) = state.incarnation else { return dictionary };
        state.links.iter().fold(dictionary, |dictionary, (namespace, link)| {
            if reads {
                dictionary.with(*namespace, (theirs, self.replica), link.bases.readable())
            } else {
                dictionary.with(*namespace, (self.replica, theirs), link.bases.writable())
            }
        })
    }

    /// Changes the bases of a link, with the present context of the namespace, if the peer speaks of
    /// differences.
    pub(super) fn with_bases(
        &mut self,
        peer: NodeId,
        namespace: NamespaceId,
        change: impl FnOnce(&mut Bases, Arc<Base>),
    ) {
        let (Some(state), Some(space)) = (self.peers.get_mut(&peer), self.spaces.get_mut(&namespace)) else {
            return;
        };
        if state.version >= Version::DIFFERENCES
            && let Some(link) = state.links.get_mut(&namespace)
        {
            change(&mut link.bases, space.base());
        }
    }
}
