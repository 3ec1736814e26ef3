//! The routes for all of a store: `GET /v1/export` as JSON lines, `POST /v1/batch` for many writes as one group.
//!
//! An export is of one namespace, which its first line names, `{"namespace": ".."}`, and of one moment: it reads a copy, which writers do not wait for and which takes as much memory as the store
//! while it runs. Its last line is `{"end": true}` with what it came to; an answer without it was cut.

use std::sync::Arc;

use axum::body::{Body as Answered, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sync_core::cell::ObjectId;
use sync_core::store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::reply::{ApiError, Body, Params};
use super::routes::Answer;
use super::space::In;
use super::watch::Lines;
use crate::access::Reads as _;
use crate::inspect;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::ops::{self, BatchRequest, Exported, Exporter, Reading};

/// Exports at a time: each holds a copy of the store. One more is refused with 503.
const EXPORTS_MAX: usize = 1;

/// Pieces that wait for a client's connection; then the export waits.
const PIECES_MAX: usize = 4;

/// Lines are sent in pieces of about this many bytes.
const PIECE_BYTES: usize = 64 << 10;

pub(super) fn writes() -> Router<Node> {
    Router::new().route("/v1/batch", post(batch))
}

pub(super) fn reads() -> Router<Node> {
    Router::new().route("/v1/export", get(export)).layer(Extension(Arc::new(Semaphore::new(EXPORTS_MAX))))
}

async fn batch(In(namespace): In, Body(request): Body<BatchRequest>) -> Answer<Reading> {
    Ok(axum::Json(ops::batch(&namespace, &request)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportParams {
    #[serde(default)]
    prefix: String,
}

async fn export(
    In(namespace): In,
    Extension(exports): Extension<Arc<Semaphore>>,
    Params(query): Params<ExportParams>,
) -> Result<Response, ApiError> {
    let Ok(place) = exports.try_acquire_owned() else {
        let text = "another export runs, and each holds a copy of the store; wait until it is done";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_exports", text));
    };
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || write(&namespace, &query.prefix, &pieces, place));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Answered::new(Lines(body))).into_response())
}

/// Writes all lines; ends early if the client is gone.
fn write(namespace: &Namespace, prefix: &str, pieces: &mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let store = namespace.look(Store::clone);
    let present = |object: &ObjectId| store.is_present(object.key.as_str(), object.ty);
    let objects: Vec<ObjectId> = store.objects(prefix).map(|info| info.object).filter(present).collect();
    let name_of = |ty| inspect::type_name(namespace.shared(), ty);
    let (mut piece, mut is_read) = (Vec::new(), true);
    let mut line = |line: &Json| {
        if is_read {
            piece.extend_from_slice(format!("{line}\n").as_bytes());
            is_read =
                piece.len() < PIECE_BYTES || pieces.blocking_send(std::mem::take(&mut piece).into()).is_ok();
        }
        is_read
    };
    line(&json!({ "namespace": namespace.name() }));
    let mut exporter = Exporter::new(&store, &name_of, &mut line);
    let all = objects.iter().all(|object| exporter.object(object.key.as_str(), object.ty));
    let exported = exporter.done();
    if !all {
        return;
    }
    let Exported { ops, left_out, settled } = exported;
    let end =
        json!({"end": true, "keys": objects.len(), "ops": ops, "left_out": left_out, "settled": settled});
    piece.extend_from_slice(format!("{end}\n").as_bytes());
    // A client that is gone needs no end.
    let _ = pieces.blocking_send(piece.into());
}
