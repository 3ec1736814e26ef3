//! The overlay: to which peers pushes go.
//!
//! Up to [`Limits::full_mesh_peers_max`](crate::limits::Limits) peers, to all. Above, a push to every
//! peer would cost more the more peers there are, so that pushes keep to a sparse graph: each member hashes
//! all members into a few rings and takes its two neighbours in each. Members that see the same members
//! choose the same links, and each end counts on being chosen until a `Root` says otherwise. Where views differ (a star, a partial mesh, peers that come and
//! go) the chooser says so in its `Root`, and the other end uses the link as well: a link is used if
//! either end wants it. To the other peers nothing is pushed and nothing told; once in a while, as long
//! as there is news, a root goes to a random one of them, and a session levels whatever the graph has
//! left uneven (DESIGN section 5, overlay; docs/decisions/0007-overlay.md).

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use super::Node;
use super::peer::Peer;
use super::space::Space;
use crate::class::Class;
use crate::id::{NamespaceId, NodeId};
use crate::limits::Timing;
use crate::mutant::{self, Mutant};
use crate::push::Cursor;
use crate::time::{Now, Span, Timestamp};

/// What a node keeps of the overlay beside the marks in its peers.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    /// Members came or went since the neighbours were chosen.
    pub(super) is_stale: bool,
    /// Not every peer that is up was chosen.
    pub(super) is_bounded: bool,
    /// When a random session is due; `None` while there is no news, or nobody to have it with.
    pub(super) session_at: Option<Timestamp>,
    /// Sum of the log heads when the last one began.
    pub(super) heads: u64,
}

impl Overlay {
    /// How long what was learned from one neighbour waits before it is relayed to another.
    ///
    /// In a full mesh, and in an urgent namespace, relays only make up for links that are down: all wait the whole
    /// time. In a bounded overlay they are the way, and two neighbours of a third that learn something together would
    /// relay it together: they draw how long they wait, and the later one is told in time that it need not.
    pub(super) fn relay_delay(&self, class: Class, timing: &Timing, rng: &mut impl Rng) -> Span {
        let most = timing.relay_delay.as_micros();
        let least = timing.tell_delay.as_micros().min(most);
        let draws = self.is_bounded && class != Class::Urgent;
        Span::from_micros(if draws { rng.random_range(least..=most) } else { most })
    }
}

/// How long after learning something a node tells its peers so.
///
/// In an urgent namespace everybody tells everybody, and only so that nobody relays: there is time for half of what a
/// relay waits, and one frame then tells of many writes, or an acknowledgement has told of them meanwhile.
pub(super) fn tell_delay(class: Class, timing: &Timing) -> Span {
    let late = Span::from_micros(timing.relay_delay.as_micros() / 2);
    if class == Class::Urgent { timing.tell_delay.max(late) } else { timing.tell_delay }
}

/// The neighbours of `own` among `members` (which may hold it): the two beside it in each of `rings`
/// rings, ascending; fewer where rings agree.
fn neighbours(own: NodeId, members: &[NodeId], rings: usize) -> Vec<NodeId> {
    let mut chosen = Vec::with_capacity(2 * rings);
    for ring in 0..rings {
        let place = |node: NodeId| {
            let mut hasher = blake3::Hasher::new_derive_key("sync overlay ring");
            hasher.update(&(ring as u64).to_le_bytes()).update(&node.0);
            (*hasher.finalize().as_bytes(), node)
        };
        let own = place(own);
        let mut others: Vec<_> =
            members.iter().map(|node| place(*node)).filter(|other| *other != own).collect();
        others.sort_unstable();
        let after = others.partition_point(|other| *other < own);
        let count = others.len();
        if count > 0 {
            chosen.extend([others[after % count].1, others[(after + count - 1) % count].1]);
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

impl Node {
    /// Chooses the neighbours anew if members came or went, and looks whether a random session is due.
    pub(super) fn settle_overlay(&mut self, now: Now) {
        if std::mem::take(&mut self.overlay.is_stale) {
            self.choose_neighbours();
        }
        self.random_session(now);
    }

    fn choose_neighbours(&mut self) {
        let up: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| peer.is_up()).map(|(node, _)| *node).collect();
        let limits = &self.config.limits;
        self.overlay.is_bounded = up.len() > limits.full_mesh_peers_max;
        let chosen = if !self.overlay.is_bounded {
            up
        } else {
            neighbours(self.config.node, &up, (limits.overlay_degree / 2).max(1))
        };
        let Self { peers, spaces, crowd, .. } = self;
        let is_crowd = crowd.until().is_some();
        for (node, peer) in peers.iter_mut() {
            // Who is not up counts as chosen: in a full mesh nobody has anything to say about it.
            let chosen = !peer.is_up() || chosen.binary_search(node).is_ok();
            if std::mem::replace(&mut peer.is_chosen, chosen) != chosen && peer.is_up() {
                // The other end learns of the change by a root.
                peer.links.values_mut().for_each(|link| link.session.want_root(false));
                self.fill_due = true;
            }
            peer.settle_link(spaces, is_crowd);
        }
    }

    /// What the `Root` of a peer says of the link: whether it has chosen this node.
    pub(super) fn on_chosen(&mut self, peer: NodeId, chosen: bool) {
        let Self { peers, spaces, crowd, .. } = self;
        let peer = peers.get_mut(&peer).expect("frames are taken in from connected peers only");
        peer.has_chosen_us = chosen && !mutant::is(Mutant::OverlayOneSided);
        peer.settle_link(spaces, crowd.until().is_some());
    }

    fn random_session(&mut self, now: Now) {
        let strangers = self.peers.iter().filter(|(_, peer)| peer.is_up() && !peer.is_neighbour());
        let mut strangers = strangers.map(|(node, _)| *node).peekable();
        let has_news = self.filled != self.overlay.heads && !mutant::is(Mutant::RandomSessionNeverRuns);
        if !has_news || strangers.peek().is_none() {
            self.overlay.session_at = None;
            return;
        }
        let due = *self.overlay.session_at.get_or_insert(now.mono + self.config.timing.random_session);
        if due > now.mono {
            return;
        }
        let strangers: Vec<NodeId> = strangers.collect();
        self.overlay.session_at = None;
        self.overlay.heads = self.filled;
        let stranger = strangers[self.rng.random_range(0..strangers.len())];
        let links = self.peers.get_mut(&stranger).into_iter().flat_map(|peer| peer.links.values_mut());
        links.for_each(|link| link.session.want_root(false));
        self.fill_due = true;
    }
}

impl Peer {
    /// True if pushes go to this peer, and it is told what has been learned.
    pub(super) fn is_neighbour(&self) -> bool {
        self.is_up() && (self.is_chosen || self.has_chosen_us)
    }

    /// As [`Self::is_neighbour`], but that urgent namespaces are pushed to everybody.
    pub(super) fn is_pushed_to(&self, class: Class) -> bool {
        self.is_neighbour() || (class == Class::Urgent && self.is_up())
    }

    /// Begins or ends the use of the link if [`Self::is_neighbour`] has changed. One that was in use when its
    /// connection broke goes on where it was confirmed. So do all in a crowd: neighbours change with every peer that comes
    /// up, and a session for each change would move at once what is to wait for its turn.
    fn settle_link(&mut self, spaces: &BTreeMap<NamespaceId, Space>, is_crowd: bool) {
        let used = self.is_neighbour();
        if !self.is_up() || std::mem::replace(&mut self.is_linked, used) == used {
            return;
        }
        let spaces = |namespace| &spaces[namespace];
        let links = self.links.iter_mut().map(|(namespace, link)| (spaces(namespace), link));
        // Those of urgent namespaces are always in use.
        for (space, link) in links.filter(|(space, _)| space.class != Class::Urgent) {
            if !used {
                // Nothing is in flight that would be missed: the cursor waits where it was confirmed.
                link.cursor.fall_back();
                link.tell_at = None;
            } else if !is_crowd && link.cursor.acked().is_some_and(|acked| acked != space.store.log_head()) {
                // Whatever was learned meanwhile the peer may have from others: a session finds out, a
                // push from an old cursor would carry it all.
                link.cursor = Cursor::default();
                link.session.want_root(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn members(count: u8) -> Vec<NodeId> {
        (0..count).map(|at| NodeId([at; 32])).collect()
    }

    /// The neighbours of every member of a mesh.
    fn graph(count: u8, rings: usize) -> BTreeMap<NodeId, Vec<NodeId>> {
        let all = members(count);
        all.iter().map(|own| (*own, neighbours(*own, &all, rings))).collect()
    }

    #[test]
    fn members_that_see_the_same_choose_each_other() {
        for count in [2, 3, 9, 10, 33, 101] {
            let graph = graph(count, 2);
            for (own, chosen) in &graph {
                assert!((1..=4).contains(&chosen.len()), "{count} members: {chosen:?}");
                assert!(!chosen.contains(own));
                assert!(chosen.iter().all(|other| graph[other].contains(own)), "{count} members");
            }
        }
    }

    #[test]
    fn every_member_is_reached_in_few_hops() {
        let graph = graph(101, 2);
        let mut reached = BTreeSet::from([NodeId([0; 32])]);
        let mut hops = 0;
        while reached.len() < graph.len() {
            let next: Vec<NodeId> = reached.iter().flat_map(|own| graph[own].iter().copied()).collect();
            reached.extend(next);
            hops += 1;
            assert!(hops <= 7, "after {hops} hops {} of 101 are reached", reached.len());
        }
    }

    #[test]
    fn the_choice_does_not_depend_on_whether_oneself_is_listed() {
        let all = members(20);
        let others: Vec<NodeId> = all[1..].to_vec();
        assert_eq!(neighbours(all[0], &all, 2), neighbours(all[0], &others, 2));
    }

    #[test]
    fn a_member_that_leaves_moves_only_the_links_beside_it() {
        let all = members(60);
        let rest: Vec<NodeId> = all.iter().copied().filter(|node| *node != all[7]).collect();
        let moved = rest.iter().filter(|own| neighbours(**own, &all, 2) != neighbours(**own, &rest, 2));
        assert!(moved.count() <= 4);
    }
}
