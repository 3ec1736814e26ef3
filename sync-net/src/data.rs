//! A node's data folder while no node runs on it: what it holds, a backup put back, what can be kept of a damaged one.
//!
//! Each of these works on files alone; a folder in use is refused. What changes a folder leaves the file that was
//! there beside the new one.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::node::{Config, Image, ImageRows, Node, Salvaged};
use sync_core::rows::{self, RowError, Table};
use sync_core::store::Store;
use sync_core::time::{Now, Timestamp};
use sync_disk::{Copy, Disk as _, DiskError, EachRow, Folder, LastStop, RowFile};

use crate::builder::random;
use crate::clock::Clock;
use crate::error::StartError;
use crate::storage::StorageError;

/// Names of damaged rows that are listed, at most; the others are counted.
const LISTED_MAX: usize = 100;

/// What a data folder holds, and what the next start would do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The file of rows.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// Why a start would not use it; `None` if it is sound.
    pub damage: Option<String>,
    /// True if its last process said that it stopped.
    pub stopped_cleanly: bool,
    /// CRDTs in it, of all namespaces.
    pub crdts: u64,
    /// Live items, of all namespaces.
    pub items: u64,
    /// Columns of the causal contexts of all namespaces.
    pub context_columns: u64,
    /// Its namespaces, by name.
    #[serde(default)]
    pub namespaces: Vec<Held>,
    /// Lives of this node in it.
    pub lives: u64,
    /// The counter owner, in hex; empty if the file is damaged.
    pub owner: String,
    /// Rows that can be read although the file is damaged, and how many it had.
    pub readable: Option<Readable>,
    /// What the next start would do.
    pub next: String,
}

/// What a file, or a folder, holds of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name; its id where the file says no name.
    pub name: String,
    /// CRDTs.
    pub crdts: u64,
    /// Live items.
    pub items: u64,
    /// Accounted bytes.
    pub bytes: u64,
    /// Columns of the causal context.
    pub context_columns: u64,
}

impl Held {
    fn of((id, name, store): (NamespaceId, &str, &Store)) -> Self {
        Self {
            name: if name.is_empty() { id.to_hex() } else { name.to_owned() },
            crdts: store.crdt_count(),
            items: store.item_count(),
            bytes: store.bytes(),
            context_columns: store.context().len() as u64,
        }
    }

    fn all(image: &Image) -> Vec<Self> {
        let mut all: Vec<Self> = image.namespaces().map(Self::of).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// What of a damaged file can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readable {
    /// Live items that are sound.
    pub items: u64,
    /// Rows that were reached and are not sound.
    pub unsound: u64,
    /// The first of these.
    pub unsound_named: Vec<String>,
    /// Rows that the file had; `None` if that cannot be read either.
    pub rows_written: Option<u64>,
    /// Rows that were reached and are sound.
    pub rows_read: u64,
}

/// What became of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The file of rows.
    pub file: String,
    /// CRDTs in it, of all namespaces.
    pub crdts: u64,
    /// Live items, of all namespaces.
    pub items: u64,
    /// Its namespaces, by name.
    #[serde(default)]
    pub namespaces: Vec<Held>,
    /// The incarnation that the file begins with, in hex.
    pub replica: String,
    /// The counter owner that the next start takes up, in hex.
    pub owner: String,
    /// Where the file lies that was there before.
    pub aside: Option<String>,
}

/// Looks at `folder`, of node `node`, and changes nothing.
///
/// # Errors
/// [`DiskError::InUse`] while a node runs on it; [`DiskError::Io`] if there is no file, or it cannot be read.
pub fn examine(folder: &Path, node: NodeId) -> Result<Examined, StorageError> {
    let path = Folder::at(folder).rows();
    let copy = Copy::of(&path)?;
    let mut examined = Examined {
        file: path.display().to_string(),
        bytes: copy.len(),
        damage: None,
        stopped_cleanly: false,
        crdts: 0,
        items: 0,
        context_columns: 0,
        namespaces: Vec::new(),
        lives: 0,
        owner: String::new(),
        readable: None,
        next: String::new(),
    };
    let nobody = Config::new(node, ReplicaId([0; 16]), OwnerId([0; 16]), [0; 32]);
    match load(&nobody, &mut |each| copy.load(each)) {
        Ok((stop, image)) => {
            examined.stopped_cleanly = stop == LastStop::Clean;
            if let Some(image) = image {
                examined.namespaces = Held::all(&image);
                let sum = |figure: fn(&Held) -> u64| examined.namespaces.iter().map(figure).sum();
                (examined.crdts, examined.items) = (sum(|held| held.crdts), sum(|held| held.items));
                examined.context_columns = sum(|held| held.context_columns);
                examined.lives = image.lives().len() as u64;
                examined.owner = image.owner().to_hex();
            }
            "begin a new incarnation on all of it, with the same counter owner"
                .clone_into(&mut examined.next);
        }
        Err(error) if error.is_damage() => {
            let (_, readable) = salvage(&copy);
            examined.damage = Some(error.to_string());
            examined.readable = Some(readable);
            let next = "with a peer configured: set the file aside, begin empty, fetch all from peers, and write \
                        again what this node wrote and no peer has; without one: let what is readable be read and \
                        refuse all else, until `doctor --accept-loss` keeps what can be read";
            next.clone_into(&mut examined.next);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(examined)
}

/// Puts the backup in `file` into `folder`, which must hold no file of rows yet. The next start is a new incarnation
/// of node `node`, with a new counter owner: whoever lived after the backup was made is another.
///
/// # Errors
/// [`StartError::Storage`]: no backup, another node's, or the folder is not empty.
pub fn restore(file: &Path, folder: &Path, node: NodeId) -> Result<Renewed, StartError> {
    let folder = Folder::open(folder).map_err(StorageError::from)?;
    if folder.rows().exists() {
        let reason =
            "there is one already, and it is kept; restore into another folder, or move it away".to_owned();
        let taken = DiskError::Io { doing: "restoring", path: folder.rows(), reason };
        return Err(StorageError::from(taken).into());
    }
    let config = fresh(node)?;
    let read = load(&config, &mut |each| {
        sync_disk::read_backup(file, each)?;
        Ok(LastStop::Crash)
    });
    let (_, image) = read.map_err(StorageError::from)?;
    let missing = || StorageError::from(DiskError::from(RowError::Missing { table: Table::Node }));
    let core = Node::restart(config, image.ok_or_else(missing)?, now());
    write(core, &folder, false)
}

/// Keeps what can be read of a damaged `folder` of node `node` and gives up the rest: every sound item is written
/// again, as a new event of a new incarnation. The damaged file is set aside.
///
/// What was removed since may come back where peers hold the removal and this file does not; so it is for nodes that
/// have no peers left.
///
/// # Errors
/// [`StartError::Storage`]: in use, not damaged, or the disk fails.
pub fn accept_loss(folder: &Path, node: NodeId) -> Result<Renewed, StartError> {
    let found = examine(folder, node)?;
    let folder = Folder::at(folder);
    if found.damage.is_none() {
        let reason = "it is sound: nothing has to be given up".to_owned();
        let sound = DiskError::Io { doing: "giving up parts of", path: folder.rows(), reason };
        return Err(StorageError::from(sound).into());
    }
    let copy = Copy::of(&folder.rows()).map_err(StorageError::from)?;
    let (Kept { items, .. }, _) = salvage(&copy);
    drop(copy);
    write(rewritten(fresh(node)?, now(), &items), &folder, true)
}

/// Writes the state of `core` to `folder`; to a new file in place of the one there if it `replaces` that.
fn write(mut core: Node, folder: &Folder, replaces: bool) -> Result<Renewed, StartError> {
    let step = core.take_step();
    let aside = replaces.then(|| RowFile::replace(folder, &step)).transpose().map_err(StorageError::from)?;
    let done = RowFile::open(folder).and_then(|mut file| {
        file.commit(&step)?;
        file.stop()
    });
    done.map_err(StorageError::from)?;
    let namespaces = Held::all(&core.image());
    Ok(Renewed {
        file: folder.rows().display().to_string(),
        crdts: namespaces.iter().map(|held| held.crdts).sum(),
        items: namespaces.iter().map(|held| held.items).sum(),
        namespaces,
        replica: core.replica().to_hex(),
        owner: core.owner().to_hex(),
        aside: aside.map(|path| path.display().to_string()),
    })
}

/// What a damaged file still gives.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Ascending by dot, each once.
    pub(crate) items: Vec<Salvaged>,
    /// Lives of the node.
    pub(crate) lives: BTreeSet<ReplicaId>,
}

/// Goes over a damaged file.
pub(crate) fn salvage(copy: &Copy) -> (Kept, Readable) {
    let mut kept = Kept::default();
    let (mut seen, mut sound) = (BTreeSet::new(), 0);
    let (mut unsound, mut unsound_named) = (0, Vec::new());
    let rows_written = sync_disk::salvage(copy, &mut |table, key, stored| {
        if !seen.insert((table, key.to_vec())) {
            return Ok(());
        }
        kept.lives.extend(Salvaged::life_in(table, key, stored));
        match Salvaged::read(table, key, stored).and_then(|item| rows::open(table, key, stored).map(|_| item))
        {
            Ok(item) => {
                sound += 1;
                kept.items.extend(item);
            }
            Err(error) => {
                unsound += 1;
                if unsound_named.len() < LISTED_MAX {
                    unsound_named.push(error.to_string());
                }
            }
        }
        Ok(())
    });
    kept.items.sort_by_key(|salvaged| (salvaged.namespace, salvaged.item.dot));
    let items = kept.items.len() as u64;
    (kept, Readable { items, unsound, unsound_named, rows_written, rows_read: sound })
}

/// A new life that has written `items` again.
pub(crate) fn rewritten(config: Config, now: Now, items: &[Salvaged]) -> Node {
    let mut core = Node::new(config, now);
    core.replay_all(now, items).expect("a new life has sequences for every item of another");
    core
}

type Loader<'a> = dyn FnMut(&mut EachRow<'_>) -> Result<LastStop, DiskError> + 'a;

/// The image that the rows give; `None` if there are none.
fn load(config: &Config, from: &mut Loader<'_>) -> Result<(LastStop, Option<Image>), DiskError> {
    let mut rows = ImageRows::new(config);
    let stop = from(&mut |table, key, stored| Ok(rows.stored(table, key, stored)?))?;
    let image = if stop == LastStop::Never { None } else { Some(rows.finish()?) };
    Ok((stop, image))
}

/// A life that begins now, under new ids.
fn fresh(node: NodeId) -> Result<Config, StartError> {
    Ok(Config::new(node, ReplicaId(random()?), OwnerId(random()?), random()?))
}

fn now() -> Now {
    Now { mono: Timestamp::ZERO, ..Clock::start().now() }
}
