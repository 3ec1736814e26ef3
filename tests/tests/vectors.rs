//! Golden vectors: the bytes of every frame, in version 1 and over a base in version 2, frozen in
//! `tests/vectors`.
//!
//! A change here is a change of the protocol: it needs a new version, not a new vector. To write the
//! vectors of frames that are new, delete nothing and run with `SYNC_WRITE_VECTORS=1`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sync_core::causal::{CausalContext, DotSet};
use sync_core::cell::{CellId, Hlc, Item, ObjectId, Path, PathRange, Payload, TypeTag};
use sync_core::dictionary::{Base, Dictionary, Version, Versions};
use sync_core::error::FrameError;
use sync_core::fragment::{CellPart, Claims, Fragment, Record};
use sync_core::id::{Dot, NamespaceId, NodeId, ReplicaId, StateHalf, StateId};
use sync_core::limits::Limits;
use sync_core::merkle::Fingerprint;
use sync_core::merkle::sketch::Symbol;
use sync_core::message::{
    Ack, Dialect, Frame, Give, Hello, More, Namespaces, NamespacesDigest, Open, Part, Payloads, Pull, Push,
    Quote, Root, Route, Skeleton, Survey, Symbols,
};
use sync_core::node::{ImageRows, Node};
use sync_core::rows::Table;
use sync_core::store::{Load, Store};
use sync_core::time::{Now, WallMillis};
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_tests::lab::{Lab, Mix};

const A: ReplicaId = ReplicaId([0xa1; 16]);
const B: ReplicaId = ReplicaId([0xb2; 16]);
const C: ReplicaId = ReplicaId([0xc3; 16]);

fn route() -> Route {
    Route { namespace: NamespaceId::named("default"), from: A, to: B, known: 300 }
}

fn cell(key: &str, ty: TypeTag, path: &[u8]) -> CellId {
    CellId::new(ObjectId::new(key, ty), path)
}

fn item(dot: Dot, age: u64, expires: u64, payload: &[u8]) -> Item {
    let hlc = Hlc((1_750_000_000_000 << 16) - age);
    Item { dot, hlc, expires: WallMillis(expires), payload: Payload::from(payload) }
}

fn fragment(claims: Claims) -> Fragment {
    let mut dots = DotSet::default();
    dots.insert_range(A, 3, 9);
    dots.insert_range(A, 12, 12);
    dots.insert(Dot::new(B, 300));
    let claimed = !matches!(claims, Claims::None);
    let whole = matches!(claims, Claims::Whole { .. } | Claims::Sketch { .. });
    let others = if claimed && !whole { vec![Dot::new(C, 7)] } else { vec![] };
    let range = PathRange {
        object: ObjectId::new("cart/17850", TypeTag::OR_SET),
        from: Path::from(&b"a"[..]),
        until: Some(Path::from(&b"b"[..])),
    };
    let records = vec![
        (Dot::new(A, 5), Record::Cells([cell("cart/17850", TypeTag::OR_SET, b"22633")].into())),
        (Dot::new(A, 12), Record::Range(Box::new(range))),
    ];
    Fragment {
        dots,
        cells: vec![
            CellPart {
                cell: cell("cart/17850", TypeTag::OR_SET, b"85123A"),
                items: vec![item(Dot::new(A, 4), 65_536, 0, b"")],
                others,
            },
            CellPart {
                cell: cell("profile/17850", TypeTag::LWW_MAP, b"country"),
                items: vec![
                    item(Dot::new(A, 9), 0, 0, b"\x06France"),
                    item(Dot::new(B, 300), 1, 1_750_000_999_000, b"\x05Spain"),
                ],
                others: vec![],
            },
        ],
        claims,
        records: if whole { vec![] } else { records },
        floors: if whole { vec![] } else { vec![(A, 2), (B, 299)] },
        horizon: WallMillis(1_749_999_999_999),
    }
}

fn symbols(count: u8) -> Vec<Symbol> {
    let word = |at: u8| u64::from_le_bytes([at; 8]);
    (0..count).map(|at| Symbol::from_words([word(at), u64::from(at) << 9, word(at)])).collect()
}

fn context() -> CausalContext {
    CausalContext::from_iter([(A, 12), (B, 300), (C, 1 << 40)])
}

/// Every frame by the name of its vector.
fn frames() -> Vec<(&'static str, Frame)> {
    let hello = Hello {
        features: 0,
        versions: Versions::default(),
        cluster: "shop".to_owned(),
        node: NodeId([0x11; 32]),
        incarnation: A,
        clock: WallMillis(1_750_000_000_000),
        wants_reply: true,
        namespaces: Namespaces::default(),
        trace: None,
        heard: NamespacesDigest::default(),
    };
    let lanes = Namespaces {
        open: ["alarms", "bulk"].map(NamespaceId::named).into(),
        closed: [NamespaceId::named("old")].into(),
    };
    let heard = Namespaces { open: [NamespaceId::named("bulk")].into(), ..Namespaces::default() }.digest();
    let hello_namespaces = Hello { namespaces: lanes, ..hello.clone() };
    let hello_heard = Hello { heard, ..hello_namespaces.clone() };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("a trace context");
    let hello_traced = Hello { trace: Some(trace), ..hello.clone() };
    let root = Root {
        state: StateId([0x22; 32]),
        head: 12_345,
        clock: Some(WallMillis(1_750_000_000_000)),
        neighbour: false,
        behind: true,
        wants_reply: true,
        wants_whole: false,
    };
    let range = PathRange::whole(ObjectId::new("cart/17850", TypeTag::OR_SET));
    let cells = Claims::Cells { context: context(), ranges: vec![(range, DotSet::of(Dot::new(C, 8)))] };
    let live = [Dot::new(A, 1), Dot::new(A, 4), Dot::new(A, 9), Dot::new(B, 300)].into_iter().collect();
    let whole = Claims::Whole { context: context(), live };
    let sketch = Claims::Sketch { context: context(), answer: 3, symbols: symbols(2) };
    let merkle = Fingerprint([0x33; 32]);
    let pull = Pull { context: context(), horizon: WallMillis(7), listing: false, have: DotSet::default() };
    vec![
        ("hello", Frame::Hello(hello)),
        ("hello_namespaces", Frame::Hello(hello_namespaces)),
        ("hello_heard", Frame::Hello(hello_heard)),
        ("hello_traced", Frame::Hello(hello_traced)),
        ("root", Frame::Root(route(), root)),
        ("push", Frame::Push(route(), Push { lo: 10, hi: 14, fragment: fragment(Claims::None) })),
        ("ack", Frame::Ack(route(), Ack { hi: Some(14), known: context() })),
        ("ack_without_cursor", Frame::Ack(route(), Ack { hi: None, known: CausalContext::default() })),
        ("pull", Frame::Pull(route(), pull)),
        (
            "give_cells",
            Frame::Give(route(), Give { head: 14, root: Fingerprint([0x33; 32]), fragment: fragment(cells) }),
        ),
        (
            "give_whole",
            Frame::Give(route(), Give { head: 14, root: Fingerprint([0x33; 32]), fragment: fragment(whole) }),
        ),
        ("give_sketch", Frame::Give(route(), Give { head: 14, root: merkle, fragment: fragment(sketch) })),
        ("more", Frame::More(route(), More { answer: 3, from: 16 })),
        ("symbols", Frame::Symbols(route(), Symbols { answer: 3, from: 16, symbols: symbols(4) })),
        (
            "part",
            Frame::Part(route(), Part { answer: 3, total: 5_000_000, at: 999_000, bytes: vec![1, 2, 3] }),
        ),
    ]
}

/// Every frame that version 1 does not have, by the name of its vector.
fn newer_frames() -> Vec<(&'static str, Frame)> {
    let load = Load { events: 400, objects: 7, items: 300, bytes: 20_000, is_partial: false };
    let quote = |load| {
        let (root, horizon) = (Fingerprint([0x33; 32]), WallMillis(7));
        Frame::Quote(
            route(),
            Box::new(Quote { number: 5, root, horizon, links: 3, load, context: context() }),
        )
    };
    let open = Open {
        state: StateHalf([0x22; 16]),
        head: 12_345,
        horizon: WallMillis(7),
        behind: true,
        neighbour: true,
        context: context(),
    };
    vec![
        ("open", Frame::Open(route(), Box::new(open))),
        ("survey", Frame::Survey(route(), Survey { number: 5, counts: true, context: context() })),
        ("quote", quote(Some(load))),
        ("quote_partial", quote(Some(Load { is_partial: true, ..load }))),
        ("quote_without_load", quote(None)),
    ]
}

/// The frames of large answers, by the name of their vector: version 2 has them, version 1 has not.
fn large_frames() -> Vec<(&'static str, Frame)> {
    let outline = |claims: Claims| {
        let mut fragment = fragment(claims);
        fragment.cells.iter_mut().for_each(|part| part.items.clear());
        fragment.cells.retain(|part| !part.others.is_empty());
        fragment
    };
    let skeleton = |claims: Claims| Skeleton {
        answer: 5,
        head: 14,
        root: Fingerprint([0x33; 32]),
        live: [Dot::new(A, 4), Dot::new(A, 9), Dot::new(B, 300)].into_iter().collect(),
        fragment: outline(claims),
    };
    let range = PathRange::whole(ObjectId::new("cart/17850", TypeTag::OR_SET));
    let cells = Claims::Cells { context: context(), ranges: vec![(range, DotSet::of(Dot::new(C, 8)))] };
    let live = [Dot::new(A, 1), Dot::new(A, 4), Dot::new(A, 9), Dot::new(B, 300)].into_iter().collect();
    let whole = Claims::Whole { context: context(), live };
    let mut have = DotSet::default();
    have.insert_range(A, 1, 4);
    have.insert(Dot::new(C, 8));
    let of_part = |part: CellPart| {
        let CellPart { cell, items, .. } = part;
        items.into_iter().map(move |item| (cell.clone(), item))
    };
    let mut items: Vec<_> = fragment(Claims::None).cells.into_iter().flat_map(of_part).collect();
    items.sort_by_key(|(_, item)| item.dot);
    let items = Payloads { answer: 5, gone: false, items };
    vec![
        (
            "pull_have",
            Frame::Pull(route(), Pull { context: context(), horizon: WallMillis(7), listing: true, have }),
        ),
        ("skeleton_cells", Frame::Skeleton(route(), Box::new(skeleton(cells)))),
        ("skeleton_whole", Frame::Skeleton(route(), Box::new(skeleton(whole)))),
        ("payloads", Frame::Payloads(route(), items)),
        ("payloads_gone", Frame::Payloads(route(), Payloads { answer: 5, gone: true, items: Vec::new() })),
    ]
}

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.hex"))
}

fn hex(bytes: &[u8]) -> String {
    let line = |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

/// Compares with the frozen text, or writes it if it is new and that was asked for.
fn assert_frozen(name: &str, text: &str) {
    let path = vector(name);
    if !path.exists() && std::env::var_os("SYNC_WRITE_VECTORS").is_some() {
        fs::write(&path, text).expect("the vectors' folder is writable");
    }
    let frozen = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, frozen, "{name}: these bytes are frozen");
}

/// A context that both ends hold: older than [`context`] in one column, newer in none.
fn base() -> Arc<Base> {
    Arc::new(Base::of(&CausalContext::from_iter([(A, 2), (B, 299), (C, 1 << 40)])))
}

fn dictionary() -> Dictionary {
    Dictionary::default().with(NamespaceId::named("default"), (A, B), vec![base()])
}

#[test]
fn every_frame_has_the_bytes_of_its_golden_vector_and_reads_back() {
    for (name, frame) in frames() {
        let bytes = frame.encode(&Dialect { version: Version(1), base: None });
        let read = Frame::decode(&bytes, &dictionary(), &Limits::default());
        if ["more", "symbols"].contains(&name) {
            assert!(matches!(read, Err(FrameError::Kind { .. })), "{name} is not of version 1: {read:?}");
        } else {
            assert_eq!(read, Ok(frame.clone()), "{name}");
            assert_frozen(name, &hex(&bytes));
        }
        let over_base = Dialect { version: Version(2), base: Some(base()) };
        let bytes = frame.encode(&over_base);
        assert_eq!(Frame::decode(&bytes, &dictionary(), &Limits::default()), Ok(frame), "{name} over a base");
        assert_frozen(&format!("{name}_2"), &hex(&bytes));
    }
}

#[test]
fn a_frame_of_version_2_has_its_bytes_there_and_is_refused_in_version_1() {
    for (name, frame) in newer_frames() {
        let whole = frame.encode(&Dialect { version: Version(2), base: None });
        assert_eq!(Frame::decode(&whole, &dictionary(), &Limits::default()), Ok(frame.clone()), "{name}");
        let over_base = frame.encode(&Dialect { version: Version(2), base: Some(base()) });
        assert_eq!(Frame::decode(&over_base, &dictionary(), &Limits::default()), Ok(frame), "{name}");
        assert_frozen(&format!("{name}_2"), &hex(&over_base));
        assert!(over_base.len() < whole.len(), "{name}: the base spares something");
        let older = [&[1], &whole[1..]].concat();
        let refused = Frame::decode(&older, &dictionary(), &Limits::default());
        assert_eq!(refused, Err(FrameError::Kind { kind: older[1] }), "{name}");
    }
}

#[test]
fn a_frame_of_version_2_cut_anywhere_or_with_more_behind_it_is_refused() {
    for (name, frame) in newer_frames() {
        let bytes = frame.encode(&Dialect { version: Version(2), base: Some(base()) });
        for len in 0..bytes.len() {
            let cut = Frame::decode(&bytes[..len], &dictionary(), &Limits::default());
            assert!(cut.is_err(), "{name} cut at {len} of {}", bytes.len());
        }
        let longer = [&bytes[..], &[0]].concat();
        let refused = Frame::decode(&longer, &dictionary(), &Limits::default());
        assert_eq!(refused, Err(FrameError::Trailing { extra: 1 }), "{name}");
    }
}

#[test]
fn frames_of_large_answers_encode_to_their_frozen_bytes_and_decode_back() {
    for (name, frame) in large_frames() {
        let over_base = Dialect { version: Version(2), base: Some(base()) };
        let bytes = frame.encode(&over_base);
        assert_eq!(Frame::decode(&bytes, &dictionary(), &Limits::default()), Ok(frame.clone()), "{name}");
        assert_frozen(&format!("{name}_2"), &hex(&bytes));
        let mut old = bytes.clone();
        old[0] = 1;
        assert!(Frame::decode(&old, &dictionary(), &Limits::default()).is_err(), "{name} in version 1");
        for len in 0..bytes.len() {
            let cut = Frame::decode(&bytes[..len], &dictionary(), &Limits::default());
            // Without what it has staged, a pull is a pull.
            let pull = matches!(cut, Ok(Frame::Pull(_, Pull { ref have, .. })) if have.is_empty());
            assert!(cut.is_err() || pull, "{name} cut at {len}");
        }
    }
}

#[test]
fn a_difference_from_an_unknown_context_and_a_foreign_route_are_told_apart_from_garbage() {
    let (_, pull) = frames().into_iter().find(|(name, _)| *name == "pull").expect("it is in the list");
    let bytes = pull.encode(&Dialect { version: Version(2), base: Some(base()) });
    let namespace = NamespaceId::named("default");
    let without = Dictionary::default().with(namespace, (A, B), Vec::new());
    let unknown = FrameError::UnknownBase { namespace, base: base().id(), answer: false };
    assert_eq!(Frame::decode(&bytes, &without, &Limits::default()), Err(unknown));
    let foreign = Dictionary::default().with(namespace, (B, A), vec![base()]);
    assert_eq!(Frame::decode(&bytes, &foreign, &Limits::default()), Err(FrameError::UnknownRoute));
    let old = Dictionary::new(Versions { min: Version(1), max: Version(1) });
    let refused = Frame::decode(&bytes, &old, &Limits::default());
    assert!(matches!(refused, Err(FrameError::Version { version: 2, .. })), "{refused:?}");
}

#[test]
fn fingerprints_of_a_fixed_history_are_frozen() {
    let mut lab = Lab::new(4, 3, Mix::First, &Limits::default());
    (0..400).for_each(|_| lab.step());
    let lines: String = lab.replicas.iter_mut().map(|replica| fingerprints(&mut replica.store)).collect();
    assert_frozen("fingerprints", &lines);
}

fn fingerprints(store: &mut Store) -> String {
    let root: String = store.root().0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} items, root {root}, state {}\n", store.item_count(), store.state_id())
}

#[test]
fn random_fragments_read_back_as_they_were_written() {
    for seed in 0..2_000 {
        let mut lab = Lab::with_history(seed, Mix::All, 30);
        let fragment = lab.fragment(0, 1);
        let bytes =
            Frame::Give(route(), Give { head: seed, root: Fingerprint([0; 32]), fragment: fragment.clone() })
                .encode(&Dialect::default());
        match Frame::decode(&bytes, &dictionary(), &Limits::default()) {
            Ok(Frame::Give(_, give)) => assert_eq!(give.fragment, fragment),
            other => panic!("{other:?}"),
        }
    }
}

/// The rows of a small store: an overwritten and a removed field, a counter, a record, an inbound cursor.
#[test]
fn rows_of_a_fixed_history_are_frozen() {
    let mut cluster = sync_tests::Cluster::new(2, &Limits::default());
    cluster.write(0, |group| or_set::add(group, "cart/7", b"tea"));
    cluster.write(0, |group| lww_map::put(group, "prices", b"tea", b"19"));
    cluster.write(0, |group| lww_map::put(group, "prices", b"tea", b"20"));
    cluster.write(1, |group| pn_counter::add(group, "stock", -2));
    cluster.settle();
    cluster.write(0, |group| or_set::remove(group, "cart/7", b"tea"));
    cluster.write(0, |group| {
        group.expiring(WallMillis(1_750_000_999_000), |group| or_set::add(group, "online", b"ada"))
    });
    let mut lines: Vec<String> = cluster
        .node(0)
        .take_step()
        .rows
        .iter()
        .map(|row| {
            let stored = row.sealed().expect("a whole step puts rows");
            let bytes =
                [&row.key[..], &stored].map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect());
            let [key, stored]: [String; 2] = bytes;
            format!("{} {key} {stored}\n", row.table.name())
        })
        .collect();
    lines.sort();
    assert_frozen("rows", &lines.concat());
}

#[test]
fn rows_of_version_1_are_read_and_hold_what_those_of_version_2_hold() {
    let read = |name: &str| {
        let text = fs::read_to_string(vector(name)).expect("the vector is there");
        let bytes = |hex: &str| -> Vec<u8> {
            let digits = |at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex digits");
            (0..hex.len() / 2).map(digits).collect()
        };
        let mut rows = ImageRows::new(&sync_tests::config(0, 1));
        for table in Table::ALL {
            for line in text.lines().filter(|line| line.split(' ').next() == Some(table.name())) {
                let fields: Vec<&str> = line.split(' ').collect();
                rows.stored(table, &bytes(fields[1]), &bytes(fields[2])).expect("these rows are sound");
            }
        }
        let node = Node::restart(
            sync_tests::config(0, 1),
            rows.finish().expect("all rows are there"),
            Now::default(),
        );
        let names: Vec<String> = node.namespace_statuses().into_iter().map(|status| status.name).collect();
        (node.clone().state_id(sync_tests::namespace()), names)
    };
    assert_eq!(read("rows_1"), read("rows"));
}
