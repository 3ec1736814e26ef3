//! What a run amounted to: the figures of a seed, summed up over a campaign.

use std::collections::BTreeMap;

use sync_core::id::Dot;

/// The figures of one run. They are read off what happens, never fed back into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Faults that struck, by [`crate::faults::FaultKind::NAMES`].
    pub faults: BTreeMap<&'static str, u64>,
    /// Operations that minted something.
    pub ops: u64,
    /// Groups of more than one operation.
    pub groups: u64,
    /// Operations refused by a limit.
    pub refused: u64,
    /// Turns that passed because their node was down, stood still, or waited for its fence.
    pub passed: u64,
    /// Writes ended by two operations that had not seen each other.
    pub concurrent_kills: u64,
    /// Counters counted on by a replica that had seen another's reset.
    pub resets_seen: u64,
    /// Operations whose writes expire.
    pub expiring: u64,
    /// Times that a node's horizon rose, by itself or by a peer's.
    pub horizons: u64,
    /// Sessions completed, and how many of them compared all live dots.
    pub sessions: u64,
    /// See [`Self::sessions`].
    pub fallbacks: u64,
    /// Of these, by sketch.
    pub sketches: u64,
    /// Answers by sketch whose symbols did not suffice at once.
    pub sketches_more: u64,
    /// Roots from a node that had no cursor for its peer and a truncated log.
    pub log_truncations: u64,
    /// Nodes whose records had been truncated in some column when their life or the run ended.
    pub record_truncations: u64,
    /// Answers too large for a frame that arrived, by their first frame.
    pub large_answers: u64,
    /// Pulls that went on from what was staged of one.
    pub resumed: u64,
    /// Large answers called off because more was ended than may be pinned.
    pub called_off: u64,
    /// Fences: a node that found its own id ahead of itself.
    pub fences: u64,
    /// `Diverged` alarms.
    pub alarms: u64,
    /// `Corrupt` alarms.
    pub corrupt: u64,
    /// Times that a node healed damage.
    pub healed: u64,
    /// Items that a node wrote again to heal.
    pub rewritten: u64,
    /// Own items that could be read on a rotten disk.
    pub salvaged: u64,
    /// Those of them that were written again.
    pub replayed: u64,
    /// Breakers that opened because a peer could not be reached, those that opened for misbehaviour, and probes that
    /// failed.
    pub breaker_opens: u64,
    /// See [`Self::breaker_opens`].
    pub breaker_shuts: u64,
    /// See [`Self::breaker_opens`].
    pub probes_failed: u64,
    /// Marks of remove-wins sets that nodes ended.
    pub marks_ended: u64,
    /// Elements added to side lanes.
    pub lane_writes: u64,
    /// Side lanes opened or closed.
    pub lanes_turned: u64,
    /// Inputs that nodes handled.
    pub steps: u64,
    /// Frames sent.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Items that arrived and were new, over all lives.
    pub items_new: u64,
    /// Items that arrived and were known already.
    pub items_known: u64,
    /// Virtual microseconds from the heal to agreement; `None` if that did not come.
    pub converged_us: Option<u64>,
}

impl Counts {
    /// Counts a fault that struck.
    pub(crate) fn fault(&mut self, name: &'static str) {
        self.faults_by(name, 1);
    }

    /// Counts `times` faults; none is none.
    pub(crate) fn faults_by(&mut self, name: &'static str, times: u64) {
        if times > 0 {
            *self.faults.entry(name).or_default() += times;
        }
    }
}

/// Who ended which write: finds writes that two operations ended without knowing of each other.
///
/// An operation ends only what is live where it happens. So whoever ends a dot a second time had not
/// seen the first, and the first was earlier: the two are concurrent.
#[derive(Debug, Default)]
pub(crate) struct Kills(BTreeMap<Dot, u64>);

impl Kills {
    /// `dots` were ended; gives back how many of them for the second time.
    pub(crate) fn ended(&mut self, dots: impl IntoIterator<Item = Dot>) -> u64 {
        let mut again = 0;
        for dot in dots {
            let times = self.0.entry(dot).or_default();
            *times += 1;
            again += u64::from(*times == 2);
        }
        again
    }
}
