//! What the clients of a load do, each over a connection of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::Kind;
use super::times::Times;
use crate::args::BenchArgs;
use crate::failure::Failure;

/// Elements of a set and fields of a map: writes meet what is there, and answers stay short.
const PLACES: u64 = 16;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How long an answer may take before it counts as an error: above the slowest disk.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long a write may take to be visible everywhere before that counts as an error.
const VISIBLE_MS_MAX: u64 = 10_000;

/// After an error a client waits so long, so that a node that is gone is not asked in a loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What is to be done, for all clients.
pub(super) struct Load {
    pub(super) args: BenchArgs,
    pub(super) prefix: String,
    value: String,
    weights: [u64; 3],
}

impl Load {
    pub(super) fn new(args: BenchArgs, prefix: String) -> Result<Self, Failure> {
        let weights = [args.reads, args.adds, args.puts].map(u64::from);
        if weights.iter().sum::<u64>() == 0 {
            return Err(Failure::Usage(
                "--reads, --adds and --puts are all 0; one of them must be more".to_owned(),
            ));
        }
        let value = "v".repeat(usize::try_from(args.value_bytes).unwrap_or(usize::MAX));
        Ok(Self { args, prefix, value, weights })
    }

    /// The next operation, drawn from `random`: its kind, path and body.
    fn draw(&self, random: &mut Random) -> (Kind, String, Option<Value>) {
        let key = random.below(self.args.keys);
        let place = random.below(PLACES);
        let prefix = &self.prefix;
        let [reads, adds, puts] = self.weights;
        match random.below(reads + adds + puts) {
            at if at < reads => (Kind::Read, format!("/v1/map?key={prefix}map/{key}&field=f{place}"), None),
            at if at < reads + adds => {
                let body = json!({"key": format!("{prefix}set/{key}"), "element": format!("e{place}")});
                (Kind::Add, "/v1/set/add".to_owned(), Some(body))
            }
            _ => {
                let key = format!("{prefix}map/{key}");
                let body = json!({"key": key, "field": format!("f{place}"), "value": self.value});
                (Kind::Put, "/v1/map/put".to_owned(), Some(body))
            }
        }
    }
}

/// What a client came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) times: [Times; 4],
    pub(super) errors: [u64; 4],
    pub(super) error: Option<String>,
}

impl Outcome {
    fn note<T>(&mut self, kind: Kind, meant: Instant, done: Result<T, String>) -> Option<T> {
        match done {
            Ok(answer) => {
                let us = u64::try_from(meant.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.times[kind as usize].add(us);
                Some(answer)
            }
            Err(error) => {
                self.errors[kind as usize] += 1;
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

/// One client, until it is to stop.
pub(super) async fn run(
    load: Arc<Load>,
    socket: PathBuf,
    client: u64,
    begun: Instant,
    stop: Arc<AtomicBool>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = Connection::new(&socket, load.args.durability.as_deref());
    let mut random = Random(client.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id()));
    let clients = f64::from(load.args.clients);
    // Each client begins its first operation at another moment.
    let pause = load.args.rate.map(|rate| clients / f64::from(rate));
    let mut next = pause.map(|pause| begun + Duration::from_secs_f64(pause * client as f64 / clients));
    while !stop.load(Ordering::Relaxed) {
        let meant = match (next, pause) {
            (Some(at), Some(pause)) => {
                next = Some(at + Duration::from_secs_f64(pause));
                tokio::time::sleep_until(at.into()).await;
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                at
            }
            (_, _) => Instant::now(),
        };
        let (kind, path, body) = load.draw(&mut random);
        let answer = connection.ask(&path, body.as_ref()).await;
        if outcome.note(kind, meant, answer).is_none() {
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
    outcome
}

/// Writes now and then, and waits until every member has it.
pub(super) async fn watch_visible(
    load: Arc<Load>,
    socket: PathBuf,
    begun: Instant,
    stop: Arc<AtomicBool>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = Connection::new(&socket, load.args.durability.as_deref());
    let pause = Duration::from_millis(load.args.visible_every);
    let mut at = begun;
    for number in 0u64.. {
        at = (at + pause).max(Instant::now());
        tokio::time::sleep_until(at.into()).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{}visible", load.prefix);
        let body = json!({"key": key, "element": format!("e{}", number % PLACES)});
        let meant = Instant::now();
        let seen = async {
            let written = connection.ask("/v1/set/add", Some(&body)).await?;
            let token = written["token"]
                .as_str()
                .ok_or("the node gives no tokens; use one of this tool's version")?;
            let body = json!({"token": token, "to": "all", "timeout_ms": VISIBLE_MS_MAX});
            connection.ask("/v1/visible", Some(&body)).await
        };
        let seen = seen.await;
        outcome.note(Kind::Visible, meant, seen);
    }
    outcome
}

/// A connection that is made again after an error.
struct Connection {
    socket: PathBuf,
    durability: Option<String>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    fn new(socket: &Path, durability: Option<&str>) -> Self {
        Self { socket: socket.to_owned(), durability: durability.map(str::to_owned), sender: None }
    }

    /// Reads with `GET`, or writes `body` with `POST`; the answer, or why there is none.
    async fn ask(&mut self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let asked = tokio::time::timeout(ANSWER_TIME, self.exchange(path, body)).await;
        let answer = asked.unwrap_or_else(|_| Err(format!("no answer in {} s", ANSWER_TIME.as_secs())));
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn exchange(&mut self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.socket.display());
        let sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => {
                let stream = UnixStream::connect(&self.socket).await.map_err(|error| failed(&error))?;
                let (sender, driven) =
                    handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
                // It ends with the sender.
                tokio::spawn(driven);
                sender
            }
        };
        let sender = self.sender.insert(sender);
        sender.ready().await.map_err(|error| error.to_string())?;
        let request = Request::builder().uri(path).header("host", "localhost");
        let request = match (body, &self.durability) {
            (None, _) => request.method("GET"),
            (Some(_), None) => request.method("POST").header("content-type", "application/json"),
            (Some(_), Some(level)) => request
                .method("POST")
                .header("content-type", "application/json")
                .header("sync-durability", level),
        };
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.body(Full::new(bytes)).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer["error"].as_str().unwrap_or("it does not say why");
        Err(format!("{path} was answered with {status}: {}", crate::output::shown(text)))
    }
}

/// Which operation comes next need only be spread well (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) % max.max(1)
    }
}
