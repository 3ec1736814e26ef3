//! The entries that every scheme is given: keys of 16 bytes, values of 32, the same for all.
//!
//! Keys and values come from a keyed hash of a number, so no order, prefix or repetition helps anybody.
//! [`text`] gives the same lengths in printable characters for peers that hold strings: 6 random bits a
//! character, so a peer that compresses may save a quarter, and no more.

/// A key.
pub type Key = [u8; 16];
/// A value, or for schemes that compare hashes the hash of one.
pub type Value = [u8; 32];

/// Who differs from whom, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `d` keys hold a newer value on B.
    Upd,
    /// `d` keys hold a newer value, half of them on A and half on B.
    UpdBoth,
    /// `d` keys exist on one side only, half of them on A and half on B.
    New,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Upd, Self::UpdBoth, Self::New];

    /// For the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upd => "upd",
            Self::UpdBoth => "upd-both",
            Self::New => "new",
        }
    }
}

/// Two replicas that held the same `n` entries, and `d` changes since.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Entries that both hold.
    pub n: usize,
    /// Differences.
    pub d: usize,
    /// How they differ.
    pub mode: Mode,
}

impl Scenario {
    /// Indices of the entries that A changed or added.
    pub fn by_a(&self) -> std::ops::Range<usize> {
        match self.mode {
            Mode::Upd => 0..0,
            Mode::UpdBoth => 0..self.d / 2,
            Mode::New => self.n..self.n + self.d / 2,
        }
    }

    /// Indices of the entries that B changed or added.
    pub fn by_b(&self) -> std::ops::Range<usize> {
        match self.mode {
            Mode::Upd => 0..self.d,
            Mode::UpdBoth => self.d / 2..self.d,
            Mode::New => self.n + self.d / 2..self.n + self.d,
        }
    }

    /// All entries of A and of B. No order.
    pub fn sides(&self) -> [Vec<(Key, Value)>; 2] {
        [self.by_a(), self.by_b()].map(|changed| {
            let kept = (0..self.n).filter(|index| !changed.contains(index));
            let old = kept.map(|index| (key(index), value(index, 0)));
            old.chain(changed.clone().map(|index| (key(index), value(index, 1)))).collect()
        })
    }

    /// Items that a view of entries as a set sees on one side only: an update is an old and a new one.
    pub fn set_difference(&self) -> usize {
        match self.mode {
            Mode::Upd | Mode::UpdBoth => 2 * self.d,
            Mode::New => self.d,
        }
    }
}

/// The key of entry `index`.
pub fn key(index: usize) -> Key {
    let hash = hash(index, 0, b'k');
    hash[..16].try_into().expect("16 bytes of 32")
}

/// The value of entry `index` in its `version`.
pub fn value(index: usize, version: u64) -> Value {
    hash(index, version, b'v')
}

/// `bytes` as printable characters, one a byte.
pub fn text(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

fn hash(index: usize, version: u64, kind: u8) -> [u8; 32] {
    let mut input = [kind; 17];
    input[..8].copy_from_slice(&(index as u64).to_le_bytes());
    input[8..16].copy_from_slice(&version.to_le_bytes());
    *blake3::hash(&input).as_bytes()
}
