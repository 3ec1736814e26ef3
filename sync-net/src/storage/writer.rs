//! The thread that writes: one step at a time, and what it does when the disk fails.
//!
//! A step whose commit failed may be on the disk or not. Rows say what is to be there, so the same step is written
//! again, on a file opened anew: nothing that was open when an error came is trusted. Until it is written nothing
//! else is; the core meanwhile notes what changes, and one later step brings all of it. On a full disk the reserve
//! is given up first.

use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sync_core::node::{PersistStep, StepRows};
use sync_disk::{Disk, DiskError};
use tokio::sync::{mpsc as tokio_mpsc, watch};

use super::Reached;

/// Pause before a failed step is tried again: this, doubled each time up to [`PAUSE_MAX`]. Guesses.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often a reserve that was given up is tried to be taken again.
const RESERVE_PAUSE: Duration = Duration::from_secs(5);

/// Reports that wait for the driver: it reads them in every turn.
const REPORTS_MAX: usize = 16;

/// What the thread has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// All up to this step is on the disk.
    Written { n: PersistStep },
    /// The step is not on the disk yet, and is tried again.
    Failing(DiskError),
    /// What was on the disk was damaged and lies elsewhere now: everything has to be written again.
    SetAside { error: DiskError, aside: String },
    /// Whether room is kept back for a full disk.
    Reserve(bool),
    /// The thread has ended; true if all that it was given is on the disk.
    Stopped(bool),
}

enum Job {
    Step(StepRows),
    Stop,
}

/// The driver's side of the thread. Dropping it ends the thread after the step under way.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: SyncSender<Job>,
    _thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread; `reserve` says whether room is kept back. Who waits at `reached` is told of a step that is on
    /// the disk by the thread itself, before the driver learns of it: one thread less has to wake up first.
    pub(crate) fn start(
        disk: Box<dyn Disk>,
        reserve: bool,
        reached: watch::Sender<Reached>,
    ) -> std::io::Result<(Self, tokio_mpsc::Receiver<Report>)> {
        let (jobs, inbox) = mpsc::sync_channel(2);
        let (reports, told) = tokio_mpsc::channel(REPORTS_MAX);
        let thread = std::thread::Builder::new().name("sync-disk".to_owned());
        let mut at_work = AtWork { disk, inbox, reports, reserve, reached };
        let thread = thread.spawn(move || at_work.run())?;
        Ok((Self { jobs, _thread: thread }, told))
    }

    /// Hands over a step. The one before must have been reported as written or set aside.
    pub(crate) fn write(&self, step: StepRows) {
        // An error would mean that the thread is gone, and then a report has said so or the process ends.
        let _sent = self.jobs.try_send(Job::Step(step));
    }

    /// Ends the thread after what it was given.
    pub(crate) fn stop(&self) {
        let _sent = self.jobs.try_send(Job::Stop);
    }
}

struct AtWork {
    disk: Box<dyn Disk>,
    inbox: mpsc::Receiver<Job>,
    reports: tokio_mpsc::Sender<Report>,
    reserve: bool,
    reached: watch::Sender<Reached>,
}

/// How a step ended.
enum Ended {
    /// It is on the disk, or all is to be written again.
    Done,
    /// The node stops, and it is not.
    GivenUp,
}

impl AtWork {
    fn run(&mut self) {
        let clean = loop {
            let job = if self.reserve {
                self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.inbox.recv_timeout(RESERVE_PAUSE)
            };
            match job {
                Ok(Job::Step(step)) => match self.write(&step) {
                    Ended::Done => {}
                    Ended::GivenUp => break false,
                },
                Ok(Job::Stop) => break self.disk.stop().is_ok(),
                Err(RecvTimeoutError::Timeout) => self.try_reserve(),
                // The driver is gone without a word: whatever it did not hand over is lost, as in a crash.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        };
        self.report(Report::Stopped(clean));
    }

    fn report(&self, report: Report) {
        // Nobody listens any more where the node has stopped.
        let _told = self.reports.blocking_send(report);
    }

    fn try_reserve(&mut self) {
        if self.disk.take_reserve().is_ok() {
            self.reserve = true;
            self.report(Report::Reserve(true));
        }
    }

    fn write(&mut self, step: &StepRows) -> Ended {
        let mut pause = PAUSE;
        let mut begun = Instant::now();
        let mut done = self.disk.commit(step);
        loop {
            let error = match done {
                Ok(()) => {
                    self.written(step.step, begun.elapsed());
                    return Ended::Done;
                }
                Err(error) => error,
            };
            if error.is_damage() {
                match self.disk.set_aside() {
                    Ok(aside) => {
                        self.report(Report::SetAside { error, aside });
                        return Ended::Done;
                    }
                    Err(other) => self.report(Report::Failing(other)),
                }
            } else {
                let full = error.is_full();
                self.report(Report::Failing(error));
                if full && self.reserve {
                    // Even if this fails there is nothing to do but to try again.
                    let _given = self.disk.give_reserve();
                    self.reserve = false;
                    self.report(Report::Reserve(false));
                    (done, begun) = self.again(step);
                    continue;
                }
            }
            match self.inbox.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return Ended::GivenUp,
                Ok(Job::Step(_)) => unreachable!("a step is handed over once the one before is reported"),
            }
            pause = (pause * 2).min(PAUSE_MAX);
            (done, begun) = self.again(step);
        }
    }

    fn written(&self, n: PersistStep, took: Duration) {
        let bytes = self.disk.bytes();
        self.reached.send_modify(|reached| {
            (reached.persisted, reached.bytes) = (n, bytes);
            (reached.commits, reached.last_commit) = (reached.commits + 1, took);
        });
        self.report(Report::Written { n });
    }

    /// Tries a step again, on a file opened anew; also says when its commit began.
    fn again(&mut self, step: &StepRows) -> (Result<(), DiskError>, Instant) {
        let opened = self.disk.reopen();
        let begun = Instant::now();
        (opened.and_then(|()| self.disk.commit(step)), begun)
    }
}
