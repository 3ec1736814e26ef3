//! Append log: the newest entries, bounded by count and by age.
//!
//! One cell an entry; its path is clock, replica and sequence of the append, big-endian, so that paths are in
//! the order of the log and no two appends share one. A reader sees the newest [`Bound::entries`] that are at most
//! [`Bound::age_ms`] older than the newest one: the same everywhere for the same state, and no clock is asked.
//! What readers no longer see is ended by writers: an append that sees more than a tenth too many ends the
//! oldest by one event. A join never trims, so appends made apart are all there until the next append
//! (our own; the order is that of Kulkarni et al. 2014, logical physical clocks).
//!
//! The bound is the caller's, at each call: use one and the same for a key.
//!
//! ```
//! use sync_core::types::log::{self, Bound};
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! let bound = Bound { entries: 100, age_ms: 60_000 };
//! log::append(&mut group, "visits", b"ada", bound)?;
//! log::append(&mut group, "visits", b"bob", bound)?;
//! group.commit();
//! let values = log::entries(&store, "visits", bound).into_iter().map(|entry| entry.value);
//! assert!(values.eq([&b"ada"[..], b"bob"]));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use super::{At, Spot};
use crate::cell::{Hlc, TypeTag};
use crate::error::WriteError;
use crate::id::{Dot, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::store::{Group, Items, Store};

const TYPE: TypeTag = TypeTag::LOG;

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Most entries that a reader sees. Writers let a tenth more stand before they end the oldest. At least 1
    /// is kept.
    pub entries: u64,
    /// How much older than the newest entry, by the writers' hybrid clocks, an entry may be, in milliseconds.
    pub age_ms: u64,
}

/// One entry as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'s> {
    /// When it was appended, by the writer's hybrid clock.
    pub hlc: Hlc,
    /// The append.
    pub dot: Dot,
    /// What was appended.
    pub value: &'s [u8],
}

/// The path of an append.
pub fn path(hlc: Hlc, dot: Dot) -> [u8; 32] {
    let mut path = [0; 32];
    path[..8].copy_from_slice(&hlc.0.to_be_bytes());
    path[8..24].copy_from_slice(&dot.replica.0);
    path[24..].copy_from_slice(&dot.seq.to_be_bytes());
    path
}

/// The append of a path; `None` for bytes that are none. A member may write anything.
pub fn parse(path: &[u8]) -> Option<(Hlc, Dot)> {
    let (hlc, rest) = path.split_first_chunk::<8>()?;
    let (replica, seq) = rest.split_first_chunk::<16>()?;
    let seq = u64::from_be_bytes(seq.try_into().ok()?);
    Some((Hlc(u64::from_be_bytes(*hlc)), Dot::new(ReplicaId(*replica), seq)))
}

/// Every entry that is live, oldest first.
fn all<'s>(store: &'s Store, cells: &Spot<'_>) -> Vec<Entry<'s>> {
    let entry = |(path, items): (&[u8], Items<'s>)| {
        let (hlc, dot) = parse(path)?;
        Some(Entry { hlc, dot, value: items.last()?.payload.as_bytes() })
    };
    cells.cells(store).filter_map(entry).collect()
}

/// How many of `entries`, oldest first, are beyond the bound.
fn beyond(entries: &[Entry<'_>], bound: Bound) -> usize {
    let Some(newest) = entries.last() else { return 0 };
    let oldest = newest.hlc.wall().0.saturating_sub(bound.age_ms);
    let by_age = entries.partition_point(|entry| entry.hlc.wall().0 < oldest);
    let kept = usize::try_from(bound.entries.max(1)).unwrap_or(usize::MAX);
    by_age.max(entries.len().saturating_sub(kept))
}

/// Appends `value`. If more than a tenth too many entries are seen, the oldest are ended first.
///
/// # Errors
/// A limit was reached or a length is too large; nothing changed then.
pub fn append<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    value: &[u8],
    bound: Bound,
) -> Result<(), WriteError> {
    let cells = at.into().cells_of(TYPE);
    let (hlc, dot) = (group.hlc(), group.next_dot());
    let mut entries = all(group.store(), &cells);
    let place = entries.partition_point(|entry| (entry.hlc, entry.dot) < (hlc, dot));
    entries.insert(place, Entry { hlc, dot, value: &[] });
    let ended = beyond(&entries, bound);
    let slack = usize::try_from(bound.entries / 10).unwrap_or(usize::MAX);
    if ended > slack {
        // The append's own place is kept for it, even if its clock makes it the oldest.
        let first_kept = entries[ended..].iter().find(|entry| entry.dot != dot).or(entries.last());
        if let Some(first) = first_kept.filter(|_| !mutant::is(Mutant::LogNeverTrimmed)) {
            let until = path(first.hlc, first.dot);
            group.remove_range(cells.range_until(&until))?;
        }
    }
    let dot = group.next_dot();
    cells.put(group, &path(hlc, dot), value).map(drop)
}

/// Ends every entry seen here, by one event; returns how many.
///
/// # Errors
/// A limit was reached; nothing changed then.
pub fn clear<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<u64, WriteError> {
    at.into().cells_of(TYPE).clear(group)
}

/// The entries within `bound`, oldest first.
pub fn entries<'s, 'k>(store: &'s Store, at: impl Into<At<'k>>, bound: Bound) -> Vec<Entry<'s>> {
    let mut entries = all(store, &at.into().cells_of(TYPE));
    entries.drain(..beyond(&entries, bound));
    entries
}
