//! One named test for each **[checked]** rule of the design that exists so far.
//!
//! Each tells the shortest story in which breaking the rule shows. `docs/rules.md` lists rule, test and
//! the planted bug that turns the test red.

use sync_core::cell::TypeTag;
use sync_core::fragment::{Claims, Fragment};
use sync_core::id::OwnerId;
use sync_core::limits::Limits;
use sync_core::message::{Ack, Dialect, Frame, Give, Push, Route};
use sync_core::node::{Event, Input, Node, Persistence};
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_tests::{Cluster, config, namespace, node_id, replica};

fn pushes(frames: &[Frame]) -> Vec<&Push> {
    frames
        .iter()
        .filter_map(|frame| if let Frame::Push(_, push) = frame { Some(push) } else { None })
        .collect()
}

/// Limits under which no record outlives the next one.
fn one_record() -> Limits {
    Limits { records_max: 1, ..Limits::default() }
}

/// Limits under which a peer that misses two writes has fallen off the log.
fn short_log() -> Limits {
    Limits { log_entries_max: 1, ..Limits::default() }
}

// T1: a fragment names only dots whose payload it carries if they are live. T5: state is a function of
// the context. Both are laws: see `laws.rs`.

// T4: the status log.

#[test]
fn a_push_is_resolved_up_to_the_head_so_an_overwrite_never_shows_as_a_removal() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"1"));
    cluster.settle();
    // Fill the window of pushes in flight, so that the next ones wait and go together.
    for value in 2..20u8 {
        cluster.write(0, |group| lww_map::put(group, "m", b"f", &[value]));
    }
    while cluster.deliver_next(0, 1) || cluster.deliver_next(1, 0) {
        assert!(lww_map::get(cluster.store(1), "m", b"f").is_some(), "the field was never removed anywhere");
    }
    assert_eq!(lww_map::get(cluster.store(1), "m", b"f"), Some(&[19u8][..]));
}

#[test]
fn a_peer_whose_cursor_fell_off_the_log_is_behind_and_catches_up_by_a_session() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.disconnect(0, 1);
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "s", element));
    }
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert_eq!(or_set::len(cluster.store(1), "s"), 3);
    assert_eq!(cluster.node(1).stats().frames_refused, 0, "no push ran ahead of what node 1 held");
    assert!(cluster.is_converged());
}

// T6: the context-first session with claims.

#[test]
fn an_overwrite_needs_no_record_because_its_cell_is_claimed() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"old"));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"new"));
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    assert_eq!(cluster.store(0).record_count(), 0);
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    let live = cluster.store(1).items("m", TypeTag::LWW_MAP, b"f");
    assert_eq!(live.len(), 1, "the overwritten value is dead at the peer that missed the overwrite");
    assert!(cluster.is_converged());
}

#[test]
fn a_remove_of_an_element_reaches_a_peer_that_missed_it_by_its_record() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    cluster.write(0, |group| or_set::add(group, "t", b"y"));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert!(!or_set::contains(cluster.store(1), "s", b"x"));
    assert_eq!(cluster.node(1).stats().fallbacks, 0, "the record was at hand");
    assert!(cluster.is_converged());
}

#[test]
fn clearing_a_set_is_one_event_with_one_record_and_kills_only_what_it_saw() {
    let mut cluster = Cluster::new(2, &short_log());
    for element in 0..50u8 {
        cluster.write(0, |group| or_set::add(group, "s", &[element]));
        cluster.settle();
    }
    cluster.disconnect(0, 1);
    let minted = cluster.store(0).context().get(replica(0, 0));
    assert_eq!(cluster.write(0, |group| or_set::clear(group, "s")), 50);
    assert_eq!(cluster.store(0).context().get(replica(0, 0)), minted + 1);
    assert_eq!(cluster.store(0).record_count(), 1);
    cluster.write(0, |group| or_set::add(group, "t", b"y"));
    cluster.write(1, |group| or_set::add(group, "s", &[7]));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    let left: Vec<&[u8]> = or_set::elements(cluster.store(0), "s").collect();
    assert_eq!(left, [&[7u8]], "the concurrent add survives alone");
    assert!(cluster.is_converged());
}

#[test]
fn a_claim_judges_only_what_the_sender_knew() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"base"));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"left"));
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.write(1, |group| lww_map::put(group, "m", b"f", b"right"));
    cluster.write(1, |group| or_set::add(group, "s", b"y"));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    for node in [0, 1] {
        let live = cluster.store(node).items("m", TypeTag::LWW_MAP, b"f");
        assert_eq!(live.len(), 2, "concurrent values stand side by side until the next write");
    }
    assert!(cluster.is_converged());
}

#[test]
fn a_counter_floor_leaves_a_record_because_it_kills_in_another_cell() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.write(0, |group| pn_counter::add(group, "c", 5));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.write(0, |group| pn_counter::reset(group, "c"));
    assert_eq!(cluster.store(0).record_count(), 1);
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert_eq!(pn_counter::value(cluster.store(1), "c"), None, "the contribution is dead there too");
    assert!(cluster.is_converged());
}

// T7: the fallback.

#[test]
fn a_peer_below_a_floor_heals_by_the_fallback_and_nothing_removed_comes_back() {
    let limits = Limits { log_entries_max: 1, ..one_record() };
    let mut cluster = Cluster::new(2, &limits);
    for element in [b"a", b"b", b"c", b"d"] {
        cluster.write(0, |group| or_set::add(group, "s", element));
        cluster.settle();
    }
    cluster.disconnect(0, 1);
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::remove(group, "s", element));
    }
    cluster.write(1, |group| or_set::add(group, "s", b"b"));
    cluster.write(1, |group| or_set::add(group, "s", b"e"));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert!(cluster.node(1).stats().fallbacks > 0, "two of three records were dropped");
    for node in [0, 1] {
        let left: Vec<&[u8]> = or_set::elements(cluster.store(node), "s").collect();
        assert_eq!(left, [b"b", b"d", b"e"], "the re-added element survives, the removed ones are gone");
    }
    assert!(cluster.is_converged());
}

#[test]
fn a_fallback_carries_no_records_so_its_learner_serves_others_by_the_fallback_too() {
    let limits = Limits { log_entries_max: 1, ..one_record() };
    let mut cluster = Cluster::new(3, &limits);
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "s", element));
        cluster.advance(Span::from_secs(1));
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.disconnect(a, b);
    }
    for element in [b"a", b"b"] {
        cluster.write(0, |group| or_set::remove(group, "s", element));
    }
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    cluster.disconnect(0, 1);
    cluster.connect(1, 2);
    cluster.advance(Span::from_secs(10));
    let left: Vec<&[u8]> = or_set::elements(cluster.store(2), "s").collect();
    assert_eq!(left, [b"c"]);
}

#[test]
fn a_third_replica_is_served_from_records_that_came_by_push() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(1));
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    cluster.settle();
    assert_eq!(cluster.store(1).record_count(), 1, "the push brought the record along");
    // Node 1 takes up with a new life of node 2 that holds the old state and no cursor.
    let (now, image) = (cluster.now(), cluster.node(2).image());
    cluster.replace(2, Node::restart(config(2, 1), image, now));
    cluster.connect(1, 2);
    cluster.advance(Span::from_secs(10));
    assert!(!or_set::contains(cluster.store(2), "s", b"x"));
}

#[test]
fn who_learns_dots_inherits_the_senders_floors() {
    let mut limits = Limits { log_entries_max: 4, ..one_record() };
    let mut configs: Vec<_> = (0..3).map(|index| config(index, 0)).collect();
    configs[0].limits = limits.clone();
    limits.records_max = 1_000;
    configs[1].limits = limits.clone();
    configs[2].limits = limits;
    let mut cluster = Cluster::apart(configs);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.connect(a, b);
    }
    cluster.settle();
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "s", element));
        cluster.advance(Span::from_secs(1));
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.disconnect(a, b);
    }
    // Node 0 drops the first record before anybody has it; its push to node 1 says so by a floor.
    for element in [b"a", b"b"] {
        cluster.write(0, |group| or_set::remove(group, "s", element));
    }
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    assert!(cluster.store(1).floors().any(|(id, floor)| id == replica(0, 0) && floor > 0));
    cluster.disconnect(0, 1);
    cluster.connect(1, 2);
    cluster.advance(Span::from_secs(10));
    let left: Vec<&[u8]> = or_set::elements(cluster.store(2), "s").collect();
    assert_eq!(left, [b"c"]);
}

// Rules of transport.

#[test]
fn a_push_that_skips_entries_is_not_joined_but_answered_by_a_pull() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"lost"));
    cluster.write(0, |group| or_set::add(group, "s", b"late"));
    let frames = cluster.take(0, 1);
    assert_eq!(frames.len(), 2);
    cluster.deliver(0, 1, &frames[1]);
    assert_eq!(or_set::len(cluster.store(1), "s"), 0, "causal closure: not without what came before");
    let answer = cluster.take_frames(1, 0);
    assert!(matches!(answer[..], [Frame::Pull(..)]), "the pull is the Nack: {answer:?}");
}

#[test]
fn a_repeated_push_is_acknowledged_again_and_changes_nothing() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    let frames = cluster.take(0, 1);
    for _ in 0..3 {
        cluster.deliver(0, 1, &frames[0]);
        let answer = cluster.take_frames(1, 0);
        assert!(matches!(answer[..], [Frame::Ack(_, Ack { hi: Some(1), .. })]), "{answer:?}");
    }
    assert_eq!(cluster.node(1).stats().items_new, 1);
    assert_eq!(cluster.node(1).stats().items_known, 0, "a repeated push is not even joined");
}

#[test]
fn what_was_sent_and_not_acknowledged_is_sent_again() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    assert_eq!(pushes(&cluster.take_frames(0, 1)).len(), 1, "and lost");
    cluster.advance(Span::from_secs(5));
    assert!(or_set::contains(cluster.store(1), "s", b"x"));
}

#[test]
fn a_restarted_peer_is_not_pushed_from_the_cursor_of_its_former_life() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let image = cluster.node(1).image();
    for element in [b"a", b"b"] {
        cluster.write(0, |group| or_set::add(group, "s", element));
        cluster.settle();
    }
    // Node 1 crashes and loses both; its former life had acknowledged them.
    let now = cluster.now();
    cluster.replace(1, Node::restart(config(1, 1), image, now));
    cluster.write(0, |group| or_set::add(group, "s", b"c"));
    while or_set::len(cluster.store(1), "s") == 0 {
        while cluster.deliver_next(1, 0) {}
        for bytes in cluster.take(0, 1) {
            let push = matches!(cluster.read_sent(0, 1, &bytes), Frame::Push(..));
            assert!(!push, "no cursor stands for this life, so nothing is pushed before a session");
            cluster.deliver(0, 1, &bytes);
        }
    }
    cluster.settle();
    assert_eq!(or_set::len(cluster.store(1), "s"), 3);
    assert!(cluster.is_converged());
}

#[test]
fn a_frame_for_another_life_is_dropped_and_answered_with_hello() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let (now, image) = (cluster.now(), cluster.node(1).image());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    let old = cluster.take(0, 1);
    cluster.replace(1, Node::restart(config(1, 1), image, now));
    cluster.take(0, 1);
    cluster.take(1, 0);
    cluster.deliver(0, 1, &old[0]);
    assert_eq!(or_set::len(cluster.store(1), "s"), 0);
    let answer = cluster.take_frames(1, 0);
    let life = |frame: &Frame| matches!(frame, Frame::Hello(hello) if hello.incarnation == replica(1, 1));
    assert!(answer.iter().any(life), "{answer:?}");
}

#[test]
fn an_answer_is_joined_only_by_the_life_that_asked() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.connect(0, 1);
    let mut give = None;
    while give.is_none() {
        let mut frames = cluster.take(0, 1);
        let is_give = |bytes: &Vec<u8>| matches!(cluster.read_sent(0, 1, bytes), Frame::Give(..));
        give = frames.iter().position(is_give).map(|at| frames.swap_remove(at));
        frames.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
        while cluster.deliver_next(1, 0) {}
    }
    let (now, image) = (cluster.now(), cluster.node(1).image());
    cluster.replace(1, Node::restart(config(1, 1), image, now));
    let introduce = cluster.take(0, 1);
    introduce.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
    cluster.deliver(0, 1, &give.expect("the loop ends with one"));
    assert_eq!(or_set::len(cluster.store(1), "s"), 0);
    cluster.settle();
    cluster.advance(Span::from_secs(10));
    assert_eq!(or_set::len(cluster.store(1), "s"), 2);
}

#[test]
fn what_a_peer_taught_us_is_not_pushed_back_but_its_next_life_gets_it() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let image = cluster.node(0).image();
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    cluster.advance(Span::from_secs(2));
    assert_eq!(cluster.node(1).stats().pushes_sent, 0, "node 0 taught us this itself");
    // Node 0 loses it in a crash: the echo is needed now.
    let now = cluster.now();
    cluster.replace(0, Node::restart(config(0, 1), image, now));
    cluster.settle();
    cluster.advance(Span::from_secs(10));
    assert!(or_set::contains(cluster.store(0), "s", b"x"));
}

#[test]
fn a_push_leaves_out_what_the_peer_knows_and_is_live_but_never_what_died() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.settle();
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    // Only node 1 hears of the remove; the push to node 2 is lost, and node 2 says what it knows.
    cluster.take(0, 2);
    cluster.settle();
    cluster.advance(Span::from_millis(150));
    cluster.disconnect(0, 2);
    cluster.advance(Span::from_millis(400));
    assert!(!or_set::contains(cluster.store(2), "s", b"x"), "the relay names the dead dot");
    assert_eq!(cluster.node(2).stats().items_known, 0, "and leaves out the live one that node 2 knows");
}

#[test]
fn a_session_never_reaches_into_a_newer_state_than_its_context() {
    // The answer is one snapshot: what is written while it is under way is in a later frame.
    let mut cluster = Cluster::new(2, &short_log());
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"1"));
    cluster.connect(0, 1);
    while cluster.store(1).context().is_empty() {
        let frames = cluster.take_frames(0, 1);
        for frame in frames {
            if let Frame::Give(_, Give { fragment, .. }) = &frame {
                let context = fragment.context().expect("an answer says what its sender knew");
                for part in &fragment.cells {
                    assert!(part.items.iter().all(|item| context.contains(item.dot)));
                }
                cluster.write(0, |group| lww_map::put(group, "m", b"f", b"2"));
            }
            cluster.deliver(0, 1, &frame.encode(&Dialect::default()));
        }
        while cluster.deliver_next(1, 0) {}
    }
    cluster.settle();
    cluster.advance(Span::from_secs(6));
    assert_eq!(lww_map::get(cluster.store(1), "m", b"f"), Some(&b"2"[..]));
    assert_eq!(cluster.node(1).stats().frames_refused, 0);
}

#[test]
fn an_answer_holds_everything_up_to_the_head_that_it_names() {
    let mut cluster = Cluster::new(2, &short_log());
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"1"));
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"2"));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(cluster.store(1).context(), cluster.store(0).context());
    assert!(cluster.is_converged());
}

#[test]
fn a_new_life_that_lost_nothing_is_pushed_to_again_without_a_session() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    let (now, image) = (cluster.now(), cluster.node(1).image());
    cluster.replace(1, Node::restart(config(1, 1), image, now));
    cluster.settle();
    cluster.write(0, |group| or_set::add(group, "s", b"y"));
    cluster.settle();
    assert_eq!(or_set::len(cluster.store(1), "s"), 2, "the equal root set the cursor, though it was no news");
    assert_eq!(cluster.node(1).stats().sessions, 0);
}

// Events.

#[test]
fn a_remove_is_an_event_so_equal_contexts_cannot_hide_it() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    let before = cluster.store(0).context().clone();
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    assert_ne!(*cluster.store(0).context(), before);
    assert!(!cluster.write(0, |group| or_set::remove(group, "s", b"x")), "what is absent needs no event");
    assert_eq!(cluster.store(0).context().get(replica(0, 0)), 2);
}

#[test]
fn removal_beats_only_the_adds_it_saw() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    cluster.write(1, |group| or_set::add(group, "s", b"x"));
    cluster.connect(0, 1);
    cluster.settle();
    for node in [0, 1] {
        assert!(or_set::contains(cluster.store(node), "s", b"x"));
    }
}

#[test]
fn a_group_is_one_step_everywhere() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| {
        or_set::add(group, "s", b"x")?;
        pn_counter::add(group, "c", 3)?;
        lww_map::put(group, "m", b"f", b"v")
    });
    let frames = cluster.take_frames(0, 1);
    assert_eq!(pushes(&frames).len(), 1);
    cluster.deliver(0, 1, &frames[0].encode(&Dialect::default()));
    assert_eq!(cluster.store(1).crdt_count(), 3);
}

#[test]
fn a_lww_write_that_lost_is_kept_until_the_next_write_so_no_path_decides() {
    let mut cluster = Cluster::new(3, &Limits::default());
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.disconnect(a, b);
    }
    cluster.write(0, |group| lww_map::put(group, "m", b"f", b"a"));
    cluster.sleep(Span::from_millis(5));
    cluster.write(1, |group| lww_map::put(group, "m", b"f", b"b"));
    // The winner comes first, the loser later: it is kept all the same.
    cluster.connect(1, 2);
    cluster.settle();
    cluster.connect(0, 2);
    cluster.settle();
    assert_eq!(cluster.store(2).items("m", TypeTag::LWW_MAP, b"f").len(), 2);
    assert_eq!(lww_map::get(cluster.store(2), "m", b"f"), Some(&b"b"[..]));
    cluster.write(2, |group| lww_map::put(group, "m", b"f", b"c"));
    assert_eq!(cluster.store(2).items("m", TypeTag::LWW_MAP, b"f").len(), 1);
}

// Counters.

#[test]
fn increments_that_a_reset_had_not_seen_survive_it_exactly() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| pn_counter::add(group, "c", 10));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.write(1, |group| pn_counter::reset(group, "c"));
    cluster.write(0, |group| pn_counter::add(group, "c", 3));
    cluster.connect(0, 1);
    cluster.settle();
    for node in [0, 1] {
        assert_eq!(pn_counter::value(cluster.store(node), "c"), Some(3));
    }
}

#[test]
fn a_counter_that_was_reset_and_collected_leaves_no_cell() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| pn_counter::add(group, "c", 10));
    cluster.settle();
    cluster.write(1, |group| pn_counter::reset(group, "c"));
    cluster.settle();
    assert_eq!(cluster.store(0).item_count(), 1, "the floor");
    assert_eq!(cluster.store(0).crdt_count(), 0, "which is no presence");
    cluster.advance(Span::from_secs(61));
    assert_eq!(cluster.store(0).item_count(), 0, "its owner has collected it");
    assert!(cluster.is_converged());
}

// Bounds, expiry, incarnations.

#[test]
fn a_life_that_was_set_back_in_memory_is_fenced_before_it_joins_anything() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let earlier = cluster.node(0).clone();
    cluster.write(0, |group| or_set::add(group, "s", b"forgotten"));
    cluster.settle();
    cluster.write(1, |group| or_set::add(group, "s", b"built on it"));
    cluster.take(1, 0);
    // The machine goes back to an earlier image of its memory: same incarnation, fewer events.
    cluster.disconnect(0, 1);
    *cluster.node(0) = earlier;
    cluster.connect(0, 1);
    while cluster.store(0).context().is_empty() {
        assert!(cluster.deliver_next(0, 1) || cluster.deliver_next(1, 0), "the two go on talking");
        let known = cluster.store(0).context().clone();
        assert!(
            !known.contains(sync_core::id::Dot::new(replica(1, 0), 1))
                || known.contains(sync_core::id::Dot::new(replica(0, 0), 1))
        );
    }
    cluster.settle();
    cluster.advance(Span::from_secs(10));
    assert_ne!(cluster.node(0).replica(), replica(0, 0), "fenced");
    assert_eq!(or_set::len(cluster.store(0), "s"), 2, "its own lost event came back from the peer");
    assert!(cluster.is_converged());
}

#[test]
fn a_join_is_never_refused_for_the_soft_limits() {
    let mut cluster = Cluster::apart((0..2).map(|index| {
        let mut config = config(index, 0);
        config.limits.crdts_max = if index == 1 { 1 } else { 100 };
        config
    }));
    for key in ["a", "b", "c"] {
        cluster.write(0, |group| or_set::add(group, key, b"x"));
    }
    cluster.write(1, |group| or_set::add(group, "d", b"x"));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(cluster.store(1).crdt_count(), 4);
    assert!(cluster.is_converged());
}

#[test]
fn an_entry_of_a_departed_replica_is_never_pruned_so_its_dead_stay_dead() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.write(2, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(1));
    let absent = cluster.node(1).image();
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::remove(group, "s", b"x"));
    assert_eq!(cluster.store(0).context().get(replica(2, 0)), 1);
    let (now, image) = (cluster.now(), cluster.node(0).image());
    cluster.replace(0, Node::restart(config(0, 1), image, now));
    cluster.replace(1, Node::restart(config(1, 1), absent, now));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(10));
    for node in [0, 1] {
        assert!(!or_set::contains(cluster.store(node), "s", b"x"));
    }
}

#[test]
#[should_panic(expected = "every start mints a new replica id")]
fn a_start_under_the_id_of_a_former_life_is_refused() {
    let mut cluster = Cluster::new(1, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    let (now, image) = (cluster.now(), cluster.node(0).image());
    drop(Node::restart(config(0, 0), image, now));
}

#[test]
fn a_new_life_keeps_state_floors_horizon_and_inbound_cursors_as_one_unit() {
    let mut cluster = Cluster::new(2, &one_record());
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "s", element));
        cluster.settle();
    }
    for element in [b"a", b"b"] {
        cluster.write(0, |group| or_set::remove(group, "s", element));
        cluster.settle();
    }
    let floors: Vec<_> = cluster.store(1).floors().collect();
    assert!(!floors.is_empty());
    let (now, image) = (cluster.now(), cluster.node(1).image());
    let before = cluster.store(1).clone();
    let mut node = Node::restart(config(1, 1), image, now);
    let store = node.store(namespace()).expect("it is open");
    assert!(store.same_state(&before));
    assert_eq!(store.floors().collect::<Vec<_>>(), floors);
    assert_eq!(store.log_head(), 0, "a new life begins a new log");
    // The cursor on node 0's log stands: its next push is taken in without a session.
    node.handle(now, Input::Connected { peer: node_id(0) });
    cluster.replace(1, node);
    cluster.settle();
    assert_eq!(cluster.node(1).stats().items_known, 0);
}

#[test]
fn a_counter_owner_outlives_a_clean_stop_and_a_lossy_crash_makes_a_new_one() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| pn_counter::add(group, "c", 1));
    cluster.settle();
    let (now, image) = (cluster.now(), cluster.node(0).image());
    let kept = image.owner();
    let mut clean = config(0, 1);
    clean.owner = kept;
    cluster.replace(0, Node::restart(clean, image.clone(), now));
    cluster.write(0, |group| pn_counter::add(group, "c", 1));
    cluster.settle();
    assert_eq!(cluster.store(1).cells("c", TypeTag::PN_COUNTER).count(), 1, "one owner, one contribution");
    let mut crashed = config(0, 2);
    crashed.owner = OwnerId([99; 16]);
    cluster.replace(0, Node::restart(crashed, image, now));
    cluster.write(0, |group| pn_counter::add(group, "c", 1));
    cluster.settle();
    cluster.advance(Span::from_secs(10));
    for node in [0, 1] {
        assert_eq!(
            pn_counter::value(cluster.store(node), "c"),
            Some(3),
            "no increment lost, none counted twice"
        );
    }
}

#[test]
fn a_frame_that_shows_state_is_held_until_that_state_is_durable_and_never_cut() {
    let mut durable = config(0, 0);
    durable.persistence = Persistence::Driver;
    let mut cluster = Cluster::apart([durable, config(1, 0)]);
    cluster.connect(0, 1);
    cluster.persist(0);
    cluster.settle();
    cluster.persist(0);
    cluster.settle();
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    assert!(pushes(&cluster.take_frames(0, 1)).is_empty(), "the write is not durable yet");
    cluster.persist(0);
    let frames = cluster.take_frames(0, 1);
    assert_eq!(pushes(&frames).len(), 1);
    // A crash before durability: nobody has seen the write, so no dot is reused and nothing is lost.
    frames.iter().for_each(|frame| cluster.deliver(0, 1, &frame.encode(&Dialect::default())));
    assert!(or_set::contains(cluster.store(1), "s", b"x"));
}

#[test]
fn equal_contexts_with_unequal_roots_raise_one_alarm_and_no_loop() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    cluster.events();
    // A damaged peer: it knows the same events and shows another root.
    let context = cluster.store(0).context().clone();
    let route = Route { namespace: namespace(), from: replica(1, 0), to: replica(0, 0), known: 0 };
    let claims = Claims::Cells { context, ranges: Vec::new() };
    let fragment = Fragment { claims, ..Fragment::default() };
    let give = Give { head: 0, root: sync_core::merkle::Fingerprint([3; 32]), fragment };
    for _ in 0..3 {
        cluster.deliver(1, 0, &Frame::Give(route, give.clone()).encode(&Dialect::default()));
    }
    let alarms = cluster.events().into_iter().filter(|(_, event)| matches!(event, Event::Diverged { .. }));
    assert_eq!(alarms.count(), 1);
}

/// Breaks each rule and demands that its test turns red.
#[cfg(feature = "mutants")]
mod bite {
    use std::panic::catch_unwind;

    use super::*;
    use sync_core::mutant::{Mutant, with};

    type Story = fn();

    macro_rules! broken {
        ($($mutant:ident => $test:ident),+ $(,)?) => {
            const TABLE: &[(Mutant, &str, Story)] = &[$((Mutant::$mutant, stringify!($test), $test as Story)),+];
        };
    }

    broken! {
        PushCutBeforeHead => a_push_is_resolved_up_to_the_head_so_an_overwrite_never_shows_as_a_removal,
        LogTruncationIgnored => a_peer_whose_cursor_fell_off_the_log_is_behind_and_catches_up_by_a_session,
        CellClaimsIgnored => an_overwrite_needs_no_record_because_its_cell_is_claimed,
        RemovesUnrecorded => a_remove_of_an_element_reaches_a_peer_that_missed_it_by_its_record,
        RecordCellsNotClaimed => a_remove_of_an_element_reaches_a_peer_that_missed_it_by_its_record,
        RecordRangesNotClaimed => clearing_a_set_is_one_event_with_one_record_and_kills_only_what_it_saw,
        ClaimsJudgedByReceiver => a_claim_judges_only_what_the_sender_knew,
        CrossCellUnrecorded => a_counter_floor_leaves_a_record_because_it_kills_in_another_cell,
        FloorsIgnored => a_peer_below_a_floor_heals_by_the_fallback_and_nothing_removed_comes_back,
        TruncationIgnored => a_peer_below_a_floor_heals_by_the_fallback_and_nothing_removed_comes_back,
        FallbackRaisesNoFloor => a_fallback_carries_no_records_so_its_learner_serves_others_by_the_fallback_too,
        PushWithoutRecords => a_third_replica_is_served_from_records_that_came_by_push,
        RecordsNotInherited => a_third_replica_is_served_from_records_that_came_by_push,
        FloorsNotInherited => who_learns_dots_inherits_the_senders_floors,
        DeltasInAnyOrder => a_push_that_skips_entries_is_not_joined_but_answered_by_a_pull,
        PushNotRepeated => what_was_sent_and_not_acknowledged_is_sent_again,
        RebirthIgnored => a_restarted_peer_is_not_pushed_from_the_cursor_of_its_former_life,
        OtherLivesAccepted => a_frame_for_another_life_is_dropped_and_answered_with_hello,
        OtherLivesAccepted => an_answer_is_joined_only_by_the_life_that_asked,
        KnownIsPushed => a_push_leaves_out_what_the_peer_knows_and_is_live_but_never_what_died,
        KnownDeadLeftOut => a_push_leaves_out_what_the_peer_knows_and_is_live_but_never_what_died,
        AnswerReadsCellsLive => an_answer_holds_everything_up_to_the_head_that_it_names,
        RemoveMintsNothing => a_remove_is_an_event_so_equal_contexts_cannot_hide_it,
        RemovesKillConcurrent => removal_beats_only_the_adds_it_saw,
        OneDotTwoCells => a_group_is_one_step_everywhere,
        LwwLoserDropped => a_lww_write_that_lost_is_kept_until_the_next_write_so_no_path_decides,
        ResetWritesNoFloor => increments_that_a_reset_had_not_seen_survive_it_exactly,
        ResetKillsLikeCells => increments_that_a_reset_had_not_seen_survive_it_exactly,
        CapRefusesJoins => a_join_is_never_refused_for_the_soft_limits,
        CapDropsItems => a_join_is_never_refused_for_the_soft_limits,
        DeadColumnsPruned => an_entry_of_a_departed_replica_is_never_pruned_so_its_dead_stay_dead,
        FloorsNotPersisted => a_new_life_keeps_state_floors_horizon_and_inbound_cursors_as_one_unit,
        FramesNotHeld => a_frame_that_shows_state_is_held_until_that_state_is_durable_and_never_cut,
        DamagedCellDropped => a_new_life_keeps_state_floors_horizon_and_inbound_cursors_as_one_unit,
    }

    #[test]
    fn every_rule_test_turns_red_when_its_rule_is_broken() {
        let green: Vec<_> = TABLE
            .iter()
            .filter(|(mutant, name, story)| {
                let red = catch_unwind(|| with(Some(*mutant), story)).is_err();
                println!(
                    "{} | {name} | {} | {}",
                    mutant.row(),
                    mutant.what(),
                    if red { "red" } else { "GREEN" }
                );
                !red
            })
            .collect();
        assert!(green.is_empty(), "these tests do not notice: {green:?}");
    }
}
