//! A modelled link, one direction: rate, delay, jitter, loss and a bounded queue. The simulator's links are such, and the
//! wires of a lab.
//!
//! A packet costs one event. When it is sent, the link computes when its last bit leaves (behind what is
//! still queued), whether the queue had room, whether it is lost, and when it arrives. What is lost here:
//! packets larger than the MTU (`LinkMtu`), packets that meet a full queue (`QueueFull`) and packets lost
//! on the wire (`LinkLoss`), which still take their time on the wire.
//!
//! Jitter is uniform in `0..=jitter` on top of the delay and never reorders: a packet arrives no earlier
//! than the one before it, as in a queue whose length varies.
//!
//! A link may go down: what is on the wire then is lost, and so is what is sent meanwhile (`LinkDown`). Each
//! outage has a number, which every packet on the wire carries, so that a packet sent before it never
//! arrives after it. A link may also get worse for a time and be restored; then it may also let packets
//! overtake each other, double them and damage them.
//!
//! Invariant: offered = delivered + dropped + on the wire, doubles included.

use core::time::Duration;

use crate::drop_reason::{DropCounts, DropReason};
use crate::rng::{Rng, Seed};
use crate::time::{Instant, nanos};
mod change;
mod loss;
mod wear;

pub use change::Change;
pub use loss::{GilbertElliott, Loss, Losses};
pub use wear::{HELD_BACK_MAX, Wear};

/// What a link is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkSpec {
    /// Name with direction, such as `client.osaka>pop.tokyo`.
    pub name: String,
    /// Bits per second; 0 is unlimited.
    pub rate_bps: u64,
    /// One-way propagation delay.
    pub delay: Duration,
    /// Largest extra delay.
    pub jitter: Duration,
    /// How packets are lost.
    pub loss: Loss,
    /// Bytes that may wait for the wire, the packet being sent included.
    pub queue_bytes_max: u64,
    /// Largest packet in bytes, outer headers included.
    pub mtu: usize,
    /// What it does to packets beside losing them.
    pub wear: Wear,
}

/// One direction of a link.
pub struct Link<K> {
    /// What it is made of now.
    pub spec: LinkSpec,
    /// What whoever drives it keeps with it.
    pub kept: K,
    /// Packets that arrived.
    pub delivered: u64,
    /// Their bytes, outer headers included.
    pub delivered_bytes: u64,
    /// Packets that were lost, by reason.
    pub dropped: DropCounts,
    /// Outages so far: what was sent before the latest does not arrive.
    pub outages: u16,
    /// Packets that the link made of others.
    pub doubled: u64,
    up: bool,
    /// What it was before it got worse.
    sound: Option<Box<LinkSpec>>,
    on_wire: u64,
    offered: u64,
    busy_until: Instant,
    last_arrival: Instant,
    losses: Losses,
    jitter: Rng,
    /// There once the link was worn.
    draws: Option<Box<wear::Draws>>,
    seed: Seed,
}

impl<K> Link<K> {
    /// A link that is up, with its randomness by its name.
    pub fn new(spec: LinkSpec, kept: K, seed: Seed) -> Link<K> {
        let losses = Losses::new(&spec.name, seed);
        let jitter = seed.stream(&spec.name, "jitter");
        Link {
            spec,
            kept,
            delivered: 0,
            delivered_bytes: 0,
            dropped: DropCounts::default(),
            outages: 0,
            doubled: 0,
            up: true,
            sound: None,
            on_wire: 0,
            offered: 0,
            busy_until: Instant::ZERO,
            last_arrival: Instant::ZERO,
            losses,
            jitter,
            draws: None,
            seed,
        }
    }

    /// A packet of `bytes` bytes is sent at `now`: when it arrives, or why it never will.
    #[inline(always)]
    pub fn send(&mut self, now: Instant, bytes: usize) -> Result<Instant, DropReason> {
        self.offered += 1;
        self.admit(now, bytes)
            .inspect(|_| self.on_wire += 1)
            .inspect_err(|reason| self.dropped.add(*reason))
    }

    #[inline(always)]
    fn admit(&mut self, now: Instant, bytes: usize) -> Result<Instant, DropReason> {
        if !self.up {
            return Err(DropReason::LinkDown);
        }
        if bytes > self.spec.mtu {
            return Err(DropReason::LinkMtu);
        }
        let sent = if self.spec.rate_bps == 0 {
            now
        } else {
            let backlog = match self.busy_until.since(now) {
                Duration::ZERO => 0,
                waiting => bytes_in(waiting, self.spec.rate_bps),
            };
            if backlog + bytes as u64 > self.spec.queue_bytes_max {
                return Err(DropReason::QueueFull);
            }
            self.busy_until = now.max(self.busy_until) + serialisation(bytes, self.spec.rate_bps);
            self.busy_until
        };
        if self.losses.takes(&self.spec.name, self.spec.loss) {
            return Err(DropReason::LinkLoss);
        }
        let mut arrival = sent + self.spec.delay;
        if !self.spec.jitter.is_zero() {
            arrival += self.jitter.up_to(self.spec.jitter);
        }
        let arrival = arrival.max(self.last_arrival);
        let wear = self.spec.wear;
        if wear.reorder_ppm > 0
            && let Some(longer) = self.draws().held_back(wear)
        {
            // Those behind it do not wait for it.
            return Ok(arrival + longer);
        }
        self.last_arrival = arrival;
        Ok(arrival)
    }

    /// Whether packets that were sent arrive as they were, once.
    #[inline]
    pub fn is_faithful(&self) -> bool {
        self.spec.wear.duplicate_ppm == 0 && self.spec.wear.corrupt_ppm == 0
    }

    /// Damages the packet just sent, if it is to be.
    pub fn corrupt(&mut self, bytes: &mut [u8]) {
        let wear = self.spec.wear;
        self.draws().corrupt(wear, bytes);
    }

    /// Whether the packet just sent arrives a second time. The double is the caller's to make, and counted.
    pub fn doubles(&mut self) -> bool {
        let wear = self.spec.wear;
        let doubles = self.draws().doubles(wear);
        if doubles {
            self.offered += 1;
            self.on_wire += 1;
            self.doubled += 1;
        }
        doubles
    }

    fn draws(&mut self) -> &mut wear::Draws {
        let (name, seed) = (&self.spec.name, self.seed);
        self.draws
            .get_or_insert_with(|| Box::new(wear::Draws::new(name, seed)))
    }

    /// A packet of `bytes` bytes arrived at the far end.
    pub fn arrived(&mut self, bytes: usize) {
        self.on_wire -= 1;
        self.delivered += 1;
        self.delivered_bytes += bytes as u64;
    }

    /// A packet that was on the wire will not arrive.
    pub fn cut_off(&mut self, reason: DropReason) {
        self.on_wire -= 1;
        self.dropped.add(reason);
    }

    /// Whether it carries anything.
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Whether it got worse and was not restored.
    pub const fn is_worse(&self) -> bool {
        self.sound.is_some()
    }

    /// Nothing gets through from now on, also of what is on the wire and in the queue.
    pub fn go_down(&mut self) {
        self.up = false;
        self.outages = self.outages.wrapping_add(1);
        self.busy_until = Instant::ZERO;
        self.last_arrival = Instant::ZERO;
    }

    /// It carries again.
    pub fn come_up(&mut self) {
        self.up = true;
    }

    /// Its way is another, `delay` long, or there is none. What is on a way that ends or grows longer is lost.
    pub fn reroute(&mut self, delay: Option<Duration>) {
        if delay.is_none_or(|delay| delay > self.spec.delay) && self.up {
            self.go_down();
        }
        if let Some(delay) = delay {
            self.spec.delay = delay;
            self.come_up();
        }
    }

    /// It gets worse; what is on its way keeps its time.
    pub fn degrade(&mut self, now: Instant, change: &Change) {
        let sound = self
            .sound
            .get_or_insert_with(|| Box::new(self.spec.clone()));
        let worse = LinkSpec {
            rate_bps: change.rate_bps.unwrap_or(sound.rate_bps),
            delay: sound.delay + change.delay.unwrap_or_default(),
            jitter: change.jitter.unwrap_or(sound.jitter),
            loss: change.loss.unwrap_or(sound.loss),
            mtu: change.mtu.unwrap_or(sound.mtu),
            wear: sound.wear.worse(change),
            ..LinkSpec::clone(sound)
        };
        self.become_like(now, worse);
    }

    /// It is what it was before it got worse.
    pub fn restore(&mut self, now: Instant) {
        if let Some(sound) = self.sound.take() {
            self.become_like(now, *sound);
        }
    }

    /// The bytes that wait now take their time at the new rate, in the eyes of packets to come.
    fn become_like(&mut self, now: Instant, spec: LinkSpec) {
        let backlog = match self.spec.rate_bps {
            0 => 0,
            rate => bytes_in(self.busy_until.since(now), rate),
        };
        self.busy_until = match spec.rate_bps {
            0 => now,
            rate => now + serialisation(backlog as usize, rate),
        };
        self.spec = spec;
    }

    /// Asserts the conservation law.
    ///
    /// # Panics
    /// When a packet is missing.
    pub fn assert_conserved(&self) {
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
            loss: Loss::NONE,
            queue_bytes_max: 3_000,
            mtu: 1_500,
            wear: Wear::NONE,
        }
    }

    fn link(spec: LinkSpec) -> Link<()> {
        Link::new(spec, (), Seed(1))
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
        link.arrived(100);
        link.cut_off(DropReason::RunEnded);
        link.assert_conserved();
        assert_eq!((link.delivered, link.dropped.total()), (1, 3));
    }

    #[test]
    fn loss_is_as_configured() {
        let mut link = link(LinkSpec {
            loss: Loss::Share(100_000),
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

    #[test]
    fn an_outage_loses_what_is_sent_meanwhile_and_numbers_what_was_sent_before() {
        let mut link = link(spec());
        let before = link.outages;
        assert!(link.send(at(0), 1_500).is_ok());
        link.go_down();
        assert_ne!(
            link.outages, before,
            "what is on the wire is of another time"
        );
        link.cut_off(DropReason::LinkDown);
        assert_eq!(link.send(at(10), 100), Err(DropReason::LinkDown));
        link.come_up();
        assert_eq!(
            link.send(at(20), 125),
            Ok(at(20 + 1_000 + 10_000_000)),
            "no queue outlives the outage"
        );
        link.arrived(100);
        link.assert_conserved();
        assert_eq!(link.dropped.of(DropReason::LinkDown), 2);
    }

    #[test]
    fn a_link_that_got_worse_is_restored_to_what_it_was() {
        let mut link = link(spec());
        link.degrade(
            at(0),
            &Change {
                delay: Some(Duration::from_millis(5)),
                rate_bps: Some(1_000_000),
                ..Change::default()
            },
        );
        assert_eq!(link.send(at(0), 125), Ok(at(1_000_000 + 15_000_000)));
        link.restore(at(0));
        assert!(link.spec == spec());
        // 125 bytes wait, 1 us at the rate that holds again; the wire stays in order.
        assert_eq!(link.send(at(0), 1_500), Ok(at(16_000_000)));
        assert_eq!(link.send(at(20_000_000), 125), Ok(at(30_001_000)));
    }

    #[test]
    fn held_back_packets_are_overtaken_within_the_bound_and_nobody_waits_for_them() {
        let mut link = link(LinkSpec {
            rate_bps: 0,
            ..spec()
        });
        let reorder_ppm = Some(200_000);
        link.degrade(
            at(0),
            &Change {
                reorder_ppm,
                ..Change::default()
            },
        );
        let delay = 10_000_000;
        let late: Vec<u64> = (0..10_000)
            .map(|n| {
                let arrival = link.send(at(n * 1_000), 100).expect("nothing is lost");
                arrival.as_nanos() - n * 1_000 - delay
            })
            .filter(|late| *late > 0)
            .collect();
        assert!((1_800..2_200).contains(&late.len()), "{}", late.len());
        let most = nanos(wear::HELD_BACK_MAX);
        assert!(late.iter().all(|late| *late <= most));
        assert!(late.iter().any(|late| *late > most * 9 / 10));
    }

    #[test]
    fn doubles_are_offered_like_any_packet_and_balance() {
        let mut link = link(LinkSpec {
            rate_bps: 0,
            ..spec()
        });
        assert!(link.is_faithful());
        link.degrade(
            at(0),
            &Change {
                duplicate_ppm: Some(500_000),
                ..Change::default()
            },
        );
        assert!(!link.is_faithful());
        for n in 0..1_000 {
            assert!(link.send(at(n), 100).is_ok());
            if link.doubles() {
                link.cut_off(DropReason::RunEnded);
            }
            link.arrived(100);
        }
        link.assert_conserved();
        assert!((400..600).contains(&link.doubled), "{}", link.doubled);
        assert_eq!(link.dropped.total(), link.doubled);
        link.restore(at(1_000));
        assert!(link.is_faithful());
    }

    #[test]
    fn a_smaller_mtu_holds_until_the_link_is_restored() {
        let mut link = link(spec());
        link.degrade(
            at(0),
            &Change {
                mtu: Some(1_280),
                ..Change::default()
            },
        );
        assert_eq!(link.send(at(0), 1_281), Err(DropReason::LinkMtu));
        assert!(link.send(at(0), 1_280).is_ok());
        link.restore(at(0));
        assert!(link.send(at(0), 1_500).is_ok());
    }
}
