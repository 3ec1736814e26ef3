//! How many small deltas one link can join in a second.
//!
//! Two core nodes, wired directly; A adds one element to a set in each write and B takes in the frames.
//! The time is B's alone: decode, join, answer. `one a push` wakes A after each write; `packed` after each
//! 64, as a busy driver does.

use std::time::Duration;

use sync_core::message::Frame;
use sync_core::node::{Input, Node, Output};
use sync_core::time::{Now, Timestamp, WallMillis};
use sync_core::types::or_set;

use super::Settings;
use crate::measure::thread_cpu;
use crate::pair::{Pair, namespace};
use crate::report::{Report, Row};

const WALL_START: WallMillis = WallMillis(1_750_000_000_000);

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let (deltas, runs) = if settings.quick { (50_000, 3) } else { (200_000, 5) };
    for (name, batch) in [("one a push", 1), ("packed, 64 a push", 64)] {
        let mut rates: Vec<f64> = (0..runs).map(|_| Wire::new().rate(deltas, batch)).collect();
        rates.sort_by(f64::total_cmp);
        let row = Row::new(format!("joins/{name}"), rates[rates.len() / 2], "deltas/s of B's CPU");
        report.add(row.at_least(500_000.0));
    }
    report.table("joins: small deltas joined by one link");
}

struct Wire {
    nodes: [Node; 2],
    now: Timestamp,
    /// What B's part took.
    joining: Duration,
}

impl Wire {
    /// Two nodes that know each other.
    fn new() -> Self {
        let mut wire =
            Self { nodes: [Pair::fresh(0), Pair::fresh(1)], now: Timestamp::ZERO, joining: Duration::ZERO };
        let ids = [wire.nodes[1].id(), wire.nodes[0].id()];
        let mut frames = [Vec::new(), Vec::new()];
        for side in 0..2 {
            frames[side] = wire.input(side, Input::Connected { peer: ids[side] });
        }
        wire.settle(frames);
        wire
    }

    fn rate(mut self, deltas: u32, batch: u32) -> f64 {
        self.joining = Duration::ZERO;
        for at in 0..deltas {
            let now = self.at();
            let add =
                self.nodes[0].write(now, namespace(), |group| or_set::add(group, "s", &at.to_le_bytes()));
            add.expect("the limits leave room");
            if (at + 1) % batch == 0 {
                self.now = Timestamp::from_micros(self.now.as_micros() + 1);
                let frames = self.input(0, Input::Wake);
                self.settle([frames, Vec::new()]);
            }
        }
        // Acknowledgements may be held back, and with them the last pushes.
        for _ in 0..100 {
            if or_set::len(self.nodes[1].store(namespace()).expect("open"), "s") == u64::from(deltas) {
                break;
            }
            self.now = Timestamp::from_micros(self.now.as_micros() + 100_000);
            let frames = [self.input(0, Input::Wake), self.input(1, Input::Wake)];
            self.settle(frames);
        }
        assert_eq!(or_set::len(self.nodes[1].store(namespace()).expect("open"), "s"), u64::from(deltas));
        assert_eq!(self.nodes[1].stats().sessions, 0, "every delta came by a push");
        f64::from(deltas) / self.joining.as_secs_f64()
    }

    /// Carries frames to and fro until there are none.
    fn settle(&mut self, mut frames: [Vec<Vec<u8>>; 2]) {
        while !frames.iter().all(Vec::is_empty) {
            let [from_a, from_b] = std::mem::take(&mut frames);
            let begun = thread_cpu();
            for bytes in from_a {
                frames[1].extend(self.deliver(1, &bytes));
            }
            self.joining += thread_cpu() - begun;
            for bytes in from_b {
                frames[0].extend(self.deliver(0, &bytes));
            }
        }
    }

    fn deliver(&mut self, side: usize, bytes: &[u8]) -> Vec<Vec<u8>> {
        let peer = self.nodes[1 - side].id();
        let dictionary = self.nodes[side].reads(peer);
        let frame = Frame::decode(bytes, &dictionary, self.nodes[side].limits()).expect("nodes send frames");
        self.input(side, Input::Received { peer, frame, len: bytes.len() })
    }

    fn input(&mut self, side: usize, input: Input) -> Vec<Vec<u8>> {
        let now = self.at();
        let node = &mut self.nodes[side];
        node.handle(now, input);
        let mut frames = Vec::new();
        while let Some(output) = node.poll_output() {
            match output {
                Output::Send { to, class, bytes } => {
                    node.handle(now, Input::Written { peer: to, class, frames: 1, bytes: bytes.len() });
                    frames.push(bytes);
                }
                Output::Persist { n } => node.handle(now, Input::Persisted { n }),
                Output::Disconnect { reason, .. } => panic!("the nodes part: {reason}"),
                Output::Dial { .. } | Output::Event(_) => {}
            }
        }
        frames
    }

    fn at(&self) -> Now {
        Now::at(self.now, WALL_START)
    }
}
