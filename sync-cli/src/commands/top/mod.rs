//! `top`: a running node at a glance, again and again: health, rates, peers, bounds.
//!
//! A [`Glance`] is what the node answers, two of them give rates, `view` draws. With `--once` the picture goes to
//! standard output as text, with `--json` what it is drawn from; otherwise the terminal is taken over and given back, whatever ends it.

mod rates;
mod view;

use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::json;
use sync_net::{Health, NodeStatus, PeerInfo};

use self::rates::Rates;
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// Width of a picture that is no terminal's, in columns.
const WIDTH: u16 = 120;

/// How long peers may take to say by how many keys they differ, in milliseconds.
const SURVEY_MS: u64 = 2_000;

/// What a node answered at a time.
#[derive(Debug, Clone)]
pub(super) struct Glance {
    at: Instant,
    status: NodeStatus,
    peers: Vec<PeerInfo>,
    health: Health,
}

async fn look(client: &Client) -> Result<Glance, Failure> {
    let health = client.get("/v1/health", &[]).await?.parse()?;
    let status = client.get("/v1/status", &[]).await?.parse()?;
    let peers = client.get("/v1/peers", &[]).await?.parse()?;
    Ok(Glance { at: Instant::now(), status, peers, health })
}

/// Shows the node until it is told to end.
pub(super) async fn top(client: &Client, once: bool, interval: u64, json: bool) -> Result<(), Failure> {
    let interval = Duration::from_secs(interval);
    if json {
        let health = client.get("/v1/health", &[]).await?;
        let (status, peers) = (client.get("/v1/status", &[]).await?, client.get("/v1/peers", &[]).await?);
        let (health, status, peers) = (health.as_str(), status.as_str(), peers.as_str());
        return output::line(&format!(r#"{{"health":{health},"status":{status},"peers":{peers}}}"#));
    }
    let before = look(client).await?;
    if once {
        tokio::time::sleep(interval).await;
        let now = look(client).await?;
        return output::line(&view::text(&now, Some(&Rates::between(&before, &now)), WIDTH));
    }
    let cannot = |error| Failure::Failed(format!("cannot draw on this terminal ({error}); use --once"));
    let mut terminal = ratatui::try_init().map_err(cannot)?;
    let ended = follow(client, before, interval, &mut terminal).await;
    ratatui::restore();
    ended
}

/// What somebody pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pressed {
    Nothing,
    Survey,
    End,
}

async fn follow(
    client: &Client,
    mut before: Glance,
    interval: Duration,
    terminal: &mut DefaultTerminal,
) -> Result<(), Failure> {
    let mut rates = None;
    loop {
        terminal.draw(|frame| view::draw(frame, &before, rates.as_ref())).map_err(Failure::failed)?;
        // Nothing else runs on this thread: a blocking wait for keys holds nobody up.
        match pressed(interval).map_err(Failure::failed)? {
            Pressed::Nothing => {}
            Pressed::End => return Ok(()),
            Pressed::Survey => {
                let body = json!({ "timeout_ms": SURVEY_MS });
                client.post_slow("/v1/survey", &body, Duration::from_millis(SURVEY_MS)).await??;
            }
        }
        let now = look(client).await?;
        rates = Some(Rates::between(&before, &now));
        before = now;
    }
}

/// The first key that means something, or nothing once `interval` is over.
fn pressed(interval: Duration) -> std::io::Result<Pressed> {
    let until = Instant::now() + interval;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(Pressed::Nothing);
        }
        let key = match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => key,
            Event::Resize(..) => return Ok(Pressed::Nothing),
            Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => {
                continue;
            }
        };
        // In raw mode the terminal sends no signal.
        let interrupts = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        if interrupts || key.code == KeyCode::Char('q') || key.code == KeyCode::Esc {
            return Ok(Pressed::End);
        }
        if key.code == KeyCode::Char('s') {
            return Ok(Pressed::Survey);
        }
    }
}
