//! BFD's control packet (RFC 5880 §4.1): 24 bytes, the checks that need no session, and what a state of the other end
//! makes of one's own (§6.8.6).
//!
//! Sessions with neighbours send it as it is, and probes of paths begin with it.

/// Bytes of a packet without authentication.
pub const LEN: usize = 24;

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
    /// By their numbers on the wire.
    pub const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

    /// The own state after a packet of an end that is in `received`.
    #[must_use]
    pub const fn after(self, received: State) -> State {
        match (self, received) {
            (State::AdminDown, _) => State::AdminDown,
            (State::Down | State::Init | State::Up, State::AdminDown) => State::Down,
            (State::Down, State::Down) => State::Init,
            (State::Down, State::Init) => State::Up,
            (State::Down, State::Up) => State::Down,
            (State::Init, State::Down) => State::Init,
            (State::Init, State::Init | State::Up) => State::Up,
            (State::Up, State::Down) => State::Down,
            (State::Up, State::Init | State::Up) => State::Up,
        }
    }
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

/// Why bytes are no control packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Malformed {
    /// Shorter than [`LEN`].
    Truncated,
    /// A version other than 1.
    BadVersion,
    /// A length below 24 or beyond the bytes, or authentication, which is not spoken here.
    BadLength,
    /// A detection multiplier of 0.
    ZeroMultiplier,
    /// A point-to-multipoint session.
    Multipoint,
    /// The sender's discriminator is 0, or the receiver's is 0 in a state that has heard it.
    ZeroDiscriminator,
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
    pub fn write(&self) -> [u8; LEN] {
        let state = State::ALL.iter().position(|state| *state == self.state);
        let state = state.unwrap_or_default() as u8;
        let bit = |is_set: bool, bit: u8| u8::from(is_set) << bit;
        let flags = state << 6 | bit(self.poll, 5) | bit(self.last, 4) | bit(self.demand, 1);
        let mut bytes = [0; LEN];
        bytes[0] = 1 << 5 | self.diagnostic.0 & 0x1f;
        bytes[1..4].copy_from_slice(&[flags, self.detect_multiplier, LEN as u8]);
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

    /// Of the bytes of a datagram.
    ///
    /// # Errors
    /// The first reason to discard it.
    pub fn parse(bytes: &[u8]) -> Result<Packet, Malformed> {
        let head = bytes.first_chunk::<LEN>().ok_or(Malformed::Truncated)?;
        let [first, flags, detect_multiplier, length, ..] = *head;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if first >> 5 != 1 {
            return Err(Malformed::BadVersion);
        }
        let has_authentication = flags & 0x04 != 0;
        if !(LEN..=bytes.len()).contains(&length.into()) || has_authentication {
            return Err(Malformed::BadLength);
        }
        if detect_multiplier == 0 {
            return Err(Malformed::ZeroMultiplier);
        }
        if flags & 0x01 != 0 {
            return Err(Malformed::Multipoint);
        }
        let packet = Packet {
            diagnostic: Diagnostic(first & 0x1f),
            state: State::ALL[usize::from(flags >> 6)],
            poll: flags & 0x20 != 0,
            last: flags & 0x10 != 0,
            demand: flags & 0x02 != 0,
            detect_multiplier,
            my_discriminator: word(4),
            your_discriminator: word(8),
            desired_min_tx_us: word(12),
            required_min_rx_us: word(16),
        };
        // Who does not know our number cannot have got beyond Down.
        let unheard =
            packet.your_discriminator == 0 && matches!(packet.state, State::Init | State::Up);
        if packet.my_discriminator == 0 || unheard {
            return Err(Malformed::ZeroDiscriminator);
        }
        Ok(packet)
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
        assert_eq!(Packet::parse(&bytes), Ok(PACKET));
        for state in State::ALL {
            let packet = Packet {
                state,
                poll: false,
                last: true,
                demand: true,
                ..PACKET
            };
            assert_eq!(Packet::parse(&packet.write()), Ok(packet));
        }
    }

    #[test]
    fn what_the_rfc_discards_is_refused_with_its_reason() {
        let good = PACKET.write();
        for (at, byte, reason) in [
            (0, 0x41, Malformed::BadVersion),
            (1, 0xe4, Malformed::BadLength),
            (1, 0xe1, Malformed::Multipoint),
            (2, 0, Malformed::ZeroMultiplier),
            (3, 23, Malformed::BadLength),
            (3, 25, Malformed::BadLength),
        ] {
            let mut bytes = good;
            bytes[at] = byte;
            assert_eq!(Packet::parse(&bytes), Err(reason), "byte {at} = {byte}");
        }
        for length in 0..LEN {
            let parsed = Packet::parse(&good[..length]);
            assert_eq!(parsed, Err(Malformed::Truncated));
        }
        let nobody = Packet {
            my_discriminator: 0,
            ..PACKET
        };
        let refused = Err(Malformed::ZeroDiscriminator);
        assert_eq!(Packet::parse(&nobody.write()), refused);
        for state in State::ALL {
            let unknown = Packet {
                your_discriminator: 0,
                state,
                ..PACKET
            };
            let is_refused = matches!(state, State::Init | State::Up);
            assert_eq!(Packet::parse(&unknown.write()).is_err(), is_refused);
        }
    }
}
