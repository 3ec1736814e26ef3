//! The routes of the local endpoint: one line of HTTP for one call of the API.
//!
//! Elements, fields and values are strings here: the sets are `OrSet<String>`, the maps
//! `LwwMap<String, String>`, the registers `LwwRegister<String>`. Every other type and value is for `any`.
//! Reads are `GET` with a query, writes are `POST` with a JSON object; a write is answered when it is as durable as
//! `durable` says. Which namespace is meant `space` says.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use sync_core::node::Written;
use sync_core::token::{Token, TokenError};
use sync_core::trace::TraceContext;

use super::reply::{ApiError, BODY_BYTES_MAX, Body, Params};
use super::space::In;
use crate::converge::ConvergeReport;
use crate::inspect::{Inspection, KeyInfo, NodeStatus, PeerInfo};
use crate::node::Node;
use crate::visible::{VisibilityError, Visible};

/// The longest that one request may wait for convergence, in milliseconds: ten minutes.
pub(super) const CONVERGE_MS_MAX: u64 = 600_000;

/// For who asks in vain.
const ROUTES: &str = "status, peers, peers/trip, peers/reset, peers/add, peers/remove, peers/retire, namespaces, namespaces/open, namespaces/close, keys, inspect, set, set/add, set/remove, map, map/put, map/remove, \
                      counter, counter/add, counter/reset, register, register/set, register/clear, op, batch, get, remove, export, converge, visible, converge/cluster, watch, events, health, backup, certs/reload, survey, knowledge, \
                      compare/objects, compare/range, compare/cells";

pub(super) type Answer<T> = Result<Json<T>, ApiError>;

pub(super) fn router(node: Node) -> Router {
    let writes = Router::new()
        .route("/v1/set/add", post(set_add))
        .route("/v1/set/remove", post(set_remove))
        .route("/v1/map/put", post(map_put))
        .route("/v1/map/remove", post(map_remove))
        .route("/v1/counter/add", post(counter_add))
        .route("/v1/counter/reset", post(counter_reset))
        .route("/v1/register/set", post(register_set))
        .route("/v1/register/clear", post(register_clear))
        .merge(super::any::writes())
        .merge(super::bulk::writes())
        .route_layer(middleware::from_fn_with_state(node.clone(), super::durable::acknowledged));
    let of_a_namespace = writes
        .route("/v1/peers", get(peers))
        .route("/v1/keys", get(keys))
        .route("/v1/inspect", get(inspect))
        .route("/v1/set", get(set_read))
        .route("/v1/map", get(map_read))
        .route("/v1/counter", get(counter_read))
        .route("/v1/register", get(register_read))
        .route("/v1/converge", post(converge))
        .merge(super::any::reads())
        .merge(super::bulk::reads())
        .merge(super::operator::of_a_namespace())
        .merge(super::watch::routes())
        .route_layer(middleware::from_fn_with_state(node.clone(), super::space::chosen));
    of_a_namespace
        .route("/v1/status", get(status))
        .route("/v1/visible", post(visible))
        .merge(super::namespaces::routes())
        .merge(super::operator::routes())
        .merge(super::peers::routes())
        .merge(super::watchtower::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(node)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefixParam {
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyParam {
    key: String,
    /// Read a state that has the writes of this token.
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionalKeyParam {
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MapParams {
    key: String,
    field: Option<String>,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ElementBody {
    key: String,
    element: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddBody {
    key: String,
    element: String,
    expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldBody {
    key: String,
    field: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryBody {
    key: String,
    field: String,
    value: String,
    expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountBody {
    key: String,
    by: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueBody {
    key: String,
    value: String,
    expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisibleBody {
    token: String,
    /// `local`, `majority`, `all`, or a number of peers.
    to: String,
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeoutBody {
    timeout_ms: u64,
}

impl TimeoutBody {
    /// The time, if it is one that a request may take.
    pub(super) fn timeout(&self) -> Result<Duration, ApiError> {
        if self.timeout_ms <= CONVERGE_MS_MAX {
            return Ok(Duration::from_millis(self.timeout_ms));
        }
        let text = format!(
            "timeout_ms is {}, at most {CONVERGE_MS_MAX} is allowed; ask again after",
            self.timeout_ms
        );
        Err(ApiError::bad_request("timeout_too_long", text))
    }
}

/// Whether a write minted anything, and what to carry to another node to read it there.
#[derive(Serialize)]
struct Changed {
    changed: bool,
    token: String,
}

impl Changed {
    fn by(written: &Written) -> Json<Self> {
        Json(Self { changed: written.last.is_some(), token: written.token().to_string() })
    }

    /// A remove: it changed something if there was something.
    fn found((found, written): (bool, Written)) -> Json<Self> {
        Json(Self { changed: found, token: written.token().to_string() })
    }
}

/// How long a read waits for the writes of its token.
const AFTER_MAX: Duration = Duration::from_secs(10);

/// Waits until this node has the writes of the token that the request names, if it names one. What it has stays, so
/// the read that follows sees them.
pub(super) async fn wait_for(node: &Node, after: Option<&str>) -> Result<(), ApiError> {
    let Some(after) = after else { return Ok(()) };
    Ok(node.wait_for(&token(after)?, AFTER_MAX).await?)
}

fn token(text: &str) -> Result<Token, ApiError> {
    text.parse().map_err(|error: TokenError| ApiError::bad_request("bad_token", error))
}

#[derive(Serialize)]
struct SetReply {
    key: String,
    elements: Vec<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum MapReply {
    Entries { key: String, entries: BTreeMap<String, String> },
    Value { key: String, field: String, value: Option<String> },
}

#[derive(Serialize)]
struct CounterReply {
    key: String,
    value: i128,
}

#[derive(Serialize)]
struct RegisterReply {
    key: String,
    value: Option<String>,
}

/// `handle`, or what `with` makes of it if its writes are to expire.
fn expiring<H>(after_ms: Option<u64>, handle: H, with: impl FnOnce(&H, Duration) -> H) -> H {
    match after_ms {
        None => handle,
        Some(ms) => with(&handle, Duration::from_millis(ms)),
    }
}

async fn status(State(node): State<Node>, _: Params<NoParams>) -> Json<NodeStatus> {
    Json(node.status())
}

async fn peers(In(namespace): In, _: Params<NoParams>) -> Json<Vec<PeerInfo>> {
    Json(namespace.peers())
}

async fn keys(In(namespace): In, Params(query): Params<PrefixParam>) -> Json<Vec<KeyInfo>> {
    Json(namespace.keys(&query.prefix))
}

async fn inspect(In(namespace): In, Params(query): Params<OptionalKeyParam>) -> Json<Inspection> {
    Json(namespace.inspect(query.key.as_deref()))
}

async fn set_read(In(namespace): In, Params(query): Params<KeyParam>) -> Answer<SetReply> {
    wait_for(namespace.node(), query.after.as_deref()).await?;
    let elements = namespace.or_set::<String>(&query.key).elements()?;
    Ok(Json(SetReply { key: query.key, elements }))
}

async fn set_add(In(namespace): In, Body(body): Body<AddBody>) -> Answer<Changed> {
    let set = namespace.or_set(&body.key);
    let written = expiring(body.expires_in_ms, set, |set, after| set.expires_in(after)).add(&body.element)?;
    Ok(Changed::by(&written))
}

async fn set_remove(In(namespace): In, Body(body): Body<ElementBody>) -> Answer<Changed> {
    Ok(Changed::found(namespace.or_set(&body.key).remove(&body.element)?))
}

async fn map_read(In(namespace): In, Params(query): Params<MapParams>) -> Answer<MapReply> {
    wait_for(namespace.node(), query.after.as_deref()).await?;
    let map = namespace.lww_map::<String, String>(&query.key);
    Ok(Json(match query.field {
        None => MapReply::Entries { entries: map.entries()?.into_iter().collect(), key: query.key },
        Some(field) => MapReply::Value { value: map.get(&field)?, key: query.key, field },
    }))
}

async fn map_put(In(namespace): In, Body(body): Body<EntryBody>) -> Answer<Changed> {
    let map = expiring(body.expires_in_ms, namespace.lww_map(&body.key), |map, after| map.expires_in(after));
    let written = map.put(&body.field, &body.value)?;
    Ok(Changed::by(&written))
}

async fn map_remove(In(namespace): In, Body(body): Body<FieldBody>) -> Answer<Changed> {
    Ok(Changed::found(namespace.lww_map::<String, String>(&body.key).remove(&body.field)?))
}

async fn counter_read(In(namespace): In, Params(query): Params<KeyParam>) -> Answer<CounterReply> {
    wait_for(namespace.node(), query.after.as_deref()).await?;
    let value = namespace.pn_counter(&query.key).value();
    Ok(Json(CounterReply { key: query.key, value }))
}

async fn counter_add(In(namespace): In, Body(body): Body<CountBody>) -> Answer<Changed> {
    let written = namespace.pn_counter(&body.key).add(body.by)?;
    Ok(Changed::by(&written))
}

async fn counter_reset(In(namespace): In, Body(body): Body<KeyBody>) -> Answer<Changed> {
    Ok(Changed::found(namespace.pn_counter(&body.key).reset()?))
}

async fn register_read(In(namespace): In, Params(query): Params<KeyParam>) -> Answer<RegisterReply> {
    wait_for(namespace.node(), query.after.as_deref()).await?;
    let value = namespace.lww_register::<String>(&query.key).get()?;
    Ok(Json(RegisterReply { key: query.key, value }))
}

async fn register_set(In(namespace): In, Body(body): Body<ValueBody>) -> Answer<Changed> {
    let register = namespace.lww_register(&body.key);
    let register = expiring(body.expires_in_ms, register, |register, after| register.expires_in(after));
    let written = register.set(&body.value)?;
    Ok(Changed::by(&written))
}

async fn register_clear(In(namespace): In, Body(body): Body<KeyBody>) -> Answer<Changed> {
    Ok(Changed::found(namespace.lww_register::<String>(&body.key).clear()?))
}

/// The header of a W3C trace context.
const TRACEPARENT: &str = "traceparent";

async fn converge(
    In(namespace): In,
    headers: HeaderMap,
    Body(body): Body<TimeoutBody>,
) -> Answer<ConvergeReport> {
    let timeout = body.timeout()?;
    let trace = headers.get(TRACEPARENT).map(|text| TraceContext::from_bytes(text.as_bytes())).transpose();
    Ok(Json(match trace.map_err(|error| ApiError::bad_request("bad_traceparent", error))? {
        Some(trace) => namespace.converge_traced(timeout, trace).await?,
        None => namespace.converge(timeout).await?,
    }))
}

async fn visible(State(node): State<Node>, Body(body): Body<VisibleBody>) -> Answer<Visible> {
    let wanted =
        body.to.parse().map_err(|error: VisibilityError| ApiError::bad_request("bad_visibility", error))?;
    let timeout = TimeoutBody { timeout_ms: body.timeout_ms }.timeout()?;
    Ok(Json(node.visible(&token(&body.token)?, wanted, timeout).await?))
}

async fn no_such_route(uri: Uri) -> ApiError {
    let text = format!(
        "no route {}; those of this version are /metrics, /healthz, /readyz, and /v1/ followed by {ROUTES}",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_FOUND, "no_such_route", text)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let text = format!("{} does not take {method}; reads are GET, writes are POST", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", text)
}
