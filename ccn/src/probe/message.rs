//! A probe on the wire: a BFD control packet, and behind it what it does not say.
//!
//! The first 24 bytes are those of RFC 5880 §4.1, without authentication, demand mode, poll or echo. Then follow
//! 50 bytes of our own: the number of this probe; the highest number heard from the other end with the 63 before
//! it as a bitmap, so that both ends know the loss in each direction; whom the sender reaches directly, for
//! detours; times that tell the round trip; and the Internet checksum of it all, since tunnels over UDP have none. All of it is in network byte
//! order. docs/paths.md has the layout as a table.
//!
//! Invariant: what [`parse`] accepts passes the checks of RFC 5880 §6.8.6 that need no session.

use anyedge_net::checksum;
use anyedge_net::wire::bfd::{self, Malformed, Packet};
pub use anyedge_net::wire::bfd::{Diagnostic, State};

/// A probe in bytes, behind its GRE header.
pub const LEN: usize = bfd::LEN + 50;

/// Where the checksum is.
const CHECKSUM_AT: usize = LEN - 2;
/// The sender has heard no probe, or not for long.
pub const NOT_HELD: u32 = u32::MAX;

/// A probe, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Why the sender's session was last left down.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// Intervals of silence after which the other end is to give the sender up: 1-255.
    pub multiplier: u8,
    /// The sender's name for its session: not 0.
    pub my_discriminator: u32,
    /// The receiver's name for its session; 0 while the sender does not know it.
    pub your_discriminator: u32,
    /// The sender's interval, in microseconds: not 0.
    pub desired_min_tx_us: u32,
    /// The shortest interval that the sender takes, in microseconds: not 0.
    pub required_min_rx_us: u32,
    /// The number of this probe.
    pub sequence: u32,
    /// The highest number heard from the receiver.
    pub heard_highest: u32,
    /// Bit `i`: whether the probe numbered `heard_highest - i` was heard.
    pub heard: u64,
    /// The low half of the revision that `reaches` is numbered by.
    pub revision: u32,
    /// To a POP, by region; to a CLB node of another region, by the place of a POP among the POPs: whether
    /// the sender has a live path of its own there.
    pub reaches: u128,
    /// The sender's clock, in microseconds; wraps around.
    pub sent_us: u32,
    /// `sent_us` of the probe that the sender heard last.
    pub echo_us: u32,
    /// How long ago it heard that, in microseconds; [`NOT_HELD`] when there is none.
    pub held_us: u32,
}

/// Why bytes are no probe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProbeError {
    /// Shorter than [`LEN`].
    Truncated,
    /// Changed on the way.
    BadChecksum,
    /// No BFD control packet is in front.
    Control(Malformed),
    /// An interval of 0.
    ZeroInterval,
}

/// Reads a probe at the start of `bytes`, which begin behind the GRE header.
///
/// # Errors
/// The first [`ProbeError`] found.
pub fn parse(bytes: &[u8]) -> Result<Message, ProbeError> {
    let bytes = bytes.first_chunk::<LEN>().ok_or(ProbeError::Truncated)?;
    if checksum::internet(bytes) != 0 {
        return Err(ProbeError::BadChecksum);
    }
    let control = Packet::parse(&bytes[..bfd::LEN]).map_err(ProbeError::Control)?;
    if control.desired_min_tx_us == 0 || control.required_min_rx_us == 0 {
        return Err(ProbeError::ZeroInterval);
    }
    Ok(Message {
        diagnostic: control.diagnostic,
        state: control.state,
        multiplier: control.detect_multiplier,
        my_discriminator: control.my_discriminator,
        your_discriminator: control.your_discriminator,
        desired_min_tx_us: control.desired_min_tx_us,
        required_min_rx_us: control.required_min_rx_us,
        sequence: u32_at(bytes, 24),
        heard_highest: u32_at(bytes, 28),
        heard: u64::from(u32_at(bytes, 32)) << 32 | u64::from(u32_at(bytes, 36)),
        revision: u32_at(bytes, 40),
        reaches: (0..4).fold(0, |reaches, word| {
            reaches << 32 | u128::from(u32_at(bytes, 44 + 4 * word))
        }),
        sent_us: u32_at(bytes, 60),
        echo_us: u32_at(bytes, 64),
        held_us: u32_at(bytes, 68),
    })
}

impl Message {
    /// The probe's bytes.
    pub fn write(&self) -> [u8; LEN] {
        let control = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: false,
            last: false,
            demand: false,
            detect_multiplier: self.multiplier,
            my_discriminator: self.my_discriminator,
            your_discriminator: self.your_discriminator,
            desired_min_tx_us: self.desired_min_tx_us,
            required_min_rx_us: self.required_min_rx_us,
        };
        let mut out = [0; LEN];
        out[..bfd::LEN].copy_from_slice(&control.write());
        out[24..28].copy_from_slice(&self.sequence.to_be_bytes());
        out[28..32].copy_from_slice(&self.heard_highest.to_be_bytes());
        out[32..40].copy_from_slice(&self.heard.to_be_bytes());
        out[40..44].copy_from_slice(&self.revision.to_be_bytes());
        out[44..60].copy_from_slice(&self.reaches.to_be_bytes());
        out[60..64].copy_from_slice(&self.sent_us.to_be_bytes());
        out[64..68].copy_from_slice(&self.echo_us.to_be_bytes());
        out[68..72].copy_from_slice(&self.held_us.to_be_bytes());
        let check = checksum::internet(&out).to_be_bytes();
        out[CHECKSUM_AT..].copy_from_slice(&check);
        out
    }
}

/// The word at `at`, which is inside.
fn u32_at(bytes: &[u8; LEN], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: Message = Message {
        diagnostic: Diagnostic::TIME_EXPIRED,
        state: State::Init,
        multiplier: 3,
        my_discriminator: 0x0102_0304,
        your_discriminator: 0x0506_0708,
        desired_min_tx_us: 100_000,
        required_min_rx_us: 50_000,
        sequence: 9,
        heard_highest: 8,
        heard: u64::MAX - 1,
        revision: 7,
        reaches: 1 << 127 | 5,
        sent_us: 0x0a0b_0c0d,
        echo_us: 0x1a1b_1c1d,
        held_us: 0x2a2b_2c2d,
    };

    /// The same bytes with a checksum that is right, if they are long enough for one.
    fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.len() >= LEN {
            bytes[CHECKSUM_AT..LEN].fill(0);
            let check = checksum::internet(&bytes[..LEN]).to_be_bytes();
            bytes[CHECKSUM_AT..LEN].copy_from_slice(&check);
        }
        bytes
    }

    #[test]
    fn one_bit_that_flips_anywhere_makes_a_probe_none() {
        for bit in 0..LEN * 8 {
            let mut bytes = MESSAGE.write();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bytes), Err(ProbeError::BadChecksum), "bit {bit}");
        }
    }

    #[test]
    fn the_first_24_bytes_are_those_of_rfc_5880() {
        let expected = [
            0x21, 0x80, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0x86, 0xa0, 0, 0, 0xc3, 0x50, 0, 0, 0,
            0,
        ];
        assert_eq!(MESSAGE.write()[..24], expected);
    }

    #[test]
    fn what_rfc_5880_discards_is_refused_with_its_reason() {
        let cases: [(usize, u8, ProbeError); 10] = [
            (0, 0x01, ProbeError::Control(Malformed::BadVersion)),
            (0, 0x41, ProbeError::Control(Malformed::BadVersion)),
            (1, 0x84, ProbeError::Control(Malformed::BadLength)),
            (1, 0x81, ProbeError::Control(Malformed::Multipoint)),
            (2, 0, ProbeError::Control(Malformed::ZeroMultiplier)),
            (3, 23, ProbeError::Control(Malformed::BadLength)),
            (3, 25, ProbeError::Control(Malformed::BadLength)),
            (7, 0, ProbeError::Control(Malformed::ZeroDiscriminator)),
            (11, 0, ProbeError::Control(Malformed::ZeroDiscriminator)),
            (15, 0, ProbeError::ZeroInterval),
        ];
        let small = Message {
            my_discriminator: 1,
            your_discriminator: 1,
            desired_min_tx_us: 1,
            ..MESSAGE
        };
        for (at, value, error) in cases {
            let mut bytes = small.write().to_vec();
            bytes[at] = value;
            assert_eq!(parse(&summed(bytes)), Err(error), "byte {at} = {value}");
        }
        let deaf = Message {
            required_min_rx_us: 0,
            ..MESSAGE
        };
        assert_eq!(parse(&deaf.write()), Err(ProbeError::ZeroInterval));
        for len in 0..LEN {
            assert_eq!(parse(&MESSAGE.write()[..len]), Err(ProbeError::Truncated));
        }
    }

    #[test]
    fn only_a_session_that_is_down_may_not_know_the_other_end() {
        for state in [State::AdminDown, State::Down, State::Init, State::Up] {
            let message = Message {
                state,
                your_discriminator: 0,
                ..MESSAGE
            };
            let is_refused = matches!(state, State::Init | State::Up);
            assert_eq!(parse(&message.write()).is_err(), is_refused, "{state:?}");
        }
    }

    #[test]
    fn bytes_after_a_probe_are_ignored() {
        let mut bytes = MESSAGE.write().to_vec();
        bytes.extend([0xee; 9]);
        assert_eq!(parse(&bytes), Ok(MESSAGE));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_is_written_again(
            mut bytes in prop::collection::vec(any::<u8>(), 0..90),
            is_ours: bool,
        ) {
            if is_ours && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&[0x20, 0xc0, 3, 24]);
                bytes = summed(bytes);
            }
            if let Ok(message) = parse(&bytes) {
                prop_assert_eq!(parse(&message.write()), Ok(message));
            }
        }

        #[test]
        fn what_is_written_is_read(words: [u32; 4], numbers: [u32; 6], heard: u64, reaches: u128) {
            let message = Message {
                my_discriminator: words[0].max(1),
                your_discriminator: words[1].max(1),
                desired_min_tx_us: words[2].max(1),
                required_min_rx_us: words[3].max(1),
                sequence: numbers[0],
                heard_highest: numbers[1],
                revision: numbers[2],
                sent_us: numbers[3],
                echo_us: numbers[4],
                held_us: numbers[5],
                heard,
                reaches,
                ..MESSAGE
            };
            prop_assert_eq!(parse(&message.write()), Ok(message));
        }
    }
}
