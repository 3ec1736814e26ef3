//! The driver's part of storage: steps go to the writer one at a time, and what it reports goes to the core.

use std::future::pending;
use std::time::{Duration, Instant};

use sync_core::node::{Input, PersistStep};
use tokio::sync::mpsc;

use super::Driver;
use crate::storage::{Report, Writer};

/// How long a node that stops waits for its disk.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Steps on their way to the disk.
pub(super) struct Storing {
    writer: Writer,
    reports: mpsc::Receiver<Report>,
    /// The newest step that the core wants there, and since when one has been waiting.
    wanted: Option<(PersistStep, Instant)>,
    /// A step is with the writer.
    busy: bool,
    /// The thread is gone.
    over: bool,
}

impl Storing {
    pub(super) fn new(writer: Writer, reports: mpsc::Receiver<Report>) -> Self {
        Self { writer, reports, wanted: None, busy: false, over: false }
    }
}

/// The next report; never, where there is no disk.
pub(super) async fn report(storing: &mut Option<Storing>) -> Option<Report> {
    match storing {
        Some(storing) if !storing.over => {
            // A thread that ends without a word has left something undone.
            Some(storing.reports.recv().await.unwrap_or(Report::Stopped(false)))
        }
        Some(_) | None => pending().await,
    }
}

impl Driver {
    pub(super) fn want_stored(&mut self, n: PersistStep) {
        match &mut self.storing {
            Some(storing) => {
                let since = storing.wanted.map_or_else(Instant::now, |(_, since)| since);
                storing.wanted = Some((n, since));
            }
            // Memory mode asks for nothing; whoever asks all the same is answered.
            None => self.handle(Input::Persisted { n }),
        }
    }

    /// How long until the next step has to go to the writer; `None` if none waits for that.
    pub(super) fn step_due(&self) -> Option<Duration> {
        let storing = self.storing.as_ref().filter(|storing| !storing.busy)?;
        let (n, since) = storing.wanted?;
        let delay = self.shared.storage.as_ref().map_or(Duration::ZERO, |storage| storage.delay(n));
        Some(delay.saturating_sub(since.elapsed()))
    }

    pub(super) fn store_if_due(&mut self) {
        if self.step_due() == Some(Duration::ZERO) {
            self.store();
        }
    }

    fn store(&mut self) {
        let Some(storing) = &mut self.storing else { return };
        let step = self.shared.core().take_step();
        (storing.wanted, storing.busy) = (None, true);
        storing.writer.write(step);
    }

    pub(super) fn on_report(&mut self, report: Report) {
        let node = self.shared.name.clone();
        self.shared.events.storage(&report);
        match report {
            Report::Written { n } => {
                let storage = self.shared.storage.as_ref();
                if storage.is_some_and(|storage| storage.reached.borrow().failing.is_some()) {
                    self.reach(|reached| {
                        reached.failing_since = None;
                        reached.failing.take().is_some()
                    });
                    tracing::warn!(node, "the disk works again: all that waited for it is there");
                }
                self.free_writer();
                self.handle(Input::Persisted { n });
            }
            Report::Failing(error) => {
                let text = error.to_string();
                let news = self.reach(|reached| {
                    reached.failures += 1;
                    reached.failing_since.get_or_insert_with(Instant::now);
                    reached.failing.replace(text.clone()) != Some(text.clone())
                });
                if news {
                    let edge = "nothing is acknowledged and nothing new shown to peers until it works again";
                    tracing::error!(node, %error, "the disk fails: {edge}");
                }
            }
            Report::SetAside { error, aside } => {
                let text = "the file on the disk was damaged and set aside; all is written anew from memory";
                tracing::error!(node, %error, aside, "{text}");
                self.free_writer();
                let mut core = self.shared.core();
                core.forget_rows();
                let n = core.step();
                drop(core);
                self.want_stored(n);
            }
            Report::Reserve(held) => {
                self.reach(|reached| {
                    reached.reserve = held;
                    true
                });
                if held {
                    tracing::warn!(node, "the disk has room again");
                } else {
                    tracing::error!(node, "the disk is full: writes that grow the store are refused");
                }
            }
            Report::Stopped(clean) => {
                if !clean {
                    tracing::error!(node, "the disk is not written to any more: what came last is not there");
                    self.reach(|reached| {
                        reached.failing_since.get_or_insert_with(Instant::now);
                        reached.failing = Some("its thread has ended; start the node again".to_owned());
                        true
                    });
                }
                if let Some(storing) = &mut self.storing {
                    storing.over = true;
                }
            }
        }
        self.store_if_due();
    }

    /// Changes what waiting writers see, and what writers may do.
    fn reach(&self, change: impl FnOnce(&mut crate::storage::Reached) -> bool) -> bool {
        let Some(storage) = &self.shared.storage else { return false };
        let mut answer = false;
        let mut grows = true;
        storage.reached.send_modify(|reached| {
            answer = change(reached);
            grows = reached.failing.is_none() && reached.reserve;
        });
        self.shared.core().set_growth(grows);
        answer
    }

    fn free_writer(&mut self) {
        if let Some(storing) = &mut self.storing {
            storing.busy = false;
        }
    }

    /// The node stops: what is not on the disk goes there, if it does not take too long, and the disk is told.
    pub(super) async fn store_the_rest(&mut self) {
        let until = tokio::time::Instant::now() + STOP_WAIT;
        let mut stopping = false;
        while let Some(storing) = &mut self.storing {
            if storing.over {
                return;
            }
            let idle = !storing.busy;
            if idle && storing.wanted.is_some() {
                self.store();
            } else if idle && !stopping {
                stopping = true;
                storing.writer.stop();
            }
            let timeout = tokio::time::timeout_at(until, report(&mut self.storing)).await;
            match timeout {
                Ok(Some(report)) => {
                    self.on_report(report);
                    // What was held until now may still reach the links.
                    while !self.drain() {}
                }
                Ok(None) => return,
                Err(_) => {
                    tracing::error!(node = self.shared.name, "the disk did not take the last writes in time");
                    return;
                }
            }
        }
    }
}
