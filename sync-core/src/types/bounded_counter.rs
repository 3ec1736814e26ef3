//! Bounded counter: its value never goes below its floor, at any replica, in any interleaving, and nobody is
//! asked before spending.
//!
//! Each owner has one row: what it `gained` (increments), what it `spent` (decrements), and the rights that it
//! `sent` to others. The rights that it holds are what it gained and was sent, less what it spent and sent; it
//! may spend and send only rights that it holds. Every gain is some owner's right, so the sum of `gained -
//! spent` cannot be negative, and since replicas are causally closed, none ever sees a spending before the gain
//! or the sending that allowed it (Balegas et al. 2015, *Extending eventually consistent cloud databases for
//! enforcing numeric invariants*; our rows are theirs by columns).
//!
//! What is counted here is the value *above* the floor. It has a key of its own, no reset and no expiry, and
//! can be removed only where that cannot strand a right ([`remove`]). Rights of an owner that never comes back
//! are lost, and [`rights`] shows them. An owner whose disk was copied may spend twice: two rows of one owner
//! prove it, and are read as the larger of each figure (DESIGN section 4, incarnations).
//!
//! ```
//! use sync_core::types::bounded_counter;
//! # use sync_core::{cell::Hlc, id::*, limits::Limits, store::Store};
//! # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
//! # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
//! let mut group = store.group(replica, owner, 1, Hlc(1));
//! bounded_counter::gain(&mut group, "seats", 10)?;
//! bounded_counter::spend(&mut group, "seats", 4)?;
//! assert!(bounded_counter::spend(&mut group, "seats", 7).is_err(), "six are left");
//! group.commit();
//! assert_eq!(bounded_counter::value(&store, "seats"), Some(6));
//! assert_eq!(bounded_counter::rights(&store, "seats", owner), 6);
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```

use std::collections::BTreeMap;

use super::{At, dots_of};
use crate::cell::TypeTag;
use crate::codec::{Reader, Writer};
use crate::error::{FrameError, WriteError};
use crate::id::OwnerId;
use crate::mutant::{self, Mutant};
use crate::store::{Group, ItemRef, Store};

const TYPE: TypeTag = TypeTag::BOUNDED_COUNTER;
/// Least bytes of an entry of `sent`: an owner and a varint.
const SENT_BYTES_MIN: usize = 17;

/// What one owner has gained, spent and sent so far; each figure only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Sum of the increments.
    pub gained: u64,
    /// Sum of the decrements.
    pub spent: u64,
    /// Rights sent, by receiver. As many receivers as a value may have bytes for: a row that would be longer is
    /// refused at the writer.
    pub sent: BTreeMap<OwnerId, u64>,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.varint(self.gained);
        out.varint(self.spent);
        out.count(self.sent.len());
        for (owner, count) in &self.sent {
            out.fixed(&owner.0);
            out.varint(*count);
        }
        out.finish()
    }

    /// Reads a row's payload. A member may write anything, so this may fail.
    ///
    /// # Errors
    /// The bytes are no row in its one encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let (gained, spent) = (input.varint("gained")?, input.varint("spent")?);
        let count = input.count("sent", SENT_BYTES_MIN)?;
        let mut sent = BTreeMap::new();
        for _ in 0..count {
            let owner = OwnerId(input.fixed("sent")?);
            if sent.last_key_value().is_some_and(|(last, _)| *last >= owner) {
                return Err(FrameError::Order { field: "sent" });
            }
            sent.insert(owner, input.varint("sent")?);
        }
        input.finish()?;
        Ok(Self { gained, spent, sent })
    }

    /// The larger of each figure: both rows are of one owner, whose disk was copied.
    fn widen(&mut self, other: Self) {
        (self.gained, self.spent) = (self.gained.max(other.gained), self.spent.max(other.spent));
        for (owner, count) in other.sent {
            let sent = self.sent.entry(owner).or_default();
            *sent = count.max(*sent);
        }
    }
}

/// Every owner's row. One that cannot be read counts nothing.
fn rows(store: &Store, at: At<'_>) -> BTreeMap<OwnerId, Row> {
    let mut rows: BTreeMap<OwnerId, Row> = BTreeMap::new();
    for (path, items) in at.cells_of(TYPE).cells(store) {
        let Ok(owner) = <[u8; 16]>::try_from(path) else { continue };
        let decoded = |item: ItemRef<'_>| Row::decode(item.payload.as_bytes()).ok();
        for row in items.iter().filter_map(decoded) {
            rows.entry(OwnerId(owner)).or_default().widen(row);
        }
    }
    rows
}

fn held(rows: &BTreeMap<OwnerId, Row>, owner: OwnerId) -> u64 {
    let zero = Row::default();
    let own = rows.get(&owner).unwrap_or(&zero);
    let wide = |counts: &mut dyn Iterator<Item = u64>| counts.map(u128::from).sum::<u128>();
    let received = wide(&mut rows.values().filter_map(|row| row.sent.get(&owner).copied()));
    let mut sent = wide(&mut own.sent.values().copied());
    if mutant::is(Mutant::SentRightsKept) {
        sent = 0;
    }
    let rights = (u128::from(own.gained) + received).saturating_sub(u128::from(own.spent) + sent);
    u64::try_from(rights).unwrap_or(u64::MAX)
}

/// Replaces the own row by what `change` makes of it.
fn update(
    group: &mut Group<'_>,
    at: At<'_>,
    change: impl FnOnce(&mut Row, u64) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let owner = group.owner();
    let rows = rows(group.store(), at);
    let mut row = rows.get(&owner).cloned().unwrap_or_default();
    change(&mut row, held(&rows, owner))?;
    at.cells_of(TYPE).put(group, &owner.0, &row.encode()).map(drop)
}

fn grow(from: u64, by: u64) -> Result<u64, WriteError> {
    from.checked_add(by).ok_or(WriteError::CounterRange { from, by })
}

fn afford(owner: OwnerId, held: u64, needed: u64) -> Result<(), WriteError> {
    if held >= needed || mutant::is(Mutant::RightsUnchecked) {
        return Ok(());
    }
    Err(WriteError::Rights { owner, held, needed })
}

/// Counts up by `by`; this owner holds the rights to count that down again. 0 mints nothing.
///
/// # Errors
/// A limit was reached, or this owner's sum would leave 64 bits; nothing changed then.
pub fn gain<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, by: u64) -> Result<(), WriteError> {
    if by == 0 {
        return Ok(());
    }
    update(group, at.into(), |row, _| {
        row.gained = grow(row.gained, by)?;
        Ok(())
    })
}

/// Counts down by `by`, which takes as many rights. 0 mints nothing.
///
/// # Errors
/// This owner holds fewer rights ([`WriteError::Rights`]), or a limit was reached; nothing changed then.
pub fn spend<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>, by: u64) -> Result<(), WriteError> {
    if by == 0 {
        return Ok(());
    }
    let owner = group.owner();
    update(group, at.into(), |row, held| {
        afford(owner, held, by)?;
        row.spent = grow(row.spent, by)?;
        Ok(())
    })
}

/// Gives `count` of this owner's rights to `to`, who may spend them once it knows. 0, or to oneself, mints
/// nothing.
///
/// # Errors
/// This owner holds fewer rights ([`WriteError::Rights`]), or a limit was reached; nothing changed then.
pub fn send<'k>(
    group: &mut Group<'_>,
    at: impl Into<At<'k>>,
    to: OwnerId,
    count: u64,
) -> Result<(), WriteError> {
    let owner = group.owner();
    if count == 0 || to == owner {
        return Ok(());
    }
    update(group, at.into(), |row, held| {
        afford(owner, held, count)?;
        let sent = row.sent.entry(to).or_default();
        *sent = grow(*sent, count)?;
        Ok(())
    })
}

/// Removes the counter; false if there is none. Only where no other owner has a row and this one has sent
/// nothing: another could hold rights of a row that is gone, and its spending would be below the floor.
///
/// # Errors
/// [`WriteError::RightsOut`], or a limit was reached; nothing changed then.
pub fn remove<'k>(group: &mut Group<'_>, at: impl Into<At<'k>>) -> Result<bool, WriteError> {
    let at = at.into();
    let rows = rows(group.store(), at);
    let others = rows.keys().filter(|owner| **owner != group.owner()).count() as u64;
    let sent =
        rows.values().flat_map(|row| row.sent.values()).fold(0u64, |sum, count| sum.saturating_add(*count));
    if others > 0 || sent > 0 {
        return Err(WriteError::RightsOut { rows: others, sent });
    }
    let cells = at.cells_of(TYPE);
    let kills: Vec<_> = cells.cells(group.store()).flat_map(|(_, items)| dots_of(items)).collect();
    if kills.is_empty() {
        return Ok(false);
    }
    group.remove(&kills).map(|_| true)
}

/// The value above the floor; `None` if nobody has a row. Never negative while every owner keeps to its
/// rights; what a member wrote beyond them is shown.
pub fn value<'k>(store: &Store, at: impl Into<At<'k>>) -> Option<i128> {
    let rows = rows(store, at.into());
    let part = |row: &Row| i128::from(row.gained) - i128::from(row.spent);
    (!rows.is_empty()).then(|| rows.values().map(part).sum())
}

/// The rights that `owner` holds as far as this replica knows.
pub fn rights<'k>(store: &Store, at: impl Into<At<'k>>, owner: OwnerId) -> u64 {
    held(&rows(store, at.into()), owner)
}

/// Every owner that has a row or was sent rights, ascending, with the rights that it holds.
pub fn holders<'k>(store: &Store, at: impl Into<At<'k>>) -> Vec<(OwnerId, u64)> {
    let rows = rows(store, at.into());
    let mut owners: Vec<OwnerId> =
        rows.iter().flat_map(|(owner, row)| row.sent.keys().chain([owner])).copied().collect();
    owners.sort_unstable();
    owners.dedup();
    owners.into_iter().map(|owner| (owner, held(&rows, owner))).collect()
}
