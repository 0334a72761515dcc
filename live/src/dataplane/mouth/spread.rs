//! Over how many source ports packets are spread: over all, but for a load of small trains.
//!
//! What leaves by one port for one peer goes in trains, whatever its flow, and comes in by one socket there; what leaves by
//! several takes equal paths of routers (RFC 8086 §3.2.1) and keeps several of the peer's workers busy. Bulk fills trains
//! flow by flow. Requests of many flows do not, while a train of them costs little more than one: they get as few ports as
//! carry them.
//!
//! The load is that of the busier direction, since acknowledgements are to be spread like what they acknowledge: the
//! kernel hands a flow's packets to the queue of a TUN that its answers are written to.
//!
//! A flow keeps its port while their number stays. Where that changes most flows move, and what they have on the way may
//! be overtaken, once; so bulk finds all ports in use.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyedge_net::time::Instant;

use super::SOURCES;

/// How long a load is measured for.
const WINDOW: Duration = Duration::from_millis(100);
/// With fewer trains per second there is nothing to win.
const TRAINS_MIN: u64 = 2_000;
/// Datagrams of a train that is not small.
const TRAIN_MIN: u64 = 4;
/// The load of one port, in bytes per second: a fifth of what one worker receives in full-size datagrams.
const PORT_LOAD: u64 = 250_000_000;
/// A short datagram is as much work as one of so many bytes.
const DATAGRAM_WEIGHT: u64 = 1_250;
/// Ports that a load asked for stay in use for so long behind it.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Only trains that were small for so long are a load of small trains: bulk begins with some, too.
const SETTLED_AFTER: Duration = Duration::from_millis(300);

/// The number of ports in use, and the load that it follows.
#[derive(Debug)]
pub(super) struct Spread {
    /// A power of two, [`SOURCES`] at most.
    in_use: AtomicUsize,
    sent: Count,
    received: Count,
    /// When the window ends, in nanoseconds.
    ends: AtomicU64,
    window: Mutex<Window>,
}

/// What went one way since the window began.
#[derive(Debug, Default)]
struct Count {
    trains: AtomicU64,
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    /// Until then no port goes out of use.
    kept_until: Instant,
}

impl Spread {
    /// All ports in use.
    pub(super) fn new() -> Self {
        Self {
            in_use: AtomicUsize::new(SOURCES),
            sent: Count::default(),
            received: Count::default(),
            ends: AtomicU64::new(0),
            window: Mutex::new(Window {
                began: Instant::ZERO,
                kept_until: Instant::ZERO,
            }),
        }
    }

    /// Which of the ports a flow of that entropy leaves by, by number, below [`SOURCES`].
    pub(super) fn source_of(&self, entropy: u16) -> usize {
        let in_use = self.in_use.load(Ordering::Relaxed);
        (usize::from(entropy) * in_use) >> 16
    }

    /// A train left, of so many datagrams, together so long.
    pub(super) fn sent(&self, datagrams: usize, bytes: usize) {
        self.sent.add(datagrams, bytes);
    }

    /// One came, or several.
    pub(super) fn received(&self, datagrams: usize, bytes: usize) {
        self.received.add(datagrams, bytes);
    }

    /// At the end of a window: has as many ports in use as it asks for.
    pub(super) fn follow(&self, now: Instant) {
        if now.as_nanos() < self.ends.load(Ordering::Relaxed) {
            return;
        }
        // Whoever else is here does the same.
        let Ok(mut window) = self.window.try_lock() else {
            return;
        };
        let lasted = now.since(window.began);
        window.began = now;
        self.ends
            .store((now + WINDOW).as_nanos(), Ordering::Relaxed);
        let sent = self.sent.take(lasted);
        let load = sent.load().max(self.received.take(lasted).load());
        let needed = (load / PORT_LOAD + 1).min(SOURCES as u64) as usize;
        let needed = needed.next_power_of_two();
        let carries_much = needed > 1 && needed >= self.in_use.load(Ordering::Relaxed);
        let is_idle = sent.trains < TRAINS_MIN;
        let is_small = !is_idle && sent.datagrams < sent.trains * TRAIN_MIN;
        let number = if carries_much {
            window.kept_until = now + KEPT_FOR;
            needed
        } else if !is_small {
            window.kept_until = window.kept_until.max(now + SETTLED_AFTER);
            if !is_idle {
                return;
            }
            SOURCES
        } else if now >= window.kept_until {
            needed
        } else {
            return;
        };
        self.in_use.store(number, Ordering::Relaxed);
    }
}

impl Count {
    fn add(&self, datagrams: usize, bytes: usize) {
        self.trains.fetch_add(1, Ordering::Relaxed);
        self.datagrams
            .fetch_add(datagrams as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was counted in so long; from here on it is counted anew.
    fn take(&self, lasted: Duration) -> Rates {
        let millis = lasted.as_millis().max(1) as u64;
        let per_second = |count: &AtomicU64| {
            let count = count.swap(0, Ordering::Relaxed);
            count.saturating_mul(1_000) / millis
        };
        Rates {
            trains: per_second(&self.trains),
            datagrams: per_second(&self.datagrams),
            bytes: per_second(&self.bytes),
        }
    }
}

/// What goes one way per second.
struct Rates {
    trains: u64,
    datagrams: u64,
    bytes: u64,
}

impl Rates {
    /// The work that it is, in bytes per second.
    fn load(&self) -> u64 {
        self.bytes.max(self.datagrams * DATAGRAM_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Trains per 100 ms, and the datagrams and bytes of each.
    type Load = (usize, usize, usize);
    const IDLE: Load = (10, 1, 100);
    /// Of one datagram for each of many flows.
    const REQUESTS: Load = (6_000, 1, 200);
    const BULK: Load = (2_000, 44, 64_000);

    /// A spread and its time.
    struct Line(Spread, Instant);

    impl Line {
        fn new() -> Self {
            Self(Spread::new(), Instant::ZERO)
        }

        /// The number of ports in use after 100 ms of each load.
        fn after(&mut self, loads: &[Load]) -> Vec<usize> {
            let Self(spread, now) = self;
            let after = |&(trains, datagrams, bytes): &Load| {
                for _ in 0..trains {
                    spread.sent(datagrams, bytes);
                }
                *now += WINDOW;
                spread.follow(*now);
                let ports = (0..=u16::MAX).map(|flow| spread.source_of(flow));
                ports.collect::<BTreeSet<_>>().len()
            };
            loads.iter().map(after).collect()
        }
    }

    #[test]
    fn requests_share_a_port_and_find_all_again_behind_them() {
        let seen = Line::new().after(&[IDLE, REQUESTS, REQUESTS, REQUESTS, REQUESTS, IDLE]);
        assert_eq!(seen, [8, 8, 8, 1, 1, 8]);
    }

    #[test]
    fn bulk_keeps_all_ports_from_its_beginning_on() {
        let begins = (400, 2, 2_800);
        let seen = Line::new().after(&[IDLE, begins, BULK, (300, 44, 64_000), BULK, IDLE]);
        assert_eq!(seen, [8; 6]);
    }

    #[test]
    fn bulk_beside_requests_has_all_ports_and_keeps_them_for_a_while() {
        let mut line = Line::new();
        assert_eq!(
            line.after(&[REQUESTS, REQUESTS, BULK, REQUESTS]),
            [1, 1, 8, 8]
        );
        assert_eq!(line.after(&[REQUESTS; 8]), [8; 8]);
        assert_eq!(line.after(&[REQUESTS]), [1]);
    }

    #[test]
    fn requests_have_as_many_ports_as_carry_them() {
        let (much, more) = ((21_000, 1, 100), (41_000, 1, 100));
        assert_eq!(
            Line::new().after(&[REQUESTS, much, REQUESTS, more]),
            [1, 2, 2, 4]
        );
    }

    #[test]
    fn acknowledgements_are_spread_like_what_they_acknowledge() {
        let mut line = Line::new();
        for _ in 0..2_000 {
            line.0.received(44, 64_000);
        }
        assert_eq!(line.after(&[REQUESTS]), [8]);
    }

    #[test]
    fn a_window_that_lasted_is_no_load() {
        let Line(spread, _) = Line::new();
        for _ in 0..2_000 {
            spread.sent(44, 64_000);
            spread.sent(1, 64);
        }
        let hour = Duration::from_secs(3_600);
        spread.follow(Instant::ZERO + hour);
        assert_eq!(spread.source_of(u16::MAX), SOURCES - 1);
    }
}
