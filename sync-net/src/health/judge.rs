//! From facts to a judgement: which reasons there are, and what to do about each.

use std::time::Duration;

use sync_core::node::{DEFAULT_NAMESPACE, Reading};

use super::{CoreFacts, Facts, FullBound, Health, HealthReason, HealthState, NoCore, Reachability};
use crate::breakers::BreakerInfo;
use crate::node::Phase;
use crate::storage::{Damage, StorageStatus};

/// From this long before its certificate ends a node is degraded.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(30 * DAY);

const DAY: u64 = 24 * 60 * 60;

/// Reasons, in the order in which they are found.
#[derive(Default)]
struct Reasons(Vec<HealthReason>);

impl Reasons {
    fn add(&mut self, state: HealthState, kind: &str, what: String, next: &str) {
        self.0.push(HealthReason { state, kind: kind.to_owned(), what, next: next.to_owned() });
    }

    fn degraded(&mut self, kind: &str, what: String, next: &str) {
        self.add(HealthState::Degraded, kind, what, next);
    }

    fn damaged(&mut self, kind: &str, what: String, next: &str) {
        self.add(HealthState::Damaged, kind, what, next);
    }
}

pub(super) fn judge(facts: &Facts) -> Health {
    let mut reasons = Reasons::default();
    let stopped = match facts.phase {
        Phase::Running | Phase::HandingOver => false,
        // Links and certificates are gone by intent.
        Phase::Closing | Phase::Stopped => true,
    };
    match &facts.core {
        Ok(core) => look_at_core(core, &mut reasons),
        Err(why @ NoCore::Broken) => {
            reasons.damaged(
                "broken",
                why.to_string(),
                "restart the process; if it comes again, report it with the log",
            );
        }
        Err(why @ NoCore::Stuck) => {
            reasons.damaged(
                "stuck",
                why.to_string(),
                "look in the log for what blocks it, or restart the process",
            );
        }
    }
    if !stopped {
        look_at_links(facts, &mut reasons);
        look_at_certificate(facts.certificate, &mut reasons);
        if let Some(why) = &facts.certificate_refused {
            reasons.degraded(
                "certificate_refused",
                format!("the files of the certificate changed and are not in force: {why}"),
                "mend the files in the node's folder; what was in force before still is",
            );
        }
    }
    facts.damage.iter().for_each(|damage| look_at_damage(damage, &mut reasons));
    facts.storage.iter().for_each(|storage| look_at_disk(storage, &mut reasons));
    if let Some(refused) = facts.at_ceiling {
        reasons.degraded(
            "at_ceiling",
            format!(
                "what a peer sent was refused: it would take the store to {} bytes, above its ceiling of {}",
                refused.after, refused.max
            ),
            "remove data, or start the node with a larger --max-bytes",
        );
    }
    let mut reasons = reasons.0;
    // Stable: reasons of one state stay in the order above.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    let state = reasons.first().map_or(HealthState::Healthy, |reason| reason.state);
    let not_ready = why_not_ready(facts, state, &reasons);
    Health { state, ready: not_ready.is_none(), not_ready, reasons }
}

fn why_not_ready(facts: &Facts, state: HealthState, reasons: &[HealthReason]) -> Option<String> {
    match facts.phase {
        Phase::Running => {}
        Phase::HandingOver | Phase::Closing => return Some("the node is shutting down".to_owned()),
        Phase::Stopped => return Some("the node has stopped".to_owned()),
    }
    if state == HealthState::Damaged {
        return reasons.first().map(|reason| reason.what.clone());
    }
    let empty = facts.core.as_ref().is_ok_and(|core| core.is_empty);
    let bootstrap = facts.bootstrap.as_ref().filter(|_| empty)?;
    Some(format!("its first state comes in: {} of {} items", bootstrap.items, bootstrap.items_total))
}

fn look_at_damage(damage: &Damage, reasons: &mut Reasons) {
    let Damage { file, error, readable } = damage;
    reasons.damaged(
        "store_damaged",
        format!(
            "the store on the disk is damaged and can only be read: {} items of it are sound, {} rows are not what was \
             written; {file}: {error}",
            readable.items, readable.unsound
        ),
        "start the node with a --peer that has the data, or stop it and accept the loss: sync-cli doctor --accept-loss",
    );
}

fn look_at_core(core: &CoreFacts, reasons: &mut Reasons) {
    let CoreFacts { condition, full, open, clocks_ahead_ms, .. } = core;
    if condition.is_mending {
        reasons.damaged(
            "memory_damaged",
            "bytes in this node's memory are not what was hashed: peers are asked for them, nothing is sent before".to_owned(),
            "check this machine's memory; with a peer connected it heals by itself, alone restart it",
        );
    }
    if !condition.diverged.is_empty() {
        let names: Vec<String> = condition.diverged.iter().map(|node| node.short()).collect();
        reasons.damaged(
            "diverged",
            format!(
                "{} peers know the same events and hold another state: {}; one side is damaged",
                names.len(),
                names.join(", ")
            ),
            "healing has begun; if this stays, run `sync-cli diff` between the two and check both machines' memory",
        );
    }
    if condition.is_horizon_ahead {
        reasons.damaged(
            "horizon_ahead",
            "a wrong clock let writes expire before their time: nothing of this store is sent until clocks have come that \
             far"
                .to_owned(),
            "set the clock right and start the node again with an empty data folder",
        );
    }
    if condition.is_clock_off {
        let median = clocks_ahead_ms.get(clocks_ahead_ms.len() / 2).copied().unwrap_or(0);
        let way = if median > 0 { "slow" } else { "fast" };
        reasons.degraded(
            "clock_off",
            format!(
                "this machine's clock is {} ms {way} by the clocks of {} connected peers",
                median.unsigned_abs(),
                clocks_ahead_ms.len()
            ),
            "set this machine's clock right; nothing expires by it meanwhile",
        );
    }
    if condition.salvaged > 0 {
        reasons.degraded(
            "salvage_waiting",
            format!("{} own items of a damaged store wait to be written again", condition.salvaged),
            "bring the configured peers up: it waits for them, so that nothing removed comes back",
        );
    }
    for FullBound { namespace, bound, reading } in full {
        let of = match namespace.as_deref() {
            None | Some(DEFAULT_NAMESPACE) => String::new(),
            Some(name) => format!(" of namespace {name:?}"),
        };
        let (name, edge, Reading { used, max }) = (bound.name(), bound.edge(), *reading);
        if used >= max {
            reasons.degraded("bound_full", format!("{name}{of} is used up: {used} of {max}"), edge);
        } else {
            let what = format!("{name}{of} is used by {} %: {used} of {max}", reading.percent());
            reasons.degraded("bound_nearly_full", what, &format!("act before it is used up: then {edge}"));
        }
    }
    for (peer, BreakerInfo { state, reason, for_ms, opens, .. }) in open {
        let why = reason.as_deref().unwrap_or("unknown");
        let until = for_ms.map_or("until it is reset".to_owned(), |ms| format!("for {ms} ms more at most"));
        reasons.degraded(
            "breaker_open",
            format!("the breaker of {} is {state} {until}, it opened {opens} times: {why}", peer.short()),
            "look at that peer; the breaker closes by itself once the peer answers",
        );
    }
}

fn look_at_links(facts: &Facts, reasons: &mut Reasons) {
    let reached @ Reachability { configured, connected, guests, away } = &facts.reached;
    let lacking = configured - connected;
    let named = match lacking.saturating_sub(away.len()) {
        0 => away.join("; "),
        more => format!("{}; and {more} more", away.join("; ")),
    };
    if *configured > 0 && connected + guests == 0 {
        reasons.add(
            HealthState::Isolated,
            "isolated",
            format!("none of the {configured} configured peers is connected: {named}"),
            "check the network to them, that they run, and the certificates; writes here wait meanwhile, and are kept",
        );
    } else if reached.share() < 0.5 {
        reasons.degraded(
            "few_peers",
            format!("{connected} of {configured} configured peers are connected; away: {named}"),
            "check the network to them, that they run, and the certificates",
        );
    }
}

fn look_at_certificate(left: Option<Duration>, reasons: &mut Reasons) {
    let next = "renew it with `sync-cli certs renew` in the node's folder; no restart is needed";
    match left {
        None => reasons.degraded(
            "certificate_ended",
            "this node's certificate has ended: no peer takes it".to_owned(),
            next,
        ),
        Some(left) if left < CERTIFICATE_WARNING => {
            let (days, hours) = (left.as_secs() / DAY, left.as_secs() % DAY / 3_600);
            reasons.degraded(
                "certificate_ends",
                format!("this node's certificate ends in {days} days and {hours} hours"),
                next,
            );
        }
        Some(_) => {}
    }
}

fn look_at_disk(storage: &StorageStatus, reasons: &mut Reasons) {
    if let Some(failing) = &storage.failing {
        reasons.degraded(
            "disk_failing",
            format!(
                "nothing has reached the disk for {} s, after {} tries: {failing}",
                storage.failing_ms.unwrap_or(0) / 1_000,
                storage.failures
            ),
            "mend the disk or make room on it; the node tries again by itself, and shows peers nothing new before",
        );
    }
    if !storage.reserve {
        reasons.degraded(
            "disk_full",
            format!("the disk at {} is full: writes that grow the store are refused", storage.place),
            "make room on that disk; removes still work",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::id::NodeId;
    use sync_core::node::{Bound, Condition};

    use crate::bootstrap::Bootstrap;
    use crate::data::Readable;
    use crate::events::Refused;

    fn well() -> Facts {
        Facts {
            phase: Phase::Running,
            reached: Reachability { configured: 4, connected: 4, ..Reachability::default() },
            certificate: Some(Duration::from_secs(365 * DAY)),
            certificate_refused: None,
            storage: None,
            damage: None,
            bootstrap: None,
            at_ceiling: None,
            core: Ok(CoreFacts::default()),
        }
    }

    fn with_core(core: CoreFacts) -> Facts {
        Facts { core: Ok(core), ..well() }
    }

    fn with_condition(condition: Condition) -> Facts {
        with_core(CoreFacts { condition, ..CoreFacts::default() })
    }

    fn storage() -> StorageStatus {
        StorageStatus {
            place: "/data".to_owned(),
            bytes: 0,
            persisted: 0,
            steps: 0,
            commits: 0,
            failures: 0,
            last_commit_us: 0,
            failing: None,
            failing_ms: None,
            reserve: true,
        }
    }

    #[test]
    fn a_node_without_a_reason_is_healthy_and_ready() {
        let health = judge(&Facts { storage: Some(storage()), ..well() });
        assert_eq!((health.state, health.ready, health.reasons.len()), (HealthState::Healthy, true, 0));
        let alone = Facts { reached: Reachability::default(), ..well() };
        assert_eq!(judge(&alone).state, HealthState::Healthy, "who has no peers is not isolated from them");
    }

    #[test]
    fn each_cause_is_a_reason_with_numbers_and_a_next_step() {
        let breaker = BreakerInfo {
            state: "open".to_owned(),
            reason: Some("3 exchanges timed out".to_owned()),
            for_ms: Some(900),
            opens: 2,
            ..BreakerInfo::default()
        };
        let open = vec![(NodeId([1; 32]), breaker)];
        let readable =
            Readable { items: 3, unsound: 1, unsound_named: Vec::new(), rows_written: Some(9), rows_read: 8 };
        let damage = Damage { file: "/data/state.redb".to_owned(), error: "a checksum".to_owned(), readable };
        let reached = |configured, connected| Reachability {
            configured,
            connected,
            guests: 0,
            away: vec!["10.0.0.2:7000 (timed out)".to_owned()],
        };
        let reading = Reading { used: 70, max: 64 };
        let full = |bound, reading| {
            let full = vec![FullBound { namespace: Some("bulk".to_owned()), bound, reading }];
            with_core(CoreFacts { full, ..CoreFacts::default() })
        };
        let nearly = Reading { used: 9_530, max: 10_000 };
        let off = CoreFacts {
            condition: Condition { is_clock_off: true, ..Condition::default() },
            clocks_ahead_ms: vec![-70_000],
            ..CoreFacts::default()
        };
        let at_ceiling = Some(Refused::now(4_100, 4_000));
        let failing = StorageStatus {
            failing: Some("no space left".to_owned()),
            failing_ms: Some(61_000),
            failures: 12,
            ..storage()
        };
        let diverged = Condition { diverged: vec![NodeId([7; 32])], ..Condition::default() };
        use HealthState::{Damaged, Degraded, Isolated};
        let causes = [
            (
                with_condition(Condition { is_mending: true, ..Condition::default() }),
                Damaged,
                "memory_damaged",
                "memory",
            ),
            (with_condition(diverged), Damaged, "diverged", "07070707"),
            (
                with_condition(Condition { is_horizon_ahead: true, ..Condition::default() }),
                Damaged,
                "horizon_ahead",
                "expire",
            ),
            (Facts { damage: Some(damage), ..well() }, Damaged, "store_damaged", "3 items of it are sound"),
            (Facts { core: Err(NoCore::Broken), ..well() }, Damaged, "broken", "panic"),
            (Facts { core: Err(NoCore::Stuck), ..well() }, Damaged, "stuck", "1s"),
            (Facts { reached: reached(3, 0), ..well() }, Isolated, "isolated", "none of the 3"),
            (Facts { reached: reached(3, 1), ..well() }, Degraded, "few_peers", "1 of 3"),
            (with_core(off), Degraded, "clock_off", "70000 ms fast"),
            (
                with_condition(Condition { salvaged: 9, ..Condition::default() }),
                Degraded,
                "salvage_waiting",
                "9 own items",
            ),
            (full(Bound::StoreBytes, reading), Degraded, "bound_full", "70 of 64"),
            (full(Bound::Crdts, nearly), Degraded, "bound_nearly_full", "is used by 95 %: 9530 of 10000"),
            (
                with_core(CoreFacts { open, ..CoreFacts::default() }),
                Degraded,
                "breaker_open",
                "01010101 is open for 900 ms more at most, it opened 2 times",
            ),
            (Facts { at_ceiling, ..well() }, Degraded, "at_ceiling", "4100"),
            (Facts { certificate: None, ..well() }, Degraded, "certificate_ended", "ended"),
            (
                Facts { certificate_refused: Some("line 3".to_owned()), ..well() },
                Degraded,
                "certificate_refused",
                "line 3",
            ),
            (
                Facts { certificate: Some(Duration::from_secs(2 * DAY + 7_200)), ..well() },
                Degraded,
                "certificate_ends",
                "2 days and 2 hours",
            ),
            (Facts { storage: Some(failing), ..well() }, Degraded, "disk_failing", "61 s, after 12 tries"),
            (
                Facts { storage: Some(StorageStatus { reserve: false, ..storage() }), ..well() },
                Degraded,
                "disk_full",
                "/data",
            ),
        ];
        for (facts, state, kind, part) in causes {
            let health = judge(&facts);
            assert_eq!((health.state, health.reasons.len()), (state, 1), "{kind}: {health:?}");
            let reason = &health.reasons[0];
            assert_eq!((reason.state, reason.kind.as_str()), (state, kind));
            assert!(reason.what.contains(part) && !reason.next.is_empty(), "{reason:?}");
            assert_eq!(health.ready, state != Damaged, "{health:?}");
        }
    }

    #[test]
    fn the_worst_reason_decides_and_stands_first() {
        let mut facts =
            with_condition(Condition { is_clock_off: true, is_mending: true, ..Condition::default() });
        facts.reached =
            Reachability { configured: 2, away: vec!["a (b)".to_owned()], ..Reachability::default() };
        let health = judge(&facts);
        let kinds: Vec<&str> = health.reasons.iter().map(|reason| reason.kind.as_str()).collect();
        assert_eq!(kinds, ["memory_damaged", "isolated", "clock_off"]);
        assert_eq!((health.state, health.ready), (HealthState::Damaged, false));
        assert!(health.reasons[1].what.contains("a (b); and 1 more"), "{:?}", health.reasons[1]);
    }

    #[test]
    fn a_node_that_stops_or_still_fetches_its_first_state_is_not_ready_and_not_ill() {
        for phase in [Phase::HandingOver, Phase::Closing, Phase::Stopped] {
            let reached = Reachability { configured: 4, connected: 4, ..Reachability::default() };
            let health = judge(&Facts { phase, reached, ..well() });
            assert_eq!((health.state, health.ready), (HealthState::Healthy, false), "{phase:?}");
        }
        let bootstrap = Some(Bootstrap { peer: "01".to_owned(), items: 5, items_total: 90 });
        let empty = CoreFacts { is_empty: true, ..CoreFacts::default() };
        let first = judge(&Facts { bootstrap: bootstrap.clone(), ..with_core(empty) });
        assert_eq!(first.not_ready.as_deref(), Some("its first state comes in: 5 of 90 items"));
        assert!(judge(&Facts { bootstrap, ..well() }).ready, "who holds something can be asked meanwhile");
    }
}
