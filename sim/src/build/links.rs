//! Links of a world: the backbone, the fabric of each region, and the public paths of clients.

use core::time::Duration;

use anyedge_net::id::PathId;
use anyedge_net::route_table::{PathEnds, RouteTable};
use anyedge_topologies::{Client, Fault, FaultVerb, Kind, Line, Topology};

use super::ranks::Ranks;
use crate::link::{Link, LinkSpec};
use crate::world::{LinkEnd, LinkId, World};

/// The name of the direct twin of a population: the same clients, straight to `region`.
pub(super) fn twin_name(client: &str, region: &str) -> String {
    format!("{}/{region}", Kind::Client.object(client))
}

/// The two directions between `a` and `b`.
pub(super) fn both_ways(a: &str, b: &str) -> [String; 2] {
    [format!("{a}>{b}"), format!("{b}>{a}")]
}

/// Names of all links that the world will have.
pub(super) fn names(topology: &Topology, table: &RouteTable) -> Vec<String> {
    let mut names = Vec::new();
    for (_, path) in table.paths() {
        let (near, far) = path_ends(table, &path.ends);
        names.extend(both_ways(&near, &far));
    }
    for client in topology.clients.values() {
        let own = Kind::Client.object(&client.name);
        for pop in client.pop_rtts.keys() {
            names.extend(both_ways(&own, &Kind::Pop.object(pop)));
        }
        for region in client.region_rtts.keys() {
            names.extend(both_ways(
                &twin_name(&client.name, region),
                &Kind::Region.object(region),
            ));
        }
    }
    names
}

fn path_ends(table: &RouteTable, ends: &PathEnds) -> (String, String) {
    let node = |id: anyedge_net::id::NodeId| table.nodes[id.index()].name.clone();
    let region_object =
        |id: anyedge_net::id::RegionId| Kind::Region.object(&table.regions[id.index()].name);
    match *ends {
        PathEnds::Ccn { pop, region } => (node(pop), region_object(region)),
        PathEnds::Fabric { region, host } => (node(host), region_object(region)),
    }
}

/// Adds the links under all tunnels: POP to region and region to host.
pub(super) fn add_backbone(
    topology: &Topology,
    table: &RouteTable,
    ranks: &Ranks,
    world: &mut World,
) {
    for (id, path) in table.paths() {
        let (edge_name, region_object) = path_ends(table, &path.ends);
        let (edge, region, rtt, line) = match path.ends {
            PathEnds::Ccn { pop, region } => {
                let link = &topology.links[&path.name];
                (pop, region, link.rtt, link.line)
            }
            PathEnds::Fabric { region, host } => {
                let bare = edge_name.strip_prefix("host.").unwrap_or(&edge_name);
                let host_entry = &topology.hosts[bare];
                (host, region, host_entry.rtt, host_entry.line)
            }
        };
        let [inward, outward] = both_ways(&edge_name, &region_object);
        let inward = add(&inward, line, rtt, LinkEnd::RegionTunnel(id), ranks, world);
        let outward = add(&outward, line, rtt, LinkEnd::Tunnel(edge, id), ranks, world);
        join(world, edge.index(), id, inward);
        for clb_node in &table.regions[region.index()].clb_nodes {
            join(world, clb_node.index(), id, outward);
        }
    }
}

/// The directions of `link` that `fault` concerns.
pub(super) fn directions(
    fault: &Fault,
    link: &anyedge_topologies::Link,
    world: &World,
) -> Vec<LinkId> {
    let [pop, region] = [
        Kind::Pop.object(&link.pop),
        Kind::Region.object(&link.region),
    ];
    let from = match &fault.verb {
        FaultVerb::Down => None,
        FaultVerb::Degrade(degrade) => degrade.from.as_ref(),
    };
    let ways = both_ways(&pop, &region).into_iter().zip([&pop, &region]);
    let concerned = ways.filter(|(_, end)| from.is_none_or(|from| from == *end));
    let links = concerned.map(|(name, _)| {
        let found = (0..)
            .zip(&world.links)
            .find(|(_, link)| link.spec.name == name);
        LinkId(found.expect("the world has every link of the file").0)
    });
    links.collect()
}

fn join(world: &mut World, node: usize, path: PathId, link: LinkId) {
    world.nodes[node].tunnels[path.index()] = Some(link);
}

/// Adds one direction of a link with half of `rtt` as its delay.
pub(super) fn add(
    name: &str,
    line: Line,
    rtt: Duration,
    end: LinkEnd,
    ranks: &Ranks,
    world: &mut World,
) -> LinkId {
    let spec = LinkSpec {
        name: name.to_owned(),
        rate_bps: line.rate_bps,
        delay: rtt / 2,
        jitter: line.jitter,
        loss: line.loss,
        queue_bytes_max: line.queue_bytes_max,
        mtu: line.mtu_bytes as usize,
    };
    let link = Link::new(spec, ranks.source(name), world.seed());
    world.add_link(link, end)
}

/// Adds both directions of a population's public path: towards the site, back to the clients.
pub(super) fn add_public(
    client: &Client,
    [towards, back]: [&str; 2],
    rtt: Duration,
    site_end: LinkEnd,
    ranks: &Ranks,
    world: &mut World,
) -> (LinkId, LinkId) {
    let to_site = add(towards, client.line, rtt, site_end, ranks, world);
    let to_clients = add(back, client.line, rtt, LinkEnd::Clients, ranks, world);
    (to_site, to_clients)
}
