//! The flags of the settings, one for each in the engine's table, and the commands that look at a configuration.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, Subcommand, value_parser};
use sync_net::settings::{Kind, SETTINGS, Setting};

/// What the command line says of a configuration. Values are read where those of the file are.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// The file that `--config` names.
    pub(crate) config: Option<PathBuf>,
    /// Flags of settings, by key.
    pub(crate) flags: Vec<(&'static str, Vec<String>)>,
}

/// Looks at a configuration, without a node.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Find every mistake in a configuration: exit code 0 if there is none, 2 otherwise.
    Check {
        /// The file [default: as `run` finds it].
        #[arg(conflicts_with = CONFIG)]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show the value of each setting, and where it came from: default, file:line, variable or flag.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the default file: every setting, what it does and its default.
    Default,
}

const CONFIG: &str = "config";

/// The flags without their hyphens. `clap` keeps names for good.
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| SETTINGS.iter().map(|setting| setting.key.replace('_', "-")).collect());

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Count(..) => "N",
        Kind::Size(..) => "SIZE",
        Kind::Time(..) => "TIME",
        Kind::Flag => "BOOL",
        Kind::Choice(_) => "WORD",
        Kind::Path => "PATH",
        Kind::Text(_) => "TEXT",
        Kind::List(_) => "ITEM",
    }
}

/// The first word of what an item of a list has to be.
fn item(form: &'static str) -> &'static str {
    form.split([',', ' ']).next().unwrap_or(form)
}

fn flag((setting, name): (&'static Setting, &'static String)) -> Arg {
    let arg = Arg::new(setting.key)
        .long(name.as_str())
        .help(setting.about)
        .help_heading(setting.group.title())
        .value_name(value_name(setting.kind));
    match setting.kind {
        // One of the list a time, under the word in the singular.
        Kind::List(form) => {
            let one = setting.key.trim_end_matches('s');
            arg.action(ArgAction::Append).visible_alias(one).value_delimiter(',').value_name(item(form))
        }
        Kind::Flag => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Count(..) | Kind::Size(..) | Kind::Time(..) | Kind::Choice(_) | Kind::Path | Kind::Text(_) => {
            arg.action(ArgAction::Set)
        }
    }
}

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The configuration file [default: $SYNC_CONFIG, else sync.toml here if it is there]");
        command.arg(config).args(SETTINGS.iter().zip(NAMES.iter()).map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut args = Self { config: matches.get_one::<PathBuf>(CONFIG).cloned(), flags: Vec::new() };
        for setting in SETTINGS {
            let given = matches.try_get_many::<String>(setting.key);
            let given = given.map_err(|error| Error::raw(ErrorKind::Format, error))?;
            args.flags.extend(given.map(|values| (setting.key, values.cloned().collect())));
        }
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
