//! A session, probe by probe and nanosecond by nanosecond.

use anyedge_net::rng::Seed;

use super::*;

const START: Instant = Instant::from_nanos(7_000_000_000);
const RTT: Duration = Duration::from_millis(52);
const PROBING: Probing = Probing {
    interval: Duration::from_millis(100),
    multiplier: 3,
    grey_loss_ppm: 50_000,
};
const NANO: Duration = Duration::from_nanos(1);

fn fresh(probing: Probing) -> Session {
    let rng = Seed(1).stream("pop.tokyo", "probe");
    let mut session = Session::begin(START, rng, probing, RTT);
    session.retune(probing, Mechanisms::ALL, RTT);
    session
}

/// What a peer with those times sends, having heard all of us.
fn said(state: State, sequence: u32, session: &Session) -> Message {
    Message {
        diagnostic: Diagnostic::NONE,
        state,
        multiplier: 3,
        my_discriminator: 99,
        your_discriminator: session.my_discriminator,
        desired_min_tx_us: 100_000,
        required_min_rx_us: 100_000,
        sequence,
        heard_highest: 0,
        heard: u64::MAX,
        revision: 0,
        reaches: 0,
        sent_us: 0,
        echo_us: 0,
        held_us: u32::MAX,
    }
}

fn hears(session: &mut Session, now: Instant, state: State, sequence: u32) {
    let message = said(state, sequence, session);
    assert_eq!(session.on_message(now, &message), Taken::Newest);
}

/// A session that is up at `START`, having heard the probe numbered 1.
fn up() -> Session {
    let mut session = fresh(PROBING);
    hears(&mut session, START, State::Init, 1);
    assert_eq!(session.state, State::Up);
    session
}

#[test]
fn states_change_as_rfc_5880_section_6_8_6_says() {
    use State::{AdminDown, Down, Init, Up};
    let table = [
        // Our state, then what becomes of it on hearing AdminDown, Down, Init, Up.
        (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
        (Down, [Down, Init, Up, Down]),
        (Init, [Down, Init, Up, Up]),
        (Up, [Down, Down, Up, Up]),
    ];
    for (local, after) in table {
        for (received, after) in [AdminDown, Down, Init, Up].into_iter().zip(after) {
            assert_eq!(local.after(received), after, "{local:?} hears {received:?}");
            let mut session = fresh(PROBING);
            session.state = local;
            hears(&mut session, START, received, 1);
            assert_eq!(session.state, after, "{local:?} hears {received:?}");
            let is_signaled = local > State::Down && after == State::Down;
            let diagnostic = session.message(START).diagnostic;
            assert_eq!(
                diagnostic == Diagnostic::NEIGHBOR_SIGNALED_DOWN,
                is_signaled
            );
            assert_eq!(
                session.send_at == START,
                local != after,
                "a change is told at once"
            );
        }
    }
}

/// A peer that was there all the time answers one that has just begun with `Init`, and counts its probes from long ago.
#[test]
fn a_session_that_comes_up_at_its_first_probe_misses_none_from_before() {
    let mut session = fresh(PROBING);
    hears(&mut session, START, State::Init, 500);
    assert_eq!(session.state, State::Up);
    assert!(!session.grey);
    assert_eq!(missing(session.message(START).heard), 0);
    hears(&mut session, START, State::Up, 502);
    assert_eq!(missing(session.message(START).heard), 1);
}

#[test]
fn a_probe_for_another_session_changes_nothing() {
    let mut session = up();
    let message = Message {
        your_discriminator: session.my_discriminator ^ 1,
        ..said(State::Down, 2, &session)
    };
    assert_eq!(session.on_message(START, &message), Taken::Foreign);
    assert_eq!(session.state, State::Up);
}

/// A handshake's probes follow each other within microseconds, and a node's workers send by sockets of their own.
#[test]
fn a_session_does_not_fall_by_what_its_peer_said_before_it_came_up() {
    let mut session = fresh(PROBING);
    let at = |sent_us: u32, state: State, sequence: u32, session: &Session| Message {
        sent_us,
        ..said(state, sequence, session)
    };
    let takes = |session: &mut Session, message: Message| session.on_message(START, &message);
    let init = at(1_000, State::Init, 2, &session);
    assert_eq!(takes(&mut session, init), Taken::Newest);
    for (sent_us, sequence) in [(990, 1), (1_000, 1), (990, 2_u32.wrapping_sub(64))] {
        let late = at(sent_us, State::Down, sequence, &session);
        assert_eq!(takes(&mut session, late), Taken::Overtaken);
    }
    assert_eq!(session.state, State::Up);
    // What it says next it means, also twice.
    for _ in 0..2 {
        let down = at(1_010, State::Down, 3, &session);
        assert_eq!(takes(&mut session, down), Taken::Newest);
    }
    assert_eq!(session.state, State::Init);
}

#[test]
fn a_late_probe_is_not_missing_and_keeps_its_session_from_going_down() {
    let mut session = up();
    hears(&mut session, START, State::Up, 3);
    assert_eq!(missing(session.message(START).heard), 1);
    let later = START + Duration::from_millis(200);
    let late = said(State::Up, 2, &session);
    assert_eq!(session.on_message(later, &late), Taken::Overtaken);
    assert_eq!(missing(session.message(later).heard), 0);
    session.on_time(START + Duration::from_millis(300));
    assert_eq!(session.state, State::Up);
}

/// A simulated node draws the same discriminator again; a real one another.
#[test]
fn a_peer_that_began_anew_is_heard_from_its_first_probe() {
    for (my_discriminator, sent_us) in [(99, 5_000), (98, 5_000), (98, 0)] {
        let mut session = fresh(PROBING);
        let known = Message {
            sent_us: 4_000,
            ..said(State::Init, 40, &session)
        };
        assert_eq!(session.on_message(START, &known), Taken::Newest);
        let anew = Message {
            my_discriminator,
            your_discriminator: 0,
            sent_us,
            ..said(State::Down, 1, &session)
        };
        assert_eq!(session.on_message(START, &anew), Taken::Newest);
        assert_eq!(session.state, State::Down);
    }
}

#[test]
fn silence_is_noticed_at_the_detection_time_to_the_nanosecond() {
    // Our interval and the peer's, its multiplier, and the detection time (RFC 5880 §6.8.4).
    let cases = [
        (100, 100, 3, 300),
        (100, 1_000, 5, 5_000),
        (200, 100, 3, 600),
        (100, 100, 1, 100),
    ];
    for (own_ms, peer_ms, multiplier, expected_ms) in cases {
        let interval = Duration::from_millis(own_ms);
        let mut session = fresh(Probing {
            interval,
            ..PROBING
        });
        let message = Message {
            desired_min_tx_us: peer_ms * 1_000,
            multiplier,
            ..said(State::Init, 1, &session)
        };
        assert_eq!(session.on_message(START, &message), Taken::Newest);
        let detected = START + Duration::from_millis(expected_ms);
        session.on_time(START + (Duration::from_millis(expected_ms) - NANO));
        assert_eq!((session.state, session.proven()), (State::Up, Some(true)));
        session.sent(START, true);
        session.send_at = Instant::FAR_FUTURE;
        assert_eq!(session.due_at(), detected);
        session.on_time(detected);
        assert_eq!(
            (session.state, session.standing()),
            (State::Down, Standing::Down)
        );
        let told = session.message(START);
        assert_eq!(told.diagnostic, Diagnostic::TIME_EXPIRED);
        assert_eq!(
            told.your_discriminator, 0,
            "RFC 5880 §6.8.1: forgotten with silence"
        );
        assert_eq!(session.send_at, detected, "and told at once");
    }
}

#[test]
fn a_fresh_session_is_presumed_up_for_a_detection_time_and_two_round_trips() {
    let mut session = fresh(PROBING);
    let until = START + Duration::from_millis(300 + 2 * 52);
    session.on_time(START + (Duration::from_millis(404) - NANO));
    assert_eq!((session.proven(), session.standing()), (None, Standing::Up));
    session.send_at = Instant::FAR_FUTURE;
    assert_eq!(session.due_at(), until);
    session.on_time(until);
    assert_eq!(
        (session.proven(), session.standing()),
        (Some(false), Standing::Down)
    );
}

#[test]
fn probes_are_sent_at_the_interval_less_up_to_a_quarter() {
    // Multiplier, the peer's least interval, and the gaps in nanoseconds (RFC 5880 §6.8.7).
    let cases = [
        (3, 100_000, 75_000_000..=100_000_000),
        (3, 400_000, 300_000_000..=400_000_000),
        (1, 100_000, 75_000_000..=90_000_000),
    ];
    for (multiplier, peer_min_rx_us, gaps) in cases {
        let mut session = fresh(Probing {
            multiplier,
            ..PROBING
        });
        let message = Message {
            required_min_rx_us: peer_min_rx_us,
            ..said(State::Init, 1, &session)
        };
        assert_eq!(session.on_message(START, &message), Taken::Newest);
        let (mut least, mut most) = (u64::MAX, 0);
        for _ in 0..1_000 {
            let before = session.send_at;
            session.sent(before, true);
            let gap = nanos(session.send_at - before);
            assert!(gaps.contains(&gap), "{gap} ns");
            (least, most) = (least.min(gap), most.max(gap));
        }
        let spread = gaps.end() - gaps.start();
        assert!(most - least > spread / 10 * 9, "the whole of it is used");
    }
}

#[test]
fn a_probe_that_no_slot_was_free_for_keeps_its_number() {
    let mut session = up();
    let number = session.message(START).sequence;
    session.sent(START, false);
    assert_eq!(session.message(START).sequence, number);
    session.sent(START, true);
    assert_eq!(session.message(START).sequence, number + 1);
}

/// Hears `count` probes of the peer, of which one in `one_in` is lost (none at 0), from `sequence` on.
fn hears_with_loss(session: &mut Session, sequence: u32, count: u32, one_in: u32) -> u32 {
    for number in sequence..sequence + count {
        if one_in == 0 || number % one_in != 0 {
            hears(session, START, State::Up, number);
        }
    }
    sequence + count
}

#[test]
fn a_path_is_grey_when_probes_to_us_are_lost_and_until_that_has_ceased() {
    let mut session = up();
    let next = hears_with_loss(&mut session, 2, 23, 5);
    assert_eq!(session.standing(), Standing::Up, "four of them are missing");
    let next = hears_with_loss(&mut session, next, 1, 5);
    assert_eq!(
        session.standing(),
        Standing::Up,
        "the fifth is not missed before the next arrives"
    );
    let next = hears_with_loss(&mut session, next, 1, 5);
    assert_eq!(session.standing(), Standing::Grey { lost: 5 });
    // The last loss leaves the window 64 probes later, and calm lasts for 32.
    let next = hears_with_loss(&mut session, next, 52 + u32::from(CALM_MIN) - 1, 0);
    assert!(
        matches!(session.standing(), Standing::Grey { .. }),
        "not yet: {next}"
    );
    hears_with_loss(&mut session, next, 12, 0);
    assert_eq!(session.standing(), Standing::Up);
}

#[test]
fn a_path_is_grey_when_only_the_peer_misses_probes() {
    let mut session = up();
    let mut message = said(State::Up, 2, &session);
    message.heard = !0b1111_0000;
    assert_eq!(session.on_message(START, &message), Taken::Newest);
    assert_eq!(session.standing(), Standing::Up);
    message.sequence = 3;
    message.heard = !0b1111_1000;
    assert_eq!(session.on_message(START, &message), Taken::Newest);
    assert_eq!(session.standing(), Standing::Grey { lost: 5 });
}

#[test]
fn the_share_that_is_asked_for_counts_above_the_least_number() {
    let most = Probing {
        grey_loss_ppm: 250_000,
        ..PROBING
    };
    let mut session = up();
    session.retune(most, Mechanisms::ALL, RTT);
    let mut message = said(State::Up, 2, &session);
    message.heard = u64::MAX << 16;
    assert_eq!(session.on_message(START, &message), Taken::Newest);
    assert_eq!(
        session.standing(),
        Standing::Up,
        "16 of 64 is a quarter, not more"
    );
    message.heard = u64::MAX << 17;
    assert_eq!(session.on_message(START, &message), Taken::Newest);
    assert_eq!(session.standing(), Standing::Grey { lost: 17 });
    let off = Mechanisms {
        grey: false,
        ..Mechanisms::ALL
    };
    session.retune(most, off, RTT);
    assert_eq!(session.standing(), Standing::Up, "grey is turned off");
}

#[test]
fn an_outage_is_no_loss_once_it_is_over() {
    let mut session = up();
    session.on_time(START + Duration::from_millis(300));
    hears(&mut session, START, State::Down, 40);
    hears(&mut session, START, State::Up, 41);
    assert_eq!(
        (session.state, session.standing()),
        (State::Up, Standing::Up)
    );
}

#[test]
fn a_loss_of_a_thousandth_is_no_false_alarm_in_a_day() {
    let mut session = up();
    let mut wire = Seed(3).stream("wire", "loss");
    let (mut number, day) = (2_u32, 24 * 3_600 * 1_000 / 88);
    for _ in 0..day {
        if !wire.one_in_ppm(1_000) {
            hears(&mut session, START, State::Up, number);
        }
        assert_eq!(session.standing(), Standing::Up, "probe {number}");
        number += 1;
    }
}
