//! When marks of remove-wins sets are ended: once each member is known to hold them, with all that it knew then
//! known here, and not before. See `sync-core/src/node/stable.rs`.

use std::collections::BTreeSet;

use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Event, Input, Members, Node, Persistence};
use sync_core::time::Span;
use sync_core::types::or_map::Map;
use sync_core::types::rw_set;
use sync_tests::{Cluster, config, node_id};

/// A round of roots and a cleanup after it.
const A_WHILE: Span = Span::from_secs(200);

fn add(cluster: &mut Cluster, node: u8, element: &[u8]) {
    cluster.write(node, |group| rw_set::add(group, "s", element));
    cluster.settle();
}

fn remove(cluster: &mut Cluster, node: u8, element: &[u8]) {
    cluster.write(node, |group| rw_set::remove(group, "s", element));
    cluster.settle();
}

fn marks(cluster: &Cluster) -> Vec<u64> {
    (0..3).map(|node| rw_set::marks(cluster.store(node), "s")).collect()
}

#[test]
fn memory_is_back_where_it_was_once_all_members_have_acknowledged() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.advance(A_WHILE);
    let before: Vec<(u64, u64)> =
        (0..3).map(|node| (cluster.store(node).bytes(), cluster.store(node).item_count())).collect();
    for at in 0..3_000u32 {
        let (node, element) = (u8::try_from(at % 3).expect("below three"), at.to_be_bytes());
        cluster.write(node, |group| rw_set::add(group, "s", &element));
        cluster.write(node, |group| rw_set::remove(group, "s", &element));
    }
    cluster.settle();
    cluster.write(1, |group| rw_set::remove(group, Map::at_key("m").at(b"s"), b"x"));
    cluster.advance(Span::from_secs(10));
    assert_eq!(marks(&cluster), [3_000; 3], "who removed what everyone knows of now");
    cluster.advance(A_WHILE);
    for node in 0..3 {
        let store = cluster.store(node);
        assert_eq!((store.bytes(), store.item_count()), before[usize::from(node)], "node {node}");
        assert_eq!(store.crdt_count(), 0);
    }
    let ended = |(_, event): &(u8, Event)| {
        let Event::MarksEnded { marks, .. } = event else { return 0 };
        *marks
    };
    assert!(cluster.events().iter().map(ended).sum::<u64>() >= 3_001);
    let heads: Vec<u64> = (0..3).map(|node| cluster.store(node).log_head()).collect();
    cluster.advance(A_WHILE);
    assert!(
        (0..3).all(|node| cluster.store(node).log_head() == heads[usize::from(node)]),
        "and then nothing"
    );
    add(&mut cluster, 2, b"again");
    assert!((0..3).all(|node| rw_set::contains(cluster.store(node), "s", b"again")));
}

#[test]
fn an_add_that_was_held_back_for_hours_is_beaten_by_the_remove_it_had_not_seen() {
    let mut cluster = Cluster::new(3, &Limits::default());
    add(&mut cluster, 0, b"x");
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    add(&mut cluster, 2, b"x");
    remove(&mut cluster, 0, b"x");
    cluster.advance(Span::from_secs(7_200));
    assert_eq!(marks(&cluster), [1, 1, 0], "a member is away, so the mark stays");
    cluster.connect(0, 2);
    cluster.connect(1, 2);
    cluster.settle();
    let absent = |cluster: &Cluster| (0..3).all(|node| !rw_set::contains(cluster.store(node), "s", b"x"));
    assert!(absent(&cluster), "the remove wins");
    cluster.advance(A_WHILE);
    assert!(marks(&cluster) == [0; 3] && absent(&cluster), "also after its mark is ended");
    assert!((0..3).all(|node| cluster.store(node).item_count() == 0), "the add went with it");
    add(&mut cluster, 2, b"x");
    assert!((0..3).all(|node| rw_set::contains(cluster.store(node), "s", b"x")), "an add after it counts");
}

#[test]
fn a_member_that_is_gone_for_good_blocks_until_it_is_forgotten() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    remove(&mut cluster, 0, b"x");
    cluster.advance(Span::from_secs(7_200));
    assert_eq!(marks(&cluster), [1, 1, 0]);
    assert!(!cluster.node(0).forget(node_id(1)), "it is connected");
    assert!(cluster.node(0).forget(node_id(2)) && !cluster.node(0).forget(node_id(2)));
    cluster.advance(A_WHILE);
    assert_eq!(marks(&cluster), [0; 3], "one node that knows is enough: what it ends is ended everywhere");
}

#[test]
fn a_member_that_was_never_met_blocks_whether_its_id_is_known_or_not() {
    let mut cluster = Cluster::new(3, &Limits::default());
    let unnamed = Members { unnamed: 1, ..Members::default() };
    let absent = Members { nodes: BTreeSet::from([node_id(0), node_id(9)]), unnamed: 0 };
    for members in [unnamed, absent] {
        (0..3).for_each(|node| cluster.node(node).set_members(members.clone()));
        remove(&mut cluster, 0, b"x");
        cluster.advance(A_WHILE);
        assert_eq!(marks(&cluster), [1; 3], "{members:?}");
    }
    (0..3).for_each(|node| cluster.node(node).set_members(Members::default()));
    cluster.advance(A_WHILE);
    assert_eq!(marks(&cluster), [0; 3], "nobody writes any more, and still it is looked at again");
}

#[test]
fn a_member_that_was_met_in_an_earlier_life_blocks() {
    let mut cluster = Cluster::new(3, &Limits::default());
    remove(&mut cluster, 0, b"x");
    let image = cluster.node(0).image();
    let now = cluster.now();
    for other in [1, 2] {
        cluster.disconnect(0, other);
    }
    cluster.replace(0, Node::restart(config(0, 1), image, now));
    cluster.advance(A_WHILE);
    assert_eq!(rw_set::marks(cluster.store(0), "s"), 1, "its image remembers whom it had met");
}

#[test]
fn a_peer_that_was_forgotten_for_lack_of_room_blocks() {
    let limits = Limits { peers_max: 2, ..Limits::default() };
    let mut configs: Vec<_> = (0..4).map(|index| config(index, 0)).collect();
    configs.iter_mut().for_each(|config| config.limits = limits.clone());
    let mut cluster = Cluster::apart(configs);
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(a, b)| cluster.connect(a, b));
    cluster.settle();
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    // The newcomer takes the place of the one that is away, and would end the mark if it were asked alone.
    [(0, 3), (1, 3)].into_iter().for_each(|(a, b)| cluster.connect(a, b));
    cluster.node(3).set_members(Members { unnamed: 1, ..Members::default() });
    remove(&mut cluster, 0, b"x");
    cluster.advance(A_WHILE);
    assert!(cluster.node(0).peers(sync_tests::namespace()).iter().all(|peer| peer.node != node_id(2)));
    assert_eq!([0, 1, 3].map(|node| rw_set::marks(cluster.store(node), "s")), [1; 3]);
}

/// Node 2 has learned of the mark and its disk has not; a crash would take it, and the life after it could add what
/// the mark should have beaten. Its pull shows a context that holds the mark all the same.
#[test]
fn what_a_crash_may_take_from_a_member_is_not_held_by_it() {
    let mut configs: Vec<_> = (0..3).map(|index| config(index, 0)).collect();
    configs[2].persistence = Persistence::Driver;
    // It may end the mark itself: that event leaves it when the rest is durable, or never.
    configs[2].timing.cleanup_interval = Span::from_secs(1 << 30);
    let mut cluster = Cluster::apart(configs);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.connect(a, b);
        cluster.settle();
        cluster.persist(2);
    }
    for _ in 0..4 {
        cluster.advance(Span::from_secs(10));
        cluster.persist(2);
    }
    cluster.disconnect(0, 2);
    remove(&mut cluster, 1, b"x");
    cluster.write(0, |group| rw_set::add(group, "other", b"y"));
    cluster.take(0, 1);
    cluster.connect(0, 2);
    // Pushes are lost, so the unequal roots make node 2 pull: when its open, which is held, has gone unanswered.
    let mut pulled = false;
    for (from, to) in [(0, 2), (2, 0)].repeat(6) {
        cluster.sleep(Span::from_secs(1));
        cluster.input(2, Input::Wake);
        for bytes in cluster.take(from, to) {
            let frame = cluster.read_sent(from, to, &bytes);
            pulled |= matches!(frame, Frame::Pull(..)) && from == 2;
            if !matches!(frame, Frame::Push(..)) {
                cluster.deliver(from, to, &bytes);
            }
        }
    }
    assert!(pulled, "it knows, and its pull says so");
    cluster.advance(A_WHILE);
    assert_eq!(rw_set::marks(cluster.store(2), "s"), 1);
    assert_eq!(rw_set::marks(cluster.store(0), "s"), 1, "its disk does not");
    for _ in 0..4 {
        cluster.persist(2);
        cluster.advance(A_WHILE);
    }
    assert_eq!(marks(&cluster), [0; 3]);
}

/// Members of a line: the ends have not met, so only the middle can tell that a mark is known everywhere.
#[test]
fn only_a_node_that_hears_every_member_ends_marks() {
    let mut cluster = Cluster::apart((0..3).map(|index| config(index, 0)));
    cluster.connect(0, 1);
    cluster.connect(1, 2);
    let all = Members { nodes: (0..3).map(node_id).collect(), unnamed: 0 };
    (0..3).for_each(|node| cluster.node(node).set_members(all.clone()));
    cluster.settle();
    remove(&mut cluster, 0, b"x");
    cluster.advance(A_WHILE);
    assert_eq!(marks(&cluster), [0; 3]);
    let by: BTreeSet<u8> = cluster
        .events()
        .into_iter()
        .filter_map(|(node, event)| matches!(event, Event::MarksEnded { .. }).then_some(node))
        .collect();
    assert_eq!(by, BTreeSet::from([1]));
}

#[test]
fn a_write_costs_no_frame_more_for_somebody_who_waits_for_it() {
    let mut cluster = Cluster::new(3, &Limits::default());
    let written = cluster.try_write(0, |group| rw_set::add(group, "s", b"x")).expect("there is room").1;
    let mut goal = cluster.node(0).visible_begin(written.namespace, written.token().context().clone());
    let held = cluster.node(0).visible_check(&mut goal);
    assert_eq!((held.here, held.peers), (true, vec![(node_id(1), false), (node_id(2), false)]));
    let sent = cluster.node(0).stats().frames_sent;
    cluster.deliver_next(0, 1);
    cluster.deliver_next(1, 0);
    let held = cluster.node(0).visible_check(&mut goal);
    assert_eq!(held.peers, [(node_id(1), true), (node_id(2), false)], "the acknowledgement says it");
    cluster.settle();
    assert!(cluster.node(0).visible_check(&mut goal).peers.iter().all(|(_, holds)| *holds));
    assert_eq!(cluster.node(0).stats().frames_sent, sent, "and nobody was asked");
    cluster.input(0, Input::Disconnected { peer: node_id(1) });
    assert!(
        cluster.node(0).visible_check(&mut goal).peers[0].1,
        "what was confirmed counts while it is away"
    );
}

/// Under a writer that never pauses, no acknowledgement reaches the head.
#[test]
fn a_write_is_seen_to_arrive_also_under_a_writer_that_never_pauses() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let written = cluster.try_write(0, |group| rw_set::add(group, "s", b"x")).expect("there is room").1;
    let mut goal = cluster.node(0).visible_begin(written.namespace, written.token().context().clone());
    assert!(cluster.node(0).visible_check(&mut goal).here);
    for at in 0..20u8 {
        cluster.write(0, |group| rw_set::add(group, "s", &[at]));
        cluster.deliver_next(0, 1);
        cluster.write(0, |group| rw_set::add(group, "t", &[at]));
        cluster.deliver_next(1, 0);
    }
    assert!(cluster.node(0).visible_check(&mut goal).peers[0].1);
}

/// Breaks the rule in each way and demands that a story turns red.
#[cfg(feature = "mutants")]
#[test]
fn the_stories_bite() {
    use sync_core::mutant::{Mutant, with};
    let table: [(Mutant, fn()); 3] = [
        (
            Mutant::OneMemberIsEnough,
            an_add_that_was_held_back_for_hours_is_beaten_by_the_remove_it_had_not_seen,
        ),
        (Mutant::AwayIsNoMember, an_add_that_was_held_back_for_hours_is_beaten_by_the_remove_it_had_not_seen),
        (Mutant::KnownTakenForWhole, what_a_crash_may_take_from_a_member_is_not_held_by_it),
    ];
    for (mutant, story) in table {
        story();
        let red = std::panic::catch_unwind(|| with(Some(mutant), story)).is_err();
        assert!(red, "{} breaks nothing", mutant.name());
    }
}
