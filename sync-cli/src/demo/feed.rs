//! Deals the invoice lines to the nodes and has all nodes serve theirs at the same time.
//!
//! Line `i` goes to node `i mod N`, so the lines of one customer and of one product meet on all nodes.
//! Each node serves a few lines, then pauses for a moment, as a shop does: updates travel while others
//! are being made, and what a node sees of the others is always a little behind.

use std::ops::Range;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::rows::Row;
use super::shop::Till;
use crate::failure::Failure;

/// How often the nodes serve lines. In between, what they did travels.
const TICK: Duration = Duration::from_millis(5);

/// Into how many ticks the lines of a node are spread: [`TICK`] times this is the demo's pace, and a
/// slower machine takes longer rather than more at a time. With the bundled data and three nodes that is
/// four lines a node and tick: half an invoice among them all.
const TICKS: usize = 850;

/// The lines, dealt to a number of nodes.
pub(super) struct Feed {
    rows: Arc<[Row]>,
    nodes: usize,
    progress: ProgressBar,
}

impl Feed {
    /// Deals `rows` to `nodes` nodes.
    pub(super) fn new(rows: Vec<Row>, nodes: usize, progress: ProgressBar) -> Self {
        Self { rows: rows.into(), nodes, progress }
    }

    /// The `part`-th third of the lines, counted from 0.
    pub(super) fn third(&self, part: usize) -> Range<usize> {
        let at = |part: usize| self.rows.len() * part / 3;
        at(part)..at(part + 1)
    }

    /// Has all tills serve their lines of `range` concurrently, a thread each, and gives them back.
    ///
    /// In every tick the tills begin together: what they do at the same time, none of them has seen of the
    /// others.
    pub(super) async fn serve(
        &self,
        mut tills: Vec<Till>,
        range: Range<usize>,
    ) -> Result<Vec<Till>, Failure> {
        let lines = |number: usize| range.clone().filter(move |at| at % self.nodes == number);
        let own: Vec<Vec<usize>> = (0..self.nodes).map(|number| lines(number).collect()).collect();
        let at_once = self.rows.len().div_ceil(self.nodes * TICKS).max(1);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for from in (0..range.len().div_ceil(self.nodes)).step_by(at_once) {
            tick.tick().await;
            let together = Arc::new(Barrier::new(self.nodes));
            let serve = |(till, own): (Till, &Vec<usize>)| {
                let some = own.iter().skip(from).take(at_once).map(|at| self.rows[*at].clone()).collect();
                let together = Arc::clone(&together);
                spawn_blocking(move || serve_some(till, some, &together))
            };
            let serving: Vec<_> = tills.drain(..).zip(&own).map(serve).collect();
            for served in serving {
                tills.push(served.await.map_err(|error| Failure::Failed(format!("a till broke: {error}")))??);
            }
            self.progress.inc((at_once * self.nodes) as u64);
        }
        Ok(tills)
    }
}

/// Has `till` serve `rows`, once all others are ready to serve theirs.
fn serve_some(mut till: Till, rows: Vec<Row>, together: &Barrier) -> Result<Till, Failure> {
    together.wait();
    for row in &rows {
        till.serve(row).map_err(|error| Failure::Failed(format!("line {}: {error}", row.line)))?;
    }
    Ok(till)
}
