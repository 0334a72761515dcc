//! A peer that goes without a word and comes back (RFC 4724): what it told is kept if it asked for that.

use super::*;

const VIPS: [&str; 2] = ["198.51.100.1/32", "2001:db8:1::1/128"];

/// The first may be away for a minute with its routes kept.
fn graceful() -> Peers {
    let mut peers = Peers::new(
        Config {
            restart_seconds: 60,
            ..config(A)
        },
        config(B),
    );
    peers.start();
    peers.want(A, &VIPS, false);
    peers.expect_learned(B, &VIPS);
    peers
}

#[test]
fn an_anycast_node_that_goes_takes_its_routes_with_it() {
    let mut peers = Peers::established();
    peers.want(A, &VIPS, false);
    peers.is_cut = true;
    peers.break_wires();
    peers.expect_learned(B, &[]);
}

#[test]
fn routes_of_a_graceful_peer_are_stale_until_it_tells_them_again() {
    let mut peers = graceful();
    peers.is_cut = true;
    peers.break_wires();
    peers.expect_learned(B, &VIPS);
    let stale = |peers: &Peers| {
        let routes = peers.ends[B].routes_in().iter();
        routes.filter(|(_, route)| route.is_stale).count()
    };
    assert_eq!(stale(&peers), 2);
    peers.is_cut = false;
    // One of them is wanted no longer when it comes back.
    peers.ends[A].want(&offers(&VIPS[..1]), false);
    peers.pass(Duration::from_secs(10));
    peers.expect(State::Established);
    peers.expect_learned(B, &VIPS[..1]);
    assert_eq!(stale(&peers), 0);
}

#[test]
fn routes_of_a_graceful_peer_go_when_it_does_not_come_back() {
    let mut peers = graceful();
    peers.is_cut = true;
    peers.break_wires();
    peers.pass(Duration::from_secs(59));
    peers.expect_learned(B, &VIPS);
    peers.pass(Duration::from_secs(2));
    peers.expect_learned(B, &[]);
}

#[test]
fn routes_of_a_graceful_peer_go_when_it_says_why() {
    let mut peers = graceful();
    let now = peers.now;
    peers.ends[A].stop(now);
    peers.settle();
    peers.expect_learned(B, &[]);
}

#[test]
fn a_peer_that_restarts_need_not_wait_for_the_end_of_its_old_connection() {
    let mut peers = graceful();
    // The second does not know yet that the first is gone.
    let [_, old] = peers.wires[0];
    peers.wires.clear();
    let anew = Config {
        restart_seconds: 60,
        restarting: true,
        ..config(A)
    };
    peers.ends[A] = session(anew, A);
    let now = peers.now;
    peers.ends[A].start(now);
    peers.settle();
    peers.expect(State::Established);
    assert_eq!(peers.ends[B].find(old), None);
    peers.expect_learned(B, &[]);
    let peer = peers.ends[B].peer().and_then(|peer| peer.restart.clone());
    assert!(peer.expect("it said so").restarting);
}
