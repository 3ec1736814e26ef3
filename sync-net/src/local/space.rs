//! Which namespace a request means: the one that `namespace` in its query names, else the default one.
//!
//! Only the routes of a state take it; the others refuse it as they refuse everything that they do not know.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, uri::PathAndQuery};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::reply::ApiError;
use crate::namespace::{Namespace, NoNamespace};
use crate::node::Node;

/// The parameter.
const NAME: &str = "namespace";

impl From<NoNamespace> for ApiError {
    fn from(error: NoNamespace) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_namespace", error)
    }
}

/// Takes the parameter out of the query, so that no route meets it, and leaves the namespace with the request.
pub(super) async fn chosen(State(node): State<Node>, mut request: Request, next: Next) -> Response {
    let namespace = match take(&node, request.uri_mut()) {
        Ok(namespace) => namespace,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(namespace);
    next.run(request).await
}

fn take(node: &Node, uri: &mut Uri) -> Result<Namespace, ApiError> {
    let is_named = |pair: &&str| pair.split('=').next() == Some(NAME);
    let Some(query) = uri.query().filter(|query| query.split('&').any(|pair| is_named(&pair))) else {
        return Ok(node.default_namespace());
    };
    let pairs: Vec<(String, String)> = axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(pairs)| pairs)
        .map_err(|error| ApiError::bad_request("bad_query", error.body_text()))?;
    let mut names = pairs.into_iter().filter(|(name, _)| name == NAME).map(|(_, value)| value);
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(ApiError::bad_request("bad_query", "a request means one namespace; name it once"));
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_named(pair)).collect();
    let path =
        if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), rest.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).expect("a part of a query is one"));
    *uri = Uri::from_parts(parts).expect("only its query has changed");
    Ok(node.namespace(&name)?)
}

/// The namespace that the request means.
pub(super) struct In(pub(super) Namespace);

impl FromRequestParts<Node> for In {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Self, ApiError> {
        let chosen = parts.extensions.get::<Namespace>().cloned();
        Ok(Self(chosen.unwrap_or_else(|| node.default_namespace())))
    }
}
