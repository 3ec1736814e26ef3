//! What a crash may leave of a recorded disk.
//!
//! What was written before a sync that returned is there. Of what came after it, each write is there, is not, or is
//! torn: of its sectors some are there; and writes reach the disk in any order. That is what a disk with a cache may
//! do, and more than most do.

use rand::RngExt;
use rand::seq::SliceRandom;
use sync_disk::planted::{Op, PlantedDisk};

use crate::random::Random;

/// What a disk writes at once.
const SECTOR: usize = 512;

/// What a crash may leave just after the first `ops` changes in the record of `disk`.
pub(super) fn crash(disk: &PlantedDisk, ops: usize, random: &mut Random) -> Vec<u8> {
    disk.record(|before, all| {
        let ops = &all[..ops];
        let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
        let mut bytes = before.to_vec();
        ops[..synced].iter().for_each(|op| op.apply(&mut bytes));
        let mut open: Vec<&Op> = ops[synced..].iter().collect();
        // Some crashes leave all that was written, some nothing: the shares differ.
        let (kept, torn) = (random.random_range(0.0..=1.0), random.random_range(0.0..=0.5));
        if random.random_bool(0.7) {
            open.shuffle(random);
        }
        for op in open {
            if random.random_bool(kept) {
                op.apply(&mut bytes);
            } else if let (Op::Write { at, data }, true) = (op, random.random_bool(torn)) {
                for (sector, part) in data.chunks(SECTOR).enumerate() {
                    if random.random_bool(0.5) {
                        Op::Write { at: at + sector * SECTOR, data: part.to_vec() }.apply(&mut bytes);
                    }
                }
            }
        }
        bytes
    })
}
