//! What a store takes in memory, a live element or a whole CRDT: JSON, one line a figure.
//!
//! `cargo bench -p sync-core --bench memory -- [cells..]`. The workspace forbids unsafe code and with it an allocator
//! that counts, so each case runs in a process of its own and tells how its resident memory grew: what the allocator
//! wastes is in it. Beside the whole stand its parts, as far as their sizes are known.

use std::hint::black_box;

use sync_core::cell::Hlc;
use sync_core::id::{NamespaceId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::store::{Group, Store};
use sync_core::types::{lww_map, or_set};

const OURS: ReplicaId = ReplicaId([7; 16]);
const GROUP: usize = 100;

/// What is put into the store.
const CASES: [&str; 4] =
    ["element of one set", "element, root asked for", "field of one map", "set of one element"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--bench")).collect();
    if let [flag, case, n] = args.as_slice()
        && flag == "--case"
    {
        return child(case.parse().expect("a number"), n.parse().expect("a number"));
    }
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes };
    for n in sizes {
        for case in 0..CASES.len() {
            in_a_process_of_its_own(case, n);
        }
    }
}

fn in_a_process_of_its_own(case: usize, n: usize) {
    let program = std::env::current_exe().expect("this program has a file");
    let args = ["--case".to_owned(), case.to_string(), n.to_string()];
    let status = std::process::Command::new(program).args(args).status();
    assert!(status.expect("this program runs").success());
}

fn child(case: usize, n: usize) {
    let max = u64::MAX;
    let limits = Limits::default().with_room(max, max);
    let mut store = Store::new(NamespaceId([1; 8]), limits);
    // The sketch and the first pages of everything are paid by any store.
    write(&mut store, |group| or_set::add(group, "first", b"first").expect("room"));
    store.root();
    store.sketch_symbols(0..1);
    let before = resident_bytes();
    for from in (0..n).step_by(GROUP) {
        write(&mut store, |group| {
            for index in from..(from + GROUP).min(n) {
                let element = element(index);
                match case {
                    0 | 1 => or_set::add(group, "s", &element),
                    2 => lww_map::put(group, "m", &element, &[3; 32]),
                    _ => or_set::add(group, &format!("set/{index:012}"), &element),
                }
                .expect("room");
            }
        });
    }
    if case > 0 {
        store.root();
    }
    let bytes = (resident_bytes() - before) / n as f64;
    println!(r#"{{"mark":"memory, {}","n":{n},"value":{bytes:.1},"unit":"bytes"}}"#, CASES[case]);
    black_box(store);
}

fn write(store: &mut Store, fill: impl FnOnce(&mut Group<'_>)) {
    let next = store.context().get(OURS) + 1;
    let mut group = store.group(OURS, OwnerId([0; 16]), next, Hlc(next));
    fill(&mut group);
    black_box(group.commit());
}

fn element(index: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

/// Resident memory of the process; 0 where the system does not tell.
fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4_096.0
}
