//! Serialisation and propagation, to the nanosecond: a single ping, a tick and a packet on a wire.
//!
//! Formulas: serialisation is bytes x 8 / rate, rounded up to the nanosecond; propagation is half of the round trip.

use std::time::Duration;

use anyedge_net::link::{Link, LinkSpec, Loss, Wear};
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;

use super::theory::{Row, Within};

/// A wire without loss and with room for everything.
pub(super) fn wire(rate_bps: u64, delay: Duration) -> Link<()> {
    let spec = LinkSpec {
        name: "a>b".to_owned(),
        rate_bps,
        delay,
        jitter: Duration::ZERO,
        loss: Loss::NONE,
        queue_bytes_max: u64::MAX,
        mtu: usize::MAX,
        wear: Wear::NONE,
    };
    Link::new(spec, (), Seed(1))
}

/// The nanoseconds that a packet takes over an idle wire.
fn crossing(bytes: usize, rate_bps: u64, delay: Duration) -> f64 {
    let sent = Instant::from_nanos(7);
    let arrival = wire(rate_bps, delay).send(sent, bytes);
    arrival.expect("it has room").since(sent).as_nanos() as f64
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (bytes, rate, name) in [
        (1_500_usize, 1_000_000_000_u64, "1 Gbit/s"),
        (64, 10_000_000_000, "10 Gbit/s"),
        (1_500, 1_000_000, "1 Mbit/s"),
        (1, 3, "3 bit/s"),
        (65_575, 100_000_000_000, "100 Gbit/s"),
    ] {
        let exact = bytes as u128 * 8_000_000_000;
        rows.push(Row {
            what: format!("serialisation of {bytes} bytes at {name}"),
            theory: exact.div_ceil(u128::from(rate)) as f64,
            found: crossing(bytes, rate, Duration::ZERO),
            within: Within::Exactly,
        });
    }
    for delay in [Duration::from_nanos(1), Duration::from_micros(24_485)] {
        rows.push(Row {
            what: format!("propagation over {delay:?}, no rate"),
            theory: delay.as_nanos() as f64,
            found: crossing(1_500, 0, delay),
            within: Within::Exactly,
        });
    }
    // 15 packets at once: the last one waits for 14 others.
    let mut wire = wire(100_000_000, Duration::from_millis(10));
    let arrivals = (0..15).map(|_| wire.send(Instant::ZERO, 1_000).expect("it has room"));
    let last = arrivals.last().expect("there are 15");
    rows.push(Row {
        what: "the last of 15 packets of 1000 bytes at 100 Mbit/s over 10 ms".to_owned(),
        theory: 15.0 * 80_000.0 + 10_000_000.0,
        found: last.since(Instant::ZERO).as_nanos() as f64,
        within: Within::Exactly,
    });
    rows
}
