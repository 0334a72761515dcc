//! What a BGP neighbour sends, from its first byte or once the session stands: how it is cut into segments changes
//! nothing, limits hold, and what we send is what a speaker of our own understands.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_pop::bgp::{Config, Event, IpNet, Notification, Offer, Output, Session, Side, State};

use crate::input::Input;

/// The neighbour's connection.
const WIRE: u32 = 1;
const PREFIXES_MAX: usize = 8;
const HEADER_BYTES: usize = 19;
const MESSAGE_BYTES_MAX: usize = 4_096;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let segment = usize::from(input.byte()) + 1;
    let is_internal = choice & 1 != 0;
    let greeting = greeting(is_internal, choice & 2 != 0);
    let stream = input.rest();
    let whole = hear(is_internal, &greeting, [stream].into_iter());
    let parts = hear(is_internal, &greeting, stream.chunks(segment));
    assert_eq!(whole.sent, parts.sent, "segments of {segment} bytes");
    assert_eq!(whole.events, parts.events, "segments of {segment} bytes");
    assert_eq!(whole.state, parts.state, "segments of {segment} bytes");
    assert_eq!(whole.routes, parts.routes, "segments of {segment} bytes");
    assert!(whole.routes.len() <= PREFIXES_MAX);
    framed(&whole.sent);
    understood(is_internal, &whole);
}

/// What came of it.
struct Heard {
    sent: Vec<u8>,
    events: Vec<Event>,
    routes: Vec<String>,
    state: State,
    /// Families that the neighbour takes routes of.
    families: usize,
}

fn config(is_internal: bool) -> Config {
    let ases = if is_internal {
        (65_001, 65_001)
    } else {
        (65_001, 65_002)
    };
    Config {
        passive: true,
        next_hop_v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
        next_hop_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        prefixes_max: PREFIXES_MAX,
        ..Config::new(ases.0, Ipv4Addr::new(192, 0, 2, 1), ases.1)
    }
}

fn neighbour(is_internal: bool) -> Config {
    let ours = config(is_internal);
    Config {
        id: Ipv4Addr::new(192, 0, 2, 2),
        local_as: ours.peer_as,
        peer_as: ours.local_as,
        ..ours
    }
}

/// What a sound neighbour says until the session stands, or nothing.
fn greeting(is_internal: bool, says: bool) -> Vec<u8> {
    if !says {
        return Vec::new();
    }
    let opening = hear_as(neighbour(is_internal), [].into_iter()).sent;
    let keepalive = [&[0xff; 16][..], &[0, 19, 4]].concat();
    [opening, keepalive].concat()
}

fn hear<'s>(
    is_internal: bool,
    greeting: &'s [u8],
    segments: impl Iterator<Item = &'s [u8]>,
) -> Heard {
    hear_as(config(is_internal), [greeting].into_iter().chain(segments))
}

/// A session that was told to offer two prefixes, and then heard these segments.
fn hear_as<'s>(config: Config, segments: impl Iterator<Item = &'s [u8]>) -> Heard {
    let mut now = Instant::ZERO;
    let mut session = Session::new(config, Seed(1).stream("fuzzed", "bgp"));
    let mut heard = Heard {
        sent: Vec::new(),
        events: Vec::new(),
        routes: Vec::new(),
        state: State::Idle,
        families: 0,
    };
    let offers = ["198.51.100.0/24", "2001:db8:1::/48"];
    let offer = |text: &str| -> (IpNet, Offer) {
        let net = text.parse().expect("a prefix");
        (net, Offer::default())
    };
    let offers: BTreeMap<IpNet, Offer> = offers.into_iter().map(offer).collect();
    session.want(&offers, false);
    session.start(now);
    session.handle_connected(now, WIRE, Side::Incoming);
    drain(&mut session, now, &mut heard);
    for segment in segments {
        session.handle_bytes(now, WIRE, segment);
    }
    drain(&mut session, now, &mut heard);
    heard.state = session.state();
    heard.families = session.peer().map_or(0, |open| open.families.len());
    let routes = session.routes_in().iter();
    heard.routes = routes.map(|route| format!("{route:?}")).collect();
    // Time goes on: each deadline is later than the one before, and none is overdue once it was served.
    for _ in 0..8 {
        let Some(deadline) = session.poll_timeout() else {
            break;
        };
        now = deadline.at.max(now + Duration::from_nanos(1));
        session.handle_timeout(now);
        drain(&mut session, now, &mut heard);
        let next = session.poll_timeout();
        assert!(next.is_none_or(|next| next.at > now), "{next:?} is overdue");
    }
    heard
}

fn drain(session: &mut Session, now: Instant, heard: &mut Heard) {
    while let Some(output) = session.poll(now) {
        match output {
            Output::Send { connection, bytes } => {
                assert_eq!(connection, WIRE);
                session.handle_sent(now, connection, bytes.len());
                heard.sent.extend(bytes);
            }
            // Where it stands is told once for all that came at once.
            Output::Event(Event::SessionState { .. }) => {}
            Output::Event(event) => heard.events.push(event),
            Output::Connect | Output::Close { .. } => {}
        }
    }
}

/// What we send is whole messages.
fn framed(mut sent: &[u8]) {
    while let Some((header, _)) = sent.split_first_chunk::<HEADER_BYTES>() {
        assert_eq!(header[..16], [0xff; 16]);
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        assert!((HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&length));
        sent = sent.get(length..).expect("whole messages");
    }
    assert!(sent.is_empty(), "whole messages");
}

/// A neighbour of our own making finds nothing wrong with what we send, and learns what we offer.
fn understood(is_internal: bool, heard: &Heard) {
    let seen = hear_as(neighbour(is_internal), [&heard.sent[..]].into_iter());
    for event in &seen.events {
        if let Event::NotificationSent(Notification { code, .. }) = event {
            // 1, 2, 3: a message that is wrong. What comes out of turn, or not for long, is another matter.
            assert!(code.0 > 3, "we sent what we refuse: {code:?}");
        }
        assert!(!matches!(event, Event::MalformedAttribute { .. }));
    }
    if heard.state == State::Established {
        let learned = |event: &&Event| matches!(event, Event::RouteLearned { .. });
        // One of each family that the neighbour takes.
        assert_eq!(seen.events.iter().filter(learned).count(), heard.families);
    }
}
