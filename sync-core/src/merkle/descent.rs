//! Finding the addresses at which two tries differ.
//!
//! The asker walks down its own trie: a [`Question`] says what it holds below some prefixes, the
//! [`Answer`] says which of their children differ and what is below those, so a round trip goes two
//! levels down and costs a cut hash for each child of a node that differs, whatever the size of the
//! rest. Where few nodes differ both sides show two levels at once. The answerer keeps nothing between
//! questions (DESIGN section 5, ladder step 4).
//!
//! The hash of a subtree depends on its cells alone and not on where its node hangs, so any prefix can
//! be compared, and a prefix that all cells below share is one step however long it is. Hashes are cut
//! to eight bytes under a salt of the session; they find differences, they prove nothing: the caller
//! compares the whole root at the end.
//!
//! A hostile answer costs bounded work ([`DescentError`]) and can only hide or invent differences.

use std::collections::{BTreeMap, BTreeSet};

use super::cut::{CutKey, cut, halves};
use super::nodes::{
    Answer, Children, Cut, LIST_MAX, Node, PROBES_MAX, Part, Probe, Question, Tag, WIDE_NODES_MAX,
};
use super::prefix::Prefix;
use super::{Address, Fingerprint, LEAF_CELLS_MAX, NIBBLES};
use crate::mutant::{self, Mutant};

/// Most differing addresses that a descent collects. More end it with [`DescentError::TooMany`]: the
/// caller lists everything instead. Some 16 MiB.
pub const DIFFERENCES_MAX: usize = 1 << 18;

/// Most prefixes and tags that wait to be asked; edge as above. Some 16 MiB.
pub const WAITING_MAX: usize = 1 << 18;

/// Most probes of one descent; edge as above. Only a peer that invents differences gets there.
pub const PROBES_TOTAL_MAX: usize = 1 << 20;

/// Most cells that are searched for tags to be named; a leaf holds fewer, but for writes in between.
const NAMING_CELLS_MAX: usize = 1_024;

/// What is known of the cells below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// How many there are, at least 1.
    pub cells: usize,
    /// The longest prefix that they share.
    pub common: Prefix,
}

impl Subtree {
    /// True if its entries are listed, false if it has children to be shown.
    fn is_listed(&self) -> bool {
        self.cells <= LEAF_CELLS_MAX || self.common.len() == NIBBLES
    }
}

/// A trie that is settled: every hash is that of its content.
pub trait Tree {
    /// The cells below `prefix`; `None` if there are none.
    fn below(&self, prefix: &Prefix) -> Option<Subtree>;

    /// For each nibble, the hash of the cells below `prefix` and that nibble.
    fn children(&self, prefix: &Prefix) -> [Option<Fingerprint>; 16];

    /// Calls `visit` for every cell below `prefix`, ascending by address.
    fn visit(&self, prefix: &Prefix, visit: &mut dyn FnMut(Address, Fingerprint));
}

/// Who holds cells at an address at which the tries differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Holder {
    /// The asker alone.
    Ours,
    /// The answerer alone.
    Theirs,
    /// Both, but not the same.
    Both,
}

/// All cells at one address, as one.
#[derive(Clone, Copy, Debug)]
struct Entry {
    address: Address,
    tag: Tag,
}

/// Why a descent ended without a result. The caller takes another way; no state changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DescentError {
    /// The peer answered what was not asked, or nothing at all.
    #[error("the answer does not fit the question")]
    Unfit,
    /// Limit reached: [`DIFFERENCES_MAX`], [`WAITING_MAX`] or [`PROBES_TOTAL_MAX`].
    #[error("more differences than a descent collects")]
    TooMany,
}

/// What waits to be asked.
#[derive(Clone, Debug)]
enum Task {
    Compare(Prefix),
    /// Cuts of addresses that only the peer holds.
    Name(Prefix, Vec<u32>),
}

impl Task {
    fn weight(&self) -> usize {
        match self {
            Self::Compare(_) => 1,
            Self::Name(_, cuts) => cuts.len(),
        }
    }
}

/// What was said of a probe, to understand its answer by.
#[derive(Clone, Debug)]
enum Said {
    Empty,
    Tags(Vec<Entry>),
    Children { at: Prefix, levels: u8 },
    Name,
}

/// The asker's side of a descent.
///
/// Call [`Self::question`], send it, give the peer's answer to [`Self::answer`], and so on until no
/// question is left. The trie may change in between: what changed may be reported or not.
///
/// ```
/// use sync_core::merkle::descent::{self, Descent, Holder};
/// use sync_core::merkle::{Address, Cells, Fingerprint, Trie};
/// struct One;
/// impl Cells<u32> for One {
///     fn address(&self, _: u32) -> Address { Address([7; 16]) }
///     fn fingerprint(&self, _: u32) -> Fingerprint { Fingerprint([1; 32]) }
/// }
/// let (mut ours, mut theirs) = (Trie::default(), Trie::default());
/// theirs.insert(0, &One);
/// let mut descent = Descent::new([9; 16]);
/// while let Some(question) = descent.question(&ours.settled(One), 1_000_000) {
///     let answer = descent::answer(&theirs.settled(One), &question, 1_000_000);
///     descent.answer(&ours.settled(One), &answer)?;
/// }
/// assert_eq!(descent.differences().collect::<Vec<_>>(), [(Address([7; 16]), Holder::Theirs)]);
/// # Ok::<(), descent::DescentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Descent {
    salt: CutKey,
    /// The next to be asked stands last, so that the walk is depth-first and this stays short.
    waiting: Vec<Task>,
    /// Sum of the weights in `waiting` and `asked`.
    weight: usize,
    asked: Vec<(Task, Said)>,
    probes: usize,
    found: BTreeMap<Address, Holder>,
}

impl Descent {
    /// A descent from the root. `salt` is random and of this session, so that nobody can have mined
    /// cells whose cut hashes collide.
    pub fn new(salt: CutKey) -> Self {
        let waiting = vec![Task::Compare(Prefix::default())];
        Self { salt, waiting, weight: 1, asked: Vec::new(), probes: 0, found: BTreeMap::new() }
    }

    /// The next question, of about `bytes_max` bytes at most but at least one probe; `None` at the end.
    ///
    /// A question that was not answered is asked again.
    pub fn question(&mut self, tree: &impl Tree, bytes_max: usize) -> Option<Question> {
        self.waiting.extend(std::mem::take(&mut self.asked).into_iter().rev().map(|(task, _)| task));
        let levels = if self.waiting.len() <= WIDE_NODES_MAX { 2 } else { 1 };
        let (mut probes, mut bytes) = (Vec::new(), 0);
        while let Some(task) = self.waiting.pop() {
            let (prefix, probe, said) = self.probe(tree, &task, levels);
            bytes += probe.room();
            if !probes.is_empty() && (bytes > bytes_max || probes.len() == PROBES_MAX) {
                self.waiting.push(task);
                break;
            }
            probes.push((prefix, probe));
            self.asked.push((task, said));
        }
        (!probes.is_empty()).then_some(Question { salt: self.salt, probes })
    }

    fn probe(&self, tree: &impl Tree, task: &Task, levels: u8) -> (Prefix, Probe, Said) {
        let prefix = match task {
            Task::Name(prefix, cuts) => return (*prefix, Probe::Name(cuts.clone()), Said::Name),
            Task::Compare(prefix) => *prefix,
        };
        let (probe, said) = match tree.below(&prefix) {
            None => (Probe::Empty, Said::Empty),
            Some(subtree) if subtree.is_listed() => {
                let own = entries(tree, &prefix, &self.salt);
                (Probe::Tags(own.iter().map(|entry| entry.tag).collect()), Said::Tags(own))
            }
            Some(subtree) => {
                let children = children(tree, &prefix, &subtree.common, levels, &self.salt);
                let said = Said::Children { at: subtree.common, levels: children.levels };
                (Probe::Children(children), said)
            }
        };
        (prefix, probe, said)
    }

    /// Takes the answer to the last question. What it left out is asked again.
    ///
    /// # Errors
    /// [`DescentError`]; the descent is of no use then.
    pub fn answer(&mut self, tree: &impl Tree, answer: &Answer) -> Result<(), DescentError> {
        let mut asked = std::mem::take(&mut self.asked);
        if answer.parts.is_empty() || answer.parts.len() > asked.len() {
            return Err(DescentError::Unfit);
        }
        let rest = asked.split_off(answer.parts.len());
        self.waiting.extend(rest.into_iter().rev().map(|(task, _)| task));
        self.probes += asked.len();
        for ((task, said), part) in asked.into_iter().zip(&answer.parts) {
            self.weight -= task.weight();
            self.take(tree, task, said, part)?;
        }
        if self.probes > PROBES_TOTAL_MAX || self.weight > WAITING_MAX {
            return Err(DescentError::TooMany);
        }
        Ok(())
    }

    fn take(&mut self, tree: &impl Tree, task: Task, said: Said, part: &Part) -> Result<(), DescentError> {
        match (task, said, part) {
            (Task::Compare(_), _, Part::Node(Node::Later)) => Err(DescentError::Unfit),
            (Task::Compare(prefix), _, Part::Node(node)) => self.take_node(tree, &prefix, node),
            (Task::Compare(_), Said::Children { at, levels }, Part::Differ { levels: theirs, nodes })
                if levels == *theirs =>
            {
                nodes.iter().try_for_each(|(index, node)| {
                    let child = at.child(levels, *index).ok_or(DescentError::Unfit)?;
                    self.take_node(tree, &child, node)
                })
            }
            (Task::Compare(prefix), Said::Tags(own), Part::Listed { lacking, changed, named }) => {
                for (places, holder) in [(lacking, Holder::Ours), (changed, Holder::Both)] {
                    for at in places {
                        self.found(own.get(*at).ok_or(DescentError::Unfit)?.address, holder)?;
                    }
                }
                self.take_named(&prefix, named)
            }
            (Task::Name(prefix, cuts), Said::Name, Part::Listed { lacking, changed, named })
                if lacking.is_empty()
                    && changed.is_empty()
                    && named.iter().all(|address| cuts.contains(&cut_address(*address, &self.salt))) =>
            {
                self.take_named(&prefix, named)
            }
            (Task::Compare(_) | Task::Name(..), _, _) => Err(DescentError::Unfit),
        }
    }

    /// Compares what the peer holds below `prefix` with what is held here.
    fn take_node(&mut self, tree: &impl Tree, prefix: &Prefix, node: &Node) -> Result<(), DescentError> {
        match node {
            Node::Later => self.wait(Task::Compare(*prefix)),
            Node::Empty => self.only_ours(tree, prefix, |_| true),
            Node::Tags(theirs) => {
                let own = self.bounded(tree, prefix)?;
                let ours: BTreeMap<u32, &Entry> =
                    own.iter().map(|entry| (entry.tag.address, entry)).collect();
                let mut lacking = Vec::new();
                for tag in theirs {
                    match ours.get(&tag.address) {
                        Some(entry) if entry.tag == *tag => {}
                        Some(entry) => self.found(entry.address, Holder::Both)?,
                        None => lacking.push(tag.address),
                    }
                }
                let theirs: BTreeSet<u32> = theirs.iter().map(|tag| tag.address).collect();
                for entry in own.iter().filter(|entry| !theirs.contains(&entry.tag.address)) {
                    self.found(entry.address, Holder::Ours)?;
                }
                if lacking.is_empty() { Ok(()) } else { self.wait(Task::Name(*prefix, lacking)) }
            }
            Node::Named(theirs) => {
                self.only_ours(tree, prefix, |address| theirs.binary_search(&address).is_err())?;
                self.take_named(prefix, theirs)
            }
            Node::Children(theirs) => {
                let at = prefix.join(&theirs.skip).ok_or(DescentError::Unfit)?;
                at.child(theirs.levels, 0).ok_or(DescentError::Unfit)?;
                if tree.below(prefix).is_some_and(|own| !at.covers(&own.common)) {
                    self.only_ours(tree, prefix, |address| !at.covers(&Prefix::of(address)))?;
                }
                let own = hashes(tree, &at, theirs.levels, &self.salt);
                for (index, (ours, theirs_hash)) in own.into_iter().zip(&theirs.hashes).enumerate() {
                    let child = at.child(theirs.levels, index).ok_or(DescentError::Unfit)?;
                    match (ours, theirs_hash) {
                        (Some(_), None) => self.only_ours(tree, &child, |_| true)?,
                        (ours, theirs) if ours != *theirs => self.wait(Task::Compare(child))?,
                        (Some(_) | None, _) => {}
                    }
                }
                Ok(())
            }
        }
    }

    fn take_named(&mut self, prefix: &Prefix, named: &[Address]) -> Result<(), DescentError> {
        for address in named {
            if !prefix.covers(&Prefix::of(*address)) {
                return Err(DescentError::Unfit);
            }
            self.found(*address, Holder::Theirs)?;
        }
        Ok(())
    }

    fn only_ours(
        &mut self,
        tree: &impl Tree,
        prefix: &Prefix,
        only: impl Fn(Address) -> bool,
    ) -> Result<(), DescentError> {
        let own = self.bounded(tree, prefix)?;
        own.iter().filter(|own| only(own.address)).try_for_each(|own| self.found(own.address, Holder::Ours))
    }

    /// The entries below `prefix` here, if they are not more than may differ.
    fn bounded(&self, tree: &impl Tree, prefix: &Prefix) -> Result<Vec<Entry>, DescentError> {
        match tree.below(prefix) {
            Some(subtree) if subtree.cells > DIFFERENCES_MAX => Err(DescentError::TooMany),
            Some(_) => Ok(entries(tree, prefix, &self.salt)),
            None => Ok(Vec::new()),
        }
    }

    fn wait(&mut self, task: Task) -> Result<(), DescentError> {
        self.weight += task.weight();
        self.waiting.push(task);
        if self.weight > WAITING_MAX { Err(DescentError::TooMany) } else { Ok(()) }
    }

    fn found(&mut self, address: Address, holder: Holder) -> Result<(), DescentError> {
        if holder == Holder::Ours && mutant::is(Mutant::DescentDropsOurs) {
            return Ok(());
        }
        let entry = self.found.entry(address).or_insert(holder);
        if *entry != holder {
            *entry = Holder::Both;
        }
        if self.found.len() > DIFFERENCES_MAX { Err(DescentError::TooMany) } else { Ok(()) }
    }

    /// The addresses found to differ so far, ascending; all of them once no question is left.
    pub fn differences(&self) -> impl Iterator<Item = (Address, Holder)> + '_ {
        self.found.iter().map(|(address, holder)| (*address, *holder))
    }
}

/// The answer to `question`, of about `bytes_max` bytes at most but never without progress: probes that
/// find no room are left out, and the asker asks them again.
pub fn answer(tree: &impl Tree, question: &Question, bytes_max: usize) -> Answer {
    let mut answerer = Answerer { tree, salt: question.salt, levels: 1, room: bytes_max, nodes: 0 };
    let differing: usize =
        question.probes.iter().take(WIDE_NODES_MAX + 1).map(|probe| answerer.differing(probe)).sum();
    answerer.levels = if differing <= WIDE_NODES_MAX { 2 } else { 1 };
    let mut parts = Vec::new();
    for probe in &question.probes {
        if answerer.room == 0 && !parts.is_empty() {
            break;
        }
        parts.push(answerer.part(probe));
    }
    Answer { parts }
}

struct Answerer<'a, T> {
    tree: &'a T,
    salt: CutKey,
    levels: u8,
    room: usize,
    /// Nodes answered so far.
    nodes: usize,
}

impl<T: Tree> Answerer<'_, T> {
    /// About how many nodes the answer to a probe will show.
    fn differing(&self, (prefix, probe): &(Prefix, Probe)) -> usize {
        let Probe::Children(theirs) = probe else { return 1 };
        let Some(at) = prefix.join(&theirs.skip) else { return 1 };
        let own = hashes(self.tree, &at, theirs.levels, &self.salt);
        own.iter().zip(&theirs.hashes).filter(|(ours, theirs)| ours != theirs).count()
    }

    fn part(&mut self, (prefix, probe): &(Prefix, Probe)) -> Part {
        let own = self.tree.below(prefix);
        let part = match (probe, own) {
            (Probe::Name(cuts), Some(own)) if own.cells <= NAMING_CELLS_MAX => {
                let own = entries(self.tree, prefix, &self.salt).into_iter();
                let asked = own.filter(|entry| cuts.contains(&entry.tag.address)).take(LIST_MAX);
                listed(Vec::new(), Vec::new(), asked.map(|entry| entry.address).collect())
            }
            (Probe::Name(_), _) => listed(Vec::new(), Vec::new(), Vec::new()),
            (Probe::Tags(theirs), None) => listed((0..theirs.len()).collect(), Vec::new(), Vec::new()),
            (Probe::Tags(theirs), Some(own)) if own.is_listed() => {
                let own = entries(self.tree, prefix, &self.salt);
                let (mut lacking, mut changed) = (Vec::new(), Vec::new());
                for (at, tag) in theirs.iter().enumerate() {
                    match own.iter().find(|entry| entry.tag.address == tag.address) {
                        None => lacking.push(at),
                        Some(entry) if entry.tag != *tag => changed.push(at),
                        Some(_) => {}
                    }
                }
                let is_known = |entry: &&Entry| theirs.iter().any(|tag| tag.address == entry.tag.address);
                let named = own.iter().filter(|entry| !is_known(entry)).map(|entry| entry.address).collect();
                listed(lacking, changed, named)
            }
            (Probe::Children(theirs), Some(own)) if !own.is_listed() => match prefix.join(&theirs.skip) {
                Some(at) if at.covers(&own.common) => return self.differ(&at, theirs),
                Some(_) | None => Part::Node(self.node(prefix, false)),
            },
            (Probe::Empty, _) => Part::Node(self.node(prefix, true)),
            (Probe::Tags(_) | Probe::Children(_), _) => Part::Node(self.node(prefix, false)),
        };
        self.room = self.room.saturating_sub(part.room());
        part
    }

    /// The children that differ, each with what is below it here while there is room.
    fn differ(&mut self, at: &Prefix, theirs: &Children) -> Part {
        let levels = theirs.levels;
        let own = hashes(self.tree, at, levels, &self.salt);
        let mut nodes = Vec::new();
        for (index, (ours, theirs)) in own.into_iter().zip(&theirs.hashes).enumerate() {
            let Some(child) = at.child(levels, index).filter(|_| ours != *theirs) else { continue };
            let node = match ours {
                None => Node::Empty,
                Some(_) if self.room == 0 && self.nodes > 0 => Node::Later,
                Some(_) => self.node(&child, theirs.is_none()),
            };
            self.room = self.room.saturating_sub(node.room());
            self.nodes += 1;
            nodes.push((index, node));
        }
        Part::Differ { levels, nodes }
    }

    /// What is below `prefix` here; `all` if the asker holds nothing there, so every entry differs.
    fn node(&self, prefix: &Prefix, all: bool) -> Node {
        match self.tree.below(prefix) {
            None => Node::Empty,
            Some(own) if own.is_listed() => {
                let own = entries(self.tree, prefix, &self.salt);
                if all {
                    Node::Named(own.iter().map(|entry| entry.address).collect())
                } else {
                    Node::Tags(own.iter().map(|entry| entry.tag).collect())
                }
            }
            Some(own) => Node::Children(children(self.tree, prefix, &own.common, self.levels, &self.salt)),
        }
    }
}

/// The children of the node at `common`, seen from `prefix` above it.
fn children(tree: &impl Tree, prefix: &Prefix, common: &Prefix, levels: u8, salt: &CutKey) -> Children {
    let levels = if common.len() + usize::from(levels) > NIBBLES { 1 } else { levels };
    Children { skip: common.after(prefix.len()), levels, hashes: hashes(tree, common, levels, salt) }
}

/// The cut hashes of the subtrees `levels` nibbles below `at`, in order.
fn hashes(tree: &impl Tree, at: &Prefix, levels: u8, salt: &CutKey) -> Vec<Option<Cut>> {
    let row = |prefix: Option<Prefix>| match prefix.filter(|prefix| prefix.len() < NIBBLES) {
        Some(prefix) => tree.children(&prefix).map(|hash| hash.map(|hash| Cut(cut(salt, words(&hash))))),
        None => [None; 16],
    };
    match levels {
        1 => row(Some(*at)).to_vec(),
        _ => (0..16).flat_map(|nibble| row(at.child(1, nibble))).collect(),
    }
}

fn words(hash: &Fingerprint) -> [u64; 4] {
    std::array::from_fn(|word| u64::from_le_bytes(std::array::from_fn(|byte| hash.0[8 * word + byte])))
}

fn listed(lacking: Vec<usize>, changed: Vec<usize>, named: Vec<Address>) -> Part {
    Part::Listed { lacking, changed, named }
}

/// The entries below `prefix`, ascending by address: one an address, whatever the number of its cells.
fn entries(tree: &impl Tree, prefix: &Prefix, salt: &CutKey) -> Vec<Entry> {
    let mut cells = Vec::new();
    tree.visit(prefix, &mut |address, fingerprint| cells.push((address, fingerprint)));
    cells.sort_unstable();
    let mut entries: Vec<Entry> = Vec::with_capacity(cells.len());
    for (address, fingerprint) in cells {
        let content = low(cut(salt, words(&fingerprint)));
        match entries.last_mut().filter(|last| last.address == address) {
            Some(Entry { tag, .. }) => {
                tag.content = low(cut(salt, [u64::from(tag.content), u64::from(content)]));
            }
            None => {
                entries.push(Entry { address, tag: Tag { address: cut_address(address, salt), content } });
            }
        }
    }
    entries
}

fn cut_address(address: Address, salt: &CutKey) -> u32 {
    let (left, right) = halves(&address.0);
    low(cut(salt, [left, right]))
}

fn low(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
