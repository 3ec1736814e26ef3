//! A counter owner in two places: a copied folder, or one that was set back.

use sync_core::id::OwnerId;
use sync_core::limits::Limits;
use sync_core::node::{Config, Event, Image, Node};
use sync_core::time::Span;
use sync_core::types::or_map::Map;
use sync_core::types::{bounded_counter, or_set, pn_counter};
use sync_tests::{Cluster, config, replica};

/// Node 1 begins a life on what node 0 had on its disk, as a copy of its folder does.
fn copied(cluster: &mut Cluster, image: Image, limits: &Limits) {
    let config = Config { owner: image.owner(), limits: limits.clone(), ..config(1, 1) };
    let twin = Node::restart(config, image, cluster.now());
    cluster.replace(1, twin);
}

fn alarms(cluster: &mut Cluster) -> Vec<(u8, String, OwnerId)> {
    let doubled = |(node, event)| {
        let Event::OwnerDoubled { object, new, .. } = event else { return None };
        Some((node, object.key.as_str().to_owned(), new))
    };
    cluster.events().into_iter().filter_map(doubled).collect()
}

/// A copy that both places and a peer know nothing of yet: 10 counted before, nobody connected.
fn doubled(limits: &Limits) -> Cluster {
    let mut cluster = Cluster::new(3, limits);
    cluster.write(0, |group| pn_counter::add(group, "count", 10));
    cluster.write(0, |group| pn_counter::add(group, Map::at_key("map").at(b"count"), 10));
    cluster.write(0, |group| bounded_counter::gain(group, "rights", 10));
    cluster.settle();
    let image = cluster.node(0).image();
    copied(&mut cluster, image, limits);
    cluster.settle();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.disconnect(a, b);
    }
    assert!(alarms(&mut cluster).is_empty(), "nobody has counted in two places");
    cluster
}

#[test]
fn of_what_two_places_count_under_one_owner_the_larger_is_read_and_both_take_new_owners() {
    let mut cluster = doubled(&Limits::default());
    let old = cluster.node(0).owner();
    assert_eq!(old, cluster.node(1).owner());
    cluster.write(0, |group| pn_counter::add(group, "count", 3));
    cluster.write(1, |group| pn_counter::add(group, "count", 5));
    // The two places never meet: each talks to the third node.
    cluster.connect(0, 2);
    cluster.connect(1, 2);
    cluster.advance(Span::from_secs(120));
    let alarms = alarms(&mut cluster);
    let of = |node| alarms.iter().filter(|(at, ..)| *at == node).collect::<Vec<_>>();
    assert_eq!((of(0).len(), of(1).len(), of(2).len()), (1, 1, 0), "{alarms:?}");
    assert!(alarms.iter().all(|(_, key, _)| key == "count"));
    let owners = [cluster.node(0).owner(), cluster.node(1).owner()];
    assert!(owners[0] != owners[1] && !owners.contains(&old));
    assert_eq!([of(0)[0].2, of(1)[0].2], owners);
    assert!(cluster.is_converged());
    assert_eq!(pn_counter::value(cluster.store(2), "count"), Some(15));
    cluster.write(0, |group| pn_counter::add(group, "count", 1));
    cluster.write(1, |group| pn_counter::add(group, "count", 1));
    cluster.advance(Span::from_secs(120));
    assert!(cluster.is_converged());
    assert_eq!(pn_counter::value(cluster.store(2), "count"), Some(17), "from here on each counts for itself");
    assert!(self::alarms(&mut cluster).is_empty(), "and nobody is alarmed again");
}

#[test]
fn whoever_has_not_counted_since_learns_that_another_does_before_it_counts() {
    for key in ["count", "map", "rights"] {
        let mut cluster = doubled(&Limits::default());
        match key {
            "map" => cluster.write(0, |group| pn_counter::add(group, Map::at_key("map").at(b"count"), 3)),
            "rights" => cluster.write(0, |group| bounded_counter::spend(group, "rights", 3)),
            _ => cluster.write(0, |group| pn_counter::add(group, "count", 3)),
        }
        cluster.connect(0, 2);
        cluster.connect(1, 2);
        cluster.advance(Span::from_secs(120));
        let alarms = alarms(&mut cluster);
        let seen: Vec<_> = alarms.iter().map(|(node, key, _)| (*node, key.as_str())).collect();
        assert_eq!(seen, [(1, key)], "the place that counted keeps its owner, for nobody else has it");
        cluster.write(0, |group| pn_counter::add(group, "count", 1));
        cluster.write(1, |group| pn_counter::add(group, "count", 1));
        cluster.advance(Span::from_secs(120));
        let expected = if key == "count" { 15 } else { 12 };
        assert_eq!(pn_counter::value(cluster.store(2), "count"), Some(expected), "nothing is lost");
    }
}

#[test]
fn a_large_answer_shows_it_too() {
    let limits = Limits { message_bytes_max: 2_000, group_bytes_max: 1_500, ..Limits::default() };
    let mut cluster = doubled(&limits);
    cluster.write(0, |group| pn_counter::add(group, "count", 3));
    for element in 0..2_000u32 {
        cluster.write(0, |group| or_set::add(group, "set", &element.to_be_bytes()));
    }
    cluster.connect(0, 2);
    cluster.advance(Span::from_secs(60));
    cluster.connect(1, 2);
    cluster.advance(Span::from_secs(60));
    let events = cluster.events();
    let large = |(node, event): &(u8, Event)| *node == 1 && matches!(event, Event::Bootstrap { .. });
    assert!(events.iter().any(large), "the answer was a large one");
    let seen = |(node, event): &(u8, Event)| *node == 1 && matches!(event, Event::OwnerDoubled { .. });
    assert_eq!(events.iter().filter(|event| seen(event)).count(), 1);
}

#[test]
fn a_node_that_comes_back_keeps_its_owner_whatever_its_peers_know_of_its_earlier_lives() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let owner = cluster.node(0).owner();
    for life in 1..=3 {
        cluster.write(0, |group| pn_counter::add(group, "count", 1));
        cluster.settle();
        let image = cluster.node(0).image();
        let config = Config { owner: image.owner(), ..config(0, life) };
        let node = Node::restart(config, image, cluster.now());
        cluster.replace(0, node);
        cluster.settle();
    }
    assert_eq!((cluster.node(0).owner(), cluster.node(0).replica()), (owner, replica(0, 3)));
    assert!(alarms(&mut cluster).is_empty());
}
