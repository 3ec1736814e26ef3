//! Sending: turning what is due into frames while the peers' outboxes have room.
//!
//! Nothing here decides *whether* something is due; the machines did. Frames that show state are held
//! until that state is durable; `Hello` and `Pull` show none that a receiver would rely on.

use super::overlay::tell_delay;
use super::peer::{Link, Peer};
use super::{Node, Output, PersistStep};
use crate::breaker::Failure;
use crate::causal::{CausalContext, DotSet};
use crate::class::Class;
use crate::dictionary::Version;
use crate::id::{NamespaceId, NodeId};
use crate::message::{Ack, Dialect, Frame, Give, Hello, PART_OVERHEAD, Pull, Push, Route};
use crate::mutant::{self, Mutant};
use crate::pacing::Rate;
use crate::push;
use crate::queue::HeldFrame;
use crate::session::{Given, Giving, Sketched};
use crate::time::Now;

/// Whether a frame waits for durability.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    State,
    Nothing,
}

/// Which peers an input may have made something due for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Touched {
    /// None.
    Nobody,
    /// One.
    Peer(NodeId),
    /// Those whose deadline has come.
    Due,
}

impl Node {
    /// Builds every frame that is due and has room, and asks for durability if the state moved on.
    ///
    /// Looks at the peers that `touched` names; at all of them if there is something new to push.
    pub(super) fn fill(&mut self, now: Now, touched: Touched) {
        self.close_answers();
        let heads = self.spaces.values().map(|space| space.store.log_head()).sum();
        let news = std::mem::replace(&mut self.filled, heads) != heads;
        self.settle_overlay(now);
        self.wake_crowd(now);
        let turn = self.crowd_turn(now);
        let all = std::mem::take(&mut self.fill_due) || news;
        let is_due = |peer: &Peer| peer.deadline().is_some_and(|at| at <= now.mono);
        let looked_at = |(node, peer): (&NodeId, &Peer)| {
            let touched = match touched {
                Touched::Nobody => false,
                Touched::Peer(touched) => *node == touched,
                Touched::Due => is_due(peer),
            };
            (peer.connected && (all || touched || turn == Some(*node))).then_some(*node)
        };
        let peers: Vec<NodeId> = self.peers.iter().filter_map(looked_at).collect();
        for peer in peers {
            self.wake(now, peer);
            while self.build_next(now, peer) {}
        }
        self.crowd_looked(now, turn);
        if std::mem::take(&mut self.fill_due) {
            // A large answer was overdue and has given way to pulls that waited for it.
            let up = |(node, peer): (&NodeId, &Peer)| peer.connected.then_some(*node);
            for peer in self.peers.iter().filter_map(up).collect::<Vec<_>>() {
                while self.build_next(now, peer) {}
            }
        }
        if self.step > self.asked {
            self.asked = self.step;
            self.outputs.push_back(Output::Persist { n: self.step });
        }
    }

    fn has_room(&self, peer: NodeId, class: Class) -> bool {
        let has_room = |peer: &Peer| peer.outboxes.of(class).has_room(&self.config.limits);
        mutant::is(Mutant::OutboxUnbounded) || self.peers.get(&peer).is_some_and(has_room)
    }

    /// True if `class` has room and tokens. If only tokens are lacking, the peer is looked at again once they are there.
    fn may_build(&mut self, now: Now, peer: NodeId, class: Class) -> bool {
        if !self.has_room(peer, class) {
            return false;
        }
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        let rate = Rate::of(class, &self.config.limits, &state.outboxes);
        let bucket = &mut state.buckets[class as usize];
        let may = bucket.may_build(now.mono, rate);
        if !may {
            let due = bucket.deadline(rate).expect("tokens are lacking");
            state.paced_until = Some(state.paced_until.map_or(due, |until| until.min(due)));
        }
        may
    }

    /// Turns deadlines that have passed into what is due.
    fn wake(&mut self, now: Now, peer: NodeId) {
        let (timing, timeout) = (self.config.timing, self.config.timing.sync_timeout);
        let is_crowd = self.crowd.until().is_some();
        let Self { spaces, staging, inbound, peers, fill_due, held, .. } = self;
        let state = peers.get_mut(&peer).expect("the caller took it from the map");
        state.paced_until.take_if(|until| *until <= now.mono);
        // What our own disk holds back is not the peer's fault.
        let mut overdue = 0;
        let mut late =
            |is_late: bool| overdue += u32::from(is_late && !held.iter().any(|frame| frame.to == peer));
        if state.hello_at.is_some_and(|at| at <= now.mono) {
            state.hello_at = None;
            state.hello_due = Some(true);
            // One that is up answers other frames too, or fails by those.
            late(!state.introduced);
        }
        let (is_up, is_neighbour) = (state.is_up(), state.is_neighbour());
        for (namespace, link) in &mut state.links {
            let space = &spaces[namespace];
            let is_neighbour = is_neighbour || (is_up && space.class == Class::Urgent);
            late(link.session.wake_answer(now.mono));
            let pull_is_late = link.session.wake(now.mono, timeout);
            late(pull_is_late);
            if pull_is_late {
                // Another pull may have waited for this one.
                *fill_due = true;
                staging.take_if(|(from, of, _)| (*from, *of) == (peer, *namespace));
                if let Some(inbound) = inbound.as_mut().filter(|i| i.is_open() && i.is_from(peer, *namespace))
                {
                    inbound.close();
                }
            }
            late(link.cursor.wake(now.mono));
            link.surveying.wake(now.mono);
            let head = space.store.log_head();
            let waiting = link.tell_at.is_some_and(|at| at > now.mono);
            // Before its first root a peer only counts as a neighbour: in a crowd nearly all will not be.
            let is_guess = is_crowd && link.session.roots_equal.is_none() && space.class != Class::Urgent;
            if is_guess || !is_neighbour || waiting || (link.tell_at.is_none() && link.told_at == Some(head))
            {
                continue;
            }
            let context = space.store.context();
            let news = context.columns().any(|(id, seq)| link.is_untold(id, seq));
            let due = link.tell_at.take().is_some();
            if !news {
                link.told_at = Some(head);
            } else if due {
                link.ack_due |= state.incarnation.is_some();
            } else {
                link.tell_at = Some(now.mono + tell_delay(space.class, &timing));
            }
        }
        (0..overdue).for_each(|_| self.peer_failed(now, peer, Failure::TimedOut));
    }

    /// Builds the frame that is due to `peer` and goes first; false if none is, or none has room.
    fn build_next(&mut self, now: Now, peer: NodeId) -> bool {
        if self.has_room(peer, Class::Urgent) && self.build_hello(now, peer) {
            return true;
        }
        let state = &self.peers[&peer];
        if !state.is_up() || !self.may_send(peer) {
            return false;
        }
        let mut lanes: Vec<(Class, NamespaceId)> =
            state.links.keys().map(|namespace| (self.class(*namespace), *namespace)).collect();
        lanes.sort_unstable();
        lanes
            .into_iter()
            .any(|(class, namespace)| self.may_build(now, peer, class) && self.build_of(now, peer, namespace))
    }

    fn build_of(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        // Pushes before the root: behind them it finds the peer up to date, before them it makes it pull.
        if self.build_ack(peer, namespace) || self.build_push(now, peer, namespace) {
            return true;
        }
        // Mostly there is nothing else, and many to ask.
        if self.healing.is_none() && self.link(peer, namespace).is_idle() {
            return false;
        }
        self.build_open(now, peer, namespace)
            || self.build_root(now, peer, namespace)
            || self.build_pull(now, peer, namespace)
            || self.build_survey(peer, namespace)
            || self.build_quote(now, peer, namespace)
            || self.build_answer(now, peer, namespace)
            || self.build_sketch(peer, namespace)
            || self.build_repair(now, peer, namespace)
    }

    fn build_hello(&mut self, now: Now, peer: NodeId) -> bool {
        let retry = now.mono + self.config.timing.hello_retry;
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        let Some(wants_reply) = state.hello_due.take() else { return false };
        // The answer first, by itself: the peer's breaker takes no question for one.
        let owed = std::mem::take(&mut state.hello_owed) && wants_reply;
        state.hello_due = owed.then_some(true);
        // A probe is not sent again: the next one is.
        let wants_reply = wants_reply && !owed && self.may_greet(peer);
        let retries = self.may_send(peer);
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        state.hello_at = (retries && (state.untold || !state.introduced)).then_some(retry);
        let reads_traces = state.reads_traces();
        let hello = Hello {
            features: 0,
            versions: self.config.versions,
            cluster: self.config.cluster.clone(),
            node: self.config.node,
            incarnation: self.replica,
            clock: now.wall,
            wants_reply,
            namespaces: self.told_namespaces(),
            trace: self.trace.filter(|_| reads_traces),
            heard: self.peers[&peer].namespaces.digest(),
        };
        let bytes = Frame::Hello(hello).encode(&Dialect::default());
        self.send_bytes(peer, Class::Urgent, bytes, Shows::Nothing);
        true
    }

    pub(super) fn route(&self, peer: NodeId, namespace: NamespaceId) -> Route {
        let to = self.peers[&peer].incarnation.expect("frames beside Hello go to peers that are up");
        let known = self.spaces[&namespace].store.context().get(to);
        Route { namespace, from: self.replica, to, known }
    }

    pub(super) fn link(&mut self, peer: NodeId, namespace: NamespaceId) -> &mut Link {
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        state.links.get_mut(&namespace).expect("the caller took it from the map")
    }

    fn build_ack(&mut self, peer: NodeId, namespace: NamespaceId) -> bool {
        if !std::mem::take(&mut self.link(peer, namespace).ack_due) {
            return false;
        }
        let route = self.route(peer, namespace);
        let space = &self.spaces[&namespace];
        let hi = space.inbound(peer, route.to);
        let context = space.store.context().clone();
        let link = self.link(peer, namespace);
        let grown = context.columns().filter(|(id, seq)| link.is_untold(*id, *seq));
        let known: CausalContext = grown.collect();
        link.told.join(&known);
        link.tell_at = None;
        self.send(peer, namespace, &Frame::Ack(route, Ack { hi, known }), Shows::State);
        true
    }

    fn build_pull(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let timeout = self.config.timing.sync_timeout;
        if !self.link(peer, namespace).session.is_pull_due()
            || self.must_wait_with_pull(peer, namespace)
            || self.pulls_are_full()
        {
            return false;
        }
        self.link(peer, namespace).session.pulled(now.mono, timeout);
        let route = self.route(peer, namespace);
        let space = self.spaces.get_mut(&namespace).expect("links are of open namespaces");
        let context = space.store.context().clone();
        let horizon = space.store.horizon();
        let listing = std::mem::take(&mut self.link(peer, namespace).session.listing_due);
        let pull = Pull { context: context.clone(), horizon, listing, have: DotSet::default() };
        let pull = self.with_have(peer, &route, pull, &self.dialect(peer, namespace));
        self.link(peer, namespace).told.join(&context);
        self.with_bases(peer, namespace, |bases, base| bases.asked(base));
        self.send(peer, namespace, &Frame::Pull(route, pull), Shows::Nothing);
        true
    }

    /// A node that knows nothing pulls from one peer at a time: every answer would be the whole store. So does one
    /// that has items staged: each pull says that it holds them, and the first answer may use them up.
    pub(super) fn must_wait_with_pull(&self, peer: NodeId, namespace: NamespaceId) -> bool {
        let empty = self.spaces[&namespace].store.context().is_empty();
        let staging = self.staging.as_ref().is_some_and(|(from, ..)| *from != peer);
        let inbound = self.inbound.as_ref().is_some_and(|i| i.is_open() && !i.is_from(peer, namespace));
        let pulling = |(node, other): (&NodeId, &super::Peer)| {
            *node != peer && other.links.get(&namespace).is_some_and(|link| link.session.is_pulling())
        };
        let alone = empty || self.inbound.is_some();
        staging || inbound || (alone && self.peers.iter().any(pulling))
    }

    /// The next frame of an answer; what is left of a long one is given up when none could be built for too long.
    fn build_answer(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let built = self.build_give(now, peer, namespace)
            || self.build_part(peer, namespace)
            || self.build_payloads(peer, namespace);
        if built {
            let timeout = self.config.timing.sync_timeout;
            self.link(peer, namespace).session.gave(now.mono, timeout);
        }
        built
    }

    fn build_give(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        if self.link(peer, namespace).session.give_due.is_none()
            || self.is_unsound(namespace)
            || !self.may_ask(now, peer)
        {
            return false;
        }
        // What is hashed and gathered is charged once, and not more for an answer that goes in parts.
        let unsettled = self.spaces[&namespace].store.unsettled() as u64;
        let route = self.route(peer, namespace);
        let Some(asked) = self.link(peer, namespace).session.give_due.take() else { return false };
        if self.wants_large(peer, namespace, &asked) {
            let items = self.open_answer(peer, namespace, &asked);
            self.charge(peer, unsettled + items);
            return true;
        }
        let link = self.link(peer, namespace);
        let (base, listing) = (link.bases.of_answer(), link.session.listing_wanted);
        let sketches = self.peers[&peer].version >= Version::DIFFERENCES && !listing;
        self.answers += 1;
        let (answer, prefer) = (self.answers, self.config.repair);
        let store = &mut self.spaces.get_mut(&namespace).expect("links are of open namespaces").store;
        let by_sketch = if sketches { store.answer_by_sketch(&asked.context, answer, prefer) } else { None };
        let sketched = by_sketch.is_some().then(|| {
            let (head, symbols) = (store.log_head(), store.sketch_snapshot());
            Sketched { answer, head, symbols }
        });
        let fragment = by_sketch.unwrap_or_else(|| store.answer(&asked.context));
        let (root, mut head) = (store.root(), store.log_head());
        if mutant::is(Mutant::GiveHeadAhead) {
            head += 1;
        }
        let (items, memory) = (fragment.item_count() as u64, fragment.memory());
        let context = store.context().clone();
        self.charge(peer, unsettled + items);
        let frame = Frame::Give(route, Give { head, root, fragment });
        let bytes = frame.encode(&Dialect { version: self.peers[&peer].version, base });
        let long = self.is_too_long(&bytes, memory);
        if long && self.peers[&peer].version >= Version::DIFFERENCES {
            self.open_answer(peer, namespace, &asked);
            return true;
        }
        self.link(peer, namespace).session.sketched = sketched;
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        state.stats.answers += 1;
        state.stats.deltas_sent += items;
        let link = self.link(peer, namespace);
        link.told.join(&context);
        link.session.answered = true;
        link.session.given = Some(Given { head, context });
        if long {
            link.session.giving = Some(Giving { answer, bytes, at: 0, head });
        } else {
            self.send_bytes(peer, self.class(namespace), bytes, Shows::State);
        }
        true
    }

    /// True if these bytes make no frame: they are too many, or what they say takes too much memory where it is read.
    pub(super) fn is_too_long(&self, bytes: &[u8], memory: usize) -> bool {
        let limits = &self.config.limits;
        bytes.len() > limits.message_bytes_max || memory > limits.decode_bytes_max()
    }

    fn build_repair(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let link = self.link(peer, namespace);
        let is_asked = link.nodes_due.is_some() || link.inspect_due.is_some();
        if is_asked && !self.may_hash(now, peer, namespace) {
            return false;
        }
        let Some(frame) = self.build_heal(now, peer, namespace) else { return false };
        self.send(peer, namespace, &frame, Shows::State);
        true
    }

    fn build_sketch(&mut self, peer: NodeId, namespace: NamespaceId) -> bool {
        if let Some(frame) = self.build_more(peer, namespace) {
            self.send(peer, namespace, &frame, Shows::Nothing);
            true
        } else if let Some(frame) = self.build_symbols(peer, namespace) {
            self.send(peer, namespace, &frame, Shows::State);
            true
        } else {
            false
        }
    }

    fn build_part(&mut self, peer: NodeId, namespace: NamespaceId) -> bool {
        let len = self.config.limits.message_bytes_max.saturating_sub(PART_OVERHEAD).max(1);
        let route = self.route(peer, namespace);
        let giving = &mut self.link(peer, namespace).session.giving;
        let Some(part) = giving.as_mut().and_then(|giving| giving.next_part(len)) else {
            *giving = None;
            return false;
        };
        self.send(peer, namespace, &Frame::Part(route, part), Shows::State);
        true
    }

    fn build_push(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        if self.is_unsound(namespace) {
            return false;
        }
        let Self { peers, spaces, config, overlay, rng, crowd, .. } = self;
        let state = peers.get_mut(&peer).expect("the caller took it from the map");
        let class = spaces[&namespace].class;
        if !state.is_pushed_to(class) {
            return false;
        }
        let Some(incarnation) = state.incarnation else { return false };
        let link = state.links.get_mut(&namespace).expect("the caller took it from the map");
        let store = &spaces[&namespace].store;
        let bounds = (&config.timing, &config.limits);
        let relay_delay = || overlay.relay_delay(class, &config.timing, rng);
        let way = (peer, namespace);
        let is_paced = crowd.until().is_some() && class != Class::Urgent;
        if is_paced && crowd.must_wait(now.mono, way) {
            return false;
        }
        let before = is_paced.then(|| link.cursor.clone());
        let step = link.cursor.next(now.mono, store, incarnation, &link.known, bounds, relay_delay);
        if let Some(before) = before {
            if let push::Step::Push { dots, .. } = &step {
                if !crowd.may_push(now.mono, way, dots.len()) {
                    link.cursor = before;
                    return false;
                }
            } else {
                crowd.has_come_forward(way);
            }
        }
        match step {
            push::Step::Wait => false,
            push::Step::Behind => {
                state.stats.fell_behind += 1;
                // On a new connection the peer may be the one to begin; its round finds this out as well.
                let peer_begins = link.session.roots_equal.is_none() && link.session.root_at.is_some();
                if !peer_begins {
                    link.session.want_root(true);
                }
                true
            }
            push::Step::Push { lo, hi, dots } => {
                let fragment = store.push_fragment(dots);
                let (items, memory) = (fragment.item_count() as u64, fragment.memory());
                for (replica, seq) in fragment.dots.tops() {
                    link.told.advance(replica, seq);
                    if mutant::is(Mutant::KnownRaisedAtSend) {
                        link.known.advance(replica, seq);
                    }
                }
                let frame = Frame::Push(self.route(peer, namespace), Push { lo, hi, fragment });
                let bytes = frame.encode(&self.dialect(peer, namespace));
                if self.is_too_long(&bytes, memory) {
                    // A push is never cut: cut before the head, an overwrite would show as a removal.
                    let link = self.link(peer, namespace);
                    link.cursor = push::Cursor::default();
                    link.session.want_root(true);
                    let stats = &mut self.peer_mut(peer).stats;
                    stats.fell_behind += 1;
                    stats.pushes_too_long += 1;
                    return true;
                }
                let stats = &mut self.peers.get_mut(&peer).expect("the caller took it from the map").stats;
                stats.pushes_sent += 1;
                stats.deltas_sent += items;
                self.send_bytes(peer, self.class(namespace), bytes, Shows::State);
                true
            }
        }
    }

    /// How the peer is talked to.
    pub(super) fn dialect(&self, peer: NodeId, namespace: NamespaceId) -> Dialect {
        let state = &self.peers[&peer];
        let base = state.links.get(&namespace).and_then(|link| link.bases.out());
        Dialect { version: state.version, base }
    }

    pub(super) fn send(&mut self, peer: NodeId, namespace: NamespaceId, frame: &Frame, shows: Shows) {
        let bytes = frame.encode(&self.dialect(peer, namespace));
        self.send_bytes(peer, self.class(namespace), bytes, shows);
    }

    pub(super) fn send_bytes(&mut self, to: NodeId, class: Class, bytes: Vec<u8>, shows: Shows) {
        let state = self.peers.get_mut(&to).expect("the caller took it from the map");
        state.outboxes.of_mut(class).built(bytes.len());
        state.buckets[class as usize].built(bytes.len());
        state.stats.frames_sent += 1;
        state.stats.bytes_sent += bytes.len() as u64;
        self.meter.count_sent(&bytes);
        self.crowd.sent(bytes.len());
        let step: PersistStep = if shows == Shows::State { self.step } else { PersistStep::default() };
        if step <= self.persisted || mutant::is(Mutant::FramesNotHeld) {
            self.outputs.push_back(Output::Send { to, class, bytes });
        } else {
            self.held.push(HeldFrame { step, to, class, bytes });
        }
    }
}
