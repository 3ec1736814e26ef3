//! The beginning of a life on a disk: the state that it holds, or, if that is damaged, nothing of it but to look at.
//!
//! Every start is a new replica. The counter owner stays: frames that show state are held until it is durable, so
//! whatever other nodes have seen of this owner is on the disk. A damaged store is no function of its context any
//! more and no fragment of it may leave: it is set aside whole, and this node begins empty and fetches everything
//! from its peers (DESIGN section 4, a damaged store). Without peers it stays where it is, and what can be read of it
//! is shown by a node that does nothing else.

use serde::{Deserialize, Serialize};
use sync_core::node::{Config, ImageRows, Node, Persistence};
use sync_core::time::Now;
use sync_disk::{Copy, Disk, DiskError, Folder, LastStop, RowFile};

use super::{Place, StorageError};
use crate::data::{Kept, Readable, rewritten, salvage};

/// A life that has begun.
pub(crate) struct Begun {
    pub(crate) core: Node,
    /// Where its state goes; `None` in a life that may only be read.
    pub(crate) disk: Option<OnDisk>,
    /// Why it may only be read.
    pub(crate) damage: Option<Damage>,
}

/// Where a life's state goes.
pub(crate) struct OnDisk {
    pub(crate) disk: Box<dyn Disk>,
    /// Where the data lies.
    pub(crate) place: String,
    /// True if room is kept back for a full disk.
    pub(crate) reserve: bool,
}

/// A store that was damaged on the disk, of a node with nobody to fetch it from: it can be read as far as it is
/// sound, and nothing else, until `sync-cli doctor --accept-loss`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The damaged file. It lies where it lay.
    pub file: String,
    /// What is wrong with it.
    pub error: String,
    /// What can be read of it.
    pub readable: Readable,
}

/// Begins the life of `config` on what is at `place`. Blocks: reads all of it.
pub(crate) fn begin(
    place: Place,
    mut config: Config,
    now: Now,
    has_peers: bool,
) -> Result<Begun, StorageError> {
    config.persistence = Persistence::Driver;
    let (place, (mut core, mut disk)) = match place {
        Place::Given(disk) => ("given".to_owned(), on_given(disk, config, now, has_peers)?),
        Place::Folder(path) => {
            let folder = Folder::open(&path)?;
            match on_folder(&folder, &config, now)? {
                Opened::Sound(opened) => {
                    let (core, file) = *opened;
                    (path.display().to_string(), (core, Box::new(file) as Box<dyn Disk>))
                }
                Opened::Damaged(error) if !has_peers => return to_be_read(&folder, config, now, &error),
                Opened::Damaged(error) => {
                    (path.display().to_string(), begun_empty(&folder, config, now, &error)?)
                }
            }
        }
    };
    let reserve = disk.take_reserve();
    if let Err(error) = &reserve {
        tracing::error!(%error, "no room can be kept back: writes that grow the store are refused");
        core.set_growth(false);
    }
    Ok(Begun { core, disk: Some(OnDisk { disk, place, reserve: reserve.is_ok() }), damage: None })
}

fn on_given(
    mut disk: Box<dyn Disk>,
    config: Config,
    now: Now,
    has_peers: bool,
) -> Result<(Node, Box<dyn Disk>), StorageError> {
    let core = match load(&mut *disk, &config, now) {
        Ok(core) => core,
        Err(error) if error.is_damage() && has_peers => {
            let aside = disk.set_aside()?;
            told(&error, &aside, 0);
            Node::new(config, now)
        }
        Err(error) if error.is_damage() => return Err(StorageError::Alone { error }),
        Err(error) => return Err(error.into()),
    };
    Ok((core, disk))
}

enum Opened {
    Sound(Box<(Node, RowFile)>),
    Damaged(DiskError),
}

fn on_folder(folder: &Folder, config: &Config, now: Now) -> Result<Opened, StorageError> {
    let opened = RowFile::open(folder).and_then(|mut file| {
        let core = load(&mut file, config, now)?;
        Ok(Opened::Sound(Box::new((core, file))))
    });
    match opened {
        Err(error) if error.is_damage() => Ok(Opened::Damaged(error)),
        opened => Ok(opened?),
    }
}

/// Sets the damaged file aside and begins empty, with what is still to be read of it in hand.
fn begun_empty(
    folder: &Folder,
    config: Config,
    now: Now,
    error: &DiskError,
) -> Result<(Node, Box<dyn Disk>), StorageError> {
    let (Kept { mut items, lives }, _) = salvage(&Copy::of(&folder.rows())?);
    items.retain(|salvaged| salvaged.is_of(&lives));
    let salvaged = items.len();
    let mut core = Node::new(config, now);
    core.salvage(items);
    // The new file has what waits before the old one goes: a crash loses nothing that could be read.
    let aside = RowFile::replace(folder, &core.take_step())?;
    told(error, &aside.display().to_string(), salvaged);
    Ok((core, Box::new(RowFile::open(folder)?)))
}

/// A life in memory that holds what can be read of the damaged file, and lets nobody write or fetch it.
fn to_be_read(
    folder: &Folder,
    mut config: Config,
    now: Now,
    error: &DiskError,
) -> Result<Begun, StorageError> {
    config.persistence = Persistence::Memory;
    let (Kept { items, .. }, readable) = salvage(&Copy::of(&folder.rows())?);
    let mut core = rewritten(config, now, &items);
    core.set_damaged();
    let file = folder.rows().display().to_string();
    tracing::error!(
        %error,
        file,
        readable = readable.items,
        lost = ?readable.unsound_named,
        "the store on the disk is damaged and no peer is configured to fetch it from: it can be read as far as it is \
         sound, nothing is written, and no peer is let in. Add a peer, or stop this node and accept the loss: \
         sync-cli doctor --accept-loss"
    );
    Ok(Begun { core, disk: None, damage: Some(Damage { file, error: error.to_string(), readable }) })
}

fn load(disk: &mut dyn Disk, config: &Config, now: Now) -> Result<Node, DiskError> {
    let mut rows = ImageRows::new(config);
    let stop = disk.load(&mut |table, key, stored| Ok(rows.stored(table, key, stored)?))?;
    match stop {
        LastStop::Never => return Ok(Node::new(config.clone(), now)),
        LastStop::Clean => {}
        LastStop::Crash => {
            tracing::info!("the last process did not stop cleanly; nobody has seen what it lost")
        }
    }
    let image = rows.finish()?;
    let config = Config { owner: image.owner(), ..config.clone() };
    let mut core = Node::restart(config, image, now);
    core.continue_rows();
    Ok(core)
}

fn told(error: &DiskError, aside: &str, salvaged: usize) {
    tracing::error!(
        %error,
        aside,
        salvaged,
        "the store on the disk is damaged: it was set aside, and this node begins empty and fetches all from its peers"
    );
}
