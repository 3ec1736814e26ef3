//! What exchanges cost, by the node's own counters: bytes of frames and items carried, never wall time.

use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::Input;
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set};
use sync_tests::{Cluster, node_id};

const ENTRIES: u32 = 10_000;
const DIFFERING: u32 = 100;

/// Two nodes with 10,000 equal entries, cut off from each other.
fn twins() -> Cluster {
    let mut cluster = Cluster::new(2, &Limits { log_entries_max: 10, ..Limits::default() });
    for index in 0..ENTRIES {
        let key = format!("map/{}", index % 100);
        cluster.write(0, |group| lww_map::put(group, &key, &index.to_le_bytes(), b"0123456789abcdef"));
        if index % 100 == 99 {
            cluster.advance(Span::from_millis(10));
        }
    }
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
    cluster.disconnect(0, 1);
    cluster
}

#[test]
fn two_identical_replicas_settle_a_round_with_at_most_100_bytes_each_way() {
    let mut cluster = twins();
    cluster.connect(0, 1);
    cluster.settle();
    let before = [0, 1].map(|node| cluster.node(node).stats());
    cluster.input(0, Input::SyncNow);
    let asked = cluster.take(0, 1);
    asked.iter().for_each(|bytes| cluster.deliver(0, 1, bytes));
    cluster.settle();
    for node in [0, 1u8] {
        let (now, before) = (cluster.node(node).stats(), before[usize::from(node)]);
        let (frames, bytes) = (now.frames_sent - before.frames_sent, now.bytes_sent - before.bytes_sent);
        println!("node {node}: {frames} frame, {bytes} bytes");
        assert_eq!(frames, 1);
        assert!(bytes <= 100, "a round of identical replicas took {bytes} bytes");
    }
    assert!(matches!(cluster.read_sent(0, 1, &asked[0]), Frame::Root(..)));
    let status = cluster.node(0).peers(sync_tests::namespace());
    assert_eq!(status[0].roots_equal, Some(true));
}

/// What crossed both ways, but for `Hello`.
#[derive(Debug, Default)]
struct Exchange {
    bytes: usize,
    frames: usize,
    /// From the first frame until both were in one state.
    round_trips: f64,
}

/// Delivers until all is quiet; what is sent at the same time arrives at the same time.
fn exchange(cluster: &mut Cluster) -> Exchange {
    let (mut crossed, mut equal) = (Exchange::default(), false);
    loop {
        let frames = [(0, 1), (1, 0)].map(|(from, to)| (from, to, cluster.take(from, to)));
        if frames.iter().all(|(.., sent)| sent.is_empty()) {
            return crossed;
        }
        let before = crossed.frames;
        for (from, to, sent) in frames {
            for bytes in sent {
                let frame = cluster.read_sent(from, to, &bytes);
                if !matches!(frame, Frame::Hello(_)) {
                    println!("{from} to {to}: {}, {} bytes", frame.name(), bytes.len());
                    crossed.bytes += bytes.len();
                    crossed.frames += 1;
                }
                cluster.deliver(from, to, &bytes);
            }
        }
        if crossed.frames > before && !equal {
            crossed.round_trips += 0.5;
            equal = cluster.store(0).context() == cluster.store(1).context();
        }
    }
}

#[test]
fn identical_replicas_that_meet_again_find_it_out_at_once_with_at_most_100_bytes_both_ways() {
    let mut cluster = twins();
    cluster.connect(0, 1);
    let Exchange { bytes, frames, round_trips } = exchange(&mut cluster);
    println!("{bytes} bytes, {round_trips} round trips");
    assert_eq!((frames, round_trips), (2, 0.5));
    assert!(bytes <= 100, "{bytes} bytes");
    for node in [0, 1] {
        assert_eq!(cluster.node(node).peers(sync_tests::namespace())[0].roots_equal, Some(true));
    }
}

#[test]
fn a_hundred_differing_entries_in_ten_thousand_settle_in_one_session_that_carries_only_those() {
    let mut cluster = twins();
    let mut payload = 0;
    for index in 0..DIFFERING {
        let (key, field) = (format!("map/{}", index % 100), index.to_le_bytes());
        payload += key.len() + field.len() + 16;
        cluster.write(0, |group| lww_map::put(group, &key, &field, b"fedcba9876543210"));
    }
    let before = [0, 1].map(|node| cluster.node(node).stats());
    cluster.connect(0, 1);
    let Exchange { bytes, round_trips, .. } = exchange(&mut cluster);
    assert!(round_trips <= 1.0, "{round_trips} round trips");
    let [sender, receiver] = [0, 1].map(|node| cluster.node(node).stats());
    assert!(cluster.is_converged());
    assert_eq!(receiver.sessions - before[1].sessions, 1, "one session");
    assert_eq!(sender.answers - before[0].answers, 1, "of one answer");
    assert_eq!(sender.deltas_sent - before[0].deltas_sent, u64::from(DIFFERING), "carries only those");
    assert_eq!(receiver.items_new - before[1].items_new, u64::from(DIFFERING));
    assert_eq!(receiver.items_known, before[1].items_known);
    assert_eq!(receiver.fallbacks, before[1].fallbacks);
    println!("{DIFFERING} of {ENTRIES} differ: {payload} bytes of keys, fields and values in {bytes}");
    assert!(bytes <= payload * 13 / 10 + 300, "{bytes} bytes for {payload}");
}

/// Cuts node 0 from node 1 of a cluster of `writers` and one more, has every other node write one entry
/// that node 0 learns, mends the cut; gives back payload and bytes of the repair, both ways.
fn repair_of_writes_by(writers: u8) -> (usize, usize) {
    let mut cluster = Cluster::new(writers + 2, &Limits { log_entries_max: 3, ..Limits::default() });
    let element = |index: u8| [index; 16];
    for index in 0..writers + 2 {
        cluster.write(index, |group| or_set::add(group, "before", &element(index)));
    }
    cluster.advance(Span::from_secs(120));
    assert!(cluster.is_converged());
    (0..writers + 2).filter(|index| *index != 1).for_each(|index| cluster.disconnect(index, 1));
    for index in 2..writers + 2 {
        cluster.write(index, |group| or_set::add(group, "since", &element(index)));
    }
    cluster.advance(Span::from_secs(10));
    assert_eq!(or_set::len(cluster.store(0), "since"), u64::from(writers));
    cluster.connect(0, 1);
    let Exchange { bytes, round_trips, .. } = exchange(&mut cluster);
    assert!(round_trips <= 1.0, "{round_trips} round trips");
    assert_eq!(or_set::len(cluster.store(1), "since"), u64::from(writers));
    ("since".len() + usize::from(writers) * 16, bytes)
}

#[test]
fn a_repair_costs_its_payload_and_little_for_each_incarnation_that_wrote_since_the_last_contact() {
    for writers in [1, 8, 20] {
        let (payload, bytes) = repair_of_writes_by(writers);
        let further = usize::from(writers).saturating_sub(8);
        println!("{writers} incarnations wrote: {payload} bytes of keys and elements in {bytes}");
        assert!(bytes <= payload * 13 / 10 + 300 + 8 * further, "{bytes} bytes for {payload}");
    }
}

#[test]
fn at_rest_there_is_no_traffic_but_root_rounds() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.advance(Span::from_secs(100));
    let before: Vec<_> = (0..3).map(|node| cluster.node(node).stats()).collect();
    cluster.advance(Span::from_secs(300));
    for (node, before) in (0..3u8).zip(before) {
        let stats = cluster.node(node).stats();
        let frames = stats.frames_sent - before.frames_sent;
        let bytes = stats.bytes_sent - before.bytes_sent;
        // Two peers, a round a peer in at least 30 s, at most a question and an answer each.
        assert!(frames <= 2 * 2 * 10, "node {node} sent {frames} frames in 300 s of rest");
        assert!(bytes <= frames * 100);
        assert_eq!(stats.pushes_sent, before.pushes_sent);
        assert_eq!(stats.answers, before.answers);
    }
}

#[test]
fn a_peer_that_does_not_read_stops_frames_from_being_built_and_loses_nothing() {
    let limits = Limits { outbox_frames_max: 5, ..Limits::default() };
    let mut config = sync_tests::config(0, 0);
    config.limits = limits;
    let mut node = sync_core::node::Node::new(config, sync_core::time::Now::default());
    let now = sync_core::time::Now::default();
    node.handle(now, Input::Connected { peer: node_id(1) });
    let mut built = 0;
    for index in 0..1_000u32 {
        let written =
            node.write(now, sync_tests::namespace(), |group| or_set::add(group, "s", &index.to_le_bytes()));
        written.expect("writing goes on");
        node.handle(now, Input::SyncNow);
        while let Some(output) = node.poll_output() {
            built += u32::from(matches!(output, sync_core::node::Output::Send { .. }));
        }
    }
    assert!(built <= 5, "{built} frames were built for a peer that takes none");
}

#[test]
fn a_write_just_before_convergence_is_asked_for_costs_no_session() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    let now = cluster.now();
    let goal = cluster.node(0).converge_begin(now, sync_tests::namespace()).expect("the namespace is open");
    cluster.input(0, Input::Wake);
    cluster.settle();
    let verdict = cluster.node(0).converge_check(&goal);
    assert_eq!(verdict, [(node_id(1), sync_core::node::Convergence::Done)]);
    assert_eq!(
        cluster.node(1).stats().sessions,
        0,
        "the root came behind the push and found the peer up to date"
    );
}

/// Two nodes that agreed on `entries` of both, cut off from each other. Of what they write from here on their logs
/// hold the last write, and no record is kept unless `records`.
fn apart(entries: u32, records: bool) -> Cluster {
    let records_max = if records { Limits::default().records_max } else { 0 };
    let limits = Limits { log_entries_max: 1, records_max, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    for index in 0..entries {
        let value = b"0123456789abcdef0123456789abcdef";
        cluster.write((index % 2) as u8, |group| lww_map::put(group, "m", &field(index), value));
    }
    cluster.advance(Span::from_secs(40));
    assert!(cluster.is_converged());
    cluster.disconnect(0, 1);
    cluster
}

/// Fields in no order: neighbours share no prefix.
fn field(index: u32) -> [u8; 16] {
    let mut field = [0; 16];
    for (at, chunk) in (1u64..).zip(field.chunks_exact_mut(8)) {
        let mixed = (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(2 * at + 1);
        chunk.copy_from_slice(&(mixed ^ mixed >> 29).to_le_bytes());
    }
    field
}

#[test]
fn one_change_that_fell_off_the_log_costs_little_and_one_round_trip_whoever_made_it() {
    for writers in [&[0u8][..], &[1], &[0, 1]] {
        let mut cluster = apart(2_000, true);
        let mut payload = 0;
        for writer in writers {
            for value in [b"fedcba9876543210fedcba9876543210", b"fedcba9876543210fedcba9876543211"] {
                let field = field(7 + u32::from(*writer));
                cluster.write(*writer, |group| lww_map::put(group, "m", &field, value));
            }
            payload += "m".len() + 16 + 32;
        }
        cluster.connect(0, 1);
        let Exchange { bytes, round_trips, .. } = exchange(&mut cluster);
        assert!(cluster.is_converged());
        println!("written by {writers:?}: {payload} bytes in {bytes}, {round_trips} round trips");
        assert!(bytes <= payload * 13 / 10 + 300, "{bytes} bytes for {payload}");
        assert!(round_trips <= 1.0, "{round_trips} round trips");
    }
}

/// `d` fields overwritten or added, one of them a remove, on the sides of `writers` by turns; the bytes that have to
/// move.
fn change(cluster: &mut Cluster, writers: &[u8], d: u32, first: u32) -> usize {
    let mut payload = 0;
    for index in 0..d {
        let writer = writers[index as usize % writers.len()];
        payload += "m".len() + 16;
        if index as usize + writers.len() >= d as usize {
            // Of the writes before a remove none is left in the log, and of the remove there is no record.
            cluster.write(writer, |group| lww_map::put(group, "m", &field(first + index), &[2; 32]));
            cluster.write(writer, |group| lww_map::remove(group, "m", &field(1_990 + index % 10)).map(drop));
        } else {
            payload += 32;
            cluster.write(writer, |group| lww_map::put(group, "m", &field(first + index), &[1; 32]));
        }
    }
    payload
}

#[test]
fn changes_whose_records_were_lost_cost_at_most_two_symbols_each_and_two_round_trips() {
    for d in [1, 10, 100, 1_000] {
        for (how, writers) in [("upd", &[1u8][..]), ("upd", &[0]), ("upd-both", &[0, 1]), ("new", &[0, 1])] {
            let is_new = how == "new";
            let mut cluster = apart(2_000, false);
            let payload = change(&mut cluster, writers, d, if is_new { 5_000 } else { 0 });
            let before = cluster.node(0).stats().fallbacks + cluster.node(1).stats().fallbacks;
            cluster.connect(0, 1);
            let Exchange { bytes, round_trips, .. } = exchange(&mut cluster);
            assert!(cluster.is_converged());
            let fallbacks = cluster.node(0).stats().fallbacks + cluster.node(1).stats().fallbacks - before;
            assert!(fallbacks > 0, "records were lost");
            // An update is an old and a new entry.
            let differences = if is_new { d as usize } else { 2 * d as usize };
            let most = payload * 13 / 10 + 300 + 2 * 24 * differences;
            println!(
                "{how} d={d} by {writers:?}: {bytes} bytes of at most {most}, {round_trips} round trips"
            );
            assert!(bytes <= most, "{how} d={d} by {writers:?}: {bytes} bytes, {most} are the most");
            assert!(round_trips <= 2.0, "{how} d={d} by {writers:?}: {round_trips} round trips");
        }
    }
}
