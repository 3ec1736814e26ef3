//! The receiving side of a large answer: staged item by item, joined at once, resumed after a cut.
//!
//! ```text
//! A  -- Pull(context) --------------------> B
//! A  <-------- Skeleton(dots, live, claims) B    one snapshot
//! A  <-------------- Payloads(items) * n -- B    joined when the last needed one is there
//!       a cut, or frames lost
//! A  -- Pull(context, have) --------------> B    a new snapshot; only items not in `have` follow
//! ```
//!
//! A dot's item never changes, so what is staged is a cache by dot: a new skeleton, of this giver or of another, says
//! which of it is still wanted (DESIGN section 3, rules of transport).

use crate::causal::{CausalContext, DotSet};
use crate::cell::{CellId, Hlc, Item};
use crate::error::FrameError;
use crate::id::{Dot, NamespaceId, NodeId, ReplicaId};
use crate::limits::Limits;
use crate::message::{HAVE_INTERVAL_BYTES_MAX, Payloads, Skeleton};
use crate::mutant::{self, Mutant};
use crate::store::{Runs, Store};

/// A large answer on its way in, or what is left of one after a cut. One a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inbound {
    pub(crate) peer: NodeId,
    pub(crate) namespace: NamespaceId,
    /// The giver's life.
    pub(crate) of: ReplicaId,
    pub(crate) skeleton: Skeleton,
    /// True while items of this skeleton may come: other large answers wait.
    is_open: bool,
    /// The live dots that were not known here when the skeleton came.
    want: DotSet,
    /// How many of them are not staged.
    missing: u64,
    /// The dots of the staged items, all of them wanted.
    staged: DotSet,
    /// The staged items. At most [`Limits::staging_bytes_max`].
    runs: Runs,
    /// Their accounted bytes.
    bytes: u64,
}

impl Inbound {
    /// Begins with a skeleton from `peer`, at a replica that knows `context`. `before` is what is left of an
    /// earlier answer in the same namespace.
    pub(crate) fn begin(
        (peer, namespace, of): (NodeId, NamespaceId, ReplicaId),
        skeleton: Skeleton,
        context: &CausalContext,
        before: Option<Self>,
    ) -> Self {
        let want = skeleton.live.minus_context(context);
        let (mut runs, mut staged, mut bytes) = before.map_or_else(Default::default, |before| {
            let Self { runs, staged, bytes, .. } = before;
            (runs, staged, bytes)
        });
        if !mutant::is(Mutant::StagedDeadUsed) {
            staged = staged.intersection(&want);
            for run in &mut runs {
                run.retain(|(_, item)| staged.contains(item.dot));
            }
            runs.retain(|run| !run.is_empty());
            bytes = runs.iter().flatten().map(|(cell, item)| Store::item_bytes(cell, item)).sum();
        }
        let missing = want.len() - staged.overlap(&want);
        Self { peer, namespace, of, skeleton, is_open: true, want, missing, staged, runs, bytes }
    }

    /// True if it is an answer of this peer in this namespace.
    pub(crate) fn is_from(&self, peer: NodeId, namespace: NamespaceId) -> bool {
        (self.peer, self.namespace) == (peer, namespace)
    }

    /// True while its frames are expected.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The connection broke or nothing came for too long: what is staged waits for the next skeleton.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
    }

    /// Stages the wanted items of a frame; gives back how many were new.
    ///
    /// # Errors
    /// [`FrameError::OutsideDots`] if an item is not live in the skeleton that the frame belongs to: nothing was
    /// staged. [`FrameError::Staging`] if the staging limit is met: the caller drops all of it.
    pub(crate) fn stage(&mut self, payloads: Payloads, limits: &Limits) -> Result<u64, FrameError> {
        let dots: DotSet = payloads.items.iter().map(|(_, item)| item.dot).collect();
        if payloads.answer == self.skeleton.answer
            && let Some((replica, stray)) = dots.minus(&self.skeleton.live).intervals().next()
        {
            let dot = Dot::new(replica, stray.first);
            return Err(FrameError::OutsideDots { dot, field: "payloads" });
        }
        let wanted = dots.intersection(&self.want).minus(&self.staged);
        let (new, mut run) = (wanted.len(), payloads.items);
        if new < run.len() as u64 {
            run.retain(|(_, item)| wanted.contains(item.dot));
            run.shrink_to_fit();
        }
        self.bytes += run.iter().map(|(cell, item)| Store::item_bytes(cell, item)).sum::<u64>();
        let max = limits.staging_bytes_max as u64;
        if self.bytes > max {
            return Err(FrameError::Staging { field: "staged bytes", count: self.bytes, max });
        }
        self.staged.union(&wanted);
        self.missing -= new;
        self.runs.extend((new > 0).then_some(run));
        Ok(new)
    }

    /// True when every item that the join needs is here.
    pub(crate) fn is_complete(&self) -> bool {
        let enough = if mutant::is(Mutant::LargeJoinedEarly) { self.want.len() / 2 } else { 0 };
        self.missing <= enough
    }

    /// True if nothing of it is needed by a replica that knows `context`.
    pub(crate) fn is_spent(&self, context: &CausalContext) -> bool {
        self.want.minus_context(context).is_empty()
    }

    /// What a pull to life `of` of a peer says that it need not send, in at most `bytes_max` bytes.
    ///
    /// For the giver itself, a gap between two staged intervals is closed where the skeleton wanted nothing: what
    /// lies there is known here or dead there, for ever. Another peer may hold it live, so there every gap stays.
    pub(crate) fn have(&self, of: ReplicaId, bytes_max: usize) -> DotSet {
        let have = if of == self.of { self.staged.bridged(&self.want) } else { self.staged.clone() };
        have.first_intervals(bytes_max / HAVE_INTERVAL_BYTES_MAX)
    }

    /// Items staged, and items wanted in all.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let want = self.want.len();
        (want - self.missing, want)
    }

    /// Accounted bytes of the staged items.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The newest clock among the staged items.
    pub(crate) fn newest(&self) -> Option<Hlc> {
        self.items().map(|(_, item)| item.hlc).max()
    }

    fn items(&self) -> impl Iterator<Item = &(CellId, Item)> {
        self.runs.iter().flatten()
    }

    /// The skeleton and the staged items, for the join.
    pub(crate) fn into_parts(self) -> (Skeleton, Runs) {
        (self.skeleton, self.runs)
    }

    /// What decides how it goes on, for the node's state key.
    pub(crate) fn key(&self) -> (bool, &DotSet, &DotSet) {
        (self.is_open, &self.want, &self.staged)
    }
}
