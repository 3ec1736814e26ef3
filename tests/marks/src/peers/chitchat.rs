//! chitchat: version vectors over nodes that each write their own keys.
//!
//! Scuttlebutt: digests say up to which version each node's state is known. Only the owner writes a key, so
//! each side owns `n` and changes its own: what crosses does not depend on `n`. Strings, so key and value
//! are printable characters of the same lengths. Rounds are asked for one by one, with the crate's channel
//! transport; a round carries at most 64 kB, so large differences take many.

use std::net::SocketAddr;
use std::time::Duration;

use chitchat::transport::ChannelTransport;
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion, spawn_chitchat,
};

use super::{Outcome, Peer};
use crate::data::{Scenario, key, text, value};
use crate::measure::{median_lap, timed};

/// Rounds after which a reconciliation has failed.
const ROUNDS_MAX: u32 = 10_000;

#[derive(Default)]
pub struct Chitchat {
    pair: Option<Pair>,
}

struct Pair {
    n: usize,
    version: u64,
    grown: usize,
    runtime: tokio::runtime::Runtime,
    transport: ChannelTransport,
    handles: [ChitchatHandle; 2],
}

impl Peer for Chitchat {
    fn name(&self) -> &'static str {
        "chitchat 0.13"
    }

    fn carries_values(&self) -> bool {
        true
    }

    fn n_max(&self) -> usize {
        100_000
    }

    fn run(&mut self, scenario: &Scenario, runs: usize) -> Outcome {
        let pair = match self.pair.take() {
            Some(pair) if pair.n == scenario.n => pair,
            Some(_) | None => Pair::new(scenario.n),
        };
        let pair = self.pair.insert(pair);
        let mut laps = Vec::new();
        let mut counted = (0, 0);
        for _ in 0..runs {
            pair.change(scenario);
            let (outcome, lap) = timed(|| pair.exchange());
            counted = outcome;
            laps.push(lap);
        }
        Outcome { bytes: counted.0, messages: counted.1, lap: median_lap(&laps) }
    }
}

fn addr(side: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 20_000 + side))
}

fn id(side: u16) -> ChitchatId {
    ChitchatId::new(format!("node-{side}"), 1, addr(side))
}

/// The `index`-th of the keys that a side owns.
fn own(side: usize, index: usize) -> usize {
    side * 1_000_000_000 + index
}

fn entry(index: usize, version: u64) -> (String, String) {
    (text(&key(index)), text(&value(index, version)))
}

impl Pair {
    fn new(n: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let transport = ChannelTransport::default();
        let handles = [0u16, 1].map(|side| {
            let config = ChitchatConfig {
                chitchat_id: id(side),
                cluster_id: "marks".to_owned(),
                // Rounds are asked for; the timer stays out of it.
                gossip_interval: Duration::from_secs(100_000),
                listen_addr: addr(side),
                seed_nodes: Vec::new(),
                failure_detector_config: FailureDetectorConfig::default(),
                marked_for_deletion_grace_period: Duration::from_secs(100_000),
                catchup_callback: None,
                extra_liveness_predicate: None,
                protocol_version: ProtocolVersion::V1,
            };
            let entries = (0..n).map(|index| entry(own(side.into(), index), 0)).collect();
            runtime.block_on(spawn_chitchat(config, entries, &transport)).expect("it starts")
        });
        let mut pair = Self { n, version: 0, grown: n, runtime, transport, handles };
        pair.exchange();
        pair
    }

    fn change(&mut self, scenario: &Scenario) {
        self.version += 1;
        let (version, shift) = (self.version, self.grown - self.n);
        for (side, range) in [scenario.by_a(), scenario.by_b()].into_iter().enumerate() {
            let new = range.start >= scenario.n;
            let index = |index| own(side, if new { index + shift } else { index });
            let changes: Vec<_> = range.clone().map(|at| entry(index(at), version)).collect();
            if new {
                self.grown = self.grown.max(range.end + shift);
            }
            let write = self.handles[side].with_chitchat(|node| {
                for (key, value) in &changes {
                    node.self_node_state().set(key, value);
                }
            });
            self.runtime.block_on(write);
        }
    }

    /// Bytes and messages until both know both states.
    fn exchange(&mut self) -> (u64, u32) {
        let before = self.transport.statistics();
        let Self { runtime, handles, transport, .. } = self;
        runtime.block_on(async {
            let mut asked = 0;
            let mut seen = before.num_messages_total;
            loop {
                let [a, b] = [versions(&handles[0]).await, versions(&handles[1]).await];
                if a == b && asked > 0 {
                    break;
                }
                assert!(asked < ROUNDS_MAX, "chitchat does not come to an end");
                asked += 1;
                handles[0].gossip(addr(1)).expect("the server runs");
                // Syn, SynAck, Ack: the round is over when three messages have been sent and taken in.
                seen += 3;
                while transport.statistics().num_messages_total < seen {
                    tokio::task::yield_now().await;
                }
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
            }
        });
        let after = self.transport.statistics();
        let messages = after.num_messages_total - before.num_messages_total;
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        (after.num_bytes_total - before.num_bytes_total, messages)
    }
}

/// The versions of both states, as one node knows them.
async fn versions(handle: &ChitchatHandle) -> [Option<u64>; 2] {
    handle
        .with_chitchat(|node| [0, 1].map(|side| node.node_state(&id(side)).map(|state| state.max_version())))
        .await
}
