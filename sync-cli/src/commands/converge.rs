//! `converge`: exit code 0 when every peer holds what the node holds, 3 when the time is over.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use sync_net::ConvergeReport;

use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::output;

/// Asks the node to converge within `timeout` seconds.
pub(super) async fn converge(client: &Client, timeout: u64, json: bool) -> Result<(), Failure> {
    let expected = Duration::from_secs(timeout);
    let body = json!({"timeout_ms": timeout.saturating_mul(1_000)});
    let answer = match client.post_slow("/v1/converge", &body, expected).await? {
        Ok(answer) => answer,
        Err(refusal) if refusal.status == StatusCode::GATEWAY_TIMEOUT => {
            if json {
                output::line(refusal.body.as_ref().map_or("null", Answer::as_str))?;
            }
            return Err(Failure::NotConverged(refusal.text()));
        }
        Err(refusal) => return Err(refusal.into()),
    };
    if json {
        return output::line(answer.as_str());
    }
    let report: ConvergeReport = answer.parse()?;
    let away = match report.away.as_slice() {
        [] => String::new(),
        away => format!("; not waited for, gone and not configured there: {}", away.join(", ")),
    };
    output::line(&format!(
        "converged with {} peers in {} ms, root {}{away}",
        report.peers.len(),
        report.elapsed_ms,
        report.root
    ))
}
