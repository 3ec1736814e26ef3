//! Talks to a running node: one HTTP/1.1 request over its Unix socket, one JSON answer back.
//!
//! The node's own words travel unchanged: an answer that is not a success carries `error` and `kind`,
//! and `error` becomes the line the user reads.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use sync_net::TraceContext;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::failure::Failure;

/// Most bytes of an answer. A longer one is refused with a line that says so. Chosen above what a full
/// store of 64 MiB lists as JSON in practice; the node is our own, so this guards against a wrong socket.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How long a node may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node may take to answer, on top of the time that the request itself asks for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the node answered: one JSON value, as text.
///
/// It stays text until its type is known: a counter's value may need more digits than a JSON library's
/// general number keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer(String);

impl Answer {
    fn new(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<IgnoredAny>(bytes).ok()?;
        String::from_utf8(bytes.to_vec()).ok().map(Self)
    }

    /// The JSON text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.trim_end()
    }

    /// Reads the answer as what it should be.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(|error| {
            Failure::Failed(format!(
                "the node's answer is not understood ({error}); use a node of this tool's version"
            ))
        })
    }
}

/// An answer of the node that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The body, if it is JSON.
    pub(crate) body: Option<Answer>,
}

impl Refusal {
    /// The node's line about it.
    pub(crate) fn text(&self) -> String {
        let body: Option<Value> = self.body.as_ref().and_then(|body| body.parse().ok());
        match body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str) {
            Some(text) => crate::output::shown(text),
            None => format!("the node answered {} without saying why", self.status),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.text())
    }
}

/// A running node, by the path of its socket. Each request opens a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    /// The namespace that is meant; the default one if `None`.
    namespace: Option<String>,
}

/// What is asked of a node as such and takes no namespace.
const OF_THE_NODE: [&str; 5] = ["/v1/status", "/v1/health", "/v1/visible", "/v1/namespaces", "/v1/backup"];

impl Client {
    /// A client of the node at `socket`. Nothing is opened yet.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, namespace: None }
    }

    /// The same, for what is asked of one namespace.
    pub(crate) fn in_namespace(self, namespace: Option<String>) -> Self {
        Self { namespace, ..self }
    }

    /// The namespace that is meant, if it was named.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// What is asked for, in the namespace that is meant.
    fn uri(&self, path: &str, query: &[(&str, &str)]) -> String {
        match &self.namespace {
            Some(namespace) if !OF_THE_NODE.contains(&path) => {
                with_query(path, &[query, &[("namespace", namespace)]].concat())
            }
            Some(_) | None => with_query(path, query),
        }
    }

    /// `GET path` with `query` appended, percent-encoded.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let uri = self.uri(path, query);
        Ok(self.request(Method::GET, &uri, None, Duration::ZERO).await??)
    }

    /// `POST path` with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        Ok(self.request(Method::POST, &self.uri(path, &[]), Some(body), Duration::ZERO).await??)
    }

    /// `POST path` for a request that may itself take `expected`; a refusal is left to the caller.
    pub(crate) async fn post_slow(
        &self,
        path: &str,
        body: &Value,
        expected: Duration,
    ) -> Result<Result<Answer, Refusal>, Failure> {
        self.request(Method::POST, &self.uri(path, &[]), Some(body), expected).await
    }

    async fn request(
        &self,
        method: Method,
        uri: &str,
        body: Option<&Value>,
        expected: Duration,
    ) -> Result<Result<Answer, Refusal>, Failure> {
        let stream = self.connect().await?;
        let limit = ANSWER_TIMEOUT.saturating_add(expected);
        match timeout(limit, exchange(stream, method, uri, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::Failed(format!(
                "the node at {} broke off its answer ({error}); look at its log and try again",
                self.socket.display()
            ))),
            Err(_) => Err(Failure::Failed(format!(
                "the node at {} did not answer in {} s; look at its log",
                self.socket.display(),
                limit.as_secs()
            ))),
        }
    }

    /// `GET path` whose answer is lines without an end.
    pub(crate) async fn follow(&self, path: &str, query: &[(&str, &str)]) -> Result<Lines, Failure> {
        let stream = self.connect().await?;
        let uri = self.uri(path, query);
        match timeout(ANSWER_TIMEOUT, begin(stream, Method::GET, &uri, None)).await {
            Ok(Ok((answer, connection))) if answer.status().is_success() => {
                Ok(Lines { body: answer.into_body(), kept: Vec::new(), _connection: connection })
            }
            Ok(Ok((answer, _connection))) => {
                let status = answer.status();
                let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
                let body = body.ok().and_then(|body| Answer::new(&body.to_bytes()));
                Err(Refusal { status, body }.into())
            }
            Ok(Err(error)) => Err(Failure::Failed(format!("the node broke off its answer ({error})"))),
            Err(_) => Err(Failure::Failed("the node did not answer; look at its log".to_owned())),
        }
    }

    async fn connect(&self) -> Result<UnixStream, Failure> {
        check_owner(&self.socket)?;
        let why = match timeout(CONNECT_TIMEOUT, UnixStream::connect(&self.socket)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not accepted in {} s", CONNECT_TIMEOUT.as_secs()),
        };
        Err(Failure::Failed(format!(
            "no node answers at {} ({why}); start one with `sync-cli run`, or name its socket with --socket or \
             SYNC_SOCKET",
            self.socket.display()
        )))
    }
}

/// Refuses a socket of another user in a directory that anyone may write to: `/tmp/sync-UID.sock` is a
/// name that a stranger can guess and take first.
fn check_owner(socket: &Path) -> Result<(), Failure> {
    let Some(dir) = socket.parent() else { return Ok(()) };
    let (Ok(socket_meta), Ok(dir_meta)) = (socket.symlink_metadata(), dir.metadata()) else {
        return Ok(()); // connecting says what is wrong
    };
    let shared = dir_meta.mode() & 0o002 != 0;
    let (own, root) = (rustix::process::getuid().as_raw(), 0);
    if shared && ![own, root].contains(&socket_meta.uid()) {
        return Err(Failure::Failed(format!(
            "{} belongs to another user (uid {}); use --socket with a path of your own",
            socket.display(),
            socket_meta.uid()
        )));
    }
    Ok(())
}

type ExchangeError = Box<dyn std::error::Error + Send + Sync>;

/// The lines of an answer as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    /// What came behind the last line given.
    kept: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    /// The next line, without its end; `None` when the node has ended the answer. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.kept.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.kept.drain(..=end).take(end).collect();
                return String::from_utf8(line).map(Some).map_err(Failure::failed);
            }
            if self.kept.len() > ANSWER_BYTES_MAX {
                return Err(Failure::Failed(format!("a line of the node exceeds {ANSWER_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.kept.extend(frame.into_data().unwrap_or_default()),
                // The node closes old connections in the middle of an answer that has no end.
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }
}

/// The task of a connection; it ends with this.
#[derive(Debug)]
struct Connection(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    uri: &str,
    body: Option<&Value>,
) -> Result<Result<Answer, Refusal>, ExchangeError> {
    let (answer, _connection) = begin(stream, method, uri, body).await?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
    match (status.is_success(), Answer::new(&bytes)) {
        (true, Some(answer)) => Ok(Ok(answer)),
        (true, None) => Err("it is not JSON".into()),
        (false, body) => Ok(Err(Refusal { status, body })),
    }
}

/// Sends a request and takes the head of its answer.
async fn begin(
    stream: UnixStream,
    method: Method,
    uri: &str,
    body: Option<&Value>,
) -> Result<(Response<Incoming>, Connection), ExchangeError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer: the request asks the node to close, and `sender` is dropped here.
    let connection = Connection(tokio::spawn(connection));
    let mut request = Request::builder().method(method).uri(uri).header("host", "localhost");
    request = request.header("connection", "close");
    if let Some(trace) = trace() {
        request = request.header("traceparent", trace.to_string());
    }
    let bytes = match body {
        Some(value) => {
            request = request.header("content-type", "application/json");
            Bytes::from(value.to_string())
        }
        None => Bytes::new(),
    };
    Ok((sender.send_request(request.body(Full::new(bytes))?).await?, connection))
}

/// The trace that this command is a part of, if whoever started it says so; what is no trace context is none.
fn trace() -> Option<TraceContext> {
    std::env::var("TRACEPARENT").ok()?.parse().ok()
}

/// `path?name=value&..`, each value percent-encoded but for the unreserved characters of RFC 3986.
fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    use std::fmt::Write as _;
    let mut uri = String::from(path);
    for (at, (name, value)) in query.iter().enumerate() {
        uri.push(if at == 0 { '?' } else { '&' });
        uri.push_str(name);
        uri.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                write!(uri, "%{byte:02X}").expect("writing to a String cannot fail");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_survives_the_query() {
        assert_eq!(with_query("/v1/keys", &[]), "/v1/keys");
        assert_eq!(
            with_query("/v1/map", &[("key", "a/b c&d"), ("field", "é%")]),
            "/v1/map?key=a%2Fb%20c%26d&field=%C3%A9%25"
        );
    }

    #[test]
    fn a_refusal_says_what_the_node_said() {
        let refusal = |body: &[u8]| Refusal { status: StatusCode::BAD_REQUEST, body: Answer::new(body) };
        assert_eq!(refusal(br#"{"error": "no key given"}"#).text(), "no key given");
        assert!(refusal(b"<html>").text().contains("400"));
    }

    #[test]
    fn a_large_number_keeps_its_digits() {
        #[derive(serde::Deserialize)]
        struct Counter {
            value: i128,
        }
        let answer = Answer::new(br#"{"key":"k","value":-36893488147419103231}"#).expect("it is JSON");
        assert_eq!(answer.parse::<Counter>().expect("it is a counter").value, -36_893_488_147_419_103_231);
        assert!(answer.as_str().contains("-36893488147419103231"));
    }
}
