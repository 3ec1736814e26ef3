//! Waiting until a write is on other nodes: `visible` with a token, and `--visible` on commands that write.
//!
//! A write stays whatever comes of the wait; exit code 3 says that it is not known to be where it was to be.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use sync_net::Visible;

use crate::args::VisibleArgs;
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::output::{self, shown};

/// Waits until the write of `token` is on as many nodes as `wanted` says; `Err` with the line for people, and what the
/// node answered, once the time is over.
pub(super) async fn wait(
    client: &Client,
    token: &str,
    wanted: &VisibleArgs,
) -> Result<Result<Answer, (String, Option<Answer>)>, Failure> {
    let seconds = wanted.timeout;
    let (to, timeout_ms) = (wanted.to.to_string(), seconds.saturating_mul(1_000));
    let body = json!({"token": token, "to": to, "timeout_ms": timeout_ms});
    match client.post_slow("/v1/visible", &body, Duration::from_secs(seconds)).await? {
        Ok(answer) => Ok(Ok(answer)),
        Err(refusal) if refusal.status == StatusCode::GATEWAY_TIMEOUT => {
            Ok(Err((refusal.text(), refusal.body)))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// `visible TOKEN`.
pub(super) async fn visible(
    client: &Client,
    token: &str,
    wanted: &VisibleArgs,
    json: bool,
) -> Result<(), Failure> {
    match wait(client, token, wanted).await? {
        Ok(answer) if json => output::line(answer.as_str()),
        Ok(answer) => output::line(&said(&answer)?),
        Err((late, body)) => {
            if json {
                output::line(body.as_ref().map_or("null", Answer::as_str))?;
            }
            Err(Failure::NotConverged(late))
        }
    }
}

/// A write was answered with `answer`: waits as `wanted`, then prints both.
pub(super) async fn after_write(
    client: &Client,
    answer: &Answer,
    wanted: &VisibleArgs,
    json: bool,
) -> Result<(), Failure> {
    let mut told: serde_json::Map<String, Value> = answer.parse()?;
    let token = told.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
    let changed = super::ops::changed(told.get("changed") == Some(&Value::Bool(true)));
    let waited = wait(client, &token, wanted).await?;
    if json {
        let body = match &waited {
            Ok(answer) | Err((_, Some(answer))) => answer.parse()?,
            Err((_, None)) => Value::Null,
        };
        told.insert("visible".to_owned(), body);
        output::json(&Value::Object(told))?;
    } else {
        match &waited {
            Ok(answer) => output::line(&format!("{changed}, {}", said(answer)?))?,
            Err(_) => output::line(changed)?,
        }
    }
    waited.map(drop).map_err(|(late, _)| Failure::NotConverged(format!("the write stays, but is {late}")))
}

/// Where it is.
fn said(answer: &Answer) -> Result<String, Failure> {
    let Visible { elapsed_ms, holders, without, lacking: _ } = answer.parse()?;
    let name = |peer: &sync_net::ConvergedPeer| shown(peer.name.as_deref().unwrap_or(&peer.peer));
    let names: Vec<String> = holders.iter().map(name).collect();
    let held = if names.is_empty() { String::new() } else { format!(" and at {}", names.join(", ")) };
    let without = match without.len() {
        0 => String::new(),
        count => format!("; of the connected peers {count} do not have the namespace open"),
    };
    Ok(format!("visible here{held} after {elapsed_ms} ms{without}"))
}
