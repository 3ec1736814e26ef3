//! `set`, `map`, `counter` and `register`: reads and writes on a running node.
//!
//! Keys, elements, fields and values are text, as in the node's local endpoint.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::client;
use crate::args::{CounterCommand, MapCommand, RegisterCommand, SetCommand};
use crate::client::Answer;
use crate::failure::Failure;
use crate::output::{self, shown};

/// Runs a `set` command.
pub(super) async fn set(command: SetCommand, json: bool) -> Result<(), Failure> {
    match command {
        SetCommand::Add { key, element, expiry, target } => {
            let body = expiry.into_body(json!({"key": key, "element": element}));
            written(&client(&target).post("/v1/set/add", &body).await?, json)
        }
        SetCommand::Rm { key, element, target } => {
            let body = json!({"key": key, "element": element});
            written(&client(&target).post("/v1/set/remove", &body).await?, json)
        }
        SetCommand::Ls { key, target } => {
            #[derive(Deserialize)]
            struct Elements {
                elements: Vec<String>,
            }
            let answer = client(&target).get("/v1/set", &[("key", &key)]).await?;
            if json {
                return output::line(answer.as_str());
            }
            lines(answer.parse::<Elements>()?.elements.iter().map(|element| shown(element)))
        }
    }
}

/// Runs a `map` command.
pub(super) async fn map(command: MapCommand, json: bool) -> Result<(), Failure> {
    match command {
        MapCommand::Put { key, field, value, expiry, target } => {
            let body = expiry.into_body(json!({"key": key, "field": field, "value": value}));
            written(&client(&target).post("/v1/map/put", &body).await?, json)
        }
        MapCommand::Rm { key, field, target } => {
            let body = json!({"key": key, "field": field});
            written(&client(&target).post("/v1/map/remove", &body).await?, json)
        }
        MapCommand::Get { key, field, target } => {
            #[derive(Deserialize)]
            struct Value {
                value: Option<String>,
            }
            let answer = client(&target).get("/v1/map", &[("key", &key), ("field", &field)]).await?;
            let value = answer.parse::<Value>()?.value.as_deref().map(shown);
            match (&value, json) {
                (_, true) => output::line(answer.as_str())?,
                (Some(value), false) => output::line(value)?,
                (None, false) => {}
            }
            value.map(drop).ok_or_else(|| {
                Failure::Failed(format!(
                    "field {} of {} has no value here; `map ls` lists those that have",
                    shown(&field),
                    shown(&key)
                ))
            })
        }
        MapCommand::Ls { key, target } => {
            #[derive(Deserialize)]
            struct Entries {
                entries: BTreeMap<String, String>,
            }
            let answer = client(&target).get("/v1/map", &[("key", &key)]).await?;
            if json {
                return output::line(answer.as_str());
            }
            let entries = answer.parse::<Entries>()?.entries;
            lines(entries.iter().map(|(field, value)| format!("{}\t{}", shown(field), shown(value))))
        }
    }
}

/// Runs a `counter` command.
pub(super) async fn counter(command: CounterCommand, json: bool) -> Result<(), Failure> {
    match command {
        CounterCommand::Add { key, by, target } => {
            let body = json!({"key": key, "by": by});
            written(&client(&target).post("/v1/counter/add", &body).await?, json)
        }
        CounterCommand::Reset { key, target } => {
            written(&client(&target).post("/v1/counter/reset", &json!({"key": key})).await?, json)
        }
        CounterCommand::Get { key, target } => {
            #[derive(Deserialize)]
            struct Value {
                value: i128,
            }
            let answer = client(&target).get("/v1/counter", &[("key", &key)]).await?;
            if json {
                return output::line(answer.as_str());
            }
            output::line(&answer.parse::<Value>()?.value.to_string())
        }
    }
}

/// Runs a `register` command.
pub(super) async fn register(command: RegisterCommand, json: bool) -> Result<(), Failure> {
    match command {
        RegisterCommand::Set { key, value, expiry, target } => {
            let body = expiry.into_body(json!({"key": key, "value": value}));
            written(&client(&target).post("/v1/register/set", &body).await?, json)
        }
        RegisterCommand::Clear { key, target } => {
            written(&client(&target).post("/v1/register/clear", &json!({"key": key})).await?, json)
        }
        RegisterCommand::Get { key, target } => {
            #[derive(Deserialize)]
            struct Value {
                value: Option<String>,
            }
            let answer = client(&target).get("/v1/register", &[("key", &key)]).await?;
            let value = answer.parse::<Value>()?.value.as_deref().map(shown);
            match (&value, json) {
                (_, true) => output::line(answer.as_str())?,
                (Some(value), false) => output::line(value)?,
                (None, false) => {}
            }
            let nothing = || format!("nothing is set at {} here; `keys` lists what there is", shown(&key));
            value.map(drop).ok_or_else(|| Failure::Failed(nothing()))
        }
    }
}

/// Tells whether a write changed anything.
fn written(answer: &Answer, json: bool) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Written {
        changed: bool,
    }
    if json {
        return output::line(answer.as_str());
    }
    output::line(if answer.parse::<Written>()?.changed { "changed" } else { "unchanged" })
}

/// Prints one line each; nothing at all if there are none.
fn lines(lines: impl Iterator<Item = String>) -> Result<(), Failure> {
    let text: Vec<String> = lines.collect();
    if text.is_empty() { Ok(()) } else { output::line(&text.join("\n")) }
}
