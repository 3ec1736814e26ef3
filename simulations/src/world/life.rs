//! Lives of nodes: how they start, end, stand still and are set back.

use rand::RngExt;
use sync_core::id::{NodeId, OwnerId, ReplicaId};
use sync_core::limits::Repair;
use sync_core::mutant::{self, Mutant};
use sync_core::node::{Config, Input, Members, Node, Persistence};

use super::World;
use super::disk::{Held, Whose};
use super::machine::{Comeback, Snapshot};
use super::trace::Mark;
use crate::checkers::Origin;
use crate::timeline::MarkKind;

impl World {
    /// Starts a machine that is down, as its comeback says.
    pub(crate) fn start(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let comeback = std::mem::replace(&mut machine.comeback, Comeback::Durable { keep_owner: false });
        let (held, keep_owner, origin) = match comeback {
            Comeback::Durable { keep_owner } => {
                (machine.disk.durable().cloned(), keep_owner, Origin::Durable)
            }
            Comeback::Empty { replaced } => {
                machine.disk.set(None);
                if replaced {
                    self.replace(at);
                }
                (None, false, Origin::Fresh)
            }
            Comeback::Copy { held, keep_owner } => {
                machine.disk.set(held.clone());
                if let Some(held) = held.as_ref().filter(|_| keep_owner) {
                    self.history.mark_doubled(held.owner());
                }
                (held, keep_owner, Origin::Backup)
            }
        };
        let keep_owner = keep_owner || (origin == Origin::Backup && mutant::is(Mutant::RestoreKeepsOwner));
        let mut config = self.config(at, held.as_ref().filter(|_| keep_owner));
        let twin =
            if origin == Origin::Backup { Mutant::RestoreKeepsReplica } else { Mutant::RestartKeepsReplica };
        if let Some(held) = held.as_ref().filter(|_| mutant::is(twin)) {
            config.replica = held.replica();
        }
        let (replica, owner) = (config.replica, config.owner);
        let now = self.machines[at].now(self.at);
        self.suite.clock(at, now.wall.0);
        let found = held.map(|held| held.image(&config).map_err(|_| held.salvage()));
        let origin = if matches!(found, Some(Ok(_))) { origin } else { Origin::Fresh };
        let mut salvaged = None;
        let mut node = match found {
            Some(Ok(image)) => {
                let mut node = Node::restart(config, image, now);
                node.continue_rows();
                node
            }
            Some(Err(items)) => {
                salvaged = Some(items);
                self.machines[at].disk.set(None);
                Node::new(config, now)
            }
            None => Node::new(config, now),
        };
        self.open_lanes(at, &mut node, now);
        node.set_members(self.members());
        if let Some(salvaged) = salvaged {
            self.salvage(at, &mut node, salvaged);
        }
        self.trace.note(self.at, Mark::Started, at, &replica.0, || {
            format!("starts: incarnation {replica:?}, owner {owner:?}, {origin:?}")
        });
        self.look_at_damage(at, Some(&node));
        let checked = self.suite.started(&self.history, at, origin, &mut node);
        self.machines[at].node = Some(node);
        self.judge(checked);
        self.picture_started(at, origin);
        for peer in (0..self.machines.len()).filter(|peer| *peer != at) {
            if self.scenario.topology.links(at, peer, self.machines.len()) {
                self.net.redial(self.at, at, peer);
            }
        }
    }

    /// A new node takes the place of the one at `at`; operators tell the others, unless they are cut off.
    fn replace(&mut self, at: usize) {
        let old = std::mem::replace(&mut self.machines[at].id, NodeId(self.ids_random.random()));
        self.places.insert(self.machines[at].id, at);
        let members = self.members();
        for node in self.machines.iter_mut().filter_map(|machine| machine.node.as_mut()) {
            node.set_members(members.clone());
            node.forget(old);
        }
    }

    /// All nodes there are, as each is told at its start.
    fn members(&self) -> Members {
        Members { nodes: self.machines.iter().map(|machine| machine.id).collect(), unnamed: 0 }
    }

    /// A configuration for the next life on machine `at`, with the owner of `owner_of` if there is one.
    fn config(&mut self, at: usize, owner_of: Option<&Held>) -> Config {
        let random = &mut self.ids_random;
        let (replica, owner, seed) = (random.random(), random.random(), random.random());
        let owner = owner_of.map_or(OwnerId(owner), Held::owner);
        let mut config = Config::new(self.machines[at].id, ReplicaId(replica), owner, seed);
        config.limits = self.scenario.bounds.limits();
        config.timing = self.scenario.periods.timing();
        if seed[0].is_multiple_of(4) {
            // Room for a change or two: watches lag, and catch up.
            config.limits.changes_bytes_max = 700;
        } else if seed[0] % 4 == 1 {
            config.limits.changes_waiting_max = 1;
        }
        if self.scenario.protocol.old.contains(&at) {
            config.versions.max = config.versions.min;
        }
        if let Some(first) = self.scenario.protocol.sketches {
            config.repair = Repair::Sketch { first };
        }
        if self.scenario.disk.durable {
            config.persistence = Persistence::Driver;
        }
        config
    }

    /// The process dies: what was not durable is lost, and nobody is told.
    pub(crate) fn crash(&mut self, at: usize, torn: bool, comeback: Comeback) {
        let machine = &mut self.machines[at];
        let lost = machine.disk.crash(torn);
        self.counts.faults_by("lost-tail", u64::from(lost));
        let owner = machine.node.as_ref().map(Node::owner);
        let same_owner = machine.disk.durable().map(Held::owner) == owner;
        let comeback = match comeback {
            // An owner taken at a restore or a fence may not be durable yet: then the one on the disk is
            // a former one, and counting on under it would count twice.
            Comeback::Durable { keep_owner } => Comeback::Durable { keep_owner: keep_owner && same_owner },
            other @ (Comeback::Empty { .. } | Comeback::Copy { .. }) => other,
        };
        self.end_life(at, comeback, false);
        self.picture_mark(at, MarkKind::Crash);
    }

    /// A clean stop: everything is durable, and the peers are told.
    pub(crate) fn stop(&mut self, at: usize, comeback: Comeback) {
        let machine = &mut self.machines[at];
        if let Some(node) = machine.node.as_mut().filter(|_| self.scenario.disk.durable) {
            let step = node.take_step();
            self.suite.durable(at, step.step.0);
            machine.disk.stop(step, Whose::of(node));
        }
        self.end_life(at, comeback, true);
        self.picture_mark(at, MarkKind::Stop);
    }

    fn end_life(&mut self, at: usize, comeback: Comeback, tell: bool) {
        self.trace.note(self.at, Mark::Ended, at, &[], || format!("ends; comes back: {comeback}"));
        let machine = &mut self.machines[at];
        machine.comeback = if self.scenario.disk.durable { comeback } else { comeback.without_disk() };
        let node = machine.end();
        self.net.drop_ends(self.at, at, tell);
        if let Some(node) = node {
            self.suite.crashed(at);
            self.count_life(&node);
        }
        self.picture_ended(at);
    }

    /// Adds the figures of a life that is over.
    pub(crate) fn count_life(&mut self, node: &Node) {
        let stats = node.stats();
        self.counts.items_new += stats.items_new;
        self.counts.items_known += stats.items_known;
        let truncated = node.store(self.namespace).is_some_and(|store| store.floors().next().is_some());
        self.counts.record_truncations += u64::from(truncated);
    }

    /// The process stands still.
    pub(crate) fn pause(&mut self, at: usize) {
        self.machines[at].still_since = Some(self.at);
        self.machines[at].was_paused = true;
        for peer in (0..self.machines.len()).filter(|peer| *peer != at) {
            self.net.watch(self.at, peer, at);
        }
        self.picture_paused(at);
    }

    /// The process goes on, and finds everything that happened meanwhile.
    pub(crate) fn resume(&mut self, at: usize) {
        if self.machines[at].still_since.take().is_none() {
            return;
        }
        self.trace.note(self.at, Mark::Fault, at, &[], || "goes on".to_owned());
        self.picture_resumed(at);
        while let Some(event) = self.machines[at].deferred.pop_front() {
            self.happen(event);
            self.take_pending();
        }
    }

    /// The node reads what has piled up, and goes on reading.
    pub(crate) fn read_again(&mut self, at: usize) {
        if !std::mem::take(&mut self.machines[at].deaf) {
            return;
        }
        self.trace.note(self.at, Mark::Fault, at, &[], || "reads again".to_owned());
        while let Some((way, bytes)) = self.machines[at].unread.pop_front() {
            if self.net.end(at, way.from) == Some(way.connection) {
                self.net.read(self.at, way, bytes.len());
                self.receive(way.from, at, &bytes);
            }
        }
    }

    /// Keeps the memory and the disk of a machine, for a revert.
    pub(crate) fn snapshot(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if let Some(node) = machine.node.as_ref().filter(|_| machine.still_since.is_none()) {
            let snapshot =
                Snapshot { node: Box::new(node.clone()), durable: machine.disk.durable().cloned() };
            machine.snapshots.insert(self.at, snapshot);
        }
    }

    /// Sets a machine back to its snapshot of `from`; false if there is none of this life, or if something
    /// other than its own events is lost with it.
    ///
    /// What it had learned from others meanwhile cannot be missed by anybody: its peers take it to know
    /// that, and no frame tells it otherwise. Only own events that others know have it fenced.
    pub(crate) fn revert(&mut self, at: usize, from: u64) -> bool {
        let namespace = self.namespace;
        let machine = &mut self.machines[at];
        let Some(snapshot) = machine.snapshots.remove(&from) else { return false };
        let others = |node: &Node, own: ReplicaId| -> Vec<(ReplicaId, u64)> {
            let columns = node.store(namespace).into_iter().flat_map(|store| store.context().columns());
            columns.filter(|(replica, _)| *replica != own).collect()
        };
        let old = machine.node.as_ref().expect("snapshots are dropped with the life they are of");
        let replica = old.replica();
        if snapshot.node.replica() != replica || others(&snapshot.node, replica) != others(old, replica) {
            return false;
        }
        let minted = old.store(namespace).map_or(0, |store| store.context().get(replica));
        let earlier = machine.minted.entry(replica).or_default();
        *earlier = minted.max(*earlier);
        let old = machine.node.take().expect("it was just there");
        machine.end();
        machine.disk.set(snapshot.durable);
        self.net.drop_ends(self.at, at, false);
        self.suite.crashed(at);
        self.count_life(&old);
        let mut node = *snapshot.node;
        let connected: Vec<NodeId> = node
            .peers(self.namespace)
            .into_iter()
            .filter(|peer| peer.connected)
            .map(|peer| peer.node)
            .collect();
        let checked = self.suite.started(&self.history, at, Origin::Backup, &mut node);
        self.machines[at].node = Some(node);
        self.judge(checked);
        for peer in connected {
            self.feed(at, Input::Disconnected { peer }, &peer.0);
        }
        if let Some(node) = self.machines[at].node.as_mut() {
            // What it noted belongs to another course of events.
            node.forget_rows();
        }
        if self.scenario.disk.durable && !self.machines[at].disk.is_busy() {
            // What was on its way to the disk at the snapshot is written again.
            self.write_disk(at);
        }
        true
    }

    /// The node has taken new ids: whatever held its application back is over.
    pub(crate) fn fenced(&mut self, at: usize, new: ReplicaId) {
        self.trace.note(self.at, Mark::Ids, at, &new.0, || format!("is fenced; goes on as {new:?}"));
        self.picture_mark(at, MarkKind::Fenced);
    }

    /// True if the application may write at `at`.
    pub(crate) fn may_write(&self, at: usize) -> bool {
        let machine = &self.machines[at];
        let Some(node) = machine.node.as_ref().filter(|_| machine.still_since.is_none()) else {
            return false;
        };
        let minted = machine.minted.get(&node.replica()).copied().unwrap_or(0);
        node.store(self.namespace).map_or(0, |store| store.context().get(node.replica())) >= minted
    }
}
