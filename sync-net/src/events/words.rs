//! Each event in words: what happened, where, and what to do where something is to be done.
//!
//! Texts that peers or certificates chose are escaped by `Debug` or were cut and escaped by the transport.

use serde_json::{Map, Value, json};
use sync_core::breaker::BreakerState;
use sync_core::cell::{ObjectId, Path};
use sync_core::id::{NamespaceId, NodeId};
use sync_core::node::{DEFAULT_NAMESPACE, Event, Healed, Level};

use super::{NodeEvent, Severity, wall_ms};
use crate::evidence::Evidence;
use crate::renewal::{Nearness, News, Notice};
use crate::settings::{Changed, Mistakes, Reloaded};
use crate::storage::Report;
use crate::transport::TransportEvent;

/// Keys that one event names; the others are counted.
const NAMED_MAX: usize = 10;

fn event(severity: Severity, event: &str, text: impl Into<String>, fields: Value) -> NodeEvent {
    let fields = match fields {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    NodeEvent { at_ms: wall_ms(), severity, event: event.to_owned(), text: text.into(), fields }
}

/// The first keys of `cells`, each once.
fn keys(cells: &[(ObjectId, Path)]) -> Vec<String> {
    let mut keys: Vec<String> = cells.iter().map(|(object, _)| object.key.as_str().to_owned()).collect();
    keys.dedup();
    keys.truncate(NAMED_MAX);
    keys
}

/// What the core tells. `namespace` is where it happened, and what that is called; both are among the fields, and the
/// text names it unless it is the default one.
pub(super) fn of_core(told: &Event, namespace: Option<(NamespaceId, String)>) -> NodeEvent {
    let Some((id, name)) = namespace else { return said(told, "") };
    let mut event = said(told, &name);
    let names_it = matches!(told, Event::NamespaceOpened { .. } | Event::NamespaceClosed { .. });
    if name != DEFAULT_NAMESPACE && !names_it {
        event.text.push_str(&format!(" (namespace {name:?})"));
    }
    event.fields.insert("namespace".to_owned(), id.to_hex().into());
    event.fields.insert("namespace_name".to_owned(), name.into());
    event
}

fn said(told: &Event, namespace_name: &str) -> NodeEvent {
    use Severity::{Alarm, Info, Warning};
    let short = NodeId::short;
    match told {
        Event::Changed(changed) => {
            let places = changed.changes.len();
            event(Info, "changed", format!("{places} places changed"), json!({ "places": places }))
        }
        Event::Conflicts { conflicts, .. } => {
            let count = conflicts.len();
            let text = format!("{count} writes of this node met concurrent ones that they contradict");
            event(Info, "conflicts", text, json!({ "count": count }))
        }
        Event::TypesMet { key, ty, others, .. } => {
            let key = key.as_str();
            let text = format!("{key:?} holds several types; opened without a type it reads as {ty:?}");
            let others: Vec<String> = others.iter().map(|ty| format!("{ty:?}")).collect();
            event(
                Warning,
                "types_met",
                text,
                json!({ "key": key, "type": format!("{ty:?}"), "others": others }),
            )
        }
        Event::Breaker { peer, from, to, reason } => {
            let text = format!(
                "the breaker of {} went from {} to {}: {reason}",
                short(peer),
                from.name(),
                to.name()
            );
            let (severity, reason) =
                (if *to == BreakerState::Closed { Info } else { Warning }, reason.to_string());
            let fields =
                json!({ "peer": peer.to_hex(), "from": from.name(), "to": to.name(), "reason": reason });
            event(severity, "breaker", text, fields)
        }
        Event::PeerUp { peer, incarnation } => {
            let text = format!("peer {} introduced itself", short(peer));
            let fields = json!({ "peer": peer.to_hex(), "incarnation": incarnation.to_hex() });
            event(Info, "peer_up", text, fields)
        }
        Event::Traced { peer, trace } => {
            let text = match trace {
                Some(trace) => format!("peer {} goes on with trace {}", short(peer), trace.trace_id()),
                None => format!("peer {} has ended its trace", short(peer)),
            };
            let fields = json!({ "peer": peer.to_hex(), "trace": trace.map(|trace| trace.to_string()) });
            event(Info, "traced", text, fields)
        }
        Event::PeerDown { peer } => {
            let text = format!("peer {} is gone", short(peer));
            event(Info, "peer_down", text, json!({ "peer": peer.to_hex() }))
        }
        Event::SessionDone { peer, items, by, .. } => {
            let by = format!("{by:?}").to_lowercase();
            let text = format!("repaired from {}: {items} new items, by {by}", short(peer));
            event(Info, "session_done", text, json!({ "peer": peer.to_hex(), "items": items, "by": by }))
        }
        Event::Bootstrap { peer, items, items_total, .. } => {
            let text = format!("{items} of {items_total} items of a large answer came from {}", short(peer));
            let fields = json!({ "peer": peer.to_hex(), "items": items, "items_total": items_total });
            event(Info, "bootstrap", text, fields)
        }
        Event::FrameRefused { peer, error } => {
            let text =
                format!("a frame of {} was refused whole, the state is as before: {error}", short(peer));
            let fields = json!({ "peer": peer.to_hex(), "error": error.to_string(), "violation": error.is_violation() });
            event(Warning, "frame_refused", text, fields)
        }
        Event::Pressure { bound, level, used, max, .. } => {
            let severity = if bound.is_ring() || *level == Level::Low { Info } else { Warning };
            let (name, edge) = (bound.name(), bound.edge());
            let text = format!("{name} is at {level}: {used} of {max}; {edge}");
            let fields = json!({ "bound": name, "level": level.to_string(), "used": used, "max": max });
            event(severity, "pressure", text, fields)
        }
        Event::Degraded { bytes, after, max, .. } => {
            let text = format!(
                "a join was refused: it would take the store from {bytes} to {after} bytes, above the ceiling of {max}; \
                 remove data, or raise store_bytes_ceiling"
            );
            event(Alarm, "degraded", text, json!({ "bytes": bytes, "after": after, "max": max }))
        }
        Event::Fenced { peer, old, new, owner, claimed, minted } => {
            let text = format!(
                "somebody else lives under this replica's id: {} showed {claimed} events of it, this node has made \
                 {minted}; new ids were taken, look for a copied key or data folder",
                short(peer)
            );
            let fields = json!({
                "peer": peer.to_hex(), "old": old.to_hex(), "new": new.to_hex(), "owner": owner.to_hex(),
                "claimed": claimed, "minted": minted
            });
            event(Alarm, "fenced", text, fields)
        }
        Event::OwnerDoubled { peer, object, own, other, old, new, .. } => {
            let key = object.key.as_str();
            let text = format!(
                "another life counts under this node's counter owner, seen in {key:?} from {}: the data folder was copied \
                 or set back; stop the other process that has this certificate",
                short(peer)
            );
            let fields = json!({
                "peer": peer.to_hex(), "key": key, "own": own.to_hex(), "other": other.to_hex(),
                "old": old.to_hex(), "new": new.to_hex()
            });
            event(Alarm, "owner_doubled", text, fields)
        }
        Event::Diverged { peer, .. } => {
            let text = format!(
                "this node and {} know the same events and hold different state: one of them is damaged; healing has \
                 begun, check the memory and disks of both machines",
                short(peer)
            );
            event(Alarm, "diverged", text, json!({ "peer": peer.to_hex() }))
        }
        Event::Corrupt { cells, .. } => {
            let text = format!(
                "{} cells in this node's memory are not what was hashed: peers are asked for them, nothing is sent before; \
                 check this machine's memory",
                cells.len()
            );
            event(Alarm, "corrupt", text, json!({ "cells": cells.len(), "keys": keys(cells) }))
        }
        Event::Healed { peer, healed, cells, .. } => {
            let Healed { mended, buried, restored, rewritten } = healed;
            let text = format!(
                "damaged state was healed: {mended} mended, {buried} removed, {restored} taken from peers, {rewritten} \
                 written again, which may have been removed before"
            );
            let fields = json!({
                "peer": peer.map(|peer| peer.to_hex()), "mended": mended, "buried": buried,
                "restored": restored, "rewritten": rewritten, "keys": keys(cells)
            });
            event(Warning, "healed", text, fields)
        }
        Event::Replayed { items } => {
            let text = format!("{items} own items of the damaged store that no peer had were written again");
            event(Warning, "replayed", text, json!({ "items": items }))
        }
        Event::MarksEnded { object, marks, .. } => {
            let key = object.key.as_str();
            let text = format!("{marks} marks of {key:?} that all members know were ended");
            event(Info, "marks_ended", text, json!({ "key": key, "marks": marks }))
        }
        Event::ClockOff { ahead_ms, members } => {
            let (way, by) = (if *ahead_ms < 0 { "slow" } else { "fast" }, ahead_ms.unsigned_abs());
            let text =
                format!("this machine's clock is {by} ms {way} by {members} members' clocks; set it right");
            event(Alarm, "clock_off", text, json!({ "ahead_ms": ahead_ms, "members": members }))
        }
        Event::ClockJumped { by_ms } => {
            let text =
                format!("the wall clock was set by {by_ms} ms: nothing expires until members' clocks agree");
            event(Alarm, "clock_jumped", text, json!({ "by_ms": by_ms }))
        }
        Event::HorizonAhead { ahead_ms, .. } => {
            let text = format!(
                "a wrong clock let writes expire {ahead_ms} ms before their time: nothing of this store is sent until the \
                 clocks have come that far; start the node again with an empty store"
            );
            event(Alarm, "horizon_ahead", text, json!({ "ahead_ms": ahead_ms }))
        }
        Event::NamespaceOpened { namespace, class } => {
            let text =
                format!("the namespace {namespace_name:?} ({}) was opened, class {class}", namespace.short());
            event(Info, "namespace_opened", text, json!({ "class": class.as_str() }))
        }
        Event::NamespaceClosed { namespace } => {
            let text = format!(
                "the namespace {namespace_name:?} ({}) was closed; its state stays",
                namespace.short()
            );
            event(Info, "namespace_closed", text, json!({}))
        }
        Event::EventsLost { count } => {
            let text = format!(
                "{count} events were dropped before the node's driver took them: the machine is too slow"
            );
            event(Alarm, "events_lost", text, json!({ "count": count }))
        }
    }
}

/// What the links tell; frames are not events.
pub(super) fn of_transport(told: &TransportEvent) -> Option<NodeEvent> {
    let said = match told {
        TransportEvent::Up { peer, addr, name, .. } => {
            let text = format!("link to {} ({name}) at {addr} is up", peer.short());
            let fields = json!({ "peer": peer.to_hex(), "address": addr.to_string(), "name": name });
            event(Severity::Info, "link_up", text, fields)
        }
        TransportEvent::Down { peer, reason, .. } => {
            let text = format!("link to {} is down: {reason}", peer.short());
            event(Severity::Warning, "link_down", text, json!({ "peer": peer.to_hex(), "reason": reason }))
        }
        TransportEvent::Refused { addr, reason } => {
            let text = format!("a link from {addr} was refused: {reason}");
            let fields = json!({ "address": addr.to_string(), "reason": reason });
            event(Severity::Warning, "link_refused", text, fields)
        }
        TransportEvent::DialFailed { addr, reason, .. } => {
            let text = format!("cannot link to {addr}: {reason}");
            event(Severity::Warning, "dial_failed", text, json!({ "address": addr, "reason": reason }))
        }
        TransportEvent::Frame { .. } | TransportEvent::Written { .. } => return None,
    };
    Some(said)
}

/// What a peer did against the protocol.
pub(super) fn of_evidence(peer: NodeId, evidence: &Evidence) -> NodeEvent {
    let Evidence { kind, reason, bytes, times, .. } = evidence;
    let text =
        format!("{} did something against the protocol ({kind}, {times} times): {reason}", peer.short());
    let fields =
        json!({ "peer": peer.to_hex(), "kind": kind, "reason": reason, "bytes": bytes, "times": times });
    event(Severity::Warning, "misbehaved", text, fields)
}

/// What happened to the certificate. Its end is an alarm in the last week.
pub(super) fn of_certificate(told: &News) -> NodeEvent {
    match told {
        News::Reloaded { serial, days_left, cut } => {
            let text = format!(
                "the certificate {serial} is in force, for {days_left} days; {cut} links were closed, whose peers its CAs do not vouch for"
            );
            let fields = json!({ "serial": serial, "days_left": days_left, "cut": cut });
            event(Severity::Info, "certificate_reloaded", text, fields)
        }
        News::Revoked { entries, cut } => {
            let text = format!("a list of {entries} revoked is in force; {cut} links to them were closed");
            event(Severity::Info, "revoked_reloaded", text, json!({ "entries": entries, "cut": cut }))
        }
        News::Refused { why } => {
            let text = format!("changed certificate files are not in force, the old ones are: {why}");
            event(Severity::Warning, "certificate_refused", text, json!({ "reason": why }))
        }
        News::OwnRevoked => event(
            Severity::Warning,
            "own_revoked",
            "this node is on the list of the revoked: no peer takes it",
            json!({}),
        ),
        News::Ends(Notice { nearness, left }) => {
            let hours = left.as_secs() / 3_600;
            let severity = match nearness {
                Nearness::Month => Severity::Warning,
                Nearness::Week | Nearness::Day | Nearness::Over => Severity::Alarm,
            };
            let text = match nearness {
                Nearness::Over => {
                    "this node's certificate has ended and no peer takes it: renew it".to_owned()
                }
                Nearness::Month | Nearness::Week | Nearness::Day => format!(
                    "this node's certificate ends in {} days and {} hours: renew it, no restart is needed",
                    hours / 24,
                    hours % 24
                ),
            };
            event(severity, "certificate_ends", text, json!({ "hours_left": hours }))
        }
    }
}

/// What the disk tells; that it works is no event.
pub(super) fn of_storage(told: &Report) -> Option<NodeEvent> {
    let said = match told {
        Report::Written { .. } => return None,
        Report::Failing(error) => {
            let error = error.to_string();
            let text = format!(
                "the disk fails: {error}; nothing is acknowledged and nothing new shown to peers until it works again"
            );
            event(Severity::Alarm, "disk_failing", text, json!({ "error": error }))
        }
        Report::SetAside { error, aside } => {
            let (error, aside) = (error.to_string(), aside.clone());
            let text = format!(
                "the file on the disk was damaged and lies at {aside} now; all is written anew from memory: {error}"
            );
            event(Severity::Alarm, "disk_set_aside", text, json!({ "error": error, "aside": aside }))
        }
        Report::Reserve(true) => event(Severity::Info, "disk_room", "the disk has room again", json!({})),
        Report::Reserve(false) => {
            let text = "the disk is full: writes that grow the store are refused; make room on it";
            event(Severity::Alarm, "disk_full", text, json!({}))
        }
        Report::Stopped(true) => event(Severity::Info, "disk_closed", "all is on the disk", json!({})),
        Report::Stopped(false) => {
            let text =
                "the disk is not written to any more: what came last is not there; start the node again";
            event(Severity::Alarm, "disk_stopped", text, json!({}))
        }
    };
    Some(said)
}

/// What a reload changed, and what waits for a restart.
pub(super) fn of_reload(reloaded: &Reloaded) -> NodeEvent {
    let severity = if reloaded.restart.is_empty() { Severity::Info } else { Severity::Warning };
    let list = |changed: &[Changed]| {
        let one = |changed: &Changed| json!({ "setting": changed.key, "from": changed.from.to_string(), "to": changed.to.to_string() });
        changed.iter().map(one).collect::<Vec<_>>()
    };
    let fields = json!({ "changed": list(&reloaded.changed), "restart": list(&reloaded.restart) });
    event(severity, "reloaded", format!("the configuration was read again: {reloaded}"), fields)
}

/// Why a reload changed nothing.
pub(super) fn of_mistakes(mistakes: &Mistakes) -> NodeEvent {
    let told: Vec<String> = mistakes.iter().map(|mistake| mistake.to_string()).collect();
    let text = format!(
        "the configuration was read again and has {} mistakes, so nothing of it was taken over; the first: {}",
        mistakes.count(),
        told.first().map_or("none", String::as_str)
    );
    event(Severity::Warning, "reload_refused", text, json!({ "mistakes": told }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::cell::{Key, TypeTag};
    use sync_core::class::Class;
    use sync_core::error::FrameError;
    use sync_core::node::Cause;

    #[test]
    fn an_event_is_one_line_with_numbers_and_names_few_keys_of_many() {
        let cells: Vec<_> = (0..100)
            .map(|n| {
                (
                    ObjectId { key: Key::from(format!("k\n{n}").as_str()), ty: TypeTag::OR_SET },
                    Path::default(),
                )
            })
            .collect();
        let namespace = NamespaceId::named("default");
        let corrupt = of_core(&Event::Corrupt { namespace, cells }, Some((namespace, "default".to_owned())));
        assert!(corrupt.text.starts_with("100 cells in this node's memory"), "{}", corrupt.text);
        assert_eq!(corrupt.fields["keys"].as_array().map(Vec::len), Some(NAMED_MAX));
        assert!(!corrupt.text.contains('\n'));

        let peer = NodeId([7; 32]);
        let refused = FrameError::Oversize { len: 9, max: 8 };
        let refused = of_core(&Event::FrameRefused { peer, error: refused }, None);
        assert!(refused.text.contains("07070707") && refused.text.contains("9 bytes"), "{}", refused.text);
        assert_eq!((refused.severity, &refused.fields["violation"]), (Severity::Warning, &Value::Bool(true)));

        let slow = of_core(&Event::ClockOff { ahead_ms: -61_000, members: 3 }, None);
        assert!(slow.text.contains("61000 ms slow by 3 members"), "{}", slow.text);
    }

    #[test]
    fn an_event_of_a_namespace_says_which_by_id_and_by_name() {
        let namespace = NamespaceId::named("alarms");
        let of = |event: &Event| of_core(event, event.namespace().map(|id| (id, "alarms".to_owned())));
        let events = [
            Event::NamespaceOpened { namespace, class: Class::Urgent },
            Event::NamespaceClosed { namespace },
            Event::Conflicts { namespace, cause: Cause::Local, conflicts: Vec::new() },
        ];
        for event in events.iter().map(of) {
            assert!(event.text.contains("\"alarms\""), "{event:?}");
            assert_eq!(event.fields["namespace"], namespace.to_hex(), "{event:?}");
            assert_eq!(event.fields["namespace_name"], "alarms", "{event:?}");
        }
        let (default, conflicts) = (NamespaceId::named("default"), Vec::new());
        let conflicts = Event::Conflicts { namespace: default, cause: Cause::Local, conflicts };
        let told = of_core(&conflicts, Some((default, "default".to_owned())));
        assert!(!told.text.contains("default") && told.fields["namespace_name"] == "default", "{told:?}");
    }
}
