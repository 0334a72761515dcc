//! The wheel against a list of deadlines.

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

#[test]
fn an_empty_wheel_asks_for_nothing() {
    let mut wheel = Expiry::new(4);
    assert_eq!(wheel.wake_at(), None);
    let id = wheel
        .claim(at(0), at(30_000))
        .expect("four numbers are free");
    assert_eq!(wheel.wake_at(), Some(at(30_250)));
    wheel.release(id);
    assert_eq!(wheel.wake_at(), None);
    assert_eq!(wheel.pop_due(at(1_000_000)), None);
}

#[test]
fn an_entry_is_due_when_its_tick_has_ended_and_not_before() {
    let mut wheel = Expiry::new(1);
    let id = wheel.claim(at(0), at(1_100)).expect("one number is free");
    assert_eq!(wheel.pop_due(Instant::from_nanos(1_249_999_999)), None);
    assert_eq!(wheel.pop_due(at(1_250)), Some(id));
    assert_eq!(wheel.pop_due(at(1_250)), None);
}

#[test]
fn a_deadline_beyond_the_wheel_is_looked_at_early_and_armed_again() {
    let mut wheel = Expiry::new(1);
    let id = wheel
        .claim(at(0), at(5_000_000))
        .expect("one number is free");
    let first = wheel.wake_at().expect("one entry is armed");
    assert_eq!(first, at(1_024_000));
    assert_eq!(wheel.pop_due(first), Some(id));
    wheel.arm(id, at(1_500_000));
    assert_eq!(wheel.wake_at(), Some(at(1_500_250)));
}

#[test]
fn a_wheel_long_idle_does_not_wake_at_once() {
    let mut wheel = Expiry::new(1);
    wheel
        .claim(at(100_000_000), at(100_030_000))
        .expect("one number is free");
    assert_eq!(wheel.wake_at(), Some(at(100_030_250)));
}

#[test]
fn only_a_nearer_deadline_moves_an_entry() {
    let mut wheel = Expiry::new(1);
    let id = wheel.claim(at(0), at(30_000)).expect("one number is free");
    wheel.shorten(id, at(900_000));
    assert_eq!(wheel.wake_at(), Some(at(30_250)));
    wheel.shorten(id, at(10_000));
    assert_eq!(wheel.wake_at(), Some(at(10_250)));
}

#[test]
fn a_full_wheel_gives_no_number_until_one_comes_back() {
    let mut wheel = Expiry::new(2);
    let first = wheel.claim(at(0), at(1)).expect("two numbers are free");
    wheel.claim(at(0), at(1)).expect("one number is free");
    assert_eq!(wheel.claim(at(0), at(1)), None);
    wheel.release(first);
    assert_eq!(wheel.claim(at(0), at(1)), Some(first));
    assert!(wheel.is_full());
}

#[derive(Clone, Debug)]
enum Act {
    Claim { after_ms: u64 },
    Release { which: usize },
    Shorten { which: usize, after_ms: u64 },
    Pass { ms: u64 },
}

fn any_act() -> impl Strategy<Value = Act> {
    let after_ms = || prop_oneof![0_u64..2_000, 0_u64..1_100_000, Just(3_000_000)];
    prop_oneof![
        3 => after_ms().prop_map(|after_ms| Act::Claim { after_ms }),
        1 => any::<usize>().prop_map(|which| Act::Release { which }),
        2 => (any::<usize>(), after_ms()).prop_map(|(which, after_ms)| Act::Shorten { which, after_ms }),
        2 => prop_oneof![0_u64..3_000, 0_u64..2_000_000].prop_map(|ms| Act::Pass { ms }),
    ]
}

/// Collects all that is due, arming again what is popped early; returns what was collected.
fn collect(wheel: &mut Expiry, list: &[(u32, Instant)], now: Instant) -> Vec<u32> {
    let mut collected = Vec::new();
    while let Some(id) = wheel.pop_due(now) {
        let (_, deadline) = list
            .iter()
            .find(|(entry, _)| *entry == id)
            .expect("only claimed numbers are armed");
        if is_due(*deadline, now) {
            wheel.release(id);
            collected.push(id);
        } else {
            wheel.arm(id, *deadline);
        }
    }
    collected.sort_unstable();
    collected
}

proptest! {
    #[test]
    fn it_collects_exactly_what_a_list_of_deadlines_says(acts in proptest::collection::vec(any_act(), 1..120)) {
        let mut wheel = Expiry::new(16);
        let mut list: Vec<(u32, Instant)> = Vec::new();
        let mut now = at(77_000);
        for act in acts {
            match act {
                Act::Claim { after_ms } => {
                    let deadline = now + Duration::from_millis(after_ms);
                    let id = wheel.claim(now, deadline);
                    prop_assert_eq!(id.is_some(), list.len() < 16);
                    list.extend(id.map(|id| (id, deadline)));
                }
                Act::Release { which } if !list.is_empty() => {
                    let (id, _) = list.swap_remove(which % list.len());
                    wheel.release(id);
                }
                Act::Shorten { which, after_ms } if !list.is_empty() => {
                    let which = which % list.len();
                    let (id, deadline) = &mut list[which];
                    *deadline = now + Duration::from_millis(after_ms);
                    wheel.shorten(*id, *deadline);
                }
                Act::Release { .. } | Act::Shorten { .. } => {}
                Act::Pass { ms } => {
                    now += Duration::from_millis(ms);
                    let mut expected: Vec<u32> =
                        list.iter().filter(|(_, deadline)| is_due(*deadline, now)).map(|(id, _)| *id).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(collect(&mut wheel, &list, now), expected.clone());
                    list.retain(|(id, _)| !expected.contains(id));
                    prop_assert!(wheel.wake_at().is_none_or(|wake| wake > now), "nothing due is left");
                }
            }
            prop_assert_eq!(wheel.len(), list.len());
            prop_assert_eq!(wheel.armed().count(), list.len(), "each is in exactly one slot");
            let latest = list.iter().map(|(_, deadline)| *deadline + TICK).min();
            if let (Some(wake), Some(latest)) = (wheel.wake_at(), latest) {
                prop_assert!(wake <= latest, "never later than a deadline and its tick");
            }
        }
    }
}
