//! How a round begins: by a root, or on a new connection by an open of both ends at once.
//!
//! ```text
//! A  -- Open(state, context) -> <- Open(state, context) --  B    equal: done, each has confirmed the other
//! A  <- Give ------------------------------------ Give ->  B    who lacks something gets it, once
//! ```
//!
//! An [`Open`] is a root and a pull in one, so that a repair takes one round trip whichever end has news. Four
//! things make it cost no more than what it replaces:
//!
//! - it is sent only if it is short ([`OPEN_BYTES_MAX`]) and a pull could be sent too; else the node with the lower
//!   id begins with a `Root`, as between nodes of version 1;
//! - it is not answered by who knows nothing that the other lacks and has opened as well: that its context is part
//!   of the other's says so to both;
//! - nor by who has pushes under way on this connection: they carry the same. Whoever waits is told so by a
//!   push, whether it can be joined or not;
//! - equal states are confirmed by the open of the other end, and by a `Root` only if that told of another state.
//!
//! Wherever these meet a loss, the open is asked again as a pull when `sync_timeout` is over.

use super::fill::Shows;
use super::{Node, NodeId};
use crate::dictionary::Version;
use crate::error::FrameError;
use crate::id::NamespaceId;
use crate::limits::Timing;
use crate::message::{Frame, Open, Root, Route};
use crate::mutant::{self, Mutant};
use crate::session::Asked;
use crate::time::Now;

/// Longest open, in bytes; about twenty-five columns over a base. Two that are equal have said in vain what
/// they know, so that a context of hundreds of unknown incarnations is left to a pull.
const OPEN_BYTES_MAX: usize = 160;

impl Node {
    // Sending.

    /// Begins a connection by saying what is known here and asking for the rest, if that is short.
    pub(super) fn build_open(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let Timing { sync_timeout, .. } = self.config.timing;
        if self.is_settling(namespace) {
            return false;
        }
        if !self.link(peer, namespace).session.open_due {
            return false;
        }
        // In a crowd nobody is asked for what will be pushed.
        let may_open = self.crowd.until().is_none() && self.may_open(peer, namespace);
        if may_open && !self.may_hash(now, peer, namespace) {
            return false;
        }
        self.link(peer, namespace).session.open_due = false;
        if !may_open {
            return false;
        }
        let route = self.route(peer, namespace);
        let (behind, neighbour) = self.says_of_link(peer, namespace);
        let store = &mut self.spaces.get_mut(&namespace).expect("links are of open namespaces").store;
        let context = store.context().clone();
        let state = store.state_id().half();
        let (head, horizon) = (store.log_head(), store.horizon());
        let open = Open { state, head, horizon, behind, neighbour, context: context.clone() };
        let bytes = Frame::Open(route, Box::new(open)).encode(&self.dialect(peer, namespace));
        if bytes.len() > OPEN_BYTES_MAX {
            return false;
        }
        // Until the peer has answered, the open may be lost.
        let again = now.mono + self.jittered(sync_timeout);
        let link = self.link(peer, namespace);
        link.session.opened(state, now.mono, sync_timeout);
        (link.session.root_due, link.session.root_at) = (None, Some(again));
        link.told.join(&context);
        self.with_bases(peer, namespace, |bases, base| {
            bases.rooted(base.clone());
            bases.asked(base);
        });
        let shows = if mutant::is(Mutant::OpenNotHeld) { Shows::Nothing } else { Shows::State };
        self.send_bytes(peer, self.class(namespace), bytes, shows);
        true
    }

    /// Whoever opens pulls. What is staged it could not say; a node that knows nothing would get the whole store
    /// from every peer.
    fn may_open(&self, peer: NodeId, namespace: NamespaceId) -> bool {
        let session = &self.peers[&peer].links[&namespace].session;
        let pulls = session.is_pulling() || session.is_pull_due() || session.whole_due;
        let alone = self.spaces[&namespace].store.context().is_empty() || self.inbound.is_some();
        let waits = alone || self.must_wait_with_pull(peer, namespace) || self.pulls_are_full();
        !pulls && !waits
    }

    /// If the peer needs a session to be pushed to, and if it was chosen as a neighbour.
    fn says_of_link(&mut self, peer: NodeId, namespace: NamespaceId) -> (bool, bool) {
        let lacks_cursor = self.link(peer, namespace).cursor.acked().is_none();
        let behind = lacks_cursor && self.peers[&peer].is_pushed_to(self.class(namespace));
        (behind, self.peers[&peer].is_chosen)
    }

    pub(super) fn build_root(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let Timing { sync_interval, sync_timeout, .. } = self.config.timing;
        if self.is_settling(namespace) {
            return false;
        }
        if self.link(peer, namespace).session.root_due.is_none() || !self.may_hash(now, peer, namespace) {
            return false;
        }
        let link = self.link(peer, namespace);
        let Some(wants_reply) = link.session.root_due.take() else { return false };
        let (behind, neighbour) = self.says_of_link(peer, namespace);
        // Without a cursor nothing else will bring the peer forward, and until it has answered the root may be
        // lost: try again soon.
        let soon = behind || self.link(peer, namespace).session.roots_equal.is_none();
        let again = if soon { sync_timeout } else { sync_interval };
        let again = now.mono + self.jittered(again);
        self.link(peer, namespace).session.root_at = Some(again);
        let route = self.route(peer, namespace);
        let opens = wants_reply && self.link(peer, namespace).session.roots_equal.is_some();
        let expires = self.spaces[&namespace].store.expires_first().is_some();
        let says_clock = opens || expires || self.peers[&peer].version < Version::DIFFERENCES;
        let space = self.spaces.get_mut(&namespace).expect("links are of open namespaces");
        let root = Root {
            state: space.store.state_id(),
            head: space.store.log_head(),
            clock: says_clock.then_some(now.wall),
            behind,
            neighbour,
            wants_reply,
            wants_whole: std::mem::take(&mut self.link(peer, namespace).session.whole_due),
        };
        if wants_reply {
            self.link(peer, namespace).session.asked_by_root(now.mono);
        }
        self.with_bases(peer, namespace, |bases, base| bases.rooted(base));
        self.send(peer, namespace, &Frame::Root(route, root), Shows::State);
        true
    }

    // Receiving.

    pub(super) fn on_root(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        root: Root,
    ) -> Result<(), FrameError> {
        if let Some(clock) = root.clock {
            self.note_clock(now, peer, clock);
        }
        self.on_chosen(peer, root.neighbour);
        // Equal to what was opened with: that is the answer, even if more is known here by now.
        let mut answered = self.link_mut(peer, route.namespace).session.is_open_in(root.state.half());
        if root.wants_whole {
            let link = self.link_mut(peer, route.namespace);
            link.bases.forget_out();
            link.cursor.fall_back();
            answered |= link.session.is_opening();
        }
        if answered {
            self.pull_over(peer, route.namespace);
        }
        if !self.may_hash(now, peer, route.namespace) {
            // Whether the two are equal the peer is asked, once there is a root to ask with.
            self.link_mut(peer, route.namespace).session.want_root(true);
            return Ok(());
        }
        let space = self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces");
        if space.store.state_id() == root.state {
            if !root.wants_reply {
                self.note_latency(now, peer, route.namespace);
            }
            let reply = root.wants_reply || mutant::is(Mutant::RootsAnswerRoots);
            self.found_equal(now, peer, route, (root.head, root.behind), reply);
        } else {
            if mutant::is(Mutant::UnequalRootMovesCursor) {
                space.raise_inbound(peer, route.from, root.head);
            }
            let later = if root.wants_whole { None } else { self.root_after_crowd(peer) };
            let session = &mut self.link_mut(peer, route.namespace).session;
            session.roots_equal = Some(false);
            if let Some(later) = later {
                session.root_at = Some(later);
                if root.wants_reply {
                    // It says whether pushes go to the peer.
                    session.want_root(false);
                }
            } else if !answered || root.wants_whole {
                session.want_pull();
            }
        }
        Ok(())
    }

    /// The peer is in the same state, with its log at `head`.
    fn found_equal(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        (head, behind): (u64, bool),
        reply: bool,
    ) {
        let next = now.mono + self.jittered(self.config.timing.sync_interval);
        let space = self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces");
        let moved = space.raise_inbound(peer, route.from, head);
        let (context, base) = (space.store.context().clone(), space.base());
        self.note_whole(peer, route.namespace, base);
        let link = self.link_mut(peer, route.namespace);
        link.known.join(&context);
        link.told.join(&context);
        (link.diverged, link.fruitless) = (false, 0);
        link.ack_due |= moved || behind;
        link.session.roots_equal = Some(true);
        if link.cursor.acked().is_some() {
            link.session.root_at = Some(next);
        }
        if reply {
            link.session.want_root(false);
        }
        self.with_bases(peer, route.namespace, |bases, base| bases.equal(base));
        self.heal_no_more(peer, route.namespace);
        self.exchanged(peer, route.namespace);
        if moved {
            self.step_on();
        }
        self.pull_over(peer, route.namespace);
    }

    pub(super) fn on_open(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        open: &Open,
    ) -> Result<(), FrameError> {
        let namespace = route.namespace;
        self.on_chosen(peer, open.neighbour);
        self.stated(peer, route, &open.context)?;
        let store = &self.spaces[&namespace].store;
        // A state is of one context and horizon: where these differ nothing is hashed.
        let may_be_equal = *store.context() == open.context && store.horizon() == open.horizon;
        if may_be_equal && !self.may_hash(now, peer, namespace) {
            self.link_mut(peer, namespace).session.want_root(true);
            return Ok(());
        }
        let space = self.spaces.get_mut(&namespace).expect("routed frames are of open namespaces");
        let opened = may_be_equal.then(|| space.store.state_id().half());
        if opened == Some(open.state) {
            // What was opened with here tells the peer so as well, if it was this state.
            let reply = self.link_mut(peer, namespace).session.has_opened() != opened;
            if !reply {
                self.note_latency(now, peer, namespace);
            }
            self.found_equal(now, peer, route, (open.head, open.behind), reply);
            return Ok(());
        }
        if mutant::is(Mutant::OpenMovesCursor) {
            space.raise_inbound(peer, route.from, open.head);
        }
        let (ours, horizon) = (space.store.context().clone(), space.store.horizon());
        // Equal contexts in unequal states are to be compared by an answer (T8), and a horizon has to be told.
        let lacks_here = !ours.covers(&open.context) || open.horizon > horizon || ours == open.context;
        let lacks_there = !open.context.covers(&ours) || horizon > open.horizon || ours == open.context;
        let link = self.link_mut(peer, namespace);
        if mutant::is(Mutant::OpenTakenForEqual) {
            link.known.join(&ours);
        }
        link.session.roots_equal = Some(false);
        let pushed = link.cursor.is_pushing() && ours != open.context;
        let told = link.session.has_opened().is_some() && !lacks_there;
        if !pushed && !told {
            self.asked(peer, namespace, Asked { context: open.context.clone(), ..Asked::default() });
        }
        if lacks_here {
            self.link_mut(peer, namespace).session.want_pull();
            return Ok(());
        }
        if self.link_mut(peer, namespace).session.is_opening() {
            self.pull_over(peer, namespace);
        }
        self.exchanged(peer, namespace);
        Ok(())
    }

    /// Whoever pushes does not answer an open: what it knows comes by itself.
    pub(super) fn open_is_pushed(&mut self, peer: NodeId, namespace: NamespaceId) {
        if self.link_mut(peer, namespace).session.is_opening() {
            self.pull_over(peer, namespace);
        }
    }
}
