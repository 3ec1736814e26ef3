//! Every bound of the core, in one place.
//!
//! Each map, queue and buffer that a peer, a user or time can grow is named here, with what happens at
//! its edge. Three kinds of edge exist: the *local writer* is refused before anything is minted; the
//! *oldest* goes and a slower path takes over; a *frame* is refused whole. Nothing is ever refused, cut
//! or reordered inside a join (DESIGN section 4, bounds).
//!
//! Bounds that both ends must share, or that no deployment would choose, stand as constants where they
//! are used: [`Dot::SEQ_MAX`](crate::id::Dot::SEQ_MAX), [`merkle::sketch`](crate::merkle::sketch).

use crate::time::Span;

/// Bounds on state, frames and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most CRDTs in a namespace.
    ///
    /// Local creation beyond it is refused with `Full`; a join always applies, so concurrent creation
    /// on several replicas can overshoot. Default 10,000, the product's figure.
    pub crdts_max: u64,
    /// Most accounted bytes in a namespace before local writes that grow it are refused with `Full`.
    ///
    /// Counts keys, paths, payloads and 96 bytes for each live dot, but no counter floors, which nobody can remove.
    /// Default 64 MiB: a guess.
    pub store_bytes_max: u64,
    /// Most accounted bytes that a join may leave behind, floors too.
    ///
    /// A fragment whose result would be above it *and* larger than now is refused whole (`Degraded`);
    /// fragments that shrink the store pass, local removes always pass. Default twice
    /// [`Self::store_bytes_max`].
    pub store_bytes_ceiling: u64,
    /// Most cells of one CRDT: elements of a set, fields of a map, owners of a counter.
    ///
    /// A local write that adds one beyond it is refused with `CrdtCells`; joins always apply. Counter floors are not
    /// counted. Default 262,144: a set of 16-byte elements meets it and [`Self::crdt_bytes_max`] about together. A
    /// guess.
    pub crdt_cells_max: u64,
    /// Most accounted bytes of one CRDT, floors not counted. A local write that grows it beyond is refused with
    /// `CrdtBytes`; joins always apply. Default 32 MiB, half of [`Self::store_bytes_max`], so that one that runs
    /// away leaves the others room. A guess.
    pub crdt_bytes_max: u64,
    /// Longest key, in bytes of UTF-8. Longer is refused at the writer. Default 512.
    pub key_bytes_max: usize,
    /// Longest path: an encoded element or field. Longer is refused at the writer. Default 4 KiB.
    pub path_bytes_max: usize,
    /// Longest payload: an encoded value. Longer is refused at the writer. Default 64 KiB.
    pub value_bytes_max: usize,
    /// Most names on the way to a leaf of a nested map, its own among them: 1 is a flat map. Deeper is refused
    /// at the writer; what a peer nests deeper is stored and read. Default 8: a guess.
    pub map_depth_max: usize,
    /// Most bytes of keys, paths and payloads in one group of writes.
    ///
    /// Stays below [`Self::message_bytes_max`], so that every group fits one frame. Default 512 KiB.
    pub group_bytes_max: usize,
    /// Namespaces that a node keeps, open and closed, the default one among them. One more is not opened. Each costs a
    /// store, and a link to each peer. Default 16: a guess.
    pub namespaces_max: usize,
    /// Most accounted bytes that the stores of all namespaces may come to: their ceilings, added. A namespace that would
    /// take it further is not opened. Default 1 GiB.
    pub node_bytes_max: u64,
    /// Peers known besides this node. One more is refused in the handshake with `PeersFull`. Default
    /// 100, the product's figure.
    pub peers_max: usize,
    /// Longest frame, in bytes. Longer is refused before it is read; a push that would exceed it is not
    /// built (the peer is `Behind`), and an answer that would exceed it travels as a large one. Default 1 MB,
    /// the product's figure.
    pub message_bytes_max: usize,
    /// Most bytes of one answer that arrives in parts, and most accounted bytes of the items staged for a
    /// large one. What is longer is refused and what is staged dropped; the pull is tried again at the next
    /// round. One peer's answer is staged at a time, so this bounds staging for the node. Default 256
    /// MiB, above [`Self::store_bytes_ceiling`].
    pub staging_bytes_max: usize,
    /// Most accounted bytes of items kept for the large answers under way in a namespace because they were
    /// ended before they were sent. Beyond it the answers that need them are called off, and who asked pulls
    /// again with what it has. Default 16 MiB (DESIGN section 3).
    pub pinned_bytes_max: u64,
    /// Most entries of the status log. When full the oldest goes; a peer whose cursor pointed there is
    /// `Behind` and catches up by a session: nothing is lost, one round trip more. Default 65,536: a
    /// guess.
    pub log_entries_max: usize,
    /// Most dot intervals in all entries of the status log together; edge as above. Default 1 Mi.
    pub log_intervals_max: usize,
    /// Most records kept. When full the oldest goes and the column's floor rises: who lacks it comes by
    /// the fallback. Default 65,536 (DESIGN section 4).
    pub records_max: usize,
    /// Most bytes that records kept take in memory; edge as above. Default 1 MiB, some 5,000 removes of one element: what
    /// a hostile member can fill, and behind a floor a removal costs its peers two symbols of a sketch (24 bytes each).
    pub records_bytes_max: usize,
    /// Frames of a class built for a peer and not yet written. When reached no further one is built for it; its
    /// cursor waits. Default 1,000, the product's queue size.
    pub outbox_frames_max: usize,
    /// Bytes of frames of a class built for a peer and not yet written; edge as above. Default 4 MiB.
    pub outbox_bytes_max: usize,
    /// Bytes a second of frames of urgent namespaces to one peer; 0 for as fast as it goes. Beyond it nothing is built;
    /// what waits is a cursor. Default 0.
    pub urgent_rate_max: u64,
    /// The same of normal namespaces. Default 0.
    pub normal_rate_max: u64,
    /// The same of bulk namespaces; it falls, down to a sixteenth, while the queues of the other classes to the same peer
    /// fill. Default 64 MiB: a guess.
    pub bulk_rate_max: u64,
    /// Bytes that may go to a peer at once, after a pause, in a class with a rate. One frame always may. Default 1 MiB: a
    /// guess.
    pub rate_burst_bytes: u64,
    /// Peers up to which each push goes to every peer. Above it, pushes keep to an overlay of
    /// [`Self::overlay_degree`]: relays take more hops, and no node sends more. Default 8 (DESIGN
    /// section 5).
    pub full_mesh_peers_max: usize,
    /// Neighbours that a node chooses in the overlay, two in each of half as many rings; at least 2. A peer
    /// that sees other members may add itself, so that this bounds what is chosen, and
    /// [`Self::peers_max`] what is used. Default 4 (docs/decisions/0007-overlay.md).
    pub overlay_degree: usize,
    /// Pushes to one peer that may wait for their acknowledgement. Default 8: a guess.
    pub pushes_in_flight_max: u64,
    /// Entries that a peer taught us itself, which we skip when we push to it, before an empty push
    /// moves its cursor past them. Default 1,024: a guess.
    pub skipped_entries_max: u64,
    /// Most items counted for one survey. Beyond it the figures are lower bounds and say so. Counting costs
    /// less than the answer that is counted. Default 1 Mi.
    pub survey_items_max: u64,
    /// Events kept for the application. When full the oldest goes and `EventsLost` counts it: an
    /// application that does not read must not stop the node. Default 65,536.
    pub events_max: usize,
    /// Most bytes of changes that one step may bring to a watch, and that may wait for the driver in all. What is
    /// beyond is not told: watches read again what they watch. Default 8 MiB: a guess.
    pub changes_bytes_max: usize,
    /// Most steps whose changes may wait for the driver. When reached, changes are not even looked for until the
    /// driver has caught up, so that a writer does not pay for what nobody takes; edge as above. Default 2,048: what
    /// a stopped watch costs the writers is that many steps and what the watch itself keeps.
    pub changes_waiting_max: usize,
    /// Most items noted between two persist steps, each that came or went. Beyond it the next step writes every row
    /// of the store. Costs 24 bytes each, and only where there is a disk. Choose above what a slow disk lets pass
    /// between two steps. Default 262,144: a guess.
    pub step_changes_max: usize,
    /// Pulls of this node, opens among them, that may be unanswered at a time, over all peers and namespaces. When
    /// reached the next ones wait, and connections begin with a root: after a heal the first answers bring most of what
    /// the others would carry too. Default 16: a guess.
    pub pulls_at_once_max: usize,
    /// Peers that may be away while one comes back without a crowd being expected: in a crowd catch-up is paced for
    /// [`Timing::catch_up_spread`]. Default 8, so that no cluster in which each pushes to each is ever paced.
    pub crowd_peers_max: usize,
    /// Events that a push may name and still go at once in a crowd; one that names more waits for its turn. Default
    /// 32: a relay among busy nodes names some twenty.
    pub fresh_events_max: u64,
    /// Bytes a second of a node to all its peers together, at least, before catch-up in a crowd waits; more if it sent
    /// more while nobody was missing. Default 16 KiB: a guess.
    pub catch_up_rate_min: u64,
    /// Failures of a peer in a row that open its breaker: time-outs and refusals since an exchange was answered, or
    /// breaches each within [`Timing::breaker_open`] of the last. With 0 none opens by itself. Default 3, the product's
    /// figure.
    pub breaker_failures_max: u32,
    /// Most greetings that must be answered before a breaker closes that has opened again and again. Default 4: a guess.
    pub breaker_successes_max: u32,
    /// A breaker that opens so often without an exchange in between takes its peer off the list, until an operator adds
    /// it again or the node restarts. Default 0: never.
    pub breaker_opens_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            crdts_max: 10_000,
            store_bytes_max: 64 << 20,
            store_bytes_ceiling: 128 << 20,
            crdt_cells_max: 262_144,
            crdt_bytes_max: 32 << 20,
            key_bytes_max: 512,
            path_bytes_max: 4 << 10,
            value_bytes_max: 64 << 10,
            map_depth_max: 8,
            group_bytes_max: 512 << 10,
            namespaces_max: 16,
            node_bytes_max: 1 << 30,
            peers_max: 100,
            message_bytes_max: 1_000_000,
            staging_bytes_max: 256 << 20,
            pinned_bytes_max: 16 << 20,
            log_entries_max: 65_536,
            log_intervals_max: 1 << 20,
            records_max: 65_536,
            records_bytes_max: 1 << 20,
            outbox_frames_max: 1_000,
            outbox_bytes_max: 4 << 20,
            urgent_rate_max: 0,
            normal_rate_max: 0,
            bulk_rate_max: 64 << 20,
            rate_burst_bytes: 1 << 20,
            full_mesh_peers_max: 8,
            overlay_degree: 4,
            pushes_in_flight_max: 8,
            skipped_entries_max: 1_024,
            survey_items_max: 1 << 20,
            events_max: 65_536,
            changes_bytes_max: 8 << 20,
            changes_waiting_max: 2_048,
            step_changes_max: 262_144,
            pulls_at_once_max: 16,
            crowd_peers_max: 8,
            fresh_events_max: 32,
            catch_up_rate_min: 16 << 10,
            breaker_failures_max: 3,
            breaker_successes_max: 4,
            breaker_opens_max: 0,
        }
    }
}

impl Limits {
    /// Room for `crdts` CRDTs and `bytes` accounted bytes in a namespace, and for all that follows from it: the ceiling at
    /// twice the bytes, one CRDT with half of them and a cell for each 128 bytes of that, staging for a newcomer at four
    /// times. The defaults are those of 10,000 and 64 MiB.
    ///
    /// ```
    /// use sync_core::limits::Limits;
    /// let limits = Limits::default().with_room(1_000_000, 4 << 30);
    /// assert_eq!((limits.store_bytes_ceiling, limits.crdt_cells_max), (8 << 30, 16 << 20));
    /// assert_eq!(Limits::default().with_room(10_000, 64 << 20), Limits::default());
    /// ```
    #[must_use]
    pub fn with_room(self, crdts: u64, bytes: u64) -> Self {
        Self {
            crdts_max: crdts,
            store_bytes_max: bytes,
            store_bytes_ceiling: bytes.saturating_mul(2),
            crdt_bytes_max: bytes / 2,
            crdt_cells_max: bytes / 256,
            node_bytes_max: self.node_bytes_max.max(bytes.saturating_mul(4)),
            staging_bytes_max: usize::try_from(bytes.saturating_mul(4)).unwrap_or(usize::MAX),
            ..self
        }
    }

    /// Bytes of memory that one frame may take while it is read and when it has been: three times
    /// [`Self::message_bytes_max`], and 64 KiB. A frame that would take more is refused before the memory is taken. A
    /// sender measures what it says alike and says what would take more in frames that do not: a push is left to a
    /// session, an answer goes in parts or item by item. What was put together from parts may take
    /// [`Self::staging_bytes_max`].
    ///
    /// ```
    /// use sync_core::limits::Limits;
    /// assert_eq!(Limits::default().decode_bytes_max(), 3_065_536);
    /// ```
    #[must_use]
    pub const fn decode_bytes_max(&self) -> usize {
        self.message_bytes_max.saturating_mul(DECODE_FACTOR).saturating_add(DECODE_FREE_BYTES)
    }

    /// What takes so much memory counts as a frame of so many bytes: a frame that is filled by this measure keeps
    /// within [`Self::decode_bytes_max`].
    #[must_use]
    pub(crate) const fn framed(memory: usize) -> usize {
        memory / DECODE_FACTOR
    }
}

/// Memory that a frame may take for each byte of [`Limits::message_bytes_max`]; see [`Limits::decode_bytes_max`].
const DECODE_FACTOR: usize = 3;

/// Memory that any frame may take, however short frames are.
const DECODE_FREE_BYTES: usize = 64 << 10;

/// Accounted bytes of a live item besides its key, path and payload: what the indexes hold for it.
pub const ITEM_OVERHEAD_BYTES: u64 = 96;

/// How an answer whose records were lost says which dots are live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Whichever of the other two is expected to be shorter.
    #[default]
    Shortest,
    /// By a sketch while its symbols last, whatever the list would cost. For measurements.
    Sketch {
        /// Symbols in the answer itself, at least 1; the others are asked for.
        first: usize,
    },
    /// By a list of all live dots. For measurements, and should sketches ever fail.
    Listing,
}

/// Periods and deadlines of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// At rest, one `Root` goes to each peer in this time, with up to a quarter of jitter. Default 30 s,
    /// the product's figure.
    pub sync_interval: Span,
    /// How long a pull may go without progress before it is asked again, and an acknowledgement may be
    /// overdue before its pushes are sent again. Default 5 s, the product's figure.
    pub sync_timeout: Span,
    /// How long a `Hello` may stay unanswered before it is sent again. Default 1 s: a guess.
    pub hello_retry: Span,
    /// How long what was learned from one peer waits before it is relayed to another, so that most
    /// relays can be left out because the other peer has said meanwhile that it knows. Above
    /// [`Limits::full_mesh_peers_max`] peers it is the longest wait: each is drawn, from
    /// [`Self::tell_delay`] on, but for urgent namespaces. Default 200 ms, one gossip tick.
    pub relay_delay: Span,
    /// How long after learning something this node tells its peers that it knows it; must be below
    /// [`Self::relay_delay`], or relays are never left out. In an urgent namespace half of that, if it is more: there
    /// everybody tells everybody. Default 25 ms (docs/decisions/0007-overlay.md, 0019).
    pub tell_delay: Span,
    /// In this time the fingerprints of all cells are recomputed once, in 64 steps: damaged bytes are found and
    /// healed. Default 10 minutes (DESIGN section 3, T8).
    pub scrub_period: Span,
    /// While there is news, a root goes to a random peer that is no neighbour once in this time. Default
    /// 1 s (DESIGN section 5).
    pub random_session: Span,
    /// Once in this time, and up to a quarter more, a node looks for what nothing can meet any more: own counter
    /// floors, and marks of remove-wins sets that every member knows of. Costs a walk over these types, if anything
    /// changed. Default 60 s, the product's cleanup figure.
    pub cleanup_interval: Span,
    /// How long after a quote with figures the next one to that peer waits: counting is work that a small
    /// frame asks for. Default 100 ms: a guess.
    pub survey_pause: Span,
    /// How far ahead of the own wall clock a remote reading may pull the own hybrid clock, and a
    /// fragment's horizon may stand before the frame is refused; how far clocks may be apart before one of them
    /// is called wrong. Default 60 s (DESIGN section 4).
    pub drift_max: Span,
    /// How long after its time a write that expires is kept, so that clocks which differ by less, and readings of
    /// them that travelled for less, never end it early. Default 2 s: a guess.
    pub expiry_grace: Span,
    /// Writes expire together in steps of this length on the wall clock: replicas then raise their horizons to the
    /// same values, and a thousand writes that expire one after the other cost one step of the state. At least
    /// 1 ms. Default 1 s: a guess.
    pub expiry_step: Span,
    /// How long a member's clock reading counts. Longer than [`Self::sync_interval`] and its jitter, or members
    /// are not heard often enough to outvote a wrong clock. Default 60 s (DESIGN section 4).
    pub clock_window: Span,
    /// How long a node that starts waits for the first member's clock before it lets anything expire by its own
    /// alone: a machine that boots with a wrong clock meets its members first. Default 10 s: a guess.
    pub clock_wait: Span,
    /// How long what a damaged disk still gave waits for members that are away, once one has been level, before it is
    /// written again without their word. Default 60 s: a guess.
    pub replay_wait: Span,
    /// How long catch-up is paced when a crowd comes back; no link waits longer, and what waits then goes at once. 0
    /// for never. Default 8 s: with it 64 nodes are one within ten (docs/decisions/0020-paced-catch-up.md).
    pub catch_up_spread: Span,
    /// How long a peer is shut out whose breaker opened for misbehaviour, or was tripped: no link either way. Doubled
    /// each time that it opens again, and up to a quarter more. Breaches further apart than this are not in a row.
    /// Default 60 s, the product's figure.
    pub breaker_open: Span,
    /// The longest that doubling may come to, but for that quarter; so long after its last breach a peer's openings
    /// are forgotten. Default 10 minutes: a guess.
    pub breaker_open_max: Span,
    /// Shortest wait before a peer that cannot be reached is probed, and between two probes that must both be
    /// answered. Default 1 s (DESIGN section 5).
    pub breaker_probe_min: Span,
    /// Longest such wait, and how long a probe, its dial included, may stay unanswered. Must be longer than a round
    /// trip. Default 5 s (DESIGN section 5).
    pub breaker_probe_max: Span,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            sync_interval: Span::from_secs(30),
            sync_timeout: Span::from_secs(5),
            hello_retry: Span::from_secs(1),
            relay_delay: Span::from_millis(200),
            scrub_period: Span::from_secs(600),
            tell_delay: Span::from_millis(25),
            random_session: Span::from_secs(1),
            cleanup_interval: Span::from_secs(60),
            survey_pause: Span::from_millis(100),
            drift_max: Span::from_secs(60),
            expiry_grace: Span::from_secs(2),
            expiry_step: Span::from_secs(1),
            clock_window: Span::from_secs(60),
            clock_wait: Span::from_secs(10),
            replay_wait: Span::from_secs(60),
            catch_up_spread: Span::from_secs(8),
            breaker_open: Span::from_secs(60),
            breaker_open_max: Span::from_secs(600),
            breaker_probe_min: Span::from_secs(1),
            breaker_probe_max: Span::from_secs(5),
        }
    }
}
