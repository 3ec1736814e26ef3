//! The commands for CRDTs, one for each type with a command for each operation: made from the engine's table.
//!
//! `sync-cli TYPE OP KEY ARGS...`; what an operation takes becomes arguments here, and a request's body.

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches, Subcommand, value_parser};
use serde_json::{Map, Value as Json, json};
use sync_net::ops::{self, Op, TYPES, Type};
use sync_net::{Stored, Value};

use super::{DataTarget, VisibleArgs, WriteArgs};

/// One operation on one CRDT.
#[derive(Debug)]
pub(crate) struct OpCommand {
    pub(crate) ty: &'static Type,
    pub(crate) op: &'static Op,
    pub(crate) key: String,
    /// What the node is asked.
    pub(crate) body: Map<String, Json>,
    /// What a write then waits for.
    pub(crate) visible: Option<VisibleArgs>,
    pub(crate) target: DataTarget,
}

/// How a word on the command line is meant.
const AS: &str = "as";
const FIELD_AS: &str = "field-as";

/// The flag that says how the word for `arg` is meant; `None` if it is no element, field or value.
fn meant_by(arg: ops::Arg) -> Option<&'static str> {
    match arg {
        ops::Arg::Field => Some(FIELD_AS),
        ops::Arg::Element | ops::Arg::Value => Some(AS),
        ops::Arg::Name
        | ops::Arg::By
        | ops::Arg::Amount
        | ops::Arg::Number
        | ops::Arg::To
        | ops::Arg::Count
        | ops::Arg::Keep
        | ops::Arg::KeepMs
        | ops::Arg::ExpiresInMs => None,
    }
}

/// `arg` on the command line.
fn argument(arg: ops::Arg) -> Arg {
    let (shown, help) = match arg {
        ops::Arg::Element => ("ELEMENT", "The element"),
        ops::Arg::Field => ("FIELD", "The field"),
        ops::Arg::Name => ("NAME", "The name of the field"),
        ops::Arg::Value => ("VALUE", "The value"),
        ops::Arg::By => ("BY", "What to add"),
        ops::Arg::Amount => ("BY", "How much"),
        ops::Arg::Number => ("NUMBER", "The number"),
        ops::Arg::To => ("TO", "The owner who gets them, 32 hex digits"),
        ops::Arg::Count => ("COUNT", "How many"),
        ops::Arg::Keep => ("N", "Only the newest N entries count; use the same on every node [default: all]"),
        ops::Arg::KeepMs => {
            ("MS", "Only entries at most MS milliseconds older than the newest count [default: all]")
        }
        ops::Arg::ExpiresInMs => (
            "TIME",
            "Let it expire after this time, such as 500ms, 90s, 15m, 12h or 30d; a plain number is seconds. It goes \
             some seconds later, on all nodes at one point of the state's history [default: never]",
        ),
    };
    let plain = Arg::new(arg.name()).value_name(shown).help(help).required(!arg.is_optional());
    match arg {
        ops::Arg::Element | ops::Arg::Field | ops::Arg::Name | ops::Arg::Value | ops::Arg::To => plain,
        ops::Arg::By | ops::Arg::Number => {
            plain.value_parser(value_parser!(i64)).allow_negative_numbers(true)
        }
        ops::Arg::Amount | ops::Arg::Count => plain.value_parser(value_parser!(u64)),
        ops::Arg::Keep => plain.long("keep").value_parser(value_parser!(u64)),
        ops::Arg::KeepMs => plain.long("keep-ms").value_parser(value_parser!(u64)),
        ops::Arg::ExpiresInMs => plain.long("expires-in").value_parser(duration_ms),
    }
}

/// Milliseconds of a time such as `90s`.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
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

fn meant(flag: &'static str, what: &str) -> Arg {
    Arg::new(flag)
        .long(flag)
        .value_name("FORM")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .default_value("text")
        .help(format!("How {what} is meant: the word itself, or a value in JSON"))
}

/// Names in a nested map.
fn at() -> Arg {
    Arg::new("at")
        .long("at")
        .value_name("NAME")
        .action(ArgAction::Append)
        .help("The CRDT in field NAME of the nested map at KEY; once for each name, the outermost first")
}

fn op_command(op: &'static Op) -> Command {
    let mut command =
        Command::new(op.name).arg(Arg::new("key").value_name("KEY").required(true).help("The key"));
    command = command.args(op.args.iter().map(|arg| argument(*arg)));
    let flags = |flag| op.args.iter().any(|arg| meant_by(*arg) == Some(flag));
    if flags(AS) {
        command = command.arg(meant(AS, "the element or value"));
    }
    if flags(FIELD_AS) {
        command = command.arg(meant(FIELD_AS, "FIELD"));
    }
    if op.reads().is_some() {
        let help = "Wait, at most 10 s, until the node has the write of this token (what a write prints with --json)";
        command = command.arg(Arg::new("after").long("after").value_name("TOKEN").help(help));
    } else {
        command = WriteArgs::augment_args(command);
    }
    // What is flattened in brings a description of its own.
    DataTarget::augment_args(command.arg(at())).about(op.about)
}

fn type_command(ty: &'static Type) -> Command {
    let command = Command::new(ty.name()).about(ty.about);
    command.subcommand_required(true).arg_required_else_help(true).subcommands(ty.ops.iter().map(op_command))
}

impl Subcommand for OpCommand {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(TYPES.iter().map(type_command))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        TYPES.iter().any(|ty| ty.name() == name)
    }
}

fn wrong(text: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, text)
}

/// What `arg` becomes in the request; `None` if it was left out.
fn given(arg: ops::Arg, matches: &ArgMatches) -> Result<Option<Json>, clap::Error> {
    let name = arg.name();
    Ok(match arg {
        ops::Arg::By | ops::Arg::Number => matches.get_one::<i64>(name).map(|number| json!(number)),
        ops::Arg::Amount | ops::Arg::Count | ops::Arg::Keep | ops::Arg::KeepMs | ops::Arg::ExpiresInMs => {
            matches.get_one::<u64>(name).map(|number| json!(number))
        }
        ops::Arg::Name | ops::Arg::To => matches.get_one::<String>(name).map(|word| json!(word)),
        ops::Arg::Element | ops::Arg::Field | ops::Arg::Value => {
            let Some(word) = matches.get_one::<String>(name) else { return Ok(None) };
            let form = meant_by(arg).and_then(|flag| matches.get_one::<String>(flag));
            let stored = match form.map(String::as_str) {
                Some("json") => Stored::from_json(word)
                    .map_err(|error| wrong(format!("{name} {word:?} is no JSON value: {error}")))?,
                Some(_) | None => Stored::Value(Value::from(word.as_str())),
            };
            Some(serde_json::to_value(stored).expect("what is stored has JSON"))
        }
    })
}

impl FromArgMatches for OpCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let ty = TYPES.iter().find(|ty| ty.name() == name).ok_or_else(missing)?;
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let op = ty.ops.iter().find(|op| op.name == name).ok_or_else(missing)?;
        let key = matches.get_one::<String>("key").ok_or_else(missing)?.clone();
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(ty.name()));
        body.insert("op".to_owned(), json!(op.name));
        body.insert("key".to_owned(), json!(key));
        let at: Vec<&String> = matches.get_many("at").unwrap_or_default().collect();
        if !at.is_empty() {
            body.insert("at".to_owned(), json!(at));
        }
        let mut visible = None;
        if op.reads().is_none() {
            visible = WriteArgs::from_arg_matches(matches)?.wanted();
        } else {
            body.extend(matches.get_one::<String>("after").map(|token| ("after".to_owned(), json!(token))));
        }
        for arg in op.args {
            body.extend(given(*arg, matches)?.map(|value| (arg.name().to_owned(), value)));
        }
        Ok(Self { ty, op, key, body, visible, target: DataTarget::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
