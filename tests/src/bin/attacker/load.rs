//! What honest peers do: write as much as the node in the middle takes in.
//!
//! Of the namespaces that a pair of honest nodes has, one goes through: what the one writes the other has to see. There a
//! write waits up to 225 ms for the relay, whatever the node in the middle has to do, and what has waited goes on as one
//! frame, which has a bound. So those cannot fill a processor. In the others the node in the middle is the reader, and a
//! write counts once it has confirmed it: they have always more for it, and cost the honest ones least. Each is shared by
//! one writer and the node in the middle, so that this one has to take in the writes of all. A write goes to a place that
//! none of those ahead of it goes to, or two would travel as one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sync_net::Namespace;
use tokio::task::JoinSet;

use super::{PATIENCE, words};

/// Writes of a namespace that have not come through, at most: what they take in memory fits one frame, or they would
/// travel by repairs, of which a peer has a share that is counted by the second.
const AHEAD_MAX: u64 = 8_000;

/// Places of a namespace's writes, used in turns.
const ROWS: u64 = 40_000;

/// Writes of one transaction.
const AT_ONCE: u64 = 400;

/// How often a writer looks whether more came through, once as much is under way as may be.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// A namespace that an honest node writes in.
#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) writer: Namespace,
    /// Who has to see it, on the other side of the node in the middle; without one that node itself.
    pub(crate) reader: Option<Namespace>,
}

const ROWS_KEY: &str = "rows";
const COUNT_KEY: &str = "count";

/// What one writer has done.
#[derive(Debug, Default)]
struct Progress {
    /// Writes that came through.
    through: AtomicU64,
    /// How long it waited because as much was under way as may be, in microseconds.
    waited_us: AtomicU64,
}

/// A writer at work.
struct Writing {
    lane: Lane,
    written: u64,
    /// Where the writer's log ends behind each transaction that is not confirmed, and how many writes that makes.
    unconfirmed: VecDeque<(u64, u64)>,
    progress: Arc<Progress>,
}

impl Writing {
    fn new(lane: Lane, progress: Arc<Progress>) -> Self {
        Self { written: counted(&lane.writer), lane, unconfirmed: VecDeque::new(), progress }
    }

    /// One transaction, which counts the writes in it too.
    fn write(&mut self) -> Result<(), String> {
        let group = self.lane.writer.transaction(|tx| {
            let rows = tx.lww_map::<u64, u64>(ROWS_KEY);
            for n in self.written..self.written + AT_ONCE {
                rows.put(&(n % ROWS), &n)?;
            }
            tx.lww_register::<u64>(COUNT_KEY).set(&(self.written + AT_ONCE))
        });
        group.map_err(words)?;
        self.written += AT_ONCE;
        Ok(())
    }

    /// Looks how much has come through, and gives back how much has not.
    fn look(&mut self) -> u64 {
        let through = match &self.lane.reader {
            Some(reader) => counted(reader),
            None => self.confirmed(),
        };
        self.progress.through.fetch_max(through, Ordering::Relaxed);
        self.written.saturating_sub(self.progress.through.load(Ordering::Relaxed))
    }

    fn confirmed(&mut self) -> u64 {
        // One other node has this namespace open. Nobody but this writes here, so that the log ends behind its last write.
        let Some(middle) = self.lane.writer.peers().into_iter().find(|peer| peer.shared) else { return 0 };
        if self.unconfirmed.back().is_none_or(|(_, written)| *written < self.written) {
            self.unconfirmed.push_back((middle.head, self.written));
        }
        let mut through = 0;
        while let Some((_, written)) =
            self.unconfirmed.pop_front_if(|(head, _)| middle.acked.is_some_and(|acked| *head <= acked))
        {
            through = written;
        }
        through
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Result<(), String> {
        while !stop.load(Ordering::Relaxed) {
            if self.look() < AHEAD_MAX {
                self.write()?;
                tokio::task::yield_now().await;
            } else {
                let begun = Instant::now();
                tokio::time::sleep(LOOK_AGAIN).await;
                let waited = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.progress.waited_us.fetch_add(waited, Ordering::Relaxed);
            }
        }
        let begun = Instant::now();
        loop {
            let ahead = self.look();
            if ahead == 0 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let name = self.lane.writer.name();
                return Err(format!("{ahead} writes in {name} did not come through in {PATIENCE:?}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Writes that a node has seen, by the count that each transaction brings.
fn counted(namespace: &Namespace) -> u64 {
    namespace.lww_register::<u64>(COUNT_KEY).get().ok().flatten().unwrap_or(0)
}

/// All writers at work.
pub(crate) struct Load {
    lanes: Vec<(Lane, Arc<Progress>)>,
    stop: Arc<AtomicBool>,
    writers: JoinSet<Result<(), String>>,
}

/// How far a load had come at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    through: u64,
    confirmed: u64,
    waited_us: u64,
}

/// What it did between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// Writes that were seen on the other side.
    pub(crate) through: f64,
    /// Writes that the node in the middle took in and passed to nobody.
    pub(crate) confirmed: f64,
    /// Seconds that a writer waited, on average, because too much was under way.
    pub(crate) waited: f64,
}

impl Load {
    pub(crate) fn start(lanes: &[Lane]) -> Self {
        let lanes: Vec<_> = lanes.iter().map(|lane| (lane.clone(), Arc::<Progress>::default())).collect();
        let (stop, mut writers) = (Arc::<AtomicBool>::default(), JoinSet::new());
        for (lane, progress) in &lanes {
            writers.spawn(Writing::new(lane.clone(), Arc::clone(progress)).run(Arc::clone(&stop)));
        }
        Self { lanes, stop, writers }
    }

    pub(crate) fn mark(&self) -> Mark {
        let sum = |count: fn(&Progress) -> &AtomicU64, which: fn(&Lane) -> bool| -> u64 {
            let chosen = self.lanes.iter().filter(|(lane, _)| which(lane));
            chosen.map(|(_, progress)| count(progress).load(Ordering::Relaxed)).sum()
        };
        Mark {
            through: sum(|progress| &progress.through, |lane| lane.reader.is_some()),
            confirmed: sum(|progress| &progress.through, |lane| lane.reader.is_none()),
            waited_us: sum(|progress| &progress.waited_us, |_| true),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a few minutes are far below 2^52")]
    pub(crate) fn since(&self, mark: Mark) -> Done {
        let now = self.mark();
        let waited = (now.waited_us - mark.waited_us) as f64 / 1e6;
        Done {
            through: (now.through - mark.through) as f64,
            confirmed: (now.confirmed - mark.confirmed) as f64,
            waited: waited / self.lanes.len() as f64,
        }
    }

    /// Bytes that wait in the fullest queue of a writer to the node in the middle.
    pub(crate) fn queued(&self) -> u64 {
        let peers = self.lanes.iter().flat_map(|(lane, _)| lane.writer.peers());
        peers.map(|peer| peer.queued_bytes).max().unwrap_or(0)
    }

    /// Stops, and waits until all that was written has come through.
    pub(crate) async fn end(mut self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.map_err(words)??;
        }
        Ok(())
    }
}
