//! Is what the steps had seen possible at all?
//!
//! Three promises, each checked at every step: a node never forgets; what is known of a replica ends
//! at the end of one of its groups, never inside; and whoever knows a step knows its past.

use std::collections::BTreeMap;

use super::super::record::{Minted, Seen, Step};
use super::Verdict;

/// Checks the steps, one list a node in the node's own order.
pub(super) fn check(steps: &[Vec<Step>], verdict: &mut Verdict) {
    let mut groups: BTreeMap<&str, BTreeMap<u64, &Step>> = BTreeMap::new();
    for step in steps.iter().flatten() {
        if let Some(Minted { replica, last, .. }) = &step.minted {
            groups.entry(replica).or_default().insert(*last, step);
        }
    }
    for (node, steps) in steps.iter().enumerate() {
        let mut before = Seen::new();
        for step in steps {
            let at = |what: String| format!("line {}, node {}: {what}", step.line, node + 1);
            if let Some(replica) = ahead(&before, &step.seen) {
                verdict.differs(at(format!("events of {replica} were forgotten")));
            }
            before.clone_from(&step.seen);
            if let Some(minted) = &step.minted {
                if minted.first != step.seen.get(&minted.replica).copied().unwrap_or(0) + 1 {
                    verdict.differs(at(format!("event {} does not follow what was seen", minted.first)));
                }
                before.insert(minted.replica.clone(), minted.last);
            }
            for (replica, known) in step.seen.iter().filter(|(_, known)| **known > 0) {
                match groups.get(replica.as_str()).and_then(|groups| groups.get(known)) {
                    None => verdict.differs(at(format!("event {known} of {replica} is the end of no group"))),
                    Some(last) => {
                        if let Some(lacking) = ahead(&last.seen, &step.seen) {
                            verdict.differs(at(format!(
                                "event {known} of {replica} (line {}) was seen without what it knew of {lacking}",
                                last.line
                            )));
                        }
                    }
                }
            }
        }
    }
}

/// A replica of which `past` knows more than `now`.
fn ahead<'a>(past: &'a Seen, now: &Seen) -> Option<&'a str> {
    let known = |replica| now.get(replica).copied().unwrap_or(0);
    past.iter().find(|(replica, count)| **count > known(*replica)).map(|(replica, _)| replica.as_str())
}
