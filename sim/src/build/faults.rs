//! The faults of a world: what each strikes, when it acts, and what will be told of it.

use std::collections::BTreeMap;

use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::route_table::{NodeKind, PathEnds, RouteTable};
use anyedge_net::time::Instant;
use anyedge_topologies::{Fault, FaultVerb, Host, Kind, LEADER, LinkEnds, Region, Topology};

use super::{Sites, links};
use crate::budget::{About, Budget, Entry};
use crate::executor::HostId;
use crate::internet::SiteId;
use crate::management::{Cut, Member};
use crate::scenario::{Struck, acts_of};
use crate::steward::TargetWeight;
use crate::world::World;

const RESOLVED: &str = "the file's reader resolved the object";

/// Puts the acts of all faults on the calendar and opens the budget for them.
pub(super) fn add_scenario(
    topology: &Topology,
    table: &RouteTable,
    sites: &Sites,
    world: &mut World,
) {
    let mut entries = Vec::new();
    for (number, fault) in topology.faults.iter().enumerate() {
        let struck = struck_by(number, fault, topology, table, sites, world);
        let about = about(fault, &struck, topology, table, &sites.pops);
        entries.extend(entries_of(fault, &struck, &about));
        for (at, act) in acts_of(fault, &struck) {
            world.schedule_act(at, act);
        }
    }
    world.budget = Budget::new(entries);
}

/// What the fault of that number strikes.
fn struck_by(
    number: usize,
    fault: &Fault,
    topology: &Topology,
    table: &RouteTable,
    sites: &Sites,
    world: &World,
) -> Struck {
    if let FaultVerb::Partition(partition) = &fault.verb {
        let side = |names: &[String]| names.iter().map(|name| member(name, world)).collect();
        let against = (!partition.against.is_empty()).then(|| side(&partition.against));
        return Struck::Partition(Cut {
            fault: number,
            nodes: side(&partition.nodes),
            against,
            outwards: partition.outwards,
            inwards: partition.inwards,
        });
    }
    if let Some(change) = fault.change() {
        return Struck::Table(change);
    }
    if fault.object == leader() {
        return Struck::Leader(number);
    }
    struck(fault, topology, table, sites, world)
}

fn leader() -> String {
    Kind::Controller.object(LEADER)
}

fn member(name: &str, world: &World) -> Member {
    if name == leader() {
        Member::Leader
    } else {
        Member::Host(machine(name, world))
    }
}

/// What the object of `fault` is in the world.
fn struck(
    fault: &Fault,
    topology: &Topology,
    table: &RouteTable,
    sites: &Sites,
    world: &World,
) -> Struck {
    let (kind, name) = fault.object.split_once('.').expect(RESOLVED);
    if kind == Kind::Link.word() {
        let ends = topology.links[name].ends.objects();
        return Struck::Link(links::directions(fault, name, &ends, world));
    }
    if kind == Kind::Controller.word() {
        return Struck::Controller(machine(&fault.object, world));
    }
    let Some(node) = table.node_named(&fault.object) else {
        return region(fault, &topology.regions[name], topology, table, world);
    };
    match table.nodes[node.index()].kind {
        NodeKind::Pop => Struck::Pop {
            node,
            machine: machine(&fault.object, world),
            site: sites.pops[name],
        },
        NodeKind::ClbNode(_) => Struck::ClbNode {
            node,
            machine: machine(&fault.object, world),
        },
        NodeKind::Host(_) => {
            let host = &topology.hosts[name];
            if matches!(fault.verb, FaultVerb::Degrade(_)) {
                let ends = [fault.object.clone(), Kind::Region.object(&host.region)];
                return Struck::Link(links::directions(fault, &fault.object, &ends, world));
            }
            Struck::Host {
                node,
                machine: machine(&fault.object, world),
                host: world.nodes[node.index()].backend.expect("it has one"),
                targets: targets_of(host, topology),
            }
        }
    }
}

/// The own host of a node.
fn machine(name: &str, world: &World) -> HostId {
    let management = world.management.as_ref().expect("it was built before");
    management.host_named(name).expect(RESOLVED)
}

/// What a region consists of when `fault` strikes it: nodes that are added later are not there yet.
fn region(
    fault: &Fault,
    region: &Region,
    topology: &Topology,
    table: &RouteTable,
    world: &World,
) -> Struck {
    let node = |name: &str| table.node_named(name).expect(RESOLVED);
    let clb_nodes = region.clb_nodes.iter();
    let there = clb_nodes.filter(|clb| clb.added_at.is_none_or(|added| added <= fault.at));
    let clb_nodes = there.map(|clb| (node(&clb.name), machine(&clb.name, world)));
    let hosts = topology.hosts.values();
    let own = hosts.filter(|host| host.region == region.name);
    let hosts = own.map(|host| {
        let name = Kind::Host.object(&host.name);
        let vswitch = node(&name);
        let backend = world.nodes[vswitch.index()].backend;
        let backend = backend.expect("every host has one");
        (vswitch, [backend, machine(&name, world)])
    });
    Struck::Region {
        clb_nodes: clb_nodes.collect(),
        hosts: hosts.collect(),
    }
}

/// The targets on `host`, with their weights in the file.
fn targets_of(host: &Host, topology: &Topology) -> Vec<TargetWeight> {
    let mut targets = Vec::new();
    for clb in topology.clbs.values() {
        for listener in clb.listeners.values() {
            let servers = topology.targets[&listener.targets].servers.iter();
            for server in servers.filter(|server| server.host == host.name) {
                targets.extend(server.address.iter().map(|address| TargetWeight {
                    clb: clb.name.clone(),
                    listener: listener.name.clone(),
                    target: (address.into(), server.port),
                    weight: server.weight,
                }));
            }
        }
    }
    targets
}

/// What signs of `fault` name.
fn about(
    fault: &Fault,
    struck: &Struck,
    topology: &Topology,
    table: &RouteTable,
    pops: &BTreeMap<String, SiteId>,
) -> About {
    match struck {
        Struck::Pop { node, site, .. } => About {
            nodes: vec![*node],
            site: Some(*site),
            moves_pops: true,
            ..About::default()
        },
        Struck::ClbNode { node, .. } => About {
            nodes: vec![*node],
            moves_owners: true,
            ..About::default()
        },
        // What was ordered is not found out by checks.
        Struck::Host { .. }
            if matches!(
                fault.verb,
                FaultVerb::Drain | FaultVerb::Weight(_) | FaultVerb::Unbind
            ) =>
        {
            About::default()
        }
        Struck::Host { node, targets, .. } => About {
            nodes: vec![*node],
            targets: targets.iter().map(|target| target.target.0).collect(),
            ..About::default()
        },
        Struck::Region { clb_nodes, hosts } => About {
            nodes: clb_nodes
                .iter()
                .map(|(node, _)| *node)
                .chain(hosts.iter().map(|(node, _)| *node))
                .collect(),
            moves_owners: true,
            ..About::default()
        },
        Struck::Controller(_) | Struck::Leader(_) | Struck::Partition(_) | Struck::Table(_) => {
            About::default()
        }
        Struck::Link(_) => about_link(&fault.object, topology, table, pops),
    }
}

/// A backbone link, or the link of a host.
fn about_link(
    object: &str,
    topology: &Topology,
    table: &RouteTable,
    pops: &BTreeMap<String, SiteId>,
) -> About {
    let (_, name) = object.split_once('.').expect(RESOLVED);
    let Some(link) = topology
        .links
        .get(name)
        .filter(|_| object.starts_with("link."))
    else {
        let addresses = topology.hosts[name].addresses.iter();
        let host = table.node_named(object);
        return About {
            paths: paths_where(
                table,
                |ends| matches!(ends, PathEnds::Fabric { host: own, .. } if Some(*own) == host),
            ),
            targets: addresses.map(|address| Address::from(*address)).collect(),
            ..About::default()
        };
    };
    let paths = table.paths().filter(|(_, path)| path.name == link.name);
    let site = match &link.ends {
        LinkEnds::Ccn { pop, .. } => Some(pops[pop]),
        LinkEnds::Backbone { .. } => None,
    };
    About {
        paths: paths.map(|(id, _)| id).collect(),
        site,
        moves_pops: true,
        moves_owners: true,
        ..About::default()
    }
}

fn paths_where(table: &RouteTable, is_it: impl Fn(&PathEnds) -> bool) -> Vec<PathId> {
    let paths = table.paths().filter(|(_, path)| is_it(&path.ends));
    paths.map(|(id, _)| id).collect()
}

/// The entry for the beginning of `fault` and, if it ends, that for its end.
fn entries_of(fault: &Fault, struck: &Struck, about: &About) -> impl Iterator<Item = Entry> {
    let lost_region = match struck {
        Struck::Region { .. } => fault.object.strip_prefix("region.").map(str::to_owned),
        _ => None,
    };
    let begins = Entry {
        fault: fault.number(),
        at: Instant::ZERO + fault.at,
        until: None,
        what: fault.to_string(),
        object: fault.object.clone(),
        begins: true,
        lost_region,
        about: about.clone(),
        detected: None,
        router: None,
        withdrawn: None,
        moved: None,
        refused: None,
    };
    let ends = fault.end().map(|end| Entry {
        at: Instant::ZERO + end,
        what: fault.end_name(),
        begins: false,
        lost_region: None,
        ..begins.clone()
    });
    core::iter::once(begins).chain(ends)
}

/// CLB nodes that are not there when the run begins, by full name.
pub(super) fn absent(topology: &Topology) -> impl Iterator<Item = String> + '_ {
    let nodes = topology
        .regions
        .values()
        .flat_map(|region| &region.clb_nodes);
    let added = nodes.filter(|node| node.added_at.is_some());
    added.map(|node| node.name.clone())
}

/// Which of the table's nodes those are.
pub(super) fn absent_nodes(topology: &Topology, table: &RouteTable) -> Vec<NodeId> {
    let ids = absent(topology).map(|name| table.node_named(&name).expect(RESOLVED));
    ids.collect()
}
