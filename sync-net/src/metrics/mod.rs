//! What a node tells a monitoring system: read when it is scraped, in the text format of OpenMetrics.
//!
//! Nothing is counted here: the core, the links and the disk count for themselves, and a scrape reads them under one
//! short lock. `node` has the figures of the whole node, `peers` those with a label for each peer, of which there are
//! at most as many as [`crate::Limits::peers_max`]. `docs/metrics.md` lists all of them; a test compares.

mod divergence;
mod family;
mod node;
mod peers;
mod process;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub(crate) use self::divergence::Divergence;
use self::family::Scrape;
use crate::node::Shared;

/// The content type of what [`render`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures, as text; why there are none if the node broke or is stuck.
pub(crate) fn render(shared: &Shared) -> Result<String, String> {
    let mut families = node::families(shared).map_err(|stuck| stuck.to_string())?;
    families.extend(peers::families(shared).map_err(|stuck| stuck.to_string())?);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|error| error.to_string())?;
    Ok(out)
}

/// A count as a gauge's value.
#[expect(clippy::cast_precision_loss, reason = "the format has floating point numbers only")]
fn float(count: u64) -> f64 {
    count as f64
}
