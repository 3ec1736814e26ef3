//! `namespaces`: what namespaces a running node keeps; `namespaces open|close` moves one.

use serde_json::json;
use sync_net::NamespaceInfo;

use super::client;
use crate::args::NamespacesCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, grouped, shown, table};

/// Lists them.
pub(super) async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let answer = client.get("/v1/namespaces", &[]).await?;
    if json {
        return output::line(answer.as_str());
    }
    let namespaces: Vec<NamespaceInfo> = answer.parse()?;
    output::line(&shown_as_table(&namespaces))
}

/// A row for each.
pub(super) fn shown_as_table(namespaces: &[NamespaceInfo]) -> String {
    let rows = namespaces.iter().map(|info| {
        vec![
            shown(&info.name),
            info.class.clone(),
            if info.open { "open" } else { "closed" }.to_owned(),
            grouped(info.peers),
            grouped(info.crdts),
            grouped(info.bytes),
            info.root.as_deref().map_or("-", |root| root.get(..8).unwrap_or(root)).to_owned(),
            pressure(info),
        ]
    });
    table(&["Namespace", "Class", "State", "#Peers", "#Keys", "#Bytes", "Root", "Fullest bound"], rows)
}

/// The bound that is closest, rings left out: full is their usual state.
pub(super) fn pressure(info: &NamespaceInfo) -> String {
    let is_ring = |bound: &str| bound.starts_with("records") || bound.starts_with("log_");
    let bounds = info.pressure.iter().filter(|reading| !is_ring(&reading.bound));
    bounds
        .max_by(|one, other| one.pressure.total_cmp(&other.pressure))
        .map_or("-".to_owned(), |fullest| format!("{:.1} % of {}", fullest.pressure * 100.0, fullest.bound))
}

/// Opens or closes one, and tells how it is then.
pub(super) async fn namespaces(command: NamespacesCommand, json: bool) -> Result<(), Failure> {
    let (route, body, target) = match command {
        NamespacesCommand::Open { name, class, max_crdts, max_bytes, target } => {
            let mut body = json!({ "name": name, "class": class.as_str() });
            for (field, given) in [("max_crdts", max_crdts), ("max_bytes", max_bytes)] {
                if let Some(given) = given {
                    body[field] = json!(given);
                }
            }
            ("/v1/namespaces/open", body, target)
        }
        NamespacesCommand::Close { name, target } => {
            ("/v1/namespaces/close", json!({ "name": name }), target)
        }
    };
    let answer = client(&target).post(route, &body).await?;
    if json {
        return output::line(answer.as_str());
    }
    let info: NamespaceInfo = answer.parse()?;
    let state = if info.open { "open" } else { "closed" };
    output::line(&format!("{}: {state}, {}, {} keys", shown(&info.name), info.class, grouped(info.crdts)))
}
