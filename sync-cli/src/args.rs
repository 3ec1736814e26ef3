//! The command line: what can be asked, and where a running node is found.
//!
//! `clap` parses; this file only says what exists. A mistake on the command line comes back as one
//! line ([`Failure::Usage`]), like every other error of the tool.

mod bench;
mod config;
mod ops;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use sync_net::{Class, Visibility};

pub(crate) use self::bench::BenchArgs;
pub(crate) use self::config::{ConfigArgs, ConfigCommand};
pub(crate) use self::ops::OpCommand;
use crate::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; one line on standard error says what to do. diff: the nodes differ
  2  the command line or the configuration is wrong, nothing was tried
  3  not converged in time, or not all peers told (converge), or not visible in time (visible, --visible); the line
     names the peers
  4  the node is degraded (health): it works, and somebody should look
  5  the node is isolated (health): peers are configured and none is connected
  6  the node is damaged (health): its state or its process cannot be trusted";

/// State that is the same on every node: run a node, look at it, change it.
#[derive(Debug, Parser)]
#[command(name = "sync-cli", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Print one JSON value instead of text; `diff`, `watch` and `events` print one a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a shop on several nodes in this process, cut one off, heal, and check every result.
    #[command(after_help = EXIT_CODES)]
    Demo(DemoArgs),
    /// Create a cluster's certificate authority, and certificates for its nodes.
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Run a node until it is interrupted. At SIGHUP it reads its configuration file again.
    #[command(after_help = EXIT_CODES)]
    Run(ConfigArgs),
    /// Check or show the configuration that `run` would use, or print the default file.
    #[command(subcommand, after_help = EXIT_CODES)]
    Config(ConfigCommand),
    /// Write all that the running node holds to a new file, for `restore`.
    Backup {
        /// The file to write; an existing one is kept.
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Put a backup into a node's empty data folder; the node's next start is a new incarnation.
    Restore {
        /// The file that `backup` wrote.
        file: PathBuf,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Check the data folder of a node that does not run, and say what its next start will do.
    #[command(after_help = EXIT_CODES)]
    Doctor {
        /// Keep what can be read of a damaged folder and give up the rest: for a node without peers.
        #[arg(long)]
        accept_loss: bool,
        #[command(flatten)]
        folder: FolderArgs,
    },
    #[command(flatten)]
    Op(OpCommand),
    /// Show what lies at KEY, whatever its type; exit code 1 if nothing does.
    Get {
        #[command(flatten)]
        place: PlaceArgs,
        /// Wait, at most 10 s, until the node has the write of this token (what a write prints with --json).
        #[arg(long, value_name = "TOKEN")]
        after: Option<String>,
    },
    /// Remove what lies at KEY, whatever its type, as far as this node has seen it.
    #[command(after_help = EXIT_CODES)]
    Rm {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        visible: WriteArgs,
    },
    /// Wait until the write of TOKEN is on other nodes. It stays, and goes on spreading, whatever comes of this.
    #[command(after_help = EXIT_CODES)]
    Visible {
        /// What a write prints with --json.
        token: String,
        #[command(flatten)]
        wanted: VisibleArgs,
        #[command(flatten)]
        target: Target,
    },
    /// List the keys that start with PREFIX, or all.
    Keys {
        /// The start of the keys to list.
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        target: DataTarget,
    },
    /// List the node's namespaces; or open or close one.
    ///
    /// A namespace is a store of its own, shared by the nodes that have it open. Nothing in one waits for another, and the
    /// frames of an urgent one go before those of a normal one, and these before those of a bulk one.
    #[command(args_conflicts_with_subcommands = true)]
    Namespaces {
        #[command(subcommand)]
        command: Option<NamespacesCommand>,
        #[command(flatten)]
        target: Target,
    },
    /// Show the node's state; with KEY, every cell of that key with its events.
    Inspect {
        /// The key to show.
        key: Option<String>,
        #[command(flatten)]
        target: DataTarget,
    },
    /// Follow what changes below the keys that start with PREFIX, or below all, until interrupted.
    Watch {
        /// The start of the keys to follow.
        #[arg(default_value = "")]
        prefix: String,
        /// Go on behind what an earlier watch of the same PREFIX had told, here or at another node: the text of
        /// its last `cursor` line (see --json).
        #[arg(long, value_name = "C", conflicts_with = "snapshot")]
        cursor: Option<String>,
        /// Begin with what is there now.
        #[arg(long)]
        snapshot: bool,
        #[command(flatten)]
        target: DataTarget,
    },
    /// List the node's peers, its link to each and how its breaker stands; or move one of them.
    ///
    /// A breaker that opened because a peer cannot be reached probes it every 1 to 5 s, and closes once it answers. One
    /// that opened because a peer broke the protocol keeps it out for 60 s, longer each time.
    #[command(args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
    Peers {
        #[command(subcommand)]
        command: Option<PeersCommand>,
        #[command(flatten)]
        target: DataTarget,
    },
    /// Tell how the node is, why, and what to do; exit code 0 if it is healthy.
    #[command(after_help = EXIT_CODES)]
    Health {
        #[command(flatten)]
        target: Target,
    },
    /// Follow what happens on the node (links, repairs, alarms, the disk) until interrupted.
    Events {
        #[command(flatten)]
        target: Target,
    },
    /// Watch the node: health, peers, lags, queues, rates, bounds. Keys: q ends, s counts by how many keys peers differ.
    Top {
        /// Print one picture as plain text and end.
        #[arg(long)]
        once: bool,
        /// Seconds between two looks; rates are over this time.
        #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=60))]
        interval: u64,
        #[command(flatten)]
        target: Target,
    },
    /// Load the node, and others with it, with reads and writes, and tell how many it did and how long they took.
    Bench(BenchArgs),
    /// Exchange with every peer now and wait until all hold what this node holds.
    #[command(after_help = EXIT_CODES)]
    Converge {
        /// Only tell what would move between this node and each peer, and in which direction.
        #[arg(long, conflicts_with = "all")]
        dry_run: bool,
        /// Wait until every node linked with this one holds what any of them holds.
        #[arg(long)]
        all: bool,
        /// Seconds to wait.
        #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
        timeout: u64,
        #[command(flatten)]
        target: DataTarget,
    },
    /// Write all that one namespace of the node reads as to FILE, as lines of JSON: the operations that make it anew.
    Export {
        /// A file that is not there yet [default: standard output].
        file: Option<PathBuf>,
        /// Only the keys that start with PREFIX.
        #[arg(long, default_value = "")]
        prefix: String,
        #[command(flatten)]
        target: DataTarget,
    },
    /// Take in what `export` wrote, as new writes of an empty node.
    Import {
        /// The file [default: standard input].
        file: Option<PathBuf>,
        /// Write on top of what the node holds. Counters count what is imported once more.
        #[arg(long)]
        merge: bool,
        #[command(flatten)]
        target: DataTarget,
    },
    /// Tell what two running nodes hold differently, and whether events that one lacks explain it.
    #[command(after_help = EXIT_CODES)]
    Diff {
        /// The local socket of a node, or a directory with its sync.sock.
        a: PathBuf,
        /// That of the other.
        b: PathBuf,
        /// The namespace to compare [default: default].
        #[arg(long, value_name = "NAME")]
        namespace: Option<String>,
    },
}

/// What the demo runs on.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of nodes, 2 to 9: each is linked to each, which is meant for up to 8 peers.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=9))]
    pub(crate) nodes: u8,
    /// A CSV file with the columns of the bundled one (UCI Online Retail), at most 64 MiB.
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
}

/// What can be done with one namespace. A node that starts again opens those that `run --namespace` names.
#[derive(Debug, Subcommand)]
pub(crate) enum NamespacesCommand {
    /// Open a namespace, or open it again: what it held is there. Open it on every node that is to share it.
    Open {
        /// Its name, the same on every node.
        name: String,
        /// How its frames stand to those of others on their way to peers: urgent, normal or bulk.
        #[arg(long, default_value = "normal", value_name = "CLASS")]
        class: Class,
        /// Refuse to create more CRDTs than this in it on this node [default: the node's].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        max_crdts: Option<u64>,
        /// Refuse writes in it on this node that grow it beyond this [default: the node's].
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
        max_bytes: Option<u64>,
        #[command(flatten)]
        target: Target,
    },
    /// Close a namespace: it is shared with nobody and takes no writes. What it holds stays and can be read.
    Close {
        /// Its name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

/// What can be done with one peer. Nothing of it outlives the node's process.
#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// Shut PEER out for 60 s: no link, whoever dials.
    Trip(PeerArgs),
    /// Close the breaker of PEER and forget what counted against it.
    Reset(PeerArgs),
    /// Dial one more peer, or let in again one that was removed.
    Add {
        /// Where it listens, with or without the node id it must have; of a guest that was removed, its id.
        #[arg(value_name = "[ID@]HOST:PORT")]
        peer: String,
        #[command(flatten)]
        target: Target,
    },
    /// Take PEER off the list: no link, whoever dials, until it is added again. `converge` does not wait for it.
    Remove(PeerArgs),
    /// End PEER, which will not return: as `remove`, and no mark, floor or write waits for it any more. Say it to every
    /// node. Shows the rights of bounded counters that are lost with it.
    Retire {
        /// Its address, or the digits of its id.
        peer: String,
        /// A counter owner of it that this node has not met, as `inspect KEY` shows them; may be repeated.
        #[arg(long = "owner", value_name = "HEX")]
        owners: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// One peer of a running node.
#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Its address, or the first digits of its id, as `peers` lists them.
    pub(crate) peer: String,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Create a certificate authority: ca.pem and ca.key in DIR. An existing one is never overwritten.
    Ca {
        /// Where to write.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The name in the authority's certificate.
        #[arg(long, value_name = "L", default_value = "sync cluster")]
        label: String,
    },
    /// Give a node a new certificate for the key it has: node.pem in its folder. It is the same node, and one that runs
    /// takes it within two seconds.
    Renew {
        /// The directory of the certificate authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The directory with the node's node.pem.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Let a node accept what this authority signs, beside what it accepts already: for moving to another authority.
    Trust {
        /// The directory of the certificate authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The directory with the node's ca.pem.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Nothing beside it any more: the last step of the move.
        #[arg(long)]
        only: bool,
    },
    /// Shut a node out for good: its key, or with --serial one certificate. Nodes cut it off within five seconds once
    /// the list is in their folders.
    Revoke {
        /// Its name, the first digits of its id (at least 8), or with --serial the number of the certificate in hex.
        who: String,
        /// The directory of the certificate authority, which keeps the list.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// WHO is a certificate's serial number: the node's other certificates stay good.
        #[arg(long)]
        serial: bool,
        /// A node's directory, whose list is changed too; may be given many times.
        #[arg(long = "dir", value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
    /// Let the running node read its certificate, authorities and list of the revoked now, and tell what is in force.
    #[command(after_help = EXIT_CODES)]
    Reload {
        #[command(flatten)]
        target: Target,
    },
    /// Issue a node's certificate: ca.pem, node.pem and node.key in OUT.
    Issue {
        /// The directory of the certificate authority.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The node's name, for people; the node's id comes from its key.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Where to write.
        #[arg(long, value_name = "OUT")]
        dir: PathBuf,
    },
}

/// Where a node's data lies.
#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// The directory with ca.pem, node.pem and node.key: the data are this node's.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The node's data folder [default: data in --dir].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl FolderArgs {
    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.dir.join("data"))
    }
}

/// A key, or a place in the nested map there.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The key.
    pub(crate) key: String,
    /// Only the CRDT of this type, as `keys` names it.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) ty: Option<String>,
    /// What is in field NAME of the nested map at KEY; once for each name, the outermost first.
    #[arg(long, value_name = "NAME")]
    pub(crate) at: Vec<String>,
    #[command(flatten)]
    pub(crate) target: DataTarget,
}

/// On how many nodes a write is to be, and how long to wait for it.
#[derive(Debug, Args)]
pub(crate) struct VisibleArgs {
    /// Where: `local`, `majority`, `all`, or a number of peers.
    #[arg(long, default_value = "all", value_name = "WHERE")]
    pub(crate) to: Visibility,
    /// Seconds to wait.
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
}

/// Whether a command that writes waits for other nodes.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// Wait until the write is there: `local`, `majority`, `all`, or a number of peers.
    #[arg(long, value_name = "WHERE")]
    visible: Option<Visibility>,
    /// Seconds to wait for --visible.
    #[arg(long, default_value_t = 30, value_name = "S", requires = "visible", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl WriteArgs {
    /// What is waited for, if anything is.
    pub(crate) fn wanted(&self) -> Option<VisibleArgs> {
        self.visible.map(|to| VisibleArgs { to, timeout: self.timeout })
    }
}

/// A namespace of a running node.
#[derive(Debug, Args)]
pub(crate) struct DataTarget {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The namespace that is meant, see `namespaces` [default: default].
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Which running node is meant.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The node's local socket [default: $SYNC_SOCKET, else $XDG_RUNTIME_DIR/sync.sock, else
    /// /tmp/sync-UID.sock].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Target {
    /// The path of the node's socket: the flag, else the environment, else the user's default.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.socket.clone().or_else(|| from_env("SYNC_SOCKET")).unwrap_or_else(default_socket)
    }
}

/// Where the socket is if nobody says where: the user's own place.
pub(crate) fn default_socket() -> PathBuf {
    from_env("XDG_RUNTIME_DIR")
        .map(|dir| dir.join("sync.sock"))
        .unwrap_or_else(|| format!("/tmp/sync-{}.sock", rustix::process::getuid().as_raw()).into())
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// What parsing the process's arguments came to.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command to run.
    Run(Cli),
    /// Text that was asked for: `--help` or `--version`.
    Text(String),
}

/// Reads the arguments. A mistake becomes one line with the help command to run.
pub(crate) fn parse<I>(args: I) -> Result<Parsed, Failure>
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    let error = match Cli::try_parse_from(args) {
        Ok(cli) => return Ok(Parsed::Run(cli)),
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Ok(Parsed::Text(error.to_string()));
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::Usage("no command given; `sync-cli --help` lists them".into()));
    }
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    Err(Failure::Usage(format!("{said}; add --help to the command to see what it takes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn usage(line: &str) -> String {
        match parse(line.split(' ')) {
            Err(Failure::Usage(text)) => text,
            other => panic!("expected a usage error, got {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_one_line_that_names_the_argument() {
        for (line, named) in [
            ("sync-cli run --max-crdt 5", "--max-crdts"),
            ("sync-cli run --listen", "--listen"),
            ("sync-cli config check a.toml --config b.toml", "--config"),
            ("sync-cli counter add k ten", "ten"),
            ("sync-cli demo --nodes 1", "1"),
            ("sync-cli demo --bogus", "--bogus"),
            ("sync-cli fly", "fly"),
            ("sync-cli converge --timeout 0", "0"),
            ("sync-cli converge --all --dry-run", "--dry-run"),
            ("sync-cli diff a.sock", "<B>"),
            ("sync-cli flag add k", "add"),
            ("sync-cli grow-counter add k -5", "-5"),
            ("sync-cli map put k f", "<VALUE>"),
            ("sync-cli map put k f tea --as json", "needs double quotes"),
            ("sync-cli map put k f tea --as yaml", "yaml"),
            ("sync-cli set add k e --visible most", "most"),
            ("sync-cli set add k e --timeout 5", "--visible"),
            ("sync-cli set ls k --visible all", "--visible"),
        ] {
            let text = usage(line);
            assert!(text.contains(named), "{line}: {text}");
            assert!(!text.contains('\n'), "{line}: {text}");
        }
        assert!(usage("sync-cli").contains("no command"));
    }

    #[test]
    fn a_negative_number_is_a_number_and_json_may_stand_anywhere() {
        for line in ["sync-cli --json counter add stock/7 -5", "sync-cli counter add stock/7 -5 --json"] {
            let Ok(Parsed::Run(Cli { json: true, command })) = parse(line.split(' ')) else {
                panic!("{line} does not parse");
            };
            let Command::Op(OpCommand { body, .. }) = command else { panic!("{line} is no operation") };
            assert_eq!(body["by"], -5);
        }
    }

    #[test]
    fn a_setting_has_a_flag_and_peers_may_be_given_one_by_one() {
        let line = "sync-cli run --max-crdts 5 --peer a:1 --peers b:1,c:1 --memory --config f.toml";
        let Ok(Parsed::Run(Cli { command: Command::Run(args), .. })) = parse(line.split(' ')) else {
            panic!("{line} does not parse");
        };
        let values = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("memory", values(&["true"])),
            ("peers", values(&["a:1", "b:1", "c:1"])),
            ("max_crdts", values(&["5"])),
        ];
        assert_eq!(args.flags, expected);
        assert_eq!(args.config, Some("f.toml".into()));
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, ms) in
            [("500ms", 500), ("90", 90_000), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000)]
        {
            assert_eq!(ops::duration_ms(text), Ok(ms));
        }
        for text in ["", "s", "0", "0d", "1.5h", "-1s", "5 m", "9w", "99999999999999d"] {
            assert!(ops::duration_ms(text).is_err(), "{text}");
        }
        assert!(usage("sync-cli set add k e --expires-in 9w").contains("9w"));
    }

    #[test]
    fn every_command_documents_what_it_does() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
                assert!(!about.is_empty(), "{} has no description", sub.get_name());
                assert!(!about.starts_with("Which running node"), "{} has another's", sub.get_name());
                walk(sub);
            }
        }
        walk(&Cli::command());
    }
}
