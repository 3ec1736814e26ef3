//! Writing again what a damaged disk still gives: items of earlier lives, as new events.
//!
//! A damaged store is set aside whole, for no fragment of it may ever leave (DESIGN section 4, a damaged store). What
//! can be read of it are single items, each with its checksum: those that nobody else holds are brought back as
//! events of this life, with the clock they were written with. An event that this node knows, live or dead, is left
//! as it is: whoever knew of it has decided.

use super::{Cause, Node};
use crate::cell::{CellId, Item};
use crate::codec::Reader;
use crate::error::{FrameError, WriteError};
use crate::id::{Dot, NamespaceId};
use crate::rows::{RowError, Table, hex, open};
use crate::store::read_item;
use crate::time::Now;

/// One live item as a disk held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Where it belongs.
    pub namespace: NamespaceId,
    /// Its cell.
    pub cell: CellId,
    /// The item.
    pub item: Item,
}

impl Salvaged {
    /// Reads a row of [`Table::Item`] by itself; `None` if the row is of another table.
    ///
    /// # Errors
    /// [`RowError`]: this row is lost, others need not be.
    pub fn read(table: Table, key: &[u8], stored: &[u8]) -> Result<Option<Self>, RowError> {
        if table != Table::Item {
            return Ok(None);
        }
        let value = open(table, key, stored)?;
        let malformed = |error| RowError::Malformed { table, key: hex(key), error };
        let short = || malformed(FrameError::Truncated { at: key.len(), field: "namespace" });
        let (namespace, rest) = key.split_first_chunk::<8>().ok_or_else(short)?;
        let (cell, item) = read_item(Reader::new(rest), Reader::new(value), &mut None).map_err(malformed)?;
        Ok(Some(Self { namespace: NamespaceId(*namespace), cell, item }))
    }
}

impl Node {
    /// Writes the first of `salvaged` again, as one group: as many as a group may hold, and at least one. Those
    /// whose event is known here are passed over, as are those that have expired and those of a namespace that is not
    /// open. Says how many it is done with, and which of these it wrote.
    ///
    /// # Errors
    /// [`WriteError::SequencesUsed`]; no state changed then.
    pub fn replay(&mut self, now: Now, salvaged: &[Salvaged]) -> Result<(usize, Vec<Dot>), WriteError> {
        let Some(namespace) = salvaged.first().map(|first| first.namespace) else {
            return Ok((0, Vec::new()));
        };
        let one = salvaged.iter().take_while(|salvaged| salvaged.namespace == namespace);
        let Some(store) = self.store(namespace) else { return Ok((one.count(), Vec::new())) };
        let (mut bytes, max) = (0, self.config.limits.group_bytes_max);
        let (mut done, mut wanted) = (0, Vec::new());
        for Salvaged { cell, item, .. } in one {
            let known = store.context().contains(item.dot) || item.is_expired(store.horizon());
            if !known {
                bytes += cell.object.key.as_str().len() + cell.path.as_bytes().len() + item.payload.len();
                if bytes > max && !wanted.is_empty() {
                    break;
                }
                wanted.push((cell.clone(), item.clone()));
            }
            done += 1;
        }
        if wanted.is_empty() {
            return Ok((done, Vec::new()));
        }
        let (dots, written) = self.write(now, namespace, |group| {
            wanted
                .iter()
                .map(|(cell, item)| group.rewrite(cell.clone(), item))
                .collect::<Result<Vec<Dot>, _>>()
        })?;
        if let Some(last) = written.last {
            self.changed(namespace, Cause::Repair, [(last.replica, last.seq)].into_iter());
        }
        Ok((done, dots))
    }
}
