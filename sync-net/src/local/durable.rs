//! When a write is answered: once it is on the disk, as far as the node or the request asks for that.
//!
//! A request names its level in the header `sync-durability`: `immediate`, `grouped` or `none`. What was written when
//! the disk fails stays in memory; the answer then is an error that says so.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::reply::ApiError;
use crate::node::Node;
use crate::storage::{Durability, DurableError};

/// The header that names a level.
const HEADER: &str = "sync-durability";

/// Lets a write happen, and answers it when it is durable enough.
pub(super) async fn acknowledged(State(node): State<Node>, request: Request, next: Next) -> Response {
    let level = match level(&request) {
        Ok(level) => level,
        Err(error) => return error.into_response(),
    };
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    match node.durable_so_far(level).await {
        Ok(()) => response,
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn level(request: &Request) -> Result<Option<Durability>, ApiError> {
    let Some(value) = request.headers().get(HEADER) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    text.parse()
        .map(Some)
        .map_err(|error: crate::storage::DurabilityError| ApiError::bad_request("bad_durability", error))
}

impl From<DurableError> for ApiError {
    fn from(error: DurableError) -> Self {
        let kind = match error {
            DurableError::Failing { .. } => "not_durable",
            DurableError::Closed => "closed",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, error)
    }
}
