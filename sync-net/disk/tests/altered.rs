//! A file that was altered below the program, one block after the other. Alone in its process, for what breaks inside
//! the file's reader is told to nobody.

mod support;

use redb::StorageBackend as _;
use redb::backends::InMemoryBackend;
use support::{Held, apply, read, steps};
use sync_core::rows::Table;
use sync_disk::{Copy, Disk as _, DiskError, Folder, RowFile, salvage};

fn in_memory(bytes: &[u8]) -> InMemoryBackend {
    let backend = InMemoryBackend::new();
    backend.set_len(bytes.len() as u64).expect("there is memory");
    backend.write(0, bytes).expect("there is memory");
    backend
}

#[test]
fn a_file_altered_in_any_block_or_cut_short_is_damaged_or_reads_as_it_was_and_never_panics() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    let mut held = Held::new();
    let mut file = RowFile::open(&folder).expect("it is made");
    for step in steps() {
        file.commit(&step).expect("there is room");
        apply(&mut held, &step);
    }
    file.stop().expect("it stops");
    drop(file);
    let sound = std::fs::read(folder.rows()).expect("it is there");
    let (mut damaged, mut unharmed) = (0, 0);
    // Only where something is: the rest of the file is zeros of pages never used.
    let blocks = (0..sound.len() / 64).filter(|at| sound[at * 64..][..64].iter().any(|byte| *byte != 0));
    std::panic::set_hook(Box::new(|_| {}));
    for at in blocks {
        let mut altered = sound.clone();
        altered[at * 64..][..64].iter_mut().for_each(|byte| *byte ^= 0x5a);
        match RowFile::on(move || in_memory(&altered)).and_then(|mut file| read(&mut file)) {
            Ok((found, _)) => {
                assert!(found == held, "block {at} was altered, and other rows were read");
                unharmed += 1;
            }
            Err(error) => {
                assert!(
                    error.is_damage() || matches!(error, DiskError::Version { .. }),
                    "block {at}: {error}"
                );
                damaged += 1;
            }
        }
    }
    assert!(damaged > 100 && unharmed > 0, "{damaged} damaged, {unharmed} unharmed");
    for len in (1..sound.len()).step_by(4_093) {
        let cut = sound[..len].to_vec();
        match RowFile::on(move || in_memory(&cut)).and_then(|mut file| read(&mut file)) {
            Ok((found, _)) => assert!(found == held, "cut to {len}, and other rows were read"),
            Err(error) => assert!(error.is_damage(), "cut to {len}: {error}"),
        }
    }
    drop(std::panic::take_hook());
}

#[test]
fn of_a_file_with_a_damaged_block_most_rows_are_still_reached_and_the_file_is_left_alone() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    let mut file = RowFile::open(&folder).expect("it is made");
    let items = (0..2_000).map(|n| support::row(Table::Item, n, Some(&[7; 40])));
    file.commit(&support::step(1, true, items.collect())).expect("there is room");
    assert!(matches!(Copy::of(&folder.rows()), Err(DiskError::InUse { .. })));
    file.stop().expect("it stops");
    drop(file);
    let sound = std::fs::read(folder.rows()).expect("it is there");
    let copy = Copy::of(&folder.rows()).expect("nobody uses it");
    let mut rows = 0;
    copy.load(&mut |_, _, _| {
        rows += 1;
        Ok(())
    })
    .expect("it is sound");
    assert_eq!(rows, 2_000);
    let at = sound.windows(40).position(|found| found == [7; 40]).expect("an item is there");
    let mut altered = sound;
    altered[at] ^= 1;
    std::fs::write(folder.rows(), &altered).expect("it is written");
    let copy = Copy::of(&folder.rows()).expect("nobody uses it");
    let mut found = std::collections::BTreeSet::new();
    let expected = salvage(&copy, &mut |table, key, stored| {
        if sync_core::rows::open(table, key, stored).is_ok() {
            found.insert(key.to_vec());
        }
        Ok(())
    });
    assert_eq!((expected, found.len()), (Some(2_000), 1_999));
    assert!(std::fs::read(folder.rows()).expect("it is there") == altered, "looking changed the file");
}
