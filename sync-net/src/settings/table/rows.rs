//! The table: every setting once.
//!
//! Defaults stand where they always stood, in [`Limits`](sync_core::limits::Limits) and [`Timing`], and are read out of
//! there. The order is that of the default file, and the order in which values are put: a setting that others follow
//! comes before them.

use std::path::PathBuf;

use sync_core::class::{Class, NoClass};
use sync_core::limits::Timing;
use sync_core::message::LABEL_BYTES_MAX;
use sync_core::node::NAMESPACE_NAME_BYTES_MAX;
use sync_core::time::Span;

use super::{Access, Group, Reload, Setting};
use crate::settings::LogFormat;
use crate::settings::value::{self, Kind, Value};
use crate::storage::Durability;

fn misfit<T>() -> Result<T, String> {
    Err("this kind of value does not belong here".to_owned())
}

fn narrow<T: TryFrom<u64>>(value: &Value) -> Result<T, String> {
    match value {
        Value::Count(n) | Value::Size(n) => {
            T::try_from(*n).map_err(|_| format!("{n} is too much for this machine"))
        }
        Value::Unset | Value::Time(_) | Value::Flag(_) | Value::Text(_) | Value::List(_) => misfit(),
    }
}

/// Nothing that a setting bounds comes near 2^64.
fn wide<T: TryInto<u64>>(n: T) -> u64 {
    n.try_into().unwrap_or(u64::MAX)
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Unset
        | Value::Count(_)
        | Value::Size(_)
        | Value::Time(_)
        | Value::Flag(_)
        | Value::List(_) => misfit(),
    }
}

fn span(value: &Value) -> Result<Span, String> {
    match value {
        Value::Time(span) => Ok(*span),
        Value::Unset
        | Value::Count(_)
        | Value::Size(_)
        | Value::Flag(_)
        | Value::Text(_)
        | Value::List(_) => misfit(),
    }
}

fn shown<T: ToString>(value: Option<T>) -> Value {
    value.map_or(Value::Unset, |value| Value::Text(value.to_string()))
}

fn path(path: Option<&PathBuf>) -> Value {
    shown(path.map(|path| path.display()))
}

/// A number or a size in a field of `Limits`, whatever integer it is.
macro_rules! limit {
    ($kind:ident, $field:ident) => {
        Access {
            get: |settings| Value::$kind(wide(settings.limits.$field)),
            put: |settings, value| {
                settings.limits.$field = narrow(&value)?;
                Ok(())
            },
        }
    };
}

/// A time in a field of `Timing`.
macro_rules! timing {
    ($field:ident) => {
        Access {
            get: |settings| Value::Time(settings.timing.$field),
            put: |settings, value| {
                settings.timing.$field = span(&value)?;
                Ok(())
            },
        }
    };
}

fn named_class(given: &str) -> Result<(String, Class), String> {
    let wrong = || format!("{} is not NAME=CLASS, such as alarms=urgent", value::shown(given));
    let (name, class) = given.rsplit_once('=').ok_or_else(wrong)?;
    if name.is_empty() || name.len() > NAMESPACE_NAME_BYTES_MAX {
        return Err(format!(
            "{} bytes are no name of a namespace: it has 1 to {NAMESPACE_NAME_BYTES_MAX}",
            name.len()
        ));
    }
    Ok((name.to_owned(), class.parse().map_err(|error: NoClass| error.to_string())?))
}

const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 3_600_000;
const NO_EXAMPLE: &str = "";
const LOG_FORM: &str =
    "a level (off, error, warn, info, debug or trace), or TARGET=LEVEL, or several of them with commas";

/// Every setting, in the order of the default file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "dir",
        kind: Kind::Path,
        group: Group::Node,
        about: "The folder with ca.pem, node.pem and node.key: who this node is, and whose nodes it talks to.",
        edge: "A node does not start without it.",
        reload: Reload::Restart,
        default: "none",
        example: "/etc/sync/node-1",
        field: "",
        access: Access {
            get: |settings| path(settings.dir.as_ref()),
            put: |settings, value| {
                settings.dir = Some(text(value)?.into());
                Ok(())
            },
        },
    },
    Setting {
        key: "data",
        kind: Kind::Path,
        group: Group::Node,
        about: "The data folder, made if need be. It serves one node.",
        edge: "Contradicts memory.",
        reload: Reload::Restart,
        default: "data in dir",
        example: "/var/lib/sync/node-1",
        field: "",
        access: Access {
            get: |settings| path(settings.data_folder().as_ref()),
            put: |settings, value| {
                settings.data = Some(text(value)?.into());
                Ok(())
            },
        },
    },
    Setting {
        key: "memory",
        kind: Kind::Flag,
        group: Group::Node,
        about: "Keep the state in memory alone.",
        edge: "What no other running node holds is gone when the node ends.",
        reload: Reload::Restart,
        default: "",
        example: NO_EXAMPLE,
        field: "",
        access: Access {
            get: |settings| Value::Flag(settings.memory),
            put: |settings, value| {
                let Value::Flag(memory) = value else { return misfit() };
                settings.memory = memory;
                Ok(())
            },
        },
    },
    Setting {
        key: "durability",
        kind: Kind::Choice(&["immediate", "grouped", "none"]),
        group: Group::Node,
        about: "When a write is answered: on the disk (immediate), the same within 10 ms together with others (grouped), or \
                at once (none).",
        edge: "A write that names a level of its own keeps it. Contradicts memory.",
        reload: Reload::Restart,
        default: "",
        example: NO_EXAMPLE,
        field: "",
        access: Access {
            get: |settings| Value::Text(settings.durability.name().to_owned()),
            put: |settings, value| {
                settings.durability =
                    text(value)?.parse::<Durability>().map_err(|error| error.to_string())?;
                Ok(())
            },
        },
    },
    Setting {
        key: "listen",
        kind: Kind::Text("an IP address and a port, such as 10.0.0.1:7000 or [::]:7000"),
        group: Group::Node,
        about: "The UDP address to listen on for peers, and to dial from; port 0 lets the system choose.",
        edge: "A node does not start without it: an address that nobody chose is out of reach, or open to all.",
        reload: Reload::Restart,
        default: "none",
        example: "0.0.0.0:7000",
        field: "",
        access: Access {
            get: |settings| shown(settings.listen),
            put: |settings, value| {
                let given = text(value)?;
                let wrong = |_| {
                    format!(
                        "{} is no IP address and port, such as 10.0.0.1:7000 or [::]:7000",
                        value::shown(&given)
                    )
                };
                settings.listen = Some(given.parse().map_err(wrong)?);
                Ok(())
            },
        },
    },
    Setting {
        key: "peers",
        kind: Kind::List("HOST:PORT, or ID@HOST:PORT to accept there one node only"),
        group: Group::Node,
        about: "Peers to dial and to keep dialling. Those that dial this node need no entry.",
        edge: "At a reload, who is new is dialled and who is gone is not dialled any more, nor waited for; its link is closed, \
               and if it dials this node it is a guest. What `peers add` and `peers remove` did stays.",
        reload: Reload::Now,
        default: "none",
        example: "[\"node-2.example:7000\", \"node-3.example:7000\"]",
        field: "",
        access: Access {
            get: |settings| Value::List(settings.peers.iter().map(ToString::to_string).collect()),
            put: |settings, value| {
                let Value::List(peers) = value else { return misfit() };
                let peers = peers
                    .iter()
                    .map(|peer| peer.parse().map_err(|error: crate::PeerAddrError| error.to_string()));
                settings.peers = peers.collect::<Result<_, _>>()?;
                Ok(())
            },
        },
    },
    Setting {
        key: "namespaces",
        kind: Kind::List("NAME=CLASS, where CLASS is urgent, normal or bulk"),
        group: Group::Node,
        about: "Namespaces to open beside the default one, which is normal; `namespaces open` opens others while a node runs.",
        edge: "One is exchanged with the nodes that have it open too. What a name kept from an earlier run is there again.",
        reload: Reload::Restart,
        default: "none",
        example: "[\"alarms=urgent\", \"archive=bulk\"]",
        field: "",
        access: Access {
            get: |settings| {
                let shown = |(name, class): &(String, Class)| format!("{name}={class}");
                Value::List(settings.namespaces.iter().map(shown).collect())
            },
            put: |settings, value| {
                let Value::List(given) = value else { return misfit() };
                settings.namespaces = given.iter().map(|one| named_class(one)).collect::<Result<_, _>>()?;
                Ok(())
            },
        },
    },
    Setting {
        key: "cluster",
        kind: Kind::Text("text of at most 64 bytes"),
        group: Group::Node,
        about: "The cluster's label: a guard against mixing two clusters of one authority, not a secret.",
        edge: "Peers with another label are refused.",
        reload: Reload::Restart,
        default: "",
        example: NO_EXAMPLE,
        field: "",
        access: Access {
            get: |settings| Value::Text(settings.cluster.clone()),
            put: |settings, value| {
                let label = text(value)?;
                if label.len() > LABEL_BYTES_MAX {
                    return Err(format!(
                        "{} bytes are more than the {LABEL_BYTES_MAX} that a label may have",
                        label.len()
                    ));
                }
                settings.cluster = label;
                Ok(())
            },
        },
    },
    Setting {
        key: "socket",
        kind: Kind::Path,
        group: Group::Node,
        about: "The local socket, which the commands talk to. They look at its variable too, and not at the file.",
        edge: "Only its owner can open it. Its path must be below 90 bytes.",
        reload: Reload::Restart,
        default: "sync.sock in $XDG_RUNTIME_DIR, else /tmp/sync-UID.sock",
        example: "/run/sync/node-1.sock",
        field: "",
        access: Access {
            get: |settings| path(settings.socket.as_ref()),
            put: |settings, value| {
                settings.socket = Some(text(value)?.into());
                Ok(())
            },
        },
    },
    Setting {
        key: "log",
        kind: Kind::Text(LOG_FORM),
        group: Group::Node,
        about: "What goes to the log on standard error.",
        edge: "debug tells of every link and repair, trace of every frame.",
        reload: Reload::Now,
        default: "what RUST_LOG says, else info",
        example: "info",
        field: "",
        access: Access {
            get: |settings| shown(settings.log.as_ref()),
            put: |settings, value| {
                if value == Value::Unset {
                    settings.log = None;
                    return Ok(());
                }
                let filter = text(value)?;
                if !filter.split(',').all(is_directive) {
                    return Err(format!("{} is not {LOG_FORM}", value::shown(&filter)));
                }
                settings.log = Some(filter);
                Ok(())
            },
        },
    },
    Setting {
        key: "log_format",
        kind: Kind::Choice(&["text", "json"]),
        group: Group::Node,
        about: "How the log is written: a line of text an event, or an object of JSON a line.",
        edge: "",
        reload: Reload::Restart,
        default: "",
        example: NO_EXAMPLE,
        field: "",
        access: Access {
            get: |settings| {
                Value::Text(match settings.log_format {
                    LogFormat::Text => "text".to_owned(),
                    LogFormat::Json => "json".to_owned(),
                })
            },
            put: |settings, value| {
                let is_json = text(value)? == "json";
                settings.log_format = if is_json { LogFormat::Json } else { LogFormat::Text };
                Ok(())
            },
        },
    },
    Setting {
        key: "max_crdts",
        kind: Kind::Count(1, 1_000_000_000),
        group: Group::Store,
        about: "Most CRDTs in a namespace.",
        edge: "Creating one more here is refused; what peers created comes in all the same.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "crdts_max",
        access: limit!(Count, crdts_max),
    },
    Setting {
        key: "max_bytes",
        kind: Kind::Size(1, 1 << 42),
        group: Group::Store,
        about: "Most accounted bytes in a namespace.",
        edge: "Writes here that grow it beyond are refused; removes pass. Four settings follow it.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "store_bytes_max",
        access: Access {
            get: |settings| Value::Size(settings.limits.store_bytes_max),
            put: |settings, value| {
                let limits = std::mem::take(&mut settings.limits);
                let crdts = limits.crdts_max;
                settings.limits = limits.with_room(crdts, narrow(&value)?);
                Ok(())
            },
        },
    },
    Setting {
        key: "max_bytes_ceiling",
        kind: Kind::Size(1, 1 << 43),
        group: Group::Store,
        about: "Most accounted bytes that what comes from peers may leave behind.",
        edge: "What would grow the store beyond is refused whole, and comes again: the node is degraded until data are \
               removed.",
        reload: Reload::Now,
        default: "twice max_bytes",
        example: NO_EXAMPLE,
        field: "store_bytes_ceiling",
        access: limit!(Size, store_bytes_ceiling),
    },
    Setting {
        key: "max_namespaces",
        kind: Kind::Count(1, 256),
        group: Group::Store,
        about: "Namespaces kept, the default one and closed ones too.",
        edge: "One more is not opened. Those that are kept stay.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "namespaces_max",
        access: limit!(Count, namespaces_max),
    },
    Setting {
        key: "max_node_bytes",
        kind: Kind::Size(1, 1 << 44),
        group: Group::Store,
        about: "What the stores of all namespaces may come to: their max_bytes_ceiling, added.",
        edge: "A namespace that would take it further is not opened.",
        reload: Reload::Now,
        default: "1GiB, and four times max_bytes at least",
        example: NO_EXAMPLE,
        field: "node_bytes_max",
        access: limit!(Size, node_bytes_max),
    },
    Setting {
        key: "max_crdt_bytes",
        kind: Kind::Size(1, 1 << 42),
        group: Group::Store,
        about: "Most accounted bytes of one CRDT, so that one that runs away leaves the others room.",
        edge: "Writes here that grow it beyond are refused.",
        reload: Reload::Now,
        default: "half of max_bytes",
        example: NO_EXAMPLE,
        field: "crdt_bytes_max",
        access: limit!(Size, crdt_bytes_max),
    },
    Setting {
        key: "max_crdt_cells",
        kind: Kind::Count(1, 1 << 40),
        group: Group::Store,
        about: "Most elements, fields or owners of one CRDT.",
        edge: "Writes here that add one more are refused.",
        reload: Reload::Now,
        default: "one for each 256 bytes of max_bytes",
        example: NO_EXAMPLE,
        field: "crdt_cells_max",
        access: limit!(Count, crdt_cells_max),
    },
    Setting {
        key: "max_group_size",
        kind: Kind::Size(68 << 10, 128 << 20),
        group: Group::Store,
        about: "Most bytes of keys, paths and values in one group of writes. Room for the longest value, 64KiB, and its path is \
                the least.",
        edge: "A larger group is refused whole. Must be below max_message_size.",
        reload: Reload::Restart,
        default: "",
        example: NO_EXAMPLE,
        field: "group_bytes_max",
        access: limit!(Size, group_bytes_max),
    },
    Setting {
        key: "max_log_entries",
        kind: Kind::Count(1, 100_000_000),
        group: Group::Repair,
        about: "Most entries of the status log. Choose above the writes of the longest pause that pushes shall bridge.",
        edge: "The oldest goes with the next write; a peer that lacked it catches up by a repair, one round trip more.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "log_entries_max",
        access: Access {
            get: |settings| Value::Count(wide(settings.limits.log_entries_max)),
            put: |settings, value| {
                settings.limits.log_entries_max = narrow(&value)?;
                settings.limits.log_intervals_max = settings.limits.log_entries_max.saturating_mul(16);
                Ok(())
            },
        },
    },
    Setting {
        key: "max_records",
        kind: Kind::Count(1, 100_000_000),
        group: Group::Repair,
        about: "Most records of removes, for peers that missed them.",
        edge: "The oldest goes with the next one; a peer that lacked it is repaired by a longer answer.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "records_max",
        access: limit!(Count, records_max),
    },
    Setting {
        key: "max_records_bytes",
        kind: Kind::Size(1, 1 << 36),
        group: Group::Repair,
        about: "Most bytes of these records.",
        edge: "As max_records.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "records_bytes_max",
        access: limit!(Size, records_bytes_max),
    },
    Setting {
        key: "max_staging_bytes",
        kind: Kind::Size(1, 1 << 44),
        group: Group::Repair,
        about: "Most bytes of a large answer on its way in, such as the whole store for a newcomer.",
        edge: "What is longer is dropped, and asked for again at the next round. Choose above max_bytes_ceiling of the peers.",
        reload: Reload::Now,
        default: "four times max_bytes",
        example: NO_EXAMPLE,
        field: "staging_bytes_max",
        access: limit!(Size, staging_bytes_max),
    },
    Setting {
        key: "max_peers",
        kind: Kind::Count(1, 10_000),
        group: Group::Links,
        about: "Peers linked at a time.",
        edge: "One more is refused with PeersFull. Who is linked when it is lowered stays.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "peers_max",
        access: limit!(Count, peers_max),
    },
    Setting {
        key: "max_message_size",
        kind: Kind::Size(72 << 10, 256 << 20),
        group: Group::Links,
        about: "Longest message. Give all nodes the same.",
        edge: "A longer one is refused unread and counts against its sender; what is too long to be pushed comes by a repair in \
               parts.",
        reload: Reload::Restart,
        default: "",
        example: NO_EXAMPLE,
        field: "message_bytes_max",
        access: limit!(Size, message_bytes_max),
    },
    Setting {
        key: "max_queue_size",
        kind: Kind::Count(1, 1_000_000),
        group: Group::Links,
        about: "Messages built for a peer and not yet written.",
        edge: "No more are built for it until it reads; nothing is lost, its place in the log waits.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "outbox_frames_max",
        access: limit!(Count, outbox_frames_max),
    },
    Setting {
        key: "max_queue_bytes",
        kind: Kind::Size(1, 1 << 34),
        group: Group::Links,
        about: "Their bytes.",
        edge: "As max_queue_size.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "outbox_bytes_max",
        access: limit!(Size, outbox_bytes_max),
    },
    Setting {
        key: "urgent_rate",
        kind: Kind::Size(0, 1 << 40),
        group: Group::Links,
        about: "Bytes a second of messages of urgent namespaces to one peer; 0 for as fast as it goes.",
        edge: "Beyond it nothing is built; what waits is a place in the log.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "urgent_rate_max",
        access: limit!(Size, urgent_rate_max),
    },
    Setting {
        key: "normal_rate",
        kind: Kind::Size(0, 1 << 40),
        group: Group::Links,
        about: "Bytes a second of messages of normal namespaces to one peer; 0 for as fast as it goes.",
        edge: "The default namespace is one of them. Beyond it nothing is built.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "normal_rate_max",
        access: limit!(Size, normal_rate_max),
    },
    Setting {
        key: "bulk_rate",
        kind: Kind::Size(0, 1 << 40),
        group: Group::Links,
        about: "Bytes a second of messages of bulk namespaces to one peer; 0 for as fast as it goes.",
        edge: "It falls, down to a sixteenth, while the queues of the other classes to that peer fill.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "bulk_rate_max",
        access: limit!(Size, bulk_rate_max),
    },
    Setting {
        key: "rate_burst",
        kind: Kind::Size(1, 1 << 40),
        group: Group::Links,
        about: "Bytes that may go to a peer at once, after a pause, in a class with a rate.",
        edge: "One message always may.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "rate_burst_bytes",
        access: limit!(Size, rate_burst_bytes),
    },
    Setting {
        key: "sync_interval",
        kind: Kind::Time(100, DAY),
        group: Group::Times,
        about: "At rest, one comparison with each peer in this time, and up to a quarter more.",
        edge: "What was lost on the way is made good that late. Above 30s, members' clocks count for twice as long.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "sync_interval",
        access: Access {
            get: |settings| Value::Time(settings.timing.sync_interval),
            put: |settings, value| {
                let interval = span(&value)?;
                settings.timing.sync_interval = interval;
                // Members must be heard often enough to outvote a wrong clock.
                let twice = Span::from_micros(interval.as_micros().saturating_mul(2));
                settings.timing.clock_window = twice.max(Timing::default().clock_window);
                Ok(())
            },
        },
    },
    Setting {
        key: "sync_timeout",
        kind: Kind::Time(10, HOUR),
        group: Group::Times,
        about: "How long an exchange may go without progress, and an acknowledgement may be overdue.",
        edge: "It is asked, or sent, again; three in a row open the peer's breaker.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "sync_timeout",
        access: timing!(sync_timeout),
    },
    Setting {
        key: "catch_up_spread",
        kind: Kind::Time(0, HOUR),
        group: Group::Times,
        about: "When more than eight peers come back together, what they missed is sent over so long and not at once.",
        edge: "No peer waits longer; 0 for never. A few writes, urgent ones and a peer that comes back alone do not wait.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "catch_up_spread",
        access: timing!(catch_up_spread),
    },
    Setting {
        key: "cleanup_interval",
        kind: Kind::Time(100, DAY),
        group: Group::Times,
        about: "How often a node looks for marks and counter floors that nothing can meet any more.",
        edge: "They are kept that much longer.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "cleanup_interval",
        access: timing!(cleanup_interval),
    },
    Setting {
        key: "scrub_period",
        kind: Kind::Time(1_000, 30 * DAY),
        group: Group::Times,
        about: "In this time the hashes of all cells in memory are checked once.",
        edge: "Damaged memory is found that late. Half the time costs twice the work.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "scrub_period",
        access: timing!(scrub_period),
    },
    Setting {
        key: "breaker_failures",
        kind: Kind::Count(0, 1_000),
        group: Group::Breaker,
        about: "Failures of a peer in a row that open its breaker.",
        edge: "With 0 none opens by itself.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_failures_max",
        access: limit!(Count, breaker_failures_max),
    },
    Setting {
        key: "breaker_open",
        kind: Kind::Time(100, DAY),
        group: Group::Breaker,
        about: "How long a peer that broke the protocol, or was tripped, is shut out.",
        edge: "Doubled each time that its breaker opens again.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_open",
        access: timing!(breaker_open),
    },
    Setting {
        key: "breaker_open_max",
        kind: Kind::Time(100, 30 * DAY),
        group: Group::Breaker,
        about: "The longest that doubling comes to, but for a jitter of a quarter.",
        edge: "So long after its last breach a peer's openings are forgotten. Must not be below breaker_open.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_open_max",
        access: timing!(breaker_open_max),
    },
    Setting {
        key: "breaker_successes",
        kind: Kind::Count(1, 1_000),
        group: Group::Breaker,
        about: "Most answered probes that it takes to close a breaker which opened again and again.",
        edge: "",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_successes_max",
        access: limit!(Count, breaker_successes_max),
    },
    Setting {
        key: "breaker_removal",
        kind: Kind::Count(0, 1_000),
        group: Group::Breaker,
        about: "A breaker that opens so often in a row takes its peer off the list.",
        edge: "With 0 none does. `peers add` or a restart puts it back.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_opens_max",
        access: limit!(Count, breaker_opens_max),
    },
    Setting {
        key: "breaker_probe_min",
        kind: Kind::Time(10, HOUR),
        group: Group::Breaker,
        about: "Shortest wait before a peer that cannot be reached is probed.",
        edge: "",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_probe_min",
        access: timing!(breaker_probe_min),
    },
    Setting {
        key: "breaker_probe_max",
        kind: Kind::Time(10, HOUR),
        group: Group::Breaker,
        about: "Longest such wait, and how long a probe may stay unanswered.",
        edge: "The probe has failed. Must be above a round trip, and not below breaker_probe_min.",
        reload: Reload::Now,
        default: "",
        example: NO_EXAMPLE,
        field: "breaker_probe_max",
        access: timing!(breaker_probe_max),
    },
];

/// One part of a log filter.
fn is_directive(text: &str) -> bool {
    let is_level = |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    let is_target = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    match text.split_once('=') {
        None => is_level(text),
        Some((target, level)) => is_target(target) && is_level(level),
    }
}
