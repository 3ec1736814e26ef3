//! `export` and `import`: everything a node reads as, as lines of JSON, each an operation that makes it anew.
//!
//! Only what readers see goes along: an import is new writes of the node that takes them in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::output::{self, grouped};

/// Lines that are written as one group, at most.
const BATCH_LINES: usize = 1_000;

/// Bytes of lines that are written as one group, at most: below the node's limits for a request and for a group.
const BATCH_BYTES: usize = 128 << 10;

/// The longest line that is read: above the longest value that a node takes, in JSON.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// What an export came to, as its last line tells.
#[derive(Deserialize)]
struct End {
    #[serde(rename = "end")]
    _end: bool,
    keys: u64,
    ops: u64,
    left_out: u64,
    settled: u64,
}

/// The first line of an export. Those of the first release have none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(rename = "namespace")]
    _namespace: String,
}

/// Writes all that the node reads as to `file`, or to standard output.
pub(super) async fn export(
    client: &Client,
    file: Option<&Path>,
    prefix: &str,
    json: bool,
) -> Result<(), Failure> {
    let mut lines = client.follow("/v1/export", &[("prefix", prefix)]).await?;
    let mut out: Box<dyn Write> = match file {
        Some(path) => {
            let made =
                File::create_new(path).map_err(|error| Failure::Failed(cannot("make", path, &error)))?;
            Box::new(BufWriter::new(made))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let bar = bar(file.is_some(), None);
    let mut end = None;
    while let Some(line) = lines.next().await? {
        out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(Failure::failed)?;
        if line.starts_with("{\"namespace\"") {
            continue;
        }
        if line.starts_with("{\"end\"") {
            end = Some(serde_json::from_str::<End>(&line).map_err(Failure::failed)?);
            break;
        }
        bar.inc(1);
    }
    out.flush().map_err(Failure::failed)?;
    drop(out);
    bar.finish_and_clear();
    let Some(End { keys, ops, left_out, settled, _end }) = end else {
        return Err(Failure::Failed(
            "the node broke off the export: what was written is not all; try again".into(),
        ));
    };
    if file.is_some() && json {
        let told = serde_json::json!({"keys": keys, "ops": ops, "left_out": left_out, "settled": settled});
        output::json(&told)?;
    } else if file.is_some() {
        output::line(&format!("{} operations for {} keys", grouped(ops), grouped(keys)))?;
    }
    if settled > 0 {
        let told = format!(
            "{} values stood beside others, written at once: an import keeps the last",
            grouped(settled)
        );
        tracing::warn!("{told}");
    }
    match left_out {
        0 => Ok(()),
        left_out => Err(Failure::Failed(format!(
            "{left_out} CRDTs were left out: their types are not known to this version, or they lie below names that are not text"
        ))),
    }
}

/// Takes the lines of an export in as new writes.
pub(super) async fn import(
    client: &Client,
    file: Option<&Path>,
    merge: bool,
    json: bool,
) -> Result<(), Failure> {
    if !merge {
        let keys: Vec<Value> = client.get("/v1/keys", &[("prefix", "")]).await?.parse()?;
        if !keys.is_empty() {
            return Err(Failure::Failed(format!(
                "the node holds {} keys; import into an empty one, or add --merge to write on top, where counters count what is \
                 imported once more",
                keys.len()
            )));
        }
    }
    let (input, bytes): (Box<dyn Read>, Option<u64>) = match file {
        Some(path) => {
            let opened = File::open(path).map_err(|error| Failure::Failed(cannot("open", path, &error)))?;
            let bytes = opened.metadata().map(|data| data.len()).ok();
            (Box::new(opened), bytes)
        }
        None => (Box::new(io::stdin().lock()), None),
    };
    let bar = bar(true, bytes);
    let mut taking = Taking { client, now_ms: now_ms(), lines: Vec::new(), bytes: 0, done: 0, expired: 0 };
    let mut input = BufReader::new(input);
    let (mut number, mut ended) = (0, false);
    loop {
        let mut line = String::new();
        let read = (&mut input).take(LINE_BYTES_MAX).read_line(&mut line).map_err(Failure::failed)?;
        if read == 0 {
            break;
        }
        number += 1;
        bar.inc(read as u64);
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if ended {
            return Err(taking.broken(number, "it stands behind the end of the export"));
        }
        if serde_json::from_str::<End>(text).is_ok() {
            ended = true;
            continue;
        }
        if number == 1 && serde_json::from_str::<Head>(text).is_ok() {
            // Where it came from; where it goes is the command's to say.
            continue;
        }
        taking.line(number, text).await?;
    }
    taking.send(number).await?;
    bar.finish_and_clear();
    let Taking { done, expired, .. } = taking;
    if !ended {
        return Err(Failure::Failed(format!(
            "{done} operations were taken in, but the export has no last line: it was cut, and more was in it"
        )));
    }
    if json {
        return output::json(&serde_json::json!({"ops": done, "expired": expired}));
    }
    let expired = if expired == 0 { String::new() } else { format!(", {} had expired", grouped(expired)) };
    output::line(&format!("{} operations taken in{expired}", grouped(done)))
}

/// Lines on their way into the node.
struct Taking<'a> {
    client: &'a Client,
    now_ms: u64,
    lines: Vec<Box<RawValue>>,
    bytes: usize,
    done: u64,
    expired: u64,
}

impl Taking<'_> {
    async fn line(&mut self, number: u64, text: &str) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Expires {
            expires_ms: Option<u64>,
        }
        let read = serde_json::from_str::<Expires>(text);
        let Expires { expires_ms } = read.map_err(|error| self.broken(number, &error.to_string()))?;
        if expires_ms.is_some_and(|at| at <= self.now_ms) {
            self.expired += 1;
            return Ok(());
        }
        if self.lines.len() >= BATCH_LINES || self.bytes + text.len() > BATCH_BYTES {
            self.send(number - 1).await?;
        }
        self.bytes += text.len();
        self.lines.push(RawValue::from_string(text.to_owned()).map_err(Failure::failed)?);
        Ok(())
    }

    /// Writes what waits as one group; `number` is the last line of it.
    async fn send(&mut self, number: u64) -> Result<(), Failure> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let count = lines.len() as u64;
        let body = serde_json::json!({ "ops": lines });
        let answer: Result<Answer, Failure> = self.client.post("/v1/batch", &body).await;
        answer.map_err(|error| {
            self.broken(number, &format!("it ends a group of {count} that was refused: {error}"))
        })?;
        (self.done, self.bytes) = (self.done + count, 0);
        Ok(())
    }

    fn broken(&self, number: u64, why: &str) -> Failure {
        Failure::Failed(format!(
            "line {number}: {why}; {} operations before it were taken in: correct it, and import into an empty node again",
            self.done
        ))
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Shown to people only.
fn bar(shown: bool, bytes: Option<u64>) -> ProgressBar {
    if !shown || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let form = match bytes {
        Some(_) => "{bar:32} {bytes} of {total_bytes}  {eta} left",
        None => "{spinner} {human_pos} lines",
    };
    let style = ProgressStyle::with_template(form).expect("the template is a constant");
    bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}
