//! The routes for looking at several nodes at once: surveys, the convergence of a cluster, and the pages that
//! a comparison of two nodes reads.
//!
//! Paths of cells are hex here: they are any bytes, and their order is that of the bytes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::reply::{ApiError, Body, Params};
use super::routes::{Answer, NoParams, TimeoutBody};
use super::space::In;
use crate::converge::cluster::ClusterReport;
use crate::inspect::compare::{
    self, CellPage, HASHED_MAX, Knowledge, ObjectName, ObjectPage, RangeDigest, Stretch,
};
use crate::node::Node;
use crate::renewal::Renewed;
use crate::storage::Backup;
use crate::survey::SurveyReport;
use crate::transport::ReloadError;

pub(super) fn routes() -> Router<Node> {
    Router::new().route("/v1/backup", post(backup)).route("/v1/certs/reload", post(certs_reload))
}

/// Those that look at one namespace.
pub(super) fn of_a_namespace() -> Router<Node> {
    Router::new()
        .route("/v1/survey", post(survey))
        .route("/v1/converge/cluster", post(converge_cluster))
        .route("/v1/knowledge", get(knowledge))
        .route("/v1/compare/objects", get(objects))
        .route("/v1/compare/range", get(range))
        .route("/v1/compare/cells", get(cells))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupBody {
    /// Absolute: the node's directory is nobody's business.
    path: std::path::PathBuf,
}

async fn backup(State(node): State<Node>, Body(body): Body<BackupBody>) -> Answer<Backup> {
    if !body.path.is_absolute() {
        let text = format!("{} is no absolute path; name the file from the root", body.path.display());
        return Err(ApiError::bad_request("bad_path", text));
    }
    let made = node.backup(body.path).await;
    made.map(Json).map_err(|error| ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "backup", error))
}

/// Names the object behind which a page begins; neither for the first page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterParams {
    key: Option<String>,
    tag: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StretchParams {
    key: String,
    tag: u8,
    /// Hex; the stretch begins behind this path.
    after: Option<String>,
    /// Hex; the stretch ends with this path.
    until: Option<String>,
    /// Most cells to hash, for a range.
    cells: Option<u64>,
}

impl StretchParams {
    fn read(self) -> Result<(ObjectName, Stretch, u64), ApiError> {
        let path = |text: Option<String>| text.map(|text| from_hex(&text)).transpose();
        let stretch = Stretch { after: path(self.after)?, until: path(self.until)? };
        Ok((ObjectName { key: self.key, tag: self.tag }, stretch, self.cells.unwrap_or(HASHED_MAX)))
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, ApiError> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len() % 2 == 0);
    let byte = |pair: &[u32]| u8::try_from(pair[0] << 4 | pair[1]).expect("two hex digits are a byte");
    pairs.map(|digits| digits.chunks_exact(2).map(byte).collect()).ok_or_else(|| {
        ApiError::bad_request("bad_query", "a path is an even number of hex digits; correct after or until")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn certs_reload(State(node): State<Node>, Body(Nothing {}): Body<Nothing>) -> Answer<Renewed> {
    let reloaded = tokio::task::spawn_blocking(move || node.reload_certificates()).await;
    reloaded.expect("reading files does not panic").map(Json).map_err(|error| {
        let status = match &error {
            ReloadError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            ReloadError::OtherNode { .. }
            | ReloadError::Unusable(_)
            | ReloadError::Files(_)
            | ReloadError::NoFolder => StatusCode::CONFLICT,
        };
        ApiError::new(status, "certificates", error)
    })
}

async fn survey(In(namespace): In, Body(body): Body<TimeoutBody>) -> Answer<SurveyReport> {
    Ok(Json(namespace.survey(body.timeout()?).await?))
}

async fn converge_cluster(In(namespace): In, Body(body): Body<TimeoutBody>) -> Answer<ClusterReport> {
    Ok(Json(namespace.converge_cluster(body.timeout()?).await?))
}

async fn knowledge(In(namespace): In, _: Params<NoParams>) -> Json<Knowledge> {
    Json(namespace.knowledge())
}

async fn objects(In(namespace): In, Params(query): Params<AfterParams>) -> Json<ObjectPage> {
    let after = query.key.map(|key| ObjectName { key, tag: query.tag.unwrap_or(0) });
    Json(compare::objects(namespace.shared(), namespace.id(), after.as_ref()))
}

async fn range(In(namespace): In, Params(query): Params<StretchParams>) -> Answer<RangeDigest> {
    let (name, stretch, cells) = query.read()?;
    Ok(Json(compare::range(namespace.shared(), namespace.id(), &name, &stretch, cells)))
}

async fn cells(In(namespace): In, Params(query): Params<StretchParams>) -> Answer<CellPage> {
    let (name, stretch, _) = query.read()?;
    Ok(Json(compare::cells(namespace.shared(), namespace.id(), &name, &stretch)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_hex_and_nothing_else() {
        assert_eq!(from_hex("00ffA1").ok(), Some(vec![0, 255, 0xa1]));
        assert_eq!(from_hex("").ok(), Some(vec![]));
        for wrong in ["0", "0x", "g0", "é1", "+1"] {
            assert!(from_hex(wrong).is_err(), "{wrong}");
        }
    }
}
