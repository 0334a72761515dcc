//! Hosts of a world: clients, their direct twins, and backends.
//!
//! A twin is the same population once more, with addresses of its own, whose packets go straight over the
//! public path to the home region instead of entering at a POP. It draws the same arrivals as its original
//! (common random numbers), so that what differs between the two is the way and nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::route_table::{Path, PathEnds, RouteTable};
use anyedge_net::switch;
use anyedge_topologies::{Client, Kind, Line, Load, Service, Topology};

use super::Sites;
use super::links::{self, twin_name};
use super::ranks::Ranks;
use crate::executor::HostId;
use crate::internet::{PopulationId, PublicPath, SiteId};
use crate::stack::{HostConfig, HostStack};
use crate::world::{Attachment, HostEntry, LinkEnd, World, is_plain};

/// Twins live in the shared address space (RFC 6598), one block per region.
const TWINS_V4: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const TWINS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 0);
/// Bits of a client's address that tell it from other clients.
const CLIENT_BITS: u32 = 17;
/// Regions that fit the 22 bits of the shared address space behind a client's.
pub(super) const TWIN_REGIONS_MAX: usize = 1 << (22 - CLIENT_BITS);

/// A client host and what it will do.
pub(crate) struct LoadHost {
    pub(crate) host: HostId,
    /// Its name, which is also the name of its randomness: a twin has its original's.
    pub(crate) name: String,
    pub(crate) client: String,
    /// This host's place among the population's.
    pub(crate) index: u32,
    pub(crate) of: u32,
    pub(crate) v6: bool,
    /// Of the direct path: the twin's region.
    pub(crate) direct: Option<String>,
}

/// A backend host and where it serves.
pub(crate) struct BackendHost {
    pub(crate) host: HostId,
    pub(crate) name: String,
    pub(crate) listen: Vec<SocketAddr>,
    /// What its servers need for a request, those that need anything.
    pub(crate) services: Vec<(SocketAddr, Service)>,
}

/// Names of all hosts that the world will have.
pub(super) fn names(topology: &Topology) -> Vec<String> {
    let mut names: Vec<String> = topology
        .hosts
        .keys()
        .map(|name| backend_name(name))
        .collect();
    for client in topology.clients.values() {
        let populations = twins(topology, client)
            .into_iter()
            .map(|region| twin_name(&client.name, &region));
        for population in populations.chain([Kind::Client.object(&client.name)]) {
            names.extend((0..client.count).map(|index| host_name(&population, index)));
        }
    }
    names
}

/// The host behind a vSwitch; the vSwitch itself bears the host's name in the file.
fn backend_name(host: &str) -> String {
    format!("{}/backend", Kind::Host.object(host))
}

fn host_name(population: &str, index: u32) -> String {
    format!("{population}/{}", index + 1)
}

/// Regions that loads of `client` also reach straight over the public path.
fn twins(topology: &Topology, client: &Client) -> Vec<String> {
    let regions = client
        .loads
        .iter()
        .filter(|load| load.direct && switch::is_on("S-AC07"))
        .map(|load| home(topology, load));
    let mut regions: Vec<String> = regions
        .filter(|region| client.region_rtts.contains_key(region))
        .collect();
    regions.sort();
    regions.dedup();
    regions
}

/// The region where a load is served.
pub(crate) fn home(topology: &Topology, load: &Load) -> String {
    topology.home_region(&load.vip).name.clone()
}

/// The path of a host without a vSwitch.
fn own_plain_path(table: &RouteTable, host: NodeId) -> Option<(PathId, &Path)> {
    let mut plain = table.paths().filter(|(_, path)| is_plain(path));
    plain.find(|(_, path)| matches!(path.ends, PathEnds::Fabric { host: own, .. } if own == host))
}

pub(super) fn add_backends(
    topology: &Topology,
    table: &RouteTable,
    ranks: &Ranks,
    world: &mut World,
) -> Vec<BackendHost> {
    let mut backends = Vec::new();
    for host in topology.hosts.values() {
        let name = backend_name(&host.name);
        let node = table
            .node_named(&Kind::Host.object(&host.name))
            .expect("the table has every host");
        let id = add_host(
            &name,
            &name,
            &topology.addresses_on(host),
            host.line,
            Attachment::Backend(node),
            ranks,
            world,
        );
        world.nodes[node.index()].backend = Some(id);
        if let Some((path, _)) = own_plain_path(table, node)
            && let Some(homeward) = world.nodes[node.index()].tunnel(path)
        {
            let addresses = host.addresses.iter().map(|address| (*address).into());
            world.vpc.add(node, path, homeward, addresses);
        }
        backends.push(BackendHost {
            host: id,
            name,
            services: topology.services_of(&host.name),
            listen: topology.listening_on(&host.name),
        });
    }
    backends
}

pub(super) fn add_clients(
    topology: &Topology,
    table: &RouteTable,
    sites: &Sites,
    ranks: &Ranks,
    world: &mut World,
) -> Vec<LoadHost> {
    let mut loads = Vec::new();
    for client in topology.clients.values() {
        let own = Kind::Client.object(&client.name);
        let mut paths = BTreeMap::new();
        for pop in client.pop_rtts.keys() {
            let way = client.way_to(pop).expect("a POP of its own");
            let pop_object = Kind::Pop.object(pop);
            let node = table
                .node_named(&pop_object)
                .expect("the table has every POP");
            let [towards, back] = links::both_ways(&own, &pop_object);
            let (to_site, to_clients) = links::add_public(
                way,
                [&towards, &back],
                LinkEnd::PopPublic(node),
                ranks,
                world,
            );
            paths.insert(
                sites.pops[pop],
                PublicPath {
                    preference: client.preference(pop).unwrap_or_default(),
                    to_site,
                    to_clients,
                },
            );
        }
        let population = world.internet.add_population(own.clone(), paths, None);
        world.egress.add(topology, client, population);
        add_population(client, &own, population, None, ranks, world, &mut loads);
        for region in twins(topology, client) {
            add_twin(client, &region, table, sites, ranks, world, &mut loads);
        }
    }
    loads
}

fn add_twin(
    client: &Client,
    region: &str,
    table: &RouteTable,
    sites: &Sites,
    ranks: &Ranks,
    world: &mut World,
    loads: &mut Vec<LoadHost>,
) {
    let name = twin_name(&client.name, region);
    let rtt = client.region_rtts[region];
    let region_id = table
        .regions
        .iter()
        .zip(0u16..)
        .find(|(entry, _)| entry.name == region);
    let (_, id) = region_id.expect("the table has every region");
    let [towards, back] = links::both_ways(&name, &Kind::Region.object(region));
    let end = LinkEnd::RegionPublic(anyedge_net::id::RegionId(id));
    let (to_site, to_clients) =
        links::add_public((rtt, client.line), [&towards, &back], end, ranks, world);
    let site: SiteId = sites.regions[region];
    let paths = BTreeMap::from([(
        site,
        PublicPath {
            preference: (1, rtt),
            to_site,
            to_clients,
        },
    )]);
    let population = world
        .internet
        .add_population(name.clone(), paths, Some(site));
    add_population(
        client,
        &name,
        population,
        Some((region, id)),
        ranks,
        world,
        loads,
    );
}

/// Adds the hosts of one population; `twin` names the region of a direct one.
fn add_population(
    client: &Client,
    name: &str,
    population: PopulationId,
    twin: Option<(&str, u16)>,
    ranks: &Ranks,
    world: &mut World,
    loads: &mut Vec<LoadHost>,
) {
    for index in 0..client.count {
        let (v4, v6) = client.address(index);
        let (v4, v6) = twin.map_or((v4, v6), |(_, region)| twin_address(v4, v6, region));
        let own_name = host_name(name, index);
        let drawn_as = host_name(&Kind::Client.object(&client.name), index);
        let uses_v6 = client.uses_v6(index);
        let address = if uses_v6 {
            IpAddr::V6(v6)
        } else {
            IpAddr::V4(v4)
        };
        let attachment = Attachment::Client(population);
        let host = add_host(
            &own_name,
            &drawn_as,
            &[address],
            client.line,
            attachment,
            ranks,
            world,
        );
        world
            .internet
            .add_host(Address::from(address), host, population);
        loads.push(LoadHost {
            host,
            name: drawn_as,
            client: client.name.clone(),
            index,
            of: client.count,
            v6: uses_v6,
            direct: twin.map(|(region, _)| region.to_owned()),
        });
    }
}

fn twin_address(v4: Ipv4Addr, v6: Ipv6Addr, region: u16) -> (Ipv4Addr, Ipv6Addr) {
    let client = v4.to_bits() & ((1 << CLIENT_BITS) - 1);
    let block = u32::from(region) << CLIENT_BITS;
    let low = v6.to_bits() & u128::from(u64::MAX);
    (
        Ipv4Addr::from_bits(TWINS_V4.to_bits() | block | client),
        Ipv6Addr::from_bits(TWINS_V6.to_bits() | (u128::from(region) << 64) | low),
    )
}

fn add_host(
    name: &str,
    drawn_as: &str,
    addresses: &[IpAddr],
    line: Line,
    attachment: Attachment,
    ranks: &Ranks,
    world: &mut World,
) -> HostId {
    let usual = world.host_config(drawn_as, addresses.to_vec());
    // A narrow public path begins behind a client's first router, and its host does not know of it.
    let mtu = match attachment {
        Attachment::Client(_) => usual.mtu.max(line.mtu_bytes as usize),
        Attachment::Backend(_)
        | Attachment::Managed
        | Attachment::Stream(..)
        | Attachment::Peer(_) => line.mtu_bytes as usize,
    };
    let stack = HostStack::new(&HostConfig { mtu, ..usual });
    world
        .hosts
        .push(HostEntry::new(stack, ranks.source(name), attachment));
    HostId(u32::try_from(world.hosts.len() - 1).expect("the builder bounds the number of hosts"))
}
