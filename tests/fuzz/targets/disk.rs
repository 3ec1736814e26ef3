//! A data file and a backup with other bytes than were written.
//!
//! An input of the file is a list of changes to a sound one: where (varint) and the new bytes (a varint length and the
//! bytes); a change without bytes cuts the file there. A backup is the input itself.

use std::collections::BTreeSet;

use sync_core::codec::{Reader, Writer};
use sync_core::rows::{Table, open};
use sync_disk::planted::PlantedDisk;
use sync_disk::{Disk as _, DiskError, RowFile, read_backup, write_backup};

use super::rows::written;
use super::{Run, Target};
use crate::judge::Seen;
use crate::mutate::Form;

pub(crate) const FILE: Target =
    Target { name: "file", form: Form::Binary, corpus: changes, begin: begin_file };

pub(crate) const BACKUP: Target =
    Target { name: "backup", form: Form::Binary, corpus: backups, begin: begin_backup };

/// Bytes of one change, at most.
const CHANGE_BYTES_MAX: usize = 64 << 10;

type Stored = (Table, Vec<u8>, Vec<u8>);

/// A data file that was closed.
fn sound() -> Vec<u8> {
    let disk = PlantedDisk::default();
    let given = disk.clone();
    let mut file = RowFile::on(move || given.clone()).expect("an empty disk becomes a file");
    file.load(&mut |_, _, _| Ok(())).expect("it is empty");
    file.commit(&written(20).node(0).take_step()).expect("there is room");
    file.stop().expect("nothing fails");
    drop(file);
    disk.bytes()
}

fn changes() -> Vec<Vec<u8>> {
    let len = sound().len() as u64;
    let change = |at: u64, bytes: &[u8]| {
        let mut out = Writer::default();
        out.varint(at);
        out.bytes(bytes);
        out.finish()
    };
    // The head, both commit slots, somewhere in the pages, the end.
    let mut inputs: Vec<Vec<u8>> = (0..320).step_by(8).map(|at| change(at, &[0xff; 4])).collect();
    inputs.extend((1..32).map(|part| change(len / 32 * part, &[0xa5; 64])));
    inputs.extend((0..16).map(|part| change(4_096 * part + 1, &[1, 0, 2, 0])));
    inputs.push(change(len / 2, &[]));
    inputs
}

fn changed(sound: &[u8], input: &[u8]) -> Vec<u8> {
    let (mut bytes, mut input) = (sound.to_vec(), Reader::new(input));
    while let Ok(at) = input.varint("where") {
        let Ok(new) = input.bytes("bytes", CHANGE_BYTES_MAX) else { break };
        let at = usize::try_from(at % (sound.len() as u64 + 1)).expect("it is within the file");
        if new.is_empty() {
            bytes.truncate(at.max(1));
        } else {
            bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = *new);
        }
    }
    bytes
}

fn load(bytes: Vec<u8>, rows: &mut BTreeSet<Stored>) -> Result<(), DiskError> {
    let disk = PlantedDisk::on(bytes);
    let mut file = RowFile::on(move || disk.clone())?;
    file.load(&mut |table, key, stored| {
        open(table, key, stored)?;
        rows.insert((table, key.to_vec(), stored.to_vec()));
        Ok(())
    })?;
    Ok(())
}

fn begin_file() -> Run {
    let sound = sound();
    let mut expected = BTreeSet::new();
    load(sound.clone(), &mut expected).expect("it is sound");
    Box::new(move |input| {
        let mut rows = BTreeSet::new();
        let loaded = load(changed(&sound, input), &mut rows);
        if let Some((table, key, _)) = rows.difference(&expected).next() {
            return Err(format!("a row of {} under {key:?} was read that was never written", table.name()));
        }
        match loaded {
            Err(error) => Seen::refused(&error),
            Ok(()) if rows == expected => Ok(Seen::read("the rows that were written", 0)),
            // What an empty or new file says: nothing was ever there.
            Ok(()) => Err(format!("{} rows were read of {}, and nobody said so", rows.len(), expected.len())),
        }
    })
}

fn backups() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let backup = |writes: u16| {
        let path = folder.path().join(format!("{writes}"));
        write_backup(&path, &written(writes).node(0).take_step()).expect("there is room");
        std::fs::read(path).expect("it was written")
    };
    vec![backup(0), backup(3)]
}

fn begin_backup() -> Run {
    let folder = tempfile::tempdir().expect("a folder can be made");
    Box::new(move |input| {
        let path = folder.path().join("backup");
        std::fs::write(&path, input).map_err(|error| error.to_string())?;
        let mut rows = 0;
        let read = read_backup(&path, &mut |table, key, stored| {
            open(table, key, stored)?;
            rows += 1;
            Ok(())
        });
        match read {
            Err(error) => Seen::refused(&error),
            Ok(()) => Ok(Seen::read("a backup", rows)),
        }
    })
}
