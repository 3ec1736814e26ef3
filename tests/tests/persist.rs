//! Persist steps as rows: a disk that applied them holds the image of the node, whatever happened to it.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sync_core::limits::Limits;
use sync_core::node::{Config, Image, ImageRows, Input, Node, Persistence, StepRows};
use sync_core::rows::{RowError, Table};
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, pn_counter, rw_set};
use sync_tests::{Cluster, config, namespace, node_id};

/// A disk that keeps what it is told.
#[derive(Clone, Default)]
struct Disk {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Disk {
    fn apply(&mut self, step: &StepRows) {
        if step.whole {
            self.rows.clear();
        }
        for row in &step.rows {
            let key = (row.table, row.key.clone());
            match row.sealed() {
                Some(stored) => self.rows.insert(key, stored),
                None => self.rows.remove(&key),
            };
        }
    }

    fn image(&self, config: &Config) -> Result<Image, RowError> {
        let mut rows = ImageRows::new(config);
        for ((table, key), stored) in &self.rows {
            rows.stored(*table, key, stored)?;
        }
        rows.finish()
    }
}

fn limits() -> Limits {
    // So few that records go and floors rise, and that some steps are whole ones.
    Limits { records_max: 6, step_changes_max: 40, log_entries_max: 20, ..Limits::default() }
}

fn on_disk(index: u8, life: u8) -> Config {
    Config { limits: limits(), persistence: Persistence::Driver, ..config(index, life) }
}

fn act(cluster: &mut Cluster, index: u8, random: &mut Xoshiro256PlusPlus) {
    let element = [random.random_range(0..12u8)];
    let kind = random.random_range(0..10);
    let count = random.random_range(1..4u8);
    let gives_up = random.random_bool(0.1);
    let written = cluster.try_write(index, |group| {
        for more in 0..count {
            let element = [element[0], more];
            match kind {
                0..3 => or_set::add(group, "set", &element)?,
                3 => drop(or_set::remove(group, "set", &element)?),
                4 => drop(or_set::clear(group, "set")?),
                5 => lww_map::put(group, "map", &element, b"value")?,
                6 => pn_counter::add(group, "count", 2)?,
                7 => drop(pn_counter::reset(group, "count")?),
                8 => drop(rw_set::remove(group, "marks", &element)?),
                _ => {
                    group.expiring_after(Span::from_secs(5), |group| or_set::add(group, "brief", &element))?
                }
            }
        }
        if gives_up {
            return Err(sync_core::error::WriteError::NoPlace);
        }
        Ok(())
    });
    assert_eq!(written.is_err(), gives_up);
}

/// Both came back from disk, and go on alike: the order of records is among what the rows carry.
fn assert_alike(mut one: Node, mut other: Node, now: sync_core::time::Now) {
    assert_eq!(one.state_key(now), other.state_key(now));
    for node in [&mut one, &mut other] {
        for element in 0..8u8 {
            let name = [element];
            node.write(now, namespace(), |group| {
                or_set::add(group, "later", &name)?;
                or_set::remove(group, "later", &name)
            })
            .expect("there is room");
        }
        node.store(namespace()).expect("it is open").check().expect("it is sound");
    }
    assert_eq!(one.state_key(now), other.state_key(now));
}

#[test]
fn rows_of_all_steps_give_the_image_of_the_node_after_any_workload() {
    let (mut wholes, mut parts) = (0, 0);
    for seed in 0..60 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut cluster = Cluster::apart([on_disk(0, 0), config(1, 0), config(2, 0)]);
        [(0, 1), (1, 2), (0, 2)].iter().for_each(|(a, b)| cluster.connect(*a, *b));
        let (mut disk, mut life) = (Disk::default(), 0);
        for _ in 0..120 {
            match random.random_range(0..20) {
                0..10 => act(&mut cluster, 0, &mut random),
                10..14 => act(&mut cluster, 1, &mut random),
                14 => cluster.advance(Span::from_millis(random.random_range(1..4_000))),
                15 => {
                    cluster.disconnect(0, 1);
                    act(&mut cluster, 1, &mut random);
                    act(&mut cluster, 0, &mut random);
                    cluster.connect(0, 1);
                }
                16 => cluster.settle(),
                17 if random.random_bool(0.2) => {
                    cluster.disconnect(0, 2);
                    cluster.node(0).forget(node_id(2));
                    cluster.connect(0, 2);
                }
                _ => {
                    let step = cluster.node(0).take_step();
                    if step.whole {
                        wholes += 1
                    } else {
                        parts += 1
                    }
                    disk.apply(&step);
                    cluster.persist(0);
                    let now = cluster.now_at(0);
                    let next = on_disk(0, life + 1);
                    let image = disk.image(&next).expect("the rows are sound");
                    assert_eq!((image.step(), image.replica()), (step.step, cluster.node(0).replica()));
                    let came_back = Node::restart(next.clone(), image, now);
                    let cloned = Node::restart(next, cluster.node(0).image(), now);
                    assert_alike(came_back, cloned, now);
                    if random.random_bool(0.2) {
                        life += 1;
                        let next = on_disk(0, life);
                        let image = disk.image(&next).expect("the rows are sound");
                        let mut node = Node::restart(next, image, now);
                        node.continue_rows();
                        cluster.replace(0, node);
                    }
                }
            }
        }
    }
    assert!(wholes > 60 && parts > 4 * wholes, "{wholes} whole steps, {parts} parts");
}

#[test]
fn steps_that_merge_give_what_they_give_one_by_one() {
    let mut cluster = Cluster::apart([on_disk(0, 0)]);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let (mut each, mut merged) = (Disk::default(), Disk::default());
    for _ in 0..40 {
        let mut steps = (0..4).map(|_| {
            (0..5).for_each(|_| act(&mut cluster, 0, &mut random));
            let step = cluster.node(0).take_step();
            each.apply(&step);
            step
        });
        let mut all = steps.next().expect("there are four");
        steps.for_each(|step| all.merge(step));
        merged.apply(&all);
        assert!(each.rows == merged.rows);
    }
}

#[test]
fn a_group_that_dropped_its_own_records_and_was_taken_back_leaves_rows_that_are_read() {
    let mut cluster = Cluster::apart([on_disk(0, 0)]);
    let names: Vec<[u8; 1]> = (0..20).map(|name| [name]).collect();
    for name in &names {
        cluster.write(0, |group| or_set::add(group, "set", name));
    }
    let refused = cluster.try_write(0, |group| {
        for name in &names {
            or_set::remove(group, "set", name)?;
        }
        Err::<(), _>(sync_core::error::WriteError::NoPlace)
    });
    assert!(refused.is_err());
    let store = cluster.store(0);
    let (replica, floor) = store.floors().next().expect("records were dropped");
    assert!(floor > store.context().get(replica), "the floor of events that were never made");
    let mut disk = Disk::default();
    disk.apply(&cluster.node(0).take_step());
    let (next, now) = (on_disk(0, 1), cluster.now_at(0));
    let came_back = Node::restart(next.clone(), disk.image(&next).expect("the rows are sound"), now);
    assert_alike(came_back, Node::restart(next, cluster.node(0).image(), now), now);
}

#[test]
fn damaged_missing_and_foreign_rows_are_named_and_never_read() {
    let mut cluster = Cluster::apart([on_disk(0, 0)]);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    (0..60).for_each(|_| act(&mut cluster, 0, &mut random));
    let (mut disk, next) = (Disk::default(), on_disk(0, 1));
    disk.apply(&cluster.node(0).take_step());
    for (row, stored) in &disk.rows {
        for bit in 0..stored.len() * 8 {
            let mut damaged = disk.clone();
            damaged.rows.get_mut(row).expect("it is there")[bit / 8] ^= 1 << (bit % 8);
            let error = damaged.image(&next).expect_err("a bit flipped");
            assert!(matches!(error, RowError::Checksum { table, .. } if table == row.0), "{error}");
        }
    }
    let mut empty = disk.clone();
    empty.rows.retain(|(table, _), _| *table != Table::Node);
    assert_eq!(empty.image(&next).expect_err("no node"), RowError::Missing { table: Table::Node });
    let mut lost = disk.clone();
    lost.rows.retain(|(table, _), _| *table != Table::Column);
    let error = lost.image(&next).expect_err("items without their context");
    assert!(matches!(error, RowError::Contradicts { table: Table::Item | Table::Floor, .. }), "{error}");
    let error = disk.image(&on_disk(1, 0)).expect_err("another node's disk");
    assert!(error.to_string().contains("another node's"), "{error}");
}

#[test]
fn more_items_than_are_noted_between_two_steps_make_the_next_one_whole() {
    let mut node = Node::new(on_disk(0, 0), Cluster::apart([]).now());
    let now = Cluster::apart([]).now();
    let add = |node: &mut Node, from: u8, to: u8| {
        let adds = |element: u8| {
            node.write(now, namespace(), |group| or_set::add(group, "s", &[element])).expect("there is room");
        };
        (from..to).for_each(adds);
    };
    assert!(node.take_step().whole, "nothing was on the disk");
    add(&mut node, 0, 10);
    let step = node.take_step();
    assert!(!step.whole && step.rows.iter().filter(|row| row.table == Table::Item).count() == 10);
    add(&mut node, 10, 60);
    assert!(node.take_step().whole, "50 of at most 40 items were noted");
    for _ in 0..50 {
        add(&mut node, 7, 8);
    }
    let step = node.take_step();
    assert!(step.whole, "renewing an element ends one dot and writes another");
    node.forget_rows();
    assert!(node.take_step().whole, "the disk has lost what it held");
    node.handle(now, Input::Wake);
    assert!(!node.take_step().whole);
}
