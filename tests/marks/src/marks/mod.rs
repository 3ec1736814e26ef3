//! The marks: one module each.

pub mod bootstrap;
pub mod durable;
pub mod idle;
pub mod joins;
pub mod latency;
pub mod local;
pub mod mined;
pub mod rate;
pub mod reconcile;
pub mod reconcile_udp;
pub mod root;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Smaller sizes and fewer runs: all of it in about two minutes.
    pub quick: bool,
    /// The core that marks of latency are tied to.
    pub core: usize,
    /// Only this number of entries, where a mark has several.
    pub n: Option<usize>,
}

impl Settings {
    /// The sizes of a mark: all of them, or the one asked for.
    pub fn sizes(&self, all: &[usize]) -> Vec<usize> {
        self.n.map_or_else(|| all.to_vec(), |n| vec![n])
    }
}
