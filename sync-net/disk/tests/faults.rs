//! Every operation of the file's disk fails once: nothing that was acknowledged is lost, nothing else is there.

mod support;

use support::{Held, apply, read, steps};
use sync_core::node::StepRows;
use sync_disk::planted::{Fault, PlantedDisk};
use sync_disk::{Disk as _, DiskError, LastStop, RowFile};

fn on(disk: &PlantedDisk) -> Result<RowFile, DiskError> {
    let given = disk.clone();
    RowFile::on(move || given.clone())
}

/// What failed is tried again; an error must be one of the disk, or of its room.
fn again<T>(fault: Fault, mut tried: impl FnMut() -> Result<T, DiskError>) -> T {
    for _ in 0..3 {
        match tried() {
            Ok(done) => return done,
            Err(error) => assert!(
                !error.is_damage() && (error.is_full() == (fault == Fault::Full)),
                "a disk that failed is said to be something else: {error}"
            ),
        }
    }
    panic!("one fault fails three calls")
}

/// What a process that starts now would read.
fn started(disk: &PlantedDisk) -> Held {
    let mut file = on(&PlantedDisk::on(disk.bytes())).expect("it opens");
    read(&mut file).expect("it is sound").0
}

/// Commits `step` upon `held`, in as many tries as it takes, as a writer does.
fn commit(file: &mut RowFile, disk: &PlantedDisk, step: &StepRows, held: &mut Held, fault: Fault) {
    let before = held.clone();
    apply(held, step);
    let mut open = true;
    again(fault, || {
        if !open {
            file.reopen()?;
        }
        open = false;
        file.commit(step).inspect_err(|_| {
            let found = started(disk);
            assert!(found == before || found == *held, "a state that nobody wrote");
        })
    });
}

/// A life: it opens, writes, reads all of it as a backup does, opens anew, writes, and stops.
fn live(disk: &PlantedDisk, fault: Fault) -> Held {
    let mut held = Held::new();
    let mut file = again(fault, || on(disk));
    let steps = steps();
    let (first, rest) = steps.split_at(3);
    for step in first {
        commit(&mut file, disk, step, &mut held, fault);
    }
    let read_all = |file: &mut RowFile, held: &Held| {
        again(fault, || {
            let found = read(file).or_else(|_| file.reopen().and_then(|()| read(file)))?.0;
            assert!(found == *held, "other rows were read than were written");
            Ok(())
        });
    };
    read_all(&mut file, &held);
    again(fault, || file.reopen());
    for step in rest {
        commit(&mut file, disk, step, &mut held, fault);
    }
    read_all(&mut file, &held);
    again(fault, || file.stop().or_else(|error| file.reopen().and(Err(error))));
    held
}

#[test]
fn after_any_operation_failed_once_all_that_was_acknowledged_is_there_and_nothing_else() {
    // The product makes a file under another name, and begins again with that if it fails.
    let made = PlantedDisk::default();
    drop(on(&made).expect("nothing fails"));
    let quiet = PlantedDisk::on(made.bytes());
    let expected = live(&quiet, Fault::Io);
    let all = quiet.asked();
    assert!(all > 100, "{all} operations");
    for fault in Fault::ALL {
        let mut struck = 0;
        for at in 0..all {
            let disk = PlantedDisk::on(made.bytes());
            disk.fail_at(at, fault);
            let held = live(&disk, fault);
            struck += disk.struck();
            assert!(held == expected);
            let mut file = on(&disk).expect("it opens");
            let (found, stop) = read(&mut file).expect("it is sound");
            assert!(found == held, "{fault:?} at operation {at} of {all}: other rows than were written");
            assert_eq!(stop, LastStop::Clean, "{fault:?} at operation {at} of {all}");
        }
        println!("{fault:?}: {struck} of {all} operations failed");
        assert!(struck > all / 4, "{fault:?} struck {struck} times");
    }
}
