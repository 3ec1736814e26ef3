//! Standard error: the log, one line an event, and at most one line about a failure or a mistake.
//!
//! Standard output stays what was asked for.

use std::fmt;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sync_net::settings::{LogFormat, Settings};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Starts the log. What is logged follows `RUST_LOG`, or `default` if that is not set or not readable.
pub(crate) fn to_stderr(default: &str) {
    tracing_subscriber::fmt().with_env_filter(unset(default)).with_writer(io::stderr).init();
}

/// What is logged where nothing is configured.
fn unset(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}

fn filter(settings: &Settings) -> EnvFilter {
    settings.log.as_ref().map_or_else(|| unset("info"), EnvFilter::new)
}

/// The log of a node that runs.
pub(crate) struct Log {
    set: Box<dyn Fn(EnvFilter) + Send + Sync>,
}

impl Log {
    /// Starts the log as `settings` say.
    pub(crate) fn start(settings: &Settings) -> Self {
        let builder = tracing_subscriber::fmt().with_env_filter(filter(settings)).with_writer(io::stderr);
        // An error would mean that the log is gone, and it stays as long as the process.
        match settings.log_format {
            LogFormat::Text => {
                let builder = builder.with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Self { set: Box::new(move |filter| drop(handle.reload(filter))) }
            }
            LogFormat::Json => {
                let builder = builder.event_format(JsonLines).with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Self { set: Box::new(move |filter| drop(handle.reload(filter))) }
            }
        }
    }

    /// Logs what `settings` say from now on.
    pub(crate) fn reload(&self, settings: &Settings) {
        (self.set)(filter(settings));
    }
}

/// An object a line.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let spans: Vec<&str> = context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
            .map(|span| span.name())
            .collect();
        let metadata = event.metadata();
        let mut line = json!({
            "at_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            "level": metadata.level().as_str().to_lowercase(),
            "target": metadata.target(),
            "message": message,
            "fields": fields.0,
        });
        if !spans.is_empty() {
            line["spans"] = json!(spans);
        }
        writeln!(writer, "{line}")
    }
}

/// The fields of an event, as JSON.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}

/// Writes `text` as one line. If nobody reads standard error there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "sync-cli: {line}");
}
