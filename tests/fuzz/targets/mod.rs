//! What is read from strangers, peers, disks, operators and applications: a target for each decoder.

mod certs;
mod config;
mod disk;
mod frames;
mod http;
mod live;
mod rows;
mod text;

use crate::judge::Seen;
use crate::mutate::Form;

/// Reads an input; what does not hold that should is said in words.
pub(crate) type Run = Box<dyn FnMut(&[u8]) -> Result<Seen, String>>;

/// One decoder.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// Inputs that are sound, and others worth beginning with.
    pub(crate) corpus: fn() -> Vec<Vec<u8>>,
    /// Makes ready what is used for every input.
    pub(crate) begin: fn() -> Run,
}

impl Target {
    /// True where most of the work is another thread's, as behind a socket, and this one waits.
    pub(crate) fn waits(&self) -> bool {
        self.name == http::HTTP.name
    }
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    frames::FRAME,
    frames::HELLO,
    frames::ROUND,
    frames::CONTEXT,
    frames::PUSH,
    frames::GIVE,
    frames::SKELETON,
    frames::PAYLOADS,
    frames::SKETCH,
    frames::SURVEY,
    frames::DESCENT,
    frames::INSPECT,
    live::LIVE,
    rows::ROWS,
    rows::SALVAGE,
    disk::FILE,
    disk::BACKUP,
    certs::IDENTITY,
    certs::AUTHORITY,
    text::TOKEN,
    text::CURSOR,
    text::VALUE,
    text::JSON,
    text::ADDRESS,
    http::HTTP,
    config::CONFIG,
];
