//! What a process uses, from `/proc`: memory, processor time, and how long its busiest thread wanted a processor.
//!
//! On a machine that others use too, a thread that would fill a core gets a part of one. The kernel counts for each
//! thread how long it ran and how long it waited to run: the sum of the two is the time in which it had work.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::words;

/// Parts of a second in which the kernel tells processor time: `USER_HZ`, 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading of one process.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    at: Instant,
    /// Of all its threads, those that have ended too.
    cpu: f64,
    /// Of each thread: how long it ran, and how long it waited to run.
    threads: BTreeMap<String, (Duration, Duration)>,
}

/// What was used between two readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Seconds.
    pub(crate) time: f64,
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// The share of the time in which its busiest thread ran or waited for a processor: 1.0 if it had always work.
    pub(crate) busy: f64,
}

impl Usage {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// In words, if it is gone.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let gone = |error| format!("process {pid} is gone: {error}");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(gone)?;
        // The name before the last parenthesis may hold anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>());
        let ticks = ticks.sum::<Result<f64, _>>().map_err(words)?;
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(gone)? {
            let thread = thread.map_err(words)?;
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let nanos: Vec<u64> = text.split_whitespace().map_while(|field| field.parse().ok()).collect();
            if let [ran, waited, ..] = nanos[..] {
                let name = thread.file_name().to_string_lossy().into_owned();
                threads.insert(name, (Duration::from_nanos(ran), Duration::from_nanos(waited)));
            }
        }
        Ok(Self { at: Instant::now(), cpu: ticks / TICKS_PER_SECOND, threads })
    }

    /// What was used since then.
    ///
    /// # Errors
    /// In words, if the process is gone.
    pub(crate) fn since(&self, pid: u32) -> Result<Used, String> {
        let now = Self::of(pid)?;
        let time = (now.at - self.at).as_secs_f64();
        let wanted = |(name, (ran, waited)): (&String, &(Duration, Duration))| {
            let (ran_before, waited_before) = self.threads.get(name).copied().unwrap_or_default();
            (*ran + *waited).saturating_sub(ran_before + waited_before).as_secs_f64()
        };
        let busiest = now.threads.iter().map(wanted).fold(0.0, f64::max);
        Ok(Used { time, cpu: now.cpu - self.cpu, busy: busiest / time })
    }
}

/// Resident memory of a process, in KiB.
///
/// # Errors
/// In words, if it is gone.
pub(crate) fn resident(pid: u32) -> Result<i64, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(words)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("process {pid} is gone"))
}

/// True if the scheduler weighs `pid` against this process by their nice values. Where it groups processes by session
/// (autogroup), a nice value counts within a group alone.
pub(crate) fn shares_autogroup(pid: u32) -> bool {
    let group = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/autogroup")).ok()?;
        Some(text.split_whitespace().next()?.to_owned())
    };
    group("self") == group(&pid.to_string())
}
