//! Who waits for events, each by what has to be heard before it is worth a look.
//!
//! In flow, from the driver, the frames that came; out flow wakes. A wait leaves a *mark* for each node that it lacks:
//! a position in our log that the node has to acknowledge, and a sequence of one column that it has to know, whichever
//! comes first. Marks are ordered by node, column and level, so that an acknowledgement looks at one mark for each
//! column that somebody waits for, and at those that it reaches; it wakes a wait when the last node that it needs
//! holds everything. Of this node's own knowledge the same is asked under its own id.
//!
//! Bounded by the calls that wait: each has one entry, and two marks a node. A wake that comes for nothing costs one look,
//! and one that is missed is made up for by the clock (`wait.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sync_core::causal::CausalContext;
use sync_core::id::{NamespaceId, NodeId, ReplicaId};
use tokio::sync::Notify;

/// What a level is a level of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    /// The log of this node, as far as another holds it.
    Log,
    /// The events of a replica, as far as a node knows them.
    Of(ReplicaId),
}

/// Look at the wait once `node` has come to `level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    namespace: NamespaceId,
    node: NodeId,
    column: Column,
    level: u64,
    wait: u64,
}

/// What somebody waits for, and of whom.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// The events.
    pub(crate) context: CausalContext,
    /// Who holds our log up to there knows them.
    pub(crate) head: Option<u64>,
    /// Who is not known to know them.
    pub(crate) lacking: BTreeSet<NodeId>,
    /// How many of these have to.
    pub(crate) needed: usize,
}

#[derive(Debug, Default)]
struct Wait {
    wanted: Wanted,
    marks: Vec<Mark>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Table {
    /// The next wait's number.
    next: u64,
    waits: BTreeMap<u64, Wait>,
    marks: BTreeSet<Mark>,
}

/// Everybody who waits on a node.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Without a lock, since mostly there is nobody.
    count: AtomicUsize,
    table: Mutex<Table>,
}

/// One who waits; dropping it ends the wait.
pub(crate) struct Waiting<'a> {
    waits: &'a Waits,
    wait: u64,
    wake: Arc<Notify>,
}

impl Waits {
    /// Begins a wait that is woken by [`Self::wake_all`], and by what [`Waiting::wants`] says.
    pub(crate) fn begin(&self) -> Waiting<'_> {
        let wake = Arc::new(Notify::new());
        let mut table = self.table();
        let wait = table.next;
        table.next += 1;
        table.waits.insert(wait, Wait { wake: wake.clone(), ..Wait::default() });
        self.count.store(table.waits.len(), Ordering::SeqCst);
        Waiting { waits: self, wait, wake }
    }

    /// `node` may have come to other levels in `namespace`.
    ///
    /// Called under the lock under which waits look and say what they want: so no news falls between the two.
    pub(crate) fn heard(&self, namespace: NamespaceId, node: NodeId, level: impl Fn(Column) -> u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut table = self.table();
        let mut from = Mark { namespace, node, column: Column::Log, level: 0, wait: 0 };
        while let Some(mark) = table.marks.range(from..).next().copied() {
            if (mark.namespace, mark.node) != (namespace, node) {
                return;
            }
            if mark.level <= level(mark.column) {
                table.marks.remove(&mark);
                table.reached(mark, &level);
                from = mark;
            } else {
                // All the others of this column are as high.
                from = Mark { level: u64::MAX, wait: u64::MAX, ..mark };
            }
        }
    }

    /// Who is a member, or who is connected, has changed: what counts has to be seen anew.
    pub(crate) fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.table().waits.values().for_each(|wait| wait.wake.notify_one());
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A mark too many or too few costs a look.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The node of `mark` has come there.
    fn reached(&mut self, mark: Mark, level: impl Fn(Column) -> u64) {
        let Some(wait) = self.waits.get_mut(&mark.wait) else { return };
        if !wait.wanted.lacking.contains(&mark.node) {
            return;
        }
        if mark.column != Column::Log
            && let Some((replica, seq)) = wait.wanted.first_above(&level)
        {
            let mark = Mark { column: Column::Of(replica), level: seq, ..mark };
            wait.marks.push(mark);
            self.marks.insert(mark);
            return;
        }
        wait.wanted.lacking.remove(&mark.node);
        wait.wanted.needed = wait.wanted.needed.saturating_sub(1);
        if wait.wanted.needed == 0 {
            wait.wake.notify_one();
        }
    }

    fn unmark(&mut self, wait: u64) {
        let Self { waits, marks, .. } = self;
        let old = waits.get_mut(&wait).map(|wait| std::mem::take(&mut wait.marks));
        old.into_iter().flatten().for_each(|mark| {
            marks.remove(&mark);
        });
    }
}

impl Wanted {
    /// The first column of which not all is known.
    fn first_above(&self, level: impl Fn(Column) -> u64) -> Option<(ReplicaId, u64)> {
        self.context.columns().find(|(replica, seq)| *seq > level(Column::Of(*replica)))
    }
}

impl Waiting<'_> {
    /// Says what is wanted in `namespace`, instead of what was before; `level` tells how far a node is now.
    pub(crate) fn wants(
        &self,
        namespace: NamespaceId,
        wanted: Wanted,
        level: impl Fn(NodeId, Column) -> u64,
    ) {
        let mut table = self.waits.table();
        table.unmark(self.wait);
        let mut marks = Vec::new();
        for node in &wanted.lacking {
            let mark = Mark { namespace, node: *node, column: Column::Log, level: 0, wait: self.wait };
            marks.extend(wanted.head.map(|level| Mark { level, ..mark }));
            let above = wanted.first_above(|column| level(*node, column));
            marks.extend(above.map(|(replica, level)| Mark { column: Column::Of(replica), level, ..mark }));
        }
        table.marks.extend(&marks);
        let wait = table.waits.get_mut(&self.wait).expect("a wait is in the table until it is dropped");
        (wait.wanted, wait.marks) = (wanted, marks);
    }

    /// The last look was out of date when it said what it wants.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until a look may find something else than the last one.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.waits.table();
        table.unmark(self.wait);
        table.waits.remove(&self.wait);
        self.waits.count.store(table.waits.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const SPACE: NamespaceId = NamespaceId([1; 8]);
    const OTHER_SPACE: NamespaceId = NamespaceId([2; 8]);

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn replica(n: u8) -> ReplicaId {
        ReplicaId([n; 16])
    }

    /// Event `seq` of replica 1, at position `seq + 100` of the log, by `needed` of the nodes 1 to 3.
    fn wanted(seq: u64, needed: usize) -> Wanted {
        let lacking = [1, 2, 3].map(node).into();
        let context = CausalContext::from_iter([(replica(1), seq)]);
        Wanted { context, head: Some(seq + 100), lacking, needed }
    }

    fn log_up_to(position: u64) -> impl Fn(Column) -> u64 {
        move |column| if column == Column::Log { position } else { 0 }
    }

    /// Whether it was woken since the last time that this was asked.
    fn is_woken(waiting: &Waiting<'_>) -> bool {
        pin!(waiting.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_wait_is_woken_by_the_last_node_that_it_needs_and_by_nothing_before() {
        let waits = Waits::default();
        let (two, all) = (waits.begin(), waits.begin());
        two.wants(SPACE, wanted(5, 2), |_, _| 0);
        all.wants(SPACE, wanted(5, 3), |_, _| 0);
        waits.heard(SPACE, node(1), log_up_to(105));
        waits.heard(SPACE, node(1), log_up_to(106));
        assert!(!is_woken(&two), "the same node again is none more");
        waits.heard(SPACE, node(2), log_up_to(104));
        assert!(!is_woken(&two), "one before it");
        waits.heard(SPACE, node(2), log_up_to(200));
        assert!(is_woken(&two) && !is_woken(&all));
        waits.heard(SPACE, node(3), |column| u64::from(column == Column::Of(replica(1))) * 5);
        assert!(is_woken(&all), "who knows the event need not hold the log");
    }

    #[test]
    fn acknowledgements_that_do_not_concern_a_wait_cost_one_comparison_a_column_and_wake_nobody() {
        let waits = Waits::default();
        let waiting: Vec<Waiting<'_>> = (0..1_000)
            .map(|at| {
                let waiting = waits.begin();
                waiting.wants(SPACE, wanted(1_000 + at, 1), |_, _| 0);
                waiting
            })
            .collect();
        let asked = Cell::new(0);
        let level = |at| {
            let asked = &asked;
            move |column| {
                asked.set(asked.get() + 1);
                log_up_to(at)(column)
            }
        };
        for at in 0..1_000 {
            waits.heard(OTHER_SPACE, node(1), level(u64::MAX));
            waits.heard(SPACE, node(9), level(u64::MAX));
            waits.heard(SPACE, node(1), level(at));
        }
        assert_eq!(asked.get(), 2 * 1_000, "the log and one replica, of one node, for all who wait");
        assert!(!waiting.iter().any(is_woken));
        waits.heard(SPACE, node(1), level(1_100));
        let woken: Vec<bool> = waiting.iter().map(is_woken).collect();
        assert!(woken[0] && !woken[1..].contains(&true), "1,100 is the place of the first one's event");
    }

    #[test]
    fn of_several_columns_each_is_waited_for_and_the_last_one_wakes() {
        let waits = Waits::default();
        let waiting = waits.begin();
        let context = CausalContext::from_iter([1, 2, 3].map(|n| (replica(n), 10)));
        let wanted = Wanted { context, head: None, lacking: [node(1)].into(), needed: 1 };
        waiting.wants(SPACE, wanted, |_, column| u64::from(column == Column::Of(replica(1))) * 10);
        let known = |highest: [u64; 3]| {
            move |column| {
                let at = (0..3_u8).find(|at| column == Column::Of(replica(at + 1)));
                at.map_or(0, |at| highest[usize::from(at)])
            }
        };
        waits.heard(SPACE, node(1), known([10, 9, 10]));
        waits.heard(SPACE, node(1), known([10, 10, 9]));
        assert!(!is_woken(&waiting));
        waits.heard(SPACE, node(1), known([10, 10, 10]));
        assert!(is_woken(&waiting));
    }

    #[test]
    fn what_was_wanted_before_wakes_no_more_and_who_is_gone_leaves_nothing() {
        let waits = Waits::default();
        let waiting = waits.begin();
        waiting.wants(SPACE, wanted(5, 1), |_, _| 0);
        waiting.wants(SPACE, wanted(50, 1), |_, _| 0);
        waits.heard(SPACE, node(1), log_up_to(149));
        assert!(!is_woken(&waiting));
        waits.wake_all();
        assert!(is_woken(&waiting), "members changed");
        drop(waiting);
        let table = waits.table();
        assert!(table.waits.is_empty() && table.marks.is_empty());
    }
}
