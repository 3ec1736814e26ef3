//! A disk that remembers: every write, change of length and sync, so that what a crash could have left at any moment
//! can be put together.
//!
//! What was written before a sync that returned is there. Of what came after it, each write is there, is not, or is
//! torn: of its sectors some are there; and writes reach the disk in any order. That is what a disk with a cache may
//! do, and more than most do.

use std::io;
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand::seq::SliceRandom;
use redb::StorageBackend;

use crate::random::Random;

/// What a disk writes at once.
const SECTOR: usize = 512;

/// The longest file, in bytes: a story needs some two megabytes.
const LEN_MAX: u64 = 64 << 20;

#[derive(Clone, Debug)]
enum Op {
    Write { at: usize, data: Vec<u8> },
    Len(usize),
    Sync,
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Self::Len(len) => bytes.resize(*len, 0),
            Self::Sync => {}
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// What was there when the recording began.
    before: Vec<u8>,
    ops: Vec<Op>,
}

/// A disk in memory; its copies are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Inner>>);

impl Recorder {
    /// A disk that holds `bytes`.
    pub(super) fn on(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner { before: bytes.clone(), bytes, ops: Vec::new() })))
    }

    fn with<T>(&self, call: impl FnOnce(&mut Inner) -> T) -> T {
        call(&mut self.0.lock().expect("nothing panics while the record is held"))
    }

    /// What is on it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with(|inner| inner.bytes.clone())
    }

    /// Operations so far.
    pub(super) fn len_of_record(&self) -> usize {
        self.with(|inner| inner.ops.len())
    }

    /// What a crash may leave just after the first `ops` operations.
    pub(super) fn crash(&self, ops: usize, random: &mut Random) -> Vec<u8> {
        self.with(|inner| {
            let ops = &inner.ops[..ops];
            let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
            let mut bytes = inner.before.clone();
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
}

fn place(at: u64) -> io::Result<usize> {
    if at > LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "the recorded disk is full"));
    }
    usize::try_from(at).map_err(io::Error::other)
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|inner| inner.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = place(offset)?;
        self.with(|inner| {
            let found = inner.bytes.get(at..at + out.len());
            out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let op = Op::Len(place(len)?);
        self.with(|inner| {
            op.apply(&mut inner.bytes);
            inner.ops.push(op);
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|inner| inner.ops.push(Op::Sync));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let op = Op::Write { at: place(offset + data.len() as u64)? - data.len(), data: data.to_vec() };
        self.with(|inner| {
            op.apply(&mut inner.bytes);
            inner.ops.push(op);
        });
        Ok(())
    }
}
