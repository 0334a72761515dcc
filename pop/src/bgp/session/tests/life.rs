//! A session's life: it comes up, says what is wanted, stays up, and ends for a reason.

use super::*;
use crate::bgp::GRACEFUL_SHUTDOWN;

const VIPS: [&str; 2] = ["198.51.100.1/32", "2001:db8:1::1/128"];

#[test]
fn it_comes_up_by_all_states_in_order() {
    let peers = Peers::established();
    let states = |end: usize| -> Vec<State> {
        let events = peers.events[end].iter();
        let to = events.filter_map(|event| match event {
            Event::SessionState { to, .. } => Some(*to),
            _ => None,
        });
        to.collect()
    };
    use State::*;
    assert_eq!(states(A), [Connect, OpenSent, OpenConfirm, Established]);
    assert_eq!(states(B), [Active, OpenSent, OpenConfirm, Established]);
    let peer = peers.ends[A].peer().expect("it is established");
    assert_eq!((peer.as_number, peer.hold_seconds), (65_002, 90));
    assert!(peer.route_refresh);
    for end in [A, B] {
        for family in Family::ALL {
            let ended = Event::EndOfRib(family);
            assert!(peers.events[end].contains(&ended), "{family:?}");
        }
    }
}

#[test]
fn routes_come_drain_and_go() {
    let mut peers = Peers::established();
    peers.want(A, &VIPS, false);
    peers.expect_learned(B, &VIPS);
    peers.want(A, &VIPS, true);
    for (_, route) in peers.ends[B].routes_in().iter() {
        assert_eq!(route.attributes.communities, [GRACEFUL_SHUTDOWN]);
        assert_eq!(route.attributes.as_path_length(), 1);
    }
    peers.want(A, &VIPS[..1], false);
    peers.expect_learned(B, &VIPS[..1]);
    peers.want(A, &[], false);
    peers.expect_learned(B, &[]);
    assert!(peers.ends[B].routes_in().is_empty());
}

#[test]
fn what_was_wanted_before_it_came_up_is_told_then() {
    let mut peers = Peers::new(config(A), config(B));
    peers.want(B, &VIPS, false);
    peers.start();
    peers.expect_learned(A, &VIPS);
    assert_eq!(peers.ends[B].routes_out().count(), 2);
}

#[test]
fn a_prefix_with_bits_beyond_its_length_is_told_without_them() {
    let mut peers = Peers::established();
    peers.want(A, &["198.51.100.77/24"], false);
    peers.expect_learned(B, &["198.51.100.0/24"]);
}

#[test]
fn keepalives_hold_it_and_silence_ends_it() {
    let mut peers = Peers::established();
    peers.pass(Duration::from_secs(3_600));
    peers.expect(State::Established);
    // 22.5 s to 30 s apart, 19 bytes each.
    let keepalives = peers.sent[A] / 19;
    assert!((120..=162).contains(&keepalives), "{keepalives}");
    // The peer falls silent: what it would send is lost with its wire.
    peers.is_cut = true;
    peers.wires.clear();
    // The last it heard was up to 30 s ago.
    peers.pass(Duration::from_secs(59));
    let state = peers.ends[A].state();
    peers.pass(Duration::from_secs(32));
    assert_eq!(state, State::Established);
    assert!(peers.ends[A].state() < State::OpenSent);
    let expired = Event::NotificationSent(Code::HOLD_TIMER_EXPIRED.into());
    assert!(peers.events[A].contains(&expired));
}

#[test]
fn the_shorter_hold_time_counts_and_zero_means_none() {
    for (hold_seconds, deadline) in [(9, true), (0, false)] {
        let mut peers = Peers::new(
            config(A),
            Config {
                hold_seconds,
                ..config(B)
            },
        );
        peers.start();
        peers.expect(State::Established);
        let hold = peers.ends[A].connections[0].hold;
        assert_eq!(hold, Duration::from_secs(hold_seconds.into()));
        assert_eq!(peers.ends[A].poll_timeout().is_some(), deadline);
    }
}

#[test]
fn a_peer_that_is_not_there_is_tried_again_and_again() {
    let mut peers = Peers::new(config(A), config(B));
    peers.is_cut = true;
    peers.start();
    assert_eq!(peers.ends[A].state(), State::Active);
    peers.pass(Duration::from_secs(60));
    let tries = |event: &&Event| {
        matches!(
            event,
            Event::SessionState {
                to: State::Active,
                ..
            }
        )
    };
    let count = peers.events[A].iter().filter(tries).count();
    // Every 3.75 to 5 s.
    assert!((12..=17).contains(&count), "{count}");
    peers.is_cut = false;
    peers.pass(Duration::from_secs(5));
    peers.expect(State::Established);
}

#[test]
fn an_attempt_that_does_not_end_is_given_up() {
    let mut peers = Peers::new(config(A), config(B));
    peers.crossing = Some(Vec::new());
    peers.start();
    peers.pass(Duration::from_secs(11));
    let attempts = peers.crossing.as_ref().map(Vec::len);
    assert!((3..=4).contains(&attempts.unwrap_or(0)), "{attempts:?}");
}

#[test]
fn a_stop_is_said_and_a_refused_peer_waits_ever_longer() {
    let mut peers = Peers::established();
    peers.want(B, &VIPS, false);
    let now = peers.now;
    peers.ends[B].stop(now);
    peers.settle();
    assert_eq!(peers.notified(A), [Code::SHUTDOWN]);
    peers.expect_learned(A, &[]);
    peers.pass(Duration::from_secs(600));
    // 5 s, 10 s, .. 80 s, each at least three quarters of it.
    let refused = peers.notified(A).len() - 1;
    assert!((7..=15).contains(&refused), "{refused}");
    let now = peers.now;
    peers.ends[B].start(now);
    peers.pass(Duration::from_secs(81));
    peers.expect(State::Established);
    peers.expect_learned(A, &VIPS);
}

#[test]
fn a_reset_by_bfd_says_so_and_comes_back() {
    let mut peers = Peers::established();
    let now = peers.now;
    peers.ends[A].reset(now, Code::BFD_DOWN);
    peers.settle();
    assert_eq!(peers.notified(B), [Code::BFD_DOWN]);
    assert_eq!(peers.ends[A].state(), State::Idle);
    peers.pass(Duration::from_secs(20));
    peers.expect(State::Established);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let mut peers = Peers::established();
    let now = peers.now;
    peers.ends[A].want(&offers(&VIPS), false);
    // Nobody says that it left.
    while peers.ends[A].poll(now).is_some() {}
    let keepalive = keepalive();
    for second in 1..=479 {
        let at = now + Duration::from_secs(second);
        let number = peers.ends[A].connections[0].number;
        peers.ends[A].handle_bytes(at, number, &keepalive);
        peers.ends[A].handle_timeout(at);
        peers.ends[A].want(&offers(&VIPS[..(second % 3) as usize]), false);
        assert!(
            peers.ends[A].poll(at).is_none(),
            "what is wanted does not queue up"
        );
    }
    assert_eq!(peers.ends[A].state(), State::Established);
    peers.ends[A].handle_timeout(now + SEND_HOLD_MIN);
    let at = now + SEND_HOLD_MIN;
    let outputs: Vec<_> = core::iter::from_fn(|| peers.ends[A].poll(at)).collect();
    let expired = Event::NotificationSent(Code::SEND_HOLD_TIMER_EXPIRED.into());
    assert!(outputs.contains(&Output::Event(expired)), "{outputs:?}");
}

#[test]
fn a_refresh_brings_all_routes_of_a_family_again() {
    let mut peers = Peers::established();
    peers.want(A, &VIPS, false);
    let before = peers.sent[A];
    let [a, _] = peers.wires[0];
    let refresh = [&[0xff; 16][..], &[0, 23, 5, 0, 2, 0, 1]].concat();
    let now = peers.now;
    peers.ends[A].handle_bytes(now, a, &refresh);
    peers.settle();
    assert!(peers.events[A].contains(&Event::RouteRefresh(Family::V6)));
    assert!(peers.sent[A] > before);
    peers.expect_learned(B, &VIPS);
}

#[test]
fn too_many_prefixes_end_it_with_the_limit() {
    let mut peers = Peers::new(
        Config {
            prefixes_max: 1,
            ..config(A)
        },
        config(B),
    );
    peers.start();
    peers.want(B, &VIPS, false);
    let expected = Notification::new(Code::PREFIX_LIMIT, &[0, 2, 1, 0, 0, 0, 1]);
    assert!(peers.events[B].contains(&Event::NotificationReceived(expected)));
    peers.expect_learned(A, &[]);
}

#[test]
fn routes_that_went_through_us_are_not_taken_back() {
    let internal = |end| Config {
        local_as: 65_001,
        peer_as: 65_001,
        ..config(end)
    };
    let mut peers = Peers::new(internal(A), internal(B));
    peers.start();
    peers.want(A, &VIPS, false);
    // Inside an AS the path is empty, and the preference is told.
    let routes = peers.ends[B].routes_in();
    let told = routes.iter().map(|(_, route)| &route.attributes);
    let told: Vec<_> = told
        .map(|attributes| (attributes.as_path_length(), attributes.local_pref))
        .collect();
    assert_eq!(told, [(0, Some(100)); 2]);
    // A path with our own AS in it is a loop.
    let [_, b] = peers.wires[0];
    let mut update = vec![0xff; 16];
    update.extend([0, 47, 2, 0, 0, 0, 20]);
    update.extend([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9]);
    update.extend([0x40, 3, 4, 192, 0, 2, 9, 24, 203, 0, 113]);
    let now = peers.now;
    peers.ends[B].handle_bytes(now, b, &update);
    peers.settle();
    peers.expect_learned(B, &VIPS);
    peers.expect(State::Established);
}
