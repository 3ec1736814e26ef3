//! Dots in a fragment, each by its distance from what is known already: intervals, listings, single ones.

use crate::causal::{DotSet, Interval};
use crate::codec::{Reader, ReplicaTable, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::id::Dot;

/// What the words of one fragment stand for.
pub(super) struct Words<'a> {
    pub(super) table: &'a ReplicaTable,
    pub(super) names: &'a Names,
    /// The fragment's dots.
    pub(super) dots: &'a DotSet,
}

impl Words<'_> {
    /// Intervals, each by its distance from the one before; the first of a column from the base.
    pub(super) fn write_dots(&self, dots: &DotSet, out: &mut Writer) {
        out.count(dots.columns().count());
        for (replica, intervals) in dots.columns() {
            self.table.write_pair(replica, intervals.len() as u64, out);
            let mut end = None;
            for Interval { first, last } in intervals {
                match end {
                    None => out.signed(distance(self.names.based(replica) + 1, *first)),
                    Some(end) => out.varint(first - end),
                }
                out.varint(last - first);
                end = Some(*last);
            }
        }
    }

    pub(super) fn read_dots(
        &self,
        field: &'static str,
        input: &mut Reader<'_>,
    ) -> Result<DotSet, FrameError> {
        self.read_dots_within(field, u64::MAX, input)
    }

    /// [`Self::read_dots`], of at most `intervals_max` intervals.
    pub(super) fn read_dots_within(
        &self,
        field: &'static str,
        intervals_max: u64,
        input: &mut Reader<'_>,
    ) -> Result<DotSet, FrameError> {
        let columns = input.count(field, 3)?;
        input.charge(field, columns, DotSet::COLUMN_BYTES)?;
        let (mut dots, mut last_replica) = (DotSet::with_columns(columns), None);
        let mut room = intervals_max;
        for _ in 0..columns {
            let (replica, intervals) = self.table.read_pair(field, input)?;
            let max = (input.remaining() as u64 / 2).min(room);
            if intervals == 0 || intervals > max {
                return Err(FrameError::Count { field, count: intervals, max });
            }
            if last_replica.replace(replica).is_some_and(|last| last >= replica) {
                return Err(FrameError::Order { field });
            }
            room -= intervals;
            // As many as are said, and not twice that while the list grows.
            let count = usize::try_from(intervals).expect("it is at most the length of the frame");
            input.charge(field, count, size_of::<Interval>())?;
            let (mut list, mut end) = (Vec::with_capacity(count), None);
            for _ in 0..intervals {
                let first = match end {
                    None => at_distance(self.names.based(replica) + 1, input.signed(field)?),
                    // A gap of one between two intervals would make them adjacent: that set has one interval.
                    Some(end) => match input.varint_max(field, Dot::SEQ_MAX)? {
                        0 | 1 => return Err(FrameError::Order { field }),
                        gap => end + gap,
                    },
                };
                let first = checked_seq(field, first)?;
                let last = first + input.varint_max(field, Dot::SEQ_MAX)?;
                list.push(Interval { first, last: checked_seq(field, last)? });
                end = Some(last);
            }
            dots.push_column(replica, list);
        }
        Ok(dots)
    }

    /// Dots of which most lie close to one another: a column is a list of intervals or, where that is shorter,
    /// one bit a dot from its first one on.
    pub(super) fn write_listing(&self, dots: &DotSet, out: &mut Writer) {
        out.count(dots.columns().count());
        for (replica, intervals) in dots.columns() {
            let (first, last) = (dots.bottom(replica), dots.top(replica));
            let form = if is_bitmap(first, last, intervals.len()) { 0 } else { intervals.len() as u64 };
            self.table.write_pair(replica, form, out);
            out.signed(distance(self.names.based(replica) + 1, first));
            if form == 0 {
                let bytes =
                    usize::try_from((last - first) / 8 + 1).expect("a bitmap is shorter than its intervals");
                let mut bits = vec![0u8; bytes];
                for seq in intervals.iter().flat_map(|interval| interval.first..=interval.last) {
                    let at = usize::try_from(seq - first).expect("it is below the number of bits");
                    bits[at / 8] |= 1 << (at % 8);
                }
                out.bytes(&bits);
            } else {
                let mut end = None;
                for Interval { first, last } in intervals {
                    end.into_iter().for_each(|end| out.varint(first - end));
                    out.varint(last - first);
                    end = Some(*last);
                }
            }
        }
    }

    /// Reads what [`Self::write_listing`] wrote, of at most `intervals_max` intervals: a byte of bits can make four.
    pub(super) fn read_listing(
        &self,
        field: &'static str,
        intervals_max: u64,
        input: &mut Reader<'_>,
    ) -> Result<DotSet, FrameError> {
        let columns = input.count(field, 3)?;
        input.charge(field, columns, DotSet::COLUMN_BYTES)?;
        let (mut dots, mut last_replica, mut room) = (DotSet::with_columns(columns), None, intervals_max);
        for _ in 0..columns {
            let (replica, form) = self.table.read_pair(field, input)?;
            if last_replica.replace(replica).is_some_and(|last| last >= replica) {
                return Err(FrameError::Order { field });
            }
            let first = at_distance(self.names.based(replica) + 1, input.signed(field)?);
            let first = checked_seq(field, first)?;
            let too_many = || FrameError::Count { field, count: intervals_max + 1, max: intervals_max };
            if form == 0 {
                let bits = input.bytes(field, usize::MAX)?;
                checked_seq(field, first + bits.len() as u64 * 8)?;
                let intervals = count_runs(bits);
                room = room.checked_sub(intervals).ok_or_else(too_many)?;
                let count =
                    usize::try_from(intervals).expect("it is at most the number of bits of the frame");
                input.charge(field, count, size_of::<Interval>())?;
                let set = |at: u64| usize::try_from(at / 8).is_ok_and(|byte| bits[byte] >> (at % 8) & 1 == 1);
                let (mut list, mut at, end) = (Vec::with_capacity(count), 0, bits.len() as u64 * 8);
                while let Some(from) = (at..end).find(|at| set(*at)) {
                    at = (from..end).find(|at| !set(*at)).unwrap_or(end);
                    list.push(Interval { first: first + from, last: first + at - 1 });
                }
                dots.push_column(replica, list);
            } else {
                let max = input.remaining() as u64;
                if form > max {
                    return Err(FrameError::Count { field, count: form, max });
                }
                room = room.checked_sub(form).ok_or_else(too_many)?;
                let count = usize::try_from(form).expect("it is at most the length of the frame");
                input.charge(field, count, size_of::<Interval>())?;
                let (mut list, mut at) = (Vec::with_capacity(count), first);
                for place in 0..form {
                    if place > 0 {
                        let gap = input.varint_max(field, Dot::SEQ_MAX)?;
                        if gap < 2 {
                            return Err(FrameError::Order { field });
                        }
                        at = checked_seq(field, at + gap)?;
                    }
                    let last = checked_seq(field, at + input.varint_max(field, Dot::SEQ_MAX)?)?;
                    list.push(Interval { first: at, last });
                    at = last;
                }
                dots.push_column(replica, list);
            }
            // Every column has one form: the first dot is where it says, and the shorter one was taken.
            let intervals = dots.of_column(replica).len();
            let shorter = is_bitmap(first, dots.top(replica), intervals) == (form == 0);
            if dots.bottom(replica) != first || !shorter {
                return Err(FrameError::Order { field });
            }
        }
        Ok(dots)
    }

    /// A dot of the fragment, by its distance from the first of its column there.
    pub(super) fn write_own(&self, dot: Dot, out: &mut Writer) {
        let offset = dot.seq.saturating_sub(self.dots.bottom(dot.replica));
        self.table.write_pair(dot.replica, offset, out);
    }

    pub(super) fn read_own(&self, field: &'static str, input: &mut Reader<'_>) -> Result<Dot, FrameError> {
        let (replica, offset) = self.table.read_pair(field, input)?;
        let seq = self.dots.bottom(replica).checked_add(offset);
        let seq = seq.ok_or(FrameError::Field { field, value: offset })?;
        Ok(Dot { replica, seq: checked_seq(field, seq)? })
    }
}

/// How often a bit that is set follows one that is not, or none.
fn count_runs(bits: &[u8]) -> u64 {
    let mut before = 0;
    let mut runs = 0;
    for byte in bits {
        runs += u64::from((byte & !(byte << 1 | before)).count_ones());
        before = byte >> 7;
    }
    runs
}

/// True if one bit a dot is shorter than two bytes an interval.
fn is_bitmap(first: u64, last: u64, intervals: usize) -> bool {
    (last - first.min(last)) / 8 + 1 < 2 * intervals as u64
}

/// How far `to` is from `from`.
pub(super) fn distance(from: u64, to: u64) -> i64 {
    to.cast_signed().wrapping_sub(from.cast_signed())
}

/// What is so far from `from`; 0, which no sequence is, where that leaves the range.
pub(super) fn at_distance(from: u64, by: i64) -> u64 {
    from.checked_add_signed(by).unwrap_or(0)
}

pub(super) fn checked_seq(field: &'static str, seq: u64) -> Result<u64, FrameError> {
    match seq {
        1..=Dot::SEQ_MAX => Ok(seq),
        value => Err(FrameError::Field { field, value }),
    }
}
