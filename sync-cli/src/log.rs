//! Standard error: the log, one line an event, and at most one line about a failure.
//!
//! Standard output stays what was asked for. With `SYNC_LOG_FORMAT=json` each event is one JSON object: what shippers of
//! logs read without a pattern.

use std::fmt;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Says how the log is written: `text`, as without it, or `json`.
const FORMAT: &str = "SYNC_LOG_FORMAT";

/// Starts the log. What is logged follows `RUST_LOG`, or `default` if that is not set or not readable.
pub(crate) fn to_stderr(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if std::env::var_os(FORMAT).is_some_and(|format| format == "json") {
        log.event_format(JsonLines).init();
    } else {
        log.init();
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
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// Writes `text` as one line. If nobody reads standard error there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "sync-cli: {line}");
}
