//! Healing: what happens after the alarm T8, and after the scrub has found damaged bytes (DESIGN section 3).
//!
//! ```text
//! B  -- Nodes(question) ----> A             B knows what A knows, and has another root: where do we differ?
//! B  <-- NodesFound --------- A             .. until every differing address is known
//! B  -- Inspect(addresses) -> A, C, D ..    what do you hold there, and do you know the same events?
//! B  <-- Inspected ---------- A, C, D ..    B judges dot by dot, heals itself, and tells
//! ```
//!
//! Each side heals itself alone; the other comes to the same end by its own exchange of roots. The rules, in the
//! order in which they are tried: bytes that do not give their own fingerprint are replaced by a peer's that do; a
//! dot that a record proves dead is dead; what more members hold than lack, at least two, is live, and what three
//! members lack and fewer hold is dead; what is left is written again as a new event by whoever holds it. We rather
//! bring an item back than lose one, and the event [`Event::Healed`] says so. Who leaves it to the other side and
//! finds the same difference again and again writes again too: that side hears fewer members.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::space::Space;
use super::{Cause, Event, Link, Node};
use crate::causal::DotSet;
use crate::cell::{CellId, Item, ObjectId, Path};
use crate::dictionary::{BaseId, Version};
use crate::error::FrameError;
use crate::fragment::{CellPart, Fragment};
use crate::id::{Dot, NamespaceId, NodeId};
use crate::limits::Limits;
use crate::memory;
use crate::merkle::Address;
use crate::merkle::descent::Descent;
use crate::merkle::nodes::{Answer, Question};
use crate::message::{Frame, INSPECTED_MAX, Inspect, Inspected, Route};
use crate::mutant::{self, Mutant};
use crate::store::Store;
use crate::time::{Now, Timestamp, WallMillis};

/// After so many healings with one peer in which this side left it to the other, the other cannot: it may have no
/// links to the members that decide. Then what is held here is written again.
const FRUITLESS_MAX: u8 = 2;

/// Questions that go unanswered so often end the healing; the next round of roots begins it anew.
const TRIES_MAX: u8 = 3;

/// Questions of healings that wait for their answers take together at most what so many frames may. One more is
/// dropped, and asked again by who asked it.
const QUESTIONS_FRAMES_MAX: usize = 8;

/// What peers have said in an inspection takes together at most what so many frames may.
const HEARD_FRAMES_MAX: usize = 8;

/// A healing under way; one a node. Bounded by the descent's own limits and [`INSPECTED_MAX`].
#[derive(Clone, Debug)]
pub(crate) struct Healing {
    namespace: NamespaceId,
    /// Whose root differed; `None` if the scrub found the damage.
    peer: Option<NodeId>,
    stage: Stage,
    tries: u8,
    until: Timestamp,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Looking for the addresses that differ; true if a question is to be sent.
    Descending(Box<Descent>, bool),
    /// Asking who holds what there.
    Inspecting(Inspection),
}

#[derive(Clone, Debug)]
struct Inspection {
    context: BaseId,
    horizon: WallMillis,
    addresses: Vec<Address>,
    /// Still to be asked.
    due: BTreeSet<NodeId>,
    /// Asked, and not heard of.
    waiting: BTreeSet<NodeId>,
    heard: BTreeMap<NodeId, Inspected>,
}

/// What a healing did here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// Damaged bytes replaced by a peer's that fit their fingerprint.
    pub mended: u64,
    /// Items that were live here alone and are proved, or held by the others, to be dead.
    pub buried: u64,
    /// Items taken over from the members that hold them.
    pub restored: u64,
    /// Items written again as new events, because nothing proves them dead: some may have come back.
    pub rewritten: u64,
}

/// What to do about one dot.
enum Verdict {
    Bury,
    Adopt(Item),
    /// These contents of the dot are written again, each under a new one.
    Rewrite(Vec<Item>),
}

impl Node {
    /// Begins to heal a namespace whose root differs from that of `peer`, who knows the same events.
    pub(super) fn heal(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) {
        let speaks = self.peers.get(&peer).is_some_and(|peer| peer.version >= Version::DIFFERENCES);
        let too_soon = self.heal_at > now.mono;
        if self.healing.is_some() || too_soon || !speaks || mutant::is(Mutant::NeverHealed) {
            return;
        }
        let mut salt = [0; 16];
        self.rng.fill_bytes(&mut salt);
        let stage = Stage::Descending(Box::new(Descent::new(salt)), true);
        let until = now.mono + self.config.timing.sync_timeout;
        self.healing = Some(Healing { namespace, peer: Some(peer), stage, tries: 0, until });
    }

    /// Begins to heal cells whose bytes the scrub found damaged.
    fn heal_cells(&mut self, now: Now, namespace: NamespaceId, mut addresses: Vec<Address>) {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(INSPECTED_MAX);
        self.healing = self.inspect(now, namespace, None, addresses);
        self.fill_due = true;
    }

    fn inspect(
        &mut self,
        now: Now,
        namespace: NamespaceId,
        peer: Option<NodeId>,
        addresses: Vec<Address>,
    ) -> Option<Healing> {
        let is_asked = |peer: &super::Peer| peer.is_up() && peer.version >= Version::DIFFERENCES;
        let due: BTreeSet<NodeId> =
            self.peers.iter().filter(|(_, peer)| is_asked(peer)).map(|(node, _)| *node).collect();
        let mut room = self.config.limits.message_bytes_max / 2;
        let space = self.spaces.get_mut(&namespace)?;
        // The question names our cells there: as many as a frame can, the others in the next round.
        let fits = |address: &Address| {
            let cells = space.store.cells_at(*address);
            let bytes = |cell: &CellId| {
                let (key, path) = (cell.object.key.as_str().len(), cell.path.as_bytes().len());
                let live = space.store.items_of(cell).len();
                let memory = memory::cell(key, path) + live * memory::OTHER;
                (key + path + 16 * (live + 1)).max(Limits::framed(memory))
            };
            let more = 16 + cells.iter().map(bytes).sum::<usize>();
            room = room.saturating_sub(more);
            room > 0
        };
        let addresses: Vec<Address> = addresses.into_iter().take_while(fits).collect();
        let (context, horizon) = (space.base().id(), space.store.horizon());
        let until = now.mono + self.config.timing.sync_timeout;
        let inspection =
            Inspection { context, horizon, addresses, due, waiting: BTreeSet::new(), heard: BTreeMap::new() };
        Some(Healing { namespace, peer, stage: Stage::Inspecting(inspection), tries: 0, until })
    }

    /// When the healing, or the scrub, wants to be woken.
    pub(super) fn heal_deadline(&self) -> Option<Timestamp> {
        self.healing.as_ref().map_or(Some(self.scrub_at), |healing| Some(healing.until))
    }

    /// Turns deadlines that have passed into what is due.
    pub(super) fn wake_heal(&mut self, now: Now) {
        self.scrub(now);
        let Some(healing) = self.healing.as_mut().filter(|healing| healing.until <= now.mono) else { return };
        healing.tries += 1;
        healing.until = now.mono + self.config.timing.sync_timeout;
        let over = healing.tries >= TRIES_MAX;
        self.fill_due = true;
        match &mut healing.stage {
            Stage::Descending(_, due) if !over => *due = true,
            Stage::Descending(..) => self.healing = None,
            Stage::Inspecting(inspection) if !inspection.heard.is_empty() => self.judge(now),
            // Nobody answers: the next round of roots, or the next scrub, begins anew.
            Stage::Inspecting(_) if over => self.healing = None,
            Stage::Inspecting(inspection) => inspection.due.append(&mut inspection.waiting),
        }
    }

    /// A peer is gone: it is not waited for.
    pub(super) fn heal_without(&mut self, peer: NodeId) {
        let Some(healing) = &mut self.healing else { return };
        match &mut healing.stage {
            Stage::Descending(..) if healing.peer == Some(peer) => self.healing = None,
            Stage::Descending(..) => {}
            Stage::Inspecting(inspection) => {
                inspection.due.remove(&peer);
                inspection.waiting.remove(&peer);
            }
        }
    }

    /// As [`Self::heal_without`], for one namespace.
    pub(super) fn heal_unlinked(&mut self, peer: NodeId, namespace: NamespaceId) {
        if self.healing.as_ref().is_some_and(|healing| healing.namespace == namespace) {
            self.heal_without(peer);
        }
    }

    /// The states of both are equal: what was to be healed between them is healed, and what was heard is out of date.
    pub(super) fn heal_no_more(&mut self, peer: NodeId, namespace: NamespaceId) {
        self.healing.take_if(|healing| healing.peer == Some(peer) && healing.namespace == namespace);
    }

    /// The next question of a healing to `peer`, or the answer to one of its own.
    pub(super) fn build_heal(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> Option<Frame> {
        let route = self.route(peer, namespace);
        let bytes_max = self.config.limits.message_bytes_max / 2;
        let space = self.spaces.get_mut(&namespace)?;
        let link = self.peers.get_mut(&peer)?.links.get_mut(&namespace)?;
        if let Some((question, _)) = link.nodes_due.take() {
            return Some(Frame::NodesFound(route, space.store.answer_nodes(&question, bytes_max)));
        }
        if let Some((inspect, _)) = link.inspect_due.take() {
            return Some(Frame::Inspected(route, inspected(space, &inspect, bytes_max)));
        }
        let healing = self.healing.as_mut().filter(|healing| healing.namespace == namespace)?;
        match &mut healing.stage {
            Stage::Descending(descent, due) => {
                if healing.peer != Some(peer) || !std::mem::take(due) {
                    return None;
                }
                if let Some(question) = space.store.descent_question(descent, bytes_max) {
                    return Some(Frame::Nodes(route, question));
                }
                let addresses: Vec<Address> =
                    descent.differences().map(|(address, _)| address).take(INSPECTED_MAX).collect();
                self.healing = None;
                if !addresses.is_empty() {
                    self.healing = self.inspect(now, namespace, Some(peer), addresses);
                    self.fill_due = true;
                }
                None
            }
            Stage::Inspecting(inspection) => {
                if !inspection.due.remove(&peer) {
                    return None;
                }
                inspection.waiting.insert(peer);
                let (context, horizon, addresses) =
                    (inspection.context, inspection.horizon, inspection.addresses.clone());
                let mut cells: Vec<CellId> =
                    addresses.iter().flat_map(|address| space.store.cells_at(*address)).collect();
                cells.sort_unstable();
                let part = |cell: CellId| {
                    let others = space.store.items_of(&cell).iter().map(|item| item.dot).collect();
                    CellPart { cell, items: Vec::new(), others }
                };
                let fragment =
                    Fragment { cells: cells.into_iter().map(part).collect(), ..Fragment::default() };
                Some(Frame::Inspect(route, Inspect { context, horizon, addresses, fragment }))
            }
        }
    }

    pub(super) fn on_nodes(
        &mut self,
        peer: NodeId,
        route: Route,
        question: Question,
    ) -> Result<(), FrameError> {
        let memory = question.memory();
        let has_room = self.has_room_for_question(memory);
        let link = self.link_mut(peer, route.namespace);
        if has_room {
            link.nodes_due = Some((question, memory));
        }
        if !link.diverged {
            // The peer has found that we differ. Each side heals itself, so look at the peer too.
            link.session.want_pull();
        }
        Ok(())
    }

    pub(super) fn on_inspect(
        &mut self,
        peer: NodeId,
        route: Route,
        inspect: Inspect,
    ) -> Result<(), FrameError> {
        let memory = inspect.fragment.memory() + size_of_val(inspect.addresses.as_slice());
        if self.has_room_for_question(memory) {
            self.link_mut(peer, route.namespace).inspect_due = Some((inspect, memory));
        }
        Ok(())
    }

    /// True if one more question that takes `memory` may wait for its answer.
    fn has_room_for_question(&self, memory: usize) -> bool {
        let links = self.peers.values().flat_map(|peer| peer.links.values());
        let waiting: usize = links.map(Link::questions_memory).sum();
        waiting + memory <= QUESTIONS_FRAMES_MAX * self.config.limits.decode_bytes_max()
    }

    /// False for an answer of a descent or an inspection that this node does not wait for: it is dropped, and an honest
    /// peer sends few of them, late.
    pub fn awaits(&self, peer: NodeId, frame: &Frame) -> bool {
        let stage = |route: &Route| {
            let healing = self.healing.as_ref().filter(|healing| healing.namespace == route.namespace);
            healing.map(|healing| (healing.peer, &healing.stage))
        };
        if let Frame::NodesFound(route, _) = frame {
            return matches!(stage(route), Some((of, Stage::Descending(..))) if of == Some(peer));
        }
        if let Frame::Inspected(route, _) = frame {
            let stage = stage(route).map(|(_, stage)| stage);
            return matches!(stage, Some(Stage::Inspecting(inspection)) if inspection.waiting.contains(&peer));
        }
        true
    }

    pub(super) fn on_nodes_found(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        answer: &Answer,
    ) -> Result<(), FrameError> {
        let timeout = self.config.timing.sync_timeout;
        let Some(healing) = &mut self.healing else { return Ok(()) };
        if (healing.peer, healing.namespace) != (Some(peer), route.namespace) {
            return Ok(());
        }
        let Stage::Descending(descent, due) = &mut healing.stage else { return Ok(()) };
        let space = self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces");
        healing.until = now.mono + timeout;
        healing.tries = 0;
        *due = true;
        if space.store.descent_answer(descent, answer).is_err() {
            self.healing = None;
        }
        Ok(())
    }

    pub(super) fn on_inspected(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        inspected: Inspected,
    ) -> Result<(), FrameError> {
        let Some(healing) = &mut self.healing else { return Ok(()) };
        if let Stage::Inspecting(inspection) = &mut healing.stage
            && healing.namespace == route.namespace
            && inspection.waiting.remove(&peer)
        {
            inspection.hear(peer, inspected, HEARD_FRAMES_MAX * self.config.limits.decode_bytes_max());
            if inspection.waiting.is_empty() && inspection.due.is_empty() {
                self.judge(now);
            }
        }
        Ok(())
    }

    /// All are heard, or not waited for any longer: judges, heals, tells.
    fn judge(&mut self, now: Now) {
        let Some(Healing { namespace, peer, stage: Stage::Inspecting(inspection), .. }) = self.healing.take()
        else {
            return;
        };
        let Some(space) = self.spaces.get_mut(&namespace) else { return };
        let Inspection { context, horizon, addresses, heard, .. } = inspection;
        let covered = heard.values().map(|heard| heard.covered).min().unwrap_or(0);
        let addresses = &addresses[..usize::try_from(covered).unwrap_or(usize::MAX).min(addresses.len())];
        let (mut healed, mut cells, mut rewrites) = (Healed::default(), BTreeSet::new(), Vec::new());
        let mut judged = None;
        match peer {
            None => mend(&mut space.store, addresses, &heard, &mut healed, &mut cells),
            Some(peer) => {
                let still = space.base().id() == context && space.store.horizon() == horizon;
                let same: Vec<&Inspected> = heard
                    .values()
                    .filter(|heard| heard.same || mutant::is(Mutant::HeardAcrossContexts))
                    .collect();
                let equal = still && heard.get(&peer).is_some_and(|heard| heard.same);
                if equal || mutant::is(Mutant::HeardAcrossContexts) {
                    let link = self.peers.get(&peer).and_then(|peer| peer.links.get(&namespace));
                    let role = Role {
                        begins: self.config.node < peer,
                        insists: link.is_some_and(|link| link.fruitless >= FRUITLESS_MAX)
                            && !mutant::is(Mutant::NeverInsists),
                    };
                    judged = Some(peer);
                    for (dot, cell, verdict) in verdicts(&mut space.store, addresses, &same, role) {
                        match verdict {
                            Verdict::Bury => {
                                space.store.bury(dot);
                                healed.buried += 1;
                            }
                            Verdict::Adopt(item) => {
                                space.store.adopt(&cell, item);
                                healed.restored += 1;
                            }
                            Verdict::Rewrite(items) => {
                                rewrites.extend(items.into_iter().map(|item| (cell.clone(), item)));
                            }
                        }
                        cells.insert((cell.object, cell.path));
                    }
                }
            }
        }
        if !cells.is_empty() {
            self.changed(namespace, Cause::Repair, std::iter::empty());
        }
        for (cell, item) in rewrites {
            // Only the end of all sequence numbers refuses it; then the next round tries again.
            let written = self.write(now, namespace, |group| group.rewrite(cell, &item, &[]));
            healed.rewritten += u64::from(written.is_ok());
        }
        if let Some(link) = judged.and_then(|peer| self.peers.get_mut(&peer)?.links.get_mut(&namespace)) {
            link.fruitless = if healed == Healed::default() { link.fruitless.saturating_add(1) } else { 0 };
            // What differs after a repair is another damage, and raises an alarm of its own.
            link.diverged &= healed == Healed::default();
        }
        if healed != Healed::default() {
            self.step_on();
            let cells = cells.into_iter().collect();
            self.event(Event::Healed { peer, namespace, healed, cells });
            self.want_roots();
        } else {
            // The other side has to act first.
            self.heal_at = now.mono + self.config.timing.sync_timeout;
        }
    }

    // The scrub.

    /// True while cells of `namespace` are known to be damaged, or its horizon is ahead of every clock: no fragment
    /// of it leaves.
    pub(super) fn is_unsound(&self, namespace: NamespaceId) -> bool {
        if self.wall_clock.is_behind_horizon(namespace) {
            return true;
        }
        if mutant::is(Mutant::DamagedFragmentLeaves) {
            return false;
        }
        self.is_mending(namespace)
    }

    /// True while cells of `namespace` are known to be damaged.
    pub(super) fn is_mending(&self, namespace: NamespaceId) -> bool {
        let mending = |healing: &Healing| healing.namespace == namespace && healing.peer.is_none();
        self.healing.as_ref().is_some_and(mending)
    }

    /// Looks at the next part of every store, a whole store once in [`crate::limits::Timing::scrub_period`].
    fn scrub(&mut self, now: Now) {
        if self.scrub_at > now.mono || self.healing.is_some() {
            return;
        }
        self.scrub_at = now.mono + self.scrub_step();
        let mut damaged = None;
        // What is not hashed yet has nothing to be compared with.
        for (namespace, space) in self.spaces.iter_mut().filter(|(_, space)| space.settling.is_none()) {
            let places = space.store.scrub_places();
            let step = space.store.scrub(space.scrubbed, places.div_ceil(SCRUB_STEPS));
            space.scrubbed = step.next;
            self.meter.scrubs += u64::from(step.next == 0 && places > 0);
            if !step.failed.is_empty() {
                damaged = Some((*namespace, step.failed));
                break;
            }
        }
        if let Some((namespace, failed)) = damaged {
            let store = &mut self.spaces.get_mut(&namespace).expect("it was just found").store;
            let cells = failed.iter().flat_map(|address| store.cells_at(*address));
            let cells = cells.map(|cell| (cell.object, cell.path)).collect();
            self.event(Event::Corrupt { namespace, cells });
            self.heal_cells(now, namespace, failed);
        }
    }
}

#[cfg(feature = "faults")]
impl Node {
    /// Damages the state of `namespace` as a fault of memory does; false if there is nothing to damage in that
    /// way. Nobody is told: that is what the scrub and the exchange of roots are for.
    pub fn damage(&mut self, namespace: NamespaceId, damage: crate::store::Damage) -> bool {
        self.spaces.get_mut(&namespace).is_some_and(|space| space.store.damage(damage))
    }
}

/// Into so many steps a scrub of a store is cut.
pub(super) const SCRUB_STEPS: usize = 64;

impl Inspection {
    /// Keeps what `peer` has said while all of it takes at most `memory_max`: who finds no room is not heard, like a peer
    /// that is away.
    fn hear(&mut self, peer: NodeId, inspected: Inspected, memory_max: usize) {
        let memory = |heard: &Inspected| heard.fragment.memory() + heard.killed.memory();
        let held: usize = self.heard.values().map(memory).sum();
        if held + memory(&inspected) <= memory_max {
            self.heard.insert(peer, inspected);
        }
    }
}

impl Inspected {
    fn items_of(&self, cell: &CellId) -> &[Item] {
        let at = self.fragment.cells.binary_search_by(|part| part.cell.cmp(cell));
        at.map_or(&[], |at| self.fragment.cells[at].items.as_slice())
    }
}

/// Replaces damaged bytes by those of a peer that give the fingerprint that was taken of them. Where nobody has
/// such, the bytes are taken as they are: two contents of one dot, which the exchange of roots shows.
fn mend(
    store: &mut Store,
    addresses: &[Address],
    heard: &BTreeMap<NodeId, Inspected>,
    healed: &mut Healed,
    cells: &mut BTreeSet<(ObjectId, Path)>,
) {
    for cell in addresses.iter().flat_map(|address| store.cells_at(*address)).collect::<Vec<_>>() {
        if store.is_sound(&cell) {
            continue;
        }
        if heard.values().any(|heard| store.mend(&cell, heard.items_of(&cell))) {
            healed.mended += 1;
            cells.insert((cell.object, cell.path));
        } else {
            store.resign(&cell);
        }
    }
}

/// What this side takes upon itself in a healing.
#[derive(Clone, Copy)]
struct Role {
    /// Of two contents it takes care of both, or the first to act would end the other's.
    begins: bool,
    /// It no longer leaves anything to the other side.
    insists: bool,
}

/// Who holds what under one dot.
#[derive(Default)]
struct Holders<'a> {
    ours: Option<(CellId, Item)>,
    theirs: Vec<(&'a CellId, &'a Item)>,
    proved_dead: bool,
}

/// What is to be done about each dot at the addresses, ascending; `heard` know the same events as this store.
fn verdicts(
    store: &mut Store,
    addresses: &[Address],
    heard: &[&Inspected],
    role: Role,
) -> Vec<(Dot, CellId, Verdict)> {
    let mut by_dot: BTreeMap<Dot, Holders<'_>> = BTreeMap::new();
    for cell in addresses.iter().flat_map(|address| store.cells_at(*address)).collect::<Vec<_>>() {
        for item in store.items_of(&cell) {
            by_dot.entry(item.dot).or_default().ours = Some((cell.clone(), item.to_item()));
        }
    }
    for inspected in heard {
        for part in &inspected.fragment.cells {
            for item in &part.items {
                by_dot.entry(item.dot).or_default().theirs.push((&part.cell, item));
            }
        }
    }
    let mut verdicts = Vec::new();
    for (dot, mut holders) in by_dot {
        let cell =
            holders.ours.as_ref().map(|(cell, _)| cell).or(holders.theirs.first().map(|(cell, _)| *cell));
        let cell = cell.expect("a dot is listed because somebody holds it").clone();
        holders.proved_dead =
            store.shows_killed(&cell, dot) || heard.iter().any(|heard| heard.killed.contains(dot));
        holders.proved_dead &= !mutant::is(Mutant::ProofOfDeathIgnored);
        if let Some(verdict) = holders.verdict(heard.len(), role) {
            verdicts.push((dot, cell, verdict));
        }
    }
    verdicts
}

impl Holders<'_> {
    /// The rules of T8, of which this side carries out its own part; `None` if it has nothing to do. `others` are the
    /// members heard that know the same events.
    fn verdict(self, others: usize, role: Role) -> Option<Verdict> {
        let Role { begins, insists } = role;
        let Self { ours, theirs, proved_dead } = self;
        let lacking = others - theirs.len().min(others);
        let lacking_min = if mutant::is(Mutant::BuriedByOne) { 1 } else { 3 };
        // The content that most of the others hold, and how many of them.
        let count = |content: &(&CellId, &Item)| theirs.iter().filter(|other| *other == content).count();
        let most =
            theirs.iter().max_by_key(|content| count(content)).map(|content| (*content, count(content)));
        let Some((cell, item)) = ours else {
            let ((_, item), held) = most?;
            let adopted = !proved_dead && held >= 2 && held > lacking + 1;
            return adopted.then(|| Verdict::Adopt(item.clone()));
        };
        if proved_dead {
            return Some(Verdict::Bury);
        }
        let same = 1 + theirs.iter().filter(|(at, other)| **at == cell && **other == item).count();
        if theirs.is_empty() {
            return Some(if lacking >= lacking_min { Verdict::Bury } else { Verdict::Rewrite(vec![item]) });
        }
        match most {
            Some((content, held)) if content != (&cell, &item) => match (same, held) {
                (same, held) if held >= 2 && held > same => Some(Verdict::Adopt(content.1.clone())),
                (same, held) if same >= 2 && same > held && !insists => None,
                _ => (begins || insists).then(|| Verdict::Rewrite(vec![item, content.1.clone()])),
            },
            Some(_) | None if lacking >= lacking_min && lacking > same => Some(Verdict::Bury),
            Some(_) | None if lacking == 0 || (same >= 2 && same > lacking && !insists) => None,
            Some(_) | None => Some(Verdict::Rewrite(vec![item])),
        }
    }
}

/// What is held at the addresses asked for, as much as there is room for.
fn inspected(space: &mut Space, inspect: &Inspect, bytes_max: usize) -> Inspected {
    let mut same = space.base().id() == inspect.context && space.store.horizon() == inspect.horizon;
    let (mut covered, mut bytes) = (0, 0);
    let (mut parts, mut dots) = (BTreeMap::new(), DotSet::default());
    for address in &inspect.addresses {
        let cells = space.store.cells_at(*address);
        for cell in &cells {
            let (key, path) = (cell.object.key.as_str().len(), cell.path.as_bytes().len());
            bytes += (key + path + 32).max(Limits::framed(memory::cell(key, path)));
            // A dot may be an interval by itself, of what is shown and of what is proved dead.
            let item = |len: usize| (len + 32).max(Limits::framed(memory::item(len) + 2 * memory::LONE_DOT));
            bytes += space.store.items_of(cell).iter().map(|at| item(at.payload.len())).sum::<usize>();
        }
        if bytes > bytes_max && covered > 0 {
            break;
        }
        covered += 1;
        for cell in cells {
            // Whose bytes do not give their own fingerprint is no witness.
            same &= space.store.is_sound(&cell);
            let items = space.store.items_of(&cell).to_vec();
            items.iter().for_each(|item| dots.insert(item.dot));
            parts.insert(cell.clone(), CellPart { cell, items, others: Vec::new() });
        }
    }
    let mut killed = DotSet::default();
    for CellPart { cell, others, .. } in &inspect.fragment.cells {
        let dead = others.iter().filter(|dot| !space.store.is_live(**dot));
        dead.filter(|dot| space.store.shows_killed(cell, **dot)).for_each(|dot| killed.insert(*dot));
    }
    let fragment = Fragment { dots, cells: parts.into_values().collect(), ..Fragment::default() };
    Inspected { same, covered, killed, fragment }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_in_an_inspection_takes_a_bounded_memory_together() {
        let part = |n: u32| CellPart {
            cell: CellId::new(ObjectId::new("s", crate::cell::TypeTag::OR_SET), &n.to_be_bytes()[..]),
            items: Vec::new(),
            others: Vec::new(),
        };
        let fragment = Fragment { cells: (0..100).map(part).collect(), ..Fragment::default() };
        let each = fragment.memory();
        let said = Inspected { same: true, covered: 1, killed: DotSet::default(), fragment };
        let mut inspection = Inspection {
            context: BaseId([0; 8]),
            horizon: WallMillis(0),
            addresses: Vec::new(),
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            heard: BTreeMap::new(),
        };
        (1..=5).for_each(|n| inspection.hear(NodeId([n; 32]), said.clone(), 3 * each));
        assert_eq!(inspection.heard.keys().copied().collect::<Vec<_>>(), [1, 2, 3].map(|n| NodeId([n; 32])));
    }
}
