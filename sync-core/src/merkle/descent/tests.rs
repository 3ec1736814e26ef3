use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::codec::{Reader, Writer};
use crate::merkle::{Cells, Trie};

const SALT: CutKey = *b"salt of the test";

/// A side: cells by number, each at an address and with a content.
#[derive(Clone, Default)]
struct Side {
    trie: Trie<u32>,
    cells: BTreeMap<u32, (Address, u32)>,
}

impl Cells<u32> for &BTreeMap<u32, (Address, u32)> {
    fn address(&self, cell: u32) -> Address {
        self[&cell].0
    }

    fn fingerprint(&self, cell: u32) -> Fingerprint {
        let word = [cell.to_le_bytes(), self[&cell].1.to_le_bytes()].concat();
        Fingerprint(*blake3::hash(&word).as_bytes())
    }
}

impl Side {
    fn insert(&mut self, cell: u32, address: Address, content: u32) {
        self.remove(cell);
        self.cells.insert(cell, (address, content));
        self.trie.insert(cell, &&self.cells);
    }

    fn remove(&mut self, cell: u32) {
        if let Some((address, _)) = self.cells.remove(&cell) {
            self.trie.remove(address, cell);
        }
    }

    fn view(&mut self) -> impl Tree + '_ {
        self.trie.settled(&self.cells)
    }

    fn by_address(&self) -> BTreeMap<Address, BTreeMap<u32, u32>> {
        let mut addresses: BTreeMap<Address, BTreeMap<u32, u32>> = BTreeMap::new();
        for (cell, (address, content)) in &self.cells {
            addresses.entry(*address).or_default().insert(*cell, *content);
        }
        addresses
    }
}

#[derive(Debug, Default, PartialEq)]
struct Cost {
    messages: usize,
    bytes: usize,
}

/// Runs a descent over encoded messages of at most about `bytes_max`.
fn descend(ours: &mut Side, theirs: &mut Side, bytes_max: usize) -> (Vec<(Address, Holder)>, Cost) {
    let (ours, theirs) = (ours.view(), theirs.view());
    let (mut descent, mut cost) = (Descent::new(SALT), Cost::default());
    while let Some(question) = descent.question(&ours, bytes_max) {
        let mut out = Writer::default();
        question.write(&mut out);
        let bytes = out.finish();
        assert!(bytes.len() <= bytes_max + 2_500, "{} bytes asked", bytes.len());
        cost.bytes += bytes.len();
        // As much memory as a frame of that length may take: it is half of the longest.
        let memory_max = 3 * (2 * bytes_max) + (64 << 10);
        let mut input = Reader::within(&bytes, memory_max);
        assert_eq!(Question::read(&mut input), Ok(question.clone()));
        input.finish().unwrap();

        let reply = answer(&theirs, &question, bytes_max);
        let mut out = Writer::default();
        reply.write(&mut out);
        let bytes = out.finish();
        assert!(bytes.len() <= bytes_max + 2_500, "{} bytes answered", bytes.len());
        cost.bytes += bytes.len();
        let mut input = Reader::within(&bytes, memory_max);
        let read = Answer::read(&mut input).unwrap();
        assert_eq!(read, reply);
        input.finish().unwrap();
        cost.messages += 2;
        descent.answer(&ours, &read).unwrap();
    }
    (descent.differences().collect(), cost)
}

/// What a descent must find, from the cells alone.
fn expected(ours: &Side, theirs: &Side) -> Vec<(Address, Holder)> {
    let (a, b) = (ours.by_address(), theirs.by_address());
    let addresses: BTreeSet<Address> = a.keys().chain(b.keys()).copied().collect();
    let differs = |address: &Address| a.get(address) != b.get(address);
    let holder = |address| match (a.contains_key(address), b.contains_key(address)) {
        (true, true) => Holder::Both,
        (true, false) => Holder::Ours,
        (false, _) => Holder::Theirs,
    };
    addresses.iter().filter(|address| differs(address)).map(|address| (*address, holder(address))).collect()
}

/// Addresses whose bits are masked share prefixes, and whole addresses.
fn address(rng: &mut Xoshiro256PlusPlus, mask: u8, fixed: usize) -> Address {
    Address(std::array::from_fn(|at| if at < fixed { 0xab } else { rng.random::<u8>() & mask }))
}

#[test]
fn a_descent_finds_what_comparing_all_cells_finds() {
    let mut all = 0;
    for seed in 0..400 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mask = [255, 255, 3, 1][rng.random_range(0..4)];
        let fixed = [0, 0, 5, 14][rng.random_range(0..4)];
        let (size, changes) = ([0, 1, 10, 300, 3_000][rng.random_range(0..5)], rng.random_range(0..60));
        let mut ours = Side::default();
        for cell in 0..size {
            ours.insert(cell, address(&mut rng, mask, fixed), 0);
        }
        let mut theirs = if rng.random_bool(0.1) { Side::default() } else { ours.clone() };
        for change in 0..changes {
            let side = if rng.random() { &mut ours } else { &mut theirs };
            let cell = rng.random_range(0..size + 1);
            let old = side.cells.get(&cell).copied();
            match (rng.random_range(0..3), old) {
                (0, Some((address, _))) => side.insert(cell, address, change + 1),
                (1, Some(_)) => side.remove(cell),
                _ => {
                    let fixed = rng.random_range(0..=fixed);
                    side.insert(10_000 + change, address(&mut rng, mask, fixed), 0);
                }
            }
        }
        let bytes_max = [1, 300, 5_000, 1_000_000][rng.random_range(0..4)];
        let (differences, cost) = descend(&mut ours, &mut theirs, bytes_max);
        assert_eq!(differences, expected(&ours, &theirs), "seed {seed}, {cost:?}");
        all += differences.len();
        let (mirrored, _) = descend(&mut theirs, &mut ours, bytes_max);
        assert_eq!(mirrored, expected(&theirs, &ours), "seed {seed}");
    }
    assert!(all > 10_000, "too little was tried: {all}");
}

#[test]
fn equal_tries_cost_one_round_trip() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut side = Side::default();
    (0..5_000).for_each(|cell| side.insert(cell, address(&mut rng, 255, 0), 0));
    let (differences, cost) = descend(&mut side.clone(), &mut side, 1_000_000);
    assert!(differences.is_empty() && cost.messages == 2, "{cost:?}");
}

#[test]
fn a_mined_prefix_is_one_step_and_not_ten() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let (mut plain, mut mined) = (Side::default(), Side::default());
    for cell in 0..10_000 {
        plain.insert(cell, address(&mut rng, 255, 0), 0);
        mined.insert(cell, address(&mut rng, 255, 5), 0);
    }
    let messages = |side: &mut Side| {
        let mut other = side.clone();
        for cell in 0..100 {
            other.insert(cell, other.cells[&cell].0, 1);
        }
        let (differences, cost) = descend(side, &mut other, 1_000_000);
        assert_eq!(differences.len(), 100);
        cost.messages
    };
    assert_eq!(messages(&mut mined), messages(&mut plain));
}

#[test]
fn another_salt_gives_other_tags_for_the_same_content() {
    let mut side = Side::default();
    side.insert(0, Address([1; 16]), 0);
    let view = side.view();
    let tag = |salt| entries(&view, &Prefix::default(), salt)[0].tag;
    assert_ne!(tag(&SALT).address, tag(&[0; 16]).address);
    assert_ne!(tag(&SALT).content, tag(&[0; 16]).content);
}

#[test]
fn hostile_answers_end_the_descent_or_are_used_up() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let mut side = Side::default();
    (0..2_000).for_each(|cell| side.insert(cell, address(&mut rng, 255, 0), 0));
    let view = side.view();
    let (mut unfit, mut finished) = (0, 0);
    for _ in 0..300 {
        let mut descent = Descent::new(SALT);
        for _ in 0..40 {
            let Some(question) = descent.question(&view, 20_000) else {
                finished += 1;
                break;
            };
            let mut reply = answer(&view, &question, 20_000);
            for part in &mut reply.parts {
                if rng.random_bool(0.8) {
                    *part = hostile_part(&mut rng);
                }
            }
            if descent.answer(&view, &reply).is_err() {
                unfit += 1;
                break;
            }
        }
    }
    assert!(unfit > 50 && finished > 20, "{unfit} refused, {finished} finished");
}

fn hostile_part(rng: &mut Xoshiro256PlusPlus) -> Part {
    match rng.random_range(0..4) {
        0 => Part::Node(hostile_node(rng)),
        1 => listed(vec![rng.random_range(0..50)], vec![rng.random_range(0..50)], Vec::new()),
        2 => listed(Vec::new(), Vec::new(), vec![Address(rng.random())]),
        _ => {
            let levels = rng.random_range(1..3);
            let indices = (0..16usize.pow(u32::from(levels))).filter(|_| rng.random_bool(0.2));
            let indices: Vec<usize> = indices.collect();
            Part::Differ { levels, nodes: indices.into_iter().map(|at| (at, hostile_node(rng))).collect() }
        }
    }
}

fn hostile_tag(rng: &mut Xoshiro256PlusPlus) -> Tag {
    Tag { address: rng.random(), content: rng.random() }
}

fn hostile_node(rng: &mut Xoshiro256PlusPlus) -> Node {
    match rng.random_range(0..5) {
        0 => Node::Later,
        1 => Node::Empty,
        2 => Node::Tags((0..rng.random_range(0..9)).map(|_| hostile_tag(rng)).collect()),
        3 => Node::Named(vec![Address(rng.random())]),
        _ => {
            let levels = rng.random_range(1..3);
            let places = 0..16usize.pow(u32::from(levels));
            let hashes = places.map(|_| rng.random_bool(0.3).then(|| Cut(rng.random()))).collect();
            let skip = Prefix::first(Address(rng.random()), [0, 0, 2, 32][rng.random_range(0..4)]);
            Node::Children(Children { skip, levels, hashes })
        }
    }
}

#[test]
fn hostile_questions_are_answered_within_bounds() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
    let mut side = Side::default();
    (0..2_000).for_each(|cell| side.insert(cell, address(&mut rng, 255, 1), 0));
    let view = side.view();
    for _ in 0..300 {
        let probes = (0..rng.random_range(1..40)).map(|_| {
            let prefix = Prefix::first(
                if rng.random() { Address([0xab; 16]) } else { Address(rng.random()) },
                rng.random_range(0..33),
            );
            let probe = match hostile_node(&mut rng) {
                Node::Empty | Node::Later | Node::Named(_) => Probe::Empty,
                Node::Tags(tags) if rng.random() => Probe::Name(tags.iter().map(|tag| tag.address).collect()),
                Node::Tags(tags) => Probe::Tags(tags),
                Node::Children(children) => Probe::Children(children),
            };
            (prefix, probe)
        });
        let question = Question { salt: SALT, probes: probes.collect() };
        let reply = answer(&view, &question, 2_000);
        assert!(!reply.parts.is_empty() && reply.parts.len() <= question.probes.len());
        let mut out = Writer::default();
        reply.write(&mut out);
        assert!(out.len() < 10_000, "{} bytes", out.len());
    }
}

#[test]
fn bytes_of_a_frame_never_panic_the_readers() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.random_range(0..120))
            .map(|_| if rng.random_bool(0.5) { rng.random_range(0..9) } else { rng.random() })
            .collect();
        let (mut input, mut again) = (Reader::new(&bytes), Reader::new(&bytes));
        if let Ok(answer) = Answer::read(&mut input) {
            let mut out = Writer::default();
            answer.write(&mut out);
            assert_eq!(out.finish(), bytes[..bytes.len() - input.remaining()], "one encoding");
        }
        drop(Question::read(&mut again));
    }
}
