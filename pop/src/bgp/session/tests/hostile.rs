//! Bytes that no speaker should send: each ends in its own NOTIFICATION, and none in a panic.

use super::*;

/// A session that listens and has a connection, with the NOTIFICATION that ends it taken out.
struct Victim {
    session: Session,
    now: Instant,
}

impl Victim {
    fn new(state: State) -> Victim {
        let mut session = session(config(B), B);
        let now = Instant::ZERO;
        session.start(now);
        session.handle_connected(now, 1, Side::Incoming);
        let mut victim = Victim { session, now };
        if state >= State::OpenConfirm {
            victim.hear(&peers_open());
        }
        if state >= State::Established {
            victim.hear(&keepalive());
        }
        assert_eq!(victim.session.state(), state);
        victim
    }

    /// What the session answers to `bytes`, if that ends it.
    fn hear(&mut self, bytes: &[u8]) -> Option<Notification> {
        self.session.handle_bytes(self.now, 1, bytes);
        let mut found = None;
        while let Some(output) = self.session.poll(self.now) {
            match output {
                Output::Event(Event::NotificationSent(notification)) => found = Some(notification),
                Output::Send { connection, bytes } => {
                    let sent = bytes.len();
                    self.session.handle_sent(self.now, connection, sent);
                }
                _ => {}
            }
        }
        found
    }
}

fn peers_open() -> Vec<u8> {
    open_of(65_001)
}

fn open_of(as_number: u32) -> Vec<u8> {
    let open = Open {
        as_number,
        hold_seconds: 90,
        id: [192, 0, 2, 1].into(),
        families: Family::ALL.to_vec(),
        route_refresh: true,
        restart: None,
    };
    open.write()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (19 + body.len() as u16).to_be_bytes();
    [&[0xff; 16], &length[..], &[kind], body].concat()
}

#[test]
fn a_message_that_is_not_expected_is_a_finite_state_machine_error() {
    let update = message(2, &[0; 4]);
    let refresh = message(5, &[0, 1, 0, 1]);
    for (state, bytes, code) in [
        (State::OpenSent, keepalive(), Code(5, 1)),
        (State::OpenSent, update.clone(), Code(5, 1)),
        (State::OpenConfirm, peers_open(), Code(5, 2)),
        (State::OpenConfirm, update, Code(5, 2)),
        (State::OpenConfirm, refresh, Code(5, 2)),
        (State::Established, peers_open(), Code(5, 3)),
    ] {
        let mut victim = Victim::new(state);
        let found = victim.hear(&bytes).expect("it ends");
        assert_eq!((found.code, &found.data[..]), (code, &bytes[18..19]));
        assert_eq!(victim.session.state(), State::Idle);
    }
}

#[test]
fn an_open_of_somebody_else_is_refused() {
    let code = |bytes: &[u8]| {
        Victim::new(State::OpenSent)
            .hear(bytes)
            .map(|found| found.code)
    };
    assert_eq!(code(&open_of(65_003)), Some(Code::BAD_PEER_AS));
    let internal = Config {
        local_as: 65_001,
        id: [192, 0, 2, 1].into(),
        ..config(B)
    };
    let mut victim = Victim::new(State::OpenSent);
    victim.session.config = internal;
    let found = victim.hear(&peers_open()).expect("it ends");
    assert_eq!(
        found,
        Notification::new(Code::BAD_IDENTIFIER, &[192, 0, 2, 1])
    );
}

#[test]
fn each_bad_message_ends_an_established_session_with_its_code() {
    for (bytes, code) in [
        ([&[0; 16][..], &[0, 19, 4]].concat(), Code::NOT_SYNCHRONIZED),
        (
            [&[0xff; 16][..], &[0xff, 0xff, 2]].concat(),
            Code::BAD_LENGTH,
        ),
        (message(9, &[]), Code::BAD_TYPE),
        (message(4, &[0]), Code::BAD_LENGTH),
        (message(5, &[0; 3]), Code::BAD_LENGTH),
        (message(2, &[0, 9, 0, 0]), Code::MALFORMED_ATTRIBUTES),
        (message(2, &[0, 1, 99, 0, 0]), Code::INVALID_NETWORK),
        (
            message(2, &[0, 0, 0, 3, 0x40, 99, 0]),
            Code::UNRECOGNIZED_WELL_KNOWN,
        ),
    ] {
        let mut victim = Victim::new(State::Established);
        let found = victim.hear(&bytes).expect("it ends");
        assert_eq!(found.code, code);
        assert!(victim.session.routes_in().is_empty());
    }
}

#[test]
fn an_end_by_the_peer_is_not_answered() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let mut victim = Victim::new(state);
        assert_eq!(victim.hear(&message(3, &[6, 2, 1, 2, 3])), None);
        assert_eq!(victim.session.state(), State::Idle);
    }
}

/// Messages with a bit of everything in them, for mutation.
fn samples() -> Vec<Vec<u8>> {
    let mut out = AdjRibOut::default();
    out.restart();
    let offer = Offer {
        med: Some(1),
        prepend: 3,
        communities: [1, 2, 3].into(),
    };
    let prefixes = ["198.51.100.0/24", "203.0.113.7/32", "2001:db8::/32", "::/0"];
    let wanted = prefixes.map(|text| (text.parse().expect("a prefix"), offer.clone()));
    out.want(Arc::new(wanted.into()), false);
    let terms = Terms {
        local_as: 65_001,
        local_pref: None,
        next_hop_v4: Some([192, 0, 2, 1].into()),
        next_hop_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        families: Family::ALL.to_vec(),
    };
    let mut samples = out.update(&terms);
    samples.push(message(2, &[0, 5, 32, 1, 2, 3, 4, 0, 0]));
    samples.push(message(5, &[0, 1, 0, 1]));
    samples.push(message(3, &[6, 4]));
    samples.push(keepalive());
    samples.push(peers_open());
    samples
}

/// Changes, cuts or stretches a few bytes; mostly with the length made right again.
fn mutate(rng: &mut Rng, message: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let first = if rng.below(8) == 0 { 0 } else { 18 };
        let at = (first + rng.below(message.len().saturating_sub(first) as u64 + 1) as usize)
            .min(message.len().saturating_sub(1));
        match rng.below(4) {
            0 => message[at] = rng.bits() as u8,
            1 => message[at] ^= 1 << rng.below(8),
            2 if message.len() > 20 => drop(message.remove(at.max(19).min(message.len() - 1))),
            _ => message.insert(at.max(19).min(message.len()), rng.bits() as u8),
        }
    }
    if rng.below(8) != 0 {
        let length = (message.len() as u16).to_be_bytes();
        message[16..18].copy_from_slice(&length);
    }
}

#[test]
fn no_bytes_make_it_panic_and_its_end_is_always_said() {
    let samples = samples();
    let mut rng = Seed(5).stream("test", "hostile bytes");
    let mut codes = BTreeSet::new();
    let (mut kept, mut ended) = (0, 0);
    for round in 0..60_000u32 {
        let state = [State::OpenSent, State::OpenConfirm, State::Established][round as usize % 3];
        let mut victim = Victim::new(state);
        let bytes = if rng.below(10) == 0 {
            let mut bytes = vec![0; rng.below(300) as usize];
            rng.fill(&mut bytes);
            let header = rng.below(2) * 16;
            bytes
                .iter_mut()
                .take(header as usize)
                .for_each(|byte| *byte = 0xff);
            bytes
        } else {
            let mut bytes = samples[rng.below(samples.len() as u64) as usize].clone();
            mutate(&mut rng, &mut bytes);
            bytes
        };
        let cut = rng.below(bytes.len() as u64 + 1) as usize;
        let first = victim.hear(&bytes[..cut]);
        let found = first.or_else(|| victim.hear(&bytes[cut..]));
        let still = victim.session.state();
        if let Some(found) = &found {
            codes.insert(found.code);
            ended += 1;
            assert_eq!(still, State::Idle);
        } else {
            kept += 1;
        }
        assert!(victim.session.routes_in().len() <= 300);
    }
    // Both happen, and every kind of mistake is met.
    assert!(kept > 5_000 && ended > 5_000, "{kept} kept, {ended} ended");
    assert!(codes.len() >= 15, "{codes:?}");
}
