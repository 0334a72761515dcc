//! The tick: a datagram that the other end echoes, as a game or a voice call sends many per second.
//!
//! ```text
//! 0                    8                          16          24
//! | sequence (BE u64)  | intended time, ns (BE)   | answerer  | pattern up to the load's size
//! ```
//! The sequence number finds the tick among the outstanding ones; the rest tells whether the echo is what
//! was sent. The intended time is there for people who read captures. In place of the [`QUESTION`] the
//! backend puts its own mark, so that a flow that lands on another target is seen; a tick too short for it,
//! and any other datagram, is echoed as it came.

use core::net::SocketAddr;

use anyedge_net::time::Instant;

use crate::pattern;

/// Bytes before the padding, and so the shortest tick.
pub const HEADER_BYTES: usize = 16;

/// What a tick has in place of the answerer's mark.
pub const QUESTION: [u8; 8] = *b"by whom?";

const ANSWERER: core::ops::Range<usize> = HEADER_BYTES..HEADER_BYTES + QUESTION.len();

/// The longest tick: the payload of the largest UDP datagram over IPv4.
pub const TICK_BYTES_MAX: usize = 65_507;

/// A tick of `size` bytes (in [`HEADER_BYTES`]`..=`[`TICK_BYTES_MAX`]) with everything but its header.
pub fn blank(size: usize) -> Vec<u8> {
    let mut tick = vec![0; size];
    pattern::fill(0, &mut tick);
    if let Some(answerer) = tick.get_mut(ANSWERER) {
        answerer.copy_from_slice(&QUESTION);
    }
    tick
}

/// The mark of the backend `name` at `address`: their FNV-1a hash.
pub fn mark(name: &str, address: SocketAddr) -> [u8; 8] {
    let text = format!("{name} {address}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.to_be_bytes()
}

/// Puts `mark` into a datagram that asks for it.
pub fn answer(datagram: &mut [u8], mark: [u8; 8]) {
    if let Some(answerer) = datagram.get_mut(ANSWERER)
        && *answerer == QUESTION
    {
        answerer.copy_from_slice(&mark);
    }
}

/// The mark of the backend that answered, if the tick asked and the backend has marks.
pub fn answerer(echo: &[u8]) -> Option<[u8; 8]> {
    let answerer = echo.get(ANSWERER)?.first_chunk()?;
    (*answerer != QUESTION).then_some(*answerer)
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

/// Whether `echo` is `blank`, stamped with `intended`, any sequence number and any answerer.
pub fn is_echo(echo: &[u8], blank: &[u8], intended: Instant) -> bool {
    let padding = if blank.len() < ANSWERER.end {
        HEADER_BYTES
    } else {
        ANSWERER.end
    };
    echo.len() == blank.len()
        && echo[8..16] == intended.as_nanos().to_be_bytes()
        && echo[padding..] == blank[padding..]
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
    #[test]
    fn only_a_tick_that_asks_is_marked_and_the_mark_names_host_and_address() {
        let one = mark("host.web-1", ([10, 0, 0, 11], 7_000).into());
        let other = mark("host.web-2", ([10, 0, 0, 11], 7_000).into());
        assert!(one != other && one != mark("host.web-1", ([10, 0, 0, 11], 7_001).into()));
        let blank = blank(24);
        let mut echo = blank.clone();
        stamp(&mut echo, 1, Instant::ZERO);
        assert_eq!(answerer(&echo), None);
        answer(&mut echo, one);
        assert_eq!(answerer(&echo), Some(one));
        assert!(is_echo(&echo, &blank, Instant::ZERO));
        answer(&mut echo, other);
        assert_eq!(answerer(&echo), Some(one));
        let mut other_datagram = *b"a datagram of somebody else";
        answer(&mut other_datagram, one);
        assert_eq!(&other_datagram, b"a datagram of somebody else");
        answer(&mut [0; 23], one);
    }
}
