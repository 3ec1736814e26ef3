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
use sync_core::types::or_map::Map;
use sync_core::types::{
    bounded_counter, disable_flag, enable_flag, g_counter, grow_set, log, lww_map, lww_register,
    max_register, min_register, multimap, mv_register, or_map, or_set, pn_counter, rw_set,
};

/// Which types a history writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// One type.
    Only(TypeTag),
    /// The three types that came first, on keys that they share: histories that are frozen in vectors.
    First,
    /// Whole stores: three types drawn from all of them, on keys that they share.
    All,
}

/// Every type of the engine.
pub const TYPES: [TypeTag; 16] = [
    TypeTag::OR_SET,
    TypeTag::LWW_MAP,
    TypeTag::PN_COUNTER,
    TypeTag::LWW_REGISTER,
    TypeTag::MV_REGISTER,
    TypeTag::ENABLE_FLAG,
    TypeTag::DISABLE_FLAG,
    TypeTag::GROW_SET,
    TypeTag::G_COUNTER,
    TypeTag::MAX_REGISTER,
    TypeTag::MIN_REGISTER,
    TypeTag::RW_SET,
    TypeTag::MULTIMAP,
    TypeTag::BOUNDED_COUNTER,
    TypeTag::OR_MAP,
    TypeTag::LOG,
];

impl Mix {
    /// True if what it writes can be removed by others than its writer: then there are records.
    pub fn removes(self) -> bool {
        self != Self::Only(TypeTag::GROW_SET) && self != Self::Only(TypeTag::BOUNDED_COUNTER)
    }
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
    types: Vec<TypeTag>,
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
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let types = match mix {
            Mix::Only(ty) => vec![ty],
            Mix::First => TYPES[..3].to_vec(),
            Mix::All => {
                let mut rng = rng.clone();
                (0..3).map(|_| TYPES[rng.random_range(0..TYPES.len())]).collect()
            }
        };
        Self { replicas, rng, types }
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
        let ty = self.types[self.rng.random_range(0..self.types.len())];
        let deed = Deed {
            key: ["k", "l"][self.rng.random_range(0..2)],
            path: [b'a' + self.rng.random_range(0..3u8)],
            choice: self.rng.random_range(0..100),
            value: self.rng.random_range(1..=9),
        };
        self.replicas[at].group(|group| deed.run(group, ty));
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

/// One random operation.
struct Deed {
    key: &'static str,
    path: [u8; 1],
    choice: u8,
    value: u8,
}

impl Deed {
    fn run(&self, group: &mut Group<'_>, ty: TypeTag) -> Result<(), WriteError> {
        let Self { key, path, choice, value, .. } = self;
        let count = i64::from(*value) * if choice % 3 == 0 { -1 } else { 1 };
        match (ty, choice) {
            (TypeTag::OR_SET, 0..60) => or_set::add(group, *key, path),
            (TypeTag::OR_SET, 60..90) => or_set::remove(group, *key, path).map(drop),
            (TypeTag::OR_SET, _) => or_set::clear(group, *key).map(drop),
            (TypeTag::LWW_MAP, 0..70) => lww_map::put(group, *key, path, &[*value]),
            (TypeTag::LWW_MAP, 70..92) => lww_map::remove(group, *key, path).map(drop),
            (TypeTag::LWW_MAP, _) => lww_map::clear(group, *key).map(drop),
            (TypeTag::PN_COUNTER, 0..75) => pn_counter::add(group, *key, count),
            (TypeTag::PN_COUNTER, 75..94) => pn_counter::reset(group, *key).map(drop),
            (TypeTag::PN_COUNTER, _) => pn_counter::collect_floors(group, *key).map(drop),
            (TypeTag::LWW_REGISTER, 0..70) => lww_register::set(group, *key, &[*value]),
            (TypeTag::LWW_REGISTER, _) => lww_register::clear(group, *key).map(drop),
            (TypeTag::MV_REGISTER, 0..70) => mv_register::set(group, *key, &[*value]),
            (TypeTag::MV_REGISTER, _) => mv_register::clear(group, *key).map(drop),
            (TypeTag::ENABLE_FLAG, 0..60) => enable_flag::enable(group, *key),
            (TypeTag::ENABLE_FLAG, _) => enable_flag::disable(group, *key).map(drop),
            (TypeTag::DISABLE_FLAG, 0..45) => disable_flag::enable(group, *key),
            (TypeTag::DISABLE_FLAG, 45..80) => disable_flag::disable(group, *key),
            (TypeTag::DISABLE_FLAG, _) => disable_flag::clear(group, *key).map(drop),
            (TypeTag::GROW_SET, _) => grow_set::add(group, *key, &[path[0], *value]).map(drop),
            (TypeTag::G_COUNTER, 0..75) => g_counter::add(group, *key, u64::from(*value)),
            (TypeTag::G_COUNTER, _) => g_counter::reset(group, *key).map(drop),
            (TypeTag::MAX_REGISTER, 0..75) => max_register::write(group, *key, count),
            (TypeTag::MAX_REGISTER, _) => max_register::clear(group, *key).map(drop),
            (TypeTag::MIN_REGISTER, 0..75) => min_register::write(group, *key, count),
            (TypeTag::MIN_REGISTER, _) => min_register::clear(group, *key).map(drop),
            (TypeTag::RW_SET, 0..45) => rw_set::add(group, *key, path),
            (TypeTag::RW_SET, 45..80) => rw_set::remove(group, *key, path).map(drop),
            (TypeTag::RW_SET, 80..90) => rw_set::collect(group, *key, |_| true).map(drop),
            (TypeTag::RW_SET, _) => rw_set::clear(group, *key).map(drop),
            (TypeTag::MULTIMAP, 0..60) => multimap::add(group, *key, path, &[*value % 3]),
            (TypeTag::MULTIMAP, 60..75) => multimap::remove(group, *key, path, &[*value % 3]).map(drop),
            (TypeTag::MULTIMAP, 75..92) => multimap::remove_field(group, *key, path).map(drop),
            (TypeTag::MULTIMAP, _) => multimap::clear(group, *key).map(drop),
            (TypeTag::BOUNDED_COUNTER, _) => self.bounded(group),
            (TypeTag::OR_MAP, _) => self.nested(group),
            (TypeTag::LOG, 0..90) => log::append(group, *key, path, log::Bound { entries: 4, age_ms: 30 }),
            (TypeTag::LOG, _) => log::clear(group, *key).map(drop),
            (ty, _) => unreachable!("{ty:?} is not in TYPES"),
        }
    }

    /// A refusal for lack of rights, or for rights that are out, is an answer and no mistake.
    fn bounded(&self, group: &mut Group<'_>) -> Result<(), WriteError> {
        let count = u64::from(self.value);
        let done = match self.choice {
            0..45 => bounded_counter::gain(group, self.key, count),
            45..75 => bounded_counter::spend(group, self.key, count),
            75..95 => bounded_counter::send(group, self.key, OwnerId([1 + self.value % 3; 16]), count),
            _ => bounded_counter::remove(group, self.key).map(drop),
        };
        match done {
            Err(WriteError::Rights { .. } | WriteError::RightsOut { .. }) => Ok(()),
            done => done,
        }
    }

    fn nested(&self, group: &mut Group<'_>) -> Result<(), WriteError> {
        let Self { key, path, value, .. } = self;
        let outer = Map::at_key(key);
        let inner = outer.map(path);
        let map = if value % 2 == 0 { &outer } else { &inner };
        match self.choice {
            0..25 => or_set::add(group, map.at(path), &[*value]),
            25..45 => lww_register::set(group, map.at(path), &[*value]),
            45..70 => pn_counter::add(group, map.at(path), i64::from(*value)),
            70..75 => or_set::remove(group, map.at(path), &[*value]).map(drop),
            75..80 => pn_counter::reset(group, map.at(path)).map(drop),
            80..95 => or_map::remove(group, map, path).map(drop),
            _ => or_map::clear(group, map).map(drop),
        }
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
