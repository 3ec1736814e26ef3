//! What an operator watches: figures, health, and events as they happen.
//!
//! `GET /metrics` is scraped; `/healthz` and `/readyz` answer probes by their status, `GET /v1/health` always with
//! success: all three have the same body. `GET /v1/events` is a stream of JSON lines, one an event, and
//! `{"event":"dropped","count":n}` where a reader was too slow. Who reads slowly waits for nobody: what is kept for it
//! is bounded by [`crate::FOLLOWER_EVENTS_MAX`].

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::reply::{ApiError, Params};
use super::routes::NoParams;
use super::watch::Lines;
use crate::events::{Events, Followed};
use crate::health::{Health, HealthState};
use crate::metrics;
use crate::node::Node;

/// Followers of events at a time by way of the endpoint; one more is refused with 503. With the watches less than the
/// connections, so that other requests always find one.
const FOLLOWERS_MAX: usize = 16;

/// Lines that wait for a client's connection; then its events wait, and are bounded.
const LINES_MAX: usize = 16;

pub(super) fn routes() -> Router<Node> {
    Router::new()
        .route("/v1/events", get(events))
        .layer(Extension(Arc::new(Semaphore::new(FOLLOWERS_MAX))))
        .route("/metrics", get(scrape))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/v1/health", get(health))
}

/// What `look` finds, off the threads that serve others: it may wait for a second if the node is stuck.
async fn look<T: Send + 'static>(
    node: Node,
    look: impl FnOnce(&Node) -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(move || look(&node)).await.map_err(|error| {
        let text = format!("the node could not be looked at: {error}; look at its log");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", text)
    })
}

async fn scrape(State(node): State<Node>) -> Result<Response, ApiError> {
    let text = look(node, Node::metrics).await?;
    let text = text.map_err(|why| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_figures", why))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

fn status(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Fails only for what a restart may mend.
async fn alive(State(node): State<Node>) -> Result<(StatusCode, Json<Health>), ApiError> {
    let health = look(node, Node::health).await?;
    Ok((status(health.state < HealthState::Damaged), Json(health)))
}

async fn ready(State(node): State<Node>) -> Result<(StatusCode, Json<Health>), ApiError> {
    let health = look(node, Node::health).await?;
    Ok((status(health.ready), Json(health)))
}

async fn health(State(node): State<Node>, _: Params<NoParams>) -> Result<Json<Health>, ApiError> {
    Ok(Json(look(node, Node::health).await?))
}

async fn events(
    State(node): State<Node>,
    Extension(followers): Extension<Arc<Semaphore>>,
    Extension(stopped): Extension<watch::Receiver<bool>>,
    _: Params<NoParams>,
) -> Result<Response, ApiError> {
    let Ok(place) = followers.try_acquire_owned() else {
        let text = format!("{FOLLOWERS_MAX} follow the events already, as many as may; end one first");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_followers", text));
    };
    let (lines, body) = mpsc::channel(LINES_MAX);
    tokio::spawn(write(node.events(), lines, stopped, place));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(Lines(body))).into_response())
}

/// Follows until the node or the endpoint stops, or the client is gone.
async fn write(
    mut events: Events,
    lines: mpsc::Sender<Bytes>,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    loop {
        let followed = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = lines.closed() => return,
            followed = events.next() => followed,
        };
        let line = match followed {
            None => return,
            Some(Followed::Event(event)) => json!(*event),
            Some(Followed::Dropped { count }) => json!({ "event": "dropped", "count": count }),
        };
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        let sent = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            sent = lines.send(bytes.into()) => sent,
        };
        if sent.is_err() {
            return;
        }
    }
}
