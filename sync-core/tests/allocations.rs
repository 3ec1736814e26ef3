//! How often the write path asks for memory: next to never.
//!
//! Counted by the allocator of `allocation-counter`, which this program alone links.

use allocation_counter::measure;
use sync_core::cell::Hlc;
use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Learned, Store};
use sync_core::types::{lww_map, or_set, pn_counter};

const OURS: ReplicaId = ReplicaId([7; 16]);
const THEIRS: ReplicaId = ReplicaId([9; 16]);
/// Operations of each kind; what grows by doubling is spread over them.
const OPS: u64 = 2_000;

fn store() -> Store {
    Store::new(NamespaceId([1; 8]), Limits::default())
}

fn write(store: &mut Store, replica: ReplicaId, fill: impl FnOnce(&mut Group<'_>)) {
    let next = store.context().get(replica) + 1;
    let mut group = store.group(replica, OwnerId(replica.0), next, Hlc(next));
    fill(&mut group);
    group.commit();
}

/// Allocations of one of [`OPS`] operations, on average.
fn each(mut operation: impl FnMut(u64)) -> f64 {
    let counted = measure(|| (0..OPS).for_each(&mut operation));
    counted.count_total as f64 / OPS as f64
}

fn path(at: u64) -> [u8; 16] {
    std::array::from_fn(|byte| at.to_be_bytes()[byte % 8])
}

#[test]
fn a_small_write_allocates_next_to_nothing() {
    let mut store = store();
    let add =
        |store: &mut Store, at| write(store, OURS, |group| or_set::add(group, "s", &path(at)).expect("room"));
    let put = |store: &mut Store, at| {
        write(store, OURS, |group| lww_map::put(group, "m", &path(at), b"a value").expect("room"))
    };
    let count = |store: &mut Store, at: u64| {
        let key = ["a", "b", "c"][usize::try_from(at % 3).expect("it is below three")];
        write(store, OURS, |group| pn_counter::add(group, key, 1).expect("room"));
    };
    (0..OPS).for_each(|at| put(&mut store, at));
    (0..OPS).for_each(|at| count(&mut store, at));

    let new = each(|at| add(&mut store, at));
    assert!(new < 0.1, "{new} for a new element");
    let overwritten = each(|at| put(&mut store, at * 7 % OPS));
    assert!(overwritten < 0.1, "{overwritten} for a present field");
    // A contribution is encoded in space that the store keeps.
    let counted = each(|at| count(&mut store, at));
    assert!(counted < 0.2, "{counted} for an increment");
}

#[test]
fn reads_allocate_nothing() {
    let mut store = store();
    for at in 0..OPS {
        write(&mut store, OURS, |group| lww_map::put(group, "m", &path(at), b"a value").expect("room"));
    }
    let read = each(|at| assert!(lww_map::get(&store, "m", &path(at)).is_some()));
    assert_eq!(read, 0.0);
}

#[test]
fn a_join_allocates_less_than_an_entry_each() {
    let (mut ours, mut theirs) = (store(), store());
    let known = theirs.context().clone();
    for at in 0..OPS {
        write(&mut theirs, THEIRS, |group| or_set::add(group, "s", &path(at)).expect("room"));
    }
    let fragment = theirs.push_fragment(theirs.context().minus(&known));
    let learned = Learned { own: OURS, own_minted: 0, from: Some(THEIRS) };
    let counted = measure(|| drop(ours.join(&fragment, learned).expect("it follows")));
    assert!(counted.count_total < OPS / 5, "{} for {OPS} entries", counted.count_total);
}
