//! The local endpoint: requests of every route with paths, queries and bodies that nobody meant.
//!
//! An input is a line `METHOD path` and the body behind it. It is sent over a real socket to a node without peers; the
//! answer must come, and one that is no success must say why in a line of JSON. Panics in a handler are found although
//! the server goes on.

use std::time::Duration;

use serde_json::{Value, json};
use sync_net::local::{LocalServer, serve};
use sync_net::{ClusterCa, Limits, Node};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Run, Target};
use crate::judge::{self, Seen};
use crate::mutate::Form;

pub(crate) const HTTP: Target = Target { name: "http", form: WORDS, corpus, begin };

const WORDS: Form = Form::Text(&[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-1",
    "0",
    "1e9",
    "18446744073709551616",
    "\"key\":",
    "\"op\":",
    "\"type\":",
    "\"at\":[",
    "\"set\"",
    "\"counter\"",
    "\"map\"",
    "\"value\":",
    "\"by\":",
    "\"expires_in_ms\":",
    "\"ops\":[",
    "?key=",
    "&",
    "%",
    "%00",
    "%ff",
    "=",
    "&after=",
    "&timeout_ms=1",
    "\\u0000",
    "{\"$raw\":\"AA==\"}",
    "/v1/",
]);

/// How long a request may wait for its answer to begin. Longer is nothing wrong: some wait for peers.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// Answers are looked at up to here.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Writes files, or dials: not by chance.
const LEFT_OUT: [&str; 2] = ["backup", "peers/add"];

fn corpus() -> Vec<Vec<u8>> {
    let token = (super::text::TOKEN.corpus)().pop().and_then(|token| String::from_utf8(token).ok());
    let token = token.expect("a token is text");
    let reads = [
        "status",
        "peers",
        "keys?prefix=a",
        "inspect?key=set",
        "set?key=set",
        "map?key=map&field=f",
        "counter?key=c",
        "register?key=r",
        "health",
        "survey",
        "knowledge",
        "watch?prefix=&snapshot=true",
        "events",
        "export?prefix=a",
        "compare/objects",
        "get?key=set&type=set",
    ];
    let mut inputs: Vec<String> = reads.iter().map(|path| format!("GET /v1/{path}\n")).collect();
    inputs.push(format!("GET /v1/set?key=set&after={token}\n"));
    inputs.push(format!("GET /v1/watch?cursor={token}\n"));
    let op = |ty: &str, op: &str, more: Value| {
        let mut body = json!({"key": "k", "type": ty, "op": op});
        let fields = body.as_object_mut().expect("it is an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        body
    };
    let ops = [
        op("set", "add", json!({"element": "x", "expires_in_ms": 5})),
        op("map", "put", json!({"field": "f", "value": {"a": [1, null, {"$raw": "rAI="}]}})),
        op("counter", "add", json!({"by": -3})),
        op("ormap", "add", json!({"at": ["a", "b"], "element": "x"})),
        op("log", "append", json!({"value": 1})),
    ];
    let writes = [
        ("set/add", json!({"key": "set", "element": "x", "expires_in_ms": 1_000})),
        ("set/remove", json!({"key": "set", "element": "x"})),
        ("map/put", json!({"key": "map", "field": "f", "value": "v"})),
        ("map/remove", json!({"key": "map", "field": "f"})),
        ("counter/add", json!({"key": "c", "by": 5})),
        ("counter/reset", json!({"key": "c"})),
        ("register/set", json!({"key": "r", "value": "v"})),
        ("register/clear", json!({"key": "r"})),
        ("remove", json!({"key": "set", "type": "set"})),
        ("get", json!({"key": "set", "type": "set"})),
        ("converge", json!({"timeout_ms": 10})),
        ("visible", json!({"token": token, "timeout_ms": 10})),
        ("peers/reset", json!({"peer": "ab"})),
        ("compare/range", json!({"key": "k", "type": "set"})),
        ("compare/cells", json!({"key": "k", "type": "set"})),
        ("batch", json!({"ops": ops.clone()})),
    ];
    inputs.extend(writes.iter().map(|(path, body)| format!("POST /v1/{path}\n{body}")));
    inputs.extend(ops.iter().map(|body| format!("POST /v1/op\n{body}")));
    inputs.into_iter().map(String::into_bytes).collect()
}

struct Endpoint {
    runtime: Runtime,
    server: LocalServer,
    _node: Node,
    _folder: TempDir,
}

fn endpoint() -> Endpoint {
    // On this thread, so that its panics are this target's.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (node, server) = runtime.block_on(async {
        let identity = ClusterCa::create("fuzz").and_then(|ca| ca.issue("node")).expect("it can be made");
        let limits = Limits { crdts_max: 200, store_bytes_max: 1 << 20, ..Limits::default() };
        let node = Node::builder().identity(identity).cluster("fuzz").limits(limits).start().await;
        let node = node.expect("a node starts on a free port");
        let server = serve(node.clone(), &folder.path().join("s")).await.expect("nothing is in the way");
        (node, server)
    });
    Endpoint { runtime, server, _node: node, _folder: folder }
}

fn begin() -> Run {
    let Endpoint { runtime, server, _node, _folder } = endpoint();
    Box::new(move |input| {
        let _kept = (&_node, &_folder);
        let Some(request) = request(input) else { return Ok(Seen::read("left out", 0)) };
        drop(judge::last_panic());
        let answered = runtime.block_on(async {
            timeout(ANSWER_TIME, ask(server.path(), &request)).await.unwrap_or(Ok(Answered::Waits))
        });
        if let Some(panic) = judge::last_panic() {
            return Err(format!("a handler panicked: {panic}"));
        }
        match answered.map_err(|error| format!("the endpoint does not answer: {error}"))? {
            Answered::Waits => Ok(Seen::read("waits", 0)),
            Answered::Closed => Ok(Seen::read("closed", 0)),
            Answered::With(status, body) => judged(status, &body),
        }
    })
}

/// The bytes of the request; `None` for what is left out.
fn request(input: &[u8]) -> Option<Vec<u8>> {
    let line_len = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..line_len], input.get(line_len + 1..).unwrap_or_default());
    let text = String::from_utf8_lossy(line).to_ascii_lowercase().replace("%", "");
    if LEFT_OUT.iter().any(|part| text.contains(part)) || text.contains("%62") {
        return None;
    }
    let head = format!(
        " HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Some([line, head.as_bytes(), body].concat())
}

enum Answered {
    /// Whatever it waits for has not come.
    Waits,
    /// Without an answer, as for what is no HTTP.
    Closed,
    With(u16, Vec<u8>),
}

async fn ask(socket: &std::path::Path, request: &[u8]) -> std::io::Result<Answered> {
    let mut stream = UnixStream::connect(socket).await?;
    // A request that is refused before it is read whole is answered all the same.
    let _sent = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let _read = timeout(ANSWER_TIME / 2, stream.read_to_end(&mut answer)).await;
    if answer.is_empty() {
        return Ok(Answered::Closed);
    }
    let text = String::from_utf8_lossy(&answer[..answer.len().min(64)]).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    Ok(Answered::With(status, answer.split_off(body)))
}

fn judged(status: u16, body: &[u8]) -> Result<Seen, String> {
    match status {
        200..300 => Ok(Seen::read(format!("{status}"), body.len())),
        // What is no HTTP is refused by the server below ours, without words.
        400 | 431 | 505 if body.is_empty() => Ok(Seen::read("no HTTP", 0)),
        // An answer to HEAD has no body.
        _ if body.is_empty() => Ok(Seen::read(format!("{status} without a body"), 0)),
        400..600 => {
            let said: Value = serde_json::from_slice(body).map_err(|error| {
                format!("{status} with a body that is no JSON ({error}): {:?}", String::from_utf8_lossy(body))
            })?;
            let words = said["error"].as_str().ok_or_else(|| format!("{status} without a reason: {said}"))?;
            if words.trim().is_empty() || words.contains('\n') {
                return Err(format!("{status} with a reason that is no line: {words:?}"));
            }
            let kind = said["kind"].as_str().unwrap_or_default();
            if status == 500 {
                return Err(format!("the endpoint blames itself: {said}"));
            }
            Ok(Seen {
                accepted: false,
                words: format!("{status} {kind}"),
                size: words.len() / 16,
                heap: None,
            })
        }
        _ => Err(format!("an answer of status {status}")),
    }
}
