//! What the demo found, as a table for people or one JSON object for scripts.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sync_net::NodeStatus;

use super::check::Verdict;
use super::record::{Op, Step};
use crate::failure::Failure;
use crate::output::{self, grouped, table};

/// One node's line.
#[derive(Debug, Serialize)]
struct NodeReport {
    id: String,
    root: String,
    crdts: u64,
    deltas_sent: u64,
    bytes_sent: u64,
    bytes_received: u64,
    sessions: u64,
}

/// All that the demo found.
#[derive(Debug)]
pub(super) struct Report {
    /// Every node's figures at the end.
    pub(super) status: Vec<NodeStatus>,
    /// Lines that were fed.
    pub(super) rows: usize,
    /// Lines that were not usable.
    pub(super) skipped: usize,
    /// CRDTs that were written, those included that are empty and gone by now.
    pub(super) crdts_written: usize,
    /// Removes that ended at least one line of a cart.
    pub(super) effective_removes: usize,
    /// Why the nodes did not converge at the end, if they did not.
    pub(super) not_converged: Option<Failure>,
    /// From the end of the cut to one root; `None` if that was not reached in time.
    pub(super) heal: Option<Duration>,
    /// What the checker says.
    pub(super) verdict: Verdict,
    /// From the first node's start to the check's end.
    pub(super) elapsed: Duration,
}

/// CRDTs that were written: each cart, each stock, each profile once.
pub(super) fn crdts_written(steps: &[Vec<Step>]) -> usize {
    let minting = steps.iter().flatten().filter(|step| step.minted.is_some());
    let written: BTreeSet<(u8, &str)> = minting
        .flat_map(|step| &step.ops)
        .filter_map(|op| match op {
            Op::CartAdd { customer, .. } => Some((0, customer.as_str())),
            Op::StockAdd { product, by } if *by != 0 => Some((1, product.as_str())),
            Op::ProfilePut { customer, .. } => Some((2, customer.as_str())),
            Op::StockAdd { .. } | Op::CartRemove { .. } | Op::CartRead { .. } | Op::ProfileRead { .. } => {
                None
            }
        })
        .collect();
    written.len()
}

/// Removes that ended at least one line of a cart.
pub(super) fn effective_removes(steps: &[Vec<Step>]) -> usize {
    let ops = steps.iter().flatten().flat_map(|step| &step.ops);
    ops.filter(|op| matches!(op, Op::CartRemove { ended: true, .. })).count()
}

impl Report {
    /// Prints the report; fails if the nodes differ or the check does not hold.
    pub(super) fn conclude(&self, json: bool) -> Result<(), Failure> {
        if json {
            output::json(&self.as_json())?;
        } else {
            output::line(&self.as_text())?;
        }
        let fault = if let Some(failure) = &self.not_converged {
            failure.to_string()
        } else if !self.one_root() {
            "the nodes converged to different roots".to_owned()
        } else if !self.verdict.holds() {
            self.verdict.to_string()
        } else {
            return Ok(());
        };
        Err(Failure::Failed(format!("the demo failed, please report it with this line: {fault}")))
    }

    fn one_root(&self) -> bool {
        self.status.windows(2).all(|pair| pair[0].root == pair[1].root)
    }

    fn converged(&self) -> bool {
        self.not_converged.is_none() && self.one_root()
    }

    fn nodes(&self) -> Vec<NodeReport> {
        let report = |status: &NodeStatus| NodeReport {
            id: status.node.clone(),
            root: status.root.clone(),
            crdts: status.crdts,
            deltas_sent: status.totals.deltas_sent,
            bytes_sent: status.totals.bytes_sent,
            bytes_received: status.totals.bytes_received,
            sessions: status.totals.sessions,
        };
        self.status.iter().map(report).collect()
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "nodes": self.nodes(),
            "rows": self.rows,
            "skipped": self.skipped,
            "crdts_written": self.crdts_written,
            "effective_removes": self.effective_removes,
            "converged": self.converged(),
            "heal_ms": self.heal.map(millis),
            "check": self.verdict.to_string(),
            "operations": self.verdict.operations,
            "elapsed_ms": millis(self.elapsed),
        })
    }

    fn as_text(&self) -> String {
        let header =
            ["Node", "Id", "Root", "#CRDTs", "#Deltas sent", "#Bytes sent", "#Bytes received", "#Sessions"];
        let rows = self.nodes().into_iter().zip(1..).map(|(node, number)| {
            vec![
                number.to_string(),
                node.id.chars().take(8).collect(),
                node.root.chars().take(16).collect(),
                grouped(node.crdts),
                grouped(node.deltas_sent),
                grouped(node.bytes_sent),
                grouped(node.bytes_received),
                grouped(node.sessions),
            ]
        });
        let heal = match self.heal {
            Some(time) => {
                format!("one root {} ms after the cut of node {} ended", millis(time), self.status.len())
            }
            None => "no one root in time after the cut ended".to_owned(),
        };
        let check = if self.verdict.holds() {
            format!(
                "ok: {} operations in {} steps, and what every node holds, are as the rules demand",
                count(self.verdict.operations),
                count(self.verdict.steps)
            )
        } else {
            self.verdict.to_string()
        };
        format!(
            "{}\n\n\
             rows       {} fed, {} skipped\n\
             CRDTs      {} written, the carts that are empty now are gone again\n\
             removes    {} that ended a line of a cart\n\
             heal       {heal}\n\
             converged  {}\n\
             check      {check}\n\
             time       {:.1} s",
            table(&header, rows),
            count(self.rows),
            count(self.skipped),
            count(self.crdts_written),
            count(self.effective_removes),
            if self.converged() { "yes, all roots are equal" } else { "no" },
            self.elapsed.as_secs_f64()
        )
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn count(count: usize) -> String {
    grouped(i128::try_from(count).unwrap_or(i128::MAX))
}
