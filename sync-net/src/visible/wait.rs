//! The wait itself: looking again when it is worth it, and asking peers when it takes long.
//!
//! In flow a look that says what it lacks, out flow its answer, and requests to the core to exchange roots
//! ([`Core::visible_ask`]), few for however many wait.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sync_core::id::{NamespaceId, NodeId};
use sync_core::node::{Heard, Node as Core};

use super::waits::{Column, Waiting};
use crate::converge::AskAgain;
use crate::node::{Phase, Shared};

/// While waiting, the state of the links is looked at this often even if no frame arrives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Shortest pause between two exchanges of roots in a namespace, however many wait.
const PROMPT_PAUSE: Duration = Duration::from_millis(20);

/// Lets one exchange of roots of a namespace through in [`PROMPT_PAUSE`], for all who wait in it: apart for those who
/// wait for what is known here, who ask fewer peers. At most two entries for each namespace that is kept.
#[derive(Debug, Default)]
pub(crate) struct Prompt(Mutex<BTreeMap<(NamespaceId, bool), Instant>>);

impl Prompt {
    fn passes(&self, now: Instant, namespace: NamespaceId, is_known_here: bool) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.entry((namespace, is_known_here));
        let passes = match &last {
            Entry::Occupied(last) => now.saturating_duration_since(*last.get()) >= PROMPT_PAUSE,
            Entry::Vacant(_) => true,
        };
        if passes {
            last.insert_entry(now);
        }
        passes
    }
}

/// How far `node` has come, to be compared with what somebody waits for.
pub(crate) fn level(core: &Core, own: NodeId, namespace: NamespaceId, node: NodeId, column: Column) -> u64 {
    if node == own {
        let context = core.store(namespace).map(sync_core::store::Store::context);
        return match column {
            Column::Log => 0,
            Column::Of(replica) => context.map_or(0, |context| context.get(replica)),
        };
    }
    let Some(Heard { acked, known }) = core.heard(node, namespace) else { return 0 };
    match column {
        Column::Log => acked.map_or(0, log_level),
        Column::Of(replica) => known.get(replica),
    }
}

/// Whoever has said nothing of our log is at 0, below its beginning.
pub(super) fn log_level(position: u64) -> u64 {
    position.saturating_add(1)
}

/// Looks until `look` gives an answer, the node closes, or the time is over; then what `look` gave last. A look says
/// what the wait wants; `is_known_here` then, whether only others lack it.
///
/// # Errors
/// The last look that was no answer; `None` if the node is closing.
pub(super) async fn wait<T, E>(
    shared: &Shared,
    namespace: NamespaceId,
    timeout: Duration,
    mut look: impl FnMut(Instant, &Waiting<'_>) -> Result<T, (E, bool)>,
) -> Result<T, Option<E>> {
    let begun = Instant::now();
    let mut again = AskAgain::after(begun);
    // Begun before the look, so that progress in between is not missed.
    let waiting = shared.waits.begin();
    loop {
        let (short, is_known_here) = match look(begun, &waiting) {
            Ok(done) => return Ok(done),
            Err(short) => short,
        };
        if *shared.phase.borrow() >= Phase::Closing {
            return Err(None);
        }
        let elapsed = begun.elapsed();
        if elapsed >= timeout {
            return Err(Some(short));
        }
        let now = Instant::now();
        if again.is_due(now) && shared.prompted.passes(now, namespace, is_known_here) {
            shared.core().visible_ask(namespace, is_known_here);
            shared.work.notify_one();
        }
        let pause = LOOK_AGAIN.min(timeout - elapsed).min(again.pause(now));
        // Over in any case: then we look again.
        let _ = tokio::time::timeout(pause, waiting.woken()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_wait_prompt_no_more_than_one() {
        let (prompt, start) = (Prompt::default(), Instant::now());
        let passes = |ms, name| {
            let at = start + Duration::from_millis(ms);
            prompt.passes(at, NamespaceId::named(name), true)
        };
        assert_eq!((0..1_000).filter(|ms| passes(*ms, "alarms")).count(), 50);
        assert!(passes(999, "history"), "who waits in one namespace holds up nobody in another");
    }
}
