//! What an operator can set: one table of settings, and all that follows from it.
//!
//! In flow a file, `SYNC_*` variables and flags; out flows a [`Resolved`], or every mistake in them at once
//! ([`Mistakes`]). The later of the three is the stronger, and below them are the defaults of [`Limits`] and [`Timing`].
//! [`SETTINGS`] lists each setting once; names of variables and flags, the default file, the documentation's table and
//! what `sync-cli config show` prints come from it. Reading touches neither clock nor network, and no bytes make it
//! panic.
//!
//! ```
//! use sync_net::settings::{File, Layers};
//!
//! let text = b"max_crdts = 20_000\nsync_interval = \"10s\"\n";
//! let layers = Layers { file: Some(File { name: "sync.toml", bytes: text }), ..Layers::default() };
//! let resolved = layers.resolve()?;
//! assert_eq!(resolved.settings.limits.crdts_max, 20_000);
//! assert_eq!(resolved.origin("sync_interval").to_string(), "sync.toml:2");
//! # Ok::<(), sync_net::settings::Mistakes>(())
//! ```
//!
//! `table` is the table, `units` reads and prints sizes and times, `value` what a setting can be, `file` reads TOML,
//! `layers` puts the three on top of each other, `contradictions` looks at values together, `page` prints the default
//! file, and `reload` says what of another configuration a running node can take over.

mod contradictions;
mod file;
mod layers;
mod mistake;
mod page;
mod reload;
mod table;
mod units;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

use sync_core::class::Class;
use sync_core::limits::{Limits, Timing};

pub use self::file::{FILE_BYTES_MAX, read_file};
pub use self::layers::{File, Layers, Origin, Resolved};
pub use self::mistake::{MISTAKES_MAX, Mistake, Mistakes};
pub use self::page::default_file;
pub use self::reload::{Changed, Reloaded};
pub use self::table::{Group, Reload, SETTINGS, Setting, setting};
pub use self::value::{Kind, Value};

use crate::storage::Durability;
use crate::transport::PeerAddr;

/// The variable that names the configuration file. It is no setting: a file cannot name itself.
pub const CONFIG_VARIABLE: &str = "SYNC_CONFIG";

/// The configuration file in the working folder, read if it is there and no other is named.
pub const CONFIG_FILE: &str = "sync.toml";

/// How a node of `sync-cli run` is set up; [`crate::NodeBuilder::settings`] takes the node's part of it.
///
/// The default is that of every setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder with the node's certificate, key and CA. There is no default.
    pub dir: Option<PathBuf>,
    /// The data folder; `None`: `data` in [`Self::dir`].
    pub data: Option<PathBuf>,
    /// Keep the state in memory alone.
    pub memory: bool,
    /// When writes are acknowledged that name no level of their own.
    pub durability: Durability,
    /// Where to listen for peers. There is no default.
    pub listen: Option<SocketAddr>,
    /// Peers to dial.
    pub peers: Vec<PeerAddr>,
    /// Namespaces to open beside the default one, with their classes.
    pub namespaces: Vec<(String, Class)>,
    /// The cluster's label.
    pub cluster: String,
    /// The local socket; `None`: the tool's own default place.
    pub socket: Option<PathBuf>,
    /// What is logged; `None`: what `RUST_LOG` says, else `info`.
    pub log: Option<String>,
    /// How it is written.
    pub log_format: LogFormat,
    /// Bounds.
    pub limits: Limits,
    /// Periods and deadlines.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: None,
            data: None,
            memory: false,
            durability: Durability::default(),
            listen: None,
            peers: Vec::new(),
            namespaces: Vec::new(),
            cluster: "default".to_owned(),
            socket: None,
            log: None,
            log_format: LogFormat::default(),
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

impl Settings {
    /// The data folder; `None` if the state is kept in memory, or there is no folder it could be in.
    pub fn data_folder(&self) -> Option<PathBuf> {
        let default = || self.dir.as_ref().map(|dir| dir.join("data"));
        if self.memory { None } else { self.data.clone().or_else(default) }
    }
}

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text an event.
    #[default]
    Text,
    /// An object of JSON a line.
    Json,
}

#[cfg(test)]
mod tests;
