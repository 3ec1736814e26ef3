//! `keys`, `inspect` and `peers`: what a running node holds and whom it talks to.

use std::fmt::Write as _;

use sync_net::{
    Bootstrap, BreakerInfo, Damage, Evidence, Inspection, KeyInfo, NodeStatus, ObjectInspection, PeerInfo,
    Shown, StorageStatus,
};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, grouped, shown, table};

/// Lists keys.
pub(super) async fn keys(client: &Client, prefix: &str, json: bool) -> Result<(), Failure> {
    let answer = client.get("/v1/keys", &[("prefix", prefix)]).await?;
    if json {
        return output::line(answer.as_str());
    }
    let keys: Vec<KeyInfo> = answer.parse()?;
    let rows = keys.iter().map(|info| {
        vec![shown(&info.key), info.ty.clone(), grouped(info.cells), grouped(info.items), grouped(info.bytes)]
    });
    output::line(&table(&["Key", "Type", "#Cells", "#Items", "#Bytes"], rows))
}

/// Shows the node's figures and its causal context; with `key`, the cells of that key.
pub(super) async fn inspect(client: &Client, key: Option<&str>, json: bool) -> Result<(), Failure> {
    let Some(key) = key else { return inspect_node(client, json).await };
    let answer = client.get("/v1/inspect", &[("key", key)]).await?;
    let inspection: Inspection = answer.parse()?;
    if json {
        output::line(answer.as_str())?;
    } else {
        for object in &inspection.objects {
            output::line(&cells(object))?;
        }
    }
    if inspection.objects.is_empty() {
        return Err(Failure::Failed(format!("nothing is stored at {}; `keys` lists what is", shown(key))));
    }
    Ok(())
}

/// What the disk does, in a line.
fn disk(storage: Option<&StorageStatus>, damage: Option<&Damage>) -> String {
    if let Some(Damage { file, error, readable }) = damage {
        return format!(
            "DAMAGED, only to be read: {} items of it are sound, {} rows are not what was written; {}: {}",
            readable.items,
            readable.unsound,
            shown(file),
            shown(error)
        );
    }
    let Some(StorageStatus { bytes, commits, last_commit_us, failing, failing_ms, reserve, .. }) = storage
    else {
        return "none, in memory".to_owned();
    };
    let ms = |us: u64| us as f64 / 1e3;
    let (bytes, commits) = (grouped(*bytes), grouped(*commits));
    let works = match failing {
        None => format!("the last in {:.1} ms", ms(*last_commit_us)),
        Some(reason) => format!("FAILING for {} s: {}", failing_ms.unwrap_or(0) / 1_000, shown(reason)),
    };
    let full = if *reserve { "" } else { "; FULL: what grows is refused" };
    format!("{bytes} bytes, {commits} commits, {works}{full}")
}

async fn inspect_node(client: &Client, json: bool) -> Result<(), Failure> {
    let (status, inspection) = (client.get("/v1/status", &[]).await?, client.get("/v1/inspect", &[]).await?);
    if json {
        let (status, inspection) = (status.as_str(), inspection.as_str());
        return output::line(&format!(r#"{{"status":{status},"inspection":{inspection}}}"#));
    }
    let (mut status, inspection): (NodeStatus, Inspection) = (status.parse()?, inspection.parse()?);
    if let Some(name) = client.namespace() {
        of_namespace(&mut status, name, inspection.records);
    }
    let totals = &status.totals;
    let figures = [
        ("node", status.node),
        ("name", shown(&status.name)),
        ("cluster", shown(&status.cluster)),
        ("listen", status.listen),
        ("root", status.root),
        ("state id", status.state_id),
        ("CRDTs", grouped(status.crdts)),
        ("live items", grouped(status.items)),
        ("bytes", grouped(status.bytes)),
        ("records", grouped(status.records)),
        ("log head", grouped(status.log_head)),
        ("disk", disk(status.storage.as_ref(), status.damage.as_ref())),
        ("peers linked", grouped(status.peers_connected)),
        ("comes in", status.bootstrap.map_or("-".to_owned(), |bootstrap| coming(&bootstrap))),
        ("sent", format!("{} deltas, {} bytes", grouped(totals.deltas_sent), grouped(totals.bytes_sent))),
        (
            "received",
            format!(
                "{} new items, {} known, {} bytes",
                grouped(totals.items_new),
                grouped(totals.items_known),
                grouped(totals.bytes_received)
            ),
        ),
        ("sessions", format!("{}, {} by comparing all", grouped(totals.sessions), grouped(totals.fallbacks))),
        ("frames refused", grouped(totals.frames_refused)),
        (
            "breakers",
            format!(
                "{} not closed; {} openings, {} time-outs, {} frames too long",
                grouped(status.breakers_open),
                grouped(totals.breaker_opens),
                grouped(totals.timeouts),
                grouped(totals.oversized)
            ),
        ),
    ];
    for (name, value) in figures {
        output::line(&format!("{name:<15}{value}"))?;
    }
    let bounds = status.pressure.iter().map(|reading| {
        let percent = format!("{:.1}", reading.pressure * 100.0);
        vec![reading.bound.clone(), grouped(reading.used), grouped(reading.max), percent]
    });
    output::line(&format!("\n{}", table(&["Bound", "#Used", "#Of", "#Percent"], bounds)))?;
    if status.namespaces.len() > 1 {
        output::line(&format!("\n{}", super::namespaces::shown_as_table(&status.namespaces)))?;
    }
    let columns = inspection.context.iter().map(|column| {
        let own = if column.replica == status.replica { "this node" } else { "" };
        vec![column.replica.clone(), grouped(column.known), own.to_owned()]
    });
    output::line(&format!("\n{}", table(&["Replica", "#Events known", ""], columns)))
}

/// How far a large answer is.
fn coming(bootstrap: &Bootstrap) -> String {
    let peer = bootstrap.peer.get(..8).unwrap_or(&bootstrap.peer);
    format!("{} of {} items from {peer}", grouped(bootstrap.items), grouped(bootstrap.items_total))
}

/// Puts the figures of the namespace called `name` where a status has those of the default one.
fn of_namespace(status: &mut NodeStatus, name: &str, records: u64) {
    let Some(info) = status.namespaces.iter().find(|info| info.name == name) else { return };
    let hash = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "-, closed".to_owned());
    (status.root, status.state_id) = (hash(&info.root), hash(&info.state_id));
    (status.crdts, status.items, status.bytes) = (info.crdts, info.items, info.bytes);
    (status.log_head, status.records) = (info.log_head, records);
    status.pressure.clone_from(&info.pressure);
}

/// One object: a line about it, then its items by cell.
fn cells(object: &ObjectInspection) -> String {
    let info = &object.info;
    let items = || object.shown.iter().flat_map(|cell| &cell.items);
    let expires = items().any(|item| item.expires_ms > 0);
    let rows = object.shown.iter().flat_map(|cell| {
        cell.items.iter().map(|item| {
            let replica = item.replica.get(..8).unwrap_or(&item.replica);
            let mut row = vec![
                cell.path.to_string(),
                value(&item.payload),
                format!("{replica}.{}", item.seq),
                at(item.written_ms),
            ];
            row.extend(expires.then(|| match item.expires_ms {
                0 => "never".to_owned(),
                ms => at(ms),
            }));
            row
        })
    });
    let left_out = match info.cells.saturating_sub(u64::try_from(object.shown.len()).unwrap_or(u64::MAX)) {
        0 => String::new(),
        more => format!("\nand {} more cells", grouped(more)),
    };
    let header = ["Cell", "Value", "Event", "Written (UTC)", "Expires (UTC)"];
    format!(
        "{} ({}): {} cells, {} live items, {} bytes\n{}{left_out}",
        shown(&info.key),
        info.ty,
        grouped(info.cells),
        grouped(info.items),
        grouped(info.bytes),
        table(&header[..if expires { 5 } else { 4 }], rows)
    )
}

/// A set's elements store no value.
fn value(payload: &Shown) -> String {
    match payload {
        Shown::Hex(hex) if hex.is_empty() => "-".to_owned(),
        Shown::Hex(_) | Shown::Text(_) => payload.to_string(),
    }
}

/// Milliseconds since 1970 as `2010-12-01 08:26:00.000`, by the civil calendar (Hinnant, *chrono-
/// Compatible Low-Level Date Algorithms*).
pub(super) fn at(millis: u64) -> String {
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{:03}", rest % 1_000)
}

/// Lists peers.
pub(super) async fn peers(client: &Client, json: bool) -> Result<(), Failure> {
    let answer = client.get("/v1/peers", &[]).await?;
    if json {
        return output::line(answer.as_str());
    }
    let peers: Vec<PeerInfo> = answer.parse()?;
    let rows = peers.iter().map(|peer| {
        vec![
            peer.peer.as_deref().map_or("unknown", |id| id.get(..8).unwrap_or(id)).to_owned(),
            shown(peer.name.as_deref().unwrap_or("-")),
            shown(peer.address.as_deref().unwrap_or("-")),
            link(peer),
            breaker(&peer.breaker),
            peer.acked
                .map_or("-".to_owned(), |acked| format!("{} of {}", grouped(acked), grouped(peer.head))),
            match peer.roots_equal {
                Some(true) => "equal",
                Some(false) => "differ",
                None => "-",
            }
            .to_owned(),
        ]
    });
    output::line(&table(&["Peer", "Name", "Address", "Link", "Breaker", "#Has our log to", "Roots"], rows))?;
    for peer in &peers {
        let name = peer.peer.as_deref().map_or("unknown", |id| id.get(..8).unwrap_or(id));
        for Evidence { kind, reason, bytes, times, .. } in &peer.evidence {
            let bytes = bytes.as_deref().map_or(String::new(), |bytes| format!("; its frame begins {bytes}"));
            output::line(&format!("{name}  {kind}, {times} times: {}{bytes}", shown(reason)))?;
        }
    }
    Ok(())
}

/// How a breaker stands, for how long and why; and what went wrong since the start, if anything did.
fn breaker(breaker: &BreakerInfo) -> String {
    let mut text = breaker.state.clone();
    if breaker.state != "closed" {
        if let Some(ms) = breaker.for_ms {
            let seconds = ms as f64 / 1e3;
            write!(text, " {seconds:.1} s").expect("a string takes all");
        }
        if let Some(reason) = &breaker.reason {
            write!(text, ": {}", shown(reason)).expect("a string takes all");
        }
    }
    let kinds = [
        (breaker.opens, "openings"),
        (breaker.timed_out, "time-outs"),
        (breaker.refused, "refused"),
        (breaker.violations, "violations"),
        (breaker.oversized, "too long"),
    ];
    let counts: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{} {kind}", grouped(count)))
        .collect();
    if counts.is_empty() { text } else { format!("{text} ({})", counts.join(", ")) }
}

fn link(peer: &PeerInfo) -> String {
    match (peer.connected, peer.blocked, &peer.failure) {
        (true, _, _) if peer.behind => "up, catching up".to_owned(),
        (true, _, _) => "up".to_owned(),
        (false, true, _) => "cut".to_owned(),
        (false, false, Some(failure)) => format!("down: {}", shown(failure)),
        (false, false, None) => "down".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn times_are_shown_in_the_civil_calendar() {
        assert_eq!(at(0), "1970-01-01 00:00:00.000");
        assert_eq!(at(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(at(1_291_191_960_123), "2010-12-01 08:26:00.123");
        assert_eq!(at(4_107_542_399_999), "2100-02-28 23:59:59.999");
    }
}
