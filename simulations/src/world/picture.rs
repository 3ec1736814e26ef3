//! The run's timeline, kept only when a picture is wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, World};
use crate::checkers::Origin;
use crate::timeline::{Cut, CutKind, Lane, Life, Mark, MarkKind, RunTimeline, Sample};

/// Readings of a run.
const SAMPLES: u64 = 1_000;

impl World {
    /// Keeps a timeline, for [`crate::run::Outcome::timeline`].
    #[must_use]
    pub fn with_timeline(mut self) -> Self {
        let command = format!("run {} --seed {}", self.scenario.name, self.scenario.seed);
        self.timeline = Some(RunTimeline {
            title: format!("{}, seed {}", self.scenario.name, self.scenario.seed),
            command: format!("cargo run --release -p simulations -- {command}"),
            lanes: (0..self.machines.len())
                .map(|n| Lane { label: format!("n{n}"), ..Lane::default() })
                .collect(),
            ..RunTimeline::default()
        });
        self.queue.push(0, Event::Sample);
        self
    }

    /// Takes the timeline, its ends closed.
    pub(crate) fn take_timeline(&mut self) -> Option<RunTimeline> {
        let mut timeline = self.timeline.take()?;
        let end = self.at;
        timeline.end = end;
        timeline.cuts.iter_mut().for_each(|cut| cut.until = cut.until.min(end));
        for lane in &mut timeline.lanes {
            lane.lives.iter_mut().for_each(|life| life.until = life.until.min(end));
            lane.pauses.iter_mut().for_each(|(_, until)| *until = (*until).min(end));
        }
        Some(timeline)
    }

    fn lane(&mut self, at: usize) -> Option<&mut Lane> {
        self.timeline.as_mut().map(|timeline| &mut timeline.lanes[at])
    }

    pub(crate) fn picture_started(&mut self, at: usize, origin: Origin) {
        let now = self.at;
        let Some(lane) = self.lane(at) else { return };
        let first = lane.lives.is_empty();
        lane.lives.push(Life { from: now, until: u64::MAX });
        let kind = if origin == Origin::Backup { MarkKind::Restore } else { MarkKind::Restart };
        if !first {
            lane.marks.push(Mark { at: now, kind });
        }
    }

    pub(crate) fn picture_ended(&mut self, at: usize) {
        let now = self.at;
        if let Some(life) = self.lane(at).and_then(|lane| lane.lives.last_mut()) {
            life.until = life.until.min(now);
        }
        self.picture_resumed(at);
    }

    pub(crate) fn picture_paused(&mut self, at: usize) {
        let now = self.at;
        if let Some(lane) = self.lane(at) {
            lane.pauses.push((now, u64::MAX));
        }
    }

    pub(crate) fn picture_resumed(&mut self, at: usize) {
        let now = self.at;
        if let Some((_, until)) = self.lane(at).and_then(|lane| lane.pauses.last_mut()) {
            *until = (*until).min(now);
        }
    }

    pub(crate) fn picture_mark(&mut self, at: usize, kind: MarkKind) {
        let now = self.at;
        if let Some(lane) = self.lane(at) {
            lane.marks.push(Mark { at: now, kind });
        }
    }

    pub(crate) fn picture_wrote(&mut self, at: usize) {
        let now = self.at;
        if let Some(lane) = self.lane(at) {
            lane.writes.push(now);
        }
    }

    pub(crate) fn picture_cut(&mut self, kind: CutKind, sides: Vec<Vec<usize>>, for_ms: u64) {
        let from = self.at;
        if let Some(timeline) = &mut self.timeline {
            timeline.cuts.push(Cut { from, until: from + for_ms * 1_000, kind, sides });
        }
    }

    pub(crate) fn picture_healed(&mut self) {
        let at = self.at;
        if let Some(timeline) = &mut self.timeline {
            timeline.healed_at = Some(at);
            timeline.cuts.iter_mut().for_each(|cut| cut.until = cut.until.min(at));
        }
    }

    pub(crate) fn picture_converged(&mut self, at: u64) {
        if let Some(timeline) = &mut self.timeline {
            timeline.converged_at = Some(at);
        }
    }

    /// Takes a reading, and orders the next one.
    pub(crate) fn sample(&mut self) {
        if self.timeline.is_none() {
            return;
        }
        let (roots, keys_differing) = self.divergence();
        let total = self.net.counts.bytes;
        let nodes = self.machines.iter().filter_map(|machine| machine.node.as_ref());
        let peers = nodes.flat_map(|node| node.peers(self.namespace));
        let (queued, queued_bytes) = peers.fold((0, 0), |(frames, bytes), peer| {
            (frames.max(peer.queued_frames as u64), bytes.max(peer.queued_bytes as u64))
        });
        let at = self.at;
        let Some(timeline) = &mut self.timeline else { return };
        let before: u64 = timeline.samples.iter().map(|sample| sample.bytes).sum();
        timeline.samples.push(Sample {
            at,
            roots,
            keys_differing,
            bytes: total - before,
            queued,
            queued_bytes,
        });
        let step = (self.scenario.run_ms * 1_000 / SAMPLES).max(1_000);
        self.queue.push(at + step, Event::Sample);
    }

    /// Distinct states among the nodes that are up, and the keys on which two of them differ.
    fn divergence(&mut self) -> (u64, u64) {
        let namespace = self.namespace;
        let nodes = self.machines.iter_mut().filter_map(|machine| machine.node.as_mut());
        let roots: BTreeSet<_> = nodes.map(|node| node.state_id(namespace)).collect();
        if roots.len() <= 1 {
            return (roots.len() as u64, 0);
        }
        let nodes = self.machines.iter().filter_map(|machine| machine.node.as_ref());
        let mut keys: BTreeMap<String, BTreeSet<Vec<sync_core::id::Dot>>> = BTreeMap::new();
        let mut up = 0;
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        for node in nodes {
            up += 1;
            let Some(store) = node.store(namespace) else { continue };
            for info in store.objects("") {
                let name = format!("{}/{:?}", info.object.key.as_str(), info.object.ty);
                let items =
                    store.cells(info.object.key.as_str(), info.object.ty).flat_map(|(_, items)| items);
                keys.entry(name.clone()).or_default().insert(items.map(|item| item.dot).collect());
                *held.entry(name).or_default() += 1;
            }
        }
        let differ = keys.iter().filter(|(name, states)| states.len() > 1 || held[*name] < up).count();
        (roots.len() as u64, differ as u64)
    }
}
