//! Queueing as the textbooks have it: one wire, packets of one size at random times, and how long they wait.
//!
//! A tick meets a queue once, at the client's wire to the POP: every later wire is faster, and what comes back keeps the
//! distance that this one gave it. So the mean of all round trips less that of an empty wire is the mean waiting time.
//! Reference: Pollaczek 1930, Khinchine 1932: an M/D/1 queue waits rho x S / (2 (1 - rho)) in the mean.

use std::time::Duration;

use anyedge_sim::run::Options;
use anyedge_tests::story;

/// Bytes of a tick, and what IPv4 and UDP add.
const PACKET_BYTES: f64 = 972.0 + 28.0;
/// Of the client's wire.
const BITS_PER_SECOND: f64 = 1e6;
/// Of a waiting time.
const TOLERANCE: f64 = 0.03;

/// The mean round trip in ms of ticks at that rate, sent for so long.
fn mean_ms(arrivals: &str, rate: u32, lasting: Duration) -> f64 {
    let text = format!(
        "schema = 1
drain = \"60s\"
[defaults]
routes = \"static\"
probe = false
bgp = false
[vip.game]
address = \"203.0.113.10\"
clb = \"main\"
[pop.tokyo]
[region.guangzhou]
[link.tokyo-guangzhou]
between = [\"pop.tokyo\", \"region.guangzhou\"]
rtt = \"1ms\"
[clb.main]
region = \"guangzhou\"
listener.tick = {{ port = \"udp/7000\", targets = \"tick\" }}
[targets.tick]
port = 7000
servers = [{{ ip = \"10.0.0.11\" }}]
[client.osaka]
public = {{ tokyo = \"1ms\" }}
public_rate = \"1Mbps\"
public_queue = \"1GiB\"
load = {{ kind = \"tick\", rate = \"{rate}/s\", arrivals = \"{arrivals}\", size = \"972B\", timeout = \"60s\", in_flight_max = 100000, to = \"game:tick\" }}
"
    );
    let options = Options {
        duration: Some(lasting),
        ..Options::default()
    };
    let report = story::play(&text, &options);
    let load = &report.clients[0].loads[0];
    assert_eq!(load.service.requests.ok, load.service.requests.sent);
    load.stats.intended().mean() / 1e6
}

#[test]
fn ticks_at_random_times_wait_as_in_an_m_d_1_queue() {
    let service_ms = PACKET_BYTES * 8.0 / BITS_PER_SECOND * 1e3;
    let empty = mean_ms("fixed", 1, Duration::from_secs(20));
    for (rate, lasting) in [(50, 2_000), (75, 3_000), (100, 6_000)] {
        let load = f64::from(rate) * service_ms / 1e3;
        let wanted = load * service_ms / (2.0 * (1.0 - load));
        let found = mean_ms("poisson", rate, Duration::from_secs(lasting)) - empty;
        let off = found / wanted - 1.0;
        assert!(
            off.abs() < TOLERANCE,
            "rho {load}: {found:.3} ms, {wanted:.3} wanted"
        );
    }
}
