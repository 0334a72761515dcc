//! POPs' routers: for each POP a host for its speakers, one for the router, and the wire between them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyedge_net::flow::Address;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;
use anyedge_pop::advertise::{Inbox, Plan, Wire};
use anyedge_pop::bgp::IpNet;
use anyedge_topologies::{Bgp, Kind, Line, Router, Topology};

use super::Sites;
use super::links::{self, both_ways};
use super::ranks::Ranks;
use crate::executor::HostId;
use crate::peerings::Peering;
use crate::stack::HostStack;
use crate::world::{Attachment, HostEntry, LinkEnd, LinkId, World};

/// Round trip between a POP and its router, in the same room.
const RTT: Duration = Duration::from_micros(200);

/// The two hosts of a POP and its router, and what runs on them.
pub(crate) struct PeeringHosts {
    pub(crate) pop: NodeId,
    /// `pop.tokyo/bgp`, and its host.
    pub(crate) speakers: (String, HostId),
    /// `router.tokyo`, and its host.
    pub(crate) router: (String, HostId),
    /// The POP's.
    pub(crate) plan: Plan,
    /// The POP's end of the wire, and the router's.
    pub(crate) wires: [Wire; 2],
}

fn speakers_name(pop: &str) -> String {
    format!("{}/bgp", Kind::Pop.object(pop))
}

/// Names of all such hosts and links.
pub(super) fn names(topology: &Topology) -> Vec<String> {
    let of = |router: &Router| {
        let ends = [speakers_name(&router.name), router.object()];
        let wire = both_ways(&ends[0], &ends[1]);
        ends.into_iter().chain(wire)
    };
    topology.routers.values().flat_map(of).collect()
}

/// Adds them.
pub(super) fn add(
    topology: &Topology,
    table: &RouteTable,
    sites: &Sites,
    ranks: &Ranks,
    world: &mut World,
) -> Vec<PeeringHosts> {
    let Some(bgp) = topology.defaults.bgp else {
        return Vec::new();
    };
    let mut hosts = Vec::new();
    for router in topology.routers.values() {
        let node = table.node_named(&Kind::Pop.object(&router.name));
        let node = node.expect("the table has every POP");
        let names = [speakers_name(&router.name), router.object()];
        let first = world.hosts.len();
        let [own, other] = [first, first + 1]
            .map(|at| HostId(u32::try_from(at).expect("the builder bounds the number of hosts")));
        let [out, back] = both_ways(&names[0], &names[1]);
        let mut wire = |name: &str, end| {
            links::add(name, Line::UNLIMITED, RTT, LinkEnd::Peer(end), ranks, world)
        };
        let (out, back) = (wire(&out, other), wire(&back, own));
        add_host(&names[0], router.pop.iter(), out, ranks, world);
        add_host(&names[1], router.address.iter(), back, ranks, world);
        let peering = Peering {
            site: sites.pops[&router.name],
            inbox: Inbox::new(),
            host: own,
            vips: vips_by_prefix(topology, world),
            is_synced: false,
            is_established: false,
        };
        world.peerings.add(node, peering);
        let [speakers, router_host] = names;
        let near = wire_of(topology, router, &bgp);
        let id = router.address.v4.unwrap_or(near.id);
        let far = near.reversed(id);
        hosts.push(PeeringHosts {
            pop: node,
            speakers: (speakers, own),
            router: (router_host, other),
            plan: plan(topology, &near, &bgp),
            wires: [near, far],
        });
    }
    hosts
}

fn add_host(
    name: &str,
    addresses: impl Iterator<Item = IpAddr>,
    link: LinkId,
    ranks: &Ranks,
    world: &mut World,
) {
    let config = world.host_config(name, addresses.collect());
    let stack = HostStack::new(&config);
    let entry = HostEntry::new(stack, ranks.source(name), Attachment::Peer(link));
    world.hosts.push(entry);
}

/// The POP's end of the wire to its router.
fn wire_of(topology: &Topology, router: &Router, bgp: &Bgp) -> Wire {
    let underlay = topology.pops[&router.name].underlay.v4;
    Wire {
        ases: [bgp.asn, router.asn],
        local: (router.pop.v4, router.pop.v6),
        remote: (router.address.v4, router.address.v6),
        id: underlay.expect("both families are always there"),
        hold: router.hold,
        bfd: router.bfd.map(|bfd| (bfd.interval, bfd.multiplier)),
    }
}

fn plan(topology: &Topology, wire: &Wire, bgp: &Bgp) -> Plan {
    let vips = topology.vips.values();
    let prefixes = vips.flat_map(|vip| vip.address.iter().zip(&vip.prefixes));
    let prefixes = prefixes.map(|(ip, prefix)| {
        let net = IpNet::new(prefix.network, prefix.length);
        (
            Address::from(ip),
            net.expect("the file's reader checked its length"),
        )
    });
    Plan {
        prefixes: prefixes.collect(),
        neighbours: wire.neighbour().into_iter().collect(),
        drain: bgp.graceful_shutdown,
        // A forwarder of the simulator stops with its POP.
        dead_after: None,
    }
}

/// Numbers of VIPs by prefix, of all: a site changes nothing but what it publishes.
fn vips_by_prefix(topology: &Topology, world: &World) -> BTreeMap<IpNet, Vec<usize>> {
    let mut by_prefix: BTreeMap<IpNet, Vec<usize>> = BTreeMap::new();
    for vip in topology.vips.values() {
        for (ip, prefix) in vip.address.iter().zip(&vip.prefixes) {
            let number = world.internet.vip(Address::from(ip));
            let net = IpNet::new(prefix.network, prefix.length).ok();
            if let Some((net, number)) = net.zip(number) {
                by_prefix.entry(net).or_default().push(number);
            }
        }
    }
    by_prefix
}
