//! The routes that move single peers: `POST /v1/peers/` followed by `trip`, `reset`, `add`, `remove` or `retire`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use sync_core::node::RetireError;

use super::reply::{ApiError, Body};
use super::routes::Answer;
use crate::node::Node;
use crate::peers::{PeerError, PeerMoved, PeerRetired};

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/v1/peers/trip", post(trip))
        .route("/v1/peers/reset", post(reset))
        .route("/v1/peers/add", post(add))
        .route("/v1/peers/remove", post(remove))
        .route("/v1/peers/retire", post(retire))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerBody {
    /// A configured address, or the first digits of a node id; to `add`, `host:port` or `id@host:port`.
    peer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetireBody {
    /// A configured address, the first digits of a node id, or all of them.
    peer: String,
    /// The first digits of counter owners that are known to be its.
    #[serde(default)]
    owners: Vec<String>,
}

impl From<PeerError> for ApiError {
    fn from(error: PeerError) -> Self {
        let (status, kind) = match &error {
            PeerError::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown_peer"),
            PeerError::Ambiguous { .. } => (StatusCode::BAD_REQUEST, "ambiguous_peer"),
            PeerError::NeverReached { .. } => (StatusCode::CONFLICT, "never_reached"),
            PeerError::Removed { .. } => (StatusCode::CONFLICT, "removed_peer"),
            PeerError::Full => (StatusCode::INSUFFICIENT_STORAGE, "peers_full"),
            PeerError::Address(_) => (StatusCode::BAD_REQUEST, "bad_address"),
            PeerError::Owner { .. } => (StatusCode::NOT_FOUND, "unknown_owner"),
            PeerError::Retire(RetireError::Unknown { .. }) => (StatusCode::NOT_FOUND, "unknown_peer"),
            PeerError::Retire(RetireError::TooMany { .. }) => {
                (StatusCode::INSUFFICIENT_STORAGE, "owners_full")
            }
            PeerError::Retire(_) => (StatusCode::CONFLICT, "not_gone"),
            PeerError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "closed"),
        };
        Self::new(status, kind, error)
    }
}

async fn trip(State(node): State<Node>, Body(body): Body<PeerBody>) -> Answer<PeerMoved> {
    Ok(Json(node.trip_peer(&body.peer)?))
}

async fn reset(State(node): State<Node>, Body(body): Body<PeerBody>) -> Answer<PeerMoved> {
    Ok(Json(node.reset_peer(&body.peer)?))
}

async fn add(State(node): State<Node>, Body(body): Body<PeerBody>) -> Answer<PeerMoved> {
    Ok(Json(node.add_peer(&body.peer)?))
}

async fn remove(State(node): State<Node>, Body(body): Body<PeerBody>) -> Answer<PeerMoved> {
    Ok(Json(node.remove_peer(&body.peer)?))
}

async fn retire(State(node): State<Node>, Body(body): Body<RetireBody>) -> Answer<PeerRetired> {
    Ok(Json(node.retire_peer(&body.peer, &body.owners)?))
}
