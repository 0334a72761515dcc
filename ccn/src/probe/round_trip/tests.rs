//! Round trips of two ends whose clocks have nothing to do with each other.

use proptest::prelude::*;

use super::*;
use crate::probe::message::{Diagnostic, State};

const MS: Duration = Duration::from_millis(1);
const DECLARED: Duration = Duration::from_millis(50);
const INTERVAL: Duration = Duration::from_millis(100);

/// A probe that says these times, and nothing else of note.
fn message((sent_us, echo_us, held_us): (u32, u32, u32)) -> Message {
    Message {
        diagnostic: Diagnostic::NONE,
        state: State::Up,
        multiplier: 3,
        my_discriminator: 1,
        your_discriminator: 2,
        desired_min_tx_us: 1,
        required_min_rx_us: 1,
        sequence: 1,
        heard_highest: 1,
        heard: u64::MAX,
        revision: 1,
        reaches: 0,
        sent_us,
        echo_us,
        held_us,
    }
}

/// Two ends that probe each other in turn, each by its own clock.
struct Pair {
    now: Duration,
    clocks: [Duration; 2],
    ends: [RoundTrip; 2],
}

impl Pair {
    fn new(clocks: [Duration; 2]) -> Pair {
        let end = RoundTrip::declared(DECLARED);
        Pair {
            now: Duration::ZERO,
            clocks,
            ends: [end.clone(), end],
        }
    }

    fn clock(&self, end: usize) -> Instant {
        Instant::ZERO + self.clocks[end] + self.now
    }

    /// For that long each end sends a probe in every interval, which takes so long there.
    fn probe(&mut self, during: Duration, ways: [Duration; 2]) {
        let end = self.now + during;
        while self.now < end {
            for from in [0, 1] {
                let said = message(self.ends[from].says(self.clock(from)));
                self.now += ways[from];
                let heard_at = self.clock(1 - from);
                self.ends[1 - from].hear(heard_at, &said, true);
            }
            self.now += INTERVAL;
        }
    }

    fn costs_ms(&self) -> [u128; 2] {
        [0, 1].map(|end| self.ends[end].cost().as_millis())
    }
}

fn apart() -> Pair {
    Pair::new([Duration::from_secs(7_000_000), Duration::from_millis(13)])
}

#[test]
fn both_ends_know_the_round_trip_whatever_their_clocks_say_and_whichever_way_is_slower() {
    let mut pair = apart();
    pair.probe(Duration::from_secs(5), [180 * MS, 20 * MS]);
    assert_eq!(pair.costs_ms(), [200, 200]);
}

#[test]
fn a_cost_goes_up_at_once_and_down_when_that_has_lasted() {
    let mut pair = apart();
    pair.probe(Duration::from_secs(30), [25 * MS, 25 * MS]);
    assert_eq!(pair.costs_ms(), [50, 50]);
    pair.probe(Duration::from_secs(6), [75 * MS, 75 * MS]);
    let risen = pair.costs_ms();
    assert!(risen.iter().all(|ms| (130..=150).contains(ms)), "{risen:?}");
    pair.probe(SETTLE_AFTER, [25 * MS, 25 * MS]);
    assert_eq!(pair.costs_ms(), risen);
    pair.probe(2 * SETTLE_AFTER, [25 * MS, 25 * MS]);
    let fallen = pair.costs_ms();
    assert!(fallen.iter().all(|ms| (50..=56).contains(ms)), "{fallen:?}");
}

#[test]
fn a_delay_that_comes_and_goes_costs_what_it_costs_at_its_worst() {
    let mut pair = apart();
    let mut seen = Vec::new();
    for turn in 0..20 {
        let way = if turn % 2 == 0 { 100 * MS } else { 25 * MS };
        pair.probe(Duration::from_secs(3), [way, way]);
        seen.push(pair.costs_ms()[0]);
    }
    assert!(seen[1..].iter().all(|ms| *ms > 150), "{seen:?}");
}

#[test]
fn little_more_or_less_than_the_table_says_is_what_the_table_says() {
    for (way, cost) in [(24 * MS, 50), (27 * MS, 50), (28 * MS, 56)] {
        let mut pair = apart();
        pair.probe(Duration::from_secs(60), [way, way]);
        let costs = pair.costs_ms();
        assert!(
            costs.iter().all(|ms| ms.abs_diff(cost) <= 1),
            "{way:?}: {costs:?}"
        );
    }
}

#[test]
fn the_first_few_round_trips_change_nothing_nor_do_those_that_do_not_count() {
    let mut end = RoundTrip::declared(DECLARED);
    let now = Instant::ZERO + Duration::from_secs(9);
    let told = message((5, 8_000_000, 0));
    for _ in 1..SAMPLES_MIN {
        end.hear(now, &told, true);
    }
    for _ in 0..100 {
        end.hear(now, &told, false);
    }
    assert_eq!(end.cost(), DECLARED);
    end.hear(now, &told, true);
    assert_eq!(end.cost(), Duration::from_secs(1));
    end.retune(DECLARED, true);
    assert_eq!(end.cost(), Duration::from_secs(1), "the same table");
    end.retune(2 * DECLARED, true);
    assert_eq!(end.cost(), 2 * DECLARED, "another one");
}

#[test]
fn what_was_heard_too_long_ago_or_never_tells_nothing() {
    let end = RoundTrip::declared(DECLARED);
    assert_eq!(end.says(Instant::from_nanos(3_000)), (3, 0, NOT_HELD));
    let mut end = RoundTrip::declared(DECLARED);
    end.hear(Instant::ZERO, &message((9, 0, NOT_HELD)), true);
    let at = |s| Instant::ZERO + Duration::from_secs(s);
    assert_eq!(end.says(at(60)), (60_000_000, 9, 60_000_000));
    assert_eq!(end.says(at(61)), (61_000_000, 0, NOT_HELD));
    assert_eq!(end.says(at(90_000)).2, NOT_HELD);
}

proptest! {
    #[test]
    fn no_probe_makes_a_round_trip_longer_than_a_minute(
        times in prop::collection::vec(any::<(u32, u32, u32, u32)>(), 1..50),
    ) {
        let mut end = RoundTrip::declared(DECLARED);
        let mut now = Instant::ZERO;
        for (later, sent_us, echo_us, held_us) in times {
            now += Duration::from_micros(u64::from(later));
            end.hear(now, &message((sent_us, echo_us, held_us)), true);
            prop_assert!(end.cost() <= Duration::from_micros(u64::from(LONGEST_US)));
        }
    }
}
