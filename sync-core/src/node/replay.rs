//! Writing again what a damaged disk still gives: items of earlier lives, as new events.
//!
//! A damaged store is set aside whole, for no fragment of it may ever leave (DESIGN section 4, a damaged store). What
//! can be read of it are single items, each with its checksum: those that nobody else holds are brought back as
//! events of this life, with the clock they were written with. An event that this node knows, live or dead, is left
//! as it is: whoever knew of it has decided.
//!
//! Whether anybody has an item shows once this node has been level with the other members: what they know is known
//! here then. It waits for every member, and after [`Timing::replay_wait`](crate::limits::Timing::replay_wait) goes by
//! those that are there: an item that an absent member knows to be removed may come back then. We rather bring one back
//! than lose one, and say so. What waits is part of the state: it is on the disk, and goes from there in the step that
//! writes it again, so that a crash neither loses it nor writes it twice.

use std::collections::BTreeSet;

use super::persist::read_node;
use super::{Event, Node};
use crate::cell::{CellId, Item};
use crate::codec::Reader;
use crate::error::{FrameError, WriteError};
use crate::id::{Dot, NamespaceId, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::rows::{Row, RowError, Table, hex, open};
use crate::store::{dot_key, item_value, read_item};
use crate::time::{Now, Timestamp};
use crate::types::counter;

/// One live item as a disk held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Where it belongs.
    pub namespace: NamespaceId,
    /// Its cell.
    pub cell: CellId,
    /// The item.
    pub item: Item,
}

impl Salvaged {
    /// Reads a row of [`Table::Item`], or of [`Table::Salvaged`] if there was damage before, by itself; `None` if the
    /// row is of another table.
    ///
    /// # Errors
    /// [`RowError`]: this row is lost, others need not be.
    pub fn read(table: Table, key: &[u8], stored: &[u8]) -> Result<Option<Self>, RowError> {
        if !matches!(table, Table::Item | Table::Salvaged) {
            return Ok(None);
        }
        Self::parse(table, key, open(table, key, stored)?).map(Some)
    }

    /// Reads a row of [`Table::Item`] or [`Table::Salvaged`]: they are alike.
    pub(super) fn parse(table: Table, key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let malformed = |error| RowError::Malformed { table, key: hex(key), error };
        let short = || malformed(FrameError::Truncated { at: key.len(), field: "namespace" });
        let (namespace, rest) = key.split_first_chunk::<8>().ok_or_else(short)?;
        let (cell, item) = read_item(Reader::new(rest), Reader::new(value), &mut None).map_err(malformed)?;
        Ok(Self { namespace: NamespaceId(*namespace), cell, item })
    }

    /// The life of its node that a row names, for [`Self::is_of`]: that of the last step, or one of those before.
    ///
    /// Of a life's row the key says all, so it counts even if the row is damaged: a life that never was has no items.
    pub fn life_in(table: Table, key: &[u8], stored: &[u8]) -> Option<ReplicaId> {
        match table {
            Table::Life => key.try_into().ok().map(ReplicaId),
            Table::Node => {
                read_node(Reader::new(open(table, key, stored).ok()?)).ok().map(|(_, life, ..)| life)
            }
            Table::Space
            | Table::Column
            | Table::Item
            | Table::Record
            | Table::Floor
            | Table::Inbound
            | Table::Salvaged
            | Table::Retired => None,
        }
    }

    /// True if one of `lives` wrote it. What others wrote is theirs to bring.
    pub fn is_of(&self, lives: &BTreeSet<ReplicaId>) -> bool {
        lives.contains(&self.item.dot.replica)
    }

    /// Its row while it waits.
    fn row(&self) -> Row {
        Row { value: Some(item_value(&self.cell, (&self.item).into())), ..self.gone() }
    }

    /// That it no longer waits.
    fn gone(&self) -> Row {
        Row { table: Table::Salvaged, key: dot_key(self.namespace, self.item.dot), value: None }
    }
}

/// What waits to be written again. No more than was in the file that was set aside, and it only shrinks.
#[derive(Clone, Debug, Default)]
pub(super) struct Salvage {
    waiting: Vec<Salvaged>,
    /// Those that no longer wait and are on the disk still.
    gone: Vec<Row>,
    /// Since when a member has been level with this node.
    since: Option<Timestamp>,
    /// Written again so far.
    written: u64,
}

impl Salvage {
    pub(super) fn of(waiting: Vec<Salvaged>) -> Self {
        Self { waiting, ..Self::default() }
    }

    /// Those that wait.
    pub(super) fn waiting(&self) -> &[Salvaged] {
        &self.waiting
    }

    /// Appends what changed on the disk since the last call, or every row if `whole`.
    pub(super) fn take_rows(&mut self, whole: bool, rows: &mut Vec<Row>) {
        let gone = std::mem::take(&mut self.gone);
        if mutant::is(Mutant::SalvageNotPersisted) {
            return;
        }
        if whole {
            rows.extend(self.waiting.iter().map(Salvaged::row));
        } else if !mutant::is(Mutant::SalvageWrittenTwice) {
            rows.extend(gone);
        }
    }
}

impl Node {
    /// What a damaged disk still gave of this node's own writes: each is written again unless a member knows its event;
    /// see the module's documentation. To be called on a node that has just begun, empty. [`Event::Replayed`] tells
    /// of the end.
    pub fn salvage(&mut self, mut salvaged: Vec<Salvaged>) {
        if salvaged.is_empty() {
            return;
        }
        // What waited since an earlier damage may have been learned from a member as well: then there are two rows.
        salvaged.sort_by_key(|salvaged| (salvaged.namespace, salvaged.item.dot));
        salvaged.dedup_by_key(|salvaged| (salvaged.namespace, salvaged.item.dot));
        for Salvaged { namespace, item, .. } in &salvaged {
            if let Some(space) = self.spaces.get_mut(namespace) {
                // Its own clock was there once: what it writes from here on comes after.
                space.hlc = space.hlc.max(item.hlc);
            }
        }
        // A second damage is told by these lives what is this node's own.
        self.lives.extend(salvaged.iter().map(|salvaged| salvaged.item.dot.replica));
        self.salvage = Salvage::of(salvaged);
        self.forget_rows();
        self.step_on();
        self.fill_due = true;
    }

    /// How many items of a damaged disk wait to be written again.
    pub fn salvaged(&self) -> usize {
        self.salvage.waiting.len()
    }

    pub(super) fn replay_deadline(&self) -> Option<Timestamp> {
        self.salvage.since.map(|since| since + self.config.timing.replay_wait)
    }

    /// Writes the next group again, if the members that could have it have been heard.
    pub(super) fn wake_replay(&mut self, now: Now) {
        if self.salvage.waiting.is_empty() {
            return;
        }
        if !self.members_are_level(now) {
            return self.ask_soon(now);
        }
        let mut waiting = std::mem::take(&mut self.salvage.waiting);
        let replayed = self.replay(now, &waiting);
        let done = replayed.as_ref().map_or(0, |(done, _)| (*done).min(waiting.len()));
        self.salvage.gone.extend(waiting.drain(..done).map(|salvaged| salvaged.gone()));
        self.salvage.waiting = waiting;
        if let Ok((_, written)) = replayed {
            self.salvage.written += written.len() as u64;
            self.step_on();
            self.fill_due = true;
        }
        if self.salvage.waiting.is_empty() {
            self.salvage.since = None;
            let items = std::mem::take(&mut self.salvage.written);
            self.event(Event::Replayed { items });
        }
    }

    /// Roots are compared as soon as a time-out allows with all who are not level: while something waits, a round is
    /// long, and each who writes its own again parts them once more.
    fn ask_soon(&mut self, now: Now) {
        let at = now.mono + self.config.timing.sync_timeout;
        for peer in self.peers.values_mut().filter(|peer| peer.connected) {
            for session in peer.links.values_mut().map(|link| &mut link.session) {
                if session.roots_equal != Some(true) && session.root_at.is_some_and(|due| due > at) {
                    session.root_at = Some(at);
                }
            }
        }
    }

    /// True once every member has been level with this node, or those that are there for so long.
    fn members_are_level(&mut self, now: Now) -> bool {
        if mutant::is(Mutant::ReplayedUnheard) {
            return true;
        }
        let spaces = &self.spaces;
        let level = |member: &&crate::id::NodeId| {
            self.peers.get(*member).is_some_and(|peer| {
                let equal = |namespace| peer.links.get(namespace).and_then(|link| link.session.roots_equal);
                peer.connected && spaces.iter().all(|(id, space)| !space.is_open || equal(id) == Some(true))
            })
        };
        let members = self.other_members();
        let here = members.iter().filter(level).count();
        let away = members.len() - here + self.members.unnamed;
        if here == 0 {
            self.salvage.since = None;
            return false;
        }
        let since = *self.salvage.since.get_or_insert(now.mono);
        away == 0 || since + self.config.timing.replay_wait <= now.mono
    }
}

impl Node {
    /// Writes every one of `salvaged` again: what is left of a damaged store that nobody can fill up. As
    /// [`Self::replay`], group after group.
    ///
    /// # Errors
    /// [`WriteError::SequencesUsed`]; the groups before it are written then.
    pub fn replay_all(&mut self, now: Now, salvaged: &[Salvaged]) -> Result<(), WriteError> {
        let mut rest = salvaged;
        while !rest.is_empty() {
            let (done, _) = self.replay(now, rest)?;
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// From here on this node is only read: the disk was damaged, no peer could fill it up, and what is here is what
    /// could be read (DESIGN section 4, a damaged store). Writes are refused ([`WriteError::Damaged`]), and so are
    /// peers: nothing of it ever leaves. There is no way back in this life; whoever accepts the loss begins another.
    ///
    /// ```
    /// use sync_core::error::WriteError;
    /// use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
    /// use sync_core::node::{Config, DEFAULT_NAMESPACE, Node};
    /// use sync_core::time::{Now, Timestamp, WallMillis};
    /// use sync_core::types::or_set;
    /// let config = Config::new(NodeId([1; 32]), ReplicaId([1; 16]), OwnerId([1; 16]), [0; 32]);
    /// let now = Now { mono: Timestamp::ZERO, wall: WallMillis(0) };
    /// let mut node = Node::new(config, now);
    /// node.set_damaged();
    /// let written = node.write(now, NamespaceId::named(DEFAULT_NAMESPACE), |group| or_set::add(group, "set", b"a"));
    /// assert_eq!(written.unwrap_err(), WriteError::Damaged);
    /// ```
    pub fn set_damaged(&mut self) {
        self.damaged = true;
    }

    /// Writes the first of `salvaged` again, as one group: as many as a group may hold, and at least one. Those
    /// whose event is known here are passed over, as are those that have expired and those of a namespace that is not
    /// open. Says how many it is done with, and which of these it wrote.
    ///
    /// # Errors
    /// [`WriteError::SequencesUsed`]; no state changed then.
    pub fn replay(&mut self, now: Now, salvaged: &[Salvaged]) -> Result<(usize, Vec<Dot>), WriteError> {
        let Some(namespace) = salvaged.first().map(|first| first.namespace) else {
            return Ok((0, Vec::new()));
        };
        let one = salvaged.iter().take_while(|salvaged| salvaged.namespace == namespace);
        let Some(store) = self.store(namespace) else { return Ok((one.count(), Vec::new())) };
        let (mut bytes, max) = (0, self.config.limits.group_bytes_max);
        let (mut done, mut wanted) = (0, Vec::new());
        for Salvaged { cell, item, .. } in one {
            let known = store.context().contains(item.dot) || item.is_expired(store.horizon());
            if !known {
                bytes += cell.object.key.as_str().len() + cell.path.as_bytes().len() + item.payload.len();
                if bytes > max && !wanted.is_empty() {
                    break;
                }
                wanted.push((cell.clone(), item.clone()));
            }
            done += 1;
        }
        if wanted.is_empty() {
            return Ok((done, Vec::new()));
        }
        let (dots, _) = self.write(now, namespace, |group| {
            let again = wanted.iter().map(|(cell, item)| {
                let covered = counter::covered_by(group.store(), cell, item);
                group.rewrite(cell.clone(), item, &covered)
            });
            again.collect::<Result<Vec<Dot>, _>>()
        })?;
        Ok((done, dots))
    }
}
