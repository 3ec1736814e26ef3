//! Standard error: the log, one line an event, and at most one line about a failure.
//!
//! Standard output stays what was asked for.

use std::io::{self, Write as _};

use tracing_subscriber::EnvFilter;

/// Starts the log. What is logged follows `RUST_LOG`, or `default` if that is not set or not readable.
pub(crate) fn to_stderr(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// Writes `text` as one line. If nobody reads standard error there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "sync-cli: {line}");
}
