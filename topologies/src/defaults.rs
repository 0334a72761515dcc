//! `[defaults]`: what links and load balancers have where a file does not say.
//!
//! CCN links run at 10 Gbps, the management network at 1 Gbps, public paths and host links are unlimited; every MTU
//! is 1,500 and every queue 4 MiB. Tunnels are GRE in UDP over IPv4 (RFC 8086).

use std::ops::RangeInclusive;
use std::time::Duration;

use anyedge_net::route_table::Probing;

use crate::bgp::Bgp;
use crate::diagnostic::Wrong;
use crate::line::{self, Line};
use crate::reader::Reader;
use crate::security_group::EgressPort;
use crate::units;

/// What an election timeout may be.
const ELECTION_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);

/// How a packet is wrapped between a POP and a CLB node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encap {
    /// GRE with a key, IP protocol 47 (RFC 2784, RFC 2890).
    Gre,
    /// GRE in UDP (RFC 8086).
    GreUdp,
    /// GRE in a gRPC stream.
    Grpc,
    /// GRE in the datagrams of a QUIC connection (RFC 9221).
    Quic,
}

/// The IP version of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Who gives the nodes their route tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routes {
    /// The controllers.
    #[default]
    Raft,
    /// The file's own author, who has no machine and never fails.
    Static,
}

/// What a network with controllers begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// It is in service: controllers keep the file's content, and every node acts upon it.
    #[default]
    Warm,
    /// Nobody has anything: the content is the first that the operator gives the controllers.
    Cold,
}

/// Which TCP simulated hosts speak. Hosts of a lab have the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpStack {
    /// smoltcp's: small, two segments at first, no SACK.
    #[default]
    Smoltcp,
    /// One that does as Linux does: ten segments at first, SACK, losses repaired in a round trip.
    LinuxLike,
}

/// What links and load balancers have where a file does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Encapsulation of a CCN link.
    pub encap: Encap,
    /// Outer IP version of a CCN link.
    pub underlay: Underlay,
    /// A CCN link.
    pub ccn: Line,
    /// A client's path through the public Internet.
    pub public: Line,
    /// The link of a backend's host to its region.
    pub host: Line,
    /// Round trip between a backend's host and its region's CLB nodes.
    pub host_rtt: Duration,
    /// A way of the management network between two places.
    pub management: Line,
    /// Whether controllers and those who speak with them show certificates there.
    pub management_tls: bool,
    /// Who gives the nodes their route tables.
    pub routes: Routes,
    /// What controllers and nodes begin with, where tables are not static.
    pub start: Start,
    /// Which TCP simulated hosts speak.
    pub tcp: TcpStack,
    /// How long controllers wait for their leader; `None`: as long as their distance wants.
    pub election_timeout: Option<Duration>,
    /// Connections that a CLB node keeps at most.
    pub flows_max: u64,
    /// How POPs speak with their routers; `None`: there are none.
    pub bgp: Option<Bgp>,
    /// Flows that are there end when security groups no longer accept them.
    pub sg_flush_on_change: bool,
    /// Which port a client's outward rules are compared with.
    pub sg_egress_port: EgressPort,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            encap: Encap::GreUdp,
            underlay: Underlay::V4,
            ccn: Line {
                rate_bps: 10_000_000_000,
                ..Line::UNLIMITED
            },
            public: Line::UNLIMITED,
            host: Line::UNLIMITED,
            host_rtt: Duration::from_micros(500),
            management: Line {
                rate_bps: 1_000_000_000,
                ..Line::UNLIMITED
            },
            management_tls: false,
            routes: Routes::Raft,
            start: Start::Warm,
            tcp: TcpStack::default(),
            election_timeout: None,
            flows_max: 262_144,
            bgp: Some(Bgp::default()),
            sg_flush_on_change: false,
            sg_egress_port: EgressPort::Listener,
        }
    }
}

impl Defaults {
    /// Reads the defaults, and how nodes watch their paths.
    pub(crate) fn read(mut reader: Reader<'_>) -> (Self, Option<Probing>) {
        let mut defaults = Self::default();
        if let Some(mut ccn) = reader.table("ccn", "ccn.encap = \"gre-udp\"") {
            defaults.encap = Encap::read(&mut ccn).unwrap_or(defaults.encap);
            defaults.underlay = Underlay::read(&mut ccn).unwrap_or(defaults.underlay);
            defaults.ccn = Line::read(&mut ccn, defaults.ccn, line::OWN);
            ccn.finish();
        }
        if let Some(mut public) = reader.table("public", "public.loss = \"0%\"") {
            defaults.public = Line::read(&mut public, defaults.public, line::PUBLIC);
            public.finish();
        }
        if let Some(mut host) = reader.table("host", "host.rtt = \"0.5ms\"") {
            defaults.host_rtt = host
                .parse("rtt", "\"0.5ms\"", units::duration)
                .unwrap_or(defaults.host_rtt);
            defaults.host = Line::read(&mut host, defaults.host, line::OWN);
            host.finish();
        }
        if let Some(mut management) = reader.table("management", "management.rate = \"1Gbps\"") {
            defaults.management = Line::read(&mut management, defaults.management, line::PUBLIC);
            defaults.management_tls = management.boolean("tls").unwrap_or(false);
            management.finish();
        }
        defaults.routes = Routes::read(&mut reader).unwrap_or_default();
        defaults.start = Start::read(&mut reader).unwrap_or_default();
        defaults.tcp = TcpStack::read(&mut reader).unwrap_or_default();
        defaults.election_timeout = reader.parse("election_timeout", "\"1s\"", |text| {
            units::duration_within(text, ELECTION_TIMEOUT)
        });
        defaults.flows_max = reader
            .integer("flows_max", 1..=16_777_216)
            .unwrap_or(defaults.flows_max);
        defaults.bgp = Bgp::read(&mut reader);
        defaults.sg_flush_on_change = reader.boolean("sg_flush_on_change").unwrap_or(false);
        let port = reader.parse("sg_egress_port", "\"listener\"", |text| match text {
            "listener" => Ok(EgressPort::Listener),
            "backend" => Ok(EgressPort::Backend),
            _ => Err(one_of(text, "port", &["listener", "backend"])),
        });
        defaults.sg_egress_port = port.unwrap_or_default();
        let probing = probing(&mut reader);
        reader.finish();
        (defaults, probing)
    }
}

/// Reads `probe`: `false`, or a table of what differs from the default.
fn probing(reader: &mut Reader<'_>) -> Option<Probing> {
    let default = Probing::default();
    let Some(field) = reader.field("probe") else {
        return Some(default);
    };
    if let Some(probed) = field.value.as_bool() {
        return probed.then_some(default);
    }
    let example = "probe = { interval = \"100ms\", multiplier = 3, grey_loss = \"5%\" }";
    let mut probe = reader.reader_of(&field, example)?;
    let interval = probe.parse("interval", "\"100ms\"", |text| {
        units::duration_within(text, Duration::from_millis(10)..=Duration::from_secs(10))
    });
    let multiplier = probe.integer("multiplier", 1..=50);
    let grey_loss = probe.parse("grey_loss", "\"5%\"", units::parts_per_million);
    probe.finish();
    Some(Probing {
        interval: interval.unwrap_or(default.interval),
        multiplier: multiplier
            .and_then(|multiplier| u8::try_from(multiplier).ok())
            .unwrap_or(default.multiplier),
        grey_loss_ppm: grey_loss.unwrap_or(default.grey_loss_ppm),
    })
}

impl Encap {
    /// As a file writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gre => "gre",
            Self::GreUdp => "gre-udp",
            Self::Grpc => "grpc",
            Self::Quic => "quic",
        }
    }

    /// Whether packets go in a connection that both ends hold with certificates.
    #[must_use]
    pub const fn is_connection(self) -> bool {
        match self {
            Self::Gre | Self::GreUdp => false,
            Self::Grpc | Self::Quic => true,
        }
    }

    /// Reads `encap`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.parse("encap", "\"gre-udp\"", |text| match text {
            "gre" => Ok(Self::Gre),
            "gre-udp" => Ok(Self::GreUdp),
            "grpc" => Ok(Self::Grpc),
            "quic" => Ok(Self::Quic),
            _ => Err(one_of(
                text,
                "encapsulation",
                &["gre", "gre-udp", "grpc", "quic"],
            )),
        })
    }
}

impl Routes {
    /// Reads `routes`.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.parse("routes", "\"static\"", |text| match text {
            "raft" => Ok(Self::Raft),
            "static" => Ok(Self::Static),
            _ => Err(one_of(text, "source of routes", &["raft", "static"])),
        })
    }
}

impl Start {
    /// Reads `start`.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.parse("start", "\"warm\"", |text| match text {
            "warm" => Ok(Self::Warm),
            "cold" => Ok(Self::Cold),
            _ => Err(one_of(text, "way to start", &["warm", "cold"])),
        })
    }
}

impl TcpStack {
    /// As a file writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Smoltcp => "smoltcp",
            Self::LinuxLike => "linux-like",
        }
    }

    /// Reads `tcp`.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.parse("tcp", "\"linux-like\"", |text| match text {
            "smoltcp" => Ok(Self::Smoltcp),
            "linux-like" => Ok(Self::LinuxLike),
            _ => Err(one_of(text, "TCP", &["smoltcp", "linux-like"])),
        })
    }
}

impl Underlay {
    /// Reads `underlay`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.parse("underlay", "\"v4\"", |text| match text {
            "v4" => Ok(Self::V4),
            "v6" => Ok(Self::V6),
            _ => Err(one_of(text, "underlay", &["v4", "v6"])),
        })
    }
}

/// A word that is none of a few.
pub(crate) fn one_of(text: &str, what: &str, known: &[&str]) -> Wrong {
    let list: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
    Wrong::new(
        format!("there is no {what} \"{text}\""),
        format!("one of {}", list.join(", ")),
    )
}
