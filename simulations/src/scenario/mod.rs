//! Scenarios: all that decides a run, as one value that can be read, edited, shrunk and replayed.
//!
//! A scenario is a TOML file (`scenarios/*.toml`) or drawn from a seed ([`crate::faults::draw`]); either
//! way it is complete before the world begins, down to each fault and the time and node of each turn of
//! the workload. What is left to the seed is only what happens *between* these lines: delays, losses,
//! and what a turn writes. A line removed therefore leaves the others as they are.

mod settings;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::random::fork;

pub use settings::{Bounds, Clocks, Disk, Lane, Lanes, Load, Mode, Network, Periods, Protocol};

/// All that decides a run, but for the seed of its small choices. Every field has a default, so a file
/// says only what is special about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as `run NAME` takes it.
    pub name: String,
    /// What it is about, in a sentence or two.
    pub about: String,
    /// The seed of every small choice; `--seed` overrides it.
    pub seed: u64,
    /// Number of nodes.
    pub nodes: usize,
    /// How long faults strike and the application writes, in virtual milliseconds. Then everything is
    /// healed and the nodes have [`Self::converge_ms`] to agree.
    pub run_ms: u64,
    /// How long the healed nodes may take to agree. Default 10 s, the promise.
    pub converge_ms: u64,
    /// How long the nodes are watched at rest afterwards.
    pub rest_ms: u64,
    /// Dear checkers look at every so many steps.
    pub check_every: u32,
    /// Measure how long each write takes to reach every node.
    pub measure: bool,
    /// Of these nodes alone: writes of theirs, until they have reached these. All, if none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<usize>,
    /// Who connects to whom.
    pub topology: Topology,
    /// The turns of the workload, each `[microseconds, node, pick]`. If empty, they are drawn from
    /// [`Self::workload`] and the seed.
    pub turns: Vec<Turn>,
    /// The links.
    pub network: Network,
    /// The disks.
    pub disk: Disk,
    /// The clocks.
    pub clocks: Clocks,
    /// Namespaces that are not the default one.
    pub lanes: Lanes,
    /// Bounds of the nodes that are not the engine's defaults.
    pub bounds: Bounds,
    /// What the nodes speak.
    pub protocol: Protocol,
    /// Periods of the nodes that are not the engine's defaults.
    pub periods: Periods,
    /// What the application does.
    pub workload: Load,
    /// What goes wrong, in any order.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
}

/// Who connects to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// Everyone to everyone.
    Mesh,
    /// Each to its two neighbours.
    Ring,
    /// Each to its neighbours, without closing the ring.
    Line,
    /// Each to the first.
    Star,
}

impl Topology {
    /// True if `a` and `b`, of `nodes`, connect.
    pub fn links(self, a: usize, b: usize, nodes: usize) -> bool {
        let (low, high) = (a.min(b), a.max(b));
        match self {
            _ if low == high => false,
            Self::Mesh => true,
            Self::Line => high == low + 1,
            Self::Ring => high == low + 1 || (low == 0 && high + 1 == nodes),
            Self::Star => low == 0,
        }
    }
}

/// One turn of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, usize, u64)", into = "(u64, usize, u64)")]
pub struct Turn {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// At which node; it passes if the node is down.
    pub node: usize,
    /// Seeds what the turn does.
    pub pick: u64,
}

impl From<(u64, usize, u64)> for Turn {
    fn from((at_us, node, pick): (u64, usize, u64)) -> Self {
        Self { at_us, node, pick }
    }
}

impl From<Turn> for (u64, usize, u64) {
    fn from(turn: Turn) -> Self {
        (turn.at_us, turn.node, turn.pick)
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            about: String::new(),
            seed: 1,
            nodes: 4,
            run_ms: 10_000,
            converge_ms: 10_000,
            rest_ms: 0,
            check_every: 1,
            measure: false,
            measured: Vec::new(),
            topology: Topology::Mesh,
            network: Network::default(),
            disk: Disk::default(),
            clocks: Clocks::default(),
            lanes: Lanes::default(),
            bounds: Bounds::default(),
            protocol: Protocol::default(),
            periods: Periods::default(),
            workload: Load::default(),
            faults: Vec::new(),
            turns: Vec::new(),
        }
    }
}

/// Why a scenario cannot be run.
#[derive(Debug)]
pub struct ScenarioError(String);

impl ScenarioError {
    pub(crate) fn new(what: String) -> Self {
        Self(what)
    }
}

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScenarioError {}

/// Most nodes of a world: the product's 100 peers and the node itself.
pub const NODES_MAX: usize = 101;

impl Scenario {
    /// Reads a scenario from TOML and checks it.
    ///
    /// # Errors
    /// The text is not TOML, has a field that does not exist, or names what cannot be.
    ///
    /// ```
    /// let scenario = simulations::Scenario::parse("nodes = 3\n[network]\nloss = 0.2")?;
    /// assert_eq!(scenario.nodes, 3);
    /// # Ok::<(), simulations::scenario::ScenarioError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// This scenario as TOML that [`Self::parse`] reads back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario has string keys and plain values")
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let refuse = |what: String| Err(ScenarioError(what));
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return refuse(format!("nodes = {}: give 1 to {NODES_MAX}", self.nodes));
        }
        if !(0.0..=0.5).contains(&self.network.loss) {
            return refuse(format!("network.loss = {}: give a share from 0 to 0.5", self.network.loss));
        }
        for (name, share) in [("duplicate", self.network.duplicate), ("reorder", self.network.reorder)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(format!("network.{name} = {share}: give a share from 0 to 1"));
            }
        }
        let ranges = [
            ("network.delay_us", self.network.delay_us),
            ("disk.sync_us", self.disk.sync_us),
            ("disk.wake_us", self.disk.wake_us),
        ];
        for (name, (least, most)) in ranges {
            if least > most {
                return refuse(format!("{name} = [{least}, {most}]: give the smaller one first"));
            }
        }
        if self.faults.iter().flat_map(|fault| fault.kind.nodes()).any(|node| node >= self.nodes) {
            return refuse(format!("a fault names a node beyond the last, which is {}", self.nodes - 1));
        }
        if self.turns.iter().any(|turn| turn.node >= self.nodes) {
            return refuse(format!("a turn names a node beyond the last, which is {}", self.nodes - 1));
        }
        Ok(())
    }

    /// This scenario with its turns drawn, if none are written down.
    #[must_use]
    pub fn with_turns(mut self) -> Self {
        if self.turns.is_empty() {
            let mut random = fork(self.seed, "turns");
            let until = self.run_ms * 1_000;
            self.turns = (0..self.workload.turns)
                .map(|_| Turn {
                    at_us: random.random_range(0..until.max(1)),
                    node: random.random_range(0..self.nodes),
                    pick: u64::from(random.random::<u32>()),
                })
                .collect();
            self.turns.sort_by_key(|turn| (turn.at_us, turn.node, turn.pick));
        }
        self
    }

    /// This scenario with `nodes` nodes: faults and turns of nodes that do not exist then are left out.
    #[must_use]
    pub fn with_nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        let exists = |node: &usize| *node < nodes;
        self.faults.retain(|fault| fault.kind.nodes().iter().all(exists));
        self.turns.retain(|turn| exists(&turn.node));
        self
    }
}
