//! Bytes that are mostly few: up to [`INLINE_MAX`] of them stand in place, longer ones are shared.
//!
//! Paths and payloads are such. In place they cost no allocation, no second read, and nothing to clone but a copy.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Most bytes that stand in place: a [`Small`] is 24 bytes in all.
pub(crate) const INLINE_MAX: usize = 22;

/// Immutable bytes, ordered as slices are.
#[derive(Clone)]
pub(crate) enum Small {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Shared(Arc<[u8]>),
}

impl Small {
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Shared(bytes) => bytes,
        }
    }
}

/// The first eight bytes as a number, zeros behind the end: numbers that differ are ordered as the bytes are.
#[inline]
pub(crate) fn prefix(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(chunk)
        }
    }
}

/// The order of `bytes` and `other`, whose prefix is `other_prefix`.
#[inline]
pub(crate) fn cmp_bytes(bytes: &[u8], other: &[u8], other_prefix: u64) -> Ordering {
    prefix(bytes).cmp(&other_prefix).then_with(|| bytes.cmp(other))
}

impl Small {
    /// The [`prefix`] of the bytes.
    #[inline]
    pub(crate) fn prefix(&self) -> u64 {
        match self {
            Self::Inline { bytes, .. } => prefix(bytes),
            Self::Shared(bytes) => prefix(bytes),
        }
    }

    /// The order of these bytes and `other`, whose prefix is `other_prefix`.
    #[inline]
    pub(crate) fn cmp_bytes(&self, other: &[u8], other_prefix: u64) -> Ordering {
        self.prefix().cmp(&other_prefix).then_with(|| self.as_bytes().cmp(other))
    }
}

impl From<&[u8]> for Small {
    #[inline]
    fn from(from: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(from);
                Self::Inline { len, bytes }
            }
            (None, _) | (_, Err(_)) => Self::Shared(Arc::from(from)),
        }
    }
}

impl Default for Small {
    fn default() -> Self {
        Self::Inline { len: 0, bytes: [0; INLINE_MAX] }
    }
}

impl PartialEq for Small {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // What is behind the length is always zero, so the places can be compared as they are.
            (Self::Inline { len, bytes }, Self::Inline { len: other_len, bytes: other }) => {
                len == other_len && bytes == other
            }
            (Self::Inline { .. } | Self::Shared(_), _) => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Small {}

impl Ord for Small {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_bytes(other.as_bytes(), other.prefix())
    }
}

impl PartialOrd for Small {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Small {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back_and_are_ordered_as_slices() {
        let all: Vec<Vec<u8>> = (0..200u8)
            .map(|at| (0..at % 40).map(|byte| if byte == at % 7 { at } else { byte / 9 }).collect())
            .collect();
        for one in &all {
            let small = Small::from(one.as_slice());
            assert_eq!(small.as_bytes(), one);
            assert_eq!(matches!(small, Small::Inline { .. }), one.len() <= INLINE_MAX);
            for other in &all {
                let second = Small::from(other.as_slice());
                assert_eq!(small.cmp(&second), one.cmp(other));
                assert_eq!(small == second, one == other);
            }
        }
        assert_eq!(size_of::<Small>(), 24);
    }
}
