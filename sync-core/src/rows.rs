//! Rows: what a node is on a disk, and how a damaged one is told from a sound one.
//!
//! A disk keeps rows of a [`Table`], a key and a value, and nothing else; [`crate::node::StepRows`] says which of them
//! a persist step puts and which it takes away. Every value is stored with a checksum over table, key and value, so
//! that a flipped bit is found, and a [`Tally`] over all rows stands beside them, so that a row that vanished, came
//! back or is another commit's is found too: each row for itself would look sound, and a live item that is not there
//! reads as a removed one. `docs/storage.md` has every field.

use crate::error::FrameError;
use crate::id::NodeId;

/// The version of the rows' layout: 2 has the names of namespaces and who has retired, and 1 is read too. A disk of a later one is refused.
pub const ROWS_VERSION: u64 = 2;

/// Bytes of the checksum behind every stored value.
pub const CHECKSUM_BYTES: usize = 16;

/// What a row is about, in the order in which rows are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// The node: one row.
    Node,
    /// The lives that wrote here: a row for each replica id.
    Life,
    /// The namespaces: horizon, clock and name of each.
    Space,
    /// The context: a row for each replica known.
    Column,
    /// The live items: a row for each dot.
    Item,
    /// The records, by the order in which they came.
    Record,
    /// The floors of the records: a row for each column that has one.
    Floor,
    /// The inbound cursors: a row for each peer.
    Inbound,
    /// What a damaged disk still gave and waits to be written again: a row for each dot.
    Salvaged,
    /// The counter owners that count no more: a row for each.
    Retired,
}

impl Table {
    /// Every table, in order.
    pub const ALL: [Self; 10] = [
        Self::Node,
        Self::Life,
        Self::Space,
        Self::Column,
        Self::Item,
        Self::Record,
        Self::Floor,
        Self::Inbound,
        Self::Salvaged,
        Self::Retired,
    ];

    /// Its number in checksums.
    pub const fn code(self) -> u8 {
        match self {
            Self::Node => 0,
            Self::Life => 1,
            Self::Space => 2,
            Self::Column => 3,
            Self::Item => 4,
            Self::Record => 5,
            Self::Floor => 6,
            Self::Inbound => 7,
            Self::Salvaged => 8,
            Self::Retired => 9,
        }
    }

    /// Its name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Life => "lives",
            Self::Space => "spaces",
            Self::Column => "context",
            Self::Item => "items",
            Self::Record => "records",
            Self::Floor => "floors",
            Self::Inbound => "inbound",
            Self::Salvaged => "salvaged",
            Self::Retired => "retired",
        }
    }
}

/// A row as a step puts it, or takes it away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Row {
    /// What it is about.
    pub table: Table,
    /// Which of them; unique in the table.
    pub key: Vec<u8>,
    /// What is to be there; `None` if nothing is.
    pub value: Option<Vec<u8>>,
}

impl Row {
    /// The bytes to store: the value and its checksum. `None` if the row goes.
    pub fn sealed(&self) -> Option<Vec<u8>> {
        self.value.as_ref().map(|value| {
            let mut stored = Vec::with_capacity(value.len() + CHECKSUM_BYTES);
            stored.extend_from_slice(value);
            stored.extend_from_slice(&checksum(self.table, &self.key, value));
            stored
        })
    }
}

/// The first 16 bytes of the BLAKE3 hash over a domain, the table's number, the key's length, key and value.
fn checksum(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"sync row 1").update(&[table.code()]);
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let mut cut = [0; CHECKSUM_BYTES];
    cut.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    cut
}

/// The value in what was stored under `key`.
///
/// # Errors
/// [`RowError::Checksum`].
pub fn open<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], RowError> {
    let value = stored.split_last_chunk::<CHECKSUM_BYTES>();
    match value {
        Some((value, sum)) if *sum == checksum(table, key, value) => Ok(value),
        Some(_) | None => Err(RowError::Checksum { table, key: hex(key) }),
    }
}

/// Count and checksum of all rows together: kept with every commit, compared with what is read at the start.
///
/// The checksums of the rows are added bit by bit: a guard against disks and bugs, not against forgers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Rows in all tables.
    pub rows: u64,
    /// Their checksums, added.
    pub sum: [u8; CHECKSUM_BYTES],
}

impl Tally {
    /// Bytes of [`Self::encode`].
    pub const BYTES: usize = 8 + CHECKSUM_BYTES;

    /// What was stored under a key gives way to something else; `None` is no row.
    pub fn swap(&mut self, old: Option<&[u8]>, new: Option<&[u8]>) {
        self.rows = self.rows.wrapping_add(u64::from(new.is_some())).wrapping_sub(u64::from(old.is_some()));
        for stored in [old, new].into_iter().flatten() {
            let tail = &stored[stored.len().saturating_sub(CHECKSUM_BYTES)..];
            self.sum.iter_mut().zip(tail).for_each(|(sum, byte)| *sum ^= byte);
        }
    }

    /// The bytes to store.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.rows.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sum);
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (rows, sum) = bytes.split_first_chunk::<8>()?;
        Some(Self { rows: u64::from_be_bytes(*rows), sum: sum.try_into().ok()? })
    }
}

/// Why rows are no state of a node: the disk, or who wrote to it, is at fault. What was read is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The stored bytes are not those that were written.
    #[error("row {key} of {} does not have its checksum: the disk gave back other bytes than were written", table.name())]
    Checksum {
        /// The table.
        table: Table,
        /// The key, in hexadecimal.
        key: String,
    },
    /// The bytes were written so, and say nothing that this version knows.
    #[error("row {key} of {} cannot be read: {error}", table.name())]
    Malformed {
        /// The table.
        table: Table,
        /// The key, in hexadecimal.
        key: String,
        /// What is wrong with it.
        error: FrameError,
    },
    /// The row is sound and contradicts others.
    #[error("row {key} of {} contradicts others: {reason}", table.name())]
    Contradicts {
        /// The table.
        table: Table,
        /// The key, in hexadecimal.
        key: String,
        /// How.
        reason: &'static str,
    },
    /// A row without which there is no state is not there.
    #[error("there is no row of {}", table.name())]
    Missing {
        /// The table.
        table: Table,
    },
    /// Rows are missing, or are another commit's.
    #[error("{found} rows were read where {expected} were written, or others than those")]
    Tally {
        /// Rows read.
        found: u64,
        /// Rows written.
        expected: u64,
    },
    /// Operator: another node wrote the rows. Nothing is wrong with them.
    #[error("the disk is another node's ({found}, this is {own}); give this node a folder of its own")]
    OtherNode {
        /// Whose they are.
        found: NodeId,
        /// Who reads them.
        own: NodeId,
    },
    /// A later version of this program wrote the rows.
    #[error(
        "the rows have layout {found}, this program knows up to {max}; start the program that wrote them"
    )]
    Version {
        /// What is on the disk.
        found: u64,
        /// The latest known here.
        max: u64,
    },
}

/// Bytes as people read them in an error.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row { table: Table::Item, key: b"key".to_vec(), value: Some(b"value".to_vec()) }
    }

    #[test]
    fn a_flipped_bit_in_a_row_its_key_or_its_table_is_found() {
        let stored = row().sealed().expect("it has a value");
        assert_eq!(open(Table::Item, b"key", &stored), Ok(&b"value"[..]));
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(Table::Item, b"key", &flipped).is_err(), "bit {bit}");
        }
        for len in 0..stored.len() {
            assert!(open(Table::Item, b"key", &stored[..len]).is_err(), "cut to {len}");
        }
        assert!(open(Table::Item, b"kez", &stored).is_err());
        assert!(open(Table::Column, b"key", &stored).is_err());
    }

    #[test]
    fn a_tally_knows_a_row_that_vanished_or_is_an_older_one() {
        let stored = |n: u8| Row { value: Some(vec![n]), ..row() }.sealed().expect("it has a value");
        let (old, new, other) = (stored(1), stored(2), stored(3));
        let mut tally = Tally::default();
        tally.swap(None, Some(&old));
        tally.swap(None, Some(&other));
        tally.swap(Some(&old), Some(&new));
        let of = |rows: &[&[u8]]| {
            rows.iter().fold(Tally::default(), |mut tally, row| {
                tally.swap(None, Some(row));
                tally
            })
        };
        assert_eq!(tally, of(&[&new, &other]));
        assert_ne!(tally, of(&[&new]), "a row vanished");
        assert_ne!(tally, of(&[&old, &other]), "an older row came back");
        assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        assert_eq!(Tally::decode(b"short"), None);
    }
}
