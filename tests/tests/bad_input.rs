//! Bytes from a peer that break a rule are refused whole, with a reason; the state stays as it was.

use sync_core::causal::{CausalContext, DotSet};
use sync_core::cell::{CellId, Hlc, Item, ObjectId, Payload, TypeTag};
use sync_core::dictionary::Versions;
use sync_core::error::FrameError;
use sync_core::fragment::{CellPart, Claims, Fragment, Record};
use sync_core::id::{Dot, ReplicaId, StateId};
use sync_core::limits::Limits;
use sync_core::merkle::Fingerprint;
use sync_core::message::{Ack, Dialect, Frame, Give, Payloads, Pull, Push, Root, Route, Skeleton};
use sync_core::node::Event;
use sync_core::time::WallMillis;
use sync_core::types::or_set;
use sync_tests::{Cluster, namespace, node_id, replica};

/// Two nodes with something in their stores, and a valid push to break.
fn pair() -> (Cluster, Push) {
    let mut cluster = Cluster::new(2, &Limits::default());
    for element in [b"a", b"b", b"c"] {
        cluster.write(0, |group| or_set::add(group, "set", element));
        cluster.settle();
    }
    cluster.write(1, |group| or_set::add(group, "set", b"d"));
    cluster.settle();
    cluster.write(0, |group| or_set::remove(group, "set", b"a"));
    let frames = cluster.take_frames(0, 1);
    let push =
        frames.into_iter().find_map(|frame| if let Frame::Push(_, push) = frame { Some(push) } else { None });
    cluster.events();
    (cluster, push.expect("a write is pushed at once"))
}

fn route() -> Route {
    Route { namespace: namespace(), from: replica(0, 0), to: replica(1, 0), known: 0 }
}

/// Sends `bytes` to node 1 and demands that they are refused for `reason` and nothing else happens.
#[track_caller]
fn assert_refused(cluster: &mut Cluster, bytes: &[u8], reason: impl Fn(&FrameError) -> bool) {
    let before = cluster.store(1).clone();
    let limits = cluster.node(1).limits().clone();
    let stats = cluster.node(1).stats();
    cluster.deliver(0, 1, bytes);
    assert!(cluster.store(1).same_state(&before), "the state is unharmed");
    assert_eq!(cluster.node(1).stats().frames_refused, stats.frames_refused + 1);
    let refused = cluster.events().into_iter().find_map(|(_, event)| {
        if let Event::FrameRefused { peer, error } = event { Some((peer, error)) } else { None }
    });
    let (peer, error) = refused.expect("an event names the refusal");
    assert_eq!(peer, node_id(0));
    assert!(reason(&error), "refused, but for another reason: {error}");
    assert!(bytes.len() <= limits.message_bytes_max || matches!(error, FrameError::Oversize { .. }));
}

/// After bad input the two nodes still come together, with everything that was acknowledged.
fn assert_unharmed(mut cluster: Cluster) {
    cluster.input(0, sync_core::node::Input::SyncNow);
    cluster.advance(sync_core::time::Span::from_secs(20));
    assert!(cluster.is_converged());
    for node in [0, 1] {
        let elements: Vec<&[u8]> = or_set::elements(cluster.store(node), "set").collect();
        assert_eq!(elements, [b"b", b"c", b"d"]);
    }
}

fn push_bytes(push: &Push) -> Vec<u8> {
    Frame::Push(route(), push.clone()).encode(&Dialect::default())
}

#[test]
fn a_frame_over_the_limit_is_refused() {
    let (mut cluster, _) = pair();
    let limit = Limits::default().message_bytes_max;
    assert_refused(&mut cluster, &vec![1; limit + 1], |error| {
        *error == FrameError::Oversize { len: limit + 1, max: limit }
    });
    assert_unharmed(cluster);
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    let (mut cluster, push) = pair();
    let bytes = push_bytes(&push);
    for len in 0..bytes.len() {
        assert_refused(&mut cluster, &bytes[..len], |error| error.is_violation());
        // Three in a row would shut the sender out.
        let now = cluster.now();
        assert!(cluster.node(1).reset_peer(now, node_id(0)));
    }
    assert_unharmed(cluster);
}

#[test]
fn a_frame_with_trailing_bytes_is_refused() {
    let (mut cluster, push) = pair();
    let mut bytes = push_bytes(&push);
    bytes.extend([0, 0, 0]);
    assert_refused(&mut cluster, &bytes, |error| *error == FrameError::Trailing { extra: 3 });
    assert_unharmed(cluster);
}

#[test]
fn a_frame_of_an_unknown_version_or_kind_is_refused() {
    let (mut cluster, push) = pair();
    let mut bytes = push_bytes(&push);
    bytes[0] = 7;
    assert_refused(&mut cluster, &bytes, |error| {
        *error == FrameError::Version { version: 7, ours: Versions::default() }
    });
    bytes[0] = 1;
    bytes[1] = 99;
    assert_refused(&mut cluster, &bytes, |error| *error == FrameError::Kind { kind: 99 });
    assert_unharmed(cluster);
}

#[test]
fn every_single_byte_flip_is_refused_or_harmless_and_never_panics() {
    let (mut cluster, push) = pair();
    let bytes = push_bytes(&push);
    let dictionary = cluster.node(1).reads(node_id(0));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            // What decodes is a well-formed frame; it may say something else, it may not break anything.
            drop(Frame::decode(&flipped, &dictionary, &Limits::default()));
        }
    }
    assert_unharmed(cluster);
}

#[test]
fn a_fragment_that_leaves_a_gap_is_refused_and_answered_by_a_pull_with_the_whole_context() {
    let (mut cluster, mut push) = pair();
    let minted = cluster.store(0).context().get(replica(0, 0));
    push.fragment.dots = DotSet::of(Dot::new(replica(0, 0), minted + 5));
    push.fragment.records.clear();
    push.fragment.cells.clear();
    assert_refused(&mut cluster, &push_bytes(&push), |error| matches!(error, FrameError::Gap { .. }));
    let answer = cluster.take_frames(1, 0);
    let context = cluster.store(1).context().clone();
    let pulls =
        |frame: &Frame| matches!(frame, Frame::Pull(_, Pull { context: sent, .. }) if *sent == context);
    assert!(answer.iter().any(pulls), "the receiver asks for all that it lacks: {answer:?}");
}

#[test]
fn a_fragment_that_names_a_dot_twice_is_refused() {
    let (mut cluster, mut push) = pair();
    let dot = Dot::new(replica(0, 0), 4);
    let item = Item { dot, hlc: Hlc(1), expires: WallMillis(0), payload: Payload::default() };
    let part = |element: &[u8]| CellPart {
        cell: CellId::new(ObjectId::new("set", TypeTag::OR_SET), element),
        items: vec![item.clone()],
        others: vec![],
    };
    push.fragment =
        Fragment { dots: DotSet::of(dot), cells: vec![part(b"x"), part(b"y")], ..Fragment::default() };
    assert_refused(&mut cluster, &push_bytes(&push), |error| *error == FrameError::DotTwice { dot });
    assert_unharmed(cluster);
}

#[test]
fn an_item_or_a_record_outside_the_dots_is_refused() {
    let (mut cluster, push) = pair();
    let stray = Dot::new(replica(0, 0), 9);
    let item = Item { dot: stray, hlc: Hlc(1), expires: WallMillis(0), payload: Payload::default() };
    let cell = CellId::new(ObjectId::new("set", TypeTag::OR_SET), &b"x"[..]);
    let mut with_item = push.clone();
    with_item.fragment.cells = vec![CellPart { cell: cell.clone(), items: vec![item], others: vec![] }];
    let outside = |error: &FrameError| matches!(error, FrameError::OutsideDots { .. });
    assert_refused(&mut cluster, &push_bytes(&with_item), outside);
    let mut with_record = push;
    with_record.fragment.records = vec![(stray, Record::Cells([cell].into()))];
    assert_refused(&mut cluster, &push_bytes(&with_record), outside);
    assert_unharmed(cluster);
}

#[test]
fn a_claim_beyond_the_senders_own_context_is_refused() {
    let (mut cluster, _) = pair();
    let alien = Dot::new(ReplicaId([9; 16]), 1);
    let cell = CellId::new(ObjectId::new("set", TypeTag::OR_SET), &b"b"[..]);
    let fragment = Fragment {
        cells: vec![CellPart { cell, items: vec![], others: vec![alien] }],
        claims: Claims::Cells { context: cluster_context(&cluster), ranges: vec![] },
        ..Fragment::default()
    };
    let mut bytes = Frame::Give(route(), Give { head: 1, root: Fingerprint([0; 32]), fragment })
        .encode(&Dialect::default());
    assert_refused(&mut cluster, &bytes, |error| {
        matches!(error, FrameError::OutsideDots { field: "claims", .. })
    });
    bytes.truncate(bytes.len() - 1);
    assert_refused(&mut cluster, &bytes, |error| error.is_violation());
}

fn cluster_context(cluster: &Cluster) -> CausalContext {
    cluster.store(0).context().clone()
}

#[test]
fn sequences_of_zero_or_beyond_the_range_are_refused() {
    for seq in [0, Dot::SEQ_MAX + 1, u64::MAX >> 1] {
        let (mut cluster, _) = pair();
        let mut known = CausalContext::default();
        known.advance(ReplicaId([9; 16]), 300);
        let bytes = Frame::Ack(route(), Ack { hi: None, known }).encode(&Dialect::default());
        // The sequence is the last varint of the frame, with room for a sign; 300 takes two bytes.
        let mut forged = bytes[..bytes.len() - 2].to_vec();
        let mut rest = seq.wrapping_mul(2);
        while rest >= 0x80 {
            forged.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        forged.push(rest.to_le_bytes()[0]);
        assert_refused(&mut cluster, &forged, |error| {
            *error == FrameError::Field { field: "context", value: seq }
        });
        assert_unharmed(cluster);
    }
}

#[test]
fn a_cursor_beyond_our_log_is_refused() {
    let (mut cluster, _) = pair();
    let bytes = Frame::Ack(route(), Ack { hi: Some(1 << 30), known: CausalContext::default() })
        .encode(&Dialect::default());
    assert_refused(&mut cluster, &bytes, |error| {
        *error == FrameError::Field { field: "cursor", value: 1 << 30 }
    });
    assert_unharmed(cluster);
}

#[test]
fn a_log_head_near_the_end_of_numbers_is_refused() {
    let (mut cluster, _) = pair();
    let give = |head| {
        let give = Give { head, root: Fingerprint([0; 32]), fragment: Fragment::default() };
        Frame::Give(route(), give).encode(&Dialect::default())
    };
    for head in [(1 << 62) + 1, u64::MAX] {
        assert_refused(&mut cluster, &give(head), |error| {
            *error == FrameError::Field { field: "head", value: head }
        });
    }
    assert_unharmed(cluster);
}

#[test]
fn a_horizon_ahead_of_the_clock_is_refused_whole_and_never_clamped() {
    let (mut cluster, mut push) = pair();
    push.fragment.horizon = WallMillis(cluster.now().wall.0 + 61_000);
    let expected = FrameError::ClockAhead { ahead_ms: 61_000, max_ms: 60_000 };
    assert_refused(&mut cluster, &push_bytes(&push), |error| *error == expected);
    assert_eq!(cluster.store(1).horizon(), WallMillis(0), "not even the part within the drift is taken");
    push.fragment.horizon = WallMillis(cluster.now().wall.0 + 60_000);
    cluster.deliver(0, 1, &push_bytes(&push));
    assert_eq!(cluster.store(1).horizon(), push.fragment.horizon);
}

#[test]
fn dots_of_this_incarnation_that_it_never_minted_fence_the_node_and_raise_an_alarm() {
    for by in ["push", "ack", "pull", "any frame"] {
        let (mut cluster, mut push) = pair();
        let (old, minted) = (replica(1, 0), cluster.store(1).context().get(replica(1, 0)));
        let elements = or_set::len(cluster.store(1), "set");
        let claimed = minted + 3;
        let mut known = cluster_context(&cluster);
        known.advance(old, claimed);
        let frame = match by {
            "push" => {
                push.fragment = Fragment { dots: DotSet::of(Dot::new(old, claimed)), ..Fragment::default() };
                Frame::Push(route(), push)
            }
            "ack" => Frame::Ack(route(), Ack { hi: None, known }),
            "any frame" => {
                let ack = Ack { hi: None, known: CausalContext::default() };
                Frame::Ack(Route { known: claimed, ..route() }, ack)
            }
            _ => {
                let pull =
                    Pull { context: known, horizon: WallMillis(0), listing: false, have: DotSet::default() };
                Frame::Pull(route(), pull)
            }
        };
        cluster.deliver(0, 1, &frame.encode(&Dialect::default()));
        let fenced = cluster.events().into_iter().find_map(|(node, event)| {
            if let Event::Fenced { peer, old, new, claimed, minted, .. } = event {
                Some((node, peer, old, new, claimed, minted))
            } else {
                None
            }
        });
        let new = cluster.node(1).replica();
        assert_eq!(fenced, Some((1, node_id(0), old, new, claimed, minted)), "by a {by}");
        assert_ne!(new, old);
        assert_eq!(or_set::len(cluster.store(1), "set"), elements, "nothing is lost");
        cluster.write(1, |group| or_set::add(group, "set", b"after"));
        assert_eq!(cluster.store(1).context().get(new), 1, "new events are minted under the new id");
        cluster.settle();
        cluster.advance(sync_core::time::Span::from_secs(12));
        assert!(or_set::contains(cluster.store(0), "set", b"after"), "and reach the peers");
        assert!(cluster.is_converged());
    }
}

/// Node 1 has asked node 0; and a skeleton that answers it with six events, of which the first three are live.
fn asking() -> (Cluster, Skeleton) {
    let (mut cluster, _) = pair();
    let context = cluster.store(1).context().clone();
    ask(&mut cluster);
    let skeleton = skeleton_above(context);
    (cluster, skeleton)
}

/// Makes node 1 ask node 0, and keeps the question from it.
fn ask(cluster: &mut Cluster) {
    let clock = Some(cluster.now().wall);
    let state = StateId([9; 32]);
    let root = Root {
        state,
        head: 9,
        clock,
        behind: false,
        wants_reply: false,
        wants_whole: false,
        neighbour: false,
    };
    cluster.deliver(0, 1, &Frame::Root(route(), root).encode(&Dialect::default()));
    assert!(cluster.take_frames(1, 0).iter().any(|frame| matches!(frame, Frame::Pull(..))));
    cluster.events();
}

fn skeleton_above(mut context: CausalContext) -> Skeleton {
    let first = context.get(replica(0, 0)) + 1;
    context.advance(replica(0, 0), first + 5);
    let (mut dots, mut live) = (DotSet::default(), DotSet::default());
    dots.insert_range(replica(0, 0), first, first + 5);
    live.insert_range(replica(0, 0), first, first + 2);
    let claims = Claims::Cells { context, ranges: vec![] };
    let fragment = Fragment { dots, claims, ..Fragment::default() };
    Skeleton { answer: 1, head: 9, root: Fingerprint([0; 32]), live, fragment }
}

fn skeleton_bytes(skeleton: &Skeleton) -> Vec<u8> {
    Frame::Skeleton(route(), Box::new(skeleton.clone())).encode(&Dialect::default())
}

fn payloads_bytes(dots: &[Dot]) -> Vec<u8> {
    let cell = CellId::new(ObjectId::new("set", TypeTag::OR_SET), &b"x"[..]);
    let item =
        |dot: &Dot| Item { dot: *dot, hlc: Hlc(1), expires: WallMillis(0), payload: Payload::default() };
    let items = dots.iter().map(|dot| (cell.clone(), item(dot))).collect();
    Frame::Payloads(route(), Payloads { answer: 1, gone: false, items }).encode(&Dialect::default())
}

#[test]
fn an_item_that_its_skeleton_does_not_call_live_is_refused_and_nothing_of_its_frame_is_staged() {
    let (mut cluster, skeleton) = asking();
    cluster.deliver(0, 1, &skeleton_bytes(&skeleton));
    let first = Dot::new(replica(0, 0), skeleton.live.bottom(replica(0, 0)));
    let stray = Dot { seq: first.seq + 3, ..first };
    let staged = |cluster: &mut Cluster| {
        let last = cluster.events().into_iter().rev().find_map(|(_, event)| {
            let Event::Bootstrap { items, .. } = event else { return None };
            Some(items)
        });
        last.expect("each frame that brings something is told of")
    };
    assert_eq!(staged(&mut cluster), 0);
    assert_refused(&mut cluster, &payloads_bytes(&[first, stray]), |error| {
        *error == FrameError::OutsideDots { dot: stray, field: "payloads" }
    });
    cluster.deliver(0, 1, &payloads_bytes(&[first]));
    assert_eq!(staged(&mut cluster), 1, "of the refused frame nothing was staged");
}

#[test]
fn items_of_no_answer_or_of_one_that_nobody_asked_for_are_not_staged() {
    let (mut cluster, skeleton) = asking();
    let live: Vec<Dot> = skeleton.live.dots().collect();
    let before = cluster.store(1).clone();
    cluster.deliver(0, 1, &payloads_bytes(&live));
    cluster.deliver(1, 0, &skeleton_bytes(&skeleton));
    assert!(cluster.events().is_empty(), "nothing is told, nothing is refused");
    assert!(cluster.store(1).same_state(&before));
}

#[test]
fn a_skeleton_that_contradicts_itself_is_refused() {
    let (mut cluster, skeleton) = asking();
    let own = replica(0, 0);
    let mut beyond = skeleton.clone();
    beyond.live.insert(Dot::new(own, skeleton.fragment.dots.top(own) + 1));
    assert_refused(&mut cluster, &skeleton_bytes(&beyond), |error| {
        matches!(error, FrameError::Count { field: "live dots", .. })
    });
    let mut with_item = skeleton.clone();
    let dot = Dot::new(own, skeleton.live.bottom(own));
    let item = Item { dot, hlc: Hlc(1), expires: WallMillis(0), payload: Payload::default() };
    let cell = CellId::new(ObjectId::new("set", TypeTag::OR_SET), &b"x"[..]);
    with_item.fragment.cells = vec![CellPart { cell, items: vec![item], others: vec![] }];
    assert_refused(&mut cluster, &skeleton_bytes(&with_item), |error| {
        *error == FrameError::OutsideDots { dot, field: "skeleton" }
    });
    let mut claimless = skeleton;
    claimless.fragment.claims = Claims::None;
    assert_refused(&mut cluster, &skeleton_bytes(&claimless), |error| {
        matches!(error, FrameError::Field { field: "claims", .. })
    });
}

#[test]
fn staged_items_are_counted_as_they_come_and_never_exceed_their_limit() {
    let mut skeleton = skeleton_above(CausalContext::default());
    // A hostile skeleton promises a trillion items; memory grows with what comes.
    let own = replica(0, 0);
    let first = skeleton.live.bottom(own);
    skeleton.live.insert_range(own, first, Dot::SEQ_MAX);
    skeleton.fragment.dots.insert_range(own, first, Dot::SEQ_MAX);
    if let Claims::Cells { context, .. } = &mut skeleton.fragment.claims {
        context.advance(own, Dot::SEQ_MAX);
    }
    let limits = Limits { staging_bytes_max: 1_000, ..Limits::default() };
    let mut config = sync_tests::config(1, 0);
    config.limits = limits;
    let mut small = Cluster::apart([sync_tests::config(0, 0), config]);
    small.connect(0, 1);
    small.settle();
    ask(&mut small);
    small.deliver(0, 1, &skeleton_bytes(&skeleton));
    let dots: Vec<Dot> = (1..=9).map(|seq| Dot::new(own, seq)).collect();
    small.deliver(0, 1, &payloads_bytes(&dots));
    let more: Vec<Dot> = (10..=12).map(|seq| Dot::new(own, seq)).collect();
    assert_refused(&mut small, &payloads_bytes(&more), |error| {
        matches!(error, FrameError::Staging { field: "staged bytes", max: 1_000, .. })
    });
    small.input(0, sync_core::node::Input::SyncNow);
    small.advance(sync_core::time::Span::from_secs(20));
    assert!(small.is_converged(), "an honest answer comes after it");
}

#[test]
fn a_list_of_more_pieces_than_a_store_can_hold_is_refused_before_it_takes_memory() {
    let (mut cluster, _) = pair();
    let limits = cluster.node(1).limits().clone();
    let pieces = limits.store_bytes_ceiling / sync_core::store::ITEM_OVERHEAD_BYTES + 1;
    let live: DotSet = (1..=pieces).map(|at| Dot::new(replica(0, 0), 2 * at)).collect();
    let context = CausalContext::from_iter([(replica(0, 0), 2 * pieces)]);
    let fragment = Fragment { claims: Claims::Whole { context, live }, ..Fragment::default() };
    let bytes = Frame::Give(route(), Give { head: 1, root: Fingerprint([0; 32]), fragment })
        .encode(&Dialect::default());
    assert!(bytes.len() < limits.message_bytes_max, "bits are short: {} bytes", bytes.len());
    let refused = |error: &FrameError| matches!(error, FrameError::Count { field: "live dots", .. });
    assert_refused(&mut cluster, &bytes, refused);
}
