//! SipHash-2-4: a keyed 64-bit hash for what only has to be short and unforgeable without the key.
//!
//! Aumasson, Bernstein: *SipHash: a fast short-input PRF* (INDOCRYPT 2012). Sketch checksums are keyed
//! with a constant of the store, hashes cut for the wire with a salt of the session. Neither proves
//! anything alone: the 32-byte root is compared at the end.

/// The key of a cut.
pub type CutKey = [u8; 16];

/// SipHash-2-4 of `words`, each as its eight little-endian bytes, under `key`.
///
/// ```
/// use sync_core::merkle::cut::cut;
/// assert_ne!(cut(&[1; 16], [7, 8]), cut(&[2; 16], [7, 8]));
/// ```
pub fn cut<const N: usize>(key: &CutKey, words: [u64; N]) -> u64 {
    let (k0, k1) = halves(key);
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let length = (N as u64 * 8) << 56;
    for word in words.into_iter().chain([length]) {
        state[3] ^= word;
        round(&mut state);
        round(&mut state);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut state));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

/// Sixteen bytes as two little-endian words.
pub(crate) fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let words: [u64; 2] =
        std::array::from_fn(|word| u64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * word + byte])));
    (words[0], words[1])
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference implementation's table: key 00..0f, inputs 00..07 and 00..0f (the paper has
    /// the one of 15 bytes, which is no whole number of words).
    #[test]
    fn the_published_vectors_come_out() {
        let key = std::array::from_fn(|at| at.to_le_bytes()[0]);
        assert_eq!(cut(&key, []), 0x726f_db47_dd0e_0e31);
        assert_eq!(cut(&key, [0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
        assert_eq!(cut(&key, [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]), 0x3f2a_cc7f_57c2_9bdb);
    }
}
