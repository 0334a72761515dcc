//! A BFD neighbour: its packets say what they said when they are written again, and a session that hears any of them at
//! any time sends packets that can be read, and never falls behind its timers.

use core::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_pop::bfd::{Config, Packet, Session, State};

use crate::input::Input;

/// Steps of one input.
const STEPS_MAX: usize = 200;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let config = Config {
        desired_min_tx_us: u32::from(input.u16()).max(10) * 100,
        required_min_rx_us: u32::from(input.u16()).max(10) * 100,
        detect_multiplier: input.byte().max(1),
    };
    let mut now = Instant::ZERO;
    let mut session = Session::new(now, config, Seed(1).stream("fuzzed", "bfd"));
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let choice = input.byte();
        if choice & 1 != 0 {
            now += Duration::from_micros(u64::from(input.u16()) * 100);
            session.handle_timeout(now);
        }
        hear(&mut session, now, choice, &mut input);
        said(&mut session, now);
    }
}

fn hear(session: &mut Session, now: Instant, choice: u8, input: &mut Input<'_>) {
    let mut bytes = input.take::<24>();
    if choice & 2 != 0 {
        // Of this version and length, and to this session: what chance does not find.
        bytes[0] = 0x20 | bytes[0] & 0x1f;
        bytes[1] &= 0xfa;
        bytes[3] = 24;
        bytes[8..12].copy_from_slice(&session.discriminator().to_be_bytes());
    }
    let Ok(packet) = Packet::parse(&bytes) else {
        return;
    };
    assert_eq!(Packet::parse(&packet.write()), Ok(packet));
    let before = session.state();
    session.handle_packet(now, &packet);
    if packet.your_discriminator != 0 && packet.your_discriminator != session.discriminator() {
        assert_eq!(session.state(), before, "a packet to another session");
    }
}

fn said(session: &mut Session, now: Instant) {
    let mut sent = 0;
    while let Some(packet) = session.poll_packet(now) {
        assert_eq!(Packet::parse(&packet.write()), Ok(packet));
        assert_eq!(packet.my_discriminator, session.discriminator());
        sent += 1;
        assert!(sent <= 8, "packets without end at one time");
    }
    while session.poll_event().is_some() {}
    let next = session.poll_timeout();
    assert!(next.is_none_or(|next| next.at > now), "{next:?} is overdue");
    if session.state() == State::Up {
        assert!(
            session
                .detection_time()
                .is_some_and(|time| time > Duration::ZERO)
        );
    }
}
