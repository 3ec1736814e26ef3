//! How close each bound is: a reading at any time, an event at 80 % and at 100 %.
//!
//! Readings are lengths that are kept anyway, so one costs about a hundred nanoseconds and none is taken on the write
//! path: events come of the next [`Node::handle`], which follows each write and each frame. A bound that sounded is
//! silent until it has fallen below 70 %, so one that hovers does not flap. From 95 % on, and until below 90 %, it is
//! *nearly full*: who judges the node's health asks for that.
//!
//! Not every bound has a pressure: what a single write or frame may take (key, value, group, depth, message) is met or
//! is not, and says so in the error.

use std::collections::BTreeMap;
use std::fmt;

use super::{Event, Node};
use crate::id::NamespaceId;
#[cfg(doc)]
use crate::limits::Limits;
use crate::store::Store;

/// A bound that fills up, named after the field of [`Limits`] that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// [`Limits::crdts_max`].
    Crdts,
    /// [`Limits::store_bytes_max`].
    StoreBytes,
    /// [`Limits::store_bytes_ceiling`].
    Ceiling,
    /// [`Limits::crdt_cells_max`], of the CRDT with the most.
    CrdtCells,
    /// [`Limits::crdt_bytes_max`], of the CRDT with the most.
    CrdtBytes,
    /// [`Limits::records_max`]. Full is its usual state: the oldest goes.
    Records,
    /// [`Limits::records_bytes_max`]; as above.
    RecordsBytes,
    /// [`Limits::log_entries_max`]; as above.
    LogEntries,
    /// [`Limits::log_intervals_max`]; as above.
    LogIntervals,
    /// [`Limits::pinned_bytes_max`].
    PinnedBytes,
    /// [`Limits::peers_max`], by the peers that are connected: one that is away gives its place to a new one.
    Peers,
    /// [`Limits::outbox_frames_max`], of the peer and class with the most.
    OutboxFrames,
    /// [`Limits::outbox_bytes_max`], of the peer and class with the most.
    OutboxBytes,
    /// [`Limits::staging_bytes_max`].
    StagingBytes,
    /// [`Limits::events_max`].
    Events,
}

impl Bound {
    /// Every bound that has a pressure: first those of a namespace, then those of the node.
    pub const ALL: [Self; 15] = [
        Self::Crdts,
        Self::StoreBytes,
        Self::Ceiling,
        Self::CrdtCells,
        Self::CrdtBytes,
        Self::Records,
        Self::RecordsBytes,
        Self::LogEntries,
        Self::LogIntervals,
        Self::PinnedBytes,
        Self::Peers,
        Self::OutboxFrames,
        Self::OutboxBytes,
        Self::StagingBytes,
        Self::Events,
    ];

    /// The field of [`Limits`] that sets it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crdts => "crdts_max",
            Self::StoreBytes => "store_bytes_max",
            Self::Ceiling => "store_bytes_ceiling",
            Self::CrdtCells => "crdt_cells_max",
            Self::CrdtBytes => "crdt_bytes_max",
            Self::Records => "records_max",
            Self::RecordsBytes => "records_bytes_max",
            Self::LogEntries => "log_entries_max",
            Self::LogIntervals => "log_intervals_max",
            Self::PinnedBytes => "pinned_bytes_max",
            Self::Peers => "peers_max",
            Self::OutboxFrames => "outbox_frames_max",
            Self::OutboxBytes => "outbox_bytes_max",
            Self::StagingBytes => "staging_bytes_max",
            Self::Events => "events_max",
        }
    }

    /// What happens at it, in one line for a person.
    pub fn edge(self) -> &'static str {
        match self {
            Self::Crdts => "new CRDTs are refused here; remove some or raise it",
            Self::StoreBytes => "writes that grow the store are refused here; remove data or raise it",
            Self::Ceiling => "what peers send is refused if it grows the store; remove data or raise it",
            Self::CrdtCells => "the fullest CRDT takes no more cells from here; spread it over more keys",
            Self::CrdtBytes => "the fullest CRDT takes no more bytes from here; spread it over more keys",
            Self::Records | Self::RecordsBytes => {
                "the oldest record goes; who has been away for longer compares more"
            }
            Self::LogEntries | Self::LogIntervals => {
                "the oldest entry goes; who has been away for longer heals by a session"
            }
            Self::PinnedBytes => "large answers under way are called off and pulled again",
            Self::Peers => "one more peer is refused; remove one or raise it",
            Self::OutboxFrames | Self::OutboxBytes => {
                "nothing more is built for a slow peer until it has read"
            }
            Self::StagingBytes => {
                "a large answer is dropped and pulled again; raise it above the store's bytes"
            }
            Self::Events => "the oldest event is dropped; the application does not read them",
        }
    }

    /// True if full is its usual state: the oldest goes for the newest.
    pub fn is_ring(self) -> bool {
        (Self::Records..=Self::LogIntervals).contains(&self)
    }

    /// True if what fills it stays until somebody removes it; false for rings, and for what empties by itself.
    pub fn is_kept(self) -> bool {
        match self {
            Self::Crdts
            | Self::StoreBytes
            | Self::Ceiling
            | Self::CrdtCells
            | Self::CrdtBytes
            | Self::Peers => true,
            Self::Records
            | Self::RecordsBytes
            | Self::LogEntries
            | Self::LogIntervals
            | Self::PinnedBytes
            | Self::OutboxFrames
            | Self::OutboxBytes
            | Self::StagingBytes
            | Self::Events => false,
        }
    }

    /// True if it is a bound of a namespace; false if it is the node's.
    pub fn is_of_namespace(self) -> bool {
        self < Self::Peers
    }
}

/// What is used of a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is used, in the unit of the bound. Can be above `max` where joins overshoot.
    pub used: u64,
    /// The bound.
    pub max: u64,
}

impl Reading {
    fn new(used: usize, max: usize) -> Self {
        Self { used: used as u64, max: max as u64 }
    }

    /// 0.0 for nothing used to 1.0 for all of it, and what overshoots counts as all.
    #[expect(clippy::cast_precision_loss, reason = "a share of a bound needs no more than 52 bits")]
    pub fn pressure(self) -> f64 {
        if self.used >= self.max { 1.0 } else { self.used as f64 / self.max as f64 }
    }

    /// The share used in whole percent, rounded down; above 100 where joins overshoot.
    pub fn percent(self) -> u64 {
        let percent = u128::from(self.used) * 100 / u128::from(self.max.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// A reading of every bound. From [`Node::pressure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure([Reading; Bound::ALL.len()]);

impl Pressure {
    /// The reading of one bound.
    pub fn of(&self, bound: Bound) -> Reading {
        self.0[bound as usize]
    }

    /// Every reading, in the order of [`Bound::ALL`].
    pub fn readings(&self) -> impl Iterator<Item = (Bound, Reading)> + '_ {
        Bound::ALL.into_iter().zip(self.0)
    }
}

/// How far a bound is used, as events tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Below 80 %, or not yet below 70 % again.
    #[default]
    Low,
    /// 80 % or more.
    High,
    /// All of it, or more.
    Full,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::High => "80 %",
            Self::Full => "100 %",
        })
    }
}

/// From here on a bound is [`Level::High`], in percent.
const HIGH: u64 = 80;
/// Below this it is [`Level::Low`] again, in percent.
const LOW: u64 = 70;

/// From here on a bound is nearly full, in percent: what is left is to be used for making room.
const NEARLY_FULL: u64 = 95;
/// Below this it no longer is, in percent.
const ROOM_AGAIN: u64 = 90;

impl Reading {
    /// Whether it is nearly full, to somebody who saw that it `was`.
    fn is_nearly_full(self, was: bool) -> bool {
        let least = if was { ROOM_AGAIN } else { NEARLY_FULL };
        self.used.saturating_mul(100) >= self.max.max(1).saturating_mul(least)
    }

    /// What it says to somebody who was told of `told`. Multiplies where [`Self::percent`] divides: it is asked of each
    /// bound after each frame.
    fn level(self, told: Level) -> Level {
        let (used, max) = (self.used.saturating_mul(100), self.max.max(1));
        if used < max.saturating_mul(LOW) {
            Level::Low
        } else if used < max.saturating_mul(HIGH) {
            told
        } else if self.used < max {
            told.max(Level::High)
        } else {
            Level::Full
        }
    }
}

/// How a bound stood at the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// What the events have told of it.
    told: Level,
    is_nearly_full: bool,
}

/// How each bound stood, of each namespace, and of the node itself. Only events and reports depend on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels(BTreeMap<Option<NamespaceId>, [Seen; Bound::ALL.len()]>);

impl Levels {
    /// Takes readings in; gives back those to tell of, which are higher than what was told.
    fn read(
        &mut self,
        namespace: Option<NamespaceId>,
        bounds: &[Bound],
        readings: &[Reading],
    ) -> impl Iterator<Item = (Bound, Level, Reading)> {
        let seen = self.0.entry(namespace).or_default();
        let mut higher = Vec::new();
        for (bound, reading) in bounds.iter().zip(readings) {
            let Seen { told, is_nearly_full } = &mut seen[*bound as usize];
            let level = reading.level(*told);
            if level > *told {
                higher.push((*bound, level, *reading));
            }
            (*told, *is_nearly_full) = (level, reading.is_nearly_full(*is_nearly_full));
        }
        higher.into_iter()
    }
}

impl Node {
    /// How close each bound is, for a namespace and the node; `None` if the namespace is not open here.
    ///
    /// ```
    /// # use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
    /// # use sync_core::node::{Bound, Config, Node};
    /// # use sync_core::{time::Now, types::or_set};
    /// # let config = Config::new(NodeId([1; 32]), ReplicaId([1; 16]), OwnerId([1; 16]), [7; 32]);
    /// # let (now, namespace) = (Now::default(), NamespaceId::named("default"));
    /// # let mut node = Node::new(config, now);
    /// node.write(now, namespace, |group| or_set::add(group, "key", b"element"))?;
    /// let pressure = node.pressure(namespace).expect("every node opens the default namespace");
    /// assert_eq!(pressure.of(Bound::Crdts).used, 1);
    /// assert_eq!(pressure.of(Bound::Crdts).pressure(), 1.0 / 10_000.0);
    /// # Ok::<(), sync_core::error::WriteError>(())
    /// ```
    pub fn pressure(&mut self, namespace: NamespaceId) -> Option<Pressure> {
        let of_namespace = of_namespace(&mut self.spaces.get_mut(&namespace)?.store);
        let of_node = self.of_node();
        let mut readings = [Reading::default(); Bound::ALL.len()];
        readings[..of_namespace.len()].copy_from_slice(&of_namespace);
        readings[of_namespace.len()..].copy_from_slice(&of_node);
        Some(Pressure(readings))
    }

    /// True if 95 % of a bound or more were used at the last step, or have been and it has not fallen below 90 % since;
    /// of a namespace that is kept here, or `None` for a bound of the node itself.
    pub fn is_nearly_full(&self, namespace: Option<NamespaceId>, bound: Bound) -> bool {
        self.levels.0.get(&namespace).is_some_and(|seen| seen[bound as usize].is_nearly_full)
    }

    /// Tells of the bounds that have come to 80 % or 100 % since the last look.
    pub(super) fn tell_pressure(&mut self) {
        let of_node = self.of_node();
        let Self { spaces, levels, .. } = self;
        let mut higher: Vec<_> = Vec::new();
        for (namespace, space) in spaces {
            let namespace = Some(*namespace);
            let readings = of_namespace(&mut space.store);
            let of_namespace = levels.read(namespace, &Bound::ALL, &readings);
            higher.extend(of_namespace.map(|reading| (namespace, reading)));
        }
        let of_node = levels.read(None, &Bound::ALL[Bound::Peers as usize..], &of_node);
        higher.extend(of_node.map(|reading| (None, reading)));
        for (namespace, (bound, level, Reading { used, max })) in higher {
            self.event(Event::Pressure { namespace, bound, level, used, max });
        }
    }

    /// The readings from [`Bound::Peers`] on.
    fn of_node(&self) -> [Reading; 5] {
        let limits = &self.config.limits;
        let (mut connected, mut frames, mut bytes) = (0, 0, 0);
        for peer in self.peers.values() {
            connected += usize::from(peer.connected);
            for (_, outbox) in peer.outboxes.iter() {
                frames = frames.max(outbox.frames());
                bytes = bytes.max(outbox.bytes());
            }
        }
        let parts = self.staging.as_ref().map_or(0, |(.., staging)| staging.bytes());
        let staged = self.inbound.as_ref().map_or(0, crate::large::Inbound::bytes);
        [
            Reading::new(connected, limits.peers_max),
            Reading::new(frames, limits.outbox_frames_max),
            Reading::new(bytes, limits.outbox_bytes_max),
            Reading { used: staged.max(parts as u64), max: limits.staging_bytes_max as u64 },
            Reading::new(self.events, limits.events_max),
        ]
    }
}

/// The readings up to [`Bound::Peers`].
fn of_namespace(store: &mut Store) -> [Reading; 10] {
    let (cells, bytes) = store.fullest();
    let limits = store.limits();
    let (records, log) = (store.record_sizes(), store.log_sizes());
    [
        Reading { used: store.crdt_count(), max: limits.crdts_max },
        Reading { used: store.soft_bytes(), max: limits.store_bytes_max },
        Reading { used: store.bytes(), max: limits.store_bytes_ceiling },
        Reading { used: cells, max: limits.crdt_cells_max },
        Reading { used: bytes, max: limits.crdt_bytes_max },
        Reading::new(records.0, limits.records_max),
        Reading::new(records.1, limits.records_bytes_max),
        Reading::new(log.0, limits.log_entries_max),
        Reading::new(log.1, limits.log_intervals_max),
        Reading { used: store.pinned_bytes(), max: limits.pinned_bytes_max },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_sounds_once_a_crossing_and_again_only_after_it_fell_below_seventy() {
        let mut levels = Levels::default();
        let mut read = |used| {
            let higher = levels.read(None, &[Bound::Crdts], &[Reading { used, max: 10 }]).next();
            higher.map(|(_, level, _)| level)
        };
        assert_eq!([7, 8, 9, 8, 7, 8].map(&mut read), [None, Some(Level::High), None, None, None, None]);
        assert_eq!([10, 9, 12, 7, 10].map(&mut read), [Some(Level::Full), None, None, None, None]);
        assert_eq!([6, 15, 0, 8].map(&mut read), [None, Some(Level::Full), None, Some(Level::High)]);
    }

    #[test]
    fn a_bound_is_nearly_full_from_ninety_five_percent_until_below_ninety() {
        let mut levels = Levels::default();
        let mut read = |used| {
            levels
                .read(Some(NamespaceId([1; 8])), &[Bound::StoreBytes], &[Reading { used, max: 100 }])
                .for_each(drop);
            levels.0[&Some(NamespaceId([1; 8]))][Bound::StoreBytes as usize].is_nearly_full
        };
        assert_eq!(
            [94, 95, 120, 94, 90, 89, 94].map(&mut read),
            [false, true, true, true, true, false, false]
        );
    }

    #[test]
    fn readings_are_shares_from_nothing_to_all() {
        let reading = |used, max| Reading { used, max };
        assert!((reading(1, 8).pressure() - 0.125).abs() < 1e-9 && reading(1, 8).percent() == 12);
        assert!(reading(9, 8).pressure() >= 1.0 && reading(9, 8).percent() == 112);
        assert!(reading(0, 0).pressure() >= 1.0, "no room at all is a full bound");
        assert_eq!(reading(0, 0).level(Level::Full), Level::Low, "nothing is kept and nothing is there");
        assert_eq!(reading(1 << 40, u64::MAX).level(Level::Low), Level::Low);
        assert_eq!((reading(0, 0).percent(), reading(u64::MAX, u64::MAX).percent()), (0, 100));
        assert!(Bound::ALL.iter().enumerate().all(|(at, bound)| *bound as usize == at));
    }
}
