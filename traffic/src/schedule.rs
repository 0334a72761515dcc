//! When a host's arrivals are due: settled by the load and the host's randomness alone.
//!
//! This is what makes the load open loop: nothing that comes back can move an arrival. Fixed arrivals are
//! computed from their number, so a rate that does not divide a second does not drift: arrival `k` of the
//! population is at `start + k * per / count`, and host `i` of `n` has those with `k mod n = i`. Poisson
//! arrivals are the running sum of exponential gaps of mean `n * per / count`. A load that is on and off has the same
//! arrivals on a clock that stands while it is off.

use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_net::time::{Instant, nanos};
use anyedge_topologies::Bursts;

use crate::load::{Arrivals, Load, Share};

/// The arrivals of one host, earliest first.
pub struct Schedule {
    process: Process,
    phases: Option<Phases>,
    stop: Instant,
}

/// When a load is on and off.
struct Phases {
    bursts: Bursts,
    rng: Rng,
    start: Instant,
    /// How long it is on until the next pause, since the beginning and without pauses.
    on_until: Duration,
    /// All pauses so far.
    paused: Duration,
}

impl Phases {
    /// When what is due on the clock that stands during pauses is due on the other.
    fn due(&mut self, at: Instant) -> Instant {
        while at - self.start >= self.on_until {
            self.paused += self.bursts.off.draw_time(&mut self.rng);
            self.on_until += self.bursts.on.draw_time(&mut self.rng);
        }
        at + self.paused
    }
}

enum Process {
    Never,
    Fixed {
        start: Instant,
        number: u64,
        step: u64,
        per_nanos: u64,
        count: u64,
    },
    Poisson {
        last: Instant,
        mean: Duration,
        rng: Box<Rng>,
    },
}

impl Schedule {
    /// The arrivals of `share` of `load` on `host`, whose stream `arrivals <stream> <index>` they use.
    pub fn on(host: &impl Host, load: &Load, share: Share) -> Schedule {
        Schedule::new(load, share, |purpose| host.rng(purpose))
    }

    /// The arrivals of `share` of `load`, with randomness from `stream(purpose)`.
    pub fn new(load: &Load, share: Share, stream: impl Fn(&str) -> Rng) -> Schedule {
        assert!(
            share.index < share.of,
            "host {} of {}",
            share.index,
            share.of
        );
        let per_nanos = nanos(load.rate.per);
        let process = match (load.rate.count, load.arrivals) {
            (0, _) => Process::Never,
            (count, Arrivals::Fixed) => Process::Fixed {
                start: load.start,
                number: u64::from(share.index),
                step: u64::from(share.of),
                per_nanos,
                count,
            },
            (count, Arrivals::Poisson) => Process::Poisson {
                last: load.start,
                mean: Duration::from_nanos(spread(u64::from(share.of), per_nanos, count)),
                rng: Box::new(stream(&format!("arrivals {} {}", load.stream, share.index))),
            },
        };
        let phases = load.bursts.as_ref().map(|bursts| {
            let mut rng = stream(&format!("bursts {} {}", load.stream, share.index));
            Phases {
                on_until: bursts.on.draw_time(&mut rng),
                bursts: bursts.clone(),
                rng,
                start: load.start,
                paused: Duration::ZERO,
            }
        });
        Schedule {
            process,
            phases,
            stop: load.stop,
        }
    }
}

impl Iterator for Schedule {
    type Item = Instant;

    #[inline]
    fn next(&mut self) -> Option<Instant> {
        let due = match &mut self.process {
            Process::Never => return None,
            Process::Fixed {
                start,
                number,
                step,
                per_nanos,
                count,
            } => {
                let due = *start + Duration::from_nanos(spread(*number, *per_nanos, *count));
                *number = number.saturating_add(*step);
                due
            }
            Process::Poisson { last, mean, rng } => {
                *last += rng.exponential(*mean);
                *last
            }
        };
        let due = self.phases.as_mut().map_or(due, |phases| phases.due(due));
        if due >= self.stop {
            self.process = Process::Never;
            return None;
        }
        Some(due)
    }
}

/// `number * per / count`, saturating.
fn spread(number: u64, per_nanos: u64, count: u64) -> u64 {
    let wide = u128::from(number) * u128::from(per_nanos) / u128::from(count);
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{LoadKind, Rate};
    use anyedge_net::rng::Seed;
    use anyedge_topologies::{Drawn, Shape};

    fn load(arrivals: Arrivals, count: u64, seconds: u64) -> Load {
        Load {
            stream: "test".into(),
            kind: LoadKind::Tick,
            rate: Rate {
                count,
                per: Duration::from_secs(1),
            },
            arrivals,
            size: 100,
            sizes: None,
            bursts: None,
            request_size: 0,
            to: ([203, 0, 113, 10], 7_000).into(),
            timeout: Duration::from_secs(1),
            start: Instant::from_nanos(1_000),
            stop: Instant::from_nanos(1_000) + Duration::from_secs(seconds),
            in_flight_max: 1,
        }
    }

    fn all(load: &Load, of: u32) -> Vec<Vec<Instant>> {
        let host = |index| {
            let node = format!("client.{index}");
            Schedule::new(load, Share { index, of }, |purpose| {
                Seed(1).stream(&node, purpose)
            })
            .collect()
        };
        (0..of).map(host).collect()
    }

    #[test]
    fn fixed_arrivals_of_a_population_are_even_and_do_not_drift() {
        let hosts = all(&load(Arrivals::Fixed, 7, 1_000), 3);
        let mut merged: Vec<Instant> = hosts.concat();
        merged.sort();
        assert_eq!(merged.len(), 7_000);
        assert_eq!(merged[0], Instant::from_nanos(1_000));
        assert_eq!(
            merged[6_993],
            Instant::from_nanos(1_000) + Duration::from_secs(999)
        );
        for pair in merged.windows(2) {
            let gap = nanos(pair[1] - pair[0]);
            assert!((142_857_142..=142_857_143).contains(&gap), "{gap}");
        }
        assert_eq!(hosts[1][0], merged[1]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_independent_hosts() {
        let hosts = all(&load(Arrivals::Poisson, 1_000, 100), 10);
        let total: usize = hosts.iter().map(Vec::len).sum();
        assert!((98_500..101_500).contains(&total), "{total}");
        assert!(
            hosts
                .iter()
                .all(|host| (9_500..10_500).contains(&host.len()))
        );
        assert_ne!(hosts[0][0], hosts[1][0]);
        let mut merged = hosts.concat();
        merged.sort();
        let mean = 1_000_000.0;
        let variance = merged
            .windows(2)
            .map(|pair| nanos(pair[1] - pair[0]) as f64 - mean)
            .map(|off| off * off)
            .sum::<f64>()
            / merged.len() as f64;
        let deviation = variance.sqrt() / mean;
        assert!((0.97..1.03).contains(&deviation), "{deviation}");
    }

    #[test]
    fn a_schedule_repeats_and_ends_before_its_stop() {
        let load = load(Arrivals::Poisson, 100, 5);
        let first = all(&load, 2);
        assert_eq!(first, all(&load, 2));
        assert!(
            first
                .concat()
                .iter()
                .all(|due| *due < load.stop && *due >= load.start)
        );
    }

    fn phase(seconds: u64) -> Drawn {
        Drawn::fixed(seconds * 1_000_000_000)
    }

    #[test]
    fn a_load_that_is_off_sends_nothing_and_keeps_its_rate_while_it_is_on() {
        let bursts = Some(Bursts {
            on: phase(2),
            off: phase(3),
        });
        for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
            let load = Load {
                bursts: bursts.clone(),
                ..load(arrivals, 1_000, 100)
            };
            let all = all(&load, 4).concat();
            let place = |due: &Instant| nanos(*due - load.start) % 5_000_000_000;
            assert!(all.iter().all(|due| place(due) < 2_000_000_000));
            assert!((39_000..41_000).contains(&all.len()), "{}", all.len());
        }
    }

    #[test]
    fn drawn_phases_have_the_shares_of_their_means() {
        let drawn = |mean: u64| Drawn {
            shape: Shape::Exponential { mean },
            least: 1_000_000,
            most: 3_600_000_000_000,
        };
        let load = Load {
            bursts: Some(Bursts {
                on: drawn(1_000_000_000),
                off: drawn(3_000_000_000),
            }),
            ..load(Arrivals::Fixed, 10, 20_000)
        };
        let sent = all(&load, 1).concat().len();
        let share = sent as f64 / 200_000.0;
        assert!((0.235..0.265).contains(&share), "{share}");
        assert_eq!(all(&load, 3), all(&load, 3));
    }

    #[test]
    fn a_rate_of_zero_sends_nothing() {
        assert!(all(&load(Arrivals::Poisson, 0, 5), 1).concat().is_empty());
        assert!(all(&load(Arrivals::Fixed, 0, 5), 1).concat().is_empty());
    }
}
