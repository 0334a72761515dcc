//! Two sessions on a wire that loses what it is told to, in virtual time.

use anyedge_net::rng::Seed;

use super::*;

const WIRE: Duration = Duration::from_millis(5);

struct Wire {
    now: Instant,
    ends: [Session; 2],
    flying: Vec<(Instant, usize, Packet)>,
    /// What reaches each end is lost at this rate.
    loss_ppm: [u32; 2],
    rng: Rng,
    sent: [Vec<(Instant, Packet)>; 2],
    events: [Vec<(Instant, Event)>; 2],
}

fn config(interval_ms: u32) -> Config {
    Config {
        desired_min_tx_us: interval_ms * 1_000,
        required_min_rx_us: interval_ms * 1_000,
        detect_multiplier: 3,
    }
}

impl Wire {
    fn new(configs: [Config; 2], seed: u64) -> Wire {
        let session = |end: usize| {
            let rng = Seed(seed).stream(["a", "b"][end], "bfd");
            Session::new(Instant::ZERO, configs[end], rng)
        };
        Wire {
            now: Instant::ZERO,
            ends: [session(0), session(1)],
            flying: Vec::new(),
            loss_ppm: [0, 0],
            rng: Seed(seed).stream("wire", "loss"),
            sent: [Vec::new(), Vec::new()],
            events: [Vec::new(), Vec::new()],
        }
    }

    fn up() -> Wire {
        let mut wire = Wire::new([config(50); 2], 1);
        wire.pass(Duration::from_secs(5));
        assert_eq!(wire.states(), [State::Up; 2]);
        wire.events = [Vec::new(), Vec::new()];
        wire.sent = [Vec::new(), Vec::new()];
        wire
    }

    fn states(&self) -> [State; 2] {
        self.ends.each_ref().map(Session::state)
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for at in [0, 1] {
                let session = &mut self.ends[at];
                session.handle_timeout(self.now);
                while let Some(packet) = session.poll_packet(self.now) {
                    self.sent[at].push((self.now, packet));
                    let is_lost = self.rng.one_in_ppm(self.loss_ppm[1 - at]);
                    if !is_lost {
                        self.flying.push((self.now + WIRE, 1 - at, packet));
                    }
                }
                while let Some(event) = session.poll_event() {
                    self.events[at].push((self.now, event));
                }
            }
            let due = self.ends.iter().filter_map(Session::poll_timeout);
            let due = due.map(|deadline| deadline.at);
            let next = due.chain(self.flying.iter().map(|(at, ..)| *at)).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            let now = self.now;
            let (arrived, flying) = core::mem::take(&mut self.flying)
                .into_iter()
                .partition(|(at, ..)| *at <= now);
            self.flying = flying;
            let arrived: Vec<(Instant, usize, Packet)> = arrived;
            for (_, to, packet) in arrived {
                self.ends[to].handle_packet(now, &packet);
            }
        }
        self.now = end;
    }

    fn downs(&self, end: usize) -> Vec<(Instant, Diagnostic)> {
        let events = self.events[end].iter();
        let downs = events.filter_map(|(at, event)| match event {
            Event::SessionState {
                to: State::Down,
                diagnostic,
                ..
            } => Some((*at, *diagnostic)),
            Event::SessionState { .. } => None,
        });
        downs.collect()
    }
}

#[test]
fn it_comes_up_by_three_steps_and_then_sends_at_the_agreed_interval() {
    let mut wire = Wire::new([config(50), config(80)], 1);
    wire.pass(Duration::from_secs(3));
    assert_eq!(wire.states(), [State::Up; 2]);
    for end in [0, 1] {
        assert_eq!(wire.downs(end), []);
        // The slower of both counts.
        let expected = Duration::from_millis(80 * 3);
        assert_eq!(wire.ends[end].detection_time(), Some(expected));
        wire.sent[end].clear();
    }
    wire.pass(Duration::from_secs(8));
    for sent in &wire.sent {
        let gaps = sent.windows(2).map(|pair| pair[1].0.since(pair[0].0));
        let (least, most) = gaps.fold((Duration::MAX, Duration::ZERO), |(least, most), gap| {
            (least.min(gap), most.max(gap))
        });
        assert!(least >= Duration::from_millis(60), "{least:?}");
        assert!(most <= Duration::from_millis(80), "{most:?}");
        assert!((100..=134).contains(&sent.len()), "{}", sent.len());
        assert!(
            sent.iter().all(|(_, packet)| !packet.poll),
            "polls have ended"
        );
    }
}

#[test]
fn silence_is_known_within_the_detection_time_and_the_other_end_is_told() {
    let mut wire = Wire::up();
    let cut_at = wire.now;
    wire.loss_ppm = [1_000_000, 0];
    wire.pass(Duration::from_secs(1));
    let (at, why) = wire.downs(0)[0];
    assert_eq!(why, Diagnostic::TIME_EXPIRED);
    let took = at.since(cut_at);
    assert!(took <= Duration::from_millis(150) + WIRE, "{took:?}");
    assert!(took >= Duration::from_millis(100), "{took:?}");
    let (told_at, told) = wire.downs(1)[0];
    assert_eq!(
        (told_at, told),
        (at + WIRE, Diagnostic::NEIGHBOR_SIGNALED_DOWN)
    );
    wire.loss_ppm = [0, 0];
    wire.pass(Duration::from_secs(4));
    assert_eq!(wire.states(), [State::Up; 2]);
}

#[test]
fn one_packet_in_a_hundred_may_be_lost_without_a_flap() {
    // Three in a row are lost once in a million packets: ten minutes have 14,000.
    let mut wire = Wire::up();
    wire.loss_ppm = [10_000; 2];
    wire.pass(Duration::from_secs(600));
    assert_eq!(wire.events, [vec![], vec![]]);
}

#[test]
fn other_intervals_are_polled_for_and_end_no_session() {
    let mut wire = Wire::up();
    for interval in [200, 20, 50] {
        let now = wire.now;
        wire.ends[0].change(now, config(interval));
        wire.pass(Duration::from_millis(400));
        let polls = wire.sent[0].iter().filter(|(_, packet)| packet.poll);
        assert!(polls.count() > 0);
        let answers = wire.sent[1].iter().filter(|(_, packet)| packet.last);
        assert!(answers.count() > 0);
        let agreed = Duration::from_millis(u64::from(interval.max(50)) * 3);
        wire.pass(Duration::from_millis(400));
        for end in &wire.ends {
            assert_eq!(end.detection_time(), Some(agreed));
        }
        wire.sent = [Vec::new(), Vec::new()];
        wire.pass(Duration::from_secs(1));
        assert!(wire.sent[0].iter().all(|(_, packet)| !packet.poll));
    }
    assert_eq!(wire.events, [vec![], vec![]]);
}

#[test]
fn an_operator_holds_it_down_and_lets_it_up_again() {
    let mut wire = Wire::up();
    let now = wire.now;
    wire.ends[0].hold_down(now, true);
    wire.pass(Duration::from_secs(3));
    assert_eq!(wire.states(), [State::AdminDown, State::Down]);
    assert_eq!(wire.downs(1)[0].1, Diagnostic::NEIGHBOR_SIGNALED_DOWN);
    let now = wire.now;
    wire.ends[0].hold_down(now, false);
    wire.pass(Duration::from_secs(3));
    assert_eq!(wire.states(), [State::Up; 2]);
}

#[test]
fn a_neighbour_that_wants_no_packets_gets_none_and_a_strangers_number_means_nothing() {
    let mut wire = Wire::up();
    let now = wire.now;
    let (_, packet) = wire.flying.first().map_or_else(
        || (0, wire.ends[1].poll_packet(now + Duration::from_secs(1))),
        |(_, to, packet)| (*to, Some(*packet)),
    );
    let packet = packet.expect("one is due or on its way");
    let mine = wire.ends[0].discriminator();
    let stranger = Packet {
        your_discriminator: mine ^ 1,
        state: State::Down,
        ..packet
    };
    wire.ends[0].handle_packet(now, &stranger);
    assert_eq!(wire.ends[0].state(), State::Up);
    let silent = Packet {
        your_discriminator: mine,
        required_min_rx_us: 0,
        state: State::Up,
        poll: false,
        ..packet
    };
    wire.ends[0].handle_packet(now, &silent);
    assert_eq!(
        wire.ends[0].poll_packet(now + Duration::from_millis(100)),
        None
    );
}
