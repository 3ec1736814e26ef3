//! The configuration of a node as this process finds it: a file, the environment, and the command line.

use std::path::{Path, PathBuf};

use sync_net::settings::{self, CONFIG_FILE, CONFIG_VARIABLE, File, Layers, Mistakes, Resolved};

use crate::args::ConfigArgs;

/// Where the configuration file is: the flag, else the variable, else the working folder if it has one.
pub(crate) fn file(args: &ConfigArgs) -> Option<PathBuf> {
    let variable = std::env::var_os(CONFIG_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let here = || Some(PathBuf::from(CONFIG_FILE)).filter(|path| path.exists());
    args.config.clone().or(variable).or_else(here)
}

/// Reads the file and puts the environment and the flags on top of it.
pub(crate) fn read(args: &ConfigArgs) -> Result<Resolved, Mistakes> {
    resolve(args, file(args).as_deref())
}

fn resolve(args: &ConfigArgs, file: Option<&Path>) -> Result<Resolved, Mistakes> {
    let bytes = file.map(settings::read_file).transpose()?;
    let name = file.map(|file| file.display().to_string());
    let file = name.as_deref().zip(bytes.as_deref()).map(|(name, bytes)| File { name, bytes });
    Layers { file, environment: std::env::vars_os().collect(), flags: args.flags.clone() }.resolve()
}
