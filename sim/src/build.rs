//! From a topology to a world: nodes with their forwarders, links, hosts and the scenario.
//!
//! Everything that exists is named first and ranked by name; the rank is its place in the total order of
//! events. Link names carry their direction: `client.osaka>pop.tokyo`, `pop.tokyo>region.guangzhou`,
//! `region.guangzhou>host.web-1`.

mod faults;
mod hosts;
mod links;
mod managed;
mod peerings;
mod ranks;
mod streams;

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_ccn::table::refusal::Refusal;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::HashKey;
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::ledger::Ledger;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::Instant;
use anyedge_region::Limits;
use anyedge_topologies::{Kind, Routes, Start, Topology};

use crate::control::{Beginning, Control, Tables};
use crate::digest::TraceDigest;
use crate::egress::Egress;
use crate::executor::Handle;
use crate::internet::{Internet, SiteId};
use crate::management::Management;
use crate::node::{AnyForwarder, Node, TableShare};
use crate::order::SOURCES_MAX;
use crate::run::Options;
use crate::steward::Steward;
use crate::world::World;

pub(crate) use hosts::{BackendHost, LoadHost, home};
pub(crate) use managed::ManagedHost;
pub(crate) use peerings::PeeringHosts;
use ranks::Ranks;
pub(crate) use streams::StreamHost;

/// Flows that a node's indices are laid out for at first. They grow: a run of few flows keeps them near each other.
const FLOWS_INDEXED: usize = 1_024;

/// Why a topology that reads well cannot be simulated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// Its route table is refused.
    Table(Refusal),
    /// It has more links, nodes and hosts than events can be told apart by.
    TooManySources(usize),
    /// Services were given for a machine that it does not have.
    NoSuchMachine(String),
    /// It has more regions than direct twins of clients have addresses for.
    TooManyRegions(usize),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Table(error) => write!(f, "{error}"),
            BuildError::TooManySources(count) => {
                write!(
                    f,
                    "{count} links, nodes and hosts; the simulator holds {SOURCES_MAX}"
                )
            }
            BuildError::NoSuchMachine(name) => write!(f, "there is no machine {name}"),
            BuildError::TooManyRegions(count) => {
                write!(
                    f,
                    "{count} regions; direct paths can be simulated to {}",
                    hosts::TWIN_REGIONS_MAX
                )
            }
        }
    }
}

impl std::error::Error for BuildError {}

/// A world before anything has happened, and who will do something in it.
pub(crate) struct Built {
    pub(crate) world: World,
    pub(crate) loads: Vec<LoadHost>,
    pub(crate) backends: Vec<BackendHost>,
    pub(crate) managed: Vec<ManagedHost>,
    pub(crate) streams: Vec<StreamHost>,
    pub(crate) peerings: Vec<PeeringHosts>,
    /// What controllers begin with, where they write the tables.
    pub(crate) beginning: Option<Beginning>,
    pub(crate) site_names: BTreeMap<SiteId, String>,
}

/// Where the provider meets the Internet, by what is there.
pub(crate) struct Sites {
    pops: BTreeMap<String, SiteId>,
    regions: BTreeMap<String, SiteId>,
}

/// Builds the world of `topology`.
pub(crate) fn build(
    topology: &Topology,
    seed: Seed,
    options: &Options,
    tasks: Handle,
) -> Result<Built, BuildError> {
    let Written {
        table,
        steward,
        control,
        beginning,
    } = who_writes(topology, seed, options)?;
    let ranks = Ranks::of(topology, &table);
    let sources = ranks.len() + Management::ranks(topology);
    if sources > SOURCES_MAX {
        return Err(BuildError::TooManySources(sources));
    }
    if table.regions.len() > hosts::TWIN_REGIONS_MAX {
        return Err(BuildError::TooManyRegions(table.regions.len()));
    }
    let mut world = World::new(
        seed,
        TraceDigest::new(options.cover).perturbed(options.perturbation),
        table.clone(),
        ranks.source(ranks::DIRECTOR),
        tasks,
    );
    world.tcp = topology.defaults.tcp;
    world.internet = Internet::new(seed, topology.convergence.clone());
    world.egress = Egress::of(topology);
    world.steward = steward;
    world.control = control;
    let sites = add_sites(topology, &mut world);
    add_vips(topology, &sites, &mut world);
    add_nodes(topology, &table, &sites, &ranks, &mut world);
    links::add_backbone(topology, &table, &ranks, &mut world);
    let backends = hosts::add_backends(topology, &table, &ranks, &mut world);
    let loads = hosts::add_clients(topology, &table, &sites, &ranks, &mut world);
    let managed = managed::add(topology, &ranks, &mut world);
    let streams = streams::add(&table, &ranks, &mut world);
    let peerings = peerings::add(topology, &table, &sites, &ranks, &mut world);
    if !beginning.as_ref().is_some_and(|begins| begins.is_cold) {
        world.apply(table.clone());
    }
    faults::add_scenario(topology, &table, &sites, &mut world);
    let site_names = sites
        .pops
        .iter()
        .map(|(name, site)| (*site, Kind::Pop.object(name)))
        .chain(
            sites
                .regions
                .iter()
                .map(|(name, site)| (*site, Kind::Region.object(name))),
        )
        .collect();
    Ok(Built {
        world,
        loads,
        backends,
        managed,
        streams,
        peerings,
        beginning,
        site_names,
    })
}

/// The first table, and who writes the next.
struct Written {
    table: Arc<RouteTable>,
    steward: Option<Box<Steward>>,
    control: Option<Box<Control>>,
    beginning: Option<Beginning>,
}

fn who_writes(topology: &Topology, seed: Seed, options: &Options) -> Result<Written, BuildError> {
    let mut key = [0; 16];
    seed.stream("route-table", "hash key").fill(&mut key);
    let mut author =
        anyedge_topologies::author(topology, HashKey::new(key)).map_err(BuildError::Table)?;
    author.set_mechanisms(options.mechanisms);
    author.set_probing(topology.probing);
    author.set_slot_settle(topology.slot_settle);
    let mut steward = Steward::new(
        author,
        topology.publish_after,
        topology.table_delay,
        faults::absent(topology),
    )
    .map_err(BuildError::Table)?;
    let content = steward.content();
    let table = steward.publish(Instant::ZERO).map_err(BuildError::Table)?;
    if topology.defaults.routes == Routes::Static {
        return Ok(Written {
            table,
            steward: Some(Box::new(steward)),
            control: None,
            beginning: None,
        });
    }
    let begins = steward.table().clone();
    let tables = Tables::new(&begins);
    Ok(Written {
        // Later revisions share with it what stays.
        table: tables.first(),
        steward: None,
        control: Some(Box::new(Control::new(
            tables,
            &begins,
            topology.scaled_targets(),
        ))),
        beginning: Some(Beginning {
            table: begins,
            content,
            is_cold: topology.defaults.start == Start::Cold,
        }),
    })
}

fn add_sites(topology: &Topology, world: &mut World) -> Sites {
    let pops = topology
        .pops
        .keys()
        .map(|name| {
            let site = world.internet.add_site(&Kind::Pop.object(name));
            (name.clone(), site)
        })
        .collect();
    let regions = topology
        .regions
        .keys()
        .map(|name| {
            let site = world.internet.add_site(&Kind::Region.object(name));
            (name.clone(), site)
        })
        .collect();
    Sites { pops, regions }
}

fn add_vips(topology: &Topology, sites: &Sites, world: &mut World) {
    for vip in topology.vips.values() {
        let publishers = vip.publish.iter().map(|pop| sites.pops[pop]).collect();
        world
            .internet
            .add_vip(vip.address.iter().map(Into::into), publishers);
    }
}

fn add_nodes(
    topology: &Topology,
    table: &RouteTable,
    sites: &Sites,
    ranks: &Ranks,
    world: &mut World,
) {
    let limits = Limits {
        flows_max: topology.defaults.flows_max as usize,
        flows_indexed: FLOWS_INDEXED,
    };
    let absent = faults::absent_nodes(topology, table);
    for (node, id) in table.nodes.iter().zip(0u16..) {
        let name = node.name.as_str();
        let site = match node.kind {
            NodeKind::Pop => {
                let bare = name.strip_prefix("pop.").unwrap_or(name);
                Some(sites.pops[bare])
            }
            NodeKind::ClbNode(region) => Some(sites.regions[region_name(table, region)]),
            NodeKind::Host(_) => None,
        };
        world.nodes.push(Node {
            id: NodeId(id),
            forwarder: AnyForwarder::fresh(node.kind, name, limits, world.seed()),
            ledger: Ledger::default(),
            source: ranks.source(name),
            down: absent
                .contains(&NodeId(id))
                .then_some(DropReason::ClbNodeDown),
            stale: false,
            revision: None,
            in_force: None,
            table_share: TableShare::draw(world.seed(), name),
            limits,
            timer_at: None,
            tunnels: vec![None; table.paths.len()],
            site,
            backend: None,
        });
    }
}

fn region_name(table: &RouteTable, region: RegionId) -> &str {
    &table.regions[region.index()].name
}
