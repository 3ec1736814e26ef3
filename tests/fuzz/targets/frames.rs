//! Frames as peers send them: every kind, in both versions, over a base or none.
//!
//! What is read is written again: it must come to the same bytes, or to fewer where a frame names a replica or a base
//! that it does not use. Either way it must read back as the same frame.

use std::sync::Arc;

use sync_core::causal::{CausalContext, DotSet};
use sync_core::dictionary::{Base, Dictionary, Version};
use sync_core::error::FrameError;
use sync_core::fragment::{Claims, Fragment};
use sync_core::id::{Dot, NamespaceId, ReplicaId, StateHalf};
use sync_core::limits::Limits;
use sync_core::merkle::Fingerprint;
use sync_core::message::{
    Ack, Dialect, Frame, FrameKind, Give, Open, Payloads, Pull, Push, Quote, Route, Skeleton, Survey,
};
use sync_core::store::Load;
use sync_core::time::WallMillis;
use sync_tests::lab::{Lab, Mix};

use super::{Run, Target, live};
use crate::corpus;
use crate::judge::{Seen, measured};
use crate::mutate::Form;

/// The two ends of the golden vectors.
const A: ReplicaId = ReplicaId([0xa1; 16]);
const B: ReplicaId = ReplicaId([0xb2; 16]);
const C: ReplicaId = ReplicaId([0xc3; 16]);

/// What a decoded frame may take, as a multiple of the longest that may be sent, whatever it says:
/// [`Limits::decode_bytes_max`]. Each input is read as if frames could be no longer than it is.
const HEAP_FACTOR: u64 = 3;

const fn target(name: &'static str, corpus: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, form: Form::Binary, corpus, begin }
}

pub(crate) const FRAME: Target = target("frame", || of_kinds(&FrameKind::ALL));
pub(crate) const HELLO: Target = target("hello", || of_kinds(&[FrameKind::Hello]));
pub(crate) const ROUND: Target = target("round", || of_kinds(&[FrameKind::Root, FrameKind::Open]));
pub(crate) const CONTEXT: Target = target("context", || of_kinds(&[FrameKind::Ack, FrameKind::Pull]));
pub(crate) const PUSH: Target = target("push", || of_kinds(&[FrameKind::Push]));
pub(crate) const GIVE: Target = target("give", || of_kinds(&[FrameKind::Give, FrameKind::Part]));
pub(crate) const SKELETON: Target = target("skeleton", || of_kinds(&[FrameKind::Skeleton]));
pub(crate) const PAYLOADS: Target = target("payloads", || of_kinds(&[FrameKind::Payloads]));
pub(crate) const SKETCH: Target = target("sketch", || of_kinds(&[FrameKind::More, FrameKind::Symbols]));
pub(crate) const SURVEY: Target = target("survey", || of_kinds(&[FrameKind::Survey, FrameKind::Quote]));
pub(crate) const DESCENT: Target = target("descent", || of_kinds(&[FrameKind::Nodes, FrameKind::NodesFound]));
pub(crate) const INSPECT: Target =
    target("inspect", || of_kinds(&[FrameKind::Inspect, FrameKind::Inspected]));

fn route() -> Route {
    Route { namespace: NamespaceId::named("default"), from: A, to: B, known: 300 }
}

fn base() -> Arc<Base> {
    Arc::new(Base::of(&CausalContext::from_iter([(A, 2), (B, 299), (C, 1 << 40)])))
}

fn dictionary() -> Dictionary {
    Dictionary::default().with(route().namespace, (A, B), vec![base()])
}

fn begin() -> Run {
    let (dictionary, limits, base) = (dictionary(), Limits::default(), base());
    Box::new(move |input| {
        let longest = limits.message_bytes_max.min(input.len());
        let tight = Limits { message_bytes_max: longest, ..limits.clone() };
        let (bounded, heap) = measured(HEAP_FACTOR, || Frame::decode(input, &dictionary, &tight));
        let decoded = Frame::decode(input, &dictionary, &limits);
        match (&bounded, &decoded) {
            (Err(FrameError::Memory { bytes, max, .. }), _) if bytes > max => {}
            // A pull says less of what it has in shorter frames.
            (Err(FrameError::Count { field: "have", .. }), Ok(Frame::Pull(..))) | (Err(_), Err(_)) => {}
            (Ok(one), Ok(other)) if one == other => {}
            (one, other) => return Err(format!("read as {other:?}, and with less memory as {one:?}")),
        }
        let frame = match decoded {
            Ok(frame) => frame,
            Err(error) => return Ok(Seen::refused(&error)?.with(heap)),
        };
        let version = Version(input[0]);
        let again = [None, Some(Arc::clone(&base))]
            .map(|base| frame.encode(&Dialect { version, base }))
            .into_iter()
            .find(|bytes| bytes == input);
        // Who names what it does not use is read, and says the same in fewer bytes.
        let again = again.unwrap_or_else(|| frame.encode(&Dialect { version, base: None }));
        match Frame::decode(&again, &dictionary, &limits) {
            Ok(same) if same == frame => {}
            other => return Err(format!("{} is written as what reads as {other:?}", frame.name())),
        }
        Ok(Seen::read(shape(&frame), size(&frame)).with(heap))
    })
}

/// What a frame is, for telling one from another.
fn shape(frame: &Frame) -> String {
    let fragment = match frame {
        Frame::Push(_, Push { fragment, .. }) | Frame::Give(_, Give { fragment, .. }) => fragment,
        Frame::Skeleton(_, skeleton) => &skeleton.fragment,
        Frame::Inspect(_, inspect) => &inspect.fragment,
        Frame::Inspected(_, inspected) => &inspected.fragment,
        Frame::Hello(_)
        | Frame::Root(..)
        | Frame::Ack(..)
        | Frame::Pull(..)
        | Frame::Part(..)
        | Frame::Survey(..)
        | Frame::Quote(..)
        | Frame::Payloads(..)
        | Frame::More(..)
        | Frame::Symbols(..)
        | Frame::Nodes(..)
        | Frame::NodesFound(..)
        | Frame::Open(..) => return frame.name().to_owned(),
    };
    let claims = match &fragment.claims {
        Claims::None => "",
        Claims::Cells { .. } => "cells",
        Claims::Whole { .. } => "whole",
        Claims::Sketch { .. } => "sketch",
    };
    let few = |count: usize| "x".repeat(count.min(3));
    let [cells, records, floors] =
        [fragment.cells.len(), fragment.records.len(), fragment.floors.len()].map(few);
    format!("{} {claims} {cells}-{records}-{floors}", frame.name())
}

fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Push(_, push) => push.fragment.item_count(),
        Frame::Give(_, give) => give.fragment.item_count(),
        Frame::Payloads(_, payloads) => payloads.item_count(),
        Frame::Ack(_, ack) => ack.known.len(),
        Frame::Pull(_, pull) => pull.context.len(),
        Frame::Open(_, open) => open.context.len(),
        Frame::Survey(_, survey) => survey.context.len(),
        Frame::Quote(_, quote) => quote.context.len(),
        Frame::Skeleton(_, skeleton) => skeleton.live.intervals().count(),
        Frame::Symbols(_, symbols) => symbols.symbols.len(),
        Frame::Nodes(_, question) => question.probes.len(),
        Frame::NodesFound(_, answer) => answer.parts.len(),
        Frame::Inspect(_, inspect) => inspect.addresses.len(),
        Frame::Inspected(_, inspected) => inspected.killed.intervals().count(),
        Frame::Hello(_) | Frame::Root(..) | Frame::Part(..) | Frame::More(..) => 0,
    }
}

/// Golden vectors, made frames and recorded ones of these kinds.
fn of_kinds(kinds: &[FrameKind]) -> Vec<Vec<u8>> {
    let mut all = corpus::vectors("");
    for frame in made() {
        all.push(frame.encode(&Dialect { version: Version(2), base: None }));
        all.push(frame.encode(&Dialect { version: Version(2), base: Some(base()) }));
        all.push(frame.encode(&Dialect { version: Version(1), base: None }));
    }
    // Recorded between other ends: with the route of these their bodies can be read.
    let tag =
        Frame::Ack(route(), Ack { hi: None, known: CausalContext::default() }).encode(&Dialect::default());
    all.extend(live::recorded().map(|mut bytes| {
        if bytes.len() > 10 && bytes[1] != 1 {
            bytes[2..10].copy_from_slice(&tag[2..10]);
        }
        bytes
    }));
    let is_asked = |bytes: &Vec<u8>| {
        bytes.len() > 1 && kinds.iter().any(|kind| *kind as u8 + 1 == bytes[1]) && bytes[0] <= 2
    };
    all.retain(is_asked);
    all.sort();
    all.dedup();
    all
}

/// Frames of random stores, of every kind that carries contexts, dots or items.
fn made() -> Vec<Frame> {
    let mut frames = Vec::new();
    for seed in 0..24u64 {
        let mut lab = Lab::with_history(seed, Mix::All, 60);
        let fragment = lab.fragment(0, 1);
        let [ours, theirs] = [0, 1].map(|at| lab.replicas[at].store.context().clone());
        let (root, horizon) = (Fingerprint([7; 32]), WallMillis(seed));
        frames.push(Frame::Give(route(), Give { head: seed, root, fragment: fragment.clone() }));
        let pushed = lab.replicas[0].store.push_fragment(ours.minus(&theirs));
        frames.push(Frame::Push(route(), Push { lo: seed, hi: 2 * seed + 1, fragment: pushed }));
        frames.push(Frame::Ack(route(), Ack { hi: Some(seed), known: ours.clone() }));
        let have = theirs.minus(&ours);
        frames.push(Frame::Pull(
            route(),
            Pull { context: theirs.clone(), horizon, listing: seed % 2 == 0, have },
        ));
        frames.push(Frame::Survey(route(), Survey { number: seed, counts: true, context: ours.clone() }));
        let load = Some(Load { events: 9, objects: 3, items: seed, bytes: 70, is_partial: seed % 3 == 0 });
        let quote = Quote { number: seed, root, horizon, links: 2, load, context: ours.clone() };
        frames.push(Frame::Quote(route(), Box::new(quote)));
        let open = Open {
            state: StateHalf([9; 16]),
            head: seed,
            horizon,
            behind: false,
            neighbour: true,
            context: theirs.clone(),
        };
        frames.push(Frame::Open(route(), Box::new(open)));
        frames.extend(large(seed, root, fragment));
    }
    frames
}

/// The same answer as a large one: its outline, and its items.
fn large(answer: u64, root: Fingerprint, fragment: Fragment) -> Vec<Frame> {
    let mut items: Vec<_> = fragment
        .cells
        .iter()
        .flat_map(|part| part.items.iter().map(|item| (part.cell.clone(), item.clone())))
        .collect();
    items.sort_by_key(|(_, item)| item.dot);
    let live: DotSet = items.iter().map(|(_, item)| item.dot).collect::<Vec<Dot>>().into_iter().collect();
    let mut outline = fragment;
    outline.cells.iter_mut().for_each(|part| part.items.clear());
    outline.cells.retain(|part| !part.others.is_empty());
    let skeleton = Skeleton { answer, head: 3, root, live, fragment: outline };
    let payloads = Payloads { answer, gone: false, items };
    vec![Frame::Skeleton(route(), Box::new(skeleton)), Frame::Payloads(route(), payloads)]
}
