//! The command line: what can be asked, and where a running node is found.
//!
//! `clap` parses; this file only says what exists. A mistake on the command line comes back as one
//! line ([`Failure::Usage`]), like every other error of the tool.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use sync_net::PeerAddr;

use crate::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; one line on standard error says what to do. diff: the nodes differ
  2  the command line is wrong, nothing was tried
  3  not converged in time, or not all peers told (converge); the line names the peers";

/// State that is the same on every node: run a node, look at it, change it.
#[derive(Debug, Parser)]
#[command(name = "sync-cli", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Print one JSON value instead of text; `diff` prints one a line.
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
    /// Run a node until it is interrupted.
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Add, remove or list elements of a set.
    #[command(subcommand)]
    Set(SetCommand),
    /// Put, remove, get or list fields of a map.
    #[command(subcommand)]
    Map(MapCommand),
    /// Add to, read or reset a counter.
    #[command(subcommand)]
    Counter(CounterCommand),
    /// Set, get or clear a register.
    #[command(subcommand)]
    Register(RegisterCommand),
    /// List the keys that start with PREFIX, or all.
    Keys {
        /// The start of the keys to list.
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show the node's state; with KEY, every cell of that key with its events.
    Inspect {
        /// The key to show.
        key: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List the node's peers and its link to each.
    Peers {
        #[command(flatten)]
        target: Target,
    },
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
        target: Target,
    },
    /// Tell what two running nodes hold differently, and whether events that one lacks explain it.
    #[command(after_help = EXIT_CODES)]
    Diff {
        /// The local socket of a node, or a directory with its sync.sock.
        a: PathBuf,
        /// That of the other.
        b: PathBuf,
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

/// What a node needs to run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The directory with ca.pem, node.pem and node.key (see `certs issue`).
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The UDP address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: SocketAddr,
    /// A peer to dial, with or without the node id it must have; may be given many times.
    #[arg(long = "peer", value_name = "[ID@]HOST:PORT")]
    pub(crate) peers: Vec<PeerAddr>,
    /// The cluster's label; peers with another label are refused.
    #[arg(long, value_name = "L", default_value = "default")]
    pub(crate) cluster: String,
    /// Refuse to create more CRDTs than this on this node [default: 10000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_crdts: Option<u64>,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SetCommand {
    /// Add ELEMENT to the set at KEY.
    Add {
        key: String,
        element: String,
        #[command(flatten)]
        expiry: Expiry,
        #[command(flatten)]
        target: Target,
    },
    /// Remove ELEMENT from the set at KEY, as far as this node has seen it added.
    Rm {
        key: String,
        element: String,
        #[command(flatten)]
        target: Target,
    },
    /// List the elements of the set at KEY, one a line.
    Ls {
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MapCommand {
    /// Put VALUE at FIELD of the map at KEY.
    Put {
        key: String,
        field: String,
        value: String,
        #[command(flatten)]
        expiry: Expiry,
        #[command(flatten)]
        target: Target,
    },
    /// Remove FIELD from the map at KEY, as far as this node has seen it written.
    Rm {
        key: String,
        field: String,
        #[command(flatten)]
        target: Target,
    },
    /// Print the value at FIELD of the map at KEY; exit code 1 if there is none.
    Get {
        key: String,
        field: String,
        #[command(flatten)]
        target: Target,
    },
    /// List the fields of the map at KEY with their values.
    Ls {
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CounterCommand {
    /// Add BY, which may be negative, to the counter at KEY.
    Add {
        key: String,
        #[arg(allow_negative_numbers = true)]
        by: i64,
        #[command(flatten)]
        target: Target,
    },
    /// Print the counter at KEY; a counter nobody has written is 0.
    Get {
        key: String,
        #[command(flatten)]
        target: Target,
    },
    /// Take back what this node has seen added to the counter at KEY.
    Reset {
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegisterCommand {
    /// Set the register at KEY to VALUE.
    Set {
        key: String,
        value: String,
        #[command(flatten)]
        expiry: Expiry,
        #[command(flatten)]
        target: Target,
    },
    /// Print the register at KEY; exit code 1 if nothing was set.
    Get {
        key: String,
        #[command(flatten)]
        target: Target,
    },
    /// Clear the register at KEY, as far as this node has seen it set.
    Clear {
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

/// When what is written expires.
#[derive(Debug, Args)]
pub(crate) struct Expiry {
    /// Let it expire after this time, such as 500ms, 90s, 15m, 12h or 30d; a plain number is seconds. It goes
    /// some seconds later, on all nodes at one point of the state's history.
    #[arg(long, value_name = "TIME", value_parser = duration_ms)]
    expires_in: Option<u64>,
}

impl Expiry {
    /// The body of a write, with the time in it if there is one.
    pub(crate) fn into_body(self, mut body: serde_json::Value) -> serde_json::Value {
        if let Some(after_ms) = self.expires_in {
            body["expires_in_ms"] = after_ms.into();
        }
        body
    }
}

/// Milliseconds of a time such as `90s`.
fn duration_ms(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("{other:?} is no unit of time; use ms, s, m, h or d")),
    };
    let number: u64 = number.parse().map_err(|_| "a time begins with a whole number".to_owned())?;
    match number.checked_mul(unit_ms) {
        None => Err("that is longer than any clock counts".to_owned()),
        Some(0) => Err("it would be dead at once".to_owned()),
        Some(ms) => Ok(ms),
    }
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
        let from_env = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.socket
            .clone()
            .or_else(|| from_env("SYNC_SOCKET"))
            .or_else(|| from_env("XDG_RUNTIME_DIR").map(|dir| dir.join("sync.sock")))
            .unwrap_or_else(|| format!("/tmp/sync-{}.sock", rustix::process::getuid().as_raw()).into())
    }
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
            ("sync-cli run --dir x", "--listen"),
            ("sync-cli run --dir x --listen nowhere", "nowhere"),
            ("sync-cli run --dir x --listen [::]:0 --peer nowhere", "the port is missing"),
            ("sync-cli counter add k ten", "ten"),
            ("sync-cli demo --nodes 1", "1"),
            ("sync-cli demo --bogus", "--bogus"),
            ("sync-cli fly", "fly"),
            ("sync-cli converge --timeout 0", "0"),
            ("sync-cli converge --all --dry-run", "--dry-run"),
            ("sync-cli diff a.sock", "<B>"),
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
            assert!(matches!(command, Command::Counter(CounterCommand::Add { by: -5, .. })));
        }
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, ms) in
            [("500ms", 500), ("90", 90_000), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000)]
        {
            assert_eq!(duration_ms(text), Ok(ms));
        }
        for text in ["", "s", "0", "0d", "1.5h", "-1s", "5 m", "9w", "99999999999999d"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
        assert!(usage("sync-cli set add k e --expires-in 9w").contains("9w"));
    }

    #[test]
    fn every_command_documents_what_it_does() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                assert!(sub.get_about().is_some(), "{} has no description", sub.get_name());
                walk(sub);
            }
        }
        walk(&Cli::command());
    }
}
