//! The tick: a datagram that the other end echoes, as a game or a voice call sends many per second.
//!
//! ```text
//! 0                    8                          16
//! | sequence (BE u64)  | intended time, ns (BE)   | pattern up to the load's size
//! ```
//! The sequence number finds the tick among the outstanding ones; the rest tells whether the echo is what
//! was sent. The intended time is there for people who read captures.

use anyedge_net::time::Instant;

use crate::pattern;

/// Bytes before the padding, and so the shortest tick.
pub const HEADER_BYTES: usize = 16;

/// The longest tick: the payload of the largest UDP datagram over IPv4.
pub const TICK_BYTES_MAX: usize = 65_507;

/// A tick of `size` bytes (in [`HEADER_BYTES`]`..=`[`TICK_BYTES_MAX`]) with everything but its header.
pub fn blank(size: usize) -> Vec<u8> {
    let mut tick = vec![0; size];
    pattern::fill(0, &mut tick);
    tick
}

/// Writes the header of `tick`.
pub fn stamp(tick: &mut [u8], sequence: u64, intended: Instant) {
    tick[..8].copy_from_slice(&sequence.to_be_bytes());
    tick[8..16].copy_from_slice(&intended.as_nanos().to_be_bytes());
}

/// The sequence number of `tick`, if it is long enough to hold one.
pub fn sequence(tick: &[u8]) -> Option<u64> {
    tick.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Whether `echo` is `blank`, stamped with `intended` and any sequence number.
pub fn is_echo(echo: &[u8], blank: &[u8], intended: Instant) -> bool {
    echo.len() == blank.len()
        && echo[8..16] == intended.as_nanos().to_be_bytes()
        && echo[HEADER_BYTES..] == blank[HEADER_BYTES..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_known_by_its_sequence_time_length_and_padding() {
        let blank = blank(1_000);
        let mut tick = blank.clone();
        let intended = Instant::from_nanos(77);
        stamp(&mut tick, 5, intended);
        assert_eq!(sequence(&tick), Some(5));
        assert!(is_echo(&tick, &blank, intended));
        assert!(!is_echo(&tick, &blank, Instant::from_nanos(78)));
        assert!(!is_echo(&tick[..999], &blank, intended));
        tick[999] ^= 1;
        assert!(!is_echo(&tick, &blank, intended));
        assert_eq!(sequence(&tick[..7]), None);
    }
}
