//! What of a node outlives its process.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Salvage;
use super::space::Space;
use super::{Config, Node, PersistStep, Salvaged};
use crate::id::{NamespaceId, OwnerId, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::store::Store;
use crate::time::Now;

/// The durable part of a node at one persist step: `(C, L, H, HLC, records, floors, inbound cursors,
/// owner)`, one atomic unit (DESIGN section 4, incarnations).
///
/// The log, push cursors and sessions are not in it: a new life begins new ones.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) step: PersistStep,
    pub(super) replica: ReplicaId,
    pub(super) owner: OwnerId,
    pub(super) lives: BTreeSet<ReplicaId>,
    pub(super) spaces: BTreeMap<NamespaceId, Space>,
    /// What an earlier, damaged disk gave and waits to be written again.
    pub(super) salvaged: Vec<Salvaged>,
    /// Counter owners that count no more.
    pub(super) retired: BTreeSet<OwnerId>,
}

impl Image {
    /// The step whose state this is.
    pub fn step(&self) -> PersistStep {
        self.step
    }

    /// The life whose state it is. The next life takes another id, always.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Every life whose state is in it.
    pub fn lives(&self) -> &BTreeSet<ReplicaId> {
        &self.lives
    }

    /// Every namespace in it, ascending by id: its name, empty if only the id is known, and its state.
    pub fn namespaces(&self) -> impl Iterator<Item = (NamespaceId, &str, &Store)> {
        self.spaces.iter().map(|(id, space)| (*id, &*space.name, &space.store))
    }

    /// The counter owner at that step. It may be kept if every frame ever sent was durable.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }
}

impl Node {
    /// The state as it is now, for the driver that was asked to make step [`Image::step`] durable.
    pub fn image(&self) -> Image {
        let mut spaces = self.spaces.clone();
        for space in spaces.values_mut() {
            if mutant::is(Mutant::ContextDurableBeforeItems) {
                space.store.planted_lose_newest();
            }
            if mutant::is(Mutant::ClockNotPersisted) {
                space.hlc = crate::cell::Hlc::default();
            }
            if mutant::is(Mutant::InboundAheadOfState) {
                space.inbound.values_mut().for_each(|(_, position)| *position += 1);
            }
        }
        for space in spaces.values_mut() {
            space.store.forget_log();
            (space.base, space.moved, space.settling) = (None, None, None);
        }
        let lives = self.lives.clone();
        let salvaged = self.salvage.waiting().to_vec();
        let (step, retired) = (self.step, self.retired.clone());
        Image { step, replica: self.replica, owner: self.owner, lives, spaces, salvaged, retired }
    }

    /// A new life on the durable state of an old one. `config.replica` must be new.
    ///
    /// # Panics
    /// If `config.replica` has minted events in the image: dots would be minted twice.
    pub fn restart(config: Config, image: Image, now: Now) -> Self {
        let mut spaces = image.spaces;
        for space in spaces.values_mut() {
            let minted = space.store.context().get(config.replica);
            let twin = mutant::is(Mutant::RestartKeepsReplica) || mutant::is(Mutant::RestoreKeepsReplica);
            assert!(minted == 0 || twin, "every start mints a new replica id");
            space.store.forget_log();
            space.moved = None;
            space.store.set_limits(config.limits.clone());
        }
        let mut node = Self::with_spaces(config, now, spaces);
        node.lives.extend(image.lives);
        node.salvage = Salvage::of(image.salvaged);
        (node.retired_noted, node.retired) = (image.retired.len(), image.retired);
        node
    }
}
