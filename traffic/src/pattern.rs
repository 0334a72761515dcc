//! The bytes that fill requests, answers and ticks: fixed, endless, checkable from any offset.
//!
//! The pattern repeats after a prime number of bytes, so a segment that is lost, doubled or put in the
//! wrong place shifts it visibly. One window of it stands ready made: filling and checking are slice
//! copies and slice comparisons, never a loop over bytes.

/// Bytes after which the pattern repeats: a prime, so that no segment size divides it.
pub const PERIOD: usize = 4_093;

/// The longest piece that [`at`] gives.
pub const PIECE_BYTES_MAX: usize = 16 * 1024;

static WINDOW: [u8; PERIOD + PIECE_BYTES_MAX] = window();

/// Up to `want` bytes of the pattern from `offset` on; at most [`PIECE_BYTES_MAX`].
pub fn at(offset: u64, want: usize) -> &'static [u8] {
    let from = (offset % PERIOD as u64) as usize;
    &WINDOW[from..from + want.min(PIECE_BYTES_MAX)]
}

/// Whether `bytes` are the pattern from `offset` on.
pub fn matches(offset: u64, bytes: &[u8]) -> bool {
    let mut offset = offset;
    bytes.chunks(PIECE_BYTES_MAX).all(|piece| {
        let same = at(offset, piece.len()) == piece;
        offset += piece.len() as u64;
        same
    })
}

/// Fills `out` with the pattern from `offset` on.
pub fn fill(offset: u64, out: &mut [u8]) {
    let mut offset = offset;
    for piece in out.chunks_mut(PIECE_BYTES_MAX) {
        piece.copy_from_slice(at(offset, piece.len()));
        offset += piece.len() as u64;
    }
}

const fn window() -> [u8; PERIOD + PIECE_BYTES_MAX] {
    let mut window = [0; PERIOD + PIECE_BYTES_MAX];
    let mut index = 0;
    while index < window.len() {
        // Knuth's multiplicative hash of the place within the period; its top byte is the well mixed one.
        window[index] = ((index % PERIOD) as u32)
            .wrapping_mul(2_654_435_761)
            .to_be_bytes()[0];
        index += 1;
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_buffer_matches_at_its_own_offset_only() {
        let mut bytes = vec![0; 40_000];
        fill(123_456_789_012, &mut bytes);
        assert!(matches(123_456_789_012, &bytes));
        assert!(matches(123_456_789_012 + PERIOD as u64, &bytes));
        assert!(!matches(123_456_789_013, &bytes));
        bytes[39_999] ^= 1;
        assert!(!matches(123_456_789_012, &bytes));
    }

    #[test]
    fn no_segment_size_hides_a_segment_out_of_place() {
        for segment_bytes in [536, 1_220, 1_440, 1_448, 1_460, 8_960] {
            for segments in 1..4 {
                let shifted = at(segments * segment_bytes, 64);
                assert!(!matches(0, shifted), "{segments} x {segment_bytes}");
            }
        }
    }

    #[test]
    fn a_piece_is_never_longer_than_promised() {
        assert_eq!(at(PERIOD as u64 - 1, usize::MAX).len(), PIECE_BYTES_MAX);
    }
}
