//! The file of rows: what was committed comes back, and what is not that is never read as if it were.

mod support;

use support::{Held, apply, read, row, step, steps};
use sync_core::rows::Table;
use sync_disk::{Disk, DiskError, Folder, LastStop, RowFile};

#[test]
fn what_was_committed_comes_back_and_how_the_last_process_ended() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    let mut file = RowFile::open(&folder).expect("it is made");
    assert_eq!(read(&mut file).expect("it is empty"), (Held::new(), LastStop::Never));
    let mut held = Held::new();
    for step in steps() {
        file.commit(&step).expect("there is room");
        apply(&mut held, &step);
        assert_eq!(read(&mut file).expect("it is sound"), (held.clone(), LastStop::Crash));
        file.reopen().expect("it opens again");
        assert_eq!(read(&mut file).expect("it is sound"), (held.clone(), LastStop::Crash));
    }
    file.stop().expect("it stops");
    drop(file);
    let mut file = RowFile::open(&folder).expect("it opens");
    assert_eq!(read(&mut file).expect("it is sound"), (held.clone(), LastStop::Clean));
    let whole = step(5, true, vec![row(Table::Node, 0, Some(b"anew"))]);
    file.commit(&whole).expect("there is room");
    apply(&mut held, &whole);
    assert_eq!(read(&mut file).expect("it is sound"), (held, LastStop::Crash));
}

#[test]
fn a_second_process_is_refused_the_file() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    let _first = RowFile::open(&folder).expect("it is made");
    let error = RowFile::open(&folder).expect_err("it is in use");
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
}

#[test]
fn a_row_that_vanished_in_a_sound_file_is_found_by_the_tally() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    let mut file = RowFile::open(&folder).expect("it is made");
    steps().iter().for_each(|step| file.commit(step).expect("there is room"));
    file.stop().expect("it stops");
    let db = redb::Database::open(folder.rows()).expect("it is a redb file");
    let write = db.begin_write().expect("it can be written");
    let mut key = vec![Table::Item.code()];
    key.extend_from_slice(&20u64.to_be_bytes());
    let rows = redb::TableDefinition::<&[u8], &[u8]>::new("rows");
    drop(write.open_table(rows).expect("it is there").remove(key.as_slice()).expect("it goes"));
    write.commit().expect("there is room");
    drop(db);
    let mut file = RowFile::open(&folder).expect("every page is sound");
    let error = read(&mut file).expect_err("a row is missing");
    assert!(error.is_damage() && error.to_string().starts_with("44 rows were read where 45"), "{error}");
}

#[test]
fn a_file_whose_making_was_cut_off_is_made_again() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    std::fs::write(dir.path().join("state.redb.new"), [0; 9_000]).expect("it is written");
    let mut file = RowFile::open(&folder).expect("it is made");
    assert_eq!(read(&mut file).expect("it is empty"), (Held::new(), LastStop::Never));
    assert!(!dir.path().join("state.redb.new").exists());
}

#[test]
fn a_file_takes_the_place_of_another_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let folder = Folder::open(dir.path()).expect("it is there");
    let with = |n: u8| step(u64::from(n), true, vec![row(Table::Node, 0, Some(&[n]))]);
    let holds = |folder: &Folder| {
        let (held, _) = read(&mut RowFile::open(folder).expect("it opens")).expect("it is sound");
        held
    };
    RowFile::open(&folder).and_then(|mut file| file.commit(&with(1))).expect("it is written");
    let old = holds(&folder);
    let aside = RowFile::replace(&folder, &with(2)).expect("it is replaced");
    let new = holds(&folder);
    assert_ne!(old, new);
    // A crash between the two renames.
    let fresh = dir.path().join("state.redb.fresh");
    std::fs::rename(folder.rows(), &fresh).expect("it moves");
    assert_eq!(holds(&folder), new);
    // A crash before the first, or a full disk: the old file counts.
    std::fs::rename(folder.rows(), &fresh).expect("it moves");
    std::fs::rename(aside, folder.rows()).expect("it moves");
    assert_eq!(holds(&folder), old);
    assert!(!fresh.exists());
}
