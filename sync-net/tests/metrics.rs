//! What a node exports: that the page lists exactly that, that it says what happened, and that labels are bounded.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{PATIENCE, assert_one_state, builder, ca, cluster, converge, cut, eventually, heal, peer};
use sync_net::{Class, Limits, Namespace, Node, Timing};

/// One family: its type, its labels, what it means.
type Families = BTreeMap<String, (String, BTreeSet<String>, String)>;

fn exported(text: &str) -> Families {
    let mut families: BTreeMap<&str, (String, BTreeSet<String>, String)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            families.entry(name).or_default().2 = help.to_owned();
        } else if let Some((name, of)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            families.entry(name).or_default().0 = of.to_owned();
        } else if let Some((series, _)) = line.split_once('}') {
            let (name, labels) = series.split_once('{').expect("a sample has a name");
            let family = families.iter_mut().rev().find(|(family, _)| name.starts_with(**family));
            let (_, (_, names, _)) = family.expect("a sample follows its family");
            let names_of = labels.split(',').filter_map(|label| label.split_once('='));
            names.extend(names_of.map(|(name, _)| name.to_owned()).filter(|name| name != "le"));
        }
    }
    let named = families.into_iter().map(|(name, family)| {
        let total = if family.0 == "counter" { "_total" } else { "" };
        (format!("{name}{total}"), family)
    });
    named.collect()
}

fn documented() -> Families {
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, of, labels, unit, meaning] = cells[..] else { panic!("five columns: {row}") };
        assert!(!unit.is_empty(), "{row}");
        let labels = labels.split(", ").filter(|label| *label != "-").map(str::to_owned).collect();
        (name.trim_end_matches('`').to_owned(), (of.to_owned(), labels, meaning.to_owned()))
    };
    rows.map(row).collect()
}

/// The value of the only sample whose line begins so.
fn value(node: &Node, series: &str) -> f64 {
    let text = node.metrics().expect("the node is well");
    let lines = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let values: Vec<f64> = lines.map(|value| value.parse().expect("a number")).collect();
    assert_eq!(values.len(), 1, "{series} in {text}");
    values[0]
}

/// The series of one peer.
fn of(name: &str, peer: &Node) -> String {
    format!("{name}{{peer=\"{}\"}}", &peer.id().to_hex()[..16])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_lists_exactly_what_is_exported() {
    let nodes = cluster(2).await;
    for node in &nodes {
        node.or_set::<String>("s").add(&"x".to_owned()).expect("there is room");
    }
    // What is of another namespace than the default one has its name as a label.
    let open = |node: &Node| node.open_namespace("extra", Class::Bulk).expect("there is room");
    let extra: Vec<Namespace> = nodes.iter().map(open).collect();
    extra[0].pn_counter("n").add(1).expect("there is room");
    eventually("both share it", || extra[1].pn_counter("n").value() == 1).await;
    extra[0].converge(PATIENCE).await.expect("both share it");
    converge(&nodes).await;
    let text = nodes[0].metrics().expect("the node is well");
    assert!(text.ends_with("# EOF\n"));
    let (exported, documented) = (exported(&text), documented());
    let names = |families: &Families| families.keys().cloned().collect::<BTreeSet<_>>();
    let (out, page) = (names(&exported), names(&documented));
    assert_eq!(
        out.difference(&page).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "exported and not on the page"
    );
    assert_eq!(
        page.difference(&out).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "on the page and not exported"
    );
    for (name, family) in &exported {
        assert_eq!(family, &documented[name], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_is_seen_in_latency_frames_lags_and_roots() {
    let nodes = cluster(2).await;
    // The first exchange is a repair; once it has set a cursor, writes are pushed.
    for element in ["x", "y"] {
        nodes[0].or_set::<String>("s").add(&element.to_owned()).expect("there is room");
        converge(&nodes).await;
    }
    assert_one_state(&nodes);
    let [a, b] = [&nodes[0], &nodes[1]];
    assert!(value(a, "crdt_sync_latency_seconds_count") >= 1.0);
    assert!(value(a, "crdt_sync_latency_seconds_sum") > 0.0);
    assert!(value(a, "crdt_frame_bytes_total{kind=\"push\",direction=\"out\"}") > 0.0);
    assert!(value(b, "crdt_frame_bytes_total{kind=\"push\",direction=\"in\"}") > 0.0);
    let of_all = |node: &Node, name: &str, direction: &str| -> f64 {
        let text = node.metrics().expect("the node is well");
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(direction));
        lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")).sum()
    };
    let totals = a.status().totals;
    let sent = of_all(a, "crdt_frames_total{", "direction=\"out\"");
    assert!(sent >= totals.frames_sent as f64, "every frame is of a kind: {sent} of {}", totals.frames_sent);
    assert_eq!(value(a, &of("crdt_roots_agree", b)), 1.0);
    assert_eq!(value(a, &of("crdt_visibility_lag_seconds", b)), 0.0);
    assert!((0.0..60.0).contains(&value(b, &of("crdt_arrival_lag_seconds", a))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_lags_by_the_age_of_the_first_write_that_it_missed_and_not_once_it_is_back() {
    let nodes = cluster(2).await;
    let [a, b] = [&nodes[0], &nodes[1]];
    a.pn_counter("c").add(1).expect("there is room");
    converge(&nodes).await;
    assert_eq!([value(a, "crdt_peer_reachability"), value(b, "crdt_peer_reachability")], [1.0, 1.0]);
    cut(a, std::slice::from_ref(b));
    eventually("the cut is seen", || b.status().peers_connected == 0).await;
    assert_eq!([value(a, "crdt_peer_reachability"), value(b, "crdt_peer_reachability")], [1.0, 0.0]);
    a.or_set::<String>("s").add(&"missed".to_owned()).expect("there is room");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    a.or_set::<String>("s").add(&"later".to_owned()).expect("there is room");
    let lag = value(a, &of("crdt_visibility_lag_seconds", b));
    assert!((0.3..20.0).contains(&lag), "the older of both counts: {lag}");
    assert_eq!(value(a, &of("crdt_unconfirmed_entries", b)), 2.0);
    assert_eq!(value(a, &of("crdt_peer_connected", b)), 0.0);
    heal(&nodes);
    eventually("they are linked again", || b.status().peers_connected == 1).await;
    converge(&nodes).await;
    assert_eq!(value(a, &of("crdt_visibility_lag_seconds", b)), 0.0);
    assert_eq!(value(a, &of("crdt_unconfirmed_entries", b)), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_are_conflicts_and_a_survey_tells_by_how_many_keys_peers_differ() {
    let ca = ca();
    // What is above its ceiling the second node refuses, so that the two stay different while they talk.
    let small = Limits { store_bytes_max: 1_500, store_bytes_ceiling: 3_000, ..Limits::default() };
    let timing = Timing { sync_timeout: sync_net::Span::from_millis(100), ..Timing::default() };
    let a = builder(&ca, "a").timing(timing).start().await.expect("starts");
    let b = builder(&ca, "b").timing(timing).limits(small).peer(peer(&a)).start().await.expect("starts");
    eventually("they are linked", || b.status().peers_connected == 1).await;
    let both = [a.clone(), b.clone()];
    cut(&a, std::slice::from_ref(&b));
    eventually("the cut is seen", || a.status().peers_connected == 0).await;
    for node in &both {
        node.lww_register::<String>("title").set(&format!("{:?}", node.id())).expect("there is room");
    }
    heal(&both);
    eventually("they are linked again", || b.status().peers_connected == 1).await;
    converge(&both).await;
    let conflicts = value(&a, "crdt_merge_conflicts_total") + value(&b, "crdt_merge_conflicts_total");
    assert!(conflicts >= 1.0, "somebody saw the two titles meet: {conflicts}");

    for key in 0..5 {
        a.lww_register::<String>(&format!("big/{key}")).set(&"x".repeat(1_000)).expect("there is room");
    }
    eventually("the second refuses what it gets", || {
        value(&b, "crdt_alarms_total{alarm=\"degraded\"}") >= 1.0
    })
    .await;
    eventually("the first is not answered", || value(&a, "crdt_sync_timeouts_total") >= 1.0).await;
    assert!(value(&b, "crdt_sync_failures_total") >= 1.0);
    let text = b.health();
    assert!(text.reasons.iter().any(|reason| reason.kind == "at_ceiling"), "{text:?}");
    b.survey(PATIENCE).await.expect("the node runs");
    let series = of("crdt_divergence_keys", &a).replace('}', ",direction=\"in\"}");
    let keys = value(&b, &series);
    assert!((3.0..=5.0).contains(&keys), "two of five fit below the ceiling at most: {keys}");
    for key in 0..5 {
        a.remove(&format!("big/{key}")).expect("removes pass");
    }
    converge(&both).await;
    assert_eq!(value(&b, &series), 0.0, "equal roots say more than an older survey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_come_and_go_leave_no_more_labels_than_peers_are_kept() {
    let ca = ca();
    let limits = Limits { peers_max: 2, ..Limits::default() };
    let node = builder(&ca, "node").limits(limits).start().await.expect("starts");
    for name in ["a", "b", "c", "d"] {
        let guest = builder(&ca, name).peer(peer(&node)).start().await.expect("starts");
        eventually("the guest is there", || node.status().peers_connected == 1).await;
        guest.shutdown().await;
        eventually("the guest is gone", || node.status().peers_connected == 0).await;
    }
    let text = node.metrics().expect("the node is well");
    let labels = text.lines().filter_map(|line| line.split_once("peer=\"")?.1.split_once('"'));
    let peers: BTreeSet<&str> = labels.map(|(peer, _)| peer).collect();
    assert_eq!(peers.len(), 2, "{peers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_announced_too_long_is_counted_where_it_was_not_read() {
    let ca = ca();
    let a = builder(&ca, "a").start().await.expect("starts");
    let limits = Limits { message_bytes_max: 300_000, group_bytes_max: 200_000, ..Limits::default() };
    let b = builder(&ca, "b").limits(limits).peer(peer(&a)).start().await.expect("starts");
    a.or_set::<u64>("set").add(&1).expect("there is room");
    eventually("pushes go to it", || b.or_set::<u64>("set").len() == 1).await;
    // Answers come in parts; a push is one frame, as long as the pusher's own limits allow.
    a.transaction(|tx| {
        (0..8).try_for_each(|key| {
            tx.lww_register::<String>(&format!("k/{key}")).set(&"x".repeat(60_000)).map(drop)
        })
    })
    .expect("there is room");
    eventually("a push of 480 kB is refused", || value(&b, "crdt_oversized_messages_total") >= 1.0).await;
    assert_eq!(value(&a, "crdt_oversized_messages_total"), 0.0);
}
