//! What a cold start costs: time of both sides and peak memory, JSON, one line a size.
//!
//! `cargo bench -p sync-core --bench large -- [maps|keys|set] [entries]`: fields of 100 maps, sets of one element, or
//! elements of one set. Without a number, 10,000, 100,000 and 1,000,000. Memory is the process's resident set, so a shape
//! and a size for itself give the cleanest figures.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a bench measures wall time")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sync_core::class::Class;
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Config, DEFAULT_NAMESPACE, Input, Node, Output};
use sync_core::store::Group;
use sync_core::time::{Now, Timestamp, WallMillis};
use sync_core::types::{lww_map, or_set};

/// How the entries are spread over CRDTs.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Maps,
    Keys,
    Set,
}

impl Shape {
    fn write(self, group: &mut Group<'_>, index: u32) {
        let (key, field, value) = entry(index);
        let written = match self {
            Self::Maps => lww_map::put(group, &key, &field, &value),
            Self::Keys => or_set::add(group, &format!("set/{index:010}"), &value),
            Self::Set => or_set::add(group, "s", &value),
        };
        written.expect("there is room");
    }
}

fn main() {
    let shapes = std::env::args().filter_map(|arg| match arg.as_str() {
        "maps" => Some(Shape::Maps),
        "keys" => Some(Shape::Keys),
        "set" => Some(Shape::Set),
        _ => None,
    });
    let shapes: Vec<Shape> = shapes.collect();
    let shapes = if shapes.is_empty() { vec![Shape::Maps] } else { shapes };
    let sizes: Vec<u32> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes };
    for shape in shapes {
        sizes.iter().for_each(|entries| cold_start(shape, *entries));
    }
}

fn now() -> Now {
    Now::at(Timestamp::ZERO, WallMillis(1_750_000_000_000))
}

fn node(index: u8) -> Node {
    let id = [index; 16];
    let mut config = Config::new(NodeId([index; 32]), ReplicaId(id), OwnerId(id), [index; 32]);
    config.limits = Limits::default().with_room(4_000_000, 1 << 30);
    Node::new(config, now())
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

fn entry(index: u32) -> (String, [u8; 8], [u8; 16]) {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    (format!("map/{}", index % 100), u64::from(index).to_be_bytes(), value)
}

/// Time spent and frames seen in the node of one index.
#[derive(Default)]
struct Side {
    handling: Duration,
    decoding: Duration,
}

fn cold_start(shape: Shape, entries: u32) {
    let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
    let base = resident();
    let mut nodes = [node(1), node(2)];
    let filling = Instant::now();
    for index in 0..entries {
        let written = nodes[0].write(now(), namespace, |group| {
            shape.write(group, index);
            Ok(())
        });
        written.expect("there is room");
    }
    let (filling, rooting) = (filling.elapsed(), Instant::now());
    nodes[0].root(namespace);
    let rooting = rooting.elapsed();
    let state = resident() - base;
    let (mut wire, mut sides): (VecDeque<(usize, Vec<u8>)>, [Side; 2]) = Default::default();
    let (mut peak, mut bytes_sent, mut frames) = (0, 0, 0u32);
    let started = Instant::now();
    for at in [0, 1] {
        let peer = nodes[1 - at].id();
        step(&mut nodes[at], at, Input::Connected { peer }, &mut wire, &mut sides[at]);
    }
    while let Some((from, bytes)) = wire.pop_front() {
        let (to, len) = (1 - from, bytes.len());
        (bytes_sent, frames) = (bytes_sent + len, frames + 1);
        let [sender, receiver] = [nodes[from].id(), nodes[to].id()];
        let decoding = Instant::now();
        let frame =
            Frame::decode(&bytes, &nodes[to].reads(sender), nodes[to].limits()).expect("nodes send frames");
        drop(bytes);
        sides[to].decoding += decoding.elapsed();
        step(
            &mut nodes[from],
            from,
            Input::Written { peer: receiver, class: Class::Normal, frames: 1, bytes: len },
            &mut wire,
            &mut sides[from],
        );
        step(&mut nodes[to], to, Input::Received { peer: sender, frame, len }, &mut wire, &mut sides[to]);
        peak = peak.max(resident());
    }
    let total = started.elapsed();
    assert_eq!(nodes[0].state_id(namespace), nodes[1].state_id(namespace));
    let both = resident() - base;
    println!(
        concat!(
            r#"{{"shape":"{:?}","entries":{},"fill_ms":{},"root_ms":{},"cold_start_ms":{},"giver_ms":{},"taker_ms":{},"decode_ms":{},"#,
            r#""plain_ms":{},"frames":{},"bytes":{},"state_mb":{},"both_mb":{},"peak_mb":{}}}"#
        ),
        shape,
        entries,
        filling.as_millis(),
        rooting.as_millis(),
        total.as_millis(),
        sides[0].handling.as_millis(),
        sides[1].handling.as_millis(),
        sides[1].decoding.as_millis(),
        plain(entries).as_millis(),
        frames,
        bytes_sent,
        state >> 20,
        both >> 20,
        (peak - base) >> 20,
    );
}

fn step(node: &mut Node, at: usize, input: Input, wire: &mut VecDeque<(usize, Vec<u8>)>, side: &mut Side) {
    let handling = Instant::now();
    node.handle(now(), input);
    while let Some(output) = node.poll_output() {
        if let Output::Send { bytes, .. } = output {
            wire.push_back((at, bytes));
        }
    }
    side.handling += handling.elapsed();
}

/// The same entries from a sorted map into buffers of 64 KiB and out of them into another sorted map.
fn plain(entries: u32) -> Duration {
    let mut from = BTreeMap::new();
    for index in 0..entries {
        let (key, field, value) = entry(index);
        from.insert((key, field.to_vec()), value.to_vec());
    }
    let started = Instant::now();
    let mut to: BTreeMap<(String, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let mut buffer: Vec<u8> = Vec::new();
    for ((key, field), value) in &from {
        for part in [key.as_bytes(), field, value] {
            buffer.push(u8::try_from(part.len()).expect("they are short"));
            buffer.extend_from_slice(part);
        }
        if buffer.len() >= 64 << 10 {
            take_in(&mut buffer, &mut to);
        }
    }
    take_in(&mut buffer, &mut to);
    assert_eq!(to.len(), from.len());
    started.elapsed()
}

fn take_in(buffer: &mut Vec<u8>, to: &mut BTreeMap<(String, Vec<u8>), Vec<u8>>) {
    let mut rest = buffer.as_slice();
    let mut part = || {
        let (part, behind) = rest[1..].split_at(usize::from(rest[0]));
        rest = behind;
        (part.to_vec(), behind.is_empty())
    };
    loop {
        let (key, field, (value, last)) = (part().0, part().0, part());
        to.insert((String::from_utf8(key).expect("keys are text"), field), value);
        if last {
            break;
        }
    }
    buffer.clear();
}
