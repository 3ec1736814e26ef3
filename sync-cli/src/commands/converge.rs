//! `converge`: exit code 0 when every peer holds what the node holds, 3 when the time is over; with `--all`
//! for every node that this one is linked with; with `--dry-run` only what would move.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use sync_net::{Amount, ClusterReport, ConvergeReport, PeerSurvey, SurveyReport};

use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::output::{self, grouped, shown, table};

/// Asks the node to converge within `timeout` seconds.
pub(super) async fn converge(client: &Client, timeout: u64, json: bool) -> Result<(), Failure> {
    let answer = ask(client, "/v1/converge", timeout, json).await?;
    if json {
        return output::line(answer.as_str());
    }
    let report: ConvergeReport = answer.parse()?;
    output::line(&format!(
        "converged with {} peers in {} ms, root {}{}",
        report.peers.len(),
        report.elapsed_ms,
        report.root,
        away(&report.away)
    ))
}

/// Asks the node to wait until all nodes that it is linked with have converged with each other.
pub(super) async fn all(client: &Client, timeout: u64, json: bool) -> Result<(), Failure> {
    let answer = ask(client, "/v1/converge/cluster", timeout, json).await?;
    if json {
        return output::line(answer.as_str());
    }
    let report: ClusterReport = answer.parse()?;
    let elsewhere = match report.links_elsewhere.as_slice() {
        [] => String::new(),
        nodes => format!(
            "; linked with nodes that this one is not linked with, ask there too: {}",
            nodes.join(", ")
        ),
    };
    output::line(&format!(
        "{} nodes converged with each other in {} ms, root {}{elsewhere}{}",
        report.peers.len() + 1,
        report.elapsed_ms,
        report.root,
        away(&report.away)
    ))
}

fn away(nodes: &[String]) -> String {
    match nodes {
        [] => String::new(),
        nodes => format!("; not waited for, gone and not configured there: {}", nodes.join(", ")),
    }
}

/// Asks for something that may take `timeout` seconds; when they are over, the answer says who is late.
async fn ask(client: &Client, path: &str, timeout: u64, json: bool) -> Result<Answer, Failure> {
    let body = json!({"timeout_ms": timeout.saturating_mul(1_000)});
    match client.post_slow(path, &body, Duration::from_secs(timeout)).await? {
        Ok(answer) => Ok(answer),
        Err(refusal) if refusal.status == StatusCode::GATEWAY_TIMEOUT => {
            if json {
                output::line(refusal.body.as_ref().map_or("null", Answer::as_str))?;
            }
            Err(Failure::NotConverged(refusal.text()))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Prints what would move between the node and each of its peers. Nothing moves.
pub(super) async fn dry_run(client: &Client, timeout: u64, json: bool) -> Result<(), Failure> {
    let answer = ask(client, "/v1/survey", timeout, json).await?;
    let report: SurveyReport = answer.parse()?;
    if json {
        output::line(answer.as_str())?;
    } else {
        output::line(&table(
            &["Peer", "Name", "Direction", "#Keys", "#Items", "#Bytes", "#Events", "Roots"],
            report.peers.iter().flat_map(rows),
        ))?;
    }
    let silent = report.peers.iter().filter_map(|peer| {
        let reason = peer.reason.as_ref()?;
        Some(format!("{} ({})", shown(&peer.address), shown(reason)))
    });
    let silent: Vec<String> = silent.collect();
    if silent.is_empty() {
        return Ok(());
    }
    Err(Failure::NotConverged(format!("not every peer could tell: {}", silent.join(", "))))
}

/// Two lines for a peer that told, one for a peer that did not.
fn rows(peer: &PeerSurvey) -> Vec<Vec<String>> {
    let id = peer.peer.as_deref().map_or("unknown", |id| id.get(..8).unwrap_or(id)).to_owned();
    let name = shown(peer.name.as_deref().unwrap_or(&peer.address));
    let Some(told) = &peer.told else {
        let mut row = vec![id, name, "unknown".to_owned()];
        row.extend(["-", "-", "-", "-", "-"].map(str::to_owned));
        return vec![row];
    };
    let roots = match (told.roots_equal, told.same_events) {
        (true, _) => "equal",
        (false, false) => "differ",
        (false, true) => "differ, though the events are the same: DAMAGE",
    };
    let row = |direction: &str, amount: &Amount| {
        let figure = |count: u64| format!("{}{}", if amount.at_least { ">= " } else { "" }, grouped(count));
        let Amount { events, keys, items, bytes, at_least: _ } = *amount;
        let figures = [figure(keys), figure(items), figure(bytes), grouped(events)];
        let start = [id.clone(), name.clone(), direction.to_owned()];
        start.into_iter().chain(figures).chain([roots.to_owned()]).collect()
    };
    vec![row("receive", &told.receive), row("send", &told.send)]
}
