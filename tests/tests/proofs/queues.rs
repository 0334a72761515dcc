//! Queueing as the textbooks have it: one wire, packets at random times, how long they wait and how many are there.
//!
//! References: Pollaczek 1930, Khinchine 1932: an M/D/1 queue waits rho x S / (2 (1 - rho)) in the mean; Erlang 1917:
//! M/M/1 rho x S / (1 - rho). Little 1961: as many are there in the mean as come in the time that one stays. An
//! observer who comes at random times finds that mean (Wolff 1982).

use std::collections::VecDeque;
use std::time::Duration;

use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::Instant;
use anyedge_sim::run::Options;
use anyedge_tests::story;

use super::edge::Edge;
use super::theory::{Row, Within};
use super::wires::wire;

/// Bytes of a tick, and what IPv4 and UDP add.
const PACKET_BYTES: f64 = 972.0 + 28.0;
/// Of the client's wire.
const BITS_PER_SECOND: f64 = 1e6;
/// The time of a mean packet on that wire, in ms.
const SERVICE_MS: f64 = PACKET_BYTES * 8.0 / BITS_PER_SECOND * 1e3;
/// Of a mean.
const TOLERANCE: Within = Within::Share(0.03);
/// Packets of a row that is made on one wire.
const PACKETS: u32 = 4_000_000;

/// The mean round trip in ms of ticks at that rate, sent for so long. A tick meets a queue once, at the client's wire to
/// the POP: every later wire is faster, and what comes back keeps the distance that this one gave it. So this, less
/// that of an empty wire, is the mean waiting time.
fn mean_ms(arrivals: &str, rate: u32, lasting: Duration) -> f64 {
    let client = format!(
        "public = {{ tokyo = \"1ms\" }}
public_rate = \"1Mbps\"
public_queue = \"1GiB\"
load = {{ kind = \"tick\", rate = \"{rate}/s\", arrivals = \"{arrivals}\", size = \"972B\", timeout = \"60s\", in_flight_max = 100000, to = \"game:tick\" }}"
    );
    let edge = Edge {
        top: "drain = \"60s\"",
        defaults: "",
        rtt: "1ms",
        listener: "tick",
        port: "udp/7000",
        client: &client,
    };
    let options = Options {
        duration: Some(lasting),
        ..Options::default()
    };
    let report = story::play(&edge.text(), &options);
    let load = &report.clients[0].loads[0];
    assert_eq!(load.service.requests.ok, load.service.requests.sent);
    load.stats.intended().mean() / 1e6
}

/// Ticks of one size through a whole edge.
fn ticks() -> impl Iterator<Item = Row> {
    let empty = mean_ms("fixed", 1, Duration::from_secs(20));
    let runs = [(50, 2_000), (75, 3_000), (100, 6_000)];
    runs.into_iter().map(move |(rate, lasting)| {
        let rho = f64::from(rate) * SERVICE_MS / 1e3;
        Row {
            what: format!("M/D/1, rho {rho}: mean wait, ticks through a POP"),
            theory: rho * SERVICE_MS / (2.0 * (1.0 - rho)),
            found: mean_ms("poisson", rate, Duration::from_secs(lasting)) - empty,
            within: TOLERANCE,
        }
    })
}

/// What a wire made of random arrivals.
struct Observed {
    /// Mean wait for the wire, in ms.
    wait_ms: f64,
    /// Mean time from the arrival to the last bit, in ms.
    stay_ms: f64,
    /// Packets there, as those found who looked at random times.
    there: f64,
    /// Packets that came in a ms.
    per_ms: f64,
}

/// Offers packets at random times to one wire of 1 Mbit/s, as many as load it with `rho`; `bytes` draws their sizes.
fn observe(rho: f64, mut bytes: impl FnMut(&mut Rng) -> usize) -> Observed {
    let (mut comes, mut draws) = (
        Seed(7).stream("wire", "arrivals"),
        Seed(7).stream("wire", "sizes"),
    );
    let mut looks = Seed(7).stream("wire", "looks");
    let mean_gap = Duration::from_secs_f64(SERVICE_MS / 1e3 / rho);
    let mut wire = wire(BITS_PER_SECOND as u64, Duration::ZERO);
    let (mut now, mut look_at) = (Instant::ZERO, Instant::ZERO);
    let (mut waits, mut stays, mut found, mut looked) = (0.0, 0.0, 0_u64, 0_u64);
    let mut leaving: VecDeque<Instant> = VecDeque::new();
    for _ in 0..PACKETS {
        let next = now + comes.exponential(mean_gap);
        while look_at < next {
            while leaving.front().is_some_and(|gone| *gone <= look_at) {
                leaving.pop_front();
            }
            (found, looked) = (found + leaving.len() as u64, looked + 1);
            look_at += looks.exponential(mean_gap);
        }
        now = next;
        let bytes = bytes(&mut draws);
        let gone = wire.send(now, bytes).expect("the queue has no end");
        leaving.push_back(gone);
        let stay = gone.since(now).as_secs_f64() * 1e3;
        stays += stay;
        waits += stay - bytes as f64 * 8.0 / BITS_PER_SECOND * 1e3;
    }
    let packets = f64::from(PACKETS);
    Observed {
        wait_ms: waits / packets,
        stay_ms: stays / packets,
        there: found as f64 / looked as f64,
        per_ms: packets / (now.since(Instant::ZERO).as_secs_f64() * 1e3),
    }
}

/// A size of whole bytes, exponential about the mean.
fn exponential_bytes(draws: &mut Rng) -> usize {
    let drawn = draws.exponential(Duration::from_nanos(PACKET_BYTES as u64 * 1_000));
    // To the nearest byte, so that rounding does not lengthen the mean.
    (drawn.as_nanos() as usize + 500) / 1_000
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = ticks().collect();
    for rho in [0.4, 0.6, 0.8] {
        let of_one_size = observe(rho, |_| PACKET_BYTES as usize);
        let exponential = observe(rho, exponential_bytes);
        rows.push(Row {
            what: format!("M/D/1, rho {rho}: mean wait on one wire"),
            theory: rho * SERVICE_MS / (2.0 * (1.0 - rho)),
            found: of_one_size.wait_ms,
            within: TOLERANCE,
        });
        rows.push(Row {
            what: format!("M/M/1, rho {rho}: mean wait on one wire"),
            theory: rho * SERVICE_MS / (1.0 - rho),
            found: exponential.wait_ms,
            within: TOLERANCE,
        });
        for (kind, seen) in [("M/D/1", of_one_size), ("M/M/1", exponential)] {
            rows.push(Row {
                what: format!("{kind}, rho {rho}: packets there (Little: rate x mean stay)"),
                theory: seen.per_ms * seen.stay_ms,
                found: seen.there,
                within: TOLERANCE,
            });
        }
    }
    rows
}
