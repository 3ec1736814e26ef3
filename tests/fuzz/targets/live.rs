//! Frames at a node that lives: whatever a peer sends, the node does not panic, its store stays sound, and it comes
//! together with an honest peer that knew nothing of all this.
//!
//! An input is the number of a scene, one byte, and the bytes that its node 1 is sent by node 0. Scenes are clusters
//! as they stood when a frame of node 0 was under way to node 1.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use sync_core::dictionary::{Version, Versions};
use sync_core::id::Dot;
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{Config, Input, Node};
use sync_core::store::Damage;
use sync_core::time::Span;
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_tests::{Cluster, config, namespace, node_id, replica};

use super::{Run, Target};
use crate::judge::Seen;
use crate::mutate::Form;

pub(crate) const LIVE: Target = Target { name: "live", form: Form::Binary, corpus: live_corpus, begin };

/// Scenes of one kind of frame, at most.
const SCENES_EACH: usize = 5;

/// How long nodes that were disturbed may take to agree.
const HEALING: Span = Span::from_secs(60);

struct Scene {
    cluster: Cluster,
    frame: Vec<u8>,
}

fn live_corpus() -> Vec<Vec<u8>> {
    (0u8..).zip(scenes()).map(|(at, scene)| [&[at][..], &scene.frame].concat()).collect()
}

/// The frames of all scenes.
pub(crate) fn recorded() -> impl Iterator<Item = Vec<u8>> {
    scenes().iter().map(|scene| scene.frame.clone())
}

fn begin() -> Run {
    Box::new(move |input| {
        let (at, bytes) = input.split_first().unwrap_or((&0, &[]));
        let scene = &scenes()[usize::from(*at) % scenes().len()];
        let mut cluster = scene.cluster.clone();
        let dictionary = cluster.node(1).reads(node_id(0));
        let limits = cluster.node(1).limits().clone();
        let decoded = Frame::decode(bytes, &dictionary, &limits);
        cluster.events();
        cluster.deliver(0, 1, bytes);
        let answers = cluster.take(1, 0).len();
        let events: Vec<String> = cluster
            .events()
            .iter()
            .map(|(_, event)| format!("{event:?}").chars().take(14).collect())
            .collect();
        let words = match &decoded {
            Err(error) => return Seen::refused(error),
            Ok(frame) => format!("{} {answers} {}", frame.name(), events.join(" ")),
        };
        sound(&cluster, 1)?;
        comes_together(&mut cluster)?;
        Ok(Seen::read(words, answers))
    })
}

fn sound(cluster: &Cluster, node: u8) -> Result<(), String> {
    cluster.store(node).check().map_err(|reason| format!("the store of node {node} is not sound: {reason}"))
}

/// Node 1 without whoever disturbed it, and with one that knows nothing.
fn comes_together(cluster: &mut Cluster) -> Result<(), String> {
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.disconnect(a, b);
    }
    // What one sends the other must take: limits are a cluster's, not a node's.
    let limits = cluster.node(1).limits().clone();
    let next = Node::new(Config { limits, ..config(2, 0xee) }, cluster.now());
    cluster.replace(2, next);
    cluster.connect(1, 2);
    for (node, element) in [(1, b"of one"), (2, b"of two")] {
        let written = cluster.try_write(node, |group| or_set::add(group, "afterwards", element));
        written.map_err(|error| format!("node {node} takes no writes any more: {error}"))?;
    }
    cluster.advance(HEALING);
    sound(cluster, 1)?;
    sound(cluster, 2)?;
    let [one, two] = [1, 2].map(|node| cluster.node(node).state_id(namespace()));
    if one != two {
        let [one, two] = [1, 2].map(|node| {
            let store = cluster.store(node);
            format!("{:?}, horizon {}, {} items", store.context(), store.horizon().0, store.item_count())
        });
        return Err(format!("a disturbed node and an honest one do not come together: {one}; {two}"));
    }
    let holds = |node: u8, element: &[u8]| or_set::contains(cluster.store(node), "afterwards", element);
    if !(holds(1, b"of two") && holds(2, b"of one")) {
        return Err("what was written after the disturbance did not arrive".to_owned());
    }
    Ok(())
}

fn scenes() -> &'static [Scene] {
    static SCENES: OnceLock<Vec<Scene>> = OnceLock::new();
    SCENES.get_or_init(|| {
        let mut recorder = Recorder::default();
        for story in [pushes, partition, fallback, large, old, damaged, surveyed, restarted] {
            story(&mut recorder);
        }
        assert!(recorder.scenes.len() < 256, "a scene is named by a byte");
        recorder.scenes
    })
}

#[derive(Default)]
struct Recorder {
    scenes: Vec<Scene>,
    count: BTreeMap<(u8, u8), usize>,
}

impl Recorder {
    fn note(&mut self, cluster: &Cluster, frame: &[u8]) {
        let [version, kind] = [frame[0], frame[1]];
        let count = self.count.entry((version, kind)).or_default();
        if *count < SCENES_EACH {
            *count += 1;
            self.scenes.push(Scene { cluster: cluster.clone(), frame: frame.to_vec() });
        }
    }

    /// Delivers all that is under way, as long as anything is.
    fn settle(&mut self, cluster: &mut Cluster) {
        for _ in 0..2_000 {
            let mut quiet = true;
            for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                for bytes in cluster.take(from, to) {
                    quiet = false;
                    if (from, to) == (0, 1) {
                        self.note(cluster, &bytes);
                    }
                    cluster.deliver(from, to, &bytes);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the nodes do not stop talking");
    }

    /// Lets time pass in steps of `step`.
    fn pass(&mut self, cluster: &mut Cluster, step: Span, steps: usize) {
        for _ in 0..steps {
            cluster.sleep(step);
            (0..3).for_each(|node| cluster.input(node, Input::Wake));
            self.settle(cluster);
        }
    }
}

fn three(limits: &Limits) -> Cluster {
    let mut cluster = Cluster::new(3, limits);
    for element in [b"a", b"b", b"c", b"d"] {
        cluster.write(0, |group| or_set::add(group, "set", element));
        cluster.settle();
    }
    cluster.write(2, |group| pn_counter::add(group, "count", 3));
    cluster.settle();
    cluster
}

fn pushes(recorder: &mut Recorder) {
    let mut cluster = three(&Limits::default());
    cluster.write(0, |group| or_set::remove(group, "set", b"a"));
    recorder.settle(&mut cluster);
    cluster.write(1, |group| lww_map::put(group, "map", b"field", b"value"));
    recorder.settle(&mut cluster);
    let expires = sync_core::time::WallMillis(cluster.now().wall.0 + 5_000);
    cluster.write(0, |group| group.expiring(expires, |group| or_set::add(group, "brief", b"x")));
    recorder.settle(&mut cluster);
    recorder.pass(&mut cluster, Span::from_secs(2), 20);
}

fn apart(cluster: &mut Cluster) {
    cluster.disconnect(0, 1);
    cluster.disconnect(1, 2);
}

fn partition(recorder: &mut Recorder) {
    let mut cluster = three(&Limits::default());
    apart(&mut cluster);
    for at in 0..20u8 {
        cluster.write(0, |group| lww_map::put(group, "map", &[at], b"of node 0"));
        cluster.write(1, |group| lww_map::put(group, "map", &[at / 2], b"of node 1"));
    }
    cluster.write(0, |group| or_set::clear(group, "set"));
    cluster.connect(0, 1);
    recorder.settle(&mut cluster);
    recorder.pass(&mut cluster, Span::from_secs(1), 10);
}

/// Records are lost, so that answers list or sketch all live dots.
fn fallback(recorder: &mut Recorder) {
    for count in [4u16, 400] {
        let limits = Limits { records_max: 1, log_entries_max: 4, ..Limits::default() };
        let mut cluster = three(&limits);
        for at in 0..count {
            cluster.write(0, |group| or_set::add(group, "set", &at.to_be_bytes()));
            cluster.settle();
        }
        apart(&mut cluster);
        for at in 0..count {
            cluster.write(0, |group| or_set::remove(group, "set", &at.to_be_bytes()).map(drop));
            cluster.write(0, |group| or_set::add(group, "other", &at.to_be_bytes()));
        }
        cluster.connect(0, 1);
        recorder.settle(&mut cluster);
        recorder.pass(&mut cluster, Span::from_secs(6), 6);
    }
}

/// Answers that are longer than a frame.
fn large(recorder: &mut Recorder) {
    let limits = Limits { message_bytes_max: 2_000, group_bytes_max: 1_000, ..Limits::default() };
    let mut cluster = three(&limits);
    apart(&mut cluster);
    for at in 0..60u8 {
        cluster.write(0, |group| lww_map::put(group, "map", &[at], &[at; 60]));
    }
    cluster.write(1, |group| or_set::remove(group, "set", b"b"));
    cluster.connect(0, 1);
    recorder.settle(&mut cluster);
    recorder.pass(&mut cluster, Span::from_secs(6), 4);
}

/// Nodes of version 1, the second one with an answer in parts.
fn old(recorder: &mut Recorder) {
    let configs = (0..3).map(|index| {
        let mut config = config(index, 0);
        config.versions = Versions { min: Version(1), max: Version(1) };
        config.limits = Limits { message_bytes_max: 2_000, group_bytes_max: 1_000, ..Limits::default() };
        config
    });
    let mut cluster = Cluster::apart(configs);
    for at in 0..60u8 {
        cluster.write(0, |group| lww_map::put(group, "map", &[at], &[at; 60]));
    }
    cluster.connect(0, 1);
    recorder.settle(&mut cluster);
    cluster.write(0, |group| or_set::add(group, "set", b"x"));
    recorder.settle(&mut cluster);
    recorder.pass(&mut cluster, Span::from_secs(6), 8);
}

/// Node 0 is damaged, and asks node 1 where they differ, and is asked.
fn damaged(recorder: &mut Recorder) {
    for lost in [1, 40] {
        let mut cluster = three(&Limits::default());
        for at in 0..80u8 {
            cluster.write(0, |group| lww_map::put(group, "map", &[at], b"value"));
            cluster.settle();
        }
        for seq in 5..5 + lost {
            cluster.node(0).damage(namespace(), Damage::LoseItem(Dot::new(replica(0, 0), seq)));
        }
        cluster.input(1, Input::SyncNow);
        cluster.input(0, Input::SyncNow);
        recorder.settle(&mut cluster);
        for _ in 0..4 {
            cluster.input(0, Input::SyncNow);
            recorder.pass(&mut cluster, Span::from_secs(30), 30);
        }
    }
}

fn surveyed(recorder: &mut Recorder) {
    let mut cluster = three(&Limits::default());
    apart(&mut cluster);
    cluster.connect(0, 1);
    let now = cluster.now();
    for node in [0, 1] {
        cluster.write(node, |group| or_set::add(group, "set", b"more"));
        cluster.node(node).survey_begin(now, namespace(), true).expect("it is open");
        cluster.input(node, Input::Wake);
    }
    recorder.settle(&mut cluster);
}

/// Another life, which has to introduce itself.
fn restarted(recorder: &mut Recorder) {
    let mut cluster = three(&Limits::default());
    let next = Node::restart(config(0, 7), cluster.node(0).image(), cluster.now());
    cluster.replace(0, next);
    recorder.settle(&mut cluster);
    cluster.write(0, |group| or_set::add(group, "set", b"of the next life"));
    recorder.settle(&mut cluster);
    recorder.pass(&mut cluster, Span::from_secs(1), 5);
}
