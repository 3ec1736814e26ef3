//! `demo`: a shop on several nodes, one of them cut off for a while, and a check of everything.
//!
//! In goes a CSV file of invoice lines (a real one is in the binary); out come a table and a verdict.
//! `rows` reads the lines, `cluster` starts the nodes, `feed` deals the lines, `shop` turns a line into
//! writes and records them. `ledger` and `check` judge the record and what the nodes hold in the end,
//! sharing nothing with the engine; `record` is the plain data in between, `report` the outcome.

mod check;
mod cluster;
mod feed;
mod ledger;
mod record;
mod report;
mod rows;
mod shop;

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sync_net::Limits;

use self::cluster::Cluster;
use self::feed::Feed;
use self::ledger::Ledger;
use self::record::Step;
use self::report::Report;
use self::rows::{Row, Rows};
use self::shop::Till;
use crate::args::DemoArgs;
use crate::failure::Failure;
use crate::{log, output};

/// The first 10,000 rows of the UCI *Online Retail* data set; see `tests/data/README.md`.
const BUNDLED: &[u8] = include_bytes!("../../../tests/data/online-retail-10k.csv");

/// Longest data file, in bytes. A longer one is refused before it is read: the demo keeps the whole
/// history in memory to judge it.
const DATA_BYTES_MAX: u64 = 64 << 20;

/// Skipped lines that are named; the others are only counted.
const SKIPPED_SHOWN: usize = 20;

/// Runs the demo and prints its report.
pub(crate) async fn run(args: &DemoArgs, json: bool) -> Result<(), Failure> {
    log::to_stderr("error");
    let text = data(args.data.as_deref())?;
    let Rows { used, skipped } = rows::read(&text)?;
    for line in skipped.iter().take(SKIPPED_SHOWN) {
        log::complain(&output::shown(&line.to_string()));
    }
    if skipped.len() > SKIPPED_SHOWN {
        log::complain(&format!("and {} more lines skipped", skipped.len() - SKIPPED_SHOWN));
    }
    let begun = Instant::now();
    let progress = progress_bar(used.len(), json);
    let outcome = play(args.nodes, used, &progress).await;
    progress.finish_and_clear();
    let (cluster, played) = outcome?;

    let holdings = cluster.nodes().iter().map(shop::holdings).collect::<Result<Vec<_>, _>>();
    let verdict = check::check(&Ledger::read(&text), &played.steps, &holdings.map_err(Failure::failed)?);
    let report = Report {
        status: cluster.status(),
        rows: played.rows,
        skipped: skipped.len(),
        crdts_written: report::crdts_written(&played.steps),
        effective_removes: report::effective_removes(&played.steps),
        not_converged: played.not_converged,
        heal: played.heal,
        verdict,
        elapsed: begun.elapsed(),
    };
    cluster.shutdown().await;
    report.conclude(json)
}

/// What happened on the stage.
struct Played {
    rows: usize,
    /// What each node did.
    steps: Vec<Vec<Step>>,
    heal: Option<Duration>,
    not_converged: Option<Failure>,
}

/// Three acts: all together, the last node on its own, all together again; then all converge.
async fn play(count: u8, used: Vec<Row>, progress: &ProgressBar) -> Result<(Cluster, Played), Failure> {
    progress.set_message("linking");
    let cluster = Cluster::start(count, crdts_max(used.len())).await?;
    let nodes = cluster.nodes();
    let tills = nodes.iter().cloned().map(Till::new).collect();
    let rows = used.len();
    let feed = Feed::new(used, nodes.len(), progress.clone());

    progress.set_message("all nodes linked");
    let tills = feed.serve(tills, feed.third(0)).await?;
    progress.set_message(format!("node {count} cut off"));
    cluster.cut_last();
    let tills = feed.serve(tills, feed.third(1)).await?;
    progress.set_message("healing");
    let heal = cluster.heal().await;
    progress.set_message("all nodes linked");
    let tills = feed.serve(tills, feed.third(2)).await?;
    progress.set_message("converging");
    let not_converged = cluster.converge().await.err();
    let steps = tills.into_iter().map(|till| till.steps).collect();
    Ok((cluster, Played { rows, steps, heal, not_converged }))
}

/// Room for everything that the lines may create: a cart, a profile and a stock each at most.
fn crdts_max(rows: usize) -> u64 {
    let most = u64::try_from(rows).unwrap_or(u64::MAX).saturating_mul(3);
    most.max(Limits::default().crdts_max)
}

fn data(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let Some(path) = path else { return Ok(BUNDLED.to_vec()) };
    let cannot = |error: std::io::Error| {
        Failure::Failed(format!("cannot read {}: {error}; check the path given to --data", path.display()))
    };
    let mut text = Vec::new();
    File::open(path).map_err(cannot)?.take(DATA_BYTES_MAX + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > DATA_BYTES_MAX {
        return Err(Failure::Failed(format!(
            "{} is longer than {} MiB; give a shorter file to --data",
            path.display(),
            DATA_BYTES_MAX >> 20
        )));
    }
    Ok(text)
}

/// On standard error if that is a terminal and the output is for people; else hidden.
fn progress_bar(rows: usize, json: bool) -> ProgressBar {
    let visible = !json && std::io::stderr().is_terminal();
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(rows as u64), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows  {elapsed}  {msg}");
    bar.with_style(style.expect("the template is a constant and is well formed"))
}
