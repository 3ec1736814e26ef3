//! What inputs begin from: golden vectors, frames recorded from a cluster, what was found before.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

/// Most inputs kept in memory. When full, a new one takes the place of one that was found, not of the corpus.
const POOL_MAX: usize = 4_096;

/// Most bytes of an input that is kept: longer ones are run and forgotten, or the pool would be all length.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Inputs from which others are made.
#[derive(Default)]
pub(crate) struct Pool {
    inputs: Vec<Vec<u8>>,
    newest: usize,
}

impl Pool {
    pub(crate) fn add(&mut self, input: Vec<u8>) {
        if input.len() > KEPT_BYTES_MAX {
            return;
        }
        if self.inputs.len() < POOL_MAX {
            self.newest = self.inputs.len();
            self.inputs.push(input);
        } else {
            // In turn, over the newer three quarters: what came first is sound, and stays.
            self.newest = POOL_MAX / 4 + (self.newest + 1) % (POOL_MAX / 4 * 3);
            self.inputs[self.newest] = input;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Any of them, the newer ones more often.
    pub(crate) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> &[u8] {
        if self.inputs.is_empty() {
            return &[];
        }
        let recent = self.inputs.len().saturating_sub(64);
        let from = if rng.random_bool(0.3) { recent } else { 0 };
        &self.inputs[rng.random_range(from..self.inputs.len())]
    }
}

/// A file, or every file of a folder in order of names; a name that ends in `.hex` is read as hex.
pub(crate) fn files(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
    }
    let read = |path: PathBuf| {
        let bytes = fs::read(&path)?;
        let hex = path.extension().is_some_and(|extension| extension == "hex");
        Ok((path.display().to_string(), if hex { of_hex(&bytes) } else { bytes }))
    };
    paths.into_iter().map(read).collect()
}

/// Inputs on which a target once failed; they run before all others.
pub(crate) fn regressions(target: &str) -> Vec<Vec<u8>> {
    let folder = tests_folder().join("fuzz/regressions").join(target);
    files(&folder).unwrap_or_default().into_iter().map(|(_, input)| input).collect()
}

/// The golden vectors whose names begin so.
pub(crate) fn vectors(prefix: &str) -> Vec<Vec<u8>> {
    let named = |(name, bytes): (String, Vec<u8>)| {
        let name = Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned())?;
        name.starts_with(prefix).then_some(bytes)
    };
    let all = files(&tests_folder().join("vectors")).expect("the golden vectors are part of the sources");
    all.into_iter().filter_map(named).collect()
}

fn tests_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn of_hex(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = text.iter().filter_map(digit).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Puts an input into a folder, under the hash of what it is.
pub(crate) fn keep(folder: &Path, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let name = format!("{:016x}", hasher.finish());
    let path = folder.join(name);
    let kept = fs::create_dir_all(folder).and_then(|()| fs::write(&path, input));
    kept.unwrap_or_else(|error| println!("{}: {error}", path.display()));
    path
}
