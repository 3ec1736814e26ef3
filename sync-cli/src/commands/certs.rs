//! `certs`: the cluster's authority and the certificates of its nodes, as files.

use std::path::Path;

use serde_json::json;
use sync_net::ClusterCa;

use crate::args::CertsCommand;
use crate::failure::Failure;
use crate::output::{self, shown};

/// Runs `certs ca` or `certs issue`.
pub(super) fn certs(command: &CertsCommand, json: bool) -> Result<(), Failure> {
    match command {
        CertsCommand::Ca { dir, label } => create(dir, label, json),
        CertsCommand::Issue { ca, name, dir } => issue(ca, name, dir, json),
    }
}

fn create(dir: &Path, label: &str, json: bool) -> Result<(), Failure> {
    let ca = ClusterCa::create(label).map_err(Failure::failed)?;
    ca.save(dir).map_err(Failure::failed)?;
    if json {
        return output::json(&json!({"dir": dir, "label": label}));
    }
    output::line(&format!(
        "certificate authority {:?} in {}; keep ca.key to yourself, nodes need only what `certs issue` writes",
        shown(label),
        dir.display()
    ))
}

fn issue(ca: &Path, name: &str, dir: &Path, json: bool) -> Result<(), Failure> {
    let identity = ClusterCa::load(ca).and_then(|ca| ca.issue(name)).map_err(Failure::failed)?;
    identity.save(dir).map_err(Failure::failed)?;
    let node = identity.node_id().to_hex();
    if json {
        return output::json(&json!({"dir": dir, "name": name, "node": node}));
    }
    output::line(&format!("{node}  {}  in {}", shown(name), dir.display()))
}
