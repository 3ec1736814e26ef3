//! The settings of a scenario: links, disks, clocks, bounds, periods, load. Each has defaults.

use serde::{Deserialize, Serialize};
use sync_core::class::Class;
use sync_core::limits::{Limits, Timing};
use sync_core::time::Span;

use crate::deed::Typed;

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As over one QUIC stream each way: in order, losses cost time, a connection that is silent for too
    /// long breaks and takes its frames with it.
    Stream,
    /// Harsher than QUIC: each frame is lost, doubled and overtaken for itself.
    Datagram,
}

/// The class of a namespace, as [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// [`Class::Urgent`].
    Urgent,
    /// [`Class::Normal`].
    Normal,
    /// [`Class::Bulk`].
    Bulk,
}

impl Lane {
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Urgent => Class::Urgent,
            Self::Normal => Class::Normal,
            Self::Bulk => Class::Bulk,
        }
    }
}

/// Namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lanes {
    /// The class of the application's namespace; if there is none, it lives in the default one.
    pub main: Option<Lane>,
    /// Namespaces beside it, which turns write to, open and close.
    pub side: Vec<Lane>,
}

/// The links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// How frames travel.
    pub mode: Mode,
    /// Shortest and longest delay one way, in microseconds.
    pub delay_us: (u64, u64),
    /// Share of frames lost, 0 to 0.5.
    pub loss: f64,
    /// Share of frames that arrive twice (datagrams).
    pub duplicate: f64,
    /// Share of frames that are held back by up to ten times the longest delay (datagrams).
    pub reorder: f64,
    /// Bytes a second one way; 0 for no limit.
    pub bandwidth: u64,
    /// Most frames under way in one direction; beyond it datagrams are lost. 0 for no limit.
    pub queue_frames: usize,
    /// Most bytes written to a connection and not yet read at its other end (streams).
    pub window_bytes: usize,
    /// A connection over which nothing comes for this long breaks, in milliseconds.
    pub idle_ms: u64,
    /// How long a node waits before it connects again, in milliseconds; up to as much again is added.
    pub redial_ms: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            mode: Mode::Stream,
            delay_us: (500, 5_000),
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            bandwidth: 0,
            queue_frames: 0,
            window_bytes: 1 << 20,
            idle_ms: 1_000,
            redial_ms: 200,
        }
    }
}

/// The disks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// False: nothing outlives a process ([`sync_core::node::Persistence::Memory`]).
    pub durable: bool,
    /// Shortest and longest time until a write is durable, in microseconds.
    pub sync_us: (u64, u64),
    /// Of 100 writes, so many fail: all of such a write is there or nothing, and it is tried again.
    pub errors_percent: u64,
    /// Shortest and longest time between a write of the application and the driver's next look at the
    /// node, in microseconds.
    pub wake_us: (u64, u64),
}

impl Default for Disk {
    fn default() -> Self {
        Self { durable: true, sync_us: (200, 5_000), errors_percent: 0, wake_us: (0, 200) }
    }
}

/// The clocks at the beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clocks {
    /// Each wall clock is off by up to this much either way, in milliseconds.
    pub skew_ms: u64,
    /// Each monotonic clock runs fast or slow by up to this many millionths.
    pub drift_ppm: u64,
}

/// Bounds that are not the engine's defaults; see [`Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// See [`Limits::crdts_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crdts_max: Option<u64>,
    /// See [`Limits::store_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_bytes_max: Option<u64>,
    /// See [`Limits::store_bytes_ceiling`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_bytes_ceiling: Option<u64>,
    /// See [`Limits::message_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<usize>,
    /// See [`Limits::pinned_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_bytes_max: Option<u64>,
    /// See [`Limits::log_entries_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_entries_max: Option<usize>,
    /// See [`Limits::records_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_max: Option<usize>,
    /// See [`Limits::outbox_frames_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbox_frames_max: Option<usize>,
    /// See [`Limits::bulk_rate_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk_rate_max: Option<u64>,
    /// See [`Limits::pushes_in_flight_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushes_in_flight_max: Option<u64>,
    /// See [`Limits::skipped_entries_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_entries_max: Option<u64>,
    /// See [`Limits::full_mesh_peers_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_mesh_peers_max: Option<usize>,
    /// See [`Limits::overlay_degree`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay_degree: Option<usize>,
    /// See [`Limits::crowd_peers_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crowd_peers_max: Option<usize>,
    /// See [`Limits::fresh_events_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_events_max: Option<u64>,
    /// See [`Limits::catch_up_rate_min`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_rate_min: Option<u64>,
    /// See [`Limits::pulls_at_once_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulls_at_once_max: Option<usize>,
}

impl Bounds {
    /// The engine's limits with these in place of its defaults.
    pub fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            crdts_max: self.crdts_max.unwrap_or(defaults.crdts_max),
            store_bytes_max: self.store_bytes_max.unwrap_or(defaults.store_bytes_max),
            store_bytes_ceiling: self.store_bytes_ceiling.unwrap_or(defaults.store_bytes_ceiling),
            message_bytes_max: self.message_bytes_max.unwrap_or(defaults.message_bytes_max),
            pinned_bytes_max: self.pinned_bytes_max.unwrap_or(defaults.pinned_bytes_max),
            log_entries_max: self.log_entries_max.unwrap_or(defaults.log_entries_max),
            records_max: self.records_max.unwrap_or(defaults.records_max),
            outbox_frames_max: self.outbox_frames_max.unwrap_or(defaults.outbox_frames_max),
            bulk_rate_max: self.bulk_rate_max.unwrap_or(defaults.bulk_rate_max),
            pushes_in_flight_max: self.pushes_in_flight_max.unwrap_or(defaults.pushes_in_flight_max),
            skipped_entries_max: self.skipped_entries_max.unwrap_or(defaults.skipped_entries_max),
            full_mesh_peers_max: self.full_mesh_peers_max.unwrap_or(defaults.full_mesh_peers_max),
            overlay_degree: self.overlay_degree.unwrap_or(defaults.overlay_degree),
            crowd_peers_max: self.crowd_peers_max.unwrap_or(defaults.crowd_peers_max),
            fresh_events_max: self.fresh_events_max.unwrap_or(defaults.fresh_events_max),
            catch_up_rate_min: self.catch_up_rate_min.unwrap_or(defaults.catch_up_rate_min),
            pulls_at_once_max: self.pulls_at_once_max.unwrap_or(defaults.pulls_at_once_max),
            ..defaults
        }
    }
}

/// What the nodes speak.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// Nodes that speak the oldest version only.
    pub old: Vec<usize>,
    /// Repairs whose records were lost go by sketch, however short a list would be, with so many symbols in the
    /// answer itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sketches: Option<usize>,
}

/// Periods that are not the engine's defaults, in milliseconds; see [`Timing`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Periods {
    /// See [`Timing::sync_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_interval_ms: Option<u64>,
    /// See [`Timing::sync_timeout`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_timeout_ms: Option<u64>,
    /// See [`Timing::hello_retry`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_retry_ms: Option<u64>,
    /// See [`Timing::relay_delay`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_delay_ms: Option<u64>,
    /// See [`Timing::tell_delay`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tell_delay_ms: Option<u64>,
    /// See [`Timing::random_session`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_session_ms: Option<u64>,
    /// See [`Timing::cleanup_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup_interval_ms: Option<u64>,
    /// See [`Timing::scrub_period`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub_period_ms: Option<u64>,
    /// See [`Timing::expiry_grace`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_grace_ms: Option<u64>,
    /// See [`Timing::expiry_step`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_step_ms: Option<u64>,
    /// See [`Timing::clock_wait`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_wait_ms: Option<u64>,
    /// See [`Timing::replay_wait`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_wait_ms: Option<u64>,
    /// See [`Timing::catch_up_spread`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_spread_ms: Option<u64>,
    /// See [`Timing::breaker_open`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_open_ms: Option<u64>,
    /// See [`Timing::breaker_open_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_open_max_ms: Option<u64>,
    /// See [`Timing::breaker_probe_min`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_probe_min_ms: Option<u64>,
    /// See [`Timing::breaker_probe_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker_probe_max_ms: Option<u64>,
}

impl Periods {
    /// The engine's timing with these in place of its defaults.
    pub fn timing(&self) -> Timing {
        let defaults = Timing::default();
        let or = |ms: Option<u64>, default: Span| ms.map_or(default, Span::from_millis);
        Timing {
            sync_interval: or(self.sync_interval_ms, defaults.sync_interval),
            sync_timeout: or(self.sync_timeout_ms, defaults.sync_timeout),
            hello_retry: or(self.hello_retry_ms, defaults.hello_retry),
            relay_delay: or(self.relay_delay_ms, defaults.relay_delay),
            tell_delay: or(self.tell_delay_ms, defaults.tell_delay),
            random_session: or(self.random_session_ms, defaults.random_session),
            scrub_period: or(self.scrub_period_ms, defaults.scrub_period),
            cleanup_interval: or(self.cleanup_interval_ms, defaults.cleanup_interval),
            expiry_grace: or(self.expiry_grace_ms, defaults.expiry_grace),
            expiry_step: or(self.expiry_step_ms, defaults.expiry_step),
            clock_wait: or(self.clock_wait_ms, defaults.clock_wait),
            replay_wait: or(self.replay_wait_ms, defaults.replay_wait),
            breaker_open: or(self.breaker_open_ms, defaults.breaker_open),
            breaker_open_max: or(self.breaker_open_max_ms, defaults.breaker_open_max),
            breaker_probe_min: or(self.breaker_probe_min_ms, defaults.breaker_probe_min),
            breaker_probe_max: or(self.breaker_probe_max_ms, defaults.breaker_probe_max),
            clock_window: defaults.clock_window,
            survey_pause: defaults.survey_pause,
            drift_max: defaults.drift_max,
            catch_up_spread: or(self.catch_up_spread_ms, defaults.catch_up_spread),
        }
    }
}

/// What the default workload does; see [`crate::workload::RandomWorkload`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Number of turns, spread over the run.
    pub turns: usize,
    /// Keys of each type.
    pub keys: u32,
    /// Elements of a set and fields of a map.
    pub places: u32,
    /// Weight of sets, maps and counters.
    pub types: (u32, u32, u32),
    /// The other types that take part, each with a weight of 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub typed: Vec<Typed>,
    /// Share of operations that remove one thing.
    pub remove: f64,
    /// Share of operations that clear a whole object or reset a counter.
    pub clear: f64,
    /// Most operations in one group; a turn draws from 1 to this.
    pub group: u32,
    /// Longest value of a map's field, in bytes.
    pub value_bytes: usize,
    /// Share of writes that expire, of types that can. Then clocks are set right when faults end, and what is
    /// written must die at its time.
    #[serde(skip_serializing_if = "is_zero")]
    pub expiring: f64,
    /// Shortest and longest time until they do, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<(u64, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl Default for Load {
    fn default() -> Self {
        Self {
            turns: 150,
            keys: 3,
            places: 4,
            types: (3, 3, 2),
            typed: Vec::new(),
            remove: 0.2,
            clear: 0.06,
            group: 2,
            value_bytes: 12,
            expiring: 0.0,
            expires_ms: None,
        }
    }
}
