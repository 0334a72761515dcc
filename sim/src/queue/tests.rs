//! What leaves the queue, and in which order: compared with a map, and the cases that a map has not.

use super::*;
use anyedge_net::rng::Seed;
use std::collections::BTreeMap;

impl Ahead for usize {
    fn fetch(&self) {}
}

impl Ahead for u64 {
    fn fetch(&self) {}
}

impl Ahead for char {
    fn fetch(&self) {}
}

/// The next event, in nanoseconds.
fn pop<T: Ahead>(queue: &mut EventQueue<T>) -> Option<(u64, T)> {
    let next = queue.next()?;
    let payload = queue.take(next);
    Some((next.at().as_nanos(), payload?))
}

/// Random pushes and pops, in that many lanes and in none, compared with a map that is obviously right.
fn agree(seed: u64, spread: u64, lanes: u64, steps: usize) {
    let mut rng = Seed(seed).stream("queue", "test");
    let mut queue = EventQueue::new();
    let mut model = BTreeMap::new();
    let (mut now, mut tie) = (0u64, 0u64);
    for step in 0..steps {
        if rng.below(100) < 55 || model.is_empty() {
            let ahead = rng.below(spread) >> rng.below(40);
            let lane = rng.below(lanes + 1) as usize;
            // Ties come in no order.
            tie += 1;
            let shuffled = tie.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let at = Instant::from_nanos(now + ahead);
            match lane {
                0 => queue.push(at, shuffled, step),
                // Those that would overtake are among them.
                lane => queue.push_in_lane(lane - 1, at, shuffled, step),
            }
            model.insert((now + ahead, shuffled), step);
        } else {
            let ((at, _), expected) = model.pop_first().expect("checked above");
            assert_eq!(pop(&mut queue), Some((at, expected)));
            now = at;
        }
        assert_eq!(queue.len(), model.len());
    }
    while let Some(((at, _), expected)) = model.pop_first() {
        assert_eq!(pop(&mut queue), Some((at, expected)));
    }
    assert_eq!(pop(&mut queue), None);
}

#[test]
fn events_leave_in_total_order_at_every_scale() {
    for (seed, spread) in [
        (1, 100),
        (2, 10_000),
        (3, 10_000_000),
        (4, 1 << 36),
        (5, 1 << 44),
        (6, 1 << 50),
    ] {
        for lanes in [0, 1, 40] {
            agree(seed, spread, lanes, 20_000);
        }
    }
}

#[test]
fn an_event_that_would_overtake_in_its_lane_does() {
    let mut queue = EventQueue::new();
    for (at, name) in [(10, 'a'), (30, 'c'), (20, 'b'), (40, 'd')] {
        queue.push_in_lane(0, Instant::from_nanos(at), 1, name);
    }
    let order: Vec<char> = core::iter::from_fn(|| pop(&mut queue))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(order, ['a', 'b', 'c', 'd']);
}

#[test]
fn an_event_pushed_into_the_bucket_in_work_takes_its_place() {
    let mut queue = EventQueue::new();
    queue.push(Instant::from_nanos(10), 2, 'b');
    queue.push(Instant::from_nanos(12), 0, 'd');
    assert_eq!(pop(&mut queue), Some((10, 'b')));
    queue.push(Instant::from_nanos(11), 9, 'c');
    assert_eq!(pop(&mut queue), Some((11, 'c')));
    assert_eq!(pop(&mut queue), Some((12, 'd')));
}

#[test]
fn draining_gives_back_what_was_pending() {
    let mut queue = EventQueue::new();
    for n in 0..50u64 {
        queue.push(Instant::from_nanos(n << 30), n, n);
        queue.push_in_lane(3, Instant::from_nanos(n << 20), n, n);
    }
    pop(&mut queue);
    assert_eq!(queue.drain().count(), 99);
    assert_eq!(queue.len(), 0);
}
