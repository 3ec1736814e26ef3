//! Namespaces as lanes: opened and closed at run time, exchanged where both ends have them open, each class for itself.

use sync_core::class::Class;
use sync_core::error::WriteError;
use sync_core::id::NamespaceId;
use sync_core::limits::{Limits, Timing};
use sync_core::message::FrameKind;
use sync_core::node::{Input, NamespaceConfig, NamespaceError, Output};
use sync_core::pacing::{Bucket, Rate};
use sync_core::queue::Outboxes;
use sync_core::store::Group;
use sync_core::time::{Span, Timestamp};
use sync_core::types::{lww_map, or_set};
use sync_tests::{Cluster, node_id};

fn of_class(class: Class) -> NamespaceConfig {
    NamespaceConfig { class, ..NamespaceConfig::default() }
}

fn open(cluster: &mut Cluster, at: u8, name: &str, class: Class) -> NamespaceId {
    let now = cluster.now_at(at);
    let opened = cluster.node(at).open_namespace(now, name, of_class(class)).expect("there is room");
    cluster.input(at, Input::Wake);
    opened
}

fn close(cluster: &mut Cluster, at: u8, namespace: NamespaceId) {
    let now = cluster.now_at(at);
    cluster.node(at).close_namespace(now, namespace).expect("it is open");
    cluster.input(at, Input::Wake);
}

fn add(cluster: &mut Cluster, at: u8, namespace: NamespaceId, element: &[u8]) {
    let now = cluster.now_at(at);
    let written = cluster.node(at).write(now, namespace, |group| or_set::add(group, "set", element));
    written.expect("it is open");
    cluster.input(at, Input::Wake);
}

fn items(cluster: &mut Cluster, at: u8, namespace: NamespaceId) -> Option<u64> {
    cluster.node(at).store(namespace).map(|store| store.item_count())
}

#[test]
fn a_namespace_is_exchanged_with_those_who_have_it_open_and_nobody_else() {
    let mut cluster = Cluster::new(3, &Limits::default());
    let lane = open(&mut cluster, 0, "alarms", Class::Urgent);
    cluster.settle();
    add(&mut cluster, 0, lane, b"before the other opens it");
    cluster.settle();
    assert_eq!(open(&mut cluster, 1, "alarms", Class::Urgent), lane);
    cluster.settle();
    assert_eq!(items(&mut cluster, 1, lane), Some(1), "who opens it later is given what is there");
    add(&mut cluster, 1, lane, b"from the other side");
    cluster.settle();
    assert_eq!([0, 1, 2].map(|at| items(&mut cluster, at, lane)), [Some(2), Some(2), None]);
    assert_eq!(cluster.node(0).state_id(lane), cluster.node(1).state_id(lane));
    let shared: Vec<bool> = cluster.node(0).peers(lane).iter().map(|peer| peer.shared).collect();
    assert_eq!(shared, [true, false]);
    assert!(cluster.is_converged(), "the default namespace is as it was");
    assert_eq!(cluster.node(2).stats().frames_stale, 0, "who has it not open hears nothing of it");
}

#[test]
fn a_closed_namespace_is_silent_takes_no_writes_and_goes_on_where_it_was() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let lane = open(&mut cluster, 0, "lane", Class::Bulk);
    open(&mut cluster, 1, "lane", Class::Bulk);
    add(&mut cluster, 0, lane, b"1");
    cluster.settle();
    close(&mut cluster, 1, lane);
    cluster.settle();
    assert_eq!(items(&mut cluster, 1, lane), None);
    let now = cluster.now_at(1);
    let refused = cluster.node(1).write(now, lane, |group| or_set::add(group, "set", b"no"));
    assert_eq!(refused.map(drop), Err(WriteError::NoNamespace { namespace: lane }));
    add(&mut cluster, 0, lane, b"2");
    cluster.advance(Span::from_secs(120));
    let failures = cluster.node(0).stats();
    assert_eq!((failures.timeouts, failures.breaker_opens), (0, 0), "it is no failure of the peer");
    // What was minted before is not minted again.
    let before = cluster.node(1).namespace_statuses().into_iter().find(|status| status.id == lane);
    assert!(before.is_some_and(|status| !status.is_open && status.name == "lane"));
    open(&mut cluster, 1, "lane", Class::Bulk);
    cluster.settle();
    add(&mut cluster, 1, lane, b"3");
    cluster.settle();
    assert_eq!([0, 1].map(|at| items(&mut cluster, at, lane)), [Some(3), Some(3)]);
    assert_eq!(cluster.node(0).state_id(lane), cluster.node(1).state_id(lane));
}

#[test]
fn a_namespace_whose_greetings_are_lost_both_ways_is_told_of_again() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let lane = open(&mut cluster, 0, "lane", Class::Normal);
    assert_eq!(cluster.take(0, 1).len(), 1);
    open(&mut cluster, 1, "lane", Class::Normal);
    assert_eq!(cluster.take(1, 0).len(), 1);
    add(&mut cluster, 0, lane, b"element");
    cluster.advance(Timing::default().hello_retry);
    assert_eq!([0, 1].map(|at| items(&mut cluster, at, lane)), [Some(1); 2]);
    let failures = cluster.node(0).stats();
    assert_eq!(
        (failures.timeouts, failures.breaker_opens),
        (0, 0),
        "a lost greeting is no failure of the peer"
    );
    // Both have heard: nothing is said any more.
    cluster.advance(Span::from_secs(10));
    let sent = cluster.node(0).stats().frames_sent;
    cluster.advance(Span::from_secs(5));
    assert_eq!(cluster.node(0).stats().frames_sent, sent);
}

#[test]
fn a_greeting_that_a_later_one_has_overtaken_does_not_stay() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let lane = open(&mut cluster, 0, "lane", Class::Normal);
    open(&mut cluster, 1, "lane", Class::Normal);
    cluster.settle();
    close(&mut cluster, 0, lane);
    let overtaken = cluster.take(0, 1);
    open(&mut cluster, 0, "lane", Class::Normal);
    cluster.settle();
    overtaken.iter().for_each(|frame| cluster.deliver(0, 1, frame));
    let shares = |cluster: &mut Cluster| cluster.node(1).peers(lane)[0].shared;
    assert!(!shares(&mut cluster), "by what it heard last, the other has closed it");
    cluster.advance(Timing::default().hello_retry);
    assert!(shares(&mut cluster));
}

#[test]
fn a_life_that_opens_a_namespace_again_mints_no_dot_twice() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let lane = open(&mut cluster, 0, "lane", Class::Normal);
    let replica = cluster.node(0).replica();
    for round in 1..=3u64 {
        add(&mut cluster, 0, lane, &round.to_be_bytes());
        let store = cluster.node(0).store(lane).expect("it is open");
        assert_eq!(store.context().get(replica), round);
        close(&mut cluster, 0, lane);
        open(&mut cluster, 0, "lane", Class::Normal);
    }
}

#[test]
fn a_namespace_beyond_the_limit_is_not_opened_and_a_closed_one_keeps_its_place() {
    let mut cluster = Cluster::new(1, &Limits { namespaces_max: 2, ..Limits::default() });
    let lane = open(&mut cluster, 0, "one", Class::Normal);
    close(&mut cluster, 0, lane);
    let now = cluster.now_at(0);
    let refused =
        cluster.node(0).open_namespace(now, "two", of_class(Class::Normal)).expect_err("it is full");
    assert_eq!(refused, NamespaceError::Full { max: 2 });
    let text =
        "this node keeps 2 namespaces, open and closed, its limit; use one of them or raise namespaces_max";
    assert_eq!(refused.to_string(), text);
    open(&mut cluster, 0, "one", Class::Normal);
}

#[test]
fn namespaces_whose_ceilings_do_not_fit_together_are_not_opened() {
    let mut cluster = Cluster::new(1, &Limits::default());
    let limits = Limits { store_bytes_ceiling: 1 << 30, ..Limits::default() };
    let config = NamespaceConfig { class: Class::Bulk, limits };
    let now = cluster.now_at(0);
    let refused = cluster.node(0).open_namespace(now, "large", config).expect_err("the default one has room");
    let text = "the stores may hold 1073741824 bytes together; those kept may come to 134217728, and this one would add \
                1073741824";
    assert!(refused.to_string().starts_with(text), "{refused}");
    assert_eq!(cluster.node(0).namespace_statuses().len(), 1);
}

#[test]
fn names_are_bounded_and_the_default_namespace_stays_open() {
    let mut cluster = Cluster::new(1, &Limits::default());
    let now = cluster.now_at(0);
    let node = cluster.node(0);
    for name in [String::new(), "n".repeat(65)] {
        let refused = node.open_namespace(now, &name, of_class(Class::Normal)).expect_err("no such name");
        assert_eq!(refused, NamespaceError::Name { len: name.len(), max: 64 });
    }
    let default = NamespaceId::named("default");
    assert_eq!(node.close_namespace(now, default), Err(NamespaceError::Default));
    let open = node.open_namespace(now, "default", of_class(Class::Urgent));
    assert_eq!(open, Err(NamespaceError::IsOpen { name: "default".to_owned() }));
    let unknown = NamespaceId::named("unknown");
    assert_eq!(node.close_namespace(now, unknown), Err(NamespaceError::NotOpen { namespace: unknown }));
    assert!(node.peers(default).is_empty() && node_id(0) == node.id());
}

/// The most that a frame of `class` found sent before it, beyond what a rate of 10,000 bytes a second allows by then, while
/// there is always something to send; and how much was sent in ten seconds.
fn sent_in_ten_seconds(limits: &Limits, class: Class) -> (u64, u64) {
    let mut cluster = Cluster::new(2, limits);
    let lane = open(&mut cluster, 0, "lane", class);
    open(&mut cluster, 1, "lane", class);
    cluster.settle();
    let before = cluster.node(0).stats().bytes_sent;
    let (mut sent, mut ahead) = (0, 0);
    for write in 0..1_000u32 {
        let now = cluster.now_at(0);
        let put = |group: &mut Group<'_>| lww_map::put(group, "m", &write.to_be_bytes(), &[7; 900]);
        cluster.node(0).write(now, lane, put).expect("there is room");
        cluster.input(0, Input::Wake);
        cluster.advance(Span::from_millis(10));
        let total = cluster.node(0).stats().bytes_sent - before;
        // Less than a write is the default namespace's.
        if total > sent + 900 {
            ahead = ahead.max(sent.saturating_sub(u64::from(write + 1) * 100));
        }
        sent = total;
    }
    (ahead, sent)
}

#[test]
fn each_class_keeps_to_its_rate_and_its_burst() {
    let burst = 20_000;
    let free = Limits { rate_burst_bytes: burst, bulk_rate_max: 0, ..Limits::default() };
    for class in Class::ALL {
        let mut slow = free.clone();
        match class {
            Class::Urgent => slow.urgent_rate_max = 10_000,
            Class::Normal => slow.normal_rate_max = 10_000,
            Class::Bulk => slow.bulk_rate_max = 10_000,
        }
        // A frame carries all that has waited, and what it costs beyond the rate the next one waits for.
        let (ahead, sent) = sent_in_ten_seconds(&slow, class);
        assert!((burst / 2..=burst + 2_000).contains(&ahead), "{class}: {ahead} bytes ahead of the rate");
        let (free_ahead, free_sent) = sent_in_ten_seconds(&free, class);
        assert!(free_ahead > 10 * burst && free_sent > sent, "{class}: {free_sent} bytes without a rate");
    }
    let wide = Limits { bulk_rate_max: 10_000, rate_burst_bytes: 2_000_000, ..Limits::default() };
    let (_, sent) = sent_in_ten_seconds(&wide, Class::Bulk);
    assert!(sent > 900_000, "{sent} bytes with a burst for all of them");
}

/// Bytes of bulk that node 0 builds in ten seconds for a peer that takes them at once, beside what waits in `full`.
fn bulk_beside(full: usize) -> u64 {
    let limits =
        Limits { bulk_rate_max: 16_000, rate_burst_bytes: 1_000, outbox_frames_max: 16, ..Limits::default() };
    let mut outboxes = Outboxes::default();
    (0..full).for_each(|_| outboxes.of_mut(Class::Urgent).built(1));
    let (mut bucket, mut sent) = (Bucket::default(), 0);
    for millis in 0..10_000 {
        let now = Timestamp::ZERO + Span::from_millis(millis);
        let rate = Rate::of(Class::Bulk, &limits, &outboxes);
        while bucket.may_build(now, rate) {
            bucket.built(100);
            sent += 100;
        }
    }
    sent
}

#[test]
fn bulk_gives_way_while_what_goes_first_waits() {
    let sent = [0, 8, 16].map(bulk_beside);
    for (sent, wanted) in sent.into_iter().zip([161_000, 81_000, 11_000]) {
        assert!(sent.abs_diff(wanted) < wanted / 10, "{sent} bytes, and not about {wanted}");
    }
}

#[test]
fn a_full_bulk_queue_stops_no_other_class() {
    let limits = Limits { outbox_frames_max: 2, ..Limits::default() };
    let mut cluster = Cluster::new(2, &limits);
    let [bulk, urgent] = [("bulk", Class::Bulk), ("urgent", Class::Urgent)].map(|(name, class)| {
        open(&mut cluster, 1, name, class);
        open(&mut cluster, 0, name, class)
    });
    cluster.settle();
    let now = cluster.now_at(0);
    let node = cluster.node(0);
    let mut sent = [0, 0];
    for write in 0..10u8 {
        // Nobody says that a frame of bulk was written; those of the urgent class are.
        for (at, lane) in [bulk, urgent].into_iter().enumerate() {
            node.write(now, lane, |group| or_set::add(group, "set", &[write])).expect("there is room");
            node.handle(now, Input::Wake);
            while let Some(output) = node.poll_output() {
                let Output::Send { to, class, bytes } = output else { continue };
                sent[usize::from(class == Class::Urgent)] += 1;
                if class == Class::Urgent {
                    node.handle(now, Input::Written { peer: to, class, frames: 1, bytes: bytes.len() });
                }
            }
            assert!(at < 2);
        }
    }
    assert_eq!(sent[0], 2, "the queue of bulk is full");
    assert!(sent[1] >= 8, "{} urgent frames", sent[1]);
}

/// Above the eight peers of a full mesh: one push to each, an acknowledgement of each, and from each to each one frame
/// that tells of all that was written meanwhile.
#[test]
fn urgent_writes_are_pushed_once_to_everybody_relayed_by_nobody_and_told_of_together() {
    let nodes = 11;
    let mut cluster = Cluster::new(nodes, &Limits::default());
    let lanes: Vec<NamespaceId> =
        (0..nodes).map(|at| open(&mut cluster, at, "alarms", Class::Urgent)).collect();
    cluster.advance(Span::from_secs(10));
    let sent = |cluster: &mut Cluster| {
        let stats = (0..nodes).map(|at| cluster.node(at).stats());
        stats.fold([0, 0], |[pushes, frames], stats| [pushes + stats.pushes_sent, frames + stats.frames_sent])
    };
    let before = sent(&mut cluster);
    for at in 0..4 {
        add(&mut cluster, at, lanes[0], &[at]);
        cluster.advance(Span::from_millis(20));
    }
    cluster.advance(Span::from_millis(500));
    let after = sent(&mut cluster);
    let [pushes, frames] = [0, 1].map(|at| after[at] - before[at]);
    assert!((0..nodes).all(|at| items(&mut cluster, at, lanes[0]) == Some(4)));
    assert_eq!(pushes, 4 * 10, "each write goes to each other node, and nobody passes it on");
    let (acknowledged, told) = (4 * 10, 11 * 10);
    assert!(frames <= pushes + acknowledged + told, "{frames} frames");
}

#[test]
fn who_waits_asks_in_its_namespace_alone_and_nobody_whose_word_is_on_its_way() {
    let mut cluster = Cluster::new(3, &Limits::default());
    let lane = open(&mut cluster, 0, "alarms", Class::Urgent);
    (1..3).for_each(|at| assert_eq!(open(&mut cluster, at, "alarms", Class::Urgent), lane));
    add(&mut cluster, 0, lane, b"known to all");
    cluster.advance(Span::from_secs(1));
    let asked = |cluster: &mut Cluster, is_known_here| {
        cluster.node(0).visible_ask(lane, is_known_here);
        cluster.input(0, Input::Wake);
        let frames = [1, 2].map(|to| cluster.take_frames(0, to));
        frames.map(|frames| {
            let kinds = frames.iter().map(|frame| (frame.kind(), frame.route().map(|route| route.namespace)));
            kinds.collect::<Vec<_>>()
        })
    };
    assert_eq!(asked(&mut cluster, true), [vec![], vec![]], "they are known to hold all that is known here");
    let root = vec![(FrameKind::Root, Some(lane))];
    assert_eq!(asked(&mut cluster, false), [root.clone(), root.clone()], "they may know more");

    add(&mut cluster, 0, lane, b"on its way");
    let push = vec![(FrameKind::Push, Some(lane))];
    assert_eq!(asked(&mut cluster, true), [push.clone(), push], "the acknowledgement will say so");
    assert_eq!(asked(&mut cluster, true), [vec![], vec![]], "still on its way");
}
