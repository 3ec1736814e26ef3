//! The beginning of a life on a disk: the state that it holds, or, if that is damaged, nothing of it.
//!
//! Every start is a new replica. The counter owner stays: frames that show state are held until it is durable, so
//! whatever other nodes have seen of this owner is on the disk. A damaged store is no function of its context any
//! more and no fragment of it may leave: it is set aside whole, and this node begins empty and fetches everything
//! from its peers (DESIGN section 4, a damaged store).

use sync_core::node::{Config, ImageRows, Node, Persistence};
use sync_core::time::Now;
use sync_disk::{Copy, Disk, DiskError, Folder, LastStop, RowFile};

use super::{Place, StorageError};
use crate::data::{Kept, salvage};

/// A life that has begun.
pub(crate) struct Begun {
    pub(crate) core: Node,
    pub(crate) disk: Box<dyn Disk>,
    /// Where the data lies.
    pub(crate) place: String,
    /// True if room is kept back for a full disk.
    pub(crate) reserve: bool,
}

/// Begins the life of `config` on what is at `place`. Blocks: reads all of it.
pub(crate) fn begin(
    place: Place,
    mut config: Config,
    now: Now,
    has_peers: bool,
) -> Result<Begun, StorageError> {
    config.persistence = Persistence::Driver;
    let (place, mut core, mut disk) = match place {
        Place::Given(disk) => {
            let (core, disk) = on_given(disk, config, now, has_peers)?;
            ("given".to_owned(), core, disk)
        }
        Place::Folder(path) => {
            let (core, disk) = on_folder(&Folder::open(&path)?, config, now, has_peers)?;
            (path.display().to_string(), core, disk)
        }
    };
    let reserve = disk.take_reserve();
    if let Err(error) = &reserve {
        tracing::error!(%error, "no room can be kept back: writes that grow the store are refused");
        core.set_growth(false);
    }
    Ok(Begun { core, disk, place, reserve: reserve.is_ok() })
}

type OnDisk = (Node, Box<dyn Disk>);

fn on_given(
    mut disk: Box<dyn Disk>,
    config: Config,
    now: Now,
    has_peers: bool,
) -> Result<OnDisk, StorageError> {
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

/// Opens the file of `folder`. A damaged one is set aside, with what is still to be read of it in hand.
fn on_folder(folder: &Folder, config: Config, now: Now, has_peers: bool) -> Result<OnDisk, StorageError> {
    let opened = RowFile::open(folder).and_then(|mut file| {
        let core = load(&mut file, &config, now)?;
        Ok((core, file))
    });
    let error = match opened {
        Ok((core, file)) => return Ok((core, Box::new(file))),
        Err(error) if error.is_damage() => error,
        Err(error) => return Err(error.into()),
    };
    if !has_peers {
        return Err(StorageError::Alone { error });
    }
    let (Kept { mut items, lives }, _) = salvage(&Copy::of(&folder.rows())?);
    items.retain(|salvaged| salvaged.is_of(&lives));
    let salvaged = items.len();
    let mut core = Node::new(config, now);
    core.salvage(items);
    // The new file has what waits before the old one goes: a crash loses nothing that could be read.
    let aside = RowFile::replace(folder, &core.take_step())?;
    told(&error, &aside.display().to_string(), salvaged);
    Ok((core, Box::new(RowFile::open(folder)?)))
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
