//! SipHash-1-3 of a few words that are at hand: what the flow hash is made of, without a buffer between.
//!
//! The streaming hasher of the `siphasher` crate takes any cut of any input and pays for it with a buffer and branches for
//! each write: more instructions than the hash itself for the 13 bytes of a tuple. Here the caller has whole words.
//!
//! Reference: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012, §2.

/// A hash under way.
#[derive(Clone, Copy)]
pub(crate) struct SipHash13 {
    v: [u64; 4],
}

impl SipHash13 {
    /// Begins with a key of two little-endian words.
    #[inline(always)]
    pub(crate) const fn new(k0: u64, k1: u64) -> SipHash13 {
        SipHash13 {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
        }
    }

    /// The next 8 bytes, as a little-endian word.
    #[inline(always)]
    pub(crate) const fn word(mut self, word: u64) -> SipHash13 {
        self.v[3] ^= word;
        self = self.round();
        self.v[0] ^= word;
        self
    }

    /// The hash of `len` bytes, the last `len % 8` of which stand in `tail`, little-endian.
    #[inline(always)]
    pub(crate) const fn finish(self, tail: u64, len: u8) -> u64 {
        let mut state = self.word(tail | (len as u64) << 56);
        state.v[2] ^= 0xff;
        let [a, b, c, d] = state.round().round().round().v;
        a ^ b ^ c ^ d
    }

    #[inline(always)]
    const fn round(self) -> SipHash13 {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        SipHash13 { v: [a, b, c, d] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    proptest! {
        #[test]
        fn it_is_the_hash_that_the_crate_makes_of_the_same_bytes(
            keys in any::<(u64, u64)>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut hash = SipHash13::new(keys.0, keys.1);
            let (words, rest) = bytes.as_chunks::<8>();
            for word in words {
                hash = hash.word(u64::from_le_bytes(*word));
            }
            let mut tail = [0; 8];
            tail[..rest.len()].copy_from_slice(rest);
            let found = hash.finish(u64::from_le_bytes(tail), bytes.len() as u8);
            let wanted = SipHasher13::new_with_keys(keys.0, keys.1).hash(&bytes);
            prop_assert_eq!(found, wanted);
        }
    }
}
