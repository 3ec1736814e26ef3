//! Ours: stores and a node, written one group at a time.

use std::hint::black_box;

use sync_core::cell::Hlc;
use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::node::Node;
use sync_core::store::{Group, Store};
use sync_core::time::{Now, Timestamp, WallMillis};
use sync_core::types::{lww_map, or_set, pn_counter};

use super::floor::decode;
use crate::data::{Key, key, value};
use crate::pair::{Pair, namespace};

/// Counters that take turns.
pub const COUNTERS: usize = 64;

const REPLICA: ReplicaId = ReplicaId([7; 16]);

fn store() -> Store {
    let max = u64::MAX;
    Store::new(NamespaceId([1; 8]), Limits::default().with_room(max, max))
}

fn write(store: &mut Store, fill: impl FnOnce(&mut Group<'_>)) {
    let next = store.context().get(REPLICA) + 1;
    let mut group = store.group(REPLICA, OwnerId(REPLICA.0), next, Hlc(next));
    fill(&mut group);
    black_box(group.commit());
}

/// A set in a store.
pub struct Set(Store);

impl Set {
    pub fn of(n: usize) -> Self {
        let mut set = Self(store());
        (0..n).for_each(|index| set.add(&key(index)));
        set
    }

    pub fn add(&mut self, element: &Key) {
        write(&mut self.0, |group| or_set::add(group, "s", element).expect("there is room"));
    }

    pub fn contains(&self, element: &Key) {
        black_box(or_set::contains(&self.0, "s", element));
    }
}

/// A set in a node.
pub struct NodeSet(Node);

impl NodeSet {
    pub fn of(n: usize) -> Self {
        let mut set = Self(Pair::fresh(0));
        (0..n).for_each(|index| set.add(&key(index)));
        set
    }

    pub fn add(&mut self, element: &Key) {
        let now = Now::at(Timestamp::ZERO, WallMillis(1_750_000_000_000));
        let added = self.0.write(now, namespace(), |group| or_set::add(group, "s", element));
        black_box(added.expect("there is room"));
    }
}

/// A map in a store.
pub struct Map(Store);

impl Map {
    pub fn of(n: usize) -> Self {
        let mut map = Self(store());
        (0..n).for_each(|index| map.put(index, 0));
        map
    }

    pub fn put(&mut self, index: usize, version: u64) {
        let value = value(index, version);
        write(&mut self.0, |group| lww_map::put(group, "m", &key(index), &value).expect("there is room"));
    }

    pub fn read(&self, index: usize) {
        black_box(lww_map::get(&self.0, "m", &key(index)).map(decode));
    }
}

/// Counters in a store.
pub struct Counters(Store, Vec<String>);

impl Counters {
    pub fn new() -> Self {
        Self(store(), (0..COUNTERS).map(|at| format!("counter/{at}")).collect())
    }

    pub fn add(&mut self, at: usize) {
        let Self(store, keys) = self;
        write(store, |group| pn_counter::add(group, &*keys[at % COUNTERS], 1).expect("there is room"));
    }
}
