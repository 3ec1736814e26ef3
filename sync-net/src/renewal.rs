//! The certificate, the CAs and the list of the revoked, read again while the node runs.
//!
//! In flow the node's folder, looked at once a second, or what the application hands over; out flow a changed trust of
//! the transport, and events, alarms and log lines. New files are checked whole before the swap. What cannot be used is
//! told of once and changes nothing: files that are copied one by one, in whatever order, are wrong for a moment and
//! right afterwards, so only a state that stood for two looks is tried.
//!
//! The same task watches the calendar: a certificate that ends is told of 30, 7 and 1 days before, and once a day.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::certs::{CertError, REVOKED_FILE, Revoked};
use crate::identity::Identity;
use crate::node::{Phase, Shared};
use crate::transport::{ReloadError, Transport};

/// How often the folder is looked at. A change is in force after twice this.
const LOOK: Duration = Duration::from_secs(1);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is in force after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// True if the certificate or the CAs are others than before.
    pub changed: bool,
    /// The number of the certificate, in hex.
    pub serial: String,
    /// Whole days until it ends.
    pub days_left: u64,
    /// Entries on the list of the revoked.
    pub revoked: usize,
    /// Links that were closed, because their peers are not accepted any more.
    pub cut: usize,
}

/// What a node keeps of this.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    folder: Option<PathBuf>,
    /// Why the files in the folder are not in force, if they are not.
    refused: Mutex<Option<String>>,
}

impl Renewal {
    pub(crate) fn of(folder: Option<PathBuf>) -> Self {
        Self { folder, refused: Mutex::default() }
    }

    /// Why the files in the folder are not in force, if they are not.
    pub(crate) fn refused(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something to tell of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Another certificate, or other CAs, are in force.
    Reloaded { serial: String, days_left: u64, cut: usize },
    /// Another list of the revoked is in force.
    Revoked { entries: usize, cut: usize },
    /// The files changed and cannot be used.
    Refused { why: String },
    /// The own certificate ends.
    Ends(Notice),
    /// This node itself is on the list.
    OwnRevoked,
}

fn transport(shared: &Shared) -> Result<Arc<Transport>, ReloadError> {
    shared.transport().ok_or(ReloadError::Closed)
}

/// See [`crate::Node::reload_identity`].
pub(crate) fn reload_identity(shared: &Shared, identity: Identity) -> Result<Renewed, ReloadError> {
    let transport = transport(shared)?;
    let changed = !transport.identity().is_same(&identity);
    let cut = if changed { transport.reload(identity)? } else { 0 };
    let reloaded = reloaded(&transport, changed, cut);
    if changed {
        let Renewed { serial, days_left, cut, .. } = reloaded.clone();
        tracing::info!(node = shared.name, serial, days_left, cut, "another certificate is in force");
        shared.events.certificate(&News::Reloaded { serial, days_left, cut });
    }
    Ok(reloaded)
}

/// See [`crate::Node::set_revoked`].
pub(crate) fn set_revoked(shared: &Shared, revoked: Revoked) -> Result<usize, ReloadError> {
    let transport = transport(shared)?;
    if *transport.revoked() == revoked {
        return Ok(0);
    }
    let (entries, own) = (revoked.len(), revoked.has_node(&shared.id));
    let cut = transport.set_revoked(revoked);
    tracing::info!(node = shared.name, entries, cut, "another list of the revoked is in force");
    shared.events.certificate(&News::Revoked { entries, cut });
    if own {
        tracing::error!(node = shared.name, "this node is on the list of the revoked: no peer takes it");
        shared.events.certificate(&News::OwnRevoked);
    }
    Ok(cut)
}

fn reloaded(transport: &Transport, changed: bool, cut: usize) -> Renewed {
    let identity = transport.identity();
    let left = identity.not_after().duration_since(SystemTime::now()).unwrap_or_default();
    Renewed {
        changed,
        serial: identity.serial().to_string(),
        days_left: left.as_secs() / DAY.as_secs(),
        revoked: transport.revoked().len(),
        cut,
    }
}

/// What was read of a folder. A list that is not there says nothing: the one in force stays.
struct Read {
    identity: Result<Identity, CertError>,
    revoked: Result<Option<Revoked>, CertError>,
}

impl Read {
    fn of(folder: &Path) -> Self {
        Self { identity: Identity::load(folder), revoked: Revoked::load(&folder.join(REVOKED_FILE)) }
    }

    /// Puts in force what can be used. The list first: it must not wait for a certificate that is not in order.
    fn apply(self, shared: &Shared) -> Result<Renewed, ReloadError> {
        let listed = match self.revoked {
            Ok(Some(revoked)) => set_revoked(shared, revoked),
            Ok(None) => Ok(0),
            Err(error) => Err(error.into()),
        };
        let renewed =
            self.identity.map_err(ReloadError::from).and_then(|identity| reload_identity(shared, identity));
        let done = match (listed, renewed) {
            (Ok(cut), Ok(reloaded)) => Ok(Renewed { cut: cut + reloaded.cut, ..reloaded }),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        };
        *shared.renewal.lock() = done.as_ref().err().map(ToString::to_string);
        if let Err(error) = &done {
            tracing::error!(node = shared.name, %error, "changed certificate files are not in force");
            shared.events.certificate(&News::Refused { why: error.to_string() });
        }
        done
    }
}

/// See [`crate::Node::reload_certificates`].
pub(crate) fn reload_folder(shared: &Shared) -> Result<Renewed, ReloadError> {
    let folder = shared.renewal.folder.as_ref().ok_or(ReloadError::NoFolder)?;
    Read::of(folder).apply(shared)
}

/// Looks at the folder and at the calendar until the node stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut phase = shared.phase.subscribe();
    let mut folder = shared.renewal.folder.clone().map(Watched::new);
    let mut calendar = Calendar::default();
    loop {
        if let Some(transport) = shared.transport()
            && let Some(notice) = calendar.look(SystemTime::now(), transport.certificate_ends())
        {
            tell(&shared, notice);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return,
        }
        if let Some(watched) = &mut folder {
            let read = watched.dir.clone();
            let Ok(seen) = tokio::task::spawn_blocking(move || Seen::of(&read)).await else { continue };
            if watched.is_due(seen) {
                let (dir, shared) = (watched.dir.clone(), Arc::clone(&shared));
                // What is wrong was told there.
                let _ = tokio::task::spawn_blocking(move || Read::of(&dir).apply(&shared).map(drop)).await;
            }
        }
    }
}

/// A folder, and which of its states was tried.
struct Watched {
    dir: PathBuf,
    last: Option<Seen>,
    tried: Option<Seen>,
}

/// The state of a folder: a hash of its files.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen(blake3::Hash);

impl Seen {
    fn of(dir: &Path) -> Self {
        let mut hasher = blake3::Hasher::new();
        for name in Identity::FILES.into_iter().chain([REVOKED_FILE]) {
            // A file that is not there, or cannot be read, is a state too.
            let read = std::fs::File::open(dir.join(name)).and_then(|file| {
                use std::io::Read as _;
                let mut bytes = Vec::new();
                file.take(READ_MAX).read_to_end(&mut bytes).map(|_| bytes)
            });
            hasher.update(blake3::hash(&read.unwrap_or_default()).as_bytes());
        }
        Self(hasher.finalize())
    }
}

/// Longest part of a file that is looked at, in bytes: none that is in order is longer.
const READ_MAX: u64 = 4 << 20;

impl Watched {
    fn new(dir: PathBuf) -> Self {
        Self { dir, last: None, tried: None }
    }

    /// True if this state was seen twice in a row and has not been tried.
    fn is_due(&mut self, seen: Seen) -> bool {
        let stands = self.last.replace(seen) == Some(seen);
        stands && self.tried.replace(seen) != Some(seen)
    }
}

/// How near the end of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// Within 30 days.
    Month,
    /// Within 7.
    Week,
    /// Within 1.
    Day,
    /// It has ended.
    Over,
}

/// That a certificate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) nearness: Nearness,
    pub(crate) left: Duration,
}

/// When the end of the own certificate was last told of.
#[derive(Debug, Default)]
struct Calendar {
    told: Option<(Nearness, SystemTime)>,
}

impl Calendar {
    /// What is to be told at `now`, if anything: on each step nearer, and once a day.
    fn look(&mut self, now: SystemTime, ends: SystemTime) -> Option<Notice> {
        let left = ends.duration_since(now).ok();
        let nearness = match left {
            None => Nearness::Over,
            Some(left) if left <= DAY => Nearness::Day,
            Some(left) if left <= 7 * DAY => Nearness::Week,
            Some(left) if left <= 30 * DAY => Nearness::Month,
            Some(_) => {
                self.told = None;
                return None;
            }
        };
        // A clock that was set back must not silence it.
        let silent = |(told, at): (Nearness, SystemTime)| {
            told == nearness && now.duration_since(at).is_ok_and(|since| since < DAY)
        };
        if self.told.is_some_and(silent) {
            return None;
        }
        self.told = Some((nearness, now));
        Some(Notice { nearness, left: left.unwrap_or_default() })
    }
}

fn tell(shared: &Shared, notice: Notice) {
    let hours = notice.left.as_secs() / 3_600;
    let text = "this node's certificate ends: renew it with `sync-cli certs renew`, no restart is needed";
    match notice.nearness {
        Nearness::Month => tracing::warn!(node = shared.name, hours, "{text}"),
        Nearness::Week | Nearness::Day | Nearness::Over => {
            tracing::error!(node = shared.name, hours, "{text}");
        }
    }
    shared.events.certificate(&News::Ends(notice));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_of_30_7_and_1_days_before_and_once_a_day() {
        let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let ends = start + 40 * DAY;
        let mut calendar = Calendar::default();
        let hour = Duration::from_secs(3_600);
        let told: Vec<(u64, Nearness)> = (0..42 * 24)
            .filter_map(|at| {
                let now = start + at * hour;
                calendar.look(now, ends).map(|notice| (u64::from(at) / 24, notice.nearness))
            })
            .collect();
        let count = |nearness| told.iter().filter(|(_, told)| *told == nearness).count();
        assert_eq!(told[0], (10, Nearness::Month));
        assert_eq!(
            [Nearness::Month, Nearness::Week, Nearness::Day, Nearness::Over].map(count),
            [23, 6, 2, 2],
            "{told:?}"
        );
        assert_eq!(calendar.look(start + 42 * DAY, start + 400 * DAY), None, "it was renewed");
        assert!(
            calendar.look(start, ends - 20 * DAY).is_some(),
            "the clock was set back, and it is near again"
        );
    }

    #[test]
    fn only_a_state_that_stands_is_tried_and_once() {
        let state = |n: u8| Seen(blake3::hash(&[n]));
        let mut watched = Watched::new(PathBuf::new());
        let due: Vec<bool> = [1, 1, 1, 2, 3, 3, 1, 1].map(|n| watched.is_due(state(n))).to_vec();
        assert_eq!(due, [false, true, false, false, false, true, false, true]);
    }
}
