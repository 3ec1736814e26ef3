//! The world: machines, a network and an application in virtual time, around the very same
//! [`sync_core::node::Node`] that runs in production.
//!
//! Everything that happens is an `Event` in one queue, ordered by time and then by when it was decided.
//! The world takes the next, hands it to a node, and puts what the node wants done back into the queue:
//! frames to the network, images to the disk, deadlines to the clock. After each step the checkers look
//! at the node. No thread, no clock and no unordered collection is in here: one seed tells one story.

mod act;
mod clock;
mod counts;
mod damage;
mod dial;
mod disk;
mod drive;
mod expiry;
mod heal;
mod inject;
mod lanes;
mod life;
mod machine;
mod picture;
mod queue;
mod salvage;
mod spread;
mod trace;
mod wire;

use std::collections::BTreeMap;

use rand::RngExt;
use sync_core::id::{Dot, NamespaceId, NodeId};
use sync_core::node::Input;

use crate::checkers::{Suite, Violation};
use crate::history::History;
use crate::net::{Net, Rule, Way, Wire};
use crate::random::{Random, fork};
use crate::scenario::Scenario;
use crate::timeline::RunTimeline;
use crate::workload::{RandomWorkload, Workload};

pub use act::{Turn, Writer};
pub use counts::Counts;
pub use spread::Spread;

use clock::Clock;
use counts::Kills;
use machine::Machine;
use queue::Queue;
use trace::{Mark, Trace};

/// Most inputs in one run. A run that needs more has nodes that talk without end.
const STEPS_MAX: u64 = 20_000_000;

/// What happens at some time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// On the network.
    Wire(Wire),
    /// A node's deadline; dropped unless `at` is the latest one it asked for.
    Wake { node: usize, at: u64 },
    /// The driver looks at a node after the application wrote.
    Look { node: usize, life: u64 },
    /// A write to the disk is complete.
    Synced { node: usize, write: u64 },
    /// The application's turn, by its number in the scenario.
    Turn(usize),
    /// A fault strikes, by its number in the scenario.
    Fault(usize),
    /// The disk of a machine is copied, for a later restore.
    BackUp { node: usize },
    /// The memory of a machine is copied, for a later revert.
    Snapshot { node: usize },
    /// A machine that is down comes up, if it is still the same outage.
    Start { node: usize, life: u64 },
    /// A process that stands still goes on.
    Resume { node: usize },
    /// A node reads again.
    Read { node: usize },
    /// A frozen clock runs on.
    Thaw { node: usize },
    /// A rule of the network begins, for so many microseconds.
    Rule { rule: Rule, for_us: u64 },
    /// A rule of the network ends.
    Lift { rule: u64 },
    /// A reading for the picture.
    Sample,
}

/// A simulated world. Build one with [`World::new`], then [`World::run`] it.
pub struct World {
    pub(crate) scenario: Scenario,
    /// Virtual microseconds since the world began.
    pub(crate) at: u64,
    pub(crate) namespace: NamespaceId,
    lanes: lanes::Lanes,
    queue: Queue<Event>,
    pub(crate) machines: Vec<Machine>,
    /// Which machine a node lives on, nodes of the past too.
    pub(crate) places: BTreeMap<NodeId, usize>,
    pub(crate) net: Net,
    ids_random: Random,
    disk_random: Random,
    /// Apart, so that a disk without errors keeps its times.
    errors_random: Random,
    pub(crate) history: History,
    pub(crate) suite: Suite,
    pub(crate) workload: Option<Box<dyn Workload>>,
    trace: Trace,
    pub(crate) counts: Counts,
    kills: Kills,
    resets: BTreeMap<String, Vec<(usize, Dot)>>,
    groups: u64,
    pub(crate) violation: Option<Violation>,
    /// True once all faults are over.
    healed: bool,
    /// True once nothing is left to say.
    pub(crate) resting: bool,
    timeline: Option<RunTimeline>,
    spreading: Option<spread::Spreading>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scenario, at, counts, violation, .. } = self;
        write!(
            f,
            "World {{ {} seed {} at {at} us, {counts:?}, {violation:?} }}",
            scenario.name, scenario.seed
        )
    }
}

impl World {
    /// A world as `scenario` says, with the random workload of [`Scenario::workload`].
    pub fn new(scenario: &Scenario) -> Self {
        Self::with_workload(scenario, Box::new(RandomWorkload::new(scenario.workload.clone())))
    }

    /// A world as `scenario` says, with this application.
    pub fn with_workload(scenario: &Scenario, workload: Box<dyn Workload>) -> Self {
        let scenario = scenario.clone().with_turns();
        let mut ids_random = fork(scenario.seed, "ids");
        let mut clocks = fork(scenario.seed, "clocks");
        let nodes = scenario.nodes;
        let machines: Vec<Machine> = (0..nodes)
            .map(|_| {
                let skew = i64::try_from(scenario.clocks.skew_ms).unwrap_or(i64::MAX / 4);
                let ppm = i64::try_from(scenario.clocks.drift_ppm.min(500_000)).unwrap_or(0);
                let clock = Clock::new(clocks.random_range(-skew..=skew), clocks.random_range(-ppm..=ppm));
                Machine::new(NodeId(ids_random.random()), clock, nodes)
            })
            .collect();
        let namespace = Self::namespace_of(&scenario);
        let mut world = Self {
            at: 0,
            namespace,
            lanes: lanes::Lanes::of(&scenario),
            queue: Queue::default(),
            places: machines.iter().enumerate().map(|(place, machine)| (machine.id, place)).collect(),
            machines,
            net: Net::new(&scenario),
            ids_random,
            disk_random: fork(scenario.seed, "disk"),
            errors_random: fork(scenario.seed, "disk errors"),
            history: History::default(),
            suite: Suite::new(scenario.check_every).within(namespace),
            workload: Some(workload),
            trace: Trace::new(0),
            counts: Counts::default(),
            kills: Kills::default(),
            resets: BTreeMap::new(),
            groups: 0,
            violation: None,
            healed: false,
            resting: false,
            timeline: None,
            spreading: scenario.measure.then(Default::default),
            scenario,
        };
        world.plan();
        world
    }

    /// Keeps the last `lines` lines of the trace, for [`crate::run::Outcome::trace`].
    #[must_use]
    pub fn with_trace(mut self, lines: usize) -> Self {
        self.trace = Trace::new(lines);
        self
    }

    /// Watches these checkers in place of all.
    #[must_use]
    pub fn with_checkers(mut self, suite: Suite) -> Self {
        self.suite = suite.within(self.namespace);
        self
    }

    /// Puts everything that the scenario decides into the queue.
    fn plan(&mut self) {
        for (number, turn) in self.scenario.turns.iter().enumerate() {
            self.queue.push(turn.at_us, Event::Turn(number));
        }
        for (number, fault) in self.scenario.faults.iter().enumerate() {
            self.queue.push(fault.at_ms * 1_000, Event::Fault(number));
            if let Some((at_ms, event)) = inject::ahead_of(&fault.kind) {
                self.queue.push(at_ms * 1_000, event);
            }
        }
        self.take_pending();
    }

    /// Starts every machine: the first thing that happens.
    pub(crate) fn start_all(&mut self) {
        (0..self.machines.len()).for_each(|node| self.start(node));
    }

    /// Lets everything happen up to `until`, or up to the first violation.
    pub(crate) fn advance(&mut self, until: u64) {
        while self.violation.is_none() {
            let Some((at, event)) = self.queue.pop(until) else { break };
            self.at = at;
            self.happen(event);
            self.take_pending();
            if self.counts.steps > STEPS_MAX {
                self.fail("no-livelock", 0, format!("the nodes have handled {STEPS_MAX} inputs and go on"));
            }
        }
        self.at = self.at.max(until);
    }

    fn take_pending(&mut self) {
        let Self { queue, net, .. } = self;
        net.pending.drain(..).for_each(|(at, wire)| queue.push(at, Event::Wire(wire)));
    }

    fn happen(&mut self, event: Event) {
        if let Some(node) = handled_by(&event).filter(|node| self.machines[*node].still_since.is_some()) {
            return self.machines[node].deferred.push_back(event);
        }
        match event {
            Event::Wire(wire) => self.on_wire(wire),
            Event::Wake { node, at } => {
                if self.machines[node].wake_at == Some(at) {
                    self.machines[node].wake_at = None;
                    self.feed(node, Input::Wake, &[]);
                }
            }
            Event::Look { node, life } => {
                if self.machines[node].life == life {
                    self.feed(node, Input::Wake, &[]);
                }
            }
            Event::Synced { node, write } => self.on_synced(node, write),
            Event::Turn(number) => self.on_turn(number),
            Event::Fault(number) => self.inject(number),
            Event::BackUp { node } => self.machines[node].disk.back_up(self.at),
            Event::Snapshot { node } => self.snapshot(node),
            Event::Start { node, life } => {
                if self.machines[node].life == life && self.machines[node].node.is_none() {
                    self.start(node);
                }
            }
            Event::Resume { node } => self.resume(node),
            Event::Read { node } => self.read_again(node),
            Event::Thaw { node } => self.machines[node].clock.thaw(self.at),
            Event::Rule { rule, for_us } => {
                if !self.healed {
                    let rule = self.net.add_rule(self.at, rule);
                    self.queue.push(self.at + for_us, Event::Lift { rule });
                }
            }
            Event::Lift { rule } => self.net.remove_rule(self.at, rule),
            Event::Sample => self.sample(),
        }
    }

    // The application.

    fn on_turn(&mut self, number: usize) {
        let turn = self.scenario.turns[number];
        if !self.may_write(turn.node) {
            self.counts.passed += 1;
            return;
        }
        let mut workload = self.workload.take().expect("the workload is put back after each turn");
        let random = fork(self.scenario.seed, &format!("turn {}", turn.pick));
        workload.turn(&mut Turn::new(self, turn.node, random));
        self.workload = Some(workload);
        self.check_application(turn.node);
        self.chatter(turn.node, turn.pick);
    }

    pub(crate) fn check_application(&mut self, node: usize) {
        let Some(workload) = &mut self.workload else { return };
        let Some(store) = self.machines[node].node.as_ref().and_then(|node| node.store(self.namespace))
        else {
            return;
        };
        if let Err(what) = workload.after_step(node, store) {
            self.fail("application-invariant", node, what);
        }
    }

    // Judgement.

    pub(crate) fn judge(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked {
            self.trace.note(self.at, Mark::Phase, violation.node, &[], || format!("VIOLATION {violation}"));
            self.violation.get_or_insert(violation);
        }
    }

    pub(crate) fn fail(&mut self, property: &'static str, node: usize, what: String) {
        self.judge(Err(Violation { property, node, what }));
    }
}

/// Whose process must run for `event` to be handled; `None` if it happens to the world.
fn handled_by(event: &Event) -> Option<usize> {
    match event {
        Event::Wire(
            Wire::Arrive { way: Way { to: node, .. }, .. }
            | Wire::Written { way: Way { from: node, .. }, .. },
        )
        | Event::Wire(Wire::Opened { node, .. } | Wire::Closed { node, .. } | Wire::Idle { node, .. })
        | Event::Wake { node, .. }
        | Event::Look { node, .. }
        | Event::Synced { node, .. } => Some(*node),
        Event::Wire(Wire::Dial { .. })
        | Event::Turn(_)
        | Event::Fault(_)
        | Event::BackUp { .. }
        | Event::Snapshot { .. }
        | Event::Start { .. }
        | Event::Resume { .. }
        | Event::Read { .. }
        | Event::Thaw { .. }
        | Event::Rule { .. }
        | Event::Lift { .. }
        | Event::Sample => None,
    }
}
