//! Surveys tell what a repair would carry, and nothing else happens.

use sync_core::causal::CausalContext;
use sync_core::cell::TypeTag;
use sync_core::dictionary::{Version, Versions};
use sync_core::limits::Limits;
use sync_core::merkle::Fingerprint;
use sync_core::message::{Dialect, Frame, Quote, Route};
use sync_core::node::{Event, Input, Prospect, SurveyGoal, Surveyed};
use sync_core::store::Load;
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_tests::lab::{Lab, Mix};
use sync_tests::{Cluster, config, namespace, node_id, replica};

/// Two nodes that have met again after each wrote by itself, with the first frames of their repair.
fn reunited(limits: &Limits) -> (Cluster, [Vec<Vec<u8>>; 2]) {
    // Nothing is pushed, so that the repair is a session: a push names the dots that it ends as well.
    let mut cluster = Cluster::new(2, &Limits { log_entries_max: 1, ..limits.clone() });
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "set", element));
        cluster.settle();
    }
    cluster.disconnect(0, 1);
    cluster.write(0, |group| or_set::remove(group, "set", b"a"));
    cluster.write(0, |group| or_set::add(group, "other", b"long element"));
    cluster.write(0, |group| lww_map::put(group, "map", b"field", b"gone"));
    cluster.write(0, |group| lww_map::put(group, "map", b"field", b"value"));
    cluster.write(1, |group| pn_counter::add(group, "count", 5));
    cluster.write(1, |group| or_set::add(group, "set", b"d"));
    cluster.connect(0, 1);
    for _ in 0..2 {
        cluster.deliver_next(0, 1);
        cluster.deliver_next(1, 0);
    }
    let repair = [(0, 1), (1, 0)].map(|(from, to)| cluster.take(from, to));
    for (from, to) in [(0, 1), (1, 0u8)] {
        let mut opens = |bytes: &Vec<u8>| matches!(cluster.read_sent(from, to, bytes), Frame::Open(..));
        assert!(matches!(&repair[usize::from(from)][..], [only] if opens(only)), "node {from} opens");
    }
    cluster.events();
    (cluster, repair)
}

fn begin(cluster: &mut Cluster, counts: bool) -> SurveyGoal {
    let now = cluster.now();
    let goal = cluster.node(0).survey_begin(now, namespace(), counts).expect("the namespace is open");
    cluster.input(0, Input::Wake);
    goal
}

fn told(cluster: &mut Cluster, goal: &SurveyGoal) -> Prospect {
    match cluster.node(0).survey_check(goal).swap_remove(0) {
        (_, Surveyed::Told(prospect)) => *prospect,
        (_, other) => panic!("nothing was told: {other:?}"),
    }
}

/// Delivers the first frames of a repair and all that follows; what each direction carried.
fn carried(cluster: &mut Cluster, mut first: [Vec<Vec<u8>>; 2]) -> [Load; 2] {
    let mut loads = [Load::default(); 2];
    loop {
        let mut quiet = true;
        for (from, to) in [(0, 1), (1, 0u8)] {
            let more = cluster.take(from, to);
            let first = std::mem::take(&mut first[usize::from(from)]);
            for bytes in first.into_iter().chain(more) {
                quiet = false;
                let frame = cluster.read_sent(from, to, &bytes);
                let fragment = if let Frame::Push(_, push) = frame {
                    Some(push.fragment)
                } else if let Frame::Give(_, give) = frame {
                    Some(give.fragment)
                } else {
                    None
                };
                if let Some(fragment) = fragment {
                    let load = Load::of(&fragment);
                    let sum = &mut loads[usize::from(from)];
                    sum.events += load.events;
                    sum.objects += load.objects;
                    sum.items += load.items;
                    sum.bytes += load.bytes;
                }
                cluster.deliver(from, to, &bytes);
            }
        }
        if quiet {
            return loads;
        }
    }
}

#[test]
fn a_survey_moves_no_state_and_no_cursor() {
    let (mut cluster, _) = reunited(&Limits::default());
    let before = [0, 1].map(|node| cluster.node(node).clone());
    let goal = begin(&mut cluster, true);
    assert_eq!(cluster.node(0).survey_check(&goal), [(node_id(1), Surveyed::Pending)]);
    assert!(cluster.deliver_next(0, 1) && cluster.deliver_next(1, 0));
    told(&mut cluster, &goal);
    // By then the pause before node 1 would count again is over.
    cluster.sleep(Span::from_millis(100));
    let now = cluster.now();
    for (index, before) in [0, 1].into_iter().zip(&before) {
        assert_eq!(
            cluster.node(index).state_key(now),
            before.state_key(now),
            "node {index} goes on as before"
        );
    }
    assert!(cluster.take(0, 1).is_empty() && cluster.take(1, 0).is_empty(), "nothing follows");
    assert_eq!(cluster.events(), []);
}

#[test]
fn its_figures_are_what_the_repair_carries() {
    let few_records = Limits { records_max: 0, ..Limits::default() };
    for limits in [Limits::default(), few_records] {
        let (mut cluster, repair) = reunited(&limits);
        let goal = begin(&mut cluster, true);
        assert!(cluster.deliver_next(0, 1) && cluster.deliver_next(1, 0));
        let prospect = told(&mut cluster, &goal);
        assert!(!prospect.same_events && !prospect.same_root);
        let before = [0, 1].map(|node| cluster.node(node).stats());

        let [outgoing, incoming] = carried(&mut cluster, repair);
        assert!(cluster.is_converged());
        assert_eq!(prospect.outgoing, Some(outgoing));
        assert_eq!(prospect.incoming, Some(incoming));
        let items = "long element".len() + "other".len() + "map".len() + "field".len() + "value".len();
        let objects = if limits.records_max == 0 { 2 } else { 3 };
        assert_eq!((outgoing.events, outgoing.objects), (4, objects), "a record names the set");
        assert_eq!((outgoing.items, outgoing.bytes), (2, items as u64));
        assert_eq!((incoming.events, incoming.objects, incoming.items), (2, 2, 2));
        let after = [0, 1].map(|node| cluster.node(node).stats());
        for (from, to, load) in [(0, 1, outgoing), (1, 0, incoming)] {
            assert_eq!(after[from].deltas_sent - before[from].deltas_sent, load.items);
            assert_eq!(after[to].items_new - before[to].items_new, load.items);
        }

        cluster.sleep(Span::from_millis(100));
        let goal = begin(&mut cluster, true);
        cluster.settle();
        let prospect = told(&mut cluster, &goal);
        assert!(prospect.same_events && prospect.same_root);
        assert_eq!((prospect.incoming, prospect.outgoing), (Some(Load::default()), Some(Load::default())));
        assert_eq!((&prospect.context, prospect.links), (cluster.store(1).context(), 1));
    }
}

#[test]
fn a_load_is_counted_as_the_answer_would_be_built() {
    for seed in 0..500 {
        let lab = Lab::with_history(seed, Mix::All, 60);
        for giver in &lab.replicas {
            for taker in &lab.replicas {
                let theirs = taker.store.context();
                let load = giver.store.load_for(theirs, u64::MAX);
                assert_eq!(load, Load::of(&giver.store.answer(theirs)), "seed {seed}");
            }
        }
    }
}

#[test]
fn counting_ends_at_its_limit_and_says_so() {
    let (mut cluster, _) = reunited(&Limits { survey_items_max: 1, ..Limits::default() });
    let goal = begin(&mut cluster, true);
    assert!(cluster.deliver_next(0, 1) && cluster.deliver_next(1, 0));
    let prospect = told(&mut cluster, &goal);
    for load in [prospect.incoming, prospect.outgoing].map(|load| load.expect("it was counted")) {
        assert_eq!((load.items, load.is_partial), (1, true));
    }
}

#[test]
fn figures_are_counted_once_in_a_pause_however_often_they_are_asked_for() {
    let (mut cluster, _) = reunited(&Limits::default());
    let mut quotes = 0;
    for _ in 0..50 {
        begin(&mut cluster, true);
        assert!(cluster.deliver_next(0, 1));
        quotes += cluster.take(1, 0).len();
    }
    assert_eq!(quotes, 1);
    let goal = begin(&mut cluster, false);
    assert!(cluster.deliver_next(0, 1) && cluster.deliver_next(1, 0), "what costs nothing is told at once");
    told(&mut cluster, &goal);
    let goal = begin(&mut cluster, true);
    cluster.advance(Span::from_millis(100));
    assert!(told(&mut cluster, &goal).incoming.is_some(), "the latest is answered when the pause is over");
}

#[test]
fn without_counts_a_survey_still_tells_what_the_peer_knows() {
    let (mut cluster, _) = reunited(&Limits::default());
    let goal = begin(&mut cluster, false);
    assert!(cluster.deliver_next(0, 1) && cluster.deliver_next(1, 0));
    let prospect = told(&mut cluster, &goal);
    assert_eq!((prospect.incoming, prospect.outgoing), (None, None));
    assert_eq!(&prospect.context, cluster.store(1).context());
}

#[test]
fn a_peer_of_version_1_cannot_tell_and_is_not_asked() {
    let configs = [0, 1].map(|index| {
        let mut config = config(index, 0);
        if index == 1 {
            config.versions = Versions { min: Version(1), max: Version(1) };
        }
        config
    });
    let mut cluster = Cluster::apart(configs);
    cluster.connect(0, 1);
    cluster.settle();
    let goal = begin(&mut cluster, true);
    assert_eq!(cluster.node(0).survey_check(&goal), [(node_id(1), Surveyed::Speaks(Version(1)))]);
    assert!(cluster.take(0, 1).is_empty());
}

#[test]
fn a_survey_lost_with_its_connection_is_asked_again() {
    let (mut cluster, _) = reunited(&Limits::default());
    let goal = begin(&mut cluster, true);
    cluster.deliver_next(0, 1);
    cluster.disconnect(0, 1);
    assert_eq!(cluster.node(0).survey_check(&goal), [(node_id(1), Surveyed::Unreachable)]);
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(cluster.node(0).survey_check(&goal), [(node_id(1), Surveyed::Pending)]);
    let now = cluster.now();
    cluster.node(0).survey_again(now, &goal);
    cluster.input(0, Input::Wake);
    cluster.settle();
    assert!(told(&mut cluster, &goal).same_root);
}

fn quote(cluster: &mut Cluster, number: u64, root: Fingerprint) -> Vec<u8> {
    let context = cluster.store(1).context().clone();
    let horizon = cluster.store(1).horizon();
    let route = Route { namespace: namespace(), from: replica(1, 0), to: replica(0, 0), known: 0 };
    let quote = Quote { number, root, horizon, links: 1, load: Some(Load::default()), context };
    Frame::Quote(route, Box::new(quote)).encode(&Dialect::default())
}

#[test]
fn a_quote_that_nobody_asked_for_or_that_comes_twice_is_dropped() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let unasked = quote(&mut cluster, 1, Fingerprint([7; 32]));
    cluster.deliver(1, 0, &unasked);
    let goal = begin(&mut cluster, true);
    assert_eq!(cluster.node(0).survey_check(&goal), [(node_id(1), Surveyed::Pending)]);
    cluster.settle();
    cluster.deliver(1, 0, &unasked);
    assert!(told(&mut cluster, &goal).same_root, "the second quote of that number is not heard");
    assert_eq!(cluster.node(0).stats().frames_refused, 0);
}

#[test]
fn the_same_events_with_another_root_are_told_apart_from_a_difference() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "s", b"x"));
    cluster.settle();
    let goal = begin(&mut cluster, true);
    let damaged = quote(&mut cluster, 1, Fingerprint([7; 32]));
    cluster.deliver(1, 0, &damaged);
    let prospect = told(&mut cluster, &goal);
    assert!(prospect.same_events && !prospect.same_root);
}

#[test]
fn whoever_quotes_own_events_that_were_never_minted_fences_this_life() {
    let mut cluster = Cluster::new(2, &Limits::default());
    let route = Route { namespace: namespace(), from: replica(1, 0), to: replica(0, 0), known: 0 };
    let context = CausalContext::from_iter([(replica(0, 0), 9)]);
    let survey = sync_core::message::Survey { number: 1, counts: true, context };
    cluster.deliver(1, 0, &Frame::Survey(route, survey).encode(&Dialect::default()));
    let fenced =
        |(node, event): &(u8, Event)| *node == 0 && matches!(event, Event::Fenced { claimed: 9, .. });
    assert!(cluster.events().iter().any(fenced));
    assert_eq!(cluster.store(0).cell_count("s", TypeTag::OR_SET), 0);
}
