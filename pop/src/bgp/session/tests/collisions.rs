//! Two connections between one pair: exactly one stays, whoever speaks first (RFC 4271 §6.8).

use super::*;

fn active(end: usize) -> Config {
    Config {
        passive: false,
        ..config(end)
    }
}

/// Both connect at once; the connections come up in the order of `first`.
fn crossed(a: Config, b: Config, first: usize) -> Peers {
    let mut peers = Peers::new(a, b);
    peers.crossing = Some(Vec::new());
    peers.start();
    assert_eq!(
        peers.crossing.take().map(|attempts| attempts.len()),
        Some(2)
    );
    for end in [first, 1 - first] {
        peers.join(end);
    }
    peers.settle();
    peers
}

#[test]
fn of_two_that_cross_the_one_stays_that_the_higher_identifier_opened() {
    for first in [A, B] {
        let peers = crossed(active(A), active(B), first);
        peers.expect(State::Established);
        assert_eq!(peers.wires.len(), 1);
        assert_eq!(peers.ends[A].connections[0].side, Side::Incoming);
        assert_eq!(peers.ends[B].connections[0].side, Side::Outgoing);
        for end in [A, B] {
            assert_eq!(peers.ends[end].connections.len(), 1);
        }
    }
}

#[test]
fn of_equal_identifiers_the_higher_as_decides() {
    for first in [A, B] {
        let id = Ipv4Addr::new(192, 0, 2, 7);
        let a = Config { id, ..active(A) };
        let b = Config { id, ..active(B) };
        let peers = crossed(a, b, first);
        peers.expect(State::Established);
        assert_eq!(peers.ends[B].connections[0].side, Side::Outgoing);
    }
}

#[test]
fn an_established_session_is_not_given_up_for_a_later_connection() {
    let mut peers = Peers::established();
    // Without graceful restart nothing says that the peer began anew.
    let at = peers.ends[B].connections.len() - 1;
    let peer = peers.ends[B].connections[at].peer.as_mut();
    peer.expect("it is established").restart = None;
    let now = peers.now;
    peers.ends[B].handle_connected(now, 99, Side::Incoming);
    let outputs: Vec<_> = core::iter::from_fn(|| peers.ends[B].poll(now)).collect();
    let refused = Event::NotificationSent(Code::COLLISION.into());
    assert!(outputs.contains(&Output::Event(refused)));
    assert!(outputs.contains(&Output::Close { connection: 99 }));
    peers.expect(State::Established);
}

#[test]
fn a_peer_that_connects_anew_before_its_open_replaces_what_it_left() {
    let mut session = session(config(B), B);
    let now = Instant::ZERO;
    session.start(now);
    session.handle_connected(now, 1, Side::Incoming);
    session.handle_connected(now, 2, Side::Incoming);
    assert_eq!(session.numbers(), [2]);
    assert_eq!(session.state(), State::OpenSent);
}
