//! `events`: follows what happens on a running node, until it is interrupted.
//!
//! The node closes every local connection after a while; the tool then follows anew and says that something may have
//! been missed in between. What it reads too slowly the node drops, and says how much.

use serde_json::{Value, json};
use sync_net::{NodeEvent, Severity};
use tokio::signal::ctrl_c;

use super::follow::{Ended, follow};
use super::look;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, shown};

/// Prints each event until interrupted, or until whoever reads the output is gone.
pub(super) async fn events(client: &Client, json: bool) -> Result<(), Failure> {
    let mut interrupted = std::pin::pin!(ctrl_c());
    loop {
        let ended =
            follow(client, ("/v1/events", &[]), interrupted.as_mut(), |line| print(line, json)).await?;
        match ended {
            Ended::Here => return Ok(()),
            Ended::There if print(&json!({ "event": "reconnected" }).to_string(), json)? => {}
            Ended::There => return Ok(()),
            Ended::AtOnce => {
                let text = "the node ended the events; look whether it still runs";
                return Err(Failure::Failed(text.to_owned()));
            }
        }
    }
}

fn print(line: &str, json: bool) -> Result<bool, Failure> {
    output::piece(&format!("{}\n", if json { line.to_owned() } else { text(line)? }))
}

/// An event for people.
fn text(line: &str) -> Result<String, Failure> {
    let unclear = |error| Failure::Failed(format!("the node's line is not understood ({error})"));
    let value: Value = serde_json::from_str(line).map_err(unclear)?;
    match value["event"].as_str() {
        Some("dropped") => {
            let count = value["count"].as_u64().unwrap_or(0);
            Ok(format!(
                "! the node dropped {count} events that were read too slowly; a faster reader sees them all"
            ))
        }
        Some("reconnected") => {
            Ok("! the connection was made anew: events in between are not shown".to_owned())
        }
        Some(_) | None => {
            let event: NodeEvent = serde_json::from_value(value).map_err(unclear)?;
            let severity = match event.severity {
                Severity::Info => "info",
                Severity::Warning => "WARN",
                Severity::Alarm => "ALARM",
            };
            Ok(format!(
                "{}  {severity:<5}  {}: {}",
                look::at(event.at_ms),
                shown(&event.event),
                shown(&event.text)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_others_wrote_into_it() {
        let line = json!({
            "at_ms": 0, "severity": "alarm", "event": "diverged", "text": "a\u{1b}b\nc", "fields": { "peer": "01" }
        });
        let shown = text(&line.to_string()).expect("it is an event");
        assert_eq!(shown, "1970-01-01 00:00:00.000  ALARM  diverged: a\\u{1b}b\\nc");
        let dropped = text(r#"{"event":"dropped","count":7}"#).expect("it is known");
        assert!(dropped.contains("dropped 7 events"), "{dropped}");
        assert!(text("[]").is_err() && text("no json").is_err());
    }
}
