//! What the two sides of a descent say to each other; see [`super::descent`].

use super::Address;
use super::cut::CutKey;
use super::prefix::Prefix;
use crate::codec::{Reader, Writer};
use crate::error::FrameError;
use crate::limits::Limits;

/// Most probes of a question: it is refused beyond.
pub const PROBES_MAX: usize = 2_048;

/// Most nodes of one message that are shown two levels deep: refused beyond, since looking at one costs
/// 256 comparisons however few bytes it takes. Such a node costs up to 2 KiB, and saves half a round trip.
pub const WIDE_NODES_MAX: usize = 1;

/// Most entries of one list. A leaf has fewer; a longer list is refused.
pub const LIST_MAX: usize = 256;

/// Memory of the place of a child while a node is read.
const PLACE_BYTES: usize = size_of::<Option<Cut>>() + size_of::<bool>();

/// Eight bytes cut from the hash of a subtree under the salt of the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cut(pub u64);

/// All that is held at one address, under the salt of the session: so short that a leaf is cheap to list,
/// long enough that a wrong match is one in 2^32 for each difference, and then the root tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag {
    /// Cut from the address.
    pub address: u32,
    /// Cut from the fingerprints of the cells there.
    pub content: u32,
}

/// The subtrees one or two levels below a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Children {
    /// Nibbles between the prefix that was asked and the node: all cells below share them.
    pub skip: Prefix,
    /// 1 or 2.
    pub levels: u8,
    /// `16^levels` places; `None` where nothing is held.
    pub hashes: Vec<Option<Cut>>,
}

/// What the asker says and wants to know of one prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// It holds nothing there.
    Empty,
    /// It holds these entries there, in order of their addresses.
    Tags(Vec<Tag>),
    /// It holds these subtrees there.
    Children(Children),
    /// It wants the addresses of the answerer's entries with these cuts.
    Name(Vec<u32>),
}

/// A question: what the asker holds below some prefixes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The salt of all cuts of this descent.
    pub salt: CutKey,
    /// At most [`PROBES_MAX`].
    pub probes: Vec<(Prefix, Probe)>,
}

/// What the answerer holds below a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// Nothing.
    Empty,
    /// These entries.
    Tags(Vec<Tag>),
    /// Cells at these addresses, ascending, at none of which the asker holds any.
    Named(Vec<Address>),
    /// These subtrees.
    Children(Children),
    /// Something else than the asker; there was no room to say what.
    Later,
}

/// The answer to one probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// What is held below the prefix: it cannot be compared child by child.
    Node(Node),
    /// The children that differ, ascending, each with what is held below it; the others are equal.
    Differ {
        /// The levels of the probe.
        levels: u8,
        /// Index of the child, and what is held below it.
        nodes: Vec<(usize, Node)>,
    },
    /// What differs, to the last entry.
    Listed {
        /// Places in the probe's list of addresses at which nothing is held here, ascending.
        lacking: Vec<usize>,
        /// Places in the probe's list of addresses at which something else is held here, ascending.
        changed: Vec<usize>,
        /// Addresses held here that are not in the probe's list, or that were to be named; ascending.
        named: Vec<Address>,
    },
}

/// The answer to the first probes of a question, in their order; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// One for each probe that there was room for.
    pub parts: Vec<Part>,
}

impl Children {
    fn memory(&self) -> usize {
        self.hashes.len() * PLACE_BYTES
    }

    fn bytes_max(&self) -> usize {
        2 + Prefix::BYTES_MAX + self.hashes.len() / 8 + 8 * self.hashes.iter().flatten().count()
    }

    fn write(&self, out: &mut Writer) {
        self.skip.write(out);
        write_bits(self.hashes.iter().map(Option::is_some), out);
        self.hashes.iter().flatten().for_each(|cut| out.fixed(&cut.0.to_le_bytes()));
    }

    /// Reads what [`Self::write`] wrote; `wide` counts the nodes of two levels in the message so far.
    fn read(levels: u8, wide: &mut usize, input: &mut Reader<'_>) -> Result<Self, FrameError> {
        *wide += usize::from(levels == 2);
        bounded("nodes of two levels", *wide, WIDE_NODES_MAX)?;
        input.charge("children", places(levels), PLACE_BYTES)?;
        let skip = Prefix::read("skipped nibbles", input)?;
        let bits = read_bits(levels, input)?;
        // A branch has two children at least: so it takes memory only in proportion to its bytes.
        let shown = bits.iter().filter(|present| **present).count();
        if shown < 2 {
            return Err(FrameError::Count { field: "children", count: shown as u64, max: bits.len() as u64 });
        }
        let mut hashes = Vec::with_capacity(bits.len());
        for present in bits {
            hashes.push(if present { Some(Cut(u64::from_le_bytes(input.fixed("hash")?))) } else { None });
        }
        Ok(Self { skip, levels, hashes })
    }
}

impl Probe {
    /// What it counts for in a frame, its prefix included: its bytes, or what it takes in memory where that is more.
    pub(super) fn room(&self) -> usize {
        (Prefix::BYTES_MAX + self.bytes_max()).max(Limits::framed(self.memory()))
    }

    fn memory(&self) -> usize {
        let lists = match self {
            Self::Empty => 0,
            Self::Tags(tags) => size_of_val(tags.as_slice()),
            Self::Name(cuts) => size_of_val(cuts.as_slice()),
            Self::Children(children) => children.memory(),
        };
        size_of::<(Prefix, Self)>() + lists
    }

    /// No fewer bytes than [`Question::write`] takes for it.
    pub fn bytes_max(&self) -> usize {
        match self {
            Self::Empty => 1,
            Self::Tags(tags) => 3 + 8 * tags.len(),
            Self::Name(cuts) => 3 + 4 * cuts.len(),
            Self::Children(children) => children.bytes_max(),
        }
    }
}

impl Node {
    /// What it counts for in a frame, as [`Probe::room`].
    pub(super) fn room(&self) -> usize {
        self.bytes_max().max(Limits::framed(size_of::<(usize, Self)>() + self.memory()))
    }

    fn memory(&self) -> usize {
        match self {
            Self::Empty | Self::Later => 0,
            Self::Tags(tags) => size_of_val(tags.as_slice()),
            Self::Named(named) => size_of_val(named.as_slice()),
            Self::Children(children) => children.memory(),
        }
    }

    /// No fewer bytes than [`Answer::write`] takes for it.
    pub fn bytes_max(&self) -> usize {
        match self {
            Self::Empty | Self::Later => 1,
            Self::Tags(tags) => 3 + 8 * tags.len(),
            Self::Named(named) => 3 + 16 * named.len(),
            Self::Children(children) => children.bytes_max(),
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Empty => out.byte(0),
            Self::Children(children) => {
                out.byte(children.levels);
                children.write(out);
            }
            Self::Tags(tags) => {
                out.byte(3);
                write_tags(tags, out);
            }
            Self::Named(named) => {
                out.byte(4);
                write_named(named, out);
            }
            Self::Later => out.byte(5),
        }
    }

    fn read(kind: u8, wide: &mut usize, input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match kind {
            0 => Self::Empty,
            1 | 2 => Self::Children(Children::read(kind, wide, input)?),
            3 => Self::Tags(read_tags(input)?),
            4 => Self::Named(read_named(input)?),
            5 => Self::Later,
            value => return Err(FrameError::Field { field: "node", value: u64::from(value) }),
        })
    }
}

impl Part {
    /// What it counts for in a frame, as [`Probe::room`].
    pub(super) fn room(&self) -> usize {
        let lists = match self {
            Self::Node(node) => node.memory(),
            Self::Differ { nodes, .. } => {
                nodes.iter().map(|(_, node)| size_of::<(usize, Node)>() + node.memory()).sum()
            }
            Self::Listed { lacking, changed, named } => {
                size_of::<usize>() * (lacking.len() + changed.len()) + size_of_val(named.as_slice())
            }
        };
        self.bytes_max().max(Limits::framed(size_of::<Self>() + lists))
    }

    /// No fewer bytes than [`Answer::write`] takes for it.
    pub fn bytes_max(&self) -> usize {
        match self {
            Self::Node(node) => node.bytes_max(),
            Self::Differ { levels, nodes } => {
                1 + places(*levels) / 8 + nodes.iter().map(|(_, node)| node.bytes_max()).sum::<usize>()
            }
            Self::Listed { lacking, changed, named } => {
                7 + 2 * (lacking.len() + changed.len()) + 16 * named.len()
            }
        }
    }
}

impl Question {
    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        self.probes.iter().map(|(_, probe)| probe.memory()).sum()
    }

    /// Appends the question; [`Self::read`] reads it.
    pub fn write(&self, out: &mut Writer) {
        out.fixed(&self.salt);
        out.count(self.probes.len());
        for (prefix, probe) in &self.probes {
            prefix.write(out);
            match probe {
                Probe::Empty => out.byte(0),
                Probe::Children(children) => {
                    out.byte(children.levels);
                    children.write(out);
                }
                Probe::Tags(tags) => {
                    out.byte(3);
                    write_tags(tags, out);
                }
                Probe::Name(cuts) => {
                    out.byte(4);
                    out.count(cuts.len());
                    cuts.iter().for_each(|cut| out.fixed(&cut.to_le_bytes()));
                }
            }
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let salt = input.fixed("salt")?;
        let count = bounded("probes", input.count("probes", 2)?, PROBES_MAX)?;
        input.charge("probes", count, size_of::<(Prefix, Probe)>())?;
        let (mut probes, mut wide) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let prefix = Prefix::read("probed prefix", input)?;
            let probe = match input.byte("probe")? {
                0 => Probe::Empty,
                levels @ (1 | 2) => Probe::Children(Children::read(levels, &mut wide, input)?),
                3 => Probe::Tags(read_tags(input)?),
                4 => {
                    let count = bounded("names", input.count("names", 4)?, LIST_MAX)?;
                    input.charge("names", count, size_of::<u32>())?;
                    let mut cuts = Vec::with_capacity(count);
                    for _ in 0..count {
                        cuts.push(u32::from_le_bytes(input.fixed("names")?));
                    }
                    Probe::Name(cuts)
                }
                value => return Err(FrameError::Field { field: "probe", value: u64::from(value) }),
            };
            probes.push((prefix, probe));
        }
        Ok(Self { salt, probes })
    }
}

impl Answer {
    /// Appends the answer; [`Self::read`] reads it.
    pub fn write(&self, out: &mut Writer) {
        out.count(self.parts.len());
        for part in &self.parts {
            match part {
                Part::Node(node) => node.write(out),
                Part::Differ { levels, nodes } => {
                    out.byte(5 + levels);
                    let mut bits = vec![false; places(*levels)];
                    nodes.iter().for_each(|(index, _)| bits[*index] = true);
                    write_bits(bits.into_iter(), out);
                    nodes.iter().for_each(|(_, node)| node.write(out));
                }
                Part::Listed { lacking, changed, named } => {
                    out.byte(8);
                    write_places(lacking, out);
                    write_places(changed, out);
                    write_named(named, out);
                }
            }
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let count = bounded("answered probes", input.count("answered probes", 1)?, PROBES_MAX)?;
        input.charge("answered probes", count, size_of::<Part>())?;
        let (mut parts, mut wide, mut differ_wide) = (Vec::with_capacity(count), 0, 0);
        for _ in 0..count {
            parts.push(match input.byte("part")? {
                kind @ 0..=4 => Part::Node(Node::read(kind, &mut wide, input)?),
                kind @ (6 | 7) => {
                    // A question shows no more nodes of two levels than that, so that no more can be answered.
                    differ_wide += usize::from(kind == 7);
                    bounded("nodes of two levels", differ_wide, WIDE_NODES_MAX)?;
                    let bits = read_bits(kind - 5, input)?;
                    let count = bits.iter().filter(|differs| **differs).count();
                    input.charge("nodes", count, size_of::<(usize, Node)>())?;
                    let mut nodes = Vec::with_capacity(count);
                    for (index, differs) in bits.into_iter().enumerate() {
                        if differs {
                            let kind = input.byte("node")?;
                            nodes.push((index, Node::read(kind, &mut wide, input)?));
                        }
                    }
                    Part::Differ { levels: kind - 5, nodes }
                }
                8 => Part::Listed {
                    lacking: read_places(input)?,
                    changed: read_places(input)?,
                    named: read_named(input)?,
                },
                value => return Err(FrameError::Field { field: "part", value: u64::from(value) }),
            });
        }
        Ok(Self { parts })
    }
}

/// Children of a node that is shown `levels` deep.
fn places(levels: u8) -> usize {
    if levels == 1 { 16 } else { 256 }
}

fn bounded(field: &'static str, count: usize, max: usize) -> Result<usize, FrameError> {
    if count > max {
        return Err(FrameError::Count { field, count: count as u64, max: max as u64 });
    }
    Ok(count)
}

fn write_bits(bits: impl Iterator<Item = bool>, out: &mut Writer) {
    let bits: Vec<bool> = bits.collect();
    for byte in bits.chunks(8) {
        out.byte(byte.iter().enumerate().fold(0, |byte, (at, bit)| byte | (u8::from(*bit) << at)));
    }
}

fn read_bits(levels: u8, input: &mut Reader<'_>) -> Result<Vec<bool>, FrameError> {
    let mut bits = Vec::with_capacity(places(levels));
    for _ in 0..places(levels) / 8 {
        let byte = input.byte("bitmap of children")?;
        bits.extend((0..8).map(|at| byte >> at & 1 == 1));
    }
    Ok(bits)
}

fn write_tags(tags: &[Tag], out: &mut Writer) {
    out.count(tags.len());
    for tag in tags {
        out.fixed(&tag.address.to_le_bytes());
        out.fixed(&tag.content.to_le_bytes());
    }
}

fn read_tags(input: &mut Reader<'_>) -> Result<Vec<Tag>, FrameError> {
    let count = bounded("tags", input.count("tags", 8)?, LIST_MAX)?;
    input.charge("tags", count, size_of::<Tag>())?;
    let mut tags = Vec::with_capacity(count);
    let mut word = || input.fixed("tags").map(u32::from_le_bytes);
    for _ in 0..count {
        tags.push(Tag { address: word()?, content: word()? });
    }
    Ok(tags)
}

fn write_named(named: &[Address], out: &mut Writer) {
    out.count(named.len());
    named.iter().for_each(|address| out.fixed(&address.0));
}

fn read_named(input: &mut Reader<'_>) -> Result<Vec<Address>, FrameError> {
    let count = bounded("addresses", input.count("addresses", 16)?, LIST_MAX)?;
    input.charge("addresses", count, size_of::<Address>())?;
    let mut named: Vec<Address> = Vec::with_capacity(count);
    for _ in 0..count {
        let address = Address(input.fixed("addresses")?);
        if named.last().is_some_and(|last| *last >= address) {
            return Err(FrameError::Order { field: "addresses" });
        }
        named.push(address);
    }
    Ok(named)
}

fn write_places(places: &[usize], out: &mut Writer) {
    out.count(places.len());
    places.iter().for_each(|at| out.count(*at));
}

fn read_places(input: &mut Reader<'_>) -> Result<Vec<usize>, FrameError> {
    let count = bounded("places in a list", input.count("places in a list", 1)?, LIST_MAX)?;
    input.charge("places in a list", count, size_of::<usize>())?;
    let mut places: Vec<usize> = Vec::with_capacity(count);
    for _ in 0..count {
        let at = input.varint_max("places in a list", LIST_MAX as u64 - 1)?;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if places.last().is_some_and(|last| *last >= at) {
            return Err(FrameError::Order { field: "places in a list" });
        }
        places.push(at);
    }
    Ok(places)
}
