//! Lanes: which namespaces are open here, and which of them each peer has open too.
//!
//! A namespace is exchanged with the peers that have it open, and nobody else hears of it: each `Hello` lists what its
//! sender has open, and what it keeps closed. One that is opened or closed at run time is told by another `Hello`.
//! Closing ends the exchange and the service; the state stays, in memory and on the disk, because a store that came
//! back empty under the same replica id would mint its dots again.

use std::collections::BTreeSet;

use super::peer::Link;
use super::space::Space;
use super::{DEFAULT_NAMESPACE, Event, Node};
use crate::cell::Hlc;
use crate::class::Class;
use crate::dictionary::Version;
use crate::id::{NamespaceId, NodeId};
use crate::limits::Limits;
use crate::message::{Hello, Namespaces};
use crate::mutant::{self, Mutant};
use crate::queue::Outbox;
use crate::store::Store;
use crate::time::Now;

/// Longest name of a namespace, in bytes of UTF-8.
pub const NAMESPACE_NAME_BYTES_MAX: usize = 64;

/// How a namespace is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// How its frames stand to those of other namespaces.
    pub class: Class,
    /// The bounds of its store: [`Limits::crdts_max`] to [`Limits::group_bytes_max`], records, log and notes of steps.
    /// Of peers, queues and frames the node's own are in force.
    pub limits: Limits,
}

/// A namespace as this node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceStatus {
    /// Its id.
    pub id: NamespaceId,
    /// What people call it; empty if it came from a disk that did not say and has not been opened by name.
    pub name: String,
    /// How its frames stand to those of others.
    pub class: Class,
    /// Whether it is exchanged and served.
    pub is_open: bool,
    /// Peers that are up and have it open too.
    pub peers: usize,
    /// The bounds of its store.
    pub limits: Limits,
}

/// A namespace was not opened or closed; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// Caller: the name is empty or too long.
    #[error("a namespace's name has 1 to {max} bytes, this one {len}; nothing was opened")]
    Name {
        /// Its bytes.
        len: usize,
        /// The most.
        max: usize,
    },
    /// Caller: it is open already.
    #[error("the namespace {name:?} is open already; close it first to open it with other bounds")]
    IsOpen {
        /// Its name.
        name: String,
    },
    /// Caller: it is not open.
    #[error("no namespace {namespace:?} is open here; nothing was closed")]
    NotOpen {
        /// Its id.
        namespace: NamespaceId,
    },
    /// Caller: the default namespace stays open.
    #[error("the namespace \"default\" is part of every node and stays open")]
    Default,
    /// Limit reached: so many are kept already, closed ones too.
    #[error(
        "this node keeps {max} namespaces, open and closed, its limit; use one of them or raise namespaces_max"
    )]
    Full {
        /// [`Limits::namespaces_max`].
        max: usize,
    },
    /// Limit reached: what all stores may hold together.
    #[error(
        "the stores may hold {max} bytes together; those kept may come to {kept}, and this one would add {asked}: give it a lower store_bytes_ceiling or raise node_bytes_max"
    )]
    NoRoom {
        /// Its ceiling.
        asked: u64,
        /// The ceilings of those that are kept, added.
        kept: u64,
        /// [`Limits::node_bytes_max`].
        max: u64,
    },
}

/// Who begins the first round of a link.
#[derive(Clone, Copy)]
enum Begins {
    This,
    Peer,
    /// Whoever the code around says.
    Caller,
}

impl Node {
    /// Opens the namespace called `name`, or opens it again: what it held is there. It is exchanged with every peer that
    /// has it open too.
    ///
    /// ```
    /// # use sync_core::id::{NodeId, OwnerId, ReplicaId};
    /// # use sync_core::node::{Config, NamespaceConfig, Node};
    /// # use sync_core::{class::Class, time::Now, types::or_set};
    /// # let config = Config::new(NodeId([1; 32]), ReplicaId([1; 16]), OwnerId([1; 16]), [7; 32]);
    /// # let now = Now::default();
    /// # let mut node = Node::new(config, now);
    /// let urgent = NamespaceConfig { class: Class::Urgent, ..NamespaceConfig::default() };
    /// let alarms = node.open_namespace(now, "alarms", urgent)?;
    /// node.write(now, alarms, |group| or_set::add(group, "key", b"element"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NamespaceError`]; nothing has changed.
    pub fn open_namespace(
        &mut self,
        now: Now,
        name: &str,
        config: NamespaceConfig,
    ) -> Result<NamespaceId, NamespaceError> {
        if name.is_empty() || name.len() > NAMESPACE_NAME_BYTES_MAX {
            return Err(NamespaceError::Name { len: name.len(), max: NAMESPACE_NAME_BYTES_MAX });
        }
        let namespace = NamespaceId::named(name);
        let NamespaceConfig { class, limits } = config;
        if mutant::is(Mutant::ClosedSpaceForgotten) {
            self.spaces.retain(|id, space| *id != namespace || space.is_open);
        }
        let kept = self.spaces.get(&namespace);
        if kept.is_some_and(|space| space.is_open) {
            return Err(NamespaceError::IsOpen { name: name.to_owned() });
        }
        let max = self.config.limits.namespaces_max;
        if kept.is_none() && self.spaces.len() >= max {
            return Err(NamespaceError::Full { max });
        }
        self.check_room(namespace, limits.store_bytes_ceiling)?;
        if let Some(space) = self.spaces.get_mut(&namespace) {
            space.store.rebound(limits);
            (space.is_open, space.name, space.class) = (true, name.into(), class);
        } else {
            let store = Store::new(namespace, limits).keyed(self.config.lookup_key());
            let noted = self.spaces.values().all(|space| space.moved.is_some());
            let mut space = Space { name: name.into(), class, ..Space::new(store, Hlc::default()) };
            if noted {
                // The disk holds nothing of it, so that what comes is all that there is to note.
                space.store.begin_notes();
                space.moved = Some(BTreeSet::new());
            }
            self.spaces.insert(namespace, space);
        }
        self.capture();
        self.step_on();
        self.event(Event::NamespaceOpened { namespace, class });
        self.namespaces_changed(now);
        Ok(namespace)
    }

    /// All ceilings together, with that of `namespace` as it is to be.
    fn check_room(&self, namespace: NamespaceId, asked: u64) -> Result<(), NamespaceError> {
        let others = self.spaces.iter().filter(|(id, _)| **id != namespace);
        let kept = others.map(|(_, space)| space.store.limits().store_bytes_ceiling);
        let kept = kept.fold(0, u64::saturating_add);
        let max = self.config.limits.node_bytes_max;
        if kept.saturating_add(asked) > max {
            return Err(NamespaceError::NoRoom { asked, kept, max });
        }
        Ok(())
    }

    /// Closes a namespace: it is exchanged with nobody and takes no writes. Its state stays.
    ///
    /// # Errors
    /// [`NamespaceError::NotOpen`], [`NamespaceError::Default`]; nothing has changed.
    pub fn close_namespace(&mut self, now: Now, namespace: NamespaceId) -> Result<(), NamespaceError> {
        if namespace == NamespaceId::named(DEFAULT_NAMESPACE) {
            return Err(NamespaceError::Default);
        }
        let space = self.spaces.get_mut(&namespace).filter(|space| space.is_open);
        let space = space.ok_or(NamespaceError::NotOpen { namespace })?;
        (space.is_open, space.base) = (false, None);
        self.event(Event::NamespaceClosed { namespace });
        self.namespaces_changed(now);
        Ok(())
    }

    /// Every namespace that is kept, ascending by id.
    pub fn namespace_statuses(&self) -> Vec<NamespaceStatus> {
        let peers = |id: &NamespaceId| {
            self.peers.values().filter(|peer| peer.is_up() && peer.links.contains_key(id)).count()
        };
        let status = |(id, space): (&NamespaceId, &Space)| NamespaceStatus {
            id: *id,
            name: space.name.to_string(),
            class: space.class,
            is_open: space.is_open,
            peers: if space.is_open { peers(id) } else { 0 },
            limits: space.store.limits().clone(),
        };
        self.spaces.iter().map(status).collect()
    }

    /// Frames of a class built for a peer and not yet written, and their bytes; none for a peer not known.
    pub fn queued(&self, peer: NodeId, class: Class) -> (usize, usize) {
        let outbox = self.peers.get(&peer).map(|peer| *peer.outboxes.of(class)).unwrap_or_default();
        (outbox.frames(), outbox.bytes())
    }

    /// What a `Hello` says of them. The default one is open everywhere and is not said.
    pub(super) fn told_namespaces(&self) -> Namespaces {
        let default = NamespaceId::named(DEFAULT_NAMESPACE);
        let of = |open| {
            let those =
                self.spaces.iter().filter(move |(id, space)| **id != default && space.is_open == open);
            those.map(|(id, _)| *id).collect()
        };
        Namespaces { open: of(true), closed: of(false) }
    }

    fn namespaces_changed(&mut self, now: Now) {
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            let state = self.peer_mut(peer);
            if state.connected {
                state.hello_due.get_or_insert(false);
                state.untold = state.introduced && state.version >= Version::DIFFERENCES;
            }
            self.settle_shared(now, peer, Begins::Peer);
        }
        self.stated += 1;
        self.fill_due = true;
    }

    /// What the `Hello` of `peer` says of its namespaces, and of what it has heard of ours; `met` if it is the first of a
    /// connection or a life, where the caller begins the round of every link.
    pub(super) fn on_namespaces(&mut self, now: Now, peer: NodeId, hello: &Hello, met: bool) {
        let (ours, may_send) = (self.told_namespaces().digest(), self.may_send(peer));
        let retry = now.mono + self.config.timing.hello_retry;
        let state = self.peer_mut(peer);
        // A `Hello` can be lost, or overtaken by a later one: it is said again until the peer has the last.
        state.untold = hello.heard != ours && state.version >= Version::DIFFERENCES;
        state.hello_at = (state.untold && may_send).then_some(retry);
        if state.namespaces != hello.namespaces {
            state.namespaces = hello.namespaces.clone();
            if !met {
                state.hello_due.get_or_insert(false);
            }
            self.stated += 1;
        }
        self.settle_shared(now, peer, if met { Begins::Caller } else { Begins::This });
    }

    /// Keeps a link to `peer` for each namespace that both have open, and none else. Who learns of one begins the round,
    /// so that not both ask for the same repair; the other steps in if nothing comes.
    fn settle_shared(&mut self, now: Now, peer: NodeId, begins: Begins) {
        let state = self.peer_mut(peer);
        let default = NamespaceId::named(DEFAULT_NAMESPACE);
        let open = state.namespaces.open.clone();
        let is_shared =
            |id: &NamespaceId, space: &Space| space.is_open && (*id == default || open.contains(id));
        let gone: Vec<NamespaceId> = state.links.keys().copied().collect();
        for namespace in gone {
            if !self.spaces.get(&namespace).is_some_and(|space| is_shared(&namespace, space)) {
                self.unlink(peer, namespace);
            }
        }
        let missing = |(id, space): (&NamespaceId, &Space)| {
            (is_shared(id, space) && !self.peers[&peer].links.contains_key(id)).then_some(*id)
        };
        for namespace in self.spaces.iter().filter_map(missing).collect::<Vec<_>>() {
            let mut link = Link::default();
            match begins {
                Begins::This => {
                    link.session.want_root(true);
                    link.session.open_due = self.peers[&peer].version >= Version::DIFFERENCES;
                }
                Begins::Peer => {
                    let step_in = self.jittered(self.config.timing.sync_timeout);
                    link.session.root_at = Some(now.mono + step_in);
                }
                Begins::Caller => {}
            }
            self.peer_mut(peer).links.insert(namespace, link);
            self.fill_due = true;
        }
    }

    /// Ends what is exchanged with `peer` in `namespace`.
    fn unlink(&mut self, peer: NodeId, namespace: NamespaceId) {
        self.peer_mut(peer).links.remove(&namespace);
        self.staging.take_if(|(from, of, _)| (*from, *of) == (peer, namespace));
        self.heal_unlinked(peer, namespace);
        self.close_inbound(peer, namespace);
        // A pull that waited for one of these may go now.
        self.fill_due = true;
    }

    /// The class of an open namespace.
    pub(super) fn class(&self, namespace: NamespaceId) -> Class {
        self.spaces[&namespace].class
    }

    /// Frames of the class of `namespace` that `peer` has yet to take.
    pub(super) fn outbox(&self, peer: NodeId, namespace: NamespaceId) -> &Outbox {
        self.peers[&peer].outboxes.of(self.class(namespace))
    }
}
