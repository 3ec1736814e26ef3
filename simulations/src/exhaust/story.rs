//! Tells how a violation comes about: the moves from the start, in words.

use sync_core::message::Frame;

use super::local::{Letter, Step};
use super::scope::column;
use super::search::Search;
use super::state::{Move, State};

/// The moves along `path`, one line each.
///
/// A state carries the frames of every execution that leads to its nodes and history, so a path may
/// deliver a frame that was sent along another one. Such a line says so: if there is one, the violation is
/// to be confirmed by a run of the simulator before anybody believes it.
pub(super) fn tell(search: &mut Search, path: &[Move]) -> Vec<String> {
    let Ok(mut state) = search.start() else { return vec!["the nodes do not even meet".to_owned()] };
    let mut story = Vec::new();
    for made in path {
        story.push(describe(*made, &state, search));
        let Search { scope, locals, histories, .. } = &mut *search;
        match state.after(*made, scope, locals, &mut |history, op| histories.with(history, op)) {
            Ok(Some(after)) => state = after.state(&state),
            Ok(None) | Err(_) => break,
        }
    }
    story
}

fn describe(made: Move, state: &State, search: &Search) -> String {
    let Search { scope, locals, .. } = search;
    match made {
        Move::Crash(node) => format!("node {node} crashes and restarts on its disk; all its links are new"),
        Move::Cut(one, other) => format!("the link between nodes {one} and {other} breaks"),
        Move::Link(one, other) => format!("the link between nodes {one} and {other} stands again"),
        Move::One(node, step) => match step {
            Step::Receive(letter) => {
                let elsewhere =
                    if state.frames.contains(&letter) { "" } else { " (sent in another execution)" };
                let Letter { from, frame, .. } = &locals.letters[usize::from(letter)];
                format!("node {node} receives from node {from}: {}{elsewhere}", in_words(frame))
            }
            Step::Write(choice) => {
                let facts = locals.facts(state.nodes[usize::from(node)]);
                let (node, life) = (usize::from(node), usize::from(facts.life));
                let seq = u64::from(facts.known[column(node, life)]) + 1;
                format!("node {node} writes: {:?}", scope.act(choice, node, life, seq))
            }
            Step::Wake => format!("node {node} is woken after its write"),
            Step::Tick => format!("every period of node {node} passes"),
            Step::Wedge => format!("the disk of node {node} stops: what comes now will be lost"),
            Step::Collect => format!("node {node} ends its stale floors"),
            Step::Crash | Step::Relinked(_) | Step::Cut(_) | Step::Linked(_) => {
                format!("node {node}: {step:?}")
            }
        },
    }
}

fn in_words(frame: &Frame) -> String {
    match frame {
        Frame::Push(_, push) => format!("Push {}..{} of {:?}", push.lo, push.hi, push.fragment.dots),
        Frame::Ack(_, ack) => format!("Ack up to {:?}, knows {:?}", ack.hi, ack.known),
        Frame::Pull(_, pull) => format!("Pull, knows {:?}", pull.context),
        Frame::Give(_, give) => format!("Give up to {} of {:?}", give.head, give.fragment.dots),
        Frame::Skeleton(_, skeleton) => {
            format!("Skeleton up to {} of {:?}", skeleton.head, skeleton.fragment.dots)
        }
        Frame::Payloads(_, payloads) => format!("Payloads of {} items", payloads.item_count()),
        Frame::Open(_, open) => format!("Open, knows {:?}", open.context),
        Frame::Hello(_)
        | Frame::Root(..)
        | Frame::Part(..)
        | Frame::More(..)
        | Frame::Symbols(..)
        | Frame::Nodes(..)
        | Frame::NodesFound(..)
        | Frame::Inspect(..)
        | Frame::Inspected(..)
        | Frame::Survey(..)
        | Frame::Quote(..) => frame.name().to_owned(),
    }
}
