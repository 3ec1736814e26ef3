//! `certs`: the cluster's authority and the certificates of its nodes, as files.

use std::path::{Path, PathBuf};

use serde_json::json;
use sync_net::certs::{Register, Serial, revoke_in, trust_in};
use sync_net::{ClusterCa, Renewed};

use crate::args::CertsCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, shown};

/// Runs what works on files.
pub(super) fn certs(command: &CertsCommand, json: bool) -> Result<(), Failure> {
    match command {
        CertsCommand::Ca { dir, label } => create(dir, label, json),
        CertsCommand::Issue { ca, name, dir } => issue(ca, name, dir, json),
        CertsCommand::Renew { ca, dir } => renew(ca, dir, json),
        CertsCommand::Trust { ca, dir, only } => trust(ca, dir, *only, json),
        CertsCommand::Revoke { who, ca, serial, dirs } => revoke(who, ca, *serial, dirs, json),
        CertsCommand::Reload { .. } => Err(Failure::failed("a running node is asked for this")),
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
    let issued = Register::of(ca).note(identity.certificate_pem()).map_err(Failure::failed)?;
    let node = identity.node_id().to_hex();
    if json {
        let serial = issued.serial.to_string();
        return output::json(&json!({"dir": dir, "name": name, "node": node, "serial": serial}));
    }
    output::line(&format!("{node}  {}  in {}", shown(name), dir.display()))
}

fn renew(ca: &Path, dir: &Path, json: bool) -> Result<(), Failure> {
    let ca_dir = ca;
    let ca = ClusterCa::load(ca).map_err(Failure::failed)?;
    let renewed = ca.renew_in(dir).map_err(Failure::failed)?;
    let issued = Register::of(ca_dir).note(&renewed).map_err(Failure::failed)?;
    let (node, serial, name) = (issued.node.to_hex(), issued.serial.to_string(), issued.name);
    if json {
        return output::json(&json!({"dir": dir, "name": name, "node": node, "serial": serial}));
    }
    output::line(&format!("{node}  {name}  serial {serial}  in {}", dir.display()))
}

fn trust(ca: &Path, dir: &Path, only: bool, json: bool) -> Result<(), Failure> {
    let ca = ClusterCa::load(ca).map_err(Failure::failed)?;
    let count = trust_in(dir, ca.certificate_pem(), only).map_err(Failure::failed)?;
    if json {
        return output::json(&json!({"dir": dir, "authorities": count}));
    }
    output::line(&format!("{} accepts what {count} authorities sign", dir.display()))
}

fn revoke(who: &str, ca: &Path, serial: bool, dirs: &[PathBuf], json: bool) -> Result<(), Failure> {
    let (entry, named) = if serial {
        let serial = Serial::from_hex(who).ok_or_else(|| {
            Failure::Failed(format!("{:?} is no serial number: at most 40 digits of hex", shown(who)))
        })?;
        (format!("serial {serial}"), serial.to_string())
    } else {
        let node = Register::of(ca).find(who).map_err(Failure::failed)?.to_hex();
        (format!("{node}  # {}", shown(who)), node)
    };
    for dir in std::iter::once(ca).chain(dirs.iter().map(PathBuf::as_path)) {
        revoke_in(dir, &entry).map_err(Failure::failed)?;
    }
    if json {
        return output::json(
            &json!({"revoked": named, "serial": serial, "list": ca.join("revoked"), "dirs": dirs}),
        );
    }
    output::line(&format!(
        "{named} is revoked in {}; copy that file into the folder of every node that is not named with --dir",
        ca.join("revoked").display()
    ))
}

/// Asks a running node to read its folder.
pub(super) async fn reload(client: &Client, json: bool) -> Result<(), Failure> {
    let answer = client.post("/v1/certs/reload", &json!({})).await?;
    if json {
        return output::line(answer.as_str());
    }
    let Renewed { changed, serial, days_left, revoked, cut } = answer.parse()?;
    let news = if changed { "new certificate" } else { "certificate as before" };
    output::line(&format!(
        "{news}: serial {serial}, {days_left} days left; {revoked} revoked; {cut} links closed"
    ))
}
