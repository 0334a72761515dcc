//! L02: health checks that the backend's own security groups drop.
//!
//! Checks come from the VIP or from 100.64.0.0/10, by TCP, UDP or as a ping, to the port of the target or to one of their
//! own; the groups of a target's host have to accept each packet of them. Asked is the very filter that the host's
//! vSwitch would have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyedge_ccn::table::object::IpVersion;
use anyedge_net::flow::FlowKey;
use anyedge_net::route_table::{HealthCheck, ProbeSource};
use anyedge_net::security_group::Filter;
use anyedge_net::wire::{icmp, tcp, udp};

use crate::clb::{Clb, Listener};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::targets::{Server, Targets};

use super::{Case, Rule};

/// Any port that a check may come from; rules do not name it.
const SOURCE_PORT: u16 = 32_768;

/// The filters of hosts by their groups, which most of them share.
type Filters<'c> = BTreeMap<&'c [String], Option<Filter>>;

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    let mut filters = Filters::new();
    let clbs = case.topology.clbs.values();
    let asked = clbs.filter(|clb| !clb.sg_probes_exempt && !clb.sg_pass_by_default);
    for clb in asked {
        for listener in clb.listeners.values() {
            if let Some(refused) = refused(case, &mut filters, clb, listener) {
                report(case, rule, &refused, clb, listener);
            }
        }
    }
}

/// The first check of a listener that is dropped.
struct Refused<'c> {
    targets: &'c Targets,
    server: &'c Server,
    /// Who a rule would have to name.
    peer: String,
    source: IpAddr,
    /// What of: a port, or none of a ping.
    port: Option<u16>,
}

fn refused<'c>(
    case: &Case<'c>,
    filters: &mut Filters<'c>,
    clb: &Clb,
    listener: &Listener,
) -> Option<Refused<'c>> {
    let topology = case.topology;
    let check = listener.health.as_ref()?;
    let targets = topology.targets.get(&listener.targets)?;
    let sources = sources(case, clb, check.source);
    let dropped = |server: &'c Server| {
        let groups = &topology.hosts.get(&server.host)?.security_groups;
        let filter = filters
            .entry(groups)
            .or_insert_with(|| topology.filter(groups));
        let filter = filter.as_ref()?;
        let mut packets = sources.iter().flat_map(|(peer, source)| {
            let packets = packets(check, *source, server).into_iter();
            packets.map(move |packet| (peer, *source, packet))
        });
        let (peer, source, packet) = packets.find(|(.., packet)| !filter.admits(packet))?;
        let has_port = matches!(packet.protocol, tcp::PROTOCOL | udp::PROTOCOL);
        Some(Refused {
            targets,
            server,
            peer: peer.clone(),
            source,
            port: has_port.then_some(packet.dst_port),
        })
    };
    targets.servers.iter().find_map(dropped)
}

/// Where checks of a load balancer come from, with the word of a rule for it: each CLB node may have an address of its own.
fn sources(case: &Case<'_>, clb: &Clb, asked: ProbeSource) -> Vec<(String, IpAddr)> {
    let region = case.topology.regions.get(&clb.region);
    let nodes = region.map_or(1, |region| region.clb_nodes.len());
    let mut sources = Vec::new();
    for vip in case.vips_of(clb) {
        for address in vip.address.iter() {
            let nat64 = clb.ip_version == IpVersion::Nat64;
            let from = if nat64 {
                ProbeSource::BLOCK
            } else {
                address.into()
            };
            for place in (0..nodes).filter_map(|place| u16::try_from(place).ok()) {
                let source: IpAddr = asked.address(from, place).into();
                let peer = if source == address {
                    Kind::Vip.object(&vip.name)
                } else {
                    "100.64.0.0/10".to_owned()
                };
                sources.push((peer, source));
            }
        }
    }
    sources.dedup();
    sources
}

/// What a check sends from `source` to the server's address of its family.
fn packets(check: &HealthCheck, source: IpAddr, server: &Server) -> Vec<FlowKey> {
    let ping = match source {
        IpAddr::V4(_) => icmp::PROTOCOL_V4,
        IpAddr::V6(_) => icmp::PROTOCOL_V6,
    };
    let method = &check.method;
    let carried = [tcp::PROTOCOL, udp::PROTOCOL].into_iter();
    let carried = carried.filter(|protocol| method.is_of(*protocol) && !method.is_of(ping));
    let protocols: Vec<u8> = carried.chain(method.pings().then_some(ping)).collect();
    let mut addresses = server.address.iter();
    let Some(address) = addresses.find(|address| address.is_ipv4() == source.is_ipv4()) else {
        return Vec::new();
    };
    let packet = |protocol| FlowKey {
        src: source.into(),
        dst: address.into(),
        src_port: SOURCE_PORT,
        dst_port: check.port.unwrap_or(server.port),
        protocol,
    };
    protocols.into_iter().map(packet).collect()
}

fn report(
    case: &Case<'_>,
    rule: &'static Rule,
    refused: &Refused<'_>,
    clb: &Clb,
    listener: &Listener,
) {
    let Refused {
        targets,
        server,
        peer,
        source,
        port,
    } = refused;
    let host = server.host_object();
    let (what, service) = match port {
        Some(port) => (format!("on port {port}"), port.to_string()),
        None => ("as pings".to_owned(), "icmp".to_owned()),
    };
    let reason = format!(
        "health checks of {}, listener `{}`, come from {peer} ({source}), and {host} drops them {what}",
        Kind::Clb.object(&clb.name),
        listener.name,
    );
    let groups = case.topology.hosts.get(&server.host);
    let group = groups.and_then(|host| host.security_groups.first());
    let group = group.map_or_else(String::new, |name| Kind::SecurityGroup.object(name));
    let hint = format!("\"{peer}+{service} allow\" in `ingress` of {group}, above what drops it");
    let object = binding(case, targets, server);
    case.found(rule, &object, "security_groups", Wrong::new(reason, hint));
}

/// The object in the file that gives a server's host its groups.
fn binding(case: &Case<'_>, targets: &Targets, server: &Server) -> String {
    let host = server.host_object();
    if case.has(&host, "security_groups") {
        return host;
    }
    let binds = |set: &&Targets| {
        let mut servers = set.servers.iter();
        !set.security_groups.is_empty() && servers.any(|other| other.host == server.host)
    };
    let mut all = std::iter::once(targets).chain(case.topology.targets.values());
    let binding = all.find(binds).unwrap_or(targets);
    Kind::Targets.object(&binding.name)
}
