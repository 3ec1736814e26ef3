//! `bench`: loads a running cluster through its local endpoints and prints rates and percentiles.
//!
//! Clients keep a connection each and ask one thing after the other. With a rate, every operation has a moment at which
//! it is meant to begin, and its time is counted from there: a node that stalls is charged for all that had to wait, not
//! only for what it was asked meanwhile (coordinated omission). What is written lies under a prefix of its own and is
//! removed at the end. `load` does the work, `times` keeps what it took.

mod load;
mod times;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::load::{Load, Outcome};
use self::times::Times;
use crate::args::BenchArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, grouped, table};

/// What a client does, in the order in which it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Add,
    Put,
    /// A write until every member has it.
    Visible,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Read, Self::Add, Self::Put, Self::Visible];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Add => "add",
            Self::Put => "put",
            Self::Visible => "visible",
        }
    }
}

/// What all clients came to.
#[derive(Default)]
struct Total {
    times: [Times; 4],
    errors: [u64; 4],
    /// The first of them.
    error: Option<String>,
}

impl Total {
    fn take(&mut self, Outcome { times, errors, error }: Outcome) {
        self.times.iter_mut().zip(&times).for_each(|(ours, theirs)| ours.join(theirs));
        self.errors.iter_mut().zip(errors).for_each(|(ours, theirs)| *ours += theirs);
        self.error = self.error.take().or(error);
    }
}

/// Loads the nodes as `args` say.
pub(super) async fn bench(args: BenchArgs, json: bool) -> Result<(), Failure> {
    let sockets: Vec<PathBuf> =
        std::iter::once(args.target.socket_path()).chain(args.also.iter().cloned()).collect();
    let (keep, seconds) = (args.keep, args.seconds);
    let load = Arc::new(Load::new(args, prefix())?);
    // A node that is not there is told before anything is written.
    for socket in &sockets {
        Client::new(socket.clone()).get("/v1/status", &[]).await?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..load.args.clients {
        let socket = sockets[usize::from(client) % sockets.len()].clone();
        clients.spawn(load::run(load.clone(), socket, u64::from(client), begun, stop.clone()));
    }
    if load.args.visible_every > 0 {
        clients.spawn(load::watch_visible(load.clone(), sockets[0].clone(), begun, stop.clone()));
    }
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.store(true, Ordering::Relaxed);
    let elapsed = begun.elapsed();
    let mut total = Total::default();
    while let Some(outcome) = clients.join_next().await {
        total.take(outcome.map_err(Failure::failed)?);
    }
    let left = if keep { 0 } else { remove(&sockets[0], &load.prefix).await? };
    tell(&load, sockets.len(), elapsed, &total, json)?;
    if left > 0 {
        tracing::warn!("{left} keys below {} could not be removed", load.prefix);
    }
    match total.error {
        Some(error) if total.times.iter().all(Times::is_empty) => {
            Err(Failure::Failed(format!("nothing was done: {error}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Of this run alone, so that nothing of anybody else is touched or removed.
fn prefix() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench-{:x}-{:x}/", since.as_micros(), std::process::id())
}

#[derive(Deserialize)]
struct Listed {
    key: String,
    #[serde(rename = "type")]
    ty: String,
}

/// Removes every key below `prefix`; gives back how many could not be.
async fn remove(socket: &Path, prefix: &str) -> Result<usize, Failure> {
    let client = Client::new(socket.to_owned());
    let keys: Vec<Listed> = client.get("/v1/keys", &[("prefix", prefix)]).await?.parse()?;
    let mut left = 0;
    for Listed { key, ty } in keys {
        left += usize::from(client.post("/v1/remove", &json!({"key": key, "type": ty})).await.is_err());
    }
    Ok(left)
}

fn tell(load: &Load, nodes: usize, elapsed: Duration, total: &Total, json: bool) -> Result<(), Failure> {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let kinds = Kind::ALL.into_iter().zip(total.times.iter().zip(total.errors));
    let asked = kinds.filter(|(_, (times, errors))| !times.is_empty() || *errors > 0);
    if json {
        let of = |(kind, (times, errors)): (Kind, (&Times, u64))| {
            let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| times.quantile_us(part));
            let fields = json!({
                "operations": times.count(), "errors": errors, "per_second": times.count() as f64 / seconds,
                "p50_us": p50, "p90_us": p90, "p99_us": p99, "max_us": times.max_us(),
            });
            (kind.name().to_owned(), fields)
        };
        let kinds: serde_json::Map<String, Value> = asked.map(of).collect();
        return output::json(&json!({
            "seconds": seconds, "clients": load.args.clients, "nodes": nodes, "rate": load.args.rate,
            "prefix": load.prefix, "kept": load.args.keep, "first_error": total.error, "kinds": kinds,
        }));
    }
    let millis = |us: u64| format!("{:.2}", us as f64 / 1_000.0);
    let row = |(kind, (times, errors)): (Kind, (&Times, u64))| {
        let mut row = vec![kind.name().to_owned(), grouped(times.count()), grouped(errors)];
        row.push(format!("{:.0}", times.count() as f64 / seconds));
        row.extend([0.5, 0.9, 0.99].map(|part| millis(times.quantile_us(part))));
        row.push(millis(times.max_us()));
        row
    };
    let header = ["", "#done", "#errors", "#per s", "#p50 ms", "#p90 ms", "#p99 ms", "#max ms"];
    output::line(&table(&header, asked.map(row)))?;
    if let Some(error) = &total.error {
        output::line(&format!("the first error: {error}"))?;
    }
    if load.args.keep {
        output::line(&format!("the keys below {} were kept", load.prefix))?;
    }
    Ok(())
}
