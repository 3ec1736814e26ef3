//! Random histories over bare stores: the states on which lattice laws and oracles are tried.
//!
//! A [`Lab`] holds a few replicas. Each step writes on one or carries a fragment from one to another. All
//! transfers have the effect of a full join (DESIGN section 1), so any of the three fragment strengths
//! may be drawn. Small keys and paths make histories meet in the same cells.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sync_core::causal::DotSet;
use sync_core::cell::{Hlc, TypeTag};
use sync_core::error::WriteError;
use sync_core::fragment::Fragment;
use sync_core::id::{Dot, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Learned, Store};
use sync_core::time::WallMillis;
use sync_core::types::{lww_map, or_set, pn_counter};

/// Which types a history writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// One type.
    Only(TypeTag),
    /// Whole stores: all types, on keys that they share.
    All,
}

/// One replica: its store and what it mints with.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The state.
    pub store: Store,
    /// The actor of its dots.
    pub id: ReplicaId,
    /// The owner of its contributions.
    pub owner: OwnerId,
    clock: u64,
}

/// A few replicas with a random history. See the module's documentation.
#[derive(Debug)]
pub struct Lab {
    /// The replicas.
    pub replicas: Vec<Replica>,
    /// The seeded generator that decides everything.
    pub rng: Xoshiro256PlusPlus,
    mix: Mix,
}

impl Lab {
    /// `count` empty replicas.
    pub fn new(seed: u64, count: u8, mix: Mix, limits: &Limits) -> Self {
        let replica = |index: u8| Replica {
            store: Store::new(crate::namespace(), limits.clone()),
            id: crate::replica(index, 0),
            owner: OwnerId([index + 1; 16]),
            clock: u64::from(index) * 3,
        };
        let replicas = (0..count).map(replica).collect();
        Self { replicas, rng: Xoshiro256PlusPlus::seed_from_u64(seed), mix }
    }

    /// Replicas after `steps` random steps, with room for one record in every second seed.
    pub fn with_history(seed: u64, mix: Mix, steps: usize) -> Self {
        let mut limits = Limits::default();
        if seed.is_multiple_of(2) {
            limits.records_max = 1;
        }
        let mut lab = Self::new(seed, 3, mix, &limits);
        for _ in 0..steps {
            lab.step();
        }
        lab
    }

    /// One random step: mostly a write, else a transfer.
    pub fn step(&mut self) {
        let at = self.rng.random_range(0..self.replicas.len());
        if self.rng.random_bool(0.7) {
            self.write(at);
        } else {
            let from = self.rng.random_range(0..self.replicas.len());
            self.transfer(from, at);
        }
    }

    /// Writes a random group on replica `at`.
    pub fn write(&mut self, at: usize) {
        let ty = match self.mix {
            Mix::Only(ty) => ty,
            Mix::All => [TypeTag::OR_SET, TypeTag::LWW_MAP, TypeTag::PN_COUNTER][self.rng.random_range(0..3)],
        };
        let key = ["k", "l"][self.rng.random_range(0..2)];
        let path = [[b'a' + self.rng.random_range(0..3u8)]];
        let (choice, value) = (self.rng.random_range(0..100), self.rng.random_range(1..=9));
        let count = i64::from(value) * if choice % 3 == 0 { -1 } else { 1 };
        self.replicas[at].group(|group| {
            match (ty, choice) {
                (TypeTag::OR_SET, 0..60) => or_set::add(group, key, &path[0])?,
                (TypeTag::OR_SET, 60..90) => drop(or_set::remove(group, key, &path[0])?),
                (TypeTag::OR_SET, _) => drop(or_set::clear(group, key)?),
                (TypeTag::LWW_MAP, 0..70) => lww_map::put(group, key, &path[0], &[value])?,
                (TypeTag::LWW_MAP, 70..92) => drop(lww_map::remove(group, key, &path[0])?),
                (TypeTag::LWW_MAP, _) => drop(lww_map::clear(group, key)?),
                (_, 0..75) => pn_counter::add(group, key, count)?,
                (_, 75..94) => drop(pn_counter::reset(group, key)?),
                (_, _) => drop(pn_counter::collect_floors(group, key)?),
            }
            Ok(())
        });
    }

    /// Carries to `to` what it lacks of `from`, by a fragment of a random strength.
    pub fn transfer(&mut self, from: usize, to: usize) {
        if from != to {
            let fragment = self.fragment(from, to);
            self.join(to, &fragment);
        }
    }

    /// What `to` lacks of `from`: an answer, or a push of everything since the beginning.
    pub fn fragment(&mut self, from: usize, to: usize) -> Fragment {
        let sender = &self.replicas[from].store;
        if self.rng.random_bool(0.5) {
            sender.answer(self.replicas[to].store.context())
        } else {
            sender.push_fragment(sender.context().to_dots())
        }
    }

    /// Joins a fragment at replica `to`.
    pub fn join(&mut self, to: usize, fragment: &Fragment) {
        self.replicas[to].join(fragment);
    }
}

impl Replica {
    /// Makes a group of writes.
    ///
    /// # Panics
    /// If a limit refuses it; no history here is meant to meet one.
    pub fn group<T>(&mut self, fill: impl FnOnce(&mut Group<'_>) -> Result<T, WriteError>) -> T {
        self.clock += 2;
        let next = self.store.context().get(self.id) + 1;
        let mut group = self.store.group(self.id, self.owner, next, Hlc::from_wall(WallMillis(self.clock)));
        let value = fill(&mut group).expect("the lab meets no limit");
        group.commit();
        value
    }

    /// Joins a fragment that must be acceptable.
    pub fn join(&mut self, fragment: &Fragment) {
        fragment.check().expect("a store builds well-formed fragments");
        let own_minted = self.store.context().get(self.id);
        let learned = Learned { own: self.id, own_minted, from: None };
        self.store.join(fragment, learned).expect("a store builds joinable fragments");
    }
}

/// Dots that one of two stores has seen die and the other holds live, where each knows events that the
/// other lacks: kills that are concurrent with something.
pub fn concurrent_kills(a: &Store, b: &Store) -> usize {
    if a.context().covers(b.context()) || b.context().covers(a.context()) {
        return 0;
    }
    let killed = |dead: &Store, live: &Store| {
        live.live_dots().filter(|dot| dead.context().contains(*dot) && !dead.is_live(*dot)).count()
    };
    killed(a, b) + killed(b, a)
}

/// A random prefix-closed part of what `from` knows and `to` lacks: dots a fragment may name.
pub fn random_part(rng: &mut Xoshiro256PlusPlus, from: &Store, to: &Store) -> DotSet {
    let mut part = DotSet::default();
    for (replica, seq) in from.context().columns() {
        let known = to.context().get(replica);
        if seq > known {
            part.insert_range(replica, known + 1, rng.random_range(known..=seq));
        }
        let again = rng.random_range(0..=seq);
        if again > 0 {
            part.insert(Dot::new(replica, again.min(known.max(1))));
        }
    }
    part
}
