//! What a node tells a monitoring system: read when it is scraped, in the text format of OpenMetrics.
//!
//! Nothing is counted here: the core, the links and the disk count for themselves, and a scrape reads them under one
//! short lock. `node` has the figures of the whole node, `peers` those with a label for each peer, of which there are
//! at most as many as [`crate::Limits::peers_max`]. What is of a namespace has its name as a label, but for the default
//! one, whose figures have none. `docs/metrics.md` lists all of them; a test compares.

mod divergence;
mod family;
mod node;
mod peers;
mod process;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use sync_core::id::NamespaceId;
use sync_core::node::{Meter, PeerLag, PeerStatus, PersistStep, Pressure, Stats};

pub(crate) use self::divergence::Divergence;
use self::family::{Labels, Scrape};
use crate::health::{self, NoCore};
use crate::node::Shared;

/// The content type of what [`render`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures, as text; why there are none if the node broke or is stuck.
pub(crate) fn render(shared: &Shared) -> Result<String, String> {
    let taken = take(shared).map_err(|stuck| stuck.to_string())?;
    let mut families = node::families(shared, &taken);
    families.extend(peers::families(shared, &taken));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|error| error.to_string())?;
    Ok(out)
}

/// What one lock of the core gives.
struct Taken {
    meter: Meter,
    stats: Stats,
    step: PersistStep,
    /// The open namespaces, the default one first.
    spaces: Vec<SpaceTaken>,
}

/// What is read of one namespace.
struct SpaceTaken {
    id: NamespaceId,
    /// What its samples are marked with: nothing for the default one.
    label: Option<String>,
    pressure: Pressure,
    bytes: u64,
    crdts: u64,
    items: u64,
    scrubbed: f64,
    peers: Vec<PeerStatus>,
    lags: Vec<PeerLag>,
}

impl SpaceTaken {
    /// `labels`, and the namespace if it is not the default one.
    fn labelled(&self, mut labels: Labels) -> Labels {
        labels.extend(self.label.iter().map(|name| ("namespace", name.clone())));
        labels
    }
}

fn take(shared: &Shared) -> Result<Taken, NoCore> {
    let mut core = health::core(shared)?;
    let mut statuses = core.namespace_statuses();
    statuses.sort_by_key(|status| (status.id != shared.default.id, status.name.clone()));
    let spaces = statuses.into_iter().filter_map(|status| {
        let id = status.id;
        let (pressure, scrubbed) = (core.pressure(id)?, core.scrub_progress(id)?);
        let store = core.store(id)?;
        Some(SpaceTaken {
            id,
            label: (id != shared.default.id).then_some(status.name),
            pressure,
            bytes: store.bytes(),
            crdts: store.crdt_count(),
            items: store.item_count(),
            scrubbed,
            peers: core.peers(id),
            lags: core.lags(shared.clock.now(), id),
        })
    });
    let spaces = spaces.collect();
    Ok(Taken { meter: core.meter().clone(), stats: core.stats(), step: core.step(), spaces })
}

/// A count as a gauge's value.
#[expect(clippy::cast_precision_loss, reason = "the format has floating point numbers only")]
fn float(count: u64) -> f64 {
    count as f64
}
