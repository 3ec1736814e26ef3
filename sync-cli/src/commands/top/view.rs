//! Draws a [`Glance`]: the same widgets on a terminal and as text.
//!
//! Names, failures and reasons may come from others, so all text is escaped before it is drawn.

use ratatui::Frame;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};
use ratatui::{Terminal, buffer::Buffer};
use sync_net::{BoundPressure, HealthState, NamespaceInfo, PeerInfo};

use super::Glance;
use super::rates::{Rate, Rates};
use crate::commands::namespaces::pressure;
use crate::output::{grouped, shown};

/// From this share on a bound is marked.
const HIGH: f64 = 0.8;

/// Columns of a bar.
const BAR: usize = 20;

/// Draws everything that fits, the most important first.
pub(super) fn draw(frame: &mut Frame<'_>, now: &Glance, rates: Option<&Rates>) {
    let (head, peers, bounds) = (head(now, rates), peers(now, rates), bounds(now));
    let [at_head, at_peers, at_lanes, at_bounds] = Layout::vertical([
        Constraint::Length(rows(head.len()) + 1),
        Constraint::Length(rows(now.peers.len()) + 2),
        Constraint::Length(rows(lanes_height(now))),
        Constraint::Fill(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), at_head);
    frame.render_widget(peers, at_peers);
    if lanes_height(now) > 0 {
        frame.render_widget(lanes(now), at_lanes);
    }
    frame.render_widget(bounds, at_bounds);
}

fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX / 4)
}

/// The picture as plain text, as high as it needs to be.
pub(super) fn text(now: &Glance, rates: Option<&Rates>, width: u16) -> String {
    let lists = now.peers.len() + 2 + lanes_height(now) + now.status.pressure.len() + 1;
    let height = head(now, rates).len() + 1 + lists;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, rows(height)));
    let Ok(_) = terminal.draw(|frame| draw(frame, now, rates));
    plain(terminal.backend().buffer())
}

fn plain(buffer: &Buffer) -> String {
    let area = *buffer.area();
    let row = |y| {
        let text: String = (area.left()..area.right()).map(|x| buffer[(x, y)].symbol()).collect();
        text.trim_end().to_owned()
    };
    let rows: Vec<String> = (area.top()..area.bottom()).map(row).collect();
    rows.join("\n").trim_end().to_owned()
}

fn colour(state: HealthState) -> Color {
    match state {
        HealthState::Healthy => Color::Green,
        HealthState::Degraded => Color::Yellow,
        HealthState::Isolated | HealthState::Damaged => Color::Red,
    }
}

fn head<'a>(now: &Glance, rates: Option<&Rates>) -> Vec<Line<'a>> {
    let Glance { status, health, .. } = now;
    let field =
        |name: &str, text: String| Line::from(vec![Span::from(format!("{name:<8}")).dim(), Span::from(text)]);
    let id = status.node.get(..8).unwrap_or(&status.node);
    let (name, cluster) = (shown(&status.name), shown(&status.cluster));
    let mut lines =
        vec![field("node", format!("{name}  {id}  cluster {cluster}  at {}", shown(&status.listen)))];

    let ready = match &health.not_ready {
        None => "ready".to_owned(),
        Some(why) => format!("not ready: {}", shown(why)),
    };
    lines.push(Line::from(vec![
        Span::from(format!("{:<8}", "health")).dim(),
        Span::from(health.state.name()).fg(colour(health.state)).bold(),
        Span::from(format!(", {ready}")),
    ]));
    for reason in &health.reasons {
        lines.push(Line::from(format!("        {}: {}", shown(&reason.kind), shown(&reason.what))));
        lines.push(Line::from(format!("          next: {}", shown(&reason.next))).dim());
    }
    let root = status.root.get(..8).unwrap_or(&status.root);
    lines.push(field(
        "state",
        format!(
            "{} CRDTs, {} items, {} bytes, {} records, root {root}",
            grouped(status.crdts),
            grouped(status.items),
            grouped(status.bytes),
            grouped(status.records)
        ),
    ));
    lines.push(field("disk", disk(now)));
    if let Some(bootstrap) = &status.bootstrap {
        let (items, total) = (grouped(bootstrap.items), grouped(bootstrap.items_total));
        lines.push(field("comes in", format!(" {items} of {total} items")));
    }
    if let Some(Rates { node, .. }) = rates {
        lines.push(field("traffic", traffic(node)));
        lines.push(field("merges", merges(node)));
    }
    lines
}

fn disk(now: &Glance) -> String {
    let Some(storage) = &now.status.storage else { return "none, in memory".to_owned() };
    let behind = storage.steps.saturating_sub(storage.persisted);
    let (commits, failures) = (grouped(storage.commits), grouped(storage.failures));
    let full = if storage.reserve { "" } else { ", FULL" };
    format!("{commits} commits, {failures} failed, {} steps behind{full}", grouped(behind))
}

fn traffic(rate: &Rate) -> String {
    let Rate { frames_out, bytes_out, frames_in, bytes_in, .. } = rate;
    format!(
        "out {frames_out:.1} frames/s {}/s, in {frames_in:.1} frames/s {}/s",
        bytes(*bytes_out),
        bytes(*bytes_in)
    )
}

fn merges(rate: &Rate) -> String {
    let Rate { items_new, conflicts, timeouts, fell_behind, refused, .. } = rate;
    format!(
        "{items_new:.1} new items/s, {conflicts:.1} conflicts/s, {timeouts:.1} timeouts/s, {fell_behind:.1} fell behind/s, \
         {refused:.1} refused/s"
    )
}

/// Bytes in a unit that keeps three digits or so.
fn bytes(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0} B"),
        1e3..1e6 => format!("{:.1} kB", count / 1e3),
        _ => format!("{:.1} MB", count / 1e6),
    }
}

fn peers<'a>(now: &Glance, rates: Option<&Rates>) -> Table<'a> {
    let row = |peer: &PeerInfo| {
        let rate = peer.peer.as_ref().and_then(|id| rates?.peers.get(id));
        let id = peer.peer.as_deref().map_or("unknown", |id| id.get(..8).unwrap_or(id));
        let style = if peer.connected { Style::new() } else { Style::new().fg(Color::Red) };
        let dash = || "-".to_owned();
        Row::new([
            id.to_owned(),
            peer.name.as_deref().or(peer.address.as_deref()).map_or_else(dash, shown),
            if peer.behind && peer.connected { "catching up".to_owned() } else { link(peer).to_owned() },
            match peer.roots_equal {
                Some(true) => "equal".to_owned(),
                Some(false) => "differ".to_owned(),
                None => dash(),
            },
            peer.divergent_keys.map_or_else(dash, grouped),
            peer.lag_ms.map_or_else(dash, lag),
            grouped(peer.queued_frames),
            grouped(peer.queued_bytes),
            rate.map_or_else(dash, |rate| format!("{}/s", bytes(rate.bytes_in))),
            rate.map_or_else(dash, |rate| format!("{}/s", bytes(rate.bytes_out))),
            shown(&peer.breaker.state),
            why(peer),
        ])
        .style(style)
    };
    let widths = [8, 16, 11, 6, 6, 8, 6, 10, 9, 9, 9].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let header =
        ["PEER", "NAME", "LINK", "ROOTS", "KEYS", "LAG", "QUEUE", "BYTES", "IN", "OUT", "BREAKER", "FAILURE"];
    Table::new(now.peers.iter().map(row), widths).header(Row::new(header).bold())
}

fn link(peer: &PeerInfo) -> &'static str {
    match (peer.connected, peer.blocked) {
        (true, _) => "up",
        (false, true) => "cut",
        (false, false) => "down",
    }
}

/// Why there is no link, and what opened the breaker.
fn why(peer: &PeerInfo) -> String {
    let causes =
        [peer.failure.as_deref(), peer.breaker.reason.as_deref().filter(|_| peer.breaker.state != "closed")];
    causes.into_iter().flatten().map(shown).collect::<Vec<_>>().join("; breaker: ")
}

fn lag(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..10_000 => format!("{ms} ms"),
        10_000.. => format!("{} s", grouped(ms / 1_000)),
    }
}

/// Lines that namespaces take; none if there is only the default one, of which the head tells.
fn lanes_height(now: &Glance) -> usize {
    match now.status.namespaces.len() {
        0 | 1 => 0,
        more => more + 2,
    }
}

fn lanes<'a>(now: &Glance) -> Table<'a> {
    let row = |info: &NamespaceInfo| {
        let style = if info.open { Style::new() } else { Style::new().dim() };
        Row::new([
            shown(&info.name),
            shown(&info.class),
            if info.open { "open" } else { "closed" }.to_owned(),
            grouped(info.peers),
            grouped(info.crdts),
            grouped(info.bytes),
            info.root.as_deref().map_or("-".to_owned(), |root| shown(root.get(..8).unwrap_or(root))),
            pressure(info),
        ])
        .style(style)
    };
    let widths = [20, 7, 7, 6, 9, 14, 9].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let header = ["NAMESPACE", "CLASS", "STATE", "PEERS", "KEYS", "BYTES", "ROOT", "FULLEST BOUND"];
    Table::new(now.status.namespaces.iter().map(row), widths).header(Row::new(header).bold())
}

fn bounds<'a>(now: &Glance) -> Table<'a> {
    let row = |bound: &BoundPressure| {
        let style = if bound.pressure >= HIGH { Style::new().fg(Color::Yellow) } else { Style::new() };
        Row::new([
            shown(&bound.bound),
            grouped(bound.used),
            grouped(bound.max),
            format!("{:.1} %", bound.pressure * 100.0),
            bar(bound.pressure),
        ])
        .style(style)
    };
    let widths = [20, 15, 15, 8, 20].map(Constraint::Length);
    let header = Row::new(["BOUND", "USED", "OF", "SHARE", ""]).bold();
    Table::new(now.status.pressure.iter().map(row), widths).header(header)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 20 columns")]
fn bar(share: f64) -> String {
    "#".repeat((share.clamp(0.0, 1.0) * BAR as f64).round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    use serde_json::json;
    use sync_net::{Health, HealthReason};

    fn glance(at: Instant, sent: u64) -> Glance {
        let totals = |bytes_sent: u64| {
            json!({
                "frames_sent": 2 * sent, "bytes_sent": bytes_sent, "frames_received": 0, "bytes_received": 0,
                "pushes_sent": 0, "deltas_sent": 0, "sessions": 0, "fallbacks": 0, "answers": 0, "items_new": 0,
                "items_known": 0, "frames_stale": 0, "frames_refused": 0, "timeouts": sent
            })
        };
        let peer = |id: &str, name: Option<&str>, connected: bool, failure: Option<&str>| {
            json!({
                "peer": id, "name": name, "address": "10.0.0.2:7000", "configured": true, "connected": connected,
                "blocked": false, "failure": failure, "attempts": 1, "incarnation": null, "behind": false, "acked": 3,
                "head": 9, "roots_equal": connected, "queued_frames": 12, "queued_bytes": 34_567, "lag_ms": 75_000,
                "divergent_keys": 4, "clock_ahead_ms": 0, "totals": totals(1_000 * sent),
                "breaker": sync_net::BreakerInfo {
                    state: if connected { "closed" } else { "open" }.to_owned(),
                    reason: Some("unreachable".to_owned()),
                    ..Default::default()
                }
            })
        };
        let status = json!({
            "node": "0123456789ab", "name": "n\u{1b}[2J", "replica": "00", "cluster": "c", "listen": "127.0.0.1:1",
            "root": "fedcba98", "state_id": "00", "crdts": 1_234, "bytes": 5, "items": 6, "context_columns": 1,
            "log_head": 9, "records": 0, "peers_connected": 1, "turns": 1, "totals": totals(2_000 * sent),
            "pressure": [
                { "bound": "crdts_max", "used": 1_234, "max": 10_000, "pressure": 0.1234 },
                { "bound": "store_bytes_max", "used": 9, "max": 10, "pressure": 0.9 }
            ]
        });
        let reason = HealthReason {
            state: HealthState::Degraded,
            kind: "clock_off".to_owned(),
            what: "70000 ms fast".to_owned(),
            next: "set it right".to_owned(),
        };
        Glance {
            at,
            status: serde_json::from_value(status).expect("a status"),
            peers: serde_json::from_value(json!([
                peer("aaaaaaaabbbb", Some("other"), true, None),
                peer("ccccccccdddd", None, false, Some("timed out"))
            ]))
            .expect("peers"),
            health: Health {
                state: HealthState::Degraded,
                ready: true,
                not_ready: None,
                reasons: vec![reason],
            },
        }
    }

    #[test]
    fn a_picture_has_health_rates_peers_breakers_and_bounds_each_in_its_line() {
        let start = Instant::now();
        let (before, now) = (glance(start, 0), glance(start + Duration::from_secs(2), 10));
        let picture = text(&now, Some(&Rates::between(&before, &now)), 140);
        let expected = "\
node    n\\u{1b}[2J  01234567  cluster c  at 127.0.0.1:1
health  degraded, ready
        clock_off: 70000 ms fast
          next: set it right
state   1,234 CRDTs, 6 items, 5 bytes, 0 records, root fedcba98
disk    none, in memory
traffic out 10.0 frames/s 10.0 kB/s, in 0.0 frames/s 0 B/s
merges  0.0 new items/s, 0.0 conflicts/s, 5.0 timeouts/s, 0.0 fell behind/s, 0.0 refused/s

PEER     NAME             LINK        ROOTS  KEYS   LAG      QUEUE  BYTES      IN        OUT       BREAKER   FAILURE
aaaaaaaa other            up          equal  4      75 s     12     34,567     0 B/s     5.0 kB/s  closed
cccccccc 10.0.0.2:7000    down        differ 4      75 s     12     34,567     0 B/s     5.0 kB/s  open      timed out; breaker: unreachable

BOUND                USED            OF              SHARE
crdts_max            1,234           10,000          12.3 %   ##
store_bytes_max      9               10              90.0 %   ##################";
        assert_eq!(picture, expected, "\n{picture}");
    }

    #[test]
    fn a_small_terminal_shows_what_fits_and_the_head_first() {
        let now = glance(Instant::now(), 1);
        let mut terminal = Terminal::new(TestBackend::new(30, 4)).expect("a test's terminal");
        terminal.draw(|frame| draw(frame, &now, None)).expect("it draws");
        let picture = plain(terminal.backend().buffer());
        assert!(picture.starts_with("node    n") && picture.contains("health  degraded"), "{picture}");
    }
}
