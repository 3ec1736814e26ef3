//! What an operator does with single peers: shut one out, let it in again, add one, take one off the list.
//!
//! In flow a peer as people name it: the first digits of its id, or its configured address. The core's breaker does
//! what is asked and the driver carries it out; here is only who is meant, and what is in the way.

use serde::{Deserialize, Serialize};
use sync_core::breaker::BreakerState;
use sync_core::id::{NodeId, OwnerId};
use sync_core::node::{Node as Core, RetireError, Retired};
use sync_core::time::Now;

use crate::inspect::{self, PeerInfo};
use crate::node::Shared;
use crate::transport::{PeerAddr, PeerAddrError};

/// Why nothing was done about a peer. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Caller: no peer has this address, or an id that begins so.
    #[error(
        "no peer is named {name:?}; give its address or the first digits of its id, as `peers` lists them"
    )]
    Unknown {
        /// What was given.
        name: String,
    },
    /// Caller: the ids of several peers begin so.
    #[error("{count} peers have an id that begins with {name}; give more digits")]
    Ambiguous {
        /// What was given.
        name: String,
        /// How many.
        count: usize,
    },
    /// Caller: nobody has answered at this address yet, so there is no breaker to move.
    #[error("nobody has answered at {name} yet, so nobody is known to live there; only `remove` works on it")]
    NeverReached {
        /// The address.
        name: String,
    },
    /// Caller: the peer was taken off the list.
    #[error("{name} was taken off the list of peers; `peers add` puts it back")]
    Removed {
        /// What was given.
        name: String,
    },
    /// Limit reached: as many peers are dialled, or remembered as removed, as may be.
    #[error("this node has as many peers as it may; remove one or raise peers_max")]
    Full,
    /// Caller: what is to be added is no address.
    #[error(transparent)]
    Address(#[from] PeerAddrError),
    /// Caller: no counter owner, or more than one, has an id that begins so.
    #[error(
        "{count} counter owners have an id that begins with {text:?}; give the digits of one, as `inspect KEY` shows them"
    )]
    Owner {
        /// What was given.
        text: String,
        /// How many.
        count: usize,
    },
    /// Caller, or limit reached: it cannot be retired.
    #[error(transparent)]
    Retire(#[from] RetireError),
    /// Caller: the node is shutting down or has shut down.
    #[error("the node is shut down and has no peers; start another")]
    Closed,
}

/// A member that was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRetired {
    /// Its node id, in hex.
    pub peer: String,
    /// Its counter owners as far as they are known, in hex: floors of these go once all who are left know them.
    pub owners: Vec<String>,
    /// Rights of bounded counters that nobody can spend any more.
    pub rights_lost: Vec<RightsLost>,
}

/// Rights that were held by an owner who is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsLost {
    /// The bounded counter.
    pub key: String,
    /// The owner, in hex.
    pub owner: String,
    /// How many.
    pub rights: u64,
}

/// What became of a peer that an operator moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMoved {
    /// Its node id, in hex; `None` if nobody has answered at its address yet.
    pub peer: Option<String>,
    /// Its configured address, or where it came from.
    pub address: Option<String>,
    /// How its breaker stands now: `closed`, `open`, `half-open` or `removed`.
    pub breaker: String,
}

/// A peer that was named.
struct Named {
    id: Option<NodeId>,
    address: Option<String>,
}

impl Named {
    /// By its address, or by the beginning of its id.
    fn find(peers: &[PeerInfo], name: &str) -> Result<Self, PeerError> {
        let of = |peer: &PeerInfo| Self {
            id: peer.peer.as_deref().and_then(NodeId::from_hex),
            address: peer.address.clone(),
        };
        if let Some(peer) = peers.iter().find(|peer| peer.address.as_deref() == Some(name)) {
            return Ok(of(peer));
        }
        let begins = |peer: &&PeerInfo| {
            !name.is_empty() && peer.peer.as_deref().is_some_and(|id| id.starts_with(&name.to_lowercase()))
        };
        let mut found: Vec<&PeerInfo> = peers.iter().filter(begins).collect();
        found.dedup_by_key(|peer| &peer.peer);
        match found.as_slice() {
            [] => Err(PeerError::Unknown { name: name.to_owned() }),
            [peer] => Ok(of(peer)),
            several => Err(PeerError::Ambiguous { name: name.to_owned(), count: several.len() }),
        }
    }

    fn moved(self, shared: &Shared) -> PeerMoved {
        let state = self.id.map_or(BreakerState::Closed, |id| shared.core().breaker_state(id));
        PeerMoved {
            peer: self.id.map(|id| id.to_hex()),
            address: self.address,
            breaker: state.name().to_owned(),
        }
    }
}

/// Moves the breaker of a peer that was met.
fn with_breaker(
    shared: &Shared,
    name: &str,
    step: impl FnOnce(&mut Core, Now, NodeId) -> bool,
) -> Result<PeerMoved, PeerError> {
    let named = Named::find(&inspect::peers(shared, shared.default.id), name)?;
    let id = named.id.ok_or_else(|| PeerError::NeverReached { name: name.to_owned() })?;
    let done = {
        let mut core = shared.core();
        step(&mut core, shared.clock.now(), id)
    };
    if !done {
        let removed = shared.core().breaker_state(id) == BreakerState::Removed;
        return Err(if removed { PeerError::Removed { name: name.to_owned() } } else { PeerError::Full });
    }
    shared.work.notify_one();
    Ok(named.moved(shared))
}

/// See [`crate::Node::trip_peer`].
pub(crate) fn trip(shared: &Shared, name: &str) -> Result<PeerMoved, PeerError> {
    with_breaker(shared, name, Core::trip_peer)
}

/// See [`crate::Node::reset_peer`].
pub(crate) fn reset(shared: &Shared, name: &str) -> Result<PeerMoved, PeerError> {
    with_breaker(shared, name, Core::reset_peer)
}

/// See [`crate::Node::remove_peer`].
pub(crate) fn remove(shared: &Shared, name: &str) -> Result<PeerMoved, PeerError> {
    let transport = shared.transport().ok_or(PeerError::Closed)?;
    let named = Named::find(&inspect::peers(shared, shared.default.id), name)?;
    if let Some(id) = named.id {
        let removed = {
            let mut core = shared.core();
            core.remove_peer(shared.clock.now(), id)
        };
        if !removed {
            return Err(PeerError::Full);
        }
    }
    // Every address at which it answers, or it would be dialled as a stranger after a restart of the peer.
    let same = |link: &crate::transport::LinkStatus| named.id.is_some() && link.id == named.id;
    let addresses = transport.links().into_iter().filter(same).map(|link| link.addr);
    for addr in addresses.chain(named.address.clone()) {
        transport.remove_peer(&addr);
    }
    shared.work.notify_one();
    let moved = named.moved(shared);
    Ok(PeerMoved { breaker: BreakerState::Removed.name().to_owned(), ..moved })
}

/// See [`crate::Node::add_peer`].
pub(crate) fn add(shared: &Shared, text: &str) -> Result<PeerMoved, PeerError> {
    let transport = shared.transport().ok_or(PeerError::Closed)?;
    let known = Named::find(&inspect::peers(shared, shared.default.id), text).ok();
    let (id, address) = match text.parse::<PeerAddr>() {
        Ok(to) => {
            let address = to.addr.clone();
            let pinned =
                to.id.or(known.and_then(|named| named.id)).or_else(|| transport.formerly_at(&address));
            if !transport.add_peer(to) {
                return Err(PeerError::Full);
            }
            (pinned, Some(address))
        }
        // A guest that was removed has no address here.
        Err(error) => match known {
            Some(named) => (named.id, named.address),
            None => return Err(error.into()),
        },
    };
    if let Some(id) = id {
        shared.core().add_peer(shared.clock.now(), id);
    }
    shared.work.notify_one();
    Ok(Named { id, address }.moved(shared))
}

/// See [`crate::Node::retire_peer`].
pub(crate) fn retire(shared: &Shared, name: &str, owners: &[String]) -> Result<PeerRetired, PeerError> {
    let known = shared.core().counter_owners();
    let named = |text: &String| {
        let begins = |owner: &&OwnerId| !text.is_empty() && owner.to_hex().starts_with(&text.to_lowercase());
        let found: Vec<OwnerId> = known.iter().filter(begins).copied().collect();
        match found.as_slice() {
            [owner] => Ok(*owner),
            found => Err(PeerError::Owner { text: text.clone(), count: found.len() }),
        }
    };
    let owners = owners.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let listed = Named::find(&inspect::peers(shared, shared.default.id), name);
    let id = match (&listed, NodeId::from_hex(name)) {
        (Ok(named), _) => named.id.ok_or_else(|| PeerError::NeverReached { name: name.to_owned() })?,
        // Met by an earlier life, or by none: what it may have left behind is here all the same.
        (Err(_), Some(id)) => id,
        (Err(error), None) => return Err(error.clone()),
    };
    let Retired { owners, rights_lost } = shared.core().retire(id, &owners)?;
    if listed.is_ok() {
        // What was retired must not come back by itself.
        remove(shared, name)?;
    } else {
        shared.core().remove_peer(shared.clock.now(), id);
        shared.work.notify_one();
    }
    shared.look_again();
    let lost = |(object, owner, rights): (sync_core::cell::ObjectId, OwnerId, u64)| RightsLost {
        key: object.key.as_str().to_owned(),
        owner: owner.to_hex(),
        rights,
    };
    Ok(PeerRetired {
        peer: id.to_hex(),
        owners: owners.iter().map(|owner| owner.to_hex()).collect(),
        rights_lost: rights_lost.into_iter().map(lost).collect(),
    })
}
