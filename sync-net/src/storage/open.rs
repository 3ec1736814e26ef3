//! The beginning of a life on a disk: the state that it holds, or, if that is damaged, nothing of it.
//!
//! Every start is a new replica. The counter owner stays: frames that show state are held until it is durable, so
//! whatever other nodes have seen of this owner is on the disk. A damaged store is no function of its context any
//! more and no fragment of it may leave: it is set aside whole, and this node begins empty and fetches everything
//! from its peers (DESIGN section 4, a damaged store).

use sync_core::node::{Config, ImageRows, Node, Persistence};
use sync_core::time::Now;
use sync_disk::{Disk, DiskError, Folder, LastStop, RowFile};

use super::{Place, StorageError};

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
    let (mut disk, name) = match place {
        Place::Given(disk) => (disk, "given".to_owned()),
        Place::Folder(path) => {
            let folder = Folder::open(&path)?;
            (open(&folder, has_peers)?, path.display().to_string())
        }
    };
    let core = match load(&mut *disk, &config, now) {
        Ok(core) => core,
        Err(error) if error.is_damage() => {
            begin_again(&mut *disk, error, has_peers)?;
            Node::new(config, now)
        }
        Err(error) => return Err(error.into()),
    };
    let reserve = disk.take_reserve();
    if let Err(error) = &reserve {
        tracing::error!(%error, "no room can be kept back: writes that grow the store are refused");
    }
    Ok(Begun { core, disk, place: name, reserve: reserve.is_ok() })
}

/// Opens the file; one that cannot be opened at all is set aside like one whose rows are damaged.
fn open(folder: &Folder, has_peers: bool) -> Result<Box<dyn Disk>, StorageError> {
    match RowFile::open(folder) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) if error.is_damage() && has_peers => {
            let aside = folder.set_aside()?;
            told(&error, &aside.display().to_string());
            Ok(Box::new(RowFile::open(folder)?))
        }
        Err(error) if error.is_damage() => Err(StorageError::Alone { error }),
        Err(error) => Err(error.into()),
    }
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

fn begin_again(disk: &mut dyn Disk, error: DiskError, has_peers: bool) -> Result<(), StorageError> {
    if !has_peers {
        return Err(StorageError::Alone { error });
    }
    let aside = disk.set_aside()?;
    told(&error, &aside);
    Ok(())
}

fn told(error: &DiskError, aside: &str) {
    tracing::error!(
        %error,
        aside,
        "the store on the disk is damaged: it was set aside, and this node begins empty and fetches all from its peers"
    );
}
