//! Notices when the driver's loop stands still: a closure that blocks under the node's lock, a runtime
//! whose threads are all busy, a step of the core that takes too long.
//!
//! The driver marks each turn of its loop; a thread of its own, outside of the async runtime that may
//! be what is stuck, looks at the mark and logs a stall once when it is noticed and once when it ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the driver turns even if nothing happens, and how often the thread looks.
pub(crate) const BEAT: Duration = Duration::from_millis(250);

/// How long without a turn counts as a stall.
const STALL: Duration = Duration::from_secs(1);

/// Watches one driver. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watchdog {
    turns: Arc<AtomicU64>,
    _alive: mpsc::SyncSender<()>,
}

impl Watchdog {
    /// Starts the thread. `name` is the node's, for the log; `turns` counts the driver's.
    pub(crate) fn start(name: &str, turns: Arc<AtomicU64>) -> io::Result<Self> {
        Self::start_with(name, turns, |stall| match stall {
            Stall::Noticed { node } => tracing::error!(
                node,
                "the node has made no step for {STALL:?}: something blocks its lock or its runtime; \
                 look for a long closure in read or transaction, for blocking calls in async code, and for a \
                 machine with too little time for this process"
            ),
            Stall::Over { node, lasted } => tracing::warn!(node, ?lasted, "the node makes steps again"),
        })
    }

    fn start_with(
        name: &str,
        turns: Arc<AtomicU64>,
        report: impl Fn(Stall<'_>) + Send + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = mpsc::sync_channel(0);
        let (seen, node) = (turns.clone(), name.to_owned());
        std::thread::Builder::new().name("sync-watchdog".to_owned()).spawn(move || {
            let mut watched =
                Watched { turns: 0, moved: Instant::now(), looked: Instant::now(), stalled: false };
            while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                if let Some(stall) = watched.look(seen.load(Ordering::Relaxed), Instant::now(), &node) {
                    report(stall);
                }
            }
        })?;
        Ok(Self { turns, _alive: alive })
    }

    /// The driver has turned.
    pub(crate) fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Stall<'a> {
    Noticed { node: &'a str },
    Over { node: &'a str, lasted: Duration },
}

/// What the thread remembers between looks.
struct Watched {
    turns: u64,
    /// When the turns were last seen to move.
    moved: Instant,
    looked: Instant,
    stalled: bool,
}

impl Watched {
    fn look<'a>(&mut self, turns: u64, now: Instant, node: &'a str) -> Option<Stall<'a>> {
        let late = now.duration_since(std::mem::replace(&mut self.looked, now));
        let lasted = now.duration_since(self.moved);
        if turns != self.turns {
            (self.turns, self.moved) = (turns, now);
            return std::mem::take(&mut self.stalled).then_some(Stall::Over { node, lasted });
        }
        if late > 2 * BEAT && !self.stalled {
            // This thread did not run either: the whole process was stopped, not the driver stuck.
            self.moved = now;
            return None;
        }
        if lasted <= STALL || self.stalled {
            return None;
        }
        self.stalled = true;
        Some(Stall::Noticed { node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, beats: u32) -> Instant {
        start + BEAT * beats
    }

    #[test]
    fn a_stall_is_reported_once_when_noticed_and_once_when_over() {
        let start = Instant::now();
        let mut watched = Watched { turns: 7, moved: start, looked: start, stalled: false };
        let mut reports = Vec::new();
        for beat in 1..=8 {
            reports.extend(watched.look(7, after(start, beat), "n"));
        }
        assert_eq!(reports, [Stall::Noticed { node: "n" }]);
        assert_eq!(watched.look(8, after(start, 9), "n"), Some(Stall::Over { node: "n", lasted: BEAT * 9 }));
        assert_eq!(watched.look(9, after(start, 10), "n"), None);
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_is_no_stall() {
        let start = Instant::now();
        let mut watched = Watched { turns: 7, moved: start, looked: start, stalled: false };
        assert_eq!(watched.look(7, start + Duration::from_secs(3600), "n"), None);
        assert_eq!(watched.look(8, start + Duration::from_secs(3600) + BEAT, "n"), None);
    }

    #[test]
    fn a_driver_that_stops_turning_is_noticed_by_the_thread() {
        let (reports, noticed) = mpsc::sync_channel(8);
        let watchdog = Watchdog::start_with("n", Arc::default(), move |stall| {
            let _ = reports.send(matches!(stall, Stall::Noticed { .. }));
        })
        .expect("a thread starts");
        watchdog.turned();
        assert_eq!(noticed.recv_timeout(Duration::from_secs(5)), Ok(true));
        watchdog.turned();
        assert_eq!(noticed.recv_timeout(Duration::from_secs(5)), Ok(false));
    }
}
