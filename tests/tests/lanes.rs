//! Namespaces as lanes: opened and closed at run time, exchanged where both ends have them open, each class for itself.

use sync_core::class::Class;
use sync_core::error::WriteError;
use sync_core::id::NamespaceId;
use sync_core::limits::Limits;
use sync_core::node::{Input, NamespaceConfig, NamespaceError};
use sync_core::time::Span;
use sync_core::types::or_set;
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
    cluster.node(at).store(namespace).map(|store| store.item_count() as u64)
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
