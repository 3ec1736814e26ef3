//! `watch`: follows what changes on a running node, until it is interrupted.
//!
//! The node closes every local connection after a while; the watch goes on from the last cursor then, and nothing
//! is lost between.

use serde_json::Value;
use tokio::signal::ctrl_c;

use super::follow::{Ended, follow};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, shown};

/// What to follow.
pub(super) struct Watched {
    /// The start of the keys.
    pub(super) prefix: String,
    /// Where an earlier watch stood.
    pub(super) cursor: Option<String>,
    /// Begin with what is there.
    pub(super) snapshot: bool,
}

/// Prints each change until interrupted, or until whoever reads the output is gone.
pub(super) async fn watch(client: &Client, mut watched: Watched, json: bool) -> Result<(), Failure> {
    let mut interrupted = std::pin::pin!(ctrl_c());
    loop {
        let mut cursor = None;
        let query = query(&watched);
        let ended = follow(client, ("/v1/watch", &query), interrupted.as_mut(), |line| {
            let value: Value = serde_json::from_str(line)
                .map_err(|error| Failure::Failed(format!("the node's line is not understood ({error})")))?;
            cursor = value["cursor"].as_str().map(str::to_owned).or(cursor.take());
            print(line, &value, json)
        });
        let ended = ended.await?;
        watched.cursor = cursor.or(watched.cursor);
        match ended {
            Ended::Here => return Ok(()),
            Ended::There if watched.cursor.is_some() => {}
            Ended::There | Ended::AtOnce => {
                let text = "the node ended the watch; look whether it still runs";
                return Err(Failure::Failed(text.to_owned()));
            }
        }
    }
}

fn query(watched: &Watched) -> Vec<(&str, &str)> {
    let mut query = vec![("prefix", watched.prefix.as_str())];
    match &watched.cursor {
        Some(cursor) => query.push(("cursor", cursor)),
        None if watched.snapshot => query.push(("snapshot", "true")),
        None => {}
    }
    query
}

/// Prints one event; false if nobody reads any more.
fn print(line: &str, value: &Value, json: bool) -> Result<bool, Failure> {
    output::piece(&if json { format!("{line}\n") } else { text(value) })
}

/// An event for people: a line for each entry or change.
fn text(event: &Value) -> String {
    let list = |name: &str| event[name].as_array().into_iter().flatten();
    match event["event"].as_str() {
        Some("snapshot") => {
            list("entries").map(|entry| format!("= {}\n", place(entry, &entry["value"]))).collect()
        }
        Some("batch") => list("changes").map(change).collect(),
        Some("lagged") => {
            "! the node dropped changes that were read too slowly; what changed follows\n".to_owned()
        }
        Some(_) | None => String::new(),
    }
}

fn change(change: &Value) -> String {
    let (old, new) = (&change["old"], &change["new"]);
    let what = match (old.is_null(), new.is_null()) {
        (true, _) => format!("+ {}", place(change, new)),
        (false, true) => format!("- {}", place(change, old)),
        (false, false) => format!("~ {} (was {})", place(change, new), plain(old)),
    };
    let cause = match (change["cause"].as_str(), change["peer"].as_str()) {
        (Some("local") | None, _) => String::new(),
        (Some(_), Some(peer)) => format!("  [{}]", peer.get(..8).unwrap_or(peer)),
        (Some(cause), None) => format!("  [{cause}]"),
    };
    format!("{what}{cause}\n")
}

/// A place and the value there.
fn place(at: &Value, value: &Value) -> String {
    let path = plain(&at["path"]);
    let mut words = vec![shown(at["key"].as_str().unwrap_or_default()), plain(&at["type"])];
    if !path.is_empty() {
        words.push(path);
    }
    // An element is there or not: that says it all.
    if value != &Value::Bool(true) || at["type"].as_str().is_some_and(|ty| ty.contains("flag")) {
        words.push(format!("= {}", plain(value)));
    }
    words.join(" ")
}

/// A value for people: what the node shows as text, or in hex.
fn plain(value: &Value) -> String {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    match value {
        Value::String(text) => shown(text),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" | "),
        Value::Object(_) => text("text")
            .map(|text| shown(&text))
            .or_else(|| text("hex").map(|hex| format!("0x{hex}")))
            .unwrap_or_else(|| value.to_string()),
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line_for_each_change() {
        let place =
            |key: &str, ty: &str, path: &str| json!({ "key": key, "type": ty, "path": { "text": path } });
        let with = |mut place: Value, more: Value| {
            for (name, value) in more.as_object().into_iter().flatten() {
                place[name] = value.clone();
            }
            place
        };
        let changes = [
            with(place("cart/7", "set", "tea"), json!({ "old": null, "new": true, "cause": "local" })),
            with(place("cart/7", "set", "a\u{1b}b"), json!({ "old": true, "new": null, "cause": "expired" })),
            with(
                place("stock", "counter", ""),
                json!({ "old": 3, "new": 2, "cause": "remote", "peer": "0123456789" }),
            ),
        ];
        let shown = text(&json!({ "event": "batch", "changes": changes }));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "+ cart/7 set tea",
                "- cart/7 set a\\u{1b}b  [expired]",
                "~ stock counter = 2 (was 3)  [01234567]"
            ]
        );
        let entry = with(place("m", "map", "f"), json!({ "value": { "hex": "00ff" } }));
        assert_eq!(text(&json!({ "event": "snapshot", "entries": [entry] })), "= m map f = 0x00ff\n");
        assert_eq!(text(&json!({ "event": "cursor", "cursor": "01" })), "");
    }
}
