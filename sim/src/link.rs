//! A simulated link, one direction: rate, delay, jitter, loss and a bounded queue.
//!
//! A packet costs one event. When it is sent, the link computes when its last bit leaves (behind what is
//! still queued), whether the queue had room, whether it is lost, and when it arrives. What is lost here:
//! packets larger than the MTU (`LinkMtu`), packets that meet a full queue (`QueueFull`) and packets lost
//! on the wire (`LinkLoss`, Bernoulli), which still take their time on the wire.
//!
//! Jitter is uniform in `0..=jitter` on top of the delay and never reorders: a packet arrives no earlier
//! than the one before it, as in a queue whose length varies.
//!
//! Invariant: offered = delivered + dropped + on the wire.

use core::time::Duration;

use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::{Instant, nanos};

use crate::order::Source;

/// What a link is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LinkSpec {
    /// Name with direction, such as `client.osaka>pop.tokyo`.
    pub(crate) name: String,
    /// Bits per second; 0 is unlimited.
    pub(crate) rate_bps: u64,
    /// One-way propagation delay.
    pub(crate) delay: Duration,
    /// Largest extra delay.
    pub(crate) jitter: Duration,
    /// Lost packets per million.
    pub(crate) loss_ppm: u32,
    /// Bytes that may wait for the wire, the packet being sent included.
    pub(crate) queue_bytes_max: u64,
    /// Largest packet in bytes, outer headers included.
    pub(crate) mtu: usize,
}

/// One direction of a link.
pub(crate) struct Link {
    pub(crate) spec: LinkSpec,
    pub(crate) source: Source,
    pub(crate) delivered: u64,
    pub(crate) dropped: DropCounts,
    on_wire: u64,
    offered: u64,
    busy_until: Instant,
    last_arrival: Instant,
    loss: Rng,
    jitter: Rng,
}

impl Link {
    pub(crate) fn new(spec: LinkSpec, source: Source, seed: Seed) -> Link {
        let loss = seed.stream(&spec.name, "loss");
        let jitter = seed.stream(&spec.name, "jitter");
        Link {
            spec,
            source,
            delivered: 0,
            dropped: DropCounts::default(),
            on_wire: 0,
            offered: 0,
            busy_until: Instant::ZERO,
            last_arrival: Instant::ZERO,
            loss,
            jitter,
        }
    }

    /// A packet of `bytes` bytes is sent at `now`: when it arrives, or why it never will.
    pub(crate) fn send(&mut self, now: Instant, bytes: usize) -> Result<Instant, DropReason> {
        self.offered += 1;
        self.admit(now, bytes)
            .inspect(|_| self.on_wire += 1)
            .inspect_err(|reason| self.dropped.add(*reason))
    }

    fn admit(&mut self, now: Instant, bytes: usize) -> Result<Instant, DropReason> {
        if bytes > self.spec.mtu {
            return Err(DropReason::LinkMtu);
        }
        let sent = if self.spec.rate_bps == 0 {
            now
        } else {
            let waiting = self.busy_until.since(now);
            let backlog = bytes_in(waiting, self.spec.rate_bps);
            if backlog + bytes as u64 > self.spec.queue_bytes_max {
                return Err(DropReason::QueueFull);
            }
            self.busy_until = now.max(self.busy_until) + serialisation(bytes, self.spec.rate_bps);
            self.busy_until
        };
        if self.loss.one_in_ppm(self.spec.loss_ppm) {
            return Err(DropReason::LinkLoss);
        }
        let mut arrival = sent + self.spec.delay;
        if !self.spec.jitter.is_zero() {
            arrival += self.jitter.up_to(self.spec.jitter);
        }
        self.last_arrival = arrival.max(self.last_arrival);
        Ok(self.last_arrival)
    }

    /// A packet arrived at the far end.
    pub(crate) fn arrived(&mut self) {
        self.on_wire -= 1;
        self.delivered += 1;
    }

    /// The run ended with a packet on the wire.
    pub(crate) fn cut_off(&mut self) {
        self.on_wire -= 1;
        self.dropped.add(DropReason::RunEnded);
    }

    pub(crate) fn assert_conserved(&self) {
        assert_eq!(
            self.offered,
            self.delivered + self.dropped.total() + self.on_wire,
            "conservation on link {}",
            self.spec.name
        );
    }
}

/// How long `bytes` take at `rate_bps`, rounded up to a nanosecond.
fn serialisation(bytes: usize, rate_bps: u64) -> Duration {
    Duration::from_nanos((bytes as u64 * 8_000_000_000).div_ceil(rate_bps))
}

/// Bytes that `rate_bps` sends in `time`.
fn bytes_in(time: Duration, rate_bps: u64) -> u64 {
    (u128::from(nanos(time)) * u128::from(rate_bps) / 8_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LinkSpec {
        LinkSpec {
            name: "a>b".into(),
            rate_bps: 1_000_000_000,
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss_ppm: 0,
            queue_bytes_max: 3_000,
            mtu: 1_500,
        }
    }

    fn link(spec: LinkSpec) -> Link {
        Link::new(spec, Source::new(0), Seed(1))
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn arrival_is_serialisation_plus_queue_plus_propagation_to_the_nanosecond() {
        let mut link = link(spec());
        assert_eq!(link.send(at(5), 1_500), Ok(at(5 + 12_000 + 10_000_000)));
        assert_eq!(
            link.send(at(5), 125),
            Ok(at(5 + 12_000 + 1_000 + 10_000_000))
        );
        assert_eq!(link.send(at(100_000), 1), Ok(at(100_000 + 8 + 10_000_000)));
    }

    #[test]
    fn a_full_queue_and_a_packet_over_the_mtu_are_dropped_and_counted() {
        let mut link = link(spec());
        assert_eq!(link.send(at(0), 1_501), Err(DropReason::LinkMtu));
        assert!(link.send(at(0), 1_500).is_ok());
        assert!(link.send(at(0), 1_500).is_ok());
        assert_eq!(link.send(at(0), 100), Err(DropReason::QueueFull));
        assert!(
            link.send(at(800), 100).is_ok(),
            "100 bytes have left after 800 ns"
        );
        link.arrived();
        link.cut_off();
        link.assert_conserved();
        assert_eq!((link.delivered, link.dropped.total()), (1, 3));
    }

    #[test]
    fn loss_is_as_configured() {
        let mut link = link(LinkSpec {
            loss_ppm: 100_000,
            rate_bps: 0,
            ..spec()
        });
        let lost = (0..100_000)
            .filter(|n| link.send(at(*n), 100) == Err(DropReason::LinkLoss))
            .count();
        assert!((9_700..10_300).contains(&lost), "{lost}");
    }

    #[test]
    fn jitter_delays_but_never_reorders() {
        let mut link = link(LinkSpec {
            jitter: Duration::from_millis(5),
            rate_bps: 0,
            ..spec()
        });
        let arrivals: Vec<Instant> = (0..1_000)
            .map(|n| link.send(at(n * 1_000_000), 100).expect("nothing is lost"))
            .collect();
        assert!(arrivals.is_sorted());
        let delays: Vec<u64> = arrivals
            .iter()
            .zip(0u64..)
            .map(|(arrival, n)| arrival.as_nanos() - n * 1_000_000)
            .collect();
        assert!(
            delays
                .iter()
                .all(|delay| (10_000_000..=15_000_000).contains(delay))
        );
        assert!(delays.iter().any(|delay| *delay > 14_000_000));
    }
}
