//! What the node does with connections and frames: one method an arm of the protocol.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::peer::{Link, Peer};
use super::settle::Giver;
use super::{Cause, DisconnectReason, Event, Node, Output, RepairedBy};
use crate::breaker::Failure;
use crate::causal::CausalContext;
use crate::cell::Hlc;
use crate::dictionary::{Base, Version};
use crate::error::FrameError;
use crate::fragment::{Claims, Fragment};
use crate::id::{Dot, NamespaceId, NodeId, ReplicaId};
use crate::message::{Ack, Frame, Give, Hello, Part, Pull, Push, Route};
use crate::mutant::{self, Mutant};
use crate::session::{Asked, Sketching, Staged, Staging};
use crate::store::{Joined, Learned, Store};
use crate::time::{Now, WallMillis};

impl Node {
    pub(super) fn on_connected(&mut self, now: Now, peer: NodeId) {
        if peer == self.config.node {
            return self.disconnect(peer, DisconnectReason::OwnIdentity);
        }
        if self.damaged {
            return self.disconnect(peer, DisconnectReason::Damaged);
        }
        if self.is_shut_out(peer) {
            let why = self.why_shut_out(peer);
            return self.disconnect(peer, why);
        }
        if !self.peers.contains_key(&peer) && !self.make_room_for_peer() {
            let max = self.config.limits.peers_max;
            return self.disconnect(peer, DisconnectReason::PeersFull { max });
        }
        if self.peers.get(&peer).is_some_and(|peer| peer.connected) {
            self.on_disconnected(now, peer);
        }
        let state = self.peers.entry(peer).or_default();
        state.connected = true;
        state.introduced = false;
        state.seen_at = now.mono;
        state.hello_due = Some(true);
        self.peer_linked(now, peer);
    }

    /// Forgets the peer that has been away longest, if all places are taken; false if all are up.
    ///
    /// What is forgotten is a cursor: that peer comes back by a session. And what it may hold: nothing that waits for
    /// all members ends any more in this life.
    fn make_room_for_peer(&mut self) -> bool {
        if self.peers.len() < self.config.limits.peers_max {
            return true;
        }
        let away = self.peers.iter().filter(|(_, peer)| !peer.connected);
        let Some(oldest) = away.min_by_key(|(node, peer)| (peer.seen_at, **node)).map(|(node, _)| *node)
        else {
            return false;
        };
        let gone = self.peers.remove(&oldest).expect("it was just found");
        self.forgotten |= gone.incarnation.is_some();
        self.stats_gone += gone.stats;
        for space in self.spaces.values_mut() {
            space.forget_inbound(&oldest);
        }
        true
    }

    pub(super) fn on_disconnected(&mut self, now: Now, peer: NodeId) {
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.connected) else { return };
        state.connected = false;
        state.introduced = false;
        state.has_chosen_us = true;
        self.overlay.is_stale = true;
        state.seen_at = now.mono;
        (state.hello_due, state.hello_owed, state.untold) = (None, false, false);
        state.hello_at = None;
        (state.outboxes, state.paced_until) = (Default::default(), None);
        state.trace = None;
        state.links.values_mut().for_each(Link::disconnected);
        self.held.drop_for(peer);
        self.crowd.gone(peer);
        self.outputs.retain(|output| !matches!(output, Output::Send { to, .. } if *to == peer));
        self.staging.take_if(|(from, ..)| *from == peer);
        self.heal_without(peer);
        self.close_all_inbound(peer);
        // Another pull may have waited for this one.
        self.fill_due = true;
        self.event(Event::PeerDown { peer });
        self.peer_lost(now, peer);
    }

    pub(super) fn disconnect(&mut self, peer: NodeId, reason: DisconnectReason) {
        self.outputs.push_back(Output::Disconnect { peer, reason });
    }

    pub(super) fn on_frame(&mut self, now: Now, peer: NodeId, frame: Frame, len: usize) {
        let shut_out = self.is_shut_out(peer);
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.connected && !shut_out) else {
            return;
        };
        state.stats.frames_received += 1;
        state.stats.bytes_received += len as u64;
        self.meter.count_received(frame.kind(), len);
        self.peer_heard(now, peer);
        self.note_answer(now, peer, &frame);
        let outcome = match frame {
            Frame::Hello(hello) => {
                self.on_hello(now, peer, &hello);
                Ok(())
            }
            Frame::Root(route, root) => self.routed(peer, route, |node| node.on_root(now, peer, route, root)),
            Frame::Open(route, open) => {
                self.routed(peer, route, |node| node.on_open(now, peer, route, &open))
            }
            Frame::Push(route, push) => self.routed(peer, route, |node| {
                node.open_is_pushed(peer, route.namespace);
                node.on_push(now, peer, route, &push)
            }),
            Frame::Ack(route, ack) => self.routed(peer, route, |node| node.on_ack(now, peer, route, &ack)),
            Frame::Pull(route, pull) => self.routed(peer, route, |node| node.on_pull(peer, route, pull)),
            Frame::Give(route, give) => self.routed(peer, route, |node| node.on_give(now, peer, route, give)),
            Frame::Part(route, part) => self.routed(peer, route, |node| node.on_part(now, peer, route, part)),
            Frame::More(route, more) => self.routed(peer, route, |node| node.on_more(peer, route, more)),
            Frame::Symbols(route, symbols) => {
                self.routed(peer, route, |node| node.on_symbols(now, peer, route, symbols))
            }
            Frame::Nodes(route, question) => {
                self.routed(peer, route, |node| node.on_nodes(peer, route, question))
            }
            Frame::NodesFound(route, answer) => {
                self.routed(peer, route, |node| node.on_nodes_found(now, peer, route, &answer))
            }
            Frame::Inspect(route, inspect) => {
                self.routed(peer, route, |node| node.on_inspect(peer, route, inspect))
            }
            Frame::Inspected(route, inspected) => {
                self.routed(peer, route, |node| node.on_inspected(now, peer, route, inspected))
            }
            Frame::Survey(route, survey) => {
                self.routed(peer, route, |node| node.on_survey(peer, route, survey))
            }
            Frame::Quote(route, quote) => self.routed(peer, route, |node| node.on_quote(peer, route, *quote)),
            Frame::Skeleton(route, skeleton) => {
                self.routed(peer, route, |node| node.on_skeleton(now, peer, route, *skeleton))
            }
            Frame::Payloads(route, payloads) => {
                self.routed(peer, route, |node| node.on_payloads(now, peer, route, payloads))
            }
        };
        if let Err(error) = outcome {
            self.on_refused(now, peer, error);
        }
    }

    /// Drops what is for another incarnation of ours or from one that we do not know, and answers
    /// `Hello`: a cursor or session of one life means nothing to another (checked).
    fn routed(
        &mut self,
        peer: NodeId,
        route: Route,
        arm: impl FnOnce(&mut Self) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let for_us = route.to == self.replica;
        let state = self.peer_mut(peer);
        let known_sender = state.incarnation == Some(route.from);
        if (!for_us || !known_sender) && !mutant::is(Mutant::OtherLivesAccepted) {
            state.stats.frames_stale += 1;
            state.hello_due = Some(state.hello_due.unwrap_or(false) || !known_sender);
            return Ok(());
        }
        // Closed here or there while the frame was on its way: the other end hears of it, or has been told.
        let is_linked = self.peer_mut(peer).links.contains_key(&route.namespace);
        let Some(space) = self.spaces.get(&route.namespace).filter(|_| is_linked) else {
            self.peer_mut(peer).stats.frames_stale += 1;
            return Ok(());
        };
        // What the peer taught us and what it knows is left out of its frames, so that a life of ours that
        // was set back must not join one: it would lack what they build on.
        let (claimed, minted) = (route.known, space.store.context().get(self.replica));
        let heeded = !mutant::is(Mutant::SetBackUnnoticed) && !mutant::is(Mutant::NeverFenced);
        if claimed > minted && heeded {
            return Err(FrameError::OwnDots { claimed, minted });
        }
        arm(self)
    }

    pub(super) fn peer_mut(&mut self, peer: NodeId) -> &mut Peer {
        self.peers.get_mut(&peer).expect("frames are taken in from connected peers only")
    }

    pub(super) fn link_mut(&mut self, peer: NodeId, namespace: NamespaceId) -> &mut Link {
        self.peer_mut(peer).links.entry(namespace).or_default()
    }

    /// Bytes that are no frame, or one that only another life of ours or its sender could read.
    pub(super) fn on_malformed(&mut self, now: Now, peer: NodeId, error: FrameError) {
        let shut_out = self.is_shut_out(peer);
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.connected && !shut_out) else {
            return;
        };
        if error == FrameError::UnknownRoute {
            state.stats.frames_stale += 1;
            state.hello_due = Some(true);
        } else if let FrameError::UnknownBase { namespace, answer, .. } = error {
            state.stats.frames_stale += 1;
            // An answer is to a pull that is answered or given up; of anything else the whole is asked for.
            if let Some(link) = state.links.get_mut(&namespace).filter(|_| !answer) {
                link.session.whole_due = true;
                link.session.want_root(true);
            }
        } else {
            self.refuse(now, peer, error);
        }
    }

    fn on_refused(&mut self, now: Now, peer: NodeId, error: FrameError) {
        if let FrameError::OwnDots { claimed, minted } = error {
            self.refuse(now, peer, error);
            return self.fence(peer, claimed, minted);
        }
        self.refuse(now, peer, error);
    }

    fn on_hello(&mut self, now: Now, peer: NodeId, hello: &Hello) {
        if hello.node != peer {
            self.disconnect(peer, DisconnectReason::Impostor { claimed: hello.node, proven: peer });
            return self.peer_failed(now, peer, Failure::Violation);
        }
        if hello.cluster != self.config.cluster {
            let (theirs, ours) = (hello.cluster.clone(), self.config.cluster.clone());
            self.disconnect(peer, DisconnectReason::ClusterLabel { theirs, ours });
            return self.peer_unreached(now, peer, Failure::Refused);
        }
        let (theirs, ours) = (hello.versions, self.config.versions);
        let Some(version) = ours.newest_common(theirs) else {
            self.disconnect(peer, DisconnectReason::NoCommonVersion { theirs, ours });
            return self.peer_unreached(now, peer, Failure::Refused);
        };
        self.note_clock(now, peer, hello.clock);
        let incarnation = hello.incarnation;
        if let Err(error) = self.count_life(peer, incarnation) {
            return self.refuse(now, peer, error);
        }
        let returns = self.peers[&peer].incarnation == Some(incarnation) && !self.peers[&peer].introduced;
        if returns {
            self.crowd_returns(now);
        }
        let state = self.peer_mut(peer);
        if hello.wants_reply {
            state.hello_due = Some(state.hello_due.unwrap_or(false));
            state.hello_owed = true;
        }
        let fresh = !state.introduced;
        let reborn = state.incarnation != Some(incarnation);
        state.introduced = true;
        state.version = if mutant::is(Mutant::NewestAlwaysSpoken) { ours.max } else { version };
        if reborn {
            state.incarnation = Some(incarnation);
            state.met_at = now.mono;
            state.has_chosen_us = true;
        }
        if reborn && !mutant::is(Mutant::RebirthIgnored) {
            state.links.values_mut().for_each(|link| *link = Link::default());
        }
        self.on_namespaces(now, peer, hello, fresh || reborn);
        if fresh || reborn {
            // Who can ask in its first frame does so (`build_open`). Else one of the two begins, or both would ask
            // for the same repair. The other steps in if nothing comes.
            let begins = self.config.node < peer;
            let opens = self.peers[&peer].version >= Version::DIFFERENCES;
            let step_in = now.mono + self.jittered(self.config.timing.sync_timeout);
            for link in self.peer_mut(peer).links.values_mut() {
                if begins {
                    link.session.want_root(true);
                } else {
                    link.session.root_at.get_or_insert(step_in);
                }
                link.session.open_due = opens;
            }
            self.staging.take_if(|(from, ..)| *from == peer);
            self.overlay.is_stale = true;
            self.close_all_inbound(peer);
            // A pull to its former life may have kept others waiting.
            self.fill_due = true;
            self.event(Event::PeerUp { peer, incarnation });
        }
        self.note_trace(peer, hello.trace, fresh || reborn);
        if !hello.wants_reply {
            self.peer_answered(now, peer);
        }
    }

    pub(super) fn note_clock(&mut self, now: Now, peer: NodeId, theirs: WallMillis) {
        let ahead = i128::from(theirs.0) - i128::from(now.wall.0);
        let state = self.peer_mut(peer);
        state.clock_ahead_ms = i64::try_from(ahead).ok();
        state.clock = Some((now.mono, theirs));
        self.clock_heard(now);
    }

    /// The pull to `peer` is over: what was staged of an answer to it will not be completed. Another pull
    /// may have waited for this one.
    pub(super) fn pull_over(&mut self, peer: NodeId, namespace: NamespaceId) {
        self.link_mut(peer, namespace).session.pull_done();
        self.staging.take_if(|(from, of, _)| (*from, *of) == (peer, namespace));
        self.close_inbound(peer, namespace);
        self.fill_due = true;
    }

    /// Counts an exchange after which all that the peer then knew is known here.
    pub(super) fn exchanged(&mut self, peer: NodeId, namespace: NamespaceId) {
        self.exchanges += 1;
        self.link_mut(peer, namespace).session.exchange = self.exchanges;
    }

    fn on_push(&mut self, now: Now, peer: NodeId, route: Route, push: &Push) -> Result<(), FrameError> {
        let space = self.spaces.get(&route.namespace).expect("routed frames are of open namespaces");
        match space.inbound(peer, route.from) {
            Some(held) if push.hi <= held => {
                self.link_mut(peer, route.namespace).ack_due = true;
                Ok(())
            }
            Some(held)
                if push.lo <= held
                    || mutant::is(Mutant::LoUnchecked)
                    || mutant::is(Mutant::CursorMovedAtSend)
                    || mutant::is(Mutant::DeltasInAnyOrder) =>
            {
                let joined = self.join(now, peer, route, &push.fragment, BTreeSet::new());
                if matches!(joined, Err(FrameError::Gap { .. })) {
                    self.link_mut(peer, route.namespace).session.want_pull();
                }
                if mutant::is(Mutant::RefusedPushAcked) {
                    self.hold_up_to(peer, route, push.hi);
                }
                joined?;
                self.hold_up_to(peer, route, push.hi);
                // The sender knows what it pushed.
                let tops: Vec<_> = push.fragment.dots.tops().collect();
                let link = self.link_mut(peer, route.namespace);
                for (replica, seq) in tops {
                    link.known.advance(replica, seq);
                    // And the acknowledgement will say that it is known here.
                    link.told.advance(replica, seq);
                }
                Ok(())
            }
            // A push was lost or came early, or no cursor stands: the pull is the Nack.
            Some(_) | None => {
                self.link_mut(peer, route.namespace).session.want_pull();
                Ok(())
            }
        }
    }

    /// The log of `route.from` is held up to `position`; says so.
    fn hold_up_to(&mut self, peer: NodeId, route: Route, position: u64) {
        let space = self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces");
        if space.raise_inbound(peer, route.from, position) {
            self.step_on();
        }
        self.link_mut(peer, route.namespace).ack_due = true;
    }

    /// A link, and what is known in its namespace.
    fn link_and_context(&mut self, peer: NodeId, namespace: NamespaceId) -> (&mut Link, &CausalContext) {
        let Self { peers, spaces, .. } = self;
        let peer = peers.get_mut(&peer).expect("frames are taken in from connected peers only");
        let link = peer.links.entry(namespace).or_default();
        (link, spaces[&namespace].store.context())
    }

    fn on_ack(&mut self, now: Now, peer: NodeId, route: Route, ack: &Ack) -> Result<(), FrameError> {
        let (own, timing) = (self.replica, self.config.timing);
        let space = &self.spaces[&route.namespace];
        let (minted, head) = (space.store.context().get(own), space.store.log_head());
        let claimed = ack.known.get(own);
        if claimed > minted && !mutant::is(Mutant::NeverFenced) {
            return Err(FrameError::OwnDots { claimed, minted });
        }
        if let Some(hi) = ack.hi.filter(|hi| *hi > head) {
            return Err(FrameError::Field { field: "cursor", value: hi });
        }
        if !ack.known.is_empty() {
            self.crowd.heard((peer, route.namespace));
        }
        // A cursor begins with a session, so who holds the whole log knows all that is known here.
        let (link, ours) = self.link_and_context(peer, route.namespace);
        let all = (ack.hi == Some(head)).then_some(ours);
        link.session.answered = false;
        link.session.sketched.take_if(|sketched| ack.hi.is_some_and(|hi| hi >= sketched.head));
        link.knows(&ack.known, ours);
        let given = link.session.given.take_if(|given| ack.hi.is_some_and(|hi| hi >= given.head));
        given.into_iter().for_each(|given| link.known.join(&given.context));
        if let Some(hi) = ack.hi {
            link.cursor.on_ack(now.mono, hi, &timing);
        }
        if let Some(all) = all {
            link.known.join(all);
        }
        if let Some(hi) = ack.hi {
            self.note_acked(peer, route.namespace, hi);
        }
        Ok(())
    }

    fn on_pull(&mut self, peer: NodeId, route: Route, pull: Pull) -> Result<(), FrameError> {
        self.stated(peer, route, &pull.context)?;
        let store = &self.spaces[&route.namespace].store;
        // A later horizon is news like an event: this side asks back for it.
        let covered = store.context().covers(&pull.context) && pull.horizon <= store.horizon();
        self.asked(peer, route.namespace, Asked { context: pull.context, have: pull.have });
        let session = &mut self.link_mut(peer, route.namespace).session;
        session.listing_wanted = pull.listing;
        if covered {
            self.exchanged(peer, route.namespace);
        } else {
            session.want_pull();
        }
        Ok(())
    }

    /// The peer has stated what it knows, to build on.
    pub(super) fn stated(
        &mut self,
        peer: NodeId,
        route: Route,
        theirs: &CausalContext,
    ) -> Result<(), FrameError> {
        let store = &self.spaces[&route.namespace].store;
        let (claimed, minted) = (theirs.get(self.replica), store.context().get(self.replica));
        if claimed > minted && !mutant::is(Mutant::NeverFenced) {
            return Err(FrameError::OwnDots { claimed, minted });
        }
        let (stated, head) = (Arc::new(Base::of(theirs)), store.log_head());
        self.link_mut(peer, route.namespace).stated.pulled(stated.clone(), head);
        self.with_bases(peer, route.namespace, |bases, _| bases.pulled(stated));
        let (link, ours) = self.link_and_context(peer, route.namespace);
        link.knows(theirs, ours);
        Ok(())
    }

    /// The peer waits for an answer; of an earlier one it needs nothing more.
    pub(super) fn asked(&mut self, peer: NodeId, namespace: NamespaceId, asked: Asked) {
        let session = &mut self.link_mut(peer, namespace).session;
        session.give_due = Some(asked);
        session.listing_wanted = false;
        session.sketched = None;
        (session.giving, session.giving_items) = (None, None);
    }

    fn on_give(&mut self, now: Now, peer: NodeId, route: Route, give: Give) -> Result<(), FrameError> {
        self.pull_over(peer, route.namespace);
        if give.fragment.context().is_none() {
            return Err(FrameError::Field { field: "claims", value: 0 });
        }
        if let Claims::Sketch { answer, symbols, .. } = &give.fragment.claims {
            let (answer, symbols, memory) = (*answer, symbols.clone(), give.fragment.memory());
            return self.on_sketch(now, peer, route, Sketching { answer, give, symbols, tries: 0, memory });
        }
        let joined = self.join(now, peer, route, &give.fragment, BTreeSet::new());
        self.answered(now, peer, route, &give, joined)
    }

    /// An answer has been joined, or refused.
    pub(super) fn answered(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        give: &Give,
        joined: Result<Joined, FrameError>,
    ) -> Result<(), FrameError> {
        self.pull_over(peer, route.namespace);
        let fragment = &give.fragment;
        let theirs = fragment.context().expect("an answer without a context is refused before");
        if matches!(joined, Err(FrameError::Gap { .. })) {
            self.link_mut(peer, route.namespace).session.want_pull();
        }
        let joined = joined?;
        self.note_latency(now, peer, route.namespace);
        self.hold_up_to(peer, route, give.head);
        self.note_whole(peer, route.namespace, Arc::new(Base::of(theirs)));
        let (link, ours) = self.link_and_context(peer, route.namespace);
        link.knows(theirs, ours);
        // The giver knows what whoever acknowledges its answer knows.
        link.needs_not_hear(theirs, ours);
        link.bases.answered();
        // Whoever pulled from us as well will acknowledge that answer; nobody else gives us a cursor.
        if link.cursor.acked().is_none() && !link.session.answered {
            link.session.want_root(true);
        }
        self.exchanged(peer, route.namespace);
        self.compare_with(now, peer, route.namespace, give);
        let by = match &fragment.claims {
            Claims::None | Claims::Cells { .. } => RepairedBy::Records,
            Claims::Sketch { .. } => RepairedBy::Sketch,
            Claims::Whole { .. } => RepairedBy::Listing,
        };
        let stats = &mut self.peer_mut(peer).stats;
        stats.sessions += 1;
        stats.fallbacks += u64::from(by != RepairedBy::Records);
        stats.sketches += u64::from(by == RepairedBy::Sketch);
        let (namespace, items) = (route.namespace, joined.items_new);
        self.event(Event::SessionDone { peer, namespace, items, by });
        Ok(())
    }

    /// T8: who knows the same events as the giver at its snapshot holds the same state, or one of both is
    /// damaged, cloned or wrong.
    pub(super) fn compare(&mut self, now: Now, namespace: NamespaceId, with: &Giver) {
        let space = self.spaces.get_mut(&namespace).expect("routed frames are of open namespaces");
        if with.context != *space.store.context() || with.horizon != space.store.horizon() {
            return;
        }
        let peer = with.peer;
        let diverged = space.store.root() != with.root;
        let link = self.link_mut(peer, namespace);
        let alarm = diverged && !std::mem::replace(&mut link.diverged, diverged);
        if alarm && !mutant::is(Mutant::AlarmNotRaised) {
            self.event(Event::Diverged { peer, namespace });
        }
        if diverged {
            self.heal(now, peer, namespace);
        }
    }

    fn on_part(&mut self, now: Now, peer: NodeId, route: Route, part: Part) -> Result<(), FrameError> {
        let timeout = self.config.timing.sync_timeout;
        let whose = (peer, route.namespace);
        match &self.staging {
            Some((from, namespace, _)) if (*from, *namespace) != whose => {
                // One long answer at a time; this peer is asked again when its pull is overdue.
                return Ok(());
            }
            Some((.., staging)) if staging.repeats(&part) => return Ok(()),
            Some((.., staging)) if staging.continues(&part) => {}
            Some(_) | None => {
                if !self.link_mut(peer, route.namespace).session.is_pulling() {
                    // A late copy: nobody waits for this answer, and nobody would finish it.
                    return Ok(());
                }
                let Some(staging) = Staging::begin(&part, &self.config.limits) else {
                    self.staging = None;
                    let max = self.config.limits.staging_bytes_max as u64;
                    return if part.total > max {
                        Err(FrameError::Staging { field: "answer", count: part.total, max })
                    } else {
                        // A part was lost on the way: the pull will be asked again.
                        Ok(())
                    };
                };
                self.staging = Some((peer, route.namespace, staging));
            }
        }
        self.link_mut(peer, route.namespace).session.progressed(now.mono, timeout);
        let (.., staging) = self.staging.as_mut().expect("an answer is staged, just above");
        match staging.add(part) {
            Staged::More => Ok(()),
            Staged::Broken => {
                self.staging = None;
                Err(FrameError::Field { field: "slice", value: 0 })
            }
            Staged::Complete(bytes) => {
                self.staging = None;
                match Frame::decode_staged(&bytes, &self.reads(peer), &self.config.limits)? {
                    Frame::Give(inner, give) if Route { known: route.known, ..inner } == route => {
                        self.on_give(now, peer, route, give)
                    }
                    Frame::Skeleton(inner, skeleton) if Route { known: route.known, ..inner } == route => {
                        self.on_skeleton(now, peer, route, *skeleton)
                    }
                    Frame::Hello(_)
                    | Frame::Root(..)
                    | Frame::Push(..)
                    | Frame::Ack(..)
                    | Frame::Pull(..)
                    | Frame::Give(..)
                    | Frame::Part(..)
                    | Frame::More(..)
                    | Frame::Symbols(..)
                    | Frame::Nodes(..)
                    | Frame::NodesFound(..)
                    | Frame::Inspect(..)
                    | Frame::Inspected(..)
                    | Frame::Survey(..)
                    | Frame::Quote(..)
                    | Frame::Skeleton(..)
                    | Frame::Payloads(..)
                    | Frame::Open(..) => Err(FrameError::Field { field: "parts of an answer", value: 0 }),
                }
            }
        }
    }

    /// Joins a fragment from `peer`, or refuses it whole. `dead` is what a sketch found to be dead there.
    pub(super) fn join(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        fragment: &Fragment,
        dead: BTreeSet<Dot>,
    ) -> Result<Joined, FrameError> {
        let newest = fragment.cells.iter().flat_map(|part| &part.items).map(|item| item.hlc).max();
        let clamped;
        let fragment = if mutant::is(Mutant::HorizonClamped) {
            let bound = now.wall.0.saturating_add(self.config.timing.drift_max.as_millis());
            let horizon = WallMillis(fragment.horizon.0.min(bound));
            clamped = Fragment { horizon, ..fragment.clone() };
            &clamped
        } else {
            fragment
        };
        let twin = self.twin_in(route.namespace, fragment);
        let joined = self.joining(now, peer, route, fragment.horizon, newest, |store, learned| {
            store.join_judged(fragment, dead, learned)
        })?;
        if let Some(twin) = twin {
            self.leave_owner(peer, route.namespace, twin);
        }
        Ok(joined)
    }

    /// What every join brings with it: the guard of the horizon before, clocks, counts and events after.
    pub(super) fn joining(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        horizon: WallMillis,
        newest: Option<Hlc>,
        join: impl FnOnce(&mut Store, Learned) -> Result<Joined, FrameError>,
    ) -> Result<Joined, FrameError> {
        let drift_ms = self.config.timing.drift_max.as_millis();
        let ahead_ms = horizon.0.saturating_sub(now.wall.0);
        if ahead_ms > drift_ms {
            return Err(FrameError::ClockAhead { ahead_ms, max_ms: drift_ms });
        }
        let learned = self.learned(route.namespace, Some(route.from));
        let space = self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces");
        let joined = match join(&mut space.store, learned) {
            Ok(joined) => joined,
            Err(FrameError::Ceiling { bytes, after, max }) => {
                let namespace = route.namespace;
                self.event(Event::Degraded { namespace, bytes, after, max });
                return Err(FrameError::Ceiling { bytes, after, max });
            }
            Err(error) => return Err(error),
        };
        if let Some(newest) = newest {
            space.hlc = space.hlc.observe(newest, now.wall, drift_ms);
        }
        let stats = &mut self.peer_mut(peer).stats;
        stats.items_new += joined.items_new;
        stats.items_known += joined.items_known;
        stats.conflicts += joined.conflicts;
        stats.ends_spared += joined.spared;
        if let Some(newest) = newest.filter(|_| joined.items_new > 0) {
            self.peer_mut(peer).arrival_lag_ms = Some(now.wall.0.saturating_sub(newest.wall().0));
        }
        if joined.spared > 0 {
            // What it lost, or we hold for no reason, is the next roots' to judge.
            self.link_mut(peer, route.namespace).session.want_root(true);
        }
        if joined.state_changed {
            self.step_on();
        }
        self.changed(route.namespace, Cause::Remote { peer }, joined.changed.tops());
        Ok(joined)
    }

    fn learned(&self, namespace: NamespaceId, from: Option<ReplicaId>) -> Learned {
        let own_minted = self.spaces[&namespace].store.context().get(self.replica);
        Learned { own: self.replica, own_minted, from }
    }
}
