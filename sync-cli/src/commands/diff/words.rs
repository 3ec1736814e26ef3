//! What `diff` prints.

use serde_json::json;
use sync_net::{ItemDigest, Shown};

use super::judge::{Who, Why};
use super::side::Side;
use super::{Finding, Found, Tally};
use crate::failure::Failure;
use crate::output::{self, grouped, shown};

/// The line above the first cell of a key.
pub(super) fn heading(finding: &Finding<'_>) -> String {
    format!("{} ({})", shown(finding.key), finding.ty)
}

/// One cell.
pub(super) fn finding(finding: &Finding<'_>) -> String {
    let (cell, alarm) = (finding.cell, if finding.explained { "" } else { "ALARM: " });
    let what = match finding.found {
        Found::OnlyInA => format!("only in A  {cell}{}", value(finding.a)),
        Found::OnlyInB => format!("only in B  {cell}{}", value(finding.b)),
        Found::Differs => format!("differs    {cell}  A{}  B{}", value(finding.a), value(finding.b)),
    };
    format!("  {what}  ({alarm}{})", finding.why)
}

/// What is read in a cell: the latest of concurrent writes, with its event.
fn value(items: &[ItemDigest]) -> String {
    let latest = items.iter().max_by_key(|item| (item.hlc, &item.replica, item.seq));
    let Some(item) = latest else { return String::new() };
    let event = format!("{}.{}", item.replica.get(..8).unwrap_or(&item.replica), item.seq);
    let concurrent = match items.len() {
        1 => String::new(),
        many => format!(" and {} concurrent", many - 1),
    };
    match &item.payload {
        Shown::Hex(none) if none.is_empty() => format!(" [{event}{concurrent}]"),
        payload @ (Shown::Text(_) | Shown::Hex(_)) => format!(": {payload} [{event}{concurrent}]"),
    }
}

/// The reasons of one cell in one line.
pub(super) fn why(whys: &[Why]) -> String {
    whys.iter().map(reason).collect::<Vec<_>>().join("; ")
}

fn letter(who: Who) -> &'static str {
    match who {
        Who::A => "A",
        Who::B => "B",
    }
}

fn reason(why: &Why) -> String {
    match why {
        Why::NotReceived(who) => format!("{} has not received it", letter(*who)),
        Why::Arriving(who) => format!("{} received it meanwhile", letter(*who)),
        Why::NotEnded(who) => format!("{} lacks the event that ended it", letter(*who)),
        Why::NotExpired(who) => format!("expired, {} does not know yet", letter(*who)),
        Why::Unexplained(who) => {
            format!("only {} holds it, and no event that it lacks can be why", letter(*who))
        }
        Why::TwoContents => "one event with two contents".to_owned(),
    }
}

/// The last line, and the exit code.
pub(super) fn conclude(a: &Side, b: &Side, tally: &Tally, json: bool) -> Result<(), Failure> {
    let a_lacks = a.known.after.lacks(&b.known.after);
    let b_lacks = b.known.after.lacks(&a.known.after);
    let Tally { keys, keys_differ, only_in_a, only_in_b, differ, unexplained } = *tally;
    let equal = keys_differ == 0;
    if json {
        output::json(&json!({
            "equal": equal, "tally": tally, "events_a_lacks": a_lacks, "events_b_lacks": b_lacks,
            "a": a.knowledge.node, "b": b.knowledge.node,
        }))?;
    }
    let lacking = match (a_lacks, b_lacks) {
        (0, 0) => "both know the same events".to_owned(),
        (a_lacks, b_lacks) => {
            format!("A lacks {} events of B, B lacks {} of A", grouped(a_lacks), grouped(b_lacks))
        }
    };
    if equal {
        let rest = if a_lacks + b_lacks == 0 { "" } else { ", which changed nothing that is stored" };
        let text = format!("equal: {} keys hold the same; {lacking}{rest}", grouped(keys));
        return if json { Ok(()) } else { output::line(&text) };
    }
    let counts = format!(
        "{} of {} keys differ: {} cells only in A, {} only in B, {} in both; {lacking}",
        grouped(keys_differ),
        grouped(keys),
        grouped(only_in_a),
        grouped(only_in_b),
        grouped(differ)
    );
    Err(Failure::Different(match unexplained {
        0 => format!("{counts}; that explains them, and `sync-cli converge --all` ends them"),
        unexplained => format!(
            "ALARM: {} cells differ and no event that a node lacks is why: damage, a copied key or a bug; keep the \
             logs of both; {counts}",
            grouped(unexplained)
        ),
    }))
}
