//! Starts real processes of the tool and looks at what they do. Every wait is bounded, and every child
//! is killed when its handle is dropped.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod http;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `reached` gives something, and panics with `what` if it never does.
pub(crate) fn eventually<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = reached() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        sleep(Duration::from_millis(20));
    }
}

/// A child process whose output goes to files; killed on drop.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    pub(crate) fn spawn(scratch: &Path, args: &[&str]) -> Self {
        Self::spawn_with(scratch, args, |_| {})
    }

    pub(crate) fn spawn_with(scratch: &Path, args: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        let file = tempfile::Builder::new().prefix("out").tempfile_in(scratch).unwrap();
        let (_, out) = file.keep().unwrap();
        let err = out.with_extension("err");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-cli"));
        command
            .args(args)
            .env_remove("SYNC_SOCKET")
            .env_remove("SYNC_CONFIG")
            .env_remove("RUST_LOG")
            .env_remove("TRACEPARENT")
            .env_remove("SYNC_LOG_FORMAT")
            .stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        adjust(&mut command);
        Self { child: command.spawn().unwrap(), out, err }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Ends it at once, as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "one JSON value on one line: {self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one line of the failure.
    pub(crate) fn complaint(&self) -> &str {
        assert_eq!(self.err.lines().count(), 1, "one line on standard error: {self:?}");
        self.err.trim_end()
    }
}

/// A directory for one test, with certificates and node processes below it.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory where it is, for people to look at.
    pub(crate) fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command to its end.
    pub(crate) fn sync(&self, args: &[&str]) -> Finished {
        let mut process = Process::spawn(self.path(), args);
        let code = process.wait().code().expect("it was not killed");
        Finished { code, out: process.stdout(), err: process.stderr() }
    }

    /// Runs a command that must succeed, and gives its output without the last line end.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let finished = self.sync(args);
        assert_eq!(finished.code, 0, "{args:?}: {finished:?}");
        finished.out.trim_end().to_owned()
    }

    /// A place with the authority `ca`, and a certificate of it for each of `names`.
    pub(crate) fn with(names: &[&str]) -> Self {
        let place = Self::new();
        place.authority("ca");
        names.iter().for_each(|name| place.issue("ca", name));
        place
    }

    /// Creates the authority `ca`.
    pub(crate) fn authority(&self, ca: &str) {
        self.done(&["certs", "ca", "--dir", &self.at(ca)]);
    }

    /// Issues a certificate for `name` from `ca`.
    pub(crate) fn issue(&self, ca: &str, name: &str) {
        self.done(&["certs", "issue", "--ca", &self.at(ca), "--name", name, "--dir", &self.at(name)]);
    }

    /// Starts the node `name`, which dials `peers`, and waits until it serves its socket.
    pub(crate) fn run(&self, name: &str, peers: &[&str]) -> Running<'_> {
        self.run_with(name, peers, &[])
    }

    pub(crate) fn run_with(&self, name: &str, peers: &[&str], more: &[&str]) -> Running<'_> {
        self.run_adjusted(name, peers, more, |_| {})
    }

    /// The same, with another environment.
    pub(crate) fn run_adjusted(
        &self,
        name: &str,
        peers: &[&str],
        more: &[&str],
        adjust: impl FnOnce(&mut Command),
    ) -> Running<'_> {
        let (dir, socket) = (self.at(name), self.at(&format!("{name}.sock")));
        let mut args = vec!["run", "--json", "--dir", &dir, "--listen", "127.0.0.1:0", "--socket", &socket];
        for peer in peers {
            args.extend(["--peer", peer]);
        }
        args.extend(more);
        let mut process = Process::spawn_with(self.path(), &args, adjust);
        let info: Value = eventually("the node says where it is", || {
            assert!(process.is_running(), "{}", process.stderr());
            serde_json::from_str(&process.stdout()).ok()
        });
        let text = |field: &str| info[field].as_str().unwrap().to_owned();
        Running { place: self, process, id: text("node"), listen: text("listen"), socket }
    }
}

/// A running node.
pub(crate) struct Running<'a> {
    place: &'a Place,
    pub(crate) process: Process,
    pub(crate) id: String,
    pub(crate) listen: String,
    pub(crate) socket: String,
}

impl Running<'_> {
    /// Runs a command on this node to its end.
    pub(crate) fn sync(&self, args: &[&str]) -> Finished {
        let args: Vec<&str> = args.iter().copied().chain(["--socket", &self.socket]).collect();
        self.place.sync(&args)
    }

    /// Runs a command on this node that must succeed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let finished = self.sync(args);
        assert_eq!(finished.code, 0, "{args:?}: {finished:?}");
        finished.out.trim_end().to_owned()
    }

    /// Waits until `args` prints `expected` on this node.
    pub(crate) fn shows(&self, args: &[&str], expected: &str) {
        eventually(&format!("{args:?} shows {expected:?}"), || {
            (self.sync(args).out.trim_end() == expected).then_some(())
        });
    }

    /// Waits until this node has links to `count` peers.
    pub(crate) fn has_links(&self, count: usize) {
        eventually(&format!("{count} peers are linked"), || {
            let peers = self.sync(&["peers", "--json"]).json();
            let up = peers.as_array().unwrap().iter().filter(|peer| peer["connected"] == true).count();
            (up == count).then_some(())
        });
    }
}
