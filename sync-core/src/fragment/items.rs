//! The items of a large answer as bytes, in order of their dots.
//!
//! The giver reads its items in that order, and the receiver stages and stores them in it: neither sorts a frame.
//! A frame names its dots as a set, and then each item without its dot. An object is spelled out at its first item and
//! is a number from there on; a path is written by what it shares with the one before it.

use std::collections::BTreeMap;

use super::{Words, cells};
use crate::causal::{DotSet, Interval};
use crate::cell::{CellId, Hlc, Item, Key, ObjectId, Path, Payload, TypeTag};
use crate::codec::{Reader, ReplicaTable, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::id::Dot;
use crate::limits::Limits;
use crate::memory;
use crate::time::WallMillis;

/// Most bytes that a frame spends on one more replica: its id, and the pair that begins its dots.
const REPLICA_BYTES_MAX: usize = 17 + 10;

/// Most bytes that a frame spends on the numbers of replicas and of columns.
const COUNTS_BYTES_MAX: usize = 10;

/// Fewest bytes of an item: object, what its path shares and adds, payload, clock.
const ITEM_BYTES_MIN: usize = 5;

/// The items of one frame, taken in while there is room for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ItemsWriter {
    bytes_max: usize,
    /// Memory that a reader may need for the items.
    memory_max: usize,
    memory: usize,
    /// The longest key and path so far.
    longest: [usize; 2],
    body: Writer,
    dots: DotSet,
    /// What replicas and dots take at most.
    head: usize,
    before: Option<Dot>,
    /// The objects so far, by their numbers.
    objects: BTreeMap<ObjectId, u64>,
    /// The object of the item before, and its number.
    object: Option<(ObjectId, u64)>,
    /// The key of the object that was spelled out last.
    key: Option<Key>,
    path: Path,
    hlc: Hlc,
}

/// An item to be written, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    pub(crate) expires: WallMillis,
    pub(crate) payload: &'a [u8],
}

impl<'a> From<&'a Item> for Taken<'a> {
    fn from(item: &'a Item) -> Self {
        let Item { dot, hlc, expires, payload } = item;
        Self { dot: *dot, hlc: *hlc, expires: *expires, payload: payload.as_bytes() }
    }
}

impl ItemsWriter {
    /// An empty frame with room for `bytes_max` bytes of items, which take a reader at most `memory_max` bytes.
    pub(crate) fn new(bytes_max: usize, memory_max: usize) -> Self {
        Self { bytes_max, memory_max, memory: memory::FRAME, head: COUNTS_BYTES_MAX, ..Self::default() }
    }

    /// The dots of the items taken.
    pub(crate) fn dots(&self) -> &DotSet {
        &self.dots
    }

    /// Takes an item in, whose dot is above those before it; false, and nothing changed, if there is no room for it.
    /// For the first one there always is.
    pub(crate) fn take(&mut self, object: &ObjectId, path: &[u8], item: &Taken<'_>) -> bool {
        let (begun, head) = (self.body.len(), self.head + self.dot_bytes(item.dot));
        let number = match &self.object {
            Some((before, number)) if before == object => Some(*number),
            Some(_) | None => self.objects.get(object).copied(),
        };
        let spelled = if number.is_none() { spelled_memory(object) } else { 0 };
        let memory = self.memory + spelled + item_memory(path, item.payload) + self.dot_memory(item.dot);
        let longest = [self.longest[0].max(object.key.as_str().len()), self.longest[1].max(path.len())];
        let names: usize = longest.map(memory::names).iter().sum();
        let out = &mut self.body;
        out.varint(number.unwrap_or(self.objects.len() as u64));
        if number.is_none() {
            let before = self.key.as_ref().map_or("", Key::as_str);
            cells::write_name(before.as_bytes(), object.key.as_str().as_bytes(), out);
            out.byte(object.ty.0);
        }
        cells::write_name(self.path.as_bytes(), path, out);
        out.bytes(item.payload);
        write_clock(self.hlc, (item.hlc, item.expires), out);
        let is_full = head.saturating_add(out.len()) > self.bytes_max || memory + names > self.memory_max;
        if is_full && self.before.is_some() {
            out.truncate(begun);
            return false;
        }
        (self.memory, self.longest) = (memory, longest);
        let number = number.unwrap_or_else(|| {
            let number = self.objects.len() as u64;
            self.objects.insert(object.clone(), number);
            self.key = Some(object.key.clone());
            number
        });
        if self.object.as_ref().is_none_or(|(_, before)| *before != number) {
            self.object = Some((object.clone(), number));
        }
        self.dots.insert(item.dot);
        (self.head, self.before) = (head, Some(item.dot));
        (self.path, self.hlc) = (path.into(), item.hlc);
        true
    }

    /// What `dot` adds to the replicas and dots, at most.
    fn dot_bytes(&self, dot: Dot) -> usize {
        match self.before {
            Some(before) if before.replica == dot.replica && before.seq + 1 == dot.seq => 0,
            Some(before) if before.replica == dot.replica => 2 * INTERVAL_BYTES_MAX,
            Some(_) | None => REPLICA_BYTES_MAX + 2 * INTERVAL_BYTES_MAX,
        }
    }

    /// What `dot` adds to them in memory, at most.
    fn dot_memory(&self, dot: Dot) -> usize {
        match self.before {
            Some(before) if before.replica == dot.replica && before.seq + 1 == dot.seq => 0,
            Some(before) if before.replica == dot.replica => size_of::<Interval>(),
            Some(_) | None => memory::REPLICA + DotSet::COLUMN_BYTES + size_of::<Interval>(),
        }
    }

    /// Appends replicas, dots and items; [`read_items`] reads them.
    pub(crate) fn finish(&self, names: &Names, out: &mut Writer) {
        let table = ReplicaTable::new(self.dots.columns().map(|(replica, _)| replica).collect());
        table.write(names, out);
        Words { table: &table, names, dots: &self.dots }.write_dots(&self.dots, out);
        out.fixed(self.body.as_slice());
    }
}

/// Memory of an object that is spelled out.
fn spelled_memory(object: &ObjectId) -> usize {
    memory::STAGED_OBJECT + memory::text(object.key.as_str().len())
}

/// Memory of an item, its dot and its object apart.
fn item_memory(path: &[u8], payload: &[u8]) -> usize {
    memory::STAGED_ITEM + memory::small(path.len()) + memory::small(payload.len())
}

/// Most bytes of a number of an interval of dots: none is above 2^41.
const INTERVAL_BYTES_MAX: usize = 6;

/// Appends `items`, which ascend by dot.
pub(crate) fn write_items(items: &[(CellId, Item)], names: &Names, out: &mut Writer) {
    let mut writer = ItemsWriter::new(usize::MAX, usize::MAX);
    for (cell, item) in items {
        // There is room for all of them.
        let _ = writer.take(&cell.object, cell.path.as_bytes(), &Taken::from(item));
    }
    writer.finish(names, out);
}

/// Reads what [`write_items`] wrote.
pub(crate) fn read_items(
    input: &mut Reader<'_>,
    names: &Names,
    limits: &Limits,
) -> Result<Vec<(CellId, Item)>, FrameError> {
    let table = ReplicaTable::read(names, input)?;
    let dots = Words { table: &table, names, dots: &DotSet::default() }.read_dots("items", input)?;
    let (count, max) = (dots.len(), input.remaining() / ITEM_BYTES_MIN);
    let count = usize::try_from(count).ok().filter(|count| *count <= max);
    let count = count.ok_or(FrameError::Count { field: "items", count: dots.len(), max: max as u64 })?;
    input.charge("items", count, memory::STAGED_ITEM)?;
    let mut items = Vec::with_capacity(count);
    let mut objects = Objects::default();
    let (mut path, mut hlc) = (Vec::new(), Hlc::default());
    for dot in dots.dots() {
        let object = objects.read(input, limits)?.clone();
        cells::read_name("path", &mut path, limits.path_bytes_max, input)?;
        let payload = input.bytes("payload", limits.value_bytes_max)?;
        input.charge("item", 1, memory::small(path.len()) + memory::small(payload.len()))?;
        let payload = Payload::from(payload);
        let expires;
        (hlc, expires) = read_clock(hlc, input)?;
        let cell = CellId { object, path: Path::from(path.as_slice()) };
        items.push((cell, Item { dot, hlc, expires, payload }));
    }
    Ok(items)
}

/// The objects that a frame has spelled out so far.
#[derive(Default)]
struct Objects {
    list: Vec<ObjectId>,
    /// Where each is in the list: none is spelled out twice.
    places: BTreeMap<ObjectId, usize>,
    key: Vec<u8>,
}

impl Objects {
    fn read(&mut self, input: &mut Reader<'_>, limits: &Limits) -> Result<&ObjectId, FrameError> {
        let number = input.varint_max("object", self.list.len() as u64)?;
        let at = usize::try_from(number).expect("it is at most the length of a list");
        if at == self.list.len() {
            cells::read_name("key", &mut self.key, limits.key_bytes_max, input)?;
            let text = std::str::from_utf8(&self.key).map_err(|_| FrameError::KeyEncoding)?;
            input.charge("objects", 1, memory::STAGED_OBJECT + memory::text(text.len()))?;
            let object = ObjectId { key: Key::from(text), ty: TypeTag(input.byte("type")?) };
            if self.places.insert(object.clone(), at).is_some() {
                return Err(FrameError::Order { field: "objects" });
            }
            self.list.push(object);
        }
        Ok(&self.list[at])
    }
}

/// Appends the clock of an item behind one of clock `last`: milliseconds since then, and what else follows.
fn write_clock(last: Hlc, (hlc, expires): (Hlc, WallMillis), out: &mut Writer) {
    let millis = (hlc.0 >> 16).cast_signed() - (last.0 >> 16).cast_signed();
    let before = if millis == 0 { last.0 & 0xffff } else { 0 };
    let counter = (hlc.0 & 0xffff).cast_signed() - before.cast_signed();
    out.signed(millis << 2 | i64::from(counter != 0) << 1 | i64::from(expires.0 != 0));
    if counter != 0 {
        out.signed(counter);
    }
    if expires.0 != 0 {
        out.varint(expires.0);
    }
}

fn read_clock(last: Hlc, input: &mut Reader<'_>) -> Result<(Hlc, WallMillis), FrameError> {
    const CLOCK: &str = "item clock";
    let refused = |by: i64| FrameError::Field { field: CLOCK, value: by.unsigned_abs() };
    let word = input.signed(CLOCK)?;
    let (by, has_counter, expires) = (word >> 2, word & 2 != 0, word & 1 != 0);
    let millis = (last.0 >> 16).checked_add_signed(by).filter(|millis| *millis < 1 << 48);
    let millis = millis.ok_or_else(|| refused(word))?;
    let mut counter = if by == 0 { last.0 & 0xffff } else { 0 };
    if has_counter {
        let by = input.signed(CLOCK)?;
        let sum = counter.checked_add_signed(by).filter(|sum| *sum <= 0xffff && by != 0);
        counter = sum.ok_or_else(|| refused(by))?;
    }
    let expires = if expires { input.varint("expires")? } else { 0 };
    if word & 1 != 0 && expires == 0 {
        return Err(FrameError::Field { field: "expires", value: 0 });
    }
    Ok((Hlc(millis << 16 | counter), WallMillis(expires)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    const NOBODY: ReplicaId = ReplicaId([0; 16]);

    fn names() -> Names {
        Names { from: NOBODY, to: NOBODY, base: None }
    }

    /// Fills a frame of `bytes_max` bytes with `items`, which ascend by dot: its bytes and how many it took.
    fn frame(items: &[(CellId, Item)], bytes_max: usize) -> (Vec<u8>, usize) {
        frame_within(items, bytes_max, usize::MAX)
    }

    fn frame_within(items: &[(CellId, Item)], bytes_max: usize, memory_max: usize) -> (Vec<u8>, usize) {
        let mut writer = ItemsWriter::new(bytes_max, memory_max);
        let taken = items
            .iter()
            .take_while(|(cell, item)| writer.take(&cell.object, cell.path.as_bytes(), &Taken::from(item)));
        let taken = taken.count();
        let mut out = Writer::default();
        writer.finish(&names(), &mut out);
        (out.finish(), taken)
    }

    fn some_items(rng: &mut Xoshiro256PlusPlus) -> Vec<(CellId, Item)> {
        let (replicas, objects) = (rng.random_range(1..40u8), rng.random_range(1..30usize));
        let spread = 1u64 << rng.random_range(1..40);
        let mut items = Vec::new();
        for replica in 1..=replicas {
            let mut seq = rng.random_range(1..spread);
            for _ in 0..rng.random_range(1..20) {
                seq = (seq + rng.random_range(1..spread)).min(Dot::SEQ_MAX - 1);
                let object = ObjectId::new("k".repeat(rng.random_range(0..objects)).as_str(), TypeTag(9));
                let path = vec![rng.random_range(0..3u8); rng.random_range(0..300)];
                let item = Item {
                    dot: Dot::new(ReplicaId([replica; 16]), seq),
                    hlc: Hlc(rng.random::<u64>() >> rng.random_range(0..64)),
                    expires: WallMillis(rng.random::<u64>() >> rng.random_range(0..64)),
                    payload: Payload::from(vec![7u8; rng.random_range(0..300)].as_slice()),
                };
                items.push((CellId::new(object, path.as_slice()), item));
            }
        }
        items.sort_by_key(|(_, item)| item.dot);
        items.dedup_by_key(|(_, item)| item.dot);
        items
    }

    #[test]
    fn a_frame_takes_no_more_than_its_room_and_gives_back_what_it_took() {
        for seed in 0..300 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let items = some_items(&mut rng);
            let bytes_max = rng.random_range(1_000..20_000);
            let (bytes, taken) = frame(&items, bytes_max);
            assert!(bytes.len() <= bytes_max, "{} bytes in {bytes_max}, seed {seed}", bytes.len());
            let mut input = Reader::new(&bytes);
            let read = read_items(&mut input, &names(), &Limits::default());
            assert_eq!(read.as_deref(), Ok(&items[..taken]), "seed {seed}");
            assert_eq!(input.remaining(), 0);
        }
    }

    #[test]
    fn a_frame_takes_no_more_memory_than_it_may_and_is_not_cut_long_before() {
        let mut filled = 0;
        for seed in 0..300 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let items = some_items(&mut rng);
            let memory_max = rng.random_range(20_000..60_000);
            let (bytes, taken) = frame_within(&items, usize::MAX, memory_max);
            let mut input = Reader::within(&bytes, memory_max);
            let read = read_items(&mut input, &names(), &Limits::default());
            assert_eq!(read.as_deref(), Ok(&items[..taken]), "seed {seed}");
            if taken < items.len() {
                filled += 1;
                assert!(input.taken() > memory_max / 2, "{} of {memory_max}, seed {seed}", input.taken());
            }
        }
        assert!(filled > 30, "{filled} frames were filled");
    }

    #[test]
    fn the_first_item_is_taken_whatever_the_room() {
        let items = some_items(&mut Xoshiro256PlusPlus::seed_from_u64(1));
        assert_eq!(frame(&items, 0).1, 1);
    }

    #[test]
    fn a_frame_of_like_items_is_full() {
        let object = ObjectId::new("map", TypeTag::LWW_MAP);
        let item = |seq: u64| {
            let hlc = Hlc(1_750_000_000_000 << 16 | seq);
            let dot = Dot::new(ReplicaId([1; 16]), seq);
            let item = Item { dot, hlc, expires: WallMillis(0), payload: Payload::from(&[7u8; 32][..]) };
            (CellId::new(object.clone(), &blake3::hash(&seq.to_le_bytes()).as_bytes()[..16]), item)
        };
        let items: Vec<_> = (1..=30_000).map(item).collect();
        let (bytes, count) = frame(&items, 1_000_000);
        assert!(count < items.len() && bytes.len() > 999_800, "{} bytes of 1,000,000", bytes.len());
    }

    #[test]
    fn items_have_one_encoding() {
        let object = ObjectId::new("k", TypeTag::OR_SET);
        let item = Item {
            dot: Dot::new(NOBODY, 1),
            hlc: Hlc(0),
            expires: WallMillis(0),
            payload: Payload::default(),
        };
        let (good, _) = frame(&[(CellId::new(object, &b"x"[..]), item)], 1_000);
        assert_eq!(good, [1, 1, 1, 1, 0, 0, 0, 0, 1, b'k', 1, 0, 1, b'x', 0, 0]);
        let read = |bytes: &[u8]| read_items(&mut Reader::new(bytes), &names(), &Limits::default());
        assert!(read(&good).is_ok());
        for (at, byte) in [(7, 1), (15, 2), (15, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            bad.push(0);
            assert!(read(&bad).is_err(), "{at} {byte}");
        }
    }
}
