//! The commands for CRDTs of every type, and `get` and `rm` for whole keys.
//!
//! A node answers in JSON; how it looks as text depends on what was read, and is all here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sync_net::Stored;

use super::in_namespace;
use super::look::at;
use super::visible;
use crate::args::{OpCommand, PlaceArgs, VisibleArgs};
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::output::{self, shown};

/// Does one operation.
pub(super) async fn run(command: OpCommand, json: bool) -> Result<(), Failure> {
    let OpCommand { ty, op, key, body, visible, target } = command;
    let field = body.get("field").cloned();
    let node = in_namespace(&target);
    let answer = node.post("/v1/op", &body.into()).await?;
    let Some(label) = op.reads() else { return written(&node, &answer, visible.as_ref(), json).await };
    if json {
        output::line(answer.as_str())?;
    }
    let mut answer: BTreeMap<String, Box<RawValue>> = answer.parse()?;
    let read = answer.remove(label).ok_or_else(|| not_understood(format!("{label} is missing")))?;
    if read.get() == "null" {
        let key = shown(&key);
        return Err(Failure::Failed(match field {
            Some(field) => {
                let field = item(&field.to_string());
                format!("field {field} of {key} has no value here; `{} ls` lists those that have", ty.name())
            }
            None => format!("nothing is set at {key} here; `keys` lists what there is"),
        }));
    }
    if json { Ok(()) } else { print(&text(ty.name(), label, read.get())?) }
}

/// What lies at a place, whatever its type.
#[derive(Deserialize)]
struct Shown {
    #[serde(rename = "type")]
    ty: String,
    value: Box<RawValue>,
    #[serde(default)]
    others: Vec<String>,
}

/// Shows a key by its type.
pub(super) async fn get(place: PlaceArgs, after: Option<String>, json: bool) -> Result<(), Failure> {
    let at = json!(place.at).to_string();
    let mut query = vec![("key", place.key.as_str()), ("at", &at)];
    query.extend(place.ty.as_deref().map(|ty| ("type", ty)));
    query.extend(after.as_deref().map(|token| ("after", token)));
    let answer = in_namespace(&place.target).get("/v1/get", &query).await?;
    if json {
        return output::line(answer.as_str());
    }
    let Shown { ty, value, others } = answer.parse()?;
    print(&text(&ty, "value", value.get())?)?;
    if others.is_empty() {
        return Ok(());
    }
    output::line(&format!("(read as {}; also there, see --type: {})", shown(&ty), shown(&others.join(", "))))
}

/// Removes a key or a place in a nested map, whatever its type.
pub(super) async fn rm(place: PlaceArgs, visible: Option<VisibleArgs>, json: bool) -> Result<(), Failure> {
    let mut body = json!({"key": place.key, "at": place.at});
    if let Some(ty) = place.ty {
        body["type"] = json!(ty);
    }
    let node = in_namespace(&place.target);
    let answer = node.post("/v1/remove", &body).await?;
    written(&node, &answer, visible.as_ref(), json).await
}

/// Tells whether a write changed anything, and where it is by now if that was asked.
async fn written(
    node: &Client,
    answer: &Answer,
    wanted: Option<&VisibleArgs>,
    json: bool,
) -> Result<(), Failure> {
    if let Some(wanted) = wanted {
        return visible::after_write(node, answer, wanted, json).await;
    }
    #[derive(Deserialize)]
    struct Written {
        changed: bool,
    }
    if json {
        return output::line(answer.as_str());
    }
    output::line(changed(answer.parse::<Written>()?.changed))
}

/// What a write came to, in a word.
pub(super) fn changed(changed: bool) -> &'static str {
    if changed { "changed" } else { "unchanged" }
}

/// Prints lines; nothing at all if there are none.
fn print(lines: &[String]) -> Result<(), Failure> {
    if lines.is_empty() { Ok(()) } else { output::line(&lines.join("\n")) }
}

fn not_understood(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!(
        "the node's answer is not understood ({error}); use a node of this tool's version"
    ))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(not_understood)
}

/// An element, a field or a value: text as it is, anything else in JSON. A counter's number may have more digits
/// than a value's, and what is read of a type that nobody here knows is no value; both are shown as they came.
fn item(json: &str) -> String {
    Stored::from_json(json).map_or_else(|_| shown(json), |stored| shown(&stored.to_string()))
}

/// What was read, as lines.
fn text(ty: &str, label: &str, json: &str) -> Result<Vec<String>, Failure> {
    match (ty, label) {
        ("nested-map", "value") => Ok(pretty(json)),
        ("log", _) => entries(json),
        (_, "rights") => rights(json),
        ("map" | "multimap" | "nested-map", "value" | "entries" | "fields") if json.starts_with('{') => {
            fields(json)
        }
        (_, "elements" | "values" | "value") if json.starts_with('[') && lists(ty) => {
            Ok(parse::<Vec<&RawValue>>(json)?.into_iter().map(|json| item(json.get())).collect())
        }
        _ => Ok(vec![item(json)]),
    }
}

/// True for the types that are read as a list, an element a line.
fn lists(ty: &str) -> bool {
    !matches!(ty, "register" | "map")
}

/// Field and value a line.
fn fields(json: &str) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for (name, json) in parse::<BTreeMap<String, &RawValue>>(json)? {
        let name = Stored::from_name(&name).map_err(not_understood)?;
        let name = shown(&name.to_string());
        lines.push(format!("{name}\t{}", item(json.get())));
    }
    Ok(lines)
}

fn entries(json: &str) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Entry<'a> {
        written_ms: u64,
        replica: String,
        seq: u64,
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let line = |entry: Entry<'_>| {
        let replica = entry.replica.get(..8).unwrap_or(&entry.replica);
        format!("{}\t{replica}.{}\t{}", at(entry.written_ms), entry.seq, item(entry.value.get()))
    };
    Ok(parse::<Vec<Entry<'_>>>(json)?.into_iter().map(line).collect())
}

fn rights(json: &str) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Holder {
        owner: String,
        rights: u64,
        own: bool,
    }
    let line = |holder: Holder| {
        let own = if holder.own { "\tthis node" } else { "" };
        format!("{}\t{}{own}", shown(&holder.owner), holder.rights)
    };
    Ok(parse::<Vec<Holder>>(json)?.into_iter().map(line).collect())
}

/// JSON with a line for each name and element. Works on the text: a library's numbers are not exact.
fn pretty(json: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        let line = lines.last_mut().expect("there is a first line");
        if in_text {
            line.push(c);
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' if matches!(chars.peek(), Some('}' | ']')) => line.push(c),
            '{' | '[' => {
                line.push(c);
                depth += 1;
                lines.push("  ".repeat(depth));
            }
            '}' | ']' if line.ends_with(['{', '[']) => line.push(c),
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                lines.push(format!("{}{c}", "  ".repeat(depth)));
            }
            ',' => {
                line.push(c);
                lines.push("  ".repeat(depth));
            }
            ':' => line.push_str(": "),
            c => {
                in_text = c == '"';
                line.push(c);
            }
        }
    }
    lines.iter().map(|line| shown(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_by_its_text_alone() {
        let lines = pretty(r#"{"a":{"b":[1,"x,{\"y\"}: [\\"],"c":{}},"d":0.1}"#);
        let expected = [
            "{",
            "  \"a\": {",
            "    \"b\": [",
            "      1,",
            "      \"x,{\\\"y\\\"}: [\\\\\"",
            "    ],",
            "    \"c\": {}",
            "  },",
            "  \"d\": 0.1",
            "}",
        ];
        assert_eq!(lines, expected);
        assert_eq!(pretty("{}"), ["{}"]);
    }

    #[test]
    fn what_is_read_has_a_line_for_each_part() {
        let lines = |ty, label, json| text(ty, label, json).expect("it is understood");
        assert_eq!(
            lines("set", "elements", r#"["tea",5,{"$bytes":"AA=="}]"#),
            ["tea", "5", r#"{"$bytes":"AA=="}"#]
        );
        assert_eq!(
            lines("map", "entries", r#"{"f":"v","$7":[1],"$$x":null}"#),
            ["$x\tnull", "7\t[1]", "f\tv"]
        );
        assert_eq!(
            lines("register", "value", r#"["a\u001b"]"#),
            [r#"["a\u001b"]"#],
            "one value, though it is a list"
        );
        assert_eq!(lines("counter", "value", "36893488147419103231"), ["36893488147419103231"]);
        assert_eq!(lines("vote", "value", r#"[{"path":{"$raw":"AA=="}}]"#), [r#"{"path":{"$raw":"AA=="}}"#]);
        assert_eq!(lines("set", "elements", "[]"), [""; 0]);
        let log = r#"[{"written_ms":0,"replica":"abcdef0123","seq":7,"value":"in"}]"#;
        assert_eq!(lines("log", "entries", log), ["1970-01-01 00:00:00.000\tabcdef01.7\tin"]);
    }
}
