//! One open namespace: its store, its clock, and how far it holds the logs of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cell::Hlc;
use crate::class::Class;
use crate::dictionary::Base;
use crate::id::{NodeId, ReplicaId};
use crate::node::settle::Settling;
use crate::store::Store;

/// The part of a namespace that must be durable as one atomic unit: `(C, L, H, HLC, records, floors,
/// inbound cursors)`. The log is not in it: a new life begins a new log.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// Whether it is exchanged and served. If not, its state waits for being opened again.
    pub(crate) is_open: bool,
    /// What people call it; empty if only its id is known.
    pub(crate) name: Box<str>,
    pub(crate) class: Class,
    pub(crate) store: Store,
    pub(crate) hlc: Hlc,
    /// Of each peer, its incarnation and the position up to which its log is held here.
    pub(crate) inbound: BTreeMap<NodeId, (ReplicaId, u64)>,
    /// Peers whose cursor changed since the last persist step, while steps are taken. At most as many as were met.
    pub(crate) moved: Option<BTreeSet<NodeId>>,
    /// Where the scrub goes on.
    pub(crate) scrubbed: usize,
    /// Set while the cells of a large answer are being hashed.
    pub(crate) settling: Option<Settling>,
    /// The context at a log head, as frames build on it: made once, shared by all links.
    pub(crate) base: Option<(u64, Arc<Base>)>,
}

impl Space {
    /// An open space that holds no log of others.
    pub(crate) fn new(store: Store, hlc: Hlc) -> Self {
        let (is_open, name, class) = (true, Box::default(), Class::default());
        Self {
            is_open,
            name,
            class,
            store,
            hlc,
            inbound: BTreeMap::new(),
            moved: None,
            scrubbed: 0,
            settling: None,
            base: None,
        }
    }

    /// The present context, as frames build on it. Whatever the context learns is logged, so the log head
    /// tells whether the last one is still it.
    pub(crate) fn base(&mut self) -> Arc<Base> {
        let head = self.store.log_head();
        match &self.base {
            Some((at, base)) if *at == head => base.clone(),
            Some(_) | None => {
                let base = Arc::new(Base::of(self.store.context()));
                self.base = Some((head, base.clone()));
                base
            }
        }
    }

    /// The position up to which the log of `incarnation` is held; `None` if no cursor stands.
    pub(crate) fn inbound(&self, peer: NodeId, incarnation: ReplicaId) -> Option<u64> {
        self.inbound.get(&peer).filter(|(of, _)| *of == incarnation).map(|(_, position)| *position)
    }

    /// Raises that position; true if it moved.
    pub(crate) fn raise_inbound(&mut self, peer: NodeId, incarnation: ReplicaId, position: u64) -> bool {
        let before = self.inbound(peer, incarnation);
        let moved = before.is_none_or(|before| before < position);
        if moved {
            self.inbound.insert(peer, (incarnation, position));
            self.note_inbound(peer);
        }
        moved
    }

    /// Forgets how far the log of `peer` is held; true if that was known.
    pub(crate) fn forget_inbound(&mut self, peer: &NodeId) -> bool {
        let known = self.inbound.remove(peer).is_some();
        if known {
            self.note_inbound(*peer);
        }
        known
    }

    fn note_inbound(&mut self, peer: NodeId) {
        if let Some(moved) = &mut self.moved {
            moved.insert(peer);
        }
    }
}
