//! The file of rows: one redb file with two tables, `rows` and `meta`.
//!
//! A row's key is the number of its table and its own key, so one tree holds all and a small step touches few pages.
//! `meta` holds the layout's version, the tally of all rows, and whether the last process ended cleanly; each commit
//! writes its tally in the same transaction. Commits are two-phase: the page that names the new tree is written only
//! when the tree itself is on the disk.
//!
//! redb checks its pages when it opens a file; what it cannot see (a page of an older commit, a row of its own
//! making) the tally and the rows' checksums show. It may panic on a file that was altered below it: every call is
//! fenced, and a panic is damage.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend,
    TableDefinition, TableError,
};
use sync_core::node::StepRows;
use sync_core::rows::{RowError, Table, Tally};

use crate::{Disk, DiskError, EachRow, Folder, LastStop};

/// The version of the file's layout.
pub const FILE_VERSION: u64 = 1;

/// Pages that redb keeps in memory, in bytes: the state itself is in memory anyway.
const CACHE_BYTES: usize = 16 << 20;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const VERSION: &str = "version";
const TALLY: &str = "tally";
const STOP: &str = "stop";
const CLEAN: &[u8] = b"clean";
const RUNNING: &[u8] = b"running";

type Opener = Box<dyn FnMut() -> Result<Database, DiskError> + Send>;

/// Rows in one redb file.
pub struct RowFile {
    path: PathBuf,
    /// Where the file lies; `None` if it is on a given disk.
    folder: Option<Folder>,
    opener: Opener,
    /// `None` between an error and the next opening.
    db: Option<Database>,
    tally: Tally,
    /// Of the last commit, and of one that failed and may be there all the same; `None` before the first.
    expected: Option<[Tally; 2]>,
    /// The file says that its process has ended.
    stopped: bool,
}

impl RowFile {
    /// The file of `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`DiskError`]: in use, damaged, of a later version, or the disk fails.
    pub fn open(folder: &Folder) -> Result<Self, DiskError> {
        let (path, given) = (folder.rows(), Some(folder.clone()));
        let (file, folder) = (path.clone(), folder.clone());
        let opener = move || {
            finish_replacing(&folder)?;
            if !file.exists() {
                make(&file, &folder)?;
            }
            fenced(&file, || builder().create(&file).map_err(|error| of_open(&file, error)))
        };
        Self::begin(path, given, Box::new(opener))
    }

    /// Sets the file of `folder` aside, for one that holds `step`; gives back where the old one lies. A crash leaves
    /// the old one, or both in their new places once the folder is opened.
    ///
    /// # Errors
    /// [`DiskError`]; the old file is where it was, or set aside with the new one ready for the next opening.
    pub fn replace(folder: &Folder, step: &StepRows) -> Result<PathBuf, DiskError> {
        let fresh = folder.fresh();
        remove(&fresh)?;
        let db = fenced(&fresh, || builder().create(&fresh).map_err(|error| of_open(&fresh, error)))?;
        let written = commit(&db, Some(step), RUNNING, &mut Tally::default());
        written.map_err(|error| of(&fresh, "writing", error))?;
        fenced(&fresh, || db.close().map_err(|error| of_open(&fresh, error)))?;
        let synced = File::open(&fresh).and_then(|fresh| fresh.sync_all());
        synced.map_err(|error| DiskError::io("syncing", &fresh, &error))?;
        folder.sync()?;
        let aside = folder.set_aside()?;
        finish_replacing(folder)?;
        Ok(aside)
    }

    /// A file on what `backend` gives, each time it is opened.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn on<B: StorageBackend>(mut backend: impl FnMut() -> B + Send + 'static) -> Result<Self, DiskError> {
        let path = PathBuf::from("(given)");
        let file = path.clone();
        let opener = move || {
            let backend = backend();
            fenced(&file, || builder().create_with_backend(backend).map_err(|error| of_open(&file, error)))
        };
        Self::begin(path, None, Box::new(opener))
    }

    fn begin(path: PathBuf, folder: Option<Folder>, opener: Opener) -> Result<Self, DiskError> {
        let mut file =
            Self { path, folder, opener, db: None, tally: Tally::default(), expected: None, stopped: false };
        file.reopen()?;
        Ok(file)
    }

    fn db(&self) -> Result<&Database, DiskError> {
        let closed = || DiskError::Io {
            doing: "using",
            path: self.path.clone(),
            reason: "it was closed after an error and is not open again".to_owned(),
        };
        self.db.as_ref().ok_or_else(closed)
    }

    /// Reads what stands beside the rows.
    fn read_meta(&mut self) -> Result<(), DiskError> {
        let (path, db) = (self.path.clone(), self.db()?);
        let read = fenced(&path, || {
            let read = db.begin_read().map_err(|error| of(&path, "reading", error))?;
            let meta = match read.open_table(META) {
                Ok(meta) => meta,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(of(&path, "reading", error)),
            };
            let field = |name| {
                let value = meta.get(name).map_err(|error| of(&path, "reading", error))?;
                Ok::<_, DiskError>(value.map(|value| value.value().to_vec()).unwrap_or_default())
            };
            Ok(Some((field(VERSION)?, field(TALLY)?, field(STOP)?)))
        })?;
        let Some((version, tally, stop)) = read else {
            (self.tally, self.stopped) = (Tally::default(), false);
            return Ok(());
        };
        let damaged = |reason: &str| DiskError::Damaged { path: path.clone(), reason: reason.to_owned() };
        let version = <[u8; 8]>::try_from(version.as_slice()).map(u64::from_be_bytes);
        let found = version.map_err(|_| damaged("its version is no number"))?;
        if found > FILE_VERSION {
            return Err(DiskError::Version { path, found, max: FILE_VERSION });
        }
        self.tally = Tally::decode(&tally).ok_or_else(|| damaged("its tally is none"))?;
        self.stopped = match stop.as_slice() {
            CLEAN => true,
            RUNNING => false,
            _ => return Err(damaged("it says neither that it was closed nor that it was not")),
        };
        Ok(())
    }

    fn write(&mut self, step: Option<&StepRows>, stop: &[u8]) -> Result<(), DiskError> {
        let (path, mut tally, db) = (self.path.clone(), self.tally, self.db()?);
        let done = fenced(&path, || {
            commit(db, step, stop, &mut tally).map_err(|error| of_storage(&path, "writing", error))
        });
        match done {
            Ok(()) => {
                (self.tally, self.expected, self.stopped) = (tally, Some([tally; 2]), stop == CLEAN);
                Ok(())
            }
            Err(error) => {
                self.expected = Some([self.tally, tally]);
                self.close();
                Err(error)
            }
        }
    }

    /// Lets go of the file. Whatever redb says then comes too late to matter: the next opening looks.
    fn close(&mut self) {
        if let Some(db) = self.db.take() {
            let _closed = catch_unwind(AssertUnwindSafe(|| drop(db)));
        }
    }
}

/// Makes an empty file under another name and gives it its own once it is whole: a file whose making was cut off
/// looks like a damaged one.
fn make(file: &Path, folder: &Folder) -> Result<(), DiskError> {
    let new = file.with_extension("redb.new");
    remove(&new)?;
    let made = fenced(&new, || builder().create(&new).map_err(|error| of_open(&new, error)))?;
    fenced(&new, || made.close().map_err(|error| of_open(&new, error)))?;
    let synced = File::open(&new).and_then(|made| made.sync_all());
    let named = synced.and_then(|()| fs::rename(&new, file));
    named.map_err(|error| DiskError::io("making", file, &error))?;
    folder.sync()
}

/// Puts a file that was about to take the place of one set aside into it. Beside a file in place it is of an attempt
/// that failed, and goes.
fn finish_replacing(folder: &Folder) -> Result<(), DiskError> {
    let (rows, fresh) = (folder.rows(), folder.fresh());
    if !fresh.exists() {
        return Ok(());
    }
    if rows.exists() {
        return remove(&fresh);
    }
    fs::rename(&fresh, &rows).map_err(|error| DiskError::io("making", &rows, &error))?;
    folder.sync()
}

fn remove(file: &Path) -> Result<(), DiskError> {
    match fs::remove_file(file) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DiskError::io("removing", file, &error)),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn commit(db: &Database, step: Option<&StepRows>, stop: &[u8], tally: &mut Tally) -> Result<(), redb::Error> {
    let mut write = db.begin_write()?;
    write.set_two_phase_commit(true);
    if step.is_some_and(|step| step.whole) {
        write.delete_table(ROWS)?;
        *tally = Tally::default();
    }
    {
        let mut rows = write.open_table(ROWS)?;
        for row in step.into_iter().flat_map(|step| &step.rows) {
            let mut key = Vec::with_capacity(1 + row.key.len());
            key.push(row.table.code());
            key.extend_from_slice(&row.key);
            let stored = row.sealed();
            let old = match &stored {
                Some(stored) => rows.insert(key.as_slice(), stored.as_slice())?,
                None => rows.remove(key.as_slice())?,
            };
            tally.swap(old.as_ref().map(redb::AccessGuard::value), stored.as_deref());
        }
        let mut meta = write.open_table(META)?;
        meta.insert(VERSION, &FILE_VERSION.to_be_bytes()[..])?;
        meta.insert(TALLY, &tally.encode()[..])?;
        meta.insert(STOP, stop)?;
    }
    write.commit()?;
    Ok(())
}

impl Disk for RowFile {
    fn load(&mut self, each: &mut EachRow<'_>) -> Result<LastStop, DiskError> {
        let (path, expected, db) = (self.path.clone(), self.tally, self.db()?);
        let mut tally = Tally::default();
        let found = fenced(&path, || {
            let read = db.begin_read().map_err(|error| of(&path, "reading", error))?;
            let rows = match read.open_table(ROWS) {
                Ok(rows) => rows,
                Err(TableError::TableDoesNotExist(_)) => return Ok(false),
                Err(error) => return Err(of(&path, "reading", error)),
            };
            for row in rows.iter().map_err(|error| of(&path, "reading", error))? {
                let (key, stored) = row.map_err(|error| of(&path, "reading", error))?;
                let (key, stored) = (key.value(), stored.value());
                let Some((table, key)) = split(key) else {
                    let reason = "a row is of no table that is known".to_owned();
                    return Err(DiskError::Damaged { path: path.clone(), reason });
                };
                tally.swap(None, Some(stored));
                each(table, key, stored)?;
            }
            Ok(true)
        })?;
        if tally != expected {
            return Err(RowError::Tally { found: tally.rows, expected: expected.rows }.into());
        }
        Ok(match (found, self.stopped) {
            (false, _) => LastStop::Never,
            (true, true) => LastStop::Clean,
            (true, false) => LastStop::Crash,
        })
    }

    fn commit(&mut self, step: &StepRows) -> Result<(), DiskError> {
        self.write(Some(step), RUNNING)
    }

    fn stop(&mut self) -> Result<(), DiskError> {
        self.write(None, CLEAN)?;
        self.close();
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        self.close();
        self.db = Some((self.opener)()?);
        self.read_meta().inspect_err(|_| self.close())?;
        if self.expected.is_some_and(|expected| !expected.contains(&self.tally)) {
            self.close();
            let reason = "it holds another commit than the last one: the disk lost what it had said it kept";
            return Err(DiskError::Damaged { path: self.path.clone(), reason: reason.to_owned() });
        }
        Ok(())
    }

    fn take_reserve(&mut self) -> Result<(), DiskError> {
        self.folder.as_ref().map_or(Ok(()), Folder::hold_reserve)
    }

    fn give_reserve(&mut self) -> Result<(), DiskError> {
        self.folder.as_ref().map_or(Ok(()), Folder::release_reserve)
    }

    fn set_aside(&mut self) -> Result<String, DiskError> {
        self.close();
        let no_folder = || DiskError::Io {
            doing: "setting aside",
            path: self.path.clone(),
            reason: "it lies in no folder".to_owned(),
        };
        let aside = self.folder.as_ref().ok_or_else(no_folder)?.set_aside()?;
        self.expected = None;
        self.reopen()?;
        Ok(aside.display().to_string())
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }
}

impl fmt::Debug for RowFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowFile")
            .field("path", &self.path)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

/// Goes over the rows of a file that may be damaged, from both ends until it breaks; gives the number of rows that its
/// tally names.
pub(crate) fn reachable(backend: impl StorageBackend, each: &mut EachRow<'_>) -> Option<u64> {
    let path = Path::new("(a copy)");
    // Unchecked, for the check refuses the whole file.
    let db =
        fenced(path, || Builder::new().create_with_backend(backend).map_err(|error| of_open(path, error)))
            .ok()?;
    let read = fenced(path, || db.begin_read().map_err(|error| of(path, "reading", error))).ok()?;
    for backwards in [false, true] {
        let _broke = fenced(path, || {
            let rows = read.open_table(ROWS).map_err(|error| of(path, "reading", error))?;
            let mut rows = rows.iter().map_err(|error| of(path, "reading", error))?;
            while let Some(row) = if backwards { rows.next_back() } else { rows.next() } {
                let (key, stored) = row.map_err(|error| of(path, "reading", error))?;
                if let Some((table, key)) = split(key.value()) {
                    each(table, key, stored.value())?;
                }
            }
            Ok(())
        });
    }
    let tally = fenced(path, || {
        let meta = read.open_table(META).map_err(|error| of(path, "reading", error))?;
        let tally = meta.get(TALLY).map_err(|error| of(path, "reading", error))?;
        Ok(tally.and_then(|tally| Tally::decode(tally.value())))
    });
    let _closed = catch_unwind(AssertUnwindSafe(|| drop((read, db))));
    tally.ok().flatten().map(|tally| tally.rows)
}

/// The table and the row's own key in a key of the file.
fn split(key: &[u8]) -> Option<(Table, &[u8])> {
    let (code, key) = key.split_first()?;
    Table::ALL.into_iter().find(|table| table.code() == *code).map(|table| (table, key))
}

/// Calls into redb; a panic there is damage of the file, never the end of the process.
pub(crate) fn fenced<T>(path: &Path, call: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let reason = format!("reading it broke: {}", said.unwrap_or_default());
        Err(DiskError::Damaged { path: path.to_owned(), reason })
    })
}

fn of(path: &Path, doing: &'static str, error: impl Into<redb::Error>) -> DiskError {
    of_storage(path, doing, error.into())
}

pub(crate) fn of_open(path: &Path, error: DatabaseError) -> DiskError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            DiskError::InUse { path: path.to_owned() }
        }
        DatabaseError::RepairAborted
        | DatabaseError::UpgradeRequired(_)
        | DatabaseError::TransactionInProgress
        | DatabaseError::Storage(_) => of(path, "opening", error),
        _ => of(path, "opening", error),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is no damage is an error, whatever redb adds")]
fn of_storage(path: &Path, doing: &'static str, error: redb::Error) -> DiskError {
    let text = error.to_string();
    match error {
        redb::Error::Io(error) => DiskError::io(doing, path, &error),
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => {
            DiskError::Damaged { path: path.to_owned(), reason: text }
        }
        _ => DiskError::Io { doing, path: path.to_owned(), reason: text },
    }
}
