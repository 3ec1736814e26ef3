//! Frames that say much in few bytes: what they take in memory is bounded, and no honest node sends one that is refused.

use sync_core::causal::{CausalContext, DotSet};
use sync_core::cell::{CellId, ObjectId, TypeTag};
use sync_core::dictionary::{Dictionary, Version, Versions};
use sync_core::error::{FrameError, WriteError};
use sync_core::fragment::{CellPart, Claims, Fragment};
use sync_core::id::Dot;
use sync_core::limits::Limits;
use sync_core::merkle::Fingerprint;
use sync_core::merkle::nodes::{Children, Cut, Probe, Question};
use sync_core::merkle::prefix::Prefix;
use sync_core::merkle::sketch::Symbol;
use sync_core::message::{Dialect, Frame, Give, Pull, Route};
use sync_core::node::{Event, Input, Node, Stats};
use sync_core::store::Group;
use sync_core::time::{Span, WallMillis};
use sync_core::types::{enable_flag, or_set};
use sync_tests::attack::dense::Dense;
use sync_tests::{Cluster, config, namespace, replica};

/// What allocators and names take besides.
const SLACK: u64 = 64 << 10;

fn route() -> Route {
    Route { namespace: namespace(), from: replica(0, 0), to: replica(1, 0), known: 0 }
}

/// What came of a frame, and the most memory that it took.
fn decode(bytes: &[u8], limits: &Limits) -> (Result<(), FrameError>, u64) {
    let dictionary = Dictionary::default().with(namespace(), (replica(0, 0), replica(1, 0)), Vec::new());
    let mut read = Ok(());
    let told = allocation_counter::measure(|| read = Frame::decode(bytes, &dictionary, limits).map(drop));
    (read, told.bytes_max)
}

#[test]
fn the_densest_frames_take_no_more_memory_than_a_frame_may() {
    let limits = Limits::default();
    let max = limits.decode_bytes_max() as u64;
    for dense in Dense::ALL {
        let most = dense.fitting(limits.message_bytes_max);
        let counts: Vec<u64> = (0..).map(|shift| most >> shift).take_while(|count| *count > 4).collect();
        let mut fullest = 0;
        for count in counts {
            let bytes = dense.frame(&route(), count / 4 * 4);
            assert!(bytes.len() <= limits.message_bytes_max, "{dense:?}: {} bytes", bytes.len());
            let (read, peak) = decode(&bytes, &limits);
            assert!(
                peak <= max + SLACK,
                "{dense:?} of {}: {peak} bytes, at most {max}: {read:?}",
                bytes.len()
            );
            fullest = peak.max(fullest);
            let tight = Limits { message_bytes_max: bytes.len(), ..limits.clone() };
            let (read, peak) = decode(&bytes, &tight);
            let max = 3 * bytes.len() as u64 + SLACK;
            assert!(
                peak <= max + SLACK,
                "{dense:?} of {}: {peak} bytes, at most {max}: {read:?}",
                bytes.len()
            );
        }
        assert!(fullest > 500_000, "{dense:?} is not dense: {fullest} bytes");
        // What a reader without this bound would take for a tenth of the longest frame.
        let bytes = dense.frame(&route(), dense.fitting(100_000) / 4 * 4);
        let unbounded = Limits { message_bytes_max: usize::MAX, ..limits.clone() };
        let (read, peak) = decode(&bytes, &unbounded);
        println!("{dense:?}: at most {fullest}; {} bytes would take {peak}", bytes.len());
        assert!(
            read.is_ok() && peak > 7 * bytes.len() as u64,
            "{dense:?} is not dense: {peak} bytes, {read:?}"
        );
    }
}

#[test]
fn what_would_take_more_is_refused_with_the_numbers_and_as_the_fault_of_the_peer() {
    for dense in [Dense::Paths, Dense::Cells, Dense::Items, Dense::Records, Dense::Bits, Dense::Intervals] {
        let limits = Limits::default();
        let count = dense.fitting(limits.message_bytes_max / 4 * 3).min(1_000_000);
        let bytes = dense.frame(&route(), count / 4 * 4);
        let (read, _) = decode(&bytes, &limits);
        let error = read.expect_err("it is too dense");
        let FrameError::Memory { bytes, max, .. } = error else { panic!("{dense:?}: {error}") };
        assert!(bytes > max && max == limits.decode_bytes_max() as u64, "{error}");
        assert!(error.is_violation() && error.to_string().contains("3065536"), "{error}");
    }
}

/// Small frames, which take up to 125,536 bytes of memory.
fn limits() -> Limits {
    Limits { message_bytes_max: 20_000, ..Limits::default() }
}

fn refused(cluster: &mut Cluster) -> Vec<Event> {
    let events = cluster.events().into_iter().map(|(_, event)| event);
    events.filter(|event| matches!(event, Event::FrameRefused { .. })).collect()
}

fn stats(cluster: &mut Cluster) -> Stats {
    cluster.node(0).stats()
}

/// The state of a pair is equal, and no frame was refused on the way.
#[track_caller]
fn assert_equal(cluster: &mut Cluster, what: &str) {
    cluster.settle();
    cluster.advance(Span::from_secs(1));
    assert_eq!(refused(cluster), [], "{what}");
    assert!(cluster.is_converged(), "{what}");
}

fn elements(group: &mut Group<'_>, count: u32) -> Result<(), WriteError> {
    (0..count).try_for_each(|n| or_set::add(group, "s", &n.to_be_bytes()).map(drop))
}

fn long_elements(group: &mut Group<'_>, count: u32) -> Result<(), WriteError> {
    let path = |n: u32| [&[b'p'; 400][..], &n.to_be_bytes()].concat();
    (0..count).try_for_each(|n| or_set::add(group, "s", &path(n)).map(drop))
}

fn flags(group: &mut Group<'_>, count: u32) -> Result<(), WriteError> {
    (0..count).try_for_each(|n| enable_flag::enable(group, &format!("{n:04}")).map(drop))
}

type Fill = fn(&mut Group<'_>, u32) -> Result<(), WriteError>;

const SHAPES: [(&str, Fill); 3] =
    [("elements", elements), ("long elements", long_elements), ("flags", flags)];

/// The largest count for which `fits` says so, below `until`.
fn edge(until: u32, mut fits: impl FnMut(u32) -> bool) -> u32 {
    let (mut low, mut high) = (1, until);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

#[test]
fn a_push_right_at_the_edge_is_read_and_one_element_more_goes_by_a_session() {
    for (what, fill) in SHAPES {
        let push = |count: u32| {
            let mut cluster = Cluster::new(2, &limits());
            cluster.write(0, |group| fill(group, count));
            assert_equal(&mut cluster, &format!("{count} {what} pushed"));
            stats(&mut cluster).pushes_too_long == 0
        };
        let most = edge(2_000, push);
        assert!((100..1_900).contains(&most), "{what}: {most}");
        assert!(push(most) && !push(most + 1));
    }
}

#[test]
fn an_answer_right_at_the_edge_is_read_and_one_element_more_goes_item_by_item() {
    for (what, fill) in SHAPES {
        let answer = |count: u32| {
            let mut cluster = Cluster::new(2, &limits());
            cluster.write(1, |group| or_set::add(group, "t", b"known to both"));
            cluster.settle();
            cluster.disconnect(0, 1);
            cluster.write(0, |group| fill(group, count));
            cluster.connect(0, 1);
            assert_equal(&mut cluster, &format!("an answer of {count} {what}"));
            stats(&mut cluster).large_answers == 0
        };
        let most = edge(2_000, answer);
        assert!((100..1_900).contains(&most), "{what}: {most}");
        assert!(answer(most) && !answer(most + 1));
    }
}

/// Delivers all, and counts the frames of a kind.
fn settle_counting(cluster: &mut Cluster, kind: u8) -> usize {
    let mut count = 0;
    loop {
        let frames = [(0, 1), (1, 0)].map(|(from, to)| (from, to, cluster.take(from, to)));
        if frames.iter().all(|(.., frames)| frames.is_empty()) {
            return count;
        }
        for (from, to, frames) in frames {
            for bytes in frames {
                count += usize::from(bytes[1] == kind);
                cluster.deliver(from, to, &bytes);
            }
        }
    }
}

const PART: u8 = 7;

#[test]
fn a_skeleton_of_many_pieces_goes_in_parts_though_it_is_short() {
    // Of all elements every other one is gone, and no record says so.
    let limits = Limits { records_max: 4, ..limits() };
    let mut cluster = Cluster::apart([0, 1].map(|index| {
        let mut config = config(index, 0);
        config.limits = limits.clone();
        config
    }));
    cluster.write(0, |group| elements(group, 8_000));
    for n in (0..8_000u32).step_by(2) {
        cluster.write(0, |group| or_set::remove(group, "s", &n.to_be_bytes()));
    }
    cluster.connect(0, 1);
    let parts = settle_counting(&mut cluster, PART);
    assert_equal(&mut cluster, "every other element");
    let bytes = cluster.store(0).live_dots().collect::<Vec<Dot>>().len() / 4;
    assert!(parts == 1 && bytes < 5_000, "{parts} parts of a skeleton of about {bytes} bytes");
    assert_eq!(stats(&mut cluster).large_answers, 1);
}

#[test]
fn to_a_peer_of_version_1_a_dense_answer_goes_in_parts() {
    let only = Versions { min: Version::WHOLE, max: Version::WHOLE };
    let mut cluster = Cluster::apart([0, 1].map(|index| {
        let mut config = config(index, 0);
        (config.limits, config.versions) = (limits(), only);
        config
    }));
    cluster.write(0, |group| elements(group, 1_500));
    cluster.connect(0, 1);
    let parts = settle_counting(&mut cluster, PART);
    assert_equal(&mut cluster, "version 1");
    assert!(parts > 0, "{parts} parts");
}

#[test]
fn an_answer_in_parts_that_takes_more_than_may_be_staged_is_refused_and_not_a_breach() {
    let only = Versions { min: Version::WHOLE, max: Version::WHOLE };
    let mut cluster = Cluster::apart([0, 1].map(|index| {
        let mut config = config(index, 0);
        (config.limits, config.versions) = (limits(), only);
        config.limits.staging_bytes_max = 200_000;
        config
    }));
    cluster.write(0, |group| elements(group, 1_500));
    cluster.connect(0, 1);
    cluster.settle();
    let events = refused(&mut cluster);
    let staging = |event: &Event| {
        let Event::FrameRefused { error, .. } = event else { return false };
        matches!(error, FrameError::Staging { max: 200_000, .. }) && !error.is_violation()
    };
    assert!(!events.is_empty() && events.iter().all(staging), "{events:?}");
    assert!(!cluster.is_converged());
    // An operator raises it.
    let raised = Limits { staging_bytes_max: 2_000_000, ..limits() };
    cluster.node(1).set_limits(raised);
    cluster.input(1, Input::SyncNow);
    cluster.advance(Span::from_secs(20));
    assert!(cluster.is_converged());
}

#[test]
fn nodes_of_the_default_limits_send_dense_state_that_is_read() {
    let mut cluster = Cluster::new(2, &Limits::default());
    cluster.write(0, |group| elements(group, 60_000));
    assert_equal(&mut cluster, "60,000 elements of four bytes");
    assert_eq!(stats(&mut cluster).pushes_too_long, 1);
    let node: &mut Node = cluster.node(1);
    assert_eq!(or_set::len(node.store(namespace()).expect("it is open"), "s"), 60_000);
}

#[test]
fn a_pull_that_has_more_than_any_node_says_is_refused() {
    let limits = limits();
    let pull = |intervals: u64| {
        let have = (0..intervals).map(|at| Dot::new(replica(0, 0), 2 * at + 1)).collect();
        let (context, horizon) = (CausalContext::default(), WallMillis(0));
        let bytes =
            Frame::Pull(route(), Pull { context, horizon, listing: false, have }).encode(&Dialect::default());
        decode(&bytes, &limits).0
    };
    let most = limits.message_bytes_max as u64 / 48;
    assert_eq!(pull(most), Ok(()));
    assert_eq!(pull(most + 1), Err(FrameError::Count { field: "have", count: most + 1, max: most }));
}

#[test]
fn answers_by_sketch_that_wait_take_a_bounded_memory_together() {
    let limits = Limits { message_bytes_max: 2_000, ..Limits::default() };
    let mut cluster = Cluster::new(7, &limits);
    cluster.write(0, |group| or_set::add(group, "t", b"so that it asks more than one at a time"));
    cluster.settle();
    let answer = |from: u8| {
        let cell = |n: u32| CellPart {
            cell: CellId::new(ObjectId::new("s", TypeTag::OR_SET), &n.to_be_bytes()[..]),
            items: Vec::new(),
            others: Vec::new(),
        };
        let context = CausalContext::from_iter([(replica(from, 0), 9)]);
        // It shows nothing: more are needed.
        let symbols = vec![Symbol::from_words([1, 2, 3])];
        let fragment = Fragment {
            dots: DotSet::of(Dot::new(replica(from, 0), 1)),
            cells: (0..280).map(cell).collect(),
            claims: Claims::Sketch { context, answer: 1, symbols },
            ..Fragment::default()
        };
        let memory = fragment.memory();
        assert!(
            memory <= limits.decode_bytes_max() && 5 * memory > 4 * limits.decode_bytes_max(),
            "{memory}"
        );
        let route = Route { namespace: namespace(), from: replica(from, 0), to: replica(0, 0), known: 0 };
        let give = Give { head: 1, root: Fingerprint([0; 32]), fragment };
        Frame::Give(route, give).encode(&Dialect::default())
    };
    let mut asked = Vec::new();
    for from in 1..7 {
        cluster.deliver(from, 0, &answer(from));
        assert_eq!(refused(&mut cluster), []);
        asked.extend(cluster.take_frames(0, from).iter().map(Frame::name));
    }
    assert_eq!(asked, ["More", "More", "More", "More", "Pull", "Pull"]);
}

#[test]
fn questions_of_descents_that_wait_take_a_bounded_memory_together() {
    let limits = Limits { message_bytes_max: 4_000, ..Limits::default() };
    let mut cluster = Cluster::new(16, &limits);
    // Nothing is built for anybody.
    cluster.node(0).set_limits(Limits { outbox_frames_max: 0, ..limits.clone() });
    let mut hashes = vec![None; 16];
    (hashes[0], hashes[1]) = (Some(Cut(1)), Some(Cut(2)));
    let probe = Probe::Children(Children { skip: Prefix::default(), levels: 1, hashes });
    let probes: Vec<(Prefix, Probe)> = (0..160).map(|_| (Prefix::default(), probe.clone())).collect();
    for from in 1..16 {
        let route = Route { namespace: namespace(), from: replica(from, 0), to: replica(0, 0), known: 0 };
        let question = Question { salt: [7; 16], probes: probes.clone() };
        cluster.deliver(from, 0, &Frame::Nodes(route, question).encode(&Dialect::default()));
    }
    assert_eq!(refused(&mut cluster), []);
    cluster.node(0).set_limits(limits.clone());
    cluster.input(0, Input::SyncNow);
    let answered =
        (1..16).filter(|to| cluster.take_frames(0, *to).iter().any(|frame| frame.name() == "NodesFound"));
    let each = probes.len() * (size_of::<(Prefix, Probe)>() + 16 * 17);
    assert_eq!(answered.count(), 8 * limits.decode_bytes_max() / each);
}

/// What removes leave in memory, and what is accounted for records: with `records` of them kept.
fn removed(records: usize, remove: impl Fn(&mut Cluster, u32)) -> (i64, i64) {
    let limits = Limits { records_max: records, ..Limits::default() };
    let mut cluster = Cluster::new(1, &limits);
    cluster.write(0, |group| elements(group, 4_000));
    let taken = allocation_counter::measure(|| (0..4_000).for_each(|n| remove(&mut cluster, n)));
    let (_, bytes) = cluster.store(0).record_sizes();
    (taken.bytes_current, i64::try_from(bytes).expect("it is little"))
}

#[test]
fn records_that_are_kept_take_no_more_memory_than_is_accounted_for_them() {
    let one = |cluster: &mut Cluster, n: u32| {
        cluster.write(0, |group| or_set::remove(group, "s", &n.to_be_bytes()));
    };
    let twenty = |cluster: &mut Cluster, n: u32| {
        if n.is_multiple_of(20) {
            let dots: Vec<Dot> = cluster.store(0).live_dots().take(20).collect();
            cluster.write(0, |group| group.remove(&dots));
        }
    };
    let ranges = |cluster: &mut Cluster, n: u32| {
        cluster.write(0, |group| or_set::add(group, &format!("other set {n}"), b"x"));
        cluster.write(0, |group| or_set::clear(group, &format!("other set {n}")));
    };
    for (name, (without, _), (with, accounted)) in [
        ("one", removed(0, one), removed(65_536, one)),
        ("twenty", removed(0, twenty), removed(65_536, twenty)),
        ("ranges", removed(0, ranges), removed(65_536, ranges)),
    ] {
        let taken = with - without;
        println!("{name}: {taken} bytes taken, {accounted} accounted");
        assert!(taken > 0 && accounted < 1 << 20, "{name}: {taken} bytes taken, {accounted} accounted");
        assert!(
            taken <= accounted && accounted < 3 * taken,
            "{name}: {taken} bytes taken, {accounted} accounted"
        );
    }
}

#[test]
fn what_honest_nodes_push_takes_little_memory_for_its_bytes() {
    let weigh = |write: &dyn Fn(&mut Group<'_>)| {
        let mut cluster = Cluster::new(2, &Limits::default());
        cluster.settle();
        cluster.write(0, |group| {
            write(group);
            Ok::<_, WriteError>(())
        });
        let longest = cluster.take(0, 1).into_iter().max_by_key(Vec::len).expect("it is pushed");
        let dictionary = cluster.node(1).reads(sync_tests::node_id(0));
        let (frame, memory) =
            Frame::decode_weighed(&longest, &dictionary, &Limits::default()).expect("it is read");
        println!("{}: {} bytes take {memory}", frame.name(), longest.len());
        (longest.len(), memory)
    };
    let rows = weigh(&|group| {
        (0..8_000u64).for_each(|n| {
            sync_core::types::lww_map::put(group, "rows", &n.to_be_bytes(), &n.to_be_bytes())
                .expect("there is room");
        });
    });
    let elements = weigh(&|group| elements(group, 8_000).expect("there is room"));
    // What the transport lets a frame take for nothing (`budget.rs`).
    assert!(rows.1 < 24 * rows.0, "{rows:?}");
    assert!(elements.1 < 40 * elements.0, "{elements:?}");
}
