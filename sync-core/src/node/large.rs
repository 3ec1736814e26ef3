//! Large answers at the node: the arms of their frames, and the frames themselves.

use super::fill::Shows;
use super::{Event, Node};
use crate::dictionary::Version;
use crate::error::FrameError;
use crate::id::{NamespaceId, NodeId};
use crate::large::Inbound;
use crate::message::{Dialect, Frame, Give, PAYLOADS_OVERHEAD, Payloads, Pull, Route, Skeleton};
use crate::mutant::{self, Mutant};
use crate::session::{Asked, Given, Giving};
use crate::store::NextItems;
use crate::time::Now;

/// Bytes that a frame of items is filled up to. What a cut takes is at most the frames under way, and a receiver
/// decodes one while the next comes. Measured: `docs/decisions/0012-cold-starts.md`.
const ITEMS_BYTES: usize = 64 << 10;

/// Bytes of frames that wait for a peer from which on no frame of items is built: one is written while the next is
/// built, and what else is due finds room.
const ITEMS_AHEAD_BYTES: usize = 512 << 10;

impl Node {
    // Receiving.

    pub(super) fn on_skeleton(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        skeleton: Skeleton,
    ) -> Result<(), FrameError> {
        let namespace = route.namespace;
        if !self.link_mut(peer, namespace).session.is_pulling() {
            // A late copy: nobody waits for this answer.
            return Ok(());
        }
        let context = self.spaces[&namespace].store.context();
        let known_of_us = skeleton.fragment.context().map_or(0, |context| context.get(self.replica));
        let claimed = skeleton.fragment.dots.top(self.replica).max(known_of_us);
        let minted = context.get(self.replica);
        if claimed > minted && !mutant::is(Mutant::NeverFenced) {
            return Err(FrameError::OwnDots { claimed, minted });
        }
        if self.inbound.as_ref().is_some_and(|inbound| inbound.is_open() && !inbound.is_from(peer, namespace))
        {
            // One large answer at a time: this peer is asked again when that one is in.
            let session = &mut self.link_mut(peer, namespace).session;
            session.pull_done();
            session.want_pull();
            return Ok(());
        }
        if let Some(inbound) = &self.inbound {
            let overtaken = inbound.of == route.from && skeleton.answer <= inbound.skeleton.answer;
            if inbound.is_from(peer, namespace) && overtaken {
                return Ok(());
            }
        }
        let before = self.inbound.take().filter(|before| before.namespace == namespace);
        let inbound = Inbound::begin((peer, namespace, route.from), skeleton, context, before);
        self.peer_mut(peer).stats.items_resumed += inbound.progress().0;
        self.inbound = Some(inbound);
        self.advanced(now, peer, route)
    }

    pub(super) fn on_payloads(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        payloads: Payloads,
    ) -> Result<(), FrameError> {
        let (whose, limits) = ((peer, route.namespace), &self.config.limits);
        let inbound = self.inbound.as_mut().filter(|inbound| inbound.is_from(whose.0, whose.1));
        let Some(inbound) = inbound.filter(|inbound| inbound.of == route.from) else {
            // Of an answer that is over, or whose skeleton did not come: it is asked for again.
            return Ok(());
        };
        if payloads.gone {
            return self.on_gone(now, peer, route, payloads.answer);
        }
        match inbound.stage(payloads, limits) {
            Ok(0) => Ok(()),
            Ok(_) => self.advanced(now, peer, route),
            Err(FrameError::Staging { field, count, max }) => {
                self.inbound = None;
                self.pull_over(peer, route.namespace);
                Err(FrameError::Staging { field, count, max })
            }
            Err(error) => Err(error),
        }
    }

    /// The giver could not keep all items of its snapshot: pulls again with what is here.
    fn on_gone(&mut self, now: Now, peer: NodeId, route: Route, answer: u64) -> Result<(), FrameError> {
        if mutant::is(Mutant::GoneJoined) {
            return self.join_inbound(now, peer, route);
        }
        if self.inbound.as_ref().is_some_and(|inbound| inbound.skeleton.answer == answer) {
            self.pull_over(peer, route.namespace);
            self.link_mut(peer, route.namespace).session.want_pull();
        }
        Ok(())
    }

    /// The inbound answer has come further: tells of it, and joins it if it is complete.
    fn advanced(&mut self, now: Now, peer: NodeId, route: Route) -> Result<(), FrameError> {
        let (timeout, namespace) = (self.config.timing.sync_timeout, route.namespace);
        self.link_mut(peer, namespace).session.progressed(now.mono, timeout);
        let inbound = self.inbound.as_ref().expect("an answer is inbound, the callers have just added to it");
        let ((items, items_total), complete) = (inbound.progress(), inbound.is_complete());
        self.event(Event::Bootstrap { peer, namespace, items, items_total });
        if complete { self.join_inbound(now, peer, route) } else { Ok(()) }
    }

    fn join_inbound(&mut self, now: Now, peer: NodeId, route: Route) -> Result<(), FrameError> {
        let inbound = self.inbound.take().expect("an answer is inbound, the callers have just looked at it");
        self.pull_over(peer, route.namespace);
        let newest = inbound.newest();
        let (Skeleton { head, root, live, fragment, .. }, runs) = inbound.into_parts();
        let known = self.spaces[&route.namespace].store.context().clone();
        let joined = self.joining(now, peer, route, fragment.horizon, newest, |store, learned| {
            store.join_staged(&fragment, &live, runs, learned)
        });
        if joined.is_ok()
            && let Some(twin) = self.twin_held(route.namespace, &known)
        {
            self.leave_owner(peer, route.namespace, twin);
        }
        self.answered(now, peer, route, &Give { head, root, fragment }, joined)
    }

    /// Nothing more comes of the answer that `peer` gives in `namespace`; what is staged waits, if it is needed.
    pub(super) fn close_inbound(&mut self, peer: NodeId, namespace: NamespaceId) {
        let Self { inbound, spaces, .. } = self;
        if let Some(inbound) = inbound.as_mut().filter(|inbound| inbound.is_from(peer, namespace)) {
            inbound.close();
        }
        inbound.take_if(|inbound| {
            let context = spaces[&inbound.namespace].store.context();
            !inbound.is_open() && inbound.is_spent(context)
        });
    }

    /// As [`Self::close_inbound`], in whichever namespace.
    pub(super) fn close_all_inbound(&mut self, peer: NodeId) {
        if let Some(namespace) = self.inbound.as_ref().map(|inbound| inbound.namespace) {
            self.close_inbound(peer, namespace);
        }
    }

    /// What a pull says that is staged already, as far as its frame has room.
    pub(super) fn with_have(&self, peer: NodeId, route: &Route, mut pull: Pull, dialect: &Dialect) -> Pull {
        let inbound = self.inbound.as_ref().filter(|inbound| inbound.namespace == route.namespace);
        if let Some(inbound) = inbound
            && self.peers[&peer].version >= Version::DIFFERENCES
        {
            let len = Frame::Pull(*route, pull.clone()).encode(dialect).len();
            let room = self.config.limits.message_bytes_max.saturating_sub(len);
            pull.have = inbound.have(route.to, room);
        }
        pull
    }

    // Sending.

    /// Answers with a skeleton; the items follow frame by frame. Gives back how many there are.
    pub(super) fn open_answer(&mut self, peer: NodeId, namespace: NamespaceId, asked: &Asked) -> u64 {
        let route = self.route(peer, namespace);
        self.answers += 1;
        let answer = self.answers;
        let mut have = asked.have.clone();
        if mutant::is(Mutant::HaveOfAnotherLife) {
            let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
            state.had.union(&have);
            have = state.had.clone();
        }
        let base = self.link(peer, namespace).bases.of_answer();
        let store = &mut self.spaces.get_mut(&namespace).expect("links are of open namespaces").store;
        let (root, mut head) = (store.root(), store.log_head());
        if mutant::is(Mutant::GiveHeadAhead) {
            head += 1;
        }
        let (fragment, live) = store.open_answer(answer, &asked.context, &have);
        let context = store.context().clone();
        let memory = fragment.skeleton_memory(&live);
        let items = live.len();
        let frame = Frame::Skeleton(route, Box::new(Skeleton { answer, head, root, live, fragment }));
        let bytes = frame.encode(&Dialect { version: self.peers[&peer].version, base });
        let long = self.is_too_long(&bytes, memory);
        let stats = &mut self.peers.get_mut(&peer).expect("the caller took it from the map").stats;
        stats.answers += 1;
        stats.large_answers += 1;
        let link = self.link(peer, namespace);
        link.told.join(&context);
        link.session.answered = true;
        link.session.given = Some(Given { head, context });
        link.session.giving_items = Some(answer);
        link.session.sketched = None;
        if long {
            link.session.giving = Some(Giving { answer, bytes, at: 0, head });
        } else {
            self.send_bytes(peer, self.class(namespace), bytes, Shows::State);
        }
        items
    }

    /// Builds the next frame of items of a large answer; false if there is none.
    pub(super) fn build_payloads(&mut self, peer: NodeId, namespace: NamespaceId) -> bool {
        if self.is_unsound(namespace) || self.outbox(peer, namespace).bytes() >= ITEMS_AHEAD_BYTES {
            return false;
        }
        let session = &mut self.link(peer, namespace).session;
        let Some(answer) = session.giving_items.filter(|_| session.giving.is_none()) else { return false };
        let room = self.config.limits.message_bytes_max.min(ITEMS_BYTES).saturating_sub(PAYLOADS_OVERHEAD);
        let store = &mut self.spaces.get_mut(&namespace).expect("links are of open namespaces").store;
        let items = match store.next_items(answer, room) {
            NextItems::Items(items) => Some(items),
            NextItems::Gone => None,
            NextItems::Done => {
                self.link(peer, namespace).session.giving_items = None;
                return false;
            }
        };
        let route = self.route(peer, namespace);
        let Some(items) = items else {
            let gone = Frame::Payloads(route, Payloads { answer, gone: true, items: Vec::new() });
            self.send(peer, namespace, &gone, Shows::State);
            return true;
        };
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        state.stats.payload_frames += 1;
        state.stats.deltas_sent += items.dots().len();
        let bytes = Frame::encode_items(&route, state.version, answer, &items);
        self.send_bytes(peer, self.class(namespace), bytes, Shows::State);
        true
    }

    /// Drops the large answers on which no session goes on.
    pub(super) fn close_answers(&mut self) {
        let Self { spaces, peers, .. } = self;
        for (namespace, space) in spaces.iter_mut().filter(|(_, space)| space.store.has_answers()) {
            let links = || peers.values().filter_map(|peer| peer.links.get(namespace));
            let giving: Vec<u64> = links().filter_map(|link| link.session.giving_items).collect();
            space.store.keep_answers(|answer| giving.contains(&answer));
        }
    }

    /// True if what `peer` asks for goes as a large answer: what does not fit into a frame, and to a newcomer what would
    /// be more than one frame of items, since building one, writing it and staging another then overlap.
    pub(super) fn wants_large(&self, peer: NodeId, namespace: NamespaceId, asked: &Asked) -> bool {
        let frame = self.config.limits.message_bytes_max;
        let max = if asked.context.is_empty() { frame.min(ITEMS_BYTES) } else { frame };
        let store = &self.spaces[&namespace].store;
        self.peers[&peer].version >= Version::DIFFERENCES
            && (!asked.have.is_empty() || store.is_large(&asked.context, max))
    }
}
