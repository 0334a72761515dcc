//! How long a backend works on a request before it answers, as the file says of its targets.
//!
//! Each time is drawn when the request has arrived. With a number of workers a request waits for the first of them that
//! is free, in the order of arrival, so that the end of its service is known at once: no queue has to be kept, only when
//! each worker is free again. A client that gives up does not shorten the work.

use core::cmp::Reverse;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Mutex;

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use anyedge_topologies::Service;

/// The servers of a backend that need time.
#[derive(Default)]
pub(super) struct Desks(BTreeMap<SocketAddr, Mutex<Desk>>);

/// One server.
struct Desk {
    service: Service,
    rng: Rng,
    /// When each of the busy workers is free.
    free: BinaryHeap<Reverse<Instant>>,
}

impl Desks {
    pub(super) fn of(host: &impl Host, services: &[(SocketAddr, Service)]) -> Desks {
        let desk = |(at, service): &(SocketAddr, Service)| {
            let desk = Desk {
                service: service.clone(),
                rng: host.rng(&format!("service {at}")),
                free: BinaryHeap::new(),
            };
            (*at, Mutex::new(desk))
        };
        Desks(services.iter().map(desk).collect())
    }

    /// When a request that arrived at `now` is done; `None`: at once.
    pub(super) fn done(&self, at: SocketAddr, now: Instant) -> Option<Instant> {
        let desk = self.0.get(&at)?;
        Some(desk.lock().expect("no holder of a desk panics").done(now))
    }
}

impl Desk {
    fn done(&mut self, now: Instant) -> Instant {
        let time = self.service.time.draw_time(&mut self.rng);
        let Some(workers) = self.service.workers else {
            return now + time;
        };
        let mut begin = now;
        if self.free.len() >= workers as usize
            && let Some(Reverse(free)) = self.free.pop()
        {
            begin = begin.max(free);
        }
        let done = begin + time;
        self.free.push(Reverse(done));
        done
    }
}

#[cfg(test)]
mod tests {
    use anyedge_net::rng::Seed;
    use anyedge_net::time::nanos;
    use anyedge_topologies::{Drawn, Shape};
    use core::time::Duration;

    use super::*;

    fn desk(shape: Shape, workers: Option<u32>) -> Desk {
        Desk {
            service: Service {
                time: Drawn {
                    shape,
                    least: 0,
                    most: 1 << 40,
                },
                workers,
            },
            rng: Seed(7).stream("test", "service"),
            free: BinaryHeap::new(),
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn requests_wait_for_the_first_free_worker_in_their_order() {
        let mut desk = desk(Shape::Fixed(10_000_000), Some(2));
        let done: Vec<Instant> = [0, 0, 0, 5, 40].map(|now| desk.done(at(now))).into();
        assert_eq!(done, [at(10), at(10), at(20), at(20), at(50)]);
    }

    #[test]
    fn without_workers_nobody_waits() {
        let mut desk = desk(Shape::Fixed(10_000_000), None);
        assert!((0..9).all(|_| desk.done(at(3)) == at(13)));
    }

    /// M/M/1 at 70 %: the mean time in the system is 1 / (mu - lambda).
    #[test]
    fn one_worker_with_exponential_times_is_an_m_m_1_queue() {
        let mut desk = desk(Shape::Exponential { mean: 1_000_000 }, Some(1));
        let mut arrivals = Seed(3).stream("test", "arrivals");
        let (mut now, mut total, count) = (Instant::ZERO, 0.0, 400_000);
        for _ in 0..count {
            now += arrivals.exponential(Duration::from_nanos(1_428_571));
            total += nanos(desk.done(now) - now) as f64;
        }
        let mean = total / f64::from(count) / 1e6;
        assert!((mean / (1.0 / (1.0 - 0.7)) - 1.0).abs() < 0.03, "{mean} ms");
    }
}
