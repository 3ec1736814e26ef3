//! Expiry: writes that die by themselves, at one value of the horizon everywhere, and what wrong clocks do to it.

use sync_core::cell::{Key, TypeTag};
use sync_core::error::{FrameError, WriteError};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Cause, Event, Node};
use sync_core::store::{Group, PlaceChange};
use sync_core::time::{Span, WallMillis};
use sync_core::types::log::Bound;
use sync_core::types::or_map::Map;
use sync_core::types::{
    At, bounded_counter, disable_flag, enable_flag, g_counter, grow_set, log, lww_map, lww_register,
    max_register, min_register, multimap, mv_register, or_set, pn_counter, rw_set,
};
use sync_tests::{Cluster, config, namespace, node_id};

const BOUND: Bound = Bound { entries: 100, age_ms: 3_600_000 };
const DAY_MS: i64 = 86_400_000;

/// Nodes that tell of changes, with readings of each other's clocks.
fn cluster(count: u8) -> Cluster {
    let mut cluster = Cluster::new(count, &Limits::default());
    (0..count).for_each(|index| cluster.node(index).set_changes(true));
    cluster.advance(Span::from_secs(40));
    cluster.events();
    cluster
}

fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

/// Adds `element` for so many seconds; gives back when it expires.
fn add_for(cluster: &mut Cluster, index: u8, element: &[u8], seconds: u64) -> WallMillis {
    cluster.write(index, |group| {
        group.expiring_after(secs(seconds), |group| {
            or_set::add(group, "s", element)?;
            Ok(group.expires())
        })
    })
}

fn holds(cluster: &Cluster, index: u8, element: &[u8]) -> bool {
    or_set::contains(cluster.store(index), "s", element)
}

/// Steps in which something expired, and the key of the first of it.
fn expired_at(events: &[(u8, Event)]) -> Vec<(u8, Key)> {
    let first = events.iter().filter_map(|(index, event)| {
        let Event::Changed(changed) = event else { return None };
        let expired = changed.changes.iter().find(|change| change.expired)?;
        Some((*index, expired.place.object.key.clone()))
    });
    first.collect()
}

#[test]
fn a_write_dies_everywhere_at_one_horizon_and_the_cause_is_told() {
    let mut cluster = cluster(3);
    let expires = add_for(&mut cluster, 0, b"x", 10);
    cluster.write(1, |group| or_set::add(group, "s", b"y"));
    cluster.advance(secs(11));
    assert!((0..3).all(|index| holds(&cluster, index, b"x")), "not before the grace is over");
    cluster.events();
    cluster.advance(secs(3));
    for index in 0..3 {
        assert!(!holds(&cluster, index, b"x") && holds(&cluster, index, b"y"));
        assert_eq!(cluster.store(index).horizon(), expires, "the time that the item names");
    }
    assert!(cluster.is_converged());
    let mut told = expired_at(&cluster.events());
    told.sort_unstable();
    assert_eq!(told, [(0, Key::from("s")), (1, Key::from("s")), (2, Key::from("s"))]);
}

#[test]
fn the_horizon_stays_where_nothing_expires() {
    let mut cluster = cluster(2);
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.advance(secs(3_600));
    assert_eq!(cluster.store(0).horizon(), WallMillis(0));
    let expires = add_for(&mut cluster, 0, b"y", 5);
    cluster.advance(secs(3_600));
    assert_eq!(cluster.store(1).horizon(), expires, "an hour later it is still the time of the last item");
}

#[test]
fn what_a_remote_horizon_kills_is_told_as_expired_and_what_came_with_it_as_remote() {
    let mut cluster = cluster(2);
    // Not off by enough to be wrong, and late.
    cluster.set_clock(1, -30_000);
    add_for(&mut cluster, 0, b"x", 10);
    cluster.write(0, |group| or_set::add(group, "t", b"x"));
    cluster.advance(secs(1));
    // Alone, node 0 goes by its own clock; together both go by the slow one.
    cluster.disconnect(0, 1);
    cluster.advance(secs(90));
    assert!(!holds(&cluster, 0, b"x"));
    assert!(
        !holds(&cluster, 1, b"x"),
        "its own clock is slow by half a minute, and a minute and a half is over"
    );
    cluster.connect(0, 1);
    cluster.advance(secs(40));

    add_for(&mut cluster, 0, b"z", 5);
    cluster.advance(secs(1));
    cluster.disconnect(0, 1);
    // Readings count for a minute.
    cluster.sleep(secs(61));
    for index in [0, 0] {
        cluster.input(index, sync_core::node::Input::Wake);
    }
    assert!(
        !holds(&cluster, 0, b"z") && holds(&cluster, 1, b"z"),
        "only the fast one has looked at its clock"
    );
    cluster.write(0, |group| or_set::add(group, "t", b"y"));
    cluster.events();
    // The repair brings both; the other one may look at its own clock just before.
    cluster.set_clock(1, -90_000 + 61_000);
    cluster.connect(0, 1);
    cluster.settle();
    let mut told = Vec::new();
    for (index, event) in cluster.events() {
        if let (1, Event::Changed(changed)) = (index, event) {
            let by_peer = changed.cause == Cause::Remote { peer: node_id(0) };
            assert!(by_peer || changed.cause == Cause::Expired && changed.changes.iter().all(|c| c.expired));
            let change = |change: &PlaceChange| (change.place.object.key.clone(), change.expired);
            told.extend(changed.changes.iter().map(change));
        }
    }
    told.sort_unstable();
    assert_eq!(told, [(Key::from("s"), true), (Key::from("t"), false)]);
    assert!(!holds(&cluster, 1, b"z"));
}

#[test]
fn every_type_that_can_expire_does_and_leaves_nothing() {
    let mut cluster = cluster(2);
    let write = |group: &mut Group<'_>| {
        or_set::add(group, "a", b"x")?;
        lww_map::put(group, "b", b"f", b"v")?;
        lww_register::set(group, "c", b"v")?;
        mv_register::set(group, "d", b"v")?;
        enable_flag::enable(group, "e")?;
        disable_flag::enable(group, "f")?;
        grow_set::add(group, "g", b"x")?;
        rw_set::add(group, "h", b"x")?;
        multimap::add(group, "i", b"f", b"v")?;
        log::append(group, "j", b"v", BOUND)?;
        let map = Map::at_key("k");
        lww_register::set(group, map.map(b"m").at(b"leaf"), b"v")?;
        or_set::add(group, map.at(b"set"), b"x")
    };
    cluster.write(0, |group| group.expiring_after(secs(5), write));
    cluster.advance(secs(1));
    assert_eq!(cluster.store(1).crdt_count(), 11);
    assert_eq!(cluster.store(1).expiring_count(), 12);
    cluster.advance(secs(8));
    for index in 0..2 {
        assert_eq!((cluster.store(index).crdt_count(), cluster.store(index).item_count()), (0, 0));
        assert_eq!((cluster.store(index).bytes(), cluster.store(index).expiring_count()), (0, 0));
    }
}

#[test]
fn counters_and_extrema_take_no_expiry_and_are_as_they_were() {
    let mut cluster = cluster(1);
    let map = Map::at_key("map");
    let at: At<'_> = map.at(b"n");
    let refused = [
        cluster.try_write(0, |group| group.expiring_after(secs(5), |group| pn_counter::add(group, "n", 1))),
        cluster.try_write(0, |group| group.expiring_after(secs(5), |group| g_counter::add(group, "n", 1))),
        cluster.try_write(0, |group| {
            group.expiring_after(secs(5), |group| bounded_counter::gain(group, "n", 1))
        }),
        cluster
            .try_write(0, |group| group.expiring_after(secs(5), |group| max_register::write(group, "n", 1))),
        cluster
            .try_write(0, |group| group.expiring_after(secs(5), |group| min_register::write(group, "n", 1))),
        cluster.try_write(0, |group| group.expiring_after(secs(5), |group| pn_counter::add(group, at, 1))),
    ];
    let types = [
        TypeTag::PN_COUNTER,
        TypeTag::G_COUNTER,
        TypeTag::BOUNDED_COUNTER,
        TypeTag::MAX_REGISTER,
        TypeTag::MIN_REGISTER,
        TypeTag::PN_COUNTER,
    ];
    for (refused, ty) in refused.into_iter().zip(types) {
        assert_eq!(refused.expect_err("it cannot expire"), WriteError::NeverExpires { ty });
    }
    assert!(cluster.store(0).context().is_empty(), "nothing was minted");
    // A reset is a removal, whoever asks for it how.
    cluster.write(0, |group| pn_counter::add(group, at, 3));
    cluster.write(0, |group| group.expiring_after(secs(5), |group| pn_counter::reset(group, at)));
    cluster.advance(secs(60));
    assert_eq!(pn_counter::value(cluster.store(0), at), None);
}

#[test]
fn removals_and_turning_off_never_expire() {
    // Alone, a node would end a mark that every member knows at the next cleanup.
    let mut alone = config(0, 0);
    alone.timing.cleanup_interval = Span::from_secs(1 << 30);
    let mut cluster = Cluster::apart([alone]);
    let off = |group: &mut Group<'_>| {
        rw_set::remove(group, "r", b"x")?;
        disable_flag::disable(group, "f")
    };
    cluster.write(0, |group| group.expiring_after(secs(5), off));
    cluster.advance(Span::from_secs(60));
    assert_eq!(rw_set::marks(cluster.store(0), "r"), 1);
    assert_eq!(cluster.store(0).item_count(), 2);
}

#[test]
fn a_grow_only_set_keeps_the_latest_time_and_never_shortens_one() {
    let mut cluster = cluster(1);
    let add = |cluster: &mut Cluster, seconds: u64| {
        let (added, _) = cluster
            .try_write(0, |group| {
                group.expiring_after(secs(seconds), |group| grow_set::add(group, "g", b"x"))
            })
            .expect("there is room");
        added
    };
    assert!(add(&mut cluster, 10));
    assert!(!add(&mut cluster, 5), "it stays longer already");
    assert!(add(&mut cluster, 20));
    cluster.advance(secs(15));
    assert!(grow_set::contains(cluster.store(0), "g", b"x"));
    cluster.write(0, |group| grow_set::add(group, "g", b"x"));
    assert!(!add(&mut cluster, 5), "it stays for ever");
    cluster.advance(secs(3_600));
    assert!(grow_set::contains(cluster.store(0), "g", b"x"));
}

#[test]
fn a_write_that_is_dead_already_is_refused_and_nothing_is_minted() {
    let mut cluster = cluster(1);
    let now = cluster.now().wall;
    let at = |ms: u64| {
        move |group: &mut Group<'_>| group.expiring(WallMillis(ms), |group| or_set::add(group, "s", b"x"))
    };
    let refused = cluster.try_write(0, at(now.0)).expect_err("it would be dead");
    assert_eq!(refused, WriteError::AlreadyExpired { expires_ms: now.0, now_ms: now.0 });
    assert!(cluster.store(0).context().is_empty());
    cluster.try_write(0, at(now.0 + 1)).expect("a millisecond is left");
    cluster.advance(secs(10));
    // The clock goes back behind the horizon: times are taken from the horizon then.
    cluster.set_clock(0, -30_000);
    let (horizon, now) = (cluster.store(0).horizon(), cluster.now_at(0).wall);
    assert!(now < horizon);
    let refused = cluster.try_write(0, at(horizon.0)).expect_err("the horizon has passed it");
    assert_eq!(refused, WriteError::AlreadyExpired { expires_ms: horizon.0, now_ms: horizon.0 });
    assert_eq!(add_for(&mut cluster, 0, b"y", 5), WallMillis(horizon.0 + 5_000));
}

#[test]
fn a_write_for_a_time_replaces_one_for_good_and_leaves_nothing() {
    let mut cluster = cluster(2);
    cluster.write(0, |group| lww_register::set(group, "r", b"for good"));
    cluster.advance(secs(1));
    cluster.disconnect(0, 1);
    let set = |group: &mut Group<'_>| lww_register::set(group, "r", b"for a while");
    cluster.write(0, |group| group.expiring_after(secs(5), set));
    assert_eq!(cluster.store(0).record_count(), 1, "it killed something, and will be dead itself");
    cluster.advance(secs(10));
    assert_eq!(lww_register::get(cluster.store(0), "r"), None);
    assert_eq!(lww_register::get(cluster.store(1), "r"), Some(&b"for good"[..]));
    // A new life has no log to push from: the session has to tell of what the dead write ended.
    let image = cluster.node(0).image();
    let node = Node::restart(config(0, 1), image, cluster.now());
    assert_eq!(node.store(namespace()).map(|store| store.horizon()), Some(cluster.store(0).horizon()));
    cluster.replace(0, node);
    cluster.connect(0, 1);
    cluster.advance(secs(5));
    assert_eq!(lww_register::get(cluster.store(1), "r"), None);
    assert!(cluster.is_converged());
}

#[test]
fn one_fast_clock_of_three_lets_nothing_die_early_and_is_named() {
    let mut cluster = cluster(3);
    // Too little for a jump: only the median tells.
    cluster.set_clock(2, 50_000);
    let expires = add_for(&mut cluster, 0, b"x", 45);
    cluster.advance(secs(44));
    assert!(holds(&cluster, 2, b"x"), "its own clock has passed the time");
    cluster.advance(secs(4));
    assert!((0..3).all(|index| !holds(&cluster, index, b"x")), "by the median all three do as they should");
    assert_eq!(cluster.store(2).horizon(), expires);
    assert!(!cluster.events().iter().any(|(_, event)| matches!(event, Event::ClockOff { .. })));

    cluster.set_clock(2, 100_000);
    cluster.advance(secs(40));
    let events = cluster.events();
    let alarms: Vec<_> = events.iter().filter(|(_, event)| matches!(event, Event::ClockOff { .. })).collect();
    let [(2, Event::ClockOff { ahead_ms, members: 2 })] = alarms[..] else { panic!("{alarms:?}") };
    assert!((99_000..=101_000).contains(ahead_ms), "{ahead_ms}");
    let expires = add_for(&mut cluster, 0, b"y", 30);
    cluster.advance(secs(29));
    assert!(holds(&cluster, 2, b"y"));
    cluster.advance(secs(45));
    assert_eq!(cluster.store(2).horizon(), expires, "its members' word is taken");
}

#[test]
fn a_wrong_clock_that_comes_back_under_another_name_counts_once() {
    // Node 3 takes the place of node 2, on the same machine.
    let mut cluster = Cluster::apart((0..4).map(|index| config(index, 0)));
    [2, 3].into_iter().for_each(|index| cluster.set_clock(index, -DAY_MS));
    cluster.connect(0, 1);
    cluster.advance(secs(40));
    add_for(&mut cluster, 0, b"x", 5);
    cluster.advance(secs(30));
    assert!(!holds(&cluster, 0, b"x") && cluster.store(0).horizon().0 > 0);
    cluster.disconnect(0, 1);
    cluster.advance(secs(70));
    cluster.connect(0, 2);
    cluster.settle();
    cluster.disconnect(0, 2);
    cluster.connect(0, 3);
    cluster.advance(secs(40));
    let events = cluster.events();
    let wrong = |event: &(u8, Event)| matches!(event, (0, Event::ClockOff { ahead_ms: 86_000_000.., .. }));
    assert!(events.iter().any(wrong), "its word came: {events:?}");
    let alarm = |event: &(u8, Event)| matches!(event, (0, Event::HorizonAhead { .. }));
    assert!(!events.iter().any(alarm), "{events:?}");
}

#[test]
fn a_node_that_hears_nobody_does_not_follow_a_clock_that_was_set_a_little_ahead() {
    let mut cluster = cluster(3);
    add_for(&mut cluster, 1, b"x", 100);
    cluster.advance(secs(5));
    // Less than what counts as a jump.
    cluster.set_clock(0, 40_000);
    cluster.advance(secs(5));
    cluster.disconnect(0, 1);
    cluster.disconnect(0, 2);
    // Readings count for a minute.
    cluster.advance(secs(65));
    assert!(holds(&cluster, 0, b"x"), "75 seconds are over, and its own clock says 115");
    cluster.advance(secs(35));
    assert!(!holds(&cluster, 0, b"x"), "the last median goes on");
}

#[test]
fn what_members_told_before_anything_expired_holds_a_fast_clock_back_as_well() {
    let mut cluster = cluster(2);
    cluster.disconnect(0, 1);
    add_for(&mut cluster, 0, b"x", 50);
    cluster.set_clock(0, 40_000);
    cluster.advance(secs(45));
    assert!(holds(&cluster, 0, b"x"), "45 seconds are over, and its own clock says 85");
    cluster.advance(secs(40));
    assert!(!holds(&cluster, 0, b"x"));
}

#[test]
fn a_clock_that_was_set_lets_nothing_die_until_its_members_agree() {
    let mut cluster = cluster(2);
    add_for(&mut cluster, 0, b"x", 30);
    cluster.advance(secs(1));
    cluster.disconnect(0, 1);
    cluster.set_clock(0, DAY_MS);
    cluster.advance(secs(100));
    let events = cluster.events();
    assert!(
        events.iter().any(|event| matches!(event, (0, Event::ClockJumped { by_ms: DAY_MS }))),
        "{events:?}"
    );
    assert!(
        holds(&cluster, 0, b"x"),
        "a minute after the last word from a member it is alone with a set clock"
    );
    assert!(!holds(&cluster, 1, b"x"));
    cluster.connect(0, 1);
    cluster.settle();
    assert!(!holds(&cluster, 0, b"x"), "what a member let die is dead");
    add_for(&mut cluster, 1, b"y", 30);
    cluster.advance(secs(20));
    cluster.set_clock(0, 0);
    cluster.advance(secs(60));
    assert!(!holds(&cluster, 0, b"y") && cluster.is_converged());
}

#[test]
fn a_slow_clock_refuses_what_comes_from_its_future_and_is_told_that_it_is_slow() {
    let mut cluster = cluster(3);
    cluster.set_clock(2, -DAY_MS);
    cluster.advance(secs(40));
    let slow =
        |event: &(u8, Event)| matches!(event, (2, Event::ClockOff { ahead_ms: ..-80_000_000, members: 2 }));
    assert!(cluster.events().iter().any(slow));
    let expires = add_for(&mut cluster, 0, b"x", 5);
    cluster.advance(secs(60));
    assert!((0..2).all(|index| !holds(&cluster, index, b"x")), "the two others are most");
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.advance(secs(10));
    let ahead = |event: &(u8, Event)| {
        matches!(event, (2, Event::FrameRefused { error: FrameError::ClockAhead { .. }, .. }))
    };
    assert!(cluster.events().iter().any(ahead));
    assert!(holds(&cluster, 2, b"x") && !holds(&cluster, 2, b"y"), "refused whole");
    cluster.set_clock(2, 0);
    cluster.advance(secs(60));
    assert_eq!(cluster.store(2).horizon(), expires);
    assert!(!holds(&cluster, 2, b"x") && cluster.is_converged());
}

#[test]
fn a_horizon_ahead_of_every_clock_is_named_and_nothing_of_that_store_is_sent() {
    let mut configs: Vec<_> = (0..2).map(|index| config(index, 0)).collect();
    configs[0].timing.clock_wait = secs(1);
    let mut cluster = Cluster::apart(configs);
    // A machine that starts alone with a clock a day ahead, and writes for an hour.
    cluster.set_clock(0, DAY_MS);
    cluster.input(0, sync_core::node::Input::Wake);
    add_for(&mut cluster, 0, b"x", 3_600);
    cluster.advance(secs(3_610));
    assert!(!holds(&cluster, 0, b"x"));
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.connect(0, 1);
    cluster.settle();
    cluster.events();
    cluster.set_clock(0, 0);
    cluster.input(0, sync_core::node::Input::Wake);
    cluster.advance(secs(40));
    let events = cluster.events();
    let named =
        |event: &(u8, Event)| matches!(event, (0, Event::HorizonAhead { ahead_ms: 86_000_000.., .. }));
    assert!(events.iter().any(named), "{events:?}");
    cluster.write(0, |group| or_set::add(group, "s", b"z"));
    let mut shown = 0;
    for _ in 0..20 {
        cluster.sleep(secs(5));
        (0..2).for_each(|index| cluster.input(index, sync_core::node::Input::Wake));
        for bytes in cluster.take(0, 1) {
            let frame = cluster.read_sent(0, 1, &bytes);
            shown += u32::from(matches!(frame, Frame::Push(..) | Frame::Give(..) | Frame::Part(..)));
            cluster.deliver(0, 1, &bytes);
        }
        while cluster.deliver_next(1, 0) {}
    }
    assert_eq!(shown, 0, "no fragment of it leaves");
    // What others write still comes in.
    cluster.write(1, |group| or_set::add(group, "s", b"w"));
    cluster.advance(secs(40));
    assert!(holds(&cluster, 0, b"w"));
    // A day later the time has come that it was ahead of.
    cluster.advance(secs(90_000));
    assert!(holds(&cluster, 1, b"z") && cluster.is_converged());
}

#[test]
fn a_machine_that_starts_waits_for_its_members_before_it_believes_its_clock() {
    let mut cluster = cluster(3);
    add_for(&mut cluster, 0, b"x", 3_600);
    cluster.advance(secs(1));
    let image = cluster.node(2).image();
    cluster.set_clock(2, DAY_MS);
    let node = Node::restart(config(2, 1), image, cluster.now_at(2));
    cluster.replace(2, node);
    cluster.advance(secs(120));
    assert!((0..3).all(|index| holds(&cluster, index, b"x")));
    assert!(cluster.events().iter().any(|event| matches!(event, (2, Event::ClockOff { .. }))));
}

#[test]
fn writes_that_expire_one_after_the_other_die_in_steps() {
    let mut cluster = cluster(1);
    let begun = cluster.now().wall.0 + 5_000;
    for at in 0..100u64 {
        let element = at.to_be_bytes();
        cluster.write(0, |group| {
            group.expiring(WallMillis(begun + at * 20), |group| or_set::add(group, "s", &element))
        });
    }
    cluster.events();
    cluster.advance(secs(20));
    let raises = expired_at(&cluster.events()).len();
    assert!((2..=3).contains(&raises), "two seconds of them in steps of one second: {raises}");
    assert_eq!(cluster.store(0).item_count(), 0);
}

/// Breaks each rule and demands that its test turns red.
#[cfg(feature = "mutants")]
mod bite {
    use std::panic::catch_unwind;

    use super::*;
    use sync_core::mutant::{Mutant, with};

    macro_rules! broken {
        ($($mutant:ident => $test:ident),+ $(,)?) => {
            const TABLE: &[(Mutant, &str, fn())] =
                &[$((Mutant::$mutant, stringify!($test), $test as fn())),+];
        };
    }

    broken! {
        ExpiredByLocalClock => a_write_dies_everywhere_at_one_horizon_and_the_cause_is_told,
        HorizonMovesAlone => the_horizon_stays_where_nothing_expires,
        HorizonClamped => a_slow_clock_refuses_what_comes_from_its_future_and_is_told_that_it_is_slow,
        HorizonNotPersisted => a_write_for_a_time_replaces_one_for_good_and_leaves_nothing,
        ExpiringUnrecorded => a_write_for_a_time_replaces_one_for_good_and_leaves_nothing,
        MedianIgnored => one_fast_clock_of_three_lets_nothing_die_early_and_is_named,
    }

    #[test]
    fn every_rule_of_expiry_has_a_test_that_turns_red_when_it_is_broken() {
        let is_green = |(mutant, name, story): &&(Mutant, &str, fn())| {
            let red = catch_unwind(|| with(Some(*mutant), story)).is_err();
            println!("{} | {name} | {} | {}", mutant.row(), mutant.what(), if red { "red" } else { "GREEN" });
            !red
        };
        let green: Vec<_> = TABLE.iter().filter(is_green).collect();
        assert!(green.is_empty(), "these tests do not notice: {green:?}");
    }
}
