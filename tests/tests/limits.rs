//! Each bound that `admission.rs`, `cost.rs`, `large.rs` and their like do not meet, the pressure of all of them, and
//! the page that names them: `docs/bounds.md`.

use std::fmt::Write as _;
use std::path::Path;

use sync_core::causal::DotSet;
use sync_core::cell::{Hlc, TypeTag};
use sync_core::class::Class;
use sync_core::error::WriteError;
use sync_core::fragment::Fragment;
use sync_core::id::{Dot, OwnerId, ReplicaId};
use sync_core::limits::{Limits, Timing};
use sync_core::message::Frame;
use sync_core::node::{Bound, Event, Input, Level, Output, Reading};
use sync_core::store::{Learned, Store};
use sync_core::time::{Now, Span};
use sync_core::types::{lww_map, or_map, or_set, pn_counter, rw_set};
use sync_tests::{Cluster, config, namespace, node_id};

fn reading(cluster: &mut Cluster, node: u8, bound: Bound) -> Reading {
    cluster.node(node).pressure(namespace()).expect("every node opens the default namespace").of(bound)
}

/// What the nodes told of pressure since the last call.
fn told(cluster: &mut Cluster) -> Vec<(u8, Bound, Level, u64)> {
    let events = cluster.events().into_iter();
    let told = events.filter_map(|(node, event)| {
        let Event::Pressure { bound, level, used, .. } = event else { return None };
        Some((node, bound, level, used))
    });
    told.collect()
}

#[test]
fn a_set_at_its_cells_refuses_one_more_and_takes_joins_removes_and_known_elements() {
    let limits = Limits { crdt_cells_max: 3, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    cluster.disconnect(0, 1);
    for node in [0, 1] {
        for element in 0..3 {
            cluster.write(node, |group| or_set::add(group, "s", &[node, element]));
        }
    }
    let before = cluster.store(0).context().clone();
    let refused = cluster.try_write(0, |group| or_set::add(group, "s", b"x")).expect_err("it is full");
    let text = "\"s\" is full: 3 elements or fields of at most 3; remove some, spread them over more keys, or raise \
                crdt_cells_max";
    assert_eq!(refused.to_string(), text);
    assert_eq!(*cluster.store(0).context(), before, "nothing was minted");
    cluster.write(0, |group| or_set::add(group, "s", &[0, 1]));
    cluster.write(0, |group| or_set::add(group, "t", b"x"));
    cluster.connect(0, 1);
    cluster.settle();
    assert!(cluster.is_converged());
    assert_eq!(or_set::len(cluster.store(0), "s"), 6, "joins apply");
    assert_eq!(reading(&mut cluster, 1, Bound::CrdtCells), Reading { used: 6, max: 3 });
    for element in 0..3 {
        cluster.write(1, |group| or_set::remove(group, "s", &[0, element]));
    }
    let refused = cluster.try_write(1, |group| or_set::add(group, "s", b"x"));
    assert!(matches!(refused, Err(WriteError::CrdtCells { cells: 3, max: 3, .. })), "{refused:?}");
    cluster.write(1, |group| or_set::remove(group, "s", &[1, 0]));
    cluster.write(1, |group| or_set::add(group, "s", b"x"));
}

#[test]
fn a_map_at_its_bytes_refuses_growth_and_lets_removes_and_smaller_values_pass() {
    let limits = Limits { crdt_bytes_max: 300, ..Limits::default() };
    let mut cluster = Cluster::new(1, &limits);
    cluster.write(0, |group| lww_map::put(group, "m", b"f", &[1; 100]));
    let refused =
        cluster.try_write(0, |group| lww_map::put(group, "m", b"g", &[1; 100])).expect_err("too large");
    let text = "\"m\" is full: 198 bytes and 198 more exceed 300; remove data, spread it over more keys, or raise \
                crdt_bytes_max";
    assert_eq!(refused.to_string(), text);
    let grown = cluster.try_write(0, |group| lww_map::put(group, "m", b"f", &[1; 203]));
    assert!(matches!(grown, Err(WriteError::CrdtBytes { bytes: 198, more: 103, max: 300, .. })), "{grown:?}");
    cluster.write(0, |group| lww_map::put(group, "m", b"f", &[1; 202]));
    cluster.write(0, |group| lww_map::put(group, "n", b"f", &[1; 202]));
    cluster.write(0, |group| lww_map::put(group, "m", b"f", &[1; 10]));
    assert_eq!(reading(&mut cluster, 0, Bound::CrdtBytes), Reading { used: 300, max: 300 }, "that of n");
    assert_eq!(cluster.write(0, |group| lww_map::clear(group, "n")), 1);
    assert_eq!(reading(&mut cluster, 0, Bound::CrdtBytes), Reading { used: 108, max: 300 });
}

#[test]
fn floors_count_against_no_soft_limit_and_resets_always_pass() {
    let map = or_map::Map::at_key("m");
    let mut cluster = Cluster::new(2, &Limits::default());
    for name in 0..20u8 {
        cluster.write(0, |group| pn_counter::add(group, map.at(&[name]), 5));
    }
    cluster.settle();
    // Floors of counters of another owner: nobody here can remove them.
    cluster.write(1, |group| or_map::clear(group, &map));
    let (store, bytes) = (cluster.store(1), cluster.store(1).bytes());
    assert_eq!((store.crdt_count(), store.soft_bytes()), (0, 0));
    assert!(bytes > 20 * 96, "floors take memory: {bytes} bytes");
    store.check().expect("the structure is sound");
    for bound in [Bound::Crdts, Bound::StoreBytes, Bound::CrdtCells, Bound::CrdtBytes] {
        assert_eq!(reading(&mut cluster, 1, bound).used, 0, "{bound:?}");
    }
    assert_eq!(reading(&mut cluster, 1, Bound::Ceiling).used, bytes, "the ceiling guards memory");

    let mut full = config(0, 0);
    full.limits = Limits {
        crdts_max: 1,
        crdt_cells_max: 1,
        crdt_bytes_max: 1,
        store_bytes_max: 1,
        ..Limits::default()
    };
    let mut cluster = Cluster::apart([full, config(1, 0)]);
    cluster.write(1, |group| pn_counter::add(group, "c", 5));
    cluster.write(1, |group| rw_set::add(group, "r", b"x"));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(cluster.store(0).crdt_count(), 2, "joins apply");
    assert!(cluster.try_write(0, |group| pn_counter::add(group, "c", 1)).is_err());
    assert!(cluster.write(0, |group| pn_counter::reset(group, "c")), "a reset is a remove");
    assert!(cluster.write(0, |group| rw_set::remove(group, "r", b"x")), "and so is a mark on what is there");
}

#[test]
fn a_peer_beyond_the_limit_is_refused_and_one_that_left_gives_its_place() {
    let limits = Limits { peers_max: 2, ..Limits::default() };
    let mut cluster = Cluster::apart((0..4).map(|index| {
        let mut config = config(index, 0);
        config.limits = limits.clone();
        config
    }));
    cluster.connect(0, 1);
    cluster.connect(0, 2);
    cluster.settle();
    assert_eq!(told(&mut cluster), [(0, Bound::Peers, Level::Full, 2)]);
    cluster.connect(0, 3);
    let text = "this node already knows 2 peers, its limit; remove one or raise peers_max";
    assert_eq!(cluster.parted(), [text]);
    assert!((reading(&mut cluster, 0, Bound::Peers).pressure() - 1.0).abs() < 1e-9);
    cluster.disconnect(0, 1);
    assert_eq!(reading(&mut cluster, 0, Bound::Peers), Reading { used: 1, max: 2 });
    cluster.connect(0, 3);
    cluster.settle();
    assert_eq!(cluster.parted().len(), 1);
    assert_eq!(told(&mut cluster), [(0, Bound::Peers, Level::Full, 2)], "it fell below 70 % between");
}

#[test]
fn pressure_is_told_at_eighty_and_a_hundred_percent_once_and_when_a_join_overshoots() {
    let mut small = config(0, 0);
    small.limits = Limits { crdts_max: 10, ..Limits::default() };
    let mut cluster = Cluster::apart([small, config(1, 0)]);
    let add = |cluster: &mut Cluster, node, key: u8| {
        cluster.write(node, |group| or_set::add(group, &format!("{node}/{key}"), b"x"));
    };
    (0..7).for_each(|key| add(&mut cluster, 0, key));
    assert_eq!(told(&mut cluster), []);
    add(&mut cluster, 0, 7);
    assert_eq!(told(&mut cluster), [(0, Bound::Crdts, Level::High, 8)]);
    (0..5).for_each(|key| add(&mut cluster, 1, key));
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(told(&mut cluster), [(0, Bound::Crdts, Level::Full, 13)], "a join overshoots and says so");
    assert!(reading(&mut cluster, 0, Bound::Crdts).pressure() >= 1.0);
    for key in 0..6u8 {
        cluster.write(0, |group| or_set::clear(group, &format!("0/{key}")));
    }
    add(&mut cluster, 0, 0);
    assert_eq!(told(&mut cluster), [], "70 % and 80 % again: it has not fallen below");
    cluster.write(0, |group| or_set::clear(group, "0/0"));
    cluster.write(0, |group| or_set::clear(group, "0/6"));
    (0..2).for_each(|key| add(&mut cluster, 0, key));
    assert_eq!(told(&mut cluster), [(0, Bound::Crdts, Level::High, 8)], "it fell to 60 %");
}

#[test]
fn every_bound_with_a_pressure_reads_what_fills_it() {
    let mut small = config(0, 0);
    small.limits = Limits {
        log_entries_max: 8,
        log_intervals_max: 12,
        records_max: 5,
        records_bytes_max: 4_000,
        outbox_frames_max: 4,
        events_max: 6,
        ..Limits::default()
    };
    let mut node = sync_core::node::Node::new(small, Now::default());
    node.handle(Now::default(), Input::Connected { peer: node_id(1) });
    node.set_changes(true);
    let write = |node: &mut sync_core::node::Node, fill: fn(&mut sync_core::store::Group<'_>, u8), at| {
        node.write(Now::default(), namespace(), |group| {
            fill(group, at);
            Ok::<_, WriteError>(())
        })
        .expect("there is room");
    };
    for at in 0..20 {
        write(&mut node, |group, at| or_set::add(group, "s", &[at]).expect("there is room"), at);
    }
    for at in 0..10 {
        write(
            &mut node,
            |group, at| {
                or_set::remove(group, "s", &[at]).expect("there is room");
            },
            at,
        );
    }
    let of =
        |node: &mut sync_core::node::Node, bound| node.pressure(namespace()).expect("it is open").of(bound);
    let store = node.store(namespace()).expect("it is open");
    let (records, log, bytes) = (store.record_sizes(), store.log_sizes(), store.bytes());
    store.check().expect("the structure is sound");
    assert_eq!((records.0, log.0), (5, 6), "a remove is two intervals: of 12 the log holds six entries");
    assert_eq!(of(&mut node, Bound::Records), Reading { used: 5, max: 5 });
    assert_eq!(of(&mut node, Bound::RecordsBytes), Reading { used: records.1 as u64, max: 4_000 });
    assert_eq!(of(&mut node, Bound::LogEntries), Reading { used: 6, max: 8 });
    assert_eq!(of(&mut node, Bound::LogIntervals), Reading { used: 12, max: 12 });
    assert_eq!(of(&mut node, Bound::Events), Reading { used: 6, max: 6 });
    assert_eq!(of(&mut node, Bound::Ceiling).used, bytes);
    assert_eq!(of(&mut node, Bound::CrdtCells).used, 10);
    assert_eq!(of(&mut node, Bound::Peers).used, 1);
    let outbox = [Bound::OutboxFrames, Bound::OutboxBytes].map(|bound| of(&mut node, bound).used);
    assert!(outbox[0] == 1 && outbox[1] > 50, "a hello waits: {outbox:?}");
    let mut lost = 0;
    while let Some(output) = node.poll_output() {
        if let Output::Event(Event::EventsLost { count }) = output {
            lost += count;
        }
    }
    assert!(lost >= 24, "30 changes and room for six events: {lost} lost, and it is said");
    assert_eq!(of(&mut node, Bound::Events).used, 0);
}

#[test]
fn records_beyond_their_bytes_go_oldest_first_and_the_peer_still_heals() {
    let limits = Limits { records_bytes_max: 1_200, log_entries_max: 1, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    (0..20u8).for_each(|at| cluster.write(0, |group| or_set::add(group, "set", &[at])));
    cluster.settle();
    cluster.disconnect(0, 1);
    for at in 0..10u8 {
        cluster.write(0, |group| or_set::remove(group, "set", &[at]));
    }
    let (records, bytes) = cluster.store(0).record_sizes();
    assert!((1..10).contains(&records) && bytes <= 1_200, "{records} records of {bytes} bytes");
    assert_eq!(cluster.store(0).floors().count(), 1, "the floor says that some are gone");
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(1));
    assert!(cluster.is_converged());
    assert_eq!(cluster.node(1).stats().fallbacks, 1);
}

#[test]
fn a_log_beyond_its_intervals_drops_the_oldest_and_the_peer_heals_by_a_session() {
    let limits = Limits { log_intervals_max: 20, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    cluster.disconnect(0, 1);
    (0..60u8).for_each(|at| cluster.write(0, |group| or_set::add(group, "set", &[at])));
    assert_eq!(cluster.store(0).log_sizes(), (20, 20));
    cluster.connect(0, 1);
    cluster.advance(Span::from_secs(1));
    assert!(cluster.is_converged());
    assert!(cluster.node(1).stats().sessions >= 1);
}

#[test]
fn a_peer_with_too_many_bytes_unread_gets_no_more_and_loses_nothing() {
    let mut small = config(0, 0);
    small.limits = Limits { outbox_bytes_max: 3_000, ..Limits::default() };
    let mut cluster = Cluster::apart([small, config(1, 0)]);
    cluster.connect(0, 1);
    cluster.settle();
    let now = cluster.now();
    let node = cluster.node(0);
    let (mut sent, mut frames) = (0, Vec::new());
    for at in 0..100u8 {
        node.write(now, namespace(), |group| lww_map::put(group, "m", &[at], &[7; 500]))
            .expect("there is room");
        node.handle(now, Input::Wake);
        node.handle(now, Input::SyncNow);
        while let Some(output) = node.poll_output() {
            if let Output::Send { bytes, .. } = output {
                sent += bytes.len();
                frames.push(bytes);
            }
        }
    }
    // The last frame is built while there is room, and may be as long as a push is.
    assert!((3_000..70_000).contains(&sent), "{sent} bytes for a peer that takes none");
    let bound = reading(&mut cluster, 0, Bound::OutboxBytes);
    assert_eq!(bound.used, sent as u64);
    frames.iter().for_each(|frame| cluster.deliver(0, 1, frame));
    cluster.input(
        0,
        Input::Written { peer: node_id(1), class: Class::Normal, frames: frames.len(), bytes: sent },
    );
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
}

#[test]
fn no_more_pushes_wait_for_their_acknowledgement_than_may() {
    let limits = Limits { pushes_in_flight_max: 2, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    (0..10u8).for_each(|at| cluster.write(0, |group| or_set::add(group, "s", &[at])));
    let frames = cluster.take(0, 1);
    let decoded: Vec<Frame> = frames.iter().map(|bytes| cluster.read_sent(0, 1, bytes)).collect();
    let pushes = decoded.iter().filter(|frame| matches!(frame, Frame::Push(..))).count();
    assert_eq!(pushes, 2, "the other eight writes wait, and travel together");
    frames.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
    cluster.settle();
    assert!(cluster.is_converged());
}

#[test]
fn what_a_peer_taught_us_is_skipped_and_its_cursor_follows_in_steps() {
    let limits = Limits { skipped_entries_max: 5, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    for at in 0..40u8 {
        cluster.write(1, |group| or_set::add(group, "s", &[at]));
        cluster.advance(Span::from_millis(300));
    }
    let status = cluster.node(0).peers(namespace()).remove(0);
    let acked = status.acked.expect("a cursor stands");
    assert!(status.head - acked <= 6, "{acked} of {} acknowledged", status.head);
    let pushes = cluster.node(0).stats().pushes_sent;
    assert!((1..=10).contains(&pushes), "{pushes} empty pushes for 40 entries");
}

#[test]
fn above_the_full_mesh_a_node_pushes_to_few_neighbours_and_all_learn() {
    let limits = Limits { full_mesh_peers_max: 3, overlay_degree: 2, ..Limits::default() };
    let neighbours = |cluster: &mut Cluster| {
        let peers = cluster.node(0).peers(namespace());
        peers.iter().filter(|peer| peer.neighbour).count()
    };
    let mut cluster = Cluster::new(4, &limits);
    assert_eq!(neighbours(&mut cluster), 3, "three peers are a full mesh");
    let mut cluster = Cluster::new(9, &limits);
    let chosen = neighbours(&mut cluster);
    assert!((2..8).contains(&chosen), "{chosen} neighbours of 8 peers");
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(5));
    assert!(cluster.is_converged());
}

#[test]
fn a_lost_hello_is_sent_again_after_its_retry() {
    let mut cluster = Cluster::apart([config(0, 0), config(1, 0)]);
    cluster.connect(0, 1);
    assert_eq!(cluster.take(0, 1).len(), 1, "and lost");
    drop(cluster.take(1, 0));
    cluster.advance(Span::from_millis(Timing::default().hello_retry.as_millis() + 300));
    assert!(cluster.node(0).peers(namespace()).iter().all(|peer| peer.incarnation.is_some()));
}

#[test]
fn what_one_peer_taught_is_told_at_once_and_relayed_to_who_has_not_said_that_it_knows() {
    let mut cluster = Cluster::apart((0..3).map(|index| config(index, 0)));
    cluster.connect(0, 1);
    cluster.connect(0, 2);
    cluster.advance(Span::from_secs(1));
    cluster.write(1, |group| or_set::add(group, "s", b"x"));
    while cluster.deliver_next(1, 0) {}
    let Timing { tell_delay, relay_delay, .. } = Timing::default();
    cluster.advance(Span::from_micros(tell_delay.as_micros() - 1_000));
    assert_eq!(cluster.node(0).stats().deltas_sent, 0);
    cluster.sleep(Span::from_millis(2));
    cluster.input(0, Input::Wake);
    let told = cluster.take_frames(0, 2);
    assert!(matches!(told[..], [Frame::Ack(..)]), "it tells that it knows: {told:?}");
    cluster.sleep(relay_delay);
    cluster.input(0, Input::Wake);
    assert!(
        cluster.take_frames(0, 2).iter().any(|frame| matches!(frame, Frame::Push(..))),
        "and then sends it"
    );
}

#[test]
fn a_frame_longer_than_a_message_may_be_is_refused_before_it_is_read() {
    let limits = Limits { message_bytes_max: 1_000, group_bytes_max: 500, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    cluster.deliver(0, 1, &[0; 1_001]);
    let refused = cluster.events().into_iter().find_map(|(_, event)| {
        let Event::FrameRefused { error, .. } = event else { return None };
        Some(error.to_string())
    });
    assert_eq!(refused.as_deref(), Some("a frame of 1001 bytes exceeds the limit of 1000"));
}

#[test]
fn the_texts_of_refused_writes_carry_their_numbers_and_say_what_to_do() {
    let errors = [
        (
            WriteError::Full { count: 8, max: 8 },
            "the store is full: 8 CRDTs of at most 8; remove some, or raise crdts_max",
        ),
        (
            WriteError::StoreBytes { bytes: 900, more: 200, max: 1_000 },
            "the store is full: 900 bytes and 200 more exceed 1000; remove data, or raise store_bytes_max",
        ),
        (WriteError::KeyTooLong { len: 513, max: 512 }, "a key of 513 bytes exceeds the limit of 512"),
        (
            WriteError::PathTooLong { len: 5_000, max: 4_096 },
            "an element or field of 5000 bytes exceeds the limit of 4096",
        ),
        (WriteError::ValueTooLong { len: 101, max: 100 }, "a value of 101 bytes exceeds the limit of 100"),
        (
            WriteError::GroupTooLarge { len: 202, max: 200 },
            "a group of 202 bytes exceeds the limit of 200; split it",
        ),
        (
            WriteError::TooDeep { depth: 9, max: 8 },
            "a place 9 names deep in a nested map exceeds the limit of 8",
        ),
        (
            WriteError::NotNested { ty: TypeTag::BOUNDED_COUNTER },
            "a bounded-counter cannot lie in a nested map; give it a key of its own",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_life_that_has_used_its_sequence_numbers_writes_no_more() {
    let (replica, mut store) = (ReplicaId([3; 16]), Store::new(namespace(), Limits::default()));
    let mut dots = DotSet::default();
    dots.insert_range(replica, 1, Dot::SEQ_MAX - 1);
    let learned = Learned { own: ReplicaId([4; 16]), own_minted: 0, from: None };
    store.join(&Fragment { dots, ..Fragment::default() }, learned).expect("nothing is live in it");
    let mut group = store.group(replica, OwnerId([3; 16]), Dot::SEQ_MAX, Hlc(1));
    or_set::add(&mut group, "s", b"last").expect("one is left");
    let refused = or_set::add(&mut group, "s", b"beyond").expect_err("none is left");
    group.roll_back();
    let text = "has used all 1099511627776 sequence numbers; restart the node";
    assert!(refused.to_string().ends_with(text), "{refused}");
    assert_eq!(store.context().get(replica), Dot::SEQ_MAX - 1);
    store.check().expect("all of the group was taken back");
}

/// Every field of a struct with its default, by a pattern without `..`: a new field stops the build here, and is to be
/// named in `docs/bounds.md`.
macro_rules! fields {
    ($ty:ident, $number:expr, [$($field:ident),* $(,)?]) => {{
        let $ty { $($field),* } = $ty::default();
        vec![$((stringify!($field), $number($field as _))),*]
    }};
}

fn limits() -> Vec<(&'static str, u64)> {
    let number = |value: u64| value;
    fields!(
        Limits,
        number,
        [
            crdts_max,
            store_bytes_max,
            store_bytes_ceiling,
            crdt_cells_max,
            crdt_bytes_max,
            key_bytes_max,
            path_bytes_max,
            value_bytes_max,
            map_depth_max,
            group_bytes_max,
            namespaces_max,
            node_bytes_max,
            peers_max,
            message_bytes_max,
            staging_bytes_max,
            pinned_bytes_max,
            log_entries_max,
            log_intervals_max,
            records_max,
            records_bytes_max,
            outbox_frames_max,
            outbox_bytes_max,
            urgent_rate_max,
            normal_rate_max,
            bulk_rate_max,
            rate_burst_bytes,
            full_mesh_peers_max,
            overlay_degree,
            pushes_in_flight_max,
            skipped_entries_max,
            survey_items_max,
            events_max,
            changes_bytes_max,
            changes_waiting_max,
            step_changes_max,
            pulls_at_once_max,
            crowd_peers_max,
            fresh_events_max,
            catch_up_rate_min,
            breaker_failures_max,
            breaker_successes_max,
            breaker_opens_max,
        ]
    )
}

fn timing() -> Vec<(&'static str, u64)> {
    let millis = |value: Span| value.as_millis();
    fields!(
        Timing,
        millis,
        [
            sync_interval,
            sync_timeout,
            hello_retry,
            relay_delay,
            tell_delay,
            scrub_period,
            random_session,
            cleanup_interval,
            survey_pause,
            drift_max,
            expiry_grace,
            expiry_step,
            clock_window,
            clock_wait,
            replay_wait,
            catch_up_spread,
            breaker_open,
            breaker_open_max,
            breaker_probe_min,
            breaker_probe_max,
        ]
    )
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        let comma = if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
        write!(text, "{comma}{digit}").expect("a string takes all");
    }
    text
}

/// Of a peer that lacks many events, all of them dead but the last, the lag is not seen: only so many are looked at.
#[test]
fn only_so_many_events_are_looked_at_for_a_lag() {
    let lag_after = |events: usize| {
        let mut cluster = Cluster::new(2, &Limits::default());
        cluster.disconnect(0, 1);
        for _ in 0..events {
            cluster.write(0, |group| or_set::add(group, "set", b"renewed"));
        }
        cluster.sleep(Span::from_secs(60));
        let now = cluster.now_at(0);
        let lags = cluster.node(0).lags(now, namespace());
        lags[0].oldest_ms
    };
    // Each names itself and the one that it ended.
    assert_eq!((lag_after(512), lag_after(514)), (60_000, 0));
}

#[test]
fn the_page_of_bounds_names_each_with_its_default_and_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let page = std::fs::read_to_string(root.join("docs/bounds.md")).expect("the page is there");
    let mut sources = String::new();
    for folder in [
        "tests/tests",
        "sync-core/src",
        "sync-net/disk/src",
        "sync-net/disk/tests",
        "sync-net/src",
        "sync-net/tests",
        "sync-cli/tests",
        "simulations/src",
    ] {
        read_all(&root.join(folder), &mut sources);
    }
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let millis = timing().into_iter().map(|(name, value)| (name, format!("{} ms", grouped(value))));
    let counts = limits().into_iter().map(|(name, value)| (name, grouped(value)));
    for (name, default) in counts.chain(millis) {
        let row = rows.iter().find(|row| row[0] == format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("docs/bounds.md does not name {name}"));
        assert!(row[1].starts_with(&default), "{name}: the page says {}, the code {default}", row[1]);
    }
    for row in &rows {
        let named = row.last().expect("a row has columns").trim_matches('`');
        let is_there = sources.contains(&format!("fn {named}("));
        assert!(is_there, "{}: there is no test {named}", row[0]);
    }
    for bound in Bound::ALL {
        assert!(limits().iter().any(|(name, _)| *name == bound.name()), "{bound:?} is a field of Limits");
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("sources are text"));
        }
    }
}
