//! `peers trip|reset|add|remove|retire`: moves one peer of a running node.

use serde_json::json;
use sync_net::{PeerMoved, PeerRetired, RightsLost};

use crate::args::{PeerArgs, PeersCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, shown};

/// Does it, and tells how the peer's breaker stands then.
pub(super) async fn peers(command: PeersCommand, json: bool) -> Result<(), Failure> {
    let (route, peer, target) = match command {
        PeersCommand::Trip(PeerArgs { peer, target }) => ("/v1/peers/trip", peer, target),
        PeersCommand::Reset(PeerArgs { peer, target }) => ("/v1/peers/reset", peer, target),
        PeersCommand::Add { peer, target } => ("/v1/peers/add", peer, target),
        PeersCommand::Remove(PeerArgs { peer, target }) => ("/v1/peers/remove", peer, target),
        PeersCommand::Retire { peer, owners, target } => {
            return retire(&Client::new(target.socket_path()), &peer, &owners, json).await;
        }
    };
    let client = Client::new(target.socket_path());
    let answer = client.post(route, &json!({ "peer": peer })).await?;
    if json {
        return output::line(answer.as_str());
    }
    let PeerMoved { peer, address, breaker } = answer.parse()?;
    let names: Vec<String> =
        [peer.map(|id| id.chars().take(8).collect()), address.map(|address| shown(&address))]
            .into_iter()
            .flatten()
            .collect();
    output::line(&format!("{}: {breaker}", names.join(" at ")))
}

async fn retire(client: &Client, peer: &str, owners: &[String], json: bool) -> Result<(), Failure> {
    let answer = client.post("/v1/peers/retire", &json!({ "peer": peer, "owners": owners })).await?;
    if json {
        return output::line(answer.as_str());
    }
    let PeerRetired { peer, owners, rights_lost } = answer.parse()?;
    output::line(&format!("{peer}: retired, with {} counter owners known to be its", owners.len()))?;
    for owner in owners {
        output::line(&format!("owner  {owner}"))?;
    }
    for RightsLost { key, owner, rights } in rights_lost {
        output::line(&format!("lost   {rights} rights of {} held by {owner}", shown(&key)))?;
    }
    Ok(())
}
