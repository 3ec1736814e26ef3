//! The routes for namespaces as such: `GET /v1/namespaces`, and `POST /v1/namespaces/` followed by `open` or `close`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use sync_core::class::{Class, NoClass};
use sync_core::node::NamespaceError;

use super::reply::{ApiError, Body, Params};
use super::routes::{Answer, NoParams};
use crate::namespace::NamespaceInfo;
use crate::node::Node;

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/v1/namespaces", get(list))
        .route("/v1/namespaces/open", post(open))
        .route("/v1/namespaces/close", post(close))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenBody {
    name: String,
    /// `urgent`, `normal` or `bulk`.
    class: String,
    /// As for the node itself; the node's own if left out.
    max_crdts: Option<u64>,
    max_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseBody {
    name: String,
}

impl From<NamespaceError> for ApiError {
    fn from(error: NamespaceError) -> Self {
        let (status, kind) = match &error {
            NamespaceError::Name { .. } => (StatusCode::BAD_REQUEST, "bad_name"),
            NamespaceError::IsOpen { .. } => (StatusCode::CONFLICT, "namespace_open"),
            NamespaceError::NotOpen { .. } => (StatusCode::CONFLICT, "namespace_closed"),
            NamespaceError::Default => (StatusCode::CONFLICT, "default_namespace"),
            NamespaceError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "namespaces_full"),
            NamespaceError::NoRoom { .. } => (StatusCode::INSUFFICIENT_STORAGE, "no_room"),
        };
        Self::new(status, kind, error)
    }
}

async fn list(State(node): State<Node>, _: Params<NoParams>) -> Json<Vec<NamespaceInfo>> {
    Json(node.namespaces())
}

async fn open(State(node): State<Node>, Body(body): Body<OpenBody>) -> Answer<NamespaceInfo> {
    let class: Class =
        body.class.parse().map_err(|error: NoClass| ApiError::bad_request("bad_class", error))?;
    let limits = node.shared().limits().as_ref().clone();
    let (crdts, bytes) = (limits.crdts_max, limits.store_bytes_max);
    let limits = match (body.max_crdts, body.max_bytes) {
        (None, None) => limits,
        (max_crdts, max_bytes) => limits.with_room(max_crdts.unwrap_or(crdts), max_bytes.unwrap_or(bytes)),
    };
    node.open_namespace_with(&body.name, class, limits)?;
    told(&node, &body.name)
}

async fn close(State(node): State<Node>, Body(body): Body<CloseBody>) -> Answer<NamespaceInfo> {
    let closed = node.close_namespace(&body.name);
    if matches!(closed, Err(NamespaceError::NotOpen { .. })) {
        let name = &body.name;
        let text = format!("the namespace {name:?} is not open on this node; `namespaces` lists what is");
        return Err(ApiError::new(StatusCode::CONFLICT, "namespace_closed", text));
    }
    closed?;
    told(&node, &body.name)
}

/// How it is now.
fn told(node: &Node, name: &str) -> Answer<NamespaceInfo> {
    let namespace = node.namespace(name)?;
    let id = namespace.id().to_hex();
    let info = node.namespaces().into_iter().find(|info| info.id == id);
    Ok(Json(info.expect("what is kept is listed")))
}
