//! What each type shows when two replicas write apart: one story a rule of docs/crdt.md.

use sync_core::cell::TypeTag;
use sync_core::error::WriteError;
use sync_core::id::OwnerId;
use sync_core::limits::Limits;
use sync_core::store::{Group, Store};
use sync_core::types::log::Bound;
use sync_core::types::or_map::{self, Field, Map};
use sync_core::types::{
    bounded_counter, disable_flag, enable_flag, g_counter, grow_set, log, lww_map, lww_register,
    max_register, min_register, multimap, mv_register, or_set, pn_counter, rw_set, whole,
};
use sync_tests::Cluster;

type Write = fn(&mut Group<'_>) -> Result<(), WriteError>;

/// Two replicas that both know `before`; then each writes apart, and both learn of the other.
fn apart(before: Write, left: Write, right: Write) -> Cluster {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, before);
    cluster.settle();
    cluster.write(0, left);
    cluster.write(1, right);
    cluster.settle();
    assert!(cluster.is_converged(), "both know both writes");
    cluster
}

fn nothing(_: &mut Group<'_>) -> Result<(), WriteError> {
    Ok(())
}

#[test]
fn a_register_shows_one_of_two_concurrent_writes_and_a_multi_register_both() {
    let cluster = apart(
        nothing,
        |group| lww_register::set(group, "r", b"a").and_then(|()| mv_register::set(group, "m", b"a")),
        |group| lww_register::set(group, "r", b"b").and_then(|()| mv_register::set(group, "m", b"b")),
    );
    for store in [cluster.store(0), cluster.store(1)] {
        assert_eq!(lww_register::get(store, "r"), Some(&b"b"[..]), "equal clocks: the larger dot");
        assert_eq!(mv_register::values(store, "m"), [b"a", b"b"]);
    }
}

#[test]
fn turning_on_wins_in_one_flag_and_turning_off_in_the_other() {
    let cluster = apart(
        |group| enable_flag::enable(group, "e").and_then(|()| disable_flag::enable(group, "d")),
        |group| enable_flag::disable(group, "e").and_then(|_| disable_flag::disable(group, "d")),
        |group| enable_flag::enable(group, "e").and_then(|()| disable_flag::enable(group, "d")),
    );
    assert!(enable_flag::is_on(cluster.store(0), "e"));
    assert!(!disable_flag::is_on(cluster.store(0), "d"));
    assert!(!disable_flag::is_on(cluster.store(0), "untouched"));
}

#[test]
fn what_a_growing_set_and_a_growing_counter_took_in_stays() {
    let cluster = apart(
        |group| grow_set::add(group, "s", b"x").and_then(|_| g_counter::add(group, "c", 1)),
        |group| grow_set::add(group, "s", b"y").and_then(|_| g_counter::add(group, "c", 2)),
        |group| grow_set::add(group, "s", b"y").and_then(|_| g_counter::add(group, "c", 4)),
    );
    assert!(grow_set::elements(cluster.store(0), "s").eq([b"x", b"y"]));
    assert_eq!(g_counter::value(cluster.store(1), "c"), Some(7));
}

#[test]
fn an_extremum_is_not_lost_by_overwriting_and_comes_back_after_a_concurrent_clear() {
    let cluster = apart(
        |group| max_register::write(group, "max", 9).and_then(|()| min_register::write(group, "min", -9)),
        |group| max_register::write(group, "max", 3).and_then(|()| min_register::write(group, "min", 3)),
        |group| max_register::clear(group, "max").and_then(|_| min_register::clear(group, "min")).map(drop),
    );
    assert_eq!(max_register::get(cluster.store(1), "max"), Some(9), "the write had seen it");
    assert_eq!(min_register::get(cluster.store(1), "min"), Some(-9));
}

#[test]
fn a_remove_wins_against_a_concurrent_add_also_where_nothing_was_there_to_remove() {
    let mut cluster = apart(
        |group| rw_set::add(group, "s", b"x"),
        |group| rw_set::remove(group, "s", b"x").and_then(|_| rw_set::remove(group, "s", b"y")).map(drop),
        |group| rw_set::add(group, "s", b"x").and_then(|()| rw_set::add(group, "s", b"y")),
    );
    assert_eq!(rw_set::len(cluster.store(1), "s"), 0);
    cluster.write(1, |group| rw_set::add(group, "s", b"x"));
    cluster.settle();
    assert!(rw_set::elements(cluster.store(0), "s").eq([b"x"]), "who knows of the remove can add again");
    assert_eq!(rw_set::marks(cluster.store(0), "s"), 1, "the mark of y stays");
    let early = cluster.write(0, |group| rw_set::collect(group, "s", |_| false));
    let collected = cluster.write(0, |group| rw_set::collect(group, "s", |_| true));
    cluster.settle();
    assert_eq!((early, collected), (0, 1));
    assert_eq!(rw_set::marks(cluster.store(1), "s"), 0);
    assert!(rw_set::elements(cluster.store(1), "s").eq([b"x"]), "the add beside the mark went with it");
}

#[test]
fn a_removed_field_of_a_multimap_keeps_the_pairs_that_were_added_meanwhile() {
    let cluster = apart(
        |group| multimap::add(group, "m", b"f", b"1").and_then(|()| multimap::add(group, "m", b"ff", b"")),
        |group| multimap::remove_field(group, "m", b"f").map(drop),
        |group| multimap::add(group, "m", b"f", b"2"),
    );
    let pairs: Vec<_> = multimap::entries(cluster.store(0), "m").collect();
    assert_eq!(pairs, [(&b"f"[..], &b"2"[..]), (b"ff", b"")], "f and ff share no cell");
}

#[test]
fn rights_move_and_nobody_spends_what_it_does_not_hold() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| bounded_counter::gain(group, "seats", 10));
    cluster.settle();
    let owners = [0, 1].map(|node| cluster.node(node).owner());
    let refused = cluster.try_write(1, |group| bounded_counter::spend(group, "seats", 1));
    let rights = WriteError::Rights { owner: owners[1], held: 0, needed: 1 };
    assert_eq!(refused.expect_err("it holds no rights"), rights);
    cluster.write(0, |group| bounded_counter::send(group, "seats", owners[1], 4));
    assert!(cluster.try_write(0, |group| bounded_counter::spend(group, "seats", 7)).is_err());
    cluster.settle();
    // Apart, each spends all that it holds.
    cluster.write(0, |group| bounded_counter::spend(group, "seats", 6));
    cluster.write(1, |group| bounded_counter::spend(group, "seats", 4));
    assert_eq!(bounded_counter::value(cluster.store(0), "seats"), Some(4));
    cluster.settle();
    for node in [0, 1] {
        assert_eq!(bounded_counter::value(cluster.store(node), "seats"), Some(0));
        assert!(cluster.try_write(node, |group| bounded_counter::spend(group, "seats", 1)).is_err());
    }
}

#[test]
fn a_bounded_counter_goes_only_where_no_right_is_out() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let other = OwnerId([9; 16]);
    cluster.write(0, |group| bounded_counter::gain(group, "seats", 3));
    assert!(cluster.write(0, |group| bounded_counter::remove(group, "seats")));
    assert!(!cluster.write(0, |group| bounded_counter::remove(group, "seats")), "it is gone");
    cluster.write(0, |group| bounded_counter::gain(group, "seats", 3));
    cluster.write(0, |group| bounded_counter::send(group, "seats", other, 2));
    let refused = cluster.try_write(0, |group| bounded_counter::remove(group, "seats"));
    assert_eq!(refused.expect_err("rights are out"), WriteError::RightsOut { rows: 0, sent: 2 });
    let holders = bounded_counter::holders(cluster.store(0), "seats");
    assert_eq!(holders.iter().map(|(_, held)| held).sum::<u64>(), 3, "no right is lost or made");
}

#[test]
fn a_removed_map_keeps_what_was_written_meanwhile_and_can_be_made_again_at_once() {
    let outer = || Map::at_key("user");
    let before: Write = |group| {
        let inner = Map::at_key("user").map(b"inner");
        lww_register::set(group, inner.at(b"name"), b"Ada")?;
        or_set::add(group, inner.at(b"tags"), b"old")?;
        pn_counter::add(group, inner.at(b"logins"), 5)
    };
    let remove: Write = |group| or_map::remove(group, &Map::at_key("user"), b"inner").map(drop);
    let inside: Write = |group| {
        let inner = Map::at_key("user").map(b"inner");
        or_set::add(group, inner.at(b"tags"), b"new")?;
        pn_counter::add(group, inner.at(b"logins"), 2)
    };
    // The owner of the counts goes on while the other removes.
    let mut cluster = apart(before, inside, remove);
    let inner = outer().map(b"inner");
    let look = |store: &Store| {
        let tags: Vec<Vec<u8>> = or_set::elements(store, inner.at(b"tags")).map(<[u8]>::to_vec).collect();
        (
            tags,
            pn_counter::value(store, inner.at(b"logins")),
            lww_register::get(store, inner.at(b"name")).is_some(),
        )
    };
    for node in [0, 1] {
        assert_eq!(look(cluster.store(node)), (vec![b"new".to_vec()], Some(2), false));
    }
    cluster.write(0, remove);
    assert!(or_map::fields(cluster.store(0), &outer()).is_empty(), "floors are no fields");
    assert!(!or_map::contains(cluster.store(0), &outer(), b"inner"));
    assert_eq!(cluster.store(0).crdt_count(), 0, "and no CRDT");
    cluster.write(0, before);
    cluster.settle();
    assert_eq!(look(cluster.store(1)), (vec![b"old".to_vec()], Some(5), true));
    let fields = or_map::fields(cluster.store(1), &outer());
    assert_eq!(fields, [Field { name: b"inner", ty: TypeTag::OR_MAP }]);
}

#[test]
fn a_map_without_counters_is_removed_by_one_event_and_one_with_them_leaves_no_row() {
    let mut cluster = Cluster::new(1, &Limits::default());
    let map = Map::at_key("m");
    cluster.write(0, |group| (0..50u8).try_for_each(|name| lww_register::set(group, map.at(&[name]), b"x")));
    let before = cluster.store(0).context().columns().map(|(_, seq)| seq).sum::<u64>();
    assert_eq!(cluster.write(0, |group| or_map::clear(group, &map)), 50);
    assert_eq!(cluster.store(0).context().columns().map(|(_, seq)| seq).sum::<u64>(), before + 1);
    assert_eq!(cluster.store(0).item_count(), 0);
    cluster.write(0, |group| {
        (0..9u8).try_for_each(|name| match name % 3 {
            0 => pn_counter::add(group, map.at(&[name]), 1),
            _ => lww_register::set(group, map.at(&[name]), b"x"),
        })
    });
    assert_eq!(cluster.write(0, |group| or_map::clear(group, &map)), 9);
    assert_eq!(cluster.store(0).crdt_count(), 0, "only floors are left");
}

#[test]
fn a_place_too_deep_and_a_bounded_counter_in_a_map_are_refused_at_the_writer() {
    let mut cluster = Cluster::new(1, &Limits { map_depth_max: 2, ..Limits::default() });
    let deep = Map::at_key("m").map(b"1").map(b"2");
    let refused = cluster.try_write(0, |group| lww_register::set(group, deep.at(b"3"), b"x"));
    assert_eq!(refused.expect_err("three names"), WriteError::TooDeep { depth: 3, max: 2 });
    let map = Map::at_key("m").map(b"1");
    cluster.write(0, |group| lww_register::set(group, map.at(b"2"), b"x"));
    let refused = cluster.try_write(0, |group| bounded_counter::gain(group, map.at(b"b"), 1));
    assert_eq!(refused.expect_err("no place"), WriteError::NotNested { ty: TypeTag::BOUNDED_COUNTER });
}

#[test]
fn floors_in_a_nested_map_are_ended_by_their_owner_once_nothing_can_meet_them() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let map = Map::at_key("m");
    cluster.write(0, |group| pn_counter::add(group, map.at(b"c"), 5));
    cluster.settle();
    cluster.write(1, |group| or_map::clear(group, &map).map(drop));
    cluster.settle();
    assert_eq!(cluster.store(0).item_count(), 1, "the floor");
    cluster.advance(sync_core::time::Span::from_secs(120));
    assert_eq!(cluster.store(0).item_count(), 0);
    assert!(cluster.is_converged());
}

#[test]
fn a_log_shows_its_newest_entries_in_one_order_and_writers_end_the_rest() {
    const BOUND: Bound = Bound { entries: 20, age_ms: 60_000 };
    let fill: Write = |group| (0..20u8).try_for_each(|at| log::append(group, "log", &[at], BOUND));
    let mut cluster = apart(
        fill,
        |group| log::append(group, "log", b"left", BOUND),
        |group| log::append(group, "log", b"right", BOUND),
    );
    let values = |store: &Store| -> Vec<Vec<u8>> {
        log::entries(store, "log", BOUND).iter().map(|entry| entry.value.to_vec()).collect()
    };
    assert_eq!(cluster.store(0).item_count(), 22, "a tenth too many may stand");
    assert_eq!(values(cluster.store(0)).len(), 20);
    assert_eq!(values(cluster.store(0)), values(cluster.store(1)));
    assert_eq!(values(cluster.store(0)).last().map(Vec::as_slice), Some(&b"right"[..]));
    cluster.write(0, |group| log::append(group, "log", b"more", BOUND));
    cluster.settle();
    assert_eq!(cluster.store(1).item_count(), 20, "the third too many ends them all");
    cluster.sleep(sync_core::time::Span::from_secs(3_600));
    assert_eq!(values(cluster.store(0)).len(), 20, "time alone ends nothing");
}

/// Breaks a rule of each kind and demands that its story turns red.
#[cfg(feature = "mutants")]
#[test]
fn the_stories_bite() {
    use sync_core::mutant::{Mutant, with};
    let table: [(Mutant, fn()); 6] = [
        (Mutant::DisableLoses, turning_on_wins_in_one_flag_and_turning_off_in_the_other),
        (Mutant::RemoveLoses, a_remove_wins_against_a_concurrent_add_also_where_nothing_was_there_to_remove),
        (Mutant::RightsUnchecked, rights_move_and_nobody_spends_what_it_does_not_hold),
        (Mutant::SentRightsKept, rights_move_and_nobody_spends_what_it_does_not_hold),
        (
            Mutant::MapRemoveKillsCounters,
            a_removed_map_keeps_what_was_written_meanwhile_and_can_be_made_again_at_once,
        ),
        (Mutant::LogNeverTrimmed, a_log_shows_its_newest_entries_in_one_order_and_writers_end_the_rest),
    ];
    for (mutant, story) in table {
        story();
        let red = std::panic::catch_unwind(|| with(Some(mutant), story)).is_err();
        assert!(red, "{} breaks nothing", mutant.name());
    }
}

#[test]
fn two_types_on_one_key_both_live_and_every_replica_opens_the_same_one() {
    use sync_core::node::Event;
    use sync_core::types::conflict::{self, Opened};
    let mut cluster =
        apart(nothing, |group| pn_counter::add(group, "tea", 2), |group| or_set::add(group, "tea", b"green"));
    let opened = Opened { ty: TypeTag::OR_SET, others: vec![TypeTag::PN_COUNTER] };
    let events = cluster.events();
    for node in [0, 1] {
        let store = cluster.store(node);
        assert_eq!(conflict::open(store, "tea").as_ref(), Some(&opened));
        assert_eq!(pn_counter::value(store, "tea"), Some(2));
        assert!(or_set::contains(store, "tea", b"green"));
        let told = events.iter().any(|(at, event)| {
            *at == node
                && matches!(event, Event::TypesMet { key, ty, others, .. }
                    if key.as_str() == "tea" && *ty == opened.ty && *others == opened.others)
        });
        assert!(told, "node {node} tells of the other type");
    }
    cluster.write(0, |group| or_set::clear(group, "tea"));
    cluster.settle();
    let alone = Opened { ty: TypeTag::PN_COUNTER, others: Vec::new() };
    assert_eq!(conflict::open(cluster.store(1), "tea"), Some(alone));
    assert_eq!(conflict::open(cluster.store(1), "te"), None);
}

#[test]
fn a_type_that_nobody_here_knows_is_stored_relayed_compared_and_removed() {
    use sync_core::types::At;
    use sync_core::types::user::UserTag;
    const VOTE: UserTag = UserTag::new(200).expect("from 128 on");
    // A line: what 0 writes reaches 2 only through 1.
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.disconnect(0, 2);
    let spot = || At::from("lunch").cells_of(VOTE.tag());
    cluster.write(0, |group| spot().put(group, b"ada", &[1]).map(drop));
    cluster.write(2, |group| spot().put(group, b"ada", &[2]).map(drop));
    cluster.advance(sync_core::time::Span::from_secs(2));
    assert!(cluster.is_converged(), "roots cover it");
    for node in [0, 1, 2] {
        let items = spot().items(cluster.store(node), b"ada");
        let votes: Vec<&[u8]> = items.iter().map(|item| item.payload.as_bytes()).collect();
        assert_eq!(votes, [&[1u8][..], &[2]], "both concurrent votes stand at node {node}");
        assert_eq!(cluster.store(node).crdt_count(), 1);
    }
    assert_eq!(TypeTag(200).name(), None);
    cluster.write(1, |group| spot().clear(group).map(drop));
    cluster.advance(sync_core::time::Span::from_secs(2));
    assert!([0, 1, 2].into_iter().all(|node| cluster.store(node).item_count() == 0));
}

/// Writes `n` in each type that may be removed with other nodes' writes in it, all on one key.
fn write_each(group: &mut Group<'_>, n: u8) -> Result<(), WriteError> {
    const BOUND: Bound = Bound { entries: 9, age_ms: u64::MAX };
    let (bytes, number) = (&[n][..], i64::from(n));
    or_set::add(group, "k", bytes)?;
    lww_map::put(group, "k", bytes, bytes)?;
    pn_counter::add(group, "k", number)?;
    lww_register::set(group, "k", bytes)?;
    mv_register::set(group, "k", bytes)?;
    enable_flag::enable(group, "k")?;
    disable_flag::enable(group, "k")?;
    grow_set::add(group, "k", bytes)?;
    g_counter::add(group, "k", n.into())?;
    max_register::write(group, "k", number)?;
    min_register::write(group, "k", number)?;
    rw_set::add(group, "k", bytes)?;
    multimap::add(group, "k", bytes, bytes)?;
    log::append(group, "k", bytes, BOUND)?;
    pn_counter::add(group, Map::at_key("k").at(b"count"), number)
}

#[test]
fn a_whole_key_is_removed_in_each_types_way_and_what_was_written_meanwhile_stays_alone() {
    let remove: Write = |group| whole::remove_all(group, "k").map(|count| assert_eq!(count, 15));
    let cluster = apart(|group| write_each(group, 1), remove, nothing);
    for store in [cluster.store(0), cluster.store(1)] {
        assert_eq!(whole::types(store, "k"), []);
        assert_eq!(store.crdt_count(), 0);
    }
    // Who writes on is who wrote before: a counter's row goes on from what the remove has seen.
    let cluster = apart(|group| write_each(group, 1), |group| write_each(group, 2), remove);
    for store in [cluster.store(0), cluster.store(1)] {
        assert_eq!(whole::types(store, "k").len(), 15);
        assert!(or_set::elements(store, "k").eq([[2]]));
        assert!(lww_map::entries(store, "k").eq([(&[2][..], &[2][..])]));
        assert_eq!((pn_counter::value(store, "k"), g_counter::value(store, "k")), (Some(2), Some(2)));
        assert_eq!(
            (lww_register::get(store, "k"), mv_register::values(store, "k")),
            (Some(&[2][..]), vec![&[2][..]])
        );
        assert!(enable_flag::is_on(store, "k") && disable_flag::is_on(store, "k"));
        assert!(grow_set::elements(store, "k").eq([[2]]) && rw_set::elements(store, "k").eq([[2]]));
        // An extremum's write carries what it saw.
        assert_eq!((max_register::get(store, "k"), min_register::get(store, "k")), (Some(2), Some(1)));
        assert!(multimap::entries(store, "k").eq([(&[2][..], &[2][..])]));
        let entries = log::entries(store, "k", Bound { entries: 9, age_ms: u64::MAX });
        assert!(entries.iter().map(|entry| entry.value).eq([[2]]));
        assert_eq!(pn_counter::value(store, Map::at_key("k").at(b"count")), Some(2));
        assert_eq!(whole::types(store, Map::at_key("k").at(b"count")), [TypeTag::PN_COUNTER]);
    }
}
