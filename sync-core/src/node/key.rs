//! The canonical key of a node's state, for exhaustive search: equal keys behave alike.
//!
//! Everything that decides what the node does next is in it, times included as distances from `now`, so
//! two paths that reach one state at different times give one key. Counters and statistics are not.

use super::peer::{Link, Peer};
use super::space::Space;
use super::{Node, Output};
use crate::causal::{CausalContext, DotSet};
use crate::dictionary::Names;
use crate::fragment::{Claims, Fragment};
use crate::id::ReplicaId;
use crate::queue::HeldFrame;
use crate::time::{Now, Timestamp};

/// No replica of a store, so every one is spelled out.
const NOBODY: ReplicaId = ReplicaId([0; 16]);

/// Feeds fields to a hash, each with its length where it has none of its own.
struct Sink<'a> {
    hasher: &'a mut blake3::Hasher,
    now: Timestamp,
}

impl Sink<'_> {
    fn number(&mut self, value: u64) {
        self.hasher.update(&value.to_le_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.hasher.update(value);
    }

    fn deadline(&mut self, at: Option<Timestamp>) {
        self.number(at.map_or(u64::MAX, |at| at.since(self.now).as_micros()));
    }

    fn option(&mut self, value: Option<u64>) {
        self.number(u64::from(value.is_some()));
        self.number(value.unwrap_or(0));
    }

    fn flags(&mut self, flags: &[bool]) {
        flags.iter().for_each(|flag| self.number(u64::from(*flag)));
    }

    fn context(&mut self, context: &CausalContext) {
        self.number(context.len() as u64);
        for (replica, seq) in context.columns() {
            self.hasher.update(&replica.0);
            self.number(seq);
        }
    }

    fn dots(&mut self, dots: &DotSet) {
        self.number(dots.intervals().count() as u64);
        for (replica, interval) in dots.intervals() {
            self.hasher.update(&replica.0);
            self.number(interval.first);
            self.number(interval.last);
        }
    }
}

impl Node {
    /// The first 16 bytes of a hash of the whole state, deadlines relative to `now`.
    ///
    /// ```
    /// # use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
    /// # use sync_core::node::{Config, Node};
    /// # use sync_core::{time::Now, types::or_set};
    /// let config = Config::new(NodeId([1; 32]), ReplicaId([1; 16]), OwnerId([1; 16]), [7; 32]);
    /// let (now, namespace) = (Now::default(), NamespaceId::named("default"));
    /// let node = Node::new(config, now);
    /// let mut other = node.clone();
    /// assert_eq!(node.state_key(now), other.state_key(now));
    /// other.write(now, namespace, |group| or_set::add(group, "key", b"element"))?;
    /// assert_ne!(node.state_key(now), other.state_key(now));
    /// # Ok::<(), sync_core::error::WriteError>(())
    /// ```
    pub fn state_key(&self, now: Now) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        let mut sink = Sink { hasher: &mut hasher, now: now.mono };
        sink.hasher.update(&self.config.node.0).update(&self.replica.0).update(&self.owner.0);
        let [step, asked, persisted] = [self.step, self.asked, self.persisted].map(|step| step.0);
        sink.number(step - persisted);
        sink.number(asked - persisted);
        sink.flags(&[
            self.fill_due,
            self.overlay.is_stale,
            self.overlay.is_bounded,
            self.overlay.heads == self.filled,
        ]);
        sink.deadline(self.overlay.session_at);
        // What was sent before decides nothing until a crowd comes, which no scope that is searched is large enough for.
        sink.deadline(self.crowd.until());
        for (namespace, space) in &self.spaces {
            sink.hasher.update(&namespace.0);
            space_key(space, &mut sink);
            for (answer, left, pinned, gone) in space.store.answers() {
                // Numbers only grow: how far back one lies says which it is.
                sink.number(self.answers - answer);
                sink.dots(&left);
                sink.dots(&pinned);
                sink.flags(&[gone]);
            }
        }
        sink.number(self.peers.len() as u64);
        for (node, peer) in &self.peers {
            sink.hasher.update(&node.0);
            peer_key(peer, self.answers, &mut sink);
        }
        let cell = std::cell::RefCell::new(&mut sink);
        self.breakers_key(
            &mut |value| cell.borrow_mut().number(value),
            &mut |at| cell.borrow_mut().deadline(at),
            &mut |node| {
                cell.borrow_mut().hasher.update(&node.0);
            },
        );
        for HeldFrame { step, to, class, bytes } in self.held.iter() {
            sink.number(step.0 - persisted);
            sink.hasher.update(&to.0);
            sink.number(*class as u64);
            sink.bytes(bytes);
        }
        for output in &self.outputs {
            if let Output::Send { to, class, bytes } = output {
                sink.hasher.update(&to.0);
                sink.number(*class as u64);
                sink.bytes(bytes);
            }
        }
        self.expiry_key(now, &mut |value| sink.number(value));
        sink.flags(&[self.staging.is_some(), self.healing.is_some()]);
        if let Some((from, namespace, staging)) = &self.staging {
            sink.hasher.update(&from.0).update(&namespace.0);
            sink.bytes(format!("{staging:?}").as_bytes());
        }
        sink.flags(&[self.inbound.is_some()]);
        if let Some(inbound) = &self.inbound {
            sink.hasher.update(&inbound.peer.0).update(&inbound.namespace.0).update(&inbound.of.0);
            let (is_open, want, staged) = inbound.key();
            sink.flags(&[is_open]);
            sink.dots(want);
            sink.dots(staged);
            sink.bytes(format!("{:?}", inbound.skeleton).as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        key
    }
}

fn space_key(space: &Space, sink: &mut Sink<'_>) {
    let store = &space.store;
    sink.flags(&[space.is_open]);
    sink.number(space.class as u64);
    sink.number(space.hlc.0);
    sink.deadline(space.settling.as_ref().map(|settling| settling.at));
    // The full fragment is canonical, and says all of (C, L, H); records and floors follow by hand.
    let full = Fragment {
        claims: Claims::None,
        records: Vec::new(),
        floors: Vec::new(),
        ..store.push_fragment(store.context().to_dots())
    };
    let mut out = crate::codec::Writer::default();
    full.write(&Names { from: NOBODY, to: NOBODY, base: None }, &mut out);
    sink.bytes(&out.finish());
    sink.context(store.context());
    for (dot, record) in store.records() {
        sink.bytes(format!("{dot:?}{record:?}").as_bytes());
    }
    for (replica, floor) in store.floors() {
        sink.hasher.update(&replica.0);
        sink.number(floor);
    }
    sink.number(store.log().base());
    for entry in store.log().entries() {
        sink.dots(&entry.dots);
        sink.bytes(entry.from.as_ref().map_or(&[][..], |replica| &replica.0));
    }
    for (node, (replica, position)) in &space.inbound {
        sink.hasher.update(&node.0).update(&replica.0);
        sink.number(*position);
    }
}

fn peer_key(peer: &Peer, answers: u64, sink: &mut Sink<'_>) {
    let Peer {
        connected,
        incarnation,
        version,
        introduced,
        // Decides only in a crowd.
        met_at: _,
        hello_due,
        hello_owed,
        untold,
        hello_at,
        // For people alone.
        trace: _,
        seen_at: _,
        clock_ahead_ms: _,
        clock: _,
        is_chosen,
        has_chosen_us,
        is_linked,
        outboxes,
        buckets,
        // Decide nothing before a peer has used up more cells, or lives, than any scope that is searched can have.
        effort: _,
        lives: _,
        paced_until,
        stats: _,
        arrival_lag_ms: _,
        namespaces,
        links,
        had: _,
    } = peer;
    sink.flags(&[*connected, *introduced, hello_due.is_some(), hello_due.unwrap_or(false), *hello_owed]);
    sink.flags(&[*is_chosen, *has_chosen_us, *is_linked, *untold]);
    sink.bytes(incarnation.as_ref().map_or(&[][..], |replica| &replica.0));
    sink.number(u64::from(version.0));
    sink.deadline(*hello_at);
    outboxes.iter().for_each(|(_, outbox)| sink.number(outbox.frames() as u64));
    for bucket in buckets {
        let (debt, filled) = bucket.key();
        sink.number(debt.cast_unsigned());
        sink.deadline(filled);
    }
    sink.deadline(*paced_until);
    sink.number(namespaces.open.len() as u64);
    for namespace in namespaces.open.iter().chain(&namespaces.closed) {
        sink.hasher.update(&namespace.0);
    }
    for (namespace, link) in links {
        sink.hasher.update(&namespace.0);
        link_key(link, answers, sink);
    }
}

fn link_key(link: &Link, answers: u64, sink: &mut Sink<'_>) {
    let Link {
        cursor,
        session,
        known,
        told,
        tell_at,
        told_at: _,
        bases,
        // Decides only what the cleanup ends, and when that is due is not in the key either.
        stated: _,
        nodes_due,
        inspect_due,
        surveying,
        ack_due,
        diverged,
        fruitless,
    } = link;
    cursor.key(&mut |value| sink.option(value));
    cursor.deadlines().into_iter().for_each(|at| sink.deadline(at));
    sink.flags(&[session.root_due.is_some(), session.root_due == Some(true)]);
    sink.flags(&[session.is_pull_due(), session.is_pulling(), *ack_due, *diverged]);
    sink.number(u64::from(*fruitless));
    sink.flags(&[session.listing_wanted, session.listing_due, session.more_due, session.sketched.is_some()]);
    sink.option(session.symbols_due.map(|more| more.answer));
    sink.option(session.symbols_due.map(|more| more.from));
    if let Some(sketching) = &session.sketching {
        sink.number(sketching.answer);
        sink.number(sketching.symbols.len() as u64);
    }
    sink.flags(&[nodes_due.is_some(), inspect_due.is_some()]);
    sink.flags(&[session.whole_due, session.answered, session.roots_equal.is_none()]);
    sink.flags(&[session.open_due, session.is_opening()]);
    sink.bytes(session.has_opened().as_ref().map_or(&[][..], |state| &state.0));
    for base in bases.all() {
        sink.bytes(base.as_ref().map_or(&[][..], |base| base.name()));
    }
    sink.deadline(session.root_at);
    sink.deadline(session.pull_until());
    sink.deadline(session.giving_until());
    sink.deadline(*tell_at);
    sink.flags(&[session.give_due.is_some()]);
    if let Some(asked) = &session.give_due {
        sink.context(&asked.context);
        sink.dots(&asked.have);
    }
    if let Some(given) = &session.given {
        sink.context(&given.context);
    }
    sink.option(session.giving_items.map(|answer| answers - answer));
    sink.option(session.giving.as_ref().map(|giving| giving.at as u64));
    sink.context(known);
    sink.context(told);
    sink.deadline(surveying.waits_until(sink.now));
    for (flags, context) in surveying.due() {
        sink.flags(&flags);
        context.into_iter().for_each(|context| sink.context(context));
    }
}
