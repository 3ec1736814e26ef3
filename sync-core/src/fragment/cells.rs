//! The cells of a fragment as bytes: names by what they share with the one before, clocks apart.
//!
//! Cells come in order of key, type and path, so a name mostly repeats the one before it. Items refer to the
//! fragment's dots by distance. Clocks come last, in order of dot: there each is a little after its
//! predecessor.

use super::{CellPart, Words};
use crate::cell::{CellId, Hlc, Item, Key, ObjectId, Path, Payload, TypeTag};
use crate::codec::{Reader, Writer};
use crate::error::FrameError;
use crate::id::Dot;
use crate::limits::Limits;
use crate::memory;
use crate::time::WallMillis;

/// Appends `cells`, which ascend.
pub(super) fn write(cells: &[CellPart], words: &Words<'_>, out: &mut Writer) {
    let objects: Vec<&[CellPart]> = cells.chunk_by(|a, b| a.cell.object == b.cell.object).collect();
    out.count(objects.len());
    let mut key: &[u8] = &[];
    for parts in objects {
        let object = &parts[0].cell.object;
        write_name(key, object.key.as_str().as_bytes(), out);
        key = object.key.as_str().as_bytes();
        out.byte(object.ty.0);
        out.count(parts.len());
        let mut path: &[u8] = &[];
        for part in parts {
            write_name(path, part.cell.path.as_bytes(), out);
            path = part.cell.path.as_bytes();
            write_part(part, words, out);
        }
    }
    write_clocks(cells, out);
}

/// Reads what [`write`] wrote. No dot is named by two items.
pub(super) fn read(
    words: &Words<'_>,
    input: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Vec<CellPart>, FrameError> {
    let objects = input.count("objects", 6)?;
    let (mut cells, mut key, mut path) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..objects {
        read_name("key", &mut key, limits.key_bytes_max, input)?;
        let text = std::str::from_utf8(&key).map_err(|_| FrameError::KeyEncoding)?;
        input.charge("key", 1, memory::text(key.len()))?;
        let object = ObjectId { key: Key::from(text), ty: TypeTag(input.byte("type")?) };
        if cells.last().is_some_and(|last: &CellPart| last.cell.object >= object) {
            return Err(FrameError::Order { field: "objects" });
        }
        let parts = input.count("cells", 3)?;
        if parts == 0 {
            return Err(FrameError::Count { field: "cells", count: 0, max: 0 });
        }
        input.charge("cells", parts, memory::CELL)?;
        memory::reserve(&mut cells, parts);
        path.clear();
        for at in 0..parts {
            read_name("path", &mut path, limits.path_bytes_max, input)?;
            input.charge("path", 1, memory::small(path.len()))?;
            let cell = CellId { object: object.clone(), path: Path::from(path.as_slice()) };
            if at > 0 && cells.last().is_some_and(|last| last.cell.path >= cell.path) {
                return Err(FrameError::Order { field: "cells" });
            }
            cells.push(read_part(cell, words, input, limits)?);
        }
    }
    read_clocks(&mut cells, input)?;
    Ok(cells)
}

/// How many bytes `name` shares with `before`, and the rest of it.
pub(super) fn write_name(before: &[u8], name: &[u8], out: &mut Writer) {
    let shared = before.iter().zip(name).take_while(|(one, other)| one == other).count();
    out.count(shared);
    out.bytes(&name[shared..]);
}

/// Makes `name`, which holds the one before, the next one.
pub(super) fn read_name(
    field: &'static str,
    name: &mut Vec<u8>,
    max: usize,
    input: &mut Reader<'_>,
) -> Result<(), FrameError> {
    let shared = input.varint_max(field, name.len() as u64)?;
    let shared = usize::try_from(shared).expect("it is at most the length of a name in memory");
    let rest = input.bytes(field, max - shared.min(max))?;
    if name.get(shared).is_some_and(|next| rest.first() == Some(next)) {
        return Err(FrameError::Order { field });
    }
    name.truncate(shared);
    let len = shared + rest.len();
    if len > name.capacity() {
        let room = memory::name_room(name.capacity(), len);
        input.charge(field, 1, room)?;
        name.reserve_exact(room - shared);
    }
    name.extend_from_slice(rest);
    Ok(())
}

fn write_part(part: &CellPart, words: &Words<'_>, out: &mut Writer) {
    out.varint((part.items.len() as u64) << 1 | u64::from(!part.others.is_empty()));
    for item in &part.items {
        words.write_own(item.dot, out);
        out.bytes(item.payload.as_bytes());
    }
    if !part.others.is_empty() {
        out.count(part.others.len());
        part.others.iter().for_each(|dot| words.table.write_dot(*dot, out));
    }
}

fn read_part(
    cell: CellId,
    words: &Words<'_>,
    input: &mut Reader<'_>,
    limits: &Limits,
) -> Result<CellPart, FrameError> {
    let shape = input.varint("items")?;
    let (count, max) = (shape >> 1, input.remaining() as u64 / 2);
    if count > max {
        return Err(FrameError::Count { field: "items", count, max });
    }
    let count = usize::try_from(count).expect("it is at most the length of the frame");
    input.charge("items", count, memory::ITEM)?;
    let mut items: Vec<Item> = Vec::with_capacity(count);
    for _ in 0..count {
        let dot = words.read_own("items", input)?;
        if items.last().is_some_and(|last| last.dot >= dot) {
            return Err(FrameError::Order { field: "items" });
        }
        let payload = input.bytes("payload", limits.value_bytes_max)?;
        input.charge("payload", 1, memory::small(payload.len()))?;
        let payload = Payload::from(payload);
        items.push(Item { dot, hlc: Hlc::default(), expires: WallMillis::default(), payload });
    }
    let mut others: Vec<Dot> = Vec::new();
    if shape & 1 == 1 {
        let count = input.count("claims", 2)?;
        input.charge("claims", count, memory::DOT)?;
        others.reserve_exact(count);
        for _ in 0..count {
            let dot = words.table.read_dot("claims", input)?;
            if others.last().is_some_and(|last| *last >= dot) {
                return Err(FrameError::Order { field: "claims" });
            }
            others.push(dot);
        }
        if others.is_empty() {
            return Err(FrameError::Count { field: "claims", count: 0, max: 0 });
        }
    }
    Ok(CellPart { cell, items, others })
}

/// A clock as milliseconds and counter, relative to the one before it in order of dot.
fn write_clocks(cells: &[CellPart], out: &mut Writer) {
    let mut items: Vec<&Item> = cells.iter().flat_map(|part| &part.items).collect();
    items.sort_unstable_by_key(|item| item.dot);
    let expiring = items.iter().any(|item| item.expires.0 != 0);
    out.byte(u8::from(expiring));
    let mut last = Hlc::default();
    for item in items {
        let millis = (item.hlc.0 >> 16).cast_signed() - (last.0 >> 16).cast_signed();
        let before = if millis == 0 { last.0 & 0xffff } else { 0 };
        let counter = (item.hlc.0 & 0xffff).cast_signed() - before.cast_signed();
        out.signed(millis << 1 | i64::from(counter != 0));
        if counter != 0 {
            out.signed(counter);
        }
        if expiring {
            out.varint(item.expires.0);
        }
        last = item.hlc;
    }
}

fn read_clocks(cells: &mut [CellPart], input: &mut Reader<'_>) -> Result<(), FrameError> {
    const CLOCK: &str = "item clock";
    let expiring = match input.byte("expiring")? {
        flag @ (0 | 1) => flag == 1,
        value => return Err(FrameError::Field { field: "expiring", value: u64::from(value) }),
    };
    let mut items: Vec<&mut Item> = Vec::with_capacity(cells.iter().map(|part| part.items.len()).sum());
    items.extend(cells.iter_mut().flat_map(|part| &mut part.items));
    items.sort_unstable_by_key(|item| item.dot);
    if let Some(pair) = items.windows(2).find(|pair| pair[0].dot == pair[1].dot) {
        return Err(FrameError::DotTwice { dot: pair[0].dot });
    }
    let (mut last, mut expires_any) = (0u64, false);
    for item in items {
        let word = input.signed(CLOCK)?;
        let millis = (last >> 16).checked_add_signed(word >> 1).filter(|millis| *millis < 1 << 48);
        let millis = millis.ok_or(FrameError::Field { field: CLOCK, value: word.unsigned_abs() })?;
        let before = if word >> 1 == 0 { last & 0xffff } else { 0 };
        let counter = match word & 1 {
            0 => before,
            _ => {
                let by = input.signed(CLOCK)?;
                let counter = before.checked_add_signed(by).filter(|at| *at <= 0xffff && by != 0);
                counter.ok_or(FrameError::Field { field: CLOCK, value: by.unsigned_abs() })?
            }
        };
        last = millis << 16 | counter;
        item.hlc = Hlc(last);
        if expiring {
            item.expires = WallMillis(input.varint("expires")?);
            expires_any |= item.expires.0 != 0;
        }
    }
    if expiring && !expires_any {
        return Err(FrameError::Field { field: "expiring", value: 1 });
    }
    Ok(())
}
