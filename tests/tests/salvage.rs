//! After a damaged disk: what this node wrote and no member knows is written again, once, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::node::{Config, Event, ImageRows, Members, Node, Persistence, Salvaged, StepRows};
use sync_core::rows::Table;
use sync_core::time::Span;
use sync_core::types::or_map::Map;
use sync_core::types::{g_counter, lww_register, or_set, pn_counter};
use sync_tests::{Cluster, config, node_id};

/// A disk that keeps what it is told.
#[derive(Clone, Default)]
struct Disk(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Disk {
    fn apply(&mut self, step: &StepRows) {
        if step.whole {
            self.0.clear();
        }
        for row in &step.rows {
            let key = (row.table, row.key.clone());
            match row.sealed() {
                Some(stored) => self.0.insert(key, stored),
                None => self.0.remove(&key),
            };
        }
    }

    /// Own items that can be read by themselves.
    fn salvage(&self) -> Vec<Salvaged> {
        let rows = || self.0.iter().map(|((table, key), stored)| (*table, key, stored));
        let lives: BTreeSet<_> =
            rows().filter_map(|(table, key, stored)| Salvaged::life_in(table, key, stored)).collect();
        let items =
            rows().filter_map(|(table, key, stored)| Salvaged::read(table, key, stored).ok().flatten());
        items.filter(|item| item.is_of(&lives)).collect()
    }

    fn node(&self, config: Config, cluster: &Cluster) -> Node {
        let mut rows = ImageRows::new(&config);
        for ((table, key), stored) in &self.0 {
            rows.stored(*table, key, stored).expect("it is sound");
        }
        let mut node = Node::restart(config, rows.finish().expect("it is whole"), cluster.now());
        node.continue_rows();
        node
    }
}

fn on_disk(life: u8) -> Config {
    Config { persistence: Persistence::Driver, ..config(0, life) }
}

/// Three nodes; the first has a disk, and wrote `x` before and `y` after it was cut off. The third removed `x` then.
fn cut_off() -> (Cluster, Disk) {
    let mut cluster = Cluster::apart([on_disk(0), config(1, 0), config(2, 0)]);
    [(0, 1), (1, 2), (0, 2)].iter().for_each(|(a, b)| cluster.connect(*a, *b));
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.persist(0);
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
    [1, 2].into_iter().for_each(|peer| cluster.disconnect(0, peer));
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.write(2, |group| or_set::remove(group, "s", b"x"));
    cluster.settle();
    let mut disk = Disk::default();
    disk.apply(&cluster.node(0).take_step());
    (cluster, disk)
}

/// The first node begins a new life with what `disk` gives.
fn damaged(cluster: &mut Cluster, disk: &Disk, life: u8) -> Node {
    let mut node = Node::new(config(0, life), cluster.now());
    let nodes = [1, 2].into_iter().map(node_id).collect();
    node.set_members(Members { nodes, unnamed: 0 });
    node.salvage(disk.salvage());
    node
}

fn holds(cluster: &Cluster, index: u8, element: &[u8]) -> bool {
    or_set::contains(cluster.store(index), "s", element)
}

fn replayed(events: &[(u8, Event)]) -> Vec<u64> {
    let items = events.iter().filter_map(|(_, event)| {
        let Event::Replayed { items } = event else { return None };
        Some(*items)
    });
    items.collect()
}

#[test]
fn what_no_member_knows_is_written_again_and_what_one_knows_to_be_removed_is_not() {
    let (mut cluster, disk) = cut_off();
    let node = damaged(&mut cluster, &disk, 1);
    assert_eq!(node.salvaged(), 2);
    cluster.replace(0, node);
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(40));
    assert_eq!(cluster.node(0).salvaged(), 2, "the third has not been heard");
    assert!(!holds(&cluster, 1, b"y"));
    cluster.connect(0, 2);
    cluster.advance(Span::from_secs(40));
    assert_eq!(replayed(&cluster.events()), [1]);
    assert!((0..3).all(|index| holds(&cluster, index, b"y") && !holds(&cluster, index, b"x")));
    assert!(cluster.is_converged());
}

#[test]
fn a_member_that_stays_away_is_waited_for_and_not_for_ever() {
    let (mut cluster, disk) = cut_off();
    let node = damaged(&mut cluster, &disk, 1);
    cluster.disconnect(1, 2);
    cluster.replace(0, node);
    cluster.advance(Span::from_secs(300));
    assert_eq!(cluster.node(0).salvaged(), 2, "with nobody there it waits for ever");
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(50));
    assert_eq!(cluster.node(0).salvaged(), 2);
    cluster.advance(Span::from_secs(60));
    assert_eq!(replayed(&cluster.events()), [1]);
    assert!(holds(&cluster, 1, b"y"));
}

#[test]
fn what_waits_is_on_the_disk_and_goes_from_there_in_the_step_that_writes_it_again() {
    let (mut cluster, disk) = cut_off();
    let salvaged = disk.salvage();
    let waits = |disk: &Disk| disk.0.keys().filter(|(table, _)| *table == Table::Salvaged).count();
    let mut node = Node::new(on_disk(1), cluster.now());
    node.set_members(Members { nodes: [node_id(1)].into(), unnamed: 0 });
    node.salvage(salvaged.clone());
    let mut disk = Disk::default();
    disk.apply(&node.take_step());
    assert_eq!(waits(&disk), 2);
    // A crash, and another damage: what waited is this node's own still.
    assert_eq!(disk.salvage(), salvaged);
    let mut node = disk.node(on_disk(2), &cluster);
    assert_eq!(node.salvaged(), 2);
    disk.apply(&node.take_step());
    assert_eq!(waits(&disk), 2);
    node.set_members(Members { nodes: [node_id(1)].into(), unnamed: 0 });
    cluster.replace(0, node);
    cluster.connect(0, 1);
    for _ in 0..20 {
        cluster.advance(Span::from_secs(2));
        cluster.persist(0);
        let step = cluster.node(0).take_step();
        disk.apply(&step);
        let written = disk.node(on_disk(3), &cluster);
        let store = written.store(sync_tests::namespace()).expect("it is open");
        assert_eq!(waits(&disk) == 0, or_set::contains(store, "s", b"y"), "neither lost nor twice");
    }
    assert_eq!(waits(&disk), 0);
    assert_eq!(disk.node(on_disk(4), &cluster).salvaged(), 0);
    assert!(holds(&cluster, 1, b"y"));
}

#[test]
fn a_counter_goes_on_from_what_its_members_hold_and_nothing_counts_twice() {
    let mut cluster = Cluster::apart([on_disk(0), config(1, 0)]);
    cluster.connect(0, 1);
    let map = Map::at_key("m");
    let count = |cluster: &mut Cluster, by: u64| {
        cluster.write(0, |group| {
            pn_counter::add(group, "p", i64::try_from(by).expect("it is small"))?;
            g_counter::add(group, map.at(b"g"), by)
        });
    };
    let counts = |cluster: &Cluster, index: u8| {
        let store = cluster.store(index);
        (pn_counter::value(store, "p"), g_counter::value(store, map.at(b"g")))
    };
    count(&mut cluster, 3);
    cluster.persist(0);
    cluster.advance(Span::from_secs(40));
    assert_eq!(counts(&cluster, 1), (Some(3), Some(3)));
    cluster.disconnect(0, 1);
    count(&mut cluster, 2);
    let mut disk = Disk::default();
    disk.apply(&cluster.node(0).take_step());
    let mut node = Node::new(config(0, 1), cluster.now());
    node.salvage(disk.salvage());
    cluster.replace(0, node);
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(40));
    assert!((0..2).all(|index| counts(&cluster, index) == (Some(5), Some(5))));
    assert_eq!(cluster.store(1).item_count(), 2, "the new rows stand in place of the old ones");
    count(&mut cluster, 1);
    cluster.advance(Span::from_secs(40));
    assert!((0..2).all(|index| counts(&cluster, index) == (Some(6), Some(6))));
    assert!(cluster.is_converged());
}

#[test]
fn an_item_that_was_read_twice_is_written_again_once() {
    let (mut cluster, disk) = cut_off();
    let mut node = Node::new(config(0, 1), cluster.now());
    node.salvage([disk.salvage(), disk.salvage()].concat());
    assert_eq!(node.salvaged(), 2);
    cluster.replace(0, node);
    cluster.connect(0, 1);
    cluster.connect(0, 2);
    cluster.advance(Span::from_secs(40));
    assert_eq!(replayed(&cluster.events()), [1]);
}

#[test]
fn what_is_written_after_a_damage_is_later_than_what_was_before_though_the_clock_was_set_back() {
    let mut cluster = Cluster::apart([on_disk(0), config(1, 0)]);
    cluster.write(0, |group| lww_register::set(group, "r", b"before"));
    let mut disk = Disk::default();
    disk.apply(&cluster.node(0).take_step());
    cluster.set_clock(0, -50_000);
    let mut node = Node::new(config(0, 1), cluster.now_at(0));
    node.salvage(disk.salvage());
    cluster.replace(0, node);
    cluster.write(0, |group| lww_register::set(group, "r", b"after"));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(40));
    assert_eq!(replayed(&cluster.events()), [1]);
    assert!((0..2).all(|index| lww_register::get(cluster.store(index), "r") == Some(&b"after"[..])));
}
