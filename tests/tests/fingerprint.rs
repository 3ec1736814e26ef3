//! Fingerprints of objects and of ranges of their cells: equal exactly where the cells are.

use std::collections::BTreeSet;

use sync_core::cell::{ObjectId, TypeTag};
use sync_core::limits::Limits;
use sync_core::store::Store;
use sync_core::types::or_set;
use sync_tests::Cluster;
use sync_tests::lab::{Lab, Mix};

fn same_cells(a: &Store, b: &Store, object: &ObjectId) -> bool {
    let (key, ty) = (object.key.as_str(), object.ty);
    a.cells(key, ty).eq(b.cells(key, ty))
}

#[test]
fn two_objects_have_one_fingerprint_exactly_if_their_cells_and_items_are_the_same() {
    let (mut same, mut other) = (0, 0);
    for seed in 0..300 {
        let lab = Lab::with_history(seed, Mix::All, 40);
        let (a, b) = (&lab.replicas[0].store, &lab.replicas[1].store);
        let objects: BTreeSet<ObjectId> = a.objects_after(None).chain(b.objects_after(None)).collect();
        for object in objects {
            let [one, two] = [a, b].map(|store| store.object_fingerprint(object.key.as_str(), object.ty));
            assert_eq!(one == two, same_cells(a, b, &object), "seed {seed}, {object:?}");
            *(if one == two { &mut same } else { &mut other }) += 1;
        }
    }
    assert!(same > 20 && other > 20, "{same} the same, {other} not: both kinds were met");
}

#[test]
fn ranges_of_any_length_meet_every_cell_once_and_tell_where_they_end() {
    let mut cluster = Cluster::new(1, &Limits::default());
    for element in 0..50u8 {
        cluster.write(0, |group| or_set::add(group, "s", &[element]));
    }
    let (store, object) = (cluster.store(0), ObjectId::new("s", TypeTag::OR_SET));
    for len in [1, 7, 49, 50, 51] {
        let (mut after, mut cells) = (None, 0);
        loop {
            let range = store.range_fingerprint(&object, after.as_deref(), None, len);
            assert!(range.cells <= len);
            cells += range.cells;
            let until = range.last.as_ref().map(|path| path.as_bytes().to_vec());
            let again = store.range_fingerprint(&object, after.as_deref(), until.as_deref(), 50);
            assert_eq!(
                (again.fingerprint, again.is_cut),
                (range.fingerprint, false),
                "the same range by its end"
            );
            assert_eq!(
                store.cells_between(&object, after.as_deref(), until.as_deref()).count() as u64,
                range.cells
            );
            if !range.is_cut {
                break;
            }
            after = until;
        }
        assert_eq!(cells, 50);
    }
    let nothing = store.range_fingerprint(&object, Some(&[49]), None, 10);
    assert_eq!((nothing.cells, nothing.last), (0, None));
}

#[test]
fn objects_are_walked_from_any_object_on() {
    let mut cluster = Cluster::new(1, &Limits::default());
    for key in ["a", "b", "c"] {
        cluster.write(0, |group| or_set::add(group, key, b"x"));
        cluster.write(0, |group| sync_core::types::lww_map::put(group, key, b"f", b"v"));
    }
    let all: Vec<ObjectId> = cluster.store(0).objects_after(None).collect();
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted());
    for (at, object) in all.iter().enumerate() {
        let rest: Vec<ObjectId> = cluster.store(0).objects_after(Some(object)).collect();
        assert_eq!(rest, all[at + 1..]);
    }
    let between = ObjectId::new("b0", TypeTag::OR_SET);
    assert_eq!(cluster.store(0).objects_after(Some(&between)).count(), 2, "a key that is not there");
}
