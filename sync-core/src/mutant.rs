//! Planted protocol bugs: what the simulator must notice to be worth believing.
//!
//! Each [`Mutant`] breaks one rule at the place where the rule lives, behind `mutant::is(..)`. Without the
//! cargo feature `mutants` that is a constant `false` and the switch vanishes; with it, it is a comparison
//! with a thread-local that only `with` sets. No production crate enables the feature, and a build that
//! has it by accident behaves like one that has not. `simulations` runs every mutant (its command
//! `mutants`) and demands that a checker kills it.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident = $row:literal,)+) => {
        /// A planted bug. The text of each says what the mutant does instead of the rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it does instead of the rule.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The rule that it breaks: a row of the design's table of refuted shortcuts, a rule of one of
            /// its sections, or a row of the fault catalogue.
            pub const fn row(self) -> &'static str {
                match self { $(Self::$name => $row,)+ }
            }
        }
    };
}

mutants! {
    /// A push names every dot of the context and carries the items of the log entries only.
    PushNamesWholeContext = "table: fragment with the whole context",
    /// A session's answer names every dot of the context and carries the items of the difference only.
    AnswerNamesWholeContext = "table: fragment with the whole context",
    /// A push names the newest step's dots, but its cells were read before that step.
    ContextNewerThanCells = "table: context newer than the cells read",
    /// A session's answer applies half of its items, with its whole context.
    ContextBeforeCells = "table: context adopted before all cells came",
    /// What a fragment says is dead ends, whether or not anything in it could have ended it.
    UnprovenEndsDone = "T8: no undamaged node loses an item",
    /// A sketch that is not decoded yet is taken for one that shows no difference.
    SketchCutShort = "T7: the symmetric difference of the live dots",
    /// A session's answer applies its items and leaves a column of its context for later.
    CellsBeforeContext = "table: context adopted at the end; aborted streaming session",
    /// A later write of a group takes the dot of the one before it.
    OneDotTwoCells = "table: one dot on two cells",
    /// A remove kills and mints no dot.
    RemoveMintsNothing = "table: a remove mints no dot",
    /// A receiver learns the dots that came with items and not those of removes.
    DeadDotsNotLearned = "table: a remove mints no dot",
    /// Pushes are joined in any order: neither their start nor gaps in a column are checked.
    DeltasInAnyOrder = "table: deltas in any order",
    /// An answer's dots are of the snapshot before the newest step, its cells and claims are live.
    AnswerReadsCellsLive = "table: cells read live instead of from the snapshot of the context",
    /// A concurrent write that loses by clock is dropped as it is joined.
    LwwLoserDropped = "table: LWW loser dropped at join",
    /// A restart after a crash lives on under the old replica id. Planted in the simulated driver.
    RestartKeepsReplica = "table: crash loses the tail, same replica id; a restart keeps its id but starts its log again",
    /// A restore from a backup lives on under the replica id of the life that made it. Planted in the
    /// simulated driver.
    RestoreKeepsReplica = "faults 3.1: restore from backup; cloned disk",
    /// The durable image holds the context of the newest step and the items of the one before.
    ContextDurableBeforeItems = "table: context durable before its items",
    /// A join at the cap learns the dot of an item that would create an object and drops the item.
    CapDropsItems = "table: cap refuses at join (learning the dot)",
    /// A join at the cap is refused if an item in it would create an object.
    CapRefusesJoins = "table: cap refuses at join (not learning the dot)",
    /// A restart prunes the columns of the context of which nothing is live.
    DeadColumnsPruned = "table: a departed replica's entry pruned from C",
    /// A reset kills contributions and writes no floor.
    ResetWritesNoFloor = "table: counter delete kills the cumulative cell",
    /// A reset kills contributions and floors by one path range.
    ResetKillsLikeCells = "table: a key or prefix remove kills counters and floors like other cells",
    /// The receiver does not check where a push begins.
    LoUnchecked = "rules of transport: a push whose start is ahead is not joined",
    /// The sender moves its cursor when it sends, and the receiver does not check where a push begins.
    CursorMovedAtSend = "table: cursor moved at send and lo not checked",
    /// Frames of and for another life are taken in.
    OtherLivesAccepted = "table: session or push accepted across a crash",
    /// A life that was set back does not heed what a frame says of its own events.
    SetBackUnnoticed = "incarnations: own id seen ahead of oneself: fence, before anything is joined",
    /// A life that was set back never takes new ids.
    NeverFenced = "incarnations: own id seen ahead of oneself: fence",
    /// Who learns that its counter owner counts in another place keeps it.
    DoubledOwnerKept = "incarnations: two contributions of one owner prove a copied folder: both take new owners",
    /// What is known of a peer, and its cursor, survive its rebirth.
    RebirthIgnored = "rules of transport: cursors are kept per incarnation, never per node",
    /// Pushes carry no records.
    PushWithoutRecords = "table: no records in pushes",
    /// A record that is dropped for lack of room raises no floor.
    TruncationIgnored = "table: truncation ignored",
    /// A session is answered by claims although records may be lacking.
    FloorsIgnored = "table: truncation ignored",
    /// Who learns dots does not take over the sender's floors.
    FloorsNotInherited = "table: floors not inherited",
    /// Who learns dots does not take over their records.
    RecordsNotInherited = "rules of transport: who learns dots inherits records and floors",
    /// A fallback, which carries no records, raises no floor.
    FallbackRaisesNoFloor = "rules of transport: after a fallback, the highest dot learned",
    /// A restart knows its records and has forgotten its floors.
    FloorsNotPersisted = "table: floors not persisted",
    /// A restart has forgotten its records; its floors do not say so.
    RecordsNotPersisted = "incarnations: one atomic unit persists",
    /// A write that expires and kills leaves no record.
    ExpiringUnrecorded = "table: no record for expiring writes",
    /// What expires by the local clock is dead at once; the horizon does not say so.
    ExpiredByLocalClock = "table: expiry by local clock",
    /// A horizon too far ahead of the own clock is taken as far as the clock allows.
    HorizonClamped = "table: H clamped to the local clock instead of refusing the frame",
    /// A restart has forgotten the horizon.
    HorizonNotPersisted = "table: H not persisted",
    /// The horizon moves with the clock, whether that kills anything or not.
    HorizonMovesAlone = "expiry: H moves only when it kills",
    /// The horizon follows the own clock, whatever the members' clocks say.
    MedianIgnored = "expiry: t = min(own clock, median of the members' clocks)",
    /// A write that kills a dot of another cell leaves no record.
    CrossCellUnrecorded = "table: no record for cross-cell writes",
    /// What a damaged disk still gave is written again before any member was heard.
    ReplayedUnheard = "a damaged store: written again is what no peer's context holds",
    /// What waits to be written again after a damage is not on the disk.
    SalvageNotPersisted = "incarnations: one atomic unit persists",
    /// What was written again after a damage stays on the disk as if it waited.
    SalvageWrittenTwice = "incarnations: one atomic unit persists",
    /// A persist step takes no row of a dead item away.
    DeadRowsStay = "incarnations: one atomic unit persists",
    /// A restart drops a live cell; its dots stay in the context.
    DamagedCellDropped = "table: a damaged cell dropped while its dots stay in the context",
    /// A restore from a backup keeps the counter owner. Planted in the simulated driver.
    RestoreKeepsOwner = "table: a counter's owner kept over a crash that lost sent writes",
    /// A push names what the peer is known to hold.
    KnownIsPushed = "table: push to random peers on stale knowledge",
    /// What was learned from one peer is relayed to the others at once.
    RelayedAtOnce = "table: push to random peers on stale knowledge",
    /// A push leaves out every dot that the peer is known to hold, dead ones too.
    KnownDeadLeftOut = "rules of transport: a dot dead here stays in",
    /// A push covers one log entry, resolved against the state of the head.
    PushCutBeforeHead = "T4: up to the head, resolved against current state",
    /// The log entry of a local step names what it minted and not what it killed.
    KillsNotLogged = "T4: the dots whose status changed, learned or killed",
    /// The log entry of a join names what it learned and not what it killed.
    JoinedKillsNotLogged = "T4: the dots whose status changed, learned or killed",
    /// A cursor that fell off the log goes on at its oldest entry.
    LogTruncationIgnored = "faults 3.2: delta log truncated before slow peer acks",
    /// A join empties the entries that are in the log.
    LogClearedByJoin = "faults 3.2: delta cleared after merging others' deltas",
    /// A dot named without an item does not kill the item here.
    NamedDeadStayLive = "T1: every dot named is judged",
    /// A claimed cell lists the items that the fragment carries and not its other live dots.
    ClaimsOmitOthers = "T6: a claim is that cell's live dots, all of them",
    /// Cells that a record names are not claimed.
    RecordCellsNotClaimed = "T6: a claim for every cell touched by a record",
    /// Ranges that a record names are not claimed.
    RecordRangesNotClaimed = "T6: a claim for every range a record names",
    /// Claims about cells are not read.
    CellClaimsIgnored = "T6: a claim for every cell touched by a live item",
    /// A claimed cell is judged by what the receiver knows.
    ClaimsJudgedByReceiver = "T6: judged by the context of the same snapshot",
    /// A fallback is judged by what the receiver knows.
    FallbackJudgedByReceiver = "T7: a dot live only here is dead if the other context holds it",
    /// A remove kills every item of the cells that its record names, at each receiver.
    RemovesKillConcurrent = "data model: a remove kills what it saw",
    /// An item whose dot is known and dead comes back when it is received again.
    DeadRevived = "formal core: a dot in C that is not live is dead, for ever",
    /// A remove leaves no record.
    RemovesUnrecorded = "T6: records are kept for removes",
    /// A group that fails leaves its writes in the store.
    RollBackLeavesWrites = "bounds: a group is admitted whole or not at all",
    /// A group that fails leaves dead what it killed.
    RollBackLeavesKills = "bounds: a group is admitted whole or not at all",
    /// The soft limit on objects is not checked.
    SoftLimitUnchecked = "bounds: soft limits refuse local creation",
    /// The ceiling is not checked.
    CeilingUnchecked = "bounds: a fragment above the ceiling is refused whole",
    /// Of a fragment above the ceiling the dots are learned and the items dropped.
    CeilingDropsItems = "bounds: refused whole, never in part",
    /// Records are kept without a limit.
    RecordsUnbounded = "bounds: records are bounded",
    /// Frames are built for a peer that does not read.
    OutboxUnbounded = "protocol: frames built and not yet written are bounded",
    /// The state id leaves the context out.
    StateIdIgnoresContext = "faults 3.2: Merkle root equal, contexts differ",
    /// A cell that changes keeps its old fingerprint.
    RootNotRehashed = "faults 3.2: root equal exactly when state is equal",
    /// A push that is refused is acknowledged.
    RefusedPushAcked = "rules of transport: join, then acknowledge",
    /// Unequal roots move the inbound cursor to the sender's head.
    UnequalRootMovesCursor = "rules of transport: a root confirms the log only when states are equal",
    /// An open moves the inbound cursor to its sender's head, whatever the states.
    OpenMovesCursor = "rules of transport: a root confirms the log only when states are equal",
    /// Whoever opens counts as knowing all that is known here.
    OpenTakenForEqual = "rules of transport: the receiver's last known context",
    /// An open leaves before the state that it shows is durable.
    OpenNotHeld = "rules of transport: held frames",
    /// An answer's head is one step ahead of its fragment.
    GiveHeadAhead = "rules of transport: head and fragment are of one snapshot",
    /// The peer counts as knowing a push when it is sent.
    KnownRaisedAtSend = "rules of transport: the receiver's last known context",
    /// Frames leave before the state that they show is durable.
    FramesNotHeld = "rules of transport: held frames",
    /// An unacknowledged push is not sent again.
    PushNotRepeated = "rules of transport: sent falls back when an ack is overdue",
    /// A root that needs no answer is answered.
    RootsAnswerRoots = "silence at rest: one root round a peer per interval",
    /// What is staged is used although the new skeleton says that it is dead.
    StagedDeadUsed = "large fragments: a new skeleton says which staged items are live",
    /// A large answer is joined when half of its items are there.
    LargeJoinedEarly = "large fragments: applied all at once",
    /// A large answer that is called off is joined with what has come of it.
    GoneJoined = "large fragments: beyond what may be pinned the answer is Gone",
    /// Of a cell whose item was pinned, the item that stands there now is sent under the pinned one's dot.
    PinnedReadLive = "large fragments: items are of the skeleton's snapshot",
    /// A large answer leaves out what the peer had staged before, in another life too.
    HaveOfAnotherLife = "large fragments: have is what the asker has staged now",
    /// Slices of two answers are staged together.
    PartsMixed = "rules of transport: all parts of one snapshot",
    /// The durable inbound cursor is one step ahead of the durable state.
    InboundAheadOfState = "incarnations: one atomic unit persists",
    /// A restart has forgotten its hybrid clock.
    ClockNotPersisted = "faults 3.1: HLC monotone, persisted high-water",
    /// A local write takes the wall clock's reading, whatever was seen before.
    ClockStepsBack = "faults 3.1: clock skew, step back",
    /// A remote clock pulls the own one as far as it likes.
    ClockUnbounded = "faults 3.1: HLC poisoning",
    /// An increment forgets the floors that it ends.
    FloorNotEmbedded = "counters: an increment takes over f := F",
    /// An increment after a full reset goes on with the generation of the floor.
    GenerationReused = "counters: a fresh row has a fresh gen",
    /// Counts wrap at 64 bits.
    CounterWraps = "faults 3.2: integer overflow of counters",
    /// The cleanup ends floors that a live contribution still meets.
    CleanupEndsLiveFloors = "counters: an owner kills a floor whose gen is not its current one",
    /// A node does not use a link that only the other end has chosen.
    OverlayOneSided = "overlay: when views differ, either end may use a link and the other answers",
    /// What was learned from others is never relayed.
    RelaysNeverSent = "overlay: what a neighbour taught goes on to the others",
    /// A peer is told of what it lacks only, so that it relays back what is known here.
    ToldOnlyWhatIsLacked = "overlay: a peer that knows is told too, so that it need not relay",
    /// No root goes to a random peer.
    RandomSessionNeverRuns = "overlay: one random push-pull session a second while there is news",
    /// A namespace that is opened again begins empty, under the same replica id.
    ClosedSpaceForgotten = "lanes: closing keeps the state, or dots would be minted twice",
    /// An alarm is raised, and nothing is healed.
    NeverHealed = "T8: what differs is found by the trie and healed",
    /// A divergence is healed without a word of it.
    AlarmNotRaised = "T8: equal contexts with unequal roots raise an alarm",
    /// A record that proves a dot dead is not looked for.
    ProofOfDeathIgnored = "T8 (2): a dot stays dead where a record kills it",
    /// One member that lacks a dot is enough to call it dead.
    BuriedByOne = "T8 (2): the members must agree that a dot is dead",
    /// Members that know other events have a say.
    HeardAcrossContexts = "T8: what is absent is judged between equal contexts only",
    /// What the other side cannot decide is left to it for ever.
    NeverInsists = "T8 (2): otherwise the side that holds it writes it again",
    /// The scrub passes over every second cell.
    ScrubSkipsCells = "T8: a scrub recomputes the leaf hashes of the whole store in its period",
    /// Fragments leave while the bytes of damaged cells are asked for.
    DamagedFragmentLeaves = "T8: healed before a fragment from a failed leaf is sent",
    /// A descent passes over what only the asker holds.
    DescentDropsOurs = "ladder: the trie finds every leaf that differs",
    /// What a sketch shows to be dead stays live.
    SketchDeadKept = "T7: a dot live only here is dead if the other context holds it",
    /// A difference is applied to the newest base at hand, whichever it builds on.
    AnotherBaseTaken = "protocol: a difference is read from the base that it names, or not at all",
    /// Each side speaks the newest version that it can.
    NewestAlwaysSpoken = "protocol: the newest version that both speak",
    /// Adding a present element mints nothing.
    PresentNotRenewed = "data model: adding a present element renews it",
    /// A disable-wins flag is on if a live write says so.
    DisableLoses = "types: a disable-wins flag is on iff all live writes say on",
    /// A remove-wins set shows an element that is added and removed concurrently.
    RemoveLoses = "types: a remove-wins element is present iff no live write is a remove",
    /// A mark is ended once one member holds it.
    OneMemberIsEnough = "remove-wins: for each member a context that holds the mark",
    /// A mark is ended once it was sent to every member, or they were told of it.
    ToldTakenForHeld = "remove-wins: a context that the member holds, not what it was sent",
    /// A mark is ended once every member is known to hold it, whatever else that member holds.
    KnownTakenForWhole = "remove-wins: a whole context of one moment, not a lower bound",
    /// A mark is ended although a member's context holds what is not known here.
    StatedNotCovered = "remove-wins: all of that context is known here",
    /// A mark is ended once every member that is connected holds it.
    AwayIsNoMember = "remove-wins: a member that is away blocks",
    /// A bounded counter is counted down without the rights to.
    RightsUnchecked = "types: an owner spends and sends only rights that it holds",
    /// Rights that were sent are still counted as held.
    SentRightsKept = "types: rights held are gained and received less spent and sent",
    /// Removing a field of a nested map kills the counters in it.
    MapRemoveKillsCounters = "table: a key or prefix remove kills counters and floors like other cells",
    /// No append ends the oldest entries.
    LogNeverTrimmed = "types: an append that sees too many ends the oldest",
    /// A step's changes are told to watches without the last one.
    ChangeLeftOut = "watches: the changes give the state at every step",
    /// What a group or a join changed is told to watches in two parts.
    BatchSplit = "watches: a step is one batch",
    /// A frame that comes while a probe is under way begins another.
    TwoProbesAtOnce = "breaker: half-open with exactly one probe",
    /// A breaker that opened for misbehaviour is half-open as soon as something comes from the peer.
    MisbehaviourForgiven = "breaker: opened by misbehaviour, the full time, whatever arrives",
    /// An open breaker holds nothing back.
    OpenBreakerSends = "breaker: of ours only probes go while it is open",
    /// A peer that cannot be reached is not probed.
    ProbeNeverDue = "breaker: opened by unreachability, a probe every 1-5 s",
    /// A watch that catches up is not told what was only removed since.
    CatchUpWithoutRecords = "watches: a context tells what has changed since",
}

/// True if the simulator has planted `mutant` on this thread.
#[cfg(feature = "mutants")]
#[inline]
pub fn is(mutant: Mutant) -> bool {
    planted::PLANTED.get() == Some(mutant)
}

/// False: this build has no mutants.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_mutant: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
mod planted {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        pub(super) static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Takes the mutant out again, even if the run panics.
    pub(super) struct Uproot(pub(super) Option<Mutant>);

    impl Drop for Uproot {
        fn drop(&mut self) {
            PLANTED.set(self.0);
        }
    }
}

/// Runs `run` on this thread with `mutant` planted in every node of the thread.
#[cfg(feature = "mutants")]
pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    let _uproot = planted::Uproot(planted::PLANTED.replace(mutant));
    run()
}
