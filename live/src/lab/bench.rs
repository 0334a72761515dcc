//! What a running lab carries: five loads, one after the other, from a client's namespace to a VIP.
//!
//! The clients are those of `anyedge load`. Two loads are light and measure latency; three offer more than there is room
//! for and measure what was answered. The generator, the nodes and the backends share one machine's processors, so the
//! figures are of all of them together.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyedge_topologies::{Kind, Protocol, Topology};
use anyhow::{Context as _, Result};
use serde::Serialize;

use super::fault::topology_of;
use super::name::LabName;
use super::refused::refuse;
use super::state::LabState;
use crate::load::{self, Arrivals, LoadKind, Order, Outcome, Progress, Rate};
use crate::netns::Namespace;

/// What has no answer by then has failed.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of one download.
const TRANSFER_BYTES: u64 = 16 << 20;
/// Downloads at a time.
const STREAMS: u32 = 4;

/// What to measure, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchPlan {
    /// The population that sends, `client.osaka`; `None`: the file's first.
    pub client: Option<String>,
    /// How long each load lasts.
    pub time: Duration,
    /// To the VIP's IPv6 address.
    pub v6: bool,
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Requests of 1 KiB on connections of their own, 50 a second.
    Requests,
    /// As many such requests as there is room for, 64 at a time.
    Connections,
    /// Downloads, four at a time, as fast as TCP goes.
    Bulk,
    /// Datagrams of 200 bytes that are echoed, 500 a second.
    Ticks,
    /// As many datagrams of 64 bytes as there is room for, 256 at a time.
    Packets,
}

impl What {
    /// All of them, in the order in which they are sent.
    pub const ALL: [What; 5] = [
        What::Requests,
        What::Connections,
        What::Bulk,
        What::Ticks,
        What::Packets,
    ];

    const fn protocol(self) -> Protocol {
        match self {
            What::Requests | What::Connections | What::Bulk => Protocol::Tcp,
            What::Ticks | What::Packets => Protocol::Udp,
        }
    }

    fn order(self, to: SocketAddr, duration: Duration) -> Order {
        let (kind, per_second, size, in_flight_max) = match self {
            What::Requests => (LoadKind::Request, 50, 1 << 10, 1_000),
            What::Connections => (LoadKind::Request, 20_000, 1 << 10, 64),
            What::Bulk => (LoadKind::Download { pace: 0 }, 100, TRANSFER_BYTES, STREAMS),
            What::Ticks => (LoadKind::Tick, 500, 200, 1_000),
            What::Packets => (LoadKind::Tick, 200_000, 64, 256),
        };
        Order {
            to,
            kind,
            rate: Rate {
                count: per_second,
                per: Duration::from_secs(1),
            },
            arrivals: Arrivals::Fixed,
            size,
            timeout: TIMEOUT,
            duration,
            in_flight_max,
        }
    }
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Which.
    pub what: What,
    /// Where to.
    pub to: SocketAddr,
    /// How long it was sent.
    pub lasted_s: f64,
    /// What was answered in time.
    pub answered: u64,
    /// What was sent and not answered in time; of loads that offer too much, also what never had its turn.
    pub failed: u64,
    /// Answers a second.
    pub per_second: f64,
    /// Bytes of whole downloads, in Mbit/s; of the bulk load alone.
    pub goodput_mbps: Option<f64>,
    /// Median latency, from when a light load's request was due, and from when a heavy one's was sent.
    pub p50_ms: f64,
    /// The same at the 99th percentile.
    pub p99_ms: f64,
}

impl Measured {
    fn of(what: What, to: SocketAddr, outcome: &Outcome) -> Measured {
        let stats = &outcome.stats;
        let lasted_s = outcome.lasted.as_secs_f64().max(f64::MIN_POSITIVE);
        let latencies = match what {
            What::Requests | What::Ticks => stats.intended(),
            What::Connections | What::Bulk | What::Packets => stats.actual(),
        };
        let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
        let bits = (stats.ok() * TRANSFER_BYTES * 8) as f64;
        Measured {
            what,
            to,
            lasted_s,
            answered: stats.ok(),
            failed: stats.failed_total(),
            per_second: stats.ok() as f64 / lasted_s,
            goodput_mbps: (what == What::Bulk).then_some(bits / lasted_s / 1e6),
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
        }
    }
}

/// Sends the loads and tells how each goes; loads to which no listener of the VIP answers are left out.
///
/// # Errors
/// [`Refused`](super::refused::Refused) when there is no such lab or client; else when a socket is missing.
pub fn bench(
    lab: &LabName,
    plan: &BenchPlan,
    mut tell: impl FnMut(What, &Progress) + Send,
) -> Result<Vec<Measured>> {
    let Some(state) = LabState::read(lab)? else {
        refuse!("no lab `{lab}` is up");
    };
    let topology = topology_of(&state)?;
    let client = client_of(&topology, plan.client.as_deref())?;
    let namespace = Namespace::open(&lab.namespace_of(&client))?;
    let mut all = Vec::new();
    for what in What::ALL {
        let Some(to) = address_of(&topology, what.protocol(), plan.v6) else {
            continue;
        };
        let order = what.order(to, plan.time);
        let outcome = namespace.run(|| load::run(&order, |progress| tell(what, progress)));
        let outcome = outcome.with_context(|| format!("from {client} to {to}"))?;
        all.push(Measured::of(what, to, &outcome));
        if outcome.cut_short {
            break;
        }
    }
    Ok(all)
}

fn client_of(topology: &Topology, wanted: Option<&str>) -> Result<String> {
    let mut clients = topology
        .clients
        .keys()
        .map(|name| Kind::Client.object(name));
    let found = match wanted {
        None => clients.next(),
        Some(wanted) => clients.find(|name| name == wanted),
    };
    let Some(found) = found else {
        let known: Vec<&str> = topology.clients.keys().map(String::as_str).collect();
        refuse!(
            "there is no `{}`; populations: {}",
            wanted.unwrap_or("client"),
            known.join(", ")
        );
    };
    Ok(found)
}

/// The first VIP's first listener of a protocol.
fn address_of(topology: &Topology, protocol: Protocol, v6: bool) -> Option<SocketAddr> {
    topology.vips.values().find_map(|vip| {
        let listeners = topology.clbs.get(&vip.clb)?.listeners.values();
        let mut ports = listeners.filter(|own| own.protocol == protocol);
        let port = ports.next()?.port;
        let of_family = vip.address.iter().find(|ip| ip.is_ipv6() == v6);
        // A VIP of IPv6 alone need not be asked for.
        let ip: IpAddr = of_family.or_else(|| vip.address.iter().next().filter(|_| !v6))?;
        Some(SocketAddr::new(ip, port))
    })
}
