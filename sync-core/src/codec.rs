//! Primitives of the wire format, with every length checked before anything is allocated.
//!
//! The layout is postcard's: little-endian base-128 varints, lengths before bytes. Decoding is ours,
//! for three rules that serde cannot keep: a count is believed only if the rest of the frame can hold
//! that many entries, a varint has one encoding, and the caller sees which field was wrong and where.
//! `docs/decisions/0002-wire-codec.md` has the measurement.

use std::collections::BTreeSet;

use crate::dictionary::Names;
use crate::error::FrameError;
use crate::id::{Dot, ReplicaId};
use crate::memory;

/// Appends fields to a frame.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with room for `bytes` bytes; it takes more.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// A writer that begins anew in the space that `bytes` takes.
    pub fn in_space_of(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes }
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Bytes of a length that both sides know.
    pub fn fixed(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// An unsigned varint, one to ten bytes.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push((value & 0x7f) as u8);
    }

    /// A signed varint: zigzag, so that small numbers of either sign are short.
    pub fn signed(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63).cast_unsigned());
    }

    /// A length as a varint.
    pub fn count(&mut self, value: usize) {
        self.varint(value as u64);
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.fixed(value);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes written so far.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes back what was written behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// The frame.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes fields from a frame.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What that which was read takes in memory, as charged.
    taken: usize,
    /// The most that it may.
    memory_max: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start: bytes of this node's own, or of which little can be made.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::within(bytes, usize::MAX)
    }

    /// Reads `bytes` from their start into at most `memory_max` bytes of memory.
    pub fn within(bytes: &'a [u8], memory_max: usize) -> Self {
        Self { bytes, at: 0, taken: 0, memory_max }
    }

    /// Charges `count` entries of `each` bytes of memory. Called before there is room made for them.
    ///
    /// # Errors
    /// [`FrameError::Memory`] if that is more than is left.
    #[inline]
    pub fn charge(&mut self, field: &'static str, count: usize, each: usize) -> Result<(), FrameError> {
        let taken = self.taken.saturating_add(count.saturating_mul(each));
        if taken > self.memory_max {
            return Err(FrameError::Memory { field, bytes: taken as u64, max: self.memory_max as u64 });
        }
        self.taken = taken;
        Ok(())
    }

    /// What was charged so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// One byte.
    pub fn byte(&mut self, field: &'static str) -> Result<u8, FrameError> {
        self.fixed::<1>(field).map(|[byte]| byte)
    }

    /// `N` bytes.
    pub fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FrameError> {
        let slice = self.take(N, field)?;
        let mut array = [0; N];
        array.copy_from_slice(slice);
        Ok(array)
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], FrameError> {
        if len > self.remaining() {
            return Err(FrameError::Truncated { at: self.bytes.len(), field });
        }
        let slice = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(slice)
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self, field: &'static str) -> Result<u64, FrameError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let low = u64::from(byte & 0x7f);
            let overlong = byte == 0 && shift > 0;
            if overlong || (shift == 63 && low > 1) {
                return Err(FrameError::Field { field, value: u64::from(byte) });
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FrameError::Field { field, value })
    }

    /// A signed varint.
    pub fn signed(&mut self, field: &'static str) -> Result<i64, FrameError> {
        let value = self.varint(field)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A varint of at most `max`.
    pub fn varint_max(&mut self, field: &'static str, max: u64) -> Result<u64, FrameError> {
        let value = self.varint(field)?;
        if value > max { Err(FrameError::Field { field, value }) } else { Ok(value) }
    }

    /// A number of entries, each of at least `entry_bytes_min` bytes: no more than the rest can hold.
    pub fn count(&mut self, field: &'static str, entry_bytes_min: usize) -> Result<usize, FrameError> {
        let count = self.varint(field)?;
        let max = (self.remaining() / entry_bytes_min.max(1)) as u64;
        match usize::try_from(count) {
            Ok(fits) if count <= max => Ok(fits),
            Ok(_) | Err(_) => Err(FrameError::Count { field, count, max }),
        }
    }

    /// A length and that many bytes, at most `max`.
    pub fn bytes(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], FrameError> {
        let len = self.count(field, 1)?;
        if len > max {
            return Err(FrameError::Count { field, count: len as u64, max: max as u64 });
        }
        self.take(len, field)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let slice = &self.bytes[self.at..];
        self.at = self.bytes.len();
        slice
    }

    /// The end of the frame.
    pub fn finish(self) -> Result<(), FrameError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(FrameError::Trailing { extra }),
        }
    }
}

/// The replicas that a frame names, each once: dots carry an index into this table.
///
/// An entry is one byte for the frame's two ends, the place in the frame's base for a replica of it, and
/// sixteen bytes for any other; the shortest form that fits is the only one.
#[derive(Clone, Debug, Default)]
pub struct ReplicaTable {
    ids: Vec<ReplicaId>,
}

const ENTRY_WHOLE: u64 = 0;
const ENTRY_WHOLE_BYTES: usize = 17;
const ENTRY_FROM: u64 = 1;
const ENTRY_TO: u64 = 2;
const ENTRY_BASE: u64 = 3;

impl ReplicaTable {
    /// The table of `ids`.
    pub fn new(ids: BTreeSet<ReplicaId>) -> Self {
        Self { ids: ids.into_iter().collect() }
    }

    /// Number of replicas.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True if no replica is named.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The shortest form of `id`; what [`ENTRY_WHOLE`] names follows in full.
    fn entry(id: ReplicaId, names: &Names) -> u64 {
        let place = || names.base.as_ref().and_then(|base| base.place(id));
        match id {
            id if id == names.from => ENTRY_FROM,
            id if id == names.to => ENTRY_TO,
            _ => place().map_or(ENTRY_WHOLE, |at| ENTRY_BASE + at as u64),
        }
    }

    /// Writes the number of ids and the ids, ascending.
    pub fn write(&self, names: &Names, out: &mut Writer) {
        out.count(self.ids.len());
        for id in &self.ids {
            let entry = Self::entry(*id, names);
            out.varint(entry);
            if entry == ENTRY_WHOLE {
                out.fixed(&id.0);
            }
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(names: &Names, input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let count = input.count("replica table", 1)?;
        // A replica that is not one of the two ends or in the base takes 17 bytes: no more than that are believed.
        let short = 2 + names.base.as_ref().map_or(0, |base| base.columns().len());
        let max = short + input.remaining() / ENTRY_WHOLE_BYTES;
        if count > max {
            return Err(FrameError::Count { field: "replica table", count: count as u64, max: max as u64 });
        }
        input.charge("replica table", count, memory::REPLICA)?;
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = input.varint("replica table")?;
            let id = match entry {
                ENTRY_WHOLE => ReplicaId(input.fixed("replica table")?),
                ENTRY_FROM => names.from,
                ENTRY_TO => names.to,
                _ => {
                    let columns = names.base.as_ref().map_or(&[][..], |base| base.columns());
                    let at = usize::try_from(entry - ENTRY_BASE).ok();
                    let column = at.and_then(|at| columns.get(at));
                    column.ok_or(FrameError::Field { field: "replica table", value: entry })?.0
                }
            };
            let shortest = Self::entry(id, names) == entry;
            if !shortest || ids.last().is_some_and(|last| *last >= id) {
                return Err(FrameError::Order { field: "replica table" });
            }
            ids.push(id);
        }
        Ok(Self { ids })
    }

    /// Writes the index of `replica`, which must be in the table.
    pub fn write_replica(&self, replica: ReplicaId, out: &mut Writer) {
        let index = self.ids.binary_search(&replica).expect("the table was made from the same fragment");
        out.count(index);
    }

    /// Reads an index and returns its replica.
    pub fn read_replica(&self, field: &'static str, input: &mut Reader<'_>) -> Result<ReplicaId, FrameError> {
        let index = input.varint(field)?;
        usize::try_from(index)
            .ok()
            .and_then(|index| self.ids.get(index).copied())
            .ok_or(FrameError::Field { field, value: index })
    }

    /// Writes an index and a number below `max` in one varint: small numbers of few replicas take one byte.
    pub fn write_pair(&self, replica: ReplicaId, number: u64, out: &mut Writer) {
        let index = self.ids.binary_search(&replica).expect("the table was made from the same fragment");
        out.varint(number * self.ids.len() as u64 + index as u64);
    }

    /// Reads what [`Self::write_pair`] wrote.
    pub fn read_pair(
        &self,
        field: &'static str,
        input: &mut Reader<'_>,
    ) -> Result<(ReplicaId, u64), FrameError> {
        let pair = input.varint(field)?;
        let len = self.ids.len() as u64;
        let index = pair.checked_rem(len).ok_or(FrameError::Field { field, value: pair })?;
        let at = usize::try_from(index).expect("an index is below the length of the table");
        Ok((self.ids[at], pair / len))
    }

    /// Writes a dot as index and sequence.
    pub fn write_dot(&self, dot: Dot, out: &mut Writer) {
        self.write_replica(dot.replica, out);
        out.varint(dot.seq);
    }

    /// Reads a dot; its sequence is from 1 to [`Dot::SEQ_MAX`].
    pub fn read_dot(&self, field: &'static str, input: &mut Reader<'_>) -> Result<Dot, FrameError> {
        let replica = self.read_replica(field, input)?;
        Ok(Dot { replica, seq: read_seq(field, input)? })
    }
}

/// Reads a sequence number from 1 to [`Dot::SEQ_MAX`].
pub fn read_seq(field: &'static str, input: &mut Reader<'_>) -> Result<u64, FrameError> {
    match input.varint(field)? {
        seq @ 1..=Dot::SEQ_MAX => Ok(seq),
        value => Err(FrameError::Field { field, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn numbers_are_laid_out_as_postcard_lays_them_out() {
        let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(2);
        for _ in 0..2_000 {
            let value: u64 = rng.random::<u64>() >> rng.random_range(0..64);
            let mut out = Writer::default();
            let signed = value.cast_signed().wrapping_neg();
            out.varint(value);
            out.signed(signed);
            out.bytes(b"payload");
            let bytes = out.finish();
            assert_eq!(bytes, postcard::to_allocvec(&(value, signed, &b"payload"[..])).unwrap());
            let mut input = Reader::new(&bytes);
            assert_eq!(input.varint("value").unwrap(), value);
            assert_eq!(input.signed("signed").unwrap(), signed);
            assert_eq!(input.bytes("payload", 7).unwrap(), b"payload");
            input.finish().unwrap();
        }
    }

    #[test]
    fn a_number_has_one_encoding() {
        assert!(Reader::new(&[0x80, 0x00]).varint("n").is_err(), "overlong zero");
        assert!(Reader::new(&[0xff; 10]).varint("n").is_err(), "beyond 64 bits");
        assert_eq!(Reader::new(&[0x80]).varint("n"), Err(FrameError::Truncated { at: 1, field: "n" }));
    }

    #[test]
    fn what_would_take_more_memory_than_allowed_is_refused_with_the_numbers() {
        let mut input = Reader::within(&[], 100);
        assert_eq!(input.charge("items", 6, 16), Ok(()));
        let refused = input.charge("dots", 1, 5);
        assert_eq!(refused, Err(FrameError::Memory { field: "dots", bytes: 101, max: 100 }));
        assert_eq!(input.charge("dots", usize::MAX, 2).map_err(|error| error.is_violation()), Err(true));
        assert_eq!((input.charge("dots", 1, 4), input.taken()), (Ok(()), 100));
    }

    #[test]
    fn a_count_that_the_frame_cannot_hold_is_refused_before_anything_is_allocated() {
        let mut out = Writer::default();
        out.varint(u64::MAX >> 1);
        let bytes = out.finish();
        let refused = Reader::new(&bytes).count("items", 8);
        assert_eq!(refused, Err(FrameError::Count { field: "items", count: u64::MAX >> 1, max: 0 }));
    }
}
