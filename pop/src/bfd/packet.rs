//! The control packet (RFC 5880 §4.1): 24 bytes, and the checks that need no session (§6.8.6).

/// Bytes of a packet without authentication.
pub const PACKET_BYTES: usize = 24;

/// Where a session stands (§4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Held down by its operator.
    AdminDown,
    /// Nobody is heard.
    Down,
    /// The neighbour is heard, and does not say that it hears us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];
}

/// Why a session left Up last (§4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// It has not.
    pub const NONE: Diagnostic = Diagnostic(0);
    /// Nothing was heard for the detection time.
    pub const TIME_EXPIRED: Diagnostic = Diagnostic(1);
    /// The neighbour said that it is down.
    pub const NEIGHBOR_SIGNALED_DOWN: Diagnostic = Diagnostic(3);
    /// Its operator took it down.
    pub const ADMINISTRATIVELY_DOWN: Diagnostic = Diagnostic(7);
}

/// A control packet. Intervals are in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Why the sender's session left Up last.
    pub diagnostic: Diagnostic,
    /// Where the sender's session stands.
    pub state: State,
    /// An answer is asked for.
    pub poll: bool,
    /// It is the answer.
    pub last: bool,
    /// The sender asks not to be sent packets while both are Up.
    pub demand: bool,
    /// How many packets may be missed, at least 1.
    pub detect_multiplier: u8,
    /// The sender's number of the session, not zero.
    pub my_discriminator: u32,
    /// The receiver's number of it; zero when the sender does not know.
    pub your_discriminator: u32,
    /// The shortest interval at which the sender would send.
    pub desired_min_tx_us: u32,
    /// The shortest interval at which it would be sent to; zero: not at all.
    pub required_min_rx_us: u32,
}

impl Packet {
    /// As it is sent.
    pub fn write(&self) -> [u8; PACKET_BYTES] {
        let state = State::ALL.iter().position(|state| *state == self.state);
        let state = state.unwrap_or_default() as u8;
        let bit = |is_set: bool, bit: u8| u8::from(is_set) << bit;
        let flags = state << 6 | bit(self.poll, 5) | bit(self.last, 4) | bit(self.demand, 1);
        let mut bytes = [0; PACKET_BYTES];
        bytes[0] = 1 << 5 | self.diagnostic.0 & 0x1f;
        bytes[1..4].copy_from_slice(&[flags, self.detect_multiplier, PACKET_BYTES as u8]);
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx_us,
            self.required_min_rx_us,
        ];
        for (field, word) in bytes[4..20].chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Of a datagram; `None` for what is to be discarded.
    pub fn read(bytes: &[u8]) -> Option<Packet> {
        let [first, flags, detect_multiplier, length, ..] = *bytes else {
            return None;
        };
        let word = |at: usize| -> Option<u32> {
            let field = bytes.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*field))
        };
        let length = usize::from(length);
        let has_authentication = flags & 0x04 != 0;
        let is_multipoint = flags & 0x01 != 0;
        let is_sound = first >> 5 == 1
            && (PACKET_BYTES..=bytes.len()).contains(&length)
            && detect_multiplier > 0
            && !has_authentication
            && !is_multipoint;
        let packet = Packet {
            diagnostic: Diagnostic(first & 0x1f),
            state: State::ALL[usize::from(flags >> 6)],
            poll: flags & 0x20 != 0,
            last: flags & 0x10 != 0,
            demand: flags & 0x02 != 0,
            detect_multiplier,
            my_discriminator: word(4)?,
            your_discriminator: word(8)?,
            desired_min_tx_us: word(12)?,
            required_min_rx_us: word(16)?,
        };
        // Who does not know our number cannot have got beyond Down.
        let is_told_apart = packet.your_discriminator != 0
            || matches!(packet.state, State::Down | State::AdminDown);
        (is_sound && is_told_apart && packet.my_discriminator != 0).then_some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Packet = Packet {
        diagnostic: Diagnostic::TIME_EXPIRED,
        state: State::Up,
        poll: true,
        last: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: 0x0102_0304,
        your_discriminator: 0x0506_0708,
        desired_min_tx_us: 50_000,
        required_min_rx_us: 1_000_000,
    };

    #[test]
    fn it_has_the_bytes_of_the_rfc() {
        let bytes = PACKET.write();
        let expected = [
            0x21, 0xe0, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0xc3, 0x50, 0, 0x0f, 0x42, 0x40, 0, 0,
            0, 0,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(Packet::read(&bytes), Some(PACKET));
        for state in State::ALL {
            let packet = Packet {
                state,
                poll: false,
                last: true,
                demand: true,
                ..PACKET
            };
            assert_eq!(Packet::read(&packet.write()), Some(packet));
        }
    }

    #[test]
    fn what_the_rfc_discards_is_discarded() {
        let good = PACKET.write();
        let changed = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            Packet::read(&bytes)
        };
        assert_eq!(changed(0, 0x41), None);
        assert_eq!(changed(1, 0xe4), None);
        assert_eq!(changed(1, 0xe1), None);
        assert_eq!(changed(2, 0), None);
        assert_eq!(changed(3, 23), None);
        assert_eq!(changed(3, 25), None);
        for length in 0..PACKET_BYTES {
            assert_eq!(Packet::read(&good[..length]), None);
        }
        let nobody = Packet {
            my_discriminator: 0,
            ..PACKET
        };
        assert_eq!(Packet::read(&nobody.write()), None);
        let unknown = Packet {
            your_discriminator: 0,
            ..PACKET
        };
        assert_eq!(Packet::read(&unknown.write()), None);
    }
}
