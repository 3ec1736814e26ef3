//! `backup`, `restore` and `doctor`: a node's data as files.
//!
//! A backup is made by the running node; the other two work on the folder of a node that does not run.

use std::path::Path;

use serde_json::json;
use sync_net::data::{self, Examined, Held, Readable, Renewed};
use sync_net::{Backup, Identity};

use crate::args::FolderArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// Has the node write a backup.
pub(super) async fn backup(node: &Client, file: &Path, json: bool) -> Result<(), Failure> {
    let path = std::path::absolute(file).map_err(Failure::failed)?;
    let answer = node.post("/v1/backup", &json!({ "path": path })).await?;
    if json {
        return output::line(answer.as_str());
    }
    let Backup { path, bytes, rows } = answer.parse()?;
    output::line(&format!("{} rows, {bytes} bytes in {}", rows, output::shown(&path)))
}

/// Puts a backup into a folder.
pub(super) fn restore(file: &Path, folder: &FolderArgs, json: bool) -> Result<(), Failure> {
    let identity = Identity::load(&folder.dir).map_err(Failure::failed)?;
    let renewed = data::restore(file, &folder.data(), identity.node_id()).map_err(Failure::failed)?;
    tell(&renewed, "restored", json)
}

/// Checks a folder, or keeps what can be read of a damaged one.
pub(super) fn doctor(folder: &FolderArgs, accept_loss: bool, json: bool) -> Result<(), Failure> {
    let identity = Identity::load(&folder.dir).map_err(Failure::failed)?;
    let (data, id) = (folder.data(), identity.node_id());
    if accept_loss {
        let renewed = data::accept_loss(&data, id).map_err(Failure::failed)?;
        return tell(&renewed, "kept", json);
    }
    let examined = data::examine(&data, id).map_err(Failure::failed)?;
    if json {
        output::json(&json!(examined))?;
    } else {
        output::line(&examined_text(&examined))?;
    }
    match examined.damage {
        None => Ok(()),
        Some(damage) => Err(Failure::Failed(output::shown(&damage))),
    }
}

fn examined_text(examined: &Examined) -> String {
    let Examined { file, bytes, crdts, items, context_columns, lives, owner, next, .. } = examined;
    let mut text = format!("file        {}\nbytes       {bytes}\n", output::shown(file));
    match &examined.readable {
        None => {
            let stop = if examined.stopped_cleanly { "stopped cleanly" } else { "did not stop cleanly" };
            text += &format!(
                "state       sound; its last process {stop}\ncrdts       {crdts}\nitems       {items}\n\
                 context     {context_columns} columns, {lives} lives of this node\nowner       {owner}\n"
            );
            text += &held(&examined.namespaces);
        }
        Some(Readable { items, unsound, rows_written, rows_read, .. }) => {
            let written = rows_written.map_or("an unknown number".to_owned(), |rows| rows.to_string());
            text += &format!(
                "state       damaged\nreadable    {rows_read} rows of {written}, {items} of them items; \
                 {unsound} are not what was written\n"
            );
        }
    }
    text + &format!("next start  {next}")
}

/// A line for each namespace, if there is more than the default one.
fn held(namespaces: &[Held]) -> String {
    if namespaces.len() < 2 {
        return String::new();
    }
    let line = |held: &Held| {
        let name = output::shown(&held.name);
        format!("namespace   {name}: {} CRDTs, {} items, {} bytes\n", held.crdts, held.items, held.bytes)
    };
    namespaces.iter().map(line).collect()
}

fn tell(renewed: &Renewed, done: &str, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&json!(renewed));
    }
    let Renewed { file, crdts, items, namespaces, replica, owner, aside } = renewed;
    let mut text = format!(
        "{done}    {crdts} CRDTs, {items} items in {}\nreplica     {replica}, a new incarnation\nowner       {owner}, new",
        output::shown(file)
    );
    text += format!("\n{}", held(namespaces)).trim_end();
    if let Some(aside) = aside {
        text += &format!("\naside       {}", output::shown(aside));
    }
    output::line(&text)
}
