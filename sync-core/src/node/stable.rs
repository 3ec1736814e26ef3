//! Causal stability: which events every member knows, with all that it knew then known here.
//!
//! It decides when the mark of a remove-wins set may be ended (DESIGN section 4). **The rule**: a mark `m` is stable
//! here if there is, for each member, a context `K` that this member held whole at one moment and had made durable,
//! with `m` in `K` and all of `K` known here. Whatever that member minted before the moment is in `K`, so known here
//! and ended with the mark; whatever it mints later has seen `m`. What it learned from others is in their `K` in
//! the same way. So no add that is concurrent with `m` can still come, and one that comes has seen `m`.
//!
//! `K` must be a *whole* context of *one* moment. [`Link::known`] is none: it is a lower bound, gathered from many
//! frames, and beside it the peer may hold an add that nobody has mentioned. Three things state one:
//! a root equal to ours (then it is our context); an answer that was joined; and a pull, which shows a state that
//! may not be durable yet, once an acknowledgement has come that was made after it, since that one was held until
//! its state was durable. An acknowledgement of a log position beyond our head at the pull's arrival is such a one.
//!
//! The members are the peers that this node was told of ([`Members`]) or has met, in this life or as its image
//! remembers, less those that it was told to forget. One that is away blocks: it may hold anything. What the rule
//! does not cover, and what happens then, is in docs/crdt.md.
//!
//! Nothing is sent for this: rounds of roots and repairs bring what it needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::peer::Link;
use super::{Event, Node, Peer};
use crate::dictionary::Base;
use crate::id::{Dot, NamespaceId, NodeId};
use crate::mutant::{self, Mutant};
use crate::time::Now;
use crate::types::{counter, rw_set};

/// Most cells whose marks are ended by one event, so that its record stays small. Of long elements fewer fit into a
/// group: then fewer are taken.
const CELLS_PER_EVENT: usize = 1_024;

/// Who the other members are, as far as whoever set the node up knows.
///
/// Peers that were met are members too, whether listed here or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those whose ids are known.
    pub nodes: BTreeSet<NodeId>,
    /// How many more there are, whose ids are not known: addresses at which nobody has answered yet. While there
    /// are any, nothing is stable.
    pub unnamed: usize,
}

/// What one peer has stated of itself, in one namespace. Three contexts at most, most of them shared with the bases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stated {
    /// A whole context of it, durable there.
    whole: Option<Arc<Base>>,
    /// That of its last pull, and our log head when it came: whole, and durable once a later position is
    /// acknowledged.
    pulled: Option<(Arc<Base>, u64)>,
}

impl Stated {
    /// The peer held exactly this at one moment, and it is durable there. True if that is news.
    fn holds(&mut self, context: Arc<Base>) -> bool {
        // Frames overtake each other; a life only learns, so the larger context is the later one.
        let later = self.whole.as_ref().is_none_or(|whole| {
            whole.id() != context.id() && whole.columns().iter().all(|(id, seq)| *seq <= context.get(*id))
        });
        if later {
            self.whole = Some(context);
        }
        later
    }

    /// The peer has stated this in a pull that came when our log head was `head`.
    pub(super) fn pulled(&mut self, context: Arc<Base>, head: u64) {
        self.pulled = Some((context, head));
    }

    /// The peer holds our log up to `hi`. True if a context of it is durable now that was not known to be.
    pub(super) fn acked(&mut self, hi: u64) -> bool {
        self.pulled.take_if(|(_, head)| hi > *head).is_some_and(|(context, _)| self.holds(context))
    }
}

/// How a namespace stood at the last cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cleaned {
    head: u64,
    stated: u64,
    /// Marks, or floors of retired owners, were left that were not stable.
    marked: bool,
}

impl Node {
    /// Says who the other members are besides the peers that were met. Replaces what was said before.
    ///
    /// A member that is not listed and has not been met is none, so that an add of it may come back that was
    /// concurrent with a remove: list all.
    pub fn set_members(&mut self, members: Members) {
        if self.members != members {
            self.members = members;
            self.stated += 1;
        }
    }

    /// Forgets a peer that is gone for good, and with it how far it has this node's log: it is no member any more.
    /// If it comes back all the same it is met anew. False if it is connected, or was not known.
    pub fn forget(&mut self, peer: NodeId) -> bool {
        if self.peers.get(&peer).is_some_and(|peer| peer.connected) {
            return false;
        }
        let gone = self.peers.remove(&peer);
        let mut known = gone.is_some();
        self.stats_gone += gone.map(|gone| gone.stats).unwrap_or_default();
        let mut held = false;
        for space in self.spaces.values_mut() {
            held |= space.forget_inbound(&peer);
        }
        if held {
            self.step_on();
        }
        known |= self.members.nodes.remove(&peer) | held;
        self.forget_breaker(peer);
        self.stated += u64::from(known);
        self.overlay.is_stale = true;
        self.fill_due = true;
        known
    }

    /// Every member besides this node.
    pub(super) fn other_members(&self) -> BTreeSet<NodeId> {
        let met = |(node, peer): (&NodeId, &Peer)| {
            let counts =
                peer.connected || (peer.incarnation.is_some() && !mutant::is(Mutant::AwayIsNoMember));
            counts.then_some(*node)
        };
        let mut members: BTreeSet<NodeId> = self.peers.iter().filter_map(met).collect();
        if !mutant::is(Mutant::AwayIsNoMember) {
            members.extend(&self.members.nodes);
            members.extend(self.spaces.values().flat_map(|space| space.inbound.keys()));
        }
        members.remove(&self.config.node);
        members
    }

    /// `peer` held `context` whole at one moment, durable.
    pub(super) fn note_whole(&mut self, peer: NodeId, namespace: NamespaceId, context: Arc<Base>) {
        self.stated += u64::from(self.link_mut(peer, namespace).stated.holds(context));
    }

    /// `peer` has acknowledged our log up to `hi`.
    pub(super) fn note_acked(&mut self, peer: NodeId, namespace: NamespaceId, hi: u64) {
        self.stated += u64::from(self.link_mut(peer, namespace).stated.acked(hi));
    }

    /// The `K` of every other member in `namespace`; `None` while one of them has none that is known here.
    pub(super) fn stated_by_all(&self, namespace: NamespaceId) -> Option<Vec<Arc<Base>>> {
        let context = self.spaces[&namespace].store.context();
        let whole = |link: &Link| {
            if mutant::is(Mutant::ToldTakenForHeld) {
                return Some(Arc::new(Base::of(&link.told)));
            }
            if mutant::is(Mutant::KnownTakenForWhole) {
                return Some(Arc::new(Base::of(&link.known)));
            }
            let is_known =
                |whole: &&Arc<Base>| whole.columns().iter().all(|(id, seq)| *seq <= context.get(*id));
            let whole = link.stated.whole.as_ref();
            whole.filter(|whole| is_known(whole) || mutant::is(Mutant::StatedNotCovered)).cloned()
        };
        let of = |node: &NodeId| whole(self.peers.get(node)?.links.get(&namespace)?);
        let missing = self.forgotten || self.members.unnamed > 0;
        if mutant::is(Mutant::OneMemberIsEnough) {
            let stated: Vec<Arc<Base>> = self.other_members().iter().filter_map(of).take(1).collect();
            return (!stated.is_empty()).then_some(stated);
        }
        if missing && !mutant::is(Mutant::AwayIsNoMember) {
            return None;
        }
        self.other_members().iter().map(of).collect()
    }

    pub(super) fn needs_cleanup(&self) -> bool {
        self.spaces.iter().filter(|(_, space)| space.is_open).any(|(namespace, space)| {
            let Some(last) = self.cleaned.get(namespace) else { return !space.store.context().is_empty() };
            last.head != space.store.log_head() || (last.marked && last.stated != self.stated)
        })
    }

    /// Once in a while, ends own counter floors and marks of remove-wins sets that nothing can meet any more.
    pub(super) fn cleanup(&mut self, now: Now) {
        if self.cleanup_at > now.mono || !self.needs_cleanup() {
            return;
        }
        // Drawn, so that not all nodes end the same marks in the same instant: one event is enough.
        self.cleanup_at = now.mono + self.jittered(self.config.timing.cleanup_interval);
        for namespace in self.namespaces().collect::<Vec<_>>() {
            for stale in counter::stale_floors(&self.spaces[&namespace].store, self.owner) {
                // A limit met here costs nothing: the floors stay, and are tried again.
                drop(self.write(now, namespace, |group| counter::collect_floors(group, &stale, |_| true)));
            }
            let marked = self.end_retired_floors(now, namespace) | self.end_stable_marks(now, namespace);
            let head = self.spaces[&namespace].store.log_head();
            self.cleaned.insert(namespace, Cleaned { head, stated: self.stated, marked });
        }
    }

    /// Ends the marks that are stable; true if others are left.
    fn end_stable_marks(&mut self, now: Now, namespace: NamespaceId) -> bool {
        let marked = rw_set::marked_sets(&self.spaces[&namespace].store);
        if marked.is_empty() || self.is_unsound(namespace) {
            return !marked.is_empty();
        }
        let Some(stated) = self.stated_by_all(namespace) else { return true };
        let is_stable = |dot: Dot| stated.iter().all(|whole| dot.seq <= whole.get(dot.replica));
        for set in &marked {
            let mut cells_max = CELLS_PER_EVENT;
            while cells_max > 0 {
                let ended = self.write(now, namespace, |group| set.collect(group, cells_max, is_stable));
                let Ok((ended, written)) = ended else {
                    // Long elements: fewer of them fit into a group.
                    cells_max /= 4;
                    continue;
                };
                let Some(dot) = written.last else { break };
                let rw_set::Collected { marks, paths } = ended;
                let object = set.object().clone();
                self.event(Event::MarksEnded { namespace, dot, object, paths, marks });
            }
        }
        !rw_set::marked_sets(&self.spaces[&namespace].store).is_empty()
    }
}
