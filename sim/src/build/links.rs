//! Links of a world: the backbone, the fabric of each region, and the public paths of clients.

use core::time::Duration;

use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::link::Loss;
use anyedge_net::route_table::{Path, PathEnds, RouteTable};
use anyedge_net::switch;
use anyedge_topologies::{Fault, FaultVerb, Kind, Line, Topology};

use super::ranks::Ranks;
use crate::link::Link;
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
        let is_mesh = matches!(path.ends, PathEnds::Mesh { .. });
        let ways = ways(table, path).into_iter();
        names.extend(ways.take(if is_mesh { 1 } else { 2 }));
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

/// The two directions under `path`. Of several paths between the same ends the first by name has the plain
/// name, the others say which they are.
fn ways(table: &RouteTable, path: &Path) -> [String; 2] {
    let (near, far) = path_ends(table, &path.ends);
    let first = table.paths.iter().find(|other| other.ends == path.ends);
    let own = both_ways(&near, &far);
    if first.is_some_and(|first| first.name == path.name) {
        return own;
    }
    own.map(|way| format!("{way}/{}", path.name))
}

fn path_ends(table: &RouteTable, ends: &PathEnds) -> (String, String) {
    let node = |id: NodeId| table.nodes[id.index()].name.clone();
    let region_object = |id: RegionId| Kind::Region.object(&table.regions[id.index()].name);
    match *ends {
        PathEnds::Ccn { pop, region } => (node(pop), region_object(region)),
        PathEnds::Fabric { region, host } => (node(host), region_object(region)),
        PathEnds::Mesh { region } => (region_object(region), region_object(region)),
        PathEnds::Backbone { regions: [a, b] } => (region_object(a), region_object(b)),
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
        let (near, _) = path_ends(table, &path.ends);
        let [inward, outward] = ways(table, path);
        let (rtt, line) = topology.under(path, &near);
        let mut link = |name: &str, end| add(name, line, rtt, end, ranks, world);
        match path.ends {
            PathEnds::Ccn { pop: edge, region } | PathEnds::Fabric { host: edge, region } => {
                let inward = link(&inward, LinkEnd::RegionTunnel(id));
                let outward = link(&outward, LinkEnd::Tunnel(edge, id));
                join(world, edge, id, inward);
                join_region(world, table, region, id, outward);
            }
            PathEnds::Mesh { region } => {
                let among = link(&inward, LinkEnd::RegionTunnel(id));
                join_region(world, table, region, id, among);
            }
            PathEnds::Backbone { regions: [a, b] } => {
                let there = link(&inward, LinkEnd::RegionTunnel(id));
                let back = link(&outward, LinkEnd::RegionTunnel(id));
                join_region(world, table, a, id, there);
                join_region(world, table, b, id, back);
            }
        }
    }
}

/// The directions that `fault` concerns of the link under the path of that name, between two ends.
pub(super) fn directions(
    fault: &Fault,
    path: &str,
    [near, far]: &[String; 2],
    world: &World,
) -> Vec<LinkId> {
    let from = match &fault.verb {
        FaultVerb::Degrade(degrade) => degrade.from.as_ref(),
        _ => None,
    };
    let mut paths = world.table.paths.iter();
    let path = paths.find(|own| own.name == path);
    let path = path.expect("the table has a path for every link of the file");
    let ways = ways(&world.table, path).into_iter().zip([near, far]);
    let concerned = ways.filter(|(_, end)| from.is_none_or(|from| from == *end));
    let links = concerned.map(|(name, _)| {
        let found = (0..)
            .zip(&world.links)
            .find(|(_, link)| link.spec.name == name);
        LinkId(found.expect("the world has every link of the file").0)
    });
    links.collect()
}

fn join(world: &mut World, node: NodeId, path: PathId, link: LinkId) {
    world.nodes[node.index()].tunnels[path.index()] = Some(link);
}

fn join_region(
    world: &mut World,
    table: &RouteTable,
    region: RegionId,
    path: PathId,
    link: LinkId,
) {
    for clb_node in &table.regions[region.index()].clb_nodes {
        join(world, *clb_node, path, link);
    }
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
    let spec = line.spec(name.to_owned(), rtt);
    let link = Link::new(spec, ranks.source(name), world.seed());
    world.add_link(link, end)
}

/// Adds both directions of a population's public path: towards the site, back to the clients.
pub(super) fn add_public(
    (rtt, mut line): (Duration, Line),
    [towards, back]: [&str; 2],
    site_end: LinkEnd,
    ranks: &Ranks,
    world: &mut World,
) -> (LinkId, LinkId) {
    if !switch::is_on("S-V611") {
        line.loss = Loss::Share(0);
    }
    let to_site = add(towards, line, rtt, site_end, ranks, world);
    let to_clients = add(back, line, rtt, LinkEnd::Clients, ranks, world);
    (to_site, to_clients)
}
