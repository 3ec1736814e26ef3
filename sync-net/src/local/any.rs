//! The routes for every type: one operation by its name, and whole keys of whatever type.
//!
//! `POST /v1/op` takes reads too: fields are JSON, which a query holds badly. What there is to do is `crate::ops`'s
//! table.

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::reply::{ApiError, Body, Params};
use super::routes::{Answer, wait_for};
use super::space::In;
use crate::node::Node;
use crate::ops::{self, OpError, OpRequest, PlaceRequest, Reading, ShownPlace};

/// Those that may write.
pub(super) fn writes() -> Router<Node> {
    Router::new().route("/v1/op", post(op)).route("/v1/remove", post(remove))
}

pub(super) fn reads() -> Router<Node> {
    Router::new().route("/v1/get", get(show))
}

impl From<OpError> for ApiError {
    fn from(error: OpError) -> Self {
        let (status, kind) = match &error {
            OpError::NoType { .. } => (StatusCode::BAD_REQUEST, "no_type"),
            OpError::NoOp { .. } => (StatusCode::BAD_REQUEST, "no_op"),
            OpError::Missing { .. } | OpError::NotTaken { .. } => (StatusCode::BAD_REQUEST, "bad_args"),
            OpError::Range { .. } => (StatusCode::BAD_REQUEST, "range"),
            OpError::NoOwner { .. } => (StatusCode::BAD_REQUEST, "no_owner"),
            OpError::PlaceTooDeep { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_deep"),
            OpError::Line { .. } => (StatusCode::BAD_REQUEST, "bad_line"),
            OpError::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many"),
            OpError::Value(_) => (StatusCode::BAD_REQUEST, "bad_value"),
            OpError::Nothing { .. } => (StatusCode::NOT_FOUND, "nothing"),
            OpError::Node(error) => return error.clone().into(),
        };
        Self::new(status, kind, error)
    }
}

/// A place in a query: the names in a nested map are a JSON list of text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceParams {
    key: String,
    at: Option<String>,
    #[serde(rename = "type")]
    ty: Option<String>,
    /// Read a state that has the writes of this token.
    after: Option<String>,
}

impl PlaceParams {
    fn read(self) -> Result<PlaceRequest, ApiError> {
        let at = self.at.as_deref().map_or(Ok(Vec::new()), serde_json::from_str).map_err(|error| {
            let text = format!("at is no JSON list of names: {error}; write at=[\"address\",\"city\"]");
            ApiError::bad_request("bad_query", text)
        })?;
        Ok(PlaceRequest { key: self.key, at, ty: self.ty })
    }
}

async fn op(In(namespace): In, Body(request): Body<OpRequest>) -> Answer<Reading> {
    wait_for(namespace.node(), request.after()?).await?;
    Ok(Json(ops::operate(&namespace, &request)?))
}

async fn show(In(namespace): In, Params(query): Params<PlaceParams>) -> Answer<ShownPlace> {
    wait_for(namespace.node(), query.after.as_deref()).await?;
    Ok(Json(ops::show(&namespace, query.read()?)?))
}

async fn remove(In(namespace): In, Body(request): Body<PlaceRequest>) -> Answer<Reading> {
    Ok(Json(ops::remove(&namespace, &request)?))
}
