//! Lanes: namespaces beside the one whose application is judged in full.
//!
//! The application of a scenario lives in one namespace, and every checker looks at that. Beside it stand *side lanes*,
//! of other classes on the same links, disks and nodes: each turn may add an element to one, open it or close it. They
//! have an oracle of their own, simple enough to be told in a line: after the heal all nodes hold what some node that
//! runs held then, nothing that was never added, and one state.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use sync_core::dictionary::Dictionary;
use sync_core::id::NamespaceId;
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::node::{NamespaceConfig, Node};
use sync_core::store::Store;
use sync_core::time::Now;
use sync_core::types::or_set;

use super::trace::Mark;
use super::{Event, World};
use crate::random::fork;
use crate::scenario::Scenario;

/// The key under which a side lane has its elements.
const KEY: &str = "chatter";

/// The name of the namespace of the application, where it is not the default one.
const MAIN: &str = "main";

/// What is known of the side lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Every element that was ever added, by lane.
    added: Vec<BTreeSet<Vec<u8>>>,
    /// What nodes that ran at the heal held then, by lane.
    safe: Vec<BTreeSet<Vec<u8>>>,
    /// Lanes that a node keeps closed, until the heal.
    closed: BTreeMap<usize, BTreeSet<usize>>,
}

impl Lanes {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let none = vec![BTreeSet::new(); scenario.lanes.side.len()];
        Self { added: none.clone(), safe: none, closed: BTreeMap::new() }
    }
}

fn name(lane: usize) -> String {
    format!("side {lane}")
}

fn id(lane: usize) -> NamespaceId {
    NamespaceId::named(&name(lane))
}

fn elements(store: &Store) -> BTreeSet<Vec<u8>> {
    or_set::elements(store, KEY).map(|element| element.to_vec()).collect()
}

impl World {
    /// The namespace of the application.
    pub(crate) fn namespace_of(scenario: &Scenario) -> NamespaceId {
        let name = if scenario.lanes.main.is_some() { MAIN } else { sync_core::node::DEFAULT_NAMESPACE };
        NamespaceId::named(name)
    }

    /// True if a frame is of the namespace of the application, or of all.
    pub(super) fn is_of_application(&self, bytes: &[u8], dictionary: &Dictionary) -> bool {
        if self.scenario.lanes == Default::default() {
            return true;
        }
        let frame = Frame::decode(bytes, dictionary, &Limits::default());
        frame.is_ok_and(|frame| frame.route().is_none_or(|route| route.namespace == self.namespace))
    }

    /// Opens the namespaces of a node that has just started.
    pub(super) fn open_lanes(&self, at: usize, node: &mut Node, now: Now) {
        let mut open = |name: &str, class| {
            let limits = self.scenario.bounds.limits();
            node.open_namespace(now, name, NamespaceConfig { class, limits })
                .expect("there is room for a few");
        };
        if let Some(lane) = self.scenario.lanes.main {
            open(MAIN, lane.class());
        }
        let closed = self.lanes.closed.get(&at);
        for (lane, class) in self.scenario.lanes.side.iter().enumerate() {
            if closed.is_none_or(|closed| !closed.contains(&lane)) {
                open(&name(lane), class.class());
            }
        }
    }

    /// What a turn of the application brings to the side lanes.
    pub(super) fn chatter(&mut self, at: usize, pick: u64) {
        let lanes = self.scenario.lanes.side.len();
        if lanes == 0 || self.machines[at].node.is_none() || self.machines[at].still_since.is_some() {
            return;
        }
        let mut random = fork(self.scenario.seed, &format!("chatter {pick}"));
        let lane = random.random_range(0..lanes);
        if random.random_bool(0.08) {
            return self.turn_lane(at, lane);
        }
        let now = self.machines[at].now(self.at);
        let node = self.machines[at].node.as_mut().expect("it was looked at above");
        let element = pick.to_le_bytes().to_vec();
        if node.write(now, id(lane), |group| or_set::add(group, KEY, &element)).is_ok() {
            self.lanes.added[lane].insert(element);
            self.counts.lane_writes += 1;
        }
        self.look_after(at);
    }

    /// Opens a lane at a node, or closes it.
    fn turn_lane(&mut self, at: usize, lane: usize) {
        let now = self.machines[at].now(self.at);
        let (limits, class) = (self.scenario.bounds.limits(), self.scenario.lanes.side[lane].class());
        let node = self.machines[at].node.as_mut().expect("the caller knows that the node is up");
        let closed = self.lanes.closed.entry(at).or_default();
        if closed.remove(&lane) {
            node.open_namespace(now, &name(lane), NamespaceConfig { class, limits })
                .expect("its place is kept");
        } else {
            node.close_namespace(now, id(lane)).expect("it is open, or it would be among the closed");
            closed.insert(lane);
        }
        self.counts.lanes_turned += 1;
        self.trace.note(self.at, Mark::Fault, at, &[], || format!("opens or closes side lane {lane}"));
        self.look_after(at);
    }

    fn look_after(&mut self, at: usize) {
        let (life, wait) = (self.machines[at].life, self.scenario.disk.wake_us.0);
        self.queue.push(self.at + wait, Event::Look { node: at, life });
    }

    /// The faults are over: every lane is open everywhere, and what is held where a node runs stays.
    pub(super) fn heal_lanes(&mut self) {
        for at in 0..self.machines.len() {
            for lane in self.lanes.closed.remove(&at).unwrap_or_default() {
                if self.machines[at].node.is_some() {
                    self.lanes.closed.entry(at).or_default().insert(lane);
                    self.turn_lane(at, lane);
                }
            }
        }
        for lane in 0..self.scenario.lanes.side.len() {
            let nodes = self.machines.iter().filter_map(|machine| machine.node.as_ref());
            let held = nodes.filter_map(|node| node.store(id(lane))).flat_map(elements);
            self.lanes.safe[lane] = held.collect();
        }
    }

    /// True if all nodes hold one state of every side lane.
    pub(crate) fn lanes_agree(&mut self) -> bool {
        (0..self.scenario.lanes.side.len()).all(|lane| {
            let nodes = self.machines.iter_mut().map(|machine| machine.node.as_mut());
            let mut states = nodes.map(|node| node.and_then(|node| node.state_id(id(lane))));
            let first = states.next();
            states.all(|state| Some(state) == first)
        })
    }

    /// After agreement: the first node's lanes against what was added and what had to stay.
    pub(crate) fn check_lanes(&mut self) {
        for lane in 0..self.scenario.lanes.side.len() {
            let node = self.machines.first().and_then(|machine| machine.node.as_ref());
            let held = node.and_then(|node| node.store(id(lane))).map(elements).unwrap_or_default();
            let (added, safe) = (&self.lanes.added[lane], &self.lanes.safe[lane]);
            let what = if let Some(lost) = safe.difference(&held).next() {
                format!("side lane {lane} has lost {lost:?}, which a node held when the faults were over")
            } else if let Some(never) = held.difference(added).next() {
                format!("side lane {lane} holds {never:?}, which nobody added")
            } else {
                continue;
            };
            return self.fail("side-lanes", 0, what);
        }
    }
}
