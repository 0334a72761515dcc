//! Load balancers with their listeners, rules and targets, their SNAT addresses, and the VIPs bound to them.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use anyedge_net::flow::Address;
use anyedge_net::route_table::{FlowLimits, HealthCheck, RescheduleOn, SourceTold};
use anyedge_net::time::Instant;

/// Who may reach a load balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClbType {
    /// Its own network; what an anycast VIP is bound to.
    #[default]
    Internal,
    /// The Internet.
    Public,
}

/// Which addresses a load balancer serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpVersion {
    /// Both.
    #[default]
    Dual,
    /// IPv4 alone.
    V4,
    /// IPv6 alone, from end to end.
    V6,
    /// IPv6 in front, IPv4 behind.
    Nat64,
}

/// Whether a load balancer may have targets elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CrossRegion {
    /// It may not.
    #[default]
    Off,
    /// Version 1.0: all in one other region, for good.
    V1,
    /// Version 2.0: anywhere on the CCN.
    V2,
}

/// How much a load balancer may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum InstanceType {
    /// As much as its nodes hold.
    #[default]
    Unlimited,
    /// 50,000 flows at a time and 5,000 new ones a second, over all of its listeners.
    Shared,
}

impl InstanceType {
    /// What it may have on all nodes together.
    pub const fn limits(self) -> FlowLimits {
        match self {
            InstanceType::Unlimited => FlowLimits {
                connections_max: None,
                per_second_max: None,
            },
            InstanceType::Shared => FlowLimits {
                connections_max: Some(50_000),
                per_second_max: Some(5_000),
            },
        }
    }
}

/// A regional load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clb {
    /// Bare name.
    pub name: String,
    /// Where its nodes are.
    pub region: String,
    /// Who may reach it.
    pub clb_type: ClbType,
    /// Of the old make.
    pub classic: bool,
    /// Which addresses it serves.
    pub ip_version: IpVersion,
    /// The VPC; empty: the region's default one. `basic` is the basic network.
    pub network: String,
    /// The network and its subnet have an IPv6 range.
    pub network_has_ipv6: bool,
    /// Whose lines; empty is `BGP`.
    pub isp: String,
    /// Whether it may have targets elsewhere.
    pub cross_region: CrossRegion,
    /// The region of its targets, with version 1.0.
    pub backend_region: String,
    /// All flows of a client to a VIP go to one CLB node.
    pub client_affinity: bool,
    /// Flows of a target that is unbound are cut by a RST to both ends.
    pub rst_on_unbind: bool,
    /// How long flows of a target that is unbound go on; `None`: not at all.
    pub unbind_drain: Option<Duration>,
    /// Over how long flows that are to be cut are, each at a time of its own.
    pub unbind_spread: Duration,
    /// With all of a listener's targets abnormal, all get new flows.
    pub fail_open: bool,
    /// Its security groups, in order.
    pub security_groups: Vec<String>,
    /// What its groups accept is not asked about again at the backend.
    pub sg_pass_by_default: bool,
    /// Its groups do not take effect while it is internal: a fault of old.
    pub eip_bypasses_clb_sg: bool,
    /// Its health checks are not asked about at the backend.
    pub sg_probes_exempt: bool,
    /// How much it may have.
    pub instance_type: InstanceType,
}

impl Clb {
    /// An internal load balancer in `region` with the product's defaults.
    pub fn new(name: &str, region: &str) -> Clb {
        Clb {
            name: name.to_owned(),
            region: region.to_owned(),
            clb_type: ClbType::Internal,
            classic: false,
            ip_version: IpVersion::Dual,
            network: String::new(),
            network_has_ipv6: true,
            isp: String::new(),
            cross_region: CrossRegion::Off,
            backend_region: String::new(),
            client_affinity: false,
            rst_on_unbind: true,
            unbind_drain: None,
            unbind_spread: Duration::ZERO,
            fail_open: true,
            security_groups: Vec::new(),
            sg_pass_by_default: false,
            eip_bypasses_clb_sg: false,
            sg_probes_exempt: false,
            instance_type: InstanceType::Unlimited,
        }
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// TLS, ended at the CLB node, in front of TCP.
    TcpSsl,
    /// QUIC, ended at the CLB node, in front of TCP.
    Quic,
    /// HTTP.
    Http,
    /// HTTPS.
    Https,
}

impl Protocol {
    /// Whether it has rules with domains and URLs.
    pub const fn is_layer_7(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Https)
    }

    /// Whether its port is one of UDP's.
    pub const fn is_udp_class(self) -> bool {
        matches!(self, Protocol::Udp | Protocol::Quic)
    }

    /// Whether it shows a certificate.
    pub const fn has_certificate(self) -> bool {
        matches!(self, Protocol::TcpSsl | Protocol::Quic | Protocol::Https)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::TcpSsl => "TCP SSL",
            Protocol::Quic => "QUIC",
            Protocol::Http => "HTTP",
            Protocol::Https => "HTTPS",
        })
    }
}

/// How new flows are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SchedulerKind {
    /// Smooth weighted round robin.
    #[default]
    Wrr,
    /// Fewest connections by weight.
    LeastConn,
    /// The client's address.
    IpHash,
    /// Weighted consistent hashing.
    Maglev,
}

/// A port of a load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// The load balancer.
    pub clb: String,
    /// Bare name, unique in its load balancer.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// 1-65535.
    pub port: u32,
    /// How new flows are spread; a rule has its own.
    pub scheduler: SchedulerKind,
    /// Seconds that a client stays with its target, 30-3600; 0: off.
    pub session_expire: u32,
    /// How its targets are checked; `None`: they are not. TCP only.
    pub health: Option<HealthCheck>,
    /// How its targets are told who the client is. TCP only.
    pub source: SourceTold,
    /// Name of the server's certificate; empty: none.
    pub certificate: String,
    /// Clients show certificates too.
    pub mutual: bool,
    /// Who signs those of clients.
    pub client_ca: String,
    /// Connections at most; 0: no limit.
    pub max_conn: u32,
    /// New connections a second at most; 0: no limit.
    pub max_cps: u32,
    /// Requests are logged; layer 7 only.
    pub access_log: bool,
    /// A certificate for each domain; for good.
    pub sni: bool,
    /// Seconds that an established TCP flow may be silent, 10-900; 0: 900.
    pub idle_timeout: u32,
    /// What moves flows that are under way to other targets.
    pub reschedule_on: RescheduleOn,
}

impl Listener {
    /// A listener that spreads by weighted round robin and has nothing special.
    pub fn new(clb: &str, name: &str, protocol: Protocol, port: u32) -> Listener {
        Listener {
            clb: clb.to_owned(),
            name: name.to_owned(),
            protocol,
            port,
            scheduler: SchedulerKind::Wrr,
            session_expire: 0,
            health: None,
            source: SourceTold::default(),
            certificate: String::new(),
            mutual: false,
            client_ca: String::new(),
            max_conn: 0,
            max_cps: 0,
            idle_timeout: 0,
            reschedule_on: RescheduleOn::default(),
            access_log: false,
            sni: false,
        }
    }

    /// `gz-main/web`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.clb, self.name)
    }
}

/// A domain and URL of a layer-7 listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The load balancer.
    pub clb: String,
    /// The listener.
    pub listener: String,
    /// Bare name, unique in its listener.
    pub name: String,
    /// 1-80 characters.
    pub domain: String,
    /// 1-200 characters.
    pub url: String,
    /// How new requests are spread.
    pub scheduler: SchedulerKind,
    /// Seconds that a client stays with its target, 30-3600; 0: off.
    pub session_expire: u32,
    /// How its targets are checked.
    pub health: Option<HealthCheck>,
}

impl Rule {
    /// `gz-main/site/shop`.
    pub fn full_name(&self) -> String {
        format!("{}/{}/{}", self.clb, self.listener, self.name)
    }
}

/// What kind of backend a target is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TargetKind {
    /// A server.
    #[default]
    Instance,
    /// An address of an elastic network interface.
    Eni,
    /// An address in an on-premises network, over the CCN.
    Idc,
}

/// A backend's port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The load balancer.
    pub clb: String,
    /// The listener.
    pub listener: String,
    /// The rule; empty for layer 4.
    pub rule: String,
    /// The backend's address.
    pub address: Address,
    /// 1-65535.
    pub port: u32,
    /// 0-100; 0 takes no new flow.
    pub weight: i32,
    /// Full name of the host that has it; empty on premises.
    pub host: String,
    /// What kind it is.
    pub kind: TargetKind,
    /// Its place among the listener's targets; 0: behind all others.
    pub place: u64,
}

impl Target {
    /// The weight of a target that is given none.
    pub const WEIGHT_DEFAULT: i32 = 10;

    /// What it belongs to: `gz-main/web`, or `gz-main/site/shop`.
    pub fn parent(&self) -> String {
        let Target {
            clb,
            listener,
            rule,
            ..
        } = self;
        if rule.is_empty() {
            format!("{clb}/{listener}")
        } else {
            format!("{clb}/{listener}/{rule}")
        }
    }

    /// `10.0.0.12:8080`; a port that is none still shows.
    pub fn own_name(&self) -> String {
        match u16::try_from(self.port) {
            Ok(port) => SocketAddr::new(self.address.into(), port).to_string(),
            Err(_) => format!("{} port {}", self.address, self.port),
        }
    }

    /// `gz-main/web/10.0.0.12:8080`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.parent(), self.own_name())
    }
}

/// An anycast address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vip {
    /// Bare name.
    pub name: String,
    /// Its addresses: at least one, once it is in the table.
    pub addresses: Vec<Address>,
    /// Where an address comes from when none is given.
    pub prefix: String,
    /// Its load balancer, in its home region; empty: not bound.
    pub clb: String,
    /// Load balancers in other regions, in the order in which they take over.
    pub standby: Vec<String>,
    /// The publish domain: full names of the POPs that announce it, at least one.
    pub publish: Vec<String>,
    /// POPs that a drain must leave it.
    pub publishers_min: u32,
    /// It is announced nowhere, whatever `publish` says.
    pub withdrawn: bool,
}

/// An address of a load balancer's network from which it speaks to targets on premises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnatIp {
    /// The load balancer.
    pub clb: String,
    /// The address.
    pub address: Address,
}

impl SnatIp {
    /// `gz-main/10.1.0.5`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.clb, self.address)
    }
}

/// Ports of a SNAT address that one CLB node may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnatBlock {
    /// The load balancer.
    pub clb: String,
    /// The SNAT address.
    pub address: Address,
    /// The first of its ports.
    pub first_port: u32,
    /// Who may use them; empty: nobody, until `free_at`.
    pub node: String,
    /// From when on somebody else may, once nobody does.
    pub free_at: Instant,
    /// Who leased it: while that node is lost, another one has it.
    pub home: String,
}

impl SnatBlock {
    /// `gz-main/10.1.0.5/10024`.
    pub fn full_name(&self) -> String {
        format!("{}/{}/{:05}", self.clb, self.address, self.first_port)
    }
}
