//! How a write spreads: when it has reached every node.
//!
//! Only measured when a scenario asks for it: every write of the application is looked for at every node
//! until all have it.

use std::collections::BTreeMap;

use sync_core::id::{Dot, ReplicaId};

use super::World;

/// How writes spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Spread {
    /// Writes that reached every node.
    pub writes: u64,
    /// Writes that had not when the run ended.
    pub unfinished: u64,
    /// Virtual microseconds until a write had reached all: the median.
    pub all_us_p50: u64,
    /// The 99th percentile.
    pub all_us_p99: u64,
    /// Bytes that all nodes sent together from the first write to the end of the run, for each write.
    pub bytes_per_write: u64,
    /// Items that arrived for each one that was new, in hundredths.
    pub copies_percent: u64,
}

/// Writes on their way.
#[derive(Debug, Default)]
pub(crate) struct Spreading {
    open: Vec<Open>,
    took: Vec<u64>,
    /// How far each life's log had come at the last look: nothing is learned without an entry.
    looked: BTreeMap<ReplicaId, u64>,
    /// What the network had carried at the first write.
    bytes_before: Option<u64>,
}

#[derive(Debug)]
struct Open {
    dot: Dot,
    at: u64,
    reached: u128,
}

impl World {
    /// A write of the application begins to spread.
    pub(crate) fn spread_wrote(&mut self, at: usize, dot: Dot) {
        let bytes = self.net.counts.bytes;
        let measured = self.measured();
        if let Some(spreading) = self.spreading.as_mut().filter(|_| measured >> at & 1 == 1) {
            spreading.bytes_before.get_or_insert(bytes);
            spreading.open.push(Open { dot, at: self.at, reached: 1 << at });
        }
    }

    /// The nodes whose writes are measured, a bit each.
    fn measured(&self) -> u128 {
        match &self.scenario.measured[..] {
            [] => u128::MAX >> (128 - self.machines.len()),
            nodes => nodes.iter().fold(0, |mask, node| mask | 1 << node),
        }
    }

    /// Looks which writes have reached `at`.
    pub(crate) fn spread_reached(&mut self, at: usize) {
        let everyone = self.measured();
        if everyone >> at & 1 == 0 {
            return;
        }
        let Some(spreading) = self.spreading.as_mut().filter(|spreading| !spreading.open.is_empty()) else {
            return;
        };
        let Some(node) = &self.machines[at].node else { return };
        let Some(store) = node.store(self.namespace) else { return };
        if spreading.looked.insert(node.replica(), store.log_head()) == Some(store.log_head()) {
            return;
        }
        let Spreading { open, took, .. } = spreading;
        let mut spreads = self.timeline.as_mut().map(|timeline| &mut timeline.spreads);
        open.retain_mut(|write| {
            if write.reached >> at & 1 == 0 && store.context().contains(write.dot) {
                write.reached |= 1 << at;
            }
            let done = write.reached == everyone;
            if done {
                took.push(self.at - write.at);
                if let Some(spreads) = &mut spreads {
                    spreads.push((write.at, self.at - write.at));
                }
            }
            !done
        });
    }

    /// The measurement, once the figures of all lives are in.
    pub(crate) fn take_spread(&mut self) -> Option<Spread> {
        let Spreading { open, mut took, bytes_before, .. } = self.spreading.take()?;
        took.sort_unstable();
        let percentile =
            |percent: usize| took.get(took.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0);
        let writes = took.len() as u64 + open.len() as u64;
        let arrived = self.counts.items_new + self.counts.items_known;
        Some(Spread {
            writes: took.len() as u64,
            unfinished: open.len() as u64,
            all_us_p50: percentile(50),
            all_us_p99: percentile(99),
            bytes_per_write: (self.net.counts.bytes - bytes_before.unwrap_or(0)) / writes.max(1),
            copies_percent: 100 * arrived / self.counts.items_new.max(1),
        })
    }
}
