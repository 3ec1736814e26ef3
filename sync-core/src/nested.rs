//! Paths inside a nested map: how names and types become bytes, and back.
//!
//! A path is one *step* for each map on the way and one for the leaf, then the leaf's own path: what the
//! leaf's type would use at a key of its own. A step is `length, name, type`: the name's length as a varint,
//! the name, one byte for the type ([`TypeTag::OR_MAP`] for a map on the way, else the leaf's).
//!
//! Injective: lengths come first, so no name can run into what follows, and a leaf is known by its type. For
//! the same reason a map's or a field's cells lie side by side, and no other cell between them
//! (docs/crdt.md).

use crate::cell::TypeTag;
use crate::codec::{Reader, Writer};

/// A path taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The names on the way, the leaf's last; never empty.
    pub names: Vec<&'a [u8]>,
    /// The leaf's type.
    pub ty: TypeTag,
    /// The path inside the leaf.
    pub rest: &'a [u8],
}

/// `parent` and the start of every path at `name` below it, whatever the type.
pub fn field(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.fixed(parent);
    out.bytes(name);
    out.finish()
}

/// `parent` and the step of `name` with type `ty`.
pub fn step(parent: &[u8], name: &[u8], ty: TypeTag) -> Vec<u8> {
    let mut path = field(parent, name);
    path.push(ty.0);
    path
}

/// Reads the next step of a path: its name, its type, and what is left. `None` if there is no whole one.
pub fn first(path: &[u8]) -> Option<(&[u8], TypeTag, &[u8])> {
    let mut input = Reader::new(path);
    let name = input.bytes("name", path.len()).ok()?;
    let ty = input.byte("type").ok()?;
    Some((name, TypeTag(ty), input.rest()))
}

/// Takes a path apart; `None` if it is none of a nested map. A member may write anything.
///
/// ```
/// use sync_core::cell::TypeTag;
/// use sync_core::nested::{parse, step};
///
/// let map = step(&[], b"address", TypeTag::OR_MAP);
/// let leaf = step(&map, b"city", TypeTag::LWW_REGISTER);
/// let parts = parse(&leaf).expect("we made it");
/// assert_eq!(parts.names, [&b"address"[..], b"city"]);
/// assert_eq!((parts.ty, parts.rest), (TypeTag::LWW_REGISTER, &b""[..]));
/// ```
pub fn parse(path: &[u8]) -> Option<Parts<'_>> {
    let mut names = Vec::new();
    let mut left = path;
    loop {
        let (name, ty, rest) = first(left)?;
        names.push(name);
        if ty != TypeTag::OR_MAP {
            return Some(Parts { names, ty, rest });
        }
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn two_places_never_share_a_path_and_every_path_reads_back() {
        let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
        let mut seen = BTreeMap::new();
        for _ in 0..20_000 {
            // Few bytes, among them those of lengths and types: what could be confused comes up.
            let bytes = |rng: &mut rand::rngs::Xoshiro256PlusPlus| -> Vec<u8> {
                let alphabet = [0, 1, 2, TypeTag::OR_MAP.0, 0xff];
                (0..rng.random_range(0..3)).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect()
            };
            let names: Vec<Vec<u8>> = (0..rng.random_range(1..4)).map(|_| bytes(&mut rng)).collect();
            let (ty, rest) = (TypeTag(rng.random_range(1..3)), bytes(&mut rng));
            let (leaf, maps) = names.split_last().expect("there is a leaf");
            let parent = maps.iter().fold(Vec::new(), |path, name| step(&path, name, TypeTag::OR_MAP));
            let mut path = step(&parent, leaf, ty);
            path.extend(&rest);
            let parts = parse(&path).expect("we made it");
            assert_eq!(parts.names, names.iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert_eq!((parts.ty, parts.rest), (ty, rest.as_slice()));
            let place = (names, ty, rest);
            let before = seen.insert(path, place.clone());
            assert!(before.is_none_or(|before| before == place), "two places share a path");
        }
    }

    #[test]
    fn bytes_that_are_no_path_are_no_path() {
        for bytes in [&b""[..], &[5, b'a'], &[1, b'a'], &[0xff; 12], &[1, b'a', TypeTag::OR_MAP.0]] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }
}
