//! What it costs when somebody has mined the addresses: 10,000 cells that share the beginning of theirs.
//!
//! Two ways to it, since a prefix of 40 bits shared by the hashes of 10,000 keys takes 2^40 hashes each:
//!
//! - `trie`: the trie, the root and the descent of the engine, over addresses given to them. Mined ones share 40
//!   bits and are random behind them; plain ones are random. Nothing is mined: the trie takes any address.
//! - `sync`: two nodes, from end to end. Plain: 10,000 maps of one field. Mined: one map of 10,000 fields, whose
//!   addresses share the 64 bits that its key gives, and whose fields are mined for 12 bits more, 76 in all. One
//!   map of fields that are not mined stands beside it: it shares 64 bits as well.
//!
//! CPU time, plain and mined by turns, medians. A shared prefix is one step of the trie, whatever its length, and no
//! path in it is longer than the 32 nibbles of an address, so that nothing recurses deeper.

use std::time::Duration;

use sync_core::merkle::cut::CutKey;
use sync_core::merkle::descent::{Descent, answer};
use sync_core::merkle::{Address, Cells, Fingerprint, Trie};
use sync_core::types::lww_map;

use super::Settings;
use crate::data::{key, value};
use crate::measure::{Lap, median_lap, micros, timed};
use crate::pair::Pair;
use crate::report::{Report, Row};

const CELLS: usize = 10_000;
/// Cells that differ.
const CHANGED: usize = 1_000;
/// Bytes that mined addresses share in `trie`.
const SHARED_BYTES: usize = 5;
/// Bits that the mined fields share behind those of their key.
const MINED_BITS: u32 = 12;
/// Most that mined addresses may cost, to plain ones.
const RATIO_MAX: f64 = 3.0;
const SALT: CutKey = *b"salt of the mark";

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let runs = if settings.quick { 3 } else { 11 };
    trie(report, runs);
    sync(report, runs);
    report.table("mined: 10,000 cells whose addresses share a prefix, beside plain ones");
}

fn row(report: &mut Report, what: &str, mined: Duration, plain: (&str, Duration)) {
    let row = Row::new(format!("mined/{what}"), micros(mined), "us");
    report.add(row.beside(plain.0, micros(plain.1)).ratio_at_most(RATIO_MAX));
}

/// Cells by number: where each is and what it holds.
#[derive(Clone)]
struct Placed(Vec<(Address, u64)>);

impl Placed {
    fn new(shared: usize) -> Self {
        let address = |at: usize| {
            let mut address = key(at);
            address[..shared].fill(0xab);
            (Address(address), 0)
        };
        Self((0..CELLS).map(address).collect())
    }
}

impl Cells<u32> for &Placed {
    fn address(&self, cell: u32) -> Address {
        self.0[cell as usize].0
    }

    fn fingerprint(&self, cell: u32) -> Fingerprint {
        let (address, content) = &self.0[cell as usize];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&address.0).update(&content.to_le_bytes());
        Fingerprint(*hasher.finalize().as_bytes())
    }
}

/// What one round over the trie took: its building with the first root, the root after each of the changes, and the
/// descent that finds them.
#[derive(Default)]
struct TrieLaps {
    built: Vec<Lap>,
    roots: Vec<Lap>,
    descents: Vec<Lap>,
}

fn trie(report: &mut Report, runs: usize) {
    let mut laps = [TrieLaps::default(), TrieLaps::default()];
    for _ in 0..runs {
        for (laps, shared) in laps.iter_mut().zip([0, SHARED_BYTES]) {
            trie_round(laps, &Placed::new(shared));
        }
    }
    let [plain, mined] = &laps;
    for (what, of) in [
        ("trie/built, with its root", (|laps| &laps.built) as fn(&TrieLaps) -> &Vec<Lap>),
        ("trie/root after one change", |laps| &laps.roots),
        ("trie/descent to 1,000 differences", |laps| &laps.descents),
    ] {
        let [mined, plain] = [mined, plain].map(|laps| median_lap(of(laps)).cpu);
        row(report, what, mined, ("random addresses", plain));
    }
}

fn trie_round(laps: &mut TrieLaps, placed: &Placed) {
    let mut ours: Trie<u32> = Trie::default();
    let (_, lap) = timed(|| {
        (0..CELLS as u32).for_each(|cell| ours.insert(cell, &placed));
        ours.root(&placed)
    });
    laps.built.push(lap);
    let (mut theirs, mut changed) = (ours.clone(), placed.clone());
    for at in (0..CELLS).step_by(CELLS / CHANGED) {
        changed.0[at].1 += 1;
        theirs.mark(changed.0[at].0);
        laps.roots.push(timed(|| theirs.root(&&changed)).1);
    }
    let (found, lap) = timed(|| {
        let (ours, theirs) = (ours.settled(placed), theirs.settled(&changed));
        let mut descent = Descent::new(SALT);
        while let Some(question) = descent.question(&ours, 1_000_000) {
            let found = answer(&theirs, &question, 1_000_000);
            descent.answer(&ours, &found).expect("the other side answers what was asked");
        }
        descent.differences().count()
    });
    assert_eq!(found, CHANGED, "the descent finds every difference");
    laps.descents.push(lap);
}

/// How the cells of two nodes are named.
#[derive(Clone, Copy)]
enum Names {
    /// A map each.
    Maps,
    /// Fields of one map.
    Fields,
    /// Fields of one map, mined.
    Mined,
}

/// Map and field of every cell.
fn cells(names: Names) -> Vec<(String, Vec<u8>)> {
    let field = |at: usize| ("m".to_owned(), key(at).to_vec());
    match names {
        Names::Maps => (0..CELLS).map(|at| (format!("map/{at}"), key(at).to_vec())).collect(),
        Names::Fields => (0..CELLS).map(field).collect(),
        Names::Mined => (0..).map(field).filter(|(_, field)| is_mined(field)).take(CELLS).collect(),
    }
}

/// The half of the address that a path gives is the beginning of its hash (`docs/protocol.md`, fingerprints).
fn is_mined(field: &[u8]) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[7]).update(field);
    let hash = hasher.finalize();
    let word = hash.as_bytes().first_chunk().expect("a hash is longer");
    u32::from_be_bytes(*word) >> (u32::BITS - MINED_BITS) == 0xabc
}

fn sync(report: &mut Report, runs: usize) {
    let names = [Names::Maps, Names::Fields, Names::Mined].map(cells);
    let mut laps = [(); 3].map(|()| (Vec::new(), Vec::new()));
    for _ in 0..runs {
        for ((whole, changes), cells) in laps.iter_mut().zip(&names) {
            let mut pair = Pair::new(Pair::fresh(0), Pair::fresh(1));
            put(&mut pair, cells, 0);
            whole.push(timed(|| pair.reconcile()).1);
            pair.disconnect();
            put(&mut pair, &cells[..CHANGED], 1);
            changes.push(timed(|| pair.reconcile()).1);
            assert!(pair.roots_equal(), "equal contexts, equal stores");
        }
    }
    let medians = laps.map(|(whole, changes)| [whole, changes].map(|laps| median_lap(&laps).cpu));
    let [maps, fields, mined] = medians;
    for (at, what) in ["sync/all 10,000 cells", "sync/1,000 changed"].into_iter().enumerate() {
        row(report, what, mined[at], ("10,000 maps of a field", maps[at]));
        row(report, what, mined[at], ("a map, not mined", fields[at]));
    }
}

fn put(pair: &mut Pair, cells: &[(String, Vec<u8>)], version: u64) {
    for (first, group) in cells.chunks(1_000).enumerate() {
        pair.write(0, |batch| {
            let mut group = (first * 1_000..).zip(group);
            group.try_for_each(|(at, (map, field))| lww_map::put(batch, map, field, &value(at, version)))
        });
    }
}
