//! A member that will not return: what it alone could have ended, or spent.
//!
//! It is no member any more ([`Node::forget`]), so nothing waits for it. Its counter owners count no more: a floor of
//! one of them is there for increments that a reset has not seen, and once it is stable among those that are left
//! (see `stable.rs`), all of that owner's contributions that any of them knows are known here. Then a floor that
//! meets none of them is met by none ever, and anyone may end it (DESIGN section 4, incarnations). What the owner
//! held of bounded counters nobody can spend any more; that is told, and changes nothing.
//!
//! **This is a promise of the operator's.** A member that is retired and comes back all the same may bring
//! increments that a reset had taken, where the floor is gone.

use std::collections::BTreeSet;

use super::Node;
use super::owner::row_owner;
use crate::cell::{ObjectId, TypeTag};
use crate::id::{Dot, NamespaceId, NodeId, OwnerId, ReplicaId};
use crate::store::Store;
use crate::time::Now;
use crate::types::{bounded_counter, counter};

/// Most counter owners that are retired at a time; [`RetireError::TooMany`] beyond. They count until this node is
/// started again.
pub const RETIRED_OWNERS_MAX: usize = 1_024;

/// What became known when a member was retired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Its counter owners: those that were named, and those whose latest count was written by a life of the member
    /// that this node has met. An owner that counted last in a life not met here has to be named.
    pub owners: BTreeSet<OwnerId>,
    /// Rights of these that nobody can spend any more: the bounded counter, the owner, how many.
    pub rights_lost: Vec<(ObjectId, OwnerId, u64)>,
}

/// Why a member is not retired. Nothing changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetireError {
    /// Caller: it is here.
    #[error("{peer} is connected; stop it first")]
    Connected {
        /// The member.
        peer: NodeId,
    },
    /// Caller: neither a peer that is known here nor an owner was named.
    #[error("{peer} is not known here, and no owner is named")]
    Unknown {
        /// Who was named.
        peer: NodeId,
    },
    /// Caller: an owner that was named counts here.
    #[error("owner {owner} is this node's own, or that of nobody who has gone")]
    OwnOwner {
        /// The owner.
        owner: OwnerId,
    },
    /// Limit reached.
    #[error(
        "{owners} counter owners would be retired, at most {max} are; start this node again to forget earlier ones"
    )]
    TooMany {
        /// How many there would be.
        owners: usize,
        /// [`RETIRED_OWNERS_MAX`].
        max: usize,
    },
}

impl Node {
    /// Ends a member that will not return, and the counter owners that were its; `named` adds owners that this node
    /// cannot know to be its.
    ///
    /// # Errors
    /// [`RetireError`]; nothing changed then.
    pub fn retire(&mut self, peer: NodeId, named: &[OwnerId]) -> Result<Retired, RetireError> {
        let met = self.peers.get(&peer);
        if met.is_some_and(|peer| peer.connected) {
            return Err(RetireError::Connected { peer });
        }
        if let Some(owner) = named.iter().copied().find(|owner| *owner == self.owner) {
            return Err(RetireError::OwnOwner { owner });
        }
        let held = self.spaces.values().filter_map(|space| space.inbound.get(&peer)).map(|(life, _)| *life);
        let lives: BTreeSet<ReplicaId> =
            met.and_then(|peer| peer.incarnation).into_iter().chain(held).collect();
        if met.is_none() && lives.is_empty() && !self.members.nodes.contains(&peer) && named.is_empty() {
            return Err(RetireError::Unknown { peer });
        }
        let mut retired = Retired { owners: named.iter().copied().collect(), rights_lost: Vec::new() };
        for space in self.spaces.values() {
            retired.owners.extend(owners_of(&space.store, &lives).filter(|owner| *owner != self.owner));
        }
        let owners = self.retired.union(&retired.owners).count();
        if owners > RETIRED_OWNERS_MAX {
            return Err(RetireError::TooMany { owners, max: RETIRED_OWNERS_MAX });
        }
        for space in self.spaces.values() {
            retired.rights_lost.extend(rights_of(&space.store, &retired.owners));
        }
        self.forget(peer);
        self.retired.extend(&retired.owners);
        self.stated += 1;
        self.cleaned.clear();
        // Who has retired is part of what outlives the process.
        self.step_on();
        self.fill_due = true;
        Ok(retired)
    }

    /// Every counter owner that has counted, as far as this node knows. Costs a walk over all counters and nested maps.
    pub fn counter_owners(&self) -> BTreeSet<OwnerId> {
        self.spaces.values().flat_map(|space| owners_where(&space.store, |_| true)).collect()
    }

    /// Ends the floors of retired owners that are stable and that nothing meets; true if others are left.
    pub(super) fn end_retired_floors(&mut self, now: Now, namespace: NamespaceId) -> bool {
        let store = &self.spaces[&namespace].store;
        let stale: Vec<_> =
            self.retired.iter().flat_map(|owner| counter::stale_floors(store, *owner)).collect();
        if stale.is_empty() || self.is_unsound(namespace) {
            return !stale.is_empty();
        }
        let Some(stated) = self.stated_by_all(namespace) else { return true };
        let is_stable = |dot: Dot| stated.iter().all(|whole| dot.seq <= whole.get(dot.replica));
        let mut left = false;
        for floors in &stale {
            let ended = self.write(now, namespace, |group| counter::collect_floors(group, floors, is_stable));
            left |= !matches!(ended, Ok((all, _)) if all == floors.count());
        }
        left
    }
}

/// The owners whose live rows were written by one of `lives`.
fn owners_of<'a>(store: &'a Store, lives: &'a BTreeSet<ReplicaId>) -> impl Iterator<Item = OwnerId> + 'a {
    owners_where(store, |life| lives.contains(&life))
}

fn owners_where<'a>(
    store: &'a Store,
    counts_for: impl Fn(ReplicaId) -> bool + 'a,
) -> impl Iterator<Item = OwnerId> + 'a {
    let counts = |ty: TypeTag| ty.has_rows() || ty == TypeTag::BOUNDED_COUNTER || ty == TypeTag::OR_MAP;
    let objects = store.objects("").map(|info| info.object).filter(move |object| counts(object.ty));
    objects.flat_map(move |object| {
        let cells = store.cells(object.key.as_str(), object.ty);
        let written = cells.filter(|(_, items)| items.iter().any(|item| counts_for(item.dot.replica)));
        let owners: Vec<OwnerId> = written.filter_map(|(path, _)| row_owner(object.ty, path)).collect();
        owners
    })
}

fn rights_of<'a>(
    store: &'a Store,
    owners: &'a BTreeSet<OwnerId>,
) -> impl Iterator<Item = (ObjectId, OwnerId, u64)> + 'a {
    let bounded =
        store.objects("").map(|info| info.object).filter(|object| object.ty == TypeTag::BOUNDED_COUNTER);
    bounded.flat_map(move |object| {
        let held = bounded_counter::holders(store, object.key.as_str()).into_iter();
        let lost = held.filter(|(owner, rights)| *rights > 0 && owners.contains(owner));
        let lost: Vec<_> = lost.map(|(owner, rights)| (object.clone(), owner, rights)).collect();
        lost
    })
}
