//! A disk in memory that remembers every operation and fails where it is told to: for tests and the simulator.
//!
//! The record tells what a crash could have left at any moment; `simulations images` puts that together. A fault
//! strikes one operation, or each from one on until the disk is healed. After a failed sync nothing is known of what
//! was written since the last one that returned: [`Fault::Lost`] is a disk that has dropped all of it.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

/// The longest file, in bytes: a story needs some two megabytes.
const LEN_MAX: u64 = 64 << 20;

/// What changed a disk.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes were written.
    Write {
        /// Where.
        at: usize,
        /// What.
        data: Vec<u8>,
    },
    /// The file was made this long.
    Len(usize),
    /// All before is durable.
    Sync,
}

impl Op {
    /// Does it to `bytes`.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
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

/// How an operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// With an error of the device, and nothing is done.
    Io,
    /// With an error of the device, and a write is half done.
    Short,
    /// No room is left for what is written; reads and syncs work.
    Full,
    /// With an error of the device; a failed sync has lost whatever was written since the last one.
    Lost,
}

impl Fault {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Io, Self::Short, Self::Full, Self::Lost];

    fn error(self) -> io::Error {
        match self {
            Self::Full => io::Error::new(io::ErrorKind::StorageFull, "the disk was told to be full"),
            Self::Io | Self::Short | Self::Lost => io::Error::other("the disk was told to fail"),
        }
    }
}

/// What is asked of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Look,
    Write,
    Sync,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// What was there when the recording began.
    before: Vec<u8>,
    ops: Vec<Op>,
    /// Operations of every kind so far, those that failed among them.
    asked: u64,
    plan: Option<Plan>,
    struck: u64,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    from: u64,
    fault: Fault,
    lasting: bool,
}

impl Inner {
    /// Counts an operation; says whether, and how, it fails.
    fn asked(&mut self, deed: Deed) -> Option<Fault> {
        let at = self.asked;
        self.asked += 1;
        let plan = self.plan.filter(|plan| if plan.lasting { at >= plan.from } else { at == plan.from })?;
        if plan.fault == Fault::Full && deed != Deed::Write {
            return None;
        }
        self.struck += 1;
        Some(plan.fault)
    }

    fn log(&mut self, op: Op) {
        op.apply(&mut self.bytes);
        self.ops.push(op);
    }

    /// Forgets what came after the last sync.
    fn lose(&mut self) {
        let synced = self.ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
        self.ops.truncate(synced);
        self.bytes.clone_from(&self.before);
        for op in &self.ops {
            op.apply(&mut self.bytes);
        }
    }
}

/// A disk in memory; its copies are the same disk.
#[derive(Clone, Debug, Default)]
pub struct PlantedDisk(Arc<Mutex<Inner>>);

impl PlantedDisk {
    /// A disk that holds `bytes`.
    pub fn on(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner { before: bytes.clone(), bytes, ..Inner::default() })))
    }

    fn with<T>(&self, call: impl FnOnce(&mut Inner) -> T) -> T {
        call(&mut self.0.lock().expect("nothing panics while the disk is held"))
    }

    /// What is on it.
    pub fn bytes(&self) -> Vec<u8> {
        self.with(|inner| inner.bytes.clone())
    }

    /// What was there when the recording began, and what changed it since.
    pub fn record<T>(&self, look: impl FnOnce(&[u8], &[Op]) -> T) -> T {
        self.with(|inner| look(&inner.before, &inner.ops))
    }

    /// Changes and syncs in the record.
    pub fn len_of_record(&self) -> usize {
        self.with(|inner| inner.ops.len())
    }

    /// Operations asked for so far, reads among them.
    pub fn asked(&self) -> u64 {
        self.with(|inner| inner.asked)
    }

    /// Operations that failed.
    pub fn struck(&self) -> u64 {
        self.with(|inner| inner.struck)
    }

    /// Operation number `at` fails, counted from 0 as [`Self::asked`] does.
    pub fn fail_at(&self, at: u64, fault: Fault) {
        self.with(|inner| inner.plan = Some(Plan { from: at, fault, lasting: false }));
    }

    /// From now on every operation fails.
    pub fn fail(&self, fault: Fault) {
        self.with(|inner| inner.plan = Some(Plan { from: inner.asked, fault, lasting: true }));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.with(|inner| inner.plan = None);
    }
}

fn place(at: u64) -> io::Result<usize> {
    if at > LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "the recorded disk is full"));
    }
    usize::try_from(at).map_err(io::Error::other)
}

impl StorageBackend for PlantedDisk {
    fn len(&self) -> io::Result<u64> {
        self.with(|inner| match inner.asked(Deed::Look) {
            Some(fault) => Err(fault.error()),
            None => Ok(inner.bytes.len() as u64),
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = place(offset)?;
        self.with(|inner| {
            if let Some(fault) = inner.asked(Deed::Look) {
                return Err(fault.error());
            }
            let found = inner.bytes.get(at..at + out.len());
            out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = place(len)?;
        self.with(|inner| match inner.asked(Deed::Write) {
            // What makes it shorter finds room.
            Some(fault) if fault != Fault::Full || len > inner.bytes.len() => {
                if fault == Fault::Short {
                    inner.log(Op::Len((inner.bytes.len() + len) / 2));
                }
                Err(fault.error())
            }
            Some(_) | None => {
                inner.log(Op::Len(len));
                Ok(())
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|inner| match inner.asked(Deed::Sync) {
            Some(fault) => {
                if fault == Fault::Lost {
                    inner.lose();
                }
                Err(fault.error())
            }
            None => {
                inner.log(Op::Sync);
                Ok(())
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = place(offset + data.len() as u64)? - data.len();
        self.with(|inner| match inner.asked(Deed::Write) {
            Some(fault) => {
                if fault == Fault::Short {
                    inner.log(Op::Write { at, data: data[..data.len() / 2].to_vec() });
                }
                Err(fault.error())
            }
            None => {
                inner.log(Op::Write { at, data: data.to_vec() });
                Ok(())
            }
        })
    }
}
