//! A node's data folder: the file of rows, the reserve for a full disk, and what was set aside as damaged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::DiskError;

/// Bytes kept back for a full disk. Given up when it is, so that removes still find room; taken again when there is
/// some. 8 MiB: what a step with every remove of a full group takes, many times over. A guess.
pub const RESERVE_BYTES: u64 = 8 << 20;

const ROWS: &str = "state.redb";
const FRESH: &str = "state.redb.fresh";
const RESERVE: &str = "state.reserve";

/// A node's data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, which is made if it is not there, for its owner alone.
    ///
    /// # Errors
    /// [`DiskError::Io`] or [`DiskError::Full`].
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        make_private(path).map_err(|error| DiskError::io("making", path, &error))?;
        Ok(Self { path: path.to_owned() })
    }

    /// The folder at `path` as it is: nothing is made.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of rows.
    pub fn rows(&self) -> PathBuf {
        self.path.join(ROWS)
    }

    /// A file that is about to take the place of the file of rows.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.path.join(FRESH)
    }

    /// Puts the file of rows aside; gives back where it lies now. What was set aside before stays.
    ///
    /// # Errors
    /// [`DiskError::Io`]; the file is where it was.
    pub fn set_aside(&self) -> Result<PathBuf, DiskError> {
        let aside = (1..).map(|n: u32| self.path.join(format!("{ROWS}.damaged-{n}")));
        let aside = aside.into_iter().find(|path| !path.exists()).expect("the numbers do not end");
        let moved = fs::rename(self.rows(), &aside);
        moved.map_err(|error| DiskError::io("setting aside", self.rows(), &error))?;
        self.sync()?;
        Ok(aside)
    }

    /// Makes sure that names of files are durable.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn sync(&self) -> Result<(), DiskError> {
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| DiskError::io("syncing", &self.path, &error))
    }

    /// Takes the reserve, if it is not held already.
    ///
    /// # Errors
    /// [`DiskError::Full`] if there is no room for it, and [`DiskError::Io`]; nothing of it is left then.
    pub fn hold_reserve(&self) -> Result<(), DiskError> {
        let path = self.path.join(RESERVE);
        if fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE_BYTES) {
            return Ok(());
        }
        fill(&path).map_err(|error| {
            // What was written of it takes room that others want.
            let _gone = fs::remove_file(&path);
            DiskError::io("writing", &path, &error)
        })
    }

    /// Gives the reserve up.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn release_reserve(&self) -> Result<(), DiskError> {
        let path = self.path.join(RESERVE);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DiskError::io("removing", &path, &error)),
        }
    }
}

/// Written and not merely made longer: a hole would keep no room.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    // No zeros: some file systems keep none of them.
    let block: Vec<u8> = (0..1u32 << 16).map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).collect();
    for _ in 0..RESERVE_BYTES >> 16 {
        file.write_all(&block)?;
    }
    file.sync_all()
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_takes_its_room_and_gives_it_back() {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let folder = Folder::open(&dir.path().join("data")).expect("it is made");
        folder.hold_reserve().expect("there is room");
        folder.hold_reserve().expect("it is held");
        let reserve = folder.path().join(RESERVE);
        assert_eq!(fs::metadata(&reserve).expect("it is there").len(), RESERVE_BYTES);
        folder.release_reserve().expect("it goes");
        folder.release_reserve().expect("it is gone");
        assert!(!reserve.exists());
    }

    #[test]
    fn what_is_set_aside_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let folder = Folder::at(dir.path());
        for n in 1..=3 {
            fs::write(folder.rows(), [n]).expect("it is written");
            let aside = folder.set_aside().expect("it moves");
            assert_eq!(fs::read(aside).expect("it is there"), [n]);
        }
        assert_eq!(fs::read(dir.path().join("state.redb.damaged-1")).expect("it is there"), [1]);
    }
}
