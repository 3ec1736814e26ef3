//! What turns over leaves nothing behind: JSON, one line a case.
//!
//! `cargo bench -p sync-core --bench churn -- [times]`; without a number 1,000,000 adds and removes, and 10,000 keys
//! deleted and made again and counters reset. Each case runs in a process of its own and tells its resident memory with
//! the rings full (the log and the records stand at their bounds from then on), after all turns, and after all turns once
//! more. Resident memory holds what the allocator has free and keeps; the heap in use is what `valgrind --tool=massif`
//! shows of `--case 1 100000`. The root is asked for every 1,000 turns, as a node at work does. `tests/tests/churn.rs`
//! asserts the same of every part of a store.

use sync_core::cell::Hlc;
use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Store};
use sync_core::types::{lww_map, or_set, pn_counter};

const OURS: ReplicaId = ReplicaId([7; 16]);

/// Each with its number of turns.
const CASES: [(&str, u32); 4] = [
    ("add and remove", 1_000_000),
    ("add all, then remove all", 1_000_000),
    ("delete and re-create a key", 10_000),
    ("count and reset", 10_000),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--bench")).collect();
    if let [flag, case, times] = args.as_slice()
        && flag == "--case"
    {
        return child(case.parse().expect("a number"), times.parse().expect("a number"));
    }
    let times: Option<u32> = args.iter().find_map(|arg| arg.parse().ok());
    for (case, (_, all)) in CASES.into_iter().enumerate() {
        let program = std::env::current_exe().expect("this program has a file");
        let args = ["--case".to_owned(), case.to_string(), times.unwrap_or(all).to_string()];
        let status = std::process::Command::new(program).args(args).status();
        assert!(status.expect("this program runs").success());
    }
}

fn child(case: usize, times: u32) {
    let mut store =
        Store::new(NamespaceId([1; 8]), Limits::default().with_room(u64::from(u32::MAX), 4 << 30));
    // Fills the rings: so many entries and records are kept, whatever is written.
    let rings = u32::try_from(Limits::default().log_entries_max).expect("it is small");
    (0..rings).for_each(|at| turn(&mut store, case, at));
    store.root();
    store.sketch_symbols(0..1);
    let before = resident();
    let (mut peak, mut after) = (before, [0; 2]);
    for after in &mut after {
        if case == 1 {
            for removes in [false, true] {
                for at in 0..times {
                    one(&mut store, at, removes);
                    asked(&mut store, at);
                }
                peak = peak.max(resident());
            }
        } else {
            for at in 0..times {
                turn(&mut store, case, at);
                asked(&mut store, at);
            }
        }
        // What was large goes back a part at a time.
        for _ in 0..2_000 {
            store.root();
        }
        *after = resident();
    }
    let [after, again] = after;
    println!(
        r#"{{"mark":"churn, {}","turns":{times},"resident_before":{before},"resident_peak":{},"resident_after":{after},"resident_after_again":{again},"accounted_bytes":{},"items":{},"records":{},"log":{}}}"#,
        CASES[case].0,
        peak.max(after).max(again),
        store.bytes(),
        store.item_count(),
        store.record_count(),
        store.log_sizes().0,
    );
}

/// A node at work is asked for its root now and then.
fn asked(store: &mut Store, at: u32) {
    if at.is_multiple_of(1_000) {
        store.root();
    }
}

fn turn(store: &mut Store, case: usize, at: u32) {
    match case {
        0 | 1 => {
            one(store, at, false);
            one(store, at, true);
        }
        2 => {
            let key = format!("key/{at}");
            write(store, |group| {
                or_set::add(group, &key, b"element").expect("there is room");
                lww_map::put(group, &key, b"field", &[7; 32]).expect("there is room");
            });
            write(store, |group| {
                or_set::clear(group, &key).expect("a remove passes");
                lww_map::clear(group, &key).expect("a remove passes");
            });
        }
        _ => {
            write(store, |group| pn_counter::add(group, "c", 3).expect("there is room"));
            write(store, |group| {
                pn_counter::reset(group, "c").expect("a reset passes");
            });
        }
    }
}

fn one(store: &mut Store, at: u32, removes: bool) {
    let mut element = [0; 16];
    element[..8].copy_from_slice(&u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    write(store, |group| {
        if removes {
            or_set::remove(group, "s", &element).expect("a remove passes");
        } else {
            or_set::add(group, "s", &element).expect("there is room");
        }
    });
}

fn write(store: &mut Store, fill: impl FnOnce(&mut Group<'_>)) {
    let next = store.context().get(OURS) + 1;
    let mut group = store.group(OURS, OwnerId([0; 16]), next, Hlc(next));
    fill(&mut group);
    group.commit();
}

/// Resident bytes of the process; 0 where the system does not tell.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}
