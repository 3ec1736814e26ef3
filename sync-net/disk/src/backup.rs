//! A backup: all rows of a node in one file that is written once and read once.
//!
//! `sync backup 1\n`, then each row as its table's number, the key's length and the key, the stored bytes' length and
//! the stored bytes (lengths as four bytes, big-endian), then 0xff and the tally of all rows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use sync_core::node::StepRows;
use sync_core::rows::{RowError, Table, Tally};

use crate::{DiskError, EachRow};

/// The longest backup that is read, in bytes: what is read is in memory at once.
pub const BACKUP_BYTES_MAX: u64 = 4 << 30;

const MAGIC: &[u8] = b"sync backup 1\n";
const END: u8 = 0xff;

/// Writes `step`, a whole one, to a new file at `path`; gives back its bytes. The file is there whole or not at all.
///
/// # Errors
/// [`DiskError::Io`] or [`DiskError::Full`]; also if there is a file at `path`.
pub fn write_backup(path: &Path, step: &StepRows) -> Result<u64, DiskError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    if path.exists() {
        let exists = io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name; it is kept");
        return Err(DiskError::io("writing", path, &exists));
    }
    let written = write(part, step).and_then(|bytes| {
        fs::rename(part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(bytes)
    });
    written.map_err(|error| {
        // What was written of it is of no use to anybody.
        let _gone = fs::remove_file(part);
        DiskError::io("writing", path, &error)
    })
}

fn write(path: &Path, step: &StepRows) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut out = BufWriter::new(file);
    let (mut tally, mut bytes) = (Tally::default(), MAGIC.len() as u64);
    out.write_all(MAGIC)?;
    for row in &step.rows {
        let Some(stored) = row.sealed() else { continue };
        tally.swap(None, Some(&stored));
        out.write_all(&[row.table.code()])?;
        for part in [row.key.as_slice(), stored.as_slice()] {
            let len = u32::try_from(part.len()).map_err(|_| io::Error::other("a row of 4 GiB"))?;
            out.write_all(&len.to_be_bytes())?;
            out.write_all(part)?;
        }
        bytes += 9 + (row.key.len() + stored.len()) as u64;
    }
    out.write_all(&[END])?;
    out.write_all(&tally.encode())?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(bytes + 1 + Tally::BYTES as u64)
}

/// Gives every row of the backup at `path` to `each`, as [`crate::Disk::load`] does.
///
/// # Errors
/// What `each` returns; [`DiskError::Damaged`] if it is no backup or not all of one.
pub fn read_backup(path: &Path, each: &mut EachRow<'_>) -> Result<(), DiskError> {
    let failed = |error: io::Error| DiskError::io("reading", path, &error);
    let damaged = |reason: &str| DiskError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let len = fs::metadata(path).map_err(failed)?.len();
    if len > BACKUP_BYTES_MAX {
        return Err(damaged(&format!("it has {len} bytes, at most {BACKUP_BYTES_MAX} are read")));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as a backup does"))?;
    let cut = || damaged("it ends before its end");
    let mut tally = Tally::default();
    loop {
        let (code, behind) = rest.split_first().ok_or_else(cut)?;
        if *code == END {
            let expected = Tally::decode(behind).ok_or_else(cut)?;
            if expected != tally {
                return Err(RowError::Tally { found: tally.rows, expected: expected.rows }.into());
            }
            return Ok(());
        }
        let table = Table::ALL.into_iter().find(|table| table.code() == *code);
        let table = table.ok_or_else(|| damaged("a row is of no table that is known"))?;
        let (key, behind) = take(behind).ok_or_else(cut)?;
        let (stored, behind) = take(behind).ok_or_else(cut)?;
        tally.swap(None, Some(stored));
        each(table, key, stored)?;
        rest = behind;
    }
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::node::PersistStep;
    use sync_core::rows::{self, Row};

    #[test]
    fn a_backup_reads_as_it_was_written_and_no_byte_of_it_can_change_unseen() {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let path = dir.path().join("backup");
        let row = |n: u8| Row { table: Table::Item, key: vec![n], value: Some(vec![n; 5]) };
        let step = StepRows { step: PersistStep(1), whole: true, rows: (0..4).map(row).collect() };
        let bytes = write_backup(&path, &step).expect("there is room");
        assert_eq!(bytes, fs::metadata(&path).expect("it is there").len());
        let read = |path: &Path| {
            let mut found = Vec::new();
            read_backup(path, &mut |table, key, stored| {
                let value = Some(rows::open(table, key, stored)?.to_vec());
                found.push(Row { table, key: key.to_vec(), value });
                Ok(())
            })?;
            Ok::<_, DiskError>(found)
        };
        assert_eq!(read(&path).expect("it is sound"), step.rows);
        let error = write_backup(&path, &step).expect_err("there is one");
        assert!(error.to_string().contains("it is kept"), "{error}");
        let sound = fs::read(&path).expect("it is there");
        for at in 0..sound.len() {
            let mut altered = sound.clone();
            altered[at] ^= 1;
            fs::write(&path, &altered).expect("it is written");
            assert!(read(&path).is_err(), "byte {at} was altered");
            fs::write(&path, &sound[..at]).expect("it is written");
            assert!(read(&path).is_err(), "cut to {at} bytes");
        }
    }
}
