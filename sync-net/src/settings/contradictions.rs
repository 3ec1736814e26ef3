//! Values that are right each for itself and wrong together.

use std::collections::BTreeSet;

use super::layers::Resolved;
use super::table::setting;
use super::value::Value;

/// The first setting must not be above the second, or must be below it.
struct Rule {
    lower: &'static str,
    upper: &'static str,
    strictly: bool,
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        lower: "max_group_size",
        upper: "max_message_size",
        strictly: true,
        why: "a group of writes travels in one message",
    },
    Rule {
        lower: "max_bytes",
        upper: "max_bytes_ceiling",
        strictly: false,
        why: "or what is written here could not come back from peers",
    },
    Rule {
        lower: "breaker_open",
        upper: "breaker_open_max",
        strictly: false,
        why: "the first is doubled up to the second",
    },
    Rule {
        lower: "breaker_probe_min",
        upper: "breaker_probe_max",
        strictly: false,
        why: "the wait for a probe is drawn between the two",
    },
];

/// What contradicts each other, in words with both values; settings in `wrong` are not looked at.
pub(super) fn of(resolved: &Resolved, wrong: &BTreeSet<&'static str>) -> Vec<String> {
    let looked_at = |rule: &&Rule| !wrong.contains(rule.lower) && !wrong.contains(rule.upper);
    let broken = RULES.iter().filter(looked_at).filter_map(|rule| broken(resolved, rule));
    let memory = resolved.settings.memory.then(|| {
        let on_disk = ["data", "durability"].into_iter().filter(|key| !wrong.contains(key));
        let set = on_disk.filter(|key| resolved.origins().contains_key(key));
        set.map(|key| {
            format!(
                "{} and {} contradict each other: nothing is kept on a disk that it could be about; take one of the two \
                 away",
                shown(resolved, "memory"),
                shown(resolved, key)
            )
        })
    });
    broken.chain(memory.into_iter().flatten()).collect()
}

fn broken(resolved: &Resolved, rule: &Rule) -> Option<String> {
    let of = |key| amount(&value(resolved, key));
    let (lower, upper) = (of(rule.lower)?, of(rule.upper)?);
    if lower < upper || (lower == upper && !rule.strictly) {
        return None;
    }
    let must = if rule.strictly { "must be below" } else { "must not be above" };
    let (lower, upper) = (shown(resolved, rule.lower), shown(resolved, rule.upper));
    Some(format!("{lower} {must} {upper}: {}", rule.why))
}

fn value(resolved: &Resolved, key: &str) -> Value {
    setting(key).map_or(Value::Unset, |setting| setting.get(&resolved.settings))
}

fn shown(resolved: &Resolved, key: &str) -> String {
    format!("{key} ({}, {})", value(resolved, key), resolved.origin(key))
}

fn amount(value: &Value) -> Option<u64> {
    match value {
        Value::Count(n) | Value::Size(n) => Some(*n),
        Value::Time(span) => Some(span.as_micros()),
        Value::Unset | Value::Flag(_) | Value::Text(_) | Value::List(_) => None,
    }
}
