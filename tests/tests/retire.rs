//! Members that will not return, and the counter owners that went with them.

use sync_core::id::OwnerId;
use sync_core::limits::Limits;
use sync_core::node::{Config, ImageRows, Node, RETIRED_OWNERS_MAX, RetireError};
use sync_core::rows::Table;
use sync_core::time::Span;
use sync_core::types::{bounded_counter, pn_counter};
use sync_tests::{Cluster, config, node_id};

/// Long enough for rounds with everybody, and for a cleanup after them.
const A_WHILE: Span = Span::from_secs(600);

/// Node 2 has counted, its counts were reset by node 0, and it is gone.
fn gone() -> Cluster {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.write(2, |group| pn_counter::add(group, "count", 5));
    cluster.write(2, |group| bounded_counter::gain(group, "seats", 7));
    cluster.settle();
    cluster.write(0, |group| pn_counter::reset(group, "count").map(drop));
    cluster.settle();
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    cluster
}

/// Live cells of the counter; floors, where its value is taken back.
fn cells(cluster: &Cluster, node: u8) -> usize {
    cluster.store(node).cells("count", sync_core::cell::TypeTag::PN_COUNTER).count()
}

#[test]
fn floors_of_a_retired_owner_go_once_all_who_are_left_know_them_and_its_rights_are_shown_as_lost() {
    let mut cluster = gone();
    let owner = cluster.node(2).owner();
    cluster.advance(A_WHILE);
    assert_eq!(
        [cells(&cluster, 0), cells(&cluster, 1)],
        [1, 1],
        "the floor stays while its owner may come back"
    );
    let retired = cluster.node(0).retire(node_id(2), &[owner]).expect("it is gone");
    assert_eq!(retired.owners, [owner].into());
    let lost: Vec<_> =
        retired.rights_lost.iter().map(|(object, of, n)| (object.key.as_str(), *of, *n)).collect();
    assert_eq!(lost, [("seats", owner, 7)]);
    cluster.advance(A_WHILE);
    assert_eq!([cells(&cluster, 0), cells(&cluster, 1)], [0, 0]);
    assert_eq!(bounded_counter::value(cluster.store(0), "seats"), Some(7), "what it gained is there");
}

#[test]
fn the_owner_of_a_life_that_was_met_need_not_be_named() {
    let mut cluster = gone();
    let owner = cluster.node(2).owner();
    let retired = cluster.node(1).retire(node_id(2), &[]).expect("it is gone");
    assert_eq!(
        retired.owners,
        [owner].into(),
        "its row of the bounded counter was written in the life that was met"
    );
}

#[test]
fn a_floor_stays_while_a_member_does_not_know_it_for_it_may_hold_what_the_floor_takes_back() {
    let mut cluster = Cluster::new(3, &Limits::default());
    cluster.write(2, |group| pn_counter::add(group, "count", 5));
    cluster.settle();
    cluster.disconnect(0, 1);
    cluster.disconnect(0, 2);
    // Node 1 alone learns that node 2 counted on, and is cut off.
    cluster.write(2, |group| pn_counter::add(group, "count", 3));
    cluster.settle();
    cluster.write(0, |group| pn_counter::reset(group, "count").map(drop));
    cluster.disconnect(1, 2);
    let owner = cluster.node(2).owner();
    cluster.node(0).retire(node_id(2), &[owner]).expect("it is gone");
    cluster.advance(A_WHILE);
    assert_eq!(cells(&cluster, 0), 1, "node 1 is a member and has not been heard");
    cluster.connect(0, 1);
    cluster.advance(A_WHILE);
    assert!(cluster.store(0).context() == cluster.store(1).context());
    let values = [0, 1].map(|node| pn_counter::value(cluster.store(node), "count"));
    assert_eq!(values, [Some(3), Some(3)], "what the reset had not seen is there, and no more");
}

#[test]
fn nobody_who_is_here_is_retired_nor_anyone_unknown_nor_this_nodes_own_owner() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let own = cluster.node(0).owner();
    let refused = |cluster: &mut Cluster, peer, named: &[OwnerId]| {
        cluster.node(0).retire(node_id(peer), named).expect_err("it must not be")
    };
    assert_eq!(refused(&mut cluster, 1, &[]), RetireError::Connected { peer: node_id(1) });
    assert_eq!(refused(&mut cluster, 7, &[]), RetireError::Unknown { peer: node_id(7) });
    assert_eq!(refused(&mut cluster, 7, &[own]), RetireError::OwnOwner { owner: own });
}

#[test]
fn more_owners_than_may_be_retired_are_refused() {
    let mut node = Node::new(Config { ..config(0, 0) }, Cluster::new(1, &Limits::default()).now());
    let named: Vec<OwnerId> =
        (0..=RETIRED_OWNERS_MAX as u128).map(|n| OwnerId((n + 1).to_be_bytes())).collect();
    let error = node.retire(node_id(1), &named).expect_err("too many");
    assert_eq!(error, RetireError::TooMany { owners: 1_025, max: 1_024 });
    node.retire(node_id(1), &named[1..]).expect("as many as may be");
}

#[test]
fn who_has_retired_is_known_to_the_next_life_too() {
    let mut cluster = gone();
    let owner = cluster.node(2).owner();
    // The rows of a disk, step for step.
    let mut disk = cluster.node(0).take_step();
    cluster.node(0).retire(node_id(2), &[owner]).expect("it is gone");
    let step = cluster.node(0).take_step();
    assert!(step.rows.iter().any(|row| row.table == Table::Retired), "the step says so");
    disk.merge(step);
    assert!(cluster.node(0).take_step().rows.iter().all(|row| row.table != Table::Retired), "once");
    assert_eq!(cells(&cluster, 0), 1, "the floor was not ended yet");
    let mut rows = ImageRows::new(&config(0, 1));
    disk.rows.sort();
    for row in &disk.rows {
        if let Some(stored) = row.sealed() {
            rows.stored(row.table, &row.key, &stored).expect("these rows are sound");
        }
    }
    let now = cluster.now();
    let mut node = Node::restart(config(0, 1), rows.finish().expect("all rows are there"), now);
    node.continue_rows();
    cluster.replace(0, node);
    cluster.node(1).forget(node_id(2));
    cluster.connect(0, 1);
    cluster.advance(A_WHILE);
    assert_eq!([cells(&cluster, 0), cells(&cluster, 1)], [0, 0]);
}
