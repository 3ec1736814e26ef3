//! Clocks, medians and memory of this process.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What one measured piece of work took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lap {
    /// By the wall clock.
    pub time: Duration,
    /// By the CPU clock of this thread: what other processes take is not in it.
    pub cpu: Duration,
}

/// Runs `work` and says what it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Lap) {
    let (time, cpu) = (Instant::now(), thread_cpu());
    let value = work();
    (value, Lap { cpu: thread_cpu().saturating_sub(cpu), time: time.elapsed() })
}

/// CPU time of this thread since it began.
pub fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("a CPU clock is not negative")
}

/// The median of laps, each clock for itself.
pub fn median_lap(laps: &[Lap]) -> Lap {
    let of = |pick: fn(&Lap) -> Duration| quantile(&mut laps.iter().map(pick).collect::<Vec<_>>(), 0.5);
    Lap { time: of(|lap| lap.time), cpu: of(|lap| lap.cpu) }
}

/// The `q` quantile (0 to 1) by the nearest rank; zero of nothing.
pub fn quantile(values: &mut [Duration], q: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    let rank = (last as f64 * q).round() as usize;
    values.get(rank).copied().unwrap_or_default()
}

/// Microseconds, with fractions.
pub fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// A figure of `/proc/self/status`, in bytes: `VmRSS` is what is resident now, `VmHWM` its highest.
pub fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Makes `VmHWM` begin again at what is resident now.
pub fn reset_peak() {
    // Linux 4.0 and later; where it is refused the peak is that of the whole life, so never too low.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Ties this thread, and the threads that it starts, to one core.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    // A machine that refuses leaves us where we are; the report says how it was asked.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
