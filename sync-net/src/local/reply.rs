//! What the endpoint takes and gives: JSON in and out, and errors that say what to do next.
//!
//! Every answer that is no success has the body `{"error": "<one line>", "kind": "<snake_case>"}`, also
//! where axum would answer in plain text by itself.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::{StatusCode, request::Parts};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::error::WriteError;

use crate::converge::{ConvergeError, PendingPeer};
use crate::error::{Error, ReadError};
use crate::visible::{VisibleError, WaitError};

/// Most bytes of a request's body: one message of 1 MiB and some JSON around it.
pub(super) const BODY_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// How long a request's body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// An answer that is no success.
#[derive(Debug, Serialize)]
pub(super) struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    /// One line: what happened, where, what to do next.
    error: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending: Vec<PendingPeer>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, kind: &'static str, error: impl ToString) -> Self {
        Self { status, kind, error: error.to_string(), pending: Vec::new() }
    }

    pub(super) fn bad_request(kind: &'static str, error: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, kind) = match &error {
            Error::Write(error) => write_error(error),
            Error::Read(error) => return error.clone().into(),
            Error::Encode { .. } => (StatusCode::BAD_REQUEST, "encode"),
            Error::Aborted { .. } => (StatusCode::CONFLICT, "aborted"),
            Error::NamespaceClosed(_) => (StatusCode::CONFLICT, "namespace_closed"),
            Error::Closed => (StatusCode::SERVICE_UNAVAILABLE, "closed"),
        };
        Self::new(status, kind, error)
    }
}

/// 507 for a limit of the store, 4xx for what the caller can mend in the request.
fn write_error(error: &WriteError) -> (StatusCode, &'static str) {
    match error {
        WriteError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "full"),
        WriteError::StoreBytes { .. } => (StatusCode::INSUFFICIENT_STORAGE, "store_bytes"),
        WriteError::NoGrowth { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        WriteError::Damaged => (StatusCode::SERVICE_UNAVAILABLE, "damaged"),
        WriteError::CrdtCells { .. } => (StatusCode::INSUFFICIENT_STORAGE, "crdt_cells"),
        WriteError::CrdtBytes { .. } => (StatusCode::INSUFFICIENT_STORAGE, "crdt_bytes"),
        WriteError::KeyTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "key_too_long"),
        WriteError::PathTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "path_too_long"),
        WriteError::ValueTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "value_too_long"),
        WriteError::GroupTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "group_too_large"),
        WriteError::CounterRange { .. } => (StatusCode::CONFLICT, "counter_range"),
        WriteError::TooDeep { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_deep"),
        WriteError::NoPlace => (StatusCode::BAD_REQUEST, "no_place"),
        WriteError::NotNested { .. } => (StatusCode::BAD_REQUEST, "not_nested"),
        WriteError::Rights { .. } => (StatusCode::CONFLICT, "rights"),
        WriteError::RightsOut { .. } => (StatusCode::CONFLICT, "rights_out"),
        WriteError::AlreadyExpired { .. } => (StatusCode::CONFLICT, "already_expired"),
        WriteError::NeverExpires { .. } => (StatusCode::BAD_REQUEST, "never_expires"),
        WriteError::NoNamespace { .. } => (StatusCode::NOT_FOUND, "no_namespace"),
        WriteError::SequencesUsed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "sequences_used"),
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Decode { .. } => Self::new(StatusCode::CONFLICT, "not_text", error),
        }
    }
}

impl From<ConvergeError> for ApiError {
    fn from(error: ConvergeError) -> Self {
        let text = error.to_string();
        match error {
            ConvergeError::TimedOut { pending, .. } => {
                Self { pending, ..Self::new(StatusCode::GATEWAY_TIMEOUT, "not_converged", text) }
            }
            ConvergeError::NamespaceClosed(_) => Self::new(StatusCode::CONFLICT, "namespace_closed", text),
            ConvergeError::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, "closed", text),
        }
    }
}

impl From<VisibleError> for ApiError {
    fn from(error: VisibleError) -> Self {
        let text = error.to_string();
        match error {
            VisibleError::TimedOut { lacking: pending, .. } => {
                Self { pending, ..Self::new(StatusCode::GATEWAY_TIMEOUT, "not_visible", text) }
            }
            VisibleError::NoNamespace { .. } => Self::new(StatusCode::NOT_FOUND, "no_namespace", text),
            VisibleError::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, "closed", text),
        }
    }
}

impl From<WaitError> for ApiError {
    fn from(error: WaitError) -> Self {
        let (status, kind) = match &error {
            WaitError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "not_here_yet"),
            WaitError::NoNamespace { .. } => (StatusCode::NOT_FOUND, "no_namespace"),
            WaitError::OtherNamespace { .. } => (StatusCode::BAD_REQUEST, "other_namespace"),
            WaitError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "closed"),
        };
        Self::new(status, kind, error)
    }
}

/// The query string as a `T`.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let path = parts.uri.path();
        let Query(value) = Query::try_from_uri(&parts.uri).map_err(|error| {
            let text = format!("the query of {path} is not understood: {}; correct it", error.body_text());
            ApiError::bad_request("bad_query", text)
        })?;
        Ok(Self(value))
    }
}

/// The body as a `T`, whatever content type the client names: curl says it sends a form.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let path = request.uri().path().to_owned();
        let bytes = match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await {
            Ok(bytes) => bytes.map_err(|rejection| body_error(&path, &rejection))?,
            Err(_) => {
                let text = format!("the body of {path} did not arrive within {BODY_TIME:?}; send it at once");
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", text));
            }
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let text = format!("the body of {path} is not the JSON object expected: {error}; correct it");
            ApiError::bad_request("bad_body", text)
        })
    }
}

fn body_error(path: &str, rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let text = format!("the body of {path} exceeds {BODY_BYTES_MAX} bytes; send less at a time");
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text);
    }
    let text = format!("the body of {path} could not be read: {}", rejection.body_text());
    ApiError::bad_request("bad_body", text)
}
