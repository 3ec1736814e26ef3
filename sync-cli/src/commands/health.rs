//! `health`: how a running node is, as its exit code and with reasons.

use sync_net::{Health, HealthState};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, shown};

/// Prints the judgement; fails with the state's exit code if the node is not healthy.
pub(super) async fn health(client: &Client, json: bool) -> Result<(), Failure> {
    let answer = client.get("/v1/health", &[]).await?;
    let health: Health = answer.parse()?;
    output::line(if json { answer.as_str().to_owned() } else { text(&health) }.as_str())?;
    match (health.state, health.reasons.first()) {
        (HealthState::Healthy, _) | (_, None) => Ok(()),
        (state, Some(worst)) => {
            let (what, next) = (shown(&worst.what), shown(&worst.next));
            Err(Failure::Unwell(state, format!("the node is {}: {what}; {next}", state.name())))
        }
    }
}

/// The state, whether it is ready, and two lines for each reason.
fn text(health: &Health) -> String {
    let ready = match &health.not_ready {
        None => "ready".to_owned(),
        Some(why) => format!("not ready: {}", shown(why)),
    };
    let mut text = format!("{}, {ready}", health.state.name());
    for reason in &health.reasons {
        let (kind, what, next) = (shown(&reason.kind), shown(&reason.what), shown(&reason.next));
        text.push_str(&format!("\n{:<9} {kind}: {what}\n          next: {next}", reason.state.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_net::HealthReason;

    #[test]
    fn each_reason_says_what_is_the_matter_and_what_to_do() {
        let reason = HealthReason {
            state: HealthState::Degraded,
            kind: "disk_full".to_owned(),
            what: "the disk at /d\u{1b} is full".to_owned(),
            next: "make room".to_owned(),
        };
        let health = Health {
            state: HealthState::Degraded,
            ready: false,
            not_ready: Some("it stops".to_owned()),
            reasons: vec![reason],
        };
        let expected = "degraded, not ready: it stops\ndegraded  disk_full: the disk at /d\\u{1b} is full\n          next: make room";
        assert_eq!(text(&health), expected);
    }
}
