//! `GET /v1/watch`: the events of a watch as a stream of JSON lines, for tools that follow a node.
//!
//! A line is an object with `event`: `snapshot` (`scope` is `all`, or `parts` with the `places` and `ranges` to
//! forget first; entries come in lines of at most [`ENTRIES_PER_LINE`], `more` is true on all but the last),
//! `batch` (one step of the store, whole), `lagged`, and `cursor`, which a client gives back to go on behind
//! all the lines before it. Who reads slowly waits for nobody: its watch lags, and that bounds what is kept.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sync_core::cell::{ObjectId, Path, PathRange};
use sync_core::node::Cause;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::reply::{ApiError, Params};
use super::space::In;
use crate::inspect::{Shown, hex, shown_path};
use crate::node::Node;
use crate::watch::{Change, Cursor, Entry, Policy, Scope, Start, Watch, WatchEvent};
use crate::{Place, Reading};

/// Watches followed at a time by way of the endpoint. One more is refused with 503. Less than the connections, so
/// that other requests always find one.
const STREAMS_MAX: usize = 16;

/// Lines that wait for a client's connection; then its watch waits, and is bounded as every watch.
const LINES_MAX: usize = 16;

/// Most entries of a snapshot in one line.
const ENTRIES_PER_LINE: usize = 1_000;

/// While there is news, a cursor is told at most so often: it names every incarnation that ever wrote.
const CURSOR_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<Node> {
    Router::new().route("/v1/watch", get(follow)).layer(Extension(Arc::new(Semaphore::new(STREAMS_MAX))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchParams {
    #[serde(default)]
    prefix: String,
    /// Where to go on; else from a snapshot, or from now.
    cursor: Option<String>,
    #[serde(default)]
    snapshot: bool,
    /// Keep the latest change of each place instead of every step.
    #[serde(default)]
    coalesce: bool,
}

async fn follow(
    In(namespace): In,
    Extension(streams): Extension<Arc<Semaphore>>,
    Extension(stopped): Extension<watch::Receiver<bool>>,
    Params(query): Params<WatchParams>,
) -> Result<Response, ApiError> {
    let Ok(place) = streams.try_acquire_owned() else {
        let text = format!("{STREAMS_MAX} watches are followed already, as many as may; end one first");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_watches", text));
    };
    let cursor: Option<Cursor> = query
        .cursor
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| ApiError::bad_request("bad_cursor", error))?;
    let start = match cursor {
        Some(cursor) => Start::Cursor(cursor),
        None if query.snapshot => Start::Snapshot,
        None => Start::Now,
    };
    let policy = if query.coalesce { Policy::Coalesce } else { Policy::Steps };
    let (lines, body) = mpsc::channel(LINES_MAX);
    let told = Told { lines, cursor_at: None, behind: true };
    tokio::spawn(write(namespace.watch_from(&query.prefix, start, policy), told, stopped, place));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(Lines(body))).into_response())
}

/// Follows `watch` until it ends, the client is gone, or the endpoint stops.
async fn write(
    mut watch: Watch,
    mut told: Told,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    loop {
        let lines = told.lines.clone();
        let event = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = lines.closed() => return,
            event = watch.next() => event,
            () = tokio::time::sleep(CURSOR_PAUSE), if told.behind => {
                if !told.cursor(&watch).await {
                    return;
                }
                continue;
            }
        };
        let Some(event) = event else { return };
        if !told.event(event).await || told.is_due() && !told.cursor(&watch).await {
            return;
        }
    }
}

/// What the client was told.
struct Told {
    lines: mpsc::Sender<Bytes>,
    cursor_at: Option<Instant>,
    /// There were events since the last cursor.
    behind: bool,
}

impl Told {
    fn is_due(&self) -> bool {
        self.cursor_at.is_none_or(|at| at.elapsed() >= CURSOR_PAUSE)
    }

    async fn cursor(&mut self, watch: &Watch) -> bool {
        (self.cursor_at, self.behind) = (Some(Instant::now()), false);
        let Some(cursor) = watch.cursor() else { return true };
        self.line(&json!({ "event": "cursor", "cursor": cursor.to_string() })).await
    }

    async fn event(&mut self, event: WatchEvent) -> bool {
        self.behind = true;
        match event {
            WatchEvent::Lagged => self.line(&json!({ "event": "lagged" })).await,
            WatchEvent::Batch { changes } => {
                let changes: Vec<ChangeLine> = changes.iter().map(ChangeLine::of).collect();
                self.line(&json!({ "event": "batch", "changes": changes })).await
            }
            WatchEvent::Snapshot { scope, entries } => {
                let mut head = scope_line(&scope);
                // What the client held of an earlier snapshot is no cursor's: it is whole with the last line.
                self.cursor_at = None;
                let chunks: Vec<&[Entry]> = entries.chunks(ENTRIES_PER_LINE).collect();
                for at in 0..chunks.len().max(1) {
                    let shown: Vec<EntryLine> = chunks
                        .get(at)
                        .into_iter()
                        .flat_map(|chunk| chunk.iter())
                        .map(EntryLine::of)
                        .collect();
                    head["entries"] = json!(shown);
                    head["more"] = json!(at + 1 < chunks.len());
                    if !self.line(&head).await {
                        return false;
                    }
                    head = json!({ "event": "snapshot", "scope": "more" });
                }
                true
            }
        }
    }

    /// Writes a line; false if the client is gone.
    async fn line(&self, line: &Value) -> bool {
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        self.lines.send(bytes.into()).await.is_ok()
    }
}

fn scope_line(scope: &Scope) -> Value {
    match scope {
        Scope::All => json!({ "event": "snapshot", "scope": "all" }),
        Scope::Parts(parts) => {
            let places: Vec<PlaceLine> = parts.places.iter().map(PlaceLine::of).collect();
            let ranges: Vec<RangeLine> = parts.ranges.iter().map(RangeLine::of).collect();
            json!({ "event": "snapshot", "scope": "parts", "places": places, "ranges": ranges })
        }
    }
}

/// A place: its path as people read it, and in hex, by which paths are told apart and ordered.
#[derive(Serialize)]
struct PlaceLine {
    key: String,
    #[serde(rename = "type")]
    ty: &'static str,
    tag: u8,
    path: Shown,
    path_hex: String,
}

impl PlaceLine {
    fn of(Place { object: ObjectId { key, ty }, path }: &Place) -> Self {
        let path = path.as_bytes();
        let shown = if path.is_empty() { Shown::Text(String::new()) } else { shown_path(*ty, path) };
        Self {
            key: key.as_str().to_owned(),
            ty: ty.name().unwrap_or("unknown"),
            tag: ty.0,
            path: shown,
            path_hex: hex(path),
        }
    }
}

/// All paths of an object from `from` up to and without `until`, in hex.
#[derive(Serialize)]
struct RangeLine {
    key: String,
    tag: u8,
    from: String,
    until: Option<String>,
}

impl RangeLine {
    fn of(range: &PathRange) -> Self {
        let path = |path: &Path| hex(path.as_bytes());
        let key = range.object.key.as_str().to_owned();
        let (from, until) = (path(&range.from), range.until.as_ref().map(path));
        Self { key, tag: range.object.ty.0, from, until }
    }
}

#[derive(Serialize)]
struct EntryLine {
    #[serde(flatten)]
    place: PlaceLine,
    value: Value,
}

impl EntryLine {
    fn of(Entry { place, reading }: &Entry) -> Self {
        Self { place: PlaceLine::of(place), value: reading_value(reading) }
    }
}

#[derive(Serialize)]
struct ChangeLine {
    #[serde(flatten)]
    place: PlaceLine,
    old: Value,
    new: Value,
    cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
}

impl ChangeLine {
    fn of(Change { place, old, new, cause }: &Change) -> Self {
        let (cause, peer) = match cause {
            Cause::Local => ("local", None),
            Cause::Repair => ("repair", None),
            Cause::Expired => ("expired", None),
            Cause::Remote { peer } => ("remote", Some(peer.to_hex())),
        };
        Self { place: PlaceLine::of(place), old: reading_value(old), new: reading_value(new), cause, peer }
    }
}

/// `null` where nothing is, `true` for an element, numbers and flags as such, other values as [`Shown`].
fn reading_value(reading: &Reading) -> Value {
    match reading {
        Reading::Absent => Value::Null,
        Reading::Present => Value::Bool(true),
        Reading::Flag(on) => Value::Bool(*on),
        Reading::Number(number) => json!(number),
        // Wider than JSON's general numbers: beyond them as text.
        Reading::Count(count) => {
            i64::try_from(*count).map_or_else(|_| json!(count.to_string()), |count| json!(count))
        }
        Reading::Value(value) => json!(Shown::of(value.as_bytes())),
        Reading::Values(values) => values.iter().map(|value| json!(Shown::of(value.as_bytes()))).collect(),
    }
}

/// The body of an answer: lines as they come.
pub(super) struct Lines(pub(super) mpsc::Receiver<Bytes>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = ready!(self.0.poll_recv(cx));
        Poll::Ready(line.map(|line| Ok(Frame::data(line))))
    }
}
